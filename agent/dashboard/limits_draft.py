"""The limits of a bed while a person changes them: rows, and what a key makes of one."""

from dataclasses import dataclass, replace
from typing import Any

from agent.core.alarm_settings import AlarmConfig
from agent.core.bed_settings import (
    LONGEST_LABEL,
    SWITCHABLE_CONDITIONS,
    BedSettings,
    SwitchableCondition,
    check_settings,
    rate_limit_bounds,
)

LABELS = ("patient", "place")


@dataclass(frozen=True, slots=True)
class LimitKind:
    """A limit: its words, its unit, by how much a key changes it, and its words where there is little room."""

    name: str
    words: str
    unit: str
    step: float
    short: str


LIMITS = (
    LimitKind("rate_high_bpm", "heart rate above", "/min", 5, "rate above"),
    LimitKind("rate_low_bpm", "heart rate below", "/min", 5, "rate below"),
    LimitKind("pause_s", "pause longer than", "s", 0.25, "pause"),
    LimitKind("asystole_s", "asystole after", "s", 0.5, "asystole"),
    LimitKind("v_most_per_min", "V beats above", "/min", 1, "V beats"),
)
ROWS: tuple[str | LimitKind, ...] = (*LABELS, *LIMITS, *SWITCHABLE_CONDITIONS)
"""What a row is about: a label, a limit, or a condition that may be off."""


@dataclass(frozen=True, slots=True)
class LimitsDraft:
    """Settings of a bed that are being changed, what they were `before`, and the chosen row."""

    bed: str
    settings: BedSettings
    before: BedSettings
    row: int = len(LABELS)

    @property
    def is_label(self) -> bool:
        """Whether the chosen row is a text to type."""
        return self.row < len(LABELS)


def move_row(draft: LimitsDraft, by: int) -> LimitsDraft:
    """Return the draft with another row chosen; it stops at the first and the last."""
    return replace(draft, row=min(max(draft.row + by, 0), len(ROWS) - 1))


def step_row(draft: LimitsDraft, by: int, base: AlarmConfig) -> LimitsDraft:
    """Return the draft with the chosen limit one step on, or the chosen alarm off (-1) or on (1).

    Raises ValueError, which says why, if that may not be.
    """
    kind = ROWS[draft.row]
    if isinstance(kind, LimitKind):
        own = getattr(draft.settings, kind.name)
        now = getattr(base, kind.name) if own is None else own
        value = _within_bounds(kind.name, now, now + by * kind.step, base)
        return _change(draft, base, **{kind.name: round(value) if kind.name == "v_most_per_min" else value})
    return draft if draft.is_label else _switch(draft, kind, by > 0)


def _within_bounds(name: str, now: float, value: float, base: AlarmConfig) -> float:
    """Return the value of a limit, or the bound before it that a step would cross."""
    bound = rate_limit_bounds(base).get(name)
    return bound if bound is not None and min(now, value) < bound < max(now, value) else value


def toggle_row(draft: LimitsDraft) -> LimitsDraft:
    """Return the draft with the chosen alarm off if it was on, and on if it was off."""
    kind = ROWS[draft.row]
    if isinstance(kind, LimitKind) or draft.is_label:
        return draft
    return _switch(draft, kind, kind in draft.settings.off)


def erase_row(draft: LimitsDraft, base: AlarmConfig) -> LimitsDraft:
    """Return the draft without the last character of a label, with the limit of all beds, or with the alarm on."""
    kind = ROWS[draft.row]
    if isinstance(kind, LimitKind):
        return _change(draft, base, **{kind.name: None})
    if draft.is_label:
        return replace(draft, settings=_with(draft.settings, **{kind: getattr(draft.settings, kind)[:-1]}))
    return _switch(draft, kind, True)


def type_label(draft: LimitsDraft, key: str) -> LimitsDraft:
    """Return the draft with a character more in its label. Raises ValueError if it cannot be shown or has no room."""
    kind = ROWS[draft.row]
    text = getattr(draft.settings, str(kind)) + key
    if len(text) > LONGEST_LABEL:
        raise ValueError(f"a label has {LONGEST_LABEL} characters at most")
    return replace(draft, settings=_with(draft.settings, **{str(kind): text}))


def _with(settings: BedSettings, **values: Any) -> BedSettings:
    return replace(settings, **values)


def _change(draft: LimitsDraft, base: AlarmConfig, **values: Any) -> LimitsDraft:
    settings = _with(draft.settings, **values)
    check_settings(settings, base)
    return replace(draft, settings=settings)


def _switch(draft: LimitsDraft, condition: str, on: bool) -> LimitsDraft:
    """Return the draft with the alarm of a condition on or off; those that are off in the order of the rows."""
    off: tuple[SwitchableCondition, ...] = tuple(
        name for name in SWITCHABLE_CONDITIONS if (not on if name == condition else name in draft.settings.off)
    )
    return replace(draft, settings=_with(draft.settings, off=off))
