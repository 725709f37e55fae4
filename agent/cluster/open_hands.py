"""Which hands do the work of a command: its own process, several, or a cluster."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from agent.cluster.groups import Found, GroupWork, Hands, Item
from agent.cluster.host_check import HostNeeds
from agent.cluster.process_hands import OwnHands, open_process_hands
from agent.cluster.ray_session import open_ray
from agent.core.config import Config, override_config
from model.compiled.library import load_library
from model.errors import ConfigError, RunError

TOKEN_PREFIX = ".cluster-"
MOST_SAMPLES = 3
"""Recordings that every host is asked for."""


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """Where work is done: in `jobs` processes (0: as many as there are CPUs, with a cluster) of this machine or of the
    cluster at `address`, None for none. `say` gets lines about hosts that are left out.
    """

    jobs: int
    address: str | None = None
    say: Callable[[str], object] = print


@dataclass(frozen=True, slots=True)
class SharedThings:
    """What all hosts of a cluster must see: the folder of results, weights (with their SHA-256, none if ""), files.

    `out_option` is the option that chooses the folder.
    """

    out: Path
    weights: str
    weights_sha256: str
    files: Sequence[str]
    out_option: str = "--out"


def configure_place(config: Config, place: WorkPlace, section: Literal["monitor", "train"] = "monitor") -> Config:
    """Return the settings of work at a place: in a cluster the net runs on CPUs, for all hosts to find the same.

    `section` has the device of the net.

    Raises ConfigError if another device is wanted there.
    """
    device = config.train.device if section == "train" else config.monitor.device
    if place.address is None or device == "cpu":
        return config
    if device != "auto":
        raise ConfigError(f"a cluster has only CPUs in common: leave --device {device} out, or --cluster")
    return override_config(config, section, device="cpu")


@contextmanager
def open_hands(
    work: GroupWork[Item, Found], place: WorkPlace, items: int, shared: SharedThings
) -> Iterator[Hands[Item, Found]]:
    """Yield the hands for work on so many items, which end with the context.

    `work` and its items must be such that they can be pickled, unless there is one job.

    Raises
    ------
    ConfigError, EndpointError
        If there is no such cluster, or it cannot be used.
    RunError
        If the folder of results cannot be written.
    """
    if place.address is not None:
        with _open_ray_hands(work, place, shared) as hands:
            yield hands
    elif min(place.jobs, items) < 2:
        own = OwnHands(work)
        try:
            yield own
        finally:
            own.close()
    else:
        with open_process_hands(work, min(place.jobs, items)) as processes:
            yield processes


@contextmanager
def _open_ray_hands(
    work: GroupWork[Item, Found], place: WorkPlace, shared: SharedThings
) -> Iterator[Hands[Item, Found]]:
    assert place.address is not None
    with open_ray(place.address, place.jobs or None) as ray, _folder_token(shared) as token:
        from agent.cluster.ray_hands import RayHands

        files = list(shared.files)
        samples = tuple(files[at] for at in sorted({0, len(files) // 2, len(files) - 1}) if files)[:MOST_SAMPLES]
        weights = (shared.weights, shared.weights_sha256)
        built, is_compiled = version("ecg-agent"), load_library() is not None
        needs = HostNeeds(built, *weights, str(Path.cwd()), str(token), samples, shared.out_option, is_compiled)
        hands: RayHands[Item, Found] = RayHands(ray, work, needs, place.jobs or None, place.say)
        try:
            yield hands
        finally:
            hands.close()


@contextmanager
def _folder_token(shared: SharedThings) -> Iterator[Path]:
    """Make a file in the folder of results by which a host knows that it is the same folder; delete it at the end."""
    token = shared.out.absolute() / f"{TOKEN_PREFIX}{secrets.token_hex(8)}"
    try:
        token.touch(exist_ok=False)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f"cannot write results to {shared.out}: {reason}; choose another folder ({shared.out_option})"
        ) from error
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)
