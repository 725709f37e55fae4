"""Decides which samples are requested again and when, and when the rest is declared lost."""

from collections.abc import Set

from agent.core.config import LinkConfig
from agent.core.events import Backfilled
from agent.core.sample_index import nearest_index_at_125_hz
from agent.link.backfill_client import CHANNEL_ABSENT_S, BackfillClient
from agent.link.bed_streams import SILENT_BED_S, BedStreams
from agent.link.chunk_assembler import ChunkAssembler
from agent.link.reorder_buffer import ReorderBuffer
from agent.link.reply_settler import ReplySettler
from agent.wire.requests import LONGEST_REPLY_S, MOST_REQUESTED_SAMPLES

CONGESTION_PAUSE_S = 0.1
"""Nothing is read for this time where most beds can hold back no more, until what they have requested is there."""
CHANNEL_TIMEOUT_S = 5.0
"""A channel that has answered before is waited for this long while packets come."""
FRAMING_BYTES = 128
"""Bytes of a packet beside those of its frames, at most."""
DOWN_POLL_S = 0.1
"""Pause between two polls of a bed while there is no stream."""
CARRIED_S = 10.0
"""A bed of which nothing new came for this time is not polled as often as that."""
LONGEST_POLL_PAUSE_S = 8.0
"""Longest pause between two polls of a silent bed."""
MOST_FAILED_REQUESTS = 3
"""After this many replies without any of the requested samples these are declared lost."""


