"""PR, QRS and QT: synthetic beats whose waves are known, rates, what cannot be measured, bad input, and LUDB."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agent import analyse, example, measure_typical_beat
from benchmarks import intervals
from benchmarks.ludb import FILE, read_ludb
from model.intervals.aligned_beats import LEAST_CHANGES, align_beats, cut_aligned_beats
from model.intervals.beat_intervals import (
    BeatIntervals,
    combine_leads,
    measure_intervals,
    measure_signal_intervals,
    point_intervals,
)
from model.intervals.corrected_qt import correct_measured_qt, corrected_qt

Array = NDArray[np.float64]

LUDB = Path(__file__).parents[2] / "shared" / "ludb"
WAVES = {"p": (-200.0, -100.0, 0.12), "q": (-46.0, 46.0, 0.9), "t": (140.0, 380.0, 0.3)}
"""Onset and end in ms from the R peak, and height in mV, of the waves of a synthetic beat."""
KNOWN = {"pr": 154.0, "qrs": 92.0, "qt": 426.0}
NEAR_MS = {"pr": 24.0, "qrs": 24.0, "qt": 24.0}
"""How near a measurement must come: cardiologists, from whom the edges were learnt, mark more than a cosine's."""
RR_S = 0.9


def make_beat(fs: float, without: str = "", moved: dict[str, tuple[float, float, float]] | None = None) -> Array:
    """Return a beat (n,) in mV from 0.4 s before the R peak on: a wave of a cosine for each of P, QRS and T."""
    ms = np.arange(-round(0.4 * fs), round(0.7 * fs)) * 1000 / fs
    beat = np.zeros(len(ms))
    for name, (onset, end, height) in (WAVES | (moved or {})).items():
        inside = (ms > onset) & (ms < end)
        if name not in without:
            beat[inside] += height * (1 - np.cos(2 * np.pi * (ms[inside] - onset) / (end - onset))) / 2
    return beat


def make_beats(count: int = 12, fs: float = 500.0, noise: float = 0.005, without: str = "") -> Array:
    """Return beats (count, n) with noise of this RMS in mV."""
    random = np.random.default_rng(0)
    return np.stack([make_beat(fs, without=without) for _ in range(count)]) + noise * random.standard_normal(
        (count, len(make_beat(fs)))
    )


def make_signal(fs: float, count: int = 12) -> tuple[Array, NDArray[np.int64]]:
    """Return a signal (n,) in mV of beats at RR_S, and their R peaks."""
    at = (0.6 + RR_S * np.arange(count)) * fs
    t = np.arange(int((0.6 + RR_S * count) * fs))
    x = sum(np.interp(t, peak + np.arange(-round(0.4 * fs), round(0.7 * fs)), make_beat(fs), 0.0, 0.0) for peak in at)
    return np.asarray(x), np.rint(at).astype(np.int64)


def assert_known(found: BeatIntervals) -> None:
    """PR, QRS and QT are near those of the synthetic beat."""
    for name, known in KNOWN.items():
        estimate = getattr(found, name)
        assert estimate.ms == pytest.approx(known, abs=NEAR_MS[name]), f"{name}: {estimate}"


@pytest.mark.parametrize("fs", [125.0, 128.0, 250.0, 360.0, 500.0, 1000.0])
def test_known_waves(fs: float) -> None:
    """The intervals of a synthetic beat are those that it was made with, at any rate."""
    found = measure_intervals(make_beats(fs=fs), fs, round(0.4 * fs), RR_S)
    assert_known(found)
    assert (found.beats, found.leads) == (12, 1)
    assert found.p_wave.onset_ms == pytest.approx(-200, abs=24)
    assert found.qrs_complex.onset_ms == pytest.approx(-46, abs=14)
    assert found.qrs_complex.end_ms == pytest.approx(46, abs=14)
    assert found.t_wave.end_ms == pytest.approx(380, abs=32)


