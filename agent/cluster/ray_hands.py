"""Hands of a cluster: Ray tasks on every host that can do the work, a group on each CPU.

Each group goes to a host that was asked whether it has what it needs. A host that lacks something is left out, with a
line that says so; the others go on. Hosts that join are asked, too; those that are gone are missed by themselves, and
what they had comes back as dead. Ray carries paths and what was found, never signals.
"""

import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, cast

from agent.cluster import host_check
from agent.cluster.groups import Found, GroupEnd, GroupNews, GroupWork, Item, merge_progress
from agent.cluster.host_check import HostNeeds, HostReply
from agent.cluster.process_hands import portable_error
from model.errors import CheckpointError, ConfigError, EcgError, EndpointError, RecordError, RunError, clean_error_text

REFRESH_S = 5.0
"""How often Ray is asked which hosts there are."""
PATIENCE_S = 60.0
"""How long nobody may be there to do the work."""
TROUBLE: tuple[type[EcgError], ...] = (ConfigError, RecordError, CheckpointError, RunError)
"""What the trouble of hosts is raised as, by its exit code."""


@dataclass(slots=True)
class _Host:
    """A host of the cluster: its CPUs, the groups that it has, and what it replied when it was asked."""

    cpus: int
    asked: Any
    reply: HostReply | None = None
    groups: int = 0


