"""The section of atrial fibrillation, pauses and runs: how much, and a list of each."""

from agent.core.config import Config
from agent.report.bed_recording import BedRecording
from agent.report.document import ReportSection, ReportTable, SideBySide
from agent.report.findings import BeatFindings, EctopicRun
from agent.report.rhythm_episodes import RhythmEpisodes
from agent.report.styles import duration_in_words, number_or_dash, share_in_percent
from model.records.wfdb_records import CLASSES

MOST_LISTED = 8
"""Longest episodes, pauses and runs that are listed."""


def rhythm_section(
    recording: BedRecording, findings: BeatFindings, fibrillation: RhythmEpisodes, config: Config
) -> ReportSection:
    """Return the lists of what stood out: atrial fibrillation, pauses and runs; no blocks if nothing did."""
    tables = (
        _fibrillation_table(recording, findings, fibrillation),
        _pause_table(recording, findings, config),
        _run_table(recording, findings, config),
    )
    shown = [(table, share) for table, share in zip(tables, (0.36, 0.27, 0.37), strict=True) if table.rows]
    section = ReportSection("Atrial fibrillation, pauses and runs")
    if shown:
        section.blocks.append(SideBySide(tuple((table,) for table, _ in shown), tuple(share for _, share in shown)))
    return section


def fibrillation_limits(config: Config) -> str:
    """Return what the search for atrial fibrillation cannot see, in words."""
    return (
        f"Episodes of less than about {config.alarms.af_s:g} s, flutter with regular conduction, and fibrillation "
        "behind paced or many ventricular beats are not seen; flutter with irregular conduction counts as fibrillation."
    )


def _fibrillation_table(recording: BedRecording, findings: BeatFindings, found: RhythmEpisodes) -> ReportTable:
    order = sorted(found.spans.tolist(), key=lambda span: span[0] - span[1])[:MOST_LISTED]
    rows = tuple(
        (recording.clock_text(begin), duration_in_words(end - begin), _rate_within(recording, findings, begin, end))
        for begin, end in sorted(order)
    )
    count = f"{len(found):,} episode{'s' * (len(found) > 1)}"
    shown = f", the {MOST_LISTED} longest" if len(found) > MOST_LISTED else ""
    caption = (
        f"Atrial fibrillation: {share_in_percent(100 * found.share)} of the time with signal, "
        f"{count}, {duration_in_words(found.total_s)} in all{shown}"
    )
    return ReportTable(("began", "lasted", "mean rate"), rows, "lrr", (0.4, 0.33, 0.27), caption)


def _rate_within(recording: BedRecording, findings: BeatFindings, begin_s: float, end_s: float) -> str:
    beats = recording.beats
    inside = (beats.at_s >= begin_s) & (beats.at_s <= end_s) & (findings.rate == findings.rate)
    rr = beats.rr_s[inside]
    return number_or_dash(60 / float(rr.mean()) if len(rr) else None, 0, "/min")


def _pause_table(recording: BedRecording, findings: BeatFindings, config: Config) -> ReportTable:
    limit = f"over {config.alarms.pause_s:g} s"
    rows = []
    for index in sorted(findings.pauses[:MOST_LISTED]):
        around = recording.beats.label[max(0, index - 1) : index + 1].tolist()
        began_s = float(recording.beats.at_s[index] - recording.beats.rr_s[index])
        between = " to ".join(CLASSES[label] for label in around)
        rows.append((recording.clock_text(began_s), f"{recording.beats.rr_s[index]:.2f} s", between))
    count = findings.pause_count
    shown = f", the {MOST_LISTED} longest" if count > MOST_LISTED else ""
    caption = f"{count:,} pause{'s' * (count > 1)} {limit}{shown}"
    return ReportTable(("began", "RR", "beats"), tuple(rows), "lrl", (0.5, 0.25, 0.25), caption)


def _run_table(recording: BedRecording, findings: BeatFindings, config: Config) -> ReportTable:
    runs = [(name, run) for name in "VS" for run in findings.runs[name]]
    least = config.alarms.v_run_beats
    total = sum(findings.run_count.values())
    longest = sorted(runs, key=lambda one: (-len(one[1]), one[1].first))[:MOST_LISTED]
    rows = tuple(_run_row(recording, *one) for one in sorted(longest, key=lambda one: one[1].first))
    shown = f", the {len(rows)} longest" if total > len(rows) else ""
    caption = f"{total:,} run{'s' * (total > 1)} of {least} or more beats{shown}"
    return ReportTable(
        ("began", "class", "beats", "rate", "lasted"), rows, "llrrr", (0.28, 0.22, 0.13, 0.2, 0.17), caption
    )


def _run_row(recording: BedRecording, name: str, run: EctopicRun) -> tuple[str, ...]:
    begin, end = (float(recording.beats.at_s[at]) for at in (run.first, run.stop - 1))
    return (
        recording.clock_text(begin),
        f"{name} doubtful" if run.doubtful else name,
        f"{len(run):,}",
        f"{run.rate:.0f} /min",
        duration_in_words(end - begin),
    )
