"""agent.bridge.serial_port: microcontrollers on pseudo-terminals: opened, pulled out, put in again."""

import itertools
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.bridged import Microcontroller, RunningBridge, RunningMonitor, playing, record_numbers, wait_until

pytest.importorskip("serial", reason="pyserial is not installed")
import serial.tools.list_ports

from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.bridge.open_source import open_source
from agent.bridge.sensor_source import SourceLayout, SourceReading
from agent.bridge.source_options import CountSize, SourceOptions
from agent.core.config import Config, override_config
from agent.core.events import GapClosed
from agent.core.messages import MISSING
from model.errors import ConfigError, SourceError
from model.records.wfdb_records import open_record, read_reference

COUNTS = CountSize("uV", 5.0)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Microcontroller]:
    """A microcontroller whose cable is in."""
    made = Microcontroller(tmp_path / "port")
    yield made
    made.pull()


@pytest.fixture
def one_lead(settings: Config) -> Config:
    return override_config(settings, "monitor", lead="MLII")


def options(**changes: object) -> SourceOptions:
    return SourceOptions(**{"fs": 360.0, "unit": COUNTS, "names": ("MLII",), **changes})  # type: ignore[arg-type]


def lines_of(*values: object) -> bytes:
    return b"".join(f"{value}\r\n".encode() for value in values)


def read_counts(path: Path, given: SourceOptions, count: int) -> tuple[list[SourceLayout], list[list[int]]]:
    """Open a port once, and return the first `count` samples of it."""
    source = open_source(f"serial:{path}", given)
    source.open()
    layouts, rows = [], list[list[int]]()
    until_s = time.monotonic() + 20
    while len(rows) < count and time.monotonic() < until_s:
        item = source.read(0.05)
        if isinstance(item, SourceLayout):
            layouts.append(item)
        elif isinstance(item, SourceReading):
            rows += item.counts.tolist()
    source.close()
    return layouts, rows[:count]


def feed_soon(device: Microcontroller, data: bytes) -> None:
    """Send data a moment later: opening a port throws away what came before."""
    timer = threading.Timer(0.2, device.write_all, (data,))
    timer.daemon = True
    timer.start()


def test_lines_of_the_ad8232(device: Microcontroller) -> None:
    """SparkFun's sketch: a number a line, "!" while a lead is off."""
    feed_soon(device, lines_of("boot", *range(500, 520), "!", "!", 7))
    (layout,), rows = read_counts(device.path, options(), 23)
    assert (layout.leads[0].name, layout.fs) == ("MLII", 360.0)
    assert [row[0] for row in rows] == [*range(500, 520), MISSING, MISSING, 7]


def test_labels_of_the_plotter(device: Microcontroller) -> None:
    """Labels of Arduino's plotter name the leads."""
    feed_soon(device, lines_of("x", *["ecg:512,resp:3"] * 20))
    (layout,), rows = read_counts(device.path, options(names=()), 20)
    assert [lead.name for lead in layout.leads] == ["ecg", "resp"]
    assert rows == [[512, 3]] * 20


def test_frames_of_protocentral(device: Microcontroller) -> None:
    """The shield's frames, with noise between them."""
    frames = [b"\x0a\xfa\x08\x00\x02" + struct.pack("<hhhh", n - 10, 5, 70, 12) + b"\x00\x0b" for n in range(20)]
    feed_soon(device, frames[0][7:] + b"\x0a".join(frames))
    (layout,), rows = read_counts(device.path, options(frames="protocentral", names=()), 20)
    assert [lead.name for lead in layout.leads] == ["ECG", "RESP"]
    assert rows == [[n - 10, 5] for n in range(20)]


