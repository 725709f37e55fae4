"""The ward view: order of the beds, number and size of the cards, and what is requested from the monitor."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dashboard import SIZES, WICKED, at_a_glance, frame_of, make, make_bed, printed, shown
from test_dashboard_alarms import COUPLET, VT, with_alarms

from agent.core.bed_settings import NO_SETTINGS
from agent.core.config import Config
from agent.core.events import EventText
from agent.core.messages import Alarm, Ledger, Priority
from agent.core.run_clock import RunClock
from agent.core.views import BedSummary, WardSnapshot
from agent.dashboard.bed_order import HOLD_S, IDLE_S, SINK_S, SORT_EVERY_S, BedOrder, restrict_order, update_order
from agent.dashboard.find_keys import match_bed_names
from agent.dashboard.frame import fit_view, layout_view
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.layout import SMALL_CARD, choose_card_grid, resize_card_grid
from agent.dashboard.picture import draw_dashboard_svg
from agent.dashboard.view import DashboardView, needed_beds, page_beds
from agent.link.link_receiver import LinkReceiver
from agent.monitor.alarm_history import SHOWN_ALARMS, AlarmHistory
from agent.monitor.snapshot import INDEX_PERIOD_S, SnapshotMaker
from agent.pipeline.monitored_bed import MonitoredBed
from agent.pipeline.pipeline import Pipeline

WARD = make(*(make_bed(f"bed-{i}") for i in range(1000)))
NAMES = ("a", "b", "c", "d")


def index(*urgencies: int) -> tuple[BedSummary, ...]:
    return tuple(BedSummary(name, urgency=urgency) for name, urgency in zip(NAMES, urgencies, strict=False))


def at(now_s: float, order: BedOrder, *urgencies: int, held: bool = False, by_urgency: bool = True) -> BedOrder:
    return update_order(order, index(*urgencies), now_s, by_urgency, held)


def test_by_urgency_then_by_arrival() -> None:
    """The most urgent bed is first, and beds of equal urgency stand in the order in which they came."""
    assert at(0, BedOrder(), 0, 3, 0, 3).names == ("b", "d", "a", "c")
    assert at(0, BedOrder(), 0, 3, 0, 3, by_urgency=False).names == NAMES


def test_sorted_once_a_while() -> None:
    """A bed rises when the beds are next sorted, not before, and the same order is the same object."""
    first = at(100, BedOrder(), 0, 0, 0, 0)
    soon = at(100 + SORT_EVERY_S / 2, first, 0, 0, 0, 5)
    assert soon.names == NAMES
    assert at(100 + SORT_EVERY_S, soon, 0, 0, 0, 5).names == ("d", "a", "b", "c")
    same = index(0, 0, 0, 0)
    held = update_order(first, same, 100.1, True, False)
    assert update_order(held, same, 100.2, True, False) is held


def test_no_bed_moves_while_somebody_chooses() -> None:
    """While a key was pressed lately the order is held, however urgent a bed becomes; new ones come last."""
    first = at(100, BedOrder(), 0, 0, 0)
    held = at(103, first, 0, 0, 9, 9, held=True)
    assert held.names == NAMES
    assert at(104, held, 0, 0, 9, 9).names == ("c", "d", "a", "b")


def test_an_alarm_that_flutters_moves_nothing() -> None:
    """A bed sinks only when it has been less urgent for a while."""
    order = at(0, BedOrder(), 0, 0, 5)
    for now_s in range(1, int(SINK_S)):
        order = at(now_s, order, 0, 0, 5 * (now_s % 2))
        assert order.names == ("c", "a", "b")
    for now_s in range(int(SINK_S), 2 * int(SINK_S)):
        order = at(now_s, order, 0, 0, 0)
    assert order.names == ("a", "b", "c")


def test_a_clock_that_went_back() -> None:
    """A time before the last sorting does not hold the order for ever."""
    order = at(1000, BedOrder(), 0, 0, 5)
    assert at(10, order, 5, 0, 0).names[0] == "a"


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 3), st.lists(st.integers(0, 3), min_size=1, max_size=4), st.booleans(), st.booleans()),
        max_size=30,
    )
)
def test_every_bed_has_one_place(steps: list[tuple[float, list[int], bool, bool]]) -> None:
    """Whatever happens, the order holds each bed that is there once, and knows its place."""
    order, now_s = BedOrder(), 0.0
    for later_s, urgencies, held, by_urgency in steps:
        now_s += later_s
        order = at(now_s, order, *urgencies, held=held, by_urgency=by_urgency)
        assert sorted(order.names) == sorted(NAMES[: len(urgencies)])
        assert [order.places[name] for name in order.names] == list(range(len(order.names)))


def test_some_beds_of_an_order() -> None:
    """The beds of a frozen page keep their order."""
    assert restrict_order(at(0, BedOrder(), 0, 3, 0, 3), ("a", "d")).names == ("d", "a")


@pytest.mark.parametrize(("width", "height"), [(size[0], size[1] - 3) for size in SIZES])
@pytest.mark.parametrize("beds", [1, 2, 5, 11, 20, 64, 100, 300, 1000])
def test_cards_fit(beds: int, width: int, height: int) -> None:
    """The cards of a page fit the screen, and are wide or high where few beds leave room for it."""
    grid = choose_card_grid(beds, width, height)
    assert grid.columns * grid.width + (grid.columns - 1) * grid.between <= width
    rows = -(-grid.per_page // grid.columns)
    assert rows * grid.lines + (not grid.wide) <= height
    assert grid.width >= (72 if grid.wide else SMALL_CARD)
    if beds > grid.per_page:  # pages there are only where not even the smallest cards would do
        assert beds > (height - 1) * ((width + 2) // (SMALL_CARD + 2))
        assert grid.lines == 2


def test_density() -> None:
    """Few beds have wide cards, many have small ones, of one line where all fit on the page that way."""
    assert choose_card_grid(10, 80, 21).wide
    assert (
        choose_card_grid(40, 80, 21).wide,
        choose_card_grid(40, 80, 21).lines,
        choose_card_grid(40, 80, 21).columns,
    ) == (False, 1, 2)
    assert (choose_card_grid(64, 120, 33).lines, choose_card_grid(64, 120, 33).columns) == (1, 2)
    assert (choose_card_grid(1000, 120, 33).lines, choose_card_grid(1000, 120, 33).per_page) == (2, 48)
    assert choose_card_grid(64, 200, 57).lines == 4


def test_cards_of_a_frozen_page_keep_their_size() -> None:
    """Lines that a trouble takes leave the cards as they are; another width makes others."""
    grid = choose_card_grid(1000, 120, 33)
    assert resize_card_grid(grid, 48, 120, 31) == replace(grid, per_page=45)
    assert resize_card_grid(grid, 48, 200, 57) == choose_card_grid(48, 200, 57)


@pytest.mark.parametrize("size", SIZES)
def test_a_thousand_beds(size: tuple[int, int]) -> None:
    """Of a thousand beds those of the page are requested, and drawn with name, rate and wave."""
    view = fit_view(WARD, DashboardView(), *size)
    names = needed_beds(view, WARD)
    assert 20 <= len(names) < 300
    page = replace(WARD, beds=WARD.beds[: len(names)])
    output = "\n".join(shown(page, view, *size))
    assert f"beds 1-{len(names)} of 1000" in output
    assert all(name in output for name in names)
    assert output.count(" 60 ") >= len(names)
    assert any("\u2801" <= char <= "\u28ff" for char in output)


def test_beds_that_are_not_there_in_full() -> None:
    """A page drawn without its beds, as after a change of the terminal's size, names them."""
    for ward in (WARD, make(*WARD.beds[:5])):
        output = "\n".join(shown(replace(ward, beds=()), DashboardView(), 80, 24))
        assert "bed-3" in output


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_wicked_beds(size: tuple[int, int], ascii_only: bool) -> None:
    """Names, leads, rhythms and reasons from outside are cut to their card, whatever they hold."""
    bed = with_alarms(make_bed(WICKED), replace(VT, text=WICKED), replace(COUPLET, text=WICKED))
    bed = replace(bed, lead=WICKED, rhythm_name=WICKED, silenced_until_s=1e12)
    calm = replace(bed, alarms=(), silenced_until_s=0.0)
    for beds in (2, 30, 70, 400):
        several = (replace(bed if i % 2 else calm, bed=f"{i}{WICKED}") for i in range(beds))
        lines = shown(make(*several), DashboardView(ascii=ascii_only, bed=f"1{WICKED}"), *size)
        assert not ascii_only or all(line.isascii() for line in lines)


