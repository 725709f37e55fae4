"""Turn samples into the characters of a sweeping trace.

The place of a sample on the screen is its index modulo the length of the sweep, as on a bedside monitor: the drawn wave
stays in place until the next sweep overwrites it. Each column of dots spans the lowest to the highest value of its
samples, joined to the column before, so that no peak is lost however many samples a column holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import FloatArray

DotCodes = NDArray[np.uint8]
CodePoints = NDArray[np.uint32]

HEIGHTS_MV = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)
"""Millivolts that the height of the screen may show."""
RANGE_MARGIN = 1.15
"""Least ratio of the screen's height to the wave's range, so that the wave does not touch the edges."""
SAMPLES_PER_SPIKE = 200
"""One sample in this many may lie beyond either edge, so that spikes do not set the scale."""

BRAILLE_DOTS = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
"""Bit in U+2800 to U+28FF of each dot of a Braille character, row by row: 4 rows of 2."""
BRAILLE_CELL, ASCII_CELL = (4, 2), (3, 1)
"""Rows and columns of dots in a character."""
ASCII_STROKES = " '-'.|.|"
"""ASCII character for each set of dots, top dot first: none, upper, middle, both, lower, ..."""


@dataclass(frozen=True, slots=True)
class VoltageWindow:
    """The millivolts shown, from `bottom` upwards over `height`."""

    bottom: float
    height: float

    @property
    def top(self) -> float:
        """Return the millivolts at the upper edge."""
        return self.bottom + self.height


def fit_window(wave: FloatArray, before: VoltageWindow | None = None, height: float | None = None) -> VoltageWindow:
    """Return the window for a wave, which is `before` as long as that still fits, so that the picture stays steady.

    Parameters
    ----------
    wave : ndarray, shape (n,), float32
        Samples in mV; those that are not finite are ignored.
    before
        The window shown until now.
    height
        Millivolts that the user chose; None for the smallest of HEIGHTS_MV that holds the wave without its spikes.

    Returns
    -------
    VoltageWindow
        A wave higher than the window has its baseline in the lower half.

    Examples
    --------
    >>> fit_window(np.array([-0.2, 0.0, 1.0], dtype=np.float32))
    VoltageWindow(bottom=-0.375, height=1.5)
    """
    finite = wave[np.isfinite(wave)]
    if not len(finite):
        return (
            before if before and height in (None, before.height) else VoltageWindow(-(height or 2.0) / 2, height or 2.0)
        )
    spikes = len(finite) // SAMPLES_PER_SPIKE
    ordered = np.partition(finite, (spikes, len(finite) - 1 - spikes))
    low, high = float(ordered[spikes]), float(ordered[len(finite) - 1 - spikes])
    if before and _window_holds(before, low, high, height):
        return before
    needed = (high - low) * RANGE_MARGIN
    chosen = height or next((step for step in HEIGHTS_MV if step >= needed), HEIGHTS_MV[-1])
    # The lower half leaves most room for R peaks, which point up in most leads
    centre = (low + high) / 2 if needed <= chosen else float(np.median(finite)) + chosen * 0.15
    bottom = round((centre - chosen / 2) / (chosen / 16)) * chosen / 16
    if before and height == before.height and abs(bottom - before.bottom) < chosen / 4 and needed > chosen:
        return before
    return VoltageWindow(bottom, chosen)


def _window_holds(window: VoltageWindow, low: float, high: float, height: float | None) -> bool:
    """Return whether the wave fits into the window and, unless the user chose its height, is not too small in it."""
    if height not in (None, window.height) or low < window.bottom or high > window.top:
        return False
    return height is not None or window.height == HEIGHTS_MV[0] or (high - low) * RANGE_MARGIN > window.height / 3


def place_sweep(wave: FloatArray, head: int, length: int, erased: int) -> FloatArray:
    """Put the last samples of a wave at their places in the sweep.

    Parameters
    ----------
    wave : ndarray, shape (n,), float32
        The latest samples in mV.
    head
        Index of the wave's last sample, plus one.
    length, erased
        Samples of a sweep, and samples that stay empty ahead of `head`.

    Returns
    -------
    ndarray, shape (length,), float32
        The samples in mV, NaN where there are none.
    """
    shown = wave[max(0, len(wave) - (length - erased)) :]
    placed = np.full(length, np.nan, dtype=np.float32)
    start = (head - len(shown)) % length
    first = min(len(shown), length - start)
    placed[start : start + first] = shown[:first]
    placed[: len(shown) - first] = shown[first:]
    return placed


@lru_cache(maxsize=64)
def _column_starts(length: int, dots: int) -> NDArray[np.intp]:
    return -(-np.arange(dots) * length // dots)


def column_spans(placed: FloatArray, dots: int) -> tuple[FloatArray, FloatArray]:
    """Find the lowest and the highest value of each column of dots.

    Parameters
    ----------
    placed : ndarray, shape (..., length), float32
        One sweep, or several, in mV, NaN where there is no sample.
    dots
        Columns of dots.

    Returns
    -------
    tuple of two ndarrays, shape (..., dots), float32
        Lowest and highest value in mV, NaN where a column is empty.
    """
    length = placed.shape[-1]
    if length < dots:  # a sweep of two seconds on a wide screen: interpolate, or columns would stay empty
        places = np.arange(dots) * (length / dots)
        sweeps = [np.interp(places, np.arange(length), sweep) for sweep in placed.reshape(-1, length)]
        placed = np.array(sweeps, dtype=np.float32).reshape(*placed.shape[:-1], dots)
        length = dots
    starts = _column_starts(length, dots)
    low = np.fmin.reduceat(placed, starts, axis=-1)
    high = np.fmax.reduceat(placed, starts, axis=-1)
    # Each column reaches to the last sample of the one before, but not across a gap
    before = placed[..., starts[1:] - 1]
    joined = ~np.isnan(placed[..., starts[1:]])
    low[..., 1:] = np.where(joined, np.fmin(low[..., 1:], before), low[..., 1:])
    high[..., 1:] = np.where(joined, np.fmax(high[..., 1:], before), high[..., 1:])
    return low, high


def raster_trace(low: FloatArray, high: FloatArray, window: VoltageWindow, rows: int, ascii_only: bool) -> DotCodes:
    """Draw one trace, as `raster_traces` draws many: `low` and `high` are (dots,), the codes (rows, columns)."""
    codes: DotCodes = raster_traces(low[np.newaxis], high[np.newaxis], [window], rows, ascii_only)[0]
    return codes


def raster_traces(
    low: FloatArray, high: FloatArray, windows: Sequence[VoltageWindow], rows: int, ascii_only: bool
) -> DotCodes:
    """Draw traces as characters made of dots, all in one call.

    Parameters
    ----------
    low, high : ndarray, shape (n, dots), float32
        Lowest and highest value in mV of each column of dots, NaN where a column is empty.
    windows
        The millivolts that the height of each trace shows, n of them.
    rows
        Rows of characters.
    ascii_only
        Whether a character has 3 rows of 1 dot, instead of 4 rows of 2.

    Returns
    -------
    ndarray, shape (n, rows, columns), uint8
        The set of dots in each character as bits, row by row from the top; 0 where a character is empty.
    """
    tall, wide = ASCII_CELL if ascii_only else BRAILLE_CELL
    last = rows * tall - 1
    tops = np.array([[window.top] for window in windows], dtype=np.float32)
    scale = np.array([[last / window.height] for window in windows], dtype=np.float32)
    upper = (tops - high) * scale + np.float32(0.5)
    lower = (tops - low) * scale + np.float32(0.5)
    # A wave beyond an edge runs along it; an empty column gets an upper end below the screen, so that no dot is lit
    upper = np.fmin(np.maximum(upper, 0), last)
    lower = np.fmax(np.minimum(lower, last), 0)
    upper[np.isnan(low)] = last + 1
    row = _row_numbers(rows * tall)
    lit = (row >= upper.astype(np.int16)[:, np.newaxis]) & (row <= lower.astype(np.int16)[:, np.newaxis])
    cells = lit.reshape(len(low), rows, tall, -1, wide).transpose(0, 1, 3, 2, 4)
    codes: DotCodes = np.packbits(cells.reshape(*cells.shape[:3], tall * wide), axis=3, bitorder="little")[..., 0]
    return codes


@lru_cache(maxsize=64)
def _row_numbers(count: int) -> NDArray[np.int16]:
    return np.arange(count, dtype=np.int16)[:, np.newaxis]


def _braille_point(code: int) -> int:
    bits = sum(dot for i, dot in enumerate(BRAILLE_DOTS) if code >> i & 1)
    return 0x2800 + bits if bits else ord(" ")


_BRAILLE_POINTS = np.array([_braille_point(code) for code in range(256)], dtype=np.uint32)
_STROKE_POINTS = np.array([ord(char) for char in ASCII_STROKES], dtype=np.uint32)


def to_code_points(codes: DotCodes, ascii_only: bool) -> CodePoints:
    """Return the Unicode code points, (..., rows, columns) uint32, of raster codes of that shape; 0 becomes a space."""
    return (_STROKE_POINTS if ascii_only else _BRAILLE_POINTS)[codes]


def dots_across(columns: int, ascii_only: bool) -> int:
    """Return the columns of dots in a number of columns of characters."""
    return columns * (ASCII_CELL if ascii_only else BRAILLE_CELL)[1]
