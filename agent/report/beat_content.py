"""What the report says of the beats: rate, classes, extremes and variability."""

import numpy as np

from agent.report.charts import class_chart, rate_chart, tachogram
from agent.report.document import Block, Figure, Note, Section, Table
from agent.report.findings import PAUSE_S, Bins, Findings, Run, bins, by_bin, extremes
from agent.report.hrv_charts import hrv_picture
from agent.report.paper import Flag, Strip, strip_picture, template_picture
from agent.report.reading import Reading
from agent.report.styles import CLASS_NAMES, DASH, NONE, clock, number, percent
from agent.report.templates import templates
from model.records.wfdb_records import CLASSES
from model.rhythm.hrv import Intervals, Spectrum, TimeDomain, poincare, spectrum, time_domain

STRIPS = 3
"""Of the longest pauses and runs."""
LONG_RUN_S = 7.0
"""A run that is longer has 20 s of paper."""
LEAST_SHARE = 0.8
FEW = "Fewer than 80 % of the NN intervals could be used (ectopy, fibrillation or noise): read these figures with care."


def rate_section(reading: Reading, found: Findings) -> Section:
    """Rate and intervals over the whole recording."""
    return Section("Rate and rhythm", [Figure(rate_chart(reading, found)), Figure(tachogram(reading))])


def beat_section(reading: Reading, found: Findings) -> Section:
    """Classes over time, the typical beat of each, ectopy in figures."""
    parts = bins(reading.started_s, reading.length_s)
    section = Section("Beats", [Figure(class_chart(reading, found, parts))], anew=True)
    made = templates(reading)
    if made:
        section.blocks.append(
            Figure(template_picture(made), "Typical beats", "Median of up to 160 beats of each class, on some of them.")
        )
    section.blocks += [_ectopy(found), _by_time(reading, found, parts)]
    return section


def extreme_section(reading: Reading, found: Findings) -> Section:
    """Slowest and fastest rate, longest pauses, longest runs, each with its strip."""
    section = Section("Extremes", anew=True)
    at_s = reading.beats.at_s
    for name, index in (("Slowest rate", found.slowest), ("Fastest rate", found.fastest)):
        if index is not None:
            title = f"{name}: {found.rate[index]:.0f} per minute over 8 beats"
            section.blocks.append(_strip(reading, title, float(at_s[index]) - 5, 10.0))
    for index in found.pauses[:STRIPS]:
        end_s, rr = float(at_s[index]), float(reading.beats.rr_s[index])
        seconds = 10.0 if rr < 9 else 20.0
        section.blocks.append(_strip(reading, f"Pause: RR {rr:.2f} s", end_s - rr / 2 - seconds / 2, seconds))
    if not found.pauses:
        section.blocks.append(Note(f"No RR interval of {PAUSE_S:g} s or more."))
    for name, word in (("V", "ventricular"), ("S", "supraventricular")):
        for run in found.runs[name][: STRIPS if name == "V" else 1]:
            section.blocks.append(_run_strip(reading, run, word))
        if not found.runs[name]:
            section.blocks.append(Note(f"No run of 3 or more {word} beats."))
    return section


def variability_section(nn: Intervals) -> Section:
    """Time domain, frequency domain and Poincaré plot."""
    section = Section("Heart-rate variability", anew=True)
    figures = time_domain(nn)
    if figures is None:
        section.blocks.append(Note("No interval between two normal beats in a row: nothing to measure."))
        return section
    power, cloud = spectrum(nn), poincare(nn)
    section.blocks.append(Figure(hrv_picture(nn, power, cloud)))
    section.blocks += [_time_table(figures, nn), _power_table(power)]
    if nn.share < LEAST_SHARE:
        section.blocks.append(Note(FEW))
    return section


def strip_of(
    reading: Reading,
    begin_s: float,
    seconds: float,
    flags: tuple[Flag, ...],
    title: str,
    wave: np.ndarray | None = None,
) -> Strip:
    """A strip of the time line with its beats, of the signal there or of a wave that was kept."""
    first, stop = np.searchsorted(reading.beats.at_s, (begin_s, begin_s + seconds))
    labels = reading.beats.label[first:stop].tolist()
    beats = [
        (at_s - begin_s, CLASSES[label])
        for at_s, label in zip(reading.beats.at_s[first:stop].tolist(), labels, strict=True)
    ]
    zero = reading.started_s or 0.0
    clocks = [clock(zero + begin_s + 10.0 * row) for row in range(int(np.ceil(seconds / 10.0)))]
    return Strip(reading.wave(begin_s, seconds) if wave is None else wave, beats, flags, clocks, reading.lead, title)


