"""Recorded strips for the training of the waveform classifier: each database with what its annotations exclude.

A source is named after its database and record ("vfdb/419"), or its block of short strips ("cinc2017/7"): strips of one
source are held out together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from model.beats.dataset import DS1
from model.errors import RecordError
from model.records.resample import FS, resample_signal
from model.records.wfdb_records import RecordAnnotations, open_record, read_record_samples, read_reference
from model.waveform.labelled_windows import (
    ASYSTOLE_BIT,
    NOISE_BIT,
    ORGANISED_BIT,
    VF_BIT,
    VT_BIT,
    Array,
    LabelledStrip,
)

RHYTHM_BITS = {
    "VT": VT_BIT | VF_BIT,
    "VFL": VF_BIT,
    "VF": VF_BIT,
    "VFIB": VF_BIT,
    "ASYS": ASYSTOLE_BIT | NOISE_BIT | ORGANISED_BIT,
    "NOISE": NOISE_BIT | ORGANISED_BIT,
    "HGEA": ORGANISED_BIT | VT_BIT,
    "IVR": ORGANISED_BIT | VT_BIT,
    "VER": ORGANISED_BIT | VT_BIT,
}
"""The kinds that each annotated rhythm may be; any other rhythm is organised."""
CINC2017_BLOCK, CINC2015_BLOCK, LUDB_BLOCK = 100, 10, 10
"""Neighbouring strips that are held out together."""
NOISE_CLASS = "~"
"""The class of the strips of the Challenge 2017 that are too noisy to be read."""
ALARM_AT = 300 * FS
"""The sample of the bedside alarm in the strips of the Challenge 2015."""
ALARM_STRIP_SPAN = 30 * FS
"""Samples before a bedside alarm that its label holds for."""
MOTION_BITS = {"s": ORGANISED_BIT, "w": ORGANISED_BIT, "j": ORGANISED_BIT | NOISE_BIT}
"""What standing, walking and a single jump may be, by the last letter of a record."""
HIDDEN_FIBRILLATION = {"419": (577, 2100), "429": (0, 2100), "602": (1247, 1872)}
"""Seconds of records in which fibrillation may go on below what is marked as noise: that teaches nothing."""
UNMARKED_FIBRILLATION = {"419": ((1000, 1420),)}
"""Seconds that are marked as normal but show fibrillation and chest compressions in part."""


@dataclass(frozen=True, slots=True)
class WaveformFolders:
    """Folders of the databases beside the project. Only `vfdb` is needed; without another one it is left out."""

    vfdb: Path
    svdb: Path | None = None
    cinc2017: Path | None = None
    cinc2015: Path | None = None
    macecgdb: Path | None = None
    ludb: Path | None = None

    def named(self) -> dict[str, Path | None]:
        """Return the folder of each database by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def read_training_strips(folders: WaveformFolders) -> list[LabelledStrip]:
    """Read all labelled strips of the folders and of DS1. Raises RecordError if a folder has no records."""
    strips = [label_malignant_record(path, lead) for path in _find_headers(folders.vfdb, "vfdb") for lead in (0, 1)]
    strips += [label_arrhythmia_record(name, lead) for name in DS1 for lead in (0, 1)]
    if folders.svdb:
        paths = _find_headers(folders.svdb, "svdb")
        strips += [label_arrhythmia_record(str(path), lead, "svdb") for path in paths for lead in (0, 1)]
    if folders.cinc2017:
        strips += list(label_sensor_strips(folders.cinc2017))
    if folders.cinc2015:
        strips += [strip for path in _find_headers(folders.cinc2015, "cinc2015") for strip in label_alarm_strips(path)]
    if folders.macecgdb:
        strips += [strip for path in _find_headers(folders.macecgdb, "macecgdb") for strip in label_motion_strips(path)]
    if folders.ludb:
        strips += list(label_resting_strips(folders.ludb))
    return strips


def _find_headers(folder: Path, name: str) -> list[Path]:
    paths = sorted(path.with_suffix("") for path in folder.glob("*.hea"))
    if not paths:
        raise RecordError(f"no records in {folder}: give the folder of the database (--{name})")
    return paths


