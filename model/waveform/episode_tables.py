"""How good episodes are: by overlap and by duration as in EC57's comparison of episodes (`epicmp`), and delays."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from model.records.resample import FS
from model.waveform.episode_rule import DetectedEpisode

SampleSpan = tuple[int, int]
"""First sample and sample after the last, at 125 Hz."""


@dataclass(slots=True)
class WaveformEpisodeCounts:
    """Counts that add up over records; `delays` in seconds from onset to alarm, of episodes found after their onset."""

    reference: int = 0
    found: int = 0
    test: int = 0
    true: int = 0
    tolerated: int = 0
    """Test episodes that lie on no reference episode but on what may be taken for one."""
    reference_s: float = 0.0
    found_s: float = 0.0
    test_s: float = 0.0
    seconds: float = 0.0
    """Signal that was looked at."""
    delays: list[float] = field(default_factory=list)

    def __add__(self, other: "WaveformEpisodeCounts") -> "WaveformEpisodeCounts":
        return WaveformEpisodeCounts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def figures(self) -> dict[str, float | int | None]:
        """Sensitivity and predictivity of episodes and of their duration, delays, false episodes an hour."""
        false = self.test - self.true - self.tolerated
        return {
            "episodes": self.reference,
            "sensitivity": _episode_ratio(self.found, self.reference),
            "test_episodes": self.test,
            "predictivity": _episode_ratio(self.true, self.test),
            "predictivity_tolerant": _episode_ratio(self.true + self.tolerated, self.test),
            "duration_sensitivity": _episode_ratio(self.found_s, self.reference_s),
            "duration_predictivity": _episode_ratio(self.found_s, self.test_s),
            "delay_median_s": float(np.median(self.delays)) if self.delays else None,
            "delay_most_s": max(self.delays, default=None),
            "false": false,
            "false_an_hour": _episode_ratio(3600 * false, self.seconds),
        }


def count_episode_matches(
    reference: Sequence[SampleSpan],
    tolerated: Sequence[SampleSpan],
    test: Sequence[DetectedEpisode],
    samples: int,
    shortest_s: float = 0.0,
) -> WaveformEpisodeCounts:
    """The test's episodes of one record against the reference's; reference episodes under `shortest_s` do not count.

    Such a short one makes no test episode false either. `tolerated`: stretches on which a test episode is not false.
    """
    spans = [(one.onset, one.end) for one in test]
    long = [span for span in reference if span[1] - span[0] >= shortest_s * FS]
    counts = WaveformEpisodeCounts(reference=len(long), test=len(test), seconds=samples / FS)
    for span in long:
        hits = [one for one in test if _overlapping_samples(span, (one.onset, one.end))]
        counts.found += bool(hits)
        counts.reference_s += (span[1] - span[0]) / FS
        counts.found_s += sum(_overlapping_samples(span, (one.onset, one.end)) for one in hits) / FS
        if hits and hits[0].alarm >= span[0]:
            counts.delays.append((hits[0].alarm - span[0]) / FS)
    for span in spans:
        counts.test_s += (span[1] - span[0]) / FS
        if any(_overlapping_samples(span, one) for one in reference):
            counts.true += 1
        elif any(_overlapping_samples(span, one) for one in tolerated):
            counts.tolerated += 1
    return counts


def _overlapping_samples(one: SampleSpan, other: SampleSpan) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def _episode_ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
