"""Alarms and their strips in a recording: written once, read back, upgraded, harmed, converted."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.indexed import CONFIG, NOW, beat, chunk, gap, kill, record, refuse_probe

from agent.core.events import EventText
from agent.core.messages import Alarm, FloatArray, Result, Strip
from agent.export.convert import convert_recording
from agent.export.listing import build_session_table, summarise_sessions
from agent.outputs.json_lines import alarm_to_json
from agent.recording import alarm_records as module
from agent.recording import recorder as recording
from agent.recording.alarm_records import LONGEST_STRIP, PendingAlarms, pack_strip_wave, unpack_strip_wave
from agent.recording.recorder import Recorder, RecorderTiming
from agent.recording.recorder_batches import estimate_bytes
from agent.recording.sessions import RecordedSession
from model.errors import RecordError


def alarm(onset: int = 200, bed: str = "1", run: str = "run", **changes: Any) -> Alarm:
    made = Alarm(bed, run, "V run", "medium", "V run: 5 beats at 150/min", onset, onset + 60, NOW + onset / 125)
    return replace(made, **changes)


def strip(of: Alarm, count: int = 2500) -> Strip:
    wave = np.round(np.sin(np.arange(count) / 9), 3).astype(np.float32)
    wave[count // 3 : count // 3 + 7] = np.nan
    return Strip(of, "MLII", of.announced - 1250, wave)


def told(folder: Path, bed: str = "1", run: str | None = None) -> list[Alarm]:
    with RecordedSession(folder) as session:
        assert session.alarm_count(bed) == len(list(session.alarms(bed)))
        return list(session.alarms(bed, run))


def strips(folder: Path, bed: str = "1") -> list[Strip]:
    with RecordedSession(folder) as session:
        return list(session.strips(bed))


def read_all(folder: Path) -> None:
    strips(folder)
    told(folder)


def change(folder: Path, statement: str, *values: Any) -> None:
    db = sqlite3.connect(folder / "session.db")
    db.execute(statement, values)
    db.commit()
    db.close()


def downgrade(folder: Path) -> None:
    """Make a closed session one of version 1."""
    db = sqlite3.connect(folder / "session.db")
    db.executescript("DROP TABLE alarms; DROP TABLE strips; PRAGMA user_version = 1;")
    db.executescript("ALTER TABLE events DROP COLUMN event_type; ALTER TABLE events DROP COLUMN data;")
    db.close()


def test_alarms_come_back_as_they_stood_last(tmp_path: Path) -> None:
    """One row however often it is told; of each bed and run; with all fields; strips with what is missing in them."""
    first, other = alarm(), alarm(300, condition="asystole", priority="high", latching=True, announced_s=NOW + 9)
    elsewhere = alarm(200, bed="2", run="other")
    ended = replace(first, ended=500, text="V run: 9 beats at 150/min", priority="high")
    seen = replace(ended, acknowledged_s=NOW + 30)
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 500), chunk(0, 500, bed="2", run="other")], [beat(100), first, elsewhere], NOW)
        assert recorder.flush()
        recorder.push([chunk(500, 600)], [ended, strip(first), other, strip(other, 7), seen], NOW)
    assert told(tmp_path) == told(tmp_path, run="run") == [seen, other]
    assert told(tmp_path, run="other") == []
    assert told(tmp_path, "2") == [elsewhere]
    found = strips(tmp_path)
    assert [(one.alarm, one.lead, one.first) for one in found] == [(seen, "MLII", -990), (other, "MLII", -890)]
    for one, of in zip(found, (strip(first), strip(other, 7)), strict=True):
        assert one.wave.dtype == np.float32
        np.testing.assert_array_equal(one.wave, of.wave)
    with RecordedSession(tmp_path) as session:
        assert [b.sample for b in session.beats("1")] == [100]
        assert list(session.events()) == []


def test_a_monitor_that_goes_on_does_not_double_an_alarm(tmp_path: Path) -> None:
    """Told again after a kill: the same row; first announcement and acknowledgement stay, its end is the new one."""
    first = alarm(acknowledged_s=NOW + 5)
    recorder = Recorder(tmp_path, CONFIG, {})
    recorder.push([chunk(0, 500)], [first, strip(first)], NOW)
    kill(recorder)
    assert told(tmp_path) == [first]
    assert len(strips(tmp_path)) == 1
    again = alarm(announced=290, announced_s=NOW + 60)
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([chunk(500, 900)], [again, strip(again, 30), replace(again, ended=700)], NOW + 60)
    assert told(tmp_path) == [replace(first, ended=700)]
    (kept,) = strips(tmp_path)
    assert len(kept.wave) == 2500  # the shorter strip of the second telling is no better


def test_a_strip_brings_its_alarm_where_that_was_lost(tmp_path: Path) -> None:
    """But it never undoes what the alarm was told to be since."""
    lost, known = alarm(100), alarm(300)
    record(tmp_path, chunk(0, 500), found=[strip(lost), known, replace(known, ended=400), strip(known)])
    assert told(tmp_path) == [replace(known, ended=400), lost]
    assert len(strips(tmp_path)) == 2


def test_a_paused_recording_keeps_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alarms wait, a bounded number of them, until something can be written."""
    monkeypatch.setattr(module, "MOST_PENDING", 5)
    with Recorder(tmp_path, CONFIG, {}, RecorderTiming(retry_s=0.0), threaded=False) as recorder:
        recorder.push([chunk(0, 100)], [], NOW)
        recorder.step()
        with monkeypatch.context() as patch:
            patch.setattr("agent.recording.bed_writer.pack_int16", lambda _: 1 / 0)
            refuse_probe(patch, lambda: ZeroDivisionError("division by zero"))
            recorder.push([chunk(100, 200)], [alarm(onset) for onset in range(3)], NOW)
            recorder.step()
            assert recorder.view().trouble
            for onset in range(3, 20):
                one = alarm(onset)
                recorder.push([chunk(100 * onset, 100 * onset + 100)], [one, strip(one, 5)], NOW)
            recorder.step()
            assert recorder.view().trouble
        recorder.step()
        assert not recorder.view().trouble
    onsets = [one.onset for one in told(tmp_path)]
    assert onsets[-5:] == [15, 16, 17, 18, 19]
    assert onsets == sorted(onsets)


