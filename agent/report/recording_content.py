"""Sections about the recording itself: quality of the signal, where time is missing, runs, events and methods."""

import numpy as np

from agent.core.config import Config
from agent.core.events import Event
from agent.core.wording import event_text
from agent.report.bed_recording import BedRecording
from agent.report.charts import LEAST_SHOWN_PERCENT, quality_chart
from agent.report.document import PlainBlock, ReportFigure, ReportNote, ReportSection, ReportTable, SideBySide
from agent.report.recording_words import name_clock
from agent.report.signal_quality import FLAT_MV, NOISY_UV, SignalQuality
from agent.report.styles import NONE, date_and_time, duration_in_words, number_or_dash, share_in_percent
from model.records.resample import FS
from model.rhythm.hrv import FURTHEST_SHARE, LONGEST_NN_S, NEIGHBOUR_COUNT, SHORTEST_NN_S

MOST_RUNS, MOST_EVENTS = 60, 200
SIGNAL_KINDS = ("signal", "gap", "backfill")
"""Kinds of events that tell of a place in the signal."""
FEW_RUNS = 6
"""Runs whose table stands beside that of the time."""
HRV_METHODS = (
    f"Heart-rate variability is measured on intervals between two consecutive N beats of {SHORTEST_NN_S:g} to "
    f"{LONGEST_NN_S:g} s that differ from the mean of {NEIGHBOUR_COUNT} on each side by no more than "
    f"{100 * FURTHEST_SHARE:g} %, as the Task Force of 1996 defines it (Circulation 93: 1043); "
    "power by Lomb's periodogram of segments of five minutes. docs/report.md of ecg-agent says what each figure means."
)


def recording_section(recording: BedRecording, config: Config, signal: SignalQuality) -> ReportSection:
    """Return the section of signal and recording: quality, time, runs and events, and how the figures were made."""
    section = ReportSection("Signal and recording")
    if recording.length_s:
        few = len(recording.places) <= FEW_RUNS
        one = len(recording.places) == 1
        runs = (_recorded_runs_table(recording),) if few and not one else ()
        ledger = f"{_say_run(recording)} {_ledger_text(recording)}" if one else _ledger_text(recording)
        right = (_time_table(recording, signal), *runs, ReportNote(ledger, small=True))
        section.blocks.append(SideBySide((tuple(_quality_blocks(recording, signal)), right), (0.5, 0.5)))
        section.blocks += [] if few else [_recorded_runs_table(recording)]
    events = [(at_s, event) for at_s, event in recording.events if event.kind not in ("start", "end")]
    if events:
        rows = tuple(
            (_event_time(recording, at_s, event), event.kind, event_text(event)) for at_s, event in events[:MOST_EVENTS]
        )
        more = f", the first {MOST_EVENTS} of {len(events):,}" if len(events) > MOST_EVENTS else ""
        heads = (f"time ({name_clock(recording)})", "kind", "what")
        section.blocks.append(ReportTable(heads, rows, "lll", (0.2, 0.08, 0.72), caption=f"Events{more}"))
    methods = (_beat_methods(config), f"{HRV_METHODS} Times: {name_clock(recording)}.")
    section.blocks += [ReportNote(text, small=True) for text in methods]
    return section


def _event_time(recording: BedRecording, at_s: float, event: Event) -> str:
    """Return when what an event tells was in the signal; where it has no sample, when it was reported."""
    at = recording.time_of(event.run, event.sample) if event.run and event.sample > 0 else None
    # A deed of a person has the sample that was reached then, and its own time on the clock.
    if at is None or recording.started_s is None or event.kind not in SIGNAL_KINDS:
        return f"{date_and_time(at_s)} (reported)"
    return date_and_time(recording.started_s + at)


def _quality_blocks(recording: BedRecording, signal: SignalQuality) -> list[PlainBlock]:
    if not recording.segments:
        gone = "The signal is no longer there: it was deleted to stay below a limit."
        return [ReportNote(gone if recording.ledger.analysed else "No signal was recorded.")]
    noise_uv = signal.noise_uv[np.isfinite(signal.noise_uv)]
    worst = float(noise_uv.max()) if len(noise_uv) else None
    text = (
        f"{_say_signal(recording, signal)}Flat: a whole second within {1000 * FLAT_MV:g} µV (lead off?); at the rails: "
        f"the same where the converter ends. The noisiest minute has {number_or_dash(worst)} µV. Missing signal is "
        "never filled in."
    )
    return [ReportFigure(quality_chart(recording, signal)), ReportNote(text, small=True)]


