"""A record as the packets of a device, cut from the blocks of `agent.wire.record_chunks`.

The samples are those of the whole record resampled at once, whatever the size of the blocks, the place to start from or
the packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import Chunk, End
from agent.device.packet_source import PacketBlock, PacketSource
from agent.wire.packets import check_bed_name
from agent.wire.record_chunks import ResampledRecord
from model.errors import ConfigError
from model.formats.signal_file import SignalFileOptions, open_signal_file
from model.records.resample import FS
from model.records.wfdb_records import record_notices
from simulator.move_text import beyond_end_text
from simulator.noise import StressNoise

BLOCK_S = 30.0
"""Seconds of a record that are read at a time."""
LONGEST_PACKET_S = 10.0


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a bed replays: `record` by embedded name or path, from `start_s` on, for `duration_s` or to its end.

    `loop`: at the end of the record send it again from its beginning, as a new run. `noise`: an embedded noise record,
    at `snr_db` (see `simulator.noise`), from a place that `seed` chooses; None for none. `stated`: what a person says
    of a file that does not say it itself.
    """

    record: str
    bed: str
    start_s: float
    duration_s: float | None
    loop: bool
    noise: str | None
    snr_db: float
    seed: int
    stated: SignalFileOptions = field(default_factory=SignalFileOptions)


class RecordReplay(PacketSource):
    """The blocks of a plan and the End of each run: one run, or where it loops one for each pass over the record.

    `first`: index of the first sample, counted from the start of the record at 125 Hz. `length`: samples to come, None
    where there is no end.
    """

    def __init__(self, plan: ReplayPlan, packet_ms: float, run: str | None = None, block_s: float = BLOCK_S) -> None:
        """Raises ConfigError for a plan that makes no sense and RecordError for a record that cannot be replayed."""
        self.bed = check_bed_name(plan.bed)
        self.packet = packet_samples(packet_ms)
        self.run = run or uuid4().hex
        self._blocks = _open_record_blocks(plan.record, plan.stated, block_s)
        resampled = self._blocks.resampled
        self.notice = _replay_notice(resampled)
        self.first = _replay_start(plan, resampled.length)
        self.length = _replay_length(plan, resampled.length - self.first)
        self.loops = plan.loop
        self._limited = plan.duration_s is not None
        self._name = Path(plan.record).name
        self._noise = None if plan.noise is None else StressNoise(resampled.record, plan.noise, plan.snr_db, plan.seed)

    @property
    def packet_s(self) -> float:
        """Seconds of signal in a packet."""
        return self.packet / FS

    def blocks(self) -> Iterator[PacketBlock | End]:
        """Yield the blocks of each run and its End."""
        return self._runs(self.run, self.first, 0, self.length)

    @property
    def start_s(self) -> float:
        """Seconds of the record at which it begins."""
        return self.first / FS

    @property
    def length_s(self) -> float:
        """Seconds of the whole record."""
        return self._blocks.resampled.length / FS

    def move_problem(self, position_s: float) -> str:
        """Return why it cannot go on at `position_s` seconds of the record, "" where it can."""
        return beyond_end_text(position_s, f"record {self._name}", self.length_s) if position_s >= self.length_s else ""

    def blocks_from(self, position_s: float, sent_s: float) -> Iterator[PacketBlock | End]:
        """Yield all that is sent from there on, as a new run, after `sent_s` seconds of signal elsewhere.

        A duration that was asked for goes on counting; else it is sent to the end of the record.
        """
        first = min(round(position_s * FS), self._blocks.resampled.length - 1)
        sent = round(sent_s * FS)
        length = self.length if self._limited else None
        return self._runs(uuid4().hex, first, sent, None if length is None else max(length, sent + 1))

    def _runs(self, run: str, first: int, sent: int, length: int | None) -> Iterator[PacketBlock | End]:
        """Yield runs: from sample `first` on, after `sent` samples, until `length` are sent or the record ends."""
        # The end of a record and its beginning are no neighbours in time: in one run they would make an RR interval
        # that no heart ever had.
        while True:
            stop = self._blocks.resampled.length
            if length is not None:
                stop = min(stop, first + length - sent)
            yield from self._pass_blocks(run, first, stop, sent)
            sent += stop - first
            if sent == length or not self.loops:
                return
            run = uuid4().hex
            first = 0

    def _pass_blocks(self, run: str, first: int, stop: int, sent: int) -> Iterator[PacketBlock | End]:
        """Yield one run: samples `first` to `stop`, after `sent` samples of earlier runs, then its End."""
        leads = self._blocks.resampled.leads
        sequence = 0
        for counts in self._whole_packets(first, stop, sent):
            chunk = Chunk(self.bed, run, first, float(FS), leads, counts, 0.0, sequence=sequence)
            block = PacketBlock(chunk, self.packet)
            yield block
            first += len(counts)
            sequence += block.packets
        yield End(self.bed, run, first, float(FS), sequence)

    def _whole_packets(self, first: int, stop: int, sent: int) -> Iterator[NDArray[np.int32]]:
        """Yield the counts (n, leads) in whole packets; a packet that lies across blocks stands by itself."""
        rest = np.empty((0, len(self._blocks.resampled.leads)), np.int32)
        for counts in self._read_counts(first, stop, sent):
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

    def _read_counts(self, first: int, stop: int, sent: int) -> Iterator[NDArray[np.int32]]:
        """Yield the counts (n, leads) of samples `first` to `stop`, block by block, with noise where it is wanted."""
        resampled = self._blocks.resampled
        while first < stop:
            if self._noise is None:
                counts = self._blocks.counts(first)
            else:
                samples = resampled.read_samples(first, resampled.block_edges(first)[1])
                counts = resampled.quantise(self._noise.add(self.first + sent, samples))
            counts = counts[: stop - first]
            yield counts
            first += len(counts)
            sent += len(counts)


