"""What a hostile device sends on the stream: malformed, misleading and hostile packets of other beds and the good one.

Each attack sends everything that it knows and returns; those that may last go on until their time is over.
"""

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.attack.hostile_device import GOOD, GOOD_RUN
from benchmarks.attack.monitor_run import MonitorScene
from benchmarks.attack.packet_forms import (
    LEAD,
    MOST_SAMPLES,
    Frames,
    comb_counts,
    dump,
    ecg_counts,
    end_message,
    packet,
    raw_packet,
    samples_header,
)

BAD = "bad"
STEP = 25
"""Samples of a packet that comes in real time, 200 ms."""
NESTED = b"[" * 8000 + b"]" * 8000
HEADER_VALUES: dict[str, tuple[Any, ...]] = {
    "count": (0, -1, 65_537, 2**31, 2**63, 2**64, 5.0, True, "5", None, [], {}),
    "first": (-1, 2**53, 2**53 - 4, 2**63, 2**64, -(2**63), 1.5),
    "sequence": (-1, 2**53 + 1, 2**64),
    "fs": (0, -1, 0.5, 1e9, 10_000.001, 1e-300, math.nan, math.inf, "125", None),
    "sent": (-1, 1e13, 1e300, math.nan, "now"),
    "dtype": ("int8", "float64", "object", "<i2", ""),
    "kind": ("END", "", "sample", None, ["samples"]),
    "run": ("", "r" * 65, "\ud800", "\0", "\x1b[2J\x1b]52;c;ZXZpbA==\x07", "\u202eevil", 1),
    "v": (0, -1, 2, 1.0, 10**30, True, None, "\x1b[2J"),
    "leads": ([], [LEAD] * 2, [LEAD] * 17, [LEAD] * 200, {}, None, [[]], [1]),
}
LEAD_VALUES: dict[str, tuple[Any, ...]] = {
    "gain": (0, -1, 1e-10, 1e10, 1e308, -0.0, math.nan, "1", None, True),
    "offset": (2**54, -(2**54), 1e300),
    "low": (2**31, 40_000, 1.5),
    "high": (-(2**31) - 1, -40_000),
    "unit": ("", "u" * 17, "\n", "\x07"),
    "name": ("", "\t", "n\u2028", "\x1b[31mX", "L" * 65),
}
LEGAL_EXTREMES: dict[str, dict[str, Any]] = {
    **{f"gain {gain:g}": {"leads": [{**LEAD, "gain": gain}]} for gain in (1e-9, 1e9)},
    **{f"offset {offset:g}": {"leads": [{**LEAD, "offset": offset}]} for offset in (2**53, -(2**53))},
    "narrow rails": {"leads": [{**LEAD, "low": 0, "high": 1}]},
    **{f"unit {unit}": {"leads": [{**LEAD, "unit": unit}]} for unit in ("V", "mmHg")},
    **{f"{fs:g} Hz": {"fs": fs} for fs in (1, 1.5, 40 * math.pi, 124.99, 333, 7919, 9999.9, 10_000)},
    **{f"sent {sent:g}": {"sent": sent} for sent in (0, 1e12)},
    "16 leads": {"leads": [{**LEAD, "name": f"L{i}"} for i in range(16)]},
}
HOSTILE_NAMES = (
    *("../../../../tmp/evil", "/etc/cron.d/evil", "..", ".", "a/b\\c", "C:\\x", "CON", "nul.txt", "-rf", "~root"),
    *("$(touch evil)", "`id`", "[red]markup[/red]", "[link=http://evil]x[/link]", "[/]", "[bold", "%s%s%n{0}", "{}"),
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', 'a"} 1 ecg_evil{x="', "b\\", "@file", "#x"),
    *("'; DROP TABLE beats; --", "=cmd|' /C calc'!A0", "null", "床一", "👩‍⚕️", "good ", " good", "Good"),
    *("g\u043e\u043ed", "x" * 64, "\U0001f600" * 16, "a" + "\u0301" * 31, "__proto__", "*", "bed:8", "a|b"),
    "\uff57\uff49\uff44\uff45",
)  # fmt: skip
FORBIDDEN_NAMES = (
    *(b"", b"a\nb", b"\x1b[2J\x1b[31m", b"\x1b]52;c;ZXZpbA==\x07", b"\0", b"\xc2\x9b2J", b"\xed\xa0\x80", b"\xc0\xaf"),
    *("a\u202eb".encode(), "a\u200bb".encode(), "\u2028".encode(), "\u00a0".encode(), "\ufeff".encode(), b"a\tb"),
    *(b"\x7f", "\U000e0041".encode(), b"x" * 65, b"B" * 2**20),
)  # fmt: skip


