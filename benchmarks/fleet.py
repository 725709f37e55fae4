"""A fleet on two hosts of one machine, to which bad things happen: `python -m benchmarks.fleet [--beds 32 --times 20]`.

Two Ray nodes in network namespaces (as root), each with a cable; a simulated ward of two devices at ten times real
time; a monitor a device that nobody disturbs and that tells a store of its own. Each fault meets a replica that speaks.
Measured is how long the store hears nothing of a bed then, and how many rows of both stores differ at the end; before
all that, what the fleet costs; and at the end the same with one replica. Ray's head, which keeps its state in Redis
(redis-server), is on the host `north`.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from threading import Thread

import psutil

from benchmarks.fleet_ward import FleetWard, fleet_hosts, fleet_ward, read_contents, read_status, wait_for
from benchmarks.ray_hosts import RayHosts
from model.errors import RunError

MEASURED_S = 20.0
OLD_S = 15.0
"""Two minutes of signal at ten times real time, and some more: then a new replica is an old one."""
CUT_S, HEAD_GONE_S, STORE_GONE_S = 20.0, 30.0, 10.0
STALL_S, STEADY_S = 240.0, 10.0
"""The longest that a fault is waited for, and how long it is watched if no replica is missed."""
DEVICES = 2
Fault = Callable[[FleetWard, str], None]


def kill_monitor(ward: FleetWard, host: str) -> None:
    """Kill a monitor."""
    os.kill(ward.replicas(host)[0].pid, signal.SIGKILL)


def freeze_monitor(ward: FleetWard, host: str) -> None:
    """Let a monitor stand still."""
    os.kill(ward.replicas(host)[0].pid, signal.SIGSTOP)


def kill_actor(ward: FleetWard, host: str) -> None:
    """Kill the process of an actor."""
    os.kill(psutil.Process(ward.replicas(host)[0].pid).ppid(), signal.SIGKILL)


def kill_host(ward: FleetWard, host: str) -> None:
    """Kill a host, unless it is the head, whose monitor is killed instead."""
    if host == "north":
        kill_monitor(ward, host)
    else:
        ward.hosts.kill(host)


def drain_host(ward: FleetWard, _host: str) -> None:
    """Drain a host other than the head, stop it, and let it join again."""
    assert ward.drain("south") == 0, ward.output("drain")
    ward.hosts.kill("south")
    ward.hosts.add("south")


def cut_cable(ward: FleetWard, _host: str) -> None:
    """Cut the cable of a host other than the head for some time."""
    ward.hosts.network.cut("south")
    time.sleep(CUT_S)
    ward.hosts.network.mend("south")


def kill_head(ward: FleetWard, _host: str) -> None:
    """Kill the host with Ray's head and the command; both come back."""
    ward.hosts.kill("north")
    time.sleep(HEAD_GONE_S)
    ward.hosts.add("north")
    ward.follow_again()


def restart_store(ward: FleetWard, _host: str) -> None:
    """Kill the server of the store, which comes back."""
    ward.restart_store(STORE_GONE_S)


FAULTS: dict[str, Fault] = {
    "monitor killed": kill_monitor,
    "monitor frozen": freeze_monitor,
    "actor killed": kill_actor,
    "host killed": kill_host,
    "host drained": drain_host,
    "cable cut": cut_cable,
    "head gone": kill_head,
    "store gone": restart_store,
}


def speaking_host(ward: FleetWard) -> str:
    """Return a host other than the head, if one of its monitors speaks for a bed, else the head."""
    status = read_status(ward.store)
    if status is None:
        raise RunError("the store does not answer")
    speakers = {bed.speaker for bed in status.beds}
    speaking = [host for host in ("south", "north") if any(one.name in speakers for one in ward.replicas(host))]
    return speaking[0] if speaking else "north"


def longest_stall(ward: FleetWard, fault: Fault, host: str) -> float:
    """Do a fault and wait until all replicas listen again; return how long the store heard nothing of a bed at most."""
    before = read_status(ward.store)
    told = {bed.bed: bed.told_s for bed in before.beds} if before else {}
    doing = Thread(target=fault, args=(ward, host))
    doing.start()
    began_s = time.monotonic()
    changed_s, longest_s, has_fallen, steady_s = dict.fromkeys(told, began_s), 0.0, False, began_s
    while time.monotonic() - began_s < STALL_S:
        status = read_status(ward.store)
        now_s = time.monotonic()
        for bed in status.beds if status else ():
            if bed.told_s != told.get(bed.bed):
                longest_s = max(longest_s, now_s - changed_s.get(bed.bed, began_s))
                told[bed.bed], changed_s[bed.bed] = bed.told_s, now_s
        listening = ward.listeners(ward.store)
        has_fallen = has_fallen or min(listening, default=0) < ward.replicas_a_shard
        if doing.is_alive() or listening != [ward.replicas_a_shard] * ward.beds:
            steady_s = now_s
        elif has_fallen or now_s - steady_s >= STEADY_S:
            break
        time.sleep(0.05)
    doing.join()
    return longest_s


