"""What a command does with a fleet: begin it, or find it, say what changes, and end it."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from agent.cluster.ray_session import LOCAL, open_ray
from agent.core.config import SecurityConfig
from agent.fleet.coordinator import COORDINATOR, FleetCoordinator, FleetTask
from agent.fleet.fleet_needs import FleetNeeds
from agent.fleet.fleet_plan import FleetPlan
from agent.fleet.replica_actor import ACTOR_OPTIONS
from agent.store.fleet_store import TAKEOVER_S, FleetStore
from agent.store.store_address import (
    ask_store,
    is_new_store_file,
    open_store_client,
    open_store_database,
    read_store_address,
)
from agent.store.store_messages import AskReplicas, AskStatus, ReplicasReply, StatusReply
from agent.store.store_tables import name_fleet
from agent.wire.curve_security import check_endpoint, read_client_keys
from model.errors import EcgError, EndpointError, RunError, clean_error_text

NEWS_S = 0.3
CALL_S = 10.0
START_S = 120.0
"""How long the coordinator may take to come to life."""
END_S = 30.0
HEAD_RESOURCE = "node:__internal_head__"
"""What only the host with Ray's head has: a coordinator is there, for without the head it could not do anything."""
NICENESS = "RAY_worker_niceness"
"""Without this setting of 0 Ray lets all other programs go first, and alarms come late on a busy host."""
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class FleetWeights:
    """Weights by name, and their SHA-256."""

    name: str
    sha256: str


def run_fleet(
    plan: FleetPlan, cluster: str, weights: FleetWeights, security: SecurityConfig, stop: Callable[[], bool], say: Say
) -> None:
    """Run a fleet until it is stopped; `say` is called with a line for each thing that changes.

    Raises
    ------
    ConfigError, SourceError
        If the store cannot be used, or is that of another fleet; or Ray is not installed.
    EndpointError
        If there is no such cluster, or a fleet of this name runs already. Then no new store is left behind.
    """
    check_devices(plan, security)
    store = read_store_address(plan.store)
    check_store(store, plan.name, security)
    with _open_cluster(cluster) as ray:
        server = f"tcp://{urlsplit(store).netloc}" if store.startswith("store://") else ""
        is_file = store.startswith("store:") and not server
        endpoints = tuple(sorted(set().union(*map(plan.endpoints, plan.shards))))
        needs = FleetNeeds(version("ecg-agent"), weights.name, weights.sha256, server, endpoints)
        store_host = ray.util.get_node_ip_address() if is_file else ""
        task = FleetTask(plan, needs, security, store_host, fleet_namespace(plan.name))
        driver = secrets.token_hex(8)
        for shard, devices in plan.shards.items():
            beds = sum(len(device.beds) for device in devices)
            named = f", {beds} {'bed' if beds == 1 else 'beds'} by name" if beds else ""
            say(f"shard {shard}: {len(devices)} {'device' if len(devices) == 1 else 'devices'}{named}")
        found = coordinator = _find_coordinator(ray, plan.name)
        if coordinator is None:
            refuse_running_fleet(plan, security)
            if stop():
                return
            prepare_store(store, plan.name)
            options = ACTOR_OPTIONS | {"name": COORDINATOR, "namespace": task.namespace, "max_concurrency": 8}
            options |= {"resources": {HEAD_RESOURCE: 0.001}}
            coordinator = ray.remote(FleetCoordinator).options(**options).remote(task)
        try:
            refusal = ray.get(coordinator.follow.remote(driver, plan), timeout=START_S)
        except ray.exceptions.RayError as error:
            raise EndpointError(f"the fleet does not begin: {clean_error_text(error)[:200]}") from error
        if refusal:
            raise EndpointError(f"fleet {plan.name}: {refusal} (ecg-agent fleet end, or another --name)")
        if found is not None:
            say(f"the fleet {plan.name} runs already: this command follows it")
        if _follow(ray, coordinator, plan.name, driver, stop, say):
            say("ending the fleet")
            end_coordinator(ray, coordinator)
        else:
            say(f"the fleet {plan.name} was ended elsewhere")


def check_devices(plan: FleetPlan, security: SecurityConfig) -> None:
    """See that monitors may connect to the devices of a plan. Raises ConfigError, for keys that are broken as well."""
    for device in sorted({device for of_shard in plan.shards.values() for device in of_shard}, key=str):
        keys = replace(security, key=device.key or security.key, server_key=device.server_key or security.server_key)
        check_endpoint(device.endpoint, keys)
        read_client_keys(keys)


def check_store(address: str, fleet: str, security: SecurityConfig) -> None:
    """See that a store can be written and is of this fleet; a new one is not made yet.

    Raises ConfigError, SourceError.
    """
    if address.startswith("store://"):
        _ask_overview_of_server(address, fleet, security)
        return
    if is_new_store_file(address):
        return
    database = open_store_database(address)
    try:
        is_new = not database.tables()
    finally:
        database.close()
    if not is_new:
        prepare_store(address, fleet)


