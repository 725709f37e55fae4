"""Which alarms of a bed are shown, in which order, how urgent the bed is, and what its rhythm is called."""

from collections.abc import Collection, Iterable, Sequence

from agent.alarms.priorities import CONDITION_SPECS, PRIORITY_RANK, SCREEN_ORDER, WORSE_CONDITIONS
from agent.core.messages import Alarm, AlarmCondition, Priority


def order_alarms(
    latched: Iterable[Alarm], standing: Iterable[Alarm], conditions: Collection[AlarmCondition]
) -> tuple[Alarm, ...]:
    """Return the alarms to be shown, the most urgent first: one a condition, and none below a worse one of its chain.

    `latched` are over and wait for a person, the latest last; `conditions` hold now.
    """
    shown = {alarm.condition: alarm for alarm in latched}
    shown |= {alarm.condition: alarm for alarm in standing if WORSE_CONDITIONS[alarm.condition].isdisjoint(conditions)}
    return tuple(
        sorted(shown.values(), key=lambda alarm: (-alarm_urgency(alarm), SCREEN_ORDER[alarm.condition])),
    )


def alarm_urgency(alarm: Alarm) -> int:
    """Rank an alarm: by priority, then unacknowledged, then active, then the heart before the signal."""
    unseen, active = alarm.acknowledged_s is None, alarm.ended is None
    return (
        8 * PRIORITY_RANK[alarm.priority] + 4 * unseen + 2 * active + (not CONDITION_SPECS[alarm.condition].technical)
    )


def loudest_priority(shown: Sequence[Alarm]) -> Priority | None:
    """Return the priority of the most urgent alarm that nobody has acknowledged."""
    return next((alarm.priority for alarm in shown if alarm.acknowledged_s is None), None)


def alarmed_rhythm(conditions: Collection[AlarmCondition]) -> str:
    """Return the name of the rhythm that holds now, such as "AF" or "bigeminy", "" if none is alarmed."""
    names = (CONDITION_SPECS[name].rhythm for name in CONDITION_SPECS if name in conditions)
    return next((rhythm for rhythm in names if rhythm), "")
