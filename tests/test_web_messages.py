"""What browsers are sent of a ward: what is new of the beds that they show, and never what is old."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import record_counts
from support.web_ward import PULSE_S, HandBrowser, HandWard, StillViewer, web_config

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.events import PacketRejected
from agent.core.messages import PRIORITIES
from agent.core.views import BedSummary, BedView, LoggedEvent, WardSnapshot
from agent.dashboard.alarm_lines import count_ward_alarms
from agent.web.browser_state import CHANGE_S, CHANGES_AT_ONCE, FULL, MOST_SHOWN, MOST_UNANSWERED
from agent.web.hand_over import NOTHING_KNOWN, HandOver, TraceKey
from agent.web.ward_text import local_offset, rhythm_text, told_events
from agent.web.wave_counts import NO_VALUE, to_counts


@pytest.fixture
def ward(settings: Config, classifier: BeatClassifier) -> HandWard:
    """Return two beds with 12 s of signal."""
    ward = HandWard(web_config(settings), classifier, ("bed-1", "bed-2"))
    ward.feed(12)
    return ward


def watching(ward: HandWard) -> HandBrowser:
    """Return a browser that has the beds' names and their latest seconds."""
    browser = HandBrowser(ward)
    browser.see()
    assert all(block.resets for block in browser.see())
    return browser


def test_nothing_is_made_while_nobody_watches(settings: Config, classifier: BeatClassifier) -> None:
    """The loop does not even look at the beds."""
    ward = HandWard(web_config(settings), classifier)
    ward.feed(2)
    ward.turn()
    assert ward.hand_over.ward is None
    assert ward.hand_over.pulse is None
    assert ward.watch.patience_s(ward.now_s) == StillViewer().patience_s(ward.now_s)


def test_the_terminal_goes_on_as_before(ward: HandWard) -> None:
    """The viewer at the terminal is refreshed in each turn, watched or not."""
    ward.turn()
    browser = HandBrowser(ward)
    browser.see()
    inner = ward.watch._inner
    assert isinstance(inner, StillViewer)
    assert inner.shown == 2


def test_waves_are_those_of_the_record(ward: HandWard) -> None:
    """The first message holds the latest ten seconds, the next ones go on without a seam."""
    browser = HandBrowser(ward)
    browser.see()
    first, _ = browser.see()
    assert first.resets
    assert (first.first, len(first.samples)) == (250, 1250)
    ward.feed(0.4)
    second, _ = browser.see()
    assert not second.resets
    assert (second.first, len(second.samples)) == (1500, 50)
    expected = to_counts((record_counts("208", 120)[250:1550] / 1000).astype(np.float32))
    assert first.samples + second.samples == tuple(expected.tolist())


def test_beats_come_once(ward: HandWard) -> None:
    """Every beat of the monitor reaches the browser, in order, and none twice."""
    browser = HandBrowser(ward)
    browser.say(seconds=30)
    seen: list[int] = []
    for _ in range(12):
        ward.feed(0.8)
        blocks = browser.see()
        seen += [sample for block in blocks if block.bed == 0 for sample, _ in block.beats]
    known = [beat.sample for beat in ward.session.pipeline.beds["bed-1"].beats]
    assert seen == known
    assert len(seen) > 20


def test_a_quiet_bed_says_nothing(ward: HandWard) -> None:
    """Without new samples and beats there is no message."""
    browser = watching(ward)
    assert browser.see() == []


def test_a_slow_browser_gets_what_is_newest(ward: HandWard) -> None:
    """It is sent nothing while it does not answer, and then all that is new in one message: no queue."""
    browser = watching(ward)
    sent = 0
    for _ in range(20):
        ward.feed(0.2)
        sent += bool(browser.see(answer=False))
    assert sent == MOST_UNANSWERED
    browser.say(got=browser.state.tick)
    ward.feed(0.2)
    block, _ = browser.see()
    assert not block.resets
    assert len(block.samples) == 25 * (21 - MOST_UNANSWERED)
    assert block.first + len(block.samples) == 125 * 12 + 25 * 21


