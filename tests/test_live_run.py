import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors
import torch
from support.swept import CommandHands
from typer.testing import CliRunner

from agent.cli.app import app
from agent.core import config as configuration
from agent.training import kept_candidates, live_run
from agent.training.candidates import UNSCORED_LABEL, LabelledCandidates, build_candidates
from agent.training.kept_candidates import CandidateSources, fingerprint_candidates
from agent.training.live_run import (
    LiveSources,
    count_candidates,
    settle_candidates,
    show_live_training,
    split_sides,
)
from agent.training.sweep_plan import read_sweep_plan
from agent.training.sweep_run import SweepRun
from agent.training.sweep_study import SweepStudy
from model.beats import dataset
from model.beats.cluster_smoothing import NO_BEAT
from model.beats.templates import INPUTS
from model.errors import DeviceError
from model.nets import checkpoint
from model.nets.context_net import ContextNet, build_context_net
from model.nets.net_size import CONTEXT_SIZE
from model.records.resample import FS
from model.records.wfdb_records import CLASSES, DATABASE
from model.training import model_card
from model.training.augmented_streams import (
    STREAM_VARIANTS,
    UNCHANGED_VARIANT,
    AugmentedStream,
    StreamVariant,
    build_augmented_stream,
)
from model.training.context_state import ContextState, TrainingPass
from model.training.context_training import predict_context_outcomes

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
DEFAULTS = configuration.load_config(None, {})
SIGNAL = DEFAULTS.signal
SETTINGS = replace(
    DEFAULTS,
    train=replace(DEFAULTS.train, device="cpu", threads=1, seed=4),
    live=replace(DEFAULTS.live, epochs=1, batch=64, kept_normal=1.0, normal=0.5, others=1.0),
)
VIEWS = (UNCHANGED_VARIANT, next(kind for kind in STREAM_VARIANTS if kind.name == "ectopy 1"))
SECONDS = 150
SWEEP = """
[sweep]
name = "rates"
trials = 2
objective = "macro F1"
folds = [1]
[space]
learning_rate = { low = 1e-3, high = 1e-2, log = true }
"""
Asked = list[tuple[str, StreamVariant, int]]
Ended = tuple[int, BaseException | None]
"""Exit code of a command and what it raised."""


@cache
def short(name: str, kind: StreamVariant = UNCHANGED_VARIANT, seed: int = 4) -> AugmentedStream:
    """The beginning of a view."""
    whole = build_augmented_stream(name, kind, seed)
    inside = int(np.searchsorted(whole.beats, SECONDS * FS))
    return replace(whole, x=whole.x[: SECONDS * FS], beats=whole.beats[:inside], labels=whole.labels[:inside])


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    """Makes training small: two short records a side, two views, one pass. Holds the streams that were asked for."""
    calls: Asked = []

    def made(name: str, kind: StreamVariant, seed: int, rhythms: Sequence[str] = ()) -> AugmentedStream:
        assert not rhythms
        calls.append((name, kind, seed))
        return short(name, kind, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_run, "build_augmented_stream", made)
        patch.setattr(live_run, "STREAM_VARIANTS", VIEWS)
        patch.setattr(live_run, "DS1", ("208", "119"))
        patch.setattr(live_run, "DS2", ("233", "200"))
        yield calls


@pytest.fixture(scope="module")
def finished(asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Asked]:
    """The folder of a whole run, and the streams it took."""
    folder = tmp_path_factory.mktemp("runs") / "new" / "live"
    asked.clear()
    show_live_training(SETTINGS, folder, "live", "ecg-agent train-live --seed 4", None)
    return folder, list(asked)


def weights(folder: Path) -> bytes:
    return b"".join(
        value.numpy().tobytes() for _, value in sorted(safetensors.torch.load_file(folder / "live.safetensors").items())
    )


def test_what_it_leaves(finished: tuple[Path, Asked]) -> None:
    """A checkpoint that the monitor loads, and a report that says what its card says."""
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == {"live.safetensors", "report.json", "run.lock"}
    net, found = checkpoint.load_checkpoint(folder / "live.safetensors", CPU)
    assert isinstance(net, ContextNet)
    assert (found.kind, found.name, found.size) == ("context", "live", CONTEXT_SIZE)
    assert torch.isfinite(net(torch.zeros(3, INPUTS))).all()
    report = json.loads((folder / "report.json").read_text())
    assert (report["training"], report["test"]) == (found.training, found.metrics)


