"""A recording as EDF+C: signals in 16 bits; beats, alarms and what is missing as annotations.

Counts whose range fits 16 bits are written exactly, others in the smallest whole steps that fit. EDF has no mark for a
sample without a value: it gets the lowest digital value, and an annotation says where. The file is made in memory.
EDF+: Kemp & Olivan 2003, doi:10.1016/S1388-2457(03)00123-8.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BufferedWriter

import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal, Patient, Recording
from numpy.typing import NDArray

from agent.core.messages import MISSING, Alarm, Lead
from agent.core.sample_index import nearest_device_index
from agent.export.edf_onsets import ONSET_DECIMALS, round_onsets
from agent.recording.recorded_segments import BeatMark, RecordedSegment, read_segment_counts
from model.errors import RecordError

LOWEST, HIGHEST = -(2**15), 2**15 - 1
BLOCK_S = 60.0
MOST_BYTES = 2**31
"""Most bytes of signal in one file."""
RECORD_BYTES = 61_440
"""Most bytes of signal in one data record, as EDF recommends."""
RECORDS_S = (1.0, 2.0, 4.0, 8.0, 0.5, 0.25, 0.125)
"""Lengths of a data record, the preferred ones first; their multiples are exact."""
LONGEST_RECORD_S = 9.0
"""Seconds of a data record at other rates: with six decimals they fill the eight characters of their field."""
RATE_ERROR = 1e-10
"""Error of a rate by that rounding that is not worth a longer data record: a sample in a year."""
TICK_S = 1 / 64
"""The start is rounded to it, so that times of data records are exact and short decimals."""
MERGED_S = 1.0
"""Stretches without a value that lie closer together share one annotation."""
FIRST_YEAR, LAST_YEAR = 1985, 2084
NO_ERROR, MOST_ERROR = 0.01, 32.0
"""Errors of the ends of a range, in digital values: not worth another unit, and too large (1/2000 of the range)."""
MICROVOLTS = {"V": 1e6, "mV": 1e3}
"""Microvolts in one unit: EDF gives a range eight characters, which are too few for small numbers."""


@dataclass(frozen=True, slots=True)
class _RecordGrid:
    """Data records of `samples` of each lead in `seconds`."""

    samples: int
    seconds: float

    @property
    def fs(self) -> float:
        return self.samples / self.seconds


@dataclass(frozen=True, slots=True)
class _DigitalScale:
    """A digital value stands for the count `base + step * value`."""

    base: int = 0
    step: int = 1

    def digital(self, counts: NDArray[np.int32]) -> NDArray[np.int16]:
        """Return counts (n,) int32 as digital values (n,) int16, the lowest where there is no value."""
        value = (counts.astype(np.int64) - self.base + self.step // 2) // self.step
        return np.where(counts == MISSING, LOWEST, value).astype(np.int16)


def write_edf(
    marked: Iterable[tuple[RecordedSegment, list[BeatMark]]],
    segments: Sequence[RecordedSegment],
    alarms: Iterable[Alarm],
    file: BufferedWriter,
) -> None:
    """Write segments of one bed as EDF+C, with their beats and alarms as annotations.

    Parameters
    ----------
    marked
        The segments again, each with its beats.
    segments
        Segments of one bed, with the same leads and rate, in order.
    alarms
        Alarms of the bed; those that began in the segments are written.
    file
        A file to write to.

    Raises
    ------
    RecordError
        If EDF cannot hold the recording: too long, or with a range that its digits cannot tell.
    """
    leads, fs = segments[0].leads, segments[0].fs
    places = _place_segments(segments)
    ends = [place + segment.count for place, segment in zip(places, segments, strict=True)]
    if any(place < end for place, end in zip(places[1:], ends, strict=False)) or places[0] < 0:
        raise RecordError(f"records in {segments[0].path.parent} overlap: convert them one by one, or to .csv")
    grid = _choose_record_grid(fs, len(leads))
    records = -(-(places[-1] + segments[-1].count) // grid.samples)
    if records * grid.samples * len(leads) * 2 > MOST_BYTES:
        raise RecordError(f"{places[-1] / fs / 3600:.0f} hours are too much for one EDF file: convert parts of it")
    scales = _scale_leads(segments)
    digital = np.full((len(leads), records * grid.samples), LOWEST, np.int16)
    annotations = [*_scale_annotations(leads, scales)]
    annotations += _digitise_segments(zip(places, marked, strict=True), scales, grid.fs, digital)
    annotations += _alarm_annotations(alarms, segments, places, grid.fs)
    end = places[-1] + segments[-1].count
    if end < digital.shape[1]:
        annotations.append(_span_annotation(end, digital.shape[1], grid.fs, "after the end of the recording"))
    started = _edf_start_time(segments[0].started_s)
    try:
        Edf(
            [
                _build_edf_signal(digital[i], grid.fs, lead, label, scale)
                for i, (lead, label, scale) in enumerate(zip(leads, _make_edf_labels(leads), scales, strict=True))
            ],
            patient=Patient(),
            recording=Recording(startdate=started.date() if started else None, equipment_code="ecg-agent"),
            starttime=started.time() if started else None,
            data_record_duration=grid.seconds,
            annotations=annotations,
        ).write(file)
        round_onsets(file)
    except ValueError as error:
        raise RecordError(f"EDF cannot hold this recording: {error}; use .csv") from error


def _digitise_segments(
    placed: Iterable[tuple[int, tuple[RecordedSegment, list[BeatMark]]]],
    scales: Sequence[_DigitalScale],
    fs: float,
    digital: NDArray[np.int16],
) -> list[EdfAnnotation]:
    """Write segments into `digital` (leads, n), each at its place in the file; return beats and gaps as annotations."""
    annotations: list[EdfAnnotation] = []
    missing: _MissingSpans | None = None
    end = 0
    for place, (segment, marks) in placed:
        missing = missing or _MissingSpans(segment.leads, segment.fs)
        if place > end:
            annotations.append(_span_annotation(end, place, fs, "not recorded"))
        for start, counts in _read_count_blocks(segment):
            missing.push(place + start, counts)
            for lead, scale in enumerate(scales):
                digital[lead, place + start : place + start + len(counts)] = scale.digital(counts[:, lead])
        annotations += [EdfAnnotation(round((place + mark) / fs, 6), None, label) for mark, label in marks]
        end = place + segment.count
    spans = missing.spans() if missing else []
    return annotations + [_span_annotation(start, stop, fs, text) for start, stop, text in spans]


def _scale_annotations(leads: Sequence[Lead], scales: Sequence[_DigitalScale]) -> Iterator[EdfAnnotation]:
    """Yield an annotation for each lead whose digital values are steps of several counts."""
    for lead, scale in zip(leads, scales, strict=True):
        if scale.step > 1:
            yield EdfAnnotation(0.0, None, f"{lead.name}: {scale.step} counts in one step")


def _place_segments(segments: Sequence[RecordedSegment]) -> list[int]:
    """Return the sample of the file at which each segment begins: by index within a run, by the clock between runs."""
    places: list[int] = []
    anchor, anchor_place, end = segments[0], 0, 0
    for segment in segments:
        if segment.run != anchor.run:
            by_clock = round((segment.started_s - segments[0].started_s) * segment.fs)
            anchor, anchor_place = segment, max(end, by_clock)
        places.append(anchor_place + segment.first - anchor.first)
        end = places[-1] + segment.count
    return places


def _choose_record_grid(fs: float, leads: int) -> _RecordGrid:
    for seconds in RECORDS_S:
        samples = round(fs * seconds)
        if samples == fs * seconds > 0 and samples * leads * 2 <= RECORD_BYTES:
            return _RecordGrid(samples, seconds)
    most = int(min(fs * LONGEST_RECORD_S, RECORD_BYTES // (2 * leads)))
    samples_of = np.arange(1, max(2, most))
    seconds_of = np.round(samples_of / fs, ONSET_DECIMALS)
    errors = np.abs(samples_of / np.maximum(seconds_of, 10.0**-ONSET_DECIMALS) / fs - 1)
    best = int(np.flatnonzero(errors <= max(RATE_ERROR, errors.min()))[0])
    return _RecordGrid(int(samples_of[best]), float(seconds_of[best]))


def _scale_leads(segments: Sequence[RecordedSegment]) -> list[_DigitalScale]:
    """Return how the counts of each lead fit 16 bits; if they may not, all counts are read first."""
    leads = len(segments[0].leads)
    if all(segment.format == 16 for segment in segments):
        return [_DigitalScale()] * leads
    lowest, highest = np.full(leads, -MISSING, np.int64), np.full(leads, MISSING, np.int64)
    for segment in segments:
        for _, counts in _read_count_blocks(segment):
            valid = counts != MISSING
            lowest = np.minimum(lowest, np.min(counts, axis=0, initial=-MISSING - 1, where=valid))
            highest = np.maximum(highest, np.max(counts, axis=0, initial=MISSING, where=valid))
    return [_fit_digital_scale(low, high) for low, high in zip(lowest.tolist(), highest.tolist(), strict=True)]


def _fit_digital_scale(lowest: int, highest: int) -> _DigitalScale:
    if lowest > LOWEST and highest <= HIGHEST:
        return _DigitalScale()
    step = max(1, -(-(highest - lowest) // (2 * HIGHEST)))
    return _DigitalScale(lowest + HIGHEST * step, step)


def _read_count_blocks(segment: RecordedSegment) -> Iterator[tuple[int, NDArray[np.int32]]]:
    size = max(1, round(BLOCK_S * segment.fs))
    for start in range(0, segment.count, size):
        yield start, read_segment_counts(segment, start, start + size)


def _build_edf_signal(digital: NDArray[np.int16], fs: float, lead: Lead, label: str, scale: _DigitalScale) -> EdfSignal:
    """Return a lead in the unit whose range fits EDF's eight characters best. Raises RecordError, ValueError."""
    ends = [(scale.base + scale.step * value - lead.offset) / lead.gain for value in (LOWEST, HIGHEST)]
    unit = "".join(c if c.isascii() else "?" for c in lead.unit.replace("\u00b5", "u").replace("\u03bc", "u"))[:8]
    best: tuple[float, EdfSignal] | None = None
    for name, factor in ((unit, 1.0), ("uV", MICROVOLTS.get(unit, 1.0))):
        low, high = (factor * end for end in ends)
        with contextlib.suppress(ValueError):
            signal = EdfSignal.from_digital(
                digital,
                fs,
                label=label,
                physical_dimension=name,
                physical_range=(_round_to_eight_chars(low), _round_to_eight_chars(high)),
            )
            error = max(abs(signal.physical_min - low), abs(signal.physical_max - high)) / (high - low) * 2**16
            if best is None or error < best[0] / 2:
                best = error, signal
        if unit not in MICROVOLTS or (best is not None and best[0] < NO_ERROR):
            break
    if best is None or best[0] > MOST_ERROR:
        raise RecordError(f"EDF has too few digits for the range of lead {lead.name} in {lead.unit}: use .csv")
    return best[1]


