"""The first page of the report: what was heard, how well, and what was found, in words and in figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agent.core.class_trust import rate_of_100, trust_sentence
from agent.core.config import Config
from agent.core.messages import PRIORITIES
from agent.report.alarmed_rates import AlarmedRates
from agent.report.beat_measurement import MeasuredBeat
from agent.report.bed_recording import BedRecording
from agent.report.charts import rate_chart, tachogram_chart
from agent.report.document import (
    NamedSentences,
    ReportFigure,
    ReportNote,
    ReportSection,
    SideBySide,
    SummaryTile,
    SummaryTiles,
)
from agent.report.doubt_words import nn_percent, say_learnt, say_other_beats, say_pacing
from agent.report.findings import BeatFindings
from agent.report.recording_words import describe_leads, describe_rate
from agent.report.rhythm_content import fibrillation_limits
from agent.report.rhythm_episodes import RhythmEpisodes
from agent.report.signal_quality import NOISY_UV, SignalQuality
from agent.report.styles import (
    CLASS_COLOURS,
    PRIORITY_COLOURS,
    duration_in_words,
    number_or_dash,
    share_in_percent,
)
from model.rhythm.hrv import NNIntervals, measure_time_domain

NO_HEART_TILES = slice(-2, None)
"""Tiles that say something where there are no beats: alarms and signal."""
CHART_HEIGHT, LEAST_CHART_HEIGHT = 128.0, 84.0
"""Points of the two charts of the first page."""
FULL_LINES, LINE_LETTERS, LINE_HEIGHT = 18, 128, 11.25
"""Lines of sentences below which charts of full height have room, letters of such a line, and its points."""
LEAST_RHYTHM_S = 120.0
TOO_SHORT = "Too short to tell."
"""Said of atrial fibrillation where none is known and the recording is shorter."""
NO_ALARMED_RATES = AlarmedRates()
LEAST_HOURLY_S = 360.0
"""A shorter recording says nothing of beats an hour."""


@dataclass(frozen=True, slots=True, eq=False)
class ReportFindings:
    """All that the report tells of a recording: beats, signal, atrial fibrillation, intervals.

    `nn_doubt`: why heart-rate variability does not hold, "" where it does.
    """

    beats: BeatFindings
    nn: NNIntervals
    signal: SignalQuality
    fibrillation: RhythmEpisodes
    mean_rate: float | None
    measured: MeasuredBeat | None = None
    nn_doubt: str = ""
    alarmed: AlarmedRates = NO_ALARMED_RATES


def summary_section(recording: BedRecording, found: ReportFindings, config: Config) -> ReportSection:
    """Return the summary: sentences, figures, and the rate over the whole recording."""
    section = ReportSection("Summary")
    if not recording.length_s:
        section.blocks.append(ReportNote("Nothing was recorded of this bed: no signal reached the monitor."))
        return section
    said = tuple(summarise_in_words(recording, found, config))
    section.blocks.append(NamedSentences(said))
    tiles = _summary_tiles(recording, found, config)
    section.blocks.append(SummaryTiles(tiles if len(recording.beats) else tiles[NO_HEART_TILES]))
    if len(recording.beats):
        height = _choose_chart_height(said)
        charts = rate_chart(recording, found.beats, height), tachogram_chart(recording, height)
        section.blocks.append(SideBySide(tuple((ReportFigure(chart),) for chart in charts), (0.5, 0.5)))
    return section


def _choose_chart_height(said: Sequence[tuple[str, str]]) -> float:
    """Return the height of the two charts in points with which they stand on the first page below the sentences."""
    lines = sum(-(-len(text) // LINE_LETTERS) for _, text in said)
    return max(LEAST_CHART_HEIGHT, CHART_HEIGHT - LINE_HEIGHT * max(0, lines - FULL_LINES))


def summarise_in_words(recording: BedRecording, found: ReportFindings, config: Config) -> Iterator[tuple[str, str]]:
    """Yield what each sentence is about, and the sentence."""
    yield "Recorded", _say_recording(recording, found.signal)
    if not len(recording.beats):
        yield "Beats", "No beats were found in this recording."
    else:
        yield "Heart rate", _say_rate(recording, found)
        yield "Atrial fibrillation", _say_fibrillation(recording, found.fibrillation, config)
        yield "Pauses", _say_pauses(recording, found.beats, config)
        yield "Ventricular beats (V)", _say_ectopy(recording, found, "V", config)
        yield "Supraventricular (S)", _say_ectopy(recording, found, "S", config)
        if other := say_other_beats(recording, found.beats):
            yield "Other beats", other
        if found.measured is not None:
            yield "Intervals", f"{_say_intervals(found.measured)} ({found.measured.describe()})."
    yield "Alarms", _say_alarms(recording)
    yield "Not known", " ".join(_say_unknown(recording, found, config))


def _say_recording(recording: BedRecording, signal: SignalQuality) -> str:
    length = duration_in_words(recording.length_s)
    if not recording.segments:
        return f"{length}, of which no signal {'is there any more' if recording.ledger.analysed else 'was recorded'}."
    several = "lead" if len(recording.heard.analysed) < 2 else "leads"
    runs = f" in {len(recording.places):,} runs of the device" if len(recording.places) > 1 else ""
    share = share_in_percent(min(100.0, 100 * signal.recorded_s / recording.length_s))
    parts = [
        f"{length}{runs} of {several} {describe_leads(recording)} at {describe_rate(recording)}; {share} with signal"
    ]
    if recording.missing_s:
        parts.append(f"{duration_in_words(recording.missing_s)} of what the device sent was not recorded")
    known = signal.noise_uv[np.isfinite(signal.noise_uv)]
    if len(known):
        noisy = int((known > NOISY_UV).sum())
        minutes = f", {noisy:,} minute{'s' * (noisy != 1)} too noisy for rates" if noisy else ""
        parts.append(f"noise {np.median(known):.0f} µV (median of the minutes{minutes})")
    live = " The recording goes on: the report holds what was on disk when it was made." if recording.live else ""
    return f"{'; '.join(parts)}.{live}"


def _say_rate(recording: BedRecording, found: ReportFindings) -> str:
    beats, rate = found.beats, found.beats.rate
    if found.mean_rate is None or beats.slowest is None or beats.fastest is None:
        mean = "" if found.mean_rate is None else f", mean {found.mean_rate:.0f}/min"
        return f"{beats.total:,} beats{mean}; too few in a row for the slowest and fastest rate."
    ends = (
        f"{rate[at]:.0f} at {recording.clock_text(float(recording.beats.at_s[at]))}"
        for at in (beats.slowest, beats.fastest)
    )
    said = f"Mean {found.mean_rate:.0f}/min, from {' to '.join(ends)}; {beats.total:,} beats."
    return f"{said}{_say_alarmed_rates(recording, found, float(rate[beats.slowest]), float(rate[beats.fastest]))}"


def _say_alarmed_rates(recording: BedRecording, found: ReportFindings, low: float, high: float) -> str:
    """Return the rates that alarms named beyond the averaged ones, as a sentence; "" without any."""
    alarmed = found.alarmed
    parts = []
    if alarmed.slowest is not None and round(alarmed.slowest[0]) < round(low):
        parts.append(f"down to {alarmed.slowest[0]:.0f} at {recording.clock_text(alarmed.slowest[1])}")
    if alarmed.fastest is not None and round(alarmed.fastest[0]) > round(high):
        parts.append(f"up to {alarmed.fastest[0]:.0f} at {recording.clock_text(alarmed.fastest[1])}")
    return f" Alarms, which wait for fewer intervals, named {' and '.join(parts)}." if parts else ""


def _say_fibrillation(recording: BedRecording, found: RhythmEpisodes, config: Config) -> str:
    if not len(found):
        return TOO_SHORT if recording.length_s < LEAST_RHYTHM_S else "None was found."
    begin, end = found.longest
    count = "1 episode" if len(found) == 1 else f"{len(found):,} episodes"
    return (
        f"{count}, {duration_in_words(found.total_s)} in all: {share_in_percent(100 * found.share)} of the time with "
        f"signal; the longest {duration_in_words(end - begin)} from {recording.clock_text(begin)} on "
        f"(short interruptions, under {config.alarms.af_s:g} s, are not seen)."
    )


def _say_pauses(recording: BedRecording, beats: BeatFindings, config: Config) -> str:
    if not beats.pauses:
        return f"None over {config.alarms.pause_s:g} s."
    longest = beats.pauses[0]
    at = recording.clock_text(float(recording.beats.at_s[longest] - recording.beats.rr_s[longest]))
    return (
        f"{beats.pause_count:,} over {config.alarms.pause_s:g} s; the longest {recording.beats.rr_s[longest]:.2f} s "
        f"at {at}."
    )


def _say_ectopy(recording: BedRecording, found: ReportFindings, name: str, config: Config) -> str:
    beats = found.beats
    outside = name == "S" and beats.fibrillating > 0
    share = share_in_percent(beats.share(name))
    if outside:
        parts = [f"{beats.number(name):,} outside fibrillation ({share} of the beats there)"]
    else:
        parts = [f"{beats.number(name):,} ({share} of all beats{_hourly_text(found, name)})"]
    if beats.couplets[name]:
        parts.append(f"{beats.couplets[name]:,} couplet{'s' * (beats.couplets[name] > 1)}")
    runs, count = beats.runs[name], beats.run_count[name]
    if name == "S":
        runs, count = beats.sure_s_runs, len(beats.sure_s_runs)
    if not runs:
        parts.append(f"no run of {config.alarms.v_run_beats} or more")
    else:
        longest = f"{len(runs[0]):,} beats at {runs[0].rate:.0f}/min"
        parts.append(f"1 run of {longest}" if count == 1 else f"{count:,} runs, the longest of {longest}")
    if name == "V" and beats.bigeminy:
        parts.append(f"{beats.bigeminy:,} in bigeminy")
    trust = trust_sentence(recording.class_trust, name)
    more = "" if name == "V" else _say_unsure_s(beats)
    return f"{', '.join(parts)}.{more} {trust[0].upper()}{trust[1:]}."


def _say_unsure_s(beats: BeatFindings) -> str:
    """Return which S beats and runs are not counted in the first sentence."""
    said = ""
    if doubtful := beats.run_count["S"] - len(beats.sure_s_runs):
        said = f" {doubtful:,} more run{'s' * (doubtful > 1)} of mostly doubtful S {'are' if doubtful > 1 else 'is'} "
        said += "listed inside."
    if count := beats.fibrillating_s:
        said += f" {count:,} beat{'s were' if count > 1 else ' was'} called S within fibrillation, where early says "
        said += "little: not counted in burden, couplets, runs."
    return said


def _hourly_text(found: ReportFindings, name: str) -> str:
    count = found.beats.number(name)
    hours = found.signal.recorded_s / 3600
    return f", {count / hours:,.1f} an hour" if count and found.signal.recorded_s > LEAST_HOURLY_S else ""


def _say_intervals(measured: MeasuredBeat) -> str:
    return ", ".join(f"{name} {value}" for name, value in measured.rows())


def _say_alarms(recording: BedRecording) -> str:
    if not recording.alarms:
        return "None."
    conditions: dict[str, int] = {}
    for alarm in sorted(recording.alarms, key=lambda alarm: PRIORITIES.index(alarm.priority)):
        conditions[alarm.condition] = conditions.get(alarm.condition, 0) + 1
    named = ", ".join(f"{name} {count:,}" for name, count in list(conditions.items())[:8])
    more = f" and {len(conditions) - 8} more conditions" if len(conditions) > 8 else ""
    high = sum(alarm.priority == "high" for alarm in recording.alarms)
    return f"{recording.alarm_count:,}, {high:,} of high priority; most urgent first: {named}{more}."


def _say_unknown(recording: BedRecording, found: ReportFindings, config: Config) -> Iterator[str]:
    yield "Nobody has reviewed beats and alarms. ST segments are not judged."
    if learnt := say_learnt(recording):
        yield learnt
    if len(recording.beats):
        yield say_pacing(recording)
        yield fibrillation_limits(config)
    without = recording.length_s - found.signal.recorded_s
    if without >= 1:
        yield f"Nothing is known of the {duration_in_words(without)} without signal."
    if not recording.class_trust.sensitivity:
        yield "How well this net tells classes apart is not known."


def _summary_tiles(recording: BedRecording, found: ReportFindings, config: Config) -> tuple[SummaryTile, ...]:
    beats, signal = found.beats, found.signal
    low, high = _rate_ends(found)
    figures = measure_time_domain(found.nn)
    alarms = [sum(alarm.priority == priority for alarm in recording.alarms) for priority in PRIORITIES]
    longest = float(recording.beats.rr_s[beats.pauses[0]]) if beats.pauses else None
    episodes = found.fibrillation
    return (
        SummaryTile(
            "Mean heart rate",
            number_or_dash(found.mean_rate, 0, "/min"),
            f"{number_or_dash(low)} to {number_or_dash(high)}",
        ),
        _ectopic_tile("Ventricular beats", "V", recording, found),
        _ectopic_tile("Supraventricular", "S", recording, found),
        SummaryTile(
            "Atrial fibrillation",
            *_fibrillation_words(recording, episodes),
            PRIORITY_COLOURS["medium"] if len(episodes) else "",
        ),
        SummaryTile(
            f"Pauses over {config.alarms.pause_s:g} s",
            f"{beats.pause_count:,}",
            f"longest {number_or_dash(longest, 2, 's')}" if longest else "none",
            PRIORITY_COLOURS["high"] if beats.pause_count else "",
        ),
        SummaryTile(
            "SDNN",
            "not given" if found.nn_doubt else number_or_dash(figures.sdnn if figures else None, 0, "ms"),
            found.nn_doubt or f"{share_in_percent(nn_percent(recording, found.nn))} of all RR intervals used",
        ),
        SummaryTile(
            "Alarms",
            f"{recording.alarm_count:,}",
            f"{alarms[0]:,} high, {alarms[1]:,} medium, {alarms[2]:,} low",
            PRIORITY_COLOURS["high"] if alarms[0] else "",
        ),
        SummaryTile(
            "Signal recorded",
            share_in_percent(min(100.0, 100 * signal.recorded_s / recording.length_s)),
            f"{duration_in_words(signal.recorded_s)} of signal",
        ),
    )


def _fibrillation_words(recording: BedRecording, episodes: RhythmEpisodes) -> tuple[str, str]:
    if len(episodes):
        longest = duration_in_words(np.subtract(*episodes.longest[::-1]))
        return share_in_percent(100 * episodes.share), f"longest {longest}"
    return ("not known", "too short to tell") if recording.length_s < LEAST_RHYTHM_S else ("none", "was found")


def _rate_ends(found: ReportFindings) -> tuple[float | None, float | None]:
    """Return the least and the greatest rate, whether averaged or named by an alarm; None without any."""
    beats, alarmed = found.beats, found.alarmed
    low, high = ([] if at is None else [float(beats.rate[at])] for at in (beats.slowest, beats.fastest))
    low += [] if alarmed.slowest is None else [alarmed.slowest[0]]
    high += [] if alarmed.fastest is None else [alarmed.fastest[0]]
    return min(low, default=None), max(high, default=None)


def _ectopic_tile(title: str, name: str, recording: BedRecording, found: ReportFindings) -> SummaryTile:
    share = share_in_percent(found.beats.share(name))
    found_rate = recording.class_trust.sensitivity.get(name)
    trust = f"; tests: {rate_of_100(found_rate)} of 100 found" if found_rate else "; tests: not known"
    count = found.beats.number(name)
    title += " outside AF" if name == "S" and found.beats.fibrillating else ""
    return SummaryTile(title, f"{count:,}", f"{share}{trust}", CLASS_COLOURS[name] * bool(count))
