"""The server of a store and the way to it: requests answered, strangers refused, troubles said in words."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from support.broker import free_port

from agent.core.config import Config, SecurityConfig
from agent.store.fleet_store import FleetStore
from agent.store.remote_store import RemoteStore
from agent.store.store_address import ask_store, open_store_client
from agent.store.store_database import SqliteDatabase
from agent.store.store_messages import (
    Ask,
    AskReply,
    AskStatus,
    Refusal,
    StatusReply,
    Tell,
    TellReply,
    decode_store_reply,
    encode_store_message,
)
from agent.store.store_server import StoreServer
from agent.wire.curve_security import create_key_pair
from model.errors import ConfigError, EndpointError, SourceError

Serve = Callable[[SecurityConfig], StoreServer]


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def serve(tmp_path: Path, notes: list[str]) -> Iterator[Serve]:
    """Start a server, which ends with the test."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def start(security: SecurityConfig) -> StoreServer:
        store = FleetStore(SqliteDatabase(tmp_path / "fleet.db"))
        server = StoreServer(store, "tcp://127.0.0.1:*", security, notes.append)

        def work() -> None:
            try:
                server.serve(ended.is_set)
            finally:
                server.close()

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return server

    yield start
    ended.set()
    for thread in threads:
        thread.join()


def told(name: str) -> Tell:
    return Tell(name, "token", "host", 1, 0.0)


def test_requests_are_answered(serve: Serve, settings: Config) -> None:
    """Each kind of request, by two clients."""
    server = serve(settings.security)
    address = server.endpoint.replace("tcp://", "store://")
    one, other = (open_store_client(address, settings.security) for _ in range(2))
    assert ask_store(one, Ask(), AskReply).beds == []
    assert ask_store(one, told("a"), TellReply).beds == []
    assert [row.name for row in ask_store(other, AskStatus(), StatusReply).replicas] == ["a"]
    assert other.shown == address
    one.close()
    other.close()


def test_malformed_requests(serve: Serve, settings: Config) -> None:
    """They are refused in words, or ignored, and the next one is answered."""
    server = serve(settings.security)
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    socket.connect(server.endpoint)
    for frames in ([b"no number"], [b"1", b"2", b"3"], [b""] * 50):
        socket.send_multipart(frames)
    deep = b"\x91" * 5000 + b"\xc0"
    for content in (b"", b"\xc1", encode_store_message({"type": "tell", "replica": ""}), deep):
        socket.send_multipart([b"7", content])
        assert socket.poll(5000)
        number, reply = socket.recv_multipart()
        refusal = decode_store_reply(reply)
        assert number == b"7"
        assert isinstance(refusal, Refusal)
        assert refusal.for_good
        assert "malformed" in refusal.reason
    socket.send_multipart([b"8", encode_store_message(AskStatus())])
    assert socket.poll(5000)
    assert isinstance(decode_store_reply(socket.recv_multipart()[1]), StatusReply)
    socket.close()


def test_nobody_answers(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is said within the time, and each request is a new try."""
    monkeypatch.setattr("agent.store.remote_store.ANSWER_S", 0.3)
    port = free_port()
    client = RemoteStore(f"tcp://127.0.0.1:{port}", settings.security)
    for _ in range(2):
        with pytest.raises(SourceError, match=f"store://127.0.0.1:{port}: (no answer within 0.3 s|nothing answers)"):
            client.answer(AskStatus())
    client.close()


def test_the_port_of_a_device(settings: Config) -> None:
    """A device is no store, and the words are those for a store."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.PUB) as device:
        port = device.bind_to_random_port("tcp://127.0.0.1")
        client = open_store_client(f"store://127.0.0.1:{port}", settings.security)
        with pytest.raises(SourceError, match="is no store of a fleet: check the address and its port") as caught:
            ask_store(client, AskStatus(), StatusReply)
        client.close()
    assert "device" not in str(caught.value)
    assert "--endpoint" not in str(caught.value)


def test_keys(serve: Serve, settings: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a key of the folder is answered; a stranger, and who has none, is not, and the server says so."""
    monkeypatch.setattr("agent.store.remote_store.ANSWER_S", 3.0)
    paths = {name: create_key_pair(tmp_path / name, name) for name in ("store", "monitor", "stranger")}
    plain = settings.security
    clients = str(tmp_path / "monitor")
    server = serve(replace(plain, key=str(paths["store"][1]), clients=clients))
    address = f"{server.endpoint.replace('tcp://', 'store://')}?server_key={paths['store'][0]}"

    def client_of(name: str) -> RemoteStore:
        client = open_store_client(address, replace(plain, key=str(paths[name][1])))
        assert isinstance(client, RemoteStore)
        return client

    admitted = client_of("monitor")
    assert isinstance(admitted.answer(AskStatus()), StatusReply)
    admitted.close()
    stranger = client_of("stranger")
    with pytest.raises(SourceError):
        stranger.answer(AskStatus())
    stranger.close()
    bare = open_store_client(address.partition("?")[0] + "?server_key=", plain)
    with pytest.raises(SourceError):
        bare.answer(AskStatus())
    bare.close()


def test_addresses_that_cannot_be_bound(settings: Config, tmp_path: Path) -> None:
    """Beyond this machine only with keys; a port that is taken is an error in a line."""
    taken: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
    port = taken.bind_to_random_port("tcp://127.0.0.1")
    store = FleetStore(SqliteDatabase(tmp_path / "fleet.db"))
    with pytest.raises(EndpointError, match="--bind"):
        StoreServer(store, f"tcp://127.0.0.1:{port}", settings.security, print)
    with pytest.raises(ConfigError, match="without keys"):
        StoreServer(store, "tcp://0.0.0.0:5570", settings.security, print)
    taken.close()
