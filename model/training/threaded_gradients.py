"""Gradients and scores of a batch from several threads, each with its own part of the beats.

On a CPU that is faster than threads inside every operation: each part fits the cache of its core, and threads wait for
each other only at the end of the batch. For a given number of threads the results are the same to the last bit.
"""

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from model.nets.beat_net import BeatNet
from model.training import class_scores


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

    def gradients(self, beats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients of the mean cross-entropy of beats (n, samples); return its sum and the number of hits."""
        size = -(-len(labels) // len(self.nets))
        parts = zip(self.nets, torch.split(beats, size), torch.split(labels, size), strict=False)
        results = list(self.map(lambda part: self._part(*part), parts))
        for parameter, *gradients in zip(self.parameters, *(gradients for gradients, _, _ in results), strict=True):
            # In the memory layout of its parameter: a fused optimiser walks through both in parallel.
            parameter.grad = torch.empty_like(parameter).copy_(torch.stack(gradients).sum(0) / len(labels))
        return torch.stack([loss for _, loss, _ in results]).sum(), torch.stack([hits for _, _, hits in results]).sum()

    def settle(self) -> None:
        """Set the statistics of batch normalisation to their means over the threads."""
        for buffers in zip(*(net.buffers() for net in self.nets), strict=True):
            mean = torch.stack(buffers).float().mean(0)
            for buffer in buffers:
                buffer.copy_(mean)

    def scores(self, net: BeatNet, beats: Tensor) -> Tensor:
        """Return scores (n, classes) of beats (n, samples); each thread computes a part."""
        parts = torch.split(beats, -(-len(beats) // len(self.nets)))
        return torch.cat(list(self.map(lambda part: class_scores.predict_beat_scores(net, part), parts)))

    def _part(self, net: BeatNet, beats: Tensor, labels: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        scores = net(beats)
        loss = nn.functional.cross_entropy(scores + self.offset, labels, reduction="sum")
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        return gradients, loss.detach(), (scores.detach().argmax(1) == labels).sum()
