"""The report of one bed: its sections and what they hold."""

from collections.abc import Sequence

import numpy as np

from agent.core.class_trust import trust_sentence
from agent.core.config import Config
from agent.core.messages import PRIORITIES, AlarmIdentity, Strip
from agent.core.wording import event_text
from agent.report.alarm_content import alarm_section
from agent.report.beat_content import beat_section, extreme_section, rate_section, variability_section
from agent.report.bed_recording import BedRecording
from agent.report.charts import quality_chart
from agent.report.document import (
    ReportBlock,
    ReportDocument,
    ReportFigure,
    ReportNote,
    ReportSection,
    ReportTable,
    SummaryTile,
    SummaryTiles,
)
from agent.report.findings import BeatFindings, compute_beat_findings
from agent.report.signal_quality import FLAT_MV, NOISY_UV, SignalQuality, measure_signal_quality
from agent.report.styles import (
    CLASS_COLOURS,
    NONE,
    PRIORITY_COLOURS,
    date_and_time,
    duration_in_words,
    number_or_dash,
    share_in_percent,
)
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.rhythm.hrv import (
    FURTHEST_SHARE,
    LONGEST_NN_S,
    NEIGHBOUR_COUNT,
    SHORTEST_NN_S,
    NNIntervals,
    measure_time_domain,
    select_nn_intervals,
)

WARNING = "Research tool, not a medical device"
CLOCK_KEY = "clock"
"""Key of the session's `about` that says whose clock its times are of; without it they are Unix times of a monitor."""
FILE_CLOCK, NO_CLOCK = "file", "none"
CLOCK_TEXTS = {FILE_CLOCK: "by the clock of the file", NO_CLOCK: "from the start of the file, which states no date"}
MOST_RUNS, MOST_EVENTS = 60, 200
HRV_METHODS = (
    f"Heart-rate variability is measured on intervals between two consecutive N beats of {SHORTEST_NN_S:g} to "
    f"{LONGEST_NN_S:g} s that differ from the mean of {NEIGHBOUR_COUNT} on each side by no more than "
    f"{100 * FURTHEST_SHARE:g} %, as the Task Force of 1996 defines it (Circulation 93: 1043); "
    "power by Lomb's periodogram of segments of five minutes. docs/report.md of ecg-agent says what each figure means."
)


def build_report_document(
    recording: BedRecording, strips: dict[AlarmIdentity, Strip], config: Config
) -> ReportDocument:
    """Return the report of a bed; `strips` are those kept of its alarms, `config` defines rates, pauses and runs."""
    signal = measure_signal_quality(recording)
    # Noise and fibrillation give R peaks that are no heart beats: no rate and no pause is taken from them.
    clear = signal.clear(recording.beats.at_s) & ~recording.fibrillating(recording.beats.at_s)
    findings = compute_beat_findings(recording.beats, clear, config)
    nn = select_nn_intervals(recording.beats.at_s, recording.beats.rr_s, recording.beats.of("N") & clear)
    sections = [_summary_section(recording, findings, nn, signal, config)]
    if len(recording.beats):
        sections += [
            rate_section(recording, findings),
            beat_section(recording, findings),
            extreme_section(recording, findings, config),
            variability_section(nn),
        ]
    sections += [
        alarm_section(recording, strips, config.dashboard.least_confidence),
        _signal_section(recording, signal),
    ]
    sections.append(_recording_section(recording, config))
    return ReportDocument(
        title=f"ECG report, bed {recording.bed}",
        facts=_report_facts(recording),
        warning=WARNING,
        footer=f"bed {recording.bed}   {_recorder_version(recording)}   {WARNING}",
        sections=[section for section in sections if section.blocks],
    )


def _recorder_version(recording: BedRecording) -> str:
    """Return which ecg-agent recorded it."""
    return f"ecg-agent {recording.about.get('version', '')}".strip()


