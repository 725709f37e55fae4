"""How far a lead can be trusted, and what the waveforms of two leads say together."""

from collections.abc import Sequence

import msgspec

from agent.analysis.rhythm_windows import WindowScores
from agent.core.config import LeadsConfig
from model.waveform.waveform_classifier import ASYSTOLE, NOISE, ORGANISED, VF, VT

CONTRADICTED_KINDS = (VF, VT, ASYSTOLE)
"""What a loose electrode or an artefact looks like in one lead while another shows that the heart beats."""


def signal_quality(window: WindowScores, least_mv: float) -> float | None:
    """Return the quality of a window from 0 to 1: neither noise nor a line without QRS complexes.

    A window lower than `least_mv` from peak to peak shows no ECG. None while the stretch is shorter than a window.
    """
    if not window.scores:
        return None
    if window.amplitude_mv < least_mv:
        return 0.0
    return (1 - window.scores[NOISE]) * (1 - window.scores[ASYSTOLE])


def fuse_windows(heard: WindowScores, trusted: Sequence[WindowScores], config: LeadsConfig) -> WindowScores:
    """Return the window of the heard lead as the good other leads let it stand.

    A good lead that is clearly organised contradicts VF, VT and asystole: their probabilities become the lower ones of
    both leads, and what they lose goes to the organised rhythm. A heart that stands still is low in all leads. Where it
    is not clear, VT and VF together are no likelier than the mean of both leads; that is taken from VT alone.
    """
    for other in trusted:
        if not (heard.scores and other.scores):
            continue
        scores = list(heard.scores)
        if other.scores[ORGANISED] >= config.organised_score:
            lower = {kind: min(scores[kind], other.scores[kind]) for kind in CONTRADICTED_KINDS}
            heard = msgspec.structs.replace(heard, amplitude_mv=max(heard.amplitude_mv, other.amplitude_mv))
        else:
            excess = (scores[VT] + scores[VF] - other.scores[VT] - other.scores[VF]) / 2
            lower = {VT: max(0.0, scores[VT] - max(0.0, excess))}
        for kind, score in lower.items():
            scores[ORGANISED] += scores[kind] - score
            scores[kind] = score
        heard = msgspec.structs.replace(heard, scores=tuple(scores))
    return heard