def test_chords_is_told_to_start(device: Microcontroller) -> None:
    """A board of Upside Down Labs sends once it is told to; a lost frame is filled."""
    source = open_source(f"serial:{device.path}", options(frames="chords", names=()))
    source.open()
    wait_until(lambda: device.read() == b"START\n", "the command to start", 5.0)
    numbers = [n for n in range(250, 290) if n != 260]
    device.write_all(b"".join(b"\xc7\x7c" + bytes([n % 256]) + struct.pack(">3H", n, 1, 2) + b"\x01" for n in numbers))
    items = [source.read(0.2) for _ in range(5)]
    readings = [item for item in items if isinstance(item, SourceReading) and len(item.counts)]
    assert [(item.lost, len(item.counts)) for item in readings] == [(0, 10), (1, 29)]
    source.close()


def test_a_port_that_is_busy(device: Microcontroller) -> None:
    """A port that another program has open is not taken from it, and that is said."""
    first, second = (open_source(f"serial:{device.path}", options()) for _ in range(2))
    first.open()
    with pytest.raises(SourceError, match=r"cannot be opened: another program has it open: close that one"):
        second.open()
    first.close()
    second.open()
    second.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/nothing-here", "there is no such port"),
        ("/etc/hostname", "it is no serial port"),
        ("/tmp", "it is no serial port"),
    ],
)
def test_ports_that_are_none(path: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such port, a file, a folder: the ports that are there are named."""
    here = [SimpleNamespace(device="/dev/ttyUSB7", hwid="USB"), SimpleNamespace(device="/dev/ttyS0", hwid="n/a")]
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: here)
    with pytest.raises(SourceError, match=f"{reason}; there is serial:/dev/ttyUSB7$"):
        open_source(f"serial:{path}", options()).open()


def test_the_only_port_is_taken(device: Microcontroller, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serial` alone is the only port with a device; none and several are an error that lists them."""
    ports = [SimpleNamespace(device=str(device.path), hwid="USB")]
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: ports)
    source = open_source("serial", options())
    source.open()
    assert source.name == f"serial:{device.path}"
    source.close()
    ports.append(SimpleNamespace(device="/dev/ttyACM0", hwid="USB"))
    with pytest.raises(SourceError, match=r"which serial port\? there are serial:.*, serial:"):
        open_source("serial", options()).open()
    ports.clear()
    with pytest.raises(SourceError, match="no serial port with a device is there: is it plugged in"):
        open_source("serial", options()).open()


def test_frames_that_nobody_knows() -> None:
    """--frames names those that there are."""
    with pytest.raises(ConfigError, match="no frames 'openbci' of serial: there are protocentral, chords, wire"):
        open_source("serial:/dev/x", options(frames="openbci"))
    with pytest.raises(ConfigError, match="no frames 'chords' of udp"):
        open_source("udp:5005", options(frames="chords"))


def test_a_reset_does_not_spoil_the_measured_rate(device: Microcontroller, settings: Config) -> None:
    """A few lines before the device starts anew, as Arduinos do when they are opened, are left out of the rate."""
    source = open_source(f"serial:{device.path}", options(fs=None, measure_s=3.0))
    with RunningBridge(settings, source) as bridge:
        wait_until(lambda: bridge.said != [], "the port is open")
        device.write(lines_of(*range(40)))
        time.sleep(1.3)
        with playing(device, itertools.repeat(lines_of(5), 250 * 5), 250.0):
            wait_until(lambda: bridge.stream.samples > 0, "the rate")
    told = next(text for text in bridge.said if " Hz, " in text)
    fs = float(told.split(": ")[1].split(" Hz")[0])
    assert fs == pytest.approx(250, rel=0.03)
    assert any("measuring its rate for 3 s (--fs says it)" in text for text in bridge.said)


