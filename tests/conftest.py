"""Fixtures and streams of all tests: real records and synthetic signals, as chunks."""

import gc
import multiprocessing.util
import subprocess
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cache
from itertools import cycle
from os import environ
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck
from numpy.typing import NDArray
from support.agent_process import find_fork_server
from support.commands import RunHere, make_run_here
from support.fork_server import ForkedPopen

from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.analysis.torch_classifier import build_torch_classifier
from agent.core import config as configuration
from agent.core.config import Config
from agent.core.events import Event
from agent.core.messages import MISSING, Beat, Chunk, End, Gap, Lead, Result
from agent.core.run_clock import RunClock
from agent.core.views import BedView
from agent.link.link_receiver import LinkReceiver
from agent.monitor.alarm_history import AlarmHistory
from agent.monitor.snapshot import SnapshotMaker
from agent.pipeline.pipeline import Pipeline
from model.beats.dataset import read_default_lead
from model.nets.beat_net import build_beat_net
from model.nets.checkpoint_card import ModelCard
from model.nets.net_size import NetSize
from model.records import wfdb_records
from model.records.resample import FS

hypothesis.settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
"""No limit on the time of an example, since others may use the machine. A failure prints how to repeat it."""
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("default"), derandomize=True)
"""The same examples each time."""
hypothesis.settings.load_profile(environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in environ else "default"))

WORKERS = int(environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
"""How many workers of pytest-xdist there are: each begins with a part of the tests as long as the others'."""
WORKER = int(environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def pytest_configure(config: pytest.Config) -> None:
    """Have each worker collect all files from another one on: what one has compiled, the others find compiled.

    For a fresh clone has no tests compiled, and that takes as long as all imports.
    """
    folder = Path(__file__).parent
    if WORKERS > 1 and [Path(name).resolve() for name in config.args] == [folder]:
        files = [str(path) for path in sorted(folder.glob("test_*.py"))]
        first = len(files) * WORKER // WORKERS
        config.args = files[first:] + files[:first]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage in what is imported and collected, now or later: two million objects that stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests at the beginning of each worker's part: what is taken over last then is short.

    Nor are files with slow tests cut in two then, whose fixtures, such as a training, would be made twice.
    """
    items.sort(key=lambda item: item.path)
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow = [path for path, own in files.items() if any(item.get_closest_marker("slow") for item in own)]
    parts = [[item for path in slow[worker::WORKERS] for item in files[path]] for worker in range(WORKERS)]
    quick = [item for path, own in files.items() if path not in set(slow) for item in own]
    size = -(-len(items) // WORKERS)
    for part in parts:
        room = max(0, size - len(part))
        part += quick[:room]
        del quick[:room]
    items[:] = [item for part in parts for item in part] + quick


LEADS = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115), Lead("V1", "mV", 1000.0, 0.0, -5120, 5115))


@cache
def record_counts(name: str, seconds: float, start: float = 0.0) -> NDArray[np.int32]:
    """Return (n,) int32 microvolts of an embedded record's default lead at 125 Hz."""
    lead = read_default_lead(wfdb_records.open_record(name))[round(start * FS) : round((start + seconds) * FS)]
    counts: NDArray[np.int32] = np.rint(1000.0 * lead).astype(np.int32)
    return counts


def chunks(
    counts: NDArray[np.int32], sizes: Sequence[int], bed: str = "1", run: str = "run", first: int = 0, fs: float = FS
) -> Iterator[Chunk]:
    """Yield (n,) counts of the first of two leads as chunks, whose sizes repeat in a cycle."""
    both = np.stack([counts, np.where(counts == MISSING, MISSING, -counts)], axis=1)
    position = 0
    for sequence, size in enumerate(cycle(sizes)):
        if position >= len(counts):
            return
        part = both[position : position + size]
        yield Chunk(bed, run, first + position, fs, LEADS, part, 0.0, 0.0, sequence)
        position += size


def beats_and_events(results: Iterable[Result]) -> list[Beat | Event]:
    """Return all results but alarms, whose place between two beats depends on when these are emitted."""
    return [result for result in results if isinstance(result, Beat | Event)]


def all_found(ward: Pipeline, messages: Iterable[Chunk | Gap | End]) -> list[Beat | Event]:
    """Return the beats and events of a ward whose messages come one by one."""
    return [result for message in messages for result in beats_and_events(ward.push([message]))]


@pytest.fixture(scope="session")
def settings() -> Config:
    """Return the default settings, whatever the environment holds."""
    return configuration.load_config(None, {})


@pytest.fixture(scope="session")
def classifier() -> BeatClassifier:
    """Return a net with random weights: its classes are wrong, and always the same."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = build_beat_net(NetSize(), torch.device("cpu")).eval()
    return build_torch_classifier(net, ModelCard("random", net.size, {}, {}), torch.device("cpu"))


@pytest.fixture(scope="session")
def live() -> BeatClassifier:
    """Return the net that is shipped: what it calls no beat is none."""
    return load_beat_classifier("live", "cpu", 1)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunHere:
    """Return a function that runs a command of `ecg-agent` in this process."""
    return make_run_here(monkeypatch, capfd)


@pytest.fixture
def forked_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes forked that benchmarks, or code of ours in this process, start."""
    if (server := find_fork_server()) is not None:
        monkeypatch.setattr(ForkedPopen, "server", server)
        monkeypatch.setattr(subprocess, "Popen", ForkedPopen)
        monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", server.spawn)


@pytest.fixture
def new_ward(settings: Config, classifier: BeatClassifier) -> Callable[[], Pipeline]:
    """Return a function that makes wards with the same settings and net, which analyse one lead of each bed."""
    one_lead = configuration.override_config(settings, "monitor", lead="MLII")
    return lambda: Pipeline(one_lead, classifier)


@pytest.fixture
def new_auto_ward(settings: Config, classifier: BeatClassifier) -> Callable[[], Pipeline]:
    """Return a function that makes wards with the same settings and net, which choose the leads of each run."""
    return lambda: Pipeline(settings, classifier)


def bed_view(pipeline: Pipeline, name: str, now_s: float = 0.0) -> BedView:
    """A bed of a pipeline as the dashboard shows it, of a link that sent what was analysed."""
    link = SimpleNamespace(
        sent=lambda bed: pipeline.beds[bed].analysed + pipeline.beds[bed].lost, is_paused=lambda _now_s: False
    )
    config = configuration.load_config(None, {})
    return SnapshotMaker(pipeline, cast(LinkReceiver, link), config, AlarmHistory(), RunClock()).bed_view(name, now_s)
