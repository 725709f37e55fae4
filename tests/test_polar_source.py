"""agent.bridge.polar_source: a virtual H10 behind a mock of BlueZ, in processes of their own."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.streamed import (
    BridgedRun,
    beats_directly,
    bridge_to_monitor,
    count_false_beats,
    far_from,
    find_piece,
    record_at,
    simulated_counts,
)
from support.virtual_h10 import PACKET, STRAPS, StrapPlan, VirtualBluetooth, find_missing_program

from agent.analysis.beat_classifier import BeatClassifier
from agent.bridge import polar_source, strap_link
from agent.bridge.open_source import open_source
from agent.bridge.polar_source import PolarSource
from agent.bridge.sensor_source import LostSourceError, SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import SourceOptions
from agent.core.config import Config
from agent.core.messages import MISSING
from model.errors import ConfigError, SourceError

pytest.importorskip("bleak", reason="needs the extra polar")
pytest.importorskip("bleakheart", reason="needs the extra polar")
if reason := find_missing_program():
    pytest.skip(reason, allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
# bleak leaves its socket to the garbage collector when its event loop ends

Start = Callable[..., VirtualBluetooth]
ADAPTER = "?adapter=hci0"
"""The other adapter of the mock is the strap's own."""
PATIENCE_S = 30.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a strap with samples (n,) in microvolts."""
    with ExitStack() as stack:

        def begin(samples: NDArray[Any], adapters: int = 2, **plan: Any) -> VirtualBluetooth:
            made = VirtualBluetooth(tmp_path, samples.astype(np.int32), StrapPlan(**plan))
            stack.enter_context(made)
            if adapters:
                made.start(adapters)
            return made

        yield begin
    gc.collect()


def opened(**options: Any) -> PolarSource:
    """Open the strap; the mock tells of it now and then only at the second look."""
    source = PolarSource(ADAPTER, SourceOptions(**options))
    for _ in range(3):
        try:
            source.open()
            return source
        except SourceError as error:
            if "is seen" not in str(error):
                raise
            failure = error
    raise failure


def take(
    source: PolarSource, enough: Callable[[list[SourceReading]], bool]
) -> tuple[SourceLayout, list[SourceReading]]:
    """Read an open source; return its layout and readings."""
    layout: SourceLayout | None = None
    readings: list[SourceReading] = []
    until_s = time.monotonic() + PATIENCE_S
    while layout is None or not enough(readings):
        assert time.monotonic() < until_s, readings
        item = source.read(0.02)
        if isinstance(item, SourceLayout):
            layout = item
        elif item is not None and len(item.counts):
            readings.append(item)
    return layout, readings


def values(readings: list[SourceReading]) -> list[int]:
    return [value for reading in readings for value in reading.counts[:, 0].tolist()]


@pytest.mark.slow
def test_the_rate_is_estimated_first(start: Start) -> None:
    """The true rate is that of the strap's stamps; what came meanwhile is sent with it, in microvolts."""
    start(np.arange(130 * 120), fs=129.1, speed=8.0)
    source = opened(measure_s=8.0)
    assert source.remark() == "waiting for its first samples"
    layout, readings = take(source, lambda readings: len(values(readings)) > 20 * PACKET)
    source.close()
    (lead,) = layout.leads
    assert (layout.fs, layout.identity, lead.name, lead.unit, lead.gain) == (129.1, STRAPS, "ECG", "uV", 1.0)
    assert set(np.diff(values(readings))) == {1}
    assert not any(reading.lost for reading in readings)
    assert source.name == "Polar H10 1234ABCD"


@pytest.mark.slow
def test_lost_packets(start: Start) -> None:
    """Packets that the radio lost are declared in their place; a clock that is set is no loss."""
    bluetooth = start(np.arange(130 * 600), speed=8.0)
    source = opened(fs=130.0)
    _, readings = take(source, lambda readings: len(readings) > 5)
    assert bluetooth.strap is not None
    for command in ("lose 1", "clock -100", "clock 5000", "lose 3"):
        bluetooth.strap.tell(command)
        _, more = take_more(source, 6)
        readings += more
    assert "battery 80 %, samples 0.6 s late" in source.remark()
    source.close()
    assert [reading.lost for reading in readings if reading.lost] == [PACKET, 3 * PACKET]
    jumps = np.diff(values(readings))
    assert jumps[jumps != 1].tolist() == [PACKET + 1, 3 * PACKET + 1]


def take_more(source: PolarSource, count: int) -> tuple[None, list[SourceReading]]:
    """Read so many further packets."""
    readings: list[SourceReading] = []
    until_s = time.monotonic() + PATIENCE_S
    while len(readings) < count:
        assert time.monotonic() < until_s
        if isinstance(reading := source.read(0.02), SourceReading) and len(reading.counts):
            readings.append(reading)
    return None, readings


def test_a_broken_link(start: Start) -> None:
    """A strap that disconnects is lost at once."""
    bluetooth = start(np.arange(130 * 600), speed=8.0)
    source = opened(fs=130.0)
    take(source, lambda readings: len(readings) > 2)
    assert bluetooth.strap is not None
    bluetooth.strap.tell("away")
    with pytest.raises(LostSourceError, match="Polar H10 1234ABCD is disconnected: out of range"):
        take_more(source, 10_000)
    source.close()
    source.close()


