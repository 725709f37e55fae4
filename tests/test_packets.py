"""agent.wire.packets: the page docs/wire.md, the pair encode / decode, and what is refused."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent.analysis.beat_classifier import load_beat_classifier
from agent.core.config import Config
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, Lead
from agent.pipeline.pipeline import Pipeline
from agent.wire.curve_security import create_key_pair
from agent.wire.packets import LARGEST_HEADER_BYTES, MOST_LEADS, MOST_PACKET_SAMPLES, decode_frames, encode_frames
from agent.wire.requests import (
    LARGEST_REPLY_BYTES,
    LARGEST_REQUEST_BYTES,
    MOST_REPLY_PACKETS,
    MOST_REQUESTED_SAMPLES,
    FetchReply,
    FetchRequest,
    HelloReply,
    HelloRequest,
    ReplayReply,
    ReplayRequest,
    decode_reply,
    decode_request,
    encode_channel_message,
)
from model.errors import FrameError

PAGE = (Path(__file__).parents[1] / "docs" / "wire.md").read_text(encoding="utf-8").partition("## Version 2")[0]
"""What is of version 1; tests/test_bundles.py reads the rest."""
LEADS = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115), Lead("V5", "mV", 200.0, 1024.0, 0, 2047))

names = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=16)
indices = st.integers(0, 2**52)
leads = st.builds(
    Lead,
    name=names,
    unit=names,
    gain=st.floats(1e-9, 1e9),
    offset=st.floats(-(2**53), 2**53),
    low=st.integers(-(2**31), -1),
    high=st.integers(0, 2**31 - 1),
)
times = st.floats(0, 1e12)
rates = st.floats(1, 10_000)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    found = tuple(draw(st.lists(leads, min_size=1, max_size=MOST_LEADS, unique_by=lambda lead: lead.name)))
    shape = (draw(st.integers(1, 20)), len(found))
    low, high = draw(st.sampled_from([(-32_767, 32_767), (-32_768, 32_768), (-(2**31) + 1, 2**31 - 1)]))
    counts = draw(hnp.arrays(np.int32, shape, elements=st.one_of(st.integers(low, high), st.just(MISSING))))
    return Chunk(
        bed=draw(names),
        run=draw(names),
        first=draw(indices),
        fs=draw(rates),
        leads=found,
        counts=counts,
        sent_s=draw(times),
        sequence=draw(indices),
    )


ends = st.builds(End, bed=names, run=names, first=indices, fs=rates, sequence=indices, sent_s=times)


def chunk(counts: Any = ((1, 2), (3, 4)), **changes: Any) -> Chunk:
    fields = {"bed": "100", "run": "r", "first": 0, "fs": 125.0, "leads": LEADS, "sent_s": 1.0, **changes}
    return Chunk(counts=np.array(counts, np.int32), **fields)


def frames(**changes: Any) -> list[bytes]:
    """Frames of a sound packet, with header keys replaced, or taken out where the change is None."""
    bed, header, samples = encode_frames(chunk())
    keys = {key: value for key, value in {**json.loads(header), **changes}.items() if value is not None}
    return [bed, json.dumps(keys).encode(), samples]


def lead(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "unit": "mV", "gain": 1, "offset": 0, "low": 0, "high": 1, **changes}


def equal(a: Chunk | End, b: Chunk | End) -> bool:
    if isinstance(a, End) or isinstance(b, End):
        return a == b
    same = [getattr(a, name) == getattr(b, name) for name in Chunk.__slots__ if name != "counts"]
    return all(same) and np.array_equal(a.counts, b.counts) and a.counts.dtype == b.counts.dtype


@given(st.one_of(chunks(), ends))
def test_round_trip(message: Chunk | End) -> None:
    """What is decoded is what was encoded."""
    assert equal(decode_frames(encode_frames(message)), message)


@given(st.one_of(chunks(), ends), st.integers(0, 2), st.data())
def test_mutated_frames(message: Chunk | End, which: int, data: st.DataObject) -> None:
    """A frame with changed bytes either decodes or is refused with a FrameError, nothing else."""
    mutated = encode_frames(message)
    frame = bytearray(mutated[which])
    at = data.draw(st.integers(0, len(frame)))
    frame[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    mutated[which] = bytes(frame)
    with suppress(FrameError):
        decode_frames(mutated)


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_noise_is_refused(noise: list[bytes]) -> None:
    """Bytes that are no message are refused with a FrameError."""
    with pytest.raises(FrameError):
        decode_frames(noise)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_page_example() -> None:
    """The example in docs/wire.md decodes to the millivolts that the page gives."""
    samples, end = blocks("json")
    found = decode_frames([b"100", samples.encode(), bytes.fromhex(blocks("hex")[0])])
    assert isinstance(found, Chunk)
    lines = [line.split() for line in blocks("text")[0].splitlines()]
    assert [lead.name for lead in found.leads] == [line[0] for line in lines]
    values = np.where(found.counts == MISSING, np.nan, found.counts / 1000.0)
    np.testing.assert_array_equal(values.T, [[float(value) for value in line[1:]] for line in lines])
    assert decode_frames([b"100", end.encode(), b""]) == End("100", "5f0c2a", found.first + 5, 125.0, 8, 1735689600.29)


def test_page_lists_every_key() -> None:
    """docs/wire.md has a row for each key that the code writes, and no other."""
    header = json.loads(encode_frames(chunk())[1])
    rows = set(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE))
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    said = (
        HelloRequest(id=1, sent=0),
        HelloReply(id=1, asked=0, received=0, sent=0, beds=0),
        FetchRequest(id=1, bed="1", run="r", first=0, stop=1),
        FetchReply(id=1, bed="1", run="r", start=0, oldest=0, next=0, ended=False),
        ReplayRequest(id=1, action="jump", bed="1", value=1.0),
        ReplayReply(id=1, done=True, reason="", paused=False, speed=1.0, position=0.0, length=0.0),
    )
    channel = {key for message in said for key in json.loads(encode_channel_message(message))}
    assert listed == set(header) | set(header["leads"][0]) | channel


def test_page_requests() -> None:
    """The requests and replies in docs/wire.md are what the code makes of them."""
    (lines,) = blocks("jsonl")
    hello, welcome, fetch, fetched, replay, replayed = (line.encode() for line in lines.splitlines())
    assert isinstance(decode_request([hello]), HelloRequest)
    assert isinstance(decode_reply([welcome])[0], HelloReply)
    request, (reply, _) = decode_request([fetch]), decode_reply([fetched])
    assert isinstance(request, FetchRequest)
    assert isinstance(reply, FetchReply)
    assert (reply.id, reply.bed, reply.run) == (request.id, request.bed, request.run)
    jump, (jumped, _) = decode_request([replay]), decode_reply([replayed])
    assert isinstance(jump, ReplayRequest)
    assert isinstance(jumped, ReplayReply)
    assert jumped.id == jump.id
    said = (hello, decode_request([hello])), (fetch, request), (fetched, reply), (replay, jump), (replayed, jumped)
    for line, message in said:
        assert json.loads(encode_channel_message(message)) == json.loads(line)


def test_page_limits_of_the_channel() -> None:
    """The limits on requests and replies in docs/wire.md are those of the code."""
    page = " ".join(PAGE.split())
    assert f"objects of at most {LARGEST_REQUEST_BYTES:,} bytes" in page
    assert f"at most {MOST_REPLY_PACKETS:,} packets (" in page
    assert f"and {LARGEST_REPLY_BYTES / 2**20:g} MiB; a device that has more" in page
    assert f"asks for at most {MOST_REQUESTED_SAMPLES:,} of them at a time" in page


def test_page_keys(tmp_path: Path) -> None:
    """The lines of a key file in docs/wire.md are those that `keys new` writes, around a pair that belongs together."""
    (lines,) = blocks("ini")
    shown, written = (re.sub('".*"', "", text) for text in (lines, create_key_pair(tmp_path, "x")[1].read_text()))
    assert [line for line in written.splitlines() if line and not line.startswith("#")] == shown.splitlines()
    public, secret = (key.encode() for key in re.findall('"(.*)"', lines))
    assert zmq.curve_public(secret) == public


def sent_by_page(packets: int) -> list[Chunk | End]:
    """What the device in docs/wire.md sends first, decoded; its code runs as it stands, but does not sleep."""
    sent: list[list[bytes]] = []

    class EnoughError(Exception):
        pass

    class Socket:
        def bind(self, endpoint: str) -> None:
            assert endpoint.startswith("tcp://")

        def send_multipart(self, message: list[bytes]) -> None:
            sent.append(message)
            if len(sent) == packets:
                raise EnoughError

    (code,) = blocks("python")
    code = code.replace("time.sleep", "id").replace("zmq.Context.instance().socket(zmq.PUB)", "Socket()")
    with pytest.raises(EnoughError):
        exec(code, {"Socket": Socket})
    return [decode_frames(message) for message in sent]


def test_page_device() -> None:
    """The device in docs/wire.md sends packets that decode."""
    assert [message.first for message in sent_by_page(3)] == [0, 5, 10]


def test_page_device_beats(settings: Config) -> None:
    """A minute of the device in docs/wire.md is 75 normal beats at 75 a minute, and raises no alarm."""
    monitor = settings.monitor
    ward = Pipeline(settings, load_beat_classifier(monitor.weights, "cpu", monitor.threads))
    results = [item for message in sent_by_page(1500) for item in ward.push([message])] + ward.finish()
    beats = [item for item in results if isinstance(item, Beat)]
    assert len(beats) in (74, 75)
    assert {beat.label for beat in beats} == {"N"}
    assert beats[-1].heart_rate == pytest.approx(75, abs=0.5)
    assert [item for item in results if isinstance(item, Alarm)] == []


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ([[32_767, -32_767]], 2),
        ([[32_767, MISSING]], 2),
        ([[32_768, 0]], 4),
        ([[-32_768, 0]], 4),
        ([[MISSING + 1, MISSING]], 4),
    ],
)
def test_smallest_type(counts: list[list[int]], size: int) -> None:
    """Samples travel as int16 where all values fit beside its "no value", else as int32."""
    message = chunk(counts)
    encoded = encode_frames(message)
    assert len(encoded[2]) == 2 * size
    assert equal(decode_frames(encoded), message)


def test_samples_are_sample_major_little_endian() -> None:
    """All leads of sample 0 come first, the low byte before the high one."""
    assert encode_frames(chunk([[1, 2], [3, 4]]))[2] == bytes([1, 0, 2, 0, 3, 0, 4, 0])


def test_encode_leaves_counts_alone() -> None:
    """Encoding does not change the counts it is given, and takes a view of a larger array."""
    counts = np.arange(40, dtype=np.int32).reshape(10, 4)
    before = counts.copy()
    assert decode_frames(encode_frames(chunk(counts[2:5, ::2]))).first == 0
    np.testing.assert_array_equal(counts, before)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"v": 2}, "unknown wire version 2"),
        ({"v": "1"}, "unknown wire version"),
        ({"v": None}, "`v`"),
        ({"kind": "beats"}, "kind"),
        ({"kind": None}, "kind"),
        ({"run": ""}, "run"),
        ({"run": "a\nb"}, "run holds"),
        ({"run": 7}, "run"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"first": -1}, "first"),
        ({"first": 2**53 + 1}, "first"),
        ({"first": 2**53}, "beyond"),
        ({"first": 10**30}, "first"),
        ({"first": 0.5}, "first"),
        ({"count": 0}, "count"),
        ({"count": 3}, "8 bytes of samples instead of 3 x 2 leads x 2 bytes"),
        ({"count": MOST_PACKET_SAMPLES + 1}, "count"),
        ({"fs": 0}, "fs"),
        ({"fs": -125}, "fs"),
        ({"fs": 10_001}, "fs"),
        ({"fs": float("nan")}, "header"),
        ({"fs": float("inf")}, "header"),
        ({"dtype": "int8"}, "dtype"),
        ({"dtype": "int32"}, "bytes of samples"),
        ({"sent": -1}, "sent"),
        ({"sent": None}, "sent"),
        ({"more": 1}, "more"),
        ({"leads": []}, "leads"),
        ({"leads": {}}, "leads"),
        ({"leads": [lead(name=f"a{i}") for i in range(17)]}, "leads"),
        ({"leads": [lead(), lead()]}, "same name"),
        ({"leads": [lead(gain=0)]}, "gain"),
        ({"leads": [lead(gain=-1)]}, "gain"),
        ({"leads": [lead(gain=float("inf"))]}, "header"),
        ({"leads": [lead(offset="0")]}, "offset"),
        ({"leads": [lead(low=1)]}, "rails"),
        ({"leads": [lead(high=2**31)]}, "high"),
        ({"leads": [lead(name="")]}, "name"),
        ({"leads": [lead(name="\x1b[2J")]}, "lead name holds"),
        ({"leads": [lead(name="x" * 65)]}, "name"),
        ({"leads": [lead(unit="")]}, "unit"),
        ({"leads": [lead(unit="m\x07")]}, "unit holds"),
        ({"leads": [lead(more=1)]}, "more"),
        ({"leads": [{"name": "a"}]}, "missing"),
    ],
)
def test_header_refused(changes: dict[str, Any], reason: str) -> None:
    """A header that breaks a rule of the page is refused, naming what is wrong."""
    with pytest.raises(FrameError, match=re.escape(reason)):
        decode_frames(frames(**changes))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: b""}, "0 bytes instead of 1 to 64"),
        ({0: b"x" * 65}, "65 bytes"),
        ({0: b"\xff"}, "not UTF-8"),
        ({0: b"a\x00"}, "cannot be printed"),
        ({0: "\u202e".encode()}, "cannot be printed"),
        ({1: b""}, "malformed header"),
        ({1: b"[1]"}, "malformed header"),
        ({1: b"{} x"}, "malformed header"),
        ({1: b"[" * 10_000}, "malformed header"),
        ({1: b" " * (LARGEST_HEADER_BYTES + 1)}, "16385 bytes"),
        ({1: encode_frames(End("b", "r", 0, 125.0))[1]}, "an end with samples"),
        ({2: b""}, "0 bytes of samples"),
        ({2: bytes(7)}, "7 bytes of samples"),
        ({2: bytes(10)}, "10 bytes of samples"),
    ],
)
def test_frames_refused(change: dict[int, bytes], reason: str) -> None:
    """A frame that breaks a rule of the page is refused, naming what is wrong."""
    with pytest.raises(FrameError, match=reason):
        decode_frames([change.get(i, frame) for i, frame in enumerate(frames())])


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_number_of_frames(count: int) -> None:
    """A message that has not three frames is refused."""
    with pytest.raises(FrameError, match=f"{count} frames instead of 3"):
        decode_frames([*frames(), b""][:count])


def test_largest_packet() -> None:
    """A packet of 65,536 samples passes, and so does one of 16 leads; more than a mebibyte does not."""
    wide = tuple(Lead(f"{i}", "mV", 1.0, 0.0, -1, 1) for i in range(MOST_LEADS))
    for counts, leads in ((np.zeros((MOST_PACKET_SAMPLES, 2)), LEADS), (np.zeros((1000, MOST_LEADS)), wide)):
        message = chunk(counts, leads=leads)
        assert equal(decode_frames(encode_frames(message)), message)
    with pytest.raises(FrameError, match="2097152 bytes of samples: 1048576 are the most"):
        decode_frames(encode_frames(chunk(np.zeros((MOST_PACKET_SAMPLES, MOST_LEADS)), leads=wide)))


def test_reasons_are_printable() -> None:
    """A reason that quotes the sender holds no control characters and is short."""
    with pytest.raises(FrameError) as caught:
        decode_frames(frames(**{"\x1b[2J" + "x" * 5000: 1}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
