import contextlib
import io
import os
import re
import shlex
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from support.agent_process import AgentProcess, run_agent
from test_structure import FLOORS

from agent.__main__ import INTERRUPTED
from agent.analysis.beat_classifier import load_beat_classifier
from agent.cli.app import app
from agent.cli.device_process import find_free_endpoint
from agent.core import config as configuration
from agent.core.bed_settings import BedSettings
from agent.core.config import Config
from agent.core.messages import Alarm
from agent.dashboard.key_table import keys_markdown
from agent.outputs.text_lines import format_result
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import record_chunks
from model import errors
from model.nets import checkpoint_card
from model.records.wfdb_records import open_record, read_record_samples
from model.training import model_card

REPOSITORY = Path(__file__).parent.parent
README = REPOSITORY / "README.md"
ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
FILES = REPOSITORY / "docs" / "files.md"
WAVEFORM = "waveform"
"""The waveform classifier is not a classifier of beats: its card is its own."""
DOCUMENTS = [
    README,
    *(REPOSITORY / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").glob("**/*.md")),
]
LONG_S = 120.0
VOLATILE = (
    (r'"run":"[0-9a-f]{32}"', '"run":""'),
    (r"\brun [0-9a-f]{8}\b", "run"),
    (r'"(added|link)_ms":(null|[\d.]+)', r'"\1_ms":0'),
    (r',"(\w+_)?time":("[^"]*"|null)', ""),
    (r"^\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d  ", "TIME  "),
    (r"added latency p50 [\d.]+ ms, p99 [\d.]+ ms", "added latency"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "date"),
    (r"\d+ kB", "size"),
)
"""What differs from run to run in an output, and what stands for it."""


def commands(path: Path) -> list[str]:
    """Every `ecg-agent ...` of a document, in code blocks and in backticks, without what follows a pipe."""
    text = path.read_text()
    blocks = "\n".join(re.findall(r"^(?:    |\$ )(ecg-agent .*)$", text, re.MULTILINE))
    spans = "\n".join(re.findall(r"`(ecg-agent [^`]+)`", text))
    return [re.split(r" (?:[|>#]|2>)", line)[0].strip() for line in f"{blocks}\n{spans}".splitlines() if line]


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
    text = "\n".join(commands(README))
    for needed in ("ecg-agent monitor", "ecg-agent simulate record", "ecg-agent train", "ecg-agent config show"):
        assert needed in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_documents_exist(path: Path) -> None:
    """Every file or folder of the repository that a document names is there."""
    for name in re.findall(r"`((?:agent|model|simulator|tests|benchmarks|docs)/[\w./-]*)`", path.read_text()):
        assert (REPOSITORY / name).exists(), name
    for name in re.findall(r"\]\((?!http)([\w./-]+)\)", path.read_text()):
        assert (path.parent / name).exists(), name


def test_make_targets_exist() -> None:
    """`make` commands of README and CONTRIBUTING are targets of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for path in DOCUMENTS[:2] for name in re.findall(r"(?:^ *|`)make (\w+)", path.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "quick"} <= named <= targets


def test_keys_of_the_configuration_in_the_readme_exist() -> None:
    """Keys and environment variables that the README shows are valid."""
    text = README.read_text()
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
    assert list(sections) == [field.name for field in fields(Config) if field.name != "bed"]
    of_beds = text.split('[bed."7"]')[1].split("[alarms]")[0]  # an example in comments: no bed has its own by default
    assert all(field.name in of_beds for field in fields(BedSettings))
    for section, values in sections.items():
        for key in values["reproduction"] if section == "recipe" else values:
            assert re.search(rf"^{key} = .*#|#.*\n{key} = ", text, re.MULTILINE), f"{section}.{key}"


def test_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    """The README's table of exit codes has exactly the codes that the errors have."""
    table = README.read_text().split("| exit code |")[1].split("\n\n")[0]
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EcgError)]
    raised = {kind.exit_code for kind in kinds}
    assert shown == raised | {0, 2, INTERRUPTED}


def test_every_shipped_checkpoint_has_its_card() -> None:
    """docs/models holds a card for each of the shipped weights, as its command prints it, and no other."""
    folder = REPOSITORY / "docs" / "models"
    assert {path.stem for path in folder.glob("*.md")} == {*checkpoint_card.shipped_checkpoints(), WAVEFORM}
    for name in checkpoint_card.shipped_checkpoints():
        assert (folder / f"{name}.md").read_text() == model_card.render_model_card(
            checkpoint_card.find_checkpoint(name)
        ), name


def test_no_page_has_an_empty_place() -> None:
    """No figure of the documents is still to be filled in."""
    for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")):
        assert not re.findall(r"@[A-Z0-9]+@", path.read_text()), path


def heading_anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_anchors_in_documents_exist(path: Path) -> None:
    """Every link to a heading leads to one."""
    for name, anchor in re.findall(r"\]\((?!http)([\w./-]*)#([\w-]+)\)", path.read_text()):
        assert anchor in heading_anchors(path.parent / name if name else path), f"{name}#{anchor}"


def test_the_floors_of_the_architecture_are_those_that_are_tested() -> None:
    """The page draws the folders in the order that test_structure.py holds, the ground last."""
    block = ARCHITECTURE.read_text().split("## Floors")[1].split("```")[1]
    drawn = re.findall(r"^ *(\d+)  (\S+(?: \S+)*)", block, re.MULTILINE)
    assert [folders for _, folders in drawn] == list(reversed(FLOORS))
    assert [int(number) for number, _ in drawn] == list(range(len(FLOORS), 0, -1))


def test_the_files_of_every_folder_are_named() -> None:
    """Each folder has a section, and the files that it names are in it."""
    sections = re.findall(r"^## `([\w/]+)/`\n((?:(?:- |  ).*\n)+)", FILES.read_text(), re.MULTILINE)
    assert {folder.replace("/", ".") for folder, _ in sections} == {
        folder for line in FLOORS for folder in line.split()
    }
    for folder, text in sections:
        files = re.findall(r"`(\w+\.py)`", text)
        assert files
        assert [name for name in files if not (REPOSITORY / folder / name).exists()] == [], folder


def test_the_state_of_a_bed_is_where_the_architecture_says() -> None:
    """Every class in the table of a bed's state is defined in the file beside it."""
    table = ARCHITECTURE.read_text().split("## Where the state of one bed lives")[1].split("\n## ")[0]
    rows = re.findall(r"^\| .* \| (`.*`) \| (`.*`) \|$", table, re.MULTILINE)
    assert len(rows) >= 18
    for classes, files in rows:
        sources = [(REPOSITORY / name).read_text() for name in re.findall(r"`([^`]+)`", files)]
        for name in re.findall(r"`(\w+)`", classes):
            assert any(re.search(rf"^class {name}\b", source, re.MULTILINE) for source in sources), name


def test_the_glossary_is_in_order() -> None:
    """Terms are alphabetical, letter by letter, each with one home that is there."""
    terms = (REPOSITORY / "docs" / "glossary.md").read_text().split("## Terms\n")[1].strip().splitlines()
    keys = []
    for line in terms:
        match = re.fullmatch(r"- \*\*(.+?)\*\*: .+ `([\w./-]+)`", line)
        assert match, line
        assert (REPOSITORY / match[2]).is_file(), line
        keys.append(re.sub(r"[^a-z0-9]", "", match[1].lower()))
    assert len(keys) > 60
    assert keys == sorted(set(keys))


def test_keys_in_the_readme_are_those_of_the_help() -> None:
    """The table of keys is that of the dashboard's own help, to the letter."""
    assert keys_markdown() in README.read_text()


def readme_lines(start: str) -> list[str]:
    """Return the lines of the README's code blocks that begin with `start`, without what differs from run to run."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    lines = [mask_volatile(line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(start)]


def mask_volatile(line: str) -> str:
    for pattern, instead in VOLATILE:
        line = re.sub(pattern, instead, line)
    return line.rstrip()


@pytest.mark.slow
def test_lines_in_the_readme_are_real(tmp_path: Path) -> None:
    """The JSON lines, the summary and the list of recordings are what the commands above them print."""
    shown = [shlex.split(line)[1:] for line in commands(README)]
    simulate = next(words for words in shown if "--wait" in words)
    monitor = next(words for words in shown if "--until-end" in words)
    endpoint = ["--endpoint", find_free_endpoint()]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ECG_AGENT_")}
    settings: dict[str, Any] = {"env": clean, "cwd": REPOSITORY}
    with AgentProcess[str]([*simulate, *endpoint], stderr=subprocess.PIPE, text=True, **settings) as device:
        done = run_agent([*monitor, *endpoint, "--record", str(tmp_path / "night")], **settings)
        device.communicate(timeout=LONG_S)
    assert done.returncode == 0, done.stderr
    fresh = {mask_volatile(line) for line in done.stdout.splitlines()}
    samples = readme_lines('{"type"')
    assert {line.partition(",")[0] for line in samples} >= {
        '{"type":"event"',
        '{"type":"beat"',
        '{"type":"alarm"',
        '{"type":"ledger"',
    }
    assert [line for line in samples if line not in fresh] == []
    (summary,) = readme_lines("ecg-agent: ")
    assert summary == mask_volatile(done.stderr.splitlines()[-1])
    listed = run_agent(["sessions", str(tmp_path)], **settings)
    table = readme_lines("name ") + readme_lines("night  ")[1:]
    assert [line.split() for line in table] == [mask_volatile(line).split() for line in listed.stdout.splitlines()]


@pytest.mark.slow
def test_the_analysis_in_the_readme_is_real(tmp_path: Path) -> None:
    """A table of record 208 gives the summary and the rows that the README shows."""
    record = open_record("208")
    rows = enumerate(read_record_samples(record).round(3).tolist())
    text = "".join(f"{i / record.fs:.6f},{ml_ii},{v1}\n" for i, (ml_ii, v1) in rows)
    (tmp_path / "night.csv").write_text("time,MLII (mV),V1 (mV)\n" + text)
    words = next(shlex.split(line)[1:] for line in commands(README) if "analyse night.csv" in line)
    done = run_agent(words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = README.read_text().splitlines()
    assert {line.rstrip() for line in done.stdout.splitlines()} <= set(shown)
    rows_shown = [line for line in shown if re.match(r"(sample|\d+),(sample_125hz|\d+),", line)]
    beats = (tmp_path / "analysis" / "night" / "beats.csv").read_text().splitlines()
    assert rows_shown == beats[: len(rows_shown)]
    assert len(rows_shown) == 3


@pytest.mark.slow
def test_alarms_in_the_readme_are_real(settings: Config) -> None:
    """The alarms that the README shows of record 208 are those that the monitor raises."""
    pipeline = Pipeline(settings, load_beat_classifier(settings.monitor.weights, "cpu", 1))
    fresh = {
        format_result(result)
        for message in record_chunks(open_record("208"), "run", block_s=60)
        for result in pipeline.push([message])
        if isinstance(result, Alarm)
    }
    samples = [line.removeprefix("TIME  ") for line in readme_lines("TIME  208 ")]
    assert len(samples) >= 3
    assert [line for line in samples if line not in fresh] == []


@pytest.mark.slow
def test_the_python_code_of_the_readme_runs() -> None:
    """The example of the Python API prints what stands below it."""
    code, shown = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", README.read_text(), re.DOTALL)[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == shown
