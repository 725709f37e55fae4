"""The net on its device: weights are moved there once, the beats of all beds of a tick go through in one batch."""

from pathlib import Path

import numpy as np
import torch

from agent.core.class_trust import trust_from_card
from agent.core.messages import FloatArray
from model import device
from model.beats.frontend import BEAT_SAMPLES
from model.beats.templates import INPUTS
from model.nets import checkpoint
from model.nets.beat_net import BeatNet, InferenceNet
from model.nets.checkpoint import ModelCard
from model.nets.context_net import ContextInferenceNet, ContextNet

BEAT_BATCH = 64
"""Beats at once at most: as many as the caches of a CPU hold; a larger batch is slower a beat."""


class BeatClassifier:
    """What a net says of beats: cut ones, or `in_context`."""

    def __init__(self, net: BeatNet | ContextNet, card: ModelCard, chosen: torch.device) -> None:
        self._net = InferenceNet(net) if isinstance(net, BeatNet) else ContextInferenceNet(net)
        self._device = chosen
        self.in_context = isinstance(net, ContextNet)
        self.device = device.describe_device(chosen)
        self.weights = card.name
        self.class_trust = trust_from_card(card.training, card.metrics)
        for beats in (1, 2, BEAT_BATCH):  # the first calls prepare kernels and memory
            self(np.zeros((beats, INPUTS if self.in_context else BEAT_SAMPLES), dtype=np.float32))

    @torch.inference_mode()
    def __call__(self, beats: FloatArray) -> FloatArray:
        """Beats (n, 187) float32 in 0..1 to probabilities (n, 5) float32 in the order of CLASSES.

        In context: (n, INPUTS) to log-probabilities (n, 6), of the classes and of no beat.
        """
        batches = torch.split(torch.from_numpy(beats).to(self._device), BEAT_BATCH)
        scores = torch.cat([self._net(batch) for batch in batches])
        said: FloatArray = (scores if self.in_context else torch.softmax(scores, dim=1)).cpu().numpy()
        return said


def load_beat_classifier(weights: str, device_name: str, threads: int | None) -> BeatClassifier:
    """Load the net of a shipped checkpoint's name or of a file; `threads` of PyTorch, None leaves them as they are.

    Raises CheckpointError or DeviceError.
    """
    path: Path = checkpoint.find_checkpoint(weights)
    chosen = device.choose_device(device_name)
    if threads is not None:
        torch.set_num_threads(threads)
    return BeatClassifier(*checkpoint.load_checkpoint(path, chosen), chosen)