def test_small_cards_say_what_matters() -> None:
    """A small card says the alarm, else what is wrong, else the rhythm, else the signal; noise takes the rate away."""
    beds = [make_bed(f"bed-{i:02}") for i in range(40)]
    beds[1] = with_alarms(beds[1], VT, COUPLET)
    beds[2] = replace(beds[2], state="no data")
    beds[3] = replace(beds[3], rhythm_name="bigeminy")
    beds[4] = replace(beds[4], suspended=True)
    beds[5] = replace(beds[5], behind_s=7.0)
    beds[6] = replace(beds[6], silenced_until_s=1090.0)
    output = "\n".join(shown(make(*beds), DashboardView(), 80, 24))
    cards = [line[at : at + 39] for line in output.split("\n")[2:22] for at in (0, 41)]
    messages = {card[1:7]: card[10:30] for card in cards}
    assert cards[0].startswith(" bed-01")
    assert "60 !!! VT 0:10 +1" in messages["bed-01"]
    assert "-- NO DATA" in messages["bed-02"]
    assert "60 bigeminy" in messages["bed-03"]
    assert "-- signal noisy" in messages["bed-04"]
    assert "60 behind 7 s" in messages["bed-05"]
    assert "60 silenced 0:30" in messages["bed-06"]
    assert "60 MLII" in messages["bed-07"]
    assert "!!! VT  V beats in a row: 7 at 152/min" in output


