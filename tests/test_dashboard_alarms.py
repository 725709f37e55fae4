"""Alarms on the screen: colour and marks, words, what was acknowledged or is over, the bell, and what keys ask for."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
from rich.segment import Segment
from rich.style import Style
from test_dashboard import SIZES, make, make_bed, shown

from agent.core.clock import format_local_clock
from agent.core.condition_names import SHORT_CONDITIONS
from agent.core.messages import PRIORITIES, Alarm, AlarmCondition, Priority
from agent.core.views import BedSummary, BedView, WardSnapshot
from agent.core.wording import PRIORITY_MARKS
from agent.dashboard.alarm_lines import (
    FLASH_OFF_STYLES,
    FLASH_ON_STYLES,
    STEADY_STYLES,
    alarm_label,
    alarm_style,
    flash_style,
    format_silence_left,
    last_alarm_lines,
    merge_recent_alarms,
    ward_alarm_parts,
)
from agent.dashboard.bell import LEAST_BETWEEN_RINGS_S, AlarmBell
from agent.dashboard.frame import fit_view, layout_view, render_frame
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.styles import ASCII_GLYPHS, UNICODE_GLYPHS
from agent.dashboard.view import CHOOSE_NOTE, NOTE_S, BedAction, DashboardView

VT = Alarm(
    "bed-1", "run", "ventricular tachycardia", "high", "V beats in a row: 7 at 152/min", 3000, 3100, 1050.0, True
)
HIGH_RATE = Alarm("bed-1", "run", "heart rate high", "medium", "heart rate 131/min, limit 120", 2000, 2400, 1045.0)
COUPLET = Alarm("bed-1", "run", "couplet", "low", "two V beats in a row", 3200, 3300, 1052.0)
ONE = DashboardView(overview=False)


def clock(at_s: float) -> str:
    return format_local_clock(at_s)


def with_alarms(bed: BedView, *alarms: Alarm) -> BedView:
    own = tuple(replace(alarm, bed=bed.bed) for alarm in alarms)
    return replace(bed, alarms=own, last_alarms=own[::-1])


def segments(snapshot: WardSnapshot, size: tuple[int, int] = (80, 24), view: DashboardView = ONE) -> list[Segment]:
    view = layout_view(snapshot, view, *size)
    return [segment for line in render_frame(snapshot, view, *size).lines for segment in line]


def styles(snapshot: WardSnapshot, words: str) -> list[Style | None]:
    return [segment.style for segment in segments(snapshot) if words in segment.text]


@pytest.mark.parametrize("size", SIZES)
def test_an_alarm_in_words(size: tuple[int, int]) -> None:
    """The view of a bed has its alarms on top, with mark, reason, since when by the clock, and the key for silence."""
    lines = shown(make(with_alarms(make_bed(), VT, HIGH_RATE)), ONE, *size)
    spelt = " ventricular tachycardia:" if size[0] >= 99 else ""
    assert lines[1].startswith(f" !!! VT {spelt} V beats in a row: 7 at 152/min ")
    assert lines[1].rstrip().endswith(f"since {clock(1049.2)} (10 s) m silence")
    assert "heart rate 131/min, limit 120 " in lines[2]
    assert lines[2].startswith(" !! HR HIGH ")
    assert lines[2].rstrip().endswith(f"since {clock(1041.8)} (18 s)")
    assert "quit" in lines[-1]


def test_without_data_time_goes_on() -> None:
    """The clock of a bed that sends nothing stands still; how long it has been so does not."""
    snapshot = make(make_bed())
    silent = Alarm("bed-1", "run", "no data", "medium", "nothing comes", 3700, 3700, snapshot.now_s - 26.0)
    since = f"since {clock(snapshot.now_s - 26.0)} (26 s) m silence"
    lines = shown(replace(snapshot, beds=(with_alarms(make_bed(), silent),)), ONE, 80, 24)
    assert lines[1].rstrip().endswith(since)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seen", [None, 1055.0])
def test_what_goes_on_stands_above_what_is_over(size: tuple[int, int], seen: float | None) -> None:
    """Within a priority, also where the active one was acknowledged and the latched one was not."""
    over = replace(VT, condition="ventricular fibrillation", ended=3050)
    active, medium = replace(VT, acknowledged_s=seen), replace(HIGH_RATE, ended=None)
    lines = shown(make(with_alarms(make_bed(), over, active, medium)), ONE, *size)
    assert lines[1].startswith(" !!! VT ")
    assert lines[2].startswith(" !!! VF ")
    assert "+1 more" in lines[2] or lines[3].startswith(" !! HR HIGH ")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_many_alarms_leave_the_picture(size: tuple[int, int], ascii_only: bool) -> None:
    """However many alarms a bed has, the most urgent ones and the number of others are shown, and the trace stays."""
    many = [replace(COUPLET, condition=condition, priority="low") for condition in get_args(AlarmCondition)]
    lines = shown(make(with_alarms(make_bed(), VT, *many)), replace(ONE, ascii=ascii_only), *size)
    assert "!!! VT" in lines[1]
    rows = [line for line in lines[2:5] if re.match(r" ! [A-Z]", line)]
    assert len(rows) == (1 if size == (80, 24) else 2)
    assert f"+{len(many) - len(rows)} more" in rows[-1]
    assert "LAST BEATS" in "".join(lines)


@pytest.mark.parametrize(("priority", "period_s"), [("high", 0.5), ("medium", 2.0)])
def test_flashing(priority: Priority, period_s: float) -> None:
    """High flashes at 2 Hz, medium at 0.5 Hz, half of the time each; the words stay in the same colour."""
    seen = [flash_style(priority, 1000 + step * period_s / 20) for step in range(40)]
    assert seen.count(FLASH_ON_STYLES[priority]) == 20
    assert set(seen) == {FLASH_ON_STYLES[priority], FLASH_OFF_STYLES[priority]}
    assert seen[:20] == seen[20:]
    assert FLASH_ON_STYLES[priority].color == FLASH_OFF_STYLES[priority].color


def test_low_is_steady() -> None:
    """Low does not flash."""
    assert {flash_style("low", step / 10) for step in range(100)} == {FLASH_ON_STYLES["low"]}


def test_frames_flash() -> None:
    """Two frames a quarter of a second apart differ in the background of a high alarm, and in nothing else of it."""
    ward = make(with_alarms(make_bed(), VT))
    ward = replace(ward, now_s=1060.5)
    lit = styles(ward, " !!! VT ")
    unlit = styles(replace(ward, now_s=ward.now_s + 0.25), " !!! VT ")
    assert (lit, unlit) == ([FLASH_ON_STYLES["high"]], [FLASH_OFF_STYLES["high"]])
    assert shown(ward, ONE, 80, 24)[1] == shown(replace(ward, now_s=ward.now_s + 0.25), ONE, 80, 24)[1]


def test_acknowledged_and_over() -> None:
    """An acknowledged alarm and one that is over do not flash, and are labelled differently."""
    seen, over = replace(VT, acknowledged_s=1055.0), replace(VT, ended=3400)
    for now_s in (1060.0, 1060.25):
        assert alarm_style(VT, now_s) in (FLASH_ON_STYLES["high"], FLASH_OFF_STYLES["high"])
        assert alarm_style(seen, now_s) == alarm_style(over, now_s) == STEADY_STYLES["high"]
    assert f"acknowledged, since {clock(1049.2)} (10 s)" in shown(make(with_alarms(make_bed(), seen)), ONE, 80, 24)[1]
    assert f"over: {clock(1049.2)} to {clock(1052.4)}" in shown(make(with_alarms(make_bed(), over)), ONE, 80, 24)[1]
    for beds in (3, 40):
        ward = make(*(with_alarms(make_bed(f"bed-{i}"), (VT, seen, over)[i % 3]) for i in range(beds)))
        output = "\n".join(shown(ward, DashboardView(), 80, 24))
        assert output.count("!!! VT ack") == (13 if beds == 40 else 1)
        assert output.count("!!! VT over") == (13 if beds == 40 else 1)


@pytest.mark.parametrize("size", SIZES)
def test_silenced(size: tuple[int, int]) -> None:
    """The rest of a silence is shown in the view of the bed, with alarms and without, and counted in the ward."""
    quiet = replace(with_alarms(make_bed("a"), VT), silenced_until_s=1154.0)
    calm = replace(make_bed("b"), silenced_until_s=1154.0)
    for bed in (quiet, calm):
        assert "silenced 1:34" in shown(make(bed), ONE, *size)[1]
    output = shown(make(quiet, calm), DashboardView(), *size)
    assert "2 silenced" in output[1]
    assert "1:34" in "".join(output[2:])
    assert "silenced" not in "".join(shown(make(replace(quiet, silenced_until_s=1059.0)), ONE, *size))


@pytest.mark.parametrize(
    ("left_s", "output"),
    [(-5, ""), (0, ""), (0.6, "0:01"), (59, "0:59"), (120, "2:00"), (3599, "59:59"), (7200, "2 h")],
)
def test_remaining(left_s: float, output: str) -> None:
    """The rest of a silence is shown in minutes and seconds."""
    assert format_silence_left(1000 + left_s, 1000) == output


@pytest.mark.parametrize("size", SIZES)
def test_the_wards_counts(size: tuple[int, int]) -> None:
    """The line of the ward counts beds by their most urgent alarm, those silenced and those without data."""
    beds = [make_bed(f"bed-{i:02}") for i in range(50)]
    beds[:3] = (with_alarms(bed, VT, COUPLET) for bed in beds[:3])
    beds[3:5] = (with_alarms(bed, HIGH_RATE) for bed in beds[3:5])
    beds[5:9] = (with_alarms(bed, COUPLET) for bed in beds[5:9])
    beds[9:15] = (replace(bed, state="no data") for bed in beds[9:15])
    line = shown(make(*beds), DashboardView(), *size)[1]
    assert " ".join(line.split()).startswith("!!! 3 high !! 2 medium ! 4 low 0 silenced 6 no data")


def test_a_count_flashes_until_all_is_seen() -> None:
    """The count of a priority flashes while one of its beds has an unacknowledged alarm, silenced or not."""

    def style(*beds: BedSummary) -> Style:
        return next(style for text, style in ward_alarm_parts(beds, 1000.0) if "high" in text)

    seen = BedSummary("b", "ok", 8, "high", None)
    assert style(seen, BedSummary("a", "ok", 8, "high", "high")) == FLASH_ON_STYLES["high"]
    assert style(seen, BedSummary("a", "ok", 8, "high", None, True)) == FLASH_ON_STYLES["high"]
    assert style(seen) == STEADY_STYLES["high"]
    assert style().color == style(BedSummary("a", "ok", 8, "low", "low")).color != FLASH_ON_STYLES["high"].color


@pytest.mark.parametrize("size", SIZES)
def test_alarms_of_other_beds(size: tuple[int, int]) -> None:
    """The view of one bed shows the alarms of the others, but not its own a second time."""
    ward = make(with_alarms(make_bed("a"), VT), with_alarms(make_bed("b"), VT), with_alarms(make_bed("c"), COUPLET))
    head = shown(ward, replace(ONE, bed="a"), *size)[0]
    assert " !!! 1  ! 1 " in head
    assert "!" not in shown(make(with_alarms(make_bed("a"), VT), make_bed("b")), replace(ONE, bed="a"), *size)[0]
    calm = replace(make(make_bed("a"), make_bed("b")), index=ward.index)
    frozen = layout_view(calm, press_keys(fit_view(calm, replace(ONE, bed="b"), *size), " ", calm), *size)
    assert " !!! 1  ! 1 " in shown(replace(ward, now_s=1070.0), frozen, *size)[0]


@pytest.mark.parametrize("size", SIZES)
def test_last_alarms(size: tuple[int, int]) -> None:
    """The view of a bed lists its last alarms as they stand now, the newest first."""
    over = replace(HIGH_RATE, ended=2800, acknowledged_s=1050.0)
    bed = replace(with_alarms(make_bed(), replace(VT, acknowledged_s=1064.0)), last_alarms=(COUPLET, VT, over))
    output = "\n".join(shown(make(bed), ONE, *size))
    vt, high = f"{clock(1049.2)} !!! VT", f"{clock(1041.8)} !! HR HIGH"
    at = [output.index(row) for row in ("LAST ALARMS", f"{clock(1051.2)} ! COUPLET", vt, high)]
    assert at == sorted(at)
    rows = [line for line in output.split("\n") if vt in line or high in line]
    assert size[0] < 115 or re.search(rf"{clock(1048.2)} +\+5 s", rows[-1])
    assert size[0] < 115 or re.search(r"goes on +\+14 s", rows[-2])
    assert "LAST ALARMS" not in "\n".join(shown(make(make_bed()), ONE, *size))


def test_an_alarm_is_listed_once() -> None:
    """An active alarm is listed in its present state, not as it was announced."""
    seen = replace(VT, acknowledged_s=1064.0)
    assert merge_recent_alarms(replace(make_bed(), alarms=(seen,), last_alarms=(VT,))) == [seen]


@pytest.mark.parametrize("width", [30, 38, 43, 60])
def test_a_list_of_any_width(width: int) -> None:
    """Each row of the list is as wide as it should be, with all conditions."""
    many = [replace(VT, condition=name, onset=3000 + i) for i, name in enumerate(SHORT_CONDITIONS)]
    many[1] = replace(many[1], ended=3900, acknowledged_s=9999.0)
    for row in last_alarm_lines(replace(make_bed(), last_alarms=tuple(many)), width, 30, UNICODE_GLYPHS):
        assert sum(len(segment.text) for segment in row) == width


def test_every_condition_has_a_short_name() -> None:
    """Each condition can be named in the narrowest card, and each priority has its mark."""
    assert set(SHORT_CONDITIONS) == set(get_args(AlarmCondition))
    assert max(len(name) for name in SHORT_CONDITIONS.values()) <= 9
    assert len(set(SHORT_CONDITIONS.values())) == len(SHORT_CONDITIONS)


@pytest.mark.parametrize("condition", get_args(AlarmCondition))
def test_short_names_abbreviate_the_names(condition: AlarmCondition) -> None:
    """An alarm has one name everywhere: the letters of its short name are letters of the name, in the same order."""
    letters = iter(condition.upper())
    assert all(letter in letters for letter in SHORT_CONDITIONS[condition])
    assert [PRIORITY_MARKS[priority] for priority in PRIORITIES] == ["!!!", "!!", "!"]
    assert alarm_label(COUPLET) == "! COUPLET"


def test_no_rate_in_noise() -> None:
    """In noise no rate is shown; the rhythm has its name."""
    for view in (ONE, DashboardView(overview=True)):
        output = "\n".join(shown(make(replace(make_bed(), suspended=True)), replace(view, ascii=True), 100, 30))
        assert "HEART RATE -- /min" in output or view.overview
        assert " 60 " not in output
    for size in SIZES:
        assert " rhythm AF " in shown(make(replace(make_bed(), rhythm_name="AF")), ONE, *size)[1]


def test_keys_ask_for_what_is_seen() -> None:
    """k and m ask for the bed of the full view, or for the one that was chosen in the ward; and say so."""
    ward = make(with_alarms(make_bed("a"), VT), make_bed("b"))
    asked = press_keys(ONE, "km", ward)
    assert asked.actions == (BedAction("acknowledge", "a"), BedAction("silence", "a"))
    assert press_keys(DashboardView(), "k", ward).actions == ()
    assert press_keys(DashboardView(), "k", ward).note == CHOOSE_NOTE
    assert press_keys(DashboardView(), "nk", ward).actions == (BedAction("acknowledge", "a"),)
    assert press_keys(DashboardView(), "nnm", ward).actions == (BedAction("silence", "b"),)
    assert press_keys(DashboardView(), "nk", ward).note == "alarms of a acknowledged"
    assert press_keys(DashboardView(), "nnk", ward).note == "b has no alarm"
    assert press_keys(DashboardView(), "nm", ward).note == "a silenced"
    quiet = make(replace(make_bed("a"), silenced_until_s=2000.0))
    assert press_keys(ONE, "m", quiet).note == "a is no longer silenced"
    assert press_keys(ONE, "km", make()).actions == ()


def test_what_was_said_goes_away() -> None:
    """The answer to a key is shown in the footer for a while, then the keys again."""
    ward = make(make_bed("a"), make_bed("b"))
    view = press_keys(DashboardView(), "k", ward)
    assert CHOOSE_NOTE in shown(ward, view, 80, 24)[-1]
    assert "quit" in shown(replace(ward, now_s=ward.now_s + NOTE_S + 0.1), view, 80, 24)[-1]
    assert press_keys(view, "n", ward).note == ""


@pytest.mark.parametrize("glyphs", [UNICODE_GLYPHS, ASCII_GLYPHS])
def test_footers(glyphs: object) -> None:
    """The most important keys stand in the footer of the smallest terminal."""
    for ward, bed in ((make(make_bed()), ""), (make(make_bed("a"), make_bed("b")), "a")):
        last = shown(ward, DashboardView(bed=bed, ascii=glyphs is ASCII_GLYPHS), 80, 24)[-1]
        assert all(key in last for key in ("q quit", "n p bed", "k acknowledge", "m silence"))
        last = shown(ward, DashboardView(ascii=glyphs is ASCII_GLYPHS), 200, 60)[-1]
        assert all(key in last for key in ("/ find", "b bell", "space freeze"))
        assert "research tool, not a medical device" in last


def rings(
    bell: AlarmBell, *beds: tuple[str, Priority | None], until_s: float, start_s: float = 1000.0
) -> Iterator[float]:
    """The seconds at which the bell rings, looked at ten times a second."""
    ward = [BedSummary(name, audible=priority) for name, priority in beds]
    for step in range(round(10 * until_s)):
        if bell.due(ward, start_s + step / 10):
            yield step / 10


def test_the_bells_pattern() -> None:
    """High rings every three seconds, medium every ten, low once, nothing not at all."""
    assert list(rings(AlarmBell(), ("a", "high"), until_s=10)) == [0.0, 3.0, 6.0, 9.0]
    assert list(rings(AlarmBell(), ("a", "medium"), until_s=25)) == [0.0, 10.0, 20.0]
    assert list(rings(AlarmBell(), ("a", "low"), until_s=100)) == [0.0]
    assert list(rings(AlarmBell(), ("a", None), until_s=100)) == []
    assert list(rings(AlarmBell(), ("a", "low"), ("b", "high"), until_s=5)) == [0.0, 3.0]


def test_a_new_alarm_rings_at_once() -> None:
    """A new alarm, or one that became worse, rings at once, but many together no more than once a second."""
    bell = AlarmBell()
    assert list(rings(bell, ("a", "low"), until_s=5)) == [0.0]
    assert list(rings(bell, ("a", "low"), ("b", "low"), until_s=5, start_s=1005.0)) == [0.0]
    assert list(rings(bell, ("a", "medium"), ("b", "low"), until_s=5, start_s=1010.0)) == [0.0]
    assert list(rings(bell, ("a", "medium"), ("b", "medium"), until_s=0.4, start_s=1015.0)) == [0.0]
    assert list(rings(bell, *((f"c{i}", "low") for i in range(9)), until_s=5, start_s=1015.4)) == [
        pytest.approx(LEAST_BETWEEN_RINGS_S - 0.4)
    ]


def test_silence_ends_the_bell() -> None:
    """What is acknowledged or silenced no longer rings, and rings again when it is audible again."""
    bell = AlarmBell()
    assert list(rings(bell, ("a", "high"), until_s=1)) == [0.0]
    assert list(rings(bell, until_s=60, start_s=1001.0)) == []
    assert list(rings(bell, ("a", "high"), until_s=1, start_s=1061.0)) == [0.0]


def test_the_key_of_the_bell() -> None:
    """b turns the bell on and off, and the line of the ward says when it is on."""
    ward = make(make_bed("a"), make_bed("b"))
    on = press_keys(DashboardView(), "b", ward)
    assert on.bell
    assert on.note == "bell on"
    assert "bell" in shown(ward, on, 80, 24)[1]
    assert "bell" not in shown(ward, press_keys(on, "b", ward), 80, 24)[1]
