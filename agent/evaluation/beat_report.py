"""The report of a beat evaluation: `report.json`, tables for the terminal, and the tables of bxb and rxr.

A report is a plain dictionary. All of it but `cost` is the same on every run, and everything shown is made from it.
EC57 figures are in percent, as the scorer returns them; those of the classes are shares, as in a training report.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from agent.dashboard import wave_raster
from agent.evaluation.beat_evaluation import BeatEvaluation, FigureArray, MismatchStrip, RecordBeatResult
from agent.evaluation.record_selection import EvaluationOptions
from agent.evaluation.report_tables import (
    EvaluationReport,
    build_report_table,
    format_clock_time,
    format_figure,
    format_record_count,
)
from model.beats.dataset import DS1, DS2
from model.records.wfdb_records import CLASSES
from model.scoring.beat_scores import EC57_LABELS
from model.scoring.score_tables import beat_lines, record_dict, run_lines, shutdown_lines, summary_dict

BIN_MS = 8.0
"""Bins of the timing error: a sample at 125 Hz."""
RUN_CLASSES = {"ventricular_runs": "V", "supraventricular_runs": "S"}
RUN_LENGTHS = {"couplet": ("couplets", "C"), "short_run": ("short runs", "S"), "long_run": ("long runs", "L")}
ABSENT_LABELS = {"O": "no beat", "X": "shutdown"}
BEAT_HEADS = ("beats", "QRS Se", "+P", "VEB Se", "+P", "SVEB Se", "+P", "RR ms", "peak ms", "sd")
BEAT_STATISTICS = tuple(f"{kind}_{side}" for kind in ("qrs", "veb", "sveb") for side in ("se", "ppv"))
RUN_HEADS = tuple(head for name, _ in RUN_LENGTHS.values() for head in (name, "Se", "+P"))
CONFUSION_HEADS = ("true \\ detected", *(ABSENT_LABELS.get(label, label) for label in EC57_LABELS))
HEARD_NAMES = 6
"""Records that were learnt, and are named."""
MISMATCH_HEADS = ("record", "time", "true", "detected")
BEAT_MARK = "\N{BLACK DOWN-POINTING SMALL TRIANGLE}"
CLASS_HEADS = ("beats", "accuracy", "macro-F1", *(f"F1 {name}" for name in CLASSES))
WAVE_ROWS, WAVE_COLUMNS = 2, 36


def build_beat_report(
    evaluation: BeatEvaluation, options: EvaluationOptions, weights: dict[str, Any] | None
) -> EvaluationReport:
    """Return all figures as plain data: of each record, and gross and average of each group of records."""
    return {
        "set": options.subset,
        "folder": None if options.folder is None else options.folder.name,
        "weights": weights,
        "reference": options.reference,
        "annotator": options.annotator,
        "start_s": options.start_s,
        "end_s": options.end_s,
        "window_s": options.window_s,
        "groups": {name: _group_figures(group) for name, group in group_records(evaluation.evaluated).items()},
        "records": [_record_beat_figures(result) for result in evaluation.evaluated],
        "skipped": [asdict(record) for record in evaluation.skipped],
        "mismatches": _list_mismatches(evaluation.evaluated) if options.mismatches else None,
        "cost": asdict(evaluation.cost)
        | {"cpu_s_per_hour": _hourly_cpu_seconds(evaluation.cost.cpu_s, evaluation.cost.ecg_s)},
    }


def group_records(evaluated: Sequence[RecordBeatResult]) -> dict[str, list[RecordBeatResult]]:
    """Return all records, those without a pacemaker, and DS1 and DS2, each group if it is not all."""
    embedded = [result for result in evaluated if result.embedded]
    groups = {
        "all": list(evaluated),
        "unpaced": [result for result in evaluated if not result.paced],
        "ds1": [result for result in embedded if result.record in DS1],
        "ds2": [result for result in embedded if result.record in DS2],
    }
    return {name: part for name, part in groups.items() if name == "all" or 0 < len(part) < len(evaluated)}


def ec57_tables(evaluated: Sequence[RecordBeatResult]) -> dict[str, list[str]]:
    """Return the lines of `bxb -L` and `rxr -L` with the sums of `sumstats`, as WFDB's programs print them."""
    scores = [result.score for result in evaluated]
    return {
        "bxb": beat_lines(scores),
        "shutdown": shutdown_lines(scores),
        "vruns": run_lines(scores),
        "sruns": run_lines(scores, supraventricular=True),
    }


def _group_figures(results: Sequence[RecordBeatResult]) -> EvaluationReport:
    from model.training.class_scores import compute_class_metrics

    matrix = np.sum([result.score.beats.matrix for result in results], axis=0)[: len(CLASSES), : len(CLASSES)]
    return {
        "ec57": summary_dict([result.score for result in results]),
        "classes": compute_class_metrics(matrix) | {"beats": int(matrix.sum())},
        **_measurement_figures(results),
    }


