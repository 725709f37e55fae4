"""What viewers see of the monitor, as frozen data: one bed in full, all beds in short, link, recording."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agent.core.alarm_settings import AlarmConfig
from agent.core.bed_settings import NO_SETTINGS, BedSettings
from agent.core.class_trust import UNKNOWN_TRUST, ClassTrust
from agent.core.events import Event
from agent.core.look_back import BedPast
from agent.core.messages import Alarm, Beat, FloatArray, Ledger, Priority

NO_SAMPLES = Ledger()


@dataclass(frozen=True, slots=True)
class RhythmSummary:
    """Rates and variability of one bed after its last beat; None if too few beats are known.

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


@dataclass(frozen=True, slots=True, eq=False)
class LeadWave:
    """The last samples of a lead that is not heard: `wave` (n,) float32 mV at 125 Hz, as long as that of the heard one.

    NaN where missing; its last value belongs to the same moment.
    """

    lead: str
    wave: FloatArray


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event and its Unix time: that of its sample where the bed's clock is known, else when it was told."""

    event: Event
    at_s: float


class ReferenceMark(NamedTuple):
    """An annotated beat on the trace: sample at 125 Hz, WFDB symbol, class; whether it was missed or misnamed."""

    sample: int
    symbol: str
    label: str
    is_wrong: bool


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """What the reference annotations of a replayed record say, beside the verdicts of the monitor.

    `marks`: the beats inside the wave. `rhythm` of the newest sample by its label, "" where none is known, and
    `rhythm_name` in words. `compared` beats of the reference, of which `agreed` were found and given their class.
    `veb`, `sveb`: sensitivity and positive predictivity (0 to 1) of V and of S, None where there is nothing to share.
    """

    marks: tuple[ReferenceMark, ...]
    rhythm: str
    rhythm_name: str
    compared: int
    agreed: int
    veb: tuple[float | None, float | None]
    sveb: tuple[float | None, float | None]


BedStatus = Literal[
    "ok",
    "learning",
    "lead off",
    "saturated",
    "no signal",
    "no data",
    "no monitor",
    "store away",
    "refused",
    "ended",
    "paused",
]
LOSSES: Mapping[BedStatus, str] = {"no data": "NO DATA", "no monitor": "NO MONITOR", "store away": "STORE AWAY"}
"""States in which nothing comes of a bed that should send, in words. The last two are of beds of a fleet: no monitor
listens, or the store does not answer."""
NOBODY_TELLS: frozenset[BedStatus] = frozenset({"no monitor", "store away"})
"""States in which nobody would tell that an alarm is over."""


class FleetReplica(NamedTuple):
    """A monitor that listens to a bed of a fleet: whether it hears anything; it told something `silent_s` ago."""

    name: str
    host: str
    pid: int
    is_alive: bool
    silent_s: float
    hears: bool = True


@dataclass(frozen=True, slots=True)
class FleetBed:
    """What the store of a fleet knows of a bed beside its findings. Its signal is at the monitors alone.

    `speaker`: the replica that is believed, "" if none is; `replicas` that listen; `runs` so far, the latest of them
    told up to `told_s`.
    """

    speaker: str
    replicas: tuple[FleetReplica, ...]
    runs: int
    told_s: float

    @property
    def alive(self) -> int:
        """How many monitors listen."""
        return sum(replica.is_alive for replica in self.replicas)


