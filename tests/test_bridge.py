"""agent.bridge: a source as a device of the wire, from its numbers to the beats of a real monitor."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import record_counts
from numpy.typing import NDArray
from support.bridged import BED, RunningBridge, RunningMonitor, record_numbers, wait_until

from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.bridge.arrival_gaps import ArrivalGaps
from agent.bridge.bridge_loop import BridgeClock, BridgeLoop
from agent.bridge.device_stream import DeviceStream
from agent.bridge.line_parser import LineParser
from agent.bridge.open_source import bed_of_source, is_source, open_source
from agent.bridge.rate_meter import RateMeter
from agent.bridge.row_source import RowSource
from agent.bridge.sensor_source import LostSourceError, SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import CountSize, SourceOptions, check_source_rate, parse_columns, parse_count_size
from agent.bridge.standard_input import StandardInput
from agent.core.config import Config, override_config
from agent.core.events import GapClosed
from agent.core.messages import MISSING, Beat, Chunk, End
from agent.pipeline.pipeline import Pipeline
from model.errors import ConfigError, SourceError
from simulator.record_replay import RecordReplay, ReplayPlan

UV = CountSize("uV", 1.0)
LAYOUT = SourceLayout(250.0, (source_lead("II", "uV", 1.0),))
Script = list[tuple[float, SourceLayout | SourceReading | Exception | None]]


class KeptMessages:
    """What a stream sent, as messages, in the place of sockets."""

    def __init__(self) -> None:
        self.kept: list[Chunk | End] = []
        self.sent = 0
        self.stop = 0

    def send(self, frames: Sequence[bytes]) -> bool:
        self.sent += bool(frames)
        return True

    def keep(self, message: Chunk | End, stop: int, _sent_s: float) -> None:
        self.stop = stop
        if not self.kept or self.kept[-1] is not message:
            self.kept.append(message)

    def counts(self) -> NDArray[np.int32]:
        """All samples of the first lead, -1 in a jump."""
        chunks = [message for message in self.kept if isinstance(message, Chunk)]
        ended = next(message for message in self.kept if isinstance(message, End))
        out = np.full(ended.first, -1, np.int32)
        for chunk in chunks:
            part = chunk.counts[: ended.first - chunk.first, 0]
            out[chunk.first : chunk.first + len(part)] = part
        return out


class ScriptedSource:
    """A source that says what a script has for each moment of a clock that moves only in `sleep` and `read`."""

    name = "sensor"

    def __init__(self, script: Script, refuse: Callable[[float], bool] = lambda _: False) -> None:
        self.script, self.now_s, self.refuse = script, 0.0, refuse
        self.opened: list[float] = []
        self.clock = BridgeClock(lambda: self.now_s, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds

    @property
    def is_over(self) -> bool:
        return not self.script

    def open(self) -> None:
        self.opened.append(self.now_s)
        if self.refuse(self.now_s):
            raise SourceError("the port is not there")

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        at_s, item = self.script[0]
        if at_s > self.now_s + timeout_s:
            self.now_s += timeout_s
            return None
        self.now_s = max(self.now_s, at_s)
        self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        pass

    def remark(self) -> str:
        return "" if self.script else "over"


def reading(*values: int, lost: int = 0) -> SourceReading:
    return SourceReading(np.array(values, np.int32)[:, None], lost)


def steady(begin_s: float, seconds: float, fs: float = 250.0, value: int = 7) -> Script:
    """Ten packets a second from `begin_s` on."""
    count = round(fs / 10)
    return [(begin_s + (n + 1) / 10, reading(*[value] * count)) for n in range(round(10 * seconds))]


class Bridged:
    """A scripted source through the loop: what was sent and told."""

    def __init__(self, settings: Config, source: ScriptedSource, patient: bool = False) -> None:
        self.sink, self.said = KeptMessages(), list[str]()
        self.stream = DeviceStream(self.sink, BED, settings.simulate.keep_s, lambda: source.now_s)
        self.loop = BridgeLoop(source, self.stream, settings.bridge, self.said.append, patient, source.clock)
        self.final = self.loop.run(lambda: False, lambda _: None)


def test_an_interruption_is_filled_by_the_clock(settings: Config) -> None:
    """What was lost while a source was away has no value; the run goes on, and its time is right."""
    away: Script = [(5.0, LostSourceError("sensor is gone")), (9.0, LAYOUT), (9.1, reading(*[8] * 25))]
    source = ScriptedSource([(0.0, LAYOUT), *steady(0.0, 5.0), *away], refuse=lambda now_s: 5.0 < now_s < 8.5)
    bridged = Bridged(settings, source)
    counts = bridged.sink.counts()
    assert bridged.stream.runs == 1
    assert len(counts) == pytest.approx(9.1 * 250, abs=3)
    assert set(counts[:1250]) == {7}
    assert set(counts[1250:-25]) == {MISSING}
    assert set(counts[-25:]) == {8}
    assert bridged.final.lost == len(counts) - 1275
    assert bridged.final.interruptions == 1
    told = " | ".join(bridged.said)
    assert "sensor is gone" in told
    assert told.count("the port is not there; trying again") == 1
    assert "sensor is back" in told
    assert "about 1000 samples were lost (4.0 s)" in told


def test_what_a_source_counts_itself_is_not_guessed(settings: Config) -> None:
    """A source that says how many samples were lost while it was away is believed."""
    away: Script = [(5.0, LostSourceError("gone")), (9.0, LAYOUT), (9.1, reading(8, lost=900))]
    bridged = Bridged(settings, ScriptedSource([(0.0, LAYOUT), *steady(0.0, 5.0), *away]))
    assert bridged.final.lost == 900
    assert bridged.final.samples == 1250 + 901


def test_a_long_loss_is_a_jump(settings: Config) -> None:
    """What is longer than the memory of the device is left out: its index goes on, and no memory is taken for it."""
    script: Script = [(0.0, LAYOUT), (0.1, reading(1)), (0.2, reading(2, lost=250 * 601)), (0.3, reading(3))]
    bridged = Bridged(settings, ScriptedSource(script))
    chunks = [message for message in bridged.sink.kept if isinstance(message, Chunk)]
    assert [chunk.first for chunk in chunks] == [0, 1 + 250 * 601]
    assert bridged.final.samples == 3 + 250 * 601
    assert bridged.sink.sent == 4


def test_another_layout_is_another_run(settings: Config) -> None:
    """A device that started anew, or sends other leads, begins a run after the End of the one before."""
    other = replace(LAYOUT, identity="second")
    script: Script = [
        (0.0, LAYOUT),
        (0.1, reading(1)),
        (0.2, LAYOUT),
        (0.3, reading(2)),
        (0.4, other),
        (0.5, reading(3)),
    ]
    bridged = Bridged(settings, ScriptedSource(script))
    kinds = [(type(message).__name__, message.first) for message in bridged.sink.kept]
    assert kinds == [("Chunk", 0), ("End", 2), ("Chunk", 0), ("End", 1)]
    assert len({message.run for message in bridged.sink.kept}) == 2


def test_a_source_that_flaps_is_asked_with_growing_pauses(settings: Config) -> None:
    """Opening succeeds and the first look fails: the pauses grow to their limit, and little is said."""
    gone: Script = [(0.0, LostSourceError("sensor is gone")) for _ in range(20)]
    source = ScriptedSource([(0.0, LAYOUT), (0.0, reading(1)), *gone])
    bridged = Bridged(settings, source)
    pauses = np.diff(source.opened)
    assert pauses[0] == pytest.approx(settings.bridge.first_pause_s, abs=0.05)
    assert pauses.max() == pytest.approx(settings.bridge.longest_pause_s, abs=0.2)
    assert len(bridged.said) <= 5


def test_a_source_that_is_not_there(settings: Config) -> None:
    """At the start that is an error, unless one has patience; then it is opened once it is there."""
    with pytest.raises(SourceError, match="the port is not there"):
        Bridged(settings, ScriptedSource([(0.0, LAYOUT)], refuse=lambda _: True))
    source = ScriptedSource([(0.0, LAYOUT), (9.0, reading(1))], refuse=lambda now_s: now_s < 8)
    assert Bridged(settings, source, patient=True).final.samples == 1


def test_silence_at_the_start_is_an_error(settings: Config) -> None:
    """A source that is open and sends nothing is given up; one that says why it has nothing yet is not."""
    with pytest.raises(SourceError, match="nothing comes from sensor for 15 s: is it switched on"):
        Bridged(settings, ScriptedSource([(60.0, LAYOUT)]))
    empty = SourceReading(np.empty((0, 1), np.int32))
    alive: Script = [(float(n), empty) for n in range(1, 30)]
    assert Bridged(settings, ScriptedSource([*alive, (31.0, LAYOUT), (31.1, reading(1))])).final.samples == 1


def test_silence_later_is_told(settings: Config) -> None:
    """A source that falls silent is told of once, and awaited."""
    script: Script = [(0.0, LAYOUT), (0.1, reading(1)), (60.0, reading(2)), (120.0, reading(3))]
    bridged = Bridged(settings, ScriptedSource(script))
    assert [text for text in bridged.said if "nothing comes" in text] == ["nothing comes from sensor for 15 s"] * 2


def test_a_wrong_rate_is_told(settings: Config) -> None:
    """A source that sends 3 % faster than it says is told of once, with what that means; 0.5 % are let pass."""
    for fs, times in ((257.5, 1), (251.2, 0)):
        script: Script = [(0.0, LAYOUT), *[(n / 10 * 250 / fs, reading(*[7] * 25)) for n in range(1, 600)]]
        said = Bridged(settings, ScriptedSource(script)).said
        told = [text for text in said if "samples a second" in text]
        assert len(told) == times
        assert all(
            "257.5 samples a second, not 250: heart rates are shown at 0.97 of what they are: say --fs 257.5" in text
            for text in told
        )


def test_losses_without_end_do_not_hold_up(settings: Config) -> None:
    """Many readings that wait, each after a loss, are all taken in one look."""
    script: Script = [(0.0, LAYOUT), *[(1.0, reading(5, lost=1)) for _ in range(60)], (1.02, reading(6))]
    source = ScriptedSource(script)
    bridged = Bridged(settings, source)
    assert bridged.final.samples == 121
    assert source.now_s < 1.1


def test_the_rate_is_that_of_the_line_through_all_arrivals() -> None:
    """Arrivals that come up to 15 ms late move the measured rate by less than 0.05 % in ten seconds."""
    random = np.random.default_rng(0)
    meter = RateMeter()
    for n in range(1000):
        meter.add(4, n * 0.0111 + random.uniform(0, 0.015))
    assert meter.fs == pytest.approx(4 / 0.0111, rel=5e-4)
    assert meter.span_s == pytest.approx(11.1, abs=0.1)
    meter.reset()
    assert meter.fs is None


def test_gaps_of_arrivals() -> None:
    """A silence lacks what the clock says, less what came late in a burst; slow packets are no silence."""
    gaps = ArrivalGaps()
    for n in range(100):
        assert not gaps.note(n * 0.02)
    assert gaps.note(1.98 + 4.0)
    assert gaps.is_settling(6.1)
    gaps.note(6.0)
    assert not gaps.is_settling(6.3)
    assert gaps.count_missing(arrived=30, fs=250) == round(250 * 4.02) - 30
    assert gaps.count_missing(arrived=30, fs=250) == 0
    slow = ArrivalGaps()
    assert sum(slow.note(5.0 * n) for n in range(10)) <= 4
    late = ArrivalGaps()
    late.note(0.0)
    late.note(3.0)
    assert late.count_missing(arrived=740, fs=250) == 0


# Rows of numbers


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)


def write_pipe(descriptor: int, data: bytes) -> None:
    """Write into a pipe from a thread, and close it."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as file:
            file.write(data)

    threading.Thread(target=write, daemon=True).start()


