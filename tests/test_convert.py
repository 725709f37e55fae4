"""agent.export.convert: recordings listed, and written as EDF+, CSV and JSON lines."""

import csv
import json
import re
import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.edf_rules import check_edf_rules
from support.recordings import CONFIG, LEADS, NOW, WIDE, Message, recorded, stream, troubled, two_leads
from typer.testing import CliRunner

from agent.analysis.beat_classifier import BeatClassifier
from agent.cli.app import app
from agent.core.config import Config, override_config
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, Gap, Lead
from agent.core.wording import event_text
from agent.export import convert as module
from agent.export.convert import convert_recording, show_sessions
from agent.export.edf import LOWEST
from agent.outputs.json_lines import beat_to_json
from agent.pipeline.pipeline import Pipeline
from agent.recording.recorded_segments import RecordedSegment, SegmentTimes, read_segment_counts
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from model.errors import ConfigError, RecordError, RunError
from model.formats.signal_file import open_signal_file
from model.records.wfdb_records import read_record_samples

NewWard = Callable[[], Pipeline]


@pytest.fixture(scope="module")
def made_troubled(tmp_path_factory: pytest.TempPathFactory, settings: Config, classifier: BeatClassifier) -> Path:
    """Two runs of other leads and rates."""
    made = tmp_path_factory.mktemp("made") / "troubled"
    recorded(made, troubled(), Pipeline(settings, classifier))
    return made


@pytest.fixture
def troubled_folder(tmp_path: Path, made_troubled: Path) -> Path:
    """A copy of that recording."""
    return shutil.copytree(made_troubled, tmp_path / "rec")


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory: pytest.TempPathFactory, settings: Config, classifier: BeatClassifier) -> Path:
    """One bed, two runs of the same leads, holes and values missing, several segments."""
    signal = two_leads("208", 60)
    signal[2000:2010, 0] = signal[3000:3400] = MISSING
    messages: list[Message] = [
        *stream(signal[:5000], first=500),
        Gap("1", "run", 5500, 9000, 125.0, "never arrived"),
        *stream(signal[5000:], first=14_500),
        End("1", "run", 17_000, 125.0),
        *stream(signal[:2500], run="next", first=40),
    ]
    made = tmp_path_factory.mktemp("made") / "rec"
    one_lead = override_config(settings, "monitor", lead="MLII")
    recorded(made, messages, Pipeline(one_lead, classifier), replace(CONFIG, rotate_min=0.3))
    return made


@pytest.fixture
def folder(tmp_path: Path, made_folder: Path) -> Path:
    """A copy of that recording."""
    return shutil.copytree(made_folder, tmp_path / "rec")


def segments_of(folder: Path) -> list[RecordedSegment]:
    with RecordedSession(folder) as session:
        return session.segments("1")


def beats_in(folder: Path) -> list[Beat]:
    with RecordedSession(folder) as session:
        return list(session.beats("1"))


def alarms_in(folder: Path) -> list[Alarm]:
    with RecordedSession(folder) as session:
        return list(session.alarms("1"))


def all_counts(folder: Path) -> NDArray[np.int32]:
    return np.concatenate([read_segment_counts(segment, 0, segment.count) for segment in segments_of(folder)])


def physical(found: NDArray[np.int32], leads: tuple[Lead, ...]) -> NDArray[np.float64]:
    values = (found - np.array([lead.offset for lead in leads])) / np.array([lead.gain for lead in leads])
    return np.where(found == MISSING, np.nan, values)


def rows(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="") as file:
        header, *found = csv.reader(file)
    return header, found


