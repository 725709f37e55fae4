import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from agent.core.events import Event, EventText
from agent.core.messages import Beat, FloatArray, Ledger
from agent.core.views import (
    BedStatus,
    BedSummary,
    BedView,
    LatencySummary,
    LinkView,
    LoggedEvent,
    RhythmSummary,
    WardSnapshot,
)
from agent.dashboard.frame import DashboardFrame, layout_view, render_frame
from agent.dashboard.picture import draw_dashboard_svg
from agent.dashboard.view import DashboardView, freeze_view, page_range
from model.records.resample import FS

SIZES = ((80, 24), (99, 27), (100, 28), (100, 30), (120, 36), (160, 50), (200, 60), (240, 70))
WICKED = "bed 病室の患者 \x1b[2J\n\t" + "x" * 300


def ecg(seconds: int = 30) -> FloatArray:
    """A wave with one narrow peak a second, so that beats and picture are known."""
    time = np.arange(seconds * FS) / FS
    return (np.exp(-(((time % 1) - 0.5) ** 2) / 0.0005) + 0.05 * np.sin(7 * time)).astype(np.float32)


def make_bed(name: str = "bed-1", wave: FloatArray | None = None, state: BedStatus = "ok") -> BedView:
    wave = ecg() if wave is None else wave
    labels = "NNSNVNFNQN"
    beats = tuple(
        Beat(name, second * FS + 62, second * FS + 110, label, (0.9, 0.1, 0.0, 0.0, 0.0), 1.0, arrived_s=0.0)
        for second, label in zip(range(20, 30), labels, strict=True)
    )
    rhythm = RhythmSummary(59.6, 1006.0, 31.0, 42.0, (20, 1, 4, 1, 1))
    made = BedView(name, "MLII", state, wave, 30 * FS, beats, rhythm, 2, 37, LatencySummary(408.0, 1.2, 3.4))
    return replace(made, run="run", head_s=1060.0)


EVENTS = (EventText("link", "", "", 0, "connected"), EventText("gap", "bed-1", "", 500, "25 samples lost"))


def logged(*events: Event) -> tuple[LoggedEvent, ...]:
    """Events as they stand in the log."""
    return tuple(LoggedEvent(event, 1050.0) for event in events)


def make(*beds: BedView, events: Sequence[Event] = EVENTS, **changes: object) -> WardSnapshot:
    link = LinkView("tcp://127.0.0.1:5556", "connected", 1234, 3)
    whole = WardSnapshot(beds, logged(*events), link, "cpu", "weights-1", 1060.0, 1000.0)
    return at_a_glance(replace(whole, **changes))  # type: ignore[arg-type]


def at_a_glance(snapshot: WardSnapshot) -> WardSnapshot:
    """The snapshot with the index that the monitor would make of its beds."""
    urgency = {"high": 24, "medium": 16, "low": 8}
    index = []
    for bed in snapshot.beds:
        first, silenced = next(iter(bed.alarms), None), bed.silenced_until_s > snapshot.now_s
        audible = next((alarm.priority for alarm in bed.alarms if not silenced and not alarm.acknowledged_s), None)
        rank = urgency[first.priority] + 4 * (not first.acknowledged_s) if first else 0
        index.append(
            BedSummary(bed.bed, bed.state, rank, first.priority if first else None, audible, silenced, bed.behind_s)
        )
    sums = (sum(getattr(bed.ledger, of) for bed in snapshot.beds) for of in ("sent", "analysed", "missing"))
    return replace(snapshot, index=tuple(index), ledger=Ledger(*sums))


