"""Templates of each patient's beats and RR intervals, and every beat described in comparison with them.

A net that sees one cut beat cannot know whether a wide beat is an ectopic one or this patient's normal one. So the
shapes of the beats are gathered in a few clusters for each patient, as the templates of Hamilton's detector are (OSEA;
Hamilton 2002, doi:10.1109/CIC.2002.1166717); the heaviest cluster is the dominant beat. A beat is described by its wave
beside the mean waves of the dominant cluster and of its own, in units of the dominant QRS complex, and by numbers for
its rhythm and its likeness. No labels are needed.

The state is kept in arrays with one row for each patient, and every step works on many rows at once. The result for one
row does not depend on the others, to the last bit.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.beats.compiled_templates import STATE, CompiledTemplates
from model.beats.rhythm_history import (
    FIRST_LOG_RR,
    LEAST_RR_S,
    NEAR,
    PAUSE_RR_S,
    RHYTHM_FEATURES,
    SIMILAR,
    SIMILAR_NEXT,
    SINUS_FALL,
    SINUS_RATE,
    SINUS_RISE,
    SLOW_SHARES,
    SLOW_STEP,
    RhythmHistory,
    append_rows,
    log_1p_of,
    log_of,
    reset_row,
)
from model.beats.vector_shapes import best_correlation, row_medians, unit_vectors
from model.compiled.library import load_library

Floats = NDArray[np.float32]
PatientRows = NDArray[np.intp]

WAVE_BEFORE, WAVE_AFTER = 48, 80
"""Samples of a wave before its R peak, and from the R peak on: 384 and 640 ms."""
WAVE = WAVE_BEFORE + WAVE_AFTER
SLACK = 2
"""Samples by which a beat may be moved against a cluster, in both directions."""
QRS_BEFORE, QRS_AFTER = 14, 18
"""Samples around the R peak whose shape is compared."""
QRS = QRS_BEFORE + QRS_AFTER
CLUSTER_COUNT = 8
JOIN_CORRELATION = 0.9
"""A beat belongs to a cluster if it correlates with it by more than this."""
WEIGHT_FADE = np.float32(0.5 ** (1 / 150))
"""Factor on the weight of every cluster at each beat: it halves after 150 beats."""
MEAN_BEATS = 16
"""A new beat counts for at least 1/16 of a cluster's mean, so that old clusters keep adapting."""
QUALITY_BEATS = np.float32(8)
"""Beats over which roughness and likeness are averaged, to measure how noisy the signal is."""
P_WAVE = slice(8, 36)
"""Part of a wave before its QRS complex."""
MOVE_INDEX = np.arange(2 * SLACK + 1)[:, None] + np.arange(QRS)
"""Indices (moves, QRS) of the QRS complex in a window, for each move."""
LEAST_SIZE = np.float32(1e-3)
"""Lower limit of sizes in mV and of ratios, before a logarithm or a division."""
SHAPE_FEATURES = (  # noqa: SIM905  # a list of words reads better
    """like_dominant like_cluster share_cluster share_dominant weight_cluster cluster_rr cluster_next size size/before
    like_before like_next before_like_dominant next_like_dominant wave_like p_like p_change roughness score
    seen mean_roughness mean_like mean_change mean_taken"""
).split()
FEATURES = (*RHYTHM_FEATURES, *SHAPE_FEATURES)
"""Names of the numbers that describe a beat; `/` stands for the logarithm of a ratio, `own` for the patient's own RR
interval, `kept`, `long` and `recent` for quantiles of the last intervals, `slow` for those followed step by step."""
FEATURE_LIMITS = np.array([1.5] * len(RHYTHM_FEATURES) + [4] * len(SHAPE_FEATURES), np.float32)
"""Each number is clipped to this, in both directions."""
CHANNELS = 3
"""Waves in the description of a beat: its own, the dominant cluster's and its own cluster's."""
INPUTS = CHANNELS * WAVE + len(FEATURES)


