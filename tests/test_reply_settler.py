"""agent.link.reply_settler: what a reply of the backfill channel may bring, and how much of it at once."""

from collections.abc import Sequence

import numpy as np
import pytest
from conftest import LEADS

from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap, separate_chunks
from agent.core.wording import event_text
from agent.link.backfill_client import BackfillResult
from agent.link.bed_streams import BedStreams
from agent.link.chunk_assembler import ChunkAssembler, LinkMessage
from agent.link.reply_settler import MOST_PACKETS_SETTLED, ReplySettler
from agent.wire.packets import encode_frames, parse_frames
from agent.wire.requests import (
    LARGEST_REPLY_BYTES,
    MOST_REPLY_PACKETS,
    FetchReply,
    FetchRequest,
    decode_reply,
    encode_channel_message,
)
from model.errors import FrameError
from model.records.resample import FS


def frames(first: int, count: int = 5, bed: str = "1", run: str = "run") -> list[bytes]:
    """A packet; every count is its own sample index."""
    ramp = np.arange(first, first + count, dtype=np.int32)
    return encode_frames(Chunk(bed, run, first, float(FS), LEADS, np.stack([ramp, ramp], axis=1), 1.0))


class Line:
    """A bed that has its samples up to 100, and then those from `resumes` on; `out` is what came out since."""

    def __init__(self, resumes: int) -> None:
        self.streams = BedStreams(4)
        self.settler = ReplySettler(self.streams, asks_back=True)
        self.out: list[LinkMessage] = []
        assembler = ChunkAssembler(0.0, 0.0)
        for message in (parse_frames(frames(0, 100)), parse_frames(frames(resumes, 100))):
            buffer = self.streams.select_buffer(message, 0.0, assembler)
            assert buffer is not None
            assembler.add_parts("1", buffer.push(message, 0.0))
        self.stop = resumes

    def reply(self, packets: Sequence[list[bytes]], first: int = 100) -> None:
        """Add the reply to a request for what is missing."""
        request = FetchRequest(id=1, bed="1", run="run", first=first, stop=self.stop)
        reply = FetchReply(id=1, bed="1", run="run", start=0, oldest=0, next=self.stop + 100, ended=False)
        self.settler.add(BackfillResult(request, reply, list(packets)))

    def settle(self) -> int:
        """Settle until nothing waits; return the number of calls it took."""
        calls = 0
        while self.settler.busy:
            assembler = ChunkAssembler(1.0, 0.0)
            self.settler.settle(1.0, assembler)
            self.out += separate_chunks(assembler.assemble())
            calls += 1
        return calls

    @property
    def samples(self) -> list[int]:
        return [int(x) for message in self.out if isinstance(message, Chunk) for x in message.counts[:, 0]]

    @property
    def events(self) -> list[str]:
        return [event_text(message) for message in self.out if isinstance(message, Event)]


def test_packets_as_they_were_sent_are_taken_piece_by_piece() -> None:
    """A minute in packets of 40 ms is one reply: every sample once, and the beds that wait get their turn between."""
    line = Line(7600)
    line.reply([frames(first) for first in range(100, 7600, 5)])
    assert line.settle() == -(-1500 // MOST_PACKETS_SETTLED)
    assert line.samples == list(range(100, 7700))
    assert line.events == []


def test_packets_may_overlap_and_come_in_any_order() -> None:
    """The device sends what it has; each sample is taken once."""
    line = Line(400)
    line.reply([frames(first, 60) for first in (350, 300, 90, 250, 200, 140, 90)])
    line.settle()
    assert line.samples == list(range(100, 500))
    assert line.events == []


def test_what_lies_beyond_the_request_is_cut_off() -> None:
    """A packet that reaches over the edges of the request brings what was asked; nobody pays for the rest."""
    line = Line(1100)
    line.reply([frames(0, 65_536)])
    line.settle()
    assert line.samples == list(range(100, 1200))
    assert line.streams.buffers["1"].sent_stop == 1200


def test_what_was_not_asked_for_is_rejected() -> None:
    """Packets without a requested sample, of another bed, run or kind, are counted and reported."""
    line = Line(1100)
    foreign = [frames(1100, 65_536), frames(0, 100), frames(200, bed="2"), frames(200, run="other")]
    line.reply([*foreign, encode_frames(End("1", "run", 200, float(FS), 1)), frames(100, 1000)])
    line.settle()
    assert line.samples == list(range(100, 1200))
    assert line.streams.rejected == 5
    assert any("not requested" in text for text in line.events)


def test_a_reply_to_a_run_that_is_over_is_dropped() -> None:
    """The device has restarted while the reply was under way, or while it was being settled."""
    line = Line(7600)
    line.reply([frames(first) for first in range(100, 7600, 5)])
    assembler = ChunkAssembler(1.0, 0.0)
    line.settler.settle(1.0, assembler)
    message = parse_frames(frames(0, run="next"))
    line.streams.select_buffer(message, 100.0, assembler)
    line.settle()
    assert not line.settler.busy
    gaps = [item for item in assembler.assemble() if isinstance(item, Gap)]
    assert [(gap.first, gap.count) for gap in gaps] == [
        (100 + 5 * MOST_PACKETS_SETTLED, 7500 - 5 * MOST_PACKETS_SETTLED)
    ]


@pytest.mark.parametrize(
    ("packets", "size", "words"),
    [(MOST_REPLY_PACKETS + 1, 10, "packets"), (20, LARGEST_REPLY_BYTES // 20, "bytes"), (1, 0, "")],
)
def test_a_reply_has_limits(packets: int, size: int, words: str) -> None:
    """Too many packets or bytes are refused as a whole, with the limit; what is within them is decoded."""
    head = encode_channel_message(FetchReply(id=1, bed="1", run="r", start=0, oldest=0, next=0, ended=False))
    reply = [head, *([b"1", b"{}", bytes(size)] * packets)]
    if not words:
        assert len(decode_reply(reply)[1]) == packets
        return
    with pytest.raises(FrameError, match=words):
        decode_reply(reply)
