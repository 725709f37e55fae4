"""agent.report: what the first page says of what does not hold, is not known, or disagrees."""

from collections.abc import Sequence
from pathlib import Path

from support.indexed import CONFIG, NOW
from support.reported import alarm, beats, signal

from agent.core.config import Config
from agent.core.events import HeardLeadChanged, PacingPulses
from agent.core.messages import Result
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from agent.report.bed_recording import BedRecording
from agent.report.content import find_all
from agent.report.document import ReportTable
from agent.report.recording_content import recording_section
from agent.report.summary_content import summarise_in_words

MINUTE = 7500
"""Samples of a minute at 125 Hz."""


def recorded(
    folder: Path, minutes: int, more: Sequence[Result] = (), labels: str = "N", about: dict[str, str] | None = None
) -> BedRecording:
    """A bed of some minutes with beats of classes that go round, and what else was found."""
    stop = minutes * MINUTE
    with Recorder(folder, CONFIG, about or {}) as recorder:
        recorder.push([signal(0, stop)], [*beats(0, stop - 200, labels=labels), *more], NOW)
    with RecordedSession(folder) as session:
        return BedRecording(session, "1")


def said_of(recording: BedRecording, config: Config) -> dict[str, str]:
    """The sentences of the first page, by what they are about."""
    return dict(summarise_in_words(recording, find_all(recording, config), config))


def test_paced_beats_are_said_not_to_be_recognised(tmp_path: Path, settings: Config) -> None:
    """Without pulses they count as N or V; with pulses their number, and what does not hold."""
    without = said_of(recorded(tmp_path / "a", 1), settings)["Not known"]
    assert "Paced beats are not recognised by shape: without pacemaker pulses in the signal they count as N" in without
    pulses = [PacingPulses("1", "run", 500, 12), PacingPulses("1", "run", 1750, 13)]
    paced = said_of(recorded(tmp_path / "b", 1, pulses), settings)["Not known"]
    assert "25 pacemaker pulses were seen" in paced
    assert "heart-rate variability" in paced


def test_rates_of_the_first_page_reach_those_of_the_alarms(tmp_path: Path, settings: Config) -> None:
    """An alarm may be judged on fewer intervals: its rate is said, and one within the averaged ones is not."""
    slow = alarm(3000, condition="extreme bradycardia", text="HR 35 < 40")
    usual = alarm(4000, condition="heart rate high", text="HR 74 > 70")
    text = said_of(recorded(tmp_path / "s", 1, [slow, usual]), settings)["Heart rate"]
    assert (
        text.endswith("Alarms, which wait for fewer intervals, named down to 35 at 08:00:25.") or "down to 35" in text
    )
    assert "up to" not in text


def test_an_event_stands_at_its_place_in_the_signal(tmp_path: Path, settings: Config) -> None:
    """Not at the time at which it was reported."""
    event = HeardLeadChanged("1", "run", 60 * 125, "V1", "MLII", "no QRS")
    recording = recorded(tmp_path / "s", 2, [event])
    section = recording_section(recording, settings, find_all(recording, settings).signal)
    (table,) = (block for block in section.blocks if isinstance(block, ReportTable) and block.caption == "Events")
    assert recording.started_s is not None
    assert table.rows[0][0].endswith(recording.clock_text(60.0))
