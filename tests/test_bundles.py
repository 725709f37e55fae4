"""agent.wire.bundles: the page docs/wire.md, what is written is read, and what is refused."""

import json
import re
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundled import BED_LEADS, ramp

from agent.core.messages import MISSING, Chunk, End
from agent.device import bundle_writer
from agent.device.bundle_writer import BundleWriter
from agent.wire import bundles
from agent.wire.bundles import (
    BUNDLE_TOPIC,
    Bundle,
    DescribedRun,
    encode_bundle,
    pack_numbers,
    parse_bundle,
    parse_descriptions,
)
from agent.wire.packets import DTYPE_BYTES, LARGEST_PAYLOAD_BYTES, decode_frames, encode_frames, join_packets
from benchmarks.fuzz.bundles import write_bundles
from model.errors import FrameError

PAGE = (Path(__file__).parents[1] / "docs" / "wire.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## Version 2") :]
HEAD_BYTES = 24


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two beds make a bundle: they are enough for a test."""
    monkeypatch.setattr(bundle_writer, "LEAST_BUNDLED", 2)


def read(messages: list[list[bytes]]) -> list[Chunk | End]:
    """What a monitor makes of messages: descriptions first."""
    runs: dict[int, DescribedRun] = {}
    out: list[Chunk | End] = []
    for frames in messages:
        if frames[0] != BUNDLE_TOPIC:
            out.append(decode_frames(frames))
        elif bundles.is_bundle(frames):
            bundle = parse_bundle(frames)
            out += [join_packets([bundle.packet(i, runs[number])]) for i, number in enumerate(bundle.numbers())]
        else:
            runs |= {run.number: run for run in parse_descriptions(frames)[1] if isinstance(run, DescribedRun)}
    return out


def same(one: Chunk | End, other: Chunk | End) -> bool:
    if isinstance(one, End) or isinstance(other, End):
        return one == other
    names = ("bed", "run", "first", "fs", "leads", "sequence", "sent_s")
    return np.array_equal(one.counts, other.counts) and all(getattr(one, n) == getattr(other, n) for n in names)


def test_what_is_written_is_read() -> None:
    """Packets of beds that differ in rate, leads, length, range and run, and an end, are those of version 1."""
    holes = ramp("i", 50)
    holes.counts[3:5] = MISSING
    large = ramp("j", 75, factor=1000)
    large.counts[7] = MISSING
    due: list[Chunk | End] = [
        ramp("a", 0),
        ramp("b", 25, fs=250.0),
        ramp("c", 100, leads=BED_LEADS[:2]),
        ramp("d", 100, leads=BED_LEADS[1:]),
        ramp("e", 7, samples=5),
        ramp("f", 10, samples=5, run="other"),
        ramp("g", 25, factor=1000),
        End("h", "run", 25, 125.0, 1, 1.0),
        holes,
        large,
    ]
    messages = write_bundles(BundleWriter(), due)
    assert [len(frames) for frames in messages] == [3] * len(messages)
    assert len(messages) == 1 + 1 + 4  # descriptions, the end, and one for each shape
    found = {message.bed: message for message in read(messages)}
    assert all(same(found[message.bed], message) for message in due)
    assert len(found) == len(due)


def test_a_run_is_described_once() -> None:
    """The description comes with the first packet, with another run, rate or leads, and for all when asked for."""
    writer = BundleWriter()

    def described(*due: Chunk) -> list[tuple[str, str]]:
        found = [parse_descriptions(frames) for frames in write_bundles(writer, due) if not frames[2]]
        runs = [run for _, some in found for run in some]
        return [(run.bed, run.run) for run in runs if isinstance(run, DescribedRun)]

    both = [("a", "run"), ("b", "run")]
    assert described(ramp("a", 0), ramp("b", 0)) == both
    assert described(ramp("a", 25), ramp("b", 25)) == []
    assert described(ramp("a", 0, run="new"), ramp("b", 50)) == [("a", "new")]
    assert described(ramp("a", 25, run="new", fs=250.0), ramp("b", 75)) == [("a", "new")]
    assert described(ramp("a", 50, run="new", fs=250.0, leads=BED_LEADS[1:2]), ramp("b", 100)) == [("a", "new")]
    writer.describe_all()
    assert described(ramp("a", 75, run="new", fs=250.0, leads=BED_LEADS[1:2]), ramp("b", 125)) == [
        ("a", "new"),
        both[1],
    ]


def test_a_large_bundle_is_cut() -> None:
    """What would be more than a mebibyte of counts goes in several bundles; so do descriptions of many runs."""
    due = [ramp(f"{bed}", 0, samples=60_000) for bed in range(20)]
    messages = write_bundles(BundleWriter(), due)
    assert max(len(frame) for frames in messages for frame in frames) <= LARGEST_PAYLOAD_BYTES
    assert [message.bed for message in read(messages)] == [chunk.bed for chunk in due]
    many = [ramp(f"bed {bed}", 0, leads=BED_LEADS) for bed in range(2000)]
    messages = write_bundles(BundleWriter(), many)
    assert sum(not frames[2] for frames in messages) > 1
    assert max(len(frame) for frames in messages for frame in frames) <= LARGEST_PAYLOAD_BYTES
    assert [message.bed for message in read(messages)] == [chunk.bed for chunk in many]


def test_few_beds_send_packets_of_version_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of few beds costs as much as their packets: they are sent as these, and not described."""
    monkeypatch.undo()
    for beds in ("a", "abc"):
        due = [ramp(bed, 0) for bed in beds]
        assert write_bundles(BundleWriter(), due) == [encode_frames(chunk) for chunk in due]
    assert len(write_bundles(BundleWriter(), [ramp(bed, 0) for bed in "abcd"])) == 2


