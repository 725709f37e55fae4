"""The tables of measured figures in the documents: `python -m benchmarks.tables [--check]`.

A page holds a table between two lines, from anywhere in the repository's Markdown:

    <!-- table: beds -->
    <!-- end of table -->

This command writes there what docs/figures/*.json say. To measure again and then show it:

    python -m benchmarks.ward --json docs/figures/ward.json
    python -m benchmarks.tables

`--check` writes nothing; the exit code is 1 if a page differs from the figures. tests/test_tables.py does the same.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy_tables import (
    challenge_table,
    describe_challenge,
    describe_fibrillation,
    describe_intervals,
    describe_standard,
    describe_starts,
    describe_strangers,
    describe_web,
    fibrillation_table,
    interval_conditions_table,
    interval_peers_table,
    intervals_table,
    p_waves_table,
    standard_table,
    stranger_alarms_table,
    stranger_beats_table,
)
from benchmarks.beds import OSEA_S
from benchmarks.cost_tables import archive_table, compiled_table, describe_archive, describe_compiled, report_table
from benchmarks.figures import FOLDER, ROOT, read_figures
from benchmarks.table_format import build_table, format_memory, source_line

TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
STAGES = {
    "receive": "receive: ZeroMQ, JSON header, order, gaps",
    "admit": "admit: millivolts, history, quality",
    "detect": "detect",
    "describe": "describe: cluster, rhythm, 65 numbers a beat",
    "classify": "classify: the net",
    "waveform": "waveform: VF, VT, noise",
    "alarms": "alarms",
    "rhythm": "rhythm and verdict",
    "order": "order: whose turn it is, and the order of the results",
    "loop": "loop: waiting and waking up",
    "output": "output: a JSON line a beat",
}
"""The groups of `benchmarks.beds`, as the documents name them."""
Results = dict[str, Any]


def beds_table(folder: Path) -> str:
    """Return cost, latency and memory against the number of beds."""
    figures = read_figures("beds", folder)
    heads = (
        "beds",
        "CPU s a bed-hour",
        "of WFDB xqrs in the same run",
        "of a core",
        "gaps",
        "added latency p50 / p99",
        "memory",
    )
    rows = [
        (
            f"{run['beds']:,}",
            _three_digits(run["all_s"]),
            _three_digits(run["of_xqrs"]),
            f"{run['core_percent']:.0f} %",
            f"{run['gaps']:,.0f}",
            _latency(run),
            format_memory(run["most_mb"]),
        )
        for run in figures["results"]["runs"]
    ]
    return build_table(heads, rows) + source_line(figures)


def stages_table(folder: Path) -> str:
    """Return CPU seconds of a bed-hour by stage, a column for each number of beds that was measured by stage."""
    figures = read_figures("beds", folder)
    runs = [run for run in figures["results"]["runs"] if run["stages_s"]]
    heads = ("stage", *(f"{run['beds']:,}" for run in runs))
    rows = [(label, *(f"{run['stages_s'][stage]:.2f}" for run in runs)) for stage, label in STAGES.items()]
    return build_table(heads, rows) + source_line(figures)


def attack_table(folder: Path) -> str:
    """Return what each kind of attack cost; those with changed bytes, and those with Ctrl-C, in a row each."""
    figures = read_figures("attack", folder)
    groups: dict[str, list[Results]] = {}
    for one in figures["results"]["attacks"]:
        kind = one["name"]
        group = "changed byte" if kind.startswith("byte ") else "Ctrl-C meanwhile" if kind.endswith("Ctrl-C") else kind
        groups.setdefault(group, []).append(one)
    heads = ("attack", "shown / due", "later", "memory", "to the end", "")
    rows = [_attack_cells(group, ones) for group, ones in groups.items()]
    return build_table(heads, rows) + source_line(figures)


def _attack_cells(group: str, attacks: Sequence[Results]) -> tuple[str, ...]:
    shown, due = (sum(one[key] for one in attacks) for key in ("shown", "due"))
    wrong = [f"{one['name']}: {fault}" if len(attacks) > 1 else fault for one in attacks for fault in one["faults"]]
    ends = [one["exit_s"] for one in attacks if one["exit_s"] is not None]
    return (
        group if len(attacks) == 1 else f"{group} ({len(attacks)} kinds)",
        f"{shown} / {due}",
        f"{1000 * max(0.0, *(one['delay_s'] for one in attacks), 0.0):.0f} ms",
        f"{max(one['peak_mb'] - one['start_mb'] for one in attacks):+.0f} MB",
        f"{max(ends):.1f} s" if ends else "",
        "; ".join(wrong),
    )


def ward_table(folder: Path) -> str:
    """Return the CPU of detection and of the whole analysis, beside WFDB's xqrs."""
    figures = read_figures("ward", folder)
    heads = ("beds", "packets", "detection, CPU s a bed-hour", "everything", "of WFDB xqrs in the same run")
    rows = [
        (
            f"{run['beds']:,}",
            f"{run['packet_ms']:g} ms",
            f"{run['detection_s']:.3f}",
            f"{run['everything_s']:.2f}",
            f"{run['of_xqrs']:.2f}",
        )
        for run in figures["results"]["beds"]
    ]
    peer = f"xqrs took {figures['results']['xqrs_s']:.2f} CPU s an hour of one lead; OSEA in C takes {OSEA_S}."
    return build_table(heads, rows) + f"\n{peer}\n" + source_line(figures)


