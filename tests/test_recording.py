import errno
import os
import sqlite3
import threading
import tracemalloc
from collections import namedtuple
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.indexed import CONFIG, LEADS, NOW, Message, beat, chunk, counts_of, gap, kill, record, refuse_probe

from agent.cli.monitor import _close_recorder
from agent.core.config import RecordConfig
from agent.core.events import (
    DiskSpaceChanged,
    Event,
    EventsOmitted,
    EventText,
    LeadStateChanged,
    LinkStateChanged,
    RecordingPaused,
    RecordingResumed,
    RunStarted,
    StreamRefused,
)
from agent.core.messages import MISSING, Beat, Chunk, End, Gap, Lead, ResumePosition
from agent.core.wording import event_text
from agent.export.listing import summarise_sessions
from agent.recording import recorder as recording
from agent.recording.recorded_segments import RecordedSegment, read_lone_segment, read_segment_counts
from agent.recording.recorder import Recorder, RecorderTiming
from agent.recording.session_writer import MOST_EVENTS, SessionWriter
from agent.recording.sessions import RecordedSession
from model.errors import RunError
from model.records.annotations import read_annotations


def open_stepped(folder: Path, config: RecordConfig = CONFIG) -> Recorder:
    """A recorder that writes when it is told to, and tries again at once after a failure."""
    return Recorder(folder, config, {}, RecorderTiming(retry_s=0.0), threaded=False)


def segments(folder: Path, bed: str = "1") -> list[RecordedSegment]:
    with RecordedSession(folder) as session:
        return session.segments(bed)


def spans(folder: Path, bed: str = "1") -> list[tuple[str, int, int]]:
    """Run, first sample and end of every segment."""
    return [(segment.run, segment.first, segment.first + segment.count) for segment in segments(folder, bed)]


def read_back(folder: Path, bed: str = "1") -> dict[tuple[str, int], tuple[int, ...]]:
    """Every sample that has a value, by run and index."""
    found = {}
    for segment in segments(folder, bed):
        for i, row in enumerate(read_segment_counts(segment, 0, segment.count).tolist()):
            if any(value != MISSING for value in row):
                assert (segment.run, segment.first + i) not in found
                found[segment.run, segment.first + i] = tuple(row)
    return found


def sent(messages: Sequence[Message]) -> dict[tuple[str, int], tuple[int, ...]]:
    """The same of messages."""
    return {
        (message.run, message.first + i): tuple(row)
        for message in messages
        if isinstance(message, Chunk)
        for i, row in enumerate(message.counts.tolist())
        if any(value != MISSING for value in row)
    }


def ledger(folder: Path, bed: str = "1") -> list[tuple[str, int, int, int, int, int]]:
    """Run, first, next, recorded, missing and lost; they must close."""
    db = sqlite3.connect(folder / "session.db")
    rows = db.execute(
        "SELECT run, first, next, recorded, missing, lost FROM ledger WHERE bed = ? ORDER BY id", (bed,)
    ).fetchall()
    db.close()
    assert all(following - first == sum(parts) for _, first, following, *parts in rows)
    return rows


def texts(recorder: Recorder) -> list[str]:
    return [event_text(event) for event in recorder.news()]