def test_csv(folder: Path, tmp_path: Path) -> None:
    """A row a recorded sample: index and time in its run, the value of each lead, the beat's class, the run."""
    convert_recording(folder, tmp_path / "out.csv")
    header, found = rows(tmp_path / "out.csv")
    assert header == ["sample", "time_s", "time", "MLII (mV)", "V1 (mV)", "beat", "run"]
    segments = segments_of(folder)
    assert len(segments) >= 6
    index = [(s.run == "next", s.first + i) for s in segments for i in range(s.count)]
    assert [(row[6] == "2", int(row[0])) for row in found] == index
    assert [float(row[1]) for row in found] == [at / 125 for _, at in index]
    values = np.array([[float(value) if value else np.nan for value in row[3:5]] for row in found])
    np.testing.assert_array_equal(values, physical(all_counts(folder), LEADS))
    with RecordedSession(folder) as session:
        beats = [
            (run == "next", beat.sample, beat.label) for run in ("run", "next") for beat in session.beats("1", run=run)
        ]
    assert [(row[6] == "2", int(row[0]), row[5]) for row in found if row[5]] == sorted(beats)
    assert len(beats) > 100
    walls = [segment.started_s + i / 125 for segment in segments for i in range(segment.count)]
    found_s = [datetime.fromisoformat(row[2]).timestamp() for row in found]
    np.testing.assert_allclose(found_s, walls, atol=0.001)
    assert found[0][2] == "2025-01-01T00:00:00.250+00:00"


def test_csv_of_another_rate(troubled_folder: Path, tmp_path: Path) -> None:
    """Beats stand at the sample nearest to them at the recording's own rate, and values tell every count apart."""
    convert_recording(troubled_folder / "1" / "0003.hea", tmp_path / "out.csv")
    header, found = rows(tmp_path / "out.csv")
    assert header == ["sample", "time_s", "time", "II (mV)", "beat"]
    assert found[0][:2] == ["77", "0.308"]
    back = np.rint(np.array([float(row[3]) for row in found]) * WIDE[0].gain + WIDE[0].offset)
    np.testing.assert_array_equal(back, read_segment_counts(segments_of(troubled_folder)[2], 0, 10**6)[:, 0])
    with RecordedSession(troubled_folder) as session:
        beats = [(2 * beat.sample, beat.label) for beat in session.beats("1", run="next")]
    assert [(int(row[0]), row[4]) for row in found if row[4]] == beats
    assert len(beats) > 50


@pytest.mark.parametrize("fs", [125.0, 360.0, 257.0, 62.5, 333.333])
def test_csv_times(tmp_path: Path, new_ward: NewWard, fs: float) -> None:
    """Times are those of the samples, to a microsecond, at any rate and from any index on."""
    recorded(tmp_path / "rec", stream(two_leads("100", 5), fs=fs, first=12_345), new_ward())
    convert_recording(tmp_path / "rec", tmp_path / "out.csv")
    _, found = rows(tmp_path / "out.csv")
    assert [float(row[1]) for row in found] == [round(int(row[0]) / fs, 6) for row in found]
    assert len(found) == 625


def test_csv_of_odd_names(tmp_path: Path, new_ward: NewWard) -> None:
    """Names with commas, quotes and other letters do not break the table."""
    leads = (Lead('a,"b', "µV", 1.0, 0.0, -100, 100), Lead("Ableitung Ω", "mmHg", 3.0, 0.5, -100, 100))
    recorded(tmp_path / "rec", stream(two_leads("100", 1), leads=leads), new_ward())
    convert_recording(tmp_path / "rec", tmp_path / "out.csv")
    assert rows(tmp_path / "out.csv")[0] == ["sample", "time_s", "time", 'a,"b (µV)', "Ableitung Ω (mmHg)", "beat"]


