"""Hands on this machine: this process, or several that are spawned; a fork would copy PyTorch without its threads.

However this process ends, by a kill too, the others end at once: nobody would wait for what they do.
"""

import contextlib
import os
import pickle
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic

from agent.cluster.groups import Found, GroupEnd, GroupNews, GroupWork, Item, WorkStep, merge_progress

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

DIED_REASON = "its process was killed, as it is when there is too little memory: fewer --jobs may help"
END_S = 10.0
"""How long a process may take to end."""


class OwnHands(Generic[Item, Found]):
    """Does the work in this process, one group at a time."""

    def __init__(self, work: GroupWork[Item, Found]) -> None:
        self._work = work
        self._number = -1
        self._steps: Iterator[WorkStep[Found]] | None = None

    def width(self) -> int:
        """Return 1."""
        return 1

    def room(self) -> int:
        """Return 1 between groups."""
        return int(self._steps is None)

    def take(self, number: int, group: Sequence[Item]) -> None:
        """Begin with a group; it is worked on in `wait`."""
        self._number, self._steps = number, iter(self._work(group))

    def wait(self, seconds: float) -> list[tuple[int, GroupNews[Found]]]:
        """Work for so long, and return what there is to tell. Raises what the work raises."""
        news: list[tuple[int, GroupNews[Found]]] = []
        until_s = time.monotonic() + seconds
        while self._steps is not None and time.monotonic() < until_s:
            step = next(self._steps, None)
            if step is None:
                self._steps = None
            news.append((self._number, GroupEnd() if step is None else step))
        return news

    def close(self) -> None:
        """End the work in the middle of whatever it does."""
        if isinstance(self._steps, Generator):
            self._steps.close()


@dataclass(slots=True)
class _Worker:
    """A process, the pipe to it, and the number of the group that it has, None if it has none."""

    process: "SpawnProcess"
    pipe: Connection
    number: int | None = None


class ProcessHands(Generic[Item, Found]):
    """Does the work in up to `jobs` processes, which are started as groups come."""

    def __init__(self, work: GroupWork[Item, Found], jobs: int) -> None:
        self._work, self._jobs = work, jobs
        self._workers: list[_Worker] = []

    def width(self) -> int:
        """Return the number of processes."""
        return self._jobs

    def room(self) -> int:
        """Return how many processes have nothing to do, or are not started yet."""
        return self._jobs - sum(worker.number is not None for worker in self._workers)

    def take(self, number: int, group: Sequence[Item]) -> None:
        """Give a group to a process."""
        idle = next((worker for worker in self._workers if worker.number is None), None)
        worker = idle or self._start_worker()
        worker.number = number
        with contextlib.suppress(OSError):  # it has died: `wait` tells
            worker.pipe.send(list(group))

    def wait(self, seconds: float) -> list[tuple[int, GroupNews[Found]]]:
        """Return what processes have told. Raises what the work has raised in one of them."""
        news: list[tuple[int, GroupNews[Found]]] = []
        pipes: list[Any] = [worker.pipe for worker in self._workers]
        ready = wait(pipes, seconds)
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            news += self._hear_worker(worker)
        return news

    def close(self) -> None:
        """End all processes in the middle of whatever they do."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(END_S)
            worker.process.kill()
            worker.process.join(END_S)
            worker.pipe.close()
        self._workers.clear()

    def _start_worker(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve_groups, args=(self._work, theirs), daemon=True)
        with without_interrupts():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _hear_worker(self, worker: _Worker) -> Iterator[tuple[int, GroupNews[Found]]]:
        """Yield what a process has told; if it is dead, its group is at its end."""
        try:
            while worker.pipe.poll():
                told = worker.pipe.recv()
                if isinstance(told, Exception):
                    raise told
                if worker.number is not None:
                    yield worker.number, told
                if isinstance(told, GroupEnd):
                    worker.number = None
        except (EOFError, ConnectionError):
            worker.process.join(END_S)
            worker.pipe.close()
            self._workers.remove(worker)
            if worker.number is not None:
                yield worker.number, GroupEnd(DIED_REASON)


@contextmanager
def open_process_hands(work: GroupWork[Item, Found], jobs: int) -> Iterator[ProcessHands[Item, Found]]:
    """Yield hands of `jobs` processes, which end with the context."""
    hands = ProcessHands(work, jobs)
    try:
        yield hands
    finally:
        hands.close()


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: they inherit that it is ignored, and this one ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def portable_error(error: Exception) -> Exception:
    """Return an error that can be sent to another process: itself, or one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an error of another package holds
        return RuntimeError(repr(error))
    return error


def _serve_groups(work: GroupWork[Item, Found], pipe: Connection) -> None:
    """Do groups as they come, in a process of its own."""
    Thread(target=_end_with_parent, daemon=True).start()
    while True:
        group = pipe.recv()
        try:
            for step in merge_progress(work(group)):
                pipe.send(step)
        except Exception as error:  # it is raised where the work was given
            pipe.send(portable_error(error))
        else:
            pipe.send(GroupEnd())


def _end_with_parent() -> None:
    """Wait for the end of the process that gives the work, and end this one in the middle of whatever it does."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
