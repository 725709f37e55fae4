"""What a sensor or stream is to a bridge: it is opened, read piece by piece, and opened again when it was lost."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import MISSING, Lead
from model.errors import SourceError

FULL_RAIL = -MISSING - 1
"""The rails of a converter that nobody knows: they are never reached."""


@dataclass(frozen=True, slots=True)
class SourceLayout:
    """What follows in a source: `fs` hertz and its `leads`.

    `identity`: the start of the device, where the source can tell one from another. With the same layout a source goes
    on in its run; another one is a new run.
    """

    fs: float
    leads: tuple[Lead, ...]
    identity: str = ""


class SourceReading(NamedTuple):
    """The next samples: `counts` (n, leads) int32, MISSING where there is no value.

    `lost`: samples that were lost right before them, as far as the source can tell. Without samples it says that
    something comes of which nothing can be made yet; `remark` says why.
    """

    counts: NDArray[np.int32]
    lost: int = 0


NOTHING_YET = SourceReading(np.empty((0, 1), np.int32))
"""A sign of life without samples."""


class LostSourceError(SourceError):
    """A source that was open and is not any more: it is opened again."""


class SensorSource(Protocol):
    """A sensor or stream. All calls come from one thread.

    `name`: what it is called in messages.
    """

    name: str

    @property
    def is_over(self) -> bool:
        """Whether nothing will ever follow."""
        return False

    def open(self) -> None:
        """Open it, again after it was lost. Raises SourceError, with what to do, where that cannot be done now."""
        ...

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        """Return what comes next, None for nothing within `timeout_s`; a layout before the first samples.

        Raises LostSourceError where the connection is gone, SourceError where it sends what cannot be an ECG.
        """
        ...

    def close(self) -> None:
        """Close it; it may be opened again. Closing twice does nothing."""
        ...

    def remark(self) -> str:
        """Return what a person should know at this moment, such as the state of a battery; "" for nothing."""
        ...


def source_lead(name: str, unit: str, gain: float, rails: tuple[int, int] | None = None) -> Lead:
    """Return a lead with `gain` counts in one `unit`. `rails`: lowest and highest count of the converter."""
    low, high = rails or (-FULL_RAIL, FULL_RAIL)
    return Lead(name, unit, gain, 0.0, low, high)
