"""The commands monitor and demo, with settings that are already checked."""

import contextlib
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from agent.cli.bridge import BridgeArguments
from agent.cli.device_process import DeviceProcess
from agent.cli.stop_signals import StopFlag
from agent.core.class_trust import TRUST_KEY, encode_class_trust
from agent.core.config import Config, override_config
from agent.core.events import Event
from agent.core.run_clock import RunClock
from agent.link.bed_part import WHOLE_WARD, BedPart
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import EndCondition, MonitorSession
from agent.monitor.reference_truth import ReferenceTruth
from agent.monitor.result_sinks import OutputSink, SharedStore, Viewer
from model.errors import ConfigError, TerminalError, clean_error_text
from model.text import name_some, shorten_name

if TYPE_CHECKING:
    from agent.recording.recorder import Recorder
    from agent.web.web_station import WebStation

LONGEST_TIMEOUT_S = 1e8
MOST_ABSENT = 5
"""Most beds that are named of those that have settings and never came."""


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """Options of a monitor: the `beds` (none: all), how to show them, when to stop, the folder to `record` to.

    `notify`, `publish`: where to send results, as `agent.outputs.output_options` reads them. `truth`: the reference
    annotations of the record, if they are to be shown. `replays`: the device is a replay of ours.
    `replica`: the name under which a store of a fleet knows this monitor; None for one by host and process.
    `part`: which of the beds it watches, if several monitors share them.
    """

    beds: tuple[str, ...]
    json: bool
    seconds: float | None
    until_end: bool
    svg: Path | None
    record: Path | None
    notify: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    truth: ReferenceTruth | None = None
    replays: bool = False
    replica: str | None = None
    part: BedPart = WHOLE_WARD


def start_monitor(config: Config, options: MonitorOptions, source: BridgeArguments | None, workers: int) -> None:
    """Monitor a device, a source, or with several workers. Raises what each of these does."""
    if workers > 1:
        from agent.cli.worker_processes import share_beds

        share_beds(config, options, source, workers)
    elif source is not None:
        run_source(config, options, source)
    else:
        run_monitor(config, options)


def run_monitor(
    config: Config,
    options: MonitorOptions,
    over: Callable[[], bool] = lambda: False,
    device_news: Callable[[], Sequence[Event]] = tuple,
) -> None:
    """Monitor until the end, a signal, or `over`: on the dashboard if there is a terminal, else as lines.

    `device_news`: returns the events that a device of ours has told since the last call.

    Write a summary to standard error at the end. Raises ConfigError, DeviceError, CheckpointError, EndpointError,
    StreamError, TerminalError, RecordError, RunError or SourceError.
    """
    if not all(options.beds):
        raise ConfigError("a bed without a name cannot be watched: leave --bed out to watch all")
    if options.replica is not None and not options.replica.strip():
        raise ConfigError("a replica needs a name: --replica NAME")
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
        run_clock = RunClock()
        outputs, store = _enter_outputs(options, config, run_clock, stack)
        web = _enter_web(config, stack)
        # The link comes last: what was sent meanwhile is fetched from the device, not from a queue that runs over.
        link = LinkReceiver(config, options.beds, options.part)
        stack.callback(link.close)
        truth = options.truth
        sinks = [truth] if truth else []
        given = recorder, metrics, sinks, outputs, device_news, store, run_clock
        session = MonitorSession(link, classifier, config, *given)
        try:
            _show_session(session, config, options, lambda: stop() or over(), web)
        finally:
            for line in _closing_lines(session, config, options):
                print(f"ecg-agent: {line}", file=sys.stderr)  # noqa: T201  # for the person
        if options.svg is not None:
            _write_svg_picture(session, options.svg, config, truth)


def _closing_lines(session: MonitorSession, config: Config, options: MonitorOptions) -> Iterator[str]:
    """Yield what a person should know at the end: the whole run in a line, and beds that never came."""
    came = session.pipeline.beds
    if came:
        yield session.summary()
        if options.truth:
            yield options.truth.summary()
    watched, configured = (list(filter(options.part.has, names)) for names in (options.beds, config.bed))
    answers = session.link.view(session.clock()).round_trip_ms is not None
    heard = session.link.hear_all_beds() if answers and set(watched) - set(came) else []
    yield from describe_absent_beds(came, watched, configured, heard)


def describe_absent_beds(
    came: Container[str], watched: Iterable[str], configured: Iterable[str], heard: Sequence[str] = ()
) -> list[str]:
    """Return a line for each bed that was to be watched, or has settings, and never came; `heard`: those that do."""
    hint = f"the device has {name_some(heard)} (--bed)" if heard else "check --bed"
    lines = [f"bed {_quoted_name(bed)} never came: {hint}" for bed in watched if bed not in came]
    if not (absent := [_quoted_name(bed) for bed in configured if bed not in came]):
        return lines
    rest = f" and {len(absent) - MOST_ABSENT} more" if len(absent) > MOST_ABSENT else ""
    return [*lines, f"settings for {', '.join(absent[:MOST_ABSENT])}{rest}: no such bed has come (see [bed.NAME])"]


