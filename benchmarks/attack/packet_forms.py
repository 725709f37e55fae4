"""Packets as a device sends them, and as none may: headers are plain dictionaries, so that any key can be wrong."""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS

BEAT_SAMPLES, R_AT = 100, 50
"""The good bed's heart beats 75 times a minute: an R peak at samples 50, 150, 250 and so on."""
WAVES = ((1.1, 0.0, 0.012), (-0.15, 0.03, 0.012), (0.12, -0.17, 0.02), (0.3, 0.26, 0.04))
"""Height in mV, place in seconds from the R peak, and width of the waves of a beat."""
LEAD = {"name": "II", "unit": "mV", "gain": 1000, "offset": 0, "low": -32767, "high": 32767}
MOST_SAMPLES = 65_536
NO_VALUE = -32_768
Header = dict[str, Any]
Frames = list[bytes]


def _draw_ecg() -> NDArray[np.int16]:
    """Return (12000,) int16 counts of a microvolt: beats with a wandering baseline, which can follow on themselves."""
    sample = np.arange(120 * BEAT_SAMPLES)
    phase_s = (sample % BEAT_SAMPLES - R_AT) / FS
    mv = sum(height * np.exp(-(((phase_s - at) / width) ** 2) / 2) for height, at, width in WAVES)
    wander = 0.01 * np.sin(2 * np.pi * sample / 250) + 0.004 * np.sin(2 * np.pi * sample / 4)
    return np.rint(1000 * (mv + wander)).astype("<i2")


ECG = _draw_ecg()


def ecg_counts(first: int, count: int) -> bytes:
    """Return the int16 counts of samples `first` to `first + count` as frame 3 of a packet."""
    return ECG[np.arange(first, first + count) % len(ECG)].tobytes()


def comb_counts(count: int = MOST_SAMPLES) -> bytes:
    """Return int16 counts of which every other one is missing."""
    counts = np.full(count, 5, "<i2")
    counts[::2] = NO_VALUE
    return counts.tobytes()


def samples_header(first: int = 0, count: int = 5, run: str = "run", **changes: Any) -> Header:
    """Return the header of a packet of one lead, with some of its keys changed."""
    return {
        "kind": "samples",
        "v": 1,
        "run": run,
        "sequence": min(first // max(count, 1), 2**53),
        "first": first,
        "count": count,
        "fs": FS,
        "dtype": "int16",
        "sent": time.time(),
        "leads": [LEAD],
        **changes,
    }


def packet(bed: str | bytes, first: int = 0, count: int = 5, payload: bytes | None = None, **changes: Any) -> Frames:
    """Return the frames of a packet of the good heart, or of another `payload`."""
    header = samples_header(first, count, **changes)
    return raw_packet(bed, dump(header), ecg_counts(first, count) if payload is None else payload)


def raw_packet(bed: str | bytes, header: bytes, payload: bytes) -> Frames:
    """Return three frames as they are given."""
    return [bed.encode() if isinstance(bed, str) else bed, header, payload]


def end_message(bed: str, first: int, run: str = "run", payload: bytes = b"") -> Frames:
    """Return the frames of a message of kind end."""
    header = {"kind": "end", "v": 1, "run": run, "sequence": 9, "first": first, "fs": FS, "sent": time.time()}
    return raw_packet(bed, dump(header), payload)


def dump(fields: Any) -> bytes:
    """Return JSON as Python writes it, with NaN and lone surrogates where they are."""
    return json.dumps(fields).encode()


def hello_reply(request: Header, received_s: float, **changes: Any) -> Header:
    """Return what a device answers to a hello."""
    times = {"asked": request["sent"], "received": received_s, "sent": time.time()}
    return {"kind": "hello", "v": 1, "id": request["id"], **times, "beds": 1, **changes}


def fetch_reply(request: Header, **changes: Any) -> Header:
    """Return the first frame of what a device answers that keeps nothing of the bed."""
    known = {"bed": request["bed"], "run": "", "start": 0, "oldest": 0, "next": 0, "ended": False}
    return {"kind": "fetched", "v": 1, "id": request["id"], **known, **changes}


def joined_reply(reply: Header, packets: Sequence[Frames] = ()) -> Frames:
    """Return the frames of a reply with packets behind it."""
    return [dump(reply), *(frame for frames in packets for frame in frames)]
