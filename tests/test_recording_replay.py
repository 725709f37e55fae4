"""simulator.recording_replay: a recording replayed as the device sent it."""

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support.recordings import (
    CONFIG,
    LEADS,
    WIDE,
    Message,
    beats_of,
    heard,
    recorded,
    stream,
    troubled,
    two_leads,
    wide,
)

from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.core.config import Config, override_config
from agent.core.events import Event
from agent.core.messages import MISSING, Beat, Chunk, End, Gap, Lead, Result, separate_chunks
from agent.device.bundle_writer import P, send_each
from agent.device.publisher import PacketPublisher
from agent.link.link_receiver import LinkReceiver
from agent.pipeline.pipeline import Pipeline
from agent.recording.sessions import RecordedSession
from agent.wire.packets import decode_frames, encode_frames
from model.errors import ConfigError, RecordError
from simulator.record_replay import RecordReplay, ReplayPlan
from simulator.recording_replay import RecordingReplay, is_recording_path
from simulator.scheduler import PlaybackSpeed, SchedulerClock, name_beds, open_replays, run_schedule

pytestmark = pytest.mark.slow

NewWard = Callable[[], Pipeline]
PLAN = ReplayPlan(record="", bed="1", start_s=0, duration_s=None, loop=False, noise=None, snr_db=6, seed=0)


def replay(path: Path, packet_ms: float = 40.0, **changes: Any) -> RecordingReplay:
    return RecordingReplay(replace(PLAN, record=str(path), **changes), packet_ms)


def sent(path: Path, packet_ms: float = 40.0, **changes: Any) -> list[Chunk | End]:
    return list(replay(path, packet_ms, **changes))


def chunks_of(messages: Sequence[Message]) -> list[Chunk]:
    return [message for message in messages if isinstance(message, Chunk)]


def samples(messages: Sequence[Message]) -> dict[tuple[int, int], tuple[float, tuple[Lead, ...], list[int]]]:
    """Rate, leads and counts of each sample that holds a value, by the number of its run and its index."""
    found = [
        (chunk, at) for chunk in chunks_of(messages) for at in np.flatnonzero((chunk.counts != MISSING).any(axis=1))
    ]
    runs = list(dict.fromkeys(chunk.run for chunk, _ in found))
    return {
        (runs.index(chunk.run), chunk.first + int(at)): (chunk.fs, chunk.leads, chunk.counts[at].tolist())
        for chunk, at in found
    }


def spans(messages: Sequence[Message]) -> list[tuple[int, int]]:
    """First sample and end of each unbroken row of packets."""
    out: list[tuple[int, int]] = []
    before = ("", 0)
    for chunk in chunks_of(messages):
        stop = chunk.first + len(chunk.counts)
        if before == (chunk.run, chunk.first):
            out[-1] = (out[-1][0], stop)
        else:
            out.append((chunk.first, stop))
        before = (chunk.run, stop)
    return out


def by_run(beats: Iterable[Beat]) -> list[Beat]:
    """Beats whose run is its number in the order in which they come: a replay gives its runs new names."""
    beats = list(beats)
    number = {run: str(i) for i, run in enumerate(dict.fromkeys(beat.run for beat in beats))}
    return [replace(beat, run=number[beat.run]) for beat in beats]


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory: pytest.TempPathFactory, settings: Config, classifier: BeatClassifier) -> Path:
    """A recording of the troubled stream, which is made once."""
    made = tmp_path_factory.mktemp("made") / "rec"
    recorded(made, troubled(), Pipeline(settings, classifier))
    return made


@pytest.fixture
def folder(tmp_path: Path, made_folder: Path) -> Path:
    """A copy of the recording of the troubled stream."""
    shutil.copytree(made_folder, tmp_path / "rec")
    return tmp_path / "rec"


@pytest.fixture(scope="module")
def made_plain(tmp_path_factory: pytest.TempPathFactory, settings: Config, classifier: BeatClassifier) -> Path:
    """A recording of 20 s, then a hole of 100 s, then 20 s, which is made once."""
    counts = two_leads("100", 40)
    parts = [
        *stream(counts[:2500], first=1000),
        Gap("1", "run", 3500, 12_500, 125.0, ""),
        *stream(counts[2500:], first=16_000),
    ]
    made = tmp_path_factory.mktemp("made") / "plain"
    recorded(made, parts, Pipeline(override_config(settings, "monitor", lead="MLII"), classifier))
    return made


@pytest.fixture
def plain(tmp_path: Path, made_plain: Path) -> Path:
    """A copy of that recording."""
    shutil.copytree(made_plain, tmp_path / "plain")
    return tmp_path / "plain"


