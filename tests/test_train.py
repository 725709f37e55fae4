import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

from model import checkpoint
from model.dataset import BeatSet, Split
from model.errors import RunError
from model.train import Epoch, Run, TrainSettings

CPU = torch.device("cpu")
SETTINGS = TrainSettings(epochs=3, batch=16, learning_rate=0.003, drop_normal=0, seed=7, split_seed=0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch with one thread: the result depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_up(count: int, seed: int) -> BeatSet:
    """Beats of five kinds that are easy to tell apart: a bump, later in each class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 5
    times = np.arange(187) - 20 - 35 * labels[:, None]
    beats = 0.9 * np.exp(-((times / 12) ** 2)) + rng.uniform(0, 0.1, times.shape)
    return BeatSet(beats.astype(np.float32), labels, np.full(count, "100"))


@pytest.fixture(scope="session")
def split() -> Split:
    return Split(made_up(150, 1), made_up(60, 2))


def new_run(folder: Path, split: Split, settings: TrainSettings = SETTINGS) -> Run:
    return Run(folder, settings, split, CPU)


def trained(folder: Path, split: Split, settings: TrainSettings = SETTINGS) -> tuple[list[Epoch], bytes]:
    """The figures and the checkpoint of a whole run."""
    run = new_run(folder, split, settings)
    for _ in run.train(lambda _: None):
        pass
    return run.epochs, run.finish("made", "ecg-agent train").read_bytes()


def kept_epochs(folder: Path) -> list[Epoch]:
    """The figures that a run folder holds."""
    with safetensors.safe_open(folder / "state.safetensors", framework="pt") as file:
        return msgspec.json.decode(file.metadata()["epochs"], type=list[Epoch])


@pytest.fixture(scope="session")
def finished(split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    trained(folder, split)
    return folder


def test_it_learns(finished: Path) -> None:
    """The loss falls from epoch to epoch, on both sides."""
    epochs = kept_epochs(finished)
    for key in ("train_loss", "test_loss"):
        losses = [getattr(epoch, key) for epoch in epochs]
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < 0.8 * losses[0]


def test_same_seed_same_checkpoint(finished: Path, split: Split, tmp_path: Path) -> None:
    """The same seed gives the same figures and the same checkpoint, bit for bit."""
    epochs, weights = trained(tmp_path, split)
    assert epochs == kept_epochs(finished)
    assert weights == (finished / "made.safetensors").read_bytes()


def test_other_seed_other_checkpoint(finished: Path, split: Split, tmp_path: Path) -> None:
    """Another seed gives other weights."""
    other = trained(tmp_path, split, replace(SETTINGS, seed=8))[1]
    assert other != (finished / "made.safetensors").read_bytes()


@pytest.mark.parametrize("after", [1, 2])
def test_interrupted_runs_continue(finished: Path, split: Split, tmp_path: Path, after: int) -> None:
    """A run that ends after an epoch, or within the next, continues to the result of one that never stopped."""
    run = new_run(tmp_path, split)
    batches = 0

    def interrupt(_: int) -> None:
        nonlocal batches
        batches += 1
        if batches == 10 * after + 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run.train(interrupt))
    again = new_run(tmp_path, split)
    assert len(again.epochs) == after
    epochs, weights = trained(tmp_path, split)
    assert epochs == kept_epochs(finished)
    assert weights == (finished / "made.safetensors").read_bytes()


def test_finished_runs_stay(finished: Path, split: Split) -> None:
    """A finished run that is started again trains nothing and writes the same checkpoint."""
    before = (finished / "made.safetensors").read_bytes()
    assert trained(finished, split)[1] == before


def test_what_a_run_leaves(finished: Path) -> None:
    """The folder of a finished run holds what was asked, state, figures, report and checkpoint, and no partial file."""
    names = {"run.json", "state.safetensors", "metrics.csv", "report.json", "made.safetensors"}
    assert {path.name for path in finished.iterdir()} == names


def test_metrics_have_a_row_an_epoch(finished: Path) -> None:
    """metrics.csv has a row for each epoch with all its figures."""
    with (finished / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [{key: str(value) for key, value in asdict(epoch).items()} for epoch in kept_epochs(finished)]
    assert rows == expected
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_every_beat_is_trained_once_an_epoch(split: Split, tmp_path: Path) -> None:
    """The batches of an epoch hold all training beats, the last one what is left."""
    steps: list[int] = []
    next(new_run(tmp_path, split).train(steps.append))
    assert steps == [16] * 9 + [6]


def test_checkpoint_tells_its_story(finished: Path, split: Split) -> None:
    """The checkpoint loads and says command, settings, data and what it reached, as the report does."""
    net, card = checkpoint.load(finished / "made.safetensors", CPU)
    report = json.loads((finished / "report.json").read_text())
    assert (card.name, card.training, card.metrics) == ("made", report["training"], report["test"])
    assert card.training["command"] == "ecg-agent train"
    assert asdict(SETTINGS).items() <= card.training.items()
    assert card.training["train_sha256"] == split.train.digest()
    assert card.training["test_beats"] == {"N": 12, "S": 12, "V": 12, "F": 12, "Q": 12}
    said = net(torch.from_numpy(split.test.beats)).argmax(1).numpy()
    assert card.metrics["accuracy"] == (said == split.test.labels).mean()


def test_last_epochs(finished: Path) -> None:
    """The report gives mean and spread over the last epochs, not only the last of them."""
    report, epochs = json.loads((finished / "report.json").read_text()), kept_epochs(finished)
    for key in ("test_accuracy", "test_macro_f1", "test_balanced_accuracy"):
        values = [getattr(epoch, key) for epoch in epochs]
        expected = {"mean": np.mean(values), "sd": np.std(values)}
        assert report["test"]["last_epochs"][key] == pytest.approx(expected)


@pytest.mark.parametrize("change", [{"seed": 8}, {"batch": 8}, {"epochs": 4}, {"learning_rate": 0.1}])
def test_other_settings_are_refused(finished: Path, split: Split, change: dict[str, int]) -> None:
    """A folder that holds a run with other settings is refused with what differs."""
    with pytest.raises(RunError, match=f"holds a run with other {next(iter(change))}: choose another folder"):
        new_run(finished, split, replace(SETTINGS, **change))


def test_other_beats_are_refused(finished: Path, split: Split) -> None:
    """So is one whose run had other beats."""
    with pytest.raises(RunError, match="other train_sha256:"):
        new_run(finished, Split(made_up(150, 3), split.test))


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_folder_that_cannot_be_made(split: Split, tmp_path: Path, folder: str) -> None:
    """Where no folder can be made the run is refused."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot use run folder"):
        new_run(tmp_path / folder, split)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"1"])
