"""What the dashboard says of the link, the recording, lateness and the samples' whereabouts."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from test_dashboard import SIZES, WICKED, logged, make, make_bed, shown
from test_dashboard_alarms import HIGH_RATE, VT, with_alarms

from agent.core.events import DeviceNote, DiskSpaceChanged, EventText
from agent.core.messages import Alarm, Ledger
from agent.core.views import BedStatus, BedView, LatencySummary, LinkView, RecordingView, WardSnapshot
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.status import format_scaled_count, ledger_parts, short_duration
from agent.dashboard.styles import EVENT_STYLES, WARN
from agent.dashboard.view import DashboardView, freeze_view

LINK = LinkView("tcp://10.0.0.12:5555", "connected", 1234, 0, True, "", 0.42, 12.0)
RECORDING = RecordingView("sessions/20261001-120000", 12_345_678, 34_500_000_000)
LEDGER = Ledger(12_345, 12_000, 345)
NO_KEY = (
    "the device at tcp://10.0.0.12:5555 does not have the key that is pinned (keys/ward-3.key): is it a copy of that "
    "device's NAME.key, and the port right?"
)
FULL = "disk almost full: 480 MB left at sessions/20261001-120000"
BIG = Ledger(10**10, 10**10 - 385, 345)
OVERVIEW, ONE = DashboardView(overview=True), DashboardView(overview=False)


def lines(snapshot: WardSnapshot, size: tuple[int, int], view: DashboardView = ONE) -> list[str]:
    return shown(snapshot, view, *size)


def text(snapshot: WardSnapshot, size: tuple[int, int], view: DashboardView = ONE) -> str:
    return "\n".join(lines(snapshot, size, view))


def segments(snapshot: WardSnapshot, size: tuple[int, int], view: DashboardView = ONE) -> list[Segment]:
    view = layout_view(snapshot, view, *size)
    return [segment for line in render_frame(snapshot, view, *size).lines for segment in line]


def bed(name: str = "bed-1", state: BedStatus = "ok", ledger: Ledger = LEDGER, behind_s: float = 0.1) -> BedView:
    made = make_bed(name, state=state)
    return replace(made, ledger=ledger, behind_s=behind_s, latency=LatencySummary(408.0, 1.2, 3.4, 12.3))


TROUBLED = make(
    bed(behind_s=12.3),
    link=replace(LINK, state="lost", trouble=NO_KEY, offset_ms=1234.0, rejected=7),
    recording=replace(RECORDING, trouble=FULL),
)
WARD = make(*(bed(f"bed-{i}", ledger=BIG, behind_s=i % 7) for i in range(1000)), link=LINK, recording=RECORDING)
SCENES = {
    "fine": make(bed(), link=LINK, recording=RECORDING),
    "troubled": TROUBLED,
    "troubled ward": replace(WARD, link=TROUBLED.link, recording=TROUBLED.recording),
    "1,000 beds": WARD,
    "waiting": make(link=replace(LINK, state="waiting", trouble=NO_KEY), recording=RECORDING),
    "large figures": make(
        replace(bed(ledger=Ledger(10**18, 10**17, 10**16), behind_s=1e12), latency=LatencySummary(1e9, 1e9, 1e9, 1e9)),
        link=replace(LINK, packets=10**15, rejected=10**15, round_trip_ms=1e12, offset_ms=-1e15),
        recording=replace(RECORDING, written=10**24, free=10**24),
    ),
    "no figures": make(
        replace(bed(behind_s=math.nan), latency=LatencySummary(math.nan, math.inf, math.nan, math.nan)),
        link=replace(LINK, round_trip_ms=math.inf, offset_ms=math.nan),
        recording=RecordingView("", 0, -1),
    ),
    "ledger that does not close": make(bed(ledger=Ledger(10, 12, 3))),
    "wicked": make(
        *(replace(bed(WICKED, behind_s=99.0, state="saturated"), lead=WICKED) for _ in range(3)),
        link=replace(LINK, state="lost", trouble=WICKED),
        recording=RecordingView(WICKED, 5, 5, WICKED),
        events=(EventText("record", "", "", 0, WICKED), EventText("backfill", WICKED, "", 0, WICKED)),
    ),
}


@pytest.mark.parametrize("overview", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scene", SCENES)
def test_every_line_fits(scene: str, size: tuple[int, int], overview: bool) -> None:
    """Every frame has exactly the lines and cells of its terminal, with or without ASCII, frozen or not."""
    snapshot, view = SCENES[scene], DashboardView(overview=overview)
    lines(snapshot, size, view)
    lines(snapshot, size, freeze_view(layout_view(snapshot, view, *size), snapshot))
    assert all(line.isascii() for line in lines(snapshot, size, replace(view, ascii=True)))


NUMBERS = st.integers(0, 10**12)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(80, 210),
    height=st.integers(24, 64),
    name=st.text(max_size=30),
    words=st.text(max_size=400),
    counts=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    late=FLOATS,
    trip=st.none() | FLOATS,
    offset=st.none() | FLOATS,
    state=st.sampled_from(["waiting", "connected", "lost"]),
    beds=st.integers(0, 3),
    overview=st.booleans(),
)
def test_any_figures_and_words_fit(  # type: ignore[no-untyped-def]  # hypothesis passes what it drew
    width, height, name, words, counts, late, trip, offset, state, beds, overview
) -> None:
    """Whatever the figures, names and words are, and however large the terminal, the frame fits it."""
    views = [bed(f"{name}{i}", ledger=Ledger(*counts), behind_s=late) for i in range(beds)]
    link = LinkView(name, state, counts[0], counts[1], False, words, trip, offset)
    recording = RecordingView(name, counts[0], counts[1], words)
    snapshot = make(*views, link=link, recording=recording, events=(EventText("record", "", "", 0, words),))
    shown(snapshot, DashboardView(overview=overview), width, height)


@pytest.mark.parametrize("size", SIZES)
def test_the_ledger(size: tuple[int, int]) -> None:
    """The ledger stands in full, and samples under way with it while there are some."""
    assert "sent 12,345 = 12,000 analysed + 345 missing" in text(make(bed()), size)
    assert "under way" not in text(make(bed()), size)
    late = text(make(bed(ledger=Ledger(12_385, 12_000, 345))), size)
    assert "sent 12,385 = 12,000 analysed + 345 missing + 40 under way" in late


@pytest.mark.parametrize("size", SIZES)
def test_a_ledger_of_long_standing(size: tuple[int, int]) -> None:
    """Ten thousand million samples are still shown to the last one."""
    output = re.search(
        r"sent (\S+) = (\S+)(?: analysed)? \+ 345 missing \+ 40 under way", text(make(bed(ledger=BIG)), size)
    )
    assert output
    assert [int(figure.replace(",", "")) for figure in output.groups()] == [10**10, 10**10 - 385]


@given(sent=NUMBERS, analysed=NUMBERS, missing=NUMBERS, width=st.integers(0, 120))
def test_a_ledger_keeps_to_its_room(sent: int, analysed: int, missing: int, width: int) -> None:
    """The words of a ledger take no more room than they have, and what is missing is the last to go."""
    output = "".join(part for part, _ in ledger_parts(Ledger(sent, analysed, missing), width))
    assert len(output) <= width
    assert "missing" in output or width < len("999 k missing")
    if "=" in output:
        figures = [int(figure) for figure in re.findall(r"[0-9]+", output.replace(",", ""))]
        under_way = sum(figures[3:]) * (-1 if " - " in output else 1)
        assert figures[0] == figures[1] + figures[2] + under_way


@pytest.mark.parametrize("size", SIZES)
def test_link_and_delay(size: tuple[int, int]) -> None:
    """The link's state, round trip and part of the delay, the security, and the clock only where it is off."""
    output = text(make(bed(), link=LINK, recording=RECORDING), size)
    assert re.search(r"connected\s+0\.4 ms", lines(make(bed(), link=LINK), size)[0])
    assert "12 ms" in output or size[1] < 26  # there the trace has the line of the delays
    assert "encrypted" in output
    assert "not encrypted" not in output
    assert "clock" not in output
    assert "not encrypted" in text(make(bed(), link=replace(LINK, secured=False)), size)
    assert "1.2 s fast" in text(make(bed(), link=replace(LINK, offset_ms=1234.0), recording=RECORDING), size)
    assert "150 ms slow" in text(make(bed(), link=replace(LINK, offset_ms=-150.0), recording=RECORDING), size)
    assert "clock" not in text(make(bed(), link=replace(LINK, offset_ms=100.0)), size)


