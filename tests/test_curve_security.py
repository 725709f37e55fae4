"""agent.wire.curve_security and agent.wire.connection: keys, endpoints, refusals and floods, over real sockets."""

import contextlib
import os
import re
import resource
import select
import shutil
import socket as sockets
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Self

import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st

from agent.core.config import SecurityConfig
from agent.wire import connection as handshakes
from agent.wire import curve_security as security
from agent.wire.connection import ConnectionMonitor, make_trouble_filter
from agent.wire.curve_security import (
    ServerAuthenticator,
    check_endpoint,
    create_key_pair,
    harden_socket,
    secure_client,
)
from agent.wire.inflow_guard import InflowLimit
from agent.wire.packets import LARGEST_PAYLOAD_BYTES
from model.errors import ConfigError, EndpointError

NONE = SecurityConfig("", "", "", False)
ANY_INFLOW = InflowLimit("it sent too much", connection_bytes=2**30)
LOCAL = "tcp://127.0.0.1:*"
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15) + bytes(32)
"""What a ZMTP 3.1 client of CURVE says first."""


@dataclass
class Keys:
    """Pairs of keys `device`, `other-device`, `monitor`, `stranger`, and a folder that lets `monitor` in."""

    folder: Path
    clients: Path

    def device(self, name: str = "device") -> SecurityConfig:
        return replace(NONE, key=str(self.folder / f"{name}.key_secret"), clients=str(self.clients))

    def monitor(self, name: str = "monitor", device: str = "device") -> SecurityConfig:
        files = (self.folder / f"{name}.key_secret", self.folder / f"{device}.key")
        return replace(NONE, key=str(files[0]), server_key=str(files[1]))

    def let_in(self, name: str) -> None:
        shutil.copy(self.folder / f"{name}.key", self.clients)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    made = Keys(tmp_path / "keys", tmp_path / "clients")
    for name in ("device", "other-device", "monitor", "stranger"):
        create_key_pair(made.folder, name)
    made.clients.mkdir()
    made.let_in("monitor")
    return made


