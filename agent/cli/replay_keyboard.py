"""The keys of `simulate` in its own terminal: pause, seek, speed."""

import contextlib
import os
import re
import select
import sys
import termios
import time
from types import TracebackType
from typing import Any, Self

from agent.core.replay_keys import LONG_STEP_S, SHORT_STEP_S, next_speed
from agent.wire.requests import ReplayReply, ReplayRequest
from simulator.playback_control import PlaybackControl

KEYS_HINT = "keys: space pause, arrows 10 s, page keys 1 min, + - speed, q end"
READ_EVERY_S = 0.05
"""How often to look for a key while packets are sent."""
_KEY_PATTERN = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_STEPS_S = {
    "\x1b[C": SHORT_STEP_S,
    "\x1bOC": SHORT_STEP_S,
    "\x1b[D": -SHORT_STEP_S,
    "\x1bOD": -SHORT_STEP_S,
    "\x1b[6~": LONG_STEP_S,
    "\x1b[5~": -LONG_STEP_S,
}
_SPEED_STEPS = {"+": 1, "=": 1, "-": -1, "_": -1}


def press_terminal_key(control: PlaybackControl, key: str) -> ReplayReply | None:
    """Do what a key means; return how the replay stands then, None for a key that means nothing."""
    if key in _STEPS_S:
        return control.handle(ReplayRequest(id=0, action="seek", value=_STEPS_S[key]))
    now = control.handle(ReplayRequest(id=0, action="status"))
    if key == " ":
        return control.handle(ReplayRequest(id=0, action="resume" if now.paused else "pause"))
    if key in _SPEED_STEPS:
        return control.handle(ReplayRequest(id=0, action="speed", value=next_speed(now.speed, _SPEED_STEPS[key])))
    return None


class ReplayKeyboard:
    """Reads keys from the terminal that the program was started in; without one it reads nothing.

    `quits`: a key asked for the end. `note`: why the last key did nothing, "" where it did something.
    """

    def __init__(self, control: PlaybackControl) -> None:
        self.quits = False
        self.note = ""
        self._control = control
        self._terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._attributes: list[Any] | None = None
        self._due_s = 0.0

    @property
    def is_there(self) -> bool:
        """Whether there is a terminal, and this program may read from it: a job in the background may not."""
        try:
            return self._terminal is not None and os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:
            return True  # it controls no jobs

    def __enter__(self) -> Self:
        if self.is_there and self._terminal is not None:
            self._attributes = termios.tcgetattr(self._terminal)
            changed = termios.tcgetattr(self._terminal)
            changed[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, changed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._attributes is not None and self._terminal is not None and self.is_there:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._attributes)

    def read(self) -> None:
        """Take the keys that were pressed since the last call, without waiting."""
        if self._attributes is None or self._terminal is None or time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + READ_EVERY_S
        if not self.is_there:
            return
        if not select.select([self._terminal], [], [], 0)[0]:
            return
        try:
            typed = os.read(self._terminal, 1024)
        except OSError:
            typed = b""
        if not typed:
            self._terminal = None  # it is gone, the replay goes on
        for key in _KEY_PATTERN.findall(typed.decode("utf-8", "ignore")):
            self.quits = self.quits or key in ("q", "Q")
            if (reply := press_terminal_key(self._control, key)) is not None:
                self.note = reply.reason
