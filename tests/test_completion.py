"""What the shell completes, asked as the shell does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.completion import LEAD_NAMES, SET_NAMES
from agent.core.config import load_config
from agent.evaluation.record_selection import RECORD_SETS
from model.nets.checkpoint_card import shipped_checkpoints
from model.records.wfdb_records import embedded_noises, embedded_records, open_record

MEASURE = """
import sys
sys.argv = ["ecg-agent"]
from agent.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
HEAVY = {"numpy", "torch", "scipy", "wfdb", "zmq", "matplotlib"}


def completed(line: str, folder: Path | None = None) -> list[str]:
    """What Bash would offer for the last word of a line; nothing heavy may be imported for it."""
    words = ["ecg-agent", *line.split(" ")]
    environment = os.environ | {
        "_ECG_AGENT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert HEAVY & set(done.stderr.split()) == set()
    return done.stdout.split()


@pytest.mark.parametrize("line", ["demo ", "simulate record ", "simulate ward ", "simulate ward 100 "])
def test_records(line: str) -> None:
    """Where a record is expected, the embedded ones are offered."""
    assert completed(line) == list(embedded_records())


@pytest.mark.parametrize("command", ["monitor", "demo", "evaluate", "export", "transfer data"])
@pytest.mark.slow
def test_weights(command: str) -> None:
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
@pytest.mark.slow
def test_other_values(line: str, offered: list[str]) -> None:
    """Values that begin as typed are offered; where none does, the shell falls back to files."""
    assert completed(line) == offered


def test_recipes_of_a_file(tmp_path: Path) -> None:
    """Recipes of the file that --config names are offered, too."""
    (tmp_path / "my.toml").write_text("[recipe.quick]\nepochs = 1\n")
    assert completed("train --config my.toml --recipe q", tmp_path) == ["quick"]


def test_leads_and_sets_are_those_of_the_records() -> None:
    """The offered leads are those of the embedded records, the sets those that `evaluate` knows."""
    leads = {signal.name for name in embedded_records() for signal in open_record(name).signals}
    assert {"auto", *leads} == set(LEAD_NAMES)
    assert set(SET_NAMES) == set(RECORD_SETS)
