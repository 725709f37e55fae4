"""The backfill channel: the requests of an agent and the replies of a device, encoded and decoded without state.

The agent says hello twice a second, which shows each side that the other is alive and compares their clocks, and
requests samples that it missed. Of a device that replays records it may ask to pause or to move. A request is one JSON
frame; a reply is one JSON frame, followed by the three frames of each packet that is sent again. `docs/wire.md`
specifies it.
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
"""Bytes of a request, and of the first frame of a reply, at most."""
LONGEST_REPLY_S = 60.0
"""Seconds of signal in one reply, at most."""
MOST_REPLY_PACKETS = 8192
"""Packets of a reply, at most: a minute in packets of one sample at 125 Hz has room."""
LARGEST_REPLY_BYTES = 2**24
"""Bytes of the packets of a reply, at most."""
MOST_REQUESTED_SAMPLES = 65_536
"""Samples of one request, where these are known to be missing."""

LONGEST_REFUSAL = 300
"""Characters of the reason why a replay does not do what it is asked for."""

RequestId = Annotated[int, Meta(ge=0, le=LARGEST_INDEX)]
T = TypeVar("T")
BedNameText = Annotated[str, Meta(min_length=1, max_length=64)]


class _ChannelMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The keys of every message: `v` version of the wire, `id` chosen by the agent and repeated in the reply."""

    v: Literal[1] = WIRE_VERSION
    id: RequestId


class HelloRequest(_ChannelMessage, frozen=True, kw_only=True, tag="hello"):
    """Asks whether the device is there and what its clock says.

    `sent`: Unix time by the agent's clock. `complete`: every run that the agent follows has ended and nothing of it is
    missing, so the device need not wait for the agent.
    """

    sent: UnixTime
    complete: bool = False


class FetchRequest(_ChannelMessage, frozen=True, kw_only=True, tag="fetch"):
    """Asks for samples `first` to `stop` of a run again."""

    bed: BedNameText
    run: WireText
    first: SampleIndex
    stop: SampleIndex


ReplayAction = Literal["status", "pause", "resume", "seek", "jump", "speed"]


class ReplayRequest(_ChannelMessage, frozen=True, kw_only=True, tag="replay"):
    """Asks a device that replays records to pause, to go on, to move or to change its speed, or only how it stands.

    `value`: seconds from here for `seek`, seconds of the record for `jump`, times real time for `speed`, else 0. `bed`:
    which bed moves, "" for all of them; the speed, and whether it pauses, is one for all.
    """

    action: ReplayAction
    bed: Annotated[str, Meta(max_length=64)] = ""
    value: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.0


class HelloReply(_ChannelMessage, frozen=True, kw_only=True, tag="hello"):
    """Answers HelloRequest: `asked` is its `sent`; `received` and `sent` are by the device's clock; `beds` a number."""

    asked: UnixTime
    received: UnixTime
    sent: UnixTime
    beds: SampleIndex


class FetchReply(_ChannelMessage, frozen=True, kw_only=True, tag="fetched"):
    """Answers FetchRequest; the packets behind it hold what the device still has, from the first requested sample on.

    `run`: the run that the bed is in, "" where there is no such bed; `start` its first sample, `oldest` the first that
    is kept, `next` the one after the last that was sent, `ended`: no more will follow. Where `run` is not the requested
    one, nothing of that is left.
    """

    bed: BedNameText
    run: Annotated[str, Meta(max_length=64)]
    start: SampleIndex
    oldest: SampleIndex
    next: SampleIndex
    ended: bool


class ReplayReply(_ChannelMessage, frozen=True, kw_only=True, tag="replayed"):
    """Answers ReplayRequest: whether that is `done`, else the `reason` in words; and how the replay stands.

    `speed`: times real time, 0 for as fast as possible. `position` and `length`: seconds of the record, of the bed that
    was asked for, else of the first. What replays nothing says 0 and "".
    """

    done: bool
    reason: Annotated[str, Meta(max_length=LONGEST_REFUSAL)] = ""
    paused: bool = False
    speed: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0
    position: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0
    length: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0


ChannelRequest = HelloRequest | FetchRequest | ReplayRequest
ChannelReply = HelloReply | FetchReply | ReplayReply

_request: msgspec.json.Decoder[ChannelRequest] = msgspec.json.Decoder(ChannelRequest)
_reply: msgspec.json.Decoder[ChannelReply] = msgspec.json.Decoder(ChannelReply)
_to_json = msgspec.json.Encoder().encode


def backfill_endpoint(endpoint: str, service: str) -> str:
    """Return the endpoint of the backfill channel: `service`, or where that is empty the port after `endpoint`.

    Raises EndpointError where there is no next port; a port that does not exist is left to
    `agent.wire.curve_security.check_endpoint`.

    >>> backfill_endpoint("tcp://127.0.0.1:5555", "")
    'tcp://127.0.0.1:5556'
    """
    address, _, port = endpoint.rpartition(":")
    if service:
        return service
    if endpoint.startswith("tcp://") and port.isdecimal() and len(port) <= 5:
        if int(port) == HIGHEST_PORT:
            raise EndpointError(
                f"endpoint {endpoint} leaves no room for the backfill channel, which takes the next port, and there "
                "is none: choose a lower port, or set link.service"
            )
        return f"{address}:{int(port) + 1}"
    return endpoint if endpoint.startswith("tcp://") else f"{endpoint}-service"


def encode_channel_message(message: ChannelRequest | ChannelReply) -> bytes:
    """Encode a request or a reply as one JSON frame."""
    return _to_json(message)


def decode_request(frames: Sequence[bytes]) -> ChannelRequest:
    """Decode the request of a message. Raises FrameError, which says what is wrong with it."""
    if len(frames) != 1:
        raise FrameError(f"a request of {len(frames)} frames instead of 1")
    request = _decode_json_frame(frames[0], _request)
    if isinstance(request, FetchRequest):
        decode_bed_name(request.bed.encode())
        if request.stop <= request.first:
            raise FrameError("a request for no samples")
    return request


def decode_reply(frames: Sequence[bytes]) -> tuple[ChannelReply, list[Sequence[bytes]]]:
    """Decode a reply and return it with the frames of each packet behind it.

    Raises FrameError, which says what is wrong with it.
    """
    if len(frames) % 3 != 1:
        raise FrameError(f"a reply of {len(frames)} frames")
    if len(frames) > 1 + 3 * MOST_REPLY_PACKETS:
        raise FrameError(f"a reply of {len(frames) // 3} packets: {MOST_REPLY_PACKETS} are the most")
    if (size := sum(map(len, frames))) > LARGEST_REPLY_BYTES:
        raise FrameError(f"a reply of {size} bytes: {LARGEST_REPLY_BYTES} are the most")
    reply = _decode_json_frame(frames[0], _reply)
    if not isinstance(reply, FetchReply) and len(frames) > 1:
        raise FrameError(f"a {type(reply).__struct_config__.tag} with packets")
    return reply, [frames[i : i + 3] for i in range(1, len(frames), 3)]


def _decode_json_frame(frame: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    if len(frame) > LARGEST_REQUEST_BYTES:
        raise FrameError(f"{len(frame)} bytes where {LARGEST_REQUEST_BYTES} are the most")
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not understood: {make_printable(str(error), LONGEST_REASON)}") from error