COUNTS = np.arange(50, dtype="<i2").tobytes()
HEAD = encode_bundle(Bundle(7, "int16", 1, 25, 1.0, pack_numbers([0, 1]), (0, 1), (0, 25), COUNTS))[1]


def changed(offset: int, layout: str, value: float) -> bytes:
    """The head of a bundle of two beds with another value at an offset."""
    head = bytearray(HEAD)
    struct.pack_into(layout, head, offset, value)
    return bytes(head)


@pytest.mark.parametrize(
    ("head", "counts", "reason"),
    [
        (HEAD[:10], COUNTS, "head of 10 bytes"),
        (HEAD[:-1], COUNTS, "2 beds with a head of 63 bytes"),
        (HEAD + b"\0", COUNTS, "2 beds with a head of 65 bytes"),
        (HEAD, COUNTS[:-1], "99 bytes of samples"),
        (HEAD, COUNTS + b"\0", "101 bytes of samples"),
        (changed(0, "<B", 3), COUNTS, "unknown wire version 3"),
        (changed(1, "<B", 3), COUNTS, "3 bytes a count"),
        (changed(2, "<H", 0), COUNTS, "0 leads"),
        (changed(2, "<H", 17), COUNTS, "17 leads"),
        (changed(4, "<I", 0), COUNTS, "0 samples"),
        (changed(4, "<I", 65_537), COUNTS, "65537 samples"),
        (changed(8, "<I", 0), COUNTS, "0 beds"),
        (changed(8, "<I", 2**32 - 1), COUNTS, "4294967295 beds"),
        (changed(16, "<d", float("nan")), COUNTS, "time of sending"),
        (changed(16, "<d", float("inf")), COUNTS, "time of sending"),
        (changed(16, "<d", -1.0), COUNTS, "time of sending"),
        (changed(HEAD_BYTES, "<Q", 2**53 + 1), COUNTS, "beyond 2\\^53"),
        (changed(HEAD_BYTES + 16, "<Q", 2**53), COUNTS, "beyond 2\\^53"),
        (changed(HEAD_BYTES + 24, "<Q", 2**64 - 1), COUNTS, "beyond 2\\^53"),
        (changed(HEAD_BYTES + 36, "<I", 0), COUNTS, "two packets of a bed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_malformed_bundles(head: bytes, counts: bytes, reason: str) -> None:
    """A bundle that does not follow the page is refused with what is wrong."""
    with pytest.raises(FrameError, match=reason):
        parse_bundle([BUNDLE_TOPIC, head, counts]).numbers()


def test_a_run_of_other_leads() -> None:
    """A bundle of one lead holds no packet of a run of two, though its bytes would do."""
    run = DescribedRun(0, "a", "run", 125.0, BED_LEADS[:2], b"a", 0)
    with pytest.raises(FrameError, match="1 leads with a run of 2"):
        parse_bundle([BUNDLE_TOPIC, HEAD, COUNTS]).packet(0, run)


LEAD = {"name": "II", "unit": "mV", "gain": 1000, "offset": 0, "low": -5, "high": 5}
RUN = {"number": 1, "bed": "a", "run": "r", "fs": 125, "leads": [LEAD]}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"number": -1}, "number"),
        ({"number": 2**32}, "number"),
        ({"bed": ""}, "bed"),
        ({"bed": "é" * 40}, "80 bytes"),
        ({"bed": "\x1b[2J"}, "bed name holds characters"),
        ({"run": "\u202e"}, "run holds characters"),
        ({"fs": 0}, "fs"),
        ({"leads": []}, "malformed leads"),
        ({"leads": [LEAD, LEAD]}, "two leads of the same name"),
        ({"more": 1}, "more"),
    ],
)
def test_malformed_descriptions(values: dict[str, object], reason: str) -> None:
    """A description that does not follow the page is refused by itself: the one beside it is read."""
    content = {"kind": "runs", "v": 2, "session": 7, "runs": [RUN | values, RUN]}
    session, (bad, good) = parse_descriptions([BUNDLE_TOPIC, json.dumps(content).encode(), b""])
    assert session == 7
    assert isinstance(bad, FrameError)
    assert re.search(reason, str(bad))
    assert isinstance(good, DescribedRun)
    assert (good.number, good.bed, good.run, good.fs, good.leads[0].name) == (1, "a", "r", 125.0, "II")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"kind":"runs","v":2,"session":1,"runs":[]}', b'{"kind":"runs","v":3,"session":1,"runs":[1]}'],
)
def test_what_is_no_message_of_descriptions(content: bytes) -> None:
    """What is no message of descriptions is refused as a whole."""
    with pytest.raises(FrameError, match="malformed descriptions"):
        parse_descriptions([BUNDLE_TOPIC, content, b""])


