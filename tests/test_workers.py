"""`monitor --workers N`: the beds of a ward shared between processes, each in one of them, with the same results."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.agent_process import LONG_S, AgentProcess
from test_cli import Refused, environment, parse_lines, refused, run, simulator

from agent.cli.worker_processes import worker_arguments
from agent.link.bed_part import MOST_PARTS, BedPart
from model.errors import ConfigError

__all__ = ["refused"]
WARD = ("ward", "100", "208", "119", "207", "210", "--speed", "10")
BEDS = sorted(WARD[1:6])


@pytest.mark.parametrize("parts", [1, 2, 3, 7, MOST_PARTS])
def test_each_bed_is_in_one_part(parts: int) -> None:
    """Whatever its name; and of a thousand beds each part has about as many."""
    beds = [*(f"bed {number}" for number in range(1000)), "100", "é", ""]
    having = [[number for number in range(1, parts + 1) if BedPart(number, parts).has(bed)] for bed in beds]
    assert {len(numbers) for numbers in having} == {1}
    sizes = [having.count([number]) for number in range(1, parts + 1)]
    assert min(sizes) > 0.4 * len(beds) / parts
    assert max(sizes) < 2 * len(beds) / parts


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "1/65", "a/b", "1 / 2", "\u0661/2"])
def test_what_is_no_part(text: str) -> None:
    """It says how a part is written."""
    with pytest.raises(ConfigError, match=r"write 1/2 for the first of two"):
        BedPart.read(text)
    assert BedPart.read("2/3") == BedPart(2, 3)


def test_workers_have_the_options_of_the_command() -> None:
    """Only the number of workers becomes a part."""
    command = ["monitor", "--lead", "II", "--workers", "3", "--json"]
    assert worker_arguments(command, 2, 3) == ["monitor", "--lead", "II", "--json", "--part", "2/3"]
    assert worker_arguments(["monitor", "--workers=3"], 1, 3) == ["monitor", "--part", "1/3"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--record", "here"], "--record"),
        (["--web", ":0"], "--web"),
        (["--metrics", ":0"], "--metrics"),
        (["--svg", "x.svg"], "--svg"),
        (["--truth", "--from", "208"], "--from"),
        (["--from", "x.csv"], "--from"),
        (["--replica", "a", "--publish", "store:x.db"], "--replica"),
        (["--part", "1/2"], "--workers makes the parts itself"),
    ],
)
def test_what_one_process_has(refused: Refused, options: list[str], name: str) -> None:
    """It is refused, with what to do instead, and the page on workers says so."""
    code, line = refused("monitor", "--workers", "2", *options)
    assert code == 3
    assert line.startswith(f"ecg-agent: {name}")
    section = (Path(__file__).parents[1] / "docs/fleet.md").read_text().split("\n## ")[1]
    assert f"`{name.split()[0]}`" in section or name.startswith("--workers")


@contextmanager
def workers_of(endpoint: str, *options: str, fresh: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """Three workers that follow an endpoint; each hashes in its own way if it is `fresh`."""
    command = ["monitor", "--endpoint", endpoint, "--workers", "3", "--json", *options]
    with AgentProcess[str](
        command, fresh=fresh, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(lines: list[dict[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """Beats, alarms and ledgers of each bed in order, without the times of this run."""
    kept = ("type", "sample", "label", "condition", "onset", "priority", "analysed", "missing")
    by_bed: dict[str, list[tuple[Any, ...]]] = {}
    for line in lines:
        if line["type"] in ("beat", "alarm", "ledger"):
            by_bed.setdefault(line["bed"], []).append(tuple(line.get(name) for name in kept))
    return by_bed


@pytest.mark.slow
def test_results_are_those_of_one_process() -> None:
    """Each bed comes once, with the same beats, alarms and ledger, its lines in order."""
    with simulator(*WARD, "--duration", "60") as (endpoint, _):
        one = parse_lines(run("monitor", "--endpoint", endpoint, "--json", "--until-end").stdout)
    with (
        simulator(*WARD, "--duration", "60") as (endpoint, _),
        workers_of(endpoint, "--until-end", fresh=True) as process,
    ):
        out, said = process.communicate(timeout=LONG_S)
    assert process.returncode == 0
    assert told(parse_lines(out)) == told(one)
    assert sorted(told(one)) == BEDS
    analysed = re.findall(r"^ecg-agent: worker ([123]): (\d) beds?, .* 0 missing", said, re.MULTILINE)
    assert sorted(number for number, _ in analysed) == sorted({number for number, _ in analysed})
    assert sum(int(beds) for _, beds in analysed) == len(BEDS)


def worker_processes(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The three workers, once they are there."""
    until_s = time.monotonic() + LONG_S
    while time.monotonic() < until_s:
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if child.name() == "ecg-agent" or "--part" in child.cmdline()]
        if len(workers) >= 3:
            return workers
        time.sleep(0.1)
    pytest.fail("no three workers")


