"""agent.monitor.reference_truth: the annotations of a replayed record beside the verdicts, and on the dashboard."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_dashboard import make, make_bed
from test_dashboard_status import text

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config, override_config
from agent.core.messages import Beat
from agent.core.views import LeadWave, ReferenceMark, ReferenceView
from agent.dashboard.bed_trace import bed_trace_lines
from agent.dashboard.styles import UNICODE_GLYPHS
from agent.dashboard.view import SWEEP_SECONDS, DashboardView
from agent.monitor.reference_truth import ReferenceTruth
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import record_chunks
from model.errors import RecordError
from model.formats.signal_file import SignalFileOptions
from model.records.wfdb_records import open_record, read_reference

STATED = SignalFileOptions()
REFERENCE = ReferenceView(
    (ReferenceMark(1100, "N", "N", False), ReferenceMark(1200, "A", "S", True)),
    "AFIB",
    "atrial fibrillation",
    1234,
    1111,
    (1.0, 0.5),
    (None, None),
)


def beat_at(sample: int, label: str, run: str = "one") -> Beat:
    return Beat("208", sample, sample + 50, label, (1.0, 0.0, 0.0, 0.0, 0.0), None, 0.0, run=run)


def test_the_sample_of_a_beat_is_its_place_in_the_record() -> None:
    """The annotated beats themselves, at 125 Hz, agree with the annotations; in every run of the record."""
    truth = ReferenceTruth("208", STATED)
    samples, classes = read_reference(open_record("208")).beats()
    beats = [(round(sample * 125 / 360), label) for sample, label in zip(samples.tolist(), classes, strict=True)]
    truth.push([], [beat_at(sample, label) for sample, label in beats[:500]], 0.0)
    truth.push([], [beat_at(sample, label, "two") for sample, label in beats[2000:2500]], 0.0)
    assert 990 <= truth.score.compared <= 1000
    assert truth.score.agreed == truth.score.compared
    assert truth.summary().startswith(
        f"reference: {truth.score.compared} annotated beats compared, 100.0 % agree, V Se"
    )


@pytest.mark.slow
def test_the_score_of_the_shipped_net(settings: Config, live: BeatClassifier) -> None:
    """The first minutes of record 208, through the pipeline: nearly all beats agree, and the score says how many."""
    pipeline = Pipeline(override_config(settings, "monitor", lead="MLII"), live)
    truth = ReferenceTruth("208", STATED)
    for _, message in zip(range(10), record_chunks(open_record("208"), "run", block_s=30), strict=False):
        truth.push([], pipeline.push([message]), 0.0)
    assert truth.score.compared > 400
    assert truth.score.agreed / truth.score.compared > 0.9


def test_what_a_bed_is_given() -> None:
    """The marks inside its wave, at 125 Hz, and the rhythm of its newest sample; none from before its run."""
    truth = ReferenceTruth("201", STATED)
    wave = np.full(30 * 125, np.nan, np.float32)
    wave[-10 * 125 :] = 0.0
    bed = replace(make_bed("201", wave=wave), head=60 * 125)
    (shown,) = truth.annotate([bed])
    assert shown.reference is not None
    marks = [mark.sample for mark in shown.reference.marks]
    assert 10 <= len(marks) <= 20
    assert all(50 * 125 <= sample < 60 * 125 for sample in marks)
    annotated = read_reference(open_record("201")).beats()[0] * 125 / 360
    assert all(np.abs(annotated - sample).min() <= 0.5 for sample in marks)
    assert (shown.reference.rhythm, shown.reference.rhythm_name) == ("AFIB", "atrial fibrillation")
    assert (shown.reference.compared, shown.reference.veb) == (0, (None, None))


@pytest.mark.parametrize(("size", "name"), [((80, 24), "AF"), ((120, 40), "atrial fibrillation")])
def test_the_page_of_a_bed(size: tuple[int, int], name: str) -> None:
    """The running score is a line of the page, the symbols another one below the letters."""
    plain = make_bed()
    lines = text(make(replace(plain, head=1250, reference=REFERENCE)), size).splitlines()
    score = next(line for line in lines if "REFERENCE" in line)
    assert "1,234 beats 90% agree" in score
    assert "V Se 100% +P 50%" in score
    assert "S Se -- +P --" in score
    assert score.rstrip().endswith(name)
    marks = next(line for line in lines if line.startswith(" ref "))
    assert [letter for letter in marks[5 : 79 if size[0] == 80 else 90] if letter in "NA"] == ["N", "A"]
    assert all(len(line) == size[0] for line in lines)
    foot = next(number for number, line in enumerate(lines) if "grid 0.2 s" in line)
    assert foot - lines.index(marks) > 6
    assert "REFERENCE" not in text(make(plain), size)


@pytest.mark.parametrize("seconds", SWEEP_SECONDS)
@pytest.mark.parametrize("width", [50, 79, 90, 118, 200])
@pytest.mark.parametrize("uncalibrated", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_the_letters_stand_over_one_another(seconds: int, width: int, uncalibrated: bool, second: bool) -> None:
    """The reference's letter has the column of ours for the same beat, with the calibration box and without it."""
    bed = make_bed()
    marks = tuple(ReferenceMark(beat.sample + 1, beat.label, beat.label, False) for beat in bed.beats)
    other = (LeadWave("V5", bed.wave),) if second else ()
    bed = replace(bed, uncalibrated=uncalibrated, other_waves=other, reference=replace(REFERENCE, marks=marks))
    lines = bed_trace_lines(make(bed), bed, DashboardView(seconds=seconds), (width, 24), UNICODE_GLYPHS)
    rows = ["".join(segment.text for segment in line) for line in lines]
    assert [row.startswith(" ref ") for row in rows] == [False, True] + [False] * 22
    assert {len(row) for row in rows} == {width}
    ours, reference = (
        [(column, letter) for column, letter in enumerate(row) if column >= 5 and letter != " "] for row in rows[:2]
    )
    assert [letter for _, letter in ours] == [letter for _, letter in reference] or seconds >= 15
    assert len(ours) >= min(seconds, 10) - 1
    assert all(abs(column - at) <= 1 for (column, _), (at, _) in zip(ours, reference, strict=True))


def test_records_without_annotations(tmp_path: Path) -> None:
    """A record, or a file, without annotations is refused in one line."""
    with pytest.raises(RecordError, match="has no annotations"):
        ReferenceTruth("ma", STATED)
    (tmp_path / "night.csv").write_text("time,MLII (mV)\n" + "".join(f"{i / 250},0.1\n" for i in range(1000)))
    with pytest.raises(RecordError, match="has no annotations"):
        ReferenceTruth(str(tmp_path / "night.csv"), STATED)
