"""docs/teaching.md: every command on the page works, and every output is real."""

import re
import shlex
import subprocess
from typing import Any

import pytest
from support.agent_process import AgentProcess, run_agent
from test_cli import LONG_S, REPOSITORY, environment
from test_docs import mask_volatile

PAGE = REPOSITORY / "docs" / "teaching.md"
QUICK = ("--speed", "8", "--seconds", "5")
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


def filtered(filters: str, text: str) -> str:
    """Return what filters make of a text."""
    done = subprocess.run(["bash", "-c", filters], input=text, capture_output=True, text=True, check=False)
    return done.stdout


def printed_by(command: str) -> str:
    """Return what a line of the shell prints in which `ecg-agent` may stand between other commands."""
    parts = re.fullmatch(r"(?:(?P<typed>printf .*?) \| )?ecg-agent (?P<words>.*?)(?: \| (?P<filters>.*))?", command)
    assert parts is not None, command
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with AgentProcess[str](shlex.split(parts["words"]), text=True, env=environment(), **pipes) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(filtered(parts["typed"] or "true", ""))
        agent.stdin.close()
        words = ["bash", "-c", parts["filters"] or "cat"]
        done = subprocess.run(words, stdin=agent.stdout, capture_output=True, text=True, timeout=LONG_S, check=False)
        agent.stdout.close()
    return done.stdout


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
def test_outputs_are_real(source: str) -> None:
    """A command prints what stands below it, whatever its speed; with several filters behind it, it runs once."""
    shown, quick = sources_of_outputs()[source], source.replace(" --speed 8", " --speed max")
    if len(shown) == 1:
        ((filters, output),) = shown.items()
        assert lines(printed_by(" | ".join(filter(None, (quick, filters))))) == lines(output)
        return
    printed = printed_by(f"{quick} | head -{ENOUGH}")
    for filters, output in shown.items():
        assert lines(filtered(filters, printed)) == lines(output)


@pytest.mark.slow
@pytest.mark.parametrize("command", typed_commands())
def test_commands_work(command: str) -> None:
    """A command that shows a dashboard or asks questions starts, shows something, and ends in order."""
    wanted = shlex.split(command)[1:]
    done = run_agent(wanted if "quiz" in wanted else [*wanted, *QUICK], "n\nx\n", env=environment())
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
    assert "Traceback" not in done.stderr
