"""Everything that travels between the stages, as frozen data.

Time is a sample index at the chunk's own rate, counted from the start of the record or run; the wall clock is only ever
a stamp that the edges put on (`sent_s`, `arrived_s`: seconds since the Unix epoch).
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from agent.core.events import Event

FloatArray = NDArray[np.float32]
MISSING = -(2**31)
"""The count that holds no value."""


@dataclass(frozen=True, slots=True)
class Lead:
    """One lead of a stream: value in `unit` = (count - offset) / gain; `low`, `high`: the ADC rails in counts."""

    name: str
    unit: str
    gain: float
    offset: float
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive samples of one bed: `counts` (n, leads) int32, MISSING where there is no value."""

    bed: str
    run: str
    first: int
    fs: float
    leads: tuple[Lead, ...]
    counts: NDArray[np.int32]
    sent_s: float
    arrived_s: float = 0.0
    sequence: int = 0


VALUELESS_REASON = "without a value"
"""Reason of a gap that the device itself says: it sends, but measures nothing."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples `first` to `first + count` of a bed never arrived, or hold no value."""

    bed: str
    run: str
    first: int
    count: int
    fs: float
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The run of a bed ended on purpose: `first` is the index after its last sample."""

    bed: str
    run: str
    first: int
    fs: float
    sequence: int = 0
    sent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """The samples of a bed over all its runs, at the rate of the device.

    `sent` as far as the monitor knows, `analysed` those that reached the analysis, `missing` those that were declared
    missing.
    """

    sent: int = 0
    analysed: int = 0
    missing: int = 0

    @property
    def open(self) -> int:
        """Samples under way: kept back until those before them are fetched again or declared missing."""
        return self.sent - self.analysed - self.missing


@dataclass(frozen=True, slots=True)
class ResumePosition:
    """Where a bed was left: its latest `run`, the `next` sample of it at `fs` hertz.

    `last_beat` is the latest R peak recorded of that run, at 125 Hz. `ended`: the run ended on purpose.
    """

    run: str
    next: int
    fs: float
    last_beat: int | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """One classified beat of one bed.

    Samples at 125 Hz: `sample` the R peak, `r_peak_known` and `class_known` the last samples that the R peak and the
    class waited for. `probabilities` in the order of `model.records.wfdb_records.CLASSES`; `rr_s` the RR interval that
    ends at this beat and `heart_rate` in beats a minute then, None after a gap. Unix times: `arrived_s` when the
    samples that decided it reached the socket, `sent_s` when the device first sent them, by our clock. `lead`: the one
    that was heard, and its `quality` from 0 to 1 where several are analysed; a recording keeps neither.
    """

    bed: str
    sample: int
    class_known: int
    label: str
    probabilities: tuple[float, ...]
    rr_s: float | None
    arrived_s: float
    heart_rate: float | None = None
    r_peak_known: int = 0
    sent_s: float = 0.0
    run: str = ""
    lead: str = field(default="", compare=False)
    quality: float | None = field(default=None, compare=False)

    @property
    def confidence(self) -> float:
        return max(self.probabilities)


Priority = Literal["high", "medium", "low"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
AlarmCondition = Literal[
    "asystole",
    "ventricular fibrillation",
    "ventricular tachycardia",
    "extreme tachycardia",
    "extreme bradycardia",
    "heart rate high",
    "heart rate low",
    "V run",
    "pause",
    "atrial fibrillation",
    "couplet",
    "bigeminy",
    "trigeminy",
    "R-on-T",
    "V rate high",
    "no data",
    "two devices",
    "gaps",
    "lead off",
    "saturated",
    "noise",
]
"""The conditions that are alarmed; "no data" and those after it are technical."""


AlarmIdentity = tuple[str, str, AlarmCondition, int]
"""Bed, run, condition and onset of an alarm."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of a bed as it stands; another follows at every change.

    `bed`, `run`, `condition` and `onset` identify it. `text`: its reason in words. Samples at 125 Hz: `onset` of the
    condition, `announced` when it was known, `ended` the first at which it was over (None: it goes on). Unix times:
    `announced_s` when the announcing samples arrived, `acknowledged_s` when a person acknowledged it (None: nobody
    yet). `latching`: once over it stays on the screen until it is acknowledged. `paused`: the alarms of the bed are
    paused, so it is recorded and told to nobody; another state follows at the end of the pause if it still stands.
    """

    bed: str
    run: str
    condition: AlarmCondition
    priority: Priority
    text: str
    onset: int
    announced: int
    announced_s: float
    latching: bool = False
    ended: int | None = None
    acknowledged_s: float | None = None
    paused: bool = False

    @property
    def identity(self) -> AlarmIdentity:
        """What all states of one alarm have in common."""
        return self.bed, self.run, self.condition, self.onset

    @property
    def shown(self) -> bool:
        """Whether it belongs on the screen."""
        return self.ended is None or (self.latching and self.acknowledged_s is None)


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """The signal around the announcement of an alarm, which `alarm` names as it stood then.

    `wave` (n,) float32 mV at 125 Hz of `lead`, which was heard then, from sample `first` on, NaN where missing; from
    10 s before the announcement to 10 s after, less where the run began or ended in between.
    """

    alarm: Alarm
    lead: str
    first: int
    wave: FloatArray

    @property
    def bed(self) -> str:
        return self.alarm.bed


Result = Beat | Event | Alarm | Strip
"""What the pipeline decides."""


def quantise_to_counts(samples: NDArray[np.float64], gains: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return physical samples (n, leads) as counts at `gains` (leads,), rounded half to even; NaN becomes MISSING."""
    counts = np.clip(np.rint(samples * gains), MISSING + 1, -MISSING - 1)
    return np.where(np.isnan(counts), MISSING, counts).astype(np.int32)
