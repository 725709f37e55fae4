"""The screen in a real pseudo-terminal: a program takes it over in its own process, and the test is its terminal."""

import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from agent.core.views import LinkView, WardSnapshot
from agent.dashboard import frame
from agent.dashboard.bell import BELL_CHARACTER
from agent.dashboard.painter import BEGIN_UPDATE, END_UPDATE, FramePainter
from agent.dashboard.terminal import CLOSE_SCREEN, OPEN_SCREEN, TerminalScreen, needs_ascii
from agent.dashboard.view import BedAction, DashboardView, order_view_beds
from model.errors import TerminalError

PATIENCE_S = 120.0
NOBODY = WardSnapshot((), (), LinkView("tcp://host:1", "waiting", 0, 0), "cpu", "weights", 20.0, 10.0)
PROGRAM = """
import select, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who starts the tests with nohup, or behind, hands on that both
signal.signal(signal.SIGINT, signal.default_int_handler)  # are ignored
from rich.console import Console
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import DashboardView
from agent.core.views import LinkView, WardSnapshot
shown = WardSnapshot((), (), LinkView("tcp://host:1", "waiting", 0, 0), "cpu", "weights", 20.0, 10.0)
with TerminalScreen(Console(force_terminal=True), DashboardView()) as screen:
    going = True
    while going:
        screen.plan_frame(shown)
        screen.draw(shown)
        if sys.argv[1] == "raise":
            raise ValueError("on purpose")
        select.select([] if screen.stdin_fd is None else [screen.stdin_fd], [], [], 0.05)
        going = screen.press(screen.keys(), shown)
        if screen.view.bell and screen.plan_frame(shown) == ():
            screen.ring()
print("the end")
"""


