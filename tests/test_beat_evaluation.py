import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from signal import SIGINT

import numpy as np
import pytest
import wfdb
from conftest import all_found
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.analysis.beat_classifier import BeatClassifier
from agent.cluster.open_hands import WorkPlace
from agent.core.config import Config, override_config
from agent.core.messages import Beat
from agent.evaluation.beat_evaluation import PACED_BEAT, BeatEvaluation, annotate_beats, evaluate_beats
from agent.evaluation.record_analysis import EVALUATION_RUN, analyse_records
from agent.evaluation.record_selection import (
    EMBEDDED_FOLDER,
    RECORD_SETS,
    EvaluationOptions,
    SkippedRecord,
    check_evaluation_options,
    record_names,
)
from agent.pipeline.pipeline import Pipeline
from model.beats.dataset import PACED_RECORDS
from model.errors import ConfigError, EcgError, RecordError, RunError
from model.records.annotations import AnnotationFile, encode_annotations, read_annotations
from model.records.resample import FS
from model.records.wfdb_records import DATABASE, Record, embedded_records, open_record, read_record_samples
from model.scoring.score_tables import beat_lines
from simulator.record_replay import RecordReplay, ReplayPlan

EC57 = Path(__file__).parent / "data" / "ec57"
SECONDS = 40


@pytest.fixture
def own(settings: Config) -> Config:
    """Default settings on the CPU."""
    return override_config(settings, "monitor", device="cpu")


@pytest.fixture
def asked(tmp_path: Path) -> EvaluationOptions:
    return EvaluationOptions(
        tmp_path / "records", "all", False, "atr", "ecg", tmp_path / "out", 5.0, None, 0.15, False, WorkPlace(1)
    )


def quiet(*_: float) -> None:
    """Hears of the progress."""


def signal(name: str, seconds: float = SECONDS) -> NDArray[np.float64]:
    """The start of an embedded record: (n, 2) mV at 360 Hz."""
    return read_record_samples(open_record(name), 0, round(seconds * 360))


def store(folder: Path, name: str, x: NDArray[np.float64], fs: float = 360.0, unit: str = "mV") -> Record:
    """A WFDB record, NaN where it has no value."""
    folder.mkdir(exist_ok=True)
    leads = ["MLII", "V1"][: x.shape[1]]
    many = [unit] * len(leads), leads
    gains, zeros = [200.0] * len(leads), [0] * len(leads)
    wfdb.wrsamp(name, fs, *many, x, fmt=["16"] * len(leads), adc_gain=gains, baseline=zeros, write_dir=str(folder))
    return open_record(str(folder / name))


def annotate(folder: Path, name: str, source: str, seconds: float = SECONDS) -> None:
    """The reference annotations of the start of an embedded record, for a record made of it."""
    notes = read_annotations(DATABASE / "mitdb", source, "atr", 360.0)
    count = sum(sample < seconds * 360 for sample in notes.samples)
    columns = (notes.samples[:count], notes.symbols[:count], notes.subtypes[:count], notes.texts[:count])
    (folder / f"{name}.atr").write_bytes(encode_annotations(AnnotationFile(*columns)))


def pair(folder: Path, name: str = "a", source: str = "100") -> Record:
    """The start of an embedded record with its annotations."""
    record = store(folder, name, signal(source))
    annotate(folder, name, source)
    return record


def replayed(record: Record, ward: Pipeline) -> list[Beat]:
    """What a ward says of a replay by the simulator, as if its run were that of an evaluation."""
    plan = ReplayPlan(str(record.path), record.name, 0.0, None, False, None, 0.0, 0)
    beats = (item for item in all_found(ward, RecordReplay(plan, 400.0)) if isinstance(item, Beat))
    return [replace(beat, run=EVALUATION_RUN) for beat in beats]


def holed(folder: Path, name: str, source: str) -> Record:
    """A record with two stretches without values."""
    x = signal(source)
    x[3000:3500] = np.nan
    x[9000:9040] = np.nan
    return store(folder, name, x)


