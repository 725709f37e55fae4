import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.cli.app import app
from agent.core import config as configuration
from agent.core.config import Config
from model import errors
from model.nets import checkpoint
from model.training import model_card

REPOSITORY = Path(__file__).parent.parent
WAVEFORM = "waveform"
"""The judge of the waveform is no classifier of beats: its card is its own."""
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]


def commands(path: Path) -> list[str]:
    """Every `ecg-agent ...` of a document, in code blocks and in backticks, without what follows a pipe."""
    text = path.read_text()
    blocks = "\n".join(re.findall(r"^(?:    |\$ )(ecg-agent .*)$", text, re.MULTILINE))
    spans = "\n".join(re.findall(r"`(ecg-agent [^`]+)`", text))
    return [re.split(r" [|>2#]", line)[0].strip() for line in f"{blocks}\n{spans}".splitlines() if line]


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words after it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(path: Path) -> None:
    """Every command and option that a document shows is one of the program's."""
    for line in commands(path):
        command, words = leaf(shlex.split(line.replace("…", ""))[1:])
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        options.add("--help")
        for word in words:
            assert not word.startswith("--") or word in options, f"{line}: no option {word}"


def test_the_readme_shows_commands() -> None:
    """The search for commands finds the ones that everybody needs."""
    text = "\n".join(commands(REPOSITORY / "README.md"))
    for needed in ("ecg-agent monitor", "ecg-agent simulate record", "ecg-agent train", "ecg-agent config show"):
        assert needed in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_documents_exist(path: Path) -> None:
    """Every file or folder of the repository that a document names is there."""
    for name in re.findall(r"`((?:agent|model|simulator|tests|benchmarks|docs)/[\w./-]*)`", path.read_text()):
        assert (REPOSITORY / name).exists(), name
    for name in re.findall(r"\]\((?!http)([\w./-]+)\)", path.read_text()):
        assert (path.parent / name).exists(), name


def test_make_targets_in_the_readme_exist() -> None:
    """`make` commands of the README are targets of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make (\w+)", (REPOSITORY / "README.md").read_text()))
    assert {"demo", "test"} <= named <= targets


def test_keys_of_the_configuration_in_the_readme_exist() -> None:
    """Keys and environment variables that the README shows are valid."""
    text = (REPOSITORY / "README.md").read_text()
    sections = tomllib.loads(configuration.default_config_path().read_text())
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        for section, values in tomllib.loads(block).items():
            assert set(values) <= set(sections[section])
    for name in set(re.findall(r"ECG_AGENT_\w+", text)) - configuration.NON_SETTING_VARIABLES:
        section, _, key = name.removeprefix("ECG_AGENT_").lower().partition("_")
        assert key in sections[section], name


def test_every_key_has_a_comment_and_a_home() -> None:
    """config.toml explains every key, and its sections and keys are those of the code, in the same order."""
    text = configuration.default_config_path().read_text()
    sections = tomllib.loads(text)
    assert list(sections) == [field.name for field in fields(Config)]
    for section, values in sections.items():
        for key in values["reproduction"] if section == "recipe" else values:
            assert re.search(rf"^{key} = .*#|#.*\n{key} = ", text, re.MULTILINE), f"{section}.{key}"


def test_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    """The README's table of exit codes has exactly the codes that the errors have."""
    table = (REPOSITORY / "README.md").read_text().split("| exit code |")[1].split("\n\n")[0]
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EcgError)]
    raised = {kind.exit_code for kind in kinds}
    assert shown == raised | {0, 2}


def test_every_shipped_checkpoint_has_its_card() -> None:
    """docs/models holds a card for each of the shipped weights, as its command prints it, and no other."""
    folder = REPOSITORY / "docs" / "models"
    assert {path.stem for path in folder.glob("*.md")} == {*checkpoint.shipped_checkpoints(), WAVEFORM}
    for name in checkpoint.shipped_checkpoints():
        assert (folder / f"{name}.md").read_text() == model_card.render_model_card(checkpoint.find_checkpoint(name)), (
            name
        )


def test_no_page_has_an_empty_place() -> None:
    """No figure of the documents is still to be filled in."""
    for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")):
        assert not re.findall(r"@[A-Z0-9]+@", path.read_text()), path
