"""A recording as text: samples and beats as CSV, beats, events and alarms as JSON lines. Never all of it in memory."""

import csv
import io
from collections.abc import Iterable, Sequence
from heapq import merge
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent.core.clock import LARGEST_TIME
from agent.core.events import Event
from agent.core.messages import MISSING, Alarm, Beat, Lead
from agent.core.sample_index import nearest_device_index
from agent.outputs.json_lines import alarm_to_json, beat_to_json, event_to_json
from agent.recording.recorded_segments import BeatMark, RecordedSegment, SegmentTimes, read_segment_counts
from agent.recording.sessions import RecordedRun, RecordedSession
from model.records.resample import resampling_delay_s

BLOCK_S = 60.0
MOST_TEXTS = 2**17
"""Counts of a lead whose text is kept."""
DECIMALS = 6
"""Decimals of a time in seconds."""


def write_csv(
    marked: Iterable[tuple[RecordedSegment, list[BeatMark]]], segments: Sequence[RecordedSegment], file: BinaryIO
) -> None:
    """Write segments of one bed as CSV, with their beats.

    A row holds a recorded sample: its index in the run, its time in the run and by the clock, the value of each lead
    (empty without one), and the class of the beat whose R peak it is. If there are several runs a last column numbers
    them from 1.

    Parameters
    ----------
    marked
        The segments again, each with its beats.
    segments
        Segments of one bed, with the same leads and rate, in order.
    file
        A file to write to.
    """
    leads, fs = segments[0].leads, segments[0].fs
    runs = list(dict.fromkeys(segment.run for segment in segments))
    titles = ["sample", "time_s", "time", *(f"{lead.name} ({lead.unit})" for lead in leads), "beat"]
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow([*titles, "run"] if len(runs) > 1 else titles)
    file.write(header.getvalue().encode())
    times = _TimeTexts(fs)
    values = [_CountTexts(lead) for lead in leads]
    size = max(1, round(BLOCK_S * fs))
    for segment, marks in marked:
        labels = dict(marks)
        ending = f",{runs.index(segment.run) + 1}\n" if len(runs) > 1 else "\n"
        for start in range(0, segment.count, size):
            block = read_segment_counts(segment, start, start + size)
            first = segment.first + start
            samples = range(first, first + len(block))
            columns = [counts.texts(block[:, lead]) for lead, counts in enumerate(values)]
            beats = [labels.get(place, "") for place in range(start, start + len(block))]
            walls = _wall_texts(segment.started_s + np.arange(start, start + len(block)) / fs)
            rows = zip(map(str, samples), times.texts(samples), walls, *columns, beats, strict=True)
            file.write((ending.join(map(",".join, rows)) + ending).encode())


def write_json_lines(session: RecordedSession, bed: str, only: RecordedSegment | None, file: BinaryIO) -> None:
    """Write the beats, events and alarms of a bed as JSON lines, in the order in which the monitor decided them.

    An alarm is written once, in its last state. With `only`, write those of one segment.
    """
    times = SegmentTimes(session.segments(bed))
    for run in session.runs(bed):
        if only is not None and only.run != run.run:
            continue
        fs = only.fs if only else run.fs
        delay_s = resampling_delay_s(fs)
        for item in _merge_run_items(session, bed, run):
            sample = item.onset if isinstance(item, Alarm) else item.sample
            if only is None or 0 <= nearest_device_index(sample, only.fs) - only.first < only.count:
                line = _item_to_json_dict(item, delay_s, times.time_of(run.run, sample))
                file.write(msgspec.json.encode(line) + b"\n")


def _item_to_json_dict(item: Beat | Event | Alarm, delay_s: float, at_s: float | None) -> dict[str, Any]:
    if isinstance(item, Alarm):
        return alarm_to_json(item, at_s)
    return event_to_json(item, at_s) if isinstance(item, Event) else beat_to_json(item, delay_s, None, at_s)


def _merge_run_items(session: RecordedSession, bed: str, run: RecordedRun) -> Iterable[Beat | Event | Alarm]:
    """Return the results of a run in the order of the samples that decided them, events first, alarms last."""
    events = (((event.sample, 0), event) for _, event in session.events(bed, run.run))
    beats = (((beat.class_known, 1), beat) for beat in session.beats(bed, run=run.run))
    alarms = (((alarm.announced, 2), alarm) for alarm in session.alarms(bed, run.run))
    every: Iterable[tuple[tuple[int, int], Beat | Event | Alarm]] = merge(events, beats, alarms, key=lambda it: it[0])
    return (item for _, item in every)


def _wall_texts(at_s: NDArray[np.float64]) -> list[str]:
    """Return Unix times (n,) as `agent.core.clock.format_wall_time` writes them, many at once."""
    milliseconds = np.rint(1000 * np.minimum(at_s, LARGEST_TIME)).astype("datetime64[ms]")
    return [f"{text}+00:00" for text in np.datetime_as_string(milliseconds).tolist()]


class _TimeTexts:
    """The times of samples as text, in seconds."""

    def __init__(self, fs: float) -> None:
        self._fs, self._whole = fs, int(fs) if float(fs).is_integer() else 0
        self._parts = [repr(round(i / fs, DECIMALS)).removeprefix("0") for i in range(self._whole)]

    def texts(self, samples: range) -> list[str]:
        """Return the times of samples of the run."""
        if not self._whole:
            return [repr(round(sample / self._fs, DECIMALS)) for sample in samples]
        seconds = range(samples.start // self._whole, -(-samples.stop // self._whole))
        texts = [f"{second}{part}" for second in seconds for part in self._parts]
        before = samples.start - seconds.start * self._whole
        return texts[before : before + len(samples)]


class _CountTexts:
    """Values of a lead as text, in its unit, with the digits that distinguish one count from another."""

    def __init__(self, lead: Lead) -> None:
        self._lead = lead
        self._known: dict[int, str] = {MISSING: ""}

    def texts(self, column: NDArray[np.int32]) -> list[str]:
        """Return the values of counts (n,) int32, "" for MISSING."""
        values, places = np.unique(column, return_inverse=True)
        if len(self._known) > MOST_TEXTS:
            self._known = {MISSING: ""}
        texts = [self._known.get(count) or self._text(count) for count in values.tolist()]
        values_of_samples: list[str] = np.array(texts, dtype=object)[places].tolist()
        return values_of_samples

    def _text(self, count: int) -> str:
        if count == MISSING:
            return ""
        text = self._known[count] = repr((count - self._lead.offset) / self._lead.gain)
        return text
