"""The hosts of a cluster: which there are, what they can do, and which devices they reach."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.fleet import fleet_needs
from agent.fleet.fleet_needs import FleetNeeds
from agent.fleet.placement import FleetHost
from model.errors import clean_error_text

AGAIN_S = 10.0
"""How often a host is asked again that lacked something, or did not reach a device."""
CHECK_S = 60.0
"""How long a host may take to answer."""


class FleetHosts:
    """Asks each host whether it can run monitors. `say` is called with a line for each change.

    `store_host`: the address of the only host that has the store, "" if all reach it.
    """

    def __init__(self, ray: Any, needs: FleetNeeds, store_host: str, say: Callable[[str], object]) -> None:
        self._ray, self._needs, self._store_host, self._say = ray, needs, store_host, say
        ray.cloudpickle.register_pickle_by_value(fleet_needs)
        self._check = ray.remote(num_cpus=0, max_retries=0)(fleet_needs.check_fleet_host)
        self._hosts: dict[str, FleetHost] = {}
        self._asked_s: dict[str, float] = {}
        self.leaving: frozenset[str] = frozenset()
        """Ids of the hosts that are to be left."""

    def leave(self, host: str) -> str:
        """Note that a host, by its name, address or id, is to be left; return why it cannot be."""
        known = list(self._hosts.values())
        ids = {node["NodeID"] for node in self._ray.nodes() if host in (node["NodeManagerAddress"], node["NodeID"])}
        found = [one for one in known if host == one.name or one.id in ids]
        if len(found) != 1:
            names = ", ".join(sorted(one.name for one in known)) or "none"
            return f"the fleet has {'no' if not found else 'more than one'} host {host!r}: it has {names}"
        others = [one for one in known if one != found[0] and not one.problem and one.id not in self.leaving]
        if not others:
            return f"{found[0].name} is the only host that can run the fleet: add another one first"
        self.leaving |= {found[0].id}
        return ""

    def refresh(self) -> list[FleetHost]:
        """Return the hosts that are there, those that were asked."""
        nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        for host_id in self._hosts.keys() - nodes.keys():
            self.leaving -= {host_id}
            self._say(f"host {self._hosts.pop(host_id).name} is gone")
        names = [_name_of_node(node) for node in nodes.values()]
        for host_id, node in nodes.items():
            before = self._hosts.get(host_id)
            is_due = time.monotonic() - self._asked_s.get(host_id, float("-inf")) >= AGAIN_S
            if before is None or ((before.problem or before.unreachable) and is_due):
                hostname = _name_of_node(node)
                name = hostname if names.count(hostname) == 1 else f"{hostname}-{host_id[:4]}"
                self._take(before, self._ask(host_id, before.name if before else name, node["NodeManagerAddress"]))
                self._asked_s[host_id] = time.monotonic()
        return [replace(host, is_leaving=host_id in self.leaving) for host_id, host in self._hosts.items()]

    def _take(self, before: FleetHost | None, host: FleetHost) -> None:
        self._hosts[host.id] = host
        if before is None and not host.problem:
            self._say(f"host {host.name} joined")
        if host.problem and (before is None or before.problem != host.problem):
            self._say(f"host {host.name} is left out: {host.problem}")
        elif before is not None and before.problem and not host.problem:
            self._say(f"host {host.name} joined")
        for endpoint in sorted(host.unreachable - (before.unreachable if before else frozenset())):
            self._say(f"host {host.name} does not reach {endpoint}")

    def _ask(self, host_id: str, name: str, address: str) -> FleetHost:
        if self._store_host and address != self._store_host:
            problem = f"the store is a file on {self._store_host}: keep it with ecg-agent fleet store, or PostgreSQL"
            return FleetHost(host_id, name, problem=problem)
        on_host = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(host_id, soft=False)
        try:
            asked = self._check.options(scheduling_strategy=on_host).remote(self._needs)
            problem, lost = self._ray.get(asked, timeout=CHECK_S)
        except self._ray.exceptions.RayError as error:
            return FleetHost(host_id, name, problem=f"it does not answer: {clean_error_text(error)[:120]}")
        return FleetHost(host_id, name, frozenset(lost), problem=problem)


def _name_of_node(node: dict[str, Any]) -> str:
    """Return the name that a host was given (ray start --node-name), else that of the system."""
    given, address = str(node.get("NodeName") or ""), node["NodeManagerAddress"]
    return given if given not in ("", address) else str(node["NodeManagerHostname"])
