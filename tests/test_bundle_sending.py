"""Bundles over real sockets: who gets them, and that nothing is lost when monitors of either version come and go."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import zmq
from support.bundled import BED_LEADS, ramp

from agent.analysis.beat_classifier import BeatClassifier
from agent.core import config as configuration
from agent.core.config import Config, override_config
from agent.core.messages import Beat, Chunk, End, Gap, Ledger, separate_chunks
from agent.device import bundle_writer
from agent.device import publisher as publishing
from agent.device.publisher import LEAST_QUEUE, PacketPublisher
from agent.device.publisher_group import PublisherGroup
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.wire.bundles import BUNDLE_TOPIC
from agent.wire.packets import decode_frames
from benchmarks.fuzz.bundles import DueChunk
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, SchedulerClock, open_replays, run_schedule

PATIENCE_S = 120.0
BEDS = ("a", "b", "c")
Frames = list[bytes]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two beds make a bundle: they are enough for a test."""
    monkeypatch.setattr(bundle_writer, "LEAST_BUNDLED", 2)


def device_settings(**link: object) -> Config:
    link = {"endpoint": "tcp://127.0.0.1:*"} | link
    settings = override_config(configuration.load_config(None, {}), "link", **link)
    return override_config(settings, "security", insecure=True)


class Device:
    """Three beds that send 25 samples with every tick, and keep them."""

    def __init__(self, publisher: PacketPublisher) -> None:
        self.publisher = publisher
        self.ticks = 0

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            due = [DueChunk(ramp(bed, 25 * self.ticks)) for bed in BEDS]
            assert self.publisher.send_packets(due, time.time()) == []
            for one in due:
                self.publisher.keep(one.message, one.stop, time.time())
            self.ticks += 1

    def end(self) -> None:
        for bed in BEDS:
            due = DueChunk(End(bed, "run", 25 * self.ticks, 125.0, self.ticks, time.time()))
            assert self.publisher.send_packets([due], time.time()) == []
            self.publisher.keep(due.message, 0, time.time())


@pytest.fixture
def device() -> Iterator[Device]:
    with PacketPublisher(device_settings(), lossless=False) as publisher:
        publisher.linger_s = 0.0
        yield Device(publisher)


@contextmanager
def listener(publisher: PacketPublisher, *topics: bytes) -> Iterator["zmq.Socket[bytes]"]:
    """A subscriber, once the publisher knows it, and forgotten by it afterwards."""
    before = publisher._topics.total()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.SUB) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVHWM, 10)
        socket.connect(publisher.endpoint)
        for topic in topics:
            socket.subscribe(topic)
        settle(publisher, lambda: publisher._topics.total() == before + len(topics))
        yield socket
    settle(publisher, lambda: publisher._topics.total() == before)


def settle(publisher: PacketPublisher, done: Callable[[], bool]) -> None:
    """Wait until the publisher has read what it was told."""
    until_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until_s, publisher._topics
        publisher.subscribers("a")
        time.sleep(0.002)


def heard(socket: "zmq.Socket[bytes]", least: int = 1) -> list[Frames]:
    """What has come: so many messages at least, and what follows at once."""
    found: list[Frames] = []
    while socket.poll(120_000 if len(found) < least else 100):
        found.append(socket.recv_multipart())
    assert len(found) >= least
    return found


def kinds(messages: Sequence[Frames]) -> list[str]:
    """What kind each message is: "1" of version 1, "runs" for descriptions, "bundle"."""
    return ["1" if frames[0] != BUNDLE_TOPIC else "bundle" if frames[2] else "runs" for frames in messages]


@contextmanager
def link_to(publisher: PacketPublisher, **link: object) -> Iterator[LinkReceiver]:
    """A link of all beds, once both sides know each other, also on the backfill channel."""
    before = publisher.subscribers("a")
    made = LinkReceiver(device_settings(patience_ms=20.0, **link | {"endpoint": publisher.endpoint}), [])
    try:
        gather(made, lambda _: publisher.subscribers("a") > before and made.view(time.time()).round_trip_ms is not None)
        yield made
    finally:
        made.close()


