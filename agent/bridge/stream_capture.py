"""Some seconds of a stream, as it comes: of a sensor, of a file, or of a device that is there already."""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.bridge.rate_meter import LEAST_SPAN_S
from agent.bridge.sensor_source import LostSourceError, SensorSource, SourceLayout, SourceReading
from agent.core.config import Config, override_config
from agent.core.messages import MISSING, Chunk, End, Gap, Lead, separate_chunks
from agent.link.link_receiver import LinkReceiver
from model.errors import SourceError, StreamError
from model.records.wfdb_records import Record, read_record_samples

READ_S = 0.05
ENOUGH = 0.95
"""Share of the time from which on the samples by which a rate was measured are enough."""
SILENT_AT_START_S = 15.0
BURST_SHARE = 0.3
"""A stream may begin with what has waited: its rate is that of the rest."""


@dataclass
class StreamCapture:
    """What came of a stream: its rate `fs` and `leads`, `values` (n, leads) in their units, NaN without a value.

    `told`: whether somebody says the rate, so that it can be wrong. `arrived_s`: seconds of each arrival, none for a
    file; `arrivals`: such seconds, and the samples that had come then. `lost` of the samples before they came here,
    `interruptions` of the source, and its last `remark`.
    """

    name: str
    fs: float = 0.0
    leads: tuple[Lead, ...] = ()
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    told: bool = True
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    lost: int = 0
    interruptions: int = 0
    remark: str = ""

    @property
    def seconds(self) -> float:
        """Length of what came."""
        return len(self.values) / self.fs if self.fs else 0.0

    @property
    def measured_fs(self) -> float | None:
        """Samples a second as they came; None for a file, or where too little came."""
        if not self.arrivals:
            return None
        (begin_s, _), (end_s, _) = self.arrivals[0], self.arrivals[-1]
        from_s = begin_s + BURST_SHARE * (end_s - begin_s)
        arrivals = [arrival for arrival in self.arrivals if arrival[0] >= from_s]
        if len(arrivals) < 4 or end_s - from_s < LEAST_SPAN_S:
            return None
        at_s, total = np.array(arrivals).T
        at_s = at_s - at_s.mean()
        return float(at_s @ total / (at_s @ at_s))

    @property
    def pauses_s(self) -> NDArray[np.float64]:
        """Seconds (n,) between two arrivals."""
        return np.diff(self.arrived_s)


def capture_source(source: SensorSource, seconds: float, told: bool) -> StreamCapture:
    """Return the next `seconds` of a source, which is opened and closed.

    Raises SourceError where it cannot be opened, nothing comes, or what comes is no ECG.
    """
    capture = StreamCapture(source.name, told=told)
    parts: list[NDArray[np.int32]] = []
    total = 0
    source.open()
    capture.name = source.name
    try:
        until_s = time.monotonic() + max(SILENT_AT_START_S, seconds)
        while time.monotonic() < until_s and not source.is_over:
            item = source.read(READ_S)
            now_s = time.monotonic()
            if isinstance(item, SourceReading):
                capture.arrived_s.append(now_s)
            if isinstance(item, SourceLayout):
                if capture.leads:
                    break  # a new run
                capture.fs, capture.leads = item.fs, item.leads
                until_s = now_s + seconds
            elif isinstance(item, SourceReading) and len(item.counts):
                if item.lost:
                    capture.lost += item.lost
                    parts.append(np.full((item.lost, len(capture.leads)), MISSING, np.int32))
                parts.append(item.counts)
                total += item.lost + len(item.counts)
                capture.arrivals.append((now_s, total))
                if not told and total >= ENOUGH * seconds * capture.fs:
                    break
    except LostSourceError:
        capture.interruptions += 1
    finally:
        capture.remark = source.remark()
        source.close()
    if not parts:
        hint = capture.remark or "is it switched on, and set up to send?"
        raise SourceError(f"nothing came from {source.name}: {hint}")
    capture.values = counts_to_values(np.concatenate(parts), capture.leads)
    return capture


def capture_record(record: Record, seconds: float) -> StreamCapture:
    """Return the beginning of a file that is opened as a record. Raises RecordError where it cannot be read."""
    leads = tuple(Lead(lead.name, lead.unit, 1.0, 0.0, 0, 1) for lead in record.signals)
    values = read_record_samples(record, 0, min(record.length, round(seconds * record.fs)))
    return StreamCapture(record.name, record.fs, leads, values, told=False)


def capture_endpoint(config: Config, seconds: float, bed: str | None = None) -> StreamCapture:
    """Return the next `seconds` of a bed that a device sends, of the first one heard if none is named.

    Raises StreamError where nothing comes, EndpointError or ConfigError where it cannot be connected.
    """
    config = override_config(config, "link", backfill_s=0.0)  # what is now, not what was
    link = LinkReceiver(config, (bed,) if bed else ())
    chunks: list[Chunk] = []
    capture = StreamCapture(config.link.endpoint)
    lost = 0
    try:
        until_s = time.monotonic() + config.monitor.timeout_s
        while time.monotonic() < until_s:
            link.wait(READ_S)
            now_s = time.monotonic()
            for message in separate_chunks(link.receive(time.time())):
                if isinstance(message, Chunk) and not chunks:
                    bed = message.bed
                    until_s = now_s + seconds
                if getattr(message, "bed", None) != bed or not (chunks or isinstance(message, Chunk)):
                    continue
                if isinstance(message, Gap):
                    lost += message.count
                if isinstance(message, End):
                    until_s = now_s
                if isinstance(message, Chunk) and (not chunks or message.leads == chunks[0].leads):
                    chunks.append(message)
                    capture.arrived_s.append(now_s)
                    capture.arrivals.append((now_s, message.first + len(message.counts)))
    finally:
        link.close()
    if not chunks:
        trouble = link.view(time.time()).trouble or "is a device running there?"
        raise StreamError(f"nothing came from {config.link.endpoint}: {trouble}")
    first = chunks[0]
    counts = np.full((capture.arrivals[-1][1] - first.first, len(first.leads)), MISSING, np.int32)
    for chunk in chunks:
        counts[chunk.first - first.first :][: len(chunk.counts)] = chunk.counts
    capture.name = f"bed {first.bed} at {config.link.endpoint}"
    capture.fs, capture.leads, capture.lost = first.fs, first.leads, lost
    capture.values = counts_to_values(counts, first.leads)
    return capture


def counts_to_values(counts: NDArray[np.int32], leads: tuple[Lead, ...]) -> NDArray[np.float64]:
    """Return counts (n, leads) in the units of the leads: (n, leads) float64, NaN where there is no value."""
    values: NDArray[np.float64] = (counts - np.array([lead.offset for lead in leads])) / np.array(
        [lead.gain for lead in leads]
    )
    values[counts == MISSING] = np.nan
    return values
