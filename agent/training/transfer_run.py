"""`ecg-agent transfer`: does what a net learnt on arrhythmia help to recognise infarction?

Reads recordings of PTB-XL (one `.npz`) or of the PTB Diagnostic ECG Database (WFDB folders), compares the rivals of
`model.transfer.infarction_transfer` on them, and writes figures, curves and a head. Beats come from lead II at 125 Hz,
found and cut as the monitor does it.
"""

import json
import sys
import time
import zipfile
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import safetensors
import torch
from matplotlib.figure import Figure as Picture
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from safetensors.torch import save_file

from agent.analysis.compiled_qrs import open_qrs_detector
from agent.core.lead_units import UNITS_MV
from agent.core.messages import FloatArray
from agent.training.run_folder import explain_interruption
from model.beats import frontend
from model.errors import RecordError, RunError
from model.files import write_atomically
from model.nets import checkpoint, checkpoint_card
from model.nets.beat_net import BeatNet
from model.records import wfdb_records
from model.records.resample import resample_signal
from model.training.training_figures import BLUE, GREEN, GREY, METADATA, ORANGE, STYLE
from model.transfer import diagnostic_metrics, infarction_transfer
from model.transfer.diagnostic_metrics import METRICS, Estimate
from model.transfer.infarction_transfer import InfarctionRecordings, RivalOutcome

PTBXL_KEYS = ("lead_ii_uv", "ecg_id", "mi", "patient_id", "fs_hz")
LOWEST_FS, HIGHEST_FS = 50.0, 100_000.0
"""Plausible sampling rates of an ECG in hertz."""
REASON_KEY = "reason for admission"
ADMISSIONS = {"healthy control": 0, "myocardial infarction": 1}
"""Reasons for admission of the PTB database that are used; recordings with others are left out."""
BOOTSTRAP_SEED = 0
ROC_POINTS = np.linspace(0, 1, 401)


@dataclass(frozen=True, slots=True, eq=False)
class RecordingSource:
    """Recordings in order: lead II of each, (samples,) float32 mV at 125 Hz, its class and patient.

    `left_out` counts the recordings that are not used, by reason.
    """

    leads: list[FloatArray]
    infarction: list[int]
    patient: list[int]
    left_out: dict[str, int]


def show_transfer(data: Path, weights: str, folder: Path, as_json: bool, command: str) -> None:
    """Compare on the recordings in `data`; a table (or a JSON object) to standard output, files into `folder`.

    Raises CheckpointError, RecordError or RunError. An interrupted comparison keeps nothing.
    """
    with explain_interruption(command, resumable=False):
        _compare_in_folder(data, weights, folder, as_json, command)


def _compare_in_folder(data: Path, weights: str, folder: Path, as_json: bool, command: str) -> None:
    torch.set_num_threads(1)
    console = Console(stderr=True, soft_wrap=True)
    started = time.monotonic()
    path = checkpoint_card.find_checkpoint(weights)
    net, card = checkpoint.load_beat_net(path, torch.device("cpu"))
    with console.status("finding the beats"):
        source = read_recordings(data)
        recordings, without = cut_recording_beats(source)
    block = infarction_transfer.assign_blocks(recordings)
    _make_run_folder(folder)
    entrants = infarction_transfer.build_rivals(recordings, net)
    with _transfer_progress(console) as progress:
        total = infarction_transfer.TRANSFER_FOLDS * sum(rival.trainings for rival in entrants)
        task = progress.add_task("training", total=total)
        outcomes = infarction_transfer.compare_rivals(
            recordings, entrants, lambda name: progress.update(task, advance=1, description=name)
        )
    with console.status("drawing patients for the intervals"):
        report = {
            "command": command,
            "weights": {"name": card.name, "sha256": checkpoint_card.digest_checkpoint(path)},
            "data": describe_recordings(recordings, source.left_out | ({"no beats": without} if without else {})),
            "blocks": [
                np.bincount(recordings.infarction[block == number]).tolist()
                for number in range(infarction_transfer.TRANSFER_FOLDS)
            ],
            **transfer_figures(recordings, outcomes),
            "torch": str(torch.__version__),
        }
    report["seconds"] = round(time.monotonic() - started, 1)
    _save_transfer_report(folder, report, recordings, outcomes)
    _save_transfer_head(folder, net, recordings, outcomes[0], report)
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        shown = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
        shown.print(
            transfer_table(report, "per_recording"),
            transfer_table(report, "per_beat"),
            *_transfer_lines(report),
            sep="\n",
        )
    console.print(f"figures, curves and head in {folder}")


