"""What a person chose to look at, and how keys change it: view and key make the next view."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.dashboard.wave import HEIGHTS_MV, Window, fit
from agent.messages import BedView, Snapshot
from model.resample import FS

SECONDS = (2, 3, 4, 6, 8, 10, 15, 20, 30)
"""Seconds that the width of the screen may stand for."""
PAGE = 10
"""Beds that Page Up and Page Down move by."""

_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_MOVES = {"n": 1, "\t": 1, "p": -1, "\x1b[Z": -1, "\x1b[B": 1, "\x1bOB": 1, "\x1b[A": -1, "\x1bOA": -1}
_MOVES |= {"\x1b[6~": PAGE, "\x1b[5~": -PAGE}
_GAINS = {"+": -1, "=": -1, "-": 1, "_": 1}
_TIMES = {"<": -1, ",": -1, "[": -1, "\x1b[D": -1, "\x1bOD": -1, ">": 1, ".": 1, "]": 1, "\x1b[C": 1, "\x1bOC": 1}


@dataclass(frozen=True, slots=True)
class View:
    """Settings of the view.

    `bed` the chosen one (else the first), `overview` of all beds (None: where there is more than one), `frozen` the
    snapshot shown instead of the live one, `height_mv` and `seconds` what the screen's height and width stand for
    (None: chosen automatically), `columns` the width of the terminal, `windows` the millivolts last shown of each bed.
    """

    bed: str = ""
    overview: bool | None = None
    frozen: Snapshot | None = None
    height_mv: float | None = None
    seconds: int | None = None
    columns: int = 80
    ascii: bool = False
    quit: bool = False
    windows: Mapping[str, Window] = field(default_factory=dict)


def chosen(view: View, snapshot: Snapshot) -> int:
    """Index of the bed looked at; 0 where the chosen one is not (or no longer) there."""
    return next((i for i, bed in enumerate(snapshot.beds) if bed.bed == view.bed), 0)


def is_overview(view: View, snapshot: Snapshot) -> bool:
    """Whether all beds are shown at once."""
    return len(snapshot.beds) > 1 if view.overview is None else view.overview and bool(snapshot.beds)


def seconds_across(view: View) -> int:
    """Seconds of one sweep: what was chosen, else what the screen can show well."""
    return view.seconds or (6 if view.columns < 110 else 8 if view.columns < 150 else 10)


def window_of(view: View, bed: BedView) -> Window:
    """The millivolts to show of a bed: those last shown, until `follow` finds them unfit."""
    known = view.windows.get(bed.bed)
    return known if known and view.height_mv in (None, known.height) else _fitted(view, bed)


def follow(view: View, beds: tuple[BedView, ...]) -> View:
    """The view with windows that hold the waves of these beds, as steady as they allow."""
    windows = {bed.bed: _fitted(view, bed) for bed in beds}
    if all(view.windows.get(name) == window for name, window in windows.items()):
        return view
    return replace(view, windows={**view.windows, **windows})


def _fitted(view: View, bed: BedView) -> Window:
    shown = bed.wave[-seconds_across(view) * FS :]
    return fit(shown, view.windows.get(bed.bed), view.height_mv)


def press(view: View, keys: str, snapshot: Snapshot) -> View:
    """The view after these keys; keys without a meaning change nothing."""
    for key in _KEY.findall(keys):
        view = _press_one(view, key, view.frozen or snapshot, snapshot)
    return view


def _press_one(view: View, key: str, shown: Snapshot, live: Snapshot) -> View:
    if key in ("q", "Q", "\x03"):
        return replace(view, quit=True)
    if key == " ":
        return replace(view, frozen=None if view.frozen else live)
    if key in _MOVES and shown.beds:
        return replace(view, bed=shown.beds[_moved(view, shown, _MOVES[key])].bed)
    if key == "o":
        return replace(view, overview=not is_overview(view, shown))
    if key in "\r\n" and shown.beds:
        return replace(view, bed=shown.beds[chosen(view, shown)].bed, overview=False)
    if key in _GAINS and shown.beds:
        now = window_of(view, shown.beds[chosen(view, shown)]).height
        return replace(view, height_mv=_step(HEIGHTS_MV, now, _GAINS[key]))
    if key in _TIMES:
        return replace(view, seconds=int(_step(SECONDS, seconds_across(view), _TIMES[key])))
    return replace(view, height_mv=None, seconds=None) if key == "a" else view


def _moved(view: View, shown: Snapshot, by: int) -> int:
    """Index of the next bed: one by one around the end, by pages up to it."""
    index = chosen(view, shown) + by
    return index % len(shown.beds) if abs(by) == 1 else min(max(index, 0), len(shown.beds) - 1)


def _step(steps: Sequence[float], now: float, by: int) -> float:
    nearest = min(range(len(steps)), key=lambda i: abs(steps[i] - now))
    return steps[min(max(nearest + by, 0), len(steps) - 1)]
