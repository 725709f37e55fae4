"""The lines of the table that a monitor's manual prints after IEC 60601-2-27 and AAMI EC13: how each is measured.

Requirements are those of the standards as manuals quote them; where these only declare a value, the value that manuals
of bedside monitors declare is required.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from agent.core.messages import AlarmCondition
from agent.evaluation.standard_run import StandardOutcome
from agent.evaluation.standard_signals import (
    STANDARD_FS,
    PacingPulse,
    Signal,
    baseline_drift,
    defibrillation,
    mains_hum,
    normal_beats,
    paced_beats,
    pacing_pulses,
    regular_beats,
    resting_line,
    t_waves,
    tachycardia,
    triangle_qrs,
    ventricular_beats,
)
from model.records.resample import FS

RATES_BPM = (15, 30, 40, 60, 80, 100, 120, 150, 180, 200, 220, 250, 300, 350)
NEONATAL_BPM = 200
"""Rates from here on are made with QRS complexes of 40 ms."""
SETTLED_S = 10.0
"""A constant rate is read over the last seconds of its signal."""
PULSES_MV, PULSES_MS = (2, 20, 200, 700), (0.1, 0.5, 1.0, 2.0)
DECAYS_MS = (4.0, 25.0, 100.0)
OVERSHOOT_SHARE, OVERSHOOT_MV = 0.25, 2.0
"""Method A: the overshoot is up to this share of the pulse, and no more than this."""
METHOD_B_MV_S = 0.3
"""Method B, as one manual limits it: height times width of the pulse; the overshoot carries its charge back."""
VENTRICULAR_ALARMS: tuple[AlarmCondition, ...] = (
    "ventricular tachycardia",
    "ventricular fibrillation",
    "extreme tachycardia",
    "V run",
    "heart rate high",
)

Measured = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class StandardCase:
    """A line of the table: its signals (n,) mV, and `measure`, which says of their outcomes what it is and if that is
    enough.

    `rate_limits`: the limits of the heart rate are set to 60 and 100 a minute.
    """

    section: str
    condition: str
    requirement: str
    signals: Sequence[Signal]
    measure: Callable[[Sequence[StandardOutcome]], Measured]
    rate_limits: bool = False


def standard_cases() -> list[StandardCase]:
    """Return all lines of the table, in order, with their signals."""
    sections = (_rate_cases, _qrs_cases, _t_wave_cases, _pacing_cases, _noise_cases, _rhythm_cases, _alarm_cases)
    return [case for section in sections for case in section()]


def _rate_cases() -> Iterator[StandardCase]:
    for bpm in RATES_BPM:
        neonatal = bpm >= NEONATAL_BPM
        beats = regular_beats(bpm, 1, 60)
        ecg = triangle_qrs(60, beats, 1.0, 40) if neonatal else normal_beats(60, beats)
        allowed = max(1.0, bpm / 100)
        kind = ", QRS 40 ms" if neonatal else ""
        yield StandardCase(
            "heart rate", f"{bpm}/min{kind}", f"±{allowed:g}/min", [_quiet(ecg)], _expect_rate(bpm, allowed)
        )


def _qrs_cases() -> Iterator[StandardCase]:
    for mv in (0.5, 1.0, 2.0, 5.0):
        for ms, bpm in ((40, 120), (70, 80), (120, 80)):
            ecg = _quiet(triangle_qrs(40, regular_beats(bpm, 1, 40), mv, ms))
            yield StandardCase(
                "QRS accepted", f"{mv:g} mV, {ms} ms, {bpm}/min", f"{bpm} ±1/min", [ecg], _expect_rate(bpm, 1.2)
            )
    for mv, ms in ((0.15, 100), (1.0, 10)):
        ecg = _quiet(triangle_qrs(40, regular_beats(80, 1, 40), mv, ms))
        requirement = "asystole, no rate"
        yield StandardCase("QRS rejected", f"{mv:g} mV, {ms} ms, 80/min", requirement, [ecg], _expect_standstill(0))


def _t_wave_cases() -> Iterator[StandardCase]:
    heights = tuple(round(0.2 * step, 1) for step in range(1, 16))
    beats = regular_beats(80, 1, 40)
    signals = [_quiet(triangle_qrs(40, beats, 1.0, 100) + t_waves(40, beats, mv, 100)) for mv in heights]

    def measure(outcomes: Sequence[StandardOutcome]) -> Measured:
        highest = 0.0
        for mv, outcome in zip(heights, outcomes, strict=True):
            if not _expect_rate(80, 1)([outcome])[1]:
                break
            highest = mv
        return f"up to {highest:g} mV" if highest else "none", highest >= 1.2

    yield StandardCase("tall T wave rejected", "QRS 1 mV, 100 ms, 80/min", "up to 1.2 mV", signals, measure)


def _pacing_cases() -> Iterator[StandardCase]:
    plain = [PacingPulse(sign * mv, ms) for mv in PULSES_MV for ms in PULSES_MS for sign in (1, -1)]
    method_a = [
        PacingPulse(sign * mv, ms, min(OVERSHOOT_SHARE * mv, OVERSHOOT_MV), decay)
        for mv in PULSES_MV
        for ms in (0.1, 2.0)
        for decay in DECAYS_MS
        for sign in (1, -1)
    ]
    method_b = [
        PacingPulse(sign * mv, ms, mv * ms / decay, decay)
        for mv in PULSES_MV
        for ms in (0.1, 0.5)
        for decay in DECAYS_MS
        for sign in (1, -1)
        if mv * ms / 1000 <= METHOD_B_MV_S
    ]
    for kind, pulses in (("no overshoot", plain), ("overshoot A", method_a), ("overshoot B", method_b)):
        yield from _paced_cases(kind, pulses)


def _paced_cases(kind: str, pulses: Sequence[PacingPulse]) -> Iterator[StandardCase]:
    seconds, spikes = 24, regular_beats(70, 1, 24)
    escapes = normal_beats(seconds, regular_beats(30, 1.4, seconds))
    captured = paced_beats(seconds, spikes)
    for name, requirement, ecg, atrial, measure in (
        ("no heart beat", "asystole, no rate", np.zeros_like(captured), None, _expect_standstill(0)),
        ("no capture, beats 30/min", "30 ±1/min", escapes, None, _expect_rate(30, 1)),
        ("capture 70/min", "70 ±1/min", captured, None, _expect_rate(70, 1)),
        ("atrium 150 ms before, capture", "70 ±1/min", captured, 0.15, _expect_rate(70, 1)),
        (
            "atrium 250 ms before, no heart beat",
            "asystole, no rate",
            np.zeros_like(captured),
            0.25,
            _expect_standstill(0),
        ),
    ):
        places = spikes if atrial is None else np.sort(np.concatenate([spikes, spikes - atrial]))
        signals = [_quiet(ecg + pacing_pulses(seconds, places, pulse)) for pulse in pulses]
        yield StandardCase("pacemaker pulses rejected", f"{kind}, {name}", requirement, signals, _expect_each(measure))


def _noise_cases() -> Iterator[StandardCase]:
    small = normal_beats(40, regular_beats(80, 1, 40), 0.5)
    whole = normal_beats(40, regular_beats(80, 1, 40))
    for hertz in (50, 60):
        for mv, ecg in ((0.1, small), (1.0, whole)):
            signals = [_quiet(ecg + mains_hum(40, hertz, mv))]
            condition = f"mains of {hertz} Hz, {mv:g} mV"
            yield StandardCase("noise", condition, "80 ±1/min", signals, _expect_rate(80, 1))
    drifting = [_quiet(small + baseline_drift(40, 0.1, 4.0))]
    yield StandardCase("noise", "baseline drift of 0.1 Hz, 4 mV", "80 ±1/min", drifting, _expect_rate(80, 1))
    shocked = [_quiet(whole + defibrillation(40, 15, 20.0))]
    yield StandardCase("noise", "recovery after a discharge", "within 5 s", shocked, _measure_recovery(16))


def _rhythm_cases() -> Iterator[StandardCase]:
    for name, normal_to_v_s, mean_s, bpm, allowed in (
        ("3a ventricular bigeminy", 0.6, 0.75, 80, 1),
        ("3b slow alternating ventricular bigeminy", 0.6, 1.0, 60, 1),
        ("3c rapid alternating ventricular bigeminy", 0.35, 0.5, 120, 1),
        ("3d bidirectional systoles", 2 / 3, 2 / 3, 90, 2),
    ):
        first = regular_beats(30 / mean_s, 1, 60)
        ecg = (
            ventricular_beats(60, first) - ventricular_beats(60, first + normal_to_v_s)
            if name.startswith("3d")
            else normal_beats(60, first) + ventricular_beats(60, first + normal_to_v_s)
        )
        requirement = f"{bpm} ±{allowed}/min from 20 s on"
        yield StandardCase("irregular rhythms", name, requirement, [_quiet(ecg)], _expect_rate(bpm, allowed, 20))


def _alarm_cases() -> Iterator[StandardCase]:
    sinus_s, change_s = regular_beats(80, 1, 20.2), 20.5
    for bpm, shown in ((120, 105), (40, 55)):
        ecg = _quiet(normal_beats(50, np.concatenate([sinus_s, regular_beats(bpm, sinus_s[-1] + 60 / bpm, 50)])))
        begins = float(sinus_s[-1])
        yield StandardCase(
            "response of the heart rate", f"80 to {bpm}/min", "within 10 s", [ecg], _measure_response(begins, shown)
        )
        condition: AlarmCondition = "heart rate high" if bpm > 80 else "heart rate low"
        extreme: AlarmCondition = "extreme tachycardia" if bpm > 80 else "extreme bradycardia"
        limit = "100" if bpm > 80 else "60"
        yield StandardCase(
            "time to alarm",
            f"80 to {bpm}/min, limit {limit}",
            "within 10 s",
            [ecg],
            _measure_alarm(begins, condition, extreme),
            rate_limits=True,
        )
    stopped = _quiet(normal_beats(40, sinus_s))
    yield StandardCase(
        "time to alarm", "cardiac arrest", "within 10 s", [stopped], _measure_alarm(float(sinus_s[-1]), "asystole")
    )
    for name, bpm, mv in (("4a", 206, 1.0), ("4b", 195, 2.0)):
        for size, factor in (("half size", 0.5), ("full size", 1.0), ("double size", 2.0)):
            ecg = _quiet(normal_beats(45, sinus_s) + tachycardia(45, change_s, bpm, factor * mv))
            condition_text = f"ventricular tachycardia {name}, {bpm}/min, {factor * mv:g} mV ({size})"
            measure = _measure_alarm(change_s, *VENTRICULAR_ALARMS)
            yield StandardCase("time to alarm", condition_text, "within 10 s", [ecg], measure)


def _quiet(ecg: Signal) -> Signal:
    """Return a signal with the noise of a quiet line."""
    return ecg + resting_line(len(ecg) / STANDARD_FS)


def _expect_rate(
    bpm: float, allowed: float, from_s: float | None = None
) -> Callable[[Sequence[StandardOutcome]], Measured]:
    """Measure the heart rate at the end of a signal, or from `from_s` on; every value that is shown must be right."""

    def measure(outcomes: Sequence[StandardOutcome]) -> Measured:
        (outcome,) = outcomes
        rates = [rate for _, rate in outcome.rates(outcome.seconds - SETTLED_S if from_s is None else from_s)]
        if not rates:
            return "no rate", False
        passed = all(abs(rate - bpm) <= allowed for rate in rates)
        return f"{median(rates):.1f}" if passed else f"{min(rates):.0f} to {max(rates):.0f}", passed

    return measure


def _expect_standstill(from_s: float) -> Callable[[Sequence[StandardOutcome]], Measured]:
    """Measure how soon asystole is alarmed, and whether a heart rate is shown all the same behind it."""

    def measure(outcomes: Sequence[StandardOutcome]) -> Measured:
        (outcome,) = outcomes
        delay = outcome.alarm_delay_s(from_s, "asystole")
        rates = outcome.rates(from_s + 10)
        text = "no asystole" if delay is None else f"asystole after {delay:.1f} s"
        return f"{text}{f', rate {rates[-1][1]:.0f}' if rates else ''}", delay is not None and delay <= 10 and not rates

    return measure


def _expect_each(
    measure: Callable[[Sequence[StandardOutcome]], Measured],
) -> Callable[[Sequence[StandardOutcome]], Measured]:
    """Measure how many of several signals are right."""

    def measure_all(outcomes: Sequence[StandardOutcome]) -> Measured:
        right = sum(measure([outcome])[1] for outcome in outcomes)
        return f"{right} of {len(outcomes)} pulses", right == len(outcomes)

    return measure_all


def _measure_response(begins_s: float, shown_bpm: float) -> Callable[[Sequence[StandardOutcome]], Measured]:
    """Measure how long the heart rate takes to 63 % of its change."""

    def measure(outcomes: Sequence[StandardOutcome]) -> Measured:
        (outcome,) = outcomes
        reached = [at_s for at_s, rate in outcome.rates(begins_s) if (rate - shown_bpm) * (shown_bpm - 80) >= 0]
        return (f"{reached[0] - begins_s:.1f} s", reached[0] - begins_s <= 10) if reached else ("never", False)

    return measure


def _measure_alarm(begins_s: float, *conditions: AlarmCondition) -> Callable[[Sequence[StandardOutcome]], Measured]:
    """Measure how soon one of the conditions is alarmed."""

    def measure(outcomes: Sequence[StandardOutcome]) -> Measured:
        (outcome,) = outcomes
        delay = outcome.alarm_delay_s(begins_s, *conditions)
        return ("no alarm", False) if delay is None else (f"{delay:.1f} s", delay <= 10)

    return measure


def _measure_recovery(begins_s: float) -> Callable[[Sequence[StandardOutcome]], Measured]:
    """Measure when the beats are found again that come 0.75 s after each other."""

    def measure(outcomes: Sequence[StandardOutcome]) -> Measured:
        (outcome,) = outcomes
        found = [beat.sample / FS for beat in outcome.beats if beat.sample >= begins_s * FS]
        steady = [a for a, b in pairwise(found) if abs(b - a - 0.75) < 0.02]
        delay = steady[0] - begins_s if steady else None
        return ("never", False) if delay is None else (f"{delay:.1f} s", delay <= 5)

    return measure
