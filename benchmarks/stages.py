"""A monitor that also measures its stages: `python -m benchmarks.stages monitor ...` (see `benchmarks.monitor`).

Each stage counts the CPU time of the main thread, without that of the stages it calls; the clock costs `decode` and
`link` half a microsecond a packet. At the end a JSON object with seconds a stage goes to the file that STAGES_FILE
names.
"""

import json
import os
import runpy
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agent.link.bundle_reader
import agent.link.chunk_assembler
import agent.link.link_receiver
import agent.link.packet_intake
import agent.pipeline.pipeline
from agent.alarms.alarm_feed import AlarmFeed
from agent.analysis.beat_classifier import BeatClassifier
from agent.analysis.beat_context import BeatContextBuilder
from agent.analysis.beat_cutter import BeatCutter
from agent.analysis.compiled_qrs import CompiledQrsDetector
from agent.analysis.lead_state import LeadOffDetector
from agent.analysis.qrs_detector import QrsDetector
from agent.analysis.rate_tracker import RateTracker
from agent.analysis.rhythm_windows import RhythmWindows
from agent.analysis.sample_ring import SampleRing
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.text_lines import JsonLineSink
from agent.pipeline.input_queue import InputQueue
from agent.pipeline.pipeline import Pipeline
from model.beats.cluster_smoothing import ClusterSmoothing
from model.beats.compiled_smoothing import CompiledSmoothing

STAGES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("socket", agent.link.link_receiver, ("receive_frames",)),
    ("decode", agent.link.packet_intake, ("parse_frames",)),
    ("decode", agent.link.bundle_reader, ("parse_bundle",)),
    ("decode", agent.link.chunk_assembler, ("join_packets",)),
    ("link", LinkReceiver, ("receive",)),
    ("wait", LinkReceiver, ("wait",)),
    ("input", InputQueue, ("put", "put_together")),
    ("ring", SampleRing, ("push",)),
    ("lead state", LeadOffDetector, ("push",)),
    ("qrs", QrsDetector, ("push", "flush")),
    ("qrs", CompiledQrsDetector, ("push", "flush")),
    ("beats", BeatCutter, ("push", "flush")),
    ("beats", BeatContextBuilder, ("push", "flush")),
    ("net", BeatClassifier, ("__call__",)),
    ("windows", RhythmWindows, ("push", "flush")),
    ("smoothing", ClusterSmoothing, ("push", "push_all")),
    ("smoothing", CompiledSmoothing, ("push_all",)),
    ("rate", RateTracker, ("push",)),
    ("alarms", AlarmFeed, ("push", "push_beat", "push_peak", "interrupt")),
    ("pipeline", Pipeline, ("push",)),
    ("output", JsonLineSink, ("push",)),
    ("loop", MonitorSession, ("run",)),
)
spent: Counter[str] = Counter()
_inner: list[float] = []


def timed(stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, its own time added to its stage."""

    def measured(*args: Any, **options: Any) -> Any:
        _inner.append(0.0)
        begin = time.thread_time()
        try:
            return call(*args, **options)
        finally:
            took = time.thread_time() - begin
            spent[stage] += took - _inner.pop()  # type: ignore[assignment]  # seconds are no int
            if _inner:
                _inner[-1] += took

    return measured


def main() -> None:
    """Run the command line with clocks in its stages."""
    for stage, owner, names in STAGES:
        for name in names:
            setattr(owner, name, timed(stage, getattr(owner, name)))
    try:
        runpy.run_module("agent", run_name="__main__")
    finally:
        Path(os.environ["STAGES_FILE"]).write_text(json.dumps(spent), encoding="utf-8")


if __name__ == "__main__":
    main()