def dashboard_table(folder: Path) -> str:
    """Return what a whole frame of the dashboard costs."""
    figures = read_figures("dashboard", folder)
    heads = ("terminal", "beds", "a frame, median", "of a core at 10 frames a second", "longest")
    rows = [
        (
            f"{row['width']}x{row['height']}",
            f"{row['beds']:,}",
            f"{row['median_ms']:.1f} ms",
            f"{row['core_percent_at_10_hz']:.0f} %",
            "" if row.get("longest_ms") is None else f"{row['longest_ms']:.0f} ms",
        )
        for row in figures["results"]["rows"]
        if row["by"] == "whole frame"
    ]
    peer = "The same content by Layout, Panel and Table of rich takes"
    times = f"{figures['results']['peer_to_ours']:.0f} times as long as our drawing of it."
    return build_table(heads, rows) + f"\n{peer} {times}\n" + source_line(figures)


def summary_table(folder: Path) -> str:
    """Return a row for each measured property of the running program."""
    rows = []
    for name, parts in SUMMARY.items():
        figures = read_figures(name, folder)
        about = figures["about"]
        for what, describe in parts:
            rows.append((what, describe(figures["results"]), about["date"], f"`{about['command']}`"))
    return build_table(("what", "figure", "measured", "command"), rows)


def _latency_row(results: Results) -> str:
    figures = results["latency"]
    return f"p50 {figures['dashboard_p50_ms']:.1f} ms, p99 {figures['dashboard_p99_ms']:.0f} ms"


def _real_time_row(results: Results) -> str:
    ward = results["ward"]
    ways = [
        f"{ward[f'{way}_p99_ms']:.0f} ms and {ward[f'{way}_core_percent']:.0f} % of a core {name}"
        for way, name in (("json", "as JSON lines"), ("dashboard", "in the ward view"))
    ]
    return f"{ward['json_gaps'] + ward['dashboard_gaps']:.0f} gaps; added latency p99 {', '.join(ways)}"


def _guarded_row(results: Results) -> str:
    more = {name: results["guarded"][f"{name}_more_percent"] for name in ("both", "encrypted", "recording")}
    return (
        f"{more['both']:.0f} % more CPU with both; encryption alone {more['encrypted']:.0f} %, "
        f"recording alone {more['recording']:.0f} %"
    )


def _memory_row(results: Results) -> str:
    return (
        f"{results['latency']['dashboard_rss_mb']:.0f} MB in real time, up to {results['memory']['most_mb']:.0f} MB "
        "at full speed"
    )


