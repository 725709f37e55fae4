"""agent.monitor.monitor_session: what each sink gets of a step, and what the latency counts."""

import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from conftest import chunks, record_counts

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.bed_settings import BedSettings
from agent.core.config import Config
from agent.core.events import CONFIGURED, AlarmsHandled, BedSettingsChanged, Event, PacketRejected
from agent.core.messages import Beat, Chunk, End, Gap, Result
from agent.core.views import LinkView
from agent.link.link_receiver import LinkReceiver
from agent.monitor.event_log import EVENT_BURST
from agent.monitor.monitor_session import BACKFILLED_S, EndCondition, MonitorSession
from agent.outputs.text_lines import JsonLineSink, TextLineSink
from agent.recording.recorder import Recorder
from model.errors import StreamError

BEAT = Beat("1", 100, 150, "N", (1.0, 0.0, 0.0, 0.0, 0.0), 0.8, arrived_s=0.0)
FLOOD = [PacketRejected("1", "run", sample, "malformed") for sample in range(5 * EVENT_BURST)]


class SilentLink:
    """A link over which nothing comes."""

    packets = rejected = 0
    patience_s = 0.1
    others_ended = False

    def view(self, _now_s: float) -> LinkView:
        return LinkView("tcp://x", "connected", 0, 0)

    def sent(self, _bed: str) -> int:
        return 0

    def set_backlog(self, _enough: set[str], _too_much: set[str]) -> None:
        pass

    def heard_s(self, _bed: str) -> float:
        return 0.0

    def contested(self, _now_s: float) -> set[str]:
        return set()


class VanishingLink(SilentLink):
    """A link that brings one stretch of signal; then the device is gone."""

    endpoint = "tcp://x"
    behind = False

    def __init__(self, messages: Sequence[Chunk | Gap | End]) -> None:
        self._messages = messages
        self._began_s = 0.0
        self._now_s = 0.0

    def receive(self, now_s: float) -> Sequence[Chunk | Gap | End]:
        messages, self._messages = self._messages, ()
        self._began_s = self._began_s or now_s
        return [replace(message, arrived_s=now_s) for message in messages if isinstance(message, Chunk)]

    def finish(self, _now_s: float) -> Sequence[Chunk | Gap | End]:
        return []

    def wait(self, _seconds: float, _keyboard: int | None) -> None:
        pass

    def silent_s(self, now_s: float) -> float:
        return now_s - self._began_s

    def view(self, now_s: float) -> LinkView:
        return LinkView("tcp://x", "connected" if now_s - self._began_s < 1 else "lost", 0, 0)


class RecordingSink:
    """A sink that keeps all it is given, in the place of a recorder; nothing is in its folder."""

    folder = Path("nowhere")

    def __init__(self) -> None:
        self.results: list[Result] = []

    def push(self, messages: Sequence[Chunk | Gap | End], results: Sequence[Result], now_s: float) -> None:
        del messages, now_s
        self.results += results

    def news(self) -> list[Event]:
        return []

    def view(self) -> None:
        return None


@pytest.fixture
def recorder() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def session(settings: Config, classifier: BeatClassifier, recorder: RecordingSink) -> MonitorSession:
    return MonitorSession(cast(LinkReceiver, SilentLink()), classifier, settings, cast(Recorder, recorder))


def test_every_event_is_recorded_and_few_are_shown(session: MonitorSession, recorder: RecordingSink) -> None:
    """The limit on a bed's events belongs to the screen: the recorder gets what the log of the screen leaves out."""
    now_s = session.clock()
    session.step([*chunks(record_counts("208", 2), [250])], now_s)
    session.step(FLOOD, now_s)
    assert [item for item in recorder.results if isinstance(item, PacketRejected)] == FLOOD
    shown = session.ward_snapshot(now_s).events
    assert sum(isinstance(logged.event, PacketRejected) for logged in shown) <= EVENT_BURST


def test_a_sink_of_your_own_gets_all(settings: Config, classifier: BeatClassifier) -> None:
    """Whatever is given as a sink takes the same results as those that are built in."""
    own = RecordingSink()
    session = MonitorSession(cast(LinkReceiver, SilentLink()), classifier, settings, sinks=[own])
    assert session.step([*chunks(record_counts("208", 10), [250])], session.clock()) == own.results
    assert any(isinstance(item, Beat) for item in own.results)


def test_json_lines_tell_every_event_and_text_lines_a_sum(session: MonitorSession) -> None:
    """Programs get each event; people get the first ones, and at the end how many more there were."""
    lines, words = io.StringIO(), io.StringIO()
    as_json, as_text = JsonLineSink(lines, session), TextLineSink(words, session)
    for sink in (as_json, as_text):
        sink.push([], FLOOD, 0.0)
        sink.finish()
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["sample"] for line in told] == list(range(len(FLOOD)))
    assert {line["event"] for line in told} == {"PacketRejected"}
    assert len(words.getvalue().splitlines()) == EVENT_BURST + 1
    assert f"{len(FLOOD) - EVENT_BURST} more events" in words.getvalue().splitlines()[-1]


