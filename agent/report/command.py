"""`ecg-agent report`: write the reports of recordings, one bed at a time, or compare two recordings."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.core.config import Config
from agent.core.wording import lost_samples_text
from agent.recording.sessions import RecordedSession, find_sessions, is_session
from agent.report.bed_recording import BedRecording
from agent.report.bed_report import write_bed_report, write_document
from agent.report.comparison import ComparedRecording, build_comparison
from agent.report.content import find_all
from agent.report.report_index import ReportIndex, print_report_files
from model.errors import ConfigError, RecordError
from model.text import name_some

MOST_NAMED = 20
"""Beds that are named where another one was asked for."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What to report: these `beds` (all if none are named), at `out`, also as PDF, or compared with a recording."""

    beds: tuple[str, ...] = ()
    out: Path | None = None
    pdf: bool = True
    compare: Path | None = None


def report_recordings(paths: Sequence[Path], config: Config, options: ReportOptions) -> list[Path]:
    """Write the reports of recordings, or of those in folders, and print the names of the files.

    Several recordings have an index that leads to their reports. Raises as `write_reports` does.
    """
    if options.compare is not None:
        if len(paths) != 1:
            raise ConfigError("--compare takes two recordings: ecg-agent report A --compare B")
        return write_comparison(paths[0], options.compare, config, options)
    sessions = list(dict.fromkeys(found for path in paths for found in _sessions_at(path)))
    if len(sessions) == 1:
        return write_reports(sessions[0], config, options.beds, options.out, options.pdf)
    return _write_collection(sessions, config, options)


def write_reports(
    session: Path, config: Config, beds: Sequence[str] | None = None, out: Path | None = None, pdf: bool = True
) -> list[Path]:
    """Write the report of a recording and print the names of the files.

    Parameters
    ----------
    session : Path
        Folder of a recorded session.
    config : Config
        Settings whose `[rhythm]` and `[alarms]` define rates, pauses and runs, as for the monitor.
    beds : sequence of str, optional
        The beds to report; without it each bed gets a report, beside an index at `out` if there are several.
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
    _refuse_part(session)
    name = session.resolve().name
    out = Path(f"{name}-report.html") if out is None else out
    _check_report_path(out)
    with RecordedSession(session) as opened:  # which explains a broken or missing database
        chosen = _choose_report_beds(opened, beds or (), session)
        _warn_of_damage(opened)
        if len(chosen) == 1 and (beds or not opened.nameless):
            files = write_bed_report(opened, chosen[0], out, pdf, config).files
            print_report_files(files)
            return files
        return _write_ward_reports(opened, chosen, ReportIndex(out, pdf, config), out)


def write_comparison(first: Path, second: Path, config: Config, options: ReportOptions) -> list[Path]:
    """Write the comparison of two recordings of one bed each, and print the names of the files.

    With one of `options.beds` that bed of both is compared, with two the first of `first` and the second of `second`.
    Raises as `write_reports` does.
    """
    for path in (first, second):
        _refuse_part(path)
    if len(options.beds) > 2:
        raise ConfigError("--compare takes one --bed for both recordings, or one for each")
    beds = (options.beds * 2)[:2] if options.beds else (None, None)
    names = [path.resolve().name for path in (first, second)]
    out = options.out or Path(f"{names[0]}-{names[1]}-comparison.html")
    _check_report_path(out)
    with RecordedSession(first) as opened, RecordedSession(second) as other:
        pair = []
        for session, bed in ((opened, beds[0]), (other, beds[1])):
            _warn_of_damage(session)
            chosen = _choose_compared_bed(session, bed)
            recording = BedRecording(session, chosen)
            title = f"{session.folder.resolve().name}, bed {chosen}"
            pair.append(ComparedRecording(title, recording, find_all(recording, config)))
        files = write_document(build_comparison((pair[0], pair[1])), out, options.pdf)
    print_report_files(files)
    return files


def _write_ward_reports(session: RecordedSession, beds: Sequence[str], index: ReportIndex, out: Path) -> list[Path]:
    """Write a report for each bed, and an index that also names those that cannot be reported, and why.

    Return the files, the index first. Raises RecordError at the end if beds were left out; without any report there is
    no index.
    """
    for bed in beds:
        index.add_bed(session, bed, bed)
    if session.nameless:
        index.leave_out("?", f"beds whose names cannot be read: {session.nameless}")
    if not index.files:
        raise RecordError(f"no bed of {session.folder} can be reported: {index.name_left_out()}")
    files = index.write_page(f"ECG reports, {session.folder.resolve().name}")
    if index.left_out:
        raise RecordError(f"beds left out of {out}: {index.name_left_out()}; the others are reported")
    return files


def _write_collection(sessions: Sequence[Path], config: Config, options: ReportOptions) -> list[Path]:
    """Write the reports of several recordings, and an index; what cannot be reported is left out and named at the end.

    Of named beds a recording may lack some. Raises RecordError as `_write_ward_reports` does.
    """
    parents = {path.resolve().parent.name for path in sessions}
    out = options.out or Path(f"{parents.pop() if len(parents) == 1 else 'recordings'}-report.html")
    _check_report_path(out)
    index = ReportIndex(out, options.pdf, config)
    for folder in sessions:
        name = folder.resolve().name
        try:
            with RecordedSession(folder) as opened:
                beds = _choose_report_beds(opened, (), folder)
                _warn_of_damage(opened)
                for bed in [bed for bed in beds if not options.beds or bed in options.beds]:
                    index.add_bed(opened, bed, name if len(beds) == 1 and bed == name else f"{name}, bed {bed}")
        except RecordError as error:
            index.leave_out(name, str(error))
    if not index.files:
        wanted = f" bed {' or '.join(options.beds)} of" if options.beds else ""
        reasons = index.name_left_out() or "none has it"
        raise RecordError(f"none of{wanted} {len(sessions)} recordings can be reported: {reasons}")
    files = index.write_page("ECG reports")
    if index.left_out:
        raise RecordError(f"left out of {out}: {index.name_left_out()}; the others are reported")
    return files


def _sessions_at(path: Path) -> list[Path]:
    """Return the recordings in a folder, or the one that a path is; a path that holds none is returned as it is."""
    return [path] if is_session(path) else find_sessions(path) or [path]


def _refuse_part(path: Path) -> None:
    if not is_session(path) and is_session(path.parent):
        raise RecordError(f"{path} is only a part of a recording: ecg-agent report {path.parent} --bed NAME")


def _warn_of_damage(session: RecordedSession) -> None:
    if damaged := session.damaged():
        sys.stderr.write(f"ecg-agent: {lost_samples_text(str(session.folder), damaged)}\n")


def _check_report_path(out: Path) -> None:
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out.name!r} is no name for the report: let it end in .html")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: give the file to write")
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent} to write {out.name} to")


def _choose_report_beds(session: RecordedSession, wanted: Sequence[str], folder: Path) -> tuple[str, ...]:
    if not session.beds and not session.nameless:
        raise RecordError(f"nothing was recorded in {folder}: there is nothing to report")
    for bed in wanted:
        if bed not in session.beds:
            raise RecordError(f"no bed {bed!r} in {folder}: beds are {name_some(session.beds, MOST_NAMED)}")
    return tuple(dict.fromkeys(wanted)) or session.beds


def _choose_compared_bed(session: RecordedSession, wanted: str | None) -> str:
    beds = _choose_report_beds(session, () if wanted is None else (wanted,), session.folder)
    if len(beds) != 1:
        raise RecordError(f"{session.folder} has several beds: name one with --bed; beds are {', '.join(beds)}")
    return beds[0]
