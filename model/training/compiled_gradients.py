"""Gradients and scores of the report's net in C (`model/compiled/beat_training.c`), on a CPU.

Sums have another order than those of PyTorch, so the last digits differ. They hang neither on the processor's registers
nor, apart from the sums over beats, on the batch: the same beats and weights give the same gradients to the last bit.
"""

import ctypes

import torch
from torch import Tensor, nn

from model.compiled.library import load_library
from model.nets.beat_net import BeatNet
from model.nets.net_size import NetSize


def load_training(net: BeatNet) -> ctypes.CDLL | None:
    """Return the parts in C if they know the net: that of the report, without batch normalisation, on a CPU."""
    parameters = list(net.parameters())
    is_known = net.size == NetSize() and len(parameters) == 2 * (1 + 2 * len(net.size.channels) + 3)
    library = load_library() if is_known and parameters[0].device.type == "cpu" else None
    if library is not None:
        library.training_bytes.restype = ctypes.c_size_t
    return library


def parameter_views(net: nn.Module, values: Tensor) -> list[Tensor]:
    """Return views of `values` (all parameters,) with the shapes and memory layouts of the net's parameters."""
    parameters = list(net.parameters())
    parts = torch.split(values, [parameter.numel() for parameter in parameters])
    return [
        part.as_strided(parameter.shape, parameter.stride()) for part, parameter in zip(parts, parameters, strict=True)
    ]


def flatten_parameters(net: nn.Module) -> Tensor:
    """Return all parameters of a net, one after the other as they lie in memory: (all parameters,)."""
    values = torch.empty(sum(parameter.numel() for parameter in net.parameters()))
    with torch.no_grad():
        for view, parameter in zip(parameter_views(net, values), net.parameters(), strict=True):
            view.copy_(parameter)
    return values


class CompiledGradients:
    """What a thread needs to train the report's net, in channels-last layout, in C; the weights are read at each call.

    `offset` (classes,) is added to the scores in the loss.
    """

    def __init__(self, library: ctypes.CDLL, offset: Tensor) -> None:
        self._library, self._offset = library, offset.contiguous()
        self._work = torch.empty(library.training_bytes(), dtype=torch.uint8)

    def gradients(self, weights: Tensor, beats: Tensor, labels: Tensor, to: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the cross-entropy of beats (n, samples) with labels (n,), and the number of hits.

        The gradients of the sum go to `to`; it and `weights` (all parameters,) are in the order of the net.
        """
        beats, labels = beats.contiguous(), labels.contiguous()
        results = torch.zeros(2, dtype=torch.float64)
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (weights, self._offset, beats, labels)]
        rest = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (self._work, to.zero_(), results)]
        self._library.train_beats(*pointers, len(labels), *rest)
        return results[0].float(), results[1].long()

    def scores(self, weights: Tensor, beats: Tensor) -> Tensor:
        """Map beats (n, samples) to scores (n, classes)."""
        beats = beats.contiguous()
        scores = torch.empty(len(beats), len(self._offset))
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (weights, beats)]
        rest = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (self._work, scores)]
        self._library.score_beats(*pointers, len(beats), *rest)
        return scores
