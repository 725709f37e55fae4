"""Whole records through the monitor's own stages, as fast as they are read.

A record comes in as the chunks of its replay: resampled as a whole by `model.records.resample`, counted in microvolts.
So what is found is, bit for bit, what a monitor says of the simulator. Several records are beds of one ward, which is
quicker and gives the same.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.core.config import Config
from agent.core.events import StreamRefused
from agent.core.messages import Alarm, Beat, Chunk, End, FloatArray, Result
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import RECORD_BLOCK_S, record_chunks
from model.errors import EcgError
from model.records.resample import FS
from model.records.wfdb_records import Record

EVALUATION_RUN = "evaluation"


@dataclass(slots=True)
class PipelineOutput:
    """What the ward told of one record: its beats, its alarms (as often as they changed), why it was no use."""

    beats: list[Beat] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    lead: int = 0
    failed: str = ""


def analyse_records(
    records: Sequence[Record],
    config: Config,
    classify: Callable[[FloatArray], FloatArray],
    advance: Callable[[float], object],
    block_s: float = RECORD_BLOCK_S,
) -> tuple[dict[str, PipelineOutput], float]:
    """Let the pipeline hear records with different names as beds of one ward; also its CPU seconds.

    `advance` hears of each piece's seconds. A record that cannot be read or monitored says why in `failed`.
    """
    ward = Pipeline(config, classify)
    heard = {record.name: PipelineOutput() for record in records}
    streams = {record.name: record_chunks(record, EVALUATION_RUN, block_s) for record in records}
    cpu_s = 0.0
    while streams:
        messages: list[Chunk | End] = []
        for name in list(streams):
            try:
                messages.append(next(streams[name]))
            except StopIteration:
                del streams[name]
            except EcgError as error:
                heard[name].failed = str(error)
                del streams[name]
        began = time.process_time()
        told = ward.push(messages)
        cpu_s += time.process_time() - began
        _collect_results(told, heard)
        for message in messages:
            if heard[message.bed].failed:
                streams.pop(message.bed, None)
            advance(len(message.counts) / FS if isinstance(message, Chunk) else 0.0)
    for name, one in heard.items():
        lead = ward.beds[name].input if name in ward.beds else None
        one.lead = lead.index if lead else 0
    return heard, cpu_s


def _collect_results(told: list[Result], heard: dict[str, PipelineOutput]) -> None:
    for item in told:
        if isinstance(item, Beat):
            heard[item.bed].beats.append(item)
        elif isinstance(item, Alarm):
            heard[item.bed].alarms.append(item)
        elif isinstance(item, StreamRefused):
            heard[item.bed].failed = item.reason
