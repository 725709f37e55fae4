"""Where the ward is served, and who may look: address, token, certificate, names of this machine.

Without a token the page stays on this machine and is read only. Beyond it there is a certificate, too, unless
`security.insecure` is set. `docs/security.md` says what that protects.
"""

import hashlib
import hmac
import os
import socket
import ssl
import stat
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from agent.core.config import Config
from model.errors import ConfigError

LOOPBACK = "127.0.0.1"
LEAST_TOKEN = 16
"""Characters of a token."""
LARGEST_TOKEN_FILE = 4096
TOKEN_HINT = "make one with: (umask 077; openssl rand -hex 16 > web.token)"


@dataclass(frozen=True, slots=True)
class WebAccess:
    """Who may reach the page and how.

    `host`, `port` to bind; `hosts` by whose names a browser may ask for it; `beyond`: it can be reached from other
    machines. `token`: the SHA-256 of the token, None without one; `tls`: None for plain HTTP.
    """

    host: str
    port: int
    hosts: frozenset[str]
    beyond: bool
    token: bytes | None
    tls: ssl.SSLContext | None

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token, in the same time for every text."""
        return self.token is not None and hmac.compare_digest(_digest(text), self.token)

    def knows_host(self, header: str) -> bool:
        """Return whether a Host header names this machine: a foreign name may be made to lead here (DNS rebinding)."""
        name = _host_name(header)
        if name in self.hosts:
            return True
        ip = _parse_ip(name)
        return ip is not None and (self.beyond or ip.is_loopback)


def read_access(config: Config) -> WebAccess:
    """Read the section [web]. Raises ConfigError."""
    web = config.web
    host, port = parse_web_address(web.address)
    beyond = not _is_loopback(host)
    token = _read_token(_expand(web.token)) if web.token else None
    if beyond and token is None:
        raise ConfigError(
            f"the ward at {web.address} could be seen from beyond this machine by anyone: give a token "
            f"(--web-token FILE; {TOKEN_HINT}), or stay on {LOOPBACK}"
        )
    tls = _load_certificate(web.certificate, web.private_key)
    if beyond and tls is None and not config.security.insecure:
        raise ConfigError(
            f"the ward at {web.address} would travel unencrypted, and the token with it: give web.certificate and "
            f"web.private_key, stay on {LOOPBACK}, or say --insecure"
        )
    given = {name.strip().lower() for name in web.hosts.split(",") if name.strip()}
    own = {socket.gethostname().lower(), host.lower()} if beyond else {"localhost"}
    return WebAccess(host, port, frozenset(given | own), beyond, token, tls)


def parse_web_address(text: str) -> tuple[str, int]:
    """Host and port of ":8080", "8080" or "HOST:8080"; port 0 is any free one. Raises ConfigError.

    >>> parse_web_address(":8080"), parse_web_address("[::1]:0")
    (('127.0.0.1', 8080), ('::1', 0))
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5) or int(port) >= 2**16 or "/" in host:
        raise ConfigError(f"a page at {text!r} makes no sense: give a port such as :8080, or HOST:PORT (--web)")
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare and bare == host:
        raise ConfigError(f"a page at {text!r} makes no sense: write an IPv6 address in brackets, [::1]:8080 (--web)")
    return {"": LOOPBACK, "*": "0.0.0.0"}.get(bare, bare), int(port)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _host_name(header: str) -> str:
    """Return the name in a Host header, without its port."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _parse_ip(name: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(name.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None else ip


def _is_loopback(host: str) -> bool:
    ip = _parse_ip(host)
    return ip.is_loopback if ip is not None else host.lower() == "localhost"


def _read_token(path: Path) -> bytes:
    """Return the SHA-256 of the token in a file that only its owner can read. Raises ConfigError."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_TOKEN_FILE:
            raise ConfigError(f"{path} is no file with a token: {TOKEN_HINT}")
        if os.name == "posix" and stat.S_IMODE(about.st_mode) & 0o077:
            raise ConfigError(f"the token {path} can be read by others: chmod 600 {path}")
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot read the token {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text: {TOKEN_HINT}") from error
    if len(text) < LEAST_TOKEN or not text.isprintable() or not text.isascii() or " " in text:
        raise ConfigError(
            f"the token in {path} must be one word of at least {LEAST_TOKEN} letters, digits and signs: {TOKEN_HINT}"
        )
    return _digest(text)


def _load_certificate(certificate: str, private_key: str) -> ssl.SSLContext | None:
    if not certificate and not private_key:
        return None
    if not (certificate and private_key):
        raise ConfigError("web.certificate and web.private_key belong together: give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An encrypted key would ask for its password on the terminal of the dashboard
        context.load_cert_chain(_expand(certificate), _expand(private_key), password=lambda: b"")
    except ssl.SSLError as error:
        raise ConfigError(
            f"{certificate} and {private_key} are no certificate and its unencrypted private key (PEM): {error.reason}"
        ) from error
    except OSError as error:
        path = certificate if not _expand(certificate).is_file() else private_key
        raise ConfigError(f"cannot read {path}: {error.strerror} (web.certificate, web.private_key)") from error
    except ValueError as error:
        raise ConfigError(f"cannot read {private_key}: its key is encrypted, give one that is not") from error
    return context


def _expand(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user
        raise ConfigError(f"cannot find {text}: {error}") from error
