"""What the alarms hear, and when: everything up to one look at the waveform, in order, and then the look.

Beats are told as soon as they are decided, which is sooner or later with other packets and other beds; the alarms hear
of them from look to look, a fixed grid of samples, so that the same signal always gives the same alarms. This stage
also cuts the strip of each alarm once its signal is there.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.stage import AlarmStage
from agent.analysis.beat_context import MOST_BATCH_WAIT
from agent.analysis.lead_state import LeadStateChange
from agent.analysis.qrs_detector import NO_DEADLINE, RPeak
from agent.analysis.rhythm_windows import WindowScores
from agent.analysis.sample_ring import RING_SAMPLES, SampleRing
from agent.core.config import Config
from agent.core.messages import VALUELESS_REASON, Alarm, Beat, Gap, Strip
from model.records.resample import FS

WINDOW_DELAY = MOST_BATCH_WAIT + 1
"""Samples after which a beat that is decided was told: a look comes so much later than its last sample."""
STRIP_MARGIN = 10 * FS
"""Signal before and after the announcement of an alarm that its strip shows."""
KEPT_PEAKS = 32
"""Latest R peaks of a bed that are kept: more than there are in a block of the pipeline."""


@dataclass(slots=True)
class _FeedRow:
    """What waits to be heard of one bed."""

    lead: str = ""
    first: int = 0
    """Where the stretch began that was heard of last."""
    waiting: deque[Beat | LeadStateChange] = field(default_factory=deque)
    peaks: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=KEPT_PEAKS))
    """When the latest R peaks were decided, and where they are."""
    strips: deque[Alarm] = field(default_factory=deque)
    """Alarms whose strip is not cut yet."""

    def latest_peak(self, now: int) -> int:
        """The latest R peak of this stretch that was decided by sample `now`; -1 where there is none."""
        latest = next((sample for decided, sample in reversed(self.peaks) if decided <= now), -1)
        return latest if latest >= self.first else -1


class AlarmFeed:
    """Feeds `alarms`, row by row; `history` holds the signal of the strips."""

    def __init__(self, config: Config, history: SampleRing, rows: int = 1) -> None:
        self._history = history
        self._rows: list[_FeedRow] = []
        self.alarms = AlarmStage(config)
        self.grow(rows)

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        self._rows += [_FeedRow() for _ in range(rows - len(self._rows))]
        self.alarms.grow(rows)

    def start(self, row: int, bed: str, run: str, lead: str, first: int, at_s: float) -> list[Alarm | Strip]:
        """A new run, after `reset`."""
        out = [*self._hear(row, at_s), *self._strips(row, NO_DEADLINE)]
        self._rows[row].lead, self._rows[row].first = lead, first
        return [*out, *self._said(row, self.alarms.start(row, bed, run, first))]

    def reset(self, row: int) -> None:
        """R peaks of another run are to come."""
        self._rows[row].peaks.clear()

    def peaks(self, peaks: Iterable[RPeak]) -> None:
        """R peaks that are taken for beats, until the net has spoken."""
        for peak in peaks:
            if peak.score > 0:
                self._rows[peak.row].peaks.append((peak.decided, peak.sample))

    def told(self, row: int, what: Beat | LeadStateChange) -> None:
        """A beat, or a change of the lead, in the order in which they are told."""
        self._rows[row].waiting.append(what)

    def gap(self, row: int, gap: Gap, at_s: float) -> list[Alarm | Strip]:
        """A gap begins, or goes on."""
        out = self._hear(row, at_s)
        self._rows[row].first = over = gap.first + gap.count
        out += self._said(row, self.alarms.gap(row, gap.first, gap.count, at_s, gap.reason == VALUELESS_REASON))
        return [*out, *self._strips(row, over)]

    def look(self, look: WindowScores, at_s: float) -> list[Alarm | Strip]:
        """What was decided until a look, then the look."""
        row = self._rows[look.row]
        out = self._hear(look.row, at_s, look.sample)
        tick = AlarmTick(look.sample, row.latest_peak(look.sample), row.first, look if look.scores else None)
        out += self._said(look.row, self.alarms.tick(look.row, tick, at_s))
        return [*out, *self._strips(look.row, look.sample)]

    def end(self, row: int, sample: int, at_s: float) -> list[Alarm | Strip]:
        """The run ended on purpose."""
        out = self._hear(row, at_s)
        return [*out, *self._said(row, self.alarms.end(row, sample, at_s)), *self._strips(row, NO_DEADLINE)]

    def silent(self, row: int, at_s: float) -> list[Alarm | Strip]:
        """Nothing has come for too long."""
        return self._said(row, self.alarms.no_data(row, int(self._history.head[row]), at_s))

    def heard_again(self, row: int, at_s: float) -> list[Alarm | Strip]:
        """Something came after a silence."""
        return self._said(row, self.alarms.data_again(row, int(self._history.head[row]), at_s))

    def finish(self) -> list[Alarm | Strip]:
        """The strips that still wait, with the signal there is."""
        return [strip for row in range(len(self._rows)) for strip in self._strips(row, NO_DEADLINE)]

    def _hear(self, index: int, at_s: float, until: int | None = None) -> list[Alarm | Strip]:
        """The alarms hear of what was decided until sample `until`, or of all that there is."""
        waiting, found = self._rows[index].waiting, []
        while waiting and (until is None or _decision_sample(waiting[0]) <= until):
            what = waiting.popleft()
            if isinstance(what, Beat):
                found += self.alarms.beat(index, what, at_s)
            else:
                found += self.alarms.lead(index, what.sample, what.state, at_s)
        return self._said(index, found) if found else []

    def _said(self, index: int, alarms: list[Alarm]) -> list[Alarm | Strip]:
        """A strip is to be cut for each alarm that is new."""
        if alarms:
            new = (alarm for alarm in alarms if alarm.ended is None and alarm.acknowledged_s is None)
            self._rows[index].strips += new
        return list(alarms)

    def _strips(self, index: int, over: int) -> list[Alarm | Strip]:
        """The strips that end by sample `over`, with as much of their signal as is there."""
        row, head = self._rows[index], int(self._history.head[index])
        out: list[Alarm | Strip] = []
        while row.strips and row.strips[0].announced + STRIP_MARGIN <= over:
            alarm = row.strips.popleft()
            kept = min(RING_SAMPLES, head - alarm.announced + STRIP_MARGIN)
            out.append(Strip(alarm, row.lead, head - kept, self._history.last(index, kept)[: 2 * STRIP_MARGIN]))
        return out


def _decision_sample(what: Beat | LeadStateChange) -> int:
    return what.decided if isinstance(what, Beat) else what.sample
