import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import wfdb
from support.indexed import CONFIG, counts_of

from agent.core.messages import MISSING
from agent.recording.recorded_segments import read_segment_counts
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
KILLS = 10
GAP_EVERY, GAP, STEP, BEAT_EVERY = 1000, 30, 40, 100
CHILD = f"""
import sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, "tests")
from agent.recording.recorder import Recorder, RecorderTiming
from support.indexed import CONFIG, NOW, beat, chunk, gap

config = replace(CONFIG, rotate_min=1500 / 125 / 60, sync_s=0.05)
recorder = Recorder(Path(sys.argv[1]), config, {{}}, RecorderTiming(flush_s=0.02))
place, other = recorder.positions().get("1"), recorder.positions().get("2")
at, told = (place.next, -1 if place.last_beat is None else place.last_beat) if place else (0, -1)
later = other.next if other else 0
for i in range(100_000):
    stop = min(at + {STEP}, (at // {GAP_EVERY} + 1) * {GAP_EVERY})
    missing = min(stop, at // {GAP_EVERY} * {GAP_EVERY} + {GAP})
    messages = [gap(at, missing)] if missing > at else []
    messages += [chunk(max(at, missing), stop)] if stop > missing else []
    beats = [beat(sample, "NSVFQ"[sample // {BEAT_EVERY} % 5]) for sample in range(told + 1, stop)
             if sample % {BEAT_EVERY} == 50]
    told = max([told, *(found.sample for found in beats)])
    messages += [chunk(later, 2 * stop, bed="2", fs=250.0)] if 2 * stop > later else []
    recorder.push(messages, beats, NOW)
    at, later = stop, max(later, 2 * stop)
    if i % 7 == 6 and recorder.flush():
        print(at, flush=True)
    time.sleep(0.001)
"""
"""Records until it is killed, and says up to which sample all is with the system."""


def record_and_kill(folder: Path, lines: int, wait_s: float) -> int:
    """Kill a recording process some time after it has told so often; what it had told by then."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    return int(rest[-1]) if rest else 0


def check(folder: Path, bed: str, least: int) -> int:
    """What is on disk is what was pushed, up to a sample that is no earlier than the process knew; that sample."""
    with RecordedSession(folder) as session:
        made = session.segments(bed)
    following = 0
    for segment in made:
        counts = read_segment_counts(segment, 0, segment.count)
        index = np.arange(segment.first, segment.first + segment.count)
        expected = counts_of(segment.first, segment.first + segment.count)
        if bed == "1":
            expected[index % GAP_EVERY < GAP] = MISSING
            assert all(i % GAP_EVERY < GAP for i in range(following, segment.first))
        else:
            assert segment.first == following
        np.testing.assert_array_equal(counts, expected)
        following = segment.first + segment.count
    assert following >= least - GAP
    return following


@pytest.mark.parametrize("seed", [0])
def test_what_is_recorded_survives_kills_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Killed ten times, continued each time: no wrong or repeated sample or beat, none lost that was handed over."""
    chosen, folder = random.Random(seed), tmp_path / "session"
    for _ in range(KILLS):
        safe = record_and_kill(folder, chosen.randint(1, 20), chosen.uniform(0, 0.04))
        check(folder, "1", safe)
        check(folder, "2", 2 * safe)
        with RecordedSession(folder) as session:
            beats = [beat.sample for beat in session.beats("1")]
            assert beats == list(range(50, beats[-1] + 1, BEAT_EVERY))
            assert beats[-1] >= safe - BEAT_EVERY
    Recorder(folder, CONFIG, {}).close()
    db = sqlite3.connect(folder / "session.db")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("SELECT count(*) FROM segments WHERE state != 'closed'").fetchone() == (0,)
    closes = db.execute("SELECT next - first - recorded - missing - lost, lost FROM ledger").fetchall()
    db.close()
    assert closes == [(0, 0), (0, 0)]
    with RecordedSession(folder) as session:
        assert len(session.segments("1")) > KILLS
        placed = 0
        for segment in session.segments("1"):
            signal_file = wfdb.rdrecord(str(segment.path), physical=False)
            assert signal_file.d_signal.shape == (segment.count, 2)
            assert [value % 2**16 for value in signal_file.checksum] == signal_file.calc_checksum()
            notes = wfdb.rdann(str(segment.path), "ecg")
            inside = list(session.beats("1", segment))
            assert notes.sample.tolist() == [beat.sample - segment.first for beat in inside]
            assert notes.symbol == [beat.label for beat in inside]
            placed += len(inside)
        assert placed == session.beat_count("1")
