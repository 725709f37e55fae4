"""A source bridged to a real monitor over loopback, and the same signal on the direct path."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from agent.analysis.beat_classifier import BeatClassifier
from agent.bridge.bridge_loop import BridgeLoop, BridgeStatus
from agent.bridge.device_stream import DeviceStream
from agent.bridge.sensor_source import SensorSource
from agent.core import config as configuration
from agent.core.config import Config, override_config
from agent.core.messages import MISSING, Beat, Chunk, End, Gap, Lead, Ledger, Result
from agent.device.publisher import PacketPublisher
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.pipeline.pipeline import Pipeline
from model.errors import SourceError
from model.records.wfdb_records import open_record, read_record_samples
from support.monitored import second_packets

BED = "bed"
CLOSING_S = 20.0
"""Longest time for the ledger to close after the end of the bridge."""


@dataclass
class BridgedRun:
    """What came of a source: the words of the bridge, the messages of the link, the results, and the ledger."""

    told: list[str] = field(default_factory=list)
    messages: list[Chunk | Gap | End] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    status: BridgeStatus | None = None
    error: SourceError | None = None

    def runs(self) -> list[str]:
        """Return the runs in their order."""
        return list(dict.fromkeys(message.run for message in self.messages))

    def counts(self, run: str) -> NDArray[np.int32]:
        """Return all samples (n, leads) of a run, MISSING where the link has a gap."""
        parts: list[NDArray[np.int32]] = []
        for message in self.messages:
            if message.run == run and isinstance(message, Chunk):
                parts.append(message.counts)
            elif message.run == run and isinstance(message, Gap):
                parts.append(np.full((message.count, parts[0].shape[1]), MISSING, np.int32))
        return np.concatenate(parts)

    def beats(self, run: str) -> list[tuple[int, str]]:
        """Return the R peaks of a run at 125 Hz, and their classes."""
        return [(beat.sample, beat.label) for beat in self.results if isinstance(beat, Beat) and beat.run == run]


def bridge_to_monitor(
    source: SensorSource,
    classifier: BeatClassifier,
    until: Callable[[BridgedRun], bool],
    during: Callable[[], None] = lambda: None,
    longest_s: float = 60.0,
) -> BridgedRun:
    """Bridge a source to a monitor until `until`, asked after each step, the source is over, or time is.

    `during`: called in a thread of its own meanwhile; it pulls cables.
    """
    config = override_config(configuration.load_config(None, {}), "link", endpoint="tcp://127.0.0.1:*")
    run, stop = BridgedRun(), threading.Event()
    with PacketPublisher(config, lossless=False) as publisher:
        publisher.linger_s = 1.0
        link = LinkReceiver(override_config(config, "link", endpoint=publisher.endpoint), [BED])
        session = MonitorSession(link, classifier, config)
        stream = DeviceStream(publisher, BED, config.simulate.keep_s)
        loop = BridgeLoop(source, stream, config.bridge, run.told.append, patient=True)

        def work() -> None:
            try:
                run.status = loop.run(stop.is_set, lambda _status: None)
            except SourceError as error:
                run.error = error

        threads = [threading.Thread(target=work), threading.Thread(target=during)]
        for thread in threads:
            thread.start()
        closing_s = np.inf
        until_s = time.monotonic() + longest_s
        while threads[0].is_alive() or time.monotonic() < closing_s:
            _step(session, link, run)
            if not stop.is_set() and (until(run) or time.monotonic() > until_s):
                stop.set()
            if not threads[0].is_alive():
                closing_s = min(closing_s, time.monotonic() + CLOSING_S)
                if run.error or (run.messages and isinstance(run.messages[-1], End) and not run.ledger.open):
                    break
        for thread in threads:
            thread.join()
        link.close()
    run.results += session.pipeline.push([])
    return run


def record_at(record: str, seconds: float, fs: int) -> NDArray[np.float64]:
    """Return an embedded record (n, leads) in microvolts at a rate, as a sensor would have measured it."""
    source = open_record(record)
    samples = read_record_samples(source, 0, round(seconds * source.fs)) * 1e3
    return np.asarray(resample_poly(samples, fs, round(source.fs), axis=0))


def simulated_counts(record: str, seconds: float) -> tuple[NDArray[np.int32], float, tuple[Lead, ...]]:
    """Return what the simulator sends of a record: counts (n, leads), their rate, and the leads."""
    sent = [message for message in second_packets(record, 0.0, seconds) if isinstance(message, Chunk)]
    return np.concatenate([chunk.counts for chunk in sent]), sent[0].fs, sent[0].leads


def far_from(beats: Sequence[tuple[int, str]], expected: Sequence[tuple[int, str]]) -> list[int]:
    """Return the R peaks that are expected, and are not within one sample of any of the beats."""
    return [sample for sample, _ in expected if not any(abs(sample - peak) <= 1 for peak, _ in beats)]


def find_piece(signal: NDArray[np.int32], piece: NDArray[np.int32]) -> int:
    """Return where a piece (k,) of a signal (n,) begins."""
    windows = np.lib.stride_tricks.sliding_window_view(signal, len(piece))
    return int(np.flatnonzero((windows == piece).all(axis=1))[0])


def count_false_beats(run: BridgedRun, signal: NDArray[np.int32], fs: float, least: float) -> int:
    """Return how many beats of a bridge lie where the signal (n,) that was sent has no QRS complex.

    `least`: counts from peak to peak of the lowest one.
    """
    false = 0
    for one in run.runs():
        counts = run.counts(one)[:, 0]
        place = find_piece(signal, counts[: round(0.4 * fs)])
        around = round(0.08 * fs)
        for sample, _ in run.beats(one):
            at = place + round(sample * fs / 125)
            false += bool(np.ptp(signal[max(0, at - around) : at + around]) < least)
    return false


def _step(session: MonitorSession, link: LinkReceiver, run: BridgedRun) -> None:
    link.wait(0.05)
    now_s = session.clock()
    messages = link.receive(now_s)
    run.messages += [message for message in messages if isinstance(message, Chunk | Gap | End)]
    run.results += session.step(messages, now_s)
    if bed := session.pipeline.beds.get(BED):
        run.ledger = Ledger(link.sent(BED), bed.analysed, bed.lost)


def beats_directly(
    counts: NDArray[np.int32], fs: float, leads: Sequence[Lead], classifier: BeatClassifier, config: Config
) -> list[tuple[int, str]]:
    """Return R peaks and classes of counts (n, leads) that go into the pipeline without any wire."""
    pipeline = Pipeline(config, classifier)
    messages: list[Chunk | Gap | End] = [Chunk(BED, "direct", 0, fs, tuple(leads), counts, 0.0)]
    results = pipeline.push([*messages, End(BED, "direct", len(counts), fs)])
    while pipeline.waiting:
        results += pipeline.push([])
    return [(beat.sample, beat.label) for beat in results if isinstance(beat, Beat)]
