"""Two hosts and a cable that is cut: network namespaces of Linux, a veth pair between them, keys on both sides.

    python -m benchmarks.cable [--cut 20] [--loss 10] [--json results.json]  (as root)

The simulator runs on one host, a recording monitor on the other; the link between them is taken down for `--cut`
seconds, then, in other runs, for a short moment and ten times in a row. Measured: how soon the loss is reported, how
soon after the cable is back the first new beat comes, and whether every sample was fetched again.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.wire.curve_security import create_key_pair
from benchmarks.figures import write_figures
from benchmarks.host_network import ip
from benchmarks.processes import Reader
from benchmarks.soak import RECORD, Figures, count_differences, parse_lines, plan, recorded, undisturbed
from model.records.resample import FS

DEVICE, AGENT = "10.99.0.1", "10.99.0.2"
AFTER_S = 30.0


@contextlib.contextmanager
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them: names of the device's and the monitor's."""
    names = (f"ecg-device-{os.getpid()}", f"ecg-monitor-{os.getpid()}")
    try:
        for name in names:
            ip("netns", "add", name)
            ip("link", "set", "lo", "up", namespace=name)
        ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable1", "netns", names[1])
        for i, (name, address) in enumerate(zip(names, (DEVICE, AGENT), strict=True)):
            ip("addr", "add", f"{address}/24", "dev", f"cable{i}", namespace=name)
            ip("link", "set", f"cable{i}", "up", namespace=name)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def on(host: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """ecg-agent on a host."""
    return subprocess.Popen(["ip", "netns", "exec", host, sys.executable, "-m", "agent", *arguments], **options)


def cut(seconds: float, times: int = 1) -> Figures:
    """One run; between two cuts the cable is whole for as long as it was cut."""
    total = 25.0 + 2 * times * seconds + AFTER_S
    with tempfile.TemporaryDirectory() as root, hosts() as (device, agent):
        keys = Path(root) / "keys"
        for name in ("device", "ward"):
            create_key_pair(keys, name)
        (keys / "clients").mkdir()
        shutil.copy(keys / "ward.key", keys / "clients")
        endpoint = f"tcp://{DEVICE}:5555"
        device_keys = ("--key", str(keys / "device.key_secret"), "--clients", str(keys / "clients"))
        agent_keys = ("--key", str(keys / "ward.key_secret"), "--server-key", str(keys / "device.key"))
        length = ("--loop", "--duration", str(total), "--wait")
        source = on(
            device,
            "simulate",
            "record",
            RECORD,
            *length,
            "--endpoint",
            endpoint,
            *device_keys,
            stderr=subprocess.DEVNULL,
        )
        folder = Path(root) / "session"
        options = ("--endpoint", endpoint, "--json", "--until-end", "--record", str(folder), *agent_keys)
        monitor = on(agent, "monitor", *options, stdout=subprocess.PIPE)
        reader = Reader(monitor)
        reader.wait('"beat"')
        time.sleep(10)
        down_s = time.monotonic()
        for turn in range(times):
            time.sleep(seconds if turn else 0.0)
            ip("link", "set", "cable0", "down", namespace=device)
            time.sleep(seconds)
            ip("link", "set", "cable0", "up", namespace=device)
        up_s = time.monotonic()
        output = parse_lines(reader.all(total + 60))
        source.terminate()
        source.wait()
        on_disk, missing = recorded(folder)
    return {
        "cut_s": seconds,
        "times": times,
        "noticed_after_s": reader.first_s("no packets from") - down_s,
        "beats_again_after_s": reader.first_s('"beat"', up_s) - up_s,
        "open": output.open(),
        "missing": output.missing(),
        "missing_in_recording": missing,
        "samples_recorded": len(on_disk),
        "samples_sent": total * FS,
        "other_beats": count_differences(output.beats, undisturbed(plan(total))),
    }


def main() -> None:
    """Cut the cable for a long and a short time, and again and again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cut", type=float, default=20.0, help="seconds without a cable")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    results = [cut(options.cut), cut(3.0), cut(0.7, times=10)]
    for figures in results:
        print("\n".join(f"{key:28}{value:12.2f}" for key, value in figures.items()), end="\n\n")
    if options.json:
        write_figures(options.json, results)


if __name__ == "__main__":
    main()