def test_a_silence_is_filled(device: Microcontroller, settings: Config) -> None:
    """A device that hangs for two seconds, its cable in, lost what the clock says."""
    source = open_source(f"serial:{device.path}", options(fs=250.0))
    with RunningBridge(settings, source) as bridge:
        wait_until(lambda: bridge.said != [], "the port is open")
        begin_s = time.monotonic()
        device.play(itertools.repeat(lines_of(5), 250), 250.0)
        time.sleep(2.0)
        device.play(itertools.repeat(lines_of(6), 250), 250.0)
        took_s = time.monotonic() - begin_s
        wait_until(lambda: bridge.stream.samples >= 740, "all samples", 5.0)
        time.sleep(0.1)
    assert bridge.stream.samples == pytest.approx(250 * took_s, abs=60)
    assert bridge.stream.lost == pytest.approx(500, abs=60)


def test_a_record_through_a_port(device: Microcontroller, one_lead: Config, classifier: BeatClassifier) -> None:
    """All that the device prints arrives, in order: as many samples as lines."""
    numbers = record_numbers("208", 60)
    with RunningBridge(one_lead, open_source(f"serial:{device.path}", options())) as bridge:
        monitor = RunningMonitor(one_lead, classifier, bridge.endpoint)
        wait_until(lambda: bridge.said != [], "the port is open")
        device.write_all(lines_of(0, *numbers))
        wait_until(lambda: bridge.stream.samples == len(numbers), "all samples")
        bridge.stop()
        watched = monitor.result()
    assert (watched.ledger.sent, watched.ledger.analysed) == (len(numbers), len(numbers))
    assert len(watched.beats) > 90


@pytest.mark.slow
def test_the_cable_is_pulled_again_and_again(device: Microcontroller, one_lead: Config) -> None:
    """Out and in: back within five seconds each time, what was lost is declared, no beat lies in it or at its edge."""
    numbers = record_numbers("100", 60)
    classifier = load_beat_classifier("live", "cpu", 1)
    lines = [lines_of(number) for number in numbers]
    back_s = []
    with RunningBridge(one_lead, open_source(f"serial:{device.path}", options())) as bridge:
        monitor = RunningMonitor(one_lead, classifier, bridge.endpoint)
        wait_until(lambda: bridge.said != [], "the port is open")
        with playing(device, lines, 360.0) as player:
            for turn in range(3):
                time.sleep(4.0)
                device.pull()
                time.sleep(0.4 * turn)
                device.plug()
                plugged_s = time.monotonic()
                _wait_for_samples(bridge, bridge.stream.samples - bridge.stream.lost + 36)
                back_s.append(time.monotonic() - plugged_s)
                assert player.is_alive()
            bridge.stop()
            device.pull()
        watched = monitor.result()
    assert bridge.final is not None
    assert bridge.final.interruptions == 3
    assert max(back_s) < 5.0
    assert watched.ledger.open == 0
    assert watched.ledger.sent == bridge.final.samples
    beats = np.array([sample for sample, _ in watched.beats])
    gaps = [(item.sample, item.sample + item.count) for item in watched.results if isinstance(item, GapClosed)]
    assert len(gaps) == 3
    assert not [beat for beat in beats for first, stop in gaps if first <= beat < stop]
    _expect_true_beats(beats, gaps)


def _wait_for_samples(bridge: RunningBridge, count: int) -> None:
    wait_until(lambda: bridge.stream.samples - bridge.stream.lost >= count, "samples again", 10.0)


def _expect_true_beats(beats: "np.ndarray[tuple[int], np.dtype[np.int64]]", gaps: list[tuple[int, int]]) -> None:
    """Each beat lies where the record has one; the clock of the bridge may be some hundredths of a second off."""
    true_s = read_reference(open_record("100")).beats()[0] / 360
    shifts = []
    edges = [0, *(stop for _, stop in gaps), int(beats[-1]) + 1]
    for first, stop in itertools.pairwise(edges):
        here = beats[(beats >= first) & (beats < stop)] / 125
        if len(here):
            nearest = np.array([true_s[np.abs(true_s - beat).argmin()] - beat for beat in here])
            shifts.append(np.ptp(nearest))
    assert len(shifts) >= 3
    assert max(shifts) < 0.05