@dataclass
class Device:
    """A device's publisher with its guard. `told`: what the guard has said."""

    security: SecurityConfig
    kind: int = zmq.XPUB
    endpoint: str = LOCAL
    context: "zmq.Context[zmq.Socket[bytes]]" = field(default_factory=zmq.Context)
    told: list[str] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    """Subscriptions that came."""

    def __enter__(self) -> Self:
        self.guard = ServerAuthenticator(self.context, self.security)
        self.socket = self.context.socket(self.kind)
        harden_socket(self.socket)
        if self.kind == zmq.XPUB:
            self.socket.set(zmq.XPUB_VERBOSE, 1)  # tells of every subscription
        self.guard.secure(self.socket, ANY_INFLOW)
        self.socket.bind(self.endpoint)
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(self.endpoint.rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        self.guard.close()
        self.context.destroy(linger=0)

    def step(self) -> None:
        self.told += self.guard.read()
        while self.socket.poll(0):
            self.heard.append(self.socket.recv())


@dataclass
class Monitor:
    """A monitor's subscriber with its watcher. `told`: what the watcher has said; `got`: messages."""

    endpoint: str
    security: SecurityConfig
    kind: int = zmq.SUB
    context: "zmq.Context[zmq.Socket[bytes]]" = field(default_factory=zmq.Context)
    told: list[str] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.socket = self.context.socket(self.kind)
        self.watcher = ConnectionMonitor(self.socket, self.endpoint, self.security)
        harden_socket(self.socket)
        secure_client(self.socket, self.security)
        if self.kind == zmq.SUB:
            self.socket.subscribe("")
        self.socket.connect(self.endpoint)
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.close()
        self.context.destroy(linger=0)

    def step(self) -> None:
        self.told += self.watcher.read()
        while self.socket.poll(0):
            self.got.append(self.socket.recv())


def until(over: Callable[[], bool], *sides: Device | Monitor, deadline_s: float = 120.0) -> None:
    """Let both sides work until something is so."""
    until_s = time.monotonic() + deadline_s
    while not over():
        assert time.monotonic() < until_s, [side.told for side in sides]
        for side in sides:
            side.step()
        time.sleep(0.005)


class Stream:
    """A device that sends numbers to a monitor all the time, in a thread of its own, and can tell whether all came."""

    def __init__(self, device: Device, monitor: Monitor) -> None:
        self.device, self.monitor = device, monitor
        until(lambda: bool(device.heard) and monitor.watcher.connected, device, monitor)
        self.sent = 0

    def work(self, seconds: float = 0.3) -> None:
        """Send and receive for a while: every message comes, in order, without a break."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.device.socket.send(b"%d" % self.sent)
            self.sent += 1
            until(lambda: len(self.monitor.got) >= self.sent, self.device, self.monitor)
        assert self.monitor.got == [b"%d" % number for number in range(self.sent)]
        assert self.monitor.watcher.connected
        assert self.monitor.watcher.trouble == ""


@pytest.fixture
def stream(keys: Keys) -> Iterator[Stream]:
    with Device(keys.device()) as device, Monitor(device.endpoint, keys.monitor()) as monitor:
        yield Stream(device, monitor)


def stranger(port: int) -> sockets.socket:
    return sockets.create_connection(("127.0.0.1", port), timeout=120)


def cut_off(connection: sockets.socket) -> bool:
    """Whether the other side has ended a connection; what it said before is dropped."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


# Keys


def test_new_keys_are_never_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask, the secret is only ever written behind a door of 0700 or into a file of 0600."""
    doors = []
    create, write = zmq.auth.create_certificates, os.open
    modes: dict[str, int] = {}

    def watched(folder: str, name: str) -> tuple[str, str]:
        doors.append(stat.S_IMODE(os.stat(folder).st_mode))  # noqa: PTH116
        return create(folder, name)

    def opened(path: Path, flags: int, mode: int = 0o777, **options: int) -> int:
        if flags & os.O_CREAT:
            modes[Path(path).name] = mode
        return write(path, flags, mode, **options)

    monkeypatch.setattr(zmq.auth, "create_certificates", watched)
    monkeypatch.setattr(os, "open", opened)
    before = os.umask(0)
    try:
        public, secret = create_key_pair(tmp_path / "keys", "bed-7")
    finally:
        os.umask(before)
    assert doors == [0o700]
    assert modes["bed-7.key_secret"] == 0o600
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in secret.parent.iterdir()) == ["bed-7.key", "bed-7.key_secret"]
    assert zmq.auth.load_certificate(public) == (zmq.auth.load_certificate(secret)[0], None)


@pytest.mark.parametrize("there", ["a.key", "a.key_secret"])
def test_keys_are_never_replaced(tmp_path: Path, there: str) -> None:
    """A file that is there is named and stays as it is, and no half of a pair is made."""
    (tmp_path / there).write_text("mine")
    with pytest.raises(ConfigError, match=f"{there} exists already"):
        create_key_pair(tmp_path, "a")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a b", "-a", "a\n", "a" * 65, "ä"])
def test_names_of_keys(tmp_path: Path, name: str) -> None:
    """A name that is no plain file name is refused."""
    with pytest.raises(ConfigError, match="not a name for keys"):
        create_key_pair(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_keys_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be made is an error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write keys to .*file"):
        create_key_pair(tmp_path / "file", "a")


def test_a_secret_key_that_others_can_read(keys: Keys) -> None:
    """It is refused on both sides, with the command that mends it."""
    for name in ("monitor", "device"):
        (keys.folder / f"{name}.key_secret").chmod(0o640)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with pytest.raises(ConfigError, match=r"chmod 600 .*device\.key_secret"):
        ServerAuthenticator(context, keys.device())
    with context.socket(zmq.SUB) as socket, pytest.raises(ConfigError, match=r"chmod 600 .*monitor\.key_secret"):
        secure_client(socket, keys.monitor())
    context.term()


ZEROS = "0" * 40


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read key file"),
        (b"", "is broken"),
        (b"\xff\x00" * 50, "is broken"),
        (b'public-key = "short"', "is broken"),
        (b"public-key", "is broken"),
        (f'public-key = "{"~" * 40}"'.encode(), "is broken"),
        (f'public-key = "{"#" * 40}"'.encode(), "is broken"),
        (f'public-key = "{ZEROS}00000"'.encode(), "is broken"),
        (f'public-key = "{ZEROS}"\nsecret-key = "0"'.encode(), "is broken"),
        (f'public-key = "{ZEROS}"\nsecret-key = "{ZEROS}"'.encode(), "secret key"),
        (b"#" * 100_000, "not a key file"),
    ],
)
def test_broken_key_files(keys: Keys, content: bytes | None, reason: str) -> None:
    """A key file that is missing, broken or of the wrong kind is named, wherever it is used."""
    server, client = keys.folder / "device.key", keys.clients / "x.key"
    server.unlink()
    if content is not None:
        server.write_bytes(content)
        client.write_bytes(content)
    else:
        client.symlink_to("nowhere")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.SUB) as socket, pytest.raises(ConfigError, match=reason) as told:
        secure_client(socket, keys.monitor())
    assert str(server) in str(told.value)
    with pytest.raises(ConfigError, match=reason) as told:
        ServerAuthenticator(context, keys.device())
    assert str(client) in str(told.value)
    context.term()


@given(content=st.binary(max_size=200) | st.text(max_size=80).map(lambda text: f'public-key = "{text}"'.encode()))
def test_any_key_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a key file holds, it is a key of 40 characters or an error of ours."""
    path = tmp_path_factory.getbasetemp() / "any.key"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        assert len(security._read_public_key(path)) == 40


def test_a_secret_that_does_not_fit_its_public_key(keys: Keys) -> None:
    """A secret key file with another's public key in it is broken."""
    path = keys.folder / "monitor.key_secret"
    other = (keys.folder / "stranger.key_secret").read_text().split("public-key")[0]
    public = zmq.auth.load_certificate(keys.folder / "stranger.key")[0].decode()
    secret = (zmq.auth.load_certificate(path)[1] or b"").decode()
    path.write_text(f'{other}public-key = "{public}"\n secret-key = "{secret}"\n')
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.SUB) as socket, pytest.raises(ConfigError, match="not that of its secret key"):
        secure_client(socket, keys.monitor())
    context.term()


