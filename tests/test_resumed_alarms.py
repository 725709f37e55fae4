import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.monitored import RecordingMonitor, second_packets

from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.core.config import Config, override_config
from agent.core.messages import Alarm, Beat, Result, Strip
from agent.monitor.resumed_alarms import ResumedAlarms
from agent.recording.sessions import RecordedSession

ROOT = Path(__file__).parents[1]
START_S, KILL_S, STOP_S, WARM_S = 180, 255, 275, 60.0
"""Record 207 has ventricular tachycardia from 240 s on, in which the monitor is killed; one that starts 60 s before
hears it begin 11 s later."""
CHILD = f"""
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from support.monitored import RecordingMonitor, second_packets
from agent.analysis.beat_classifier import load_beat_classifier
from agent.core.config import load_config, override_config

config = override_config(load_config(None), "record", replay_s={WARM_S}, reserve_mb=0.0)
classifier = load_beat_classifier("live", "cpu", 1)
monitor = RecordingMonitor(Path(sys.argv[1]), config, classifier, threaded=True)
for second in monitor.take(second_packets("207", {START_S}, {STOP_S - START_S})):
    print(second, flush=True)
"""


def logged_alarms(folder: Path, bed: str = "207") -> list[Alarm]:
    with RecordedSession(folder) as session:
        return list(session.alarms(bed))