def read_strip_leads(path: Path) -> Array:
    """Read all leads (n, leads) mV of a record at 125 Hz, each less its median, with 0 where it has no value."""
    record = open_record(str(path))
    x = read_record_samples(record)
    middle = np.array([np.nanmedian(lead) if np.isfinite(lead).any() else 0.0 for lead in x.T])
    leads: Array = resample_signal(np.nan_to_num(x - middle), record.fs)
    return leads


@lru_cache(maxsize=128)
def read_annotated_leads(name: str) -> tuple[Array, RecordAnnotations, float]:
    """Read all leads (n, leads) mV of a record at 125 Hz, its annotations, and 125 Hz divided by its own rate."""
    record = open_record(name)
    return (
        np.nan_to_num(resample_signal(read_record_samples(record), record.fs)),
        read_reference(record),
        FS / record.fs,
    )


def label_malignant_record(path: Path, lead: int) -> LabelledStrip:
    """Label a lead of a record of the Malignant Ventricular Ectopy Database by its annotated rhythms."""
    x, annotations, scale = read_annotated_leads(str(path))
    allowed = np.zeros(len(x), np.uint8)
    since, until = HIDDEN_FIBRILLATION.get(path.name, (0, 0))
    for start, stop, kind in annotated_rhythms(annotations, scale, len(x)):
        hidden = kind == "NOISE" and since * FS <= start < until * FS
        allowed[start:stop] = 0 if hidden else RHYTHM_BITS.get(kind, ORGANISED_BIT)
    for second, last in UNMARKED_FIBRILLATION.get(path.name, ()):
        part = allowed[second * FS : last * FS]
        part[part == ORGANISED_BIT] = 0
    return LabelledStrip(f"vfdb/{path.name}", x[:, lead], allowed, path.name, lead)


def annotated_rhythms(annotations: RecordAnnotations, scale: float, samples: int) -> list[tuple[int, int, str]]:
    """Return the annotated rhythms as first sample, sample after the last, and name."""
    starts = [
        (round(sample * scale), text[1:])
        for sample, text in zip(annotations.samples.tolist(), annotations.texts, strict=True)
        if text.startswith("(")
    ]
    ends = [start for start, _ in starts[1:]] + [samples] * bool(starts)
    return [(start, end, kind) for (start, kind), end in zip(starts, ends, strict=True)]


def annotated_flutter(annotations: RecordAnnotations, scale: float) -> list[tuple[int, int]]:
    """Return the marked stretches of ventricular flutter as first sample and sample after the last."""
    marks = [
        round(sample * scale)
        for sample, symbol in zip(annotations.samples.tolist(), annotations.symbols, strict=True)
        if symbol in "[]"
    ]
    return list(zip(marks[::2], marks[1::2], strict=True))


def label_arrhythmia_record(name: str, lead: int, database: str = "mitdb") -> LabelledStrip:
    """Label a lead of a record with annotated beats: organised but for flutter, V runs and what is unclear."""
    x, annotations, scale = read_annotated_leads(name)
    allowed = np.full(len(x), ORGANISED_BIT, np.uint8)
    for start, stop, kind in annotated_rhythms(annotations, scale, len(x)):
        if kind in ("IVR", "VT", "HGEA"):
            allowed[start:stop] = 0
    for start, stop in annotated_vt_runs(annotations, scale):
        allowed[max(0, start - FS) : stop + FS] = 0
        allowed[start:stop] = VT_BIT
    for start, stop in annotated_flutter(annotations, scale):
        allowed[max(0, start - FS) : stop + FS] = 0
        allowed[start:stop] = VF_BIT
    return LabelledStrip(f"{database}/{Path(name).name}", x[:, lead % x.shape[1]], allowed, Path(name).name, lead)


def annotated_vt_runs(annotations: RecordAnnotations, scale: float, fewest: int = 3) -> list[tuple[int, int]]:
    """Return runs of at least `fewest` V beats at over 100 per minute, as first sample and sample after the last."""
    runs: list[tuple[int, int]] = []
    beats, classes = annotations.beats()
    run: list[float] = []
    for peak, kind in zip([*(beats * scale).tolist(), np.inf], [*classes, "N"], strict=True):
        if run and (kind != "V" or peak - run[-1] > 0.6 * FS):
            if len(run) >= fewest:
                runs.append((round(run[0] - 0.15 * FS), round(run[-1] + 0.25 * FS)))
            run = []
        if kind == "V":
            run.append(peak)
    return runs


