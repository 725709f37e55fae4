"""Tables of accuracy in the documents: the standard's tests, and figures on whole databases."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import read_figures
from benchmarks.table_format import Results, build_table, source_line

DATABASES = {
    "mitdb all": "MIT-BIH, 48 records (22 of them heard)",
    "mitdb ds2": "**MIT-BIH, DS2** (none heard)",
    "svdb all": "SVDB, 39 records (all heard)",
    "mitdb": "MIT-BIH, 48 records",
    "svdb": "SVDB, 39 records",
    "vfdb": "VFDB, 11 records",
}
"""Names in the tables, with what the net that ships has heard."""
BEAT_KINDS = ("qrs", "veb", "sveb")
FIBRILLATION_NAMES = {"ltafdb": "Long-Term AF Database", "afdb": "MIT-BIH AF Database"}


def standard_table(folder: Path) -> str:
    """Return each line of the standard: what is required, what was measured, and whether that is enough."""
    figures = read_figures("standard", folder)
    heads = ("section", "condition", "required", "measured", "")
    rows = [
        (
            line["section"],
            line["condition"],
            line["requirement"],
            line["measured"],
            "pass" if line["passed"] else "**fail**",
        )
        for line in figures["results"]["lines"]
    ]
    return build_table(heads, rows) + source_line(figures)


def stranger_beats_table(folder: Path) -> str:
    """Return QRS, VEB and SVEB of whole databases, with one lead, with two, and before."""
    figures = read_figures("strangers", folder)
    rows: dict[str, dict[str, Results]] = {}
    for row in figures["results"]["beats"]:
        rows.setdefault(row["database"], {})[row["version"]] = row
    kinds = (("QRS", "qrs"), ("VEB", "veb"), ("SVEB", "sveb"))
    heads = ("records", "", *(f"{title} Se / +P (F1)" for title, _ in kinds))
    lines = [
        (DATABASES.get(database, database), version, *(_pair(found, kind) for _, kind in kinds))
        for database, versions in rows.items()
        for version, found in versions.items()
    ]
    return build_table(heads, lines) + source_line(figures)


def stranger_alarms_table(folder: Path) -> str:
    """Return the alarms of high priority an hour, and the episodes, of whole databases."""
    figures = read_figures("strangers", folder)
    heads = ("records", "", "true / other / false / unknown", "false an hour", "VF Se / +P", "VF or VT", "AF")
    lines = [
        (
            DATABASES[row["database"]],
            row["version"],
            " / ".join(str(row["verdicts"].get(kind, 0)) for kind in ("true", "other", "false", "unknown")),
            f"{row['verdicts'].get('false', 0) / row['hours']:.2f}",
            *(_episodes(row["episodes"][name]) for name in ("VF", "VF or VT", "AF")),
        )
        for row in figures["results"]["alarms"]
    ]
    return build_table(heads, lines) + source_line(figures)


def fibrillation_table(folder: Path) -> str:
    """Return the episodes of fibrillation that RR intervals alone find in records that were not looked at."""
    figures = read_figures("fibrillation", folder)
    heads = ("records not looked at", "beats", "episodes Se / +P", "of a minute or more", "duration Se / +P")
    lines = [
        (
            f"{FIBRILLATION_NAMES[row['database']]}, {row['records']} records",
            row["view"],
            *(
                f"{row[f'{figure}_se{long}']:.1f} / {row[f'{figure}_ppv{long}']:.1f} %"
                for figure, long in (("episode", ""), ("episode", "_60_s"), ("duration", ""))
            ),
        )
        for row in figures["results"]
        if row["half"] == "held out"
    ]
    return build_table(heads, lines) + source_line(figures)


def challenge_table(folder: Path) -> str:
    """Return what our alarms say of the bedside alarms of the Challenge 2015."""
    figures = read_figures("strangers", folder)
    heads = ("bedside alarm", "true, kept", "true, missed", "false, passed on", "false, rejected", "score", "95 %")
    lines = [_challenge_cells(kind, found) for kind, found in figures["results"]["challenge"].items()]
    return build_table(heads, lines) + source_line(figures)


def intervals_table(folder: Path) -> str:
    """Return the errors of PR, QRS and QT, by lead, of the records that chose no constant."""
    figures = read_figures("intervals", folder)
    heads = (
        "leads",
        "interval",
        "measured / marked",
        "median error",
        "90 % are below",
        "bias",
        "stated ±",
        "within it",
    )
    lines = [
        (
            row["lead"],
            row["interval"],
            f"{row['measured']} / {row['due']}",
            *_interval_cells(row),
            f"{row['uncertainty_ms']:.0f} ms",
            f"{row['within_percent']:.0f} %",
        )
        for row in figures["results"]["conditions"][0]["rows"]
    ]
    return build_table(heads, lines) + source_line(figures)


def interval_conditions_table(folder: Path) -> str:
    """Return the errors of all leads together at other rates and with noise."""
    figures = read_figures("intervals", folder)
    heads = ("signal", *(f"{name}: median, 90 %, measured, within ±" for name in ("PR", "QRS", "QT")))
    lines = [
        (
            condition["condition"],
            *(
                f"{row['median_ms']:.0f} ms, {row['q90_ms']:.0f} ms, {row['measured']}, {row['within_percent']:.0f} %"
                for row in condition["rows"]
                if row["lead"] == "all leads"
            ),
        )
        for condition in figures["results"]["conditions"]
    ]
    return build_table(heads, lines) + source_line(figures)


def p_waves_table(folder: Path) -> str:
    """Return how many P waves are found, and how many of those found are marked."""
    figures = read_figures("intervals", folder)
    heads = ("leads", "P waves marked", "found (Se)", "+P", "no P wave marked", "none found")
    lines = []
    for row in figures["results"]["conditions"][0]["p_waves"]:
        present, absent, found = row["true"] + row["missed"], row["false"] + row["absent"], row["true"] + row["false"]
        lines.append(
            (
                row["lead"],
                str(present),
                f"{row['true']} ({100 * row['true'] / present:.1f} %)",
                f"{100 * row['true'] / found:.1f} %",
                str(absent),
                str(row["absent"]),
            )
        )
    return build_table(heads, lines) + source_line(figures)


def interval_peers_table(folder: Path) -> str:
    """Return the errors of the methods of NeuroKit2 on the same beats, beside ours."""
    figures = read_figures("intervals", folder)
    peer = figures["results"]["peer"]
    leads = list(dict.fromkeys(row["lead"] for row in peer["rows"]))
    heads = ("method", "interval", *(f"{lead}: median, 90 %, measured" for lead in leads))
    groups: dict[tuple[str, str], list[str]] = {}
    held_out = figures["results"]["conditions"][0]["rows"]
    ours = [{"method": "ours"} | row for row in held_out if row["lead"] in leads]
    for row in [*ours, *peer["rows"]]:
        name = row["method"] if row["method"] == "ours" else f"NeuroKit2 {peer['version']}, {row['method']}"
        errors = f"{row['median_ms']:.0f} ms, {row['q90_ms']:.0f} ms, " if row["measured"] else ""
        groups.setdefault((name, row["interval"]), []).append(f"{errors}{row['measured']} / {row['due']}")
    return build_table(heads, [(*key, *cells) for key, cells in groups.items()]) + source_line(figures)


def _interval_cells(row: Results) -> Sequence[str]:
    return f"{row['median_ms']:.0f} ms", f"{row['q90_ms']:.0f} ms", f"{row['bias_ms']:+.0f} ms"


def _challenge_cells(kind: str, found: Results) -> Sequence[str]:
    low, high = found["interval"]
    counts = (str(found[key]) for key in ("TP", "FN", "FP", "TN"))
    return kind.replace("_", " "), *counts, f"{found['score']:.1f}", f"{low:.0f} to {high:.0f}"


def _pair(found: Results, kind: str) -> str:
    sensitivity, predictivity = found[f"{kind}_se"], found[f"{kind}_ppv"]
    if sensitivity is None or predictivity is None:
        return "none"
    both = sensitivity + predictivity
    return f"{sensitivity:.2f} / {predictivity:.2f} ({2 * sensitivity * predictivity / both if both else 0:.1f})"


def _episodes(found: Results) -> str:
    sensitivity, predictivity = found["episode_se"], found["episode_ppv"]
    return "none" if sensitivity is None else f"{sensitivity:.0f} / {predictivity or 0:.0f} %"


def describe_standard(results: Results) -> str:
    """Return how many lines of the standard pass."""
    return f"{results['passed']} of {len(results['lines'])} lines pass"


def describe_strangers(results: Results) -> str:
    """Return QRS, VEB and SVEB of DS2 with two leads."""
    found = next(row for row in results["beats"] if (row["database"], row["version"]) == ("mitdb ds2", "two leads"))
    kinds = (("QRS", "qrs"), ("VEB", "veb"), ("SVEB", "sveb"))
    return ", ".join(f"{name} {found[f'{kind}_se']:.1f} / {found[f'{kind}_ppv']:.1f} %" for name, kind in kinds)


def describe_challenge(results: Results) -> str:
    """Return the score of the Challenge 2015."""
    found = results["challenge"]["all"]
    return f"score {found['score']:.1f}: {found['FN']} true ones missed, {found['FP']} false ones passed on"


def describe_fibrillation(results: list[Results]) -> str:
    """Return the episodes found by annotated beats of records not looked at."""
    found = next(row for row in results if (row["half"], row["view"]) == ("held out", "as annotated"))
    return f"episodes Se {found['episode_se']:.1f}, +P {found['episode_ppv']:.1f} %"


def describe_starts(results: Results) -> str:
    """Return beats and false alarms of pieces from random places."""
    ratios = (f"{name.upper()} {results[f'{name}_se']:.1f} / {results[f'{name}_ppv']:.1f} %" for name in BEAT_KINDS)
    alarms = f"{results['verdicts'].get('false', 0)} false high-priority alarms in {results['hours']:.1f} h"
    return f"{', '.join(ratios)}; {alarms}"


def describe_intervals(results: Results) -> str:
    """Return the median errors of all leads together, of the records that chose no constant."""
    rows = [row for row in results["conditions"][0]["rows"] if row["lead"] == "all leads"]
    errors = ", ".join(f"{row['interval']} {row['median_ms']:.0f} ms" for row in rows)
    most = ", ".join(f"{row['q90_ms']:.0f}" for row in rows)
    return f"median error {errors}; nine in ten below {most} ms"


def describe_web(results: Results) -> str:
    """Return the delay to a browser, the cost of two viewers and the pictures a second."""
    p50, p99 = results["sent_to_viewer_p50_ms"], results["sent_to_viewer_p99_ms"]
    cost, drawn = results["two_more_percent"], results["chromium"]["frames_per_s"]
    delays = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms from the device"
    return f"{delays}; {cost:.1f} % of a core more; {drawn:.0f} pictures a second"
