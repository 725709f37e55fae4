"""Commands on a Ray cluster: the same bytes as without, also where a worker is killed, and nothing left."""

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.agent_process import AGENT
from support.commands import RunHere
from support.swept import CommandHands
from typer.testing import CliRunner

from agent.batch.batch_run import BatchOptions, run_batch
from agent.batch.result_writer import ResultKinds
from agent.cli.app import app
from agent.cluster.open_hands import WorkPlace
from agent.core.config import Config, override_config
from agent.training import sweep_command
from model.formats.signal_file import SignalFileOptions
from model.records.wfdb_records import open_record, read_record_samples

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is an extra of this package (cluster)"),
]
REPOSITORY = Path(__file__).parent.parent
LONG_S = 240.0
SOURCES = ("208", "119", "200", "207", "100", "222")
"""Records with alarms, whose lines must come in the same order everywhere."""
TINY = """
[train]
threads = 1
protocol = "inter-patient"
recipe = "tiny"
[recipe.tiny]
epochs = 1
batch = 512
channels = [4]
dense = 4
drop_normal = 72000
"""
SWEEP = """
[sweep]
name = "rates"
trials = {trials}
objective = "macro F1"
folds = [1]
[space]
learning_rate = {{ low = 1e-3, high = 1e-2, log = true }}
"""
TERMINATED = """
import os, signal, sys
from agent.cluster import ray_session
from agent.cli.app import run_command_line
open_session = ray_session._ray_session
def open_ending_session(*arguments, **options):
    from ray._private import worker
    connect = worker.connect
    def connect_and_end(*arguments, **options):
        connect(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
    worker.connect = connect_and_end
    return open_session(*arguments, **options)
ray_session._ray_session = open_ending_session
run_command_line()
"""
"""The program, which is terminated when Ray's C++ has come up and `ray.init` has not returned yet."""


def folders_of(process: subprocess.Popen[str]) -> list[Path]:
    """The folders of Ray that a process has left: those of other tests, which run beside this one, are not its own."""
    return list(Path("/tmp").glob(f"ecg-agent-ray-{process.pid}-*"))


