"""model.records.signal_conditioning: short holes are bridged and pacemaker pulses blanked, and nothing else."""

from itertools import cycle

import numpy as np
import pytest
from numpy.typing import NDArray
from support.synthetic import make_ecg, make_pulses

from model.records.signal_conditioning import SignalConditioner, condition_signal

RATES = [125.0, 130.0, 250.0, 360.0, 500.0, 1000.0]
Array = NDArray[np.floating]


def complexes(fs: float, width_s: float, mv: float) -> dict[str, Array]:
    """Return QRS complexes of different shapes, 40 of each, which fall between the samples in every way."""
    time = np.arange(round(40 * fs)) / fs
    place = (time % 1.0) - 0.5 - np.floor(time) / 40 / fs
    half = width_s / 2
    return {
        "triangle": mv * np.clip(1 - np.abs(place) / half, 0, None),
        "half sine": np.where(np.abs(place) < half, mv * np.cos(np.pi * place / width_s), 0.0),
        "RS": np.where(np.abs(place) < half, -mv * np.sin(np.pi * place / half), 0.0),
        "bell": mv * np.exp(-0.5 * (5 * place / width_s) ** 2),
    }


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("width_ms", [40, 60, 80, 120])
@pytest.mark.parametrize("mv", [-5.0, 0.5, 1.0, 2.0, 5.0])
def test_no_qrs_complex_is_a_pulse(fs: float, width_ms: int, mv: float) -> None:
    """A QRS complex of 40 ms, as narrow as those of a child, and of 5 mV stays as it is."""
    for ecg in complexes(fs, width_ms / 1000, mv).values():
        conditioned = condition_signal(ecg, fs)
        assert conditioned.pulses == ()
        np.testing.assert_array_equal(conditioned.x, ecg)


@pytest.mark.parametrize("fs", [250.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize(("mv", "ms"), [(2.0, 2.0), (-2.0, 2.0), (5.0, 1.0), (-20.0, 2.0), (700.0, 0.1), (-700.0, 2.0)])
def test_pulses_are_blanked(fs: float, mv: float, ms: float) -> None:
    """Pulses of 0.1 to 2 ms and 2 to 700 mV are found where they are, and the signal under them stays."""
    at_s = [1.0 + 0.8137 * i for i in range(40)]
    ecg = make_ecg(fs, 35, [1.2 + 0.8137 * i for i in range(0, 40, 2)])
    conditioned = condition_signal(ecg + make_pulses(fs, 35, at_s, mv, ms), fs)
    np.testing.assert_allclose(np.array(conditioned.pulses) / fs, at_s, atol=1.01 / fs)
    assert np.abs(conditioned.x - ecg).max() < 0.11  # the jump that is no pulse yet


@pytest.mark.parametrize("fs", [500.0, 1000.0])
@pytest.mark.parametrize("decay_s", [0.025, 0.1])
def test_the_overshoot_of_a_pulse_is_removed(fs: float, decay_s: float) -> None:
    """What decays behind a pulse, on its other side, is taken off, and the beat that follows stays."""
    at_s = [1.0 + 1.137 * i for i in range(20)]
    ecg = make_ecg(fs, 25, [at + 0.25 for at in at_s])
    time = np.arange(len(ecg)) / fs
    paced = ecg + make_pulses(fs, 25, at_s, -10.0, 2.0)
    for at in at_s:
        later = time > at + 0.002
        paced[later] += 2.0 * np.exp(-(time[later] - at) / decay_s)
    conditioned = condition_signal(paced, fs)
    assert len(conditioned.pulses) == 20
    assert np.abs(conditioned.x - ecg).max() < 0.25


def test_a_pulse_at_125_hz_is_one_sample() -> None:
    """At 125 Hz a single sample that stands out is a pulse, at the height of a pulse."""
    ecg = make_ecg(125, 20, [1.0 + 0.8 * i for i in range(23)])
    for place in range(300, 2400, 190):
        ecg[place] += 2.5
    conditioned = condition_signal(ecg, 125)
    assert conditioned.pulses == tuple(range(300, 2400, 190))


@pytest.mark.parametrize("fs", RATES)
def test_holes_of_40_ms_are_bridged(fs: float) -> None:
    """A hole of up to 40 ms becomes the line between the samples around it; a longer one stays."""
    ecg = np.linspace(-1, 1, round(20 * fs))
    longest = int(0.04 * fs)
    holes = [(round(5 * fs), round(5 * fs) + 1), (round(9 * fs), round(9 * fs) + longest)]
    long_hole = slice(round(14 * fs), round(14 * fs) + longest + 1)
    holed = ecg.copy()
    for start, stop in holes:
        holed[start:stop] = np.nan
    holed[long_hole] = np.nan
    conditioned = condition_signal(holed, fs)
    assert conditioned.holes == tuple(holes)
    assert np.isnan(conditioned.x[long_hole]).all()
    np.testing.assert_allclose(np.delete(conditioned.x, long_hole), np.delete(ecg, long_hole), atol=1e-12)


def test_no_comb_is_bridged() -> None:
    """Where every other sample is missing, or most are, the line would be the signal: nothing is bridged."""
    for missing, there in ((1, 1), (2, 3), (5, 2)):
        ecg = np.zeros(1000)
        for start in range(0, 1000, missing + there):
            ecg[start : start + missing] = np.nan
        assert condition_signal(ecg, 250).holes == ()


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_cuts_of_a_stream_change_nothing(fs: float, dtype: type) -> None:
    """However a stream is cut, its samples, holes and pulses are those of the whole signal, bit for bit."""
    random = np.random.default_rng(round(fs))
    at_s = [0.6 + 0.39 * i for i in range(14)]
    ecg = make_ecg(fs, 6, at_s[::2]) + make_pulses(fs, 6, at_s[1::2], 4.0, 1.5)
    time = np.arange(len(ecg)) / fs
    for at in at_s[1::4]:
        ecg[time > at + 0.002] -= 0.9 * np.exp(-(time[time > at + 0.002] - at) / 0.06)
    for start in random.integers(0, len(ecg), 15):
        ecg[start : start + random.integers(1, round(0.06 * fs))] = np.nan
    for start in random.integers(0, len(ecg), 15):  # pulses beside each other, and beside holes
        ecg[start] += random.normal(0, 5)
    ecg = ecg.astype(dtype)
    whole = condition_signal(ecg, fs)
    assert whole.holes
    assert whole.pulses
    for sizes in ([*[1] * 150, 350], [*[2, 3] * 60, 300], [7], [round(0.04 * fs)], [1000, 1, 13], [10**6]):
        conditioner = SignalConditioner(fs)
        parts, first = [], 0
        for size in cycle(sizes):
            parts.append(conditioner.push(ecg[first : first + size]))
            first += size
            if first >= len(ecg):
                break
        parts.append(conditioner.flush())
        np.testing.assert_array_equal(np.concatenate([part.x for part in parts]), whole.x)
        assert tuple(hole for part in parts for hole in part.holes) == whole.holes
        assert tuple(pulse for part in parts for pulse in part.pulses) == whole.pulses


def test_plain_samples_are_passed_on_at_once() -> None:
    """No sample of an ECG without large steps at 125 Hz waits for later ones."""
    ecg = make_ecg(125, 20, [1.0 + 0.8 * i for i in range(23)])
    conditioner = SignalConditioner(125)
    for first in range(0, len(ecg), 5):
        part = ecg[first : first + 5]
        assert conditioner.push(part).x is part
        assert not conditioner.waits
