"""Keys and addresses: who may receive from a device, which device is trusted, and what a socket accepts.

CURVE of ZeroMQ with the certificates of `zmq.auth`: a device admits the public keys of a folder, a monitor trusts one
device's public key. Without keys both stay on this machine. `docs/security.md` says what that protects.
"""

import os
import re
import stat
import struct
import time
from collections import deque
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zmq
import zmq.auth
from zmq.utils import z85

from agent.core.config import SecurityConfig
from agent.wire.connection import RejectedConnections, make_trouble_filter
from agent.wire.inflow_guard import InflowGuard, InflowLimit, SocketInflow
from agent.wire.packets import LARGEST_PAYLOAD_BYTES
from agent.wire.requests import HIGHEST_PORT, LARGEST_REQUEST_BYTES
from model.errors import ConfigError, EndpointError

WireSocket = zmq.Socket[bytes]

KEY_NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
KEY_CREATION_HINT = "ecg-agent keys new NAME makes a pair"
LARGEST_KEY_FILE_BYTES = 65_536
MOST_CLIENTS = 4096
KEY_BYTES = 32
CLIENT_RELOAD_S = 1.0
"""The folder of clients is read again when an unknown client connects, but not more often than this."""
ZAP_DOMAIN_NAME = "ecg-agent"
"""The domain of the authentication (ZAP): where it is enforced, a socket admits nobody while nobody checks keys."""

OPEN_TRANSPORTS = {"udp", "pgm", "epgm", "norm", "ws", "wss", "tipc", "vmci", "vsock", "hvsocket"}
"""Transports of ZeroMQ that leave the machine and that CURVE does not cover, or that nobody has tried with it."""
LOOPBACK_INTERFACES = {"lo", "lo0"}

CURVE_OVERHEAD_BYTES = 64
"""Bytes that CURVE adds to a frame (33), with room to spare."""
LARGEST_SUBSCRIPTION_BYTES = 640 - CURVE_OVERHEAD_BYTES
"""Largest frame that the stream of a device accepts, in bytes. The name of a bed has 64; the rest is for the longest
part of a handshake, CURVE's INITIATE of a monitor with an identity of 255 bytes, which has some 560."""
UPSTREAM_BYTES = 8192
"""What the system keeps of what a peer sent to a device. After a connection is cut off, ZeroMQ still reads it."""
WAITING_SUBSCRIPTIONS, WAITING_REQUESTS = 8, 64
"""Changes of subscriptions, and requests, that wait to be read of each connection. ZeroMQ carries out all waiting
changes while a packet is sent, so that many would delay it."""
HANDSHAKE_MS = 3000
"""A connection whose handshake takes longer is closed."""
AGENT_GIVES_UP_MS = 4000
"""How long sent data may stay unacknowledged by the other side's TCP before the connection is closed."""
DEVICE_GIVES_UP_MS = 60_000
"""The same for a device, which is patient: a monitor that is suspended for half a minute keeps its connection."""


