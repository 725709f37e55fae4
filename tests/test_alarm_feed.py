"""What the alarms hear of a stream: the same alarms and strips however it was cut, and whatever other beds do."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
from conftest import chunks, record_counts

from agent.alarms.alarm_feed import STRIP_MARGIN, WINDOW_DELAY
from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.bed_rules import BedAlarmRules
from agent.core.config import Config
from agent.core.messages import Alarm, Beat, Chunk, End, Gap, Strip
from agent.pipeline.pipeline import Pipeline
from model.records.resample import FS

Message = Chunk | Gap | End
Told = tuple[list[Alarm], list[tuple[Alarm, str, int, bytes]]]


@pytest.fixture
def ward(settings: Config, live: Callable[..., object]) -> Callable[[], Pipeline]:
    """New wards with the shipped weights."""
    return lambda: Pipeline(settings, live)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def live() -> object:
    from agent.analysis.beat_classifier import load_beat_classifier

    return load_beat_classifier("live", "cpu", 1)


def stream(sizes: list[int], bed: str = "1") -> list[Message]:
    """Four minutes of record 207 with fibrillation, a flat line, a short gap in a strip and a long one, and an end."""
    counts = record_counts("207", 150).copy()
    counts[9000:9900] = counts[9000]
    before, after = chunks(counts[:12_000], sizes, bed=bed), chunks(counts[12_400:15_000], sizes, first=12_400, bed=bed)
    late = chunks(counts[15_000:], sizes, first=20_000, bed=bed)
    end = 20_000 + len(counts) - 15_000
    return [
        *before,
        Gap(bed, "run", 12_000, 400, FS, "never arrived"),
        *after,
        Gap(bed, "run", 15_000, 5000, FS, "never arrived"),
        *late,
        End(bed, "run", end, FS),
    ]


def told(ward: Pipeline, messages: Iterable[Message], bed: str = "1") -> Told:
    """Alarms and strips of a bed when messages come one by one."""
    found = [one for message in messages for one in ward.push([message]) if one.bed == bed]
    found += [one for one in ward.finish() if one.bed == bed]
    return (
        [one for one in found if isinstance(one, Alarm)],
        [(one.alarm, one.lead, one.first, one.wave.tobytes()) for one in found if isinstance(one, Strip)],
    )


@pytest.mark.slow
def test_packets_do_not_matter(ward: Callable[[], Pipeline]) -> None:
    """The same stream in other packets gives the same alarms and strips, to the last bit."""
    alarms, strips = told(ward(), stream([1000]))
    assert {alarm.condition for alarm in alarms} >= {"lead off", "gaps"}
    assert len({alarm.condition for alarm in alarms}) > 4, "record 207 has more to tell"
    for sizes in ([*[1] * 60, 940], [*[5] * 60, 700], [17], [250], [7, 1, 400, 33]):
        again = told(ward(), stream(sizes))
        assert again[0] == alarms, sizes
        assert again[1] == strips, sizes


def in_pieces(messages: Iterable[Message], size: int) -> list[Message]:
    """The same stream, its gaps in pieces of `size` samples."""
    out: list[Message] = []
    for message in messages:
        if isinstance(message, Gap):
            firsts = range(message.first, message.first + message.count, size)
            stop = message.first + message.count
            out += [replace(message, first=first, count=min(size, stop - first)) for first in firsts]
        else:
            out.append(message)
    return out


@pytest.mark.slow
def test_a_gap_in_pieces_leaves_the_same_strips(ward: Callable[[], Pipeline]) -> None:
    """A strip that reaches into a gap is as long, and NaN there, whether the gap comes whole or in pieces."""
    whole = told(ward(), stream([250]))[1]
    assert any(np.isnan(np.frombuffer(wave, np.float32)[-100:]).all() for *_, wave in whole), "no strip ends in a gap"
    assert told(ward(), in_pieces(stream([250]), 37))[1] == whole


@pytest.mark.slow
def test_other_beds_do_not_matter(ward: Callable[[], Pipeline]) -> None:
    """Among many beds, whose beats are told together, a bed has the alarms that it has alone."""
    names = [str(i) for i in range(6)]
    streams = {name: stream([(23, 29, 61)[i % 3]], name) for i, name in enumerate(names)}
    many, found = ward(), []
    for tick in range(max(map(len, streams.values()))):
        found += many.push(messages[tick] for messages in streams.values() if tick < len(messages))
    for name in names[:3]:
        mine = [one for one in found if isinstance(one, Alarm) and one.bed == name]
        assert mine == told(ward(), streams[name], name)[0], name


@pytest.mark.slow
def test_every_alarm_has_its_strip(ward: Callable[[], Pipeline]) -> None:
    """Ten seconds before the announcement to ten after, from the samples that were sent; less at an end or a gap."""
    messages = stream([25])
    sent = np.full(30_000, np.nan, np.float32)
    for message in messages:
        if isinstance(message, Chunk):
            lead = message.leads[0]
            values = (message.counts[:, 0] - lead.offset) / lead.gain
            sent[message.first : message.first + len(values)] = values
    one, found = ward(), []
    for message in messages:
        found += one.push([message])
    alarms = [item for item in found if isinstance(item, Alarm)]
    strips = [item for item in found if isinstance(item, Strip)]
    new = [alarm for alarm in alarms if alarm.ended is None and alarm.acknowledged_s is None]
    assert [strip.alarm for strip in sorted(strips, key=lambda strip: strip.alarm.announced)] == new
    for strip in strips:
        announced, count = strip.alarm.announced, len(strip.wave)
        assert strip.first == announced - STRIP_MARGIN
        assert count == 2 * STRIP_MARGIN or 12_000 <= strip.first + count <= 20_000 or strip.first + count > 20_000
        known = max(0, -strip.first)
        np.testing.assert_allclose(strip.wave[known:], sent[strip.first + known : strip.first + count], atol=1e-6)
        assert np.isnan(strip.wave[:known]).all()


@pytest.mark.slow
def test_a_look_waits_for_the_beats_before_it(ward: Callable[[], Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    """The alarms hear of beats in order, and of each look after every beat that was decided before it."""
    heard: list[tuple[str, int]] = []
    one = ward()
    beat, tick = BedAlarmRules.beat, BedAlarmRules.tick

    def beats(rules: BedAlarmRules, what: Beat, at_s: float) -> list[Alarm]:
        heard.append(("beat", what.class_known))
        return beat(rules, what, at_s)

    def ticks(rules: BedAlarmRules, what: AlarmTick, at_s: float) -> list[Alarm]:
        heard.append(("tick", what.sample))
        return tick(rules, what, at_s)

    monkeypatch.setattr(BedAlarmRules, "beat", beats)
    monkeypatch.setattr(BedAlarmRules, "tick", ticks)
    counts = record_counts("208", 60)
    for message in chunks(counts, [5]):
        one.push([message])
    assert [sample for kind, sample in heard if kind == "tick"] == list(range(FS, len(counts) - WINDOW_DELAY + 1, FS))
    assert heard == sorted(heard, key=lambda one: (one[1], one[0])), "beats up to a look come before it"
    assert sum(kind == "beat" for kind, _ in heard) > 50


def test_no_data_is_told_once_and_is_over(ward: Callable[[], Pipeline], settings: Config) -> None:
    """By the clock: a bed from which nothing comes; the first packet ends it. An ended run is no silence."""
    one = ward()
    pieces = list(chunks(record_counts("100", 10), [25]))
    for message in pieces[:20]:
        one.push([message])
    arrived_s = one.beds["1"].arrived_s
    late_s = arrived_s + settings.monitor.lost_s
    assert one.watch_clock(late_s - 0.01, lambda _: 0.0, set()) == []
    (alarm,) = one.watch_clock(late_s, lambda _: 0.0, set())
    assert isinstance(alarm, Alarm)
    assert (alarm.condition, alarm.ended) == ("no data", None)
    assert one.watch_clock(late_s + 60, lambda _: 0.0, set()) == []
    over = [item for item in one.push([pieces[20]]) if isinstance(item, Alarm)]
    assert [(item.condition, item.ended is None) for item in over] == [("no data", False)]
    one.push([End("1", "run", 21 * 25, FS)])
    assert one.watch_clock(late_s + 120, lambda _: 0.0, set()) == []


def test_what_the_link_has_heard_is_no_silence(ward: Callable[[], Pipeline], settings: Config) -> None:
    """A device that sends is not silent, though nothing of it has reached the analysis for long."""
    one = ward()
    for message in list(chunks(record_counts("100", 10), [25]))[:20]:
        one.push([message])
    late_s = one.beds["1"].arrived_s + 10 * settings.monitor.lost_s
    assert one.watch_clock(late_s, lambda _: late_s - 0.1, set()) == []
    assert one.beds["1"].status(late_s, settings.monitor.lost_s) != "no data"
    assert len(one.watch_clock(late_s + settings.monitor.lost_s, lambda _: late_s - 0.1, set())) == 1


def test_two_devices_are_alarmed_while_both_send(ward: Callable[[], Pipeline]) -> None:
    """The alarm comes once, stands while the link says so, and is over behind it."""
    one = ward()
    for message in list(chunks(record_counts("100", 10), [25]))[:20]:
        one.push([message])
    now_s = one.beds["1"].arrived_s
    told = [one.watch_clock(now_s, lambda _: now_s, contested) for contested in ({"1"}, {"1", "2"}, set(), set())]
    assert [[(item.condition, item.ended is None) for item in items if isinstance(item, Alarm)] for items in told] == [
        [("two devices", True)],
        [],
        [("two devices", False)],
        [],
    ]


def test_what_waits_is_no_silence(ward: Callable[[], Pipeline], settings: Config) -> None:
    """A bed of which more has come than its share sends data, whatever the clock says of its latest packet."""
    one = ward()
    for message in chunks(record_counts("100", 60), [7500]):
        one.push([message, replace(message, bed="2", counts=message.counts[:25])], shared=True)
    late_s = one.beds["1"].arrived_s + settings.monitor.lost_s
    assert one.waiting
    assert [alarm.bed for alarm in one.watch_clock(late_s, lambda _: 0.0, set()) if isinstance(alarm, Alarm)] == ["2"]
    assert one.beds["1"].status(late_s, settings.monitor.lost_s) != "no data"


def test_acknowledged_silenced_urgent(ward: Callable[[], Pipeline]) -> None:
    """What a person does to the alarms of a bed, by its name."""
    one = ward()
    counts = record_counts("207", 150)
    for message in chunks(counts, [250]):
        one.push([message])
    rules = one.alarms.rules(one.beds["1"].row)
    assert rules.manager.urgency > 0
    assert rules.manager.audible(100.0) is not None
    rules.silence(100.0)
    assert rules.manager.audible(100.1) is None
    rules.silence(100.2)
    assert rules.manager.audible(100.3) is not None
    seen = one.acknowledge("1", 101.0)
    assert seen
    assert all(isinstance(alarm, Alarm) and alarm.acknowledged_s == 101.0 for alarm in seen)
    assert rules.manager.audible(102.0) is None