def test_high_cards_do_not_touch() -> None:
    """Cards of more than two lines have an empty one below them, those of two use both for their wave."""
    for beds, lines, empty in ((24, 4, [3, 7]), (40, 2, [])):
        ward = make(*(make_bed(f"bed-{i:02}") for i in range(beds)))
        assert layout_view(ward, DashboardView(), 120, 36).grid.lines == lines
        output = shown(ward, DashboardView(), 120, 36)[2:10]
        assert [row for row, line in enumerate(output) if not line.strip()] == empty


def test_the_chosen_bed_in_words() -> None:
    """Below the small cards is a line for the chosen bed, or the most urgent one."""
    beds = [make_bed(f"bed-{i:02}") for i in range(40)]
    beds[7] = replace(beds[7], rhythm_name="AF")
    calm = make(*beds)
    assert "no alarm" in shown(calm, DashboardView(), 80, 24)[-2]
    last = shown(calm, DashboardView(bed="bed-07"), 80, 24)[-2]
    assert "bed-07" in last
    assert "AF" in last


def test_the_cursor_is_where_somebody_chose() -> None:
    """Only a chosen bed has the cursor."""
    for beds in (3, 40):
        ward = make(*(make_bed(f"bed-{i:02}") for i in range(beds)))
        assert "▌" not in "\n".join(shown(ward, DashboardView(), 80, 24))
        output = shown(ward, DashboardView(bed="bed-02"), 80, 24)
        assert any("▌bed-02" in line for line in output)


