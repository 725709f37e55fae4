"""What is known of each patient, and every beat seen beside it: the shapes that came before, and the rhythm.

A net that sees one cut beat cannot know whether a wide beat is an ectopic one or this patient's own. So the shapes of
the beats are gathered in a few clusters a patient, as Hamilton & Curran's OSEA does with its templates; the heaviest
cluster is the dominant beat. A beat is described by its wave beside the mean waves of the dominant cluster and of its
own, in units of the dominant QRS complex, and by numbers for its rhythm and its likeness. No label is ever needed.

All is kept as rows of arrays, one row a patient, and works on many rows at once; what is said of one row does not
depend, to the last bit, on the others.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PatientRows = NDArray[np.intp]

WAVE_BEFORE, WAVE_AFTER = 48, 80
"""Samples of a wave before its R peak and from it on: 384 and 640 ms."""
WAVE = WAVE_BEFORE + WAVE_AFTER
SLACK = 2
"""Samples by which a beat may be moved against a cluster, either way."""
QRS_BEFORE, QRS_AFTER = 14, 18
"""Samples around the R peak whose shape is compared."""
QRS = QRS_BEFORE + QRS_AFTER
CLUSTER_COUNT = 8
JOIN_CORRELATION = 0.9
"""Correlation from which on a beat belongs to a cluster."""
WEIGHT_FADE = np.float32(0.5 ** (1 / 150))
"""What is left of the weight of a cluster after each beat: half of it after 150."""
MEAN_BEATS = 16
"""A mean moves by no less than the 16th part of a new beat."""
KEPT_INTERVALS, RECENT_INTERVALS, ONSET_INTERVALS = 64, 16, 9
"""RR intervals that are remembered, those that make the rhythm of now, and those among which a sudden change counts."""
QUALITY_BEATS = np.float32(8)
"""Beats over which roughness and likeness are averaged, to know how noisy the signal is."""
PAUSE_RR_S = 3.0
"""RR intervals from here on are pauses, and not learnt from."""
P_WAVE = slice(8, 36)
"""Part of a wave before its QRS complex."""
MOVE_INDEX = np.arange(2 * SLACK + 1)[:, None] + np.arange(QRS)
LEAST_SIZE = np.float32(1e-3)
"""No size, in mV, nor ratio is taken for less."""
FIRST_LOG_RR = np.float32(np.log(0.8))
"""Logarithm of the RR interval (s) that is assumed of a new patient."""

RHYTHM_FEATURES = (  # noqa: SIM905  # reads as a table
    """rr/own rr1/own rr2/own next/own rr/recent next/recent rr/next rr/recent80 rr/long25 rr/long50 rr/long75
    mean/long50 mean/long75 irregularity own shortening shortening_at lengthening no_next"""
).split()
SHAPE_FEATURES = (  # noqa: SIM905
    """like_dominant like_cluster share_cluster share_dominant weight_cluster cluster_rr cluster_next size size/before
    like_before like_next before_like_dominant next_like_dominant wave_like p_like p_change roughness score
    seen mean_roughness mean_like mean_change mean_taken"""
).split()
FEATURES = (*RHYTHM_FEATURES, *SHAPE_FEATURES)
"""Names of the numbers that describe a beat; `/` stands for the logarithm of a ratio."""
FEATURE_LIMITS = np.array([1.5] * len(RHYTHM_FEATURES) + [4] * len(SHAPE_FEATURES), np.float32)
"""No number says more than this, either way."""
CHANNELS = 3
"""Waves a beat: its own, the dominant cluster's and its own cluster's."""
INPUTS = CHANNELS * WAVE + len(FEATURES)


@dataclass(frozen=True, slots=True, eq=False)
class BeatWindows:
    """The next beat of each of n patients, whose `rows` (n,) differ.

    `waves` (n, WAVE + 2 SLACK) and `following` (n, QRS + 2 SLACK), around the next R peak, in mV; the latter zero where
    there is no next beat in time. `rr` (n, 3) seconds: the RR intervals up to this beat, the latest first, NaN where
    unknown. `next` (n,) seconds to the next R peak, or to the time when it was waited for no longer (`no_next`).
    `score` (n,) of the detector; a beat that it did not take for one (0 or less) is described but not learnt from.
    """

    rows: PatientRows
    waves: Floats
    following: Floats
    rr: Floats
    next: Floats
    no_next: NDArray[np.bool_]
    score: Floats


class BeatTemplates:
    """Shapes and rhythm of all patients."""

    def __init__(self, rows: int = 1) -> None:
        self._shape = np.zeros((rows, CLUSTER_COUNT, QRS), np.float32)  # unit vectors
        self._wave = np.zeros((rows, CLUSTER_COUNT, WAVE), np.float32)
        self._size, self._weight, self._rr, self._next = np.zeros((4, rows, CLUSTER_COUNT), np.float32)
        self._intervals = np.full((rows, KEPT_INTERVALS), np.nan, np.float32)  # logarithms, the latest last
        self._own = np.full(rows, FIRST_LOG_RR, np.float32)
        self._seen = np.zeros(rows, np.float32)
        self._last_shape = np.zeros((rows, QRS), np.float32)
        self._last_size, self._last_like = np.ones((2, rows), np.float32)
        self._quality = np.tile(np.array([0, 1, 0, 1], np.float32), (rows, 1))

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        new = BeatTemplates(max(0, rows - len(self._own)))
        for name, array in vars(self).items():
            setattr(self, name, np.concatenate([array, getattr(new, name)]))

    def reset(self, row: int) -> None:
        """Another patient, or the same after nobody knows what: nothing is known."""
        new = BeatTemplates()
        for name, array in vars(self).items():
            array[row] = getattr(new, name)[0]

    def describe(self, beats: BeatWindows) -> tuple[Floats, PatientRows, NDArray[np.bool_], Floats]:
        """The net's inputs (n, INPUTS) for these beats, their clusters (n,), whether those are new, the noise (n,).

        The cluster is -1 for what is not learnt from. Noise is how far the signal before the last QRS complexes was
        from that of the dominant beat: the mean logarithm of the RMS difference, 0 where that is a 20th of the complex.

        An input is three waves, one after the other, then the numbers named in FEATURES. The patients learn from it.
        """
        rows, n = beats.rows, np.arange(len(beats.rows))
        shapes, sizes = _qrs_shapes(beats.waves[:, WAVE_BEFORE - QRS_BEFORE : WAVE_BEFORE + QRS_AFTER + 2 * SLACK])
        following, _ = _qrs_shapes(beats.following)
        likeness = np.matmul(shapes, self._shape[rows].transpose(0, 2, 1))  # (n, moves, clusters)
        like, weight = likeness.max(1), self._weight[rows]
        best, dominant = like.argmax(1), weight.argmax(1)
        joins = like[n, best] > JOIN_CORRELATION
        heaviest = weight[n, dominant]
        scale = np.maximum(np.where(heaviest > 0, self._size[rows, dominant], sizes), LEAST_SIZE)

        wave = beats.waves[:, SLACK:-SLACK]
        level = np.median(wave, axis=1, keepdims=True)
        wave = wave - level
        usual = self._wave[rows, dominant]
        own = np.where(joins[:, None], self._wave[rows, best], np.float32(0))
        rhythm, recent = self._rhythm(beats)
        resemblance = _compare_waves(wave, usual, scale)
        roughness = np.log(np.maximum(_wave_roughness(wave) / scale, LEAST_SIZE)) + 3
        quality = np.stack([roughness, like[n, best], resemblance[2], beats.score > 0], axis=1)
        quality = self._quality[rows] + (quality - self._quality[rows]) / QUALITY_BEATS
        shape = (
            like[n, dominant],
            like[n, best],
            weight[n, best] / np.maximum(weight.sum(1), LEAST_SIZE),
            heaviest / np.maximum(weight.sum(1), LEAST_SIZE),
            np.log1p(weight[n, best]) / 3,
            self._rr[rows, best],
            self._next[rows, best],
            np.log(np.maximum(sizes, LEAST_SIZE) / scale),
            np.log(np.maximum(sizes, LEAST_SIZE) / np.maximum(self._last_size[rows], LEAST_SIZE)),
            _best_correlation(shapes, self._last_shape[rows]),
            _best_correlation(shapes, following[:, SLACK]),
            self._last_like[rows],
            _best_correlation(following, self._shape[rows, dominant]),
            *resemblance,
            roughness,
            np.minimum(beats.score, 12) / 6,
            np.log1p(self._seen[rows]) / 4,
            *quality.T,
        )
        inputs = np.empty((len(rows), INPUTS), np.float32)
        waves = np.stack([wave, usual, own], axis=1) / scale[:, None, None]
        inputs[:, : CHANNELS * WAVE] = np.clip(waves, -4, 4).reshape(len(rows), -1)
        inputs[:, CHANNELS * WAVE :] = np.clip(np.stack([*rhythm, *shape], axis=1), -FEATURE_LIMITS, FEATURE_LIMITS)
        learnt = np.flatnonzero(beats.score > 0)
        self._quality[rows] = quality
        cluster = np.full(len(rows), -1)
        if len(learnt):
            moves = np.where(joins, likeness[n, :, best].argmax(1), SLACK)
            seen = _TemplateComparison(shapes, sizes, level, moves, best, joins, like[n, dominant], recent)
            cluster[learnt] = self._learn(beats, learnt, seen)
        return inputs, cluster, ~joins, quality[:, 2]

    def _rhythm(self, beats: BeatWindows) -> tuple[tuple[NDArray[Any], ...], Floats]:
        """The numbers of RHYTHM, each (n,), and the logarithm (n,) of the median RR interval of now."""
        own = self._own[beats.rows]
        rr = np.log(np.maximum(beats.rr, np.float32(0.05)))
        rr = np.where(np.isnan(rr), own[:, None], rr)
        following = np.log(np.maximum(beats.next, np.float32(0.05)))
        intervals = self._intervals[beats.rows]
        long25, long50, long75 = _interval_quantiles(intervals, (0.25, 0.5, 0.75), own)
        recent = intervals[:, -RECENT_INTERVALS:]
        recent50, recent80 = _interval_quantiles(recent, (0.5, 0.8), own)
        changes = np.abs(np.diff(recent, axis=1))
        known = ~np.isnan(changes)
        count = known.sum(1)
        irregularity = 4 * np.where(known, changes, 0).sum(1) / np.maximum(count, 1)
        steps = np.diff(np.concatenate([intervals[:, -ONSET_INTERVALS:], rr[:, :1]], axis=1), axis=1)
        steps[np.isnan(steps)] = 0
        latest, mean = rr[:, 0], rr.mean(1)
        numbers = (
            latest - own,
            rr[:, 1] - own,
            rr[:, 2] - own,
            following - own,
            latest - recent50,
            following - recent50,
            latest - following,
            latest - recent80,
            latest - long25,
            latest - long50,
            latest - long75,
            mean - long50,
            mean - long75,
            np.where(count > 2, irregularity, 0),
            own - FIRST_LOG_RR,
            steps.min(1),
            (steps.argmin(1) / ONSET_INTERVALS),
            steps.max(1),
            beats.no_next,
        )
        return numbers, recent50

    def _learn(self, beats: BeatWindows, learnt: PatientRows, seen: "_TemplateComparison") -> PatientRows:
        """Take the beats at places `learnt` (k,) into clusters, which are returned, and the rhythm of their rows."""
        rows = beats.rows[learnt]
        joins, moves, size = seen.joins[learnt], seen.moves[learnt], seen.sizes[learnt]
        self._weight[rows] *= WEIGHT_FADE
        cluster = np.where(joins, seen.best[learnt], self._weight[rows].argmin(1))
        before = np.where(joins, self._weight[rows, cluster], np.float32(0))
        rate = (1 / np.minimum(before + 1, MEAN_BEATS)).astype(np.float32)
        self._weight[rows, cluster] = before + 1

        def mean(kept: Floats, new: Floats) -> None:
            part = rate.reshape(-1, *[1] * (new.ndim - 1))
            kept[rows, cluster] = kept[rows, cluster] * (1 - part) + new * part

        mean(self._shape, seen.shapes[learnt, moves])
        self._shape[rows, cluster] = _unit_vectors(self._shape[rows, cluster])[0]
        wave = beats.waves[learnt[:, None], moves[:, None] + np.arange(WAVE)]
        mean(self._wave, wave - seen.level[learnt])
        mean(self._size, size)
        interval, recent = beats.rr[learnt, 0], seen.recent[learnt]
        known = np.log(np.maximum(interval, np.float32(0.05)))
        after = np.log(np.maximum(beats.next[learnt], np.float32(0.05)))
        mean(self._rr, np.where(np.isnan(known), 0, np.clip(known - recent, -1.5, 1.5)))
        mean(self._next, np.clip(after - recent, -1.5, 1.5))
        new = np.where(interval < PAUSE_RR_S, known, np.float32(np.nan))  # NaN where it is unknown
        like = seen.like_dominant[learnt]
        self._follow(rows, new, recent, (like > JOIN_CORRELATION) & (self._last_like[rows] > JOIN_CORRELATION))
        self._intervals[rows, :-1] = self._intervals[rows, 1:]
        self._intervals[rows, -1] = new
        self._seen[rows] += 1
        self._last_shape[rows], self._last_size[rows] = seen.shapes[learnt, SLACK], size
        self._last_like[rows] = like
        return cluster

    def _follow(self, rows: PatientRows, interval: Floats, recent: Floats, dominant: NDArray[np.bool_]) -> None:
        """Move the patients' own RR intervals: quickly by those between two dominant beats, slowly by the others."""
        own = self._own[rows]
        rate = np.where(self._seen[rows] < 8, np.float32(0.3), np.float32(0.1))
        rate = np.where(dominant, rate, np.float32(0.02))
        towards = np.where(dominant, interval, recent)
        moved = own + rate * np.clip(towards - own, -0.3, 0.3)
        self._own[rows] = np.where(np.isnan(interval), own, moved)


