import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

from model.beats.dataset import BeatSet, DataSplit
from model.errors import RunError
from model.nets import checkpoint
from model.training.recipe import TrainingRecipe
from model.training.training_run import EpochMetrics, TrainingRequest, TrainingRun

CPU = torch.device("cpu")
ASKED = TrainingRequest("made", "random", seed=7, split_seed=0, threads=1)
PLAIN = TrainingRecipe(3, 16, 0.003, "constant", 0.0, 0, 0.0, (16, 16, 16, 16, 16), 16, False, 0.0, 0.0)
RICH = TrainingRecipe(3, 16, 0.003, "one-cycle", 0.01, 0, 0.2, (8, 16, 16, 16, 24), 16, True, 0.5, 0.9)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A run switches PyTorch's own threads off; other tests want them back."""
    before = torch.get_num_threads()
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
def split() -> DataSplit:
    return DataSplit(made_up(150, 1), made_up(60, 2))


def new_run(
    folder: Path, split: DataSplit, recipe: TrainingRecipe = PLAIN, asked: TrainingRequest = ASKED
) -> TrainingRun:
    return TrainingRun(folder, asked, recipe, split, CPU)


def trained(
    folder: Path, split: DataSplit, recipe: TrainingRecipe = PLAIN, asked: TrainingRequest = ASKED
) -> tuple[list[EpochMetrics], bytes]:
    """The figures and the checkpoint of a whole run."""
    run = new_run(folder, split, recipe, asked)
    for _ in run.train(lambda _: None):
        pass
    run.finish("made", "ecg-agent train")
    return run.epochs, (folder / "made.safetensors").read_bytes()


def kept_epochs(folder: Path) -> list[EpochMetrics]:
    """The figures that a run folder holds."""
    with safetensors.safe_open(folder / "state.safetensors", framework="pt") as file:
        return msgspec.json.decode(file.metadata()["epochs"], type=list[EpochMetrics])


@pytest.fixture(scope="session")
def finished(split: DataSplit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
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


def test_same_seed_same_checkpoint(finished: Path, split: DataSplit, tmp_path: Path) -> None:
    """The same seed gives the same figures and the same checkpoint, bit for bit."""
    epochs, weights = trained(tmp_path, split)
    assert epochs == kept_epochs(finished)
    assert weights == (finished / "made.safetensors").read_bytes()


def test_other_seed_other_checkpoint(finished: Path, split: DataSplit, tmp_path: Path) -> None:
    """Another seed gives other weights."""
    other = trained(tmp_path, split, asked=replace(ASKED, seed=8))[1]
    assert other != (finished / "made.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "recipe", "threads"), [(1, PLAIN, 1), (1, RICH, 2), (2, PLAIN, 2), (2, RICH, 1)]
)  # each value beside each of the others
def test_interrupted_runs_continue(
    split: DataSplit, tmp_path: Path, after: int, recipe: TrainingRecipe, threads: int
) -> None:
    """A run that ends within an epoch continues to the result of one that never stopped, to the last bit."""
    asked = replace(ASKED, threads=threads)
    whole = trained(tmp_path / "whole", split, recipe, asked)
    run = new_run(tmp_path / "cut", split, recipe, asked)
    batches = 0

    def interrupt(_: int) -> None:
        nonlocal batches
        batches += 1
        if batches == 10 * after + 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run.train(interrupt))
    assert len(new_run(tmp_path / "cut", split, recipe, asked).epochs) == after
    assert trained(tmp_path / "cut", split, recipe, asked) == whole


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [PLAIN, RICH], ids=["plain", "rich"])
def test_threads_change_only_rounding(split: DataSplit, tmp_path: Path, recipe: TrainingRecipe) -> None:
    """Two threads, each with half a batch, give the losses of one, but for what normalisation sees of a batch."""
    recipe = replace(recipe, augment=0.0)
    one, two = (trained(tmp_path / str(n), split, recipe, replace(ASKED, threads=n))[0] for n in (1, 2))
    tolerance = 0.2 if recipe.norm else 1e-4
    for a, b in zip(one, two, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=tolerance)


@pytest.mark.slow
def test_rich_recipe_learns(split: DataSplit, tmp_path: Path) -> None:
    """Schedule, normalisation, augmentation, averaging together learn; the folded net is what is tested."""
    epochs = trained(tmp_path, split, replace(RICH, epochs=8))[0]
    assert epochs[-1].test_accuracy > 0.9
    net, card = checkpoint.load_checkpoint(tmp_path / "made.safetensors", CPU)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    said = net(torch.from_numpy(split.test.beats)).argmax(1).numpy()
    assert card.metrics["accuracy"] == (said == split.test.labels).mean() == epochs[-1].test_accuracy