def read_recordings(path: Path) -> RecordingSource:
    """Read a `.npz` of PTB-XL, or a folder of the PTB database. Raises RecordError."""
    if not path.exists():
        raise RecordError(f"no {path}: give a .npz with {', '.join(PTBXL_KEYS)}, or the folder of the PTB database")
    source = read_ptb(path) if path.is_dir() else read_ptbxl(path)
    if len(set(source.infarction)) < 2:
        raise RecordError(f"{path} holds one class only: recordings with infarction and normal ones are needed")
    return source


def read_ptbxl(path: Path) -> RecordingSource:
    """Read recordings in order of `ecg_id`, in which those of a patient are near each other. Raises RecordError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [key for key in PTBXL_KEYS if key not in file]:
                raise RecordError(f"{path} has no {', '.join(missing)}: all of {', '.join(PTBXL_KEYS)} are needed")
            signals, ecg_id, infarction, patient, fs = (np.asarray(file[key]) for key in PTBXL_KEYS)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"cannot read {path} as .npz: it must be a whole file of numpy.savez") from error
    columns = {"ecg_id": ecg_id, "mi": infarction, "patient_id": patient}
    if not all(values.dtype.kind in "iufb" for values in (signals, fs, *columns.values())):
        raise RecordError(f"{path} holds something other than numbers in one of {', '.join(PTBXL_KEYS)}")
    if signals.ndim != 2 or not signals.size or any(values.shape != signals.shape[:1] for values in columns.values()):
        raise RecordError(f"{path}: lead_ii_uv must be (recordings, samples), and ecg_id, mi, patient_id a value each")
    if fs.size != 1 or not np.isin(infarction, (0, 1)).all():
        raise RecordError(f"{path}: fs_hz must be one number, and mi 0 or 1 for each recording")
    order = np.argsort(ecg_id, kind="stable")
    leads = [resample_lead(signals[i] / 1000.0, float(fs.item()), f"recording {ecg_id[i]} of {path}") for i in order]
    return RecordingSource(leads, infarction[order].astype(int).tolist(), patient[order].astype(int).tolist(), {})


def read_ptb(folder: Path) -> RecordingSource:
    """Read lead "ii" of the PTB Diagnostic ECG Database, a folder per patient. Raises RecordError."""
    headers = sorted(folder.glob("*/*.hea"))
    if not headers:
        raise RecordError(f"{folder} holds no WFDB headers in a folder a patient, such as patient001/s0010_re.hea")
    numbers = {name: i for i, name in enumerate(sorted({header.parent.name for header in headers}))}
    source = RecordingSource([], [], [], {})
    left_out: Counter[str] = Counter()
    for header in headers:
        record = wfdb_records.open_record(str(header))
        reason = _admission_reason(record.comments)
        if reason not in ADMISSIONS:
            left_out[f"reason for admission: {reason or 'not given'}"] += 1
            continue
        source.leads.append(_read_lead_ii(record))
        source.infarction.append(ADMISSIONS[reason])
        source.patient.append(numbers[header.parent.name])
    source.left_out.update(sorted(left_out.items()))
    return source


def resample_lead(lead: NDArray[np.floating], fs: float, name: str) -> FloatArray:
    """Resample a lead (n,) mV from `fs` hertz to (m,) float32 mV at 125 Hz. Raises RecordError about `name`."""
    if not np.isfinite(lead).all():
        raise RecordError(f"{name} has samples without a value: leave it out")
    if not LOWEST_FS <= fs <= HIGHEST_FS:
        raise RecordError(f"{name} has a sampling rate of {fs:g} Hz: it must be {LOWEST_FS:g} to {HIGHEST_FS:g} Hz")
    first = lead[:1].astype(float)  # subtracted, so that the filter meets no step at the start
    result: FloatArray = (resample_signal((lead - first)[:, None], fs)[:, 0] + first).astype(np.float32)
    return result


def find_lead_r_peaks(lead: FloatArray) -> NDArray[np.int64]:
    """Return the R peaks (n,) of a whole lead (samples,) mV at 125 Hz, by the monitor's detector."""
    detector = open_qrs_detector()
    peaks = detector.push(np.zeros(1, np.intp), lead[None]) + detector.flush(0)
    return np.array([peak.sample for peak in peaks], np.int64)


