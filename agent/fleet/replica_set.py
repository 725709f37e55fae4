"""The replicas of a fleet: begun, watched, ended, and those that hang killed."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

from agent.fleet.fleet_plan import FleetPlan, replica_name
from agent.fleet.placement import FleetHost, PlacedReplica
from agent.fleet.replica_actor import ACTOR_OPTIONS, ReplicaActor, ReplicaState
from agent.store.store_messages import ReplicaStatus

SILENT_S = 5.0
"""A monitor that the store has not heard for this long is killed and started again; another one speaks after two."""
ALL_SILENT_S = 10.0
"""The same while the store hears nobody: it may be the store that is slow."""
DEAF_ACTOR_S = 10.0
"""An actor that has not answered for this long is killed and started again; its monitors go on meanwhile."""
START_S = 60.0
"""How long a process may take until the store hears it, and an actor, each time, until it answers first."""
STORE_SETTLED_S = 5.0
"""A store is believed on who is silent once it has answered for this long."""
WATCH_S = 2.0
"""Two looks are no further apart on a host that has time for us; where they are, all others get that much more time."""
LATE_FACTOR = 3.0
LATE_FADES = 0.95
"""The share of a delay of ours that is still counted at the next look."""
CALL_S = 0.5
END_S = 15.0
ReplicaKey = tuple[int, int]
"""A shard, and the number of a replica among all that it has had."""


@dataclass(slots=True)
class _Replica:
    """A replica as it was last seen: when it answered last, or was begun. `call`: the one not answered yet.

    `is_starting`: it has not answered since it was begun, here or by Ray.
    """

    key: ReplicaKey
    name: str
    host: str
    actor: Any
    answered_s: float
    is_starting: bool = True
    call: Any = None
    state: ReplicaState | None = None
    heard_beds: int = 0
    is_up: bool = False
    down_s: float | None = None


class ReplicaSet:
    """All replicas of a plan. Two threads use it: one places, the other watches.

    `say` is called with a line for each change; `clock` gives seconds that only grow.
    """

    def __init__(
        self,
        ray: Any,
        plan: FleetPlan,
        namespace: str,
        say: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ray, self._plan, self._namespace, self._say, self._clock = ray, plan, namespace, say, clock
        self._watched_s: float | None = None
        self._late_s = 0.0
        self._class = ray.remote(ReplicaActor)
        self._replicas: dict[ReplicaKey, _Replica] = {}
        self._serials: dict[int, int] = {}
        self._hosts: dict[str, FleetHost] = {}
        self._lock = RLock()

    def find_running(self) -> None:
        """Take over the replicas that there are already: so a coordinator goes on that was started again."""
        for named in self._ray.util.list_named_actors(all_namespaces=True):
            shard, dot, serial = named["name"].removeprefix(f"{self._plan.name}/").partition(".")
            if named["namespace"] == self._namespace and dot and int(shard) in self._plan.shards:
                actor = self._ray.get_actor(named["name"], namespace=self._namespace)
                self._add((int(shard), int(serial)), "", actor)

    def begin(self, shard: int, host: FleetHost) -> ReplicaKey:
        """Begin one more replica of a shard on a host; return its key."""
        key = shard, self._serials.get(shard, 0) + 1
        where = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(host.id, soft=False)
        own = {"name": replica_name(self._plan, *key), "namespace": self._namespace, "scheduling_strategy": where}
        actor = self._class.options(**ACTOR_OPTIONS, **own).remote(self._plan, *key)
        self._add(key, host.id, actor)
        return key

    def note_hosts(self, hosts: Sequence[FleetHost]) -> None:
        """Take in which hosts there are, and give up the replicas of those that are gone: others follow them."""
        self._hosts = {host.id: host for host in hosts}
        for replica in self._all():
            if replica.host and replica.host not in self._hosts:
                self._say(f"replica {replica.name} is gone with its host")
                with self._lock:
                    del self._replicas[replica.key]
                self._ray.kill(replica.actor, no_restart=True)

    def placed(self) -> list[PlacedReplica]:
        """Return where the replicas are, those on hosts that are gone as well."""
        return [PlacedReplica(*replica.key, replica.host) for replica in self._all()]

    def are_up(self) -> bool:
        """Return whether the store hears all of them."""
        return all(replica.is_up for replica in self._all())

    def has_caught_up(self, key: ReplicaKey, other: ReplicaKey) -> bool:
        """Return whether the store believes that a replica listens to as many beds as another one."""
        new, old = self._replicas[key], self._replicas[other]
        return new.is_up and new.heard_beds >= max(1, old.heard_beds)

    def has(self, key: ReplicaKey) -> bool:
        """Return whether a replica is still there."""
        return key in self._replicas

    def end(self, keys: Collection[ReplicaKey]) -> None:
        """End replicas in order; those that do not end are killed."""
        with self._lock:
            ended = [self._replicas.pop(key) for key in keys if key in self._replicas]
        calls = [replica.actor.end.remote() for replica in ended]
        if calls:
            self._ray.wait(calls, num_returns=len(calls), timeout=END_S)
        for replica in ended:
            self._ray.kill(replica.actor, no_restart=True)

    def end_all(self) -> None:
        """End all replicas in order."""
        self.end(list(self._replicas))

    def watch(self, told: Mapping[str, ReplicaStatus] | None, answers_s: float) -> None:
        """See how all are; `told`: what the store has heard of, None if it does not say; it has answered so long."""
        replicas = self._all()
        self._note_delay(replicas)
        self._call(replicas)
        for replica in replicas:
            if told is not None and self._hosts:
                self._compare(replica, told, answers_s)

    def _note_delay(self, replicas: Sequence[_Replica]) -> None:
        """Give the others the time that we were not given ourselves."""
        now_s = self._clock()
        late_s = 0.0 if self._watched_s is None else max(0.0, now_s - self._watched_s - WATCH_S)
        self._watched_s, self._late_s = now_s, max(late_s, LATE_FADES * self._late_s)
        for replica in replicas:
            replica.answered_s += late_s

    def _all(self) -> list[_Replica]:
        with self._lock:
            return list(self._replicas.values())

    def _add(self, key: ReplicaKey, host: str, actor: Any) -> None:
        with self._lock:
            self._serials[key[0]] = max(key[1], self._serials.get(key[0], 0))
            self._replicas[key] = _Replica(key, replica_name(self._plan, *key), host, actor, self._clock())

    def _call(self, replicas: Sequence[_Replica]) -> None:
        """Ask each actor how it is, and kill those that do not say."""
        for replica in replicas:
            replica.call = replica.call or replica.actor.describe.remote()
        calls = {replica.call: replica for replica in replicas}
        if not calls:
            return
        ready, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=CALL_S)
        for call in ready:
            replica, calls[call].call = calls[call], None
            try:
                state = self._ray.get(call)
            except self._ray.exceptions.RayError:  # its process, or its host, is gone: Ray starts it again
                self._note_start(replica)
            else:
                self._take_state(replica, state)
        for replica in replicas:
            self._mind_silence(replica)

    def _note_start(self, replica: _Replica) -> None:
        """Note that an actor begins, once for each time that it does."""
        if not replica.is_starting:
            replica.is_starting, replica.answered_s = True, self._clock()

    def _take_state(self, replica: _Replica, state: ReplicaState) -> None:
        before, replica.state, replica.host = replica.state, state, state.host
        replica.is_starting, replica.answered_s = False, self._clock()
        if before is None:
            return
        if before.pid != state.pid:
            self._say(f"replica {replica.name} began again on {self._host_name(state.host)}: its process had died")
            return
        for was, now in zip(before.monitors, state.monitors, strict=True):
            if now.reason and (now.restarts, now.pid != 0, now.reason) != (was.restarts, was.pid != 0, was.reason):
                place = self._host_name(state.host)
                done = "restarted" if now.pid and now.restarts > was.restarts else "ended"
                if done == "restarted" or now.pid == 0:
                    self._say(f"monitor {now.name} {done} on {place}: {now.reason}")

    def _mind_silence(self, replica: _Replica) -> None:
        """Have an actor started again that is there and does not answer."""
        allowed_s = START_S if replica.is_starting else DEAF_ACTOR_S + LATE_FACTOR * self._late_s
        if self._clock() - replica.answered_s >= allowed_s and replica.host in self._hosts:
            self._say(f"replica {replica.name} does not answer: its process is killed")
            self._ray.kill(replica.actor, no_restart=False)
            replica.call, replica.is_starting, replica.answered_s = None, True, self._clock()

    def _compare(self, replica: _Replica, told: Mapping[str, ReplicaStatus], answers_s: float) -> None:
        """Compare what an actor says with what the store has heard."""
        monitors = replica.state.monitors if replica.state is not None else ()
        heard = [told.get(monitor.name) for monitor in monitors]
        known = [status for status, own in zip(heard, monitors, strict=True) if status and status.pid == own.pid]
        replica.heard_beds = sum(status.beds for status in known)
        is_up = bool(monitors) and len(known) == len(monitors) and all(status.is_alive for status in known)
        if is_up and not replica.is_up:
            again = "" if replica.down_s is None else f" again after {self._clock() - replica.down_s:.1f} s"
            self._say(f"replica {replica.name} is up{again} on {self._host_name(replica.host)}")
        elif replica.is_up and not is_up:
            replica.down_s = self._clock()
            self._say(f"replica {replica.name} is down on {self._host_name(replica.host)}")
        replica.is_up = is_up
        if answers_s < STORE_SETTLED_S or replica.call is not None:
            return
        patience_s = SILENT_S if any(status.is_alive for status in told.values()) else ALL_SILENT_S
        patience_s += LATE_FACTOR * self._late_s
        for monitor, status in zip(monitors, heard, strict=True):
            is_known = status is not None and status.pid == monitor.pid
            allowed_s = patience_s if status is not None and status.beds else START_S  # it may still be catching up
            if is_known and status is not None and status.silent_s >= allowed_s:
                reason = f"the store had not heard it for {status.silent_s:.0f} s"
            elif not is_known and monitor.age_s >= START_S:
                reason = f"the store had not heard it {monitor.age_s:.0f} s after it was started"
            else:
                continue
            if monitor.pid:
                replica.actor.kill_monitor.remote(monitor.pid, reason)

    def _host_name(self, host: str) -> str:
        return self._hosts[host].name if host in self._hosts else "a host"
