"""The coordinator of a fleet, a Ray actor: it places the replicas on hosts, moves them, and watches over them.

It outlives the command that began it. If it dies it is started again, and finds the replicas that there are.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread

from agent.core.config import SecurityConfig
from agent.fleet.fleet_hosts import FleetHosts
from agent.fleet.fleet_needs import FleetNeeds
from agent.fleet.fleet_plan import FleetPlan
from agent.fleet.placement import FleetHost, choose_host, find_move
from agent.fleet.replica_set import ReplicaKey, ReplicaSet
from agent.fleet.told_replicas import ToldReplicas
from model.errors import clean_error_text

LOOP_S = 1.0
FOLLOWED_S = 5.0
"""A command that has not asked for news for this long follows the fleet no more."""
MOVE_PAUSE_S = 5.0
"""Pause between two moves."""
MOVE_LONGEST_S = 120.0
"""How long a replica may take to catch up before its move is given up."""
MOST_NEWS = 1000
COORDINATOR = "coordinator"
NewsLine = tuple[int, float, str]
"""A number, the time (Unix), and what has changed."""


@dataclass(frozen=True, slots=True)
class FleetTask:
    """What a coordinator is to do: a plan, what hosts need, how to reach the store, and in which namespace.

    `store_host`: the address of the only host that has the store, "" if all reach it.
    """

    plan: FleetPlan
    needs: FleetNeeds
    security: SecurityConfig
    store_host: str
    namespace: str


@dataclass(slots=True)
class _MoveUnderWay:
    old: ReplicaKey
    new: ReplicaKey
    begun_s: float
    text: str


class FleetCoordinator:
    """Runs a fleet in two threads: one that places, and may wait for Ray's head, and one that watches."""

    def __init__(self, task: FleetTask) -> None:
        import ray

        self._task = task
        self._news: deque[NewsLine] = deque(maxlen=MOST_NEWS)
        self._news_lock = Lock()
        self._number = round(time.time() * 1000)  # beyond those of an earlier life
        self._driver, self._driver_s = "", 0.0
        self._is_over = Event()
        plan = task.plan
        self._endpoints = {shard: plan.endpoints(shard) for shard in plan.shards}
        self._hosts = FleetHosts(ray, task.needs, task.store_host, self._say)
        self._replicas = ReplicaSet(ray, plan, task.namespace, self._say)
        self._replicas.find_running()
        self._told = ToldReplicas(plan.store, task.security)
        self._move: _MoveUnderWay | None = None
        self._move_due_s = 0.0
        self._threads = [Thread(target=self._loop, args=(work,), daemon=True) for work in (self._place, self._watch)]
        for thread in self._threads:
            thread.start()

    def follow(self, driver: str, plan: FleetPlan) -> str:
        """Let a command follow this fleet; return why not, if another one does, or it wants another plan."""
        if self._driver not in ("", driver) and time.monotonic() - self._driver_s < FOLLOWED_S:
            return "a fleet of this name runs already, and another command follows it"
        if plan != self._task.plan:
            return "a fleet of this name runs already, with other devices, shards or settings"
        self._driver, self._driver_s = driver, time.monotonic()
        return ""

    def news(self, driver: str, after: int) -> list[NewsLine]:
        """Return what changed after the news of this number, for the command that follows."""
        if driver == self._driver:
            self._driver_s = time.monotonic()
        with self._news_lock:
            return [line for line in self._news if line[0] > after]

    def drain(self, host: str) -> str:
        """Move all replicas away from a host, by its name, address or id; return why not."""
        if problem := self._hosts.leave(host):
            return problem
        self._say(f"host {host} is to be left")
        return ""

    def count_leaving(self) -> int:
        """Return how many replicas are still on hosts that are to be left."""
        return sum(replica.host in self._hosts.leaving for replica in self._replicas.placed())

    def end(self) -> None:
        """End all replicas in order."""
        self._is_over.set()
        self._threads[0].join(LOOP_S)
        self._replicas.end_all()

    def _loop(self, work: Callable[[], None]) -> None:
        said = ""
        while not self._is_over.is_set():
            began_s = time.monotonic()
            try:
                work()
            except Exception as error:  # of Ray, or ours: monitors go on, and so must this
                if (text := clean_error_text(f"{type(error).__name__}: {error}")[:200]) != said:
                    said = text
                    self._say(f"trouble with the cluster: {text}")
            self._is_over.wait(max(0.05, LOOP_S - (time.monotonic() - began_s)))

    def _say(self, text: str) -> None:
        with self._news_lock:
            self._number += 1
            self._news.append((self._number, time.time(), text))

    def _watch(self) -> None:
        told = self._told.read()
        self._replicas.watch(told, self._told.answers_s)

    def _place(self) -> None:
        hosts = self._hosts.refresh()
        self._replicas.note_hosts(hosts)
        plan = self._task.plan
        self._go_on_moving()
        for shard in plan.shards:
            while not self._is_over.is_set():
                placed = self._replicas.placed()
                moving = self._move is not None and self._move.old[0] == shard
                if sum(replica.shard == shard for replica in placed) >= plan.replicas + moving:
                    break
                host = choose_host(shard, self._endpoints[shard], hosts, placed)
                if host is None:
                    return
                self._replicas.begin(shard, host)
        if self._move is None and time.monotonic() >= self._move_due_s:
            self._begin_move(hosts)

    def _begin_move(self, hosts: list[FleetHost]) -> None:
        move = find_move(self._endpoints, hosts, self._replicas.placed())
        is_urgent = move is not None and move.replica.host in self._hosts.leaving
        if move is None or not (is_urgent or self._replicas.are_up()):
            return
        old = move.replica.shard, move.replica.serial
        new = self._replicas.begin(move.replica.shard, move.host)
        text = f"a replica of shard {move.replica.shard} moves to {move.host.name}: {move.reason}"
        self._move = _MoveUnderWay(old, new, time.monotonic(), text)
        self._say(text)

    def _go_on_moving(self) -> None:
        """End the old replica of a move once the new one has caught up; give up one that takes too long."""
        if self._move is None:
            return
        if not (self._replicas.has(self._move.new) and self._replicas.has(self._move.old)):
            self._say(f"given up, a host is gone: {self._move.text}")
        elif self._replicas.has_caught_up(self._move.new, self._move.old):
            self._replicas.end([self._move.old])
            self._say(f"moved: {self._move.text}")
        elif time.monotonic() - self._move.begun_s > MOVE_LONGEST_S:
            self._replicas.end([self._move.new])
            self._say(f"given up, it does not catch up: {self._move.text}")
        else:
            return
        self._move, self._move_due_s = None, time.monotonic() + MOVE_PAUSE_S
