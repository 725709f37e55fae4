"""The records of a folder, as PhysioNet publishes them: listed in RECORDS, in subfolders, made of segments."""

from pathlib import Path

from model.errors import EcgError, RecordError, clean_error_text
from model.records.wfdb_header import read_header_text

LIST_NAME = "RECORDS"
"""A file that names the records of its folder, a line each; a line that ends in / names a folder with such a list."""
MOST_LIST_BYTES = 2**24
DEEPEST_LIST = 5
"""Folders within folders that lists may lead through."""


def list_folder_records(folder: Path) -> list[Path]:
    """Return the paths, without ending, of the records of a folder, in order.

    Those that its list RECORDS names, whether they are there or not; without a list all of the folder or, if it has
    none, of its subfolders. Headers of the segments of a record are none of their own.

    Raises
    ------
    RecordError
        If a list cannot be read or leads out of the folder.
    """
    if (folder / LIST_NAME).is_file():
        return _listed_records(folder, folder.resolve(), DEEPEST_LIST)
    headers = sorted(filter(Path.is_file, folder.glob("*.hea"))) or sorted(filter(Path.is_file, folder.rglob("*.hea")))
    paths = [path.with_suffix("") for path in headers]
    segments = {path.parent / name for path in paths for name in _segment_names(path)}
    return [path for path in paths if path not in segments]


def _listed_records(folder: Path, root: Path, depth: int) -> list[Path]:
    path = folder / LIST_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MOST_LIST_BYTES + 1)
        lines = data.decode("utf-8").split()
    except (OSError, ValueError) as error:
        raise RecordError(f"cannot read the list of records {path}: {clean_error_text(error)}") from error
    if len(data) > MOST_LIST_BYTES or not depth:
        raise RecordError(f"cannot read the list of records {path}: it is too large, or too many lists deep")
    found: list[Path] = []
    for line in lines:
        record = folder / line
        if not record.resolve().is_relative_to(root):
            raise RecordError(f"the list of records {path} leads out of its folder: {line}")
        found += _listed_records(record, root, depth - 1) if line.endswith("/") else [record]
    return found


def _segment_names(path: Path) -> tuple[str, ...]:
    """Return the names of the segments of a record; none if it is not made of segments, or cannot be read."""
    try:
        return tuple(name for name, _ in read_header_text(path).segments)
    except EcgError:
        return ()


def name_records(paths: list[Path], folder: Path) -> list[str]:
    """Return a name for each record: that of its file or, if two share one, its path in the folder with - for /."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    return ["-".join(path.relative_to(folder).parts) for path in paths]
