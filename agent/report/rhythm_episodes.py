"""Episodes of a rhythm by the alarms of it: when, how long, and which share of the time with signal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import AlarmCondition
from agent.report.bed_recording import BedRecording


@dataclass(frozen=True, slots=True, eq=False)
class RhythmEpisodes:
    """`spans` (k, 2): start and end of each episode in seconds on the time line, in order; none overlap.

    `share`: of the time with signal, from 0 to 1.
    """

    spans: NDArray[np.float64]
    share: float

    def __len__(self) -> int:
        return len(self.spans)

    def cover(self, at_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which times (n,) in seconds lie in an episode."""
        if not len(self):
            return np.zeros(len(at_s), np.bool_)
        index = np.searchsorted(self.spans[:, 0], at_s, side="right") - 1
        return np.asarray((index >= 0) & (at_s <= self.spans[np.maximum(index, 0), 1]))

    @property
    def total_s(self) -> float:
        """Seconds of all episodes together."""
        return float((self.spans[:, 1] - self.spans[:, 0]).sum())

    @property
    def longest(self) -> tuple[float, float]:
        """Start and end of the longest episode."""
        begin, end = self.spans[int((self.spans[:, 1] - self.spans[:, 0]).argmax())].tolist()
        return begin, end


def find_rhythm_episodes(recording: BedRecording, condition: AlarmCondition, recorded_s: float) -> RhythmEpisodes:
    """Return the episodes of a condition; alarms that overlap are one episode.

    `recorded_s`: seconds with signal, of which the share is taken. An alarm without an end lasts as long as its run.
    """
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(_alarm_spans(recording, condition)):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    spans = np.array(joined, np.float64).reshape(-1, 2)
    total_s = float((spans[:, 1] - spans[:, 0]).sum())
    return RhythmEpisodes(spans, min(1.0, total_s / recorded_s) if recorded_s > 0 else 0.0)


def _alarm_spans(recording: BedRecording, condition: AlarmCondition) -> list[tuple[float, float]]:
    ends = {place.run: place.end_s for place in recording.places}
    spans = []
    for alarm in recording.alarms:
        onset_s = recording.time_of(alarm.run, alarm.onset)
        if alarm.condition != condition or onset_s is None:
            continue
        ended_s = None if alarm.ended is None else recording.time_of(alarm.run, alarm.ended)
        last = ends[alarm.run] if ended_s is None else min(ended_s, ends[alarm.run])
        if last > max(0.0, onset_s):
            spans.append((max(0.0, onset_s), last))
    return spans
