"""Figures of a diagnostic test with 95 % intervals, by the bootstrap over patients.

A draw takes as many patients as there are, with replacement, and with each all of its recordings and beats. All rivals
are measured on the same draws, so the interval of a difference is a paired one. The figure of a rival that was trained
with several seeds is the mean over them, within every draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.scoring.bootstrap import BOOTSTRAP_DRAWS, percentile_interval

METRICS = ("accuracy", "precision", "recall", "specificity", "auroc")

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
    """Return METRICS (5,) of cases (n,) with log-odds and weights, at a threshold of 0.5; the area counts ties half."""
    return _weighted_metrics(labels, (logits > 0).astype(float), np.unique(logits, return_inverse=True)[1], weights)


def estimate_metrics(sample: CaseSample, seed: int) -> tuple[list[dict[str, Estimate]], list[list[Estimate]]]:
    """Return the figures of each rival by metric, and the differences in area, [i][j] of rival i less rival j."""
    ranked = [
        [((logits > 0).astype(float), np.unique(logits, return_inverse=True)[1].astype(np.intp)) for logits in seeds]
        for seeds in sample.logits
    ]

    def measured(weights: Floats) -> list[Floats]:
        """Return METRICS (seeds, 5) of each rival."""
        return [np.stack([_weighted_metrics(sample.labels, *rank, weights) for rank in seeds]) for seeds in ranked]

    unweighted = measured(np.ones(len(sample.labels)))
    drawn = np.stack(
        [[metrics.mean(axis=0) for metrics in measured(weights)] for weights in _bootstrap_weights(sample, seed)]
    )
    whole = np.stack([metrics.mean(axis=0) for metrics in unweighted])
    by_metric = [
        {
            name: Estimate(float(whole[i, m]), *percentile_interval(drawn[:, i, m]), float(metrics[:, m].std()))
            for m, name in enumerate(METRICS)
        }
        for i, metrics in enumerate(unweighted)
    ]
    area, areas = whole[:, -1], drawn[:, :, -1]
    rivals = range(len(unweighted))
    differences = [
        [Estimate(float(area[i] - area[j]), *percentile_interval(areas[:, i] - areas[:, j])) for j in rivals]
        for i in rivals
    ]
    return by_metric, differences


def _bootstrap_weights(sample: CaseSample, seed: int) -> list[Floats]:
    """Return how often each case (n,) is in each draw; a draw that lacks a class is repeated."""
    rng = np.random.default_rng(seed)
    size = int(sample.groups.max()) + 1
    draws: list[Floats] = []
    while len(draws) < BOOTSTRAP_DRAWS:
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
