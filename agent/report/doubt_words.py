"""What a report cannot tell, or tells with a caution, in words: paced beats, fibrillation, tests, variability."""

import numpy as np

from agent.report.bed_recording import BedRecording
from agent.report.findings import BeatFindings
from agent.report.styles import duration_in_words
from model.rhythm.hrv import NNIntervals

HARDLY_FOUND = 0.05
"""A class of which tests found less than this share is hardly found."""
OFTEN_PERCENT = 1.0
"""Fusion, paced and unknown beats are named on the first page if they are more of all beats."""


LEAST_NN, LEAST_NN_S, LEAST_NN_PERCENT = 256, 300.0, 80.0
"""With fewer NN intervals, fewer seconds of them, or less of all RR intervals, variability is not given."""
MOST_FIBRILLATION_PERCENT, MOST_BROAD_PERCENT = 5.0, 20.0
"""... nor with more of the time in atrial fibrillation, or more V and F beats."""


def doubt_variability(recording: BedRecording, nn: NNIntervals, beats: BeatFindings, fibrillation: float) -> str:
    """Return why heart-rate variability does not hold, in a few words; "" where it does.

    `fibrillation`: the share (0 to 1) of the signal in atrial fibrillation.
    """
    if recording.pacing_pulses:
        return "the patient may be paced"
    if 100 * fibrillation > MOST_FIBRILLATION_PERCENT:
        return "atrial fibrillation: it describes the ventricular response"
    if beats.share("V") + beats.share("F") > MOST_BROAD_PERCENT:
        return f"{beats.share('V') + beats.share('F'):.0f} % of the beats are V or F"
    if 0 < nn_percent(recording, nn) < LEAST_NN_PERCENT:
        return f"only {nn_percent(recording, nn):.0f} % of all RR intervals are usable"
    if len(nn) < LEAST_NN:
        return f"only {len(nn):,} NN intervals"
    if nn.nn_s.sum() < LEAST_NN_S:
        return f"only {duration_in_words(float(nn.nn_s.sum()))} of NN intervals"
    return ""


def nn_percent(recording: BedRecording, nn: NNIntervals) -> float:
    """Return the NN intervals used in percent of all RR intervals."""
    total = int(np.isfinite(recording.beats.rr_s).sum())
    return 100 * len(nn) / total if total else 0.0


def say_pacing(recording: BedRecording) -> str:
    """Return what is known of a pacemaker, and what does not hold with one."""
    if not recording.pacing_pulses:
        return "Paced beats are not recognised by shape: without pacemaker pulses in the signal they count as N (or V)."
    return (
        f"{recording.pacing_pulses:,} pacemaker pulses were seen: paced beats count as N (or V), and neither "
        "intervals nor heart-rate variability hold for them."
    )