@pytest.mark.slow
def test_beats_are_those_of_a_replay(tmp_path: Path, own: Config, classifier: BeatClassifier) -> None:
    """A record gives, from its first beat to its last and to the last bit, what a monitor says of its replay."""
    record = store(tmp_path, "a", signal("208", 90.0))
    heard, _ = analyse_records([record], own, classifier, quiet)
    assert len(heard["a"].beats) > 140
    assert heard["a"].beats == replayed(record, Pipeline(own, classifier))


def test_stretches_without_values_are_gaps(tmp_path: Path, own: Config, classifier: BeatClassifier) -> None:
    """A record with holes gives what its replay gives, and no beats in them."""
    record = holed(tmp_path, "holed", "100")
    heard, _ = analyse_records([record], own, classifier, quiet)
    beats = heard["holed"].beats
    assert beats == replayed(record, Pipeline(own, classifier))
    assert not [beat for beat in beats if 3000 <= beat.sample * 360 / FS < 3500]
    assert [beat for beat in beats if beat.sample * 360 / FS > 9040]


@pytest.mark.parametrize("block_s", [0.3, 7.7, 1000.0])
@pytest.mark.slow
def test_beats_depend_on_neither_chunks_nor_company(
    block_s: float, tmp_path: Path, own: Config, classifier: BeatClassifier
) -> None:
    """Records alone or together, in pieces of any length, give the same beats at the same delays."""
    records = [holed(tmp_path, "a", "208"), store(tmp_path, "b", signal("119", 25.0)[:, :1]), pair(tmp_path, "c")]
    alone = {record.name: analyse_records([record], own, classifier, quiet)[0][record.name] for record in records}
    together, _ = analyse_records(records, own, classifier, quiet, block_s)
    assert min(len(one.beats) for one in alone.values()) > 20
    assert together == alone


def test_an_r_peak_is_decided_before_its_class(tmp_path: Path, own: Config, classifier: BeatClassifier) -> None:
    """Each beat's R peak has a deciding sample of its own, after the peak and not after the class."""
    heard, _ = analyse_records([pair(tmp_path)], own, classifier, quiet)
    found = heard["a"]
    assert len(found.beats) > 20
    assert all(beat.sample < beat.r_peak_known <= beat.class_known for beat in found.beats)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 70_000), st.sampled_from("NSVFQ~+"), st.integers(0, 255), st.text("ab(", max_size=5))
    )
)
def test_written_annotations_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[int, str, int, str]]
) -> None:
    """What is written is read back: far apart, at one sample, with subtypes and texts, or none at all."""
    folder = tmp_path_factory.mktemp("notes")
    steps, symbols, subtypes, texts = zip(*notes, strict=True) if notes else ((), (), (), ())
    samples = tuple(np.cumsum(steps, dtype=np.int64).tolist())
    (folder / "a.ecg").write_bytes(encode_annotations(AnnotationFile(samples, symbols, subtypes, texts)))
    back = read_annotations(folder, "a", "ecg", 360.0)
    assert (back.samples, back.symbols, back.subtypes, back.texts) == (samples, symbols, subtypes, texts)
    assert back.complete


def test_wfdb_reads_what_was_written(tmp_path: Path) -> None:
    """The WFDB package finds beats at the R peaks' samples in the record's own time base."""
    beats = [
        Beat("a", sample, sample, label, (), None, 0.0) for sample, label in ((125, "N"), (1000, "S"), (9001, "V"))
    ]
    (tmp_path / "a.ecg").write_bytes(encode_annotations(annotate_beats(beats, 360.0)))
    found = wfdb.rdann(str(tmp_path / "a"), "ecg")
    assert found.sample.tolist() == [360, 2880, 25923]
    assert found.symbol == ["N", "S", "V"]


def outcome(own: Config, asked: EvaluationOptions) -> BeatEvaluation:
    return evaluate_beats(own, asked, quiet)


