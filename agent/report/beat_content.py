"""The section of the beats: their classes over time, ectopy in figures, and how far a class can be trusted."""

import numpy as np

from agent.core.class_trust import ClassTrust, KnownRate, rate_of_100, trust_sentence
from agent.report.bed_recording import BedRecording
from agent.report.charts import class_chart
from agent.report.document import ReportFigure, ReportSection, ReportTable, SideBySide
from agent.report.doubt_words import say_hardly_found, say_learnt
from agent.report.findings import BeatFindings, TimeBins, bin_extremes, choose_time_bins, count_by_bin
from agent.report.styles import CLASS_NAMES, DASH, NONE, number_or_dash, share_in_percent
from model.records.wfdb_records import CLASSES

MOST_TABLE_BINS = 26
"""Rows of the table by time: a day has one for each hour."""
LEAST_BIN_SHARE = 0.2
"""A last part of the time of which less was recorded belongs to the one before it."""
LEAST_TIMES_S = 900.0
"""A shorter recording has no counts by time: the RR intervals of the first page have the colours of the classes."""


def beat_section(recording: BedRecording, findings: BeatFindings) -> ReportSection:
    """Return the section of classes over time and ectopy in figures."""
    bins = choose_time_bins(recording.started_s, recording.length_s)
    trust = recording.class_trust
    tables = SideBySide(
        ((_class_trust_table(findings, trust, say_learnt(recording)),), (_ectopic_beats_table(findings, trust),)),
        (0.58, 0.42),
    )
    if recording.length_s < LEAST_TIMES_S:
        return ReportSection("Beats", [tables])
    chart = ReportFigure(class_chart(recording, findings, bins))
    rows = choose_time_bins(recording.started_s, recording.length_s, MOST_TABLE_BINS)
    table = _time_bin_table(recording, findings, _merge_last_bin(rows, recording.length_s))
    return ReportSection("Beats", [chart, tables, table])


def _class_trust_table(findings: BeatFindings, trust: ClassTrust, learnt: str) -> ReportTable:
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
    hardly = [said for name in CLASSES if findings.number(name) and (said := say_hardly_found(trust, name))]
    tested += "".join(f"; {said}" for said in hardly)
    tested += f"; {learnt}" if learnt else ""
    if within := findings.fibrillating_s:
        tested += f"; burden of S outside atrial fibrillation: {within:,} within it are not in it"
    heads = ("class", "beats", "burden", "found, of 100 such beats in tests", "right, of 100 that were called so")
    return ReportTable(heads, rows, "lrrrr", (0.28, 0.13, 0.13, 0.23, 0.23), f"Beats by class{tested}")


def _rate_with_interval(rate: KnownRate | None) -> str:
    """Return a rate of 100 beats with its 95 % interval."""
    if rate is None or rate.interval is None:
        return rate_of_100(rate)
    low, high = (rate_of_100(KnownRate(share)) for share in rate.interval)
    return f"{rate_of_100(rate)} ({low} to {high})"


def _ectopic_beats_table(findings: BeatFindings, trust: ClassTrust) -> ReportTable:
    columns = [_count_ectopy(findings, name) for name in "VS"]
    names = ("burden", "couplets", "runs", "longest run", "beats in bigeminy")
    rows = tuple((name, *(column[i] for column in columns)) for i, name in enumerate(names))
    heads = ("ectopy", *(f"{name} {CLASS_NAMES[name]}" for name in "VS"))
    return ReportTable(heads, rows, "lrr", (0.36, 0.32, 0.32), f"Ectopic beats; S: {trust_sentence(trust, 'S')}")


def _count_ectopy(findings: BeatFindings, name: str) -> tuple[str, ...]:
    runs = findings.runs[name]
    return (
        share_in_percent(findings.share(name)),
        f"{findings.couplets[name]:,}",
        f"{findings.run_count[name]:,}",
        f"{len(runs[0]):,} beats at {runs[0].rate:.0f} /min" if runs else NONE,
        f"{findings.bigeminy:,}" if name == "V" else NONE,
    )


def _merge_last_bin(bins: TimeBins, length_s: float) -> TimeBins:
    """Return the bins, a last one of which only a few seconds were recorded as a part of the one before it."""
    if len(bins) < 2 or length_s - bins.edges[-2] > LEAST_BIN_SHARE * bins.step_s:
        return bins
    return TimeBins(np.append(bins.edges[:-2], length_s), bins.step_s)


def _time_bin_table(recording: BedRecording, findings: BeatFindings, bins: TimeBins) -> ReportTable:
    counts = count_by_bin(recording.beats, bins)
    least, mean, most = bin_extremes(findings.rate, recording.beats.at_s, bins)
    pauses = np.bincount(bins.of(recording.beats.at_s[findings.paused]), minlength=len(bins))
    seconds = bins.step_s < 60
    rows = []
    for i in range(len(bins)):
        begin, end = (recording.clock_text(edge, seconds) for edge in bins.edges[i : i + 2].tolist())
        beats = [f"{count:,}" for count in counts[i].tolist()]
        rates = [number_or_dash(float(values[i])) for values in (least, mean, most)]
        rows.append((f"{begin} {DASH} {end}", f"{int(counts[i].sum()):,}", *beats, *rates, f"{int(pauses[i]):,}"))
    heads = ("time", "beats", *CLASSES, "rate min", "mean", "max", "pauses")
    widths = (0.2, 0.1, 0.1, *[0.07] * 4, *[0.09] * 3, 0.08)
    return ReportTable(
        heads, tuple(rows), "l" + "r" * 10, widths, f"By time; S: {trust_sentence(recording.class_trust, 'S')}"
    )
