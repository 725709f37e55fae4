"""Is a stream right? What is measured of its rate, packets and leads, and what to do about what is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.analysis.lead_measures import (
    LARGEST_QRS_MV,
    MAINS_HZ,
    SMALLEST_QRS_MV,
    LeadMeasures,
    estimate_qrs_height,
    fill_holes,
    measure_lead,
)
from agent.analysis.qrs_height import LEAST_QRS_MV
from agent.bridge.rate_meter import describe_rate_error
from agent.bridge.stream_capture import StreamCapture
from agent.core.lead_units import UNITS_MV
from agent.library.argument_checks import HIGHEST_FS
from agent.library.signal_analysis import detect_r_peaks
from model.records.resample import LEAST_RESAMPLING_FS

RATE_TOLERANCE = 0.01
LEAST_FS = 100.0
"""Below it QRS complexes lose their shape, and classes of beats are not to be trusted."""
LONGEST_PAUSE_S = 1.0
MOST_LOST, MOST_MISSING, MOST_FLAT, MOST_CLIPPED = 0.005, 0.02, 0.1, 0.002
MOST_HUM = 0.1
"""Hum from peak to peak, as a share of the height of the QRS complexes."""
LEAST_QUALITY = 0.5
LEAST_SECONDS = 5.0
"""Less signal shows too few beats."""
RIGHT_WAY_DOWN = ("AVR", "V1", "V2", "V3")
"""Leads whose QRS complexes point down in a healthy heart."""


@dataclass(frozen=True, slots=True)
class StreamFinding:
    """One line of the table: `what` was looked at in which `lead` ("": in all), its `value`, what to do if wrong."""

    what: str
    lead: str
    value: str
    advice: str = ""

    @property
    def is_right(self) -> bool:
        return not self.advice


def check_stream(capture: StreamCapture) -> list[StreamFinding]:
    """Return all that was looked at, in the order of the table."""
    findings = [*_judge_rate(capture), *_judge_packets(capture)]
    for column, lead in enumerate(capture.leads):
        findings += _judge_lead(lead.name, lead.unit, capture.values[:, column], capture.fs)
    return findings


def _judge_rate(capture: StreamCapture) -> Iterator[StreamFinding]:
    measured, advice = capture.measured_fs, ""
    text = f"{capture.fs:g} Hz"
    if not capture.told:
        text += " in the file" if not capture.arrived_s else " measured"
    elif measured is not None:
        text += f" told, {measured:.1f} measured"
        if abs(measured / capture.fs - 1) > RATE_TOLERANCE:
            advice = describe_rate_error(capture.fs, measured)
    if capture.fs < LEAST_FS and not advice:
        advice = f"too slow to tell beats apart: set the device to {LEAST_FS:g} Hz or more, 250 is usual"
    if capture.fs > HIGHEST_FS and not advice:
        advice = "no ECG is that fast: these are no samples as they were taken; of a file say --fs"
    yield StreamFinding("rate", "", text, advice)
    if capture.seconds < LEAST_SECONDS:
        yield StreamFinding("length", "", f"{capture.seconds:.1f} s", "too short to judge: let it send for ten seconds")


def _judge_packets(capture: StreamCapture) -> Iterator[StreamFinding]:
    pauses = capture.pauses_s
    if len(pauses):
        longest, usual = float(pauses.max()), float(np.median(pauses))
        text = f"every {1000 * usual:.0f} ms, longest pause {1000 * longest:.0f} ms"
        late = longest > max(LONGEST_PAUSE_S, 4 * usual)
        yield StreamFinding("arrivals", "", text, "the stream stops at times: look at cable, radio or network" * late)
    count = max(1, len(capture.values))
    advice = ""
    if capture.interruptions or capture.lost > MOST_LOST * count:
        advice = "samples get lost before they come here: look at cable, radio or network"
    text = f"{capture.lost} of {count} samples ({100 * capture.lost / count:.1f} %)"
    yield StreamFinding("losses", "", text + (", interrupted" if capture.interruptions else ""), advice)
    if capture.remark:
        yield StreamFinding("remark", "", capture.remark)


def _judge_lead(name: str, unit: str, x: NDArray[np.float64], fs: float) -> Iterator[StreamFinding]:
    peaks = _find_peaks(x, fs)
    measures = measure_lead(x, fs, peaks)
    mv = UNITS_MV.get(unit)
    yield _judge_range(name, unit, measures)
    if measures.rises:
        return
    yield _judge_height(name, unit, measures, mv)
    yield from _judge_signal(name, unit, measures)
    yield _judge_beats(name, peaks, len(x) / fs, fs)


def _find_peaks(x: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """Return the R peaks (m,) of a lead (n,) in any unit."""
    height = estimate_qrs_height(fill_holes(x), fs)
    if not height > 0 or not LEAST_RESAMPLING_FS <= fs <= HIGHEST_FS:
        return np.empty(0, np.int64)
    return detect_r_peaks((x - np.nanmedian(x)) / height, fs, unit="mV")


def _judge_range(name: str, unit: str, measures: LeadMeasures) -> StreamFinding:
    advice = ""
    if measures.rises:
        advice = "it only rises: a clock or a counter, no lead; leave it out with --columns"
    elif measures.missing > MOST_MISSING:
        advice = "values are missing: is an electrode off, or are lines broken?"
    missing = f", {100 * measures.missing:.0f} % without a value" if measures.missing else ""
    return StreamFinding("range", name, f"{measures.low:.4g} to {measures.high:.4g} {unit}{missing}", advice)


def _judge_height(name: str, unit: str, measures: LeadMeasures, mv: float | None) -> StreamFinding:
    height = measures.qrs_height
    advice = ""
    if not height > 0:
        advice = "nothing like a heart: a flat line has no QRS complexes"
    elif mv is not None and height * mv > LARGEST_QRS_MV:
        advice = f"no heart is that high: is the unit right? (--unit {'uV' if mv == 1 else 'with the size of a count'})"
    elif mv is not None and height * mv < SMALLEST_QRS_MV:
        advice = "nothing like a heart: is the unit right, are the electrodes on?"
    elif mv is not None and height * mv < LEAST_QRS_MV:
        advice = f"below {LEAST_QRS_MV:g} mV a monitor counts no beats: choose another lead, or better contact"
    text = f"{height:.4g} {unit}"
    if mv is None and not advice:
        text += ', uncalibrated: give the size of a count, such as --unit "2.9uV", for amplitudes'
    return StreamFinding("QRS height", name, text, advice)


def _judge_signal(name: str, unit: str, measures: LeadMeasures) -> Iterator[StreamFinding]:
    if measures.inverted is not None:
        down = measures.inverted and name.upper() not in RIGHT_WAY_DOWN
        advice = "the QRS complexes point down: are two electrodes swapped?" if down else ""
        yield StreamFinding("polarity", name, "down" if measures.inverted else "up", advice)
    hums = [hum for hum in measures.hum if not np.isnan(hum)]
    if hums:
        mains, hum = max(zip(MAINS_HZ, measures.hum, strict=True), key=lambda pair: np.nan_to_num(pair[1]))
        share = 2 * 2**0.5 * hum / measures.qrs_height if measures.qrs_height else 0.0
        advice = f"hum of the mains: move cables away from {mains:g} Hz, take the charger out, better contact"
        text = f"{hum:.2g} {unit} at {mains:g} Hz, {100 * share:.0f} % of a QRS complex"
        yield StreamFinding("hum", name, text, advice if share > MOST_HUM else "")
    clipped = f"{100 * measures.clipped:.1f} % at the rails"
    advice = (
        "the converter is at its end: lower the gain, or mend the contact" if measures.clipped > MOST_CLIPPED else ""
    )
    yield StreamFinding("clipping", name, clipped, advice)
    advice = "the line is flat: an electrode is off, or a wrong column" if measures.flat > MOST_FLAT else ""
    yield StreamFinding("flat", name, f"{100 * measures.flat:.0f} % of the time", advice)
    if measures.quality is not None:
        advice = "it looks like noise: sit still, new electrodes" if measures.quality < LEAST_QUALITY else ""
        yield StreamFinding("quality", name, f"{measures.quality:.2f}", advice)


def _judge_beats(name: str, peaks: NDArray[np.int64], seconds: float, fs: float) -> StreamFinding:
    if len(peaks) < 2:
        return StreamFinding("beats", name, f"{len(peaks)} in {seconds:.0f} s", "no heart rate: see the lines above")
    rate = 60 * fs / float(np.median(np.diff(peaks)))
    return StreamFinding("beats", name, f"{len(peaks)} in {seconds:.0f} s, {rate:.0f}/min")
