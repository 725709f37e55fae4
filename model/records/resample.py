"""Resampling of a stream at any rate, identical to resampling the whole record at once, however it is cut.

The filter is that of `scipy.signal.resample_poly` (Kaiser window, beta 5, 10 zero crossings on each side). For rates
with a small ratio the result equals `resample_poly(record, up, down)` bit for bit. For others, such as 511.548 Hz, a
filter with one phase for each output would be too long: the same window is looked up in a table, at positions that are
exact over days.
"""

from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from threading import Thread

import numpy as np
from numpy.typing import NDArray

FS = 125
"""Sampling rate of the agent, of the wire and of the net, in hertz."""
ZERO_CROSSINGS = 10
"""Half the width of the resampling filter, in samples of the slower of the two rates."""
KAISER_BETA = 5.0
LARGEST_FACTOR = 4096
"""Ratios with a larger numerator or denominator have no filter of their own but use the table."""
TABLE_STEPS = 1024
"""Values of the table between two zero crossings. Interpolation between them is wrong by less than a millionth."""
OUTPUTS_TOGETHER = 4096
"""Outputs of the table that are computed at a time: their weights take a few megabytes."""
LEAST_RESAMPLING_FS, HIGHEST_RESAMPLING_FS = 20.0, 125_000.0
"""Rates in hertz below or above are refused: they show no ECG, or would need filters of thousands of samples."""


def resampling_ratio(fs: float, target: float = FS) -> Fraction:
    """Return `target / fs` in lowest terms, either to a millionth of a hertz. Raises ValueError if `fs` is no rate."""
    if not LEAST_RESAMPLING_FS <= fs <= HIGHEST_RESAMPLING_FS:
        raise ValueError(f"a sampling rate of {fs} Hz makes no sense")
    return Fraction(target).limit_denominator(10**6) / Fraction(fs).limit_denominator(10**6)


def resampling_delay_s(fs: float, target: float = FS) -> float:
    """Return the seconds of later signal that a resampled sample waits for: half the width of the filter."""
    same_rate = Fraction(fs).limit_denominator(10**6) == target
    return 0.0 if same_rate else ZERO_CROSSINGS * max(1 / fs, 1 / target)


