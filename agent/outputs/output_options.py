"""The options --notify and --publish: what they name, opened."""

from collections.abc import Sequence
from pathlib import Path

from agent.core.config import Config
from agent.monitor.result_sinks import OutputSink
from model.errors import ConfigError

LARGEST_FILE = 2**16
"""Characters of a file with addresses."""


def open_outputs(notify: Sequence[str], publish: Sequence[str], config: Config) -> list[OutputSink]:
    """Open what results are sent to. On an error close what was opened.

    Parameters
    ----------
    notify
        URLs of Apprise, or @FILE with one a line: such a URL is a secret, and a command line can be seen by others.
    publish
        Addresses mqtt://…, mqtts://…, lsl or lsl:NAME, or @FILE with one a line.
    config
        The settings.

    Raises
    ------
    ConfigError
        For an address that makes no sense, or a package that is not installed.
    SourceError
        For a broker that refuses us.
    """
    outputs: list[OutputSink] = []
    try:
        for url in _read_addresses(notify, "--notify"):
            from agent.outputs.notifications import NotificationSink

            outputs.append(NotificationSink(url, config.notify))
        outputs += [_open_publisher(address, config) for address in _read_addresses(publish, "--publish")]
    except BaseException:
        for output in outputs:
            output.close()
        raise
    return outputs


def _open_publisher(address: str, config: Config) -> OutputSink:
    scheme, _, rest = address.partition(":")
    if scheme == "lsl":
        from agent.outputs.lsl_markers import LslMarkerStream

        return LslMarkerStream(rest)
    if scheme in ("mqtt", "mqtts"):
        from agent.outputs.mqtt_publisher import MqttPublisher

        return MqttPublisher(address, config.publish)
    raise ConfigError("--publish takes mqtt://HOST[:PORT][/PREFIX], mqtts://… or lsl[:NAME]")


def _read_addresses(values: Sequence[str], option: str) -> list[str]:
    """Return addresses, those of an @FILE in its place; empty lines and those that begin with # are left out."""
    addresses: list[str] = []
    for value in values:
        if not value.startswith("@"):
            addresses.append(value.strip())
            continue
        try:
            with Path(value[1:]).open(encoding="utf-8") as file:
                text = file.read(LARGEST_FILE + 1)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"{option} {value}: cannot read {value[1:]}: {reason}") from error
        if len(text) > LARGEST_FILE:
            raise ConfigError(f"{option} {value}: {value[1:]} is no list of addresses: it is longer than 64 kB")
        lines = text.splitlines()
        addresses += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return addresses