def test_backfilled_beats_are_counted_apart(session: MonitorSession) -> None:
    """A beat whose samples came long after they were sent is no measure of what the monitor adds."""
    now_s = session.clock()
    session.step([*chunks(record_counts("208", 2), [250])], now_s)
    live = replace(BEAT, arrived_s=now_s, sent_s=now_s - 0.01)
    late = replace(BEAT, arrived_s=now_s, sent_s=now_s - 2 * BACKFILLED_S)
    session.note_shown([live, late, late, replace(live, sent_s=0.0)])
    assert session.latency.count == 2
    assert "4 beats" in session.summary()
    assert session.summary().endswith("2 beats backfilled")


def lines_of(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def clocked(session: MonitorSession, step_s: float) -> None:
    """Let the session's clock go on by `step_s` with every look at it."""
    session.clock = (1e9 + step_s * n for n in itertools.count()).__next__  # type: ignore[assignment]
    session.started_s = 1e9


def test_a_device_that_is_gone_is_not_waited_for(settings: Config, classifier: BeatClassifier) -> None:
    """`--until-end` ends a minute after the last sign of the device, says so, and its ledger closes."""
    link = VanishingLink([*chunks(record_counts("208", 8), [1000])])
    session = MonitorSession(cast(LinkReceiver, link), classifier, settings)
    clocked(session, 0.05)
    out = io.StringIO()
    with pytest.raises(StreamError, match=r"^nothing has come from tcp://x for 60 s: the device is gone"):
        session.run(JsonLineSink(out, session), EndCondition(None, ended=True), lambda: False)
    lines = lines_of(out)
    assert session.clock() - 1e9 < 90
    assert any(line["type"] == "event" and "the device is gone" in str(line["text"]) for line in lines)
    assert (lines[-1]["type"], lines[-1]["analysed"], lines[-1]["missing"]) == ("ledger", 1000, 0)


def test_a_lost_device_is_waited_for_without_until_end(settings: Config, classifier: BeatClassifier) -> None:
    """Without `--until-end` the monitor waits for the device to come back."""
    link = VanishingLink([*chunks(record_counts("208", 8), [1000])])
    session = MonitorSession(cast(LinkReceiver, link), classifier, settings)
    clocked(session, 0.05)
    session.run(JsonLineSink(io.StringIO(), session), EndCondition(300.0, ended=False), lambda: False)
    assert session.clock() - 1e9 >= 300


def test_the_end_takes_no_longer_than_half_a_second_of_analysis(settings: Config, classifier: BeatClassifier) -> None:
    """A person who stops a monitor with minutes waiting is not kept: what waits is declared missing, and told."""
    session = MonitorSession(cast(LinkReceiver, SilentLink()), classifier, settings)
    clocked(session, 0.1)
    session.pipeline._clock = itertools.count().__next__  # a push is over after one turn
    out = io.StringIO()
    signal = [replace(message, arrived_s=1e9) for message in chunks(record_counts("208", 300), [37_500])]
    sink = JsonLineSink(out, session)
    session.step(signal, session.clock(), sink)
    session.step([], session.clock(), sink, ended=True)
    ledger = session.ledger("1")
    assert ledger.analysed + ledger.missing == 37_500
    assert 0 < ledger.analysed < 10_000
    assert any("not analysed before the end" in str(line.get("text")) for line in lines_of(out))


def test_who_did_what_about_alarms_is_an_event(session: MonitorSession, recorder: RecordingSink) -> None:
    """Whoever acknowledges or silences a bed is recorded, with the sample at which they did."""
    now_s = session.clock()
    session.step([*chunks(record_counts("208", 2), [250])], now_s)
    (bed,) = session.pipeline.beds
    session.actions.acknowledge(bed, "nurse Ada")
    session.actions.silence(bed)
    session.actions.silence(bed)
    session.step([], now_s)
    handled = [item for item in recorder.results if isinstance(item, AlarmsHandled)]
    assert [(event.action, event.by) for event in handled] == [
        ("acknowledged", "nurse Ada"),
        ("silenced", ""),
        ("sounding again", ""),
    ]
    assert {(event.bed, event.sample) for event in handled} == {(bed, int(session.pipeline.samples.ring.head[0]))}


def alarm_events(recorder: RecordingSink) -> list[AlarmsHandled | BedSettingsChanged]:
    """What people did about alarms and settings, as the recording has it."""
    return [item for item in recorder.results if isinstance(item, AlarmsHandled | BedSettingsChanged)]


def test_a_pause_ends_by_itself(session: MonitorSession, recorder: RecordingSink) -> None:
    """Its begin and its end are recorded; viewers see until when it lasts."""
    now_s = session.clock()
    session.step([*chunks(record_counts("208", 2), [250])], now_s)
    session.actions.pause_alarms("1", "nurse Ada")
    session.step([], now_s)
    until_s = session.full_snapshot(now_s).beds[0].paused_until_s
    assert until_s == pytest.approx(session.clock() + session.config.alarms.pause_alarms_s, abs=5)
    assert session.ward_snapshot(now_s).index[0].paused_until_s == until_s
    session.step([], until_s - 1)
    assert [(event.action, event.by) for event in alarm_events(recorder)] == [("paused", "nurse Ada")]  # type: ignore[union-attr]
    session.step([], until_s + 1)
    session.actions.pause_alarms("1")
    session.actions.pause_alarms("1")
    session.step([], until_s + 1)
    assert [event.action for event in alarm_events(recorder)[1:]] == ["pause over", "paused", "on again"]  # type: ignore[union-attr]
    assert session.full_snapshot(until_s).beds[0].paused_until_s == 0


def test_settings_are_recorded_and_shown(session: MonitorSession, recorder: RecordingSink) -> None:
    """With who changed them, and from which sample on they hold; those that contradict change nothing."""
    now_s = session.clock()
    session.step([*chunks(record_counts("208", 8), [250])], now_s)
    settings = BedSettings(patient="A. Bee", rate_high_bpm=150, off=("couplet",))
    session.actions.change_settings("1", settings, "nurse Ada")
    with pytest.raises(ValueError, match="rate_low_bpm must"):
        session.actions.change_settings("1", BedSettings(rate_low_bpm=200))
    session.step([], now_s)
    (event,) = alarm_events(recorder)
    assert isinstance(event, BedSettingsChanged)
    assert (event.by, event.settings, event.run) == ("nurse Ada", settings, "run")
    assert 0 < event.sample <= 1000
    snapshot = session.full_snapshot(now_s)
    assert (snapshot.beds[0].settings, snapshot.base_limits) == (settings, session.config.alarms)
    assert session.ward_snapshot(now_s).index[0].settings == settings


def test_settings_of_the_configuration_are_recorded_once(
    settings: Config, classifier: BeatClassifier, recorder: RecordingSink
) -> None:
    """When the bed has its first run, and only then; a bed without a table has no such event."""
    own = BedSettings(place="room 4")
    config = replace(settings, bed={"1": own, "elsewhere": own})
    session = MonitorSession(cast(LinkReceiver, SilentLink()), classifier, config, cast(Recorder, recorder))
    for second in range(3):
        part = record_counts("208", 3)[125 * second : 125 * (second + 1)]
        session.step([*chunks(part, [125], first=125 * second)], session.clock())
    session.step([*chunks(record_counts("208", 1), [125], bed="2")], session.clock())
    assert alarm_events(recorder) == [BedSettingsChanged("1", "run", 0, CONFIGURED, own)]
    assert session.full_snapshot(0.0).beds[0].settings == own


class WaitingLink(VanishingLink):
    """A link over which nothing has ever come."""

    rejected = 0
    refused = False

    def view(self, _now_s: float) -> LinkView:
        return LinkView("tcp://x", "waiting", 0, 0)


def waiting(settings: Config, classifier: BeatClassifier, steps: Sequence[float], own: bool = False) -> MonitorSession:
    """A session whose clock takes these steps, then tenths of a second, and to which nothing comes."""
    link = cast(LinkReceiver, WaitingLink(()))
    session = MonitorSession(link, classifier, settings, device_news=list if own else tuple)
    began_s = session.started_s
    times = itertools.accumulate(itertools.chain(steps, itertools.repeat(0.1)), initial=began_s)
    session.clock = times.__next__  # type: ignore[assignment]
    return session


def test_a_stop_is_no_time_without_a_stream(settings: Config, classifier: BeatClassifier) -> None:
    """A monitor that was stopped for ten minutes, as by Ctrl-Z, goes on waiting for a stream."""
    session = waiting(settings, classifier, [600.0])
    began_s = session.started_s
    with pytest.raises(StreamError, match=r"within 10 s: start one \(ecg-agent simulate record 100\)"):
        session.run(JsonLineSink(io.StringIO(), session), EndCondition(None, ended=False), lambda: False)
    assert 608 < session.clock() - began_s < 640


def test_a_device_of_ours_is_not_to_be_started(settings: Config, classifier: BeatClassifier) -> None:
    """`demo` is its own device."""
    session = waiting(settings, classifier, [], own=True)
    with pytest.raises(
        StreamError, match=r"^our device at tcp://x sends nothing within 10 s: start this command again$"
    ):
        session.run(JsonLineSink(io.StringIO(), session), EndCondition(None, ended=False), lambda: False)
