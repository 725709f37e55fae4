"""What is known of each patient's RR intervals, and the rhythm of a beat described in comparison with it.

Early or late is relative: to the last beats, to the last two minutes, and to what the sinus node did before an ectopic
rhythm took over. So recent intervals are kept, quantiles of more of them are followed step by step, and the steady
interval moves only as a sinus node would. The state is arrays with one row for each patient; the result for one row
does not depend on the others, to the last bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PatientRows = NDArray[np.intp]

KEPT_INTERVALS, LONG_INTERVALS, RECENT_INTERVALS, ONSET_INTERVALS = 128, 64, 16, 9
"""RR intervals that are kept, those of the longer rhythm, those that make up the current one, and those in which a
sudden change counts."""
KEPT_SHARES = (0.1, 0.5, 0.9, 0.97)
"""Quantiles of the kept intervals that a beat's intervals are compared with: the frequent rhythm may be the ectopic
one."""
NEAR, SIMILAR, SIMILAR_NEXT = np.float32(0.05), np.float32(0.12), np.float32(0.08)
"""Distances between logarithms of intervals that count as equal."""
SLOW_SHARES, SLOW_BEATS = np.array([0.5, 0.9, 0.9, 0.97]), np.array([256, 64, 512, 1500])
"""Quantiles that are followed step by step, and the beats after which each has followed a heart twice as fast."""
SLOW_STEP = (np.log(2) / ((1 - SLOW_SHARES) * SLOW_BEATS)).astype(np.float32)
SINUS_RATE, SINUS_RISE, SINUS_FALL = np.float32(0.1), np.float32(0.002), np.float32(-0.0007)
"""How the steady interval follows one that is similar to it, and drifts towards longer and shorter ones: a sinus node
changes its rate gradually, so what begins at once is not believed for minutes."""
PAUSE_RR_S = 3.0
"""RR intervals of this length or more are pauses, and not learnt from."""
LEAST_RR_S = np.float32(0.05)
"""The same for RR intervals."""
FIRST_LOG_RR = np.float32(np.log(0.8))
"""Logarithm of the RR interval (s) that is assumed for a new patient."""

RHYTHM_FEATURES = (  # noqa: SIM905  # reads as a table
    """rr/own rr1/own rr2/own next/own rr/recent next/recent rr/next rr/recent80 rr/long25 rr/long50 rr/long75
    mean/long50 mean/long75 irregularity own shortening shortening_at lengthening no_next
    rr/kept10 rr/kept50 rr/kept90 rr/kept97 next/kept10 next/kept50 next/kept90 next/kept97 kept_near kept_similar
    kept_shorter kept_similar_next rr/slow50 rr/slow90 rr/slower90 rr/slowest97 rr/steady next/slow50 next/slow90
    next/slower90 next/slowest97 next/steady unsteady"""
).split()
"""Names of the numbers that describe the rhythm; `/` stands for the logarithm of a ratio, `own` for the patient's own
RR interval, `kept`, `long` and `recent` for quantiles of the last intervals, `slow` for those followed step by step."""


class RhythmHistory:
    """The RR intervals of all patients."""

    def __init__(self, rows: int = 1) -> None:
        # Every attribute is an array with one row per patient: `grow` and `start` rely on it.
        self._intervals = np.full((rows, KEPT_INTERVALS), np.nan, np.float32)  # ln(RR), the latest last
        self._own_rr = np.full(rows, FIRST_LOG_RR, np.float32)
        self._slow = np.full((rows, len(SLOW_STEP) + 1), np.nan, np.float32)  # ln(RR), the last is the steady interval
        self._unsteady = np.zeros(rows, np.float32)  # beats since an interval was similar to the steady one
        self._learnt = np.zeros(rows, np.float32)  # beats

    def grow(self, rows: int) -> None:
        """Make room for more rows; the existing ones keep their state."""
        append_rows(self, RhythmHistory(max(0, rows - len(self._own_rr))))

    def start(self, row: int) -> None:
        """Forget a row: a run begins."""
        reset_row(self, row, RhythmHistory())

    def describe(
        self, rows: PatientRows, rr_s: Floats, next_s: Floats, no_next: NDArray[np.bool_]
    ) -> tuple[tuple[NDArray[Any], ...], Floats]:
        """Describe the rhythm up to the next beats of `rows` (n,), all different.

        Parameters
        ----------
        rows
            (n,) patients.
        rr_s
            (n, 3) RR intervals up to each beat in seconds, the latest first; NaN if unknown.
        next_s
            (n,) seconds to the next R peak, or to the time at which waiting for it ended (`no_next`, (n,)).

        Returns
        -------
        tuple
            The numbers of RHYTHM_FEATURES, each (n,), and the logarithm (n,) of the recent median RR interval.
        """
        own = self._own_rr[rows]
        rr = log_of(np.maximum(rr_s, LEAST_RR_S))
        rr = np.where(np.isnan(rr), own[:, None], rr)
        following = log_of(np.maximum(next_s, LEAST_RR_S))
        intervals = self._intervals[rows]
        long25, long50, long75 = _interval_quantiles(intervals[:, -LONG_INTERVALS:], (0.25, 0.5, 0.75), own)
        recent = intervals[:, -RECENT_INTERVALS:]
        recent50, recent80 = _interval_quantiles(recent, (0.5, 0.8), own)
        changes = np.abs(np.diff(recent, axis=1))
        known = ~np.isnan(changes)
        count = known.sum(1)
        irregularity = 4 * np.where(known, changes, 0).sum(1) / np.maximum(count, 1)
        steps = np.diff(np.concatenate([intervals[:, -ONSET_INTERVALS:], rr[:, :1]], axis=1), axis=1)
        steps[np.isnan(steps)] = 0
        latest = rr[:, 0]
        mean = rr.mean(1)
        numbers = (
            latest - own,
            rr[:, 1] - own,
            rr[:, 2] - own,
            following - own,
            latest - recent50,
            following - recent50,
            latest - following,
            latest - recent80,
            latest - long25,
            latest - long50,
            latest - long75,
            mean - long50,
            mean - long75,
            np.where(count > 2, irregularity, 0),
            own - FIRST_LOG_RR,
            steps.min(1),
            (steps.argmin(1) / ONSET_INTERVALS),
            steps.max(1),
            no_next,
            *self._slow_features(rows, latest, following, own),
        )
        return numbers, recent50

    def _slow_features(
        self, rows: PatientRows, latest: Floats, following: Floats, own: Floats
    ) -> tuple[NDArray[Any], ...]:
        """Return the numbers of RHYTHM_FEATURES from `rr/kept10` on, each (n,), of intervals as logarithms (n,)."""
        kept = self._intervals[rows]
        known = np.maximum((~np.isnan(kept)).sum(1), 1)
        quantiles = _interval_quantiles(kept, KEPT_SHARES, own)
        away = kept - latest[:, None]
        distance = np.abs(away)
        slow = self._slow[rows]
        slow = np.where(np.isnan(slow), own[:, None], slow)
        return (
            *(latest - quantile for quantile in quantiles),
            *(following - quantile for quantile in quantiles),
            (distance < NEAR).sum(1) / known,
            (distance < SIMILAR).sum(1) / known,
            (away < -SIMILAR).sum(1) / known,
            (np.abs(kept - following[:, None]) < SIMILAR_NEXT).sum(1) / known,
            *(latest[:, None] - slow).T,
            *(following[:, None] - slow).T,
            log_1p_of(self._unsteady[rows]) / 4,
        )

    def learn(self, rows: PatientRows, interval: Floats, recent: Floats, dominant: NDArray[np.bool_]) -> None:
        """Learn from the next beats of `rows` (k,): ln(RR) `interval` (k,), NaN if unknown or a pause.

        `recent` (k,) is what `describe` returned, `dominant` (k,) whether both beats of an interval are dominant ones.
        """
        self._follow_own_rr(rows, interval, recent, dominant)
        self._follow_slowly(rows, interval)
        self._intervals[rows, :-1] = self._intervals[rows, 1:]
        self._intervals[rows, -1] = interval
        self._learnt[rows] += 1

    def _follow_own_rr(self, rows: PatientRows, interval: Floats, recent: Floats, dominant: NDArray[np.bool_]) -> None:
        """Move the patients' own RR intervals: quickly by those between two dominant beats, slowly by the others."""
        own = self._own_rr[rows]
        rate = np.where(self._learnt[rows] < 8, np.float32(0.3), np.float32(0.1))
        rate = np.where(dominant, rate, np.float32(0.02))
        target = np.where(dominant, interval, recent)
        moved = own + rate * np.clip(target - own, -0.3, 0.3)
        self._own_rr[rows] = np.where(np.isnan(interval), own, moved)

    def _follow_slowly(self, rows: PatientRows, interval: Floats) -> None:
        """Move the slow quantiles and the steady interval of the patients by the next intervals, ln(RR) (k,)."""
        slow = self._slow[rows]
        away = interval[:, None] - slow
        quantiles = slow[:, :-1]
        step = np.where(away[:, :-1] > SLOW_STEP, SLOW_SHARES, 0) - np.where(
            away[:, :-1] < -SLOW_STEP, 1 - SLOW_SHARES, 0
        )
        steady = np.abs(away[:, -1]) < SIMILAR
        drift = np.where(away[:, -1] > 0, SINUS_RISE, SINUS_FALL)
        moved = np.concatenate(
            [
                quantiles + (SLOW_STEP * step).astype(np.float32),
                (slow[:, -1] + np.where(steady, SINUS_RATE * away[:, -1], drift))[:, None],
            ],
            axis=1,
        )
        unknown = np.isnan(interval)
        moved = np.where(np.isnan(slow), interval[:, None], moved)
        self._slow[rows] = np.where(unknown[:, None], slow, moved)
        unsteady = self._unsteady[rows]
        self._unsteady[rows] = np.where(unknown, unsteady, np.where(steady | np.isnan(slow[:, -1]), 0, unsteady + 1))


