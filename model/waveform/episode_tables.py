"""How good detected episodes are: the counts of `model.scoring.episode_scores`, with tolerance and alarm delays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from model.records.resample import FS
from model.scoring.episode_scores import EpisodeCounts, EpisodeSpan, episode_length, episode_overlap, match_episodes
from model.waveform.episode_rule import DetectedEpisode


@dataclass(frozen=True, slots=True)
class WaveformEpisodeCounts:
    """Counts that add up over records.

    `tolerated` test episodes lie on no reference episode but on what may be taken for one: they are not false.
    `delays_s` holds the seconds from onset to alarm of the reference episodes whose alarm came after their onset.
    """

    episodes: EpisodeCounts = field(default_factory=EpisodeCounts)
    tolerated: int = 0
    delays_s: tuple[float, ...] = ()

    def __add__(self, other: "WaveformEpisodeCounts") -> "WaveformEpisodeCounts":
        return WaveformEpisodeCounts(
            self.episodes + other.episodes, self.tolerated + other.tolerated, self.delays_s + other.delays_s
        )

    def figures(self) -> dict[str, float | int | None]:
        """Return sensitivity and predictivity of episodes and of their duration, delays, and false episodes an hour."""
        counts = self.episodes
        reference = counts.found + counts.missed
        test = counts.true + counts.false + self.tolerated
        return {
            "episodes": reference,
            "sensitivity": _share(counts.found, reference),
            "test_episodes": test,
            "predictivity": _share(counts.true, test),
            "predictivity_tolerant": _share(counts.true + self.tolerated, test),
            "duration_sensitivity": _share(counts.found_s, counts.reference_s),
            "duration_predictivity": _share(counts.true_s, counts.test_s),
            "delay_median_s": float(np.median(self.delays_s)) if self.delays_s else None,
            "delay_most_s": max(self.delays_s, default=None),
            "false": counts.false,
            "false_an_hour": counts.false_per_hour,
        }


def count_episode_matches(
    reference: Iterable[EpisodeSpan],
    tolerated: Sequence[EpisodeSpan],
    test: Sequence[DetectedEpisode],
    samples: int,
    shortest_s: float = 0.0,
) -> WaveformEpisodeCounts:
    """Compare the detected episodes of one record of `samples` at 125 Hz with those of the reference.

    Reference episodes under `shortest_s` seconds do not count as found or missed, but make no test episode false
    either. A test episode that meets a `tolerated` stretch is not false.
    """
    spans = [EpisodeSpan(episode.onset, episode.end) for episode in test]
    all_reference = [*reference]
    counted = [span for span in all_reference if episode_length(span) >= shortest_s * FS]
    found, missed, reference_n, shared_n = match_episodes(counted, spans)
    true, _, test_n, _ = match_episodes(spans, all_reference)
    others = [span for span in spans if not episode_overlap(span, all_reference)]
    false = sum(not episode_overlap(span, tolerated) for span in others)
    delays = ((_first_alarm(span, test) - span.start) / FS for span in counted)
    durations_s = (n / FS for n in (reference_n, shared_n, test_n, shared_n, samples))
    return WaveformEpisodeCounts(
        EpisodeCounts(found, missed, true, false, *durations_s),
        tolerated=len(others) - false,
        delays_s=tuple(delay for delay in delays if delay >= 0),
    )


def _first_alarm(span: EpisodeSpan, test: Sequence[DetectedEpisode]) -> int:
    """Return the sample of the alarm of the first detected episode that meets a reference episode; -1 if none does."""
    meeting = (found.alarm for found in test if episode_overlap(span, [EpisodeSpan(found.onset, found.end)]))
    return next(meeting, -1)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
