"""A record as the packets of a device: read in blocks, resampled to 125 Hz, quantised, cut.

The samples are those of the whole record resampled at once, whatever the size of the blocks, the place to start from or
the packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from uuid import uuid4
from weakref import WeakValueDictionary
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import Chunk, End, Lead, quantise_to_counts
from agent.wire.packets import LARGEST_NAME_BYTES, MOST_LEADS, decode_bed_name
from model.errors import ConfigError, FrameError, RecordError
from model.records.resample import FS, Resampler
from model.records.wfdb_records import Record, RecordSignal, open_record, read_record_samples
from model.text import make_printable
from simulator.noise import StressNoise
from simulator.packet_source import PacketBlock, PacketSource

BLOCK_S = 30.0
"""Seconds of a record that are read at a time."""
FILTER_REACH_S = 1.0
"""More than the resampling filter reaches beyond a sample: ten samples of the slower rate, 0.5 s at 20 Hz."""
LONGEST_PACKET_S = 10.0
COUNTS_PER_UNIT = {"V": 1e6, "mV": 1000.0, "uV": 1.0, "µV": 1.0, "μV": 1.0}
"""Counts per unit: a count is a microvolt. The last two differ: micro sign and Greek mu."""


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a bed replays: `record` by embedded name or path, from `start_s` on, for `duration_s` or to its end.

    `loop`: begin the record anew at its end, the sample index going on. `noise`: an embedded noise record, at `snr_db`
    (see `simulator.noise`), from a place that `seed` chooses; None for none.
    """

    record: str
    bed: str
    start_s: float
    duration_s: float | None
    loop: bool
    noise: str | None
    snr_db: float
    seed: int


class RecordReplay(PacketSource):
    """The blocks of a plan, then one End.

    `first`: index of the first sample, counted from the start of the record at 125 Hz. `length`: samples to come, None
    where there is no end.
    """

    def __init__(self, plan: ReplayPlan, packet_ms: float, run: str | None = None, block_s: float = BLOCK_S) -> None:
        """Raises ConfigError for a plan that makes no sense and RecordError for a record that cannot be replayed."""
        self.bed = check_bed_name(plan.bed)
        self.packet = packet_samples(packet_ms)
        self.run = run or uuid4().hex
        self._tape = _open_resampled(plan.record, block_s)
        self.first = _replay_start(plan, self._tape.length)
        self.length = _replay_length(plan, self._tape.length - self.first)
        self._noise = None if plan.noise is None else StressNoise(self._tape.record, plan.noise, plan.snr_db, plan.seed)

    @property
    def packet_s(self) -> float:
        return self.packet / FS

    def blocks(self) -> Iterator[PacketBlock | End]:
        first, sequence = self.first, 0
        for counts in self._whole_packets():
            chunk = Chunk(self.bed, self.run, first, float(FS), self._tape.leads, counts, 0.0, sequence=sequence)
            yield (block := PacketBlock(chunk, self.packet))
            first += len(counts)
            sequence += block.packets
        yield End(self.bed, self.run, first, float(FS), sequence)

    def _whole_packets(self) -> Iterator[NDArray[np.int32]]:
        """All samples of the plan in arrays of whole packets; a packet that lies across blocks is one by itself."""
        rest = np.empty((0, len(self._tape.leads)), np.int32)
        for counts in self._counts():
            lacking = -len(rest) % self.packet
            if lacking:
                rest = np.concatenate([rest, counts[:lacking]])
                if len(rest) < self.packet:
                    continue
                yield rest
            whole = lacking + (len(counts) - lacking) // self.packet * self.packet
            if whole > lacking:
                yield counts[lacking:whole]
            rest = counts[whole:]
        if len(rest):
            yield rest

    def _counts(self) -> Iterator[NDArray[np.int32]]:
        """All samples of the plan, (n, leads) a block."""
        at, done = self.first, 0
        while True:
            if self._noise is None:
                counts = self._tape.counts(at)
            else:
                counts = self._tape.quantised(self._noise.add(self.first + done, self._tape.samples(at)))
            counts = counts if self.length is None else counts[: self.length - done]
            yield counts
            at, done = at + len(counts), done + len(counts)
            if done == self.length:
                return
            at %= self._tape.length


