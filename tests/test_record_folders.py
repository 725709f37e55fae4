"""model.records.record_folders: which records a folder holds."""

from pathlib import Path

import pytest

from model.errors import RecordError
from model.records.record_folders import list_folder_records, name_records


def headers(folder: Path, *names: str) -> None:
    """Headers of records, empty unless they are made of segments."""
    for name in names:
        path = folder / f"{name}.hea"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{Path(name).name} 1 250 10\nx.dat 16\n")


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_folder_records(folder)]


def test_folder_without_a_list(tmp_path: Path) -> None:
    """All records of the folder; only where it has none, those of its subfolders."""
    headers(tmp_path, "b/2", "a/1")
    assert names(tmp_path) == ["a/1", "b/2"]
    headers(tmp_path, "9")
    assert names(tmp_path) == ["9"]
    assert list_folder_records(tmp_path / "nothing") == []


def test_segments_are_no_records_of_their_own(tmp_path: Path) -> None:
    """Of a record made of segments only the whole is listed."""
    headers(tmp_path, "s_layout", "s_0001", "other")
    (tmp_path / "s.hea").write_text("s/3 1 250 20\ns_layout 0\n~ 10\ns_0001 10\n")
    (tmp_path / "broken.hea").write_text("")
    assert names(tmp_path) == ["broken", "other", "s"]


def test_list(tmp_path: Path) -> None:
    """A list names records and folders with lists of their own, in its order, whether they are there or not."""
    headers(tmp_path, "a/1", "a/2", "b")
    (tmp_path / "RECORDS").write_text("b\na/\nmissing\n")
    (tmp_path / "a" / "RECORDS").write_text("2\n")
    assert names(tmp_path) == ["b", "a/2", "missing"]


@pytest.mark.parametrize("line", ["../x", "/etc/passwd", "./"])
def test_lists_that_lead_astray(tmp_path: Path, line: str) -> None:
    """A list that leads out of its folder, or back to itself, is refused."""
    (tmp_path / "RECORDS").write_text(f"{line}\n")
    with pytest.raises(RecordError, match=r"list of records .*RECORDS"):
        list_folder_records(tmp_path)


def test_list_that_is_no_text(tmp_path: Path) -> None:
    """A list in no text encoding is refused with its path."""
    (tmp_path / "RECORDS").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="cannot read the list of records"):
        list_folder_records(tmp_path)


def test_names(tmp_path: Path) -> None:
    """Names are those of the files unless two share one."""
    assert name_records([tmp_path / "a" / "1", tmp_path / "b" / "2"], tmp_path) == ["1", "2"]
    assert name_records([tmp_path / "a" / "1", tmp_path / "b" / "1"], tmp_path) == ["a-1", "b-1"]