def test_the_card_says_how_it_was_made(finished: tuple[Path, Asked]) -> None:
    """Command, seed, every setting of the recipe and the views, candidates by class, and hashes of both sides."""
    training = checkpoint.load_checkpoint(finished[0] / "live.safetensors", CPU)[1].training
    assert training["command"] == "ecg-agent train-live --seed 4"
    assert (training["seed"], training["fold"], training["device"], training["threads"]) == (4, None, "cpu", 1)
    assert (training["epochs"], training["batch"], training["normal"]) == (1, 64, 0.5)
    assert [view["name"] for view in training["views"]] == [kind.name for kind in VIEWS]
    assert list(training["train_beats"]) == list(training["test_beats"]) == [*CLASSES, "no beat"]
    assert training["train_beats"]["N"] > 500
    assert min(training["train_beats"]["S"], training["test_beats"]["V"]) > 0
    assert len({training["train_sha256"], training["test_sha256"]}) == 2
    assert all(len(training[key]) == 64 for key in ("train_sha256", "test_sha256"))


def test_the_hash_is_that_of_the_test_side(finished: tuple[Path, Asked]) -> None:
    """Who makes the test candidates again finds the same hash, and the same numbers by class."""
    training = checkpoint.load_checkpoint(finished[0] / "live.safetensors", CPU)[1].training
    test = build_candidates([short(name) for name in ("233", "200")], SIGNAL)
    assert dataset.digest_arrays(test.inputs, test.labels) == training["test_sha256"]
    assert count_candidates(test.labels) == training["test_beats"]


def test_sides(finished: tuple[Path, Asked]) -> None:
    """Every record of DS1 is heard in every view, and those of DS2 as they are: nothing else."""
    train = [(name, kind, 4) for kind in VIEWS for name in ("208", "119")]
    assert finished[1] == [*train, ("233", UNCHANGED_VARIANT, 4), ("200", UNCHANGED_VARIANT, 4)]


def test_a_fold_keeps_records_apart(asked: Asked, tmp_path: Path) -> None:
    """With a fold the test is on a fifth of DS1 as it is, DS2 is left alone, and no view of the fifth is learnt."""
    asked.clear()
    show_live_training(SETTINGS, tmp_path, "live", "", 1)
    assert asked == [*(("208", kind, 4) for kind in VIEWS), ("119", UNCHANGED_VARIANT, 4)]
    text = model_card.render_model_card(tmp_path / "live.safetensors")
    assert "fold 1 (counted from 0) of the 5" in " ".join(text.split())


def test_a_seed_is_a_training(finished: tuple[Path, Asked], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed gives the same file to the byte, another one other weights; the terminal says what is learnt."""
    folder, _ = finished
    show_live_training(SETTINGS, tmp_path / "same", "live", "ecg-agent train-live --seed 4", None)
    said = capsys.readouterr().out
    for expected in ("train on 2 records in 2 views: {'N':", "test  on 2 records", "epoch 1 of 1: loss", "V Se"):
        assert expected in said
    same = (tmp_path / "same" / "live.safetensors").read_bytes()
    assert same == (folder / "live.safetensors").read_bytes()
    show_live_training(replace(SETTINGS, train=replace(SETTINGS.train, seed=5)), tmp_path / "other", "live", "", None)
    assert weights(tmp_path / "other") != weights(folder)


@pytest.mark.usefixtures("asked")
def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill between two passes a run repeats neither; it leaves the same file, and no state."""
    settings = replace(SETTINGS, live=replace(SETTINGS.live, epochs=2))
    show_live_training(settings, tmp_path / "whole", "live", "ecg-agent train-live", None)
    keep = ContextState.keep

    def keep_and_die(state: ContextState, path: Path, identity: str, done: TrainingPass) -> None:
        keep(state, path, identity, done)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ContextState, "keep", keep_and_die)
        with pytest.raises(KeyboardInterrupt):
            show_live_training(settings, tmp_path / "killed", "live", "ecg-agent train-live", None)
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {"run.lock", "state.safetensors"}
    (tmp_path / "rest").mkdir()  # this process still holds the lock of the other one
    (tmp_path / "killed" / "state.safetensors").rename(tmp_path / "rest" / "state.safetensors")
    show_live_training(settings, tmp_path / "rest", "live", "ecg-agent train-live", None)
    assert {path.name for path in (tmp_path / "rest").iterdir()} == {"live.safetensors", "report.json", "run.lock"}
    for name in ("live.safetensors", "report.json"):
        assert (tmp_path / "rest" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_model_card(finished: tuple[Path, Asked]) -> None:
    """The card in words names command, views, hashes and candidates; a line of the table of models can be made."""
    path = finished[0] / "live.safetensors"
    training = checkpoint.load_checkpoint(path, CPU)[1].training
    text = " ".join(model_card.render_model_card(path).split())
    for expected in (
        "# Model card: live",
        "## Training ecg-agent train-live --seed 4 1 passes in batches of 64 ",
        training["train_sha256"],
        "2 views (`model/training/augmented_streams.py`): as it is, ectopy 1.",
        f"| no beat | {training['train_beats']['no beat']:,} | {training['test_beats']['no beat']:,} |",
        "100 % of the candidates that are not normal beats and 50.0 % of the normal ones",
    ):
        assert expected in text
    row = model_card.summarise_checkpoint(path)
    assert (row["recipe"], row["protocol"], row["seed"], row["fold"]) == ("live", "inter-patient", 4, None)


def test_more_records_and_rhythms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a folder are learnt in some views and those of DS1 in all; a fold holds out a fifth of both."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.atr").write_bytes(b"\0\0")
    monkeypatch.setattr(live_run, "STREAM_VARIANTS", STREAM_VARIANTS)
    sources = LiveSources((tmp_path,), (tmp_path,))
    sides = split_sides(None, sources)
    assert not {*sides.ds1} & {*sides.held_out}
    assert [Path(record).name for record in sides.others] == ["a", "b", "c"] == [Path(r).name for r in sides.rhythms]
    heard = {variant.name: records for variant, records in sides.views()}
    assert heard["as it is"] == heard["borrowed rhythm 1"] == sides.ds1 + sides.others
    assert heard["flipped"] == sides.ds1
    assert "borrowed rhythm 1" not in {variant.name for variant, _ in split_sides(None, LiveSources()).views()}
    fold = split_sides(1, sources)
    assert fold.held_out == (*sides.ds1[1::5], str(tmp_path / "b"))
    assert not {*fold.ds1, *fold.others} & {*fold.held_out}


