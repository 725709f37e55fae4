"""A Ray cluster of several hosts on this machine, each of which can be killed as a host that loses power."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

LONG_S = 240.0
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start"]
HEALTH = {"initial_delay_ms": 5000, "period_ms": 500, "timeout_ms": 2000, "failure_threshold": 4}
"""More patient than docs/fleet.md has it: tests run on busy machines."""


class RayHosts:
    """Hosts by name; the first is the head. `environment`: of every process that is to join them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._folder = tempfile.mkdtemp(prefix="ecg-hosts-", dir="/tmp")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        health = {f"RAY_health_check_{name}": str(value) for name, value in HEALTH.items()}
        self.environment = environment | own | health | {"RAY_worker_niceness": "0"}
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}

    def add(self, name: str) -> None:
        """Start a host and wait for its sign of life."""
        head = ["--head", f"--port={self.address.rpartition(':')[2]}", "--include-dashboard=false"]
        place = [f"--address={self.address}"] if self._hosts else [*head, f"--temp-dir={self._folder}"]
        size = ["--num-cpus=1", f"--object-store-memory={80 * 2**20}", "--node-ip-address=127.0.0.1"]
        command = [*RAY, *place, *size, f"--node-name={name}", "--block", "--disable-usage-stats"]
        known = len(self._sockets())
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            self._hosts[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=nowhere, stderr=nowhere
            )
        until_s = time.monotonic() + LONG_S
        while len(self._sockets()) <= known:
            assert self._hosts[name].poll() is None, f"{name} has ended"
            assert time.monotonic() < until_s
            time.sleep(0.1)

    @property
    def names(self) -> list[str]:
        """The hosts that are there."""
        return list(self._hosts)

    def processes(self, name: str) -> list[psutil.Process]:
        """Return all processes of a host, its monitors as well."""
        process = psutil.Process(self._hosts[name].pid)
        return [*process.children(recursive=True), process]

    def kill(self, name: str) -> None:
        """Kill all of a host at once."""
        for one in self.processes(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._hosts.pop(name).wait()

    def close(self) -> None:
        """Kill all hosts."""
        for name in reversed(list(self._hosts)):
            self.kill(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sockets(self) -> list[Path]:
        return list(Path(self._folder).glob("session_*/sockets/raylet*"))
