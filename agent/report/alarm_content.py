"""The section of the report about alarms: how many, when, and each with its strip."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from agent.core.messages import PRIORITIES, Alarm, AlarmIdentity, Strip
from agent.report.bed_recording import BedRecording
from agent.report.charts import alarm_chart
from agent.report.document import (
    FigureGrid,
    ReportBlock,
    ReportFigure,
    ReportNote,
    ReportSection,
    ReportTable,
    SideBySide,
)
from agent.report.ecg_paper import HIGH_SCALE, THIRD_SCALE, StripFlag, StripScale, strip_picture
from agent.report.picture import Picture
from agent.report.strip_content import build_strip_drawing
from agent.report.styles import (
    GREY_INK,
    NONE,
    PRIORITY_COLOURS,
    date_and_time,
    duration_in_words,
    time_of_day,
)
from model.records.resample import FS
from model.waveform.window_features import WINDOW

MOST_STRIPS = 400
"""Alarms shown with their strip, the most urgent first."""
FEW_LOW = 6
"""Alarms of low priority that all have their strips; of more, the first and the longest of each condition."""
MOST_ROWS = 400
"""Further alarms that are listed."""
AROUND_S = 10.0
"""Signal before and after the announcement if the monitor kept no strip."""
MOST_LARGE_STRIPS = 20
"""Alarms of high priority whose whole strip is drawn at the usual scale; all others are small."""
OTHER_HEADS = ("priority", "alarm", "onset", "until known", "what became of it")
OTHER_WIDTHS, OTHER_GAP = (0.052, 0.208, 0.062, 0.06, 0.108), 0.02
"""Of the alarms that are listed two beside each other, and between them."""
DATED_WIDTHS = (0.052, 0.178, 0.096, 0.056, 0.108)
"""The same with room for days beside the times."""
LEAD_IN_S = 1.5
"""Seconds of a small strip before the onset, or after the announcement."""


def alarm_section(
    recording: BedRecording, strips: dict[AlarmIdentity, Strip], least_confidence: float
) -> ReportSection:
    """Return the section of all alarms, with the strips that the monitor kept."""
    section = ReportSection("Alarms")
    if not recording.alarms:
        if recording.length_s:
            section.blocks.append(ReportNote("No alarms."))
        return section
    chart, table = ReportFigure(alarm_chart(recording, recording.alarms)), _condition_table(recording.alarms)
    shown, rest = choose_shown_alarms(recording.alarms)
    runs = {alarm.identity: run for run, alarm in find_same_beats(recording.alarms)}
    section.blocks.append(SideBySide(((chart,), (table,)), (0.5, 0.5)))
    large = [alarm for alarm in shown if alarm.priority == "high"][:MOST_LARGE_STRIPS]
    small = sorted((alarm for alarm in shown if alarm not in large), key=lambda alarm: PRIORITIES.index(alarm.priority))
    figures: list[ReportFigure] = []
    for alarm in (*large, *small):
        scale = HIGH_SCALE if len(figures) < len(large) else THIRD_SCALE
        drawn = _draw_alarm(recording, alarm, strips.get(alarm.identity), least_confidence, scale)
        figures.append(_note_same_beats(ReportFigure(*drawn), runs.get(alarm.identity)))
    section.blocks += figures[: len(large)]
    if small:
        section.blocks.append(FigureGrid(tuple(figures[len(large) :]), 3))
    if rest:
        section.blocks.append(_other_alarms_table(recording, rest, len(shown)))
    return section


def choose_shown_alarms(alarms: Sequence[Alarm]) -> tuple[list[Alarm], list[Alarm]]:
    """Return the alarms shown with a strip, and the others, each in the order of announcement."""
    told = {run.identity for run, _ in find_same_beats(alarms)}
    listed = [i for i, alarm in enumerate(alarms) if alarm.identity not in told]
    low = [i for i in listed if alarms[i].priority == "low"]
    kept = [i for i in listed if alarms[i].priority != "low"]
    kept += low if len(low) <= FEW_LOW else _first_and_longest(alarms, low)
    first = set(sorted(kept, key=lambda i: (PRIORITIES.index(alarms[i].priority), i))[:MOST_STRIPS])
    return [alarms[i] for i in sorted(first)], [alarms[i] for i in listed if i not in first]


def find_same_beats(alarms: Sequence[Alarm]) -> list[tuple[Alarm, Alarm]]:
    """Return the V runs that went on as a ventricular tachycardia of the same beats, each with that alarm.

    The strip of the tachycardia shows both.
    """
    longer = [alarm for alarm in alarms if alarm.condition == "ventricular tachycardia"]
    found = []
    for run in alarms:
        if run.condition == "V run":
            same = (one for one in longer if one.run == run.run and one.onset <= run.onset <= one.announced)
            found += [(run, one) for one in same if run.announced <= one.announced][:1]
    return found


def _note_same_beats(figure: ReportFigure, run: Alarm | None) -> ReportFigure:
    """Return the figure of a tachycardia with a word of the V run that was alarmed of its beats before."""
    if run is None:
        return figure
    known = f"announced as {run.condition} ({run.priority}) after {_until_known_s(run):.1f} s"
    said = f"the same beats were {known}: {run.text}"
    return replace(figure, details=f"{figure.details}; {said}")


def _first_and_longest(alarms: Sequence[Alarm], chosen: Sequence[int]) -> list[int]:
    """Return of the chosen alarms those that are the first of their condition, and the longest of its others."""
    groups: dict[str, list[int]] = {}
    for i in chosen:
        groups.setdefault(alarms[i].condition, []).append(i)
    found = []
    for first, *others in groups.values():
        found += [first, *([max(others, key=lambda i: _lasted_s(alarms[i]))] if others else [])]
    return found


def _lasted_s(alarm: Alarm) -> float:
    """Return how long an alarm lasted in seconds, without an end longer than any other."""
    return float("inf") if alarm.ended is None else max(0, alarm.ended - alarm.onset) / FS


def _say_shown(recording: BedRecording, shown: int) -> str:
    """Return which alarms have strips, as a clause."""
    low = sum(alarm.priority == "low" for alarm in recording.alarms)
    chosen = ", of low priority the first and the longest of each condition" if low > FEW_LOW else ""
    return f"above, with their strips, are the {shown:,} most urgent of {recording.alarm_count:,}{chosen}"


def _draw_alarm(
    recording: BedRecording, alarm: Alarm, strip: Strip | None, least_confidence: float, scale: StripScale
) -> tuple[Picture, str, str, str, str]:
    """Return picture, title, details, letter and colour of the figure of an alarm."""
    colour = PRIORITY_COLOURS[alarm.priority]
    title = _name_alarm(alarm)
    known_s = recording.time_of(alarm.run, alarm.announced)
    begin_s: float | None = None
    if strip is not None:
        begin_s, seconds = recording.time_of(alarm.run, strip.first), len(strip.wave) / FS
    elif known_s is not None:
        begin_s, seconds = known_s - AROUND_S, 2 * AROUND_S
    details = _describe_alarm_times(recording, alarm)
    if begin_s is None or not seconds:
        details += "; no strip was kept"
        begin_s, seconds = 0.0, 0.0
    onset_s, ended_s = (
        None if sample is None else recording.time_of(alarm.run, sample) for sample in (alarm.onset, alarm.ended)
    )
    skipped_s = 0.0
    if scale.row_s < seconds and scale is THIRD_SCALE:
        skipped_s = _choose_shown_part(begin_s, seconds, onset_s, known_s, scale.row_s)
        begin_s, seconds = begin_s + skipped_s, scale.row_s
    flags = tuple(
        StripFlag(at_s - begin_s, word, GREY_INK if word == "end" else colour)
        for at_s, word in ((onset_s, "onset"), (known_s, "announced"), (ended_s, "end"))
        if at_s is not None and 0 <= at_s - begin_s <= seconds
    )
    description = f"Alarm of {alarm.priority} priority, {title}. {details}."
    first = round(skipped_s * FS)
    wave = None if strip is None else strip.wave[first : first + round(seconds * FS)]
    drawing = build_strip_drawing(recording, (begin_s, seconds), flags, description, least_confidence, wave)
    drawing = replace(drawing, scale=scale, lead=drawing.lead if strip is None else recording.lead_title(strip.lead))
    return strip_picture(drawing), title, details, alarm.priority.upper(), colour


def _choose_shown_part(
    begin_s: float, seconds: float, onset_s: float | None, known_s: float | None, shown_s: float
) -> float:
    """Return the second of a strip from which on `shown_s` seconds show onset and announcement, or the latter."""
    known = seconds / 2 if known_s is None else known_s - begin_s
    onset = known if onset_s is None else onset_s - begin_s
    wanted = onset - LEAD_IN_S if 0 <= known - onset <= shown_s - 1.5 * LEAD_IN_S else known - shown_s + LEAD_IN_S
    return min(max(0.0, wanted), seconds - shown_s)


def _name_alarm(alarm: Alarm) -> str:
    """Return condition and reason of an alarm; the reason of some names the condition already."""
    title = f"{alarm.condition}: {alarm.text}" if alarm.condition not in alarm.text else alarm.text
    # The time in the reason of an alarm from the waveform counts whole windows.
    return title + (f" (windows of {WINDOW / FS:g} s)" if "waveform" in alarm.text else "")


def _describe_alarm_times(recording: BedRecording, alarm: Alarm) -> str:
    """Return onset, announcement, end and acknowledgement in words."""
    onset = _onset_clock(recording, alarm)
    begun = f"onset {onset}" if onset else f"announced {date_and_time(alarm.announced_s)}"
    known = f"announced {_until_known_s(alarm):.1f} s later"
    return ", ".join((begun, known, *_describe_alarm_end(recording, alarm)))


def _onset_clock(recording: BedRecording, alarm: Alarm) -> str:
    """Return the time of day of the onset, "" if it is unknown."""
    onset_s = recording.time_of(alarm.run, alarm.onset)
    return "" if onset_s is None or recording.started_s is None else recording.clock_text(onset_s)


def _until_known_s(alarm: Alarm) -> float:
    return max(0, alarm.announced - alarm.onset) / FS


def _describe_alarm_end(recording: BedRecording, alarm: Alarm) -> list[str]:
    """Return how long an alarm lasted, and what was done, each in words."""
    parts = ["no end recorded" if alarm.ended is None else f"lasted {duration_in_words(_lasted_s(alarm))}"]
    if alarm.acknowledged_s is None:
        parts += ["not acknowledged"] * (alarm.priority != "low")
    else:
        after = duration_in_words(max(0.0, alarm.acknowledged_s - alarm.announced_s))
        parts.append(f"acknowledged at {time_of_day(alarm.acknowledged_s)}, {after} after it was announced")
    if alarm.latching:
        parts.append("latching")
    if told := recording.notified.get(alarm.identity):
        parts.append(f"notification {told}")
    return parts


def _condition_table(alarms: Sequence[Alarm]) -> ReportTable:
    groups: dict[tuple[int, str], list[Alarm]] = {}
    for alarm in alarms:
        groups.setdefault((PRIORITIES.index(alarm.priority), alarm.condition), []).append(alarm)
    rows = []
    for (priority, condition), group in sorted(groups.items()):
        lasted_s = [_lasted_s(alarm) for alarm in group if alarm.ended is not None]
        delays_s = [_until_known_s(alarm) for alarm in group]
        acknowledged_s = [
            alarm.acknowledged_s - alarm.announced_s for alarm in group if alarm.acknowledged_s is not None
        ]
        answered = f"{len(acknowledged_s):,}"
        if acknowledged_s:
            answered += f" after {duration_in_words(max(0.0, median(acknowledged_s)))}"
        rows.append(
            (
                f"{condition} ({PRIORITIES[priority]})",
                f"{len(group):,}",
                duration_in_words(max(lasted_s)) if lasted_s else NONE,
                duration_in_words(sum(lasted_s)) if lasted_s else NONE,
                f"{median(delays_s):.1f} s",
                answered,
            )
        )
    heads = ("condition (priority)", "alarms", "longest", "total", "until known", "acknowl.")
    caption = "By condition; until known and acknowledged: medians"
    return ReportTable(heads, tuple(rows), "lrrrrr", (0.31, 0.1, 0.14, 0.16, 0.14, 0.15), caption)


def _other_alarms_table(recording: BedRecording, alarms: Sequence[Alarm], shown: int) -> ReportBlock:
    cells = [_alarm_cells(recording, alarm) for alarm in alarms[:MOST_ROWS]]
    cells += [("",) * len(OTHER_HEADS)] * (len(cells) % 2)
    rows = tuple((*left, "", *right) for left, right in zip(cells[::2], cells[1::2], strict=True))
    more = f", {MOST_ROWS} of {len(alarms):,}" if len(alarms) > MOST_ROWS else ""
    one_day = len(recording.clock_text(0.0)) == len("00:00:00")
    shares = OTHER_WIDTHS if one_day else DATED_WIDTHS
    heads, widths = (*OTHER_HEADS, "", *OTHER_HEADS), (*shares, OTHER_GAP, *shares)
    return ReportTable(
        heads, rows, "llrrl" + "l" + "llrrl", widths, f"Other alarms{more}; {_say_shown(recording, shown)}"
    )


def _alarm_cells(recording: BedRecording, alarm: Alarm) -> tuple[str, ...]:
    """Return an alarm as the cells of one row."""
    known = f"{_until_known_s(alarm):.1f} s"
    more = ", ".join(_describe_alarm_end(recording, alarm))
    return alarm.priority, _name_alarm(alarm), _onset_clock(recording, alarm) or NONE, known, more
