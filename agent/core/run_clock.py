"""When the samples of a run were measured, by the stamps that the device put on its packets."""

from collections.abc import Sequence

from agent.core.messages import BedsChunk, Chunk, Signals, StreamedRun
from model.records.resample import FS

KEPT_RUNS = 2
"""Runs of a bed that are known: results of the one before may still come."""
MOST_DRIFT = 1e-4
"""Share by which the device's own clock may be slow: more than that is a packet that was late."""
RESTART_S = 0.5
"""Lateness beyond which the device itself stood still: its later samples were measured later, too."""


class RunClock:
    """The time of every sample of every bed, smooth to much less than a packet.

    Packets leave the device a little late, never early: the earliest one says when its samples were measured. A device
    that sends a record faster than real time measures nothing; the times of its samples are those of their sending.
    """

    def __init__(self) -> None:
        self._origins: dict[str, dict[str, float]] = {}
        """Unix time of sample 0, by bed and run."""

    def follow(self, messages: Sequence[object]) -> None:
        """Take the stamps of the chunks among the messages; by their arrival where the device's clock is not known."""
        for message in messages.together if isinstance(messages, Signals) else messages:
            if isinstance(message, Chunk):
                self._note(message, message.first, len(message.counts), message)
            elif isinstance(message, BedsChunk):
                for run, first in zip(message.runs, message.firsts, strict=True):
                    self._note(run, first, message.samples, message)

    def time_of(self, bed: str, run: str, sample: int) -> float | None:
        """Return the Unix time of a sample at 125 Hz; None for a run of which nothing has come."""
        origin_s = self._origins.get(bed, {}).get(run)
        return None if origin_s is None else origin_s + sample / FS

    def starts(self, bed: str) -> tuple[tuple[str, float], ...]:
        """Return the latest runs of a bed, each with the Unix time of its sample 0."""
        return tuple(self._origins.get(bed, {}).items())

    def _note(self, of: StreamedRun, first: int, samples: int, stamped: Chunk | BedsChunk) -> None:
        stamp_s = stamped.sent_s or stamped.arrived_s
        if not stamp_s:
            return
        fs, run = of.fs, of.run
        runs = self._origins.get(of.bed)
        if runs is None:
            runs = self._origins[of.bed] = {}
        origin_s = stamp_s - (first + samples) / fs
        known_s = runs.get(run)
        if known_s is None:
            while len(runs) >= KEPT_RUNS:
                del runs[next(iter(runs))]
        elif not (stamped.sent_s and origin_s > known_s + RESTART_S):
            origin_s = min(origin_s, known_s + MOST_DRIFT * samples / fs)
        runs[run] = origin_s
