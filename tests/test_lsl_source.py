"""agent.bridge.lsl_source: real outlets on loopback, in processes of their own."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.lsl_outlet import OutletPlan, start_outlet, stay_on_loopback
from support.streamed import (
    BridgedRun,
    beats_directly,
    bridge_to_monitor,
    count_false_beats,
    record_at,
    simulated_counts,
)

from agent.analysis.beat_classifier import BeatClassifier
from agent.bridge.lsl_source import LslSource
from agent.bridge.open_source import open_source
from agent.bridge.sensor_source import LostSourceError, SourceLayout, SourceReading
from agent.bridge.source_options import CountSize, SourceOptions
from agent.core.config import Config
from agent.core.messages import MISSING
from model.errors import ConfigError, SourceError

pytest.importorskip("pylsl", reason="needs the extra lsl")

Start = Callable[..., "subprocess.Popen[bytes]"]
PATIENCE_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def _loopback(tmp_path_factory: pytest.TempPathFactory) -> None:
    stay_on_loopback(tmp_path_factory.mktemp("lsl"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts outlets, which are killed in the end; their names are their own."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(samples: NDArray[Any], **plan: Any) -> "subprocess.Popen[bytes]":
        mine = plan | {"name": own(plan["name"]), "source_id": own(plan.get("source_id", plan["name"]))}
        running.append(start_outlet(tmp_path, samples, OutletPlan(**mine)))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


def own(name: str) -> str:
    """Return a name that no other process of the tests uses."""
    return f"{name}-{os.getpid()}"


def ramp(seconds: float, channels: int = 1, fs: float = 250.0) -> NDArray[np.float64]:
    """Every sample is its own index."""
    return np.repeat(np.arange(round(seconds * fs), dtype=np.float64)[:, None], channels, axis=1)


def take(source: LslSource, enough: Callable[[list[SourceReading]], bool]) -> tuple[SourceLayout, list[SourceReading]]:
    """Read an open source; return its layout and readings."""
    until_s = time.monotonic() + PATIENCE_S
    layout = source.read(0.1)
    readings: list[SourceReading] = []
    assert isinstance(layout, SourceLayout)
    while not enough(readings):
        assert time.monotonic() < until_s, readings
        if isinstance(reading := source.read(0.02), SourceReading) and len(reading.counts):
            readings.append(reading)
    return layout, readings


def read_for(source: LslSource, seconds: float) -> None:
    """Read what comes, until that fails."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        source.read(0.05)


def values(readings: list[SourceReading]) -> list[int]:
    return [value for reading in readings for value in reading.counts[:, 0].tolist()]


def seen(name: str, **options: Any) -> LslSource:
    """Return the source of a stream that is there, not yet opened."""
    import pylsl

    assert pylsl.resolve_bypred(f"name='{own(name)}' or source_id='{own(name)}'", 1, PATIENCE_S)
    return LslSource(own(name), SourceOptions(**options))


def opened(name: str, **options: Any) -> LslSource:
    """Open a stream as soon as it is there."""
    source = seen(name, **options)
    source.open()
    return source


@pytest.mark.slow
def test_same_beats(start: Start, live: BeatClassifier, settings: Config) -> None:
    """Through outlet, bridge and monitor a record has the beats that it has when the simulator sends it."""
    counts, fs, leads = simulated_counts("208", 60.0)
    microvolts = counts * (1e3 / np.array([lead.gain for lead in leads]))
    start(microvolts, name="beats", fs=fs, labels=[lead.name for lead in leads], speed=0.0, burst=125)
    run = bridge_to_monitor(seen("beats"), live, lambda run: run.ledger.sent == len(counts))
    assert run.error is None
    assert (run.ledger.analysed, run.ledger.missing, run.ledger.open) == (len(counts), 0, 0)
    (only,) = run.runs()
    assert run.beats(only) == beats_directly(counts, fs, leads, live, settings)
    assert len(run.beats(only)) > 80
    assert run.status is not None
    assert run.status.remark == "losses inferred from time stamps"


@pytest.mark.parametrize("kind", ["float32", "double64", "int16", "int32", "int64", "int8"])
def test_formats(start: Start, kind: str) -> None:
    """All formats of numbers arrive as what they were."""
    samples = ramp(2.0) % 100 - 50
    start(samples if kind[0] in "fd" else samples.astype(np.int64), name=f"f-{kind}", format=kind, speed=0.0)
    source = opened(f"f-{kind}")
    layout, readings = take(source, lambda readings: len(values(readings)) == 500)
    source.close()
    (lead,) = layout.leads
    assert (lead.unit, layout.fs) == ("uV", 250.0)
    assert (np.array(values(readings)) / lead.gain).tolist() == samples[:, 0].tolist()


