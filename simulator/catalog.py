"""The list of embedded records and what each of them contains."""

from collections import Counter
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from model.records.wfdb_records import CLASSES, embedded_records, open_record, read_reference
from model.text import format_clock


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One record: names of its `leads`, length, annotated beats in the order of CLASSES, the header's remarks."""

    name: str
    leads: tuple[str, ...]
    length_s: float
    beats: tuple[int, ...]
    remarks: str


def read_catalog() -> list[CatalogEntry]:
    """Read all embedded records, in order. Raises RecordError where one cannot be read."""
    return [_read_catalog_entry(name) for name in embedded_records()]


def build_catalog_table(entries: list[CatalogEntry]) -> Table:
    """Build a table of the entries, with the sum of the beats below."""
    table = Table("record", "leads", "length", box=SIMPLE_HEAD, show_footer=True, expand=True)
    table.columns[0].footer = f"{len(entries)} records"
    for i, name in enumerate(CLASSES):
        table.add_column(name, justify="right", footer=f"{sum(entry.beats[i] for entry in entries):,}")
    table.add_column("remarks", overflow="ellipsis", no_wrap=True, ratio=1)
    for entry in entries:
        length = format_clock(entry.length_s, hour_digits=0)
        beats = [f"{count:,}" if count else "·" for count in entry.beats]
        table.add_row(entry.name, " ".join(entry.leads), length, *beats, entry.remarks)
    return table


def _read_catalog_entry(name: str) -> CatalogEntry:
    record = open_record(name)
    counts = Counter(read_reference(record).beats()[1])
    return CatalogEntry(
        name=name,
        leads=tuple(signal.name for signal in record.signals),
        length_s=record.length / record.fs,
        beats=tuple(counts[label] for label in CLASSES),
        remarks=header_remarks(record.comments),
    )


def header_remarks(comments: tuple[str, ...]) -> str:
    """Return the remarks of a header: its lines after the first (age, sex, tape): one of medication, then sentences."""
    medication, sentences = comments[1:2], comments[2:]
    return " ".join(". ".join([*medication, " ".join(sentences)]).rstrip(". ").split())
