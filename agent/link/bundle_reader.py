"""Takes bundles, the packets of many beds in one message: what is usual as rows of one matrix, the rest as packets.

The device describes each run once, for all who know bundles. Whoever meets a run that was not described to it, since
that message was lost, takes its subscription to bundles back and subscribes again: the device then describes all.
What could not be read meanwhile is fetched as what was lost on the way.
"""

from collections.abc import Sequence, Set
from typing import NamedTuple

import zmq

from agent.link.bed_streams import BedStreams
from agent.link.chunk_assembler import ChunkAssembler
from agent.wire.bundles import BUNDLE_TOPIC, Bundle, DescribedRun, is_bundle, parse_bundle, parse_descriptions
from agent.wire.packets import Packet
from model.errors import FrameError

LARGEST_SHARED_BYTES = 2**16
"""Up to this size the samples of all beds stay together; of a larger bundle each bed gets a copy, so that one bed whose
samples wait does not keep those of all in memory."""
ASK_S, LONGEST_ASK_S = 1.0, 60.0
"""Pause between two times that descriptions are asked for again, and to what it doubles where they bring nothing."""


class ReadBundle(NamedTuple):
    """What became of a bundle whose beds have `row_bytes` bytes of samples each.

    `taken`: runs whose samples followed on the last ones and are on their way; `packet_s` seconds at most. `unusual`:
    the packets of the other beds, for the ordinary way.
    """

    taken: list[DescribedRun]
    row_bytes: int
    packet_s: float
    unusual: list[tuple[Packet, DescribedRun]]


class BundleReader:
    """The runs that a device has described, of `most_beds` beds at most, and the way of a bundle into their buffers."""

    def __init__(self, socket: "zmq.Socket[bytes]", streams: BedStreams, most_beds: int) -> None:
        self._socket = socket
        self._streams = streams
        self._most_beds = most_beds
        self._session = -1
        """Number of the start of the device that described them."""
        self._runs: dict[int, DescribedRun] = {}
        self._numbers: dict[str, int] = {}
        """The number of the latest run of each bed."""
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
        except FrameError as error:
            self._streams.reject(str(error), out, now_s)
            return None
        runs = self._runs if bundle.session == self._session else {}
        described = [runs.get(number) for number in bundle.numbers]
        taken, others = self._advance(bundle, described, overloaded, now_s, out)
        unusual = self._make_packets(bundle, described, others, now_s, out) if others else []
        packet_s = bundle.samples / min([run.fs for run in taken]) if taken else 0.0
        return ReadBundle(taken, bundle.row_bytes, packet_s, unusual)

    def _advance(
        self,
        bundle: Bundle,
        described: list[DescribedRun | None],
        overloaded: Set[bytes],
        now_s: float,
        out: ChunkAssembler,
    ) -> tuple[list[DescribedRun], list[int]]:
        """Take the rows of the beds in which nothing is missing; return their runs, and the numbers of the others."""
        counts = bundle.unpack()
        rows = counts if counts.nbytes <= LARGEST_SHARED_BYTES else [row.copy() for row in counts]
        buffers = self._streams.buffers
        settling = self._streams.settling()
        count, leads, sent_s = bundle.samples, bundle.leads, bundle.sent_s
        sample_bytes = bundle.row_bytes / count
        taken: list[DescribedRun] = []
        others: list[int] = []
        for place, (run, first, sequence, row) in enumerate(
            zip(described, bundle.firsts, bundle.sequences, rows, strict=True)
        ):
            buffer = buffers.get(run.bed) if run is not None else None
            if (
                run is None
                or buffer is None
                or buffer.run != run.run
                or len(run.leads) != leads
                or run.bed in settling
                or run.name in overloaded
                or not buffer.advance(first, count, run.fs, now_s)
            ):
                others.append(place)
                continue
            buffer.sample_bytes = sample_bytes
            taken.append(run)
            out.add_row(run, first, sequence, sent_s, row)
        return taken, others

    def _make_packets(
        self,
        bundle: Bundle,
        described: list[DescribedRun | None],
        places: list[int],
        now_s: float,
        out: ChunkAssembler,
    ) -> list[tuple[Packet, DescribedRun]]:
        """Return the packets of some beds of a bundle; ask for descriptions where they lack."""
        packets: list[tuple[Packet, DescribedRun]] = []
        unknown = 0
        for place in places:
            run = described[place]
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
            self._runs.clear()
            self._numbers.clear()
        had_room = True
        for run in described:
            if isinstance(run, FrameError):
                self._streams.reject(str(run), out, now_s)
                continue
            if run.bed not in self._numbers and len(self._runs) >= self._most_beds:
                had_room = had_room and self._forget_unwatched()
                if not had_room:
                    self._streams.reject(f"more than {self._most_beds} beds are described", out, now_s)
                    continue
            if self._runs.get(run.number) != run:
                self._note(run)
                self._pause_s = ASK_S

    def _note(self, run: DescribedRun) -> None:
        """Note a run, in the place of the bed's earlier one and of what had its number."""
        before = self._runs.pop(self._numbers.get(run.bed, -1), None)
        same = self._runs.pop(run.number, None)
        for gone in (before, same):
            if gone is not None:
                self._numbers.pop(gone.bed, None)
        self._runs[run.number] = run
        self._numbers[run.bed] = run.number

    def _forget_unwatched(self) -> bool:
        """Forget the runs of beds that are not watched; return whether there is room then."""
        watched = self._streams.buffers
        self._runs = {number: run for number, run in self._runs.items() if run.bed in watched}
        self._numbers = {run.bed: number for number, run in self._runs.items()}
        return len(self._runs) < self._most_beds

    def _ask(self, now_s: float) -> None:
        """Let the device describe all runs again, unless that was just asked for."""
        if abs(now_s - self._asked_s) >= self._pause_s:
            self._asked_s = now_s
            self._pause_s = min(2 * self._pause_s, LONGEST_ASK_S)
            self._socket.unsubscribe(BUNDLE_TOPIC)
            self._socket.subscribe(BUNDLE_TOPIC)
