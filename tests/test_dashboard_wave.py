import numpy as np
import pytest

from agent.core.messages import FloatArray
from agent.dashboard.digits import DIGIT_PIXELS, DIGIT_STROKES, large_digit_rows
from agent.dashboard.wave_raster import (
    HEIGHTS_MV,
    VoltageWindow,
    column_spans,
    fit_window,
    place_sweep,
    raster_trace,
    raster_traces,
    to_code_points,
)

NAN = float("nan")
UNIT = VoltageWindow(0.0, 1.0)


def floats(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float32)


def text(low: FloatArray, high: FloatArray, window: VoltageWindow, rows: int, ascii_only: bool = False) -> list[str]:
    codes = raster_trace(low, high, window, rows, ascii_only)
    return ["".join(map(chr, row)) for row in to_code_points(codes, ascii_only).tolist()]


def test_place_is_index_modulo_length() -> None:
    """Each sample stands at its index modulo the sweep, and what is about to be written over is empty."""
    ramp = np.arange(100, 130, dtype=np.float32)
    placed = place_sweep(ramp, head=130, length=8, erased=2)
    assert np.array_equal(placed, floats(128, 129, NAN, NAN, 124, 125, 126, 127), equal_nan=True)


def test_short_wave() -> None:
    """Before the first sweep is full, the rest of it is empty."""
    placed = place_sweep(floats(1, 2, 3), head=3, length=6, erased=1)
    assert np.array_equal(placed, floats(1, 2, 3, NAN, NAN, NAN), equal_nan=True)