def cpu_and_memory(ward: FleetWard) -> dict[str, float]:
    """Return shares of a core, and PSS in megabytes, of what Ray takes and what monitors take."""
    groups: dict[str, list[psutil.Process]] = {"ray": [], "fleet monitors": [], "plain monitors": []}
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(ward.store) in line and "agent.fleet.monitor_child" in line:
            groups["fleet monitors"].append(process)
        elif ward.plain in line:
            groups["plain monitors"].append(process)
    for name in ward.hosts.names:
        tree = ward.hosts.processes(name)
        groups["ray"] += [one for one in tree if one not in groups["fleet monitors"]]
    began = {name: sum(sum(one.cpu_times()[:2]) for one in own) for name, own in groups.items()}
    time.sleep(MEASURED_S)
    figures: dict[str, float] = {}
    for name, own in groups.items():
        spent = sum(sum(one.cpu_times()[:2]) for one in own) - began[name]
        figures[f"{name}, % of a core"] = 100 * spent / MEASURED_S
        figures[f"{name}, MB"] = sum(one.memory_full_info().pss for one in own) / 2**20
    return figures


def differences(ward: FleetWard) -> str:
    """Return how the two stores differ."""
    (beats, ledgers, alarms), (told, told_ledgers, told_alarms) = map(read_contents, (ward.plain, ward.file))
    label = {(beat.bed, beat.run, beat.sample): beat.label for beat in beats}
    found = {(beat.bed, beat.run, beat.sample): beat.label for beat in told}
    twice, lost = len(told) - len(found), len(label.keys() - found.keys())
    other = sum(label[key] != found[key] for key in label.keys() & found.keys())
    states = [{(row.identity, row.ended) for row in rows} for rows in (alarms, told_alarms)]
    return (
        f"{len(beats)} beats: {lost} lost, {len(found.keys() - label.keys())} more, {twice} twice, {other} of another "
        f"class; ledgers {'equal' if ledgers == told_ledgers else 'DIFFER'}; {len(states[0])} alarms: "
        f"{len(states[0] ^ states[1])} differ"
    )


def settle(ward: FleetWard) -> None:
    """Wait until both hosts have their replicas, and these are old; start a host again whose Ray has ended."""

    def is_whole() -> bool:
        for host in {"north", "south"} - {*ward.hosts.names}:
            ward.hosts.add(host)
        each = [len(ward.replicas(host)) for host in ("north", "south")]
        return ward.listeners(ward.store) == [ward.replicas_a_shard] * ward.beds and (
            each == [DEVICES, DEVICES] or ward.replicas_a_shard == 1
        )

    wait_for(is_whole, "replicas on both hosts")
    time.sleep(OLD_S)


def measure(folder: Path, hosts: RayHosts, beds: int, times: int, replicas: int, faults: Sequence[str]) -> None:
    """Run one fleet through all faults, and print what was measured."""
    with fleet_ward(folder, hosts, beds, 10) as ward:
        began_s = time.monotonic()
        ward.begin(replicas)
        print(f"{replicas} replicas, {beds} beds: all listen {time.monotonic() - began_s:.1f} s after the start")
        for name, figure in cpu_and_memory(ward).items() if replicas > 1 else ():
            print(f"  {name}: {figure:.1f}")
        for name in faults:
            stalls = []
            for _ in range(times):
                settle(ward)
                host = speaking_host(ward) if replicas > 1 or name != "host killed" else "south"
                stalls.append(longest_stall(ward, FAULTS[name], host))
            print(f"  {name}: nothing told for {', '.join(f'{stall:.1f}' for stall in sorted(stalls))} s", flush=True)
        ward.finish()
        print(f"  {differences(ward)}", flush=True)


@contextlib.contextmanager
def work_folder(kept: Path | None) -> Iterator[Path]:
    """A new folder, which goes again unless it is in one that is `kept`."""
    if kept is not None:
        yield Path(mkdtemp(dir=kept))
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    """Measure with two replicas and with one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beds", type=int, default=32)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--replicas", nargs="+", type=int, default=[2, 1])
    parser.add_argument("--folder", type=Path, help="where to keep the stores, and what all have printed")
    arguments = parser.parse_args(sys.argv[1:])
    began_s = time.monotonic()
    with fleet_hosts("north", "south", redis=True) as hosts:
        print(f"two hosts of Ray: {time.monotonic() - began_s:.1f} s")
        for replicas in arguments.replicas:
            with work_folder(arguments.folder) as folder:
                measure(folder, hosts, arguments.beds, arguments.times, replicas, arguments.faults)


if __name__ == "__main__":
    main()
