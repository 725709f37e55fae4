import numpy as np
import pytest
from numpy.typing import NDArray

from model.beats.rhythm_history import KEPT_INTERVALS, RHYTHM_FEATURES, RhythmHistory

Floats = NDArray[np.float32]


def describe(history: RhythmHistory, rows: list[int], rr: list[float], following: list[float]) -> dict[str, Floats]:
    """The numbers by name, each (n,)."""
    n = len(rows)
    before = np.tile(np.array(rr, np.float32)[:, None], (1, 3))
    numbers, _ = history.describe(np.array(rows), before, np.array(following, np.float32), np.zeros(n, bool))
    assert len(numbers) == len(RHYTHM_FEATURES)
    return dict(zip(RHYTHM_FEATURES, (np.asarray(number, np.float32) for number in numbers), strict=True))


def learn(history: RhythmHistory, intervals: NDArray[np.float64], row: int = 0) -> None:
    rows = np.array([row])
    for interval in np.log(intervals).astype(np.float32):
        history.learn(rows, interval[None], interval[None], np.array([True]))


def at(history: RhythmHistory, rr: float, following: float | None = None) -> dict[str, float]:
    found = describe(history, [0], [rr], [following or rr])
    return {name: float(value[0]) for name, value in found.items()}


def test_a_jump_is_not_believed_for_minutes() -> None:
    """A rhythm twice as fast that begins at once stays short against the steady interval; the median follows it."""
    history = RhythmHistory()
    learn(history, np.full(200, 0.8))
    learn(history, np.full(300, 0.4))
    found = at(history, 0.4)
    assert found["rr/steady"] < -0.4
    assert found["unsteady"] > 1
    assert found["rr/slowest97"] < -0.4
    assert abs(found["rr/kept50"]) < 0.01
    assert abs(found["rr/own"]) < 0.1


def test_a_sinus_node_is_followed() -> None:
    """A rate that climbs to the same height over minutes is steady all the time."""
    history = RhythmHistory()
    learn(history, np.full(200, 0.8))
    learn(history, np.geomspace(0.8, 0.4, 300))
    found = at(history, 0.4)
    assert abs(found["rr/steady"]) < 0.1
    assert found["unsteady"] == 0


def test_frequent_ectopy_does_not_hide_the_sinus_rhythm() -> None:
    """Where nine of ten intervals are ectopic, the quantiles above them still show the sinus interval."""
    history = RhythmHistory()
    learn(history, np.tile([*[0.7] * 9, 1.6], 30))
    found = at(history, 0.7)
    assert found["rr/kept97"] == pytest.approx(np.log(0.7 / 1.6), abs=0.01)
    assert found["kept_near"] == pytest.approx(0.9, abs=0.02)
    assert found["kept_shorter"] == 0
    assert at(history, 1.6)["kept_shorter"] == pytest.approx(0.9, abs=0.02)


def test_pauses_and_gaps_are_not_learnt() -> None:
    """An unknown interval leaves the slow quantiles and the steady interval as they are."""
    history = RhythmHistory()
    learn(history, np.full(50, 0.8))
    before = at(history, 0.6)
    history.learn(np.array([0]), np.array([np.nan], np.float32), np.array([-0.2], np.float32), np.array([False]))
    after = at(history, 0.6)
    for name in ("rr/slow50", "rr/slowest97", "rr/steady", "unsteady", "rr/own"):
        assert after[name] == before[name], name


def test_rows_do_not_depend_on_each_other() -> None:
    """Described with others, learnt with others, grown: a row gives the same bits as alone."""
    random = np.random.default_rng(5)
    rhythms = [random.uniform(0.3, 1.5, KEPT_INTERVALS + 20) for _ in range(3)]
    alone = []
    for rhythm in rhythms:
        history = RhythmHistory()
        learn(history, rhythm)
        alone.append(at(history, 0.7, 0.9))
    together = RhythmHistory()
    together.grow(3)
    rows = np.arange(3)
    for intervals in np.log(np.array(rhythms).T).astype(np.float32):
        together.learn(rows, intervals, intervals, np.ones(3, bool))
    found = describe(together, [0, 1, 2], [0.7] * 3, [0.9] * 3)
    for row in range(3):
        assert {name: float(value[row]) for name, value in found.items()} == alone[row]
    together.start(1)
    fresh = describe(together, [1], [0.7], [0.9])
    assert {name: float(value[0]) for name, value in fresh.items()} == at(RhythmHistory(), 0.7, 0.9)
