"""What a frame of the dashboard costs, against the same content in rich's own Layout, Panel and Table.

    python -m benchmarks.dashboard [--json results.json]

Each frame has 100 ms (12 or 13 samples) of record 208 more than the one before. Our frame is snapshot to bytes written
to a file; the peer's is building the same content and printing it to a string, with the same raster of the wave.

Then the whole of a frame as the monitor draws it, with a real ward: glance, order, the beds of the page in full,
drawing, writing. `longest` is the longest that a frame held up the loop.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import TextIO, cast

import numpy as np
from rich.console import Console, Group
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from scipy.signal import resample_poly

from agent.analysis.beat_classifier import load_beat_classifier as load_net
from agent.core.config import load_config as load_config
from agent.core.events import EventText
from agent.core.messages import Beat, Chunk, FloatArray, Lead, Result
from agent.core.views import BedSummary, BedView, LatencySummary, LinkView, LoggedEvent, RhythmSummary, WardSnapshot
from agent.core.wording import event_text
from agent.dashboard import wave_raster
from agent.dashboard.frame import fit_view, fit_waves
from agent.dashboard.layout import choose_card_grid as grid_of
from agent.dashboard.lines import format_sample_clock
from agent.dashboard.painter import FramePainter
from agent.dashboard.styles import CLASS_COLOURS
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import BedAction, DashboardView, needed_beds
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.dashboard_sink import DashboardSink
from benchmarks.figures import write_figures
from model.records import wfdb_records
from model.records.lead_choice import default_lead
from model.records.resample import FS

RECORD = "208"
HELD_S = 30
"""Seconds of wave in a snapshot."""
SIZES = ((80, 24), (120, 36), (200, 60))
BEDS = (1, 64, 1000)
WARDS = (1, 64, 1000)
"""Beds of a snapshot that is drawn, and of a real ward."""
FRAMES = 100
MOST_ON_PAGE = 140
"""Beds of which more are never on a page of the largest size."""


def load(name: str = RECORD, seconds: int = 90) -> tuple[FloatArray, tuple[Beat, ...]]:
    """The first seconds of a record at 125 Hz, in mV, and its annotated beats."""
    record = wfdb_records.open_record(name)
    lead = default_lead(tuple(signal.name for signal in record.signals))
    signal = wfdb_records.read_record_samples(record, 0, round(seconds * record.fs))[:, lead]
    samples, labels = wfdb_records.read_reference(record).beats()
    beats: list[Beat] = []
    before = 0
    for sample, label in zip((samples * FS / record.fs).round().astype(int).tolist(), labels, strict=True):
        sure = 0.82 + 0.17 * ((sample * 37) % 100) / 100
        chances = tuple(sure if name == label else (1 - sure) / 4 for name in wfdb_records.CLASSES)
        rr = (sample - before) / FS if beats else None
        beats.append(Beat(name, sample, sample + 47, label, chances, rr, arrived_s=0.0))
        before = sample
    return resample_poly(signal, 25, 72).astype(np.float32), tuple(beats)


def snapshot(data: tuple[FloatArray, tuple[Beat, ...]], head: int, beds: int) -> WardSnapshot:
    """What the monitor would show at sample `head`, with `beds` beds that lie a little apart in time."""
    views = tuple(_bed(data, head - 31 * (i % 64), f"bed-{i + 1:02}") for i in range(min(beds, MOST_ON_PAGE)))
    index = tuple(BedSummary(f"bed-{i + 1:02}") for i in range(beds))
    events = (
        EventText("link", "", "", 0, "connected to tcp://127.0.0.1:5556"),
        EventText("start", "bed-01", "", 0, f"record {RECORD}, lead MLII, 125 Hz"),
        EventText("gap", "bed-01", "", head - 900, "25 samples lost in transport"),
        EventText("signal", "bed-01", "", head - 500, "saturated for 0.4 s"),
    )
    link = LinkView("tcp://127.0.0.1:5556", "connected", head * beds // 12, 0)
    now_s = 1_800_000_000 + head / FS
    logged = tuple(LoggedEvent(event, now_s) for event in events)
    return WardSnapshot(views, logged, link, "cpu", "mitbih-cnn-1", now_s, 1_800_000_000.0, index=index)


def _bed(data: tuple[FloatArray, tuple[Beat, ...]], head: int, name: str) -> BedView:
    held, beats = data[0][max(0, head - HELD_S * FS) : head], [beat for beat in data[1] if beat.class_known < head]
    counts = tuple(sum(beat.label == label for beat in beats) for label in wfdb_records.CLASSES)
    intervals = [beat.rr_s for beat in beats[-8:] if beat.rr_s]
    rr = float(np.mean(intervals)) if intervals else None
    rhythm = RhythmSummary(60 / rr if rr else None, 1000 * rr if rr else None, 31.4, 42.0, counts)
    return BedView(name, "MLII", "ok", held, head, tuple(beats[-60:]), rhythm, 1, 25, LatencySummary(408.0, 1.2, 3.4))


def ours(target: TextIO, size: tuple[int, int]) -> Callable[[WardSnapshot], None]:
    """Drawing of one frame by the dashboard."""
    console = Console(file=target, force_terminal=True, color_system="256", width=size[0], height=size[1])
    painter, view = FramePainter(console), DashboardView()

    def draw(shown: WardSnapshot) -> None:
        nonlocal view
        view = fit_view(shown, view, *size)
        wanted = set(needed_beds(view, shown))
        shown = replace(shown, beds=tuple(bed for bed in shown.beds if bed.bed in wanted))
        view = fit_waves(shown, view)
        target.write(painter.paint(shown, view, *size))
        target.flush()

    return draw


def peer(target: TextIO, size: tuple[int, int]) -> Callable[[WardSnapshot], None]:
    """Drawing of one frame with Layout, Panel and Table."""
    console = Console(file=target, force_terminal=True, color_system="256", width=size[0], height=size[1])

    def draw(shown: WardSnapshot) -> None:
        content = _peer_overview(shown, size) if len(shown.index) > 1 else _peer_bed(shown, size)
        with console.capture() as captured:
            console.print(content, end="")
        target.write("\x1b[H" + captured.get())
        target.flush()

    return draw


def _peer_wave(bed: BedView, columns: int, rows: int, seconds: int) -> Text:
    placed = wave_raster.place_sweep(bed.wave, bed.head, seconds * FS, 20)
    low, high = wave_raster.column_spans(placed, 2 * columns)
    points = wave_raster.to_code_points(
        wave_raster.raster_trace(low, high, wave_raster.fit_window(bed.wave), rows, False), False
    )
    return Text("\n".join("".join(map(chr, row)) for row in points.tolist()), style="green")


def _peer_bed(shown: WardSnapshot, size: tuple[int, int]) -> Layout:
    bed, low = shown.beds[0], 12
    classes, last, events = Table(box=None), Table(box=None), Table(box=None)
    for name, count in zip(wfdb_records.CLASSES, bed.rhythm.counts, strict=True):
        share = count / max(1, sum(bed.rhythm.counts))
        classes.add_row(Text(name, CLASS_COLOURS[name]), "━" * round(10 * share), str(count), f"{100 * share:.1f}%")
    for beat in bed.beats[-8:][::-1]:
        sure = "━" * round(6 * beat.confidence)
        last.add_row(
            format_sample_clock(beat.sample),
            Text(beat.label, CLASS_COLOURS[beat.label]),
            sure,
            f"{1000 * (beat.rr_s or 0):.0f}",
        )
    for event in (logged.event for logged in shown.events):
        events.add_row(format_sample_clock(event.sample), event.kind, event_text(event))
    rhythm = bed.rhythm
    vitals = Group(f"{rhythm.heart_rate or 0:.0f}", f"RR {rhythm.rr_ms or 0:.0f}", f"RMSSD {rhythm.rmssd_ms}")
    layout = Layout()
    layout.split_column(Layout(name="top"), Layout(name="low", size=low), Layout("q quit  space freeze", size=1))
    layout["top"].update(Panel(_peer_wave(bed, size[0] - 4, size[1] - low - 3, 6), title=f"{bed.bed} {bed.lead}"))
    layout["low"].split_row(*(Panel(part) for part in (vitals, classes, last, events)))
    return layout


def _peer_overview(shown: WardSnapshot, size: tuple[int, int]) -> Layout:
    per_page = grid_of(len(shown.index), size[0], size[1] - 3).per_page
    columns = max(1, size[0] // 78)
    tables = [Table(box=None, show_header=False) for _ in range(columns)]
    for i, bed in enumerate(shown.beds[:per_page]):
        letters = Text.assemble(*((beat.label, CLASS_COLOURS[beat.label]) for beat in bed.beats[-20:]))
        counts = " ".join(f"{name}{count}" for name, count in zip(wfdb_records.CLASSES, bed.rhythm.counts, strict=True))
        rate = f"{bed.rhythm.heart_rate or 0:.0f}"
        tables[i % columns].add_row(bed.bed, rate, _peer_wave(bed, 22, 2, 4), Group(letters, counts))
    layout = Layout()
    layout.split_column(Layout(name="top"), Layout("q quit  enter open", size=1))
    layout["top"].split_row(*(Layout(table) for table in tables))
    return layout


def measure(draw: Callable[[WardSnapshot], None], frames: list[WardSnapshot]) -> dict[str, float]:
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


class Paper:
    """A terminal of a fixed size that is a file, with the methods of a Screen that the dashboard calls."""

    stdin_fd = None

    def __init__(self, target: TextIO, size: tuple[int, int]) -> None:
        self.view, self._target, self._size = DashboardView(), target, size
        console = Console(file=target, force_terminal=True, color_system="256", width=size[0], height=size[1])
        self._painter = FramePainter(console)

    def keys(self) -> str:
        return ""

    def press(self, _keys: str, _snapshot: WardSnapshot) -> bool:
        return True

    def take_actions(self) -> tuple[BedAction, ...]:
        return ()

    def plan_frame(self, snapshot: WardSnapshot) -> Sequence[str]:
        self.view = fit_view(snapshot, self.view, *self._size)
        return needed_beds(self.view, snapshot)

    def draw(self, snapshot: WardSnapshot) -> None:
        self.view = fit_waves(snapshot, self.view)
        self._target.write(self._painter.paint(snapshot, self.view, *self._size))
        self._target.flush()


class Silence:
    """A link over which nothing comes."""

    endpoint, packets, rejected = "tcp://127.0.0.1:5555", 0, 0

    def view(self, _now_s: float) -> LinkView:
        return LinkView(self.endpoint, "connected", 0, 0)

    def sent(self, _bed: str) -> int:
        return 0


def ward(beds: int, steps: int, wait_s: float = 40.0) -> Iterator[tuple[MonitorSession, list[Result], float]]:
    """A session whose `beds` beds go on by 104 ms a step, each a few seconds apart in record 208, from `wait_s` on."""
    config = load_config(None, {})
    session = MonitorSession(cast(LinkReceiver, Silence()), load_net(config.monitor.weights, "cpu", 1), config)
    gc.collect()
    gc.freeze()  # as Session.run does
    record = wfdb_records.open_record(RECORD)
    counts = np.rint(
        1000 * resample_poly(wfdb_records.read_record_samples(record, 0, 1800 * 360)[:, 0], 25, 72)
    ).astype(np.int32)[:, None]
    lead, start_s, at = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115),), session.clock(), 0
    for step in range(-round(wait_s), steps):
        until = at + (13 if step >= 0 else FS)
        now_s = start_s + until / FS
        places = [(f"bed-{i:04}", at + FS * (i * 7 % 1700)) for i in range(beds)]
        chunks = [
            Chunk(name, "run", at, FS, lead, counts[first : first + until - at], now_s, now_s) for name, first in places
        ]
        at, found = until, session.pipeline.push(chunks)
        if step >= 0:
            yield session, found, now_s


def frames_of(beds: int, size: tuple[int, int], frames: int) -> dict[str, float]:
    """Cost of a whole frame of the monitor, as `measure` tells it, and the longest by the clock on the wall."""
    took, longest = [], 0.0
    with tempfile.TemporaryFile("w", encoding="utf-8") as target:
        dashboard = None
        for session, found, now_s in ward(beds, frames + 10):
            dashboard = dashboard or DashboardSink(cast(TerminalScreen, Paper(target, size)), session.config, session)
            begin_s, begin = time.perf_counter(), time.process_time_ns()
            dashboard.push([], found, now_s)
            dashboard.refresh(now_s)
            took.append((time.process_time_ns() - begin) / 1e6)
            longest = max(longest, 1000 * (time.perf_counter() - begin_s)) if len(took) > 10 else 0.0
        kilobytes = target.tell() / 1000 / len(took)
    took = took[10:]
    mean = sum(took) / len(took)
    found_ms = {"median_ms": median(took), "p99_ms": quantiles(took, n=100)[98], "core_percent_at_10_hz": mean}
    return {"kb": kilobytes, **found_ms, "longest_ms": longest}


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
    print(f"\n{'size':>8} {'beds':>5} {'median ms':>10} {'p99 ms':>8} {'longest':>8} {'core at 10/s':>13}")
    for size in SIZES:
        for beds in WARDS:
            whole = frames_of(beds, size, options.frames)
            rows.append({"width": size[0], "height": size[1], "beds": beds, "by": "whole frame", **whole})
            print(
                f"{size[0]}x{size[1]:<4} {beds:>5} {whole['median_ms']:>10.2f} {whole['p99_ms']:>8.2f} "
                f"{whole['longest_ms']:>8.2f} {whole['core_percent_at_10_hz']:>12.1f}%"
            )
    peer_of = f"Layout, Panel and Table of rich {version('rich')}"
    if options.json:
        snapshots = {name: [row["median_ms"] for row in rows if row["by"] == name] for name in ("ours", "peer")}
        ratios = [peer_ms / our_ms for our_ms, peer_ms in zip(snapshots["ours"], snapshots["peer"], strict=True)]
        results = {"peer": peer_of, "peer_to_ours": median(ratios), "frames": options.frames, "rows": rows}
        write_figures(options.json, results)


if __name__ == "__main__":
    main()