def test_a_browser_that_slept_begins_anew(ward: HandWard) -> None:
    """Beyond thirty seconds nothing is caught up: it gets the latest ten seconds, and is told to forget the rest."""
    browser = watching(ward)
    for _ in range(50):
        ward.feed(0.8)
        browser.see(answer=False)
    browser.say(got=browser.state.tick)
    block, _ = browser.see()
    assert block.resets
    assert len(block.samples) == 1250
    assert block.first + len(block.samples) == 125 * 52


def test_an_answer_that_was_never_due_changes_nothing(ward: HandWard) -> None:
    """Nobody frees a place by answering what was not sent."""
    browser = watching(ward)
    for _ in range(MOST_UNANSWERED):
        ward.feed(0.2)
        browser.see(answer=False)
    browser.say(got=browser.state.tick + 1)
    browser.say(got=-1)
    assert browser.state.is_behind


def test_a_new_run_is_told_with_its_reset(ward: HandWard) -> None:
    """Whatever the turn, the first block of another run resets, and its samples are those of the run."""
    browser = watching(ward)
    ward.feed(0.4, ["bed-1"], run="other")
    blocks = [block for _ in range(2) for block in browser.see() if block.bed == 0]
    assert [block.resets for block in blocks] == [True]
    assert (blocks[0].first + len(blocks[0].samples)) % 2**32 == 50
    assert set(blocks[0].samples[:-50]) <= {NO_VALUE}


def test_a_watched_bed_comes_in_full(ward: HandWard) -> None:
    """Both leads, the last thirty seconds at once, then what is new; the wall goes on beside it."""
    browser = watching(ward)
    browser.say(watch=1)
    full = [block for block in browser.see() if block.flags & FULL]
    assert [(block.bed, block.lead, len(block.samples)) for block in full] == [(1, 0, 3750), (1, 1, 3750)]
    assert full[0].samples[-1] == -full[1].samples[-1] != NO_VALUE
    ward.feed(0.2)
    new = browser.see()
    assert [(block.bed, block.lead, len(block.samples)) for block in new] == [
        (0, 0, 25),
        (1, 0, 25),
        (1, 0, 25),
        (1, 1, 25),
    ]
    browser.say(watch=None)
    ward.feed(0.2)
    assert not any(block.flags & FULL for block in browser.see())


def test_two_browsers_do_not_know_of_each_other(ward: HandWard) -> None:
    """One that came later gets its own first seconds; the other only what is new."""
    first = watching(ward)
    second = HandBrowser(ward)
    second.mirror = first.mirror
    second.state = type(first.state)(first.mirror)
    ward.feed(0.2)
    assert not any(block.resets for block in first.see())
    late = second.state.waves_message(ward.now_s)
    assert late is not None
    assert len(late) > 2 * 2 * 1250


def test_the_ward_says_beds_and_events(ward: HandWard) -> None:
    """What is constant is said once: index and events are left out until they change."""
    browser = HandBrowser(ward)
    browser.see()
    assert [row[:2] for row in browser.last["index"]] == [[0, "bed-1"], [1, "bed-2"]]
    assert browser.last["counts"]["beds"] == 2
    browser.see()
    assert [bed["bed"] for bed in browser.last["beds"]] == ["bed-1", "bed-2"]
    assert browser.last["beds"][0]["head"] == 1500
    for _ in range(6):
        browser.see()
    assert "index" not in browser.last
    assert "events" not in browser.last


def test_only_a_watched_bed_says_its_last_alarms(ward: HandWard) -> None:
    """They are long, and seen on the page of a bed alone."""
    browser = watching(ward)
    browser.say(watch=0)
    browser.see()
    assert ["last_alarms" in bed for bed in browser.last["beds"]] == [True, False]