@pytest.mark.parametrize(("weights", "rotate_min"), [("live", 60.0), ("live", 0.31), ("best-inter-patient", 0.31)])
def test_the_same_beats_bit_for_bit(tmp_path: Path, settings: Config, weights: str, rotate_min: float) -> None:
    """What is told of a replayed recording is, bit for bit, what was told when it was recorded."""
    classifier = load_beat_classifier(weights, "cpu", 1)
    messages = troubled(size=125)
    beats = recorded(tmp_path, messages, Pipeline(settings, classifier), replace(CONFIG, rotate_min=rotate_min))
    ward = Pipeline(settings, classifier)
    again = [found for message in heard(sent(tmp_path)) for found in ward.push([message])]
    with RecordedSession(tmp_path) as session:
        assert beats == list(session.beats("1"))
        assert by_run(beats_of(again)) == by_run(beats)
    assert len(beats) > 150


SIGNALS = {0: (LEADS, 125.0), 1: (WIDE, 250.0), 2: ((LEADS[1], LEADS[0]), 125.0)}
PART = st.tuples(st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from(["signal", "empty", "gap"]), st.integers(1, 700))
RUN = st.tuples(st.integers(0, 2**40), st.booleans(), st.lists(PART, min_size=1, max_size=6))


def made(runs: list[Any], size: int) -> list[Message]:
    """A stream of runs: (first index, whether it ends, parts), a part being (signal, kind, samples)."""
    messages: list[Message] = []
    for number, (first, ended, parts) in enumerate(runs):
        at, fs, name = first, 125.0, f"run {number}"
        for signal, kind, count in parts:
            leads, fs = SIGNALS[signal]
            counts = wide("208", 60)[:count] if signal == 1 else two_leads("208", 60)[:count]
            if kind == "gap":
                count *= 20
                messages.append(Gap("1", name, at, count, fs, "never arrived"))
            else:
                counts = np.full_like(counts, MISSING) if kind == "empty" else counts
                messages += stream(counts, run=name, first=at, fs=fs, leads=leads, size=size)
            at += count
        messages += [End("1", name, at, fs)] * ended
    return messages


@given(runs=st.lists(RUN, min_size=1, max_size=3), size=st.integers(1, 300), packet_ms=st.floats(1, 500))
@example(runs=[(0, False, [(0, "signal", 1), (1, "signal", 1)])], size=1, packet_ms=1.0)  # another rate at once
@example(runs=[(294, False, [(0, "signal", 1), (0, "empty", 1)])], size=295, packet_ms=1.0)  # no value, then a new run
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_stream(tmp_path: Path, new_ward: NewWard, runs: list[Any], size: int, packet_ms: float) -> None:
    """Any stream that is recorded is replayed with every sample at its place, and gives the same beats."""
    messages = made([*runs, (0, False, [(0, "signal", 1000)])], size)
    shutil.rmtree(tmp_path / "rec", ignore_errors=True)
    beats = recorded(tmp_path / "rec", messages, new_ward(), replace(CONFIG, rotate_min=0.05))
    again, ward = sent(tmp_path / "rec", packet_ms), new_ward()
    assert samples(again) == samples(messages)
    told = beats_of(found for message in heard(again) for found in ward.push([message]))
    assert by_run(told)[: len(beats)] == by_run(beats)  # beats that the end of the replay decided come behind them


def test_messages(folder: Path) -> None:
    """Packets follow each other, each run has a name of its own and ends where the device said so."""
    messages = sent(folder, packet_ms=56)
    runs = list(dict.fromkeys(message.run for message in messages))
    assert len(runs) == 2
    for name, first, fs in zip(runs, [500, 77], [125.0, 250.0], strict=True):
        *chunks, end = [message for message in messages if message.run == name]
        assert chunks[0].first == first
        assert isinstance(end, End)
        assert {message.fs for message in [*chunks, end]} == {fs}
        assert [message.sequence for message in [*chunks, end]] == list(range(len(chunks) + 1))
        assert all(isinstance(chunk, Chunk) and len(chunk.counts) <= 0.056 * fs for chunk in chunks)
    assert [message.first for message in messages if isinstance(message, End)] == [21_750, 15_077]
    assert spans(messages) == [(500, 8000), (18_000, 21_750), (77, 15_077)]


def test_the_wire_carries_it(folder: Path) -> None:
    """What is replayed survives the wire, to the last bit of an offset."""
    messages = sent(folder)
    found = [decode_frames(encode_frames(message)) for message in messages]
    assert samples(found) == samples(messages) == samples(troubled())