@pytest.mark.parametrize(
    ("described", "given", "unit", "gain"),
    [
        ("microvolts", None, "uV", 10.0),
        ("millivolts", None, "mV", 10_000.0),
        ("V", None, "V", 1e7),
        ("", None, "counts", 1000.0),
        ("parsecs", None, "counts", 1000.0),
        ("", CountSize("mV"), "mV", 10_000.0),
        ("microvolts", CountSize("uV", 2.5), "uV", 400.0),
    ],
)
def test_units(start: Start, described: str, given: CountSize | None, unit: str, gain: float) -> None:
    """The unit is that of the stream's description, or the one given, or counts."""
    start(ramp(1.0), name="unit", unit=described)
    source = opened("unit", unit=given)
    (lead,) = take(source, lambda _readings: True)[0].leads
    source.close()
    assert (lead.unit, lead.gain) == (unit, gain)


@pytest.mark.slow
def test_channels_are_chosen(start: Start) -> None:
    """Labels name the leads, the counter is none of them, and --columns and --names say otherwise."""
    start(ramp(1.0, 4), name="many", labels=("I", "Counter", "II", ""))
    source = opened("many")
    assert [lead.name for lead in take(source, lambda _: True)[0].leads] == ["I", "II", "ECG3"]
    source.close()
    source = opened("many", columns=(3, 1), names=("V5",))
    assert [lead.name for lead in take(source, lambda _: True)[0].leads] == ["V5", "I"]
    source.close()
    with pytest.raises(SourceError, match="has 4 channels: there is no 5"):
        opened("many", columns=(5,))


@pytest.mark.slow
def test_losses_by_counter(start: Start) -> None:
    """A channel that counts to 256 tells losses to the sample, those of more than a second too."""
    samples = np.hstack([ramp(12.0), ramp(12.0) % 256])
    lost = ((500, 501), (700, 955), (1500, 1500 + 600))
    start(samples, name="counted", labels=("II", "counter"), speed=4.0, burst=10, skipped=lost)
    source = opened("counted")
    _, readings = take(source, lambda readings: max(values(readings), default=0) == 29_990)
    source.close()
    assert [reading.lost for reading in readings if reading.lost] == [b - a for a, b in lost]
    expected = [i for i in range(3000) if not any(a <= i < b for a, b in lost)]
    assert values(readings) == [10 * i for i in expected]
    assert source.remark() == "losses by the stream's counter"


