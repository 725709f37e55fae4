"""What one browser shows and was sent, and the messages that bring it up to what is newest."""

import struct
from bisect import bisect_right
from dataclasses import dataclass
from math import floor
from typing import Any

import msgspec

from agent.core.messages import Beat
from agent.core.rate_limit import TokenBucket
from agent.web.hand_over import TraceKey
from agent.web.ward_mirror import BedTrace, WardMirror
from model.records.resample import FS

MOST_SHOWN = 64
"""Beds whose waves a browser is sent."""
MOST_UNANSWERED = 4
"""Waves messages that may be under way to a browser."""
MOST_SECONDS = 30
WAVES_KIND = 1
HEADER = struct.Struct("<BBHIdd")
BLOCK = struct.Struct("<HBBIHHHH")
BEAT = struct.Struct("<IBBH")
CHANGES_AT_ONCE, CHANGE_S = 4, 0.25
"""How often a browser may change which beds it shows: each change costs the monitor their past."""
RESET, FULL = 1, 2
"""Flags of a block."""
_LOW_32 = 2**32 - 1


@dataclass(slots=True)
class _SentPosition:
    """What a browser has of a bed: samples before `next`, beats up to `last_beat`, since reset number `version`."""

    version: int
    next: int
    last_beat: int


class BrowserState:
    """One browser. Its methods raise ValueError for what no page of ours says."""

    def __init__(self, mirror: WardMirror) -> None:
        self._mirror = mirror
        self.shown: tuple[str, ...] | None = None
        """The names of the beds that it shows; None while it has not said."""
        self.watched: str | None = None
        self.tick = self.answered = 0
        self._seconds = 10.0
        self._sent: dict[TraceKey, _SentPosition] = {}
        self._versions = (0, 0, 0)
        self._old_version = mirror.ward_version
        """The ward that was known when it came: that may be minutes old, and is not for it."""
        self._wish: tuple[tuple[str, ...] | None, str | None] | None = None
        """The beds that it wants to show and to watch, while another change would be too soon."""
        self._changes: TokenBucket | None = None

    def take(self, text: str, now_s: float) -> bool:
        """Take what the browser says. Return whether other beds are wanted now. Raises ValueError."""
        said = read_object(text)
        got = said.get("got")
        if isinstance(got, int) and self.answered < got <= self.tick:
            self.answered = got
        seconds = said.get("seconds")
        if isinstance(seconds, int | float):
            self._seconds = float(min(max(seconds, 1), MOST_SECONDS))
        shown, watched = self._wish or (self.shown, self.watched)
        if "show" in said:
            shown = self._names(said["show"])
        if "watch" in said:
            watched = self._mirror.name_of(said["watch"])
        self._wish = shown, watched
        return self.settle(now_s)

    def settle(self, now_s: float) -> bool:
        """Show the beds that the browser asked for last, if that is not too soon; return whether they are others."""
        if self._wish is None or self._wish == (self.shown, self.watched):
            self._wish = None
            return False
        self._changes = self._changes or TokenBucket(CHANGES_AT_ONCE, CHANGE_S, now_s)
        if not self._changes.take(now_s):
            return False
        (self.shown, self.watched), self._wish = self._wish, None
        self._versions = (0, *self._versions[1:])  # the beds that it sees now are told at once
        return True

    def seen(self) -> list[TraceKey]:
        """Return the beds that it sees."""
        shown = self._mirror.names[:MOST_SHOWN] if self.shown is None else self.shown
        keys = [TraceKey(name, False) for name in shown]
        return [*keys, TraceKey(self.watched, True)] if self.watched is not None else keys

    @property
    def is_behind(self) -> bool:
        """Whether it has not answered what is under way."""
        return self.tick - self.answered >= MOST_UNANSWERED

    def ward_message(self) -> str | None:
        """Return the newest ward, None if it was sent."""
        mirror, (ward, index, events) = self._mirror, self._versions
        if mirror.ward_version in (ward, self._old_version):
            return None
        self._versions = mirror.ward_version, mirror.index_version, mirror.events_version
        names = {key.bed for key in self.seen()}
        beds = [mirror.encoded_bed(name, name == self.watched) for name in mirror.names if name in names]
        parts = [mirror.ward_head[:-1], b',"beds":[', b",".join(bed for bed in beds if bed), b"]"]
        if mirror.index_version != index:
            parts += [b',"index":', mirror.index]
        if mirror.events_version != events:
            parts += [b',"events":', mirror.events]
        return b"".join([*parts, b"}"]).decode()

    def waves_message(self, now_s: float) -> bytes | None:
        """Return what is new of the beds that it sees, None if nothing is, or while it is behind."""
        if self.is_behind:
            return None
        mirror, blocks = self._mirror, []
        keys = self.seen()
        sent: dict[TraceKey, _SentPosition] = {}
        for key in keys:
            trace = mirror.traces.get(key)
            if trace is None or not trace.version:
                continue
            position = self._sent.get(key)
            blocks += self._blocks(key, trace, position)
            last_beat = trace.beats[-1].sample if trace.beats else -1
            sent[key] = _SentPosition(trace.version, trace.stop, last_beat)
        self._sent = sent
        if not blocks:
            return None
        self.tick = (self.tick + 1) & _LOW_32
        return HEADER.pack(WAVES_KIND, 1, len(blocks), self.tick, mirror.made_s, now_s) + b"".join(blocks)

    def _blocks(self, key: TraceKey, trace: BedTrace, position: _SentPosition | None) -> list[bytes]:
        reset = position is None or position.version != trace.version or position.next < trace.first
        if position is None or reset:
            seconds = MOST_SECONDS if key.full else self._seconds
            first = max(trace.first, trace.stop - round(seconds * FS))
            last_beat = first - 1
        else:
            first, last_beat = position.next, position.last_beat
        count = trace.stop - first
        beats = trace.beats[bisect_right(trace.beats, last_beat, key=lambda beat: beat.sample) :]
        if not (count or beats or reset):
            return []
        flags = (RESET if reset else 0) | (FULL if key.full else 0)
        age_ms = min(round(1000 * max(0.0, self._mirror.made_s - trace.arrived_s)), 2**16 - 1)
        number = self._mirror.ids[key.bed]
        blocks = []
        for lead, samples in enumerate(trace.leads):
            of = beats if lead == 0 else []
            head = BLOCK.pack(number, lead, flags, first & _LOW_32, count, len(of), age_ms, 0)
            values = samples[len(samples) - count :].astype("<i2", copy=False).tobytes()
            blocks.append(b"".join([head, values, *map(_pack_beat, of)]))
        return blocks

    def _names(self, numbers: Any) -> tuple[str, ...]:
        if not isinstance(numbers, list):
            raise ValueError("show is a list")
        names = (self._mirror.name_of(number) for number in numbers[:MOST_SHOWN])
        return tuple(dict.fromkeys(name for name in names if name is not None))


def read_object(text: str) -> dict[str, Any]:
    """Return an object of JSON. Raises ValueError for anything else."""
    try:
        said = msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(said, dict):
        raise ValueError("no object")
    return said


def _pack_beat(beat: Beat) -> bytes:
    return BEAT.pack(beat.sample & _LOW_32, ord(beat.label[0]), floor(100 * beat.confidence + 1e-6), 0)
