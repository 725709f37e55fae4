"""The table of the standard: each line measured, and shown on the terminal or as JSON."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from agent.core.config import Config
from agent.core.messages import FloatArray
from agent.evaluation.report_tables import build_report_table
from agent.evaluation.standard_cases import StandardCase, standard_cases
from agent.evaluation.standard_run import StandardOutcome, run_signals
from agent.evaluation.standard_signals import INPUT_HZ, STANDARD_FS, Signal

LIMITS_BPM = 60.0, 100.0
"""Limits of the heart rate in the lines that measure its alarms."""
ABOUT = (
    f"Signals made by code at {STANDARD_FS} Hz behind an input of {INPUT_HZ} Hz; 3a to 3d and 4a, 4b are built from "
    "their descriptions, since the waveforms of the standard are not public."
)


@dataclass(frozen=True, slots=True)
class StandardLine:
    """A line of the table: what is required, what was measured, and whether that is enough."""

    section: str
    condition: str
    requirement: str
    measured: str
    passed: bool


def measure_standard(
    config: Config, classify: Callable[[FloatArray], FloatArray], advance: Callable[[float, float], object]
) -> list[StandardLine]:
    """Run all test signals through the monitor and measure each line of the table.

    `classify`: the net, (n, inputs) float32 to (n, classes). `advance`: called with what is done, and with all.
    """
    low, high = LIMITS_BPM
    limited = replace(config, alarms=replace(config.alarms, rate_low_bpm=low, rate_high_bpm=high))
    cases = standard_cases()
    outcomes: dict[int, list[StandardOutcome]] = {}
    for settings, rate_limits in ((config, False), (limited, True)):
        chosen = {i: case for i, case in enumerate(cases) if case.rate_limits == rate_limits}
        outcomes |= _run_cases(settings, classify, chosen, advance)
    lines = []
    for i, case in enumerate(cases):
        measured, passed = case.measure(outcomes[i])
        lines.append(StandardLine(case.section, case.condition, case.requirement, measured, passed))
    return lines


def standard_tables(lines: list[StandardLine]) -> RenderableType:
    """Return the table for the terminal."""
    heads = (Column("section"), Column("condition"), Column("required"), Column("measured"), Column(""))
    rows, section = [], ""
    for line in lines:
        verdict = "pass" if line.passed else "FAIL"
        name = line.section if line.section != section else ""
        rows.append((name, line.condition, line.requirement, line.measured, verdict))
        section = line.section
    passed = sum(line.passed for line in lines)
    return Group(build_report_table(heads, rows), Text(f"\n{passed} of {len(lines)} lines pass. {ABOUT}"))


def standard_report(lines: list[StandardLine]) -> dict[str, object]:
    """Return the table as plain data."""
    passed = sum(line.passed for line in lines)
    return {"about": ABOUT, "passed": passed, "lines": [asdict(line) for line in lines]}


def _run_cases(
    config: Config,
    classify: Callable[[FloatArray], FloatArray],
    cases: dict[int, StandardCase],
    advance: Callable[[float, float], object],
) -> dict[int, list[StandardOutcome]]:
    """Run the signals of lines, by number; return the outcomes of each line."""
    signals: dict[str, Signal] = {
        f"{i}.{k}": signal for i, case in cases.items() for k, signal in enumerate(case.signals)
    }
    found = run_signals(config, classify, signals, advance)
    return {i: [found[f"{i}.{k}"] for k in range(len(case.signals))] for i, case in cases.items()}
