import ast
import doctest
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import wfdb
from numpy.typing import NDArray

import agent
from agent import (
    Alarm,
    Beat,
    Config,
    Event,
    Monitor,
    SignalAnalysis,
    analyse,
    detect_r_peaks,
    example,
    load_config,
    score,
)
from agent.analysis.beat_classifier import load_beat_classifier
from agent.core.config import override_config
from agent.core.events import GapClosed, LeadStateChanged, RunEnded, RunStarted, SamplesBridged
from agent.core.wording import event_text
from agent.evaluation.record_analysis import PipelineOutput, analyse_records
from agent.library.live_monitor import Item
from model.errors import CheckpointError, ConfigError
from model.nets.checkpoint_card import find_checkpoint
from model.records.lead_choice import default_lead
from model.records.resample import FS
from model.records.wfdb_records import DATABASE, Record, open_record, read_record_samples, read_reference

ROOT = Path(__file__).parents[1]
Array = NDArray[np.float64]
SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ecg() -> Array:
    return example(seconds=SECONDS)[0]


@pytest.fixture(scope="module")
def whole(ecg: Array) -> SignalAnalysis:
    return analyse(ecg, 360, unit="mV")


def with_gaps(ecg: Array) -> Array:
    """The signal with a missing first and last sample, a missing sample inside, and two missing stretches."""
    values = ecg.copy()
    for part in (slice(0, 1), slice(3_000, 3_001), slice(7_000, 7_900), slice(12_000, 15_000), slice(-1, None)):
        values[part] = np.nan
    return values


def monitored(chunks: Sequence[Array], fs: float = 360, unit: str = "mV", **options: Any) -> list[Item]:
    monitor = Monitor(fs, unit, **options)
    return [item for chunk in chunks for item in monitor.push(chunk)] + monitor.flush()


def by_kind(items: Sequence[Item]) -> tuple[list[Beat], list[Alarm], list[Event]]:
    """Beats, alarms and events: where an alarm stands between two beats depends on when it is announced."""
    return (
        [item for item in items if isinstance(item, Beat)],
        [item for item in items if isinstance(item, Alarm)],
        [item for item in items if isinstance(item, Event)],
    )


def evaluated(record: Record, settings: Config) -> PipelineOutput:
    classify = load_beat_classifier(settings.monitor.weights, settings.monitor.device, 1)
    return analyse_records([record], settings, classify, lambda _: None)[0][record.name]


def at_rate(index: int | None, fs: float, last: int) -> int | None:
    return None if index is None else min(round(index * fs / FS), last)


def assert_same(items: Sequence[Item], expected: PipelineOutput, fs: float, length: int) -> None:
    """Beats and alarms are those of the command, with indices at the caller's rate."""

    def converted(item: Any, names: Sequence[str]) -> Any:
        indices = {name: at_rate(getattr(item, name), fs, length - (name != "ended")) for name in names}
        return replace(item, bed="ecg", run="run", **indices)

    beats, alarms, _ = by_kind(items)
    assert beats == [converted(beat, ("sample", "class_known", "r_peak_known")) for beat in expected.beats]
    assert alarms == [converted(alarm, ("onset", "announced", "ended")) for alarm in expected.alarms]


def lead_of(record: Record) -> tuple[Array, tuple[float, float]]:
    """The default lead of a record and its rails."""
    lead = default_lead(tuple(signal.name for signal in record.signals))
    return read_record_samples(record)[:, lead], (record.signals[lead].low, record.signals[lead].high)


def written(folder: Path, samples: Array, fs: float, unit: str = "mV", gain: float = 1000.0) -> Record:
    """A WFDB record of one lead."""
    wfdb.wrsamp(
        "own", fs, [unit], ["II"], samples[:, None], fmt=["16"], adc_gain=[gain], baseline=[0], write_dir=str(folder)
    )
    return open_record(str(folder / "own"))


