"""A whole batch: what is there is skipped, the rest is analysed in this process or in several, results as they come.

Only a process that analyses loads PyTorch. One that is killed, as for lack of memory, takes its files with it: they are
tried again one by one, and a file whose process ends once more is listed as failed.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from agent.batch.batch_files import BatchFile, find_batch_files
from agent.batch.file_analysis import (
    PARTIAL_ENDING,
    WARD_BEDS,
    AnalysisTask,
    FileOutcome,
    analyse_files,
    describe_results,
)
from agent.batch.manifest import MANIFEST_NAME, describe_recipe, is_up_to_date, read_manifest
from agent.batch.result_writer import ResultKinds
from agent.core.config import Config
from agent.evaluation.worker_pool import open_worker_pool, without_interrupts
from model.errors import RunError
from model.files import lock_folder, release_folder
from model.formats.signal_file import SignalFileOptions

if TYPE_CHECKING:  # PyTorch takes a second to import, which only a process that analyses should pay
    from multiprocessing.sharedctypes import Synchronized

    from agent.analysis.beat_classifier import BeatClassifier

LOCK_NAME = ".lock"
BATCH_BYTES = 2**28
"""Bytes of files that are open together; a larger file is alone."""
POLL_S = 0.2
"""How often the progress of other processes is asked for."""
DIED_REASON = "its process was killed, as it is when there is too little memory: fewer --jobs may help"


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What to analyse and how: the files and folders, where results go, what is written, in how many processes.

    With `force` what is there is analysed again.
    """

    arguments: tuple[str, ...]
    out: Path
    signal: SignalFileOptions
    kinds: ResultKinds
    jobs: int
    force: bool


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is: bytes of files done and in all, and how many files are done of all."""

    done_bytes: float
    total_bytes: float
    done_files: int
    files: int


OnProgress = Callable[[BatchProgress], object]


def run_batch(config: Config, options: BatchOptions, on_progress: OnProgress) -> list[FileOutcome]:
    """Analyse all files and return what became of each, in order; `on_progress` is called now and then.

    Raises
    ------
    RecordError
        If the list of records of a folder cannot be read.
    CheckpointError, DeviceError
        If there are no such weights, or there is no such device.
    RunError
        If the folder of results cannot be written, or another process writes to it.
    """
    with _locked_folder(options.out):
        files = find_batch_files(options.arguments, options.out)
        _remove_partials(options.out)
        kept, todo = _sort_out_kept(files, config, options)
        jobs = min(options.jobs, len(todo))
        try:
            made = (_run_here if jobs < 2 else _run_in_pool)(todo, config, options, on_progress)
        finally:
            _remove_partials(options.out)
    by_name = {outcome.file.name: outcome for outcome in (*kept, *made)}
    return [by_name[file.name] for file in files]


@contextlib.contextmanager
def _locked_folder(out: Path) -> Iterator[None]:
    """Make the folder of results, and keep other processes out of it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(out / LOCK_NAME)
    except BlockingIOError as error:
        raise RunError(f"another ecg-agent writes to {out}: wait for it, or choose another folder (--out)") from error
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"cannot write results to {out}: {reason}; choose another folder (--out)") from error
    try:
        yield
    finally:
        release_folder(lock)


def _remove_partials(out: Path) -> None:
    """Delete what a kill has left, and put back results that were being replaced."""
    for old in out.glob(".*.old"):
        name = out / old.name.removeprefix(".").removesuffix(".old")
        if not name.exists() and (old / MANIFEST_NAME).exists():
            old.replace(name)
        shutil.rmtree(old, ignore_errors=True)
    for partial in out.glob(f".*{PARTIAL_ENDING}"):
        shutil.rmtree(partial, ignore_errors=True)


def _sort_out_kept(
    files: Sequence[BatchFile], config: Config, options: BatchOptions
) -> tuple[list[FileOutcome], list[BatchFile]]:
    """Return the outcomes of the files whose results are there, and the other files."""
    kept: list[FileOutcome] = []
    todo: list[BatchFile] = []
    task = None
    for file in files:
        manifest = None if options.force else read_manifest(options.out / file.name)
        if manifest is not None:
            task = task or describe_task(config, options)
            wanted = describe_results(file, task, manifest.summary)
            if is_up_to_date(options.out / file.name, manifest, wanted):
                kept.append(FileOutcome(file, manifest.summary, is_kept=True))
                continue
        todo.append(file)
    return kept, todo


