"""What is mended in a lead at the device's own rate, before it is resampled: short holes and pacemaker pulses.

A hole in the resampling filter would take the 160 ms around it with it, and a pulse of a millisecond would come out of
the filter as wide as a QRS complex. So holes of a few samples are bridged and pulses are blanked, each by the straight
line between the samples around it. What was bridged or blanked is told beside the samples: it was not measured.

A sample depends on `reach` samples before and behind it and on nothing else, however the signal is cut into pieces.
"""

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

LONGEST_HOLE_MS = 40.0
"""Longer holes stay holes: 40 ms is the narrowest QRS complex, so none can hide in what is bridged."""
HOLE_FLANKS = 2
"""A hole is bridged between unbroken samples on both sides, this many times as many as are missing."""
PULSE_MS = 12.0
"""What is blanked of a pulse: 2 ms at most, and what the input filter of a device makes of them."""
BEFORE_MS, BEHIND_MS = 20.0, 12.0
"""What a pulse must stand out from; less behind it, where the beat may begin that it paces."""
LEAST_PULSE_MV = 0.3
"""A lower pulse is lower than the lowest QRS complex once it is resampled."""
LEAST_JUMP_MV = 0.1
"""Step from one sample to the next with which a pulse begins."""
LEAST_SAMPLE_MV = 1.5
"""The same at rates that show a pulse as one sample."""
PULSE_RATE = 200.0
"""Rates in hertz below this show a pulse as one sample."""
PULSE_CONTRAST = 2.2
"""A pulse is this many times as high as its flanks vary together: overshoot moves the one behind it, ..."""
ONSET_CONTRAST = 8.0
"""... and this many times as high as the one before it bends, as it does at the Q wave of a narrow QRS complex."""

STEEPEST_SHARE, STEEP_PER_S = 0.85, 350.0
"""A pulse comes or goes in one sample by this share of its height, less at rates that show its edges.
Pulses that a tape or a slow input filter has made as wide as 10 ms do not; they are part of their beat."""
TAIL_S = 0.6
"""The overshoot of a pulse decays for this long at most, ..."""
SHORTEST_DECAY_S, LONGEST_DECAY_S = 0.002, 0.2
"""... with a time constant between these; another course behind a pulse is the heart's."""
LEAST_TAIL_MV = 0.05
"""A lower overshoot is left as it is."""
LEAST_TAIL_SAMPLES = 3
"""Samples above that from which the decay is known."""


@dataclass(frozen=True, slots=True, eq=False)
class ConditionedSignal:
    """Samples `x` (n,) in the unit that was given, NaN where holes remain.

    `holes`: first sample of each hole that was bridged, and the one behind it. `pulses`: first sample of each pulse
    that was blanked. Indices count from the first sample of the signal.
    """

    x: NDArray[np.floating]
    holes: tuple[tuple[int, int], ...] = ()
    pulses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Limits:
    """The limits of this module in samples of a rate, and in millivolts."""

    hole: int
    pulse: int
    before: int
    behind: int
    tail: int
    steep_share: float
    least_mv: float
    jump_mv: float
    """A pulse begins with a step of this size at least."""

    @property
    def reach(self) -> int:
        """Samples before and behind a sample that it depends on."""
        return (1 + HOLE_FLANKS) * self.hole + 2 * (self.pulse + self.before + self.behind) + self.tail


@lru_cache(maxsize=64)
def _limits(fs: float) -> _Limits:
    hole = int(LONGEST_HOLE_MS * fs / 1000)
    before, behind = ceil(BEFORE_MS * fs / 1000), max(2, ceil(BEHIND_MS * fs / 1000))
    if fs < PULSE_RATE:
        return _Limits(hole, 1, before, behind, 0, 0.0, LEAST_SAMPLE_MV, LEAST_SAMPLE_MV)
    steep = min(STEEPEST_SHARE, STEEP_PER_S / fs)
    pulse, tail = ceil(PULSE_MS * fs / 1000), ceil(TAIL_S * fs)
    return _Limits(hole, pulse, before, behind, tail, steep, LEAST_PULSE_MV, LEAST_JUMP_MV)


