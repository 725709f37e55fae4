"""agent.recording.beat_minutes: a recorded bed by the minute, also one that is broken or was sent faster."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from support.recordings import NOW, recorded, stream, two_leads

from agent.core.look_back import MinuteTotals
from agent.core.messages import MISSING, Beat, ResumePosition
from agent.pipeline.pipeline import Pipeline
from agent.recording.beat_minutes import MinuteSpan, read_beat_minutes
from model.errors import RecordError
from model.records.resample import FS

NOBODY = ResumePosition("none", 0, 125.0)
DAY = MinuteSpan(NOW - 86_400, NOW + 86_400)


@pytest.fixture
def folder(tmp_path: Path, new_ward: Callable[[], Pipeline]) -> tuple[Path, list[Beat]]:
    """A recording of 80 s of record 208 with a gap of 4 s, and its beats."""
    counts = two_leads("208", 80)
    counts[1000:1500] = MISSING
    return tmp_path, recorded(tmp_path, stream(counts), new_ward())


def test_minutes_are_those_of_the_beats(folder: tuple[Path, list[Beat]]) -> None:
    """Rates, V and S beats, seconds of signal and of gaps lie in the minutes in which they were sent."""
    path, beats = folder
    found = dict(read_beat_minutes(path, "1", NOBODY, DAY))
    first = int(NOW // 60)
    assert sorted(found) == [first, first + 1]
    for minute, totals in found.items():
        mine = [beat for beat in beats if int((NOW + beat.sample / FS) // 60) == minute]
        rates = [beat.heart_rate for beat in mine if beat.heart_rate is not None]
        assert totals.rate_count == len(rates)
        assert totals.rate_sum == pytest.approx(sum(rates))
        assert (totals.lowest, totals.highest) == (min(rates), max(rates))
        assert totals.v_beats == sum(beat.label == "V" for beat in mine)
        assert totals.s_beats == sum(beat.label == "S" for beat in mine)
    assert sum(totals.signal_s for totals in found.values()) == pytest.approx(76, abs=0.1)
    assert found[first].missing_s == pytest.approx(4, abs=0.1)


def test_what_came_after_a_resume_is_left_out(folder: tuple[Path, list[Beat]]) -> None:
    """Beats after the place at which a monitor went on are its own, and are not read again."""
    path, beats = folder
    middle = beats[len(beats) // 2]
    found = read_beat_minutes(path, "1", ResumePosition("run", 10**6, 125.0, middle.sample), DAY)
    rated = [beat for beat in beats if beat.sample <= middle.sample and beat.heart_rate is not None]
    assert sum(totals.rate_count for _, totals in found) == len(rated)
    assert read_beat_minutes(path, "1", ResumePosition("run", 0, 125.0), DAY) == []


def test_a_record_sent_faster_ends_at_the_end_of_the_span(folder: tuple[Path, list[Beat]]) -> None:
    """Signal that seems to lie in the future counts to the last minute; none of it is lost."""
    path, beats = folder
    minutes = read_beat_minutes(path, "1", NOBODY, MinuteSpan(NOW - 100, NOW + 5))
    assert [minute for minute, _ in minutes] == [int(NOW // 60)]
    assert minutes[0][1].signal_s == pytest.approx(76, abs=0.1)
    assert minutes[0][1].rate_count == sum(beat.heart_rate is not None for beat in beats)


def test_an_unknown_bed_has_no_minutes(folder: tuple[Path, list[Beat]]) -> None:
    """A bed that was never recorded has none."""
    assert read_beat_minutes(folder[0], "2", NOBODY, DAY) == []


@pytest.mark.parametrize(
    ("damage", "ruined"),
    [
        ("UPDATE beats SET heart_rate = 'fast'", False),
        ("UPDATE beats SET heart_rate = 9e999", False),
        ("UPDATE beats SET sample = 'x'", False),
        ("UPDATE beats SET sample = -9223372036854775808", False),
        ("UPDATE segments SET started_s = 'x'", True),
        ("UPDATE segments SET fs = -1", True),
        ("DELETE FROM segments", False),
    ],
)
def test_a_hostile_recording(folder: tuple[Path, list[Beat]], damage: str, ruined: bool) -> None:
    """Values that cannot be are left out, or the recording is refused; what is told is always finite."""
    path, _ = folder
    with sqlite3.connect(path / "session.db") as db:
        db.execute(damage)
    db.close()
    if ruined:
        with pytest.raises(RecordError, match=r"cannot read session\.db"):
            read_beat_minutes(path, "1", NOBODY, DAY)
        return
    for _, totals in read_beat_minutes(path, "1", NOBODY, DAY):
        assert all(0 <= value < 1e6 for value in totals)
        assert totals == MinuteTotals(*totals)
