"""`ecg-agent report`: the reports of a recording on disk, a bed at a time."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from agent.recording.sessions import RecordedSession, is_session
from agent.report.alarm_content import choose_shown_alarms
from agent.report.bed_recording import BedRecording, alarm_key, read_alarm_strips
from agent.report.content import build_report_document
from agent.report.document import ReportDocument
from agent.report.html_page import render_html_index, render_html_report
from agent.report.styles import date_and_time, duration_in_words
from model.errors import ConfigError, RecordError
from model.files import open_output_file

LONGEST_NAME = 48


def write_reports(session: Path, bed: str | None = None, out: Path | None = None, pdf: bool = True) -> list[Path]:
    """Write the report of a recording, and print what was written; the files.

    Of one bed, named or the only one, to `out` (an HTML file, NAME-report.html where none is given) and its like as
    PDF. Of several beds one report each, beside an index at `out`. Raises ConfigError, RecordError, RunError.
    """
    if not is_session(session):
        raise RecordError(f"{session} is no recording: give a folder that ecg-agent monitor --record made")
    name = session.resolve().name
    out = Path(f"{name}-report.html") if out is None else out
    _check_report_path(out)
    with RecordedSession(session) as opened:
        beds = _choose_report_beds(opened, bed, session)
        if len(beds) == 1:
            return _write_bed_report(opened, beds[0], out, pdf)[0]
        files: list[Path] = []
        links = []
        for one, path in zip(beds, _name_bed_reports(beds, out), strict=True):
            made, reading = _write_bed_report(opened, one, path, pdf)
            files += made
            links.append((path.name, one, _bed_index_cells(reading)))
        heads = ("bed", "recorded", "length", "beats", "alarms")
        text = render_html_index(
            f"ECG reports, {name}", "Research tool, not a medical device. A report for each bed:", links, heads
        )
        _write_text_parts(out, [text])
        _print_report_file(out)
        return [out, *files]


def _write_bed_report(session: RecordedSession, bed: str, out: Path, pdf: bool) -> tuple[list[Path], BedRecording]:
    reading = BedRecording(session, bed)
    wanted = {alarm_key(alarm) for alarm in choose_shown_alarms(reading.alarms)[0]}
    made = build_report_document(reading, read_alarm_strips(session, bed, wanted))
    _write_text_parts(out, render_html_report(made))
    _print_report_file(out)
    if not pdf:
        return [out], reading
    _write_pdf_report(made, out.with_suffix(".pdf"))
    _print_report_file(out.with_suffix(".pdf"))
    return [out, out.with_suffix(".pdf")], reading


def _write_pdf_report(made: ReportDocument, out: Path) -> None:
    from agent.report.pdf_layout import write_pdf_document

    with open_output_file(out) as file:
        write_pdf_document(made, file)


def _write_text_parts(out: Path, parts: Iterable[str]) -> None:
    with open_output_file(out) as file:
        for part in parts:
            file.write(part.encode("utf-8", "replace"))


def _print_report_file(path: Path) -> None:
    sys.stdout.write(f"{path} ({path.stat().st_size / 1e6:.1f} MB)\n")


def _check_report_path(out: Path) -> None:
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out.name!r} is no name for the report: let it end in .html")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: give the file to write")
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent} to write {out.name} to")


def _choose_report_beds(session: RecordedSession, bed: str | None, folder: Path) -> tuple[str, ...]:
    if not session.beds:
        raise RecordError(f"nothing was recorded in {folder}: there is nothing to report")
    if bed is None:
        return session.beds
    if bed not in session.beds:
        raise RecordError(f"no bed {bed!r} in {folder}: beds are {', '.join(session.beds)}")
    return (bed,)


def _name_bed_reports(beds: tuple[str, ...], out: Path) -> list[Path]:
    """A file for each bed beside the index, by its name in plain letters and a number where that is not enough."""
    taken: set[str] = set()
    paths = []
    for bed in beds:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", bed)[:LONGEST_NAME].strip("_") or "bed"
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        paths.append(out.with_name(f"{out.stem}-{name}{out.suffix}"))
    return paths


def _bed_index_cells(reading: BedRecording) -> tuple[str, ...]:
    began = date_and_time(reading.started_s) if reading.started_s is not None else "no signal"
    return began, duration_in_words(reading.length_s), f"{len(reading.beats):,}", f"{reading.alarm_count:,}"
