"""The recording: takes what the monitor has from its loop without ever holding it up, and writes it in a thread.

What is pushed waits in a queue in memory. Every half second the thread hands all of it to the system, which survives a
kill of the monitor at any moment; every `record.sync_s` it forces it onto the disk, which survives a power cut. Where
the disk is full, or fails, the recording pauses, says so, and goes on by itself; where it is too slow, the signal that
finds no place in the queue is a hole, and said. Monitoring never waits. Layout and rules: `docs/recording.md`.
"""

import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from agent.core.config import RecordConfig
from agent.core.events import Event, EventText
from agent.core.messages import Chunk, End, Gap, RecordingView, Result, ResumePosition, Strip
from agent.recording.session_writer import SessionWriter
from model.errors import RunError

FLUSH_S = 0.5
"""How often what was pushed is handed to the system."""
RETRY_S = 5.0
"""How often a paused recording is tried again."""
SILENT_S = 10.0
"""A disk that has not answered for so long is said to hang."""
CLOSE_S = 60.0
"""How long the end waits for the disk."""
SYNC_BUDGET_S = 0.25
"""Most time a flush gives to what may wait, of each kind: final headers, and forcing files onto the disk."""
MOST_BYTES = 64 * 2**20
"""Samples and other things that may wait to be written."""
EARLY_BYTES = MOST_BYTES // 8
"""So many are written at once."""
MESSAGE_BYTES, FOUND_BYTES = 200, 500
"""What a message takes beside its samples, and a beat, event, alarm or strip beside its wave, roughly."""
RESUME_MARGIN = 1.1
"""How much more than a limit there must be before an alarm is over."""
MOST_NEWS = 1000
MB = 10**6
PROBE_BYTES = 256 * 1024
_RecorderBatch = tuple[Sequence[Chunk | Gap | End], Sequence[Result], float]


