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

import agent.link.chunk_assembler
import agent.link.receiver
import agent.pipeline.pipeline
from agent.alarms.alarm_feed import Watch
from agent.analysis.beat_context import Contexts
from agent.analysis.beat_cutter import Segmenter
from agent.analysis.classifier import Classifier
from agent.analysis.lead_input import Door
from agent.analysis.lead_state import Quality
from agent.analysis.qrs_detector import Detector
from agent.analysis.rate import Rhythms
from agent.analysis.rhythm_windows import Waveforms
from agent.analysis.sample_ring import History
from agent.link.receiver import Link
from agent.monitor.session import Session
from agent.outputs.outputs import JsonLines
from agent.pipeline.pipeline import Ward
from model.beats.cluster_smoothing import Verdicts

STAGES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("socket", agent.link.receiver, ("next_frames",)),
    ("decode", agent.link.receiver, ("parse",)),
    ("decode", agent.link.chunk_assembler, ("join",)),
    ("link", Link, ("receive",)),
    ("wait", Link, ("wait",)),
    ("door", Door, ("take",)),
    ("door", agent.pipeline.pipeline, ("millivolts",)),
    ("history", History, ("push",)),
    ("quality", Quality, ("push",)),
    ("detect", Detector, ("push", "flush")),
    ("segment", Segmenter, ("push", "ready")),
    ("context", Contexts, ("push", "ready")),
    ("net", Classifier, ("__call__",)),
    ("waveform", Waveforms, ("push", "flush")),
    ("verdict", Verdicts, ("settle",)),
    ("rhythm", Rhythms, ("push", "heart_rate")),
    ("alarms", Watch, ("told", "peaks", "look", "gap", "silent")),
    ("ward", Ward, ("push",)),
    ("output", JsonLines, ("show",)),
    ("loop", Session, ("run",)),
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