@pytest.mark.parametrize("size", [(80, 24), (80, 25), (99, 27)])
@pytest.mark.parametrize("alarms", [(), (VT, HIGH_RATE)])
def test_a_large_delay_has_room_in_every_terminal(size: tuple[int, int], alarms: tuple[Alarm, ...]) -> None:
    """With a clock that is off beside it; what the monitor is not stays. One of the usual size gives way."""
    slow = with_alarms(replace(bed(), latency=LatencySummary(408.0, 1200.0, 1400.0, 800.0)), *alarms)
    link = replace(LINK, offset_ms=-98_765_432.0)
    output = text(make(slow, link=link), size)
    if "algorithm" not in output:
        assert " delay 2.4 s " in output
    assert "clock 27 h slow" in output
    assert "research tool, not a medical device" in output
    usual = with_alarms(replace(bed(), latency=LatencySummary(408.0, 300.0, 1400.0, 600.0)), *alarms)
    assert "algorithm" in text(make(usual, link=LINK), size) or "delay" not in text(make(usual, link=LINK), size)


@pytest.mark.parametrize("size", SIZES)
def test_recording(size: tuple[int, int]) -> None:
    """A recording shows its mark, folder, size and the space left; without a recording nothing is shown of it."""
    output = text(make(bed(), link=LINK, recording=RECORDING), size)
    assert "● REC" in lines(make(bed(), link=LINK, recording=RECORDING), size)[0]
    for part in ("20261001-120000", "12 MB", "34 GB free"):
        assert part in output
    assert "* REC" in text(make(bed(), link=LINK, recording=RECORDING), size, DashboardView(ascii=True))
    assert "REC" not in text(make(bed(), link=LINK), size).replace("LAST BEATS", "")