def environment() -> dict[str, str]:
    """The environment of a process, without settings of whoever runs the tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ECG_AGENT_")}


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    """A folder of short records."""
    with tempfile.TemporaryDirectory() as root:
        for number, source in enumerate(SOURCES):
            x = read_record_samples(open_record(source), 0, 360 * 45)
            np.rint(200 * x).astype("<i2").tofile(Path(root) / f"r{number}.dat")
            lines = [f"r{number} 2 360 {len(x)}", *(f"r{number}.dat 16 200 16 0 0 0 0 {lead}" for lead in ("II", "V1"))]
            (Path(root) / f"r{number}.hea").write_text("\n".join([*lines, ""]))
        yield Path(root)


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """An environment in which RAY_ADDRESS is that of a cluster of two CPUs, which ends with the tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ecg-test-ray-", dir="/tmp")
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    start = ["start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    patient = '--system-config={"health_check_failure_threshold": 60}'
    """A machine that is busy with other tests is no dead one."""
    memory = [patient, f"--object-store-memory={80 * 2**20}", f"--temp-dir={folder}", "--disable-usage-stats"]
    command = [sys.executable, "-m", "ray.scripts.scripts", *start, *memory]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment() | own, **quiet) as head:  # type: ignore[call-overload]
        try:
            until_s = time.monotonic() + LONG_S
            while not list(Path(folder).glob("session_*/sockets/raylet")):
                assert head.poll() is None
                assert time.monotonic() < until_s
                time.sleep(0.1)
            yield environment() | own | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        finally:
            children = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
            _, alive = psutil.wait_procs(children, timeout=20)
            for process in alive:
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def contents(out: Path) -> dict[str, bytes]:
    """The bytes of all files of results."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_same_bytes_everywhere(settings: Config, records: Path, cluster: dict[str, str], tmp_path: Path) -> None:
    """One process, two, and a cluster in which a worker is killed give the same bytes in every file of results."""
    config = override_config(settings, "monitor", device="cpu")
    found = {}
    for name, place in (("one", WorkPlace(1)), ("two", WorkPlace(2))):
        options = BatchOptions((str(records),), tmp_path / name, SignalFileOptions(), ResultKinds(), place, False)
        outcomes = run_batch(config, options, lambda _progress: None)
        assert [outcome.reason for outcome in outcomes] == [""] * len(SOURCES)
        found[name] = contents(tmp_path / name)
    assert found["one"] == found["two"]
    out = tmp_path / "cluster"
    command = [*AGENT, "analyse", str(records), "--out", str(out), "--cluster", cluster["RAY_ADDRESS"], "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=cluster, cwd=REPOSITORY, text=True, **pipes) as process:  # type: ignore[call-overload]
        until_s = time.monotonic() + LONG_S
        while not list(out.glob(".*.partial")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until_s
            time.sleep(0.02)
        pid = int(next(out.glob(".*.partial")).name.removesuffix(".partial").rpartition("-")[2])
        psutil.Process(pid).kill()
        said, trouble = process.communicate(timeout=LONG_S)
    assert (process.returncode, trouble) == (0, "")
    assert json.loads(said)["analysed"] == len(SOURCES)
    assert contents(out) == found["one"]
    again = subprocess.run(command, env=cluster, cwd=REPOSITORY, capture_output=True, text=True, timeout=LONG_S)
    assert json.loads(again.stdout)["kept"] == len(SOURCES)


def test_evaluation(cluster: dict[str, str], tmp_path: Path) -> None:
    """An evaluation on a cluster writes the same annotations and finds the same figures."""
    for name in ("100", "119"):
        for ending in ("atr", "hea", "flac"):
            for path in (REPOSITORY / "model" / "records" / "database" / "mitdb").glob(f"{name}*.{ending}"):
                shutil.copy(path, tmp_path)
    reports = []
    for place in ([], ["--cluster", cluster["RAY_ADDRESS"]]):
        out = tmp_path / f"out{len(place)}"
        command = [*AGENT, "evaluate", str(tmp_path), "--out", str(out), "--device", "cpu", "--json", *place]
        done = subprocess.run(command, env=cluster, cwd=REPOSITORY, capture_output=True, text=True, timeout=LONG_S)
        assert (done.returncode, done.stderr) == (0, "")
        reports.append(json.loads(done.stdout))
    assert [path.read_bytes() for path in sorted((tmp_path / "out0").glob("*.ecg"))] == [
        path.read_bytes() for path in sorted((tmp_path / "out2").glob("*.ecg"))
    ]
    one, two = ({key: of for key, of in report.items() if key not in ("cost", "options")} for report in reports)
    assert one.keys() == two.keys()
    assert one["records"] == two["records"]


def words_of_sweep(folder: Path, trials: int) -> list[str]:
    """Return the command of a sweep of so many trials, whose files are in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.toml").write_text(TINY)
    (folder / "sweep.toml").write_text(SWEEP.format(trials=trials))
    return ["train", "--config", "tiny.toml", "--sweep", "sweep.toml", "--device", "cpu"]


def what_counts(folder: Path) -> dict[str, bytes]:
    """Return the table of a sweep, and the reports, settings and nets of its trials."""
    run = folder / "runs" / "rates"
    paths = [*run.glob("trials.csv"), *run.glob("trial-*/*.toml"), *run.glob("trial-*/fold-1/report.json")]
    paths += [*run.glob("trial-*/fold-1/rates.safetensors")]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def workers_that_train(folder: Path) -> list[psutil.Process]:
    """Return the processes of a cluster that have a training below them, started in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            parent = process.parent()
            if "--child" in process.cmdline() and Path(process.cwd()) == folder.resolve() and parent is not None:
                found.append(parent)
    return found


def trained(words: Sequence[str]) -> str:
    """Train by a command in this process, and return what was wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ecg-agent", *words])
        return str(CliRunner().invoke(app, words).exception or "")


