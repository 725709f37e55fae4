"""Quality of the lead that was heard, part by part: missing, flat and saturated signal, and noise of each minute."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.analysis.lead_state import RAIL_MARGIN
from agent.core.messages import FloatArray
from agent.report.bed_recording import BedRecording, TimeArray
from model.records.resample import FS

MINUTE_S = 60.0
PART_STEPS_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, MINUTE_S)
"""Parts of the time line: a minute holds a whole number of them."""
LEAST_PARTS = 60
"""Parts that a recording has at least, unless they would be shorter than a second."""
FLAT_MV = 0.02
"""A second whose values all lie within this range is flat."""
NOISY_UV = 100.0
"""No rate and no pause is taken from a minute with more noise."""
NOISE_OF_MEDIAN = 1000 / (0.6745 * 6**0.5)
"""Microvolts rms of white noise for a median |second difference| of 1 mV.

Second differences of white noise have six times its variance, and the median of |x| is 0.6745 standard deviations.
"""


@dataclass(frozen=True, slots=True, eq=False)
class SignalQuality:
    """For each part of `part_s` seconds (n,): seconds `recorded`, and how many of them are `flat` and `saturated`.

    `noise_uv`: high-frequency noise of each minute in microvolts rms, NaN with too little signal to measure it.
    """

    recorded: TimeArray
    flat: TimeArray
    saturated: TimeArray
    noise_uv: TimeArray
    part_s: float = MINUTE_S

    def clear(self, at_s: TimeArray) -> NDArray[np.bool_]:
        """Return which times (n,) in seconds lie in a minute with little enough noise for rates and pauses."""
        minute = np.clip((at_s // MINUTE_S).astype(np.int64), 0, len(self.noise_uv) - 1)
        return ~(self.noise_uv[minute] > NOISY_UV)

    @property
    def recorded_s(self) -> float:
        """Seconds of signal in all."""
        return float(self.recorded.sum())


def measure_signal_quality(recording: BedRecording) -> SignalQuality:
    """Measure a whole recording, with one minute in memory at a time."""
    minutes = max(1, int(np.ceil(recording.length_s / MINUTE_S)))
    noise, weight = np.zeros(minutes), np.zeros(minutes)
    part_s = _choose_part_s(recording.length_s)
    recorded, flat, saturated = (np.zeros(max(1, int(np.ceil(recording.length_s / part_s)))) for _ in range(3))
    for at_s, fs, rails, wave in _read_minute_pieces(recording):
        minute = min(minutes - 1, max(0, int(at_s // MINUTE_S)))
        _add_to_parts(recorded, ~np.isnan(wave) / fs, at_s / part_s, fs * part_s)
        size = max(2, round(fs))
        for total, found in zip((flat, saturated), _find_flat_seconds(wave, fs, rails), strict=True):
            _add_to_parts(total, found.astype(np.float64), (at_s + size / fs / 2) / part_s, fs * part_s / size)
        noise_uv = _measure_noise_uv(wave, fs)
        if np.isfinite(noise_uv):
            noise[minute] += noise_uv * len(wave)
            weight[minute] += len(wave)
    return SignalQuality(
        np.minimum(recorded, part_s),
        np.minimum(flat, part_s),
        np.minimum(saturated, part_s),
        np.divide(noise, weight, out=np.full(minutes, np.nan), where=weight > 0),
        part_s,
    )


def _add_to_parts(total: TimeArray, values: TimeArray, begin: float, per_part: float) -> None:
    """Add values (n,) to the parts (parts,) in which they lie; the first lies at `begin` parts."""
    if not len(values):
        return
    first, last = (min(len(total) - 1, max(0, int(at))) for at in (begin, begin + (len(values) - 1) / per_part))
    starts = np.ceil((np.arange(first + 1, last + 1) - begin) * per_part - 1e-6).astype(np.int64)
    starts = np.clip(np.concatenate([[0], starts]), 0, len(values) - 1)
    total[first : last + 1] += np.add.reduceat(values, starts)


def _choose_part_s(length_s: float) -> float:
    """Return the longest parts of which a recording of this length has enough."""
    return next((step for step in reversed(PART_STEPS_S) if length_s / step >= LEAST_PARTS), PART_STEPS_S[0])


def _read_minute_pieces(recording: BedRecording) -> Iterator[tuple[float, float, tuple[float, float], FloatArray]]:
    """Yield time, rate, rails in mV and wave of pieces of the signal, none of which crosses a minute."""
    for segment in recording.segments:
        begin = recording.time_of(segment.run, segment.first * FS / segment.fs)
        if begin is None:
            continue
        start = 0
        while start < segment.count:
            at_s = begin + start / segment.fs
            left_s = MINUTE_S - at_s % MINUTE_S
            # At least one sample, or a rounded piece of nothing would never end.
            stop = min(segment.count, start + max(1, round(left_s * segment.fs)))
            rails = recording.rails(segment, (start + stop) // 2)
            yield at_s + 0.5 / segment.fs, segment.fs, rails, recording.millivolts(segment, start, stop)
            start = stop


def _find_flat_seconds(
    wave: FloatArray, fs: float, rails: tuple[float, float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which whole seconds (seconds,) of the wave (n,) mV are flat inside the rails, and flat at a rail."""
    size = max(2, round(fs))
    seconds = wave[: len(wave) // size * size].reshape(-1, size)
    if not len(seconds):
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    low, high = seconds.min(axis=1), seconds.max(axis=1)  # NaN if a value is missing
    flat = high - low < FLAT_MV
    margin = RAIL_MARGIN * (rails[1] - rails[0])
    saturated = flat & ((low <= rails[0] + margin) | (high >= rails[1] - margin))
    return flat & ~saturated, saturated


def _measure_noise_uv(wave: FloatArray, fs: float) -> float:
    """Return the noise of a wave (n,) mV in microvolts rms.

    The median ignores the QRS complexes, which take a small part of the time.
    """
    # Averaged to about 125 Hz first, so that devices of all rates are measured in the same band.
    factor = max(1, round(fs / FS))
    if factor > 1:
        wave = wave[: len(wave) // factor * factor].reshape(-1, factor).mean(axis=1)
    bends: NDArray[np.float32] = np.abs(wave[2:] - 2 * wave[1:-1] + wave[:-2])
    bends = bends[~np.isnan(bends)]
    return NOISE_OF_MEDIAN * float(np.median(bends)) if len(bends) >= FS else float("nan")