class Terminal:
    """One end of a pseudo-terminal, with a program at the other."""

    def __init__(self, mode: str, width: int = 80, height: int = 24, **options: Any) -> None:
        self.here, self.there = pty.openpty()
        fcntl.ioctl(self.there, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.before = termios.tcgetattr(self.there)
        settings = {"stdin": self.there, "stdout": self.there, "stderr": self.there, "process_group": 0, **options}
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
        self.program = subprocess.Popen([sys.executable, "-c", PROGRAM, mode], env=environment, **settings)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Read until a text has been seen, and forget what came up to it."""
        while text not in self.seen:
            assert select.select([self.here], [], [], PATIENCE_S)[0], f"{text!r} did not come: {self.seen!r}"
            self.seen += os.read(self.here, 65536).decode("utf-8", "replace")
        self.seen = self.seen.split(text, 1)[1]

    def type(self, keys: str) -> None:
        os.write(self.here, keys.encode())

    def flags(self) -> int:
        flags: int = termios.tcgetattr(self.there)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        return flags

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.there) == self.before

    def end(self) -> int:
        """Wait for the program, with its last words read."""
        self.wait_for(CLOSE_SCREEN)
        return self.program.wait(PATIENCE_S)

    def close(self) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self.here)
        os.close(self.there)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    opened = Terminal("loop")
    yield opened
    opened.close()


def test_takes_and_gives_back(terminal: Terminal) -> None:
    """The screen opens, shows whole frames, reads keys without echo, ends with q, and all is as it was."""
    terminal.wait_for(OPEN_SCREEN)
    terminal.wait_for(BEGIN_UPDATE)
    terminal.wait_for("waiting for a stream")
    terminal.wait_for(END_UPDATE)
    assert terminal.flags() == termios.ISIG
    terminal.type("+ zq")
    assert terminal.end() == 0
    assert terminal.is_restored()
    terminal.wait_for("the end")


def test_bell(terminal: Terminal) -> None:
    """The bell is the terminal's own."""
    terminal.wait_for(END_UPDATE)
    terminal.type("b")
    terminal.wait_for(BELL_CHARACTER)
    terminal.type("q")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals(terminal: Terminal, number: signal.Signals) -> None:
    """SIGTERM and SIGHUP give the terminal back and end with code 0."""
    terminal.wait_for(END_UPDATE)
    terminal.program.send_signal(number)
    assert terminal.end() == 0
    assert terminal.is_restored()


def test_interrupt(terminal: Terminal) -> None:
    """Ctrl-C gives the terminal back and arrives as KeyboardInterrupt."""
    terminal.wait_for(END_UPDATE)
    terminal.program.send_signal(signal.SIGINT)
    assert terminal.end() == -signal.SIGINT
    assert terminal.is_restored()
    terminal.wait_for("KeyboardInterrupt")


def test_exception() -> None:
    """After an exception its traceback stands on the restored, normal screen."""
    terminal = Terminal("raise")
    try:
        assert terminal.end() == 1
        assert terminal.is_restored()
        terminal.wait_for("ValueError: on purpose")
    finally:
        terminal.close()


def test_suspend_and_back(terminal: Terminal) -> None:
    """Ctrl-Z stops the process with the terminal restored; SIGCONT brings keys and the whole picture back."""
    terminal.wait_for(END_UPDATE)
    terminal.program.send_signal(signal.SIGTSTP)
    terminal.wait_for(CLOSE_SCREEN)
    _, status = os.waitpid(terminal.program.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert terminal.is_restored()
    terminal.program.send_signal(signal.SIGCONT)
    terminal.wait_for(OPEN_SCREEN)
    terminal.wait_for("waiting for a stream")
    assert terminal.flags() == termios.ISIG
    terminal.type("q")
    assert terminal.end() == 0


def test_resize(terminal: Terminal) -> None:
    """A terminal that becomes small shows what matters most, and everything again when it is large enough."""
    terminal.wait_for(END_UPDATE)
    fcntl.ioctl(terminal.there, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 70, 0, 0))
    terminal.wait_for("no bed yet")
    fcntl.ioctl(terminal.there, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 20, 0, 0))
    terminal.wait_for("link waiting")
    fcntl.ioctl(terminal.there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    terminal.wait_for("waiting for a stream")


def test_ctrl_l(terminal: Terminal) -> None:
    """Ctrl-L redraws everything."""
    terminal.wait_for(END_UPDATE)
    terminal.type("\x0c")
    terminal.wait_for("waiting for a stream")


def test_without_keyboard() -> None:
    """Without a terminal as standard input there are no keys, and the picture goes on."""
    terminal = Terminal("loop", stdin=subprocess.DEVNULL)
    try:
        terminal.wait_for("waiting for a stream")
        terminal.program.send_signal(signal.SIGTERM)
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_no_terminal() -> None:
    """Output to a file or pipe is refused."""
    with (
        pytest.raises(TerminalError, match="not a terminal"),
        TerminalScreen(Console(file=io.StringIO()), DashboardView()),
    ):
        pass


def test_a_frame_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beds are ordered and cards chosen once per frame, when it is planned; drawing does not repeat it."""
    orders: list[DashboardView] = []
    written: list[str] = []

    def count_orders(view: DashboardView, snapshot: WardSnapshot) -> DashboardView:
        orders.append(view)
        return order_view_beds(view, snapshot)

    monkeypatch.setattr(os, "get_terminal_size", lambda _: (120, 30))
    monkeypatch.setattr(frame, "order_view_beds", count_orders)
    screen = TerminalScreen(Console(file=io.StringIO(), force_terminal=True), DashboardView())
    monkeypatch.setattr(screen, "_write", written.append)
    screen.plan_frame(NOBODY)
    screen.draw(NOBODY)
    assert len(orders) == 1
    assert "waiting for a stream" in "".join(written)


def test_an_action_is_returned_once() -> None:
    """An action that the user requested is returned once."""
    action = BedAction("silence", "bed-1")
    screen = TerminalScreen(Console(file=io.StringIO()), DashboardView(actions=(action,)))
    assert screen.take_actions() == (action,)
    assert screen.take_actions() == ()


def test_ascii_where_nothing_else_works() -> None:
    """ASCII is chosen by the encoding and by the terminals that have nothing else."""
    latin = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    modern = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert needs_ascii(latin, "xterm")
    assert needs_ascii(modern, "linux")
    assert needs_ascii(modern, "dumb")
    assert not needs_ascii(modern, "xterm-256color")


def test_only_changes_are_written() -> None:
    """The same frame again writes nothing, a changed one only its changed lines, a forgotten one everything."""
    painter = FramePainter(Console(file=io.StringIO(), force_terminal=True, color_system="256"))
    first = painter.paint(NOBODY, DashboardView(), 80, 24)
    assert first.startswith(BEGIN_UPDATE)
    assert first.endswith(END_UPDATE)
    assert first.count("H") >= 24
    assert painter.paint(NOBODY, DashboardView(), 80, 24) == ""
    frozen = painter.paint(NOBODY, DashboardView(frozen=NOBODY), 80, 24)
    assert "\x1b[1H" in frozen
    assert "\x1b[2H" not in frozen
    painter.forget()
    assert "\x1b[24H" in painter.paint(NOBODY, DashboardView(), 80, 24)
