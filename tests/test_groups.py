"""Groups of work come back whole from whatever hands, also where some of these die over it."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from agent.cli.work_place import complete_cluster_option
from agent.cluster.groups import (
    MOST_DEATHS,
    GroupEnd,
    GroupNews,
    ItemFound,
    WorkStep,
    group_size,
    run_groups,
    share_out,
)
from agent.cluster.host_check import HostNeeds, check_host
from agent.cluster.open_hands import SharedThings, WorkPlace, configure_place, open_hands
from agent.cluster.ray_session import explain_ray_refusal, open_ray
from agent.core.config import Config, override_config
from model.compiled.library import load_library
from model.errors import ConfigError, EndpointError, RecordError
from model.nets import checkpoint_card

REPOSITORY = Path(__file__).parent.parent
HOLDING = """
import os, time
from agent.cluster.process_hands import ProcessHands

def hold(group):
    print(os.getpid(), flush=True)
    yield 0.5
    time.sleep({seconds})
    yield 0.5

if __name__ == "__main__":
    hands = ProcessHands(hold, 1)
    hands.take(0, [1])
    time.sleep(600)
"""


def square(group: Sequence[int]) -> Iterator[WorkStep[int]]:
    """Work that kills its process at 13 and fails at -1."""
    for index, item in enumerate(group):
        if item == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == -1:
            raise RecordError("less than nothing")
        yield 1.0
        yield ItemFound(index, item * item)


def squared(items: Sequence[int], jobs: int, seen: list[float], most: int = 3) -> list[tuple[int, int]]:
    """Every item with its square, -1 for one that was given up, in order."""
    groups = share_out(items, most)
    nothing = SharedThings(Path("nowhere"), "", "", ())
    with open_hands(square, WorkPlace(jobs), len(items), nothing) as hands:
        return sorted(run_groups(hands, groups, lambda _item, _reason: -1, lambda _item: 1.0, seen.append))


@pytest.mark.usefixtures("forked_commands")
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_comes_back(jobs: int) -> None:
    """Whatever does the work, each item is found once, and progress ends at all of it."""
    seen: list[float] = []
    assert squared(range(8), jobs, seen) == [(item, item * item) for item in range(8)]
    assert seen[-1] == 8
    assert squared([], jobs, []) == []


@pytest.mark.usefixtures("forked_commands")
def test_what_kills_its_process_is_given_up() -> None:
    """An item over which processes die is given up, and everything else is found."""
    seen: list[float] = []
    items = [1, 13, 2, 3, 4]
    assert squared(items, 2, seen) == [(1, 1), (2, 4), (3, 9), (4, 16), (13, -1)]
    assert seen[-1] == len(items)


@pytest.mark.usefixtures("forked_commands")
@pytest.mark.parametrize("jobs", [1, 2])
def test_errors_of_the_work_are_raised(jobs: int) -> None:
    """An error that work raises is raised where the work was given, of the same kind and in the same words."""
    with pytest.raises(RecordError, match="less than nothing"):
        squared([1, 2, -1, 3], jobs, [], most=2)


def test_groups_are_of_a_size_for_all_hands() -> None:
    """Groups are as large as allowed, but small enough for all hands to have one."""
    assert [group_size(items, 4, 64) for items in (0, 1, 4, 5, 100, 10_000)] == [1, 1, 1, 2, 25, 64]
    assert share_out(range(5), 2) == [range(2), range(2, 4), range(4, 5)]


class DyingHands:
    """Hands that die over every group until it was taken `deaths` times, having found its first item."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.taken: Counter[tuple[int, ...]] = Counter()
        self._now: list[tuple[int, Sequence[int]]] = []

    def width(self) -> int:
        return 1

    def room(self) -> int:
        return 1 - len(self._now)

    def take(self, number: int, group: Sequence[int]) -> None:
        self.taken[tuple(group)] += 1
        self._now.append((number, group))

    def wait(self, seconds: float) -> list[tuple[int, GroupNews[int]]]:
        assert seconds > 0
        number, group = self._now.pop()
        if self.taken[tuple(group)] <= self.deaths:
            return [(number, GroupEnd("killed"))]
        found: list[tuple[int, GroupNews[int]]] = [(number, ItemFound(at, item)) for at, item in enumerate(group)]
        return [*found, (number, GroupEnd())]


@pytest.mark.parametrize("deaths", range(MOST_DEATHS))
def test_groups_are_tried_again(deaths: int) -> None:
    """A group is tried again as a whole before anything is given up."""
    hands = DyingHands(deaths)
    found = list(run_groups(hands, [[1, 2], [3]], lambda _item, _reason: -1, lambda _item: 1.0, lambda _done: None))
    assert sorted(found) == [(1, 1), (2, 2), (3, 3)]
    assert hands.taken == {(1, 2): deaths + 1, (3,): deaths + 1}


