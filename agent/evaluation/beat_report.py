"""What `ecg-agent evaluate` shows of its figures: tables on the terminal, `build_beat_report.json`, and the tables of
bxb and rxr.

A report is a plain dictionary. All of it but `cost` is the same each time; everything that is drawn is drawn from it.
Figures of EC57 are percent, as the scorer gives them; those of the classes are shares, as in the report of a training.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.dashboard import wave_raster
from agent.evaluation.beat_evaluation import (
    BeatEvaluation,
    EvaluationOptions,
    FigureArray,
    MismatchStrip,
    RecordBeatResult,
)
from model.beats.dataset import DS1, DS2
from model.records.wfdb_records import CLASSES
from model.scoring.beat_scores import EC57_LABELS
from model.scoring.score_tables import beat_lines, record_dict, run_lines, shutdown_lines, summary_dict
from model.text import format_clock

EvaluationReport = dict[str, Any]

BIN_MS = 8.0
"""Bins of the timing error: a sample at 125 Hz."""
RUN_CLASSES = {"ventricular_runs": "V", "supraventricular_runs": "S"}
RUN_LENGTHS = {"couplet": ("couplets", "C"), "short_run": ("short runs", "S"), "long_run": ("long runs", "L")}
ABSENT_LABELS = {"O": "no beat", "X": "shutdown"}
BEAT_HEADS = ("beats", "QRS Se", "+P", "VEB Se", "+P", "SVEB Se", "+P", "RR ms", "peak ms", "sd")
BEAT_STATISTICS = tuple(f"{kind}_{side}" for kind in ("qrs", "veb", "sveb") for side in ("se", "ppv"))
RUN_HEADS = tuple(head for name, _ in RUN_LENGTHS.values() for head in (name, "Se", "+P"))
CLASS_HEADS = ("beats", "accuracy", "macro-F1", *(f"F1 {name}" for name in CLASSES))
WAVE_ROWS, WAVE_COLUMNS = 2, 36


def build_beat_report(
    outcome: BeatEvaluation, asked: EvaluationOptions, weights: dict[str, Any] | None
) -> EvaluationReport:
    """All figures: of every record, and gross and average of each group of records that makes sense."""
    return {
        "set": asked.subset,
        "folder": None if asked.folder is None else asked.folder.name,
        "weights": weights,
        "reference": asked.reference,
        "annotator": asked.annotator,
        "start_s": asked.start_s,
        "end_s": asked.end_s,
        "window_s": asked.window_s,
        "groups": {name: _group_figures(found) for name, found in group_records(outcome.evaluated).items()},
        "records": [_record_beat_figures(one) for one in outcome.evaluated],
        "skipped": [asdict(one) for one in outcome.skipped],
        "mismatches": _list_mismatches(outcome.evaluated) if asked.mismatches else None,
        "cost": asdict(outcome.cost) | {"cpu_s_per_hour": _hourly_cpu_seconds(outcome.cost.cpu_s, outcome.cost.ecg_s)},
    }


def group_records(evaluated: Sequence[RecordBeatResult]) -> dict[str, list[RecordBeatResult]]:
    """All records; those without pacemaker; and, of the embedded database, DS1 and DS2, each where it is a part."""
    inside = [one for one in evaluated if one.embedded]
    found = {
        "all": list(evaluated),
        "unpaced": [one for one in evaluated if not one.paced],
        "ds1": [one for one in inside if one.record in DS1],
        "ds2": [one for one in inside if one.record in DS2],
    }
    return {name: part for name, part in found.items() if name == "all" or 0 < len(part) < len(evaluated)}


def ec57_tables(evaluated: Sequence[RecordBeatResult]) -> dict[str, list[str]]:
    """The tables of `bxb -L` and `rxr -L` with the sums of `sumstats`, to be compared with WFDB's own."""
    scores = [one.score for one in evaluated]
    return {
        "bxb": beat_lines(scores),
        "shutdown": shutdown_lines(scores),
        "vruns": run_lines(scores),
        "sruns": run_lines(scores, supraventricular=True),
    }


def _group_figures(found: Sequence[RecordBeatResult]) -> EvaluationReport:
    from model.training.class_scores import compute_class_metrics

    matrix = np.sum([one.score.beats.matrix for one in found], axis=0)[: len(CLASSES), : len(CLASSES)]
    return {
        "ec57": summary_dict([one.score for one in found]),
        "classes": compute_class_metrics(matrix) | {"beats": int(matrix.sum())},
        **_measurement_figures(found),
    }


def _record_beat_figures(one: RecordBeatResult) -> EvaluationReport:
    about = {"record": one.record, "lead": one.lead, "fs": one.fs, "seconds": one.seconds, "paced": one.paced}
    return record_dict(one.score) | about | _measurement_figures([one])


