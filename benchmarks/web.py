"""The ward in a browser, its cost and its delay: `python -m benchmarks.web [--beds 64] [--seconds 20]`.

A simulator sends a ward in real time, a monitor with `--web` follows it. In turns nobody and two viewers watch (A B A
B); then ten do, and then one falls asleep. Viewers are WebSocket clients without a picture; Chromium watches as one of
the two where it is installed. Measured: CPU of the whole monitor, the way of a sample from its sending by the device to
the viewer (the packets are heard by a subscriber of our own), the added latency of beats in the JSON lines, messages,
bytes and pictures a second.
"""

import argparse
import contextlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from agent.cli.device_process import find_free_endpoint
from benchmarks.figures import write_figures
from benchmarks.processes import Tap, core_percent, sample, simulator, start

WARM_S = 25.0
"""Seconds before the measurement: the net is loaded, what was sent meanwhile is caught up."""
SETTLE_S = 2.0
"""Seconds after viewers came or left that do not count."""
ASLEEP_S = 10.0
HEADER, BLOCK = struct.Struct("<BBHIdd"), struct.Struct("<HBBIHHHH")
RESET = 1
CHROMIUM_FLAGS = ("--disable-gpu", "--no-sandbox")
"""Without a graphics card Chromium draws in software, which is slow unless it is told so."""
NOTE_MESSAGES = """
(() => {
  const Own = WebSocket;
  window.noted = { drawn: [], frames: 0, messages: 0 };
  const count = () => { window.noted.frames++; requestAnimationFrame(count); };
  requestAnimationFrame(count);
  window.WebSocket = class extends Own {
    constructor(...of) {
      super(...of);
      this.addEventListener("message", (event) => {
        if (typeof event.data === "string") return;
        window.noted.messages++;
        const madeMs = 1000 * new DataView(event.data).getFloat64(8, true);
        requestAnimationFrame(() => window.noted.drawn.push(performance.timeOrigin + performance.now() - madeMs));
      });
    }
  };
})();
"""


class Viewer:
    """A viewer without a picture, in a thread of its own."""

    def __init__(self, address: str) -> None:
        self.blocks: list[tuple[float, str, int, int]] = []
        """Of each block that continues a bed: when it came, the bed, its first sample, the number of samples."""
        self.came: list[tuple[float, int]] = []
        """When each message came, and its bytes."""
        self.resets = self._tick = 0
        self.asleep = threading.Event()
        self._names: dict[int, str] = {}
        self._stop = threading.Event()
        self._socket = connect(address.replace("http", "ws") + "ws", max_size=None, compression=None, legacy=True)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def answer(self) -> None:
        """Say that the latest message has come."""
        self._socket.send(json.dumps({"got": self._tick}))

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._socket.recv(timeout=0.5)
            except TimeoutError:
                continue
            except ConnectionClosed:
                return
            now_s = time.time()
            self.came.append((now_s, len(message)))
            if isinstance(message, str):
                for row in json.loads(message).get("index", ()):
                    self._names[row[0]] = row[1]
            else:
                self._take(message, now_s)

    def _take(self, message: bytes, now_s: float) -> None:
        _, _, count, tick, _, _ = HEADER.unpack_from(message)
        place = HEADER.size
        for _ in range(count):
            number, _, flags, first, samples, beats, _, _ = BLOCK.unpack_from(message, place)
            place += BLOCK.size + 2 * samples + 8 * beats
            if flags & RESET:
                self.resets += 1
            elif samples and number in self._names:
                self.blocks.append((now_s, self._names[number], first, samples))
        self._tick = tick
        if not self.asleep.is_set():
            self.answer()