class BackfillScheduler:
    """Requests what the beds of `streams` miss. `backlogged`: beds that have enough to analyse, and are left alone."""

    def __init__(self, streams: BedStreams, client: BackfillClient, config: LinkConfig) -> None:
        self.backlogged: Set[str] = frozenset()
        self._streams = streams
        self._client = client
        self._backfill_s = config.backfill_s
        self._patience_s = config.patience_ms / 1000
        self._settler = ReplySettler(streams, bool(config.backfill_s))

    def take_replies(self, now_s: float, out: ChunkAssembler) -> None:
        """Settle the replies that have come, and give up the requests that had none in time."""
        if not self._settler.busy:
            for result in self._client.receive_replies(now_s):
                self._settler.add(result)
        self._settler.settle(now_s, out)
        for late in self._client.expire_requests(now_s):
            buffer = self._streams.find_run(late.bed, late.run)
            if buffer is not None:
                buffer.requested = False
                # A device that answers other requests has refused this one; else it is not there for now.
                replied_s = self._client.replied_s
                buffer.failed_requests += replied_s is not None and replied_s > buffer.requested_s
        for reason in self._client.malformed:
            self._streams.reject(reason, out, now_s)
        self._client.malformed.clear()

    def close_holes(self, now_s: float, out: ChunkAssembler) -> None:
        """Request what the incomplete beds miss, or declare it lost where that is in vain."""
        for bed in list(self._streams.incomplete):
            buffer = self._streams.buffers[bed]
            missing = buffer.missing
            if missing is not None and not buffer.requested:
                if buffer.start_known:
                    self._close_hole(buffer, missing, now_s, out)
                else:
                    self._find_start(buffer, missing[1], now_s, out)
            if buffer.missing is None:
                self._streams.incomplete.discard(bed)
                _report_backfill(buffer, out)

    def poll_silent_beds(self, now_s: float, stream_down: bool) -> None:
        """Ask what comes next of beds that have fallen silent, with growing pauses.

        While the stream is down these are short, so that the backfill channel carries what the stream cannot.
        """
        if not self._client.is_answering(now_s):
            return
        for buffer in self._streams.buffers.values():
            carried = stream_down and now_s - buffer.news_s < CARRIED_S
            silent_s, longest_s = (DOWN_POLL_S, SILENT_BED_S) if carried else (SILENT_BED_S, LONGEST_POLL_PAUSE_S)
            if now_s - buffer.received_s < silent_s:
                buffer.idle_polls = 0
            elif buffer.ended or buffer.requested or buffer.missing is not None:
                continue
            elif now_s - buffer.requested_s >= min(silent_s * 2**buffer.idle_polls, longest_s):
                most = min(round(LONGEST_REPLY_S * buffer.fs), MOST_REQUESTED_SAMPLES)
                self._request(buffer, buffer.next, buffer.next + most, now_s, expected=False)

    def is_congested(self, now_s: float) -> bool:
        """Return whether nothing should be read for a moment: most beds wait for replies and can hold back no more.

        So a replay at full speed does not run away from its own replies. One bed of many stops nobody: what it cannot
        hold is fetched later.
        """
        streams = self._streams
        if 2 * len(streams.incomplete) <= streams.live:
            return False
        waiting = sum(self._waits_full(streams.buffers[bed], now_s) for bed in streams.incomplete)
        return waiting > 0 and 2 * waiting > streams.live

    def _waits_full(self, buffer: ReorderBuffer, now_s: float) -> bool:
        """Return whether a bed waits for a reply and can hold back no more."""
        if not buffer.full or buffer.missing_since_s is None:
            return False
        # Without replies the hole is soon declared lost, and until then what is here is worth more than what is not.
        most_s = CONGESTION_PAUSE_S if self._client.is_answering(now_s) else 2 * CHANNEL_ABSENT_S
        return now_s - max(buffer.missing_since_s, buffer.requested_s) < most_s

    def _find_start(self, buffer: ReorderBuffer, stop: int, now_s: float, out: ChunkAssembler) -> None:
        """Request what a run has sent before sample `stop`, or start it there."""
        first = max(0, stop - max(1, round(self._backfill_s * buffer.fs)))
        if stop == 0 or self._is_hopeless(buffer, now_s):
            # What was requested of a device that has a backfill channel, and never came, is not passed over.
            unanswered = self._backfill_s > 0 and self._client.replied_s is not None
            out.add_parts(buffer.bed, buffer.join_at(first if unanswered else stop, stop, now_s))
        else:
            self._request(buffer, first, stop, now_s)

    def _close_hole(self, buffer: ReorderBuffer, missing: tuple[int, int], now_s: float, out: ChunkAssembler) -> None:
        waited = buffer.full or now_s - (buffer.missing_since_s or 0.0) >= self._patience_s
        if self._is_hopeless(buffer, now_s):
            if waited:
                out.add_parts(buffer.bed, buffer.declare_lost(missing[1], "never arrived", now_s))
                buffer.failed_requests = 0
        elif waited or buffer.backfilled:
            first, stop = missing
            self._request(buffer, first, min(stop, first + MOST_REQUESTED_SAMPLES), now_s)

    def _is_hopeless(self, buffer: ReorderBuffer, now_s: float) -> bool:
        """Return whether requests for a bed bring nothing: none so far did, or packets come but no reply."""
        if buffer.failed_requests >= MOST_FAILED_REQUESTS or (not buffer.requested and self._client.is_deaf(now_s)):
            return True
        replied_s = self._client.replied_s
        if replied_s is None:
            first_s = self._streams.first_s
            return first_s is not None and now_s - first_s >= CHANNEL_ABSENT_S
        silent_s = now_s - max(replied_s, buffer.missing_since_s or 0.0)
        if buffer.full:
            return silent_s >= CHANNEL_ABSENT_S
        return silent_s >= CHANNEL_TIMEOUT_S and now_s - buffer.received_s < SILENT_BED_S

    def _request(self, buffer: ReorderBuffer, first: int, stop: int, now_s: float, expected: bool = True) -> None:
        if buffer.bed in self.backlogged or self._client.replied_s is None:
            return
        count = min(stop - first, LONGEST_REPLY_S * buffer.fs) if expected else 0
        packets = count / max(1.0, buffer.packet_s * buffer.fs)  # the device may send them as they were
        size = count * buffer.sample_bytes + packets * (buffer.head_bytes + FRAMING_BYTES)
        if self._client.request_samples(buffer.bed, buffer.run, first, stop, size, now_s):
            buffer.requested = True
            buffer.requested_s = now_s


def _report_backfill(buffer: ReorderBuffer, out: ChunkAssembler) -> None:
    """Report what was sent again since the last report, now that nothing is missing."""
    if buffer.backfilled:
        sample = nearest_index_at_125_hz(buffer.next, buffer.fs)
        count = buffer.backfilled
        out.add_events(Backfilled(buffer.bed, buffer.run, sample, count, count / buffer.fs, buffer.sent_before))
        buffer.backfilled = 0
    buffer.sent_before = False
