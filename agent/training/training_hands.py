"""Who runs the trainings of a sweep: the hands of `agent.cluster`, this process, several, or a cluster.

Each training is a group of one. One over which hands die, or whose process is killed, is given again, elsewhere where
there is an elsewhere; it goes on with its last complete epoch.
"""

import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from agent.cluster.groups import MOST_DEATHS, POLL_S, GroupEnd, GroupNews, Hands, ItemFound
from agent.cluster.open_hands import SharedThings, WorkPlace, open_hands
from agent.training.training_process import THREADS_VARIABLE, TrainingEnd, TrainingTask, run_trainings

SIGHT_S = 60.0
"""How long a shared file system may hide what another host wrote: NFS looks again after 30 to 60 s."""


class TrainingHands(Protocol):
    """Who trains: several tasks at once, which end in any order."""

    def has_room(self) -> bool:
        """Return whether another task would begin at once; with none under way, wait until one would."""
        ...

    def submit(self, task: TrainingTask) -> None:
        """Begin a task."""
        ...

    def wait(self) -> list[TrainingEnd]:
        """Wait until a task has ended or there is more room, and return those that have ended.

        Raises RunError if a task cannot begin, and what ails a cluster.
        """
        ...


class GroupedTrainings:
    """Gives each training to hands as a group of one, MOST_DEATHS times if they die over it."""

    def __init__(self, hands: Hands[TrainingTask, TrainingEnd]) -> None:
        self._hands = hands
        self._numbers = itertools.count()
        self._running: dict[int, TrainingTask] = {}
        self._found: dict[int, TrainingEnd] = {}
        self._again: deque[TrainingTask] = deque()
        self._deaths: Counter[TrainingTask] = Counter()

    def has_room(self) -> bool:
        """Return whether hands are free that no training waits for."""
        while not self._running and not self._again and self._hands.room() < 1:
            self._hands.wait(POLL_S)
        return self._room() > 0

    def submit(self, task: TrainingTask) -> None:
        """Give a training to free hands."""
        number = next(self._numbers)
        self._running[number] = task
        self._hands.take(number, [task])

    def wait(self) -> list[TrainingEnd]:
        """Wait for the end of a training, or for more room, as when a host joins."""
        room = self._room()
        while True:
            while self._again and self._hands.room() > 0:
                self.submit(self._again.popleft())
            ends = [end for of, news in self._hands.wait(POLL_S) if (end := self._take_news(of, news))]
            if ends or self._room() > max(0, room):
                return ends

    def _room(self) -> int:
        return self._hands.room() - len(self._again)

    def _take_news(self, number: int, news: GroupNews[TrainingEnd]) -> TrainingEnd | None:
        """Return how a training ended, if that is the news, and it is not to be given again."""
        if isinstance(news, ItemFound):
            self._found[number] = news.found
        if not isinstance(news, GroupEnd):
            return None
        task = self._running.pop(number)
        end = self._found.pop(number, TrainingEnd(task, news.death, died=True))
        if not end.died:
            if not end.failure:
                _await_sight(task.report)
            return end
        if task.report.exists():
            return TrainingEnd(task, "")
        self._deaths[task] += 1
        if self._deaths[task] < MOST_DEATHS:
            self._again.append(task)
            return None
        return TrainingEnd(task, f"{MOST_DEATHS} times: {end.failure}")


@contextmanager
def open_trainings(place: WorkPlace, most: int, folder: Path, files: Sequence[str]) -> Iterator[GroupedTrainings]:
    """Yield the hands of a sweep of at most so many trainings at once; all that they began ends with the context.

    The hosts of a cluster must see the sweep's `folder` and `files`. Raises what `open_hands` does.
    """
    work = partial(run_trainings, os.environ.get(THREADS_VARIABLE))
    with open_hands(work, place, most, SharedThings(folder, "", "", files, "--run")) as hands:
        yield GroupedTrainings(hands)


def _await_sight(path: Path) -> None:
    until_s = time.monotonic() + SIGHT_S
    while not path.exists() and time.monotonic() < until_s:
        time.sleep(POLL_S)
