"""What `benchmarks.fuzz` feeds a monitor with: streams through link and ward, and a device with odd answers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from uuid import uuid4

import numpy as np
import zmq
from numpy.typing import NDArray

from agent.alarms.alarm_feed import STRIP_MARGIN
from agent.core import config as configuration
from agent.core.config import Config, load_config, override_config
from agent.core.events import Event
from agent.core.messages import MISSING, Alarm, BedsChunk, Chunk, End, FloatArray, Lead, Result, Strip, separate_chunks
from agent.core.run_clock import RunClock
from agent.core.views import BedView
from agent.core.wording import event_text
from agent.link.chunk_assembler import LinkMessage
from agent.link.link_receiver import LinkReceiver
from agent.monitor.alarm_history import AlarmHistory
from agent.monitor.snapshot import WAVE_SAMPLES, SnapshotMaker
from agent.pipeline.pipeline import Pipeline
from agent.wire.packets import LARGEST_INDEX, encode_frames
from agent.wire.requests import FetchReply, FetchRequest, decode_request
from agent.wire.requests import encode_channel_message as encode_reply
from benchmarks.fuzz.invariants import OrderCheck, check_bounds
from benchmarks.fuzz.mutation import JSON_TOKENS, mutated
from model.beats.templates import INPUTS
from model.records import wfdb_records

RATES = (125.0, 125.0, 125.0, 250.0, 360.0, 500.0, 1000.0, 128.0, 100.0, 257.5, 977.0, 124.875, 10_000.0)
ODD_RATES = (0.125, 1e-3, 1.0, 7.0, 20.0, 123.456, 9999.9)
UNITS = ("mV", "mV", "mV", "V", "uV", "\N{MICRO SIGN}V", "bpm")
GAINS = (1000.0, 1000.0, 200.0, 1.0, 1e-9, 1e9)
OFFSETS = (0.0, 0.0, 1024.0, -(2.0**53), 2.0**53)
JUMPS = (1, -1, 5, -5, 1000, -1000, 10**6, 2**31, 2**40, 2**53)
FIRSTS = (0, 0, 0, 1, 1000, 2**31 - 100, 2**40, LARGEST_INDEX - 20_000)
STEPS_S = (0.01, 0.1, 0.5, 2.0, 10.0)
"""Samples that a view of a bed is asked for: all that are kept."""
PACKET, REPLY = b"packet", b"reply"


class Classify:
    """A net that costs nothing: classes by the place in the batch."""

    def __init__(self, in_context: bool) -> None:
        self.in_context = in_context

    def __call__(self, beats: FloatArray) -> FloatArray:
        assert beats.shape[1] == (INPUTS if self.in_context else 187)
        assert np.isfinite(beats).all(), "the net is given values that are not finite"
        scores = np.full((len(beats), 6 if self.in_context else 5), 0.1, np.float32)
        scores[np.arange(len(beats)), np.arange(len(beats)) % scores.shape[1]] = 0.5
        return np.log(scores / scores.sum(1, keepdims=True)) if self.in_context else scores


class Monitor:
    """Link and ward as a monitor has them, and a device that says what it is told to."""

    def __init__(self, settings: Config, in_context: bool, lasting: bool = False) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._publisher, self._service = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        endpoint = f"inproc://{uuid4().hex}"
        self._publisher.bind(endpoint)
        self._service.bind(f"{endpoint}-service")
        self.link = LinkReceiver(override_config(settings, "link", endpoint=endpoint), [])
        self._publisher.recv()  # the subscription has arrived
        self.ward = Pipeline(settings, Classify(in_context))
        self.now_s = 1.75e9
        self._most_beds = settings.monitor.beds
        self._order = OrderCheck(remembers=not lasting)

    def close(self) -> None:
        self.link.close()
        self._publisher.close(linger=0)
        self._service.close(linger=0)

    def view(self, name: str) -> BedView:
        """A bed as the dashboard shows it."""
        maker = SnapshotMaker(self.ward, self.link, load_config(None, {}), AlarmHistory(), RunClock())
        return maker.bed_view(name, self.now_s)

    def exchange(self, packets: Sequence[list[bytes]], replies: list[list[bytes]], step_s: float) -> None:
        """Publish packets, answer what is asked, and let the monitor do what it does in a tick."""
        for frames in packets:
            self._publisher.send_multipart(frames)
        self._answer(replies)
        self.now_s += step_s
        self.take(self.link.receive(self.now_s))
        check_bounds(self.link, self._most_beds)

    def finish(self) -> None:
        """End, and check that every sample is accounted for."""
        self.take(self.link.finish(self.now_s))
        self._order.close(self.link)

    def take(self, messages: Sequence[LinkMessage | BedsChunk]) -> None:
        """The ward's part of a tick: whatever the link brings is every sample once, in order."""
        for message in separate_chunks(messages):
            self._order.take(message)
        for found in self.ward.push([message for message in messages if not isinstance(message, Event)]):
            check_result(found)

    def _answer(self, replies: list[list[bytes]]) -> None:
        """To each request the next of `replies`, or none; what is written as 0 there becomes the number asked for."""
        while True:
            try:
                identity, *asked = self._service.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            request = decode_request(asked)
            if isinstance(request, FetchRequest) and replies:
                first, *rest = replies.pop(0)
                number = f'"id":{request.id}'.encode()
                self._service.send_multipart([identity, first.replace(b'"id":0', number), *rest])


