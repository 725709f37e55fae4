"""A record as the packets of a device: read in blocks, resampled to 125 Hz, quantised, cut.

The samples are those of the whole record resampled at once, whatever the size of the blocks, the place to start from or
the packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import floor, isfinite, log10
from uuid import uuid4
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from agent.messages import Chunk, End, Lead, quantised
from agent.wire import LARGEST_NAME, MOST_LEADS, bed_name
from model.errors import ConfigError, FrameError, RecordError
from model.records import Record, Signal, open_record, read
from model.resample import FS, Resampler
from simulator.noise import Noise

BLOCK_S = 30.0
"""Seconds of a record in memory at a time."""
LONGEST_PACKET_S = 10.0
GAINS = {"V": 1e6, "mV": 1000.0, "uV": 1.0, "µV": 1.0, "μV": 1.0}
"""Counts per unit: a count is a microvolt. The last two differ: micro sign and Greek mu."""


@dataclass(frozen=True, slots=True)
class Plan:
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


class Replay:
    """Iterates over the Chunks of a plan, lazily, then one End. `sent_s` is left to the sender.

    `first`: index of the first sample, counted from the start of the record at 125 Hz. `length`: samples to come, None
    where there is no end.
    """

    def __init__(self, plan: Plan, packet_ms: float, run: str | None = None, block_s: float = BLOCK_S) -> None:
        """Raises ConfigError for a plan that makes no sense and RecordError for a record that cannot be replayed."""
        self.bed = checked_bed(plan.bed)
        self.packet = packet_samples(packet_ms)
        self.run = run or uuid4().hex
        self.record = open_record(plan.record)
        self.leads = wire_leads(self.record)
        self._total = len_resampled(self.record)
        self.first = _start(plan, self._total)
        self.length = _length(plan, self._total - self.first)
        self._loop = plan.loop
        self._block = max(1, round(block_s * self.record.fs))
        self._noise = None if plan.noise is None else Noise(self.record, plan.noise, plan.snr_db, plan.seed)

    @property
    def packet_s(self) -> float:
        """Seconds of signal in a packet."""
        return self.packet / FS

    def __iter__(self) -> Iterator[Chunk | End]:
        first = self.first
        sequence = 0
        for counts in self._packets():
            yield Chunk(
                bed=self.bed,
                run=self.run,
                first=first,
                fs=float(FS),
                leads=self.leads,
                counts=counts,
                sent_s=0.0,
                sequence=sequence,
            )
            first += len(counts)
            sequence += 1
        yield End(self.bed, self.run, first, float(FS), sequence)

    def _packets(self) -> Iterator[NDArray[np.int32]]:
        rest = np.empty((0, len(self.leads)), np.int32)
        for block in self._counts():
            counts = np.concatenate([rest, block])
            whole = len(counts) - len(counts) % self.packet
            for start in range(0, whole, self.packet):
                yield counts[start : start + self.packet]
            rest = counts[whole:]
        if len(rest):
            yield rest

    def _counts(self) -> Iterator[NDArray[np.int32]]:
        """All samples of the plan, in blocks."""
        gains = np.array([lead.gain for lead in self.leads])
        done = 0
        for samples in self._passes():
            block = samples if self.length is None else samples[: self.length - done]
            if self._noise is not None:
                block = self._noise.add(self.first + done, block)
            yield quantised(block, gains)
            done += len(block)
            if done == self.length:
                return

    def _passes(self) -> Iterator[NDArray[np.float64]]:
        """Physical samples at 125 Hz from `first` to the end of the record, looped: and over again from its start."""
        yield from self._pass(self.first)
        while self._loop:
            yield from self._pass(0)

    def _pass(self, start: int) -> Iterator[NDArray[np.float64]]:
        resampler = Resampler(self.record.fs, len(self.leads), start)
        # The first block is shorter, each bed's differently: a ward does not read all its records in one instant.
        second = resampler.first_input + max(1, self._block * (crc32(self.bed.encode()) % 64 + 1) // 64)
        edges = (resampler.first_input, *range(second, self.record.length, self._block), self.record.length)
        for low, high in pairwise(edges):
            yield resampler.push(read(self.record, low, high))
        yield resampler.flush()


def packet_samples(packet_ms: float) -> int:
    """Samples in a packet of `packet_ms` milliseconds at 125 Hz. Raises ConfigError unless that is a whole number."""
    samples = packet_ms * FS / 1000
    if not 1 <= samples <= LONGEST_PACKET_S * FS or samples != round(samples):
        raise ConfigError(
            f"packets of {packet_ms:g} ms: give a multiple of {1000 // FS} ms up to {LONGEST_PACKET_S:g} s"
        )
    return round(samples)


def len_resampled(record: Record) -> int:
    """Samples of a whole record at 125 Hz. Raises RecordError where its rate has no small ratio to that."""
    try:
        resampler = Resampler(record.fs, 1)
    except ValueError as error:
        raise RecordError(f"record {record.path} cannot be replayed: {error}") from error
    return -(-record.length * resampler.up // resampler.down)


def wire_leads(record: Record) -> tuple[Lead, ...]:
    """Every signal of a record as a lead of the wire; repeated names get a number. Raises RecordError if too many."""
    if len(record.signals) > MOST_LEADS:
        raise RecordError(f"record {record.path} has {len(record.signals)} signals: the wire carries {MOST_LEADS}")
    names: list[str] = []
    for signal in record.signals:
        names.append(numbered(_printable(signal.name, LARGEST_NAME - 4), names))
    return tuple(_lead(name, signal) for name, signal in zip(names, record.signals, strict=True))


def numbered(name: str, taken: list[str]) -> str:
    """`name`, or the first of name-2, name-3 … that is not taken."""
    number = 1
    while (tried := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return tried


def _lead(name: str, signal: Signal) -> Lead:
    """Microvolts for voltages; for other units the power of ten that brings the rails within ±30,000 counts."""
    largest = max(abs(signal.low), abs(signal.high), 1e-6)
    gain = GAINS.get(signal.unit) or min(10.0 ** floor(log10(30_000 / largest)), 1e9)
    low, high = (int(np.clip(round(rail * gain), -(2**31), 2**31 - 1)) for rail in (signal.low, signal.high))
    return Lead(name, _printable(signal.unit, 16), gain, 0.0, min(low, high - 1), high)


def _printable(text: str, longest: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:longest] or "?"


def checked_bed(bed: str) -> str:
    """The name of a bed. Raises ConfigError where it cannot be sent."""
    try:
        return bed_name(bed.encode())
    except FrameError as error:
        raise ConfigError(f"bed {bed!r} cannot be sent: {error}") from error


def _start(plan: Plan, total: int) -> int:
    start_s = plan.start_s
    if not 0 <= start_s < total / FS:
        raise ConfigError(f"start {start_s:g} s is not within record {plan.record}: it has 0 to {total / FS:.1f} s")
    return min(round(start_s * FS), total - 1)


def _length(plan: Plan, left: int) -> int | None:
    """Samples to send, of a record that has `left` more of them."""
    if plan.duration_s is None:
        return None if plan.loop else left
    if not isfinite(plan.duration_s) or plan.duration_s * FS < 1:
        raise ConfigError(f"duration {plan.duration_s:g} s is too short: give at least {1 / FS:g} s")
    wanted = round(plan.duration_s * FS)
    return wanted if plan.loop else min(wanted, left)
