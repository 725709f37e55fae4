"""What can be done with recordings: listed, or written in a format of other programs."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from agent.core.wording import lost_samples_text
from agent.outputs.result_tables import TABLE_ENDINGS
from agent.recording.recorded_segments import BeatMark, RecordedSegment, read_beat_marks
from agent.recording.sessions import RecordedSession, find_segments, is_recording, is_session, locate_in_session
from model.errors import ConfigError, RecordError
from model.files import open_output_file

if TYPE_CHECKING:
    from agent.export.tables import TableName

EXPORT_ENDINGS = (".edf", ".csv", ".jsonl")
TABLE_WIDTH = 120
"""Of the table where there is no terminal."""
MOST_NAMED = 6
"""Parts of a recording that an error names."""

MarkedSegments = Iterator[tuple[RecordedSegment, list[BeatMark]]]


def show_sessions(folder: Path, json: bool) -> None:
    """Print the recordings in a folder, or the one that it is. Raises RecordError if there are none."""
    from rich.console import Console

    from agent.export.listing import build_session_table, summarise_sessions

    summaries = summarise_sessions(folder)
    if not summaries:
        raise RecordError(f"no recordings in {folder}: ecg-agent monitor --record {folder / 'NAME'} makes one")
    if json:
        sys.stdout.write("".join(f"{msgspec.json.encode(asdict(summary)).decode()}\n" for summary in summaries))
        return
    if len(summaries) == 1 and summaries[0].state == "unreadable":
        raise RecordError(summaries[0].trouble)
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH, highlight=False)
    console.print(build_session_table(summaries))
    for summary in summaries:
        if summary.trouble:
            console.print(summary.trouble, markup=False, soft_wrap=True)
    if all(summary.state == "unreadable" for summary in summaries):
        raise RecordError(f"no recording in {folder} can be read; single records of it can be converted")


def convert_recording(recording: Path, out: Path, overwrite: bool = False, table: "TableName | None" = None) -> None:
    """Write the recording of one bed, or one segment of it, to a file that is there once it is whole.

    Parameters
    ----------
    recording
        A session with one bed, the folder of a bed in it, or a segment, with .hea or without.
    out
        The file to write: its ending, .edf, .csv or .jsonl, names the format.
    overwrite
        Replace a file that is there.
    table
        Write this table of all beds instead of the signal: then `out` ends in .csv or .parquet.

    Raises
    ------
    ConfigError
        If `out` is no place for such a file, or is there already.
    RecordError
        If the recording cannot be read, or its format cannot hold it.
    RunError
        If the file cannot be written.
    """
    ending = out.suffix.lower()
    if table is not None and ending not in TABLE_ENDINGS:
        raise ConfigError(f"{out.name!r} cannot hold a table: let it end in .csv or .parquet")
    if table is None and ending not in EXPORT_ENDINGS:
        hint = "; a .parquet holds a table: --table beats or --table alarms" if ending in TABLE_ENDINGS else ""
        raise ConfigError(
            f"{out.name!r} does not say what to convert to: let it end in .edf (EDF+), .csv or .jsonl{hint}"
        )
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: give the file to write")
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent} to write {out.name} to")
    if os.path.lexists(out) and not overwrite:
        raise ConfigError(f"{out} exists already: give another file, or --force to overwrite it")
    if not is_recording(recording):
        what = "a folder that monitor --record made, the folder of a bed in it, or one of the WFDB records there"
        raise RecordError(f"{recording} is no recording: give {what}")
    source = _find_table_source(recording) if table else _find_export_source(recording)
    if ending != ".jsonl" and not table:
        _check_same_leads(source.segments)
    with _open_source_session(source) as session, open_output_file(out) as file:
        if session and (damaged := session.damaged()):
            sys.stderr.write(f"ecg-agent: {lost_samples_text(str(session.folder), damaged)}\n")
        if table or ending == ".jsonl":
            if session is None:
                what = "was copied out of its recording, or its session.db is broken or missing"
                raise RecordError(f"{recording} {what}: that knows its beats and events; convert to .edf or .csv")
            _write_results(session, source, table, file, ending)
        elif ending == ".csv":
            from agent.export.text_formats import write_csv

            write_csv(_segments_with_marks(source, session), source.segments, file)
        else:
            from agent.export.edf import write_edf

            alarms = session.alarms(source.segments[0].bed) if session else ()
            write_edf(_segments_with_marks(source, session), source.segments, alarms, file)


def _write_results(
    session: RecordedSession, source: "_ExportSource", table: "TableName | None", file: BinaryIO, ending: str
) -> None:
    """Write what the database of a session knows: a table, or JSON lines."""
    only = source.segments[0] if source.lone else None
    if table:
        from agent.export.tables import write_result_table

        beds = tuple(dict.fromkeys(segment.bed for segment in source.segments)) or session.beds
        write_result_table(session, beds, only, table, file, ending)
    else:
        from agent.export.text_formats import write_json_lines

        write_json_lines(session, source.segments[0].bed, only, file)


@dataclass(frozen=True, slots=True)
class _ExportSource:
    """What is converted: `segments` of one bed, or a `lone` one, and the folder of their session, if it can be read.

    A table of all beds of a session has no segments here.
    """

    segments: Sequence[RecordedSegment]
    lone: bool
    session: Path | None


def _find_export_source(recording: Path) -> _ExportSource:
    segments = find_segments(recording)
    if segments[0].id:
        return _ExportSource(segments, False, segments[0].path.parent.parent)
    if not segments[0].count:
        raise RecordError(f"{recording} holds no recorded signal")
    home = locate_in_session(segments[0])
    return _ExportSource([home[1]], True, home[0]) if home else _ExportSource(segments, True, None)


def _find_table_source(recording: Path) -> _ExportSource:
    """Return all beds of a session, or the bed or segment that is named."""
    return _ExportSource((), False, recording) if is_session(recording) else _find_export_source(recording)


@contextlib.contextmanager
def _open_source_session(source: _ExportSource) -> Iterator[RecordedSession | None]:
    if source.session is None:
        yield None
    else:
        with RecordedSession(source.session) as session:
            yield session


def _segments_with_marks(source: _ExportSource, session: RecordedSession | None) -> MarkedSegments:
    """Return each segment with its beats, as the database has them, or without one its annotations."""
    if session is not None:
        return session.marks(source.segments)
    return ((segment, read_beat_marks(segment)) for segment in source.segments)


def _check_same_leads(segments: Sequence[RecordedSegment]) -> None:
    """Raise RecordError if the leads or the rate change."""
    parts = [list(part) for _, part in groupby(segments, lambda segment: (segment.leads, segment.fs))]
    if len(parts) == 1:
        return
    named = [
        f"{part[0].path.name}{f' to {part[-1].path.name}' if len(part) > 1 else ''} "
        f"({', '.join(lead.name for lead in part[0].leads)} at {part[0].fs:g} Hz)"
        for part in parts[:MOST_NAMED]
    ]
    more = f" and {len(parts) - MOST_NAMED} more parts" if len(parts) > MOST_NAMED else ""
    raise RecordError(
        f"leads or rate change in {segments[0].path.parent}: convert its records one by one, such as "
        f"{segments[0].path}; alike are {', '.join(named)}{more}"
    )