@pytest.mark.parametrize("size", SIZES)
def test_a_wards_ledger(size: tuple[int, int]) -> None:
    """A row shows what its bed misses, the header what all beds miss, at large sizes the whole sum."""
    ward = make(*(bed(f"bed-{i}", ledger=LEDGER if i == 1 else Ledger(500, 500, 0)) for i in range(3)), link=LINK)
    output = lines(ward, size, OVERVIEW)
    assert sum("missing 345" in line for line in output) == 1
    assert re.search(r"345 missing( of 13 k)?  |sent 13,345 = 13,000 analysed \+ 345 missing  ", output[0])
    assert size[0] < 120 or "sent 13,345" in output[0]
    assert any(
        "missing 345" in part.text and part.style is EVENT_STYLES["gap"] for part in segments(ward, size, OVERVIEW)
    )


def test_a_row_without_losses_still_shows_gaps() -> None:
    """Gaps in the signal are shown where no sample went missing on its way, and below it where there is room."""
    assert "gaps 2" in lines(make(bed(ledger=Ledger(9, 9, 0))), (80, 24), OVERVIEW)[2]
    both = lines(make(bed()), (80, 24), OVERVIEW)
    assert "missing 345" in both[2]
    assert "gaps 2" in both[4]


def test_letters_make_way_for_losses() -> None:
    """Of the letters in a row the newest stay."""
    many = replace(bed(), beats=bed().beats * 3)
    row = lines(make(many), (80, 24), OVERVIEW)[2]
    assert re.search(r"FNQNNNSNVNFNQN missing 345$|[NSVFQ]{15} missing 345$", row)
    assert row.rstrip().endswith("NNSNVNFNQN missing 345")