@pytest.mark.slow
def test_losses_by_stamps(start: Start) -> None:
    """Without a counter a loss is inferred from the stamps, and stands where it happened."""
    lost = ((500, 540), (700, 955), (1500, 2100))
    start(ramp(12.0), name="stamped", speed=4.0, burst=10, skipped=lost)
    source = opened("stamped")
    _, readings = take(source, lambda readings: max(values(readings), default=0) == 29_990)
    source.close()
    before = [(reading.counts[0, 0] // 10, reading.lost) for reading in readings if reading.lost]
    assert before == [(540, 40), (955, 255), (2100, 600)]


@pytest.mark.slow
def test_a_pause_loses_nothing(start: Start) -> None:
    """While nobody reads for four seconds LSL keeps all samples; nothing is declared lost."""
    start(ramp(60.0), name="paused")
    source = opened("paused")
    take(source, lambda readings: len(values(readings)) > 100)
    source._announced = False
    time.sleep(4.0)
    _, readings = take(source, lambda readings: len(values(readings)) > 1100)
    source.close()
    assert set(np.diff(values(readings))) == {10}
    assert not any(reading.lost for reading in readings)


@pytest.mark.slow
def test_a_stopped_outlet_loses_nothing(start: Start) -> None:
    """An outlet that stands still for four seconds, and then sends what it has missed, has lost nothing."""
    process = start(ramp(60.0), name="stopped")
    source = opened("stopped")
    take(source, lambda readings: len(values(readings)) > 100)
    os.kill(process.pid, signal.SIGSTOP)
    read_for(source, 4.0)
    os.kill(process.pid, signal.SIGCONT)
    source._announced = False
    _, more = take(source, lambda readings: len(values(readings)) > 1200)
    source.close()
    assert not any(reading.lost for reading in more)
    assert set(np.diff(values(more))) == {10}


@pytest.mark.slow
def test_the_same_outlet_goes_on(start: Start) -> None:
    """A connection that breaks while the outlet runs on is the same run, with as many samples lost as were sent."""
    start(ramp(60.0), name="cut", burst=5)
    source = opened("cut")
    before, first = take(source, lambda readings: len(values(readings)) > 100)
    source.close()
    time.sleep(1.0)
    source.open()
    after, then = take(source, lambda readings: len(values(readings)) > 100)
    source.close()
    assert after == before
    missing = (values(then)[0] - values(first)[-1]) // 10 - 1
    assert missing > 200
    assert then[0].lost == pytest.approx(missing, abs=2)


@pytest.mark.slow
def test_a_restarted_outlet_is_a_new_run(start: Start, classifier: BeatClassifier) -> None:
    """An outlet that is killed and started again is back in a new run; no beat is found that was not sent."""
    microvolts = record_at("100", 60.0, 360)
    began_s = time.time()
    plan: dict[str, Any] = {"name": "restarted", "fs": 360.0, "labels": ("MLII", "V5"), "began_s": began_s}
    processes = [start(microvolts, **plan)]
    source = seen("restarted")
    back: list[float] = []

    def kill_twice() -> None:
        for _ in range(2):
            time.sleep(6.0)
            processes[-1].kill()
            processes[-1].wait()
            time.sleep(1.0)
            processes.append(start(microvolts, **plan))
            back.append(time.monotonic())

    def third_run_has_beats(run: BridgedRun) -> bool:
        return len(run.runs()) == 3 and len(run.beats(run.runs()[-1])) >= 3

    run = bridge_to_monitor(source, classifier, third_run_has_beats, kill_twice)
    assert run.error is None
    assert (len(run.runs()), run.ledger.open) == (3, 0)
    assert run.status is not None
    assert (run.status.interruptions, run.status.lost > 2 * 300) == (2, True)
    assert count_false_beats(run, np.rint(microvolts[:, 0] * 10).astype(np.int32), 360.0, 7000) == 0


def test_a_vanished_host(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outlet that falls silent without closing, and is started elsewhere, is recognised by its new uid."""
    monkeypatch.setattr("agent.bridge.lsl_source.SILENT_S", 0.3)
    first = start(ramp(60.0), name="host")
    source = opened("host")
    take(source, lambda readings: len(values(readings)) > 10)
    os.kill(first.pid, signal.SIGSTOP)
    start(ramp(60.0), name="host")
    with pytest.raises(LostSourceError, match="started again"):
        read_for(source, PATIENCE_S)
    source.close()
    source.open()
    take(source, lambda readings: len(values(readings)) > 10)
    source.close()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"format": "string", "labels": ()}, "sends text, such as markers"),
        ({"fs": 0.0}, "has no fixed rate: where its samples come regularly, say theirs with --fs"),
        ({"fs": 1.0}, "has 1 samples a second, too few"),
    ],
)
def test_streams_that_are_no_ecg(start: Start, plan: dict[str, Any], message: str) -> None:
    """Strings, irregular rates and slow streams are refused in one line."""
    start(ramp(10.0), name="odd", **plan)
    with pytest.raises(SourceError, match=message) as refused:
        opened("odd")
    assert "\n" not in str(refused.value)


def test_too_many_channels(start: Start) -> None:
    """A stream of more channels than a bed has leads lists them, and says how to choose."""
    start(ramp(10.0, 20), name="wide", labels=[f"E{i}" for i in range(20)])
    with pytest.raises(
        SourceError, match=r"has 20 channels: choose up to 16 of one unit, as --columns 1,2: 1 E0 \(uV\)"
    ):
        opened("wide")


def test_several_streams(start: Start) -> None:
    """Without a name the only ECG is taken; of several each is named, and its id chooses it."""
    start(ramp(60.0), name="twin", source_id="left")
    start(ramp(60.0), name="twin", source_id="right")
    seen("left")
    seen("right")
    with pytest.raises(
        SourceError, match=r"2 LSL streams fit: 'twin.* \(ECG, 1 channels, 250 Hz, id .*'lsl:(left|right)"
    ):
        LslSource(own("twin"), SourceOptions()).open()
    source = opened("right")
    source.close()
    assert source.name == f"LSL stream {own('twin')}"


def test_no_stream() -> None:
    """Where nothing is there the error says what to look at; the name of a source is checked by its kind."""
    with pytest.raises(SourceError, match="no LSL stream 'nobody' is there"):
        LslSource("nobody", SourceOptions()).open()
    assert isinstance(open_source("lsl:nobody", SourceOptions()), LslSource)


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """pylsl without liblsl, as on a Raspberry Pi, names the wheel that has it."""

    def fail(_name: str) -> None:
        raise RuntimeError("LSL binary library file was not found.")

    monkeypatch.setattr("model.extras.import_module", fail)
    with pytest.raises(ConfigError, match="mne-lsl"):
        LslSource("", SourceOptions()).open()


def test_values_that_are_none(start: Start) -> None:
    """NaN is a sample without a value."""
    samples = ramp(2.0)
    samples[100:110] = np.nan
    start(samples, name="nan", speed=0.0)
    source = opened("nan")
    _, readings = take(source, lambda readings: len(values(readings)) == 500)
    source.close()
    missing = [i for i, value in enumerate(values(readings)) if value == MISSING]
    assert missing == list(range(100, 110))
