"""Figures of a classifier on a set of beats: rates, their confidence intervals, and the calibration of its confidence.

A class without test beats has no recall, so means over classes are over the classes that have some.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.nets.beat_net import BeatNet, InferenceNet
from model.nets.context_net import ContextInferenceNet, ContextNet
from model.records.wfdb_records import CLASSES
from model.scoring.bootstrap import BOOTSTRAP_DRAWS, percentile_interval

BATCH_BY_DEVICE = {"cpu": 64, "cuda": 4096, "mps": 4096}
"""Beats in a batch, by device: as many as fit the caches of a CPU, and enough to keep an accelerator busy."""
CONFIDENCE_BINS = 15
"""Bins of the confidence, as in Guo et al. 2017."""
TEMPERATURE_RATIOS = tuple(hundredths / 100 for hundredths in range(40, 401, 5))
"""Temperatures that are tried, each as a multiple of the present one."""
OVERALL_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
PER_CLASS_METRICS = ("recall", "precision", "f1")


@torch.inference_mode()
def predict_beat_scores(net: BeatNet | ContextNet, beats: Tensor) -> Tensor:
    """Return the outputs (n, outcomes) float32 of a net for what it takes (n, columns), on the net's device."""
    quick = InferenceNet(net) if isinstance(net, BeatNet) else ContextInferenceNet(net)
    return torch.cat([quick(batch) for batch in torch.split(beats, BATCH_BY_DEVICE[beats.device.type])])


def class_confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count beats by true class (rows) and predicted class (columns): (5, 5), from two (n,) of indices into CLASSES."""
    size = len(CLASSES)
    return np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)


def compute_class_metrics(matrix: NDArray[np.int64]) -> dict[str, Any]:
    """Return accuracy, balanced accuracy (mean recall), macro-F1, and recall, precision and F1 of each class, in 0..1.

    The means are over `classes_present`, the classes with beats in the matrix (5, 5); the rates of the others are 0.
    """
    rates = _rates_from_confusion(matrix)
    present = matrix.sum(axis=1) > 0
    return {
        **{name: float(rates[name]) for name in OVERALL_METRICS},
        **{name: _keyed_by_class(np.nan_to_num(rates[name]).tolist()) for name in PER_CLASS_METRICS},
        "classes_present": [name for name, there in zip(CLASSES, present, strict=True) if there],
        "confusion": matrix.tolist(),
    }


def compute_calibration(labels: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Compare the confidence in the predicted class with the share of beats that are right.

    Parameters
    ----------
    labels
        (n,) true classes, as index into CLASSES.
    probabilities
        (n, classes) in 0..1.

    Returns
    -------
    dict
        `bins`: 15 of equal width over 0..1, the upper edge inside, each with its `beats`, mean `confidence` and
        `accuracy` (None without beats). `ece`: expected calibration error, the mean distance of the two, weighted by
        beats.

    References
    ----------
    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    confidence = probabilities.max(axis=1, initial=0).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bins = np.clip(np.ceil(confidence * CONFIDENCE_BINS).astype(int) - 1, 0, CONFIDENCE_BINS - 1)
    beats, confidences, hits = (
        np.bincount(bins, weights=values, minlength=CONFIDENCE_BINS)
        for values in (np.ones(len(bins)), confidence, right)
    )
    return {
        "ece": float(np.abs(confidences - hits).sum() / max(len(labels), 1)),
        "bins": [
            {"beats": int(n), "confidence": float(c / n) if n else None, "accuracy": float(h / n) if n else None}
            for n, c, h in zip(beats, confidences, hits, strict=True)
        ],
    }


def change_temperature(probabilities: NDArray[np.floating[Any]], ratio: float) -> NDArray[np.float64]:
    """Return probabilities (n, classes) as they would be at `ratio` times the temperature; the largest stays so."""
    # The largest of each row as 1, so that none of them vanishes.
    relative = probabilities.astype(np.float64) / probabilities.max(axis=1, keepdims=True)
    tempered = relative ** (1 / ratio)
    return np.asarray(tempered / tempered.sum(axis=1, keepdims=True))


def fit_temperature(labels: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]) -> float:
    """Return the ratio of TEMPERATURE_RATIOS with the least expected calibration error.

    `labels` (n,) true classes as index into CLASSES, `probabilities` (n, classes) in 0..1 at the present temperature.
    Of equal ones it is that nearest to 1.
    """
    errors = [
        (compute_calibration(labels, change_temperature(probabilities, ratio))["ece"], abs(ratio - 1), ratio)
        for ratio in TEMPERATURE_RATIOS
    ]
    return min(errors)[2]


def bootstrap_class_intervals(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: NDArray[np.str_],
    *,
    by_record: bool,
    seed: int = 0,
) -> dict[str, Any]:
    """Return 95 % confidence intervals of the figures of `compute_class_metrics`, by the percentile bootstrap.

    Parameters
    ----------
    labels, predicted
        (n,) true and predicted classes of at least one beat, as index into CLASSES.
    groups
        (n,) the record of each beat.
    by_record
        Draw whole records, the unit if patients are kept apart; otherwise draw beats.

    Returns
    -------
    dict
        [low, high] by figure. A class counts in the draws that have beats of it; without test beats its interval is
        None. `unit` and `units` are what was drawn, and of how many.
    """
    size = len(CLASSES)
    rng = np.random.default_rng(seed)
    cells = labels * size + predicted
    if by_record:
        names, record = np.unique(groups, return_inverse=True)
        units = len(names)
        counts = np.bincount(record * size**2 + cells, minlength=units * size**2).reshape(units, size**2)
        drawn = rng.multinomial(units, np.full(units, 1 / units), BOOTSTRAP_DRAWS) @ counts
    else:
        units = len(cells)
        drawn = rng.multinomial(units, np.bincount(cells, minlength=size**2) / units, BOOTSTRAP_DRAWS)
    rates = _rates_from_confusion(drawn.reshape(BOOTSTRAP_DRAWS, size, size))
    present = np.isin(np.arange(size), labels)
    return {
        "draws": BOOTSTRAP_DRAWS,
        "unit": "record" if by_record else "beat",
        "units": units,
        **{name: list(percentile_interval(rates[name])) for name in OVERALL_METRICS},
        **{
            name: _keyed_by_class(
                [list(percentile_interval(rates[name][:, i])) if present[i] else None for i in range(size)]
            )
            for name in PER_CLASS_METRICS
        },
    }


def _rates_from_confusion(matrix: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return rates of matrices (..., 5, 5); those of a class without beats are NaN, and the means leave it out."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    true = matrix.sum(axis=-1)
    predicted = matrix.sum(axis=-2)
    present = true > 0
    per_class = {
        "recall": hits / np.maximum(true, 1),
        "precision": hits / np.maximum(predicted, 1),
        "f1": 2 * hits / np.maximum(true + predicted, 1),
    }
    classes = np.maximum(present.sum(axis=-1), 1)
    return {
        "accuracy": hits.sum(axis=-1) / np.maximum(true.sum(axis=-1), 1),
        "balanced_accuracy": per_class["recall"].sum(axis=-1) / classes,
        "macro_f1": per_class["f1"].sum(axis=-1) / classes,
        **{name: np.where(present, values, np.nan) for name, values in per_class.items()},
    }


def _keyed_by_class(values: list[Any]) -> dict[str, Any]:
    return dict(zip(CLASSES, values, strict=True))