def _say_signal(recording: BedRecording, signal: SignalQuality) -> str:
    """Return that there is signal all the time, where that is so, as a sentence to go on after; else ""."""
    lost_s = recording.length_s - signal.recorded_s
    bad_s = max(lost_s, float(signal.flat.sum()), float(signal.saturated.sum()))
    if 100 * bad_s > LEAST_SHOWN_PERCENT * recording.length_s:
        return ""
    return "Nothing is missing, flat or at the rails. " if bad_s < 1 else ""


def _say_run(recording: BedRecording) -> str:
    """Return when the only run began, its length, and what is on disk of it."""
    ((_, *cells),) = _recorded_run_rows(recording)
    begin, length, on_disk, rate, files = cells
    return f"One run: it began {begin} and lasted {length}; {on_disk} on disk at {rate}, files: {files}."


def _time_table(recording: BedRecording, signal: SignalQuality) -> ReportTable:
    """Return what became of the time from the first to the last sample; the parts add up to the whole."""
    sent_s = sum((place.stop - place.first) / FS for place in recording.places)
    on_disk_s = sum(segment.count / segment.fs for segment in recording.segments)
    # Short gaps are on disk, too, as samples without a value.
    gone_s = max(0.0, sent_s - recording.missing_s - on_disk_s)
    parts = (
        ("with signal", signal.recorded_s),
        ("recorded, without a value in the heard lead", sent_s - recording.missing_s - signal.recorded_s - gone_s),
        ("not recorded: lost on the way, or no monitor was running", recording.missing_s),
        ("recorded, but no longer on disk", gone_s),
        ("between runs: the device sent nothing", recording.length_s - sent_s),
    )
    rows = tuple(
        (name, duration_in_words(max(0.0, seconds)), share_in_percent(max(0.0, 100 * seconds / recording.length_s)))
        for name, seconds in parts
        if name == parts[0][0] or seconds > 0.05
    )
    whole = ("from the first to the last sample", duration_in_words(recording.length_s), "100.0 %")
    return ReportTable(("time", "length", "share"), (*rows, whole), "lrr", (0.62, 0.2, 0.18), "Time")


def _ledger_text(recording: BedRecording) -> str:
    ledger = recording.ledger
    gone = ledger.sent - ledger.analysed - ledger.missing
    open_text = f", {gone:,} under way" if gone > 0 else ""
    return (
        f"Ledger: of {ledger.sent:,} samples that the device sent, {ledger.analysed:,} recorded and "
        f"{ledger.missing:,} not recorded{open_text}; ecg-agent sessions shows the same."
    )


def _recorded_runs_table(recording: BedRecording) -> ReportTable:
    rows = _recorded_run_rows(recording)
    more = f", the first {MOST_RUNS} of {len(recording.places):,}" if len(recording.places) > MOST_RUNS else ""
    heads = ("run", f"began ({name_clock(recording)})", "length", "on disk", "rate", "files")
    return ReportTable(heads, tuple(rows), "llrrrr", (0.16, 0.29, 0.17, 0.16, 0.14, 0.08), f"Runs{more}")


def _recorded_run_rows(recording: BedRecording) -> list[tuple[str, ...]]:
    """Return name, begin, length, length on disk, rate and number of files of each of the first runs."""
    rows: list[tuple[str, ...]] = []
    for place in recording.places[:MOST_RUNS]:
        mine = [segment for segment in recording.segments if segment.run == place.run]
        recorded = sum(segment.count / segment.fs for segment in mine)
        begin = date_and_time(recording.started_s + place.at_s) if recording.started_s is not None else NONE
        rates = ", ".join(f"{fs:g} Hz" for fs in dict.fromkeys(segment.fs for segment in mine))
        lasted = duration_in_words((place.stop - place.first) / FS)
        rows.append((place.run[:8], begin, lasted, duration_in_words(recorded), rates or NONE, f"{len(mine):,}"))
    return rows


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
        "fewer."
    )
