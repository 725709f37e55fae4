"""Gradients and scores of a batch from several threads, each with its own part of the beats.

On a CPU that is faster than threads inside every operation: each part fits the cache of its core, and threads wait for
each other only at the end of the batch. For a given number of threads the results are the same to the last bit. The net
of the report is computed in C where there is a compiler, any other one by PyTorch.
"""

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from model.nets.beat_net import BeatNet, count_parameters
from model.training import class_scores
from model.training.compiled_gradients import CompiledGradients, flat_parameters, load_training, parameter_views


class ThreadedGradients:
    """Several threads that work on one net; PyTorch's own threads inside operations are switched off for good.

    `offset` (classes,) is added to the scores in the loss: logit adjustment, Menon et al. 2021, arXiv:2007.07314.
    """

    def __init__(self, net: BeatNet, threads: int, offset: Tensor) -> None:
        torch.set_num_threads(1)
        self.offset = offset
        self.parameters = list(net.parameters())
        # Copies share the weights; each has its own statistics of batch normalisation, which `settle` averages.
        shared = {id(parameter): parameter for parameter in self.parameters}
        self.nets = [net, *(copy.deepcopy(net, dict(shared)) for _ in range(threads - 1))]
        self.map = ThreadPoolExecutor(threads).map if threads > 1 else map
        library = load_training(net)
        self._compiled = [CompiledGradients(library, offset) for _ in self.nets] if library else []
        self._weights = flat_parameters(net)
        # Views have the memory layouts of the parameters: a fused optimiser walks through both in parallel.
        self._sums = [torch.empty(count_parameters(net), device=offset.device) for _ in self.nets]
        self._mean = torch.empty_like(self._sums[0])
        self._sum_views = [parameter_views(net, sums) for sums in self._sums]
        self._mean_views = parameter_views(net, self._mean)

    def gradients(self, beats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients of the mean cross-entropy of beats (n, samples); return its sum and the number of hits."""
        size = -(-len(labels) // len(self.nets))
        parts = list(zip(torch.split(beats, size), torch.split(labels, size), strict=True))
        if self._compiled:
            weights = torch.cat(self._weights)
            results = self.map(
                lambda of: self._compiled[of].gradients(weights, *parts[of], self._sums[of]), range(len(parts))
            )
        else:
            results = self.map(lambda of: self._part(of, *parts[of]), range(len(parts)))
        losses, hits = zip(*results, strict=True)
        self._mean.copy_(self._sums[0])
        for sums in self._sums[1 : len(parts)]:
            self._mean.add_(sums)
        self._mean.div_(len(labels))
        for parameter, gradient in zip(self.parameters, self._mean_views, strict=True):
            parameter.grad = gradient
        return torch.stack(losses).sum(), torch.stack(hits).sum()

    def settle(self) -> None:
        """Set the statistics of batch normalisation to their means over the threads."""
        for buffers in zip(*(net.buffers() for net in self.nets), strict=True):
            mean = torch.stack(buffers).float().mean(0)
            for buffer in buffers:
                buffer.copy_(mean)

    def scores(self, net: BeatNet, beats: Tensor) -> Tensor:
        """Return scores (n, classes) of beats (n, samples); each thread computes a part."""
        parts = torch.split(beats, -(-len(beats) // len(self.nets)))
        if self._compiled:
            weights = torch.cat(flat_parameters(net))
            return torch.cat(list(self.map(lambda own, part: own.scores(weights, part), self._compiled, parts)))
        return torch.cat(list(self.map(lambda part: class_scores.predict_beat_scores(net, part), parts)))

    def _part(self, of: int, beats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.nets[of](beats)
        loss = nn.functional.cross_entropy(scores + self.offset, labels, reduction="sum")
        gradients = torch.autograd.grad(loss, list(self.nets[of].parameters()))
        for view, gradient in zip(self._sum_views[of], gradients, strict=True):
            view.copy_(gradient)
        return loss.detach(), (scores.detach().argmax(1) == labels).sum()
