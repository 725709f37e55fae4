"""The class of a beat, from the net's output for it and for the earlier beats of the same shape.

In noise, a net easily takes a single beat for a ventricular one. Beats of one shape have one origin, so the log-odds
of V are drawn towards their mean over the earlier beats of the cluster. Whether any other beat came early (S or N)
depends on that beat alone, so the rest is not smoothed. In noise a shape is unreliable: only shapes that were known
before can be V or S there, the others become Q, unclassifiable. The constants were chosen on held-out records of the
training side (`docs/decisions.md`).
"""

from collections.abc import Sequence
from functools import reduce
from math import exp, log, log1p
from operator import add

from model.records.wfdb_records import CLASSES

N, S, V, Q = (CLASSES.index(name) for name in "NSVQ")
NO_BEAT = len(CLASSES)
"""Index of the outcome "no beat, the detector was wrong", after those of the classes."""
CLASS_BIAS = (0.0, -1.2, -0.2, -1.0, -1.0, -1.5)
"""Added to the net's log-probabilities of the classes and of no beat: rare outcomes need stronger evidence."""
CLUSTER_SHARE, HALF_SHARE_BEATS = 0.3, 3
"""Weight of the cluster in the log-odds of V, and the number of beats after which it has half of that weight."""
MOST_LOG_ODDS = 6.0
"""The log-odds of one beat are clipped to this, so that no single beat dominates a mean."""
CLUSTER_MEMORY = 200
"""Beats over which a cluster's mean is taken."""
NOISY_LEVEL = 0.3
"""Noise level (`model.beats.templates`) above which the signal is noisy: 1 % of the beats of DS1 are above it."""
NOISE_BIAS = 1.0
"""Added to the log-probability of no beat in noise."""
KNOWN_SHAPE_BEATS = 3
"""Beats in clear signal that make a shape known."""
TEMPERATURE = 1.0
"""By which the final scores are divided before they become probabilities: above 1 the net claims to be less sure.

It makes of the largest probability a confidence: of beats with 0.8, eight of ten are right. It is the one with the
least expected calibration error (Guo et al. 2017) on training records that were held out of the training, as
`python -m benchmarks.calibration` computes it. It never changes which class is the most probable.
"""


class ClusterSmoothing:
    """Smoothed class probabilities for the beats of all rows."""

    def __init__(self, rows: int = 1) -> None:
        self._rows: list[dict[int, tuple[float, int]]] = [{} for _ in range(rows)]
        """Mean log-odds of V and number of beats of each cluster, from clear signal."""

    def grow(self, rows: int) -> None:
        """Make room for more rows; the existing ones keep their state."""
        self._rows += [{} for _ in range(rows - len(self._rows))]

    def start(self, row: int, run: object) -> None:  # noqa: ARG002  # a run is like any other
        """Begin a run, which may be another patient's: nothing is known of the clusters."""
        self._rows[row] = {}

    def push(self, row: int, logs: Sequence[float], cluster: int, new: bool, noise: float) -> tuple[float, ...] | None:
        """Return the class probabilities of the next candidate of a row, or None if it is no beat.

        Parameters
        ----------
        row : int
        logs : sequence of float
            The net's log-probabilities of the classes, in the order of CLASSES, and of no beat.
        cluster : int
            Cluster of the candidate from `model.beats.templates`; -1 for one that is not learnt from.
        new : bool
            Whether the candidate started that cluster.
        noise : float
            Noise level from `model.beats.templates`.
        """
        clusters = self._rows[row]
        noisy = noise > NOISY_LEVEL
        scores = list(map(add, logs, CLASS_BIAS))
        mean, count = (0.0, 0) if new else clusters.get(cluster, (0.0, 0))
        if cluster >= 0:
            own = max(-MOST_LOG_ODDS, min(MOST_LOG_ODDS, scores[V] - _log_add_exp(scores[N], scores[S])))
            scores[V] += CLUSTER_SHARE * count / (count + HALF_SHARE_BEATS) * (mean - own)
            if not noisy:
                count = min(count + 1, CLUSTER_MEMORY)
                clusters[cluster] = mean + (own - mean) / count, count
            elif new:  # it took over the number of another cluster, whose mean no longer holds
                clusters.pop(cluster, None)
        if noisy:
            scores[NO_BEAT] += NOISE_BIAS
        of_any_class = reduce(add, map(exp, logs[:NO_BEAT]))
        if not of_any_class or scores[NO_BEAT] > log(of_any_class):
            return None
        highest = max(scores[:NO_BEAT])
        weights = [exp(score - highest) for score in scores[:NO_BEAT]]
        if noisy and count < KNOWN_SHAPE_BEATS:
            weights[Q] += weights[S] + weights[V]
            weights[S] = weights[V] = 0.0
        return temper_weights(weights, TEMPERATURE)

    def push_all(
        self,
        rows: Sequence[int],
        logs: Sequence[Sequence[float]],
        clusters: Sequence[int],
        new: Sequence[bool],
        noise: Sequence[float],
    ) -> list[tuple[float, ...] | None]:
        """Return what `push` does of n candidates, each row's in order."""
        return list(map(self.push, rows, logs, clusters, new, noise))


def temper_weights(weights: list[float], temperature: float) -> tuple[float, ...]:
    """Return the probabilities of classes from their weights, whose logarithms are divided by `temperature`."""
    exponent = 1 / temperature
    tempered = [weight**exponent for weight in weights] if exponent != 1 else weights
    total = reduce(add, tempered)  # in this order whatever the version of Python
    return tuple([weight / total for weight in tempered])


def _log_add_exp(a: float, b: float) -> float:
    """Return the logarithm of the sum of two probabilities, given their logarithms."""
    return max(a, b) + log1p(exp(-abs(a - b)))
