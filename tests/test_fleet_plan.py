"""Which shard follows what, where replicas go, and what a fleet refuses, without Ray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import REPOSITORY, Refused, environment, refused, run

from agent.cli.replay import DeviceLayout
from agent.fleet.fleet_driver import prepare_store
from agent.fleet.fleet_needs import FleetNeeds, check_fleet_host, find_unreachable
from agent.fleet.fleet_plan import (
    FleetDevice,
    FleetPlan,
    format_devices,
    monitor_name,
    plan_shards,
    read_devices,
    replica_name,
)
from agent.fleet.monitor_process import MonitorProcess
from agent.fleet.placement import FleetHost, Move, PlacedReplica, choose_host, find_move
from agent.fleet.rendezvous import choose_shard
from agent.fleet.replica_actor import monitor_arguments
from model.errors import ConfigError

assert refused is not None  # a fixture
HOSTS = [FleetHost(name, name) for name in ("a", "b", "c")]
ONE_DEVICE: dict[int, frozenset[str]] = {shard: frozenset({f"tcp://d{shard}:1"}) for shard in range(6)}


def test_a_new_shard_moves_its_share_only() -> None:
    """Of 3,000 names a fifth goes to the fifth shard, and none moves between the others; all shards are used alike."""
    names = [f"tcp://10.0.{i // 250}.{i % 250}:5555" for i in range(3000)]
    four, five = ([choose_shard(name, range(shards)) for name in names] for shards in (4, 5))
    moved = [(old, new) for old, new in zip(four, five, strict=True) if old != new]
    assert {new for _, new in moved} == {4}
    assert len(moved) == pytest.approx(600, abs=80)
    assert [five.count(shard) for shard in range(5)] == pytest.approx([600] * 5, abs=80)
    assert choose_shard("tcp://bed:5555", range(7)) == 3  # the same for ever, on every host


def test_devices_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Beds may have quotes and umlauts."""
    devices = [FleetDevice("tcp://127.0.0.1:5555", ('a"b\\', "Bett ü")), FleetDevice("tcp://[::1]:5557")]
    path = tmp_path / "devices.toml"
    path.write_text(format_devices(devices), encoding="utf-8")
    assert read_devices(path) == devices


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing required field `device`"),
        ("device = []", "names no device"),
        ("[[device]]", "missing required field `endpoint`"),
        ('[[device]]\nendpoint = "ipc://x"', "[[device]] with endpoint = "),
        ('[[device]]\nendpoint = "tcp://a:1"\nbed = ["x"]', "unknown field `bed`"),
        ('[[device]]\nendpoint = "tcp://a:1"\n[[device]]\nendpoint = "tcp://a:1"', "names tcp://a:1 twice"),
        ('[[device]]\nendpoint = "tcp://a:1"\nbeds = ["x", "x"]', "names bed x of tcp://a:1 twice"),
        ("[[device", "is no list of devices"),
    ],
)
def test_bad_files_of_devices(tmp_path: Path, text: str, reason: str) -> None:
    """Each says what is wrong."""
    path = tmp_path / "devices.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_devices(path)
    assert reason in str(error.value)


def test_shards() -> None:
    """Whole devices go to shards, but beds of a single device; each is followed once."""
    devices = [FleetDevice(f"tcp://d{i}:1", ("x", "y")) for i in range(20)]
    shards = plan_shards(devices, 3)
    assert sorted(shards) == [0, 1, 2]
    assert sorted(device.endpoint for own in shards.values() for device in own) == sorted(d.endpoint for d in devices)
    beds = tuple(str(i) for i in range(30))
    shared = plan_shards([FleetDevice("tcp://d:1", beds)], 3)
    assert sorted((bed for (device,) in shared.values() for bed in device.beds), key=int) == list(beds)
    assert list(plan_shards([FleetDevice("tcp://d:1")], 9)) == [choose_shard("tcp://d:1", range(9))]
    with pytest.raises(ConfigError, match="0 shards make no sense"):
        plan_shards(devices, 0)


def test_names_and_arguments_of_monitors() -> None:
    """Each monitor of a replica has a name of its own, and a command line that needs no Ray."""
    devices = FleetDevice("tcp://a:1", ("x",), server_key="a.key"), FleetDevice("tcp://b:1")
    plan = FleetPlan("north", {0: devices, 1: devices[1:]}, 2, "store://s:5570", ("--weights", "best"))
    assert replica_name(plan, 0, 3) == "north/0.3"
    assert [monitor_name(plan, 0, 3, i) for i in (0, 1)] == ["north/0.3.0", "north/0.3.1"]
    assert monitor_name(plan, 1, 1, 0) == "north/1.1"
    command = "monitor --endpoint tcp://a:1 --bed x --server-key a.key --publish store://s:5570 --replica n --json"
    assert monitor_arguments(plan, devices[0], "n") == [*command.split(), "--weights", "best"]


