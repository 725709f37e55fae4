"""What the thread of the server knows of the ward: the latest signal of the beds that are seen, all else as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from agent.core.messages import Beat
from agent.core.views import BedView, WardSnapshot
from agent.dashboard.bed_order import BedOrder, update_order
from agent.web.hand_over import NOTHING_KNOWN, HandOver, Stretch, TraceKey, TracePosition
from agent.web.ward_text import bed_fields, card_fields, index_rows, told_events, ward_fields
from agent.web.ward_watch import MOST_PAST
from agent.web.wave_counts import CountArray

KEPT_BEATS = 256
"""Latest beats of a bed; more than thirty seconds hold."""


@dataclass(slots=True, eq=False)
class BedTrace:
    """The latest signal of a bed: `leads` (n,) int16 each, of samples from `first` on; `version` counts the resets."""

    position: TracePosition = NOTHING_KNOWN
    version: int = 0
    first: int = 0
    leads: tuple[CountArray, ...] = ()
    beats: list[Beat] = field(default_factory=list)
    arrived_s: float = 0.0

    @property
    def stop(self) -> int:
        """The index after the last sample."""
        return self.position.next

    def take(self, stretch: Stretch) -> None:
        """Append what is new."""
        count = len(stretch.samples[0])
        if stretch.reset:
            self.version += 1
            self.first, self.leads, self.beats = stretch.first, stretch.samples, list(stretch.beats)
        else:
            new = stretch.first + count - self.stop
            if self.version == 0 or new < 0 or new > count or len(stretch.samples) != len(self.leads):
                return  # made before the last one was taken in, and for another run
            if new:
                pairs = zip(self.leads, stretch.samples, strict=True)
                self.leads = tuple(np.concatenate([old, of[count - new :]])[-MOST_PAST:] for old, of in pairs)
            self.first = self.stop + new - len(self.leads[0])
            known = self.position.last_beat
            self.beats = [*self.beats, *(beat for beat in stretch.beats if beat.sample > known)][-KEPT_BEATS:]
        last_beat = self.beats[-1].sample if self.beats else self.position.last_beat
        if stretch.reset and not self.beats:
            last_beat = stretch.first - 1
        self.position = TracePosition(stretch.run, stretch.lead, stretch.first + count, last_beat)
        self.arrived_s = stretch.arrived_s


class WardMirror:
    """Takes in what the loop handed over. Used in the thread of the server alone."""

    def __init__(self, hand_over: HandOver) -> None:
        self._hand_over = hand_over
        self.traces: dict[TraceKey, BedTrace] = {}
        self.ids: dict[str, int] = {}
        """By name of the bed, in the order of their arrival."""
        self.names: tuple[str, ...] = ()
        """The names of all beds in order of urgency."""
        self.ward: WardSnapshot | None = None
        self.ward_version = self.index_version = self.events_version = 0
        self.made_s = 0.0
        """When the latest waves were made."""
        self.ward_head = self.index = self.events = b""
        """JSON of the ward without its beds; of the index; of the events."""
        self._order = BedOrder()
        self._numbers: dict[int, str] = {}
        self._views: dict[str, BedView] = {}
        self._encoded: dict[TraceKey, bytes] = {}

    def want(self, keys: Iterable[TraceKey]) -> None:
        """Say which beds are seen; with none the loop hands over nothing but the ward. None of them known: nobody."""
        keys = dict.fromkeys(keys)
        self.traces = {key: self.traces.get(key) or BedTrace() for key in keys}
        self._publish()

    def welcome(self) -> None:
        """A browser has come: let the loop make a new ward for it at once."""
        self._hand_over.arrivals += 1

    def rest(self) -> None:
        """Nobody watches any more."""
        self.traces = {}
        self._hand_over.wanted = None

    def take(self) -> None:
        """Take in the newest waves, and the newest ward."""
        if (pulse := self._hand_over.pulse) is not None:
            self.made_s = pulse.made_s
            for stretch in pulse.stretches:
                if (trace := self.traces.get(stretch.key)) is not None:
                    trace.take(stretch)
            if self.traces:
                self._publish()
        ward = self._hand_over.ward
        if ward is not None and ward is not self.ward:
            self._take_ward(ward)

    def name_of(self, number: object) -> str | None:
        """Return the name of the bed with this id."""
        return self._numbers.get(number) if isinstance(number, int) else None

    def encoded_bed(self, name: str, full: bool = False) -> bytes | None:
        """Return a bed of the latest ward as JSON, `full` or as on the wall; None if it is not in it."""
        key = TraceKey(name, full)
        if key not in self._encoded:
            view = self._views.get(name)
            if view is None or self.ward is None:
                return None
            fields = (bed_fields if full else card_fields)(view, self.ward, self.ids[name])
            self._encoded[key] = msgspec.json.encode(fields)
        return self._encoded[key]

    def _publish(self) -> None:
        positions: Mapping[TraceKey, TracePosition] = {key: trace.position for key, trace in self.traces.items()}
        self._hand_over.wanted = positions

    def _take_ward(self, ward: WardSnapshot) -> None:
        before, self.ward = self.ward, ward
        self.ward_version += 1
        self.ward_head = msgspec.json.encode(ward_fields(ward))
        self._views = {view.bed: view for view in ward.beds}
        self._encoded = {}
        for bed in ward.index:
            if bed.bed not in self.ids:
                self._numbers[len(self.ids)] = bed.bed
                self.ids[bed.bed] = len(self.ids)
        self._order = update_order(self._order, ward.index, ward.now_s, by_urgency=True, held=False)
        self.names = self._order.names
        if before is None or before.index is not ward.index:
            rows = index_rows({bed.bed: bed for bed in ward.index}, self.names, self.ids)
            if (index := msgspec.json.encode(rows)) != self.index:
                self.index = index
                self.index_version += 1
        if before is None or len(before.events) != len(ward.events) or before.events[-1:] != ward.events[-1:]:
            self.events = msgspec.json.encode(told_events(ward.events))
            self.events_version += 1
