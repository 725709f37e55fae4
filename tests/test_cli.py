import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import all_found
from support.agent_process import AgentProcess, run_agent
from support.commands import RunHere

from agent.analysis.torch_classifier import build_torch_classifier
from agent.cli.app import run_command_line
from agent.cli.device_process import device_error
from agent.core.messages import Beat, Chunk, End
from agent.pipeline.pipeline import Pipeline
from model.nets import checkpoint, checkpoint_card
from model.nets.beat_net import build_beat_net
from model.nets.checkpoint_card import ModelCard
from model.nets.net_size import NetSize
from model.records.wfdb_records import embedded_records
from simulator.record_replay import RecordReplay, ReplayPlan

REPOSITORY = Path(__file__).parent.parent
LONG_S = 120.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights."""
    torch.manual_seed(1)
    net = build_beat_net(NetSize(), torch.device("cpu"))
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    checkpoint.save_checkpoint(path, net, ModelCard("random", net.size, {}, {}))
    return path


def environment(**extra: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ECG_AGENT_")}
    return clean | {"PYTHONUNBUFFERED": "1", "TERM": "xterm-256color"} | extra


def run(
    *arguments: str, folder: Path = REPOSITORY, fresh: bool = False, **extra: str
) -> "subprocess.CompletedProcess[str]":
    settings = environment(**{"PYTHONPATH": str(REPOSITORY)} | extra)
    return run_agent(arguments, fresh=fresh, env=settings, cwd=folder)


@contextmanager
def simulator(*arguments: str, wait: bool = True) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A simulator in a process of its own, on a port that it chose; yields its endpoint and the process."""
    options = ["--endpoint", "tcp://127.0.0.1:*", *(["--wait"] if wait else [])]
    with AgentProcess[str](
        ["simulate", *arguments, *options], stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stderr is not None
        found = re.search(r"tcp://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found is not None
        try:
            yield found.group(), process
        finally:
            process.terminate()


def parse_lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


Refused = Callable[..., tuple[int, str]]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command in this process that has to end with one line on standard error; its exit code and the line."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ecg-agent", *arguments])
        with pytest.raises(SystemExit) as ended:
            run_command_line()
        out, error = capfd.readouterr()
        assert out == ""
        assert error.startswith("ecg-agent: ")
        assert error.count("\n") == 1
        return int(str(ended.value.code)), error

    return call


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--at", "99:99"], "start 6039 s is not within record 208"),
        (["100", "--at", "45:00"], "start 2700 s is not within record 100"),
        (["--start", "-5"], "start -5 s is not within record 208"),
        (["--start", "5000"], "start 5000 s is not within record 208"),
        (["--noise", "pink"], "no noise 'pink': choose one of bw, ma"),
        (
            ["--noise", "ma", "--snr", "nan"],
            "a signal-to-noise ratio of nan dB makes no sense: give -100 to 100 (--snr)",
        ),
        (["--noise", "ma", "--snr", "-101"], "a signal-to-noise ratio of -101 dB makes no sense"),
        (["--noise", "ma", "--seed", "-1"], "seed -1 makes no sense: give 0 to 2147483647 (--seed)"),
        (["--speed", "quick"], "speed 'quick' makes no sense"),
        (["999"], "999"),
    ],
)
def test_a_demo_that_cannot_be_is_refused_before_the_net_is_loaded(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    """In one line, and no device is started."""
    monkeypatch.setattr("agent.cli.monitor.run_demo", None)
    code, error = refused("demo", *arguments)
    assert code == (4 if arguments == ["999"] else 3)
    assert reason in error


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["demo", "208", "--lead", "foo"], 3, "no lead 'foo' in record 208: it has MLII, V1 (--lead)"),
        (["quiz", "208", "--lead", "foo"], 3, "no lead 'foo' in record 208: it has MLII, V1 (--lead)"),
        (["demo", "--web-token", "x"], 3, "--web-token lets people act from a page: serve one with --web"),
        (["monitor", "--web-token", "x"], 3, "--web-token lets people act from a page: serve one with --web"),
        (["simulate", "record", "999"], 4, "no record '999': give the path of a WFDB header, or one of 100, 101"),
        (["simulate", "record", "100", "--speed", "fast"], 3, 'give a number above 0, or "max"'),
        (["simulate", "record", "100", "--start", "99999"], 3, "it has 0 to 1805.6 s"),
        (["simulate", "record", "100", "--packet-ms", "7"], 3, "give a multiple of 8 ms"),
        (["simulate", "record", "100", "--packet-ms", "0"], 3, "--packet-ms 0 makes no sense: give a number above 0"),
        (["simulate", "ward", "100", "--packet-ms", "nan"], 3, "--packet-ms nan makes no sense: give a number above"),
        (["simulate", "record", "100", "--noise", "em"], 3, "choose one of bw, ma"),
        (["simulate", "record", "100", "--endpoint", "nowhere"], 6, "write it like tcp://"),
        (["simulate", "record", "100", "--endpoint", "tcp://127.0.0.1"], 6, "its port is missing, write it like"),
        (["simulate", "record", "100", "--endpoint", "tcp://127.0.0.1:99999"], 6, "the port must be 1 to 65535"),
        (["simulate", "record", "100", "--endpoint", "tcp://127.0.0.1:65535"], 6, "choose a lower port, or set link."),
        (["simulate", "record", "."], 4, "no record '.': give the path of a WFDB header, or one of 100, 101"),
        (["simulate", "record", "/"], 4, "no record '/'"),
        (["simulate", "ward", "100", "."], 4, "no record '.'"),
        (["simulate", "ward"], 3, "a ward needs beds: say which records"),
        (["simulate", "ward", "100", "--beds", "2"], 3, "how many --beds, not both"),
        (["monitor", "--weights", "none"], 7, "no weights 'none'"),
        (["monitor", "--device", "gpu"], 3, "--device gpu makes no sense"),
        (["monitor", "--endpoint", "nowhere"], 6, "endpoint nowhere is malformed: write it like tcp://127.0.0.1:5555"),
        (["monitor", "--endpoint", "tcp://127.0.0.1:99999"], 6, "the port must be 1 to 65535"),
        (["monitor", "--endpoint", "tcp://127.0.0.1:65535"], 6, "choose a lower port, or set link.service"),
        (["monitor", "--endpoint", "tcp://127.0.0.1"], 6, "its port is missing"),
        (["config", "show", "--config", "none.toml"], 3, "cannot read configuration none.toml"),
        (
            ["monitor", "--svg", "x.png"],
            3,
            "cannot write x.png: the picture is SVG, give a file name that ends in .svg",
        ),
        (["monitor", "--svg", "picture"], 3, "cannot write picture"),
        (["export", "--weights", "best", "--out", "x.tflite"], 3, "give a file name that ends in .onnx (--out)"),
        (["convert", ".", "x.png"], 3, "let it end in .edf (EDF+), .csv or .jsonl"),
        (["evaluate", "nowhere"], 4, "no folder nowhere"),
    ],
)
def test_bad_input_gets_one_line_and_an_exit_code(
    refused: Refused, arguments: list[str], code: int, reason: str
) -> None:
    """What cannot be done is explained in one line, with the documented exit code."""
    exit_code, line = refused(*arguments)
    assert exit_code == code
    assert reason in line


