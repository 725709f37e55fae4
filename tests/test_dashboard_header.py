"""What the top of the screen, and a row of the overview, say of lateness, the link, its troubles and the recording."""

import re
from dataclasses import replace

import pytest
from test_dashboard import SIZES, frame_of, make, printed
from test_dashboard_status import (
    FULL,
    LINK,
    NO_KEY,
    ONE,
    OVERVIEW,
    RECORDING,
    TROUBLED,
    WARD,
    bed,
    lines,
    segments,
    text,
)

from agent.core.clock import format_local_clock
from agent.core.events import OutputRestored, OutputTrouble
from agent.core.views import BedStatus, FailingOutput, LinkView
from agent.core.wording import event_text
from agent.dashboard.frame import layout_view
from agent.dashboard.styles import ALARM, WARN
from agent.dashboard.view import DashboardView, freeze_view


@pytest.mark.parametrize(
    "view", [ONE, OVERVIEW, DashboardView(overview=False, ascii=True), DashboardView(overview=True, ascii=True)]
)
@pytest.mark.parametrize("size", SIZES)
def test_behind(size: tuple[int, int], view: DashboardView) -> None:
    """A bed that lies behind is marked in its view and in the overview until it has caught up."""
    late = make(bed("bed-a", behind_s=12.3), bed("bed-b"), link=LINK, recording=RECORDING)
    assert "behind 12 s" in text(late, size, view)
    assert ("1 behind" in text(late, size, view)) == bool(view.overview)
    assert any("behind 12 s" in part.text and part.style is WARN for part in segments(late, size, view))
    assert "behind" not in text(make(bed(behind_s=1.4), link=LINK), size, view)


@pytest.mark.parametrize("view", [ONE, OVERVIEW])
@pytest.mark.parametrize("state", ["ok", "learning", "lead off", "saturated", "no signal"])
def test_behind_beside_the_state(state: BedStatus, view: DashboardView) -> None:
    """Lateness does not hide what else is wrong with a bed."""
    output = text(make(bed(state=state, behind_s=99.0)), (80, 24), view)
    assert "behind 99 s" in output
    assert state in ("ok", "learning") or state.upper() in output


def test_a_long_delay_in_a_row() -> None:
    """A delay of any length is shown whole, and the state beside it if there is room."""
    row = lines(make(bed(state="saturated", behind_s=599.0), link=LINK), (80, 24), OVERVIEW)[3]
    assert row.startswith(" SATURAT… behind 599 s")
    assert "behind 17 h" in text(make(bed(state="saturated", behind_s=6e4), link=LINK), (80, 24), OVERVIEW)


@pytest.mark.parametrize("view", [ONE, OVERVIEW])
@pytest.mark.parametrize("state", ["no data", "refused", "ended"])
def test_nothing_comes_and_nothing_is_behind(state: BedStatus, view: DashboardView) -> None:
    """A bed without data, or a lost link, is not behind: its own words say more."""
    assert "behind" not in text(make(bed(state=state, behind_s=99.0), link=LINK), (120, 36), view)
    lost = make(bed(behind_s=99.0), link=replace(LINK, state="lost"))
    assert "behind" not in text(lost, (120, 36), view)


@pytest.mark.parametrize("view", [ONE, OVERVIEW, DashboardView(overview=False, ascii=True)])
@pytest.mark.parametrize("size", [(80, 24), (120, 36), (60, 12)])
def test_an_output_that_cannot_send(size: tuple[int, int], view: DashboardView) -> None:
    """The header says which one, and for how long; its event begins with what happened, so that no cut hides it."""
    failing = (FailingOutput("store://10.0.0.1:5570", 75.0),)
    reason = "store://10.0.0.1:5570: no answer within 2 s; trying again"
    trouble = OutputTrouble("store://10.0.0.1:5570", reason)
    beds = bed("bed-a"), bed("bed-b")
    away = make(*beds, link=LINK, recording=RECORDING, events=[trouble], failing=failing)
    assert "STORE AWAY 75 s" in lines(away, size, view)[0]
    assert any("STORE AWAY" in part.text and part.style is WARN for part in segments(away, size, view))
    two = replace(away, failing=(*failing, FailingOutput("mqtt://broker", 12.0)))
    assert "2 OUTPUTS AWAY 75 s" in lines(two, size, view)[0]
    assert "AWAY" not in text(make(*beds, link=LINK, recording=RECORDING), size, view)
    if view.overview is False and size != (60, 12):
        assert "cannot send to" in text(away, size, view)


def test_an_output_in_words() -> None:
    """What happened comes first, and no address twice."""
    target = "store:ward.db"
    assert event_text(OutputTrouble(target, f"{target}: disk full", 2)) == (
        "cannot send to store:ward.db (disk full); 2 messages lost"
    )
    assert event_text(OutputRestored(target, 12.34)) == "sends again to store:ward.db after 12.3 s"


