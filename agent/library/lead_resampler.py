"""One lead as `agent.wire.record_chunks` resamples a record, but piece by piece."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from agent.core.sample_index import first_index_at_125_hz
from agent.wire.record_chunks import FILTER_REACH_S
from model.records.resample import Resampler, resampling_ratio
from model.records.signal_conditioning import ConditionedSignal, SignalConditioner


class LeadResampler:
    """Resamples a lead at `fs` hertz, of which a unit is `unit_mv` millivolts, to 125 Hz, mended as a record is."""

    def __init__(self, fs: float, unit_mv: float) -> None:
        self.fs = fs
        self._ratio = resampling_ratio(fs)
        self._conditioner = SignalConditioner(fs, unit_mv)
        self._resampler = Resampler(fs, leads=1)
        self._base: float | None = None
        self._last = float("nan")
        self._count = 0
        """Samples at `fs` that were resampled."""
        self._holes: list[tuple[int, int]] = []
        """At 125 Hz: bridged holes that were not returned yet."""

    def push(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the next samples (n,), NaN without a value; return those at 125 Hz (m,) that they complete."""
        return self._resample(self._conditioner.push(x))

    def flush(self) -> NDArray[np.float64]:
        """Return the remaining samples at 125 Hz (m,); nothing may be pushed afterwards."""
        rest = self._resample(self._conditioner.flush())
        first, length = self._resampler.next_output, first_index_at_125_hz(self._count, self._ratio)
        after = np.full((ceil(FILTER_REACH_S * self.fs), 1), np.nan_to_num(self._last - (self._base or 0.0)))
        return np.concatenate([rest, self._restore(first, self._resampler.push(after)[: max(0, length - first)])])

    def _resample(self, conditioned: ConditionedSignal) -> NDArray[np.float64]:
        x = conditioned.x
        for hole in conditioned.holes:
            first, stop = (first_index_at_125_hz(edge, self._ratio) for edge in hole)
            self._holes.append((first, stop))
        if len(x):
            self._last = float(x[-1])
            self._count += len(x)
        if self._base is None and not np.isnan(x).all():
            self._base = float(x[~np.isnan(x)][0])
        first = self._resampler.next_output
        return self._restore(first, self._resampler.push((x - (self._base or 0.0))[:, None]))

    def _restore(self, first: int, resampled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return resampled values (m, 1), of which the first has index `first`, as they are: NaN in bridged holes."""
        x: NDArray[np.float64] = resampled[:, 0] + (self._base or 0.0)
        for start, stop in self._holes:
            x[max(0, start - first) : max(0, stop - first)] = np.nan
        self._holes = [hole for hole in self._holes if hole[1] > first + len(x)]
        return x