@pytest.mark.parametrize("command", [("monitor", "--json"), ("simulate", "record", "100")], ids=lambda c: c[0])
def test_a_port_of_the_second_socket_that_does_not_exist(
    refused: Refused, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """link.service is held to the ports that exist, as the endpoint is."""
    monkeypatch.setenv("ECG_AGENT_LINK_SERVICE", "tcp://127.0.0.1:99999")
    code, line = refused(*command, "--endpoint", "tcp://127.0.0.1:65535")
    assert code == 6
    assert "tcp://127.0.0.1:99999 is malformed: the port must be 1 to 65535" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interrupted", "command", "code"),
    [
        ("typer", ("monitor", "--json"), 0),
        ("zmq", ("monitor", "--json"), 0),
        ("typer", ("simulate", "record", "100"), 0),
        ("typer", ("models",), 130),
        ("safetensors", ("models",), 130),
    ],
)
def test_an_early_ctrl_c_is_quiet(interrupted: str, command: tuple[str, ...], code: int, tmp_path: Path) -> None:
    """Ctrl-C in the middle of an import ends without a traceback: as later, with 0 where it is the usual end."""
    (tmp_path / f"{interrupted}.py").write_text("raise KeyboardInterrupt\n")
    done = run(*command, fresh=True, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.strip()) == (code, "", "")