def test_after_the_last_death_items_are_alone() -> None:
    """After MOST_DEATHS a group is taken item by item, and an item is given up with the reason."""
    hands = DyingHands(10**6)
    reasons: list[tuple[int, str]] = []

    def give_up(item: int, reason: str) -> int:
        reasons.append((item, reason))
        return -1

    found = run_groups(
        hands,
        [[1, 2]],
        give_up,
        lambda _item: 1.0,
        lambda _done: None,
    )
    assert sorted(found) == [(1, -1), (2, -1)]
    assert sorted(reasons) == [(1, "killed"), (2, "killed")]
    assert hands.taken == {(1, 2): MOST_DEATHS, (1,): MOST_DEATHS, (2,): MOST_DEATHS}


@pytest.mark.slow
def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    """A process whose parent is killed ends at once, in the middle of its work."""
    script = tmp_path / "hold.py"
    script.write_text(HOLDING.format(seconds=600))
    command, environment = [sys.executable, str(script)], os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert alive == []


def test_the_address_of_a_cluster_is_optional() -> None:
    """Behind --cluster comes an address, or what the command works on."""
    assert complete_cluster_option(["analyse", "--cluster", "night.csv"])[1:] == ["--cluster", "local", "night.csv"]
    assert complete_cluster_option(["analyse", "a.csv", "--cluster"])[2:] == ["--cluster", "local"]
    for address in ("auto", "head:6379", "[::1]:6379", "10.0.0.1:6379", "local"):
        arguments = ["analyse", "--cluster", address, "a.csv"]
        assert complete_cluster_option(arguments) == arguments
    assert complete_cluster_option(["--cluster=head:1", "a"]) == ["--cluster=head:1", "a"]


def test_a_cluster_uses_cpus(settings: Config) -> None:
    """In a cluster the net runs on CPUs, whatever a host has; another device is refused."""
    place = WorkPlace(0, "auto")
    assert configure_place(override_config(settings, "monitor", device="auto"), place).monitor.device == "cpu"
    with pytest.raises(ConfigError, match="--device cuda"):
        configure_place(override_config(settings, "monitor", device="cuda"), place)
    assert configure_place(settings, WorkPlace(2)) == settings


def test_refusals_in_one_line() -> None:
    """Of what Ray says at its end, a person learns what to do."""
    ours = "This process on node address: 10.0.0.2 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    text = f"RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1\n{ours}"
    said = explain_ray_refusal("head:6379", f"Traceback\n{text}")
    assert said == "the cluster at head:6379 runs Ray 2.9.0 on Python 3.10.1, here is Ray 2.60.0 on 3.11.7"
    assert "host of no cluster" in explain_ray_refusal(
        "auto", "ConnectionError: Could not find any running Ray instance."
    )
    assert "is no host of the cluster" in explain_ray_refusal("head:1", "Exception: No raylet is here")
    assert explain_ray_refusal("head:1", "a\nOSError: odd\n") == "cannot join the cluster at head:1: OSError: odd"


def test_addresses_that_are_none() -> None:
    """What is no address is refused, and where nothing listens it is said at once."""
    pytest.importorskip("ray", reason="Ray is an extra of this package (cluster)")
    with pytest.raises(ConfigError, match="is no address"), open_ray("a/b", 1):
        pass
    with pytest.raises(EndpointError, match="no cluster answers at"), open_ray("127.0.0.1:9", 1):
        pass


def test_what_a_host_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host says which of the things it lacks that all must have."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").touch()
    digest = checkpoint_card.digest_checkpoint(checkpoint_card.find_checkpoint("live"))
    files = (str(tmp_path / "a.csv"),)
    place, is_compiled = (str(tmp_path), str(tmp_path / "token"), ()), load_library() is not None
    needs = HostNeeds(version("ecg-agent"), "live", digest, *place, is_compiled=is_compiled)
    lacking = {
        "0.0.1 here": (HostNeeds("0.0.1", "live", digest, needs.cwd, needs.token, ()), 3),
        "has no folder": (HostNeeds(needs.version, "live", digest, str(tmp_path / "x"), needs.token, ()), 4),
        "folder of results": (HostNeeds(needs.version, "live", digest, needs.cwd, str(tmp_path / "no"), ()), 10),
        "cannot read": (HostNeeds(needs.version, "live", digest, needs.cwd, needs.token, files), 4),
        "are not those here": (HostNeeds(needs.version, "live", "0", needs.cwd, needs.token, ()), 7),
        "parts in C": (replace(needs, is_compiled=not is_compiled), 3),
        "no weights": (HostNeeds(needs.version, "nowhere", digest, needs.cwd, needs.token, ()), 7),
    }
    assert check_host(needs).problem == ""
    for words, (asked, code) in lacking.items():
        reply = check_host(asked)
        assert words in reply.problem
        assert reply.kind == code
