"""`ecg-agent bridge`: a sensor or stream as a device that any monitor can watch."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.completion import complete_from
from agent.cli.options import ChildOption, ClientsOption, ConfigFileOption, EndpointOption, InsecureOption, KeyOption
from agent.cli.stop_signals import StopFlag
from agent.core import config as configuration
from agent.core.config import Config
from model.errors import ConfigError
from model.text import shorten_name

if TYPE_CHECKING:
    from agent.bridge.bridge_loop import BridgeStatus
    from agent.bridge.source_options import SourceOptions
    from agent.monitor.reference_truth import ReferenceTruth

DEFAULT_BAUD = 115_200
SOURCE_PANEL = "Options of a source"
SOURCE_HELP = (
    "- (standard input), serial:PORT, lsl:NAME, polar, brainflow:BOARD, mqtt://HOST/TOPIC or udp:PORT; "
    "docs/sources.md describes each."
)
SourceRateOption = Annotated[
    float | None,
    typer.Option(
        "--fs",
        rich_help_panel=SOURCE_PANEL,
        metavar="HZ",
        help="Sampling rate, where the source says none.",
        show_default="measured",
    ),
]
SourceUnitOption = Annotated[
    str | None,
    typer.Option(
        "--unit",
        rich_help_panel=SOURCE_PANEL,
        metavar="UNIT",
        help='Unit of the numbers: uV, mV, V, the size of a count such as "2.9uV", or counts.',
        autocompletion=complete_from("uV", "mV", "V", "counts"),
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=SOURCE_PANEL,
        metavar="NUMBERS",
        help="Which numbers of a line are leads, as 2,3.",
        show_default="all",
    ),
]
NamesOption = Annotated[
    str | None, typer.Option(rich_help_panel=SOURCE_PANEL, metavar="NAMES", help="Names of the leads, such as II,V5.")
]
BaudOption = Annotated[
    int, typer.Option(rich_help_panel=SOURCE_PANEL, metavar="NUMBER", help="Bits a second of a serial port.", min=50)
]
FramesOption = Annotated[
    str,
    typer.Option(
        rich_help_panel=SOURCE_PANEL,
        metavar="KIND",
        help="Binary frames of a serial port, protocentral or chords; of MQTT, wire.",
        show_default="lines of text",
        autocompletion=complete_from("protocentral", "chords", "wire"),
    ),
]


@dataclass(frozen=True, slots=True)
class BridgeArguments:
    """The options of a bridge as they were typed."""

    source: str
    bed: str | None = None
    fs: float | None = None
    unit: str | None = None
    columns: str | None = None
    names: str | None = None
    baud: int = DEFAULT_BAUD
    frames: str = ""
    patient: bool = False
    parent: int | None = None

    def command_line(self) -> list[str]:
        """Return the arguments of `ecg-agent bridge` that mean the same."""
        given = _option_words(fs=self.fs, unit=self.unit, columns=self.columns, names=self.names, bed=self.bed)
        given += _option_words(baud=self.baud, frames=self.frames or None)
        return [self.source, *given, *(["--patient"] if self.patient else [])]

    def file_command_line(self) -> list[str]:
        """Return the arguments of `ecg-agent simulate record` that mean the same. Raises ConfigError where none do."""
        if self.columns or self.names or self.frames or self.baud != DEFAULT_BAUD:
            raise ConfigError(f"--columns, --names, --baud and --frames are of sensors, and {self.source} is none")
        options = {"fs": self.fs, "unit": self.unit, "bed": self.bed}
        return [
            self.source,
            *(word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))),
        ]


def _option_words(**options: object) -> list[str]:
    """Return options that were given (are not None) as words of a command line."""
    return [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]


def bridge_source(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help=SOURCE_HELP, autocompletion=complete_from("-", "serial:", "lsl:", "polar", "udp:")
        ),
    ],
    bed: Annotated[str | None, typer.Option(metavar="NAME", help="Name the bed.", show_default="by the source")] = None,
    fs: SourceRateOption = None,
    unit: SourceUnitOption = None,
    columns: ColumnsOption = None,
    names: NamesOption = None,
    baud: BaudOption = DEFAULT_BAUD,
    frames: FramesOption = "",
    patient: Annotated[
        bool, typer.Option("--patient", help="Wait for a source that is not there yet, instead of ending.")
    ] = False,
    child: ChildOption = False,
    endpoint: EndpointOption = None,
    key: KeyOption = None,
    clients: ClientsOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Read a sensor or stream, and send it as a device that any monitor can watch."""
    settings = configuration.override_config(configuration.load_config(config), "link", endpoint=endpoint)
    settings = configuration.override_config(settings, "security", key=key, clients=clients, insecure=insecure)
    parent = os.getppid() if child else None
    run_bridge(settings, BridgeArguments(source, bed, fs, unit, columns, names, baud, frames, patient, parent))


