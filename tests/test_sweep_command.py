import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.agent_process import AgentProcess
from support.swept import SETTINGS, InstantHands, plan_of
from typer.testing import CliRunner, Result

from agent.cli.app import app
from agent.cluster.groups import GroupEnd, GroupNews, ItemFound
from agent.cluster.open_hands import WorkPlace
from agent.core import config as configuration
from agent.training import sweep_command
from agent.training.sweep_command import SweepOptions, show_sweep
from agent.training.training_hands import GroupedTrainings, open_trainings
from agent.training.training_process import TrainingEnd, TrainingTask
from model.beats.dataset import DS1, DS2, load_beat_set, split_beat_set
from model.errors import ConfigError, DeviceError, RunError
from model.files import is_locked

pytestmark = pytest.mark.slow
pytest.importorskip("optuna")

TINY = """
[train]
threads = 1
device = "cpu"
protocol = "inter-patient"
recipe = "tiny"
[recipe.tiny]
epochs = 8
batch = 512
channels = [4]
dense = 4
drop_normal = 72000
"""
SWEEP = """
[sweep]
name = "rates"
trials = 2
objective = "macro F1"
folds = [1]
[space]
learning_rate = { low = 1e-3, high = 1e-2, log = true }
"""
LONG_S = 240.0


def started(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Start `ecg-agent train --sweep` in a folder, in a process group of its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return AgentProcess(
        ["train", "--config", "tiny.toml", "--sweep", "sweep.toml", *options],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def until(condition: Iterator[bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + LONG_S
    while not next(condition):
        assert time.monotonic() < end
        time.sleep(0.02)


def epochs_of(run: Path) -> int:
    """Return how many epochs of a run are kept."""
    metrics = run / "metrics.csv"
    return metrics.read_text().count("\n") - 1 if metrics.exists() else 0


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `ecg-agent` in this process, in the folder `at`."""

    def run(*arguments: str, at: Path) -> Result:
        monkeypatch.chdir(at)
        monkeypatch.setattr(sys, "argv", ["ecg-agent", *arguments])
        return CliRunner().invoke(app, arguments)

    return run


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int], str]:
    """A sweep of two trainings at once that was killed (-9) in both of them, and then ran to its end.

    Returns its folder, the epochs that each training had kept at the kill, and what the second start printed.
    """
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "sweep.toml").write_text(SWEEP)
    runs = [folder / f"runs/rates/trial-000{number}/fold-1" for number in (0, 1)]
    first = started(folder, "--jobs", "2")
    until(any(epochs_of(run) for run in runs) or first.poll() is not None for _ in iter(int, 1))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    until(not any(is_locked(run / "run.lock") for run in runs) for _ in iter(int, 1))
    kept = {run.parent.name: epochs_of(run) for run in runs}
    second = started(folder, "--jobs", "2")
    printed, errors = second.communicate(timeout=LONG_S)
    assert second.returncode == 0, errors
    return folder, kept, printed


def test_half_done_trials_go_on(killed: tuple[Path, dict[str, int], str]) -> None:
    """A kill of the sweep ends its trainings at once; each goes on with its last complete epoch, none begins anew."""
    folder, kept, printed = killed
    assert sorted(path.name for path in (folder / "runs" / "rates").glob("trial-*")) == ["trial-0000", "trial-0001"]
    assert max(kept.values()) >= 1
    for name, epochs in kept.items():
        assert epochs < 8
        log = (folder / "runs" / "rates" / name / "fold-1.log").read_text()
        assert (f"continues after epoch {epochs}" in log) == (epochs > 0)
        assert epochs_of(folder / "runs" / "rates" / name / "fold-1") == 8
    assert "trials ━" in printed
    assert "2/2" in printed


def test_what_it_leaves(killed: tuple[Path, dict[str, int], str]) -> None:
    """Study, table, picture, a folder for each trial; and on the terminal the table and the command of the best."""
    folder, _, printed = killed
    found = {path.name for path in (folder / "runs" / "rates").iterdir()}
    assert found == {"run.lock", "study.db", "trials.csv", "sweep.svg", "sweep.png", "trial-0000", "trial-0001"}
    for expected in (
        "train rates, macro F1 of fold 1 of the training side, patients apart",
        "the test side is left alone; in runs/rates",
        "in runs/rates: trials.csv, sweep.svg, sweep.png, a folder for each trial",
        "ecg-agent train --config runs/rates/trial-000",
        "trial macro F1 ",
    ):
        assert expected in printed


def test_the_test_side_is_not_read(killed: tuple[Path, dict[str, int], str]) -> None:
    """What every trial learnt and was judged by are beats of DS1, whole records apart; DS2 is in neither."""
    split = split_beat_set(load_beat_set(), "inter-patient", 0, 72000, 1)
    assert {*np.unique(split.test.records)} == {*DS1[1::5]}
    assert not {*np.unique(split.train.records)} & ({*DS2} | {*DS1[1::5]})
    for path in (killed[0] / "runs" / "rates").glob("trial-*/fold-1/report.json"):
        training = json.loads(path.read_text())["training"]
        assert (training["fold"], training["protocol"], training["recipe"]) == (1, "inter-patient", "rates")
        assert training["train_sha256"] == split.train.digest()
        assert training["test_sha256"] == split.test.digest()


def test_a_finished_sweep_trains_nothing(
    killed: tuple[Path, dict[str, int], str], command: Callable[..., Result]
) -> None:
    """Once more it prints the same table at once, and asks no cluster; a changed file is one line and exit code 10."""
    folder, _, printed = killed
    files = ("--config", str(folder / "tiny.toml"), "--sweep", str(folder / "sweep.toml"))
    again = command("train", *files, "--cluster", "127.0.0.1:9", at=folder)
    assert again.exit_code == 0
    assert "continues: 2 of 2 trials are there already" in again.stdout
    assert again.stdout[again.stdout.index("trial macro F1") :] == printed[printed.index("trial macro F1") :]
    (folder / "changed.toml").write_text(SWEEP.replace("1e-2", "2e-2"))
    run = ("--run", str(folder / "copy"))
    shutil.copytree(folder / "runs" / "rates", folder / "copy")
    words = ("train", "--config", str(folder / "tiny.toml"), "--sweep", str(folder / "changed.toml"), *run)
    changed = command(*words, at=folder).exception
    assert isinstance(changed, RunError)
    assert changed.exit_code == 10
    assert "begun with other space.learning_rate" in str(changed)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--fold", "1"), "--fold does not go with --sweep: the sweep file names folds and runs"),
        (("--name", "mine"), "--name does not go with --sweep"),
        (("--tensorboard",), "--tensorboard does not go with --sweep"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, options: tuple[str, ...], reason: str, command: Callable[..., Result]
) -> None:
    """Options that the sweep file replaces are refused in one line; --jobs and --cluster are for sweeps."""
    (tmp_path / "sweep.toml").write_text(SWEEP)
    assert reason in str(command("train", "--sweep", "sweep.toml", *options, at=tmp_path).exception)
    for name in ("train", "train-live"):
        for option in (("--jobs", "2"), ("--cluster", "local")):
            refused = command(name, *option, at=tmp_path).exception
            assert isinstance(refused, ConfigError)
            assert str(refused) == f"{option[0]} goes with --sweep: one training is one process"


def test_a_cluster_has_cpus(tmp_path: Path, command: Callable[..., Result]) -> None:
    """A device that hosts may not have, and an address that is none, are refused in one line."""
    (tmp_path / "sweep.toml").write_text(SWEEP)
    words = ("train", "--sweep", "sweep.toml", "--cluster")
    assert "leave --device cuda out" in str(command(*words, "auto", "--device", "cuda", at=tmp_path).exception)
    refused = command(*words, "a/b", "--device", "cpu", at=tmp_path).exception
    assert isinstance(refused, ConfigError)
    assert "'a/b' is no address of a cluster: give HOST:PORT or auto (--cluster)" in str(refused)


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> InstantHands:
    """Sweeps whose trainings take no time."""
    hands = InstantHands()

    monkeypatch.setattr(sweep_command, "open_trainings", lambda *_: nullcontext(hands))
    return hands


def test_an_interruption_is_explained(
    instant: InstantHands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C prints one line with the command that goes on, and remains Ctrl-C for the shell."""
    instant._most = 3
    with pytest.raises(KeyboardInterrupt):
        show_sweep(plan_of(tmp_path), SweepOptions(tmp_path / "run", "ecg-agent train --sweep x.toml", WorkPlace(1)))
    assert capsys.readouterr().err.endswith(
        "\nInterrupted: trials that have ended are kept, and the others go on with: ecg-agent train --sweep x.toml\n"
    )


def test_failed_trials_are_listed(instant: InstantHands, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each on a line with its reason; where none ended well that is the end, and the table says why."""
    instant._broken = (2,)
    table = show_sweep(plan_of(tmp_path), SweepOptions(tmp_path / "run", "", WorkPlace(1)))
    assert table.row_count == 5
    assert capsys.readouterr().err.startswith("ecg-agent: trial 2 failed: no room (learning_rate ")
    instant._broken = tuple(range(6))
    with pytest.raises(RunError, match=r"none of 6 trials ended well: .*trials\.csv says why"):
        show_sweep(plan_of(tmp_path), SweepOptions(tmp_path / "other", "", WorkPlace(1)))


def test_what_cannot_be_swept(instant: InstantHands, tmp_path: Path) -> None:
    """Another folder's content, another process and a missing device are said before anything is trained."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    with pytest.raises(RunError, match=r"holds run\.json and no sweep: choose another folder \(--run\)"):
        show_sweep(plan_of(tmp_path), SweepOptions(tmp_path / "run", "", WorkPlace(1)))
    config = replace(SETTINGS, train=replace(SETTINGS.train, device="mps" if sys.platform != "darwin" else "cuda"))
    with pytest.raises(DeviceError):
        show_sweep(plan_of(tmp_path, config=config), SweepOptions(tmp_path / "other", "", WorkPlace(1)))
    show_sweep(plan_of(tmp_path), SweepOptions(tmp_path / "free", "", WorkPlace(1)))
    with pytest.raises(RunError, match="another process trains in"):
        show_sweep(plan_of(tmp_path), SweepOptions(tmp_path / "free", "", WorkPlace(1)))
    assert len(instant.tasks) == 12


@pytest.mark.parametrize("jobs", [1, 2])
def test_hands_end_what_they_began(tmp_path: Path, jobs: int) -> None:
    """A process that fails says why in a line, and one that still runs ends with its hands."""
    settings = tmp_path / "own.toml"
    settings.write_text(configuration.format_config_toml(SETTINGS))
    wrong = TrainingTask(1, ("train", "--recipe", "none"), tmp_path / "a" / "fold.log", tmp_path / "report.json")
    endless = ("train", "--config", str(settings), "--run", str(tmp_path / "run"), "--device", "cpu")
    with open_trainings(WorkPlace(jobs), 9, tmp_path, ()) as hands:
        assert hands.has_room()
        hands.submit(wrong)
        assert hands.has_room() == (jobs == 2)
        (end,) = hands.wait()
        assert hands.has_room()
        if jobs == 2:
            hands.submit(TrainingTask(2, endless, tmp_path / "b" / "fold.log", tmp_path / "report.json"))
            until(bool(trainings_of(os.getpid())) for _ in iter(int, 1))
            (process,) = trainings_of(os.getpid())
    assert (end.task, end.failure) == (wrong, "no recipe 'none'; valid are reproduction, best (--recipe)")
    if jobs == 2:
        assert not psutil.wait_procs([process], timeout=10)[1]


def trainings_of(pid: int) -> list[psutil.Process]:
    """Return the trainings below a process."""
    below = psutil.Process(pid).children(recursive=True)
    return [process for process in below if "--child" in process.cmdline()]


class DyingHands:
    """Hands of one process that die over a task so often, or whose training does; then it goes well."""

    def __init__(self, deaths: int, whole: bool) -> None:
        self._deaths, self._whole = deaths, whole
        self.taken: list[int] = []
        self._now: list[tuple[int, TrainingTask]] = []

    def width(self) -> int:
        return 1

    def room(self) -> int:
        return 1 - len(self._now)

    def take(self, number: int, group: Sequence[TrainingTask]) -> None:
        (task,) = group
        self.taken.append(task.trial)
        self._now.append((number, task))

    def wait(self, seconds: float) -> list[tuple[int, GroupNews[TrainingEnd]]]:
        assert seconds > 0
        number, task = self._now.pop()
        dies = self.taken.count(task.trial) <= self._deaths
        if dies and self._whole:
            return [(number, GroupEnd("its host is gone"))]
        if not dies:
            task.report.write_text("")
        end = TrainingEnd(task, "its process was killed" if dies else "", died=dies)
        return [(number, ItemFound(0, end)), (number, GroupEnd())]


@pytest.mark.parametrize("whole", [False, True], ids=["training", "host"])
def test_a_death_is_no_failure(tmp_path: Path, whole: bool) -> None:
    """A training whose process or host dies is given again, and the third death is the end, with the reason."""
    task = TrainingTask(4, (), tmp_path / "fold.log", tmp_path / "report.json")
    for deaths, failure in ((0, ""), (2, ""), (3, f"3 times: its {'host is gone' if whole else 'process was killed'}")):
        hands = DyingHands(deaths, whole)
        trainings = GroupedTrainings(hands)
        trainings.submit(task)
        assert trainings.wait() == [TrainingEnd(task, failure, died=False)]
        assert hands.taken == [4] * min(deaths + 1, 3)
        assert trainings.has_room()
        task.report.unlink(missing_ok=True)


def test_a_death_after_the_end(tmp_path: Path) -> None:
    """A training that had left its report when its host died has ended well."""
    task = TrainingTask(4, (), tmp_path / "fold.log", tmp_path / "report.json")
    task.report.touch()
    trainings = GroupedTrainings(hands := DyingHands(9, True))
    trainings.submit(task)
    assert trainings.wait() == [TrainingEnd(task, "")]
    assert hands.taken == [4]
