"""From what the net says of one beat to what is said of it: the beats of its shape before it have a voice.

A single beat in noise is easily taken for a ventricular one. Beats of one shape are of one origin, so the log-odds of
V are drawn towards their mean over the earlier beats of the cluster; whether a beat that is not ventricular came early
is a matter of that beat alone. The constants were chosen on folds of DS1 (`docs/decisions.md`).
"""

from dataclasses import dataclass, field
from math import exp, log1p

from model.records import CLASSES

N, S, V = (CLASSES.index(name) for name in "NSV")
NO_BEAT = len(CLASSES)
"""Place of the outcome that the detector was wrong, after those of the classes."""
BIAS = (0.0, -2.0, -0.2, -1.0, -1.0, -2.5)
"""Added to the net's logarithms: what is rare in training as in life is not to be said lightly."""
SHARE, DOUBT = 0.8, 3
"""Of the log-odds of V so much is the cluster's; half of that after so many beats."""
MOST = 6.0
"""No beat says more than this."""
MEMORY = 200
"""Beats over which a cluster's mean is taken."""


@dataclass(slots=True)
class _Row:
    """Mean log-odds of V and number of beats of each cluster."""

    clusters: dict[int, tuple[float, int]] = field(default_factory=dict)


class Verdicts:
    """The verdicts of all rows."""

    def __init__(self, rows: int = 1) -> None:
        self._rows = [_Row() for _ in range(rows)]

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        self._rows += [_Row() for _ in range(rows - len(self._rows))]

    def reset(self, row: int) -> None:
        """Another patient: nothing is known of the clusters."""
        self._rows[row] = _Row()

    def settle(self, row: int, logs: list[float], cluster: int, new: bool) -> tuple[float, ...] | None:
        """Probabilities of the classes for the next beat of a row, or None where it is no beat.

        `logs` the net's log-probabilities of the classes and of no beat; `cluster` as `model.patient` gives it, -1 for
        a candidate that is not learnt from.
        """
        z = [value + bias for value, bias in zip(logs, BIAS, strict=True)]
        if cluster >= 0:
            known = self._rows[row].clusters
            own = max(-MOST, min(MOST, z[V] - _either(z[N], z[S])))
            mean, count = (0.0, 0) if new else known.get(cluster, (0.0, 0))
            share = SHARE * count / (count + DOUBT)
            z[V] += share * (mean - own)
            count = min(count + 1, MEMORY)
            known[cluster] = mean + (own - mean) / count, count
        if z[NO_BEAT] > max(z[:NO_BEAT]):
            return None
        highest = max(z[:NO_BEAT])
        weights = [exp(value - highest) for value in z[:NO_BEAT]]
        total = sum(weights)
        return tuple(weight / total for weight in weights)


def _either(a: float, b: float) -> float:
    """Logarithm of the sum of two probabilities, from their logarithms."""
    return max(a, b) + log1p(exp(-abs(a - b)))
