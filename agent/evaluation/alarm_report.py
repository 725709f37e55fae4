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

from agent.evaluation.alarm_scoring import MARGIN_S, SCORED, Judged, Verdict
from agent.evaluation.alarms import Evaluated, Outcome
from agent.evaluation.beats import Asked
from agent.evaluation.report import Report, clock
from model.records.resample import FS
from model.scoring.episode_scores import EpisodeCounts, average, gross

VERDICTS: tuple[Verdict, ...] = ("true", "other", "false", "unknown")
EPISODE_HEADS = ("episodes", "Se", "+P", "duration Se", "+P", "reference s", "alarms s", "false/h")
STATISTICS = ("episode_se", "episode_ppv", "duration_se", "duration_ppv")
DETAILED = ("VF", "VT", "AF")
"""Kinds of episodes of which every record has a row."""
LISTED = 40
"""False alarms that are listed on the terminal; the report has all."""


def report(outcome: Outcome, asked: Asked) -> Report:
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
            "episodes": _sums([one.episodes for one in found]),
            "episodes_without_noise": _sums([one.audible for one in found]),
            "high": _high(judged, found),
            "announced": dict(sum((Counter(one.announced) for one in found), Counter[str]())),
            "delays": _delays(found),
        },
        "records": [_record(one) for one in found],
        "alarms": [_alarm(one, record.record) for record in found for one in record.judged],
        "skipped": [asdict(one) for one in outcome.skipped],
        "cost": asdict(outcome.cost),
    }


def _record(one: Evaluated) -> Report:
    return {
        "record": one.record,
        "scored_s": one.scored_s,
        "without_noise_s": one.audible_s,
        "beats": one.beats,
        "episodes": {name: _counts(counts) for name, counts in one.episodes.items()},
        "episodes_without_noise": {name: _counts(counts) for name, counts in one.audible.items()},
        "high": _high(one.judged, [one]),
        "announced": dict(one.announced),
        "delays": _delays([one]),
    }


def _sums(rows: Sequence[dict[str, EpisodeCounts]]) -> Report:
    names = list(rows[0])
    return {
        name: _counts(gross([row[name] for row in rows])) | {"average": average([row[name] for row in rows])}
        for name in names
    }


def _counts(counts: EpisodeCounts) -> Report:
    return asdict(counts) | {"statistics": counts.percent(), "false_per_hour": counts.false_per_hour}


def _high(judged: Sequence[Judged], found: Sequence[Evaluated]) -> Report:
    """Alarms of high priority by condition and verdict; false ones an hour, of all signal and of that without noise."""
    conditions = sorted({one.alarm.condition for one in judged})
    false = [one for one in judged if one.verdict == "false"]
    clear = sum(not one.noise for one in false)
    return {
        "conditions": {name: _verdicts([one for one in judged if one.alarm.condition == name]) for name in conditions},
        "all": _verdicts(judged),
        "false_per_hour": _rate(len(false), sum(one.scored_s for one in found)),
        "false_without_noise": clear,
        "false_without_noise_per_hour": _rate(clear, sum(one.audible_s for one in found)),
    }


def _verdicts(judged: Sequence[Judged]) -> dict[str, int]:
    return {verdict: sum(one.verdict == verdict for one in judged) for verdict in VERDICTS}


def _rate(number: int, seconds: float) -> float | None:
    return 3600 * number / seconds if seconds > 0 else None


def _delays(found: Sequence[Evaluated]) -> Report:
    """Events of each condition, how many had an alarm, in how many it stood already, and how late the others came."""
    made: Report = {}
    for name in SCORED:
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


def _alarm(one: Judged, record: str) -> Report:
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


def tables(made: Report) -> RenderableType:
    """A report for the terminal."""
    parts: list[RenderableType] = [*heading(made), "", _episodes(made), "", _judged(made), "", _late(made)]
    false = [one for one in made["alarms"] if one["verdict"] == "false"]
    if false:
        parts += ["", _false(false)]
    if len(false) > LISTED:
        parts.append(Text(f"and {len(false) - LISTED} more in report.json"))
    parts += [Text(f"skipped {one['record']}: {one['reason']}") for one in made["skipped"]]
    return Group(*parts)


def heading(made: Report) -> list[str]:
    """What was evaluated, in lines."""
    records, skipped = len(made["records"]), len(made["skipped"])
    lines = [
        f"{records} record{'' if records == 1 else 's'}{f', {skipped} skipped' if skipped else ''}, "
        f"{made['hours']:.2f} h scored from {clock(made['start_s'])} on, weights {made['weights']}"
    ]
    high = made["gross"]["high"]
    lines.append(f"alarms of high priority: {high['all']['false']} false, {_number(high['false_per_hour'])} an hour")
    if made["hours_without_noise"] < made["hours"]:
        lines.append(
            f"outside noise, {made['hours_without_noise']:.2f} h: {high['false_without_noise']} false, "
            f"{_number(high['false_without_noise_per_hour'])} an hour"
        )
    return lines


def _episodes(made: Report) -> Table:
    table = _table("episodes by EC57", *EPISODE_HEADS)
    for row in episode_rows(made):
        table.add_row(*row)
    return table


def episode_rows(made: Report) -> list[list[str]]:
    """A row for each kind and record with episodes in reference or test, then gross and average of the kind."""
    noisy = made["hours_without_noise"] < made["hours"]
    rows = []
    for name, total in made["gross"]["episodes"].items():
        if not _present(total):
            continue
        for one in made["records"] if name in DETAILED else ():
            if _present(one["episodes"][name]):
                rows.append([f"{name} {one['record']}", *_episode_cells(one["episodes"][name])])
        rows.append([f"{name} gross", *_episode_cells(total)])
        rows.append([f"{name} average", "", *(_number(total["average"][key], 1) for key in STATISTICS), "", "", ""])
        if noisy:
            clear = made["gross"]["episodes_without_noise"][name]
            rows.append([f"{name} gross, no noise", *_episode_cells(clear)])
    return rows


def _present(counts: Report) -> bool:
    return bool(counts["found"] + counts["missed"] + counts["true"] + counts["false"])


def _episode_cells(counts: Report) -> list[str]:
    return [
        f"{counts['found'] + counts['missed']}/{counts['true'] + counts['false']}",
        *(_number(counts["statistics"][key], 1) for key in STATISTICS),
        f"{counts['reference_s']:,.0f}",
        f"{counts['test_s']:,.0f}",
        _number(counts["false_per_hour"]),
    ]


def _judged(made: Report) -> Table:
    table = _table("high priority", "alarms", *VERDICTS)
    high = made["gross"]["high"]
    for name, verdicts in [*high["conditions"].items(), ("all", high["all"])]:
        table.add_row(name, f"{sum(verdicts.values())}", *(f"{verdicts[verdict]}" for verdict in VERDICTS))
    return table


def _late(made: Report) -> Table:
    table = _table("events of the reference", "events", "alarmed", "stood", "median delay s", "at most s")
    for name, one in made["gross"]["delays"].items():
        late = (_number(one[key], 1) for key in ("median_s", "max_s"))
        table.add_row(name, *(f"{one[key]}" for key in ("events", "alarmed", "stood")), *late)
    return table


def _false(alarms: Sequence[Report]) -> Table:
    table = _table("false alarms", "onset", "announced", "condition")
    table.add_column("reason", overflow="fold")
    for one in alarms[:LISTED]:
        times = (_time(one[key]) for key in ("onset_s", "announced_s"))
        table.add_row(one["record"], *times, one["condition"], f"{one['text']}{', in noise' if one['noise'] else ''}")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for head in others:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _time(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def _number(value: Any, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
