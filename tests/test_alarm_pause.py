"""Paused alarms: found and recorded, neither shown nor told; at the end what still stands is told."""

import pytest
from support.alarmed import MadeBed, made

from agent.alarms.alarm_manager import NO_EXPIRY, AlarmManager
from agent.core.config import Config, override_config
from agent.core.messages import Alarm

PAUSE_S = 120.0


@pytest.fixture
def book() -> AlarmManager:
    one = AlarmManager(latch=True)
    one.start("7", "run", 0)
    one.take()
    return one


def hold(book: AlarmManager, condition: str = "ventricular fibrillation") -> list[Alarm]:
    book.raise_or_extend(condition, book.sample, NO_EXPIRY, "why")  # type: ignore[arg-type]
    return book.take()


def test_an_alarm_of_a_pause_is_recorded_and_not_shown(book: AlarmManager) -> None:
    """Also one of high priority: it does not end the pause."""
    book.pause(PAUSE_S)
    book.take()
    (alarm,) = hold(book)
    assert (alarm.paused, alarm.latching) == (True, False)
    assert (book.view, book.loudest, book.urgency, book.audible(0.0)) == ((), None, 0, None)
    assert book.paused_until_s == PAUSE_S


def test_what_stands_at_the_end_is_told_then(book: AlarmManager) -> None:
    """With the sample at which it was found; a high one breaks a silence then, and latches."""
    book.pause(PAUSE_S)
    hold(book)
    hold(book, "gaps")
    book.silenced_until_s = 500.0
    book.end_pause()
    told = book.take()
    assert [(alarm.condition, alarm.paused, alarm.latching) for alarm in told] == [
        ("ventricular fibrillation", False, True),
        ("gaps", False, False),
    ]
    assert [alarm.condition for alarm in book.view] == ["ventricular fibrillation", "gaps"]
    assert book.audible(0.0) == "high"
    book.clear("ventricular fibrillation")
    assert [alarm.paused for alarm in book.take()] == [False]


def test_what_is_over_within_the_pause_is_told_to_nobody(book: AlarmManager) -> None:
    """It does not latch either: what was washed away needs no acknowledgement."""
    book.pause(PAUSE_S)
    hold(book)
    book.clear("ventricular fibrillation")
    (gone,) = book.take()
    assert (gone.paused, gone.shown) == (True, False)
    book.end_pause()
    assert (book.take(), book.view) == ([], ())


def test_what_was_there_before_is_hidden_meanwhile(book: AlarmManager) -> None:
    """An alarm from before the pause, and one that latches, are there again at its end, told no second time."""
    hold(book)
    hold(book, "asystole")
    book.clear("asystole")
    book.take()
    book.pause(PAUSE_S)
    book.take()
    assert (book.view, book.urgency, book.loudest) == ((), 0, None)
    book.end_pause()
    assert book.take() == []
    assert [alarm.condition for alarm in book.view] == ["ventricular fibrillation", "asystole"]


def test_nobody_acknowledges_what_was_not_told(book: AlarmManager) -> None:
    """An acknowledgement in a pause counts for the alarms from before it."""
    hold(book, "gaps")
    book.pause(PAUSE_S)
    hold(book)
    book.acknowledge(5.0)
    assert [(alarm.condition, alarm.acknowledged_s) for alarm in book.take()] == [("gaps", 5.0)]
    book.end_pause()
    assert [alarm.acknowledged_s for alarm in book.take()] == [None]


def test_a_run_that_ends_in_a_pause(book: AlarmManager) -> None:
    """Its alarms are over; the pause goes on."""
    book.pause(PAUSE_S)
    hold(book)
    book.start("7", "another", 0)
    assert [alarm.ended is not None for alarm in book.take()] == [True]
    assert book.paused_until_s == PAUSE_S


def test_paused_alarms_are_the_same_alarms(settings: Config) -> None:
    """What the rules find in a pause is what they find without it, but for being told."""
    plain, paused = made(settings), made(settings)
    paused.told += paused.rules.pause(0.0)
    assert paused.rules.manager.paused_until_s == settings.alarms.pause_alarms_s == PAUSE_S
    for one in (plain, paused):
        drive(one)
    assert [(alarm.identity, alarm.announced, alarm.ended) for alarm in paused.told] == [
        (alarm.identity, alarm.announced, alarm.ended) for alarm in plain.told
    ]
    assert plain.told
    assert all(alarm.paused for alarm in paused.told)


def drive(bed: MadeBed) -> None:
    """A fast rhythm with V runs, and an asystole."""
    bed.beats("NNNNNVVVNN" * 5, 60 / 130)
    bed.quiet(7)
    bed.beats("N" * 5, 0.8)


def test_a_pause_can_be_ended_and_may_be_forbidden(settings: Config) -> None:
    """Paused again, the alarms are on again; with pause_alarms_s = 0 there is no pause."""
    bed = made(settings)
    bed.rules.pause(0.0)
    bed.rules.pause(1.0)
    assert bed.rules.manager.paused_until_s == 0
    never = made(override_config(settings, "alarms", pause_alarms_s=0.0))
    never.rules.pause(0.0)
    assert never.rules.manager.paused_until_s == 0
