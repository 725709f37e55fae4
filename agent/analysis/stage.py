"""The contract of every stage of the pipeline. One stage holds the state of all beds; a bed is a row of it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.core.events import LeadState
from agent.core.messages import Gap

RowIndexArray = NDArray[np.intp]
"""(n,) rows, one a bed."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """A new run of a bed, or the same run with other leads or another rate.

    `first` is its first sample at 125 Hz, `lead` the analysed lead, `fs` the device's rate in hertz, `rails` the limits
    of its converter in millivolts. Of several leads this is the one that is heard first; `others` are the rest.
    """

    bed: str
    run: str
    first: int
    lead: str
    fs: float
    rails: tuple[float, float]
    others: tuple["RunStart", ...] = ()


@dataclass(frozen=True, slots=True)
class LeadStateChange:
    """The lead of a row turns to `state`, known from `sample` (125 Hz) on."""

    row: int
    sample: int
    state: LeadState


Interruption = Gap | LeadStateChange
"""What breaks a signal: samples that are missing (at 125 Hz), or a lead that came off or is back."""


class Stage(Protocol):
    """What every stage offers beside a `push` of its own, which takes new input and returns what is decided by it.

    The pipeline calls these of all stages, the last two from the last stage to the first: a later stage may still read
    what an earlier one is about to forget. A stage in which something waits for later samples also has `flush(row)`,
    which returns what waits at the end of an unbroken stretch; it is called from the first to the last of them, with
    what the one before still returned.
    """

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run: nothing of the one before counts."""

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Take note that the signal of a row is broken: nothing reaches over the break."""
