"""Settings of beds in a recording: kept, read back, and in force again in a monitor that goes on with it."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import chunks, record_counts
from support.indexed import CONFIG, NOW, chunk

from agent.core.bed_settings import NO_SETTINGS, BedSettings
from agent.core.config import Config, override_config
from agent.core.events import CONFIGURED, BedSettingsChanged
from agent.core.messages import ResumePosition
from agent.monitor.first_settings import FirstSettings
from agent.pipeline.pipeline import Pipeline
from agent.recording.recorder import Recorder
from agent.recording.resume import RecordedSettings, read_bed_settings
from agent.recording.sessions import RecordedSession
from agent.report.bed_recording import BedRecording
from agent.report.content import build_report_document, find_all
from model.errors import EcgError
from model.records.resample import FS

FIRST, SECOND = BedSettings(patient="A. Bee", rate_high_bpm=150), BedSettings("\u00c9. C", off=("pause", "couplet"))
LATE = 200 * FS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of two beds whose settings changed."""
    made = tmp_path / "night"
    recorder = Recorder(made, CONFIG, {})
    run = chunk(0, 100).run
    recorder.push(
        [chunk(0, 100)],
        [
            BedSettingsChanged("1", run, 0, CONFIGURED, FIRST),
            BedSettingsChanged("2", "an earlier run", LATE, "nurse Ada", FIRST),
            BedSettingsChanged("1", run, LATE, "", SECOND),
        ],
        NOW,
    )
    recorder.close()
    return made


def at(run: str, seconds: float) -> ResumePosition:
    return ResumePosition(run, round(seconds * FS), FS, last_beat=round(seconds * FS))


def test_events_come_back(folder: Path) -> None:
    """With every field."""
    with RecordedSession(folder) as session:
        found = [event for _, event in session.events(kind="alarm")]
    assert [event.settings for event in found if isinstance(event, BedSettingsChanged)] == [FIRST, FIRST, SECOND]
    assert [event.by for event in found if isinstance(event, BedSettingsChanged)] == [CONFIGURED, "nurse Ada", ""]


def test_the_last_settings_of_each_bed(folder: Path) -> None:
    """Those that came in what is analysed again are planned for their samples; also of a bed that is away."""
    run = chunk(0, 100).run
    read = read_bed_settings(folder, {"1": at(run, 210)}, 60)
    assert read == [RecordedSettings("1", FIRST, ((LATE, SECOND),)), RecordedSettings("2", FIRST)]
    assert read_bed_settings(folder, {"1": at(run, 900)}, 60)[0] == RecordedSettings("1", SECOND)
    assert read_bed_settings(folder, {}, 60)[0] == RecordedSettings("1", SECOND)


def test_they_hold_over_those_of_the_configuration(
    folder: Path, settings: Config, classifier: Callable[..., object]
) -> None:
    """A bed that the recording does not know has those of its file, and only they are told."""
    pipeline = Pipeline(settings, classifier)  # type: ignore[arg-type]
    own = BedSettings(place="room 4")
    first = FirstSettings(pipeline.care, {"1": own, "3": own}, settings.alarms)
    first.resume(folder, {"1": at(chunk(0, 100).run, 210)}, 60)
    for bed in ("1", "2", "3", "4"):
        pipeline.push(chunks(record_counts("208", 2), [250], bed=bed))
    pipeline.care.settle()
    found = {name: pipeline.care.settings(bed) for name, bed in pipeline.beds.items()}
    assert found == {"1": SECOND, "2": FIRST, "3": own, "4": NO_SETTINGS}
    assert [(event.bed, event.by) for event in first.news(pipeline.beds)] == [("3", CONFIGURED)]
    assert list(first.news(pipeline.beds)) == []


def test_limits_that_contradict_by_now_are_left_out(
    folder: Path, settings: Config, classifier: Callable[..., object]
) -> None:
    """A bed whose recorded limits make no sense beside another [alarms] keeps its labels, and an event says so."""
    config = override_config(settings, "alarms", rate_low_bpm=160.0, rate_high_bpm=180.0)
    pipeline = Pipeline(config, classifier)  # type: ignore[arg-type]
    first = FirstSettings(pipeline.care, {}, config.alarms)
    first.resume(folder, {"1": at(chunk(0, 100).run, 210)}, 60)
    for bed in ("1", "2"):
        pipeline.push(chunks(record_counts("208", 2), [250], bed=bed))
    assert {event.bed: event.settings for event in first.news(pipeline.beds)} == {
        "1": SECOND,
        "2": BedSettings(patient="A. Bee"),
    }
    assert pipeline.care.settings(pipeline.beds["2"]) == BedSettings(patient="A. Bee")


@pytest.mark.parametrize(
    "data",
    [
        '{"by":"","settings":{"rate_high_bpm":1e9}}',
        '{"by":"","settings":{"off":["asystole"]}}',
        '{"by":"","settings":7}',
        '{"by":""}',
        "[" * 5000,
    ],
)
def test_a_broken_row_is_an_error_in_a_line(folder: Path, data: str) -> None:
    """A recording may come from anywhere: no settings that a monitor would not take."""
    db = sqlite3.connect(folder / "session.db")
    db.execute("UPDATE events SET data = ? WHERE event_type = 'BedSettingsChanged'", (data,))
    db.commit()
    db.close()
    with pytest.raises(EcgError) as caught:
        read_bed_settings(folder, {}, 60)
    assert str(caught.value).isprintable()


def test_labels_are_cleaned_on_the_way_in(folder: Path) -> None:
    """A label with control characters is read with question marks."""
    db = sqlite3.connect(folder / "session.db")
    data = '{"by":"","settings":{"patient":"\\u001b[2J\\u202ex"}}'
    db.execute("UPDATE events SET data = ? WHERE event_type = 'BedSettingsChanged'", (data,))
    db.commit()
    db.close()
    assert read_bed_settings(folder, {}, 60)[0].first == replace(NO_SETTINGS, patient="?[2J?x")


def test_a_report_names_who_lay_there(folder: Path, settings: Config) -> None:
    """The labels that a bed had last stand in its head; of a bed without labels there is no such line."""
    with RecordedSession(folder) as session:
        recording = BedRecording(session, "1")
        assert recording.settings == SECOND
        head = dict(build_report_document(recording, find_all(recording, settings), {}, settings).facts)
        assert head["patient"] == "\u00c9. C"
        assert "place" not in head
