"""ecg-agent train --sweep on a Ray cluster: the same study and reports, also where a worker is killed."""

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.ray_cluster import running_cluster
from typer.testing import CliRunner

from agent.cli.app import app
from agent.training import sweep_command
from agent.training.training_process import TrainingEnd, TrainingTask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is an extra of this package (cluster)"),
    pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="so is Optuna (sweep)"),
]
REPOSITORY = Path(__file__).parent.parent
LONG_S = 240.0
TINY = """
[train]
threads = 1
protocol = "inter-patient"
recipe = "tiny"
[recipe.tiny]
epochs = 1
batch = 512
channels = [4]
dense = 4
drop_normal = 72000
"""
SWEEP = """
[sweep]
name = "rates"
trials = {trials}
objective = "macro F1"
folds = [1]
[space]
learning_rate = {{ low = 1e-3, high = 1e-2, log = true }}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """An environment in which RAY_ADDRESS is that of a cluster of two CPUs."""
    with running_cluster() as environment:
        yield environment


class CommandHands:
    """Hands that run each training in this process, at once."""

    def __init__(self) -> None:
        self._ends: list[TrainingEnd] = []

    def has_room(self) -> bool:
        return not self._ends

    def submit(self, task: TrainingTask) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["ecg-agent", *task.arguments])
            ran = CliRunner().invoke(app, task.arguments)
        self._ends.append(TrainingEnd(task, str(ran.exception or "")))

    def wait(self) -> list[TrainingEnd]:
        ends, self._ends = self._ends, []
        return ends


def words_of_sweep(folder: Path, trials: int) -> list[str]:
    """Return the command of a sweep of so many trials, whose files are in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.toml").write_text(TINY)
    (folder / "sweep.toml").write_text(SWEEP.format(trials=trials))
    return ["train", "--config", "tiny.toml", "--sweep", "sweep.toml", "--device", "cpu"]


def what_counts(folder: Path) -> dict[str, bytes]:
    """Return the table of a sweep, and the reports, settings and nets of its trials."""
    run = folder / "runs" / "rates"
    paths = [*run.glob("trials.csv"), *run.glob("trial-*/*.toml"), *run.glob("trial-*/fold-1/report.json")]
    paths += [*run.glob("trial-*/fold-1/rates.safetensors")]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def workers_that_train(folder: Path) -> list[psutil.Process]:
    """Return the processes of a cluster that have a training below them, started in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if "--child" in process.cmdline() and Path(process.cwd()) == folder.resolve() and parent is not None:
                found.append(parent)
    return found


def test_a_sweep_goes_on_elsewhere(cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that was begun here and goes on in a cluster, where a worker is killed, finds what it does here alone."""
    here, there = tmp_path / "here", tmp_path / "there"
    for trials in (1, 2):
        with monkeypatch.context() as patch:
            words = words_of_sweep(here, trials)
            patch.chdir(here)
            patch.setattr(sweep_command, "open_trainings", lambda *_: contextlib.nullcontext(CommandHands()))
            assert CliRunner().invoke(app, words).exit_code == 0
        if trials == 1:
            shutil.copytree(here, there)
    words = [*words_of_sweep(there, 2), "--cluster", cluster["RAY_ADDRESS"], "--jobs", "1"]
    own = cluster | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-m", "agent", *words],
        cwd=there,
        env=own,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        until_s = time.monotonic() + LONG_S
        while not (workers := workers_that_train(there)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until_s
            time.sleep(0.05)
        (training,) = workers[0].children()
        workers[0].kill()
        printed, errors = process.communicate(timeout=LONG_S)
    assert (process.returncode, errors) == (0, "")
    assert not psutil.wait_procs([training], timeout=10)[1]
    assert "continues: 1 of 2 trials are there already" in printed
    assert what_counts(there) == what_counts(here)
    assert len(what_counts(here)) == 7
    assert not [path for path in (there / "runs" / "rates").iterdir() if path.name.startswith(".")]
