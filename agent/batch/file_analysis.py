"""Files through the monitor's own stages: several become beds of one ward, and each gets its folder of results.

    file ─► record ─► chunks at 125 Hz ─► one pipeline for up to WARD_BEDS files ─► results of each ─► its folder

`agent.evaluation.record_analysis` has the loop that `evaluate` uses too. So beats are, bit for bit, those of a monitor
that receives the file from the simulator. Only the leads that are analysed are read on to the pipeline.
"""

import os
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from agent.analysis.bed_input import choose_leads
from agent.analysis.lead_measures import LARGEST_QRS_MV, SMALLEST_QRS_MV, estimate_qrs_height, fill_holes
from agent.batch.batch_files import BatchFile, digest_stamps
from agent.batch.manifest import (
    AnalysisRecipe,
    FileSummary,
    Manifest,
    is_up_to_date,
    read_manifest,
    write_manifest,
)
from agent.batch.result_writer import FileResults, ResultKinds
from agent.core.config import Config, override_config
from agent.core.lead_units import UNITS_MV
from agent.core.messages import Chunk, End, Ledger, Result
from agent.evaluation.record_analysis import analyse_streams
from agent.outputs.result_tables import format_cell_time
from agent.pipeline.monitored_bed import MonitoredBed
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import record_chunks, record_leads, sent_signals
from model.errors import CheckpointError, DeviceError, EcgError, RecordError, RunError, clean_error_text
from model.formats.signal_file import SignalFileOptions, open_signal_file
from model.records.resample import FS
from model.records.wfdb_records import Record, read_record_samples, record_notices

if TYPE_CHECKING:
    from agent.analysis.beat_classifier import BeatClassifier

WARD_BEDS = 16
"""Files that go through one pipeline together: a turn of it takes a block of each."""
LOOK_S = 60.0
"""Seconds of a file whose QRS complexes say whether its unit can be right."""
ANALYSIS_RUN = "analysis"
AUTO = "auto"
PARTIAL_ENDING, OLD_ENDING = ".partial", ".old"
FATAL_ERRORS = (RunError, CheckpointError, DeviceError)
"""What would happen to every other file as well."""


