"""Strips of the report: the signal of any stretch with its beats, and the section of extremes."""

import numpy as np

from agent.core.config import Config
from agent.core.messages import FloatArray
from agent.report.bed_recording import BedRecording
from agent.report.document import FigureGrid, ReportFigure, ReportSection
from agent.report.ecg_paper import FULL_SCALE, HALF_SCALE, StripDrawing, StripFlag, StripScale, strip_picture
from agent.report.findings import BeatFindings, EctopicRun
from agent.report.rhythm_episodes import RhythmEpisodes
from agent.report.styles import duration_in_words
from model.records.wfdb_records import CLASSES

MOST_EXTREME_STRIPS = 3
"""Longest pauses and runs of V beats that are shown with a strip."""


def extreme_section(
    recording: BedRecording, findings: BeatFindings, fibrillation: RhythmEpisodes, config: Config
) -> ReportSection:
    """Return the section of extremes, each with its strip; the longest pause and run at the usual scale."""
    section = ReportSection("Strips of extremes")
    doubt = config.dashboard.least_confidence
    large: list[tuple[str, float]] = []
    small: list[tuple[str, float]] = []
    for index in findings.pauses[:MOST_EXTREME_STRIPS]:
        (small if large else large).append((_pause_title(recording, index), _pause_middle(recording, index)))
    for name, word in (("V", "ventricular"), ("S", "supraventricular")):
        runs = findings.runs[name][: MOST_EXTREME_STRIPS if name == "V" else 1]
        titled = [(_run_title(run, word), _run_middle(recording, run)) for run in runs]
        large += titled[:1]
        small += titled[1:]
    for title, at in (("Slowest rate", findings.slowest), ("Fastest rate", findings.fastest)):
        if at is not None:
            small.append((f"{title}: {findings.rate[at]:.0f} per minute", float(recording.beats.at_s[at])))
    if len(fibrillation.spans):
        begin, end = fibrillation.longest
        lasted = duration_in_words(end - begin)
        small.append((f"Longest atrial fibrillation, {lasted}: its middle", (begin + end) / 2))
    section.blocks += [_strip_figure(recording, *one, FULL_SCALE, doubt) for one in large]
    if small:
        grid = tuple(_strip_figure(recording, *one, HALF_SCALE, doubt) for one in small)
        section.blocks.append(FigureGrid(grid, 2))
    return section


def build_strip_drawing(
    recording: BedRecording,
    span: tuple[float, float],
    flags: tuple[StripFlag, ...],
    title: str,
    least_confidence: float,
    wave: FloatArray | None = None,
) -> StripDrawing:
    """Return the strip of a `span` (its start and its seconds); the letter of a beat below `least_confidence` is small.

    `wave` (n,) float32 mV at 125 Hz is what the monitor kept of it; without it the recorded signal is read.
    """
    begin_s, seconds = span
    first, stop = np.searchsorted(recording.beats.at_s, (begin_s, begin_s + seconds))
    letters = [CLASSES[label] for label in recording.beats.label[first:stop].tolist()]
    doubtful = (recording.beats.confidence[first:stop] < least_confidence).tolist()
    beats = [
        (at_s - begin_s, letter.lower() if doubt else letter)
        for at_s, letter, doubt in zip(recording.beats.at_s[first:stop].tolist(), letters, doubtful, strict=True)
    ]
    clocks = [recording.clock_text(begin_s + 10.0 * row) for row in range(int(np.ceil(seconds / 10.0)))]
    lead = recording.lead_title(recording.lead_at(begin_s + seconds / 2))
    shown = recording.wave(begin_s, seconds) if wave is None else wave
    return StripDrawing(shown, beats, flags, clocks, lead, title)


def _strip_figure(
    recording: BedRecording, title: str, middle_s: float, scale: StripScale, least_confidence: float
) -> ReportFigure:
    """Return a row of signal around a moment."""
    seconds = scale.row_s
    begin_s = max(0.0, min(middle_s - seconds / 2, recording.length_s - seconds))
    at = recording.clock_text(begin_s)
    about = f"{title}. ECG strip from {at}, {seconds:.1f} s."
    strip = build_strip_drawing(recording, (begin_s, seconds), (), about, least_confidence)
    made = StripDrawing(strip.wave, strip.beats, (), strip.clocks, strip.lead, about, scale)
    return ReportFigure(strip_picture(made), f"{title}; from {at}")


def _pause_title(recording: BedRecording, index: int) -> str:
    return f"Pause: RR {recording.beats.rr_s[index]:.2f} s"


def _pause_middle(recording: BedRecording, index: int) -> float:
    return float(recording.beats.at_s[index] - recording.beats.rr_s[index] / 2)


def _run_title(run: EctopicRun, word: str) -> str:
    return f"Run of {len(run):,} {word} beats, {run.rate:.0f} per minute"


def _run_middle(recording: BedRecording, run: EctopicRun) -> float:
    """Return the middle of a run; of a long one a moment near its start, so that the strip shows how it begins."""
    begin, end = (float(recording.beats.at_s[at]) for at in (run.first, run.stop - 1))
    return min((begin + end) / 2, begin + FULL_SCALE.row_s / 2 - 1.5)
