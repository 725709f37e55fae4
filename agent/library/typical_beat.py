"""PR, QRS and QT of the typical beat of an analysed signal."""

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.core.lead_units import UNITS_MV
from agent.library.argument_checks import check_samples, check_unit
from agent.library.signal_analysis import SignalAnalysis
from model.intervals.beat_intervals import BeatIntervals, measure_signal_intervals


def measure_typical_beat(ecg: ArrayLike, analysis: SignalAnalysis, *, unit: str) -> BeatIntervals:
    """Measure PR, QRS and QT of the median beat of an analysed signal, in one or several leads.

    Parameters
    ----------
    ecg : (n,) or (n, leads) array of float
        The signal that was analysed, or several leads of it. A sample without a value is NaN or masked.
    analysis : SignalAnalysis
        What `analyse` found in it. The beats of its commonest class are measured.
    unit : str
        Unit of the samples: "mV", "uV", "µV" or "V".

    Returns
    -------
    BeatIntervals
        `pr`, `qrs` and `qt`: each has `ms`, `uncertainty_ms`, or a `reason` why it is not measurable.

    Raises
    ------
    ValueError
        For a signal that is not the one that was analysed, and for a unit that is no voltage.

    Examples
    --------
    >>> from agent import analyse, example, measure_typical_beat
    >>> ecg, fs = example("101", seconds=60)
    >>> found = measure_typical_beat(ecg, analyse(ecg, fs, unit="mV"), unit="mV")
    >>> print(found.qrs)
    86 ± 20 ms
    """
    if check_unit(unit) not in UNITS_MV:
        raise ValueError(f"unit must be a voltage, not {unit!r}: waves are measured in millivolts")
    signal = _check_leads(ecg)
    length = round(analysis.coverage.duration_s * analysis.fs)
    if len(signal) != length:
        raise ValueError(f"ecg must be the signal that was analysed, {length} samples, not {len(signal)}")
    labels = [beat.label for beat in analysis.beats]
    commonest = Counter(labels).most_common(1)[0][0] if labels else ""
    chosen = np.array([label == commonest for label in labels], bool)
    return measure_signal_intervals(signal * UNITS_MV[unit], analysis.r_peaks, analysis.fs, chosen)


def _check_leads(ecg: ArrayLike) -> NDArray[np.float64]:
    """Return one lead or several (n, leads) as float64; masked samples become NaN."""
    array = np.ma.asarray(ecg) if np.ma.isMaskedArray(ecg) else np.asarray(ecg)
    if array.ndim != 2 or not array.shape[1]:
        return check_samples(ecg)[:, None]
    return np.stack([check_samples(array[:, lead]) for lead in range(array.shape[1])], axis=1)
