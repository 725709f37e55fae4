"""What the alarms hear once a second of signal."""

from dataclasses import dataclass
from typing import Protocol


class WindowLike(Protocol):
    """What the judge of the waveform says of the last seconds of a bed.

    `scores`: probabilities of an organised rhythm, VT, VF or flutter, noise, and asystole, empty where nothing can be
    said; `amplitude_mv` peak to peak; `rate` beats a minute where the waveform repeats itself.
    """

    @property
    def scores(self) -> tuple[float, ...]: ...
    @property
    def amplitude_mv(self) -> float: ...
    @property
    def rate(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class AlarmTick:
    """A bed at `sample`, on a fixed grid; everything that was decided up to it has been told.

    `last_qrs` the latest R peak accepted so far, told as a beat or not yet, -1 where there was none since `first`, the
    start of the unbroken stretch; `look` None where nothing can be said.
    """

    sample: int
    last_qrs: int
    first: int
    look: WindowLike | None
