"""What the screen says once nothing comes, of refusals, of rhythm and signal, and of alarms of an earlier run."""

import re
from dataclasses import replace

import numpy as np
import pytest
from test_dashboard import SIZES, make, make_bed, shown
from test_dashboard_alarms import ONE, VT, clock, with_alarms
from test_dashboard_status import segments

from agent.core.bed_settings import BedSettings
from agent.core.views import BedStatus, BedView, LinkView, WardSnapshot
from agent.dashboard.glance import NO_ARRHYTHMIA, rhythm_words, signal_words
from agent.dashboard.loss import format_age
from agent.dashboard.styles import CLASS_STYLES, FAINT
from agent.dashboard.view import DashboardView

LOST_LINK = LinkView("tcp://host:1", "lost", 9, 0, heard_s=1035.0)
REFUSAL = "no lead 'V9' in the stream: choose one of MLII, V1, V2, V3, V4, V5, V6, aVR, aVL, aVF, I, II, III (--lead)"


def silent(seconds: float, state: BedStatus = "no data") -> BedView:
    return replace(make_bed(state=state), arrived_s=1060.0 - seconds)


def text_of(snapshot: WardSnapshot, size: tuple[int, int], view: DashboardView = ONE) -> str:
    return "\n".join(shown(snapshot, view, *size))


@pytest.mark.parametrize("size", SIZES)
def test_a_loss_has_an_age(size: tuple[int, int]) -> None:
    """A bed without data says for how long, and when it was last heard; the time of the stream says that it stands."""
    text = text_of(make(silent(25)), size)
    assert f"NO DATA for 25 s, last heard {clock(1035)}" in text
    assert "NO DATA 25 s" in text.splitlines()[0]
    assert "stopped 00:00:30" in text or size[0] == 80
    assert "stream 00:00:30" not in text
    assert "rhythm not known: no data   signal none" in text


@pytest.mark.parametrize("size", SIZES)
def test_a_lost_link_has_an_age(size: tuple[int, int]) -> None:
    """A lost link says since when nothing has come, in the header and across the trace."""
    text = text_of(make(silent(25, "ok"), link=LOST_LINK), size)
    assert "LINK LOST 25 s" in text.splitlines()[0]
    assert f"LINK LOST for 25 s, last heard {clock(1035)}" in text


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_last_rate_goes(ascii_only: bool) -> None:
    """After a loss the last rate stays for some seconds with its age, then it is gone; its intervals go at once."""
    view = replace(ONE, ascii=ascii_only)
    recent, old = make(silent(6)), make(silent(12))
    assert "6 s old" in text_of(recent, (100, 30), view)
    assert ("RATE 60, 6 s old" in text_of(recent, (100, 30), view)) == ascii_only
    assert "1006" not in text_of(recent, (100, 30), view)
    assert "old" not in text_of(old, (100, 30), view)
    assert "60" in text_of(replace(old, last_rate_s=15.0), (30, 5))
    assert "HR --" in text_of(old, (30, 5))


def test_a_wave_that_stands_still_is_dim() -> None:
    """No part of a frozen wave has the colour of a class, on the page of a bed, on wide and on small cards."""
    colours = set(CLASS_STYLES.values())
    for beds, view in ((1, ONE), (2, DashboardView(overview=True)), (40, DashboardView(overview=True))):
        for lost, expected in ((False, True), (True, False)):
            made = [replace(silent(25 if lost else 0, "no data" if lost else "ok"), bed=f"b{i}") for i in range(beds)]
            waves = [
                part.style
                for part in segments(make(*made), (80, 24), view)
                if any("\u2801" <= char <= "\u28ff" for char in part.text)
            ]
            assert waves
            assert bool(colours & set(waves)) is expected
            assert not lost or set(waves) == {FAINT}


@pytest.mark.parametrize("beds", [2, 30, 40])
def test_a_loss_on_cards(beds: int) -> None:
    """A card says for how long nothing has come, also where it is the link that is lost."""
    ward = make(*(replace(silent(25), bed=f"b{i}") for i in range(beds)))
    assert text_of(ward, (80, 24), DashboardView()).count("NO DATA 25 s") >= beds
    ward = make(*(replace(silent(25, "ok"), bed=f"b{i}") for i in range(beds)), link=LOST_LINK)
    assert text_of(ward, (80, 24), DashboardView()).count("LINK LOST 25 s") >= beds


@pytest.mark.parametrize("size", SIZES)
def test_a_refusal_is_whole(size: tuple[int, int]) -> None:
    """Why a stream is refused stands whole on the page of the bed, in as many lines as it needs."""
    bed = replace(make_bed(state="refused"), refusal=REFUSAL)
    rows = shown(make(bed), ONE, *size)
    text = " ".join(" ".join(rows).split())
    assert all(word in text for word in REFUSAL.split())
    assert "not monitored" in text
    large = text_of(make(bed, make_bed("b")), (80, 24), DashboardView())
    assert all(word in large for word in REFUSAL.split())


