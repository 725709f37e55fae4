"""One segment of a recording: a WFDB record of one unbroken piece of a run, written as the signal comes.

`NAME.hea` says in a comment where the samples come from; `NAME.dat` holds them, in format 16 if they fit, else in 32;
`NAME.ecg` holds the beats. No file stays open between two writes: a thousand beds need no descriptors.
"""

import contextlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from agent.core.clock import LARGEST_TIME
from agent.core.messages import MISSING, Lead
from agent.wire.packets import MOST_LEADS, LeadHeader, SampleIndex, SamplingRate, WireText
from model.errors import RecordError
from model.files import open_plain_file, sync_file, write_atomically
from model.records.annotations import AnnotationFile, encode_annotations, read_annotations
from model.text import make_printable

CountArray = NDArray[np.int32]
StoredArray = NDArray[np.signedinteger[Any]]
NO_VALUE_OF_FORMAT = {16: -(2**15), 32: MISSING}
"""The count that holds no value, of each WFDB format that is written."""
FORMAT_DTYPES: dict[int, np.dtype[np.signedinteger[Any]]] = {16: np.dtype("<i2"), 32: np.dtype("<i4")}
SEGMENT_ENDINGS = (".hea", ".dat", ".ecg")
StartTime = Annotated[float, Meta(ge=0, le=LARGEST_TIME)]
"""The last second of the year 9999."""

_RECORDS = "[0-9][0-9][0-9][0-9]*.hea"
_FIRST_COMMENT = "# ecg-agent recording, bed "
_LARGEST_HEADER = 65_536
_BLOCK = 1 << 20
_END_MARK = b"\0\0"


@dataclass(frozen=True, slots=True)
class SegmentOrigin:
    """Where the samples of a segment come from: `first` is the index of the first in `run`, at `fs` hertz.

    `started`: Unix time of the first sample.
    """

    first: int
    fs: float
    bed: str
    run: str
    leads: tuple[Lead, ...]
    started: float


class _HeaderComment(msgspec.Struct, frozen=True):
    first: SampleIndex
    fs: SamplingRate
    bed: WireText
    run: WireText
    leads: Annotated[list[LeadHeader], Meta(min_length=1, max_length=MOST_LEADS)]
    started: StartTime


_comment: msgspec.json.Decoder[_HeaderComment] = msgspec.json.Decoder(_HeaderComment)
_leads: msgspec.json.Decoder[list[LeadHeader]] = msgspec.json.Decoder(
    Annotated[list[LeadHeader], Meta(min_length=1, max_length=MOST_LEADS)]
)