@st.composite
def streams(draw: st.DrawFn) -> list[Message]:
    """Runs of a bed with gaps, values that are missing and values that need 32 bits, cut anywhere."""
    messages: list[Message] = []
    for run in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)):
        at = draw(st.integers(0, 50))
        for kind, length in draw(st.lists(st.tuples(st.sampled_from("sssmgGw"), st.integers(1, 120)), max_size=12)):
            stop = at + (length + 8000 if kind == "G" else length)
            if kind in "gG":
                messages.append(gap(at, stop, run=run))
            else:
                part = counts_of(at, stop)
                if kind == "m":
                    part[:: length // 3 + 1] = MISSING
                if kind == "w":
                    part[length // 2 :, 1] = draw(st.sampled_from([-32_768, 32_768, 2**31 - 1, MISSING + 1]))
                messages.append(chunk(at, stop, run=run, counts=part))
            at = stop
        if draw(st.booleans()):
            messages.append(End("1", run, at, 125.0))
    return messages


def recut(messages: Sequence[Message], size: int) -> Iterator[Message]:
    """The same stream in pieces of `size` samples."""
    for message in messages:
        if isinstance(message, End):
            yield message
        elif isinstance(message, Gap):
            stop = message.first + message.count
            for first in range(message.first, stop, 100 * size):
                yield replace(message, first=first, count=min(100 * size, stop - first))
        else:
            for start in range(0, len(message.counts), size):
                part = message.counts[start : start + size]
                yield replace(message, first=message.first + start, counts=part)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.integers(1, 200), st.integers(20, 400), st.data())
def test_what_is_recorded_does_not_depend_on_the_cut(
    tmp_path_factory: pytest.TempPathFactory, stream: list[Message], size: int, rotate: int, data: st.DataObject
) -> None:
    """However a stream is cut into chunks and flushes: the same samples, beats and segments, and a closed ledger."""
    config = replace(CONFIG, rotate_min=rotate / 125 / 60)
    whole, cut = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")
    run = stream[-1].run if stream else ""
    beats = [beat(message.first, run=run) for message in stream if isinstance(message, Chunk) and message.run == run]
    record(whole, *stream, found=beats, config=config)
    with Recorder(cut, config, {}) as recorder:
        for message in recut(stream, size):
            recorder.push([message], [b for b in beats if (run, b.sample) == (message.run, message.first)], NOW)
            if data.draw(st.integers(0, 9)) == 0:
                assert recorder.flush()
    assert read_back(whole) == read_back(cut) == sent(stream)
    assert spans(whole) == spans(cut)
    assert ledger(whole) == ledger(cut)
    assert all(segment.count <= rotate for segment in segments(cut))
    with RecordedSession(whole) as one, RecordedSession(cut) as other:
        assert list(one.beats("1")) == list(other.beats("1")) == beats
    for segment in segments(cut):
        notes = read_annotations(segment.path.parent, segment.path.name, "ecg", segment.fs)
        inside = [b.sample - segment.first for b in beats if 0 <= b.sample - segment.first < segment.count]
        assert list(notes.samples) == (inside if segment.run == run else [])
        header = wfdb.rdrecord(str(segment.path), physical=False)
        assert (header.sig_len, header.checksum) == (segment.count, _signed(header.calc_checksum()))


def _signed(sums: Sequence[int]) -> list[int]:
    return [(value + 2**15) % 2**16 - 2**15 for value in sums]


def test_a_wfdb_tool_reads_a_segment_while_it_grows_after_a_kill_and_when_closed(tmp_path: Path) -> None:
    """wfdb-python finds physical values, NaN in the gap, and the beats, at each stage."""
    messages: list[Message] = [chunk(1000, 1500), gap(1500, 1600), chunk(1600, 2000)]
    expected = np.full((1000, 2), np.nan)
    for message in messages:
        if isinstance(message, Chunk):
            rows = slice(message.first - 1000, message.first - 1000 + len(message.counts))
            expected[rows] = (message.counts - [0.0, 12.0]) / [1000.0, 200.0]

    def check(closed: bool) -> None:
        (segment,) = segments(tmp_path)
        signal = wfdb.rdrecord(str(segment.path))
        np.testing.assert_allclose(signal.p_signal, expected, atol=1e-12)
        assert (signal.sig_name, signal.units, signal.fs) == (["MLII", "V1"], ["mV", "uV"], 125)
        notes = wfdb.rdann(str(segment.path), "ecg")
        assert (notes.sample.tolist(), notes.symbol) == ([100, 700], ["V", "S"])
        if closed:
            assert f"{signal.base_datetime:%Y-%m-%d %H:%M:%S.%f}" == "2025-01-01 00:00:08.250000"

    recorder = Recorder(tmp_path, CONFIG, {})
    recorder.push(messages, [beat(1100, "V"), beat(1700, "S")], NOW)
    assert recorder.flush()
    check(closed=False)
    kill(recorder)
    check(closed=False)
    Recorder(tmp_path, CONFIG, {}).close()
    check(closed=True)


@pytest.mark.parametrize("fs", [100.0, 250.0, 360.0, 977.5])
def test_beats_stand_at_the_rate_of_the_device(tmp_path: Path, fs: float) -> None:
    """A beat at 125 Hz lies at the nearest sample of the segment, counted from its first, at the segment's rate."""
    beats = [beat(sample) for sample in (80, 81, 160, 400)]
    config = replace(CONFIG, rotate_min=round(2 * fs) / fs / 60)
    record(tmp_path, chunk(50, 50 + round(4 * fs), fs=fs), found=beats, config=config)
    made = segments(tmp_path)
    assert [segment.fs for segment in made] == [fs, fs]
    at = [segment.first + sample for segment in made for sample in wfdb.rdann(str(segment.path), "ecg").sample.tolist()]
    assert at == [round(b.sample * fs / 125) for b in beats]
    assert wfdb.rdheader(str(made[0].path)).fs == fs


def test_a_beat_of_before_a_rotation_goes_to_its_segment(tmp_path: Path) -> None:
    """A beat that is decided once the next segment has begun is written where its R peak lies."""
    with Recorder(tmp_path, replace(CONFIG, rotate_min=100 / 125 / 60), {}) as recorder:
        recorder.push([chunk(0, 150)], [beat(20)], NOW)
        assert recorder.flush()
        recorder.push([chunk(150, 260)], [beat(90), beat(120), beat(220)], NOW)
    assert [read_annotations(s.path.parent, s.path.name, "ecg", 125).samples for s in segments(tmp_path)] == [
        (20, 90),
        (20,),
        (20,),
    ]
    with RecordedSession(tmp_path) as session:
        made = session.segments("1")
        assert [b.sample for b in session.beats("1", made[0])] == [20, 90]


@pytest.mark.parametrize(("seconds", "expected"), [(60, 1), (60.1, 2)])
def test_a_gap_of_a_minute_is_filled_a_longer_one_ends_the_segment(
    tmp_path: Path, seconds: float, expected: int
) -> None:
    """It counts how long the gap is, not in how many pieces it was told."""
    stop = 100 + round(seconds * 125)
    pieces = [gap(first, min(first + 1000, stop)) for first in range(100, stop, 1000)]
    record(tmp_path, chunk(0, 100), *pieces, chunk(stop, stop + 50))
    assert len(segments(tmp_path)) == expected
    assert ledger(tmp_path) == [("run", 0, stop + 50, 150, stop - 100, 0)]
    first = read_segment_counts(segments(tmp_path)[0], 0, 10_000)
    assert (first[100:-50] == MISSING).all()


def test_what_begins_a_segment(tmp_path: Path) -> None:
    """Other leads, a run that ended and goes on, a new run, signal that was never told of: each begins one."""
    record(
        tmp_path,
        chunk(0, 10),
        chunk(10, 20, leads=LEADS[::-1]),
        End("1", "run", 20, 125.0),
        chunk(20, 30, leads=LEADS[::-1]),
        chunk(30, 40, leads=LEADS[::-1]),
        chunk(45, 50, leads=LEADS[::-1]),
        chunk(7, 17, run="new"),
        chunk(17, 20, run="new", fs=250.0),
    )
    expected = [("run", 0, 10), ("run", 10, 20), ("run", 20, 40), ("run", 45, 50), ("new", 7, 17), ("new", 17, 20)]
    assert spans(tmp_path) == expected
    assert [segment.fs for segment in segments(tmp_path)] == [125.0] * 5 + [250.0]
    assert ledger(tmp_path) == [("run", 0, 50, 45, 0, 5), ("new", 7, 20, 13, 0, 0)]
    assert segments(tmp_path)[1].leads == LEADS[::-1]


def test_what_was_recorded_is_not_recorded_again(tmp_path: Path) -> None:
    """Samples that come twice, and gaps over what is there, change nothing."""
    record(tmp_path, chunk(0, 100), chunk(50, 120), chunk(0, 30), gap(80, 110), gap(110, 130), chunk(125, 150))
    assert ledger(tmp_path) == [("run", 0, 150, 140, 10, 0)]
    assert read_back(tmp_path) == sent([chunk(0, 120), chunk(130, 150)])


def test_counts_that_need_32_bits(tmp_path: Path) -> None:
    """The format changes at the first sample that does not fit, stays for the run, and every count comes back."""
    wide = np.array([[0, 32_767], [5, -32_768], [MISSING, 2**31 - 1], [1, 1]], np.int32)
    parts = [chunk(0, 10), chunk(10, 14, counts=wide), chunk(14, 20), chunk(0, 5, run="new")]
    record(tmp_path, *parts)
    assert [(s.format, s.first, s.count) for s in segments(tmp_path)] == [(16, 0, 11), (32, 11, 9), (16, 0, 5)]
    assert read_back(tmp_path) == sent(parts)
    signal = wfdb.rdrecord(str(segments(tmp_path)[1].path)).p_signal
    assert np.isnan(signal[1]).tolist() == [True, False]
    assert signal[1, 1] == (2**31 - 1 - 12) / 200


def test_leads_come_back_to_the_last_bit(tmp_path: Path) -> None:
    """Offset, gain, rails, units and names are exact in the header alone, whatever they are."""
    odd = (
        Lead("aVF · 左", "µV", 1e-9, -1234.5678901234567, MISSING, 2**31 - 1),
        Lead("V 1 (x)", "a/b c", 12345.678901234567, 2.0**53, -3, -2),
    )
    record(tmp_path, chunk(3, 10, leads=odd, fs=1.1, bed="Bett 7, Süd"))
    (segment,) = segments(tmp_path, "Bett 7, Süd")
    alone = read_lone_segment(segment.path)
    assert alone.leads == segment.leads == odd
    assert (alone.bed, alone.run, alone.first, alone.fs) == ("Bett 7, Süd", "run", 3, 1.1)
    assert alone.started_s == segment.started_s
    header = wfdb.rdheader(str(segment.path))
    assert (header.units, header.sig_name) == (["uV", "a/b_c"], ["aVF ? ?", "V 1 (x)"])
    assert header.adc_gain == [1e-9, 12345.678901234567]


NAMES = ["../x", "a/b", "a_b", "A_B", "CON", "con", "lock", "session", "..", "-rf", "x" * 64, "x" * 63, "床", "é"]


def test_hostile_names_of_beds_stay_inside(tmp_path: Path) -> None:
    """Every bed has a folder of its own, with a plain name, and its true name comes back, also after a restart."""
    folder = tmp_path / "session"
    record(folder, *(chunk(i, i + 5, bed=bed) for i, bed in enumerate(NAMES)))
    record(folder, *(chunk(i + 5, i + 9, bed=bed) for i, bed in enumerate(NAMES)))
    with RecordedSession(folder) as session:
        assert sorted(session.beds) == sorted(NAMES)
    for i, bed in enumerate(NAMES):
        made = segments(folder, bed)
        assert [(s.first, s.count, s.bed, s.number) for s in made] == [(i, 5, bed, 1), (i + 5, 4, bed, 2)]
        assert len({s.path.parent for s in made}) == 1
    folders = [path.name for path in folder.iterdir() if path.is_dir()]
    assert len({name.lower() for name in folders}) == len(NAMES)
    assert all((name.isascii() and name.replace("-", "_").isidentifier()) or name[0].isdigit() for name in folders)
    assert not {"con", "lock", "session"} & {name.lower() for name in folders}
    assert [path.name for path in tmp_path.iterdir()] == ["session"]


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """Positions tell what comes next; the same run goes on in the next segment; beats told again are not repeated."""
    with Recorder(tmp_path, CONFIG, {"started": "then", "version": "1"}) as recorder:
        assert recorder.positions() == {}
        recorder.push([chunk(0, 500), chunk(3, 9, bed="2", fs=250.0)], [beat(100), beat(400)], NOW)
        recorder.push([gap(500, 520), End("2", "run", 9, 250.0)], [], NOW)
    with Recorder(tmp_path, CONFIG, {"started": "now", "version": "2"}) as recorder:
        assert recorder.positions() == {
            "1": ResumePosition("run", 520, 125.0, 400, ended=False),
            "2": ResumePosition("run", 9, 250.0, None, ended=True),
        }
        recorder.push([chunk(520, 900)], [beat(100), beat(400), beat(480), beat(800)], NOW)
        assert recorder.news() == []
    assert spans(tmp_path) == [("run", 0, 500), ("run", 520, 900)]
    assert ledger(tmp_path) == [("run", 0, 900, 880, 20, 0)]
    with RecordedSession(tmp_path) as session:
        assert [b.sample for b in session.beats("1")] == [100, 400, 480, 800]
        assert session.about == {"started": "then", "version": "2"}
    notes = [read_annotations(s.path.parent, s.path.name, "ecg", 125).samples for s in segments(tmp_path)]
    assert notes == [(100, 400, 480), (280,)]


def test_a_run_that_comes_back_keeps_its_ledger(tmp_path: Path) -> None:
    """After a restart an earlier run may come again: its ledger goes on, and it is the latest then."""
    record(tmp_path, chunk(0, 10, run="old"), chunk(5, 9, run="new"))
    record(tmp_path, chunk(20, 30, run="old"))
    assert ledger(tmp_path) == [("new", 5, 9, 4, 0, 0), ("old", 0, 30, 20, 0, 10)]
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        assert recorder.positions()["1"].run == "old"


def test_beats_of_a_run_that_ends_and_of_the_next_in_one_push(tmp_path: Path) -> None:
    """Each beat is filed under its own run, in whatever order beats and starts come."""
    start = [RunStarted("1", run, 0, "II", 125.0) for run in ("same-name-1", "same-name-2", "third")]
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 300, run="same-name-1")], [start[0], beat(50, run="same-name-1")], NOW)
        messages = [chunk(0, 200, run="same-name-2"), chunk(0, 100, run="third")]
        late: list[Beat | Event] = [beat(250, run="same-name-1"), start[1], beat(60, run="same-name-2")]
        late += [start[2], beat(70, run="third")]
        recorder.push(messages, late, NOW)
        recorder.push([chunk(100, 200, run="third")], [beat(150, run="third")], NOW)
    with RecordedSession(tmp_path) as session:
        found = {
            run: [b.sample for b in session.beats("1", run=run)] for run in ("same-name-1", "same-name-2", "third")
        }
    assert found == {"same-name-1": [50, 250], "same-name-2": [60], "third": [70, 150]}