@pytest.mark.parametrize(
    ("interval", "wave", "moved"),
    [
        ("pr", "p", (-240.0, -140.0, 0.12)),
        ("pr", "p", (-180.0, -80.0, -0.12)),
        ("qrs", "q", (-46.0, 76.0, 0.9)),
        ("qrs", "q", (-66.0, 66.0, -0.9)),
        ("qt", "t", (180.0, 430.0, 0.3)),
        ("qt", "t", (120.0, 340.0, -0.3)),
    ],
)
def test_waves_that_are_moved(interval: str, wave: str, moved: tuple[float, float, float]) -> None:
    """A wave that is earlier, later, wider or upside down changes its interval by as much."""
    plain, other = (
        getattr(measure_intervals(make_beat(500.0, moved=waves), 500.0, 200, RR_S), interval)
        for waves in ({}, {wave: moved})
    )
    onset = {"pr": 0, "qrs": 0, "qt": 1}[interval]
    change = moved[1] - moved[0] - WAVES[wave][1] + WAVES[wave][0] if wave == "q" else moved[onset] - WAVES[wave][onset]
    assert plain.ms is not None
    assert other.ms == pytest.approx(plain.ms + (-change if interval == "pr" else change), abs=8)


@pytest.mark.parametrize("fs", [125.0, 360.0, 1000.0])
def test_signal_and_beats_agree(fs: float) -> None:
    """A signal with R peaks gives what its beats give, and RR is that of the signal."""
    signal, peaks = make_signal(fs)
    found = measure_signal_intervals(signal, peaks, fs)
    assert_known(found)
    assert found.rr_s == pytest.approx(RR_S, abs=0.01)


def test_r_peaks_may_be_imprecise() -> None:
    """R peaks that are up to 12 ms wrong make QRS no wider: beats are aligned first."""
    signal, peaks = make_signal(500.0)
    moved = peaks + np.random.default_rng(1).integers(-6, 7, len(peaks))
    exact, blurred = (measure_signal_intervals(signal, at, 500.0).qrs.ms for at in (peaks, moved))
    assert exact is not None
    assert blurred == pytest.approx(exact, abs=4)


