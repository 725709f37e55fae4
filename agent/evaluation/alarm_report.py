"""The report of an alarm evaluation, as a plain dictionary, and its tables for the terminal.

All of a report but `cost` is the same on every run. Shares are in percent, times in seconds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from agent.evaluation.alarm_evaluation import AlarmEvaluation, RecordAlarmResult
from agent.evaluation.alarm_scoring import MARGIN_S, SCORED_CONDITIONS, AlarmVerdict, ScoredAlarm
from agent.evaluation.record_selection import EvaluationOptions
from agent.evaluation.report_tables import (
    EvaluationReport,
    build_report_table,
    format_clock_time,
    format_figure,
    format_record_count,
)
from model.records.resample import FS
from model.scoring.episode_scores import EpisodeCounts, average_episode_percent, gross_episode_counts

VERDICTS: tuple[AlarmVerdict, ...] = ("true", "other", "false", "unknown")
EPISODE_HEADS = ("episodes", "Se", "+P", "duration Se", "+P", "reference s", "alarms s", "false/h")
DELAY_HEADS = ("events", "alarmed", "stood", "median delay s", "at most s")
FALSE_ALARM_HEADS = ("false alarms", "onset", "announced", "condition")
EPISODE_STATISTICS = ("episode_se", "episode_ppv", "duration_se", "duration_ppv")
DETAILED_KINDS = ("VF", "VT", "AF")
"""Kinds of episodes with a row for every record."""
MOST_LISTED = 40
"""False alarms that are listed on the terminal; the report has all."""


def build_alarm_report(evaluation: AlarmEvaluation, options: EvaluationOptions) -> EvaluationReport:
    """Return all figures as plain data: of each record, and of all together, gross and as the mean of the records."""
    results = evaluation.evaluated
    scored = [alarm for result in results for alarm in result.scored]
    return {
        "set": options.subset,
        "folder": None if options.folder is None else options.folder.name,
        "weights": evaluation.weights,
        "reference": options.reference,
        "start_s": options.start_s,
        "margin_s": MARGIN_S,
        "hours": sum(result.scored_s for result in results) / 3600,
        "hours_without_noise": sum(result.audible_s for result in results) / 3600,
        "gross": {
            "episodes": _sum_episode_counts([result.episodes for result in results]),
            "episodes_without_noise": _sum_episode_counts([result.audible for result in results]),
            "high": _high_priority_figures(scored, results),
            "announced": dict(sum((Counter(result.announced) for result in results), Counter[str]())),
            "delays": _summarise_alarm_delays(results),
        },
        "records": [_record_alarm_figures(result) for result in results],
        "alarms": [_scored_alarm_figures(alarm, result.record) for result in results for alarm in result.scored],
        "skipped": [asdict(record) for record in evaluation.skipped],
        "cost": asdict(evaluation.cost),
    }


def _record_alarm_figures(result: RecordAlarmResult) -> EvaluationReport:
    return {
        "record": result.record,
        "scored_s": result.scored_s,
        "without_noise_s": result.audible_s,
        "beats": result.beats,
        "episodes": {name: _episode_count_figures(counts) for name, counts in result.episodes.items()},
        "episodes_without_noise": {name: _episode_count_figures(counts) for name, counts in result.audible.items()},
        "high": _high_priority_figures(result.scored, [result]),
        "announced": dict(result.announced),
        "delays": _summarise_alarm_delays([result]),
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


def _high_priority_figures(scored: Sequence[ScoredAlarm], results: Sequence[RecordAlarmResult]) -> EvaluationReport:
    """Return alarms of high priority by condition and verdict, and false alarms an hour with and without noise."""
    conditions = sorted({scored_alarm.alarm.condition for scored_alarm in scored})
    false_alarms = [scored_alarm for scored_alarm in scored if scored_alarm.verdict == "false"]
    outside_noise = sum(not scored_alarm.noise for scored_alarm in false_alarms)
    return {
        "conditions": {
            name: _count_verdicts([scored_alarm for scored_alarm in scored if scored_alarm.alarm.condition == name])
            for name in conditions
        },
        "all": _count_verdicts(scored),
        "false_per_hour": _hourly_rate(len(false_alarms), sum(result.scored_s for result in results)),
        "false_without_noise": outside_noise,
        "false_without_noise_per_hour": _hourly_rate(outside_noise, sum(result.audible_s for result in results)),
    }


def _count_verdicts(scored: Sequence[ScoredAlarm]) -> dict[str, int]:
    return {verdict: sum(scored_alarm.verdict == verdict for scored_alarm in scored) for verdict in VERDICTS}


def _hourly_rate(count: int, seconds: float) -> float | None:
    return 3600 * count / seconds if seconds > 0 else None


def _summarise_alarm_delays(results: Sequence[RecordAlarmResult]) -> EvaluationReport:
    """Return, for each condition, its events, how many were alarmed or stood already, and the delays of the others."""
    figures: EvaluationReport = {}
    for name in SCORED_CONDITIONS:
        delays = list(chain.from_iterable(result.delays.get(name, ()) for result in results))
        alarmed = sorted(delay for delay in delays if delay is not None)
        late = [delay for delay in alarmed if delay >= 0]
        if delays:
            figures[name] = {
                "events": len(delays),
                "alarmed": len(alarmed),
                "stood": len(alarmed) - len(late),
                "median_s": median(late) if late else None,
                "max_s": late[-1] if late else None,
            }
    return figures


def _scored_alarm_figures(scored: ScoredAlarm, record: str) -> EvaluationReport:
    alarm = scored.alarm
    return {
        "record": record,
        "condition": alarm.condition,
        "text": alarm.text,
        "verdict": scored.verdict,
        "noise": scored.noise,
        "onset_s": alarm.onset / FS,
        "announced_s": alarm.announced / FS,
        "ended_s": None if alarm.ended is None else alarm.ended / FS,
    }


def alarm_report_tables(report: EvaluationReport) -> RenderableType:
    """Return a report for the terminal."""
    false_alarms = [alarm for alarm in report["alarms"] if alarm["verdict"] == "false"]
    tables = [
        build_report_table(("episodes by EC57", *EPISODE_HEADS), episode_rows(report)),
        build_report_table(("high priority", "alarms", *VERDICTS), verdict_rows(report)),
        build_report_table(("events of the reference", *DELAY_HEADS), alarm_delay_rows(report)),
    ]
    if false_alarms:
        reason = Column("reason", overflow="fold")
        tables.append(build_report_table((*FALSE_ALARM_HEADS, reason), false_alarm_rows(false_alarms)))
    parts: list[RenderableType] = [*alarm_report_heading(report)]
    for table in tables:
        parts += ["", table]
    if len(false_alarms) > MOST_LISTED:
        parts.append(Text(f"and {len(false_alarms) - MOST_LISTED} more in report.json"))
    parts += [Text(f"skipped {record['record']}: {record['reason']}") for record in report["skipped"]]
    return Group(*parts)


def alarm_report_heading(report: EvaluationReport) -> list[str]:
    """Return what was evaluated, and the false alarms an hour, in lines."""
    records = format_record_count(len(report["records"]), len(report["skipped"]))
    start = format_clock_time(report["start_s"])
    high = report["gross"]["high"]
    lines = [
        f"{records}, {report['hours']:.2f} h scored from {start} on, weights {report['weights']}",
        f"alarms of high priority: {high['all']['false']} false, {format_figure(high['false_per_hour'])} an hour",
    ]
    if report["hours_without_noise"] < report["hours"]:
        lines.append(
            f"outside noise, {report['hours_without_noise']:.2f} h: {high['false_without_noise']} false, "
            f"{format_figure(high['false_without_noise_per_hour'])} an hour"
        )
    return lines


def episode_rows(report: EvaluationReport) -> list[list[str]]:
    """Return a row for each record with episodes of a kind, then gross and average of the kind; shares in percent."""
    noisy = report["hours_without_noise"] < report["hours"]
    rows = []
    for name, total in report["gross"]["episodes"].items():
        if not _has_episodes(total):
            continue
        for record in report["records"] if name in DETAILED_KINDS else ():
            if _has_episodes(record["episodes"][name]):
                rows.append([f"{name} {record['record']}", *_episode_cells(record["episodes"][name])])
        average = [format_figure(total["average"][key], 1) for key in EPISODE_STATISTICS]
        rows.append([f"{name} gross", *_episode_cells(total)])
        rows.append([f"{name} average", "", *average, "", "", ""])
        if noisy:
            without_noise = report["gross"]["episodes_without_noise"][name]
            rows.append([f"{name} gross, no noise", *_episode_cells(without_noise)])
    return rows


def _has_episodes(counts: EvaluationReport) -> bool:
    return bool(counts["found"] + counts["missed"] + counts["true"] + counts["false"])


def _episode_cells(counts: EvaluationReport) -> list[str]:
    return [
        f"{counts['found'] + counts['missed']}/{counts['true'] + counts['false']}",
        *(format_figure(counts["statistics"][key], 1) for key in EPISODE_STATISTICS),
        f"{counts['reference_s']:,.0f}",
        f"{counts['test_s']:,.0f}",
        format_figure(counts["false_per_hour"]),
    ]


def verdict_rows(report: EvaluationReport) -> list[list[str]]:
    """Return a row for each condition of high priority, then all: alarms, and how many have each verdict."""
    high = report["gross"]["high"]
    return [
        [name, f"{sum(verdicts.values())}", *(f"{verdicts[verdict]}" for verdict in VERDICTS)]
        for name, verdicts in [*high["conditions"].items(), ("all", high["all"])]
    ]


def alarm_delay_rows(report: EvaluationReport) -> list[list[str]]:
    """Return a row for each condition: events of the reference, how many were alarmed, and delays in seconds."""
    return [
        [
            name,
            *(f"{delays[key]}" for key in ("events", "alarmed", "stood")),
            *(format_figure(delays[key], 1) for key in ("median_s", "max_s")),
        ]
        for name, delays in report["gross"]["delays"].items()
    ]


def false_alarm_rows(alarms: Sequence[EvaluationReport]) -> list[list[str]]:
    """Return a row for each false alarm, MOST_LISTED at most: record, onset, announcement, condition, reason."""
    return [
        [
            alarm["record"],
            *(format_clock_time(alarm[key], 1) for key in ("onset_s", "announced_s")),
            alarm["condition"],
            f"{alarm['text']}{', in noise' if alarm['noise'] else ''}",
        ]
        for alarm in alarms[:MOST_LISTED]
    ]
