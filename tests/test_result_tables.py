"""agent.outputs.result_tables, agent.core.run_clock: tables of beats and alarms, and times by the clock."""

import csv
import importlib.util
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from support.indexed import NOW, beat, chunk, record

from agent.core.events import NotificationFailed, NotificationSent
from agent.core.messages import Alarm, BedsChunk, Chunk, Result
from agent.core.run_clock import RunClock
from agent.export.convert import convert_recording
from agent.export.tables import TableName
from agent.outputs.result_tables import ALARM_COLUMNS, BEAT_COLUMNS
from agent.recording.sessions import RecordedSession
from agent.report.alarm_content import _describe_alarm_times
from agent.report.bed_recording import BedRecording
from model.errors import ConfigError, RecordError

HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None


def alarm(bed: str, onset: int, condition: str = "asystole") -> Alarm:
    times = onset + 60, NOW + (onset + 60) / 125
    return Alarm(bed, "run", condition, "high", "no QRS for 4.0 s", onset, *times)  # type: ignore[arg-type]


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Two beds with beats; three alarms, the first of which was sent, the second not."""
    told: list[Result] = [
        NotificationFailed("1", "run", 50, "asystole", "tgram://…", False, "no answer"),
        NotificationSent("1", "run", 50, "asystole", "json://h/…", False, 0.5),
        NotificationFailed("1", "run", 90, "asystole", "json://h/…", False, "no answer"),
    ]
    odd = replace(beat(300), bed='b,"2', rr_s=None, heart_rate=None)
    found: list[Result] = [
        beat(40),
        alarm("1", 50),
        alarm("1", 90),
        beat(200),
        replace(alarm("1", 400), ended=450),
        odd,
        *told,
    ]
    record(tmp_path / "s", chunk(0, 500), chunk(0, 500, bed='b,"2'), found=found)
    return tmp_path / "s"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_beats_as_csv(session: Path, tmp_path: Path) -> None:
    """A row a beat of every bed; the time of the R peak in the run and by the clock, every probability."""
    convert_recording(session, tmp_path / "beats.csv", table="beats")
    rows = read_csv(tmp_path / "beats.csv")
    assert list(rows[0]) == [column.name for column in BEAT_COLUMNS]
    with RecordedSession(session) as stored:
        beats = [one for bed in stored.beds for one in stored.beats(bed)]
    assert [(row["bed"], row["run"], int(row["sample"])) for row in rows] == [(b.bed, b.run, b.sample) for b in beats]
    assert {row["bed"] for row in rows} == {"1", 'b,"2'}
    for row, one in zip(rows, beats, strict=True):
        at_s = datetime.fromisoformat(row["time"]).timestamp()
        assert at_s == pytest.approx(NOW + one.sample / 125, abs=0.001)
        assert row["time"].endswith("+00:00")
        assert [float(row[f"probability_{name}"]) for name in "NSVFQ"] == pytest.approx(one.probabilities, abs=1e-6)
        assert (row["rr_s"] == "") == (one.rr_s is None)


def test_alarms_as_csv(session: Path, tmp_path: Path) -> None:
    """An alarm says whether it was told to somebody; one service that took it is enough."""
    convert_recording(session, tmp_path / "alarms.csv", table="alarms")
    rows = read_csv(tmp_path / "alarms.csv")
    assert list(rows[0]) == [column.name for column in ALARM_COLUMNS]
    assert [row["notified"] for row in rows] == ["sent", "failed", ""]
    assert [row["ended"] for row in rows] == ["", "", "450"]
    assert rows[2]["ended_time"] == datetime.fromtimestamp(NOW + 450 / 125, UTC).isoformat(timespec="milliseconds")


def test_the_report_says_which_alarms_were_told(session: Path) -> None:
    with RecordedSession(session) as stored:
        recording = BedRecording(stored, "1")
    texts = [_describe_alarm_times(recording, one) for one in recording.alarms]
    assert [re.findall(r"notification (\w+)", text) for text in texts] == [["sent"], ["failed"], []]


@pytest.mark.skipif(not HAS_PYARROW, reason="pyarrow is not installed (extra parquet)")
def test_parquet_holds_the_same(session: Path, tmp_path: Path) -> None:
    """Parquet has the rows of the CSV, with types."""
    import pyarrow.parquet as parquet

    names: tuple[TableName, ...] = ("beats", "alarms")
    for name in names:
        convert_recording(session, tmp_path / f"{name}.csv", table=name)
        convert_recording(session, tmp_path / f"{name}.parquet", table=name)
        table = parquet.read_table(tmp_path / f"{name}.parquet")
        rows = read_csv(tmp_path / f"{name}.csv")
        assert table.num_rows == len(rows) > 0
        assert table.column_names == list(rows[0])
        assert str(table.schema.field("time").type) == "timestamp[us, tz=UTC]"
        for found, row in zip(table.to_pylist(), rows, strict=True):
            assert found["bed"] == row["bed"]
            assert found["time"].isoformat(timespec="milliseconds")[:22] == row["time"][:22]
    assert [row["notified"] for row in table.to_pylist()] == ["sent", "failed", None]


def test_one_bed_and_one_segment(session: Path, tmp_path: Path) -> None:
    """The folder of a bed, or one of its records, has only their rows."""
    convert_recording(session / "1", tmp_path / "bed.csv", table="beats")
    assert {row["bed"] for row in read_csv(tmp_path / "bed.csv")} == {"1"}
    convert_recording(session / "1" / "0001", tmp_path / "one.csv", table="alarms")
    assert len(read_csv(tmp_path / "one.csv")) == 3


def test_what_makes_no_table(session: Path, tmp_path: Path) -> None:
    """Endings that cannot hold what was asked for are refused with the ones that can."""
    with pytest.raises(ConfigError, match=r"let it end in \.csv or \.parquet"):
        convert_recording(session, tmp_path / "beats.edf", table="beats")
    with pytest.raises(ConfigError, match="--table beats or --table alarms"):
        convert_recording(session, tmp_path / "beats.parquet")
    (session / "session.db").write_bytes(b"broken")
    with pytest.raises(RecordError):
        convert_recording(session, tmp_path / "beats.csv", table="beats")
    assert list(tmp_path.glob("beats*")) == []


def sent(first: int, stop: int, late_s: float, fs: float = 125.0, run: str = "run") -> Chunk:
    """A chunk of which the last sample was measured at NOW + stop / fs, and that was sent later."""
    return chunk(first, stop, run=run, fs=fs, sent_s=NOW + stop / fs + late_s)


def test_times_are_even_though_packets_are_late() -> None:
    """The soonest packet counts: lateness of the others moves no sample by more than the drift that is allowed."""
    clock = RunClock()
    lates = np.abs(np.random.default_rng(0).normal(0, 0.02, 500))
    clock.follow([sent(0, 50, 0.0)])
    for i, late_s in enumerate(lates):
        clock.follow([sent(50 + 50 * i, 100 + 50 * i, float(late_s))])
    assert clock.time_of("1", "run", 125) == pytest.approx(NOW + 1, abs=0.003)


def test_times_follow_a_device_that_stood_still_and_one_that_is_fast() -> None:
    """After a pause of the device samples are later; of a record sent too fast they are those of its sending."""
    clock = RunClock()
    clock.follow([sent(0, 50, 0.0), sent(50, 100, 30.0)])
    assert clock.time_of("1", "run", 100) == pytest.approx(NOW + 100 / 125 + 30)
    clock.follow([sent(12_500, 25_000, -60.0)])
    assert clock.time_of("1", "run", 25_000) == pytest.approx(NOW + 200 - 60)


def test_times_of_unknown_runs() -> None:
    """A run of which nothing came has no times; the one before the present one still has."""
    clock = RunClock()
    clock.follow([sent(0, 50, 0.0, run=name) for name in ("a", "b", "c")])
    assert clock.time_of("1", "a", 0) is None
    assert clock.time_of("1", "b", 0) == pytest.approx(NOW)
    assert clock.time_of("2", "c", 0) is None


def test_times_without_the_clock_of_the_device() -> None:
    """By the arrival then: one that came late from the memory of the device does not count."""
    clock = RunClock()
    early = replace(sent(100, 150, 0.0), sent_s=0.0, arrived_s=NOW + 150 / 125)
    clock.follow([early, replace(sent(0, 100, 0.0), sent_s=0.0, arrived_s=NOW + 5)])
    assert clock.time_of("1", "run", 0) == pytest.approx(NOW, abs=0.001)


def test_times_of_many_beds_that_come_together_are_those_of_each() -> None:
    """Also where another run of a bed comes, packets are late, beds are left out, or one is sent alone."""
    random = np.random.default_rng(1)
    together, alone = RunClock(), RunClock()
    runs = [[sent(0, 1, 0.0, fs, "run 0") for fs in (125.0, 250.0, 360.0) * 5] for _ in range(2)]
    runs = [[replace(run, bed=f"{group} {place}") for place, run in enumerate(of)] for group, of in enumerate(runs)]
    for step in range(300):
        for group in range(2):
            if random.random() < 0.03:
                changed = int(random.integers(15))
                runs[group] = [
                    replace(run, run=f"run {step}") if place == changed else run
                    for place, run in enumerate(runs[group])
                ]
            some = runs[group][:12] if random.random() < 0.1 else runs[group]
            at_s = NOW + step / 5 + float(random.choice([0.0, 0.001, 0.03, 2.0], p=[0.5, 0.3, 0.18, 0.02]))
            sent_s = at_s if random.random() < 0.9 else 0.0
            firsts = [step * round(run.fs / 5) for run in some]
            counts = np.zeros((len(some), 25, 1), np.int32)
            chunk_of_all = BedsChunk(some, firsts, counts, sent_s, at_s + 0.01, firsts)
            each = [chunk_of_all.chunk(place) for place in range(len(some))]
            together.follow(each if random.random() < 0.05 else [chunk_of_all])
            alone.follow(each)
            assert [together.starts(run.bed) for run in runs[group]] == [alone.starts(run.bed) for run in runs[group]]
            assert together.time_of(some[3].bed, some[3].run, 99) == alone.time_of(some[3].bed, some[3].run, 99)