def test_a_thousand_beds() -> None:
    """The sums of a thousand beds of ten thousand million samples stand in the header of a large overview."""
    head = lines(WARD, (200, 60), OVERVIEW)[0]
    late = sum(i % 7 > 1.5 for i in range(1000))
    assert f"{late} behind" in head
    assert "sent 10,000,000,000,000 = 9,999,999,615,000 + 345,000 missing + 40,000 under way" in head
    assert "345 k missing" in lines(WARD, (80, 24), OVERVIEW)[0]


def test_events_of_link_and_recording() -> None:
    """What was fetched again is told mildly; what the recording said of its trouble is a warning while that stands."""
    events = (
        EventText("backfill", "bed-1", "", 500, "345 samples fetched again"),
        EventText("record", "", "", 0, "recording to sessions/1"),
        DiskSpaceChanged("/data", 96_000_000, 100_000_000),
    )
    for size in SIZES:
        fine = make(bed(), link=LINK, recording=RECORDING, events=events)
        assert "backfill 345 samples" in text(replace(fine, events=logged(events[0])), size)
        count = 1 if size[1] < 26 else 2  # the trace has the line of one
        styles = [part.style for part in segments(fine, size) if part.text == "record  "]
        assert styles == [EVENT_STYLES["record"]] * count
        troubled = replace(fine, recording=replace(RECORDING, trouble=FULL, standing=events[2]))
        styles = [part.style for part in segments(troubled, size) if part.text == "record  "]
        assert styles == [WARN, EVENT_STYLES["record"]][:count]


def test_a_long_event_is_shown_whole() -> None:
    """What a device says is broken into lines, and stands below a screen that waits for its stream, too."""
    said = "scale of lead ECG found: 1 mV = 205 counts, uncalibrated"
    output = text(make(bed(), link=LINK, events=(DeviceNote(said),)), (120, 40))
    assert all(word in output for word in said.split())
    waiting = make(link=replace(LINK, state="waiting"), events=(DeviceNote("the strap is looked for"),))
    assert "the strap is looked for" in text(waiting, (100, 30))


def test_the_panel_keeps_what_matters() -> None:
    """Where the panel of the monitor is short, delays, link, clock, recording and rejected packets stay."""
    link = replace(LINK, offset_ms=1234.0, rejected=7)
    output = text(make(bed(), link=link, recording=RECORDING), (100, 28))
    for part in ("delay", "added", "link", "clock", "record", "7 rejected"):
        assert part in output
    assert "running" not in output
    assert "running" in text(make(bed(), link=link, recording=RECORDING), (200, 60))


@pytest.mark.parametrize("size", [(80, 30), (120, 36)])
def test_no_delay_of_the_link(size: tuple[int, int]) -> None:
    """Where the sending times are not known, the link has no part of the delay."""
    output = text(
        make(replace(bed(), latency=LatencySummary(408.0, 1.2, 3.4)), link=replace(LINK, round_trip_ms=None)), size
    )
    assert "0.0 ms" not in output
    assert re.search(r"p99 3\.4\) +$" if size[0] < 100 else "link     -- ", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("seconds", "output"),
    [
        (0.0, "0.0 ms"),
        (0.00042, "0.4 ms"),
        (0.00994, "9.9 ms"),
        (0.00999, "10 ms"),
        (0.25, "250 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1.0 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (599.4, "599 s"),
        (600, "10 min"),
        (6000, "2 h"),
        (172_800, "2 d"),
        (1.78e9, "20,602 d"),
        (-0.25, "-250 ms"),
        (math.inf, "--"),
        (math.nan, "--"),
    ],
)
def test_span(seconds: float, output: str) -> None:
    """Durations are shown in a suitable unit."""
    assert short_duration(seconds) == output


@pytest.mark.parametrize(
    ("count", "output"),
    [
        (-5, "0 B"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (34_500_000_000, "34 GB"),
        (10**21, "1000 EB"),
    ],
)
def test_scaled(count: int, output: str) -> None:
    """Volumes are shown in at most three digits, as far as there are prefixes."""
    assert format_scaled_count(count, "B") == output
    assert format_scaled_count(345) == "345"