def shown(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> list[str]:
    """The lines of a frame as plain text, after the checks that every frame has to pass."""
    view = layout_view(snapshot, view, width, height)
    lines = ["".join(segment.text for segment in line) for line in render_frame(snapshot, view, width, height).lines]
    assert len(lines) == height
    assert [cell_len(line) for line in lines] == [width] * height
    assert all(line.isprintable() for line in lines)
    return lines


def frame_of(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> DashboardFrame:
    """The frame of a snapshot, laid out for this size."""
    return render_frame(snapshot, layout_view(snapshot, view, width, height), width, height)


def printed(frame: DashboardFrame, **options: object) -> str:
    out = io.StringIO()
    settings: dict[str, object] = {"force_terminal": True, "color_system": "256", "width": 400, **options}
    Console(file=out, **settings).print(frame, end="", crop=False)  # type: ignore[arg-type]
    return out.getvalue()


GAP = ecg().copy()
GAP[-300:-200] = np.nan
SCENES = {
    "one bed": make(make_bed()),
    "no bed yet": make(link=LinkView("tcp://host:1", "waiting", 0, 0)),
    "lost": make(make_bed(state="no data"), link=LinkView("tcp://host:1", "lost", 9, 0)),
    "three beds": make(*(make_bed(f"bed-{i}") for i in range(3))),
    "64 beds": make(*(make_bed(f"bed-{i}") for i in range(64))),
    "gap": make(make_bed(wave=GAP)),
    "nothing but gap": make(make_bed(wave=np.full(3750, np.nan, dtype=np.float32), state="no signal")),
    "flat": make(make_bed(wave=np.zeros(3750, dtype=np.float32))),
    "huge": make(make_bed(wave=ecg() * 1e30)),
    "infinite": make(make_bed(wave=np.full(3750, np.inf, dtype=np.float32))),
    "empty wave": make(replace(make_bed(wave=np.empty(0, dtype=np.float32), state="learning"), head=0, beats=())),
    "first second": make(replace(make_bed(wave=ecg(1), state="learning"), head=FS, beats=())),
    "nothing known": make(
        replace(make_bed(), rhythm=RhythmSummary(None, None, None, None, (0,) * 5), latency=None, beats=()), events=()
    ),
    "large figures": make(
        replace(make_bed(), rhythm=RhythmSummary(1e9, 1e9, 1e9, 1e9, (10**9,) * 5), gaps=10**9, missing=10**12)
    ),
    "wicked names": make(
        replace(make_bed(WICKED), lead=WICKED),
        events=(EventText("signal", WICKED, "", 5, WICKED),),
        device=WICKED,
        weights=WICKED,
        link=LinkView(WICKED, "connected", 1, 1),
    ),
}


@pytest.mark.parametrize("overview", [None, True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scene", SCENES)
def test_every_line_fits(scene: str, size: tuple[int, int], overview: bool | None) -> None:
    """Every frame has exactly the lines and cells of its terminal, with or without ASCII, frozen or not."""
    snapshot = SCENES[scene]
    view = DashboardView(overview=overview)
    shown(snapshot, view, *size)
    shown(snapshot, freeze_view(layout_view(snapshot, view, *size), snapshot), *size)
    assert all(line.isascii() for line in shown(snapshot, replace(view, ascii=True), *size))


@pytest.mark.parametrize("seconds", [2, 6, 30])
@pytest.mark.parametrize("height_mv", [0.5, 64.0])
def test_any_gain_and_time_base(seconds: int, height_mv: float) -> None:
    """All gains and time bases draw, also those with fewer samples than columns."""
    lines = shown(make(make_bed()), DashboardView(seconds=seconds, height_mv=height_mv), 240, 70)
    assert any("\u2800" <= char <= "\u28ff" for line in lines for char in line)


@pytest.mark.parametrize("size", SIZES)
def test_what_one_bed_says(size: tuple[int, int]) -> None:
    """One bed shows its figures, classes, beats, events, losses, what the tool is not; delays where they fit."""
    text = "\n".join(shown(make(make_bed()), DashboardView(), *size))
    for part in ("bed-1", "MLII", "monitoring", "connected", "00:00:30", "1006", "31 ms", "42 ms", "74.1%", "0.90"):
        assert part in text
    for part in ("25 samples lost", "cpu", "weights-1", "gaps 2 (296 ms)", "quit"):
        assert part in text
    assert all(part in text for part in ("408 ms", "1.2 ms", "p99 3.4")) == (size != (80, 24))
    assert "research tool, not a medical device" in text


def test_letters_stand_above_their_peaks() -> None:
    """The letter of each beat stands in the column of its R peak, as far as the sweep reaches back."""
    lines = shown(make(make_bed()), DashboardView(seconds=10), 80, 24)
    marks = "     " + lines[2][5:]  # without the unit of the scale
    columns = [i for i, char in enumerate(marks) if char in "NSVFQ"]
    assert "".join(marks[i] for i in columns) == "NNSNVNFNQN"
    drawn = [line for line in lines[3:] if any("\u2800" <= char <= "\u28ff" for char in line)]
    peaks = [i for line in drawn[:3] for i, char in enumerate(line) if "\u2800" <= char <= "\u28ff"]
    assert all(any(abs(column - peak) <= 1 for peak in peaks) for column in columns)


def test_colour_is_never_needed() -> None:
    """Without colour no code for one is written, and the letters and states are still there."""
    frame = frame_of(make(make_bed(state="lead off")), DashboardView(), 80, 24)
    plain = printed(frame, no_color=True)
    assert "\x1b[3" not in plain.replace("\x1b[3m", "")
    assert all(letter in plain for letter in "NSVFQ")
    assert "LEAD OFF" in plain
    assert "\x1b[" not in printed(frame, color_system=None)


@pytest.mark.parametrize("state", ["learning", "lead off", "saturated", "no signal", "no data", "refused", "ended"])
def test_no_rate_without_a_signal(state: BedStatus) -> None:
    """A bed in any state but ok says so and has no heart rate, in full view and overview."""
    for overview in (False, True):
        text = "\n".join(shown(make(make_bed(state=state)), DashboardView(overview=overview, ascii=True), 100, 30))
        assert state.upper() in text or state in text
        assert "--" in text
        assert " 60" not in text
    fine = "\n".join(shown(make(make_bed()), DashboardView(ascii=True), 100, 30))
    assert "HEART RATE 60 /min" in fine


def test_a_lost_link_has_no_rate() -> None:
    """A lost link is shown in so many words and takes the heart rate away, for what is shown is old."""
    lost = make(make_bed(), link=LinkView("tcp://host:1", "lost", 9, 0))
    text = "\n".join(shown(lost, DashboardView(ascii=True), 80, 24))
    assert "LINK LOST" in text
    assert "HEART RATE -- /min" in text


def test_missing_samples_are_marked() -> None:
    """Missing samples have marks below the trace; a whole wave, and the time before its first sample, have none."""
    assert "×" in "\n".join(shown(SCENES["gap"], DashboardView(), 80, 24))  # noqa: RUF001 - the dashboard's own character
    late = ecg()
    late[:-300] = np.nan
    for whole in (make_bed(), make_bed(wave=late)):
        assert "×" not in "\n".join(shown(make(whole), DashboardView(), 80, 24))  # noqa: RUF001


def test_frozen_keeps_its_picture() -> None:
    """A frozen view shows its own snapshot and how old it is, while the link is shown as it is now."""
    frozen = freeze_view(layout_view(make(make_bed("before")), DashboardView(), 80, 24), make(make_bed("before")))
    live = make(make_bed("after"), now_s=1072.0, link=LinkView("tcp://host:1", "lost", 9, 0))
    text = "\n".join(shown(live, frozen, 80, 24))
    assert "before" in text
    assert "after" not in text
    assert "FROZEN 12 s" in text
    assert "LINK LOST" in text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.slow
def test_pages_of_beds(size: tuple[int, int]) -> None:
    """Whichever bed is chosen stands on the page shown, and the pages together show every bed."""
    beds = tuple(make_bed(f"bed-{i:02}!") for i in range(64))
    snapshot, seen = make(*beds), set()
    for bed in beds:
        text = "\n".join(shown(snapshot, DashboardView(bed=bed.bed), *size))
        assert bed.bed in text
        seen |= {other.bed for other in beds if other.bed in text}
        first, last = page_range(layout_view(snapshot, DashboardView(bed=bed.bed), *size))
        assert f"beds {first + 1}-{last} of 64" in text
    assert seen == {bed.bed for bed in beds}


def test_a_bed_that_left() -> None:
    """A chosen bed that is no longer there gives way to the first."""
    assert "bed-1" in "\n".join(shown(make(make_bed()), DashboardView(bed="gone"), 80, 24))


def test_rendering_is_pure() -> None:
    """The same snapshot and view make the same frame, and leave the wave as it was."""
    snapshot = SCENES["gap"]
    before = snapshot.beds[0].wave.copy()
    assert frame_of(snapshot, DashboardView(), 120, 40).lines == frame_of(snapshot, DashboardView(), 120, 40).lines
    assert np.array_equal(before, snapshot.beds[0].wave, equal_nan=True)


def test_picture_is_svg_of_the_same_frame() -> None:
    """The picture is a well-formed document without outside parts that holds the text of the frame."""
    document = draw_dashboard_svg(SCENES["wicked names"], DashboardView(), 120, 40)
    assert "url(" not in document
    assert "LAST" in "".join(ElementTree.fromstring(document).itertext())
    overview = draw_dashboard_svg(SCENES["64 beds"], DashboardView(ascii=True), 80, 24)
    assert "bed-3" in "".join(ElementTree.fromstring(overview).itertext())


def test_import_is_light() -> None:
    """Importing all of the dashboard brings in neither PyTorch nor SciPy nor matplotlib."""
    code = (
        "import sys, agent.dashboard.terminal, agent.dashboard.picture\n"
        "print([name for name in ('torch', 'scipy', 'matplotlib', 'wfdb') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