@lru_cache(maxsize=128)
def cut_beat_shapes(name: str, lead: int, kind: str) -> tuple[Array, ...]:
    """Cut up to 40 beats of a class, each (n,) mV from 0.24 s before the R peak to 0.8 s after, less its median."""
    x, annotations, scale = read_annotated_leads(name)
    x = x[:, lead % x.shape[1]]
    beats, classes = annotations.beats()
    before, after = round(0.24 * FS), round(0.8 * FS)
    peaks = [round(beat * scale) for beat, label in zip(beats.tolist(), classes, strict=True) if label == kind]
    peaks = [peak for peak in peaks if before < peak < len(x) - after]
    beats_cut = [x[peak - before : peak + after] for peak in peaks[:: max(1, len(peaks) // 40)]]
    return tuple(beat - np.median(beat) for beat in beats_cut)


def label_sensor_strips(folder: Path) -> Iterator[LabelledStrip]:
    """Label the strips of a hand-held sensor (Challenge 2017): noise if that is their class, else organised."""
    for number, line in enumerate((folder / "REFERENCE.csv").read_text(encoding="ascii").split()):
        name, kind = line.split(",")
        x = read_strip_leads(folder / name)[:, 0]
        bits = NOISE_BIT if kind == NOISE_CLASS else ORGANISED_BIT
        allowed = np.full(len(x), bits, np.uint8)
        yield LabelledStrip(f"cinc2017/{number // CINC2017_BLOCK}", x, allowed, name)


@lru_cache(maxsize=1)
def read_alarm_truth(folder: Path) -> dict[str, tuple[str, bool]]:
    """Return the bedside alarm of each strip of the Challenge 2015, and whether it is true, by name and in order."""
    lines = [line.split(",") for line in (folder / "ALARMS").read_text(encoding="ascii").split()]
    return {name: (alarm, true == "1") for name, alarm, true in lines}


def name_alarm_block(folder: Path, name: str) -> str:
    """Return the source of a strip of the Challenge 2015: neighbours in the order of the list are one."""
    return f"cinc2015/{list(read_alarm_truth(folder)).index(name) // CINC2015_BLOCK}"


def label_alarm_strips(path: Path) -> list[LabelledStrip]:
    """Label the leads of an ICU strip by its alarm: of a false one organised or noise, of true bradycardia organised.

    Other true alarms say too little of when: their strips have no label, and only test. So do all alarms of VT and VF:
    taught that false ones show neither, the classifier misses VT of patients that it does not know.
    """
    alarm, true = read_alarm_truth(path.parent)[path.name]
    bits = ORGANISED_BIT if true else ORGANISED_BIT | NOISE_BIT
    if alarm.startswith("Ventricular") or (true and alarm != "Bradycardia"):
        bits = 0
    leads = read_strip_leads(path)
    allowed = np.zeros(len(leads), np.uint8)
    allowed[ALARM_AT - ALARM_STRIP_SPAN : ALARM_AT] = bits
    source = name_alarm_block(path.parent, path.name)
    return [LabelledStrip(source, x, allowed, path.name, lead) for lead, x in enumerate(leads.T)]


def label_motion_strips(path: Path) -> list[LabelledStrip]:
    """Label the leads of a record of the Motion Artifact Contaminated ECG Database by what the person does."""
    leads = read_strip_leads(path)
    allowed = np.full(len(leads), MOTION_BITS[path.name[-1]], np.uint8)
    return [LabelledStrip(f"macecgdb/{path.name}", x, allowed, path.name, lead) for lead, x in enumerate(leads.T)]


def label_resting_strips(folder: Path) -> Iterator[LabelledStrip]:
    """Label the resting recordings of the Lobachevsky University Database: all are organised."""
    with np.load(folder / "ludb_ii_v1_v5.npz") as file:
        signals, fs = file["signal_uv"] / 1000, float(file["fs_hz"])
    for number, signal in enumerate(signals):
        leads = resample_signal(signal - np.median(signal, axis=0), fs)
        for lead, x in enumerate(leads.T):
            allowed = np.full(len(x), ORGANISED_BIT, np.uint8)
            yield LabelledStrip(f"ludb/{number // LUDB_BLOCK}", x, allowed, str(number + 1), lead)
