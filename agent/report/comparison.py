"""Two recordings compared: their figures side by side, the differences, and their trends over each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agent.core.class_trust import trust_sentence
from agent.core.messages import PRIORITIES
from agent.report.bed_recording import BedRecording
from agent.report.caliper_picture import caliper_picture
from agent.report.comparison_charts import ectopy_comparison_chart, nn_comparison_chart, rate_comparison_chart
from agent.report.document import (
    PlainBlock,
    ReportDocument,
    ReportFigure,
    ReportNote,
    ReportSection,
    ReportTable,
    SideBySide,
)
from agent.report.recording_words import WARNING, describe_leads, describe_rate, describe_span
from agent.report.styles import NONE, duration_in_words, number_or_dash
from agent.report.summary_content import ReportFindings
from model.intervals.beat_intervals import IntervalEstimate
from model.rhythm.hrv import measure_nn_spectrum, measure_time_domain

UNKNOWN = float("nan")
LEAST_SHARE = 2.0
"""If one recording is longer than the other by more than this factor, the report says that counts do not compare."""


@dataclass(frozen=True, slots=True, eq=False)
class ComparedRecording:
    """A recording of a bed under the `title` that tells it from the other one, and all that was found in it."""

    title: str
    recording: BedRecording
    found: ReportFindings


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """A figure of both recordings with its `unit`; `uncertain`: what a difference must be greater than to mean much."""

    name: str
    first: float
    second: float
    digits: int = 0
    unit: str = ""
    uncertain: float = 0.0

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table; NaN is a dash."""
        shown = (number_or_dash(value, self.digits, self.unit) for value in (self.first, self.second))
        change = self.second - self.first
        if change != change:
            return self.name, *shown, NONE
        if not round(change, self.digits):
            return (self.name, *shown, "same")
        difference = f"{change:+,.{self.digits}f}{' ' * bool(self.unit)}{self.unit}"
        doubt = f", within ± {self.uncertain:.0f}" if 0 < abs(change) <= self.uncertain else ""
        return (self.name, *shown, f"{difference}{doubt}")


def build_comparison(pair: tuple[ComparedRecording, ComparedRecording]) -> ReportDocument:
    """Return the document that compares two recordings; differences are of the second to the first."""
    named = [(one.title, one.recording, one.found) for one in pair]
    figures = tuple(figure.cells() for figure in compare_figures(*pair))
    heads = ("figure", pair[0].title, pair[1].title, "difference")
    # Two halves beside each other stay on one page.
    half = (len(figures) + 1) // 2
    halves = tuple(
        (ReportTable(heads, part, "lrrr", (0.34, 0.2, 0.2, 0.26)),) for part in (figures[:half], figures[half:])
    )
    tables = SideBySide(halves, (0.5, 0.5))
    beats = tuple(
        (ReportFigure(caliper_picture(one.found.measured), one.title),) if one.found.measured is not None else ()
        for one in pair
    )
    charts: list[PlainBlock] = [ReportFigure(ectopy_comparison_chart(named))]
    charts.append(ReportFigure(nn_comparison_chart([one.found.nn for one in pair])))
    trends = ReportSection(
        "Trends", [ReportFigure(rate_comparison_chart(named)), SideBySide(((charts[0],), (charts[1],)), (0.5, 0.5))]
    )
    notes = (*_length_note(pair), ReportNote(f"{_caption(pair)}."))
    section = ReportSection("Comparison", [*notes, tables, *_missing_pr_notes(pair)])
    if any(beats):
        trends.blocks.append(SideBySide(beats, (0.5, 0.5)))
    footer = f"{pair[0].title} and {pair[1].title}   {WARNING}"
    title = f"ECG comparison: {pair[0].title} and {pair[1].title}"
    return ReportDocument(title, tuple(_facts(pair)), WARNING, footer, [section, trends])


def compare_figures(first: ComparedRecording, second: ComparedRecording) -> Iterator[ComparedFigure]:
    """Yield the figures of both recordings, in the order of the report."""
    ours = zip(_measured_figures(first), _measured_figures(second), strict=True)
    for (name, value, digits, unit), (_, other, _, _) in ours:
        yield ComparedFigure(name, value, other, digits, unit)
    lengths = zip(_interval_figures(first), _interval_figures(second), strict=True)
    for (name, value, doubt), (_, other, other_doubt) in lengths:
        yield ComparedFigure(name, value, other, 0, "ms", float(np.hypot(doubt, other_doubt)))


