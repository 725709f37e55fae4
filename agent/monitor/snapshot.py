"""What viewers see of a running monitor, as frozen data: all beds at a glance, single beds in full, the figures."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from agent.core.config import Config
from agent.core.messages import PRIORITIES, Beat, Ledger
from agent.core.run_clock import RunClock
from agent.core.views import (
    LOSSES,
    BedStatus,
    BedSummary,
    BedView,
    LatencySummary,
    LeadWave,
    LinkView,
    RecordingView,
    WardSnapshot,
)
from agent.link.link_receiver import LinkReceiver
from agent.monitor.alarm_history import AlarmHistory
from agent.pipeline.monitored_bed import MonitoredBed
from agent.pipeline.pipeline import Pipeline
from model.records.resample import FS

INDEX_PERIOD_S = 0.25
"""The index of a thousand beds is made no more often: twenty pictures a second need not pay for it."""
WAVE_SAMPLES = 30 * FS
"""The longest wave a screen can show."""
CALM_URGENCY: Mapping[BedStatus, int] = {**dict.fromkeys(LOSSES, 1), "refused": 1, "ended": -1}
"""Urgency of a bed without an alarm, where it is not 0: what cannot be watched and should be comes before beds that are
well, and what has ended after them."""
KEPT_DELAYS = 200
"""Latest beats whose delays make up the shown latency of a bed."""


@dataclass(slots=True)
class _BedDelays:
    """Delays of the latest beats of a bed, from arrival to being shown."""

    added_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_DELAYS))
    summary: LatencySummary | None = None
    """Kept until another beat is shown: a picture is drawn more often than a beat comes."""


class SnapshotMaker:
    """Makes snapshots of a pipeline and its link. Nothing in one changes once it is made.

    `paused`: the device says that its replay is; set by the session.
    """

    def __init__(
        self, pipeline: Pipeline, link: LinkReceiver, config: Config, history: AlarmHistory, run_clock: RunClock
    ) -> None:
        self._pipeline, self._link, self._history, self._run_clock = pipeline, link, history, run_clock
        self._lost_s = config.monitor.lost_s
        self.paused = False
        self._delays: dict[str, _BedDelays] = {}
        self._index: tuple[BedSummary, ...] = ()
        self._total = Ledger()
        self._made_s = self._stale_s = 0.0

    def forget_index(self) -> None:
        """Make the index again the next time."""
        self._stale_s = 0.0

    def note_shown(self, beat: Beat, added_ms: float) -> None:
        """Note that a beat was shown `added_ms` milliseconds after its samples arrived."""
        delays = self._delays.get(beat.bed)
        if delays is None:
            delays = self._delays[beat.bed] = _BedDelays()
        delays.added_ms.append(added_ms)
        delays.summary = None

    def ledger(self, bed: str) -> Ledger:
        """Return what became of the samples of a bed since this monitor began, or went on with its recording."""
        state = self._pipeline.beds[bed]
        return Ledger(self._link.sent(bed), state.analysed, state.lost)

    def index(self, now_s: float) -> tuple[tuple[BedSummary, ...], Ledger]:
        """Return all beds in the order of their arrival, and the samples of all together; kept for INDEX_PERIOD_S."""
        beds = self._pipeline.beds
        if len(beds) == len(self._index) and self._made_s <= now_s < self._stale_s:
            return self._index, self._total
        self._index = tuple(self._summary(bed, now_s) for bed in beds.values())
        ledgers = [self.ledger(name) for name in beds]
        self._total = Ledger(
            sum(ledger.sent for ledger in ledgers),
            sum(ledger.analysed for ledger in ledgers),
            sum(ledger.missing for ledger in ledgers),
        )
        self._made_s, self._stale_s = now_s, now_s + INDEX_PERIOD_S
        return self._index, self._total

    def bed_view(self, name: str, now_s: float) -> BedView:
        """Return one bed in full, with the last WAVE_SAMPLES of its wave."""
        pipeline = self._pipeline
        bed = pipeline.beds[name]
        row, ring = bed.row, pipeline.samples.ring
        head, rules = int(ring.head[bed.heard_row]), pipeline.alarms.rules(row)
        return BedView(
            bed=name,
            lead=bed.heard_lead if bed.input else "",
            state=self._status(bed, now_s),
            wave=ring.last(bed.heard_row, WAVE_SAMPLES),
            head=head,
            beats=tuple(bed.beats),
            rhythm=pipeline.rates.view(row, head),
            gaps=bed.gaps,
            missing=bed.missing,
            latency=self._latency(bed),
            ledger=self.ledger(name),
            behind_s=self._behind_s(bed, now_s),
            alarms=rules.manager.view,
            silenced_until_s=rules.manager.silenced_until_s,
            suspended=rules.suspended,
            rhythm_name=rules.manager.rhythm,
            last_alarms=self._history.of(name),
            leads=bed.leads.qualities if bed.leads else (),
            uncalibrated=bed.uncalibrated,
            run=bed.run,
            head_s=self._run_clock.time_of(name, bed.run, head),
            arrived_s=bed.arrived_s,
            other_waves=self._other_waves(bed),
            paused_until_s=rules.manager.paused_until_s,
            settings=rules.settings,
            run_starts=self._run_clock.starts(name),
        )

    def _other_waves(self, bed: MonitoredBed) -> tuple[LeadWave, ...]:
        """Return the last samples of the leads that are analysed beside the heard one."""
        ring = self._pipeline.samples.ring
        rows = zip(bed.lead_names, bed.lead_rows, strict=False)
        return tuple(LeadWave(lead, ring.last(row, WAVE_SAMPLES)) for lead, row in rows if row != bed.heard_row)

    def heart_rate(self, name: str) -> float | None:
        """Return the beats a minute that are shown of a bed now; None if there is none."""
        bed = self._pipeline.beds[name]
        if self._pipeline.alarms.rules(bed.row).suspended:
            return None
        return self._pipeline.rates.heart_rate(bed.row, int(self._pipeline.samples.ring.head[bed.heard_row]))

    def figures(self, now_s: float, link: LinkView, recording: RecordingView | None) -> "MonitorFigures":
        """Return the figures of all beds for a scrape of Prometheus."""
        beds = list(self._pipeline.beds.values())
        states = {bed.name: self._status(bed, now_s) for bed in beds}
        current = [name for name, state in states.items() if state == "ok" and link.state != "lost"]
        rates = ((name, self.heart_rate(name)) for name in current)
        shown = ((bed.name, self._pipeline.alarms.rules(bed.row).manager.view) for bed in beds)
        return MonitorFigures(
            states=dict(Counter(states.values())),
            heart_rates={name: rate for name, rate in rates if rate is not None},
            ledgers={bed.name: self.ledger(bed.name) for bed in beds},
            gaps={bed.name: bed.gaps for bed in beds},
            active_alarms=dict(Counter((name, alarm.priority) for name, alarms in shown for alarm in alarms)),
            link=link,
            recording=recording,
        )

    def _summary(self, bed: MonitoredBed, now_s: float) -> BedSummary:
        rules = self._pipeline.alarms.rules(bed.row)
        manager, settings, paused = rules.manager, rules.settings, rules.manager.paused_until_s
        status, behind_s = self._status(bed, now_s), self._behind_s(bed, now_s)
        silenced = manager.silenced_until_s > now_s
        if not manager.view and not silenced:
            rest = CALM_URGENCY.get(status, 0)
            return BedSummary(bed.name, status, rest, behind_s=behind_s, paused_until_s=paused, settings=settings)
        priority = manager.view[0].priority if manager.view else None
        audible = manager.audible(now_s)
        urgency = manager.urgency or CALM_URGENCY.get(status, 0)
        standing = min((of.priority for of in manager.view if of.ended is None), key=PRIORITIES.index, default=None)
        return BedSummary(bed.name, status, urgency, priority, audible, silenced, behind_s, paused, settings, standing)

    def _status(self, bed: MonitoredBed, now_s: float) -> BedStatus:
        """Return what a person should know first; of a device that is paused, and says so, that."""
        status = bed.status(now_s, self._lost_s)
        return "paused" if self.paused and status != "refused" else status

    def _behind_s(self, bed: MonitoredBed, now_s: float) -> float:
        """Return how long ago the device sent what came last; 0 if that is not known, or nothing is to come now."""
        if not bed.sent_s or bed.ended or self.paused:
            return 0.0
        return max(0.0, now_s - bed.sent_s)

    def _latency(self, bed: MonitoredBed) -> LatencySummary | None:
        """Return the delays of the latest beats of a bed, None before the first is shown."""
        delays = self._delays.get(bed.name)
        if delays is None or not bed.beats:
            return None
        if delays.summary is None:
            waited = median(beat.class_known - beat.sample for beat in bed.beats) / FS + bed.delay_s
            p50, p99 = np.percentile(delays.added_ms, (50, 99)).tolist()
            link_s = median(max(0.0, beat.arrived_s - beat.sent_s) if beat.sent_s else 0.0 for beat in bed.beats)
            delays.summary = LatencySummary(1000 * waited, p50, p99, 1000 * link_s)
        return delays.summary


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """What the store of a fleet has counted: beats by bed and class, alarms by bed, condition and priority.

    `replicas` by state, alive or silent; `listeners`: the monitors of each bed; `age_s` of all of it.
    """

    beats: dict[tuple[str, str], int]
    alarms: dict[tuple[str, str, str], int]
    replicas: dict[str, int]
    listeners: dict[str, int]
    age_s: float


@dataclass(frozen=True, slots=True)
class MonitorFigures:
    """The figures of a monitor at one moment, by name of the bed: what another thread may read.

    `fleet`: of a view of a fleet, which has no gaps, no packets and no recording.
    """

    states: dict[str, int]
    heart_rates: dict[str, float]
    ledgers: dict[str, Ledger]
    gaps: dict[str, int]
    active_alarms: dict[tuple[str, str], int]
    link: LinkView
    recording: RecordingView | None
    fleet: FleetFigures | None = None


def with_beds(snapshot: WardSnapshot, names: Iterable[str], view: Callable[[str], BedView]) -> WardSnapshot:
    """Return a snapshot with the beds of these names in full."""
    return replace(snapshot, beds=tuple(view(name) for name in names))
