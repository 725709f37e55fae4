"""The dashboard's keys of a replay, sent to the device, and its answers, shown."""

from collections import deque
from math import inf

from agent.dashboard.replay_control import replay_note, wish_request
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import ReplayWish
from agent.link.link_receiver import LinkReceiver

ANSWER_S = 1.0
"""How long to wait for an answer of the device."""
NO_ANSWER_NOTE = "the device does not answer"


class ReplayRemote:
    """What the user wants of a replay: one wish after the other, each by how it stands then."""

    def __init__(self, link: LinkReceiver) -> None:
        self._link = link
        self._wishes: deque[ReplayWish] = deque()
        self._asked_s = -inf
        """When the device was asked for what it has not answered yet; -inf if for nothing."""
        self._before = link.replay

    def step(self, screen: TerminalScreen, now_s: float) -> None:
        """Ask the device for what the user wishes, and show what it answered."""
        self._wishes += screen.take_wishes()
        reply = self._link.replay
        if self._asked_s > -inf and reply is not self._before and reply is not None:
            self._asked_s = -inf
            screen.note(replay_note(reply), now_s)
        elif self._asked_s > -inf and now_s - self._asked_s > ANSWER_S:
            self._give_up(screen, now_s)
        if self._wishes and self._asked_s == -inf:
            action, value = wish_request(self._wishes.popleft(), reply)
            self._before, self._asked_s = reply, now_s
            if not self._link.ask_replay(action, value, now_s):
                self._give_up(screen, now_s)

    def _give_up(self, screen: TerminalScreen, now_s: float) -> None:
        self._wishes.clear()
        self._asked_s = -inf
        screen.note(NO_ANSWER_NOTE, now_s)
