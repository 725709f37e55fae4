"""agent.cli.replay_keyboard and `simulate` in a terminal: keys pause, move and speed up a replay."""

import os
import termios

import pytest
from test_cli import Terminal
from test_playback_control import Replayed

from agent.cli.replay import replay_status_text
from agent.cli.replay_keyboard import KEYS_HINT, press_terminal_key
from agent.wire.requests import ReplayReply
from simulator.scheduler import ReplayStatus

STATUS = ReplayStatus(1, 0, 3.2, 80, 0.4, False)


def test_each_key() -> None:
    """Space pauses and goes on, arrows and page keys move, + and - change the speed; other keys mean nothing."""
    control = Replayed().control
    stood = [
        press_terminal_key(control, key) for key in (" ", "\x1b[C", "\x1bOC", "\x1b[6~", "\x1b[D", "+", "=", "-", " ")
    ]
    assert all(reply is not None and reply.done for reply in stood)
    kept = [reply for reply in stood if reply is not None]
    assert [reply.paused for reply in kept] == [True] * 8 + [False]
    assert [reply.position for reply in kept] == pytest.approx([0, 10, 20, 80, 70, 70, 70, 70, 70], abs=0.1)
    assert [reply.speed for reply in kept] == [1, 1, 1, 1, 1, 2, 4, 2, 2]
    assert press_terminal_key(control, "z") is None


def test_the_slowest_is_not_undercut() -> None:
    """At the ends of the speeds a key changes nothing."""
    control = Replayed(speed=0.25).control
    reply = press_terminal_key(control, "-")
    assert reply is not None
    assert reply.speed == 0.25


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (
            ReplayReply(id=0, done=True, paused=True, speed=2, position=65, length=1805),
            "PAUSED at 1:05 of 30:05  2x  80",
        ),
        (ReplayReply(id=0, done=True, speed=0, position=65, length=1805), "1:05 of 30:05  full speed  80 packets"),
    ],
)
def test_the_status_line(reply: ReplayReply, shown: str) -> None:
    """It says where the replay is, whether it is paused, and how quick."""
    assert replay_status_text(STATUS, reply).startswith(shown)


@pytest.mark.slow
def test_keys_in_a_terminal() -> None:
    """A simulator says which keys there are, obeys them, and leaves the terminal as it was."""
    with Terminal(100, 30, "simulate", "record", "100", "--endpoint", "tcp://127.0.0.1:*") as terminal:
        terminal.read_until(KEYS_HINT[:20])
        terminal.read_until(r"0:0\d of 30:06  1x")
        os.write(terminal.main, b" ")
        terminal.read_until(r"PAUSED at 0:\d\d of 30:06  1x")
        os.write(terminal.main, b"\x1b[6~+")
        terminal.read_until(r"PAUSED at 1:\d\d of 30:06  2x")
        os.write(terminal.main, b"\x1b[5~" * 2 + b"\x1b[6~" * 31)
        terminal.read_until("30:00 of 30:06|is not within record 100")
        os.write(terminal.main, b"q")
        assert terminal.end() == 0
        assert termios.tcgetattr(terminal.child) == terminal.before
    assert "ended after" in terminal.seen
