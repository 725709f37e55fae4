import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.beats.dataset import read_default_lead
from model.beats.frontend import BEAT_SAMPLES, cut_beats, cut_length, cut_lengths, normalise_beats
from model.records import wfdb_records

Windows = NDArray[np.float32]


def windows(count: int = 20) -> Windows:
    return np.random.default_rng(count).normal(size=(count, BEAT_SAMPLES)).astype(np.float32)


@pytest.mark.parametrize(
    ("r_peaks", "samples"),
    [
        ([0, 100], 120),  # 1.2 RR
        ([0, 100, 200, 320], 120),  # median of 100, 100, 120
        ([0, 100, 220], 132),  # median of two is their mean
        ([0, 101], 121),  # 121.2 is rounded
        ([0, 1], 1),
        ([0, 156], 187),  # 187.2: the longest cut
        ([0, 500], 187),
        ([0, 0], 1),  # two peaks in one place
    ],
)
def test_cut_length(r_peaks: list[int], samples: int) -> None:
    """A cut is 1.2 times the median RR interval long, at least one sample and at most 187."""
    assert cut_length(r_peaks) == samples


def test_first_beat() -> None:
    """A beat without another in the ten seconds before it is cut as if its RR interval were a second."""
    assert cut_length([4711]) == 150
    assert cut_length([0, 1251]) == 150


def test_ten_seconds_count() -> None:
    """An RR interval counts if both its beats lie in the 1250 samples before the beat, the bound included."""
    assert cut_length([0, 50, 1250]) == cut_length([50, 1250])
    assert cut_length([0, 100, 150, 200, 1250]) == 90  # median of 100, 50, 50, 1050 is 75
    assert cut_length([0, 100, 150, 200, 1251]) == 60  # median of 50, 50, 1051 is 50


def test_the_future_does_not_count() -> None:
    """The cut of a beat is the same whatever beats come later."""
    r_peaks = np.cumsum(np.random.default_rng(0).integers(30, 300, 200))
    whole = cut_lengths(r_peaks)
    assert all(cut_lengths(r_peaks[:i])[-1] == whole[i - 1] for i in range(1, 201))


@given(st.lists(st.integers(1, 1500), min_size=1, max_size=50))
def test_lengths_of_a_record(intervals: list[int]) -> None:
    """The lengths of a whole record are those of its beats one by one, each from all the beats before it."""
    r_peaks = np.cumsum(intervals)
    lengths = cut_lengths(r_peaks)
    assert lengths.tolist() == [cut_length(r_peaks[: i + 1].tolist()) for i in range(len(r_peaks))]
    assert lengths.dtype == np.int64
    assert ((lengths >= 1) & (lengths <= BEAT_SAMPLES)).all()


def test_scale() -> None:
    """A cut goes from 0 to 1 by its own range, and is zero after its length."""
    scaled = normalise_beats(np.array([[-1.0, 3.0, 1.0, 50.0]], np.float32), np.array([3]))
    assert scaled.tolist() == [[0, 1, 0.5, 0]]
    assert scaled.dtype == np.float32


@pytest.mark.parametrize("samples", [2, 100, 187])
def test_range_and_padding(samples: int) -> None:
    """Every cut reaches both 0 and 1, and zeros fill it to 187 samples."""
    scaled = normalise_beats(windows(), np.full(20, samples))
    assert (scaled.min(axis=1) == 0).all()
    assert (scaled.max(axis=1) == 1).all()
    assert not scaled[:, samples:].any()


@pytest.mark.parametrize("level", [0.0, 0.3, -5.0])
@pytest.mark.parametrize("samples", [1, 187])
def test_flat_cuts(level: float, samples: int) -> None:
    """A flat cut becomes zeros, not a division by zero."""
    flat = np.full((1, BEAT_SAMPLES), level, np.float32)
    assert not normalise_beats(flat, np.array([samples])).any()


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_what_comes_after_does_not_matter(rubbish: float) -> None:
    """Samples after the length of a cut change nothing, not even NaN."""
    lengths = np.arange(20) * 9 + 1
    inside = np.arange(BEAT_SAMPLES) < lengths[:, None]
    dirty = np.where(inside, windows(), rubbish).astype(np.float32)
    assert np.array_equal(normalise_beats(dirty, lengths), normalise_beats(windows(), lengths))


def test_batch_equals_one_by_one() -> None:
    """A beat is scaled the same alone and in a batch, bit for bit."""
    lengths = np.arange(20) * 9 + 1
    alone = [normalise_beats(windows()[[i]], lengths[[i]]) for i in range(20)]
    assert np.array_equal(np.concatenate(alone), normalise_beats(windows(), lengths))


@given(st.integers(-8, 8), st.integers(-3, 3))
def test_gain_and_offset_do_not_matter(power: int, offset: int) -> None:
    """A beat of another size on another baseline looks the same to the net."""
    rough = (np.round(windows() * 64) / 64).astype(np.float32)  # so that gain and offset are exact
    changed = ((rough + offset) * 2.0**power).astype(np.float32)
    lengths = np.full(20, 150)
    assert np.array_equal(normalise_beats(changed, lengths), normalise_beats(rough, lengths))


def test_no_beats() -> None:
    """No beats are an empty batch."""
    assert normalise_beats(np.empty((0, BEAT_SAMPLES), np.float32), np.empty(0, np.int64)).shape == (0, BEAT_SAMPLES)
    assert cut_beats(np.zeros(1000, np.float32), np.empty(0, np.int64)).shape == (0, BEAT_SAMPLES)


def test_inputs_are_not_changed() -> None:
    """Windows, lengths, lead and peaks stay as they were."""
    given_windows, lengths = windows(), np.full(20, 100)
    lead, r_peaks = given_windows.reshape(-1), np.arange(100, 2000, 97)
    before = given_windows.copy(), lengths.copy(), r_peaks.copy()
    normalise_beats(given_windows, lengths)
    cut_beats(lead, r_peaks)
    assert np.array_equal(given_windows, before[0])
    assert np.array_equal(lengths, before[1])
    assert np.array_equal(r_peaks, before[2])


def test_cut_of_a_lead() -> None:
    """Beats are cut from the R peak on; at the end of the lead the cut is shorter."""
    ramp = np.arange(BEAT_SAMPLES, dtype=np.float32)
    first, last = cut_beats(np.arange(400, dtype=np.float32), np.array([100, 390]))
    assert np.array_equal(first, np.where(ramp < 150, ramp / 149, 0))
    assert np.array_equal(last, np.where(ramp < 10, ramp / 9, 0))


def test_cut_of_a_record() -> None:
    """The batch of a real record is the beats of its lead, each cut and scaled alone."""
    record = wfdb_records.open_record("208")
    lead = read_default_lead(record)
    r_peaks = np.rint(wfdb_records.read_reference(record).beats()[0] * 125 / 360).astype(np.int64)
    beats = cut_beats(lead, r_peaks)
    for i in (0, 1, 7, 100, 1000, len(r_peaks) - 2):
        length = cut_length(r_peaks[: i + 1].tolist())
        own = lead[r_peaks[i] :][:length]
        expected = np.zeros(BEAT_SAMPLES, np.float32)
        expected[:length] = (own - own.min()) / (own.max() - own.min())
        assert np.array_equal(beats[i], expected)
