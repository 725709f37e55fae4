"""The link: frames from ZeroMQ, decoded, put in order bed by bed, and every missing sample declared."""

from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from agent.messages import Chunk, End, Event, Gap, LinkView
from agent.wire import LARGEST_FRAME, Packet, follows, join, parse, without
from model.errors import EndpointError, FrameError

MOST_PACKETS = 4096
"""Packets taken at once, so that keyboard and screen are not kept waiting when a fast replay fills the queue."""
MOST_PAST = 16
"""Replaced runs of a bed that are remembered."""


@dataclass(slots=True)
class _Track:
    """Where the stream of one bed stands: the run and the sample that comes next."""

    run: str
    next: int
    past: tuple[str, ...] = ()
    """Runs that ended when a later one began."""


class Link:
    """A subscription to some beds, or to all, of one endpoint."""

    def __init__(self, endpoint: str, beds: Sequence[str], queue: int, lost_s: float) -> None:
        """Raises EndpointError where the endpoint makes no sense; a device that is not there yet is waited for."""
        self.endpoint, self._beds, self._lost_s = endpoint, frozenset(beds), lost_s
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self.socket.set(zmq.RCVHWM, queue)
        self.socket.set(zmq.MAXMSGSIZE, LARGEST_FRAME)
        self.socket.set(zmq.LINGER, 0)
        for bed in beds or [""]:
            self.socket.subscribe(bed)
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise EndpointError(f"cannot connect to {endpoint!r}: {error}; try --endpoint tcp://HOST:PORT") from error
        self._tracks: dict[str, _Track] = {}
        self._reasons: set[str] = set()
        self._last_s: float | None = None
        self._emptied_s: float | None = None
        self._slept = True
        self.packets = self.rejected = 0

    def close(self) -> None:
        """Let go of the socket."""
        self.socket.close()

    def wait(self, seconds: float, keyboard: int | None = None) -> None:
        """Sleep until a packet or a key is there, or the time is over."""
        self._slept = not self.socket.poll(0)
        if not self._slept:
            return
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        if keyboard is not None:
            poller.register(keyboard, zmq.POLLIN)
        poller.poll(max(0, round(seconds * 1000)))

    def receive(self, now_s: float) -> list[Chunk | Gap | End | Event]:
        """All that has come, in order; consecutive packets of a bed joined into one chunk. Never waits.

        `arrived_s` of what woke `wait` is `now_s`. What came while nobody waited is stamped with the time when the
        socket was last seen empty: it came no earlier, so that no delay is ever told too short. What waited for the
        start of the monitor counts from then on.
        """
        arrived_s = now_s if self._slept or self._emptied_s is None else self._emptied_s
        out: list[Chunk | Gap | End | Event] = []
        waiting: dict[str, list[Packet]] = {}
        for _ in range(MOST_PACKETS):
            try:
                message = parse(self._frames())
            except zmq.Again:
                self._emptied_s = now_s
                break
            except FrameError as error:
                out += self._reject(str(error))
                continue
            if self._beds and message.bed not in self._beds:
                continue  # ZeroMQ subscribes by prefix: bed 1 would bring bed 10 too
            self._last_s = now_s
            if self._is_past(message):
                out += self._reject(f"two devices send as bed {message.bed!r}: the one that came last is watched")
                continue
            packets = waiting.setdefault(message.bed, [])
            for part in self._in_order(message):
                if packets and not (isinstance(part, Packet) and follows(part, packets[-1])):
                    out.append(join(packets, arrived_s))
                    packets.clear()
                if isinstance(part, Packet):
                    packets.append(part)
                else:
                    out.append(part)
        out += [join(packets, arrived_s) for packets in waiting.values() if packets]
        return out

    def view(self, now_s: float) -> LinkView:
        """The state of the link at `now_s`."""
        state = "waiting" if self._last_s is None else "connected" if now_s - self._last_s < self._lost_s else "lost"
        return LinkView(self.endpoint, state, self.packets, self.rejected)  # type: ignore[arg-type]  # str is a Literal

    def _frames(self) -> list[bytes]:
        """The frames of the next message. Raises zmq.Again where there is none."""
        # A Frame knows whether another follows; recv_multipart asks the socket, which costs more than receiving.
        frames = [self.socket.recv(zmq.NOBLOCK, copy=False)]
        while frames[-1].more:
            frames.append(self.socket.recv(zmq.NOBLOCK, copy=False))
        return [frame.bytes for frame in frames]

    def _is_past(self, message: Packet | End) -> bool:
        """Whether a message is of a run that a later one has replaced: a device restarts, but never goes back."""
        track = self._tracks.get(message.bed)
        run = message.run if isinstance(message, End) else message.header.run
        return track is not None and run in track.past

    def _in_order(self, message: Packet | End) -> list[Packet | Gap | End]:
        """The message, a gap before it where samples are missing, without what was received before."""
        about = message if isinstance(message, End) else message.header
        track = self._tracks.get(message.bed)
        if track is None or track.run != about.run:
            past = (*track.past, track.run)[-MOST_PAST:] if track else ()
            self._tracks[message.bed] = track = _Track(about.run, about.first, past)
        gap = about.first - track.next
        out: list[Packet | Gap | End] = []
        if gap > 0:
            out.append(Gap(message.bed, about.run, track.next, gap, about.fs, "never arrived"))
        if isinstance(message, End):
            return [*out, message]
        self.packets += 1
        known, count = max(0, -gap), message.header.count
        track.next = max(track.next, about.first + count)
        if known >= count:
            return out
        return [*out, without(message, known) if known else message]

    def _reject(self, reason: str) -> list[Event]:
        """Count a malformed frame, and tell of each reason once: garbage must not flood the events."""
        self.rejected += 1
        if reason in self._reasons or len(self._reasons) >= 100:
            return []
        self._reasons.add(reason)
        return [Event("", 0, "frame", f"packet rejected: {reason}")]
