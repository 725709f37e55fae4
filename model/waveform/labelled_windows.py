"""Strips of signal with partial labels, and their windows: what the waveform classifier is trained on.

Annotations of rhythm are coarse: what one reader calls ventricular tachycardia another calls fibrillation, and a
stretch marked as noise may show beats. So each sample of a strip has a bit for each kind that it may be, and training
excludes only the others. The kinds are `WAVEFORM_KINDS` of `model.waveform.waveform_classifier`.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS
from model.waveform.waveform_classifier import HOP, WAVEFORM_KINDS
from model.waveform.window_features import WINDOW, Floats, WindowFeatures, measure_windows

Array = NDArray[np.float64]
Bits = NDArray[np.uint8]
ORGANISED_BIT, VT_BIT, VF_BIT, NOISE_BIT, ASYSTOLE_BIT = (1 << kind for kind in range(len(WAVEFORM_KINDS)))
LABEL_SPAN = 3 * FS
"""The last samples of a window, whose label is the window's."""
MOST = 0.66
"""Share of them that VT or VF must take."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledStrip:
    """One lead `x` (n,) mV at 125 Hz; `allowed` (n,) bits of the kinds each sample may be, 0 if it is not used.

    `source` is the group that is held out together: a record, or a block of short strips of one database. `record` and
    `lead` are those of a recorded strip.
    """

    source: str
    x: Array
    allowed: Bits
    record: str = ""
    lead: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredStrip:
    """A strip with the features of its windows, one per HOP, that end before the samples `ends` (n,)."""

    strip: LabelledStrip
    ends: NDArray[np.int64]
    features: WindowFeatures


@dataclass(frozen=True, slots=True, eq=False)
class LabelledWindows:
    """Windows: features `numbers` (n, FEATURE_COUNT), `allowed` bits (n,), `weights` (n,), `sources` (n,) names."""

    numbers: Floats
    allowed: Bits
    weights: Floats
    sources: NDArray[np.str_]


def measure_strip(strip: LabelledStrip, step: int = 1) -> MeasuredStrip:
    """Measure every `step`-th window of a strip, of which there is one per HOP."""
    ends = np.arange(WINDOW, len(strip.x) + 1, HOP * step)
    return MeasuredStrip(strip, ends, measure_ending_windows(strip.x, ends))


def label_strip_windows(measured: MeasuredStrip) -> LabelledWindows:
    """Return all windows of a strip, also those without a label (bits 0).

    The label of a window is that of its last three seconds. If a part of them is VT or VF and the rest is organised, it
    is that of VT or VF if these take MOST of it, else none.
    """
    strip, ends = measured.strip, measured.ends
    last = strip.allowed[ends[:, None] - 1 - np.arange(0, LABEL_SPAN, 5)]
    uniform = (last == last[:, :1]).all(axis=1)
    severe = (last > 0) & ((last & ~np.uint8(VT_BIT | VF_BIT)) == 0)
    bursts = (severe | (last == ORGANISED_BIT)).all(axis=1) & (severe.mean(axis=1) >= MOST)
    of_bursts = np.bitwise_or.reduce(np.where(severe, last, 0), axis=1)
    bits = np.where(uniform, last[:, 0], np.where(bursts, of_bursts, 0)).astype(np.uint8)
    whole = (strip.allowed[ends - WINDOW] == bits).astype(np.float32)
    weights = (0.5 + 0.5 * whole).astype(np.float32)
    return LabelledWindows(measured.features.numbers, bits, weights, np.full(len(ends), strip.source))


def measure_ending_windows(x: Array, ends: NDArray[np.int64]) -> WindowFeatures:
    """Measure the windows of `x` (samples,) mV that end before the samples `ends` (n,)."""
    rows = np.lib.stride_tricks.sliding_window_view(np.round(x, 3).astype(np.float32), WINDOW)[ends - WINDOW]
    parts = [measure_windows(np.ascontiguousarray(part)) for part in np.array_split(rows, len(rows) // 64 + 1)]
    return WindowFeatures(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "height", "period"))
    )


def drop_unlabelled(examples: LabelledWindows) -> LabelledWindows:
    """Return the windows that exclude some kind."""
    return select_windows(examples, examples.allowed > 0)


def select_windows(examples: LabelledWindows, rows: NDArray[np.bool_]) -> LabelledWindows:
    """Return the windows that `rows` (n,) selects."""
    return LabelledWindows(*(getattr(examples, name)[rows] for name in LabelledWindows.__slots__))


def concatenate_windows(parts: list[LabelledWindows]) -> LabelledWindows:
    """Join several sets of windows."""
    return LabelledWindows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in LabelledWindows.__slots__)
    )


def digest_windows(examples: LabelledWindows) -> str:
    """Return the SHA-256 (hex) of features and labels."""
    digest = hashlib.sha256(examples.numbers.tobytes())
    digest.update(examples.allowed.tobytes())
    return digest.hexdigest()
