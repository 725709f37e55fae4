"""model.rhythm.hrv against figures worked out by hand and series whose power is known."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.rhythm import hrv
from model.rhythm.hrv import (
    FREQUENCIES,
    HRV_BANDS,
    STEP_HZ,
    NNIntervals,
    measure_nn_spectrum,
    measure_poincare,
    measure_time_domain,
    select_nn_intervals,
)


def of(rr_ms: Sequence[float], labels: str | None = None) -> NNIntervals:
    """NN intervals of beats whose RR in ms end at each; the first beat has none."""
    rr = np.array([np.nan, *rr_ms]) / 1000
    at = np.concatenate([[0.0], np.cumsum(np.nan_to_num(rr[1:]))])
    normal = np.array([label == "N" for label in labels or "N" * len(rr)])
    return select_nn_intervals(at, rr, normal)


def wavy(seconds: float, *waves: tuple[float, float], mean: float = 0.9) -> NNIntervals:
    """Intervals in which each wave (hertz, ms) swings."""
    at, beats = 0.0, []
    while at < seconds:
        length = mean + sum(ms / 1000 * np.sin(2 * np.pi * hz * at) for hz, ms in waves)
        at += length
        beats.append((at, length))
    times, lengths = np.array(beats).T
    return NNIntervals(times, lengths, np.arange(len(times)) > 0, 1.0)


def test_time_domain_by_hand() -> None:
    """800, 810, 790, 860, 740: mean 800; squares 100 + 100 + 3600 + 3600; steps 10, -20, 70, -120."""
    measured = measure_time_domain(of([800, 810, 790, 860, 740]))
    assert measured is not None
    assert measured.mean == pytest.approx(800)
    assert measured.sdnn == pytest.approx((7400 / 4) ** 0.5)
    assert measured.rmssd == pytest.approx(((100 + 400 + 4900 + 14_400) / 4) ** 0.5)
    assert measured.pnn50 == pytest.approx(50)
    assert measured.sdann is None
    assert measured.sdnn_index is None


def test_triangular_index_by_hand() -> None:
    """Ten intervals, five of them in the fullest bin of 1/128 s."""
    assert measure_time_domain(of([800] * 5 + [820] * 3 + [840] * 2)).triangular == 2.0  # type: ignore[union-attr]


def test_sdann_and_index_by_hand() -> None:
    """Three segments of five minutes at 800, 900 and 1000 ms: their means deviate by 100, none within itself."""
    rr = [800.0] * 375 + [900.0] * 333 + [1000.0] * 300
    measured = measure_time_domain(of(rr))
    assert measured is not None
    assert measured.sdann == pytest.approx(100, abs=1.5)
    assert measured.sdnn_index == pytest.approx(0, abs=8)
    assert measured.sdnn == pytest.approx(np.std(rr, ddof=1))


def test_poincare_by_hand() -> None:
    """Pairs (800, 820), (820, 780), (780, 840): across 20, -40, 60 and along 1620, 1600, 1620, over root 2."""
    measured = measure_poincare(of([800, 820, 780, 840]))
    assert measured is not None
    assert measured.sd1 == pytest.approx(np.std([20, -40, 60], ddof=1) / 2**0.5)
    assert measured.sd2 == pytest.approx(np.std([1620, 1600, 1620], ddof=1) / 2**0.5)


def test_what_is_no_nn_interval() -> None:
    """Intervals at other beats, after a gap, too short, too long, or unlike their neighbours are left out."""
    nn = of([800, 500, 1100, 800, 810], "NNVNNN")
    np.testing.assert_allclose(nn.nn_s, [0.8, 0.8, 0.81])
    assert nn.follows.tolist() == [False, False, True]
    assert of([800, float("nan"), 810]).nn_s.tolist() == [0.8, 0.81]
    assert of([290, 2010]).nn_s.tolist() == []
    nn = of([800] * 20 + [1200] + [800] * 20)
    assert len(nn) == 40
    assert nn.share == pytest.approx(40 / 41)
    assert nn.follows.sum() == 38


def test_nothing_to_measure() -> None:
    """Too few beats give no measure, or only those that are defined."""
    nothing = np.zeros(0)
    empty = select_nn_intervals(nothing, nothing, np.zeros(0, bool))
    assert len(empty) == 0
    assert measure_time_domain(empty) is None
    assert measure_poincare(empty) is None
    assert measure_nn_spectrum(empty) is None
    one = measure_time_domain(of([800]))
    assert one is not None
    assert one.mean == pytest.approx(800)
    assert [one.sdnn, one.rmssd, one.pnn50, one.triangular] == [None] * 4
    assert measure_poincare(of([800, 810])) is None
    assert measure_nn_spectrum(of([800] * 100)) is None


@pytest.mark.parametrize(("hz", "band"), [(0.02, "VLF"), (0.1, "LF"), (0.25, "HF"), (0.33, "HF")])
def test_power_of_a_known_wave(hz: float, band: str) -> None:
    """A sine of 30 ms has 450 ms², nearly all of it in its own band."""
    measured = measure_nn_spectrum(wavy(1500, (hz, 30.0)))
    assert measured is not None
    assert measured.segments == 5
    assert measured.power(band) == pytest.approx(450, rel=0.08)
    assert sum(measured.power(other) for other in HRV_BANDS if other != band) < 25
    assert FREQUENCIES[measured.density.argmax()] == pytest.approx(hz, abs=STEP_HZ)


def test_ratio_of_two_waves() -> None:
    """LF of 40 ms and HF of 20 ms: four to one."""
    measured = measure_nn_spectrum(wavy(3000, (0.09, 40.0), (0.3, 20.0)))
    assert measured is not None
    assert measured.ratio == pytest.approx(4.0, rel=0.15)


def test_white_noise_is_flat() -> None:
    """For random intervals the whole spectrum has the variance below 0.4 Hz."""
    chance = np.random.default_rng(3)
    rr = 0.8 + 0.02 * chance.standard_normal(40_000)
    nn = NNIntervals(np.cumsum(rr), rr, np.ones(len(rr), bool), 1.0)
    measured = measure_nn_spectrum(nn)
    assert measured is not None
    expected = 400 * 2 * 0.8
    assert measured.density.mean() == pytest.approx(expected, rel=0.05)
    assert measured.power("HF") == pytest.approx(expected * 0.25, rel=0.08)


def test_a_segment_with_a_hole_does_not_count() -> None:
    """A segment of which two of five minutes are missing has no spectrum, and past half no mean."""
    nn = wavy(600, (0.1, 30.0))
    there = (nn.at_s < 400) | (nn.at_s > 520)
    cut = NNIntervals(nn.at_s[there], nn.nn_s[there], nn.follows[there], 1.0)
    measured = measure_nn_spectrum(cut)
    assert measured is not None
    assert measured.segments == 1
    assert measure_time_domain(cut).sdann is not None  # type: ignore[union-attr]


def test_bands_meet_and_cover() -> None:
    """Every frequency of the spectrum is in exactly one band."""
    inside = [sum(low <= f < high for low, high in HRV_BANDS.values()) for f in FREQUENCIES]
    assert set(inside) == {1}


@given(st.lists(st.floats(200, 2500), max_size=60), st.data())
def test_any_series_has_figures_or_none(rr_ms: list[float], data: st.DataObject) -> None:
    """Never an error nor a NaN, whatever the beats are."""
    labels = data.draw(st.text("NV", min_size=len(rr_ms) + 1, max_size=len(rr_ms) + 1))
    nn = of(rr_ms, labels)
    assert 0 <= nn.share <= 1
    measured = measure_time_domain(nn)
    for value in (
        () if measured is None else (measured.mean, measured.sdnn, measured.rmssd, measured.pnn50, measured.triangular)
    ):
        assert value is None or (np.isfinite(value) and value >= 0)
    cloud = measure_poincare(nn)
    assert cloud is None or (np.isfinite(cloud.sd1) and np.isfinite(cloud.sd2))
    assert (nn.nn_s >= hrv.SHORTEST_NN_S).all()
    assert (nn.nn_s <= hrv.LONGEST_NN_S).all()