def test_embedded_records_in_a_folder_are_not_learnt_again() -> None:
    """Who gives a copy of the MIT-BIH database does not teach the net the records that test it."""
    assert split_sides(None, LiveSources((DATABASE / "mitdb",))).others == ()


def test_unscored_candidates_are_left_out() -> None:
    """Flutter is of no class, neither in the counts nor in the figures; nor are candidates that are no beats."""
    torch.manual_seed(0)
    net = build_context_net(CONTEXT_SIZE, CPU).eval()
    made = build_candidates([short("208")], SIGNAL)
    made = LabelledCandidates(made.inputs[:200], np.zeros(200, np.int64), made.records[:200], made.cuts[:200])
    made.labels[:50], made.labels[50:80] = UNSCORED_LABEL, NO_BEAT
    assert count_candidates(made.labels) == {"N": 120, "S": 0, "V": 0, "F": 0, "Q": 0, "no beat": 30}
    outcomes = predict_context_outcomes(net, made.inputs, CPU)
    said = settle_candidates(outcomes, made)
    judged = ~np.isnan(said[80:, 0])
    assert said.shape == (200, 5)
    assert np.allclose(said[~np.isnan(said[:, 0])].sum(1), 1)
    found = live_run.measure_live_net(outcomes, made)
    assert np.sum(found["confusion"]) == judged.sum() > 0
    assert found["classes_present"] == ["N"]