def _strip(reading: Reading, title: str, begin_s: float, seconds: float) -> Block:
    begin_s = max(0.0, min(begin_s, reading.length_s - seconds))
    at = clock((reading.started_s or 0.0) + begin_s)
    strip = strip_of(reading, begin_s, seconds, (), f"{title}. ECG strip from {at}, {seconds:g} s.")
    return Figure(strip_picture(strip), title, f"from {at}")


def _run_strip(reading: Reading, run: Run, word: str) -> Block:
    begin, end = (float(reading.beats.at_s[at]) for at in (run.first, run.stop - 1))
    seconds = 20.0 if end - begin > LONG_RUN_S else 10.0
    begin_s = begin - max(1.0, (seconds - (end - begin)) / 2)
    return _strip(reading, f"Run of {len(run):,} {word} beats, {run.rate:.0f} per minute", begin_s, seconds)


def _ectopy(found: Findings) -> Block:
    rows = []
    for name in "VS":
        count, runs = found.counts[CLASSES.index(name)], found.runs[name]
        fastest = max((run.rate for run in runs), default=None)
        rows.append(
            (
                f"{name} {CLASS_NAMES[name]}",
                f"{count:,}",
                percent(found.share(name)),
                f"{found.couplets[name]:,}",
                f"{found.run_count[name]:,}",
                f"{len(runs[0]):,} beats" if runs else NONE,
                f"{fastest:.0f} /min" if fastest else NONE,
                f"{found.bigeminy:,}" if name == "V" else NONE,
            )
        )
    heads = ("ectopy", "beats", "burden", "couplets", "runs", "longest run", "fastest of the longest", "in bigeminy")
    return Table(heads, tuple(rows), "lrrrrrrr", (0.2, 0.1, 0.1, 0.1, 0.1, 0.13, 0.17, 0.1), "Ectopic beats")


def _by_time(reading: Reading, found: Findings, parts: Bins) -> Block:
    counts = by_bin(reading.beats, parts)
    least, mean, most = extremes(found.rate, reading.beats.at_s, parts)
    pauses = np.bincount(parts.of(reading.beats.at_s[found.paused]), minlength=len(parts))
    zero = reading.started_s or 0.0
    rows = []
    for i in range(len(parts)):
        begin = clock(zero + float(parts.edges[i]), seconds=parts.step_s < 60)
        end = clock(zero + float(parts.edges[i + 1]), seconds=parts.step_s < 60)
        beats = [f"{count:,}" for count in counts[i].tolist()]
        rates = [number(float(part[i])) for part in (least, mean, most)]
        rows.append((f"{begin} {DASH} {end}", f"{int(counts[i].sum()):,}", *beats, *rates, f"{int(pauses[i]):,}"))
    heads = ("time", "beats", *CLASSES, "rate min", "mean", "max", "pauses")
    widths = (0.17, 0.1, 0.1, *[0.08] * 4, *[0.09] * 3, 0.08)
    return Table(heads, tuple(rows), "l" + "r" * 10, widths, "By time")


def _time_table(figures: TimeDomain, nn: Intervals) -> Block:
    cloud = poincare(nn)
    rows = (
        ("mean NN", number(figures.mean, 0, "ms"), "mean of the intervals between normal beats"),
        ("SDNN", number(figures.sdnn, 1, "ms"), "their standard deviation over the whole recording"),
        ("SDANN", number(figures.sdann, 1, "ms"), "standard deviation of the means of five minutes"),
        ("SDNN index", number(figures.sdnn_index, 1, "ms"), "mean of the standard deviations of five minutes"),
        ("RMSSD", number(figures.rmssd, 1, "ms"), "root mean square of the steps from one interval to the next"),
        ("pNN50", number(figures.pnn50, 1, "%"), "steps of more than 50 ms"),
        ("triangular index", number(figures.triangular, 1), "intervals over the height of their histogram"),
        ("SD1", number(cloud.sd1 if cloud else None, 1, "ms"), "width of the Poincaré plot"),
        ("SD2", number(cloud.sd2 if cloud else None, 1, "ms"), "its length"),
        ("intervals", f"{len(nn):,}", f"{percent(100 * nn.share)} of those between two normal beats"),
    )
    return Table(("figure", "value", "what it is"), rows, "lrl", (0.16, 0.12, 0.5), "Time domain and Poincaré plot")


def _power_table(power: Spectrum | None) -> Block:
    if power is None:
        return Note("No five minutes with enough intervals in a row for a spectrum.")
    bands = (("VLF", "0.0033 to 0.04 Hz"), ("LF", "0.04 to 0.15 Hz"), ("HF", "0.15 to 0.4 Hz"))
    rows = tuple((name, number(power.power(name), 0, "ms²"), span) for name, span in bands)
    mean = f"mean of {power.segments:,} segments of five minutes"
    rows = (*rows, ("LF / HF", number(power.ratio, 2), mean))
    return Table(("band", "power", "what it is"), rows, "lrl", (0.16, 0.12, 0.5), "Frequency domain")