def test_an_end_that_was_not_heard(tmp_path: Path, new_ward: NewWard) -> None:
    """A run that did not end in the recording does not end in its replay, but the replay itself does."""
    counts = two_leads("100", 10)
    recorded(tmp_path, [*stream(counts, run="a"), *stream(counts[:1000], run="b", first=40)], new_ward())
    messages = sent(tmp_path)
    assert [type(message) for message in messages].count(End) == 1
    assert (messages[-1].run, messages[-1].first) == (messages[-2].run, 1040)


def test_an_end_behind_a_gap(tmp_path: Path, new_ward: NewWard) -> None:
    """A run whose last samples never came ends where it did."""
    parts = [*stream(two_leads("100", 10)), Gap("1", "run", 1250, 50, 125.0, "lost"), End("1", "run", 1300, 125.0)]
    recorded(tmp_path, parts, new_ward())
    assert [message.first for message in sent(tmp_path)[-2:]] == [1245, 1300]


@pytest.mark.parametrize(
    ("start_s", "duration_s", "wanted"),
    [
        (0, None, [(1000, 3500), (16_000, 18_500)]),
        (2, 3, [(1250, 1625)]),
        (19, 100.5, [(3375, 3500)]),
        (19, 103, [(3375, 3500), (16_000, 16_250)]),
        (50, None, [(16_000, 18_500)]),
        (50, 71, [(16_000, 16_125)]),
        (139.99, None, [(18_499, 18_500)]),
        (130, 1000, [(17_250, 18_500)]),
    ],
)
def test_start_and_duration(plain: Path, start_s: float, duration_s: float | None, wanted: list[Any]) -> None:
    """A part of a recording has the samples and indices that it has in the whole; a hole counts with its length."""
    messages = sent(plain, start_s=start_s, duration_s=duration_s)
    assert spans(messages) == wanted
    assert messages[-1].first == wanted[-1][1]
    whole, part = samples(sent(plain)), samples(messages)
    assert part == {key: whole[key] for key in part}


def test_loop(plain: Path) -> None:
    """Looped, a recording is sent again as a new run of the same indices, each behind the End of the one before."""
    messages = sent(plain, start_s=130, duration_s=10 + 140 + 5, loop=True)
    assert spans(messages) == [(17_250, 18_500), (1000, 3500), (16_000, 18_500), (1000, 1625)]
    assert len({message.run for message in messages}) == 3
    ends = [(message.run, message.first) for message in messages if isinstance(message, End)]
    runs = list(dict.fromkeys(message.run for message in messages))
    assert ends == list(zip(runs, [18_500, 18_500, 1625], strict=True))
    endless = iter(replay(plain, loop=True))
    assert len({next(endless).run for _ in range(3000)}) == 3


@pytest.mark.parametrize(
    ("changes", "packet_ms", "reason"),
    [
        ({"noise": "ma"}, 40.0, "replayed as it was, without noise"),
        ({"start_s": 140}, 40.0, "start 140 s is not within recording .*: it has 0 to 140.0 s"),
        ({"start_s": -1}, 40.0, "start -1 s"),
        ({"start_s": float("nan")}, 40.0, "start nan s"),
        ({"duration_s": 0}, 40.0, "duration 0 s"),
        ({"duration_s": float("inf")}, 40.0, "duration inf s"),
        ({"start_s": 30, "duration_s": 10}, 40.0, "no sample in the 10 s from 30 s on"),
        ({"bed": "a\n"}, 40.0, "cannot be printed"),
        ({}, 0.0, "packets of 0 ms"),
        ({}, 10_001.0, "packets of 10001 ms"),
        ({}, float("nan"), "packets of nan ms"),
    ],
)
def test_refused(plain: Path, changes: dict[str, Any], packet_ms: float, reason: str) -> None:
    """What makes no sense for a recording is refused with a line that says why."""
    with pytest.raises(ConfigError, match=reason):
        replay(plain, packet_ms, **changes)


@pytest.mark.parametrize("packet_ms", [1.0, 7.9, 40.0, 10_000.0])
def test_packets(plain: Path, packet_ms: float) -> None:
    """A packet is a whole number of samples of the recording's own rate, one at least."""
    sizes = [len(chunk.counts) for chunk in chunks_of(sent(plain, packet_ms))]
    assert max(sizes) == max(1, round(packet_ms / 8))
    assert sum(sizes) == 5000


