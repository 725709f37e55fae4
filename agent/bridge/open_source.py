"""From the words of a command to a source: "-", "serial:/dev/ttyUSB0", "lsl:NAME" and so on."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent.bridge.datagrams import DatagramSocket
from agent.bridge.frame_parsers import FRAME_PARSERS
from agent.bridge.line_parser import LineParser
from agent.bridge.mqtt_topic import MqttTopic
from agent.bridge.row_source import RowSource
from agent.bridge.sensor_source import SensorSource
from agent.bridge.serial_port import SerialPort
from agent.bridge.source_options import SourceOptions
from agent.bridge.standard_input import StandardInput
from agent.bridge.wire_payloads import WirePayloadSource
from model.errors import ConfigError

WIRE_FRAMES = "wire"
"""Packets of our wire, as payloads of a broker."""


def _open_standard_input(place: str, options: SourceOptions) -> SensorSource:
    del place
    return RowSource(StandardInput(), LineParser(whole=True), options, paced=True)


def _open_serial_port(place: str, options: SourceOptions) -> SensorSource:
    if not options.frames:
        return RowSource(SerialPort(place, options.baud), LineParser(), options)
    parser = FRAME_PARSERS[options.frames]()
    return RowSource(SerialPort(place, options.baud, parser.GREETING), parser, options)


def _open_datagrams(place: str, options: SourceOptions) -> SensorSource:
    return RowSource(DatagramSocket(place), LineParser(whole=True), options)


def _open_topic(place: str, options: SourceOptions) -> SensorSource:
    if options.frames == WIRE_FRAMES:
        return WirePayloadSource(MqttTopic(place))
    return RowSource(MqttTopic(place), LineParser(whole=True), options)


def _open_lsl(place: str, options: SourceOptions) -> SensorSource:
    from agent.bridge.lsl_source import LslSource

    return LslSource(place, options)


def _open_brainflow(place: str, options: SourceOptions) -> SensorSource:
    from agent.bridge.brainflow_source import BrainflowSource

    return BrainflowSource(place, options)


def _open_polar(place: str, options: SourceOptions) -> SensorSource:
    from agent.bridge.polar_source import PolarSource

    return PolarSource(place, options)


_SOURCES: dict[str, Callable[[str, SourceOptions], SensorSource]] = {
    "-": _open_standard_input,
    "serial": _open_serial_port,
    "udp": _open_datagrams,
    "mqtt": _open_topic,
    "lsl": _open_lsl,
    "polar": _open_polar,
    "brainflow": _open_brainflow,
}
"""What follows on the colon of a source, and the options, to the source."""
_FRAMES = {"serial": tuple(FRAME_PARSERS), "mqtt": (WIRE_FRAMES,)}
"""The frames of each kind of source that has some."""
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9+-]+:")
"""What a source begins with, or a file of a strange name; one letter is a drive."""


def is_source(text: str) -> bool:
    """Return whether a text names a source, and not a file or a record. Raises ConfigError for a kind nobody knows."""
    if text.partition(":")[0] in _SOURCES:
        return True
    if _KIND.match(text) and not (_is_there(text) or _is_there(f"{text}.hea")):
        raise _unknown_kind(text, "a file that is there, or ")
    return False


def bed_of_source(text: str) -> str:
    """Return the name of a source's bed, where nobody gives it one: that of its kind."""
    kind = text.partition(":")[0]
    return "stdin" if kind == "-" else kind


def open_source(text: str, options: SourceOptions) -> SensorSource:
    """Return the source of a text such as "serial:/dev/ttyUSB0"; nothing is opened yet.

    Raises ConfigError where there is no such kind of source, or its place makes no sense.
    """
    kind, _, place = text.partition(":")
    if kind not in _SOURCES:
        raise _unknown_kind(text)
    if options.frames not in ("", *_FRAMES.get(kind, ())):
        known = ", ".join(name for names in _FRAMES.values() for name in names)
        raise ConfigError(f"no frames {options.frames!r} of {kind}: there are {known} (--frames)")
    return _SOURCES[kind](place, options)


def _is_there(path: str) -> bool:
    with suppress(OSError, ValueError):  # an impossible file name is no file
        return Path(path).exists()
    return False


def _unknown_kind(text: str, other: str = "") -> ConfigError:
    return ConfigError(f"no source {text!r}: give {other}one of {', '.join(_SOURCES)}, such as serial:/dev/ttyUSB0")
