"""Figures of the beats of a recording: rates, pauses, runs of ectopic beats, counts by hour.

`[rhythm]` and `[alarms]` of the settings define rates, pauses, runs and bigeminy, as they do for the monitor.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.core.alarm_settings import AlarmConfig
from agent.core.config import Config, RhythmConfig
from agent.report.bed_recording import RecordedBeats, TimeArray
from model.records.wfdb_records import CLASSES

MOST_SHOWN = 8
"""Longest pauses and runs that are kept."""
_BIN_STEPS_S = (60, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800)
MOST_BINS = 48


@dataclass(frozen=True, slots=True)
class EctopicRun:
    """Beats of one class in a row: `first` to `stop` of all beats; `rate` in beats a minute within it.

    `doubtful`: the class of most of its beats is.
    """

    first: int
    stop: int
    rate: float
    doubtful: bool = False

    def __len__(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True, slots=True, eq=False)
class TimeBins:
    """Equal parts of the time line; edges lie on full hours (or minutes) of the clock where that is known."""

    edges: TimeArray
    step_s: float

    def __len__(self) -> int:
        return len(self.edges) - 1

    def of(self, at_s: TimeArray) -> NDArray[np.int64]:
        """Return the index (n,) of the part in which each time (n,) in seconds lies."""
        return np.clip(np.searchsorted(self.edges, at_s, side="right") - 1, 0, len(self) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class BeatFindings:
    """`counts` of the classes; `rate` (n,) beats a minute averaged up to each beat, NaN where it is not known.

    `slowest`, `fastest`: beats at which the rate is least and greatest, None if no rate is known. `paused` (k,): the
    beats that end a pause, `pauses` those of the longest ones, the longest first. `runs` of V and S beats, the longest
    first; `run_count` and `couplets` by class. `bigeminy`: V beats in bigeminy.

    In atrial fibrillation, where an early beat says little, no S beat counts for burden, couplets and runs:
    `fibrillating` beats lie in it, `fibrillating_s` of them were called S. `sure_s_runs`: all runs of S beats whose
    class is not doubtful, the longest first.
    """

    counts: tuple[int, ...]
    rate: TimeArray
    slowest: int | None
    fastest: int | None
    pauses: tuple[int, ...]
    paused: NDArray[np.int64]
    runs: dict[str, tuple[EctopicRun, ...]]
    run_count: dict[str, int]
    couplets: dict[str, int]
    bigeminy: int
    fibrillating: int = 0
    fibrillating_s: int = 0
    sure_s_runs: tuple[EctopicRun, ...] = ()

    @property
    def total(self) -> int:
        """Number of all beats."""
        return sum(self.counts)

    @property
    def pause_count(self) -> int:
        """Number of all pauses."""
        return len(self.paused)

    def share(self, name: str) -> float:
        """Return the beats of a class in percent of all beats; of S both outside atrial fibrillation only."""
        total = self.total - self.fibrillating * (name == "S")
        return 100 * self.number(name) / total if total else 0.0

    def number(self, name: str) -> int:
        """Return the number of beats of a class; of S outside atrial fibrillation only."""
        return self.counts[CLASSES.index(name)] - self.fibrillating_s * (name == "S")


def compute_beat_findings(
    beats: RecordedBeats, clear: NDArray[np.bool_], config: Config, fibrillating: NDArray[np.bool_] | None = None
) -> BeatFindings:
    """Compute all figures of the beats of a recording.

    Parameters
    ----------
    beats : RecordedBeats
        All n beats in order.
    clear : (n,) bool
        Whether the signal at each beat is clear enough for rates and pauses. Counts and runs are of all beats.
    config : Config
        `[rhythm]` defines the rate, `[alarms]` pauses, runs and bigeminy.
    fibrillating : (n,) bool, optional
        Whether each beat lies in atrial fibrillation; none does if left out.
    """
    alarms = config.alarms
    rate = np.where(clear, rolling_rates(beats.rr_s, config.rhythm), np.nan)
    known = np.flatnonzero(np.isfinite(rate))
    paused = np.flatnonzero((beats.rr_s > alarms.pause_s) & clear)
    longest = paused[np.argsort(-beats.rr_s[paused], kind="stable")][:MOST_SHOWN]
    inside = np.zeros(len(beats), np.bool_) if fibrillating is None else fibrillating
    mine = {"V": beats.of("V"), "S": beats.of("S") & ~inside}
    rows = {name: find_consecutive_beats(beats, of, alarms.pause_s) for name, of in mine.items()}
    doubt = config.dashboard.least_confidence
    runs = {
        name: [_doubted_run(row, beats, doubt) for row in rows[name] if len(row) >= alarms.v_run_beats] for name in rows
    }
    ordered = {name: tuple(sorted(group, key=lambda run: (-len(run), run.first))) for name, group in runs.items()}
    return BeatFindings(
        counts=tuple(np.bincount(beats.label, minlength=len(CLASSES)).tolist()),
        rate=rate,
        slowest=int(known[rate[known].argmin()]) if len(known) else None,
        fastest=int(known[rate[known].argmax()]) if len(known) else None,
        pauses=tuple(longest.tolist()),
        paused=paused,
        runs={name: group[:MOST_SHOWN] for name, group in ordered.items()},
        run_count={name: len(group) for name, group in runs.items()},
        couplets={name: sum(len(row) == 2 for row in group) for name, group in rows.items()},
        bigeminy=_count_bigeminy(beats, alarms),
        fibrillating=int(inside.sum()),
        fibrillating_s=int((beats.of("S") & inside).sum()),
        sure_s_runs=tuple(run for run in ordered["S"] if not run.doubtful),
    )


def _doubted_run(run: EctopicRun, beats: RecordedBeats, least_confidence: float) -> EctopicRun:
    """Return the run, and whether the class of more than half of its beats is doubtful."""
    doubtful = int((beats.confidence[run.first : run.stop] < least_confidence).sum())
    return replace(run, doubtful=2 * doubtful > len(run))


def rolling_rates(rr_s: TimeArray, config: RhythmConfig) -> TimeArray:
    """Return the heart rate (n,) in beats a minute at the end of each RR interval (n,) in seconds.

    It is the rate that the monitor shows (`agent.analysis.rate_tracker.mean_heart_rate`): the mean of the last
    `rate_intervals`, or of the last `slow_intervals` where the heart is slow. Unlike there, it is NaN where fewer
    intervals are known since a gap (NaN) or an interval of `pause_s` or longer, so that no extreme comes from a few.
    """
    slow_count = _sum_latest((rr_s > config.slow_s).astype(np.float64), config.slow_intervals)
    usual, slow = (
        _mean_rate(rr_s, count, config.standstill_s) for count in (config.rate_intervals, config.slow_intervals)
    )
    return np.where((slow_count >= config.slow_least) & np.isfinite(slow), slow, usual)


def _mean_rate(rr_s: TimeArray, count: int, standstill_s: float) -> TimeArray:
    """Return the rate (n,) over the last `count` intervals (n,), NaN unless all are known and none is a standstill."""
    known = rr_s < standstill_s  # NaN is not
    whole = _sum_latest(known.astype(np.float64), count) == count
    total_s = _sum_latest(np.where(known, rr_s, 0.0), count)
    rate = np.full(len(rr_s), np.nan)
    np.divide(60.0 * count, total_s, out=rate, where=whole & (total_s > 0))
    return rate


def _sum_latest(values: TimeArray, count: int) -> TimeArray:
    """Return the sum (n,) of each value and the `count` - 1 before it, NaN where there are fewer."""
    # The difference of two running sums: one pass, however long the window.
    sums = np.cumsum(np.concatenate([[0.0], values]))
    out = np.full(len(values), np.nan)
    out[count - 1 :] = sums[count:] - sums[:-count]
    return out


def find_consecutive_beats(beats: RecordedBeats, mine: NDArray[np.bool_], pause_s: float) -> list[EctopicRun]:
    """Return all rows of two or more beats that are `mine` (n,); a gap or an RR interval over `pause_s` ends a row."""
    if not len(mine):
        return []
    # Whether each beat continues the row of the one before it; a comparison with NaN is false.
    joined = np.concatenate([[False], mine[1:] & mine[:-1] & (beats.rr_s[1:] <= pause_s)])
    starts = np.flatnonzero(mine & ~joined)
    ends = np.flatnonzero(mine & ~np.concatenate([joined[1:], [False]])) + 1
    rows = []
    for first, stop in zip(starts.tolist(), ends.tolist(), strict=True):
        if stop - first >= 2:
            span_s = float(beats.at_s[stop - 1] - beats.at_s[first])
            rows.append(EctopicRun(first, stop, 60 * (stop - first - 1) / span_s if span_s > 0 else 0.0))
    return rows


def choose_time_bins(started_s: float | None, length_s: float, most: int = MOST_BINS) -> TimeBins:
    """Return the shortest equal parts of the time line, `most` of them at most."""
    # Counted from a full week, the longest step, so that edges lie on the clock.
    zero = (started_s or 0.0) % 604_800
    step = next(
        (step for step in _BIN_STEPS_S if length_s / step <= most - 1), max(_BIN_STEPS_S[-1], length_s / (most - 1))
    )
    first = -(zero % step)
    count = max(1, int(np.ceil((length_s - first) / step)))
    return TimeBins(first + step * np.arange(count + 1, dtype=np.float64), float(step))


def count_by_bin(beats: RecordedBeats, parts: TimeBins) -> NDArray[np.int64]:
    """Return the number of beats (parts, classes) of each class in each part."""
    out = np.zeros((len(parts), len(CLASSES)), np.int64)
    np.add.at(out, (parts.of(beats.at_s), beats.label.astype(np.int64)), 1)
    return out


def bin_extremes(values: TimeArray, at_s: TimeArray, parts: TimeBins) -> tuple[TimeArray, TimeArray, TimeArray]:
    """Return least, mean and greatest (parts,) of the values (n,) at times (n,) in seconds, NaN for an empty part."""
    known = np.isfinite(values)
    number = parts.of(at_s[known])
    kept = values[known]
    least, most = np.full(len(parts), np.inf), np.full(len(parts), -np.inf)
    np.minimum.at(least, number, kept)
    np.maximum.at(most, number, kept)
    counts = np.bincount(number, minlength=len(parts))
    sums = np.bincount(number, kept, minlength=len(parts))
    nothing = counts == 0
    least[nothing] = most[nothing] = np.nan
    return least, np.divide(sums, counts, out=np.full(len(parts), np.nan), where=~nothing), most


def _count_bigeminy(beats: RecordedBeats, config: AlarmConfig) -> int:
    """Count V beats that follow another beat in turn, `bigeminy_cycles` times or more without a gap."""
    mine = beats.of("V")
    # True at each beat that differs from the one before it: a row of these alternates.
    turns = np.concatenate([[False], (mine[1:] != mine[:-1]) & np.isfinite(beats.rr_s[1:]), [False]])
    edges = np.flatnonzero(np.diff(turns.astype(np.int8))) + 1
    cycles = [int(mine[start:stop].sum()) for start, stop in edges.reshape(-1, 2).tolist()]
    return sum(count for count in cycles if count >= config.bigeminy_cycles)
