import pytest
import torch
from torch import Tensor, nn

from model.beats.templates import CHANNELS, FEATURES, INPUTS, WAVE
from model.nets.beat_net import count_parameters
from model.nets.context_net import (
    ContextInferenceNet,
    ContextNet,
    build_context_net,
    context_samples_left,
    fold_context_net,
)
from model.nets.net_size import CONTEXT_SIZE, SURELY_NORMAL

CPU = torch.device("cpu")
WAVES = CHANNELS * WAVE
N, S, V = 0, 1, 2


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def new_net(seed: int = 0, norm: bool = False) -> ContextNet:
    """A net with random weights whose numbers have a mean and a spread."""
    torch.manual_seed(seed)
    net = build_context_net(CONTEXT_SIZE, CPU, norm)
    net.mean.normal_()
    net.spread.uniform_(0.2, 2)
    return net.eval()


def some_beats(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_quick_is_the_same() -> None:
    """The net for inference gives exactly the scores of the net, for one beat and for many."""
    for seed in range(3):
        net, beats = new_net(seed), some_beats(64)
        quick = ContextInferenceNet(net)
        for count in (1, 2, 3, 17, 64):
            assert torch.equal(quick(beats[:count]), net(beats[:count])), count


def sure_of_some(net: ContextNet) -> ContextNet:
    """Let the second head be sure that every other beat or so is normal."""
    with torch.no_grad():
        net.alone.weight[N] *= 40
    return net


@torch.inference_mode()
def test_surely_normal_beats_have_no_wave() -> None:
    """Where the numbers alone make a beat surely normal, the second head decides, and the wave may be anything."""
    net, beats = sure_of_some(new_net(5)), some_beats(200)
    second = torch.log_softmax(net.heads(beats)[1], 1)
    sure = second[:, N].exp() >= SURELY_NORMAL
    assert 20 < sure.sum() < 180
    others = beats.clone()
    others[:, :WAVES] = some_beats(200, seed=2)[:, :WAVES]
    for of in (net, ContextInferenceNet(net)):
        found, changed = of(beats), of(others)
        assert torch.equal(found[sure], second[sure])
        assert torch.equal(changed[sure], second[sure])
        assert not torch.isclose(found[~sure], changed[~sure]).all(1).any()
        assert torch.equal(torch.cat([of(beat[None]) for beat in beats]), found)
    assert torch.equal(ContextInferenceNet(net)(beats), net(beats))


@torch.inference_mode()
def test_batch_does_not_matter() -> None:
    """The scores of a beat are the same to the last bit alone, in every batch, and at any place of it."""
    quick, beats = ContextInferenceNet(new_net()), some_beats(64)
    expected = quick(beats)
    for size in (1, 2, 3, 17):
        assert torch.equal(torch.cat([quick(part) for part in torch.split(beats, size)]), expected), size
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    assert torch.equal(quick(beats[order]), expected[order])


@torch.inference_mode()
def test_folding_keeps_the_function() -> None:
    """Batch normalisation folded into the convolutions gives the same scores, after its statistics have moved."""
    net = new_net(3, norm=True)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    before = fold_context_net(net)(some_beats(32))
    net.train()
    for seed in range(5):
        net(3 * some_beats(64, seed) + 0.5)
    found, expected = fold_context_net(net)(some_beats(32)), net.eval()(some_beats(32))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, expected, atol=0.01)
    assert count_parameters(fold_context_net(net)) == count_parameters(net) - sum(norm.num_features for norm in norms)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fold_context_net(net).modules())


