"""The link: receives the packets of a device and returns them in order, bed by bed, with what was missed.

It subscribes first and asks then: packets that come before what they follow are held back (`reorder_buffer`) while
what lies between is requested over the backfill channel (`backfill_scheduler`, `backfill_client`) and put in its place
(`reply_settler`). `docs/wire.md` has the rules.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence, Set

import zmq

from agent.core.config import Config
from agent.core.events import LinkTrouble
from agent.core.messages import BedsChunk, ResumePosition, separate_chunks
from agent.core.views import LinkView
from agent.link.backfill_client import BackfillClient
from agent.link.backfill_scheduler import BackfillScheduler
from agent.link.bed_part import WHOLE_WARD, BedPart, WatchedBeds
from agent.link.bed_streams import BedStreams
from agent.link.bundle_reader import BundleReader
from agent.link.chunk_assembler import ChunkAssembler, LinkMessage, receive_frames
from agent.link.packet_intake import MOST_PACKETS_READ, PacketIntake
from agent.link.silence_watch import SilenceWatch
from agent.wire.bundles import BUNDLE_TOPIC, LARGEST_HEAD_BYTES
from agent.wire.connection import ConnectionMonitor
from agent.wire.curve_security import check_endpoint, harden_socket, secure_client
from agent.wire.endpoint_errors import endpoint_refusal
from agent.wire.inflow_guard import FEW_CHECK_S, InflowGuard, InflowLimit
from agent.wire.packets import LARGEST_NAME_BYTES, LARGEST_PAYLOAD_BYTES, parse_frames
from agent.wire.requests import ReplayAction, ReplayReply, backfill_endpoint
from model.errors import EndpointError, FrameError

MOST_PACKETS_WAITING = 16_384
"""Packets that ZeroMQ holds for the monitor; more wait in the system and at the device."""
MORE_MS = 2
"""How long ZeroMQ may take for a packet that has come to the system."""
MOST_FRAMES_READ = 3 * MOST_PACKETS_READ
READ_S = 0.03
"""Longest time of one reading: much can be rejected meanwhile."""
STREAM_INFLOW = InflowLimit("it sent more than the monitor can take", connection_bytes=2**24)
LARGEST_MESSAGE_BYTES = LARGEST_PAYLOAD_BYTES + LARGEST_HEAD_BYTES + LARGEST_NAME_BYTES + 1024
IDLE_S, IDLE_PACKETS = 0.5, 2
"""Without a packet for this time, and for so many packets' time, no run is about to follow, as it does in a loop."""
STEADY_S = 1.0
"""What has brought a packet within this time needs no look at each bed."""
BED_CHECK_S, CALM_CHECK_S = 0.1, 0.25
"""How often the connection and silent beds are checked, and a wish to stop is seen; the longer one while packets come
and nothing is missing."""
RECENT_S = 10.0
"""A bed that has sent within this time is not kept waiting for others."""
ATTENTION_S = 1.0
"""After a longer pause of the monitor itself silence is counted anew: what came meanwhile has not been seen."""
HEAR_ALL_S, MOST_HEARD = 1.0, 4096
"""How long, and for how many, is listened at the end for beds that may have been meant."""