def _round_to_eight_chars(value: float) -> float:
    """Return the nearest number of eight characters. Raises ValueError if there is none."""
    for digits in range(7, -1, -1):
        rounded = round(value, digits)
        text = str(int(rounded)) if rounded.is_integer() else str(rounded)
        if len(text) <= 8 and "e" not in text:
            return rounded
    raise ValueError(f"{value} has no eight characters")


def _make_edf_labels(leads: Sequence[Lead]) -> list[str]:
    """Return different names of at most 16 ASCII characters for leads."""
    labels: list[str] = []
    for lead in leads:
        plain = "".join(c if c.isascii() else "?" for c in lead.name)
        label, number = plain[:16].strip() or "?", 1
        while label in labels or label == "EDF Annotations":
            number += 1
            label = f"{plain[: 15 - len(str(number))]}-{number}"
        labels.append(label)
    return labels


def _edf_start_time(started_s: float) -> datetime | None:
    """Return the start as EDF can hold it, None if it cannot."""
    started = datetime.fromtimestamp(0, UTC) + timedelta(seconds=round(started_s / TICK_S) * TICK_S)
    return started.replace(tzinfo=None) if FIRST_YEAR <= started.year <= LAST_YEAR else None


def _span_annotation(start: int, stop: int, fs: float, text: str) -> EdfAnnotation:
    return EdfAnnotation(round(start / fs, 6), round((stop - start) / fs, 6), text)


