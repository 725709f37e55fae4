import numpy as np
import pytest
from numpy.typing import NDArray

from agent.analysis.qrs_detector import RPeak
from agent.analysis.qrs_height import drop_low_peaks
from agent.analysis.sample_ring import SampleRing
from agent.core.messages import Gap
from agent.library.signal_analysis import analyse
from model.records.resample import FS


def pulses(height_mv: float, seconds: int = 60) -> NDArray[np.float64]:
    """A clean rhythm of 75 a minute, with P and T waves, whose R waves have this height."""
    t = np.arange(seconds * FS) / FS
    phase = (t % 0.8) - 0.3
    waves = ((1.0, 0.0, 0.012), (-0.1, 0.03, 0.01), (0.12, -0.16, 0.025), (0.25, 0.25, 0.05))
    x = sum(a * np.exp(-0.5 * ((phase - at) / width) ** 2) for a, at, width in waves)
    return height_mv * np.asarray(x)


@pytest.mark.parametrize(("height_mv", "kept"), [(0.149, 0), (0.151, 1), (5.0, 1)])
def test_low_peaks_are_dropped(height_mv: float, kept: int) -> None:
    """A deflection below 0.15 mV is no QRS complex, one above is."""
    ring = SampleRing()
    x = np.zeros((1, 100), np.float32)
    x[0, 50] = height_mv
    ring.push(np.array([0]), x)
    assert len(drop_low_peaks(ring, [RPeak(0, 50, 80)])) == kept


def test_a_peak_beside_a_gap_stays() -> None:
    """Where samples are missing the height is unknown, and the R peak is kept."""
    ring = SampleRing()
    ring.push(np.array([0]), np.zeros((1, 100), np.float32))
    ring.interrupt(0, Gap("1", "run", 100, 50, FS, "never arrived"))
    ring.push(np.array([0]), np.zeros((1, 100), np.float32))
    assert len(drop_low_peaks(ring, [RPeak(0, 95, 99), RPeak(0, 200, 230)])) == 1


@pytest.mark.parametrize("height_mv", [0.1, 0.5])
def test_low_voltage_has_one_answer(height_mv: float) -> None:
    """An ECG of 0.1 mV has no beats and no heart rate, and is asystole; one of 0.5 mV has them, and is not."""
    result = analyse(pulses(height_mv), FS, unit="mV")
    asystole = any(alarm.condition == "asystole" for alarm in result.alarms)
    if height_mv < 0.15:
        assert (len(result.beats), asystole) == (0, True)
    else:
        assert len(result.beats) > 65
        assert not asystole
