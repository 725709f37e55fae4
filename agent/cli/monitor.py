"""The commands monitor, demo and simulate, with settings that are already checked."""

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
from agent.core.class_trust import TRUST_KEY, encode_class_trust
from agent.core.config import Config, override_config
from agent.dashboard.lines import format_sample_clock
from agent.device.publisher import PacketPublisher
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import EndCondition, MonitorSession, OutputSink
from model.errors import ConfigError, EcgError, SimulatorError, TerminalError
from model.records.resample import FS
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, ReplayStatus, SchedulerClock, open_replays, run_schedule

if TYPE_CHECKING:
    from agent.recording.recorder import Recorder


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """Options of a monitor: the `beds` (none: all), how to show them, when to stop, the folder to `record` to.

    `notify`, `publish`: where to send results, as `agent.outputs.output_options` reads them.
    """

    beds: tuple[str, ...]
    json: bool
    seconds: float | None
    until_end: bool
    svg: Path | None
    record: Path | None
    notify: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()


def run_monitor(config: Config, options: MonitorOptions, over: Callable[[], bool] = lambda: False) -> None:
    """Monitor until the end, a signal, or `over`: on the dashboard if there is a terminal, else as lines.

    Write a summary to standard error at the end. Raises ConfigError, DeviceError, CheckpointError, EndpointError,
    StreamError, TerminalError, RecordError, RunError or SourceError.
    """
    if not all(options.beds):
        raise ConfigError("a bed without a name cannot be watched: leave --bed out to watch all")
    if options.svg is not None:
        _check_svg_path(options.svg)
    if sys.stdout.isatty():
        print("ecg-agent: loading the net", file=sys.stderr)  # noqa: T201  # it takes a moment
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopFlag())
        from agent.analysis.beat_classifier import load_beat_classifier

        classifier = load_beat_classifier(config.monitor.weights, config.monitor.device, config.monitor.threads)
        recorder = None
        if options.record is not None:
            from agent.recording.recorder import Recorder

            about = {"version": version("ecg-agent"), "weights": config.monitor.weights}
            about[TRUST_KEY] = encode_class_trust(classifier.class_trust)
            recorder = Recorder(options.record, config.record, about)
            stack.callback(_close_recorder, recorder)
        metrics = None
        if config.monitor.metrics:
            from agent.outputs.prometheus import MetricsExporter

            metrics = stack.enter_context(MetricsExporter(config.monitor.metrics))
        outputs = _enter_outputs(options, config, stack)
        # The link comes last: what was sent meanwhile is fetched from the device, not from a queue that runs over.
        link = LinkReceiver(config, options.beds)
        stack.callback(link.close)
        session = MonitorSession(link, classifier, config, recorder, metrics, outputs=outputs)
        try:
            _show_session(session, config, options, lambda: stop() or over())
        finally:
            if session.pipeline.beds:
                print(f"ecg-agent: {session.summary()}", file=sys.stderr)  # noqa: T201  # for the person
        if options.svg is not None:
            _write_svg_picture(session, options.svg, config)


def _enter_outputs(options: MonitorOptions, config: Config, stack: contextlib.ExitStack) -> list[OutputSink]:
    if not (options.notify or options.publish):
        return []
    from agent.outputs.output_options import open_outputs

    outputs = open_outputs(options.notify, options.publish, config)
    for output in outputs:
        stack.callback(output.close)
    return outputs


def run_demo(config: Config, options: MonitorOptions, *arguments: str) -> None:
    """Monitor a simulator that is started with `arguments` on a free port and stops with the monitor.

    If the simulator fails, raise its error: a record that is not there has the exit code that `simulate` gives it.
    """
    endpoint = find_free_endpoint()
    # On a free port of this machine the demo needs no keys, whatever the settings say
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
        run_monitor(override_config(config, "link", endpoint=endpoint), options, lambda: simulator.poll() is not None)
    finally:
        simulator.terminate()
        lines = simulator.communicate()[1].decode(errors="replace").strip().splitlines()
    if simulator.returncode > 0:
        raise _simulator_error(simulator.returncode, lines)


