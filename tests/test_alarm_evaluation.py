import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray

from agent.cluster.open_hands import WorkPlace
from agent.core.alarm_settings import extreme_rate_limits
from agent.core.config import Config, override_config
from agent.core.messages import Alarm, AlarmCondition, FloatArray, Priority
from agent.evaluation import record_analysis
from agent.evaluation.alarm_scoring import (
    ScoredAlarm,
    alarm_delays,
    annotate_alarms,
    final_alarms,
    reference_events,
    reference_noise,
    score_alarms,
)
from agent.evaluation.evaluate_command import show_alarm_evaluation
from agent.evaluation.record_analysis import PipelineOutput, analyse_records
from agent.evaluation.record_selection import EvaluationOptions
from model.errors import ConfigError, RecordError
from model.records.annotations import AnnotationFile, encode_annotations, read_annotations
from model.records.resample import FS
from model.records.wfdb_records import Record, open_record, read_record_samples
from model.scoring.episode_scores import EpisodeSpan

SECONDS = 400
RATE = 250.0
LENGTH = round(SECONDS * RATE)
HIGH: tuple[AlarmCondition, ...] = (
    "asystole",
    "ventricular fibrillation",
    "ventricular tachycardia",
    "extreme tachycardia",
    "extreme bradycardia",
)


def alarm(
    condition: AlarmCondition,
    onset: float,
    announced: float,
    ended: float | None = None,
    bed: str = "a",
    text: str = "why",
) -> Alarm:
    """An alarm at seconds."""
    priority: Priority = "high" if condition in HIGH else "medium"
    over = None if ended is None else round(ended * FS)
    return Alarm(bed, "run", condition, priority, text, round(onset * FS), round(announced * FS), 0.0, True, over)


def notes(*entries: tuple[float, str], fs: float = RATE) -> AnnotationFile:
    """Annotations at seconds: rhythm labels in full, others by their symbol."""
    ordered = sorted(entries, key=lambda entry: entry[0])
    return AnnotationFile(
        tuple(round(at * fs) for at, _ in ordered),
        tuple("+" if text.startswith("(") else text for _, text in ordered),
        (0,) * len(ordered),
        tuple(text if text.startswith("(") else "" for _, text in ordered),
    )


def beats(symbols: str, rr_s: float, start: float = 1.0) -> list[tuple[float, str]]:
    return [(start + rr_s * i, symbol) for i, symbol in enumerate(symbols)]


def verdicts(judged: Sequence[ScoredAlarm]) -> list[str]:
    return [one.verdict for one in judged]


def seconds(spans: Sequence[EpisodeSpan] | None) -> list[tuple[float, float]]:
    assert spans is not None
    return [(round(start / FS, 1), round(end / FS, 1)) for start, end in spans]


def test_the_last_state_of_an_alarm_counts() -> None:
    """An alarm is reported at each change, and counts once, in its last state."""
    first = alarm("asystole", 10, 14)
    other = alarm("asystole", 30, 34)
    assert final_alarms([first, other, replace(first, ended=2500)]) == [replace(first, ended=2500), other]


def test_annotations_are_read_back(tmp_path: Path) -> None:
    """Rhythms, the most urgent first, marks around fibrillation, and a comment at each announcement."""
    alarms = [
        alarm("atrial fibrillation", 50, 110),
        alarm("ventricular fibrillation", 200, 203, 220),
        alarm("ventricular tachycardia", 190, 192, 210, text="V beats — in a row"),
        alarm("heart rate high", 300, 301, 310),
    ]
    made = annotate_alarms(alarms, RATE, LENGTH)
    (tmp_path / "a.alm").write_bytes(encode_annotations(made))
    back = read_annotations(tmp_path, "a", "alm", RATE)
    assert (back.samples, back.symbols, back.texts, back.definitions) == (made.samples, made.symbols, made.texts, 0)
    read = wfdb.rdann(str(tmp_path / "a"), "alm")
    found = list(zip((read.sample / RATE).tolist(), read.symbol, read.aux_note, strict=True))
    rhythms = [(at, text) for at, symbol, text in found if symbol == "+"]
    assert rhythms == [(0, "(N"), (50, "(AFIB"), (190, "(VT"), (200, "(VF"), (220, "(AFIB")]
    assert [(at, symbol) for at, symbol, _ in found if symbol in "[]"] == [(200, "["), (220, "]")]
    comments = [(at, text) for at, symbol, text in found if symbol == '"']
    assert comments[1] == (192, "high: ventricular tachycardia, V beats ? in a row")
    assert [at for at, _ in comments] == [110, 192, 203, 301]


