"""How fast training and the net are: `python -m benchmarks.training`, against the plain way, in the same run.

The peer is the simplest way: `Conv1d`, `DataLoader`, eager PyTorch, Adam. Ours in C, ours without it, and the peer
train the report's net with batches of 128 in float32 on the same beats with the same number of threads, in turns; the
ratio is that of the medians. The limit is the time of all products, zeros too, at the speed of the machine's own matrix
product in the same run; who leaves the zeros out may be faster. `--device cuda` (or mps) measures the whole 100 epochs
there instead of the CPU figures.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from agent.core import config
from benchmarks.figures import write_figures
from model import device
from model.beats import dataset
from model.beats.dataset import DataSplit
from model.nets.beat_net import InferenceNet, build_beat_net
from model.nets.net_size import NetSize, block_samples_left
from model.training import class_scores, compiled_gradients
from model.training.training_run import TrainingRequest, TrainingRun

ROUNDS = 7
STEPS = 16
"""Batches a round."""
COLD_BUILD = "from model.beats import dataset; assert len(dataset.load_beat_set()) == 109446"


class PlainNet(nn.Module):
    """The report's net in its simplest form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 32, 5, padding=2)
        self.first = nn.ModuleList(nn.Conv1d(32, 32, 5, padding=2) for _ in range(5))
        self.second = nn.ModuleList(nn.Conv1d(32, 32, 5, padding=2) for _ in range(5))
        self.dense = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, beats: Tensor) -> Tensor:
        x = self.conv(beats[:, None])
        for first, second in zip(self.first, self.second, strict=True):
            x = nn.functional.max_pool1d(torch.relu(x + second(torch.relu(first(x)))), 5, 2)
        scores: Tensor = self.dense(torch.flatten(x, 1))
        return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the results here too")
    arguments = parser.parse_args()
    if arguments.device != "cpu":
        results = {"whole run": whole_run(device.choose_device(arguments.device))}
    else:
        results = {
            "training": training(arguments.threads),
            "one beat, one thread": inference(1, 300),
            "256 beats, one thread": inference(256, 20),
            "data set, cold": {"seconds": cold_build()},
        }
    for name, figures in results.items():
        print(name)
        for key, value in figures.items():
            print(f"  {key:32} {value:.2f}" if isinstance(value, float) else f"  {key:32} {value}")
    if arguments.json:
        write_figures(arguments.json, results)


def training(threads: int) -> dict[str, Any]:
    """Measure beats a second of both ways to train, and how far ours is from the arithmetic limit."""
    split = published()
    torch.set_num_threads(threads)
    peak = threads * matrix_product()  # measured one thread at a time, as that is what the training uses
    ways = {"ours": our_steps(split, threads), "plain": plain_steps(split)}
    with mock.patch.object(compiled_gradients, "load_library", return_value=None):
        ways["ours without C"] = our_steps(split, threads)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, steps in ways.items():
            torch.set_num_threads(threads if name == "plain" else 1)  # ours brings threads of its own
            times[name].append(timed(steps))
    seconds = {name: statistics.median(values) / STEPS / 128 for name, values in times.items()}
    limit = 3 * flops(NetSize()) / peak
    return {
        "threads": threads,
        **{f"{name}, us a beat": value * 1e6 for name, value in seconds.items()},
        "ratio": seconds["plain"] / seconds["ours"],
        "ratio without C": seconds["plain"] / seconds["ours without C"],
        "limit, us a beat": limit * 1e6,
        "share of the limit": limit / seconds["ours"],
    }


def our_steps(split: DataSplit, threads: int) -> Callable[[], None]:
    """Return a round of our training: the `TrainingRun` of `ecg-agent train` on a part of the beats."""
    part = DataSplit(split.train.take(torch.arange(STEPS * 128).numpy()), split.test.take(torch.arange(1).numpy()))
    recipe = config.load_config(None, {}).recipe["reproduction"]
    folder = tempfile.TemporaryDirectory()
    run = TrainingRun(
        Path(folder.name), TrainingRequest("reproduction", "random", 0, 0, threads), recipe, part, torch.device("cpu")
    )
    side = run.side(part.train)

    def steps() -> None:
        assert folder.name
        run.epoch(1, side, lambda _: None)

    return steps


def plain_steps(split: DataSplit) -> Callable[[], None]:
    """Return a round of the plain loop."""
    beats, labels = torch.from_numpy(split.train.beats), torch.from_numpy(split.train.labels)
    net = PlainNet()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.001)
    count = STEPS * 128
    loader = DataLoader(TensorDataset(beats[:count], labels[:count]), batch_size=128, shuffle=True)

    def steps() -> None:
        net.train()
        total = 0.0
        for some, their in loader:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(net(some), their)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type of it
            optimiser.step()
            total += loss.item()

    return steps


@torch.inference_mode()
def inference(batch: int, repeats: int) -> dict[str, float]:
    """Measure microseconds a beat of the net as the monitor runs it and of the plain net, one thread."""
    torch.set_num_threads(1)
    beats = torch.from_numpy(published().test.beats[:batch])
    net = build_beat_net(NetSize(), torch.device("cpu"))
    quick, plain = InferenceNet(net), PlainNet().eval()
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        times["ours"].append(timed(lambda: class_scores.predict_beat_scores(net, beats) if batch > 1 else quick(beats)))
        times["plain"].append(timed(lambda: plain(beats)))
    micro = {name: statistics.median(values) / batch * 1e6 for name, values in times.items()}
    limit = flops(NetSize()) / matrix_product() * 1e6
    return {
        "ours, us a beat": micro["ours"],
        "plain, us a beat": micro["plain"],
        "ratio": micro["plain"] / micro["ours"],
        "limit, us a beat": limit,
        "share of the limit": limit / micro["ours"],
    }


def whole_run(on: torch.device) -> dict[str, Any]:
    """Seconds of the 100 epochs of `ecg-agent train` on a device, with its last figures."""
    recipe = config.load_config(None, {}).recipe["reproduction"]
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun(Path(folder), TrainingRequest("reproduction", "random", 0, 0, 1), recipe, published(), on)
        start = time.perf_counter()
        epochs = list(run.train(lambda _: None))
        seconds = time.perf_counter() - start
    losses = {f"test loss, epoch {n}": epochs[n - 1].test_loss for n in (1, 10, 50, recipe.epochs)}
    return {"device": device.describe_device(on), "seconds": seconds, "epochs": recipe.epochs, **losses}


def cold_build() -> float:
    """Seconds to build the data set from the embedded records in a new process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", COLD_BUILD], check=True, env=os.environ | {"ECG_AGENT_CACHE": cache})
        return time.perf_counter() - start


def published() -> DataSplit:
    return dataset.split_beat_set(dataset.load_beat_set(), "random", 0, 65_000)


def matrix_product() -> float:
    """Return FLOP a second of a large float32 matrix product on one thread: the limit of the core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    seconds = min(timed(lambda: a @ b) for _ in range(20))
    torch.set_num_threads(before)
    return 2 * 1024**3 / seconds


def flops(size: NetSize) -> float:
    """Return floating-point operations of a beat's forward pass: two for each multiply-add of the convolutions."""
    total, inputs, length = 2 * size.samples * size.kernel * size.channels[0], size.channels[0], size.samples
    for width, left in zip(size.channels, block_samples_left(size), strict=True):
        total += 2 * length * size.kernel * width * (inputs + width)
        inputs, length = width, left
    return float(total)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