def place_all(shards: int, hosts: list[FleetHost], replicas: int = 2) -> list[PlacedReplica]:
    """Place all replicas one after the other."""
    placed: list[PlacedReplica] = []
    for shard in range(shards):
        for serial in range(replicas):
            host = choose_host(shard, ONE_DEVICE[shard], hosts, placed)
            assert host is not None
            placed.append(PlacedReplica(shard, serial, host.id))
    return placed


def settle(hosts: list[FleetHost], placed: list[PlacedReplica]) -> tuple[list[PlacedReplica], list[Move]]:
    """Make moves until there is none."""
    moves = []
    while (move := find_move(ONE_DEVICE, hosts, placed)) is not None:
        moves.append(move)
        assert len(moves) < 50
        new = PlacedReplica(move.replica.shard, move.replica.serial + 10, move.host.id)
        placed = [*(replica for replica in placed if replica != move.replica), new]
    return placed, moves


def test_replicas_are_spread() -> None:
    """Twins are on different hosts, hosts have alike many, and nothing moves."""
    placed = place_all(6, HOSTS)
    for shard in range(6):
        assert len({replica.host for replica in placed if replica.shard == shard}) == 2
    assert sorted([r.host for r in placed].count(host.id) for host in HOSTS) == [4, 4, 4]
    assert find_move(ONE_DEVICE, HOSTS, placed) is None
    assert choose_host(0, ONE_DEVICE[0], [], []) is None
    assert len(place_all(2, HOSTS[:1])) == 4  # on one host, where there is no other


def test_hosts_join_and_leave() -> None:
    """A host that joins gets its share and no more; one that is to be left loses all, with its twins apart."""
    placed, moves = settle(HOSTS, place_all(6, HOSTS[:2]))
    assert len(moves) == 4
    assert {move.host.id for move in moves} == {"c"}
    leaving = [HOSTS[0], FleetHost("b", "b", is_leaving=True), HOSTS[2]]
    placed, moves = settle(leaving, placed)
    assert {move.reason for move in moves} == {"b is left"}
    assert {replica.host for replica in placed} == {"a", "c"}
    for shard in range(6):
        assert len({replica.host for replica in placed if replica.shard == shard}) == 2


def test_a_device_that_only_one_host_reaches() -> None:
    """Both replicas go where its device can be heard, and come apart when another host reaches it."""
    far = frozenset(ONE_DEVICE[0])
    hosts = [HOSTS[0], FleetHost("b", "b", unreachable=far)]
    placed = place_all(1, hosts)
    assert [replica.host for replica in placed] == ["a", "a"]
    assert find_move(ONE_DEVICE, hosts, placed) is None
    placed, moves = settle(HOSTS[:2], placed)
    assert [move.reason for move in moves] == ["two replicas of it were on one host"]
    assert {replica.host for replica in placed} == {"a", "b"}


def test_the_older_twin_stays() -> None:
    """It has heard more of the patients, and speaks."""
    twins = [PlacedReplica(0, serial, "a") for serial in (2, 3)]
    move = find_move(ONE_DEVICE, HOSTS[:2], twins)
    assert move is not None
    assert (move.replica.serial, move.host.name) == (3, "b")


def test_what_a_host_lacks(tmp_path: Path) -> None:
    """Another version, no weights, other weights, no way to the store or a device."""
    from importlib.metadata import version

    own = version("ecg-agent")
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    nobody = "tcp://127.0.0.1:1"
    assert check_fleet_host(FleetNeeds(own, str(weights), digest, "", ())) == ("", [])
    problem, _ = check_fleet_host(FleetNeeds("0.0", str(weights), digest, "", ()))
    assert problem == f"ecg-agent {own} is installed there, 0.0 here"
    assert check_fleet_host(FleetNeeds(own, "none", digest, "", ()))[0] == "it has no weights none"
    assert "are not those here" in check_fleet_host(FleetNeeds(own, str(weights), "0", "", ()))[0]
    assert "does not reach the store" in check_fleet_host(FleetNeeds(own, str(weights), digest, nobody, ()))[0]
    assert find_unreachable([nobody, "tcp://no.such.host.invalid:1"]) == [nobody, "tcp://no.such.host.invalid:1"]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--store", "store:x.db", "--devices", "none.toml"], 3, "cannot read none.toml"),
        (["--store", "store:x.db", "--name", ""], 3, "a fleet has a name of up to 40"),
        (["--store", "store:x.db", "--name", "a/b"], 3, "no / (--name)"),
        (["--store", "store:x.db", "--shards", "0"], 3, "0 shards make no sense"),
        (["--store", "nothing"], 3, "'nothing' is no database"),
        (["--store", "store:/nowhere/x.db"], 12, "store:/nowhere/x.db: "),
        (["--store", "store:/proc/x.db"], 12, "store:/proc/x.db: "),
        (["--store", "store://127.0.0.1:1"], 12, "store://127.0.0.1:1"),
        (["--store", "store:x.db", "--weights", "none"], 7, "no weights 'none'"),
    ],
)
def test_bad_input(refused: Refused, arguments: list[str], code: int, reason: str, tmp_path: Path) -> None:
    """One line and an exit code, before Ray is started."""
    arguments = [str(tmp_path / "x.db").join(("store:", "")) if text == "store:x.db" else text for text in arguments]
    exit_code, line = refused("fleet", "run", *arguments)
    assert reason in line
    assert exit_code == code


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ('endpoint = "tcp://10.1.1.1:5555"', "is beyond this machine, and without keys"),
        ('endpoint = "tcp://127.0.0.1:5555"\nserver_key = "none.key"', "but not our own key"),
        ('endpoint = "tcp://10.1.1.1:5555"\nserver_key = "none.key"\nkey = "no.key_secret"', "no.key_secret"),
    ],
)
def test_devices_that_can_never_be_reached(refused: Refused, device: str, reason: str, tmp_path: Path) -> None:
    """They are refused before anything begins, rather than their monitors started again for ever."""
    devices, store = tmp_path / "devices.toml", tmp_path / "x.db"
    devices.write_text(f"[[device]]\n{device}\n")
    exit_code, line = refused("fleet", "run", "--store", f"store:{store}", "--devices", str(devices))
    assert (exit_code, reason in line, store.exists()) == (3, True, False)