def test_the_page_goes_with_the_choice() -> None:
    """The chosen bed stays chosen by its name when it becomes urgent, and its page is shown; a key holds all."""
    view = press_keys(fit_view(WARD, DashboardView(), 80, 24), "/999\r", WARD)
    assert view.bed == "bed-999"
    view = fit_view(WARD, view, 80, 24)
    assert page_beds(view)[-1] == "bed-999"
    urgent = replace(WARD, index=(*WARD.index[:999], WARD.index[999]._replace(urgency=9)))
    assert page_beds(fit_view(replace(urgent, now_s=WARD.now_s + HOLD_S / 2), view, 80, 24))[-1] == "bed-999"
    later = fit_view(replace(urgent, now_s=WARD.now_s + HOLD_S + 1), view, 80, 24)
    assert (later.bed, page_beds(later)[0]) == ("bed-999", "bed-999")


def test_a_ward_left_alone_shows_its_most_urgent_beds() -> None:
    """Long after the last key a choice on another page is given up, one on the first page is not."""
    view = press_keys(fit_view(WARD, DashboardView(), 80, 24), "/999\r", WARD)
    alone = replace(WARD, now_s=WARD.now_s + IDLE_S + 1)
    left = fit_view(alone, view, 80, 24)
    assert (left.bed, page_beds(left)[0]) == ("", "bed-0")
    assert fit_view(alone, press_keys(view, "s", WARD), 80, 24).bed == "bed-999"
    assert fit_view(alone, replace(view, bed="bed-3"), 80, 24).bed == "bed-3"


def test_what_is_looked_at_stays() -> None:
    """The bed of a full view stays when another becomes more urgent."""
    view = fit_view(WARD, DashboardView(overview=False), 80, 24)
    assert needed_beds(view, WARD) == ("bed-0",)
    urgent = replace(WARD, index=(*WARD.index[:999], WARD.index[999]._replace(urgency=9)), now_s=2000.0)
    assert needed_beds(fit_view(urgent, view, 80, 24), urgent) == ("bed-0",)


def test_the_key_of_the_order() -> None:
    """s goes between urgency and arrival at once, and the header says which it is."""
    ward = at_a_glance(make(make_bed("a"), with_alarms(make_bed("b"), VT)))
    view = layout_view(ward, DashboardView(), 80, 24)
    assert view.order.names == ("b", "a")
    assert "by urgency" in shown(ward, view, 80, 24)[1]
    other = layout_view(ward, press_keys(view, "s", ward), 80, 24)
    assert other.order.names == ("a", "b")
    assert "by arrival" in shown(ward, other, 80, 24)[1]
    back = layout_view(ward, press_keys(other, "s", ward), 80, 24)
    assert back.order.names == ("b", "a")
    assert "by urgency, held" in shown(ward, back, 80, 24)[1]


def test_finding_a_bed() -> None:
    """A name typed after / chooses the best fit with each key; Enter keeps it, Escape goes back, q is a letter."""
    ward = make(*(make_bed(name) for name in ("ICU 1", "ICU 12", "icu 2", "quiet room", "ward 12")))
    view = press_keys(DashboardView(bed="ICU 1"), "/12", ward)
    assert (view.bed, view.typed) == ("ICU 12", "12")
    assert "/12_" in shown(ward, view, 80, 24)[-1]
    assert "2 beds" in shown(ward, view, 80, 24)[-1]
    assert press_keys(view, "\r", ward).typed is None
    assert press_keys(view, "\x1b", ward).bed == "ICU 1"
    assert press_keys(view, "\x7f\x7f", ward).bed == "ICU 1"
    assert press_keys(DashboardView(), "/q", ward).bed == "quiet room"
    assert not press_keys(DashboardView(), "/q", ward).quit
    assert press_keys(DashboardView(), "/q\x03", ward).quit
    assert press_keys(DashboardView(bed="ICU 1"), "/nobody", ward).bed == "ICU 1"
    assert press_keys(DashboardView(), "/ICU 2\r", ward).bed == "icu 2"
    assert len(press_keys(DashboardView(), "/" + "x" * 500, ward).typed or "") == 40
    assert press_keys(DashboardView(), "/", make()).typed is None


