"""What a report cannot tell, or tells with a caution, in words: paced beats, fibrillation, tests, variability."""

import numpy as np

from agent.core.class_trust import ClassTrust, trust_sentence
from agent.report.bed_recording import BedRecording
from agent.report.findings import BeatFindings
from agent.report.styles import CLASS_NAMES, duration_in_words, share_in_percent
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


def say_learnt(recording: BedRecording) -> str:
    """Return that the net has learnt from a record of this name, "" where it has not."""
    if recording.bed not in recording.class_trust.learnt:
        return ""
    return (
        f"The net has learnt from a record named {recording.bed}: if this is it, figures of tests do not hold for it, "
        "and it looks better here than it is."
    )


def say_hardly_found(trust: ClassTrust, name: str) -> str:
    """Return that a class is hardly found, if tests said so, as a clause to go on with; else ""."""
    found = trust.sensitivity.get(name)
    return f"this net hardly finds {name} in tests" if found is not None and found.share < HARDLY_FOUND else ""


def say_other_beats(recording: BedRecording, beats: BeatFindings) -> str:
    """Return how many fusion, paced and unknown beats there are, if they are many; else ""."""
    many = [name for name in "FQ" if beats.share(name) > OFTEN_PERCENT]
    said = [
        f"{beats.number(name):,} {CLASS_NAMES[name]} ({name}, {share_in_percent(beats.share(name))} of all beats)"
        for name in many
    ]
    rates = [
        f"{name}: {say_hardly_found(recording.class_trust, name) or trust_sentence(recording.class_trust, name)}"
        for name in many
    ]
    return f"{', '.join(said)}. {'; '.join(rates)}." if many else ""


def say_pacing(recording: BedRecording) -> str:
    """Return what is known of a pacemaker, and what does not hold with one."""
    if not recording.pacing_pulses:
        return "Paced beats are not recognised by shape: without pacemaker pulses in the signal they count as N (or V)."
    return (
        f"{recording.pacing_pulses:,} pacemaker pulses were seen: paced beats count as N (or V), and neither "
        "intervals nor heart-rate variability hold for them."
    )
