"""The times of samples: how often they were taken, and where some are missing between two of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAP_STEPS = 1.5
"""Periods between two stamps, beyond which samples may be missing between them."""
LEAST_LOST, LOST_A_ROW = 0.6, 0.02
"""Samples that must be lacking for a gap, and how many more for each row that is looked ahead."""
MOST_WHOLE = 1000
"""Samples up to which those that lack are counted by the period of the first stamps; more of them by time."""
SHORTEST_LOOK, LONGEST_LOOK = 8, 2000
"""Rows after a late stamp, by which a gap is told from packets that came late."""
FIRST_STAMPS = 4096
"""Stamps by which a clock is known."""
LONGEST_BURST_STEPS = 200
"""Steps between packets of a device, in periods."""
LOOK_A_SCATTER = 60
"""Rows to look ahead for each sample by which stamps scatter."""
REGULAR_SHARE = 0.6
BACK_S = 1.0
"""Seconds by which a clock must be set back for the recording to be taken for another one."""
BREAK_S = 3.0
"""Seconds without a value put where a clock was set back: how long nothing was recorded is not known."""
DAY_S = 86_400.0
LARGEST_STAMP = 1e15
"""Stamps beyond it are none."""
PIECE_ROWS = 256
"""Rows whose middle stands for them where the rate of the whole is checked."""
STALL_PIECES = 8
"""Pieces for which stamps may be late, as they are after a stall."""
MOST_UNEVEN, MOST_JUMPS = 0.01, 0.1
"""Share of the recording by which stamps may leave an even clock, and of gaps in its rows."""
LEAST_TOLERANCE, SCATTERS = 0.02, 4.0
"""Samples by which the last stamp may differ from a round sampling rate: at least, and by the scatter of stamps."""


@dataclass(frozen=True, slots=True)
class SamplePlaces:
    """The rate in hertz, and the runs of rows without a gap: rows `rows[i]` on are samples `samples[i]` on.

    `notice`: what to tell of the rate.
    """

    fs: float
    rows: NDArray[np.int64]
    samples: NDArray[np.int64]
    notice: str = ""

    def place_rows(self, first: int, count: int) -> NDArray[np.int64]:
        """Return the samples (n,) int64 that `count` rows from `first` on are."""
        rows = np.arange(first, first + count)
        run = np.searchsorted(self.rows, rows, side="right") - 1
        places: NDArray[np.int64] = self.samples[run] + rows - self.rows[run]
        return places

    def find_row(self, sample: int) -> int:
        """Return the last row that is not after a sample."""
        run = int(np.searchsorted(self.samples, sample, side="right")) - 1
        return int(self.rows[run] + sample - self.samples[run])


@dataclass(frozen=True, slots=True)
class StampedRate:
    """What stamps show: the rate in hertz, 0 for a counter; the share by which it may be wrong; if it is one rate."""

    fs: float
    tolerance: float
    even: bool


class StampClock:
    """Stamps in order, block by block.

    `counter`: stamps number the samples. `daily`: they begin anew at midnight.
    """

    def __init__(self, counter: bool = False, daily: bool = False) -> None:
        self._counter, self._daily = counter, daily
        self._waiting = np.empty(0)
        self._rows = 0  # before those that wait
        self._period = 1.0 if counter else 0.0
        self._look = SHORTEST_LOOK
        self._scatter = 0.0
        self._skipped = 0.0
        self._origin = 0.0
        self._sums = np.zeros(4)
        self._jumps: list[tuple[int, float]] = []
        self._middles: list[tuple[float, float]] = []
        self._rows_a_stamp = 1.0

    def push(self, stamps: NDArray[np.float64]) -> None:
        """Take the next stamps (n,) in seconds, or samples of a counter; NaN where a row has none."""
        stamps = np.where(np.abs(stamps) < LARGEST_STAMP, stamps, np.nan)
        if self._daily and len(stamps):
            steps = np.diff(stamps, prepend=self._waiting[-1] if len(self._waiting) else stamps[0])
            stamps = stamps + DAY_S * np.cumsum(np.round(np.nan_to_num(-steps) / DAY_S).clip(0))
        self._waiting = np.concatenate([self._waiting, stamps])
        if not self._period:
            if len(self._waiting) < FIRST_STAMPS:
                return
            self._learn()
        self._examine(len(self._waiting) - 1 - self._look)

    def measure(self) -> StampedRate | None:
        """Return the rate of all stamps; None where they show none. Nothing can be pushed any more."""
        if not self._period:
            self._learn()
        if not self._period:
            return None
        self._examine(len(self._waiting) - 1)
        if self._counter:
            return StampedRate(0.0, 0.0, True)
        scatter = SCATTERS * self._scatter / max(1, self._rows)
        return StampedRate(self._measured_rate(), MOST_UNEVEN + scatter, self._is_even(scatter))

    def places(self, fs: float) -> SamplePlaces:
        """Return the places of all samples, at a rate in hertz."""
        run_rows, run_samples, shift = [0], [0], 0
        for row, missing in self._jumps:
            lost = round(missing if self._counter else missing * fs)
            if lost > 0:
                shift += lost
                run_rows.append(row)
                run_samples.append(row + shift)
        return SamplePlaces(fs, np.array(run_rows, np.int64), np.array(run_samples, np.int64))

    def _is_even(self, scatter: float) -> bool:
        """Whether the stamps, without what is missing between them, stay near one line, and gaps are the exception."""
        rows, times = np.array(self._middles).reshape(-1, 2).T
        if len(self._jumps) > MOST_JUMPS * max(self._rows, PIECE_ROWS):
            return False
        if len(rows) < 3:
            return True
        for _ in range(2):  # what came late, and was then made up for, is no other rate
            away = times - np.polyval(np.polyfit(rows, times, 1), rows)
            padded = np.concatenate([away, np.full(STALL_PIECES, np.inf)])
            times = times - away + np.lib.stride_tricks.sliding_window_view(padded, STALL_PIECES + 1).min(axis=1)
        away = times - np.polyval(np.polyfit(rows, times, 1), rows)
        return float(np.ptp(away)) <= (MOST_UNEVEN + scatter) * float(times[-1] - times[0])

    def _learn(self) -> None:
        """Find the period of the first stamps, how far they lie from an even clock, and how far to look ahead."""
        stamps = _fill_stamps(self._waiting)
        steps = np.diff(stamps)
        if not (steps > 0).any():
            return
        usual = float(np.median(steps))
        regular = np.abs(steps - usual) <= 0.5 * usual
        if usual > 0 and regular.mean() > REGULAR_SHARE:
            self._period = float(steps[regular].mean())
        else:
            kept = steps[steps >= 0]
            for _ in range(3):
                kept = kept[kept <= LONGEST_BURST_STEPS * kept.mean()]
            packets = np.flatnonzero(steps > kept.mean()) + 1
            rows = np.diff(packets) if len(packets) > 1 else np.ones(1)
            usual_rows = float(np.median(rows))
            if (rows == usual_rows).mean() > REGULAR_SHARE:  # a stamp for each packet of samples
                self._period = float(np.median(steps[packets - 1]) / usual_rows)
                self._rows_a_stamp = usual_rows
                self._look = int(np.clip(3 * usual_rows, SHORTEST_LOOK, LONGEST_LOOK))
            else:  # stamps that come early and late
                self._period = float(kept.mean())
        part = stamps[: 4 * self._look]
        rows = np.arange(len(part))
        line = np.polyfit(rows, part, 1) if len(part) > 2 else np.array([self._period, part[0]])
        self._scatter = float(np.std(part - np.polyval(line, rows))) / self._period
        if self._look == SHORTEST_LOOK:
            self._look = int(np.clip(LOOK_A_SCATTER * self._scatter, SHORTEST_LOOK, LONGEST_LOOK))

    def _examine(self, last: int) -> None:
        """Look for gaps between the waiting stamps up to the one at `last`, and let go of those before it."""
        if last < 1:
            return
        stamps = _fill_stamps(self._waiting)
        if not self._rows:
            self._origin = float(stamps[0])
        steps = np.diff(stamps[: last + 1])
        skipped = np.zeros(last + 1)
        padded = np.concatenate([stamps, np.full(self._look, np.inf)])
        ahead = np.arange(1, self._look + 1)
        late = np.flatnonzero(steps > GAP_STEPS * self._period)
        if self._look > SHORTEST_LOOK:  # the last packet may be cut, so nothing before it is known to lack
            late = late[late + self._look < len(stamps)]
        least = LEAST_LOST + LOST_A_ROW * self._look
        late = late[(padded[late + self._look] - stamps[late]) / self._period - self._look >= least]
        for i in late:
            excess = ((padded[i + 1 : i + 1 + self._look] - stamps[i]) / self._period - ahead).min()
            if excess >= least:
                whole = excess if excess > MOST_WHOLE else round(float(excess))
                missing = float(whole * self._period)
                self._jumps.append((self._rows + int(i) + 1, missing))
                skipped[i + 1] += missing
        if not self._counter:
            for i in np.flatnonzero(steps < -max(BACK_S, self._look * self._period)):
                self._jumps.append((self._rows + int(i) + 1, BREAK_S))
                skipped[i + 1] += float(steps[i]) - self._period
        self._jumps.sort()
        self._add_to_line(stamps[:last] - self._skipped - np.cumsum(skipped)[:last])
        self._skipped += float(skipped.sum())
        self._waiting = self._waiting[last:]
        self._rows += last

    def _add_to_line(self, stamps: NDArray[np.float64]) -> None:
        """Add stamps (n,), as if nothing were missing between them, to the sums of the line through all of them."""
        rows = np.arange(self._rows, self._rows + len(stamps), dtype=np.float64)
        times = stamps - self._origin
        whole = len(times) // PIECE_ROWS * PIECE_ROWS
        middles = np.median(times[:whole].reshape(-1, PIECE_ROWS), axis=1)
        self._middles += zip(rows[:whole].reshape(-1, PIECE_ROWS).mean(axis=1), middles, strict=True)
        self._sums += (rows.sum(), times.sum(), (rows * rows).sum(), (rows * times).sum())

    def _measured_rate(self) -> float:
        """Return the rate in hertz of the line through all stamps, as a round number if that fits as well."""
        self._add_to_line(_fill_stamps(self._waiting)[:1] - self._skipped)
        count = self._rows + 1
        rows, times, squares, products = self._sums
        slope = float((products - rows * times / count) / (squares - rows * rows / count))
        if not slope > 0:
            slope = self._period
        tolerance = max(LEAST_TOLERANCE, SCATTERS * self._scatter / np.sqrt(count / self._rows_a_stamp))
        return _simplest_rate(1 / slope, count, tolerance)


def _fill_stamps(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return stamps (n,) with those that are missing put evenly between their neighbours."""
    missing = np.isnan(stamps)
    if not missing.any() or missing.all():
        return stamps
    rows = np.arange(len(stamps))
    return np.interp(rows, rows[~missing], stamps[~missing])


def _simplest_rate(fs: float, steps: int, tolerance: float) -> float:
    """Return the number of fewest decimals that differs from `fs` by less than `tolerance` samples at the end."""
    for decimals in range(6):
        rounded = round(fs, decimals)
        if rounded and abs(rounded / fs - 1) * steps <= tolerance:
            return rounded
    return round(fs, 6)
