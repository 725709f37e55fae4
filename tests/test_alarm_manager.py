import pytest

from agent.alarms.alarm_manager import MOST_LATCHED, NO_EXPIRY, AlarmManager
from agent.alarms.priorities import CONDITION_SPECS, WORSE_CONDITIONS
from agent.core.messages import Alarm, AlarmCondition

VF: AlarmCondition = "ventricular fibrillation"
VT: AlarmCondition = "ventricular tachycardia"


@pytest.fixture
def book() -> AlarmManager:
    one = AlarmManager(latch=True)
    one.start("7", "run", 0)
    assert one.take() == []
    return one


def hold(book: AlarmManager, condition: AlarmCondition, until: int = NO_EXPIRY, text: str = "why") -> list[Alarm]:
    book.raise_or_extend(condition, book.sample, until, text)
    return book.take()


def over(book: AlarmManager, condition: AlarmCondition) -> list[Alarm]:
    book.clear(condition)
    return book.take()


def at(book: AlarmManager, sample: int, at_s: float = 0.0) -> list[Alarm]:
    book.advance_to(sample, at_s)
    return book.take()


def shown(book: AlarmManager) -> list[AlarmCondition]:
    return [alarm.condition for alarm in book.view]


def said(alarms: list[Alarm]) -> list[tuple[AlarmCondition, bool]]:
    """Conditions and whether they are over."""
    return [(alarm.condition, alarm.ended is not None) for alarm in alarms]


def test_onset_announcement_acknowledgement_end(book: AlarmManager) -> None:
    """An alarm is told anew at each change, and keeps what it was."""
    at(book, 1000, 50.0)
    book.raise_or_extend("heart rate high", 900, NO_EXPIRY, "HR 134 > 120")
    (alarm,) = book.take()
    begun = Alarm("7", "run", "heart rate high", "medium", "HR 134 > 120", 900, 1000, 50.0)
    assert alarm == begun
    assert list(book.view) == [begun]
    book.acknowledge(60.0)
    (seen,) = book.take()
    assert (seen.acknowledged_s, seen.ended, seen.onset) == (60.0, None, 900)
    at(book, 1500)
    (gone,) = over(book, "heart rate high")
    assert (gone.acknowledged_s, gone.ended, gone.announced) == (60.0, 1500, 1000)
    assert book.view == ()
    assert book.take() == []


def test_what_holds_is_announced_once(book: AlarmManager) -> None:
    """A condition that is seen again and again makes one alarm."""
    assert len(hold(book, VF)) == 1
    for sample in range(1, 5):
        at(book, sample)
        assert hold(book, VF) == []
    assert len(over(book, VF)) == 1
    assert over(book, VF) == []


def test_what_is_not_seen_again_runs_out(book: AlarmManager) -> None:
    """It is over after the last sample through which it was believed, whenever that is noticed."""
    hold(book, "pause", 500)
    assert at(book, 500) == []
    hold(book, "pause", 700)
    hold(book, "pause", 600)  # never sooner than was said
    assert at(book, 700) == []
    (alarm,) = at(book, 5000)
    assert alarm.ended == 700


def test_words_that_change_are_shown_and_told_at_the_end(book: AlarmManager) -> None:
    """The reason of an open alarm may grow; that alone is nothing to tell."""
    hold(book, VT, text="5 V beats")
    assert hold(book, VT, text="6 V beats") == []
    assert book.view[0].text == "6 V beats"
    assert over(book, VT)[0].text == "6 V beats"


@pytest.mark.parametrize("condition", list(CONDITION_SPECS))
def test_only_high_alarms_latch(book: AlarmManager, condition: AlarmCondition) -> None:
    """A high one that is over is shown until it is acknowledged; the others go."""
    hold(book, condition)
    over(book, condition)
    latching = CONDITION_SPECS[condition].priority == "high"
    assert shown(book) == ([condition] if latching else [])
    assert book.loudest == ("high" if latching else None)
    book.acknowledge(5.0)
    told = book.take()
    assert [alarm.acknowledged_s for alarm in told] == ([5.0] if latching else [])
    assert (len(book.view), book.loudest, book.urgency) == (0, None, 0)


def test_latching_can_be_turned_off() -> None:
    """Then nothing stays."""
    book = AlarmManager(latch=False)
    book.start("7", "run", 0)
    assert not hold(book, VF)[0].latching
    over(book, VF)
    assert book.view == ()


def test_an_acknowledged_alarm_is_silent_and_goes_at_its_end(book: AlarmManager) -> None:
    """As long as it goes on it is shown; a person has seen it, so it does not latch."""
    hold(book, VF)
    book.acknowledge(1.0)
    book.take()
    assert (shown(book), book.loudest) == ([VF], None)
    over(book, VF)
    assert book.view == ()


