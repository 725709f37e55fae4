"""What the simulator costs and how well it keeps time.

    python -m benchmarks.pacing [--seconds 60] [--json results.json]

A subscriber in a process of its own takes every packet off the socket. Lateness is counted from the schedule on which
the bed's earliest packet was on time; drift is the median lateness of the last tenth of the packets less that of the
first tenth. The CPU share is that of the whole simulator process, its ZeroMQ thread included, in units of one core.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from agent.core.config import load_config, override_config
from agent.core.messages import Chunk, End
from agent.device.bundle_writer import P, send_each
from agent.device.publisher import PacketPublisher
from agent.wire.packets import decode_frames, encode_frames
from benchmarks.figures import write_figures
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, SchedulerClock, open_replays, plan_ward, run_schedule

SUBSCRIBER = """
import sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.subscribe("")
socket.connect(sys.argv[1])
while True:
    socket.recv_multipart(copy=False)
"""
PACKET_MS = 40.0
BEDS = (1, 64)


class Timed:
    """A publisher that records when each message was sent and how much CPU the process had used by then."""

    def __init__(self, publisher: PacketPublisher) -> None:
        self.linger_s = publisher.linger_s
        self.sent: list[tuple[float, list[bytes]]] = []
        self.cpu: list[float] = []
        self._publisher = publisher

    def send(self, frames: Sequence[bytes]) -> bool:
        self.sent.append((time.monotonic(), list(frames)))
        self.cpu.append(time.process_time())
        return self._publisher.send(frames)

    def send_packets(self, packets: Sequence[P], sent_s: float) -> list[P]:
        return send_each(self.send, packets, sent_s)

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        self._publisher.keep(message, stop, sent_s)

    def subscribed(self, beds: Iterable[str]) -> int:
        return self._publisher.subscribed(beds)


def real_time(beds: int, seconds: float) -> dict[str, float]:
    """Measure time-keeping and cost of a ward in real time."""
    sink = _play(beds, seconds, 1.0)
    schedule: dict[str, list[float]] = {}
    for at, frames in sink.sent:
        message = decode_frames(frames)
        if isinstance(message, Chunk):
            schedule.setdefault(message.bed, []).append(at - (message.first + len(message.counts)) / message.fs)
    late = [np.array(times) - min(times) for times in schedule.values()]
    tenth = max(1, len(late[0]) // 10)
    everything = np.concatenate(late) * 1000
    wall = sink.sent[-1][0] - sink.sent[0][0]
    return {
        "beds": beds,
        "seconds": wall,
        "late_p50_ms": float(np.percentile(everything, 50)),
        "late_p99_ms": float(np.percentile(everything, 99)),
        "late_max_ms": float(everything.max()),
        "drift_ms": float(np.median([np.median(bed[-tenth:]) - np.median(bed[:tenth]) for bed in late])) * 1000,
        "cpu_percent": 100 * (sink.cpu[-1] - sink.cpu[0]) / wall,
    }


def full_speed(beds: int, packets: int) -> dict[str, float]:
    """Measure packets a second at --speed max, lossless, to a subscriber that only receives them."""
    sink = _play(beds, packets * PACKET_MS / 1000 / beds, None)
    wall = sink.sent[-1][0] - sink.sent[0][0]
    rate = len(sink.sent) / wall
    return {"beds": beds, "packets": len(sink.sent), "packets_per_s": rate, "times_real_time": rate * PACKET_MS / 1000}


def codec(packets: int = 20_000) -> dict[str, float]:
    """Measure microseconds to encode and to decode a packet of 5 samples of 2 leads."""
    chunk = next(iter(open_replays([_plan()], PACKET_MS)[0]))
    frames = encode_frames(chunk)
    costs = {}
    for name, call in (("encode_us", lambda: encode_frames(chunk)), ("decode_us", lambda: decode_frames(frames))):
        start = time.perf_counter()
        for _ in range(packets):
            call()
        costs[name] = (time.perf_counter() - start) / packets * 1e6
    return costs


def _plan(seconds: float | None = None) -> ReplayPlan:
    return ReplayPlan("100", "100", start_s=0, duration_s=seconds, loop=True, noise=None, snr_db=0, seed=0)


def _play(beds: int, seconds: float, speed: float | None) -> Timed:
    replays = open_replays(plan_ward(beds, _plan(seconds)), PACKET_MS)
    with PacketPublisher(
        override_config(load_config(None, {}), "link", endpoint="tcp://127.0.0.1:*"), lossless=speed is None
    ) as publisher:
        subscriber = subprocess.Popen([sys.executable, "-c", SUBSCRIBER, publisher.endpoint])
        sink = Timed(publisher)
        try:
            run_schedule(
                replays, sink, PlaybackSpeed(speed, wait=True), SchedulerClock(), lambda: False, lambda _: None
            )
        finally:
            subscriber.kill()
            subscriber.wait()
    return sink


def report(rows: list[dict[str, float]], title: str) -> Table:
    """Return a table with a row for each measurement."""
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" for value in row.values()))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="length of each run in real time")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    results = {
        "codec": [codec()],
        "real_time": [real_time(beds, options.seconds) for beds in BEDS],
        "full_speed": [full_speed(beds, 100_000) for beds in BEDS],
    }
    for title, rows in results.items():
        Console().print(report(rows, title))
    if options.json:
        write_figures(options.json, results)


if __name__ == "__main__":
    main()
