import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.nets.beat_net import build_beat_net
from model.nets.net_size import NetSize
from model.training import class_scores
from model.training.class_scores import (
    bootstrap_class_intervals,
    change_temperature,
    class_confusion_matrix,
    compute_calibration,
    compute_class_metrics,
    fit_temperature,
)

MATRIX = np.array(
    [
        [8, 1, 1, 0, 0],
        [2, 2, 0, 0, 0],
        [0, 0, 3, 0, 1],
        [0, 0, 2, 0, 0],
        [0, 0, 0, 0, 5],
    ]
)
"""Truth in rows: 10 N, 4 S, 4 V, 2 F, 5 Q; 18 of 25 are right."""


def test_confusion() -> None:
    """A beat counts in the row of its class and the column of what was said."""
    labels, said = np.array([0, 0, 1, 4, 4, 4]), np.array([0, 2, 1, 4, 4, 0])
    expected = np.zeros((5, 5), int)
    expected[0, 0] = expected[0, 2] = expected[1, 1] = expected[4, 0] = 1
    expected[4, 4] = 2
    assert np.array_equal(class_confusion_matrix(labels, said), expected)


def test_confusion_of_nothing() -> None:
    """No beats are a matrix of zeros."""
    none = np.empty(0, np.int64)
    assert np.array_equal(class_confusion_matrix(none, none), np.zeros((5, 5)))


def test_figures_by_hand() -> None:
    """Recall, precision and F1 of each class, their means and the accuracy are those computed by hand."""
    found = compute_class_metrics(MATRIX)
    assert found["recall"] == pytest.approx({"N": 8 / 10, "S": 2 / 4, "V": 3 / 4, "F": 0, "Q": 1})
    assert found["precision"] == pytest.approx({"N": 8 / 10, "S": 2 / 3, "V": 3 / 6, "F": 0, "Q": 5 / 6})
    assert found["f1"] == pytest.approx({"N": 4 / 5, "S": 4 / 7, "V": 3 / 5, "F": 0, "Q": 10 / 11})
    assert found["accuracy"] == pytest.approx(18 / 25)
    assert found["balanced_accuracy"] == pytest.approx((0.8 + 0.5 + 0.75 + 0 + 1) / 5)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 4 / 7 + 3 / 5 + 0 + 10 / 11) / 5)
    assert found["confusion"] == MATRIX.tolist()


def test_perfect() -> None:
    """Where all is right every figure is one."""
    found = compute_class_metrics(np.diag([5, 4, 3, 2, 1]))
    assert found["accuracy"] == found["balanced_accuracy"] == found["macro_f1"] == 1


def test_nothing() -> None:
    """No beats give zeros, not a division by zero."""
    found = compute_class_metrics(np.zeros((5, 5), np.int64))
    assert found["accuracy"] == found["balanced_accuracy"] == found["macro_f1"] == 0


def test_a_class_without_beats_is_left_out_of_the_means() -> None:
    """Recall and F1 of a class that the test side lacks are nothing, not 0: the means are over the others."""
    matrix = MATRIX.copy()
    matrix[4] = 0
    found = compute_class_metrics(matrix)
    assert found["classes_present"] == ["N", "S", "V", "F"]
    assert found["balanced_accuracy"] == pytest.approx((0.8 + 0.5 + 0.75 + 0) / 4)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 4 / 7 + 6 / 10 + 0) / 4)
    assert found["recall"]["Q"] == found["precision"]["Q"] == found["f1"]["Q"] == 0


def test_all_classes_are_present() -> None:
    """A class that is never said right is present all the same."""
    assert compute_class_metrics(MATRIX)["classes_present"] == ["N", "S", "V", "F", "Q"]


def test_calibration_by_hand() -> None:
    """Beats go to the bin of their confidence; the error is the mean distance of confidence and accuracy."""
    labels = np.array([0, 1, 2, 2])
    said = np.array([0, 1, 2, 3])
    confidence = np.array([0.99, 0.97, 0.5, 0.52])
    probabilities = np.full((4, 5), 0.01)
    probabilities[np.arange(4), said] = confidence
    found = compute_calibration(labels, probabilities)
    assert [one["beats"] for one in found["bins"]] == [0] * 7 + [2] + [0] * 6 + [2]
    assert found["bins"][14] == {"beats": 2, "confidence": pytest.approx(0.98), "accuracy": 1}
    assert found["bins"][7] == {"beats": 2, "confidence": pytest.approx(0.51), "accuracy": 0.5}
    assert found["bins"][0] == {"beats": 0, "confidence": None, "accuracy": None}
    assert found["ece"] == pytest.approx(0.5 * 0.02 + 0.5 * 0.01)


@pytest.mark.parametrize(("confidence", "expected"), [(1.0, 14), (0.2, 2), (0.21, 3), (1.0 + 1e-7, 14)])
def test_edges_of_the_bins(confidence: float, expected: int) -> None:
    """An upper edge belongs to its bin, and rounding above 1 to the last."""
    probabilities = np.zeros((1, 5))
    probabilities[0, 2] = confidence
    assert compute_calibration(np.array([2]), probabilities)["bins"][expected]["beats"] == 1


