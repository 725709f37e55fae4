"""Judge the alarms of bedside monitors with ours, as the PhysioNet/CinC Challenge 2015 asks: is that alarm true?

    ALARMS ─► records at 125 Hz ─► pipeline ─► our alarms before 5:00 ─► confirmed or not ─► TP, FP, FN, TN ─► score

A folder of the challenge holds strips of five minutes and more, at 5:00 of which a bedside monitor gave an alarm, and a
list `ALARMS` with a line "record,kind,1" for a true alarm or "record,kind,0" for a false one. We confirm an alarm if
one of ours that means the same stands at any time in the ten seconds before it, and was announced by then. Nothing
after 5:00 counts. `docs/alarm-evaluation.md` says which of our conditions confirm which kind.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.cluster.open_hands import configure_place
from agent.core.config import Config
from agent.core.messages import Alarm, AlarmCondition
from agent.evaluation.alarm_scoring import final_alarms
from agent.evaluation.beat_evaluation import make_output_folder
from agent.evaluation.record_analysis import analyse_alarms, load_configured_classifier
from agent.evaluation.record_selection import EvaluationCost, EvaluationOptions, SkippedRecord
from model.errors import EcgError, RecordError
from model.records.resample import FS
from model.records.wfdb_records import Record, open_record
from model.scoring.bootstrap import BOOTSTRAP_DRAWS, percentile_interval

LIST_NAME = "ALARMS"
"""The file of a folder that makes it one of the challenge."""
BEDSIDE_ALARM_S = 300.0
"""Where the bedside monitor gave its alarm."""
CONFIRMING_S = 10.0
"""An event begins at most so long before its alarm, by the definition of the challenge."""
MISSED_COST = 5
"""A true alarm that is not confirmed costs as much as this many false ones that are."""
OUTCOMES = ("TP", "FP", "FN", "TN")
MOST_LIST_BYTES = 2**20
CONFIRMING_CONDITIONS: dict[str, tuple[AlarmCondition, ...]] = {
    "Asystole": ("asystole",),
    "Bradycardia": ("extreme bradycardia", "asystole"),
    "Tachycardia": ("extreme tachycardia", "ventricular tachycardia", "ventricular fibrillation"),
    "Ventricular_Tachycardia": ("ventricular tachycardia", "ventricular fibrillation"),
    "Ventricular_Flutter_Fib": ("ventricular fibrillation",),
}
"""Our conditions that confirm each kind of alarm: the same one, and those that hide it as the worse of its chain."""


@dataclass(frozen=True, slots=True)
class BedsideAlarm:
    """An alarm of a bedside monitor: the strip, a kind of CONFIRMING_CONDITIONS, and whether experts call it true."""

    record: str
    kind: str
    true: bool


@dataclass(frozen=True, slots=True)
class JudgedAlarm:
    """An alarm of a bedside monitor, and our alarm that confirms it, None if none does."""

    bedside: BedsideAlarm
    ours: Alarm | None

    @property
    def outcome(self) -> str:
        """TP, FP, FN or TN."""
        right = self.bedside.true == (self.ours is not None)
        return f"{'T' if right else 'F'}{'N' if self.ours is None else 'P'}"


@dataclass(frozen=True, slots=True)
class ChallengeEvaluation:
    """The results of an evaluation, in the order of the list; `false_weight` is the weight of a false bedside alarm."""

    judged: tuple[JudgedAlarm, ...]
    skipped: tuple[SkippedRecord, ...]
    false_weight: float
    cost: EvaluationCost
    weights: str


def is_challenge_folder(folder: Path | None) -> bool:
    """Whether a folder holds strips of the challenge with their list."""
    return folder is not None and (folder / LIST_NAME).is_file()


def read_alarm_list(path: Path) -> list[BedsideAlarm]:
    """Read a list of bedside alarms. Raises RecordError, which names the line, if it is not one."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_LIST_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is no text: give a list with lines such as a103l,Asystole,0") from error
    if len(data) > MOST_LIST_BYTES:
        raise RecordError(f"{path} is over {MOST_LIST_BYTES // 2**20} MB: a list has a line for each strip")
    found: dict[str, BedsideAlarm] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            alarm = _parse_alarm_line(line, f"{path}, line {number}")
            if alarm.record in found:
                raise RecordError(f"{path}, line {number}: {alarm.record} is in the list twice")
            found[alarm.record] = alarm
    if not found:
        raise RecordError(f"{path} is empty: give a list with lines such as a103l,Asystole,0")
    return list(found.values())


def _parse_alarm_line(line: str, place: str) -> BedsideAlarm:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 3 or parts[2] not in ("0", "1"):
        raise RecordError(f"{place}: {line.strip()!r} is not record,kind,1 or record,kind,0")
    record, kind, true = parts
    if kind not in CONFIRMING_CONDITIONS:
        raise RecordError(f"{place}: no kind {kind!r}: it must be one of {', '.join(CONFIRMING_CONDITIONS)}")
    if not record or Path(record).name != record:
        raise RecordError(f"{place}: {record!r} is no name of a record in this folder")
    return BedsideAlarm(record, kind, true == "1")


