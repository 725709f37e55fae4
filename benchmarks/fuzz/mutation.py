"""Inputs for fuzzing: real data with bits flipped, pieces moved and numbers replaced.

Everything is drawn from the given `random.Random`, so that an input can be made again from its seed.
"""

import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

LARGEST = 2**20
"""The most bytes of an input."""
NUMBERS = (
    *(b"0", b"-0", b"1", b"-1", b"2", b"0.5", b"1e-9", b"1e-320", b"1e308", b"1e400", b"-1e400", b"1e", b"0x10"),
    b"1_0",
    *(b"nan", b"NaN", b"inf", b"Infinity", b"-Infinity", b"true", b"null", b'""', b"[]", b"{}", b"", b"-"),
    *(str(2**bits + more).encode() for bits in (8, 15, 16, 31, 32, 53, 63, 64) for more in (-1, 0, 1)),
    *(str(-(2**bits) + more).encode() for bits in (8, 15, 16, 31, 32, 53, 63, 64) for more in (-1, 0, 1)),
    *(b"4096", b"65536", b"65537", b"1000000", b"999999999999", b"1" + b"0" * 30, b"9" * 400, b"9" * 5000),
)  # fmt: skip
"""What a number in a text is replaced by."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "a", "\x1b[2J", "\n", "\u202e", "\ud800", "x" * 65, "é" * 64, [], {}, [[]], {"a": 1}),
    *(0, -1, 1, 0.5, -0.0, 1e-9, 1e-320, 1e9, 1e300, float("nan"), float("inf"), float("-inf"), 10**30, -(10**30)),
    *(2**bits + off for bits in (8, 15, 16, 31, 32, 53, 62, 63, 64) for off in (-1, 0, 1)),
)
"""What a value in a JSON object is replaced by."""
JSON_TOKENS = (
    *(b'"v":1', b'"v":2', b'"kind":"end"', b'"kind":"samples"', b'"leads":[]', b'"dtype":"int32"', b'"fs":0'),
    b"\\u0000",
    *(b"\\ud800", b"\\udc00", b'\\"', b"\x1b[2J", b"\xe2\x80\xae", b"\xff", b"{", b"}", b"[", b"]", b",", b":"),
    b"null",
)  # fmt: skip
WIDTHS = (("<b", 8), ("<h", 16), (">h", 16), ("<i", 32), (">i", 32), ("<q", 64), (">q", 64))
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")

Change = Callable[[Random, bytearray], None]


def mutated(random: Random, data: bytes, others: Sequence[bytes] = (), tokens: Sequence[bytes] = ()) -> bytes:
    """Return `data` after a few changes; `others` are spliced in, `tokens` of its language inserted."""
    out = bytearray(data)
    for _ in range(1 + min(int(random.expovariate(0.7)), 8)):
        choice = random.random()
        if others and choice < 0.08:
            _splice(random, out, random.choice(others))
        elif tokens and choice < 0.25:
            at, token = random.randint(0, len(out)), random.choice(tokens)
            out[at : at + random.choice((0, 0, 1, len(token)))] = token
        else:
            random.choice(CHANGES)(random, out)
        del out[LARGEST:]
    return bytes(out)


def flip_bit(random: Random, out: bytearray) -> None:
    if out:
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)


def set_byte(random: Random, out: bytearray) -> None:
    if out:
        out[random.randrange(len(out))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))


def insert(random: Random, out: bytearray) -> None:
    at = random.randint(0, len(out))
    out[at:at] = random.randbytes(random.choice((1, 2, 3, 4, 8, 16)))


def delete(random: Random, out: bytearray) -> None:
    start, stop = _block(random, out)
    del out[start:stop]


def truncate(random: Random, out: bytearray) -> None:
    del out[random.randint(0, len(out)) :]


def extend(random: Random, out: bytearray) -> None:
    out += random.choice((b"\0", b"\xff", b" ", b"\n", b"[", b"9", random.randbytes(1))) * random.choice(
        (1, 4, 64, 4096)
    )


def copy_block(random: Random, out: bytearray) -> None:
    """Copy a block to another place, a few times over."""
    start, stop = _block(random, out)
    at = random.randint(0, len(out))
    out[at:at] = bytes(out[start:stop]) * random.choice((1, 1, 2, 16))


def swap_blocks(random: Random, out: bytearray) -> None:
    edges = sorted(random.randint(0, len(out)) for _ in range(4))
    a, b, c, d = edges
    out[a:d] = out[c:d] + out[b:c] + out[a:b]


def integer(random: Random, out: bytearray) -> None:
    """Write an interesting integer of some width over what is there."""
    form, bits = random.choice(WIDTHS)
    value = random.choice((0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 16, 64, 100))
    packed = struct.pack(form, value)
    if len(out) >= len(packed):
        at = random.randint(0, len(out) - len(packed))
        out[at : at + len(packed)] = packed


def number(random: Random, out: bytearray) -> None:
    """Replace one of the numbers of a text."""
    start = random.randint(0, max(0, len(out) - 1))
    match = NUMBER.search(out, start) or NUMBER.search(out)
    if match:
        out[match.start() : match.end()] = random.choice(NUMBERS)


def line(random: Random, out: bytearray) -> None:
    """Repeat, drop or exchange lines of a text."""
    lines = bytes(out).split(b"\n")
    if len(lines) > 1:
        i, j = random.randrange(len(lines)), random.randrange(len(lines))
        match random.randrange(3):
            case 0:
                lines[i:i] = [lines[j]] * random.choice((1, 2, 20))
            case 1:
                del lines[i]
            case _:
                lines[i], lines[j] = lines[j], lines[i]
        out[:] = b"\n".join(lines)


def nest(random: Random, out: bytearray) -> None:
    """Insert brackets, deeper than any parser likes."""
    at = random.randint(0, len(out))
    depth = random.choice((1, 100, 2000, 10_000))
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"{a=", b"}")))
    out[at:at] = opening * depth + random.choice((b"", b"1")) + random.choice((b"", closing * depth))


CHANGES: tuple[Change, ...] = (
    flip_bit,
    flip_bit,
    set_byte,
    set_byte,
    insert,
    delete,
    truncate,
    extend,
    copy_block,
    swap_blocks,
    integer,
    integer,
    number,
    number,
    number,
    line,
    nest,
)


def value(random: Random, depth: int = 0) -> Any:
    """Return any JSON value, and sometimes one that JSON does not allow."""
    choice = random.random()
    if depth < 3 and choice < 0.1:
        return [value(random, depth + 1) for _ in range(random.choice((0, 1, 3, 20)))]
    if depth < 3 and choice < 0.2:
        return {str(i): value(random, depth + 1) for i in range(random.choice((0, 1, 3)))}
    return random.choice(VALUES)


def altered(random: Random, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with some values, also inside lists and objects, replaced, dropped or added."""
    out = dict(fields)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        key = random.choice(list(out) or ["a"])
        inner = out.get(key)
        match random.randrange(8):
            case 0:
                out.pop(key, None)
            case 1:
                out[random.choice(("more", "v", "kind", "\x1b", "", random.choice(list(fields) or [""])))] = value(
                    random
                )
            case 2 if isinstance(inner, float | int) and not isinstance(inner, bool):
                out[key] = inner + random.choice((-1, 1, 0.5, 2**31, 2**53, inner))
            case 3 | 4 if isinstance(inner, dict) and inner:
                out[key] = altered(random, inner)
            case 3 | 4 if (
                isinstance(inner, list) and inner and isinstance(inner[i := random.randrange(len(inner))], dict)
            ):
                out[key] = [*inner[:i], altered(random, inner[i]), *inner[i + random.randrange(2) :]]
            case _:
                out[key] = value(random)
    return out


def dumped(fields: Any) -> bytes:
    """Return JSON with NaN and Infinity as Python writes them, and lone surrogates as escapes."""
    return json.dumps(fields).encode()


def _block(random: Random, out: bytearray) -> tuple[int, int]:
    start = random.randint(0, len(out))
    return start, min(len(out), start + random.choice((1, 2, 4, 16, 64, 1024)))


def _splice(random: Random, out: bytearray, other: bytes) -> None:
    """Keep the beginning of this and append the end of another."""
    out[random.randint(0, len(out)) :] = other[random.randint(0, len(other)) :]
