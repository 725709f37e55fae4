"""Which files to analyse, and the folder that the results of each go to."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.batch.manifest import MANIFEST_NAME, FileStamp, read_manifest, valid_text
from model.errors import EcgError
from model.records.record_folders import LIST_NAME, list_folder_records
from model.records.wfdb_header import read_header_text
from model.records.wfdb_records import find_record
from model.text import make_printable

SIGNAL_ENDINGS = frozenset(
    [".edf", ".bdf", ".npz", ".npy", ".mat", ".wav", ".flac", ".ecg", ".xml", ".dcm", ".scp", ".mwf"]
)
"""Endings of the files of a folder that are taken to be recordings."""
TABLE_ENDINGS = frozenset({".csv", ".tsv"})
TEXT_ENDINGS = TABLE_ENDINGS | {".txt"}
"""The same, unless the folder has WFDB records or is one of results: there a text is about the records."""
LONGEST_FOLDER_NAME = 100
"""Bytes of the name of a file in that of a folder, which has at most 255."""
MOST_NAMED = 3
"""Names in a message."""
UNKNOWN_BYTES = 1
"""Size of a file that cannot be opened, for the progress bar."""


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A file to analyse: its `source` as `open_signal_file` takes it, and the `name` of its folder of results.

    `path`: the file itself, of a WFDB record its header. `stamps`: the files that it consists of, as they are now; none
    where there is no such file, or it is a pipe.
    """

    source: str
    path: str
    name: str
    stamps: tuple[FileStamp, ...]

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return max(UNKNOWN_BYTES, sum(stamp.size for stamp in self.stamps))


def find_batch_files(arguments: Sequence[str], out: Path) -> list[BatchFile]:
    """Return the files that the arguments name, each once, in order; of a folder all that are recordings.

    A file has the same folder of results in `out` each time, and no two share one.

    Raises
    ------
    RecordError
        If a list of records cannot be read or leads out of its folder.
    """
    sources: dict[Path, str] = {}
    for argument in arguments:
        for source in _folder_sources(Path(argument)) if Path(argument).is_dir() else [argument]:
            sources.setdefault(_source_path(source), source)
    names = _name_results(list(sources), out)
    return [
        BatchFile(source, valid_text(str(path)), name, stamp_files(path))
        for (path, source), name in zip(sources.items(), names, strict=True)
    ]


def list_tables_left_out(arguments: Sequence[str]) -> list[str]:
    """Return a line for each folder among the arguments that has WFDB records and tables, which are not analysed."""
    lines = []
    for folder in (Path(argument) for argument in dict.fromkeys(arguments) if Path(argument).is_dir()):
        if not list_folder_records(folder):
            continue
        left = [path.name for path in sorted(folder.iterdir()) if _may_be_recording(path, TABLE_ENDINGS, set())]
        if left:
            named = ", ".join(left[:MOST_NAMED]) + (" …" if len(left) > MOST_NAMED else "")
            lines.append(
                f"{folder} has WFDB records, so the tables beside them are left out; name them to analyse them: {named}"
            )
    return lines


def stamp_files(path: Path) -> tuple[FileStamp, ...]:
    """Return the files of a recording as they are now: of a WFDB record, its header and all that it names."""
    stamps: list[FileStamp] = []
    for part in dict.fromkeys(_recording_parts(path)):
        with contextlib.suppress(OSError, ValueError):
            found = part.stat()
            if stat.S_ISREG(found.st_mode):
                stamps.append(FileStamp(valid_text(part.name), found.st_size, found.st_mtime_ns))
    return tuple(stamps)


def digest_stamps(file: BatchFile) -> tuple[FileStamp, ...]:
    """Return the files of a recording with their SHA-256, without it where one has changed since it was stamped."""
    parts = {valid_text(part.name): part for part in _recording_parts(_source_path(file.source))}
    stamps: list[FileStamp] = []
    for stamp in file.stamps:
        digest = ""
        with contextlib.suppress(OSError, KeyError), parts[stamp.name].open("rb") as content:
            read = hashlib.file_digest(content, "sha256").hexdigest()
            found = os.fstat(content.fileno())
            digest = read if (found.st_size, found.st_mtime_ns) == (stamp.size, stamp.mtime_ns) else ""
        stamps.append(replace(stamp, sha256=digest))
    return tuple(stamps)


