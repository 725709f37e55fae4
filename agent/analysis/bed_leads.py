"""The analysed leads of one bed: how good each is, and which one is heard.

A bed is watched by one lead at a time. Another one is heard instead at once when the heard lead comes off or sends no
value, and after a short while when it is noisy, or shows no QRS complex, while the other one is good. Nothing goes back
by itself: the lead that is heard stays until it is bad in its turn.

All of it follows from samples. A window counts from `late` samples after its end on: by then it is known in whatever
chunks the stream came. So every method that takes a `sample` wants them in order, and gives the same answers for any
chunks.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from agent.analysis.beat_cutter import BeatCandidate
from agent.analysis.lead_quality import fuse_windows, signal_quality
from agent.analysis.qrs_detector import RPeak
from agent.analysis.rhythm_windows import WindowScores
from agent.core.config import LeadsConfig
from agent.core.events import LeadState, LeadTrouble
from model.beats.cluster_smoothing import NO_BEAT
from model.records.resample import FS

KEPT_PEAKS, KEPT_BEATS, KEPT_SCORES = 512, 64, 8
"""Latest candidates, beats and scores that are kept of a lead: more than a block of the pipeline has, and than there
are until another one is heard."""
MOST_DISORDER = 3 * FS
"""No candidate lies further behind one that the detector decided later: it learns levels anew over 2 s at most."""
NEVER = -1
SAME_BEAT = round(0.15 * FS)
"""R peaks of two leads within so many samples are of one beat, as in EC57."""


@dataclass(frozen=True, slots=True)
class LeadSwitch:
    """From `sample` on `lead` is heard instead of `before`, which has a `trouble`; both are indices."""

    sample: int
    lead: int
    before: int
    trouble: LeadTrouble


class LeadBeat(msgspec.Struct, frozen=True, gc=False):
    """A candidate of a lead that the net took for a beat, and the probabilities of its classes."""

    candidate: BeatCandidate
    probabilities: tuple[float, ...]


@dataclass(slots=True)
class _LeadRecord:
    """What is known of one lead. `bad` and `good` count its latest windows in a row that were so."""

    name: str
    state: LeadState = "ok"
    has_values: bool = True
    bad: int = 0
    good: int = 0
    quality: float | None = None
    window: WindowScores | None = None
    waiting: deque[WindowScores] = field(default_factory=deque)
    """Windows that do not count yet."""
    peaks: deque[RPeak] = field(default_factory=lambda: deque(maxlen=KEPT_PEAKS))
    """The latest candidates of the detector, those too that it does not take for beats."""
    beats: deque[LeadBeat] = field(default_factory=lambda: deque(maxlen=KEPT_BEATS))
    scores: deque[tuple[int, tuple[float, ...]]] = field(default_factory=lambda: deque(maxlen=KEPT_SCORES))
    """The latest candidates that the net has seen, and what it said."""

    @property
    def usability(self) -> int:
        """Return 0 without values, 1 if the lead is off or saturated, 2 if it may show an ECG."""
        return 0 if not self.has_values else 1 if self.state != "ok" else 2

    @property
    def trouble(self) -> LeadTrouble:
        if not self.has_values:
            return "no value"
        return "noise" if self.state == "ok" else self.state

    def forget(self) -> None:
        """Forget the quality and the beats of a signal that is broken."""
        self.bad = self.good = 0
        self.quality = self.window = None
        self.waiting.clear()
        self.beats.clear()
        self.scores.clear()

    def scores_at(self, sample: int) -> tuple[float, ...] | None:
        """Return what the net said of the latest candidate at `sample`; None if it has not said anything yet."""
        return next((said for at, said in reversed(self.scores) if abs(at - sample) <= SAME_BEAT), None)

    def peaks_since(self, first: int, now: int) -> int:
        """Return the number of R peaks from sample `first` on that were decided by sample `now`."""
        return sum([peak.score > 0 and peak.decided <= now for peak in self.latest_peaks(first)])

    def shows(self, sample: int, now: int) -> bool:
        """Return whether a candidate, decided by sample `now`, lies at `sample`."""
        near = self.latest_peaks(sample - SAME_BEAT)
        return any(peak.sample <= sample + SAME_BEAT and peak.decided <= now for peak in near)

    def latest_peaks(self, first: int) -> Iterator[RPeak]:
        """Yield the candidates from sample `first` on, the latest first."""
        for peak in reversed(self.peaks):
            if peak.sample >= first:
                yield peak
            elif peak.sample < first - MOST_DISORDER:
                return


class BedLeads:
    """The leads of one bed in one run; the first is heard first."""

    def __init__(self, names: Sequence[str], config: LeadsConfig, least_mv: float, late: int) -> None:
        """`least_mv`: a lower signal has no QRS complex. `late`: samples after its end from which a window counts."""
        self._config, self._least_mv, self._late = config, least_mv, late
        self._leads = [_LeadRecord(name) for name in names]
        self.heard = 0
        self._steady = NEVER
        """Sample until which the lead is not changed again for its quality."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(lead.name for lead in self._leads)

    @property
    def state(self) -> LeadState:
        """The state of the heard lead."""
        return self._leads[self.heard].state

    def quality(self, lead: int) -> float | None:
        """Return the quality of a lead from 0 to 1, 0 without a signal, None while it is not known."""
        record = self._leads[lead]
        return record.quality if record.usability == 2 else 0.0

    @property
    def qualities(self) -> tuple[tuple[str, float | None], ...]:
        """The name and the quality of each lead."""
        return tuple((name, self.quality(lead)) for lead, name in enumerate(self.names))

    def trusts(self, lead: int) -> bool:
        """Return whether a lead is good now."""
        record = self._leads[lead]
        good = record.quality is not None and record.quality >= self._config.quality_good
        return record.usability == 2 and good

    def set_values(self, lead: int, sample: int, has_values: bool) -> LeadSwitch | None:
        """Take note that a lead sends no value from `sample` on, or sends values again."""
        record = self._leads[lead]
        record.has_values = has_values
        record.forget()
        return self._prefer_usable(sample)

    def set_states(self, states: Mapping[int, LeadState], sample: int) -> LeadSwitch | None:
        """Take note of leads that came off, saturated, or are back at `sample`: the new state of each."""
        for lead, state in states.items():
            self._leads[lead].state = state
            self._leads[lead].forget()
        return self._prefer_usable(sample)

    def interrupt(self) -> None:
        """Take note of a gap in all leads: quality is measured anew behind it."""
        for record in self._leads:
            record.forget()

    def push_peak(self, lead: int, peak: RPeak) -> None:
        """Take a candidate of the detector, as it decides on it."""
        self._leads[lead].peaks.append(peak)

    def push_window(self, lead: int, window: WindowScores) -> None:
        """Take the next window of a lead."""
        self._leads[lead].waiting.append(window)

    def push_beat(self, lead: int, beat: LeadBeat) -> None:
        """Take a beat of a lead, heard or not."""
        self._leads[lead].beats.append(beat)

    def advance(self, sample: int) -> list[LeadSwitch]:
        """Let all windows count that do by `sample`; return the changes of the heard lead."""
        switches: list[LeadSwitch] = []
        while waiting := [lead.waiting[0].sample for lead in self._leads if lead.waiting]:
            end = min(waiting)
            if end + self._late > sample:
                break
            for lead in self._leads:
                if lead.waiting and lead.waiting[0].sample == end:
                    self._measure(lead, lead.waiting.popleft())
            if switch := self._avoid_bad(end):
                switches.append(switch)
        return switches

    def beats_after(self, lead: int, sample: int) -> list[LeadBeat]:
        """Return the kept beats of a lead that are later than those that another lead has shown up to `sample`."""
        return [beat for beat in self._leads[lead].beats if beat.candidate.sample > sample + SAME_BEAT]

    def same_beat(self, lead: int, sample: int) -> int | None:
        """Return the R peak in a lead of the beat that another one shows at `sample`; None if it shows none."""
        near = (beat.candidate.sample for beat in self._leads[lead].beats)
        return min(
            (peak for peak in near if abs(peak - sample) <= SAME_BEAT),
            key=lambda peak: abs(peak - sample),
            default=None,
        )

    def fuse(self, heard: WindowScores) -> WindowScores:
        """Return a window of the heard lead as the good other leads let it stand (`fuse_windows`)."""
        others = (self._leads[lead] for lead in self._trusted())
        windows = (lead.waiting[-1] if lead.waiting else lead.window for lead in others)
        return fuse_windows(heard, [window for window in windows if window is not None], self._config)

    def fuse_scores(self, lead: int, candidate: BeatCandidate, scores: list[float]) -> list[float]:
        """Return the net's log-probabilities of a lead's candidate as the good other leads see it, too.

        Where both leads are good, those of the same beat are added; they count if they are known by then. A good lead
        in which nothing like a beat is known to be there makes no beat likelier.
        """
        self._leads[lead].scores.append((candidate.sample, tuple(scores)))
        fused, is_good = list(scores), self.trusts(lead)
        for other in (self._leads[other] for other in range(len(self._leads)) if other != lead and self.trusts(other)):
            if not other.shows(candidate.sample, candidate.class_known):
                fused[NO_BEAT] += self._config.absent_bias
            elif is_good and (same := other.scores_at(candidate.sample)):
                fused = [own + self._config.other_weight * more for own, more in zip(fused, same, strict=True)]
        return fused

    def missed_beats(self, after: int, before: int) -> list[tuple[int, LeadBeat]]:
        """Return the beats between samples `after` and `before` that only a good other lead shows, and that lead."""
        if not (trusted := self._trusted()):
            return []
        best = max(trusted, key=lambda lead: (self._leads[lead].quality or 0.0, -lead))
        return [(best, beat) for beat in self.beats_after(best, after) if beat.candidate.sample < before - SAME_BEAT]

    def latest_peak(self, now: int) -> int:
        """Return the latest R peak, decided by sample `now`, of the heard lead or a good one; -1 without any."""
        latest = -1
        for lead in (self.heard, *self._trusted()):
            for peak in reversed(self._leads[lead].peaks):
                if peak.score > 0 and peak.decided <= now:
                    latest = max(latest, peak.sample)
                if peak.sample < latest - MOST_DISORDER:
                    break
        return latest

    def latest_other_beat(self, now: int) -> int:
        """Return the latest beat, decided by sample `now`, of the good leads that are not heard; -1 without any."""
        latest = -1
        for lead in self._trusted():
            for beat in reversed(self._leads[lead].beats):  # which are in order
                if beat.candidate.class_known <= now:
                    latest = max(latest, beat.candidate.sample)
                    break
        return latest

    def _trusted(self) -> list[int]:
        """Return the leads beside the heard one that are good now."""
        return [lead for lead in range(len(self._leads)) if lead != self.heard and self.trusts(lead)]

    def _measure(self, lead: _LeadRecord, window: WindowScores) -> None:
        lead.window = window
        quality = signal_quality(window, self._least_mv)
        if quality is not None and not lead.peaks_since(window.sample - 4 * FS, window.sample):
            quality = 0.0
        lead.quality = quality
        lead.bad = lead.bad + 1 if quality is not None and quality < self._config.quality_bad else 0
        lead.good = lead.good + 1 if quality is not None and quality >= self._config.quality_good else 0

    def _prefer_usable(self, sample: int) -> LeadSwitch | None:
        """Hear another lead at once if it may show an ECG and the heard one cannot."""
        best = max(range(len(self._leads)), key=lambda lead: (self._leads[lead].usability, lead == self.heard))
        if self._leads[best].usability == self._leads[self.heard].usability:
            return None
        return self._hear(best, sample, self._leads[self.heard].trouble)

    def _avoid_bad(self, end: int) -> LeadSwitch | None:
        """Hear another lead if the heard one has been bad for long enough, and the other one good."""
        heard = self._leads[self.heard]
        if heard.usability < 2 or end < self._steady:
            return None
        good = [lead for lead in self._trusted() if self._leads[lead].good >= self._config.good_windows]
        silence = end - round(self._config.qrs_silence_s * FS)
        silent = not heard.peaks_since(silence, end)
        if heard.bad < self._config.bad_windows:
            good = [lead for lead in good if silent and self._leads[lead].peaks_since(silence, end) > 1]
        if not good:
            return None
        best = max(good, key=lambda lead: (self._leads[lead].quality or 0.0, -lead))
        self._steady = end + round(self._config.hold_s * FS)
        return self._hear(best, end + self._late, "no QRS" if silent else "noise")

    def _hear(self, lead: int, sample: int, trouble: LeadTrouble) -> LeadSwitch:
        before, self.heard = self.heard, lead
        return LeadSwitch(sample, lead, before, trouble)