def test_the_best_fit() -> None:
    """So called, so beginning, so ending, with it in the name: in this order, then in the order of arrival."""
    names = ("bed-112", "bed-12", "12-a", "12", "x-12-y")
    assert match_bed_names("12", names) == ["12", "12-a", "bed-112", "bed-12", "x-12-y"]
    assert match_bed_names("", names) == []


@pytest.mark.parametrize("size", SIZES)
def test_frozen_ward(size: tuple[int, int]) -> None:
    """A frozen ward keeps the waves and the order of its page, with the alarms and the counts of now."""
    view = layout_view(WARD, DashboardView(), *size)
    page = replace(WARD, beds=WARD.beds[: len(page_beds(view))])
    view = layout_view(page, press_keys(view, " ", WARD), *size)
    urgent = at_a_glance(make(*(with_alarms(bed, VT) for bed in WARD.beds[:7]), now_s=1070.0))
    output = shown(urgent, view, *size)
    assert "FROZEN 10 s" in output[0]
    assert f"of {len(page.beds)} " in output[0]
    assert "!!! 7 high" in output[1]
    assert "".join(output[2:]).count("!!! VT") >= 7
    calm = shown(replace(page, now_s=1070.0), view, *size)
    assert re.findall("[\u2801-\u28ff]+", "".join(calm[2:])) == re.findall("[\u2801-\u28ff]+", "".join(output[2:]))
    assert len(page_beds(view)) == len(page.beds)
    assert layout_view(urgent, press_keys(view, " ", urgent), *size).order.names == tuple(
        bed.bed for bed in urgent.beds
    )


def test_pictures() -> None:
    """The picture of a ward is that of its frame, few beds or many, also where nothing was settled before."""
    for beds in (3, 64, 300):
        ward = make(*(with_alarms(make_bed(f"bed-{i}"), VT) for i in range(beds)))
        document = draw_dashboard_svg(ward, DashboardView(), 120, 34)
        assert "ASYSTOLE" not in document
        assert document.count(">VT<") >= min(beds, 40)


def test_no_colour_is_needed() -> None:
    """Without colour no code for one is written, and marks and words are still there."""
    ward = make(*(with_alarms(make_bed(f"bed-{i}"), VT, COUPLET) for i in range(40)))
    plain = printed(frame_of(ward, DashboardView(), 80, 24), no_color=True)
    assert "\x1b[3" not in plain
    assert plain.count("!!! VT") >= 40


class Known:
    """A pipeline whose beds have the alarms that are set here, by row, over a link that sent ten samples of each."""

    def __init__(self, beds: dict[str, MonitoredBed]) -> None:
        self.beds = beds
        self.alarms = SimpleNamespace(
            rules=lambda row: SimpleNamespace(manager=self.managers(row), settings=NO_SETTINGS)
        )
        self.shown: dict[int, tuple[Alarm, ...]] = {}
        self.until_s: dict[int, float] = {}

    def managers(self, row: int) -> SimpleNamespace:
        shown, until_s = self.shown.get(row, ()), self.until_s.get(row, 0.0)

        def audible(now_s: float) -> Priority | None:
            return None if until_s > now_s or not shown else shown[0].priority

        return SimpleNamespace(
            view=shown, urgency=8 * len(shown), audible=audible, silenced_until_s=until_s, paused_until_s=0.0
        )

    def snapshots(self, settings: Config) -> SnapshotMaker:
        link = SimpleNamespace(sent=lambda _: 10)
        return SnapshotMaker(cast(Pipeline, self), cast(LinkReceiver, link), settings, AlarmHistory(), RunClock())


