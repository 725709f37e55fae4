"""Processes for whole records, ended with this one. They are spawned: a fork would copy PyTorch without its threads.

However this process ends, by a kill too, they end at once: nobody would wait for what they do.
"""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any


@contextmanager
def open_worker_pool(
    jobs: int, prepare: Callable[..., object] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of `jobs` processes, each of which begins with `prepare`; whatever goes wrong ends all of them."""
    with ProcessPoolExecutor(jobs, get_context("spawn"), _prepare_worker, (prepare, arguments)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _prepare_worker(prepare: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    """Begin a process of a pool."""
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*arguments)


def _end_with_parent() -> None:
    """Wait for the end of the process that has the pool, and end this one in the middle of whatever it does."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: they inherit that it is ignored, and this one ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