def test_broken_run_file(split: Split, tmp_path: Path, content: bytes) -> None:
    """A run.json that is broken is refused."""
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match="cannot use run folder"):
        new_run(tmp_path, split)


def test_folder_that_cannot_be_written_any_more(split: Split, tmp_path: Path) -> None:
    """A run whose state or report cannot be written says so."""
    run = new_run(tmp_path, split)
    (tmp_path / "state.partial").mkdir()
    with pytest.raises(RunError, match="cannot write to run folder"):
        next(run.train(lambda _: None))
    (tmp_path / "made.partial").mkdir()
    with pytest.raises(RunError, match="cannot write to run folder"):
        run.finish("made", "ecg-agent train")


@pytest.mark.parametrize("left", [0, 9, 500, 100_000, -1])
def test_state_cut_short(finished: Path, split: Split, tmp_path: Path, left: int) -> None:
    """A state file that is cut short is refused with a way out."""
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    (tmp_path / "state.safetensors").write_bytes((finished / "state.safetensors").read_bytes()[:left])
    with pytest.raises(RunError, match=r"cannot resume from .*; remove the run folder to start anew"):
        new_run(tmp_path, split)


@pytest.mark.parametrize("metadata", [None, {"epochs": "["}, {"epochs": "[{}]"}, {"epochs": "[]"}])
def test_state_of_something_else(finished: Path, split: Split, tmp_path: Path, metadata: dict[str, str] | None) -> None:
    """A state file with other contents is refused too."""
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    save_file({"net.conv.weight": torch.zeros(1)}, tmp_path / "state.safetensors", metadata)
    with pytest.raises(RunError, match="cannot resume from"):
        new_run(tmp_path, split)
