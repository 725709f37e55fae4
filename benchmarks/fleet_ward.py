"""A fleet on hosts of this machine, the ward that it follows, and a monitor a device that nobody disturbs."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agent.core.config import load_config
from agent.core.messages import Ledger
from agent.fleet.fleet_plan import read_devices
from agent.store.store_address import ask_store, open_store_client, open_store_database
from agent.store.store_messages import AlarmTold, AskStatus, BeatTold, ReplicaStatus, StatusReply
from agent.store.store_reader import read_alarms, read_ledgers, read_told_beats
from benchmarks.ray_hosts import RayHosts
from model.errors import EcgError

LONG_S = 240.0
REPOSITORY = Path(__file__).parent.parent
AGENT = [sys.executable, "-m", "agent"]
STILL_S = 5
"""A store that has changed nothing for this long has all."""
KEPT = {"ECG_AGENT_SIMULATE_KEEP_S": "7200", "ECG_AGENT_LINK_BACKFILL_S": "7200"}
"""Ten times real time is fast: ten minutes would be one."""


def read_status(address: str) -> StatusReply | None:
    """Return the overview of a store; None while there is none."""
    client = None
    try:
        security = replace(load_config(None, {}).security, insecure=True)
        client = open_store_client(address, security, make=False)
        return ask_store(client, AskStatus(), StatusReply)
    except EcgError:
        return None
    finally:
        if client is not None:
            client.close()


def read_contents(address: str) -> tuple[list[BeatTold], dict[tuple[str, str], Ledger], list[AlarmTold]]:
    """Return beats, ledgers and alarms of the store in a file."""
    database = open_store_database(address, make=False)
    try:
        return read_told_beats(database), read_ledgers(database), read_alarms(database)
    finally:
        database.close()


def wait_for(is_so: Callable[[], bool], what: str, longest_s: float = LONG_S) -> None:
    """Wait until something is so."""
    end = time.monotonic() + longest_s
    while not is_so():
        assert time.monotonic() < end, f"{what}: not within {longest_s:g} s"
        time.sleep(0.1)


class FleetWard:
    """A simulated ward of two devices, `fleet run` over `hosts`, and plain monitors with a store of their own.

    Everything is in the background, what it prints in files of `folder`. Devices and stores are on no host of the
    fleet, the command `fleet run` is on that with Ray's head.
    """

    def __init__(self, folder: Path, hosts: RayHosts, beds: int, speed: int) -> None:
        self.folder, self.hosts, self.beds = folder, hosts, beds
        self.plain = f"store:{folder}/plain.db"
        self._devices = folder / "devices.toml"
        self._processes: list[subprocess.Popen[bytes]] = []
        here = f"tcp://{hosts.network.outside}:*"
        layout = ("--loop", "--hosts", "2", "--devices", str(self._devices), "--endpoint", here)
        self._ward = self._start(
            "ward", "simulate", "ward", "--beds", str(beds), "--speed", str(speed), *layout, "--wait"
        )
        self.file = f"store:{folder}/fleet.db"
        self.store = here.replace("tcp://", "store://")
        self._server = self.start_store()
        wait_for(self._devices.exists, "devices")
        self.run: subprocess.Popen[bytes] | None = None
        self.replicas_a_shard = 2

    def begin(self, replicas: int = 2) -> None:
        """Start the fleet, then the plain monitors; wait until all listen to all beds."""
        self.replicas_a_shard = replicas
        self.run = self.start_fleet("fleet")
        for number, device in enumerate(read_devices(self._devices)):
            told = ("--publish", self.plain, "--replica", f"plain-{number}")
            self._start(f"plain-{number}", "monitor", "--endpoint", device.endpoint, "--json", *told)
        self.wait_until_all_listen()
        for host in self.hosts.names if replicas > 1 else ():  # the command may say so a moment later
            self.wait_for_line(rf"replica \S+ is up.* on {host}")
        wait_for(lambda: self.listeners(self.plain) == [1] * self.beds, "plain monitors listen to all beds")

    def start_store(self) -> "subprocess.Popen[bytes]":
        """Start the server of the store, at the address that it had before; return its process."""
        bind = self.store.replace("store://", "tcp://")
        process = self._start("store", "fleet", "store", str(self.folder / "fleet.db"), "--bind", bind)
        wait_for(lambda: "store://" in self.output("store"), "store")
        found = re.search(r"store://[\d.]+:\d+", self.output("store"))
        assert found is not None
        self.store = found.group()
        return process

    def restart_store(self, away_s: float) -> None:
        """Kill the server of the store, and start it again after some seconds."""
        self._server.kill()
        self._server.wait()
        time.sleep(away_s)
        self._server = self.start_store()

    def start_fleet(self, output: str) -> "subprocess.Popen[bytes]":
        """Start `fleet run`."""
        size = ("--devices", str(self._devices), "--shards", "2", "--replicas", str(self.replicas_a_shard))
        options = (*size, "--name", "ward", "--store", self.store)
        place = self.hosts.network.on(self.hosts.head)
        return self._start(output, "fleet", "run", *options, "--cluster", self.hosts.address, place=place)

    def follow_again(self) -> None:
        """Start `fleet run` again, whose host has died."""
        assert self.run is not None
        self.run.kill()
        self.run.wait()
        self.run = self.start_fleet("fleet")

    def drain(self, host: str) -> int:
        """Run `fleet drain` to its end; return its exit code."""
        place = self.hosts.network.on(self.hosts.head)
        options = ("--name", "ward", "--cluster", self.hosts.address)
        return self._start("drain", "fleet", "drain", host, *options, place=place).wait(LONG_S)

    def end(self) -> int:
        """Run `fleet end` to its end; return its exit code."""
        place = self.hosts.network.on(self.hosts.head)
        options = ("--name", "ward", "--cluster", self.hosts.address)
        return self._start("end", "fleet", "end", *options, place=place).wait(LONG_S)

    def output(self, name: str = "fleet") -> str:
        """What a process has printed."""
        return (self.folder / name).read_text()

    def says(self, pattern: str, times: int = 1) -> bool:
        """Return whether the fleet has printed so many lines with this pattern."""
        return len(re.findall(pattern, self.output())) >= times

    def wait_for_line(self, pattern: str, times: int = 1) -> None:
        """Wait for so many lines of the fleet."""
        wait_for(lambda: self.says(pattern, times), pattern)

    def wait_until_all_listen(self) -> None:
        """Wait until each bed has all its replicas again, and they have caught up."""
        wanted = [self.replicas_a_shard] * self.beds
        wait_for(lambda: self.listeners(self.store) == wanted, "all replicas listen to all beds")

    def listeners(self, store: str) -> list[int]:
        """Return how many living replicas listen to each bed."""
        status = read_status(store)
        return [bed.listeners for bed in status.beds] if status else []

    def hosts_of_replicas(self) -> dict[str, str]:
        """Return the host of each replica, as `fleet` has said where they are."""
        return dict(re.findall(r"replica (ward/\S+) is up.* on (\S+)", self.output()))

    def replicas(self, name: str) -> list[ReplicaStatus]:
        """Return the living monitors of the replicas on a host."""
        on_host = self.hosts_of_replicas()
        status = read_status(self.store)
        assert status is not None
        own = [replica for replica, host in on_host.items() if host == name]
        return [one for one in status.replicas if one.is_alive and any(
            one.name == replica or one.name.startswith(f"{replica}.") for replica in own)]  # fmt: skip

    def finish(self) -> None:
        """End the ward where it stands, wait until both stores have all of it, and end the fleet."""
        self._ward.terminate()
        self._ward.wait()
        told: list[object] = []

        def is_still() -> bool:
            beats, ledgers, _ = read_contents(self.file)
            told.append((len(beats), ledgers))
            time.sleep(1.0)
            return ledgers == read_contents(self.plain)[1] and told[-STILL_S:] == [told[-1]] * STILL_S

        wait_for(is_still, "both stores have all samples, and nothing more is told")
        assert self.run is not None
        self.run.send_signal(signal.SIGTERM)
        assert self.run.wait(LONG_S) == 0, self.output()

    def close(self) -> None:
        """Kill what is still there."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def _start(self, output: str, *arguments: str, place: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        command = [*place, *AGENT, *arguments]
        with (self.folder / output).open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=REPOSITORY, env=self.hosts.environment
            )
        self._processes.append(process)
        return process


@contextlib.contextmanager
def fleet_hosts(*names: str, redis: bool = False) -> Iterator[RayHosts]:
    """A cluster with hosts of these names, whose processes find this package; `redis`: which keeps its state there."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ECG_AGENT_")}
    own = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(REPOSITORY), "ECG_AGENT_SECURITY_INSECURE": "true"}
    hosts = RayHosts(clean | KEPT | own, redis)
    try:
        for name in names:
            hosts.add(name)
        yield hosts
    finally:
        hosts.close()


@contextlib.contextmanager
def fleet_ward(folder: Path, hosts: RayHosts, beds: int, speed: int) -> Iterator[FleetWard]:
    """A ward with its fleet, not yet begun."""
    ward = FleetWard(folder, hosts, beds, speed)
    try:
        yield ward
    finally:
        ward.close()
