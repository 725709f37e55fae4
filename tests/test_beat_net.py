import re
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from agent.analysis.beat_classifier import BeatClassifier
from model.beats.dataset import BeatSet, DataSplit
from model.nets.beat_net import BeatNet, InferenceNet, build_beat_net, count_parameters, fold_beat_net
from model.nets.net_size import NetSize, block_samples_left
from model.training.recipe import TrainingRecipe
from model.training.training_run import TrainingRequest, TrainingRun

CPU = torch.device("cpu")


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in PyTorch
    """Records every aten operator that runs, and those that take or return a float64 tensor.

    What is only made of other operators is taken apart into them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in PyTorch
        self.operators: set[str] = set()
        self.float64: set[str] = set()

    def __torch_dispatch__(
        self, func: OpOverload[Any, Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = func(*args, **kwargs)
        if func.namespace != "aten":  # marks of the profiler
            return result
        name = str(func).removeprefix("aten.").removesuffix(".default")
        self.operators.add(name)
        found: list[Any] = torch.utils._pytree.tree_leaves([args, kwargs, result])
        if any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in found):
            self.float64.add(name)
        return result


def operator_table() -> dict[str, str]:
    """PyTorch's own table of its operators: the entry of each in native_functions.yaml, by name with overload."""
    text = files("torchgen").joinpath("packaged/ATen/native/native_functions.yaml").read_text()
    entries = re.split(r"^- func: ", text, flags=re.MULTILINE)[1:]
    return {entry.split("(", 1)[0]: entry for entry in entries}


def runs_on_mps(name: str, table: dict[str, str]) -> bool:
    """Whether an operator has an MPS kernel, or is made of other operators."""
    entry = table.get(name, "")
    delegate = re.search(r"^  structured_delegate: (\S+)", entry, re.MULTILINE)
    if delegate:
        return runs_on_mps(delegate[1], table)
    backends = set(re.findall(r"\w+", " ".join(re.findall(r"^    ([\w, ]+): ", entry, re.MULTILINE))))
    composite = any(backend.startswith("Composite") for backend in backends)
    return bool(entry) and (not re.search(r"^  dispatch:", entry, re.MULTILINE) or composite or "MPS" in backends)


def without_mps(recorder: Recorder) -> set[str]:
    table = operator_table()
    return {name for name in recorder.operators if not runs_on_mps(name, table)}


class PlainBlock(nn.Module):
    """A residual block of the paper, written independently."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(32, 32, 5, padding=2)
        self.conv2 = nn.Conv1d(32, 32, 5, padding=2)
        self.pool = nn.MaxPool1d(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pool(torch.relu(self.conv2(torch.relu(self.conv1(x))) + x))
        return out


class PlainNet(nn.Module):
    """The net of the paper with one-dimensional convolutions and PyTorch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 32, 5, padding=2)
        self.blocks = nn.Sequential(*(PlainBlock() for _ in range(5)))
        self.dense1, self.dense2, self.output = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, beats: Tensor) -> Tensor:
        x = self.blocks(self.conv(beats.unsqueeze(1))).flatten(1)
        scores: Tensor = self.output(torch.relu(self.dense2(torch.relu(self.dense1(x)))))
        return scores


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch with one thread, unless a test says otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plain(net: BeatNet) -> PlainNet:
    """The plain net with the same weights."""
    other = PlainNet()
    weights = {key: value.squeeze(2) if value.ndim == 4 else value for key, value in net.state_dict().items()}
    other.load_state_dict(weights)
    return other


def new_net(seed: int = 0) -> BeatNet:
    torch.manual_seed(seed)
    return build_beat_net(NetSize(), CPU).eval()


def some_beats(count: int) -> Tensor:
    return torch.rand(count, 187, generator=torch.Generator().manual_seed(count))


def test_parameters() -> None:
    """The net of the paper has 11 convolutions and 3 dense layers, 55,013 parameters together."""
    assert count_parameters(new_net()) == 55_013
    assert len(list(new_net().parameters())) == 2 * (11 + 3)


def test_samples_left() -> None:
    """Each pooling leaves less time: 187, 92, 44, 20, 8, 2 samples, and nothing after a sixth block."""
    assert block_samples_left(NetSize()) == (92, 44, 20, 8, 2)
    assert block_samples_left(NetSize(channels=(32,) * 6))[-1] < 1


@torch.inference_mode()
def test_equals_the_plain_net() -> None:
    """Scores are those of the same weights in one-dimensional convolutions and PyTorch's dense layers."""
    for seed in range(3):
        net, beats = new_net(seed), some_beats(64)
        assert torch.allclose(net(beats), plain(net)(beats), rtol=0, atol=1e-6)


def test_gradients_equal_the_plain_net() -> None:
    """So are the gradients, so training is the same too."""
    net, beats, labels = new_net(), some_beats(32), torch.arange(32) % 5
    other = plain(net)
    for one in (net, other):
        nn.functional.cross_entropy(one(beats), labels).backward()  # type: ignore[no-untyped-call]
    for (name, ours), theirs in zip(net.named_parameters(), other.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad.reshape(theirs.shape), theirs.grad, rtol=1e-4, atol=1e-6), name


