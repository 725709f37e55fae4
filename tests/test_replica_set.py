"""When replicas are taken for dead, with Ray and its clock replaced: those that are only slow are left alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agent.fleet.fleet_plan import FleetDevice, FleetPlan
from agent.fleet.monitor_process import MonitorState
from agent.fleet.placement import FleetHost
from agent.fleet.replica_actor import ReplicaState
from agent.fleet.replica_set import ALL_SILENT_S, DEAF_ACTOR_S, SILENT_S, START_S, ReplicaSet
from agent.store.store_messages import ReplicaStatus

PLAN = FleetPlan("f", {0: (FleetDevice("tcp://d:1"),)}, 1, "store:x.db")
HOST = FleetHost("h", "north")
MONITOR = MonitorState("f/0.1", 7, 100.0, 0)
SETTLED_S = 100.0


class ActorGoneError(Exception):
    """What Ray raises for an actor that has died."""


class Clock:
    """Seconds, which pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class ReplacedRay:
    """Ray with one actor: `answer` is what it says, None while it does not, or an error."""

    def __init__(self) -> None:
        self.answer: ReplicaState | Exception | None = None
        self.kills: list[bool] = []
        self.monitors_killed: list[tuple[int, str]] = []
        self.util = self.scheduling_strategies = self.exceptions = self.describe = self.kill_monitor = self
        self.RayError = ActorGoneError

    def NodeAffinitySchedulingStrategy(self, host: str, soft: bool) -> object:  # noqa: N802
        """Where an actor goes."""
        return host, soft

    def options(self, **_: object) -> "ReplacedRay":
        """The class of an actor with options."""
        return self

    def remote(self, *arguments: object) -> Any:
        """A class, an actor, or a call, which is a list: it is a key of nothing else."""
        if arguments and isinstance(arguments[0], int):
            self.monitors_killed.append((arguments[0], str(arguments[1])))
        return self

    def wait(self, calls: Sequence[Any], **_: object) -> tuple[list[Any], list[Any]]:
        """Those that have answered, and the others."""
        return ([], list(calls)) if self.answer is None else (list(calls), [])

    def get(self, _: object) -> ReplicaState:
        """The answer."""
        assert self.answer is not None
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def kill(self, _: object, no_restart: bool) -> None:
        """Kill the actor."""
        self.kills.append(no_restart)


class Fleet:
    """A set of one replica, watched once a second."""

    def __init__(self) -> None:
        self.ray, self.clock, self.said = ReplacedRay(), Clock(), list[str]()
        self.replicas = ReplicaSet(self.ray, PLAN, "n", self.said.append, self.clock)
        self.replicas.note_hosts([HOST])
        self.key = self.replicas.begin(0, HOST)
        self.told: dict[str, ReplicaStatus] | None = {}

    def watch(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass and look, again and again."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.clock.now_s += step_s
            self.replicas.watch(self.told, SETTLED_S)

    def answer(self, pid: int = 5, monitor: MonitorState = MONITOR) -> None:
        """Let the actor answer from now on."""
        self.ray.answer = ReplicaState("h", pid, (monitor,))

    def tell(self, silent_s: float, beds: int = 4, pid: int = 7) -> None:
        """Let the store say how long the monitor is silent."""
        self.told = {"f/0.1": ReplicaStatus("f/0.1", "north", pid, silent_s < 2.0, silent_s, beds)}


@pytest.fixture
def fleet() -> Fleet:
    """A fleet that begins."""
    return Fleet()


def test_an_actor_has_a_minute_for_every_start(fleet: Fleet) -> None:
    """The first, and the one after its death, as an error or as silence tells of it: it is not killed in a loop."""
    fleet.watch(START_S - 1)
    assert not fleet.ray.kills
    fleet.answer()
    fleet.watch(5)
    fleet.ray.answer = ActorGoneError()
    fleet.watch(START_S - 1)
    assert not fleet.ray.kills
    fleet.answer(pid=6)
    fleet.watch(1)
    assert fleet.said == ["replica f/0.1 began again on north: its process had died"]
    fleet.ray.answer = None
    fleet.watch(DEAF_ACTOR_S + START_S - 1)
    assert fleet.ray.kills == [False]


def test_an_actor_that_never_comes_is_tried_again(fleet: Fleet) -> None:
    """Once a minute."""
    fleet.watch(3 * START_S + 1)
    assert fleet.ray.kills == [False] * 3


def test_a_monitor_that_the_store_does_not_hear_is_killed(fleet: Fleet) -> None:
    """After five seconds while others are heard, after ten while nobody is; never while it may still catch up."""
    fleet.answer()
    fleet.tell(SILENT_S + 1)
    fleet.watch(1)
    assert not fleet.ray.monitors_killed  # the store hears nobody: it may be the store
    assert fleet.told is not None
    fleet.told["other"] = replace_status(fleet.told["f/0.1"], 0.1)
    fleet.watch(1)
    assert fleet.ray.monitors_killed == [(7, "the store had not heard it for 6 s")]
    fleet.tell(ALL_SILENT_S)
    fleet.watch(1)
    assert len(fleet.ray.monitors_killed) == 2
    fleet.tell(START_S - 1, beds=0)
    fleet.watch(1)
    fleet.tell(SILENT_S + 1, pid=8)  # that was the process before
    fleet.answer(monitor=replace(MONITOR, age_s=START_S - 1))
    fleet.watch(1)
    assert len(fleet.ray.monitors_killed) == 2


def replace_status(status: ReplicaStatus, silent_s: float) -> ReplicaStatus:
    """Another replica, which was heard so many seconds ago."""
    return ReplicaStatus("f/0.2", status.host, 9, silent_s < 2.0, silent_s, status.beds)


def test_a_late_coordinator_gives_others_time(fleet: Fleet) -> None:
    """Where it was not heard itself for half a minute, it kills nobody who was not heard either."""
    fleet.answer()
    fleet.tell(0.1)
    fleet.watch(10)
    assert fleet.said == ["replica f/0.1 is up on north"]
    fleet.ray.answer = None
    fleet.watch(30, step_s=30.0)
    fleet.watch(20)
    assert not fleet.ray.kills
    fleet.answer()
    fleet.tell(ALL_SILENT_S + 20)
    fleet.watch(1)
    assert not fleet.ray.monitors_killed
    fleet.watch(60)  # the delay is forgotten by and by
    assert fleet.ray.monitors_killed