def rows_of(pipe: tuple[int, int], data: bytes, options: SourceOptions) -> tuple[list[SourceLayout], NDArray[np.int32]]:
    """Return the layouts and all counts that lines of text become."""
    write_pipe(pipe[1], data)
    source = RowSource(StandardInput(pipe[0]), LineParser(whole=True), options)
    source.open()
    layouts: list[SourceLayout] = []
    counts: list[NDArray[np.int32]] = []
    until_s = time.monotonic() + 20
    while not source.is_over and time.monotonic() < until_s:
        item = source.read(0.05)
        if isinstance(item, SourceLayout):
            layouts.append(item)
        elif item is not None and len(item.counts):
            counts.append(item.counts)
    return layouts, np.concatenate([part for part in counts if part.shape[1] == counts[0].shape[1]])


def test_columns_names_and_units(pipe: tuple[int, int]) -> None:
    """Columns are chosen and named; a unit with a size is the worth of a count."""
    options = SourceOptions(fs=250.0, unit=CountSize("uV", 2.9), columns=(3, 1), names=("II",))
    (layout,), counts = rows_of(pipe, b"a:1 b:2 V5:3\n" * 20, options)
    assert [(lead.name, lead.unit) for lead in layout.leads] == [("II", "uV"), ("a", "uV")]
    assert layout.leads[0].gain == pytest.approx(1 / 2.9)
    assert counts.tolist() == [[3, 1]] * 20


