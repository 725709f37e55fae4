"""The recorded signal of one lead as millivolts at 125 Hz, read back while it is written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.core.events import LeadScaled
from agent.core.lead_units import RAW_UNITS, UNITS_MV
from agent.core.look_back import SignalPiece
from agent.core.messages import MISSING, FloatArray, Lead
from agent.recording.past_records import read_beats_between
from agent.recording.recorded_segments import RecordedSegment, SegmentTimes, read_segment_counts
from agent.recording.sessions import RecordedSession
from model.errors import RecordError
from model.records.lead_choice import default_lead
from model.records.resample import FS

LONGEST_PIECE = 600 * FS
"""Samples of a piece, ten minutes."""


def read_signal_piece(folder: Path, bed: str, run: str, first: int, count: int, lead: str) -> SignalPiece:
    """Read back a piece of a run with its beats.

    Parameters
    ----------
    folder
        The recording, which may be written at the same time.
    bed, run
        Whose signal, and of which start of the device.
    first, count
        First sample at 125 Hz, and how many; LONGEST_PIECE at most.
    lead
        The lead to read; the default one of those recorded if there is none of this name.

    Returns
    -------
    SignalPiece
        NaN where nothing is recorded.

    Raises
    ------
    RecordError
        If the recording is broken.
    """
    count = min(count, LONGEST_PIECE)
    with RecordedSession(folder) as session:
        segments = [segment for segment in session.segments(bed) if segment.run == run]
        names = tuple(known.name for segment in segments[:1] for known in segment.leads)
        lead = lead if lead in names or not names else names[default_lead(names)]
        events = session.events(bed, run, "signal")
        scales = [event for _, event in events if isinstance(event, LeadScaled) and event.lead == lead]
    wave = np.full(count, np.nan, np.float32)
    uncalibrated = False
    for segment in segments:
        column = next((i for i, known in enumerate(segment.leads) if known.name == lead), None)
        if column is not None:
            uncalibrated |= segment.leads[column].unit in RAW_UNITS
            _fill_wave(wave, segment, column, first, scales)
    beats = read_beats_between(folder, bed, run, first, first + count)
    first_s = SegmentTimes(segments).time_of(run, first)
    return SignalPiece(bed, run, lead, first, wave, beats, first_s, uncalibrated)


def lead_scale(lead: Lead, sample: float, scales: Sequence[LeadScaled]) -> tuple[float, float]:
    """Return the count that is 0 mV and the mV of a count at sample `sample` (125 Hz); NaN if they are unknown.

    `scales` that were found of this lead in this run, in order, if it is in raw counts.
    """
    if lead.unit in UNITS_MV:
        return lead.offset, UNITS_MV[lead.unit] / lead.gain
    known = [scale for scale in scales if scale.per_mv]
    scale = next((scale for scale in reversed(known) if scale.sample <= sample), known[0] if known else None)
    if scale is None or not scale.per_mv:
        return lead.offset, float("nan")
    return lead.offset + scale.zero * lead.gain, 1 / (scale.per_mv * lead.gain)


def _fill_wave(
    wave: FloatArray, segment: RecordedSegment, column: int, first: int, scales: Sequence[LeadScaled]
) -> None:
    """Copy what a segment has of `wave` (n,) float32 mV, whose first sample is `first` of the run at 125 Hz."""
    step = segment.fs / FS
    begin = segment.first / step - first
    low, high = max(0, int(np.ceil(begin - 1e-6))), min(len(wave), int(np.ceil(begin + segment.count / step - 1e-6)))
    if high <= low:
        return
    places = np.maximum(0, (np.arange(low, high) - begin) * step)
    start, stop = int(places[0]), min(segment.count, int(places[-1]) + 2)
    try:
        counts = read_segment_counts(segment, start, stop)[:, column]
    except RecordError:  # a monitor with a size limit deleted the file meanwhile
        return
    zero, scale = lead_scale(segment.leads[column], first + low, scales)
    values = (counts - zero) * scale
    values[counts == MISSING] = np.nan
    wave[low:high] = np.interp(places - start, np.arange(len(values)), values)