def test_against_its_own_beats_all_is_perfect(own: Config, asked: EvaluationOptions) -> None:
    """With its own annotations as the reference, the pipeline finds all beats, at no error, with the right rates."""
    assert asked.folder is not None
    pair(asked.folder)
    outcome(own, replace(asked, out=asked.folder))
    found = outcome(own, replace(asked, reference="ecg", annotator="again", start_s=20.0)).evaluated[0]
    matrix = found.score.beats.matrix
    assert matrix.sum() == np.trace(matrix) > 15
    assert (found.errors_ms == 0).all()
    assert len(found.rates) == len(found.errors_ms)
    assert np.abs(found.rates[:, 0] - found.rates[:, 1]).max() < 0.2
    assert len(found.class_ms) == len(found.peak_ms) == len(found.errors_ms)
    assert found.peak_ms.max() < found.class_ms.max() < 2000


def test_a_missed_beat_shows_in_the_heart_rate(own: Config, asked: EvaluationOptions) -> None:
    """Where the reference has every other beat only, the shown rate is twice the true one."""
    assert asked.folder is not None
    pair(asked.folder)
    outcome(own, replace(asked, out=asked.folder))
    notes = read_annotations(asked.folder, "a", "ecg", 360.0)
    halved = AnnotationFile(notes.samples[::2], notes.symbols[::2], notes.subtypes[::2], notes.texts[::2])
    (asked.folder / "a.half").write_bytes(encode_annotations(halved))
    found = outcome(own, replace(asked, reference="half")).evaluated[0]
    assert len(found.rates) > 5
    np.testing.assert_allclose(found.rates[:, 0] / found.rates[:, 1], 2, rtol=0.1)


def reasons(skipped: tuple[SkippedRecord, ...]) -> dict[str, str]:
    return {one.record: one.reason for one in skipped}


def test_bad_records_are_skipped_and_the_rest_is_evaluated(own: Config, asked: EvaluationOptions) -> None:
    """Each unusable record is named with its reason; the others have the same figures as without it."""
    folder = asked.folder
    assert folder is not None
    pair(folder, "good")
    alone = outcome(own, asked)
    bad = ("cut", "half", "odd", "rate", "short", "silent", "unmarked")
    for name in bad:
        pair(folder, name)
    store(folder, "odd", signal("100"), unit="mmHg")
    header = folder / "rate.hea"
    header.write_text(header.read_text().replace(" 360 ", " 12.5 "))
    (folder / "cut.dat").write_bytes((folder / "cut.dat").read_bytes()[:3])
    (folder / "half.atr").write_bytes((folder / "half.atr").read_bytes()[:21])
    store(folder, "short", signal("100", 3.0))
    (folder / "silent.dat").unlink()
    (folder / "unmarked.atr").unlink()
    found = outcome(own, asked)
    assert [one.record for one in found.evaluated] == ["good"]
    assert (found.evaluated[0].score.beats.matrix == alone.evaluated[0].score.beats.matrix).all()
    told = reasons(found.skipped)
    assert tuple(told) == bad
    for name, words in {
        "cut": "cut",
        "half": "half.atr are cut short",
        "odd": "mmHg, not mV",
        "rate": "12.5 Hz makes no sense",
        "short": "nothing to score from 5 s to 3 s",
        "silent": "cannot read the signal",
        "unmarked": "unmarked.atr",
    }.items():
        assert words in told[name]
        assert "\n" not in told[name]


def test_records_in_subfolders(own: Config, asked: EvaluationOptions) -> None:
    """Records in subfolders that a list names are found; two of one file name have names of their own."""
    folder = asked.folder
    assert folder is not None
    folder.mkdir()
    for patient in ("p1", "p2"):
        pair(folder / patient, "s1")
    (folder / "RECORDS").write_text("p1/s1\np2/s1\np3/s1\n")
    found = outcome(own, asked)
    assert [one.record for one in found.evaluated] == ["p1-s1", "p2-s1"]
    assert [one.record for one in found.skipped] == ["p3-s1"]
    assert (asked.out / "p2-s1.ecg").is_file()


