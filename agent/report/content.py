"""The report of one bed: which sections it has and what stands in them."""

from collections.abc import Sequence

from agent.core.messages import Strip
from agent.core.wording import event_text
from agent.report.alarm_content import alarm_section
from agent.report.beat_content import beat_section, extreme_section, rate_section, variability_section
from agent.report.bed_recording import AlarmKey, BedRecording
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
from agent.report.findings import PAUSE_S, STANDSTILL_S, BeatFindings, compute_beat_findings
from agent.report.signal_quality import NOISY_UV, SignalQuality, measure_signal_quality
from agent.report.styles import (
    CLASS_COLOURS,
    NONE,
    PRIORITIES,
    PRIORITY_COLOURS,
    date_and_time,
    duration_in_words,
    number_or_dash,
    share_in_percent,
)
from model.records.resample import FS
from model.rhythm.hrv import NNIntervals, measure_time_domain, select_nn_intervals

WARNING = "Research tool, not a medical device"
MOST_RUNS, MOST_EVENTS = 60, 200
METHODS = (
    "Beats were found and classified by ecg-agent; nobody has looked at them. N: normal, S: supraventricular, "
    "V: ventricular, F: fusion, Q: paced or unknown (classes of ANSI/AAMI EC57). A rate is the mean of 8 RR intervals, "
    f"a pause an RR interval of {PAUSE_S:g} s or more (from {STANDSTILL_S:g} s on in no rate), "
    "a run 3 or more beats of a class in a row. No rate "
    f"and no pause is told of minutes with more than {NOISY_UV:g} µV of noise, nor of fibrillation. Times are UTC.",
    "Heart-rate variability is measured on intervals between two consecutive N beats of 0.3 to 2 s that differ from "
    "the mean of 20 on each side by no more than 20 %, as the Task Force of 1996 defines it (Circulation 93: 1043); "
    "power by Lomb's periodogram of segments of five minutes. docs/report.md of ecg-agent says what each figure means.",
)


def build_report_document(reading: BedRecording, strips: dict[AlarmKey, Strip]) -> ReportDocument:
    """All of it. `strips` are those of the alarms, where there are some."""
    signal = measure_signal_quality(reading)
    clear = signal.clear(reading.beats.at_s) & ~reading.fibrillating(reading.beats.at_s)
    found = compute_beat_findings(reading.beats, clear)
    nn = select_nn_intervals(reading.beats.at_s, reading.beats.rr_s, reading.beats.of("N") & clear)
    sections = [_summary_section(reading, found, nn, signal)]
    if len(reading.beats):
        sections += [
            rate_section(reading, found),
            beat_section(reading, found),
            extreme_section(reading, found),
            variability_section(nn),
        ]
    sections += [alarm_section(reading, strips), _signal_section(reading, signal), _recording_section(reading)]
    return ReportDocument(
        title=f"ECG report, bed {reading.bed}",
        facts=_report_facts(reading),
        warning=WARNING,
        footer=f"bed {reading.bed}   {_recorder_version(reading)}   {WARNING}",
        sections=[section for section in sections if section.blocks],
    )


def _recorder_version(reading: BedRecording) -> str:
    """What recorded it."""
    return f"ecg-agent {reading.about.get('version', '')}".strip()


def _report_facts(reading: BedRecording) -> tuple[tuple[str, str], ...]:
    started = reading.started_s
    lasted = f", {duration_in_words(reading.length_s)}" if reading.length_s else ""
    still = "; it is still being recorded" if reading.live else ""
    span = (
        f"{date_and_time(started)} to {date_and_time(started + reading.length_s)} UTC"
        if started is not None
        else "no signal"
    )
    leads = ", ".join(dict.fromkeys(lead.name for segment in reading.segments for lead in segment.leads))
    rates = ", ".join(f"{fs:g} Hz" for fs in dict.fromkeys(segment.fs for segment in reading.segments))
    return (
        ("bed", reading.bed),
        ("recorded", f"{span}{lasted}{still}" if started is not None else f"{span}{still}"),
        ("leads", f"{leads or NONE}; analysed: {reading.lead or NONE}"),
        ("sampling rate", rates or NONE),
        ("recorded by", _recorder_version(reading)),
        ("weights", reading.about.get("weights", NONE)),
    )


