"""The last stage: feeds the alarm rules of every bed, and cuts the strip of each alarm.

Beats are decided sooner or later depending on packets and other beds. The rules get them from window to window, a
fixed grid of samples, so that the same signal always gives the same alarms: everything that was decided up to the end
of a window, in order, and then its scores.
"""

from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.bed_rules import BedAlarmRules, ClockCondition
from agent.analysis.beat_context import MOST_BATCH_WAIT
from agent.analysis.bed_leads import BedLeads
from agent.analysis.qrs_detector import NO_DEADLINE, RPeak
from agent.analysis.rhythm_windows import WindowScores
from agent.analysis.sample_ring import RING_SAMPLES, SampleRing
from agent.analysis.stage import Interruption, LeadStateChange, RowIndexArray, RunStart
from agent.core.bed_settings import BedSettings
from agent.core.config import Config
from agent.core.messages import UNANALYSED_REASON, VALUELESS_REASON, Alarm, AlarmIdentity, Beat, FloatArray, Strip
from model.records.resample import FS

WINDOW_DELAY = MOST_BATCH_WAIT + 1
"""Samples after its last one until a window is classified: by then every beat that was decided up to it has come."""
STRIP_MARGIN = 10 * FS
"""Samples before and after the announcement of an alarm that its strip shows."""
JUMP_S = 10
"""Seconds over which a jump of the baseline is looked for: an amplifier recovers from one in less."""
KEPT_PEAKS = 512
"""Latest R peaks kept of a bed: more than there are in a block of the pipeline."""

assert 2 * STRIP_MARGIN <= RING_SAMPLES, "the ring must still hold the start of a strip when its end arrives"


@dataclass(slots=True)
class _FeedRow:
    """What waits for the rules of one bed."""

    rules: BedAlarmRules
    lead: str = ""
    """The lead that is heard now, and its row in the ring."""
    lead_row: int = 0
    first: int = 0
    """Where the stretch began that the rules know of."""
    ticked: int = -1
    """Sample of the latest window of this run that the rules got."""
    waiting: deque[Beat | LeadStateChange] = field(default_factory=deque)
    peaks: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=KEPT_PEAKS))
    """When the latest R peaks were decided, and where they are."""
    planned: deque[tuple[int, BedSettings]] = field(default_factory=deque)
    """Settings that are to hold from a later sample on, in order."""
    strips: deque[tuple[Alarm, str, int]] = field(default_factory=deque)
    """Alarms whose strip is not cut yet, each with the lead that was heard then and its row in the ring."""

    def latest_peak(self, now: int) -> int:
        """Return the latest R peak of this stretch that was decided by sample `now`; -1 without any."""
        for decided, sample in reversed(self.peaks):
            if decided <= now:
                return sample if sample >= self.first else -1
        return -1