def _ward_row(results: Results) -> str:
    costs = {(run["beds"], run["packet_ms"]): run["everything_s"] for run in results["beds"]}
    parts = [
        f"{cost:.1f} s an hour of one bed" if beds == 1 else f"{cost:.1f} s a bed-hour of {beds:,} beds ({ms:g} ms)"
        for (beds, ms), cost in costs.items()
    ]
    return ", ".join(parts)


def _beds_row(results: Results) -> str:
    run = next(run for run in results["runs"] if run["beds"] == 1024)
    whole = max(run["beds"] for run in results["runs"] if not run["gaps"])
    return (
        f"{run['gaps']:.0f} gaps, added latency p50 {run['added_p50_ms']:.0f} ms, p99 {run['added_p99_ms']:.0f} ms, "
        f"{run['core_percent']:.0f} % of the core, {format_memory(run['most_mb'])}, "
        f"{run['all_s']:.1f} CPU s a bed-hour; no gaps up to {whole:,} beds"
    )


def _dashboard_row(results: Results) -> str:
    row = next(
        row
        for row in results["rows"]
        if (row["by"], row["width"], row["beds"]) == ("whole frame", 120, max(row["beds"] for row in results["rows"]))
    )
    return f"{row['median_ms']:.1f} ms, {row['core_percent_at_10_hz']:.0f} % of a core at ten frames a second"


def _report_row(results: Results) -> str:
    return f"{results['report_cpu_s']:.1f} s of CPU, {format_memory(results['report_mb'])}"


def _inference_row(results: Results) -> str:
    single, many = results["one beat, one thread"], results["256 beats, one thread"]
    return f"{single['ours, us a beat']:.0f} µs for a single beat, {many['ours, us a beat']:.0f} µs a beat of 256"


def _training_row(results: Results) -> str:
    training = results["training"]
    share = f"{100 * training['share of the limit']:.0f} %"
    return f"{training['ratio']:.1f} times as fast, {share} of the speed at which the cores multiply all, zeros too"


def _undisturbed_row(results: Results) -> str:
    figures = results["network"] | results["device"]
    missing, other = (_total(figures, ending) for ending in ("missing", "other_beats"))
    noticed = figures["killed_noticed_s"]
    return f"{missing} samples missing, {other} beats different; a dead link is reported within {noticed:.1f} s"


def _kills_row(results: Results) -> str:
    figures = results["kills"]
    wrong = sum(figures[name] for name in ("not_recorded", "holes_missing", "wrong_samples", "beats_twice"))
    changed = 100 * figures["beats_of_another_class"] / figures["beats"]
    return (
        f"{wrong:,.0f} samples or beats missing, wrong or twice; {figures['beats']:,} beats, "
        f"{changed:.0f} % of another class than without kills"
    )


def _day_row(results: Results) -> str:
    figures = results["day"]
    lost = figures["samples_sent"] - figures["recorded"]
    return f"{lost:,.0f} samples lost; memory {figures['rss_change_percent']:+.0f} % from a tenth of it to the end"


def _cable_row(results: list[Results]) -> str:
    missing, other = (sum(int(run[name]) for run in results) for name in ("missing", "other_beats"))
    return (
        f"first new beat {max(run.get('beats_again_after_s', 0.0) for run in results):.1f} s after the cable is back, "
        f"{missing} samples missing, {other} beats different"
    )


def _attack_row(results: Results) -> str:
    attacks = results["attacks"]
    stood = sum(not one["faults"] for one in attacks)
    grown = max(one["peak_mb"] - one["start_mb"] for one in attacks)
    return f"{stood} of {len(attacks)} within the limits; {grown:.0f} MB more memory at most"


def _fuzz_row(results: Results) -> str:
    return (
        f"{results['inputs']:,} inputs, {results['failed']:,} failed, memory {'flat' if results['sound'] else 'grew'}"
    )


