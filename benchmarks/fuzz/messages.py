"""What `benchmarks.fuzz` feeds with single messages: those of the wire and of the backfill channel."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from agent.core.messages import End
from agent.wire import requests as second
from agent.wire.packets import DTYPE_BYTES, MOST_PACKET_SAMPLES, decode_frames, encode_frames
from benchmarks.fuzz.mutation import JSON_TOKENS, altered, dumped, mutated
from benchmarks.fuzz.streams import stream


class Messages:
    """Messages of some frames that are decoded in one step: `decode_all` raises FrameError or returns."""

    def __init__(self, seeds: Sequence[Sequence[bytes]], decode_all: Callable[[list[bytes]], Any]) -> None:
        self._seeds, self._decode = [list(seed) for seed in seeds], decode_all
        self._all = [frame for seed in seeds for frame in seed]

    def make(self, random: Random) -> list[bytes]:
        """Frames of a real message with some bytes, JSON values or whole frames changed."""
        frames = list(random.choice(self._seeds))
        choice = random.random()
        texts = [i for i, frame in enumerate(frames) if frame.startswith(b"{")]
        if choice < (0.45 if texts else 0.9):
            i = random.randrange(len(frames))
            frames[i] = mutated(random, frames[i], self._all, JSON_TOKENS)
        elif choice < 0.9:
            i = texts[0]
            fields = altered(random, json.loads(frames[i]))
            frames[i] = dumped(fields)
            if i + 1 < len(frames) and random.random() < 0.5:
                frames[i + 1] = _fitting(random, fields, frames[i + 1])
        else:
            i = random.randint(0, len(frames))
            frames[i:i] = random.choice(([], [b""], [random.randbytes(20)], [random.choice(self._all)] * 200, frames))
            if random.random() < 0.5:
                random.shuffle(frames)
        return frames

    def run(self, parts: list[bytes]) -> None:
        """Decode the message."""
        self._decode(parts)


def wire(_: Path) -> Messages:
    """Packets and ends as a device sends them."""

    def check(frames: list[bytes]) -> None:
        message = decode_frames(frames)
        again = decode_frames(encode_frames(message))
        if isinstance(message, End) or isinstance(again, End):
            assert message == again
            return
        assert message.counts.shape == (json.loads(frames[1])["count"], len(message.leads))
        assert np.array_equal(message.counts, again.counts)
        assert all(getattr(message, name) == getattr(again, name) for name in ("bed", "run", "first", "fs", "leads"))

    return Messages([encode_frames(message) for seed in range(6) for message in stream(Random(seed), "100", 4)], check)


def service(_: Path, name: str) -> Messages:
    """Messages of the backfill channel for the function `name` of `agent.wire.requests`."""
    fetch = second.FetchRequest(id=7, bed="100", run="5f0c2a", first=125, stop=250)
    hello = second.HelloRequest(id=8, sent=1.75e9, complete=True)
    fetched = second.FetchReply(id=7, bed="100", run="5f0c2a", start=0, oldest=100, next=1000, ended=False)
    welcome = second.HelloReply(id=8, asked=1.75e9, received=1.75e9, sent=1.75e9, beds=2)
    packets = [frame for message in stream(Random(0), "100", 4) for frame in encode_frames(message)]
    if name == "decode_request":
        seeds = [[second.encode_channel_message(fetch)], [second.encode_channel_message(hello)]]
    else:
        seeds = [
            [second.encode_channel_message(fetched), *packets],
            [second.encode_channel_message(fetched)],
            [second.encode_channel_message(welcome)],
        ]
    return Messages(seeds, getattr(second, name))


request = partial(service, name="decode_request")
reply = partial(service, name="decode_reply")


def _fitting(random: Random, fields: dict[str, Any], samples: bytes) -> bytes:
    """As many bytes of samples as a header asks for, where it asks for something possible."""
    count, leads, size = fields.get("count"), fields.get("leads"), DTYPE_BYTES.get(str(fields.get("dtype")), 2)
    if (
        not isinstance(count, int)
        or not isinstance(leads, list)
        or not 0 < count <= MOST_PACKET_SAMPLES
        or len(leads) > 20
    ):
        return samples
    wanted = count * len(leads) * size
    return (samples * (wanted // max(1, len(samples)) + 1))[:wanted] if samples else random.randbytes(wanted)
