"""The report of one bed, or of two recordings compared, written as HTML and PDF."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.core.config import Config
from agent.recording.sessions import RecordedSession
from agent.report.alarm_content import choose_shown_alarms
from agent.report.bed_recording import BedRecording, read_alarm_strips
from agent.report.content import build_report_document, find_all
from agent.report.document import ReportDocument
from agent.report.html_page import render_html_report
from agent.report.summary_content import ReportFindings
from model.files import open_output_file


@dataclass(frozen=True, slots=True, eq=False)
class WrittenReport:
    """The `files` of a report, what was recorded, and what was found in it."""

    files: list[Path]
    recording: BedRecording
    found: ReportFindings


def write_bed_report(session: RecordedSession, bed: str, out: Path, pdf: bool, config: Config) -> WrittenReport:
    """Write the report of a bed as HTML at `out`, with `pdf` also beside it.

    Raises RecordError if the bed cannot be read, RunError if a file cannot be written.
    """
    recording = BedRecording(session, bed)
    shown = {alarm.identity for alarm in choose_shown_alarms(recording.alarms)[0]}
    found = find_all(recording, config)
    document = build_report_document(recording, found, read_alarm_strips(session, bed, shown), config)
    return WrittenReport(write_document(document, out, pdf), recording, found)


def write_document(document: ReportDocument, out: Path, pdf: bool) -> list[Path]:
    """Write a document as HTML at `out`, with `pdf` also beside it; return the files. Raises RunError."""
    write_text_parts(out, render_html_report(document))
    if not pdf:
        return [out]
    # ReportLab takes a while to import, and the page alone does not need it.
    from agent.report.pdf_report import write_pdf_document

    with open_output_file(out.with_suffix(".pdf")) as file:
        write_pdf_document(document, file)
    return [out, out.with_suffix(".pdf")]


def write_text_parts(out: Path, parts: Iterable[str]) -> None:
    """Write a page that comes in pieces. Raises RunError."""
    with open_output_file(out) as file:
        for part in parts:
            file.write(part.encode("utf-8", "replace"))
