"""What a count of beats is worth: from the model card to session, report and dashboard."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.indexed import CONFIG, chunk
from test_dashboard import frame_of, make, make_bed, shown

from agent.core.class_trust import (
    TRUST_KEY,
    UNKNOWN_TRUST,
    ClassTrust,
    KnownRate,
    decode_class_trust,
    encode_class_trust,
    rate_of_100,
    trust_from_card,
    trust_sentence,
)
from agent.core.config import Config
from agent.core.messages import Beat
from agent.core.views import WardSnapshot
from agent.dashboard.styles import CLASS_MARKS, DOUBTFUL_MARKS
from agent.dashboard.view import DashboardView
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from agent.report.bed_recording import BedRecording
from agent.report.content import build_report_document, find_all
from agent.report.strip_content import build_strip_drawing
from model.training.class_scores import bootstrap_class_intervals, class_confusion_matrix, compute_class_metrics

TRUST = ClassTrust(
    {"N": KnownRate(0.98, (0.97, 0.99)), "S": KnownRate(0.62, (0.41, 0.8)), "V": KnownRate(0.95)},
    {"N": KnownRate(0.99), "S": KnownRate(0.71, (0.5, 0.9)), "V": KnownRate(0.97)},
    22,
)
SENTENCE = "in tests this net found 62 of 100 such beats, and 71 of 100 that it called so were"
INTER_PATIENT = {"protocol": "inter-patient"}
DOUBTFUL = list(DOUBTFUL_MARKS.values())


def card_metrics() -> dict[str, Any]:
    """Metrics of a made-up test on two records, as training writes them."""
    labels = np.repeat([0, 1, 1, 2, 4], [400, 30, 10, 100, 5])
    said = np.repeat([0, 1, 0, 2, 4], [400, 30, 10, 100, 5])
    records = np.where(np.arange(len(labels)) % 2 == 0, "a", "b")
    figures = compute_class_metrics(class_confusion_matrix(labels, said))
    return figures | {"intervals": bootstrap_class_intervals(labels, said, records, by_record=True)}


def test_a_card_says_what_was_found() -> None:
    """Sensitivity and predictivity come from the card; a class with few test beats has none."""
    found = trust_from_card(INTER_PATIENT, card_metrics())
    assert found.sensitivity["S"].share == pytest.approx(0.75)
    assert found.predictivity["N"].share == pytest.approx(400 / 410)
    low, high = found.sensitivity["S"].interval or (1, 0)
    assert low <= 0.75 <= high
    assert set(found.sensitivity) == set(found.predictivity) == {"N", "S", "V"}
    assert found.records == 2


def test_what_says_nothing_claims_nothing() -> None:
    """Patients in both sides, a card without figures or with impossible ones, and broken text are not known."""
    metrics = card_metrics()
    assert trust_from_card({"protocol": "random"}, metrics) == UNKNOWN_TRUST
    assert trust_from_card(INTER_PATIENT, {}) == UNKNOWN_TRUST
    assert trust_from_card(INTER_PATIENT, metrics | {"recall": dict.fromkeys("NSVFQ", 7.0)}) == UNKNOWN_TRUST
    assert trust_from_card(INTER_PATIENT, metrics | {"recall": {}}) == UNKNOWN_TRUST
    assert trust_from_card(INTER_PATIENT, metrics | {"confusion": [[1]]}) == UNKNOWN_TRUST
    hostile = ("", "{", "[" * 100_000, '{"sensitivity": {"S": {"share": 1e99}}}', '{"records": -1}', "null")
    assert {decode_class_trust(text) == UNKNOWN_TRUST for text in hostile} == {True}
    assert encode_class_trust(UNKNOWN_TRUST) == ""
    assert decode_class_trust(encode_class_trust(TRUST)) == TRUST


def test_in_words() -> None:
    """A rate reads 0 or 100 only if it is that, and what is not known is called so."""
    assert [rate_of_100(KnownRate(share)) for share in (0.0, 0.001, 0.623, 0.999, 1.0)] == ["0", "1", "62", "99", "100"]
    assert rate_of_100(None) == "not known"
    assert trust_sentence(TRUST, "S") == SENTENCE
    assert trust_sentence(replace(TRUST, predictivity={}), "S") == "in tests this net found 62 of 100 such beats"
    assert trust_sentence(UNKNOWN_TRUST, "S") == "how many such beats this net finds is not known"


def recorded(folder: Path, text: str | None) -> ClassTrust:
    """Record a little more with a net of which `text` is known; return what the session then says."""
    about = {"version": "9.9", "weights": "live"} | ({} if text is None else {TRUST_KEY: text})
    with Recorder(folder, CONFIG, about, threaded=False):
        pass
    with RecordedSession(folder) as session:
        return decode_class_trust(session.about.get(TRUST_KEY, ""))


def test_a_session_keeps_it(tmp_path: Path) -> None:
    """It stays if the recording goes on with the same net; after another net, or before it was kept, none is known."""
    same = encode_class_trust(TRUST)
    assert recorded(tmp_path / "one", same) == recorded(tmp_path / "one", same) == TRUST
    assert recorded(tmp_path / "one", encode_class_trust(replace(TRUST, records=23))) == UNKNOWN_TRUST
    assert recorded(tmp_path / "one", same) == UNKNOWN_TRUST
    assert recorded(tmp_path / "old", None) == UNKNOWN_TRUST
    assert recorded(tmp_path / "old", same) == UNKNOWN_TRUST


def read_bed(folder: Path, trust: ClassTrust) -> BedRecording:
    """Record half a minute of a bed with a doubtful S beat, and read it back."""
    sure, doubtful = (0.0, 0.9, 0.1, 0.0, 0.0), (0.1, 0.6, 0.3, 0.0, 0.0)
    found = [
        Beat("1", at, at + 60, "S", doubtful if at == 400 else sure, 0.8, 0.0, 75.0, at + 20, run="run")
        for at in range(100, 3700, 100)
    ]
    about = {"weights": "live", TRUST_KEY: encode_class_trust(trust)}
    with Recorder(folder, CONFIG, about, threaded=False) as recorder:
        recorder.push([chunk(0, 3750)], found, 1000.0)
    with RecordedSession(folder) as session:
        return BedRecording(session, "1")


@pytest.mark.parametrize(("trust", "expected"), [(TRUST, SENTENCE), (UNKNOWN_TRUST, "is not known")])
def test_the_report_says_it(tmp_path: Path, settings: Config, trust: ClassTrust, expected: str) -> None:
    """The sentence and the tile of S, and the tables of classes and ectopy carry it; of an old one it is not known."""
    recording = read_bed(tmp_path / "s", trust)
    document = build_report_document(recording, find_all(recording, settings), {}, settings)
    blocks = [repr(block) for section in document.sections for block in section.blocks if "S" in repr(block)]
    assert sum(expected in block.replace("In tests", "in tests") for block in blocks) == 2
    (tiles,) = (block for block in blocks if block.startswith("SummaryTiles"))
    assert ("tests: 62 of 100 found" if trust == TRUST else "tests: not known") in tiles
    (table,) = (block for block in blocks if "caption='Beats by class" in block)
    assert ("62 (41 to 80)" in table) == (trust == TRUST)
    assert ("22 records of other patients" in table) == (trust == TRUST)
    assert "not known" in table


def test_strips_of_the_report_show_doubt(tmp_path: Path) -> None:
    """The letter of a beat below the least confidence is small; one whose confidence is broken stays as it is."""
    recording = read_bed(tmp_path / "s", TRUST)
    recording.beats.confidence[4] = np.nan
    drawing = build_strip_drawing(recording, (0.0, 10.0), (), "a strip", 0.8)
    assert [letter for _, letter in drawing.beats][:6] == ["S", "S", "S", "s", "S", "S"]
    assert {letter for _, letter in build_strip_drawing(recording, (0.0, 10.0), (), "a strip", 0.5).beats} == {"S"}


def ward(*confidences: float, **changes: Any) -> WardSnapshot:
    """One bed whose latest S beats have these confidences."""
    bed = make_bed()
    last = tuple(
        replace(beat, label="S", probabilities=(0.0, sure, 0.0, 0.0, 0.0))
        for beat, sure in zip(bed.beats[-len(confidences) :], confidences, strict=True)
    )
    return make(replace(bed, beats=last), **changes)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
def test_counts_on_the_page_of_a_bed(size: tuple[int, int]) -> None:
    """Beside count and share of a class stands how many of 100 the net found in tests."""
    lines = shown(ward(0.9, class_trust=TRUST), DashboardView(), *size)
    assert any("CLASSES" in line and "share found" in line for line in lines)
    assert any(" 1   3.7%  62%" in line for line in lines)
    assert any("27    in tests" in line for line in lines)
    unknown = shown(ward(0.9), DashboardView(), *size)
    assert any(" 1   3.7%   --" in line for line in unknown)
    assert any("27   not known" in line for line in unknown)


def test_counts_in_the_ward() -> None:
    """On a card S has it beside its count; where counts are large, classes without beats make way."""
    view = DashboardView(overview=True)
    assert "N20 S1(62%) V4 F1 Q1" in "\n".join(shown(ward(0.9, class_trust=TRUST), view, 80, 24))
    bed = make_bed()
    large = replace(bed, rhythm=replace(bed.rhythm, counts=(123_456, 4321, 1234, 0, 0)))
    row = "\n".join(shown(make(large, class_trust=TRUST), view, 80, 24))
    assert "S4321(62%) V1234" in row
    assert "F0" not in row


@pytest.mark.parametrize("overview", [True, False])
def test_doubtful_letters_are_dim(overview: bool) -> None:
    """Letters of beats below the least confidence are dim, in ASCII small, on trace, list and card; others are not."""
    snapshot = ward(0.9, 0.7, least_confidence=0.8)
    view = DashboardView(overview=overview)
    marks = [part for line in frame_of(snapshot, view, 120, 36).lines for part in line if part.text == "S"]
    assert {mark.style for mark in marks} >= {CLASS_MARKS["S"], DOUBTFUL_MARKS["S"]}
    small = [part for line in frame_of(snapshot, replace(view, ascii=True), 120, 36).lines for part in line]
    assert DOUBTFUL_MARKS["S"] in {part.style for part in small if part.text == "s"}
    assert DOUBTFUL_MARKS["S"] not in {part.style for part in small if part.text == "S"}
    sure = replace(snapshot, least_confidence=0.5)
    assert not [part for line in frame_of(sure, view, 120, 36).lines for part in line if part.style in DOUBTFUL]