@dataclass(frozen=True, slots=True, eq=False)
class _TemplateComparison:
    """What `describe` found out of its beats on the way, for `_learn`."""

    shapes: Floats
    sizes: Floats
    level: Floats
    moves: PatientRows
    best: PatientRows
    joins: NDArray[np.bool_]
    like_dominant: Floats
    recent: Floats


def _qrs_shapes(stretches: Floats) -> tuple[Floats, Floats]:
    """QRS shapes of (n, QRS + 2 SLACK) mV as unit vectors (n, moves, QRS), and the size (n,) of the unmoved."""
    moved = np.take(stretches, MOVE_INDEX, axis=1)  # an index would leave another order in memory, and so of the sums
    shapes, size = _unit_vectors(moved - moved.sum(-1, keepdims=True) / QRS)
    return shapes, size[:, SLACK]


def _unit_vectors(vectors: Floats) -> tuple[Floats, Floats]:
    size = np.sqrt((vectors * vectors).sum(-1))
    return vectors / np.maximum(size, np.float32(1e-6))[..., None], size


def _best_correlation(shapes: Floats, other: Floats) -> Floats:
    """Highest correlation of any move of (n, moves, QRS) with (n, QRS)."""
    found: Floats = np.matmul(shapes, other[:, :, None])[:, :, 0].max(1)
    return found


