"""Ventricular ectopy: runs, couplets, bigeminy and trigeminy, R-on-T, and V beats a minute.

These rules know only whether a beat is of class V, its RR interval, and the heart rate. Fast rows of V beats are a
tachycardia (`agent.alarms.vt_beats`).
"""

from collections import deque
from dataclasses import dataclass

from agent.alarms.alarm_manager import AlarmManager
from agent.core.alarm_settings import AlarmConfig
from agent.core.messages import AlarmCondition, Beat
from model.records.resample import FS

MINUTE_SAMPLES = 60 * FS
ALL_LABELS = 2**32 - 1
"""The latest 32 beats are remembered."""


@dataclass(frozen=True, slots=True)
class _EctopicPattern:
    """`cycles` of a rhythm, `beats` in all. `bits` has a 1 for each V beat; the newest beat is the lowest bit."""

    condition: AlarmCondition
    words: str
    cycles: int
    beats: int
    bits: int

    @property
    def mask(self) -> int:
        return (1 << self.beats) - 1


class EctopyRule:
    """The rules of ventricular ectopy of one bed."""

    __slots__ = (
        "_before",
        "_bigeminy",
        "_config",
        "_early",
        "_hold",
        "_known",
        "_labels",
        "_last_early",
        "_manager",
        "_others",
        "_peaks",
        "_run",
        "_trigeminy",
    )

    def __init__(self, config: AlarmConfig, manager: AlarmManager) -> None:
        self._config, self._manager = config, manager
        self._hold = round(config.event_display_s * FS)
        self._bigeminy = _build_pattern(2, config.bigeminy_cycles)
        self._trigeminy = _build_pattern(3, config.trigeminy_cycles)
        self._peaks: deque[int] = deque(maxlen=_kept_peaks(config))
        """R peaks of the latest V beats."""
        self.interrupt()

    def apply(self, config: AlarmConfig) -> None:
        """Take other limits of pauses and of V beats a minute."""
        if config.v_most_per_min > self._config.v_most_per_min:
            self._manager.clear("V rate high")
        self._config = config
        self._peaks = deque(self._peaks, maxlen=_kept_peaks(config))

    def interrupt(self) -> None:
        """Let no run, pattern or count reach back over an interruption."""
        self._peaks.clear()
        self._labels, self._known = 0, 0
        """The latest beats as bits, 1 for V, the newest the lowest; and the number of them."""
        self._run, self._others = 0, 0
        """V beats of the latest run, and beats that are not V since."""
        self._before: float | None = None
        """Mean RR interval in seconds before this beat."""
        self._early: tuple[int, float] | None = None
        """A V beat that may be on the T wave, until the next beat decides: its sample, the mean RR interval before
        it."""
        self._last_early: int | None = None

    def beat(self, beat: Beat, tachycardia: bool) -> None:
        """Take the next beat. `tachycardia`: the row of beats that it belongs to is one."""
        ventricular = beat.label == "V"
        if self._early is not None:
            self._after_early(beat)
        self._labels = (self._labels << 1 | ventricular) & ALL_LABELS
        self._known += 1
        if ventricular:
            late = beat.rr_s is not None and beat.rr_s > self._config.pause_s  # an escape beat belongs to no run
            self._run = 1 if self._others or late else self._run + 1
            self._others = 0
            self._peaks.append(beat.sample)
            if not tachycardia:
                self._runs()
            self._patterns()
            self._count(beat.sample)
            self._prematurity(beat)
        elif self._run:
            self._others += 1
            if self._others == 1 and self._run == 2:
                self._manager.raise_or_extend(
                    "couplet", self._peaks[-2], self._until(), f"2 V beats in a row at {self._rate(2)}/min"
                )
        self._before = 60 / beat.heart_rate if beat.heart_rate else None

    def _until(self) -> int:
        return self._manager.sample + self._hold

    def _rate(self, beats: int) -> int:
        """Return the beats a minute of the latest V beats."""
        return round(60 * FS * (beats - 1) / max(1, self._peaks[-1] - self._peaks[-beats]))

    def _runs(self) -> None:
        """Raise a run for `v_run_beats` V beats in a row."""
        run, kept = self._run, len(self._peaks)
        if run >= self._config.v_run_beats:
            words = f"V beats in a row: {run} at {self._rate(min(run, kept))}/min"
            self._manager.raise_or_extend("V run", self._peaks[-min(run, kept)], self._until(), words)

    def _patterns(self) -> None:
        """Raise bigeminy or trigeminy: a V beat after each one or two others, several cycles in a row."""
        for pattern in (self._bigeminy, self._trigeminy):
            if self._known >= pattern.beats and self._labels & pattern.mask == pattern.bits:
                self._manager.raise_or_extend(
                    pattern.condition, self._peaks[-pattern.cycles], self._until(), pattern.words
                )

    def _count(self, sample: int) -> None:
        """Raise a high number of V beats in the last minute, until it falls to the lower limit."""
        most, fewest, peaks = self._config.v_most_per_min, self._config.v_end_per_min, self._peaks
        many = len(peaks) > most and peaks[-most - 1] > sample - MINUTE_SAMPLES
        if many or (len(peaks) > fewest and self._manager.holds("V rate high")):
            onset = peaks[-most - 1] if many else sample
            self._manager.raise_or_extend(
                "V rate high", onset, peaks[-fewest - 1] + MINUTE_SAMPLES, f"V beats in a minute: over {most}"
            )

    def _prematurity(self, beat: Beat) -> None:
        """Note a V beat so early that it may fall on the T wave, if the rate is slow enough to tell."""
        mean, share = self._before, self._config.r_on_t_share
        if mean is not None and 60 / mean < self._config.r_on_t_most_bpm and beat.rr_s is not None:
            self._early = (beat.sample, mean) if beat.rr_s < share * mean else None

    def _after_early(self, beat: Beat) -> None:
        """Raise R-on-T for an early V beat with a pause after it, or with another one not long ago."""
        assert self._early is not None
        (sample, mean), self._early = self._early, None
        paused = beat.rr_s is not None and beat.rr_s >= self._config.r_on_t_pause * mean
        again = self._last_early is not None and sample - self._last_early <= self._config.r_on_t_again_s * FS
        if paused or again:
            self._manager.raise_or_extend("R-on-T", sample, self._until(), "V beat on the T wave")
        self._last_early = sample


def _kept_peaks(config: AlarmConfig) -> int:
    """Return the V beats that the rules look back on."""
    return max(config.v_run_beats, config.bigeminy_cycles, config.trigeminy_cycles, config.v_most_per_min + 1)


def _build_pattern(length: int, cycles: int) -> _EctopicPattern:
    """Return the pattern of `cycles` cycles of `length` beats, the last of each V."""
    condition: AlarmCondition = "bigeminy" if length == 2 else "trigeminy"
    bits = sum(1 << length * cycle for cycle in range(cycles))
    return _EctopicPattern(
        condition, f"every {'second' if length == 2 else 'third'} beat is V", cycles, length * cycles, bits
    )
