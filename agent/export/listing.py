"""The list of recordings: what is in each of them, and how it ended."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from agent.recording.sessions import RecordedSession, SessionTotals, find_sessions
from model.errors import RecordError
from model.text import format_clock

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A recording in numbers.

    `length_s` from the first to the last sample of its longest bed, leaving out pauses between runs; `missing_s` how
    much of that was not recorded, of all beds together. `state`: recording, complete, incomplete (signal came that was
    not recorded, as on a full disk, or nobody was there), interrupted (its monitor was killed, or could not write the
    end: all up to then is there), damaged (samples are gone since) or unreadable, and `trouble` says why.
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
    """The recordings in a folder, or the one that it is."""
    return [_summarise_session(path) for path in find_sessions(folder)]


def build_session_table(listed: Sequence[SessionSummary]) -> Table:
    """The entries as a table of less than 80 columns, unless names are long."""
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    alarms = any(one.alarms for one in listed)
    made.add_column("name", overflow="fold", min_width=6)
    for title in ("beds", "began (UTC)", "length", "beats", *["alarms"] * alarms, "missing", "size"):
        made.add_column(title, justify="left" if title.startswith("began") else "right", no_wrap=True)
    made.add_column("state", no_wrap=True)
    for one in listed:
        began = "" if one.started_s is None else datetime.fromtimestamp(one.started_s, UTC).strftime("%Y-%m-%d %H:%M")
        counted = [f"{one.beats:,}", f"{one.alarms:,}"][: 1 + alarms]
        cells = (
            str(len(one.beds)),
            began,
            format_clock(one.length_s),
            *counted,
            format_clock(one.missing_s),
        )
        made.add_row(Text(Path(one.recording).name), *cells, _format_folder_size(one.bytes), one.state)
    return made


def _summarise_session(folder: Path) -> SessionSummary:
    name, size = str(folder if folder.name not in ("", "..") else folder.resolve()), _measure_folder(folder)
    try:
        with RecordedSession(folder) as session:
            live, summary, damaged = session.live, session.summary(), session.damaged()
            runs = [session.runs(bed) for bed in session.beds]
            return SessionSummary(
                recording=name,
                beds=session.beds,
                started_s=summary.started_s,
                length_s=max((sum((run.next - run.first) / run.fs for run in of) for of in runs), default=0.0),
                beats=sum(session.beat_count(bed) for bed in session.beds),
                alarms=sum(session.alarm_count(bed) for bed in session.beds),
                gaps=summary.gaps,
                missing_s=sum(run.missing / run.fs for of in runs for run in of),
                bytes=size,
                state=_session_state(live, summary, bool(damaged)),
                trouble=f"{name}: samples are gone from {', '.join(damaged[:MOST_NAMED])}" if damaged else "",
            )
    except RecordError as error:
        return SessionSummary(name, bytes=size, trouble=str(error))


def _session_state(live: bool, summary: SessionTotals, damaged: bool) -> str:
    if damaged:
        return "damaged"
    if live:
        return "recording"
    return "interrupted" if not summary.complete else "incomplete" if summary.lost else "complete"


def _measure_folder(folder: Path) -> int:
    """What the files of a session take, also while a monitor adds and deletes some."""
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