def test_millivolts_keep_their_decimals(pipe: tuple[int, int]) -> None:
    """A tenth of a microvolt is kept of voltages; huge ones end at the rails."""
    (layout,), counts = rows_of(pipe, b"0.1234\n-0.5\n1e9\n" * 5, SourceOptions(fs=250.0, unit=CountSize("mV")))
    assert (counts[:2, 0] / layout.leads[0].gain).tolist() == [0.1234, -0.5]
    assert counts[2, 0] == 2**31 - 1


@pytest.mark.parametrize("unit", [None, CountSize("mV", 1.0)])
def test_decimals_that_come_late_begin_a_run(pipe: tuple[int, int], unit: CountSize | None) -> None:
    """Numbers that are whole at first, and then are not, lose no decimals: a new run has finer counts."""
    layouts, counts = rows_of(pipe, b"0\n" * 70_000 + b"0.25\n", SourceOptions(fs=250.0, unit=unit))
    assert [layout.leads[0].gain for layout in layouts] == [1.0, 1000.0]
    assert counts[-1, 0] == 250


def test_large_numbers_with_decimals_fit(pipe: tuple[int, int]) -> None:
    """Values of a 24-bit converter with a decimal point keep one, and do not run into the rails."""
    (layout,), counts = rows_of(pipe, b"8388607.5\n-8388608.0\n" * 10, SourceOptions(fs=250.0))
    assert (counts[:2, 0] / layout.leads[0].gain).tolist() == [8388607.5, -8388608.0]


