"""The terminal: draw frames, read keys, and restore everything at the end, however the program ends."""

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

from agent.core.views import WardSnapshot
from agent.dashboard import key_bindings
from agent.dashboard.bell import BELL_CHARACTER
from agent.dashboard.frame import fit_view, fit_waves
from agent.dashboard.painter import FramePainter
from agent.dashboard.view import BedAction, DashboardView, needed_beds
from model.errors import TerminalError

OPEN_SCREEN = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""Alternate screen, no cursor, no automatic line break, all clear."""
CLOSE_SCREEN = "\x1b[?2026l\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The reverse, after the end of an unfinished frame."""
REDRAW_KEY = "\x0c"
"""Ctrl-L, as in other terminal programs."""
PLAIN_TERMINALS = ("dumb", "unknown", "linux")
"""Values of TERM without Braille characters; the Linux console has 512 glyphs."""


def needs_ascii(console: Console, term: str) -> bool:
    """Return whether a terminal certainly shows nothing but ASCII."""
    plain_locale = os.environ.get("LC_ALL") in ("C", "POSIX")  # Python itself would still write UTF-8
    return plain_locale or not console.encoding.startswith("utf") or term.lower() in PLAIN_TERMINALS


class TerminalScreen:
    """A terminal in use by the dashboard; a context manager that restores it after any end.

    Ctrl-C raises KeyboardInterrupt. SIGTERM and SIGHUP, unless they have another handler, raise SystemExit with code 0.
    Ctrl-Z suspends the process with the terminal restored, and `fg` brings the picture back.
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
        self._size = (0, 0)  # until the first frame is laid out

    @property
    def stdin_fd(self) -> int | None:
        """Return the file descriptor to poll for keys, None without a keyboard."""
        return self._in

    def __enter__(self) -> Self:
        """Take over the terminal, of any size. Raises TerminalError if there is none."""
        if not os.isatty(self._out):
            raise TerminalError("standard output is not a terminal: the dashboard needs one")
        self._attributes = termios.tcgetattr(self._keyboard) if self._keyboard is not None else None
        try:
            self._handle(signal.SIGTERM, self._end)
            self._handle(signal.SIGHUP, self._end)
            self._handle(signal.SIGTSTP, self._suspend)
            self._open()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def keys(self) -> str:
        """Return the characters typed since the last call, without waiting."""
        typed = b""
        while self._in is not None and select.select([self._in], [], [], 0)[0]:
            try:
                block = os.read(self._in, 1024)
            except OSError:
                block = b""
            if not block:
                self._in = None  # the keyboard is gone, the monitor continues
            typed += block
        return typed.decode("utf-8", "ignore")

    def press(self, keys: str, snapshot: WardSnapshot) -> bool:
        """Apply keys to the view, for which a snapshot's index is enough; return False if a key quits."""
        if REDRAW_KEY in keys:
            self._painter.forget()
        self.view = key_bindings.press_keys(self.view, keys, snapshot)
        return not self.view.quit

    def take_actions(self) -> tuple[BedAction, ...]:
        """Return the actions that the user requested since the last call."""
        actions = self.view.actions
        if actions:
            self.view = replace(self.view, actions=())
        return actions

    def plan_frame(self, snapshot: WardSnapshot) -> Sequence[str]:
        """Lay out the next frame by a snapshot's index, and return the beds that `draw` needs in full."""
        width, height = os.get_terminal_size(self._out)
        self._size = max(1, width), max(1, height)  # a terminal may not know its size yet
        self.view = fit_view(snapshot, self.view, *self._size)
        return needed_beds(self.view, snapshot)

    def draw(self, snapshot: WardSnapshot) -> None:
        """Show the frame that `plan_frame` laid out, in a single write."""
        self.view = fit_waves(snapshot, self.view)
        self._write(self._painter.paint(snapshot, self.view, *self._size))

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
        """Restore the terminal, if it is still there."""
        with contextlib.suppress(OSError, TerminalError):
            self._write(CLOSE_SCREEN)
        if self._keyboard is not None and self._attributes is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._attributes)

    def _restore(self) -> None:
        self._close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        """Set a handler unless the signal has one; signals reach only the main thread."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            self._handlers[number] = signal.signal(number, handler)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        self._close()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # returns when the shell continues the process
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
    """Return the file descriptor of a console, or -1, which is no terminal, if it has none."""
    try:
        return console.file.fileno()
    except (OSError, ValueError):
        return -1


def _keyboard_descriptor() -> int | None:
    try:
        return sys.stdin.fileno() if sys.stdin.isatty() else None
    except (AttributeError, OSError, ValueError):
        return None  # no standard input, or a closed one