def prepare_store(address: str, fleet: str) -> None:
    """Make a store where there is none, and write to it; the server of one has done so itself.

    Raises ConfigError, SourceError.
    """
    if address.startswith("store://"):
        return
    database = open_store_database(address)
    try:
        store = FleetStore(database, fleet)
        store.prepare()
        with database.transaction():  # a store that is full or cannot be written says so now
            database.write("INSERT INTO about VALUES (?, ?)", [("probe", fleet)])
            database.write("DELETE FROM about WHERE key = ?", [("probe",)])
    finally:
        database.close()


def refuse_running_fleet(plan: FleetPlan, security: SecurityConfig) -> None:
    """Raise EndpointError if replicas of a fleet of this name tell the store: it may run in another cluster."""
    until_s = time.monotonic() + TAKEOVER_S + 1.0
    while alive := _living_replicas(plan, security):
        if time.monotonic() >= until_s:
            raise EndpointError(
                f"a fleet {plan.name} runs elsewhere: {alive[0]} and {len(alive) - 1} more tell this store; "
                "end it, or give this one another name and store (--name, --store)"
            )
        time.sleep(0.5)


def drain_host(host: str, fleet: str, cluster: str, say: Say, stop: Callable[[], bool]) -> None:
    """Move all replicas of a fleet away from a host and wait for it. Raises EndpointError if that cannot be."""
    with _open_cluster(cluster) as ray:
        coordinator = _need_coordinator(ray, fleet)
        if problem := ray.get(coordinator.drain.remote(host), timeout=CALL_S):
            raise EndpointError(problem)
        before = -1
        while not stop() and (left := ray.get(coordinator.count_leaving.remote(), timeout=CALL_S)):
            if left != before:
                say(f"{left} {'replica' if left == 1 else 'replicas'} to move")
            before = left
            time.sleep(NEWS_S)
        if not stop():
            say(f"host {host} has no replica any more: it can be stopped (ray stop)")


def end_fleet(fleet: str, cluster: str, say: Say) -> None:
    """End a fleet whose command is gone. Raises EndpointError if there is none."""
    with _open_cluster(cluster) as ray:
        end_coordinator(ray, _need_coordinator(ray, fleet))
        say(f"the fleet {fleet} has ended")


def fleet_namespace(fleet: str) -> str:
    """Return the namespace of the actors of a fleet."""
    return f"ecg-agent fleet {fleet}"


def end_coordinator(ray: Any, coordinator: Any) -> None:
    """End the replicas of a coordinator in order, then itself. Raises RunError if it does not answer."""
    try:
        ray.get(coordinator.end.remote(), timeout=END_S)
    except ray.exceptions.RayError as error:
        raise RunError(f"the fleet does not end in order: {clean_error_text(error)[:200]}") from error
    finally:
        ray.kill(coordinator, no_restart=True)


@contextlib.contextmanager
def _open_cluster(address: str) -> Iterator[Any]:
    """Start or join Ray. One CPU is what a head of our own needs: actors take none, and idle workers take memory."""
    own = NICENESS not in os.environ
    os.environ.setdefault(NICENESS, "0")
    try:
        with open_ray(address, 1 if address == LOCAL else None) as ray:
            yield ray
    finally:
        if own:
            del os.environ[NICENESS]


def _follow(ray: Any, coordinator: Any, fleet: str, driver: str, stop: Callable[[], bool], say: Say) -> bool:
    """Say what changes until a stop, or return False if somebody else has ended the fleet.

    The fleet goes on while its coordinator does not answer, for it may be one that is begun again.
    """
    latest, is_away = 0, False
    while not stop():
        try:
            news = ray.get(coordinator.news.remote(driver, latest), timeout=CALL_S)
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.ActorDiedError) and _has_ended(ray, fleet):
                return False
            if not is_away:
                say("the coordinator does not answer: monitors go on without it")
            is_away = True
            time.sleep(NEWS_S)
            continue
        if is_away:
            say("the coordinator answers again")
        is_away = False
        for number, _, text in news:
            latest = number
            say(text)
        time.sleep(NEWS_S)
    return True


def _has_ended(ray: Any, fleet: str) -> bool:
    """Whether Ray's head answers, and knows no coordinator of the fleet."""
    try:
        return _find_coordinator(ray, fleet) is None
    except ray.exceptions.RayError:
        return False


def _find_coordinator(ray: Any, fleet: str) -> Any:
    try:
        return ray.get_actor(COORDINATOR, namespace=fleet_namespace(fleet))
    except ValueError:
        return None


def _need_coordinator(ray: Any, fleet: str) -> Any:
    coordinator = _find_coordinator(ray, fleet)
    if coordinator is None:
        raise EndpointError(f"no fleet {fleet!r} runs in this cluster: check --name and --cluster")
    return coordinator


def _ask_overview_of_server(address: str, fleet: str, security: SecurityConfig) -> None:
    client = open_store_client(address, security)
    try:
        found = ask_store(client, AskStatus(), StatusReply).fleet
    finally:
        client.close()
    if found not in ("", fleet):
        raise EndpointError(f"{address} is the store of {name_fleet(found)}, not of {fleet!r} (--name)")


def _living_replicas(plan: FleetPlan, security: SecurityConfig) -> list[str]:
    client = open_store_client(plan.store, security, make=False)
    try:
        replicas = ask_store(client, AskReplicas(), ReplicasReply).replicas
    except EcgError:
        return []
    finally:
        client.close()
    return [one.name for one in replicas if one.is_alive and one.name.startswith(f"{plan.name}/")]
