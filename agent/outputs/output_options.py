"""The options --notify and --publish: what they name, opened."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.core.config import Config
from agent.core.run_clock import RunClock
from agent.monitor.result_sinks import OutputSink
from model.errors import ConfigError

LARGEST_FILE = 2**16
"""Characters of a file with addresses."""


OpenOutput = Callable[[str], OutputSink]
"""Opens what an address names."""


def open_outputs(
    notify: Sequence[str],
    publish: Sequence[str],
    config: Config,
    run_clock: RunClock,
    others: Mapping[str, OpenOutput] | None = None,
) -> list[OutputSink]:
    """Open what results are sent to. On an error close what was opened.

    Parameters
    ----------
    notify
        URLs of Apprise, or @FILE with one a line: such a URL is a secret, and a command line can be seen by others.
    publish
        Addresses mqtt://…, mqtts://…, lsl or lsl:NAME, those of `others`, or @FILE with one a line.
    config
        The settings.
    run_clock
        When samples were measured: that of the session whose results are sent.
    others
        Who opens addresses of other kinds, by what comes before their colon.

    Raises
    ------
    ConfigError
        For an address that makes no sense, or a package that is not installed.
    SourceError
        For a broker that refuses us.
    """
    outputs: list[OutputSink] = []
    try:
        for url in read_addresses(notify, "--notify"):
            from agent.outputs.notifications import NotificationSink

            outputs.append(NotificationSink(url, config.notify, run_clock))
        for address in read_addresses(publish, "--publish"):
            outputs.append(_open_publisher(address, config, run_clock, others or {}))
    except BaseException:
        for output in outputs:
            output.close()
        raise
    return outputs


def _open_publisher(address: str, config: Config, run_clock: RunClock, others: Mapping[str, OpenOutput]) -> OutputSink:
    scheme, _, rest = address.partition(":")
    if scheme == "lsl":
        from agent.outputs.lsl_markers import LslMarkerStream

        return LslMarkerStream(rest, run_clock)
    if scheme in ("mqtt", "mqtts"):
        from agent.outputs.mqtt_publisher import MqttPublisher

        return MqttPublisher(address, config.publish, run_clock)
    if scheme in others:
        return others[scheme](address)
    raise ConfigError("--publish takes mqtt://HOST[:PORT][/PREFIX], mqtts://…, lsl[:NAME] or a store")


def read_addresses(values: Sequence[str], option: str) -> list[str]:
    """Return addresses, those of an @FILE in its place; empty lines and those that begin with # are left out.

    Raises ConfigError, which names the `option`.
    """
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
