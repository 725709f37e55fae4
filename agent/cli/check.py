"""`ecg-agent check`: is my stream right?"""

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.bridge import (
    DEFAULT_BAUD,
    BaudOption,
    BridgeArguments,
    ColumnsOption,
    FramesOption,
    NamesOption,
    SourceRateOption,
    SourceUnitOption,
    build_source_options,
)
from agent.cli.completion import complete_from
from agent.cli.options import ConfigFileOption, InsecureOption, JsonOption, KeyOption, ServerKeyOption
from agent.core import config as configuration
from agent.core.config import Config
from model.errors import StreamError

if TYPE_CHECKING:
    from agent.bridge.stream_capture import StreamCapture
    from agent.bridge.stream_check import StreamFinding

ENDPOINT_SCHEMES = ("tcp", "ipc", "inproc")
CHECK_EPILOG = (
    "Exit code 0: all is right. 5: something is wrong, or nothing came. 12: a source that cannot be opened. "
    "4: a file that cannot be read."
)


def check_source(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A source as ecg-agent bridge takes it, a file, or the endpoint of a device, such as "
            "tcp://127.0.0.1:5555.",
            autocompletion=complete_from("-", "serial:", "lsl:", "polar", "udp:", "tcp://127.0.0.1:5555"),
        ),
    ],
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Listen for this time.", min=2.0, max=600.0)] = 10.0,
    json: JsonOption = False,
    bed: Annotated[
        str | None, typer.Option(metavar="NAME", help="Check this bed of a device.", show_default="the first heard")
    ] = None,
    fs: SourceRateOption = None,
    unit: SourceUnitOption = None,
    columns: ColumnsOption = None,
    names: NamesOption = None,
    baud: BaudOption = DEFAULT_BAUD,
    frames: FramesOption = "",
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Listen to a stream for ten seconds: is it right, and what to do if it is not."""
    settings = configuration.override_config(
        configuration.load_config(config), "security", key=key, server_key=server_key, insecure=insecure
    )
    arguments = BridgeArguments(source, bed, fs, unit, columns, names, baud, frames)
    from agent.bridge.stream_check import check_stream

    capture = _capture_stream(settings, arguments, seconds)
    findings = check_stream(capture)
    (_print_json if json else _print_findings)(capture, findings)
    wrong = sum(not finding.is_right for finding in findings)
    if wrong:
        raise StreamError(f"{wrong} of {len(findings)} things about {capture.name} are not right: see the table")


def _capture_stream(config: Config, arguments: BridgeArguments, seconds: float) -> "StreamCapture":
    from agent.bridge.open_source import is_source, open_source
    from agent.bridge.row_source import RowSource
    from agent.bridge.stream_capture import capture_endpoint, capture_record, capture_source
    from model.formats.signal_file import SignalFileOptions, open_signal_file

    name = arguments.source
    if name.partition("://")[0] in ENDPOINT_SCHEMES:
        return capture_endpoint(configuration.override_config(config, "link", endpoint=name), seconds, arguments.bed)
    if is_source(name):
        source = open_source(name, build_source_options(arguments, seconds))
        return capture_source(source, seconds, told=arguments.fs is not None or not isinstance(source, RowSource))
    options = SignalFileOptions(fs=arguments.fs, unit=arguments.unit)
    return capture_record(open_signal_file(name, options), seconds)


def _print_findings(capture: "StreamCapture", findings: "list[StreamFinding]") -> None:
    from rich.table import Table
    from rich.text import Text

    from agent.cli.tables import print_table

    table = Table(
        title=Text(f"{capture.name}, {capture.seconds:.1f} s"), title_justify="left", box=None, pad_edge=False
    )
    for head in ("", "what", "lead", "measured", "what to do"):
        table.add_column(head, no_wrap=head in ("", "what", "lead"))
    for finding in findings:
        style = "" if finding.is_right else "bold red"
        mark = "ok" if finding.is_right else "!!"
        table.add_row(
            *(Text(text, style) for text in (mark, finding.what, finding.lead, finding.value, finding.advice))
        )
    print_table(table)


def _print_json(capture: "StreamCapture", findings: "list[StreamFinding]") -> None:
    import msgspec

    content = {
        "stream": capture.name,
        "fs": capture.fs,
        "measured_fs": capture.measured_fs,
        "seconds": capture.seconds,
        "lost": capture.lost,
        "right": all(finding.is_right for finding in findings),
        "findings": [
            {"what": finding.what, "lead": finding.lead, "value": finding.value, "advice": finding.advice}
            for finding in findings
        ],
    }
    typer.echo(msgspec.json.encode(content).decode())