class Resampler:
    """Streaming resampler for (n, leads) signals.

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
        If `fs` is no rate of an ECG, as `resampling_ratio`.
    """

    def __init__(self, fs: float, leads: int, start: int = 0, target: float = FS) -> None:
        step = resampling_ratio(fs, target)
        self.up, self.down = step.numerator, step.denominator
        self._half = ZERO_CROSSINGS * max(self.up, self.down) if step != 1 else 0
        self._by_table = max(self.up, self.down) > LARGEST_FACTOR
        self._taps = _resampling_taps(self.up, self.down) if self._half and not self._by_table else np.ones(1)
        # Zeros before the buffer bring the centre tap onto the output grid. Zero taps would do so too, but they would
        # multiply inputs that the filter does not reach, and spread a NaN depending on how the stream is cut.
        self._zeros_before = 0 if self._by_table else -self._half * pow(self.up, -1, self.down) % self.down
        self.next_output = start
        """Index of the first output that was not returned yet."""
        self.first_input = self._first_needed()
        self._base = self.first_input
        self._buffer = np.empty((0, leads))

    def push(self, samples: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take the next samples (n, leads); return the outputs (m, leads) float64 that they complete."""
        self._buffer = np.concatenate([self._buffer, samples]) if len(samples) else self._buffer
        pushed = self._base + len(self._buffer)
        ready = _divide_up(pushed * self.up - self._half, self.down) if pushed else 0
        return self._emit(ready)

    def flush(self) -> NDArray[np.float64]:
        """Return the remaining outputs (m, leads) float64; nothing may be pushed afterwards."""
        return self._emit(_divide_up((self._base + len(self._buffer)) * self.up, self.down))

    def _emit(self, stop: int) -> NDArray[np.float64]:
        if stop <= self.next_output or not len(self._buffer):
            return np.empty((0, self._buffer.shape[1]))
        result = self._look_up(stop) if self._by_table else self._filter(stop)
        self.next_output = stop
        self._drop_used_inputs()
        return result

    def _filter(self, stop: int) -> NDArray[np.float64]:
        """Return the outputs up to `stop` by the polyphase filter, which at one and the same rate changes nothing."""
        if self.up == self.down:
            return np.asarray(self._buffer[self.next_output - self._base : stop - self._base], np.float64).copy()
        from scipy.signal import upfirdn

        # `upfirdn` starts at the first buffered input; `shift` is where output 0 of the whole stream would be in it.
        shift = (self._half + self._zeros_before * self.up) // self.down - self._base * self.up // self.down
        before, after = (np.zeros((n, self._buffer.shape[1])) for n in (self._zeros_before, self._half // self.up + 1))
        outputs = upfirdn(self._taps, np.concatenate([before, self._buffer, after]), self.up, self.down, axis=0)
        result: NDArray[np.float64] = outputs[self.next_output + shift : stop + shift].copy()
        return result

    def _look_up(self, stop: int) -> NDArray[np.float64]:
        """Return the outputs up to `stop` with the weights of the table, which sum to 1 for each of them."""
        slower = max(self.up, self.down)  # distance of two zero crossings, in parts of 1 / up of an input
        count = 2 * self._half // self.up + 1
        padding = np.zeros((count, self._buffer.shape[1]))
        padded = np.concatenate([padding, self._buffer, padding])
        parts = []
        for begin in range(self.next_output, stop, OUTPUTS_TOGETHER):
            # Relative to the first input that is kept: a product of an index of the stream may need more than 64 bits.
            offset, outputs = begin * self.down - self._base * self.up, min(OUTPUTS_TOGETHER, stop - begin)
            centres = offset + np.arange(outputs, dtype=np.int64) * self.down
            inputs = -((self._half - centres) // self.up)[:, None] + np.arange(count)  # (m, count)
            distances = (inputs * self.up - centres[:, None]) / slower
            weights = np.interp(distances, *_window_table())
            weights /= weights.sum(axis=1, keepdims=True)
            # Inputs that the window just does not reach may not be here yet: a zero of the padding stands for them.
            taken = np.where(np.abs(distances) < ZERO_CROSSINGS, inputs + count, 0)
            parts.append(np.stack([(weights * lead[taken]).sum(axis=1) for lead in padded.T], axis=1))
        return np.concatenate(parts)

    def _first_needed(self) -> int:
        """Return the first input that the next output needs."""
        needed = max(0, (self.next_output * self.down - self._half) // self.up)
        # The polyphase filter starts at a multiple of `down`, so that the phases of input and output stay aligned.
        return needed if self._by_table else needed // self.down * self.down

    def _drop_used_inputs(self) -> None:
        """Drop the inputs that no later output needs."""
        needed = self._first_needed()
        if needed > self._base:
            self._buffer = self._buffer[needed - self._base :]
            self._base = needed


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


def _divide_up(dividend: int, divisor: int) -> int:
    """Return the quotient of whole numbers of any size, rounded up."""
    return -(-dividend // divisor)


def filters_loaded(wait: bool) -> bool:
    """Return whether a resampler works at once; if not, begin to load its filters, and with `wait` wait for them."""
    return _filter_loader.is_done(wait)


@lru_cache(maxsize=16)
def _resampling_taps(up: int, down: int) -> NDArray[np.float64]:
    """Return the filter's taps. They are cached, since a stream needs a new resampler after each gap."""
    from scipy.signal import firwin  # takes a second to import, which a stream at 125 Hz should not pay

    half = ZERO_CROSSINGS * max(up, down)
    taps: NDArray[np.float64] = firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", KAISER_BETA)) * up
    return taps


@lru_cache(maxsize=1)
def _window_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances from the centre in zero crossings, and the filter there."""
    distances = np.arange(-ZERO_CROSSINGS * TABLE_STEPS, ZERO_CROSSINGS * TABLE_STEPS + 1) / TABLE_STEPS
    return distances, np.sinc(distances) * np.kaiser(len(distances), KAISER_BETA)


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
        If `fs` is no rate of an ECG, as `resampling_ratio`.
    """
    resampler = Resampler(fs, samples.shape[1])
    return np.concatenate([resampler.push(samples), resampler.flush()])
