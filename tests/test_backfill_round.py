"""agent.monitor.backfill_round: a monitor that joins a ward says once, not bed by bed, what it fetched."""

import io
from typing import cast

import pytest
from test_monitor_session import RecordingSink, SilentLink

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.events import Backfilled, BedsBackfilled, Event
from agent.core.wording import event_text
from agent.link.link_receiver import LinkReceiver
from agent.monitor.backfill_round import CALM_S, LONGEST_S, MOST_NAMED, BackfillRound
from agent.monitor.event_log import EventLimiter
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.text_lines import TextLineSink


def fetched(bed: int, seconds: float = 24.0, sent_before: bool = True) -> Backfilled:
    return Backfilled(str(bed), "run", 0, round(125 * seconds), seconds, sent_before)


def test_a_ward_that_is_joined_is_one_line() -> None:
    """However many turns of the loop it takes, all beds are said together when nothing more comes."""
    round_ = BackfillRound()
    for bed in range(64):
        round_.take([fetched(bed, 20 + bed / 10)], 1000 + bed / 40)
        assert not round_.close(1000 + bed / 40, ended=False)
    assert not round_.close(1001.575 + 0.9 * CALM_S, ended=False)
    (said,) = round_.close(1001.575 + CALM_S, ended=False)
    assert said == BedsBackfilled(64, 26.3, sent_before=True)
    assert event_text(said) == "64 beds: up to 26.30 s from before this monitor came fetched"
    assert not round_.close(2000, ended=True)


def test_each_reason_is_said_by_itself() -> None:
    """What was lost is not what was sent before the monitor came; of few beds each is named."""
    round_ = BackfillRound()
    few = [fetched(bed, 2.0, sent_before=False) for bed in range(MOST_NAMED)]
    many = [fetched(10 + bed, 2.0, sent_before=False) for bed in range(MOST_NAMED)]
    round_.take([*few, fetched(8), fetched(9)], 1000)
    assert round_.close(1000, ended=True) == [fetched(8), fetched(9), *few]
    round_.take([*few, *few, *many], 1000)
    (said,) = round_.close(1001, ended=False)
    assert isinstance(said, Event)
    assert event_text(said) == "6 beds: up to 4.00 s fetched again"


def test_losses_without_end_are_said_all_the_same() -> None:
    """A link that loses something all the time has a line every ten seconds."""
    round_, said = BackfillRound(), []
    for tenth in range(300):
        round_.take([fetched(tenth % 8, 0.2, sent_before=False)], 1000 + tenth / 10)
        said += round_.close(1000 + tenth / 10, ended=False)
    assert [type(event) for event in said] == [BedsBackfilled] * int(29.9 / LONGEST_S)


def test_people_get_a_line_and_recordings_each_bed(settings: Config, classifier: BeatClassifier) -> None:
    """Text lines and the log of the screen say it once; whoever takes all results gets one for each bed."""
    own, words = RecordingSink(), io.StringIO()
    session = MonitorSession(cast(LinkReceiver, SilentLink()), classifier, settings, sinks=[own])
    text, now_s, beds = TextLineSink(words, session), session.clock(), [fetched(bed) for bed in range(9)]
    session.step(beds, now_s, text)
    assert not words.getvalue()
    session.step([], now_s + CALM_S, text)
    assert [item for item in own.results if isinstance(item, Backfilled)] == beds
    (line,) = words.getvalue().splitlines()
    assert line.endswith("link                 -  9 beds: up to 24.00 s from before this monitor came fetched")
    (logged,) = session.ward_snapshot(now_s).events
    assert isinstance(logged.event, BedsBackfilled)


def test_one_bed_is_told_as_ever() -> None:
    """The one bed of a monitor is named, and keeps its budget."""
    limiter = EventLimiter(lambda _: 0)
    limiter.limit([fetched(1, 0.2)], 1000)
    (event,) = limiter.limit([], 1000 + CALM_S)
    assert event == fetched(1, 0.2)
    assert event_text(event) == "0.20 s from before this monitor came fetched: 25 samples"
    for second in range(100):
        limiter.limit([fetched(1, 0.2, sent_before=False)], 1000 + 10 * second)
    assert not [item for item in limiter.limit([], 5000) if isinstance(item, Backfilled)]


@pytest.mark.parametrize("ended", [False, True])
def test_nothing_is_said_of_nothing(ended: bool) -> None:
    """A round without events says nothing."""
    assert not BackfillRound().close(1000, ended)