def wait_for_all_beds(process: "subprocess.Popen[str]") -> None:
    """Read what the workers print until each bed has come."""
    assert process.stdout is not None
    came: set[str] = set()
    while not came >= set(BEDS):
        came.add(json.loads(process.stdout.readline())["bed"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGKILL, r"was killed \(Killed\)"), (signal.SIGTERM, "has ended")]
)
def test_a_worker_is_ended(number: signal.Signals, words: str) -> None:
    """All end, and the command says which one it was: a ward of which a part is not watched must not go on."""
    with simulator(*WARD) as (endpoint, _), workers_of(endpoint) as process:
        wait_for_all_beds(process)
        workers = worker_processes(process)
        workers[1].send_signal(number)
        said = process.communicate(timeout=LONG_S)[1]
        assert process.returncode == 1
        assert re.search(rf"^ecg-agent: worker [123] {words}: all are ended", said, re.MULTILINE)
        assert not psutil.wait_procs(workers, timeout=LONG_S)[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_command(number: signal.Signals) -> None:
    """In order where it can: the ledgers are told. Where it is killed they are gone as well."""
    with simulator(*WARD) as (endpoint, _), workers_of(endpoint) as process:
        wait_for_all_beds(process)
        workers = worker_processes(process)
        process.send_signal(number)
        lines = process.communicate(timeout=LONG_S)[0].splitlines()
        assert not psutil.wait_procs(workers, timeout=LONG_S)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 0
        assert sum('"type":"ledger"' in line for line in lines) == len(BEDS)


@pytest.mark.slow
def test_a_worker_stands_still() -> None:
    """It is told, and so is that it goes on; an end waits for nobody who stands still."""
    with simulator(*WARD, "--loop") as (endpoint, _), workers_of(endpoint) as process:
        wait_for_all_beds(process)
        assert process.stderr is not None
        worker = worker_processes(process)[0]
        for number, words in ((signal.SIGSTOP, "stands still: its beds are not watched"), (signal.SIGCONT, "goes on")):
            worker.send_signal(number)
            assert re.fullmatch(rf"ecg-agent: worker [123]: {words}\n", process.stderr.readline())
        worker.suspend()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONG_S)
        assert process.returncode == 0


@pytest.mark.slow
def test_nobody_reads_any_more() -> None:
    """As `head` does: the end is quiet."""
    with simulator(*WARD) as (endpoint, _), workers_of(endpoint) as process:
        assert process.stdout is not None
        head = subprocess.run(["head", "-1"], stdin=process.stdout, capture_output=True, timeout=LONG_S, check=True)
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(LONG_S) == 0
    assert head.stdout
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_failure_is_told_with_its_exit_code(tmp_path: Path) -> None:
    """No stream is 5, weights that are missing are 7, whichever worker says so first."""
    missing = str(tmp_path / "none.safetensors")
    for options, code in ((["--weights", missing], 7), ([], 5)):
        done = run(
            *("monitor", "--workers", "2", "--endpoint", "tcp://127.0.0.1:9", *options),
            ECG_AGENT_MONITOR_TIMEOUT_S="1",
        )
        assert done.returncode == code
        assert re.match(r"ecg-agent: worker [12]: ", done.stderr)
