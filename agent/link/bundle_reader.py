"""Takes bundles, the packets of many beds in one message: what is usual as rows of one matrix, the rest as packets.

The device describes each run once, for all who know bundles. Whoever meets a run that was not described to it, since
that message was lost, takes its subscription to bundles back and subscribes again: the device then describes all.
What could not be read meanwhile is fetched as what was lost on the way.
"""

from collections.abc import Sequence, Set
from typing import NamedTuple, cast

import zmq

from agent.link.bed_part import MOST_OTHERS, WatchedBeds
from agent.link.bed_streams import BedStreams
from agent.link.chunk_assembler import ChunkAssembler
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.bundles import BUNDLE_TOPIC, Bundle, DescribedRun, is_bundle, parse_bundle, parse_descriptions
from agent.wire.packets import Packet
from model.errors import FrameError

MOST_GROUPS = 256
"""Sets of beds that are sent together and remembered."""
ASK_S, LONGEST_ASK_S = 1.0, 60.0
"""Pause between two times that descriptions are asked for again, and to what it doubles where they bring nothing."""


class ReadBundle(NamedTuple):
    """What became of a bundle whose beds have `row_bytes` bytes of samples each.

    `taken`: runs whose samples followed on the last ones and are on their way; `packet_s` seconds each, at most.
    `unusual`: the packets of the other beds, for the ordinary way.
    """

    taken: list[DescribedRun]
    row_bytes: int
    packet_s: float
    unusual: list[tuple[Packet, DescribedRun]]


class _BundledBeds(NamedTuple):
    """The beds of a bundle: run and rate of each, None and 1 where they are not known.

    `buffers`: the buffer of each bed, None where it has none, or is in another run; `lowest_fs`: the lowest rate of
    those that have one.
    """

    runs: list[DescribedRun | None]
    rates: list[float]
    lowest_fs: float
    buffers: list[ReorderBuffer | None]
    rows: list[int] | None = None
    """The rows of the bundle that these are, if other monitors watch the others."""


