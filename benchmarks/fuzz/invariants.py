"""What must be so of everything that a link gives to the pipeline, whatever a device sends."""

from collections import Counter

from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap
from agent.core.wording import event_text
from agent.link.chunk_assembler import LinkMessage
from agent.link.link_receiver import LinkReceiver
from agent.link.reorder_buffer import MOST_HELD_BYTES, MOST_HELD_PACKETS, PACKET_OVERHEAD_BYTES

MOST_OPEN_REQUESTS = 32


class OrderCheck:
    """Takes all that a link gives: each sample of a bed and run once and in order, and an end behind the last one.

    Only where a run comes back after another one may samples be left out: they were rejected.

    `analysed`, `missing`: samples by bed.
    """

    def __init__(self, remembers: bool = True) -> None:
        """`remembers`: runs count that another one has replaced; not where devices use the same names again."""
        self._remembers = remembers
        self.analysed: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self._next: dict[tuple[str, str], int] = {}
        self._run: dict[str, str] = {}

    def take(self, message: LinkMessage) -> None:
        """Check a message against those before. Raises AssertionError."""
        if isinstance(message, Event):
            assert event_text(message).isprintable(), "an event that cannot be shown"
            return
        key = message.bed, message.run
        follows = self._run.get(message.bed) == message.run
        if not follows and not self._remembers:
            self._next.pop(key, None)
        self._run[message.bed] = message.run
        expected = self._next.get(key)
        if isinstance(message, End):
            if expected is not None and follows:
                assert message.first <= expected, "an end before its last sample"
            elif expected is not None:
                assert message.first >= expected, "an end before the last sample, of a run that came back"
                self._next[key] = message.first
            return
        count = message.count if isinstance(message, Gap) else len(message.counts)
        assert count > 0, "no samples"
        if expected is not None:
            assert message.first >= expected or follows, "samples twice, of a run that came back"
            assert message.first >= expected, "samples twice"
            assert message.first == expected or not follows, "samples left out"
        self._next[key] = message.first + count
        (self.analysed if isinstance(message, Chunk) else self.missing)[message.bed] += count

    def close(self, link: LinkReceiver) -> None:
        """Check, after `finish`, that sent = analysed + missing for every bed. Raises AssertionError."""
        for bed in link._streams.buffers:
            sent, analysed, missing = link.sent(bed), self.analysed[bed], self.missing[bed]
            assert sent == analysed + missing, f"{sent} sent = {analysed} analysed + {missing} missing"


def check_bounds(link: LinkReceiver, most_beds: int) -> None:
    """Check that a link holds no more than it may. Raises AssertionError."""
    streams = link._streams
    assert len(streams.buffers) <= most_beds, "too many beds"
    assert link._intake._bundles is None or len(link._intake._bundles._runs) <= most_beds, "too many runs described"
    assert len(link._client._open) <= MOST_OPEN_REQUESTS, "too many requests"
    for buffer in streams.buffers.values():
        held = sum(len(packet.payload) + PACKET_OVERHEAD_BYTES for _, _, packet in buffer._held)
        assert held == buffer._held_bytes, "held bytes miscounted"
        assert len(buffer._held) <= MOST_HELD_PACKETS + 1, "too many packets held"
        largest = max((len(packet.payload) + PACKET_OVERHEAD_BYTES for _, _, packet in buffer._held), default=0)
        assert held <= MOST_HELD_BYTES + largest, "too many bytes held"
