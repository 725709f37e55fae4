"""The tables of what is beyond one process: archives."""

from pathlib import Path
from typing import Any

from benchmarks.figures import read_figures
from benchmarks.table_format import build_table, source_line

Results = dict[str, Any]


def archive_table(folder: Path) -> str:
    """Return how fast an archive is analysed in each way."""
    figures = read_figures("archive", folder)
    results = figures["results"]
    kills = f"{results['kills']} processes killed on the way"
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
        f"{killed:.2f} times on a cluster of which {results['kills']} are killed, the same bytes"
    )
