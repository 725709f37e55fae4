"""One alarm of a bed, told by several monitors: each finds its onset by itself, and may be gone before its end."""

from collections.abc import Sequence

import msgspec

from agent.store.store_database import StoreDatabase
from agent.store.store_messages import AlarmTold, StandingTold
from model.records.resample import FS

KNOWN_LATE_SAMPLES = 2 * FS
"""An alarm that a monitor has not found this long after another one announced it is not there for it."""
_NEAR = "SELECT condition, onset, ended FROM alarms WHERE bed = ? AND run = ? AND (ended IS NULL OR ended > ?)"
_OPEN = "SELECT bed, run, condition, onset, announced FROM alarms WHERE ended IS NULL ORDER BY onset"
_END = "UPDATE alarms SET ended = ? WHERE bed = ? AND run = ? AND condition = ? AND onset = ? AND ended IS NULL"


def match_alarms(database: StoreDatabase, alarms: Sequence[AlarmTold]) -> list[AlarmTold]:
    """Return alarms under the onsets that the store has them by: two of a condition that overlap are the same one."""
    matched: list[AlarmTold] = []
    by_run: dict[tuple[str, str], list[AlarmTold]] = {}
    for alarm in alarms:
        by_run.setdefault((alarm.bed, alarm.run), []).append(alarm)
    for place, of_run in by_run.items():
        rows = database.read(_NEAR, (*place, min(alarm.onset for alarm in of_run)))
        known = {(condition, onset): ended for condition, onset, ended in rows}
        for alarm in sorted(of_run, key=lambda alarm: alarm.onset):
            onset = alarm.onset if (alarm.condition, alarm.onset) in known else _overlapping_onset(alarm, known)
            known[alarm.condition, onset] = alarm.ended
            matched.append(_with_onset(alarm, onset))
    return matched


def end_forgotten_alarms(database: StoreDatabase, standing: Sequence[StandingTold]) -> None:
    """End what stands in the store and not for the monitor that speaks for the bed: whoever told it has gone."""
    told = {of_bed.bed: of_bed for of_bed in standing}
    seen: dict[tuple[str, str, str], int] = {}
    ended: list[tuple[int, str, str, str, int]] = []
    for bed, run, condition, onset, announced in reversed(database.read(_OPEN) if told else []):
        of_bed = told.get(bed)
        if of_bed is None:
            continue
        later = seen.get((bed, run, condition))
        seen[bed, run, condition] = onset
        if later is not None:  # a monitor has one alarm of a condition at a time
            ended.append((later, bed, run, condition, onset))
        elif run != of_bed.run:
            ended.append((announced, bed, run, condition, onset))
        elif condition not in of_bed.conditions and announced + KNOWN_LATE_SAMPLES <= of_bed.sample:
            ended.append((of_bed.sample, bed, run, condition, onset))
    database.write(_END, ended)


def _with_onset(alarm: AlarmTold, onset: int) -> AlarmTold:
    """Return an alarm under another onset, and the time of that."""
    if onset == alarm.onset:
        return alarm
    onset_s = None if alarm.onset_s is None else alarm.onset_s + (onset - alarm.onset) / FS
    return msgspec.structs.replace(alarm, onset=onset, onset_s=onset_s)


def _overlapping_onset(alarm: AlarmTold, known: dict[tuple[str, int], int | None]) -> int:
    """Return the latest onset of a known alarm of this condition that overlaps with it; its own if there is none."""
    return max(
        (
            onset
            for (condition, onset), ended in known.items()
            if condition == alarm.condition
            and (alarm.ended is None or onset < alarm.ended)
            and (ended is None or ended > alarm.onset)
        ),
        default=alarm.onset,
    )
