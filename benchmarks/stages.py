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

import agent.link.joined
import agent.link.link
import agent.pipeline
from agent.alarms.watch import Watch
from agent.classify import Classifier
from agent.context import Contexts
from agent.detect import Detector
from agent.door import Door
from agent.history import History
from agent.link.link import Link
from agent.monitor import Session
from agent.outputs import JsonLines
from agent.pipeline import Ward
from agent.quality import Quality
from agent.rhythm import Rhythms
from agent.segment import Segmenter
from agent.waveform import Waveforms
from model.verdict import Verdicts

STAGES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("socket", agent.link.link, ("next_frames",)),
    ("decode", agent.link.link, ("parse",)),
    ("decode", agent.link.joined, ("join",)),
    ("link", Link, ("receive",)),
    ("wait", Link, ("wait",)),
    ("door", Door, ("take",)),
    ("door", agent.pipeline, ("millivolts",)),
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
