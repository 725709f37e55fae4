"""What the cards of a ward say: the worst alarm first, what goes on behind it, its age, the signal, keys that help."""

from dataclasses import replace

import pytest
from test_dashboard import make, make_bed, shown
from test_dashboard_alarms import COUPLET, HIGH_RATE, VT, with_alarms

from agent.core.messages import Alarm
from agent.core.views import BedView, WardSnapshot
from agent.dashboard.alarm_lines import urgent_alarm_parts
from agent.dashboard.frame import layout_view
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.styles import UNICODE_GLYPHS
from agent.dashboard.view import DashboardView

OVER = replace(VT, ended=3200)
AF = replace(HIGH_RATE, condition="atrial fibrillation", text="RR irregular for 33 s")
SIZES = [(80, 24), (120, 40), (40, 12)]


def ward(beds: int, *first: BedView) -> WardSnapshot:
    """A ward of these beds and calm ones."""
    return make(*first, *(make_bed(str(100 + i)) for i in range(len(first), beds)))


def words(room: int, *alarms: Alarm) -> str:
    """The alarms of a bed on a card."""
    parts = urgent_alarm_parts(with_alarms(make_bed(), *alarms), 1060.0, room, UNICODE_GLYPHS)
    return "".join(text for text, _ in parts)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("beds", [3, 12, 24])
def test_header_and_cards_count_the_same(beds: int, size: tuple[int, int]) -> None:
    """An alarm of high priority that nobody acknowledged is on its card, though a lesser one goes on."""
    lines = shown(ward(beds, with_alarms(make_bed("203"), OVER, AF)), DashboardView(), *size)
    assert "!!! 1" in "".join(lines[:2])
    assert "!!! VT over" in "".join(lines[2:])
    assert "!! AF" in "".join(lines[2:])


def test_what_a_card_has_room_for() -> None:
    """The name of what goes on is worth more than its age, and that more than a number."""
    assert [words(room, OVER, AF) for room in (14, 17, 18, 30)] == [
        "!!! VT over +1",
        "!!! VT over !! AF",
        "!!! VT over  !! AF",
        "!!! VT over  !! AF 0:18",
    ]
    assert words(30, OVER, AF, COUPLET) == "!!! VT over  !! AF 0:18 +1"
    assert words(30, HIGH_RATE, COUPLET) == "!! HR HIGH 0:18 +1"
    assert words(30, OVER, OVER) == "!!! VT over +1"


def test_the_condition_is_cut_last() -> None:
    """In a narrow ward the bottom line leaves out the times before the name."""
    for bed in (with_alarms(make_bed("203"), OVER), with_alarms(make_bed("203"), OVER, AF)):
        bottom = shown(make(bed, make_bed("b")), DashboardView(bed="203"), 40, 12)[-2]
        assert bottom.startswith(" 203   !!! VT ")
        assert " over " in bottom
    assert (
        "!!! VT"
        in shown(make(with_alarms(make_bed("203" * 8), VT, COUPLET), make_bed("b")), DashboardView(), 40, 12)[-2]
    )


@pytest.mark.parametrize(("beds", "size"), [(24, (80, 24)), (12, (80, 24)), (24, (120, 40))])
def test_cards_use_their_room(beds: int, size: tuple[int, int]) -> None:
    """The age of an alarm, its times in a line below the cards, a signal that is not good, a rhythm."""
    quick = replace(with_alarms(make_bed("201"), HIGH_RATE), rhythm_name="bigeminy")
    noisy, fair = replace(make_bed("202"), suspended=True), replace(make_bed("203"), leads=(("MLII", 0.5),))
    text = "\n".join(shown(ward(beds, with_alarms(make_bed("200"), VT), quick, noisy, fair), DashboardView(), *size))
    for said in ("!!! VT 0:10", "!! HR HIGH 0:18", "MLII signal noisy", "MLII signal fair", "MLII signal ok"):
        assert said in text
    assert text.count("(18 s)") == 1
    if beds == 12 or size[0] == 120:
        assert " bigeminy " in text


def test_a_rhythm_is_named_once() -> None:
    """Below an alarm that is its rhythm a card says the reason."""
    beds = ward(24, replace(with_alarms(make_bed("200"), AF), rhythm_name="AF"))
    text = "\n".join(shown(beds, DashboardView(), 120, 40))
    assert "!! AF 0:18 " in text
    assert " RR irregular " in text


def test_long_names_keep_their_room() -> None:
    """Names that need their columns have them, and what is off stays beside them."""
    lines = shown(ward(24, with_alarms(make_bed("window-7"), HIGH_RATE)), DashboardView(), 80, 24)
    assert lines[2].startswith(" window-7   60 !! HR HIGH")


@pytest.mark.parametrize("size", SIZES)
def test_keys_of_a_bed_are_offered_once_one_is_chosen(size: tuple[int, int]) -> None:
    """Before that the bottom line says how to choose one; a chosen bed is marked."""
    beds = ward(3)
    view = layout_view(beds, DashboardView(), *size)
    lines = shown(beds, view, *size)
    assert "choose a bed" in lines[-1]
    assert "silence" not in lines[-1]
    assert "▌" not in "".join(lines)
    lines = shown(beds, press_keys(view, "n", beds), *size)
    assert "m silence" in lines[-1]
    assert "▌" in "".join(lines)
