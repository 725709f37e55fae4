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


def challenge_table(folder: Path) -> str:
    """Return what our alarms say of the bedside alarms of the Challenge 2015."""
    figures = read_figures("strangers", folder)
    heads = ("bedside alarm", "true, kept", "true, missed", "false, passed on", "false, rejected", "score", "95 %")
    lines = [_challenge_cells(kind, found) for kind, found in figures["results"]["challenge"].items()]
    return build_table(heads, lines) + source_line(figures)


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
