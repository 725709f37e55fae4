"""The report on bedside alarms that ours confirm or reject, as a plain dictionary, and its tables for the terminal.

All of a report but `cost` is the same on every run. Shares are in percent, times in seconds.
"""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from agent.evaluation.challenge_alarms import (
    CONFIRMING_CONDITIONS,
    OUTCOMES,
    ChallengeEvaluation,
    JudgedAlarm,
    bootstrap_score_interval,
    challenge_score,
    count_outcomes,
)
from agent.evaluation.record_selection import EvaluationOptions
from agent.evaluation.report_tables import EvaluationReport, build_report_table, format_clock_time, format_record_count
from model.records.resample import FS

OUTCOME_HEADS = ("bedside alarm", *OUTCOMES, "score", "95 %")
WRONG_HEADS = ("wrong", "kind", "outcome")
MOST_WRONG = 60
"""Wrong answers that are listed on the terminal; the report has all."""


def build_challenge_report(evaluation: ChallengeEvaluation, options: EvaluationOptions) -> EvaluationReport:
    """Return all figures as plain data: of each kind of bedside alarm, of all together, and of each strip."""
    judged, weight = evaluation.judged, evaluation.false_weight
    return {
        "folder": None if options.folder is None else options.folder.name,
        "weights": evaluation.weights,
        "false_weight": weight,
        "kinds": {
            kind: _score_figures(of_kind, weight)
            for kind in CONFIRMING_CONDITIONS
            if (of_kind := [alarm for alarm in judged if alarm.bedside.kind == kind])
        },
        "all": _score_figures(judged, weight),
        "records": [_judged_figures(alarm) for alarm in judged],
        "skipped": [asdict(record) for record in evaluation.skipped],
        "cost": asdict(evaluation.cost),
    }


def _score_figures(judged: Sequence[JudgedAlarm], weight: float) -> EvaluationReport:
    counts = count_outcomes(judged)
    return {
        **counts,
        "score": challenge_score(counts, weight),
        "interval": list(bootstrap_score_interval(judged, weight)),
    }


def _judged_figures(alarm: JudgedAlarm) -> EvaluationReport:
    ours = alarm.ours
    return {
        "record": alarm.bedside.record,
        "kind": alarm.bedside.kind,
        "true": alarm.bedside.true,
        "outcome": alarm.outcome,
        "condition": None if ours is None else ours.condition,
        "text": None if ours is None else ours.text,
        "onset_s": None if ours is None else ours.onset / FS,
        "announced_s": None if ours is None else ours.announced / FS,
    }


def challenge_report_tables(report: EvaluationReport) -> RenderableType:
    """Return a report for the terminal."""
    records = format_record_count(len(report["records"]), len(report["skipped"]))
    weight = report["false_weight"]
    rows = [*report["kinds"].items(), ("all", report["all"])]
    wrong = [record for record in report["records"] if record["outcome"] in ("FP", "FN")]
    parts: list[RenderableType] = [
        f"{records}, bedside alarms at 5:00, weights {report['weights']}",
        f"score {report['all']['score']:.1f}; each false bedside alarm counts {weight:.3g} times",
        "",
        build_report_table(OUTCOME_HEADS, [_score_row(name, figures) for name, figures in rows]),
    ]
    if wrong:
        columns = (*WRONG_HEADS, Column("our alarm", overflow="fold"))
        parts += ["", build_report_table(columns, [_wrong_row(record) for record in wrong[:MOST_WRONG]])]
    if len(wrong) > MOST_WRONG:
        parts.append(Text(f"and {len(wrong) - MOST_WRONG} more in report.json"))
    parts += [Text(f"skipped {record['record']}: {record['reason']}") for record in report["skipped"]]
    return Group(*parts)


def _score_row(name: str, figures: EvaluationReport) -> list[str]:
    low, high = figures["interval"]
    counts = [f"{figures[outcome]}" for outcome in OUTCOMES]
    return [name.replace("_", " "), *counts, f"{figures['score']:.1f}", f"{low:.1f} to {high:.1f}"]


def _wrong_row(record: EvaluationReport) -> list[str]:
    ours = "none"
    if record["condition"] is not None:
        ours = f"{record['condition']} at {format_clock_time(record['onset_s'], 1)}: {record['text']}"
    return [record["record"], record["kind"].replace("_", " "), record["outcome"], ours]
