"""Every kind of attack on a running monitor and a running device: `python -m benchmarks.attack`.

    python -m benchmarks.attack [--only clean,greedy*] [--keys] [--seconds 8] [--json FILE]
    python -m benchmarks.attack --hours 1 [--keys]

Real processes over TCP. A monitor watches one good bed, 75 beats a minute with R peaks at known samples, while the same
device attacks it; a device sends record 208 to a subscriber that takes every packet, while others attack it. Each kind
has a process of its own, and a line: beats (or packets) shown of those due, by how much the latest came later than
without an attack, the longest silence, memory before, most, and after, lines written, and the seconds from Ctrl-C to
the end. The verdict is ok if all were shown in time, in 100 MB more, with a ledger that closes, and an end within 1 s;
if not, it names what was wrong. `--hours` puts all kinds, in turn, on one monitor and one device, and prints their
memory every minute. The exit code is 1 if anything was wrong.
"""

import argparse
import contextlib
import fnmatch
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.attack.device_run import AttackedDevice, DeviceAttack, attack_device
from benchmarks.attack.hostile_device import AttackKeys, create_attack_keys
from benchmarks.attack.kinds import ATTACKS
from benchmarks.attack.monitor_run import AttackedMonitor, MonitorAttack, attack_monitor
from benchmarks.attack.verdict import AttackFigures, as_result, find_faults, table_head, table_row
from benchmarks.figures import write_figures
from benchmarks.processes import sample

SECONDS = 6.0
MINUTE_S = 60.0
MOST_DRIFT_MB = 100.0
"""By how much memory may differ between the first and the last minute of a long run."""
Attack = MonitorAttack | DeviceAttack


def select_attacks(names: str, keys: bool) -> list[Attack]:
    """Return the attacks with these names, in which * stands for anything. Raises SystemExit if there is none."""
    patterns = [name.strip() for name in names.split(",") if name.strip()] or ["*"]
    chosen = [
        attack
        for name, attack in ATTACKS.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        and not (keys and isinstance(attack, MonitorAttack) and attack.in_the_clear)
    ]
    if not chosen:
        raise SystemExit(f"no attack is called {names!r}: {', '.join(ATTACKS)}")
    return chosen


def run_attack(attack: Attack, seconds: float, keys: AttackKeys | None) -> AttackFigures:
    """Run an attack against a process of its own."""
    if isinstance(attack, MonitorAttack):
        return attack_monitor(attack, seconds, keys)
    return attack_device(attack, seconds, keys)


def show_attacks(attacks: Sequence[Attack], seconds: float, keys: AttackKeys | None) -> list[dict[str, Any]]:
    """Run attacks one after the other and print a line for each; return their figures."""
    print(table_head())
    results = []
    for attack in attacks:
        figures = run_attack(attack, seconds, keys)
        faults = find_faults(figures, attack.limits)
        print(table_row(figures, faults), flush=True)
        results.append(as_result(figures, faults))
    return results


def attack_for_hours(
    attacks: Sequence[Attack], hours: float, seconds: float, keys: AttackKeys | None
) -> list[dict[str, Any]]:
    """Put all attacks in turn on one monitor and one device, until the time is over; return the figures of each."""
    until_s = time.monotonic() + 3600 * hours
    lasting = [attack for attack in attacks if not (isinstance(attack, MonitorAttack) and _ends_monitor(attack))]
    results: list[dict[str, Any]] = []
    memory = _MinuteLog()
    print(table_head())
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(AttackedMonitor(keys, proxied=True))
        device = stack.enter_context(AttackedDevice(keys))
        processes = {"monitor": monitor.process.pid, "device": device.process.pid}
        while time.monotonic() < until_s:
            for attack in lasting:
                measure: Callable[..., AttackFigures] = (
                    monitor.measure if isinstance(attack, MonitorAttack) else device.measure
                )
                figures = measure(attack, seconds)
                faults = find_faults(figures, attack.limits)
                print(table_row(figures, faults), flush=True)
                results.append(as_result(figures, faults))
                memory.note(processes)
                if not figures.alive:
                    return results
    results.append({"name": "memory", "minutes": memory.minutes, "faults": memory.find_faults()})
    return results


class _MinuteLog:
    """Resident megabytes of processes, once a minute."""

    def __init__(self) -> None:
        self.minutes: list[dict[str, float]] = []
        self._began_s = self._noted_s = time.monotonic()

    def note(self, processes: dict[str, int]) -> None:
        """Print the memory of the processes where a minute is over."""
        now_s = time.monotonic()
        if now_s - self._noted_s < MINUTE_S and self.minutes:
            return
        self._noted_s = now_s
        sizes = {name: sample(psutil.Process(pid)).rss_mb for name, pid in processes.items()}
        self.minutes.append({"minute": round((now_s - self._began_s) / 60, 1), **sizes})
        print("   ", ", ".join(f"{name} {value:.0f}" for name, value in self.minutes[-1].items()), "MB", flush=True)

    def find_faults(self) -> list[str]:
        """Return which process has grown."""
        first, last = self.minutes[0], self.minutes[-1]
        grown = {name: last[name] - first[name] for name in first if name != "minute"}
        return [f"{name} has grown by {more:.0f} MB" for name, more in grown.items() if more > MOST_DRIFT_MB]


def _ends_monitor(attack: MonitorAttack) -> bool:
    return attack.interrupts or attack.refuses


def main() -> None:
    """Attack, and print a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names with commas between them; * stands for anything")
    parser.add_argument("--list", action="store_true", help="print the names of all kinds")
    parser.add_argument("--keys", action="store_true", help="encrypted, both sides with keys")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each attack lasts")
    parser.add_argument("--hours", type=float, help="all kinds in turn on one monitor and one device, for so long")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    attacks = select_attacks(options.only, options.keys)
    if options.list:
        print("\n".join(attack.name for attack in attacks))
        return
    with tempfile.TemporaryDirectory() as folder:
        keys = create_attack_keys(Path(folder)) if options.keys else None
        if options.hours:
            results = attack_for_hours(attacks, options.hours, options.seconds, keys)
        else:
            results = show_attacks(attacks, options.seconds, keys)
    wrong = sum(bool(result["faults"]) for result in results)
    print(f"{len(results)} attacks, {wrong} beyond the limits")
    if options.json:
        write_figures(options.json, {"keys": options.keys, "attacks": results})
    sys.exit(bool(wrong))