def _report_facts(recording: BedRecording) -> tuple[tuple[str, str], ...]:
    started = recording.started_s
    lasted = f", {duration_in_words(recording.length_s)}" if recording.length_s else ""
    still = "; it is still being recorded" if recording.live else ""
    clock = CLOCK_TEXTS.get(recording.about.get(CLOCK_KEY, ""), "UTC")
    span = (
        f"{date_and_time(started)} to {date_and_time(started + recording.length_s)} {clock}"
        if started is not None
        else "no signal"
    )
    leads = ", ".join(dict.fromkeys(lead.name for segment in recording.segments for lead in segment.leads))
    rates = ", ".join(f"{fs:g} Hz" for fs in dict.fromkeys(segment.fs for segment in recording.segments))
    return (
        ("bed", recording.bed),
        *(("patient", label) for label in (recording.settings.patient,) if label),
        *(("place", label) for label in (recording.settings.place,) if label),
        ("recorded", f"{span}{lasted}{still}" if started is not None else f"{span}{still}"),
        ("leads", f"{leads or NONE}; analysed: {recording.lead_title or NONE}"),
        ("sampling rate", rates or NONE),
        ("recorded by", _recorder_version(recording)),
        ("weights", recording.about.get("weights", NONE)),
    )


def _summary_section(
    recording: BedRecording, findings: BeatFindings, nn: NNIntervals, signal: SignalQuality, config: Config
) -> ReportSection:
    section = ReportSection("Summary")
    if not recording.length_s:
        section.blocks.append(ReportNote("Nothing was recorded of this bed: no signal reached the monitor."))
        return section
    rr = recording.beats.rr_s[recording.beats.rr_s < config.rhythm.standstill_s]
    mean = 60 / float(rr.mean()) if len(rr) else None
    low, high = (None if at is None else float(findings.rate[at]) for at in (findings.slowest, findings.fastest))
    share = signal.recorded_s / recording.length_s
    figures = measure_time_domain(nn)
    alarms = [sum(alarm.priority == priority for alarm in recording.alarms) for priority in PRIORITIES]
    longest = float(recording.beats.rr_s[findings.pauses[0]]) if findings.pauses else None
    hours = signal.recorded_s / 3600
    section.blocks.append(
        SummaryTiles(
            (
                SummaryTile(
                    "Heart rate, mean",
                    number_or_dash(mean, 0, "/min"),
                    f"{number_or_dash(low)} to {number_or_dash(high)}, averaged as monitored",
                ),
                SummaryTile("Beats", f"{findings.total:,}", f"{share_in_percent(findings.share('N'))} normal"),
                _ectopic_tile("Ventricular beats", "V", recording, findings, hours),
                _ectopic_tile("Supraventricular beats", "S", recording, findings, hours),
                SummaryTile(
                    f"Pauses over {config.alarms.pause_s:g} s",
                    f"{findings.pause_count:,}",
                    f"longest {number_or_dash(longest, 2, 's')}" if longest else "none",
                    PRIORITY_COLOURS["high"] if findings.pause_count else "",
                ),
                SummaryTile(
                    "Alarms",
                    f"{recording.alarm_count:,}",
                    f"{alarms[0]:,} high, {alarms[1]:,} medium, {alarms[2]:,} low",
                    PRIORITY_COLOURS["high"] if alarms[0] else "",
                ),
                SummaryTile(
                    "SDNN",
                    number_or_dash(figures.sdnn if figures else None, 0, "ms"),
                    f"{share_in_percent(100 * nn.share)} of NN used",
                ),
                SummaryTile(
                    "Signal recorded",
                    share_in_percent(min(100.0, 100 * share)),
                    f"{duration_in_words(signal.recorded_s)} of signal",
                ),
            )
        )
    )
    if not len(recording.beats):
        section.blocks.append(ReportNote("No beats were found in this recording."))
    if recording.live:
        section.blocks.append(ReportNote("The recording goes on: the report holds what was on disk when it was made."))
    return section


def _ectopic_tile(title: str, name: str, recording: BedRecording, findings: BeatFindings, hours: float) -> SummaryTile:
    count = findings.counts[CLASSES.index(name)]
    by_hour = f", {count / hours:,.1f} an hour" if hours > 0.1 else ""
    return SummaryTile(
        title,
        f"{count:,}",
        f"{share_in_percent(findings.share(name))} of beats{by_hour} ({trust_sentence(recording.class_trust, name)})",
        CLASS_COLOURS[name] * bool(count),
    )