def create_key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Create the pair `name`.key (public) and `name`.key_secret, which only its owner can ever read.

    Returns the paths of both. Never replaces a file. Raises ConfigError.
    """
    if not KEY_NAME_PATTERN.fullmatch(name):
        raise ConfigError(f"{name!r} is not a name for keys: give up to 64 letters, digits, '-', '_' and '.'")
    _require_curve()
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (public, secret):
            if path.is_symlink() or path.exists():
                raise ConfigError(
                    f"{path} exists already, and keys are never replaced: choose another name, or move it away"
                )
        # pyzmq writes the secret with the default mode: inside a folder of mode 0700 nobody sees it.
        with TemporaryDirectory(prefix=".new-", dir=folder) as private:
            made_public, made_secret = zmq.auth.create_certificates(private, name)
            _write_private_file(secret, 0o600, Path(made_secret).read_bytes())
            _write_private_file(public, 0o644, Path(made_public).read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot write keys to {folder}: {error.strerror}") from error
    return public, secret


def check_endpoint(endpoint: str, security: SecurityConfig, bind: bool = False) -> None:
    """Check that an endpoint does not leave this machine, unless there are keys or `security.insecure` is set.

    `bind`: it is an address to bind, where the name of the loopback interface will do too. Raises ConfigError where it
    does, and EndpointError for a port that is missing or does not exist; anything else that is malformed is left to
    ZeroMQ to refuse.
    """
    transport, _, address = endpoint.partition("://")
    if transport == "tcp":
        _check_endpoint_port(endpoint, bind)
    if security.insecure and not security.key:
        return
    if transport in OPEN_TRANSPORTS:
        raise ConfigError(
            f"{endpoint} cannot be encrypted: use tcp://, or say --insecure where anyone may read and forge"
        )
    if security.key or transport != "tcp" or all(_is_local_address(part, bind) for part in address.split(";")):
        return
    options = "--key FILE --clients FOLDER" if bind else "--key FILE --server-key FILE"
    raise ConfigError(
        f"{endpoint} is beyond this machine, and without keys anyone there could read or forge the stream: "
        f"use keys ({options}; {KEY_CREATION_HINT}), stay on tcp://127.0.0.1, or say --insecure"
    )


def secure_client(socket: WireSocket, security: SecurityConfig) -> None:
    """Make a socket that will connect prove its own key and trust only the device's; without keys do nothing.

    Raises ConfigError for keys that are missing, broken, or readable by others.
    """
    if (keys := read_client_keys(security)) is None:
        return
    public, secret, server = keys
    socket.set(zmq.CURVE_PUBLICKEY, public)
    socket.set(zmq.CURVE_SECRETKEY, secret)
    socket.set(zmq.CURVE_SERVERKEY, server)


def read_client_keys(security: SecurityConfig) -> tuple[bytes, bytes, bytes] | None:
    """Return our public and secret keys and the public one of the device to trust; None without keys.

    Raises ConfigError for keys that are missing, broken, or readable by others.
    """
    if not security.key and not security.server_key:
        return None
    if not security.key:
        raise ConfigError(f"security.server_key is given but not our own key: name it with --key ({KEY_CREATION_HINT})")
    if not security.server_key:
        raise ConfigError("security.key is given but not which device to trust: name its public key with --server-key")
    public, secret = _read_secret_key(_expand_user_path(security.key))
    server = _read_public_key(_expand_user_path(security.server_key))
    if server == public:
        raise ConfigError(f"{security.server_key} is our own key: --server-key names the device's")
    return public, secret, server


class ServerAuthenticator:
    """Admits the keys of a folder to the sockets of a device, cuts off who sends too much, and reports both.

    One for each context: ZeroMQ asks it about every socket there that was made secure. A key that is put into the
    folder, or taken out of it, counts from the next handshake on. To be closed before the context.
    """

    def __init__(self, context: "zmq.Context[WireSocket]", security: SecurityConfig) -> None:
        """Raises ConfigError for keys that are missing, broken or open to others, or where nobody would be admitted."""
        self._watched: list[tuple[RejectedConnections, SocketInflow]] = []
        self._guard = InflowGuard()
        self._repeats = make_trouble_filter()
        self._clients: _ClientKeyFolder | None = None
        self._keys: tuple[bytes, bytes] | None = None
        self._authenticator: Any = None
        try:
            self._admit_clients(context, security)
        except BaseException:
            self._guard.close()
            raise

    def _admit_clients(self, context: "zmq.Context[WireSocket]", security: SecurityConfig) -> None:
        if not security.key and not security.clients:
            return
        if not security.key:
            raise ConfigError(
                f"security.clients is given but not our own key: name it with --key ({KEY_CREATION_HINT})"
            )
        if not security.clients:
            raise ConfigError(
                "security.key is given but not who is admitted: name the folder of the monitors' keys with --clients"
            )
        self._keys = _read_secret_key(_expand_user_path(security.key))
        self._clients = _ClientKeyFolder(_expand_user_path(security.clients))
        from zmq.auth.thread import ThreadAuthenticator  # asyncio takes a moment to import

        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.configure_curve_callback(ZAP_DOMAIN_NAME, self._clients)
        self._authenticator.start()

    @property
    def secured(self) -> bool:
        """Whether there are keys."""
        return self._keys is not None

    def secure(self, socket: WireSocket, limit: InflowLimit) -> SocketInflow:
        """Make a socket that will be bound ask for keys, where there are any, and watch its connections.

        Return what comes on them; to be credited what is taken, and cut off where it is beyond `limit`.
        """
        if self._keys is not None:
            public, secret = self._keys
            socket.set(zmq.CURVE_SERVER, 1)
            socket.set(zmq.CURVE_PUBLICKEY, public)
            socket.set(zmq.CURVE_SECRETKEY, secret)
            socket.set(zmq.ZAP_DOMAIN, ZAP_DOMAIN_NAME.encode())
            socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)
        refusals = RejectedConnections(socket, self.secured)
        inflow = self._guard.watch(limit, refusals.follow)
        self._watched.append((refusals, inflow))
        return inflow

    def read(self) -> list[str]:
        """Return refusals worth reporting, each once in 30 s. Never waits.

        To be called several times a minute at least.
        """
        texts: list[str] = []
        for refusals, inflow in list(self._watched):
            texts += refusals.take_texts() + inflow.take_reports()
            if refusals.is_over:
                self._guard.forget(inflow)
                refusals.close()
                self._watched.remove((refusals, inflow))
        texts += self._clients.take_reports() if self._clients is not None else []
        now_s = time.monotonic()
        return [text for text in texts if self._repeats.admits(text, now_s)]

    def close(self) -> None:
        """End the checks: from now on nobody is admitted."""
        self._guard.close()
        for refusals, _ in self._watched:
            refusals.close()
        self._watched.clear()
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None


class _ClientKeyFolder:
    """The keys of a folder, as the `credentials_provider` that pyzmq asks in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError where the folder, or a file in it, cannot be read, or where it is empty."""
        self._folder = folder
        self._reports: deque[str] = deque(maxlen=64)
        self._keys = {_read_public_key(path): path for path in self._files()}
        self._read_s = time.monotonic()
        if not self._keys:
            raise ConfigError(
                f"no *.key in {folder}: nobody would be admitted; put the public keys of the monitors there (--clients)"
            )

    def callback(self, _domain: str, key: bytes) -> bool:
        """Return whether the client with this key is admitted; pyzmq gives this method its name."""
        try:
            if key not in self._keys and time.monotonic() - self._read_s >= CLIENT_RELOAD_S:
                self._reload()
            if key in self._keys and _read_public_key(self._keys[key]) == key:  # nobody has taken it away
                return True
        except Exception as error:  # an error here would end the thread that checks keys
            self._reports.append(f"a monitor was not admitted: {error}")
            return False
        self._reports.append(
            f"a monitor with the unknown key {key.decode()} was refused: to admit it, put its .key into {self._folder}"
        )
        return False

    def take_reports(self) -> list[str]:
        """Return what was refused since the last call."""
        return [self._reports.popleft() for _ in range(len(self._reports))]

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == ".key")[:MOST_CLIENTS]
        except OSError as error:
            raise ConfigError(f"cannot read the folder of clients {self._folder}: {error.strerror}") from error

    def _reload(self) -> None:
        """Read the folder again; a broken file is reported, and its key is not admitted."""
        keys = {}
        for path in self._files():
            try:
                keys[_read_public_key(path)] = path
            except ConfigError as error:
                self._reports.append(str(error))
        self._keys = keys
        self._read_s = time.monotonic()


def harden_socket(socket: WireSocket) -> None:
    """Limit what a socket accepts, waits for and repeats; to be called before it is bound or connected.

    There are no heartbeats of ZeroMQ: with them libzmq 4.3 ends the whole process when a connection breaks while its
    reader's queue is full (its issue 3937), and cuts off a reader that is only slow. TCP's own keepalive and timeouts
    notice a dead peer instead, and the agent's hello shows it sooner.
    """
    device = socket.type in (zmq.XPUB, zmq.PUB, zmq.ROUTER)
    largest = LARGEST_PAYLOAD_BYTES
    if device:
        requests = socket.type == zmq.ROUTER
        largest = LARGEST_REQUEST_BYTES if requests else LARGEST_SUBSCRIPTION_BYTES
        socket.set(zmq.RCVHWM, WAITING_REQUESTS if requests else WAITING_SUBSCRIPTIONS)
        socket.set(zmq.RCVBUF, UPSTREAM_BYTES)
    socket.set(zmq.MAXMSGSIZE, largest + CURVE_OVERHEAD_BYTES)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.set(zmq.CONNECT_TIMEOUT, 2000)
    socket.set(zmq.RECONNECT_IVL, 100)
    socket.set(zmq.RECONNECT_IVL_MAX, 2000)
    socket.set(zmq.TCP_KEEPALIVE, 1)
    socket.set(zmq.TCP_KEEPALIVE_IDLE, 1)
    socket.set(zmq.TCP_KEEPALIVE_INTVL, 1)
    socket.set(zmq.TCP_KEEPALIVE_CNT, 3)
    socket.set(zmq.TCP_MAXRT, DEVICE_GIVES_UP_MS if device else AGENT_GIVES_UP_MS)


def _check_endpoint_port(endpoint: str, bind: bool) -> None:
    """Raise EndpointError for a TCP port that is missing, or that ZeroMQ would silently take for another one."""
    host, _, port = endpoint.rpartition(":")
    if port.endswith("]") or "//" in port:  # the colon is not the one before a port
        host, port = endpoint, ""
    if not port:
        example = "tcp://127.0.0.1" if host == "tcp://" else host
        raise EndpointError(f"endpoint {endpoint} is malformed: its port is missing, write it like {example}:5555")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    if port != "*" and not (0 if bind else 1) <= number <= HIGHEST_PORT:
        raise EndpointError(f"endpoint {endpoint} is malformed: the port must be 1 to {HIGHEST_PORT}")


def _is_local_address(address: str, bind: bool) -> bool:
    """Return whether a TCP address (HOST:PORT) can only be reached from, and only reaches, this machine."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]").partition("%")[0].lower()
    if host == "localhost" or (bind and host in LOOPBACK_INTERFACES):
        return True
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_loopback


