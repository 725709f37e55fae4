"""Figures of a classifier on a set of beats, from its confusion matrix."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.net import BeatNet
from model.records import CLASSES

BATCH = 256
"""Beats at once: where a CPU is fastest, and little memory."""


@torch.inference_mode()
def scores(net: BeatNet, beats: Tensor) -> Tensor:
    """Scores (n, classes) of beats (n, samples) that are on the net's device."""
    net.eval()
    return torch.cat([net(batch) for batch in torch.split(beats, BATCH)])


def confusion(labels: NDArray[np.int64], said: NDArray[np.int64]) -> NDArray[np.int64]:
    """Beats by true class (rows) and by what was said (columns)."""
    size = len(CLASSES)
    return np.bincount(labels * size + said, minlength=size * size).reshape(size, size)


def figures(matrix: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, balanced accuracy (mean recall), macro-F1, and recall, precision and F1 of each class, in 0..1."""
    hits = np.diag(matrix).astype(float)
    recall = hits / np.maximum(matrix.sum(axis=1), 1)
    precision = hits / np.maximum(matrix.sum(axis=0), 1)
    f1 = 2 * hits / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return {
        "accuracy": float(hits.sum() / max(matrix.sum(), 1)),
        "balanced_accuracy": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "recall": dict(zip(CLASSES, recall.tolist(), strict=True)),
        "precision": dict(zip(CLASSES, precision.tolist(), strict=True)),
        "f1": dict(zip(CLASSES, f1.tolist(), strict=True)),
        "confusion": matrix.tolist(),
    }
