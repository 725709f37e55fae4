"""The second socket: what an agent asks of a device, and what it is told. A pure pair like `agent.wire.packets`.

The agent says hello twice a second, which shows each side that the other is alive and compares their clocks, and asks
for samples that it missed. A request is one JSON frame; a reply is one JSON frame, which three frames follow for every
packet that is sent again. `docs/wire.md` specifies it.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from agent.wire.packets import (
    LARGEST_INDEX,
    LONGEST_REASON,
    WIRE_VERSION,
    SampleIndex,
    UnixTime,
    WireText,
    decode_bed_name,
)
from model.errors import EndpointError, FrameError
from model.text import make_printable

HIGHEST_PORT = 65_535
LARGEST_REQUEST_BYTES = 1024
"""Bytes of a request, and of the first frame of a reply."""
LONGEST_REPLY_S = 60.0
"""Seconds of signal in one reply at most."""
MOST_REPLY_FRAMES = 1 + 3 * 64
"""Frames of a reply at most."""

RequestId = Annotated[int, Meta(ge=0, le=LARGEST_INDEX)]
T = TypeVar("T")
BedNameText = Annotated[str, Meta(min_length=1, max_length=64)]


class _ChannelMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all messages of the second socket hold: `v` version of the wire, `id` chosen by who asks."""

    v: Literal[1] = WIRE_VERSION
    id: RequestId


class HelloRequest(_ChannelMessage, frozen=True, kw_only=True, tag="hello"):
    """Asks whether the device is there and what its clock says.

    `sent`: Unix time by the asker's clock. `complete`: every run that the asker follows has ended, and nothing of it is
    missing: the device need not wait for the asker.
    """

    sent: UnixTime
    complete: bool = False


class FetchRequest(_ChannelMessage, frozen=True, kw_only=True, tag="fetch"):
    """Asks for samples `first` to `stop` of a run once more."""

    bed: BedNameText
    run: WireText
    first: SampleIndex
    stop: SampleIndex


class HelloReply(_ChannelMessage, frozen=True, kw_only=True, tag="hello"):
    """Answers Hello: `asked` its `sent`, `received` and `sent` by the device's clock, `beds` it has."""

    asked: UnixTime
    received: UnixTime
    sent: UnixTime
    beds: SampleIndex


class FetchReply(_ChannelMessage, frozen=True, kw_only=True, tag="fetched"):
    """Answers Fetch; the packets behind it hold what the device still has, from the first sample asked for on.

    `run`: the run that the bed is in, "" where there is no such bed; `start` its first sample, `oldest` the first that
    is kept, `next` the one after the last that was sent, `ended`: no more will follow. Where `run` is not the one that
    was asked for, nothing of that is left.
    """

    bed: BedNameText
    run: Annotated[str, Meta(max_length=64)]
    start: SampleIndex
    oldest: SampleIndex
    next: SampleIndex
    ended: bool


ChannelRequest = HelloRequest | FetchRequest
ChannelReply = HelloReply | FetchReply

_request: msgspec.json.Decoder[ChannelRequest] = msgspec.json.Decoder(HelloRequest | FetchRequest)
_reply: msgspec.json.Decoder[ChannelReply] = msgspec.json.Decoder(HelloReply | FetchReply)
_to_json = msgspec.json.Encoder().encode


def backfill_endpoint(endpoint: str, service: str) -> str:
    """Where the second socket is: `service`, or where that is empty, beside `endpoint` (the next port).

    Raises EndpointError where there is no next port; a port that does not exist is left to
    `agent.wire.curve_security.check_endpoint`.
    """
    address, _, port = endpoint.rpartition(":")
    if service:
        return service
    if endpoint.startswith("tcp://") and port.isdecimal() and len(port) <= 5:
        if int(port) == HIGHEST_PORT:
            raise EndpointError(
                f"endpoint {endpoint} leaves no room for the second socket, which takes the next port, and there is "
                "none: choose a lower port, or set link.service"
            )
        return f"{address}:{int(port) + 1}"
    return endpoint if endpoint.startswith("tcp://") else f"{endpoint}-service"


def encode_channel_message(message: ChannelRequest | ChannelReply) -> bytes:
    """The JSON frame of a request or a reply."""
    return _to_json(message)


def decode_request(frames: Sequence[bytes]) -> ChannelRequest:
    """The request of a message. Raises FrameError, saying what is wrong with it."""
    if len(frames) != 1:
        raise FrameError(f"a request of {len(frames)} frames instead of 1")
    request = _decode_json_frame(frames[0], _request)
    if isinstance(request, FetchRequest):
        decode_bed_name(request.bed.encode())
        if request.stop <= request.first:
            raise FrameError("a request for no samples")
    return request


def decode_reply(frames: Sequence[bytes]) -> tuple[ChannelReply, list[Sequence[bytes]]]:
    """A reply and the frames of each packet behind it. Raises FrameError, saying what is wrong with it."""
    if not 1 <= len(frames) <= MOST_REPLY_FRAMES or len(frames) % 3 != 1:
        raise FrameError(f"a reply of {len(frames)} frames")
    reply = _decode_json_frame(frames[0], _reply)
    if isinstance(reply, HelloReply) and len(frames) > 1:
        raise FrameError("a hello with packets")
    return reply, [frames[i : i + 3] for i in range(1, len(frames), 3)]


def _decode_json_frame(frame: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    if len(frame) > LARGEST_REQUEST_BYTES:
        raise FrameError(f"{len(frame)} bytes where {LARGEST_REQUEST_BYTES} are the most")
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not understood: {make_printable(str(error), LONGEST_REASON)}") from error
