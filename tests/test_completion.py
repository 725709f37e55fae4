"""What the shell completes, asked as the shell does."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.cli.completion import LEAD_NAMES, SET_NAMES
from agent.core.config import load_config
from agent.evaluation.record_selection import RECORD_SETS
from model.nets.checkpoint_card import shipped_checkpoints
from model.records.wfdb_records import embedded_noises, embedded_records, open_record

SHELL = """
import os, sys
sys.argv = ["ecg-agent"]
from agent.__main__ import main
import agent.cli.app
for line in sys.stdin:
    if (child := os.fork()) == 0:
        folder, os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = line.rstrip("\\n").split("\\t")
        os.chdir(folder)
        try:
            main()
        finally:
            print("\\0", *sys.modules, end="\\0", flush=True)
            os._exit(0)
    os.waitpid(child, 0)
"""
"""Completes a line as a new process would that has just imported the command line: in a fork of one that has."""
HEAVY = {"numpy", "torch", "scipy", "wfdb", "zmq", "matplotlib"}


Completed = Callable[..., list[str]]


@pytest.fixture(scope="module")
def completed() -> Iterator[Completed]:
    """What Bash would offer for the last word of a line; nothing heavy may be imported for it."""
    root = Path(__file__).parent.parent
    environment = os.environ | {"_ECG_AGENT_COMPLETE": "complete_bash", "PYTHONPATH": str(root)}
    call = [sys.executable, "-c", SHELL]
    with subprocess.Popen(call, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        asked, told = shell.stdin, shell.stdout
        assert asked is not None
        assert told is not None

        def part() -> list[str]:
            return b"".join(iter(lambda: told.read(1), b"\0")).decode().split()

        def complete(line: str, folder: Path = root) -> list[str]:
            words = ["ecg-agent", *line.split(" ")]
            asked.write(f"{folder}\t{' '.join(words)}\t{len(words) - 1}\n".encode())
            asked.flush()
            offered, loaded = part(), part()
            assert "agent.cli.app" in loaded
            assert HEAVY & set(loaded) == set()
            return offered

        yield complete


@pytest.mark.parametrize("line", ["demo ", "simulate record ", "simulate ward ", "simulate ward 100 "])
def test_records(completed: Completed, line: str) -> None:
    """Where a record is expected, the embedded ones are offered."""
    assert completed(line) == list(embedded_records())


@pytest.mark.parametrize("command", ["monitor", "demo", "evaluate", "export", "transfer data"])
def test_weights(completed: Completed, command: str) -> None:
    """Where weights are expected, the shipped ones are offered."""
    assert completed(f"{command} --weights ") == list(shipped_checkpoints())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("demo 20", [name for name in embedded_records() if name.startswith("20")]),
        ("demo nowhere", []),
        ("monitor --weights best", ["best", "best-inter-patient"]),
        ("monitor --lead ", list(LEAD_NAMES)),
        ("evaluate --lead M", ["MLII"]),
        ("evaluate --set ds", ["ds1", "ds2"]),
        ("monitor --device c", ["cuda", "cpu"]),
        ("train --protocol ", ["random", "inter-patient"]),
        ("train --recipe ", list(load_config(None, {}).recipe)),
        ("simulate record 100 --noise ", list(embedded_noises())),
        ("train --config none.toml --recipe ", []),
    ],
)
def test_other_values(completed: Completed, line: str, offered: list[str]) -> None:
    """Values that begin as typed are offered; where none does, the shell falls back to files."""
    assert completed(line) == offered


def test_recipes_of_a_file(completed: Completed, tmp_path: Path) -> None:
    """Recipes of the file that --config names are offered, too."""
    (tmp_path / "my.toml").write_text("[recipe.quick]\nepochs = 1\n")
    assert completed("train --config my.toml --recipe q", tmp_path) == ["quick"]


def test_leads_and_sets_are_those_of_the_records() -> None:
    """The offered leads are those of the embedded records, the sets those that `evaluate` knows."""
    leads = {signal.name for name in embedded_records() for signal in open_record(name).signals}
    assert {"auto", *leads} == set(LEAD_NAMES)
    assert set(SET_NAMES) == set(RECORD_SETS)