def _alarm_annotations(
    alarms: Iterable[Alarm], segments: Sequence[RecordedSegment], places: Sequence[int], fs: float
) -> Iterator[EdfAnnotation]:
    """Yield alarms that began within the segments, as long as they lasted there; without a length if they are open."""
    shift = {segment.run: place - segment.first for segment, place in zip(segments, places, strict=True)}
    first = {segment.run: segment.first for segment in reversed(segments)}
    stop = {segment.run: segment.first + segment.count for segment in segments}
    for alarm in alarms:
        onset, run = nearest_device_index(alarm.onset, segments[0].fs), alarm.run
        if run in shift and first[run] <= onset < stop[run]:
            length = None
            if alarm.ended is not None:
                ended = min(max(onset, nearest_device_index(alarm.ended, segments[0].fs)), stop[run])
                length = round((ended - onset) / fs, 6)
            yield EdfAnnotation(round((onset + shift[run]) / fs, 6), length, f"alarm: {alarm.text}")


class _MissingSpans:
    """Stretches without a value, lead by lead."""

    def __init__(self, leads: Sequence[Lead], fs: float) -> None:
        self._leads, self._merged = leads, round(MERGED_S * fs)
        self._spans: list[list[list[int]]] = [[] for _ in leads]

    def push(self, first: int, counts: NDArray[np.int32]) -> None:
        """Take counts (n, leads) int32, the first being sample `first` of the file."""
        missing = counts == MISSING
        if not missing.any():
            return
        for stretches, column in zip(self._spans, missing.T, strict=True):
            padded = np.concatenate([[False], column, [False]])
            edges = np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2) + first
            for start, stop in edges.tolist():
                if stretches and start - stretches[-1][1] < self._merged:
                    stretches[-1][1] = stop
                else:
                    stretches.append([start, stop])

    def spans(self) -> list[tuple[int, int, str]]:
        """Return first sample, the one after the last, and the annotation of each stretch without a value."""
        leads: dict[tuple[int, int], list[str]] = {}
        for lead, stretches in zip(self._leads, self._spans, strict=True):
            for start, stop in stretches:
                leads.setdefault((start, stop), []).append(lead.name)
        every = len(self._leads)
        return [
            (start, stop, "no value" if len(names) == every else f"no value: {', '.join(names)}")
            for (start, stop), names in leads.items()
        ]
