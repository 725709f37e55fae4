"""A replica of a shard as a Ray actor: it keeps one ordinary monitor a device running, and answers how they are."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from agent.fleet.fleet_plan import FleetDevice, FleetPlan, monitor_name
from agent.fleet.monitor_process import MonitorProcess, MonitorState

TEND_S = 1.0
PACKAGE_ROOT = Path(__file__).parents[2]
ENDLESS_S = "100000000"
"""A monitor of a fleet waits for its device for ever: to end and start again would only take CPU."""
ACTOR_OPTIONS: dict[str, Any] = {
    "num_cpus": 0,
    "max_restarts": -1,
    "max_task_retries": 0,
    "max_concurrency": 4,
    "lifetime": "detached",
}
"""It comes back on whatever host there is, is not asked twice, and outlives the command that began it."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """On which host (id in the cluster) a replica is, the process of its actor, and its monitors."""

    host: str
    pid: int
    monitors: tuple[MonitorState, ...]


class ReplicaActor:
    """The replica `serial` of a shard; `host`: returns the id of the host that it is on."""

    def __init__(self, plan: FleetPlan, shard: int, serial: int) -> None:
        self._host = _current_host()
        self._monitors = [
            MonitorProcess(
                monitor_name(plan, shard, serial, number),
                monitor_arguments(plan, device, monitor_name(plan, shard, serial, number)),
                _monitor_environment(),
            )
            for number, device in enumerate(plan.shards[shard])
        ]
        self._is_over = Event()
        Thread(target=self._tend, name="monitors", daemon=True).start()

    def describe(self) -> ReplicaState:
        """Return how it is."""
        return ReplicaState(self._host, os.getpid(), tuple(monitor.state() for monitor in self._monitors))

    def kill_monitor(self, pid: int, reason: str) -> bool:
        """Kill the monitor with this process id, which starts again; return False if there is none."""
        return any(monitor.kill(pid, reason) for monitor in self._monitors)

    def end(self) -> None:
        """End all monitors, which tell what they have first, and wait for it."""
        self._is_over.set()
        for monitor in self._monitors:
            monitor.begin_end()
        for monitor in self._monitors:
            monitor.wait_for_end()

    def _tend(self) -> None:
        while not self._is_over.is_set():
            for monitor in self._monitors:
                monitor.tend()
            self._is_over.wait(TEND_S)
        while True:  # on Linux a monitor would die with this thread
            time.sleep(3600.0)


def monitor_arguments(plan: FleetPlan, device: FleetDevice, name: str) -> list[str]:
    """Return the command line of the monitor of a device, after `ecg-agent`: anybody may run the same without Ray."""
    beds = [part for bed in device.beds for part in ("--bed", bed)]
    keys = [part for option, key in (("--key", device.key), ("--server-key", device.server_key)) if key
            for part in (option, key)]  # fmt: skip
    told = ["--publish", plan.store, "--replica", name]
    return ["monitor", "--endpoint", device.endpoint, *beds, *keys, *told, "--json", *plan.options]


def _monitor_environment() -> dict[str, str]:
    paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "ECG_AGENT_MONITOR_TIMEOUT_S": ENDLESS_S}


def _current_host() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())
