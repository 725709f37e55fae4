"""agent.report: the charts over time, against what was worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from reportlab.pdfbase.pdfmetrics import stringWidth
from support.indexed import CONFIG, NOW, Message, chunk, gap
from support.reported import beats, signal

from agent.core.config import Config
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from agent.report.axes import make_time_axes
from agent.report.bed_recording import BedRecording
from agent.report.charts import quality_chart, tachogram_chart
from agent.report.content import find_all
from agent.report.picture import BoxShape, PathShape, Picture, TextShape
from agent.report.signal_quality import SignalQuality, measure_signal_quality
from agent.report.styles import CLASS_COLOURS, PRIORITY_COLOURS, RED


def recorded(folder: Path, messages: Sequence[Message], labels: str = "N", stop: int = 37_000) -> BedRecording:
    with Recorder(folder, CONFIG, {}) as recorder:
        recorder.push(messages, beats(0, stop, labels=labels), NOW)
    with RecordedSession(folder) as session:
        return BedRecording(session, "1")


def spans_of(recording: BedRecording, colour: str) -> list[tuple[float, float]]:
    """The seconds that the boxes of a colour in the chart of the signal cover, joined."""
    picture = quality_chart(recording, measure_signal_quality(recording))
    axes = make_time_axes(picture, 0, 1, recording.length_s, (0.0, 1.0))
    per_s = axes.at_x(1.0) - axes.left
    boxes = [shape for shape in picture.shapes if isinstance(shape, BoxShape) and shape.fill == colour]
    spans: list[tuple[float, float]] = []
    for box in boxes[1:]:  # the first is that of the legend
        begin, end = (box.x - axes.left) / per_s, (box.x + box.width - axes.left) / per_s
        if spans and begin < spans[-1][1] + 0.01:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return spans


def test_a_gap_stands_at_its_place(tmp_path: Path) -> None:
    """Of a short recording to a few seconds, also in a last minute that is none."""
    gone: list[Message] = [
        signal(0, 12_500),
        gap(12_500, 16_250),
        signal(16_250, 33_750),
        gap(33_750, 35_000),
        signal(35_000, 35_500),
    ]
    recording = recorded(tmp_path / "s", gone, stop=12_000)
    assert recording.length_s == pytest.approx(284.0)
    first, second = spans_of(recording, RED)
    assert first == pytest.approx((100.0, 130.0), abs=0.3)
    assert second == pytest.approx((270.0, 280.0), abs=2.3)
    quality = measure_signal_quality(recording)
    assert quality.part_s == 2.0
    assert quality.recorded_s == pytest.approx(284 - 40)


def test_flat_signal_stands_at_its_place(tmp_path: Path) -> None:
    """Where the lead was off for ten seconds."""
    flat = chunk(12_500, 13_750, counts=np.zeros((1250, 2), np.int32))
    recording = recorded(tmp_path / "s", [signal(0, 12_500), flat, signal(13_750, 37_500)])
    (span,) = spans_of(recording, PRIORITY_COLOURS["medium"])
    assert span == pytest.approx((100.0, 110.0), abs=0.3)
    assert measure_signal_quality(recording).flat.sum() == pytest.approx(10)


def test_the_signal_is_drawn_only_where_something_is_wrong(tmp_path: Path) -> None:
    """Of a recording without a hole the noise is enough."""
    whole = quality_chart(*measured(recorded(tmp_path / "a", [signal(0, 37_500)])))
    holed = quality_chart(
        *measured(recorded(tmp_path / "b", [signal(0, 20_000), gap(20_000, 21_000), signal(21_000, 37_500)]))
    )
    heads = [
        [shape.text for shape in one.shapes if isinstance(shape, TextShape) and shape.bold] for one in (whole, holed)
    ]
    assert heads == [["Noise"], ["Signal", "Noise"]]
    assert whole.height < 0.6 * holed.height


def measured(recording: BedRecording) -> tuple[BedRecording, SignalQuality]:
    return recording, measure_signal_quality(recording)


@pytest.mark.parametrize("seconds", [30, 300, 3600, 86_400])
def test_the_times_of_a_chart_are_inside_it(seconds: int) -> None:
    """Also the last one, at the right edge."""
    picture = Picture(40, "a chart", 340)
    make_time_axes(picture, 0, 20, seconds, (0.0, 1.0)).clocks(86_400.0)
    for shape in picture.shapes:
        if isinstance(shape, TextShape):
            half = stringWidth(shape.text, "Helvetica", shape.size) / 2
            assert half <= shape.x <= picture.width - half, shape.text


@pytest.mark.parametrize(("hours", "part_s"), [(0.01, 1.0), (0.05, 2.0), (0.1, 5.0), (0.5, 30.0), (1.1, 60.0)])
def test_parts_fit_the_length(tmp_path: Path, hours: float, part_s: float) -> None:
    """At least sixty, or seconds; all parts together are the recording."""
    stop = round(hours * 3600 * 125)
    quality = measure_signal_quality(recorded(tmp_path / "s", [signal(0, stop)], stop=1000))
    assert quality.part_s == part_s
    assert quality.recorded_s == pytest.approx(stop / 125, abs=0.01)
    assert quality.recorded.max() == pytest.approx(min(part_s, stop / 125), abs=0.01)


def test_intervals_have_the_colours_of_their_beats(tmp_path: Path, settings: Config) -> None:
    """Of few beats, with a legend of the classes that there are; of many the shade says how many there are."""
    recording = recorded(tmp_path / "s", [signal(0, 37_500)], "NNV")
    picture = tachogram_chart(recording, 128)
    strokes = {shape.stroke for shape in picture.shapes if isinstance(shape, PathShape)}
    assert {CLASS_COLOURS["N"], CLASS_COLOURS["V"]} <= strokes
    assert CLASS_COLOURS["S"] not in strokes
    assert {"N", "V"} <= {shape.text for shape in picture.shapes if isinstance(shape, TextShape)}
    assert find_all(recording, settings).beats.number("V") == 123
