"""The wire format: `encode_frames` and `decode_frames` translate between messages and ZeroMQ frames, without state.

A message is three frames: the bed's name, a JSON header that describes itself, and the samples. `docs/wire.md`
specifies it on one page; the limits below are the limits given there.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from agent.core.messages import MISSING, Chunk, End, Lead
from model.errors import ConfigError, FrameError
from model.text import make_printable, shorten_name

WIRE_VERSION: Literal[1] = 1
LARGEST_NAME_BYTES = 64
LARGEST_HEADER_BYTES = 16_384
MOST_PACKET_SAMPLES = 65_536
LARGEST_PAYLOAD_BYTES = 2**20
"""Bytes of samples in a packet."""
LARGEST_INDEX = 2**53
"""Beyond it a JSON number is no longer exact everywhere."""
MOST_LEADS = 16
LONGEST_REASON = 200
"""Characters that an error quotes of what a parser says, which may quote the sender."""

MISSING_BY_DTYPE = {"int16": -(2**15), "int32": MISSING}
"""The count of each dtype that means "no value" on the wire."""
DTYPE_BYTES = {"int16": 2, "int32": 4}
"""Bytes of one count."""

SampleIndex = Annotated[int, Meta(ge=0, le=LARGEST_INDEX)]
AdcRail = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
SamplingRate = Annotated[float, Meta(ge=1, le=10_000)]
"""Below it a sample's index at 125 Hz would be beyond 64 bits."""
WireText = Annotated[str, Meta(min_length=1, max_length=LARGEST_NAME_BYTES)]
UnixTime = Annotated[float, Meta(ge=0, le=1e12)]


class LeadHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `leads`: value in `unit` = (count - offset) / gain."""

    name: WireText
    unit: Annotated[str, Meta(min_length=1, max_length=16)]
    gain: Annotated[float, Meta(ge=1e-9, le=1e9)]
    offset: Annotated[float, Meta(ge=-(2**53), le=2**53)]
    low: AdcRail
    high: AdcRail


class SamplesHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="samples"):
    """Header of a packet of samples. `leads` stays raw JSON, since it is the same in every packet of a run."""

    v: Literal[1]
    run: WireText
    sequence: SampleIndex
    first: SampleIndex
    count: Annotated[int, Meta(ge=1, le=MOST_PACKET_SAMPLES)]
    fs: SamplingRate
    dtype: Literal["int16", "int32"]
    sent: UnixTime
    leads: msgspec.Raw


class EndHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="end"):
    """Header of the message that ends a run; `first` is the index after the last sample."""

    v: Literal[1]
    run: WireText
    sequence: SampleIndex
    first: SampleIndex
    fs: SamplingRate
    sent: UnixTime


class _VersionOnly(msgspec.Struct):
    """What is read of a header of another version; all else is passed over, which costs little."""

    v: msgspec.Raw


class Packet(NamedTuple):
    """A packet of samples that has been checked, but whose `payload` has not been unpacked."""

    bed: str
    header: SamplesHeader
    leads: tuple[Lead, ...]
    payload: bytes


_header: msgspec.json.Decoder[SamplesHeader | EndHeader] = msgspec.json.Decoder(SamplesHeader | EndHeader)
_version_only: msgspec.json.Decoder[_VersionOnly] = msgspec.json.Decoder(_VersionOnly)
_lead_headers: msgspec.json.Decoder[list[LeadHeader]] = msgspec.json.Decoder(
    Annotated[list[LeadHeader], Meta(min_length=1, max_length=MOST_LEADS)]
)
_to_json = msgspec.json.Encoder().encode


class PacketCutter:
    """Cuts packets out of a chunk: the same frames as `encode_frames` of each packet, at a fraction of the cost.

    `bed`, `run`, `fs`: those of the chunk, whose first sample is `first`; `leads`: as JSON, `width` of them.
    """

    __slots__ = ("_counts", "_narrow", "_size", "bed", "first", "fs", "leads", "run", "width")

    def __init__(self, chunk: Chunk) -> None:
        self.bed = chunk.bed.encode()
        self.run = chunk.run
        self.first = chunk.first
        self.fs = chunk.fs
        self.leads = _leads_to_json(chunk.leads)
        self.width = chunk.counts.shape[1]
        self._counts = chunk.counts
        dtype, payload = _pack_counts(chunk.counts)
        self._narrow = payload if dtype == "int16" else None  # what fits as a whole fits in each of its packets
        self._size = DTYPE_BYTES["int16"] * self.width

    def cut(self, start: int, stop: int, sequence: int, sent_s: float) -> list[bytes]:
        """Return the frames of a packet with the chunk's samples `start` to `stop`."""
        dtype, payload = self.pack(start, stop)
        header = SamplesHeader(
            v=WIRE_VERSION,
            run=self.run,
            sequence=sequence,
            first=self.first + start,
            count=stop - start,
            fs=self.fs,
            dtype=dtype,
            sent=sent_s,
            leads=self.leads,
        )
        return [self.bed, _to_json(header), payload]

    def pack(self, start: int, stop: int) -> tuple[Literal["int16", "int32"], bytes]:
        """Return the third frame of that packet, and its type."""
        if self._narrow is not None:
            return "int16", self._narrow[start * self._size : stop * self._size]
        if stop - start == len(self._counts):
            return "int32", self._counts.astype("<i4").tobytes()
        return _pack_counts(self._counts[start:stop])