def test_an_acknowledged_alarm_is_told_at_once(settings: Config, classifier: BeatClassifier) -> None:
    """The next turn says it, not the next regular ward."""
    config = web_config(settings, wards_per_s=0.2)
    ward = HandWard(config, classifier)
    ward.feed(12)
    browser = watching(ward)
    browser.see()
    before = browser.mirror.ward_version
    browser.see()
    assert browser.mirror.ward_version == before
    ward.session.actions.acknowledge("bed-1", "A. Nurse")
    ward.feed(0.04)
    browser.see()
    assert browser.mirror.ward_version == before + 1
    assert browser.last["events"][-1]["text"].count("A. Nurse") == 1


def test_a_thousand_beds_are_paged(settings: Config, classifier: BeatClassifier) -> None:
    """At most 64 waves are sent; the index names all beds; other pages come when they are shown."""
    ward = HandWard(web_config(settings), classifier, [f"bed-{number}" for number in range(1000)])
    ward.feed(0.2)
    browser = HandBrowser(ward)
    browser.see()
    assert len(browser.last["index"]) == 1000
    assert [block.bed for block in browser.see()] == list(range(MOST_SHOWN))
    browser.say(show=list(range(900, 1000)))
    assert [block.bed for block in browser.see()] == list(range(900, 900 + MOST_SHOWN))
    assert [bed["id"] for bed in browser.last["beds"]] == list(range(900, 900 + MOST_SHOWN))
    browser.say(show=[])
    ward.feed(0.2)
    assert browser.see() == []
    assert browser.last["beds"] == []


def test_beds_that_are_not_there_are_not_shown(ward: HandWard) -> None:
    """Ids of no bed, and things that are no ids, are left out."""
    browser = watching(ward)
    browser.say(show=[1, 99, -1, "0", None, [0], 1], watch="bed-1")
    assert browser.state.seen() == [TraceKey("bed-2", False)]


@pytest.mark.parametrize("text", ["", "[]", "7", "{", '{"show": 5}', '{"show": {"0": 1}}', "\x00", '"' * 9, "[" * 4000])
def test_nonsense_is_refused(ward: HandWard, text: str) -> None:
    """What no page of ours says is an error."""
    with pytest.raises(ValueError):  # noqa: PT011  # the words are nobody's business
        watching(ward).state.take(text, 0.0)


@pytest.mark.parametrize("seconds", [0, -5, 1e9, float("inf")])
def test_seconds_have_limits(ward: HandWard, seconds: float) -> None:
    """A browser gets one to thirty seconds of the past, whatever it asks for."""
    browser = HandBrowser(ward)
    browser.say(seconds=seconds if seconds < 1e300 else 10**400)
    browser.see()
    block, _ = browser.see()
    assert len(block.samples) in (125, 3750)


def test_missing_samples_are_no_zeros() -> None:
    """NaN has a count of its own, which no voltage has."""
    wave = np.array([0.0, np.nan, -1e9, 1e9, 0.005], np.float32)
    assert to_counts(wave).tolist() == [0, NO_VALUE, NO_VALUE + 1, -NO_VALUE - 1, 1]


def test_questions_do_not_queue_up() -> None:
    """Beyond a few the next one is refused."""
    from concurrent.futures import Future

    from agent.web.hand_over import MOST_QUESTIONS, LoopQuestion

    hand_over = HandOver()
    asked = [hand_over.put_question(LoopQuestion(lambda session: session, Future())) for _ in range(MOST_QUESTIONS + 1)]
    assert asked == [True] * MOST_QUESTIONS + [False]


def test_a_question_that_fails_does_not_end_the_monitor(ward: HandWard) -> None:
    """The asker gets the error."""
    from concurrent.futures import Future

    from agent.web.hand_over import LoopQuestion

    answer: Future[object] = Future()
    ward.hand_over.put_question(LoopQuestion(lambda session: session.pipeline.beds["none"], answer))
    ward.turn()
    assert isinstance(answer.exception(timeout=0), KeyError)


def test_pulses_keep_their_rate(ward: HandWard) -> None:
    """A loop that turns every 20 ms hands over ten times a second, also when a turn comes late."""
    browser = HandBrowser(ward)
    browser.see()
    numbers = set()
    for _ in range(100):
        ward.now_s += PULSE_S / 5
        ward.watch.refresh(ward.now_s)
        assert ward.hand_over.pulse is not None
        numbers.add(ward.hand_over.pulse.number)
    assert 19 <= len(numbers) <= 21


