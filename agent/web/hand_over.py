"""What the monitor's loop and the thread of the server hand each other: newest states only, and a few questions.

The loop replaces `pulse` and `ward`; the thread replaces `wanted`. Nobody waits for the other, and nothing queues up:
whoever is late sees what is newest. Questions (deeds and look-ups) are few, and answered by the loop.
"""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.core.messages import Beat
from agent.core.views import WardSnapshot
from agent.web.wave_counts import CountArray

MOST_QUESTIONS = 32
"""Questions that wait; further ones are refused."""


class TraceKey(NamedTuple):
    """A bed as it is wanted: `full` with every lead, else with the heard one alone."""

    bed: str
    full: bool


class TracePosition(NamedTuple):
    """Up to where the server knows a bed: samples before `next` of `lead`, beats up to `last_beat`, of `run`."""

    run: str
    lead: str
    next: int
    last_beat: int


NOTHING_KNOWN = TracePosition("", "", -1, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """What is new of a bed: `samples`, (n,) int16 in 5 uV of each lead, the heard one first, from `first` on.

    `reset`: it does not continue what was known. `beats` since the last one known; `arrived_s` of the latest sample.
    """

    key: TraceKey
    run: str
    lead: str
    first: int
    samples: tuple[CountArray, ...]
    reset: bool
    beats: tuple[Beat, ...]
    arrived_s: float


@dataclass(frozen=True, slots=True, eq=False)
class WavePulse:
    """The stretches of all wanted beds at the moment `made_s`; `number` counts up."""

    number: int
    made_s: float
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LoopQuestion:
    """Something that only the loop may do: `ask` it of its ward source, and put what it returns into `answer`."""

    ask: Callable[[Any], Any]
    answer: "Future[Any]"


@dataclass(slots=True, eq=False)
class HandOver:
    """Where both sides leave things. Each attribute has one writer, and is replaced as a whole."""

    wanted: Mapping[TraceKey, TracePosition] | None = None
    """By the server: the beds that are seen, and what is known of them; None while nobody watches."""
    arrivals: int = 0
    """By the server: how many browsers have come; each is to see a ward that was made after it came."""
    pulse: WavePulse | None = None
    ward: WardSnapshot | None = None
    """By the loop. Its `beds` are those that are seen."""
    wake: Callable[[], None] = lambda: None
    """By the server: tells its thread that there is something new."""
    _questions: deque[LoopQuestion] = field(default_factory=deque)

    def put_question(self, question: LoopQuestion) -> bool:
        """Leave a question for the loop; return False where too many wait."""
        if len(self._questions) >= MOST_QUESTIONS:
            return False
        self._questions.append(question)
        return True

    def take_question(self) -> LoopQuestion | None:
        """Return the next question, None if none waits."""
        return self._questions.popleft() if self._questions else None