def describe_task(config: Config, options: BatchOptions) -> AnalysisTask:
    """Return what is done to each file; this loads PyTorch. Raises CheckpointError if there are no such weights."""
    recipe = describe_recipe(config, options.signal.fs, options.signal.unit)
    return AnalysisTask(options.out, options.signal, options.kinds, recipe)


def _group_files(files: Sequence[BatchFile], jobs: int) -> list[list[BatchFile]]:
    """Return files in groups that are analysed together, so small that every process has one."""
    most = max(1, min(WARD_BEDS, -(-len(files) // jobs)))
    groups: list[list[BatchFile]] = []
    for file in files:
        last = groups[-1] if groups else []
        if not last or len(last) >= most or sum(of.bytes for of in last) + file.bytes > BATCH_BYTES:
            groups.append([])
        groups[-1].append(file)
    return groups


def _run_here(
    files: Sequence[BatchFile], config: Config, options: BatchOptions, on_progress: OnProgress
) -> list[FileOutcome]:
    """Analyse files in this process."""
    total, done = float(sum(file.bytes for file in files)), 0.0
    outcomes: list[FileOutcome] = []

    def advance(some: float) -> None:
        nonlocal done
        done += some
        on_progress(BatchProgress(done, total, len(outcomes), len(files)))

    for group in _group_files(files, 1):
        for outcome in _analyse_group(group, config, options, advance):
            outcomes.append(outcome)
            advance(0.0)
    return outcomes


def _analyse_group(
    group: Sequence[BatchFile], config: Config, options: BatchOptions, advance: Callable[[float], object]
) -> Iterator[FileOutcome]:
    settings = config.monitor
    classifier = _load_net(settings.weights, settings.device, settings.threads)
    yield from analyse_files(group, config, describe_task(config, options), classifier, advance)


@cache
def _load_net(weights: str, device: str, threads: int) -> "BeatClassifier":
    """Return a net, loaded once in each process."""
    from agent.analysis.beat_classifier import load_beat_classifier

    return load_beat_classifier(weights, device, threads)


def _run_in_pool(
    files: Sequence[BatchFile], config: Config, options: BatchOptions, on_progress: OnProgress
) -> list[FileOutcome]:
    """Analyse files in `options.jobs` processes; the files of those that are killed are tried again one by one."""
    groups = _group_files(files, options.jobs)
    done = get_context("spawn").Value("d", 0.0)
    outcomes: list[FileOutcome] = []
    total = float(sum(file.bytes for file in files))

    def report() -> None:
        on_progress(BatchProgress(min(done.value, total), total, len(outcomes), len(files)))

    while groups:
        suspects: list[list[BatchFile]] = []
        with open_worker_pool(min(options.jobs, len(groups)), _keep_progress, (done,)) as pool:
            with without_interrupts():
                tasks = {pool.submit(_analyse_in_process, group, config, options): group for group in groups}
            pending = set(tasks)
            while pending and not suspects:
                running = [task for task in pending if task.running()]
                finished, pending = wait(pending, POLL_S, FIRST_COMPLETED)
                for task in finished:
                    if isinstance(task.exception(), BrokenExecutor):
                        suspects = suspects or [tasks[of] for of in running]
                        continue
                    outcomes += task.result()
                    groups.remove(tasks[task])
                report()
        for group in suspects:
            if group in groups:
                groups.remove(group)
                outcomes += [_analyse_alone(file, config, options, done) for file in group]
                report()
    return outcomes


def _analyse_alone(file: BatchFile, config: Config, options: BatchOptions, done: "Synchronized[float]") -> FileOutcome:
    """Analyse a file in a process of its own, which may be killed."""
    with open_worker_pool(1, _keep_progress, (done,)) as pool:
        with without_interrupts():
            task = pool.submit(_analyse_in_process, [file], config, options)
        try:
            (outcome,) = task.result()
        except BrokenExecutor:
            return FileOutcome(file, None, DIED_REASON)
        return outcome


_done_bytes: "Synchronized[float] | None" = None
"""What this process adds the bytes to that it has done, if it is one of several."""


def _keep_progress(done: "Synchronized[float]") -> None:
    global _done_bytes
    _done_bytes = done


def _analyse_in_process(group: Sequence[BatchFile], config: Config, options: BatchOptions) -> list[FileOutcome]:
    """Analyse files in one of several processes."""

    def advance(some: float) -> None:
        if _done_bytes is not None:
            with _done_bytes.get_lock():
                _done_bytes.value += some

    return list(_analyse_group(group, config, options, advance))
