import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.core import config as configuration
from agent.training import live_run, report_run, transfer_run
from agent.training.run_folder import explain_interruption, lock_run_folder
from model.beats import dataset
from model.errors import RunError

HOLD = """
import sys
from pathlib import Path
from agent.training.run_folder import lock_run_folder
lock_run_folder(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""
SETTINGS = configuration.load_config(None, {})


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    """While a process trains in a folder another one is refused in one line; once it has ended the folder is free."""
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match=r"^another process trains in .*: wait for it or .* \(--run\)$"):
            lock_run_folder(folder)
        other.kill()
    lock_run_folder(folder)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A run folder below a file is refused in one line that names the option."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"^cannot use run folder .*; choose another folder \(--run\)$"):
        lock_run_folder(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("resumable", "text"),
    [
        (True, "Interrupted: every complete epoch is kept. Continue with: ecg-agent train --run mine"),
        (False, "Interrupted: an unfinished run keeps nothing. Start again with: ecg-agent train --run mine"),
    ],
)
def test_an_interruption_is_explained(resumable: bool, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C prints one line with the command that goes on, and remains Ctrl-C for the shell."""
    with pytest.raises(KeyboardInterrupt), explain_interruption("ecg-agent train --run mine", resumable):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == f"\n{text}\n"


def test_a_run_that_ends_well_explains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Without Ctrl-C nothing is printed, and other errors pass as they are."""
    with explain_interruption("ecg-agent train", True):
        pass
    with pytest.raises(RunError), explain_interruption("ecg-agent train", True):
        raise RunError("full")
    assert capsys.readouterr().err == ""


def test_train_names_the_command_that_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while `train` runs names the very command that was given, since that continues the run."""
    monkeypatch.setattr(dataset, "load_beat_set", interrupt)
    options = report_run.TrainingOptions(tmp_path / "run", "mine", "ecg-agent train --seed 3", None, False)
    with pytest.raises(KeyboardInterrupt):
        report_run.show_training(replace(SETTINGS, train=replace(SETTINGS.train, device="cpu")), options)
    assert capsys.readouterr().err.endswith("Continue with: ecg-agent train --seed 3\n")


def test_train_live_names_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while `train-live` runs names the command that continues it."""
    monkeypatch.setattr(live_run, "build_augmented_stream", interrupt)
    settings = replace(SETTINGS, train=replace(SETTINGS.train, device="cpu", threads=1))
    with pytest.raises(KeyboardInterrupt):
        live_run.show_live_training(settings, tmp_path / "run", "live", "ecg-agent train-live --fold 1", 1)
    assert capsys.readouterr().err.endswith("Continue with: ecg-agent train-live --fold 1\n")


def test_transfer_names_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while `transfer` runs says that it has to begin again."""
    monkeypatch.setattr(transfer_run, "checkpoint_card", SimpleNamespace(find_checkpoint=interrupt))
    with pytest.raises(KeyboardInterrupt):
        transfer_run.show_transfer(tmp_path / "x.npz", "best", tmp_path, False, "ecg-agent transfer x.npz")
    assert capsys.readouterr().err.endswith("Start again with: ecg-agent transfer x.npz\n")
