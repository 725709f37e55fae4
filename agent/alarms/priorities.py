"""The conditions that are alarmed, the worst first, and which of them hide which."""

from dataclasses import dataclass

from agent.core.messages import Condition, Priority


@dataclass(frozen=True, slots=True)
class Kind:
    """What a condition is.

    `technical`: of the signal, not of the heart. `moment`: it happens rather than lasts, so it is shown for a while and
    is not made up for once a worse condition is over. `rhythm`: its name where it is a rhythm.
    """

    priority: Priority
    technical: bool = False
    moment: bool = False
    rhythm: str = ""


KINDS: dict[Condition, Kind] = {
    "ventricular fibrillation": Kind("high", rhythm="VF"),
    "asystole": Kind("high", rhythm="asystole"),
    "ventricular tachycardia": Kind("high", rhythm="VT"),
    "extreme tachycardia": Kind("high"),
    "extreme bradycardia": Kind("high"),
    "V run": Kind("medium", moment=True),
    "heart rate high": Kind("medium"),
    "heart rate low": Kind("medium"),
    "pause": Kind("medium", moment=True),
    "atrial fibrillation": Kind("medium", rhythm="AF"),
    "no data": Kind("medium", technical=True),
    "lead off": Kind("medium", technical=True),
    "saturated": Kind("medium", technical=True),
    "noise": Kind("medium", technical=True),
    "couplet": Kind("low", moment=True),
    "R-on-T": Kind("low", moment=True),
    "bigeminy": Kind("low", rhythm="bigeminy"),
    "trigeminy": Kind("low", rhythm="trigeminy"),
    "V rate high": Kind("low"),
    "gaps": Kind("low", technical=True),
}
"""In the order in which alarms stand on the screen."""

Chain = tuple[tuple[Condition, ...], ...]
RATE: Chain = (
    ("asystole", "ventricular fibrillation"),
    ("ventricular tachycardia",),
    ("extreme tachycardia", "extreme bradycardia"),
    ("heart rate high", "heart rate low", "pause"),
)
ECTOPY: Chain = (
    ("ventricular fibrillation",),
    ("ventricular tachycardia",),
    ("V run",),
    ("couplet",),
    ("R-on-T", "bigeminy", "trigeminy", "V rate high"),
)
SURE: frozenset[Condition] = frozenset(("asystole", "ventricular fibrillation", "ventricular tachycardia"))
"""Conditions that the judge of the waveform may announce while noise suspends the others."""


def _worse(condition: Condition) -> frozenset[Condition]:
    """What stands above a condition in its chains."""
    above: set[Condition] = set()
    for chain in (RATE, ECTOPY):
        for place, link in enumerate(chain):
            if condition in link:
                above.update(*chain[:place])
    return frozenset(above)


WORSE: dict[Condition, frozenset[Condition]] = {condition: _worse(condition) for condition in KINDS}
ORDER: dict[Condition, int] = {condition: place for place, condition in enumerate(KINDS)}
RANK: dict[Priority, int] = {"high": 3, "medium": 2, "low": 1}
