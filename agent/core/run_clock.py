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
"""Lateness beyond which the device may have measured nothing for a while, and its later samples later, ..."""
CONFIRM_S = 0.5
"""... if for this time they come no faster than they are measured, ..."""
MOST_PACE = 1.5
"""... or hardly. Whoever only did not send for a while sends what it has measured meanwhile faster."""
FEWEST_TOGETHER = 8
"""Runs that come together from which on it pays to take them at once."""
MOST_GROUPS = 256
"""Lists of runs that come together and are remembered."""


class _RunsTogether(NamedTuple):
    """Runs that come together, where the origin of each is kept, and their rates in hertz."""

    runs: Sequence[StreamedRun]
    places: NDArray[np.intp]
    rates: NDArray[np.float64]


class _Lateness(NamedTuple):
    """Since when a run is late: stamp and end, in seconds of signal, of that packet; and the earliest origin since."""

    since_s: float
    at_s: float
    earliest_s: float


class RunClock:
    """The time of every sample of every bed, smooth to much less than a packet.

    Packets leave the device a little late, never early: the earliest one says when its samples were measured. A device
    that sends a record faster than real time measures nothing; the times of its samples are those of their sending. One
    that goes on after a pause in which it measured nothing has later times from then on; one that hung, and sends what
    it measured meanwhile, has not.
    """

    def __init__(self) -> None:
        self._places: dict[str, dict[str, int]] = {}
        """Where the origin of a run is kept, by bed and run."""
        self._origins = np.zeros(1)
        """Unix times of sample 0."""
        self._late: dict[int, _Lateness] = {}
        """Of the runs that are late, by the places of their origins."""
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
        runs = self._places.get(of.bed)
        if runs is None:
            runs = self._places[of.bed] = {}
        place = runs.get(of.run)
        if place is None:
            while len(runs) >= KEPT_RUNS:
                self._free.append(runs.pop(next(iter(runs))))
                self._groups.clear()
            place = runs[of.run] = self._take_place()
            self._origins[place] = stamp_s - (first + samples) / of.fs
            self._late.pop(place, None)
        self._follow(place, (first + samples) / of.fs, samples / of.fs, stamped)

    def _note_together(self, group: _RunsTogether, chunk: BedsChunk) -> None:
        """Do what `_note` does for each of some runs."""
        stamp_s = chunk.sent_s or chunk.arrived_s
        if not stamp_s:
            return
        ends_s, last_s = (np.array(chunk.firsts, np.float64) + chunk.samples) / group.rates, chunk.samples / group.rates
        origins_s, known_s = stamp_s - ends_s, self._origins[group.places]
        if self._late or (chunk.sent_s and (origins_s > known_s + RESTART_S).any()):
            for place, end_s, lasts_s in zip(group.places.tolist(), ends_s.tolist(), last_s.tolist(), strict=True):
                self._follow(place, end_s, lasts_s, chunk)
        else:
            self._origins[group.places] = np.minimum(origins_s, known_s + MOST_DRIFT * last_s)

    def _follow(self, place: int, end_s: float, lasts_s: float, stamped: Chunk | BedsChunk) -> None:
        """Follow a run whose latest samples, of `lasts_s` seconds, end `end_s` seconds after its first one."""
        stamp_s, known_s = stamped.sent_s or stamped.arrived_s, self._origins.item(place)
        origin_s = stamp_s - end_s
        if not (stamped.sent_s and origin_s > known_s + RESTART_S):
            self._late.pop(place, None)
            self._origins[place] = min(origin_s, known_s + MOST_DRIFT * lasts_s)
            return
        late = self._late.get(place, _Lateness(stamp_s, end_s, origin_s))
        late = late._replace(earliest_s=min(late.earliest_s, origin_s))
        lasted_s = stamp_s - late.since_s
        if lasted_s < CONFIRM_S:
            self._late[place] = late
        elif end_s - late.at_s <= MOST_PACE * lasted_s:
            self._origins[place] = late.earliest_s
            del self._late[place]
        else:
            self._late[place] = _Lateness(stamp_s, end_s, origin_s)

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