def gather(link: LinkReceiver, done: Callable[[list[Chunk | Gap | End]], bool]) -> list[Chunk | Gap | End]:
    """What a link brings until it is enough."""
    out: list[Chunk | Gap | End] = []
    until_s = time.monotonic() + PATIENCE_S
    while not done(out):
        assert time.monotonic() < until_s, out[-3:]
        link.wait(0.02)
        parts = separate_chunks(link.receive(time.time()))
        out += [message for message in parts if isinstance(message, Chunk | Gap | End)]
    return out


def all_ended(out: Sequence[Chunk | Gap | End]) -> bool:
    return sum(isinstance(message, End) for message in out) == len(BEDS)


def check_complete(out: Sequence[Chunk | Gap | End], ticks: int) -> None:
    """Check that every sample of every bed came, once and in order."""
    for bed in BEDS:
        counts = [message.counts[:, 0] for message in out if isinstance(message, Chunk) and message.bed == bed]
        np.testing.assert_array_equal(np.concatenate(counts), np.arange(25 * ticks) % 1000)
    assert not any(isinstance(message, Gap) for message in out)


def test_who_gets_bundles(device: Device) -> None:
    """Monitors of version 2 alone get bundles, with one of version 1 beside them all get its packets, then bundles."""
    with listener(device.publisher, b"", BUNDLE_TOPIC) as new, listener(device.publisher, b"", BUNDLE_TOPIC) as too:
        device.tick(2)
        assert kinds(heard(new, 3)) == kinds(heard(too, 3)) == ["runs", "bundle", "bundle"]
        with listener(device.publisher, b"") as old:
            device.tick(2)
            assert kinds(heard(new, 6)) == ["1"] * 6
            packets = [decode_frames(frames) for frames in heard(old, 6)]
            assert [(packet.bed, packet.first) for packet in packets] == [(b, n) for n in (50, 75) for b in BEDS]
        device.tick(2)
        assert kinds(heard(new, 2)) == ["bundle", "bundle"]
        for topic in (b"a", b"other", b"\0"):
            with listener(device.publisher, topic):
                device.tick()
                assert kinds(heard(new, 3)) == ["1"] * 3
    device.tick()


def test_a_monitor_of_one_bed_gets_packets(device: Device) -> None:
    """Who subscribes to a bed by name gets version 1, whoever else is there, and nothing but that bed."""
    with listener(device.publisher, b"", BUNDLE_TOPIC), listener(device.publisher, b"b") as one:
        device.tick(3)
        assert [(frames[0], len(frames)) for frames in heard(one, 3)] == [(b"b", 3)] * 3


def test_a_device_that_shall_not_bundle() -> None:
    """With `link.bundles` off a device sends version 1 to whoever subscribes."""
    with PacketPublisher(device_settings(bundles=False), lossless=False) as publisher:
        publisher.linger_s = 0.0
        with listener(publisher, b"", BUNDLE_TOPIC) as new:
            Device(publisher).tick()
            assert kinds(heard(new, 3)) == ["1"] * 3


