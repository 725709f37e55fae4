"""The training of the report's net in C beside its twin in PyTorch: the same but for rounding."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.beats.dataset import BeatSet, DataSplit
from model.compiled import library
from model.nets.beat_net import BeatNet, InferenceNet, build_beat_net
from model.nets.net_size import NetSize
from model.training import compiled_gradients
from model.training.compiled_gradients import load_training
from model.training.recipe import TrainingRecipe
from model.training.threaded_gradients import ThreadedGradients
from model.training.training_run import EpochMetrics, TrainingRequest, TrainingRun

pytestmark = pytest.mark.skipif(
    library.load_library() is None, reason="the parts in C were not built: no C compiler (cc)"
)
CPU = torch.device("cpu")
OFFSET = torch.tensor([0.1, -0.2, 0.3, -1.0, 0.4])
REPORT = TrainingRecipe(2, 64, 0.001, "constant", 0.0, 0, 0.1, (32,) * 5, 32, False, 0.0, 0.0)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """Gradients switch PyTorch's own threads off; other tests want them back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def some_net(seed: int, spread: float = 1) -> BeatNet:
    """A net with random weights, larger than those of a new one, so that every layer counts, and biases of any sign."""
    torch.manual_seed(seed)
    net = build_beat_net(NetSize(), CPU)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5).add_(torch.randn_like(parameter) * 0.05 * spread)
    return net


