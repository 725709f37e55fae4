"""The recording of one bed: samples that wait to be written, the segment they go to, and the ledger of each run."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from agent.core.clock import LARGEST_TIME
from agent.core.messages import MISSING, Chunk, End, Gap, Lead
from agent.core.sample_index import nearest_device_index
from agent.recording.segment_files import CountArray, SegmentOrigin, SegmentWriter
from agent.wire.packets import pack_int16

LONGEST_GAP_S = 60.0
MOST_FILLED_COUNTS = 2**17
"""A longer gap inside a run ends the segment; a shorter one is written as samples without a value."""
KEPT_SEGMENTS = 4
"""Latest segments of a bed that late beats may still belong to."""
MOST_CLOCK_OFFSET_S = 86_400.0
"""Times of sending further than this from our clock are not believed."""


@dataclass(slots=True)
class RunLedger:
    """The ledger of one run, in samples of the device: `next - first` is `recorded` + `missing` + `lost`.

    The link declared `missing` samples missing; `lost` ones came while nothing could be written, or nobody was there.
    `written` is the index after the last sample on disk, `last_beat` the latest R peak at 125 Hz.
    """

    bed: str
    run: str
    fs: float
    first: int
    next: int
    written: int
    recorded: int = 0
    missing: int = 0
    lost: int = 0
    last_beat: int | None = None
    ended: bool = False


@dataclass(slots=True)
class _PendingBlock:
    """Unbroken samples of one run that wait to be written; of each part, whether it only fills a gap."""

    entry: RunLedger
    first: int
    fs: float
    leads: tuple[Lead, ...]
    started: float
    starts_segment: bool
    parts: list[tuple[CountArray, bool]] = field(default_factory=list)
    done: int = 0
    """Samples of it that are written."""


class BedWriter:
    """Writes one bed.

    `open_segment` opens the next segment for an origin and a WFDB format, `saved_ledger` returns the saved ledger of a
    bed's run; both may raise OSError or sqlite3.Error.
    """

    def __init__(
        self,
        bed: str,
        rotate_s: float,
        open_segment: Callable[[SegmentOrigin, int], SegmentWriter],
        saved_ledger: Callable[[str, str], RunLedger | None],
    ) -> None:
        self.bed, self._rotate_s, self._open_segment, self._saved_ledger = bed, rotate_s, open_segment, saved_ledger
        self.entry: RunLedger | None = None
        self.entries: dict[str, RunLedger] = {}
        """Ledgers that changed and are not saved yet, by run."""
        self._earlier: dict[str, RunLedger] = {}
        """Ledgers of the latest runs before this one: their last beats are decided once it has begun."""
        self.recent: list[SegmentWriter] = []
        self.closed: list[SegmentWriter] = []
        """Segments whose header is final, but not their row in the database."""
        self.unfinished: list[SegmentWriter] = []
        """Segments that are over, but whose header is not final."""
        self.grown: set[str] = set()
        """Signal files that were written to since the owner cleared this."""
        self.lost_s = 0.0
        """Seconds of signal that were lost to this recording."""
        self._segment: SegmentWriter | None = None
        self._leads: tuple[Lead, ...] = ()
        self._blocks: list[_PendingBlock] = []
        self._gap = 0
        self._wide: tuple[str, tuple[Lead, ...]] | None = None
        """Run and leads whose counts did not fit format 16."""
        self._recorded_beat: tuple[str, int] = "", 0
        """Run and R peak that the previous monitor recorded last."""

    def resume(self, entry: RunLedger, recent: list[SegmentWriter]) -> None:
        """Go on where the previous monitor stopped, in a new segment; late beats still go to its last ones."""
        self.entry = entry
        if entry.last_beat is not None:
            self._recorded_beat = entry.run, entry.last_beat
        self.recent += recent

    def take(self, message: Chunk | Gap | End, now_s: float, lose: bool) -> None:
        """Account for a message, and keep its samples to be written unless they are to `lose`."""
        entry = self.entry
        if entry is None or entry.run != message.run:
            entry = self._begin_run(message)
        self.entries[entry.run] = entry
        if isinstance(message, End):
            self._skip(entry, message.first, lost=True)
            entry.ended = True
            self._begin_segment(entry)
        elif isinstance(message, Gap):
            self._skip(entry, message.first, lost=True)
            self._skip(entry, message.first + message.count, lost=False)
        elif len(message.counts) > entry.next - message.first:
            self._keep_samples(entry, message, now_s, lose)

    def write(self) -> int:
        """Write what waits; return its bytes on disk. Raises OSError or sqlite3.Error: then call `abandon`."""
        grown = 0
        for block in self._blocks:
            if block.starts_segment:
                self.end_segment()
            if block.parts:
                grown += self._write_block(block)
        self._blocks.clear()
        return grown

    def drop_old_segments(self) -> None:
        """Keep only the latest segments, for beats that are decided late."""
        del self.recent[:-KEPT_SEGMENTS]

    def abandon(self) -> None:
        """Drop what waits, since it cannot be written; a new segment follows."""
        for block in self._blocks:
            stop = 0
            for counts, is_filler in block.parts:
                stop += len(counts)
                rows = min(len(counts), max(0, stop - block.done))
                if not is_filler:
                    block.entry.recorded -= rows
                    block.entry.lost += rows
                    self.lost_s += rows / block.fs
                    self.entries[block.entry.run] = block.entry
        self._blocks.clear()
        self.end_segment()

    def end_segment(self) -> None:
        """End the segment: it is to be finished when there is time."""
        if self._segment is not None:
            self.unfinished.append(self._segment)
            self._segment = None

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._blocks)

    def note_beat(self, run: str, sample: int) -> bool:
        """Note a beat of a run; return whether it is new, and not one that the previous monitor recorded."""
        current = self.entry is not None and self.entry.run == run
        entry = self.entry if current else self.entries.get(run) or self._earlier.get(run)
        if entry is None or (run == self._recorded_beat[0] and sample <= self._recorded_beat[1]):
            return False
        entry.last_beat = sample if entry.last_beat is None else max(entry.last_beat, sample)
        self.entries[run] = entry
        return True

    def locate_beat(self, run: str, sample: int) -> tuple[SegmentWriter, int] | None:
        """Return the segment that an R peak at `sample` (125 Hz) lies in, and its place there; None if none does."""
        for segment in reversed(self.recent):
            origin = segment.origin
            if origin.run == run and not segment.deleted:
                place = nearest_device_index(sample, origin.fs) - origin.first
                if 0 <= place <= segment.count and segment.count:  # rounding may bring it one sample behind the end
                    return segment, min(place, segment.count - 1)
        return None

    def _begin_run(self, message: Chunk | Gap | End) -> RunLedger:
        if self.entry is not None:
            self._begin_segment(self.entry)
            self._earlier[self.entry.run] = self.entry
        run, first = message.run, message.first
        entry = self.entries.get(run) or self._saved_ledger(self.bed, run)
        self._earlier.pop(run, None)
        for old in list(self._earlier)[:-KEPT_SEGMENTS]:
            del self._earlier[old]
        self.entry = entry or RunLedger(self.bed, run, float(message.fs), first, first, first)
        self._leads = ()
        return self.entry

    def _begin_segment(self, entry: RunLedger) -> None:
        """Begin a new segment once what waits is written."""
        self._gap, self._leads = 0, ()
        if not (self._blocks and self._blocks[-1].starts_segment):
            self._blocks.append(_PendingBlock(entry, entry.next, entry.fs, (), 0.0, starts_segment=True))

    def _skip(self, entry: RunLedger, stop: int, lost: bool) -> None:
        """Account for absent samples up to `stop`: missing, or lost to the recording, which ends the segment."""
        count = stop - entry.next
        if count <= 0:
            return
        entry.next = stop
        if lost:
            entry.lost += count
            self.lost_s += count / entry.fs
            self._begin_segment(entry)
        else:
            entry.missing += count
            self._gap += count

    def _keep_samples(self, entry: RunLedger, chunk: Chunk, now_s: float, lose: bool) -> None:
        self._skip(entry, chunk.first, lost=True)
        counts = chunk.counts[entry.next - chunk.first :]
        entry.ended = False
        if lose:
            self._skip(entry, entry.next + len(counts), lost=True)
            return
        if chunk.leads != self._leads or chunk.fs != entry.fs or self._gap > _longest_filled_gap(chunk):
            if self._leads:
                self._begin_segment(entry)
            self._gap, self._leads, entry.fs = 0, chunk.leads, float(chunk.fs)
        block = self._blocks[-1] if self._blocks else None
        if block is None or not block.leads:
            started = _chunk_start_time(chunk, now_s) + (entry.next - chunk.first - self._gap) / entry.fs
            block = _PendingBlock(entry, entry.next - self._gap, entry.fs, chunk.leads, started, starts_segment=False)
            self._blocks.append(block)
        if self._gap:
            block.parts.append((np.full((self._gap, len(chunk.leads)), MISSING, np.int32), True))
            self._gap = 0
        block.parts.append((counts, False))
        entry.next += len(counts)
        entry.recorded += len(counts)

    def _write_block(self, block: _PendingBlock) -> int:
        parts = [counts for counts, _ in block.parts]
        counts = np.ascontiguousarray(np.concatenate(parts) if len(parts) > 1 else parts[0], np.int32)
        entry, grown = block.entry, 0
        limit = min(max(1, round(self._rotate_s * block.fs)), 2**31 - 1)
        while block.done < len(counts):
            if self._segment is not None and self._segment.count >= limit:
                self.end_segment()
            room = limit - (self._segment.count if self._segment else 0)
            rest = counts[block.done : block.done + room]
            stored, fit = (rest, len(rest)) if self._wide == (entry.run, block.leads) else pack_int16(rest)
            if fit:
                segment = self._segment or self._open_next(block, entry)
                grown += segment.append(stored)
                self.grown.add(f"{segment.path}.dat")
                block.done += fit
                entry.written = block.first + block.done
            if fit < len(rest):
                self.end_segment()
                self._wide = entry.run, block.leads
        return grown

    def _open_next(self, block: _PendingBlock, entry: RunLedger) -> SegmentWriter:
        wfdb_format = 32 if self._wide == (entry.run, block.leads) else 16
        started = min(max(0.0, block.started + block.done / block.fs), LARGEST_TIME)
        first = block.first + block.done
        origin = SegmentOrigin(first, block.fs, self.bed, entry.run, block.leads, started)
        self._segment = self._open_segment(origin, wfdb_format)
        self.recent.append(self._segment)
        return self._segment


def _longest_filled_gap(chunk: Chunk) -> float:
    """Return the longest gap, in samples, that is filled with samples without a value instead of ending the segment."""
    return min(LONGEST_GAP_S * chunk.fs, MOST_FILLED_COUNTS // len(chunk.leads))


def _chunk_start_time(chunk: Chunk, now_s: float) -> float:
    """Return the Unix time of the first sample of a chunk: its length before its sending, or before our time."""
    sent_s = chunk.sent_s if abs(chunk.sent_s - now_s) < MOST_CLOCK_OFFSET_S else now_s
    return sent_s - len(chunk.counts) / chunk.fs