def test_another_fleets_store(refused: Refused, tmp_path: Path) -> None:
    """A store belongs to the fleet that made it; a cluster that is not there is said, and no store is made for it."""
    store = f"store:{tmp_path}/x.db"
    nowhere = ("--cluster", "127.0.0.1:1")
    code, line = refused("fleet", "run", "--store", store, "--name", "north", *nowhere)
    assert (code, "no cluster answers at 127.0.0.1:1" in line) == (6, True)
    assert list(tmp_path.iterdir()) == []
    prepare_store(store, "north")
    code, line = refused("fleet", "run", "--store", store, "--name", "south")
    assert (code, "is the store of the fleet 'north', not of 'south'" in line) == (3, True)


def test_several_devices_of_one_ward(tmp_path: Path) -> None:
    """Beds are dealt to devices, each with two ports, and the file lists them."""
    path = tmp_path / "devices.toml"
    options = ("--hosts", "2", "--devices", str(path), "--endpoint", "tcp://127.0.0.1:*", "--duration", "1")
    done = run("simulate", "ward", "100", "208", "119", *options)
    assert done.returncode == 0, done.stderr
    assert [device.beds for device in read_devices(path)] == [("100", "119"), ("208",)]
    refusal = run("simulate", "ward", "100", "--hosts", "2", "--endpoint", "tcp://127.0.0.1:*")
    assert (refusal.returncode, "a bed for each" in refusal.stderr) == (3, True)
    assert DeviceLayout().devices == 1


@pytest.mark.slow
def test_a_monitor_process_is_started_again() -> None:
    """It is started again after its death and after a stop; a wrong command is tried with growing pauses."""
    monitor = MonitorProcess("m", ["simulate", "record", "100", "--endpoint", "tcp://127.0.0.1:*"], environment())
    wrong = MonitorProcess("w", ["monitor", "--device", "gpu"], environment())
    try:
        first = until_pid(monitor, 0)
        os.kill(first, signal.SIGKILL)
        second = until_pid(monitor, first)
        assert monitor.state().reason == "it was killed (Killed)"
        os.kill(second, signal.SIGSTOP)
        third = until_pid(monitor, second)
        assert monitor.state().reason == "it stood still"
        assert not monitor.kill(second, "no")
        assert monitor.kill(third, "the store had not heard it")
        assert (monitor.state().pid, monitor.state().reason) == (0, "the store had not heard it")
        until_s = time.monotonic() + 60
        while "--device gpu" not in wrong.state().reason and time.monotonic() < until_s:
            wrong.tend()
            time.sleep(0.1)
        assert "--device gpu makes no sense" in wrong.state().reason
    finally:
        for one in (monitor, wrong):
            one.begin_end()
            one.wait_for_end()


def until_pid(monitor: MonitorProcess, other: int) -> int:
    """Tend a monitor until it has another process."""
    until_s = time.monotonic() + 60
    while (pid := monitor.state().pid) in (0, other):
        monitor.tend()
        time.sleep(0.1)
        assert time.monotonic() < until_s
    return pid


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a process that is killed")
def test_a_monitor_ends_with_its_parent(stopped: bool) -> None:
    """Whoever is killed takes its monitor along, even one that stands still."""
    program = (
        "import os, sys, time\n"
        "from agent.fleet.monitor_process import MonitorProcess\n"
        "m = MonitorProcess('m', ['simulate', 'record', '100', '--endpoint', 'tcp://127.0.0.1:*'], dict(os.environ))\n"
        "m.tend()\n"
        "time.sleep(3)\n"
        "print(m.state().pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment()) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        if stopped:
            os.kill(child, signal.SIGSTOP)
        parent.kill()
        until_s = time.monotonic() + 60
        while Path(f"/proc/{child}").exists() and time.monotonic() < until_s:
            time.sleep(0.1)
        assert not Path(f"/proc/{child}").exists()
