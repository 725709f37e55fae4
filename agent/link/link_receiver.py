"""The link: packets from ZeroMQ in order, bed by bed; what was missed is fetched again, or declared missing.

It subscribes first and asks then: packets that come before what they follow are held back (`track.py`) while what lies
between is fetched over the second socket of the device (`asker.py`). `docs/wire.md` has the rules.
"""

from collections.abc import Mapping, Sequence

import zmq

from agent.core.config import Config
from agent.core.events import Backfilled, JoinedLate, LinkTrouble
from agent.core.messages import End, LinkView, ResumePosition
from agent.link.backfill_client import BackfillClient, BackfillResult
from agent.link.bed_admission import BedAdmission
from agent.link.chunk_assembler import ChunkAssembler, LinkMessage, receive_frames
from agent.link.rejection_log import RejectionLog
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.curve_security import ConnectionMonitor, check_endpoint, harden_socket, secure_client
from agent.wire.packets import LARGEST_NAME_BYTES, Packet, parse_frames
from agent.wire.requests import LONGEST_REPLY_S, backfill_endpoint
from model.errors import EndpointError, FrameError
from model.records.resample import FS

MOST_PACKETS_READ = 4096
"""Packets taken at once, so that keyboard and screen are not kept waiting when a fast replay fills the queue."""
MOST_BED_BYTES = 2**20
"""Samples that a bed brings into one look, in bytes; what comes after them is left out."""
MOST_WAITING_SAMPLES = round(4 * LONGEST_REPLY_S * FS)
"""Samples of a bed that may wait to be analysed; more than one that is behind has fetched."""
SMALL_PACKET_BYTES = MOST_BED_BYTES // MOST_PACKETS_READ
"""... and of packets with no more than this it can't bring too many."""
CONGESTION_PAUSE_S = 0.1
"""How long nothing is read where most beds can hold no more packets back, until what they have asked for is there."""
CHANNEL_ABSENT_S = 1.0
"""After so long without an answer a device is taken for one that has no second socket."""
CHANNEL_TIMEOUT_S = 5.0
"""A second socket that has answered before is waited for so long while packets come."""
SILENT_BED_S = 1.0
"""A bed that is silent for so long is asked for: its last packets, or its end, may be lost."""
LONGEST_POLL_PAUSE_S = 8.0
"""Longest pause between two such questions."""
STALE_PACKETS_S = 2.5
"""A bed that sends only what was had or given up before is told of after so long."""
DEVICE_TAKEOVER_S = 10.0
"""Where two devices send as one bed, the one that came last gives way to the other after so long a silence."""
BED_CHECK_S = 0.1
MOST_FETCH_TRIES = 3
"""Answers without any of the samples that were asked for, after which those are given up."""