def least_jump(fs: float, unit_mv: float = 1.0) -> float:
    """Return the least step at `fs` hertz with which a pulse begins, in a unit of `unit_mv` millivolts."""
    return _limits(fs).jump_mv / unit_mv if unit_mv else float("inf")


def is_pulse_single(fs: float) -> bool:
    """Return whether a pulse at `fs` hertz has one sample."""
    return _limits(fs).pulse == 1


def conditioning_reach(fs: float) -> int:
    """Return how many samples at `fs` hertz before and behind a sample its conditioning depends on."""
    return _limits(fs).reach


def conditioning_delay_s(fs: float) -> float:
    """Return the seconds of later signal at `fs` hertz that a sample waits for where a pulse may be."""
    return (_limits(fs).pulse + _limits(fs).behind) / fs


def condition_signal(x: NDArray[np.floating], fs: float, unit_mv: float = 1.0) -> ConditionedSignal:
    """Bridge the short holes of a whole lead and blank its pacemaker pulses.

    Parameters
    ----------
    x : (n,) floating
        One lead, NaN where a sample has no value.
    fs : float
        Its sampling rate in hertz.
    unit_mv : float
        Millivolts in one unit of `x`; 0 if it is no voltage, and has no pulses.

    Returns
    -------
    ConditionedSignal
        A new array of n samples, what was bridged and what was blanked.
    """
    return _condition_part(x, _limits(fs), unit_mv, whole=True)[0]


class SignalConditioner:
    """The same for a stream at `fs` hertz, of which a unit is `unit_mv` millivolts, 0 if it is no voltage.

    Only samples that later ones may still change are held back.

    Indices of holes and pulses count from the first sample that was pushed.
    """

    def __init__(self, fs: float, unit_mv: float = 1.0) -> None:
        self._fs = fs
        self._limits = _limits(fs)
        self._unit_mv = unit_mv
        self._jump = least_jump(fs, unit_mv)
        self._recent: deque[NDArray[np.floating]] = deque(maxlen=self._limits.reach)
        """The latest pieces that were decided, as they came: with one sample each there are enough of them."""
        self._held: NDArray[np.floating] | None = None
        self._told = 0
        """Samples that were returned."""
        self._tail_end = 0
        """Sample before which the overshoot of a pulse may still decay."""
        self.last = float("nan")
        """The latest sample, NaN where there is none or it has no value."""

    @property
    def is_idle(self) -> bool:
        """Whether plain samples come out as they are, if no pulse begins with the first of them."""
        return self._held is None and self._told >= self._tail_end

    def passes(self, first: float) -> bool:
        """Return whether `pass_on` may take plain samples, the first of which is `first`; else they are for `push`."""
        return self.is_idle and not abs(first - self.last) >= self._jump

    def pass_on(self, x: NDArray[np.floating], count: int = 0) -> None:
        """Take samples (n,), n > 0, that are plain in themselves, and that pass; or the last n of `count` of them."""
        self._recent.append(x)
        self._told += max(count, len(x))
        self.last = x.item(-1)

    def push(self, x: NDArray[np.floating]) -> ConditionedSignal:
        """Take the next samples (n,), NaN without a value; return those that are decided."""
        if len(x):
            if not (self.passes(x.item(0)) and plain_rows(x[None], self._fs, self._unit_mv)[0]):
                return self._mend(x, whole=False)
            self.pass_on(x)
        return ConditionedSignal(x)

    def flush(self) -> ConditionedSignal:
        """End the stretch: return the samples that waited for later ones."""
        if self._held is None:
            return ConditionedSignal(np.empty(0))
        return self._mend(self._held[:0], whole=True)

    @property
    def waits(self) -> bool:
        """Whether samples are held back."""
        return self._held is not None

    def _mend(self, x: NDArray[np.floating], whole: bool) -> ConditionedSignal:
        """Condition what is held and the next samples behind it, with the context that their conditioning needs."""
        held = x if self._held is None else np.concatenate([self._held, x])
        context = np.concatenate([*self._recent, held[:0]])[-self._limits.reach :]
        before, told = len(context), self._told
        first = told - before
        mended, decided = _condition_part(np.concatenate([context, held]), self._limits, self._unit_mv, whole)
        if mended.pulses:
            self._tail_end = max(self._tail_end, first + mended.pulses[-1] + self._limits.pulse + self._limits.tail)
        done = held[: max(0, decided - before)]
        self._told += len(done)
        if len(done):
            self._recent.append(done)
        if len(held):
            self.last = held.item(-1)
        self._held = held[len(done) :] if len(done) < len(held) else None
        holes = ((start + first, stop + first) for start, stop in mended.holes)
        return ConditionedSignal(
            mended.x[before : before + len(done)],
            tuple(hole for hole in holes if told <= hole[0] < self._told),
            tuple(start + first for start in mended.pulses if told <= start + first < self._told),
        )


