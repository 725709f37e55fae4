"""One target of `benchmarks.fuzz` in its own process, watched from outside: a crash or a hang ends only that."""

import ctypes
import gc
import math
import multiprocessing
import os
import resource
import sys
import sysconfig
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import psutil

from model.compiled.library import load_library
from model.errors import EcgError

ROOT = Path(__file__).parents[2]
MORE_MEMORY = 2 * 2**30
"""Bytes of address space that a target may ask for beyond what it has at the start."""
MOST_RESIDENT = 3 * 2**30
HANG_S = 60.0
REPORT_S = 0.5
MOST_KEPT = 3
"""How many inputs are kept of each failure."""
LONGEST_MESSAGE = 2000
TOUCHES = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
"""Audit events that no input may cause."""


class Subject(Protocol):
    """Something to fuzz: `make` draws an input, a list of byte strings, and `run` processes it."""

    def make(self, random: Random) -> list[bytes]: ...
    def run(self, parts: list[bytes]) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """`start` makes the subject, in a folder of its own; `refusals` are the errors that it documents.

    `share`: how many of a thousand inputs it gets; `limit_s`: the most CPU seconds that an input may take.
    """

    start: Callable[[Path], Subject]
    refusals: tuple[type[EcgError], ...]
    share: int
    limit_s: float = 2.0