class Streams:
    """Sequences of packets and replies. An input is b"context" or b"beat", seconds a tick, and then in turn b"packet"
    or b"reply", a number of frames, and the frames.

    `lasting`: all inputs go through one monitor, as in one that runs for weeks; else each has a new one.
    """

    def __init__(self, folder: Path, lasting: bool = False) -> None:  # noqa: ARG002  # nothing is on disk
        import scipy.signal  # noqa: F401  # what a stream at another rate loads is none of an input's doing

        self._settings = configuration.load_config(None, {})
        self._lasting = lasting
        self._kept: dict[bytes, Monitor] = {}

    def close(self) -> None:
        """Close the sockets of monitors that last."""
        for monitor in self._kept.values():
            monitor.close()

    def make(self, random: Random) -> list[bytes]:
        """Streams of one to three beds, mixed, with packets lost, repeated, exchanged and changed; odd replies."""
        beds = [f"bed {i}" for i in range(random.choice((1, 1, 2, 3)))]
        whole = [stream(random, bed, random.choice((3, 10, 25))) for bed in beds]
        queues = [_mistreated(random, one) for one in whole]
        parts = [random.choice((b"context", b"beat")), str(random.choice(STEPS_S)).encode()]
        while queues:
            queue = random.choice(queues)
            if not queue:
                queues.remove(queue)
                continue
            frames = encode_frames(queue.pop(0))
            if random.random() < 0.03:
                frames[1] = mutated(random, frames[1], (), JSON_TOKENS)
            parts += [PACKET, b"3", *frames]
            if random.random() < 0.2:
                frames = _reply(random, random.choice(whole))
                parts += [REPLY, str(len(frames)).encode(), *frames]
        return parts

    def run(self, parts: list[bytes]) -> None:
        """Let all come, a few packets a tick, and look at every bed."""
        monitor = self._kept.get(parts[0]) or Monitor(self._settings, parts[0] == b"context", self._lasting)
        if self._lasting:
            self._kept[parts[0]] = monitor
        try:
            packets, replies = _parted(parts)
            for at in range(0, len(packets), 5):
                monitor.exchange(packets[at : at + 5], replies, float(parts[1]))
            for _ in range(4):
                monitor.exchange([], replies, float(parts[1]))
            if not self._lasting:
                monitor.finish()
            monitor.link.view(monitor.now_s)
            for name in monitor.ward.beds:
                assert monitor.view(name).wave.shape == (WAVE_SAMPLES,)
        finally:
            if not self._lasting:
                monitor.close()


def lasting(folder: Path) -> Streams:
    """One monitor that hears everything."""
    return Streams(folder, lasting=True)


def _parted(parts: list[bytes]) -> tuple[list[list[bytes]], list[list[bytes]]]:
    """The packets and the replies of an input."""
    packets: list[list[bytes]] = []
    replies: list[list[bytes]] = []
    at = 2
    while at < len(parts):
        stop = at + 2 + int(parts[at + 1])
        (packets if parts[at] == PACKET else replies).append(parts[at + 2 : stop])
        at = stop
    return packets, replies


def _reply(random: Random, sent: list[Chunk | End]) -> list[bytes]:
    """What a device answers that was asked for a stream: some packets of it, mostly as they were."""
    ends = [message.first + (len(message.counts) if isinstance(message, Chunk) else 0) for message in sent]
    first = min(message.first for message in sent)
    start, stop = sorted((random.randrange(len(sent)), random.randrange(len(sent) + 1)))
    said = FetchReply(
        id=0,
        bed=sent[0].bed,
        run=sent[0].run if random.random() < 0.9 else random.choice(("", "another")),
        start=random.choice((0, first, first)),
        oldest=random.choice((0, first, first, max(ends))),
        next=random.choice((first, max(ends), max(ends), LARGEST_INDEX)),
        ended=random.random() < 0.2,
    )
    head = encode_reply(said)
    if random.random() < 0.1:
        head = mutated(random, head, (), JSON_TOKENS)
    frames = [frame for message in sent[start:stop][:60] for frame in encode_frames(message)]
    if frames and random.random() < 0.1:
        i = random.randrange(len(frames))
        frames[i] = mutated(random, frames[i], (), JSON_TOKENS)
    return [head, *frames]