class Recorder:
    """Records into a folder, until it is closed. Raises RunError where it cannot begin."""

    def __init__(self, folder: Path, config: RecordConfig, about: dict[str, str]) -> None:
        self.folder, self._config = folder, config
        self._writer = SessionWriter(folder, 60 * config.rotate_min, about)
        self._positions = {
            track.bed: ResumePosition(entry.run, entry.next, entry.fs, entry.last_beat, entry.ended)
            for track in self._writer.tracks.values()
            if (entry := track.entry) is not None
        }
        self._condition = threading.Condition()
        """Guards what both threads change: all of the following up to `_news`."""
        self._batches: list[_RecorderBatch] = []
        self._bytes = 0
        self._pushed = self._written = 0
        self._hurry = self._closing = False
        self._dropped_s: float | None = None
        """Since when the queue has been full, by the clock of what is pushed."""
        self._said: list[tuple[Event, float]] = []
        """Our own events that the thread is to write, and their times."""
        self._news: list[Event] = []
        self._paused = self._low = self._failure = self._why = ""
        """Why nothing is written; that the disk is almost full; why the end was not written, or signal lost."""
        self._full = False
        self._ahead_s, self._paused_s = time.time() - time.monotonic(), 0.0
        """The clock of what is pushed less the monotonic one; when the recording paused."""
        self._checked = self._retry = self._alive = time.monotonic()
        self._free = shutil.disk_usage(folder).free
        if self._writer.repaired:
            self._tell(f"recording goes on; segments repaired that a kill had left open: {self._writer.repaired}")
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def positions(self) -> dict[str, ResumePosition]:
        """Where each bed's recording stood when it was opened."""
        return dict(self._positions)

    def push(self, messages: Sequence[Chunk | Gap | End], found: Sequence[Result], now_s: float) -> None:
        """Take what the link brought and what was found in it, at `now_s` Unix time. Never waits.

        Events of kind "record" are left out: the recording writes its own.
        """
        if not messages and not found:
            return
        size = _estimate_batch_bytes(messages, found)
        with self._condition:
            if self._bytes and self._bytes + size > MOST_BYTES:
                self._dropped_s = now_s if self._dropped_s is None else self._dropped_s
                return
            self._batches.append((tuple(messages), tuple(found), now_s))
            self._bytes += size
            self._pushed += 1
            if self._bytes > EARLY_BYTES:
                self._condition.notify_all()
        if self._dropped_s is not None:
            self._tell(f"recording fell behind: {now_s - self._dropped_s:.1f} s not recorded")
            self._dropped_s, self._why = None, "the disk was too slow"

    def news(self) -> list[Event]:
        """Events of the recording since the last call."""
        with self._condition:
            news, self._news = self._news, []
        return news

    def view(self) -> RecordingView:
        """Where the recording stands."""
        trouble = self._paused
        if not trouble and self._dropped_s is not None:
            trouble = "the disk is too slow: signal is lost to the recording"
        if not trouble and self._thread.is_alive() and time.monotonic() - self._alive > SILENT_S:
            trouble = f"the disk of {self.folder} does not answer"
        return RecordingView(str(self.folder), self._writer.stored, self._free, trouble or self._low)

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait until all that was pushed is with the system, or is lost; whether that came in time."""
        with self._condition:
            wanted, self._hurry = self._pushed, True
            self._condition.notify_all()
            return self._condition.wait_for(lambda: self._written >= wanted and not self._hurry, timeout_s)

    def close(self) -> None:
        """Write all that waits, finish every segment, force all onto the disk.

        Raises RunError where the disk does not take it; the session is put in order when it is continued.
        """
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._failure = f"the disk did not answer for {CLOSE_S:.0f} s"
        if self._failure:
            failure, self._failure = self._failure, ""
            raise RunError(f"the recording in {self.folder} could not be finished: {failure}")

    def unrecorded(self) -> str:
        """How much signal was lost to the recording and why, once it is closed; "" where none was."""
        lost_s = self._writer.lost_s
        why = self._why or "nobody was there to record it"
        return f"{lost_s:.1f} s of signal were not recorded: {why}" if lost_s else ""

    def _work(self) -> None:
        """The thread: what was pushed, twice a second."""
        due, closing = time.monotonic() + FLUSH_S, False
        while not closing:
            with self._condition:
                wait_s = max(0.0, due - time.monotonic())
                self._condition.wait_for(lambda: self._closing or self._hurry or self._bytes > EARLY_BYTES, wait_s)
                batches, self._batches = self._batches, []
                said, self._said = self._said, []
                closing, hurried = self._closing, self._hurry
            due = self._alive = time.monotonic()
            due += FLUSH_S
            self._step(batches, said)
            with self._condition:
                self._bytes -= sum(_estimate_batch_bytes(messages, found) for messages, found, _ in batches)
                self._written += len(batches)
                self._hurry = self._hurry and not hurried
                self._condition.notify_all()
        try:
            for event, at_s in self._said:
                self._writer.tell(event, at_s)
            self._writer.close()
        except (OSError, sqlite3.Error) as error:
            self._why = self._failure = _disk_error_text(error)
            self._writer.abandon()

    def _step(self, batches: list[_RecorderBatch], said: list[tuple[Event, float]]) -> None:
        """Take and write; whatever goes wrong pauses the recording and nothing else."""
        try:
            if batches:
                now_s = batches[-1][2]
                self._ahead_s = now_s - time.monotonic()
                messages = _merge_chunks(message for messages, _, _ in batches for message in messages)
                found = [(item, at_s) for _, found, at_s in batches for item in found]
                others = [told for told in found if not (isinstance(told[0], Event) and told[0].kind == "record")]
                self._writer.take(messages, others, now_s, lose=bool(self._paused))
            for event, at_s in said:
                self._writer.tell(event, at_s)
            self._look_at_disk()
            if not self._paused:
                self._writer.flush()
                self._writer.finish(SYNC_BUDGET_S)
                self._trim()
                self._sync()
        except (OSError, sqlite3.Error) as error:
            self._pause(_disk_error_text(error))
        except Exception as error:  # a fault of ours must not end the recording without a word
            self._pause(f"internal error: {error!r}")

    def _look_at_disk(self) -> None:
        """Alarm, pause and go on by the space that is left."""
        free = self._free = shutil.disk_usage(self.folder).free
        reserve = self._config.reserve_mb * MB
        if free < reserve and not self._low:
            self._low = f"disk almost full: {_format_megabytes(free)} left at {self.folder}"
            self._tell(f"{self._low}; recording pauses at {_format_megabytes(reserve / 5)}")
        elif self._low and free > reserve * RESUME_MARGIN:
            self._low = ""
            self._tell(f"disk no longer full: {_format_megabytes(free)} left at {self.folder}")
        if not self._paused and free < reserve / 5:
            self._writer.flush()
            self._pause(f"disk full: {_format_megabytes(free)} left at {self.folder}")
        elif self._paused and time.monotonic() >= self._retry:
            self._retry = time.monotonic() + RETRY_S
            if free >= reserve / 5 * RESUME_MARGIN:
                self._go_on()

    def _pause(self, reason: str) -> None:
        if not self._paused:
            self._paused_s = time.monotonic()
            self._tell(f"recording paused: {reason}; monitoring goes on")
        self._paused, self._why = f"recording paused: {reason}", reason
        self._retry = time.monotonic() + RETRY_S
        self._writer.abandon()
        with contextlib.suppress(OSError, sqlite3.Error):
            self._writer.finish()

    def _go_on(self) -> None:
        """Try to write again. Raises OSError, sqlite3.Error where that still fails."""
        probe = self.folder / "probe.tmp"
        try:
            probe.write_bytes(b"\0" * PROBE_BYTES)
        finally:
            probe.unlink(missing_ok=True)
        self._writer.finish()
        self._paused = ""
        self._tell(f"recording goes on: {time.monotonic() - self._paused_s:.1f} s not recorded")

    def _trim(self) -> None:
        """Delete the oldest segments where the session takes more than its limit."""
        limit = self._config.limit_mb * MB
        while limit and self._writer.stored > limit:
            deleted = self._writer.delete_oldest()
            if not deleted:
                if not self._full:
                    self._tell(
                        f"the recording is over its limit of {_format_megabytes(limit)}: nothing is left to delete"
                    )
                self._full = True
                return
            self._full = False
            self._tell(f"deleted to stay below {_format_megabytes(limit)}: {deleted}")

    def _sync(self) -> None:
        self._writer.sync(self._config.sync_s - FLUSH_S, SYNC_BUDGET_S)
        if time.monotonic() - self._checked >= self._config.sync_s - FLUSH_S:
            self._checked = time.monotonic()
            self._writer.checkpoint()

    def _tell(self, text: str) -> None:
        event = EventText("record", "", "", 0, text)
        with self._condition:
            self._said.append((event, time.monotonic() + self._ahead_s))
            self._news.append(event)
            del self._news[:-MOST_NEWS]


def _merge_chunks(messages: Iterable[Chunk | Gap | End]) -> list[Chunk | Gap | End]:
    """The messages with a bed's consecutive chunks made one: few large ones are written much faster than many."""
    out: list[Chunk | Gap | End] = []
    waiting: dict[str, list[Chunk]] = {}
    for message in messages:
        parts = waiting.setdefault(message.bed, [])
        if parts and not (isinstance(message, Chunk) and _continues_chunk(message, parts[-1])):
            out.append(_concatenate_chunks(parts))
            parts.clear()
        if isinstance(message, Chunk):
            parts.append(message)
        else:
            out.append(message)
    return out + [_concatenate_chunks(parts) for parts in waiting.values() if parts]


def _continues_chunk(chunk: Chunk, before: Chunk) -> bool:
    same_stream = chunk.leads is before.leads and chunk.run == before.run and chunk.fs == before.fs
    return same_stream and chunk.first == before.first + len(before.counts)


def _concatenate_chunks(parts: list[Chunk]) -> Chunk:
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([part.counts for part in parts])
    return replace(parts[0], counts=counts, sent_s=parts[-1].sent_s)


def _estimate_batch_bytes(messages: Sequence[Chunk | Gap | End], found: Sequence[Result]) -> int:
    """Bytes in memory, roughly."""
    size = FOUND_BYTES * len(found) + MESSAGE_BYTES * len(messages)
    for message in messages:
        if type(message) is Chunk:
            size += message.counts.nbytes
    for item in found:
        if type(item) is Strip:
            size += item.wave.nbytes
    return size


def _disk_error_text(error: OSError | sqlite3.Error) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    return f"{text} ({error.filename})" if isinstance(error, OSError) and error.filename else text


def _format_megabytes(size: float) -> str:
    return f"{size / MB:.0f} MB"