def test_a_silent_strap(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strap that only falls silent is lost after a few packets."""
    monkeypatch.setattr(polar_source, "SILENT_S", 0.5)
    bluetooth = start(np.arange(130 * 600), speed=8.0)
    source = opened(fs=130.0)
    take(source, lambda readings: len(readings) > 2)
    assert bluetooth.strap is not None
    bluetooth.strap.tell("vanish")
    with pytest.raises(LostSourceError, match="sends nothing"):
        take_more(source, 10_000)
    source.close()


def test_a_strap_without_ecg(start: Start) -> None:
    """A sensor that measures something else is refused by its name."""
    start(np.arange(130 * 600), ecg=False)
    with pytest.raises(SourceError, match="Polar H10 1234ABCD has no ECG to send"):
        opened()


def test_no_strap(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strap that is not seen, or that somebody else has, is told in one line with what to do."""
    monkeypatch.setattr(strap_link, "SCAN_S", 0.5)
    start(np.zeros(1000))
    for wanted, told in (("99999999", "no strap '99999999' is seen"), ("AA:BB:CC:DD:EE:FF", "no strap 'aa:bb")):
        with pytest.raises(SourceError, match=f"{told}.*close every app and watch") as refused:
            PolarSource(wanted + ADAPTER, SourceOptions()).open()
        assert "\n" not in str(refused.value)


def test_a_strap_that_refuses(start: Start) -> None:
    """A strap that is seen and cannot be connected is told by its name, with what to do."""
    start(np.zeros(5000))
    source = opened()
    source.close()
    with pytest.raises(SourceError, match=r"Polar H10 1234ABCD refuses .*close every app and watch") as refused:
        opened()  # the mock cannot connect a device again
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wanted", [STRAPS, STRAPS.lower(), "1234abcd", "Polar H10 1234ABCD"])
def test_a_strap_by_its_name(start: Start, wanted: str) -> None:
    """A strap is chosen by its address, its name, or the number on it."""
    start(np.zeros(5000))
    source = open_source(f"polar:{wanted}{ADAPTER}", SourceOptions())
    source.open()
    source.close()
    assert source.name == "Polar H10 1234ABCD"


def test_no_bluetooth(start: Start) -> None:
    """Without an adapter, or without BlueZ on the bus, one line says so."""
    start(np.zeros(10), adapters=0)
    with pytest.raises(SourceError, match="no Bluetooth here"):
        PolarSource("", SourceOptions()).open()


def test_no_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without D-Bus, as in a container, the same line says so."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
    with pytest.raises(SourceError, match="no Bluetooth here"):
        PolarSource("", SourceOptions()).open()


def test_a_place_that_makes_no_sense() -> None:
    """Only an adapter may follow on the strap."""
    with pytest.raises(ConfigError, match=r"only \?adapter=hci1 may follow"):
        PolarSource("x?port=1", SourceOptions())


@pytest.mark.slow
def test_same_beats(start: Start, live: BeatClassifier, settings: Config) -> None:
    """Beats of a record through strap, bridge and monitor are those of the direct path; the ledger closes."""
    microvolts = np.rint(record_at("100", 70.0, 130)[:, 0]).astype(np.int32)
    start(microvolts, speed=5.0)
    source = PolarSource(ADAPTER, SourceOptions(measure_s=5.0))
    run = bridge_to_monitor(source, live, lambda run: run.ledger.sent > 40 * 130)
    assert run.error is None
    assert (run.ledger.missing, run.ledger.open, len(run.runs())) == (0, 0, 1)
    (only,) = run.runs()
    counts = run.counts(only)
    np.testing.assert_array_equal(counts[:, 0], microvolts[: len(counts)])
    beats = run.beats(only)
    assert beats == beats_directly(counts, 130.0, (source_lead("ECG", "uV", 1.0),), live, settings)
    all_leads, fs, leads = simulated_counts("100", 40.0)
    simulated = beats_directly(np.ascontiguousarray(all_leads[:, :1]), fs, leads[:1], live, settings)
    assert len(simulated) > 40
    assert far_from(beats, simulated[:-2]) == []


@pytest.mark.slow
def test_out_of_range_twice(start: Start, live: BeatClassifier) -> None:
    """A strap that was out of range is back within five seconds, in its run, with all samples in their place."""
    microvolts = np.rint(record_at("100", 120.0, 130)[:, 0]).astype(np.int32)
    bluetooth = start(microvolts, began_s=time.monotonic())
    source = PolarSource(ADAPTER, SourceOptions(fs=130.0))
    back: list[float] = []

    def leave_twice() -> None:
        for _ in range(2):
            time.sleep(7.0)
            bluetooth.stop()
            time.sleep(1.0)
            bluetooth.start()
            back.append(time.monotonic())

    def enough(_run: BridgedRun) -> bool:
        return len(back) == 2 and time.monotonic() - back[1] > 9.0

    run = bridge_to_monitor(source, live, enough, leave_twice)
    assert run.error is None
    assert run.status is not None
    assert (run.status.interruptions, len(run.runs()), run.ledger.open) == (2, 1, 0)
    (only,) = run.runs()
    counts = run.counts(only)[:, 0]
    assert np.count_nonzero(counts == MISSING) == run.status.lost > 2 * PACKET
    place = find_piece(microvolts, counts[:200])
    valid = np.flatnonzero(counts != MISSING)
    np.testing.assert_array_equal(counts[valid], microvolts[place + valid])
    assert count_false_beats(run, microvolts, 130.0, 700) == 0
    assert len(run.beats(only)) > 15