def send_nothing(scene: MonitorScene) -> None:
    """The clean baseline."""
    scene.pause(scene.seconds)


def send_malformed_frames(scene: MonitorScene) -> None:
    """Too few frames, too many, empty and huge ones, and payloads of a wrong length."""
    header = dump(samples_header())
    shapes = [[b""], [b"bad"], [b"bad", b"{}"], [b"bad", b"{}", b"", b""], [b""] * 3, [b"x"] * 100, [b"x"] * 20_000]
    shapes += [[b"bad", content, b""] for content in (b"", b"null", b"[]", b"0", b"{" * 2**20, NESTED, b'{"a":' * 3000)]
    shapes += [raw_packet(name, header, bytes(10)) for name in (b"bad" * 100, b"\xff\xfe", b"B" * 2**20)]
    shapes += [raw_packet(b"short", header, b"\1" * size) for size in (0, 1, 9, 11, 2**20)]
    for _ in scene.until_over():
        for frames in shapes:
            scene.device.send(frames)
        scene.pause(0.5)


def send_malformed_headers(scene: MonitorScene) -> None:
    """Every key of a header with values that it must not have, and headers that are no JSON."""
    good = samples_header()
    headers = [dump({**good, key: value}) for key, values in HEADER_VALUES.items() for value in values]
    headers += [
        dump({**good, "leads": [{**LEAD, key: value}]}) for key, values in LEAD_VALUES.items() for value in values
    ]
    headers += [dump({name: value for name, value in good.items() if name != key}) for key in good]
    text = dump(good)
    headers += [text[:-1], text + text, text.ljust(16_385), text + bytes(100), b"\xff" * 100, b"\xef\xbb\xbf" + text]
    headers += [text.decode().encode("utf-16"), text[:-1] + b', "\\u001b[2Jevil": 1}', text[:-1] + b', "count": 4}']
    headers += [text.replace(b"125", number) for number in (b"1e400", b"0x7d", b"1_25", b"+125", b"9" * 4000)]
    headers += [text.replace(b'"v": 1', b'"v": ' + NESTED[7400:8600]), text.replace(b'"leads": [', b'"leads": [[[[')]
    for _ in scene.until_over():
        for header in headers:
            scene.device.send(raw_packet("headers", header, ecg_counts(0, 5)))
        scene.pause(1.0)