@dataclass(frozen=True, slots=True, eq=False)
class BeatWindows:
    """The next n beats of some patients.

    Attributes
    ----------
    rows : (n,) intp
        The patients. Beats of the same one are in order.
    waves : (n, WAVE + 2 SLACK) float32
        Millivolts at 125 Hz around each R peak.
    following : (n, QRS + 2 SLACK) float32
        Millivolts around the next R peak; zeros if there is none in time.
    rr : (n, 3) float32
        The RR intervals up to this beat in seconds, the latest first; NaN if unknown.
    next : (n,) float32
        Seconds to the next R peak, or to the time at which waiting for it ended (`no_next`).
    no_next : (n,) bool
        Whether there is no next R peak in time.
    score : (n,) float32
        Score of the detector. A candidate that it rejected (0 or less) is described but not learnt from.
    """

    rows: PatientRows
    waves: Floats
    following: Floats
    rr: Floats
    next: Floats
    no_next: NDArray[np.bool_]
    score: Floats


WINDOW_FIELDS = tuple(field.name for field in fields(BeatWindows))


class BeatTemplates:
    """Shapes and rhythm of the beats of all patients."""

    def __init__(self, rows: int = 1) -> None:
        self._rhythm = RhythmHistory(rows)
        # Every other attribute is an array with one row per patient: `grow` and `start` rely on it.
        self._shape = np.zeros((rows, CLUSTER_COUNT, QRS), np.float32)  # unit vectors
        self._wave = np.zeros((rows, CLUSTER_COUNT, WAVE), np.float32)  # mV
        self._size, self._weight, self._rr, self._next = np.zeros((4, rows, CLUSTER_COUNT), np.float32)
        self._beats_seen = np.zeros(rows, np.float32)
        self._last_shape = np.zeros((rows, QRS), np.float32)
        self._last_size, self._last_like = np.ones((2, rows), np.float32)
        self._quality = np.tile(np.array([0, 1, 0, 1], np.float32), (rows, 1))  # roughness, likeness, change, accepted
        self._compiled = open_compiled_templates()
        self._bind()

    def grow(self, rows: int) -> None:
        """Make room for more rows; the existing ones keep their state."""
        append_rows(self, BeatTemplates(max(0, rows - len(self._beats_seen))))
        self._rhythm.grow(rows)
        self._bind()

    def start(self, row: int) -> None:
        """Forget a row: a run begins, of another patient or of the same one after an unknown time."""
        reset_row(self, row, BeatTemplates())
        self._rhythm.start(row)

    def describe(self, beats: BeatWindows) -> tuple[Floats, PatientRows, NDArray[np.bool_], Floats]:
        """Describe the next beats and learn from them.

        Returns
        -------
        inputs : (n, INPUTS) float32
            Inputs of the net: three waves, one after the other, then the numbers named in FEATURES.
        cluster : (n,) intp
            Cluster of each beat; -1 for a candidate that is not learnt from.
        new : (n,) bool
            Whether the beat belongs to no cluster so far.
        noise : (n,) float32
            Noise level: how far the signal before the last QRS complexes was from that of the dominant beat, as the
            mean logarithm of the RMS difference; 0 for a difference of a twentieth of the complex.
        """
        if self._compiled is not None:
            return self._compiled.describe(*(getattr(beats, name) for name in WINDOW_FIELDS))
        n = len(beats.rows)
        inputs, cluster = np.empty((n, INPUTS), np.float32), np.empty(n, np.intp)
        new, noise = np.empty(n, np.bool_), np.empty(n, np.float32)
        for which in _turns(beats.rows):
            described = self._describe_together(BeatWindows(*(getattr(beats, name)[which] for name in WINDOW_FIELDS)))
            inputs[which], cluster[which], new[which], noise[which] = described
        return inputs, cluster, new, noise

    def _describe_together(self, beats: BeatWindows) -> tuple[Floats, PatientRows, NDArray[np.bool_], Floats]:
        """Describe beats of patients that are all different."""
        rows = beats.rows
        comparison = self._compare_shapes(beats)
        wave = beats.waves[:, SLACK:-SLACK]
        level = row_medians(wave)
        wave = wave - level
        dominant_wave = self._wave[rows, comparison.dominant]
        cluster_wave = np.where(comparison.joins[:, None], self._wave[rows, comparison.best], np.float32(0))
        likeness = _compare_waves(wave, dominant_wave, comparison.scale)
        roughness = log_of(np.maximum(_wave_roughness(wave) / comparison.scale, LEAST_SIZE)) + 3
        quality = np.stack([roughness, comparison.like_best, likeness[2], beats.score > 0], axis=1)
        quality = self._quality[rows] + (quality - self._quality[rows]) / QUALITY_BEATS

        rhythm, recent = self._rhythm.describe(rows, beats.rr, beats.next, beats.no_next)
        shape = (
            *self._shape_features(rows, comparison),
            *likeness,
            roughness,
            *self._history_features(beats),
            *quality.T,
        )
        waves = np.stack([wave, dominant_wave, cluster_wave], axis=1) / comparison.scale[:, None, None]
        inputs = _join_inputs(waves, np.array([*rhythm, *shape]).T)
        self._quality[rows] = quality
        learnt = np.flatnonzero(beats.score > 0)
        cluster = np.full(len(rows), -1)
        if len(learnt):
            cluster[learnt] = self._learn(beats, learnt, comparison, level, recent)
        return inputs, cluster, ~comparison.joins, quality[:, 2]

    def _bind(self) -> None:
        """Let the compiled part work on the arrays of this object."""
        if self._compiled is not None:
            arrays = {**vars(self), **vars(self._rhythm)}
            self._compiled.bind({name: arrays[f"_{name}"] for name in STATE})

    def _compare_shapes(self, beats: BeatWindows) -> "_TemplateComparison":
        """Compare the QRS shapes of the beats with the clusters of their rows."""
        rows = beats.rows
        n = np.arange(len(rows))
        shapes, sizes = _qrs_shapes(beats.waves[:, WAVE_BEFORE - QRS_BEFORE : WAVE_BEFORE + QRS_AFTER + 2 * SLACK])
        following, _ = _qrs_shapes(beats.following)
        correlations = (shapes[:, :, None] * self._shape[rows][:, None]).sum(-1)  # (n, moves, clusters)
        like = correlations.max(1)  # (n, clusters)
        weight = self._weight[rows]  # (n, clusters)
        best, dominant = like.argmax(1), weight.argmax(1)
        joins = like[n, best] > JOIN_CORRELATION
        known_size = np.where(weight[n, dominant] > 0, self._size[rows, dominant], sizes)
        return _TemplateComparison(
            shapes=shapes,
            sizes=sizes,
            following=following,
            moves=np.where(joins, correlations[n, :, best].argmax(1), SLACK),
            best=best,
            dominant=dominant,
            joins=joins,
            like_best=like[n, best],
            like_dominant=like[n, dominant],
            scale=np.maximum(known_size, LEAST_SIZE),
        )

    def _shape_features(self, rows: PatientRows, comparison: "_TemplateComparison") -> tuple[NDArray[Any], ...]:
        """Return the numbers of SHAPE_FEATURES up to `next_like_dominant`, each (n,)."""
        best, dominant = comparison.best, comparison.dominant
        total = np.maximum(self._weight[rows].sum(1), LEAST_SIZE)
        size = np.maximum(comparison.sizes, LEAST_SIZE)
        return (
            comparison.like_dominant,
            comparison.like_best,
            self._weight[rows, best] / total,
            self._weight[rows, dominant] / total,
            log_1p_of(self._weight[rows, best]) / 3,
            self._rr[rows, best],
            self._next[rows, best],
            log_of(size / comparison.scale),
            log_of(size / np.maximum(self._last_size[rows], LEAST_SIZE)),
            best_correlation(comparison.shapes, self._last_shape[rows]),
            best_correlation(comparison.shapes, comparison.following[:, SLACK]),
            self._last_like[rows],
            best_correlation(comparison.following, self._shape[rows, dominant]),
        )

    def _history_features(self, beats: BeatWindows) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the numbers `score` and `seen` of SHAPE_FEATURES, each (n,)."""
        return np.minimum(beats.score, 12) / 6, log_1p_of(self._beats_seen[beats.rows]) / 4

    def _learn(
        self, beats: BeatWindows, learnt: PatientRows, comparison: "_TemplateComparison", level: Floats, recent: Floats
    ) -> PatientRows:
        """Add the beats with indices `learnt` (k,) to clusters and to the rhythm of their rows; return the clusters.

        `level` (n, 1) mV is the baseline of each wave, `recent` (n,) the logarithm of the recent median RR interval.
        """
        rows = beats.rows[learnt]
        joins, moves, size = comparison.joins[learnt], comparison.moves[learnt], comparison.sizes[learnt]
        self._weight[rows] *= WEIGHT_FADE
        cluster = np.where(
            joins, comparison.best[learnt], self._weight[rows].argmin(1)
        )  # a new one replaces the lightest
        before = np.where(joins, self._weight[rows, cluster], np.float32(0))
        rate = (1 / np.minimum(before + 1, MEAN_BEATS)).astype(np.float32)
        self._weight[rows, cluster] = before + 1

        def update_mean(means: Floats, new: Floats) -> None:
            """Move the means (rows, clusters, ...) of these clusters towards the new values (k, ...)."""
            part = rate.reshape(-1, *[1] * (new.ndim - 1))
            means[rows, cluster] = means[rows, cluster] * (1 - part) + new * part

        update_mean(self._shape, comparison.shapes[learnt, moves])
        self._shape[rows, cluster] = unit_vectors(self._shape[rows, cluster])[0]
        wave = beats.waves[learnt[:, None], moves[:, None] + np.arange(WAVE)]
        update_mean(self._wave, wave - level[learnt])
        update_mean(self._size, size)
        interval, recent = beats.rr[learnt, 0], recent[learnt]
        log_rr = log_of(np.maximum(interval, LEAST_RR_S))
        log_next = log_of(np.maximum(beats.next[learnt], LEAST_RR_S))
        update_mean(self._rr, np.where(np.isnan(log_rr), 0, np.clip(log_rr - recent, -1.5, 1.5)))
        update_mean(self._next, np.clip(log_next - recent, -1.5, 1.5))
        new = np.where(interval < PAUSE_RR_S, log_rr, np.float32(np.nan))  # NaN also if it is unknown
        like = comparison.like_dominant[learnt]
        both_dominant = (like > JOIN_CORRELATION) & (self._last_like[rows] > JOIN_CORRELATION)
        self._rhythm.learn(rows, new, recent, both_dominant)
        self._beats_seen[rows] += 1
        self._last_shape[rows] = comparison.shapes[learnt, SLACK]
        self._last_size[rows] = size
        self._last_like[rows] = like
        return cluster


@dataclass(frozen=True, slots=True, eq=False)
class _TemplateComparison:
    """How n beats compare with the clusters of their rows."""

    shapes: Floats  # (n, moves, QRS) unit vectors
    sizes: Floats  # (n,) mV
    following: Floats  # (n, moves, QRS) unit vectors of the next beats
    moves: PatientRows  # (n,) index of the move that fits the best cluster
    best: PatientRows  # (n,) cluster of the highest correlation
    dominant: PatientRows  # (n,) heaviest cluster
    joins: NDArray[np.bool_]  # (n,) whether the beat belongs to the best cluster
    like_best: Floats  # (n,) correlation
    like_dominant: Floats  # (n,) correlation
    scale: Floats  # (n,) mV, size of the dominant QRS complex


def _turns(rows: PatientRows) -> list[PatientRows]:
    """Return the indices of the first beat of each of the rows (n,), then those of the second ones, and so on."""
    seen: dict[int, int] = {}
    turns: list[list[int]] = []
    for index, row in enumerate(rows.tolist()):
        turn = seen[row] = seen.get(row, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(index)
    return [np.array(turn, np.intp) for turn in turns]


def open_compiled_templates() -> CompiledTemplates | None:
    """Return what describes beats in C; None where it was not built."""
    if (library := load_library()) is None:
        return None
    constants = {
        "join_correlation": JOIN_CORRELATION,
        "weight_fade": WEIGHT_FADE,
        "mean_beats": MEAN_BEATS,
        "quality_beats": QUALITY_BEATS,
        "least_size": LEAST_SIZE,
        "rhythm_limit": FEATURE_LIMITS[0],
        "shape_limit": FEATURE_LIMITS[-1],
        "near": NEAR,
        "similar": SIMILAR,
        "similar_next": SIMILAR_NEXT,
        "sinus_rate": SINUS_RATE,
        "sinus_rise": SINUS_RISE,
        "sinus_fall": SINUS_FALL,
        "pause_rr_s": PAUSE_RR_S,
        "least_rr_s": LEAST_RR_S,
        "first_log_rr": FIRST_LOG_RR,
    }
    widths = 1, WAVE + 2 * SLACK, QRS + 2 * SLACK, 3, 1, 1, 1
    return CompiledTemplates(library, constants, SLOW_STEP, SLOW_SHARES, widths, INPUTS)


def _join_inputs(waves: NDArray[Any], numbers: NDArray[Any]) -> Floats:
    """Clip waves (n, CHANNELS, WAVE) and numbers (n, features), and join them to inputs (n, INPUTS)."""
    inputs = np.empty((len(waves), INPUTS), np.float32)
    inputs[:, : CHANNELS * WAVE] = np.clip(waves, -4, 4).reshape(len(waves), -1)
    inputs[:, CHANNELS * WAVE :] = np.clip(numbers, -FEATURE_LIMITS, FEATURE_LIMITS)
    return inputs


def _qrs_shapes(windows: Floats) -> tuple[Floats, Floats]:
    """Return the QRS shapes of (n, QRS + 2 SLACK) mV as unit vectors (n, moves, QRS), and the unmoved sizes (n,)."""
    # Indexing instead of `take` would give another memory order, and so another order of the sums.
    moved = np.take(windows, MOVE_INDEX, axis=1)
    shapes, size = unit_vectors(moved - moved.sum(-1, keepdims=True) / QRS)
    return shapes, size[:, SLACK]


def _compare_waves(wave: Floats, dominant_wave: Floats, scale: Floats) -> tuple[Floats, Floats, Floats]:
    """Compare waves (n, WAVE) with those of the dominant cluster.

    Returns three (n,): correlation of the whole waves, correlation of their parts before the QRS complex, and the
    logarithm of the RMS difference of these parts in units of `scale` (n,).
    """
    both = np.stack([wave, dominant_wave])  # (2, n, WAVE)
    part = both[:, :, P_WAVE]
    part = part - part.sum(2, keepdims=True) / part.shape[2]
    change = part[0] - part[1]
    difference = np.sqrt((change * change).sum(1) / part.shape[2]) / scale
    both = unit_vectors(both - both.sum(2, keepdims=True) / WAVE)[0]
    part = unit_vectors(part)[0]
    whole: Floats = (both[0] * both[1]).sum(1)
    p_wave: Floats = (part[0] * part[1]).sum(1)
    return whole, p_wave, log_of(np.maximum(difference, LEAST_SIZE)) + 3


def _wave_roughness(wave: Floats) -> Floats:
    """Return the RMS second difference (n,) in mV outside the QRS complex: noise of muscles and contacts."""
    turn = wave[:, 2:] - 2 * wave[:, 1:-1] + wave[:, :-2]
    outside = np.concatenate([turn[:, : WAVE_BEFORE - QRS_BEFORE], turn[:, WAVE_BEFORE + QRS_AFTER :]], axis=1)
    rough: Floats = np.sqrt((outside * outside).sum(1) / outside.shape[1])
    return rough