def cut_recording_beats(source: RecordingSource) -> tuple[InfarctionRecordings, int]:
    """Cut all beats of each recording but the last, whose cut may leave it; count the recordings without beats."""
    cuts = [_cut_lead_beats(lead, find_lead_r_peaks(lead)) for lead in source.leads]
    kept = [i for i, beats in enumerate(cuts) if len(beats)]
    if not kept:
        raise RecordError("no beats were found in any of these recordings: check their unit and lead")
    recordings = InfarctionRecordings(
        np.concatenate([cuts[i] for i in kept]),
        np.repeat(np.arange(len(kept)), [len(cuts[i]) for i in kept]),
        np.array([source.infarction[i] for i in kept], np.int64),
        np.array([source.patient[i] for i in kept], np.int64),
    )
    return recordings, len(cuts) - len(kept)


def _cut_lead_beats(lead: FloatArray, peaks: NDArray[np.int64]) -> FloatArray:
    return frontend.cut_beats(lead, peaks[:-1]) if len(peaks) > 1 else np.empty((0, frontend.BEAT_SAMPLES), np.float32)


def describe_recordings(recordings: InfarctionRecordings, left_out: dict[str, int]) -> dict[str, Any]:
    """Return the numbers of recordings, patients and beats."""
    beats = np.bincount(recordings.recording)
    by_class = np.bincount(recordings.infarction, minlength=2).tolist()
    known = recordings.patient[recordings.patient >= 0]
    return {
        "recordings": len(beats),
        **dict(zip(infarction_transfer.INFARCTION_CLASSES, by_class, strict=True)),
        "patients_known": len(np.unique(known)),
        "recordings_of_unknown_patients": len(beats) - len(known),
        "beats": len(recordings.beats),
        "beats_a_recording": [int(beats.min()), float(np.median(beats)), int(beats.max())],
        "left_out": left_out,
    }


def transfer_figures(recordings: InfarctionRecordings, outcomes: list[RivalOutcome]) -> dict[str, Any]:
    """Return the figures of each rival, per beat and per recording, and the paired differences of the areas."""
    groups, of = recordings.groups(), recordings.recording
    samples = {
        "per_recording": diagnostic_metrics.CaseSample(
            recordings.infarction, groups, [_mean_log_odds(recordings, o) for o in outcomes]
        ),
        "per_beat": diagnostic_metrics.CaseSample(recordings.infarction[of], groups[of], [o.logits for o in outcomes]),
    }
    rivals: list[dict[str, Any]] = [{"name": o.name, "seeds": len(o.logits), "chosen": o.chosen} for o in outcomes]
    differences: dict[str, Any] = {}
    for unit, sample in samples.items():
        estimates, between = diagnostic_metrics.estimate_metrics(sample, BOOTSTRAP_SEED)
        for rival, by_metric in zip(rivals, estimates, strict=True):
            rival[unit] = {name: asdict(figure) for name, figure in by_metric.items()}
        differences[unit] = [
            {"of": outcomes[i].name, "less": outcomes[j].name, **asdict(between[i][j])}
            for i in range(len(outcomes))
            for j in range(i + 1, len(outcomes))
        ]
    return {"rivals": rivals, "auroc_differences": differences}


def transfer_table(report: dict[str, Any], unit: str) -> Table:
    """Build the table of figures in percent, with intervals and, for several seeds, their spread."""
    table = Table(title=f"infarction or normal, {unit.replace('_', ' ')}: % (95 % interval) ± sd over seeds")
    table.add_column("")
    for name in METRICS:
        table.add_column(name, justify="right")
    for rival in report["rivals"]:
        cells = [_format_estimate(Estimate(**rival[unit][name]), rival["seeds"] > 1) for name in METRICS]
        table.add_row(rival["name"], *cells)
    return table


def _format_estimate(figure: Estimate, spread: bool) -> str:
    text = f"{100 * figure.value:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
    return f"{text} ± {100 * figure.seeds_sd:.1f}" if spread else text


def _transfer_lines(report: dict[str, Any]) -> list[str]:
    data = report["data"]
    least, median, most = data["beats_a_recording"]
    lines = [
        f"{data['recordings']} recordings, {data['infarction']} with infarction; {data['beats']} beats, {least} to "
        f"{most} a recording (median {median:g}); weights {report['weights']['name']}; {report['seconds']} s"
    ]
    lines += [f"left out: {count} with {reason}" for reason, count in data["left_out"].items()]
    return lines + [
        f"area per recording, {row['of']} less {row['less']}: {100 * row['value']:+.1f} "
        f"({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
        for row in report["auroc_differences"]["per_recording"]
    ]


def _mean_log_odds(recordings: InfarctionRecordings, outcome: RivalOutcome) -> NDArray[np.float64]:
    """Return log-odds (seeds, recordings), the mean over the beats of each recording."""
    return np.stack([recordings.means(logits) for logits in outcome.logits])