def check_source_arguments(beds: Sequence[str] | None, endpoint: str | None) -> None:
    """Raise ConfigError for options of a monitor that make no sense with a source of its own."""
    if endpoint is not None:
        raise ConfigError("--from starts a device of its own: leave --endpoint out, or run ecg-agent bridge")
    if beds and len(beds) > 1:
        raise ConfigError("--from has one bed: give it one name (--bed), or none")


def open_truth(source: str | None, fs: float | None, unit: str | None) -> "ReferenceTruth":
    """Return the reference annotations of a record. Raises ConfigError where a source is no record on this machine."""
    from agent.bridge.open_source import is_source
    from agent.monitor.reference_truth import ReferenceTruth
    from model.formats.signal_file import SignalFileOptions

    if source is None or is_source(source):
        raise ConfigError("only a record on this machine has reference annotations: --from RECORD --truth, or demo")
    return ReferenceTruth(source, SignalFileOptions(fs, unit))


def reject_source_arguments(arguments: BridgeArguments) -> None:
    """Raise ConfigError for options of a source where there is none."""
    if arguments != BridgeArguments("", arguments.bed):
        raise ConfigError("--fs, --unit, --columns, --names, --baud and --frames are of a source: give it with --from")


def run_bridge(config: Config, arguments: BridgeArguments) -> None:
    """Bridge until the source is over, a signal comes, or the parent ends.

    Raises ConfigError, EndpointError, or SourceError.
    """
    from rich.console import Console
    from rich.control import Control
    from rich.segment import ControlType

    from agent.bridge.bridge_loop import BridgeLoop
    from agent.bridge.device_stream import DeviceStream
    from agent.bridge.open_source import bed_of_source, open_source
    from agent.device.publisher import PacketPublisher
    from agent.wire.packets import check_bed_name

    source = open_source(arguments.source, build_source_options(arguments, config.bridge.measure_s))
    bed = check_bed_name(arguments.bed or bed_of_source(arguments.source))
    console = Console(stderr=True, highlight=False)

    said: list[str] = []

    def tell(text: str) -> None:
        if console.is_terminal:
            console.control(Control((ControlType.ERASE_IN_LINE, 2)))  # the status line
        if not said and arguments.parent is None:  # a source that cannot be opened has no bed
            said.append(f"ecg-agent: bed {shorten_name(bed)} at {publisher.endpoint}; Ctrl-C ends")
            console.print(said[0], markup=False, soft_wrap=True)
        console.print(f"ecg-agent: {text}", markup=False, soft_wrap=True)

    with StopFlag() as stop, PacketPublisher(config, lossless=False) as publisher:

        def show_status(status: "BridgeStatus") -> None:
            for refusal in publisher.refusals():
                tell(refusal)
            if console.is_terminal:
                line = _bridge_status_text(status, publisher.subscribers(bed)).ljust(console.width - 1)
                console.print(line, end="\r", overflow="ellipsis", no_wrap=True, markup=False)

        stream = DeviceStream(publisher, bed, config.simulate.keep_s)
        loop = BridgeLoop(source, stream, config.bridge, tell, arguments.patient)
        last = loop.run(_stop_or_orphaned(stop, arguments.parent), show_status)
        console.print(f"\nended after {last.samples} samples, {last.lost} of them lost before they came here")


def build_source_options(arguments: BridgeArguments, measure_s: float) -> "SourceOptions":
    """Return what was typed of a source, whose rate is measured for `measure_s` if need be. Raises ConfigError."""
    from agent.bridge.source_options import (
        SourceOptions,
        check_source_rate,
        parse_columns,
        parse_count_size,
        parse_names,
    )

    return SourceOptions(
        fs=None if arguments.fs is None else check_source_rate(arguments.fs),
        unit=None if arguments.unit is None else parse_count_size(arguments.unit),
        columns=() if arguments.columns is None else parse_columns(arguments.columns),
        names=() if arguments.names is None else parse_names(arguments.names),
        baud=arguments.baud,
        frames=arguments.frames,
        measure_s=measure_s,
    )


def _stop_or_orphaned(stop: Callable[[], bool], parent: int | None) -> Callable[[], bool]:
    """Return a function that says whether to stop: as asked for, or since the process `parent` has ended."""
    return lambda: stop() or (parent is not None and os.getppid() != parent)


def _bridge_status_text(status: "BridgeStatus", monitors: int) -> str:
    rate = "" if status.fs is None else f"{status.fs:g} Hz"
    measured = "" if status.measured is None else f" (measured {status.measured:.1f})"
    state = rate + measured if status.connected else "not connected"
    silence = f"  silent {status.silent_s:.0f} s" if status.silent_s >= 2 else ""
    remark = f"  {status.remark}" if status.remark else ""
    watched = f"{monitors} {'monitor' if monitors == 1 else 'monitors'}"
    return f"{state}{silence}  {status.samples} samples, {status.lost} lost  {watched}{remark} "
