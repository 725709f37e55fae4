"""What happens to a bed, the link, the recording or an output, as typed data: `agent.core.wording` puts it into words.

Every event has a `kind`, the `bed` it is about ("" for link, recording and outputs), the `run` of that bed ("" where it
has none) and a `sample` at 125 Hz of that run.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from agent.core.bed_settings import BedSettings

EventKind = Literal[
    "start", "gap", "backfill", "signal", "refused", "alarm", "frame", "link", "record", "notify", "output", "end"
]
LeadState = Literal["ok", "lead off", "saturated"]
CONFIGURED = "the configuration"
"""Who set what a bed has from its file."""
RESTARTED = "a restart of the monitor"
"""Who ended a pause or a silence that the monitor before had left."""
AlarmHandling = Literal["acknowledged", "silenced", "sounding again", "paused", "on again", "pause over"]
"""What a person does about the alarms of a bed; a pause may be over by itself."""
LeadTrouble = Literal["lead off", "saturated", "no value", "noise", "no QRS"]
"""Why a lead is no longer heard."""


@dataclass(frozen=True, slots=True)
class _BedEvent:
    bed: str
    run: str
    sample: int


@dataclass(frozen=True, slots=True)
class _SystemEvent:
    """An event of the link, the recording or an output."""

    bed: ClassVar[str] = ""
    run: ClassVar[str] = ""
    sample: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class RunStarted(_BedEvent):
    """The device began a run, or changed its rate or leads: `lead` is heard, sent at `fs` hertz.

    `others` are analysed beside it.
    """

    kind: ClassVar[EventKind] = "start"
    lead: str
    fs: float
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunEnded(_BedEvent):
    """The device ended the run on purpose; `sample` is the one after its last."""

    kind: ClassVar[EventKind] = "end"


@dataclass(frozen=True, slots=True)
class GapClosed(_BedEvent):
    """A gap is over: `count` samples at 125 Hz, `seconds` long, from `sample` on are missing for `reason`."""

    kind: ClassVar[EventKind] = "gap"
    count: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class JoinedLate(_BedEvent):
    """The monitor joined a run at `sample`; the `seconds` before it can no longer be fetched."""

    kind: ClassVar[EventKind] = "gap"
    seconds: float


@dataclass(frozen=True, slots=True)
class Backfilled(_BedEvent):
    """`count` samples at the device's rate, `seconds` of signal, were fetched again.

    `sent_before`: they were not lost, but sent before this monitor came.
    """

    kind: ClassVar[EventKind] = "backfill"
    count: int
    seconds: float
    sent_before: bool = False


@dataclass(frozen=True, slots=True)
class BedsBackfilled(_SystemEvent):
    """Samples of so many `beds` were fetched at the same time, `seconds` at most; recordings have each by itself."""

    kind: ClassVar[EventKind] = "backfill"
    beds: int
    seconds: float
    sent_before: bool


@dataclass(frozen=True, slots=True)
class LeadStateChanged(_BedEvent):
    """The electrode came off, the signal reached the rail of the converter, or is back."""

    kind: ClassVar[EventKind] = "signal"
    state: LeadState


@dataclass(frozen=True, slots=True)
class HeardLeadChanged(_BedEvent):
    """From `sample` on the bed is watched by `lead` instead of `before`, which has a `trouble`."""

    kind: ClassVar[EventKind] = "signal"
    lead: str
    before: str
    trouble: LeadTrouble


@dataclass(frozen=True, slots=True)
class OtherLeadChanged(_BedEvent):
    """A `lead` that is analysed beside the heard one came off, reached the rail of the converter, or is back."""

    kind: ClassVar[EventKind] = "signal"
    lead: str
    state: LeadState


@dataclass(frozen=True, slots=True)
class SamplesBridged(_BedEvent):
    """`count` samples at the device's rate, `seconds` of signal, had no value, in `holes` too short for a gap.

    The analysis saw the line between the samples around each of them. It begins at the first of ten seconds.
    """

    kind: ClassVar[EventKind] = "gap"
    count: int
    holes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PacingPulses(_BedEvent):
    """`count` pacemaker pulses of up to ten seconds, the first at `sample`: they were blanked, and are no beats."""

    kind: ClassVar[EventKind] = "signal"
    count: int


@dataclass(frozen=True, slots=True)
class LeadScaled(_BedEvent):
    """From `sample` on `per_mv` in the raw `unit` of a lead are taken for a millivolt, counted from the value `zero`.

    A QRS complex is then about as high as it usually is: amplitudes are uncalibrated. None: the scale is not yet known.
    """

    kind: ClassVar[EventKind] = "signal"
    lead: str
    unit: str
    per_mv: float | None
    zero: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamRefused(_BedEvent):
    """The stream of a bed cannot be monitored, for `reason`."""

    kind: ClassVar[EventKind] = "refused"
    reason: str


@dataclass(frozen=True, slots=True)
class PacketRejected(_BedEvent):
    """A packet was malformed or out of place; `more` of its kind were only counted since the last such event.

    `name`: the name under which it was sent, where no bed here has it; "" where one has, or where none was said.
    """

    kind: ClassVar[EventKind] = "frame"
    reason: str
    more: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class EventsOmitted:
    """More events of a bed, or of all (bed ""), than there was room for: how often each kind was left out.

    The commonest comes first.
    """

    kind: EventKind
    bed: str
    run: str
    sample: int
    counts: tuple[tuple[EventKind, int], ...]


@dataclass(frozen=True, slots=True)
class LinkStateChanged(_SystemEvent):
    """Packets stopped coming from `endpoint`, or come again."""

    kind: ClassVar[EventKind] = "link"
    endpoint: str
    is_up: bool


@dataclass(frozen=True, slots=True)
class LinkTrouble(_SystemEvent):
    """Why there is no connection, or how it was refused."""

    kind: ClassVar[EventKind] = "link"
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceNote(_SystemEvent):
    """What a device says of itself, in words: one that the monitor has started, or one that replays records."""

    kind: ClassVar[EventKind] = "link"
    text: str


@dataclass(frozen=True, slots=True)
class RecordingPaused(_SystemEvent):
    """Nothing is written any more, for `reason`; monitoring goes on."""

    kind: ClassVar[EventKind] = "record"
    reason: str


@dataclass(frozen=True, slots=True)
class RecordingResumed(_SystemEvent):
    """Writing goes on after `seconds` that are not recorded."""

    kind: ClassVar[EventKind] = "record"
    seconds: float


@dataclass(frozen=True, slots=True)
class RecordingFellBehind(_SystemEvent):
    """The disk was too slow: `seconds` of signal are not recorded."""

    kind: ClassVar[EventKind] = "record"
    seconds: float


@dataclass(frozen=True, slots=True)
class RecordingRepaired(_SystemEvent):
    """A recording goes on whose monitor was killed: `segments` that it left open were repaired."""

    kind: ClassVar[EventKind] = "record"
    segments: int


@dataclass(frozen=True, slots=True)
class DiskSpaceChanged(_SystemEvent):
    """The disk of the recording in `folder` is almost full, or no longer: `free` bytes are left.

    `pauses_at`: bytes at which the recording pauses, None where there is space again.
    """

    kind: ClassVar[EventKind] = "record"
    folder: str
    free: int
    pauses_at: int | None


@dataclass(frozen=True, slots=True)
class RecordingTrimmed(_SystemEvent):
    """The recording reached its `limit` in bytes; `deleted` names the oldest segment that went, "" if none is left."""

    kind: ClassVar[EventKind] = "record"
    limit: int
    deleted: str


@dataclass(frozen=True, slots=True)
class AlarmsHandled(_BedEvent):
    """A person did something about the alarms of a bed. `by`: who, as they name themselves; "" at the terminal.

    `by` is RESTARTED where a pause or a silence ended since it does not outlive the monitor.
    """

    kind: ClassVar[EventKind] = "alarm"
    action: AlarmHandling
    by: str


@dataclass(frozen=True, slots=True)
class BedSettingsChanged(_BedEvent):
    """From `sample` on a bed has these settings, all that it has of its own. `by`: who set them, "" at the terminal.

    `by` is CONFIGURED where they are from the file of the configuration.
    """

    kind: ClassVar[EventKind] = "alarm"
    by: str
    settings: BedSettings


@dataclass(frozen=True, slots=True)
class NotificationSent(_BedEvent):
    """The alarm of a `condition` with its onset at `sample` was told to `target`, `seconds` after it was announced.

    `is_over`: the message said that it is over. `target` names the service without its secrets.
    """

    kind: ClassVar[EventKind] = "notify"
    condition: str
    target: str
    is_over: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class NotificationFailed(_BedEvent):
    """The alarm of a `condition` with its onset at `sample` was never told to `target`, for `reason`."""

    kind: ClassVar[EventKind] = "notify"
    condition: str
    target: str
    is_over: bool
    reason: str


@dataclass(frozen=True, slots=True)
class OutputTrouble(_SystemEvent):
    """Results cannot be sent to `target`, for `reason`; `dropped` messages are lost for good."""

    kind: ClassVar[EventKind] = "output"
    target: str
    reason: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class OutputRestored(_SystemEvent):
    """Results are sent to `target` again after `seconds`; `dropped` messages of that time are lost for good."""

    kind: ClassVar[EventKind] = "output"
    target: str
    seconds: float
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class EventText:
    """An event of a recording of version 1 or 2, which kept only its words."""

    kind: EventKind
    bed: str
    run: str
    sample: int
    text: str


Event = (
    RunStarted
    | RunEnded
    | GapClosed
    | JoinedLate
    | Backfilled
    | BedsBackfilled
    | LeadStateChanged
    | HeardLeadChanged
    | OtherLeadChanged
    | SamplesBridged
    | PacingPulses
    | LeadScaled
    | StreamRefused
    | PacketRejected
    | EventsOmitted
    | LinkStateChanged
    | LinkTrouble
    | DeviceNote
    | RecordingPaused
    | RecordingResumed
    | RecordingFellBehind
    | RecordingRepaired
    | DiskSpaceChanged
    | RecordingTrimmed
    | AlarmsHandled
    | BedSettingsChanged
    | NotificationSent
    | NotificationFailed
    | OutputTrouble
    | OutputRestored
    | EventText
)
EVENT_TYPES = {event_type.__name__: event_type for event_type in Event.__args__}
"""The type of an event by its name, as a recording stores it."""

_COMMON_FIELDS = frozenset(("kind", "bed", "run", "sample"))


def event_fields(event: Event) -> dict[str, Any]:
    """Return the fields of an event that only its type has, by name, as JSON can hold them."""
    return {field.name: getattr(event, field.name) for field in fields(event) if field.name not in _COMMON_FIELDS}
