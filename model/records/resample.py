"""Rational resampling of a stream, identical to resampling the whole record at once.

The filter is that of `scipy.signal.resample_poly` (Kaiser window, beta 5, 10 zero crossings on each side), so the
result equals `resample_poly(record, up, down)` bit for bit, however the record is cut into chunks.
"""

from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from math import ceil
from threading import Thread

import numpy as np
from numpy.typing import NDArray

FS = 125
"""Sampling rate of the agent, of the wire and of the net, in hertz."""
ZERO_CROSSINGS = 10
"""Half the width of the resampling filter, in samples of the slower of the two rates."""
LARGEST_FACTOR = 1000
"""Rates whose ratio to FS needs a larger numerator or denominator are refused: their filter would be too long."""

LEAST_RESAMPLING_FS = 20.0
"""Rates in hertz below this are refused: they show no ECG, and resampling would multiply their samples."""


def resampling_ratio(fs: float, target: float = FS) -> Fraction:
    """Return `target / fs` in lowest terms. Raises ValueError if no small exact ratio exists."""
    if not np.isfinite(fs) or fs < LEAST_RESAMPLING_FS:
        raise ValueError(f"a sampling rate of {fs} Hz makes no sense")
    rate = Fraction(fs).limit_denominator(10**6)
    fraction = Fraction(target).limit_denominator(10**6) / rate if rate else Fraction(0)
    if not fraction or max(fraction.numerator, fraction.denominator) > LARGEST_FACTOR:
        raise ValueError(f"{fs:g} Hz has no small ratio to {target:g} Hz")
    return fraction


def resampling_delay_s(fs: float, target: float = FS) -> float:
    """Return the seconds of later signal that a resampled sample waits for: half the width of the filter."""
    same_rate = Fraction(fs).limit_denominator(10**6) == target
    return 0.0 if same_rate else ZERO_CROSSINGS * max(1 / fs, 1 / target)


class Resampler:
    """Streaming polyphase resampler for (n, leads) signals.

    `push` takes the next samples and returns all outputs that they complete; `flush` returns the rest, as if zeros
    followed. Output m has the time of input m * fs / target.

    Parameters
    ----------
    fs, target : float
        Sampling rates of input and output in hertz.
    leads : int
        Number of columns.
    start : int
        Index of the first output to return; `first_input` is then the index of the first input to push.

    Raises
    ------
    ValueError
        If the rates have no small exact ratio, as `resampling_ratio`.
    """

    def __init__(self, fs: float, leads: int, start: int = 0, target: float = FS) -> None:
        step = resampling_ratio(fs, target)
        self.up, self.down = step.numerator, step.denominator
        self._half = ZERO_CROSSINGS * max(self.up, self.down) if step != 1 else 0
        self._taps = _resampling_taps(self.up, self.down) if self._half else np.ones(1)
        # Zeros before the buffer bring the centre tap onto the output grid. Zero taps would do so too, but they would
        # multiply inputs that the filter does not reach, and spread a NaN depending on how the stream is cut.
        self._zeros_before = -self._half * pow(self.up, -1, self.down) % self.down
        self.next_output = start
        """Index of the first output that was not returned yet."""
        # The buffer always starts at a multiple of `down`, so that the phases of input and output stay aligned.
        block = max(0, (start * self.down - self._half) // self.up) // self.down
        self.first_input = block * self.down
        self._base = self.first_input
        self._buffer = np.empty((0, leads))

    def push(self, samples: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take the next samples (n, leads); return the outputs (m, leads) float64 that they complete."""
        self._buffer = np.concatenate([self._buffer, samples]) if len(samples) else self._buffer
        pushed = self._base + len(self._buffer)
        ready = ceil((pushed * self.up - self._half) / self.down) if pushed else 0
        return self._emit(ready)

    def flush(self) -> NDArray[np.float64]:
        """Return the remaining outputs (m, leads) float64; nothing may be pushed afterwards."""
        return self._emit(ceil((self._base + len(self._buffer)) * self.up / self.down))

    def _emit(self, stop: int) -> NDArray[np.float64]:
        if stop <= self.next_output or not len(self._buffer):
            return np.empty((0, self._buffer.shape[1]))
        from scipy.signal import upfirdn

        # `upfirdn` starts at the first buffered input; `shift` is where output 0 of the whole stream would be in it.
        shift = (self._half + self._zeros_before * self.up) // self.down - self._base * self.up // self.down
        before, after = (np.zeros((n, self._buffer.shape[1])) for n in (self._zeros_before, self._half // self.up + 1))
        outputs = upfirdn(self._taps, np.concatenate([before, self._buffer, after]), self.up, self.down, axis=0)
        result: NDArray[np.float64] = outputs[self.next_output + shift : stop + shift].copy()
        self.next_output = stop
        self._drop_used_inputs()
        return result

    def _drop_used_inputs(self) -> None:
        """Drop the inputs that no later output needs."""
        needed = max(0, (self.next_output * self.down - self._half) // self.up)
        block = needed // self.down * self.down
        if block > self._base:
            self._buffer = self._buffer[block - self._base :]
            self._base = block


class _FilterLoader:
    """Loads the filters of SciPy, which takes up to a second, in a thread."""

    def __init__(self) -> None:
        self._thread: Thread | None = None

    def is_done(self, wait: bool) -> bool:
        if self._thread is None:
            self._thread = Thread(target=import_module, args=("scipy.signal",), daemon=True)
            self._thread.start()
        if wait:
            self._thread.join()
        return not self._thread.is_alive()


_filter_loader = _FilterLoader()


def filters_loaded(wait: bool) -> bool:
    """Return whether a resampler works at once; if not, begin to load its filters, and with `wait` wait for them."""
    return _filter_loader.is_done(wait)


@lru_cache(maxsize=16)
def _resampling_taps(up: int, down: int) -> NDArray[np.float64]:
    """Return the filter's taps. They are cached, since a stream needs a new resampler after each gap."""
    from scipy.signal import firwin  # takes a second to import, which a stream at 125 Hz should not pay

    half = ZERO_CROSSINGS * max(up, down)
    taps: NDArray[np.float64] = firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0)) * up
    return taps


def resample_signal(samples: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Resample a whole signal to 125 Hz.

    Parameters
    ----------
    samples : (n, leads) floating
        In any unit.
    fs : float
        Its sampling rate in hertz.

    Returns
    -------
    (m, leads) float64
        At 125 Hz, in the same unit.

    Raises
    ------
    ValueError
        If `fs` has no small exact ratio to 125 Hz, as `resampling_ratio`.
    """
    resampler = Resampler(fs, samples.shape[1])
    return np.concatenate([resampler.push(samples), resampler.flush()])
