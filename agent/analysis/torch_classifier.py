"""A net by PyTorch on its device: weights are moved there once, the beats of all beds of a tick go in one batch."""

from pathlib import Path

import torch

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.messages import FloatArray
from model import device
from model.nets.beat_net import BeatNet, InferenceNet
from model.nets.checkpoint import load_checkpoint
from model.nets.checkpoint_card import ModelCard
from model.nets.context_net import ContextInferenceNet, ContextNet

BEAT_BATCH = 64
"""Beats at once at most: as many as the caches of a CPU hold; a larger batch is slower a beat."""


class TorchNet:
    """What a net says of beats, on a device."""

    def __init__(self, net: BeatNet | ContextNet, chosen: torch.device) -> None:
        self._net = InferenceNet(net) if isinstance(net, BeatNet) else ContextInferenceNet(net)
        self._gives_logits = isinstance(net, BeatNet)
        self._device = chosen

    @torch.inference_mode()
    def __call__(self, beats: FloatArray) -> FloatArray:
        """Do what `BeatClassifier` does."""
        batches = torch.split(torch.from_numpy(beats).to(self._device), BEAT_BATCH)
        scores = torch.cat([self._net(batch) for batch in batches])
        said: FloatArray = (torch.softmax(scores, dim=1) if self._gives_logits else scores).cpu().numpy()
        return said


def build_torch_classifier(net: BeatNet | ContextNet, card: ModelCard, chosen: torch.device) -> BeatClassifier:
    """Return the classifier of a net that is on its device."""
    return BeatClassifier(TorchNet(net, chosen), card, device.describe_device(chosen))


def load_for_torch(
    path: Path, device_name: str, threads: int | None
) -> tuple[BeatNet | ContextNet, ModelCard, torch.device]:
    """Load a checkpoint onto a device by name; `threads` of PyTorch, None leaves them as they are.

    Raises CheckpointError or DeviceError.
    """
    chosen = device.choose_device(device_name)
    if threads is not None:
        torch.set_num_threads(threads)
    return *load_checkpoint(path, chosen), chosen
