"""What is missing after a silence of a source that numbers nothing: as many samples as the clock says."""

SILENT_S = 1.0
"""After a pause of this length, and of several usual ones, something is likely to be missing."""
USUAL_PAUSES = 3.0
SETTLE_S = 0.25
"""What was only late comes in a burst: the samples of this time are awaited before the missing ones are counted."""
LEAST_GAP_S = 0.2
"""Less is within what the arrival of packets varies by."""
SMOOTHING = 0.1


class ArrivalGaps:
    """Counts the samples that are missing between arrivals."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._usual_s = 0.0
        self._silent_from_s: float | None = None
        self._settled_s = 0.0

    def restart(self) -> None:
        """Begin anew: whoever opens a source again counts what was lost meanwhile."""
        self._last_s = self._silent_from_s = None

    def note(self, now_s: float) -> bool:
        """Note an arrival; return whether it ended a silence."""
        pause_s = 0.0 if self._last_s is None else now_s - self._last_s
        ended = pause_s > max(SILENT_S, USUAL_PAUSES * self._usual_s)
        if ended and self._silent_from_s is None:
            self._silent_from_s, self._settled_s = self._last_s, now_s + SETTLE_S
        self._usual_s += SMOOTHING * (pause_s - self._usual_s)
        self._last_s = now_s
        return ended

    def is_settling(self, now_s: float) -> bool:
        """Return whether what follows on a silence may still come."""
        return self._silent_from_s is not None and now_s < self._settled_s

    def count_missing(self, arrived: int, fs: float) -> int:
        """Return how many samples a silence lacks, of which `arrived` have come since; once for each."""
        if self._silent_from_s is None or self._last_s is None:
            return 0
        missing = round((self._last_s - self._silent_from_s) * fs) - arrived
        self._silent_from_s = None
        return missing if missing > LEAST_GAP_S * fs else 0