def test_a_link_without_answers() -> None:
    """Before the backfill channel has answered there is no round trip, and nothing stands for it."""
    silent = replace(LINK, round_trip_ms=None, offset_ms=None)
    assert re.search(
        r"connected  [0-9-]{10} [0-9:]{8} stream 00:00:30 $", lines(make(bed(), link=silent), (120, 36))[0]
    )
    assert "trip" not in text(make(bed(), link=silent), (120, 36))


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("overview", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_troubles_are_told_in_full(size: tuple[int, int], overview: bool, ascii_only: bool) -> None:
    """The words of both troubles stand whole at the top of the screen, as alarms, and the keys still at its foot."""
    output = lines(TROUBLED, size, DashboardView(overview=overview, ascii=ascii_only))
    top = " ".join(" ".join(output[1:6]).split())
    assert f"LINK LOST: {NO_KEY} RECORDING: {FULL}" in top
    assert "quit" in output[-1]
    alarms = [part.text for part in segments(TROUBLED, size, DashboardView(overview=overview)) if part.style is ALARM]
    assert any("LINK LOST: the device" in part for part in alarms)
    assert any("RECORDING: disk almost full" in part for part in alarms)


@pytest.mark.parametrize(
    ("link", "words", "style"),
    [
        (replace(LINK, state="waiting", trouble="nothing answers"), "NO LINK: nothing answers", ALARM),
        (replace(LINK, state="lost", trouble="nothing answers"), "LINK LOST: nothing answers", ALARM),
        (replace(LINK, trouble="it broke"), "LINK: it broke", WARN),
    ],
)
def test_trouble_by_state(link: LinkView, words: str, style: object) -> None:
    """A link that was never there, a lost one and one in trouble look different, with beds and without."""
    for snapshot in (make(link=link), make(bed(), link=link), make(bed("a"), bed("b"), link=link)):
        found = [part.style for part in segments(snapshot, (80, 24), DashboardView()) if words in part.text]
        assert found == [style]


def test_a_paused_recording_is_not_told_twice() -> None:
    """A trouble that begins with the word itself has it once."""
    paused = make(bed(), recording=replace(RECORDING, trouble="recording paused: disk full: 80 MB left"))
    assert lines(paused, (80, 24))[1].strip() == "RECORDING paused: disk full: 80 MB left"


def test_trouble_is_live_in_a_frozen_picture() -> None:
    """Troubles and the recording are those of now, the picture below them is the frozen one."""
    before = make(bed("before"), link=LINK)
    output = text(
        replace(TROUBLED, now_s=1072.0), (80, 24), freeze_view(layout_view(before, DashboardView(), 80, 24), before)
    )
    assert "before" in output
    assert "FROZEN 12 s" in output
    assert "LINK LOST: the device" in output
    assert "RECORDING: disk" in output


@pytest.mark.parametrize("size", [(100, 28), (120, 36)])
def test_trouble_keeps_the_layout(size: tuple[int, int]) -> None:
    """A large terminal keeps its layout under the lines of a trouble."""
    assert "MONITOR" in text(TROUBLED, size)


@pytest.mark.parametrize("size", SIZES)
def test_recording_of_a_ward(size: tuple[int, int]) -> None:
    """The overview's header shows the recording, with what there is room for."""
    head = lines(make(bed("a"), bed("b"), link=LINK, recording=RECORDING), size, OVERVIEW)[0]
    assert "● REC" in head
    assert size[0] < 99 or "34 GB free" in head
    assert size[0] < 115 or "20261001-120000, 12 MB" in head


def test_recording_in_trouble_is_alarming() -> None:
    """The mark of a recording in trouble is another one and an alarm, also without colour."""
    troubled = make(bed(), link=LINK, recording=replace(RECORDING, trouble=FULL))
    for size in SIZES:
        marks = [part.style for part in segments(troubled, size) if "REC" in part.text and "RECORD" not in part.text]
        assert marks == [ALARM] * (2 if size[0] < 100 else 1)
        folder = [part.style for part in segments(troubled, size) if part.text == "20261001-120000"]
        assert size[0] < 100 or folder == [ALARM]
    plain = printed(frame_of(troubled, DashboardView(), 80, 24), no_color=True)
    assert re.search(r"\x1b\[1;7m ○ REC ", plain)
    assert re.search(r"\x1b\[1;7m RECORDING: disk almost full", plain)


def test_a_crowded_header() -> None:
    """Where not all fits, date, round trip, place, time of the stream and mark of the recording go, in this order."""
    name = "bed of mine"
    beds = [bed(name, behind_s=12.3), *(bed(f"bed-{i}") for i in range(999))]
    ward = make(*beds, link=LINK, recording=RECORDING)
    head = lines(ward, (100, 30))[0]
    assert all(
        part in head
        for part in (
            name,
            "MLII",
            "behind 12 s",
            " 1/1000 ",
            "REC",
            "connected",
            format_local_clock(1060.0),
            "stream 00:00:30",
        )
    )
    head = lines(ward, (80, 24))[0]
    assert all(part in head for part in (name, "MLII", "behind 12 s", "REC", "connected", format_local_clock(1060.0)))
    assert "stream" not in head
    assert "0.4 ms" not in head
    assert "1/1000" not in head
    lost = replace(ward, link=replace(LINK, state="lost"), now_s=2060.0)
    head = lines(lost, (80, 24), freeze_view(layout_view(ward, ONE, 80, 24), ward))[0]
    assert all(part in head for part in ("bed", "FROZEN 1000 s", "LINK LOST", format_local_clock(2060.0)))
    crowded = replace(ward, beds=(replace(beds[0], lead="lead number one", behind_s=599.0), *beds[1:]))
    late = replace(crowded, now_s=101_060.0)
    head = lines(late, (80, 24), freeze_view(layout_view(crowded, ONE, 80, 24), crowded))[0]
    assert all(
        part in head for part in ("bed", "behind 599 s ", "FROZEN 100000 s", "connected", format_local_clock(101_060.0))
    )


def test_a_page_under_trouble() -> None:
    """Lines of a trouble take beds off the page, and the scales that are followed are those of the beds left on it."""
    ward = make(*WARD.beds[:60], link=TROUBLED.link, recording=TROUBLED.recording)
    assert "beds 17-32 of 60" in lines(ward, (80, 24), DashboardView(bed="bed-17"))[0]
    assert list(layout_view(ward, DashboardView(bed="bed-17"), 80, 24).windows) == [f"bed-{i}" for i in range(16, 32)]
