"""Reports of several beds or recordings, and the index that leads to them."""

import re
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from agent.core.class_trust import rate_of_100
from agent.core.config import Config
from agent.recording.sessions import RecordedSession
from agent.report.bed_report import WrittenReport, write_bed_report, write_text_parts
from agent.report.html_page import IndexRow, render_html_index
from agent.report.styles import date_and_time, duration_in_words, number_or_dash, share_in_percent
from model.errors import RecordError

LONGEST_NAME = 48
INDEX_HEADS = ("bed", "recorded", "length", "signal", "mean rate", "beats", "V", "S", "AF", "pauses", "alarms")
MOST_NAMED = 3
"""Beds that are left out whose reasons an error gives; the index gives those of all."""


class ReportIndex:
    """Writes a report for each bed beside an index at `out`, which also names those that cannot be reported, and why.

    `files`: what was written. `left_out`: why, by the label of a bed or recording.
    """

    def __init__(self, out: Path, pdf: bool, config: Config) -> None:
        self.files: list[Path] = []
        self.left_out: dict[str, str] = {}
        self._out, self._pdf, self._config = out, pdf, config
        self._rows: list[IndexRow] = []
        self._taken: set[str] = set()

    def add_bed(self, session: RecordedSession, bed: str, label: str) -> None:
        """Write the report of a bed under a label. Raises RunError; a bed that cannot be read is left out."""
        path = self._choose_path(label)
        try:
            written = write_bed_report(session, bed, path, self._pdf, self._config)
        except RecordError as error:
            self.leave_out(label, str(error))
            return
        print_report_files(written.files)
        self.files += written.files
        self._rows.append((path.name, label, _index_cells(written)))

    def leave_out(self, label: str, reason: str) -> None:
        """Note why there is no report of a bed or recording."""
        self.left_out[label] = reason
        self._rows.append((None, label, (f"left out: {reason}",)))

    def write_page(self, title: str) -> list[Path]:
        """Write the index, and return all files, the index first. Raises RunError."""
        note = "Research tool, not a medical device. V, S and AF: share of the beats, and of the time with signal."
        write_text_parts(self._out, [render_html_index(title, note, self._rows, INDEX_HEADS)])
        print_report_files([self._out])
        return [self._out, *self.files]

    def name_left_out(self) -> str:
        """Return which beds were left out and why, in words."""
        named = [f"{bed} ({reason})" for bed, reason in islice(self.left_out.items(), MOST_NAMED)]
        more = f" and {len(self.left_out) - MOST_NAMED} more" if len(self.left_out) > MOST_NAMED else ""
        return f"{', '.join(named)}{more}"

    def _choose_path(self, label: str) -> Path:
        """Return a file beside the index: the label in plain letters, with a number if that is taken."""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", label)[:LONGEST_NAME].strip("_") or "bed"
        name, number = plain, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{plain}-{number}"
        self._taken.add(name.lower())
        return self._out.with_name(f"{self._out.stem}-{name}{self._out.suffix}")


def print_report_files(paths: Iterable[Path]) -> None:
    """Print names and sizes of files."""
    for path in paths:
        sys.stdout.write(f"{path} ({path.stat().st_size / 1e6:.1f} MB)\n")


def _index_cells(written: WrittenReport) -> tuple[str, ...]:
    recording, found = written.recording, written.found
    began = date_and_time(recording.started_s) if recording.started_s is not None else "no signal"
    signal = 100 * found.signal.recorded_s / recording.length_s if recording.length_s else 0.0
    trust = rate_of_100(recording.class_trust.sensitivity.get("S"))
    return (
        began,
        duration_in_words(recording.length_s),
        share_in_percent(min(100.0, signal)),
        number_or_dash(found.mean_rate, 0, "/min"),
        f"{len(recording.beats):,}",
        share_in_percent(found.beats.share("V")),
        f"{share_in_percent(found.beats.share('S'))} (tests: {trust} of 100 found)",
        share_in_percent(100 * found.fibrillation.share),
        f"{found.beats.pause_count:,}",
        f"{recording.alarm_count:,}",
    )
