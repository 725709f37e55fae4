"""The rate of a device: the same heart gives the same beats at 130, 250 and 512 Hz as at 125 Hz."""

from functools import cache
from math import gcd

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from agent.analysis.beat_classifier import load_beat_classifier
from agent.core.config import load_config
from agent.core.messages import Beat, Chunk, End, Lead
from agent.pipeline.pipeline import Pipeline
from model.records.lead_choice import default_lead
from model.records.wfdb_records import open_record, read_record_samples

LEADS = (Lead("MLII", "mV", 200.0, 0.0, -2048, 2047),)
"""The converter of the database: 5 uV a count."""
SECONDS = 120
NEAR = 4
"""Samples of 125 Hz, 32 ms, within which two R peaks are of one beat."""


@cache
def beats_at(name: str, fs: int) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return R peaks (n,) at 125 Hz and classes (n,) of a record that a device of another rate sends."""
    record = open_record(name)
    lead = default_lead(tuple(signal.name for signal in record.signals))
    ecg = read_record_samples(record, 0, round(SECONDS * record.fs))[:, lead]
    common = gcd(fs, round(record.fs))
    ecg = resample_poly(ecg - ecg[0], fs // common, round(record.fs) // common) + ecg[0]
    counts = np.rint(200 * ecg).astype(np.int32)[:, None]
    pipeline = Pipeline(load_config(None, {}), load_beat_classifier("live", "cpu", 1))
    packets = range(0, len(counts), fs)
    messages = [Chunk("1", "run", first, float(fs), LEADS, counts[first : first + fs], 0.0) for first in packets]
    results = pipeline.push([*messages, End("1", "run", len(counts), float(fs))])
    beats = [item for item in results if isinstance(item, Beat)]
    return np.array([beat.sample for beat in beats]), np.array([beat.label for beat in beats])


@pytest.mark.slow
def test_beats_do_not_depend_on_the_rate() -> None:
    """At any rate all beats but one in five hundred are found where they are, and 98 of 100 have the same class."""
    for fs in (130, 250, 512):  # in one test, so that the beats at 125 Hz are found once
        expect_the_beats(fs)


def expect_the_beats(fs: int) -> None:
    found = same = wanted = 0
    for name in ("119", "200", "208", "209"):
        peaks, classes = beats_at(name, fs)
        expected, expected_classes = beats_at(name, 125)
        nearest = np.abs(peaks[:, None] - expected).argmin(axis=1)
        near = np.abs(expected[nearest] - peaks) <= NEAR
        assert len(peaks) - near.sum() <= len(peaks) / 500
        found += len(np.unique(nearest[near]))
        same += (expected_classes[nearest] == classes)[near].sum()
        wanted += len(expected)
    assert wanted > 650
    assert found >= 0.998 * wanted
    assert same >= 0.98 * wanted