def _folder_sources(folder: Path) -> list[str]:
    """Return the recordings of a folder: WFDB records and other files; of its subfolders if it holds none itself.

    What has the name of a recording and is no file, such as a pipe or a link that leads nowhere, is among them.
    """
    records = list_folder_records(folder)
    parts = {part for record in records for part in _recording_parts(record.with_name(f"{record.name}.hea"))}
    endings = SIGNAL_ENDINGS if records else SIGNAL_ENDINGS | TEXT_ENDINGS
    own = sorted(folder.iterdir())
    others = [path for path in own if _may_be_recording(path, endings, parts)]
    if not records and not any(path.is_file() for path in others):
        own = sorted(folder.rglob("*"))
        others = [path for path in own if _may_be_recording(path, endings, parts)]
    if not (folder / LIST_NAME).is_file():  # else that says which records there are
        others += [path for path in own if path.suffix == ".hea" and not (path.is_file() or path.is_dir())]
    return [str(path) for path in (*records, *others)]


def _may_be_recording(path: Path, endings: frozenset[str], parts: set[Path]) -> bool:
    """Whether a file of a folder is taken to be a recording: not one of results, or a part of a WFDB record."""
    if path.suffix.lower() not in endings or path in parts or path.name.startswith(".") or path.is_dir():
        return False
    return not (path.parent / MANIFEST_NAME).exists() and not path.with_suffix(".hea").exists()


def _source_path(source: str) -> Path:
    """Return the file that a source stands for, the header of a WFDB record; as it was given if there is none."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # an impossible file name is no file
        path = Path(source).expanduser()
        is_file = path.is_file()
        if is_file and path.suffix not in (".hea", ".dat"):
            return path.resolve()
        with contextlib.suppress(EcgError):
            record = find_record(source)
            return record.with_name(f"{record.name}.hea").resolve()
        if is_file:
            return path.resolve()
    return Path(source)


def _recording_parts(path: Path) -> Iterator[Path]:
    """Yield the files of a recording: of a WFDB header, also those of its signals and segments."""
    yield path
    if path.suffix != ".hea" or not path.is_file():  # reading a pipe might never end
        return
    try:
        header = read_header_text(path.with_suffix(""))
    except (EcgError, OSError):
        return
    for name, _ in header.segments:
        segment = path.with_name(f"{name}.hea")
        if segment.is_file() and segment != path:
            yield from _recording_parts(segment)
    if not header.segments:
        lines = [line for line in header.text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        yield from (path.with_name(line.split()[0]) for line in lines[1:])


def _name_results(paths: Sequence[Path], out: Path) -> list[str]:
    """Return a folder of results in `out` for each file: that which holds its results by now, or else a free one."""
    taken: set[str] = set()
    names: list[str] = []
    for path in paths:
        free = (name for name in _possible_names(path) if name.lower() not in taken)
        name = next(name for name in free if _is_free(out / name, path))
        taken.add(name.lower())
        names.append(name)
    return names


def _possible_names(path: Path) -> Iterator[str]:
    """Yield names of a folder: that of the file, the same behind that of its own folder, then with numbers."""
    plain = _folder_name(path.stem).strip(". ") or "file"
    yield plain
    if path.parent.name:
        yield f"{_folder_name(path.parent.name)}-{plain}"
    number = 2
    while True:
        yield f"{plain}-{number}"
        number += 1


def _folder_name(name: str) -> str:
    return make_printable(name).encode()[:LONGEST_FOLDER_NAME].decode(errors="ignore")


def _is_free(folder: Path, path: Path) -> bool:
    """Return whether a folder is not there, or holds the results of this very file."""
    if not folder.exists():
        return True
    manifest = read_manifest(folder)
    return manifest is not None and manifest.source == valid_text(str(path))
