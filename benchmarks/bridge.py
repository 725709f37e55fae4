"""What a bridge adds: latency from a line on a serial port to its packet on the wire, and CPU.

    python -m benchmarks.bridge [--seconds 60] [--rate 250] [--channels 8] [--json results.json]

A pseudo-terminal is the port: a process writes a line for each sample when it is due, `ecg-agent bridge` runs in a
process of its own, and a subscriber notes when each sample comes. Latency is that of every sample, from when its line
was written; what lies below `bridge.tick_ms` is the wait for the next packet.
"""

import argparse
import os
import pty
import subprocess
import sys
import tempfile
import time
import tty
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zmq

from agent.cli.device_process import find_free_endpoint
from agent.core.messages import Chunk
from agent.wire.packets import decode_frames
from benchmarks.figures import write_figures
from benchmarks.processes import core_percent, sample

SETTLED_S = 5.0
"""Starting, and the first seconds, are not measured."""
WRITER = """
import os, sys, time
descriptor, rate, channels, seconds = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
rest = ",".join(str(500 + channel) for channel in range(1, channels))
begin = time.monotonic()
for number in range(round(rate * seconds)):
    wait = begin + number / rate - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    stamp = round(time.monotonic() * 1e4) % 30000
    os.write(descriptor, f"{stamp},{rest}\\r\\n".encode())
"""
"""Writes lines whose first number is the time, in tenths of a millisecond, within what a converter may say."""
UNITS_PER_S, STAMP_RANGE = 1e4, 30_000


def measure(seconds: float, rate: float, channels: int) -> dict[str, Any]:
    """Return the latency of samples and the CPU of a bridge."""
    main, port = pty.openpty()
    tty.setraw(port)
    endpoint = find_free_endpoint()
    command = [sys.executable, "-m", "agent", "bridge", f"serial:{os.ttyname(port)}", "--fs", f"{rate:g}"]
    command += ["--unit", "1uV", "--endpoint", endpoint]
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber, tempfile.TemporaryFile() as said:
        subscriber.set(zmq.LINGER, 0)
        subscriber.subscribe("")
        subscriber.connect(endpoint)
        bridge = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=said)
        time.sleep(SETTLED_S)
        arguments = [str(main), f"{rate:g}", str(channels), str(seconds + 2 * SETTLED_S)]
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], pass_fds=[main])
        try:
            return _listen(subscriber, psutil.Process(bridge.pid), seconds) | {"fs": rate, "channels": channels}
        finally:
            for process in (writer, bridge):
                process.terminate()
                process.wait()
            os.close(main)
            os.close(port)


def _listen(subscriber: "zmq.Socket[bytes]", bridge: psutil.Process, seconds: float) -> dict[str, Any]:
    """Note every sample from `SETTLED_S` on for `seconds`."""
    late_ms: list[float] = []
    packets = lost = 0
    expected: int | None = None
    begin_s = time.monotonic() + SETTLED_S
    before = None
    while (now_s := time.monotonic()) < begin_s + seconds:
        if before is None and now_s >= begin_s:
            before = sample(bridge)
        if not subscriber.poll(100):
            continue
        message = decode_frames(subscriber.recv_multipart())
        arrived = round(time.monotonic() * UNITS_PER_S)
        if not isinstance(message, Chunk) or before is None:
            continue
        lost += 0 if expected is None else message.first - expected
        expected = message.first + len(message.counts)
        packets += 1
        late_ms += ((arrived - message.counts[:, 0].astype(np.int64)) % STAMP_RANGE / UNITS_PER_S * 1000).tolist()
    if before is None or not late_ms:
        raise SystemExit("the bridge sent nothing")
    after = sample(bridge)
    p50, p99 = np.percentile(late_ms, (50, 99))
    return {
        "samples": len(late_ms),
        "lost": lost,
        "packets_per_s": packets / seconds,
        "latency_p50_ms": float(p50),
        "latency_p99_ms": float(p99),
        "latency_max_ms": max(late_ms),
        "core_percent": core_percent([before, after]),
        "memory_mb": after.rss_mb,
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure")
    parser.add_argument("--rate", type=float, default=250.0, help="lines a second")
    parser.add_argument("--channels", type=int, default=8, help="numbers a line")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    figures = measure(options.seconds, options.rate, options.channels)
    print("\n".join(f"{key:20}{value:10.2f}" for key, value in figures.items()))
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