def _summary_section(
    reading: BedRecording, found: BeatFindings, nn: NNIntervals, signal: SignalQuality
) -> ReportSection:
    section = ReportSection("Summary")
    if not reading.length_s:
        section.blocks.append(ReportNote("Nothing was recorded of this bed: no signal reached the monitor."))
        return section
    rr = reading.beats.rr_s[reading.beats.rr_s < STANDSTILL_S]
    mean = 60 / float(rr.mean()) if len(rr) else None
    low, high = (None if at is None else float(found.rate[at]) for at in (found.slowest, found.fastest))
    share = signal.recorded_s / reading.length_s
    figures = measure_time_domain(nn)
    alarms = [sum(one.priority == priority for one in reading.alarms) for priority in PRIORITIES]
    longest = float(reading.beats.rr_s[found.pauses[0]]) if found.pauses else None
    hours = signal.recorded_s / 3600
    section.blocks.append(
        SummaryTiles(
            (
                SummaryTile(
                    "Heart rate, mean",
                    number_or_dash(mean, 0, "/min"),
                    f"{number_or_dash(low)} to {number_or_dash(high)} over 8 beats",
                ),
                SummaryTile("Beats", f"{found.total:,}", f"{share_in_percent(found.share('N'))} normal"),
                _ectopic_tile("Ventricular beats", "V", found, hours),
                _ectopic_tile("Supraventricular beats", "S", found, hours),
                SummaryTile(
                    f"Pauses of {PAUSE_S:g} s or more",
                    f"{found.pause_count:,}",
                    f"longest {number_or_dash(longest, 2, 's')}" if longest else "none",
                    PRIORITY_COLOURS["high"] if found.pause_count else "",
                ),
                SummaryTile(
                    "Alarms",
                    f"{reading.alarm_count:,}",
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
    if not len(reading.beats):
        section.blocks.append(ReportNote("No beats were found in this recording."))
    if reading.live:
        section.blocks.append(ReportNote("The recording goes on: this is what was on disk when the report was made."))
    return section


def _ectopic_tile(title: str, name: str, found: BeatFindings, hours: float) -> SummaryTile:
    count = found.counts["NSVFQ".index(name)]
    by_hour = f", {count / hours:,.1f} an hour" if hours > 0.1 else ""
    return SummaryTile(
        title,
        f"{count:,}",
        f"{share_in_percent(found.share(name))} of beats{by_hour}",
        CLASS_COLOURS[name] * bool(count),
    )


def _signal_section(reading: BedRecording, signal: SignalQuality) -> ReportSection:
    section = ReportSection("Signal quality")
    if not reading.segments:
        if reading.length_s:
            section.blocks.append(ReportNote("The signal is no longer there: it was deleted to stay below a limit."))
        return section
    noise = signal.noise_uv[signal.noise_uv == signal.noise_uv]
    worst = sorted(noise.tolist())[-1] if len(noise) else None
    section.blocks += [
        ReportFigure(quality_chart(reading, signal)),
        ReportNote(
            f"Flat: a whole second within 20 µV; at the rails: the same where the converter ends. The noisiest minute "
            f"has {number_or_dash(worst)} µV. Missing signal is never filled in."
        ),
    ]
    return section


def _recording_section(reading: BedRecording) -> ReportSection:
    section = ReportSection("Recording")
    ledger = reading.ledger
    if reading.length_s:
        parts = (
            f"{ledger.analysed:,} recorded and {ledger.missing:,} not recorded (lost on the way, or nobody was there)"
        )
        section.blocks.append(ReportNote(f"Ledger: of {ledger.sent:,} samples that the device sent, {parts}."))
    if reading.places:
        section.blocks.append(_recorded_runs_table(reading))
    events = [(at_s, event) for at_s, event in reading.events if event.kind != "start"]
    if events:
        rows = tuple((date_and_time(at_s), event.kind, event_text(event)) for at_s, event in events[:MOST_EVENTS])
        more = f", the first {MOST_EVENTS} of {len(events):,}" if len(events) > MOST_EVENTS else ""
        section.blocks.append(
            ReportTable(("told at (UTC)", "kind", "what"), rows, "lll", (0.16, 0.08, 0.76), caption=f"Events{more}")
        )
    section.blocks += [ReportNote(text) for text in METHODS]
    return section


def _recorded_runs_table(reading: BedRecording) -> ReportBlock:
    rows: list[Sequence[str]] = []
    for place in reading.places[:MOST_RUNS]:
        mine = [segment for segment in reading.segments if segment.run == place.run]
        recorded = sum(segment.count / segment.fs for segment in mine)
        begin = date_and_time(reading.started_s + place.at_s) if reading.started_s is not None else NONE
        rates = ", ".join(f"{fs:g} Hz" for fs in dict.fromkeys(segment.fs for segment in mine))
        lasted = (place.stop - place.first) / FS
        rows.append(
            (place.run, begin, duration_in_words(lasted), duration_in_words(recorded), rates or NONE, f"{len(mine):,}")
        )
    more = f", the first {MOST_RUNS} of {len(reading.places):,}" if len(reading.places) > MOST_RUNS else ""
    heads = ("run", "began (UTC)", "length", "signal on disk", "rate", "files")
    return ReportTable(
        heads, tuple(tuple(row) for row in rows), "llrrrr", (0.2, 0.2, 0.15, 0.15, 0.15, 0.1), f"Runs{more}"
    )
