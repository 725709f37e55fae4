"""The recording: takes what the monitor has from its loop without ever holding it up, and writes it in a thread.

What is pushed waits in a queue in memory. Every half second the thread hands all of it to the system, which survives a
kill of the monitor at any moment; every `record.sync_s` it forces it onto the disk, which survives a power cut. If the
disk is full or fails, the recording pauses, says so, and goes on by itself; if it is too slow, signal that finds no
place in the queue is lost to the recording, which says so too. Monitoring never waits. Layout and rules:
`docs/recording.md`.
"""

import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.core.config import RecordConfig
from agent.core.events import (
    DiskSpaceChanged,
    Event,
    RecordingFellBehind,
    RecordingPaused,
    RecordingRepaired,
    RecordingResumed,
    RecordingTrimmed,
)
from agent.core.messages import Chunk, End, Gap, Result, ResumePosition
from agent.core.views import RecordingView
from agent.core.wording import format_megabytes
from agent.recording.recorder_batches import RecorderBatch, estimate_bytes, merge_chunks
from agent.recording.session_writer import SessionWriter, disk_error_text
from model.errors import RunError

SILENT_S = 10.0
"""A disk that has not answered for this long is said to hang."""
CLOSE_S = 60.0
"""How long the end waits for the disk."""
SYNC_BUDGET_S = 0.25
"""Most time a step gives to each kind of work that may wait: final headers, and forcing files onto the disk."""
MOST_BYTES = 64 * 2**20
"""Samples and results that may wait to be written."""
EARLY_BYTES = MOST_BYTES // 8
"""This many are written at once."""
RESUME_MARGIN = 1.1
"""How much more than a limit must be free before the recording goes on."""
MOST_NEWS = 1000
MB = 10**6
PROBE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class RecorderTiming:
    """When a recorder does what, in seconds of `clock`, which must not go back.

    `flush_s`: how often what was pushed is handed to the system; `retry_s`: how often a paused recording is tried.
    """

    flush_s: float = 0.5
    retry_s: float = 5.0
    clock: Callable[[], float] = time.monotonic


DEFAULT_TIMING = RecorderTiming()


@dataclass(frozen=True, slots=True)
class _RecorderStatus:
    """Where the writing stood after its latest step, which began at `stepped_s`."""

    stepped_s: float
    written: int
    free: int
    lost_s: float = 0.0
    is_paused: bool = False
    trouble: str = ""
    standing: Event | None = None