def some_beats(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise from end to end, and labels."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 187, generator=random), torch.randint(0, 5, (count,), generator=random)


def in_pytorch(monkeypatch: pytest.MonkeyPatch, net: BeatNet, threads: int) -> ThreadedGradients:
    """The twin."""
    with monkeypatch.context() as without:
        without.setattr(compiled_gradients, "load_library", lambda: None)
        return ThreadedGradients(net, threads, OFFSET)


def step(by: ThreadedGradients, beats: Tensor, labels: Tensor) -> tuple[float, int, list[Tensor]]:
    """Loss, hits and gradients of a batch."""
    loss, hits = by.gradients(beats, labels)
    return float(loss), int(hits), [parameter.grad.clone() for parameter in by.parameters if parameter.grad is not None]


def difference(ours: Tensor, theirs: Tensor) -> float:
    """How far apart two gradients are, as a share of their length."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_float64(seed: int) -> None:
    """Of each parameter, to a ten-thousandth of its length; rounding is a millionth. So are the loss and the hits."""
    net, (beats, labels) = some_net(seed), some_beats(7, seed)
    loss, hits, ours = step(ThreadedGradients(net, 1, OFFSET), beats, labels)
    exact = copy.deepcopy(net).double()
    scores = exact(beats.double())
    theirs = nn.functional.cross_entropy(scores + OFFSET, labels)
    gradients = torch.autograd.grad(theirs, list(exact.parameters()))
    assert loss == pytest.approx(float(theirs.detach()) * 7, rel=1e-6)
    assert hits == int((scores.argmax(1) == labels).sum())
    for name, own, gradient in zip(dict(net.named_parameters()), ours, gradients, strict=True):
        assert difference(own, gradient) < 1e-4, name


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5, 128])
def test_a_batch_is_that_of_the_twin(monkeypatch: pytest.MonkeyPatch, count: int, threads: int) -> None:
    """However many beats and threads there are, also fewer beats than threads; a second time to the last bit."""
    net, (beats, labels) = some_net(4), some_beats(count, 5)
    compiled = ThreadedGradients(net, threads, OFFSET)
    loss, hits, ours = step(compiled, beats, labels)
    twin_loss, twin_hits, theirs = step(in_pytorch(monkeypatch, net, threads), beats, labels)
    assert loss == pytest.approx(twin_loss, rel=1e-5)
    assert hits == twin_hits
    assert max(map(difference, ours, theirs)) < 1e-3
    assert [own.stride() for own in ours] == [parameter.stride() for parameter in net.parameters()]
    step(compiled, *some_beats(9, 6))
    again = step(compiled, beats, labels)
    assert again[:2] == (loss, hits)
    for first, second in zip(ours, again[2], strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_where_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ReLU that lets nothing or everything through: rows without a mark, and with all of them."""
    for bias in (-100.0, 100.0):
        net = some_net(7)
        with torch.no_grad():
            for name in ("blocks.0.conv1.bias", "blocks.2.conv1.bias"):
                net.get_parameter(name).fill_(bias)
        beats, labels = some_beats(5, 8)
        ours = step(ThreadedGradients(net, 1, OFFSET), beats, labels)[2]
        theirs = step(in_pytorch(monkeypatch, net, 1), beats, labels)[2]
        for own, twin in zip(ours, theirs, strict=True):
            torch.testing.assert_close(own, twin, rtol=1e-3, atol=1e-4 * float(twin.abs().max()))
        if bias < 0:
            assert not ours[2].any()


def test_scores_are_those_of_the_net() -> None:
    """Of any number of beats, and of a beat the same to the last bit whatever its batch."""
    net, (beats, _) = some_net(1), some_beats(70, 2)
    by = ThreadedGradients(some_net(9), 2, OFFSET)
    scores = by.scores(net, beats)
    torch.testing.assert_close(scores, InferenceNet(net)(beats), rtol=1e-5, atol=1e-5)
    alone = torch.cat([by.scores(net, beats[i : i + 1]) for i in range(70)])
    torch.testing.assert_close(alone, scores, rtol=0, atol=0)


def test_what_does_not_fit_is_refused() -> None:
    """C would read beyond the arrays."""
    by, (beats, labels) = ThreadedGradients(some_net(0), 1, OFFSET), some_beats(3, 0)
    for wrong in (-1, 5, 2**32):
        with pytest.raises(IndexError, match="instead of one of 5 classes"):
            by.gradients(beats, labels.index_fill(0, torch.tensor([1]), wrong))
    for refused in (beats[:, 1:], beats[0]):
        with pytest.raises(ValueError, match=r"instead of \(n, 187\)"):
            by.scores(some_net(0), refused)
    columns = torch.rand(187, 3, dtype=torch.float64).T  # neither contiguous nor float32
    torch.testing.assert_close(by.scores(some_net(0), columns), by.scores(some_net(0), columns.float().contiguous()))


def test_only_the_net_of_the_report_is_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other widths, batch normalisation or no library: PyTorch."""
    assert load_training(build_beat_net(NetSize(), CPU)) is not None
    assert load_training(build_beat_net(NetSize(), CPU, norm=True)) is None
    assert load_training(build_beat_net(NetSize(channels=(32,) * 4), CPU)) is None
    assert load_training(build_beat_net(NetSize(dense=64), CPU)) is None
    monkeypatch.setattr(compiled_gradients, "load_library", lambda: None)
    assert load_training(build_beat_net(NetSize(), CPU)) is None


def made_up(count: int, seed: int) -> BeatSet:
    """Beats of five kinds: a bump, later in each class, in much noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 5
    times = np.arange(187) - 20 - 35 * labels[:, None]
    beats = 0.5 * np.exp(-((times / 12) ** 2)) + random.uniform(0, 0.5, times.shape)
    return BeatSet(beats.astype(np.float32), labels, np.full(count, "100"))


def train(folder: Path, recipe: TrainingRecipe) -> tuple[list[EpochMetrics], list[Tensor]]:
    """The figures and the weights of a run."""
    request = TrainingRequest("made", "random", seed=3, split_seed=0, threads=2)
    run = TrainingRun(folder, request, recipe, DataSplit(made_up(500, 1), made_up(200, 2)), CPU)
    return list(run.train(lambda _: None)), [parameter.detach().clone() for parameter in run.net.parameters()]


def test_a_training_learns_as_its_twin_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two epochs have the same losses but for rounding, and a second time the same weights to the last bit."""
    figures, weights = train(tmp_path / "c", REPORT)
    again, same = train(tmp_path / "again", REPORT)
    assert again == figures
    assert all(torch.equal(one, other) for one, other in zip(weights, same, strict=True))
    monkeypatch.setattr(compiled_gradients, "load_library", lambda: None)
    theirs, _ = train(tmp_path / "twin", REPORT)
    assert theirs != figures  # it is another way
    for ours, twin in zip(figures, theirs, strict=True):
        assert (ours.train_loss, ours.test_loss) == pytest.approx((twin.train_loss, twin.test_loss), rel=0.002)