class _ResampledRecord:
    """A record at 125 Hz in blocks, of which those in use are shared by all beds that replay it."""

    def __init__(self, name: str, block_s: float) -> None:
        self.record = open_record(name)
        self.leads = wire_leads(self.record)
        self.length = resampled_length(self.record)
        self._gains = np.array([lead.gain for lead in self.leads])
        self._block = max(1, round(block_s * FS))
        # Other edges for each record: a ward does not read all its records in one instant.
        self._shift = self._block * (crc32(self.record.name.encode()) % 64) // 64
        self._used: WeakValueDictionary[int, NDArray[np.int32]] = WeakValueDictionary()

    def counts(self, start: int) -> NDArray[np.int32]:
        """(n, leads) counts from sample `start` to the end of its block, read only."""
        low, high = self._edges(start)
        block = self._used.get(low)
        if block is None:
            block = self._used[low] = self.quantised(self._read(low, high))
            block.flags.writeable = False
        return block[start - low :]

    def samples(self, start: int) -> NDArray[np.float64]:
        """(n, leads) samples in the record's units from sample `start` to the end of its block."""
        return self._read(start, self._edges(start)[1])

    def quantised(self, samples: NDArray[np.float64]) -> NDArray[np.int32]:
        """Samples in the record's units as counts."""
        return quantise_to_counts(samples, self._gains)

    def _edges(self, start: int) -> tuple[int, int]:
        """First sample of the block that sample `start` lies in, and of the next one."""
        edge = start - (start - self._shift) % self._block
        return max(0, edge), min(edge + self._block, self.length)

    def _read(self, start: int, stop: int) -> NDArray[np.float64]:
        resampler = Resampler(self.record.fs, len(self.leads), start)
        end = min(ceil((stop / FS + FILTER_REACH_S) * self.record.fs), self.record.length)
        samples = resampler.push(read_record_samples(self.record, resampler.first_input, end))
        if end == self.record.length:
            samples = np.concatenate([samples, resampler.flush()])
        return samples[: stop - start]


_tapes: WeakValueDictionary[tuple[str, float], _ResampledRecord] = WeakValueDictionary()


def _open_resampled(record: str, block_s: float) -> _ResampledRecord:
    """The tape of a record, opened once for all beds that replay it at the same time. Raises RecordError."""
    tape = _tapes.get((record, block_s))
    if tape is None:
        tape = _tapes[record, block_s] = _ResampledRecord(record, block_s)
    return tape


def packet_samples(packet_ms: float) -> int:
    """Samples in a packet of `packet_ms` milliseconds at 125 Hz. Raises ConfigError unless that is a whole number."""
    samples = packet_ms * FS / 1000
    if not 1 <= samples <= LONGEST_PACKET_S * FS or samples != round(samples):
        raise ConfigError(
            f"packets of {packet_ms:g} ms: give a multiple of {1000 // FS} ms up to {LONGEST_PACKET_S:g} s"
        )
    return round(samples)


def resampled_length(record: Record) -> int:
    """Samples of a whole record at 125 Hz. Raises RecordError where its rate has no small ratio to that."""
    try:
        resampler = Resampler(record.fs, 1)
    except ValueError as error:
        raise RecordError(
            f"record {record.path} cannot be replayed: {error}; check its header, "
            "or resample the record to a whole number of hertz first, such as 250"
        ) from error
    return -(-record.length * resampler.up // resampler.down)


def wire_leads(record: Record) -> tuple[Lead, ...]:
    """Every signal of a record as a lead of the wire; repeated names get a number. Raises RecordError if too many."""
    if len(record.signals) > MOST_LEADS:
        raise RecordError(f"record {record.path} has {len(record.signals)} signals: the wire carries {MOST_LEADS}")
    names: list[str] = []
    for signal in record.signals:
        names.append(number_repeated_name(make_printable(signal.name, LARGEST_NAME_BYTES - 4) or "?", names))
    return tuple(_wire_lead(name, signal) for name, signal in zip(names, record.signals, strict=True))


def number_repeated_name(name: str, taken: list[str]) -> str:
    """`name`, or the first of name-2, name-3 … that is not taken."""
    number = 1
    while (tried := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return tried


def _wire_lead(name: str, signal: RecordSignal) -> Lead:
    """Microvolts for voltages; for other units the power of ten that brings the rails within ±30,000 counts."""
    largest = max(abs(signal.low), abs(signal.high), 1e-6)
    gain = COUNTS_PER_UNIT.get(signal.unit) or min(10.0 ** floor(log10(30_000 / largest)), 1e9)
    low, high = (int(np.clip(round(rail * gain), -(2**31), 2**31 - 1)) for rail in (signal.low, signal.high))
    return Lead(name, make_printable(signal.unit, 16) or "?", gain, 0.0, min(low, high - 1), high)


def check_bed_name(bed: str) -> str:
    """The name of a bed. Raises ConfigError where it cannot be sent."""
    try:
        return decode_bed_name(bed.encode())
    except FrameError as error:
        raise ConfigError(f"bed {bed!r} cannot be sent: {error}") from error


def _replay_start(plan: ReplayPlan, total: int) -> int:
    start_s = plan.start_s
    if not 0 <= start_s < total / FS:
        raise ConfigError(f"start {start_s:g} s is not within record {plan.record}: it has 0 to {total / FS:.1f} s")
    return min(round(start_s * FS), total - 1)


def _replay_length(plan: ReplayPlan, left: int) -> int | None:
    """Samples to send, of a record that has `left` more of them."""
    if plan.duration_s is None:
        return None if plan.loop else left
    if not isfinite(plan.duration_s) or plan.duration_s * FS < 1:
        raise ConfigError(f"duration {plan.duration_s:g} s is too short: give at least {1 / FS:g} s")
    wanted = round(plan.duration_s * FS)
    return wanted if plan.loop else min(wanted, left)