class Recorder:
    """Records into a folder until it is closed. Raises RunError if it cannot begin.

    All methods are for the thread of the monitor, which never waits for the disk but in `flush` and `close`. What is
    pushed is written by another thread, or, unless `threaded`, by `step` alone.
    """

    def __init__(
        self,
        folder: Path,
        config: RecordConfig,
        about: dict[str, str],
        timing: RecorderTiming = DEFAULT_TIMING,
        threaded: bool = True,
    ) -> None:
        self.folder, self._config, self._timing, self._clock = folder, config, timing, timing.clock
        self._writer = SessionWriter(folder, 60 * config.rotate_min, about)
        self._positions = {
            bed.bed: ResumePosition(entry.run, entry.next, entry.fs, entry.last_beat, entry.ended)
            for bed in self._writer.beds.values()
            if (entry := bed.entry) is not None
        }
        self._full_since_s: float | None = None
        """Since when the queue has been full, by the clock of what is pushed; only the monitor's thread uses it."""

        self._condition = threading.Condition()
        """Guards what both threads use: all of the following up to `_status`."""
        self._batches: list[RecorderBatch] = []
        self._bytes = 0
        self._pushed = 0
        self._written = 0
        self._hurry = False
        self._closing = False
        self._own_events: list[tuple[Event, float]] = []
        """Events of the recording itself that are to be written, and their times."""
        self._news: list[Event] = []
        self._loss_reason = ""
        self._failure = ""
        """Why the end was not written."""
        free = shutil.disk_usage(folder).free
        self._status = _RecorderStatus(self._clock(), self._writer.stored, free)

        self._free = free
        """From here on everything belongs to the thread that writes."""
        self._pause: RecordingPaused | None = None
        self._pause_reason = ""
        self._low: DiskSpaceChanged | None = None
        self._is_trimmed_out = False
        self._ahead_s = time.time() - self._clock()
        """The clock of what is pushed less our own."""
        self._paused_s = self._checked_s = self._retried_s = self._clock()
        if self._writer.repaired:
            self._announce(RecordingRepaired(self._writer.repaired))
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True) if threaded else None
        if self._thread:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def positions(self) -> dict[str, ResumePosition]:
        """Return where the recording of each bed stood when it was opened."""
        return dict(self._positions)

    def push(self, messages: Sequence[Chunk | Gap | End], results: Sequence[Result], now_s: float) -> None:
        """Take what the link brought and what was found in it, at `now_s` Unix time. Never waits.

        Events of kind "record" are left out: the recording writes its own.
        """
        if not messages and not results:
            return
        size = estimate_bytes(messages, results)
        with self._condition:
            if self._bytes and self._bytes + size > MOST_BYTES:
                self._full_since_s = now_s if self._full_since_s is None else self._full_since_s
                return
            self._batches.append((tuple(messages), tuple(results), now_s))
            self._bytes += size
            self._pushed += 1
            if self._bytes > EARLY_BYTES:
                self._condition.notify_all()
        if self._full_since_s is not None:
            self._announce(RecordingFellBehind(now_s - self._full_since_s), now_s)
            self._full_since_s = None
            with self._condition:
                self._loss_reason = "the disk was too slow"

    def news(self) -> list[Event]:
        """Return the events of the recording since the last call."""
        with self._condition:
            news, self._news = self._news, []
        return news

    def view(self) -> RecordingView:
        """Return where the recording stands."""
        with self._condition:
            status = self._status
        trouble = status.trouble
        if not status.is_paused and self._full_since_s is not None:
            trouble = "the disk is too slow: signal is lost to the recording"
        elif not status.is_paused and self._is_alive() and self._clock() - status.stepped_s > SILENT_S:
            trouble = f"the disk of {self.folder} does not answer"
        return RecordingView(str(self.folder), status.written, status.free, trouble, status.standing)

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait until all that was pushed is with the system, or is lost; return whether that came in time."""
        if self._thread is None:
            self.step()
            return True
        with self._condition:
            wanted, self._hurry = self._pushed, True
            self._condition.notify_all()
            return self._condition.wait_for(lambda: self._written >= wanted and not self._hurry, timeout_s)

    def close(self) -> None:
        """Write all that waits, finish every segment, force all onto the disk.

        Raises RunError if the disk does not take it; the session is repaired when it is continued.
        """
        with self._condition:
            is_first, self._closing = not self._closing, True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        elif is_first:
            self.step()
            self._finish()
        with self._condition:
            failure, self._failure = self._failure, ""
        if self._is_alive():
            failure = f"the disk did not answer for {CLOSE_S:.0f} s"
        if failure:
            raise RunError(f"the recording in {self.folder} could not be finished: {failure}")

    def unrecorded(self) -> str:
        """Return how much signal was lost to the recording and why, once it is closed; "" if none was."""
        with self._condition:
            lost_s, reason = self._status.lost_s, self._loss_reason or "nobody was there to record it"
        return f"{lost_s:.1f} s of signal were not recorded: {reason}" if lost_s else ""

    def step(self) -> None:
        """Write what was pushed; whatever goes wrong pauses the recording and nothing else.

        The thread calls it every `flush_s`; without a thread its user does.
        """
        with self._condition:
            batches, self._batches = self._batches, []
            own_events, self._own_events = self._own_events, []
            hurried = self._hurry
            self._status = replace(self._status, stepped_s=self._clock())
        try:
            self._take(batches, own_events)
            self._check_disk()
            if self._pause is None:
                self._writer.flush()
                self._writer.finish(SYNC_BUDGET_S)
                self._trim()
                self._sync()
        except (OSError, sqlite3.Error) as error:
            self._pause_for(disk_error_text(error))
        except Exception as error:  # a fault of ours must not end the recording without a word
            self._pause_for(f"internal error: {error!r}")
        with self._condition:
            self._bytes -= sum(estimate_bytes(messages, results) for messages, results, _ in batches)
            self._written += len(batches)
            self._hurry = self._hurry and not hurried
            self._publish()
            self._condition.notify_all()

    def _work(self) -> None:
        """The thread: a step every `flush_s`, or as soon as much waits, and the end."""
        due_s, closing = self._clock() + self._timing.flush_s, False
        while not closing:
            with self._condition:
                wait_s = max(0.0, due_s - self._clock())
                self._condition.wait_for(lambda: self._closing or self._hurry or self._bytes > EARLY_BYTES, wait_s)
                closing = self._closing
            due_s = self._clock() + self._timing.flush_s
            self.step()
        self._finish()

    def _finish(self) -> None:
        """Close the session."""
        with self._condition:
            own_events, self._own_events = self._own_events, []
        failure = ""
        try:
            self._take([], own_events)
            self._writer.close()
        except (OSError, sqlite3.Error) as error:
            failure = disk_error_text(error)
            self._writer.abandon()
        except Exception as error:  # a fault of ours must not end the thread without a word
            failure = f"internal error: {error!r}"
            self._writer.abandon()
        with self._condition:
            self._failure = failure
            self._loss_reason = failure or self._loss_reason
            self._publish()

    def _take(self, batches: Sequence[RecorderBatch], own_events: Iterable[tuple[Event, float]]) -> None:
        if batches:
            now_s = batches[-1][2]
            self._ahead_s = now_s - self._clock()
            messages = merge_chunks(message for messages, _, _ in batches for message in messages)
            results = [(item, at_s) for _, pushed, at_s in batches for item in pushed if not _is_own_event(item)]
            self._writer.take(messages, results, now_s, lose=self._pause is not None)
        for event, at_s in own_events:
            self._writer.take_event(event, at_s)

    def _check_disk(self) -> None:
        """Warn, pause and go on by the space that is left."""
        free = self._free = shutil.disk_usage(self.folder).free
        reserve = self._config.reserve_mb * MB
        if free < reserve and self._low is None:
            self._low = DiskSpaceChanged(str(self.folder), free, round(reserve / 5))
            self._announce(self._low)
        elif self._low is not None and free > reserve * RESUME_MARGIN:
            self._low = None
            self._announce(DiskSpaceChanged(str(self.folder), free, None))
        if self._pause is None and free < reserve / 5:
            self._writer.flush()
            self._pause_for(f"disk full: {format_megabytes(free)} left at {self.folder}")
        elif self._pause is not None and self._clock() >= self._retried_s + self._timing.retry_s:
            self._retried_s = self._clock()
            if free >= reserve / 5 * RESUME_MARGIN:
                self._try_again()

    def _pause_for(self, reason: str) -> None:
        if self._pause is None:
            self._paused_s = self._clock()
            self._pause = RecordingPaused(reason)
            self._announce(self._pause)
        self._pause_reason = reason
        with self._condition:
            self._loss_reason = reason
        self._retried_s = self._clock()
        self._writer.abandon()
        with contextlib.suppress(OSError, sqlite3.Error):
            self._writer.finish()

    def _try_again(self) -> None:
        """Try to write again. Raises OSError, sqlite3.Error if that still fails."""
        probe = self.folder / "probe.tmp"
        probe.unlink(missing_ok=True)  # it may be a link to somewhere else
        try:
            probe.write_bytes(b"\0" * PROBE_BYTES)
        finally:
            probe.unlink(missing_ok=True)
        self._writer.finish()
        self._pause = None
        self._announce(RecordingResumed(self._clock() - self._paused_s))

    def _trim(self) -> None:
        """Delete the oldest segments if the session takes more than its limit."""
        limit = round(self._config.limit_mb * MB)
        while limit and self._writer.stored > limit:
            deleted = self._writer.delete_oldest()
            if deleted or not self._is_trimmed_out:
                self._announce(RecordingTrimmed(limit, deleted))
            self._is_trimmed_out = not deleted
            if not deleted:
                return

    def _sync(self) -> None:
        older_s = self._config.sync_s - self._timing.flush_s
        self._writer.sync(older_s, SYNC_BUDGET_S)
        if self._clock() - self._checked_s >= older_s:
            self._checked_s = self._clock()
            self._writer.checkpoint()

    def _publish(self) -> None:
        """Let the monitor see where the writing stands; the caller holds the condition."""
        trouble = ""
        if self._pause is not None:
            trouble = f"recording paused: {self._pause_reason}"
        elif self._low is not None:
            trouble = f"disk almost full: {format_megabytes(self._low.free)} left at {self.folder}"
        self._status = replace(
            self._status,
            written=self._writer.stored,
            free=self._free,
            lost_s=self._writer.lost_s,
            is_paused=self._pause is not None,
            trouble=trouble,
            standing=self._pause or self._low,
        )

    def _announce(self, event: Event, at_s: float | None = None) -> None:
        """Have an event written and shown; without `at_s` it happens now."""
        with self._condition:
            self._own_events.append((event, self._clock() + self._ahead_s if at_s is None else at_s))
            self._news.append(event)
            del self._news[:-MOST_NEWS]

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()


def _is_own_event(item: Result) -> bool:
    """Return whether an event came from the recording itself, which has written it."""
    return getattr(item, "kind", "") == "record"
