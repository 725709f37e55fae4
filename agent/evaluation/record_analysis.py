"""Run whole records through the monitor's own stages, as fast as they can be read.

A record arrives as chunks of its replay, resampled as a whole by `model.records.resample`, in counts of a microvolt.
So the results are, bit for bit, those of a monitor that receives the simulator's stream. Several records become beds of
one pipeline, which is quicker and gives the same results.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cluster.groups import Item, ItemFound, WorkStep, group_size, run_groups, share_out
from agent.cluster.open_hands import SharedThings, WorkPlace, open_hands
from agent.core.config import Config
from agent.core.events import StreamRefused
from agent.core.messages import Alarm, Beat, Chunk, End, FloatArray, Result
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import RECORD_BLOCK_S, record_chunks, sent_signals
from model.errors import EcgError
from model.records.resample import FS
from model.records.wfdb_records import DATABASE, Record

if TYPE_CHECKING:
    from agent.analysis.beat_classifier import BeatClassifier

EVALUATION_RUN = "evaluation"
BEDS_TOGETHER = 4
"""Records that go through one pipeline together; more are hardly quicker."""


@dataclass(slots=True)
class PipelineOutput:
    """The results of one record: its beats, all states of its alarms, the index of the analysed lead.

    `failed` is the reason why it could not be analysed, "" if it could.
    """

    beats: list[Beat] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    lead: int = 0
    failed: str = ""


@dataclass(frozen=True, slots=True)
class StreamStep:
    """What the next chunks of some streams brought: `messages`, their `results`, CPU seconds of the pipeline.

    `failed`: the beds whose streams cannot be read or monitored any further, and why.
    """

    messages: list[Chunk | End]
    results: list[Result]
    failed: dict[str, str]
    cpu_s: float


def analyse_records(
    records: Sequence[Record],
    config: Config,
    classify: Callable[[FloatArray], FloatArray],
    advance: Callable[[float], object],
    block_s: float = RECORD_BLOCK_S,
) -> tuple[dict[str, PipelineOutput], float]:
    """Run records with different names through one pipeline, each as a bed.

    Parameters
    ----------
    records : sequence of Record
        Records with different names.
    config : Config
        Settings of the pipeline.
    classify : callable
        The net: (n, inputs) float32 to (n, classes) float32 log-probabilities.
    advance : callable
        Called with the seconds of each chunk that was analysed.
    block_s : float
        Seconds of a record in memory at a time; the results do not depend on it.

    Returns
    -------
    dict of str to PipelineOutput, float
        Results by name of the record, and the CPU seconds of the pipeline. A record that cannot be read or monitored
        has the reason in `failed`.
    """
    pipeline = Pipeline(config, classify)
    outputs = {record.name: PipelineOutput() for record in records}
    streams = {record.name: record_chunks(record, EVALUATION_RUN, block_s) for record in records}
    cpu_s = 0.0
    for step in analyse_streams(pipeline, streams):
        cpu_s += step.cpu_s
        _collect_results(step.results, outputs)
        for name, reason in step.failed.items():
            outputs[name].failed = reason
        for message in step.messages:
            advance(len(message.counts) / FS if isinstance(message, Chunk) else 0.0)
    for record in records:
        made = pipeline.beds[record.name].input if record.name in pipeline.beds else None
        outputs[record.name].lead = sent_signals(record)[made.leads[0].index if made else 0]
    return outputs, cpu_s


def analyse_streams(pipeline: Pipeline, streams: dict[str, Iterator[Chunk | End]]) -> Iterator[StreamStep]:
    """Run streams by the name of their bed through a pipeline, the next chunk of each at a time.

    A stream that cannot be read or monitored goes no further, and hinders no other; `streams` is empty at the end.
    """
    while streams:
        messages: list[Chunk | End] = []
        failed: dict[str, str] = {}
        for name in list(streams):
            try:
                messages.append(next(streams[name]))
            except StopIteration:
                del streams[name]
            except EcgError as error:
                failed[name] = str(error)
        # Only the pipeline is timed, not the reading of records.
        began = time.process_time()
        results = pipeline.push(messages)
        cpu_s = time.process_time() - began
        failed |= {item.bed: item.reason for item in results if isinstance(item, StreamRefused)}
        for name in failed:
            streams.pop(name, None)
        yield StreamStep(messages, results, failed, cpu_s)


def analyse_alarms(
    records: Sequence[Record],
    config: Config,
    place: WorkPlace,
    out: Path,
    on_progress: Callable[[float, float], object],
) -> list[tuple[PipelineOutput, float]]:
    """Run records with different names through pipelines of BEDS_TOGETHER beds; return the alarms of each, in order.

    Beside them are its CPU seconds, an equal share of its group's. `place`: where it is done; all hosts of a cluster
    must see `out`. `on_progress` is called with the seconds of ECG done and the seconds in all.
    """
    total_s = sum(record.length / record.fs for record in records)
    found: dict[str, tuple[PipelineOutput, float]] = {}
    work = partial(_analyse_alarms_of, config)
    with open_hands(work, place, len(records), shared_things(records, config, place, out)) as hands:
        for record, of in run_groups(
            hands,
            share_in_groups(records, hands.width()),
            lambda _record, reason: (PipelineOutput(failed=reason), 0.0),
            lambda record: record.length / record.fs,
            lambda done_s: on_progress(done_s, total_s),
        ):
            found[record.name] = of
    return [found[record.name] for record in records]


def _analyse_alarms_of(config: Config, group: Sequence[Record]) -> Iterator[WorkStep[tuple[PipelineOutput, float]]]:
    """Yield seconds of ECG that are done, and the alarms of each record with its CPU seconds."""
    outputs, cpu_s = analyse_records(group, config, load_configured_classifier(config), lambda _seconds: None)
    for index, record in enumerate(group):
        yield record.length / record.fs
        yield ItemFound(index, (replace(outputs[record.name], beats=[]), cpu_s / len(group)))


def share_in_groups(items: Sequence[Item], width: int) -> list[Sequence[Item]]:
    """Return items in groups of BEDS_TOGETHER, smaller ones where not all of `width` hands would have one."""
    return share_out(items, group_size(len(items), width, BEDS_TOGETHER))


def shared_things(records: Sequence[Record], config: Config, place: WorkPlace, out: Path) -> SharedThings:
    """Return what all hosts must see to analyse records; of the weights nothing if there are no other hosts."""
    weights, digest = config.monitor.weights, ""
    if place.address is not None:
        from model.nets import checkpoint_card

        digest = checkpoint_card.digest_checkpoint(checkpoint_card.find_checkpoint(weights))
    headers = [record.path.with_name(f"{record.path.name}.hea").absolute() for record in records]
    return SharedThings(out, weights, digest, [str(path) for path in headers if not path.is_relative_to(DATABASE)])


def load_configured_classifier(config: Config) -> "BeatClassifier":
    """Load the net that the settings name, once in each process.

    PyTorch is imported only here, since scoring alone needs none. Raises CheckpointError or DeviceError.
    """
    return _load_once(config.monitor.weights, config.monitor.device, config.monitor.threads)


@cache
def _load_once(weights: str, device: str, threads: int) -> "BeatClassifier":
    from agent.analysis.beat_classifier import load_beat_classifier

    return load_beat_classifier(weights, device, threads)


def _collect_results(results: list[Result], outputs: dict[str, PipelineOutput]) -> None:
    for item in results:
        if isinstance(item, Beat):
            outputs[item.bed].beats.append(item)
        elif isinstance(item, Alarm):
            outputs[item.bed].alarms.append(item)