def test_a_new_alarm_of_an_acknowledged_condition_sounds(book: AlarmManager) -> None:
    """Acknowledgement is of the alarm, not of the condition."""
    hold(book, VF)
    book.acknowledge(1.0)
    over(book, VF)
    at(book, 10)
    hold(book, VF)
    assert book.loudest == "high"


def test_alarms_of_one_condition_differ_in_their_onset(book: AlarmManager) -> None:
    """An alarm is known by its onset: a new one does not reach back over the end of the one before."""
    onsets = []
    for _ in range(4):
        book.raise_or_extend("V run", -5, NO_EXPIRY, "why")
        book.clear("V run")
        onsets += [alarm.onset for alarm in book.take() if alarm.ended is not None]
    assert len(set(onsets)) == 4
    assert onsets == sorted(onsets)


def test_a_condition_is_shown_once(book: AlarmManager) -> None:
    """The same condition again replaces its latched alarm on the screen; one acknowledgement is for both."""
    for sample in (10, 20, 30):
        at(book, sample)
        hold(book, VF)
        if sample < 30:
            over(book, VF)
    assert shown(book) == [VF]
    assert book.view[0].announced == 30
    book.acknowledge(1.0)
    assert sorted(alarm.announced for alarm in book.take()) == [10, 20, 30]
    assert [alarm.announced for alarm in book.view] == [30]


def test_latched_alarms_are_bounded(book: AlarmManager) -> None:
    """A night of them does not fill the memory."""
    for sample in range(10 * MOST_LATCHED):
        at(book, sample)
        hold(book, VF)
        over(book, VF)
    book.acknowledge(1.0)
    assert len(book.take()) == MOST_LATCHED
    assert book.view == ()


# chains


def test_a_worse_one_hides_a_lesser_one(book: AlarmManager) -> None:
    """Both are open; the lesser one is seen again once the worse one is over, without being told anew."""
    hold(book, "heart rate high")
    hold(book, "extreme tachycardia")
    assert shown(book) == ["extreme tachycardia"]
    book.acknowledge(1.0)
    book.take()
    assert said(over(book, "extreme tachycardia")) == [("extreme tachycardia", True)]
    assert shown(book) == ["heart rate high"]


def test_what_arises_behind_a_worse_one_is_held_back(book: AlarmManager) -> None:
    """It is announced once the worse one is over, with its own onset, if it still holds."""
    hold(book, VT)
    at(book, 100)
    assert hold(book, "heart rate high", 1000) == []
    assert hold(book, "bigeminy", 300) == []
    at(book, 400)
    (ended, announced) = over(book, VT)
    assert said([ended, announced]) == [(VT, True), ("heart rate high", False)]
    assert (announced.onset, announced.announced) == (100, 400)


def test_what_is_over_while_held_back_is_never_told(book: AlarmManager) -> None:
    """Nobody hears of it."""
    hold(book, VT)
    hold(book, "heart rate high")
    assert over(book, "heart rate high") == []
    assert said(over(book, VT)) == [(VT, True)]


def test_of_two_held_back_only_the_worse_is_announced(book: AlarmManager) -> None:
    """The chain holds for what was held back too."""
    hold(book, VF)
    hold(book, "heart rate high")
    hold(book, "extreme tachycardia")
    hold(book, VT)
    assert said(over(book, VF)) == [(VF, True), (VT, False)]
    assert said(over(book, VT)) == [(VT, True), ("extreme tachycardia", False)]
    assert said(over(book, "extreme tachycardia")) == [("extreme tachycardia", True), ("heart rate high", False)]


@pytest.mark.parametrize("moment", [condition for condition in CONDITION_SPECS if CONDITION_SPECS[condition].moment])
def test_moments_are_not_made_up_for(book: AlarmManager, moment: AlarmCondition) -> None:
    """A couplet amid fibrillation is not told after it."""
    hold(book, VF)
    assert hold(book, moment) == []
    assert said(over(book, VF)) == [(VF, True)]


@pytest.mark.parametrize("condition", list(CONDITION_SPECS))
def test_each_chain_as_it_is_written(condition: AlarmCondition) -> None:
    """Whatever stands above a condition holds it back, and nothing else does."""
    for other in CONDITION_SPECS:
        if other == condition:
            continue
        book = AlarmManager(latch=True)
        book.start("7", "run", 0)
        hold(book, other)
        assert (hold(book, condition) == []) == (other in WORSE_CONDITIONS[condition])


