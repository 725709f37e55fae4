"""Tables of scores: the lines of WFDB's `bxb -L`, `rxr -L`, `epicmp -L` and `sumstats`, and dictionaries for JSON.

The lines of records are those of `bxb` and `rxr`, and the sums below them those of `sumstats`, to the last character.
`sumstats` leaves fusion beats called S (Fs') out of the gross and average SVEB +P; the dictionaries count them, as EC57
and `bxb` itself do.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, TypeVar

from model.scoring.beat_scores import EC57_LABELS, BeatCounts
from model.scoring.ec57 import RecordScore
from model.scoring.episode_scores import EpisodeCounts
from model.scoring.run_scores import RunCounts
from model.text import format_clock

BEATS_HEADER = (
    "Record Nn' Sn' Vn' Fn' On'  Ns  Ss  Vs  Fs' Os' Nv  Sv   Vv  Fv' Ov' No' So' Vo' Fo'"
    "  Q Se   Q +P   V Se   V +P   S Se   S +P RR err"
)
SHUTDOWN_HEADER = (
    "Record Nx   Sx   Vx   Fx   Qx  % beats  % N    % S    % V    % F   Total Shutdown",
    "                                missed missed missed missed missed      Time",
)
RUNS_HEADER = "Record CTs CFN CTp CFP STs SFN STp SFP LTs LFN LTp LFP  CSe C+P SSe S+P LSe L+P"
EPISODES_HEADER = "Record  TPs   FN  TPp   FP  ESe E+P DSe D+P  Ref duration  Test duration "
"""Header of `epicmp -L`."""
SUPRAVENTRICULAR_TITLE = "(SVE run detection)"

_COLUMNS = tuple(
    (reference, test)
    for test, references in (("NFQ", "N S V FQ OX"), ("S", "N S V FQ OX"), ("V", "N S V FQ OX"), ("OX", "N S V FQ"))
    for reference in references.split()
)
"""Reference and test labels behind each count of a line of `bxb -L`."""
_WIDTHS = (3,) * 11 + (4,) + (3,) * 6
"""Widths of all but the first of them."""

Ratio = tuple[float, float]
Counted = TypeVar("Counted", BeatCounts, RunCounts)


def beat_lines(scores: Sequence[RecordScore], sums: bool = True) -> list[str]:
    """Return the table of `bxb -L`; with `sums`, the sum, gross and average lines of `sumstats` follow."""
    lines = [BEATS_HEADER]
    for score in scores:
        ratios = "".join(_ratio_percent(ratio) for ratio in score.beats.ratios().values())
        rms = score.beats.rr_rms_ms
        error = "     -" if rms is None else f" {rms:6.2f}"
        lines.append(f"{score.record:>4} {_matrix_counts(score.beats)}{ratios}{error}")
    if not sums or not scores:
        return lines
    total = _sum_counts(score.beats for score in scores)
    errors = [float(f"{rms:.2f}") for score in scores if (rms := score.beats.rr_rms_ms) is not None]
    averages = [*_average_ratios([_line_ratios(score.beats) for score in scores]), (sum(errors) / 100.0, len(errors))]
    (_, beats), (_, ventricular), (_, supraventricular) = (
        total.ratios()[f"{name}_se"] for name in ("qrs", "veb", "sveb")
    )
    return [
        *lines,
        "_" * 132,
        f"Sum {_matrix_counts(total, first=6)}",
        "Gross" + " " * 78 + "".join(map(_ratio_percent, _line_ratios(total))),
        "Average" + " " * 76 + "".join(map(_ratio_percent, averages)),
        f"Total QRS complexes: {beats}  Total VEBs: {ventricular}  Total SVEBs: {supraventricular}",
        *_closing_summary(len(scores)),
    ]


def shutdown_lines(scores: Sequence[RecordScore], sums: bool = True) -> list[str]:
    """Return the table of `bxb -L` of beats missed while the test had stopped; `sums` as in `beat_lines`."""
    lines = [*SHUTDOWN_HEADER]
    for score in scores:
        beats = score.beats
        ratios = "".join(_ratio_percent(ratio) for ratio in shutdown_ratios(beats).values())
        totals = " ".join(str(beats.total(label, EC57_LABELS)) for label in "NSVFQ")
        lines.append(f"{score.record:>4} {_shutdown_missed(beats)}  {ratios}{beats.shutdown_s:5d} seconds {totals}")
    if not sums or not scores:
        return lines
    total = _sum_counts(score.beats for score in scores)
    return [
        *lines,
        "_" * 72,
        f"Sum  {_shutdown_missed(total)}" + " " * 38 + f"{total.shutdown_s:4d} seconds",
        *_closing_summary(len(scores)),
    ]


def shutdown_ratios(beats: BeatCounts) -> dict[str, tuple[int, int]]:
    """Return missed and all beats, in total and of each class, for beats missed while the test had stopped.

    As in `bxb`, S beats are missing from the numerator of the total.
    """
    ratios = {"beats": (beats.total("NVFQ", "X"), beats.total("NSVFQ", EC57_LABELS))}
    return ratios | {label: (beats.total(label, "X"), beats.total(label, EC57_LABELS)) for label in "NSVF"}


def run_lines(scores: Sequence[RecordScore], supraventricular: bool = False, sums: bool = True) -> list[str]:
    """Return the table of `rxr -L` of one kind of runs, without records on which `rxr` gives up; `sums` as above."""
    lines = [SUPRAVENTRICULAR_TITLE, RUNS_HEADER] if supraventricular else [RUNS_HEADER]
    tabulated: list[RunCounts] = []
    for score in scores:
        runs = score.supraventricular_runs if supraventricular else score.ventricular_runs
        if runs is not None:
            counts = " ".join(f"{count:3d}" for count in runs.counts().values())
            lines.append(f"{score.record:>4} {counts} " + "".join(map(_whole_percent, runs.ratios().values())))
            tabulated.append(runs)
    if not sums or not tabulated:
        return lines
    total = _sum_counts(tabulated)
    averages = _average_ratios([[*runs.ratios().values()] for runs in tabulated])
    first, *others = total.counts().values()
    (_, couplets), _, (_, short), _, (_, long), _ = total.ratios().values()
    return [
        *lines,
        "_" * 77,
        f"Sum   {first:4d} " + " ".join(f"{count:3d}" for count in others),
        "Gross" + " " * 50 + "".join(map(_rounded_percent, total.ratios().values())),
        "Average" + " " * 48 + "".join(map(_rounded_percent, averages)),
        f"Total couplets: {couplets}  Total short runs: {short}  Total long runs: {long}",
        *_closing_summary(len(tabulated)),
    ]


def episode_lines(counts: Mapping[str, EpisodeCounts]) -> list[str]:
    """Return the table of `epicmp -L`, with a line for each record by name."""
    lines = [EPISODES_HEADER]
    for record, episodes in counts.items():
        ratios = "".join(map(_whole_percent, episodes.ratios().values()))
        durations = f"  {_epicmp_clock(episodes.reference_s)}   {_epicmp_clock(episodes.test_s)}"
        numbers = f"{episodes.found:4d} {episodes.missed:4d} {episodes.true:4d} {episodes.false:4d}"
        lines.append(f"{record:>6} {numbers} {ratios}{durations}")
    return lines


def mismatch_lines(score: RecordScore) -> list[str]:
    """Return each missed, extra or differently labelled beat as `bxb -v` does: reference(sample)/test(sample)."""
    return [f"{m.reference}({m.reference_sample})/{m.test}({m.test_sample})" for m in score.mismatches]


def record_dict(score: RecordScore) -> dict[str, Any]:
    """Return all counts and statistics (percent, None if undefined) of beats and runs of one record, for JSON."""
    kinds = {"ventricular_runs": score.ventricular_runs, "supraventricular_runs": score.supraventricular_runs}
    return {
        "record": score.record,
        "beats": _counts_dict(score.beats),
        **{name: None if runs is None else _counts_dict(runs) for name, runs in kinds.items()},
    }


def summary_dict(scores: Sequence[RecordScore]) -> dict[str, Any]:
    """Return gross statistics (all counts added up) and averages (over the records that define them), for JSON."""
    ventricular = [score.ventricular_runs for score in scores if score.ventricular_runs]
    supraventricular = [score.supraventricular_runs for score in scores if score.supraventricular_runs]
    parts = {
        "beats": _gross_and_average([score.beats for score in scores]),
        "ventricular_runs": _gross_and_average(ventricular),
        "supraventricular_runs": _gross_and_average(supraventricular),
    }
    return {"records": [score.record for score in scores]} | {
        side: {name: part[side] if part else None for name, part in parts.items()} for side in ("gross", "average")
    }


def _gross_and_average(counts: Sequence[Counted]) -> dict[str, Any] | None:
    if not counts:
        return None
    return {
        "gross": _counts_dict(_sum_counts(counts)),
        "average": _mean_statistics([_percent_statistics(part) for part in counts]),
    }


def _counts_dict(counts: BeatCounts | RunCounts) -> dict[str, Any]:
    statistics = {"statistics": _percent_statistics(counts)}
    if isinstance(counts, RunCounts):
        return {"counts": counts.counts()} | statistics
    rows = zip(EC57_LABELS, counts.matrix.tolist(), strict=True)
    matrix = {reference: dict(zip(EC57_LABELS, row, strict=True)) for reference, row in rows}
    return {"matrix": matrix, "rr_pairs": counts.rr_pairs, "shutdown_s": counts.shutdown_s} | statistics


def _percent_statistics(counts: BeatCounts | RunCounts) -> dict[str, float | None]:
    percent = {name: 100.0 * a / b if b else None for name, (a, b) in counts.ratios().items()}
    return percent | {"rr_rms_ms": counts.rr_rms_ms} if isinstance(counts, BeatCounts) else percent


def _mean_statistics(records: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    columns = {key: [value for record in records if (value := record[key]) is not None] for key in records[0]}
    return {key: sum(values) / len(values) if values else None for key, values in columns.items()}


def _sum_counts(parts: Iterable[Counted]) -> Counted:
    return reduce(add, parts)


def _matrix_counts(beats: BeatCounts, first: int = 5) -> str:
    widths = (first, *_WIDTHS)
    return " ".join(f"{beats.total(*labels):{width}d}" for labels, width in zip(_COLUMNS, widths, strict=True))


def _shutdown_missed(beats: BeatCounts) -> str:
    return " ".join(f"{beats.total(label, 'X'):4d}" for label in "NSVFQ")


def _line_ratios(beats: BeatCounts) -> list[Ratio]:
    """Return the ratios that `sumstats` reads off a line of `bxb -L`."""
    ratios = beats.ratios()
    true, reported = ratios["sveb_ppv"]
    return [*(ratios | {"sveb_ppv": (true, reported - beats.total("F", "S"))}).values()]


def _average_ratios(records: Sequence[Sequence[Ratio]]) -> list[Ratio]:
    """Return the mean of each ratio, as a sum and the number of records that define it."""
    defined = [[a / b for a, b in ratios if b] for ratios in zip(*records, strict=True)]
    return [(sum(values), len(values)) for values in defined]


def _ratio_percent(ratio: Ratio) -> str:
    return f" {100.0 * ratio[0] / ratio[1]:6.2f}" if ratio[1] else "      -"


def _whole_percent(ratio: Ratio) -> str:
    return f" {int(100.0 * ratio[0] / ratio[1] + 0.5):3d}" if ratio[1] else "   -"  # halves go up, as in `rxr`


def _rounded_percent(ratio: Ratio) -> str:
    return f" {100.0 * ratio[0] / ratio[1]:3.0f}" if ratio[1] else "   -"  # halves go to even, as in `sumstats`


def _epicmp_clock(seconds: float) -> str:
    """Return hours, minutes, seconds and milliseconds in twelve columns, without leading parts that are zero."""
    text = format_clock(round(1000 * seconds) / 1000, decimals=3).lstrip("0:")
    return f"0{text}".rjust(12) if text.startswith(".") else text.rjust(12)


def _closing_summary(records: int) -> list[str]:
    return ["", f"Summary of results from {records} record{'' if records == 1 else 's'}"]
