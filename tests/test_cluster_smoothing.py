from math import exp, log
from random import Random

import numpy as np
import pytest

from model.beats import cluster_smoothing
from model.beats.cluster_smoothing import (
    CLASS_BIAS,
    CLUSTER_MEMORY,
    CLUSTER_SHARE,
    HALF_SHARE_BEATS,
    KNOWN_SHAPE_BEATS,
    MOST_LOG_ODDS,
    NO_BEAT,
    NOISE_BIAS,
    NOISY_LEVEL,
    ClusterSmoothing,
    N,
    Q,
    S,
    V,
    temper_weights,
)
from model.beats.compiled_smoothing import CompiledSmoothing, open_smoothing
from model.compiled.library import load_library
from model.records.wfdb_records import CLASSES

CLEAR, NOISE = 0.0, NOISY_LEVEL + 0.1
Said = tuple[float, ...]


def logs(v: float = 0.1, no_beat: float = 1e-6) -> list[float]:
    """Log-probabilities of a beat that is V with probability `v`, else nearly always N."""
    rest = (1 - v) * (1 - no_beat)
    given = [0.9 * rest, 0.05 * rest, v, 0.03 * rest, 0.02 * rest, no_beat]
    return [log(value / sum(given)) for value in given]


def settle(
    verdicts: ClusterSmoothing, v: float, cluster: int = 0, new: bool = False, row: int = 0, noise: float = CLEAR
) -> Said:
    found = verdicts.push(row, logs(v), cluster, new, noise)
    assert found is not None
    assert sum(found) == pytest.approx(1)
    return found


def after(count: int, v: float, cluster: int = 0, rows: int = 1) -> ClusterSmoothing:
    """Verdicts that have settled so many equal beats of one new cluster, in each row."""
    verdicts = ClusterSmoothing(rows)
    for i in range(count):
        for row in range(rows):
            settle(verdicts, v, cluster, i == 0, row)
    return verdicts


def odds(v: float) -> float:
    """Log-odds of V against N and S, with the biases, that the net gives; within what a beat may say."""
    z = [value + bias for value, bias in zip(logs(v), CLASS_BIAS, strict=True)]
    return max(-MOST_LOG_ODDS, min(MOST_LOG_ODDS, z[V] - log(exp(z[N]) + exp(z[S]))))


def told(found: Said) -> float:
    """The same of a verdict."""
    return log(found[V] / (found[N] + found[S]))


def drawn(own: float, mean: float, count: int) -> float:
    return own + CLUSTER_SHARE * count / (count + HALF_SHARE_BEATS) * (mean - own)


def test_the_first_beat_speaks_for_itself() -> None:
    """Without earlier beats the result is the net's output with the biases, as probabilities of the classes."""
    weights = [exp(value + bias) for value, bias in zip(logs(0.3), CLASS_BIAS, strict=True)][:NO_BEAT]
    found = settle(ClusterSmoothing(), 0.3, new=True)
    assert len(found) == len(CLASSES)
    assert found == pytest.approx([weight / sum(weights) for weight in weights])


@pytest.mark.parametrize(("earlier", "later"), [(0.97, 0.45), (0.03, 0.6)])
def test_earlier_beats_draw(earlier: float, later: float) -> None:
    """The log-odds of V are drawn towards the mean of the cluster's earlier beats, the more so the more there were."""
    own, mean = odds(later), odds(earlier)
    for count in (1, 3, 40):
        found = told(settle(after(count, earlier, 2), later, 2))
        assert found == pytest.approx(drawn(own, mean, count))
    assert (found > 0) == (mean > 0) != (own > 0)


def test_the_mean_is_of_what_the_net_said() -> None:
    """The mean is taken of the net's outputs, not of the results, and each beat counts alike."""
    verdicts, given = ClusterSmoothing(), (0.9, 0.1, 0.6, 0.3)
    for i, v in enumerate(given):
        found = told(settle(verdicts, v, new=i == 0))
    assert found == pytest.approx(drawn(odds(given[3]), sum(map(odds, given[:3])) / 3, 3))