def _measurement_figures(found: Sequence[RecordBeatResult]) -> EvaluationReport:
    """Timing, delays and heart rate of records together; None where there is nothing to measure."""

    def joined(part: Callable[[RecordBeatResult], FigureArray]) -> FigureArray:
        return np.concatenate([part(one) for one in found])

    errors, rates = joined(lambda one: one.errors_ms), joined(lambda one: one.rates)
    apart = rates[:, 0] - rates[:, 1]
    edges = np.arange(-18.5, 19) * BIN_MS
    counts, _ = np.histogram(np.clip(errors, edges[0], edges[-1]), edges)
    return {
        "timing": {
            "beats": len(errors),
            "mean_ms": float(errors.mean()) if len(errors) else None,
            "sd_ms": float(errors.std()) if len(errors) else None,
            "histogram": {"from_ms": float(edges[0]), "bin_ms": BIN_MS, "beats": counts.tolist()},
        },
        "r_peak_delay": _summarise_delays(joined(lambda one: one.peak_ms)),
        "class_delay": _summarise_delays(joined(lambda one: one.class_ms)),
        "heart_rate": {
            "beats": len(rates),
            "rms_bpm": float(np.sqrt(np.mean(apart**2))) if len(rates) else None,
            "rms_percent": float(100 * np.sqrt(np.mean((apart / rates[:, 1]) ** 2))) if len(rates) else None,
        },
    }


def _summarise_delays(ms: FigureArray) -> dict[str, float] | None:
    if not len(ms):
        return None
    return {"median_ms": float(np.median(ms)), "p99_ms": float(np.percentile(ms, 99)), "max_ms": float(ms.max())}


def _hourly_cpu_seconds(cpu_s: float, ecg_s: float) -> float | None:
    return cpu_s * 3600 / ecg_s if ecg_s else None


def _list_mismatches(found: Sequence[RecordBeatResult]) -> list[EvaluationReport]:
    return [
        {
            "record": one.record,
            "sample": missed.sample,
            "time_s": round(missed.sample / one.fs, 3),
            "true": missed.true,
            "said": missed.said,
            "wave": draw_braille_strip(missed),
        }
        for one in found
        for missed in one.mismatches
    ]


def draw_braille_strip(missed: MismatchStrip) -> list[str]:
    """The signal around a mismatch in Braille characters, a string a row."""
    low, high = wave_raster.column_spans(missed.wave, wave_raster.dots_across(WAVE_COLUMNS, ascii_only=False))
    codes = wave_raster.raster_trace(low, high, wave_raster.fit_window(missed.wave), WAVE_ROWS, ascii_only=False)
    return ["".join(map(chr, row)) for row in wave_raster.to_code_points(codes, ascii_only=False).tolist()]


def beat_report_tables(made: EvaluationReport) -> RenderableType:
    """A report for the terminal."""
    parts: list[RenderableType] = [Text(line) for line in beat_report_heading(made)]
    parts += [
        "",
        _beat_table(made),
        "",
        _ectopic_run_table(made),
        "",
        _class_table(made),
        "",
        _confusion_table(made),
        "",
    ]
    parts += [Text(line) for line in measurement_lines(made)]
    parts += [Text(f"skipped {one['record']}: {one['reason']}") for one in made["skipped"]]
    if made["mismatches"] is not None:
        parts += ["", _mismatch_table(made["mismatches"])]
    return Group(*parts)


def beat_report_heading(made: EvaluationReport) -> list[str]:
    """What was evaluated, in lines."""
    hours = sum(one["seconds"] for one in made["records"]) / 3600
    start, end = (
        format_clock_time(made["start_s"]),
        "the end" if made["end_s"] is None else format_clock_time(made["end_s"]),
    )
    skipped = f", {len(made['skipped'])} skipped" if made["skipped"] else ""
    records, window = _format_record_count(len(made["records"]), "record"), f"window {1000 * made['window_s']:g} ms"
    lines = [f"{records}{skipped}, {hours:.1f} h of ECG, scored by EC57 from {start} to {end}, {window}"]
    if made["weights"] is None:
        return [*lines, f"annotations *.{made['annotator']} against *.{made['reference']}"]
    return [*lines, f"weights {made['weights']['name']}, {made['weights']['sentence']}"]


def measurement_lines(made: EvaluationReport) -> list[str]:
    """Timing, delays, heart rate and cost of all records, in lines."""
    found, lines = made["groups"]["all"], []
    timing, rate = found["timing"], found["heart_rate"]
    if timing["beats"]:
        lines.append(f"R peak error      mean {timing['mean_ms']:.1f} ms, sd {timing['sd_ms']:.1f} ms")
    for name, key in (("R peak delay", "r_peak_delay"), ("class delay", "class_delay")):
        if delay := found[key]:
            lines.append(
                f"{name:17} median {delay['median_ms']:.0f} ms, p99 {delay['p99_ms']:.0f} ms, "
                f"at most {delay['max_ms']:.0f} ms"
            )
    if rate["beats"]:
        lines.append(f"heart rate error  rms {rate['rms_bpm']:.2f} beats/min, {rate['rms_percent']:.2f} %")
    if (cost := made["cost"]) and cost["cpu_s_per_hour"] is not None:
        lines.append(
            f"pipeline          {cost['cpu_s_per_hour']:.2f} CPU s an hour of ECG; {cost['wall_s']:.1f} s in all"
        )
    return lines


