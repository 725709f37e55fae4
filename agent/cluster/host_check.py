"""Whether a host of a cluster can do the work: the same package and weights, and the folders and files in sight.

This module is sent to the host as it is, since the package may not be there; so it imports no other of ours.
"""

import os
import socket
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostNeeds:
    """What every host must have: this version, weights with this SHA-256 (none if ""), and in sight of it paths.

    `cwd`: the folder from which the command was started. `token`: a file in the folder of results, which only this
    command has made, `out_option`: the option that chooses that folder. `files`: some of the recordings. `is_compiled`:
    whether the parts in C are used, whose net has other last digits.
    """

    version: str
    weights: str
    weights_sha256: str
    cwd: str
    token: str
    files: tuple[str, ...]
    out_option: str = "--out"
    is_compiled: bool = True


@dataclass(frozen=True, slots=True)
class HostReply:
    """The name of a host and what it lacks, "" for nothing; `kind` is the exit code of that kind of trouble."""

    host: str
    problem: str = ""
    kind: int = 0


def check_host(needs: HostNeeds) -> HostReply:
    """Return what this host lacks."""
    problem, kind = _missing_here(needs)
    return HostReply(socket.gethostname(), problem, kind)


def _missing_here(needs: HostNeeds) -> tuple[str, int]:
    try:
        found = version("ecg-agent")
    except PackageNotFoundError:
        return "ecg-agent is not installed there", 3
    if found != needs.version:
        return f"ecg-agent {found} is installed there, {needs.version} here", 3
    if not os.path.isdir(needs.cwd):  # noqa: PTH112  # no exceptions, whatever the path
        return f"it has no folder {needs.cwd}: start the command in one that all hosts share", 4
    os.chdir(needs.cwd)
    if not Path(needs.token).exists():
        folder = Path(needs.token).parent
        return f"it does not see the folder of results {folder}: choose a shared one ({needs.out_option})", 10
    if unseen := [path for path in needs.files if not os.access(path, os.R_OK)]:
        return f"it cannot read {unseen[0]}: keep recordings on a file system that all hosts share", 4
    return _missing_weights(needs) if needs.weights else ("", 0)


def _missing_weights(needs: HostNeeds) -> tuple[str, int]:
    try:
        from model.compiled.library import load_library
        from model.nets import checkpoint_card

        digest = checkpoint_card.digest_checkpoint(checkpoint_card.find_checkpoint(needs.weights))
    except ImportError as error:
        return f"ecg-agent cannot be loaded there: {error}", 3
    except Exception as error:  # of the other version there, too
        return f"{error}", 7
    if (load_library() is not None) != needs.is_compiled:
        which = "has no parts in C, but this host" if needs.is_compiled else "has parts in C, but not this host"
        return f"it {which}: build ecg-agent with a C compiler on all hosts", 3
    return ("", 0) if digest == needs.weights_sha256 else (f"its weights {needs.weights} are not those here", 7)
