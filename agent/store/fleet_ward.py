"""The ward of a whole fleet, read from its store: what a monitor is for its views, without a signal."""

import math
from collections import Counter, deque
from collections.abc import Iterable
from typing import get_args

import numpy as np

from agent.core.clock import format_local_clock
from agent.core.config import Config
from agent.core.events import DeviceNote, Event, EventKind, EventText, LinkStateChanged
from agent.core.look_back import MINUTE_S, BedPast, BedTrend, PastAlarm, PastRequest
from agent.core.messages import Alarm, Beat, Ledger
from agent.core.views import BedSummary, LinkView, LoggedEvent, WardSnapshot
from agent.monitor.snapshot import INDEX_PERIOD_S, FleetFigures, MonitorFigures, with_beds
from agent.recording.event_records import TYPED_EVENTS_SINCE, EventRow, event_from_row
from agent.store.fleet_actions import FleetActions
from agent.store.fleet_beds import FleetBeds
from agent.store.fleet_deeds import FleetDeeds
from agent.store.store_messages import EventTold, WardReply
from agent.store.ward_feed import WardFeed
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.text import make_printable, name_some

NAMED_SILENT_S = 600.0
"""A monitor that fell silent is named above the ward for this long; later one may have taken its place."""
MOST_NAMED = 4
"""Beds or monitors that are named in a trouble."""
NO_PAST_TEXT = "the store of a fleet holds no signal: trends and strips are at the monitors"
OWN_EVENTS = 50
KNOWN_KINDS: frozenset[str] = frozenset(get_args(EventKind))


