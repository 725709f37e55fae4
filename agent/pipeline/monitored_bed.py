"""What the ward remembers of one bed beside the samples, and what it shows of it."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from agent.analysis.lead_input import LeadInput
from agent.analysis.rate_tracker import RateTracker
from agent.analysis.sample_ring import SampleRing
from agent.core.events import LeadState
from agent.core.messages import Beat, BedStatus, BedView, Chunk, Gap, LatencySummary, Ledger
from model.errors import StreamError
from model.records.resample import FS

STREAM_SETTLED_S, MOST_STREAM_CHANGES = 2.0, 8
"""A stream whose rate or leads change so often in a row, never the same for so long, cannot be monitored."""
KEPT_BEATS = 64
"""Latest beats kept for the screen."""
KEPT_DELAYS = 200
"""Latest beats whose delays make up the shown latency."""


@dataclass(slots=True)
class MonitoredBed:
    """One bed: its row in the arrays of all stages, its door, and counts that last over gaps."""

    name: str
    row: int
    door: LeadInput | None = None
    run: str = ""
    """The run that decisions belong to now; what comes in may be of a later one."""
    refused: str = ""
    ended: bool = False
    silent: bool = False
    """Whether it was said that no data come."""
    lead_state: LeadState = "ok"
    gaps: int = 0
    missing: int = 0
    gap: Gap | None = None
    """The gap that the bed is in, told once it is over and its length is known."""
    stretch: int = 0
    """Unbroken stretches so far; sample indices rise within one."""
    analysed: int = 0
    """Samples that reached the analysis, at the rate of the device."""
    changes: int = 0
    """How often its rate or leads changed, each time before the last ones had lasted for SETTLED_S."""
    steady_s: float = 0.0
    """Signal since they changed last."""
    restless: str = ""
    """The run in which they changed too often."""
    lost: int = 0
    """Samples that were declared missing on their way, or refused."""
    arrived_s: float = 0.0
    busy_s: float = 0.0
    """When samples were last seen waiting to be analysed."""
    sent_s: float = 0.0
    """When the device first sent what came last, by our clock; 0 where that is not known."""
    beats: deque[Beat] = field(default_factory=lambda: deque(maxlen=KEPT_BEATS))
    _added_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_DELAYS))
    _latency: LatencySummary | None = None
    """What `latency` told last: a picture is drawn more often than a beat comes."""

    def state(self, now_s: float, lost_s: float) -> BedStatus:
        """What a person should know first; `now_s` and `lost_s` decide whether data still come."""
        if self.refused:
            return "refused"
        if self.ended:
            return "ended"
        if now_s - max(self.arrived_s, self.busy_s) >= lost_s:
            return "no data"
        if self.gap:
            return "no signal"
        return self.lead_state if self.lead_state != "ok" else "ok" if self.beats else "learning"

    def took(self, chunk: Chunk) -> None:
        """A chunk has come in by the door."""
        self.analysed += len(chunk.counts)
        self.steady_s += len(chunk.counts) / chunk.fs

    def change(self, chunk: Chunk) -> None:
        """A chunk does not fit the door. Raises StreamError where that happens all the time, until the run is over."""
        if self.door is None or self.door.run != chunk.run:
            self.changes = 0
        else:
            self.changes = self.changes + 1 if self.steady_s < STREAM_SETTLED_S else 0
        self.steady_s = 0.0
        if self.changes >= MOST_STREAM_CHANGES:
            self.restless = chunk.run
        if self.restless == chunk.run:
            raise StreamError(
                f"rate or leads changed {MOST_STREAM_CHANGES} times in a row: make the device keep to one kind"
            )

    @property
    def delay_s(self) -> float:
        """What the door adds to the delay of every decision."""
        return self.door.delay_s if self.door else 0.0

    def shown(self, added_ms: float) -> None:
        """The latest beat has reached the person, so much later than its samples arrived."""
        self._added_ms.append(added_ms)
        self._latency = None

    def latency(self) -> LatencySummary | None:
        """Delays of the last beats, None before the first."""
        if not self._added_ms or not self.beats:
            return None
        if self._latency is None:
            waited = median(beat.decided - beat.sample for beat in self.beats) / FS + self.delay_s
            p50, p99 = np.percentile(self._added_ms, (50, 99)).tolist()
            under_way = median(max(0.0, beat.arrived_s - beat.sent_s) if beat.sent_s else 0.0 for beat in self.beats)
            self._latency = LatencySummary(1000 * waited, p50, p99, 1000 * under_way)
        return self._latency

    def view(self, history: SampleRing, rhythms: RateTracker, samples: int, state: BedStatus, now_s: float) -> BedView:
        """The bed as the dashboard shows it at `now_s`, with the last `samples` of its wave.

        Its `ledger` holds what reached this stage; the link knows what was sent.
        """
        head = int(history.head[self.row])
        return BedView(
            bed=self.name,
            lead=self.door.lead.name if self.door else "",
            state=state,
            wave=history.last(self.row, samples),
            head=head,
            beats=tuple(self.beats),
            rhythm=rhythms.view(self.row, head),
            gaps=self.gaps,
            missing=self.missing,
            latency=self.latency(),
            ledger=Ledger(self.analysed + self.lost, self.analysed, self.lost),
            behind_s=max(0.0, now_s - self.sent_s) if self.sent_s and not self.ended else 0.0,
        )