def monitor_until_killed(folder: Path) -> None:
    """Monitor record 207, and be killed in the middle of its ventricular tachycardia."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if float(line) >= KILL_S:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def overlapping(alarms: list[Alarm]) -> list[tuple[Alarm, Alarm]]:
    """Pairs of alarms of one run and condition that are open at the same time."""
    return [
        (one, other)
        for i, one in enumerate(alarms)
        for other in alarms[i + 1 :]
        if (one.run, one.condition) == (other.run, other.condition)
        and (one.ended is None or other.onset < one.ended)
        and (other.ended is None or one.onset < other.ended)
    ]


@pytest.mark.slow
def test_a_kill_during_an_alarm_does_not_double_it(tmp_path: Path, settings: Config) -> None:
    """Killed during a ventricular tachycardia and continued: each alarm once, and all over when the run ends."""
    monitor_until_killed(tmp_path)
    before = logged_alarms(tmp_path)
    (tachycardia,) = [alarm for alarm in before if alarm.condition == "ventricular tachycardia"]
    assert tachycardia.ended is None
    config = override_config(settings, "record", replay_s=WARM_S, reserve_mb=0.0)
    with RecordedSession(tmp_path) as session:
        (run,) = session.runs("207")
    monitor = RecordingMonitor(tmp_path, config, load_beat_classifier("live", "cpu", 1))
    packets = second_packets("207", START_S, STOP_S - START_S)
    list(monitor.take(packet for packet in packets if packet.first >= run.next))
    monitor.recorder.close()
    after = logged_alarms(tmp_path)
    assert overlapping(after) == []
    assert [alarm.condition for alarm in after if alarm.ended is None] == []
    (continued,) = [
        alarm for alarm in after if alarm.condition == "ventricular tachycardia" and alarm.onset < 250 * 125
    ]
    assert (continued.onset, continued.announced) == (tachycardia.onset, tachycardia.announced)
    assert continued.announced_s == tachycardia.announced_s
    assert {(alarm.condition, alarm.onset) for alarm in before} <= {(alarm.condition, alarm.onset) for alarm in after}
    with RecordedSession(tmp_path) as session:
        strips = [(strip.alarm.condition, strip.alarm.onset) for strip in session.strips("207")]
    assert sorted(strips) == sorted((alarm.condition, alarm.onset) for alarm in after)
    shown = [item for item in monitor.results if isinstance(item, Alarm)]
    assert {alarm.onset for alarm in shown} <= {alarm.onset for alarm in after}, "the screen knows the log's alarms"


def test_alarms_of_a_run_that_did_not_go_on_are_over(
    tmp_path: Path, settings: Config, classifier: BeatClassifier
) -> None:
    """Monitor killed, device restarted: the alarms of the old run end with its signal when the next one is recorded."""
    config = override_config(settings, "record", replay_s=0.0, reserve_mb=0.0)
    first = RecordingMonitor(tmp_path, config, classifier)
    list(first.take(second_packets("207", 20, 30)[:-1]))
    first.recorder.close()
    assert [alarm for alarm in logged_alarms(tmp_path) if alarm.ended is None]
    second = RecordingMonitor(tmp_path, config, classifier)
    list(second.take(second_packets("207", 100, 5, run="next")))
    second.recorder.close()
    old = [alarm for alarm in logged_alarms(tmp_path) if alarm.run == "run"]
    assert {alarm.ended for alarm in old} >= {50 * 125}
    assert all(alarm.ended is not None for alarm in old)


def alarm(onset: int, ended: int | None = None, **changes: Any) -> Alarm:
    made = Alarm("1", "run", "ventricular tachycardia", "high", "", onset, onset + 50, onset / 125, ended=ended)
    return replace(made, **changes)


def strip(of: Alarm) -> Strip:
    return Strip(of, "II", of.announced - 1250, np.zeros(2500, np.float32))


STOPPED, TOLD = 10_000, 9900


def resumed(*logged: Alarm) -> ResumedAlarms:
    return ResumedAlarms(logged, {"1": STOPPED})


def plain(results: Sequence[Result]) -> list[object]:
    """Results that can be compared: strips by their alarm."""
    return [("strip of", item.alarm) if isinstance(item, Strip) else item for item in results]


def test_an_alarm_that_goes_on_keeps_its_onset() -> None:
    """Found to begin earlier or later, it stays the one in the log, with its announcement; so does its strip."""
    for onset in (8000, 8999, 9001, 9800):
        known, anew = alarm(9000), alarm(onset, announced_s=1e6)
        alarms = resumed(known)
        assert plain(alarms.settle([anew, strip(anew)], {"1": TOLD})) == [("strip of", known)]
        over = replace(anew, ended=12_000, text="over")
        assert alarms.rename([over]) == [replace(known, ended=12_000, text="over")]
        assert alarms.rename_shown((anew,)) == (known,)
        later = alarm(12_000)
        assert alarms.rename([later]) == [later]


def test_an_alarm_that_is_over_by_now_ends() -> None:
    """Open in the log, over in its last minutes: it ends, not before it was announced."""
    (ended,) = resumed(alarm(9000)).settle([alarm(8900), alarm(8900, 9500)], {"1": TOLD})
    assert ended == alarm(9000, 9500)
    (ended,) = resumed(alarm(9000)).settle([alarm(8900), alarm(8900, 9020)], {"1": TOLD})
    assert ended == alarm(9000, 9050)


def test_an_alarm_that_is_not_found_again_ends_where_the_recording_stopped() -> None:
    """It is the same one if it is found to go on right there; a later one is another."""
    alarms = resumed(alarm(9000))
    assert alarms.settle([], {"1": TOLD}) == [alarm(9000, STOPPED)]
    assert alarms.rename([alarm(STOPPED)]) == [alarm(9000)]
    assert alarms.rename([alarm(STOPPED, 11_000)]) == [alarm(9000, 11_000)]
    alarms = resumed(alarm(9000))
    alarms.settle([], {})
    assert alarms.rename([alarm(STOPPED + 1)]) == [alarm(STOPPED + 1)]


def test_an_end_that_the_log_has_too_early_is_undone() -> None:
    """An alarm that the log has as over but that goes on is opened again, under its own onset."""
    alarms = resumed(alarm(9000, 9600))
    assert alarms.settle([alarm(9500)], {"1": TOLD}) == [alarm(9000)]
    assert alarms.rename([alarm(9500, 11_000)]) == [alarm(9000, 11_000)]


def test_one_alarm_right_after_another_is_another() -> None:
    """An alarm that begins where the logged one ended is new."""
    alarms = resumed(alarm(9000, 9600))
    assert alarms.settle([alarm(9600)], {"1": TOLD}) == [alarm(9600)]


def test_the_last_alarm_of_a_condition_goes_on() -> None:
    """Several alarms in the log, one in the new analysis, or the other way round: only the last goes on."""
    alarms = resumed(alarm(7000, 8000), alarm(9000))
    assert alarms.settle([alarm(7100)], {"1": TOLD}) == []
    assert alarms.rename([alarm(7100, 11_000)]) == [alarm(9000, 11_000)]
    alarms = resumed(alarm(7000))
    replayed = [alarm(7100), alarm(7100, 8000), alarm(9000)]
    strips = [strip(alarm(7100)), strip(alarm(9000))]
    assert plain(alarms.settle([*replayed, *strips], {"1": TOLD})) == [("strip of", alarm(7000))]
    assert alarms.rename([alarm(9000, 11_000), strip(alarm(7100))]) == [alarm(7000, 11_000)]


@pytest.mark.parametrize("announced", [TOLD - 1, TOLD, TOLD + 1])
def test_what_the_log_does_not_know(announced: int) -> None:
    """An alarm that goes on is new; one that is over is, if it came after all that was told, else it never was."""
    open_alarm, over = alarm(9300, condition="asystole"), alarm(9200, 9960, announced=announced)
    alarms = resumed()
    is_new = announced > TOLD
    expected = [over, open_alarm, ("strip of", over)] if is_new else [open_alarm]
    replayed: list[Alarm | Strip] = [replace(over, ended=None), over, open_alarm, strip(over)]
    assert plain(alarms.settle(replayed, {"1": TOLD})) == expected
    seen = replace(over, acknowledged_s=1e6)
    assert alarms.rename([seen]) == [seen] * is_new


def test_runs_beds_and_conditions_are_kept_apart() -> None:
    """An alarm goes on only as one of its own bed, run and condition."""
    changes: list[Callable[[Alarm], Alarm]] = [
        lambda one: replace(one, bed="2"),
        lambda one: replace(one, run="next"),
        lambda one: replace(one, condition="asystole"),
    ]
    for change in changes:
        alarms = ResumedAlarms([alarm(9000)], {"1": STOPPED, "2": STOPPED})
        other = change(alarm(9100))
        assert alarms.settle([other], {"1": TOLD}) == [other, alarm(9000, STOPPED)]


def test_an_alarm_that_is_not_logged_is_not_shown() -> None:
    """What only the second analysis finds in minutes that were reported before is neither in the log nor on screen."""
    anew = alarm(8900, 9500)
    alarms = resumed()
    assert alarms.settle([anew], {"1": TOLD}) == []
    assert alarms.rename_shown((anew, alarm(9990))) == (alarm(9990),)


def test_what_nobody_has_seen_of_the_log() -> None:
    """Latched alarms that the new analysis does not continue, and open ones that it has not found: over by now."""
    old, lost, found = alarm(100, 300), alarm(9000), alarm(9500, condition="asystole")
    log = [replace(each, latching=True) for each in (old, lost, found)]
    alarms = resumed(*log[1:])
    anew = alarm(9510, condition="asystole", latching=True)
    alarms.settle([anew], {"1": TOLD})
    assert alarms.unseen(log) == [log[0], replace(log[1], ended=STOPPED)]
    # Found to go on right where it was lost, it is one alarm, and the one that was over is not shown beside it
    again = alarm(STOPPED, latching=True)
    alarms.rename([again])
    assert alarms.rename_shown((again, replace(log[1], ended=STOPPED))) == (
        replace(again, onset=9000, announced=9050, announced_s=72.0),
    )
    assert alarms.rename([replace(log[1], ended=STOPPED, acknowledged_s=1.0)]) == []


def test_without_a_recording_nothing_changes() -> None:
    """Beats and alarms of a monitor that continues nothing pass as they are."""
    beat = Beat("1", 9, 40, "N", (1.0, 0.0, 0.0, 0.0, 0.0), None, 0.0)
    alarms = ResumedAlarms()
    assert alarms.rename([beat, alarm(5), strip(alarm(5))])[:2] == [beat, alarm(5)]
    assert alarms.rename_shown((alarm(5),)) == (alarm(5),)


def test_beats_of_the_signal_that_is_analysed_again_are_not_counted_again(
    tmp_path: Path, settings: Config, classifier: BeatClassifier
) -> None:
    """The summary of a monitor that goes on with a recording has its own beats and samples."""
    packets = second_packets("208", 300.0, 40.0)
    first = RecordingMonitor(tmp_path / "ward", settings, classifier)
    assert list(first.take(packets[:25]))
    first.recorder.close()
    second = RecordingMonitor(tmp_path / "ward", settings, classifier)
    assert list(second.take(packets[25:-1]))
    second.recorder.close()
    told, new = ([beat for beat in one.results if isinstance(beat, Beat)] for one in (first, second))
    assert len(told) > 30
    assert min(beat.sample for beat in new) > max(beat.sample for beat in told)
    second.session.note_shown(new)
    assert f"1 bed, {len(new)} beats, 0 gaps" in second.session.summary()
    assert "= 1875 analysed + 0 missing" in second.session.summary()


@pytest.mark.parametrize("analysed_s", [0, 60])
def test_what_was_recorded_and_not_analysed_before_a_kill_is_analysed(
    tmp_path: Path,
    settings: Config,
    classifier: BeatClassifier,
    monkeypatch: pytest.MonkeyPatch,
    analysed_s: int,
) -> None:
    """A monitor that is killed while it is minutes behind leaves no stretch without beats to the next one."""
    settings = override_config(settings, "record", replay_s=WARM_S)
    packets = second_packets("208", 300.0, 260.0)[:-1]
    first = RecordingMonitor(tmp_path / "ward", settings, classifier)
    assert len(list(first.take(packets[:analysed_s]))) == analysed_s
    with monkeypatch.context() as patch:
        patch.setattr(first.session.pipeline, "push", lambda *_, **__: [])
        assert list(first.take(packets[analysed_s:]))
    first.recorder.close()
    second = RecordingMonitor(tmp_path / "ward", settings, classifier)
    second.recorder.close()
    with RecordedSession(tmp_path / "ward") as session:
        recorded = [beat.sample for beat in session.beats("208")]
    whole = RecordingMonitor(tmp_path / "other", settings, classifier)
    assert list(whole.take(packets))
    whole.recorder.close()
    samples = [beat.sample for beat in whole.results if isinstance(beat, Beat)]
    warm = samples[0] if analysed_s else samples[0] + 20 * 125
    assert len(samples) > 350
    assert set(recorded) >= {sample for sample in samples if sample >= warm}
    assert len(recorded) == len(set(recorded))