@torch.inference_mode()
def test_shapes() -> None:
    """Beats (n, 187) become 64 numbers each before the dense layers, and 5 scores; an empty batch stays empty."""
    net = new_net()
    assert net.embed(some_beats(3)).shape == (3, 64)
    assert net(some_beats(3)).shape == (3, 5)
    assert net(some_beats(3)[:0]).shape == (0, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "sizes"), [(1, range(1, 65)), (2, (1, 2, 3, 33, 64))], ids=["1", "2"])
@torch.inference_mode()
def test_batch_does_not_matter(threads: int, sizes: Sequence[int]) -> None:
    """On a CPU the scores of a beat are the same to the last bit alone and in every batch."""
    torch.set_num_threads(threads)
    net, beats = new_net(), some_beats(300)
    alone = torch.cat([net(beats[i : i + 1]) for i in range(64)])
    for size in sizes:
        assert torch.equal(net(beats[:size]), alone[:size]), f"batch of {size} on {threads} threads"
    assert torch.equal(net(beats)[:64], alone)


@torch.inference_mode()
def test_place_in_the_batch_does_not_matter() -> None:
    """The order of the beats of a batch is the order of the scores, and changes no score."""
    net, beats = new_net(), some_beats(37)
    order = torch.randperm(37, generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(beats[order]), net(beats)[order])


@pytest.mark.parametrize("channels", [(32, 32, 32, 32, 32), (32, 32, 48, 64, 96), (8, 8, 16, 16, 24)])
@torch.inference_mode()
def test_quick_is_the_same(channels: tuple[int, ...]) -> None:
    """The net for inference gives exactly the scores of the net, for one beat and for many, whatever the sizes."""
    torch.manual_seed(1)
    net, beats = build_beat_net(NetSize(channels=channels), CPU), some_beats(64)
    expected, quick = net(beats), InferenceNet(net)
    for count in (1, 2, 3, 17, 64):
        assert torch.equal(quick(beats[:count]), expected[:count])


def test_weights_come_from_the_seed() -> None:
    """The same seed gives the same net, another seed another one."""
    first, again, other = (new_net(seed).state_dict()["conv.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_inference_runs_on_mps(classifier: BeatClassifier) -> None:
    """Classifying uses only operators with an MPS kernel, and no float64, which MPS does not have."""
    with Recorder() as recorder:
        classifier(some_beats(7).numpy())
    assert {"convolution", "relu_", "max_pool2d_with_indices", "_softmax"} <= recorder.operators
    assert (without_mps(recorder), recorder.float64) == (set(), set())


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_training_runs_on_mps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool, norm: bool) -> None:
    """So does training, backward, optimiser, normalisation, augmentation and averaging included."""
    adam = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, lr, **_: adam(groups, lr=lr, fused=together))
    side = BeatSet(some_beats(20).numpy(), np.arange(20) % 5, np.full(20, "100"))
    recipe = TrainingRecipe(2, 8, 0.001, "one-cycle", 0.01, 0, 0.2, (8, 16, 16, 16, 16), 8, norm, 1.0, 0.9)
    run = TrainingRun(tmp_path, TrainingRequest("made", "random", 0, 0, 1), recipe, DataSplit(side, side), CPU)
    with Recorder() as recorder:
        list(run.train(lambda _: None))
    seen = {"convolution_backward", "max_pool2d_with_indices_backward", "nll_loss_forward", "gather", "lerp.Tensor"}
    assert seen <= recorder.operators
    assert ("native_batch_norm_backward" in recorder.operators) == norm
    assert (without_mps(recorder), recorder.float64) == (set(), set())


@torch.inference_mode()
def test_folding_keeps_the_function() -> None:
    """Batch normalisation folded into the convolutions gives the same scores, to rounding, with the same kernels."""
    torch.manual_seed(3)
    net = build_beat_net(NetSize(channels=(8, 8, 16, 16, 24), dense=12), CPU, norm=True)
    for _ in range(5):
        net.train()(3 * some_beats(64))
    beats = some_beats(32)
    folded = fold_beat_net(net)
    assert torch.allclose(folded(beats), net.eval()(beats), rtol=1e-4, atol=1e-5)
    assert count_parameters(folded) == count_parameters(net) - sum(
        module.num_features for module in net.modules() if isinstance(module, nn.BatchNorm2d)
    )


@pytest.mark.parametrize(
    ("function", "operator"),
    [(torch.mode, "mode"), (torch.linalg.eig, "linalg_eig"), (torch.geqrf, "geqrf")],
)
def test_operators_without_mps_are_found(function: Callable[[Tensor], Any], operator: str) -> None:
    """The check sees an operator that has no MPS kernel."""
    with Recorder() as recorder:
        function(torch.ones(2, 2))
    assert without_mps(recorder) == {operator}


def test_float64_is_found() -> None:
    """The check sees a float64 tensor, even if it is only a result."""
    with Recorder() as recorder:
        torch.ones(2).to(torch.float64)
    assert recorder.float64 == {"_to_copy"}


def test_unknown_operators_are_found() -> None:
    """An operator that is not in the table counts as one without an MPS kernel."""
    assert not runs_on_mps("no_such_operator", operator_table())
    assert runs_on_mps("add.Tensor", operator_table())
    assert runs_on_mps("linear", operator_table())