def test_verdicts_are_of_one_record() -> None:
    """What one record's beats were said to be has no say in those of another, though their clusters are alike."""
    torch.manual_seed(0)
    net = build_context_net(CONTEXT_SIZE, CPU).eval()
    found = build_candidates([short("208"), short("119")], SIGNAL)
    cuts = tuple(msgspec.structs.replace(cut, cluster=0, new=False) for cut in found.cuts)
    first = int((found.records == "208").sum())
    later = LabelledCandidates(found.inputs[first:], found.labels[first:], found.records[first:], cuts[first:])
    outcomes = predict_context_outcomes(net, found.inputs, CPU)
    both = settle_candidates(outcomes, replace(found, cuts=cuts))
    assert np.allclose(both[first:], settle_candidates(outcomes[first:], later), atol=1e-5, equal_nan=True)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ended]:
    """Runs `ecg-agent train-live` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ecg-agent", "train-live", *arguments])
        done = CliRunner().invoke(app, ["train-live", *arguments])
        return done.exit_code, done.exception

    return run


def test_command(asked: Asked, command: Callable[..., Ended], tmp_path: Path) -> None:
    """Options reach the training, the card holds the command itself, and the run is in runs/NAME."""
    asked.clear()
    assert command("--name", "mine", "--seed", "6", "--fold", "0", "--device", "cpu") == (0, None)
    assert asked == [*(("119", kind, 6) for kind in VIEWS), ("208", UNCHANGED_VARIANT, 6)]
    _, found = checkpoint.load_checkpoint(tmp_path / "runs" / "mine" / "mine.safetensors", CPU)
    assert found.name == "mine"
    assert found.training["command"] == "ecg-agent train-live --name mine --seed 6 --fold 0 --device cpu"
    assert (found.training["seed"], found.training["fold"]) == (6, 0)


def test_command_that_cannot_be(asked: Asked, command: Callable[..., Ended]) -> None:
    """A fold too many or a device that is not there is said before any record is read."""
    asked.clear()
    assert command("--fold", "5")[0] == 2
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    assert isinstance(command("--device", missing)[1], DeviceError)
    assert asked == []


def test_a_sweep(asked: Asked, command: Callable[..., Ended], tmp_path: Path) -> None:
    """Each trial of a sweep is a run of the command, of one fold, with the settings of its trial; DS2 is not heard."""
    pytest.importorskip("optuna")
    (tmp_path / "sweep.toml").write_text(SWEEP)
    plan = read_sweep_plan(tmp_path / "sweep.toml", "train-live", SETTINGS)
    folder = tmp_path / "runs" / "rates"
    folder.mkdir(parents=True)
    study = SweepStudy(plan, folder)
    asked.clear()
    SweepRun(plan, study, folder, CommandHands(lambda words: str(command(*words[1:])[1] or "")), lambda _: None).run()
    trials = study.trials()
    assert [(trial.state, trial.reason) for trial in trials] == [("done", "")] * 2
    first = [*(("208", kind, 4) for kind in VIEWS), ("119", UNCHANGED_VARIANT, 4)]
    assert asked == [*first, ("119", UNCHANGED_VARIANT, 4)]
    reports = [json.loads(path.read_text()) for path in sorted(folder.glob("trial-*/fold-1/report.json"))]
    for trial, report in zip(trials, reports, strict=True):
        assert report["training"]["learning_rate"] == trial.settings["learning_rate"]
        assert report["training"]["fold"] == 1
        assert trial.folds == {1: report["test"]["macro_f1"]}
    assert reports[0]["training"]["train_sha256"] == reports[1]["training"]["train_sha256"]


def test_candidates_are_kept(asked: Asked, tmp_path: Path) -> None:
    """A training that takes what another one has kept is the same to the byte; a broken file is made again."""
    kept = tmp_path / "kept"
    for run, streams in (("first", 3), ("second", 1), ("third", 3)):
        asked.clear()
        show_live_training(SETTINGS, tmp_path / run, "live", "ecg-agent train-live", 1, kept=kept)
        assert len(asked) == streams
        (path,) = kept.iterdir()
        if run == "second":
            path.write_bytes(path.read_bytes()[:-300])
    nets = {(tmp_path / run / "live.safetensors").read_bytes() for run in ("first", "second", "third")}
    assert len(nets) == 1


def test_what_candidates_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept candidates are those of the same code, settings, views, signals and annotations, however they are learnt."""
    for ending in ("hea", "atr"):
        shutil.copy(DATABASE / "mitdb" / f"208.{ending}", tmp_path / f"208.{ending}")
    for path in (DATABASE / "mitdb").glob("208*.flac"):
        shutil.copy(path, tmp_path)
    sources = CandidateSources([(UNCHANGED_VARIANT, (str(tmp_path / "208"),))], ())
    same = fingerprint_candidates(SETTINGS, sources)
    assert fingerprint_candidates(replace(SETTINGS, live=replace(SETTINGS.live, epochs=7, noise=0.5)), sources) == same
    others = [
        (replace(SETTINGS, train=replace(SETTINGS.train, seed=5)), sources),
        (replace(SETTINGS, live=replace(SETTINGS.live, kept_normal=0.5)), sources),
        (replace(SETTINGS, signal=replace(SIGNAL, flat_ms=SIGNAL.flat_ms + 1)), sources),
        (SETTINGS, CandidateSources([(VIEWS[1], (str(tmp_path / "208"),))], ())),
        (SETTINGS, CandidateSources(sources.views, ("208",))),
    ]
    found = [fingerprint_candidates(*of) for of in others]
    notes = (tmp_path / "208.atr").read_bytes()
    (tmp_path / "208.atr").write_bytes(notes[:8] + bytes([notes[8] ^ 1]) + notes[9:])
    found.append(fingerprint_candidates(SETTINGS, sources))
    (tmp_path / "208.atr").write_bytes(notes)
    header = (tmp_path / "208.hea").read_text()
    (tmp_path / "208.hea").write_text(header.replace("200", "201"))
    found.append(fingerprint_candidates(SETTINGS, sources))
    (tmp_path / "208.hea").write_text(header)
    assert fingerprint_candidates(SETTINGS, sources) == same
    for package in ("agent", "model"):
        (tmp_path / package).mkdir()
    monkeypatch.setattr(kept_candidates, "SOURCES", tmp_path)
    found.append(fingerprint_candidates(SETTINGS, sources))
    assert len({same, *found}) == 9
