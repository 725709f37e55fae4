"""Recorded electrode noise added to a stream at a chosen signal-to-noise ratio.

The noise is that of the MIT-BIH Noise Stress Test Database (Moody, Muldrow & Mark 1984, doi:10.13026/C2HS3T): `ma`
muscle artefact, `bw` baseline wander. The ratio is defined as WFDB's `nst` defines it:

    SNR = 10 log10 (S / N),   S = A² / 8,   N = R²

A is the mean peak-to-peak amplitude of the QRS complexes, so S is the power of a sine wave as high as they are; R is
the mean RMS amplitude of the noise. Both means leave out the highest and the lowest 5 %. A is measured in each lead
within 50 ms of each of the first 300 annotated beats that are neither ventricular nor fusion beats; R in the first 300
windows of one second, each with its own mean removed.

Differences from `nst`: only beats of the first five minutes count for A; a record without such annotations is measured
in windows of two seconds instead; noise is added from the first sample on, without clean stretches, and starts at a
seeded place of the noise record, whose mean is removed.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agent.wire.record_chunks import sent_signals
from model.errors import ConfigError, RecordError
from model.records.resample import resample_signal
from model.records.wfdb_records import Record, embedded_noises, open_record, read_record_samples, read_reference

Array = NDArray[np.float64]

MEASURED_S = 300
"""Seconds of a record whose beats are measured."""
MOST_MEASURED = 300
"""Beats or windows that are measured at most, as in WFDB's `sigamp`."""
TRIMMED_SHARE = 1 / 20
"""Share of the measurements that is left out at each end."""


class StressNoise:
    """Noise for one record: `add` depends on the sample index only, so that blocks of any size give the same stream."""

    def __init__(self, record: Record, kind: str, snr_db: float, seed: int) -> None:
        """Raises ConfigError where `kind` is not an embedded noise or `snr_db` is not a finite number."""
        if kind not in embedded_noises():
            raise ConfigError(f"no noise {kind!r}: choose one of {', '.join(embedded_noises())}")
        if not np.isfinite(snr_db):
            raise ConfigError(f"a signal-to-noise ratio of {snr_db} dB makes no sense: give a finite number")
        if seed < 0:
            raise ConfigError(f"seed {seed} is negative: give 0 or more")
        columns = np.array(sent_signals(record))
        self._noise = _unit_noise(kind)[:, np.arange(len(columns)) % 2]  # noise signals take turns, as in nst
        self._gains = 10 ** (-snr_db / 20) * qrs_amplitude(record)[columns] / np.sqrt(8)
        self._offset = int(np.random.default_rng(seed).integers(len(self._noise)))

    def add(self, first: int, samples: Array) -> Array:
        """Return (n, leads) `samples` from index `first` at 125 Hz, in the record's units, with noise added."""
        places = np.arange(self._offset + first, self._offset + first + len(samples)) % len(self._noise)
        noisy: Array = samples + self._gains * self._noise[places]
        return noisy


def qrs_amplitude(record: Record) -> Array:
    """Measure A of the module's formula for each lead: (leads,) in the lead's unit, 0 for a lead without a signal."""
    samples = read_record_samples(record, 0, round(MEASURED_S * record.fs))
    reach = round(0.05 * record.fs)
    peaks = _measured_r_peaks(record)
    peaks = peaks[(peaks >= reach) & (peaks < len(samples) - reach)][:MOST_MEASURED]
    if not len(peaks):
        return _trimmed_mean(np.ptp(_measured_windows(samples, round(2 * record.fs)), axis=1))
    return _trimmed_mean(np.ptp(samples[peaks[:, None] + np.arange(-reach, reach + 1)], axis=1))


def _measured_r_peaks(record: Record) -> NDArray[np.int64]:
    """Return (n,) annotated beats that are neither ventricular nor fusion beats, at the record's rate."""
    try:
        peaks, classes = read_reference(record).beats()
    except RecordError:
        return np.empty(0, np.int64)  # most records in the world have no annotations
    return peaks[np.isin(classes, ["N", "S", "Q"])]


def noise_amplitude(samples: Array, fs: float) -> Array:
    """Measure R of the module's formula for (n, signals) noise at `fs` hertz: (signals,) in its unit."""
    return _trimmed_mean(_measured_windows(samples, round(fs)).std(axis=1))


@lru_cache(maxsize=2)
def _unit_noise(kind: str) -> Array:
    """Read a noise record at 125 Hz, (n, 2) of mean 0 and R = 1, measured before resampling removes some of it."""
    record = open_record(kind)
    samples = read_record_samples(record)
    samples = (samples - samples.mean(axis=0)) / noise_amplitude(samples, record.fs)
    return resample_signal(samples, record.fs)


def _measured_windows(samples: Array, length: int) -> Array:
    """Cut (n, signals) samples into the first windows (windows, length, signals); one shorter window if need be."""
    length = max(1, min(length, len(samples)))
    count = min(len(samples) // length, MOST_MEASURED)
    return samples[: count * length].reshape(count, length, -1)


def _trimmed_mean(values: Array) -> Array:
    """Average (n, columns) over rows without the highest and lowest 5 % of each column, leaving out NaN."""
    means = np.zeros(values.shape[1])
    for column, measured in enumerate(values.T):
        kept = np.sort(measured[~np.isnan(measured)])
        cut = int(len(kept) * TRIMMED_SHARE)
        if len(kept):
            means[column] = kept[cut : len(kept) - cut].mean()
    return means