def test_same_as_the_command(settings: Config) -> None:
    """Beats, probabilities and alarms of one lead of record 208 are those of `evaluate`, bit for bit."""
    record = replace(open_record("208"), length=3 * 60 * 360)
    samples, rails = lead_of(record)
    expected = evaluated(record, override_config(settings, "monitor", lead="MLII"))
    assert len(expected.beats) > 300
    assert expected.alarms
    items = monitored([samples], config=settings, rails=rails)
    assert_same(items, expected, 360, len(samples))


@pytest.mark.parametrize(("fs", "unit", "scale"), [(360, "mV", 1.0), (100, "mV", 1.0), (125, "uV", 1000.0)])
@pytest.mark.slow
def test_same_as_the_command_with_gaps(
    ecg: Array, tmp_path: Path, settings: Config, fs: int, unit: str, scale: float
) -> None:
    """A record with missing stretches gives the beats and alarms of `evaluate`, whatever its rate and unit."""
    record = written(tmp_path, with_gaps(ecg) * scale, fs, unit, 1000.0 / scale)
    samples, rails = lead_of(record)
    assert np.isnan(samples).sum() == 3_903
    expected = evaluated(record, settings)
    assert expected.beats
    assert_same(monitored([samples], fs, unit, config=settings, rails=rails), expected, fs, len(samples))


@pytest.mark.parametrize("size", [1, 7, 360, 0])
@pytest.mark.parametrize("fs", [100, 360])
@pytest.mark.slow
def test_chunks_do_not_matter(ecg: Array, size: int, fs: float) -> None:
    """Chunks of 1, 7 or 360 samples, or of random sizes with empty ones, change no beat, alarm or event."""
    signal = with_gaps(ecg)[: {1: 2_000, 7: 9_000}.get(size)]
    random = np.random.default_rng(1)
    edges = np.sort(random.integers(0, len(signal), 100)) if size == 0 else np.arange(size, len(signal), size)
    assert by_kind(monitored(np.split(signal, edges), fs)) == by_kind(monitored([signal], fs))


def test_monitors_side_by_side(ecg: Array, whole: SignalAnalysis) -> None:
    """Two monitors that take turns do not disturb each other."""
    other_signal = example("119", SECONDS)[0]
    ours, other = Monitor(360, "mV"), Monitor(360, "mV", name="other")
    items: list[Item] = []
    others: list[Item] = []
    for mine, theirs in zip(np.array_split(ecg, 40), np.array_split(other_signal, 40), strict=True):
        items += ours.push(mine)
        others += other.push(theirs)
    items += ours.flush()
    others += other.flush()
    assert by_kind(items)[0] == list(whole.beats)
    assert {item.bed for item in others} == {"other"}
    assert [beat.sample for beat in by_kind(others)[0]] == detect_r_peaks(other_signal, 360).tolist()


