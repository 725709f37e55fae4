"""agent.bridge.frame_parsers: frames of ProtoCentral and Chords, whole, broken and lost."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bridge.frame_parsers import PROTOCENTRAL_VARIANTS, ChordsParser, FrameParser, ProtocentralParser
from model.errors import SourceError


def protocentral(kind: int, payload: bytes) -> bytes:
    return b"\x0a\xfa" + struct.pack("<HB", len(payload), kind) + payload + b"\x00\x0b"


def chords(counter: int, *values: int) -> bytes:
    return b"\xc7\x7c" + bytes([counter % 256]) + struct.pack(f">{len(values)}H", *values) + b"\x01"


def test_ads1292r_frames() -> None:
    """The breakout's sketch: ECG and respiration in 16 bits with a sign, then two rates."""
    parser = ProtocentralParser()
    assert parser.feed(protocentral(2, struct.pack("<hhhh", -300, 7, 72, 15))) == [(-300, 7)]
    assert parser.names == ("ECG", "RESP")
    assert parser.feed(protocentral(2, struct.pack("<hh16x", 300, -7))) == [(300, -7)]
    assert parser.feed(protocentral(2, struct.pack("<hiB", 300, -70_000, 72))) == [(300, -70_000)]


def test_healthypi_5_frames() -> None:
    """One sample a frame in 32 bits, or eight; frames of the oximeter are passed over."""
    parser = ProtocentralParser()
    assert parser.feed(protocentral(2, struct.pack("<ii14x", -70_000, 5))) == [(-70_000, 5)]
    eight = protocentral(3, struct.pack("<8i18x", *range(8)))
    assert parser.feed(protocentral(4, bytes(19)) + eight) == [(value,) for value in range(8)]


def test_unknown_frames_are_named() -> None:
    """A variant that nobody knows is no ECG by guess."""
    with pytest.raises(SourceError, match="type 2 with 13 bytes are unknown: known are type 2 with 7"):
        ProtocentralParser().feed(protocentral(2, bytes(13)))


def test_frames_in_the_payload_do_not_confuse() -> None:
    """The two bytes of a beginning may stand in a payload, and an end may be missing."""
    parser = ProtocentralParser()
    sneaky = protocentral(2, b"\x0a\xfa\x08\x00\x02\x00\x0b\x00")
    whole = protocentral(2, struct.pack("<hhhh", 1, 2, 3, 4))
    assert parser.feed(sneaky + whole) == [(-1526, 8), (1, 2)]
    assert parser.feed(whole[:-1] + b"\xff" + whole + b"\x0a" + whole) == [(1, 2), (1, 2)]
    assert parser.skipped == 1


@pytest.mark.parametrize("channels", [1, 3, 6, 8, 16])
def test_chords_of_every_board(channels: int) -> None:
    """The number of channels is that of the board; the first bytes may be half a frame."""
    values = [257 * (channel + 1) for channel in range(channels)]
    frames = [chords(counter, *values) for counter in range(250, 270)]
    parser = ChordsParser()
    assert parser.feed(frames[0][5:] + b"".join(frames[1:])) == [tuple(values)] * 19


def test_chords_counters_tell_losses() -> None:
    """A jump of the counter is as many lost frames, over 255 too; another connection begins anew."""
    parser = ChordsParser()
    parser.feed(b"".join(chords(counter, 1, 2) for counter in range(10)))
    assert parser.feed(chords(10, 3, 4) + chords(14, 5, 6)) == [(3, 4), 3, (5, 6)]
    assert parser.feed(chords(255, 1, 1) + chords(1, 2, 2))[-3:] == [(1, 1), 1, (2, 2)]
    parser.restart()
    assert parser.feed(chords(99, 7, 8)) == [(7, 8)]


def test_a_broken_chords_frame_is_a_lost_one() -> None:
    """A frame whose end is wrong is passed over, and the counter says that one is missing."""
    parser = ChordsParser()
    parser.feed(b"".join(chords(counter, 1, 2) for counter in range(10)))
    broken = chords(10, 3, 4)[:-1] + b"\x00"
    assert parser.feed(broken + chords(11, 5, 6)) == [1, (5, 6)]


@given(
    st.sampled_from([ProtocentralParser, ChordsParser]),
    st.lists(st.one_of(st.binary(max_size=40), st.just(b"GOOD")), max_size=12),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_any_bytes_in_any_pieces(kind: type[FrameParser], parts: list[bytes], cuts: list[int]) -> None:
    """Garbage makes nothing fail but unknown variants, and how the bytes were cut changes no row."""
    good = protocentral(2, bytes(8)) if kind is ProtocentralParser else chords(1, 2, 3)
    data = b"".join(good if part == b"GOOD" else part for part in parts)
    edges = [0, *sorted(cuts), len(data)]
    whole, cut = kind(), kind()
    try:
        expected = whole.feed(data)
    except SourceError:
        return
    rows = [row for a, b in pairwise(edges) for row in cut.feed(data[a:b])]
    assert rows == expected
    assert len(cut._rest) < 400


def test_variants_are_documented_sizes() -> None:
    """No variant reads beyond its payload."""
    for (_, size), variant in PROTOCENTRAL_VARIANTS.items():
        assert struct.calcsize(variant.layout) * variant.rows <= size