def _beat_table(made: EvaluationReport) -> Table:
    table = _new_report_table("records", *BEAT_HEADS)
    for i, row in enumerate(beat_rows(made), 1):
        table.add_row(*row, end_section=i == len(made["records"]))
    return table


def beat_rows(made: EvaluationReport) -> list[list[str]]:
    """A row for each record, then gross and average of each group: beats, Se and +P in percent, RR and peak errors."""
    rows = [[one["record"], *_beat_cells(one["beats"], one["timing"])] for one in made["records"]]
    for name, group in made["groups"].items():
        gross, average = (group["ec57"][side]["beats"] for side in ("gross", "average"))
        title = f"{name} ({len(group['ec57']['records'])})"
        rows.append([f"{title} gross", *_beat_cells(gross, group["timing"])])
        rows.append([f"{title} average", *_beat_cells({"statistics": average}, {})])
    return rows


def _beat_cells(beats: EvaluationReport, timing: EvaluationReport) -> list[str]:
    matrix = beats.get("matrix")
    total = sum(sum(matrix[label].values()) for label in CLASSES) if matrix else None
    return [
        "" if total is None else f"{total:,}",
        *(_format_report_figure(beats["statistics"][key]) for key in BEAT_STATISTICS),
        _format_report_figure(beats["statistics"]["rr_rms_ms"], 1),
        *(_format_report_figure(timing[key], 1) if timing else "" for key in ("mean_ms", "sd_ms")),
    ]


def _ectopic_run_table(made: EvaluationReport) -> Table:
    table = _new_report_table("runs, gross", *RUN_HEADS)
    for row in run_rows(made):
        table.add_row(*row)
    return table


def run_rows(made: EvaluationReport) -> list[list[str]]:
    """A row for each group and kind of runs: how many of each length there are, and Se and +P in percent."""
    rows = []
    for name, group in made["groups"].items():
        for key, kind in RUN_CLASSES.items():
            if runs := group["ec57"]["gross"][key]:
                cells = [f"{name} {kind}"]
                for length, (_, letter) in RUN_LENGTHS.items():
                    counts = runs["counts"]
                    rates = (runs["statistics"][f"{length}_{side}"] for side in ("se", "ppv"))
                    cells += [
                        f"{counts[f'{letter}Ts'] + counts[f'{letter}FN']}",
                        *(_format_report_figure(rate, 1) for rate in rates),
                    ]
                rows.append(cells)
    return rows


def _class_table(made: EvaluationReport) -> Table:
    table = _new_report_table("classes of matched beats", *CLASS_HEADS)
    for row in class_rows(made):
        table.add_row(*row)
    return table


def class_rows(made: EvaluationReport) -> list[list[str]]:
    """A row for each group: matched beats, accuracy, macro-F1 and F1 of each class in percent."""
    rows = []
    for name, group in made["groups"].items():
        found = group["classes"]
        f1 = [
            _format_report_figure(100 * found["f1"][label] if label in found["classes_present"] else None)
            for label in CLASSES
        ]
        overall = (
            _format_report_figure(100 * found[key] if found["beats"] else None) for key in ("accuracy", "macro_f1")
        )
        rows.append([name, f"{found['beats']:,}", *overall, *f1])
    return rows


def _confusion_table(made: EvaluationReport) -> Table:
    table = _new_report_table("true \\ said", *map(label_text, EC57_LABELS))
    for row in confusion_rows(made):
        table.add_row(*row)
    return table


def confusion_rows(made: EvaluationReport) -> list[list[str]]:
    """All beats by true class and by what was said, missed and extra ones too."""
    matrix = made["groups"]["all"]["ec57"]["gross"]["beats"]["matrix"]
    return [[label_text(true), *(f"{matrix[true][said]:,}" for said in EC57_LABELS)] for true in EC57_LABELS]


def _mismatch_table(mismatches: Sequence[EvaluationReport]) -> Table:
    table = _new_report_table("record", "time", "true", "said")
    table.add_column(f"{'signal':<{WAVE_COLUMNS * 2 // 5}}\N{BLACK DOWN-POINTING SMALL TRIANGLE}", no_wrap=True)
    for one in mismatches:
        labels = (label_text(one[key]) for key in ("true", "said"))
        table.add_row(one["record"], format_clock_time(one["time_s"]), *labels, "\n".join(one["wave"]))
    return table


def label_text(label: str) -> str:
    """A label of EC57 as people read it."""
    return ABSENT_LABELS.get(label, label)


def _new_report_table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for head in others:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _format_report_figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _format_record_count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def format_clock_time(seconds: float) -> str:
    """Seconds as minutes and seconds, with a fraction only where there is one."""
    return format_clock(seconds, 0 if seconds == int(seconds) else 3, hour_digits=0)
