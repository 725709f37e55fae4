"""agent.evaluation.standard_*: the table of IEC 60601-2-27, its signals and its command."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from agent.analysis.beat_classifier import load_beat_classifier
from agent.cli.app import app
from agent.core.config import Config
from agent.core.messages import Alarm, AlarmCondition
from agent.evaluation.standard_cases import StandardCase, standard_cases
from agent.evaluation.standard_report import StandardLine, standard_report, standard_tables
from agent.evaluation.standard_run import StandardOutcome, run_signals
from agent.evaluation.standard_signals import (
    STANDARD_FS,
    PacingPulse,
    normal_beats,
    pacing_pulses,
    regular_beats,
    resting_line,
    tachycardia,
    triangle_qrs,
)
from model.errors import ConfigError


@pytest.fixture(scope="module")
def cases() -> list[StandardCase]:
    """Return all lines of the table."""
    return standard_cases()


def test_signals_are_what_they_say() -> None:
    """A QRS complex, a pulse and a tachycardia have their height, width and rate."""
    qrs = triangle_qrs(4, [1.0, 3.0], 2.0, 100)
    assert qrs.max() == pytest.approx(2.0)
    assert (qrs > 0).sum() == pytest.approx(2 * 0.1 * STANDARD_FS, abs=4)
    pulse = pacing_pulses(2, [1.0], PacingPulse(-20.0, 2.0))
    assert pulse.sum() * 1000 / STANDARD_FS == pytest.approx(-40.0, rel=0.01)
    overshot = pacing_pulses(4, [1.0], PacingPulse(20.0, 1.0, 2.0, 100.0))
    assert overshot[round(1.1 * STANDARD_FS)] == pytest.approx(-2 / np.e, rel=0.05)
    wave = tachycardia(60, 0, 206, 1.0)
    assert np.ptp(wave) == pytest.approx(1.0)
    assert np.abs(np.fft.rfft(wave)).argmax() == 206


def test_every_section_has_its_lines(cases: list[StandardCase]) -> None:
    """The table has the lines of a manual, each once, with signals that have a value everywhere."""
    names = [(case.section, case.condition) for case in cases]
    assert len(set(names)) == len(names) > 60
    assert {case.section for case in cases} == {
        "heart rate",
        "QRS accepted",
        "QRS rejected",
        "tall T wave rejected",
        "pacemaker pulses rejected",
        "noise",
        "irregular rhythms",
        "response of the heart rate",
        "time to alarm",
    }
    assert all(np.isfinite(signal).all() for case in cases for signal in case.signals)
    assert sum("4a" in name or "4b" in name for _, name in names) == 6


def test_lines_that_pass(cases: list[StandardCase], settings: Config) -> None:
    """Rates, pulses without overshoot, hum and standstill are measured right by the monitor itself."""
    chosen = {case.condition: case for case in cases}
    names = ["80/min", "350/min, QRS 40 ms", "mains of 50 Hz, 0.1 mV", "cardiac arrest", "3a ventricular bigeminy"]
    signals = {name: chosen[name].signals[0] for name in names}
    dead_man = "no overshoot, no heart beat"
    signals[dead_man] = chosen[dead_man].signals[0]
    done: list[float] = []
    classify = load_beat_classifier("live", "cpu", 1)
    outcomes = run_signals(settings, classify, signals, lambda at, total: done.append(at / total))
    for name in names:
        assert chosen[name].measure([outcomes[name]])[1], name
    assert chosen["80/min"].measure([outcomes["80/min"]])[0] == "80.0"
    assert outcomes[dead_man].alarm_delay_s(0, "asystole") is not None
    assert outcomes[dead_man].rates(10) == []
    assert done[-1] == 1


def test_lines_that_fail(cases: list[StandardCase]) -> None:
    """Without beats and alarms each line fails: none passes because nothing happened."""
    for case in cases:
        measured, passed = case.measure([StandardOutcome(len(x) / STANDARD_FS) for x in case.signals])
        assert not passed, case.condition
        assert measured


def test_no_rate_is_shown_in_asystole() -> None:
    """A rate counts as shown unless asystole is alarmed at the time."""
    condition: AlarmCondition = "asystole"
    states = [
        Alarm("1", "run", condition, "high", "", 500, 1000, 0.0),
        Alarm("1", "run", condition, "high", "", 500, 1000, 0.0, ended=2000),
    ]
    outcome = StandardOutcome(30, alarms=states)
    assert [outcome.is_asystole(at_s) for at_s in (7.9, 8.0, 15.9, 16.0)] == [False, True, True, False]


def test_report_and_table_show_each_line() -> None:
    """The table and the JSON say of each line what was measured, and how many pass."""
    lines = [
        StandardLine("heart rate", "80/min", "±1/min", "80.0", True),
        StandardLine("noise", "hum", "80 ±1/min", "no rate", False),
    ]
    report = standard_report(lines)
    assert report["passed"] == 1
    assert isinstance(report["lines"], list)
    assert report["lines"][1]["measured"] == "no rate"
    text = StringIO()
    Console(file=text, width=100).print(standard_tables(lines))
    assert "FAIL" in text.getvalue()
    assert "1 of 2 lines pass" in text.getvalue()


@pytest.mark.parametrize(
    "options",
    [["--alarms"], ["--score-only"], ["--mismatches"], ["--html"], ["--set", "ds1"], ["--out", "x"], ["--lead", "II"]],
)
def test_options_of_records_are_refused(options: list[str], tmp_path: Path) -> None:
    """With --standard there are no records: what chooses or scores them is refused in one line."""
    result = CliRunner().invoke(app, ["evaluate", "--standard", *options])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("--standard makes its own signals: use only --json")
    result = CliRunner().invoke(app, ["evaluate", "--standard", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)


def test_beats_of_a_signal_are_regular() -> None:
    """The beats of a rate stand 60 s / rate apart, from the first to the last."""
    beats = regular_beats(75, 1, 40)
    assert np.allclose(np.diff(beats), 0.8)
    assert np.abs(normal_beats(40, beats)).max() == pytest.approx(1.0, abs=0.01)
    assert np.abs(resting_line(10)).max() < 0.05
