"""Heart rate, variability and counts of every bed, beat by beat.

The heart rate is that of bedside monitors: the mean of the last 12 RR intervals, of the last 4 alone where the heart is
slow, so that it follows a slow heart as quickly as a fast one. A silence of `standstill_s` or more is not an RR
interval: the rate begins again behind it.

RMSSD and SDNN after Task Force 1996 (doi:10.1161/01.CIR.93.5.1043): over NN intervals, those between two consecutive
beats of class N; RMSSD takes differences of adjacent NN intervals only.
"""

from collections import deque
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from agent.analysis.stage import Interruption, RunStart
from agent.core.config import RhythmConfig
from agent.core.views import RhythmSummary
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.rhythm.hrv import measure_rmssd, measure_sdnn

LEAST_INTERVALS = 10
"""Fewer NN intervals, or differences of adjacent ones, are no measure of variability."""


class _RateRow:
    """Intervals and counts of one bed."""

    def __init__(self, config: RhythmConfig) -> None:
        self.rr_s: deque[float] = deque(maxlen=max(config.rate_intervals, config.slow_intervals))
        self.nn_s: deque[float] = deque(maxlen=config.hrv_beats)
        """NN intervals, NaN between two that are not adjacent."""
        self.counts = [0] * len(CLASSES)
        self.last: tuple[int, str] | None = None
        """Sample and class of the latest beat."""
        self.variability: tuple[float | None, float | None] | None = None
        """RMSSD and SDNN in milliseconds, None until asked for: pictures are drawn more often than beats come."""


class RateTracker:
    """Follows the heart rate, its variability and the beat counts of all rows."""

    def __init__(self, config: RhythmConfig, rows: int = 1) -> None:
        self._config = config
        self._rows = [_RateRow(config) for _ in range(rows)]

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        self._rows += [_RateRow(self._config) for _ in range(rows - len(self._rows))]

    def start(self, row: int, run: RunStart) -> None:  # noqa: ARG002  # a run is like any other
        """Begin a run: nothing of the one before counts."""
        self._rows[row] = _RateRow(self._config)

    def interrupt(self, row: int, interruption: Interruption) -> None:  # noqa: ARG002  # each kind breaks the rhythm
        """Begin the rate again behind the interruption; variability and counts go on."""
        state = self._rows[row]
        state.rr_s.clear()
        state.nn_s.append(np.nan)
        state.last = state.variability = None

    def push(self, row: int, sample: int, label: str, rr_s: float | None, known: int) -> float | None:
        """Take the next beat of a row: R peak, class, and the RR interval in seconds that ends at it.

        Return the heart rate in beats a minute at sample `known`, when it was decided.
        """
        state = self._rows[row]
        state.counts[CLASSES.index(label)] += 1
        if rr_s is not None:
            state.rr_s.append(rr_s)
            normal = label == "N" and state.last is not None and state.last[1] == "N"
            state.nn_s.append(rr_s if normal and rr_s < self._config.standstill_s else np.nan)
            state.variability = None
        state.last = sample, label
        return self.heart_rate(row, known)

    def interval(self, row: int, sample: int) -> float | None:
        """Return the seconds from the last beat of a row to `sample`; None before the first and after a break."""
        last = self._rows[row].last
        return (sample - last[0]) / FS if last is not None else None

    def heart_rate(self, row: int, now: int) -> float | None:
        """Return the beats a minute at sample `now`; None before two beats and after a pause."""
        state = self._rows[row]
        if state.last is None or not state.rr_s or now - state.last[0] > self._config.standstill_s * FS:
            return None
        return mean_heart_rate(state.rr_s, self._config)

    def view(self, row: int, now: int) -> RhythmSummary:
        """Summarise the rhythm of a row at sample `now`."""
        state = self._rows[row]
        if state.variability is None:
            state.variability = _rmssd_and_sdnn(1000 * np.array(state.nn_s))
        rmssd_ms, sdnn_ms = state.variability
        return RhythmSummary(
            heart_rate=self.heart_rate(row, now),
            rr_ms=1000 * state.rr_s[-1] if state.rr_s else None,
            rmssd_ms=rmssd_ms,
            sdnn_ms=sdnn_ms,
            counts=tuple(state.counts),
        )


def mean_heart_rate(rr_s: Sequence[float], config: RhythmConfig) -> float | None:
    """Return the beats a minute of RR intervals `rr_s` (n,) in seconds, the newest last; None without any.

    Only intervals since the last pause count: the latest `rate_intervals` of them, or the latest `slow_intervals` if
    `slow_least` of those are longer than `slow_s`.
    """
    since = list(reversed(rr_s))
    longest = max(since, default=0.0)
    if longest >= config.standstill_s:
        since = list(takewhile(lambda interval: interval < config.standstill_s, since))
    latest = since[: config.rate_intervals]
    if longest > config.slow_s:  # else none is slow, as nearly always
        slow = since[: config.slow_intervals]
        if sum([interval > config.slow_s for interval in slow]) >= config.slow_least:
            latest = slow
    return 60 * len(latest) / sum(latest) if latest else None


def _rmssd_and_sdnn(nn_ms: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """RMSSD and SDNN of NN intervals (n,) in milliseconds, NaN between two that are not adjacent; None of too few."""
    steps, known = np.diff(nn_ms), nn_ms[~np.isnan(nn_ms)]
    steps = steps[~np.isnan(steps)]
    rmssd_ms = measure_rmssd(steps) if len(steps) >= LEAST_INTERVALS else None
    return rmssd_ms, measure_sdnn(known) if len(known) >= LEAST_INTERVALS else None
