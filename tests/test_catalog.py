"""simulator.catalog: the list of records."""

from io import StringIO
from time import process_time

import pytest
from rich.console import Console

from simulator.catalog import CatalogEntry, build_catalog_table, read_catalog


@pytest.fixture(scope="module")
def found() -> list[CatalogEntry]:
    return read_catalog()


def test_entries(found: list[CatalogEntry]) -> None:
    """The 48 records are listed with their leads, length, beats and remarks."""
    assert len(found) == 48
    assert found[0] == CatalogEntry("100", ("MLII", "V5"), 650_000 / 360, (2239, 33, 1, 0, 0), "Aldomet, Inderal")
    assert found[2].remarks.startswith("Digoxin. The rhythm is paced with a demand pacemaker.")


def test_sum_of_beats(found: list[CatalogEntry]) -> None:
    """All 109,494 beats of the database are there, by class."""
    assert [sum(entry.beats[i] for entry in found) for i in range(5)] == [90_631, 2_781, 7_236, 803, 8_043]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_table(found: list[CatalogEntry], width: int) -> None:
    """The table shows every record, within the width of the terminal."""
    console = Console(file=StringIO(), width=width)
    console.print(build_catalog_table(found))
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(line.split()[:1] == [entry.name] for line in lines) for entry in found)


def test_quick() -> None:
    """The list takes less than three seconds."""
    start = process_time()
    read_catalog()
    assert process_time() - start < 3