def find_confirming_alarm(alarms: Iterable[Alarm], kind: str) -> Alarm | None:
    """Return the first of our alarms, in their final state, that confirms a bedside alarm of a kind at 5:00."""
    at, since = round(BEDSIDE_ALARM_S * FS), round((BEDSIDE_ALARM_S - CONFIRMING_S) * FS)
    return next(
        (
            alarm
            for alarm in alarms
            if alarm.condition in CONFIRMING_CONDITIONS[kind]
            and alarm.announced <= at
            and (alarm.ended is None or alarm.ended > since)
        ),
        None,
    )


def evaluate_challenge(
    config: Config, options: EvaluationOptions, on_progress: Callable[[float, float], object]
) -> ChallengeEvaluation:
    """Judge the bedside alarms of a folder of the challenge.

    Parameters
    ----------
    config : Config
        Settings of the pipeline and its alarms, as for the monitor.
    options : EvaluationOptions
        The folder, and the weight of its false alarms.
    on_progress : callable
        Called with the seconds of ECG done and the seconds in all.

    Raises
    ------
    RecordError
        If the list cannot be read, or not a single strip of it can be evaluated.
    """
    started = time.perf_counter()
    config = configure_place(config, options.place)
    assert options.folder is not None
    listed = read_alarm_list(options.folder / LIST_NAME)
    ready, skipped = _open_strips(options.folder, listed)
    judged: list[JudgedAlarm] = []
    cpu_s = 0.0
    weights = config.monitor.weights
    if ready:
        weights = load_configured_classifier(config).weights
        make_output_folder(options.out)
        records = [record for _, record in ready]
        analysed = analyse_alarms(records, config, options.place, options.out, on_progress)
        for (bedside, record), (output, record_cpu_s) in zip(ready, analysed, strict=True):
            cpu_s += record_cpu_s
            if output.failed:
                skipped.append(SkippedRecord(record.name, output.failed))
            else:
                judged.append(JudgedAlarm(bedside, find_confirming_alarm(final_alarms(output.alarms), bedside.kind)))
    if not judged:
        raise RecordError(f"none of {len(listed)} strips could be evaluated: {skipped[0].reason}")
    cost = EvaluationCost(sum(record.length / record.fs for _, record in ready), cpu_s, time.perf_counter() - started)
    skipped.sort(key=lambda record: record.record)
    return ChallengeEvaluation(tuple(judged), tuple(skipped), options.false_weight, cost, weights)


def _open_strips(
    folder: Path, listed: Sequence[BedsideAlarm]
) -> tuple[list[tuple[BedsideAlarm, Record]], list[SkippedRecord]]:
    """Return the strips that reach up to their alarm, and the reasons why the others cannot be evaluated."""
    ready: list[tuple[BedsideAlarm, Record]] = []
    skipped: list[SkippedRecord] = []
    for bedside in listed:
        try:
            record = open_record(str(folder / bedside.record))
            if record.length < BEDSIDE_ALARM_S * record.fs:
                raise RecordError(f"{record.length / record.fs:.0f} s long: the bedside alarm is at 5:00")
            ready.append((bedside, record))
        except EcgError as error:
            skipped.append(SkippedRecord(bedside.record, str(error)))
    return ready, skipped


def count_outcomes(judged: Iterable[JudgedAlarm]) -> dict[str, int]:
    """Return how many alarms are TP, FP, FN and TN."""
    outcomes = [alarm.outcome for alarm in judged]
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def challenge_score(counts: dict[str, int], false_weight: float) -> float:
    """Return the score of the challenge in percent, 100 (TP + TN) / (TP + TN + FP + 5 FN).

    False bedside alarms, FP and TN, count `false_weight` times: more than once if some of them were left out of a set.
    """
    false_positive, true_negative = false_weight * counts["FP"], false_weight * counts["TN"]
    right = counts["TP"] + true_negative
    return 100 * right / (right + false_positive + MISSED_COST * counts["FN"])


def bootstrap_score_interval(judged: Sequence[JudgedAlarm], false_weight: float, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the score by the percentile bootstrap over strips."""
    places = np.array([OUTCOMES.index(alarm.outcome) for alarm in judged])
    random = np.random.default_rng(seed)
    drawn = places[random.integers(len(places), size=(BOOTSTRAP_DRAWS, len(places)))]
    counts = [dict(zip(OUTCOMES, np.bincount(row, minlength=len(OUTCOMES)).tolist(), strict=True)) for row in drawn]
    return percentile_interval(np.array([challenge_score(drawn_counts, false_weight) for drawn_counts in counts]))
