"""From what the net says of one beat to what is said of it: the beats of its shape before it have a voice.

A single beat in noise is easily taken for a ventricular one. Beats of one shape are of one origin, so the log-odds of
V are drawn towards their mean over the earlier beats of the cluster; whether a beat that is not ventricular came early
is a matter of that beat alone. In noise a shape tells little: there V and S are said only of shapes that were known
before, the others become Q, unclassifiable. The constants were chosen on DS1, as it is and in noise
(`docs/decisions.md`).
"""

from math import exp, log1p

from model.records.wfdb_records import CLASSES

N, S, V, Q = (CLASSES.index(name) for name in "NSVQ")
NO_BEAT = len(CLASSES)
"""Place of the outcome that the detector was wrong, after those of the classes."""
CLASS_BIAS = (0.0, -2.0, -0.2, -1.0, -1.0, -2.5)
"""Added to the net's logarithms: what is rare in training as in life is not to be said lightly."""
CLUSTER_SHARE, HALF_SHARE_BEATS = 0.8, 3
"""Of the log-odds of V so much is the cluster's; half of that after so many beats."""
MOST_LOG_ODDS = 6.0
"""No beat says more than this."""
CLUSTER_MEMORY = 200
"""Beats over which a cluster's mean is taken."""
NOISY_LEVEL = 0.3
"""Level of noise (`model.beats.templates`) from which on the signal is noisy: in DS1 as it is 1 % of the beats are
above it."""
NOISE_BIAS = 1.0
"""Added to the logarithm of no beat in noise."""
KNOWN_SHAPE_BEATS = 3
"""Beats in clear signal that make a shape known."""


class ClusterSmoothing:
    """The verdicts of all rows."""

    def __init__(self, rows: int = 1) -> None:
        self._rows: list[dict[int, tuple[float, int]]] = [{} for _ in range(rows)]
        """Mean log-odds of V and number of beats of each cluster, from clear signal."""

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        self._rows += [{} for _ in range(rows - len(self._rows))]

    def start(self, row: int, run: object) -> None:  # noqa: ARG002  # a run is like any other
        """Begin a run, which may be another patient's: nothing is known of the clusters."""
        self._rows[row] = {}

    def interrupt(self, row: int, interruption: object) -> None:
        """Keep the clusters: it is the same patient on both sides of an interruption."""

    def flush(self, row: int) -> tuple[()]:  # noqa: ARG002  # nothing waits here
        """Return nothing."""
        return ()

    def push(self, row: int, logs: list[float], cluster: int, new: bool, noise: float) -> tuple[float, ...] | None:
        """Probabilities of the classes for the next beat of a row, or None where it is no beat.

        `logs` the net's log-probabilities of the classes and of no beat; `cluster` and `noise` as
        `model.beats.templates` gives them, -1 for a candidate that is not learnt from.
        """
        clusters, noisy = self._rows[row], noise > NOISY_LEVEL
        z = [value + bias for value, bias in zip(logs, CLASS_BIAS, strict=True)]
        mean, count = (0.0, 0) if new else clusters.get(cluster, (0.0, 0))
        if cluster >= 0:
            own = max(-MOST_LOG_ODDS, min(MOST_LOG_ODDS, z[V] - _log_add_exp(z[N], z[S])))
            z[V] += CLUSTER_SHARE * count / (count + HALF_SHARE_BEATS) * (mean - own)
            if not noisy:
                count = min(count + 1, CLUSTER_MEMORY)
                clusters[cluster] = mean + (own - mean) / count, count
            elif new:
                clusters.pop(cluster, None)
        if noisy:
            z[NO_BEAT] += NOISE_BIAS
        highest = max(z[:NO_BEAT])
        if z[NO_BEAT] > highest:
            return None
        weights = [exp(value - highest) for value in z[:NO_BEAT]]
        if noisy and count < KNOWN_SHAPE_BEATS:
            weights[Q] += weights[S] + weights[V]
            weights[S] = weights[V] = 0.0
        total = sum(weights)
        return tuple(weight / total for weight in weights)


def _log_add_exp(a: float, b: float) -> float:
    """Logarithm of the sum of two probabilities, from their logarithms."""
    return max(a, b) + log1p(exp(-abs(a - b)))
