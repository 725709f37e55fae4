"""agent.wire.inflow_guard: who brings more than is taken is cut off, over real connections on this machine."""

import os
import socket as sockets
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import zmq

from agent.wire import inflow_guard
from agent.wire.inflow_guard import InflowGuard, InflowLimit, SocketInflow, count_wire_bytes
from agent.wire.tcp_connection import TcpConnection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the bytes of a connection")
LIMIT = InflowLimit("it sent too much", connection_bytes=10_000)


class Pair:
    """A connection whose near end reads all that comes, as ZeroMQ does."""

    def __init__(self) -> None:
        with sockets.create_server(("127.0.0.1", 0)) as server:
            self.far = sockets.create_connection(server.getsockname())
            self.near, _ = server.accept()
        self.fd = self.near.fileno()

    def bring(self, count: int) -> None:
        self.far.sendall(bytes(count))
        while count:
            count -= len(self.near.recv(count))

    def is_cut(self) -> bool:
        self.far.settimeout(0.0)
        try:
            return self.far.recv(1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def pairs() -> Iterator[Callable[[], Pair]]:
    made: list[Pair] = []

    def make() -> Pair:
        made.append(Pair())
        return made[-1]

    yield make
    for pair in made:
        pair.close()


def watched(limit: InflowLimit, *pairs: Pair) -> SocketInflow:
    """The inflow of these connections, whose time begins at 0."""
    inflow = SocketInflow(limit)
    for pair in pairs:
        inflow.open(pair.fd)
    inflow._checked_s = 0.0
    return inflow


def test_a_connection_beyond_its_limit_is_cut_off(pairs: Callable[[], Pair]) -> None:
    """Bytes count from the first one, also those that came before the connection was opened; others stay."""
    greedy, modest = pairs(), pairs()
    greedy.bring(6000)
    inflow = watched(LIMIT, greedy, modest)
    inflow.check(0.0)
    greedy.bring(4000)
    modest.bring(10_000)
    assert not inflow.check(0.0)
    greedy.bring(1)
    assert inflow.check(0.0)
    assert greedy.is_cut()
    assert not modest.is_cut()
    assert inflow.take_reports() == ["a connection from 127.0.0.1 was cut off: it sent too much"]
    assert inflow.take_reports() == []


def test_bytes_in_the_kernel_do_not_count(pairs: Callable[[], Pair]) -> None:
    """What nobody has read from the system takes none of our memory."""
    pair = pairs()
    inflow = watched(LIMIT, pair)
    pair.far.sendall(bytes(20_000))
    time.sleep(0.05)
    assert not inflow.check(0.0)
    assert not pair.is_cut()


def test_what_is_taken_is_credited(pairs: Callable[[], Pair]) -> None:
    """Credit, for one connection or the only one, and a reset make room; credit is never saved up."""
    pair = pairs()
    inflow = watched(LIMIT, pair)
    ways: list[Callable[[], None]] = [
        lambda: inflow.credit(9000, pair.fd),
        lambda: inflow.credit(9000),
        lambda: inflow.reset(pair.fd),
        lambda: inflow.reset(),
        lambda: inflow.credit(10**9, pair.fd),
    ]
    for take in ways:
        pair.bring(9000)
        take()
        inflow.check(0.0)
    assert not pair.is_cut()
    pair.bring(10_001)
    inflow.check(0.0)
    assert pair.is_cut()


def test_time_forgives_but_not_what_is_kept(pairs: Callable[[], Pair]) -> None:
    """A trickle is forgiven; what stays in memory counts until it is given back."""
    limit = InflowLimit("it sent too much", connection_bytes=10_000, refill_bytes_s=100.0)
    trickle, hoard = pairs(), pairs()
    inflow = watched(limit, trickle, hoard)
    for step in range(1, 4):
        for pair in (trickle, hoard):
            pair.bring(4000)
        inflow.keep(hoard.fd, 4000)
        inflow.check(100.0 * step)
    assert hoard.is_cut()
    assert not trickle.is_cut()


def test_the_greediest_goes_when_all_together_bring_too_much(pairs: Callable[[], Pair]) -> None:
    """Beyond the total the connection with most is cut off, and only that one."""
    limit = InflowLimit("they sent too much", connection_bytes=10_000, total_bytes=12_000)
    small, large = pairs(), pairs()
    inflow = watched(limit, small, large)
    small.bring(4000)
    large.bring(9000)
    inflow.check(0.0)
    assert (small.is_cut(), large.is_cut()) == (False, True)


def test_connecting_again_is_of_no_use(pairs: Callable[[], Pair]) -> None:
    """What ended connections brought counts until time renews it; a connection that brings little is admitted."""
    limit = InflowLimit("it sent too much", connection_bytes=50_000, shared_bytes=20_000, renewed_bytes_s=1000.0)
    inflow = watched(limit)
    for _ in range(5):
        pair = pairs()
        inflow.open(pair.fd)
        pair.bring(12_000)
        inflow.check(0.0)
        cut = pair.is_cut()
        inflow.close(pair.fd)
    assert cut
    little = pairs()
    inflow.open(little.fd)
    little.bring(inflow_guard.SPARE_BYTES)
    inflow.check(0.0)
    assert not little.is_cut()
    later = pairs()
    inflow.open(later.fd)
    inflow.check(100.0)
    later.bring(12_000)
    inflow.check(100.0)
    assert not later.is_cut()


def test_too_many_connections(pairs: Callable[[], Pair]) -> None:
    """The one beyond the number is cut off at once; when another has ended, there is room."""
    limit = InflowLimit("", connection_bytes=10_000, most_connections=2)
    first, second, third, fourth = (pairs() for _ in range(4))
    inflow = watched(limit, first, second, third)
    assert [pair.is_cut() for pair in (first, second, third)] == [False, False, True]
    assert inflow.take_reports() == ["a connection from 127.0.0.1 was cut off: 2 connections are the most"]
    inflow.close(first.fd)
    inflow.close(third.fd)
    inflow.open(fourth.fd)
    assert not fourth.is_cut()


def test_a_descriptor_that_is_another_connection_by_now(pairs: Callable[[], Pair]) -> None:
    """A number that the system has given to another connection is not cut off for what the first one brought."""
    first, other = pairs(), pairs()
    inflow = watched(LIMIT, first)
    os.dup2(other.fd, first.fd)
    other.bring(20_000)
    inflow.check(0.0)
    inflow.cut(first.fd, "asked for")
    assert not other.is_cut()


def test_what_is_no_tcp_connection_is_left_alone() -> None:
    """A descriptor that is closed, a file's or of another transport is not watched."""
    near, far = sockets.socketpair()
    inflow = watched(LIMIT)
    for fd in (near.fileno(), 0, 987_654):
        inflow.open(fd)
    assert inflow._connections == {}
    near.close()
    far.close()


@pytest.mark.parametrize("encrypted", [False, True])
def test_wire_bytes_are_those_of_zeromq(encrypted: bool) -> None:
    """The bytes that are credited are, to the byte, those that ZeroMQ sends for a message."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    receiver, sender = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    if encrypted:
        public, secret = zmq.curve_keypair()
        receiver.setsockopt(zmq.CURVE_SERVER, 1)
        receiver.setsockopt(zmq.CURVE_SECRETKEY, secret)
        sender.setsockopt(zmq.CURVE_SERVERKEY, public)
        for option, key in zip((zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY), zmq.curve_keypair(), strict=True):
            sender.setsockopt(option, key)
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    sender.connect(f"tcp://127.0.0.1:{port}")
    counts = []
    messages = [[b""], [bytes(222)], [bytes(223)], [bytes(255)], [bytes(256)], [b"a", bytes(70_000), b""]]
    for frames in ([b"first"], *messages):
        sender.send_multipart(frames)
        frame = receiver.recv(copy=False)
        while frame.more:
            receiver.recv()
            frame.more = bool(receiver.getsockopt(zmq.RCVMORE))
        connection = TcpConnection.of(int(frame.get(zmq.SRCFD)))
        assert connection is not None
        counters = connection.read_counters()
        assert counters is not None
        counts.append(counters[0])
    context.destroy(linger=0)
    found = [after - before for before, after in pairwise(counts)]
    assert found == [count_wire_bytes(frames, encrypted) for frames in messages]


def test_the_thread_cuts_off_and_ends(pairs: Callable[[], Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are read and limits are kept without anybody's help; memory is given back; after `close` all stops."""
    given: list[float] = []
    monkeypatch.setattr(inflow_guard, "_give_memory_back", lambda: given.append(time.monotonic()))
    monkeypatch.setattr(inflow_guard, "GIVE_BACK_S", 0.1)
    guard, pair = InflowGuard(), pairs()
    reads: list[float] = []

    def read_events(inflow: SocketInflow) -> None:
        if not reads:
            inflow.open(pair.fd)
        reads.append(time.monotonic())

    inflow = guard.watch(LIMIT, read_events)
    pair.bring(10_001)
    until_s = time.monotonic() + 60
    while not (pair.is_cut() and given) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert pair.is_cut()
    assert given
    guard.forget(inflow)
    before = len(reads)
    time.sleep(0.1)
    guard.close()
    assert len(reads) == before


def test_a_count_that_goes_back_a_little_is_of_the_same_connection(
    pairs: Callable[[], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came between two looks of the system may be counted once too early: the connection is still watched."""
    pair = pairs()
    inflow = SocketInflow(InflowLimit("it sent too much", connection_bytes=1000))
    counts = iter([(0, 0), (500, 0), (400, 0), (2000, 0)])
    monkeypatch.setattr(TcpConnection, "read_counters", lambda _: next(counts))
    inflow.open(pair.fd)
    assert [inflow.check(float(now_s)) for now_s in (1, 2, 3)] == [False, False, True]
