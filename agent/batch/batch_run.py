"""A whole batch: what is there is skipped, the rest is analysed in this process or in several, results as they come.

Only a process that analyses loads PyTorch. One that is killed, as for lack of memory, takes its files with it, which
`agent.cluster.groups` has tried again, at last one by one; a file over which processes die is listed as failed.
"""

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agent.batch.batch_files import BatchFile, find_batch_files
from agent.batch.file_analysis import (
    OLD_ENDING,
    PARTIAL_ENDING,
    WARD_BEDS,
    AnalysisTask,
    FileOutcome,
    analyse_files,
    is_kept,
)
from agent.batch.manifest import MANIFEST_NAME, describe_recipe, read_manifest
from agent.batch.result_writer import ResultKinds
from agent.cluster.groups import ItemFound, WorkStep, group_size, run_groups
from agent.cluster.open_hands import TOKEN_PREFIX, SharedThings, WorkPlace, configure_place, open_hands
from agent.core.config import Config
from agent.evaluation.record_analysis import load_configured_classifier
from model.errors import RunError
from model.files import lock_folder, release_folder
from model.formats.signal_file import SignalFileOptions
from model.records.wfdb_records import DATABASE

LOCK_NAME = ".lock"
BATCH_BYTES = 2**28
"""Bytes of files that are open together; a larger file is alone."""
CLUSTER_BEDS = 64
"""Files that a process of a cluster analyses together at most."""
REPLACED = re.compile(rf"\.(.+?)(?:\.[0-9a-f]{{8}}-\d+)?{re.escape(OLD_ENDING)}")
"""Names of folders that were being replaced: that of the results, and that of the process."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What to analyse and how: the files and folders, where results go, what is written, and where it is done.

    With `force` what is there is analysed again.
    """

    arguments: tuple[str, ...]
    out: Path
    signal: SignalFileOptions
    kinds: ResultKinds
    place: WorkPlace
    force: bool


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is: bytes of files done and in all, how many files are done of all, and how many have failed.

    `rate`: seconds of ECG a second, of the files that are done.
    """

    done_bytes: float
    total_bytes: float
    done_files: int
    files: int
    failed: int = 0
    rate: float = 0.0


OnProgress = Callable[[BatchProgress], object]


def run_batch(config: Config, options: BatchOptions, on_progress: OnProgress) -> list[FileOutcome]:
    """Analyse all files and return what became of each, in order; `on_progress` is called now and then.

    Raises
    ------
    RecordError
        If the list of records of a folder cannot be read.
    ConfigError, EndpointError
        If there is no such cluster, or it cannot be used.
    CheckpointError, DeviceError
        If there are no such weights, or there is no such device.
    RunError
        If the folder of results cannot be written, or another process writes to it.
    """
    config = configure_place(config, options.place)
    with _locked_folder(options.out):
        files = find_batch_files(options.arguments, options.out)
        _remove_partials(options.out)
        kept, todo = _sort_out_kept(files, config, options)
        try:
            made = _analyse_all(todo, config, options, on_progress) if todo else []
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
    for old in out.glob(f".*{OLD_ENDING}"):
        found = REPLACED.fullmatch(old.name)
        name = out / (found[1] if found else old.name)
        if not name.exists() and (old / MANIFEST_NAME).exists():
            old.replace(name)
        shutil.rmtree(old, ignore_errors=True)
    for left in (*out.glob(f".*{PARTIAL_ENDING}"), *out.glob(f"{TOKEN_PREFIX}*")):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


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
            if is_kept(file, task, manifest):
                kept.append(FileOutcome(file, manifest.summary, is_kept=True))
                continue
        todo.append(file)
    return kept, todo


def describe_task(config: Config, options: BatchOptions) -> AnalysisTask:
    """Return what is done to each file; this loads PyTorch. Raises CheckpointError if there are no such weights."""
    recipe = describe_recipe(config, options.signal.fs, options.signal.unit)
    return AnalysisTask(options.out, options.signal, options.kinds, recipe, options.force)


def _group_files(files: Sequence[BatchFile], most: int) -> list[list[BatchFile]]:
    """Return files in groups of at most `most`, and of a size, that are analysed together."""
    groups: list[list[BatchFile]] = []
    for file in files:
        last = groups[-1] if groups else []
        if not last or len(last) >= most or sum(of.bytes for of in last) + file.bytes > BATCH_BYTES:
            groups.append([])
        groups[-1].append(file)
    return groups


def _analyse_all(
    files: Sequence[BatchFile], config: Config, options: BatchOptions, on_progress: OnProgress
) -> list[FileOutcome]:
    """Analyse files in this process, in several or in a cluster; those of which none is there need no cluster."""
    if not any(file.stamps for file in files):
        options = replace(options, place=WorkPlace(1))
    place = options.place
    total = float(sum(file.bytes for file in files))
    outcomes: list[FileOutcome] = []
    began_s = time.monotonic()

    def report(done: float) -> None:
        failed = sum(outcome.summary is None for outcome in outcomes)
        ecg_s = sum(outcome.summary.duration_s for outcome in outcomes if outcome.summary is not None)
        rate = ecg_s / (time.monotonic() - began_s)
        on_progress(BatchProgress(min(done, total), total, len(outcomes), len(files), failed, rate))

    work = partial(_analyse_group, config, replace(options, place=WorkPlace(1)))
    with open_hands(work, place, len(files), _needed_things(files, config, options)) as hands:
        most = WARD_BEDS if place.address is None else CLUSTER_BEDS
        groups = _group_files(files, group_size(len(files), hands.width(), most))
        for _, outcome in run_groups(hands, groups, _give_up, lambda file: float(file.bytes), report):
            outcomes.append(outcome)
    return outcomes


def _needed_things(files: Sequence[BatchFile], config: Config, options: BatchOptions) -> SharedThings:
    """Return what hosts of a cluster must see; of the weights nothing where there is none, since that loads PyTorch."""
    digest = "" if options.place.address is None else describe_task(config, options).recipe.weights_sha256
    recordings = [file.path for file in files if file.stamps and not Path(file.path).is_relative_to(DATABASE)]
    return SharedThings(options.out, config.monitor.weights, digest, recordings)


def _give_up(file: BatchFile, reason: str) -> FileOutcome:
    return FileOutcome(file, None, reason)


def _analyse_group(
    config: Config, options: BatchOptions, group: Sequence[BatchFile]
) -> Iterator[WorkStep[FileOutcome]]:
    """Analyse files; yield bytes that were worked through, and what became of each file."""
    index = {file.name: at for at, file in enumerate(group)}
    for step in analyse_files(group, config, describe_task(config, options), load_configured_classifier(config)):
        yield step if isinstance(step, float) else ItemFound(index[step.file.name], step)