def send_legal_extremes(scene: MonitorScene) -> None:
    """What the format allows, at its edges: gains, offsets, rails, rates, and the largest packets."""
    for n in scene.until_over():
        for bed, changes in LEGAL_EXTREMES.items():
            payload = ecg_counts(STEP * n, STEP) * len(changes.get("leads", "1"))
            scene.device.send(packet(bed, STEP * n, STEP, payload, **changes))
        if n == 5:
            wide = np.tile(np.array([2**31 - 1, -(2**31) + 1], "<i4"), MOST_SAMPLES // 2).tobytes()
            scene.device.send(packet("large", 0, MOST_SAMPLES))
            scene.device.send(packet("wide", 0, MOST_SAMPLES, wide, dtype="int32"))
        scene.pause(0.2)


def send_hostile_names(scene: MonitorScene) -> None:
    """Names that mean something to a shell, a terminal, a page or a file system, and names that are none."""
    for n in scene.until_over():
        for name in HOSTILE_NAMES:
            scene.device.send(packet(name, STEP * n, STEP))
        for raw_name in FORBIDDEN_NAMES if n % 10 == 0 else ():
            scene.device.send(packet(raw_name))
        scene.pause(0.2)


def send_jumps(scene: MonitorScene) -> None:
    """Sample numbers that jump to the end of what there is, and back; ends in odd places."""
    for first in (0, 5, 2**31, 2**32, 2**40, 2**52, 2**53 - 5, 0, 10, 2**53 - 10, 2**33):
        scene.device.send(packet("jump", first))
        scene.pause(0.2)
    for n in range(200):
        scene.device.send(packet("forward", 10_000_000 * n))
        scene.device.send(packet("backward", 10_000_000 * (200 - n)))
    for fs in (1, 10_000):
        for first in (0, 2**53 - 5):
            scene.device.send(packet(f"jump {fs}", first, fs=fs))
    for bed, first in (("jump", 2**53), ("forward", 0), ("new end", 2**53), ("backward", 2**63), ("ended", 10)):
        scene.device.send(end_message(bed, first))
    scene.device.send(end_message("forward", 5, payload=b"\0\0"))
    for n in range(20):
        scene.device.send(packet("ended", 5 * n))


def turn_time_back(scene: MonitorScene) -> None:
    """Packets again, backwards, with old times, and the good bed's own packets again."""
    old = [packet("back", STEP * n, STEP) for n in range(20)]
    for frames in [*old, *reversed(old), *old * 20]:
        scene.device.send(frames)
    for n in range(100):
        scene.device.send(packet("old times", STEP * n, STEP, sent=max(0.0, 1.7e9 - 1000 * n), sequence=1000 - n))
        scene.device.send(packet("backwards", 10_000 - STEP * n, STEP))
    latest = scene.device.good_stop
    for first in range(max(0, latest - 2000), latest - 5, 5):
        scene.device.send(packet(GOOD, first, run=GOOD_RUN))


def overlap_packets(scene: MonitorScene) -> None:
    """Packets that overlap, with other content."""
    chance = random.Random(0)
    for n in range(300):
        scene.device.send(packet("overlap", chance.randrange(3000), chance.randrange(1, 200)))
        scene.device.send(packet("each twice", 10 * n, 60))


def send_as_two_devices(scene: MonitorScene) -> None:
    """Two devices send as one bed, for as long as it lasts."""
    for n in scene.until_over():
        scene.device.send(packet("twin", STEP * n, STEP, run="A"))
        scene.device.send(packet("twin", STEP * n + 7, STEP, run="B"))
        scene.pause(0.1)


def take_good_name(scene: MonitorScene) -> None:
    """A second device takes the name of the good bed for a second, then leaves; the good one goes on."""
    for n in range(5):
        scene.device.send(packet(GOOD, STEP * n, STEP, run="impostor"))
        scene.pause(0.2)
    scene.pause(scene.seconds - 1)


def begin_many_runs(scene: MonitorScene) -> None:
    """A new run with every packet; a rate, a lead, a gain that changes with every packet of one run."""
    for n in scene.until_over():
        scene.device.send(packet("runs", run=f"run {n}"))
        scene.device.send(packet("rates", STEP * n, STEP, fs=1 + n % 9000))
        scene.device.send(packet("leads", STEP * n, STEP, leads=[{**LEAD, "name": f"L{n}"}]))
        scene.device.send(packet("gains", STEP * n, STEP, leads=[{**LEAD, "gain": 1000 + n}]))
        scene.pause(0.002)


def send_many_names(scene: MonitorScene) -> None:
    """Ten thousand names, each of them twice."""
    for first in (0, 5):
        for n in range(10_000):
            scene.device.send(packet(f"name {n}", first))
        scene.pause(1.0)


def flood_valid_packets(scene: MonitorScene) -> None:
    """One other bed, far faster than real time."""
    scene.send_for_ever(lambda n: packet("flood", 125 * n, 125))


def flood_small_packets(scene: MonitorScene) -> None:
    """Malformed headers of 16 KB."""
    frames = [b"flood", b"{" + b"x" * 16_000, b""]
    scene.send_for_ever(lambda _: frames)


def flood_large_packets(scene: MonitorScene) -> None:
    """Malformed packets of 1 MiB."""
    frames = [b"flood", b"{}", bytes(2**20)]
    scene.send_for_ever(lambda _: frames)


def flood_nested_json(scene: MonitorScene) -> None:
    """JSON that is deep, and no header."""
    deep = b'{"kind":"samples","v":1,"leads":' + b"[" * 900 + b"1" + b"]" * 900 + b"}"
    scene.send_for_ever(lambda n: [b"flood", (NESTED, deep)[n % 2], b""])


def send_comb(scene: MonitorScene) -> None:
    """One packet of 65,536 samples with every other one missing: 32,768 gaps."""
    scene.device.send(packet("comb", 0, MOST_SAMPLES, comb_counts()))
    scene.pause(scene.seconds)


def send_comb_and_flood(scene: MonitorScene) -> None:
    """The same, and frames of 1 MiB while the monitor is busy with it."""
    scene.device.send(packet("comb", 0, MOST_SAMPLES, comb_counts()))
    scene.pause(1.0)
    flood_large_packets(scene)


def send_greedy_ward(scene: MonitorScene, beds: int) -> None:
    """Beds that each bring minutes of signal at once, again and again."""
    for n in scene.until_over():
        for frames in _minutes_at_once(n, beds):
            scene.device.send(frames)
        scene.pause(2.0)


def _minutes_at_once(n: int, beds: int) -> Iterator[Frames]:
    """Yield five minutes of each bed in packets of half a minute."""
    for part in range(10):
        for bed in range(beds):
            first = 3750 * (10 * n + part)
            yield packet(f"greedy {bed}", first, 3750)
