"""Runs of several seeds as one table in Markdown: `python -m benchmarks.seeds runs/*/report.json`.

A row for each recipe and protocol, mean ± standard deviation over its seeds, of the test beats after the last epoch.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

Report = dict[str, Any]
COLUMNS: dict[str, Callable[[Report], float]] = {
    "accuracy": lambda report: report["test"]["accuracy"],
    "macro-F1": lambda report: report["test"]["macro_f1"],
    "balanced accuracy": lambda report: report["test"]["balanced_accuracy"],
    "S Se": lambda report: report["test"]["recall"]["S"],
    "S +P": lambda report: report["test"]["precision"]["S"],
    "V Se": lambda report: report["test"]["recall"]["V"],
    "V +P": lambda report: report["test"]["precision"]["V"],
    "F F1": lambda report: report["test"]["f1"]["F"],
    "N F1": lambda report: report["test"]["f1"]["N"],
    "Q F1": lambda report: report["test"]["f1"]["Q"],
    "calibration error": lambda report: report["test"]["calibration"]["ece"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, nargs="+", help="report.json of finished runs")
    print(table(json.loads(path.read_text()) for path in parser.parse_args().reports))


def table(reports: Iterable[Report]) -> str:
    """The table, in per cent; runs on a fold of the training side have rows of their own."""
    groups: dict[tuple[str, str, str], list[Report]] = defaultdict(list)
    for report in reports:
        training = report["training"]
        fold = "" if training["fold"] is None else f", fold {training['fold']} of training"
        groups[training["protocol"], training["recipe"], fold].append(report)
    lines = ["| protocol | recipe | seeds | " + " | ".join(COLUMNS) + " |", "|---" * (3 + len(COLUMNS)) + "|"]
    for (protocol, recipe, fold), runs in sorted(groups.items(), reverse=True):
        seeds = ", ".join(str(seed) for seed in sorted(run["training"]["seed"] for run in runs))
        figures = " | ".join(spread([of(run) for run in runs]) for of in COLUMNS.values())
        lines.append(f"| {protocol}{fold} | {recipe} | {seeds} | {figures} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean ± standard deviation in per cent."""
    deviation = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{deviation}"


if __name__ == "__main__":
    main()
