"""Training beats changed a little at every sight of them, so that a net learns hearts and not recordings."""

import math

import torch
from torch import Tensor


def augment_beats(beats: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Beats (n, samples) as the same hearts might have sent them; `strength` 1 is about what leads and detectors do.

    Each beat is stretched by 3 % and moved by 0.8 samples (standard deviations), its height changed by 5 %, a slow wave
    of 2 % and noise of up to 1 % added; the padding behind a beat stays zero.
    """
    count, samples = beats.shape

    def normal(columns: int) -> Tensor:
        return torch.randn(count, columns, generator=generator, device=beats.device) * strength

    def uniform() -> Tensor:
        return torch.rand(count, 1, generator=generator, device=beats.device)

    time = torch.arange(samples, device=beats.device)
    position = (time * torch.exp(0.03 * normal(1)) + 0.8 * normal(1)).clamp(0, samples - 1)
    left = position.long().clamp(max=samples - 2)
    moved = torch.lerp(beats.gather(1, left), beats.gather(1, left + 1), position - left)
    wave = 0.02 * normal(1) * torch.sin(0.05 * uniform() * time + 2 * math.pi * uniform())
    noise = 0.01 * uniform() * normal(samples)
    inside = (beats != 0).gather(1, left)
    return (moved * (1 + 0.05 * normal(1)) + inside * (wave + noise)).clamp(min=0)