@contextlib.contextmanager
def monitor(
    endpoint: str, seconds: float, *more: str, out: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[tuple[psutil.Process, str]]:
    """Run a monitor that shows itself to browsers, and writes JSON lines; yield its process and its address."""
    options = ("--endpoint", endpoint, "--json", "--seconds", str(seconds), "--web", ":0", *more)
    process = start(*options, out=out)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if (text := line.decode()).startswith("ecg-agent: the ward is at "):
                yield psutil.Process(process.pid), text.rpartition(" ")[2].strip()
                return
        raise SystemExit("the monitor did not start")
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


@contextlib.contextmanager
def chromium(address: str, width: int = 1600, height: int = 900) -> Iterator[Any]:
    """Watch in Chromium in a window of this size; yield the page, None where it is not installed."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.add_init_script(NOTE_MESSAGES)
            page.goto(address)
            yield page
        finally:
            browser.close()


def spend(process: psutil.Process, seconds: float) -> float:
    """Return the share of a core, in percent, that a process takes in the next seconds."""
    time.sleep(SETTLE_S)
    before = sample(process)
    time.sleep(seconds)
    return core_percent([before, sample(process)])


def watch_with_two(process: psutil.Process, address: str, seconds: float) -> dict[str, Any]:
    """Two viewers, one of them Chromium if there is one; return the cost, and what both saw."""
    with chromium(address) as page:
        viewers = [Viewer(address) for _ in range(2 if page is None else 1)]
        time.sleep(SETTLE_S)
        if page is not None:
            page.evaluate("Object.assign(window.noted, { drawn: [], frames: 0, messages: 0 })")
        began_s = time.time()
        percent = spend(process, seconds)
        watched_s = time.time() - began_s
        noted = None if page is None else page.evaluate("window.noted")
        for viewer in viewers:
            viewer.close()
    seen = [block for block in viewers[0].blocks if block[0] >= began_s]
    came = [size for at_s, size in viewers[0].came if at_s >= began_s]
    figures: dict[str, Any] = {"percent": percent, "blocks": seen, "resets": viewers[0].resets}
    figures |= {"messages_per_s": len(came) / watched_s, "kb_per_s": sum(came) / 1000 / watched_s}
    if noted is not None:
        figures["chromium"] = {
            "frames_per_s": noted["frames"] / watched_s,
            "messages_per_s": noted["messages"] / watched_s,
            **quantiles_ms(noted["drawn"], "made_to_drawn"),
        }
    return figures


def watch_with_many(process: psutil.Process, address: str, seconds: float, count: int) -> float:
    """Return the cost of many viewers without pictures."""
    viewers = [Viewer(address) for _ in range(count)]
    percent = spend(process, seconds)
    for viewer in viewers:
        viewer.close()
    return percent


def watch_asleep(process: psutil.Process, address: str) -> dict[str, float]:
    """One viewer answers nothing for a while: return what the server kept for it, and what it gets when it wakes."""
    viewer = Viewer(address)
    time.sleep(SETTLE_S)
    before = process.memory_info().rss
    viewer.asleep.set()
    slept_s = time.time()
    time.sleep(ASLEEP_S)
    grown_mb = (process.memory_info().rss - before) / 1e6
    sent = len([at_s for at_s, _ in viewer.came if at_s > slept_s + 1])
    viewer.asleep.clear()
    woke_s = time.time()
    viewer.answer()
    time.sleep(SETTLE_S)
    caught_up_s = next((at_s for at_s, _ in viewer.came if at_s > woke_s), woke_s) - woke_s
    viewer.close()
    return {"seconds": ASLEEP_S, "messages_meanwhile": sent, "grown_mb": grown_mb, "caught_up_ms": 1000 * caught_up_s}


def quantiles_ms(values: list[float], name: str) -> dict[str, float]:
    """Return median and 99th percentile under a name."""
    p50, p99 = np.percentile(values, (50, 99)).tolist() if values else (0.0, 0.0)
    return {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}


def delays_ms(blocks: list[tuple[float, str, int, int]], tap: Tap) -> list[float]:
    """Return the milliseconds from the sending of samples to their coming: of the first and the last of each block."""
    delays = []
    for came_s, bed, first, count in blocks:
        stamps = tap.sent_s.get(bed, {})
        for index in (first, first + count - 1):
            if index in stamps:
                delays.append(1000 * (came_s - stamps[index]))
    return delays


def added_ms(lines: Path, span_s: tuple[float, float]) -> list[float]:
    """Return the added latency of the beats that the monitor wrote in a span of time."""
    found = []
    for line in lines.read_text(encoding="utf-8").splitlines():
        said = json.loads(line) if line.startswith('{"type":"beat"') else {}
        if said.get("time") and span_s[0] <= datetime.fromisoformat(said["time"]).timestamp() <= span_s[1]:
            found.append(said["added_ms"])
    return found


def measure(beds: int, seconds: float, packet_ms: float) -> dict[str, Any]:
    """Run all turns and return the figures."""
    endpoint = find_free_endpoint()
    arguments = ("ward", "--beds", str(beds), "--loop", "--packet-ms", str(packet_ms))
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.jsonl"
        with (
            lines.open("wb") as out,
            simulator(*arguments, at=endpoint),
            Tap(endpoint) as tap,
            monitor(endpoint, 10 * seconds + 300, out=out) as (process, address),
        ):
            time.sleep(WARM_S)
            turns, spans = [], []
            for turn in range(2):
                began_s = time.time()
                alone = spend(process, seconds)
                between_s = time.time()
                turns.append((alone, watch_with_two(process, address, seconds)))
                spans += [(began_s, between_s), (between_s, time.time())]
                print(
                    f"turn {turn + 1}: {alone:.1f} % of a core alone, {turns[-1][1]['percent']:.1f} % with two viewers"
                )
            many = watch_with_many(process, address, seconds, 10)
            asleep = watch_asleep(process, address)
        added = [[delay for span in spans[of::2] for delay in added_ms(lines, span)] for of in (0, 1)]
    delays = [delay for _, seen in turns for delay in delays_ms(seen["blocks"], tap)]
    alone = float(np.mean([alone for alone, _ in turns]))
    with_two = float(np.mean([seen["percent"] for _, seen in turns]))
    last = turns[-1][1]
    return {
        "beds": beds,
        "packet_ms": packet_ms,
        "seconds": seconds,
        "alone_percent": alone,
        "two_viewers_percent": with_two,
        "two_more_percent": with_two - alone,
        "ten_viewers_percent": many,
        "turns": [[before, seen["percent"]] for before, seen in turns],
        **quantiles_ms(added[0], "beat_alone"),
        **quantiles_ms(added[1], "beat_two_viewers"),
        "messages_per_s": last["messages_per_s"],
        "kb_per_s": last["kb_per_s"],
        "resets": last["resets"],
        **quantiles_ms(delays, "sent_to_viewer"),
        "chromium": last.get("chromium"),
        "asleep": asleep,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each turn")
    parser.add_argument("--packet-ms", type=float, default=40.0, help="signal in a packet")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures = measure(options.beds, options.seconds, options.packet_ms)
    json.dump(figures, sys.stdout, indent=1)
    print()
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