def _record_beat_figures(result: RecordBeatResult) -> EvaluationReport:
    about = {name: getattr(result, name) for name in ("record", "lead", "fs", "seconds", "paced")}
    return record_dict(result.score) | about | _measurement_figures([result])


def _measurement_figures(results: Sequence[RecordBeatResult]) -> EvaluationReport:
    """Return timing, delays and heart rate of records together; None where there is nothing to measure."""

    errors_ms, peak_ms, class_ms, rates = (
        np.concatenate([getattr(result, name) for result in results])
        for name in ("errors_ms", "peak_ms", "class_ms", "rates")
    )
    rate_errors = rates[:, 0] - rates[:, 1]
    edges = np.arange(-18.5, 19) * BIN_MS
    counts, _ = np.histogram(np.clip(errors_ms, edges[0], edges[-1]), edges)
    return {
        "timing": {
            "beats": len(errors_ms),
            "mean_ms": float(errors_ms.mean()) if len(errors_ms) else None,
            "sd_ms": float(errors_ms.std()) if len(errors_ms) else None,
            "histogram": {"from_ms": float(edges[0]), "bin_ms": BIN_MS, "beats": counts.tolist()},
        },
        "r_peak_delay": _summarise_delays(peak_ms),
        "class_delay": _summarise_delays(class_ms),
        "heart_rate": {
            "beats": len(rates),
            "rms_bpm": float(np.sqrt(np.mean(rate_errors**2))) if len(rates) else None,
            "rms_percent": float(100 * np.sqrt(np.mean((rate_errors / rates[:, 1]) ** 2))) if len(rates) else None,
        },
    }


def _summarise_delays(ms: FigureArray) -> dict[str, float] | None:
    if not len(ms):
        return None
    return {"median_ms": float(np.median(ms)), "p99_ms": float(np.percentile(ms, 99)), "max_ms": float(ms.max())}


def _hourly_cpu_seconds(cpu_s: float, ecg_s: float) -> float | None:
    return cpu_s * 3600 / ecg_s if ecg_s else None


def _list_mismatches(results: Sequence[RecordBeatResult]) -> list[EvaluationReport]:
    return [
        {
            "record": result.record,
            "sample": mismatch.sample,
            "time_s": round(mismatch.sample / result.fs, 3),
            "true": mismatch.true,
            "said": mismatch.detected,
            "wave": draw_braille_strip(mismatch),
        }
        for result in results
        for mismatch in result.mismatches
    ]


def draw_braille_strip(mismatch: MismatchStrip) -> list[str]:
    """Return the signal around a mismatch in Braille characters, one string for each row."""
    low, high = wave_raster.column_spans(mismatch.wave, wave_raster.dots_across(WAVE_COLUMNS, ascii_only=False))
    codes = wave_raster.raster_trace(low, high, wave_raster.fit_window(mismatch.wave), WAVE_ROWS, ascii_only=False)
    return ["".join(map(chr, row)) for row in wave_raster.to_code_points(codes, ascii_only=False).tolist()]


def beat_report_tables(report: EvaluationReport) -> RenderableType:
    """Return a report for the terminal."""
    tables = (
        build_report_table(("records", *BEAT_HEADS), beat_rows(report), len(report["records"])),
        build_report_table(("runs, gross", *RUN_HEADS), run_rows(report)),
        build_report_table(("classes of matched beats", *CLASS_HEADS), class_rows(report)),
        build_report_table(CONFUSION_HEADS, confusion_rows(report)),
    )
    parts: list[RenderableType] = [Text(line) for line in beat_report_heading(report)]
    parts += ["", *(part for table in tables for part in (table, ""))]
    parts += [Text(line) for line in measurement_lines(report)]
    parts += [Text(f"skipped {record['record']}: {record['reason']}") for record in report["skipped"]]
    if report["mismatches"] is not None:
        signal = Column(f"{'signal':<{WAVE_COLUMNS * 2 // 5}}{BEAT_MARK}", no_wrap=True)
        rows = [[*mismatch_cells(mismatch), "\n".join(mismatch["wave"])] for mismatch in report["mismatches"]]
        parts += ["", build_report_table((*MISMATCH_HEADS, signal), rows)]
    return Group(*parts)