def test_json_lines(folder: Path, tmp_path: Path) -> None:
    """The lines are those of the monitor, in its order; only how long they took is not known any more."""
    convert_recording(folder, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    with RecordedSession(folder) as session:
        times = SegmentTimes(session.segments("1"))
        beats = [beat_to_json(beat, 0.0, None, times.time_of(beat.run, beat.sample)) for beat in session.beats("1")]
        events = [event_text(event) for _, event in session.events("1")]
    assert [line for line in lines if line["type"] == "beat"] == beats
    assert [line["text"] for line in lines if line["type"] == "event"] == events
    kinds = [line.get("kind", "beat") for line in lines]
    assert [kind for kind in kinds if kind != "beat"] == ["start", "gap", "gap", "gap", "end", "start", "gap"]
    starts = [i for i, kind in enumerate(kinds) if kind == "start"]
    assert starts[0] == 0
    assert kinds[starts[1] - 1] == "end"
    for first, stop in ((0, starts[1]), (starts[1], len(lines))):
        samples = [line["sample"] for line in lines[first:stop] if line["type"] == "beat"]
        assert samples == sorted(samples)
    assert beats[0]["added_ms"] is None
    assert beats[0]["algorithmic_ms"] > 0


def test_json_lines_of_a_segment(folder: Path, tmp_path: Path) -> None:
    """Of one segment those within it are told; a copy without its session does not know them."""
    second = segments_of(folder)[1]
    convert_recording(second.path, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    samples = [line["sample"] for line in lines if line["type"] == "beat"]
    assert (
        samples
        == [beat.sample for beat in beats_in(folder) if second.first <= beat.sample < second.first + second.count][
            : len(samples)
        ]
    )
    assert len(samples) > 20
    shutil.copytree(second.path.parent, tmp_path / "copy")
    with pytest.raises(RecordError, match="copied out of its recording"):
        convert_recording(tmp_path / "copy" / "0002", tmp_path / "other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()


def digital(edf: edfio.Edf) -> NDArray[np.int64]:
    return np.stack([signal.digital.astype(np.int64) for signal in edf.signals], axis=1)


def raw(path: Path) -> tuple[list[str], NDArray[np.int16], bytes]:
    """Labels, samples (n, leads) and annotation bytes of an EDF file, read by its specification and no library."""
    content = path.read_bytes()
    size, records, signals = int(content[184:192]), int(content[236:244]), int(content[252:256])
    assert len(content[:8].strip()) == 1
    assert content[192:197] == b"EDF+C"
    fields = content[256:size]
    labels = [fields[16 * i : 16 * i + 16].decode().strip() for i in range(signals)]
    at = signals * (16 + 80 + 8 + 8 + 8 + 8 + 8 + 80)
    sizes = [int(fields[at + 8 * i : at + 8 * i + 8]) for i in range(signals)]
    data = np.frombuffer(content[size:], "<i2").reshape(records, sum(sizes))
    parts = np.split(data, np.cumsum(sizes)[:-1], axis=1)
    return labels, np.stack([part.ravel() for part in parts[:-1]], axis=1), parts[-1].tobytes()


def test_edf(folder: Path, tmp_path: Path) -> None:
    """Every count stands at its time, exactly; beats and what is missing are annotations, nobody is named."""
    convert_recording(folder, tmp_path / "out.edf")
    edf = edfio.read_edf(tmp_path / "out.edf")
    assert (edf.reserved, edf.is_continuous, edf.labels) == ("EDF+C", True, ("MLII", "V1"))
    assert edf.local_patient_identification == "X X X X"
    assert edf.local_recording_identification == "Startdate 01-JAN-2025 X X ecg-agent"
    start_s = segments_of(folder)[0].started_s
    assert edf.startdatetime.timestamp() - datetime(1970, 1, 1).timestamp() == pytest.approx(start_s, abs=1 / 128)
    places = [s.first - 500 if s.run == "run" else 16_500 + s.first - 40 for s in segments_of(folder)]
    wanted = np.full((len(edf.signals[0].digital), 2), LOWEST)
    for place, segment in zip(places, segments_of(folder), strict=True):
        found = read_segment_counts(segment, 0, segment.count)
        wanted[place : place + segment.count] = np.where(found == MISSING, LOWEST, found)
    np.testing.assert_array_equal(digital(edf), wanted)
    others = [a for a in edf.annotations if a.text not in set("NSVFQ") and not a.text.startswith("alarm: ")]
    texts = [(a.onset, a.duration, a.text) for a in others]
    assert texts == [
        (16.0, 0.08, "no value: MLII"),
        (24.0, 3.2, "no value"),
        (40.0, 72.0, "not recorded"),
        (148.0, 0.08, "no value: MLII"),
    ]
    with RecordedSession(folder) as session:
        beats = [(beat.sample - 500, beat.label) for beat in session.beats("1", run="run")]
        beats += [(beat.sample - 40 + 16_500, beat.label) for beat in session.beats("1", run="next")]
    assert [(round(a.onset * 125), a.text) for a in edf.annotations if a.text in set("NSVFQ")] == beats


def test_edf_by_its_specification(folder: Path, tmp_path: Path) -> None:
    """The file is what the specification says, read without the library that wrote it."""
    convert_recording(folder / "1" / "0001", tmp_path / "out.edf")
    labels, found, notes = raw(tmp_path / "out.edf")
    segment = segments_of(folder)[0]
    wanted = read_segment_counts(segment, 0, segment.count)
    assert labels == ["MLII", "V1", "EDF Annotations"]
    np.testing.assert_array_equal(found[: segment.count], np.where(wanted == MISSING, LOWEST, wanted))
    assert (found[segment.count :] == LOWEST).all()
    told = re.findall(rb"\+([0-9.]+)\x14([NSVFQ])\x14\x00", notes)
    lies = [beat for beat in beats_in(folder) if beat.sample < 500 + segment.count][: len(told)]
    offset_s = float(re.findall(rb"^\+([0-9.]+)\x14\x14\x00", notes)[0])
    assert [(round((float(at) - offset_s) * 125), name.decode()) for at, name in told] == [
        (beat.sample - 500, beat.label) for beat in lies
    ]
    assert len(told) > 20


@pytest.mark.parametrize(
    ("lead", "unit"),
    [
        (Lead("a", "mV", 1000.0, 0.0, -100, 100), "uV"),
        (Lead("a", "mV", 200.0, -1024.0, -100, 100), "uV"),
        (Lead("a", "mV", 409.6, 0.25, -100, 100), "mV"),
        (Lead("a", "V", 1e6, 0.0, -100, 100), "uV"),
        (Lead("a", "µV", 1.0, 0.0, -100, 100), "uV"),
        (Lead("a", "mmHg", 37.3, 1e4, -100, 100), "mmHg"),
        (Lead("a", "Ω·cm²/kg·m", 10.0, 0.0, -100, 100), "??cm?/kg"),
    ],
)
def test_edf_ranges(tmp_path: Path, new_ward: NewWard, lead: Lead, unit: str) -> None:
    """Physical values are right to half a count, though EDF has eight characters for the ends of a range."""
    recorded(tmp_path / "rec", stream(two_leads("100", 2)[:, :1], leads=(lead,)), new_ward())
    convert_recording(tmp_path / "rec", tmp_path / "out.edf")
    signal = edfio.read_edf(tmp_path / "out.edf").signals[0]
    factor = {"V": 1e6, "mV": 1e3}.get(lead.unit, 1.0) if signal.physical_dimension == "uV" else 1.0
    values = factor * physical(all_counts(tmp_path / "rec"), (lead,))[:, 0]
    assert signal.physical_dimension == unit
    np.testing.assert_allclose(signal.data[: len(values)], values, rtol=0, atol=0.5 * factor / lead.gain)


def test_edf_range_without_digits(tmp_path: Path, new_ward: NewWard) -> None:
    """A range that eight characters cannot tell is refused, with another format to take."""
    lead = Lead("a", "mmHg", 1e9, 0.0, -100, 100)  # its range is within ±0.00003
    recorded(tmp_path / "rec", stream(two_leads("100", 2)[:, :1], leads=(lead,)), new_ward())
    with pytest.raises(RecordError, match=r"too few digits for the range of lead a in mmHg: use \.csv"):
        convert_recording(tmp_path / "rec", tmp_path / "out.edf")
    assert list(tmp_path.glob("out*")) == []


@given(
    low=st.integers(-(2**23), 2**23),
    span=st.one_of(st.integers(1, 70_000), st.integers(1, 2**31)),
    seed=st.integers(0, 2**31),
)
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_edf_of_wide_counts(tmp_path: Path, low: int, span: int, seed: int) -> None:
    """Counts beyond 16 bits are told exactly where their range fits, else in the smallest steps that do."""
    high = min(low + span, 2**31 - 1)  # of a converter of 24 bits, and more
    found = np.random.default_rng(seed).integers(low, high, (300, 1), endpoint=True).astype(np.int32)
    found[:3, 0], found[7] = (low, high, low), MISSING
    shutil.rmtree(tmp_path / "rec", ignore_errors=True)
    lead = Lead("a", "mV", 20_000.0, 0.0, -100, 100)
    with Recorder(tmp_path / "rec", CONFIG, {}) as recorder:
        recorder.push([Chunk("1", "run", 0, 125.0, (lead,), found, NOW)], [], NOW)
    convert_recording(tmp_path / "rec", tmp_path / "out.edf", overwrite=True)
    edf = edfio.read_edf(tmp_path / "out.edf")
    value = edf.signals[0].digital[:300].astype(np.int64)
    there = found[:, 0] != MISSING
    assert value[7] == LOWEST
    assert value[there].min() > LOWEST
    step = 1 if low > -32_768 and high < 32_768 else -(-(high - low) // 65_534)
    offset = found[there, 0].astype(np.int64) - step * value[there]
    assert np.ptp(offset) <= 2 * (step // 2)
    assert np.ptp(offset) == 0 or step > 1
    gain = 20.0 if edf.signals[0].physical_dimension == "uV" else 20_000.0
    error = gain * edf.signals[0].data[:300][there] - found[there, 0]
    assert np.abs(error).max() <= 0.0005 * 65_535 * step
    assert (f"a: {step} counts in one step" in [a.text for a in edf.annotations]) == (step > 1)


@pytest.mark.parametrize(
    "fs", [125.0, 360.0, 257.0, 62.5, 10_000.0, 999.99, 62.4725, 249.89, 499.83, 511.548, 999.56, 129.87, 1024.0]
)
def test_edf_rates(tmp_path: Path, new_ward: NewWard, fs: float) -> None:
    """Any rate is told, to a thousandth of a millionth, in a file that strict readers open, and read back as it was."""
    signal = two_leads("100", 20)
    recorded(tmp_path / "rec", stream(signal, fs=fs), new_ward())
    convert_recording(tmp_path / "rec", tmp_path / "out.edf")
    edf = edfio.read_edf(tmp_path / "out.edf")
    assert edf.signals[0].sampling_frequency == pytest.approx(fs, rel=1e-9)
    np.testing.assert_array_equal(digital(edf)[: len(signal)], signal)
    assert edf.is_continuous
    check_edf_rules(tmp_path / "out.edf")
    record = open_signal_file(str(tmp_path / "out.edf"))
    assert record.fs == fs
    values = read_record_samples(record)
    wanted = np.stack([one.data for one in edf.signals], axis=1)
    np.testing.assert_allclose(values[: len(signal)], wanted[: len(signal)], atol=1e-6)
    assert np.isnan(values[len(signal) :]).all()


def test_edf_labels(tmp_path: Path, new_ward: NewWard) -> None:
    """Names of any length and letters become labels of 16 ASCII characters that differ."""
    names = ["V" * 20, "V" * 20 + "a", "Ω", "EDF Annotations"]
    leads = tuple(Lead(name, "mV", 100.0, 0.0, -100, 100) for name in names)
    signal = np.concatenate([two_leads("100", 2)] * 2, axis=1)
    recorded(tmp_path / "rec", stream(signal, leads=leads), new_ward())
    convert_recording(tmp_path / "rec", tmp_path / "out.edf")
    labels = edfio.read_edf(tmp_path / "out.edf").labels
    assert labels == ("V" * 16, "V" * 14 + "-2", "?", "EDF Annotation-2")


def test_edf_of_a_day_that_edf_cannot_tell(tmp_path: Path) -> None:
    """A recording of a time before 1985 has the anonymous date."""
    with Recorder(tmp_path / "rec", CONFIG, {}) as recorder:
        recorder.push([Chunk("1", "run", 0, 125.0, LEADS, two_leads("100", 1), 1000.0)], [], 1000.0)
    convert_recording(tmp_path / "rec", tmp_path / "out.edf")
    assert edfio.read_edf(tmp_path / "out.edf").local_recording_identification == "Startdate X X X ecg-agent"


def test_a_copied_segment(folder: Path, tmp_path: Path) -> None:
    """A segment that was copied out of its session is converted with the beats of its annotation file."""
    shutil.copytree(folder / "1", tmp_path / "copy")
    for ending in ("csv", "edf"):
        convert_recording(folder / "1" / "0002", tmp_path / f"one.{ending}")
        convert_recording(tmp_path / "copy" / "0002.hea", tmp_path / f"two.{ending}")
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    assert sum(bool(row[5]) for row in rows(tmp_path / "two.csv")[1]) > 20
    (tmp_path / "copy" / "0002.ecg").unlink()
    convert_recording(tmp_path / "copy" / "0002.hea", tmp_path / "none.csv")
    assert not any(row[5] for row in rows(tmp_path / "none.csv")[1])


def test_changing_leads(troubled_folder: Path, tmp_path: Path) -> None:
    """Where leads or rate change, that is said, and which segments are alike."""
    for ending in ("edf", "csv"):
        with pytest.raises(
            RecordError, match=r"one by one, such as .*0001; alike are 0001 to 0002 \(MLII, V1 at 125 Hz"
        ):
            convert_recording(troubled_folder, tmp_path / f"out.{ending}")
    convert_recording(troubled_folder, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert sum('"beat"' in line for line in lines) == len(beats_in(troubled_folder))


def test_several_beds(tmp_path: Path, new_ward: NewWard) -> None:
    """One bed at a time is converted: the error names them."""
    signal = two_leads("100", 10)
    recorded(tmp_path / "rec", [*stream(signal, bed="1"), *stream(signal[:125], bed="2")], new_ward())
    with pytest.raises(RecordError, match=r"several beds: .*1, 2"):
        convert_recording(tmp_path / "rec", tmp_path / "out.csv")
    convert_recording(tmp_path / "rec" / "2", tmp_path / "out.csv")
    assert len(rows(tmp_path / "out.csv")[1]) == 125


@pytest.mark.parametrize(
    ("recording", "out", "error", "reason"),
    [
        ("rec", "out.txt", ConfigError, r"let it end in \.edf \(EDF\+\), \.csv or \.jsonl"),
        ("rec", "out", ConfigError, "does not say what to convert to"),
        ("rec", "missing/out.csv", ConfigError, "no folder .*missing"),
        ("rec", "folder.csv", ConfigError, "is a folder"),
        ("missing", "out.csv", RecordError, "missing is no recording: give a folder that monitor --record made"),
        (".", "out.csv", RecordError, "is no recording"),
        ("rec/session.db", "out.csv", RecordError, "is no recording"),
        ("rec/1/0009", "out.csv", RecordError, "is no recording"),
    ],
)
def test_refused(folder: Path, tmp_path: Path, recording: str, out: str, error: type[Exception], reason: str) -> None:
    """What cannot be converted is refused with a line that says what to do, and leaves no file."""
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(error, match=reason):
        convert_recording(tmp_path / recording, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", folder.name]


def test_no_input_is_written(folder: Path, tmp_path: Path) -> None:
    """A link in the place of the output or of its partial file does not lead to the recording; both are replaced."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("out.csv", "out.csv.partial"):
        (tmp_path / name).symlink_to(folder / "1" / "0001.dat")
    convert_recording(folder, tmp_path / "out.csv", overwrite=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "out.csv").is_symlink()
    assert not (tmp_path / "out.csv.partial").is_symlink()
    assert len(rows(tmp_path / "out.csv")[1]) > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda db: db.write_bytes(b""),
        lambda db: db.write_bytes(db.read_bytes()[:4096] + bytes(80_000)),
        lambda db: damaged(db, "UPDATE beats SET label = 'x'"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "edf"])
def test_without_a_database(folder: Path, tmp_path: Path, harm: Callable[[Path], Any], ending: str) -> None:
    """The whole cannot be converted, and the line says what can: a record, with the beats of its annotations."""
    expected, out = tmp_path / f"expected.{ending}", tmp_path / f"out.{ending}"
    shutil.copytree(folder / "1", tmp_path / "copied")
    convert_recording(tmp_path / "copied" / "0001", expected)
    harm(folder / "session.db")
    with pytest.raises(RecordError) as error:
        convert_recording(folder, out)
    record = folder / "1" / "0001"
    assert str(error.value).endswith(f"its signal is still there, record by record: ecg-agent convert {record} OUT")
    convert_recording(record, out)
    assert out.read_bytes() == expected.read_bytes()


def damaged(db: Path, statement: str) -> None:
    """Change a database."""
    with sqlite3.connect(db) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("name", ["rec", "."])
def test_list_without_a_database(folder: Path, tmp_path: Path, name: str) -> None:
    """A single recording without its database is one clear line, from its folder and from the one around it."""
    (folder / "session.db").unlink()
    with pytest.raises(RecordError, match=r"session\.db of the recording .*rec is missing; its signal is still there"):
        show_sessions(tmp_path / name, json=False)


def inode_of(path: Path) -> tuple[int, ...]:
    """What a file or a link is, and when it was changed: to look at it, which has its own time, is no change."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize("make", [lambda out: out.write_text("before"), lambda out: out.symlink_to("nothing")])
def test_a_file_is_overwritten_only_on_request(folder: Path, tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """A file that is there, or a link, is refused and stays; with --force it is replaced."""
    out = tmp_path / "out.jsonl"
    make(out)
    before = inode_of(out)
    command = ["convert", str(folder), str(out)]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, ConfigError)
    assert str(refused.exception) == f"{out} exists already: give another file, or --force to overwrite it"
    assert inode_of(out) == before
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    assert out.read_text().startswith("{")
    assert not out.is_symlink()


def test_upper_case(folder: Path, tmp_path: Path) -> None:
    """The ending may be in capitals."""
    convert_recording(folder, tmp_path / "OUT.EDF")
    assert edfio.read_edf(tmp_path / "OUT.EDF").num_signals == 2


@pytest.mark.parametrize("ending", ["csv", "jsonl", "edf"])
def test_a_failure_keeps_the_old_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """A disk that is full leaves what was there before, no partial file, and a reason."""
    out = tmp_path / f"out.{ending}"
    out.write_text("before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.files._sync", full)
    with pytest.raises(RunError, match=r"cannot write .*: No space left on device"):
        convert_recording(folder, out, overwrite=True)
    assert out.read_text() == "before"
    assert list(tmp_path.glob("*.partial")) == []


def test_while_it_is_recorded(tmp_path: Path, new_ward: NewWard) -> None:
    """A recording that is under way is converted as far as it is on the disk, and stays as it is."""
    ward, messages = new_ward(), stream(two_leads("100", 20))
    with Recorder(tmp_path / "rec", CONFIG, {}) as recorder:
        for message in messages:
            recorder.push([message], ward.push([message]), NOW)
        assert recorder.flush()
        for ending in ("csv", "jsonl", "edf"):
            convert_recording(tmp_path / "rec", tmp_path / f"out.{ending}")
        assert len(rows(tmp_path / "out.csv")[1]) == 2500
        assert len(edfio.read_edf(tmp_path / "out.edf").signals[0].digital) == 2500
    assert len(segments_of(tmp_path / "rec")) == 1


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    """CSV and JSON lines of a long recording take no more memory than those of a short one."""
    peaks = []
    for minutes in (2, 8):
        folder = tmp_path / f"{minutes}"
        signal = two_leads("100", 60)
        with Recorder(folder, CONFIG, {}) as recorder:
            for minute in range(minutes):
                beats = [
                    Beat("1", 7500 * minute + 90 * i, 0, "N", (1.0, 0, 0, 0, 0), 0.72, 0.0, run="run")
                    for i in range(83)
                ]
                chunk = Chunk("1", "run", 7500 * minute, 125.0, LEADS, signal, NOW + 60 * minute)
                recorder.push([chunk], beats, NOW + 60 * minute)
        tracemalloc.start()
        for ending in ("csv", "jsonl"):
            convert_recording(folder, tmp_path / f"{minutes}.{ending}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len((tmp_path / f"{minutes}.csv").read_bytes().splitlines()) == 7500 * minutes + 1
        assert len((tmp_path / f"{minutes}.jsonl").read_bytes().splitlines()) == 83 * minutes
    assert peaks[1] < 1.5 * peaks[0]


def listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    show_sessions(folder, json=True)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_sessions(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recordings are listed with what is in them, from their folder or by themselves."""
    (entry,) = listed(tmp_path, capsys)
    assert entry == listed(folder, capsys)[0]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert entry == {
        "recording": str(folder),
        "beds": ["1"],
        "started_s": pytest.approx(NOW, abs=0.001),
        "length_s": (17_000 - 500 + 2500) / 125,
        "beats": len(beats_in(folder)),
        "alarms": len(alarms_in(folder)),
        "gaps": 4,
        "missing_s": 400 / 125 + 72,
        "bytes": size,
        "state": "complete",
        "trouble": "",
    }
    show_sessions(tmp_path, json=False)
    title, line = capsys.readouterr().out.splitlines()
    assert title.split() == ["name", "beds", "began", "(UTC)", "length", "beats", "alarms", "missing", "size", "state"]
    assert line.split()[:5] == ["rec", "1", "2025-01-01", "00:00", "0:02:32"]
    assert line.split()[-1] == "complete"
    assert len(line.rstrip()) <= 80


def test_states(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording that is under way, one whose monitor was killed and one that cannot be read are told apart."""
    live = tmp_path / "live"
    with Recorder(live, CONFIG, {}) as recorder:
        recorder.push(stream(two_leads("100", 10)), [], NOW)
        assert recorder.flush()
        shutil.copytree(live, tmp_path / "killed")
        shutil.copytree(folder, tmp_path / "broken")
        with sqlite3.connect(tmp_path / "broken" / "session.db") as db:
            db.execute("UPDATE ledger SET first = 'x'")
        db.close()
        found = {Path(entry["recording"]).name: entry for entry in listed(tmp_path, capsys)}
        assert {name: entry["state"] for name, entry in found.items()} == {
            "broken": "unreadable",
            "killed": "interrupted",
            "live": "recording",
            "rec": "complete",
        }
        assert found["killed"]["length_s"] == found["live"]["length_s"] == 10
        assert "broken" in found["broken"]["trouble"]
        show_sessions(tmp_path, json=False)
    assert found["broken"]["trouble"] in capsys.readouterr().out.replace("\n", "")


def test_no_sessions(tmp_path: Path) -> None:
    """Where there are no recordings, it is said how to make one."""
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RecordError, match=r"no recordings in .*: ecg-agent monitor --record .* makes one"):
            show_sessions(folder, json=False)


def test_the_table_fits(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is read at 80 columns, also of a long recording with a long name."""
    long = folder.rename(folder.with_name("a-recording-of-a-long-night-" + "x" * 20))
    with sqlite3.connect(long / "session.db") as db:
        db.execute("UPDATE ledger SET next = next + 1000000000 WHERE run = 'run'")
        db.execute("UPDATE segments SET state = 'open'")
    db.close()
    monkeypatch.setattr(module, "TABLE_WIDTH", 80)
    show_sessions(long, json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "interrupted" in lines[1]
    assert "2222:15:52" in lines[1]
    assert "".join(line.split()[0] for line in lines[1:]) == long.name
