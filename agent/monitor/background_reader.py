"""Reading in a thread of its own, so that a viewer's question about the past never holds up the monitor."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import inf
from queue import SimpleQueue
from typing import Any

from model.errors import EcgError

MOST_ANSWERS = 64
"""Answers that are kept; the one that was asked for longest ago goes first."""
MOST_WAIT_S = 2.0
"""How long the end waits for what is being read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a question: its value, None before it was read; `trouble` in words if it cannot be read."""

    value: Any
    reading: bool
    trouble: str = ""


@dataclass(slots=True)
class _Question:
    read: Callable[[], Any]
    value: Any = None
    trouble: str = ""
    waiting: bool = True
    read_s: float = -inf


class BackgroundReader:
    """Answers questions one after the other in a thread, which starts with the first. Ask from one thread only."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Question] = OrderedDict()
        self._waiting: SimpleQueue[_Question | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self, key: Hashable, read: Callable[[], object], fresh_s: float = inf) -> Answer:
        """Return what is known under a key by now; have it read if it was never, or `fresh_s` ago."""
        question = self._known.get(key)
        if question is None:
            question = self._known[key] = _Question(read)
            if len(self._known) > MOST_ANSWERS:
                self._known.popitem(last=False)
            self._read_soon(question)
        elif not question.waiting and time.monotonic() - question.read_s > fresh_s:
            question.read, question.waiting = read, True
            self._read_soon(question)
        self._known.move_to_end(key)
        return Answer(question.value, question.waiting, question.trouble)

    def run(self, work: Callable[[], None]) -> None:
        """Have something done once, after what waits."""
        self._read_soon(_Question(work))

    def close(self) -> None:
        """End, and wait for what is being read; what waits is left."""
        self._closed = True
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(MOST_WAIT_S)

    def _read_soon(self, question: _Question) -> None:
        if self._closed:
            question.waiting = False
            return
        self._waiting.put(question)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="look back", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (question := self._waiting.get()) is not None:
            if self._closed:
                continue
            try:
                question.value, question.trouble = question.read(), ""
            except EcgError as error:
                question.trouble = str(error)
            question.read_s = time.monotonic()
            question.waiting = False
