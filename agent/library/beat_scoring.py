"""Scores of detected beats by the rules of EC57, for results of this library and for plain arrays."""

from collections.abc import Sequence
from typing import TypeGuard, cast

from agent.core.messages import Beat
from agent.library.argument_checks import check_number
from agent.library.signal_analysis import SignalAnalysis
from model.scoring.ec57 import LEARNING_S, BeatSource, RecordScore, score_beats

Scorable = BeatSource | SignalAnalysis | Sequence[Beat]
"""Results of `analyse`, its beats, or whatever `model.scoring.ec57.score_beats` takes."""


def score(
    reference: Scorable, test: Scorable, fs: float, *, start_s: float = LEARNING_S, end_s: float | None = None
) -> RecordScore:
    """Score beats against a reference by the rules of ANSI/AAMI EC57, with the counts of WFDB's bxb, rxr and epicmp.

    Parameters
    ----------
    reference, test : SignalAnalysis, sequence of Beat, wfdb.Annotation, (samples, symbols), or samples
        `samples` (n,) are sample indices of R peaks at `fs`, `symbols` n WFDB symbols or classes N, S, V, F, Q.
    fs : float
        Sampling rate of both in hertz.
    start_s, end_s : float
        The part to score, in seconds. The first five minutes do not count unless `start_s` says so.

    Returns
    -------
    RecordScore
        `qrs`, `veb` and `sveb` have `sensitivity` and `positive_predictivity`; runs and episodes are there, too.

    Raises
    ------
    ValueError
        For samples that are not ascending integers, unknown symbols, rates or times that make no sense, and results at
        another rate than `fs`.

    Notes
    -----
    Without `end_s` the scoring ends at the last beat of the reference, as that of bxb does.

    Examples
    --------
    >>> from agent import score
    >>> score([400, 700, 1000], [402, 705, 1300], 360, start_s=0, end_s=10).qrs
    DetectionCounts(true_positives=2, false_negatives=1, false_positives=1)
    """
    rate = check_number(fs, "fs, the sampling rate in hertz,")
    start = check_number(start_s, "start_s")
    end = None if end_s is None else check_number(end_s, "end_s")
    return score_beats(_plain_source(reference, rate), _plain_source(test, rate), rate, start, end)


def _plain_source(source: Scorable, fs: float) -> BeatSource:
    """Return what `score_beats` takes."""
    if isinstance(source, SignalAnalysis):
        if source.fs != fs:
            raise ValueError(f"the results to score are at {source.fs:g} Hz, not {fs:g}: pass fs={source.fs:g}")
        return _plain_source(source.beats, fs)
    if _are_beats(source):
        return [beat.sample for beat in source], [beat.label for beat in source]
    return cast(BeatSource, source)


def _are_beats(source: object) -> TypeGuard[Sequence[Beat]]:
    return isinstance(source, list | tuple) and all(isinstance(beat, Beat) for beat in source)
