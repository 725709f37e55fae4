"""`ecg-agent report`: write the reports of a recording, one bed at a time."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from agent.core.config import Config
from agent.core.wording import lost_samples_text
from agent.recording.sessions import RecordedSession, is_session
from agent.report.alarm_content import choose_shown_alarms
from agent.report.bed_recording import BedRecording, read_alarm_strips
from agent.report.content import build_report_document
from agent.report.document import ReportDocument
from agent.report.html_page import IndexRow, render_html_index, render_html_report
from agent.report.styles import date_and_time, duration_in_words
from model.errors import ConfigError, RecordError
from model.files import open_output_file

LONGEST_NAME = 48
INDEX_HEADS = ("bed", "recorded", "length", "beats", "alarms")
MOST_NAMED = 3
"""Beds that are left out whose reasons an error gives; the index gives those of all."""


def write_reports(
    session: Path, config: Config, bed: str | None = None, out: Path | None = None, pdf: bool = True
) -> list[Path]:
    """Write the report of a recording and print the names of the files.

    Parameters
    ----------
    session : Path
        Folder of a recorded session.
    config : Config
        Settings whose `[rhythm]` and `[alarms]` define rates, pauses and runs, as for the monitor.
    bed : str, optional
        The bed to report; without it each bed gets a report, beside an index at `out` if there are several.
    out : Path, optional
        HTML file to write, NAME-report.html if left out. The PDF lies beside it.
    pdf : bool
        Whether to write the PDF too.

    Returns
    -------
    list of Path
        The files, the index first.

    Raises
    ------
    ConfigError
        If `out` is no place for an HTML file.
    RecordError
        If the session cannot be read, has no such bed, or some of its beds could not be reported: the reports of the
        others, and the index, are written first.
    RunError
        If a file cannot be written.
    """
    if not is_session(session) and is_session(session.parent):
        raise RecordError(f"{session} is only a part of a recording: ecg-agent report {session.parent} --bed NAME")
    name = session.resolve().name
    out = Path(f"{name}-report.html") if out is None else out
    _check_report_path(out)
    with RecordedSession(session) as opened:  # which explains a broken or missing database
        beds = _choose_report_beds(opened, bed, session)
        if damaged := opened.damaged():
            sys.stderr.write(f"ecg-agent: {lost_samples_text(str(session), damaged)}\n")
        if len(beds) == 1 and (bed is not None or not opened.nameless):
            files = write_bed_report(opened, beds[0], out, pdf, config)[0]
            _print_report_files(files)
            return files
        return _write_ward_reports(opened, beds, out, pdf, config)


def _write_ward_reports(
    session: RecordedSession, beds: Sequence[str], out: Path, pdf: bool, config: Config
) -> list[Path]:
    """Write a report for each bed, and an index at `out` that also names those that cannot be reported, and why.

    Return the files, the index first. Raises RecordError at the end if beds were left out; without any report there is
    no index.
    """
    files = [out]
    rows: list[IndexRow] = []
    left_out: dict[str, str] = {}
    for bed, path in zip(beds, _name_bed_reports(beds, out), strict=True):
        try:
            written, recording = write_bed_report(session, bed, path, pdf, config)
        except RecordError as error:
            left_out[bed] = str(error)
            rows.append((None, bed, (f"left out: {error}",)))
            continue
        _print_report_files(written)
        files += written
        rows.append((path.name, bed, _bed_index_cells(recording)))
    if session.nameless:
        left_out["?"] = f"beds whose names cannot be read: {session.nameless}"
        rows.append((None, "?", (f"left out: {left_out['?']}",)))
    if len(files) == 1:
        raise RecordError(f"no bed of {session.folder} can be reported: {_left_out_text(left_out)}")
    note = "Research tool, not a medical device. A report for each bed:"
    title = f"ECG reports, {session.folder.resolve().name}"
    _write_text_parts(out, [render_html_index(title, note, rows, INDEX_HEADS)])
    _print_report_files([out])
    if left_out:
        raise RecordError(f"beds left out of {out}: {_left_out_text(left_out)}; the others are reported")
    return files


def _left_out_text(left_out: Mapping[str, str]) -> str:
    """Return which beds were left out and why, in words."""
    named = [f"{bed} ({reason})" for bed, reason in islice(left_out.items(), MOST_NAMED)]
    more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
    return f"{', '.join(named)}{more}"


def write_bed_report(
    session: RecordedSession, bed: str, out: Path, pdf: bool, config: Config
) -> tuple[list[Path], BedRecording]:
    """Write the report of a bed as HTML at `out`, with `pdf` also beside it; return the files and what was recorded.

    Raises RecordError if the bed cannot be read, RunError if a file cannot be written.
    """
    recording = BedRecording(session, bed)
    shown = {alarm.identity for alarm in choose_shown_alarms(recording.alarms)[0]}
    document = build_report_document(recording, read_alarm_strips(session, bed, shown), config)
    _write_text_parts(out, render_html_report(document))
    if not pdf:
        return [out], recording
    _write_pdf_report(document, out.with_suffix(".pdf"))
    return [out, out.with_suffix(".pdf")], recording


def _write_pdf_report(document: ReportDocument, out: Path) -> None:
    # ReportLab takes a while to import, and the page alone does not need it.
    from agent.report.pdf_report import write_pdf_document

    with open_output_file(out) as file:
        write_pdf_document(document, file)


def _write_text_parts(out: Path, parts: Iterable[str]) -> None:
    with open_output_file(out) as file:
        for part in parts:
            file.write(part.encode("utf-8", "replace"))


def _print_report_files(paths: Iterable[Path]) -> None:
    for path in paths:
        sys.stdout.write(f"{path} ({path.stat().st_size / 1e6:.1f} MB)\n")


def _check_report_path(out: Path) -> None:
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out.name!r} is no name for the report: let it end in .html")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: give the file to write")
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent} to write {out.name} to")


def _choose_report_beds(session: RecordedSession, bed: str | None, folder: Path) -> tuple[str, ...]:
    if not session.beds and not session.nameless:
        raise RecordError(f"nothing was recorded in {folder}: there is nothing to report")
    if bed is None:
        return session.beds
    if bed not in session.beds:
        raise RecordError(f"no bed {bed!r} in {folder}: beds are {', '.join(session.beds)}")
    return (bed,)


def _name_bed_reports(beds: Sequence[str], out: Path) -> list[Path]:
    """Return a file for each bed beside the index: its name in plain letters, with a number if that is taken."""
    taken: set[str] = set()
    paths = []
    for bed in beds:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", bed)[:LONGEST_NAME].strip("_") or "bed"
        name = plain
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        paths.append(out.with_name(f"{out.stem}-{name}{out.suffix}"))
    return paths


def _bed_index_cells(recording: BedRecording) -> tuple[str, ...]:
    began = date_and_time(recording.started_s) if recording.started_s is not None else "no signal"
    return began, duration_in_words(recording.length_s), f"{len(recording.beats):,}", f"{recording.alarm_count:,}"
