"""A whole signal at once: its beats, alarms, rhythm and quality, at the caller's own rate."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.core.config import Config
from agent.core.events import Event, LeadStateChanged
from agent.core.messages import Alarm, Beat
from agent.library.argument_checks import check_number, check_samples
from agent.library.live_monitor import Item, Monitor
from model.records.lead_choice import default_lead
from model.records.wfdb_records import CLASSES, embedded_records, open_record, read_record_samples
from model.rhythm.hrv import measure_time_domain, select_nn_intervals

if TYPE_CHECKING:
    import pandas as pd

RHYTHM_CONDITIONS = frozenset(
    ("asystole", "ventricular fibrillation", "ventricular tachycardia", "atrial fibrillation", "bigeminy", "trigeminy")
)
"""Alarms that name a rhythm."""
BLOCK_S = 300.0
"""Seconds of a signal that are analysed at a time, so that a whole day needs little memory."""


@dataclass(frozen=True, slots=True)
class RhythmFindings:
    """The rhythm of a whole signal.

    Attributes
    ----------
    counts : dict of str to int
        Beats of each class N, S, V, F and Q.
    heart_rate_bpm : float or None
        Mean rate over all RR intervals.
    rmssd_ms, sdnn_ms : float or None
        Variability of the NN intervals (Task Force 1996, doi:10.1161/01.CIR.93.5.1043).
    episodes : tuple of Alarm
        Alarms that name a rhythm, such as atrial fibrillation; `onset` and `ended` are sample indices.
    """

    counts: dict[str, int]
    heart_rate_bpm: float | None
    rmssd_ms: float | None
    sdnn_ms: float | None
    episodes: tuple[Alarm, ...]


@dataclass(frozen=True, slots=True)
class SignalCoverage:
    """How much of a signal could be analysed, in seconds.

    Attributes
    ----------
    duration_s : float
        The whole signal.
    missing_s : float
        Samples without a value.
    lead_off_s : float
        A flat or saturated signal, from when that was recognised on.
    noise_s : float
        Signal under an alarm for noise.
    """

    duration_s: float
    missing_s: float
    lead_off_s: float
    noise_s: float


@dataclass(frozen=True, slots=True, repr=False)
class SignalAnalysis:
    """The results of `analyse`. Every sample index is one of the signal that was given, at `fs` hertz.

    Attributes
    ----------
    fs : float
        Sampling rate of the signal in hertz.
    beats : tuple of Beat
        In order: `sample` (R peak), `label`, `confidence`, `probabilities`, `rr_s`, `heart_rate`.
    alarms : tuple of Alarm
        As they stood last: `condition`, `priority`, `text`, `onset`, `announced`, `ended`.
    events : tuple of Event
        Gaps, lead changes, start and end.
    rhythm : RhythmFindings
        Counts, rate, variability and episodes.
    coverage : SignalCoverage
        How much could be analysed.
    """

    fs: float
    beats: tuple[Beat, ...]
    alarms: tuple[Alarm, ...]
    events: tuple[Event, ...]
    rhythm: RhythmFindings
    coverage: SignalCoverage

    @property
    def r_peaks(self) -> NDArray[np.int64]:
        """Sample indices (n,) of the R peaks."""
        return np.array([beat.sample for beat in self.beats], np.int64)

    def beats_frame(self) -> "pd.DataFrame":
        """Return the beats as a pandas DataFrame, one row each. Raise ImportError if pandas is not installed."""
        import pandas as pd

        return pd.DataFrame(
            {
                "sample": self.r_peaks,
                "time_s": self.r_peaks / self.fs,
                "label": [beat.label for beat in self.beats],
                "confidence": np.array([beat.confidence for beat in self.beats], np.float64),
                "rr_s": np.array([beat.rr_s for beat in self.beats], np.float64),
                "heart_rate": np.array([beat.heart_rate for beat in self.beats], np.float64),
            }
        )

    def __repr__(self) -> str:
        """Return one line, however long the signal is."""
        counts = f"{len(self.beats)} beats, {len(self.alarms)} alarms, {len(self.events)} events"
        return f"<SignalAnalysis of {self.coverage.duration_s:g} s at {self.fs:g} Hz: {counts}>"


def analyse(
    ecg: ArrayLike,
    fs: float,
    *,
    unit: str,
    config: Config | None = None,
    rails: tuple[float, float] | None = None,
) -> SignalAnalysis:
    """Analyse a whole lead as the monitor would have, live.

    Parameters
    ----------
    ecg : (n,) array of float
        One lead. A sample without a value is NaN or masked.
    fs : float
        Sampling rate in hertz, from 20 to 10,000.
    unit : str
        Unit of the samples: "mV", "uV", "µV" or "V", or "counts" as in `Monitor`.
    config : Config, optional
        Settings; the defaults of `config.toml` if left out.
    rails : (float, float), optional
        Lowest and highest value of the converter, in `unit`.

    Returns
    -------
    SignalAnalysis
        Beats, alarms, events, rhythm and coverage, with sample indices at `fs`.

    Raises
    ------
    ValueError
        For a signal that is not one lead of numbers, and rates, units and settings that cannot be used.
    CheckpointError
        If the weights that the settings name cannot be read.

    Examples
    --------
    >>> from agent import analyse, example
    >>> ecg, fs = example(seconds=30)
    >>> result = analyse(ecg, fs, unit="mV")
    >>> len(result.beats), result.rhythm.counts["V"]
    (52, 20)
    """
    signal = check_samples(ecg)
    monitor = Monitor(fs, unit, config, rails)
    block = round(BLOCK_S * monitor.fs)
    items = [item for start in range(0, len(signal), block) for item in monitor.push(signal[start : start + block])]
    return _collect_analysis([*items, *monitor.flush()], monitor.fs, signal)


def detect_r_peaks(ecg: ArrayLike, fs: float, *, unit: str = "mV") -> NDArray[np.int64]:
    """Return the R peaks of a whole lead: those of the beats that `analyse` finds.

    Parameters
    ----------
    ecg : (n,) array of float
        One lead. A sample without a value is NaN or masked.
    fs : float
        Sampling rate in hertz, from 20 to 10,000.
    unit : str
        Unit of the samples: "mV", "uV", "µV" or "V", or "counts" as in `Monitor`.

    Returns
    -------
    (n,) array of int64
        Sample indices at `fs`, in order.

    Raises
    ------
    ValueError
        As `analyse`.

    Examples
    --------
    >>> from agent import detect_r_peaks, example
    >>> ecg, fs = example(seconds=5)
    >>> detect_r_peaks(ecg, fs).tolist()
    [46, 210, 484, 697, 855, 1181, 1382, 1584]
    """
    return analyse(ecg, fs, unit=unit).r_peaks


def example(record: str = "208", seconds: float | None = None) -> tuple[NDArray[np.float64], float]:
    """Return a lead of an embedded record of the MIT-BIH Arrhythmia Database, and its rate.

    Parameters
    ----------
    record : str
        Its name, from "100" to "234"; `ecg-agent simulate list` shows all 48.
    seconds : float, optional
        Only the first part of it.

    Returns
    -------
    ecg : (n,) array of float64
        Millivolts of the lead that the monitor would choose.
    fs : float
        360.0 Hz.

    Raises
    ------
    ValueError
        For an unknown record, or seconds that are not positive.

    Notes
    -----
    Moody & Mark 2001, doi:10.1109/51.932724.

    Examples
    --------
    >>> from agent import example
    >>> ecg, fs = example(seconds=10)
    >>> ecg.shape, fs
    ((3600,), 360.0)
    """
    if (name := str(record)) not in embedded_records():
        raise ValueError(f"no record {name!r} in the database: choose one of {', '.join(embedded_records())}")
    opened = open_record(name)
    stop = opened.length
    if seconds is not None:
        if (span := check_number(seconds, "seconds")) <= 0:
            raise ValueError(f"seconds must be positive, not {span:g}")
        stop = min(stop, round(span * opened.fs))
    lead = default_lead(tuple(signal.name for signal in opened.signals))
    return read_record_samples(opened, 0, stop)[:, lead], float(opened.fs)


def _collect_analysis(items: list[Item], fs: float, signal: NDArray[np.float64]) -> SignalAnalysis:
    beats = tuple(item for item in items if isinstance(item, Beat))
    # An alarm comes again at every change: the last state counts.
    alarms = tuple({(item.condition, item.onset): item for item in items if isinstance(item, Alarm)}.values())
    events = tuple(item for item in items if isinstance(item, Event))
    rhythm = _rhythm_findings(beats, alarms, fs)
    return SignalAnalysis(fs, beats, alarms, events, rhythm, _signal_coverage(alarms, events, fs, signal))


def _rhythm_findings(beats: tuple[Beat, ...], alarms: tuple[Alarm, ...], fs: float) -> RhythmFindings:
    counts = Counter(beat.label for beat in beats)
    at_s = np.array([beat.sample / fs for beat in beats])
    rr_s = np.array([beat.rr_s for beat in beats], np.float64)
    nn = select_nn_intervals(at_s, rr_s, np.array([beat.label == "N" for beat in beats], bool))
    measured = measure_time_domain(nn) if len(beats) else None
    known = rr_s[~np.isnan(rr_s)]
    return RhythmFindings(
        {name: counts[name] for name in CLASSES},
        float(60 / known.mean()) if len(known) else None,
        measured.rmssd if measured else None,
        measured.sdnn if measured else None,
        tuple(alarm for alarm in alarms if alarm.condition in RHYTHM_CONDITIONS),
    )


def _signal_coverage(
    alarms: tuple[Alarm, ...], events: tuple[Event, ...], fs: float, signal: NDArray[np.float64]
) -> SignalCoverage:
    length = len(signal)
    changes = [event for event in events if isinstance(event, LeadStateChanged)]
    ends = [*(change.sample for change in changes[1:]), length]
    off = sum(end - change.sample for change, end in zip(changes, ends, strict=False) if change.state != "ok")
    noise = sum(
        (length if alarm.ended is None else alarm.ended) - alarm.onset for alarm in alarms if alarm.condition == "noise"
    )
    return SignalCoverage(length / fs, int(np.isnan(signal).sum()) / fs, off / fs, noise / fs)
