"""Version 2 of the wire: the packets of many beds in one message, for monitors that know it. No state in here.

A bundle is a binary head with arrays, and the counts of all its beds. What a packet of version 1 says of itself is said
once for each run, in a message of descriptions. `docs/wire.md` specifies both; the limits below are those given there.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from agent.core.messages import Lead
from agent.wire.packets import (
    DTYPE_BYTES,
    LARGEST_INDEX,
    LARGEST_PAYLOAD_BYTES,
    LONGEST_REASON,
    MOST_LEADS,
    MOST_PACKET_SAMPLES,
    Packet,
    SamplesHeader,
    SamplingRate,
    WireText,
    decode_bed_name,
    leads_from_json,
    reject_unprintable_text,
    unpack_counts,
)
from model.errors import FrameError
from model.text import make_printable

BUNDLE_VERSION: Literal[2] = 2
BUNDLE_TOPIC = b"\x00ecg 2"
"""First frame of these messages, and what a monitor that knows them subscribes to: no bed can be called so."""
MOST_BUNDLED = 4096
"""Beds in a bundle, and descriptions in a message, at most."""
LARGEST_NUMBER = 2**32 - 1
LATEST_S = 1e12
"""The latest Unix time of sending."""
DTYPES: dict[int, Literal["int16", "int32"]] = {2: "int16", 4: "int32"}
"""The dtype of a count by its bytes."""
HEADER_BYTES = 200
"""Bytes of a header of version 1 beside the name of its bed and its leads, about."""
_HEAD = struct.Struct("<BBHIIId")
"""Version, bytes of a count, leads, samples of each lead, beds, session, Unix time of sending."""
_BED_BYTES = 20
LARGEST_HEAD_BYTES = _HEAD.size + MOST_BUNDLED * _BED_BYTES
_NO_JSON = msgspec.Raw(b"[]")

WireNumber = Annotated[int, Meta(ge=0, le=LARGEST_NUMBER)]


class _Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the packets of a run have in common; `number` stands for it in bundles."""

    number: WireNumber
    bed: Annotated[str, Meta(min_length=1, max_length=64)]
    run: WireText
    fs: SamplingRate
    leads: msgspec.Raw


class _Descriptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="runs"):
    """Descriptions of some runs, each raw JSON: one that is malformed is no reason to reject the others."""

    v: Literal[2]
    session: WireNumber
    runs: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_BUNDLED)]


class DescribedRun(NamedTuple):
    """A run by the `number` that stands for it. `name`: its bed's, in bytes; `head_bytes` of a packet, about."""

    number: int
    bed: str
    run: str
    fs: float
    leads: tuple[Lead, ...]
    name: bytes
    head_bytes: int


class Bundle(NamedTuple):
    """Packets of many beds that were sent together: `packed_numbers`, `sequences`, `firsts` and the rows of `payload`.

    All have `samples` samples of each of `leads` leads of `dtype`. `session`: number of the start of the device.
    """

    session: int
    dtype: Literal["int16", "int32"]
    leads: int
    samples: int
    sent_s: float
    packed_numbers: bytes
    sequences: tuple[int, ...]
    firsts: tuple[int, ...]
    payload: bytes

    def numbers(self) -> tuple[int, ...]:
        """Return the number of the run of each bed. Raises FrameError where one comes twice."""
        numbers: tuple[int, ...] = struct.unpack(f"<{len(self.firsts)}I", self.packed_numbers)
        if len(set(numbers)) < len(numbers):
            raise FrameError("a bundle with two packets of a bed")
        return numbers

    @property
    def row_bytes(self) -> int:
        """Bytes of the counts of a bed."""
        return self.samples * self.leads * DTYPE_BYTES[self.dtype]

    def select(self, rows: list[int]) -> "Bundle":
        """Return the bundle of some of its beds."""
        counts = np.frombuffer(self.payload, np.uint8).reshape(-1, self.row_bytes)
        return self._replace(
            packed_numbers=np.frombuffer(self.packed_numbers, "<u4")[rows].tobytes(),
            sequences=tuple([self.sequences[row] for row in rows]),
            firsts=tuple([self.firsts[row] for row in rows]),
            payload=counts[rows].tobytes(),
        )

    def unpack(self) -> NDArray[np.int32]:
        """Return the counts (beds, samples, leads), MISSING where there is no value."""
        return unpack_counts(self.payload, self.dtype).reshape(-1, self.samples, self.leads)

    def packet(self, row: int, run: DescribedRun) -> Packet:
        """Return the packet of a bed. Raises FrameError where the run has other leads."""
        if len(run.leads) != self.leads:
            raise FrameError(f"a bundle of {self.leads} leads with a run of {len(run.leads)}")
        header = SamplesHeader(
            v=1,
            run=run.run,
            sequence=self.sequences[row],
            first=self.firsts[row],
            count=self.samples,
            fs=run.fs,
            dtype=self.dtype,
            sent=self.sent_s,
            leads=_NO_JSON,
        )
        return Packet(run.bed, header, run.leads, self.payload[row * self.row_bytes : (row + 1) * self.row_bytes])