def test_no_alarms_are_sinus_rhythm() -> None:
    """Without alarms there is one label, and no gap in the file."""
    assert annotate_alarms([], RATE, LENGTH).texts == ("(N",)


def test_the_rules_applied_to_reference_beats(settings: Config) -> None:
    """Tachycardia of five V beats, fast enough; silence; rates, each where the beats have it."""
    reference = notes(
        *beats("N" * 30, 0.8),
        *beats("VVVVN", 0.5, 25.0),
        *beats("VVVVVVN", 0.5, 40.0),
        *beats("VVVVVVVN", 0.7, 50.0),
        *beats("N" * 40, 0.35, 60.0),
        *beats("N" * 20, 1.8, 80.0),
        (130.0, "N"),
    )
    found = reference_events(reference, RATE, LENGTH, settings)
    assert seconds(found["ventricular tachycardia"]) == [(40.0, 42.5)]
    assert (114.2, 130.0) in seconds(found["asystole"])
    assert seconds(found["asystole"])[-1] == (130.0, 400.0)
    fast, slow = (seconds(found[name]) for name in ("extreme tachycardia", "extreme bradycardia"))
    assert [end for _, end in fast] == [pytest.approx(73.7, abs=0.1)]
    assert 60 < fast[0][0] < 66
    assert any(80 < start < 90 and end > 114 for start, end in slow)


def test_fibrillation_is_no_silence_and_no_slow_heart(settings: Config) -> None:
    """Between `[` and `]` there are no beats, yet neither asystole nor a rate counts there."""
    reference = notes(*beats("N" * 50, 0.8), (41.0, "["), (60.0, "]"), *beats("N" * 424, 0.8, 60.5))
    found = reference_events(reference, RATE, LENGTH, settings)
    assert seconds(found["ventricular fibrillation"]) == [(41.0, 60.0)]
    assert found["asystole"] == found["extreme bradycardia"] == []


def test_a_reference_without_beats_knows_no_rates(settings: Config) -> None:
    """Of rhythm labels alone tachycardia, fibrillation and asystole are known, rates are not."""
    reference = notes((0, "(N"), (20, "(VT"), (40, "(VFL"), (60, "(ASYS"), (80, "(NOISE"), (100, "(N"))
    found = reference_events(reference, RATE, LENGTH, settings)
    assert seconds(found["ventricular tachycardia"]) == [(20, 40)]
    assert seconds(found["ventricular fibrillation"]) == [(40, 60)]
    assert seconds(found["asystole"]) == [(60, 80)]
    assert found["extreme tachycardia"] is found["extreme bradycardia"] is None
    assert seconds(reference_noise(reference, RATE, LENGTH)) == [(80, 100)]


def test_extremes_are_those_of_the_alarms(settings: Config) -> None:
    """Far beyond the limits, yet no farther than the outermost rates."""
    assert extreme_rate_limits(settings.alarms) == (140, 40)
    assert extreme_rate_limits(override_config(settings, "alarms", rate_high_bpm=190.0, rate_low_bpm=35.0).alarms) == (
        200,
        30,
    )
    assert extreme_rate_limits(override_config(settings, "alarms", rate_high_bpm=220.0, rate_low_bpm=25.0).alarms) == (
        220,
        25,
    )


def test_verdicts() -> None:
    """True within ten seconds, other where another lethal rhythm was, unknown where nobody knows, and else false."""
    there: dict[AlarmCondition, list[EpisodeSpan] | None] = {
        "ventricular tachycardia": [EpisodeSpan(100 * FS, 110 * FS)],
        "ventricular fibrillation": [EpisodeSpan(200 * FS, 260 * FS)],
        "asystole": [],
        "extreme tachycardia": None,
    }
    alarms = [
        alarm("ventricular tachycardia", 101, 104),
        alarm("ventricular tachycardia", 119, 121),
        alarm("ventricular tachycardia", 121, 123),
        alarm("ventricular tachycardia", 88, 89),
        alarm("ventricular tachycardia", 91, 91),
        alarm("ventricular tachycardia", 230, 233),
        alarm("extreme tachycardia", 230, 231),
        alarm("extreme tachycardia", 300, 301),
        alarm("asystole", 300, 304),
        alarm("heart rate high", 300, 301),
    ]
    judged = score_alarms(alarms, there, [EpisodeSpan(305 * FS, 320 * FS)])
    assert verdicts(judged) == ["true", "true", "false", "false", "true", "other", "other", "unknown", "false"]
    assert [one.noise for one in judged] == [False] * 7 + [True, True]