class FleetWard:
    """The ward of a feed. Used in one thread. `by` names who acts here."""

    def __init__(self, feed: WardFeed, config: Config, by: str) -> None:
        self.clock = feed.clock
        self._feed, self._config = feed, config
        self._deeds = FleetDeeds(config.alarms)
        self._started_s = self.clock()
        self._own: deque[LoggedEvent] = deque(maxlen=OWN_EVENTS)
        self._reply: WardReply | None = None
        self._is_away = False
        self._stale_s = -math.inf
        self._take_in(self._started_s)
        self.actions = FleetActions(feed, lambda: self._beds, self._deeds, self.clock, by)

    def ward_snapshot(self, now_s: float) -> WardSnapshot:
        """Return all that a frame is drawn from but the beds in full: the last picture, if the store is away."""
        self._take_in(now_s)
        return WardSnapshot(
            beds=(),
            events=self._events,
            link=self._link(),
            device="",
            weights="",
            now_s=now_s,
            started_s=self._started_s,
            index=self._index,
            ledger=self._ledger,
            least_confidence=self._config.dashboard.least_confidence,
            last_rate_s=self._config.dashboard.last_rate_s,
        )

    def with_beds(self, snapshot: WardSnapshot, names: Iterable[str]) -> WardSnapshot:
        """Return a snapshot with the beds of these names in full, and ask the store for more of them."""
        known = [name for name in names if name in self._beds]
        self._feed.want(known)
        return with_beds(snapshot, known, lambda name: self._beds.view(name, snapshot.now_s))

    def past(self, request: PastRequest, now_s: float) -> BedPast:
        """Return the latest alarms of a bed, which is all that there is of its past."""
        bed = request.bed
        self._feed.want([bed])
        alarms = tuple(self._past_alarm(alarm) for alarm in self._beds.latest_alarms(bed))
        trend = None
        if request.hours:
            unknown = np.full(60 * request.hours, np.nan, np.float32)
            first = int(now_s // MINUTE_S) - len(unknown) + 1
            rates, beats, shares = (unknown,) * 3, (unknown,) * 2, (unknown,) * 2
            trend = BedTrend(bed, first, *rates, *beats, *shares, tuple(reversed(alarms)))
        return BedPast(bed, trend, alarms if request.alarms else (), trouble=NO_PAST_TEXT)

    def shown_alarms(self) -> list[tuple[Alarm, float]]:
        """Return the alarms of all beds that are shown, each with the Unix time at which it began."""
        return [(alarm, self._beds.onset_s(alarm)) for bed in self._beds.names for alarm in self._beds.alarms(bed)]

    def note_shown(self, beats: Iterable[Beat]) -> None:
        """Count nothing: beats were shown at the monitors."""

    def figures(self, now_s: float) -> MonitorFigures:
        """Return the figures of all beds for a scrape of Prometheus. Of a store that is away there is no heart rate."""
        self._take_in(now_s)
        reply = self._feed.state.reply
        states = {bed.bed: bed.state for bed in self._index}
        rates = {bed: self._beds.heart_rate(bed) for bed, state in states.items() if state == "ok"}
        shown = ((bed, alarm) for bed in states for alarm in self._beds.alarms(bed))
        return MonitorFigures(
            states=dict(Counter(states.values())),
            heart_rates={bed: rate for bed, rate in rates.items() if rate is not None},
            ledgers={bed: self._beds.ledger(bed) for bed in states},
            gaps={},
            active_alarms=dict(Counter((bed, alarm.priority) for bed, alarm in shown)),
            link=self._link(),
            recording=None,
            fleet=FleetFigures(
                beats={
                    (bed, label): count
                    for bed in states
                    for label, count in zip(CLASSES, self._beds.counts(bed), strict=True)
                },
                alarms={(bed, condition, priority): n for bed, condition, priority, n in reply.alarm_counts or ()},
                replicas=Counter("alive" if replica.is_alive else "silent" for replica in reply.replicas),
                listeners={bed: self._beds.listeners(bed) for bed in states},
                age_s=max(0.0, now_s - self._feed.state.came_s),
            ),
        )

    def _past_alarm(self, alarm: Alarm) -> PastAlarm:
        onset_s = self._beds.onset_s(alarm)
        return PastAlarm(alarm, onset_s, None if alarm.ended is None else onset_s + (alarm.ended - alarm.onset) / FS)

    def _take_in(self, now_s: float) -> None:
        """Make the beds anew after a new reply, and once it is too old; the index as often as a monitor does."""
        state, is_away = self._feed.state, self._feed.is_away(now_s)
        if is_away is not self._is_away:
            self._own.append(LoggedEvent(LinkStateChanged(self._feed.shown, is_up=not is_away), now_s))
        for deed in self._feed.take_lost():
            text = f"the store did not take it: {deed.bed} {deed.kind}"
            self._own.append(LoggedEvent(DeviceNote(make_printable(text)), now_s))
        is_new = state.reply is not self._reply or is_away is not self._is_away
        if not is_new and 0 <= now_s - self._stale_s < INDEX_PERIOD_S:
            return
        if is_new:
            offset_s = state.came_s - state.reply.now_s
            if state.reply is not self._reply:
                self._deeds.follow(state.reply.deeds, offset_s)
            standstill_s = self._config.rhythm.standstill_s
            self._beds = FleetBeds(state.reply, self._deeds, offset_s, standstill_s, is_away)
            ledgers = [self._beds.ledger(bed) for bed in self._beds.names]
            self._ledger = Ledger(
                sum(ledger.sent for ledger in ledgers),
                sum(ledger.analysed for ledger in ledgers),
                sum(ledger.missing for ledger in ledgers),
            )
        self._events = self._collect_events(state.reply)
        self._reply, self._is_away, self._stale_s = state.reply, is_away, now_s
        self._index: tuple[BedSummary, ...] = tuple(self._beds.summary(bed, now_s) for bed in self._beds.names)

    def _collect_events(self, reply: WardReply) -> tuple[LoggedEvent, ...]:
        """Return the latest events of all beds, and more of those that are looked at, the oldest first."""
        told = {row.id: row for row in reply.events}
        told |= {row.id: row for bed in reply.in_full for row in bed.events}
        offset_s = self._feed.state.came_s - reply.now_s
        logged = [LoggedEvent(_event_of(row), row.at_s + offset_s) for row in told.values()]
        return tuple(sorted([*logged, *self._deeds.events, *self._own], key=lambda of: of.at_s))

    def _link(self) -> LinkView:
        came_s = self._feed.state.came_s
        return LinkView(
            self._feed.shown,
            "lost" if self._is_away else "connected",
            packets=0,
            rejected=0,
            secured=bool(self._config.security.key),
            trouble=self._away_trouble(came_s) if self._is_away else self._fleet_trouble(),
            heard_s=came_s,
            is_store=True,
        )

    def _away_trouble(self, came_s: float) -> str:
        reason = self._feed.state.trouble or f"{self._feed.shown} does not answer"
        return f"all that is shown is of {format_local_clock(came_s)}; {reason}"

    def _fleet_trouble(self) -> str:
        """Say which beds no monitor listens to, and which monitors have just fallen silent; "" if all is well."""
        parts = []
        if alone := [bed.bed for bed in self._index if bed.state == "no monitor"]:
            verb = "has" if len(alone) == 1 else "have"
            parts.append(f"{len(alone)} of {len(self._index)} beds {verb} NO MONITOR: {name_some(alone, MOST_NAMED)}")
        silent = [of for of in self._feed.state.reply.replicas if not of.is_alive and of.silent_s < NAMED_SILENT_S]
        if silent:
            names = [f"{of.name} on {of.host} for {of.silent_s:.0f} s" for of in silent]
            parts.append(f"no word of {name_some(names, MOST_NAMED)}")
        return "; ".join(parts)


def _event_of(row: EventTold) -> Event:
    """Return the event of a row: one of no bed says which monitor told it; what cannot be read stays as words."""
    place = EventRow(0, row.bed, row.run, row.sample, row.at_s, row.kind, row.text, row.event_type, row.data)
    if row.bed:
        try:
            return event_from_row(place, TYPED_EVENTS_SINCE)
        except (ValueError, RecursionError):
            pass
    who = "" if row.bed else f"{row.replica}: "
    words = make_printable(f"{who}{row.text}")
    kind = row.kind if row.kind in KNOWN_KINDS else "link"
    return EventText(kind, make_printable(row.bed), make_printable(row.run), row.sample, words)  # type: ignore[arg-type]  # checked
