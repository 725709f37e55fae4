"""What makes shapes comparable: medians, unit vectors, correlations."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def row_medians(waves: Floats) -> Floats:
    """Return the medians (n, 1) of waves (n, k), k even, as `np.median` does in far longer for few of them."""
    ordered, middle = np.sort(waves, axis=1), waves.shape[1] // 2
    medians: Floats = (ordered[:, middle - 1 : middle] + ordered[:, middle : middle + 1]) * np.float32(0.5)
    return medians


def unit_vectors(vectors: Floats) -> tuple[Floats, Floats]:
    """Return vectors (..., k) divided by their lengths, and the lengths (...)."""
    size = np.sqrt((vectors * vectors).sum(-1))
    return vectors / np.maximum(size, np.float32(1e-6))[..., None], size


def best_correlation(shapes: Floats, other: Floats) -> Floats:
    """Return the highest correlation (n,) of any move of (n, moves, QRS) with (n, QRS)."""
    best: Floats = (shapes * other[:, None]).sum(-1).max(1)  # no product of matrices: its order hangs on the processor
    return best
