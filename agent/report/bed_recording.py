"""A recording of one bed as arrays on one time line: beats, alarms, and the signal wherever it is asked for."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from agent.analysis.lead_input import UNITS_MV
from agent.core.events import Event
from agent.core.messages import MISSING, Alarm, FloatArray, Ledger, Strip
from agent.core.wording import event_text
from agent.recording.recorded_segments import RecordedSegment, read_segment_counts
from agent.recording.sessions import RecordedSession
from model.errors import RecordError
from model.records.resample import FS
from model.records.wfdb_records import CLASSES, default_lead

LONGEST_S = 366 * 86_400.0
"""A recording that is said to be longer is none."""
MOST_ALARMS, MOST_EVENTS = 20_000, 5_000
"""Of one bed that are read."""
LONGEST_RR_S = 60.0
TimeArray = NDArray[np.float64]
AlarmKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class RunSpan:
    """A run on the time line: its samples `first` to `stop` (125 Hz) begin at `at_s`, seconds from the start."""

    run: str
    first: float
    stop: float
    at_s: float

    @property
    def end_s(self) -> float:
        return self.at_s + (self.stop - self.first) / FS


@dataclass(frozen=True, slots=True, eq=False)
class RecordedBeats:
    """All beats (n,) in order: `at_s` on the time line, `label` by its place in CLASSES, `rr_s` (NaN: none), `run`."""

    at_s: TimeArray
    label: NDArray[np.int8]
    rr_s: TimeArray
    run: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.at_s)

    def of(self, name: str) -> NDArray[np.bool_]:
        """Which are of a class."""
        return np.asarray(self.label == CLASSES.index(name))


class BedRecording:
    """What was recorded of one bed. Raises RecordError where it cannot be read.

    `started_s` Unix time of the start of the time line, None where there is no signal to tell it; `length_s` of the
    time line; `lead` the analysed one. `alarms`, `events`: the first of them where there are very many, with their
    number in `alarm_count`.
    """

    def __init__(self, session: RecordedSession, bed: str) -> None:
        self.bed, self.about, self.live = bed, session.about, session.live
        self.segments = session.segments(bed)
        self.places = _place_runs(session, bed, self.segments)
        self._by_run = {place.run: i for i, place in enumerate(self.places)}
        self.length_s = max((place.end_s for place in self.places), default=0.0)
        if self.length_s > LONGEST_S:
            raise RecordError(f"the recording of bed {bed} is said to last {self.length_s / 86_400:.0f} days")
        self.started_s = _timeline_start(self.segments, self.places)
        self.ledger: Ledger = session.ledger(bed)
        self.beats = self._beats(session)
        self.alarms: list[Alarm] = list(islice(session.alarms(bed), MOST_ALARMS))
        self.alarm_count = session.alarm_count(bed)
        self.events: list[tuple[float, Event]] = list(islice(session.events(bed), MOST_EVENTS))
        self.lead = _analysed_lead(self.segments, self.events)
        self._firsts: dict[str, list[RecordedSegment]] = {}
        for segment in self.segments:
            self._firsts.setdefault(segment.run, []).append(segment)

    def time_of(self, run: str, sample: float) -> float | None:
        """Seconds from the start of a sample (125 Hz) of a run; None where that is unknown."""
        index = self._by_run.get(run)
        if index is None:
            return None
        place = self.places[index]
        return place.at_s + (sample - place.first) / FS

    def fibrillating(self, at_s: TimeArray) -> NDArray[np.bool_]:
        """Which times lie in an alarm of ventricular fibrillation, where what is found are no heart beats."""
        found = np.zeros(len(at_s), np.bool_)
        for alarm in self.alarms:
            onset_s = self.time_of(alarm.run, alarm.onset)
            if alarm.condition == "ventricular fibrillation" and onset_s is not None:
                ended_s = self.length_s if alarm.ended is None else self.time_of(alarm.run, alarm.ended)
                found |= (at_s >= onset_s) & (at_s <= (self.length_s if ended_s is None else ended_s))
        return found

    def run_at(self, at_s: float) -> RunSpan | None:
        """The run that a time lies in, or that ended last before it."""
        index = bisect_right([place.at_s for place in self.places], at_s + 0.5 / FS) - 1
        return self.places[index] if index >= 0 else None

    def wave(self, at_s: float, seconds: float) -> FloatArray:
        """The analysed lead (n,) float32 mV at 125 Hz from a time on, NaN where there is none."""
        out = np.full(max(0, round(seconds * FS)), np.nan, np.float32)
        place = self.run_at(at_s + seconds / 2)
        if place is None:
            return out
        first = round(place.first + (at_s - place.at_s) * FS)
        for segment in self._firsts.get(place.run, ()):
            scale = FS / segment.fs
            begin, end = segment.first * scale - first, (segment.first + segment.count) * scale - first
            if end > 0 and begin < len(out):
                self._fill(out, segment, begin, end)
        return out

    def rails(self, segment: RecordedSegment) -> tuple[float, float]:
        """The least and greatest value that the converter of the analysed lead can tell, in mV."""
        lead = segment.leads[self._index(segment)]
        scale = UNITS_MV.get(lead.unit, np.nan) / lead.gain
        return (lead.low - lead.offset) * scale, (lead.high - lead.offset) * scale

    def millivolts(self, segment: RecordedSegment, start: int, stop: int) -> FloatArray:
        """The analysed lead of samples of a segment, (n,) float32; NaN where there is no value."""
        index = self._index(segment)
        lead = segment.leads[index]
        try:
            column = read_segment_counts(segment, start, stop)[:, index]
        except RecordError:  # deleted meanwhile
            return np.full(max(0, min(stop, segment.count) - start), np.nan, np.float32)
        scale = UNITS_MV.get(lead.unit, np.nan) / lead.gain
        wave = ((column - lead.offset) * scale).astype(np.float32)
        wave[column == MISSING] = np.nan
        return wave

    def _index(self, segment: RecordedSegment) -> int:
        names = tuple(lead.name for lead in segment.leads)
        return names.index(self.lead) if self.lead in names else default_lead(names)

    def _fill(self, out: FloatArray, segment: RecordedSegment, begin: float, end: float) -> None:
        """Put what a segment has into its place: `begin` and `end` are those of the segment there."""
        low, high = max(0, int(np.ceil(begin - 1e-6))), min(len(out), int(np.ceil(end - 1e-6)))
        if high <= low:
            return
        step = segment.fs / FS
        where = (np.arange(low, high) - begin) * step
        start, stop = int(where[0]), min(segment.count, int(where[-1]) + 2)
        stored = self.millivolts(segment, start, stop)
        if not len(stored):
            return
        if step == 1:
            out[low:high] = stored[np.clip(np.rint(where - start).astype(int), 0, len(stored) - 1)]
        else:
            out[low:high] = np.interp(where - start, np.arange(len(stored)), stored)

    def _beats(self, session: RecordedSession) -> RecordedBeats:
        parts: dict[str, list[tuple[int, int, float]]] = {}
        for row in session.beat_rows(self.bed):
            if row.run in self._by_run:
                rr_s = row.rr_s if row.rr_s is not None and 0 < row.rr_s < LONGEST_RR_S else np.nan
                parts.setdefault(row.run, []).append((row.sample, CLASSES.index(row.label), rr_s))
        columns: list[tuple[TimeArray, TimeArray, TimeArray, TimeArray]] = []
        for index, place in enumerate(self.places):
            if found := parts.pop(place.run, None):
                table = np.array(found, np.float64)
                table = table[np.argsort(table[:, 0], kind="stable")]
                table = table[(table[:, 0] >= place.first - FS) & (table[:, 0] <= place.stop + FS)]
                at_s = place.at_s + (table[:, 0] - place.first) / FS
                columns.append((at_s, table[:, 1], table[:, 2], np.full(len(table), float(index))))
        if not columns:
            nothing = np.zeros(0)
            return RecordedBeats(nothing, np.zeros(0, np.int8), nothing, np.zeros(0, np.int32))
        joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
        return RecordedBeats(joined[0], joined[1].astype(np.int8), joined[2], joined[3].astype(np.int32))


def read_alarm_strips(session: RecordedSession, bed: str, wanted: set[AlarmKey]) -> dict[AlarmKey, Strip]:
    """The strips of some alarms, by run, condition and onset."""
    found = ((alarm_key(strip.alarm), strip) for strip in session.strips(bed))
    return {key: strip for key, strip in found if key in wanted}


def alarm_key(alarm: Alarm) -> AlarmKey:
    """What tells an alarm of a bed from any other."""
    return alarm.run, alarm.condition, alarm.onset


def _place_runs(session: RecordedSession, bed: str, segments: Sequence[RecordedSegment]) -> list[RunSpan]:
    """The runs of a bed: within a run by index, between runs by the clock, none before the one before it is over."""
    first_of: dict[str, RecordedSegment] = {}
    stop_of: dict[str, float] = {}
    for segment in segments:
        first_of.setdefault(segment.run, segment)
        stop_of[segment.run] = max(stop_of.get(segment.run, 0), (segment.first + segment.count) * FS / segment.fs)
    spans = {run.run: (run.first * FS / run.fs, run.next * FS / run.fs) for run in session.runs(bed)}
    for name, segment in first_of.items():
        first, stop = spans.get(name, (segment.first * FS / segment.fs, 0.0))
        spans[name] = min(first, segment.first * FS / segment.fs), max(stop, stop_of[name])
    places: list[RunSpan] = []
    zero: float | None = None
    end_s = 0.0
    for name, (first, stop) in spans.items():
        at_s = end_s
        if (known := first_of.get(name)) is not None:
            clock = known.started_s - (known.first / known.fs - first / FS)
            zero = clock - end_s if zero is None else zero
            at_s = max(end_s, clock - zero)
        places.append(RunSpan(name, first, stop, at_s))
        end_s = places[-1].end_s
    return places


def _timeline_start(segments: Sequence[RecordedSegment], places: Sequence[RunSpan]) -> float | None:
    """Unix time of the start of the time line."""
    by_run = {place.run: place for place in places}
    for segment in segments:
        place = by_run[segment.run]
        return segment.started_s - place.at_s - (segment.first / segment.fs - place.first / FS)
    return None


def _analysed_lead(segments: Sequence[RecordedSegment], events: Sequence[tuple[float, Event]]) -> str:
    """The lead that was analysed: as the start of a run tells it, else by its name."""
    names = [lead.name for segment in segments[:1] for lead in segment.leads]
    for _, event in events:
        told = event_text(event).partition(", lead ")[2] if event.kind == "start" else ""
        for name in names:
            if told == name or told.startswith(f"{name}, resampled from"):
                return name
    return names[default_lead(tuple(names))] if names else ""
