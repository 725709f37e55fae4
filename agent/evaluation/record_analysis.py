"""Whole records through the monitor's own stages, as fast as they are read.

A record comes in as the chunks of its replay: resampled as a whole by `model.records.resample`, counted in microvolts.
So what is found is, bit for bit, what a monitor says of the simulator. Several records are beds of one ward, which is
quicker and gives the same.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from agent.analysis.lead_input import UNITS_MV
from agent.core.config import Config
from agent.core.events import StreamRefused
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, FloatArray, Lead, Result, quantise_to_counts
from agent.pipeline.pipeline import Pipeline
from model.errors import EcgError, RecordError
from model.records.resample import FS, Resampler
from model.records.wfdb_records import Record, RecordSignal, read_record_samples

RECORD_BLOCK_S = 300.0
"""Seconds of a record in memory at a time."""
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
    streams = {record.name: record_chunks(record, block_s) for record in records}
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
        door = ward.beds[name].door if name in ward.beds else None
        one.lead = door.index if door else 0
    return heard, cpu_s


def _collect_results(told: list[Result], heard: dict[str, PipelineOutput]) -> None:
    for item in told:
        if isinstance(item, Beat):
            heard[item.bed].beats.append(item)
        elif isinstance(item, Alarm):
            heard[item.bed].alarms.append(item)
        elif isinstance(item, StreamRefused):
            heard[item.bed].failed = item.reason


def record_chunks(record: Record, block_s: float = RECORD_BLOCK_S) -> Iterator[Chunk | End]:
    """A record as the chunks of its replay, of about `block_s` seconds, then its end; no value where it has none.

    Raises RecordError where it cannot be read or resampled.
    """
    try:
        resampler = Resampler(record.fs, len(record.signals))
    except ValueError as error:
        raise RecordError(f"record {record.path} cannot be resampled: {error}") from error
    leads = tuple(_microvolt_lead(signal) for signal in record.signals)
    gains = np.array([lead.gain for lead in leads])
    block, first = max(1, round(block_s * record.fs)), 0
    for start, stop in pairwise((*range(0, record.length, block), record.length, record.length)):
        x = resampler.push(read_record_samples(record, start, stop)) if stop > start else resampler.flush()
        if len(x):
            yield Chunk(record.name, EVALUATION_RUN, first, float(FS), leads, quantise_to_counts(x, gains), 0.0)
            first += len(x)
    yield End(record.name, EVALUATION_RUN, first, float(FS))


def _microvolt_lead(signal: RecordSignal) -> Lead:
    """A voltage in microvolts; any other unit in its own, for the door to refuse."""
    gain = 1000 * UNITS_MV.get(signal.unit, 1e-3)
    low, high = (int(np.clip(round(rail * gain), MISSING + 1, -MISSING - 1)) for rail in (signal.low, signal.high))
    return Lead(signal.name, signal.unit, gain, 0.0, min(low, high - 1), high)
