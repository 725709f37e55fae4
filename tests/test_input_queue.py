"""agent.pipeline.input_queue: whose turn it is, what a turn may cost, and what becomes of what nobody analyses."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from math import inf

import numpy as np
import pytest
from conftest import LEADS, all_found, chunks, record_counts

from agent.analysis.lead_input import SampleBlock
from agent.core.config import load_config
from agent.core.events import Event, GapClosed, RunEnded, RunStarted
from agent.core.messages import MISSING, Alarm, Beat, BedsChunk, Chunk, End, Gap, Result, Signal, separate_chunks
from agent.pipeline.bundled_beds import BedsTogether
from agent.pipeline.input_queue import (
    BACKLOG_OF_ALL,
    BACKLOG_SAMPLES,
    OVERLOAD,
    PIECE_SAMPLES,
    TURN_SAMPLES,
    InputQueue,
)
from agent.pipeline.monitored_bed import MonitoredBed
from agent.pipeline.pipeline import Pipeline
from agent.pipeline.waiting_bed import BLOCK_SAMPLES
from model.records.resample import FS

NewWard = Callable[[], Pipeline]


def chunk(bed: str, count: int, first: int = 0, comb: bool = False, fs: float = FS) -> Chunk:
    """Samples of a bed; in a comb every other one is without a value."""
    counts = np.tile(np.arange(count, dtype=np.int32)[:, None] % 1000, (1, len(LEADS)))
    if comb:
        counts[1::2] = MISSING
    return Chunk(bed, "run", first, fs, LEADS, counts, 0.0, time.time(), 0)


class Ward:
    """An input queue and its beds."""

    def __init__(self) -> None:
        self.queue = InputQueue("auto", load_config(None).signal)
        self.beds: dict[str, MonitoredBed] = {}

    def put(self, *messages: Chunk | Gap | End) -> None:
        beds = [self.beds.setdefault(message.bed, MonitoredBed(message.bed, len(self.beds))) for message in messages]
        self.queue.put(beds, messages)

    def turn(self) -> dict[str, int]:
        """Take a turn; return the work of each bed, in samples."""
        work: Counter[str] = Counter()
        for item in self.queue.next_turn():
            if isinstance(item, BedsTogether):
                work.update({bed.name: item.x.shape[2] for bed in item.beds})
            else:
                bed, step = item
                work[bed.name] += len(step.x) if isinstance(step, SampleBlock) else BLOCK_SAMPLES
        return work


@pytest.mark.parametrize("beds", [1, 16, 300])
def test_blocks_without_a_hurry(beds: int) -> None:
    """Where nobody waits for results the blocks of a bed are the same, however many others there are."""
    ward = Ward()
    ward.queue.block, ward.queue.turn = 1250, inf
    ward.put(*(chunk(str(bed), 4000) for bed in range(beds)))
    sizes: dict[str, list[int]] = {}
    while len(ward.queue):
        for item in ward.queue.next_turn():
            if not isinstance(item, BedsTogether) and isinstance(item[1], SampleBlock):
                sizes.setdefault(item[0].name, []).append(len(item[1].x))
    assert len(sizes) == beds
    assert set(map(tuple, sizes.values())) == {tuple(sizes["0"])}
    assert sizes["0"][0] == 1250


def test_a_bed_in_time_has_its_turn_whatever_the_others_bring() -> None:
    """In every turn the bed that brings a packet is served whole, beside one or a thousand with minutes of signal."""
    for greedy in (1, 9, 1000):
        ward = Ward()
        ward.put(*(chunk(f"greedy {i}", 30_000) for i in range(greedy)))
        for turn in range(5):
            ward.put(chunk("good", 25, 25 * turn))
            work = ward.turn()
            assert work["good"] in (25, BLOCK_SAMPLES + 25)
            assert sum(work.values()) <= TURN_SAMPLES + 5 * BLOCK_SAMPLES


def test_greedy_beds_take_turns() -> None:
    """Where a turn has not enough work for all, the others come next: none is served twice before all were served."""
    ward = Ward()
    names = [f"bed {i}" for i in range(1000)]
    ward.put(*(chunk(name, 30_000) for name in names))
    served: list[str] = []
    while len(served) < len(names):
        served += ward.turn()
    assert len(set(served[: len(names)])) == len(names)


def test_gaps_count_as_work() -> None:
    """A packet in which every other sample has no value is taken in small pieces, each of bounded work."""
    ward = Ward()
    ward.put(chunk("comb", 16_384, comb=True))
    assert len(ward.queue) == 1
    turns = 0
    while len(ward.queue):
        assert sum(ward.turn().values()) <= 4 * BLOCK_SAMPLES
        waiting = next(iter(ward.queue._waiting.values()), None)
        assert waiting is None or len(waiting.steps) <= PIECE_SAMPLES + 1
        turns += 1
    assert turns >= 16_384 // 4
    assert ward.beds["comb"].analysed == 16_384


def test_the_account_of_what_waits_closes() -> None:
    """Whatever was put in, nothing waits after the last turn, by bed and in samples."""
    ward = Ward()
    for number in range(20):
        ward.put(chunk("1", 1300, 1300 * number, comb=number % 3 == 0), chunk("2", 70, 70 * number, fs=250.0))
        ward.put(Gap("1", "run", 0, 10, FS, "never arrived"))
        waiting = ward.queue._waiting["1"]
        assert waiting.samples == sum(
            len(step.x) if isinstance(step, SampleBlock) else BLOCK_SAMPLES for step in waiting.steps
        ) + sum(len(item.counts) if isinstance(item, Chunk) else BLOCK_SAMPLES for item in waiting.messages)
    while len(ward.queue):
        ward.turn()
    assert ward.queue.backlog() == (set(), set())


def test_who_has_enough() -> None:
    """A minute is enough, four are too much; where very many wait, a bed has enough with its share."""
    ward = Ward()
    ward.put(chunk("little", BACKLOG_SAMPLES - 1000), chunk("enough", BACKLOG_SAMPLES + 1000))
    ward.put(chunk("much", OVERLOAD * BACKLOG_SAMPLES + 1000))
    assert ward.queue.backlog() == ({"enough", "much"}, {"much"})
    ward.put(*(chunk(f"bed {i}", 10) for i in range(BACKLOG_OF_ALL // BACKLOG_SAMPLES * 2)))
    assert "little" in ward.queue.backlog()[0]


@pytest.mark.parametrize("sizes", [[65_000], [5000, 7], [501]])
def test_pieces_change_no_result(new_ward: NewWard, sizes: list[int]) -> None:
    """Long chunks with samples without a value give the same beats and gaps as short ones."""
    counts = record_counts("208", 120).copy()
    counts[3000:3010] = counts[9000:9700] = MISSING
    stream: list[Chunk | Gap | End] = [*chunks(counts, [250]), End("1", "run", len(counts), FS)]
    whole = all_found(new_ward(), stream)
    assert len([item for item in whole if isinstance(item, Beat)]) > 100
    assert all_found(new_ward(), [*chunks(counts, sizes), End("1", "run", len(counts), FS)]) == whole


def together(parts: list[Chunk]) -> BedsChunk:
    """Equally long chunks of several beds as they come in a bundle. A chunk names its run as well as a bundle does."""
    counts = np.stack([part.counts for part in parts])
    return BedsChunk(parts, [part.first for part in parts], counts, 0.0, 0.0, [0] * len(parts))


def story(found: list[Result], bed: str) -> list[Result]:
    """What was found of a bed, in order."""
    return [item for item in found if isinstance(item, Beat | Event) and item.bed == bed]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shared", [False, True])
def test_what_comes_together_is_as_if_it_came_bed_by_bed(new_auto_ward: NewWard, seed: int, shared: bool) -> None:
    """Bundles of changing beds, chunks by themselves and gaps, several of a bed in a push: the same of each bed.

    A shared push ends after one turn, and often more comes before all is analysed.
    """
    random = np.random.default_rng(seed)
    beds = {str(bed): record_counts("208", 24, start=20.0 * bed) for bed in range(9)}
    for counts in beds.values():
        counts[random.integers(100, 2500) :][: random.integers(1, 60)] = MISSING
        counts[random.integers(100, 2500)] += 30_000  # a step that may be a pulse
    at = dict.fromkeys(beds, 0)
    one, other = new_auto_ward(), new_auto_ward()
    for ward in (one, other) if shared else ():
        ward._clock = iter(range(10**6)).__next__
    found: tuple[list[Result], list[Result]] = ([], [])
    while min(at.values()) < 2500:
        messages: list[Signal] = []
        for _ in range(random.integers(1, 5)):
            size = int(random.choice([5, 25, 64, 90, 600]))
            some = [bed for bed in beds if random.random() < 0.8 and at[bed] + size <= 2900]
            parts = [next(chunks(beds[bed][at[bed] : at[bed] + size], [size], bed=bed, first=at[bed])) for bed in some]
            at.update({bed: at[bed] + size for bed in some})
            messages += [together(parts)] if parts and random.random() < 0.7 else parts
            if random.random() < 0.2:
                bed = str(random.choice(list(beds)))
                messages.append(Gap(bed, "run", at[bed], 30, FS, "lost"))
                at[bed] += 30
        if not messages:
            break
        for ward, results, brought in zip((one, other), found, (messages, separate_chunks(messages)), strict=True):
            results += ward.push(brought, shared=shared)
            while ward.waiting and at["0"] % 3:
                results += ward.push([], shared=shared)
    for ward, results in zip((one, other), found, strict=True):
        while ward.waiting:
            results += ward.push([], shared=shared)
    for ward, results in zip((one, other), found, strict=True):
        results += ward.finish()
    for bed in beds:
        assert story(found[0], bed) == story(found[1], bed)
        assert (one.beds[bed].analysed, one.beds[bed].lost) == (other.beds[bed].analysed, other.beds[bed].lost)
    assert sum(isinstance(item, Beat) for item in found[0]) > 120


def found_of(ward: Pipeline, messages: Sequence[Signal]) -> list[Result]:
    """Take messages, analyse for one turn, and end."""
    ward._clock = iter(range(10**6)).__next__  # a push is over after one turn
    return [*ward.push(messages, shared=True), *ward.finish()]


@pytest.mark.parametrize("comb", [False, True])
def test_what_nobody_analysed_is_declared(new_ward: NewWard, comb: bool) -> None:
    """At the end what waits becomes one gap with its place, and counts as missing; the end of the run is told."""
    ward = new_ward()
    count = 20_000
    found = found_of(ward, [chunk("1", count, comb=comb), End("1", "run", count, FS)])
    bed = ward.beds["1"]
    assert bed.analysed + bed.lost == count
    assert bed.lost > count - 10 * BLOCK_SAMPLES
    gaps = [item for item in found if isinstance(item, GapClosed) and item.reason == "not analysed before the end"]
    assert len(gaps) == 1
    assert gaps[0].sample + gaps[0].count == count
    assert not ward.waiting


def test_what_comes_together_stays_so_however_much_it_is(new_ward: NewWard) -> None:
    """Of seconds at once no bed goes on by itself: all wait together, and know what they have."""
    ward = new_ward()
    names = [str(bed) for bed in range(9)]
    for first in (0, 100):
        ward.push([together([chunk(name, 100, first) for name in names])])
    ward._clock = iter(range(10**6)).__next__  # a push is over after one turn
    for first in (200, 1100):
        ward.push([together([chunk(name, 900, first) for name in names])], shared=True)
    assert not ward._inbox._waiting
    assert sorted(bed.name for bed in ward._inbox.waiting()) == names
    assert ward.backlog() == (set(), set())
    for first in range(2000, 2000 + 2 * BACKLOG_SAMPLES, 900):
        ward.push([together([chunk(name, 900, first) for name in names])], shared=True)
    assert ward.backlog() == (set(names), set())


def test_gaps_of_beds_that_come_together_count_as_work(new_ward: NewWard) -> None:
    """A bundle in which every other sample has no value is not taken apart all at once."""
    ward = new_ward()
    ward._clock = iter(range(10**6)).__next__  # a push is over after one turn
    ward.push([together([chunk(str(bed), 20_000, comb=True) for bed in range(9)])], shared=True)
    for waiting in ward._inbox._waiting.values():
        assert len(waiting.steps) <= 2 * PIECE_SAMPLES + 1
        assert waiting.samples > 18_000


def test_what_came_together_and_nobody_analysed_is_declared(new_ward: NewWard) -> None:
    """At the end what waits of beds that come together becomes a gap of each, behind what was analysed."""
    ward = new_ward()
    names = [str(bed) for bed in range(9)]
    for first in (0, 100):
        ward.push([together([chunk(name, 100, first) for name in names])])
    found = found_of(ward, [together([chunk(name, 900, 200) for name in names])])
    gaps = {item.bed: item for item in found if isinstance(item, GapClosed)}
    assert sorted(gaps) == names
    for name in names:
        bed = ward.beds[name]
        assert bed.analysed + bed.lost == 1100
        assert gaps[name].count == bed.lost > 0
        assert gaps[name].sample == bed.analysed
    assert not ward.waiting


def test_an_end_of_the_monitor_alarms_nothing(new_ward: NewWard) -> None:
    """A minute that waits at the end is a gap that is declared, and no alarm: the signal has no fault."""
    ward = new_ward()
    found = found_of(ward, list(chunks(record_counts("208", 600), [1250])))
    assert ward.beds["1"].lost > 60 * FS
    assert [item.condition for item in found if isinstance(item, Alarm) and item.condition == "gaps"] == []


def test_runs_that_wait_at_the_end_are_told(new_ward: NewWard) -> None:
    """A run of which samples wait ends in the results; of one that comes behind it only the samples are counted."""
    ward = new_ward()
    second = chunk("1", 5000)
    second = Chunk("1", "second", 0, float(FS), LEADS, second.counts, 0.0, time.time(), 0)
    found = found_of(ward, [chunk("1", 5000), End("1", "run", 5000, FS), second, End("1", "second", 5000, FS)])
    marks = [(type(item), item.run) for item in found if isinstance(item, RunStarted | RunEnded)]
    assert marks == [(RunStarted, "run"), (RunEnded, "run")]
    bed = ward.beds["1"]
    assert bed.analysed + bed.lost == 10_000
