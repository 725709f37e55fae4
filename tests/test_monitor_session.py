"""agent.monitor.monitor_session: what each sink gets of a step, and what the latency counts."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
from conftest import chunks, record_counts

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.events import Event, PacketRejected
from agent.core.messages import Beat, Chunk, End, Gap, Result
from agent.core.views import LinkView
from agent.link.link_receiver import LinkReceiver
from agent.monitor.event_log import EVENT_BURST
from agent.monitor.monitor_session import BACKFILLED_S, MonitorSession
from agent.outputs.text_lines import JsonLineSink, TextLineSink
from agent.recording.recorder import Recorder

BEAT = Beat("1", 100, 150, "N", (1.0, 0.0, 0.0, 0.0, 0.0), 0.8, arrived_s=0.0)
FLOOD = [PacketRejected("1", "run", sample, "malformed") for sample in range(5 * EVENT_BURST)]


class SilentLink:
    """A link over which nothing comes."""

    packets = rejected = 0

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


class RecordingSink:
    """A sink that keeps all it is given, in the place of a recorder."""

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
    assert sum(isinstance(event, PacketRejected) for event in shown) <= EVENT_BURST


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
