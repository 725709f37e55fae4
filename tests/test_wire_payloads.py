"""agent.bridge.wire_payloads: packets of the wire that come through a broker."""

import numpy as np
import pytest

from agent.bridge.sensor_source import SourceLayout, SourceReading
from agent.bridge.wire_payloads import MOST_MALFORMED, WirePayloadSource, join_payload, split_payload
from agent.core.messages import Chunk, End, Lead
from agent.wire.packets import encode_frames
from model.errors import FrameError, SourceError

LEADS = (Lead("II", "mV", 1000.0, 0.0, -5120, 5115),)


class Payloads:
    """A transport that has these payloads at once."""

    name = "topic"
    is_over = False

    def __init__(self, *payloads: bytes) -> None:
        self._payloads = list(payloads)

    def open(self) -> None:
        pass

    def read_payloads(self, timeout_s: float) -> list[bytes]:
        del timeout_s
        payloads, self._payloads = self._payloads, []
        return payloads

    def close(self) -> None:
        pass

    def remark(self) -> str:
        return "here"


def payload(first: int, count: int = 5, run: str = "a") -> bytes:
    counts = np.arange(first, first + count, dtype=np.int32)[:, None]
    return join_payload(encode_frames(Chunk("bed", run, first, 250.0, LEADS, counts, 1.0)))


def items_of(*payloads: bytes) -> list[SourceLayout | tuple[int, list[int]]]:
    source = WirePayloadSource(Payloads(*payloads))
    out: list[SourceLayout | tuple[int, list[int]]] = []
    while (item := source.read(0.0)) is not None:
        out.append((item.lost, item.counts[:, 0].tolist()) if isinstance(item, SourceReading) else item)
    return out


def test_packets_keep_their_layout_and_index() -> None:
    """Rate, leads and samples are those of the packets; a jump of the index is what was lost."""
    layout, first, second = items_of(payload(100), payload(105), payload(120))
    assert layout == SourceLayout(250.0, LEADS, "a")
    assert first == (0, list(range(100, 110)))
    assert second == (10, list(range(120, 125)))


def test_packets_that_come_twice_or_late() -> None:
    """Each sample is taken once, as the monitor does it."""
    _, *readings = items_of(payload(0), payload(0), payload(3), payload(20), payload(10))
    assert readings == [(0, list(range(8))), (12, list(range(20, 25)))]


def test_a_new_run_is_a_new_layout() -> None:
    """A device that starts again begins at its own index; an End says nothing more."""
    end = join_payload(encode_frames(End("bed", "a", 5, 250.0)))
    items = items_of(payload(0), end, payload(70, run="b"))
    assert [item.identity for item in items if isinstance(item, SourceLayout)] == ["a", "b"]
    assert items[-1] == (0, list(range(70, 75)))


@pytest.mark.parametrize(
    "data", [b"", b"512", b"\x01\x00\x00\x00", payload(0)[:-1], payload(0) + b"\x00", join_payload([b"bed", b"{}"])]
)
def test_payloads_that_are_no_packets(data: bytes) -> None:
    """What is not three frames is refused by itself; a topic of something else is an error."""
    with pytest.raises(FrameError):
        split_payload(data)
    source = WirePayloadSource(Payloads(data, payload(0)))
    assert isinstance(source.read(0.0), SourceLayout)
    assert source.remark() == "1 payloads were no packets, here"
    with pytest.raises(SourceError, match="topic sends no packets of the wire"):
        WirePayloadSource(Payloads(*[data] * MOST_MALFORMED)).read(0.0)


def test_frames_of_any_length() -> None:
    """Joining and splitting are each other's opposite."""
    frames = [b"bed", b"x" * 300, bytes(70_000)]
    assert split_payload(join_payload(frames)) == frames