def told_late(folder: Path) -> tuple[dict[str, list[int]], list[tuple[int, ...]]]:
    """The beats of each run by the database, and those of each segment by its annotations."""
    with RecordedSession(folder) as session:
        beats = {run: [b.sample for b in session.beats("1", run=run)] for run in ("a", "b", "c")}
    return beats, [read_annotations(s.path.parent, s.path.name, "ecg", 125).samples for s in segments(folder)]


def test_beats_that_are_decided_once_the_device_was_restarted(tmp_path: Path) -> None:
    """The last beats of a run come with the start of the next, long after its ledger was saved: all are recorded."""
    start = {run: RunStarted("1", run, 0, "II", 125.0) for run in "abc"}
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 300, run="a")], [start["a"], beat(50, run="a")], NOW)
        assert recorder.flush()
        recorder.push(
            [chunk(5, 205, run="b")], [beat(200, run="a"), beat(290, run="a"), start["b"], beat(60, run="b")], NOW
        )
        assert recorder.flush()
        recorder.push([chunk(0, 100, run="c")], [beat(190, run="b"), start["c"]], NOW)
        assert recorder.flush()
        recorder.push([chunk(300, 400, run="a")], [start["a"], beat(350, run="a")], NOW)
    assert told_late(tmp_path) == (
        {"a": [50, 200, 290, 350], "b": [60, 190], "c": []},
        [(50, 200, 290), (55, 185), (), (50,)],
    )
    assert ledger(tmp_path) == [("b", 5, 205, 200, 0, 0), ("c", 0, 100, 100, 0, 0), ("a", 0, 400, 400, 0, 0)]


