"""Puts packets that are due together into bundles (`agent.wire.bundles`), and describes the runs that are in them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from secrets import randbits
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from agent.core.messages import Chunk, End
from agent.wire.bundles import (
    LARGEST_NUMBER,
    MOST_BUNDLED,
    Bundle,
    encode_bundle,
    encode_description,
    encode_descriptions,
    pack_numbers,
)
from agent.wire.packets import LARGEST_PAYLOAD_BYTES, PacketCutter

DESCRIPTION_BYTES = 2**18
"""Bytes of descriptions in a message, about."""
LEAST_BUNDLED = 4
"""A bundle of fewer beds costs a monitor as much as their packets of version 1."""


class DuePacket(Protocol):
    """What is due of a bed: the samples `start` to `stop` of `message`, packet `sequence` of the run; or an End.

    `cutter` cuts them; it is None where `message` is an End.
    """

    @property
    def message(self) -> Chunk | End: ...
    @property
    def cutter(self) -> PacketCutter | None: ...
    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...
    @property
    def sequence(self) -> int: ...

    def frames(self, sent_s: float) -> list[bytes]:
        """Return the frames of version 1."""
        ...


P = TypeVar("P", bound=DuePacket)


class SentTogether(NamedTuple, Generic[P]):
    """Packets that go in one message, and its frames."""

    packets: list[P]
    frames: list[bytes]


class _NumberedRun(NamedTuple):
    cutter: PacketCutter
    number: int


class BundleWriter:
    """Numbers the runs of one start of a device, and says which of them must be described before they are sent."""

    def __init__(self) -> None:
        self._session = randbits(32)
        self._next = 0
        self._runs: dict[bytes, _NumberedRun] = {}
        """The latest run of each bed."""
        self._undescribed: dict[bytes, None] = {}
        """Beds whose latest run is to be described."""

    def describe_all(self) -> None:
        """Describe every run again: a monitor is there that knows none of them."""
        self._undescribed = dict.fromkeys(self._runs)

    def write(self, packets: Sequence[P], sent_s: float) -> Iterator[SentTogether[P]]:
        """Yield the messages for packets that are due together, one of a bed at most; their runs are numbered.

        Whoever sends them sends the descriptions first.
        """
        groups: dict[tuple[int, int, Literal["int16", "int32"]], tuple[list[P], list[PacketCutter], list[bytes]]] = {}
        for packet in packets:
            cutter, start, stop = packet.cutter, packet.start, packet.stop
            if cutter is None:
                yield SentTogether([packet], packet.frames(sent_s))
                continue
            dtype, payload = cutter.pack(start, stop)
            key = stop - start, cutter.width, dtype
            group = groups.get(key)
            if group is None:
                group = groups[key] = [], [], []
            group[0].append(packet)
            group[1].append(cutter)
            group[2].append(payload)
        for (count, leads, dtype), (members, cutters, payloads) in groups.items():
            most = max(1, min(MOST_BUNDLED, LARGEST_PAYLOAD_BYTES // len(payloads[0])))
            for at in range(0, len(members), most):
                some = members[at : at + most]
                if len(some) < LEAST_BUNDLED:
                    for packet in some:
                        yield SentTogether([packet], packet.frames(sent_s))
                    continue
                own = cutters[at : at + most]
                bundle = Bundle(
                    session=self._session,
                    dtype=dtype,
                    leads=leads,
                    samples=count,
                    sent_s=sent_s,
                    packed_numbers=pack_numbers([self._number(cutter) for cutter in own]),
                    sequences=tuple([packet.sequence for packet in some]),
                    firsts=tuple([cutter.first + packet.start for cutter, packet in zip(own, some, strict=True)]),
                    payload=b"".join(payloads[at : at + most]),
                )
                yield SentTogether(some, encode_bundle(bundle))

    def descriptions(self) -> list[bytes] | None:
        """Return the frames of the next message of descriptions, None where nothing is to be described."""
        return self._described()[1] if self._undescribed else None

    def note_described(self) -> None:
        """Note that that message was sent."""
        for bed in self._described()[0]:
            del self._undescribed[bed]

    def _number(self, cutter: PacketCutter) -> int:
        """Return the number of the run, leads and rate of a packet, a new one where it was not known."""
        known = self._runs.get(cutter.bed)
        if known is not None:
            if known.cutter is cutter:
                return known.number
            if (known.cutter.run, known.cutter.fs) == (cutter.run, cutter.fs) and known.cutter.leads == cutter.leads:
                self._runs[cutter.bed] = _NumberedRun(cutter, known.number)
                return known.number
        number = self._next
        self._next = number + 1 & LARGEST_NUMBER
        self._runs[cutter.bed] = _NumberedRun(cutter, number)
        self._undescribed[cutter.bed] = None
        return number

    def _described(self) -> tuple[list[bytes], list[bytes]]:
        """Return the beds that the next message describes, and its frames."""
        beds: list[bytes] = []
        texts: list[bytes] = []
        size = 0
        for bed in islice(self._undescribed, MOST_BUNDLED):
            cutter, number = self._runs[bed]
            text = encode_description(number, bed.decode(), cutter.run, cutter.fs, cutter.leads)
            if texts and size + len(text) > DESCRIPTION_BYTES:
                break
            beds.append(bed)
            texts.append(text)
            size += len(text)
        return beds, encode_descriptions(self._session, texts)


def send_each(send: Callable[[Sequence[bytes]], bool], packets: Sequence[P], sent_s: float) -> list[P]:
    """Send packets one by one, in messages of version 1, by `send`; return those from the first without room on."""
    for place, packet in enumerate(packets):
        if not send(packet.frames(sent_s)):
            return list(packets[place:])
    return []