def test_waiting_alarms_are_bounded() -> None:
    """However many are told while nothing is written."""
    waiting = PendingAlarms()
    assert not waiting
    for onset in range(3 * module.MOST_PENDING):
        waiting.take(strip(alarm(onset), 2))
    db = sqlite3.connect(":memory:")
    db.executescript(recording_schema())
    waiting.save(db)
    assert db.execute("SELECT count(*), max(onset) FROM strips").fetchone() == (1000, 2999)
    assert db.execute("SELECT count(*), max(onset) FROM alarms").fetchone() == (1000, 2999)
    waiting.clear()
    assert not waiting
    db.close()


def recording_schema() -> str:
    from agent.recording import database

    return database._SCHEMA


def test_the_queue_counts_waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strip that finds no place is not taken."""
    monkeypatch.setattr(recording, "MOST_BYTES", 15_000)
    assert estimate_bytes([chunk(0, 10)], [alarm(), beat(1)]) < 2000
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
        for onset in (100, 300):
            recorder.push([], [alarm(onset), strip(alarm(onset), 1000)], NOW)
        answers.set()
        assert recorder.flush()
    assert [one.onset for one in told(tmp_path)] == [100]


def test_a_version_1_session_is_read_and_upgraded(tmp_path: Path) -> None:
    """Without alarms as it is; continued it gets them, and keeps all it had."""
    record(tmp_path / "s", chunk(0, 500), found=[beat(100)])
    downgrade(tmp_path / "s")
    before = (tmp_path / "s" / "session.db").read_bytes()
    with RecordedSession(tmp_path / "s") as session:
        assert session.version == 1
        assert session.alarm_count("1") == 0
        assert [b.sample for b in session.beats("1")] == [100]
    assert told(tmp_path / "s") == []
    assert strips(tmp_path / "s") == []
    (listed,) = summarise_sessions(tmp_path / "s")
    assert (listed.state, listed.alarms) == ("complete", 0)
    convert_recording(tmp_path / "s", tmp_path / "out.jsonl")
    assert (tmp_path / "s" / "session.db").read_bytes() == before
    one = alarm(520)
    with Recorder(tmp_path / "s", CONFIG, {}) as recorder:
        recorder.push([chunk(500, 600)], [one], NOW)
    assert told(tmp_path / "s") == [one]
    with RecordedSession(tmp_path / "s") as session:
        assert session.version == 3
        assert [b.sample for b in session.beats("1")] == [100]


def test_an_upgrade_that_was_interrupted_is_tried_again(tmp_path: Path) -> None:
    """Tables without the version: still one of version 1 that nothing is lost of."""
    record(tmp_path, chunk(0, 500))
    downgrade(tmp_path)
    change(tmp_path, "CREATE TABLE alarms(id INTEGER PRIMARY KEY)")
    with pytest.raises(RecordError, match="other tables"):
        told(tmp_path)
    change(tmp_path, "DROP TABLE alarms")
    record(tmp_path, found=[alarm()])
    assert told(tmp_path) == [alarm()]


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("UPDATE alarms SET priority = 'urgent'", ()),
        ("UPDATE alarms SET run = ?", ("\x1b[2J" * 20,)),
        ("UPDATE alarms SET condition = ?", ("x" * 65,)),
        ("UPDATE alarms SET onset = 'soon'", ()),
        ("UPDATE alarms SET announced = 1e300", ()),
        ("UPDATE alarms SET announced_s = 1e300", ()),
        ("UPDATE alarms SET acknowledged_s = -1", ()),
        ("UPDATE alarms SET latching = 'yes'", ()),
        ("UPDATE alarms SET ended = 'never'", ()),
        ("UPDATE alarms SET text = ?", (b"\xff",)),
        ("UPDATE strips SET wave = ?", (b"\0",)),
        ("UPDATE strips SET wave = 'AAAA'", ()),
        ("UPDATE strips SET wave = zeroblob(1000000)", ()),
        ("UPDATE strips SET first = 'x'", ()),
        ("UPDATE strips SET lead = ?", ("x" * 100,)),
        ("DROP TABLE strips", ()),
        ("DROP TABLE alarms", ()),
        ("ALTER TABLE alarms RENAME COLUMN ended TO over", ()),
    ],
)
def test_hostile_alarms_are_refused(tmp_path: Path, statement: str, values: tuple[Any, ...]) -> None:
    """An error of ours in one printable line."""
    record(tmp_path, chunk(0, 500), found=[alarm(), strip(alarm())])
    change(tmp_path, statement, *values)
    with pytest.raises(RecordError) as caught:
        read_all(tmp_path)
    assert str(caught.value).isprintable()


def test_what_alarms_say_is_printable(tmp_path: Path) -> None:
    """Control characters cannot reach a terminal; conditions of a later version are shown as they are."""
    record(tmp_path, chunk(0, 500), found=[alarm(), strip(alarm())])
    change(tmp_path, "UPDATE alarms SET text = ?, condition = ?", "a\x1b[2Jb", "new\x07")
    change(tmp_path, "UPDATE strips SET condition = ?, lead = ?", "new\x07", "V\x1b1")
    (one,) = told(tmp_path)
    assert (one.text, one.condition) == ("a?[2Jb", "new?")
    assert [part.lead for part in strips(tmp_path)] == ["V?1"]


def test_signal_that_a_power_cut_took_takes_its_alarms(tmp_path: Path) -> None:
    """They are told again when the signal is had again; those of before stay."""
    recorder = Recorder(tmp_path, CONFIG, {})
    early, late = alarm(100), alarm(450)
    recorder.push([chunk(0, 500)], [early, strip(early, 5), late, strip(late, 5)], NOW)
    kill(recorder)
    (data,) = tmp_path.glob("*/0001.dat")
    data.write_bytes(data.read_bytes()[: 400 * 4])
    Recorder(tmp_path, CONFIG, {}).close()
    assert told(tmp_path) == [early]
    assert len(strips(tmp_path)) == 1


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from agent.recording.recorder import Recorder
from support.indexed import CONFIG, NOW, chunk
from test_recording_alarms import alarm, strip

recorder = Recorder(Path(sys.argv[1]), CONFIG, {})
for i in range(100_000):
    one = alarm(100 * i)
    recorder.push([chunk(100 * i, 100 * i + 100)], [one, strip(one)], NOW)
    if i % 5 == 4 and recorder.flush():
        print(i, flush=True)
"""


