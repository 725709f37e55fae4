import numpy as np
import pytest
import torch

from model import evaluation
from model.evaluation import confusion, figures
from model.net import NetSize, build

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
    assert np.array_equal(confusion(labels, said), expected)


def test_confusion_of_nothing() -> None:
    """No beats are a matrix of zeros."""
    none = np.empty(0, np.int64)
    assert np.array_equal(confusion(none, none), np.zeros((5, 5)))


def test_figures_by_hand() -> None:
    """Recall, precision and F1 of each class, their means and the accuracy are those computed by hand."""
    found = figures(MATRIX)
    assert found["recall"] == pytest.approx({"N": 8 / 10, "S": 2 / 4, "V": 3 / 4, "F": 0, "Q": 1})
    assert found["precision"] == pytest.approx({"N": 8 / 10, "S": 2 / 3, "V": 3 / 6, "F": 0, "Q": 5 / 6})
    assert found["f1"] == pytest.approx({"N": 4 / 5, "S": 4 / 7, "V": 3 / 5, "F": 0, "Q": 10 / 11})
    assert found["accuracy"] == pytest.approx(18 / 25)
    assert found["balanced_accuracy"] == pytest.approx((0.8 + 0.5 + 0.75 + 0 + 1) / 5)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 4 / 7 + 3 / 5 + 0 + 10 / 11) / 5)
    assert found["confusion"] == MATRIX.tolist()


def test_perfect() -> None:
    """Where all is right every figure is one."""
    found = figures(np.diag([5, 4, 3, 2, 1]))
    assert found["accuracy"] == found["balanced_accuracy"] == found["macro_f1"] == 1


def test_nothing() -> None:
    """No beats give zeros, not a division by zero."""
    found = figures(np.zeros((5, 5), np.int64))
    assert found["accuracy"] == found["balanced_accuracy"] == found["macro_f1"] == 0


def test_scores_do_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """All beats are scored, in order, in batches of any size, without training the net."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, beats = build(NetSize(), torch.device("cpu")).train(), torch.rand(20, 187)
    whole = evaluation.scores(net, beats)
    monkeypatch.setattr(evaluation, "BATCH", 7)
    assert torch.equal(evaluation.scores(net, beats), whole)
    assert whole.shape == (20, 5)
    assert not whole.requires_grad
    assert not net.training
