"""A whole signal at once: its beats, alarms, rhythm and quality, at the caller's own rate."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.core.config import Config
from agent.core.events import Event, GapClosed, LeadStateChanged
from agent.core.messages import Alarm, Beat
from agent.library.live_monitor import Item, Monitor, check_rate, check_signal
from model.records.wfdb_records import CLASSES
from model.rhythm.hrv import measure_time_domain, select_nn_intervals

if TYPE_CHECKING:
    import pandas as pd

RHYTHM_CONDITIONS = frozenset(
    ("asystole", "ventricular fibrillation", "ventricular tachycardia", "atrial fibrillation", "bigeminy", "trigeminy")
)
"""Alarms that name a rhythm."""


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
        A flat or saturated signal.
    noise_s : float
        Too noisy for rates and beats.
    """

    duration_s: float
    missing_s: float
    lead_off_s: float
    noise_s: float


@dataclass(frozen=True, slots=True)
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
    coverage : SignalCoverage
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
        """Return the beats as a pandas DataFrame, a row each. Raise ImportError without pandas."""
        import pandas as pd

        columns = ("sample", "label", "confidence", "rr_s", "heart_rate")
        rows = [[getattr(beat, name) for name in columns] for beat in self.beats]
        frame = pd.DataFrame(rows, columns=list(columns))
        frame.insert(1, "time_s", frame["sample"] / self.fs)
        return frame


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
        One lead; NaN for a sample without a value.
    fs : float
        Sampling rate in hertz, from 20 to 10,000.
    unit : str
        Unit of the samples: "mV", "uV", "µV" or "V".
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
        For a signal that is not one lead of numbers, and rates and units that cannot be analysed.

    Examples
    --------
    >>> from agent import analyse, example
    >>> ecg, fs = example(seconds=30)
    >>> result = analyse(ecg, fs, unit="mV")
    >>> len(result.beats), result.rhythm.counts["V"]
    (44, 15)
    """
    signal = check_signal(ecg)
    monitor = Monitor(fs, unit, config, rails)
    return _collect_analysis([*monitor.push(signal), *monitor.flush()], monitor.fs, len(signal))


def detect_r_peaks(ecg: ArrayLike, fs: float, *, unit: str = "mV") -> NDArray[np.int64]:
    """Return the R peaks of a whole lead: those of the beats that `analyse` finds.

    Parameters
    ----------
    ecg : (n,) array of float
        One lead; NaN for a sample without a value.
    fs : float
        Sampling rate in hertz.
    unit : str
        Unit of the samples. It matters only in that signals under 0.1 mV have no beats.

    Returns
    -------
    (n,) array of int64
        Sample indices at `fs`, in order.
    """
    return analyse(ecg, fs, unit=unit).r_peaks


def example(record: str = "208", seconds: float | None = None) -> tuple[NDArray[np.float64], float]:
    """Return a lead of an embedded record of the MIT-BIH Arrhythmia Database, and its rate.

    Parameters
    ----------
    record : str
        Its name; `ecg-agent simulate list` shows all 48.
    seconds : float, optional
        Only the first part of it.

    Returns
    -------
    ecg : (n,) array of float64
        Millivolts of the lead that the monitor would choose.
    fs : float
        360.0 Hz.

    Notes
    -----
    Moody & Mark 2001, doi:10.1109/51.932724.
    """
    from model.errors import RecordError
    from model.records.wfdb_records import default_lead, open_record, read_record_samples

    try:
        opened = open_record(record)
    except RecordError as error:
        raise ValueError(str(error)) from error
    stop = opened.length if seconds is None else min(opened.length, round(seconds * opened.fs))
    lead = default_lead(tuple(signal.name for signal in opened.signals))
    return read_record_samples(opened, 0, stop)[:, lead], float(opened.fs)


def _collect_analysis(items: list[Item], fs: float, length: int) -> SignalAnalysis:
    beats = tuple(item for item in items if isinstance(item, Beat))
    alarms = {(item.condition, item.onset): item for item in items if isinstance(item, Alarm)}
    events = tuple(item for item in items if isinstance(item, Event))
    return SignalAnalysis(
        check_rate(fs),
        beats,
        tuple(alarms.values()),
        events,
        _rhythm_findings(beats, tuple(alarms.values()), fs),
        _coverage(tuple(alarms.values()), events, fs, length),
    )


def _rhythm_findings(beats: tuple[Beat, ...], alarms: tuple[Alarm, ...], fs: float) -> RhythmFindings:
    counts = Counter(beat.label for beat in beats)
    at_s = np.array([beat.sample / fs for beat in beats])
    rr_s = np.array([np.nan if beat.rr_s is None else beat.rr_s for beat in beats])
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


def _coverage(alarms: tuple[Alarm, ...], events: tuple[Event, ...], fs: float, length: int) -> SignalCoverage:
    missing = sum(event.count for event in events if isinstance(event, GapClosed))
    off, since = 0, None
    for event in events:
        if isinstance(event, LeadStateChanged):
            off += event.sample - since if since is not None else 0
            since = None if event.state == "ok" else event.sample
    off += length - since if since is not None else 0
    noise = sum((alarm.ended or length) - alarm.onset for alarm in alarms if alarm.condition == "noise")
    return SignalCoverage(length / fs, missing / fs, off / fs, noise / fs)
