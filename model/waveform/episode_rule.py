"""From looks to episodes: when fibrillation or tachycardia has begun and ended, by what the judge says look after look.

The same rule as that of the alarms (`agent.alarms.vf_vt`), so that it can be chosen and tested where the judge is
trained: an episode begins when `looks` looks in a row score `begins`, and ends `ends_s` after the last that scored
`keeps`. A window is of a new kind once most of it is, so its onset lies `ONSET_LAG` before the end of its first look.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model.records.resample import FS


@dataclass(frozen=True, slots=True)
class EpisodeRule:
    """A kind of episode: places of the summed probabilities in KINDS, and the numbers of the module's text.

    `slowest`: with a rate of repetition under this a look scores nothing; 0 for any.
    """

    kinds: tuple[int, ...]
    begins: float
    looks: int
    keeps: float
    ends_s: float
    slowest: float = 0.0


ONSET_LAG = 3 * FS
FIBRILLATION_RULE = EpisodeRule(kinds=(2,), begins=0.3, looks=3, keeps=0.25, ends_s=10)
TACHYCARDIA_RULE = EpisodeRule(kinds=(1, 2), begins=0.85, looks=2, keeps=0.4, ends_s=6, slowest=100)


@dataclass(frozen=True, slots=True)
class DetectedEpisode:
    """From sample `onset` to before `end`, the end of the signal where it had none; told after sample `alarm`."""

    onset: int
    alarm: int
    end: int


def detect_episodes(
    rule: EpisodeRule, samples: Sequence[int], scores: Sequence[Sequence[float]], rates: Sequence[float]
) -> list[DetectedEpisode]:
    """The episodes of an unbroken signal whose looks end before `samples`; a rate of 0 is none."""
    found: list[DetectedEpisode] = []
    onset = alarm = last = None
    high: list[int] = []
    for sample, one, rate in zip(samples, scores, rates, strict=True):
        score = 0.0 if 0 < rate < rule.slowest else sum(one[kind] for kind in rule.kinds)
        high = [*high, sample] if score >= rule.begins else []
        if onset is None and len(high) >= rule.looks:
            onset, alarm, last = max(0, high[0] - ONSET_LAG), sample, sample
        elif onset is not None and alarm is not None and last is not None:
            if score >= rule.keeps:
                last = sample
            elif sample - last >= rule.ends_s * FS:
                found.append(DetectedEpisode(onset, alarm, last))
                onset, high = None, []
    if onset is not None and alarm is not None:
        found.append(DetectedEpisode(onset, alarm, samples[-1]))
    return found
