"""agent.device.backfill_server: what is counted in its thread and read from others."""

import sys
import time
from collections.abc import Iterator
from threading import Thread
from uuid import uuid4

import pytest
import zmq

from agent.core.rate_limit import RepeatFilter
from agent.device import backfill_server
from agent.device.backfill_server import (
    MOST_WAITING,
    REPLIES_AHEAD,
    REQUEST_BURST,
    REQUEST_INFLOW,
    BackfillServer,
    _MonitorPeer,
)
from agent.device.sent_buffer import SentBuffer
from agent.wire.inflow_guard import SocketInflow
from agent.wire.requests import HelloRequest, decode_reply, encode_channel_message


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackfillServer]:
    """A server whose reports are always due."""
    monkeypatch.setattr(backfill_server, "REPORT_EVERY_S", 0.0)
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.set(zmq.ROUTER_MANDATORY, 1)
    router.set(zmq.SNDHWM, REPLIES_AHEAD)
    router.bind(f"inproc://{uuid4().hex}")
    opened = BackfillServer(router, SocketInflow(REQUEST_INFLOW), SentBuffer(1.0))
    yield opened
    opened.close()


def count_ignored(server: BackfillServer) -> int:
    return sum(int(text.split()[0]) for text in server.refusals())


def test_no_ignored_request_is_lost_between_two_reports(server: BackfillServer) -> None:
    """The counts of all reports together are what the thread ignored, whenever they are taken."""
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [Thread(target=lambda: [server._accept(b"1", [b"{"], 0.0) for _ in range(5000)]) for _ in range(2)]
        for thread in threads:
            thread.start()
        counted = 0
        while any(thread.is_alive() for thread in threads):
            counted += count_ignored(server)
    finally:
        sys.setswitchinterval(switch_s)
    assert counted + count_ignored(server) == 10_000


def test_a_monitor_has_its_burst_and_then_its_rate(server: BackfillServer) -> None:
    """Beyond 2,000 requests at once a monitor gets one answer a millisecond; another monitor does not notice."""
    hello = [encode_channel_message(HelloRequest(id=1, sent=0.0))]
    accepted = [server._accept(b"1", hello, 0.0) is not None for _ in range(2 * REQUEST_BURST)]
    assert accepted == [True] * REQUEST_BURST + [False] * REQUEST_BURST
    assert server._accept(b"2", hello, 0.0) is not None
    assert sum(server._accept(b"1", hello, 0.5) is not None for _ in range(REQUEST_BURST)) == 500
    assert count_ignored(server) == REQUEST_BURST + REQUEST_BURST - 500


def test_reports_come_every_half_minute_at_most(monkeypatch: pytest.MonkeyPatch, server: BackfillServer) -> None:
    """What is ignored after a report waits for the next one."""
    now_s = 1000.0
    monkeypatch.setattr("agent.device.backfill_server.time.monotonic", lambda: now_s)
    monkeypatch.setattr(server, "_reports", RepeatFilter(30.0, most_keys=1))
    server._accept(b"1", [b"{"], now_s)
    assert count_ignored(server) == 1
    server._accept(b"1", [b"{"], now_s)
    now_s = 1029.9
    assert server.refusals() == []
    now_s = 1030.0
    assert count_ignored(server) == 1


def greedy_monitor(server: BackfillServer, requests: int) -> "tuple[zmq.Socket[bytes], _MonitorPeer]":
    """A monitor that has made requests and read no reply, once no more of them are taken."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.set(zmq.RCVHWM, 1)
    socket.set(zmq.RCVTIMEO, 60_000)
    socket.set(zmq.LINGER, 0)
    socket.connect(server._socket.getsockopt_string(zmq.LAST_ENDPOINT))
    for number in range(requests):
        socket.send(encode_channel_message(HelloRequest(id=number, sent=0.0)))
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        peers = list(server._peers.values())
        if peers and server._ignored + len(peers[0].waiting) >= requests - REPLIES_AHEAD - 1:
            return socket, peers[0]
        time.sleep(0.01)
    raise AssertionError(f"{server._ignored} requests were ignored")


def test_requests_wait_for_room(server: BackfillServer) -> None:
    """Of a monitor that reads nothing 64 requests wait, the others are counted; when it reads, those are answered."""
    socket, peer = greedy_monitor(server, 500)
    ahead = 500 - MOST_WAITING - server._ignored
    assert len(peer.waiting) == MOST_WAITING
    assert ahead <= REPLIES_AHEAD + 1
    found = [decode_reply(socket.recv_multipart())[0].id for _ in range(ahead + MOST_WAITING)]
    assert found == list(range(ahead + MOST_WAITING))
    assert count_ignored(server) == 500 - len(found)
    socket.close()


def test_a_monitor_that_takes_nothing_is_given_up(server: BackfillServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no reply has been taken for a while the monitor is cut off, and its requests are dropped."""
    cut: list[str] = []
    monkeypatch.setattr(server._inflow, "cut", lambda _, reason: cut.append(reason))
    monkeypatch.setattr(backfill_server, "STALLED_S", 0.2)
    socket, peer = greedy_monitor(server, 100)
    until_s = time.monotonic() + 60
    while peer.waiting and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not peer.waiting
    assert cut == ["it took no reply for 0.2 s"]
    socket.close()
