"""The list of recordings: what each of them holds, and how it ended."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from agent.core.wording import lost_samples_text
from agent.recording.sessions import LONGEST_S, RecordedRun, RecordedSession, SessionTotals, find_sessions
from model.errors import RecordError
from model.text import format_clock


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A recording in numbers.

    `length_s` from the first to the last sample of its longest bed, leaving out pauses between runs; `missing_s` how
    much of that was not recorded, of all beds together. `state`: recording, complete, incomplete (signal came that was
    not recorded, as on a full disk, or nobody was there), interrupted (its monitor was killed, or could not write the
    end: all up to then is there), damaged (samples are gone since, or a bed cannot be read) or unreadable, and
    `trouble` says why. What cannot be read, or cannot be true, counts for nothing.
    """

    recording: str
    beds: tuple[str, ...] = ()
    started_s: float | None = None
    length_s: float = 0.0
    beats: int = 0
    alarms: int = 0
    gaps: int = 0
    missing_s: float = 0.0
    bytes: int = 0
    state: str = "unreadable"
    trouble: str = ""


def summarise_sessions(folder: Path) -> list[SessionSummary]:
    """Return the recordings in a folder, or the one that it is, in numbers."""
    return [_summarise_session(path) for path in find_sessions(folder)]


def build_session_table(summaries: Sequence[SessionSummary]) -> Table:
    """Build a table of recordings, less than 80 columns wide unless names are long."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    alarms = any(summary.alarms for summary in summaries)
    table.add_column("name", overflow="fold", min_width=6)
    for title in ("beds", "began (UTC)", "length", "beats", *["alarms"] * alarms, "missing", "size"):
        table.add_column(title, justify="left" if title.startswith("began") else "right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for summary in summaries:
        began = "" if summary.started_s is None else f"{datetime.fromtimestamp(summary.started_s, UTC):%Y-%m-%d %H:%M}"
        counts = [f"{summary.beats:,}", f"{summary.alarms:,}"][: 1 + alarms]
        cells = (
            str(len(summary.beds)),
            began,
            format_clock(summary.length_s),
            *counts,
            format_clock(summary.missing_s),
        )
        table.add_row(Text(Path(summary.recording).name), *cells, _format_folder_size(summary.bytes), summary.state)
    return table


def _summarise_session(folder: Path) -> SessionSummary:
    name, size = str(folder if folder.name not in ("", "..") else folder.resolve()), _measure_folder(folder)
    try:
        with RecordedSession(folder) as session:
            is_live = session.live
            totals = session.summary()
            damaged = session.damaged()
            runs, broken, odd = _read_runs(session)
            lengths_s = (sum((run.next - run.first) / run.fs for run in bed_runs) for bed_runs in runs)
            return SessionSummary(
                recording=name,
                beds=session.beds,
                started_s=totals.started_s,
                length_s=max(lengths_s, default=0.0),
                beats=sum(session.beat_count(bed) for bed in session.beds),
                alarms=sum(session.alarm_count(bed) for bed in session.beds),
                gaps=totals.gaps,
                missing_s=sum(run.missing / run.fs for bed_runs in runs for run in bed_runs),
                bytes=size,
                state=_session_state(is_live, totals, bool(damaged or broken)),
                trouble="; ".join([*([lost_samples_text(name, damaged)] if damaged else []), *broken, *odd]),
            )
    except RecordError as error:
        return SessionSummary(name, bytes=size, trouble=str(error))


def _read_runs(session: RecordedSession) -> tuple[list[list[RecordedRun]], list[str], list[str]]:
    """Return the runs of each bed, and in words which beds cannot be read, and which claim to be impossibly long.

    Raises RecordError if no bed can be read.
    """
    runs: list[list[RecordedRun]] = []
    broken, odd = [], []
    failure: RecordError | None = None
    for bed in session.beds:
        try:
            session.segments(bed)
            bed_runs = session.runs(bed)
        except RecordError as error:
            failure = error
            broken.append(f"bed {bed}: {error}")
            continue
        length_s = sum((run.next - run.first) / run.fs for run in bed_runs)
        if length_s > LONGEST_S:
            odd.append(f"{session.folder}: bed {bed} claims to last {length_s / 86_400:,.0f} days")
            continue
        runs.append(bed_runs)
    if failure is not None and len(broken) == len(session.beds):
        raise failure
    if session.nameless:
        broken.append(f"{session.folder}: beds whose names cannot be read: {session.nameless}")
    return runs, broken, odd


def _session_state(live: bool, summary: SessionTotals, damaged: bool) -> str:
    if damaged:
        return "damaged"
    if live:
        return "recording"
    return "interrupted" if not summary.complete else "incomplete" if summary.lost else "complete"


def _measure_folder(folder: Path) -> int:
    """Return the bytes of the files of a session, also while a monitor adds and deletes some."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            size += path.lstat().st_size if not path.is_dir() else 0
    return size


def _format_folder_size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