def plain_rows(x: NDArray[np.floating], fs: float, unit_mv: float = 1.0) -> NDArray[np.bool_]:
    """Return for each row of `x` (rows, n), n > 0, whether it has a value everywhere and nothing that may be a pulse.

    The first sample of a row may still be one, beside that before it.
    """
    jump = least_jump(fs, unit_mv)
    if x.shape[1] == 1:
        return np.asarray(~np.isnan(x[:, 0]))
    steps = x[:, 1:] - x[:, :-1]
    if not is_pulse_single(fs) or x.shape[1] == 2:
        return np.asarray(np.abs(steps).max(axis=1) < jump)  # NaN where a value is missing
    # A pulse of one sample is a step there and a step back; behind the last step there may be another.
    there_and_back = (steps[:, 1:] * steps[:, :-1]).min(axis=1)
    return np.asarray((there_and_back > -jump * jump) & (np.abs(steps[:, -1]) < jump))


def _condition_part(
    x: NDArray[np.floating], limits: _Limits, unit_mv: float, whole: bool
) -> tuple[ConditionedSignal, int]:
    """Condition samples (n,); return them and how many of them no later sample can change."""
    mended, holes, decided = _bridge_holes(x, limits, whole)
    if not unit_mv:
        return ConditionedSignal(mended, holes), decided
    pulses, decided = _find_pulses(mended, limits, unit_mv, len(x) if whole else decided)
    if whole:
        decided = len(x)
    if len(pulses):
        _remove_overshoot(mended, pulses, limits, unit_mv)
        _blank_pulses(mended, pulses, limits.pulse)
    return ConditionedSignal(mended, holes, tuple(pulses.tolist())), decided


