"""A Ray cluster of two CPUs on this machine, as somebody else would have started it."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START_S = 240.0


def own_environment() -> dict[str, str]:
    """Return the environment of a process, without settings of whoever runs the tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ECG_AGENT_")}


@contextmanager
def running_cluster() -> Iterator[dict[str, str]]:
    """Yield an environment in which RAY_ADDRESS is that of a cluster, which ends with the context."""
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
    with subprocess.Popen(command, env=own_environment() | own, **quiet) as head:  # type: ignore[call-overload]
        try:
            until_s = time.monotonic() + START_S
            while not list(Path(folder).glob("session_*/sockets/raylet")):
                assert head.poll() is None
                assert time.monotonic() < until_s
                time.sleep(0.1)
            yield own_environment() | own | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        finally:
            children = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
            _, alive = psutil.wait_procs(children, timeout=20)
            for process in alive:
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)
