"""What `benchmarks.fuzz` feeds with sequences: packets of some beds in a row through a link without sockets.

An input is a list of steps: a name, a number of frames, and the frames. A packet arrives, or is lost on the way though
the device has it; time passes; a reply is prepared; the device answers in another way from now on. The signal is the
number of the sample, so that a sample in the wrong place is seen.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agent.core import config as configuration
from agent.core.events import Event
from agent.core.messages import BedsChunk, Chunk, separate_chunks
from agent.core.run_clock import RunClock
from agent.link.chunk_assembler import LinkMessage
from agent.monitor.alarm_history import AlarmHistory
from agent.monitor.snapshot import SnapshotMaker
from agent.pipeline.pipeline import Pipeline
from agent.wire.packets import LARGEST_INDEX
from benchmarks.fuzz.bundles import BundledRuns, bundle_of, misshapen_bundle
from benchmarks.fuzz.invariants import OrderCheck, check_bounds
from benchmarks.fuzz.mutation import JSON_TOKENS, altered, dumped, mutated
from benchmarks.fuzz.socketless import open_queued_link
from benchmarks.fuzz.streams import FIRSTS, JUMPS, PACKET, REPLY, Classify, check_result

LOST, STEP, ANSWER, TOLD, BUNDLE = b"lost", b"step", b"answer", b"told", b"bundle"
"""Beside a packet that arrives: one that does not, time, how the device answers, a description, a bundled packet."""
ANSWERS = (b"honest", b"honest", b"honest", b"silent", b"empty", b"forgetful", b"first", b"twice", b"far", b"another")
"""How a device answers: what it has, nothing at all, no packets, nothing of the past, one packet, all twice, a stop
that it never sent, another run."""
STEPS_S = (0.001, 0.02, 0.1, 0.3, 1.0, 3.0, 12.0)
RATES, SIZES = (125, 125, 125, 250, 360.5, 1, 10_000), (1, 5, 5, 25, 125, 1000, 7500)
ANALYSED_RATES, ANALYSED_SIZES = (125, 125, 250, 360.5), (1, 5, 5, 25, 125)
"""With the pipeline a packet costs as much as its signal is long."""
_to_json = msgspec.json.Encoder().encode
MOST_MESSAGES = 50
HEAVY_SAMPLES, MANY_PACKETS = 30_000, 300
"""Packets so large, or so many, that a hole before them lets a link hold back all that it may."""
RAMP = 30_000
COUNTS = (np.arange(RAMP + HEAVY_SAMPLES) % RAMP).astype("<i2")
PAYLOADS = {leads: np.repeat(COUNTS, leads).tobytes() for leads in (0, 1, 2)}
LEADS = [{"name": name, "unit": "mV", "gain": 1000, "offset": 0, "low": -5120, "high": 5115} for name in ("II", "V5")]
LAST_STEPS, LAST_STEP_S = 6, 0.6
"""What is still fetched before the end."""


class PlannedPacket(NamedTuple):
    """A packet of a sequence before it becomes frames; no samples: the end of the run."""

    bed: str
    run: str
    first: int
    samples: int
    fs: float
    leads: int
    sequence: int

    def frames(self) -> list[bytes]:
        """Return the frames, with a signal that says which sample it is."""
        header = {"kind": "samples", "v": 1, "run": self.run, "sequence": self.sequence, "first": self.first}
        header |= {"fs": self.fs, "sent": 1.75e9}
        if self.samples == 0:
            return [self.bed.encode(), dumped({**header, "kind": "end"}), b""]
        header |= {"count": self.samples, "dtype": "int16", "leads": LEADS[: self.leads]}
        return [self.bed.encode(), dumped(header), _signal(self.first, self.samples, self.leads)]


@dataclass(slots=True)
class KeptRun:
    """What a device keeps of the present run of a bed."""

    run: str
    packets: list[tuple[int, int, list[bytes]]] = field(default_factory=list)
    """First sample, the one after the last, and frames."""
    stop: int = 0
    ended: bool = False


class QueuedDevice:
    """A device that has all packets of a sequence, and answers as it is told to."""

    def __init__(self) -> None:
        self.answer = ANSWERS[0]
        self.prepared: list[list[bytes]] = []
        """Replies that are sent instead, one each."""
        self._runs: dict[str, KeptRun] = {}

    def keep(self, frames: list[bytes]) -> None:
        """Keep a packet, if it is one."""
        try:
            header = msgspec.json.decode(frames[1])
            bed, run = frames[0].decode(), header["run"]
            first, stop = header["first"], header["first"] + header.get("count", 0)
            if not 0 <= first <= stop <= LARGEST_INDEX:
                return
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return
        kept = self._runs.get(bed)
        if kept is None or kept.run != run:
            kept = self._runs[bed] = KeptRun(run)
        kept.stop = max(kept.stop, stop)
        kept.ended = kept.ended or header.get("kind") == "end"
        if stop > first:
            kept.packets.append((first, stop, frames))

    def reply(self, request: dict[str, Any]) -> list[list[bytes]]:
        """Return the replies to a request."""
        head = {"v": 1, "id": request["id"]}
        if self.answer == b"silent":
            return []
        if request["kind"] == "hello":
            times = {"asked": request["sent"], "received": request["sent"], "sent": request["sent"]}
            return [[_to_json({"kind": "hello", **head, **times, "beds": len(self._runs)})]]
        if request["kind"] == "replay":  # as a device answers that replays nothing
            return [[_to_json({"kind": "replayed", **head, "done": False, "reason": "no replay"})]]
        if self.prepared:
            first, *rest = self.prepared.pop(0)
            return [[first.replace(b'"id": 0', b'"id": %d' % request["id"]), *rest]]
        return [self._fetched(request, {"kind": "fetched", **head, "bed": request["bed"]})]

    def _fetched(self, request: dict[str, Any], head: dict[str, Any]) -> list[bytes]:
        kept = self._runs.get(request["bed"], KeptRun(""))
        start = min((first for first, _, _ in kept.packets), default=0)
        said: dict[str, Any] = {
            "run": kept.run,
            "start": start,
            "oldest": start,
            "next": kept.stop,
            "ended": kept.ended,
        }
        lies: dict[bytes, dict[str, Any]] = {
            b"forgetful": {"oldest": kept.stop},
            b"far": {"next": LARGEST_INDEX},
            b"another": {"run": "another"},
        }
        said |= lies.get(self.answer, {})
        if kept.run != request["run"] or self.answer in (b"empty", b"forgetful"):
            return [_to_json({**head, **said})]
        wanted = [one for one in sorted(kept.packets) if one[1] > request["first"] and one[0] < request["stop"]]
        if self.answer == b"first":
            wanted = wanted[:1]
        packets = [frame for _, _, frames in wanted[:60] for frame in frames]
        return [_to_json({**head, **said}), *packets * (1 + (self.answer == b"twice"))]


class Sequences:
    """Sequences through the link; with `analysed` through the pipeline too."""

    def __init__(self, folder: Path, analysed: bool = False) -> None:  # noqa: ARG002  # nothing is on disk
        import scipy.signal  # noqa: F401  # what a stream at another rate loads is none of an input's doing

        self._settings = configuration.load_config(None, {})
        self._analysed = analysed
        self._rates = ANALYSED_RATES if analysed else RATES
        self._sizes = ANALYSED_SIZES if analysed else SIZES

    def make(self, random: Random) -> list[bytes]:
        """5 to 50 messages of one to three beds: valid ones with values changed, lost, repeated and exchanged."""
        beds = random.choice((1, 1, 2, 3))
        queues = [self._misordered(random, self._planned_run(random, f"bed {i}", beds)) for i in range(beds)]
        often = random.choice((0.3, 0.3, 0.3, 0.01))
        parts: list[bytes] = []
        bundled = BundledRuns() if random.random() < 0.5 else None
        while queues:
            queue = random.choice(queues)
            if not queue:
                queues.remove(queue)
                continue
            planned = queue.pop(0)
            frames = planned.frames()
            if bundled is not None and planned.samples and random.random() < 0.8:
                parts += _bundle_steps(random, planned, frames, bundled)
            else:
                frames = _misshapen(random, frames) if random.random() < 0.05 else frames
                parts += _step(PACKET if random.random() < 0.9 else LOST, *frames)
            if random.random() < often:
                parts += _step(STEP, str(random.choice(STEPS_S)).encode())
            if random.random() < 0.05:
                parts += _step(ANSWER, random.choice(ANSWERS))
            if random.random() < 0.05:
                parts += _step(REPLY, *_odd_reply(random, frames))
        return parts if random.random() < 0.5 else [*parts, *_step(ANSWER, b"honest")]

    def run(self, parts: list[bytes]) -> None:
        """Let all come, step by step, and check after each what must be so."""
        monitor = QueuedMonitor(self._settings, self._analysed)
        for name, frames in _read_steps(parts):
            if name == STEP:
                monitor.pass_time(float(frames[0]))
            elif name == ANSWER:
                monitor.device.answer = frames[0]
            elif name == REPLY:
                monitor.device.prepared.append(frames)
            elif name == TOLD:
                monitor.arrived.append(frames)
            else:
                monitor.device.keep(frames[:3])
                if name in (PACKET, BUNDLE):
                    monitor.arrived.append(frames[3:] if name == BUNDLE else frames)
        for _ in range(LAST_STEPS):
            monitor.pass_time(LAST_STEP_S)
        monitor.finish()

    def _planned_run(self, random: Random, bed: str, beds: int) -> list[PlannedPacket]:
        """A run as a device would send it: packets and an end."""
        fs, leads, first = random.choice(self._rates), random.choice((1, 1, 2)), random.choice(FIRSTS)
        sizes: tuple[int, ...] = self._sizes
        messages = random.randint(2 + 3 // beds, MOST_MESSAGES // beds - 1)
        if not self._analysed and random.random() < 0.03:
            sizes, messages = random.choice((((HEAVY_SAMPLES,), messages), ((1, 5), MANY_PACKETS)))
        packets = []
        for sequence in range(messages):
            count = random.choice(sizes)
            packets.append(PlannedPacket(bed, "run", first, count, fs, leads, sequence))
            first += count
        return [*packets, PlannedPacket(bed, "run", first, 0, fs, leads, len(packets))]

    def _misordered(self, random: Random, packets: list[PlannedPacket]) -> list[PlannedPacket]:
        """Packets lost, repeated, exchanged, or no longer of the run, rate or leads that they began with."""
        out = list(packets)
        for _ in range(random.choice((0, 1, 2, 4, 8))):
            i, j = random.randrange(len(out)), random.randrange(len(out))
            stop = random.choice((i + 1, i + 1, len(out)))
            match random.randrange(8):
                case 0 if len(out) > 1:
                    del out[i]
                case 1:
                    out[j:j] = out[i:stop][:10]
                case 2:
                    out[i], out[j] = out[j], out[i]
                case 3:
                    run = random.choice(("run", "second", "third"))
                    out[i:stop] = [one._replace(run=run) for one in out[i:stop]]
                case 4:
                    jump = random.choice(JUMPS)
                    out[i:stop] = [one._replace(first=min(max(0, one.first + jump), 2**53)) for one in out[i:stop]]
                case 5:
                    fs, leads = random.choice(self._rates), random.choice((1, 2))
                    out[i:stop] = [one._replace(fs=fs, leads=leads) for one in out[i:stop]]
                case 6:
                    samples, sequence = random.choice((0, *self._sizes)), random.choice((0, 5, 2**53))
                    out[i] = out[i]._replace(samples=samples, sequence=sequence)
                case _:
                    end = max(0, out[i].first + random.choice((-5, 0, 5, 1000)))
                    out[i:i] = [out[i]._replace(samples=0, first=end)]
        return out


class QueuedMonitor:
    """A link without sockets, its device, and the pipeline if there is one."""

    def __init__(self, settings: configuration.Config, analysed: bool) -> None:
        self.device = QueuedDevice()
        self._link, stream, self._channel = open_queued_link(settings)
        self.arrived = stream.arrived
        self._order = OrderCheck()
        self._most_beds = settings.monitor.beds
        self._now_s = 1.75e9
        self._ward = Pipeline(settings, Classify(in_context=True)) if analysed else None
        self._ledgers = (
            SnapshotMaker(self._ward, self._link, settings, AlarmHistory(), RunClock()) if self._ward else None
        )

    def pass_time(self, seconds: float) -> None:
        """Take what has arrived, then let the device answer."""
        self._now_s += seconds
        self._take(self._link.receive(self._now_s))
        check_bounds(self._link, self._most_beds)
        while self._channel.sent:
            self._channel.arrived.extend(self.device.reply(msgspec.json.decode(self._channel.sent.popleft())))

    def finish(self) -> None:
        """End, and check that every sample is accounted for."""
        self._now_s += LAST_STEP_S
        self._take(self._link.finish(self._now_s), ended=True)
        self._order.close(self._link)
        if self._ward is None or self._ledgers is None:
            return
        for bed in self._ward.beds:
            ledger = self._ledgers.ledger(bed)
            assert ledger.sent == ledger.analysed + ledger.missing, f"the ledger does not close: {ledger}"

    def _take(self, messages: Sequence[LinkMessage | BedsChunk], ended: bool = False) -> None:
        for message in separate_chunks(messages):
            self._order.take(message)
            if isinstance(message, Chunk):
                _check_signal(message)
        if self._ward is None:
            return
        signals = [message for message in messages if not isinstance(message, Event)]
        results = self._ward.push(signals, shared=not ended)
        self._link.set_backlog(*self._ward.backlog())
        if ended:
            results += self._ward.finish()
        for result in results:
            check_result(result)


def analysed(folder: Path) -> Sequences:
    """Sequences that go through the pipeline too."""
    return Sequences(folder, analysed=True)


def _check_signal(chunk: Chunk) -> None:
    """Check that each sample is the one that its number says; of more leads none does. Raises AssertionError."""
    if len(chunk.leads) > len(LEADS):
        return
    samples = (chunk.first % RAMP + np.arange(len(chunk.counts))) % RAMP
    assert np.array_equal(chunk.counts[:, 0], samples), "a sample in the wrong place"


def _signal(first: int, count: int, leads: int) -> bytes:
    """Return the payload of a packet of one or two leads: nothing like it for more."""
    start, size = first % RAMP, 2 * leads
    return PAYLOADS[min(leads, 2)][size * start : size * (start + max(0, min(count, HEAVY_SAMPLES)))]


def _step(name: bytes, *frames: bytes) -> list[bytes]:
    return [name, str(len(frames)).encode(), *frames]


def _read_steps(parts: list[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield the steps of an input: a name and frames."""
    at = 0
    while at < len(parts):
        stop = at + 2 + int(parts[at + 1])
        yield parts[at], parts[at + 2 : stop]
        at = stop