class AlarmFeed:
    """The alarm rules of all rows; `ring` holds the signal of the strips, and `emit` takes alarms and strips in order.

    Samples alone decide what is announced and when; times are only stored. So the same beats, windows and gaps in the
    same order give the same alarms. What the clock says (`report_by_clock`) changes no other alarm.
    """

    def __init__(
        self, config: Config, ring: SampleRing, emit: Callable[[Alarm | Strip], object], rows: int = 1
    ) -> None:
        self._config, self._ring, self._emit = config, ring, emit
        self._rows: list[_FeedRow] = []
        self.arrived_s = np.zeros(0)
        """(rows,) Unix times at which the latest samples of the beds arrived."""
        self.grow(rows)

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        alarms, intervals = self._config.alarms, self._config.rhythm.rate_intervals
        more = rows - len(self._rows)
        self._rows += [_FeedRow(BedAlarmRules(alarms, intervals)) for _ in range(more)]
        self.arrived_s = np.concatenate([self.arrived_s, np.zeros(more)])

    def hear(self, row: int, lead: str, lead_row: int) -> None:
        """Take note that the bed of a row is heard by `lead` from now on, in row `lead_row` of the ring."""
        self._rows[row].lead, self._rows[row].lead_row = lead, lead_row

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run; the alarms of the one before are over."""
        self._feed(row)
        self._cut_strips(row, NO_DEADLINE)
        feed = self._rows[row]
        feed.first = run.first
        feed.ticked = -1
        feed.peaks.clear()
        self._publish(row, feed.rules.start(run.bed, run.run, run.first))

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Take note of a gap, or of a lead that came off or is back; a gap may come in pieces."""
        feed = self._rows[row]
        if isinstance(interruption, LeadStateChange):
            feed.waiting.append(interruption)
            return
        gap = interruption
        self._feed(row)
        feed.first = gap.first + gap.count
        if gap.reason != UNANALYSED_REASON:  # which is no fault of the signal
            at_s = self.arrived_s.item(row)
            self._publish(row, feed.rules.gap(gap.first, gap.count, at_s, gap.reason == VALUELESS_REASON))
        self._cut_strips(row, feed.first)

    def note_arrivals(self, rows: RowIndexArray, at_s: float | FloatArray) -> None:
        """Note the Unix times at which the latest samples of `rows` (n,) arrived: the times of what they decide."""
        self.arrived_s[rows] = at_s

    def push_peak(self, row: int, peak: RPeak) -> None:
        """Take an R peak of a bed's only lead as the detector decides it, before the net has classified its beat."""
        if peak.score > 0:
            self._rows[row].peaks.append((peak.decided, peak.sample))

    def push_beat(self, row: int, beat: Beat) -> None:
        """Take a beat, in the order of decision."""
        self._rows[row].waiting.append(beat)

    def push(self, row: int, window: WindowScores, leads: BedLeads | None = None) -> None:
        """Take a window of the heard lead: the rules get all that was decided up to its end, and then its scores.

        `leads` if the bed has several: what the others show counts, too.
        """
        feed, sample = self._rows[row], window.sample
        if sample <= feed.ticked:
            return  # another lead is heard, which stands at the same second
        feed.ticked = sample
        self._feed(row, sample)
        peak, beat = feed.latest_peak(sample), -1
        if leads is not None:
            window, peak, beat = leads.fuse(window), leads.latest_peak(sample), leads.latest_other_beat(sample)
            peak = peak if peak >= feed.first else -1
        scored = window if window.scores else None
        tick = AlarmTick(sample, peak, feed.first, scored, beat, self._jump_mv(feed, sample, peak))
        self._publish(row, feed.rules.tick(tick, self.arrived_s.item(row)))
        self._cut_strips(row, sample)

    def end(self, row: int, sample: int) -> None:
        """End the run on purpose; `sample` is the one after its last."""
        self._feed(row)
        self._publish(row, self._rows[row].rules.end(sample, self.arrived_s.item(row)))
        self._cut_strips(row, NO_DEADLINE)

    def report_by_clock(self, row: int, condition: ClockCondition, holds: bool, at_s: float) -> None:
        """Take note of a condition that the clock shows, or that is over."""
        rules = self._rows[row].rules
        change = rules.raise_by_clock if holds else rules.clear_by_clock
        self._publish(row, change(condition, int(self._ring.head[self._rows[row].lead_row]), at_s))

    def acknowledge(self, row: int, now_s: float, identities: Set[AlarmIdentity] | None = None) -> None:
        """A person has seen the alarms of a row, all or only these."""
        self._publish(row, self._rows[row].rules.acknowledge(now_s, identities))

    def keep_latched(self, row: int, alarms: Sequence[Alarm]) -> None:
        """Show alarms of a row that latched under an earlier monitor, and that nobody has acknowledged."""
        self._publish(row, self._rows[row].rules.keep_latched(alarms))

    def pause(self, row: int, now_s: float) -> None:
        """Pause all alarms of a row, or end their pause."""
        self._emit_all(self._rows[row].rules.pause(now_s))

    def end_pause(self, row: int) -> None:
        """End the pause of a row."""
        self._emit_all(self._rows[row].rules.end_pause())

    def apply_settings(self, row: int, settings: BedSettings) -> int:
        """Let a row have other settings from its present sample on. Return that sample.

        The rules stand at the end of a window, so the same settings after the same window give the same alarms.
        """
        self._publish(row, self._rows[row].rules.apply(settings))
        return self._rows[row].rules.manager.sample

    def apply_planned_settings(self, row: int) -> None:
        """Let a row have all settings that were planned, though its rules have not come to their samples."""
        self._publish(row, self._apply_planned(self._rows[row], NO_DEADLINE))

    def plan_settings(self, row: int, sample: int, settings: BedSettings) -> None:
        """Let a row have other settings once its rules stand at `sample`, where `apply_settings` did so before."""
        self._rows[row].planned.append((sample, settings))

    def finish(self) -> None:
        """Cut the strips that still wait, with the signal there is."""
        for row in range(len(self._rows)):
            self._cut_strips(row, NO_DEADLINE)

    def rules(self, row: int) -> BedAlarmRules:
        """Return the rules of a row, which know what is alarmed now."""
        return self._rows[row].rules

    def _feed(self, row: int, until: int | None = None) -> None:
        """Give the rules what was decided up to sample `until`, or of all that waits."""
        feed, at_s = self._rows[row], self.arrived_s.item(row)
        changed: list[Alarm] = []
        while feed.waiting:
            item = feed.waiting[0]
            decided = item.class_known if isinstance(item, Beat) else item.sample
            if until is not None and decided > until:
                break
            feed.waiting.popleft()
            if feed.planned:
                changed += self._apply_planned(feed, decided)
            if isinstance(item, Beat):
                changed += feed.rules.beat(item, at_s)
            else:
                changed += feed.rules.lead(item.sample, item.state, at_s)
        if feed.planned:
            changed += self._apply_planned(feed, until)
        if changed:
            self._publish(row, changed)

    def _apply_planned(self, feed: _FeedRow, sample: int | None) -> list[Alarm]:
        """Let a row have the settings that were planned for a sample before this one; return what that changes."""
        changed: list[Alarm] = []
        while feed.planned and sample is not None and feed.planned[0][0] < sample:
            changed += feed.rules.apply(feed.planned.popleft()[1])
        return changed

    def _emit_all(self, alarms: list[Alarm]) -> None:
        """Emit changed alarms, each of which has its strip already, or needs none."""
        for alarm in alarms:
            self._emit(alarm)

    def _jump_mv(self, feed: _FeedRow, sample: int, peak: int) -> float:
        """Return how far the baseline moved in the seconds up to `sample`; 0 unless the latest R peak is long ago."""
        if sample - max(peak, feed.first) <= feed.rules.limits.pause_s * FS:
            return 0.0
        after = int(self._ring.head[feed.lead_row]) - sample
        seconds = min(JUMP_S, (self._ring.samples - after) // FS, (sample - feed.first) // FS)
        wave = self._ring.last(feed.lead_row, seconds * FS + after)[: seconds * FS]
        return float(np.ptp(np.median(wave.reshape(seconds, FS), axis=1)))

    def _publish(self, row: int, alarms: list[Alarm]) -> None:
        """Emit changed alarms; a strip is to be cut for each that is new."""
        for alarm in alarms:
            if alarm.ended is None and alarm.acknowledged_s is None:
                feed = self._rows[row]
                feed.strips.append((alarm, feed.lead, feed.lead_row))
            self._emit(alarm)

    def _cut_strips(self, row: int, over: int) -> None:
        """Cut the strips that end by sample `over`."""
        feed = self._rows[row]
        while feed.strips and feed.strips[0][0].announced + STRIP_MARGIN <= over:
            alarm, lead, lead_row = feed.strips.popleft()
            self._emit(Strip(alarm, lead, *self._wave_around(lead_row, alarm.announced, over)))

    def _wave_around(self, row: int, sample: int, over: int) -> tuple[int, FloatArray]:
        """Return the first index and the wave (n,) mV of a row of the ring around `sample`.

        A gap that reaches up to `over` is NaN.
        """
        head = int(self._ring.head[row])
        kept = min(self._ring.samples, head - sample + STRIP_MARGIN)
        wave = self._ring.last(row, kept)[: 2 * STRIP_MARGIN]
        if over == NO_DEADLINE:
            return head - kept, wave
        missing = max(0, min(2 * STRIP_MARGIN - len(wave), over - head))
        return head - kept, np.pad(wave, (0, missing), constant_values=np.nan) if missing else wave