def log_of(x: NDArray[Any]) -> Floats:
    """Return logarithms as every processor has them: NumPy's own of float32 differ in the last bit."""
    return np.log(x.astype(np.float64)).astype(np.float32)


def log_1p_of(x: NDArray[Any]) -> Floats:
    """Return the logarithms of 1 + x in the same way."""
    return np.log1p(x.astype(np.float64)).astype(np.float32)


def append_rows(state: object, more: object) -> None:
    """Append the rows of each array of `more` to that of `state`, an object of the same class."""
    for name, array in vars(state).items():
        if isinstance(array, np.ndarray):
            setattr(state, name, np.concatenate([array, getattr(more, name)]))


def reset_row(state: object, row: int, new: object) -> None:
    """Set a row of each array of `state` to the first row of `new`, an object of the same class."""
    for name, array in vars(state).items():
        if isinstance(array, np.ndarray):
            array[row] = getattr(new, name)[0]


def _interval_quantiles(intervals: Floats, shares: tuple[float, ...], otherwise: Floats) -> list[Floats]:
    """Return quantiles (n,) of the known intervals (n, k), without interpolation; `otherwise` (n,) if none is known."""
    ordered = np.sort(intervals, axis=1)  # NaN comes last
    known = (~np.isnan(ordered)).sum(1)
    last = np.maximum(known - 1, 0)[:, None]
    ranks = np.minimum(last, (known[:, None] * np.array(shares)).astype(np.intp))
    quantiles = np.where(known[:, None] > 0, ordered[np.arange(len(ordered))[:, None], ranks], otherwise[:, None])
    return list(quantiles.T)