def test_without_values_the_seconds_count() -> None:
    """A device that sends no values says for how long; a run that ended says when."""
    wave = make_bed().wave.copy()
    wave[-1000:] = np.nan
    assert "NO SIGNAL for 8 s" in text_of(make(make_bed(wave=wave, state="no signal")), (80, 24))
    assert f"ENDED at {clock(1050)}" in text_of(make(silent(10, "ended")), (80, 24))


@pytest.mark.parametrize(
    ("bed", "rhythm", "signal"),
    [
        (make_bed(), NO_ARRHYTHMIA, "ok"),
        (with_alarms(make_bed(), VT), "ventricular tachycardia", "ok"),
        (with_alarms(make_bed(), replace(VT, ended=3500)), NO_ARRHYTHMIA, "ok"),
        (with_alarms(make_bed(), replace(VT, condition="heart rate high")), NO_ARRHYTHMIA, "ok"),
        (with_alarms(make_bed(), replace(VT, condition="couplet")), "couplets", "ok"),
        (replace(make_bed(), rhythm_name="AF"), "AF", "ok"),
        (replace(make_bed(), suspended=True), "not known: noise", "noisy"),
        (replace(with_alarms(make_bed(), replace(VT, condition="asystole")), suspended=True), "asystole", "ok"),
        (replace(make_bed(), paused_until_s=2000.0), "not told: alarms paused", "ok"),
        (replace(make_bed(), settings=BedSettings(off=("bigeminy", "couplet"))), f"{NO_ARRHYTHMIA}, 2 off", "ok"),
        (make_bed(state="learning"), "not known: learning", "learning"),
        (make_bed(state="lead off"), "not known: lead off", "lead off"),
        (replace(make_bed(), leads=(("MLII", 0.98), ("V1", 0.1))), NO_ARRHYTHMIA, "good 98%"),
        (replace(make_bed(), leads=(("MLII", 0.5), ("V1", 0.1))), NO_ARRHYTHMIA, "fair 50%"),
        (replace(make_bed(), leads=(("MLII", 0.2), ("V1", 0.1))), NO_ARRHYTHMIA, "bad 20%"),
    ],
)
def test_rhythm_and_signal_in_words(bed: BedView, rhythm: str, signal: str) -> None:
    """The rhythm is always named, or said not to be known, and so is how good the signal is."""
    snapshot = make(bed)
    assert (rhythm_words(bed, snapshot)[0], signal_words(bed, snapshot)[0]) == (rhythm, signal)
    for size in SIZES:
        assert f"rhythm {rhythm}   signal {signal} " in text_of(snapshot, size)


@pytest.mark.parametrize("size", SIZES)
def test_alarms_of_an_earlier_run(size: tuple[int, int]) -> None:
    """After a restart of the device the alarms of the run before say so, and keep their times by the clock."""
    bed = with_alarms(make_bed(), replace(VT, run="before", ended=3400, latching=True))
    text = text_of(make(bed), size)
    assert f"earlier run, {clock(1049.2)} to {clock(1052.4)}" in text
    assert "earlier run" not in text_of(make(with_alarms(make_bed(), VT)), size)
    assert re.search(r"!!! VT +earlier", text.partition("LAST ALARMS")[2])


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_the_end_of_a_silence_has_no_sample(size: tuple[int, int]) -> None:
    """Of an alarm of missing data that is over the list claims no length: no sample passed in it."""
    silence = replace(VT, condition="no data", priority="medium", onset=3000, announced=3000, ended=3000)
    listed = text_of(make(replace(make_bed(), last_alarms=(silence,))), size).partition("LAST ALARMS")[2]
    assert re.search(r"!! NO DATA +over", listed)
    assert "0.0 ms" not in listed


def test_old_alarms_have_a_date() -> None:
    """An alarm that began on another day says on which."""
    bed = with_alarms(make_bed(), VT)
    assert "since 1970-01-01 " in text_of(make(bed, now_s=1060.0 + 2 * 86_400), (120, 36))


@pytest.mark.parametrize("size", SIZES)
def test_times_by_the_clock(size: tuple[int, int]) -> None:
    """Header, beats and events have the time of the day; the time of the stream is labelled."""
    text = text_of(make(make_bed()), size)
    assert f" {clock(1060)} " in text.splitlines()[0]
    assert f"{clock(1059.496)}.4" in text
    assert f"{clock(1050)}  gap" in text
    assert "stream 00:00:30" in text.splitlines()[0]
    unknown = text_of(make(replace(make_bed(), head_s=None)), size)
    assert "LAST BEATS (stream)" in unknown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (99.9, "99 s"), (100, "1 min"), (6000, "1 h"), (172_800, "2 d"), (None, ""), (float("nan"), "")],
)
def test_ages(seconds: float | None, words: str) -> None:
    """An age is rounded down, so that it never says too much."""
    assert format_age(seconds) == words
