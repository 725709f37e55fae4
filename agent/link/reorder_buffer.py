"""The reorder buffer of one bed: packets go in in any order, every sample comes out once and in order.

What comes early is held back until the samples before it have arrived, were sent again, or are declared lost. There is
no socket and no clock in here: the caller passes the time.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from agent.core.messages import End, Gap
from agent.wire.packets import Packet, cut_packet

MOST_HELD_PACKETS = 256
"""Packets held back at most; what comes beyond them is fetched again later."""
MOST_HELD_BYTES = 2**20
MOST_HELD_BYTES_OF_ALL = 2**25
"""Bytes held back of all beds; beyond them a bed holds back only its share."""
LEAST_HELD_BYTES = 2**14
"""A bed's share where very many hold packets back."""
PACKET_OVERHEAD_BYTES = 1024
"""Bytes of a held packet beside its samples."""
NEVER = 2**60
"""A sample that no run has."""
MOST_PAST_RUNS = 16
"""Replaced runs that are remembered."""


@dataclass(slots=True)
class HeldTotal:
    """Bytes that all beds hold back together."""

    bytes: int = 0


@dataclass(slots=True)
class ReorderBuffer:
    """The current run of a bed.

    `next`: the sample that comes out next. `sent_stop`: the sample after the last that is known to have been sent.
    `start_known`: whether `start`, the first sample of the run, is known; before that nothing comes out. `ended`: the
    End has come out.

    `received_s`: when its last packet arrived on the stream, `news_s`: the last one with samples that were not known,
    `packet_s` seconds long, `sample_bytes` a sample and `head_bytes` beside them. `advanced_s`: when `next` last moved.
    `missing_since_s`: since when samples have been missing, None while none are. `requested`: whether a request is
    under way, since `requested_s`. `failed_requests`: requests in a row that brought nothing; `idle_polls`: polls in a
    row of a silent bed that had nothing new. `backfilled`: samples sent again since the last hole was closed, and
    `sent_before`: whether that was before this monitor came.
    """

    bed: str
    run: str
    fs: float
    next: int = 0
    start: int = 0
    start_known: bool = False
    past_runs: dict[str, int] = field(default_factory=dict)
    """The latest runs before this one, and where each was left; NEVER where it has ended."""
    sent_stop: int = 0
    ended: bool = False
    received_s: float = 0.0
    news_s: float = 0.0
    packet_s: float = 0.0
    sample_bytes: float = 0.0
    head_bytes: int = 0
    advanced_s: float = 0.0
    missing_since_s: float | None = None
    requested_s: float = 0.0
    requested: bool = False
    failed_requests: int = 0
    idle_polls: int = 0
    backfilled: int = 0
    sent_before: bool = False
    sent_earlier: int = 0
    """Samples of the runs before this one."""
    total: HeldTotal = field(default_factory=HeldTotal)
    _held: list[tuple[int, int, Packet]] = field(default_factory=list)
    _held_bytes: int = 0
    _end: End | None = None

    @property
    def full(self) -> bool:
        """Whether no more packets can be held back."""
        return (
            len(self._held) >= MOST_HELD_PACKETS
            or self._held_bytes >= MOST_HELD_BYTES
            or (self.total.bytes >= MOST_HELD_BYTES_OF_ALL and self._held_bytes >= LEAST_HELD_BYTES)
        )

    @property
    def held(self) -> int:
        """The number of packets that are held back."""
        return len(self._held)

    @property
    def end_known(self) -> bool:
        """Whether the device has ended the run, though samples before its end may be missing."""
        return self._end is not None

    @property
    def sent(self) -> int:
        """Samples of all runs that the device has sent of this bed, as far as is known."""
        return self.sent_earlier + (self.sent_stop - self.start if self.start_known else 0)

    @property
    def missing(self) -> tuple[int, int] | None:
        """The samples that must arrive before any other can come out: the first and the one after the last."""
        if self.start_known and self.sent_stop <= self.next:
            return None
        return self.next, max(self.next, self._held[0][0] if self._held else self.sent_stop)

    def matches(self, packet: Packet) -> bool:
        """Return whether a packet is of this bed and run, at its rate."""
        return (packet.bed, packet.header.run, packet.header.fs) == (self.bed, self.run, self.fs)

    def refuses(self, message: Packet | End) -> str:
        """Return why a message makes no sense after those before; "" where it does."""
        if isinstance(message, End):
            if message.first < self.sent_stop:
                return "an end before samples that were sent"
            return "another end" if self._end is not None and message.first != self._end.first else ""
        if self._end is not None and message.header.first + message.header.count > self._end.first:
            return "samples behind the end of the run"
        return ""

    def advance(self, first: int, count: int, fs: float, sample_bytes: float, now_s: float) -> bool:
        """Take `count` samples of this run that arrived now, if nothing is missing before them: the usual case.

        It is as if their packet had been pushed and had come out. In any other case return False: nothing was done.
        """
        if first != self.next or first != self.sent_stop or not self.start_known:
            return False
        if self._end is not None or self.missing_since_s is not None:
            return False
        self.next = self.sent_stop = first + count
        self.fs = fs
        self.packet_s = count / fs
        self.sample_bytes = sample_bytes
        self.received_s = self.news_s = self.advanced_s = now_s
        return True

    def push(self, message: Packet | End, now_s: float) -> list[Packet | End]:
        """Take a message of this run that it does not refuse; return what can come out."""
        if isinstance(message, End):
            self.sent_stop = max(self.sent_stop, message.first)
            self._end = message
            return self._release(now_s)
        header = message.header
        first, count = header.first, header.count
        self.fs = header.fs
        if first == self.next == self.sent_stop and self.start_known:  # the usual case: nothing is missing
            self.next = self.sent_stop = first + count
            return [message]
        self.sent_stop = max(self.sent_stop, first + count)
        if first + count > self.next and not (self.full and first > self.next):
            place = bisect_left(self._held, (first, count))
            if place == len(self._held) or self._held[place][:2] != (first, count):  # else it is a repetition
                self._held.insert(place, (first, count, message))
                self._hold(len(message.payload) + PACKET_OVERHEAD_BYTES)
        return self._release(now_s)

    def join_at(self, start: int, first: int, now_s: float) -> list[Packet | Gap | End]:
        """Let the run start with sample `start`, and declare those before `first` lost."""
        self.start_known = True
        self.start = self.next = start
        return self.declare_lost(first, "sent before the monitor came", now_s)

    def declare_lost(self, stop: int, reason: str, now_s: float) -> list[Packet | Gap | End]:
        """Declare the missing samples before `stop` lost; return the gap, and what can come out behind it."""
        missing = self.missing
        stop = min(stop, missing[1]) if missing else self.next
        if stop <= self.next:
            return list(self._release(now_s))
        gap = Gap(self.bed, self.run, self.next, stop - self.next, self.fs, reason)
        self.next = stop
        return [gap, *self._release(now_s)]

    def flush_as_lost(self, reason: str, now_s: float) -> list[Packet | Gap | End]:
        """Declare all that is missing lost; return the gaps and all that was held back."""
        out: list[Packet | Gap | End] = []
        if not self.start_known:
            first = self._held[0][0] if self._held else self.sent_stop
            out += self.join_at(first, first, now_s)
        while missing := self.missing:
            out += self.declare_lost(missing[1], reason, now_s)
        return out

    def join_held(self, now_s: float) -> list[Packet | Gap | End]:
        """Let a run whose first samples are held back start with them, where these are the first of all."""
        starts = bool(self._held) and self._held[0][0] == 0
        return self.join_at(0, 0, now_s) if starts and not self.start_known else []

    def follow(self, before: "ReorderBuffer") -> None:
        """Take the place of the run before."""
        self._remember(before.past_runs, before)
        self.sent_earlier = before.sent

    def go_on(self, instead_of: "ReorderBuffer") -> None:
        """Take the place again that another run had meanwhile."""
        self._remember(self.past_runs, instead_of)
        self.sent_earlier += instead_of.sent - instead_of.sent_earlier
        self.requested, self.failed_requests = False, 0

    def drop_held(self) -> None:
        """Forget what is held back."""
        self._held.clear()
        self._hold(-self._held_bytes)

    def has_news(self, message: Packet | End) -> bool:
        """Return whether a message has samples, or an end, beyond what was known to have been sent."""
        if isinstance(message, End):
            return self._end is None and message.first >= self.sent_stop
        return message.header.first + message.header.count > self.sent_stop

    def _remember(self, runs: dict[str, int], latest: "ReorderBuffer") -> None:
        left = NEVER if latest.end_known else latest.next
        self.past_runs = dict([*runs.items(), (latest.run, left)][-MOST_PAST_RUNS:])

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self.total.bytes += size

    def _release(self, now_s: float) -> list[Packet | End]:
        out: list[Packet | End] = self._release_held() if self.start_known else []
        if self.missing is None:
            self.missing_since_s = None
            self.failed_requests = 0
        elif self.missing_since_s is None:
            self.missing_since_s = now_s
        return out

    def _release_held(self) -> list[Packet | End]:
        """Return what follows on without a hole: held packets, less the samples that came before, and the End."""
        out: list[Packet | End] = []
        taken = 0
        for first, count, packet in self._held:
            if first > self.next:
                break
            taken += 1
            self._hold(-len(packet.payload) - PACKET_OVERHEAD_BYTES)
            known = self.next - first
            if known < count:
                out.append(cut_packet(packet, self.next, first + count))
                self.next = first + count
        del self._held[:taken]
        if self._end is not None and self._end.first <= self.next and not self.ended:
            self.ended = True
            out.append(self._end)
        return out