@dataclass(frozen=True, slots=True)
class AnalysisTask:
    """What is done to each file: where its results go, what a person said of it, and what is written.

    With `force` results that are there already are replaced.
    """

    out: Path
    signal: SignalFileOptions
    kinds: ResultKinds
    recipe: AnalysisRecipe
    force: bool = False


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of a file: the summary of its results, or why there are none.

    `is_kept`: they were there before.
    """

    file: BatchFile
    summary: FileSummary | None
    reason: str = ""
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class _OpenedFile:
    """A file as a record with the name of its folder, and the names of its leads to analyse, all of them if none."""

    file: BatchFile
    record: Record
    leads: tuple[str, ...]


def analyse_files(
    files: Sequence[BatchFile],
    config: Config,
    task: AnalysisTask,
    classifier: "BeatClassifier",
) -> Iterator[FileOutcome | float]:
    """Analyse files and yield what became of each, as they are done, and on the way how much further they are.

    The latter are bytes of the files that were worked through, as if they were alike all along.

    Parameters
    ----------
    files : sequence of BatchFile
        Files with different names.
    config : Config
        Settings of the pipeline; `monitor.lead` may hold numbers of leads from 1 on.
    task : AnalysisTask
        Where the results go, and which.
    classifier : BeatClassifier
        The net.

    Raises
    ------
    RunError
        If results cannot be written.
    """
    wards: dict[str, list[_OpenedFile]] = {}
    for file in files:
        file = replace(file, stamps=digest_stamps(file))
        try:
            record = replace(open_signal_file(file.source, task.signal), name=file.name)
            leads = choose_record_leads(record, config.monitor.lead)
        except FATAL_ERRORS:
            raise
        except Exception as error:  # whatever it is, the other files are analysed
            yield float(file.bytes)
            yield FileOutcome(file, None, _failure_text(file.source, error))
            continue
        wanted = AUTO if config.monitor.lead == AUTO else ",".join(leads)
        wards.setdefault(wanted, []).append(_OpenedFile(file, record, leads))
    for wanted, opened in wards.items():
        settings = override_config(config, "monitor", lead=wanted)
        for at in range(0, len(opened), WARD_BEDS):
            yield from _analyse_ward(opened[at : at + WARD_BEDS], settings, task, classifier)


def choose_record_leads(record: Record, wanted: str) -> tuple[str, ...]:
    """Return the names of the leads of a record to analyse, as they are sent.

    `wanted`: names or numbers from 1 on, with commas between them, of which a record may lack some, or "auto", for
    which none are returned if no signal can be an ECG. Raises RecordError if none of them is there.
    """
    leads = record_leads(record)
    names = [lead.name for lead in leads]
    if wanted == AUTO:
        chosen = choose_leads(leads, AUTO)
        return () if chosen == (AUTO,) else chosen
    if wanted in names:
        return (wanted,)
    asked = [part.strip() for part in wanted.split(",")]
    numbers = {str(number): name for number, name in enumerate(names, 1)}
    found = (part if part in names else numbers.get(part) for part in asked)
    if not (there := tuple(dict.fromkeys(name for name in found if name is not None))):
        shown = ", ".join(f"{number} {name}" for number, name in numbers.items())
        raise RecordError(f"no lead {asked[0]!r} in {record.path}: it has {shown}; give a name or number (--lead)")
    return there


def _analyse_ward(
    opened: Sequence[_OpenedFile], config: Config, task: AnalysisTask, classifier: "BeatClassifier"
) -> Iterator[FileOutcome | float]:
    """Analyse files as beds of one ward; yield what `analyse_files` yields."""
    pipeline = Pipeline(config, classifier)
    pipeline.take_large_blocks()
    waiting = {file.record.name: file for file in opened}
    streams = {name: _read_chunks(of) for name, of in waiting.items()}
    with _result_writers(opened, config, task, classifier) as writers:
        for step in analyse_streams(pipeline, streams):
            found: dict[str, list[Result]] = defaultdict(list)
            for item in step.results:
                found[item.bed].append(item)
            for name, reason in step.failed.items():
                writers.pop(name).abandon()
                yield float(waiting[name].file.bytes)
                yield FileOutcome(waiting.pop(name).file, None, reason)
            for message in step.messages:
                if message.bed not in writers:
                    continue
                of, bed = waiting[message.bed], pipeline.beds[message.bed]
                with _as_run_error(task.out):
                    writers[message.bed].push(message, found[message.bed], bed.delay_s)
                if isinstance(message, Chunk):
                    yield of.file.bytes * len(message.counts) / (of.record.length / of.record.fs * FS)
                if isinstance(message, End):
                    outcome = _finish_file(of, writers[message.bed], bed, task)
                    del writers[message.bed], waiting[message.bed]
                    yield outcome


def _read_chunks(of: _OpenedFile) -> Iterator[Chunk | End]:
    """Yield a file as the device would send it. Raises RecordError, whatever goes wrong."""
    try:
        yield from record_chunks(of.record, ANALYSIS_RUN, chosen=of.leads or None)
    except Exception as error:
        raise RecordError(_failure_text(of.file.source, error)) from error


def _failure_text(source: str, error: Exception) -> str:
    """Return why a file cannot be read: what a reader says, or what one of another package has raised."""
    return str(error) if isinstance(error, EcgError) else f"cannot read {source}: {clean_error_text(repr(error))}"


@contextmanager
def _result_writers(
    opened: Sequence[_OpenedFile], config: Config, task: AnalysisTask, classifier: "BeatClassifier"
) -> Iterator[dict[str, FileResults]]:
    """Yield a writer for each file; those that are left at the end, as after Ctrl-C, are abandoned."""
    writers: dict[str, FileResults] = {}
    try:
        with _as_run_error(task.out):
            for of in opened:
                folder = partial_folder(task.out, of.file.name)
                name = _record_file_name(of.file)
                writers[of.record.name] = FileResults(
                    folder, of.record, name, task.kinds, config, classifier.class_trust
                )
        yield writers
    finally:
        for writer in writers.values():
            writer.abandon()


@contextmanager
def _as_run_error(out: Path) -> Iterator[None]:
    """Turn what goes wrong with the disk into a RunError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"cannot write results to {out}: {reason}; choose another folder (--out)") from error