def test_beats_of_a_run_that_ended_with_the_monitor(tmp_path: Path) -> None:
    """Monitor and device killed, then both back: the last beats of the old run are recorded, those known are not."""
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        begun = RunStarted("1", "a", 0, "II", 125.0)
        recorder.push([chunk(0, 300, run="a")], [begun, beat(50, run="a"), beat(150, run="a")], NOW)
        kill(recorder)
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([], [beat(220, run="a")], NOW)
        assert recorder.flush()
        begun = RunStarted("1", "b", 0, "II", 125.0)
        told: list[Beat | Event] = [beat(150, run="a"), beat(280, run="a"), begun, beat(70, run="b")]
        recorder.push([chunk(0, 100, run="b")], told, NOW)
    assert told_late(tmp_path) == ({"a": [50, 150, 220, 280], "b": [70], "c": []}, [(50, 150, 220, 280), (70,)])


def test_events_are_kept_with_their_time(tmp_path: Path) -> None:
    """Events of beds and of the link come back in order; those of the recording itself are not taken twice."""
    told: list[Event] = [
        RunStarted("1", "", 0, "MLII", 250.0),
        LinkStateChanged("tcp://somewhere", is_up=False),
        StreamRefused("2", "", 7, "no lead"),
    ]
    record(tmp_path, chunk(0, 9), found=[*told, EventText("record", "", "", 0, "told by the recorder before")])
    with RecordedSession(tmp_path) as session:
        assert list(session.events()) == [(NOW, event) for event in told]
        assert list(session.events("")) == [(NOW, told[1])]


def test_only_one_monitor_records_a_session(tmp_path: Path) -> None:
    """A second one is told to choose another folder; once the first has ended it may."""
    with (
        Recorder(tmp_path, CONFIG, {}),
        pytest.raises(RunError, match="is being recorded by another monitor: choose another folder"),
    ):
        Recorder(tmp_path, CONFIG, {})
    Recorder(tmp_path, CONFIG, {}).close()


