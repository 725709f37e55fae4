"""`ecg-agent fleet run`, `drain` and `end`: a ward over several hosts. `docs/fleet.md` has the rules."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import (
    STORE_HELP,
    ConfigFileOption,
    EndpointOption,
    InsecureOption,
    KeyOption,
    ServerKeyOption,
    WeightsOption,
)
from agent.core import config as configuration
from model.errors import ConfigError

ClusterOption = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Use the Ray cluster at HOST:PORT, or the one of this host: auto.", show_default="local"
    ),
]
FleetNameOption = Annotated[str, typer.Option(metavar="NAME", help="Name of the fleet.")]


def run_fleet_here(
    store: Annotated[str, typer.Option(metavar="STORE", help=STORE_HELP)],
    devices: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Follow the devices of this TOML file."),
    ] = None,
    endpoint: EndpointOption = None,
    bed: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Follow this bed of --endpoint; repeat for several.")
    ] = None,
    shards: Annotated[int, typer.Option(metavar="NUMBER", help="Spread the devices over so many shards.")] = 1,
    replicas: Annotated[int, typer.Option(metavar="NUMBER", help="Follow each shard so many times.", min=1, max=5)] = 2,
    name: FleetNameOption = "fleet",
    cluster: ClusterOption = "local",
    weights: WeightsOption = None,
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Run a ward over the hosts of a Ray cluster: each bed at two monitors, each finding once in the store."""
    settings = configuration.override_config(
        configuration.load_config(config), "security", key=key, server_key=server_key, insecure=insecure
    )
    settings = configuration.override_config(settings, "monitor", weights=weights)
    settings = configuration.override_config(settings, "link", endpoint=endpoint)
    from agent.cli.stop_signals import StopFlag
    from agent.fleet.fleet_plan import FleetDevice, FleetPlan, check_fleet_name, plan_shards, read_devices

    check_fleet_name(name)
    if devices is not None and (endpoint or bed):
        raise ConfigError("say either which --devices, or one --endpoint and its --bed, not both")
    found = read_devices(devices) if devices else [FleetDevice(settings.link.endpoint, tuple(bed or ()))]
    options = _monitor_options(settings, config, insecure)
    plan = FleetPlan(name, plan_shards(found, shards), replicas, _absolute_store(store), options)
    if len(plan.shards) < shards:
        _say(f"{len(plan.shards)} of {shards} shards have a device: where one goes hangs on its endpoint alone")
    with StopFlag() as stop:
        from agent.fleet.fleet_driver import FleetWeights, run_fleet
        from model.nets.checkpoint_card import digest_checkpoint, find_checkpoint

        path = settings.monitor.weights
        known = FleetWeights(path, digest_checkpoint(find_checkpoint(path)))
        run_fleet(plan, cluster, known, settings.security, stop, _say)


def drain_fleet_host(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host to leave, by its name or address.")],
    name: FleetNameOption = "fleet",
    cluster: ClusterOption = "auto",
) -> None:
    """Move all replicas away from a host that is to be stopped: others listen before these end."""
    from agent.cli.stop_signals import StopFlag

    with StopFlag() as stop:
        from agent.fleet.fleet_driver import drain_host

        drain_host(host, name, cluster, _say, stop)


def end_running_fleet(name: FleetNameOption = "fleet", cluster: ClusterOption = "auto") -> None:
    """End a fleet in a cluster whose own command is gone."""
    from agent.fleet.fleet_driver import end_fleet

    end_fleet(name, cluster, _say)


def _monitor_options(settings: configuration.Config, config: Path | None, insecure: bool | None) -> tuple[str, ...]:
    """Return the options that every monitor gets: on all hosts the same net on the same kind of device."""
    files = [("--config", str(config.absolute()) if config else ""), ("--weights", settings.monitor.weights)]
    files += [("--key", _absolute(settings.security.key)), ("--server-key", _absolute(settings.security.server_key))]
    options = [part for option, value in files if value for part in (option, value)]
    device = "cpu" if settings.monitor.device == "auto" else settings.monitor.device
    return (*options, "--device", device, *(["--insecure"] if insecure else []))


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


def _absolute_store(address: str) -> str:
    """Return an address, or an @FILE, that means the same in every folder."""
    if address.startswith("@"):
        return f"@{_absolute(address[1:])}"
    scheme, _, path = address.partition(":")
    if scheme != "store" or path.startswith("//") or not path:
        return address
    return f"store:{_absolute(path)}"


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stdout.flush()