def test_nothing_known_of_a_bed_is_no_place() -> None:
    """The position of a new bed continues nothing."""
    assert NOTHING_KNOWN.next < 0


def test_json_is_what_the_document_says(ward: HandWard) -> None:
    """A bed has the keys of docs/web.md, and no other."""
    from pathlib import Path

    browser = watching(ward)
    browser.say(watch=0)
    browser.see()
    text = (Path(__file__).parents[1] / "docs" / "web.md").read_text(encoding="utf-8")
    for key in browser.last["beds"][0]:
        assert f'"{key}"' in text, key
    for key in json.loads(browser.state._mirror.ward_head):
        assert f'"{key}"' in text, key


def test_a_new_browser_gets_no_old_ward(ward: HandWard) -> None:
    """What was known when nobody watched any more may be minutes old: the first ward was made after it came."""
    first = watching(ward)
    first.mirror.rest()
    left_s = first.last["now_s"]
    ward.now_s += 300
    late = HandBrowser(ward, first.mirror)
    assert late.state.ward_message() is None
    late.see()
    assert late.last["now_s"] > left_s + 299


def test_a_browser_that_comes_brings_the_ward_forward(settings: Config, classifier: BeatClassifier) -> None:
    """Also where others watch: it need not wait for the next regular one."""
    ward = HandWard(web_config(settings, wards_per_s=0.2), classifier)
    ward.feed(2)
    first = watching(ward)
    second = HandBrowser(ward, first.mirror)
    second.see()
    assert second.last["now_s"] == ward.now_s


def test_the_beds_that_are_shown_change_four_times_a_second(ward: HandWard) -> None:
    """Of more changes the newest is taken when its time has come: each costs the monitor the past of the beds."""
    browser = watching(ward)
    taken = [browser.state.take(json.dumps({"show": [number % 2]}), ward.now_s) for number in range(50)]
    assert sum(taken) == CHANGES_AT_ONCE
    assert browser.state.take('{"show": [1]}', ward.now_s) is False
    assert browser.state.shown == ("bed-2",)
    browser.state.take('{"show": [0]}', ward.now_s)
    assert browser.state.settle(ward.now_s + CHANGE_S)
    assert browser.state.shown == ("bed-1",)
    assert not browser.state.settle(ward.now_s + 9)


def test_alarms_that_are_over_are_counted_apart(settings: Config, classifier: BeatClassifier) -> None:
    """They stand behind those of their priority that go on, have an end, and count as alarms of the ward."""
    ward = HandWard(web_config(settings), classifier, ("bed-1", "bed-2"))
    ward.feed(2)
    rules = ward.session.pipeline.alarms.rules(0)
    rules.manager.raise_or_extend("asystole", 200, 240, "fibrillation")
    rules.manager.clear("asystole")
    rules.manager.raise_or_extend("lead off", 200, 10**9, "lead off")
    rules.manager.take()
    other = ward.session.pipeline.alarms.rules(1).manager
    other.raise_or_extend("asystole", 200, 240, "fibrillation")
    other.clear("asystole")
    other.take()
    browser = watching(ward)
    assert [(alarm["condition"], alarm["phase"]) for alarm in browser.last["beds"][0]["alarms"]] == [
        ("asystole", "over"),
        ("lead off", "active"),
    ]
    alarm = browser.last["beds"][0]["alarms"][0]
    assert alarm["ended_s"] >= alarm["since_s"]
    assert alarm["earlier_run"] is False
    counts = browser.last["counts"]
    assert (counts["high"], counts["medium"], counts["low"]) == (2, 0, 0)
    assert counts["over"] == {"high": 2, "medium": 0, "low": 0}


