"""The net that classifies beats: by PyTorch on its device, or the live monitor's own compiled for the CPU.

PyTorch takes seconds to import and 150 MB, so it is imported only where it is used.
"""

from collections.abc import Callable

import numpy as np

from agent.core.class_trust import trust_from_card
from agent.core.messages import FloatArray
from model.beats.frontend import BEAT_SAMPLES
from model.beats.templates import INPUTS, WAVE
from model.compiled.library import load_library
from model.device import CPU, runs_on_cpu
from model.nets.checkpoint_card import ModelCard, find_checkpoint, is_shipped, read_weights
from model.nets.compiled_net import CompiledContextNet

WARM_BATCHES = 1, 2, 64
"""The first calls prepare kernels and memory."""


class BeatClassifier:
    """What a net says of beats: cut ones, or `in_context`."""

    def __init__(self, classify: Callable[[FloatArray], FloatArray], card: ModelCard, device: str) -> None:
        """Take a net with the description of its weights, and the name of its device for people."""
        self._classify = classify
        self.in_context = card.kind == "context"
        self.device, self.weights = device, card.name
        self.class_trust = trust_from_card(card.training, card.metrics)
        for beats in WARM_BATCHES:
            self(np.zeros((beats, INPUTS if self.in_context else BEAT_SAMPLES), dtype=np.float32))

    def __call__(self, beats: FloatArray) -> FloatArray:
        """Beats (n, 187) float32 in 0..1 to probabilities (n, 5) float32 in the order of CLASSES.

        In context: (n, INPUTS) to log-probabilities (n, 6), of the classes and of no beat.
        """
        return self._classify(beats)


def load_beat_classifier(weights: str, device_name: str, threads: int | None) -> BeatClassifier:
    """Load the net of a shipped checkpoint's name or of a file; `threads` of PyTorch, None leaves them as they are.

    Raises CheckpointError or DeviceError.
    """
    path, library = find_checkpoint(weights), load_library() if runs_on_cpu(device_name) else None
    if library is not None and is_shipped(path):
        card, arrays = read_weights(path)
        if card.kind == "context":
            return BeatClassifier(CompiledContextNet(library, arrays, WAVE), card, CPU)
    from agent.analysis.torch_classifier import build_torch_classifier, load_for_torch

    net, card, chosen = load_for_torch(path, device_name, threads)
    if library is not None and card.kind == "context":
        arrays = {name: value.numpy() for name, value in net.state_dict().items()}
        return BeatClassifier(CompiledContextNet(library, arrays, WAVE), card, CPU)
    return build_torch_classifier(net, card, chosen)
