from dataclasses import replace

import numpy as np
import pytest

from agent.core.views import BedSummary, BedView, LinkView, RhythmSummary, WardSnapshot
from agent.dashboard.frame import fit_view, layout_view
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.view import (
    SWEEP_SECONDS,
    DashboardView,
    chosen_bed,
    is_overview,
    needed_beds,
    order_view_beds,
    refit_windows,
    seconds_across,
)
from agent.dashboard.wave_raster import HEIGHTS_MV


def make(*names: str) -> WardSnapshot:
    wave = np.sin(np.arange(1250) / 20).astype(np.float32)
    rhythm = RhythmSummary(60.0, 1000.0, 30.0, 40.0, (1, 0, 0, 0, 0))
    beds = tuple(BedView(name, "MLII", "ok", wave, 1250, (), rhythm, 0, 0, None) for name in names)
    link, index = LinkView("tcp://host:1", "connected", 1, 0), tuple(map(BedSummary, names))
    return WardSnapshot(beds, (), link, "cpu", "weights", 20.0, 10.0, index=index)


ABC = make("a", "b", "c")
MANY = make(*(f"bed-{i}" for i in range(64)))


@pytest.mark.parametrize(
    ("keys", "bed"),
    [("n", "b"), ("nn", "c"), ("nnn", "a"), ("p", "c"), ("\t", "b"), ("\x1b[Z", "c"), ("\x1b[B", "b"), ("\x1bOA", "c")],
)
def test_next_and_previous(keys: str, bed: str) -> None:
    """Next and previous go round through the beds, by letter, tab or arrow."""
    assert press_keys(DashboardView(bed="a"), keys, ABC).bed == bed
    assert press_keys(DashboardView(overview=False), keys, ABC).bed == bed


def test_nothing_is_chosen_at_first() -> None:
    """In the ward no bed is chosen at first: the first key chooses the first or the last bed."""
    assert press_keys(DashboardView(), "n", ABC).bed == "a"
    assert press_keys(DashboardView(), "p", ABC).bed == "c"
    assert press_keys(DashboardView(), "nn", ABC).bed == "b"


def test_pages_stop_at_the_ends() -> None:
    """Page keys move by the beds of a page and stop at the first and last; Home and End go there."""
    view = layout_view(MANY, DashboardView(), 80, 24)
    assert view.grid.per_page == 20
    assert press_keys(view, "\x1b[6~", MANY).bed == "bed-20"
    assert press_keys(view, "\x1b[6~" * 9, MANY).bed == "bed-63"
    assert press_keys(replace(view, bed="bed-5"), "\x1b[5~", MANY).bed == "bed-0"
    for first, last in (("\x1b[H", "\x1b[F"), ("\x1bOH", "\x1bOF"), ("\x1b[1~", "\x1b[4~"), ("\x1b[7~", "\x1b[8~")):
        assert press_keys(view, last, MANY).bed == "bed-63"
        assert press_keys(view, last + first, MANY).bed == "bed-0"


def test_arrows_move_as_the_cards_lie() -> None:
    """In the ward arrows move by rows and columns of cards and stop at the ends; in a bed's view by one."""
    view = replace(layout_view(MANY, DashboardView(), 80, 24), bed="bed-1")
    assert view.grid.columns == 2
    assert press_keys(view, "\x1b[B", MANY).bed == "bed-3"
    assert press_keys(view, "\x1b[B\x1b[A", MANY).bed == "bed-1"
    assert press_keys(view, "\x1b[C\x1bOC", MANY).bed == "bed-3"
    assert press_keys(view, "\x1b[D", MANY).bed == "bed-0"
    assert press_keys(view, "\x1b[B" * 99, MANY).bed == "bed-63"
    assert press_keys(replace(view, overview=False), "\x1b[B", MANY).bed == "bed-2"


def test_overview_and_back() -> None:
    """Several beds begin as an overview; Enter opens the chosen one, o goes back."""
    assert is_overview(DashboardView(), ABC)
    assert not is_overview(DashboardView(), make("a"))
    opened = press_keys(DashboardView(), "nn\r", ABC)
    assert not is_overview(opened, ABC)
    assert chosen_bed(opened) == "b"
    assert is_overview(press_keys(opened, "o", ABC), ABC)


def test_freeze() -> None:
    """Space keeps the next frame, of which it asks for the whole page; another one lets go of it."""
    pressed = press_keys(DashboardView(bed="b", overview=False), " ", ABC)
    assert list(needed_beds(fit_view(ABC, pressed, 80, 24), ABC)) == ["b", "a", "c"]
    frozen = layout_view(ABC, pressed, 80, 24)
    assert frozen.frozen is not None
    later = make("a", "b", "c", "d")
    assert press_keys(frozen, "n", later).bed == "c"
    assert press_keys(frozen, "nn", later).bed == "a"
    assert list(needed_beds(frozen, later)) == ["b"]
    assert press_keys(frozen, " ", later).frozen is None
    assert press_keys(DashboardView(), "  ", ABC).freezing is False