@pytest.mark.parametrize("fs", [62.5, 100, 125, 130, 250, 360, 500, 1000])
def test_indices_are_at_the_callers_rate(ecg: Array, fs: float) -> None:
    """Every index of a result lies in the signal, within one sample of its index at 125 Hz."""
    signal = np.interp(np.arange(0, 20, 1 / fs), np.arange(len(ecg)) / 360, ecg)[:-1]
    items = monitored([signal], fs)
    at_125_hz = beats_at_125_hz(signal, fs)
    beats = by_kind(items)[0]
    assert len(beats) == len(at_125_hz) > 20
    for beat, reference in zip(beats, at_125_hz, strict=True):
        assert abs(beat.sample - reference.sample * fs / FS) <= 1
        assert 0 <= beat.sample <= beat.r_peak_known <= beat.class_known < len(signal)
    started, ended = items[0], items[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(ended, RunEnded)
    assert (started.sample, started.fs, ended.sample) == (0, fs, len(signal))


def beats_at_125_hz(signal: Array, fs: float) -> list[Beat]:
    """The beats of a signal with their indices at 125 Hz."""
    monitor = Monitor(fs, "mV")
    monitor._convert = lambda results: [item for item in results if isinstance(item, Beat)]  # type: ignore[method-assign]
    return [item for item in [*monitor.push(signal), *monitor.flush()] if isinstance(item, Beat)]


@pytest.mark.parametrize(
    ("unit", "scale"), [("uV", 1e3), ("µV", 1e3), ("\N{GREEK SMALL LETTER MU}V", 1e3), ("V", 1e-3)]
)
def test_units(ecg: Array, whole: SignalAnalysis, unit: str, scale: float) -> None:
    """The same signal in another unit gives the same beats and alarms."""
    scaled = analyse(ecg * scale, 360, unit=unit)
    assert (scaled.beats, scaled.alarms) == (whole.beats, whole.alarms)


@pytest.mark.slow
def test_inputs_that_are_as_good_as_float64(ecg: Array, whole: SignalAnalysis) -> None:
    """Lists, views, pandas Series, float32 and integers give the same R peaks, and no input is changed."""
    microvolts = np.rint(ecg * 1000).astype(np.int16)
    before = microvolts.copy()
    inputs = [microvolts, microvolts.tolist(), microvolts.astype(np.float32), np.stack([microvolts] * 2, axis=1)[:, 1]]
    inputs += [pd.Series(microvolts, index=range(5, 5 + len(microvolts))), microvolts.astype(">i4")]
    for values in inputs:
        assert detect_r_peaks(values, 360, unit="uV").tolist() == whole.r_peaks.tolist()
    assert np.array_equal(microvolts, before)
    read_only = ecg.copy()
    read_only.flags.writeable = False
    assert detect_r_peaks(read_only, 360).tolist() == whole.r_peaks.tolist()


def test_masked_samples_have_no_value(ecg: Array) -> None:
    """A masked sample is one without a value, like NaN."""
    gaps = with_gaps(ecg)
    masked = np.ma.masked_array(np.nan_to_num(gaps, nan=99.0), np.isnan(gaps))
    assert analyse(masked, 360, unit="mV") == analyse(gaps, 360, unit="mV")


def test_gaps(ecg: Array) -> None:
    """Missing stretches are events around the missing samples, and the coverage counts exactly these samples.

    A missing sample inside is bridged.
    """
    gaps = with_gaps(ecg)
    result = analyse(gaps, 360, unit="mV")
    closed = [event for event in result.events if isinstance(event, GapClosed)]
    assert len(closed) == 4
    (bridged,) = (event for event in result.events if isinstance(event, SamplesBridged))
    assert abs(bridged.sample - 3_000) <= 3
    for event, (start, stop) in zip(closed[1:3], [(7_000, 7_900), (12_000, 15_000)], strict=True):
        assert start - 40 < event.sample <= start
        assert stop <= event.sample + event.count < stop + 40
        assert event_text(event).startswith(f"gap of {event.count / 360:.2f} s: {event.count} samples")
    assert result.coverage.missing_s == np.isnan(gaps).sum() / 360
    assert not [beat for beat in result.beats if np.isnan(gaps[beat.sample])]


@pytest.mark.parametrize("length", [0, 1, 2, 40, 5_001])
@pytest.mark.parametrize("value", [np.nan, 0.0, 1.3, 200.0, 1e308])
def test_signals_without_beats(length: int, value: float) -> None:
    """Empty, short, missing, constant and absurd signals have no R peaks worth a rate, and raise nothing."""
    signal = np.full(length, value)
    result = analyse(signal, 360, unit="mV")
    assert len(result.beats) <= 1
    assert (result.rhythm.heart_rate_bpm, result.rhythm.rmssd_ms, result.rhythm.sdnn_ms) == (None, None, None)
    assert result.coverage.duration_s == length / 360
    assert result.coverage.missing_s == (length / 360 if np.isnan(value) else 0)
    assert len(result.beats_frame()) == len(result.beats)
    if length > 5_000 and not np.isnan(value):
        assert 11.5 < result.coverage.lead_off_s < result.coverage.duration_s


def test_rails_tell_saturation_from_a_lead_that_is_off() -> None:
    """A flat signal at a rail is saturated, any other is a lead that is off."""
    for value, state in ((2.5, "saturated"), (0.5, "lead off")):
        result = analyse(np.full(1_000, value), 250, unit="mV", rails=(-2.5, 2.5))
        assert next(event.state for event in result.events if isinstance(event, LeadStateChanged)) == state


@pytest.mark.parametrize("offset", [20.0, -130.0, 1000.0])
def test_an_offset_costs_no_beat(ecg: Array, whole: SignalAnalysis, offset: float) -> None:
    """The offset of a DC-coupled electrode neither hides beats nor makes any."""
    assert detect_r_peaks(ecg + offset, 360).tolist() == whole.r_peaks.tolist()


def test_results(ecg: Array, whole: SignalAnalysis) -> None:
    """Peaks, counts, frame and the representation of a result agree, and it can be pickled."""
    assert whole.r_peaks.dtype == np.int64
    assert whole.r_peaks.tolist() == [beat.sample for beat in whole.beats] == detect_r_peaks(ecg, 360).tolist()
    assert sum(whole.rhythm.counts.values()) == len(whole.beats)
    frame = whole.beats_frame()
    assert list(frame) == ["sample", "time_s", "label", "confidence", "rr_s", "heart_rate"]
    assert frame["sample"].tolist() == whole.r_peaks.tolist()
    assert np.isnan(frame["rr_s"][0])
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert len(repr(whole)) < 120
    assert repr(whole).startswith("<SignalAnalysis of 60 s at 360 Hz: ")


class TestRefusals:
    @pytest.mark.parametrize(
        "samples",
        [
            np.zeros((10, 1)),
            np.zeros((10, 2)),
            pd.DataFrame({"ecg": [1.0, 2.0]}),
            3.0,
            None,
            "0.1",
            ["0.1", "0.2"],
            [1.0, None],
            [[1.0], [1.0, 2.0]],
            np.ones(5, bool),
            np.ones(5, complex),
            np.array([1.0, 2.0], object),
            np.array(["2026-01-01"], "M8[D]"),
            [0.0, np.inf],
            [0.0, -np.inf],
            (value for value in (1.0, 2.0)),
            {"ecg": [1.0]},
        ],
    )
    def test_samples(self, samples: Any) -> None:
        """Anything but one lead of real numbers is refused, and the monitor goes on as if it had not come."""
        monitor = Monitor(250, "mV")
        with pytest.raises(ValueError, match=r"^samples must .*"):
            monitor.push(samples)
        assert isinstance(monitor.push([0.0] * 50)[0], RunStarted)

    @pytest.mark.parametrize(
        "fs",
        [
            0,
            -1,
            19.9,
            10_001,
            1e300,
            np.nan,
            np.inf,
            "360",
            None,
            True,
            1j,
            [250],
            np.array([250]),
            44_100,
        ],
    )
    def test_rates(self, fs: Any) -> None:
        """A rate is a number of hertz; the message gives the range."""
        with pytest.raises(ValueError, match=r"^fs.* must be (a finite number|from 20 to 10000 Hz)"):
            analyse([0.0], fs, unit="mV")

    @pytest.mark.parametrize("unit", ["mmHg", "", "bpm", None, 1, ["mV"], b"mV"])
    def test_units(self, unit: Any) -> None:
        """A unit is one of a voltage or of raw counts, and the message names them."""
        with pytest.raises(ValueError, match=r"^unit must be 'mV', 'uV', 'µV', 'nV' or 'V', or 'counts' .*, not "):
            Monitor(250, unit)

    @pytest.mark.parametrize("rails", [5, (1,), (1, 2, 3), "ab", (2, 1), (0, 0), (np.nan, 1), (None, 1), (-np.inf, 1)])
    def test_rails(self, rails: Any) -> None:
        """Rails are two ascending numbers."""
        with pytest.raises(ValueError, match="rails must "):
            Monitor(250, "mV", rails=rails)

    @pytest.mark.parametrize("config", [{}, "config.toml", 0])
    def test_settings(self, config: Any) -> None:
        """Settings are a Config; the message names the function that makes one."""
        with pytest.raises(ValueError, match=r"^config must be what agent\.load_config returns"):
            Monitor(250, "mV", config)

    def test_names(self) -> None:
        """The name of a monitor is text."""
        with pytest.raises(ValueError, match="name must be text, not int"):
            Monitor(250, "mV", name=5)  # type: ignore[arg-type]

    def test_after_the_end(self) -> None:
        """After flush nothing can be pushed, and a second flush returns nothing."""
        monitor = Monitor(250, "mV")
        monitor.push([0.0])
        assert monitor.flush()
        assert monitor.flush() == []
        with pytest.raises(ValueError, match="make a new Monitor"):
            monitor.push([])

    @pytest.mark.parametrize("record", ["999", "", "../208", None, "/etc/passwd"])
    def test_examples(self, record: Any) -> None:
        """Only embedded records are examples; the message names them."""
        with pytest.raises(ValueError, match="choose one of 100, 101"):
            example(record)

    @pytest.mark.parametrize("seconds", [0, -1, np.nan, np.inf, "3"])
    def test_lengths_of_examples(self, seconds: Any) -> None:
        """The length of an example is a positive number of seconds."""
        with pytest.raises(ValueError, match="seconds must be "):
            example(seconds=seconds)

    def test_messages_have_one_line(self) -> None:
        """However long the wrong value is, the message is one line."""
        with pytest.raises(ValueError, match="fs") as caught:
            analyse([0.0], np.zeros((20, 20)), unit="mV")  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500

    def test_errors_of_the_inside_pass(self, settings: Config) -> None:
        """Missing weights are a CheckpointError, a missing file of settings a ConfigError."""
        with pytest.raises(CheckpointError):
            Monitor(250, "mV", replace(settings, monitor=replace(settings.monitor, weights="nowhere")))
        with pytest.raises(ConfigError):
            load_config("nowhere.toml")


def test_settings_of_devices_do_not_matter(whole: SignalAnalysis, ecg: Array, settings: Config) -> None:
    """A lead that the settings choose for devices refuses no signal of a guest."""
    config = replace(settings, monitor=replace(settings.monitor, lead="V5"))
    assert analyse(ecg, 360, unit="mV", config=config).beats == whole.beats


def test_settings_change_results(ecg: Array, tmp_path: Path) -> None:
    """A file of settings, named by text or path, changes what is alarmed."""
    path = tmp_path / "own.toml"
    path.write_text("[alarms]\nrate_high_bpm = 80\n")
    for own in (path, str(path)):
        result = analyse(ecg, 360, unit="mV", config=load_config(own, {}))
        assert "extreme tachycardia" in {alarm.condition for alarm in result.alarms}


def test_weights_are_loaded_once(tmp_path: Path, settings: Config) -> None:
    """Monitors share their net, until its file changes."""
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(find_checkpoint(settings.monitor.weights).read_bytes())
    config = replace(settings, monitor=replace(settings.monitor, weights=str(weights)))
    nets = [Monitor(250, "mV", config)._pipeline._classify for _ in range(2)]
    assert nets[0] is nets[1]
    os.utime(weights, ns=(1, 1))
    assert Monitor(250, "mV", config)._pipeline._classify is not nets[0]


class TestScore:
    def test_results_against_a_reference(self, whole: SignalAnalysis) -> None:
        """Results, their beats, arrays and wfdb's annotations all score alike."""
        reference = read_reference(open_record("208"))
        scores = [
            score(reference, test, 360, start_s=0, end_s=SECONDS)
            for test in (
                whole,
                whole.beats,
                list(whole.beats),
                (whole.r_peaks, [beat.label for beat in whole.beats]),
            )
        ]
        assert scores[0].qrs.true_positives > 100
        assert (scores[0].veb.sensitivity or 0) > 0.9
        for other in scores[1:]:
            assert (other.qrs, other.veb, other.sveb) == (scores[0].qrs, scores[0].veb, scores[0].sveb)
        assert score(reference, whole.r_peaks, 360, start_s=0, end_s=SECONDS).qrs == scores[0].qrs
        annotations = wfdb.rdann(str(DATABASE / "mitdb" / "208"), "atr")
        assert score(annotations, whole, 360, start_s=0, end_s=SECONDS).veb == scores[0].veb

    def test_without_beats(self, whole: SignalAnalysis) -> None:
        """Results without a beat are scored, not refused."""
        nothing = analyse(np.zeros(100), 360, unit="mV")
        missed = score(whole, nothing, 360, start_s=0, end_s=SECONDS).qrs
        assert (missed.true_positives, missed.false_negatives) == (0, len(whole.beats))
        extra = score(nothing, whole, 360, start_s=0, end_s=SECONDS).qrs
        assert (extra.true_positives, extra.false_positives) == (0, len(whole.beats))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([1.5, 2.5], [1], 360), "array \\(n,\\) of integers"),
            ((None, [1], 360), "array \\(n,\\) of integers"),
            (([2, 1], [1], 360), "ascend"),
            ((([1, 2], ["X", "Y"]), [1], 360), "'X' is no WFDB annotation symbol"),
            ((([1, 2], ["N"]), [1], 360), "2 samples but 1 symbols"),
            (([1], [1], "360"), "fs, the sampling rate in hertz, must be a finite number, not '360'"),
            (([1], [1], 0), "sampling rate of 0"),
        ],
    )
    def test_refusals(self, arguments: tuple[Any, Any, Any], message: str) -> None:
        """What cannot be scored is a ValueError that says why."""
        with pytest.raises(ValueError, match=message):
            score(*arguments)

    def test_times_and_rates(self, whole: SignalAnalysis) -> None:
        """Times are numbers, and results are scored at their own rate only."""
        for options in ({"start_s": "0"}, {"start_s": np.nan}, {"end_s": "9"}, {"start_s": -1}):
            with pytest.raises(ValueError, match="start" if "start_s" in options else "end_s"):
                score(whole, whole, 360, **options)
        with pytest.raises(ValueError, match="the results to score are at 360 Hz, not 250: pass fs=360"):
            score(whole, whole, 250)


