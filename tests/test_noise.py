"""simulator.noise: calibrated noise."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import wfdb

from model.records.wfdb_records import open_record, read_record_samples, read_reference
from simulator.noise import StressNoise, noise_amplitude, qrs_amplitude

RECORD = open_record("118")


def test_ratio_is_that_of_nst() -> None:
    """The ratio measured from the streams, by the formula of nst, is the one that was asked for."""
    silence = np.zeros((225_695, 2))
    for kind, snr_db in (("ma", 6.0), ("bw", -6.0)):
        noise = StressNoise(RECORD, kind, snr_db, seed=1).add(0, silence)
        measured = 10 * np.log10(qrs_amplitude(RECORD) ** 2 / 8 / noise_amplitude(noise, 125) ** 2)
        # The stretch measured here lies elsewhere than the one that calibrates, and has lost what is above 62.5 Hz.
        np.testing.assert_allclose(measured, snr_db, atol=4)


def test_decibels() -> None:
    """20 dB more make the noise ten times smaller, exactly."""
    silence = np.zeros((1000, 2))
    loud, quiet = (StressNoise(RECORD, "ma", snr_db, 0).add(0, silence) for snr_db in (0, 20))
    np.testing.assert_allclose(loud, 10 * quiet, rtol=1e-12)


def test_qrs_amplitude() -> None:
    """The amplitude of the QRS is close to the median of what the annotated beats span."""
    samples, (peaks, classes) = read_record_samples(RECORD), read_reference(RECORD).beats()
    spans = [np.ptp(samples[p - 18 : p + 19], axis=0) for p, c in zip(peaks, classes, strict=True) if c == "N"]
    np.testing.assert_allclose(qrs_amplitude(RECORD), np.median(spans[:300], axis=0), rtol=0.05)


def test_without_annotations(tmp_path: Path) -> None:
    """A record without annotations is measured in windows instead: the same within a third for a clean record."""
    record = open_record("100")
    wfdb.wrsamp(
        "bare",
        fs=360,
        units=["mV", "mV"],
        sig_name=["a", "b"],
        p_signal=read_record_samples(record, 0, 360 * 120),
        fmt=["16", "16"],
        write_dir=str(tmp_path),
    )
    found = qrs_amplitude(open_record(str(tmp_path / "bare")))
    np.testing.assert_allclose(found, qrs_amplitude(record), rtol=0.33)


def test_paced_record() -> None:
    """A record of paced beats only has an amplitude too."""
    assert (qrs_amplitude(open_record("107")) > 0.5).all()


def test_flat_lead(tmp_path: Path) -> None:
    """A lead that is flat, or has next to no values, gets no noise; the others do."""
    signal = np.stack([np.zeros(3600), np.full(3600, np.nan), np.sin(np.arange(3600) / 9)], axis=1)
    signal[-1, 1] = 1.0
    wfdb.wrsamp(
        "flat",
        fs=360,
        units=["mV"] * 3,
        sig_name=["a", "b", "c"],
        p_signal=signal,
        fmt=["16"] * 3,
        write_dir=str(tmp_path),
    )
    noisy = StressNoise(open_record(str(tmp_path / "flat")), "ma", 6, 0).add(0, np.zeros((500, 3)))
    assert (noisy[:, :2] == 0).all()
    assert noisy[:, 2].std() > 0


@pytest.mark.parametrize("sizes", [[1] * 40, [7, 0, 20, 13], [40]])
def test_any_cut(sizes: list[int]) -> None:
    """The noise depends on the sample index only: any cut of the stream gives the same, across its end too."""
    noise = StressNoise(RECORD, "bw", 6, 3)
    near_the_end = 225_695 - noise._offset - 20
    clean = np.random.default_rng(0).normal(size=(40, 2))
    edges = np.cumsum([0, *sizes])
    parts = [noise.add(near_the_end + a, clean[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), noise.add(near_the_end, clean))


def test_wraps_round() -> None:
    """After its last sample the noise begins again."""
    noise = StressNoise(RECORD, "ma", 6, 3)
    silence = np.zeros((100, 2))
    np.testing.assert_array_equal(noise.add(0, silence), noise.add(225_695, silence))


def test_seeds() -> None:
    """The same seed gives the same noise, another seed another place in it."""
    silence = np.zeros((100, 2))
    first, same, other = (StressNoise(RECORD, "ma", 6, seed).add(0, silence) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_input_untouched() -> None:
    """The clean samples are left as they are, and missing ones stay missing."""
    clean = np.full((10, 2), np.nan)
    assert np.isnan(StressNoise(RECORD, "ma", 6, 0).add(0, clean)).all()
    clean = np.zeros((10, 2))
    StressNoise(RECORD, "ma", 6, 0).add(0, clean)
    assert not clean.any()
