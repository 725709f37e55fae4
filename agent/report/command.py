"""`ecg-agent report`: the reports of a recording on disk, a bed at a time."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from agent.export.convert import written
from agent.recording.runs import SessionRuns
from agent.recording.sessions import is_session
from agent.report.alarm_content import chosen
from agent.report.content import document
from agent.report.document import Document
from agent.report.page import index, page
from agent.report.reading import Reading, alarm_strips, key_of
from agent.report.styles import length, moment
from model.errors import ConfigError, RecordError

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
    _check(out)
    with SessionRuns(session) as opened:
        beds = _chosen(opened, bed, session)
        if len(beds) == 1:
            return _write_bed(opened, beds[0], out, pdf)[0]
        files: list[Path] = []
        links = []
        for one, path in zip(beds, _paths(beds, out), strict=True):
            made, reading = _write_bed(opened, one, path, pdf)
            files += made
            links.append((path.name, one, _told(reading)))
        heads = ("bed", "recorded", "length", "beats", "alarms")
        text = index(
            f"ECG reports, {name}", "Research tool, not a medical device. A report for each bed:", links, heads
        )
        _write_text(out, [text])
        _say(out)
        return [out, *files]


def _write_bed(session: SessionRuns, bed: str, out: Path, pdf: bool) -> tuple[list[Path], Reading]:
    reading = Reading(session, bed)
    wanted = {key_of(alarm) for alarm in chosen(reading.alarms)[0]}
    made = document(reading, alarm_strips(session, bed, wanted))
    _write_text(out, page(made))
    _say(out)
    if not pdf:
        return [out], reading
    _write_pdf(made, out.with_suffix(".pdf"))
    _say(out.with_suffix(".pdf"))
    return [out, out.with_suffix(".pdf")], reading


def _write_pdf(made: Document, out: Path) -> None:
    from agent.report.pdf import write

    with written(out) as file:
        write(made, file)


def _write_text(out: Path, parts: Iterable[str]) -> None:
    with written(out) as file:
        for part in parts:
            file.write(part.encode("utf-8", "replace"))


def _say(path: Path) -> None:
    sys.stdout.write(f"{path} ({path.stat().st_size / 1e6:.1f} MB)\n")


def _check(out: Path) -> None:
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out.name!r} is no name for the report: let it end in .html")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: give the file to write")
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent} to write {out.name} to")


def _chosen(session: SessionRuns, bed: str | None, folder: Path) -> tuple[str, ...]:
    if not session.beds:
        raise RecordError(f"nothing was recorded in {folder}: there is nothing to report")
    if bed is None:
        return session.beds
    if bed not in session.beds:
        raise RecordError(f"no bed {bed!r} in {folder}: beds are {', '.join(session.beds)}")
    return (bed,)


def _paths(beds: tuple[str, ...], out: Path) -> list[Path]:
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


def _told(reading: Reading) -> tuple[str, ...]:
    began = moment(reading.started_s) if reading.started_s is not None else "no signal"
    return began, length(reading.length_s), f"{len(reading.beats):,}", f"{reading.alarm_count:,}"