def _simulator_error(code: int, lines: Sequence[str]) -> EcgError:
    """Return the error that a simulator wrote as its last line before it ended with this exit code."""
    reason = lines[-1].removeprefix("ecg-agent: ") if lines else "no reason given"
    kinds = {kind.exit_code: kind for kind in EcgError.__subclasses__()}
    return kinds[code](reason) if code in kinds else SimulatorError(f"the simulator ended: {reason}")


def find_free_endpoint() -> str:
    """Return an endpoint of this machine whose port and the next one are free."""
    while True:
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError, OverflowError):
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            second.bind(("127.0.0.1", port + 1))
            return f"tcp://127.0.0.1:{port}"


def _show_session(session: MonitorSession, config: Config, options: MonitorOptions, stop: Callable[[], bool]) -> None:
    from agent.dashboard.terminal import TerminalScreen
    from agent.dashboard.view import DashboardView
    from agent.outputs.dashboard_sink import DashboardSink
    from agent.outputs.text_lines import JsonLineSink, TextLineSink

    end = EndCondition(options.seconds, options.until_end)
    if options.json or not sys.stdout.isatty():
        try:
            session.run((JsonLineSink if options.json else TextLineSink)(sys.stdout, session), end, stop)
        except BrokenPipeError:  # the reader of the pipe has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    view = DashboardView(ascii=config.dashboard.ascii, seconds=config.dashboard.seconds or None)
    with TerminalScreen(Console(), view) as screen:
        dashboard = DashboardSink(screen, config, session)
        dashboard.refresh(session.clock())  # show something at once; the first frame is also the slowest
        session.run(dashboard, end, stop)


def _close_recorder(recorder: "Recorder") -> None:
    """Finish the recording, and report what is missing from it."""
    try:
        recorder.close()
    finally:
        if missing := recorder.unrecorded():
            print(f"ecg-agent: {missing}", file=sys.stderr)  # noqa: T201  # for the person


def _check_svg_path(path: Path) -> None:
    if path.suffix.lower() != ".svg":
        raise ConfigError(f"cannot write {path}: the picture is SVG, give a file name that ends in .svg (--svg)")
    if not path.parent.is_dir():
        raise ConfigError(f"no folder {path.parent} to write a picture to (--svg)")


def _write_svg_picture(session: MonitorSession, path: Path, config: Config) -> None:
    from agent.dashboard.picture import draw_dashboard_svg
    from agent.dashboard.view import DashboardView

    text = draw_dashboard_svg(
        session.full_snapshot(session.clock()), DashboardView(ascii=config.dashboard.ascii), 120, 34
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TerminalError(f"cannot write picture {path}: {error.strerror}") from error


def replay_beds(
    config: Config, plans: Sequence[ReplayPlan], packet_ms: float, pace: PlaybackSpeed, parent: int | None
) -> None:
    """Replay beds until they end, a signal comes, or the process `parent` ends."""
    beds = open_replays(plans, packet_ms)
    console = Console(stderr=True, highlight=False)
    with StopFlag() as stop, PacketPublisher(config, pace.speed is None) as publisher:
        console.print(f"{len(beds)} {'bed' if len(beds) == 1 else 'beds'} at {publisher.endpoint}; Ctrl-C ends")
        for notice in dict.fromkeys(bed.notice for bed in beds if bed.notice):
            console.print(f"ecg-agent: {notice}", markup=False, soft_wrap=True)

        def show_status(status: ReplayStatus) -> None:
            for refusal in publisher.refusals():
                console.print(f"ecg-agent: {refusal}", markup=False, soft_wrap=True)
            if console.is_terminal:
                console.print(_replay_status_text(status), end="\r", overflow="ellipsis", no_wrap=True)

        def over() -> bool:
            return stop() or (parent is not None and os.getppid() != parent)

        last = run_schedule(beds, publisher, pace, SchedulerClock(), over, show_status)
        console.print(f"\nended after {_position_text(last.position_s)} and {last.packets} packets", end="\n")


def _replay_status_text(status: ReplayStatus) -> str:
    state = "waiting for a monitor" if status.waiting else f"{_position_text(status.position_s)} of signal"
    watched = f"{status.subscribed}/{status.beds} beds watched"
    return f"{state}  {status.packets} packets  {watched}  late {status.late_ms:.1f} ms "


def _position_text(seconds: float) -> str:
    return format_sample_clock(round(seconds * FS), tenths=True)
