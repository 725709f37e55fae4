"""The keys while a person types the name of a bed."""

from collections.abc import Sequence
from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.key_codes import ENTER_KEYS, ERASE_KEYS, ESCAPE_KEY
from agent.dashboard.view import DashboardView

LONGEST_NAME = 40
"""Most characters of a name that is searched."""


def press_find_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key while the user types a name; choose the first bed that matches at once."""
    typed = view.typed or ""
    if key in ENTER_KEYS:
        return replace(view, typed=None)
    if key == ESCAPE_KEY:
        return replace(view, typed=None, bed=view.searched_from)
    if key in ERASE_KEYS:
        typed = typed[:-1]
    elif key.isprintable() and len(typed) < LONGEST_NAME:
        typed += key
    else:
        return view
    matches = match_bed_names(typed, [bed.bed for bed in shown.index])
    return replace(view, typed=typed, bed=matches[0] if matches else view.searched_from)


def match_bed_names(typed: str, names: Sequence[str]) -> list[str]:
    """Return the names that contain a text, exact matches first, then those that begin or end with it."""
    text = typed.casefold()
    if not text:
        return []
    folded = [(name.casefold(), name) for name in names]
    ranked = [(key == text, key.startswith(text), key.endswith(text), name) for key, name in folded if text in key]
    return [name for *_, name in sorted(ranked, key=lambda match: match[:3], reverse=True)]