def beat_report_heading(report: EvaluationReport) -> list[str]:
    """Return what was evaluated, in lines."""
    hours = sum(record["seconds"] for record in report["records"]) / 3600
    records = format_record_count(len(report["records"]), len(report["skipped"]))
    start = format_clock_time(report["start_s"])
    end = "the end" if report["end_s"] is None else format_clock_time(report["end_s"])
    window_ms = 1000 * report["window_s"]
    lines = [f"{records}, {hours:.1f} h of ECG, scored by EC57 from {start} to {end}, window {window_ms:g} ms"]
    if report["weights"] is None:
        return [*lines, f"annotations *.{report['annotator']} against *.{report['reference']}"]
    weights = report["weights"]
    leads = "two leads, the better one heard" if weights["leads"] == "auto" else f"leads {weights['leads']}"
    lines.append(f"{leads}; weights {weights['name']}, {weights['sentence']}")
    if heard := weights["heard"]:
        some = ", ".join(heard[:HEARD_NAMES]) + (", ..." if len(heard) > HEARD_NAMES else "")
        lines.append(f"they have learnt {len(heard)} records of these names: {some}")
    return lines


def measurement_lines(report: EvaluationReport) -> list[str]:
    """Return timing, delays, heart rate and cost of all records, in lines."""
    lines = []
    figures = report["groups"]["all"]
    timing, rate = figures["timing"], figures["heart_rate"]
    if timing["beats"]:
        lines.append(f"R peak error      mean {timing['mean_ms']:.1f} ms, sd {timing['sd_ms']:.1f} ms")
    for name, key in (("R peak delay", "r_peak_delay"), ("class delay", "class_delay")):
        if delay := figures[key]:
            lines.append(
                f"{name:17} median {delay['median_ms']:.0f} ms, p99 {delay['p99_ms']:.0f} ms, "
                f"at most {delay['max_ms']:.0f} ms"
            )
    if rate["beats"]:
        lines.append(f"heart rate error  rms {rate['rms_bpm']:.2f} beats/min, {rate['rms_percent']:.2f} %")
    if (cost := report["cost"]) and cost["cpu_s_per_hour"] is not None:
        lines.append(
            f"pipeline          {cost['cpu_s_per_hour']:.2f} CPU s an hour of ECG; {cost['wall_s']:.1f} s in all"
        )
    return lines


def beat_rows(report: EvaluationReport) -> list[list[str]]:
    """Return a row for each record, then gross and average of each group: Se and +P in percent, errors in ms."""
    rows = [[record["record"], *_beat_cells(record["beats"], record["timing"])] for record in report["records"]]
    for name, group in report["groups"].items():
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
        *(format_figure(beats["statistics"][key]) for key in BEAT_STATISTICS),
        format_figure(beats["statistics"]["rr_rms_ms"], 1),
        *(format_figure(timing[key], 1) if timing else "" for key in ("mean_ms", "sd_ms")),
    ]


def run_rows(report: EvaluationReport) -> list[list[str]]:
    """Return a row for each group and kind of runs: the number of each length, and Se and +P in percent."""
    rows = []
    for name, group in report["groups"].items():
        for key, kind in RUN_CLASSES.items():
            if runs := group["ec57"]["gross"][key]:
                cells = [f"{name} {kind}"]
                for length, (_, letter) in RUN_LENGTHS.items():
                    counts = runs["counts"]
                    rates = (runs["statistics"][f"{length}_{side}"] for side in ("se", "ppv"))
                    cells += [
                        f"{counts[f'{letter}Ts'] + counts[f'{letter}FN']}",
                        *(format_figure(rate, 1) for rate in rates),
                    ]
                rows.append(cells)
    return rows


def class_rows(report: EvaluationReport) -> list[list[str]]:
    """Return a row for each group: matched beats, accuracy, macro-F1 and F1 of each class in percent."""
    rows = []
    for name, group in report["groups"].items():
        figures = group["classes"]
        f1 = [
            format_figure(100 * figures["f1"][label] if label in figures["classes_present"] else None)
            for label in CLASSES
        ]
        overall = (format_figure(100 * figures[key] if figures["beats"] else None) for key in ("accuracy", "macro_f1"))
        rows.append([name, f"{figures['beats']:,}", *overall, *f1])
    return rows


def confusion_rows(report: EvaluationReport) -> list[list[str]]:
    """Return all beats by true and detected class, missed and extra ones included."""
    matrix = report["groups"]["all"]["ec57"]["gross"]["beats"]["matrix"]
    return [[label_text(true), *(f"{matrix[true][label]:,}" for label in EC57_LABELS)] for true in EC57_LABELS]


def label_text(label: str) -> str:
    """Return an EC57 label in words where it is no class."""
    return ABSENT_LABELS.get(label, label)


def mismatch_cells(mismatch: EvaluationReport) -> list[str]:
    """Return record, time, true and detected class of a mismatch."""
    labels = (label_text(mismatch[key]) for key in ("true", "said"))
    return [mismatch["record"], format_clock_time(mismatch["time_s"]), *labels]
