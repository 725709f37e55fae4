"""The tables of what single things cost: archives, reports, the parts in C."""

from pathlib import Path
from typing import Any

from benchmarks.figures import read_figures
from benchmarks.table_format import build_table, format_memory, source_line

Results = dict[str, Any]
COMPILED_ROWS = {
    "detect_1_us": ("200 ms of a bed alone in the QRS detector", "µs"),
    "detect_64_us": ("the same, 64 beds at once", "µs a bed"),
    "describe_1_us": ("a beat alone beside its patient's other beats", "µs"),
    "describe_64_us": ("the same, 64 patients at once", "µs a beat"),
    "classify_1_us": ("a beat alone through the live net", "µs"),
    "classify_64_us": ("the same, 64 at once", "µs a beat"),
    "hour_s": ("an hour of one lead, as `analyse` does", "CPU s"),
    "first_beat_s": ("a monitor from its start to its first beat", "s"),
    "memory_mb": ("its memory, one bed", "MB"),
}


def archive_table(folder: Path) -> str:
    """Return how fast an archive is analysed in each way."""
    figures = read_figures("archive", folder)
    results = figures["results"]
    kills = f"{_killed(results)} killed on the way"
    ways = {
        "one": "`--jobs 1`",
        "two": "`--jobs 2`",
        "cluster_two": "`--cluster --jobs 2`",
        "killed": f"the same, {kills}",
    }
    rows = [
        (
            what,
            f"{results[f'{name}_wall_s']:.0f} s",
            f"{results['one_wall_s'] / results[f'{name}_wall_s']:.2f}",
            f"{results.get(f'{name}_different_files', '')}",
        )
        for name, what in ways.items()
    ]
    size = f"{results['records']:,} records, {results['hours']:.0f} hours, two leads"
    return build_table((size, "takes", "times as fast", "files of results that differ"), rows) + source_line(figures)


def describe_archive(results: Results) -> str:
    """Return the row of the summary."""
    times, killed = (results["one_wall_s"] / results[f"{name}_wall_s"] for name in ("two", "killed"))
    return (
        f"{results['cpu_s_per_hour']:.1f} CPU s an hour of two leads; {times:.2f} times as fast with two processes, "
        f"{killed:.2f} times on a cluster with {_killed(results)} killed, the same bytes"
    )


def _killed(results: Results) -> str:
    return f"{results['kills']} {'process' if results['kills'] == 1 else 'processes'}"


def compiled_table(folder: Path) -> str:
    """Return what the parts in C cost beside their twins in Python."""
    figures = read_figures("compiled", folder)
    compiled, python = figures["results"]["compiled"], figures["results"]["python"]
    rows = [
        (what, *(f"{_round(of[name])} {unit}" for of in (python, compiled)), f"{python[name] / compiled[name]:.1f}")
        for name, (what, unit) in COMPILED_ROWS.items()
        if name in python
    ]
    return build_table(("what", "Python", "C", "ratio"), rows) + source_line(figures)


def describe_compiled(results: Results) -> str:
    """Return the row of the summary."""
    compiled, python = ({name: _round(value) for name, value in results[way].items()} for way in ("compiled", "python"))
    return (
        f"{compiled['classify_1_us']} µs for a single beat, {compiled['classify_64_us']} µs a beat of 64 "
        f"(PyTorch {python['classify_1_us']}, {python['classify_64_us']}); the first beat of a monitor "
        f"{compiled['first_beat_s']} s after its start ({python['first_beat_s']}), {compiled['memory_mb']} MB "
        f"({python['memory_mb']})"
    )


def _round(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.2g}"


def report_table(folder: Path) -> str:
    """Return what the report of a long recording costs."""
    figures = read_figures("report", folder)
    results = figures["results"]
    heads = ("recording", "CPU", "memory", "of reading it with wfdb-python")
    row = (
        f"{results['hours']:g} hours, {results['alarms']:,} alarms",
        f"{results['report_cpu_s']:.1f} s",
        format_memory(results["report_mb"]),
        f"{results['of_wfdb_read']:.1f}",
    )
    return build_table(heads, [row]) + source_line(figures)