def test_only_v_is_drawn() -> None:
    """The odds among the other classes depend on the beat alone."""
    found, alone = settle(after(20, 0.01), 0.4), settle(ClusterSmoothing(), 0.4, new=True)
    assert found[V] < alone[V]
    for other in set(range(NO_BEAT)) - {N, V}:
        assert found[other] / found[N] == pytest.approx(alone[other] / alone[N])


def test_clusters_are_apart() -> None:
    """Another cluster, another row, and a new cluster in an old one's place know nothing of the earlier beats."""
    verdicts, alone = after(20, 0.95), settle(ClusterSmoothing(2), 0.2, new=True)
    verdicts.grow(2)
    assert settle(verdicts, 0.2, cluster=1, new=True) == alone
    assert settle(verdicts, 0.2, row=1) == alone
    assert settle(verdicts, 0.2, new=True) == alone
    assert told(settle(verdicts, 0.2)) == pytest.approx(odds(0.2))


def test_reset_and_grow() -> None:
    """Another patient's row starts without clusters; more rows do not change the existing ones."""
    verdicts, alone = after(20, 0.95, rows=2), settle(ClusterSmoothing(), 0.2)
    verdicts.start(0, None)
    verdicts.grow(4)
    verdicts.grow(4)
    assert [settle(verdicts, 0.2, row=row) == alone for row in range(4)] == [True, False, True, True]


@pytest.mark.parametrize(("noise", "bias"), [(CLEAR, 0.0), (NOISE, NOISE_BIAS)])
def test_no_beat(noise: float, bias: float) -> None:
    """If no beat is likelier than any class, with the biases, there is no result; even more so in noise."""
    said = [0.0, -20.0, -20.0, -20.0, -20.0]
    border = CLASS_BIAS[N] - CLASS_BIAS[NO_BEAT] - bias
    assert ClusterSmoothing().push(0, [*said, border + 1e-6], 0, True, noise) is None
    assert ClusterSmoothing().push(0, [*said, border - 1e-6], 0, True, noise) is not None


@pytest.mark.parametrize("noise", [CLEAR, NOISE])
@pytest.mark.parametrize("new", [True, False])
def test_what_is_not_learnt_leaves_no_trace(new: bool, noise: float) -> None:
    """A candidate of cluster -1 is classified by itself and does not change those after it."""
    verdicts, without = after(5, 0.9), after(5, 0.9)
    alone = settle(ClusterSmoothing(), 0.2, new=True, noise=noise)
    for _ in range(KNOWN_SHAPE_BEATS + 1):
        assert settle(verdicts, 0.2, -1, new, noise=noise) == alone
    assert settle(verdicts, 0.3) == settle(without, 0.3)


def test_no_beat_says_more_than_the_most() -> None:
    """An infinitely certain beat counts as one of the highest log-odds, and its probabilities are finite."""
    verdicts, extreme = ClusterSmoothing(), [-800.0, -800.0, 0.0, -800.0, -800.0, -800.0]
    assert verdicts.push(0, extreme, 0, True, CLEAR) == pytest.approx([0, 0, 1, 0, 0])
    assert told(settle(verdicts, 0.2)) == pytest.approx(drawn(odds(0.2), MOST_LOG_ODDS, 1))


def test_old_beats_fade() -> None:
    """A cluster's mean follows its last beats however long the run: old ones weigh at most as CLUSTER_MEMORY beats."""
    verdicts = after(5 * CLUSTER_MEMORY, 0.95)
    for _ in range(3 * CLUSTER_MEMORY):
        settle(verdicts, 0.05)
    assert told(settle(verdicts, 0.05)) == pytest.approx(odds(0.05), abs=0.4)