def _write_private_file(path: Path, mode: int, content: bytes) -> None:
    """Write a new file. Raises OSError, leaving no file behind, also where the file system cannot keep others out."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077 & ~mode:
                raise OSError(0, "its file system cannot keep a file from others")
            file.write(content)
    except BaseException:
        path.unlink()
        raise


def _require_curve() -> None:
    if not zmq.has("curve"):
        raise ConfigError("this ZeroMQ was built without encryption (CURVE): install pyzmq from its wheels")


def _read_secret_key(path: Path) -> tuple[bytes, bytes]:
    """Read the public and the secret key from a file that only its owner can read."""
    _require_curve()
    public, secret = _read_certificate(path)
    if secret is None:
        raise ConfigError(f"{path} holds no secret key: give your own NAME.key_secret with --key")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"secret key {path} can be read by others: chmod 600 {path}")
    if zmq.curve_public(secret) != public:
        raise ConfigError(f"key file {path} is broken: its public key is not that of its secret key")
    return public, secret


def _read_public_key(path: Path) -> bytes:
    """Read the key from a file that holds a public key only."""
    _require_curve()
    public, secret = _read_certificate(path)
    if secret is not None:
        raise ConfigError(f"{path} holds a secret key, which stays with its owner: use NAME.key")
    return public


def _expand_user_path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user
        raise ConfigError(f"cannot find {text}: {error}") from error


def _read_certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_KEY_FILE_BYTES:
            raise ConfigError(f"{path} is not a key file: {KEY_CREATION_HINT}")
        public, secret = zmq.auth.load_certificate(path)
        if not all(len(z85.decode(key)) == KEY_BYTES for key in (public, secret) if key is not None):
            raise ValueError
    except OSError as error:
        raise ConfigError(f"cannot read key file {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise ConfigError(
            f"key file {path} is broken: copy it again, or make a new pair (ecg-agent keys new)"
        ) from error
    return public, secret
