"""The names of the alarm conditions: one long and one short form of each, the same on every screen, page and message.

The long form is the condition itself. docs/alarms.md shows both.
"""

from collections.abc import Mapping

from agent.core.messages import AlarmCondition

SHORT_CONDITIONS: dict[AlarmCondition, str] = {
    "asystole": "ASYSTOLE",
    "ventricular fibrillation": "VF",
    "ventricular tachycardia": "VT",
    "extreme tachycardia": "TACHY",
    "extreme bradycardia": "BRADY",
    "heart rate high": "HR HIGH",
    "heart rate low": "HR LOW",
    "V run": "V RUN",
    "pause": "PAUSE",
    "atrial fibrillation": "AF",
    "couplet": "COUPLET",
    "bigeminy": "BIGEMINY",
    "trigeminy": "TRIGEMINY",
    "R-on-T": "R-ON-T",
    "V rate high": "V RATE",
    "no data": "NO DATA",
    "two devices": "TWO DEV",
    "gaps": "GAPS",
    "lead off": "LEAD OFF",
    "saturated": "SATURATED",
    "noise": "NOISE",
}
"""Each condition in at most nine letters, an abbreviation of its name."""
TECHNICAL_CONDITIONS: frozenset[AlarmCondition] = frozenset(
    ("no data", "two devices", "gaps", "lead off", "saturated", "noise")
)
"""Conditions of device and signal; all others are of the heart."""


def short_condition(condition: str) -> str:
    """Return the short form of a condition; one that is not known, as of a later version, in capitals.

    >>> short_condition("ventricular tachycardia")
    'VT'
    """
    names: Mapping[str, str] = SHORT_CONDITIONS  # type: ignore[assignment]  # any text may be asked for
    return names.get(condition, condition.upper())
