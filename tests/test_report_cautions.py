"""agent.report: what the first page says of what does not hold, is not known, or disagrees."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from support.indexed import CONFIG, NOW
from support.reported import alarm, beats, signal

from agent.core.class_trust import TRUST_KEY, ClassTrust, KnownRate, encode_class_trust
from agent.core.config import Config
from agent.core.events import HeardLeadChanged, PacingPulses, RunEnded
from agent.core.messages import Chunk, Result
from agent.recording.recorder import Recorder
from agent.recording.recorder_batches import merge_chunks
from agent.recording.sessions import RecordedSession
from agent.report.beat_measurement import MeasuredBeat
from agent.report.bed_recording import BedRecording
from agent.report.content import find_all
from agent.report.document import ReportNote, ReportTable
from agent.report.doubt_words import nn_percent
from agent.report.hrv_content import variability_section
from agent.report.recording_content import recording_section
from agent.report.recording_words import describe_span
from agent.report.styles import date_and_time
from agent.report.summary_content import summarise_in_words
from model.intervals.beat_intervals import IntervalEstimate

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


def test_joined_chunks_begin_when_the_first_did() -> None:
    """However fast they were sent: a recording begins at the clock of its first sample."""
    parts = [signal(25 * i, 25 * (i + 1), sent_s=NOW + 0.2 * (i + 1) / 20) for i in range(100)]
    (joined,) = merge_chunks(parts)
    assert isinstance(joined, Chunk)
    assert joined.sent_s - len(joined.counts) / joined.fs == pytest.approx(NOW + 0.01 - 0.2)


@pytest.mark.parametrize(("speed", "said"), [(1.0, ""), (1.1, ""), (4.0, "4.0 times"), (60.0, "59 times")])
def test_a_recording_that_was_sent_faster_says_so(tmp_path: Path, speed: float, said: str) -> None:
    """Beside its dates, with the clock at the end of the sending: its own end may lie in the future."""
    with Recorder(tmp_path / "s", CONFIG, {}) as recorder:
        for first, stop in pairwise((0, 25, *range(MINUTE, 10 * MINUTE + 1, MINUTE))):
            at_s = NOW + stop / 125 / speed
            recorder.push([signal(first, stop, sent_s=at_s)], [], at_s)
            assert recorder.flush()
        ended = RunEnded("1", "run", 10 * MINUTE)
        recorder.push([], [ended], NOW + 600 / speed)
    with RecordedSession(tmp_path / "s") as session:
        text = describe_span(BedRecording(session, "1"))
    assert ("as fast as real time" in text) == bool(said)
    assert said in text
    if said:
        assert f"until {date_and_time(NOW + 600 / speed)}: all times here count the samples" in text


def test_rates_of_the_first_page_reach_those_of_the_alarms(tmp_path: Path, settings: Config) -> None:
    """An alarm may be judged on fewer intervals: its rate is said, and one within the averaged ones is not."""
    slow = alarm(3000, condition="extreme bradycardia", text="HR 35 < 40")
    usual = alarm(4000, condition="heart rate high", text="HR 74 > 70")
    text = said_of(recorded(tmp_path / "s", 1, [slow, usual]), settings)["Heart rate"]
    assert "Alarms, which wait for fewer intervals, named down to 35 at" in text
    assert "up to" not in text


def test_an_event_stands_at_its_place_in_the_signal(tmp_path: Path, settings: Config) -> None:
    """Not at the time at which it was reported."""
    event = HeardLeadChanged("1", "run", 60 * 125, "V1", "MLII", "no QRS")
    recording = recorded(tmp_path / "s", 2, [event])
    section = recording_section(recording, settings, find_all(recording, settings).signal)
    (table,) = (block for block in section.blocks if isinstance(block, ReportTable) and block.caption == "Events")
    assert recording.started_s is not None
    assert table.rows[0][0].endswith(recording.clock_text(60.0))


def measured(recording: BedRecording, config: Config) -> MeasuredBeat:
    """The typical beat, with a QT interval and a wide QRS complex that do not depend on how it was measured."""
    found = find_all(recording, config).measured
    assert found is not None
    fixed = replace(found.intervals, qt=IntervalEstimate(400.0, 20.0), qrs=IntervalEstimate(130.0, 10.0))
    return replace(found, intervals=fixed)


@pytest.mark.parametrize(
    ("rr_s", "half_s", "text"),
    [
        (0.8, (0.78, 0.82), "447 ± 22 ms"),
        (1.824, (1.8, 1.9), "not corrected: RR 1824 ms, outside 500 to 1500 ms"),
        (0.9, (0.7, 1.1), "not corrected: RR differ, half of them lie within 700 to 1100 ms"),
    ],
)
def test_qt_is_corrected_by_rr_intervals_that_agree(
    tmp_path: Path, settings: Config, rr_s: float, half_s: tuple[float, float], text: str
) -> None:
    """And only within usual rates; a wide QRS complex is called so, and how many beats it is of."""
    beat = measured(recorded(tmp_path / "s", 1), settings)
    rows = replace(beat, intervals=replace(beat.intervals, rr_s=rr_s), rr_half_s=half_s).rows()
    assert rows[1] == ("QRS", "130 ± 10 ms; wide: 120 ms or more")
    assert rows[3][1] == text
    assert beat.describe().endswith("73 N beats, which are 100.0 % of all 73")


def test_variability_is_given_only_where_it_holds(tmp_path: Path, settings: Config) -> None:
    """Not of few intervals, of many V beats, with pacemaker pulses, or in fibrillation."""
    pulses, fibrillation = PacingPulses("1", "run", 500, 3), alarm(0, condition="atrial fibrillation", ended=30_000)
    cases = (
        ("a", 6, (), "N", ""),
        ("b", 1, (), "N", "only 72 NN intervals"),
        ("c", 6, (), "NNNV", "25 % of the beats are V or F"),
        ("d", 6, (), "NNNNNNNS", "only 75 % of all RR intervals are usable"),
        ("e", 6, (pulses,), "N", "the patient may be paced"),
        ("f", 6, (fibrillation,), "N", "atrial fibrillation: it describes the ventricular response"),
    )
    for name, minutes, more, labels, doubt in cases:
        assert find_all(recorded(tmp_path / name, minutes, more, labels), settings).nn_doubt == doubt, name


def test_variability_that_does_not_hold_is_a_sentence(tmp_path: Path, settings: Config) -> None:
    """Without charts and tables, and with the reason; where it holds, spectrum and time domain are there."""
    for name, labels, holds in (("a", "N", True), ("b", "NNNV", False)):
        recording = recorded(tmp_path / name, 6, labels=labels)
        found = find_all(recording, settings)
        blocks = variability_section(found.nn, nn_percent(recording, found.nn), found.nn_doubt).blocks
        assert ("LF / HF" in repr(blocks)) == holds
        if not holds:
            (note,) = blocks
            assert isinstance(note, ReportNote)
            assert note.text.startswith("Not given: 25 % of the beats are V or F. What the ")


def test_fusion_and_paced_beats_stand_on_the_first_page(tmp_path: Path, settings: Config) -> None:
    """Above 1 % of all beats, and with the words that the net hardly finds them, where tests said so."""
    trust = encode_class_trust(ClassTrust({"F": KnownRate(0.0, (0.0, 0.0))}, {}, 22, ("208",)))
    many = recorded(tmp_path / "a", 1, labels="NNNNNF", about={TRUST_KEY: trust})
    assert said_of(many, settings)["Other beats"].endswith("F: this net hardly finds F in tests.")
    assert "Other beats" not in said_of(recorded(tmp_path / "b", 1), settings)


def test_a_learnt_record_is_said_to_be_one(tmp_path: Path, settings: Config) -> None:
    """Figures of tests do not hold for a record whose beats the net has learnt."""
    for name, learnt in (("a", ("1", "208")), ("b", ("208",))):
        trust = encode_class_trust(ClassTrust({"V": KnownRate(0.9)}, {}, 22, learnt))
        text = said_of(recorded(tmp_path / name, 1, about={TRUST_KEY: trust}), settings)["Not known"]
        assert ("The net has learnt from a record named 1" in text) == ("1" in learnt)


def test_fibrillation_needs_some_minutes(tmp_path: Path, settings: Config) -> None:
    """A short recording without an alarm of it is too short to tell; of episodes, what joins them is said."""
    assert said_of(recorded(tmp_path / "a", 1), settings)["Atrial fibrillation"] == "Too short to tell."
    assert said_of(recorded(tmp_path / "b", 3), settings)["Atrial fibrillation"] == "None was found."
    one = alarm(0, condition="atrial fibrillation", ended=20_000)
    assert "short interruptions" in said_of(recorded(tmp_path / "c", 3, [one]), settings)["Atrial fibrillation"]
