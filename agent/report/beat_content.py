"""Sections of the report about the beats: rate, classes, extremes and heart-rate variability."""

import numpy as np

from agent.core.class_trust import ClassTrust, KnownRate, rate_of_100, trust_sentence
from agent.core.config import Config
from agent.core.messages import FloatArray
from agent.report.bed_recording import BedRecording
from agent.report.charts import class_chart, rate_chart, tachogram_chart
from agent.report.document import ReportBlock, ReportFigure, ReportNote, ReportSection, ReportTable
from agent.report.ecg_paper import StripDrawing, StripFlag, strip_picture, typical_beat_picture
from agent.report.findings import (
    BeatFindings,
    EctopicRun,
    TimeBins,
    bin_extremes,
    choose_time_bins,
    count_by_bin,
)
from agent.report.hrv_charts import hrv_picture
from agent.report.styles import CLASS_NAMES, DASH, NONE, number_or_dash, share_in_percent, time_of_day
from agent.report.typical_beats import AVERAGED, build_typical_beats
from model.records.wfdb_records import CLASSES
from model.rhythm.hrv import (
    NNIntervals,
    NNSpectrum,
    TimeDomain,
    measure_nn_spectrum,
    measure_poincare,
    measure_time_domain,
)

MOST_EXTREME_STRIPS = 3
"""Longest pauses and runs that are shown with a strip."""
LONG_RUN_S = 7.0
"""A longer run gets a strip of 20 s."""
LEAST_NN_SHARE = 0.8
FEW_INTERVALS_NOTE = (
    f"Fewer than {100 * LEAST_NN_SHARE:g} % of the NN intervals could be used (ectopy, fibrillation or noise): read "
    "these figures with care."
)


def rate_section(recording: BedRecording, findings: BeatFindings) -> ReportSection:
    """Return the section of rate and RR intervals over the whole recording."""
    return ReportSection(
        "Rate and rhythm", [ReportFigure(rate_chart(recording, findings)), ReportFigure(tachogram_chart(recording))]
    )


def beat_section(recording: BedRecording, findings: BeatFindings) -> ReportSection:
    """Return the section of classes over time, the typical beat of each, and ectopy in figures."""
    bins = choose_time_bins(recording.started_s, recording.length_s)
    section = ReportSection("Beats", [ReportFigure(class_chart(recording, findings, bins))], new_page=True)
    typical = build_typical_beats(recording)
    if typical:
        section.blocks.append(
            ReportFigure(
                typical_beat_picture(typical),
                "Typical beats",
                f"Median of up to {AVERAGED} beats of each class, drawn over some of these beats.",
            )
        )
    section.blocks += [
        _class_trust_table(findings, recording.class_trust),
        _ectopic_beats_table(findings, recording.class_trust),
        _time_bin_table(recording, findings, bins),
    ]
    return section


def extreme_section(recording: BedRecording, findings: BeatFindings, config: Config) -> ReportSection:
    """Return the section of slowest and fastest rate, longest pauses and longest runs, each with its strip."""
    section = ReportSection("Extremes", new_page=True)
    at_s, doubt = recording.beats.at_s, config.dashboard.least_confidence
    for name, index in (("Slowest rate", findings.slowest), ("Fastest rate", findings.fastest)):
        if index is not None:
            title = f"{name}: {findings.rate[index]:.0f} per minute"
            section.blocks.append(_strip_figure(recording, title, float(at_s[index]) - 5, 10.0, doubt))
    for index in findings.pauses[:MOST_EXTREME_STRIPS]:
        end_s, rr = float(at_s[index]), float(recording.beats.rr_s[index])
        seconds = 10.0 if rr < 9 else 20.0
        begin_s = end_s - rr / 2 - seconds / 2
        section.blocks.append(_strip_figure(recording, f"Pause: RR {rr:.2f} s", begin_s, seconds, doubt))
    if not findings.pauses:
        section.blocks.append(ReportNote(f"No RR interval over {config.alarms.pause_s:g} s."))
    for name, word in (("V", "ventricular"), ("S", "supraventricular")):
        for run in findings.runs[name][: MOST_EXTREME_STRIPS if name == "V" else 1]:
            section.blocks.append(_ectopic_run_figure(recording, run, word, doubt))
        if not findings.runs[name]:
            section.blocks.append(ReportNote(f"No run of {config.alarms.v_run_beats} or more {word} beats."))
    return section


