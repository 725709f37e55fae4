"""What a fleet follows: a file of devices, its shards, and the monitor of each device in them."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from agent.fleet.rendezvous import choose_shard
from model.errors import ConfigError, clean_error_text

LARGEST_FILE_BYTES = 2**22
MOST_SHARDS, MOST_REPLICAS = 256, 5
LONGEST_FLEET_NAME = 40
_Text = Annotated[str, Meta(min_length=1, max_length=512)]


class FleetDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device at a ZeroMQ endpoint; `beds`: those to follow, all if there are none. Keys are files on every host.

    If there is only one device, its named beds are spread over the shards.
    """

    endpoint: Annotated[str, Meta(pattern=r"^tcp://[^\s;]+:\d{1,5}$", max_length=512)]
    beds: Annotated[tuple[_Text, ...], Meta(max_length=10_000)] = ()
    key: str = ""
    server_key: str = ""


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet: its name, what each of its shards follows, how many replicas a shard has, and the address of its store,
    or an @FILE with it, which is on every host.

    `options`: of every monitor, such as ("--weights", "best").
    """

    name: str
    shards: dict[int, tuple[FleetDevice, ...]]
    replicas: int
    store: str
    options: tuple[str, ...] = ()

    def endpoints(self, shard: int) -> frozenset[str]:
        """Return where the devices of a shard are."""
        return frozenset(device.endpoint for device in self.shards[shard])


class _DevicesFile(msgspec.Struct, forbid_unknown_fields=True):
    device: list[FleetDevice]


def read_devices(path: Path) -> list[FleetDevice]:
    """Return the devices of a TOML file of `[[device]]` tables. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
        if len(content) > LARGEST_FILE_BYTES:
            raise ConfigError(f"{path} is too large for a list of devices")
        devices = msgspec.convert(tomllib.loads(content.decode()), _DevicesFile).device
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        form = '[[device]] with endpoint = "tcp://HOST:5555" and maybe beds = ["…"]'
        raise ConfigError(f"{path} is no list of devices: {clean_error_text(error)}; write {form}") from error
    if not devices:
        raise ConfigError(f"{path} names no device")
    seen: set[str] = set()
    for device in devices:
        if device.endpoint in seen:
            raise ConfigError(f"{path} names {device.endpoint} twice: give it one list of beds")
        seen.add(device.endpoint)
        if repeated := [bed for bed in device.beds if device.beds.count(bed) > 1]:
            raise ConfigError(f"{path} names bed {clean_error_text(repeated[0])} of {device.endpoint} twice")
    return devices


def format_devices(devices: Sequence[FleetDevice]) -> str:
    """Return the content of a file that `read_devices` reads."""
    tables = []
    for device in devices:
        named = msgspec.json.encode(device.beds).decode()  # of texts, TOML writes the same
        beds = f"beds = {named}\n" if device.beds else ""
        tables.append(f'[[device]]\nendpoint = "{device.endpoint}"\n{beds}')
    return "\n".join(tables)


def plan_shards(devices: Sequence[FleetDevice], shards: int) -> dict[int, tuple[FleetDevice, ...]]:
    """Return what each shard follows: whole devices, or the named beds of the only one. Empty shards are left out.

    Raises ConfigError for a number of shards that makes no sense.
    """
    if not 1 <= shards <= MOST_SHARDS:
        raise ConfigError(f"{shards} shards make no sense: give 1 to {MOST_SHARDS} (--shards)")
    planned: dict[int, list[FleetDevice]] = {}
    for device in devices:
        if not device.beds or len(devices) > 1:
            planned.setdefault(choose_shard(device.endpoint, range(shards)), []).append(device)
            continue
        beds: dict[int, list[str]] = {}
        for bed in device.beds:
            beds.setdefault(choose_shard(f"{device.endpoint} {bed}", range(shards)), []).append(bed)
        for shard, own in beds.items():
            planned.setdefault(shard, []).append(msgspec.structs.replace(device, beds=tuple(own)))
    return {shard: tuple(planned[shard]) for shard in sorted(planned)}


def check_fleet_name(name: str) -> None:
    """Raise ConfigError for what cannot be the name of a fleet."""
    if not name.isprintable() or not 1 <= len(name) <= LONGEST_FLEET_NAME or "/" in name:
        raise ConfigError(f"a fleet has a name of up to {LONGEST_FLEET_NAME} printable characters, no / (--name)")


def replica_name(plan: FleetPlan, shard: int, serial: int) -> str:
    """Return the name of a replica; `serial` counts those that a shard has had."""
    return f"{plan.name}/{shard}.{serial}"


def monitor_name(plan: FleetPlan, shard: int, serial: int, device: int) -> str:
    """Return the name by which a store knows the monitor of a shard's device, numbered from 0."""
    name = replica_name(plan, shard, serial)
    return name if len(plan.shards[shard]) == 1 else f"{name}.{device}"
