"""agent.report: signal quality, strips, charts, and the pages of the PDF, against what was worked out by hand."""

import re
from io import BytesIO
from itertools import combinations

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reportlab.pdfbase.pdfmetrics import stringWidth

from agent.report.document import ReportDocument, ReportFigure, ReportSection, ReportTable
from agent.report.ecg_paper import StripDrawing, StripFlag, strip_picture, typical_beat_picture
from agent.report.pdf_blocks import ELLIPSIS, MOST_CELL_LINES, build_paragraph, build_table_cell
from agent.report.pdf_report import write_pdf_document
from agent.report.picture import (
    PathShape,
    Picture,
    TextShape,
    blend_on_white,
    extend_to_ticks,
    round_ticks,
    split_path_points,
)
from agent.report.signal_quality import NOISY_UV, _find_flat_seconds, _measure_noise_uv
from agent.report.styles import CLASS_COLOURS, date_and_time, duration_in_words, number_or_dash, share_in_percent
from agent.report.svg import render_svg
from agent.report.typical_beats import TypicalBeat
from model.records.wfdb_records import CLASSES

PRINTABLE = st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=" ")


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
    flat, saturated = _find_flat_seconds(wave.astype(np.float32), 125.0, (-5.12, 5.115))
    assert flat.tolist() == [True, False, False, False]
    assert saturated.tolist() == [False, False, True, False]


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


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ([(2.0, "onset"), (6.0, "announced")], [0, 0]),
        ([(2.0, "onset"), (2.2, "announced")], [0, 0]),
        ([(0.1, "onset"), (0.3, "announced"), (0.5, "end")], [1, 2, 0]),
        ([(5.0, "onset"), (5.0, "announced"), (5.0, "end")], [0, 0, 1]),
        ([(9.9, "announced")], [0]),
    ],
)
def test_words_of_a_strip_stand_off_the_trace(flags: list[tuple[float, str]], levels: list[int]) -> None:
    """Words beside flags stand above the letters of the beats, the time below the paper, and nothing on anything."""
    chance = np.random.default_rng(1)
    wave = chance.uniform(-1, 2, 1250).astype(np.float32)
    marks = tuple(StripFlag(at_s, word, "#b3261e") for at_s, word in flags)
    picture = strip_picture(StripDrawing(wave, [(2.0, "V"), (5.0, "N")], marks, ("10:00:00",), "II", "a strip"))
    (trace,) = (shape for shape in picture.shapes if isinstance(shape, PathShape) and shape.round)
    low, high = float(trace.points[:, 1].min()), float(trace.points[:, 1].max())
    texts = {shape.text: shape for shape in picture.shapes if isinstance(shape, TextShape)}
    letter = texts["V"].y
    assert letter < low
    assert texts["10:00:00"].y - texts["10:00:00"].size * 0.75 > high
    words = {word: texts[word] for _, word in flags}
    assert all(text.y <= letter - 8 for text in words.values())
    lines = sorted({text.y for text in words.values()}, reverse=True)
    assert [lines.index(words[word].y) for _, word in flags] == levels
    spans = {}
    for word, text in words.items():
        width = stringWidth(word, "Helvetica-Bold", text.size)
        spans[word] = (text.x if text.anchor == "start" else text.x - width, text.y, width)
    assert all(x >= 0 and x + width <= picture.width for x, _, width in spans.values())
    for (x, y, width), (other_x, other_y, other) in combinations(spans.values(), 2):
        assert y != other_y or x + width <= other_x or other_x + other <= x


def test_a_strip_without_signal_says_so() -> None:
    """All missing, or none at all."""
    for count in (2500, 0):
        picture = strip_picture(StripDrawing(np.full(count, np.nan, np.float32), [], (), (), "II", "nothing"))
        texts = [shape.text for shape in picture.shapes if isinstance(shape, TextShape)]
        assert ("no signal" in texts) == (count > 0)


@pytest.mark.parametrize(("peak_mv", "gain"), [(1.0, 10), (2.9, 10), (3.4, 5), (6.0, 5)])
def test_a_typical_beat_is_not_cut_off(peak_mv: float, gain: int) -> None:
    """Its R peak, which is only a few samples, stands on the paper."""
    typical = np.zeros(396, np.float32)
    typical[142:146] = peak_mv
    beat = TypicalBeat("N", typical, np.stack([typical, typical]), 9, 360.0, 144, 9, 0.8)
    picture = typical_beat_picture([beat])
    thick = [shape for shape in picture.shapes if isinstance(shape, PathShape) and shape.width == 1.8]
    assert np.ptp(thick[0].points[:, 1]) == pytest.approx(peak_mv * gain / 25.4 * 72)


def test_svg_shows_what_is_drawn() -> None:
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
    assert date_and_time(-5) == "day 1, 00:00:00"
    assert date_and_time(1e300).startswith("9999-12-31")
    assert blend_on_white("#000000", 0.5) == "#808080"
    assert len(set(CLASS_COLOURS.values())) == 5


@pytest.mark.slow
@hypothesis.settings(deadline=None)  # the first text with rare letters loads a font
@given(st.text(PRINTABLE, max_size=3000), st.floats(40, 300), st.booleans())
def test_text_is_fitted(text: str, width: float, bold: bool) -> None:
    """Whatever a cell holds, it wraps inside its column, takes no more than part of a page, and is cut only if long."""
    cell = build_table_cell(text, width, "l", bold)
    if isinstance(cell, str):
        assert stringWidth(cell, "Helvetica-Bold" if bold else "Helvetica", 8) <= width
        return
    used_width, height = cell.wrap(width - 6, 10_000)
    assert used_width <= width
    assert height < 300
    shown = "".join(fragment.text for fragment in build_paragraph(text, 8, width - 6).frags)
    assert shown.endswith(ELLIPSIS) == (text.endswith(ELLIPSIS) or len(text) > MOST_CELL_LINES * (width - 6) / 4)


def test_whatever_is_too_tall_for_a_page_still_has_one() -> None:
    """A picture taller than a page is made smaller, and a table longer than one goes on over the next pages."""
    tall = Picture(2000, "tall")
    tall.text(0, 1990, "at the end")
    table = ReportTable(("a", "b"), (("x " * 5000, "y"),) * 60, "lr", (0.05, 0.5), "long")
    section = ReportSection("all", [ReportFigure(tall, "title", "details"), table])
    file = BytesIO()
    write_pdf_document(ReportDocument("title", (("name", "value " * 900),), "warning", "footer", [section]), file)
    assert len(re.findall(rb"/Type /Page\b", file.getvalue())) > 3
    assert len(re.findall(rb"/Type /Outlines", file.getvalue())) == 1