def test_ragged_lines_have_no_value(pipe: tuple[int, int]) -> None:
    """A line with more or fewer numbers than most has no value, and shifts no column."""
    (layout,), counts = rows_of(pipe, b"1,2\n" * 20 + b"3\n4,5,6\n7,8\n", SourceOptions(fs=250.0))
    assert len(layout.leads) == 2
    assert counts[20:].tolist() == [[MISSING] * 2, [MISSING] * 2, [7, 8]]


def test_another_number_of_columns_is_a_new_run(pipe: tuple[int, int]) -> None:
    """A device that was given another program sends other leads: fifty lines later these are monitored."""
    data = b"1,2\n" * 30_000 + b"7,8,9\n" * 30_000
    layouts, _ = rows_of(pipe, data, SourceOptions(fs=250.0))
    assert [len(layout.leads) for layout in layouts] == [2, 3]


def test_leads_that_are_off_at_first(pipe: tuple[int, int]) -> None:
    """Lines of "!" before the first number have no value, and are samples."""
    (layout,), counts = rows_of(pipe, b"!\n" * 30 + b"512\n" * 5, SourceOptions(fs=250.0))
    assert (len(layout.leads), counts[:, 0].tolist()) == (1, [MISSING] * 30 + [512] * 5)


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (b"1 2\n" * 200, SourceOptions(fs=250.0, columns=(3,)), "2 numbers a line: there is no column 3"),
        (b"1 " * 500 + b"\n" + b"1 " * 500, SourceOptions(fs=250.0), "500 numbers a line: choose up to 16"),
        (b"heart rate: fine\n" * 200, SourceOptions(fs=250.0), "sends text or other data, not rows of numbers"),
        (bytes(range(128, 256)) * 100, SourceOptions(fs=250.0), "sends text or other data"),
        (b"1\n" * 20, SourceOptions(), "ended before its rate could be measured: say it, such as --fs 250"),
        (b"", SourceOptions(fs=250.0), "ended without a line of numbers"),
        (b"hello\n", SourceOptions(fs=250.0), "ended without a line of numbers"),
    ],
)
def test_what_cannot_be_an_ecg(pipe: tuple[int, int], data: bytes, options: SourceOptions, reason: str) -> None:
    """Too many columns, text, nothing at all: one line says what it is."""
    with pytest.raises(SourceError, match=reason):
        rows_of(pipe, data, options)


