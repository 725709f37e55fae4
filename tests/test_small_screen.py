"""Terminals that hold no whole page: what stays in every size, and that no size tears a line."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dashboard import SCENES, make, make_bed, shown
from test_dashboard_alarms import COUPLET, HIGH_RATE, VT, with_alarms

from agent.core.views import LinkView
from agent.dashboard.frame import fit_view, layout_view
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.view import DashboardView, freeze_view, needed_beds

ONE, WARD = DashboardView(overview=False), DashboardView(overview=True)
ALARMED = make(with_alarms(make_bed(), VT, HIGH_RATE))
LOST = make(replace(make_bed(state="no data"), arrived_s=1055.0))
BEDS = make(*(with_alarms(make_bed(f"bed-{i}"), *([VT] if i == 7 else [COUPLET] if i == 4 else [])) for i in range(12)))
ALL_SCENES = {**SCENES, "alarmed": ALARMED, "lost data": LOST, "ward with alarms": BEDS}
SMALL_SIZES = [(18, 1), (20, 2), (20, 3), (20, 5), (20, 8), (30, 12), (40, 10), (60, 20), (79, 23), (120, 10), (70, 40)]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    scene=st.sampled_from(sorted(ALL_SCENES)),
    width=st.integers(1, 300),
    height=st.integers(1, 100),
    overview=st.sampled_from([None, True, False]),
    ascii_only=st.booleans(),
    frozen=st.booleans(),
)
def test_any_size(scene: str, width: int, height: int, overview: bool | None, ascii_only: bool, frozen: bool) -> None:
    """From one cell to the largest screen, every frame has exactly the lines and cells of its terminal."""
    snapshot, view = ALL_SCENES[scene], DashboardView(overview=overview, ascii=ascii_only)
    if frozen:
        view = freeze_view(layout_view(snapshot, view, width, height), snapshot)
    shown(snapshot, view, width, height)


@pytest.mark.parametrize("height", range(1, 14))
def test_tiny_sizes(height: int) -> None:
    """Every small size draws, of a bed with alarms, of one without data and of a ward."""
    for width in range(1, 42):
        for snapshot in (ALARMED, LOST, BEDS):
            for view in (ONE, WARD):
                shown(snapshot, view, width, height)


@pytest.mark.parametrize("size", SMALL_SIZES)
def test_the_worst_alarm_and_the_rate_stay(size: tuple[int, int]) -> None:
    """In every size stand the worst alarm with its age, and the heart rate."""
    text = "\n".join(shown(ALARMED, replace(ONE, ascii=True), *size))
    assert "!!! VT" in text
    assert "0:10" in text or "(10 s)" in text
    assert "HR 60" in text
    assert size[1] < 3 or "bed-1" in text
    assert size[0] < 20 or "HR HIGH" in text or "+1" in text


def test_one_line_in_words() -> None:
    """A single line is the alarm, its age and the rate; what else fits follows."""
    assert shown(ALARMED, ONE, 18, 1) == ["!!! VT 0:10 HR 60 "]
    assert shown(ALARMED, ONE, 40, 1) == ["!!! VT 0:10 HR 60 +1 bed-1              "]
    assert shown(make(make_bed()), ONE, 22, 1) == ["no alarm HR 60 bed-1  "]


@pytest.mark.parametrize("size", SMALL_SIZES)
def test_a_loss_in_every_size(size: tuple[int, int]) -> None:
    """A bed that sends nothing says so with its age, and its last rate says how old it is."""
    text = "\n".join(shown(LOST, ONE, *size))
    assert "NO DATA" in text or "5 s old" in text
    long = replace(LOST, now_s=LOST.now_s + 60)
    text = "\n".join(shown(long, ONE, *size))
    assert "NO DATA 65 s" in text or "NO DATA for 65 s" in text
    assert "HR 60" not in text


@pytest.mark.parametrize("size", SMALL_SIZES)
def test_a_ward_shows_its_worst_bed(size: tuple[int, int]) -> None:
    """A small ward counts the beds with alarms, and shows the most urgent bed with its alarm and rate first."""
    lines = shown(BEDS, WARD, *size)
    text = "\n".join(lines)
    assert "!!! VT" in text
    assert "60" in text
    assert size[1] == 1 or "!!! 1" in lines[0]
    assert size[1] < 3 or text.index("bed-7") < min(text.find(f"bed-{i}") % 10**6 for i in (0, 1, 4))
    assert needed_beds(fit_view(BEDS, WARD, *size), BEDS)[0] == "bed-7"


def test_keys_work_in_a_small_terminal() -> None:
    """n chooses the next bed, and a silence and a typed name are answered at the bottom."""
    view = fit_view(BEDS, WARD, 40, 10)
    chosen = press_keys(view, "nm", BEDS)
    assert chosen.bed == "bed-7"
    assert "bed-7 silenced" in shown(BEDS, chosen, 40, 10)[-1]
    assert "/be_" in shown(BEDS, press_keys(view, "/be", BEDS), 40, 10)[-1]
    assert "n choose a bed" in shown(BEDS, view, 40, 10)[-1]
    assert "m silence" in shown(BEDS, press_keys(view, "n", BEDS), 40, 10)[-1]


def test_waiting_in_a_small_terminal() -> None:
    """Before the first bed the state of the link is shown, and why."""
    waiting = make(link=LinkView("tcp://host:1", "waiting", 0, 0, trouble="nothing answers"))
    lines = shown(waiting, ONE, 20, 3)
    assert [line.strip() for line in lines] == ["no bed yet", "link waiting", "nothing answers"]


def test_a_trace_where_it_fits() -> None:
    """From 40x12 on the wave is drawn, below the digits or beside them."""
    for size in ((40, 12), (60, 20), (120, 10), (200, 20)):
        assert sum("\u2800" <= char <= "\u28ff" for line in shown(ALARMED, ONE, *size) for char in line) > 20