def _finish_file(of: _OpenedFile, writer: FileResults, bed: MonitoredBed, task: AnalysisTask) -> FileOutcome:
    """Write what is known at the end of a file, and give its folder its name."""
    try:
        with _as_run_error(task.out):
            writer.finish(Ledger(bed.analysed + bed.lost, bed.analysed, bed.lost))
            summary = _summarise_file(of.record, writer, bed.lead_names, bed.missing / FS)
            _publish_results(of, task, summary)
    except RecordError as error:  # of the report
        writer.abandon()
        return FileOutcome(of.file, None, str(error))
    return FileOutcome(of.file, summary)


def _doubtful_units(record: Record, names: tuple[str, ...]) -> Iterator[str]:
    """Say of analysed leads that their QRS complexes are higher or lower than any heart makes them."""
    beginning = read_record_samples(record, 0, min(record.length, round(LOOK_S * record.fs)))
    for lead, column in zip(record_leads(record), sent_signals(record), strict=True):
        unit = record.signals[column].unit
        if lead.name not in names or unit not in UNITS_MV:
            continue
        height = estimate_qrs_height(fill_holes(beginning[:, column]), record.fs) * UNITS_MV[unit]
        if height and not SMALLEST_QRS_MV <= height <= LARGEST_QRS_MV:
            yield f"QRS complexes of {lead.name} seem to be {height:.3g} mV high, which no heart is: is {unit} right?"


def _no_beat_text(has_alarms: bool, seconds: float) -> str:
    if has_alarms:
        return "no beat was found: alarms.csv says why, and ecg-agent check what is wrong with the signal"
    return f"no beat was found in {seconds:.3g} s of signal, which is too short for an alarm that says why"


def _summarise_file(record: Record, writer: FileResults, leads: tuple[str, ...], missing_s: float) -> FileSummary:
    notices = [*record_notices(record), *_doubtful_units(record, leads)]
    if not sum(writer.beat_counts.values()):
        notices.append(_no_beat_text(bool(writer.alarm_counts), record.length / record.fs))
    return FileSummary(
        fs=record.fs,
        duration_s=round(record.length / record.fs, 3),
        start=format_cell_time(record.start),
        leads=leads,
        beats=writer.beat_counts,
        heart_rate=writer.heart_rate,
        alarms={str(priority): count for priority, count in writer.alarm_counts.items()},
        missing_s=round(missing_s, 3),
        notices=tuple(notices),
    )


def partial_folder(out: Path, name: str) -> Path:
    """Return the folder in which this process of this host writes the results of a file before it gets its name."""
    host = crc32(socket.gethostname().encode())
    return out / f".{name}.{host:08x}-{os.getpid()}{PARTIAL_ENDING}"


def _record_file_name(file: BatchFile) -> str:
    """Return the name of a file without its ending, for its annotations to stand beside it."""
    first = file.stamps[0].name if file.stamps else file.name
    return Path(first).stem


def describe_results(file: BatchFile, task: AnalysisTask, summary: FileSummary) -> Manifest:
    """Return the manifest of the results of a file as it is now."""
    names = task.kinds.file_names(_record_file_name(file))
    return Manifest(file.path, file.stamps, task.recipe, dict.fromkeys(names), summary)


def is_kept(file: BatchFile, task: AnalysisTask, manifest: Manifest) -> bool:
    """Return whether a file's results are there: those in its folder, which have this manifest, are what is wanted."""
    wanted = describe_results(file, task, manifest.summary)
    return is_up_to_date(task.out / file.name, manifest, wanted, lambda: digest_stamps(file))


def _publish_results(of: _OpenedFile, task: AnalysisTask, summary: FileSummary) -> None:
    """Write the manifest and give the folder its name; what was there under it before is deleted.

    Another process may have had the same file, as where a host of a cluster was taken for dead: who comes late leaves
    the other's results as they are.
    """
    folder, partial = task.out / of.file.name, partial_folder(task.out, of.file.name)
    write_manifest(partial, describe_results(of.file, task, summary))
    there = None if task.force else read_manifest(folder)
    if there is None or not is_kept(of.file, task, there):
        old = partial.with_name(f"{partial.name.removesuffix(PARTIAL_ENDING)}{OLD_ENDING}")
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.replace(old)
        try:
            partial.replace(folder)
        except OSError:
            if not folder.exists():
                raise
        shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(partial, ignore_errors=True)
