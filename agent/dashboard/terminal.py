"""The terminal: frames out, keys in, and everything as it was at the end, however that comes."""

import contextlib
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console

from agent.core.messages import WardSnapshot
from agent.dashboard import key_bindings as typed_keys
from agent.dashboard.bell import BELL_CHARACTER
from agent.dashboard.frame import LEAST_HEIGHT, LEAST_WIDTH, fit_view, layout_view
from agent.dashboard.painter import FramePainter
from agent.dashboard.view import BedAction, DashboardView, needed_beds
from model.errors import TerminalError

OPEN_SCREEN = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""Alternate screen, no cursor, no automatic line break, all clear."""
CLOSE_SCREEN = "\x1b[?2026l\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The same backwards, with an unfinished frame ended first."""
REDRAW_KEY = "\x0c"
"""Ctrl-L, as everywhere in terminals."""
PLAIN_TERMINALS = ("dumb", "unknown", "linux")
"""Values of TERM without Braille characters; the Linux console has 512 glyphs."""


def needs_ascii(console: Console, term: str) -> bool:
    """Whether a terminal shows nothing but ASCII for certain."""
    plain_locale = os.environ.get("LC_ALL") in ("C", "POSIX")  # Python itself would still write UTF-8
    return plain_locale or not console.encoding.startswith("utf") or term.lower() in PLAIN_TERMINALS


class TerminalScreen:
    """A terminal taken over for the dashboard; as a context manager it is given back after any end.

    Ctrl-C comes as KeyboardInterrupt; SIGTERM and SIGHUP, where nobody else handles them, end the process as SystemExit
    with code 0; Ctrl-Z suspends with the terminal restored, and the picture comes back with `fg`.
    """

    def __init__(self, console: Console, view: DashboardView) -> None:
        self.view = replace(view, ascii=view.ascii or needs_ascii(console, os.environ.get("TERM", "")))
        self._console = console
        self._out = _console_descriptor(console)
        self._keyboard = _keyboard_descriptor()
        self._in = self._keyboard
        self._attributes: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._painter = FramePainter(console)

    @property
    def stdin_fd(self) -> int | None:
        """What to poll for keys, None where there is no keyboard."""
        return self._in

    def __enter__(self) -> Self:
        """Take the terminal. Raises TerminalError where there is none, or one too small."""
        if not os.isatty(self._out):
            raise TerminalError("standard output is not a terminal: the dashboard needs one")
        width, height = os.get_terminal_size(self._out)
        if width < LEAST_WIDTH or height < LEAST_HEIGHT:
            least = f"{LEAST_WIDTH}x{LEAST_HEIGHT}"
            raise TerminalError(f"the terminal is {width}x{height}: make it at least {least} for the dashboard")
        self._attributes = termios.tcgetattr(self._keyboard) if self._keyboard is not None else None
        try:
            self._handle(signal.SIGTERM, self._end)
            self._handle(signal.SIGHUP, self._end)
            self._handle(signal.SIGTSTP, self._suspend)
            self._open()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def keys(self) -> str:
        """Characters typed since last asked; never waits."""
        typed = b""
        while self._in is not None and select.select([self._in], [], [], 0)[0]:
            try:
                block = os.read(self._in, 1024)
            except OSError:
                block = b""
            if not block:
                self._in = None  # the keyboard is gone, the monitor goes on
            typed += block
        return typed.decode("utf-8", "ignore")

    def press(self, keys: str, snapshot: WardSnapshot) -> bool:
        """Apply keys to the view, for which a snapshot's index will do; False when the end was asked for."""
        if REDRAW_KEY in keys:
            self._painter.forget()
        self.view = typed_keys.press_keys(self.view, keys, snapshot)
        return not self.view.quit

    def asked(self) -> tuple[BedAction, ...]:
        """What a person asked the monitor to do since this was last called."""
        asked = self.view.asked
        if asked:
            self.view = replace(self.view, asked=())
        return asked

    def looks_at(self, snapshot: WardSnapshot) -> Sequence[str]:
        """The beds that the next frame shows in full, for which a snapshot's index will do."""
        self.view = fit_view(snapshot, self.view, *os.get_terminal_size(self._out))
        return needed_beds(self.view, snapshot)

    def draw(self, snapshot: WardSnapshot) -> None:
        """Show one frame, written in one go."""
        width, height = os.get_terminal_size(self._out)
        self.view = layout_view(snapshot, self.view, width, height)
        self._write(self._painter.paint(snapshot, self.view, width, height))

    def ring(self) -> None:
        """Sound the terminal's bell."""
        self._write(BELL_CHARACTER)

    def _open(self) -> None:
        if self._keyboard is not None:
            cbreak = termios.tcgetattr(self._keyboard)
            cbreak[3] &= ~(termios.ECHO | termios.ICANON)
            cbreak[6][termios.VMIN], cbreak[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, cbreak)
        self._painter.forget()
        self._write(OPEN_SCREEN)

    def _close(self) -> None:
        """Restore the terminal; where it is gone there is nothing to restore."""
        with contextlib.suppress(OSError, TerminalError):
            self._write(CLOSE_SCREEN)
        if self._keyboard is not None and self._attributes is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._attributes)

    def _give_back(self) -> None:
        self._close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        """Set a handler where nobody else has; signals reach only the main thread."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            self._handlers[number] = signal.signal(number, handler)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        self._close()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # sleeps here until the shell says `fg`
        signal.signal(signal.SIGTSTP, self._suspend)
        self._open()

    def _write(self, text: str) -> None:
        """Write past Python's buffers, which a signal handler must not enter twice."""
        left = memoryview(text.encode(self._console.encoding, "replace"))
        while left:
            try:
                left = left[os.write(self._out, left) :]
            except BlockingIOError:
                select.select([], [self._out], [])
            except OSError as error:
                raise TerminalError(f"the terminal is gone: {error}") from error


def _console_descriptor(console: Console) -> int:
    """File descriptor of a console; -1, which is no terminal, where it writes to something else."""
    try:
        return console.file.fileno()
    except (OSError, ValueError):
        return -1


def _keyboard_descriptor() -> int | None:
    try:
        return sys.stdin.fileno() if sys.stdin.isatty() else None
    except (AttributeError, OSError, ValueError):
        return None  # no standard input, or a closed one
