"""How good the analysed lead is, minute by minute: what is missing, flat, at the rails, and how much noise there is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.analysis.lead_state import RAIL_MARGIN
from agent.core.messages import FloatArray
from agent.report.bed_recording import BedRecording, TimeArray
from model.records.resample import FS

MINUTE_S = 60.0
FLAT_MV = 0.02
"""A second whose values all lie within this is flat."""
NOISY_UV = 100.0
"""In a minute with more no rate and no pause is believed."""
NOISE_OF_MEDIAN = 1000 / (0.6745 * 6**0.5)
"""Microvolts of white noise for the median of |second differences| in mV: they have six times its variance."""


@dataclass(frozen=True, slots=True, eq=False)
class SignalQuality:
    """Of each minute (n,) of the time line: seconds `recorded` with a value, of those `flat` and `saturated`.

    `noise_uv`: high-frequency noise in microvolts rms (NaN where there is too little signal to tell).
    """

    recorded: TimeArray
    flat: TimeArray
    saturated: TimeArray
    noise_uv: TimeArray

    def clear(self, at_s: TimeArray) -> NDArray[np.bool_]:
        """Which times lie in a minute whose noise is small enough to believe what was found in it."""
        minute = np.clip((at_s // MINUTE_S).astype(np.int64), 0, len(self.noise_uv) - 1)
        return ~(self.noise_uv[minute] > NOISY_UV)

    @property
    def recorded_s(self) -> float:
        return float(self.recorded.sum())


def measure_signal_quality(reading: BedRecording) -> SignalQuality:
    """All of a recording, a minute at a time in memory."""
    minutes = max(1, int(np.ceil(reading.length_s / MINUTE_S)))
    recorded, flat, saturated, noise, weight = (np.zeros(minutes) for _ in range(5))
    for at_s, fs, rails, wave in _read_minute_pieces(reading):
        minute = min(minutes - 1, max(0, int(at_s // MINUTE_S)))
        there = ~np.isnan(wave)
        recorded[minute] += there.sum() / fs
        still, railed = _count_flat_seconds(wave, fs, rails)
        flat[minute] += still
        saturated[minute] += railed
        found = _measure_noise_uv(wave, fs)
        if np.isfinite(found):
            noise[minute] += found * len(wave)
            weight[minute] += len(wave)
    return SignalQuality(
        np.minimum(recorded, MINUTE_S),
        np.minimum(flat, MINUTE_S),
        np.minimum(saturated, MINUTE_S),
        np.divide(noise, weight, out=np.full(minutes, np.nan), where=weight > 0),
    )


def _read_minute_pieces(reading: BedRecording) -> Iterator[tuple[float, float, tuple[float, float], FloatArray]]:
    """Time, rate, rails in mV and wave of the signal, no piece of which crosses a minute."""
    for segment in reading.segments:
        begin = reading.time_of(segment.run, segment.first * FS / segment.fs)
        if begin is None:
            continue
        rails, start = reading.rails(segment), 0
        while start < segment.count:
            at_s = begin + start / segment.fs
            left_s = MINUTE_S - at_s % MINUTE_S
            stop = min(segment.count, start + max(1, round(left_s * segment.fs)))
            yield at_s + 0.5 / segment.fs, segment.fs, rails, reading.millivolts(segment, start, stop)
            start = stop


def _count_flat_seconds(wave: FloatArray, fs: float, rails: tuple[float, float]) -> tuple[int, int]:
    """How many whole seconds are flat, and how many of those stand at a rail."""
    size = max(2, round(fs))
    seconds = wave[: len(wave) // size * size].reshape(-1, size)
    if not len(seconds):
        return 0, 0
    low, high = seconds.min(axis=1), seconds.max(axis=1)  # NaN where a value is missing
    still = high - low < FLAT_MV
    margin = RAIL_MARGIN * (rails[1] - rails[0])
    railed = still & ((low <= rails[0] + margin) | (high >= rails[1] - margin))
    return int(still.sum()) - int(railed.sum()), int(railed.sum())


def _measure_noise_uv(wave: FloatArray, fs: float) -> float:
    """Robust against the QRS complexes, which are a small part of the time."""
    factor = max(1, round(fs / FS))
    if factor > 1:
        wave = wave[: len(wave) // factor * factor].reshape(-1, factor).mean(axis=1)
    bends: NDArray[np.float32] = np.abs(wave[2:] - 2 * wave[1:-1] + wave[:-2])
    bends = bends[~np.isnan(bends)]
    return NOISE_OF_MEDIAN * float(np.median(bends)) if len(bends) >= FS else float("nan")
