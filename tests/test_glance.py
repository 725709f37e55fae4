"""What stands at a glance: pauses and what is off, a present loss before what is over, the rhythm in words."""

from dataclasses import replace

import pytest
from test_dashboard import SIZES, make, make_bed, shown
from test_dashboard_alarms import COUPLET, ONE, VT, with_alarms

from agent.core.bed_settings import BedSettings
from agent.core.messages import AlarmCondition
from agent.dashboard.alarm_lines import named_first, shown_reason
from agent.dashboard.glance import rhythm_words
from agent.dashboard.view import DashboardView

OFF = BedSettings(off=("couplet", "bigeminy"))
PAUSED = replace(make_bed(), paused_until_s=1100.0, silenced_until_s=1150.0, settings=OFF)
OVER = replace(VT, condition="ventricular fibrillation", ended=3200)
GONE = replace(with_alarms(make_bed(state="no data"), OVER), arrived_s=1040.0)


@pytest.mark.parametrize("size", [*SIZES, (70, 20), (40, 12), (30, 5), (20, 3), (20, 2), (20, 1)])
def test_a_pause_is_seen(size: tuple[int, int]) -> None:
    """In every size stands the pause with its rest, and not that there is no alarm; so it does beside an alarm."""
    text = "\n".join(shown(make(PAUSED), ONE, *size))
    assert "no alarm" not in text
    assert "PAUSED 0:40" in text or size == (20, 2)
    if size[1] > 2:
        assert "PAUSED 0:40" in "\n".join(shown(make(with_alarms(PAUSED, VT)), ONE, *size))


@pytest.mark.parametrize("size", [(70, 20), (40, 12)])
def test_what_is_off_is_seen(size: tuple[int, int]) -> None:
    """A small screen says how many alarms are off."""
    assert "⊗2 OFF" in "\n".join(shown(make(PAUSED), ONE, *size))
    assert "⊗2 OFF" in "\n".join(shown(make(replace(PAUSED, paused_until_s=0.0)), ONE, *size))


def test_a_pause_in_the_glance_line() -> None:
    """Where alarms are paused the line says so in place of no alarm."""
    assert "alarms paused  silenced" in shown(make(PAUSED), ONE, 80, 24)[2]


@pytest.mark.parametrize("size", [(40, 12), (20, 3), (20, 1)])
def test_a_loss_goes_before_what_is_over(size: tuple[int, int]) -> None:
    """An alarm that is over hides no loss, and one of an earlier run is called so."""
    assert "NO DATA 20 s" in "\n".join(shown(make(GONE), ONE, *size))
    text = shown(make(replace(GONE, run="new")), ONE, 40, 12)[1]
    assert text.startswith(" NO DATA 20 s !!! VF earlier")


@pytest.mark.parametrize("size", [(60, 14), (120, 36)])
def test_a_loss_on_cards(size: tuple[int, int]) -> None:
    """On cards a loss stands before an alarm that is over."""
    ward = make(*(with_alarms(replace(GONE, bed=f"bed-{i}"), OVER) for i in range(3)))
    text = "\n".join(shown(ward, DashboardView(), *size)[2:])
    assert text.index("NO DATA 20 s") < text.index("!!! VF over")


def test_the_most_urgent_first_and_what_goes_on_behind_it() -> None:
    """An alarm that is over and was not acknowledged stands before a lesser one that goes on, and hides it nowhere."""
    low = replace(COUPLET, ended=COUPLET.announced + 1)
    assert named_first([OVER, low, COUPLET]) == [OVER, COUPLET, low]
    assert named_first([VT, OVER, COUPLET]) == [VT, OVER, COUPLET]
    assert named_first([]) == []
    assert "!!! VF over  ! COUPLET" in shown(make(with_alarms(make_bed(), OVER, COUPLET)), ONE, 30, 3)[0]


def test_a_reason_beside_an_age() -> None:
    """The length at the announcement is left out of a reason, beside which the present one stands."""
    irregular = replace(VT, condition="atrial fibrillation", text="RR irregular for 33 s")
    assert shown_reason(irregular) == "RR irregular"
    assert shown_reason(VT) == VT.text
    assert "for 33 s" not in "\n".join(shown(make(with_alarms(make_bed(), irregular)), ONE, 80, 24)[:3])


@pytest.mark.parametrize(
    ("condition", "words"),
    [("pause", "pauses"), ("couplet", "couplets"), ("R-on-T", "R-on-T beats"), ("V rate high", "many V beats")],
)
def test_beats_in_words(condition: AlarmCondition, words: str) -> None:
    """An alarm of single beats names the beats, since it names no rhythm."""
    bed = with_alarms(make_bed(), replace(COUPLET, condition=condition))
    assert rhythm_words(bed, make(bed)) == (words, True)


def test_a_card_says_the_signal() -> None:
    """Beside a standing alarm a card says how good the signal is, and not that all is well."""
    bed = replace(with_alarms(make_bed(), VT), leads=(("MLII", 0.9),))
    text = "\n".join(shown(make(bed, make_bed("b")), DashboardView(), 120, 36))
    assert "MLII signal good 90%" in text
    assert "MLII ok" not in text


def test_one_bed() -> None:
    """A ward of one bed is not called beds."""
    assert "1 bed " in shown(make(make_bed()), DashboardView(overview=True), 40, 12)[0]
