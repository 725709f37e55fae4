"""agent.monitor.bed_trends: minutes of beats and signal, gaps, and what is not believed."""

from dataclasses import replace

import numpy as np
import pytest

from agent.core.look_back import MinuteTotals
from agent.core.messages import Beat, BedsChunk, Chunk, Gap
from agent.monitor.bed_trends import KEPT_MINUTES, BedTrends

START = 1_735_689_600.0
"""The begin of a minute."""
NOW = START + 150.0


def chunk(at_s: float, seconds: float = 1.0, bed: str = "1") -> Chunk:
    return Chunk(bed, "run", 0, 125.0, (), np.zeros((round(125 * seconds), 1), np.int32), at_s)


def beat(at_s: float, rate: float | None = 60.0, label: str = "N", quality: float | None = None) -> Beat:
    chances = (1.0, 0.0, 0.0, 0.0, 0.0)
    return Beat("1", 0, 0, label, chances, None, at_s, rate, sent_s=at_s, run="run", quality=quality)


def minutes(trends: BedTrends, now_s: float = NOW) -> dict[str, list[float]]:
    """Return the last three minutes of bed 1."""
    trend = trends.trend("1", 1, now_s)
    assert len(trend) == 60
    assert trend.first_minute == int(now_s) // 60 - 59
    return {name: getattr(trend, name)[-3:].tolist() for name in ("heart_rate", "lowest", "highest", "v_beats")}


def test_beats_count_in_the_minute_of_their_sending() -> None:
    """Rates are averaged by the minute; V beats are told a minute of signal, and where there is no signal nothing."""
    trends = BedTrends()
    trends.note_signal([chunk(START + second) for second in range(1, 90)], NOW)
    for rate, label in ((60.0, "N"), (80.0, "V"), (None, "V"), (70.0, "S")):
        trends.note_beat(beat(START + 70, rate, label), NOW)
    found = minutes(trends)
    assert found["heart_rate"] == pytest.approx([np.nan, 70.0, np.nan], nan_ok=True)
    assert found["lowest"][1] == 60.0
    assert found["highest"][1] == 80.0
    assert found["v_beats"] == pytest.approx([0.0, 4.0, np.nan], nan_ok=True)  # 30 s of signal hold two
    assert trends.trend("1", 1, NOW).s_beats[-2] == 2.0


def test_a_gap_is_missing_in_each_minute_that_it_lies_in() -> None:
    """A gap begins at the latest sample; its seconds go to the minutes that it covers, and not beyond now."""
    trends = BedTrends()
    trends.note_signal([chunk(START + second) for second in range(1, 31)], NOW)
    trends.note_signal([Gap("1", "run", 0, 125 * 60, 125.0, "lost"), chunk(START + 91, 1.0)], NOW)
    missing = trends.trend("1", 1, NOW).missing[-3:]
    assert missing == pytest.approx([0.5, 30 / 31, np.nan], nan_ok=True)
    trends.note_signal([Gap("1", "run", 0, 125 * 6000, 125.0, "lost")], NOW)
    assert trends.trend("1", 1, NOW).missing[-3:] == pytest.approx([0.5, 59 / 60, 1.0], rel=0.02)


def test_quality_is_that_of_beats() -> None:
    """Quality is averaged over the beats that have one."""
    trends = BedTrends()
    for quality in (0.5, None, 1.0):
        trends.note_beat(beat(NOW, quality=quality), NOW)
    assert trends.trend("1", 1, NOW).quality[-1] == pytest.approx(0.75)
    assert np.isnan(trends.trend("1", 1, NOW).quality[-2])


@pytest.mark.parametrize("stamp_s", [NOW + 1e9, NOW - 90_000, 0.0])
def test_a_clock_that_cannot_be_is_not_believed(stamp_s: float) -> None:
    """Times of a device far from ours count as now."""
    trends = BedTrends()
    trends.note_beat(beat(stamp_s), NOW)
    assert trends.trend("1", 1, NOW).heart_rate[-1] == 60.0


def test_a_day_is_kept() -> None:
    """A trend holds 24 hours and no more memory than that; a pause of days leaves a hole."""
    trends = BedTrends()
    for minute in range(KEPT_MINUTES + 300):
        trends.note_beat(beat(START + 60 * minute, 50.0 + minute % 50), START + 60 * minute)
    now_s = START + 60 * (KEPT_MINUTES + 299)
    whole = trends.trend("1", 24, now_s)
    assert len(whole) == KEPT_MINUTES
    assert not np.isnan(whole.heart_rate).any()
    assert trends.size() <= (KEPT_MINUTES + 60) * 40
    trends.note_beat(beat(now_s + 9e5), now_s + 9e5)
    assert np.isfinite(trends.trend("1", 24, now_s + 9e5).heart_rate).sum() == 1


def test_late_minutes_of_a_recording_are_added() -> None:
    """Minutes before the first are added in front, and one that is known takes both; too old ones are left out."""
    trends = BedTrends()
    trends.note_beat(beat(NOW, 60.0), NOW)
    now = int(NOW) // 60
    totals = MinuteTotals(160.0, 2.0, 70.0, 90.0, 3.0, 0.0, 0.0, 0.0, 60.0, 0.0)
    trends.add("1", [(now - 2 * KEPT_MINUTES, totals), (now - 2, totals), (now, totals)])
    found = minutes(trends)
    assert found["heart_rate"] == pytest.approx([80.0, np.nan, 220 / 3], nan_ok=True)
    assert found["lowest"][-1] == 60.0
    assert found["highest"][-1] == 90.0
    assert found["v_beats"][0] == 3.0


def test_an_unknown_bed_has_an_empty_trend() -> None:
    """A bed of which nothing is known has a trend without values."""
    trend = BedTrends().trend("nobody", 2, NOW)
    assert len(trend) == 120
    assert np.isnan(trend.heart_rate).all()


def test_beds_that_come_together_count_as_each_does() -> None:
    """To the last bit, also over minutes and gaps, where beds are left out, come alone, or are looked at meanwhile."""
    random = np.random.default_rng(2)
    together, alone = BedTrends(), BedTrends()
    runs = [replace(chunk(START, bed=str(place)), fs=(125.0, 333.3, 360.0)[place % 3]) for place in range(12)]
    at_s = START
    for _ in range(1500):
        at_s += 0.2 if random.random() < 0.98 else 61.0
        some = runs[:9] if random.random() < 0.02 else runs
        sent_s = at_s - (400.0 if random.random() < 0.02 else 0.0)
        of_all = BedsChunk(some, [0] * len(some), np.zeros((len(some), 25, 1), np.int32), sent_s, at_s, [0] * len(some))
        each = [of_all.chunk(place) for place in range(len(some))]
        gaps = [Gap("3", "run", 0, 100, 125.0, "lost")] if random.random() < 0.02 else []
        together.note_signal([*gaps, *(each if random.random() < 0.02 else [of_all])], at_s)
        alone.note_signal([*gaps, *each], at_s)
        for trends in (together, alone) if random.random() < 0.3 else ():
            trends.note_beat(replace(beat(at_s, label="V"), bed="2"), at_s)
            trends.add("4", [(int(at_s) // 60, MinuteTotals(signal_s=0.3))])
        if random.random() < 0.02:
            for run in runs:
                one, other = together.trend(run.bed, 1, at_s), alone.trend(run.bed, 1, at_s)
                assert one.v_beats.tobytes() == other.v_beats.tobytes()
                assert one.missing.tobytes() == other.missing.tobytes()
