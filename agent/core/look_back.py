"""What viewers see of a bed's past, as frozen data: its trend by the minute, its alarms, and pieces of its signal."""

from dataclasses import dataclass
from typing import NamedTuple

from agent.core.messages import Alarm, AlarmIdentity, Beat, FloatArray

MINUTE_S = 60
TREND_HOURS = (1, 2, 6, 12, 24)
"""Spans of a trend that viewers offer."""


class MinuteTotals(NamedTuple):
    """What a trend keeps of one minute: sums and counts, from which any span can be made.

    `rate_sum` over `rate_count` beats that have a heart rate, the `lowest` and `highest` of them (0 without any);
    `quality_sum` over `quality_count` beats whose lead has a quality; seconds of `signal_s` and `missing_s`.
    """

    rate_sum: float = 0.0
    rate_count: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    v_beats: float = 0.0
    s_beats: float = 0.0
    quality_sum: float = 0.0
    quality_count: float = 0.0
    signal_s: float = 0.0
    missing_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PastAlarm:
    """An alarm as it stands, with Unix times: of its onset and its end (None: it goes on, or that is not known).

    `handled_by`: who acknowledged it, "" at the terminal of the monitor, None if nobody did or that is not known.
    """

    alarm: Alarm
    onset_s: float
    ended_s: float | None = None
    handled_by: str | None = None

    @property
    def identity(self) -> AlarmIdentity:
        """What all states of the alarm have in common."""
        return self.alarm.identity


@dataclass(frozen=True, slots=True, eq=False)
class BedTrend:
    """A bed minute by minute: each array (n,) float32, NaN where nothing is known; the first is minute `first_minute`.

    Minutes since the Unix epoch. `heart_rate` is the mean, `lowest` and `highest` of the shown rate in beats a minute;
    `v_beats`, `s_beats` a minute of signal; `quality` of the heard lead and `missing` share of the samples, 0 to 1.
    `alarms` that began in this span, the earliest first. `is_filling`: the recording is still being read.
    """

    bed: str
    first_minute: int
    heart_rate: FloatArray
    lowest: FloatArray
    highest: FloatArray
    v_beats: FloatArray
    s_beats: FloatArray
    quality: FloatArray
    missing: FloatArray
    alarms: tuple[PastAlarm, ...] = ()
    is_filling: bool = False

    def __len__(self) -> int:
        return len(self.heart_rate)


@dataclass(frozen=True, slots=True, eq=False)
class SignalPiece:
    """A piece of the signal of one lead: `wave` (n,) float32 mV at 125 Hz from sample `first` of a run, NaN if missing.

    `beats` whose R peaks lie in it, in order; `first_s`: Unix time of the first sample, None where it is not known;
    `uncalibrated`: the millivolts are only as high as usual.
    """

    bed: str
    run: str
    lead: str
    first: int
    wave: FloatArray
    beats: tuple[Beat, ...] = ()
    first_s: float | None = None
    uncalibrated: bool = False

    @property
    def stop(self) -> int:
        """The sample after the last."""
        return self.first + len(self.wave)


@dataclass(frozen=True, slots=True, eq=False)
class AlarmStrip:
    """An alarm, and the signal around its announcement."""

    past: PastAlarm
    piece: SignalPiece


@dataclass(frozen=True, slots=True)
class PastRequest:
    """What a viewer needs of a bed's past; `hours` of trend (0: none), its alarms, a strip, or the signal of a run.

    `signal`: run, first sample at 125 Hz and number of samples. `lead`: whose signal, "" for the recorded default.
    """

    bed: str
    hours: int = 0
    alarms: bool = False
    strip: AlarmIdentity | None = None
    signal: tuple[str, int, int] | None = None
    lead: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class BedPast:
    """The answer to a PastRequest: what is known by now. `reading`: more is being read; `trouble`: why it is not."""

    bed: str
    trend: BedTrend | None = None
    alarms: tuple[PastAlarm, ...] = ()
    strip: AlarmStrip | None = None
    signal: SignalPiece | None = None
    reading: bool = False
    trouble: str = ""
