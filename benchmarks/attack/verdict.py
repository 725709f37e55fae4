"""What an attack did, and whether it is within the limits: every beat, in time, in bounded memory, and a quick end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MOST_GROWTH_MB = 100.0
MOST_DELAY_S = 0.25
"""The most by which beats of the good bed may come later than without an attack."""
MOST_EXIT_S = 1.0


@dataclass(slots=True)
class AttackFigures:
    """An attack of some seconds, measured.

    `due`, `shown`: R peaks of the good bed, or packets for the strict subscriber of a device; `extra`: those that were
    shown twice or at no R peak. `delay_s`: the largest delay less that without an attack; `last_delay_s`: that of the
    last beats. `silence_s`: the longest time between two of them. `lines`: events and alarms that were written. `open`:
    samples that are neither analysed nor declared missing; `sent_wrong`: by how much the ledger of the good bed is
    wrong about what the device sent. `exit_s`: from Ctrl-C to the end; None while the process goes on.
    """

    name: str
    alive: bool = True
    due: int = 0
    shown: int = 0
    extra: int = 0
    delay_s: float = 0.0
    last_delay_s: float = 0.0
    silence_s: float = 0.0
    start_mb: float = 0.0
    peak_mb: float = 0.0
    end_mb: float = 0.0
    lines: int = 0
    open: int = 0
    sent_wrong: int = 0
    exit_s: float | None = None
    exit_code: int = 0
    said: str = ""
    """What the process wrote on standard error where it ended badly."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AttackLimits:
    """What an attack may cost. Where the connection is broken on purpose, `delay_s` includes making it again, and by
    `last_delay_s` the last beats are in time again.

    `beats`: whether every beat is due: not where Ctrl-C comes in the middle. `extra`: whether others may be shown: an
    impostor under the good bed's name has beats too, and its samples are in the ledger.
    """

    delay_s: float = MOST_DELAY_S
    last_delay_s: float = MOST_DELAY_S
    exit_s: float = MOST_EXIT_S
    beats: bool = True
    extra: bool = False


STRICT = AttackLimits()


def find_faults(figures: AttackFigures, limits: AttackLimits) -> list[str]:
    """Return what is beyond the limits, in words; nothing where all is well."""
    faults = list(figures.notes)
    if not figures.alive:
        return [*faults, f"ended by itself with {figures.exit_code}: {figures.said[-200:]!r}"]
    if limits.beats and figures.shown < figures.due:
        faults.append(f"{figures.due - figures.shown} of {figures.due} not shown")
    if figures.extra and not limits.extra:
        faults.append(f"{figures.extra} too many")
    if limits.beats and figures.delay_s > limits.delay_s:
        faults.append(f"{figures.delay_s:.2f} s later")
    elif limits.beats and figures.last_delay_s > limits.last_delay_s:
        faults.append(f"still {figures.last_delay_s:.2f} s later at the end")
    if figures.peak_mb - figures.start_mb > MOST_GROWTH_MB:
        faults.append(f"{figures.peak_mb - figures.start_mb:.0f} MB more")
    if figures.open:
        faults.append(f"{figures.open} samples open")
    if figures.sent_wrong and not limits.extra and limits.beats:
        faults.append(f"ledger {figures.sent_wrong:+d} samples")
    if figures.exit_s is not None and figures.exit_s > limits.exit_s:
        faults.append(f"{figures.exit_s:.1f} s to end")
    if figures.exit_code or "Traceback" in figures.said:
        faults.append(f"exit code {figures.exit_code}: {figures.said[-200:]!r}")
    return faults


Cell = Callable[[AttackFigures], str]
COLUMNS: tuple[tuple[str, int, Cell], ...] = (
    ("shown/due", 10, lambda row: f"{row.shown}/{row.due}"),
    ("later ms", 9, lambda row: f"{1000 * row.delay_s:.0f}"),
    ("silent s", 9, lambda row: f"{row.silence_s:.1f}"),
    ("MB before, most, after", 23, lambda row: f"{row.start_mb:.0f} {row.peak_mb:.0f} {row.end_mb:.0f}"),
    ("lines", 7, lambda row: f"{row.lines}"),
    ("exit s", 7, lambda row: "" if row.exit_s is None else f"{row.exit_s:.2f}"),
)


def table_head() -> str:
    """Return the first line of the table."""
    return f"{'attack':28}" + "".join(f"{name:>{width}}" for name, width, _ in COLUMNS) + "  verdict"


def table_row(figures: AttackFigures, faults: list[str]) -> str:
    """Return the line of an attack."""
    cells = "".join(f"{cell(figures):>{width}}" for _, width, cell in COLUMNS)
    return f"{figures.name:28}{cells}  {'; '.join(faults) or 'ok'}"


def as_result(figures: AttackFigures, faults: list[str]) -> dict[str, Any]:
    """Return the figures for a JSON file."""
    values = {name: getattr(figures, name) for name in AttackFigures.__slots__ if name != "notes"}
    return {**values, "faults": faults}
