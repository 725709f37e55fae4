"""The ward in a browser as a user starts it: monitor --web beside lines and JSON, refusals, a killed monitor."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agent_process import AgentProcess
from support.bridged import wait_until
from support.web_ward import next_text, next_waves
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from agent.cli.app import run_command_line
from agent.core.config import Config
from agent.web.open_web import open_web_station
from model.errors import ConfigError

REPOSITORY = Path(__file__).parent.parent
ADDRESS = re.compile(r"the ward is at http://127\.0\.0\.1:(\d+)/")


class Demo:
    """A demo with its page: `lines` of its standard output, the port of its page."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ECG_AGENT_")}
        self.process = AgentProcess[str](
            ["demo", "208", "--web", f":{port}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=clean | {"PYTHONPATH": str(REPOSITORY)},
        )
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        found = None
        while found is None:
            line = self.process.stderr.readline()
            assert line, "the demo ended"
            found = ADDRESS.search(line)
        self.port = int(found[1])
        self.lines: list[str] = []
        self._threads = [
            threading.Thread(target=self.lines.extend, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self.process.stderr.read, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def watch(self) -> ClientConnection:
        """Return the connection of a browser."""
        return connect(f"ws://127.0.0.1:{self.port}/ws", max_size=None, legacy=True)

    def end(self, how: signal.Signals) -> int:
        """End it by a signal and return its exit status."""
        self.process.send_signal(how)
        status = self.process.wait(timeout=30)
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return status


@contextmanager
def demo(*arguments: str, port: int = 0) -> Iterator[Demo]:
    """Run a demo until the test is over."""
    running = Demo(*arguments, port=port)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


@pytest.mark.slow
def test_the_page_shows_what_the_lines_say() -> None:
    """Every beat of the JSON lines reaches the browser, and Ctrl-C ends the monitor in its usual way."""
    with demo("--json") as running:
        connection = running.watch()
        assert next_text(connection, "hello")["may_act"] is False
        seen: list[int] = []
        while len(seen) < 8:
            seen += [sample for block in next_waves(connection)[1] for sample, _ in block.beats]
        connection.close()
        assert running.end(signal.SIGINT) == 0
    said = [json.loads(line) for line in running.lines]
    beats = [line["sample"] for line in said if line["type"] == "beat"]
    assert seen == beats[beats.index(seen[0]) :][: len(seen)]


@pytest.mark.slow
def test_a_killed_monitor_is_another_when_it_comes_back() -> None:
    """The connection breaks; at the same address there is a new start, by which a page forgets what it knew."""
    with demo() as first:
        connection = first.watch()
        before = next_text(connection, "hello")["start"]
        first.end(signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            next_text(connection, "none")
    with demo(port=first.port) as second:
        assert second.port == first.port
        connection = second.watch()
        assert next_text(connection, "hello")["start"] != before
        connection.close()


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return exit code and message of a monitor that does not start."""
    monkeypatch.setattr(sys, "argv", ["ecg-agent", "monitor", "--seconds", "0", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command_line()
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--web", "nowhere"), 3, "give a port such as :8080"),
        (("--web", "0.0.0.0:8080"), 3, "--web-token FILE"),
        (("--web", ":0", "--web-token", "/no/such/token"), 3, "cannot read the token"),
        (("--web", "203.0.113.1:8080", "--insecure"), 3, "--web-token FILE"),
    ],
)
def test_settings_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    """One line that says what to do, and the exit code of settings."""
    ended, said = refusal(monkeypatch, capsys, *arguments)
    assert ended == code
    assert words in said
    assert "Traceback" not in said


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 6, as of every address that cannot be had."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended, said = refusal(monkeypatch, capsys, "--web", f":{taken.getsockname()[1]}")
    assert ended == 6
    assert "Address already in use; choose another (--web)" in said


def test_packages_that_are_missing(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs them."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"uvicorn is not installed: pip install 'ecg-agent\[web\]'"):
        open_web_station(settings)


def test_without_the_option_nothing_is_loaded() -> None:
    """The packages of the server cost neither time nor memory where there is no page."""
    program = "import sys, agent.cli.monitor; print([m for m in ('uvicorn', 'starlette') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"


def test_an_address_of_every_interface_is_said_by_a_name(settings: Config, tmp_path: Path) -> None:
    """0.0.0.0 leads nowhere in a browser."""
    from agent.core.config import override_config

    token = tmp_path / "token"
    token.write_text("x" * 20)
    token.chmod(0o600)
    config = override_config(settings, "web", address="0.0.0.0:0", token=str(token))
    station = open_web_station(override_config(config, "security", insecure=True))
    try:
        assert socket.gethostname() in station.address
        wait_until(lambda: answers(station.address.rpartition(":")[2].strip("/")), "it serves")
    finally:
        station.close()
        station.close()


def answers(port: str) -> bool:
    """Return whether something listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0