def test_an_alarm_of_an_earlier_run_has_its_end(ward: HandWard) -> None:
    """The clock of its run is gone, and the page need not count on."""
    manager = ward.session.pipeline.alarms.rules(0).manager
    manager.raise_or_extend("asystole", 1400, 1450, "fibrillation")
    manager.take()
    ward.feed(1, ["bed-1"], run="other")
    beds = watching(ward).last["beds"]
    (alarm,) = (item for bed in beds for item in bed["alarms"] if item["condition"] == "asystole")
    assert (alarm["earlier_run"], alarm["phase"]) == (True, "over")
    assert alarm["ended_s"] is not None


def test_the_order_and_the_counts_are_those_of_the_terminal(ward: HandWard) -> None:
    """By urgency as the monitor has it: an unacknowledged high alarm that is over before a low one that goes on."""
    browser = watching(ward)
    snapshot = ward.session.ward_snapshot(ward.now_s)
    beds = (
        BedSummary("low", urgency=15, priority="low", standing="low"),
        BedSummary("over", urgency=29, priority="high"),
        BedSummary("well"),
        BedSummary("both", urgency=29, priority="high", standing="medium"),
        BedSummary("high", urgency=31, priority="high", standing="high"),
    )
    ward.hand_over.ward = replace(snapshot, index=beds, now_s=ward.now_s + 60)
    browser.mirror.take()
    assert browser.mirror.names[:5] == ("high", "over", "both", "low", "well")
    rows = {row[1]: (row[3], row[7]) for row in json.loads(browser.mirror.index)}
    assert rows["over"] == rows["both"] == ("high", True)
    assert (rows["high"], rows["low"], rows["well"]) == (("high", False), ("low", False), (None, False))
    counts = json.loads(browser.mirror.ward_head)["counts"]
    shown = count_ward_alarms(beds)
    assert [counts[priority] for priority in PRIORITIES] == [shown[priority] for priority in PRIORITIES] == [3, 0, 1]
    assert counts["over"] == {"high": 2, "medium": 0, "low": 0}


def test_the_rhythm_is_told_where_it_is_known(settings: Config, classifier: BeatClassifier) -> None:
    """In the words of the terminal, but not before half a minute is seen, nor of a heart that is paced."""
    ward = HandWard(web_config(settings), classifier)
    ward.feed(12)
    assert rhythm_text(*quiet_view_of(ward)) == ""
    ward.feed(20)
    quiet, snapshot = quiet_view_of(ward)
    assert rhythm_text(quiet, snapshot) == "no arrhythmia alarmed"
    assert rhythm_text(replace(quiet, suspended=True), snapshot) == "not known: noise"
    assert rhythm_text(replace(quiet, rhythm_name="AF"), snapshot) == "AF"
    paced = tuple(replace(beat, label="Q") if i % 3 else beat for i, beat in enumerate(quiet.beats))
    assert rhythm_text(replace(quiet, beats=paced), snapshot) == "not known: most beats are Q"


def quiet_view_of(ward: HandWard) -> tuple[BedView, WardSnapshot]:
    """Return the first bed in full, without alarms, and its ward."""
    snapshot = ward.session.with_beds(ward.session.ward_snapshot(ward.now_s), ["bed-1"])
    link = replace(snapshot.link, state="connected")
    quiet = replace(snapshot.beds[0], alarms=(), rhythm_name="", suspended=False, state="ok")
    return quiet, replace(snapshot, link=link)


def test_rejected_packets_of_strangers_are_no_event_of_the_page() -> None:
    """Anyone may send under any name; those of the ward's own beds, and of the device as a whole, are told."""
    rejected = (
        PacketRejected("", "", 0, "too large", name="Mrs. Secret"),
        PacketRejected("", "", 0, "bed name of 0 bytes"),
        PacketRejected("bed-1", "run", 0, "too large"),
    )
    told = told_events(tuple(LoggedEvent(event, 1.0) for event in rejected))
    assert [event["bed"] for event in told] == [None, "bed-1"]
    assert "Secret" not in str(told)


def test_the_zone_is_an_offset() -> None:
    """By it the page shows the clock of the monitor."""
    assert re.fullmatch(r"[+-]\d\d:\d\d", local_offset(1_750_000_000.0))