def test_folders_that_cannot_be_recorded_into(tmp_path: Path) -> None:
    """A folder of other things, a file, a foreign database and a later version are refused, and left as they are."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "session.db").write_bytes(b"SQLite format 3\0" + bytes(200))
    record(tmp_path / "later", chunk(0, 9))
    db = sqlite3.connect(tmp_path / "later" / "session.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    for name, text in (
        ("other", "is not empty"),
        ("file", "cannot record in"),
        ("foreign", "no database"),
        ("later", "later version"),
    ):
        with pytest.raises(RunError, match=text):
            Recorder(tmp_path / name, CONFIG, {})
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE segments SET path = '../victim/0001', state = 'open'",
        "UPDATE segments SET path = '../victim/0001'",
        "UPDATE segments SET format = 8, state = 'open'",
        "UPDATE segments SET first = 'x', state = 'open'",
        "UPDATE segments SET leads = '[]', state = 'open'",
        "UPDATE ledger SET next = 'x'; UPDATE segments SET state = 'open'",
        "DROP TABLE ledger; CREATE TABLE ledger(id)",
    ],
)
def test_a_hostile_session_is_not_continued(tmp_path: Path, statement: str) -> None:
    """A database that names other files, or nonsense, is refused, and touches nothing outside of its folder."""
    record(tmp_path / "session", chunk(0, 9))
    victim = tmp_path / "victim"
    victim.mkdir()
    for ending in (".hea", ".dat", ".ecg"):
        (victim / f"0001{ending}").write_bytes(b"12345")
    db = sqlite3.connect(tmp_path / "session" / "session.db")
    db.executescript(statement)
    db.close()
    with pytest.raises(RunError, match="cannot continue the recording"):
        Recorder(tmp_path / "session", CONFIG, {})
    assert [path.read_bytes() for path in victim.iterdir()] == [b"12345"] * 3


def test_a_torn_sample_and_lost_files_are_repaired(tmp_path: Path) -> None:
    """After a kill: the whole samples count, a torn one is cut off; annotations and header are made anew."""
    recorder = Recorder(tmp_path, CONFIG, {})
    recorder.push([chunk(0, 500)], [beat(100), beat(200, "V")], NOW)
    kill(recorder)
    (segment,) = segments(tmp_path)
    data = segment.path.with_suffix(".dat")
    data.write_bytes(data.read_bytes() + counts_of(500, 501).astype("<i2").tobytes() + b"\1\2\3")
    segment.path.with_suffix(".ecg").write_bytes(b"\0")
    segment.path.with_suffix(".hea").write_text("000")
    assert segments(tmp_path)[0].count == 501
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        assert recorder.positions()["1"] == ResumePosition("run", 501, 125.0, 200, ended=False)
        assert len(texts(recorder)) == 1
    assert data.stat().st_size == 501 * 4
    assert wfdb.rdann(str(segment.path), "ecg").sample.tolist() == [100, 200]
    header = wfdb.rdrecord(str(segment.path), physical=False)
    assert header.checksum == _signed(header.calc_checksum())
    assert ledger(tmp_path) == [("run", 0, 501, 501, 0, 0)]


def test_a_power_cut_may_take_what_the_database_knows(tmp_path: Path) -> None:
    """Signal that is gone is asked for again, with its beats; files that the database forgot are taken in."""
    recorder = Recorder(tmp_path, CONFIG, {})
    recorder.push([chunk(0, 500), gap(500, 510)], [beat(100), beat(450)], NOW)
    recorder.push([chunk(0, 50, bed="2"), gap(50, 60, bed="2"), chunk(60, 80, bed="2")], [], NOW)
    kill(recorder)
    (segment,) = segments(tmp_path)
    os.truncate(segment.path.with_suffix(".dat"), 400 * 4)
    db = sqlite3.connect(tmp_path / "session.db")
    db.execute("DELETE FROM segments WHERE bed = '2'")
    db.execute("DELETE FROM ledger WHERE bed = '2'")
    db.commit()
    db.close()
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        assert recorder.positions() == {
            "1": ResumePosition("run", 400, 125.0, 100, ended=False),
            "2": ResumePosition("run", 80, 125.0, None, ended=False),
        }
        recorder.push([chunk(400, 520)], [beat(450)], NOW)
    assert ledger(tmp_path) == [("run", 0, 520, 520, 0, 0)]
    assert ledger(tmp_path, "2") == [("run", 0, 80, 70, 10, 0)]
    assert read_back(tmp_path) == sent([chunk(0, 520)])
    assert spans(tmp_path, "2") == [("run", 0, 80)]


def test_a_segment_that_never_held_a_sample_is_forgotten(tmp_path: Path) -> None:
    """A kill between the making of the files and the first sample leaves nothing behind."""
    recorder = Recorder(tmp_path, CONFIG, {})
    recorder.push([chunk(0, 50)], [], NOW)
    kill(recorder)
    (segment,) = segments(tmp_path)
    os.truncate(segment.path.with_suffix(".dat"), 3)
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        assert recorder.positions()["1"].next == 0
    assert segments(tmp_path) == []
    assert not segment.path.parent.exists()


def full_disk(monkeypatch: pytest.MonkeyPatch, code: int = errno.ENOSPC) -> threading.Event:
    """Signal files take half of what is written to them, then nothing, until the event is set or the patch undone."""
    room, pwrite = threading.Event(), os.pwrite
    write_bytes = Path.write_bytes

    def write(descriptor: int, content: bytes, at: int) -> int:
        if room.is_set() or len(content) < 100:
            return pwrite(descriptor, content, at)
        if len(content) > 1000:
            return pwrite(descriptor, content[:501], at)
        raise OSError(code, os.strerror(code))

    def write_probe(path: Path, content: bytes) -> int:
        if path.name == "probe.tmp" and not room.is_set():
            raise OSError(code, os.strerror(code))
        return write_bytes(path, content)

    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(Path, "write_bytes", write_probe)
    return room


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_full_disk_pauses_the_recording_and_it_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The alarm says why; what comes meanwhile is lost, and counted; then a new segment begins."""
    with open_stepped(tmp_path) as recorder:
        recorder.push([chunk(0, 20)], [beat(5)], NOW)
        recorder.step()
        room = full_disk(monkeypatch, code)
        recorder.push([chunk(20, 1000)], [], NOW + 1)
        recorder.step()
        assert recorder.view().trouble == f"recording paused: {os.strerror(code)}"
        recorder.push([chunk(1000, 1300), gap(1300, 1400)], [beat(1100)], NOW + 2)
        recorder.step()
        room.set()
        recorder.step()
        assert not recorder.view().trouble
        recorder.push([chunk(1400, 1500)], [beat(1450)], NOW + 5)
        recorder.step()
        said = texts(recorder)
    assert said[0] == f"recording paused: {os.strerror(code)}; monitoring goes on"
    assert said[-1].startswith("recording goes on: ")
    assert spans(tmp_path) == [("run", 0, 20), ("run", 1400, 1500)]
    assert ledger(tmp_path) == [("run", 0, 1500, 120, 100, 1280)]
    assert read_back(tmp_path) == sent([chunk(0, 20), chunk(1400, 1500)])
    with RecordedSession(tmp_path) as session:
        assert [b.sample for b in session.beats("1")] == [5, 1450]
        assert [event_text(event) for _, event in session.events()] == said