_descriptions: msgspec.json.Decoder[_Descriptions] = msgspec.json.Decoder(_Descriptions)
_description: msgspec.json.Decoder[_Description] = msgspec.json.Decoder(_Description)
_to_json = msgspec.json.Encoder().encode


def encode_bundle(bundle: Bundle) -> list[bytes]:
    """Return the frames of a bundle."""
    beds = len(bundle.firsts)
    head = _HEAD.pack(
        BUNDLE_VERSION,
        DTYPE_BYTES[bundle.dtype],
        bundle.leads,
        bundle.samples,
        beds,
        bundle.session,
        bundle.sent_s,
    )
    places = struct.pack(f"<{2 * beds}Q", *bundle.sequences, *bundle.firsts)
    return [BUNDLE_TOPIC, head + places + bundle.packed_numbers, bundle.payload]


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Return numbers of runs as a bundle has them."""
    return struct.pack(f"<{len(numbers)}I", *numbers)


def parse_bundle(frames: Sequence[bytes]) -> Bundle:
    """Check the frames of a bundle without unpacking its samples and numbers.

    Raises FrameError, which says what is wrong.
    """
    _, head, payload = frames
    if len(head) < _HEAD.size:
        raise FrameError(f"a bundle with a head of {len(head)} bytes")
    version, size, leads, count, beds, session, sent_s = _HEAD.unpack_from(head)
    if version != BUNDLE_VERSION:
        raise FrameError(f"unknown wire version {version}: this agent knows bundles of {BUNDLE_VERSION}")
    if size not in DTYPES or not 1 <= leads <= MOST_LEADS or not 1 <= count <= MOST_PACKET_SAMPLES:
        raise FrameError(f"a bundle of {size} bytes a count, {leads} leads, {count} samples")
    if not 1 <= beds <= MOST_BUNDLED or len(head) != _HEAD.size + beds * _BED_BYTES:
        raise FrameError(f"a bundle of {beds} beds with a head of {len(head)} bytes")
    if len(payload) != beds * count * leads * size or len(payload) > LARGEST_PAYLOAD_BYTES:
        raise FrameError(f"{len(payload)} bytes of samples in a bundle of {beds} x {count} x {leads} x {size} bytes")
    if not 0 <= sent_s <= LATEST_S:
        raise FrameError("a bundle with an impossible time of sending")
    places = struct.unpack_from(f"<{2 * beds}Q", head, _HEAD.size)
    numbers = head[-4 * beds :]
    sequences, firsts = places[:beds], places[beds:]
    if max(firsts) + count > LARGEST_INDEX or max(sequences) > LARGEST_INDEX:
        raise FrameError("sample indices beyond 2^53")
    return Bundle(session, DTYPES[size], leads, count, sent_s, numbers, sequences, firsts, payload)


def encode_description(number: int, bed: str, run: str, fs: float, leads: msgspec.Raw) -> bytes:
    """Return the description of a run as JSON; `leads`: JSON too."""
    return _to_json(_Description(number, bed, run, fs, leads))


def encode_descriptions(session: int, descriptions: Iterable[bytes]) -> list[bytes]:
    """Return the frames of a message of descriptions, each as JSON."""
    runs = [msgspec.Raw(description) for description in descriptions]
    return [BUNDLE_TOPIC, _to_json(_Descriptions(BUNDLE_VERSION, session, runs)), b""]


def parse_descriptions(frames: Sequence[bytes]) -> tuple[int, list[DescribedRun | FrameError]]:
    """Return the session and the runs of a message of descriptions; for a malformed one what is wrong with it.

    Raises FrameError where it is none.
    """
    try:
        found = _descriptions.decode(frames[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"malformed descriptions: {make_printable(str(error), LONGEST_REASON)}") from error
    return found.session, [_read_description(raw) for raw in found.runs]


def is_bundle(frames: Sequence[bytes]) -> bool:
    """Return whether a message of the topic of bundles is one; else it is one of descriptions.

    Raises FrameError where it has not three frames.
    """
    if len(frames) != 3:
        raise FrameError(f"a message of {len(frames)} frames instead of 3")
    return len(frames[2]) > 0


def _read_description(raw: msgspec.Raw) -> DescribedRun | FrameError:
    try:
        found = _description.decode(raw)
        for what, text in (("bed name", found.bed), ("run", found.run)):
            reject_unprintable_text(what, text)
        name = found.bed.encode()
        decode_bed_name(name)
        leads = bytes(found.leads)
        size = HEADER_BYTES + len(name) + len(leads)
        return DescribedRun(found.number, found.bed, found.run, found.fs, leads_from_json(leads), name, size)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return FrameError(f"malformed description: {make_printable(str(error), LONGEST_REASON)}")
    except FrameError as error:
        return error
