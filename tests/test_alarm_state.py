"""What is paused or off, and who lies in a bed: seen in the view of a bed, on cards of any size and in the ward."""

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from support.viewed import make_bed, make_ward

from agent.core.bed_settings import SWITCHABLE_CONDITIONS, BedSettings
from agent.core.config import Config
from agent.core.messages import Alarm
from agent.core.views import BedView, WardSnapshot
from agent.dashboard.alarm_state import QUIET_MARKS, QUIET_STYLES
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.view import BedAction, DashboardView

ALARM = Alarm("7", "run", "asystole", "high", "no QRS for 4 s", 100, 200, 990.0)


def lines(ward: WardSnapshot, view: DashboardView, width: int = 100, height: int = 30) -> list[str]:
    view = layout_view(ward, view, width, height)
    return ["".join(part.text for part in line) for line in render_frame(ward, view, width, height).lines]


def with_settings(name: str = "7", **values: object) -> BedView:
    return replace(make_bed(name), settings=BedSettings(**values))  # type: ignore[arg-type]


def test_the_three_states_look_different() -> None:
    """Other marks, also in ASCII, and other colours."""
    assert len({mark for marks in QUIET_MARKS.values() for mark in marks}) == 6
    assert all(mark.isascii() for _, mark in QUIET_MARKS.values())
    assert len(set(QUIET_STYLES.values())) == 3


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_one_bed(settings: Config, ascii_only: bool, size: tuple[int, int]) -> None:
    """A line of its own says how long a pause lasts, what is off, and who lies there."""
    view = DashboardView(overview=False, ascii=ascii_only)
    bed = replace(with_settings(patient="A. Bee", place="room 4", off=("couplet",)), paused_until_s=1092.0)
    text = "\n".join(lines(make_ward(settings, bed), view, *size))
    for part in ("A. Bee  room 4", "ALARMS PAUSED 1:32", "ALARM OFF: couplet"):
        assert part in text, part
    assert ("[:] ALARMS PAUSED" if ascii_only else "◌ ALARMS PAUSED") in text
    text = "\n".join(lines(make_ward(settings, with_settings(off=SWITCHABLE_CONDITIONS)), view, 80, 24))
    assert "10 ALARMS OFF" in text
    plain = lines(make_ward(settings, make_bed("7")), view, 80, 24)
    assert not any(word in line for line in plain for word in ("PAUSED", "OFF"))


def test_a_pause_beside_a_silence(settings: Config) -> None:
    """Audio that is paused is another thing than alarms that are."""
    bed = replace(make_bed("7"), alarms=(ALARM,), silenced_until_s=1061.0)
    text = "\n".join(lines(make_ward(settings, bed), DashboardView(overview=False), 80, 24))
    assert "silenced 1:01" in text
    assert "ALARMS PAUSED" not in text


@pytest.mark.parametrize("beds", [2, 4, 30, 90])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_cards_of_any_size(settings: Config, beds: int, size: tuple[int, int], ascii_only: bool) -> None:
    """Each card says that its alarms are paused or that some are off; the ward counts them."""
    others = [make_bed(f"b{i}") for i in range(beds - 2)]
    paused = replace(with_settings("p", patient="Cee"), paused_until_s=1030.0)
    off = with_settings("q", off=("couplet", "pause"), place="x\u0301" * 20)
    ward = make_ward(settings, paused, off, *others)
    shown = lines(ward, DashboardView(ascii=ascii_only, by_urgency=False), *size)
    assert [cell_len(line) for line in shown] == [size[0]] * size[1]
    text = "\n".join(shown)
    assert "PAUSED 0:30" in text
    assert ("[X]2" if ascii_only else "⊗2") in text
    assert re.search(r"(\u25cc|\[:\]) 1 ", text)
    assert re.search(r"(\u2297|\[X\]) 1 ", text)
    if size[0] > 100:
        assert "1 paused" in text
        assert "1 with alarms off" in text


def test_a_wide_card_has_the_label(settings: Config) -> None:
    """Behind the name, as far as there is room."""
    ward = make_ward(settings, with_settings("7", patient="Ada Bee"), make_bed("8"))
    assert "7 Ada Bee" in "\n".join(lines(ward, DashboardView(), 120, 40))


def test_key(settings: Config) -> None:
    """P asks for a pause of the chosen bed, or for its end, and says which."""
    ward = make_ward(settings, make_bed("a"), replace(make_bed("b"), paused_until_s=1030.0))
    view = press_keys(DashboardView(), "nP", ward)
    assert (view.actions, view.note) == ((BedAction("pause", "a"),), "ALARMS OF a PAUSED")
    view = press_keys(DashboardView(), "nnP", ward)
    assert (view.actions, view.note) == ((BedAction("pause", "b"),), "alarms of b are on again")
    assert press_keys(DashboardView(), "P", ward).actions == ()
