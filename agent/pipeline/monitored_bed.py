"""What the pipeline remembers of one bed beside the rows of its stages: its input, its counts, its latest beats."""

from collections import deque
from dataclasses import dataclass, field, replace

from agent.analysis.bed_input import BedInput
from agent.analysis.bed_leads import BedLeads
from agent.analysis.stage import RunStart
from agent.core.events import LeadState
from agent.core.lead_units import RAW_UNITS
from agent.core.messages import Beat, Chunk, Gap
from agent.core.views import BedStatus
from model.errors import StreamError
from model.records.resample import FS

STREAM_SETTLED_S = 2.0
"""Signal after which a change of rate or leads no longer counts as one of many in a row."""
MOST_STREAM_CHANGES = 8
"""Changes in a row, each before the stream had settled, from which on it cannot be monitored."""
KEPT_BEATS = 64
"""Latest beats kept for the screen."""


@dataclass(slots=True)
class MonitoredBed:
    """One bed: its row in all stages, its input, and counts that last over gaps."""

    name: str
    row: int
    """Its row in the stages that decide."""
    input: BedInput | None = None
    run: str = ""
    """The run that decisions belong to; samples of a later one may wait already."""
    refused: str = ""
    """Why the stream cannot be monitored, "" if it can."""
    ended: bool = False
    contested: bool = False
    """Whether it is alarmed that two devices send as this bed."""
    lead_rows: list[int] = field(default_factory=list)
    """Its rows in the stages that see samples, one a lead; a run with fewer leads leaves the last ones unused."""
    lead_names: tuple[str, ...] = ()
    """The analysed leads of the run, the one to be heard first at the front."""
    sends_values: list[bool] = field(default_factory=lambda: [True])
    """Whether each lead sends values now."""
    leads: BedLeads | None = None
    """Which of several leads is heard; None with one lead."""
    lead_state: LeadState = "ok"
    """The state of the heard lead."""
    gaps: int = 0
    missing: int = 0
    """Samples at 125 Hz in gaps."""
    gap: Gap | None = None
    """The gap that the bed is in; it becomes an event once it is over and its length is known."""
    counted: int = 0
    """Samples that reached the analysis before the present input, less those that it gave up."""
    lost: int = 0
    """Samples that were declared missing on their way, or refused, at the rate of the device."""
    arrived_s: float = 0.0
    """Unix time at which the latest samples arrived."""
    heard_s: float = 0.0
    """Unix time at which the device was last known to send, also what waits or has been left out."""
    sent_s: float = 0.0
    """When the device first sent what came last, by our clock; 0 if that is not known."""
    beats: deque[Beat] = field(default_factory=lambda: deque(maxlen=KEPT_BEATS))
    _changes: int = 0
    """How often rate or leads changed in a row, each time before the stream had settled."""
    _restless: str = ""
    """The run in which they changed too often."""

    def status(self, now_s: float, lost_s: float) -> BedStatus:
        """Return what a person should know first; after `lost_s` seconds without data that is that none come."""
        if self.refused:
            return "refused"
        if self.ended:
            return "ended"
        if now_s - max(self.arrived_s, self.heard_s) >= lost_s:
            return "no data"
        if self.gap:
            return "no signal"
        return self.lead_state if self.lead_state != "ok" else "ok" if self.beats else "learning"

    @property
    def delay_s(self) -> float:
        """Seconds that resampling adds to the delay of every decision."""
        return self.input.delay_s if self.input else 0.0

    @property
    def analysed(self) -> int:
        """Samples that reached the analysis, at the rate of the device."""
        return self.counted + (self.input.taken if self.input else 0)

    def take_by(self, bed_input: BedInput | None) -> None:
        """Let another input take what comes from now on, or none."""
        self.counted = self.analysed
        if self.input is not None:
            self.input.release()
        self.input = bed_input

    def give_up(self, samples: int) -> None:
        """Count samples at 125 Hz that went to the analysis, and that it has not seen, as lost."""
        count = samples if self.input is None else min(round(samples * self.input.fs / FS), self.analysed)
        self.counted -= count
        self.lost += count

    def change(self, chunk: Chunk) -> None:
        """Note a chunk of another run, rate or leads. Raise StreamError if they change all the time within a run."""
        if self.input is None or self.input.run != chunk.run:
            self._changes = 0
        else:
            self._changes = self._changes + 1 if self.input.taken < STREAM_SETTLED_S * self.input.fs else 0
        if self._changes >= MOST_STREAM_CHANGES:
            self._restless = chunk.run
        if self._restless == chunk.run:
            raise StreamError(
                f"rate or leads changed {MOST_STREAM_CHANGES} times in a row: make the device keep to one kind"
            )

    def forget_counts(self) -> None:
        """Count samples and gaps from here on."""
        self.counted -= self.analysed
        self.lost = self.gaps = self.missing = 0

    @property
    def heard_row(self) -> int:
        """The row of samples of the heard lead."""
        return self.lead_rows[self.leads.heard if self.leads else 0]

    @property
    def heard_lead(self) -> str:
        """The name of the heard lead, "" before the first run."""
        return self.lead_names[self.leads.heard if self.leads else 0] if self.lead_names else ""

    @property
    def uncalibrated(self) -> bool:
        """Whether the heard lead is in raw counts."""
        leads = self.input.leads if self.input else ()
        return any(lead.lead.name == self.heard_lead and lead.lead.unit in RAW_UNITS for lead in leads)

    def start(self, run: RunStart, leads: BedLeads | None) -> None:
        """Begin a run; `leads` if it has several."""
        self.run, self.ended, self.lead_state = run.run, False, "ok"
        self.lead_names, self.leads = (run.lead, *(other.lead for other in run.others)), leads
        self.sends_values = [True] * len(self.lead_names)
        self.beats.clear()

    def extend_gap(self, gap: Gap) -> None:
        """Take a gap, or the next piece of the one that the bed is in."""
        self.missing += gap.count
        if self.gap is None:
            self.gaps += 1
            self.gap = gap
        else:
            self.gap = replace(self.gap, count=self.gap.count + gap.count)
