"""One service of Apprise: its URL, which is a secret, the name that may be shown, and sending to it."""

import logging
import re
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from agent.outputs.notification_text import NoticeMessage
from model.errors import ConfigError, clean_error_text
from model.extras import import_extra

OPEN_SCHEMES = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"})
"""Web hooks of one's own: their host is no secret, as the first part of other URLs may be."""
LEAST_SECRET = 3
"""Characters of a part of a URL that is hidden in what Apprise reports."""
_LOGGER = logging.getLogger("apprise")


class AppriseTarget:
    """A service to notify. Raises ConfigError if Apprise knows no such URL, or is not installed.

    `name`: the URL as it may be shown: its scheme, and of a web hook the host.
    """

    def __init__(self, url: str) -> None:
        apprise: Any = import_extra("apprise", "notify")
        _LOGGER.propagate = False  # it would write URLs to standard error
        if not _LOGGER.handlers:
            _LOGGER.addHandler(logging.NullHandler())
        self.name = _shown_name(url)
        self._secrets = _secret_parts(url)
        self._service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if self._service is None:
            raise ConfigError(
                f"--notify {self.name} is no URL of a service that Apprise knows, such as json://HOST:PORT/PATH, "
                "ntfy://TOPIC, tgram://TOKEN/CHAT or mailto://USER:PASSWORD@HOST"
            )
        if not _takes_port(url, self._service):
            raise ConfigError(f"--notify {self.name} makes no sense: its port must be 1 to 65535")

    def send(self, message: NoticeMessage) -> str:
        """Send a message; return why that failed, without secrets, "" if it did not."""
        log = _ThreadLog()
        _LOGGER.addHandler(log)
        try:
            if self._service.notify(title=message.title, body=message.body, notify_type=message.urgency):
                return ""
            reason = log.text or "the service did not take it"
        except Exception as error:  # whatever one of a hundred services does must not end the thread
            reason = f"{type(error).__name__}: {error}"
        finally:
            _LOGGER.removeHandler(log)
        for secret in self._secrets:
            reason = reason.replace(secret, "…")
        return clean_error_text(reason).strip(" .")


class _ThreadLog(logging.Handler):
    """Keeps the first warning that Apprise writes in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._ident = threading.get_ident()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._ident and not self.text:
            self.text = record.getMessage()


def _takes_port(url: str, service: Any) -> bool:
    """Return whether a service has the port of its URL, if that has one.

    Where a port is no number Apprise may leave the host out as well, and send to somebody else. Tokens have colons.
    """
    if service.port is not None:
        return 1 <= int(service.port) <= 65_535
    host, _, port = re.split("[/?#]", url.partition("://")[2])[0].rpartition("@")[2].partition(":")
    return not port or host.lower() in str(service.url()).lower()


def _shown_name(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or not re.fullmatch("[A-Za-z0-9+.-]{1,20}", scheme):
        return "…"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        host = ""
    return f"{scheme}://{host}/…" if host and scheme.lower() in OPEN_SCHEMES else f"{scheme}://…"


def _secret_parts(url: str) -> list[str]:
    """Return the parts of a URL that must not be shown, the longest first."""
    rest = url.partition("://")[2]
    parts = {unquote(part) for part in re.split("[/:@?&=]", rest)} | set(re.split("[/:@?&=]", rest))
    if url.partition("://")[0].lower() in OPEN_SCHEMES:
        parts -= set(re.split("[/:]", _shown_name(url)))
    return sorted((part for part in parts if len(part) >= LEAST_SECRET), key=len, reverse=True)
