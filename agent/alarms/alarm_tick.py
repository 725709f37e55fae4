"""What the alarm rules of a bed are given once a second of signal."""

import msgspec

from agent.analysis.rhythm_windows import WindowScores


class AlarmTick(msgspec.Struct, frozen=True, gc=False):
    """A bed at `sample`, on a fixed grid; the rules know of everything that was decided up to it.

    `last_qrs` is the latest R peak that was accepted, classified as a beat already or not, -1 if there was none since
    `first`, the start of the unbroken stretch. `window` is None while the stretch is shorter than a window. Of several
    leads these are the heard one and any good other, and `other_beat` is the latest beat of a good one that is not
    heard. `jump_mv`: how far the baseline moved in the latest seconds, measured only while no R peak comes.
    """

    sample: int
    last_qrs: int
    first: int
    window: WindowScores | None
    other_beat: int = -1
    jump_mv: float = 0.0
