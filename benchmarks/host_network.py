"""Hosts of a network on this machine: namespaces of Linux around a bridge, each with a cable that can be cut.

Where namespaces are not allowed (they need root) all hosts are this machine, at 127.0.0.1, and have no cables.
"""

import contextlib
import os
import shutil
import subprocess

BRIDGE = "10.98.0.1"
"""This machine, outside the namespaces, as its hosts see it."""


def ip(*arguments: str, namespace: str = "") -> None:
    """Run `ip`. Raises subprocess.CalledProcessError, and OSError where there is none."""
    command = ["ip", *(("-n", namespace) if namespace else ()), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def can_have_namespaces() -> bool:
    """Return whether this process may make network namespaces."""
    name = f"ecg-probe-{os.getpid()}"
    if shutil.which("ip") is None:
        return False
    try:
        ip("netns", "add", name)
        ip("link", "add", f"ecgp{os.getpid()}", "type", "bridge")
        ip("link", "del", f"ecgp{os.getpid()}")
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", name)
    return True


class HostNetwork:
    """Hosts by name, each with an address; `outside` is that of this machine."""

    def __init__(self) -> None:
        self.has_cables = can_have_namespaces()
        self.outside = BRIDGE if self.has_cables else "127.0.0.1"
        self._bridge = f"ecgb{os.getpid()}"
        self._numbers: dict[str, int] = {}
        if self.has_cables:
            ip("link", "add", self._bridge, "type", "bridge")
            ip("link", "set", self._bridge, "addrgenmode", "none")  # no address comes later, by itself
            ip("addr", "add", f"{BRIDGE}/24", "dev", self._bridge)
            ip("link", "set", self._bridge, "up")

    def add(self, name: str) -> None:
        """Make a host, unless it is there."""
        if name in self._numbers:
            return
        number = self._numbers[name] = len(self._numbers) + 2
        if not self.has_cables:
            return
        inside = self._namespace(name)
        ip("netns", "add", inside)
        ip("link", "set", "lo", "up", namespace=inside)
        ip("link", "add", self._cable(name), "type", "veth", "peer", "name", "eth0", "netns", inside)
        ip("link", "set", self._cable(name), "addrgenmode", "none")
        ip("link", "set", self._cable(name), "master", self._bridge)
        ip("link", "set", self._cable(name), "up")
        ip("addr", "add", f"10.98.0.{number}/24", "dev", "eth0", namespace=inside)
        ip("link", "set", "eth0", "up", namespace=inside)
        ip("route", "add", "default", "via", BRIDGE, namespace=inside)

    def address(self, name: str) -> str:
        """Return the address of a host."""
        return f"10.98.0.{self._numbers[name]}" if self.has_cables else "127.0.0.1"

    def on(self, name: str) -> list[str]:
        """Return what goes before a command that is to run on a host."""
        return ["ip", "netns", "exec", self._namespace(name)] if self.has_cables else []

    def cut(self, name: str) -> None:
        """Cut the cable of a host."""
        ip("link", "set", self._cable(name), "down")

    def mend(self, name: str) -> None:
        """Put the cable of a host in again."""
        ip("link", "set", self._cable(name), "up")

    def close(self) -> None:
        """Take all away."""
        if not self.has_cables:
            return
        for name in self._numbers:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", self._namespace(name))
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", self._bridge)

    def _namespace(self, name: str) -> str:
        return f"ecg-{name}-{os.getpid()}"

    def _cable(self, name: str) -> str:
        return f"ec{self._numbers[name]}-{os.getpid()}"