def loaded_by(statement: str) -> set[str]:
    """The modules that a new Python has loaded after a statement."""
    command = [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.slow
def test_names_are_loaded_when_they_are_used() -> None:
    """`import agent` loads neither NumPy nor PyTorch, and results and settings need no PyTorch."""
    assert not {"numpy", "torch", "scipy", "pandas", "msgspec"} & loaded_by("import agent")
    assert not {"torch", "scipy", "pandas"} & loaded_by("from agent import Alarm, Beat, Config, Event, load_config")
    assert "pandas" not in loaded_by("from agent import Monitor, analyse")


def test_public_names() -> None:
    """`__all__` is what `dir` lists, is sorted, and every name can be imported; others raise AttributeError."""
    assert dir(agent) == agent.__all__ == sorted(agent.__all__)
    assert set(agent._HOMES) == set(agent.__all__)
    for name in agent.__all__:
        assert getattr(agent, name) is getattr(import_module(agent._HOMES[name]), name)
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = agent.nowhere


def modules_with_examples() -> list[str]:
    """Modules of agent/ and model/ whose docstrings have examples."""
    paths = [path for folder in ("agent", "model") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if "    >>> " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of_docstrings(name: str) -> None:
    """The examples in docstrings give what they show."""
    assert doctest.testmod(import_module(name)).failed == 0


def test_types_are_seen() -> None:
    """A type checker sees where each public name comes from, and every parameter and result has a type."""
    tree = ast.parse(Path(str(agent.__file__)).read_text(encoding="utf-8"))
    homes = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == agent._HOMES
    for call in (Monitor.push, Monitor.flush, analyse, detect_r_peaks, example, load_config, score):
        names = set(signature(call).parameters) - {"self"}
        assert names | {"return"} <= set(call.__annotations__)
