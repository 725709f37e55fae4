"""`ecg-agent bridge` as a process: what cannot be is one line and an exit code, and what can ends in order."""

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.agent_process import AGENT, AgentProcess, run_agent
from support.bridged import Microcontroller, wait_until

pytest.importorskip("serial", reason="pyserial is not installed")
import serial

from agent.bridge.open_source import is_source
from agent.cli.device_process import find_free_endpoint
from model.errors import ConfigError


def run(*arguments: str, lines: bytes = b"") -> tuple[int, list[str]]:
    """Run a bridge on a free port; return its exit code and the lines it wrote."""
    done = run_agent(["bridge", *arguments, "--endpoint", find_free_endpoint()], lines)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode().strip().splitlines()


@pytest.mark.parametrize(
    ("arguments", "lines", "code", "reason"),
    [
        (["-", "--fs", "0"], b"", 3, "a rate of 0 Hz makes no sense: give 20 to 10000 (--fs)"),
        (["-", "--unit", "millivolt or so"], b"", 3, "unit 'millivolt or so' makes no sense: give uV, mV or V"),
        (["-", "--columns", "0"], b"", 3, "columns '0' make no sense: give numbers from 1 on"),
        (["-", "--fs", "250"], b"1 " * 500 + b"\n", 12, "sends 500 numbers a line: choose up to 16 leads of them"),
        (["-", "--fs", "250"], b"the heart is fine\n" * 300, 12, "sends text or other data, not rows of numbers"),
        (["-", "--fs", "250"], b"", 12, "standard input ended without a line of numbers"),
        (["serial:/dev/nothing-here"], b"", 12, "serial:/dev/nothing-here cannot be opened: there is no such port"),
        (["telepathy:x"], b"", 3, "no source 'telepathy:x': give one of -, serial"),
        (["udp:ecg"], b"", 3, "give a port from 1 to 65535"),
        (["mqtt://127.0.0.1:1/ward"], b"", 12, "cannot be reached"),
        (["mqtt://host/#"], b"", 3, "stands for several: name one"),
        (["serial:/dev/x", "--frames", "morse"], b"", 3, "no frames 'morse' of serial"),
    ],
)
def test_bad_input(arguments: list[str], lines: bytes, code: int, reason: str) -> None:
    """One line says what it is and what to do; the exit code is the documented one."""
    exit_code, said = run(*arguments, lines=lines)
    assert exit_code == code
    assert said[-1].startswith("ecg-agent: ")
    assert reason in said[-1]
    assert len(said) <= (3 if "-" in arguments else 1)


def test_a_source_or_a_file(tmp_path: Path) -> None:
    """What begins like a source is one of the known kinds or a file that is there; else the kinds are named."""
    assert is_source("serial:/dev/x")
    assert not any(map(is_source, ("100", "nothing.csv", "C:nothing.csv")))
    (tmp_path / "ward:1.csv").write_text("")
    (tmp_path / "ward:2.hea").write_text("")
    assert not is_source(str(tmp_path / "ward:1.csv"))
    with contextlib.chdir(tmp_path):
        assert not any(map(is_source, ("ward:1.csv", "ward:2")))
        with pytest.raises(ConfigError, match="no source 'ward:3': give a file that is there, or one of -, "):
            is_source("ward:3")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["check", "bogus:1"], ["monitor", "--from", "bogus:1"]])
def test_a_kind_that_nobody_knows(command: list[str]) -> None:
    """The commands that take files as well say the kinds of source, and not the names of records."""
    done = run_agent(command)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("ecg-agent: no source 'bogus:1': give a file that is there, or one of -, serial")


def test_a_port_that_is_busy(tmp_path: Path) -> None:
    """Another program has the port open: one line, exit code 12."""
    device = Microcontroller(tmp_path / "port")
    with serial.Serial(str(device.path), exclusive=True):
        code, (said,) = run(f"serial:{device.path}")
    device.pull()
    assert code == 12
    assert "another program has it open: close that one" in said


def test_a_port_of_a_bed_that_is_taken(tmp_path: Path) -> None:
    """Two bridges at one endpoint: the second says so."""
    endpoint = find_free_endpoint()
    device = Microcontroller(tmp_path / "port")
    command = ["bridge", f"serial:{device.path}", "--fs", "250", "--endpoint", endpoint]
    with AgentProcess[bytes](command, stderr=subprocess.PIPE) as first:
        assert first.stderr is not None
        assert b"bed serial at" in first.stderr.readline()
        second = run_agent(command)
        first.send_signal(signal.SIGINT)
    device.pull()
    assert second.returncode == 6
    assert "is in use" in second.stderr


def test_ctrl_c_ends_in_order(tmp_path: Path) -> None:
    """Ctrl-C sends the End, says what was sent, and leaves with 0."""
    device = Microcontroller(tmp_path / "port")
    command = ["bridge", f"serial:{device.path}", "--fs", "250", "--endpoint", find_free_endpoint()]
    with AgentProcess[bytes](command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.stderr.readline()
        assert b"is open" in process.stderr.readline()
        device.write_all(b"1\r\n" * 200)
        assert b"250 Hz, ECG in counts" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().decode()
    device.pull()
    assert process.returncode == 0
    assert "ended after 199 samples, 0 of them lost before they came here" in rest


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """A bridge that was started for a monitor does not outlive it."""
    device = Microcontroller(tmp_path / "port")
    bridge = ["bridge", f"serial:{device.path}", "--fs", "250", "--child", "--endpoint", find_free_endpoint()]
    command = [*AGENT, *bridge]
    script = f"import subprocess, time; print(subprocess.Popen({command!r}).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        child = int(parent.stdout.readline())
        assert b"is open" in parent.stderr.readline()
        parent.kill()
        threading.Thread(target=parent.stderr.read, daemon=True).start()
        wait_until(lambda: not _is_running(child), "the child's end", 10.0)
    device.pull()


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"