def test_a_long_alarm_is_no_more_true_than_a_short_one() -> None:
    """What comes to be long after the announcement does not make an alarm true."""
    there: dict[AlarmCondition, list[EpisodeSpan] | None] = {
        "ventricular tachycardia": [EpisodeSpan(200 * FS, 210 * FS)]
    }
    assert verdicts(score_alarms([alarm("ventricular tachycardia", 100, 103)], there)) == ["false"]


def test_delays() -> None:
    """From the onset in the reference to the first alarm that stands in the event; none for one that is over."""
    there = [EpisodeSpan(100 * FS, 110 * FS), EpisodeSpan(150 * FS, 155 * FS), EpisodeSpan(180 * FS, 200 * FS)]
    alarms = [
        alarm("asystole", 99, 104, 120),
        alarm("asystole", 104, 108, 120),
        alarm("asystole", 140, 144, 150),
        alarm("ventricular tachycardia", 151, 152, 160),
        alarm("asystole", 170, 172, None),
    ]
    assert alarm_delays(alarms, "asystole", there) == [4.0, None, -8.0]


class PreparedOutputs:
    """Stands in for the pipeline: returns outputs that were prepared for each record."""

    def __init__(self, outputs: dict[str, PipelineOutput]) -> None:
        self.outputs = outputs

    def __call__(self, records: Sequence[Record], *_: object) -> tuple[dict[str, PipelineOutput], float]:
        return {record.name: self.outputs.get(record.name, PipelineOutput()) for record in records}, 0.0


def store(folder: Path, name: str, reference: AnnotationFile) -> None:
    """A flat record with reference annotations."""
    x = np.zeros((LENGTH, 1))
    wfdb.wrsamp(name, RATE, ["mV"], ["II"], x, fmt=["16"], adc_gain=[200.0], baseline=[0], write_dir=str(folder))
    (folder / f"{name}.atr").write_bytes(encode_annotations(reference))


def shown(own: Config, folder: Path, subset: str, out: Path, start_s: float, as_json: bool = False) -> None:
    """Evaluate the alarms of a folder, and print what a person sees."""
    asked = EvaluationOptions(folder, subset, False, "atr", "ecg", out, start_s, None, 0.15, False, WorkPlace(1))
    show_alarm_evaluation(own, asked, as_json)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two records with prepared alarms: fibrillation found late, and false tachycardia in noise and without noise."""
    store(tmp_path, "a", notes((0, "(N"), (100, "(VFL"), (140, "(N"), (200, "(NOISE"), (260, "(N")))
    store(tmp_path, "b", notes((0, "(AFIB"), *beats("N" * 498, 0.8)))
    told = {
        "a": [
            alarm("ventricular fibrillation", 101, 106),
            alarm("ventricular fibrillation", 101, 106, 150),
            alarm("ventricular tachycardia", 220, 223, 230),
            alarm("ventricular tachycardia", 300, 303, 310),
        ],
        "b": [alarm("atrial fibrillation", 10, 70, None, "b")],
    }
    monkeypatch.setattr(
        record_analysis,
        "analyse_records",
        PreparedOutputs({name: PipelineOutput(alarms=list(alarms)) for name, alarms in told.items()}),
    )
    return tmp_path


@pytest.fixture
def own(settings: Config) -> Config:
    return override_config(settings, "monitor", device="cpu")


def test_report(folder: Path, own: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of two records, as JSON and on disk."""
    shown(own, folder, "all", folder / "out", 0.0, as_json=True)
    made = json.loads(capsys.readouterr().out)
    assert made == json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    gross = made["gross"]
    vf, vt, af = (gross["episodes"][name] for name in ("VF", "VT", "AF"))
    assert (vf["found"], vf["false"], vf["found_s"], vf["test_s"]) == (1, 0, 39, 49)
    assert (vt["true"], vt["false"], vt["false_per_hour"]) == (0, 2, pytest.approx(2 / (800 / 3600)))
    assert gross["episodes_without_noise"]["VT"]["false"] == 1
    assert af["statistics"]["duration_se"] == pytest.approx(97.5)
    assert gross["high"]["all"] == {"true": 1, "other": 0, "false": 2, "unknown": 0}
    assert gross["high"]["false_per_hour"] == pytest.approx(9)
    assert gross["high"]["false_without_noise"] == 1
    assert gross["high"]["false_without_noise_per_hour"] == pytest.approx(3600 / 740)
    late = gross["delays"]["ventricular fibrillation"]
    assert late == {"events": 1, "alarmed": 1, "stood": 0, "median_s": 6.0, "max_s": 6.0}
    assert gross["delays"]["atrial fibrillation"]["median_s"] == 70
    assert (folder / "out" / "a.alm").exists()


