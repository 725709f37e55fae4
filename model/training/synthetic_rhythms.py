"""Rhythms synthesised from recorded beats: supraventricular ectopy, atrial fibrillation, sinus rhythm of any rate.

Few of the 22 training patients have atrial ectopy or fibrillation, and each has one kind of it. So beats of any record
are moved to new times: QRS complex and T wave stay with the beat before, P wave and PR interval with the beat after,
and the part between them is shortened or lengthened; a P wave that comes too early rides on the T wave. P waves of
ectopic beats are changed, those in fibrillation removed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS

Array = NDArray[np.float64]
SyntheticRhythm = Literal["ectopy", "sustained ectopy", "fibrillation", "arrhythmia", "tachycardia"]

P_START, P_END = 28, 6
"""The P wave begins and ends this many samples before the R peak: 224 and 48 ms."""
EARLY_SHARE = 0.93
"""A beat is early if its interval is shortened to less than this share."""
SHORTEST_RR = 0.3 * FS
LONGEST_RR = 3.0 * FS
"""Longer intervals, in samples, are left unchanged: something else happened there."""


@dataclass(frozen=True, slots=True)
class RhythmPlan:
    """Changes of n beats: the interval before each is multiplied by `factors` (n,), its P wave by `p_waves` (n,).

    Beats that are `ectopic` (n,) become supraventricular ectopic ones.
    """

    factors: Array
    p_waves: Array
    ectopic: NDArray[np.bool_]


def rewrite_rhythm(
    x: Array, beats: Array, labels: tuple[str, ...], rhythm: SyntheticRhythm, random: np.random.Generator
) -> tuple[Array, Array, tuple[str, ...]]:
    """Return a lead (n,) mV at 125 Hz in another rhythm: signal (k,) mV, its beats (m,) as samples, their classes.

    `beats` (m,) are the R peaks of the lead as samples, `labels` their classes.
    """
    normal = np.array([label == "N" for label in labels])
    plan = PLANS[rhythm](normal, random)
    peaks = np.rint(beats).astype(int)
    parts, places = [x[: peaks[0]]], [peaks[0]]
    early = np.zeros(len(peaks), bool)
    for i in range(1, len(peaks)):
        stretch = x[peaks[i - 1] : peaks[i]]
        if SHORTEST_RR < len(stretch) < LONGEST_RR:
            moved = stretch_interval(stretch, max(SHORTEST_RR, len(stretch) * plan.factors[i]), plan.p_waves[i])
            early[i] = plan.ectopic[i] and len(moved) < EARLY_SHARE * len(stretch)
            stretch = moved
        parts.append(stretch)
        places.append(places[-1] + len(stretch))
    y = np.concatenate([*parts, x[peaks[-1] :]])
    if rhythm == "fibrillation":
        y = y + fibrillatory_waves(len(y), float(np.median(np.abs(x[peaks]))), random)
        # no beat is premature in a rhythm that is irregular throughout
        labels = tuple("N" if label == "S" else label for label in labels)
    new_labels = tuple("S" if premature else label for premature, label in zip(early, labels, strict=True))
    return y, np.array(places, float), new_labels


def plan_ectopy(normal: NDArray[np.bool_], random: np.random.Generator) -> RhythmPlan:
    """Plan premature atrial beats for beats (n,): alone, every other beat, or in runs, in spells of about a minute."""
    count = len(normal)
    factors, p_waves, ectopic = np.ones(count), np.ones(count), np.zeros(count, bool)
    i = 2
    while i < count:
        end = i + int(random.integers(20, 200))
        share, run = random.choice([0.0, 0.03, 0.15, 0.5]), random.choice([1, 1, 2, 4, 20])
        early, pause = random.uniform(0.5, 0.85), random.uniform(0.9, 1.35)
        wave = random.uniform(-1, 0.7)
        while i < min(end, count):
            length = int(random.geometric(1 / run))
            if random.random() >= share or not normal[i : i + length].all():
                i += 1
                continue
            stop = min(i + length, count)
            jitter = np.exp(0.03 * random.standard_normal(stop - i))
            factors[i:stop], p_waves[i:stop], ectopic[i:stop] = early * jitter, wave, True
            if stop < count:
                factors[stop] = pause * np.exp(0.03 * random.standard_normal())
            i = stop + 1
    return RhythmPlan(factors, p_waves, ectopic)


def plan_sustained_ectopy(normal: NDArray[np.bool_], random: np.random.Generator) -> RhythmPlan:
    """Plan ectopic atrial rhythm for beats (n,): runs of early beats that make up most of the rhythm for minutes.

    Half to nine tenths of the beats are ectopic, in runs of 2 to 30, at 0.35 to 0.75 of the sinus interval; the sinus
    beats between them are slow. In a third of the spells there is no ectopy at all.
    """
    count = len(normal)
    factors, p_waves, ectopic = np.ones(count), np.ones(count), np.zeros(count, bool)
    i = 2
    while i < count:
        end = min(count, i + int(random.integers(60, 400)))
        if random.random() < 1 / 3:
            i = end
            continue
        share, longest = random.uniform(0.5, 0.9), random.choice([3, 8, 30, 300])
        early, slow, spread = random.uniform(0.35, 0.8), random.uniform(0.95, 1.7), random.uniform(0.01, 0.06)
        wave = random.uniform(-1, 0.7)
        while i < end:
            stop = min(end, i + int(random.integers(2, longest + 1)))
            run = np.flatnonzero(~normal[i:stop])
            stop = i + int(run[0]) if len(run) else stop
            factors[i:stop] = early * np.exp(spread * random.standard_normal(stop - i))
            p_waves[i:stop], ectopic[i:stop] = wave, True
            sinus = min(count, stop + max(1, round((stop - i) * (1 / share - 1) * random.uniform(0.5, 1.5))))
            factors[stop:sinus] = slow * np.exp(0.04 * random.standard_normal(sinus - stop))
            i = sinus
    return RhythmPlan(factors, p_waves, ectopic)


def plan_fibrillation(normal: NDArray[np.bool_], random: np.random.Generator) -> RhythmPlan:
    """Plan irregular intervals without P waves for beats (n,), at any mean rate."""
    spread, mean = random.uniform(0.12, 0.3), random.uniform(0.6, 1.2)
    factors = np.clip(mean * np.exp(spread * random.standard_normal(len(normal))), 0.35, 2.5)
    return RhythmPlan(factors, np.zeros(len(normal)), np.zeros(len(normal), bool))


def plan_sinus_arrhythmia(normal: NDArray[np.bool_], random: np.random.Generator) -> RhythmPlan:
    """Plan intervals for beats (n,) that vary with the breath and drift over minutes; P waves stay."""
    time = np.arange(len(normal))
    breath = random.uniform(0.03, 0.2) * np.sin(2 * np.pi * time / random.uniform(3, 7) + random.uniform(0, 6))
    drift = np.cumsum(random.standard_normal(len(normal))) * random.uniform(0.003, 0.02)
    drift -= np.convolve(drift, np.ones(201) / 201, "same")
    factors = np.clip(np.exp(breath + drift), 0.5, 2.0)
    return RhythmPlan(factors, np.ones(len(normal)), np.zeros(len(normal), bool))


def plan_sinus_tachycardia(normal: NDArray[np.bool_], random: np.random.Generator) -> RhythmPlan:
    """Plan sinus rhythm for beats (n,) whose rate climbs and falls over minutes, up to three times its own."""
    knots = np.arange(0, len(normal) + 400, 200)
    levels = np.clip(random.normal(-0.5, 0.4, len(knots)), -1.1, 0.2)
    factors = np.exp(np.interp(np.arange(len(normal)), knots, levels))
    factors *= np.exp(random.uniform(0.005, 0.03) * random.standard_normal(len(normal)))
    return RhythmPlan(factors, np.ones(len(normal)), np.zeros(len(normal), bool))


PLANS = {
    "ectopy": plan_ectopy,
    "sustained ectopy": plan_sustained_ectopy,
    "fibrillation": plan_fibrillation,
    "arrhythmia": plan_sinus_arrhythmia,
    "tachycardia": plan_sinus_tachycardia,
}
"""How each rhythm is planned."""


def stretch_interval(stretch: Array, length: float, p_wave: float) -> Array:
    """Stretch the signal (n,) from one R peak to the next to (length,): the part between T and P wave changes."""
    count = round(length)
    tail = stretch[-P_START:].copy()
    line = np.linspace(tail[0], tail[-P_END], P_START - P_END + 1)
    tail[: P_START - P_END + 1] = line + p_wave * (tail[: P_START - P_END + 1] - line)
    head = stretch[: len(stretch) - P_START]
    room = count - P_START
    keep = min(len(head), int(0.4 * len(stretch)) + 12)
    if room >= keep:
        between = head[keep:]
        places = np.linspace(0, max(0, len(between) - 1), room - keep)
        new = np.interp(places, np.arange(len(between)), between) if len(between) else np.full(room - keep, head[-1])
        return np.concatenate([head[:keep], new, tail])
    # Too short for both side by side: the P wave rides on the T wave, which fades into the PR interval.
    under = np.interp(np.arange(count), np.arange(len(head)), head)
    fade = np.clip((count - P_END - np.arange(count)) / P_START, 0, 1)
    over = np.concatenate([np.full(count - P_START, tail[0]), tail])
    moved: Array = over + fade * (under - tail[0])
    return moved


def fibrillatory_waves(samples: int, height: float, random: np.random.Generator) -> Array:
    """Synthesise fibrillatory waves (samples,) of 4 to 8 Hz, up to 6 % of the `height` of a QRS complex."""
    knots = np.arange(0, samples + FS, FS)
    pace = np.interp(np.arange(samples), knots, random.uniform(4, 8, len(knots)))
    swell = np.interp(np.arange(samples), knots, random.uniform(0.2, 1, len(knots)))
    waves: Array = 0.06 * height * swell * np.sin(2 * np.pi * np.cumsum(pace) / FS)
    return waves