def test_the_chains() -> None:
    """The ranks of the table."""
    assert (
        WORSE_CONDITIONS["asystole"]
        == WORSE_CONDITIONS[VF]
        == WORSE_CONDITIONS["atrial fibrillation"]
        == WORSE_CONDITIONS["noise"]
        == set()
    )
    assert WORSE_CONDITIONS[VT] == {"asystole", VF}
    assert WORSE_CONDITIONS["extreme bradycardia"] == {"asystole", VF, VT}
    assert (
        WORSE_CONDITIONS["pause"]
        == WORSE_CONDITIONS["heart rate low"]
        == {"asystole", VF, VT, "extreme tachycardia", "extreme bradycardia"}
    )
    assert WORSE_CONDITIONS["V run"] == {VF, VT}
    assert WORSE_CONDITIONS["couplet"] == {VF, VT, "V run"}
    assert WORSE_CONDITIONS["bigeminy"] == WORSE_CONDITIONS["V rate high"] == {VF, VT, "V run", "couplet"}


# loss of signal, noise, runs


def test_what_cannot_be_seen_stands_for_a_while(book: AlarmManager) -> None:
    """Alarms of the heart run out, technical ones do not, and what was held back is forgotten."""
    hold(book, VT)
    hold(book, "heart rate high")
    hold(book, "lead off")
    book.lose_sight(500)
    assert said(at(book, 501)) == [(VT, True)]
    assert shown(book) == [VT, "lead off"]


def test_what_is_seen_again_goes_on(book: AlarmManager) -> None:
    """After a short loss the alarm is the same."""
    hold(book, VT)
    book.lose_sight(500)
    at(book, 300)
    assert hold(book, VT, 2000) == []
    assert at(book, 1999) == []


def test_noise_forgets_what_beats_said(book: AlarmManager) -> None:
    """Of what was held back only what a judge of the waveform may say stays."""
    hold(book, VF)
    hold(book, VT)
    hold(book, "heart rate high")
    book.suspend()
    assert said(over(book, VF)) == [(VF, True), (VT, False)]
    assert said(over(book, VT)) == [(VT, True)]


def test_a_new_run_ends_what_is_open(book: AlarmManager) -> None:
    """At the last sample of the old one; the new one counts from its own start."""
    hold(book, VF)
    at(book, 5000)
    book.start("7", "second", 20)
    (alarm,) = book.take()
    assert (alarm.run, alarm.ended) == ("run", 5000)
    (alarm,) = hold(book, VF)
    assert (alarm.run, alarm.onset) == ("second", 20)


def test_samples_never_go_back(book: AlarmManager) -> None:
    """Something told late is told as of now."""
    at(book, 500)
    at(book, 300)
    assert hold(book, VF)[0].announced == 500


# sound and order


def test_a_new_high_alarm_breaks_a_silence(book: AlarmManager) -> None:
    """Others do not."""
    book.silenced_until_s = 100.0
    for condition in ("heart rate high", "couplet", "noise"):
        hold(book, condition)
    assert book.silenced_until_s == 100.0
    hold(book, VT)
    assert book.silenced_until_s == 0.0


def test_the_most_urgent_stands_first(book: AlarmManager) -> None:
    """Priority, then what nobody has seen, what goes on, and the heart before the cable."""
    hold(book, "couplet")
    hold(book, "lead off")
    hold(book, "atrial fibrillation")
    assert shown(book) == ["atrial fibrillation", "lead off", "couplet"]
    urgencies = [book.urgency]
    hold(book, "asystole")
    urgencies.append(book.urgency)
    over(book, "asystole")
    assert shown(book)[0] == "asystole"
    urgencies.append(book.urgency)
    book.acknowledge(1.0)
    book.take()
    hold(book, "noise")
    assert shown(book) == ["noise", "atrial fibrillation", "lead off", "couplet"]
    urgencies.append(book.urgency)
    assert urgencies == [23, 31, 29, 22]
    assert book.loudest == "medium"


@pytest.mark.parametrize(
    ("conditions", "rhythm"),
    [
        (("heart rate high",), ""),
        (("atrial fibrillation", "bigeminy"), "AF"),
        (("atrial fibrillation", VT), "VT"),
        (("trigeminy",), "trigeminy"),
        ((VF, "atrial fibrillation"), "VF"),
        (("asystole",), "asystole"),
    ],
)
def test_the_rhythm_is_that_of_the_worst(
    book: AlarmManager, conditions: tuple[AlarmCondition, ...], rhythm: str
) -> None:
    """It has a name while an alarm of it is open."""
    for condition in conditions:
        hold(book, condition)
    assert book.rhythm == rhythm
    book.acknowledge(1.0)
    for condition in conditions:
        over(book, condition)
    assert book.rhythm == ""
