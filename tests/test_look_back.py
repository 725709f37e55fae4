"""agent.monitor.look_back: trends, alarms, strips and signal, from memory and from a recording."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.monitored import RecordingMonitor, second_packets

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.events import AlarmsHandled
from agent.core.look_back import BedPast, PastRequest
from agent.core.messages import Alarm, Beat, Chunk, Strip
from agent.core.run_clock import RunClock
from agent.monitor.alarm_history import AlarmHistory
from agent.monitor.look_back import KEPT_STRIPS_OF_BED, LookBack
from agent.recording.sessions import RecordedSession

NOW = 1_735_689_600.0
WAIT_S = 20.0


def until(ask: Callable[[], BedPast], ready: Callable[[BedPast], object]) -> BedPast:
    """Return the answer of a thread once it is ready."""
    end_s = time.monotonic() + WAIT_S
    while not ready(past := ask()):
        assert time.monotonic() < end_s, past
        time.sleep(0.01)
    return past


def alarm(onset: int, bed: str = "1", ended: int | None = None, seen_s: float | None = None) -> Alarm:
    known = (onset, onset + 125, NOW + onset / 125 + 1)
    return Alarm(bed, "run", "V run", "medium", "5 V beats", *known, ended=ended, acknowledged_s=seen_s)


def strip(of: Alarm) -> Strip:
    return Strip(of, "II", of.onset - 1000, np.zeros(2500, np.float32))


def beat(sample: int, run: str = "run") -> Beat:
    return Beat("1", sample, sample, "N", (1.0, 0.0, 0.0, 0.0, 0.0), None, NOW, run=run)


def test_a_strip_is_kept_with_beats_that_come_before_and_after() -> None:
    """A strip has the beats that were known when it was cut, and those that were decided later."""
    history = AlarmHistory()
    known = [beat(100), beat(700), beat(900, "other")]
    past = LookBack(history, RunClock(), recent_beats=lambda _bed: known)
    first = alarm(1500)
    for sink in (history, past):
        sink.push([], [first, strip(first)], NOW)
    past.push([], [beat(2950), beat(2950), beat(3100), beat(2960)], NOW)
    found, _ = past.strip(first.identity)
    assert found is not None
    assert [item.sample for item in found.piece.beats] == [700, 2950]
    assert found.piece.first_s == pytest.approx(first.announced_s - 9)
    assert found.past.alarm is first


def test_few_strips_are_kept_of_a_bed() -> None:
    """A noisy bed keeps only its latest strips."""
    history = AlarmHistory()
    past = LookBack(history, RunClock())
    alarms = [alarm(1000 * (i + 1)) for i in range(KEPT_STRIPS_OF_BED + 3)]
    for sink in (history, past):
        sink.push([], [item for of in alarms for item in (of, strip(of))], NOW)
    kept = [of for of in alarms if past.strip(of.identity)[0]]
    assert kept == alarms[3:]


def test_who_acknowledged_is_known() -> None:
    """An alarm names who acknowledged it; one that nobody saw names nobody."""
    history = AlarmHistory()
    past = LookBack(history, RunClock())
    seen, open_still = alarm(1000, seen_s=NOW), alarm(9000)
    done = AlarmsHandled("1", "run", 5000, "acknowledged", "nurse")
    for sink in (history, past):
        sink.push([], [seen, open_still, replace(done, action="silenced", by="other"), done], NOW + 0.1)
    newest, oldest = past.alarms("1")[0]
    assert (newest.alarm, newest.handled_by, newest.ended_s) == (open_still, None, None)
    assert (oldest.handled_by, oldest.onset_s) == ("nurse", seen.announced_s - 1)


def test_an_alarm_that_goes_on_has_its_present_reason() -> None:
    """In the list and with its strip; one that is over keeps the reason that it had then."""
    history = AlarmHistory()
    over, first = alarm(1000, ended=2000), alarm(1500)
    present = [replace(first, text="9 V beats"), replace(over, ended=None, text="never")]
    past = LookBack(history, RunClock(), open_alarms=lambda bed: present[:1] if bed == "1" else present)
    for sink in (history, past):
        sink.push([], [over, first, strip(first)], NOW)
    assert [found.alarm for found in past.alarms("1")[0]] == [present[0], over]
    found, _ = past.strip(first.identity)
    assert found is not None
    assert found.past.alarm.text == "9 V beats"
    history.push([], [replace(present[0], ended=2500)], NOW)
    present.clear()
    assert [found.alarm.ended for found in past.alarms("1")[0]] == [2500, 2000]


def test_without_a_recording_older_signal_is_refused_in_words() -> None:
    """Signal that only a recording would have is answered with what to do."""
    past = LookBack(AlarmHistory(), RunClock())
    answer = past.past(PastRequest("1", signal=("run", 0, 100)), NOW)
    assert answer.signal is None
    assert "--record" in answer.trouble
    assert not answer.reading


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, settings: Config, classifier: BeatClassifier) -> Path:
    """A recording of two runs of record 208, whose monitor was killed."""
    folder = tmp_path_factory.mktemp("looked") / "rec"
    monitor = RecordingMonitor(folder, settings, classifier)
    for run, start_s in (("one", 0), ("two", 60)):
        packets = second_packets("208", start_s, 40, run)[: -1 if run == "two" else None]
        for _ in monitor.take(packets):
            pass
    monitor.session.actions.acknowledge("208", "nurse")
    assert list(monitor.take(second_packets("208", 100, 1, "two")[:0])) == []
    monitor.session.step([], monitor.session.clock())
    monitor.recorder.close()
    return folder


def resumed(folder: Path, settings: Config, classifier: BeatClassifier) -> RecordingMonitor:
    return RecordingMonitor(folder, settings, classifier)


def test_a_resumed_monitor_knows_the_past(folder: Path, settings: Config, classifier: BeatClassifier) -> None:
    """A monitor that goes on with a recording has the trend, the alarms and the strips of the one before."""
    monitor = resumed(folder, settings, classifier)
    session = monitor.session
    try:
        request = PastRequest("208", hours=1, alarms=True)

        def ask() -> BedPast:
            session.step([], session.clock())
            return session.past(request, session.clock())

        past = until(ask, lambda past: past.trend and not past.trend.is_filling and not past.reading)
        assert past.trend is not None
        with RecordedSession(folder) as recorded:
            rates = [item.heart_rate for item in recorded.beats("208") if item.heart_rate is not None]
        known = np.isfinite(past.trend.heart_rate)
        assert min(rates) <= past.trend.heart_rate[known].mean() <= max(rates)
        assert np.nanmin(past.trend.lowest) == pytest.approx(min(rates))
        assert np.nanmax(past.trend.highest) == pytest.approx(max(rates))
        assert past.trend.missing[known].max() < 0.02
        assert past.alarms
        assert any(item.handled_by == "nurse" for item in past.alarms)
        wanted = next(item for item in reversed(past.alarms) if item.alarm.run == "one")

        def ask_strip() -> BedPast:
            return session.past(PastRequest("208", strip=wanted.identity), session.clock())

        strip_of = until(ask_strip, lambda past: past.strip).strip
        assert strip_of is not None
        piece = strip_of.piece
        assert len(piece.beats) > 8
        assert all(piece.first <= item.sample < piece.stop for item in piece.beats)
        assert not piece.uncalibrated
    finally:
        session.look_back.close()
        monitor.recorder.close()


def test_recorded_signal_is_read_back(folder: Path, settings: Config, classifier: BeatClassifier) -> None:
    """A piece of a run is what the device sent, NaN before its first sample, with its beats."""
    monitor = resumed(folder, settings, classifier)
    session = monitor.session
    try:
        packets = [message for message in second_packets("208", 0, 40, "one") if isinstance(message, Chunk)]
        lead = packets[0].leads[0]
        request = PastRequest("208", signal=("one", -125, 1250), lead=lead.name)

        def ask() -> BedPast:
            return session.past(request, session.clock())

        piece = until(ask, lambda past: past.signal).signal
        assert piece is not None
        assert (piece.lead, piece.first, len(piece.wave)) == (lead.name, -125, 1250)
        assert np.isnan(piece.wave[:125]).all()
        sent = np.concatenate([packet.counts[:, 0] for packet in packets])[:1125]
        assert piece.wave[125:] == pytest.approx((sent - lead.offset) / lead.gain, abs=1e-5)
        assert len(piece.beats) > 5
        assert session.past(replace(request, signal=("never", 0, 10)), session.clock()).signal is None
    finally:
        session.look_back.close()
        monitor.recorder.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE alarms SET announced_s = 'x'",
        "UPDATE segments SET started_s = 'x'",
        "UPDATE segments SET path = '../../etc/' || id",
    ],
)
def test_a_hostile_database_is_a_trouble_in_words(folder: Path, tmp_path: Path, damage: str) -> None:
    """What cannot be read is told in words, and nothing is raised."""
    (tmp_path / "session.db").write_bytes((folder / "session.db").read_bytes())
    with sqlite3.connect(tmp_path / "session.db") as db:
        db.execute(damage)
    db.close()
    past = LookBack(AlarmHistory(), RunClock(), tmp_path)
    try:
        answer = until(
            lambda: past.past(PastRequest("208", alarms=True), NOW), lambda answer: answer.trouble or not answer.reading
        )
        assert "cannot read session.db" in answer.trouble
        assert answer.alarms == ()
    finally:
        past.close()