def test_calibration_of_nothing() -> None:
    """No beats have no error."""
    assert compute_calibration(np.empty(0, np.int64), np.empty((0, 5)))["ece"] == 0


def beats_of(matrix: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and what was said that make a confusion matrix."""
    cells = np.repeat(np.arange(25), matrix.ravel())
    return cells // 5, cells % 5


def test_intervals_over_beats_are_those_of_the_binomial() -> None:
    """Drawing beats, the interval of a share is p ± 1.96 sqrt(p (1 - p) / n), and it depends on the seed alone."""
    labels, said = beats_of(100 * MATRIX)
    found = bootstrap_class_intervals(labels, said, np.full(len(labels), "100"), by_record=False)
    spread = 1.96 * np.sqrt(0.72 * 0.28 / 2500)
    assert found["accuracy"] == pytest.approx([0.72 - spread, 0.72 + spread], abs=0.003)
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert found["recall"]["N"] == pytest.approx([0.8 - spread, 0.8 + spread], abs=0.005)
    assert (found["unit"], found["units"], found["draws"]) == ("beat", 2500, 1000)
    again = bootstrap_class_intervals(labels, said, np.full(len(labels), "100"), by_record=False)
    assert (
        again == found != bootstrap_class_intervals(labels, said, np.full(len(labels), "100"), by_record=False, seed=1)
    )


def test_intervals_hold_the_figures() -> None:
    """Each figure lies inside its interval, drawn by beat or by record."""
    labels, said = beats_of(40 * MATRIX)
    records = np.random.default_rng(0).integers(100, 112, len(labels)).astype(str)
    known = compute_class_metrics(class_confusion_matrix(labels, said))
    for by_record in (False, True):
        found = bootstrap_class_intervals(labels, said, records, by_record=by_record)
        for key in ("accuracy", "balanced_accuracy", "macro_f1"):
            assert found[key][0] < known[key] < found[key][1]
        for key in ("recall", "precision", "f1"):
            for name, (low, high) in found[key].items():
                assert low <= known[key][name] <= high


def test_the_patient_is_the_unit() -> None:
    """Where a record is all right or all wrong, many beats of few records say no more than that many records."""
    labels = np.zeros(8000, np.int64)
    records = np.repeat(["100", "101", "102", "103", "105", "106", "107", "108"], 1000)
    said = np.where(np.isin(records, ["100", "101"]), 1, 0)
    by_record = bootstrap_class_intervals(labels, said, records, by_record=True)
    assert (by_record["unit"], by_record["units"]) == ("record", 8)
    assert by_record["accuracy"] == pytest.approx([0.375, 1], abs=0.126)
    low, high = bootstrap_class_intervals(labels, said, records, by_record=False)["accuracy"]
    assert high - low < 0.03


def test_intervals_of_classes_without_beats() -> None:
    """A class that the test side lacks has no interval; one that a draw lacks does not pull its recall to 0."""
    labels, said = np.array([0] * 20 + [2] * 5), np.array([0] * 20 + [2] * 5)
    records = np.array(["100"] * 10 + ["101"] * 10 + ["102"] * 5)
    found = bootstrap_class_intervals(labels, said, records, by_record=True)
    assert found["recall"] == {"N": [1, 1], "S": None, "V": [1, 1], "F": None, "Q": None}
    assert found["f1"]["S"] is found["precision"]["Q"] is None
    assert found["balanced_accuracy"] == found["macro_f1"] == [1, 1]


def test_scores_do_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """All beats are scored, in order, in batches of any size."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, beats = build_beat_net(NetSize(), torch.device("cpu")), torch.rand(20, 187)
    whole = class_scores.predict_beat_scores(net, beats)
    monkeypatch.setitem(class_scores.BATCH_BY_DEVICE, "cpu", 7)
    assert torch.equal(class_scores.predict_beat_scores(net, beats), whole)
    assert whole.shape == (20, 5)
    assert not whole.requires_grad


def test_the_temperature_that_fits() -> None:
    """Of a net whose scores are twice as large as they should be, the best temperature is two, with a small error."""
    random = np.random.default_rng(0)
    scores = random.normal(0, 1.5, (20_000, 5))
    true = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    labels = (true.cumsum(1) > random.random((len(true), 1))).argmax(1)
    too_sure = change_temperature(true, 0.5)
    assert np.allclose(change_temperature(too_sure, 2.0), true)
    assert (too_sure.argmax(1) == true.argmax(1)).all()
    best = fit_temperature(labels, too_sure)
    assert best == pytest.approx(2, abs=0.15)
    errors = [compute_calibration(labels, change_temperature(too_sure, ratio))["ece"] for ratio in (1.0, best)]
    assert errors[1] < errors[0] / 5


def test_a_fitting_temperature_stays() -> None:
    """Beats that are all right and sure, or no beats at all, ask for no change."""
    sure = np.eye(5)
    assert fit_temperature(np.arange(5), sure) == 1
    assert fit_temperature(np.empty(0, np.int64), np.empty((0, 5))) == 1