def test_who_subscribes_again_is_told_all_runs(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each subscription all runs are described, once in a while; until then there is version 1."""
    monkeypatch.setattr(publishing, "DESCRIBE_S", 0.0)
    with listener(device.publisher, b"", BUNDLE_TOPIC) as new:
        device.tick()
        assert kinds(heard(new, 2)) == ["runs", "bundle"]
        for pause_s, expected in ((0.0, ["runs", "bundle"]), (1e9, ["1"] * 3), (0.0, ["runs", "bundle"])):
            monkeypatch.setattr(publishing, "DESCRIBE_S", pause_s)
            new.unsubscribe(BUNDLE_TOPIC)
            settle(device.publisher, lambda: BUNDLE_TOPIC not in device.publisher._topics)
            new.subscribe(BUNDLE_TOPIC)
            settle(device.publisher, lambda: BUNDLE_TOPIC in device.publisher._topics)
            device.tick()
            assert kinds(heard(new, len(expected))) == expected


def test_nothing_is_lost_while_versions_change(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link of version 2 has every sample though monitors of version 1 come and go, and rejects nothing."""
    monkeypatch.setattr(publishing, "DESCRIBE_S", 0.0)
    with link_to(device.publisher) as link, link_to(device.publisher, bundles=False) as old:
        for _ in range(5):
            device.tick(3)
            with listener(device.publisher, b""):
                device.tick(3)
        device.end()
        check_complete(gather(link, all_ended), device.ticks)
        check_complete(gather(old, all_ended), device.ticks)
        assert link.rejected == old.rejected == 0


def test_a_late_monitor(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that joins while another gets bundles is told of the runs, and fetches what was before."""
    monkeypatch.setattr(publishing, "DESCRIBE_S", 0.0)
    with link_to(device.publisher) as early:
        device.tick(20)
        with link_to(device.publisher) as late:
            with listener(device.publisher):
                device.tick(20)
            out = gather(late, lambda found: sum(len(m.counts) for m in found if isinstance(m, Chunk)) == 3 * 25 * 40)
            device.end()
            check_complete(out, device.ticks)
            assert late.rejected == 0
        check_complete(gather(early, all_ended), device.ticks)
        assert early.rejected == 0


def test_a_description_that_is_lost(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that knows no run asks for the descriptions, and fetches what it could not read."""
    monkeypatch.setattr(publishing, "DESCRIBE_S", 0.0)
    writer = device.publisher._writer
    assert writer is not None
    with link_to(device.publisher) as link:
        with monkeypatch.context() as silent:
            silent.setattr(writer, "descriptions", lambda: None)
            device.tick(2)
            gather(link, lambda _: link.rejected == 6)
        settle(device.publisher, lambda: device.publisher._describe)
        device.tick(2)
        device.end()
        check_complete(gather(link, all_ended), device.ticks)


def test_runs_end_and_leads_change(device: Device) -> None:
    """In bundles a run ends and the next begins, leads and rate change: each chunk has its own."""
    with link_to(device.publisher) as link:
        shapes = (("run", 125.0, 1), ("run", 125.0, 2), ("next", 250.0, 2), ("last", 125.0, 1))
        first, out = 0, []
        for run, fs, leads in shapes:
            if run != "run" or leads == 1:
                first = 0
            due = [DueChunk(ramp(bed, first, run=run, fs=fs, leads=BED_LEADS[:leads])) for bed in BEDS]
            assert device.publisher.send_packets(due, time.time()) == []
            first += 25
            if leads == 2 or run == "last":
                ends = [DueChunk(End(bed, run, first, fs, 1, 1.0)) for bed in BEDS]
                assert device.publisher.send_packets(ends, time.time()) == []
        out = gather(link, lambda found: sum(isinstance(message, End) for message in found) == 9)
        for bed in BEDS:
            mine = [message for message in out if message.bed == bed]
            told = [(m.run, m.fs, len(m.leads), m.first) for m in mine if isinstance(m, Chunk)]
            assert told == [("run", 125.0, 1, 0), ("run", 125.0, 2, 25), ("next", 250.0, 2, 0), ("last", 125.0, 1, 0)]
        assert link.rejected == 0


def test_a_lossless_device_loses_nothing() -> None:
    """Where a subscriber reads only when there is no more room, what was not sent is said, and in the end all comes."""
    with PacketPublisher(device_settings(buffer_packets=10), lossless=True) as publisher:
        publisher.linger_s = 0.0
        with listener(publisher, b"", BUNDLE_TOPIC) as socket:
            found: list[Frames] = []
            refused = 0
            sizes = {"a": 5000, "b": 5000, "c": 400}.items()
            for n in range(300):
                due = [DueChunk(ramp(bed, 5000 * n, samples)) for bed, samples in sizes]
                while due := publisher.send_packets(due, 1.0):
                    refused += 1
                    while socket.poll(20):
                        found.append(socket.recv_multipart())
            while len(found) < 601:
                found.append(socket.recv_multipart())
    assert refused > 0
    assert kinds(found) == ["runs", *["bundle", "1"] * 300]


def test_what_waits_for_a_slow_monitor(device: Device) -> None:
    """As many packets wait in bundles as would one by one; a hundred messages at least; the setting comes back."""
    publisher = device.publisher
    queue = int(publisher._socket.get(zmq.SNDHWM))
    with listener(publisher, b"", BUNDLE_TOPIC):
        device.tick()
        assert publisher._socket.get(zmq.SNDHWM) == queue // 3
        many = [DueChunk(ramp(f"{bed}", 0)) for bed in range(4000)]
        assert publisher.send_packets(many, 1.0) == []
        assert publisher._socket.get(zmq.SNDHWM) == LEAST_QUEUE
        device.tick()
        assert publisher._socket.get(zmq.SNDHWM) == LEAST_QUEUE
    device.tick()
    assert publisher._socket.get(zmq.SNDHWM) == queue


def test_several_devices_in_one_process() -> None:
    """Each device of a group bundles for its own monitors: one for those of version 2, the other not."""
    shares = [["a", "b", "c"], ["d", "e"]]
    settings = device_settings()
    with PublisherGroup(settings, False, shares, lambda _: None) as group:  # type: ignore[arg-type, return-value]
        group.linger_s = 0.0
        one, other = group.publishers
        with listener(one, b"", BUNDLE_TOPIC) as new, listener(other, b"") as old:
            assert group.subscribed("abcde") == 5
            due = [DueChunk(ramp(bed, 0)) for bed in "adbec"]
            assert group.send_packets(due, 1.0) == []
            assert kinds(heard(new, 2)) == ["runs", "bundle"]
            assert [frames[0] for frames in heard(old, 2)] == [b"d", b"e"]
        assert group.subscribed("abcde") == 0


def watched(classifier: BeatClassifier, bundles: bool) -> tuple[dict[str, list[Beat]], dict[str, Ledger], int]:
    """The beats of each bed of a ward that is replayed at full speed, the ledgers, and how many bundles there were."""
    records = ("100", "105", "106", "119", "201", "208", "213", "222")
    plans = [ReplayPlan(record, record, 20.0, 20.0, False, None, 6, 0) for record in records]
    with PacketPublisher(device_settings(bundles=bundles), lossless=True) as publisher:
        link = LinkReceiver(device_settings(endpoint=publisher.endpoint), [])
        session = MonitorSession(link, classifier, device_settings())
        writer, written = publisher._writer, []
        if writer is not None:
            write = writer.write
            writer.write = lambda *of: [written.append(m) or m for m in write(*of)]  # type: ignore
        arguments = open_replays(plans, 40), publisher, PlaybackSpeed(None, True), SchedulerClock()
        sending = threading.Thread(target=run_schedule, args=(*arguments, lambda: False, lambda _: None))
        sending.start()
        found: list[Beat] = []
        until_s = time.monotonic() + PATIENCE_S
        while sum(bed.ended for bed in session.pipeline.beds.values()) < len(plans) and time.monotonic() < until_s:
            link.wait(0.02)
            now_s = session.clock()
            found += [beat for beat in session.step(link.receive(now_s), now_s) if isinstance(beat, Beat)]
        now_s = session.clock()
        found += [beat for beat in session.step(link.finish(now_s), now_s, ended=True) if isinstance(beat, Beat)]
        sending.join()
        ledgers = {plan.bed: session.ledger(plan.bed) for plan in plans}
        assert link.rejected == 0
        link.close()
        publisher.linger_s = 0.0
    beats = {plan.bed: [beat for beat in found if beat.bed == plan.bed] for plan in plans}
    return beats, ledgers, sum(len(message.packets) > 1 for message in written)


def test_beats_and_ledger_are_the_same(classifier: BeatClassifier) -> None:
    """A ward has the same beats, to the last bit of their probabilities, and the same ledger in both versions."""
    one, ledgers, none = watched(classifier, bundles=False)
    two, same, many = watched(classifier, bundles=True)
    assert none == 0 < many
    assert same == ledgers

    def told(beats: list[Beat]) -> list[tuple[object, ...]]:
        return [(beat.sample, beat.label, beat.probabilities, beat.rr_s, beat.heart_rate, beat.lead) for beat in beats]

    assert {bed: told(beats) for bed, beats in two.items()} == {bed: told(beats) for bed, beats in one.items()}
    assert all(len(beats) > 10 for beats in two.values())
