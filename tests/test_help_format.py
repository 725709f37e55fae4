"""The help of every command."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from agent.cli.app import app
from agent.cli.help_format import build_command
from agent.dashboard.key_table import KEYS


def command_names(command: Any, *before: str) -> Iterator[tuple[str, ...]]:
    yield before
    for name, child in getattr(command, "commands", {}).items():
        yield from command_names(child, *before, name)


COMMANDS = list(command_names(typer.main.get_command(app)))


@pytest.fixture
def help_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The help of a command, 100 columns wide, with its spaces as they are."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*command: str) -> str:
        with pytest.raises(SystemExit) as ended:
            build_command(app, command)([*command, "--help"], prog_name="ecg-agent")
        assert ended.value.code == 0
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_reads_like_other_programs(help_of: Any, command: tuple[str, ...]) -> None:
    """No flag has a type, no value has a Python type, and no argument has braces."""
    text = help_of(*command)
    assert not re.search(r"<\w+|list\[|\{\w+\}", text)
    assert re.search(r"--help +Show this message and exit\.", text)


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("simulate record", "[OPTIONS] RECORD"),
        ("simulate ward", "[OPTIONS] [RECORD]..."),
        ("demo", "[OPTIONS] [RECORD]"),
        ("convert", "[OPTIONS] RECORDING FILE"),
        ("monitor", "[OPTIONS]"),
    ],
)
def test_usage_shows_arguments_as_they_are_typed(help_of: Any, command: str, usage: str) -> None:
    """The usage line names what is required plainly and what may be left out in brackets."""
    assert f"Usage: ecg-agent {command} {usage} " in help_of(*command.split())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_values_have_names(command: tuple[str, ...]) -> None:
    """Every option with a value and every argument says what to give, in capital letters."""
    found: Any = build_command(app, command)
    for name in command:
        found = found.commands[name]
    parameters = [] if hasattr(found, "commands") else found.params
    values = [parameter for parameter in parameters if not getattr(parameter, "is_flag", False)]
    assert all(re.fullmatch(r"[A-Z|]+(\.\w+)?", parameter.metavar or "") for parameter in values)


@pytest.mark.parametrize("command", ["monitor", "demo"])
def test_the_keys_of_the_dashboard_are_listed(help_of: Any, command: str) -> None:
    """The help of what opens the dashboard names every key that the bottom line of the screen shows."""
    keys = " ".join(help_of(command).split("Keys:")[1].split())
    for key in KEYS:
        assert f"{key.keys} {key.meaning}" in keys


@pytest.mark.parametrize("command", ["record", "ward"])
def test_duration_and_loop_say_how_they_go_together(help_of: Any, command: str) -> None:
    """A duration is that of all rounds together."""
    words = " ".join(help_of("simulate", command).replace("│", " ").split())
    assert "Replay this much in all, with --loop over all rounds." in words
    assert "Restart at the end of the record, for ever without --duration." in words
