"""A recording of one bed on one time line: beats and alarms, and the signal of any stretch on request."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent.core.bed_settings import NO_SETTINGS, BedSettings
from agent.core.class_trust import TRUST_KEY, decode_class_trust
from agent.core.events import BedSettingsChanged, Event, EventKind, LeadScaled, PacingPulses
from agent.core.lead_units import RAW_UNITS
from agent.core.messages import MISSING, Alarm, AlarmIdentity, FloatArray, Lead, Ledger, Strip
from agent.export.tables import read_notified_alarms
from agent.recording.recorded_segments import RecordedSegment, read_segment_counts
from agent.recording.recorded_wave import lead_scale
from agent.recording.sessions import LONGEST_S, RecordedSession
from agent.report.heard_leads import HeardLeads
from agent.report.styles import day_of_month, is_same_day, time_of_day
from model.errors import RecordError
from model.records.lead_choice import default_lead
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

MOST_ALARMS, MOST_EVENTS = 20_000, 5_000
"""Alarms and events that are read of one bed."""
LONGEST_RR_S = 60.0
"""A longer RR interval is taken as unknown."""
TimeArray = NDArray[np.float64]
_probabilities: msgspec.json.Decoder[tuple[float, ...]] = msgspec.json.Decoder(tuple[float, ...])


@dataclass(frozen=True, slots=True)
class RunSpan:
    """A run on the time line: its samples `first` to `stop` (125 Hz) begin `at_s` seconds from the start."""

    run: str
    first: float
    stop: float
    at_s: float

    @property
    def end_s(self) -> float:
        """Seconds from the start at which the run ends."""
        return self.at_s + (self.stop - self.first) / FS


@dataclass(frozen=True, slots=True, eq=False)
class RecordedBeats:
    """All n beats in order, each field (n,).

    `at_s` seconds on the time line, `label` the index in CLASSES, `rr_s` the RR interval that ends at the beat (NaN if
    it is unknown), `run` the index of its run, `confidence` (0..1) in its class, NaN if that is unknown.
    """

    at_s: TimeArray
    label: NDArray[np.int8]
    rr_s: TimeArray
    run: NDArray[np.int32]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.at_s)

    def of(self, name: str) -> NDArray[np.bool_]:
        """Return which beats (n,) are of a class."""
        return np.asarray(self.label == CLASSES.index(name))


class BedRecording:
    """What was recorded of one bed. Raises RecordError if it cannot be read.

    `started_s` is the Unix time at which the time line starts, None without any signal; `length_s` its length; `lead`
    the analysed lead that was heard longest, `heard` says which one was when. `missing_s`: seconds that were not
    recorded of what the device sent, as `ecg-agent sessions` gives them. `alarms` and `events` hold the first ones if
    there are very many; `alarm_count` counts all. `notified`: which alarms were told to somebody ("sent"), or could
    not be ("failed"). `pacing_pulses`: how many pulses of a pacemaker the monitor saw in the signal.
    """

    def __init__(self, session: RecordedSession, bed: str) -> None:
        self.bed = bed
        self.about = session.about
        self.class_trust = decode_class_trust(session.about.get(TRUST_KEY, ""))
        self.live = session.live
        self.segments = session.segments(bed)
        self.places = _place_runs(session, bed, self.segments)
        self._by_run = {place.run: i for i, place in enumerate(self.places)}
        self.length_s = max((place.end_s for place in self.places), default=0.0)
        if self.length_s > LONGEST_S:
            days = f"{self.length_s / 86_400:,.0f} days, more than {LONGEST_S / 86_400:.0f}"
            left = f"; its signal can be converted: ecg-agent convert {self.segments[0].path.parent} OUT.csv"
            raise RecordError(f"the recording of bed {bed} claims to last {days}{left if self.segments else ''}")
        self.started_s = _timeline_start(self.segments, self.places)
        self.ledger: Ledger = session.ledger(bed)
        self.missing_s = sum(run.missing / run.fs for run in session.runs(bed))
        self.beats = self._beats(session)
        self.alarms: list[Alarm] = list(islice(session.alarms(bed), MOST_ALARMS))
        self.alarm_count = session.alarm_count(bed)
        self.notified = read_notified_alarms(session, bed)
        self.events: list[tuple[float, Event]] = list(islice(session.events(bed), MOST_EVENTS))
        self.settings = read_last_settings(session, bed)
        kinds: tuple[EventKind, ...] = ("start", "signal")
        changes = [event for kind in kinds for _, event in session.events(bed, kind=kind)]
        self.heard = HeardLeads(changes)
        self.lead = self._choose_main_lead()
        self.pacing_pulses = sum(event.count for event in changes if isinstance(event, PacingPulses))
        self._scales = [event for event in changes if isinstance(event, LeadScaled)]
        self._segments_of: dict[str, list[RecordedSegment]] = {}
        for segment in self.segments:
            self._segments_of.setdefault(segment.run, []).append(segment)

    def time_of(self, run: str, sample: float) -> float | None:
        """Return the time of a sample (125 Hz) of a run in seconds from the start; None for an unknown run."""
        index = self._by_run.get(run)
        if index is None:
            return None
        place = self.places[index]
        return place.at_s + (sample - place.first) / FS

    def fibrillating(self, at_s: TimeArray) -> NDArray[np.bool_]:
        """Return which times (n,) in seconds lie in an alarm of ventricular fibrillation.

        What is detected there are no heart beats.
        """
        inside = np.zeros(len(at_s), np.bool_)
        for alarm in self.alarms:
            onset_s = self.time_of(alarm.run, alarm.onset)
            if alarm.condition == "ventricular fibrillation" and onset_s is not None:
                ended_s = self.length_s if alarm.ended is None else self.time_of(alarm.run, alarm.ended)
                inside |= (at_s >= onset_s) & (at_s <= (self.length_s if ended_s is None else ended_s))
        return inside

    def clock_text(self, at_s: float, seconds: bool = True) -> str:
        """Return a time on the time line as a time of day, with the day where the recording lasts over midnight."""
        zero = self.started_s or 0.0
        clock = time_of_day(zero + at_s, seconds)
        return clock if is_same_day(zero, zero + self.length_s) else f"{day_of_month(zero + at_s)}, {clock}"

    def run_at(self, at_s: float) -> RunSpan | None:
        """Return the run that a time lies in, or the last one before it."""
        # Half a sample of tolerance: the times of runs come from clocks, in floating point.
        index = bisect_right([place.at_s for place in self.places], at_s + 0.5 / FS) - 1
        return self.places[index] if index >= 0 else None

    def lead_at(self, at_s: float) -> str:
        """Return the name of the lead that was heard at a time."""
        place = self.run_at(at_s)
        heard = "" if place is None else self.heard.at(place.run, place.first + (at_s - place.at_s) * FS)
        return heard or self.lead

    def heard_seconds(self) -> dict[str, float]:
        """Return how long each lead was heard, the longest first."""
        heard: dict[str, float] = {}
        for place in self.places:
            for name, seconds in self.heard.seconds_of(place.run, place.first, place.stop, FS).items():
                heard[name or self.lead] = heard.get(name or self.lead, 0.0) + seconds
        return dict(sorted(heard.items(), key=lambda item: -item[1]))

    def wave(self, at_s: float, seconds: float) -> FloatArray:
        """Return the heard lead from a time on: (n,) float32 mV at 125 Hz, NaN where nothing was recorded.

        It is one lead, that of the middle.
        """
        out = np.full(max(0, round(seconds * FS)), np.nan, np.float32)
        # A stretch that crosses runs shows the run in its middle; the rest stays NaN.
        place = self.run_at(at_s + seconds / 2)
        if place is None:
            return out
        first = round(place.first + (at_s - place.at_s) * FS)
        heard = self.heard.at(place.run, first + len(out) / 2)
        for segment in self._segments_of.get(place.run, ()):
            scale = FS / segment.fs
            begin, end = segment.first * scale - first, (segment.first + segment.count) * scale - first
            if end > 0 and begin < len(out):
                self._fill(out, segment, begin, end, heard)
        return out

    def raw_wave(self, segment: RecordedSegment, at: int, before: int, after: int, lead: str = "") -> FloatArray | None:
        """Return samples `at - before` to `at + after` of a segment at its own rate: (n,) float32 mV.

        They are of the main lead unless another one is named; None where they are not all in the segment.
        """
        if at < before or at + after > segment.count:
            return None
        return self.millivolts(segment, at - before, at + after, lead or self.lead)

    def segment_at(self, at_s: float) -> tuple[RecordedSegment, float] | None:
        """Return the segment that a time lies in, and the sample of it, counted from its own first."""
        place = self.run_at(at_s)
        if place is None:
            return None
        for segment in self._segments_of.get(place.run, ()):
            at = (place.first / FS + at_s - place.at_s) * segment.fs - segment.first
            if 0 <= at < segment.count:
                return segment, at
        return None

    def rails(self, segment: RecordedSegment, start: int = 0) -> tuple[float, float]:
        """Return the least and greatest value of the converter of the lead heard at a sample of a segment, in mV."""
        lead = segment.leads[self._index(segment, self._heard_in(segment, start))]
        offset, scale = self._scale(segment, lead, start)
        return (lead.low - offset) * scale, (lead.high - offset) * scale

    def lead_title(self, name: str) -> str:
        """Return the name of a lead, and whether its amplitudes are uncalibrated."""
        units = {lead.unit for segment in self.segments for lead in segment.leads if lead.name == name}
        return f"{name} (uncalibrated)" if units & set(RAW_UNITS) else name

    def _heard_in(self, segment: RecordedSegment, at: float) -> str:
        return self.heard.at(segment.run, (segment.first + at) * FS / segment.fs)

    def _choose_main_lead(self) -> str:
        """Return the recorded lead that was heard longest, else the default of those that are recorded."""
        self.lead = ""
        names = tuple(lead.name for segment in self.segments[:1] for lead in segment.leads)
        everywhere = {lead.name for segment in self.segments for lead in segment.leads}
        heard = next((name for name in self.heard_seconds() if name in everywhere), "")
        return heard or (names[default_lead(names)] if names else "")

    def _scale(self, segment: RecordedSegment, lead: Lead, start: int) -> tuple[float, float]:
        """Return the count that is 0 mV and the mV of a count, NaN if unknown, at sample `start` of a segment."""
        found = [one for one in self._scales if (one.run, one.lead) == (segment.run, lead.name)]
        return lead_scale(lead, (segment.first + start) * FS / segment.fs, found)

    def millivolts(self, segment: RecordedSegment, start: int, stop: int, name: str | None = None) -> FloatArray:
        """Return samples `start` to `stop` of a segment: (n,) float32 mV, NaN without a value.

        They are of the lead `name`, or of the one that was heard in their middle.
        """
        index = self._index(segment, self._heard_in(segment, (start + stop) / 2) if name is None else name)
        lead = segment.leads[index]
        try:
            column = read_segment_counts(segment, start, stop)[:, index]
        except RecordError:  # a monitor with a size limit deleted the file meanwhile
            return np.full(max(0, min(stop, segment.count) - start), np.nan, np.float32)
        offset, scale = self._scale(segment, lead, start)
        wave = ((column - offset) * scale).astype(np.float32)
        wave[column == MISSING] = np.nan
        return wave

    def _index(self, segment: RecordedSegment, wanted: str) -> int:
        names = tuple(lead.name for lead in segment.leads)
        name = next((name for name in (wanted, self.lead) if name in names), None)
        return default_lead(names) if name is None else names.index(name)

    def _fill(self, out: FloatArray, segment: RecordedSegment, begin: float, end: float, heard: str) -> None:
        """Copy the samples of a segment into `out` (n,), in which it reaches from `begin` to `end` (at 125 Hz)."""
        # A millionth of a sample less, so that rounding errors do not skip a slot.
        low, high = max(0, int(np.ceil(begin - 1e-6))), min(len(out), int(np.ceil(end - 1e-6)))
        if high <= low:
            return
        step = segment.fs / FS
        places = (np.arange(low, high) - begin) * step
        start, stop = int(places[0]), min(segment.count, int(places[-1]) + 2)
        stored = self.millivolts(segment, start, stop, heard)
        if not len(stored):
            return
        if step == 1:
            out[low:high] = stored[np.clip(np.rint(places - start).astype(int), 0, len(stored) - 1)]
        else:
            out[low:high] = np.interp(places - start, np.arange(len(stored)), stored)

    def _beats(self, session: RecordedSession) -> RecordedBeats:
        parts: dict[str, list[tuple[int, int, float, float]]] = {}
        for row in session.beat_rows(self.bed):
            if row.run in self._by_run:
                rr_s = row.rr_s if row.rr_s is not None and 0 < row.rr_s < LONGEST_RR_S else np.nan
                parts.setdefault(row.run, []).append(
                    (row.sample, CLASSES.index(row.label), rr_s, _beat_confidence(row.probabilities))
                )
        columns: list[tuple[TimeArray, ...]] = []
        for index, place in enumerate(self.places):
            if rows := parts.pop(place.run, None):
                table = np.array(rows, np.float64)
                table = table[np.argsort(table[:, 0], kind="stable")]
                # Broken rows lie far outside; a beat may lie up to a second past what is on disk.
                table = table[(table[:, 0] >= place.first - FS) & (table[:, 0] <= place.stop + FS)]
                at_s = place.at_s + (table[:, 0] - place.first) / FS
                columns.append((at_s, *table.T[1:], np.full(len(table), float(index))))
        if not columns:
            columns = [(np.zeros(0),) * 5]
        at_s, label, rr_ends_s, confidence, run = (np.concatenate(column) for column in zip(*columns, strict=True))
        return RecordedBeats(
            at_s, label.astype(np.int8), rr_ends_s, run.astype(np.int32), confidence.astype(np.float32)
        )


def _beat_confidence(probabilities: str) -> float:
    """Return the largest of the probabilities in a row, NaN if they cannot be read or are none."""
    try:
        confidence = max(_probabilities.decode(probabilities))
    except (ValueError, RecursionError):
        return float("nan")
    return confidence if 0 <= confidence <= 1 else float("nan")


def read_alarm_strips(session: RecordedSession, bed: str, wanted: set[AlarmIdentity]) -> dict[AlarmIdentity, Strip]:
    """Return the strips of the wanted alarms that the monitor kept, by their identity."""
    keyed = ((strip.alarm.identity, strip) for strip in session.strips(bed))
    return {key: strip for key, strip in keyed if key in wanted}


def read_last_settings(session: RecordedSession, bed: str) -> BedSettings:
    """Return what a bed has last of its own: labels, limits, alarms that are off."""
    events = (event for _, event in session.events(bed, kind="alarm") if isinstance(event, BedSettingsChanged))
    last = deque(events, maxlen=1)
    return last[0].settings if last else NO_SETTINGS


def _place_runs(session: RecordedSession, bed: str, segments: Sequence[RecordedSegment]) -> list[RunSpan]:
    """Place the runs of a bed on the time line.

    Within a run the sample index counts, between runs the clock. No run begins before the previous one has ended.
    """
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
        if (segment_of := first_of.get(name)) is not None:
            clock = segment_of.started_s - (segment_of.first / segment_of.fs - first / FS)
            # The first run with signal fixes the zero; earlier runs without signal keep their lengths.
            zero = clock - end_s if zero is None else zero
            at_s = max(end_s, clock - zero)
        places.append(RunSpan(name, first, stop, at_s))
        end_s = places[-1].end_s
    return places


def _timeline_start(segments: Sequence[RecordedSegment], places: Sequence[RunSpan]) -> float | None:
    """Return the Unix time at which the time line starts, None without any signal."""
    by_run = {place.run: place for place in places}
    for segment in segments:
        place = by_run[segment.run]
        return segment.started_s - place.at_s - (segment.first / segment.fs - place.first / FS)
    return None
