import json
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from support.agent_process import run_agent
from support.commands import RunHere

from agent.training import report_run
from model.errors import ConfigError
from model.nets import checkpoint, checkpoint_card
from model.training import training_figures

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")

TINY = """
[train]
threads = 1
[recipe.tiny]
epochs = 2
batch = 512
channels = [4]
dense = 4
drop_normal = 72000
"""


def run(*arguments: str | Path) -> "CompletedProcess[str]":
    return run_agent(["train", *map(str, arguments)])


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file with a recipe that trains in seconds."""
    path = tmp_path_factory.mktemp("config") / "own.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def finished(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a whole run of the command, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    done = run("--config", config, "--recipe", "tiny", "--run", folder, "--tensorboard")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_what_it_leaves(finished: tuple[Path, str]) -> None:
    """Checkpoint, report, metrics, every picture as SVG and PNG, and logs for TensorBoard."""
    folder, said = finished
    pictures = {f"{name}.{kind}" for name in training_figures.PICTURES for kind in ("svg", "png")}
    files = {"tiny.safetensors", "report.json", "metrics.csv", "run.json", "run.lock", "state.safetensors"}
    assert {path.name for path in folder.iterdir()} == files | pictures | {"tensorboard"}
    assert any((folder / "tensorboard").iterdir())
    for expected in ("tiny, random split", "'N': 471", "epoch   2", f"in {folder}: tiny.safetensors", "balanced"):
        assert expected in said


def test_the_checkpoint_is_found_by_the_monitor(finished: tuple[Path, str]) -> None:
    """What was trained loads, and its card says the command that made it."""
    folder, _ = finished
    net, card = checkpoint.load_checkpoint(checkpoint_card.find_checkpoint(str(folder / "tiny.safetensors")), CPU)
    assert net.size.channels == (4,)
    assert card.training["command"].startswith("ecg-agent train --config")
    report = json.loads((folder / "report.json").read_text())
    assert report["training"] == card.training
    assert len(report["epochs"]) == 2


def test_a_finished_run_is_not_trained_again(finished: tuple[Path, str], config: Path) -> None:
    """The same command again trains nothing and leaves the same checkpoint."""
    folder, _ = finished
    before = (folder / "tiny.safetensors").read_bytes()
    done = run("--config", config, "--recipe", "tiny", "--run", folder, "--tensorboard")
    assert "all 2 epochs are trained already" in done.stdout
    assert (folder / "tiny.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (("--recipe", "tiniest"), 3, "no recipe 'tiniest'; valid are reproduction, best, tiny (--recipe)"),
        (
            ("--protocol", "mixed"),
            3,
            "--protocol mixed makes no sense: valid are random, inter-patient",
        ),
        (("--name", "../tiny"), 3, "'../tiny' is no name of a checkpoint: choose one without slashes (--name)"),
        (("--epochs", "0"), 3, "--epochs 0 makes no sense: give a whole number of 1 or more"),
        (("--device", "cuda"), 8, "cuda"),
        (("--recipe", "tiny", "--seed", "1"), 10, "holds a run with other seed: choose another folder (--run)"),
        (("--recipe", "tiny", "--epochs", "3"), 10, "holds a run with other epochs"),
    ],
)
def test_what_cannot_be_trained(
    finished: tuple[Path, str], run_here: RunHere, config: Path, options: tuple[str, ...], code: int, reason: str
) -> None:
    """One line that says what is wrong, its exit code, and the earlier run as it was."""
    folder, _ = finished
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    words: tuple[str | Path, ...] = ("--config", config, "--run", folder, *options)
    done = run(*words) if code == 10 else run_here("train", *words)  # a run folder is locked as long as its process is
    assert done.returncode == code
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TensorBoard is not installed, one line says how to install it."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'ecg-agent\[tensorboard\]'"):
        report_run._tensorboard_logger(tmp_path)
