"""agent.bridge.datagrams: numbers in datagrams, from one sender at a time."""

import json
import socket
from collections.abc import Iterator

import pytest
from support.bridged import RunningBridge, wait_until

from agent.bridge.datagrams import RELEASE_S, DatagramSocket
from agent.bridge.open_source import open_source
from agent.bridge.source_options import CountSize, SourceOptions
from agent.core.config import Config
from model.errors import ConfigError, SourceError

OPTIONS = SourceOptions(fs=250.0, unit=CountSize("uV", 1.0))


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


@pytest.mark.parametrize(
    "datagrams",
    [
        [b"512"] * 100,
        [b"512\n513\r\n514,515\n"] * 30,
        [json.dumps({"seq": n * 5, "ecg": [n] * 5}).encode() for n in range(40) if n != 20],
    ],
    ids=["numbers", "lines", "numbered"],
)
def test_datagrams(settings: Config, port: int, sender: socket.socket, datagrams: list[bytes]) -> None:
    """A number a datagram, several lines, or numbered samples, of which a lost datagram is filled."""
    expected = {100: 100, 30: 90, 39: 200}[len(datagrams)]
    with RunningBridge(settings, open_source(f"udp:127.0.0.1:{port}", OPTIONS)) as bridge:
        wait_until(lambda: bridge.said != [], "the socket")
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))
        wait_until(lambda: bridge.stream.samples >= expected, "all samples", 10.0)
    assert bridge.stream.samples == expected
    assert bridge.stream.lost == (5 if len(datagrams) == 39 else 0)


def test_one_sender_is_heard(port: int, sender: socket.socket) -> None:
    """Another sender is not mixed in; it is heard once the first has been silent for a while."""
    now_s = [0.0]
    heard = DatagramSocket(f"127.0.0.1:{port}", now=lambda: now_s[0])
    heard.open()
    sender.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        sender.sendto(b"1", ("127.0.0.1", port))
        assert heard.read(1.0) == b"1\n"
        other.sendto(b"2", ("127.0.0.1", port))
        assert heard.read(1.0) == b""
        assert heard.remark() == "only 127.0.0.1 is heard, not 127.0.0.2"
        now_s[0] += RELEASE_S
        other.sendto(b"3", ("127.0.0.1", port))
        assert heard.read(1.0) == b"3\n"
        assert heard.remark() == ""
    heard.close()


def test_a_port_that_is_taken(port: int) -> None:
    """Two bridges cannot listen at one port, which is said."""
    first, second = (open_source(f"udp:{port}", OPTIONS) for _ in range(2))
    first.open()
    with pytest.raises(SourceError, match=f"cannot listen at udp:{port}: another program listens there"):
        second.open()
    first.close()
    with pytest.raises(SourceError, match="no address of this machine"):
        open_source(f"udp:192.0.2.1:{port}", OPTIONS).open()


@pytest.mark.parametrize("place", ["", "0", "70000", "ecg", "127.0.0.1"])
def test_ports_that_make_no_sense(place: str) -> None:
    """A place without a port is refused."""
    with pytest.raises(ConfigError, match="give a port from 1 to 65535"):
        open_source(f"udp:{place}", OPTIONS)