@pytest.mark.slow
def test_an_early_ctrl_c_that_an_import_swallows_is_quiet(tmp_path: Path) -> None:
    """A library that goes on half imported after Ctrl-C does not end the command with its own error."""
    swallow = "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept KeyboardInterrupt:\n    pass\n"
    (tmp_path / "safetensors.py").write_text(swallow)
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    (tmp_path / "sitecustomize.py").write_text(f"{heeds}\n")
    done = run("models", fresh=True, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


def test_a_late_ctrl_c_is_quiet() -> None:
    """Ctrl-C while the process ends, with all said and done, changes neither what was said nor the exit code."""
    late = "import atexit, signal; atexit.register(signal.raise_signal, signal.SIGINT)"
    heeds = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{late}; {heeds}; from agent.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "config", "show"], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "[monitor]" in done.stdout


def test_a_device_that_is_not_there(refused: Refused, weights: Path) -> None:
    """An accelerator that this machine lacks is named with those it has."""
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    code, line = refused("monitor", "--device", missing, "--weights", str(weights))
    assert code == 8
    assert "cpu" in line


def test_no_stream_ends_at_the_timeout(refused: Refused, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a packet the monitor ends after the timeout and says how to start a stream."""
    monkeypatch.setenv("ECG_AGENT_MONITOR_TIMEOUT_S", "0.2")
    code, line = refused("monitor", "--endpoint", "tcp://127.0.0.1:9", "--weights", str(weights))
    assert code == 5
    assert "ecg-agent simulate record 100" in line


def test_an_endpoint_in_use_is_refused(refused: Refused) -> None:
    """A second simulator on the same endpoint ends with the advice to choose another one."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code, line = refused("simulate", "record", "101", "--endpoint", f"tcp://127.0.0.1:{other.getsockname()[1]}")
    assert code == 6
    assert "in use" in line


def in_process(plan: ReplayPlan, weights: Path, settings: Any) -> list[Beat]:
    """The beats of a plan, all in this process."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    ward = Pipeline(settings, build_torch_classifier(*checkpoint.load_checkpoint(weights, cpu), cpu))
    messages: Sequence[Chunk | End] = list(RecordReplay(plan, 40.0))
    return [found for found in all_found(ward, messages) if isinstance(found, Beat)]


def documented_keys(section: str) -> set[str]:
    text = (REPOSITORY / "docs" / "json-lines.md").read_text().split(f"## {section}")[1].split("\n\n|")[1]
    return set(re.findall(r"^\| `(\w+)`", "|" + text, re.MULTILINE))


@pytest.mark.slow
def test_two_processes_find_the_same_beats_as_one(weights: Path, settings: Any) -> None:
    """Simulator and monitor over TCP at full speed lose no sample and find the very beats of a single process."""
    with simulator("record", "208", "--speed", "max", "--duration", "60") as (endpoint, _):
        done = run("monitor", "--json", "--until-end", "--endpoint", endpoint, "--weights", str(weights))
    assert done.returncode == 0, done.stderr
    lines = parse_lines(done.stdout)
    beats = [line for line in lines if line["type"] == "beat"]
    events = [line for line in lines if line["type"] == "event"]
    reference = in_process(ReplayPlan("208", "208", 0.0, 60.0, False, None, 6.0, 0), weights, settings)
    assert [event["kind"] for event in events] == ["start", "end"]
    assert [(b["sample"], b["class"], b["probabilities"]) for b in beats] == [
        (b.sample, b.label, dict(zip("NSVFQ", (round(p, 4) for p in b.probabilities), strict=True))) for b in reference
    ]
    assert len(beats) > 90
    assert " 0 gaps (0 samples), 7500 samples sent = 7500 analysed + 0 missing, 1500 packets, 0 rejected" in done.stderr


@pytest.mark.slow
def test_json_lines_are_as_documented(weights: Path) -> None:
    """Every beat and event has exactly the keys that docs/json-lines.md lists."""
    with simulator("ward", "100", "208", "--speed", "max", "--duration", "20") as (endpoint, _):
        done = run("monitor", "--json", "--until-end", "--endpoint", endpoint, "--weights", str(weights))
    for line in parse_lines(done.stdout):
        section = {"beat": "A beat", "event": "An event", "ledger": "A ledger"}[line["type"]]
        assert set(line) == documented_keys(section)
    assert {line["bed"] for line in parse_lines(done.stdout)} == {"100", "208"}


@pytest.mark.slow
def test_a_loop_is_watched_beyond_its_seam(weights: Path) -> None:
    """The End at the seam of a looped record does not end a monitor that waits for the end; the ledger closes."""
    looped = ("--start", "1804", "--duration", "3", "--loop", "--speed", "0.5")
    with simulator("record", "100", *looped) as (endpoint, _):
        done = run("monitor", "--json", "--until-end", "--endpoint", endpoint, "--weights", str(weights))
    assert done.returncode == 0, done.stderr
    assert [line["kind"] for line in parse_lines(done.stdout) if line["type"] == "event"] == ["start", "end"] * 2
    assert "375 samples sent = 375 analysed + 0 missing" in done.stderr


@pytest.mark.slow
def test_a_terminated_simulator_ends_the_run(weights: Path) -> None:
    """SIGTERM ends the simulator with exit code 0, and the monitor hears that the run ended."""
    with simulator("record", "100", "--bed", "A 7", wait=False) as (endpoint, process):
        watching = AgentProcess[str](
            ["monitor", "--json", "--until-end", "--bed", "A 7", "--endpoint", endpoint],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(ECG_AGENT_MONITOR_WEIGHTS=str(weights)),
        )
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        process.send_signal(signal.SIGTERM)
        rest = parse_lines(watching.communicate(timeout=LONG_S)[0])
        assert process.wait(timeout=LONG_S) == 0
    assert watching.returncode == 0
    assert (first["kind"], first["bed"]) == ("start", "A 7")
    assert rest[-2]["kind"] == "end"
    assert rest[-1]["sent"] == rest[-1]["analysed"] > 0


@pytest.mark.slow
def test_a_closed_pipe_ends_the_monitor_quietly(weights: Path) -> None:
    """`ecg-agent demo --json | head -1` ends without a traceback."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = ["demo", "--json", "--weights", str(weights)]
    with AgentProcess[bytes](command, env=environment(), **pipes) as demo:
        assert demo.stdout is not None
        head = subprocess.run(["head", "-1"], stdin=demo.stdout, capture_output=True, timeout=LONG_S, check=True)
        demo.stdout.close()
        said = demo.communicate(timeout=LONG_S)[1]
    assert json.loads(head.stdout)["kind"] in ("start", "link")  # on a busy machine the link is told of first
    assert b"Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["999"], 4, "no record '999': give the path of a WFDB header, or one of 100, 101"),
        (["100", "--start", "99999"], 3, "start 99999 s is not within record 100"),
        (["100", "--svg", "x.png"], 3, "cannot write x.png"),
    ],
)
def test_a_demo_that_cannot_be_replayed_says_why(
    weights: Path, arguments: list[str], code: int, reason: str, tmp_path: Path
) -> None:
    """If the demo's simulator ends at once, the demo ends with the reason and the exit code of `simulate`."""
    done = run("demo", *arguments, "--weights", str(weights), folder=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith(f"ecg-agent: {reason}")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_device_that_dies_without_a_reason() -> None:
    """An exit code that is no error of ours is an error of the demo's device, with what it wrote last."""
    error = device_error(70, "MemoryError")
    assert error.exit_code == 11
    assert str(error) == "the device ended: MemoryError"
    assert str(device_error(70, "")) == "the device ended: no reason given"


@pytest.mark.slow
@pytest.mark.parametrize("command", [("simulate", "list"), ("models",)], ids=lambda command: command[-1])
def test_a_piped_table_has_100_columns_at_most(run_here: RunHere, command: tuple[str, ...]) -> None:
    """Tables that are written to no terminal fit into a page, and still hold every row."""
    done = run_here(*command)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    names = embedded_records() if command[0] == "simulate" else checkpoint_card.shipped_checkpoints()
    assert set(names) <= {line.split()[0] for line in lines if line.strip()}


@pytest.mark.slow
def test_the_demo_without_a_terminal_prints_lines_and_ends(weights: Path, tmp_path: Path) -> None:
    """The demo in a pipe writes a line per beat, and a picture if requested, and ends by itself with exit code 0."""
    picture = tmp_path / "dashboard.svg"
    done = run("demo", "--seconds", "12", "--weights", str(weights), "--svg", str(picture))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\S+  208 +0:00:0\d\.\d\d  [NSVFQ]  ", done.stdout, re.MULTILINE)
    assert "added latency" in done.stderr
    assert picture.read_text().startswith("<svg")


class Terminal:
    """A command in a pseudo-terminal of a given size."""

    def __init__(self, width: int, height: int, *arguments: str, **extra: str) -> None:
        self.main, self.child = pty.openpty()
        fcntl.ioctl(self.child, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.before = termios.tcgetattr(self.child)
        self.process = AgentProcess[bytes](
            arguments,
            stdin=self.child,
            stdout=self.child,
            stderr=self.child,
            env=environment(**extra),
            start_new_session=True,
        )
        self.seen = ""

    def read_until(self, pattern: str) -> str:
        """All that was written once `pattern` is in it."""
        deadline = time.monotonic() + LONG_S
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, self.seen[-2000:]
            if select.select([self.main], [], [], 1.0)[0]:
                self.seen += os.read(self.main, 65536).decode(errors="replace")
        return self.seen

    def end(self) -> int:
        """Read to the end of the process; its exit code."""
        while self.process.poll() is None:
            if select.select([self.main], [], [], 0.1)[0]:
                self.seen += os.read(self.main, 65536).decode(errors="replace")
        while select.select([self.main], [], [], 0)[0]:
            self.seen += os.read(self.main, 65536).decode(errors="replace")
        return self.process.returncode

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.main)
        os.close(self.child)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["q", "Ctrl-C", "SIGTERM"])
