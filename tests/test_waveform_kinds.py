"""What the shipped waveform classifier makes of signals of which anybody can say what they are."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from model.records.resample import FS
from model.waveform.episode_rule import detect_episodes, read_vf_vt_settings
from model.waveform.waveform_classifier import (
    ASYSTOLE,
    HOP,
    NOISE,
    ORGANISED,
    VF,
    VT,
    WINDOW,
    WaveformClassifier,
    WindowClassification,
)

Array = NDArray[np.float64]
TIME = np.arange(60 * FS) / FS
RANDOM_STATE = 11


@pytest.fixture(scope="module")
def classifier() -> WaveformClassifier:
    return WaveformClassifier.load()


def classify(classifier: WaveformClassifier, x: Array) -> WindowClassification:
    ends = np.arange(WINDOW, len(x) + 1, HOP)
    return classifier.classify_windows(np.stack([x[end - WINDOW : end] for end in ends]).astype(np.float32))


def hiss(size_mv: float, seed: int = RANDOM_STATE) -> Array:
    """White noise (60 s) of this size, rms."""
    return size_mv * np.random.default_rng(seed).standard_normal(len(TIME))


def complexes(rate: float, qrs_s: float, t_wave: float = 0.25, p_wave: float = 0.1, r_mv: float = 1.0) -> Array:
    """Beats (60 s) of Gaussian waves, `rate` a minute, with QRS complexes that last `qrs_s`."""
    x, cycle = np.zeros(len(TIME)), 60 / rate
    for at in np.arange(0.1, TIME[-1], cycle):
        x += np.exp(-(((TIME - at) / (qrs_s / 6)) ** 2) / 2)
        x -= 0.2 * np.exp(-(((TIME - at - 0.35 * qrs_s) / (qrs_s / 8)) ** 2) / 2)
        x += t_wave * np.exp(-(((TIME - at - min(0.3, 0.5 * cycle)) / min(0.05, 0.07 * cycle + 0.01)) ** 2) / 2)
        x += p_wave * np.exp(-(((TIME - at + min(0.16, 0.3 * cycle)) / 0.02) ** 2) / 2)
    return r_mv * x + hiss(0.005)


def pulses(height_mv: float, share: float, noise_mv: float) -> Array:
    """Square pulses (60 s), one a second, as a recorder's calibration has them."""
    return np.where(share > TIME % 1, height_mv, 0.0) + hiss(noise_mv)


def brain_waves() -> Array:
    """An EEG (60 s): a spectrum that falls, and an alpha rhythm that comes and goes, some 60 uV high."""
    pace = np.fft.rfftfreq(len(TIME), 1 / FS)
    white = np.fft.rfft(hiss(1.0)) / np.maximum(pace, 1)
    falling = np.fft.irfft(white, len(TIME))
    alpha = np.sin(2 * np.pi * 10.1 * TIME) * (1 + np.sin(2 * np.pi * 0.13 * TIME))
    x: Array = 0.010 * falling / falling.std() + 0.006 * alpha
    return x + hiss(0.001)


def breathing() -> Array:
    """A curve of breathing (60 s), 16 a minute."""
    return 0.5 * np.sin(2 * np.pi * 16 / 60 * TIME + 0.4 * np.sin(2 * np.pi * 0.03 * TIME)) + hiss(0.003)


@pytest.mark.parametrize(
    "signal",
    [
        lambda: pulses(1.0, 0.5, 0.003),
        lambda: pulses(1.0, 0.2, 0.003),
        lambda: pulses(1.0, 0.5, 0.0),
        lambda: np.sin(2 * np.pi * 50 * TIME) + hiss(0.002),
        lambda: np.sin(2 * np.pi * 60 * TIME) + hiss(0.002),
        lambda: np.sin(2 * np.pi * 49.9 * TIME) + hiss(0.002),
        brain_waves,
        breathing,
    ],
    ids=["pulses", "short pulses", "clean pulses", "50 Hz", "60 Hz", "49.9 Hz", "EEG", "breathing"],
)
def test_what_is_no_ecg_is_noise(classifier: WaveformClassifier, signal: Callable[[], Array]) -> None:
    """Calibration pulses, mains hum alone, an EEG and breathing are noise in nine of ten windows."""
    assert (classify(classifier, signal()).probabilities[:, NOISE] >= 0.5).mean() >= 0.9