def encode_frames(message: Chunk | End) -> list[bytes]:
    """Encode a message as frames [bed, header, samples].

    The (count, leads) samples of a Chunk travel as little-endian int16 where all of them fit, else as int32; an End has
    an empty third frame.
    """
    if isinstance(message, Chunk):
        return PacketCutter(message).cut(0, len(message.counts), message.sequence, message.sent_s)
    end = EndHeader(
        v=WIRE_VERSION,
        run=message.run,
        sequence=message.sequence,
        first=message.first,
        fs=message.fs,
        sent=message.sent_s,
    )
    return [message.bed.encode(), _to_json(end), b""]


def decode_frames(frames: Sequence[bytes]) -> Chunk | End:
    """Decode three frames, leaving `arrived_s` at 0. Raises FrameError, which says what is wrong with them."""
    message = parse_frames(frames)
    return message if isinstance(message, End) else join_packets([message])


def parse_frames(frames: Sequence[bytes]) -> Packet | End:
    """Check three frames without unpacking their samples.

    Parameters
    ----------
    frames
        Bed name, header and samples, as `docs/wire.md` specifies them.

    Returns
    -------
    Packet | End
        A packet for `join_packets`, or the end of a run.

    Raises
    ------
    FrameError
        The frames do not follow the specification; the text says where.
    """
    if len(frames) != 3:
        raise FrameError(f"a message of {len(frames)} frames instead of 3")
    bed = decode_bed_name(frames[0])
    header = _parse_header(frames[1])
    if not header.run.isprintable():
        reject_unprintable_text("run", header.run)
    if isinstance(header, EndHeader):
        if len(frames[2]):
            raise FrameError("an end with samples")
        return End(bed, header.run, header.first, header.fs, header.sequence, header.sent)
    packet = Packet(bed, header, leads_from_json(bytes(header.leads)), frames[2])
    _check_payload(packet)
    return packet


def join_packets(packets: Sequence[Packet], arrived_s: float = 0.0, offset_s: float | None = 0.0) -> Chunk:
    """Unpack consecutive packets of one stream into one chunk; many cost no more than one.

    Parameters
    ----------
    packets
        At least one; each continues the one before, see `continues_stream`.
    arrived_s
        Unix time at which they reached the socket.
    offset_s
        The device's clock less ours, by which `sent_s` is corrected; None, where it is not known, leaves that 0.

    Returns
    -------
    Chunk
        Counts (n, leads) int32, MISSING where there is no value.
    """
    bed, header, leads, payload = packets[0]
    if len(packets) > 1:
        payload = b"".join([packet.payload for packet in packets])
    counts = unpack_counts(payload, header.dtype).reshape(-1, len(leads))
    sent_s = 0.0 if offset_s is None else packets[-1].header.sent - offset_s
    return Chunk(bed, header.run, header.first, header.fs, leads, counts, sent_s, arrived_s, header.sequence)


def unpack_counts(payload: bytes, dtype: Literal["int16", "int32"]) -> NDArray[np.int32]:
    """Return the counts (n,) of a third frame, MISSING where there is no value."""
    counts = np.frombuffer(payload, f"<i{DTYPE_BYTES[dtype]}").astype(np.int32)
    if dtype == "int16":
        counts[counts == MISSING_BY_DTYPE["int16"]] = MISSING
    return counts


def cut_packet(packet: Packet, first: int, stop: int) -> Packet:
    """Return what a packet has of samples `first` to `stop` of its run, one at least."""
    header = packet.header
    first, stop = max(first, header.first), min(stop, header.first + header.count)
    if stop - first == header.count:
        return packet
    size = len(packet.payload) // header.count
    payload = packet.payload[(first - header.first) * size : (stop - header.first) * size]
    return packet._replace(header=replace(header, first=first, count=stop - first), payload=payload)


def continues_stream(packet: Packet, before: Packet) -> bool:
    """Return whether a packet has the run, leads, rate and dtype of the one before it."""
    header, previous = packet.header, before.header
    same_stream = header.run == previous.run and packet.leads is before.leads and header.fs == previous.fs
    return same_stream and header.dtype == previous.dtype