class LinkReceiver:
    """A subscription to some beds, or to all, of one device."""

    def __init__(self, config: Config, beds: Sequence[str]) -> None:
        """Raises EndpointError where the endpoint makes no sense, ConfigError where it is not allowed without keys."""
        link, security = config.link, config.security
        self.endpoint, self._beds, self._secured = link.endpoint, frozenset(beds), bool(security.key)
        self._lost_s = config.monitor.lost_s
        self._backfill_s, self._patience_s = link.backfill_s, link.patience_ms / 1000
        service = backfill_endpoint(link.endpoint, link.service)
        for endpoint in (link.endpoint, service):
            check_endpoint(endpoint, security)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.socket: zmq.Socket[bytes] = context.socket(zmq.SUB)
        self._watcher = ConnectionMonitor(self.socket, link.endpoint, security)
        try:
            harden_socket(self.socket)
            secure_client(self.socket, security)
            self.socket.set(zmq.RCVHWM, link.buffer_packets)
            self.socket.set(zmq.IPV6, "[" in link.endpoint)
            for bed in beds or [""]:
                self.socket.subscribe(bed)
            self.socket.connect(link.endpoint)
            self._asker = BackfillClient(service, security, context)
        except BaseException as error:
            self._watcher.close()
            self.socket.close()
            if not isinstance(error, zmq.ZMQError):
                raise
            hint = "try --endpoint tcp://HOST:PORT"
            raise EndpointError(f"cannot connect to {link.endpoint!r}: {error}; {hint}") from error
        self._tracks: dict[str, ReorderBuffer] = {}
        self._troubled: set[str] = set()
        """Beds with a hole."""
        self._complaints, self._newcomers = RejectionLog(), BedAdmission(config.monitor.beds)
        self._live = 0
        """Beds that were heard in the last second."""
        self._busy: set[str] = set()
        self._sated: set[bytes] = set()
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._checked_s = 0.0
        self._emptied_s: float | None = None
        self._slept = True
        self.packets = self.rejected = 0

    def close(self) -> None:
        """Let go of the sockets."""
        self._watcher.close()
        self._asker.close()
        self.socket.close()

    def resume(self, positions: Mapping[str, ResumePosition], now_s: float) -> None:
        """Go on where these beds were left: what was sent since is asked for."""
        for bed, at in positions.items():
            if not self._beds or bed in self._beds:
                self._tracks[bed] = ReorderBuffer(
                    bed, at.run, at.fs, at.next, at.next, True, seen=at.next, heard_s=now_s
                )

    def behind_with(self, waiting: Mapping[str, int]) -> None:
        """How many samples wait to be analysed, at 125 Hz, of the beds that have enough for now.

        These are not asked for before the next call, and of those that have far too many no packets are taken. What is
        left out counts as lost on the way: it is fetched again later, or declared missing.
        """
        self._busy = set(waiting)
        self._sated = {bed.encode() for bed, samples in waiting.items() if samples >= MOST_WAITING_SAMPLES}

    def sent(self, bed: str) -> int:
        """Samples of a bed that were sent, as far as is known, since this link came or was resumed."""
        track = self._tracks.get(bed)
        return track.sent if track else 0

    def wait(self, seconds: float, keyboard: int | None = None) -> None:
        """Sleep until a packet, an answer or a key is there, or the time is over."""
        self._slept = not self.socket.poll(0)
        if not self._slept:
            return
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self._asker.socket, zmq.POLLIN)
        if keyboard is not None:
            poller.register(keyboard, zmq.POLLIN)
        poller.poll(max(0, round(seconds * 1000)))

    def receive(self, now_s: float) -> list[LinkMessage]:
        """All that has come and is in order; consecutive packets of a bed joined into one chunk. Never waits.

        `arrived_s` of what woke `wait` is `now_s`. What came while nobody waited is stamped with the time when the
        socket was last seen empty: it came no earlier, so that no delay is ever told too short. What waited for the
        start of the monitor counts from then on.
        """
        arrived_s = now_s if self._slept or self._emptied_s is None else self._emptied_s
        out = ChunkAssembler(arrived_s, self._asker.offset_s)
        self._take_answers(now_s, out)
        self._take_packets(now_s, out)
        for bed in list(self._troubled):
            self._mend(self._tracks[bed], now_s, out)
        if now_s - self._checked_s >= BED_CHECK_S:
            self._checked_s = now_s
            self._check(now_s, out)
        complete = bool(self._tracks) and not self._troubled and all(track.ended for track in self._tracks.values())
        self._asker.greet(now_s, complete)
        return out.all()

    def finish(self, now_s: float) -> list[LinkMessage]:
        """At the end: what is still held back, and gaps for all that is still missing."""
        out = ChunkAssembler(now_s, self._asker.offset_s)
        for track in self._tracks.values():
            out.add(track.bed, track.abandon("not fetched again before the end", now_s))
        return out.all()

    @property
    def behind(self) -> bool:
        """Whether a bed waits for what was missed."""
        return bool(self._troubled)

    @property
    def refused(self) -> bool:
        """Whether the device, or we, refused the connection: waiting will not help."""
        return bool(self._watcher.refused)

    def view(self, now_s: float) -> LinkView:
        """The state of the link at `now_s`."""
        heard = [at_s for at_s in (self._last_s, self._asker.heard_s) if at_s is not None]
        state = "waiting" if self._last_s is None else "connected" if now_s - max(heard) < self._lost_s else "lost"
        offset_s, round_trip_s = self._asker.offset_s, self._asker.round_trip_s
        return LinkView(
            self.endpoint,
            state,  # type: ignore[arg-type]  # str is a Literal
            self.packets,
            self.rejected,
            self._secured and self._watcher.connected,
            self._watcher.trouble,
            None if round_trip_s is None else 1000 * round_trip_s,
            None if offset_s is None else 1000 * offset_s,
        )

    def _take_packets(self, now_s: float, out: ChunkAssembler) -> None:
        if self._held_up(now_s):
            return
        socket, tracks, sated = self.socket, self._tracks, self._sated
        brought: dict[str, int] = {}
        for _ in range(MOST_PACKETS_READ):
            frames: list[bytes] = []
            try:
                frames = receive_frames(socket)
                if sated and frames[0] in sated:
                    raise FrameError("it sends more than is its share: left out, to be fetched later")
                message = parse_frames(frames)
            except zmq.Again:
                self._emptied_s = now_s
                return
            except FrameError as error:
                self._reject(str(error), out, now_s, frames[0])
                continue
            bed, header = message.bed, message if isinstance(message, End) else message.header
            if self._beds and bed not in self._beds:
                continue  # ZeroMQ subscribes by prefix: bed 1 would bring bed 10 too
            track = tracks.get(bed)
            if track is None or track.run != header.run or self._newcomers.single:
                track = self._track(message, now_s, out)
                if track is None:
                    continue
            self._last_s = track.heard_s = now_s
            self.packets += header is not message
            was_full = track.hole_s is not None and track.full
            parts = track.push(message, now_s)
            if parts:
                track.moved_s = now_s
                out.add(bed, parts)
            elif track.hole_s is None and now_s - track.moved_s >= STALE_PACKETS_S:
                self._reject("nothing but samples that were had or given up before", out, now_s, frames[0])
            if len(frames[2]) > SMALL_PACKET_BYTES:
                brought[bed] = brought.get(bed, 0) + len(frames[2])
                if brought[bed] > MOST_BED_BYTES:
                    sated.add(frames[0])
                    if 2 * len(sated) > self._live:
                        return
            if track.hole_s is not None:
                self._troubled.add(bed)
                if track.full and not was_full and self._held_up(now_s):
                    return

    def _held_up(self, now_s: float) -> bool:
        """Whether nothing should be read for a moment, since most beds wait for answers and can hold no more back.

        So a replay at full speed does not run away from its own answers. One bed of many holds nobody up: what it
        can't hold is fetched later.
        """
        if 2 * len(self._troubled) <= self._live:
            return False
        waiting = sum(self._holds_up(self._tracks[bed], now_s) for bed in self._troubled)
        return waiting > 0 and 2 * waiting > self._live

    def _holds_up(self, track: ReorderBuffer, now_s: float) -> bool:
        """Whether a bed waits for an answer and can hold no more back."""
        if not track.full or track.hole_s is None:
            return False
        # Where nobody answers the hole is soon given up, and until then what is here is worth more than what is not.
        most_s = CONGESTION_PAUSE_S if self._answers(now_s) else 2 * CHANNEL_ABSENT_S
        return now_s - max(track.hole_s, track.asked_s) < most_s

    def _answers(self, now_s: float) -> bool:
        """Whether the second socket was heard lately."""
        return self._asker.heard_s is not None and now_s - self._asker.heard_s < CHANNEL_ABSENT_S

    def _track(self, message: Packet | End, now_s: float, out: ChunkAssembler) -> ReorderBuffer | None:
        """The track of a message, a new one for a new run; None where it is refused."""
        about = message if isinstance(message, End) else message.header
        track = self._tracks.get(message.bed)
        self._newcomers.single.discard(message.bed)
        if track is not None and track.run == about.run:
            return track
        back = False
        if track is None:
            if reason := self._newcomers.refused(message.bed, len(self._tracks), now_s):
                self._reject(reason, out, now_s)
                return None
            new = ReorderBuffer(message.bed, about.run, about.fs)
        elif (back := about.run in track.past) and now_s - track.heard_s < DEVICE_TAKEOVER_S:
            reason = f"two devices send as bed {message.bed!r}: the one that came last is watched"
            self._reject(reason, out, now_s, message.bed.encode())
            return None
        else:
            out.add(track.bed, track.abandon("lost with the device's last run", now_s))
            new = track.followed(about.run, about.fs)
        self._first_s = now_s if self._first_s is None else self._first_s
        self._tracks[message.bed] = new
        new.moved_s = now_s
        if back:
            new.begin(about.first, about.first, now_s)  # what was before it was analysed, or refused
        elif about.first == 0:
            new.begin(0, 0, now_s)
        return new

    def _mend(self, track: ReorderBuffer, now_s: float, out: ChunkAssembler) -> None:
        """Ask for what a bed misses, or give it up where that is in vain."""
        hole = track.hole
        if hole is not None and not track.asked:
            first, stop = hole
            if not track.joined:
                if stop == 0 or track.tries >= MOST_FETCH_TRIES or self._is_alone(track, now_s):
                    out.add(track.bed, track.begin(stop, stop, now_s))
                else:
                    back = round(self._backfill_s * track.fs)
                    self._ask(track, max(0, stop - max(back, 1)), stop, now_s)
            elif track.tries >= MOST_FETCH_TRIES or self._is_alone(track, now_s):
                if track.full or now_s - (track.hole_s or 0.0) >= self._patience_s:
                    out.add(track.bed, track.give_up(stop, "never arrived", now_s))
                    track.tries = 0
            elif track.full or track.fetched or now_s - (track.hole_s or 0.0) >= self._patience_s:
                self._ask(track, first, stop, now_s)
        if track.hole is None:
            self._troubled.discard(track.bed)
            if track.fetched:
                sample = round(track.next * FS / track.fs)
                out.tell(Backfilled(track.bed, track.run, sample, track.fetched, track.fetched / track.fs))
                track.fetched = 0

    def _ask(self, track: ReorderBuffer, first: int, stop: int, now_s: float) -> None:
        if track.bed in self._busy or self._asker.heard_s is None:
            return
        if self._asker.ask(track.bed, track.run, first, stop, now_s):
            track.asked, track.asked_s = True, now_s

    def _is_alone(self, track: ReorderBuffer, now_s: float) -> bool:
        """Whether packets of a bed come, but no second socket answers."""
        if self._asker.heard_s is None:
            return self._first_s is not None and now_s - self._first_s >= CHANNEL_ABSENT_S
        silent_s = now_s - max(self._asker.heard_s, track.hole_s or 0.0)
        return (
            silent_s >= CHANNEL_ABSENT_S
            if track.full
            else silent_s >= CHANNEL_TIMEOUT_S and now_s - track.heard_s < SILENT_BED_S
        )

    def _take_answers(self, now_s: float, out: ChunkAssembler) -> None:
        for answer in self._asker.receive(now_s):
            track = self._tracks.get(answer.asked.bed)
            if track is not None and track.run == answer.asked.run:
                track.asked = False
                self._settle(track, answer, now_s, out)
        for late in self._asker.expired(now_s):
            track = self._tracks.get(late.bed)
            if track is not None and track.run == late.run:
                track.asked = False
                # Where the device answers other requests this one was refused; else it is not there for now.
                track.tries += self._asker.heard_s is not None and self._asker.heard_s > track.asked_s
        for reason in self._asker.rejected:
            self._reject(reason, out, now_s)
        self._asker.rejected.clear()

    def _settle(self, track: ReorderBuffer, answer: BackfillResult, now_s: float, out: ChunkAssembler) -> None:
        """Take what a device sent again, and give up what it no longer has."""
        asked, said, before = answer.asked, answer.said, track.next
        gone = said.run != track.run
        if not track.joined:
            start = min(asked.stop if gone else said.start, asked.stop)
            first = asked.stop if gone or not self._backfill_s else max(said.oldest, asked.first)
            if first > start:
                sample = round(start * FS / track.fs)
                out.tell(JoinedLate(track.bed, track.run, sample, (first - start) / track.fs))
            out.add(track.bed, track.begin(start, first, now_s))
        elif gone:
            out.add(track.bed, track.give_up(asked.stop, "lost: the device was restarted", now_s))
        else:
            out.add(track.bed, track.give_up(min(asked.stop, said.oldest), "no longer kept by the device", now_s))
        for frames in answer.packets:
            try:
                packet = parse_frames(frames)
            except FrameError as error:
                self._reject(str(error), out, now_s, track.bed.encode())
                continue
            if isinstance(packet, End) or not track.holds(packet):
                reason = "samples were sent again that are not those asked for"
                self._reject(reason, out, now_s, track.bed.encode())
                continue
            first, count = packet.header.first, packet.header.count
            track.fetched += max(0, first + count - max(first, track.next))
            out.add(track.bed, track.push(packet, now_s))
        if said.ended and not gone and not track.ended:
            out.add(track.bed, track.push(End(track.bed, track.run, said.next, track.fs), now_s))
        if track.next > before:
            track.tries = track.quiet = 0
            track.moved_s = now_s
        elif track.hole is not None:
            track.tries += 1
        else:
            track.quiet += 1
        if track.hole is not None or track.fetched:
            self._troubled.add(track.bed)

    def _check(self, now_s: float, out: ChunkAssembler) -> None:
        """What need not be looked at all the time: the connection, and beds that have fallen silent."""
        self._asker.watch()
        for trouble in self._watcher.read():
            out.tell(LinkTrouble(trouble))
        self._live = sum(now_s - track.heard_s < SILENT_BED_S and not track.ended for track in self._tracks.values())
        if not self._answers(now_s):
            return
        for track in self._tracks.values():
            if now_s - track.heard_s < SILENT_BED_S:
                track.quiet = 0
            elif track.ended or track.asked or track.hole is not None:
                continue
            elif now_s - track.asked_s >= min(SILENT_BED_S * 2**track.quiet, LONGEST_POLL_PAUSE_S):
                self._ask(track, track.next, track.next + round(LONGEST_REPLY_S * track.fs), now_s)

    def _reject(self, reason: str, out: ChunkAssembler, now_s: float, name: bytes = b"") -> None:
        """Count a packet that is not taken and tell of it, on the line of its bed where that is watched."""
        self.rejected += 1
        bed = name[:LARGEST_NAME_BYTES].decode(errors="replace")
        out.tell(*self._complaints.add(self._tracks.get(bed), reason, now_s, bed))
