"""Reads what a device sends, as strictly as ../wire.md specifies it, and puts its samples in order, for monitor.py."""

import json
import struct
from math import nan

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
INDEX, TEXT, RAIL, TIME = (int, 0, 2**53), (str, 1, 64), (int, -(2**31), 2**31 - 1), (float, 0, 1e12)
END = dict(kind=TEXT, v=(int, 1, 1), run=TEXT, sequence=INDEX, first=INDEX, fs=(float, 1, 10_000), sent=TIME)
SAMPLES = END | dict(count=(int, 1, 65_536), dtype=TEXT, leads=(list, 1, 16))
LEAD = dict(name=TEXT, unit=(str, 1, 16), gain=(float, 1e-9, 1e9), offset=(float, -(2**53), 2**53), low=RAIL, high=RAIL)
HELLO = dict(kind=TEXT, v=(int, 1, 1), id=INDEX, asked=TIME, received=TIME, sent=TIME, beds=INDEX)
FETCHED = dict(kind=TEXT, v=(int, 1, 1), id=INDEX, bed=TEXT, run=(str, 0, 64), start=INDEX, oldest=INDEX, next=INDEX)
FETCHED |= dict(ended=(bool, 0, 1))


def parse_packet(name, head, data):
    """Return bed, header and samples of three frames: of each sample the value of each lead, NaN for no value."""
    bed, header = name.decode(), json.loads(head)
    require(1 <= len(name) <= 64 and bed.isprintable(), "name of the bed")
    require(len(head) <= 16_384 and len(data) <= 2**20, "size of a frame")
    check(header, dict(samples=SAMPLES, end=END)[header["kind"]])
    if header["kind"] == "end":
        require(not data, "an end with samples")
        return bed, header, []
    leads = header["leads"]
    require(all(check(lead, LEAD)["low"] < lead["high"] for lead in leads), "rails")
    require(len({lead["name"] for lead in leads}) == len(leads), "two leads of one name")
    (letter, size), count = dict(int16=("h", 2), int32=("i", 4))[header["dtype"]], header["count"]
    require(header["first"] + count <= 2**53 and len(data) == count * len(leads) * size, "count, or size of frame 3")
    none, scales = -(2 ** (8 * size - 1)), [(lead["offset"], lead["gain"]) for lead in leads]
    rows = struct.iter_unpack(f"<{len(leads)}{letter}", data)
    return bed, header, [[nan if n == none else (n - o) / g for n, (o, g) in zip(row, scales)] for row in rows]


def parse_reply(head, *frames):
    """Return a reply, and the three frames of each packet behind it."""
    reply = json.loads(head)
    require(len(head) <= 1024 and len(frames) % 3 == 0 and len(frames) <= 3 * 8192, "size of a reply")
    check(reply, dict(hello=HELLO, fetched=FETCHED)[reply["kind"]])
    return reply, list(zip(frames[::3], frames[1::3], frames[2::3]))


def check(found, keys):
    """Return an object that has exactly these keys, each of its type and within its limits."""
    require(set(found) == set(keys), f"keys {sorted(found)}")
    for key, (kind, low, high) in keys.items():
        value = found[key]
        require(type(value) in (kind, int if kind is float else kind), f"type of {key}")
        require(low <= (len(value) if kind in (str, list) else value) <= high, f"{key} {value!r}")
        require(kind is not str or value.isprintable(), f"{key} {value!r}")
    return found


def require(truth, what):
    """Raise ValueError where something is not so."""
    if not truth:
        raise ValueError(f"not as specified: {what}")


class Run:
    """A run of a bed: `samples` in order up to `next`, each (index, values); `gaps`: ranges that never came."""

    name, fs, joined, next, sent, end = None, 0, 0, 0, 0, None

    def __init__(self):
        self.samples, self.gaps, self._held = [], [], {}

    def join(self, header, back_s):
        """Begin with the first packet, `back_s` seconds before it: what was sent in these is missing."""
        if self.name is not None:
            return
        self.name, self.fs, self.joined = header["run"], header["fs"], header["first"]
        self.next = max(0, self.joined - round(back_s * self.fs))
        self.take(self.joined, [])

    @property
    def missing(self):
        """The number of samples that are missing before the first that is held back, or before the end."""
        return max(0, min(self._held, default=self.end or 0) - self.next)

    def take(self, first, values):
        """Take samples, or hold them back until those before them have come."""
        self._held[first] = max(values, self._held.get(first, []), key=len)
        self.sent = max(self.sent, first + len(values))
        while self._held and (first := min(self._held)) <= self.next:
            new = self._held.pop(first)[self.next - first :]
            self.samples += enumerate(new, self.next)
            self.next += len(new)

    def skip(self, stop, lost=True):
        """Go on behind the missing samples before `stop`: they are a gap, unless they never were (not `lost`)."""
        count = min(stop - self.next, self.missing)
        if count > 0:
            self.gaps += [[self.next, self.next + count]] if lost else []
            self.next += count
            self.take(self.next, [])
