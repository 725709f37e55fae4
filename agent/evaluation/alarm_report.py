"""What the evaluation of alarms shows of its figures: a report, which is a plain dictionary, and tables drawn from it.

All of a report but `cost` is the same each time. Shares are percent, times are seconds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.evaluation.alarm_evaluation import AlarmEvaluation, RecordAlarmResult
from agent.evaluation.alarm_scoring import MARGIN_S, SCORED_CONDITIONS, AlarmVerdict, ScoredAlarm
from agent.evaluation.beat_evaluation import EvaluationOptions
from agent.evaluation.beat_report import EvaluationReport, format_clock_time
from model.records.resample import FS
from model.scoring.episode_scores import EpisodeCounts, average_episode_percent, gross_episode_counts
from model.text import format_clock

VERDICTS: tuple[AlarmVerdict, ...] = ("true", "other", "false", "unknown")
EPISODE_HEADS = ("episodes", "Se", "+P", "duration Se", "+P", "reference s", "alarms s", "false/h")
EPISODE_STATISTICS = ("episode_se", "episode_ppv", "duration_se", "duration_ppv")
DETAILED_KINDS = ("VF", "VT", "AF")
"""Kinds of episodes of which every record has a row."""
MOST_LISTED = 40
"""False alarms that are listed on the terminal; the report has all."""


def build_alarm_report(outcome: AlarmEvaluation, asked: EvaluationOptions) -> EvaluationReport:
    """All figures: of every record, and of all together, as gross figures and as the mean of the records."""
    found = outcome.evaluated
    judged = [one for record in found for one in record.judged]
    return {
        "set": asked.subset,
        "folder": None if asked.folder is None else asked.folder.name,
        "weights": outcome.weights,
        "reference": asked.reference,
        "start_s": asked.start_s,
        "margin_s": MARGIN_S,
        "hours": sum(one.scored_s for one in found) / 3600,
        "hours_without_noise": sum(one.audible_s for one in found) / 3600,
        "gross": {
            "episodes": _sum_episode_counts([one.episodes for one in found]),
            "episodes_without_noise": _sum_episode_counts([one.audible for one in found]),
            "high": _high_priority_figures(judged, found),
            "announced": dict(sum((Counter(one.announced) for one in found), Counter[str]())),
            "delays": _summarise_alarm_delays(found),
        },
        "records": [_record_alarm_figures(one) for one in found],
        "alarms": [_scored_alarm_figures(one, record.record) for record in found for one in record.judged],
        "skipped": [asdict(one) for one in outcome.skipped],
        "cost": asdict(outcome.cost),
    }


def _record_alarm_figures(one: RecordAlarmResult) -> EvaluationReport:
    return {
        "record": one.record,
        "scored_s": one.scored_s,
        "without_noise_s": one.audible_s,
        "beats": one.beats,
        "episodes": {name: _episode_count_figures(counts) for name, counts in one.episodes.items()},
        "episodes_without_noise": {name: _episode_count_figures(counts) for name, counts in one.audible.items()},
        "high": _high_priority_figures(one.judged, [one]),
        "announced": dict(one.announced),
        "delays": _summarise_alarm_delays([one]),
    }


def _sum_episode_counts(rows: Sequence[dict[str, EpisodeCounts]]) -> EvaluationReport:
    names = list(rows[0])
    return {
        name: _episode_count_figures(gross_episode_counts([row[name] for row in rows]))
        | {"average": average_episode_percent([row[name] for row in rows])}
        for name in names
    }


def _episode_count_figures(counts: EpisodeCounts) -> EvaluationReport:
    return asdict(counts) | {"statistics": counts.percent(), "false_per_hour": counts.false_per_hour}


def _high_priority_figures(judged: Sequence[ScoredAlarm], found: Sequence[RecordAlarmResult]) -> EvaluationReport:
    """Alarms of high priority by condition and verdict; false ones an hour, of all signal and of that without noise."""
    conditions = sorted({one.alarm.condition for one in judged})
    false = [one for one in judged if one.verdict == "false"]
    clear = sum(not one.noise for one in false)
    return {
        "conditions": {
            name: _count_verdicts([one for one in judged if one.alarm.condition == name]) for name in conditions
        },
        "all": _count_verdicts(judged),
        "false_per_hour": _hourly_false_alarms(len(false), sum(one.scored_s for one in found)),
        "false_without_noise": clear,
        "false_without_noise_per_hour": _hourly_false_alarms(clear, sum(one.audible_s for one in found)),
    }


def _count_verdicts(judged: Sequence[ScoredAlarm]) -> dict[str, int]:
    return {verdict: sum(one.verdict == verdict for one in judged) for verdict in VERDICTS}


def _hourly_false_alarms(number: int, seconds: float) -> float | None:
    return 3600 * number / seconds if seconds > 0 else None


def _summarise_alarm_delays(found: Sequence[RecordAlarmResult]) -> EvaluationReport:
    """Events of each condition, how many had an alarm, in how many it stood already, and how late the others came."""
    made: EvaluationReport = {}
    for name in SCORED_CONDITIONS:
        values = list(chain.from_iterable(one.delays.get(name, ()) for one in found))
        alarmed = sorted(value for value in values if value is not None)
        late = [value for value in alarmed if value >= 0]
        if values:
            made[name] = {
                "events": len(values),
                "alarmed": len(alarmed),
                "stood": len(alarmed) - len(late),
                "median_s": median(late) if late else None,
                "max_s": late[-1] if late else None,
            }
    return made


def _scored_alarm_figures(one: ScoredAlarm, record: str) -> EvaluationReport:
    alarm = one.alarm
    return {
        "record": record,
        "condition": alarm.condition,
        "text": alarm.text,
        "verdict": one.verdict,
        "noise": one.noise,
        "onset_s": alarm.onset / FS,
        "announced_s": alarm.announced / FS,
        "ended_s": None if alarm.ended is None else alarm.ended / FS,
    }


def alarm_report_tables(made: EvaluationReport) -> RenderableType:
    """A report for the terminal."""
    parts: list[RenderableType] = [
        *alarm_report_heading(made),
        "",
        _episode_table(made),
        "",
        _verdict_table(made),
        "",
        _alarm_delay_table(made),
    ]
    false = [one for one in made["alarms"] if one["verdict"] == "false"]
    if false:
        parts += ["", _false_alarm_table(false)]
    if len(false) > MOST_LISTED:
        parts.append(Text(f"and {len(false) - MOST_LISTED} more in report.json"))
    parts += [Text(f"skipped {one['record']}: {one['reason']}") for one in made["skipped"]]
    return Group(*parts)


def alarm_report_heading(made: EvaluationReport) -> list[str]:
    """What was evaluated, in lines."""
    records, skipped = len(made["records"]), len(made["skipped"])
    lines = [
        f"{records} record{'' if records == 1 else 's'}{f', {skipped} skipped' if skipped else ''}, "
        f"{made['hours']:.2f} h scored from {format_clock_time(made['start_s'])} on, weights {made['weights']}"
    ]
    high = made["gross"]["high"]
    lines.append(
        f"alarms of high priority: {high['all']['false']} false, {_format_alarm_figure(high['false_per_hour'])} an hour"
    )
    if made["hours_without_noise"] < made["hours"]:
        lines.append(
            f"outside noise, {made['hours_without_noise']:.2f} h: {high['false_without_noise']} false, "
            f"{_format_alarm_figure(high['false_without_noise_per_hour'])} an hour"
        )
    return lines


def _episode_table(made: EvaluationReport) -> Table:
    table = _new_alarm_table("episodes by EC57", *EPISODE_HEADS)
    for row in episode_rows(made):
        table.add_row(*row)
    return table


def episode_rows(made: EvaluationReport) -> list[list[str]]:
    """A row for each kind and record with episodes in reference or test, then gross and average of the kind."""
    noisy = made["hours_without_noise"] < made["hours"]
    rows = []
    for name, total in made["gross"]["episodes"].items():
        if not _has_episodes(total):
            continue
        for one in made["records"] if name in DETAILED_KINDS else ():
            if _has_episodes(one["episodes"][name]):
                rows.append([f"{name} {one['record']}", *_episode_cells(one["episodes"][name])])
        rows.append([f"{name} gross", *_episode_cells(total)])
        rows.append(
            [
                f"{name} average",
                "",
                *(_format_alarm_figure(total["average"][key], 1) for key in EPISODE_STATISTICS),
                "",
                "",
                "",
            ]
        )
        if noisy:
            clear = made["gross"]["episodes_without_noise"][name]
            rows.append([f"{name} gross, no noise", *_episode_cells(clear)])
    return rows


def _has_episodes(counts: EvaluationReport) -> bool:
    return bool(counts["found"] + counts["missed"] + counts["true"] + counts["false"])


def _episode_cells(counts: EvaluationReport) -> list[str]:
    return [
        f"{counts['found'] + counts['missed']}/{counts['true'] + counts['false']}",
        *(_format_alarm_figure(counts["statistics"][key], 1) for key in EPISODE_STATISTICS),
        f"{counts['reference_s']:,.0f}",
        f"{counts['test_s']:,.0f}",
        _format_alarm_figure(counts["false_per_hour"]),
    ]


def _verdict_table(made: EvaluationReport) -> Table:
    table = _new_alarm_table("high priority", "alarms", *VERDICTS)
    high = made["gross"]["high"]
    for name, verdicts in [*high["conditions"].items(), ("all", high["all"])]:
        table.add_row(name, f"{sum(verdicts.values())}", *(f"{verdicts[verdict]}" for verdict in VERDICTS))
    return table


def _alarm_delay_table(made: EvaluationReport) -> Table:
    table = _new_alarm_table("events of the reference", "events", "alarmed", "stood", "median delay s", "at most s")
    for name, one in made["gross"]["delays"].items():
        late = (_format_alarm_figure(one[key], 1) for key in ("median_s", "max_s"))
        table.add_row(name, *(f"{one[key]}" for key in ("events", "alarmed", "stood")), *late)
    return table


def _false_alarm_table(alarms: Sequence[EvaluationReport]) -> Table:
    table = _new_alarm_table("false alarms", "onset", "announced", "condition")
    table.add_column("reason", overflow="fold")
    for one in alarms[:MOST_LISTED]:
        times = (format_clock(one[key], 1, hour_digits=0) for key in ("onset_s", "announced_s"))
        table.add_row(one["record"], *times, one["condition"], f"{one['text']}{', in noise' if one['noise'] else ''}")
    return table


def _new_alarm_table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for head in others:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _format_alarm_figure(value: Any, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