def _admission_reason(comments: tuple[str, ...]) -> str:
    for comment in comments:
        key, _, value = comment.partition(":")
        if key.strip().lower() == REASON_KEY:
            return value.strip().lower()
    return ""


def _read_lead_ii(record: wfdb_records.Record) -> FloatArray:
    names = [signal.name.lower() for signal in record.signals]
    if "ii" not in names:
        raise RecordError(f"record {record.path} has no lead ii: it has {', '.join(names)}")
    column = names.index("ii")
    unit = record.signals[column].unit
    if unit not in UNITS_MV:
        raise RecordError(f"record {record.path} has lead ii in {unit}, not mV")
    return resample_lead(
        wfdb_records.read_record_samples(record)[:, column] * UNITS_MV[unit], record.fs, f"record {record.path}"
    )


def _transfer_progress(console: Console) -> Progress:
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(TextColumn("{task.description:>12}"), BarColumn(), *columns, console=console)


def _make_run_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot use run folder {folder}: {error}; choose another (--run)") from error


def _save_transfer_report(
    folder: Path, report: dict[str, Any], recordings: InfarctionRecordings, outcomes: list[RivalOutcome]
) -> None:
    """Write `transfer.json` and the curves, each in one step."""
    try:
        with write_atomically(folder / "transfer.json") as partial:
            partial.write_text(json.dumps(report, indent=1) + "\n")
        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # whatever the user's own settings say
            matplotlib.rcParams.update(STYLE)
            picture = draw_roc_curves(report, recordings, outcomes)
            for kind, metadata in METADATA.items():
                with write_atomically(folder / f"transfer.{kind}") as partial:
                    picture.savefig(partial, format=kind, dpi=150, metadata=metadata)
    except OSError as error:
        raise RunError(f"cannot write to run folder {folder}: {error}; choose another (--run)") from error


def draw_roc_curves(report: dict[str, Any], recordings: InfarctionRecordings, outcomes: list[RivalOutcome]) -> Picture:
    """Draw the receiver operating characteristic of each rival per recording, the mean of its seeds."""
    picture = Picture(figsize=(5.2, 4.6), layout="constrained")
    axes = picture.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    styles = ((BLUE, "-"), (BLUE, "--"), (ORANGE, "-"), (GREEN, "-"))
    for outcome, rival, (colour, line) in zip(outcomes, report["rivals"], styles, strict=False):
        recall = np.mean(
            [_recall_at_roc_points(recordings.infarction, odds) for odds in _mean_log_odds(recordings, outcome)], axis=0
        )
        area = 100 * rival["per_recording"]["auroc"]["value"]
        axes.plot(ROC_POINTS, recall, color=colour, linestyle=line, label=f"{outcome.name}, area {area:.1f} %")
    axes.set(title="Infarction or normal, per recording", xlabel="1 - specificity", ylabel="recall", aspect="equal")
    axes.legend(loc="lower right")
    return picture


def _recall_at_roc_points(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the recall at each share of false alarms in ROC_POINTS."""
    order = np.argsort(-scores, kind="stable")
    hits, false_alarms = np.cumsum(labels[order] == 1), np.cumsum(labels[order] == 0)
    recall: NDArray[np.float64] = np.interp(
        ROC_POINTS, np.r_[0, false_alarms / false_alarms[-1]], np.r_[0, hits / hits[-1]]
    )
    return recall


def _save_transfer_head(
    folder: Path, net: BeatNet, recordings: InfarctionRecordings, outcome: RivalOutcome, report: dict[str, Any]
) -> None:
    """Write the head of the first fold with its card: the net below it, its choice, and figures of all folds."""
    sides = next(infarction_transfer.iterate_folds(infarction_transfer.assign_blocks(recordings)))
    choice = outcome.chosen[0]
    features = infarction_transfer.embed_last_blocks(net, recordings.beats)
    head, _ = infarction_transfer.train_head(features, recordings, choice, sides, infarction_transfer.SEEDS[0])
    card = {
        "name": "infarction",
        "classes": infarction_transfer.INFARCTION_CLASSES,
        "on": report["weights"] | choice,
        "training": {"command": report["command"], "seed": infarction_transfer.SEEDS[0], "fold": 0},
        "metrics": {"five folds": {unit: report["rivals"][0][unit] for unit in ("per_recording", "per_beat")}},
    }
    tensors = {key: value.contiguous() for key, value in head.state_dict().items()}
    try:
        with write_atomically(folder / "head.safetensors") as partial:
            save_file(tensors, partial, {"ecg-agent": json.dumps(card)})
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"cannot write to run folder {folder}: {error}; choose another (--run)") from error