def test_a_file_is_read_at_the_pace_of_life(pipe: tuple[int, int]) -> None:
    """What comes as fast as it can, as a file does, is two seconds ahead of the clock and no more."""
    write_pipe(pipe[1], b"512\n" * 60_000)
    now_s = [0.0]
    source = RowSource(
        StandardInput(pipe[0]), LineParser(True), SourceOptions(fs=250.0), paced=True, now=lambda: now_s[0]
    )
    source.open()
    sent = 0
    for _ in range(60):
        item = source.read(0.001)
        sent += len(item.counts) if isinstance(item, SourceReading) else 0
    assert sent == pytest.approx(2 * 250, abs=50)
    for _ in range(1000):
        now_s[0] += 0.04
        item = source.read(0.0)
        sent += len(item.counts) if isinstance(item, SourceReading) else 0
    assert sent == pytest.approx(250 * 42, abs=50)


def test_a_file_keeps_its_pace_to_the_millisecond(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes when its turn is, however long a sleep takes: else another rate is measured than is told."""
    write_pipe(pipe[1], b"512\n" * 16_000)
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds + 0.001

    monkeypatch.setattr(time, "sleep", sleep)
    source = RowSource(
        StandardInput(pipe[0]), LineParser(True), SourceOptions(fs=250.0), paced=True, now=lambda: now_s[0]
    )
    source.open()
    sent, late_s = 0, []
    while now_s[0] < 20:
        item = source.read(0.05)
        if isinstance(item, SourceReading) and len(item.counts):
            if now_s[0] > 1:
                late_s.append(now_s[0] + 2 - sent / 250)
            sent += len(item.counts)
    assert len(late_s) == pytest.approx(190, abs=2)
    assert max(late_s) < 0.01


@pytest.mark.parametrize("text", ["mv/s", "volts", "0mV", "-1uV", "2.9", "counts2"])
def test_units_that_make_no_sense(text: str) -> None:
    """A unit in words is refused with those that there are."""
    with pytest.raises(ConfigError, match="give uV, mV or V"):
        parse_count_size(text if text != "volts" else "some volts")


def test_other_options_that_make_no_sense() -> None:
    """Rates and columns that cannot be, and sources that nobody knows."""
    for fs in (0.0, -1.0, 10_001.0, float("nan")):
        with pytest.raises(ConfigError, match="makes no sense"):
            check_source_rate(fs)
    for columns in ("0", "1,1", "a", "", "1,,2"):
        with pytest.raises(ConfigError, match="make no sense"):
            parse_columns(columns)
    with pytest.raises(ConfigError, match="no source 'serail:x': give one of -"):
        open_source("serail:x", SourceOptions())
    assert is_source("udp:5005")
    assert not is_source("file.csv")
    assert bed_of_source("-") == "stdin"


# Through sockets


def simulated(settings: Config, classifier: BeatClassifier, record: str, seconds: float) -> list[tuple[int, str]]:
    """R peaks and classes of a record as the simulator sends it."""
    plan = ReplayPlan(record, BED, 0.0, seconds, loop=False, noise=None, snr_db=0.0, seed=0)
    pipeline = Pipeline(settings, classifier)
    results = [item for message in RecordReplay(plan, 1000, run="run") for item in pipeline.push([message])]
    return [(item.sample, item.label) for item in [*results, *pipeline.finish()] if isinstance(item, Beat)]


@pytest.fixture
def one_lead(settings: Config) -> Config:
    return override_config(settings, "monitor", lead="MLII")


def bridged_beats(settings: Config, net: BeatClassifier, source: RowSource) -> list[tuple[int, str]]:
    with RunningBridge(settings, source) as bridge:
        watched = RunningMonitor(settings, net, bridge.endpoint).result()
        bridge.join()
        assert bridge.error is None
    assert watched.ledger.sent == watched.ledger.analysed
    assert watched.ledger.missing == 0
    return watched.beats


def test_the_beats_of_simulate(one_lead: Config, classifier: BeatClassifier, pipe: tuple[int, int]) -> None:
    """A record as lines of microvolts at 125 Hz has the beats that it has through `simulate`, to the sample."""
    write_pipe(pipe[1], b"".join(b"%d\n" % value for value in record_counts("208", 120)))
    options = SourceOptions(fs=125.0, unit=UV, names=("MLII",))
    source = RowSource(StandardInput(pipe[0]), LineParser(whole=True), options)
    expected = simulated(one_lead, classifier, "208", 120)
    assert len(expected) > 200
    assert bridged_beats(one_lead, classifier, source) == expected


def test_the_beats_of_another_rate(one_lead: Config, pipe: tuple[int, int]) -> None:
    """The numbers of the converter at 360 Hz give the same beats within a sample, and the same classes."""
    net = load_beat_classifier("live", "cpu", 1)
    write_pipe(pipe[1], b"".join(b"%d\n" % value for value in record_numbers("208", 120)))
    options = SourceOptions(fs=360.0, unit=CountSize("uV", 5.0), names=("MLII",))
    beats = bridged_beats(one_lead, net, RowSource(StandardInput(pipe[0]), LineParser(whole=True), options))
    expected = simulated(one_lead, net, "208", 120)
    assert len(beats) == len(expected)
    assert max(abs(a - b) for (a, _), (b, _) in zip(beats, expected, strict=True)) <= 1
    assert sum(a != b for (_, a), (_, b) in zip(beats, expected, strict=True)) == 0


def test_losses_close_the_ledger_and_a_late_monitor_fetches_all(one_lead: Config, classifier: BeatClassifier) -> None:
    """Lost samples are a gap for the monitor, which comes late and fetches all; no beat lies in it."""
    counts = record_counts("208", 60)
    layout = SourceLayout(125.0, (source_lead("MLII", "uV", 1.0),))
    script: Script = [(0.0, layout), (0.0, reading(*counts[:3000])), (0.0, reading(*counts[3400:-5], lost=400))]
    source = ScriptedSource([*script, (1e9, None)])
    source.clock = BridgeClock()
    with RunningBridge(one_lead, source) as bridge:
        wait_until(lambda: bridge.stream.samples == 7495, "all samples")
        monitor = RunningMonitor(one_lead, classifier, bridge.endpoint)
        wait_until(lambda: bool(bridge.publisher.subscribers(BED)), "the monitor")
        source.script.insert(0, (0.0, reading(*counts[-5:])))
        wait_until(lambda: monitor.ledger.sent == 7500, "backfill")
        bridge.stop()
        watched = monitor.result()
    assert (watched.ledger.sent, watched.ledger.open) == (7500, 0)
    (gap,) = [item for item in watched.results if isinstance(item, GapClosed)]
    assert (gap.sample, gap.count) == (3000, 400)
    assert len(watched.beats) > 90
    assert not [sample for sample, _ in watched.beats if 3000 <= sample < 3400]


def test_a_jump_is_missing(one_lead: Config, classifier: BeatClassifier) -> None:
    """A loss that was left out is declared missing by the monitor, and what follows is analysed."""
    counts = record_counts("208", 60)
    layout = SourceLayout(125.0, (source_lead("MLII", "uV", 1.0),))
    lost = 125 * 700
    source = ScriptedSource([(0.0, layout), (1e9, None)])
    source.clock = BridgeClock()
    with RunningBridge(one_lead, source) as bridge:
        monitor = RunningMonitor(one_lead, classifier, bridge.endpoint)
        wait_until(lambda: bool(bridge.publisher.subscribers(BED)), "the monitor")
        source.script.insert(0, (0.0, reading(*counts[:3000])))
        wait_until(lambda: monitor.ledger.analysed == 3000, "the first samples")
        source.script.insert(0, (0.0, reading(*counts[3000:], lost=lost)))
        wait_until(lambda: monitor.ledger.sent == 7500 + lost, "the rest")
        bridge.stop()
        watched = monitor.result()
    assert watched.ledger.missing == lost
    assert watched.ledger.analysed == 7500
