"""What the commands of the command line do, with settings that are already checked."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from agent.cli.stop_signals import StopFlag
from agent.core.config import Config, override_config
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import EndCondition, MonitorSession
from model.errors import ConfigError, SimulatorError, TerminalError
from model.text import format_clock
from simulator.publisher import PacketPublisher
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, ReplayStatus, SchedulerClock, open_replays, run_schedule

if TYPE_CHECKING:
    from agent.recording.recorder import Recorder


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What a monitor was asked for: the `beds` (none: all), how to show them, when to end, where to `record` to."""

    beds: tuple[str, ...]
    json: bool
    seconds: float | None
    until_end: bool
    svg: Path | None
    record: Path | None


def run_monitor(config: Config, asked: MonitorOptions, over: Callable[[], bool] = lambda: False) -> None:
    """Monitor until the end or until `over`: on the dashboard where there is a terminal, else as lines.

    A summary goes to standard error at the end.
    """
    if not all(asked.beds):
        raise ConfigError("a bed without a name cannot be watched: leave --bed out to watch all")
    if asked.svg is not None and not asked.svg.parent.is_dir():
        raise ConfigError(f"no folder {asked.svg.parent} to write a picture to (--svg)")
    if sys.stdout.isatty():
        print("ecg-agent: loading the net", file=sys.stderr)  # noqa: T201  # it takes a moment
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopFlag())
        recorder = None
        if asked.record is not None:
            from agent.recording.recorder import Recorder

            about = {"version": version("ecg-agent"), "weights": config.monitor.weights}
            recorder = Recorder(asked.record, config.record, about)
            stack.callback(_close_recorder, recorder)
        metrics = None
        if config.monitor.metrics:
            from agent.outputs.prometheus import MetricsExporter

            metrics = stack.enter_context(MetricsExporter(config.monitor.metrics))
        from agent.analysis.beat_classifier import load_beat_classifier

        classifier = load_beat_classifier(config.monitor.weights, config.monitor.device, config.monitor.threads)
        # The link comes last: what was sent meanwhile is fetched from the device, not from a queue that runs over.
        link = LinkReceiver(config, asked.beds)
        stack.callback(link.close)
        session = MonitorSession(link, classifier, config, recorder, metrics)
        try:
            _show_session(session, config, asked, lambda: stop() or over())
        finally:
            if session.ward.beds:
                print(f"ecg-agent: {session.summary()}", file=sys.stderr)  # noqa: T201  # for the person
        if asked.svg is not None:
            _write_svg_picture(session, asked.svg, config)


def run_demo(config: Config, asked: MonitorOptions, *arguments: str) -> None:
    """Watch a simulator of our own, started with `arguments` on a free port and ended with the monitor."""
    endpoint = find_free_endpoint()
    open_device = ("--key", "", "--clients", "")
    command = [
        sys.executable,
        "-m",
        "agent",
        "simulate",
        *arguments,
        "--endpoint",
        endpoint,
        "--wait",
        "--child",
        *open_device,
    ]
    simulator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    config = override_config(config, "security", key="", server_key="")
    try:
        run_monitor(override_config(config, "link", endpoint=endpoint), asked, lambda: simulator.poll() is not None)
    finally:
        simulator.terminate()
        told = simulator.communicate()[1].decode(errors="replace").strip().splitlines()
    if simulator.returncode > 0:
        raise SimulatorError(
            f"the simulator ended: {told[-1].removeprefix('ecg-agent: ') if told else 'no reason given'}"
        )


def find_free_endpoint() -> str:
    """An endpoint of this machine whose port and the next one are free."""
    while True:
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError, OverflowError):
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            other.bind(("127.0.0.1", port + 1))
            return f"tcp://127.0.0.1:{port}"


def _show_session(session: MonitorSession, config: Config, asked: MonitorOptions, stop: Callable[[], bool]) -> None:
    from agent.dashboard.terminal import TerminalScreen
    from agent.dashboard.view import DashboardView
    from agent.outputs.result_sinks import DashboardSink, JsonLineSink, TextLineSink

    until = EndCondition(asked.seconds, asked.until_end)
    if asked.json or not sys.stdout.isatty():
        try:
            session.run((JsonLineSink if asked.json else TextLineSink)(sys.stdout), until, stop)
        except BrokenPipeError:  # whoever read our lines has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    view = DashboardView(ascii=config.dashboard.ascii, seconds=config.dashboard.seconds or None)
    with TerminalScreen(Console(), view) as screen:
        dashboard = DashboardSink(screen, config)
        dashboard.show([], session, session.clock())  # something to see at once; and the first picture is the slowest
        session.run(dashboard, until, stop)


def _close_recorder(recorder: "Recorder") -> None:
    """Finish the recording; say what is not in it."""
    try:
        recorder.close()
    finally:
        if said := recorder.unrecorded():
            print(f"ecg-agent: {said}", file=sys.stderr)  # noqa: T201  # for the person


def _write_svg_picture(session: MonitorSession, path: Path, config: Config) -> None:
    from agent.dashboard.picture import draw_dashboard_svg
    from agent.dashboard.view import DashboardView

    text = draw_dashboard_svg(session.snapshot(session.clock()), DashboardView(ascii=config.dashboard.ascii), 120, 34)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TerminalError(f"cannot write picture {path}: {error.strerror}") from error


def replay_beds(
    config: Config, plans: Sequence[ReplayPlan], packet_ms: float, pace: PlaybackSpeed, parent: int | None
) -> None:
    """Replay beds until their end, a signal, or the end of process `parent`."""
    beds = open_replays(plans, packet_ms)
    console = Console(stderr=True, highlight=False)
    with StopFlag() as stop, PacketPublisher(config, pace.speed is None) as publisher:
        console.print(f"{len(beds)} {'bed' if len(beds) == 1 else 'beds'} at {publisher.endpoint}; Ctrl-C ends")

        def tell(status: ReplayStatus) -> None:
            for refusal in publisher.refusals():
                console.print(f"ecg-agent: {refusal}", markup=False, soft_wrap=True)
            if console.is_terminal:
                console.print(_replay_status_text(status), end="\r", overflow="ellipsis", no_wrap=True)

        def over() -> bool:
            return stop() or (parent is not None and os.getppid() != parent)

        last = run_schedule(beds, publisher, pace, SchedulerClock(), over, tell)
        console.print(f"\nended after {format_clock(last.position_s, decimals=1)} and {last.packets} packets", end="\n")


def _replay_status_text(status: ReplayStatus) -> str:
    state = "waiting for a monitor" if status.waiting else f"{format_clock(status.position_s, decimals=1)} of signal"
    watched = f"{status.subscribed}/{status.beds} beds watched"
    return f"{state}  {status.packets} packets  {watched}  late {status.late_ms:.1f} ms "
