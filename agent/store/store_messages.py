"""What monitors and a store say to each other, in one process or over a socket. `docs/fleet.md` has the rules.

A monitor that tells a store is a replica. Samples of beats, alarms and events are at 125 Hz of the run, spans at the
rate of the device.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from agent.core.messages import AlarmCondition, AlarmIdentity, Priority
from agent.wire.packets import SampleIndex, SamplingRate, WireText

LONGEST_NAME = 64
"""Characters of the name of a replica."""
MOST_ROWS = 20_000
"""Rows of a kind in one message."""
MOST_IN_FULL = 32
"""Beds of which more is asked at once."""
MOST_ACKNOWLEDGED = 1000
"""Alarms in one deed."""
LARGEST_TELL_BYTES = 2**24
NOTHING_TOLD = -1
"""The told sample of a run of which no beat has been told."""

ReplicaName = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Words = Annotated[str, Meta(max_length=4096)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Sample = Annotated[int, Meta(ge=-(2**53), le=2**53)]
DeedKind = Literal["acknowledged", "silenced", "sounding again", "paused", "on again", "settings"]
"""What a person does to a bed: what `agent.core.events.AlarmHandling` calls it, or other settings."""


class BeatTold(Struct, array_like=True, frozen=True):
    """A beat; `probabilities` as JSON, as a recording has them."""

    bed: WireText
    run: WireText
    sample: Sample
    decided: Sample
    found: Sample
    label: Annotated[str, Meta(max_length=1)]
    probabilities: Words
    rr_s: float | None
    heart_rate: float | None


class AlarmTold(Struct, array_like=True, frozen=True):
    """The state of an alarm, as `agent.core.messages.Alarm` has it.

    `onset_s`: Unix time of its onset by the clock of its run; None if who tells it does not know that.
    """

    bed: WireText
    run: WireText
    condition: AlarmCondition
    onset: Sample
    priority: Priority
    text: Words
    announced: Sample
    announced_s: float
    latching: int
    ended: Sample | None
    acknowledged_s: float | None
    onset_s: float | None = None

    @property
    def identity(self) -> AlarmIdentity:
        """What all states of one alarm have in common."""
        return self.bed, self.run, self.condition, self.onset

    @property
    def changed(self) -> int:
        """The sample of its latest change."""
        return self.announced if self.ended is None else max(self.announced, self.ended)


class EventTold(Struct, array_like=True, frozen=True):
    """An event; `id` is the same for all replicas that find it, `replica` who told it."""

    id: Annotated[str, Meta(max_length=128)]
    replica: ReplicaName
    bed: Annotated[str, Meta(max_length=64)]
    run: Annotated[str, Meta(max_length=64)]
    sample: Sample
    at_s: float
    kind: Annotated[str, Meta(max_length=64)]
    text: Words
    event_type: Annotated[str, Meta(max_length=64)] | None
    data: Words | None


SpanPiece = tuple[SampleIndex, SampleIndex, bool]
"""The first sample, the one after the last, and whether these were declared missing."""


class SpanTold(Struct, array_like=True, frozen=True):
    """What came of a run since the last telling, piece after piece without a hole; `ended`: the run is over."""

    bed: WireText
    run: WireText
    fs: SamplingRate
    pieces: Annotated[list[SpanPiece], Meta(max_length=MOST_ROWS)]
    ended: bool


class Deed(Struct, frozen=True):
    """What somebody did to a bed at `at_s` (Unix time), at a monitor or by a command.

    `alarms`: those that were acknowledged, as run, condition and onset. `data`: the settings as JSON. `number` is given
    by the store.
    """

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    bed: WireText
    kind: DeedKind
    by: Annotated[str, Meta(max_length=64)]
    at_s: float
    replica: Annotated[str, Meta(max_length=LONGEST_NAME)] = ""
    alarms: Annotated[list[tuple[WireText, AlarmCondition, Sample]], Meta(max_length=MOST_ACKNOWLEDGED)] = []
    data: Words = ""
    number: Count = 0


class Listening(Struct, array_like=True, frozen=True):
    """How a replica listens to a bed: for how long it has, and whether it hears anything. `seconds` None: no more."""

    bed: WireText
    seconds: float | None
    hears: bool


class StandingTold(Struct, array_like=True, frozen=True):
    """The alarms of a bed that stand for a replica, and the sample of the run up to which it has decided beats."""

    bed: WireText
    run: WireText
    sample: Sample
    conditions: Annotated[list[AlarmCondition], Meta(max_length=100)]


class Tell(Struct, frozen=True, tag="tell"):
    """What a replica tells four times a second. Rows are of beds that it believes to speak for.

    `token` distinguishes two processes of one name. `afresh`: `listening` names all beds, not only what changed.
    `leaves`: it is the last one of this process. `deeds_after`: the number of the latest deed that it knows; None if it
    knows of none. `asks`: whether it wants a word on each bed that it listens to. `standing`: once a second all alarms
    that stand.
    """

    replica: ReplicaName
    token: Annotated[str, Meta(max_length=64)]
    host: Annotated[str, Meta(max_length=255)]
    pid: int
    started_s: float
    afresh: bool = False
    leaves: bool = False
    listening: Annotated[list[Listening], Meta(max_length=MOST_ROWS)] = []
    spans: Annotated[list[SpanTold], Meta(max_length=MOST_ROWS)] = []
    beats: Annotated[list[BeatTold], Meta(max_length=MOST_ROWS)] = []
    alarms: Annotated[list[AlarmTold], Meta(max_length=MOST_ROWS)] = []
    events: Annotated[list[EventTold], Meta(max_length=MOST_ROWS)] = []
    deeds: Annotated[list[Deed], Meta(max_length=MOST_ROWS)] = []
    deeds_after: Count | None = None
    asks: bool = True
    standing: Annotated[list[StandingTold], Meta(max_length=MOST_ROWS)] = []


class BedWord(Struct, array_like=True, frozen=True):
    """What a store says of a bed: whether the replica speaks for it, and how far which run is told.

    `told`: the latest beat of the run at 125 Hz, NOTHING_TOLD without one; `next`: the sample at `fs` hertz up to which
    its ledger goes. `run` is "" for a bed of which nothing was told.
    """

    bed: str
    speaks: bool
    run: str
    told: int
    next: int
    fs: float


class TellReply(Struct, frozen=True, tag="told"):
    """All was taken of `spoken`, the beds that the replica speaks for; words on all, if it asked; deeds of others."""

    spoken: list[str]
    beds: list[BedWord]
    deeds: list[Deed]
    latest_deed: int


class Ask(Struct, frozen=True, tag="ask"):
    """Ask what is known of all beds, before a replica begins to listen."""


class AskReply(Struct, frozen=True, tag="known"):
    """All beds with the run they are in, its alarms, and the latest settings that somebody gave them."""

    beds: list[BedWord]
    ended: list[str]
    """Beds whose run is over."""
    alarms: list[AlarmTold]
    settings: list[Deed]
    latest_deed: int


class AskReplicas(Struct, frozen=True, tag="replicas"):
    """Ask which replicas there are."""


class AskStatus(Struct, frozen=True, tag="status"):
    """Ask for an overview."""


class ReplicaStatus(Struct, frozen=True):
    """A replica: `silent_s` seconds ago it told something."""

    name: str
    host: str
    pid: int
    is_alive: bool
    silent_s: float
    beds: int


class BedStatusTold(Struct, frozen=True):
    """A bed: who speaks for it, how many replicas listen, its run and counts; `told_s` into the run.

    `beats` and the samples of the ledger, at the rate of the device, are those of all its runs.
    """

    bed: str
    speaker: str
    listeners: int
    run: str
    runs: int
    told_s: float
    beats: int
    sent: int
    analysed: int
    missing: int
    alarms: list[AlarmTold]
    """Those that are on the screen."""


class ReplicasReply(Struct, frozen=True, tag="replicas known"):
    """All replicas."""

    replicas: list[ReplicaStatus]


class StatusReply(Struct, frozen=True, tag="overview"):
    """All replicas and beds."""

    fleet: str
    replicas: list[ReplicaStatus]
    beds: list[BedStatusTold]


class Do(Struct, frozen=True, tag="do"):
    """Do something to a bed; of an acknowledgement without `alarms` all alarms are meant that are on the screen."""

    deed: Deed


class DoReply(Struct, frozen=True, tag="done"):
    """The deed as the store keeps it."""

    deed: Deed


class Refusal(Struct, frozen=True, tag="refused"):
    """Why nothing was taken or done, in words; `for_good`: trying again will not help."""

    reason: str
    for_good: bool = False


class AskWard(Struct, frozen=True, tag="ward"):
    """Ask once a second for what a view of all beds shows; `in_full`: beds of which it shows more.

    `deeds_after`: the number of the latest deed that it knows; None if it knows of none. `counts_alarms`: whether it
    wants to know how many alarms there were of each kind.
    """

    in_full: Annotated[list[WireText], Meta(max_length=MOST_IN_FULL)] = []
    deeds_after: Count | None = None
    counts_alarms: bool = False


class WardBed(Struct, array_like=True, frozen=True):
    """A bed as its latest run stands; `seen_s`: when something of it was told, by the clock of the store.

    `listening`: the replicas, and whether each hears something. `told`: the latest beat at 125 Hz, NOTHING_TOLD without
    one, and `heart_rate` then; `next`: the sample at `fs` hertz up to which its ledger goes. `counts` of all its beats
    in the order of CLASSES, and the samples of its ledger: those of all its runs.
    """

    bed: str
    speaker: str
    listening: list[tuple[str, bool]]
    seen_s: float
    run: str
    runs: int
    fs: float
    next: int
    told: int
    ended: bool
    heart_rate: float | None
    counts: list[int]
    sent: int
    analysed: int
    missing: int


class BedInFull(Struct, array_like=True, frozen=True):
    """The latest of a bed, the newest first."""

    bed: str
    beats: list[BeatTold]
    alarms: list[AlarmTold]
    events: list[EventTold]


AlarmCount = tuple[str, AlarmCondition, Priority, int]
"""Bed, condition, priority, and how many such alarms there were."""


class WardReply(Struct, frozen=True, tag="all beds"):
    """All replicas and beds at `now_s` by the clock of the store, the alarms on the screen, the latest events.

    `deeds`: those that are new; of who knows none the latest settings of each bed, and all of the last hour.
    `alarm_counts`: if they were asked for.
    """

    fleet: str
    now_s: float
    replicas: list[ReplicaStatus]
    beds: list[WardBed]
    alarms: list[AlarmTold]
    events: list[EventTold]
    deeds: list[Deed]
    latest_deed: int
    in_full: list[BedInFull]
    alarm_counts: list[AlarmCount] | None = None


StoreRequest = Tell | Ask | AskReplicas | AskStatus | AskWard | Do
StoreReply = TellReply | AskReply | ReplicasReply | StatusReply | WardReply | DoReply | Refusal
_request_decoder: msgspec.msgpack.Decoder[StoreRequest] = msgspec.msgpack.Decoder(StoreRequest)
_reply_decoder: msgspec.msgpack.Decoder[StoreReply] = msgspec.msgpack.Decoder(StoreReply)
encode_store_message = msgspec.msgpack.Encoder().encode


def decode_store_request(content: bytes) -> StoreRequest:
    """Return a request. Raises msgspec.DecodeError for anything else."""
    return _request_decoder.decode(content)


def decode_store_reply(content: bytes) -> StoreReply:
    """Return a reply. Raises msgspec.DecodeError for anything else."""
    return _reply_decoder.decode(content)
