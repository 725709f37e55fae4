"""What a frame of the dashboard costs, against the same content in rich's own Layout, Panel and Table.

    python -m benchmarks.dashboard [--json results.json]

Each frame has 100 ms (12 or 13 samples) of record 208 more than the one before. Our frame is snapshot to bytes written
to a file; the peer's is building the same content and printing it to a string, with the same raster of the wave.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import TextIO

import numpy as np
from rich.console import Console, Group
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from scipy.signal import resample_poly

from agent.dashboard import wave
from agent.dashboard.frame import settle
from agent.dashboard.lines import clock
from agent.dashboard.overview import page
from agent.dashboard.painter import Painter
from agent.dashboard.styles import CLASS_COLOURS
from agent.dashboard.view import View
from agent.messages import Beat, BedView, Event, Floats, Latency, LinkView, Rhythm, Snapshot
from model import records
from model.resample import FS

RECORD = "208"
HELD_S = 30
"""Seconds of wave in a snapshot."""
SIZES = ((80, 24), (120, 40), (200, 60))
BEDS = (1, 64)
FRAMES = 100


def load(name: str = RECORD, seconds: int = 90) -> tuple[Floats, tuple[Beat, ...]]:
    """The first seconds of a record at 125 Hz, in mV, and its annotated beats."""
    record = records.open_record(name)
    lead = records.default_lead(tuple(signal.name for signal in record.signals))
    signal = records.read(record, 0, round(seconds * record.fs))[:, lead]
    samples, labels = records.annotations(record).beats()
    beats: list[Beat] = []
    before = 0
    for sample, label in zip((samples * FS / record.fs).round().astype(int).tolist(), labels, strict=True):
        sure = 0.82 + 0.17 * ((sample * 37) % 100) / 100
        chances = tuple(sure if name == label else (1 - sure) / 4 for name in records.CLASSES)
        rr = (sample - before) / FS if beats else None
        beats.append(Beat(name, sample, sample + 47, label, chances, rr, arrived_s=0.0))
        before = sample
    return resample_poly(signal, 25, 72).astype(np.float32), tuple(beats)


def snapshot(data: tuple[Floats, tuple[Beat, ...]], head: int, beds: int) -> Snapshot:
    """What the monitor would show at sample `head`, with `beds` beds that lie a little apart in time."""
    views = tuple(_bed(data, head - 31 * i, f"bed-{i + 1:02}") for i in range(beds))
    events = (
        Event("", 0, "link", "connected to tcp://127.0.0.1:5556"),
        Event("bed-01", 0, "start", f"record {RECORD}, lead MLII, 125 Hz"),
        Event("bed-01", head - 900, "gap", "25 samples lost in transport"),
        Event("bed-01", head - 500, "signal", "saturated for 0.4 s"),
    )
    link = LinkView("tcp://127.0.0.1:5556", "connected", head * beds // 12, 0)
    return Snapshot(views, events, link, "cpu", "mitbih-cnn-1", 1_800_000_000 + head / FS, 1_800_000_000.0)


def _bed(data: tuple[Floats, tuple[Beat, ...]], head: int, name: str) -> BedView:
    held, beats = data[0][max(0, head - HELD_S * FS) : head], [beat for beat in data[1] if beat.decided < head]
    counts = tuple(sum(beat.label == label for beat in beats) for label in records.CLASSES)
    intervals = [beat.rr_s for beat in beats[-8:] if beat.rr_s]
    rr = float(np.mean(intervals)) if intervals else None
    rhythm = Rhythm(60 / rr if rr else None, 1000 * rr if rr else None, 31.4, 42.0, counts)
    return BedView(name, "MLII", "ok", held, head, tuple(beats[-60:]), rhythm, 1, 25, Latency(408.0, 1.2, 3.4))


def ours(target: TextIO, size: tuple[int, int]) -> Callable[[Snapshot], None]:
    """Drawing of one frame by the dashboard."""
    console = Console(file=target, force_terminal=True, color_system="256", width=size[0], height=size[1])
    painter, view = Painter(console), View()

    def draw(shown: Snapshot) -> None:
        nonlocal view
        view = settle(shown, view, *size)
        target.write(painter.paint(shown, view, *size))
        target.flush()

    return draw


def peer(target: TextIO, size: tuple[int, int]) -> Callable[[Snapshot], None]:
    """Drawing of one frame with Layout, Panel and Table."""
    console = Console(file=target, force_terminal=True, color_system="256", width=size[0], height=size[1])

    def draw(shown: Snapshot) -> None:
        content = _peer_overview(shown, size) if len(shown.beds) > 1 else _peer_bed(shown, size)
        with console.capture() as captured:
            console.print(content, end="")
        target.write("\x1b[H" + captured.get())
        target.flush()

    return draw


def _peer_wave(bed: BedView, columns: int, rows: int, seconds: int) -> Text:
    placed = wave.sweep(bed.wave, bed.head, seconds * FS, 20)
    low, high = wave.spans(placed, 2 * columns)
    points = wave.points(wave.raster(low, high, wave.fit(bed.wave), rows, False), False)
    return Text("\n".join("".join(map(chr, row)) for row in points.tolist()), style="green")


def _peer_bed(shown: Snapshot, size: tuple[int, int]) -> Layout:
    bed, low = shown.beds[0], 12
    classes, last, events = Table(box=None), Table(box=None), Table(box=None)
    for name, count in zip(records.CLASSES, bed.rhythm.counts, strict=True):
        share = count / max(1, sum(bed.rhythm.counts))
        classes.add_row(Text(name, CLASS_COLOURS[name]), "━" * round(10 * share), str(count), f"{100 * share:.1f}%")
    for beat in bed.beats[-8:][::-1]:
        sure = "━" * round(6 * beat.confidence)
        last.add_row(
            clock(beat.sample), Text(beat.label, CLASS_COLOURS[beat.label]), sure, f"{1000 * (beat.rr_s or 0):.0f}"
        )
    for event in shown.events:
        events.add_row(clock(event.sample), event.kind, event.text)
    rhythm = bed.rhythm
    vitals = Group(f"{rhythm.heart_rate or 0:.0f}", f"RR {rhythm.rr_ms or 0:.0f}", f"RMSSD {rhythm.rmssd_ms}")
    layout = Layout()
    layout.split_column(Layout(name="top"), Layout(name="low", size=low), Layout("q quit  space freeze", size=1))
    layout["top"].update(Panel(_peer_wave(bed, size[0] - 4, size[1] - low - 3, 6), title=f"{bed.bed} {bed.lead}"))
    layout["low"].split_row(*(Panel(part) for part in (vitals, classes, last, events)))
    return layout


def _peer_overview(shown: Snapshot, size: tuple[int, int]) -> Layout:
    first, last = page(View(), shown, size[0], size[1] - 2)
    columns = max(1, size[0] // 78)
    tables = [Table(box=None, show_header=False) for _ in range(columns)]
    for i, bed in enumerate(shown.beds[first:last]):
        letters = Text.assemble(*((beat.label, CLASS_COLOURS[beat.label]) for beat in bed.beats[-20:]))
        counts = " ".join(f"{name}{count}" for name, count in zip(records.CLASSES, bed.rhythm.counts, strict=True))
        rate = f"{bed.rhythm.heart_rate or 0:.0f}"
        tables[i % columns].add_row(bed.bed, rate, _peer_wave(bed, 22, 2, 4), Group(letters, counts))
    layout = Layout()
    layout.split_column(Layout(name="top"), Layout("q quit  enter open", size=1))
    layout["top"].split_row(*(Layout(table) for table in tables))
    return layout


def measure(draw: Callable[[Snapshot], None], frames: list[Snapshot]) -> dict[str, float]:
    """Milliseconds of CPU of a frame: median, 99th percentile; share of one core at 10 frames a second, in percent."""
    for shown in frames[:10]:
        draw(shown)
    took = []
    for shown in frames:
        begin = time.process_time_ns()
        draw(shown)
        took.append((time.process_time_ns() - begin) / 1e6)
    mean = sum(took) / len(took)
    return {"median_ms": median(took), "p99_ms": quantiles(took, n=100)[98], "core_percent_at_10_hz": mean}


def main() -> None:
    """Measure all sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--frames", type=int, default=FRAMES)
    options = parser.parse_args()
    data, rows = load(), []
    print(f"{'size':>8} {'beds':>5} {'by':>6} {'median ms':>10} {'p99 ms':>8} {'core at 10/s':>13} {'kB/frame':>9}")
    for size in SIZES:
        for beds in BEDS:
            frames = [snapshot(data, 5000 + round(12.5 * i), beds) for i in range(options.frames)]
            for name, make in (("ours", ours), ("peer", peer)):
                with tempfile.TemporaryFile("w", encoding="utf-8") as target:
                    found = measure(make(target, size), frames)
                    kilobytes = target.tell() / 1000 / (options.frames + 10)
                rows.append({"width": size[0], "height": size[1], "beds": beds, "by": name, "kb": kilobytes, **found})
                print(
                    f"{size[0]}x{size[1]:<4} {beds:>5} {name:>6} {found['median_ms']:>10.2f} {found['p99_ms']:>8.2f} "
                    f"{found['core_percent_at_10_hz']:>12.1f}% {kilobytes:>9.1f}"
                )
    about = {"rich": version("rich"), "numpy": np.__version__, "python": platform.python_version()}
    about |= {"machine": platform.machine(), "system": platform.system(), "peer": "rich Layout, Panel and Table"}
    if options.json:
        options.json.write_text(json.dumps({"about": about, "frames": options.frames, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
