"""agent.analysis.count_conversion: counts of many beds as millivolts, in C as in NumPy."""

import numpy as np
import pytest

from agent.analysis import count_conversion
from agent.analysis.count_conversion import convert_counts
from agent.core.messages import MISSING
from model.compiled.library import load_library

built = pytest.mark.skipif(load_library() is None, reason="the parts in C were not built: no C compiler (cc)")


@pytest.mark.parametrize("in_c", [pytest.param(True, marks=built), False])
def test_values_and_what_is_plain(in_c: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are chosen in their order; a missing value, a pulse and a last step that may be one are not plain."""
    if not in_c:
        monkeypatch.setattr(count_conversion, "load_library", lambda: None)
    counts = np.zeros((4, 6, 3), np.int32) + np.array([1000, 5, 250], np.int32)
    counts[1, 2, 1] = MISSING  # in a column that is not asked for
    counts[2, 3, 2] = MISSING
    counts[3, 5, 0] = 9000
    offsets, scales = np.full((4, 2, 1), 50.0), np.full((4, 2, 1), 0.001)
    x, plain = convert_counts(counts, (2, 0), offsets, scales)
    assert x.dtype == np.float32
    assert x[0].tolist() == [[np.float32(0.2)] * 6, [np.float32(0.95)] * 6]
    assert plain.tolist() == [True, True, False, False]
    counts[0, 2, 0] = 9000
    assert not convert_counts(counts, (0,), offsets[:, :1], scales[:, :1])[1][0]


@built
def test_in_c_the_values_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, of any number of beds, samples and leads; what does not fit is refused."""
    random, plain_beds = np.random.default_rng(0), 0
    for step in range(400):
        beds, n, width = (int(random.integers(1, most)) for most in (20, 40, 4))
        columns = tuple(random.permutation(width)[: int(random.integers(1, width + 1))].tolist())
        counts = random.normal(0, (60, 300, 2000)[step % 3], (beds, n, width)).astype(np.int32)
        counts[random.random(counts.shape) < 0.01 * (step % 2)] = MISSING
        counts[random.random(counts.shape) < 0.02 * (step % 5 == 0)] += 3000
        offsets, scales = random.normal(0, 10, (2, beds, len(columns), 1))
        found = convert_counts(counts, columns, offsets, scales / 2000)
        with monkeypatch.context() as patch:
            patch.setattr(count_conversion, "load_library", lambda: None)
            for ours, theirs in zip(found, convert_counts(counts, columns, offsets, scales / 2000), strict=True):
                np.testing.assert_array_equal(ours, theirs)
        plain_beds += int(found[1].sum())
    assert plain_beds > 500
    with pytest.raises(IndexError, match="with 1"):
        convert_counts(np.zeros((1, 5, 1), np.int32), (1,), np.zeros((1, 1, 1)), np.ones((1, 1, 1)))
    with pytest.raises(ValueError, match="for 2 beds"):
        convert_counts(np.zeros((2, 5, 1), np.int32), (0,), np.zeros((1, 1, 1)), np.ones((1, 1, 1)))