def _signal_section(recording: BedRecording, signal: SignalQuality) -> ReportSection:
    section = ReportSection("Signal quality")
    if not recording.segments:
        if recording.length_s:
            section.blocks.append(ReportNote("The signal is no longer there: it was deleted to stay below a limit."))
        return section
    noise_uv = signal.noise_uv[np.isfinite(signal.noise_uv)]
    worst = float(noise_uv.max()) if len(noise_uv) else None
    section.blocks += [
        ReportFigure(quality_chart(recording, signal)),
        ReportNote(
            f"Flat: a whole second within {1000 * FLAT_MV:g} µV; at the rails: the same where the converter ends. "
            f"The noisiest minute has {number_or_dash(worst)} µV. Missing signal is never filled in."
        ),
    ]
    return section


def _recording_section(recording: BedRecording, config: Config) -> ReportSection:
    section = ReportSection("Recording")
    ledger = recording.ledger
    if recording.length_s:
        lost = f"{ledger.missing:,} not recorded (lost on the way, or no monitor was running)"
        text = f"Ledger: of {ledger.sent:,} samples that the device sent, {ledger.analysed:,} recorded and {lost}."
        section.blocks.append(ReportNote(text))
    if recording.places:
        section.blocks.append(_recorded_runs_table(recording))
    events = [(at_s, event) for at_s, event in recording.events if event.kind != "start"]
    if events:
        rows = tuple((date_and_time(at_s), event.kind, event_text(event)) for at_s, event in events[:MOST_EVENTS])
        more = f", the first {MOST_EVENTS} of {len(events):,}" if len(events) > MOST_EVENTS else ""
        section.blocks.append(
            ReportTable(("reported at (UTC)", "kind", "what"), rows, "lll", (0.16, 0.08, 0.76), caption=f"Events{more}")
        )
    section.blocks += [ReportNote(text) for text in (_beat_methods(config), HRV_METHODS)]
    return section


def _recorded_runs_table(recording: BedRecording) -> ReportBlock:
    rows: list[Sequence[str]] = []
    for place in recording.places[:MOST_RUNS]:
        mine = [segment for segment in recording.segments if segment.run == place.run]
        recorded = sum(segment.count / segment.fs for segment in mine)
        begin = date_and_time(recording.started_s + place.at_s) if recording.started_s is not None else NONE
        rates = ", ".join(f"{fs:g} Hz" for fs in dict.fromkeys(segment.fs for segment in mine))
        lasted = (place.stop - place.first) / FS
        rows.append(
            (place.run, begin, duration_in_words(lasted), duration_in_words(recorded), rates or NONE, f"{len(mine):,}")
        )
    more = f", the first {MOST_RUNS} of {len(recording.places):,}" if len(recording.places) > MOST_RUNS else ""
    heads = ("run", "began (UTC)", "length", "signal on disk", "rate", "files")
    return ReportTable(
        heads, tuple(tuple(row) for row in rows), "llrrrr", (0.2, 0.2, 0.15, 0.15, 0.15, 0.1), f"Runs{more}"
    )


def _beat_methods(config: Config) -> str:
    """Return how beats, rates, pauses and runs are defined, in words."""
    rhythm, alarms = config.rhythm, config.alarms
    return (
        "Beats were found and classified by ecg-agent; nobody has reviewed them. N: normal, S: supraventricular, "
        "V: ventricular, F: fusion, Q: paced or unknown (classes of ANSI/AAMI EC57). A rate is the mean of "
        f"{rhythm.rate_intervals} RR intervals, of {rhythm.slow_intervals} where {rhythm.slow_least} of these are over "
        f"{rhythm.slow_s:g} s; one of {rhythm.standstill_s:g} s or more is in no rate. A pause is an RR interval over "
        f"{alarms.pause_s:g} s, a run {alarms.v_run_beats} or more beats of a class in a row without a pause. "
        f"No rate and no pause is taken from minutes with more than {NOISY_UV:g} µV of noise, nor from fibrillation. "
        "A small grey letter above a beat says that the net gave its class a probability of less than "
        f"{config.dashboard.least_confidence:g}. How many beats of a class the net finds, and how many that it calls "
        "so are, was measured on other patients, among the beats that were detected; of this patient it may be more or "
        "fewer. "
        "Times are UTC."
    )