@pytest.mark.parametrize("size_mv", [0.008, 0.010, 0.012, 0.015, 0.02])
def test_a_converter_without_a_lead_shows_no_heart(classifier: WaveformClassifier, size_mv: float) -> None:
    """The noise of a converter whose lead is not on is noise or a flat line, never a rhythm."""
    scores = classify(classifier, hiss(size_mv)).probabilities
    assert (scores[:, NOISE] + scores[:, ASYSTOLE]).min() > 0.8


@pytest.mark.parametrize("rate", [200, 220, 235, 250])
@pytest.mark.parametrize("qrs_s", [0.07, 0.08])
def test_a_narrow_tachycardia_is_organised(classifier: WaveformClassifier, rate: float, qrs_s: float) -> None:
    """Narrow complexes at 200 to 250 a minute, as a child has them, are no VT, and no alarm of VT is raised."""
    found = classify(classifier, complexes(rate, qrs_s))
    assert (found.probabilities.argmax(axis=1) == ORGANISED).mean() >= 0.9
    assert not alarms_of(found)["VT"]


@pytest.mark.parametrize(("rate", "qrs_s"), [(150, 0.22), (180, 0.2), (200, 0.2)])
def test_a_broad_tachycardia_is_vt(classifier: WaveformClassifier, rate: float, qrs_s: float) -> None:
    """Broad complexes with a T wave against them are VT at the rates at which narrow ones are not."""
    found = classify(classifier, complexes(rate, qrs_s, t_wave=-0.5, p_wave=0.0))
    assert (found.probabilities[:, VT] + found.probabilities[:, VF]).mean() >= 0.9


@pytest.mark.parametrize("r_mv", [0.15, 0.2, 0.3])
@pytest.mark.parametrize("rate", [55, 75, 110])
def test_low_voltage_is_organised(classifier: WaveformClassifier, r_mv: float, rate: float) -> None:
    """Clean beats of 0.15 mV and more are organised, and not called noise."""
    scores = classify(classifier, complexes(rate, 0.09, r_mv=r_mv)).probabilities
    assert scores[:, ORGANISED].min() > 0.5
    assert scores[:, NOISE].max() < 0.3


@pytest.mark.parametrize("height_mv", [-2.0, 0.5, 3.0])
def test_spikes_that_capture_nothing_are_asystole(classifier: WaveformClassifier, height_mv: float) -> None:
    """The spikes of a pacemaker on a flat line are asystole, as there is no QRS complex."""
    x = hiss(0.004)
    x[np.arange(0, len(x), round(60 / 70 * FS))] += height_mv
    scores = classify(classifier, x).probabilities
    assert (scores.argmax(axis=1) == ASYSTOLE).mean() >= 0.9


@pytest.mark.parametrize("rate", [195, 206])
def test_vt_is_alarmed_within_five_seconds(classifier: WaveformClassifier, rate: float) -> None:
    """Broad waves at 195 and 206 a minute that follow a sinus rhythm of 80 are alarmed within 5 s."""
    onset = 20 * FS
    phase = 2 * np.pi * rate / 60 * TIME
    waves = 0.5 * np.sin(phase) + 0.15 * np.sin(2 * phase + 1)
    x = np.where(np.arange(len(TIME)) < onset, complexes(80, 0.08), waves + hiss(0.005))
    found = alarms_of(classify(classifier, x))
    first = min(episode.alarm for kind in ("VT", "VF") for episode in found[kind])
    assert onset < first <= onset + 5 * FS


def alarms_of(found: WindowClassification):  # type: ignore[no-untyped-def]
    """The episodes that the alarms would announce."""
    ends = [WINDOW + number * HOP for number in range(len(found.rate))]
    return detect_episodes(read_vf_vt_settings(), ends, found.probabilities.tolist(), found.rate.tolist())
