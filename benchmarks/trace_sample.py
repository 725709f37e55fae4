"""The files that a sample passes on its way from the record to the pixel, in the order in which it enters them.

    python -m benchmarks.trace_sample

Record 208 goes over a real link and through a real session to the dashboard, on a pseudo-terminal. After 20 s, in which
the monitor learns the levels of the signal, 2 s are traced with `sys.setprofile`: they hold several beats, and two
windows of the rhythm. A call from one file of ours into another is a move. docs/architecture.md quotes the numbers.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import FrameType
from uuid import uuid4

import zmq
from rich.console import Console

from agent.analysis.beat_classifier import load_beat_classifier
from agent.core.config import Config, load_config, override_config
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import DashboardView
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.dashboard_sink import DashboardSink
from agent.wire.packets import encode_frames
from simulator.record_replay import RecordReplay, ReplayPlan

ROOT = Path(__file__).parents[1]
PACKAGES = ("agent/", "model/", "simulator/")
PLAN = ReplayPlan("208", "208", start_s=0.0, duration_s=None, loop=False, noise=None, snr_db=6.0, seed=0)
PACKET_MS = 40.0
LEARNING_PACKETS, TRACED_PACKETS = 500, 50
COLUMNS, LINES = 120, 36


@dataclass
class SampleTrace:
    """The files of ours that calls entered, in order, and how often a call went from one of them into another."""

    files: list[str] = field(default_factory=list)
    moves: int = 0

    def follow(self, call: Callable[[], object]) -> None:
        """Make a call and note what it enters."""
        sys.setprofile(self._profile)
        try:
            call()
        finally:
            sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        name = _own_file(frame)
        if event != "call" or not name:
            return
        if name not in self.files:
            self.files.append(name)
        caller = _own_file(frame.f_back)
        self.moves += bool(caller) and caller != name


def _own_file(frame: FrameType | None) -> str:
    """Return the file of a frame within the packages, "" if it is not one of ours."""
    name = frame.f_code.co_filename.removeprefix(f"{ROOT}/") if frame else ""
    return name if name.startswith(PACKAGES) else ""


def open_terminal() -> Console:
    """Return the console of a pseudo-terminal whose output is thrown away."""
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))

    def drain() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while os.read(reading, 65536):
                pass

    threading.Thread(target=drain, daemon=True).start()
    return Console(file=os.fdopen(writing, "w"), force_terminal=True)


def encoded_packets() -> Iterator[list[bytes]]:
    """Yield the packets of the record as frames of the wire."""
    for message in RecordReplay(PLAN, PACKET_MS):
        yield encode_frames(message)


def trace_monitor(config: Config, packets: list[list[bytes]]) -> SampleTrace:
    """Follow packets from the wire to the pixel."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    publisher, service = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
    endpoint = f"inproc://{uuid4().hex}"
    publisher.bind(endpoint)
    service.bind(f"{endpoint}-service")
    link = LinkReceiver(override_config(config, "link", endpoint=endpoint), [])
    publisher.recv()  # the subscription has arrived
    session = MonitorSession(link, load_beat_classifier(config.monitor.weights, "cpu", 1), config)
    dashboard = DashboardSink(TerminalScreen(open_terminal(), DashboardView()), config, session)

    def step() -> None:
        now_s = session.clock()
        session.step(link.receive(now_s), now_s, dashboard)
        dashboard.refresh(now_s + 1)  # a frame is due

    trace = SampleTrace()
    for place, frames in enumerate(packets):
        publisher.send_multipart(frames)
        if place < LEARNING_PACKETS:
            step()
        else:
            trace.follow(step)
    link.close()
    publisher.close(linger=0)
    service.close(linger=0)
    return trace


def main() -> None:
    """Trace a sample and print the files on its way."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    device = SampleTrace()
    packets: list[list[bytes]] = []
    device.follow(lambda: packets.extend(islice(encoded_packets(), LEARNING_PACKETS + TRACED_PACKETS)))
    monitor = trace_monitor(load_config(None, {}), packets)
    for title, trace, count in (
        ("record to wire", device, len(packets)),
        ("wire to pixel", monitor, TRACED_PACKETS),
    ):
        print(f"{title}: {len(trace.files)} files, {trace.moves / count:.0f} moves a packet")
        for name in trace.files:
            print(f"    {name}")


if __name__ == "__main__":
    main()
