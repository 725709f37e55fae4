"""The pages of the past on the dashboard: trend, alarms, strips, calipers, looking back, a second lead."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.core.clock import format_local_clock
from agent.core.look_back import AlarmStrip, BedPast, BedTrend, PastAlarm, SignalPiece
from agent.core.messages import Alarm, Beat, FloatArray
from agent.core.views import BedSummary, BedView, LeadWave, LinkView, RecordingView, RhythmSummary, WardSnapshot
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.looking import Calipers, LookingBack
from agent.dashboard.past_clock import past_moment
from agent.dashboard.past_requests import wanted_past
from agent.dashboard.still_extent import bed_extent, still_piece
from agent.dashboard.still_trace import still_trace_lines
from agent.dashboard.styles import UNICODE_GLYPHS
from agent.dashboard.trend_page import minute_words
from agent.dashboard.view import DashboardView
from agent.dashboard.wave_raster import fit_window
from model.records.resample import FS

NOW = 1_735_689_600.0 + 30
SIZES = [(80, 24), (100, 30), (120, 40), (200, 60), (300, 90)]
HEAD = 40 * FS
LEFT, RIGHT, UP, DOWN, PAGE_UP = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B", "\x1b[5~"


def ramp(count: int) -> FloatArray:
    """A wave whose millivolts say its place: 0.001 mV a sample, from 0 up again each second."""
    return (np.arange(count) % FS / 1000).astype(np.float32)


def beat(sample: int) -> Beat:
    return Beat("1", sample, sample, "V", (0.0, 0.0, 1.0, 0.0, 0.0), 0.8, NOW, run="run")


def bed(name: str = "1", **changes: Any) -> BedView:
    rhythm = RhythmSummary(60.0, 1000.0, 30.0, 40.0, (1, 0, 0, 0, 0))
    wave = ramp(HEAD)[-30 * FS :]
    beats = tuple(beat(sample) for sample in range(HEAD - 30 * FS, HEAD, FS))
    shown = BedView(name, "II", "ok", wave, HEAD, beats, rhythm, 0, 0, None, run="run", head_s=NOW)
    return replace(shown, **changes)


def alarm(onset_s: float, condition: str = "V run", priority: str = "medium", **changes: Any) -> PastAlarm:
    made = Alarm("1", "run", condition, priority, f"reason {onset_s:g}", round(onset_s * FS), 0, NOW - 100 + onset_s)  # type: ignore[arg-type]
    return PastAlarm(replace(made, **changes), NOW - 100 + onset_s)


def trend(hours: int, known: slice = slice(None)) -> BedTrend:
    count = 60 * hours
    values = np.full(count, np.nan, np.float32)
    values[known] = 70
    seconds = np.where(np.isnan(values), values, np.float32(0.25))
    ten = np.float32(10)
    rates = values, values - ten, values + 2 * ten
    first = int(NOW) // 60 - count + 1
    return BedTrend(
        "1",
        first,
        *rates,
        values / np.float32(35),
        values / np.float32(70),
        values / np.float32(100),
        seconds,
        (alarm(40),),
    )


def ward(past: BedPast | None = None, recorded: bool = False, **changes: Any) -> WardSnapshot:
    link = LinkView("tcp://host:1", "connected", 1, 0)
    recording = RecordingView("rec", 1, 10**9) if recorded else None
    beds, index = (bed(**changes),), (BedSummary("1"),)
    return WardSnapshot(beds, (), link, "cpu", "net", NOW, 10.0, recording=recording, index=index, past=past)


def strip(uncalibrated: bool = False) -> AlarmStrip:
    piece = SignalPiece("1", "run", "II", 1000, ramp(20 * FS), (beat(1500), beat(2000)), NOW - 60, uncalibrated)
    return AlarmStrip(alarm(15), piece)


def draw(snapshot: WardSnapshot, view: DashboardView, size: tuple[int, int] = (120, 40)) -> list[str]:
    view = layout_view(snapshot, view, *size)
    frame = render_frame(snapshot, view, *size)
    lines = ["".join(part.text for part in line) for line in frame.lines]
    assert len(lines) == size[1]
    assert {len(line) for line in lines} == {size[0]}
    if view.ascii:
        assert all(line.isascii() for line in lines)
    return lines


ALARMS = tuple(alarm(place) for place in (30.0, 20.0, 15.0))
PAGES = {
    "trend": BedPast("1", trend=trend(2, slice(30, 100))),
    "alarms": BedPast("1", alarms=ALARMS),
    "strip": BedPast("1", alarms=ALARMS, strip=strip()),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("page", ["trend", "alarms", "strip"])
def test_pages_fit_every_terminal(page: str, ascii_only: bool, size: tuple[int, int]) -> None:
    """Each page has lines of exact width, in ASCII too, with calipers, cursor and alarms above it or without."""
    looking = LookingBack(alarm=ALARMS[2].identity, minutes_back=5, calipers=Calipers((900, 400)))
    for asked in (PAGES[page], None, BedPast("1", reading=True), BedPast("1", trouble="cannot read")):
        for shown in (ward(asked), ward(asked, recorded=True, alarms=tuple(past.alarm for past in ALARMS))):
            view = DashboardView(page=page, ascii=ascii_only, looking=looking)  # type: ignore[arg-type]
            text = "\n".join(draw(shown, view, size))
            assert ("V RUN" in text) == bool(shown.beds[0].alarms or (asked and asked.alarms))


@pytest.mark.parametrize("hours", [1, 2, 6, 12, 24])
def test_a_trend_without_values_is_a_hole(hours: int) -> None:
    """A trend of which nothing is known draws nothing, and says so."""
    text = "\n".join(draw(ward(BedPast("1", trend=trend(hours, slice(0)))), DashboardView(page="trend")))
    assert "no heart rate in this time" in text
    assert not re.search("[\u2801-\u28ff]", text)


def test_a_minute_is_said_in_words() -> None:
    """The cursor says rate, V and S beats, what is missing, and quality; of a hole that nothing is known."""
    known = trend(1, slice(30, 60))
    assert minute_words(known, 40) == ("heart rate 70 (60 to 90), V 2 a minute, S 1 a minute, 25% missing, quality 70%")
    assert minute_words(known, 5) == "nothing is known of this minute"


def test_the_cursor_says_the_alarm_of_its_minute() -> None:
    """The alarm that began in the minute under the cursor is named with its time."""
    shown = ward(BedPast("1", trend=trend(1)))
    back = 59 - (int(NOW - 60) // 60 - trend(1).first_minute)
    text = "\n".join(draw(shown, DashboardView(page="trend", looking=LookingBack(minutes_back=back))))
    assert f"!! V RUN {format_local_clock(NOW - 60)}" in text


def test_keys_of_the_trend() -> None:
    """t opens the trend; + and - change its span, arrows its cursor; Esc goes back; k still acknowledges."""
    shown = ward(PAGES["trend"])
    view = press_keys(DashboardView(columns=120), "t", shown)
    assert (view.page, view.looking.hours) == ("trend", 1)
    assert press_keys(view, "-" * 9, shown).looking.hours == 24
    assert press_keys(view, "--+", shown).looking.hours == 2
    assert press_keys(view, LEFT * 3, shown).looking.minutes_back == 2
    assert press_keys(view, LEFT * 3 + RIGHT * 9, shown).looking.minutes_back == 0
    assert press_keys(view, LEFT * 99, shown).looking.minutes_back == 59
    assert press_keys(view, "k", shown).actions[0].kind == "acknowledge"
    assert press_keys(view, LEFT + "\x1b", shown).looking.minutes_back is None
    assert press_keys(view, "\x1b", shown).page == "beds"
    assert press_keys(view, "q", shown).page == "beds"
    assert press_keys(view, "qq", shown).quit


def test_pages_need_a_bed() -> None:
    """In a ward without a chosen bed t and A say what to do first."""
    two = replace(ward(), index=(BedSummary("1"), BedSummary("2")))
    for key in "tA":
        view = press_keys(DashboardView(), key, two)
        assert view.page == "beds"
        assert "choose a bed" in view.note
    assert press_keys(DashboardView(bed="2"), "t", two).page == "trend"


def test_keys_of_the_alarms() -> None:
    """Arrows choose an alarm, Enter opens its strip, n and p go on from there, Esc goes back step by step."""
    shown = ward(PAGES["strip"])
    view = press_keys(DashboardView(), "A", shown)
    assert view.page == "alarms"
    view = press_keys(view, DOWN + "\r", shown)
    assert (view.page, view.looking.alarm) == ("strip", ALARMS[1].identity)
    assert press_keys(view, "n", shown).looking.alarm == ALARMS[2].identity
    assert press_keys(view, "nn", shown).looking.alarm == ALARMS[2].identity
    assert press_keys(view, "p", shown).looking.alarm == ALARMS[0].identity
    view = press_keys(view, "\x1b", shown)
    assert (view.page, view.looking.alarm) == ("alarms", ALARMS[1].identity)
    assert press_keys(view, "\x1b", shown).page == "beds"


def test_the_chosen_alarm_stays_chosen() -> None:
    """When a new alarm comes first, the chosen one moves down with its row."""
    view = press_keys(DashboardView(), "A" + DOWN, ward(PAGES["alarms"]))
    later = ward(BedPast("1", alarms=(alarm(90), *ALARMS)))
    view = press_keys(view, "\r", later)
    assert view.looking.alarm == ALARMS[1].identity


def test_an_alarm_says_who_saw_it() -> None:
    """List and strip say since when, how long, the priority, why, and who acknowledged it."""
    seen = replace(alarm(15, ended=20 * FS, acknowledged_s=NOW - 50), handled_by="nurse Ann")
    past = BedPast("1", alarms=(seen,), strip=replace(strip(), past=seen))
    for page in ("alarms", "strip"):
        view = DashboardView(page=page, looking=LookingBack(alarm=seen.identity))
        text = "\n".join(draw(ward(past), view))
        assert f"acknowledged {past_moment(NOW - 50, NOW)} by nurse Ann" in text
        assert format_local_clock(NOW - 85) in text
        assert "5.0 s" in text
        assert "reason 15" in text
    terminal = replace(seen, handled_by="")
    assert "at the monitor" in "\n".join(draw(ward(BedPast("1", alarms=(terminal,))), DashboardView(page="alarms")))


def frozen(recorded: bool = False, **changes: Any) -> tuple[WardSnapshot, DashboardView]:
    shown = ward(recorded=recorded, **changes)
    return shown, layout_view(shown, press_keys(DashboardView(seconds=8), " ", shown), 120, 40)


def test_calipers_measure() -> None:
    """Calipers say times, millivolts, the difference of both, and the rate; each arrow moves one sample."""
    shown, view = frozen()
    view = press_keys(view, "c", shown)
    assert view.looking.calipers == Calipers((666, 333), 1)
    view = replace(view, looking=replace(view.looking, calipers=Calipers((250, 125), 1)))
    text = "\n".join(draw(shown, view))
    assert f"1 {format_local_clock(NOW - 2, 3)} +0.00 mV" in text
    assert f"2 {format_local_clock(NOW - 1, 3)} +0.00 mV" in text
    assert "Δt 1000 ms  60/min  Δ +0.00 mV" in text
    view = press_keys(view, LEFT * 3, shown)
    assert "Δt 976 ms  61/min  Δ +0.12 mV" in "\n".join(draw(shown, view))
    view = press_keys(view, "\t" + "\x1b[1;2D", shown)
    assert view.looking.calipers == Calipers((275, 128), 0)
    assert "dt 1176 ms" in "\n".join(draw(shown, replace(view, ascii=True)))
    assert press_keys(view, "\x1b", shown).looking.calipers is None
    assert press_keys(view, "c", shown).looking.calipers is None
    assert press_keys(view, " ", shown).frozen is None


def test_calipers_freeze_a_live_picture() -> None:
    """c in a live picture freezes it and turns calipers on; in the ward it says to open a bed."""
    shown = ward()
    view = layout_view(shown, press_keys(DashboardView(), "c", shown), 120, 40)
    assert view.frozen is shown or view.frozen is not None
    assert view.looking.calipers is not None
    two = replace(shown, index=(BedSummary("1"), BedSummary("2")))
    assert "open one bed" in press_keys(DashboardView(bed="1"), "c", two).note


def test_an_uncalibrated_lead_has_no_millivolts() -> None:
    """Calipers on a lead in raw counts say that it is uncalibrated, and there is no calibration box."""
    shown, view = frozen(uncalibrated=True)
    lines = draw(shown, press_keys(view, "c", shown))
    assert "uncalibrated" in "\n".join(lines)
    assert " mV" not in "\n".join(line for line in lines if "ms" in line and "/min" in line)


def test_a_caliper_takes_the_picture_along() -> None:
    """A caliper that leaves the picture moves it, down to the first sample that is held."""
    shown, view = frozen()
    view = press_keys(view, "c" + "\t" + "\x1b[5~" * 200, shown)
    extent = bed_extent(shown.beds[0], 8, False)
    assert view.looking.calipers is not None
    assert extent.end - view.looking.calipers.places[0] == extent.piece.first
    assert view.looking.back == 30 * FS - 8 * FS
    draw(shown, view)


def test_looking_back_ends_where_memory_ends() -> None:
    """Arrows go back over the 30 s that are held; further back a note says that only a recording has more."""
    shown, view = frozen()
    view = press_keys(view, LEFT * 5, shown)
    assert view.looking.back == 5 * FS
    assert format_local_clock(NOW - 5) in "\n".join(draw(shown, view))
    view = press_keys(view, LEFT * 50, shown)
    assert view.looking.back == 22 * FS
    assert "--record" in view.note
    assert wanted_past(view, shown) is None
    assert press_keys(view, RIGHT * 99, shown).looking.back == 0


def test_looking_further_back_reads_the_recording() -> None:
    """With a recording the picture goes on before what is held, to the begin of the run."""
    shown, view = frozen(recorded=True)
    view = press_keys(view, PAGE_UP * 4, shown)
    request = wanted_past(view, shown)
    assert request is not None
    assert request.signal is not None
    run, first, count = request.signal
    assert (run, first, request.lead) == ("run", 0, "II")
    assert count >= 8 * FS
    recorded = SignalPiece("1", "run", "II", first, ramp(count), (beat(250),), NOW - 40)
    piece = still_piece(bed_extent(shown.beds[0], 8, True), view.looking, recorded)
    assert piece.first == 0
    assert piece.wave == pytest.approx(ramp(8 * FS))
    assert [item.sample for item in piece.beats] == [250]
    assert piece.first_s == pytest.approx(NOW - 40)
    before = draw(shown, view)
    after = draw(replace(shown, past=BedPast("1", signal=recorded)), view)
    assert before != after
    assert "begins" in press_keys(view, PAGE_UP, shown).note


def test_missing_samples_are_said() -> None:
    """A caliper on a sample without value says so, and the axis marks the hole."""
    wave = ramp(30 * FS)
    wave[-400:-100] = np.nan
    shown, view = frozen(wave=wave)
    view = replace(press_keys(view, "c", shown), looking=LookingBack(calipers=Calipers((500, 250))))
    text = "\n".join(draw(shown, view))
    assert "-- mV" in text
    assert "×" in text  # noqa: RUF001 - the mark of what is missing


def answered(shown: WardSnapshot, view: DashboardView, size: tuple[int, int]) -> DashboardView:
    """The view after key 2 and the next frame: the key itself knows only which beds there are."""
    view = press_keys(layout_view(shown, view, *size), "2", replace(shown, beds=()))
    return layout_view(shown, view, *size)


@pytest.mark.parametrize(("size", "is_shown"), [((80, 24), False), ((120, 40), True), ((200, 60), True)])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_second_lead_where_there_is_room(size: tuple[int, int], is_shown: bool, ascii_only: bool) -> None:
    """A second lead stands below the first with its name; 2 turns it off; letters stand only above the first."""
    shown = ward(other_waves=(LeadWave("V5", -5 * ramp(30 * FS)),), beats=(beat(HEAD - 300),))
    view = DashboardView(ascii=ascii_only)
    lines = draw(shown, view, size)
    assert any(line.startswith("  mV") and " V5 " in line for line in lines) == is_shown
    assert sum(line.startswith(("  mV", " ~mV")) for line in lines) == 1 + is_shown
    off = answered(shown, view, size)
    assert off.looking.second_lead is not is_shown
    assert " V5 " not in "\n".join(draw(shown, off, size)[1:-1])
    assert sum("V" in line[6:] for line in lines[2:] if line.startswith("  mV")) <= 2


def has_second(shown: WardSnapshot, view: DashboardView, size: tuple[int, int]) -> bool:
    return any(line.startswith("  mV") and " V5 " in line for line in draw(shown, view, size))


@pytest.mark.parametrize("size", [(80, 24), (80, 30), (99, 27), (100, 28), (120, 30), (40, 12), (20, 3), (79, 60)])
@pytest.mark.parametrize("changes", [{}, {"alarms": tuple(past.alarm for past in ALARMS)}])
def test_no_room_for_a_second_lead_is_said(size: tuple[int, int], changes: dict[str, Any]) -> None:
    """With the least height that has room for it, in a terminal as wide; the lead stays on."""
    shown = ward(other_waves=(LeadWave("V5", ramp(30 * FS)),), **changes)
    pressed = answered(shown, DashboardView(), size)
    found = re.fullmatch(r"(?:no room for a second lead: needs|2 needs) (\d+)x(\d+)", pressed.note)
    assert found, pressed.note
    assert len(pressed.note) < size[0]
    assert pressed.looking.second_lead
    width, height = map(int, found.groups())
    assert width == max(80, size[0])
    assert has_second(shown, DashboardView(), (width, height))
    assert height == max(24, size[1]) or not has_second(shown, DashboardView(), (width, height - 1))
    assert answered(shown, pressed, (width, height)).note == "second lead off"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 150)])
def test_why_there_is_no_second_lead(size: tuple[int, int]) -> None:
    """The device sends one, a ward is shown, or the picture is still: the key says so and turns nothing off."""
    one = ward()
    both = ward(other_waves=(LeadWave("V5", ramp(30 * FS)),))
    still = press_keys(layout_view(both, DashboardView(), *size), "c", both)
    still = layout_view(both, still, *size)
    for shown, view, note in (
        (one, DashboardView(), "this bed has one lead"),
        (both, DashboardView(overview=True), "a second lead has room in one bed: enter"),
        (both, still, "there is one lead while you look back or measure"),
    ):
        pressed = answered(shown, view, size)
        assert pressed.note == note
        assert pressed.looking.second_lead


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_scale_is_said(ascii_only: bool) -> None:
    """The foot of a trace says what its grid stands for, and beside it stands a box of 1 mV and 0.2 s."""
    tall = 2 * np.sin(np.arange(30 * FS) / 20).astype(np.float32)
    lines = draw(ward(wave=tall), DashboardView(ascii=ascii_only, seconds=8))
    foot = next(line for line in lines if "grid 0.2 s, 1 mV" in line)
    assert foot.startswith(" 8 s ")
    box = [line[5:8].strip() for line in lines[3:20]]
    assert sum(map(bool, box)) >= 3
    flat = draw(ward(wave=tall, uncalibrated=True), DashboardView(ascii=ascii_only, seconds=8))
    assert not any(line[5:7].strip(" ·.") for line in flat[3:5])


def test_the_number_of_a_cursor_touches_no_words() -> None:
    """Words of the foot that a cursor stands on give way to its number, and come back behind it."""
    piece = SignalPiece("1", "run", "II", 0, np.sin(np.arange(8 * FS) / 20).astype(np.float32), (), NOW, False)
    window, feet = fit_window(piece.wave, None, 2.0), []
    for sample in range(0, 8 * FS, 4):
        lines = still_trace_lines(piece, window, (100, 20), 0.5, UNICODE_GLYPHS, ((sample, 500), 0))
        foot = next("".join(part.text for part in line) for line in lines if line[0].text.strip() == "8 s")
        feet.append(foot)
        assert not re.search(r"[gridsmV][12]|[12][gridsmV]", foot)
        assert all(len(clock) == 8 for clock in re.findall(r"[0-9]*:[0-9:]*", foot))
        assert ("grid" in foot) == (" grid 0.2 s, 0.5 mV " in foot)
    assert 0 < sum("grid" not in foot for foot in feet) < len(feet) / 2


def test_the_number_of_alarms_is_called_so() -> None:
    """The head of the list says what its number counts."""
    for count, words in ((3, "1  3 alarms "), (1, "1  1 alarm ")):
        lines = draw(ward(BedPast("1", alarms=ALARMS[:count])), DashboardView(page="alarms"))
        assert any(f"ALARMS  {words}" in line for line in lines)


@pytest.mark.parametrize(("age_s", "words"), [(5.0, "the strip is still being drawn"), (60.0, "no strip: it is cut")])
def test_a_strip_that_is_not_there_yet(age_s: float, words: str) -> None:
    """Of an alarm that has just come the strip is still to come; of an old one it is gone."""
    old = replace(ALARMS[0], alarm=replace(ALARMS[0].alarm, announced_s=NOW - age_s))
    view = DashboardView(page="strip", looking=LookingBack(alarm=old.identity))
    assert words in "\n".join(draw(ward(BedPast("1", alarms=(old,))), view))


def test_hostile_names_are_cleaned() -> None:
    """Texts from outside cannot move the cursor of the terminal."""
    evil = alarm(15, text="x\x1b[2Jy")
    piece = replace(strip().piece, lead="II\x1b[H")
    past = BedPast("1", alarms=(evil,), strip=AlarmStrip(evil, piece), trouble="")
    for page in ("alarms", "strip"):
        view = DashboardView(page=page, looking=LookingBack(alarm=evil.identity))
        assert "\x1b" not in "\n".join(draw(ward(past), view))


def test_the_length_of_an_announcement_is_no_reason_of_now() -> None:
    """An alarm that goes on says how long by now; one that is over has the length that it had."""
    now, then = (alarm(place, text="RR irregular for 33 s", ended=ended) for place, ended in ((30, None), (20, 5000)))
    past = BedPast("1", alarms=(now, then))
    lines = draw(ward(past), DashboardView(page="alarms"))
    assert ["RR irregular for 33 s" in line for line in lines if "RR irregular" in line] == [False, True]
    looking = LookingBack(alarm=now.identity)
    text = "\n".join(
        draw(ward(replace(past, strip=AlarmStrip(now, strip().piece))), DashboardView(page="strip", looking=looking))
    )
    assert "RR irregular" in text
    assert "RR irregular for" not in text
    assert "goes on for" in text


@pytest.mark.parametrize("at_s", [None, 0.0, -1.0, 1e18, float("nan")])
def test_a_time_that_cannot_be_is_dashes(at_s: float | None) -> None:
    """A time that no clock can have had is shown as dashes."""
    assert format_local_clock(at_s) == "--:--:--"
    assert past_moment(at_s, NOW) == "--:--:--"


def test_another_day_is_said() -> None:
    """A moment of another day has its date."""
    assert past_moment(NOW, NOW) == format_local_clock(NOW)
    assert re.fullmatch(r"\d\d [A-Z][a-z]{2} \d\d:\d\d:\d\d", past_moment(NOW - 3 * 86_400, NOW))
