"""Checks of what a caller passes: every refusal is a ValueError of one line that says what to do."""

from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.core.config import Config
from agent.core.lead_units import is_ecg_unit
from model.errors import clean_error_text
from model.records.resample import LEAST_RESAMPLING_FS

HIGHEST_FS = 10_000.0
"""Highest sampling rate of a signal in hertz."""


def check_number(value: object, name: str) -> float:
    """Return a finite number as a float. Raise ValueError, with the `name` of the argument, if it is none."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not isfinite(number := float(value)):  # type: ignore[arg-type]  # a number by then
        raise ValueError(f"{name} must be a finite number, not {clean_error_text(repr(value))}")
    return number


def check_rate(fs: object) -> float:
    """Return a sampling rate in hertz as a float. Raise ValueError if it is none of an ECG."""
    rate = check_number(fs, "fs, the sampling rate in hertz,")
    if not LEAST_RESAMPLING_FS <= rate <= HIGHEST_FS:
        raise ValueError(f"fs must be from {LEAST_RESAMPLING_FS:g} to {HIGHEST_FS:g} Hz, not {rate:.10g}")
    return rate


def check_unit(unit: object) -> str:
    """Return the unit of a voltage or of raw counts. Raise ValueError if it is another, or none."""
    if not isinstance(unit, str) or not is_ecg_unit(unit):
        known = "'mV', 'uV', 'µV', 'nV' or 'V', or 'counts' where nobody knows how many are a millivolt"
        raise ValueError(f"unit must be {known}, not {clean_error_text(repr(unit))}")
    return unit


def check_rails(rails: object) -> tuple[float, float]:
    """Return the two rails of a converter. Raise ValueError if they are not two ascending numbers."""
    if not isinstance(rails, tuple | list | np.ndarray) or len(rails) != 2:
        raise ValueError(f"rails must be two numbers, (low, high), not {clean_error_text(repr(rails))}")
    low, high = (check_number(rail, "each of the rails") for rail in rails)
    if low >= high:
        raise ValueError(f"rails must ascend, (low, high), not ({low:g}, {high:g})")
    return low, high


def check_config(config: object) -> Config:
    """Return settings. Raise ValueError for anything but a Config."""
    if not isinstance(config, Config):
        raise ValueError(f"config must be what agent.load_config returns, not {clean_error_text(repr(config))}")
    return config


def check_samples(samples: ArrayLike) -> NDArray[np.float64]:
    """Return one lead as a new array (n,) float64; masked samples become NaN.

    Raises
    ------
    ValueError
        For anything but a one-dimensional array of finite real numbers and NaN.
    """
    try:
        array = np.ma.asarray(samples) if np.ma.isMaskedArray(samples) else np.asarray(samples)
    except (ValueError, TypeError) as error:
        raise ValueError("samples must have the shape (n,), one lead: these have rows of different lengths") from error
    if array.ndim == 0:
        raise ValueError(f"samples must be an array (n,) of numbers, not {type(samples).__name__}")
    if array.ndim != 1:
        raise ValueError(f"samples must have the shape (n,), one lead, not {array.shape}: choose a column")
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"samples must be real numbers, not {array.dtype}: convert them to float, NaN for those without a value"
        )
    with np.errstate(over="ignore"):  # of a long double: refused below
        values = np.ma.filled(array.astype(np.float64), np.nan)
    if np.isinf(values).any():
        raise ValueError("samples must be finite: replace infinite ones, by NaN if they hold no value")
    return values
