"""Bundles for `benchmarks.fuzz`: single ones to be changed, and those of a sequence of packets."""

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from agent.core.messages import Chunk, End
from agent.device.bundle_writer import BundleWriter
from agent.wire.bundles import (
    Bundle,
    encode_bundle,
    encode_description,
    encode_descriptions,
    is_bundle,
    pack_numbers,
    parse_bundle,
    parse_descriptions,
)
from agent.wire.packets import PacketCutter, encode_frames
from benchmarks.fuzz.messages import Messages
from benchmarks.fuzz.mutation import JSON_TOKENS, altered, dumped, mutated
from benchmarks.fuzz.streams import stream
from model.errors import FrameError

SESSION = 7


@dataclass(frozen=True, eq=False)
class DueChunk:
    """A packet, or an End, that is due."""

    message: Chunk | End

    @property
    def cutter(self) -> PacketCutter | None:
        return PacketCutter(self.message) if isinstance(self.message, Chunk) else None

    @property
    def start(self) -> int:
        return 0

    @property
    def stop(self) -> int:
        return len(self.message.counts) if isinstance(self.message, Chunk) else 0

    @property
    def sequence(self) -> int:
        return self.message.sequence

    def frames(self, _sent_s: float) -> list[bytes]:
        """Return the frames of version 1."""
        return encode_frames(self.message)


def write_bundles(writer: BundleWriter, messages: Iterable[Chunk | End], sent_s: float = 1.0) -> list[list[bytes]]:
    """Return what a device sends of messages that are due together: descriptions, then bundles and packets."""
    written = list(writer.write([DueChunk(message) for message in messages], sent_s))
    out: list[list[bytes]] = []
    while (description := writer.descriptions()) is not None:
        out.append(description)
        writer.note_described()
    return out + [message.frames for message in written]


def single(_: Path) -> Messages:
    """Bundles and descriptions as a device sends them."""
    seeds = []
    for seed in range(6):
        streams = [stream(Random(seed), f"{bed}", 4) for bed in range(5)]
        for due in zip(*streams, strict=False):
            seeds += [frames for frames in write_bundles(BundleWriter(), due) if frames[0][:1] == b"\0"]

    def check(frames: list[bytes]) -> None:
        if not is_bundle(frames):
            _, runs = parse_descriptions(frames)
            assert all(str(run).isprintable() for run in runs if isinstance(run, FrameError))
            return
        bundle = parse_bundle(frames)
        numbers = bundle.numbers()
        assert bundle.unpack().shape == (len(numbers), bundle.samples, bundle.leads)
        assert encode_bundle(bundle)[1:] == frames[1:]

    return Messages(seeds, check)


@dataclass
class BundledRuns:
    """The numbers of the runs of a sequence."""

    numbers: dict[tuple[str, str, float, int], int] = field(default_factory=dict)

    def describe(self, random: Random, key: tuple[str, str, float, int], leads: list[dict[str, Any]]) -> list[bytes]:
        """Return the description of a run by its bed, name, rate and number of leads; now and then with changes."""
        text = encode_description(self.numbers[key], *key[:3], msgspec.Raw(dumped(leads[: key[3]])))
        frames = encode_descriptions(SESSION, [text])
        if random.random() < 0.1:
            frames[1] = dumped(altered(random, json.loads(frames[1])))
        return frames

    def number(self, key: tuple[str, str, float, int]) -> tuple[int, bool]:
        """Return the number of a run, and whether it is new."""
        is_new = key not in self.numbers
        return self.numbers.setdefault(key, len(self.numbers)), is_new


def bundle_of(number: int, sequence: int, first: int, samples: int, leads: int, payload: bytes) -> list[bytes]:
    """Return a bundle of one bed in 16 bits."""
    places = (sequence,), (first,)
    return encode_bundle(Bundle(SESSION, "int16", leads, samples, 1.75e9, pack_numbers([number]), *places, payload))


def misshapen_bundle(random: Random, frames: Sequence[bytes]) -> tuple[list[bytes], tuple[int, int, int]]:
    """Return a bundle of one bed with another head; and first sample, samples and leads that it then has, or zeros."""
    head = mutated(random, frames[1], (), JSON_TOKENS)
    place = 0, 0, 0
    if len(head) == len(frames[1]):
        _, _, leads, samples, beds = struct.unpack_from("<BBHII", head)
        (first,) = struct.unpack_from("<Q", head, 32)
        place = (first, samples, leads) if beds == 1 else place
    return [frames[0], head, frames[2]], place