def test_finished_runs_stay(finished: Path, split: DataSplit) -> None:
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


def test_every_beat_is_trained_once_an_epoch(split: DataSplit, tmp_path: Path) -> None:
    """The batches of an epoch hold all training beats, the last one what is left."""
    steps: list[int] = []
    next(new_run(tmp_path, split).train(steps.append))
    assert steps == [16] * 9 + [6]


def test_no_batch_is_too_small_to_normalise(split: DataSplit, tmp_path: Path) -> None:
    """With batch normalisation the rest that fills no batch is left out of the epoch."""
    steps: list[int] = []
    next(new_run(tmp_path, split, RICH).train(steps.append))
    assert steps == [16] * 9


def test_checkpoint_tells_its_story(finished: Path, split: DataSplit) -> None:
    """The checkpoint loads and says command, settings, data and what it reached, as the report does."""
    net, card = checkpoint.load_checkpoint(finished / "made.safetensors", CPU)
    report = json.loads((finished / "report.json").read_text())
    assert (card.name, card.training, card.metrics) == ("made", report["training"], report["test"])
    assert card.training["command"] == "ecg-agent train"
    recipe = asdict(PLAIN) | {"channels": list(PLAIN.channels)}
    assert (recipe | asdict(ASKED)).items() <= card.training.items()
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


@pytest.mark.parametrize("change", [{"channels": (16, 16, 16, 16, 8)}, {"batch": 8}, {"epochs": 4}, {"augment": 0.1}])
def test_another_recipe_is_refused(finished: Path, split: DataSplit, change: dict[str, Any]) -> None:
    """A folder that holds a run with other settings is refused with what differs."""
    with pytest.raises(RunError, match=f"holds a run with other {next(iter(change))}: choose another folder"):
        new_run(finished, split, replace(PLAIN, **change))


@pytest.mark.parametrize("change", [{"seed": 8}, {"threads": 2}, {"protocol": "inter-patient"}, {"fold": 1}])
def test_another_order_is_refused(finished: Path, split: DataSplit, change: dict[str, Any]) -> None:
    """So is one that was asked for something else."""
    with pytest.raises(RunError, match=f"holds a run with other {next(iter(change))}: choose another folder"):
        new_run(finished, split, asked=replace(ASKED, **change))


def test_other_beats_are_refused(finished: Path, split: DataSplit) -> None:
    """So is one whose run had other beats."""
    with pytest.raises(RunError, match="other train_sha256:"):
        new_run(finished, DataSplit(made_up(150, 3), split.test))


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_folder_that_cannot_be_made(split: DataSplit, tmp_path: Path, folder: str) -> None:
    """Where no folder can be made the run is refused."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot use run folder"):
        new_run(tmp_path / folder, split)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"1"])
def test_broken_run_file(split: DataSplit, tmp_path: Path, content: bytes) -> None:
    """A run.json that is broken is refused."""
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match="cannot use run folder"):
        new_run(tmp_path, split)


def test_folder_that_cannot_be_written_any_more(split: DataSplit, tmp_path: Path) -> None:
    """A run whose state or report cannot be written says so."""
    run = new_run(tmp_path, split)
    epochs = run.train(lambda _: None)
    next(epochs)
    (tmp_path / "state.safetensors.partial").mkdir()
    with pytest.raises(RunError, match="cannot write to run folder"):
        next(epochs)
    assert len(kept_epochs(tmp_path)) == 1, "what was written stays"
    (tmp_path / "made.safetensors.partial").mkdir()
    with pytest.raises(RunError, match="cannot write to run folder"):
        run.finish("made", "ecg-agent train")


@pytest.mark.parametrize("left", [0, 9, 500, 100_000, -1])
def test_state_cut_short(finished: Path, split: DataSplit, tmp_path: Path, left: int) -> None:
    """A state file that is cut short is refused with a way out."""
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    (tmp_path / "state.safetensors").write_bytes((finished / "state.safetensors").read_bytes()[:left])
    with pytest.raises(RunError, match=r"cannot resume from .*; remove the run folder to start again"):
        new_run(tmp_path, split)


@pytest.mark.parametrize("metadata", [None, {"epochs": "["}, {"epochs": "[{}]"}, {"epochs": "[]"}])
def test_state_of_something_else(
    finished: Path, split: DataSplit, tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    """A state file with other contents is refused too."""
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    save_file({"net.conv.weight": torch.zeros(1)}, tmp_path / "state.safetensors", metadata)
    with pytest.raises(RunError, match="cannot resume from"):
        new_run(tmp_path, split)