def _misshapen(random: Random, frames: list[bytes]) -> list[bytes]:
    """Frames with bytes or values changed; the signal is that of the samples that the header then names."""
    frames = list(frames)
    if random.random() < 0.5:
        frames[1] = dumped(altered(random, json.loads(frames[1])))
    else:
        i = random.randrange(2)
        frames[i] = mutated(random, frames[i], (), JSON_TOKENS)
    try:
        header = json.loads(frames[1])
        return [*frames[:2], _signal(int(header["first"]), int(header["count"]), len(header["leads"]))]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return frames


def _bundle_steps(random: Random, planned: PlannedPacket, frames: list[bytes], bundled: BundledRuns) -> list[bytes]:
    """Return the steps of a packet that comes in a bundle: the frames of both versions, after its description."""
    key = planned.bed, planned.run, planned.fs, planned.leads
    number, is_new = bundled.number(key)
    parts: list[bytes] = []
    if (is_new and random.random() < 0.9) or random.random() < 0.1:
        parts += _step(TOLD, *bundled.describe(random, key, LEADS))
    if random.random() < 0.1:
        return [*parts, *_step(LOST, *frames)]
    made = bundle_of(number, planned.sequence, planned.first, planned.samples, planned.leads, frames[2])
    if random.random() < 0.05:
        made, place = misshapen_bundle(random, made)
        made[2] = _signal(*place)
    return [*parts, *_step(BUNDLE, *frames, *made)]


def _odd_reply(random: Random, frames: list[bytes]) -> list[bytes]:
    """A reply that is sent once, whatever was asked: with the packet of `frames`, and some values changed."""
    head = {"kind": "fetched", "v": 1, "id": 0, "bed": "bed 0", "run": random.choice(("run", "second", ""))}
    places = (0, 5, 1000, 2**31, LARGEST_INDEX)
    head |= {key: random.choice(places) for key in ("start", "oldest", "next")} | {"ended": random.random() < 0.2}
    said = dumped(altered(random, head)) if random.random() < 0.3 else dumped(head)
    return [said, *frames * random.choice((0, 1, 1, 3)), *random.choice(([], [], [b"x"]))]
