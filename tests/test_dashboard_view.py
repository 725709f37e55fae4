from dataclasses import replace

import numpy as np
import pytest

from agent.dashboard.view import SECONDS, View, chosen, follow, is_overview, press, seconds_across
from agent.dashboard.wave import HEIGHTS_MV
from agent.messages import BedView, LinkView, Rhythm, Snapshot


def make(*names: str) -> Snapshot:
    wave = np.sin(np.arange(1250) / 20).astype(np.float32)
    rhythm = Rhythm(60.0, 1000.0, 30.0, 40.0, (1, 0, 0, 0, 0))
    beds = tuple(BedView(name, "MLII", "ok", wave, 1250, (), rhythm, 0, 0, None) for name in names)
    return Snapshot(beds, (), LinkView("tcp://host:1", "connected", 1, 0), "cpu", "weights", 20.0, 10.0)


ABC = make("a", "b", "c")
MANY = make(*(f"bed-{i}" for i in range(64)))


@pytest.mark.parametrize(
    ("keys", "bed"),
    [("n", "b"), ("nn", "c"), ("nnn", "a"), ("p", "c"), ("\t", "b"), ("\x1b[Z", "c"), ("\x1b[B", "b"), ("\x1bOA", "c")],
)
def test_next_and_previous(keys: str, bed: str) -> None:
    """Next and previous go round through the beds, by letter, tab or arrow."""
    assert press(View(), keys, ABC).bed == bed


def test_pages_stop_at_the_ends() -> None:
    """Page keys move by ten beds and stop at the first and last."""
    assert press(View(), "\x1b[6~", MANY).bed == "bed-10"
    assert press(View(), "\x1b[6~" * 9, MANY).bed == "bed-63"
    assert press(View(bed="bed-5"), "\x1b[5~", MANY).bed == "bed-0"


def test_overview_and_back() -> None:
    """Several beds begin as an overview; Enter opens the chosen one, o goes back."""
    assert is_overview(View(), ABC)
    assert not is_overview(View(), make("a"))
    opened = press(View(), "n\r", ABC)
    assert not is_overview(opened, ABC)
    assert ABC.beds[chosen(opened, ABC)].bed == "b"
    assert is_overview(press(opened, "o", ABC), ABC)


def test_freeze() -> None:
    """Space keeps the snapshot of that moment; another one lets go of it."""
    frozen = press(View(), " ", ABC)
    assert frozen.frozen is ABC
    later = make("a", "b", "c", "d")
    assert press(frozen, "p", later).bed == "c"
    assert press(frozen, " ", later).frozen is None


def test_gain() -> None:
    """Plus and minus step through the gains from the one shown, stop at the ends, and a gives the choice back."""
    view = follow(View(), ABC.beds)
    auto = view.windows["a"].height
    assert press(view, "+", ABC).height_mv == HEIGHTS_MV[HEIGHTS_MV.index(auto) - 1]
    assert press(view, "-", ABC).height_mv == HEIGHTS_MV[HEIGHTS_MV.index(auto) + 1]
    assert press(view, "+" * 50, ABC).height_mv == HEIGHTS_MV[0]
    assert press(view, "-" * 50, ABC).height_mv == HEIGHTS_MV[-1]
    assert press(view, "+a", ABC).height_mv is None


def test_gain_takes_effect() -> None:
    """A chosen gain is what the next frame shows, and so is the automatic one after it."""
    view = follow(press(follow(View(), ABC.beds), "-----", ABC), ABC.beds)
    assert view.windows["a"].height == view.height_mv
    assert follow(press(view, "a", ABC), ABC.beds).windows["a"].height < view.windows["a"].height


def test_time_base() -> None:
    """Time keys step from what is shown, in brackets, angles or arrows."""
    for shorter, longer in (("<", ">"), ("[", "]"), (",", "."), ("\x1b[D", "\x1b[C")):
        assert press(View(columns=120), longer, ABC).seconds == 10
        assert press(View(columns=120), shorter, ABC).seconds == 6
    assert press(View(), ">" * 50, ABC).seconds == SECONDS[-1]
    assert seconds_across(press(View(columns=200), ">a", ABC)) == 10


@pytest.mark.parametrize("key", ["q", "Q", "\x03", "nq", "q+"])
def test_quit(key: str) -> None:
    """q asks for the end, whatever else was typed."""
    assert press(View(), key, ABC).quit


@pytest.mark.parametrize("keys", ["x", "\x1b", "\x1b[99;5X", "ö", "\x00", "", "\x1b[15~"])
def test_other_keys(keys: str) -> None:
    """Keys without a meaning, and the sequences of function keys, change nothing."""
    assert press(View(), keys, ABC) == View()


@pytest.mark.parametrize("key", ["n", "p", "\r", "o", "+", "-", " ", "<", "\x1b[6~"])
def test_keys_without_beds(key: str) -> None:
    """Every key may come before the first bed does."""
    assert not press(View(), key, make()).quit


def test_follow_changes_nothing_needlessly() -> None:
    """A view whose windows still fit is the same object: a steady picture costs nothing."""
    view = follow(View(), ABC.beds)
    assert follow(view, ABC.beds) is view
    assert follow(replace(view, height_mv=64.0), ABC.beds) is not view