def test_all_beds_at_a_glance(settings: Config) -> None:
    """The index holds every bed with what its order and the counts need, and the sum of the samples."""
    beds = {
        name: MonitoredBed(name, row, arrived_s=100.0, sent_s=98.0, counted=8, lost=1) for row, name in enumerate("abc")
    }
    beds["c"].arrived_s = 50.0
    known = Known(beds)
    known.shown = {0: (VT,), 1: (COUPLET, COUPLET)}
    known.until_s = {1: 130.0}
    seen, total = known.snapshots(settings).index(100.5)
    assert seen == (
        BedSummary("a", "learning", 8, "high", "high", False, 2.5, standing="high"),
        BedSummary("b", "learning", 16, "low", None, True, 2.5, standing="low"),
        BedSummary("c", "no data", 1, behind_s=2.5),
    )
    assert total == Ledger(30, 24, 3)


def test_beds_that_ended_come_last(settings: Config) -> None:
    """A bed that ended needs nobody; one that is refused or sends nothing comes before those that are well."""
    beds = {
        name: MonitoredBed(name, row, arrived_s=100.0, ended=name in "ae", refused="no ECG" if name == "d" else "")
        for row, name in enumerate("abcdef")
    }
    beds["f"].arrived_s = 50.0
    known = Known(beds)
    known.shown = {2: (VT,), 4: (replace(VT, ended=3200),)}
    seen, _ = known.snapshots(settings).index(100.5)
    assert [bed.urgency for bed in seen] == [-1, 0, 8, 1, 8, 1]
    order = update_order(BedOrder(), seen, 100.5, by_urgency=True, held=False)
    assert order.names == ("c", "e", "d", "f", "b", "a")
    beds["a"].ended = False
    again, _ = known.snapshots(settings).index(101.5)
    assert update_order(order, again, 101.5, by_urgency=True, held=False).names == ("c", "e", "d", "f", "a", "b")


def test_a_glance_is_not_taken_at_every_frame(settings: Config) -> None:
    """The index is the same for a while, unless there is a new bed, something was done, or the time is over."""
    beds = {"a": MonitoredBed("a", 0)}
    known = Known(beds)
    glances = known.snapshots(settings)
    first = glances.index(100.0)[0]
    known.shown = {0: (VT,)}
    assert glances.index(100.0 + INDEX_PERIOD_S / 2)[0] is first
    assert glances.index(100.0 + INDEX_PERIOD_S)[0][0].priority == "high"
    known.shown = {}
    assert glances.index(101.0)[0][0].priority is None
    known.shown = {0: (VT,)}
    glances.forget_index()
    assert glances.index(101.01)[0][0].priority == "high"
    beds["b"] = MonitoredBed("b", 1)
    assert len(glances.index(101.02)[0]) == 2
    assert glances.index(50.0)[0] is not glances.index(101.02)[0]


def test_the_last_alarms_of_a_bed() -> None:
    """An alarm is kept in its latest state, newest first, and only a limited number."""
    last = AlarmHistory()
    last.push([], [VT, EventText("gap", "bed-1", "", 0, "a gap"), COUPLET], 0.0)
    over = replace(VT, ended=VT.onset + 500)
    last.push([], [over], 0.0)
    assert last.of("bed-1") == (COUPLET, over)
    assert last.of("bed-2") == ()
    last.push([], [replace(VT, onset=onset) for onset in range(1000, 1100)], 0.0)
    assert len(last.of("bed-1")) == SHOWN_ALARMS
    assert last.of("bed-1")[0].onset == 1099


def test_a_frame_is_a_function_of_what_it_shows() -> None:
    """The same snapshot and view make the same frame, and leave the waves as they were."""
    before = [bed.wave.copy() for bed in WARD.beds[:5]]
    one, two = (frame_of(WARD, DashboardView(), 120, 36).lines for _ in range(2))
    assert one == two
    assert all(np.array_equal(wave, bed.wave) for wave, bed in zip(before, WARD.beds, strict=False))


def test_only_what_changed_is_arranged() -> None:
    """A settled view is the same object at the next frame: a steady ward costs nothing to arrange."""
    view = layout_view(WARD, DashboardView(), 120, 36)
    later: WardSnapshot = replace(WARD, now_s=WARD.now_s + 0.1)
    assert fit_view(later, view, 120, 36) is view
