"""What may be set of one bed: who lies there and where, its alarm limits, and alarms that are off.

From `[bed.NAME]` of the configuration, changed on the dashboard, and kept by a recording. A limit that is None is that
of `[alarms]`.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

import msgspec

from agent.core.alarm_settings import AlarmConfig

SwitchableCondition = Literal[
    "V run",
    "heart rate high",
    "heart rate low",
    "pause",
    "atrial fibrillation",
    "couplet",
    "R-on-T",
    "bigeminy",
    "trigeminy",
    "V rate high",
]
"""Conditions whose alarm may be off for a bed: those of the heart of medium and low priority.

Those of high priority are a matter of life; they can only be paused, which ends by itself. Without a technical one the
monitor would be blind, and all other alarms off, without a word.
"""
SWITCHABLE_CONDITIONS: tuple[SwitchableCondition, ...] = get_args(SwitchableCondition)
LONGEST_LABEL = 64

JOINERS = {ord(character): None for character in "\u200c\u200d"}
"""Characters between those of a word or a picture, which say only how they are joined: a label goes without them."""

BedLabel = Annotated[str, msgspec.Meta(max_length=LONGEST_LABEL)]


@dataclass(frozen=True, slots=True)
class BedSettings:
    """Labels, limits and alarms that are off of one bed.

    `asystole_s`: up to 8 s, since an alarm of asystole is to come within 10 s of the last beat (IEC 60601-2-27).
    """

    patient: BedLabel = ""
    place: BedLabel = ""
    rate_low_bpm: Annotated[float, msgspec.Meta(ge=15, le=250)] | None = None
    rate_high_bpm: Annotated[float, msgspec.Meta(ge=30, le=350)] | None = None
    pause_s: Annotated[float, msgspec.Meta(ge=1, le=8)] | None = None
    asystole_s: Annotated[float, msgspec.Meta(ge=2, le=8)] | None = None
    v_most_per_min: Annotated[int, msgspec.Meta(ge=2, le=200)] | None = None
    off: tuple[SwitchableCondition, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a label that would not be seen as it is, or a condition that is named twice."""
        for name in ("patient", "place"):
            label = getattr(self, name)
            if not label.isprintable():
                object.__setattr__(self, name, label.translate(JOINERS))
            if not getattr(self, name).isprintable():
                raise ValueError(f"{name} has characters that cannot be shown")
        if len(set(self.off)) < len(self.off):
            raise ValueError("off names a condition twice")


NO_SETTINGS = BedSettings()
"""A bed of which nothing is set."""
LIMIT_NAMES = ("rate_low_bpm", "rate_high_bpm", "pause_s", "asystole_s", "v_most_per_min")
"""The limits that a bed may have of its own, as `[alarms]` calls them, too."""

EVENT_WORDS = {
    "rate_low_bpm": "rate below {:g}",
    "rate_high_bpm": "rate above {:g}",
    "pause_s": "pause longer than {:g} s",
    "asystole_s": "asystole after {:g} s",
    "v_most_per_min": "V beats above {:g} a minute",
}
"""Limits in words, each with its value."""


def rate_limit_bounds(alarms: AlarmConfig) -> dict[str, float]:
    """Return how far a bed's limits of the heart rate may go.

    Extreme rates are alarmed beyond these limits only, and must never be out of reach of their alarm.
    """
    return {"rate_low_bpm": alarms.extreme_least_bpm, "rate_high_bpm": alarms.extreme_most_bpm}


def _check_rate_bounds(settings: BedSettings, alarms: AlarmConfig) -> None:
    """Raise ValueError for a limit of the bed's own behind which an extreme rate would have no alarm."""
    bounds = rate_limit_bounds(alarms)
    low, high = settings.rate_low_bpm, settings.rate_high_bpm
    if low is not None and low < (least := bounds["rate_low_bpm"]):
        raise ValueError(f"rate_low_bpm must be {least:g} or more: extreme bradycardia is alarmed below {least:g}")
    if high is not None and high > (most := bounds["rate_high_bpm"]):
        raise ValueError(f"rate_high_bpm must be {most:g} or less: extreme tachycardia is alarmed above {most:g}")


def limits_in_force(settings: BedSettings, alarms: AlarmConfig) -> AlarmConfig:
    """Return the settings of the rules of a bed. Raises ValueError, which names the keys, if its limits contradict,
    or put an extreme heart rate out of reach of its alarm.

    What hangs on a limit follows it: the extreme heart rates, and `v_end_per_min` in its share of `v_most_per_min`.
    """
    own: dict[str, Any] = {name: value for name in LIMIT_NAMES if (value := getattr(settings, name)) is not None}
    if not own:
        return alarms
    _check_rate_bounds(settings, alarms)
    if settings.v_most_per_min is not None:
        own["v_end_per_min"] = settings.v_most_per_min * alarms.v_end_per_min // alarms.v_most_per_min
    limits = replace(alarms, **own)
    if limits.rate_low_bpm >= limits.rate_high_bpm:
        raise ValueError("rate_low_bpm must be less than rate_high_bpm")
    return limits


def check_settings(settings: BedSettings, alarms: AlarmConfig) -> None:
    """Raise ValueError, which names the key, unless these settings make sense beside those of `[alarms]`."""
    try:
        msgspec.convert(msgspec.to_builtins(settings), BedSettings)
    except msgspec.ValidationError as error:
        reason, _, key = str(error).partition(" - at `$.")
        raise ValueError(f"{key.rstrip('`')}: {reason}" if key else reason) from error
    limits_in_force(settings, alarms)


def without_limits(settings: BedSettings) -> BedSettings:
    """Return settings with the limits of all beds."""
    none: dict[str, Any] = dict.fromkeys(LIMIT_NAMES)
    return replace(settings, **none)


def settings_words(settings: BedSettings) -> str:
    """Say what is set of a bed, in one line; "" if nothing is."""
    words = [getattr(settings, name) for name in ("patient", "place") if getattr(settings, name)]
    words += [EVENT_WORDS[name].format(value) for name in LIMIT_NAMES if (value := getattr(settings, name)) is not None]
    words += [f"alarm off: {', '.join(settings.off)}"] if settings.off else []
    return ", ".join(words)
