"""Small random changes of training beats, other ones in each epoch, so that a net learns hearts and not recordings."""

import math

import torch
from torch import Tensor


def augment_beats(beats: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return beats (n, samples) in 0..1 as the same hearts might have sent them, in the same shape.

    At `strength` 1, about what leads and detectors cause, each beat is stretched by 3 % and moved by 0.8 samples
    (standard deviations), its height changes by 5 %, and a slow wave of 2 % and noise of up to 1 % are added. The
    padding behind a beat stays zero.
    """
    count, samples = beats.shape

    def normal(columns: int) -> Tensor:
        """Draw (n, columns) of standard deviation `strength`."""
        return torch.randn(count, columns, generator=generator, device=beats.device) * strength

    def uniform() -> Tensor:
        """Draw (n, 1) in 0..1."""
        return torch.rand(count, 1, generator=generator, device=beats.device)

    time = torch.arange(samples, device=beats.device)
    position = (time * torch.exp(0.03 * normal(1)) + 0.8 * normal(1)).clamp(0, samples - 1)
    left = position.long().clamp(max=samples - 2)
    moved = torch.lerp(beats.gather(1, left), beats.gather(1, left + 1), position - left)
    wave = 0.02 * normal(1) * torch.sin(0.05 * uniform() * time + 2 * math.pi * uniform())
    noise = 0.01 * uniform() * normal(samples)
    inside = (beats != 0).gather(1, left)
    return (moved * (1 + 0.05 * normal(1)) + inside * (wave + noise)).clamp(min=0)