class _RecordBlocks:
    """The counts of a record in blocks; those in use are shared by all beds that replay it."""

    def __init__(self, name: str, stated: SignalFileOptions, block_s: float) -> None:
        self.resampled = ResampledRecord(open_signal_file(name, stated), block_s)
        self._used: WeakValueDictionary[int, NDArray[np.int32]] = WeakValueDictionary()

    def counts(self, start: int) -> NDArray[np.int32]:
        """Return counts (n, leads) from sample `start` to the end of its block, read only."""
        low, high = self.resampled.block_edges(start)
        block = self._used.get(low)
        if block is None:
            block = self._used[low] = self.resampled.quantise(self.resampled.read_samples(low, high))
            block.flags.writeable = False
        return block[start - low :]


_opened_blocks: WeakValueDictionary[tuple[str, SignalFileOptions, float], _RecordBlocks] = WeakValueDictionary()


def _open_record_blocks(record: str, stated: SignalFileOptions, block_s: float) -> _RecordBlocks:
    """Return the blocks of a record, opened once for all beds that replay it at a time. Raises RecordError."""
    blocks = _opened_blocks.get((record, stated, block_s))
    if blocks is None:
        blocks = _opened_blocks[record, stated, block_s] = _RecordBlocks(record, stated, block_s)
    return blocks


def _replay_notice(resampled: ResampledRecord) -> str:
    """Return what is not as the header of a record says, or not all of it; "" for nothing."""
    record = resampled.record
    notices = record_notices(record)
    if len(resampled.leads) < len(record.signals):
        names = ", ".join(lead.name for lead in resampled.leads)
        count = f"{len(resampled.leads)} of {len(record.signals)} signals"
        notices.append(f"{count} of record {record.path} are sent: {names}")
    return "; ".join(notices)


def packet_samples(packet_ms: float) -> int:
    """Return the samples in a packet of `packet_ms` milliseconds at 125 Hz.

    Raises ConfigError unless that is a whole number.
    """
    samples = packet_ms * FS / 1000
    if not 1 <= samples <= LONGEST_PACKET_S * FS or samples != round(samples):
        raise ConfigError(
            f"packets of {packet_ms:g} ms: give a multiple of {1000 // FS} ms up to {LONGEST_PACKET_S:g} s"
        )
    return round(samples)


def _replay_start(plan: ReplayPlan, total: int) -> int:
    start_s = plan.start_s
    if not 0 <= start_s < total / FS:
        raise ConfigError(f"start {start_s:g} s is not within record {plan.record}: it has 0 to {total / FS:.1f} s")
    return min(round(start_s * FS), total - 1)


def _replay_length(plan: ReplayPlan, left: int) -> int | None:
    """Return the samples to send of a record that has `left` more of them; None where it loops without end."""
    if plan.duration_s is None:
        return None if plan.loop else left
    if not isfinite(plan.duration_s) or plan.duration_s * FS < 1:
        raise ConfigError(f"duration {plan.duration_s:g} s is too short: give at least {1 / FS:g} s")
    wanted = round(plan.duration_s * FS)
    return wanted if plan.loop else min(wanted, left)