def test_annotations_without_an_end_mark(
    own: Config, asked: EvaluationOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reference that lacks its end mark alone is used without its last annotation; a short signal file is told of."""
    folder = asked.folder
    assert folder is not None
    pair(folder, "good")
    pair(folder, "unmarked")
    notes, data = folder / "unmarked.atr", folder / "unmarked.dat"
    notes.write_bytes(notes.read_bytes()[:-2])
    data.write_bytes(data.read_bytes()[:-720])
    good, unmarked = outcome(own, asked).evaluated
    assert unmarked.score.beats.matrix.sum() in (good.score.beats.matrix.sum() - 1, good.score.beats.matrix.sum())
    assert "unmarked ends 0.500 s before the length in its header" in capsys.readouterr().err


def test_one_lead_and_another_rate(own: Config, asked: EvaluationOptions) -> None:
    """A record with a single lead at 250 Hz is scored in its own time base."""
    assert asked.folder is not None
    x = signal("100")[:, :1]
    at = np.arange(SECONDS * 250) * 360 / 250
    store(asked.folder, "b", np.interp(at, np.arange(len(x)), x[:, 0])[:, None], fs=250.0)
    notes = read_annotations(DATABASE / "mitdb", "100", "atr", 360.0)
    samples = tuple(round(sample * 250 / 360) for sample in notes.samples if sample < SECONDS * 360)
    count = len(samples)
    known = AnnotationFile(samples, notes.symbols[:count], notes.subtypes[:count], notes.texts[:count])
    (asked.folder / "b.atr").write_bytes(encode_annotations(known))
    found = outcome(own, asked).evaluated[0]
    assert found.score.beats.ratios()["qrs_se"][0] > 30
    assert found.fs == 250
    assert np.abs(found.errors_ms).mean() < 8


def test_a_wanted_lead(own: Config, asked: EvaluationOptions) -> None:
    """The lead that is asked for is analysed; records without it are skipped."""
    assert asked.folder is not None
    pair(asked.folder)
    store(asked.folder, "b", signal("100")[:, :1])
    annotate(asked.folder, "b", "100")
    found = outcome(override_config(own, "monitor", lead="V1"), asked)
    assert [(one.record, one.lead) for one in found.evaluated] == [("a", "V1")]
    assert "no lead 'V1'" in reasons(found.skipped)["b"]


def test_nothing_to_evaluate_is_an_error(own: Config, asked: EvaluationOptions) -> None:
    """Where not one record can be evaluated there is one error with a reason."""
    assert asked.folder is not None
    store(asked.folder, "a", signal("100"))
    with pytest.raises(RecordError, match=r"none of 1 records .*/a\.atr"):
        outcome(own, asked)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"subset": "ds3"}, ConfigError, "all, ds1, ds2, unpaced"),
        ({"annotator": "atr"}, ConfigError, "is the reference"),
        ({"annotator": "../x"}, ConfigError, "is not a valid annotator"),
        ({"reference": "hea"}, ConfigError, "is not a valid annotator"),
        ({"start_s": 9.0, "end_s": 3.0}, ConfigError, "nothing to score from 9 s to 3 s"),
        ({"window_s": -1.0}, ConfigError, "window"),
        ({"folder": None, "score_only": True}, ConfigError, "--score-only DIR"),
        ({"folder": Path("nowhere")}, RecordError, "no folder nowhere"),
        ({"folder": EC57}, RecordError, "no file *.hea"),
        ({"folder": EC57 / "osea", "score_only": True, "annotator": "qrs"}, RecordError, "no file *.qrs"),
    ],
)
def test_options_that_make_no_sense(
    changes: dict[str, object], error: type[EcgError], words: str, own: Config, asked: EvaluationOptions
) -> None:
    """Wrong options are reported in one line, before anything is written."""
    with pytest.raises(error) as caught:
        outcome(own, replace(asked, **changes))  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert not asked.out.exists()


def test_a_folder_that_cannot_be_written(own: Config, asked: EvaluationOptions, tmp_path: Path) -> None:
    """Where the folder of the run cannot be made there is a RunError."""
    assert asked.folder is not None
    pair(asked.folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="--out"):
        outcome(own, replace(asked, out=tmp_path / "file" / "out"))


def test_sets_of_the_embedded_records(asked: EvaluationOptions) -> None:
    """The sets of the embedded records have 48, 22, 22 and 44, and those without pacemaker lack the paced ones."""
    inside = replace(asked, folder=None)
    names = {name: {Path(path).name for path in record_names(replace(inside, subset=name))} for name in RECORD_SETS}
    assert {name: len(found) for name, found in names.items()} == {"all": 48, "ds1": 22, "ds2": 22, "unpaced": 44}
    assert names["all"] - names["unpaced"] == set(PACED_RECORDS)
    assert names["ds1"] | names["ds2"] == names["unpaced"]
    check_evaluation_options(inside)


def test_paced_records_are_known_by_their_beats() -> None:
    """The embedded records with a paced beat are those that are left out by name."""
    paced = [
        name
        for name in embedded_records()
        if PACED_BEAT in read_annotations(EMBEDDED_FOLDER, name, "atr", 360.0).symbols
    ]
    assert tuple(paced) == PACED_RECORDS


@pytest.mark.parametrize(("kind", "extension"), [("osea", "osea"), ("perturbed", "pert")])
def test_annotations_of_others(kind: str, extension: str, own: Config, asked: EvaluationOptions) -> None:
    """Files of others are scored against the embedded reference as bxb does, and nothing is analysed."""
    of_others = replace(asked, folder=EC57 / kind, score_only=True, annotator=extension, start_s=300.0)
    heard: list[tuple[float, float]] = []
    found = evaluate_beats(own, of_others, lambda done, total: heard.append((done, total)))
    printed = (EC57 / kind / "bxb.txt").read_text(encoding="utf-8").splitlines()
    assert beat_lines([one.score for one in found.evaluated], sums=False) == printed
    assert heard[-1][0] == heard[-1][1] > 1800
    assert found.cost.cpu_s == found.cost.ecg_s == 0
    assert not any(len(one.class_ms) or len(one.peak_ms) or len(one.rates) for one in found.evaluated)
    assert list(asked.out.iterdir()) == []


def test_mismatches_show_the_signal(own: Config, asked: EvaluationOptions, tmp_path: Path) -> None:
    """Every mismatch has the signal around it, with no value before the record starts."""
    folder = tmp_path / "records"
    pair(folder)
    (folder / "a.none").write_bytes(encode_annotations(AnnotationFile((), (), (), ())))
    scored = replace(asked, score_only=True, annotator="none", start_s=0.0, mismatches=True)
    found = outcome(own, scored).evaluated[0]
    assert len(found.mismatches) == found.score.beats.total("NSVFQ", "OX") > 30
    x = signal("100")[:, 0]
    for missed in found.mismatches:
        assert (missed.true, missed.detected) in (("N", "O"), ("S", "O"))
        assert len(missed.wave) == 540
        assert missed.wave[216] == pytest.approx(x[missed.sample], abs=0.003)
    assert np.isnan(found.mismatches[0].wave[: 216 - found.mismatches[0].sample]).all()


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [1.5, 5.0])
def test_an_interrupt_ends_all_processes(tmp_path: Path, delay_s: float) -> None:
    """Ctrl-C, which reaches every process of a terminal, ends an evaluation in several of them, without words."""
    heeds = "from signal import *; signal(SIGINT, default_int_handler); from agent.__main__ import main; main()"
    options = ["evaluate", "--jobs", "2", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", heeds, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        time.sleep(delay_s)
        os.killpg(process.pid, SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == ""


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_processes_change_nothing(own: Config, asked: EvaluationOptions) -> None:
    """Two processes write the same annotations and find the same figures as one."""
    assert asked.folder is not None
    for name, source in (("a", "100"), ("b", "208"), ("c", "119")):
        pair(asked.folder, name, source)
    one = outcome(own, asked)
    two = outcome(own, replace(asked, place=WorkPlace(2), out=asked.out.with_name("two")))
    assert [found.record for found in two.evaluated] == ["a", "b", "c"]
    for a, b in zip(one.evaluated, two.evaluated, strict=True):
        written = [folder / f"{a.record}.ecg" for folder in (asked.out, asked.out.with_name("two"))]
        assert written[0].read_bytes() == written[1].read_bytes() != b"\0\0"
        assert (a.score.beats.matrix == b.score.beats.matrix).all()
        assert (a.rates == b.rates).all()
        assert (a.class_ms == b.class_ms).all()