def test_the_learning_period_does_not_count(folder: Path, own: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """What was announced, or began, before the start is in no count."""
    shown(own, folder, "all", folder / "out", 250.0, as_json=True)
    made = json.loads(capsys.readouterr().out)
    assert made["gross"]["high"]["all"]["false"] == 1
    assert made["gross"]["delays"] == {}
    assert made["hours"] == pytest.approx(300 / 3600)


def test_tables(folder: Path, own: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables name records, verdicts, and each false alarm with its reason."""
    shown(own, folder, "all", folder / "out", 0.0)
    said = capsys.readouterr().out
    assert "2 records, 0.22 h scored from 0:00 on, weights live" in said
    assert "alarms of high priority: 2 false, 9.00 an hour" in said
    assert "outside noise, 0.21 h: 1 false, 4.86 an hour" in said
    assert "why, in noise" in said
    assert "5:00.0" in said


def test_records_that_cannot_be_used_are_named(
    folder: Path, own: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without annotations, or refused by the ward, a record is skipped with the reason; if none is left it fails."""
    (folder / "a.atr").unlink()
    shown(own, folder, "all", folder / "out", 0.0, as_json=True)
    made = json.loads(capsys.readouterr().out)
    assert [one["record"] for one in made["skipped"]] == ["a"]
    monkeypatch.setattr(
        record_analysis, "analyse_records", PreparedOutputs({"b": PipelineOutput(failed="no lead in volts")})
    )
    with pytest.raises(RecordError, match="none of 2 records could be evaluated"):
        shown(own, folder, "all", folder / "out", 0.0)
    with pytest.raises(ConfigError, match="no set"):
        shown(own, folder, "no such", folder / "out", 0.0)
    with pytest.raises(RecordError, match="no folder"):
        shown(own, folder / "nowhere", "all", folder / "out", 0.0)


def test_options_of_beats_are_refused(folder: Path, own: Config) -> None:
    """What only makes sense for beats is not left out without a word."""
    asked = EvaluationOptions(folder, "all", False, "atr", "ecg", folder / "out", 0.0, None, 0.15, False, WorkPlace(1))
    for wrong in (replace(asked, score_only=True), replace(asked, mismatches=True)):
        with pytest.raises(ConfigError, match="--score-only and --mismatches"):
            show_alarm_evaluation(own, wrong, as_json=False)


class Flat:
    """A classifier in context that calls every beat N."""

    in_context = True

    def __call__(self, x: FloatArray) -> FloatArray:
        scores = np.full((len(x), 6), -10, np.float32)
        scores[:, 0] = -0.001
        return scores


def test_a_ward_is_heard(tmp_path: Path, own: Config) -> None:
    """A record whose heart stops: the ward's own alarm says so, in time and until the end."""
    x = np.concatenate([open_signal("100", 40.0), np.zeros(round(20 * RATE))])[:, None]
    wfdb.wrsamp("s", RATE, ["mV"], ["II"], x, fmt=["16"], adc_gain=[200.0], baseline=[0], write_dir=str(tmp_path))
    outputs, _ = analyse_records([open_record(str(tmp_path / "s"))], own, Flat(), lambda _seconds: None)
    told = [one for one in final_alarms(outputs["s"].alarms) if one.condition in ("asystole", "lead off")]
    assert told
    assert 38 * FS < min(one.announced for one in told) < 50 * FS


def open_signal(name: str, seconds: float) -> NDArray[np.float64]:
    """The start of an embedded record's first lead at RATE."""
    record = open_record(name)
    x = read_record_samples(record, 0, round(seconds * record.fs))[:, 0].astype(np.float64)
    resampled: NDArray[np.float64] = np.interp(np.arange(0, seconds, 1 / RATE), np.arange(len(x)) / record.fs, x)
    return resampled
