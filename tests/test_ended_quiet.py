"""A pause and a silence do not outlive the monitor: the one that goes on with it tells their end."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.indexed import CONFIG, NOW, chunk, kill
from support.monitored import RecordingMonitor, second_packets
from test_result_lines import written

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.events import RESTARTED, AlarmsHandled
from agent.core.messages import Alarm, Result, ResumePosition
from agent.core.wording import event_text
from agent.outputs.text_lines import JsonLineSink, TextLineSink
from agent.recording.recorder import Recorder
from agent.recording.resume import read_ended_quiet
from agent.recording.sessions import RecordedSession
from model.records.resample import FS

HIGH = Alarm("1", "run", "asystole", "high", "no QRS for 5 s", 60, 90, NOW + 20)
AT = {"1": ResumePosition("run", 1000, 250.0), "2": ResumePosition("later", 400, FS)}


def handled(action: str, bed: str = "1") -> AlarmsHandled:
    return AlarmsHandled(bed, "run", 50, action, "Ada")  # type: ignore[arg-type]


def left(folder: Path, *steps: tuple[float, Result]) -> Path:
    """A recording with these results, each so many seconds after its begin, whose monitor was killed."""
    recorder = Recorder(folder, CONFIG, {})
    recorder.push([chunk(0, 100)], [], NOW)
    for after_s, result in steps:
        recorder.push([], [result], NOW + after_s)
    kill(recorder)
    return folder


@pytest.mark.parametrize(
    ("steps", "after_s", "ends"),
    [
        ([(10, handled("acknowledged"))], 20, []),
        ([(10, handled("paused"))], 20, ["on again"]),
        ([(10, handled("paused"))], 5000, ["on again"]),
        ([(10, handled("paused")), (12, handled("on again"))], 20, []),
        ([(10, handled("paused")), (130, handled("pause over"))], 140, []),
        ([(10, handled("paused")), (12, handled("on again")), (14, handled("paused"))], 20, ["on again"]),
        ([(10, handled("silenced"))], 129, ["sounding again"]),
        ([(10, handled("silenced"))], 131, []),
        ([(10, handled("silenced")), (12, handled("sounding again"))], 20, []),
        ([(10, handled("silenced")), (20, HIGH)], 30, []),
        ([(5, HIGH), (25, handled("silenced"))], 30, ["sounding again"]),
        ([(10, handled("silenced")), (11, handled("paused"))], 20, ["sounding again", "on again"]),
        ([(10, handled("paused")), (12, handled("acknowledged"))], 20, ["on again"]),
    ],
)
def test_what_a_restart_ends(
    tmp_path: Path, steps: Sequence[tuple[float, Result]], after_s: float, ends: list[str]
) -> None:
    """What stood when the monitor ended, and not what was over by then; at the place where the bed was left."""
    folder = left(tmp_path / "night", *steps)
    found = read_ended_quiet(folder, AT, NOW + after_s, 120.0)
    assert [event.action for event in found] == ends
    assert {(event.bed, event.run, event.sample, event.by) for event in found} <= {("1", "run", 500, RESTARTED)}


def test_each_bed_has_its_own_end(tmp_path: Path) -> None:
    """In the run that it is in by now; where none is known, in that of the pause."""
    steps = [(float(at), handled("paused", bed)) for at, bed in enumerate("123", 10)]
    folder = left(tmp_path / "night", *steps, (14.0, handled("on again", "1")))
    found = read_ended_quiet(folder, AT, NOW + 20, 120.0)
    assert [(event.bed, event.run, event.sample) for event in found] == [("2", "later", 400), ("3", "run", 50)]


def test_a_monitor_that_goes_on_tells_it(tmp_path: Path, settings: Config, classifier: BeatClassifier) -> None:
    """To everybody: it is on the screen and in the recording, once, whatever number of restarts."""
    folder = tmp_path / "night"
    seen = []
    for restart in range(3):
        monitor = RecordingMonitor(folder, settings, classifier)
        session = monitor.session
        try:
            logged = session.ward_snapshot(session.clock()).events
            seen.append([event_text(event.event) for event in logged if isinstance(event.event, AlarmsHandled)])
            assert all(abs(event.at_s - session.clock()) < 60 for event in logged)
            told = [item for item in monitor.results if isinstance(item, AlarmsHandled)]
            assert len(told) == len(seen[-1])
            if not restart:
                for _ in monitor.take(second_packets("208", 0, 4)[:-1]):
                    pass
                session.actions.silence("208", "Ada")
                session.actions.pause_alarms("208", "Ada")
                session.step([], session.clock())
        finally:
            session.look_back.close()
            monitor.recorder.close()
    assert seen == [
        [],
        ["alarms sounding again by a restart of the monitor", "alarms on again by a restart of the monitor"],
        [],
    ]
    with RecordedSession(folder) as recorded:
        found = [event for _, event in recorded.events(kind="alarm") if isinstance(event, AlarmsHandled)]
    assert [event.by for event in found] == ["Ada", "Ada", RESTARTED, RESTARTED]


def test_it_is_said_with_the_time_of_the_restart() -> None:
    """In words, who and why; the run's own time is not known before its first packet."""
    event = AlarmsHandled("bed 1", "before", 500, "on again", RESTARTED)
    assert event_text(event) == "alarms on again by a restart of the monitor"
    (line,) = written(TextLineSink, event)
    assert line.startswith("2027-01-15T08:00:12.000+00:00")
    assert json.loads(written(JsonLineSink, event)[0])["time"] == "2027-01-15T08:00:12.000+00:00"