def variability_section(nn: NNIntervals) -> ReportSection:
    """Return the section of time domain, frequency domain and Poincaré plot."""
    section = ReportSection("Heart-rate variability", new_page=True)
    figures = measure_time_domain(nn)
    if figures is None:
        section.blocks.append(ReportNote("No interval between two normal beats in a row: nothing to measure."))
        return section
    power = measure_nn_spectrum(nn)
    cloud = measure_poincare(nn)
    section.blocks.append(ReportFigure(hrv_picture(nn, power, cloud)))
    section.blocks += [_time_domain_table(figures, nn), _power_table(power)]
    if nn.share < LEAST_NN_SHARE:
        section.blocks.append(ReportNote(FEW_INTERVALS_NOTE))
    return section


def build_strip_drawing(
    recording: BedRecording,
    begin_s: float,
    seconds: float,
    flags: tuple[StripFlag, ...],
    title: str,
    least_confidence: float,
    wave: FloatArray | None = None,
) -> StripDrawing:
    """Return the strip from `begin_s` on with its beats; the letter of one below `least_confidence` is small.

    `wave` (n,) float32 mV at 125 Hz is what the monitor kept of it; without it the recorded signal is read.
    """
    first, stop = np.searchsorted(recording.beats.at_s, (begin_s, begin_s + seconds))
    letters = [CLASSES[label] for label in recording.beats.label[first:stop].tolist()]
    doubtful = (recording.beats.confidence[first:stop] < least_confidence).tolist()
    beats = [
        (at_s - begin_s, letter.lower() if doubt else letter)
        for at_s, letter, doubt in zip(recording.beats.at_s[first:stop].tolist(), letters, doubtful, strict=True)
    ]
    zero = recording.started_s or 0.0
    clocks = [time_of_day(zero + begin_s + 10.0 * row) for row in range(int(np.ceil(seconds / 10.0)))]
    return StripDrawing(
        recording.wave(begin_s, seconds) if wave is None else wave, beats, flags, clocks, recording.lead_title, title
    )


def _strip_figure(
    recording: BedRecording, title: str, begin_s: float, seconds: float, least_confidence: float
) -> ReportBlock:
    begin_s = max(0.0, min(begin_s, recording.length_s - seconds))
    at = time_of_day((recording.started_s or 0.0) + begin_s)
    about = f"{title}. ECG strip from {at}, {seconds:g} s."
    strip = build_strip_drawing(recording, begin_s, seconds, (), about, least_confidence)
    return ReportFigure(strip_picture(strip), title, f"from {at}")


def _ectopic_run_figure(recording: BedRecording, run: EctopicRun, word: str, least_confidence: float) -> ReportBlock:
    begin, end = (float(recording.beats.at_s[at]) for at in (run.first, run.stop - 1))
    seconds = 20.0 if end - begin > LONG_RUN_S else 10.0
    begin_s = begin - max(1.0, (seconds - (end - begin)) / 2)
    title = f"Run of {len(run):,} {word} beats, {run.rate:.0f} per minute"
    return _strip_figure(recording, title, begin_s, seconds, least_confidence)


def _class_trust_table(findings: BeatFindings, trust: ClassTrust) -> ReportBlock:
    """Return the beats of each class, with how far tests say that they can be trusted."""
    rows = tuple(
        (
            f"{name} {CLASS_NAMES[name]}",
            f"{count:,}",
            share_in_percent(findings.share(name)),
            _rate_with_interval(trust.sensitivity.get(name)),
            _rate_with_interval(trust.predictivity.get(name)),
        )
        for name, count in zip(CLASSES, findings.counts, strict=True)
    )
    tested = f", tests on {trust.records} records of other patients" if trust.records else ""
    heads = ("class", "beats", "burden", "found, of 100 such beats in tests", "right, of 100 that were called so")
    return ReportTable(heads, rows, "lrrrr", (0.2, 0.1, 0.1, 0.3, 0.3), f"Beats by class{tested}")


def _rate_with_interval(rate: KnownRate | None) -> str:
    """Return a rate of 100 beats with its 95 % interval."""
    if rate is None or rate.interval is None:
        return rate_of_100(rate)
    low, high = (rate_of_100(KnownRate(share)) for share in rate.interval)
    return f"{rate_of_100(rate)} ({low} to {high})"


