"""What becomes of what the samples brought: beats of the heard lead, rates, alarms.

The decisions belong to the bed, and a bed hears one lead at a time (`agent.analysis.bed_leads`). Beats of its other
leads are kept: once another lead is heard, those that were missed meanwhile are reported at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.alarms.alarm_feed import WINDOW_DELAY, AlarmFeed
from agent.analysis.beat_cutter import BeatCandidate
from agent.analysis.bed_leads import SAME_BEAT, BedLeads, LeadBeat, LeadSwitch
from agent.analysis.qrs_detector import RPeak
from agent.analysis.rate_tracker import RateTracker
from agent.analysis.sample_ring import SampleRing
from agent.analysis.stage import Interruption, LeadStateChange, RunStart, Stage
from agent.core.config import Config
from agent.core.events import HeardLeadChanged, LeadStateChanged, OtherLeadChanged, RunEnded, RunStarted
from agent.core.messages import Beat, End, Gap, Result
from agent.pipeline.monitored_bed import MonitoredBed
from agent.pipeline.pending_results import (
    BedLeadChanges,
    BedWindows,
    Decidable,
    LeadValuesChange,
    NoCandidate,
    PendingItem,
)
from model.beats.compiled_smoothing import open_smoothing
from model.records.resample import FS
from model.records.wfdb_records import CLASSES


@dataclass(frozen=True, slots=True)
class _ReportedBeat:
    """The latest reported beat of a bed, and the lead that showed it."""

    sample: int
    lead: int


NOT_REPORTED = _ReportedBeat(-SAME_BEAT - 1, -1)


class BedDecisions:
    """The decisions of all beds; `emit` takes the results in order. A bed is a row; smoothing has a row a lead."""

    def __init__(self, config: Config, ring: SampleRing, in_context: bool, emit: Callable[[Result], object]) -> None:
        self._config, self._in_context, self._emit = config, in_context, emit
        self.smoothing = open_smoothing()
        self.rates = RateTracker(config.rhythm)
        self.alarms = AlarmFeed(config, ring, emit)
        self._stages: list[Stage] = [self.rates, self.alarms]
        self._reported: dict[int, _ReportedBeat] = {}
        """The latest beat of each bed that analyses several leads, since the last break."""

    def grow(self, rows: int) -> None:
        """Make room for `rows` beds. Those that are there stay as they are."""
        for stage in self._stages:
            stage.grow(rows)

    def start(self, bed: MonitoredBed, run: RunStart) -> None:
        """Begin a run: nothing of the one before counts."""
        names = (run.lead, *(other.lead for other in run.others))
        least_mv = self._config.alarms.least_qrs_mv
        bed.start(run, BedLeads(names, self._config.leads, least_mv, WINDOW_DELAY) if run.others else None)
        self._emit(RunStarted(bed.name, run.run, run.first, run.lead, run.fs, names[1:]))
        for stage in reversed(self._stages):
            stage.start(bed.row, run)
        for row in bed.lead_rows:
            self.smoothing.start(row, run)
        self._reported.pop(bed.row, None)
        self.alarms.hear(bed.row, bed.heard_lead, bed.heard_row)

    def interrupt(self, bed: MonitoredBed, gap: Gap) -> None:
        """Take note that all leads of a bed miss samples."""
        self._interrupt(bed, gap)
        if bed.leads is not None:
            bed.leads.interrupt()

    def end(self, bed: MonitoredBed, end: End) -> None:
        """End the run of a bed on purpose."""
        bed.ended = True
        self.alarms.end(bed.row, end.first)
        self._emit(RunEnded(bed.name, end.run, end.first))

    def push_peak(self, bed: MonitoredBed, lead: int, peak: RPeak) -> None:
        """Take an R peak as the detector decides it: the alarms cannot wait for the net."""
        if bed.leads is None:
            self.alarms.push_peak(bed.row, peak)
        else:
            bed.leads.push_peak(lead, peak)

    def decide(self, items: Sequence[Decidable]) -> None:
        """Decide items of beds in their order."""
        settled = iter(self._settle_candidates(items))
        for bed, row, item, scores in items:
            if bed.leads is not None:
                self._decide_of_leads(bed, bed.leads, bed.lead_rows.index(row) if row >= 0 else 0, item, scores)
            elif isinstance(item, BeatCandidate):
                if (probabilities := next(settled)) is not None:
                    self._report(bed, 0, LeadBeat(item, probabilities), item.class_known)
            else:
                self._decide_other(bed, 0, item)

    def _settle_candidates(self, items: Sequence[Decidable]) -> Sequence[tuple[float, ...] | None]:
        """Return the class probabilities of the candidates of beds with one lead, None of what is no beat."""
        found = [
            (item, scores) for bed, _, item, scores in items if bed.leads is None and isinstance(item, BeatCandidate)
        ]
        if not self._in_context:
            return [tuple(scores) for _, scores in found]
        return self.smoothing.push_all(
            [item.row for item, _ in found],
            [scores for _, scores in found],
            [item.cluster for item, _ in found],
            [item.new for item, _ in found],
            [item.noise for item, _ in found],
        )

    def _decide_of_leads(
        self, bed: MonitoredBed, leads: BedLeads, lead: int, item: PendingItem, scores: list[float]
    ) -> None:
        """Decide an item of a bed with several leads, of its lead number `lead`."""
        self._advance(bed, leads, item.class_known if isinstance(item, BeatCandidate) else item.sample)
        if isinstance(item, BeatCandidate):
            self._decide_candidate(bed, leads, lead, item, scores)
        else:
            self._decide_other(bed, lead, item)

    def _decide_other(self, bed: MonitoredBed, lead: int, item: NoCandidate) -> None:
        """Decide what is no candidate."""
        if isinstance(item, BedWindows):
            self._push_windows(bed, item)
        elif isinstance(item, BedLeadChanges):
            self._change_states(bed, item.changes)
        elif isinstance(item, LeadValuesChange):
            assert bed.leads is not None
            self._hear(bed, bed.leads, bed.leads.set_values(lead, item.sample, item.has_values))
        else:
            self._emit(item)

    def _advance(self, bed: MonitoredBed, leads: BedLeads, sample: int) -> None:
        """Let the windows that count by `sample` choose the lead."""
        for switch in leads.advance(sample):
            self._hear(bed, leads, switch)

    def _push_windows(self, bed: MonitoredBed, item: BedWindows) -> None:
        if bed.leads is None:
            self.alarms.push(bed.row, item.windows[0])
            return
        for window in item.windows:
            bed.leads.push_window(bed.lead_rows.index(window.row), window)
        for window in item.windows:
            if window.row == bed.heard_row:
                self.alarms.push(bed.row, window, bed.leads)

    def _change_states(self, bed: MonitoredBed, changes: tuple[LeadStateChange, ...]) -> None:
        """Take leads that came off, saturated, or are back: the bed goes on if another one can be heard."""
        leads = bed.leads
        if leads is None:
            self._tell_state(bed, changes[0])
            return
        heard = leads.heard
        switch = leads.set_states(
            {bed.lead_rows.index(change.row): change.state for change in changes}, changes[0].sample
        )
        for change in changes:
            lead = bed.lead_rows.index(change.row)
            if lead != heard:
                self._emit(OtherLeadChanged(bed.name, bed.run, change.sample, leads.names[lead], change.state))
            elif switch is None:
                self._tell_state(bed, change)
        self._hear(bed, leads, switch)

    def _tell_state(self, bed: MonitoredBed, change: LeadStateChange) -> None:
        bed.lead_state = change.state
        self._interrupt(bed, change)
        self._emit(LeadStateChanged(bed.name, bed.run, change.sample, change.state))

    def _hear(self, bed: MonitoredBed, leads: BedLeads, switch: LeadSwitch | None) -> None:
        """Hear another lead: tell it, and report the beats that the one before did not show."""
        if switch is None:
            return
        names, sample = leads.names, switch.sample
        self._emit(
            HeardLeadChanged(bed.name, bed.run, sample, names[switch.lead], names[switch.before], switch.trouble)
        )
        self.alarms.hear(bed.row, names[switch.lead], bed.lead_rows[switch.lead])
        if bed.lead_state != leads.state:
            self._tell_state(bed, LeadStateChange(bed.row, sample, leads.state))
        reported = self._reported.get(bed.row, NOT_REPORTED)
        for beat in leads.beats_after(switch.lead, reported.sample):
            self._report(bed, switch.lead, beat, sample)

    def _interrupt(self, bed: MonitoredBed, interruption: Interruption) -> None:
        for stage in reversed(self._stages):
            stage.interrupt(bed.row, interruption)
        self._reported.pop(bed.row, None)

    def _decide_candidate(
        self, bed: MonitoredBed, leads: BedLeads, lead: int, candidate: BeatCandidate, scores: list[float]
    ) -> None:
        """Make a beat of a candidate, unless the net says that it is not one, or its lead is not heard."""
        probabilities: tuple[float, ...] | None
        if self._in_context:
            scores = leads.fuse_scores(lead, candidate, scores)
            probabilities = self.smoothing.push(
                candidate.row, scores, candidate.cluster, candidate.new, candidate.noise
            )
            if probabilities is None:
                return
        else:
            probabilities = tuple(scores)
        beat = LeadBeat(candidate, probabilities)
        leads.push_beat(lead, beat)
        if lead != leads.heard or self._is_reported(bed, lead, candidate.sample):
            return
        self._fill_pause(bed, leads, candidate)
        self._report(bed, lead, beat, candidate.class_known)

    def _fill_pause(self, bed: MonitoredBed, leads: BedLeads, candidate: BeatCandidate) -> None:
        """Report the beats that only a good other lead shows, in an RR interval of the heard one that is too long."""
        reported, rate = self._reported.get(bed.row), self.rates.heart_rate(bed.row, candidate.class_known)
        if reported is None or rate is None:
            return
        longest = self._config.leads.fill_intervals * 60 * FS / rate
        if candidate.sample - reported.sample > longest:
            for lead, beat in leads.missed_beats(reported.sample, candidate.sample):
                self._report(bed, lead, beat, candidate.class_known)

    def _is_reported(self, bed: MonitoredBed, lead: int, sample: int) -> bool:
        """Whether a beat was reported already, as another lead showed it."""
        reported = self._reported.get(bed.row, NOT_REPORTED)
        return reported.lead != lead and sample <= reported.sample + SAME_BEAT

    def _report(self, bed: MonitoredBed, lead: int, found: LeadBeat, known: int) -> None:
        """Report a beat that is known at sample `known`."""
        candidate, probabilities = found.candidate, found.probabilities
        label, rr_s = CLASSES[probabilities.index(max(probabilities))], self._interval(bed, lead, candidate)
        beat = Beat(
            bed.name,
            candidate.sample,
            known,
            label,
            probabilities,
            rr_s,
            bed.arrived_s,
            self.rates.push(bed.row, candidate.sample, label, rr_s, known),
            candidate.r_peak_known,
            bed.sent_s,
            bed.run,
            bed.lead_names[lead],
            bed.leads.quality(lead) if bed.leads is not None else None,
        )
        bed.beats.append(beat)
        if bed.leads is not None:
            self._reported[bed.row] = _ReportedBeat(candidate.sample, lead)
        self.alarms.push_beat(bed.row, beat)
        self._emit(beat)

    def _interval(self, bed: MonitoredBed, lead: int, candidate: BeatCandidate) -> float | None:
        """Return the RR interval from the last beat that was reported: candidates in between were not beats.

        R peaks are some hundredths of a second apart from lead to lead, so both ends are taken from one lead.
        """
        if not self._in_context:
            return candidate.rr_s
        reported = self._reported.get(bed.row, NOT_REPORTED)
        if bed.leads is None or reported.lead in (lead, NOT_REPORTED.lead):
            return self.rates.interval(bed.row, candidate.sample)
        before = bed.leads.same_beat(lead, reported.sample)
        shift = reported.sample - before if before is not None else 0
        return self.rates.interval(bed.row, candidate.sample + shift)
