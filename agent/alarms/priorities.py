"""The alarm conditions, the worst first, and the chains in which a worse one hides others."""

from dataclasses import dataclass

from agent.core.messages import AlarmCondition, Priority


@dataclass(frozen=True, slots=True)
class ConditionSpec:
    """What kind of condition it is.

    `technical`: of the signal, not of the heart. `moment`: it happens rather than lasts, so it is shown for a while,
    and not announced late, when a worse condition is over. `rhythm`: the name of the rhythm, if it is one.
    """

    priority: Priority
    technical: bool = False
    moment: bool = False
    rhythm: str = ""


CONDITION_SPECS: dict[AlarmCondition, ConditionSpec] = {
    "ventricular fibrillation": ConditionSpec("high", rhythm="VF"),
    "asystole": ConditionSpec("high", rhythm="asystole"),
    "ventricular tachycardia": ConditionSpec("high", rhythm="VT"),
    "extreme tachycardia": ConditionSpec("high"),
    "extreme bradycardia": ConditionSpec("high"),
    "V run": ConditionSpec("medium", moment=True),
    "heart rate high": ConditionSpec("medium"),
    "heart rate low": ConditionSpec("medium"),
    "pause": ConditionSpec("medium", moment=True),
    "atrial fibrillation": ConditionSpec("medium", rhythm="AF"),
    "no data": ConditionSpec("medium", technical=True),
    "two devices": ConditionSpec("medium", technical=True),
    "lead off": ConditionSpec("medium", technical=True),
    "saturated": ConditionSpec("medium", technical=True),
    "noise": ConditionSpec("medium", technical=True),
    "couplet": ConditionSpec("low", moment=True),
    "R-on-T": ConditionSpec("low", moment=True),
    "bigeminy": ConditionSpec("low", rhythm="bigeminy"),
    "trigeminy": ConditionSpec("low", rhythm="trigeminy"),
    "V rate high": ConditionSpec("low"),
    "gaps": ConditionSpec("low", technical=True),
}
"""In the order of the screen."""

ConditionChain = tuple[tuple[AlarmCondition, ...], ...]
RATE_CHAIN: ConditionChain = (
    ("asystole", "ventricular fibrillation"),
    ("ventricular tachycardia",),
    ("extreme tachycardia", "extreme bradycardia"),
    ("heart rate high", "heart rate low", "pause"),
)
ECTOPY_CHAIN: ConditionChain = (
    ("ventricular fibrillation",),
    ("ventricular tachycardia",),
    ("V run",),
    ("couplet",),
    ("R-on-T", "bigeminy", "trigeminy", "V rate high"),
)
NOISE_PROOF: frozenset[AlarmCondition] = frozenset(("asystole", "ventricular fibrillation", "ventricular tachycardia"))
"""Conditions that the waveform classifier may announce while noise suspends the others."""


def _worse_conditions(condition: AlarmCondition) -> frozenset[AlarmCondition]:
    """Return the conditions above a condition in its chains."""
    above: set[AlarmCondition] = set()
    for chain in (RATE_CHAIN, ECTOPY_CHAIN):
        for place, link in enumerate(chain):
            if condition in link:
                above.update(*chain[:place])
    return frozenset(above)


WORSE_CONDITIONS: dict[AlarmCondition, frozenset[AlarmCondition]] = {
    condition: _worse_conditions(condition) for condition in CONDITION_SPECS
}
SCREEN_ORDER: dict[AlarmCondition, int] = {condition: place for place, condition in enumerate(CONDITION_SPECS)}
PRIORITY_RANK: dict[Priority, int] = {"high": 3, "medium": 2, "low": 1}