def test_a_long_recording_is_sampled() -> None:
    """Of many beats a hundred are measured, from the whole recording."""
    signal, peaks = make_signal(125.0, 400)
    signal[: len(signal) // 2] = np.nan
    aligned = cut_aligned_beats(signal, peaks, 125.0)
    assert 45 <= len(aligned.waves) <= 55


def test_uncertainty_grows_with_noise() -> None:
    """Noise makes an interval less certain; of a single beat the uncertainty is unknown."""
    quiet, loud = (measure_intervals(make_beats(noise=noise), 500.0, 200, RR_S).qt for noise in (0.002, 0.08))
    assert quiet.uncertainty_ms is not None
    assert loud.ms is None or (loud.uncertainty_ms is not None and loud.uncertainty_ms > quiet.uncertainty_ms)
    single = measure_intervals(make_beat(500.0), 500.0, 200, RR_S)
    assert_known(single)
    assert single.qrs.uncertainty_ms is None
    assert str(single.qrs).endswith("ms")
    assert "±" in str(quiet)


def test_missing_waves_are_not_measured() -> None:
    """Without P there is no PR, without T no QT, without QRS nothing; each says why."""
    no_p = measure_intervals(make_beats(without="p"), 500.0, 200, RR_S)
    assert (no_p.pr.ms, no_p.p_wave.onset_ms) == (None, None)
    assert "P wave" in no_p.pr.reason
    assert no_p.qt.ms is not None
    no_t = measure_intervals(make_beats(without="t"), 500.0, 200, RR_S)
    assert no_t.qt.ms is None
    assert "T wave" in no_t.qt.reason
    assert no_t.qrs.ms is not None
    nothing = measure_intervals(make_beats(without="pqt"), 500.0, 200, RR_S)
    assert all(one.ms is None and one.reason for one in (nothing.pr, nothing.qrs, nothing.qt))
    assert correct_measured_qt(nothing) is None


def test_waves_that_differ_from_beat_to_beat_are_no_p() -> None:
    """Fibrillatory waves before QRS are not the same before each beat, so they are no P wave."""
    random, ms = np.random.default_rng(2), np.arange(-200, 350) * 2.0
    f_waves = [0.06 * np.sin(2 * np.pi * (ms / 160 + phase)) for phase in random.random(14)]
    found = measure_intervals(make_beats(14, without="p") + np.stack(f_waves), 500.0, 200, RR_S)
    assert found.pr.ms is None
    assert found.qrs.ms == pytest.approx(KNOWN["qrs"], abs=NEAR_MS["qrs"] + 10)


def test_an_irregular_rhythm_has_no_pr() -> None:
    """RR intervals that change at each beat are not those of beats that P waves lead."""
    signal, peaks = make_signal(250.0, 20)
    assert measure_signal_intervals(signal, peaks, 250.0).pr.ms is not None
    parts = [signal[peak - 90 : peak + 135 + jitter] for peak, jitter in zip(peaks, [0, 90] * 10, strict=True)]
    at = np.cumsum([0, *(len(part) for part in parts[:-1])]) + 90
    found = measure_signal_intervals(np.concatenate(parts), at, 250.0)
    assert found.pr.ms is None
    assert "irregular" in found.pr.reason
    assert len(peaks) > LEAST_CHANGES


def test_only_chosen_beats_count() -> None:
    """Beats of another class are left out, whether they are named or only unlike the others."""
    signal, peaks = make_signal(250.0, 16)
    for peak in peaks[::4]:
        signal[peak - 40 : peak + 60] = -1.5 * np.sin(np.linspace(0, 2 * np.pi, 100))
    chosen = np.ones(16, bool)
    chosen[::4] = False
    named = measure_signal_intervals(signal, peaks, 250.0, chosen)
    assert_known(named)
    assert named.beats == 12
    assert measure_signal_intervals(signal, peaks, 250.0).beats == 12


def test_several_leads_are_joined() -> None:
    """A wave begins in the lead where it begins first and ends where it ends last; a lead far off has no say."""
    points = np.array([[-200.0, -100, -40, 40, 380], [-190, -90, -46, 50, 360], [-195, -95, -44, 42, 640]])
    shared = combine_leads(points)
    assert shared.tolist() == [-200, -90, -46, 50, 380]
    assert point_intervals(shared).tolist() == [154, 96, 426]
    points[:2, :2] = np.nan
    assert np.isnan(combine_leads(points)[:2]).all(), "P in one lead of three"


def test_a_dead_lead_does_not_disturb() -> None:
    """A lead without a signal, or without values, leaves the others as they are."""
    beats = make_beats()
    alone = measure_intervals(beats, 500.0, 200, RR_S)
    for dead in (np.zeros_like(beats), np.full_like(beats, np.nan)):
        both = measure_intervals(np.stack([beats, dead], axis=2), 500.0, 200, RR_S)
        assert (both.qrs.ms, both.qt.ms, both.leads) == (alone.qrs.ms, alone.qt.ms, 1)


def test_pacemaker_pulses_are_blanked() -> None:
    """A pulse of 2 ms before QRS is no part of it."""
    signal, peaks = make_signal(1000.0)
    plain = measure_signal_intervals(signal, peaks, 1000.0).qrs.ms
    for peak in peaks:
        signal[peak - 62 : peak - 60] += 3.0
    assert plain is not None
    assert measure_signal_intervals(signal, peaks, 1000.0).qrs.ms == pytest.approx(plain, abs=8)


@pytest.mark.parametrize("value", [np.nan, 0.0, 1e6])
def test_signals_without_beats(value: float) -> None:
    """Nothing but missing values, or a flat line: nothing is measured, and nothing fails."""
    for shape in ((5000,), (5000, 2)):
        found = measure_signal_intervals(np.full(shape, value), [1000, 1500, 2000], 500.0)
        assert (found.pr.ms, found.qrs.ms, found.qt.ms) == (None, None, None)
        assert found.qrs.reason


def test_hostile_beats() -> None:
    """Noise, holes, steps, infinities, short and few beats give intervals or reasons, never an error."""
    random = np.random.default_rng(3)
    beats = make_beats()
    holes = np.where(random.random(beats.shape) < 0.2, np.nan, beats)
    infinite = np.where(random.random(beats.shape) < 0.01, np.inf, beats)
    cases = [
        random.standard_normal(beats.shape),
        holes,
        infinite,
        beats[:1],
        beats[:0],
        beats[:, 150:260],
        beats[:, 195:210],
    ]
    cases += [np.cumsum(beats, axis=1), np.sign(beats), beats * 1e9, beats[:, 200:], beats[:, :201]]
    for number, case in enumerate(cases):
        r_index = min(200, case.shape[1] - 1) if number not in (5, 6, 10) else {5: 50, 6: 5, 10: 0}[number]
        for rr_s in (None, 0.2, 3.0):
            found = measure_intervals(case, 500.0, r_index, rr_s)
            for one in (found.pr, found.qrs, found.qt):
                assert (one.ms is None) == bool(one.reason)


@pytest.mark.parametrize("peaks", [[], [3], [4990], [2000], [2000, 2003, 2006]])
def test_r_peaks_at_the_ends(peaks: list[int]) -> None:
    """No R peaks, and those whose beats are not whole, give no measurement; close ones no error."""
    signal, _ = make_signal(500.0)
    found = measure_signal_intervals(signal[:5000], peaks, 500.0)
    assert found.beats <= len(peaks)


def test_shapes_are_checked() -> None:
    """Beats of four dimensions, or an R peak outside, are refused in words."""
    with pytest.raises(ValueError, match="shape"):
        align_beats(np.zeros((2, 2, 2, 2)), 500.0, 0)
    with pytest.raises(ValueError, match="R peak inside"):
        align_beats(np.zeros((2, 100)), 500.0, 100)


def test_the_library_measures_what_it_analysed() -> None:
    """`measure_typical_beat` takes one lead or several, in any voltage, and only the signal that was analysed."""
    ecg, fs = example("100", seconds=30)
    analysis = analyse(ecg, fs, unit="mV")
    found = measure_typical_beat(ecg, analysis, unit="mV")
    assert found.qrs.ms is not None
    assert 60 < found.qrs.ms < 120
    assert found.rr_s == pytest.approx(0.8, abs=0.05)
    both = measure_typical_beat(np.stack([ecg, 0.5 * ecg], axis=1) * 1000, analysis, unit="uV")
    assert (both.leads, both.qrs.ms) == (2, found.qrs.ms)
    with pytest.raises(ValueError, match="was analysed"):
        measure_typical_beat(ecg[:-1], analysis, unit="mV")
    with pytest.raises(ValueError, match="voltage"):
        measure_typical_beat(ecg, analysis, unit="counts")
    with pytest.raises(ValueError, match="unit"):
        measure_typical_beat(ecg, analysis, unit="miles")
    nothing = measure_typical_beat(np.zeros(3000), analyse(np.zeros(3000), 250.0, unit="mV"), unit="mV")
    assert nothing.qrs.reason


def test_corrected_qt() -> None:
    """Bazett and Fridericia agree at 60 beats/min, and correct otherwise as they were published."""
    assert corrected_qt(400, 1.0).bazett_ms == corrected_qt(400, 1.0).fridericia_ms == 400
    fast = corrected_qt(320, 0.64)
    assert fast.bazett_ms == pytest.approx(400)
    assert fast.fridericia_ms == pytest.approx(320 / 0.64 ** (1 / 3))
    with pytest.raises(ValueError, match="positive"):
        corrected_qt(400, 0.0)


@pytest.mark.skipif(not (LUDB / FILE).is_file(), reason="LUDB is not beside the repository")
def test_against_cardiologists() -> None:
    """Of people whom no constant was chosen on, half of the errors are below 10 ms (QRS) and 20 ms (PR, QT)."""
    records = [record for record in read_ludb(LUDB) if record.number % 2 == 0][::5]
    errors = []
    for record in records:
        beats = record.beats[0][:, 0]
        peaks = beats[np.isfinite(beats)].astype(np.int64)
        for lead in range(3):
            found = measure_signal_intervals(record.signal[:, lead], peaks, record.fs)
            measured = [np.nan if one.ms is None else one.ms for one in (found.pr, found.qrs, found.qt)]
            errors.append(np.array(measured) - record.lead_intervals(lead))
    medians = np.nanmedian(np.abs(errors), axis=0)
    assert (medians <= (20, 10, 20)).all(), medians
    assert (np.isfinite(errors).mean(axis=0) >= (0.6, 0.95, 0.85)).all()


def test_rows_of_the_benchmark() -> None:
    """A row counts what is measured of what is due, and how many errors are within the stated uncertainty."""
    row = intervals.score_errors([10.0, -4.0, 30.0], 4, [20.0, 20.0, None])
    assert (row["due"], row["measured"], row["median_ms"], row["bias_ms"]) == (4, 3, 10.0, 10.0)
    assert row["within_percent"] == pytest.approx(66.7)
    assert intervals.score_errors([], 2) == {"due": 2, "measured": 0}
