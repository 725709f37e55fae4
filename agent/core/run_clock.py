"""When the samples of a run were measured, by the stamps that the device put on its packets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import BedsChunk, Chunk, Signals, StreamedRun
from model.records.resample import FS

KEPT_RUNS = 2
"""Runs of a bed that are known: results of the one before may still come."""
MOST_DRIFT = 1e-4
"""Share by which the device's own clock may be slow: more than that is a packet that was late."""
RESTART_S = 0.5
"""Lateness beyond which the device itself stood still: its later samples were measured later, too."""


FEWEST_TOGETHER = 8
"""Runs that come together from which on it pays to take them at once."""
MOST_GROUPS = 256
"""Lists of runs that come together and are remembered."""


class _RunsTogether(NamedTuple):
    """Runs that come together, where the origin of each is kept, and their rates in hertz."""

    runs: Sequence[StreamedRun]
    places: NDArray[np.intp]
    rates: NDArray[np.float64]


class RunClock:
    """The time of every sample of every bed, smooth to much less than a packet.

    Packets leave the device a little late, never early: the earliest one says when its samples were measured. A device
    that sends a record faster than real time measures nothing; the times of its samples are those of their sending.
    """

    def __init__(self) -> None:
        self._places: dict[str, dict[str, int]] = {}
        """Where the origin of a run is kept, by bed and run."""
        self._origins = np.zeros(1)
        """Unix times of sample 0."""
        self._free: list[int] = []
        """Places of runs that are no longer known."""
        self._groups: dict[int, _RunsTogether] = {}
        """By the identity of their list."""

    def follow(self, messages: Sequence[object]) -> None:
        """Take the stamps of the chunks among the messages; by their arrival where the device's clock is not known."""
        for message in messages.together if isinstance(messages, Signals) else messages:
            if isinstance(message, Chunk):
                self._note(message, message.first, len(message.counts), message)
            elif isinstance(message, BedsChunk):
                group = self._groups.get(id(message.runs))
                if group is not None:
                    self._note_together(group, message)
                    continue
                for run, first in zip(message.runs, message.firsts, strict=True):
                    self._note(run, first, message.samples, message)
                self._remember(message.runs)

    def time_of(self, bed: str, run: str, sample: int) -> float | None:
        """Return the Unix time of a sample at 125 Hz; None for a run of which nothing has come."""
        place = self._places.get(bed, {}).get(run)
        return None if place is None else self._origins.item(place) + sample / FS

    def starts(self, bed: str) -> tuple[tuple[str, float], ...]:
        """Return the latest runs of a bed, each with the Unix time of its sample 0."""
        return tuple((run, self._origins.item(place)) for run, place in self._places.get(bed, {}).items())

    def _note(self, of: StreamedRun, first: int, samples: int, stamped: Chunk | BedsChunk) -> None:
        stamp_s = stamped.sent_s or stamped.arrived_s
        if not stamp_s:
            return
        fs, run = of.fs, of.run
        runs = self._places.get(of.bed)
        if runs is None:
            runs = self._places[of.bed] = {}
        origin_s = stamp_s - (first + samples) / fs
        place = runs.get(run)
        if place is None:
            while len(runs) >= KEPT_RUNS:
                self._free.append(runs.pop(next(iter(runs))))
                self._groups.clear()
            place = runs[run] = self._take_place()
        else:
            known_s = self._origins.item(place)
            if not (stamped.sent_s and origin_s > known_s + RESTART_S):
                origin_s = min(origin_s, known_s + MOST_DRIFT * samples / fs)
        self._origins[place] = origin_s

    def _note_together(self, group: _RunsTogether, chunk: BedsChunk) -> None:
        """Do what `_note` does for each of some runs."""
        stamp_s, samples = chunk.sent_s or chunk.arrived_s, chunk.samples
        if not stamp_s:
            return
        origins_s = stamp_s - (np.array(chunk.firsts, np.float64) + samples) / group.rates
        known_s = self._origins[group.places]
        followed_s = np.minimum(origins_s, known_s + MOST_DRIFT * samples / group.rates)
        if chunk.sent_s:
            followed_s = np.where(origins_s > known_s + RESTART_S, origins_s, followed_s)
        self._origins[group.places] = followed_s

    def _remember(self, runs: Sequence[StreamedRun]) -> None:
        """Remember runs that come together, if all of them are known now."""
        known = [self._places.get(run.bed, {}).get(run.run) for run in runs]
        places = [place for place in known if place is not None]
        if FEWEST_TOGETHER <= len(places) == len(runs):
            if len(self._groups) >= MOST_GROUPS:
                self._groups.clear()
            rates = np.array([run.fs for run in runs], np.float64)
            self._groups[id(runs)] = _RunsTogether(runs, np.array(places, np.intp), rates)

    def _take_place(self) -> int:
        """Return a place that is free."""
        if not self._free:
            count = len(self._origins)
            self._free = list(range(2 * count - 1, count - 1, -1))
            self._origins = np.concatenate([self._origins, np.zeros(count)])
        return self._free.pop()