def _measured_figures(one: ComparedRecording) -> Iterator[tuple[str, float, int, str]]:
    """Yield name, value, digits and unit of each figure of a recording; NaN where it is not known."""
    recording, found, beats = one.recording, one.found, one.found.beats
    noise = found.signal.noise_uv[np.isfinite(found.signal.noise_uv)]
    yield "length", recording.length_s / 60, 1, "min"
    yield "with signal", 100 * found.signal.recorded_s / recording.length_s if recording.length_s else UNKNOWN, 1, "%"
    yield "noise, median of the minutes", float(np.median(noise)) if len(noise) else UNKNOWN, 0, "µV"
    yield "mean heart rate", _or_unknown(found.mean_rate), 0, "/min"
    for name, at in (("slowest rate", beats.slowest), ("fastest rate", beats.fastest)):
        yield name, UNKNOWN if at is None else float(beats.rate[at]), 0, "/min"
    yield "beats", float(beats.total), 0, ""
    for name in "VS":
        yield f"{name} burden", beats.share(name) if beats.total else UNKNOWN, 2, "%"
        yield f"{name} couplets", float(beats.couplets[name]), 0, ""
        yield f"{name} runs", float(beats.run_count[name]), 0, ""
        yield f"longest {name} run", float(len(beats.runs[name][0])) if beats.runs[name] else UNKNOWN, 0, "beats"
    yield "pauses", float(beats.pause_count), 0, ""
    yield "longest pause", float(recording.beats.rr_s[beats.pauses[0]]) if beats.pauses else UNKNOWN, 2, "s"
    episodes = found.fibrillation
    yield "atrial fibrillation, share of the signal", 100 * episodes.share, 1, "%"
    yield "episodes of it", float(len(episodes)), 0, ""
    longest = float(np.subtract(*episodes.longest[::-1])) / 60 if len(episodes) else UNKNOWN
    yield "longest of them", longest, 1, "min"
    yield from _variability_figures(found)
    for priority in PRIORITIES:
        count = sum(alarm.priority == priority for alarm in recording.alarms)
        yield f"alarms of {priority} priority", float(count), 0, ""


def _variability_figures(found: ReportFindings) -> Iterator[tuple[str, float, int, str]]:
    holds = not found.nn_doubt
    time_domain, power = (measure_time_domain(found.nn), measure_nn_spectrum(found.nn)) if holds else (None, None)
    yield "SDNN", _or_unknown(time_domain.sdnn if time_domain else None), 1, "ms"
    yield "RMSSD", _or_unknown(time_domain.rmssd if time_domain else None), 1, "ms"
    yield "pNN50", _or_unknown(time_domain.pnn50 if time_domain else None), 1, "%"
    yield "LF / HF", _or_unknown(power.ratio if power else None), 2, ""


def _interval_figures(one: ComparedRecording) -> Iterator[tuple[str, float, float]]:
    """Yield name, length and uncertainty in ms of the intervals of the typical beat; NaN and 0 where unknown."""
    measured = one.found.measured
    found = None if measured is None else measured.intervals
    for name in ("pr", "qrs", "qt"):
        estimate = IntervalEstimate() if found is None else getattr(found, name)
        yield f"{name.upper()} of the typical beat", _or_unknown(estimate.ms), estimate.uncertainty_ms or 0.0
    corrected = None if measured is None else measured.corrected()
    doubt = (found.qt.uncertainty_ms or 0.0) if found is not None else 0.0
    yield "QTc (Bazett)", _or_unknown(corrected.bazett_ms if corrected else None), doubt
    yield "QTc (Fridericia)", _or_unknown(corrected.fridericia_ms if corrected else None), doubt


def _or_unknown(value: float | None) -> float:
    return UNKNOWN if value is None else value


def _caption(pair: Sequence[ComparedRecording]) -> str:
    trusts = [trust_sentence(one.recording.class_trust, "S") for one in pair]
    if trusts[0] == trusts[1]:
        return f"Side by side; S: {trusts[0]}"
    return f"Side by side; S in {pair[0].title}: {trusts[0]}; in {pair[1].title}: {trusts[1]}"


def _length_note(pair: Sequence[ComparedRecording]) -> list[ReportNote]:
    lengths = sorted(one.recording.length_s for one in pair)
    text = (
        "Differences are of the second recording to the first. Burdens and rates compare; counts only of equal lengths."
    )
    if lengths[1] > LEAST_SHARE * lengths[0]:
        text += f" One lasts {duration_in_words(lengths[0])}, the other {duration_in_words(lengths[1])}."
    weights = {one.recording.about.get("weights", "") for one in pair}
    if len(weights) > 1:
        text += f" Different nets classified them: {' and '.join(sorted(weights))}."
    return [ReportNote(text)]


def _missing_pr_notes(pair: Sequence[ComparedRecording]) -> Iterator[ReportNote]:
    """Yield why intervals and variability of a recording are missing."""
    for one in pair:
        measured = one.found.measured
        missing = [] if measured is None else [row for row in measured.rows() if row[1].startswith("not ")]
        missing += [("SDNN and the like", f"not given: {one.found.nn_doubt}")] if one.found.nn_doubt else []
        if missing:
            reasons = "; ".join(f"{name} {value}" for name, value in missing)
            yield ReportNote(f"{one.title}: {reasons}.", small=True)


def _facts(pair: Sequence[ComparedRecording]) -> Iterator[tuple[str, str]]:
    for one in pair:
        leads = describe_leads(one.recording) if one.recording.lead else NONE
        yield one.title, f"{describe_span(one.recording)}; {leads}"
        yield "sampling rate", describe_rate(one.recording) or NONE