def _compare_waves(wave: Floats, usual: Floats, scale: Floats) -> tuple[Floats, Floats, Floats]:
    """Correlation of the whole wave with the dominant one, of the part before the QRS complex, and its difference."""
    both = np.stack([wave, usual])
    part = both[:, :, P_WAVE]
    part = part - part.sum(2, keepdims=True) / part.shape[2]
    change = part[0] - part[1]
    difference = np.sqrt((change * change).sum(1) / part.shape[2]) / scale
    both, part = _unit_vectors(both - both.sum(2, keepdims=True) / WAVE)[0], _unit_vectors(part)[0]
    whole: Floats = (both[0] * both[1]).sum(1)
    p_wave: Floats = (part[0] * part[1]).sum(1)
    return whole, p_wave, np.log(np.maximum(difference, LEAST_SIZE)) + 3


def _wave_roughness(wave: Floats) -> Floats:
    """RMS second difference (n,) in mV outside the QRS complex: what muscles and contacts add."""
    turn = wave[:, 2:] - 2 * wave[:, 1:-1] + wave[:, :-2]
    outside = np.concatenate([turn[:, : WAVE_BEFORE - QRS_BEFORE], turn[:, WAVE_BEFORE + QRS_AFTER :]], axis=1)
    rough: Floats = np.sqrt((outside * outside).sum(1) / outside.shape[1])
    return rough


def _interval_quantiles(intervals: Floats, shares: tuple[float, ...], otherwise: Floats) -> list[Floats]:
    """Quantiles (n,) of the intervals (n, k) that are known, without interpolation; `otherwise` (n,) without any."""
    ordered = np.sort(intervals, axis=1)
    known = (~np.isnan(ordered)).sum(1)
    n = np.arange(len(ordered))
    return [
        np.where(
            known > 0, ordered[n, np.minimum(np.maximum(known - 1, 0), (known * share).astype(np.intp))], otherwise
        )
        for share in shares
    ]