@pytest.mark.parametrize("dots", [50, 120, 150, 400])
def test_the_past_stands_still(dots: int) -> None:
    """From frame to frame nothing changes but the columns of the new samples and those ahead of them."""
    wave = np.random.default_rng(1).normal(size=3000).astype(np.float32)
    length, erased, step = 250, 12, 13
    for head in range(1000, 1500, step):
        before = column_spans(place_sweep(wave[:head], head, length, erased), dots)
        after = column_spans(place_sweep(wave[: head + step], head + step, length, erased), dots)
        at = (np.arange(dots) * length // dots - (head - 2 - length // dots)) % length
        past = at > step + erased + 2 * (length // dots) + 4
        assert past.sum() > dots // 2
        for old, new in zip(before, after, strict=True):
            assert np.array_equal(old[past], new[past], equal_nan=True)


def test_no_peak_is_lost() -> None:
    """A single sample's peak is in its column, however many samples that holds."""
    wave = np.zeros(1000, dtype=np.float32)
    wave[503] = 2.0
    low, high = column_spans(wave, 10)
    assert np.argmax(high) == 5
    assert (low == 0).all()


def test_columns_are_joined() -> None:
    """A step is a line without holes: the column after it reaches back to the value before it."""
    low, high = column_spans(floats(0, 0, 1, 1), 4)
    assert low.tolist() == [0, 0, 0, 1]
    assert high.tolist() == [0, 0, 1, 1]


def test_missing_is_empty_and_not_bridged() -> None:
    """A column without values is empty, and no line leads across it."""
    low, high = column_spans(floats(0, NAN, 1, 1), 4)
    assert np.array_equal(low, floats(0, NAN, 1, 1), equal_nan=True)
    assert np.array_equal(high, floats(0, NAN, 1, 1), equal_nan=True)


def test_braille_dots() -> None:
    """Top and bottom of the window are the first and last row of dots; an empty column has none."""
    values = floats(1, 0, NAN, NAN)
    assert text(values, values, UNIT, 1) == ["\u2881 "]
    assert text(floats(0, 0), floats(1, 1), UNIT, 2) == ["⣿", "⣿"]


def test_ascii_strokes() -> None:
    """ASCII draws thirds of a character, and a full one as a bar."""
    values = floats(1, 0.5, 0, NAN)
    assert text(values, values, UNIT, 1, ascii_only=True) == ["'-. "]
    assert text(floats(0), floats(1), UNIT, 1, ascii_only=True) == ["|"]


def test_beyond_the_window() -> None:
    """What lies beyond the window runs along its edge, infinity included."""
    values = floats(9, -9, np.inf, -np.inf)
    assert text(values, values, UNIT, 1, ascii_only=True) == ["'.'."]


@pytest.mark.parametrize("scale", [0.1, 0.4, 1.0, 3.0, 9.0])
def test_window_holds_the_wave(scale: float) -> None:
    """The window is the smallest step that holds the wave."""
    wave = (scale * np.sin(np.arange(1250) / 20) + 0.3).astype(np.float32)
    window = fit_window(wave)
    assert window.height in HEIGHTS_MV
    assert window.bottom <= wave.min()
    assert wave.max() <= window.top
    assert window.height == 0.5 or window.height < 4 * 2 * scale


def test_window_stands_still() -> None:
    """While a noisy wave sweeps through, its window stays the same; a spike does not change it either."""
    random = np.random.default_rng(2)
    wave = (np.sin(np.arange(20000) / 20) + random.normal(size=20000) * 0.05).astype(np.float32)
    wave[7000] = 50.0
    window = fit_window(wave[:1250])
    for head in range(1250, 20000, 13):
        assert fit_window(wave[head - 1250 : head], window) == window


def test_window_follows_a_change() -> None:
    """A wave that outgrows its window gets a larger one at once, and one that became small a smaller one."""
    wave = np.sin(np.arange(1250) / 20).astype(np.float32)
    window = fit_window(wave)
    assert fit_window(3 * wave, window).height > window.height
    assert fit_window(0.2 * wave, window).height < window.height


def test_chosen_height_stays() -> None:
    """A height that a person chose is kept whatever the wave does, with the baseline in view."""
    wave = np.zeros(1250, dtype=np.float32)
    wave[::100] = wave[1::100] = 4.0
    window = fit_window(wave, None, 1.0)
    assert window.height == 1.0
    assert window.bottom < 0 < window.top
    assert fit_window(wave, window, 1.0) == window


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(("length", "rows"), [(500, 1), (500, 3), (30, 2)])
def test_many_waves_are_drawn_as_each_alone(length: int, rows: int, ascii_only: bool) -> None:
    """Waves drawn together have the same dots as each by itself, also with gaps and without any value."""
    waves = np.random.default_rng(2).normal(size=(4, length)).astype(np.float32)
    waves[1, length // 3 : length // 2] = NAN
    waves[2] = NAN
    windows = [VoltageWindow(-2.0, 4.0), VoltageWindow(0.0, 1.0), UNIT, VoltageWindow(-0.1, 0.5)]
    together = raster_traces(*column_spans(waves, 36), windows, rows, ascii_only)
    alone = [
        raster_trace(*column_spans(one, 36), window, rows, ascii_only)
        for one, window in zip(waves, windows, strict=True)
    ]
    np.testing.assert_array_equal(together, np.stack(alone))
    assert together[[0, 1, 3]].any(axis=(1, 2)).all()


def test_nothing_to_fit() -> None:
    """A wave without values keeps the window before it, or has one around zero."""
    nothing = np.full(10, np.nan, dtype=np.float32)
    assert fit_window(nothing) == VoltageWindow(-1.0, 2.0)
    assert fit_window(nothing, UNIT) == UNIT
    assert fit_window(nothing, UNIT, 4.0).height == 4.0


def test_figures_are_even() -> None:
    """All large figures of a size have the same width and height, so that the rate does not jump about."""
    assert set(DIGIT_PIXELS) == set(DIGIT_STROKES)
    for scale, ascii_only in ((1, False), (2, False), (1, True)):
        sizes = {
            (len(rows), *map(len, rows))
            for rows in (large_digit_rows(char, scale, ascii_only) for char in DIGIT_PIXELS)
        }
        assert len(sizes) == 1
    assert large_digit_rows("1 ", 1, True) == ("       ", "  |    ", "  |    ")
