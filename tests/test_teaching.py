"""docs/teaching.md: every command on the page works, and every output is real."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import LONG_S, REPOSITORY, environment
from test_docs import mask_volatile

PAGE = REPOSITORY / "docs" / "teaching.md"
QUICK = ("--speed", "8", "--seconds", "6")
"""What a command needs to end by itself in a test, and soon."""
ENOUGH = 60
"""Lines of a command of which several outputs are shown."""


def shown_outputs() -> list[tuple[str, str]]:
    """Return each command of the code blocks with the output that stands below it."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def typed_commands() -> list[str]:
    """Return the commands that are to be typed, whose dashboard or questions the page does not show."""
    return re.findall(r"^    (ecg-agent .*)$", PAGE.read_text(), re.MULTILINE)


def lines(output: str) -> list[str]:
    """Return lines without what differs from run to run, and without the empty ones."""
    return [masked for line in output.splitlines() if (masked := mask_volatile(line))]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program `ecg-agent` that runs this repository."""
    folder = tmp_path_factory.mktemp("shim")
    program = folder / "ecg-agent"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m agent "$@"\n')
    program.chmod(0o755)
    return folder


def shell(command: str, shim: Path, answers: str = "") -> "subprocess.CompletedProcess[str]":
    clean = environment(PYTHONPATH=str(REPOSITORY))
    clean["PATH"] = f"{shim}:{clean['PATH']}"
    words = ["bash", "-c", command]
    return subprocess.run(
        words, input=answers, capture_output=True, text=True, timeout=2 * LONG_S, env=clean, check=False
    )


def test_the_page_has_its_lessons() -> None:
    """Five lessons, each with commands to type, a real output, a question and its answer."""
    lessons = re.split(r"^## \d\. ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    assert len(lessons) == 5
    for lesson in lessons:
        assert "    ecg-agent demo" in lesson
        assert "\n$ ecg-agent" in lesson
        assert "*Question:*" in lesson
        assert "*Answer:*" in lesson
    assert len(shown_outputs()) >= 10
    assert len(typed_commands()) >= 8


def sources_of_outputs() -> dict[str, dict[str, str]]:
    """Return for each command with arguments that prints something what stands behind it, with the output."""
    sources: dict[str, dict[str, str]] = {}
    for command, output in shown_outputs():
        source, _, filters = command.partition(" | cut ")
        sources.setdefault(source, {})[f"cut {filters}" if filters else ""] = output
    return sources


@pytest.mark.slow
@pytest.mark.parametrize("source", sources_of_outputs())
def test_outputs_are_real(source: str, shim: Path) -> None:
    """A command prints what stands below it, whatever its speed; with several filters behind it, it runs once."""
    shown, quick = sources_of_outputs()[source], source.replace(" --speed 8", " --speed max")
    if len(shown) == 1:
        ((filters, output),) = shown.items()
        assert lines(shell(" | ".join(filter(None, (quick, filters))), shim).stdout) == lines(output)
        return
    printed = shell(f"{quick} | head -{ENOUGH}", shim).stdout
    for filters, output in shown.items():
        assert lines(shell(filters, shim, printed).stdout) == lines(output)


@pytest.mark.slow
@pytest.mark.parametrize("command", typed_commands())
def test_commands_work(command: str, shim: Path) -> None:
    """A command that shows a dashboard or asks questions starts, shows something, and ends in order."""
    wanted = command if " quiz" in command else shlex.join([*shlex.split(command), *QUICK])
    done = shell(wanted, shim, answers="n\nx\n")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
    assert "Traceback" not in done.stderr
