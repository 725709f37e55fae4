"""Sample indices at the device's rate and at 125 Hz: the one place that converts between them, and how it rounds."""

from fractions import Fraction

from model.records.resample import FS


def first_index_at_125_hz(index: int, ratio: Fraction) -> int:
    """Return the first index at 125 Hz that is not before sample `index` of the device.

    `ratio`: 125 Hz divided by the device's rate, as `model.records.resample.resampling_ratio` returns it. Rounding up
    keeps the two sides of a cut apart: no sample at 125 Hz belongs to both.

    >>> first_index_at_125_hz(3, Fraction(125, 360))
    2
    """
    return -(-index * ratio.numerator // ratio.denominator)


def nearest_index_at_125_hz(index: int, fs: float) -> int:
    """Return the index at 125 Hz that is nearest to sample `index` at `fs` hertz; halves go to the even one."""
    return round(index * FS / fs)


def nearest_device_index(index: int, fs: float) -> int:
    """Return the index at `fs` hertz that is nearest to sample `index` at 125 Hz; halves go to the even one."""
    return index if fs == FS else round(index * fs / FS)