def _quoted_name(bed: str) -> str:
    return clean_error_text(repr(shorten_name(bed)))


def _enter_outputs(
    options: MonitorOptions, config: Config, run_clock: RunClock, stack: contextlib.ExitStack
) -> tuple[list[OutputSink], SharedStore | None]:
    """Open what results are sent to; return the store of a fleet, if one is among it, too."""
    if not (options.notify or options.publish or options.replica):
        return [], None
    from agent.outputs.output_options import open_outputs
    from agent.store.store_address import STORE_SCHEMES, open_store_client
    from agent.store.store_output import StoreOutput

    stores: list[StoreOutput] = []

    def open_store(address: str) -> StoreOutput:
        if stores:
            raise ConfigError("--publish names two stores: a monitor is a replica of one fleet")
        stores.append(StoreOutput(open_store_client(address, config.security), options.replica or ""))
        return stores[0]

    outputs = open_outputs(options.notify, options.publish, config, run_clock, dict.fromkeys(STORE_SCHEMES, open_store))
    for output in outputs:
        stack.callback(output.close)
    if options.replica and not stores:
        raise ConfigError("--replica names this monitor in the store of a fleet, and --publish names no store")
    return outputs, stores[0] if stores else None


def _enter_web(config: Config, stack: contextlib.ExitStack) -> "WebStation | None":
    """Serve the ward to browsers, if that is wanted, and say where."""
    if not config.web.address:
        return None
    from agent.web.open_web import open_web_station

    web = open_web_station(config)
    stack.callback(web.close)
    print(f"ecg-agent: the ward is at {web.address}", file=sys.stderr)  # noqa: T201  # for the person
    return web


def run_demo(config: Config, options: MonitorOptions, *arguments: str) -> None:
    """Monitor a device that `ecg-agent` with `arguments` is: it starts on a free port and stops with the monitor.

    If the device fails, raise its error: a record that is not there has the exit code that `simulate` gives it.
    """
    with DeviceProcess(arguments, reads_input="-" in arguments) as device:
        config = override_config(config, "security", key="", server_key="")
        options = replace(options, replays=arguments[0] == "simulate")
        run_monitor(override_config(config, "link", endpoint=device.endpoint), options, device.has_failed, device.news)


def run_source(config: Config, options: MonitorOptions, source: BridgeArguments) -> None:
    """Monitor a sensor, a stream or a file, until its end. Raises what `run_monitor` and the source raise."""
    from agent.bridge.open_source import is_source

    if is_source(source.source):
        arguments = ["bridge", *source.command_line()]
    else:
        arguments = ["simulate", "record", *source.file_command_line(), "--wait"]
    # A source that has to be found, or whose rate is measured, takes its time, and says itself when it gives up
    config = override_config(config, "monitor", timeout_s=LONGEST_TIMEOUT_S)
    run_demo(config, replace(options, beds=(), until_end=True), *arguments)


def _show_session(
    session: MonitorSession,
    config: Config,
    options: MonitorOptions,
    stop: Callable[[], bool],
    web: "WebStation | None",
) -> None:
    from agent.dashboard.terminal import TerminalScreen
    from agent.dashboard.view import DashboardView
    from agent.outputs.dashboard_sink import DashboardSink
    from agent.outputs.replay_remote import ReplayRemote
    from agent.outputs.text_lines import JsonLineSink, TextLineSink

    def run(viewer: Viewer) -> None:
        end = EndCondition(options.seconds, options.until_end)
        session.run(web.watch(viewer, session) if web else viewer, end, stop)

    if options.json or not sys.stdout.isatty():
        try:
            run((JsonLineSink if options.json else TextLineSink)(sys.stdout, session))
        except BrokenPipeError:  # the reader of the pipe has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    seconds = config.dashboard.seconds or None
    view = DashboardView(ascii=config.dashboard.ascii, seconds=seconds, replays=options.replays)
    with TerminalScreen(Console(), view) as screen:
        replay = ReplayRemote(session.link) if options.replays else None
        dashboard = DashboardSink(screen, config, session, options.truth, replay)
        dashboard.refresh(session.clock())  # show something at once; the first frame is also the slowest
        run(dashboard)


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


def _write_svg_picture(session: MonitorSession, path: Path, config: Config, truth: ReferenceTruth | None) -> None:
    from agent.dashboard.picture import draw_dashboard_svg
    from agent.dashboard.view import DashboardView

    snapshot = session.full_snapshot(session.clock())
    if truth:
        snapshot = replace(snapshot, beds=truth.annotate(snapshot.beds))
    text = draw_dashboard_svg(snapshot, DashboardView(ascii=config.dashboard.ascii), 120, 34)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TerminalError(f"cannot write picture {path}: {error.strerror}") from error