def test_the_dashboard_in_a_terminal(weights: Path, how: str) -> None:
    """The demo draws beats on the alternate screen and, however it ends, leaves the terminal as it was."""
    with Terminal(100, 30, "demo", "--weights", str(weights)) as terminal:
        terminal.read_until("HEART RATE")
        terminal.read_until(r"\b[01]\.\d\d\b")
        if how == "q":
            os.write(terminal.main, b"q")
        else:
            terminal.process.send_signal({"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}[how])
        assert terminal.end() == 0
        assert termios.tcgetattr(terminal.child) == terminal.before
    opened, closed = terminal.seen.find("\x1b[?1049h"), terminal.seen.rfind("\x1b[?1049l")
    assert 0 <= opened < closed
    assert "\x1b[?25h" in terminal.seen[opened:]
    assert "1 bed, " in terminal.seen[closed:]


@pytest.mark.slow
def test_a_small_terminal(weights: Path) -> None:
    """The dashboard in a small terminal shows what matters most."""
    with Terminal(30, 5, "demo", "--weights", str(weights)) as terminal:
        terminal.read_until("HR [0-9]+")
        terminal.read_until("signal ")
        os.write(terminal.main, b"q")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["monitor", "--record", ""], "--record"),
        (["monitor", "--web="], "--web"),
        (["analyse", "208", "--out", ""], "--out"),
        (["simulate", "record", ""], "argument RECORD"),
        (["sessions", "--json", ""], "argument FOLDER"),
        (["report", "--", "x", ""], "argument RECORDING"),
        (["report", "x", "--compare", ""], "--compare"),
    ],
)
def test_an_empty_value_is_refused(arguments: list[str], start: str, tmp_path: Path) -> None:
    """What an unset variable of a shell leaves: it would be this folder. Nothing is written there."""
    done = run(*arguments, folder=tmp_path)
    assert (done.returncode, done.stderr) == (3, f"ecg-agent: {start} is empty: say what it is, or leave it out\n")
    assert not list(tmp_path.iterdir())


