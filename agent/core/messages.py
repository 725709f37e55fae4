"""Everything that travels between the stages, as frozen data.

Time is a sample index at the chunk's own rate, counted from the start of the record or run; the wall clock is only ever
a stamp that the edges put on (`sent_s`, `arrived_s`: seconds since the Unix epoch).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, get_args, overload

import numpy as np
from numpy.typing import NDArray

from agent.core.events import Event

FloatArray = NDArray[np.float32]
MISSING = -(2**31)
"""The count that holds no value."""
LARGEST_SHARED_BYTES = 2**16
"""Up to this size the counts of many beds stay together; of larger ones each chunk gets a copy, so that one bed whose
samples wait does not keep those of all in memory."""


@dataclass(frozen=True, slots=True)
class Lead:
    """One lead of a stream: value in `unit` = (count - offset) / gain; `low`, `high`: the ADC rails in counts."""

    name: str
    unit: str
    gain: float
    offset: float
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive samples of one bed: `counts` (n, leads) int32, MISSING where there is no value."""

    bed: str
    run: str
    first: int
    fs: float
    leads: tuple[Lead, ...]
    counts: NDArray[np.int32]
    sent_s: float
    arrived_s: float = 0.0
    sequence: int = 0


class StreamedRun(Protocol):
    """A run of a bed: a chunk says of which it is, a bundle names it."""

    @property
    def bed(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def fs(self) -> float: ...
    @property
    def leads(self) -> tuple[Lead, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class BedsChunk:
    """Consecutive samples of each of many beds that came together: `counts` (beds, n, leads) int32 as in a Chunk.

    `runs` is the same object for as long as the same runs come together, and holds each bed once.
    """

    runs: Sequence[StreamedRun]
    firsts: Sequence[int]
    counts: NDArray[np.int32]
    sent_s: float
    arrived_s: float
    sequences: Sequence[int]

    @property
    def samples(self) -> int:
        """Samples of each bed."""
        samples: int = self.counts.shape[1]
        return samples

    def pieces(self, most: int) -> list["BedsChunk"]:
        """Return the same samples as chunks that follow on each other, of at most `most` samples of each bed."""
        if self.samples <= most:
            return [self]
        return [
            replace(self, firsts=[own + first for own in self.firsts], counts=self.counts[:, first : first + most])
            for first in range(0, self.samples, most)
        ]

    def chunk(self, place: int) -> Chunk:
        """Return the chunk of one of the beds."""
        run, counts = self.runs[place], self.counts[place]
        if self.counts.nbytes > LARGEST_SHARED_BYTES:
            counts = counts.copy()
        first, sequence = self.firsts[place], self.sequences[place]
        return Chunk(run.bed, run.run, first, run.fs, run.leads, counts, self.sent_s, self.arrived_s, sequence)


VALUELESS_REASON = "without a value"
"""Reason of a gap that the device itself says: it sends, but measures nothing."""
UNANALYSED_REASON = "not analysed before the end"
"""Reason of a gap that is the monitor's own: it ends, and something has come that it has not analysed."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples `first` to `first + count` of a bed never arrived, or hold no value."""

    bed: str
    run: str
    first: int
    count: int
    fs: float
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The run of a bed ended on purpose: `first` is the index after its last sample."""

    bed: str
    run: str
    first: int
    fs: float
    sequence: int = 0
    sent_s: float = 0.0


Signal = Chunk | BedsChunk | Gap | End
"""What becomes of the samples that a device sends."""


class Signals(Sequence[Chunk | Gap | End]):
    """The signal of one step, each chunk by itself. `together`: as it came, which costs less to go through."""

    def __init__(self, together: Sequence[Signal]) -> None:
        self.together = together
        self._parts: list[Chunk | Gap | End] | None = None

    @overload
    def __getitem__(self, place: int) -> Chunk | Gap | End: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Chunk | Gap | End]: ...
    def __getitem__(self, place: int | slice) -> Chunk | Gap | End | Sequence[Chunk | Gap | End]:
        return self._separate()[place]

    def __len__(self) -> int:
        return len(self._separate())

    def _separate(self) -> list[Chunk | Gap | End]:
        if self._parts is None:
            self._parts = list(separate_chunks(self.together))
        return self._parts


@overload
def separate_chunks(messages: Iterable[Signal]) -> Iterator[Chunk | Gap | End]: ...
@overload
def separate_chunks(messages: Iterable[Signal | Event]) -> Iterator[Chunk | Gap | End | Event]: ...
def separate_chunks(messages: Iterable[Signal | Event]) -> Iterator[Chunk | Gap | End | Event]:
    """Yield messages, each chunk of what came together by itself."""
    for message in messages:
        if isinstance(message, BedsChunk):
            yield from map(message.chunk, range(len(message.runs)))
        else:
            yield message


@dataclass(frozen=True, slots=True)
class Ledger:
    """The samples of a bed over all its runs, at the rate of the device.

    `sent` as far as the monitor knows, `analysed` those that reached the analysis, `missing` those that were declared
    missing.
    """

    sent: int = 0
    analysed: int = 0
    missing: int = 0

    @property
    def open(self) -> int:
        """Samples under way: kept back until those before them are fetched again or declared missing."""
        return self.sent - self.analysed - self.missing


@dataclass(frozen=True, slots=True)
class ResumePosition:
    """Where a bed was left: its latest `run`, the `next` sample of it at `fs` hertz.

    `last_beat` is the latest R peak recorded of that run, at 125 Hz. `ended`: the run ended on purpose.
    """

    run: str
    next: int
    fs: float
    last_beat: int | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """One classified beat of one bed.

    Samples at 125 Hz: `sample` the R peak, `r_peak_known` and `class_known` the last samples that the R peak and the
    class waited for. `probabilities` in the order of `model.records.wfdb_records.CLASSES`; `rr_s` the RR interval that
    ends at this beat and `heart_rate` in beats a minute then, None after a gap. Unix times: `arrived_s` when the
    samples that decided it reached the socket, `sent_s` when the device first sent them, by our clock. `lead`: the one
    that was heard, and its `quality` from 0 to 1 where several are analysed; a recording keeps neither.
    """

    bed: str
    sample: int
    class_known: int
    label: str
    probabilities: tuple[float, ...]
    rr_s: float | None
    arrived_s: float
    heart_rate: float | None = None
    r_peak_known: int = 0
    sent_s: float = 0.0
    run: str = ""
    lead: str = field(default="", compare=False)
    quality: float | None = field(default=None, compare=False)

    @property
    def confidence(self) -> float:
        return max(self.probabilities)


Priority = Literal["high", "medium", "low"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
AlarmCondition = Literal[
    "asystole",
    "ventricular fibrillation",
    "ventricular tachycardia",
    "extreme tachycardia",
    "extreme bradycardia",
    "heart rate high",
    "heart rate low",
    "V run",
    "pause",
    "atrial fibrillation",
    "couplet",
    "bigeminy",
    "trigeminy",
    "R-on-T",
    "V rate high",
    "no data",
    "two devices",
    "gaps",
    "lead off",
    "saturated",
    "noise",
]
"""The conditions that are alarmed; "no data" and those after it are technical."""


AlarmIdentity = tuple[str, str, AlarmCondition, int]
"""Bed, run, condition and onset of an alarm."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of a bed as it stands; another follows at every change.

    `bed`, `run`, `condition` and `onset` identify it. `text`: its reason in words. Samples at 125 Hz: `onset` of the
    condition, `announced` when it was known, `ended` the first at which it was over (None: it goes on). Unix times:
    `announced_s` when the announcing samples arrived, `acknowledged_s` when a person acknowledged it (None: nobody
    yet). `latching`: once over it stays on the screen until it is acknowledged. `paused`: the alarms of the bed are
    paused, so it is recorded and told to nobody; another state follows at the end of the pause if it still stands.
    """

    bed: str
    run: str
    condition: AlarmCondition
    priority: Priority
    text: str
    onset: int
    announced: int
    announced_s: float
    latching: bool = False
    ended: int | None = None
    acknowledged_s: float | None = None
    paused: bool = False

    @property
    def identity(self) -> AlarmIdentity:
        """What all states of one alarm have in common."""
        return self.bed, self.run, self.condition, self.onset

    @property
    def shown(self) -> bool:
        """Whether it belongs on the screen."""
        return self.ended is None or (self.latching and self.acknowledged_s is None)


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """The signal around the announcement of an alarm, which `alarm` names as it stood then.

    `wave` (n,) float32 mV at 125 Hz of `lead`, which was heard then, from sample `first` on, NaN where missing; from
    10 s before the announcement to 10 s after, less where the run began or ended in between.
    """

    alarm: Alarm
    lead: str
    first: int
    wave: FloatArray

    @property
    def bed(self) -> str:
        return self.alarm.bed


Result = Beat | Event | Alarm | Strip
"""What the pipeline decides."""


def quantise_to_counts(samples: NDArray[np.float64], gains: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return physical samples (n, leads) as counts at `gains` (leads,), rounded half to even; NaN becomes MISSING."""
    counts = np.clip(np.rint(samples * gains), MISSING + 1, -MISSING - 1)
    return np.where(np.isnan(counts), MISSING, counts).astype(np.int32)