def test_incomplete_settings(keys: Keys, tmp_path: Path) -> None:
    """Half of what is needed is an error that says what is missing."""
    device, monitor = keys.device(), keys.monitor()
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "monitor.key_secret").write_text("not a public key: not looked at")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    for wrong, reason in (
        (replace(device, clients=""), "--clients"),
        (replace(device, key=""), "--key"),
        (replace(device, clients=str(empty)), "nobody would be admitted"),
        (replace(device, clients=str(tmp_path / "none")), "cannot read the folder of clients"),
        (replace(device, key=str(keys.folder / "device.key")), "holds no secret key"),
    ):
        with pytest.raises(ConfigError, match=reason):
            ServerAuthenticator(context, wrong)
    with context.socket(zmq.SUB) as socket:
        for wrong, reason in (
            (replace(monitor, key=""), "--key"),
            (replace(monitor, server_key=""), "--server-key"),
            (replace(monitor, server_key=str(keys.folder / "monitor.key")), "is our own key"),
            (replace(monitor, server_key=str(keys.folder / "device.key_secret")), "stays with its owner"),
            (replace(monitor, key=str(keys.folder / "monitor.key")), "holds no secret key"),
            (replace(monitor, key=str(keys.folder)), "not a key file"),
        ):
            with pytest.raises(ConfigError, match=reason):
                secure_client(socket, wrong)
    context.term()


# Addresses


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:5555",
        "tcp://127.0.0.1:*",
        "tcp://127.1.2.3:5555",
        "tcp://127.255.255.254:1",
        "tcp://localhost:5555",
        "tcp://LocalHost:5555",
        "tcp://[::1]:5555",
        "tcp://[::1%lo]:5555",
        "tcp://[::ffff:127.0.0.1]:5555",
        "tcp://127.0.0.1:0;127.0.0.1:5555",
        "ipc:///tmp/socket",
        "ipc://@abstract",
        "inproc://name",
        "",
        "nonsense",
    ],
)
def test_addresses_of_this_machine(endpoint: str) -> None:
    """They need no keys; what is no endpoint at all is left to ZeroMQ."""
    check_endpoint(endpoint, NONE)
    check_endpoint(endpoint, NONE, bind=True)