def test_a_sweep_goes_on_elsewhere(cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that was begun here and goes on in a cluster, where a worker is killed, finds what it does here alone."""
    pytest.importorskip("optuna", reason="Optuna is an extra of this package (sweep)")
    begun, here, there = tmp_path / "begun", tmp_path / "here", tmp_path / "there"
    for folder, trials in ((begun, 1), (here, 2)):
        with monkeypatch.context() as patch:
            words = words_of_sweep(folder, trials)
            patch.chdir(folder)
            patch.setattr(sweep_command, "open_trainings", lambda *_: nullcontext(CommandHands(trained)))
            ran = CliRunner().invoke(app, words)
            assert ran.exit_code == 0, ran.output
        if folder == begun:
            for copy in (here, there):
                shutil.copytree(begun, copy)
    words = [*words_of_sweep(there, 2), "--cluster", cluster["RAY_ADDRESS"], "--jobs", "1"]
    own = cluster | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-m", "agent", *words],
        cwd=there,
        env=own,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        until_s = time.monotonic() + LONG_S
        while not (workers := workers_that_train(there)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until_s
            time.sleep(0.05)
        (training,) = workers[0].children()
        workers[0].kill()
        printed, errors = process.communicate(timeout=LONG_S)
    assert (process.returncode, errors) == (0, "")
    assert not psutil.wait_procs([training], timeout=10)[1]
    assert "continues: 1 of 2 trials are there already" in printed
    assert what_counts(there) == what_counts(here)
    assert len(what_counts(here)) == 7
    assert not [path for path in (there / "runs" / "rates").iterdir() if path.name.startswith(".")]


def test_an_own_cluster_ends_with_its_command(records: Path, tmp_path: Path) -> None:
    """Ray that was started here ends with Ctrl-C, and leaves neither processes nor files nor words."""
    out = tmp_path / "out"
    command = [*AGENT, "analyse", "--cluster", str(records), "--out", str(out), "--jobs", "2"]
    with subprocess.Popen(
        command,
        env=environment(),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        until_s = time.monotonic() + LONG_S
        while not list(out.glob(".*.partial")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until_s
            time.sleep(0.02)
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=LONG_S)
    assert (process.returncode, *said) == (130, "", "")
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    assert folders_of(process) == []
    assert not [path for path in out.iterdir() if path.name.startswith(".") and path.name != ".lock"]


@pytest.mark.parametrize("joins", [True, False])
def test_terminated_while_ray_comes_up(cluster: dict[str, str], records: Path, tmp_path: Path, joins: bool) -> None:
    """SIGTERM in the middle of Ray's start ends the command as Ctrl-C does, and leaves neither words nor processes."""
    place = ["--cluster", cluster["RAY_ADDRESS"]] if joins else ["--cluster"]
    command = [sys.executable, "-c", TERMINATED, "analyse", str(records), "--out", str(tmp_path / "out"), *place]
    own = (cluster if joins else environment()) | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, env=own, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = process.communicate(timeout=LONG_S)
    assert (process.returncode, *said) == (130, "", "")
    assert folders_of(process) == []


def test_who_does_not_answer(tmp_path: Path) -> None:
    """Where something else listens a line says so, though Ray would wait for more than a minute."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = [*AGENT, "analyse", "100", "--out", str(tmp_path), "--cluster", address]
        done = subprocess.run(
            command, env=environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=LONG_S
        )
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert f"what listens at {address} does not answer as a Ray cluster does" in done.stderr


def test_no_ray(tmp_path: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray a line says how to install it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run_here("analyse", "100", "--out", tmp_path / "out", "--cluster")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "pip install 'ecg-agent[cluster]'" in done.stderr