SUMMARY: dict[str, tuple[tuple[str, Callable[[Any], str]], ...]] = {
    "training": (
        ("net of the report on one CPU core", _inference_row),
        ("training against the plain PyTorch loop, two cores, float32", _training_row),
    ),
    "monitor": (
        ("added latency of a beat, arrival to shown, one bed with dashboard", _latency_row),
        ("64 beds in real time", _real_time_row),
    ),
    "memory": (("memory of the monitor, one bed", _memory_row),),
    "guarded": (("encryption and recording at 64 beds", _guarded_row),),
    "ward": (("CPU of the analysis by beds and signal in a packet, one thread", _ward_row),),
    "beds": (("1,024 beds in real time, the monitor on one core, packets of 200 ms", _beds_row),),
    "dashboard": (("a frame of the ward view of 1,000 beds at 120x36", _dashboard_row),),
    "compiled": (("live net in C on one CPU core, without PyTorch", describe_compiled),),
    "archive": (("an archive of 500 records of five minutes", describe_archive),),
    "report": (("report of 24 hours with 400 alarms, HTML and PDF", _report_row),),
    "network": (
        ("packets lost, repeated and late; either side stopped for 30 s, the device killed", _undisturbed_row),
    ),
    "cable": (("two hosts, a cable cut for 20 s, 3 s, and ten times for 0.7 s", _cable_row),),
    "kills": (("the recording monitor killed 100 times at random, at ten times real time", _kills_row),),
    "day": (("24 hours of signal at full speed, recorded", _day_row),),
    "standard": (("the lines of IEC 60601-2-27 that a monitor's manual prints", describe_standard),),
    "strangers": (
        ("beats of DS2, which no net has heard, two leads", describe_strangers),
        ("what our alarms say of those of the Challenge 2015", describe_challenge),
    ),
    "random_starts": (("45 s from random places of DS1 and SVDB on, scored from the first second", describe_starts),),
    "fibrillation": (
        ("fibrillation by annotated beats of the Long-Term AF Database, records not looked at", describe_fibrillation),
    ),
    "web": (("64 beds in a browser, two viewers", describe_web),),
    "intervals": (("PR, QRS and QT of people in LUDB on whom nothing was chosen, three leads", describe_intervals),),
    "attack": (("attacks on a monitor and on a device, each in a process of its own", _attack_row),),
    "fuzz": (
        ("mutated frames, requests, headers, signals, annotations, checkpoints, recordings, settings", _fuzz_row),
    ),
}
"""The rows of the summary, by the file in docs/figures/ that they come from."""
TABLES: dict[str, Callable[[Path], str]] = {
    "beds": beds_table,
    "stages": stages_table,
    "ward": ward_table,
    "compiled": compiled_table,
    "dashboard": dashboard_table,
    "archive": archive_table,
    "report": report_table,
    "attack": attack_table,
    "standard": standard_table,
    "stranger-beats": stranger_beats_table,
    "stranger-alarms": stranger_alarms_table,
    "challenge": challenge_table,
    "fibrillation": fibrillation_table,
    "intervals": intervals_table,
    "interval-conditions": interval_conditions_table,
    "interval-peers": interval_peers_table,
    "p-waves": p_waves_table,
    "summary": summary_table,
}


def render_page(text: str, folder: Path = FOLDER) -> str:
    """Return a page with each of its marked tables made from the figures. Raises KeyError for an unknown table."""
    return TABLE.sub(lambda match: match[1] + TABLES[match[2]](folder) + match[3], text)


def marked_pages(root: Path = ROOT) -> list[Path]:
    """Return the pages of the repository that hold tables of figures."""
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    return sorted(path for path in pages if TABLE.search(path.read_text(encoding="utf-8")))


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _latency(run: Results) -> str:
    p50, p99 = run["added_p50_ms"], run["added_p99_ms"]
    return "behind" if p50 is None else f"{p50:.0f} / {p99:.0f} ms"


def _total(figures: Results, ending: str) -> int:
    return int(sum(value for key, value in figures.items() if key.endswith(ending)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    options = parser.parse_args()
    changed = [path for path in marked_pages() if render_page(path.read_text(encoding="utf-8")) != path.read_text()]
    for path in changed:
        print(path.relative_to(ROOT))
        if not options.check:
            path.write_text(render_page(path.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(bool(options.check and changed))


if __name__ == "__main__":
    main()
