"""Figures of beats and alarms on whole databases, beside those of an earlier version: `python -m benchmarks.strangers`.

Each database is one `ecg-agent evaluate`, by EC57 from 5:00 (VFDB from 0:00), with two leads, with the first alone, and
with the code in `--before CHECKOUT` if there is one. A database whose folder is not given is left out; those of
MIT-BIH are inside the program. `--json FILE` writes the figures.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT, write_figures

FIRST_LEADS = {"mitdb": "MLII", "svdb": "ECG1", "nstdb": "MLII"}
"""The name of the first lead of each database. Of MIT-BIH, 102 and 104 have none of that name."""
FALSE_WEIGHT = "1.818"
"""The strips of the Challenge 2015 at hand hold 55 % of the false alarms."""
EPISODES = ("VF", "VF or VT", "AF")
Figures = dict[str, Any]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("svdb", "nstdb", "vfdb", "cinc2015", "before"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/strangers.json"))
    options = parser.parse_args()
    folders = {"mitdb": None, "svdb": options.svdb, "nstdb": options.nstdb}
    given = {name: folder for name, folder in folders.items() if name == "mitdb" or folder}
    results: Figures = {"beats": [], "alarms": []}
    for database, folder in given.items():
        for version, tree, arguments in _versions(options.before, database):
            report = run_evaluation(tree, folder, arguments)
            for part, figures in _beat_figures(database, report):
                _tell(results["beats"], {"database": part, "version": version} | figures)
    for database, folder in ({"mitdb": None, "svdb": options.svdb, "vfdb": options.vfdb}).items():
        if database == "mitdb" or folder:
            for version, tree in (("before", options.before), ("two leads", ROOT)):
                if tree:
                    start = ["--start", "0"] if database == "vfdb" else []
                    report = run_evaluation(tree, folder, ["--alarms", *start])
                    _tell(results["alarms"], {"database": database, "version": version} | _alarm_figures(report))
    if options.cinc2015:
        report = run_evaluation(ROOT, options.cinc2015, ["--alarms", "--false-weight", FALSE_WEIGHT])
        results["challenge"] = {"all": report["all"], **report["kinds"]}
    write_figures(options.json, results)


def _versions(before: Path | None, database: str) -> Iterator[tuple[str, Path, list[str]]]:
    if before:
        yield "before", before, []
    yield "one lead", ROOT, ["--lead", FIRST_LEADS[database]]
    yield "two leads", ROOT, []


def run_evaluation(tree: Path, folder: Path | None, arguments: list[str]) -> Figures:
    """Run `ecg-agent evaluate` of a checkout and return its JSON."""
    command = [sys.executable, "-m", "agent", "evaluate", *([str(folder.resolve())] if folder else []), *arguments]
    done = subprocess.run([*command, "--json"], cwd=tree, stdout=subprocess.PIPE, check=True)
    report: Figures = json.loads(done.stdout)
    return report


def _beat_figures(database: str, report: Figures) -> Iterator[tuple[str, Figures]]:
    """Yield the parts of a database that have rows of their own: DS1, DS2, each noisy record, or all."""
    if database == "nstdb":
        for record in report["records"]:
            if record["record"][:3] in ("118", "119"):
                yield record["record"], beat_statistics(record["beats"])
        return
    groups = report["groups"]
    for group in ("all", "ds2") if database == "mitdb" else ("all",):
        yield f"{database} {group}", beat_statistics(groups[group]["ec57"]["gross"]["beats"])


def beat_statistics(beats: Figures) -> Figures:
    names = ("qrs_se", "qrs_ppv", "veb_se", "veb_ppv", "sveb_se", "sveb_ppv")
    return {name: beats["statistics"][name] for name in names}


def _alarm_figures(report: Figures) -> Figures:
    """Return hours, alarms of high priority by verdict, and the figures of the episodes."""
    verdicts = [alarm["verdict"] for alarm in report["alarms"]]
    episodes = {
        name: report["gross"]["episodes"][name]["statistics"] | {"false_per_hour": found["false_per_hour"]}
        for name, found in report["gross"]["episodes"].items()
        if name in EPISODES
    }
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    return {"hours": report["hours"], "verdicts": counts, "episodes": episodes}


def _tell(rows: list[Figures], row: Figures) -> None:
    rows.append(row)
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
