"""agent.report: rates, pauses, runs, quality, templates and drawing, against what was worked out by hand."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.indexed import NOW

from agent.report.bed_recording import RecordedBeats
from agent.report.ecg_paper import StripDrawing, StripFlag, strip_picture
from agent.report.findings import (
    BeatFindings,
    bin_extremes,
    choose_time_bins,
    compute_beat_findings,
    count_by_bin,
    find_consecutive_beats,
    rolling_rates,
)
from agent.report.pdf_page import ELLIPSIS, fit_text_line, measure_text_width, wrap_paragraph
from agent.report.picture import (
    PathShape,
    Picture,
    TextShape,
    blend_on_white,
    column_envelope,
    extend_to_ticks,
    round_ticks,
    split_path_points,
)
from agent.report.signal_quality import NOISY_UV, _count_flat_seconds, _measure_noise_uv
from agent.report.styles import CLASS_COLOURS, date_and_time, duration_in_words, number_or_dash, share_in_percent
from agent.report.svg import render_svg
from model.records.wfdb_records import CLASSES


def beats(labels: str, rr: list[float] | None = None) -> RecordedBeats:
    """Beats of classes; `rr` in seconds ends at each (the first has none)."""
    rr_s = np.array(rr if rr is not None else [np.nan, *[0.8] * (len(labels) - 1)])
    at_s = np.cumsum(np.nan_to_num(rr_s, nan=5.0))
    return RecordedBeats(
        at_s, np.array([CLASSES.index(x) for x in labels], np.int8), rr_s, np.zeros(len(labels), np.int32)
    )


def found_in(made: RecordedBeats) -> BeatFindings:
    return compute_beat_findings(made, np.ones(len(made), bool))


def test_rates_by_hand() -> None:
    """Eight intervals of 0.5 s are 120 a minute; none where one of the eight is unknown."""
    rate = rolling_rates(np.array([np.nan, *[0.5] * 8, 1.0, np.nan, *[0.5] * 8]))
    assert np.isnan(rate[:8]).all()
    assert rate[8] == pytest.approx(120)
    assert rate[9] == pytest.approx(60 * 8 / 4.5)
    assert np.isnan(rate[10:18]).all()
    assert rate[18] == pytest.approx(120)
    assert len(rolling_rates(np.array([0.5]))) == 1


def test_a_standstill_is_in_no_rate() -> None:
    """An interval of four seconds counts for no rate, so that an arrest is not told as a slow heart; it is a pause."""
    rr_s = np.array([np.nan, *[0.8] * 8, 25.0, *[0.8] * 8])
    rate = rolling_rates(rr_s)
    assert np.isnan(rate[9:17]).all()
    assert (rate[8], rate[17]) == (pytest.approx(75), pytest.approx(75))


def test_runs_couplets_and_bigeminy_by_hand() -> None:
    """VV is a couplet, VVV and longer are runs; a hole ends them; N V N V N V counts as bigeminy."""
    made = beats("NVVNVVVNVVVVVNSSSN")
    found = found_in(made)
    assert found.couplets == {"V": 1, "S": 0}
    assert found.run_count == {"V": 2, "S": 1}
    assert [len(run) for run in found.runs["V"]] == [5, 3]
    assert found.runs["V"][0].rate == pytest.approx(75)
    assert found.share("V") == pytest.approx(100 * 10 / 18)
    cut = beats("NVVVVN", [np.nan, 0.8, 0.8, np.nan, 0.8, 0.8])
    assert [len(run) for run in find_consecutive_beats(cut, "V")] == [2, 2]
    assert found_in(beats("NNVNVNVNN")).bigeminy == 3
    assert found_in(beats("NNVNVNN")).bigeminy == 0


def test_pauses_by_hand() -> None:
    """RR intervals of 2 s or more, the longest first; none where the signal is not believed."""
    made = beats("NNNNN", [np.nan, 2.0, 1.99, 3.5, 0.8])
    found = found_in(made)
    assert (found.pauses, found.pause_count) == ((3, 1), 2)
    noisy = compute_beat_findings(made, np.array([True, True, True, False, True]))
    assert (noisy.pauses, noisy.pause_count) == ((1,), 1)


def test_nothing_is_found_in_nothing() -> None:
    """No beats: no figures, and no error."""
    found = found_in(beats("", []))
    assert (found.total, found.slowest, found.pauses, found.runs["V"]) == (0, None, (), ())
    assert found.share("V") == 0


def test_hours_lie_on_the_clock() -> None:
    """Parts of a day begin at full hours, those of ten minutes at full minutes; all time is in one."""
    started = NOW + 1234
    day = choose_time_bins(started, 86_400.0)
    assert day.step_s == 3600
    assert len(day) == 25
    assert ((day.edges + started) % 3600 == pytest.approx(0, abs=1e-6)) or np.allclose(
        (day.edges + started + 1) % 3600, 1
    )
    assert choose_time_bins(started, 600.0).step_s == 60
    assert choose_time_bins(None, 0.0).edges[0] == 0
    assert len(choose_time_bins(started, 300 * 86_400.0)) <= 60


@given(st.floats(0, 3e7), st.floats(0, 2e9))
def test_all_time_is_in_few_parts(length_s: float, started_s: float) -> None:
    parts = choose_time_bins(started_s, length_s)
    assert parts.edges[0] <= 0
    assert parts.edges[-1] >= length_s - 1e-3
    assert 1 <= len(parts) <= 60
    assert all(a < b for a, b in pairwise(parts.edges.tolist()))


def test_counts_and_extremes_by_part() -> None:
    """Every beat is counted once; least, mean and greatest of a part are those of its values."""
    made = beats("NNVNNSNNQN" * 30)
    parts = choose_time_bins(0.0, float(made.at_s[-1]))
    counts = count_by_bin(made, parts)
    assert counts.sum() == 300
    assert counts.sum(axis=0).tolist() == [210, 30, 30, 0, 30]
    values = np.array([1.0, np.nan, 5.0, 3.0])
    least, mean, most = bin_extremes(values, np.array([0.0, 1.0, 2.0, 70.0]), choose_time_bins(0.0, 180.0))
    assert (least[0], mean[0], most[0], most[1]) == (1, 3, 5, 3)
    assert np.isnan(mean[2])


def test_noise_is_measured_in_microvolts() -> None:
    """White noise of 50 µV is 50 µV at 125 and at 500 Hz taken together by fours; QRS complexes hardly change it."""
    chance = np.random.default_rng(1)
    quiet = (0.05 * chance.standard_normal(7500)).astype(np.float32)
    assert _measure_noise_uv(quiet, 125.0) == pytest.approx(50, rel=0.05)
    beating = quiet.copy()
    beating[::100] += 1.0
    assert _measure_noise_uv(beating, 125.0) == pytest.approx(50, rel=0.15)
    assert _measure_noise_uv((0.05 * chance.standard_normal(30_000)).astype(np.float32), 500.0) == pytest.approx(
        25, rel=0.05
    )
    assert np.isnan(_measure_noise_uv(np.full(7500, np.nan, np.float32), 125.0))
    assert NOISY_UV > 50


def test_flat_and_saturated_seconds() -> None:
    """A second within 20 µV is flat, at a rail saturated; one with a value missing is neither."""
    wave = np.concatenate([np.full(125, 0.1), np.linspace(0, 1, 125), np.full(125, 5.115), np.full(125, np.nan)])
    assert _count_flat_seconds(wave.astype(np.float32), 125.0, (-5.12, 5.115)) == (1, 1)


def test_a_strip_is_to_scale() -> None:
    """Ten seconds are 250 mm, a millivolt 10 mm, and every beat stands above its R peak with its letter."""
    wave = np.zeros(2500, np.float32)
    wave[1250] = 1.0
    strip = StripDrawing(
        wave, [(10.0, "V"), (3.0, "N")], (StripFlag(10.0, "announced", "#b3261e"),), ("10:00:00",), "II", "a strip"
    )
    picture = strip_picture(strip)
    assert picture.width == pytest.approx(250 / 25.4 * 72)
    traces = [shape for shape in picture.shapes if isinstance(shape, PathShape) and shape.round]
    assert len(traces) == 2
    rise = np.ptp(traces[1].points[:, 1])
    assert rise == pytest.approx(10 / 25.4 * 72, rel=1e-6)
    assert np.diff(traces[0].points[:, 0]) == pytest.approx(0.2 / 25.4 * 72)
    letters = {
        shape.text: shape.x for shape in picture.shapes if isinstance(shape, TextShape) and shape.text in CLASSES
    }
    assert letters == {"V": pytest.approx(0.0), "N": pytest.approx(75 / 25.4 * 72)}


def test_a_strip_without_signal_says_so() -> None:
    """All missing, or none at all."""
    for count in (2500, 0):
        picture = strip_picture(StripDrawing(np.full(count, np.nan, np.float32), [], (), (), "II", "nothing"))
        texts = [shape.text for shape in picture.shapes if isinstance(shape, TextShape)]
        assert ("no signal" in texts) == (count > 0)


def test_svg_tells_what_is_seen() -> None:
    """Whole numbers of a twentieth of a point; breaks of a line are moves; text is escaped."""
    picture = Picture(50, 'a <"picture">')
    nan = np.nan
    picture.path(np.array([0, 1, nan, 3, 4.05]), np.array([0, 1, nan, 3, 2.0]), "#000000")
    picture.box((1, 2, 3, 4), "#ff0000", opacity=0.5, title="<one>")
    picture.text(5, 6, "a & b", anchor="end", bold=True, turned=True)
    text = render_svg(picture)
    assert 'd="M0 0l20 20M60 60l21-20"' in text
    assert "&lt;one&gt;" in text
    assert "a &amp; b" in text
    assert '<"' not in text
    assert 'fill="#ff8080"' in text
    assert re.search(r'viewBox="0 0 \d+ 1000"', text)


def test_pieces_of_a_broken_line() -> None:
    """NaN anywhere breaks; nothing is left of nothing."""
    points = np.array([[np.nan, 0], [1, 1], [2, 2], [np.nan, np.nan], [3, 3]])
    assert [piece.tolist() for piece in split_path_points(points, 10)] == [[[10, 10], [20, 20]], [[30, 30]]]
    assert split_path_points(np.full((2, 2), np.nan), 1) == []


def test_an_envelope_keeps_every_peak() -> None:
    """However few columns there are, the least and the greatest value are in it."""
    y = np.random.default_rng(0).standard_normal(10_000)
    x, low, high = column_envelope(np.arange(10_000.0), y, 50, 0.0, 10_000.0)
    assert len(x) == 50
    assert low.min() == y.min()
    assert high.max() == y.max()
    assert len(column_envelope(np.zeros(1), np.full(1, np.nan), 5, 0.0, 1.0)[0]) == 0


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_round_and_inside(low: float, span: float, most: int) -> None:
    found = round_ticks(low, low + span, most)
    assert len(found) <= most + 1
    assert all(low - 1e-6 * span - 1e-9 <= value <= low + span * (1 + 1e-6) + 1e-9 for value in found)
    begin, end = extend_to_ticks(low, low + span, most)
    assert begin <= low + 1e-6 * span + 1e-9
    assert end >= low + span * (1 - 1e-6) - 1e-6


def test_words() -> None:
    """Numbers as a person reads them; a dash where there is none; never 0 or 100 % where it is not."""
    assert [duration_in_words(s) for s in (7.25, 250, 3600 * 23 + 300)] == ["7.2 s", "4 min 10 s", "23 h 05 min"]
    assert [number_or_dash(None), number_or_dash(float("nan")), number_or_dash(1234.5, 1, "ms")] == [
        "\u2014",
        "\u2014",
        "1,234.5 ms",
    ]
    assert [share_in_percent(s) for s in (0, 0.01, 50, 99.99, 100)] == [
        "0.0 %",
        "< 0.1 %",
        "50.0 %",
        "> 99.9 %",
        "100.0 %",
    ]
    assert date_and_time(-5) == "1970-01-01 00:00:00"
    assert date_and_time(1e300).startswith("9999-12-31")
    assert blend_on_white("#000000", 0.5) == "#808080"
    assert len(set(CLASS_COLOURS.values())) == 5


@pytest.mark.slow
@given(st.text(max_size=60), st.floats(20, 300))
def test_text_is_fitted(text: str, width: float) -> None:
    """Whatever a text holds, it is no wider than its place, and is cut only where it has to be."""
    found = fit_text_line(text, 8, width)
    assert measure_text_width(found, 8) <= width or found == ELLIPSIS
    assert found == text or found.endswith(ELLIPSIS)
    assert all(measure_text_width(line, 8) <= width or line == ELLIPSIS for line in wrap_paragraph(text, 8, width))