@dataclass(slots=True)
class SegmentWriter:
    """Writes a segment, or knows one that was written. `path` has no ending; `identity` is its id in the database.

    `size` bytes of the signal file and `notes` bytes of the annotation file are complete. Methods raise OSError.
    """

    path: str
    origin: SegmentOrigin
    format: int
    identity: int
    count: int = 0
    notes: int | None = len(_END_MARK)
    """None: the annotation file has to be read first."""
    deleted: bool = False
    _last_note: int = 0
    _initial: list[int] = field(default_factory=list)
    _sums: list[int] = field(default_factory=list)

    @property
    def frame(self) -> int:
        """Bytes of one sample of all leads."""
        return len(self.origin.leads) * FORMAT_DTYPES[self.format].itemsize

    @property
    def size(self) -> int:
        """Bytes of all its samples."""
        return self.count * self.frame

    def create(self) -> int:
        """Make the three files, without samples and beats; return their bytes."""
        text = self._header(final=False)
        Path(self.path).parent.mkdir(exist_ok=True)
        _write_file_at(f"{self.path}.hea", text, 0, os.O_CREAT | os.O_TRUNC)
        _write_file_at(f"{self.path}.ecg", _END_MARK, 0, os.O_CREAT | os.O_TRUNC)
        _write_file_at(f"{self.path}.dat", b"", 0, os.O_CREAT | os.O_TRUNC)
        return len(text) + len(_END_MARK)

    def append(self, stored: StoredArray) -> int:
        """Add samples (n, leads) of this format's dtype; return their bytes. A write that fails midway is undone."""
        _write_file_at(
            f"{self.path}.dat", stored.astype(FORMAT_DTYPES[self.format], copy=False).tobytes(), self.size, 0
        )
        if not self.count:
            self._initial, self._sums = stored[0].tolist(), [0] * stored.shape[1]
        added = np.add.reduce(stored, axis=0, dtype=np.int64).tolist()
        self._sums = [(a + b) & 0xFFFF for a, b in zip(self._sums, added, strict=True)]
        self.count += len(stored)
        return stored.nbytes

    def annotate(self, beats: Sequence[tuple[int, str]]) -> int:
        """Add beats: samples from the segment's first, and WFDB symbols; return their bytes.

        One write replaces the end mark by the beats and a new end mark, so that the file is complete at any time.
        """
        if self.notes is None:
            self._read_notes()
        at = (self.notes or len(_END_MARK)) - len(_END_MARK)
        content = _encode_beat_notes(beats, self._last_note)
        try:
            _write_file_at(f"{self.path}.ecg", content, at, 0)
        except OSError:
            with contextlib.suppress(OSError):
                _write_file_at(f"{self.path}.ecg", _END_MARK, at, 0)
            raise
        self._last_note, grown = beats[-1][0], len(content) - len(_END_MARK)
        self.notes = at + len(content)
        return grown

    def rewrite_beats(self, beats: Sequence[tuple[int, str]]) -> None:
        """Write the whole annotation file."""
        content = _encode_beat_notes(beats, 0)
        replace_file_content(f"{self.path}.ecg", content)
        self.notes, self._last_note = len(content), beats[-1][0] if beats else 0

    def finish(self) -> None:
        """Force the samples onto the disk and write the final header, with length, start and checksums."""
        sync_file(f"{self.path}.dat")
        if Path(f"{self.path}.hea").exists():  # else somebody took the segment away
            replace_file_content(f"{self.path}.hea", self._header(final=True))

    def repair(self) -> None:
        """Take over the files that a kill left: cut off a torn sample, count and sum the others."""
        self.count = count_frames(f"{self.path}.dat", self.format, len(self.origin.leads))
        if not self.count:
            return
        _cut_file(f"{self.path}.dat", self.size)
        leads = len(self.origin.leads)
        rows = max(1, _BLOCK // leads)
        sums = np.zeros(leads, np.int64)
        for start in range(0, self.count, rows):
            block = read_stored_samples(self.path, self.format, leads, start, min(start + rows, self.count))
            if start == 0:
                self._initial = block[0].tolist()
            sums += block.sum(axis=0, dtype=np.int64)
        self._sums = [value & 0xFFFF for value in sums.tolist()]

    def remove(self) -> int:
        """Delete the files, the header first; return the bytes that are free then. Files that are gone are no error."""
        freed = 0
        for ending in SEGMENT_ENDINGS:
            path = f"{self.path}{ending}"
            freed += stored_file_size(path)
            Path(path).unlink(missing_ok=True)
        self.deleted = True
        return freed

    def _header(self, final: bool) -> bytes:
        origin, name = self.origin, self.path.rpartition("/")[2]
        line = f"{name} {len(origin.leads)} {np.format_float_positional(origin.fs, trim='-')}"
        if final:
            start = datetime.fromtimestamp(origin.started, UTC)
            line += f" {self.count} {start:%H:%M:%S}.{start.microsecond:06d} {start:%d/%m/}{start.year:04d}"
        initial, sums = self._initial or [0] * len(origin.leads), self._sums or [0] * len(origin.leads)
        signals = [
            _signal_line(f"{name}.dat {self.format}", lead, first, total)
            for lead, first, total in zip(origin.leads, initial, sums, strict=True)
        ]
        about = {
            "first": origin.first,
            "fs": origin.fs,
            "bed": origin.bed,
            "run": origin.run,
            "started": origin.started,
            "leads": msgspec.to_builtins(origin.leads),
        }
        comments = [
            f"{_FIRST_COMMENT}{make_printable(f'{origin.bed}, run {origin.run}', ascii_only=True)}",
            f"# {json.dumps(about)}",
        ]
        return "\n".join([line, *signals, *comments, ""]).encode("ascii", "replace")

    def _read_notes(self) -> None:
        """Find where the annotation file of a segment that a previous monitor closed goes on."""
        path = Path(f"{self.path}.ecg")
        try:
            known = read_annotations(path.parent, path.stem, "ecg", self.origin.fs)
            whole = known.complete or not path.stat().st_size
        except RecordError:
            self.rewrite_beats([])
            return
        if whole:
            self.notes, self._last_note = path.stat().st_size, known.samples[-1] if known.samples else 0
        else:
            self.rewrite_beats(list(zip(known.samples, known.symbols, strict=True)))


def read_stored_samples(path: str, wfdb_format: int, leads: int, start: int, stop: int) -> StoredArray:
    """Return samples `start` to `stop` of a signal file as stored, (n, leads), fewer if it ends. Raises OSError."""
    dtype = FORMAT_DTYPES[wfdb_format]
    flat = np.fromfile(f"{path}.dat", dtype, (stop - start) * leads, offset=start * leads * dtype.itemsize)
    return flat[: len(flat) // leads * leads].reshape(-1, leads)


def count_frames(path: str, wfdb_format: int, leads: int) -> int:
    """Return how many samples of all leads a signal file holds; 0 if there is none."""
    return stored_file_size(path) // (leads * FORMAT_DTYPES[wfdb_format].itemsize)


def stored_file_size(path: str) -> int:
    """Return the bytes of a file, 0 if there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def decode_leads(text: str) -> tuple[Lead, ...]:
    """Return leads from JSON as the wire has it. Raises ValueError."""
    return _leads_from_headers(_leads.decode(text))


def encode_leads(leads: tuple[Lead, ...]) -> str:
    """Return leads as JSON, as the wire has it."""
    return msgspec.json.encode(leads).decode()


def read_segment_origin(path: Path) -> tuple[SegmentOrigin, int] | None:
    """Return where the samples of a segment come from, and their WFDB format; None if its header is not one of ours."""
    try:
        if not Path(f"{path}.hea").is_file():  # reading a pipe would block
            return None
        with Path(f"{path}.hea").open("rb") as file:
            lines = file.read(_LARGEST_HEADER).decode("ascii").splitlines()
        wfdb_format = int(lines[1].split()[1])
        comments = [line for line in lines if line.startswith("# ")]
        if wfdb_format not in NO_VALUE_OF_FORMAT or not comments[0].startswith(_FIRST_COMMENT):
            return None
        about = _comment.decode(comments[1][2:])
        require_wfdb_text(about.bed + about.run)
        leads = _leads_from_headers(about.leads)
    except (OSError, ValueError, IndexError, RecursionError):
        return None
    return SegmentOrigin(about.first, about.fs, about.bed, about.run, leads, about.started), wfdb_format


def find_first_record(folder: Path) -> Path | None:
    """Return the first segment in the folder of a bed, or in those of a session, by its header; None without any."""
    for pattern in (_RECORDS, f"*/{_RECORDS}"):
        try:
            found = next(
                (path for path in sorted(folder.glob(pattern)) if read_segment_origin(path.with_suffix(""))), None
            )
        except OSError:
            continue
        if found is not None:
            return found.with_suffix("")
    return None


def require_wfdb_text(text: str) -> str:
    """Return a name as it is. Raises ValueError if it cannot be printed: names reach terminals."""
    if not text.isprintable():
        raise ValueError("a name holds characters that cannot be printed")
    return text


def replace_file_content(path: str, content: bytes) -> None:
    """Write a file in one step, and force it onto the disk."""
    with write_atomically(Path(path), sync=True) as partial:
        _write_file_at(str(partial), content, 0, os.O_CREAT | os.O_TRUNC)


def _write_file_at(path: str, content: bytes, at: int, flags: int) -> None:
    """Write all of `content` at byte `at`, where the file ends afterwards. A write that fails midway is undone."""
    descriptor = open_plain_file(path, os.O_WRONLY | flags)
    try:
        done = 0
        try:
            while done < len(content):
                done += os.pwrite(descriptor, content[done:], at + done)
        except OSError:
            os.ftruncate(descriptor, at)
            raise
    finally:
        os.close(descriptor)


def _cut_file(path: str, size: int) -> None:
    """Cut a file off after `size` bytes. Raises OSError."""
    descriptor = open_plain_file(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def _encode_beat_notes(beats: Sequence[tuple[int, str]], after: int) -> bytes:
    """Return beats in the MIT format of WFDB, to follow sample `after`, with an end mark."""
    samples, symbols = tuple(sample - after for sample, _ in beats), tuple(symbol for _, symbol in beats)
    return encode_annotations(AnnotationFile(samples, symbols, (0,) * len(beats), ("",) * len(beats)))


def _signal_line(file: str, lead: Lead, initial: int, total: int) -> str:
    """Return a lead's line of the header: the smallest converter range that holds its rails, a signed checksum."""
    bits, zero = (lead.high - lead.low).bit_length(), (lead.low + lead.high + 1) // 2
    unit = re.sub(
        r"[^\w^%?/-]", "_", lead.unit.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    )
    gain, name = f"{lead.gain!r}({round(lead.offset)})/{unit}", make_printable(lead.name, ascii_only=True)
    return f"{file} {gain} {bits} {zero} {initial} {(total + 2**15) % 2**16 - 2**15} 0 {name}"


def _leads_from_headers(headers: list[LeadHeader]) -> tuple[Lead, ...]:
    for lead in headers:
        require_wfdb_text(lead.name + lead.unit)
    return tuple(Lead(h.name, h.unit, h.gain, h.offset, h.low, h.high) for h in headers)
