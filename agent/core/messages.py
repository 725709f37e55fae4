"""Everything that travels between the stages, as frozen data.

Time is a sample index at the chunk's own rate, counted from the start of the record or run; the wall clock is only ever
a stamp that the edges put on (`sent_s`, `arrived_s`: seconds since the Unix epoch).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

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

    `last_beat` is the latest R peak told of that run, at 125 Hz. `ended`: the run ended on purpose.
    """

    run: str
    next: int
    fs: float
    last_beat: int | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """One classified beat of one bed.

    `sample` R peak, `found` and `decided` the last samples that the R peak and the class waited for, all at 125 Hz;
    `probabilities` in the order of `model.records.wfdb_records.CLASSES`; `rr_s` the RR interval that ends at this beat
    and `heart_rate` the rate then (None after a gap); `arrived_s` when the samples that decided it reached the socket,
    and `sent_s` when the device first sent them, by our clock.
    """

    bed: str
    sample: int
    decided: int
    label: str
    probabilities: tuple[float, ...]
    rr_s: float | None
    arrived_s: float
    heart_rate: float | None = None
    found: int = 0
    sent_s: float = 0.0
    run: str = ""

    @property
    def confidence(self) -> float:
        return max(self.probabilities)


Priority = Literal["high", "medium", "low"]
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
    "gaps",
    "lead off",
    "saturated",
    "noise",
]
"""What an alarm is about; those from "no data" on are technical."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of a bed as it stands; it is told anew at every change, known by `bed`, `run`, `condition`, `onset`.

    `text` its reason in words. Samples at 125 Hz: `onset` where the condition began, `announced` where it was known,
    `ended` the first at which it was over (None: it goes on). Unix times: `announced_s` when the announcing samples
    arrived, `acknowledged_s` when a person saw to it (None: nobody yet). `latching`: once over it is still shown until
    it is acknowledged.
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

    @property
    def shown(self) -> bool:
        """Whether a person still has to see it."""
        return self.ended is None or (self.latching and self.acknowledged_s is None)


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """The signal around the announcement of an alarm, which `alarm` names as it stood then.

    `wave` (n,) float32 mV at 125 Hz of the analysed lead from sample `first` on, NaN where missing; from 10 s before
    the announcement to 10 s after, less where the run began or ended in between.
    """

    alarm: Alarm
    lead: str
    first: int
    wave: FloatArray

    @property
    def bed(self) -> str:
        return self.alarm.bed


Result = Beat | Event | Alarm | Strip
"""What the ward tells."""


@dataclass(frozen=True, slots=True)
class RhythmSummary:
    """Rates and variability of one bed after its last beat; None where too few beats are known.

    `heart_rate` in beats a minute over the last RR intervals of all beats; `rmssd_ms`, `sdnn_ms` over intervals between
    two consecutive N beats (NN); `counts` in the order of CLASSES.
    """

    heart_rate: float | None
    rr_ms: float | None
    rmssd_ms: float | None
    sdnn_ms: float | None
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Delay of the last beats: `algorithmic_ms` (samples a decision waits for) and what we add, arrival to shown.

    `link_ms`: from the sending of the deciding samples to their arrival, half of the last beats at most.
    """

    algorithmic_ms: float
    added_p50_ms: float
    added_p99_ms: float
    link_ms: float = 0.0


BedStatus = Literal["ok", "learning", "lead off", "saturated", "no signal", "no data", "refused", "ended"]


@dataclass(frozen=True, slots=True, eq=False)
class BedView:
    """What the dashboard shows of one bed.

    `wave` (n,) float32 mV at 125 Hz, NaN where missing, its last value being sample `head - 1`; `beats` the latest
    ones, oldest first, at least all inside `wave`; `behind_s` how long ago the device sent what was analysed last;
    `alarms` those to be shown, the most urgent first, silent until `silenced_until_s` (Unix time); `suspended`: noise
    or an arrest, no rate is told; `rhythm_name` such as "AF" or "bigeminy", "" where there is nothing to say;
    `last_alarms` as they were told, the newest first, those that are over with them.
    """

    bed: str
    lead: str
    state: BedStatus
    wave: FloatArray
    head: int
    beats: tuple[Beat, ...]
    rhythm: RhythmSummary
    gaps: int
    missing: int
    latency: LatencySummary | None
    ledger: Ledger = Ledger()
    behind_s: float = 0.0
    alarms: tuple[Alarm, ...] = ()
    silenced_until_s: float = 0.0
    suspended: bool = False
    rhythm_name: str = ""
    last_alarms: tuple[Alarm, ...] = ()


class BedSummary(NamedTuple):
    """What the ward's order and its counts need of a bed, of which there may be a thousand.

    `urgency` as the ward ranks its alarms, 0 without one; `priority` of the most urgent alarm to be shown; `audible`
    of the most urgent one that is neither silenced nor acknowledged; `silenced`: its alarms are, at this moment.
    """

    bed: str
    state: BedStatus = "ok"
    urgency: int = 0
    priority: Priority | None = None
    audible: Priority | None = None
    silenced: bool = False
    behind_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LinkView:
    """State of the link: `state` waiting (never connected), connected or lost; rejected frames are malformed ones.

    `secured`: encrypted, both sides proven; `trouble`: why there is no connection, where that is known;
    `round_trip_ms`, `offset_ms` of the device's clock against ours: None until its second socket has answered.
    """

    endpoint: str
    state: Literal["waiting", "connected", "lost"]
    packets: int
    rejected: int
    secured: bool = False
    trouble: str = ""
    round_trip_ms: float | None = None
    offset_ms: float | None = None


@dataclass(frozen=True, slots=True)
class RecordingView:
    """Where the recording stands: its folder, bytes written in this session and bytes left on the disk.

    `trouble`: why nothing is being written, or that the disk is almost full; empty if all is well. `standing`: the
    event that announced it, if one did.
    """

    folder: str
    written: int
    free: int
    trouble: str = ""
    standing: Event | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WardSnapshot:
    """All that one frame of the dashboard is drawn from. `now_s` Unix time of the frame, `started_s` of the monitor.

    `index` all beds in the order of their arrival, `beds` in full those of them that are looked at; `ledger` of all.
    """

    beds: tuple[BedView, ...]
    events: tuple[Event, ...]
    link: LinkView
    device: str
    weights: str
    now_s: float
    started_s: float
    recording: RecordingView | None = None
    index: tuple[BedSummary, ...] = ()
    ledger: Ledger = Ledger()


def quantise_to_counts(samples: NDArray[np.float64], gains: NDArray[np.float64]) -> NDArray[np.int32]:
    """(n, leads) physical samples as counts at `gains` (leads,), rounded half to even; NaN becomes MISSING."""
    counts = np.clip(np.rint(samples * gains), MISSING + 1, -MISSING - 1)
    return np.where(np.isnan(counts), MISSING, counts).astype(np.int32)