def test_alarms_survive_a_kill(tmp_path: Path) -> None:
    """All that was handed over is there after SIGKILL, and its strips."""
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "s")], cwd=root, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(4):
            line = process.stdout.readline()
        process.kill()
        rest = process.stdout.read().split()
    last = int((rest or [line])[-1])
    found = [one.onset for one in told(tmp_path / "s")]
    assert found == list(range(0, found[-1] + 1, 100))
    assert found[-1] >= 100 * last
    assert [one.alarm.onset for one in strips(tmp_path / "s")] == found


def test_json_lines_have_alarms(tmp_path: Path) -> None:
    """Where they were announced, as they stood last; of one segment those that began in it."""
    one, two = alarm(50, ended=400), alarm(300, condition="asystole")
    found: Sequence[Result] = [EventText("start", "1", "run", 0, "run run"), beat(40), one, beat(200), two, beat(350)]
    config = replace(CONFIG, rotate_min=250 / 125 / 60)
    record(tmp_path / "s", chunk(0, 500), found=found, config=config)
    convert_recording(tmp_path / "s", tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["event", "beat", "alarm", "beat", "alarm", "beat"]
    assert [line for line in lines if line["type"] == "alarm"] == [
        alarm_to_json(item, NOW + item.onset / 125) for item in (one, two)
    ]
    assert set(lines[2]) == {
        *("type", "bed", "run", "sample", "time_s", "time", "condition", "priority", "text", "onset"),
        *("announced", "ended", "acknowledged_s", "latching"),
        *("announced_time", "ended_time", "acknowledged_time"),
    }
    assert lines[2]["time_s"] == 0.4
    convert_recording(tmp_path / "s" / "1" / "0002", tmp_path / "part.jsonl")
    part = [json.loads(line) for line in (tmp_path / "part.jsonl").read_text().splitlines()]
    assert [line["onset"] for line in part if line["type"] == "alarm"] == [300]


def test_the_document_has_every_key() -> None:
    """docs/json-lines.md names what alarm_line gives."""
    text = (Path(__file__).parents[1] / "docs" / "json-lines.md").read_text().partition("## An alarm")[2]
    assert all(f"| `{key}` |" in text.partition("\n## ")[0] for key in alarm_to_json(alarm(), None))


@pytest.mark.parametrize("fs", [125.0, 250.0])
def test_edf_has_alarms(tmp_path: Path, fs: float) -> None:
    """At their onset, as long as they lasted within the run; between runs by the clock; none from elsewhere."""
    scale = round(fs / 125)
    alarms = [alarm(50, ended=175), alarm(300), alarm(700, ended=9000), alarm(5000), alarm(80, run="next", ended=90)]
    with Recorder(tmp_path / "s", CONFIG, {}) as recorder:
        recorder.push([chunk(0, 400 * scale, fs=fs), gap(400 * scale, 650 * scale, fs=fs)], alarms[:2], NOW)
        recorder.push([chunk(650 * scale, 800 * scale, fs=fs)], alarms[2:4], NOW)
        start = chunk(0, 100 * scale, run="next", fs=fs, sent_s=NOW + 20)
        recorder.push([start], alarms[4:], NOW)
    convert_recording(tmp_path / "s", tmp_path / "out.edf")
    found = edfio.read_edf(tmp_path / "out.edf").annotations
    made = [(round(one.onset, 3), one.duration) for one in found if one.text == "alarm: V run: 5 beats at 150/min"]
    next_run = round(20 - 0.8 + 80 / 125, 3)
    assert made == [(0.4, 1.0), (2.4, None), (5.6, 0.8), (pytest.approx(next_run, abs=0.01), 0.08)]


def test_sessions_count_alarms(tmp_path: Path) -> None:
    """As a number, and as a column where there are any, which a long day leaves room for."""
    record(tmp_path / "s", chunk(0, 500), found=[alarm(), alarm(300), replace(alarm(), ended=400)])
    (listed,) = summarise_sessions(tmp_path / "s")
    assert listed.alarms == 2
    from rich.console import Console

    day = replace(listed, beats=103_680, length_s=86_400.0, state="interrupted", recording="a-long-name" * 3)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(build_session_table([day]))
    lines = capture.get().splitlines()
    assert "alarms" in lines[0]
    assert lines[1].rstrip().endswith("interrupted")
    assert max(map(len, lines)) <= 80


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=50))
def test_a_wave_of_any_values_can_be_kept(values: list[float]) -> None:
    """To a microvolt within what 16 bits hold, cut to that beyond; NaN stays NaN and nothing else becomes it."""
    wave: FloatArray = np.array(values, np.float32)
    back = unpack_strip_wave(pack_strip_wave(wave))
    np.testing.assert_array_equal(np.isnan(back), np.isnan(wave))
    inside = np.abs(wave) < 32.7
    np.testing.assert_allclose(back[inside], wave[inside], atol=0.00051)
    assert (np.abs(back[~inside & ~np.isnan(wave)]) >= 32.69).all()


def test_a_strip_is_kept_up_to_a_minute() -> None:
    """So no strip can fill a session."""
    assert len(unpack_strip_wave(pack_strip_wave(np.zeros(10 * LONGEST_STRIP, np.float32)))) == LONGEST_STRIP


def test_reading_a_copy_of_a_live_session(tmp_path: Path) -> None:
    """Alarms that are in the side file only are read too."""
    recorder = Recorder(tmp_path / "s", CONFIG, {})
    recorder.push([chunk(0, 100)], [alarm()], NOW)
    assert recorder.flush()
    shutil.copytree(tmp_path / "s", tmp_path / "copy")
    recorder.close()
    assert told(tmp_path / "copy") == told(tmp_path / "s") == [alarm()]