def _ectopic_beats_table(findings: BeatFindings, trust: ClassTrust) -> ReportBlock:
    rows = []
    for name in "VS":
        count = findings.counts[CLASSES.index(name)]
        runs = findings.runs[name]
        fastest = max((run.rate for run in runs), default=None)
        rows.append(
            (
                f"{name} {CLASS_NAMES[name]}",
                f"{count:,}",
                share_in_percent(findings.share(name)),
                f"{findings.couplets[name]:,}",
                f"{findings.run_count[name]:,}",
                f"{len(runs[0]):,} beats" if runs else NONE,
                f"{fastest:.0f} /min" if fastest else NONE,
                f"{findings.bigeminy:,}" if name == "V" else NONE,
            )
        )
    heads = ("ectopy", "beats", "burden", "couplets", "runs", "longest run", "fastest long run", "in bigeminy")
    caption = f"Ectopic beats; S: {trust_sentence(trust, 'S')}"
    return ReportTable(heads, tuple(rows), "lrrrrrrr", (0.2, 0.1, 0.1, 0.1, 0.1, 0.13, 0.17, 0.1), caption)


def _time_bin_table(recording: BedRecording, findings: BeatFindings, bins: TimeBins) -> ReportBlock:
    counts = count_by_bin(recording.beats, bins)
    least, mean, most = bin_extremes(findings.rate, recording.beats.at_s, bins)
    pauses = np.bincount(bins.of(recording.beats.at_s[findings.paused]), minlength=len(bins))
    zero = recording.started_s or 0.0
    rows = []
    for i in range(len(bins)):
        begin = time_of_day(zero + float(bins.edges[i]), seconds=bins.step_s < 60)
        end = time_of_day(zero + float(bins.edges[i + 1]), seconds=bins.step_s < 60)
        beats = [f"{count:,}" for count in counts[i].tolist()]
        rates = [number_or_dash(float(values[i])) for values in (least, mean, most)]
        rows.append((f"{begin} {DASH} {end}", f"{int(counts[i].sum()):,}", *beats, *rates, f"{int(pauses[i]):,}"))
    heads = ("time", "beats", *CLASSES, "rate min", "mean", "max", "pauses")
    widths = (0.17, 0.1, 0.1, *[0.08] * 4, *[0.09] * 3, 0.08)
    return ReportTable(
        heads, tuple(rows), "l" + "r" * 10, widths, f"By time; S: {trust_sentence(recording.class_trust, 'S')}"
    )


def _time_domain_table(figures: TimeDomain, nn: NNIntervals) -> ReportBlock:
    cloud = measure_poincare(nn)
    rows = (
        ("mean NN", number_or_dash(figures.mean, 0, "ms"), "mean of the intervals between normal beats"),
        ("SDNN", number_or_dash(figures.sdnn, 1, "ms"), "their standard deviation over the whole recording"),
        ("SDANN", number_or_dash(figures.sdann, 1, "ms"), "standard deviation of the means of five minutes"),
        ("SDNN index", number_or_dash(figures.sdnn_index, 1, "ms"), "mean of the standard deviations of five minutes"),
        (
            "RMSSD",
            number_or_dash(figures.rmssd, 1, "ms"),
            "root mean square of the steps from one interval to the next",
        ),
        ("pNN50", number_or_dash(figures.pnn50, 1, "%"), "steps of more than 50 ms"),
        ("triangular index", number_or_dash(figures.triangular, 1), "intervals over the height of their histogram"),
        ("SD1", number_or_dash(cloud.sd1 if cloud else None, 1, "ms"), "width of the Poincaré plot"),
        ("SD2", number_or_dash(cloud.sd2 if cloud else None, 1, "ms"), "its length"),
        ("intervals", f"{len(nn):,}", f"{share_in_percent(100 * nn.share)} of those between two normal beats"),
    )
    return ReportTable(
        ("figure", "value", "what it is"), rows, "lrl", (0.16, 0.12, 0.5), "Time domain and Poincaré plot"
    )


def _power_table(power: NNSpectrum | None) -> ReportBlock:
    if power is None:
        return ReportNote("No five minutes with enough intervals in a row for a spectrum.")
    bands = (("VLF", "0.0033 to 0.04 Hz"), ("LF", "0.04 to 0.15 Hz"), ("HF", "0.15 to 0.4 Hz"))
    rows = tuple((name, number_or_dash(power.power(name), 0, "ms²"), span) for name, span in bands)
    mean = f"mean of {power.segments:,} segments of five minutes"
    rows = (*rows, ("LF / HF", number_or_dash(power.ratio, 2), mean))
    return ReportTable(("band", "power", "what it is"), rows, "lrl", (0.16, 0.12, 0.5), "Frequency domain")
