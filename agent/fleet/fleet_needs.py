"""Whether a host can run monitors of a fleet: the same package and weights there, and which devices it reaches.

This module is sent to the host as it is, since the package may not be there; so it imports no other of ours.
"""

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

CONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class FleetNeeds:
    """What every host must have: this version of ecg-agent, weights of this name or file, with this SHA-256.

    `store`: where the server of the store is, "" if there is none; `endpoints`: where the devices are.
    """

    version: str
    weights: str
    weights_sha256: str
    store: str
    endpoints: tuple[str, ...]


def check_fleet_host(needs: FleetNeeds) -> tuple[str, list[str]]:
    """Return why this host cannot run monitors, "" if it can, and the devices that do not answer it."""
    return _find_lack(needs), find_unreachable(needs.endpoints)


def find_unreachable(endpoints: Sequence[str]) -> list[str]:
    """Return the endpoints, tcp://HOST:PORT, that nothing answers at from here."""
    lost = []
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition("://")[2].rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        except (OSError, ValueError, OverflowError):
            lost.append(endpoint)
    return lost


def _find_lack(needs: FleetNeeds) -> str:
    try:
        found = version("ecg-agent")
    except PackageNotFoundError:
        return "ecg-agent is not installed there"
    if found != needs.version:
        return f"ecg-agent {found} is installed there, {needs.version} here"
    package = find_spec("model")
    folders = list(package.submodule_search_locations or ()) if package else []
    paths = [Path(needs.weights).expanduser()]
    paths += [Path(folder, "nets", "weights", f"{needs.weights}.safetensors") for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return f"it has no weights {needs.weights}"
    if hashlib.sha256(path.read_bytes()).hexdigest() != needs.weights_sha256:
        return f"its weights {needs.weights} are not those here"
    if needs.store and find_unreachable([needs.store]):
        return f"it does not reach the store at {needs.store}"
    return ""