@given(st.binary(max_size=200), st.binary(max_size=64), st.integers(0, 64), st.booleans())
def test_any_bytes(noise: bytes, payload: bytes, at: int, real: bool) -> None:
    """Any bytes in place of a bundle or of descriptions are read or refused with a FrameError."""
    head = HEAD[:at] + noise[:4] + HEAD[at + 4 :] if real else noise
    with suppress(FrameError):
        bundle = parse_bundle([BUNDLE_TOPIC, head, COUNTS if real else payload])
        assert bundle.unpack().shape == (len(bundle.numbers()), bundle.samples, bundle.leads)
    with suppress(FrameError):
        parse_descriptions([BUNDLE_TOPIC, noise, b""])


def test_page_example() -> None:
    """The bundle in docs/wire.md, in hexadecimal, is what the packets beside it are with the descriptions there."""
    descriptions = re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)[0].encode()
    session, runs = parse_descriptions([BUNDLE_TOPIC, descriptions, b""])
    head, counts = (
        bytes.fromhex(re.sub("#.*", "", text)) for text in re.findall(r"```hex\n(.*?)```", SECTION, re.DOTALL)
    )
    bundle = parse_bundle([BUNDLE_TOPIC, head, counts])
    assert bundle.session == session
    found = [
        join_packets([bundle.packet(place, run)])
        for place, number in enumerate(bundle.numbers())
        for run in runs
        if isinstance(run, DescribedRun) and run.number == number
    ]
    assert [(chunk.bed, chunk.run, chunk.sequence, chunk.first, chunk.fs) for chunk in found] == [
        ("100", "5f0c2a", 7, 35, 125.0),
        ("101", "9be1d4", 2, 10, 250.0),
    ]
    assert [chunk.counts[:, 0].tolist() for chunk in found] == [[-145, -140, MISSING], [1000, 300, -64]]
    assert {chunk.sent_s for chunk in found} == {1735689600.25}
    assert encode_bundle(bundle) == [BUNDLE_TOPIC, head, counts]


def test_page_limits_and_keys() -> None:
    """The limits, the topic and the keys in the section are those of the code."""
    section = " ".join(SECTION.split())
    assert f"1 to {bundles.MOST_BUNDLED:,}" in section
    assert " ".join(f"{byte:02x}" for byte in BUNDLE_TOPIC) in section
    message = json.loads(write_bundles(BundleWriter(), [ramp("a", 0), ramp("b", 0)])[0][1])
    assert all(f"`{key}`" in section for key in [*message, *message["runs"][0]])
    sizes = {name: DTYPE_BYTES[name] for name in ("int16", "int32")}
    assert set(bundles.DTYPES.items()) == {(size, name) for name, size in sizes.items()}
    assert isinstance(parse_bundle([BUNDLE_TOPIC, HEAD, COUNTS]), Bundle)