FOREIGN = [
    "tcp://*:5555",
    "tcp://0.0.0.0:5555",
    "tcp://[::]:5555",
    "tcp://eth0:5555",
    "tcp://192.168.1.2:5555",
    "tcp://[fe80::1%eth0]:5555",
    "tcp://[::ffff:10.0.0.1]:5555",
    "tcp://monitor.ward.example:5555",
    "tcp://localhost.example.com:5555",
    "tcp://127.0.0.1.example.com:5555",
    "tcp://127.0.0.1@10.0.0.1:5555",
    "tcp://0127.0.0.1:5555",
    "tcp://2130706433:5555",
    "tcp://128.0.0.1:5555",
    "tcp://0:5555",
    "tcp://:5555",
    "tcp://127.0.0.1;10.0.0.1:5555",
    "tcp://10.0.0.1:0;127.0.0.1:5555",
]


@pytest.mark.parametrize("endpoint", FOREIGN)
def test_addresses_beyond_this_machine(keys: Keys, endpoint: str) -> None:
    """They need keys, or somebody who insists; the refusal names both."""
    for bind, option in ((False, "--server-key"), (True, "--clients")):
        with pytest.raises(ConfigError, match="beyond this machine") as told:
            check_endpoint(endpoint, NONE, bind)
        assert all(word in str(told.value) for word in (endpoint, option, "--insecure", "ecg-agent keys new"))
    check_endpoint(endpoint, replace(NONE, insecure=True))
    check_endpoint(endpoint, keys.monitor())
    check_endpoint(endpoint, keys.device(), bind=True)


def test_the_loopback_interface_by_name() -> None:
    """It may be bound; to a monitor it is the name of some host."""
    check_endpoint("tcp://lo:5555", NONE, bind=True)
    with pytest.raises(ConfigError, match="beyond this machine"):
        check_endpoint("tcp://lo:5555", NONE)


def test_transports_without_encryption(keys: Keys) -> None:
    """What CURVE does not cover is refused even with keys."""
    for endpoint in ("udp://127.0.0.1:5555", "epgm://eth0;239.192.1.1:5555", "ws://127.0.0.1:5555"):
        for settings in (NONE, keys.monitor(), replace(keys.monitor(), insecure=True)):
            with pytest.raises(ConfigError, match="cannot be encrypted"):
                check_endpoint(endpoint, settings)
        check_endpoint(endpoint, replace(NONE, insecure=True))


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "10.0.0.1", "*", "127.0.0.1:0;127.0.0.1"])
@pytest.mark.parametrize("bind", [False, True])
def test_ports_that_do_not_exist(address: str, bind: bool) -> None:
    """ZeroMQ would take a port above 65535, or a number with a tail, for another port: it is refused, keys or not."""
    for settings in (NONE, replace(NONE, insecure=True)):
        for port in ("65536", "99999", "131072", "9" * 5000, "-1", "5555x", "\N{ARABIC-INDIC DIGIT FIVE}", "port"):
            with pytest.raises(EndpointError, match=r"the port must be 1 to 65535$"):
                check_endpoint(f"tcp://{address}:{port}", settings, bind)
        for missing in ("", ":"):
            with pytest.raises(EndpointError, match=r"its port is missing, write it like tcp://.*:5555$"):
                check_endpoint(f"tcp://{address.rpartition(';')[2]}{missing}", settings, bind)


def test_ports_at_the_ends() -> None:
    """1 and 65535 are ports; 0 is any free one, which can be bound but not connected to."""
    for port in (1, 65_535):
        check_endpoint(f"tcp://127.0.0.1:{port}", NONE)
    check_endpoint("tcp://127.0.0.1:0", NONE, bind=True)
    with pytest.raises(EndpointError, match="the port must be 1 to 65535"):
        check_endpoint("tcp://127.0.0.1:0", NONE)


@given(address=st.ip_addresses())
def test_any_address(address: object) -> None:
    """Of all addresses only 127.0.0.0/8 and ::1 are local."""
    text = str(address)
    local = text.startswith(("127.", "::ffff:7f")) or text == "::1"
    endpoint = f"tcp://[{text}]:5555" if ":" in text else f"tcp://{text}:5555"
    try:
        check_endpoint(endpoint, NONE)
    except ConfigError:
        assert not local
    else:
        assert local


# Handshakes


def test_the_right_keys_work(stream: Stream) -> None:
    """Both sides have their keys: messages pass, nothing is said, and they are encrypted on the way."""
    assert stream.monitor.socket.get(zmq.MECHANISM) == zmq.CURVE
    stream.work()
    assert stream.monitor.told == []
    assert stream.device.told == []


