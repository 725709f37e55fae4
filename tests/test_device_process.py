"""agent.cli.device_process and `monitor --from`: a device and its monitor in one command."""

import json
from pathlib import Path

import pytest
from support.agent_process import run_agent
from support.commands import RunHere

from model.records.wfdb_records import open_record, read_record_samples

ROOT = Path(__file__).parents[1]
COUNTS_MV = 200
"""Counts of a millivolt of the made sensor."""


def sensor_lines(seconds: float) -> str:
    """Return the first lead of record 208 as a microcontroller prints it: 360 lines a second."""
    record = open_record("208")
    samples = read_record_samples(record, 0, round(seconds * record.fs))[:, 0]
    return "".join(f"{round(COUNTS_MV * value) + 1024}\n" for value in samples)


@pytest.mark.slow
def test_lines_on_standard_input_are_monitored() -> None:
    """`monitor --from -` finds the beats of a record that comes as lines, and its ledger closes."""
    done = run_agent(["monitor", "--from", "-", "--fs", "360", "--unit", "5uV", "--json"], sensor_lines(12))
    assert done.returncode == 0, done.stderr
    items = [json.loads(line) for line in done.stdout.splitlines()]
    beats = [item for item in items if item["type"] == "beat"]
    assert len(beats) == 20
    assert {item["bed"] for item in beats} == {"stdin"}
    (ledger,) = [item for item in items if item["type"] == "ledger"]
    assert (ledger["sent"], ledger["analysed"], ledger["missing"]) == (12 * 360, 12 * 360, 0)
    assert any(item.get("event") == "DeviceNote" and "360 Hz, ECG in uV" in item["text"] for item in items)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "text", "code", "reason"),
    [
        (["--from", "nowhere.csv"], None, 4, "nowhere.csv"),
        (["--from", "-", "--fs", "250"], "hello\n" * 100, 12, "sends text or other data, not rows of numbers"),
        (["--from", "-"], "12\n" * 100, 12, "say it, such as --fs 250"),
        (["--from", "-", "--fs", "0"], "12\n", 3, "a rate of 0 Hz makes no sense"),
        (["--from", "-", "--unit", "millimetres"], "12\n", 3, "unit 'millimetres' makes no sense"),
        (["--from", "-", "--columns", "0"], "12\n", 3, "columns '0' make no sense"),
        (["--from", "-", "--names", ","], "12\n", 3, "names ',' make no sense: give one for each lead, such as II,V5"),
        (["--from", "-", "--names", ""], "12\n", 3, "names '' make no sense"),
        (["--lead", ","], None, 3, "lead ',' names none: write auto, II, or several such as II,V5"),
        (["--lead", " , "], None, 3, "lead ' , ' names none"),
        (["--from", "-", "--fs", "250", "--columns", "3"], "1,2\n" * 9, 12, "there is no column 3"),
        (["--from", "-", "--fs", "250"], ",".join(["1"] * 500) + "\n", 12, "sends 500 numbers a line: choose up to 16"),
        (["--from", "100", "--baud", "9600"], None, 3, "--baud and --frames are of sensors"),
        (["--from", "-", "--endpoint", "tcp://127.0.0.1:5555"], None, 3, "leave --endpoint out"),
        (["--fs", "250"], None, 3, "are of a source: give it with --from"),
    ],
)
@pytest.mark.usefixtures("forked_commands")
def test_what_is_wrong_with_a_source_is_said(
    run_here: RunHere, arguments: list[str], text: str | None, code: int, reason: str
) -> None:
    """A source that cannot be used ends the monitor with one line and the exit code of its error."""
    done = run_here("monitor", *arguments, text=text or "")
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ecg-agent: ")
    assert reason in last
    assert "Traceback" not in done.stderr
