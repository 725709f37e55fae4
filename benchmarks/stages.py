"""A monitor that also measures its stages: `python -m benchmarks.stages monitor ...` (see `benchmarks.monitor`).

Each stage counts its own wall time, without that of the stages it calls; the clock itself costs 0.2 µs a packet. At the
end one line of JSON with seconds a stage goes to the file that STAGES_FILE names.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agent.link
from agent import cli
from agent.classify import Classifier
from agent.detect import Detector
from agent.door import Door
from agent.history import History
from agent.link import Link
from agent.monitor import Session
from agent.outputs import JsonLines
from agent.pipeline import Ward
from agent.quality import Quality
from agent.rhythm import Rhythms
from agent.segment import Segmenter

STAGES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("decode", agent.link, ("decode",)),
    ("link", Link, ("receive",)),
    ("wait", Link, ("wait",)),
    ("door", Door, ("take",)),
    ("history", History, ("push",)),
    ("quality", Quality, ("push",)),
    ("detect", Detector, ("push", "flush")),
    ("segment", Segmenter, ("push", "ready", "beats")),
    ("net", Classifier, ("__call__",)),
    ("rhythm", Rhythms, ("push", "heart_rate")),
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
        begin = time.perf_counter()
        try:
            return call(*args, **options)
        finally:
            took = time.perf_counter() - begin
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
        cli.main()
    finally:
        Path(os.environ["STAGES_FILE"]).write_text(json.dumps(spent), encoding="utf-8")


if __name__ == "__main__":
    main()