Usage = namedtuple("Usage", "total used free")


def test_what_was_not_recorded_is_told_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that was full: the monitor's last line says how much is lost and why, and the list has no whole one."""
    recorder = open_stepped(tmp_path / "full")
    recorder.push([chunk(0, 20), chunk(0, 20, bed="2", fs=250.0)], [], NOW)
    recorder.step()
    with monkeypatch.context() as patch:
        full_disk(patch, errno.ENOSPC)
        recorder.push([chunk(20, 1020), chunk(20, 520, bed="2", fs=250.0)], [], NOW + 1)
        recorder.step()
        assert recorder.view().trouble
    recorder.step()
    assert not recorder.view().trouble
    _close_recorder(recorder)
    assert capsys.readouterr().err == "ecg-agent: 10.0 s of signal were not recorded: No space left on device\n"
    assert [listed.state for listed in summarise_sessions(tmp_path)] == ["incomplete"]
    with Recorder(tmp_path / "full", CONFIG, {}) as again:
        again.push([chunk(1020, 1030)], [], NOW + 9)
    assert not again.unrecorded()
    assert [listed.state for listed in summarise_sessions(tmp_path)] == ["incomplete"]
    with Recorder(tmp_path / "full", CONFIG, {}) as again:
        again.push([chunk(1155, 1200)], [], NOW + 10)
    assert again.unrecorded() == "1.0 s of signal were not recorded: nobody was there to record it"


def test_a_recording_that_could_not_be_finished_is_not_told_to_be_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the end finds no room, be there a segment or not, the list says so, until another monitor finishes it."""
    for name, before in (("none", []), ("some", [chunk(0, 20)])):
        recorder = Recorder(tmp_path / name, CONFIG, {})
        recorder.push(before, [], NOW)
        assert recorder.flush()
        with monkeypatch.context() as patch:
            patch.setattr("agent.recording.bed_writer.pack_int16", _refuse)
            patch.setattr("agent.recording.session_writer.database.write_transaction", _refuse)
            recorder.push([chunk(20, 145)], [], NOW)
            with pytest.raises(RunError, match="could not be finished: No space left"):
                _close_recorder(recorder)
        assert capsys.readouterr().err == "ecg-agent: 1.0 s of signal were not recorded: No space left on device\n"
    assert [listed.state for listed in summarise_sessions(tmp_path)] == ["interrupted", "interrupted"]
    with Recorder(tmp_path / "some", CONFIG, {}):
        pass
    assert [listed.state for listed in summarise_sessions(tmp_path / "some")] == ["complete"]


def test_a_paused_recording_is_tried_again_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that it is given: not before `retry_s` are over, and the pause is as long as the clock says."""
    now = [100.0]
    timing = RecorderTiming(retry_s=5.0, clock=lambda: now[0])
    with Recorder(tmp_path, CONFIG, {}, timing, threaded=False) as recorder:
        with monkeypatch.context() as patch:
            patch.setattr("agent.recording.bed_writer.pack_int16", _refuse)
            recorder.push([chunk(0, 20)], [], NOW)
            recorder.step()
        assert recorder.view().standing == RecordingPaused("No space left on device")
        for after_s in (0.5, 4.9, 5.0):
            now[0] = 100.0 + after_s
            recorder.step()
            assert (recorder.view().standing is None) == (after_s == 5.0)
        assert recorder.news() == [RecordingPaused("No space left on device"), RecordingResumed(5.0)]
        recorder.push([chunk(20, 40)], [], NOW + 6)
    assert ledger(tmp_path) == [("run", 0, 40, 20, 0, 20)]
    with RecordedSession(tmp_path) as session:
        assert [event for _, event in session.events()] == [
            RecordingPaused("No space left on device"),
            RecordingResumed(5.0),
        ]