@dataclass(frozen=True, slots=True, eq=False)
class BedView:
    """What the dashboard shows of one bed.

    `wave` (n,) float32 mV at 125 Hz, NaN where missing, its last value being sample `head - 1`; `beats` the latest
    ones, oldest first, at least all inside `wave`; `lead` the heard one, `leads` all that are analysed with the quality
    of each from 0 to 1, None while it is not known, empty with one lead; `behind_s` how long ago the device sent what
    was analysed last; `alarms` those to be shown, the most urgent first, silent until `silenced_until_s` (Unix time);
    `suspended`: noise or an arrest, no rate is shown; `rhythm_name` such as "AF" or "bigeminy", "" if none is alarmed;
    `last_alarms` the latest ones, the newest first, also those that are over; `uncalibrated`: the scale of the heard
    lead was found from its signal; `run` as the device names it; `head_s`: Unix time of sample `head`, None where the
    device's clock is not known; `arrived_s`: when the latest samples arrived; `other_waves` of the leads beside the
    heard one, in the order of `leads`; all alarms paused until `paused_until_s` (Unix time), 0 if they are not;
    `settings` that the bed has of its own; `refusal`: why the stream cannot be monitored, "" if it can; `reference`:
    what the annotations of a replayed record say, if that is wanted; `run_starts`: the latest runs whose clock is
    known, each with the Unix time of its sample 0; `fleet`: it is read from the store of a fleet, which has no signal.
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
    ledger: Ledger = NO_SAMPLES
    behind_s: float = 0.0
    alarms: tuple[Alarm, ...] = ()
    silenced_until_s: float = 0.0
    suspended: bool = False
    rhythm_name: str = ""
    last_alarms: tuple[Alarm, ...] = ()
    leads: tuple[tuple[str, float | None], ...] = ()
    uncalibrated: bool = False
    run: str = ""
    head_s: float | None = None
    arrived_s: float = 0.0
    other_waves: tuple[LeadWave, ...] = ()
    paused_until_s: float = 0.0
    settings: BedSettings = NO_SETTINGS
    reference: ReferenceView | None = None
    refusal: str = ""
    run_starts: tuple[tuple[str, float], ...] = ()
    fleet: FleetBed | None = None

    @property
    def quality(self) -> float | None:
        """The quality of the heard lead; None with one lead, or while it is not known."""
        return dict(self.leads).get(self.lead)


class BedSummary(NamedTuple):
    """What the order and the counts of a ward need of one bed; there may be a thousand.

    `urgency` as alarms are ranked; without one 0, but 1 where nothing comes or the stream is refused, -1 where it has
    ended; `priority` of the most urgent alarm to be shown; `audible` of the most urgent one that is neither silenced
    nor acknowledged; `silenced`: its alarms are, at this moment; all alarms paused until `paused_until_s` (Unix time),
    0 if they are not; `settings` that the bed has of its own; `standing`: the priority of the most urgent alarm that
    is not over.
    """

    bed: str
    state: BedStatus = "ok"
    urgency: int = 0
    priority: Priority | None = None
    audible: Priority | None = None
    silenced: bool = False
    behind_s: float = 0.0
    paused_until_s: float = 0.0
    settings: BedSettings = NO_SETTINGS
    standing: Priority | None = None


@dataclass(frozen=True, slots=True)
class LinkView:
    """State of the link: `state` waiting (never connected), connected or lost; rejected frames are malformed ones.

    `secured`: encrypted, both sides authenticated; `trouble`: why there is no connection, if that is known;
    `round_trip_ms`, `offset_ms` of the device's clock against ours: None until its backfill channel has answered;
    `heard_s`: Unix time of the latest packet or answer, None before the first; `paused`: the device replays records,
    and says that it is paused; `is_store`: it is the link to the store of a fleet, not to a device.
    """

    endpoint: str
    state: Literal["waiting", "connected", "lost"]
    packets: int
    rejected: int
    secured: bool = False
    trouble: str = ""
    round_trip_ms: float | None = None
    offset_ms: float | None = None
    paused: bool = False
    heard_s: float | None = None
    is_store: bool = False


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


class FailingOutput(NamedTuple):
    """An output that cannot send to its `target` since `seconds` ago."""

    target: str
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class WardSnapshot:
    """All that one frame of the dashboard is drawn from. `now_s` Unix time of the frame, `started_s` of the monitor.

    `index`: all beds in the order of their arrival; `beds`: those on the screen, in full; `ledger` of all beds.
    `past`: what the viewer asked of one of them. `last_rate_s`: silence until which the last heart rate is still shown,
    dimmed and with its age; `quality_limits`: quality of a lead below which it is bad, and from which on it is good.
    `base_limits` of all beds, beside which a bed may have its own; None: not known. `class_trust` of the net whose
    beats they are; the class of a beat below `least_confidence` is shown as doubtful. `failing`: outputs that cannot
    send.
    """

    beds: tuple[BedView, ...]
    events: tuple[LoggedEvent, ...]
    link: LinkView
    device: str
    weights: str
    now_s: float
    started_s: float
    recording: RecordingView | None = None
    index: tuple[BedSummary, ...] = ()
    ledger: Ledger = NO_SAMPLES
    class_trust: ClassTrust = UNKNOWN_TRUST
    least_confidence: float = 0.0
    past: BedPast | None = None
    last_rate_s: float = 10.0
    quality_limits: tuple[float, float] = (0.3, 0.7)
    base_limits: AlarmConfig | None = None
    failing: tuple[FailingOutput, ...] = ()
