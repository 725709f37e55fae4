"""agent.bridge.line_parser, json_rows: numbers from lines of text, whatever else comes."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bridge.line_parser import LATE_MESSAGES, LONGEST_LINE_BYTES, MOST_LATE_ROWS, LineParser
from agent.bridge.row_parser import SampleRow


def parse(*pieces: bytes, whole: bool = True) -> list[SampleRow]:
    parser = LineParser(whole)
    return [row for piece in pieces for row in parser.feed(piece)] + parser.flush()


def plain(rows: list[SampleRow]) -> list[object]:
    """Rows with None for NaN, so that they can be compared."""
    return [row if isinstance(row, int) else [None if math.isnan(x) else x for x in row] for row in rows]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"512", [512]),
        (b" 512,498 ", [512, 498]),
        (b"512;498", [512, 498]),
        (b"512\t498", [512, 498]),
        (b"512, 498,", [512, 498]),
        (b"-0.5 1e-3", [-0.5, 0.001]),
        (b"512,,498", [512, None, 498]),
        (b",498", [None, 498]),
        (b"ecg:512 lead2:498", [512, 498]),
        (b"ecg: 512, lead2: 498", [512, 498]),
        (b"ECG:512", [512]),
        (b"!", [None]),
        (b"!,498", [None, 498]),
        (b"nan 498", [None, 498]),
        (b"[512, null, 498.5]", [512, None, 498.5]),
        (b'{"ecg": 512, "resp": 3, "id": "bed"}', [512, 3]),
        (b"4294967295", [4294967295]),
    ],
)
def test_a_line_is_a_row(line: bytes, row: list[float | None]) -> None:
    """Numbers with any separator, names, marks of leads that are off, and JSON."""
    assert plain(parse(line + b"\r\n")) == [row]


@pytest.mark.parametrize(
    "line",
    [
        *(b"ECG monitor ready", b"512 ohm", b"inf", b"1e999", b"1_000", b"{}", b"[]", b"[true]", b'["512"]', b'{"a":1'),
        *(
            b"\x1c",
            b"\xff\xfe512\x00",
            b"[" * 3000,
            b"[1" + b"0" * 400 + b"]",
            b'{"a": {"b": 1}}',
            b",",
            b";;;",
            b"--5",
        ),
    ],
)
def test_what_is_no_number_is_skipped(line: bytes) -> None:
    """Text, binary data, infinities and other JSON are no rows; the lines beside them are."""
    parser = LineParser(whole=True)
    assert plain(parser.feed(b"1\n" + line + b"\n2\n")) == [[1], [2]]
    assert (parser.taken, parser.skipped) == (2, 1)


def test_the_first_line_of_a_connection_is_passed_over() -> None:
    """Whoever connects in the middle of a line would take half a number for a whole one."""
    parser = LineParser()
    assert plain(parser.feed(b"12\n512\n4")) == [[512]]
    parser.restart()
    assert plain(parser.feed(b"98\n499\n")) == [[499]]
    assert parser.skipped == 0


def test_a_line_without_end() -> None:
    """What never ends takes little memory, and its end is not taken for a number."""
    parser = LineParser(whole=True)
    for _ in range(3):
        assert parser.feed(b"x" * LONGEST_LINE_BYTES) == []
    assert plain(parser.feed(b"77\n512\n")) == [[512]]
    assert len(parser._rest) == 0


def test_leads_off_keep_their_number() -> None:
    """A line of "!" stands for as many leads as the lines before it have."""
    assert plain(parse(b"1,2\n!\n3,4\n")) == [[1, 2], [None, None], [3, 4]]


def test_names_and_decimals_are_noted() -> None:
    """The plotter's labels and the keys of JSON name the columns; "0.00" is no whole number."""
    parser = LineParser(whole=True)
    parser.feed(b"ecg:5\tresp:6\n")
    assert (parser.names, parser.decimals) == (("ecg", "resp"), False)
    parser.feed(b'{"II": 5, "V5": 6}\n')
    assert parser.names == ("II", "V5")
    parser.feed(b"0.00\n")
    assert parser.decimals


def test_arrays_in_objects_are_samples() -> None:
    """An object of arrays, and an array of arrays, bring several samples at once; a flat array is one sample."""
    assert plain(parse(b'{"ecg": [1, 2, null], "resp": [4, 5, 6]}\n')) == [[1, 4], [2, 5], [None, 6]]
    assert plain(parse(b"[[1, 4], [2, 5]]\n")) == [[1, 4], [2, 5]]
    assert plain(parse(b"[1, 2]\n")) == [[1, 2]]
    assert plain(parse(b'{"ecg": [1, 2], "resp": [3]}\n')) == []
    assert plain(parse(b'{"battery": 80, "ecg": [1, 2]}\n')) == [[1], [2]]


def numbered(sequence: int, *values: int) -> bytes:
    return f'{{"seq": {sequence}, "ecg": {list(values)}}}\n'.encode()


def test_numbers_of_samples_tell_losses() -> None:
    """A jump of "seq" says how many samples were lost; what comes late is dropped, and a sender may start again."""
    assert plain(parse(numbered(7, 1, 2), numbered(9, 3), numbered(15, 4))) == [[1], [2], [3], 5, [4]]
    assert plain(parse(numbered(7, 1), numbered(9, 2), numbered(8, 3), numbered(10, 4))) == [[1], 1, [2], [4]]
    assert plain(parse(numbered(MOST_LATE_ROWS + 9, 1), numbered(0, 2), numbered(1, 3))) == [[1], [2], [3]]
    restarted = [numbered(number, number) for number in range(LATE_MESSAGES + 3)]
    assert plain(parse(numbered(100, 1), *restarted))[1:] == [[20], [21], [22]]
    assert plain(parse(numbered(0, 1), numbered(2**60, 2))) == [[1], [2]]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_bytes_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """No input makes it fail, and how the bytes were cut changes no row."""
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert plain(parse(*pieces)) == plain(parse(data))


@given(
    st.lists(st.sampled_from([b"512", b"1,2", b"!", b'{"seq":1,"a":2}', b"a:1", b"[1]", b"\r", b"\n", b"nan", b","]))
)
def test_lines_in_any_order(parts: list[bytes]) -> None:
    """All forms may follow each other: every row has numbers."""
    assert all(isinstance(row, int) or row for row in parse(b"\n".join(parts)))
