"""A Ray cluster of several hosts on this machine, each of which can be killed as a host that loses power."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.host_network import HostNetwork

LONG_S = 240.0
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start"]
SLIM = ["--num-cpus=0", "--include-log-monitor=false"]
SLIM_HEAD = ["--include-dashboard=false", "--no-monitor"]
"""What a fleet does not need of Ray takes memory: workers that idle, copies of logs, an autoscaler."""
HEALTH = {"initial_delay_ms": 5000, "period_ms": 500, "timeout_ms": 2000, "failure_threshold": 4}
"""More patient than docs/fleet.md has it: tests run on busy machines."""


class RayHosts:
    """Hosts by name; the first is the head. `environment`: of every process that is to join them.

    With `redis` the state of the head is kept in a Redis outside all hosts, so that a head can come back.
    """

    def __init__(self, environment: dict[str, str], redis: bool = False) -> None:
        self.network = HostNetwork()
        self._folder = tempfile.mkdtemp(prefix="ecg-hosts-", dir="/tmp")
        self._port = _free_port()
        self._head = ""
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        health = {f"RAY_health_check_{name}": str(value) for name, value in HEALTH.items()}
        self.environment = environment | own | health | {"RAY_worker_niceness": "0"}
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}
        self._redis: subprocess.Popen[bytes] | None = None
        if redis:
            port = _free_port()
            place = ["--port", str(port), "--bind", self.network.outside, "--protected-mode", "no"]
            self._redis = subprocess.Popen(
                ["redis-server", *place, "--save", "", "--dir", self._folder], stdout=subprocess.DEVNULL
            )
            self.environment["RAY_REDIS_ADDRESS"] = f"{self.network.outside}:{port}"

    @property
    def address(self) -> str:
        """Where the cluster is."""
        return f"{self.network.address(self._head)}:{self._port}"

    @property
    def head(self) -> str:
        """The host with Ray's head."""
        return self._head

    def add(self, name: str) -> None:
        """Start a host, the head if it is the first or was it before, and wait for its sign of life."""
        self.network.add(name)
        self._head = self._head or name
        head = ["--head", f"--port={self._port}", f"--temp-dir={self._folder}", *SLIM_HEAD]
        place = head if name == self._head else [f"--address={self.address}"]
        size = [*SLIM, f"--object-store-memory={80 * 2**20}"]
        own = [f"--node-ip-address={self.network.address(name)}", f"--node-name={name}"]
        command = [*self.network.on(name), *RAY, *place, *size, *own, "--block", "--disable-usage-stats"]
        if name == self._head:  # it would take what other hosts run here for its own old processes
            (Path(self._folder) / "ray_current_cluster").unlink(missing_ok=True)
        known = self._sockets()
        with (Path(self._folder) / f"{name}.txt").open("wb") as out:
            self._hosts[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        until_s = time.monotonic() + LONG_S
        while not self._sockets() - known:
            assert self._hosts[name].poll() is None, (Path(self._folder) / f"{name}.txt").read_text()
            assert time.monotonic() < until_s
            time.sleep(0.1)

    @property
    def names(self) -> list[str]:
        """The hosts that are there: a host whose Ray has ended by itself is not."""
        return [name for name, process in self._hosts.items() if process.poll() is None]

    def processes(self, name: str) -> list[psutil.Process]:
        """Return all processes of a host, its monitors as well."""
        process = psutil.Process(self._hosts[name].pid)
        return [*process.children(recursive=True), process]

    def kill(self, name: str) -> None:
        """Kill all of a host at once."""
        if self._hosts[name].poll() is None:
            for one in self.processes(name):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        self._hosts.pop(name).wait()

    def close(self) -> None:
        """Kill all hosts."""
        for name in reversed(list(self._hosts)):
            self.kill(name)
        if self._redis is not None:
            self._redis.kill()
            self._redis.wait()
        self.network.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sockets(self) -> set[tuple[str, int]]:
        """Return the sockets of raylets by name and time: a host that comes back may use its old one."""
        sockets = Path(self._folder).glob("session_*/sockets/raylet*")
        return {(path.name, path.stat().st_mtime_ns) for path in sockets}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