def test_unknown_shapes_in_noise_are_unclassifiable() -> None:
    """In noise S and V go to Q until a shape has been seen KNOWN_SHAPE_BEATS times in clear signal."""
    for count in range(KNOWN_SHAPE_BEATS + 2):
        clear, noisy = settle(after(count, 0.9), 0.9), settle(after(count, 0.9), 0.9, noise=NOISE)
        if count < KNOWN_SHAPE_BEATS:
            assert noisy[S] == noisy[V] == 0
            assert noisy[Q] == pytest.approx(clear[S] + clear[V] + clear[Q])
            assert noisy[N] == pytest.approx(clear[N])
        else:
            assert noisy == clear


def test_nothing_is_learnt_in_noise() -> None:
    """Beats in noise leave the cluster's mean as it was, and a new shape in an old one's place ends that one."""
    verdicts, without = after(5, 0.9), after(5, 0.9)
    for _ in range(10):
        settle(verdicts, 0.05, noise=NOISE)
    assert settle(verdicts, 0.3) == settle(without, 0.3)
    settle(verdicts, 0.9, new=True, noise=NOISE)
    assert settle(verdicts, 0.3) == settle(ClusterSmoothing(), 0.3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 4.0])
@pytest.mark.parametrize("noise", [CLEAR, NOISE])
def test_the_temperature_changes_no_class(temperature: float, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any temperature the same class is the most probable, in noise too, where S and V become Q."""
    random = Random(1)
    said = [[log(random.random()) for _ in range(NO_BEAT + 1)] for _ in range(200)]
    plain, tempered = ClusterSmoothing(), ClusterSmoothing()
    before = [plain.push(0, values, i % 5, i < 5, noise) for i, values in enumerate(said)]
    monkeypatch.setattr(cluster_smoothing, "TEMPERATURE", temperature)
    after_it = [tempered.push(0, values, i % 5, i < 5, noise) for i, values in enumerate(said)]
    for one, other in zip(before, after_it, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.index(max(one)) == other.index(max(other))
            assert (max(other) <= max(one) + 1e-12) == (temperature >= 1) or max(one) == pytest.approx(max(other))
            assert sum(other) == pytest.approx(1)


def test_temperature_by_hand() -> None:
    """Weights are raised to one over the temperature; at 1 they are only divided by their sum, bit for bit."""
    assert temper_weights([4.0, 1.0, 0.0], 2.0) == pytest.approx((2 / 3, 1 / 3, 0))
    assert temper_weights([0.3, 1.0, 0.1], 1.0) == tuple(weight / sum([0.3, 1.0, 0.1]) for weight in (0.3, 1.0, 0.1))


@pytest.mark.skipif(load_library() is None, reason="the parts in C were not built: no C compiler (cc)")
def test_in_c_the_probabilities_are_the_same() -> None:
    """To the last bit, many rows and batches, with runs that begin and rows that are added."""
    compiled, plain, random = open_smoothing(2), ClusterSmoothing(8), np.random.default_rng(0)
    assert isinstance(compiled, CompiledSmoothing)
    compiled.grow(8)
    kept = 0
    for step in range(300):
        count = int(random.integers(1, 30))
        said = random.normal(0, 4, (count, NO_BEAT + 1)).astype(np.float32)
        said -= np.log(np.exp(said).sum(axis=1, keepdims=True))
        batch = (
            random.integers(0, 8, count).tolist(),
            said.tolist(),
            random.integers(-1, 8, count).tolist(),
            (random.random(count) < 0.2).tolist(),
            random.uniform(0, 0.5, count).tolist(),
        )
        found = plain.push_all(*batch)
        assert compiled.push_all(*batch) == found
        kept += sum(one is not None for one in found)
        if step % 50 == 49:
            compiled.start(step % 8, None)
            plain.start(step % 8, None)
    assert kept > 1000
    assert compiled.push_all([], [], [], [], []) == []
    with pytest.raises(IndexError, match="beyond the 8"):
        compiled.push(8, logs(), 0, True, CLEAR)
    with pytest.raises(IndexError, match="beyond the 8"):
        compiled.push(0, logs(), 8, True, CLEAR)
