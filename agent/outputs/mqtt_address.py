"""Addresses of MQTT brokers, such as mqtt://USER:PASSWORD@HOST:PORT/PREFIX, and names of topics."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit
from zlib import crc32

from model.errors import ConfigError

DEFAULT_PREFIX = "ecg-agent"
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
LONGEST_PREFIX = 200
LOGIN_HINT = "in user and password write %2F for /, %3F for ?, %23 for #, and there as in a topic %40 for @"
_NOT_IN_TOPICS = re.compile(r"[+#/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Wildcards, the separator of levels, and what MQTT forbids in text."""
_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where a broker is, who we are to it, and what all our topics begin with."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None
    prefix: str

    @property
    def shown(self) -> str:
        """The address without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}/{self.prefix}"


def split_address(text: str) -> tuple[SplitResult, int | None]:
    """Return the parts of an address, and its port. Raises ValueError, which does not repeat what may be a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        hint = f"; {LOGIN_HINT}" if "@" in text else ""
        raise ValueError(f"its port must be 1 to 65535, and [ ] stand around an IPv6 address{hint}") from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError(LOGIN_HINT)
    return parts, port


def parse_mqtt_address(text: str) -> MqttAddress:
    """Return the address that a text names. Raises ConfigError, which does not repeat it: it may hold a password."""
    try:
        parts, port = split_address(text)
    except ValueError as error:
        raise _address_error(str(error)) from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise _address_error("the host is missing")
    if "?" in text or "#" in text:
        raise _address_error("there is a ? or # in it: write %3F or %23 in a password")
    prefix = unquote(parts.path).strip("/") or DEFAULT_PREFIX
    if len(prefix) > LONGEST_PREFIX or any(_NOT_IN_TOPICS.search(level) for level in prefix.split("/")):
        raise _address_error(f"the prefix must have no + or #, and at most {LONGEST_PREFIX} characters")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    tls = parts.scheme == "mqtts"
    return MqttAddress(parts.hostname, port or DEFAULT_PORTS[parts.scheme], tls, user, password, prefix)


def topic_level(name: str) -> str:
    """Return the name of a bed as one level of a topic; what it must not have is replaced."""
    return _plain_name(name, _NOT_IN_TOPICS)


def topic_identifier(name: str) -> str:
    """Return a name as Home Assistant takes it in topics and identifiers."""
    return _plain_name(name, _NOT_IN_IDENTIFIERS)


def _plain_name(name: str, forbidden: re.Pattern[str]) -> str:
    """Return a name without characters that are forbidden; a number tells it from others that look alike then."""
    plain = forbidden.sub("_", name)
    return plain if plain == name else f"{plain}_{crc32(name.encode(errors='replace')):08x}"


def _address_error(reason: str) -> ConfigError:
    return ConfigError(
        f"--publish mqtt://… makes no sense: {reason}; write mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX]"
    )
