"""On which host each replica of a shard goes, and which one should move."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.fleet.rendezvous import choose_shard


@dataclass(frozen=True, slots=True)
class FleetHost:
    """A host: its id in the cluster, its name, the devices that it cannot reach, and whether it is to be left.

    `problem`: why it cannot run a monitor at all, "" if it can.
    """

    id: str
    name: str
    unreachable: frozenset[str] = frozenset()
    is_leaving: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PlacedReplica:
    """A replica of a shard, numbered `serial`, on the host of this id."""

    shard: int
    serial: int
    host: str


@dataclass(frozen=True, slots=True)
class Move:
    """Which replica should move to which host, and why."""

    replica: PlacedReplica
    host: FleetHost
    reason: str


def choose_host(
    shard: int, endpoints: frozenset[str], hosts: Sequence[FleetHost], placed: Sequence[PlacedReplica]
) -> FleetHost | None:
    """Return the host for one more replica of a shard that follows devices at `endpoints`; None if there is none.

    It reaches most of the devices, has no other replica of the shard, and has the fewest in all, in this order.
    """
    usable = [host for host in hosts if not host.is_leaving and not host.problem]
    if not usable:
        return None

    def rank(host: FleetHost) -> tuple[int, int, int, int]:
        here = [replica for replica in placed if replica.host == host.id]
        same = sum(replica.shard == shard for replica in here)
        tie = choose_shard(f"{shard} {host.id}", range(2**10))
        return len(endpoints & host.unreachable), same, len(here), tie

    return min(usable, key=rank)


def find_move(
    endpoints: dict[int, frozenset[str]], hosts: Sequence[FleetHost], placed: Sequence[PlacedReplica]
) -> Move | None:
    """Return the next move: away from a host that is to be left, then of a replica beside its twin, then to even out.

    Of two replicas of a shard the younger one moves: the other has heard more. None if all is as it should be, or
    cannot be better.
    """
    by_id = {host.id: host for host in hosts}
    left = {host.id for host in hosts if host.is_leaving or host.problem}
    on_hosts = [replica.host for replica in placed]

    def rank(one: PlacedReplica) -> tuple[bool, int, int, int]:
        return one.host not in left, -on_hosts.count(one.host), one.shard, -one.serial

    for replica in sorted(placed, key=rank):
        host = by_id.get(replica.host)
        others = [other for other in placed if other != replica]
        if host is None or not (target := choose_host(replica.shard, endpoints[replica.shard], hosts, others)):
            continue
        if target.id == host.id:
            continue
        if host.id in left:
            return Move(replica, target, f"{host.name} is left")
        wanted = endpoints[replica.shard]
        if len(wanted & target.unreachable) < len(wanted & host.unreachable):
            return Move(replica, target, f"{host.name} does not reach its devices")
        if len(wanted & target.unreachable) == len(wanted & host.unreachable):
            twins = [
                sum(o.shard == replica.shard and o.host == place for o in others) for place in (host.id, target.id)
            ]
            if twins[1] < twins[0]:
                return Move(replica, target, "two replicas of it were on one host")
            load = [sum(other.host == place for other in others) for place in (host.id, target.id)]
            if twins[0] == twins[1] and load[1] < load[0]:
                return Move(replica, target, f"{target.name} has fewer")
    return None