def test_alarms_of_a_disk_that_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the reserve there is one alarm, below a fifth of it the recording pauses; both are over with room again."""
    free = [10**9]
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 0, free[0]))
    with open_stepped(tmp_path, replace(CONFIG, reserve_mb=500.0)) as recorder:
        recorder.push([chunk(0, 10)], [], NOW)
        recorder.step()
        assert texts(recorder) == []
        free[0] = 480_000_000
        recorder.push([chunk(10, 20)], [], NOW)
        recorder.step()
        recorder.step()
        assert texts(recorder) == [f"disk almost full: 480 MB left at {tmp_path}; recording pauses at 100 MB"]
        assert recorder.view().trouble == f"disk almost full: 480 MB left at {tmp_path}"
        assert recorder.view().free == 480_000_000
        assert recorder.view().standing == DiskSpaceChanged(str(tmp_path), 480_000_000, 100_000_000)
        free[0] = 99_000_000
        recorder.push([chunk(20, 30)], [], NOW)
        recorder.step()
        assert recorder.view().trouble == f"recording paused: disk full: 99 MB left at {tmp_path}"
        assert recorder.view().standing == RecordingPaused(f"disk full: 99 MB left at {tmp_path}")
        recorder.push([chunk(30, 40)], [], NOW)
        recorder.step()
        free[0] = 900_000_000
        recorder.step()
        assert (recorder.view().trouble, recorder.view().standing) == ("", None)
        recorder.push([chunk(40, 50)], [], NOW)
        recorder.step()
        assert [text.split(":")[0] for text in texts(recorder)] == [
            "recording paused",
            "disk no longer full",
            "recording goes on",
        ]
    assert spans(tmp_path) == [("run", 0, 30), ("run", 40, 50)]
    assert ledger(tmp_path) == [("run", 0, 50, 40, 0, 10)]


def test_the_oldest_is_deleted_beyond_the_limit(tmp_path: Path) -> None:
    """Closed segments of any bed go, oldest first, each said; their beats stay; what is recorded now stays."""
    rotate = 100_000
    config = replace(CONFIG, rotate_min=rotate / 125 / 60, limit_mb=2.5)
    with Recorder(tmp_path, config, {}) as recorder:
        for first in range(0, 10 * rotate, rotate):
            now_s = NOW + first / 125
            recorder.push([chunk(first, first + rotate), chunk(first, first + 10, bed="2")], [beat(first + 5)], now_s)
            assert recorder.flush()
        recorder.push([chunk(10 * rotate, 10 * rotate + 10)], [beat(7)], NOW)  # a late beat of what is gone
        assert recorder.flush()
        assert recorder.view().written < 2_500_000
        said = texts(recorder)
    kept = spans(tmp_path)
    assert 2 < len(kept) < 10
    assert kept[-1] == ("run", 10 * rotate, 10 * rotate + 10)
    assert len([text for text in said if "bed 1" in text]) == 11 - len(kept)
    assert said[0].startswith("deleted to stay below 2 MB: 13 min of bed 1 from 2025-01-01 00:00 UTC (1/0001)")
    assert len(list((tmp_path / "1").glob("*.dat"))) == len(kept)
    with RecordedSession(tmp_path) as session:
        assert session.beat_count("1") == 11
    assert read_segment_counts(segments(tmp_path)[0], 0, 1).tolist() == counts_of(kept[0][1], kept[0][1] + 1).tolist()
    record(tmp_path, chunk(10 * rotate + 10, 10 * rotate + 20), config=config)
    assert spans(tmp_path)[:-1] == kept


def test_a_deletion_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    """Files of a segment that is marked as deleted go when the session is continued."""
    record(tmp_path, chunk(0, 9), chunk(0, 9, run="new"))
    db = sqlite3.connect(tmp_path / "session.db")
    db.execute("UPDATE segments SET state = 'deleted' WHERE number = 1")
    db.commit()
    db.close()
    Recorder(tmp_path, CONFIG, {}).close()
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["0002.dat", "0002.ecg", "0002.hea"]


def test_a_disk_that_hangs_never_holds_up_the_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no place in the queue is a hole, said with its length; a new segment begins after it."""
    monkeypatch.setattr(recording, "MOST_BYTES", 40_000)
    monkeypatch.setattr(recording, "SILENT_S", 0.0)
    stuck, answers, pwrite = threading.Event(), threading.Event(), os.pwrite

    def write(descriptor: int, content: bytes, at: int) -> int:
        if len(content) > 1000:
            stuck.set()
            assert answers.wait(60)
        return pwrite(descriptor, content, at)

    monkeypatch.setattr(os, "pwrite", write)
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 1000)], [], NOW)
        assert stuck.wait(60)
        for first in range(1000, 100_000, 1000):  # would never end if any of these waited
            recorder.push([chunk(first, first + 1000)], [], NOW + first / 125)
        assert "too slow" in recorder.view().trouble
        answers.set()
        assert recorder.flush()
        monkeypatch.setattr(recording, "SILENT_S", 600.0)
        recorder.push([chunk(100_000, 100_100)], [beat(100_050)], NOW + 800)
        assert recorder.view().trouble == ""
        first_lost = len(read_back(tmp_path))
        assert texts(recorder) == [f"recording fell behind: {800 - first_lost / 125:.1f} s not recorded"]
    assert 1000 < first_lost < 10_000
    assert spans(tmp_path) == [("run", 0, first_lost), ("run", 100_000, 100_100)]
    assert ledger(tmp_path) == [("run", 0, 100_100, first_lost + 100, 0, 100_000 - first_lost)]