class RayHands(Generic[Item, Found]):
    """Does the work as tasks of the cluster that `ray` is connected to, at most `most` groups at a time.

    `say` is called with a line for each host that is left out.
    """

    def __init__(
        self,
        ray: Any,
        work: GroupWork[Item, Found],
        needs: HostNeeds,
        most: int | None,
        say: Callable[[str], object],
    ) -> None:
        self._ray, self._needs, self._most, self._say = ray, needs, most, say
        self._work = ray.put(pickle.dumps((work, needs.cwd)))
        self._check = ray.remote(num_cpus=0, max_retries=0)(_portable(ray, host_check).check_host)
        self._begin = ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")(_stream_group)
        self._hosts: dict[str, _Host] = {}
        self._streams: dict[Any, tuple[int, str]] = {}
        self._refreshed_s, self._able_s = -REFRESH_S, time.monotonic()

    def width(self) -> int:
        """Return the CPUs of all hosts, whatever these lack."""
        cpus = int(self._ray.cluster_resources().get("CPU", 1))
        return cpus if self._most is None else min(cpus, self._most)

    def room(self) -> int:
        """Return how many CPUs of hosts that can do the work have none."""
        self._refresh_hosts()
        free = sum(max(0, host.cpus - host.groups) for host in self._able_hosts())
        return free if self._most is None else min(free, self._most - len(self._streams))

    def take(self, number: int, group: Sequence[Item]) -> None:
        """Give a group to the host with the most free CPUs."""
        able = {name: host for name, host in self._hosts.items() if host in self._able_hosts()}
        name = max(able, key=lambda name: able[name].cpus - able[name].groups)
        stream = self._begin.options(scheduling_strategy=self._on_host(name)).remote(self._work, pickle.dumps(group))
        self._hosts[name].groups += 1
        self._streams[stream] = (number, name)

    def wait(self, seconds: float) -> list[tuple[int, GroupNews[Found]]]:
        """Return what tasks have told. Raises what the work has raised, and EndpointError if nobody is left."""
        self._refresh_hosts()
        self._mind_absence()
        if not self._streams:
            time.sleep(seconds)
            return []
        streams = list(self._streams)
        ready, _ = self._ray.wait(streams, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(streams, num_returns=len(streams), timeout=0)
        return [news for stream in ready for news in self._hear_stream(stream)]

    def close(self) -> None:
        """End all tasks in the middle of whatever they do."""
        for stream in self._streams:
            self._ray.cancel(stream, force=True)
        self._streams.clear()

    def _hear_stream(self, stream: Any) -> Iterator[tuple[int, GroupNews[Found]]]:
        """Yield what a task has told next; its end if that is what there is."""
        number, name = self._streams[stream]
        end: GroupEnd | None = None
        try:
            told = pickle.loads(self._ray.get(next(stream)))
            if isinstance(told, Exception):
                raise told
            yield number, told
        except StopIteration:
            end = GroupEnd()
        except self._ray.exceptions.RayTaskError as error:
            raise EndpointError(f"a host cannot do the work: {clean_error_text(error.cause or error)}") from error
        except self._ray.exceptions.RayError as error:
            end = GroupEnd(f"its process was killed, or its host is gone: {_first_sentence(error)}")
        if end is not None:
            del self._streams[stream]
            if name in self._hosts:
                self._hosts[name].groups -= 1
            yield number, end

    def _refresh_hosts(self) -> None:
        """See which hosts there are and ask new ones; take in the replies of those that were asked."""
        if time.monotonic() - self._refreshed_s >= REFRESH_S:
            self._refreshed_s = time.monotonic()
            there = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
            self._hosts = {name: host for name, host in self._hosts.items() if name in there}
            for name, node in there.items():
                if name not in self._hosts and (cpus := int(node["Resources"].get("CPU", 0))) > 0:
                    check = self._check.options(scheduling_strategy=self._on_host(name))
                    self._hosts[name] = _Host(cpus, check.remote(self._needs))
        asked = [host for host in self._hosts.values() if host.reply is None]
        if asked:
            replied, _ = self._ray.wait([host.asked for host in asked], num_returns=len(asked), timeout=0)
            for host in asked:
                if host.asked in replied:
                    self._take_reply(host)

    def _take_reply(self, host: _Host) -> None:
        try:
            host.reply = self._ray.get(host.asked)
        except self._ray.exceptions.RayError as error:
            host.reply = HostReply("a host", clean_error_text(error), EndpointError.exit_code)
        if host.reply is not None and host.reply.problem:
            self._say(f"{host.reply.host} is left out: {host.reply.problem}")
            replies = [host.reply for host in self._hosts.values()]
            if all(reply is not None and reply.problem for reply in replies) and not self._streams:
                kinds = {kind.exit_code: kind for kind in TROUBLE}
                kind = kinds.get(host.reply.kind, EndpointError)
                raise kind(f"no host of the cluster can do the work: {host.reply.host}: {host.reply.problem}")

    def _able_hosts(self) -> list[_Host]:
        return [host for host in self._hosts.values() if host.reply is not None and not host.reply.problem]

    def _mind_absence(self) -> None:
        """Raise EndpointError if nobody could do any work for PATIENCE_S."""
        now_s = time.monotonic()
        if self._streams or self._able_hosts():
            self._able_s = now_s
        elif now_s - self._able_s > PATIENCE_S:
            raise EndpointError(f"no host of the cluster was there to do the work for {PATIENCE_S:.0f} s")

    def _on_host(self, name: str) -> Any:
        return self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(name, soft=False)


def _portable(ray: Any, module: ModuleType) -> Any:
    """Return a module whose functions Ray sends as they are, to hosts that may not have it."""
    ray.cloudpickle.register_pickle_by_value(module)
    return module


def _stream_group(work: bytes, group: bytes) -> Iterator[bytes]:
    """Do a group in a process of the cluster; yield each step, and last what went wrong, as bytes.

    As bytes since arrays would stay in the object store as long as they are used.
    """
    do, cwd = pickle.loads(work)
    os.chdir(cwd)
    try:
        for step in merge_progress(cast(GroupWork[Any, Any], do)(pickle.loads(group))):
            yield pickle.dumps(step)
    except Exception as error:  # it is raised where the work was given
        yield pickle.dumps(portable_error(error))


def _first_sentence(error: Exception) -> str:
    return clean_error_text(error).partition(". ")[0][:120]
