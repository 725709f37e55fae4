"""agent.outputs.lsl_markers: a real inlet hears the markers, stamped when the R peaks were."""

import importlib.util
import time
from dataclasses import replace
from typing import Any

import pytest
from support.indexed import beat, chunk

from agent.core.messages import Alarm, Result
from agent.core.run_clock import RunClock
from agent.outputs.lsl_markers import CHANNELS, LslMarkerStream
from model.errors import ConfigError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pylsl") is None, reason="pylsl is not installed (extra lsl)")


def test_an_inlet_hears_markers() -> None:
    """Class, bed, sample and confidence of a beat, and alarms, each at the time of its sample by LSL's clock."""
    import pylsl

    clock = RunClock()
    stream = LslMarkerStream("ecg-test", clock)
    inlet: Any = None
    try:
        (found,) = pylsl.resolve_byprop("name", "ecg-test", timeout=20)
        assert (found.type(), found.channel_count(), found.nominal_srate()) == ("Markers", len(CHANNELS), 0)
        inlet = pylsl.StreamInlet(found)
        inlet.open_stream(timeout=20)
        time.sleep(0.5)
        now_s, lsl_s = time.time(), pylsl.local_clock()
        times = {"onset": 50, "announced": 500, "announced_s": now_s}
        alarm = Alarm("1", "run", "asystole", "high", "no QRS for 4.0 s", **times)  # type: ignore[arg-type]
        results: list[Result] = [beat(375), alarm, replace(alarm, acknowledged_s=now_s), replace(alarm, ended=480)]
        clock.follow([chunk(0, 500, sent_s=now_s)])
        stream.push([], results, now_s)
        markers = [inlet.pull_sample(timeout=10) for _ in range(3)]
        assert [sample for sample, _ in markers] == [
            ["N", "1", "375", f"{beat(375).confidence:.4f}", ""],
            ["alarm: asystole", "1", "50", "", "no QRS for 4.0 s"],
            ["over: asystole", "1", "480", "", "no QRS for 4.0 s"],
        ]
        for (_, at_s), age_s in zip(markers, (1.0, 3.6, 0.16), strict=True):
            assert at_s == pytest.approx(lsl_s - age_s, abs=0.02)
        assert inlet.pull_sample(timeout=0.0) == (None, None)
    finally:
        if inlet is not None:
            inlet.close_stream()
        stream.close()
    stream.push([], [beat(1)], time.time())  # after the end nothing happens


def test_names() -> None:
    with pytest.raises(ConfigError, match="at most 64 characters"):
        LslMarkerStream("x" * 65, RunClock())