def pack_int16(counts: NDArray[np.int32]) -> tuple[NDArray[np.int16], int]:
    """Return counts in 16 bits as the wire and WFDB's format 16 have them, up to the first sample that does not fit.

    Parameters
    ----------
    counts
        (n, leads) int32, MISSING where there is no value.

    Returns
    -------
    packed
        (m, leads) little-endian int16, -32,768 where there is no value.
    m
        Samples of all leads before the first with a count outside ±32,767.
    """
    # One pass decides: shifted so that -32767..32767 becomes 0..65534; everything else, MISSING too, lands above.
    if (counts.view(np.uint32) + np.uint32(32_767)).max(initial=0) <= 65_534:
        return counts.astype("<i2"), len(counts)
    missing = counts == MISSING
    unfit = (~missing & ((counts > 32_767) | (counts < -32_767))).any(axis=1)
    fit = int(unfit.argmax()) if unfit.any() else len(counts)
    return np.where(missing, MISSING_BY_DTYPE["int16"], counts)[:fit].astype("<i2"), fit


def _pack_counts(counts: NDArray[np.int32]) -> tuple[Literal["int16", "int32"], bytes]:
    packed, fit = pack_int16(counts)
    return ("int16", packed.tobytes()) if fit == len(counts) else ("int32", counts.astype("<i4").tobytes())


def _check_payload(packet: Packet) -> None:
    header, leads, size = packet.header, len(packet.leads), DTYPE_BYTES[packet.header.dtype]
    if len(packet.payload) > LARGEST_PAYLOAD_BYTES:
        raise FrameError(f"{len(packet.payload)} bytes of samples: {LARGEST_PAYLOAD_BYTES} are the most")
    if len(packet.payload) != header.count * leads * size:
        raise FrameError(
            f"{len(packet.payload)} bytes of samples instead of {header.count} x {leads} leads x {size} bytes"
        )
    if header.first + header.count > LARGEST_INDEX:
        raise FrameError("sample indices beyond 2^53")


@lru_cache(maxsize=4096)
def decode_bed_name(frame: bytes) -> str:
    """Decode the name of a bed from the first frame. Raises FrameError where it cannot be one."""
    if not 1 <= len(frame) <= LARGEST_NAME_BYTES:
        raise FrameError(f"a bed name of {len(frame)} bytes instead of 1 to {LARGEST_NAME_BYTES}")
    try:
        name = str(frame, "utf-8")
    except UnicodeDecodeError as error:
        raise FrameError(f"the bed name is not UTF-8: {error.reason}") from error
    reject_unprintable_text("bed name", name)
    return name


def most_packet_samples(leads: int) -> int:
    """Return the samples of so many leads that fit into a packet whatever their counts are."""
    return min(MOST_PACKET_SAMPLES, LARGEST_PAYLOAD_BYTES // (DTYPE_BYTES["int32"] * leads))


def check_bed_name(bed: str) -> str:
    """Return the name of a bed. Raises ConfigError where it cannot be sent."""
    try:
        return decode_bed_name(bed.encode())
    except FrameError as error:
        raise ConfigError(f"bed {shorten_name(bed)!r} cannot be sent: {error}") from error


def _parse_header(frame: bytes) -> SamplesHeader | EndHeader:
    if len(frame) > LARGEST_HEADER_BYTES:
        raise FrameError(f"a header of {len(frame)} bytes: {LARGEST_HEADER_BYTES} are the most")
    try:
        return _header.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        version = _read_wire_version(frame)
        if version not in (None, WIRE_VERSION):
            raise FrameError(f"unknown wire version {version!r}: this agent knows {WIRE_VERSION}") from error
        raise FrameError(f"malformed header: {make_printable(str(error), LONGEST_REASON)}") from error


def _read_wire_version(frame: bytes) -> Any:
    """Return the value of "v" in a header that is otherwise not understood, cut short; None where there is none."""
    try:
        raw = bytes(_version_only.decode(frame).v)
        version = msgspec.json.decode(raw) if len(raw) <= LONGEST_REASON else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return version if isinstance(version, int) and abs(version) <= LARGEST_INDEX else raw[:20].decode(errors="replace")


@lru_cache(maxsize=256)
def leads_from_json(raw: bytes) -> tuple[Lead, ...]:
    try:
        headers = _lead_headers.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"malformed leads: {make_printable(str(error), LONGEST_REASON)}") from error
    for lead in headers:
        reject_unprintable_text("lead name", lead.name)
        reject_unprintable_text("unit", lead.unit)
        if lead.low >= lead.high:
            raise FrameError(f"lead {lead.name}: rails {lead.low} and {lead.high} are not in order")
    if len({lead.name for lead in headers}) < len(headers):
        raise FrameError("two leads of the same name")
    return tuple(Lead(h.name, h.unit, h.gain, h.offset, h.low, h.high) for h in headers)


@lru_cache(maxsize=256)
def _leads_to_json(leads: tuple[Lead, ...]) -> msgspec.Raw:
    return msgspec.Raw(_to_json(leads))


def reject_unprintable_text(what: str, text: str) -> None:
    # Names reach terminals and files, where a control character could do harm.
    if not text.isprintable():
        raise FrameError(f"the {what} holds characters that cannot be printed")