def test_without_keys_all_works_as_well() -> None:
    """On this machine nobody needs keys."""
    with Device(NONE) as device, Monitor(device.endpoint, NONE) as monitor:
        assert not device.guard.secured
        Stream(device, monitor).work(0.1)
        assert monitor.told + device.told == []


@pytest.mark.parametrize(
    ("of_device", "of_monitor", "monitor_says", "device_says"),
    [
        ("device", "monitor", "does not have the key that is pinned", "this device's key does not open"),
        ("device", "stranger", "refuses this monitor's key: is stranger.key in its folder", "the unknown key"),
        ("device", "none", "lets nobody in without keys", "a monitor without keys was refused"),
        ("none", "monitor", "has no keys, so it is not trusted", "a monitor that expects keys was refused"),
    ],
    ids=["wrong server key", "unknown client", "client without keys", "device without keys"],
)
@pytest.mark.slow
def test_refused_by_name(
    keys: Keys, of_device: str, of_monitor: str, monitor_says: str, device_says: str, request: pytest.FixtureRequest
) -> None:
    """Each mistake is refused again and again, both sides say which one it is, once, and nothing is delivered."""
    pinned = "other-device" if "wrong server key" in request.node.callspec.id else "device"
    settings = NONE if of_monitor == "none" else keys.monitor(of_monitor, pinned)
    with (
        Device(NONE if of_device == "none" else keys.device()) as device,
        Monitor(device.endpoint, settings) as monitor,
    ):
        until(lambda: monitor.watcher.refused >= 3 and bool(monitor.told and device.told), device, monitor)
        device.socket.send(b"for nobody")
        until(lambda: monitor.watcher.refused >= 4, device, monitor)
        assert monitor_says in monitor.told[0]
        assert device.endpoint in monitor.told[0]
        assert monitor.watcher.trouble == monitor.told[0]
        assert device_says in device.told[0]
        assert len(monitor.told) == len(device.told) == 1
        assert not monitor.watcher.connected
        assert monitor.got == []
        assert device.heard == []


@pytest.mark.slow
def test_a_client_that_is_let_in_later(keys: Keys) -> None:
    """A key that is put into the folder counts without a restart of either side, and one that is taken out too."""
    with Device(keys.device()) as device, Monitor(device.endpoint, keys.monitor("stranger")) as monitor:
        until(lambda: "unknown key" in "".join(device.told) and bool(monitor.told), device, monitor)
        (public,) = (line for line in (keys.folder / "stranger.key").read_text().splitlines() if "public-key" in line)
        assert public.split('"')[1] in device.told[0]
        (keys.clients / "half-copied.key").write_text("public-")
        keys.let_in("stranger")
        Stream(device, monitor).work(0.1)
        assert any("half-copied.key is broken" in text for text in device.told)
        for path in keys.clients.iterdir():
            path.unlink()
        with Monitor(device.endpoint, keys.monitor()) as late:
            until(lambda: bool(late.told), device, late)
            assert "refuses this monitor's key" in late.told[0]
        shutil.rmtree(keys.clients)
        with Monitor(device.endpoint, keys.monitor("other-device")) as later:
            until(lambda: any("cannot read the folder of clients" in text for text in device.told), device, later)
            until(lambda: bool(later.told), device, later)
        assert monitor.watcher.connected


@pytest.mark.slow
def test_refused_sockets_do_not_storm(keys: Keys) -> None:
    """After a refusal there is a pause, twice as long each time up to 2 s."""
    clock_s = 0.0
    with Device(keys.device()) as device, Monitor(device.endpoint, keys.monitor("monitor", "other-device")) as monitor:
        monitor.watcher._clock = lambda: clock_s
        for pause_s in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
            before = monitor.watcher.refused
            until(lambda before=before: monitor.watcher.refused > before, device, monitor)  # type: ignore[misc]
            before = monitor.watcher.refused
            clock_s += 0.9 * pause_s
            with pytest.raises(AssertionError):
                until(lambda before=before: monitor.watcher.refused > before, monitor, deadline_s=0.15)  # type: ignore[misc]
            clock_s += 0.11 * pause_s


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.SUB])
def test_the_second_socket(keys: Keys, kind: int) -> None:
    """A ROUTER is guarded like the stream, and a monitor that mistakes one for the other is told so."""
    with Device(keys.device(), zmq.ROUTER) as device, Monitor(device.endpoint, keys.monitor(), kind) as monitor:
        if kind == zmq.DEALER:
            until(lambda: monitor.watcher.connected, device, monitor)
            monitor.socket.send(b"hello")
            identity, text = device.socket.recv_multipart()
            assert text == b"hello"
            device.socket.send_multipart([identity, b"welcome"])
            until(lambda: bool(monitor.got), monitor)
            return
        until(lambda: bool(monitor.told and device.told), device, monitor)
        assert "the port right?" in monitor.told[0]
        assert "something that is not a monitor" in device.told[0]