def check_result(found: Result) -> None:
    """Check what the pipeline has decided. Raises AssertionError."""
    if isinstance(found, Event | Alarm):
        assert (found.text if isinstance(found, Alarm) else event_text(found)).isprintable()
        return
    if isinstance(found, Strip):
        assert 0 < len(found.wave) <= 2 * STRIP_MARGIN
        return
    assert all(0 <= p <= 1.000001 for p in found.probabilities)
    assert found.rr_s is None or 0 < found.rr_s < 1e6
    assert found.heart_rate is None or 0 < found.heart_rate < 1e4


def stream(random: Random, bed: str, packets: int) -> list[Chunk | End]:
    """A run of a bed as a device would send it: packets and an end."""
    counts = _counts(random)
    fs = random.choice(RATES if random.random() < 0.9 else ODD_RATES)
    leads = _leads(random, counts.shape[1])
    first, at, run = random.choice(FIRSTS), 0, random.choice(("5f0c2a", "a", "run " + str(random.random())))
    out: list[Chunk | End] = []
    for sequence in range(packets):
        size = random.choice((1, 5, 5, 25, 125, 250, 1000))
        part = counts[at % len(counts) :][:size]
        if first + at + len(part) <= LARGEST_INDEX:
            out.append(Chunk(bed, run, first + at, fs, leads, part, 1.75e9 + sequence, 0.0, sequence))
        at += len(part)
    return [*out, End(bed, run, min(first + at, LARGEST_INDEX), fs, packets, 1.75e9)]


def _counts(random: Random) -> NDArray[np.int32]:
    """(n, leads) samples of a real record, sometimes spoilt."""
    name = random.choice(("100", "208", "119"))
    start = random.randrange(0, 60_000)
    counts = _record(name)[start : start + 5000].copy()
    match random.randrange(16):
        case 0:
            counts[:] = MISSING
        case 1:
            counts[::2] = MISSING
        case 2:
            counts[random.randrange(4000) :][: random.choice((1, 100, 3000))] = MISSING
        case 3:
            counts[:] = np.where(np.arange(len(counts)) % 50 < 25, 2**31 - 1, -(2**31) + 1)[:, None]
        case 4:
            counts[:] = random.choice((0, 5115, -5120, 2**31 - 1))
        case 5:
            counts[:] = np.random.default_rng(random.getrandbits(32)).integers(-(2**31) + 1, 2**31, counts.shape)
        case 6:
            counts = np.repeat(counts, random.choice((3, 8)), axis=1)
    return counts


_records: dict[str, NDArray[np.int32]] = {}


def _record(name: str) -> NDArray[np.int32]:
    if name not in _records:
        signal = wfdb_records.read_record_samples(wfdb_records.open_record(name), 0, 66_000)
        _records[name] = np.rint(1000 * signal).astype(np.int32)
    return _records[name]


def _leads(random: Random, count: int) -> tuple[Lead, ...]:
    plain = random.random() < 0.6
    out = []
    for i in range(count):
        unit, gain, offset = (
            ("mV", 1000.0, 0.0) if plain else (random.choice(UNITS), random.choice(GAINS), random.choice(OFFSETS))
        )
        low, high = (-5120, 5115) if plain else random.choice(((-5120, 5115), (-(2**31), 2**31 - 1), (0, 1)))
        out.append(Lead(("MLII", "V5", "II")[i] if i < 3 else f"lead {i}", unit, gain, offset, low, high))
    return tuple(out)


def _mistreated(random: Random, stream: list[Chunk | End]) -> list[Chunk | End]:
    """Packets lost, repeated, exchanged, or no longer what the stream began as."""
    out = list(stream)
    for _ in range(random.choice((0, 1, 2, 5))):
        i, j = random.randrange(len(out)), random.randrange(len(out))
        one = out[i]
        match random.randrange(9):
            case 0 if len(out) > 1:
                del out[i]
            case 1:
                out[j:j] = [one] * random.choice((1, 1, 3))
            case 2:
                out[i], out[j] = out[j], one
            case 3:
                out[i:] = [replace(later, run="another") for later in out[i:]]
            case 4:
                out[i] = replace(one, run="once")
            case 5:
                jump = random.choice(JUMPS)
                out[i:] = [_moved(later, jump) for later in out[i:]]
            case 6:
                out[i] = _moved(one, random.choice(JUMPS))
            case 7:
                fs = random.choice(RATES)
                out[i:] = [replace(later, fs=fs) for later in out[i:]]
            case _ if isinstance(one, Chunk):
                leads = _leads(random, len(one.leads))
                out[i:] = [_with_leads(later, leads) for later in out[i:]]
    return out


def _with_leads(message: Chunk | End, leads: tuple[Lead, ...]) -> Chunk | End:
    if not isinstance(message, Chunk) or len(message.leads) != len(leads):
        return message
    return replace(message, leads=leads)


def _moved(message: Chunk | End, by: int) -> Chunk | End:
    room = LARGEST_INDEX - (len(message.counts) if isinstance(message, Chunk) else 0)
    return replace(message, first=min(max(0, message.first + by), room))