def test_packets_fit_the_wire(tmp_path: Path, new_ward: NewWard) -> None:
    """A long packet of many leads is cut to what the wire carries."""
    leads = tuple(Lead(f"{i}", "mV", 1000.0, 0.0, -1000, 1000) for i in range(16))
    counts = np.arange(40_000 * 16, dtype=np.int32).reshape(-1, 16)
    recorded(tmp_path, stream(counts, fs=10_000.0, leads=leads, size=5000), new_ward())
    messages = sent(tmp_path, 10_000)
    assert samples([decode_frames(encode_frames(message)) for message in messages]) == samples(messages)
    assert max(len(chunk.counts) for chunk in chunks_of(messages)) == 2**20 // 4 // 16


def test_one_segment(folder: Path, tmp_path: Path) -> None:
    """A segment is replayed by its path, in its recording or copied out of it."""
    part = folder / "1" / "0002"
    shutil.copytree(folder / "1", tmp_path / "copy")
    for path in (part, Path(f"{part}.hea"), tmp_path / "copy" / "0002"):
        messages = sent(path)
        assert spans(messages) == [(18_000, 21_750)]
        assert messages[-1].first == 21_750
        assert name_beds([str(path)]) == ["1"]


def test_several_beds(tmp_path: Path, new_ward: NewWard) -> None:
    """Of a recording of several beds one is named by its folder; beds are called as they were."""
    counts = two_leads("100", 10)
    recorded(tmp_path, [*stream(counts, bed="bed 1"), *stream(counts[:125], bed="bed/2")], new_ward())
    with pytest.raises(RecordError, match="several beds"):
        name_beds([str(tmp_path)])
    folders = sorted(str(path) for path in tmp_path.iterdir() if path.is_dir())
    assert sorted(name_beds(folders)) == ["bed 1", "bed/2"]
    assert name_beds([folders[0], "100", folders[0]])[2] == f"{name_beds(folders[:1])[0]}-2"
    plans = [replace(PLAN, record=path, bed=bed) for path, bed in zip(folders, name_beds(folders), strict=True)]
    lengths = {made.bed: len(samples(list(made))) for made in open_replays(plans, 40)}
    assert lengths == {"bed 1": 1250, "bed/2": 125}


def test_other_records(tmp_path: Path) -> None:
    """What is no recording is replayed as ever, at 125 Hz."""
    assert not any(is_recording_path(name) for name in ("100", str(tmp_path), "", "a\0b", "x" * 10_000, "~nobody/x"))
    (opened,) = open_replays([replace(PLAN, record="100")], 40)
    assert isinstance(opened, RecordReplay)


def test_without_a_database(folder: Path) -> None:
    """A recording whose database is gone says so, and where the signal is; a record of it is replayed."""
    (folder / "session.db").unlink()
    for path in (folder, folder / "1"):
        with pytest.raises(RecordError, match=r"session\.db of the recording .* is missing; its signal is still there"):
            name_beds([str(path)])
    assert chunks_of(sent(folder / "1" / "0001"))[0].first == 500


def test_a_file_that_goes(folder: Path) -> None:
    """A recording that is deleted while it is replayed ends with a reason."""
    messages = iter(replay(folder))
    next(messages)
    (folder / "1" / "0002.dat").unlink()
    with pytest.raises(RecordError, match=r"cannot read .*0002\.dat"):
        list(messages)


class Wire:
    """A publisher, and behind it a link and a ward that have heard all before more is sent."""

    def __init__(self, publisher: PacketPublisher, link: LinkReceiver, ward: Pipeline) -> None:
        self.linger_s = 0.0
        self.found: list[Result] = []
        self._publisher, self._link, self._ward, self._sent = publisher, link, ward, 0

    def send(self, frames: Sequence[bytes]) -> bool:
        sent = self._publisher.send(frames)
        message = decode_frames(frames)
        self._sent += len(message.counts) if sent and isinstance(message, Chunk) else 0
        return sent

    def send_packets(self, packets: Sequence[P], sent_s: float) -> list[P]:
        return send_each(self.send, packets, sent_s)

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        self._publisher.keep(message, stop, sent_s)
        until_s = time.monotonic() + 120
        while not self._heard(message):
            assert time.monotonic() < until_s
            self._link.wait(0.1)
            told = list(separate_chunks(self._link.receive(time.time())))
            self.found += self._ward.push([one for one in told if not isinstance(one, Event)])

    def _heard(self, message: Chunk | End) -> bool:
        bed = self._ward.beds.get(message.bed)
        return bed is not None and bed.analysed == self._sent and (bed.ended or isinstance(message, Chunk))

    def subscribed(self, beds: Iterable[str]) -> int:
        return self._publisher.subscribed(beds)


