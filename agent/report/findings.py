"""What a person wants to know of the beats of a recording: rates, pauses, runs of ectopic beats, counts by hour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.report.bed_recording import RecordedBeats, TimeArray
from model.records.wfdb_records import CLASSES

RATE_BEATS = 8
"""RR intervals that a rate is the mean of."""
STANDSTILL_S = 4.0
"""An RR interval of this length or longer is a standstill: a pause, but no interval of a rate."""
PAUSE_S = 2.0
"""An RR interval of this length or longer is a pause."""
LEAST_RUN_BEATS = 3
"""Beats of a run; two are a couplet."""
MOST_SHOWN = 5
"""Longest pauses and runs that are told."""
BIGEMINY_BEATS = 6
"""Beats in turn, such as N V N V N V, from which on they count as bigeminy."""
_BIN_STEPS_S = (60, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800)
MOST_BINS = 48


@dataclass(frozen=True, slots=True)
class EctopicRun:
    """Beats of one class in a row: `first` to `stop` of all beats; `rate` a minute within it."""

    first: int
    stop: int
    rate: float

    def __len__(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True, slots=True, eq=False)
class TimeBins:
    """Equal parts of the time line, whose edges lie on full hours (or minutes) of the clock where that is known."""

    edges: TimeArray
    step_s: float

    def __len__(self) -> int:
        return len(self.edges) - 1

    def of(self, at_s: TimeArray) -> NDArray[np.int64]:
        """The number of the part that each time lies in."""
        return np.clip(np.searchsorted(self.edges, at_s, side="right") - 1, 0, len(self) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class BeatFindings:
    """`counts` of the classes; `rate` (n,) a minute over RATE_BEATS intervals that end at each beat, NaN where none.

    `slowest`, `fastest`: beats at which the rate is so, None where none is known. `pauses`: beats at their end, the
    longest first, of `pause_count` at beats `paused`. Runs: the longest first; `couplets` by class.
    """

    counts: tuple[int, ...]
    rate: TimeArray
    slowest: int | None
    fastest: int | None
    pauses: tuple[int, ...]
    paused: NDArray[np.int64]
    pause_count: int
    runs: dict[str, tuple[EctopicRun, ...]]
    run_count: dict[str, int]
    couplets: dict[str, int]
    bigeminy: int

    @property
    def total(self) -> int:
        return sum(self.counts)

    def share(self, name: str) -> float:
        """Percent of all beats that are of a class."""
        return 100 * self.counts[CLASSES.index(name)] / self.total if self.total else 0.0


def compute_beat_findings(beats: RecordedBeats, clear: NDArray[np.bool_]) -> BeatFindings:
    """All of it; rates and pauses are those of beats (n,) in `clear` signal."""
    rate = np.where(clear, rolling_rates(beats.rr_s), np.nan)
    known = np.flatnonzero(np.isfinite(rate))
    pauses = np.flatnonzero((beats.rr_s >= PAUSE_S) & clear)
    longest = pauses[np.argsort(-beats.rr_s[pauses], kind="stable")][:MOST_SHOWN]
    rows = {name: find_consecutive_beats(beats, name) for name in "VS"}
    runs = {name: [run for run in rows[name] if len(run) >= LEAST_RUN_BEATS] for name in rows}
    return BeatFindings(
        counts=tuple(np.bincount(beats.label, minlength=len(CLASSES)).tolist()),
        rate=rate,
        slowest=int(known[rate[known].argmin()]) if len(known) else None,
        fastest=int(known[rate[known].argmax()]) if len(known) else None,
        pauses=tuple(longest.tolist()),
        paused=pauses,
        pause_count=len(pauses),
        runs={
            name: tuple(sorted(found, key=lambda run: (-len(run), run.first))[:MOST_SHOWN])
            for name, found in runs.items()
        },
        run_count={name: len(found) for name, found in runs.items()},
        couplets={name: sum(len(run) == 2 for run in found) for name, found in rows.items()},
        bigeminy=_count_bigeminy(beats),
    )


def _longest_first_key(run: EctopicRun) -> tuple[int, int]:
    return -len(run), run.first


def rolling_rates(rr_s: TimeArray) -> TimeArray:
    """(n,) beats a minute over the last RATE_BEATS intervals, where all of them are known and none is a standstill."""
    out = np.full(len(rr_s), np.nan)
    if len(rr_s) >= RATE_BEATS:
        known = rr_s < STANDSTILL_S  # which NaN is not
        sums = np.cumsum(np.concatenate([[0.0], np.where(known, rr_s, 0.0)]))
        counts = np.cumsum(np.concatenate([[0], known]))
        whole = counts[RATE_BEATS:] - counts[:-RATE_BEATS] == RATE_BEATS
        spans = sums[RATE_BEATS:] - sums[:-RATE_BEATS]
        out[RATE_BEATS - 1 :] = np.where(whole & (spans > 0), 60 * RATE_BEATS / np.where(spans > 0, spans, 1), np.nan)
    return out


def find_consecutive_beats(beats: RecordedBeats, name: str) -> list[EctopicRun]:
    """All rows of two or more beats of a class, without a hole between them."""
    mine = beats.of(name)
    if not len(mine):
        return []
    joined = np.concatenate([[False], mine[1:] & mine[:-1] & np.isfinite(beats.rr_s[1:])])
    starts = np.flatnonzero(mine & ~joined)
    ends = np.flatnonzero(mine & ~np.concatenate([joined[1:], [False]])) + 1
    found = []
    for first, stop in zip(starts.tolist(), ends.tolist(), strict=True):
        if stop - first >= 2:
            span = float(beats.at_s[stop - 1] - beats.at_s[first])
            found.append(EctopicRun(first, stop, 60 * (stop - first - 1) / span if span > 0 else 0.0))
    return found


def choose_time_bins(started_s: float | None, length_s: float, most: int = MOST_BINS) -> TimeBins:
    """Parts of the time line, as many as there may be at most."""
    zero = (started_s or 0.0) % 604_800
    step = next(
        (step for step in _BIN_STEPS_S if length_s / step <= most - 1), max(_BIN_STEPS_S[-1], length_s / (most - 1))
    )
    first = -(zero % step)
    count = max(1, int(np.ceil((length_s - first) / step)))
    return TimeBins(first + step * np.arange(count + 1, dtype=np.float64), float(step))


def count_by_bin(beats: RecordedBeats, parts: TimeBins) -> NDArray[np.int64]:
    """(parts, classes) beats."""
    out = np.zeros((len(parts), len(CLASSES)), np.int64)
    np.add.at(out, (parts.of(beats.at_s), beats.label.astype(np.int64)), 1)
    return out


def bin_extremes(values: TimeArray, at_s: TimeArray, parts: TimeBins) -> tuple[TimeArray, TimeArray, TimeArray]:
    """Least, mean and greatest of the values in each part, NaN where there are none."""
    known = np.isfinite(values)
    number, kept = parts.of(at_s[known]), values[known]
    least, most = np.full(len(parts), np.inf), np.full(len(parts), -np.inf)
    np.minimum.at(least, number, kept)
    np.maximum.at(most, number, kept)
    counts = np.bincount(number, minlength=len(parts))
    sums = np.bincount(number, kept, minlength=len(parts))
    nothing = counts == 0
    least[nothing] = most[nothing] = np.nan
    return least, np.divide(sums, counts, out=np.full(len(parts), np.nan), where=~nothing), most


def _count_bigeminy(beats: RecordedBeats) -> int:
    """Ventricular beats that alternate with others, over BIGEMINY beats or more."""
    mine = beats.of("V")
    if len(mine) < BIGEMINY_BEATS:
        return 0
    turns = np.concatenate([[False], (mine[1:] != mine[:-1]) & np.isfinite(beats.rr_s[1:])])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], turns, [False]]).astype(np.int8)))
    total = 0
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start + 1 >= BIGEMINY_BEATS:
            total += int(mine[start - 1 : stop].sum())
    return total