def test_an_empty_value_that_says_something_is_taken(run_here: RunHere, tmp_path: Path) -> None:
    """A text may be empty, and what stands behind -- is no option."""
    assert run_here("simulate", "list", "--remark", "").returncode == 0
    done = run_here("analyse", "--out", tmp_path, "--", "--out=")
    assert (done.returncode, done.stderr.split(":")[1]) == (4, " no record '--out='")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["monitor", "--workers", "0"], "--workers 0 makes no sense: give 1 or more"),
        (["monitor", "--workers", "many"], "--workers many makes no sense: give a whole number"),
        (["monitor", "--part", "0/2"], "no part '0/2' of a ward"),
        (["monitor", "--seconds", "nan"], "--seconds nan makes no sense: give 0 or more"),
        (["check", "polar", "--seconds", "601"], "--seconds 601 makes no sense: give 600 or less"),
        (["simulate", "record", "100", "--fs", "fast"], "--fs fast makes no sense: give a number"),
        (
            ["convert", "x", "y.csv", "--table", "foo"],
            "--table foo makes no sense: 'foo' is not one of",
        ),
    ],
)
def test_a_value_that_an_option_does_not_take(refused: Refused, arguments: list[str], reason: str) -> None:
    """It is a wrong setting whichever part of the program finds it."""
    code, line = refused(*arguments)
    assert code == 3
    assert reason in line


@pytest.mark.parametrize("arguments", [["monitor", "--nope"], ["monitor", "--seconds"], ["convert", "x"]], ids=" ".join)
def test_a_command_that_is_not_whole(run_here: RunHere, arguments: list[str]) -> None:
    """An option that there is not, and one or an argument that is missing, is a usage error."""
    assert run_here(*arguments).returncode == 2
