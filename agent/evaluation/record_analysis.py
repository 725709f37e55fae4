"""Run whole records through the monitor's own stages, as fast as they can be read.

A record arrives as chunks of its replay, resampled as a whole by `model.records.resample`, in counts of a microvolt.
So the results are, bit for bit, those of a monitor that receives the simulator's stream. Several records become beds of
one pipeline, which is quicker and gives the same results.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from agent.core.config import Config
from agent.core.events import StreamRefused
from agent.core.messages import Alarm, Beat, Chunk, End, FloatArray, Result
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import RECORD_BLOCK_S, record_chunks, sent_signals
from model.errors import EcgError
from model.records.resample import FS
from model.records.wfdb_records import Record

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


def analyse_in_groups(
    records: Sequence[Record],
    config: Config,
    classify: Callable[[FloatArray], FloatArray],
    on_progress: Callable[[float, float], object],
) -> Iterator[tuple[PipelineOutput, float]]:
    """Run records with different names through pipelines of BEDS_TOGETHER beds; yield each record's results in order.

    Beside them are its CPU seconds, an equal share of its group's. `on_progress` is called after each group with the
    seconds of ECG done and the seconds in all.
    """
    total_s = sum(record.length / record.fs for record in records)
    done_s = 0.0
    for at in range(0, len(records), BEDS_TOGETHER):
        group = records[at : at + BEDS_TOGETHER]
        outputs, cpu_s = analyse_records(group, config, classify, lambda _seconds: None)
        done_s += sum(record.length / record.fs for record in group)
        on_progress(done_s, total_s)
        yield from ((outputs[record.name], cpu_s / len(group)) for record in group)


def _collect_results(results: list[Result], outputs: dict[str, PipelineOutput]) -> None:
    for item in results:
        if isinstance(item, Beat):
            outputs[item.bed].beats.append(item)
        elif isinstance(item, Alarm):
            outputs[item.bed].alarms.append(item)
