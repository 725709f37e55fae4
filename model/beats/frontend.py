"""The input of the beat net: how a beat is cut and normalised, both in training and in the monitor.

After Kachuee et al. 2018 (doi:10.1109/ICHI.2018.00092): starting at the R peak, 1.2 times the median RR interval of the
surrounding ten seconds, scaled to 0..1 and padded with zeros to 187 samples at 125 Hz. Two things differ from the
paper: the ten seconds are those before the beat, since a monitor cannot know the later ones, and each beat is scaled by
its own range.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS

BEAT_SAMPLES = 187
RR_STRETCH = 1.2
"""Length of a cut in median RR intervals."""
SURROUNDING_SAMPLES = 10 * FS
"""Samples before a beat whose RR intervals count."""
ASSUMED_RR = FS
"""RR interval, in samples, that is assumed for a beat without another one in the ten seconds before it."""


def cut_length(r_peaks: Sequence[int]) -> int:
    """Return the samples to cut for the last of `r_peaks`, ascending sample indices at 125 Hz of one run."""
    recent = [peak for peak in r_peaks if peak >= r_peaks[-1] - SURROUNDING_SAMPLES]
    intervals = [later - earlier for earlier, later in pairwise(recent)]
    rr = median(intervals) if intervals else ASSUMED_RR
    return min(BEAT_SAMPLES, max(1, round(RR_STRETCH * rr)))


def cut_lengths(r_peaks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `cut_length` (n,) int64 of each of the R peaks (n,) int64 of one record."""
    starts = np.searchsorted(r_peaks, r_peaks - SURROUNDING_SAMPLES)
    peaks = r_peaks.tolist()
    return np.array([cut_length(peaks[start : i + 1]) for i, start in enumerate(starts.tolist())], dtype=np.int64)


def normalise_beats(windows: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """Scale cut beats to 0..1 and pad them with zeros.

    Parameters
    ----------
    windows : (n, 187) float32
        Millivolts at 125 Hz, starting at each R peak.
    lengths : (n,) int64
        How many samples of each window belong to the cut.

    Returns
    -------
    (n, 187) float32
        In 0..1; a flat cut becomes zeros.
    """
    inside = np.arange(windows.shape[1]) < lengths[:, None]
    low = np.where(inside, windows, np.float32(np.inf)).min(axis=1, keepdims=True)
    span = np.where(inside, windows, np.float32(-np.inf)).max(axis=1, keepdims=True) - low
    scaled = (windows - low) / np.where(span > 0, span, np.float32(1))
    return np.where(inside & (span > 0), scaled, np.float32(0))


def cut_beats(lead: NDArray[np.float32], r_peaks: NDArray[np.int64]) -> NDArray[np.float32]:
    """Cut and normalise all beats of a whole lead.

    Parameters
    ----------
    lead : (samples,) float32
        Millivolts at 125 Hz.
    r_peaks : (n,) int64
        R peaks as ascending sample indices.

    Returns
    -------
    (n, 187) float32
        Inputs of the net, in 0..1.
    """
    # The padding lets the last windows reach past the end; their lengths keep it out of the cut.
    padded = np.concatenate([lead, np.zeros(BEAT_SAMPLES, dtype=np.float32)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, BEAT_SAMPLES)[r_peaks]
    return normalise_beats(windows, np.minimum(cut_lengths(r_peaks), len(lead) - r_peaks))