def test_only_what_is_held_can_be_looked_at() -> None:
    """A frozen picture holds the beds of its page, and the keys move among these."""
    view = layout_view(MANY, press_keys(layout_view(MANY, DashboardView(bed="bed-25"), 80, 24), " ", MANY), 80, 24)
    names = needed_beds(replace(view, frozen=None, freezing=True), MANY)
    page = replace(MANY, beds=tuple(bed for bed in MANY.beds if bed.bed in names))
    held = layout_view(page, press_keys(layout_view(MANY, DashboardView(bed="bed-25"), 80, 24), " ", MANY), 80, 24)
    assert held.frozen is not None
    assert [bed.bed for bed in held.frozen.index] == [f"bed-{i}" for i in range(20, 40)]
    assert press_keys(held, "\x1b[F", MANY).bed == "bed-39"
    assert press_keys(held, "/9\r", MANY).bed == "bed-29"
    assert [action.bed for action in press_keys(held, "kmP", MANY).actions] == ["bed-25"] * 3
    assert "space" in press_keys(held, "s", MANY).note


def test_gain() -> None:
    """Plus and minus step through the gains from the one shown, stop at the ends, and a gives the choice back."""
    view = refit_windows(DashboardView(), ABC.beds)
    auto = view.windows["a"].height
    assert press_keys(view, "+", ABC).height_mv == HEIGHTS_MV[HEIGHTS_MV.index(auto) - 1]
    assert press_keys(view, "-", ABC).height_mv == HEIGHTS_MV[HEIGHTS_MV.index(auto) + 1]
    assert press_keys(view, "+" * 50, ABC).height_mv == HEIGHTS_MV[0]
    assert press_keys(view, "-" * 50, ABC).height_mv == HEIGHTS_MV[-1]
    assert press_keys(view, "+a", ABC).height_mv is None


def test_gain_takes_effect() -> None:
    """A chosen gain is what the next frame shows, and so is the automatic one after it."""
    view = refit_windows(press_keys(refit_windows(DashboardView(), ABC.beds), "-----", ABC), ABC.beds)
    assert view.windows["a"].height == view.height_mv
    assert refit_windows(press_keys(view, "a", ABC), ABC.beds).windows["a"].height < view.windows["a"].height


def test_time_base() -> None:
    """Time keys step from what is shown, in brackets, angles or arrows."""
    for shorter, longer in (("<", ">"), ("[", "]"), (",", "."), ("\x1b[D", "\x1b[C")):
        assert press_keys(DashboardView(columns=120, overview=False), longer, ABC).seconds == 10
        assert press_keys(DashboardView(columns=120, overview=False), shorter, ABC).seconds == 6
    assert press_keys(DashboardView(), ">" * 50, ABC).seconds == SWEEP_SECONDS[-1]
    assert seconds_across(press_keys(DashboardView(columns=200), ">a", ABC)) == 10


@pytest.mark.parametrize("key", ["q", "Q", "\x03", "nq", "q+"])
def test_quit(key: str) -> None:
    """q asks for the end, whatever else was typed."""
    assert press_keys(DashboardView(), key, make("a")).quit


@pytest.mark.parametrize("keys", ["z", "\x1b", "\x1b[99;5X", "ö", "\x00", "", "\x1b[15~"])
def test_other_keys(keys: str) -> None:
    """Keys without a meaning, and the sequences of function keys, change nothing but the time of the last key."""
    view = order_view_beds(DashboardView(), ABC)
    assert press_keys(view, keys, ABC) == replace(view, last_key_s=ABC.now_s if keys else view.last_key_s)


@pytest.mark.parametrize("key", ["n", "p", "\r", "o", "+", "-", " ", "<", "\x1b[6~"])
def test_keys_without_beds(key: str) -> None:
    """Every key may come before the first bed does."""
    assert not press_keys(DashboardView(), key, make()).quit


@pytest.mark.parametrize("frames_per_s", [1.0, 2.0, 5.0, 10.0, 25.0])
def test_every_wave_has_its_turn(frames_per_s: float) -> None:
    """In a ward windows are fitted in turns, and at any frame rate all of them within a few."""
    view = layout_view(MANY, DashboardView(), 80, 24)
    tall = tuple(replace(bed, wave=10 * bed.wave) for bed in MANY.beds)
    for frame in range(40):
        view = layout_view(replace(MANY, beds=tall, now_s=MANY.now_s + frame / frames_per_s), view, 80, 24)
    assert {view.windows[f"bed-{i}"].height for i in range(20)} == {32.0}
    assert "bed-20" not in view.windows


def test_follow_changes_nothing_needlessly() -> None:
    """A view whose windows still fit is the same object: a steady picture costs nothing."""
    view = refit_windows(DashboardView(), ABC.beds)
    assert refit_windows(view, ABC.beds) is view
    assert refit_windows(replace(view, height_mv=64.0), ABC.beds) is not view
