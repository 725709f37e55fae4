"""The keys of the limits page."""

from dataclasses import replace

from agent.core.views import BedSummary, WardSnapshot
from agent.dashboard.key_codes import (
    DOWN_KEYS,
    ENTER_KEYS,
    ERASE_KEYS,
    ESCAPE_KEY,
    FIRST_KEYS,
    LAST_KEYS,
    LEFT_KEYS,
    PAGE_STEPS,
    RIGHT_KEYS,
    UP_KEYS,
)
from agent.dashboard.limits_draft import ROWS, LimitsDraft, erase_row, move_row, step_row, toggle_row, type_label
from agent.dashboard.lines import short_name
from agent.dashboard.view import BedAction, DashboardView

_MOVES = dict.fromkeys((*UP_KEYS, "\x1b[Z"), -1) | dict.fromkeys((*DOWN_KEYS, "\t"), 1)
_MOVES |= {key: 5 * step for key, step in PAGE_STEPS.items()}
_MOVES |= dict.fromkeys(FIRST_KEYS, -len(ROWS)) | dict.fromkeys(LAST_KEYS, len(ROWS))
_STEPS = dict.fromkeys(("+", "=", *RIGHT_KEYS), 1) | dict.fromkeys(("-", "_", *LEFT_KEYS), -1)


def open_limits(view: DashboardView, bed: BedSummary) -> DashboardView:
    """Return the view with the limits page of a bed."""
    return replace(view, page="limits", draft=LimitsDraft(bed.bed, bed.settings, bed.settings))


def is_typing(view: DashboardView) -> bool:
    """Return whether characters belong to a label."""
    return view.draft is not None and view.draft.is_label


def press_limits_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key of the limits page."""
    draft, base = view.draft, shown.base_limits
    if draft is None or base is None:
        return _leave(view, "")
    if key in ENTER_KEYS:
        return _apply(view, draft)
    if key == ESCAPE_KEY or (key in ("q", "Q", "l") and not draft.is_label):
        note = f"{short_name(draft.bed, view.ascii)} left as it was"
        return _leave(view, note if draft.settings != draft.before else "")
    if key in _MOVES:
        return replace(view, draft=move_row(draft, _MOVES[key]))
    try:
        if key in ERASE_KEYS:
            return replace(view, draft=erase_row(draft, base))
        if draft.is_label and len(key) == 1:
            return replace(view, draft=type_label(draft, key))
        if key == " ":
            return replace(view, draft=toggle_row(draft))
        return replace(view, draft=step_row(draft, _STEPS[key], base)) if key in _STEPS else view
    except ValueError as error:
        return replace(view, note=str(error))


def _apply(view: DashboardView, draft: LimitsDraft) -> DashboardView:
    """Return the view without the page; what was changed is to be done."""
    if draft.settings == draft.before:
        return _leave(view, "")
    action = BedAction("settings", draft.bed, draft.settings)
    note = f"{short_name(draft.bed, view.ascii)} has these limits now"
    return _leave(replace(view, actions=(*view.actions, action)), note)


def _leave(view: DashboardView, note: str) -> DashboardView:
    return replace(view, page="beds", draft=None, note=note)
