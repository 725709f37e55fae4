"""An LSL outlet on loopback as a process of its own: python lsl_outlet.py SIGNAL.npy JSON.

It sends samples (n, channels) in time, or all at once with stamps as if in time, and goes on until it is killed.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOOPBACK = """[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
ListenAddress = 127.0.0.1
[lab]
KnownPeers = {127.0.0.1}
[log]
level = -3
"""
"""Nothing leaves the machine."""


@dataclass(frozen=True, slots=True)
class OutletPlan:
    """What an outlet says of itself and does; `began_s`: unix time of the first sample, 0 for the first inlet.

    `speed` 0: all at once. `burst`: samples that are sent together. `skipped` [[from, to] …]: samples never sent.
    """

    name: str = "heart"
    kind: str = "ECG"
    fs: float = 250.0
    format: str = "float32"
    source_id: str = "strap-1"
    labels: tuple[str, ...] = ("II",)
    unit: str = "microvolts"
    began_s: float = 0.0
    speed: float = 1.0
    burst: int = 5
    skipped: tuple[tuple[int, int], ...] = ()


def stay_on_loopback(folder: Path) -> None:
    """Keep LSL of this process, and of those it starts, on this machine; before it is used for the first time."""
    path = folder / "lsl_api.cfg"
    path.write_text(LOOPBACK, encoding="utf-8")
    os.environ["LSLAPICFG"] = str(path)


def start_outlet(folder: Path, samples: NDArray[Any], plan: OutletPlan) -> "subprocess.Popen[bytes]":
    """Start an outlet of samples (n, channels) in another process."""
    path = folder / f"{time.monotonic_ns()}.npy"
    np.save(path, samples)
    return subprocess.Popen([sys.executable, __file__, str(path), json.dumps(asdict(plan))])


def _make_outlet(plan: OutletPlan, channels: int) -> Any:
    import pylsl

    info = pylsl.StreamInfo(plan.name, plan.kind, channels, plan.fs, plan.format, plan.source_id)
    if plan.labels:
        described = info.desc().append_child("channels")
        for label in plan.labels:
            channel = described.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("unit", "" if "ounter" in label else plan.unit)
    return pylsl.StreamOutlet(info)


def _send_all(samples: NDArray[Any], plan: OutletPlan) -> None:
    import pylsl

    outlet = _make_outlet(plan, samples.shape[1])
    while not plan.began_s and not outlet.have_consumers():
        time.sleep(0.01)
    began = pylsl.local_clock() - (time.time() - plan.began_s if plan.began_s else 0.0)
    at = int((pylsl.local_clock() - began) * plan.fs) if plan.began_s else 0
    fs = plan.fs or 250.0
    while at < len(samples):
        stop = min(at + plan.burst, len(samples))
        if plan.speed:
            time.sleep(max(0.0, began + stop / fs / plan.speed - pylsl.local_clock()))
        for i in range(at, stop):
            if not any(first <= i < last for first, last in plan.skipped):
                row = samples[i].tolist()
                outlet.push_sample([str(value) for value in row] if plan.format == "string" else row, began + i / fs)
        at = stop
    time.sleep(3600)


if __name__ == "__main__":
    _send_all(np.load(sys.argv[1]), OutletPlan(**json.loads(sys.argv[2])))
