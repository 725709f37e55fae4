"""`ecg-agent check`: streams that are right, and what is said of those that are not."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import record_counts
from numpy.typing import NDArray
from support.agent_process import run_agent
from support.bridged import Microcontroller, RunningBridge, playing, record_numbers
from support.commands import RunHere

pytest.importorskip("serial", reason="pyserial is not installed")

from agent.bridge.open_source import open_source
from agent.bridge.sensor_source import SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import SourceOptions
from agent.bridge.stream_capture import StreamCapture, capture_endpoint, capture_source
from agent.bridge.stream_check import StreamFinding, check_stream
from agent.core.config import Config, override_config
from agent.core.messages import Lead
from model.errors import SourceError, StreamError

FS = 360.0


def captured(
    x: NDArray[np.float64], unit: str = "mV", fs: float = FS, real_fs: float | None = None, **changes: object
) -> StreamCapture:
    """A capture of one lead (n,), with an arrival each 40 ms."""
    real_fs = real_fs or fs
    count = round(real_fs / 25)
    arrivals = [(at / real_fs, at) for at in range(count, len(x), count)]
    capture = StreamCapture("sensor", fs, (Lead("ECG", unit, 1.0, 0.0, 0, 1),), x[:, None], True, arrivals)
    capture.arrived_s = [at_s for at_s, _ in arrivals]
    for name, value in changes.items():
        setattr(capture, name, value)
    return capture


def heart_mv(seconds: float = 12.0) -> NDArray[np.float64]:
    return np.asarray((record_numbers("100", seconds) - 1024) / 200, np.float64)


def wrong(capture: StreamCapture) -> dict[str, str]:
    """What is not right, and what to do about it."""
    return {finding.what: finding.advice for finding in check_stream(capture) if not finding.is_right}


def humming(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x + 0.2 * np.sin(2 * np.pi * 50 * np.arange(len(x)) / FS), np.float64)


def test_a_stream_that_is_right() -> None:
    """A record in millivolts has nothing to complain of; beats and rate are found."""
    findings = check_stream(captured(heart_mv()))
    assert wrong(captured(heart_mv())) == {}
    found = {finding.what: finding.value for finding in findings}
    assert found["beats"].endswith("/min")
    assert int(found["beats"].split(", ")[1].removesuffix("/min")) == pytest.approx(73, abs=4)
    assert found["polarity"] == "up"
    assert found["arrivals"].startswith("every 39 ms")


@pytest.mark.parametrize(
    ("change", "what", "advice"),
    [
        (
            lambda x: captured(x, real_fs=372.0),
            "rate",
            "shown at 0.97 of what they are: say --fs 372.0",
        ),
        (lambda x: captured(x[::8], fs=45.0), "rate", "too slow to tell beats apart"),
        (lambda x: captured(np.tile(x, 30), fs=25_000.0, told=False), "rate", "no ECG is that fast"),
        (lambda x: captured(0 * x, unit="counts"), "QRS height", "a flat line has no QRS complexes"),
        (lambda x: captured(0 * x), "QRS height", "a flat line has no QRS complexes"),
        (lambda x: captured(x[:1000]), "length", "too short to judge"),
        (lambda x: captured(x, lost=100), "losses", "look at cable, radio or network"),
        (lambda x: captured(x, interruptions=1), "losses", "look at cable, radio or network"),
        (lambda x: captured(-x), "polarity", "are two electrodes swapped"),
        (lambda x: captured(humming(x)), "hum", "hum of the mains: move cables away from 50 Hz"),
        (lambda x: captured(np.clip(x, -0.4, 0.0)), "clipping", "lower the gain"),
        (lambda x: captured(np.where(np.arange(len(x)) > 2500, 0.0, x)), "flat", "an electrode is off"),
        (lambda x: captured(np.where(np.arange(len(x)) % 10 == 0, np.nan, x)), "range", "values are missing"),
        (lambda x: captured(1000 * x), "QRS height", "no heart is that high: is the unit right?"),
        (lambda x: captured(x / 1000), "QRS height", "nothing like a heart: is the unit right"),
        (lambda x: captured(x / 12), "QRS height", "below 0.15 mV a monitor counts no beats"),
        (
            lambda x: captured(np.arange(len(x), dtype=np.float64) * 2.8),
            "range",
            "a clock or a counter, no lead; leave it out",
        ),
        (lambda x: captured(np.random.default_rng(0).normal(0, 1, len(x))), "quality", "it looks like noise"),
        (lambda x: captured(0 * x), "beats", "no heart rate"),
    ],
)
def test_what_is_wrong(change: Callable[[NDArray[np.float64]], StreamCapture], what: str, advice: str) -> None:
    """Each fault is named in its line, with what to do about it."""
    assert advice in wrong(change(heart_mv()))[what]


def test_counts_have_no_millivolts() -> None:
    """Raw counts are measured, and how to calibrate them is said without calling it wrong."""
    findings = check_stream(captured(record_numbers("100", 12).astype(np.float64), unit="counts"))
    height = next(finding for finding in findings if finding.what == "QRS height")
    assert "uncalibrated" in height.value
    assert all(finding.is_right for finding in findings)


def test_a_lead_that_points_down_by_nature() -> None:
    """V1 and aVR point down in a healthy heart."""
    capture = captured(-heart_mv())
    capture.leads = (Lead("V1", "mV", 1.0, 0.0, 0, 1),)
    assert wrong(capture) == {}


def test_long_pauses() -> None:
    """A stream that stops for two seconds at a time is said to."""
    capture = captured(heart_mv())
    capture.arrived_s = [at_s + (2 if at_s > 5 else 0) for at_s in capture.arrived_s]
    assert "stops at times" in wrong(capture)["arrivals"]


class PlayedSource:
    """A source that says a layout and then one reading, in which samples were lost."""

    name = "sensor"
    is_over = False

    def __init__(self, *items: SourceLayout | SourceReading) -> None:
        self.items = list(items)

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        if not self.items:
            self.is_over = True
        time.sleep(0 if self.items else timeout_s)
        return self.items.pop(0) if self.items else None

    def close(self) -> None:
        pass

    def remark(self) -> str:
        return "battery 80 %"


def test_losses_of_a_source_are_counted() -> None:
    """What a source says it lost has no value, and is counted."""
    lead = source_lead("II", "uV", 2.0)
    counts = np.full((1000, 1), 6, np.int32)
    source = PlayedSource(SourceLayout(250.0, (lead,)), SourceReading(counts), SourceReading(counts, 100))
    capture = capture_source(source, 5.0, told=True)
    assert (len(capture.values), capture.lost, capture.remark) == (2100, 100, "battery 80 %")
    assert np.isnan(capture.values).sum() == 100
    assert np.nanmax(capture.values) == 3.0
    with pytest.raises(SourceError, match="nothing came from sensor: battery 80 %"):
        capture_source(PlayedSource(), 1.0, told=True)


def findings_of(run_here: RunHere, *command: str) -> tuple[int, dict[str, object], str]:
    """Run `ecg-agent check --json`; return its exit code, what it printed, and its last words."""
    done = run_here("check", "--json", *command)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.mark.slow
def test_a_serial_port(tmp_path: Path, run_here: RunHere) -> None:
    """A microcontroller that is right ends with 0, with another rate than told with 5 and what to do."""
    device = Microcontroller(tmp_path / "port")
    lines = [b"%d\r\n" % number for number in record_numbers("100", 60)]
    with playing(device, lines, FS):
        code, found, _ = findings_of(run_here, f"serial:{device.path}", "--seconds", "6")
        assert (code, found["right"], found["fs"]) == (0, True, pytest.approx(FS, rel=0.01))
        other = ("--fs", "300", "--unit", "5uV", "--seconds", "5")
        code, found, said = findings_of(run_here, f"serial:{device.path}", *other)
        assert (code, found["right"]) == (5, False)
        assert "are not right: see the table" in said
    device.pull()


@pytest.mark.slow
def test_a_file(run_here: RunHere) -> None:
    """An embedded record is checked at once, and has no arrivals."""
    code, found, _ = findings_of(run_here, "100")
    assert (code, found["right"], found["measured_fs"]) == (0, True, None)
    code, _, said = findings_of(run_here, "nothing.csv")
    assert code == 4
    assert said.startswith("ecg-agent: ")


def test_an_endpoint(settings: Config) -> None:
    """A device that is there already is listened to like any monitor would."""
    layout = SourceLayout(125.0, (source_lead("MLII", "uV", 1.0),))
    pieces = [SourceReading(record_counts("100", 20)[at : at + 250, None]) for at in range(0, 2500, 250)]
    with RunningBridge(settings, PacedSource(layout, pieces)) as bridge:
        config = override_config(settings, "link", endpoint=bridge.endpoint)
        capture = capture_endpoint(config, 1.5)
        assert capture.name == f"bed bed at {bridge.endpoint}"
        assert (capture.fs, capture.lost) == (125.0, 0)
        assert len(capture.values) >= 500
    with pytest.raises(StreamError, match=r"nothing came from tcp://127\.0\.0\.1:9"):
        capture_endpoint(
            override_config(override_config(settings, "link", endpoint="tcp://127.0.0.1:9"), "monitor", timeout_s=0.3),
            1.0,
        )


class PacedSource(PlayedSource):
    """A source that brings a piece each quarter of a second."""

    def __init__(self, layout: SourceLayout, pieces: list[SourceReading]) -> None:
        super().__init__(layout, *pieces)
        self._due_s = 0.0

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        if time.monotonic() < self._due_s:
            time.sleep(timeout_s)
            return None
        self._due_s = time.monotonic() + 0.25
        return super().read(timeout_s)


def test_findings_are_right_without_advice() -> None:
    """A line is right if there is nothing to do about it."""
    assert StreamFinding("rate", "", "250 Hz").is_right
    assert not StreamFinding("rate", "", "250 Hz", "say --fs").is_right


def test_a_source_that_is_not_there() -> None:
    """What cannot be opened ends with 12 and one line."""
    done = run_agent(["check", "--json", "serial:/dev/nothing-here"])
    assert done.returncode == 12
    assert "there is no such port" in done.stderr
    with pytest.raises(SourceError):
        open_source("serial:/dev/nothing-here", SourceOptions()).open()