class BundleReader:
    """The runs that a device has described, of `most_beds` beds at most, and the way of a bundle into their buffers."""

    def __init__(self, socket: "zmq.Socket[bytes]", streams: BedStreams, watched: WatchedBeds, most_beds: int) -> None:
        self._socket = socket
        self._streams = streams
        self._watched = watched
        self._most_beds = most_beds
        self._session = -1
        """Number of the start of the device that described them."""
        self._runs: dict[int, DescribedRun] = {}
        self._numbers: dict[str, int] = {}
        """The number of the latest run of each bed."""
        self._elsewhere: set[int] = set()
        """Numbers of runs of beds that other monitors watch."""
        self._learned = 0
        """How many were learned."""
        self._groups: dict[tuple[int, bytes], _BundledBeds] = {}
        """The beds of the latest bundles, by the number of leads and those of the runs, ..."""
        self._groups_state = (0, 0, 0, 0)
        """... as long as these stay the same: session of the device and of what is known, runs and buffers."""
        self._asked_s = 0.0
        self._pause_s = ASK_S

    def read(
        self, frames: Sequence[bytes], overloaded: Set[bytes], now_s: float, out: ChunkAssembler
    ) -> ReadBundle | None:
        """Take a message of the topic of bundles; None where it is no bundle, or is rejected.

        `overloaded`: names of beds whose packets are not usual.
        """
        try:
            if not is_bundle(frames):
                self._learn(frames, now_s, out)
                return None
            bundle = parse_bundle(frames)
            group = self._find_group(bundle)
        except FrameError as error:
            self._streams.reject(str(error), out, now_s)
            return None
        if group.rows is not None:
            bundle = bundle.select(group.rows)
        taken, others = self._advance(bundle, group, overloaded, now_s, out)
        unusual = self._make_packets(bundle, group, others, now_s, out) if others else []
        return ReadBundle(taken, bundle.row_bytes, bundle.samples / group.lowest_fs, unusual)

    def _find_group(self, bundle: Bundle) -> _BundledBeds:
        """Return the beds of a bundle: the same ones are sent together again and again."""
        state = bundle.session, self._session, self._learned, self._streams.changes
        if state != self._groups_state or len(self._groups) >= MOST_GROUPS:
            self._groups.clear()
            self._groups_state = state
        key = bundle.leads, bundle.packed_numbers
        group = self._groups.get(key)
        if group is None:
            is_known = bundle.session == self._session
            known, elsewhere = (self._runs, self._elsewhere) if is_known else ({}, set())
            numbers = bundle.numbers()
            rows = [row for row, number in enumerate(numbers) if number not in elsewhere]
            group = _group_beds([known.get(numbers[row]) for row in rows], self._streams, bundle.leads)
            if len(rows) < len(numbers):
                group = group._replace(rows=rows)
            self._groups[key] = group
        return group

    def _advance(
        self, bundle: Bundle, group: _BundledBeds, overloaded: Set[bytes], now_s: float, out: ChunkAssembler
    ) -> tuple[list[DescribedRun], list[int]]:
        """Take the rows of the beds in which nothing is missing; return their runs, and the places of the others."""
        samples, sample_bytes = bundle.samples, bundle.row_bytes / bundle.samples
        settling = self._streams.settling()
        if overloaded or settling:
            usual = [
                run is not None and buffer is not None and run.bed not in settling and run.name not in overloaded
                for run, buffer in zip(group.runs, group.buffers, strict=True)
            ]
            buffers = [buffer if may else None for buffer, may in zip(group.buffers, usual, strict=True)]
        else:
            buffers = group.buffers
        others = [
            place
            for place, (buffer, first, fs) in enumerate(zip(buffers, bundle.firsts, group.rates, strict=True))
            if buffer is None or not buffer.advance(first, samples, fs, sample_bytes, now_s)
        ]
        counts = bundle.unpack()
        runs: Sequence[DescribedRun | None] = group.runs
        firsts: Sequence[int] = bundle.firsts
        sequences: Sequence[int] = bundle.sequences
        if others:
            left = set(others)
            places = [place for place in range(len(firsts)) if place not in left]
            counts, runs = counts[places], [runs[place] for place in places]
            firsts = [firsts[place] for place in places]
            sequences = [sequences[place] for place in places]
        taken = cast(list[DescribedRun], runs)  # those without a description have no buffer
        out.add_together(taken, firsts, sequences, bundle.sent_s, counts)
        return taken, others

    def _make_packets(
        self, bundle: Bundle, group: _BundledBeds, places: list[int], now_s: float, out: ChunkAssembler
    ) -> list[tuple[Packet, DescribedRun]]:
        """Return the packets of some beds of a bundle; ask for descriptions where they lack."""
        packets: list[tuple[Packet, DescribedRun]] = []
        unknown = 0
        for place in places:
            run = group.runs[place]
            if run is None:
                unknown += 1
                continue
            try:
                packets.append((bundle.packet(place, run), run))
            except FrameError as error:
                self._streams.reject(str(error), out, now_s, run.name)
        if unknown:
            self._streams.reject("samples of a run that was not described", out, now_s, packets=unknown)
            self._ask(now_s)
        return packets

    def _learn(self, frames: Sequence[bytes], now_s: float, out: ChunkAssembler) -> None:
        """Note the runs that a message describes."""
        session, described = parse_descriptions(frames)
        if session != self._session:
            self._session = session
            self._learned += 1
            self._runs.clear()
            self._numbers.clear()
            self._elsewhere.clear()
        forgets = True
        for run in described:
            if isinstance(run, FrameError):
                self._streams.reject(str(run), out, now_s)
                continue
            if not self._watched.has(run.bed):
                self._note_elsewhere(run)
                continue
            self._elsewhere.discard(run.number)
            if run.bed not in self._numbers and len(self._runs) >= self._most_beds:
                if forgets:
                    forgets = False
                    self._forget_unwatched()
                if len(self._runs) >= self._most_beds:
                    self._streams.reject(f"more than {self._most_beds} beds are described", out, now_s)
                    continue
            if self._runs.get(run.number) != run:
                self._note(run)
                self._pause_s = ASK_S

    def _note_elsewhere(self, run: DescribedRun) -> None:
        """Note that other monitors watch the bed of a run."""
        self._watched.note_other(run.bed, False)
        if run.number not in self._elsewhere and len(self._elsewhere) < MOST_OTHERS:
            self._elsewhere.add(run.number)
            self._runs.pop(run.number, None)
            self._learned += 1

    def _note(self, run: DescribedRun) -> None:
        """Note a run, in the place of the bed's earlier one and of what had its number."""
        before = self._runs.pop(self._numbers.get(run.bed, -1), None)
        same = self._runs.pop(run.number, None)
        for gone in (before, same):
            if gone is not None:
                self._numbers.pop(gone.bed, None)
        self._runs[run.number] = run
        self._numbers[run.bed] = run.number
        self._learned += 1

    def _forget_unwatched(self) -> None:
        """Forget the runs of beds that are not watched."""
        watched = self._streams.buffers
        self._runs = {number: run for number, run in self._runs.items() if run.bed in watched}
        self._numbers = {run.bed: number for number, run in self._runs.items()}
        self._learned += 1

    def _ask(self, now_s: float) -> None:
        """Let the device describe all runs again, unless that was just asked for."""
        if abs(now_s - self._asked_s) >= self._pause_s:
            self._asked_s = now_s
            self._pause_s = min(2 * self._pause_s, LONGEST_ASK_S)
            self._socket.unsubscribe(BUNDLE_TOPIC)
            self._socket.subscribe(BUNDLE_TOPIC)


def _group_beds(runs: list[DescribedRun | None], streams: BedStreams, leads: int) -> _BundledBeds:
    """Return the beds of a bundle of so many leads."""
    rates = [1.0 if run is None else run.fs for run in runs]
    buffers = [None if run is None or len(run.leads) != leads else streams.find_run(run.bed, run.run) for run in runs]
    known = [fs for fs, buffer in zip(rates, buffers, strict=True) if buffer is not None]
    return _BundledBeds(runs, rates, min(known, default=1.0), buffers)