@dataclass(slots=True)
class Outcome:
    """The outcome of an input: "accepted", "refused" or "failed", with the class of the error or the fault."""

    kind: str
    reason: str = ""
    trace: str = ""
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that failed: its index, the fault, and the traceback; `parts` is None if it ended its process."""

    index: int
    reason: str
    trace: str = ""
    parts: list[bytes] | None = None


@dataclass(slots=True)
class Tally:
    """The outcomes of all inputs of a target. Memory: resident megabytes after a tenth of the inputs and at the end."""

    inputs: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)
    kept: list[Failure] = field(default_factory=list)
    """Some of the inputs that failed."""
    slowest_s: float = 0.0
    slowest: int = -1
    tenth_mb: float = 0.0
    end_mb: float = 0.0
    wall_s: float = 0.0

    def fail(self, failure: Failure) -> None:
        """Count a failure and keep the first ones of each kind."""
        self.failed[failure.reason] += 1
        if self.failed[failure.reason] <= MOST_KEPT:
            self.kept.append(failure)


def draw(subject: Subject, name: str, seed: int, index: int) -> list[bytes]:
    """Return input `index` of a target: the same for the same seed."""
    return subject.make(Random(f"{seed} {name} {index}"))


@contextmanager
def started(target: Target) -> Iterator[tuple[Subject, Path]]:
    """Yield the subject and its folder, which is removed afterwards."""
    with TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        inside = folder / "inside"  # a file outside it is detected in `folder`
        inside.mkdir()
        load_library()  # reads its sources once: no input's doing
        subject = target.start(inside)
        try:
            yield subject, folder
        finally:
            getattr(subject, "close", bool)()


def run_input(target: Target, subject: Subject, parts: list[bytes], guard: "Guard | None" = None) -> Outcome:
    """Run one input and classify its outcome."""
    before = time.process_time()
    try:
        with guard or nullcontext():
            subject.run(parts)
        outcome = Outcome("accepted")
    except target.refusals as error:
        wrong = _complaint(error)
        outcome = Outcome("refused", type(error).__name__)
        if wrong:
            outcome = Outcome("failed", wrong, traceback.format_exc())
    except Exception as error:
        outcome = Outcome("failed", _escaped(error), traceback.format_exc())
    outcome.cpu_s = time.process_time() - before
    if guard and guard.touched:
        outcome = Outcome("failed", f"reached out: {guard.touched[0]}", cpu_s=outcome.cpu_s)
    elif outcome.cpu_s > target.limit_s and outcome.kind != "failed":
        outcome = Outcome("failed", f"took over {target.limit_s:g} s", cpu_s=outcome.cpu_s)
    return outcome


class Guard:
    """Records files outside a folder, connections and processes that an input causes. One per process."""

    def __init__(self, folder: Path) -> None:
        libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        zipped = [path for path in sys.path if path.endswith(".zip")]
        own = (str(folder / "inside"), str(folder.resolve() / "inside"), str(ROOT / "config.toml"))
        self._allowed = (*own, *libraries, *zipped)
        self._code = (str(ROOT / "agent"), str(ROOT / "model"), str(ROOT / "benchmarks"))
        self._watching = False
        self.touched: list[str] = []
        sys.addaudithook(self._audit)

    def __enter__(self) -> None:
        self.touched.clear()
        self._watching = True

    def __exit__(self, *_: object) -> None:
        self._watching = False

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100  # as quick as it can be
            if not path.startswith(self._allowed) and not (path.startswith(self._code) and ".py" in path):
                self.touched.append(f"opened {path}")
        elif event in TOUCHES:
            self.touched.append(event)


def hunt(name: str, target: Target, count: int, seed: int) -> Tally:
    """Give a target `count` inputs in its own process; if an input ends that, a new process goes on after it."""
    context = multiprocessing.get_context("spawn")
    began = time.monotonic()
    done = Tally()
    while done.inputs < count:
        at = context.Array("d", [done.inputs, math.inf])
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(name, target, done, count, seed, theirs, at), daemon=True)
        process.start()
        theirs.close()
        done, lost = _follow(process, ours, at, done)
        if lost and at[1] == math.inf:
            done.fail(Failure(done.inputs, "could not be started"))
            break
        if lost:
            index = int(at[0])
            done.inputs = index + 1
            done.fail(Failure(index, lost))
    done.wall_s = time.monotonic() - began
    return done


def _follow(process: Any, tallies: Connection, at: "SynchronizedArray[float]", done: Tally) -> tuple[Tally, str]:
    """Watch a worker to its end; return its last tally, and what ended it early, if anything."""
    seen = psutil.Process(process.pid)
    lost = ""
    while True:
        try:
            if tallies.poll(REPORT_S):
                done = tallies.recv()
        except (EOFError, OSError):
            break
        resident = 0
        if process.is_alive():
            try:
                resident = seen.memory_info().rss
            except psutil.Error:
                continue
        if resident > MOST_RESIDENT:
            lost = "memory"
        elif time.monotonic() - at[1] > HANG_S:
            lost = f"hung for {HANG_S:g} s"
        if lost:
            process.kill()
            break
    process.join()
    with suppress(EOFError, OSError):
        while tallies.poll():
            done = tallies.recv()
    tallies.close()
    return done, lost or (f"ended by {process.exitcode}" if process.exitcode else "")


def _work(
    name: str, target: Target, tally: Tally, count: int, seed: int, tallies: Connection, at: "SynchronizedArray[float]"
) -> None:
    def warned(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        tally.warned[f"{category.__name__} at {Path(filename).name}:{lineno}: {str(message)[:100]}"] += 1

    own = psutil.Process()
    with started(target) as (subject, folder):
        guard = Guard(folder)
        warnings.simplefilter("always")
        warnings.showwarning = warned
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (own.memory_info().vms + MORE_MEMORY, hard))
        next_report_s = time.monotonic() + REPORT_S
        for index in range(tally.inputs, count):
            parts = draw(subject, name, seed, index)
            at[0], at[1] = index, time.monotonic()
            outcome = run_input(target, subject, parts, guard)
            tally.inputs += 1
            if outcome.kind == "accepted":
                tally.accepted += 1
            elif outcome.kind == "refused":
                tally.refused[outcome.reason] += 1
            else:
                tally.fail(Failure(index, outcome.reason, outcome.trace, parts))
                next_report_s = 0.0  # the next input may end this process
            if outcome.cpu_s > tally.slowest_s:
                tally.slowest_s, tally.slowest = outcome.cpu_s, index
            if tally.inputs == max(1, count // 10):
                tally.tenth_mb = _resident_mb(own)
            if time.monotonic() > next_report_s:
                tallies.send(tally)
                next_report_s = time.monotonic() + REPORT_S
        tally.end_mb = _resident_mb(own)
    tallies.send(tally)
    tallies.close()


def _resident_mb(process: psutil.Process) -> float:
    """Return resident megabytes after free memory is given back: a large input leaves holes, which are not growth."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
    return float(process.memory_info().rss / 1e6)


def _escaped(error: Exception) -> str:
    """Describe an error and where it came from: the innermost line of this repository, if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith((str(ROOT / "agent"), str(ROOT / "model")))]
    at = (ours or list(frames))[-1]
    detail = f": {str(error)[:200]}" if isinstance(error, AssertionError) and str(error) else ""
    return f"{type(error).__name__} at {Path(at.filename).parent.name}/{Path(at.filename).name}:{at.lineno}{detail}"


def _complaint(error: EcgError) -> str:
    """Return what is wrong with a refusal, or "": it must be readable, and not stem from a lack of memory."""
    text = str(error)
    if not text or not text.isprintable() or len(text) > LONGEST_MESSAGE:
        return f"{type(error).__name__} that cannot be shown"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return f"{type(error).__name__} for want of memory"
        cause = cause.__cause__ or cause.__context__
    return ""