def test_an_end_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last samples find no room `close` says so; the session goes on later."""
    recorder = Recorder(tmp_path, CONFIG, {})
    recorder.push([chunk(0, 20)], [], NOW)
    assert recorder.flush()
    monkeypatch.setattr(os, "fdatasync" if hasattr(os, "fdatasync") else "fsync", lambda _: 0)
    monkeypatch.setattr("model.files._sync", _refuse)
    with pytest.raises(RunError, match="could not be finished: No space left"):
        recorder.close()
    recorder.close()
    monkeypatch.undo()
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        assert recorder.positions()["1"].next == 20
    assert spans(tmp_path) == [("run", 0, 20)]


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_fault_of_ours_pauses_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in the thread, it lives on and says so."""
    with open_stepped(tmp_path) as recorder:
        recorder.push([chunk(0, 20)], [], NOW)
        recorder.step()
        with monkeypatch.context() as patch:
            patch.setattr("agent.recording.bed_writer.pack_int16", lambda _: 1 / 0)
            refuse_probe(patch, lambda: ZeroDivisionError("division by zero"))
            recorder.push([chunk(20, 40)], [], NOW)
            recorder.step()
            assert "division by zero" in recorder.view().trouble
        recorder.step()
        assert not recorder.view().trouble
        recorder.push([chunk(40, 60)], [], NOW)
    assert spans(tmp_path) == [("run", 0, 20), ("run", 40, 60)]
    assert ledger(tmp_path) == [("run", 0, 60, 40, 0, 20)]


def recorded_events(folder: Path) -> list[Event]:
    with RecordedSession(folder) as session:
        return [event for _, event in session.events("1")]


def test_a_burst_of_events_is_recorded(tmp_path: Path) -> None:
    """However many events come between two writes, a disk that works gets them all."""
    burst: list[Event] = [LeadStateChanged("1", "run", sample, "lead off") for sample in range(2 * MOST_EVENTS)]
    started = RunStarted("1", "run", 0, "MLII", 125.0)
    record(tmp_path, chunk(0, 200), found=[started, *burst])
    assert recorded_events(tmp_path) == [started, *burst]


def test_events_while_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paused recording keeps the starts of runs and the latest events, and counts those that it leaves out."""
    burst: list[Event] = [LeadStateChanged("1", "run", sample, "lead off") for sample in range(MOST_EVENTS + 7)]
    started = RunStarted("1", "run", 0, "MLII", 125.0)
    with open_stepped(tmp_path) as recorder, monkeypatch.context() as patch:
        patch.setattr("agent.recording.bed_writer.pack_int16", lambda _: 1 / 0)
        refuse_probe(patch, lambda: ZeroDivisionError("division by zero"))
        recorder.push([chunk(0, 40)], [started], NOW)
        recorder.step()
        recorder.push([], burst, NOW)
        recorder.step()
        assert recorder.view().trouble
    assert recorded_events(tmp_path) == [started, *burst[7:]]
    with RecordedSession(tmp_path) as session:
        assert [event for _, event in session.events("") if isinstance(event, EventsOmitted)] == [
            EventsOmitted("signal", "", "", 0, (("signal", 7),))
        ]


def test_a_fault_while_closing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while a session is closed is one clear error, not a thread that ends without a word."""
    recorder = Recorder(tmp_path, CONFIG, {})
    recorder.push([chunk(0, 20)], [], NOW)
    assert recorder.flush()
    close = SessionWriter.close
    monkeypatch.setattr(SessionWriter, "close", lambda writer: close(writer) or 1 / 0)
    with pytest.raises(RunError, match=r"internal error: .*division by zero"):
        recorder.close()


def test_beats_that_the_annotations_could_not_take_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills between signal and annotations: these stay whole, and are complete once there is room."""
    with open_stepped(tmp_path) as recorder:
        recorder.push([chunk(0, 200)], [beat(50)], NOW)
        recorder.step()
        with monkeypatch.context() as patch:
            patch.setattr("agent.recording.segment_files._encode_beat_notes", _refuse)
            refuse_probe(patch, lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            recorder.push([chunk(200, 300)], [beat(150), beat(250)], NOW)
            recorder.step()
            assert recorder.view().trouble
            (segment,) = segments(tmp_path)
            assert wfdb.rdann(str(segment.path), "ecg").sample.tolist() == [50]
        recorder.step()
        assert not recorder.view().trouble
    assert wfdb.rdann(str(segment.path), "ecg").sample.tolist() == [50, 150, 250]
    with RecordedSession(tmp_path) as session:
        assert [b.sample for b in session.beats("1")] == [50, 150, 250]


@pytest.mark.slow
def test_many_beds_take_no_descriptors(tmp_path: Path) -> None:
    """Between two writes a recording holds its database and its lock, however many beds there are."""
    process = psutil.Process()
    before = process.num_fds()
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 5, bed=f"bed {i}") for i in range(200)], [], NOW)
        assert recorder.flush()
        assert process.num_fds() - before <= 6
    with RecordedSession(tmp_path) as session:
        assert len(session.beds) == 200
    assert process.num_fds() == before


@pytest.mark.slow
def test_memory_is_constant(tmp_path: Path) -> None:
    """Twenty hours of signal and beats, through a dozen rotations and many gaps, leave nothing in memory."""
    seconds, held = 60, []
    tracemalloc.start()
    try:
        with Recorder(tmp_path, replace(CONFIG, rotate_min=90), {}) as recorder:
            for minute in range(20 * 60):
                first = minute * seconds * 125
                messages: list[Message] = [chunk(first, first + 7000), gap(first + 7000, first + 7500)]
                recorder.push(messages, [beat(first + at) for at in range(0, 7000, 500)], NOW + minute * seconds)
                if minute % 60 == 59:
                    assert recorder.flush()
                if minute % 300 == 299:
                    assert recorder.flush()  # nothing is under way any more
                    held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[0] < 50_000
    assert ledger(tmp_path) == [("run", 0, 20 * 3600 * 125, 20 * 60 * 7000, 20 * 60 * 500, 0)]
