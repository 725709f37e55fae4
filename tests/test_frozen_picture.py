"""A frozen picture: only waves and beats stand still, what must not be missed is that of now."""

from dataclasses import replace

import pytest
from test_dashboard import SIZES, make, make_bed, shown
from test_dashboard_alarms import HIGH_RATE, ONE, VT, with_alarms

from agent.core.bed_settings import BedSettings
from agent.core.views import LinkView, WardSnapshot
from agent.dashboard.frame import fit_view, layout_view
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.still_keys import NOTHING_NOTE
from agent.dashboard.view import DashboardView, needed_beds

CALM = make(make_bed())
SMALL = ((70, 20), (40, 12), (20, 3))


def frozen(ward: WardSnapshot, size: tuple[int, int], view: DashboardView = ONE) -> DashboardView:
    """The view once `space` was pressed and a frame was drawn."""
    return layout_view(ward, press_keys(fit_view(ward, view, *size), " ", ward), *size)


def braille(text: str) -> str:
    return "".join(sign for sign in text if "\u2800" < sign <= "\u28ff")


@pytest.mark.parametrize("size", [*SIZES, *SMALL])
def test_a_new_alarm_is_seen(size: tuple[int, int]) -> None:
    """An alarm that begins while the picture is frozen is shown at once, and its age goes on."""
    view = frozen(CALM, size)
    bed = with_alarms(make_bed(), HIGH_RATE)
    for now_s, age in ((1070.0, ("0:28", "(28 s)")), (1080.0, ("0:38", "(38 s)"))):
        text = "\n".join(shown(make(bed, now_s=now_s), view, *size))
        assert "!! HR HIGH" in text
        assert "no alarm" not in text
        assert any(words in text for words in age)


@pytest.mark.parametrize("size", [*SIZES, *SMALL])
def test_loss_rate_and_state_are_live(size: tuple[int, int]) -> None:
    """A device that stops while the picture is frozen is told, and the heart rate is that of now."""
    view = frozen(CALM, size)
    dead = replace(make_bed(state="no data"), arrived_s=1060.0, head=4000)
    text = "\n".join(shown(make(dead, now_s=1100.0), view, *size))
    assert "NO DATA 40 s" in text
    assert "monitoring" not in text
    quick = replace(make_bed(), rhythm=replace(make_bed().rhythm, heart_rate=144.0))
    assert "144" in "\n".join(shown(make(quick, now_s=1100.0), replace(view, ascii=True), *size))


@pytest.mark.parametrize("size", SIZES)
def test_pause_and_off_are_live(size: tuple[int, int]) -> None:
    """Alarms that are paused or turned off while the picture is frozen are marked."""
    view = frozen(CALM, size)
    bed = replace(make_bed(), paused_until_s=1130.0, settings=BedSettings(off=("couplet",)))
    text = "\n".join(shown(make(bed, now_s=1070.0), view, *size))
    assert "ALARMS PAUSED 1:00" in text
    assert "ALARM OFF: couplet" in text


@pytest.mark.parametrize("size", SIZES)
def test_wave_and_beats_stand_still(size: tuple[int, int]) -> None:
    """Wave and letters of the beats are those of the moment of the freeze, also beside an alarm of now."""
    view = frozen(CALM, size)
    later = replace(make_bed(), wave=-make_bed().wave, head=3800, beats=make_bed().beats[:2])
    still, live = shown(make(later, now_s=1070.0), view, *size), shown(CALM, view, *size)
    assert braille("".join(still)) == braille("".join(live))
    assert "FROZEN 10 s" in still[0]
    assert list(needed_beds(view, CALM)) == ["bed-1"]


def test_a_new_high_alarm_thaws() -> None:
    """A new high alarm of the bed on the screen ends the freeze and says so; one that stood before does not."""
    view = frozen(make(with_alarms(make_bed(), VT)), (80, 24))
    standing = make(with_alarms(make_bed(), VT), now_s=1070.0)
    assert layout_view(standing, view, 80, 24).frozen is not None
    seen = make(with_alarms(make_bed(), replace(VT, onset=9000, acknowledged_s=1069.0), VT), now_s=1070.0)
    assert layout_view(seen, view, 80, 24).frozen is not None
    fibrillation = replace(VT, condition="ventricular fibrillation", onset=4000, announced=4400, announced_s=1070.0)
    ward = make(with_alarms(make_bed(), fibrillation, VT), now_s=1070.0)
    thawed = layout_view(ward, view, 80, 24)
    assert thawed.frozen is None
    lines = shown(ward, view, 80, 24)
    assert "FROZEN" not in lines[0]
    assert lines[1].startswith(" !!! VF ")
    assert "VF of bed-1: the picture goes on" in lines[-1]
    again = layout_view(ward, press_keys(thawed, " ", ward), 80, 24)
    assert layout_view(replace(ward, now_s=1071.0), again, 80, 24).frozen is not None


def test_alarm_keys_work() -> None:
    """k, m and P act on the bed on the screen, as it is now."""
    view = frozen(CALM, (80, 24))
    ward = make(with_alarms(make_bed(), HIGH_RATE), now_s=1070.0)
    pressed = press_keys(view, "k", ward)
    assert pressed.note == "alarms of bed-1 acknowledged"
    assert [action.kind for action in press_keys(view, "kmP", ward).actions] == ["acknowledge", "silence", "pause"]
    assert pressed.frozen is not None


def test_nothing_to_freeze() -> None:
    """Before any stream, space and c say that there is nothing to freeze."""
    nobody = make(link=LinkView("tcp://host:1", "waiting", 0, 0))
    for key in (" ", "c"):
        view = press_keys(fit_view(nobody, DashboardView(), 80, 24), key, nobody)
        assert (view.note, view.freezing, view.looking.calipers) == (NOTHING_NOTE, False, None)
        assert layout_view(CALM, view, 80, 24).frozen is None


@pytest.mark.parametrize("beds", [3, 40])
def test_a_frozen_ward_tells_a_loss(beds: int) -> None:
    """The cards of a frozen ward show a loss, without a rate, while their waves stand still."""
    ward = make(*(make_bed(f"bed-{i}") for i in range(beds)))
    view = frozen(ward, (120, 36), DashboardView())
    dead = make(*(replace(make_bed(f"bed-{i}", state="no data"), arrived_s=1060.0) for i in range(beds)), now_s=1100.0)
    text = "\n".join(shown(dead, view, 120, 36))
    assert text.count("NO DATA 40 s") >= min(beds, 20)
    assert " 60 " not in text
    assert braille(text) == braille("\n".join(shown(replace(ward, now_s=1100.0), view, 120, 36)))