def test_over_sockets(folder: Path, settings: Config, new_auto_ward: NewWard) -> None:
    """A monitor that hears the replay over its sockets tells the same beats, and its ledger closes."""
    ward = new_auto_ward()
    with PacketPublisher(override_config(settings, "link", endpoint="tcp://127.0.0.1:*"), lossless=True) as publisher:
        link = LinkReceiver(override_config(settings, "link", endpoint=publisher.endpoint), [])
        try:
            wire = Wire(publisher, link, ward)
            run_schedule(
                [replay(folder, 400.0)],
                wire,
                PlaybackSpeed(None, True),
                SchedulerClock(),
                lambda: False,
                lambda _: None,
            )
            assert link.sent("1") == ward.beds["1"].analysed + ward.beds["1"].lost == 21_250 + 15_000
        finally:
            link.close()
    with RecordedSession(folder) as session:
        assert by_run(beats_of(wire.found)) == by_run(session.beats("1"))


class Ear:
    """A sink, and a clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.linger_s, self.now = 30.0, 1000.0
        self.heard: list[tuple[float, Chunk | End]] = []
        self.clock = SchedulerClock(now=lambda: self.now, sleep=self.sleep, unix=lambda: 1e9 + self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def send(self, frames: Sequence[bytes]) -> bool:
        self.heard.append((self.now - 1000.0, decode_frames(frames)))
        return True

    def send_packets(self, packets: Sequence[P], sent_s: float) -> list[P]:
        return send_each(self.send, packets, sent_s)

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        pass

    def subscribed(self, beds: Iterable[str]) -> int:
        return len(list(beds))


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_pace(folder: Path, speed: float) -> None:
    """Packets go out at the recording's own rate; a hole lasts, and a run follows on another at once."""
    ear = Ear()
    status = run_schedule([replay(folder)], ear, PlaybackSpeed(speed, False), ear.clock, lambda: False, lambda _: None)
    ends = {500: 0.0, 77: (21_750 - 500) / 125}
    run_s, before = 0.0, ""
    for at, message in ear.heard:
        if message.run != before:
            first, run_s, before = message.first, ends[message.first], message.run
        count = len(message.counts) if isinstance(message, Chunk) else 0
        assert at == pytest.approx((run_s + (message.first + count - first) / message.fs) / speed, abs=1e-6)
    assert status.position_s == pytest.approx(170 + 60)


def test_two_beds_take_turns(folder: Path) -> None:
    """Beds of different rates share a schedule."""
    ear = Ear()
    plans = [
        replace(PLAN, record=str(folder), bed="a", start_s=171),
        replace(PLAN, record="100", bed="b", duration_s=2),
    ]
    run_schedule(
        open_replays(plans, 40), ear, PlaybackSpeed(1.0, False), ear.clock, lambda: ear.now > 1001.5, lambda _: None
    )
    times = {bed: [at for at, message in ear.heard if message.bed == bed] for bed in "ab"}
    assert np.diff(times["a"][:-1]) == pytest.approx(0.04)
    assert np.diff(times["b"][:-1]) == pytest.approx(0.04)
    assert times["a"][0] != times["b"][0]


@pytest.mark.parametrize(("stop_s", "first"), [(10.0, 1000 + 1250), (60.0, 3500), (125.0, 16_000 + 625)])
def test_stop(plain: Path, stop_s: float, first: int) -> None:
    """A replay that is stopped ends the run behind the last sample that it sent, in a hole too."""
    ear = Ear()
    run_schedule(
        [replay(plain)], ear, PlaybackSpeed(1.0, False), ear.clock, lambda: ear.now > 1000 + stop_s, lambda _: None
    )
    (_, last), (_, end) = ear.heard[-2:]
    assert isinstance(last, Chunk)
    assert isinstance(end, End)
    assert (end.run, end.first, end.sequence) == (last.run, last.first + len(last.counts), last.sequence + 1)
    assert end.first == pytest.approx(first, abs=5)


def test_stop_between_runs(folder: Path) -> None:
    """A replay that is stopped between two runs begins no other."""
    ear = Ear()
    run_schedule([replay(folder)], ear, PlaybackSpeed(1.0, False), ear.clock, lambda: ear.now > 1170.01, lambda _: None)
    assert len({message.run for _, message in ear.heard}) == 1
    assert {message.first for _, message in ear.heard if isinstance(message, End)} == {21_750}


def test_times_rise(folder: Path) -> None:
    """Indices rise within a run."""
    for one, other in pairwise(sent(folder)):
        assert one.run != other.run or one.first < other.first