def test_a_socket_of_another_kind() -> None:
    """Without keys too a monitor that reaches another kind of socket is told so."""
    with Device(NONE, zmq.REP) as device, Monitor(device.endpoint, NONE) as monitor:
        until(lambda: bool(monitor.told), device, monitor)
        assert "is not the stream of a device" in monitor.told[0]


class Answerer:
    """A TCP server that is no device: says `answer` to everybody, then hangs up or holds the line."""

    def __init__(self, answer: bytes, hangs_up: bool) -> None:
        self.listener = sockets.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.answer, self.hangs_up = answer, hangs_up
        self.held: list[sockets.socket] = []
        self.over = False

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def _serve(self) -> None:
        while not self.over:
            connection, _ = self.listener.accept()
            self.held.append(connection)
            with contextlib.suppress(OSError):
                connection.sendall(self.answer)
            if self.hangs_up:
                connection.close()

    def __exit__(self, *_: object) -> None:
        self.over = True
        with stranger(int(self.endpoint.rpartition(":")[2])):
            self.thread.join()
        self.listener.close()
        for connection in self.held:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "hangs_up", "says"),
    [
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", True, "is not an ecg-agent device"),
        (b"220 ready\r\n", False, "is not an ecg-agent device"),
        (b"", True, "broke off the handshake"),
        (b"", False, "takes connections but does not answer"),
        (GREETING + b"\x04\x05\x05READY", False, "broke off the handshake|does not have the key"),
    ],
    ids=["web server", "greeting", "hang-up", "silence", "half a greeting"],
)
@pytest.mark.slow
def test_what_is_no_device(
    keys: Keys, answer: bytes, hangs_up: bool, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitor says of anything else that it is no device, and goes on trying."""
    monkeypatch.setattr(security, "HANDSHAKE_MS", 300)
    with Answerer(answer, hangs_up) as other, Monitor(other.endpoint, keys.monitor()) as monitor:
        until(lambda: bool(monitor.told) and monitor.watcher.refused >= 2, monitor)
        assert re.search(says, monitor.told[0])


def test_a_device_that_is_not_there(keys: Keys) -> None:
    """Nothing is said of a device that is only starting; one that stays away is told of, and found when it comes."""
    clock_s = 0.0
    with Device(keys.device()) as device:
        endpoint = device.endpoint
    with Monitor(endpoint, keys.monitor()) as monitor:
        monitor.watcher._clock = lambda: clock_s
        until(lambda: "nothing answers" in monitor.watcher.trouble, monitor)
        assert monitor.told == []
        clock_s = handshakes.ABSENT_DEVICE_S
        until(lambda: bool(monitor.told), monitor)
        assert "is the device running" in monitor.told[0]
        with Device(keys.device(), endpoint=endpoint) as device:
            until(lambda: monitor.watcher.connected, device, monitor)
            assert monitor.watcher.trouble == ""
        until(lambda: not monitor.watcher.connected, monitor)
        assert "broke" in monitor.watcher.trouble or "nothing answers" in monitor.watcher.trouble
        with Device(keys.device(), endpoint=endpoint) as device:
            until(lambda: monitor.watcher.connected, device, monitor)


def test_nobody_is_let_in_while_nobody_checks(keys: Keys) -> None:
    """Without its authenticator a device refuses everybody, the right key too."""
    with Device(keys.device()) as device:
        device.guard.close()
        with Monitor(device.endpoint, keys.monitor()) as monitor:
            until(lambda: bool(monitor.told), monitor)
            assert not monitor.watcher.connected


# Attacks on a running stream


class Recorder:
    """A TCP proxy that keeps the conversation: who spoke (True: the client), and what."""

    def __init__(self, port: int) -> None:
        self.listener = sockets.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.said: list[tuple[bool, bytes]] = []
        self.thread = threading.Thread(target=self._run, args=(port,))
        self.thread.start()

    def _run(self, port: int) -> None:
        client, _ = self.listener.accept()
        with client, stranger(port) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one in ready:
                    data = one.recv(65_536)
                    if not data:
                        return
                    self.said.append((one is client, data))
                    (server if one is client else client).sendall(data)

    def close(self) -> None:
        self.thread.join()
        self.listener.close()


def replay(said: list[tuple[bool, bytes]], port: int) -> bytes:
    """Say again what the client said, waiting for as much as the device said then; what it says now, to its end."""
    got = b""
    with stranger(port) as connection, contextlib.suppress(ConnectionError):
        due = 0
        for is_client, data in said:
            if is_client:
                connection.sendall(data)
            due += 0 if is_client else len(data)
            while len(got) < due:
                more = connection.recv(65_536)
                if not more:
                    return got
                got += more
        while more := connection.recv(65_536):
            got += more
    return got


def test_a_recorded_handshake_opens_nothing(stream: Stream, keys: Keys) -> None:
    """The bytes of a monitor that was let in, said again in step or at once, are refused, told, and change nothing."""
    recorder = Recorder(stream.device.port)
    before = len(stream.device.heard)
    with Monitor(recorder.endpoint, keys.monitor()) as other:
        until(lambda: other.watcher.connected and len(stream.device.heard) > before, stream.device, other)
    recorder.close()
    assert b"INITIATE" in b"".join(data for _, data in recorder.said)
    assert b"READY" in b"".join(data for _, data in recorder.said)
    before = len(stream.device.heard)
    got = replay(recorder.said, stream.device.port)
    assert b"WELCOME" in got
    assert b"READY" not in got
    stream.work(0.1)
    got = replay([(True, data) for is_client, data in recorder.said if is_client], stream.device.port)
    assert b"READY" not in got
    stream.work(0.1)
    assert len(stream.device.heard) == before
    assert any("repeated" in text for text in stream.device.told)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100,
        bytes(1000),
        b"\xff" * 1000,
        Random(0).randbytes(100_000),
        GREETING + b"\xff" * 300,
        GREETING + b"\x06" + (2**40).to_bytes(8, "big") + b"x" * 10_000,
        GREETING + b"\x06" + (2**64 - 1).to_bytes(8, "big"),
        GREETING + b"\x04\xc8\x05HELLO" + bytes(194),
        GREETING + b"\x04\x06\x05HELLO",
        GREETING.replace(b"CURVE", b"NULL\0") + b"\x04\x06\x05READY",
        GREETING.replace(b"CURVE", b"PLAIN") + b"\x04\x06\x05HELLO",
    ],
    ids=lambda said: said[:6].hex() + f"-{len(said)}",
)
def test_garbage_changes_nothing(stream: Stream, said: bytes) -> None:
    """Whoever says anything but a handshake is cut off, and it is told; the stream goes on."""
    with stranger(stream.device.port) as connection:
        with contextlib.suppress(OSError):  # it may be cut off by now
            connection.sendall(said)
            connection.shutdown(sockets.SHUT_WR)
        assert cut_off(connection)
    stream.work(0.1)


def test_garbage_is_told(stream: Stream) -> None:
    """Cut off for what it said, not because it left."""
    with stranger(stream.device.port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100)
        assert cut_off(connection)
        until(lambda: bool(stream.device.told), stream.device)
    assert stream.device.told == ["something that is not a monitor connected and was cut off"]


@pytest.mark.slow
def test_half_open_connections(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred connections that never finish their handshake are closed in time; the stream goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1500:
        pytest.skip("not enough files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    monkeypatch.setattr(security, "HANDSHAKE_MS", 1500)
    with Device(keys.device()) as device, Monitor(device.endpoint, keys.monitor()) as monitor:
        stream = Stream(device, monitor)
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(stranger(device.port)) for _ in range(500)]
            for connection in held[::2]:
                connection.sendall(GREETING)
            stream.work(0.3)
            assert all(cut_off(connection) for connection in held)
        stream.work(0.1)
        assert device.told == ["connections that did not finish their handshake were closed"]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_unread_events_stop_nothing(stream: Stream) -> None:
    """Two thousand events that nobody reads would stop ZeroMQ's thread, had their queue its usual length."""
    for _ in range(850):  # three events each
        with stranger(stream.device.port) as connection:
            connection.sendall(GREETING.replace(b"CURVE", b"NULL\0"))
            assert cut_off(connection)
    stream.device.socket.send(b"0")
    until(lambda: bool(stream.monitor.got), stream.monitor)


@pytest.mark.slow
def test_a_crowd_without_the_right_key(stream: Stream, keys: Keys) -> None:
    """Fifty strangers who keep knocking are refused and told of in a line; the stream goes on."""
    before = len(stream.device.heard)
    with zmq.Context() as context, contextlib.ExitStack() as stack:
        for _ in range(50):
            socket = stack.enter_context(context.socket(zmq.SUB))
            socket.set(zmq.LINGER, 0)
            secure_client(socket, keys.monitor("stranger"))
            socket.subscribe("")
            socket.connect(stream.device.endpoint)
        stream.work(0.5)
        until(lambda: bool(stream.device.told), stream.device)
    stream.work(0.1)
    assert len(stream.device.heard) == before
    assert len(stream.device.told) == 1


def test_a_subscription_that_is_too_long(stream: Stream, keys: Keys) -> None:
    """A monitor that was let in may not send more than a device takes: it is cut off, the others are not."""
    with Monitor(stream.device.endpoint, keys.monitor()) as other:
        until(lambda: other.watcher.connected, stream.device, other)
        other.socket.subscribe(b"x" * (security.LARGEST_SUBSCRIPTION_BYTES + security.CURVE_OVERHEAD_BYTES + 1))
        until(lambda: not other.watcher.connected, stream.device, other)
    stream.work(0.1)
    assert max(len(text) for text in stream.device.heard) < 10


@pytest.mark.slow
def test_a_frame_that_is_too_large_for_a_monitor(stream: Stream) -> None:
    """The largest frame passes though encrypted; a larger one is told of, and the monitor is back soon after."""
    until(lambda: not stream.device.socket.poll(0), stream.device)
    before = len(stream.device.heard)
    stream.device.socket.send(bytes(LARGEST_PAYLOAD_BYTES))
    until(lambda: bool(stream.monitor.got), stream.device, stream.monitor)
    stream.device.socket.send(bytes(LARGEST_PAYLOAD_BYTES + security.CURVE_OVERHEAD_BYTES))
    until(lambda: bool(stream.monitor.told), stream.device, stream.monitor)
    assert "too large, or malformed" in stream.monitor.told[0]
    until(lambda: stream.monitor.watcher.connected, stream.device, stream.monitor)
    until(lambda: stream.device.heard[before:].count(b"\x01") == 1, stream.device, stream.monitor)
    stream.monitor.got.clear()
    stream.work(0.1)


def test_each_text_once() -> None:
    """A trouble is reported again after half a minute; beyond a number of different ones none is reported."""
    repeats = make_trouble_filter()

    def due(texts: list[str], now_s: float) -> list[str]:
        return [text for text in texts if repeats.admits(text, now_s)]

    assert due(["a", "b", "a"], 0.0) == ["a", "b"]
    assert due(["a", "c"], handshakes.REPEAT_TROUBLE_S - 0.1) == ["c"]
    assert due(["a"], handshakes.REPEAT_TROUBLE_S) == ["a"]
    assert len(due([str(number) for number in range(1000)], 100.0)) == handshakes.MOST_TROUBLE_TEXTS


POLLED = """
import time, zmq
from agent.wire.connection import ConnectionMonitor

context = zmq.Context()
publisher, subscriber = context.socket(zmq.PUB), context.socket(zmq.SUB)
endpoint = f"tcp://127.0.0.1:{publisher.bind_to_random_port('tcp://127.0.0.1')}"
watcher = ConnectionMonitor(subscriber, endpoint)
subscriber.subscribe("")
subscriber.connect(endpoint)
while not subscriber.poll(20):
    publisher.send_multipart([b"1", b"2", b"3"])
    watcher.read()
watcher.redial("damaged")
received = []
while not received:
    watcher.read()
    publisher.send_multipart([b"4", b"5", b"6"])
    if subscriber.poll(20):
        received = subscriber.recv_multipart()
print(received)
"""


def test_a_connection_may_be_broken_off_after_a_poll() -> None:
    """What a poll has begun to read does not end the process when its connection is made again."""
    done = subprocess.run([sys.executable, "-c", POLLED], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "[b'4', b'5', b'6']"
