"""The beds of a fleet as views see them, made of what a store tells: the same data that a monitor makes of its own."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from agent.alarms.alarm_order import alarm_urgency, alarmed_rhythm, loudest_priority, order_alarms
from agent.alarms.bed_rules import ARRESTS
from agent.core.alarm_times import believed_start_s
from agent.core.bed_settings import NO_SETTINGS
from agent.core.messages import PRIORITIES, Alarm, AlarmCondition, Beat, Ledger
from agent.core.sample_index import nearest_index_at_125_hz
from agent.core.views import BedStatus, BedSummary, BedView, FleetBed, FleetReplica, RhythmSummary
from agent.monitor.snapshot import CALM_URGENCY, WAVE_SAMPLES
from agent.store.fleet_deeds import FleetDeeds
from agent.store.store_messages import NOTHING_TOLD, BeatTold, WardBed, WardReply
from agent.store.store_reader import told_alarm
from model.records.resample import FS
from model.text import make_printable

ALONE_URGENCY = 22
"""That of a bed without a monitor: as of one whose data do not come, which has an alarm of medium priority."""
TELLING_S = 1.0
"""By how much beats may be told later than their samples."""
UNTOLD_S = 3.0
"""Samples are told once a second: after this time without any there are none, or they wait for something."""
NO_WAVE = np.full(WAVE_SAMPLES, np.nan, np.float32)
NO_WAVE.setflags(write=False)
NO_RATE_CONDITIONS: frozenset[str] = ARRESTS | {"noise"}
"""Conditions in which no heart rate is shown."""
SIGNAL_STATES: Mapping[AlarmCondition, BedStatus] = {
    "no data": "no data",
    "lead off": "lead off",
    "saturated": "saturated",
}
"""Technical alarms that say what the state of a bed is."""
_probabilities = msgspec.json.Decoder(tuple[float, ...])


class FleetBeds:
    """The beds of one reply of a store. `offset_s`: our clock minus that of the store."""

    def __init__(
        self, reply: WardReply, deeds: FleetDeeds, offset_s: float, standstill_s: float, is_away: bool
    ) -> None:
        """`is_away`: the store does not answer any more, and the reply is old.

        `standstill_s`: time without a beat after which no heart rate is shown.
        """
        self._deeds, self._offset_s, self._standstill_s, self._is_away = deeds, offset_s, standstill_s, is_away
        self._made_s = reply.now_s
        self._beds = {bed.bed: bed for bed in reply.beds}
        self._latest_beats = {bed.bed: tuple(map(_told_beat, reversed(bed.beats))) for bed in reply.in_full}
        self._replicas = {
            of.name: FleetReplica(make_printable(of.name), make_printable(of.host), of.pid, of.is_alive, of.silent_s)
            for of in reply.replicas
        }
        self._run_starts = _find_run_starts(reply)
        self._alarms: dict[str, list[Alarm]] = defaultdict(list)
        for row in reply.alarms:
            self._alarms[row.bed].append(told_alarm(row))
        self._shown = {bed: self._show_alarms(alarms) for bed, alarms in self._alarms.items()}
        latest = {bed.bed: map(told_alarm, bed.alarms) for bed in reply.in_full}
        self._latest_alarms = {
            bed: tuple(sorted(alarms, key=self.onset_s, reverse=True)) for bed, alarms in latest.items()
        }

    def __contains__(self, bed: str) -> bool:
        return bed in self._beds

    @property
    def names(self) -> Iterable[str]:
        """All beds, by name."""
        return self._beds

    def alarms(self, bed: str) -> tuple[Alarm, ...]:
        """Return the alarms of a bed that are shown, the most urgent first."""
        return self._shown.get(bed, ())

    def all_alarms(self, bed: str) -> list[Alarm]:
        """Return all alarms of a bed that stand or wait for a person, shown or behind a worse one."""
        return self._alarms.get(bed, [])

    def latest_alarms(self, bed: str) -> tuple[Alarm, ...]:
        """Return the latest alarms of a bed that is looked at, the newest first."""
        return self._latest_alarms.get(bed, ())

    def onset_s(self, alarm: Alarm) -> float:
        """Return the Unix time at which an alarm began, by the clock of its run as far as the store knows it."""
        start_s = self._run_starts.get(alarm.bed, {}).get(alarm.run)
        return believed_start_s(alarm, alarm.onset, None if start_s is None else start_s + alarm.onset / FS)

    def counts(self, bed: str) -> tuple[int, ...]:
        """Return the beats of a bed in the order of CLASSES."""
        return tuple(self._beds[bed].counts)

    def ledger(self, bed: str) -> Ledger:
        """Return the samples of a bed over all its runs."""
        of = self._beds[bed]
        return Ledger(of.sent, of.analysed, of.missing)

    def state(self, bed: str) -> BedStatus:
        """Return what a person should know first of a bed."""
        of = self._beds[bed]
        if self._is_away:
            return "store away"
        if of.ended:
            return "ended"
        listening = [hears for name, hears in of.listening if name in self._replicas and self._replicas[name].is_alive]
        if not listening:
            return "no monitor"
        if not any(listening) and self._untold_s(of) > UNTOLD_S:
            return "no data"
        standing = {alarm.condition for alarm in self._alarms.get(bed, ()) if alarm.ended is None}
        said = (state for condition, state in SIGNAL_STATES.items() if condition in standing)
        return next(said, "ok" if of.run else "learning")

    def behind_s(self, bed: str) -> float:
        """Return for how long nothing was told of a bed to which somebody listens; 0 while that is usual."""
        untold_s = self._untold_s(self._beds[bed])
        return untold_s if untold_s > UNTOLD_S and self.state(bed) == "ok" else 0.0

    def heart_rate(self, bed: str) -> float | None:
        """Return that of the latest beat; None if there is none, long after it, and where it is not to be believed."""
        of = self._beds[bed]
        late = self._head(of) - of.told > (self._standstill_s + TELLING_S) * FS
        return None if of.told == NOTHING_TOLD or late or self._is_suspended(bed) else of.heart_rate

    def listeners(self, bed: str) -> int:
        """Return how many monitors that are alive listen to a bed."""
        return self._place(self._beds[bed]).alive

    def summary(self, bed: str, now_s: float) -> BedSummary:
        """Return a bed in short."""
        shown, state = self.alarms(bed), self.state(bed)
        silenced_s, paused_s = self._deeds.silenced_until_s(bed, shown), self._deeds.paused_until_s(bed)
        urgency = alarm_urgency(shown[0]) if shown else CALM_URGENCY.get(state, 0)
        silenced, paused = silenced_s > now_s, paused_s > now_s
        return BedSummary(
            bed,
            state,
            max(urgency, ALONE_URGENCY) if state == "no monitor" else urgency,
            shown[0].priority if shown else None,
            None if silenced or paused else loudest_priority(shown),
            silenced,
            self.behind_s(bed),
            paused_until_s=paused_s if paused else 0.0,
            settings=self._deeds.settings.get(bed, NO_SETTINGS),
            standing=min((of.priority for of in shown if of.ended is None), key=PRIORITIES.index, default=None),
        )

    def view(self, bed: str, now_s: float) -> BedView:
        """Return a bed in full, as far as the store knows it."""
        of, shown = self._beds[bed], self.alarms(bed)
        beats = tuple(beat for beat in self._latest_beats.get(bed, ()) if beat.run == of.run)
        latest_rr_s = beats[-1].rr_s if beats else None
        rhythm = RhythmSummary(
            self.heart_rate(bed), None if latest_rr_s is None else 1000 * latest_rr_s, None, None, self.counts(bed)
        )
        paused_s = self._deeds.paused_until_s(bed)
        return BedView(
            bed=bed,
            lead="",
            state=self.state(bed),
            wave=NO_WAVE,
            head=self._head(of),
            beats=beats,
            rhythm=rhythm,
            gaps=0,
            missing=round(of.missing * FS / of.fs) if of.fs else 0,
            latency=None,
            ledger=self.ledger(bed),
            behind_s=self.behind_s(bed),
            alarms=shown,
            silenced_until_s=self._deeds.silenced_until_s(bed, shown),
            suspended=self._is_suspended(bed),
            rhythm_name=alarmed_rhythm({alarm.condition for alarm in self.all_alarms(bed) if alarm.ended is None}),
            last_alarms=self.latest_alarms(bed) or shown,
            run=of.run,
            arrived_s=of.seen_s + self._offset_s if of.run else 0.0,
            paused_until_s=paused_s if paused_s > now_s else 0.0,
            settings=self._deeds.settings.get(bed, NO_SETTINGS),
            fleet=self._place(of),
            run_starts=tuple(self._run_starts.get(bed, {}).items()),
        )

    def _untold_s(self, of: WardBed) -> float:
        """Return for how long nothing of a bed was told when the reply was made."""
        return self._made_s - of.seen_s

    def _place(self, of: WardBed) -> FleetBed:
        known = ((self._replicas.get(name), hears) for name, hears in of.listening)
        replicas = tuple(replica._replace(hears=hears) for replica, hears in known if replica)
        speaker = self._replicas.get(of.speaker)
        told_s = 0.0 if of.told == NOTHING_TOLD else of.told / FS
        return FleetBed(speaker.name if speaker and speaker.is_alive else "", replicas, of.runs, told_s)

    def _is_suspended(self, bed: str) -> bool:
        return any(of.ended is None and of.condition in NO_RATE_CONDITIONS for of in self._alarms.get(bed, ()))

    def _head(self, of: WardBed) -> int:
        return nearest_index_at_125_hz(of.next, of.fs) if of.fs else 0

    def _show_alarms(self, alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
        over = sorted((alarm for alarm in alarms if alarm.ended is not None), key=self.onset_s)
        standing = [alarm for alarm in alarms if alarm.ended is None]
        return order_alarms(over, standing, {alarm.condition for alarm in standing})


def _find_run_starts(reply: WardReply) -> dict[str, dict[str, float]]:
    """Return by bed and run the Unix time of sample 0, as the latest alarm of the run has it."""
    rows = [*reply.alarms, *(row for bed in reply.in_full for row in bed.alarms)]
    starts: dict[str, dict[str, float]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row.onset):
        if row.onset_s is not None:
            starts[row.bed][row.run] = row.onset_s - row.onset / FS
    return starts


def _told_beat(row: BeatTold) -> Beat:
    probabilities = _probabilities.decode(row.probabilities)
    told = row.bed, row.sample, row.decided, row.label, probabilities, row.rr_s, 0.0, row.heart_rate, row.found
    return Beat(*told, run=row.run)
