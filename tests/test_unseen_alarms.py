"""agent.monitor.unseen_alarms: what latched before a restart stays until somebody has seen it."""

from pathlib import Path

import pytest
from support.monitored import RecordingMonitor, second_packets

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config, override_config
from agent.core.messages import Alarm, Chunk, End
from agent.recording.sessions import RecordedSession

BED = "207"


@pytest.fixture
def config(settings: Config) -> Config:
    return override_config(settings, "record", replay_s=5.0, reserve_mb=0.0)


def shown(monitor: RecordingMonitor) -> list[Alarm]:
    """The high alarms on the screen that are over and that nobody has acknowledged."""
    session = monitor.session
    (bed,) = session.full_snapshot(session.clock()).beds
    return [alarm for alarm in bed.alarms if alarm.priority == "high" and alarm.ended and alarm.acknowledged_s is None]


def logged(folder: Path) -> list[Alarm]:
    with RecordedSession(folder) as session:
        return [alarm for alarm in session.alarms(BED) if alarm.priority == "high"]


def monitored(folder: Path, config: Config, classifier: BeatClassifier, *packets: Chunk | End) -> RecordingMonitor:
    """A monitor that goes on with what is in the folder, and takes more."""
    monitor = RecordingMonitor(folder, config, classifier)
    list(monitor.take(packets))
    return monitor


def test_a_restart_forgets_no_alarm_that_nobody_has_seen(
    tmp_path: Path, config: Config, classifier: BeatClassifier
) -> None:
    """Tachycardia and fibrillation are over long before the restart: both stay on the screen until acknowledged."""
    packets = second_packets(BED, 20, 70)
    first = monitored(tmp_path, config, classifier, *packets[:65])
    before = shown(first)
    assert {alarm.condition for alarm in before} == {"ventricular tachycardia", "ventricular fibrillation"}
    first.recorder.close()

    second = monitored(tmp_path, config, classifier, packets[65])
    assert shown(second) == before
    assert second.session.pipeline.alarms.rules(0).manager.audible(second.session.clock()) == "high"
    second.session.actions.acknowledge(BED, "Kim")
    list(second.take([packets[66]]))
    assert shown(second) == []
    second.recorder.close()
    assert all(alarm.acknowledged_s is not None for alarm in logged(tmp_path))

    third = monitored(tmp_path, config, classifier, packets[67])
    assert shown(third) == []
    third.recorder.close()


def test_a_new_run_forgets_none(tmp_path: Path, config: Config, classifier: BeatClassifier) -> None:
    """The device is another one when the bed comes back: what nobody has seen of the run before waits for it."""
    packets = second_packets(BED, 20, 65)
    first = monitored(tmp_path, config, classifier, *packets)
    before = shown(first)
    assert len(before) == 2
    first.recorder.close()
    second = RecordingMonitor(tmp_path, config, classifier)
    assert second.session.pipeline.beds == {}, "the run is over"
    list(second.take(second_packets(BED, 200, 3, run="next")[:-1]))
    assert shown(second) == before
    second.recorder.close()


def test_what_was_acknowledged_is_not_raised_again(tmp_path: Path, config: Config, classifier: BeatClassifier) -> None:
    """The last minutes are analysed again, with the alarms in them: who has seen these need not see them twice."""
    config = override_config(config, "record", replay_s=60.0)
    packets = second_packets(BED, 20, 65)[:-1]
    first = monitored(tmp_path, config, classifier, *packets[:50])
    first.session.actions.acknowledge(BED, "Kim")
    list(first.take(packets[50:60]))
    assert shown(first) == []
    first.recorder.close()
    seen = {alarm.identity: alarm.acknowledged_s for alarm in logged(tmp_path)}
    assert len(seen) == 2
    second = monitored(tmp_path, config, classifier, packets[60])
    assert shown(second) == []
    assert second.session.pipeline.alarms.rules(0).manager.loudest is None
    second.recorder.close()
    assert {alarm.identity: alarm.acknowledged_s for alarm in logged(tmp_path)} == seen