@torch.inference_mode()
def test_how_the_heads_are_heard() -> None:
    """Log-odds of V against N or S, and of S against N, are the mean of both heads'; all else is the first head's."""
    net, beats = new_net(4), some_beats(40)
    first, second = (torch.softmax(scores.double(), 1) for scores in net.heads(beats))
    found = net(beats).double()
    assert torch.allclose(found.exp().sum(1), torch.ones(40, dtype=torch.float64), atol=1e-6)

    def odds(p: Tensor) -> Tensor:
        return torch.log(p[:, V] / (p[:, N] + p[:, S]))

    assert torch.allclose(odds(found.exp()), (odds(first) + odds(second)) / 2, atol=1e-5)
    early = [torch.log(p[:, S] / p[:, N]) for p in (found.exp(), first, second)]
    assert torch.allclose(early[0], (early[1] + early[2]) / 2, atol=1e-5)
    usual = torch.log(found.exp()[:, N] + found.exp()[:, S])
    for other in set(range(CONTEXT_SIZE.classes)) - {N, S, V}:
        expected = torch.log(first[:, other] / (first[:, N] + first[:, S]))
        assert torch.allclose(found[:, other] - usual, expected, atol=1e-5)
    assert (odds(first) - odds(second)).abs().max() > 0.01


@torch.inference_mode()
def test_the_second_head_sees_no_wave() -> None:
    """Other waves change the first head's scores alone, other numbers those of both."""
    net, beats = new_net(), some_beats(2)
    waves, numbers = beats.clone(), beats.clone()
    waves[:, :WAVES] += 1
    numbers[:, WAVES:] += 1
    (first, second), (first_w, second_w), (first_n, second_n) = map(net.heads, (beats, waves, numbers))
    assert torch.equal(second, second_w)
    assert not torch.equal(first, first_w)
    assert not torch.equal(first, first_n)
    assert not torch.equal(second, second_n)


@torch.inference_mode()
def test_numbers_are_standardised() -> None:
    """The net standardises numbers by their mean and spread."""
    net, plain, beats = new_net(), new_net(), some_beats(8)
    plain.mean.zero_()
    plain.spread.fill_(1)
    moved = torch.cat([beats[:, :WAVES], beats[:, WAVES:] * net.spread + net.mean], 1)
    for one in (net, ContextInferenceNet(net)):
        assert torch.allclose(one(moved), plain(beats), atol=1e-4)
    assert {"mean", "spread"} <= set(net.state_dict())


@torch.inference_mode()
def test_every_input_counts() -> None:
    """Each channel, and each number, changes the output."""
    net, beats = new_net(), some_beats(1)
    places = [slice(i * WAVE, (i + 1) * WAVE) for i in range(CHANNELS)] + [
        slice(WAVES + i, WAVES + i + 1) for i in range(len(FEATURES))
    ]
    expected = net(beats)
    for place in places:
        other = beats.clone()
        other[:, place] += 2
        assert not torch.equal(net(other), expected), place


@torch.inference_mode()
def test_shapes() -> None:
    """Beats (n, INPUTS) become log-probabilities of five classes and of no beat; the waves keep a few samples."""
    net = new_net()
    assert net(some_beats(3)).shape == ContextInferenceNet(net)(some_beats(3)).shape == (3, 6)
    x = torch.relu(net.conv(some_beats(2)[:, :WAVES].reshape(2, CHANNELS, 1, WAVE)))
    assert net.blocks(x).shape == (2, CONTEXT_SIZE.channels[-1], 1, context_samples_left(CONTEXT_SIZE))


def test_heads_have_gradients() -> None:
    """A loss on either head reaches all of its weights; the second's reaches nothing that sees a wave."""
    net, beats, labels = new_net(norm=True).train(), some_beats(32), torch.arange(32) % CONTEXT_SIZE.classes
    alone = {name for name, _ in net.named_parameters() if name.startswith("alone")}
    for head, expected in ((0, {name for name, _ in net.named_parameters()} - alone), (1, alone)):
        net.zero_grad()
        nn.functional.cross_entropy(net.heads(beats)[head], labels).backward()  # type: ignore[no-untyped-call]
        moved = {name for name, weight in net.named_parameters() if weight.grad is not None and weight.grad.any()}
        assert moved == expected
