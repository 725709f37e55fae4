"""Where the stream of one bed stands: packets in any order go in, every sample comes out once and in order.

What comes early is held back until the samples before it have come, were fetched again, or are given up. No socket and
no clock here: times are told.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from agent.core.messages import End, Gap
from agent.wire.packets import Packet, drop_first_samples

MOST_HELD_PACKETS = 256
"""Most packets held back; what comes beyond them is fetched again later."""
MOST_HELD_BYTES = 2**20
MOST_PAST_RUNS = 16
"""Replaced runs that are remembered."""


@dataclass(slots=True)
class ReorderBuffer:
    """The run of a bed.

    `next`: the sample that is to come out next. `seen`: the sample after the last that is known to have been sent.
    `joined`: whether `start`, the first sample of the run, is known; before that nothing comes out. `ended`: the
    End has come out. `heard_s`: when a packet of it came by itself last, `moved_s`: when one brought it forward.
    `hole_s`: since when samples have been missing, None while none are. `asked`: whether a request for it is under
    way, since `asked_s`; `tries`: how often that was in vain, `quiet`: how often without need. `fetched`: samples
    fetched again since the last hole was closed.
    """

    bed: str
    run: str
    fs: float
    next: int = 0
    start: int = 0
    joined: bool = False
    past: tuple[str, ...] = ()
    seen: int = 0
    ended: bool = False
    heard_s: float = 0.0
    moved_s: float = 0.0
    hole_s: float | None = None
    asked_s: float = 0.0
    asked: bool = False
    tries: int = 0
    quiet: int = 0
    fetched: int = 0
    sent_before: int = 0
    """Samples of the runs before this one."""
    _held: list[tuple[int, int, Packet]] = field(default_factory=list)
    _held_bytes: int = 0
    _end: End | None = None

    @property
    def full(self) -> bool:
        """Whether no more packets can be held back."""
        return len(self._held) >= MOST_HELD_PACKETS or self._held_bytes >= MOST_HELD_BYTES

    @property
    def sent(self) -> int:
        """Samples that the device has sent of this bed, as far as is known."""
        return self.sent_before + (self.seen - self.start if self.joined else 0)

    @property
    def hole(self) -> tuple[int, int] | None:
        """The samples that must come before anything else can: first and the one after the last."""
        if self.joined and self.seen <= self.next:
            return None
        return self.next, max(self.next, self._held[0][0] if self._held else self.seen)

    def holds(self, packet: Packet) -> bool:
        """Whether a packet is of this bed and run, at its rate."""
        return (packet.bed, packet.header.run, packet.header.fs) == (self.bed, self.run, self.fs)

    def push(self, message: Packet | End, now_s: float) -> list[Packet | End]:
        """Take a message of this run; return what can go on."""
        if isinstance(message, End):
            self.seen = max(self.seen, message.first)
            self._end = message
            return self._release(now_s)
        header = message.header
        first, count = header.first, header.count
        self.fs = header.fs
        if first == self.next == self.seen and self.joined:  # the usual case: nothing is missing
            self.next = self.seen = first + count
            return [message]
        self.seen = max(self.seen, first + count)
        if first + count > self.next and not (self.full and first > self.next):
            place = bisect_left(self._held, (first, count))
            if place == len(self._held) or self._held[place][:2] != (first, count):  # else it is a repetition
                self._held.insert(place, (first, count, message))
                self._held_bytes += len(message.payload)
        return self._release(now_s)

    def begin(self, start: int, first: int, now_s: float) -> list[Packet | Gap | End]:
        """The run began with sample `start`; those before `first` will not be had."""
        self.joined, self.start, self.next = True, start, start
        return self.give_up(first, "sent before the monitor came", now_s)

    def give_up(self, stop: int, reason: str, now_s: float) -> list[Packet | Gap | End]:
        """Declare the samples up to `stop` missing; return the gap, and what can go on behind it."""
        hole = self.hole
        stop = min(stop, hole[1]) if hole else self.next
        if stop <= self.next:
            return list(self._release(now_s))
        gap = Gap(self.bed, self.run, self.next, stop - self.next, self.fs, reason)
        self.next = stop
        return [gap, *self._release(now_s)]

    def abandon(self, reason: str, now_s: float) -> list[Packet | Gap | End]:
        """Declare all that is missing by now; return that and all that was held back."""
        out: list[Packet | Gap | End] = []
        if not self.joined:
            first = self._held[0][0] if self._held else self.seen
            out += self.begin(first, first, now_s)
        while hole := self.hole:
            out += self.give_up(hole[1], reason, now_s)
        return out

    def followed(self, run: str, fs: float) -> "ReorderBuffer":
        """The track of the run that replaces this one."""
        past = (*self.past, self.run)[-MOST_PAST_RUNS:]
        return ReorderBuffer(self.bed, run, fs, past=past, sent_before=self.sent)

    def _release(self, now_s: float) -> list[Packet | End]:
        out: list[Packet | End] = []
        if self.joined:
            taken = 0
            for first, count, packet in self._held:
                if first > self.next:
                    break
                taken += 1
                self._held_bytes -= len(packet.payload)
                known = self.next - first
                if known < count:
                    out.append(drop_first_samples(packet, known) if known else packet)
                    self.next = first + count
            del self._held[:taken]
            if self._end is not None and self._end.first <= self.next and not self.ended:
                self.ended = True
                out.append(self._end)
        if self.hole is None:
            self.hole_s, self.tries = None, 0
        elif self.hole_s is None:
            self.hole_s = now_s
        return out
