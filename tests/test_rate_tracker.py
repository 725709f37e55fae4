import numpy as np
import pytest

from agent.analysis.rate_tracker import RateTracker, mean_heart_rate
from agent.core.config import Config
from agent.core.views import RhythmSummary
from model.records.resample import FS


def rhythm_of(settings: Config, samples: list[int], labels: str, now: int | None = None) -> RhythmSummary:
    """The rhythm after beats at `samples`, all of one stretch."""
    rhythms = RateTracker(settings.rhythm)
    rhythms.grow(1)
    before = None
    for sample, label in zip(samples, labels, strict=True):
        rr_s = None if before is None else (sample - before) / FS
        rhythms.push(0, sample, label, rr_s, sample)
        before = sample
    return rhythms.view(0, samples[-1] if now is None else now)


def test_a_steady_rhythm(settings: Config) -> None:
    """Beats every 0.8 s are 75 a minute without variability."""
    rhythm = rhythm_of(settings, list(range(0, 2000, 100)), "N" * 20)
    assert rhythm.heart_rate == pytest.approx(75)
    assert rhythm.rr_ms == pytest.approx(800)
    assert rhythm.rmssd_ms == pytest.approx(0)
    assert rhythm.sdnn_ms == pytest.approx(0)
    assert rhythm.counts == (20, 0, 0, 0, 0)


def test_variability_is_that_of_the_definition(settings: Config) -> None:
    """RMSSD and SDNN of normal beats are root mean square of differences and standard deviation of intervals."""
    intervals = np.array([100, 104, 96, 110, 90, 100] * 2)
    rhythm = rhythm_of(settings, [0, *np.cumsum(intervals).tolist()], "N" * 13)
    ms = intervals * 1000 / FS
    assert rhythm.rmssd_ms == pytest.approx(np.sqrt(np.mean(np.diff(ms) ** 2)))
    assert rhythm.sdnn_ms == pytest.approx(np.std(ms, ddof=1))


def test_only_normal_intervals_count_for_variability(settings: Config) -> None:
    """An ectopic beat takes the intervals on both its sides out, and no difference reaches over it."""
    samples = [*range(0, 1000, 100), 960, 1100, 1200, 1310]
    rhythm = rhythm_of(settings, samples, "N" * 10 + "VNNN")
    assert rhythm.sdnn_ms == pytest.approx(np.std([800] * 10 + [880], ddof=1))
    assert rhythm.rmssd_ms is None  # eight differences before the V beat, one after it
    rhythm = rhythm_of(settings, [*samples, 1410], "N" * 10 + "VNNNN")
    assert rhythm.rmssd_ms == pytest.approx(np.sqrt(2 * 80**2 / 10))


def test_too_few_intervals_are_no_variability(settings: Config) -> None:
    """Where most beats are V the few pairs of N beats say nothing of the patient's variability."""
    samples = list(range(0, 4000, 100))
    assert rhythm_of(settings, samples, "NNNV" * 10).rmssd_ms == pytest.approx(0)
    assert rhythm_of(settings, samples[:36], "NNNV" * 9).rmssd_ms is None
    assert rhythm_of(settings, samples, "NNVV" * 10).rmssd_ms is None
    assert rhythm_of(settings, samples, "NNVV" * 10).sdnn_ms == pytest.approx(0)
    assert rhythm_of(settings, samples[:10], "N" * 10).sdnn_ms is None


def test_the_heart_rate_is_that_of_twelve_intervals(settings: Config) -> None:
    """The thirteenth latest does not count; with fewer all count."""
    intervals = [200, *[100] * 9, 60, 60, 60]
    rhythm = rhythm_of(settings, [0, *np.cumsum(intervals).tolist()], "N" * 14)
    assert rhythm.heart_rate == pytest.approx(60 * 12 * FS / (900 + 180))
    assert mean_heart_rate([0.8, 1.0], settings.rhythm) == pytest.approx(60 * 2 / 1.8)


@pytest.mark.parametrize(
    ("latest", "counted"),
    [
        ([1.21, 1.21, 1.21], 4),
        ([1.2, 1.21, 1.21], 12),
        ([1.21, 1.21, 1.21, 0.6], 4),
        ([1.21, 1.21, 1.21, 0.6, 0.6], 12),
        ([1.5, 0.7, 1.5, 1.5], 4),
        ([1.5, 0.7, 0.7, 1.5], 12),
        ([1.5, 1.5, 1.5, 1.5], 4),
    ],
)
def test_a_slow_heart_is_followed_quickly(settings: Config, latest: list[float], counted: int) -> None:
    """Where three of the last four intervals are over 1.2 s, these four are the heart rate."""
    rr_s = [0.8] * 12 + latest
    assert mean_heart_rate(rr_s, settings.rhythm) == pytest.approx(60 * counted / sum(rr_s[-counted:]))


def test_the_heart_rate_goes_after_a_pause(settings: Config) -> None:
    """Seconds after the last beat no heart rate is shown any more."""
    samples = list(range(0, 1000, 100))
    late = round(settings.rhythm.standstill_s * FS) + 1
    assert rhythm_of(settings, samples, "N" * 10, samples[-1] + late - 1).heart_rate == pytest.approx(75)
    assert rhythm_of(settings, samples, "N" * 10, samples[-1] + late).heart_rate is None


def test_the_heart_rate_begins_anew_after_a_silence(settings: Config) -> None:
    """An interval so long that no rate was shown in it counts for no rate, nor do those before it."""
    before, silence = list(range(0, 1300, 100)), round(settings.rhythm.standstill_s * FS)
    after = before[-1] + silence
    assert rhythm_of(settings, [*before, after], "N" * 14).heart_rate is None
    assert rhythm_of(settings, [*before, after, after + 75], "N" * 15).heart_rate == pytest.approx(100)
    assert rhythm_of(settings, [*before, after - 1], "N" * 14).heart_rate is not None
    assert rhythm_of(settings, [*before, after], "N" * 14).sdnn_ms == pytest.approx(0)


def test_little_is_known_after_one_beat(settings: Config) -> None:
    """One beat makes no rate and no variability."""
    assert rhythm_of(settings, [5], "Q") == RhythmSummary(None, None, None, None, (0, 0, 0, 0, 1))