class LinkReceiver:
    """A subscription to the `beds` of one device, to all of them where none is named; of these, to those in `part`."""

    def __init__(self, config: Config, beds: Sequence[str], part: BedPart = WHOLE_WARD) -> None:
        """Raises EndpointError where the endpoint makes no sense, ConfigError where it is not allowed without keys."""
        self.endpoint = config.link.endpoint
        self._watched = WatchedBeds(beds, part)
        self._secured = bool(config.security.key)
        self._bundles = config.link.bundles and not beds
        """Whether it lets the device send bundles: where they hold other beds than it wants, they would not pay."""
        self._lost_s = config.monitor.lost_s
        self._connect(config)
        self._streams = BedStreams(config.monitor.beds)
        self._scheduler = BackfillScheduler(self._streams, self._client, config.link)
        bundles = (
            BundleReader(self.socket, self._streams, self._watched, config.monitor.beds) if self._bundles else None
        )
        self._intake = PacketIntake(self._streams, self._scheduler, bundles, self._watched)
        self._silence = SilenceWatch(self._connection, f"stream of {self.endpoint}")
        self._attentive_s = 0.0
        """Since when silence is the device's: before that the monitor itself had a pause."""
        self._received_s, self._paused = 0.0, False
        """When something was received last, and whether the device said by then that its replay is paused."""
        self._checked_s = 0.0
        self._emptied_s: float | None = None
        self._slept = True
        self._poller = zmq.Poller()
        for socket in (self.socket, self._client.socket):
            self._poller.register(socket, zmq.POLLIN)

    def _connect(self, config: Config) -> None:
        link, security = config.link, config.security
        channel = backfill_endpoint(link.endpoint, link.service)
        for endpoint in (link.endpoint, channel):
            check_endpoint(endpoint, security)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.socket: zmq.Socket[bytes] = context.socket(zmq.SUB)
        self._guard = InflowGuard(FEW_CHECK_S)
        self._inflow = self._guard.watch(STREAM_INFLOW, encrypted=bool(security.key))
        self._connection = ConnectionMonitor(self.socket, link.endpoint, security, inflow=self._inflow)
        connecting = link.endpoint
        try:
            harden_socket(self.socket)
            secure_client(self.socket, security)
            self.socket.set(zmq.RCVHWM, min(link.buffer_packets, MOST_PACKETS_WAITING))
            self.socket.set(zmq.IPV6, "[" in link.endpoint)
            for bed in self._watched.names or [""]:
                self.socket.subscribe(bed)
            if self._bundles:
                self.socket.subscribe(BUNDLE_TOPIC)
            self.socket.connect(connecting)
            connecting = channel
            self._client = BackfillClient(channel, security, context, self._guard)
        except BaseException as error:
            self._guard.close()
            self._connection.close()
            self.socket.close()
            if not isinstance(error, zmq.ZMQError):
                raise
            raise EndpointError(endpoint_refusal(connecting, error)) from error

    def close(self) -> None:
        """Close the sockets."""
        self._guard.close()
        self._connection.close()
        self._client.close()
        self.socket.close()

    def resume(self, positions: Mapping[str, ResumePosition], now_s: float) -> None:
        """Continue where these beds were left: what was sent since is requested."""
        for bed, position in positions.items():
            if self._watched.has(bed):
                self._streams.resume(bed, position, now_s)

    def set_backlog(self, enough: Set[str], too_much: Set[str]) -> None:
        """Set which beds have enough to analyse, and which have far too much.

        Nothing is requested of the former before the next call, and of the latter no packets are taken. What is left
        out counts as lost on the way: it is fetched again later, or declared missing.
        """
        self._scheduler.backlogged = enough
        self._intake.overloaded = {bed.encode() for bed in too_much}

    def heard_s(self, bed: str) -> float:
        """Return when the device was last known to send new samples as a bed, analysed or not; Unix time.

        What it sent while the monitor had a pause is not known: silence counts from the end of the pause.
        """
        buffer = self._streams.buffers.get(bed)
        if buffer is not None and buffer.end_known:
            return self._received_s  # it has said all, though something before its end may be missing
        if self._paused:
            return self._received_s  # it says itself that it sends nothing for now
        return max(self._attentive_s, buffer.news_s if buffer else 0.0)

    def silent_s(self, now_s: float) -> float:
        """Return for how long neither a packet nor a reply has come."""
        return now_s - max(self._attentive_s, self._intake.last_s or 0.0, self._client.replied_s or 0.0)

    def is_paused(self, now_s: float) -> bool:
        """Return whether the device, which replays records, says that it is paused."""
        return self._client.is_paused(now_s)

    @property
    def replay(self) -> ReplayReply | None:
        """What the device said last of its replay; None where it has not been asked, or says nothing of it."""
        return self._client.replay

    def ask_replay(self, action: ReplayAction, value: float, now_s: float) -> bool:
        """Ask the device to pause its replay, to go on, to move or to change its speed; False: it is not there."""
        return self._client.ask_replay(action, value, now_s)

    def contested(self, now_s: float) -> set[str]:
        """Return the beds as which two devices have sent within the last ten seconds."""
        return self._streams.contested(now_s)

    def sent(self, bed: str) -> int:
        """Return the samples of a bed that were sent, as far as is known, since this link came or was resumed."""
        buffer = self._streams.buffers.get(bed)
        return buffer.sent if buffer else 0

    def hear_all_beds(self) -> list[str]:
        """Return beds that the device sends, watched or not: listens to all for a moment, as the last thing."""
        names: set[str] = set()
        until_s = time.monotonic() + HEAR_ALL_S
        self.socket.subscribe("")
        while len(names) < MOST_HEARD and self.socket.poll(max(0, round(1000 * (until_s - time.monotonic())))):
            with contextlib.suppress(FrameError):
                names.add(parse_frames(receive_frames(self.socket)).bed)
        return sorted(names)

    def wait(self, seconds: float, keyboard: int | None = None) -> None:
        """Sleep until a packet, a reply or a key is there, or the time is over."""
        self._slept = not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN
        if self._slept:
            if keyboard is not None and keyboard not in self._poller:
                self._poller.register(keyboard, zmq.POLLIN)
            self._poller.poll(max(0, round(seconds * 1000)))

    def receive(self, now_s: float) -> list[LinkMessage | BedsChunk]:
        """Return all that has come and is in order. Waits 2 ms at most, for what the system has received already.

        Parameters
        ----------
        now_s
            Unix time.

        Returns
        -------
        list[Chunk | BedsChunk | Gap | End | Event]
            Those of each bed in order; consecutive packets as one chunk of (n, leads) counts, those of bundles together
            (`separate_chunks` takes them apart). Its `arrived_s` is `now_s` for what woke `wait`. What came while
            nobody waited is stamped with the time when the socket was last seen empty: it came no earlier, so that no
            delay is ever reported too short. What waited for the start of the monitor counts from then on.
        """
        if now_s - self._received_s >= ATTENTION_S:
            self._attentive_s = now_s
        self._received_s = now_s
        arrived_s = now_s if self._slept or self._emptied_s is None else self._emptied_s
        out = ChunkAssembler(arrived_s, self._client.offset_s)
        self._scheduler.take_replies(now_s, out)
        self._paused = self.is_paused(now_s)
        self._read_packets(now_s, out)
        self._scheduler.close_holes(now_s, out)
        if now_s - self._checked_s >= self.patience_s or self._inflow.has_reports:
            self._checked_s = now_s
            self._check_beds(now_s, out)
        self._client.say_hello(now_s, self._streams.complete or (not self._streams.buffers and self.others_ended))
        if self._paused or self.is_idle(now_s):
            self._client.watch_replay(now_s)
        return out.assemble()

    def finish(self, now_s: float) -> list[LinkMessage]:
        """Return, at the end, what is still held back, and gaps for all that is still missing."""
        out = ChunkAssembler(now_s, self._client.offset_s)
        self._streams.promote_newcomers(now_s, out, at_once=True)
        for buffer in self._streams.buffers.values():
            out.add_parts(buffer.bed, buffer.flush_as_lost("not fetched again before the end", now_s))
        return list(separate_chunks(out.assemble()))

    def is_idle(self, now_s: float) -> bool:
        """Return whether no packet has come for half a second, and for twice as long as a packet lasts."""
        last_s, packet_s = self._intake.last_s, self._intake.longest_packet_s
        return last_s is None or now_s - last_s >= max(IDLE_S, IDLE_PACKETS * packet_s)

    @property
    def packets(self) -> int:
        """Packets that were taken."""
        return self._intake.packets

    @property
    def rejected(self) -> int:
        """Packets that were not taken."""
        return self._streams.rejected

    @property
    def patience_s(self) -> float:
        """How long `receive` need not be called while nothing comes."""
        is_calm = self._intake.last_s is not None and self._connection.connected and not self._streams.unsettled
        return CALM_CHECK_S if is_calm else BED_CHECK_S

    @property
    def behind(self) -> bool:
        """Whether a bed waits for what was missed."""
        return bool(self._streams.incomplete)

    @property
    def others_ended(self) -> bool:
        """Whether there are beds that other monitors watch, whose runs have all ended."""
        return self._watched.others_ended

    @property
    def refused(self) -> bool:
        """Whether the device, or this side, refused the connection: waiting will not help."""
        return bool(self._connection.refused)

    def view(self, now_s: float) -> LinkView:
        """Return the state of the link at `now_s`."""
        last_s = self._intake.last_s
        state = "waiting" if last_s is None else "connected" if self.silent_s(now_s) < self._lost_s else "lost"
        offset_s, round_trip_s = self._client.offset_s, self._client.round_trip_s
        return LinkView(
            self.endpoint,
            state,  # type: ignore[arg-type]  # str is a Literal
            self.packets,
            self.rejected,
            self._secured and self._connection.connected,
            self._connection.trouble,
            None if round_trip_s is None else 1000 * round_trip_s,
            None if offset_s is None else 1000 * offset_s,
            self.is_paused(now_s),
            max(last_s or 0.0, self._client.replied_s or 0.0) or None,
        )

    def _read_packets(self, now_s: float, out: ChunkAssembler) -> None:
        """Take the packets that have come, until there are none, too many, or nothing can take more."""
        if self._is_behind(now_s) or self._scheduler.is_congested(now_s):
            self._attentive_s = now_s
            return
        size = count = 0
        until_s = time.monotonic() + READ_S
        self._intake.begin()
        while count < MOST_FRAMES_READ and not self._intake.has_enough and time.monotonic() < until_s:
            try:
                frames = receive_frames(self.socket)
            except zmq.Again:
                if self._inflow.has_unread() and self.socket.poll(MORE_MS):
                    continue
                self._emptied_s = now_s
                self._note_taken(size, count, emptied=True)
                return
            count += len(frames)
            size += sum(map(len, frames))
            self._intake.take(frames, now_s, out)
        self._attentive_s = now_s  # more is there that has not been looked at
        self._note_taken(size, count, emptied=False)

    def _is_behind(self, now_s: float) -> bool:
        """Return whether every bed has enough to analyse: a replay at full speed waits, since no bed is in time."""
        enough = self._scheduler.backlogged
        return bool(enough) and not any(
            bed not in enough and not buffer.ended and now_s - buffer.received_s < RECENT_S
            for bed, buffer in self._streams.buffers.items()
        )

    def _note_taken(self, size: int, frames: int, emptied: bool) -> None:
        """Tell the guard what was taken of what has come, and whether that was all."""
        if frames:
            self._inflow.credit_frames(size, frames)
        if emptied and frames:
            self._inflow.reset()
        elif emptied:
            self._inflow.note_empty(LARGEST_MESSAGE_BYTES)

    def _check_beds(self, now_s: float, out: ChunkAssembler) -> None:
        """Check what need not be checked with every packet: the connections, silent beds, runs that wait."""
        if self._is_stream_dead(now_s):
            heard_s = max(self._attentive_s, self._intake.last_s or 0.0)
            self._silence.check(heard_s, now_s, least_s=IDLE_PACKETS * self._intake.longest_packet_s)
        for trouble in [*self._client.keep_connected(self._attentive_s, now_s), *self._connection.read()]:
            out.add_events(LinkTrouble(trouble))
        self._streams.count_live_beds(now_s)
        self._streams.promote_newcomers(now_s, out)
        stream_down = self._intake.last_s is not None and not self._connection.connected
        self._scheduler.poll_silent_beds(now_s, stream_down)

    def _is_stream_dead(self, now_s: float) -> bool:
        """Return whether something should have come over the stream: no reply comes either, or newer samples do."""
        if self._streams.complete or now_s - (self._intake.last_s or 0.0) < STEADY_S:
            return False
        if not self._client.is_answering(now_s):
            return True
        last_s = self._intake.last_s or 0.0
        return any(buffer.advanced_s > last_s for buffer in self._streams.buffers.values())