def _bridge_holes(
    x: NDArray[np.floating], limits: _Limits, whole: bool
) -> tuple[NDArray[np.floating], tuple[tuple[int, int], ...], int]:
    """Return a copy of `x` (n,) without its short holes, these, and how many samples no later one can change."""
    missing = np.isnan(x)
    mended = x.copy()
    if not missing.any():
        return mended, (), len(x)
    padded = np.concatenate([[False], missing, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    starts, stops = edges[::2], edges[1::2]
    bridged = []
    decided = len(x)
    for start, stop, before, behind in zip(starts, stops, [0, *stops[:-1]], [*starts[1:], len(x)], strict=True):
        flank = HOLE_FLANKS * (stop - start)
        if stop - start > limits.hole or start - before < flank:
            continue
        if behind - stop >= flank:
            bridged.append((start, stop))
        elif behind == len(x) and not whole:
            decided = start
            break
    if bridged:
        filled = np.concatenate([np.arange(start, stop) for start, stop in bridged])
        known = np.flatnonzero(~missing)
        mended[filled] = np.interp(filled, known, x[known])
    return mended, tuple(bridged), decided


def _find_pulses(x: NDArray[np.floating], limits: _Limits, unit_mv: float, known: int) -> tuple[NDArray[np.int64], int]:
    """Return the first sample of each pulse in `x` (n,), of which `known` samples are decided.

    Also return how many samples cannot become part of another pulse.
    """
    steps = np.flatnonzero(np.abs(x[1:] - x[:-1]) >= limits.jump_mv / unit_mv) + 1
    steps = steps[(steps < known) & (steps >= limits.before)]
    is_open = steps + limits.pulse + limits.behind > known
    decided = next((int(step) for step in steps[is_open] if _may_be_pulse(x[:known], step, limits, unit_mv)), known)
    steps = steps[~is_open]
    if not len(steps):
        return steps, decided
    core = x[steps[:, None] + np.arange(limits.pulse)]
    front = x[steps[:, None] + np.arange(-limits.before, 0)]
    back = x[steps[:, None] + np.arange(limits.pulse, limits.pulse + limits.behind)]
    found = steps[_is_pulse(front, core, back, limits, unit_mv)]
    return found[np.diff(found, prepend=-limits.pulse) >= limits.pulse], decided


def _may_be_pulse(x: NDArray[np.floating], step: int, limits: _Limits, unit_mv: float) -> bool:
    """Return whether what begins at sample `step` of `x` (n,) can be a pulse: more flank makes it none, never one."""
    behind = step + limits.pulse
    if behind > len(x):
        return True
    front, core, back = x[step - limits.before : step], x[step:behind], x[behind:]
    return bool(_is_pulse(front[None], core[None], back[None], limits, unit_mv)[0])


def _is_pulse(
    front: NDArray[np.floating],
    core: NDArray[np.floating],
    back: NDArray[np.floating],
    limits: _Limits,
    unit_mv: float,
) -> NDArray[np.bool_]:
    """Return for each row (rows, n) of what is before, in and behind a pulse whether it is one."""
    low = np.minimum(front.min(axis=1), back.min(axis=1, initial=np.inf))
    high = np.maximum(front.max(axis=1), back.max(axis=1, initial=-np.inf))
    height = np.maximum(core.max(axis=1) - high, low - core.min(axis=1))
    bends = front - (front[:, :1] + (front[:, -1:] - front[:, :1]) * np.linspace(0, 1, front.shape[1]))
    noise = np.maximum(PULSE_CONTRAST * (high - low), ONSET_CONTRAST * np.ptp(bends, axis=1))
    found = (height >= limits.least_mv / unit_mv) & (height >= noise)
    if limits.steep_share and back.shape[1]:
        course = np.concatenate([front[:, -1:], core, back[:, :1]], axis=1)
        found &= np.abs(np.diff(course, axis=1)).max(axis=1) >= limits.steep_share * height
    return np.asarray(found)


def _remove_overshoot(x: NDArray[np.floating], pulses: NDArray[np.int64], limits: _Limits, unit_mv: float) -> None:
    """Take from `x` (n,) what decays behind each pulse, on the other side of the line than the pulse."""
    if not limits.tail:
        return
    raw = x.copy()
    place = np.arange(limits.behind)
    for start in pulses.tolist():
        behind = start + limits.pulse
        course = raw[behind : behind + limits.behind] - raw[start - 1]
        peak = raw[start:behind] - raw[start - 1]
        side = -np.sign(peak[np.abs(peak).argmax()])
        low = np.flatnonzero(~(side * course >= LEAST_TAIL_MV / unit_mv))
        count = int(low[0]) if len(low) else len(course)
        if count < LEAST_TAIL_SAMPLES:
            continue
        slope, height = np.polyfit(place[:count], np.log(side * course[:count]), 1)
        decay_s = -TAIL_S / (slope * limits.tail) if slope < 0 else 0.0
        if SHORTEST_DECAY_S <= decay_s <= LONGEST_DECAY_S:
            rest = x[behind : behind + limits.tail]
            rest -= (side * np.exp(height + slope * np.arange(len(rest)))).astype(x.dtype)


def _blank_pulses(x: NDArray[np.floating], pulses: NDArray[np.int64], width: int) -> None:
    """Put in `x` (n,) the straight line between the samples around each pulse in its place."""
    before, behind = x[pulses - 1], x[pulses + width]
    share = np.arange(1, width + 1) / (width + 1)
    x[pulses[:, None] + np.arange(width)] = before[:, None] + share * (behind - before)[:, None]
