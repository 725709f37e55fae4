"""Figures of a test for a disease with 95 % intervals: the bootstrap over patients (Efron & Tibshirani 1993).

A draw takes as many patients as there are, with replacement, and with each all of its recordings and beats. Rivals are
measured on the same draws, so the interval of their difference is a paired one. Where a rival was trained with several
seeds a figure is the mean over them, within every draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

METRICS = ("accuracy", "precision", "recall", "specificity", "auroc")
DRAWS = 1000
CONFIDENCE_LEVEL = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its 95 % interval, and its standard deviation over the seeds."""

    value: float
    low: float
    high: float
    seeds_sd: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class CaseSample:
    """Cases (n,): their `labels`, 0 or 1, the `groups` they are drawn by, and the log-odds (seeds, n) of each rival."""

    labels: NDArray[np.int64]
    groups: NDArray[np.intp]
    logits: Sequence[Floats]


def measure_cases(labels: NDArray[np.int64], logits: Floats, weights: Floats) -> Floats:
    """METRICS (5,) of weighted cases (n,) at a threshold of 0.5; the area counts ties half."""
    return _weighted_metrics(labels, (logits > 0).astype(float), np.unique(logits, return_inverse=True)[1], weights)


def estimate_metrics(sample: CaseSample, seed: int) -> tuple[list[dict[str, Estimate]], list[list[Estimate]]]:
    """Figures of each rival by metric, and of the differences in area, [i][j] of rival i less rival j."""
    ranked = [
        [((said > 0).astype(float), np.unique(said, return_inverse=True)[1].astype(np.intp)) for said in of]
        for of in sample.logits
    ]

    def measured(weights: Floats) -> list[Floats]:
        """(seeds, 5) of each rival."""
        return [np.stack([_weighted_metrics(sample.labels, *one, weights) for one in of]) for of in ranked]

    found = measured(np.ones(len(sample.labels)))
    drawn = np.stack([[of.mean(axis=0) for of in measured(weights)] for weights in _bootstrap_weights(sample, seed)])
    whole = np.stack([of.mean(axis=0) for of in found])
    by_metric = [
        {
            name: Estimate(float(whole[i, m]), *_quantile_interval(drawn[:, i, m]), float(of[:, m].std()))
            for m, name in enumerate(METRICS)
        }
        for i, of in enumerate(found)
    ]
    area, areas = whole[:, -1], drawn[:, :, -1]
    sides = range(len(found))
    differences = [
        [Estimate(float(area[i] - area[j]), *_quantile_interval(areas[:, i] - areas[:, j])) for j in sides]
        for i in sides
    ]
    return by_metric, differences


def _bootstrap_weights(sample: CaseSample, seed: int) -> list[Floats]:
    """How often each case is in each draw; a draw without both classes is made again."""
    rng = np.random.default_rng(seed)
    size = int(sample.groups.max()) + 1
    draws: list[Floats] = []
    while len(draws) < DRAWS:
        weights = np.bincount(rng.integers(size, size=size), minlength=size)[sample.groups].astype(float)
        if weights[sample.labels == 0].any() and weights[sample.labels == 1].any():
            draws.append(weights)
    return draws


def _weighted_metrics(labels: NDArray[np.int64], positive: Floats, rank: NDArray[np.intp], weights: Floats) -> Floats:
    ill = weights * labels
    well = weights - ill
    hits, false_alarms = float(ill @ positive), float(well @ positive)
    wells = np.bincount(rank, well)
    below = np.cumsum(wells) - wells / 2
    area = (np.bincount(rank, ill) @ below) / (ill.sum() * well.sum())
    return np.array(
        [
            (hits + well.sum() - false_alarms) / weights.sum(),
            hits / max(hits + false_alarms, 1.0),
            hits / ill.sum(),
            1 - false_alarms / well.sum(),
            area,
        ]
    )


def _quantile_interval(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return float(low), float(high)
