"""Which records are evaluated: the options of an evaluation, and the records and references that they name."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.cluster.open_hands import WorkPlace
from model.beats.dataset import DS1, DS2, PACED_RECORDS
from model.errors import ConfigError, EcgError, RecordError
from model.records.annotations import AnnotationFile, encode_annotations, read_annotations, state_rate
from model.records.record_folders import list_folder_records, name_records
from model.records.resample import FS
from model.records.wfdb_records import DATABASE, Record, embedded_records, missing_end_notice, open_record
from model.scoring.beat_scores import ScoredSpan
from model.scoring.ec57 import build_scored_span

EMBEDDED_FOLDER = DATABASE / "mitdb"
LONGEST_UNMARKED_S = 10.0
"""An annotation file without an end mark is whole if its last annotation is this near to the end of the record."""
RECORD_SETS: dict[str, Callable[[str], bool]] = {
    "all": lambda _: True,
    "ds1": lambda name: name in DS1,
    "ds2": lambda name: name in DS2,
    "unpaced": lambda name: name not in PACED_RECORDS,
}
"""Whether a record is in a set, by its name."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to evaluate: the records in `folder` (None: the embedded ones) that are in `subset`; times in seconds.

    With `score_only` the folder holds annotation files of another detector, `*.annotator`, and nothing is analysed.
    `reference` is the extension of the reference annotations, `annotator` that of the files written to `out`.
    `mismatches` keeps a list of the beats that were missed, extra or of another class. `false_weight` is the weight of
    a false bedside alarm (`agent.evaluation.challenge_alarms`). `place`: where it is done.
    """

    folder: Path | None
    subset: str
    score_only: bool
    reference: str
    annotator: str
    out: Path
    start_s: float
    end_s: float | None
    window_s: float
    mismatches: bool
    place: WorkPlace
    false_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """A record that could not be evaluated, and the reason in one line."""

    record: str
    reason: str


@dataclass(frozen=True, slots=True)
class EvaluationCost:
    """Seconds of ECG analysed, CPU seconds of the pipeline for them, and seconds of wall-clock time in all."""

    ecg_s: float
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class RecordTask:
    """A record, its reference annotations, and the part of it that is scored."""

    record: Record
    reference: AnnotationFile
    part: ScoredSpan

    @property
    def seconds(self) -> float:
        """Length of the record."""
        return self.record.length / self.record.fs


def check_evaluation_options(options: EvaluationOptions) -> None:
    """Raise ConfigError if the options contradict each other."""
    if options.subset not in RECORD_SETS:
        raise ConfigError(
            f"no set {options.subset!r}: choose one of {', '.join(RECORD_SETS)} (--set), or give a folder"
        )
    build_scored_span(FS, 0, options.start_s, options.end_s, options.window_s)
    for extension in (options.reference, options.annotator):
        if not extension.isidentifier() or extension in ("hea", "dat"):
            raise ConfigError(f"{extension!r} is not a valid annotator: use letters and digits, such as ecg")
    if options.score_only and options.folder is None:
        raise ConfigError("name the folder of the annotation files: ecg-agent evaluate --score-only DIR")
    if options.annotator == options.reference and not options.score_only:
        raise ConfigError(f"{options.annotator!r} is the reference: choose another name for ours (--annotator)")


def record_names(options: EvaluationOptions) -> list[str]:
    """Return the paths of the records to evaluate, in order. Raises RecordError if there are none."""
    folder = options.folder
    if folder is None:
        paths = [EMBEDDED_FOLDER / name for name in embedded_records()]
    elif not folder.is_dir():
        raise RecordError(f"no folder {folder}: give one with WFDB records, or leave it out for the embedded ones")
    else:
        paths = list_folder_records(folder)
        if options.score_only:  # another detector comes as annotations without records
            paths = sorted(path.with_suffix("") for path in folder.glob(f"*.{options.annotator}") if path.is_file())
        if not paths:
            ending = options.annotator if options.score_only else "hea"
            raise RecordError(f"no file *.{ending} in {folder}: choose another folder")
        if options.score_only:
            embedded = set(embedded_records()) - {path.stem for path in folder.glob("*.hea")}
            paths = [EMBEDDED_FOLDER / path.name if path.name in embedded else path for path in paths]
    names = [str(path) for path in paths if RECORD_SETS[options.subset](path.name)]
    if not names:
        raise RecordError(f"no record of set {options.subset} in {folder}: choose another set (--set)")
    return names


def prepare_records(names: Sequence[str], options: EvaluationOptions) -> tuple[list[RecordTask], list[SkippedRecord]]:
    """Return the records that can be evaluated, and the reasons why the others cannot."""
    ready: list[RecordTask] = []
    skipped: list[SkippedRecord] = []
    for path, name in zip(names, name_records(list(map(Path, names)), options.folder or EMBEDDED_FOLDER), strict=True):
        try:
            ready.append(_prepare_record(path, name, options))
        except EcgError as error:
            skipped.append(SkippedRecord(name, str(error)))
    return ready, skipped


def encode_record_annotations(notes: AnnotationFile, record: Record) -> bytes:
    """Return annotations at the rate of a record as a file, which states that rate where it is not that of frames."""
    return encode_annotations(notes if record.frame == 1 else state_rate(notes, record.fs))


def _prepare_record(path: str, name: str, options: EvaluationOptions) -> RecordTask:
    record = replace(open_record(path), name=name)
    if record.missing:
        print(f"ecg-agent: {missing_end_notice(record)}", file=sys.stderr)  # noqa: T201  # for the person
    reference = read_whole_annotations(record.path, record, options.reference)
    return RecordTask(
        record, reference, build_scored_span(record.fs, record.length, options.start_s, options.end_s, options.window_s)
    )


def read_whole_annotations(path: Path, record: Record, extension: str) -> AnnotationFile:
    """Read the annotations of a record from `path`, without ending. Raises RecordError if the file was cut short.

    A file that only lacks its end mark reaches nearly to the end of the record; its last annotation is left out.
    """
    notes = read_annotations(path.parent, path.name, extension, record.fs, record.fs / record.frame)
    last = notes.samples[-1] if notes.samples else 0
    if not notes.complete and last < record.length - LONGEST_UNMARKED_S * record.fs:
        raise RecordError(f"annotations {path}.{extension} are cut short: they have no end mark")
    return notes
