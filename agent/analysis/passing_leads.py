"""Leads of many beds whose samples come out of their inputs as they are, which nearly all do: taken all at once.

A lead passes for as long as nothing of it has to be mended, waits, or is to be told; then its `LeadInput` goes on from
what has passed meanwhile. It has a slot for as long as its run lasts.
"""

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import FloatArray
from model.records.resample import FS
from model.records.signal_conditioning import conditioning_reach, least_jump

REACH = conditioning_reach(FS)


class PassingLeads:
    """What has passed of each lead: how many samples, and the latest of them."""

    def __init__(self) -> None:
        self._recent = np.empty((0, REACH), np.float32)
        """(slots, REACH) mV, the latest last."""
        self.counts = np.empty(0, np.int64)
        """(slots,) samples that have passed since the lead entered; 0 if it does not pass."""
        self.inside = np.empty(0, np.bool_)
        """(slots,) which leads pass."""
        self._free: list[int] = []

    def reserve(self) -> int:
        """Return a slot for a lead, which does not pass yet."""
        if not self._free:
            first, more = len(self.counts), max(16, len(self.counts))
            self._recent = np.concatenate([self._recent, np.zeros((more, REACH), np.float32)])
            self.counts = np.concatenate([self.counts, np.zeros(more, np.int64)])
            self.inside = np.concatenate([self.inside, np.zeros(more, np.bool_)])
            self._free = list(range(first + more - 1, first - 1, -1))
        return self._free.pop()

    def release(self, slot: int) -> None:
        """Take a slot back: the run of its lead is over."""
        self.counts[slot], self.inside[slot] = 0, False
        self._free.append(slot)

    def enter(self, slot: int, last: float) -> None:
        """Let a lead pass whose latest sample is `last`, NaN if it has none."""
        self._recent[slot, -1], self.counts[slot], self.inside[slot] = last, 0, True

    def take(self, slots: NDArray[np.intp], x: FloatArray) -> NDArray[np.bool_]:
        """Take the next samples of k beds, plain in themselves, where they pass; return where they do (k,).

        `slots` (k, leads), `x` (k, leads, n) mV. A step that may be a pulse lets no lead of its bed pass.
        """
        steps = np.abs(x[:, :, 0].astype(np.float64) - self._recent[slots, -1])
        passes: NDArray[np.bool_] = ~(steps >= least_jump(FS)).any(axis=1)
        if not passes.all():
            slots, x = slots[passes], x[passes]
        n = x.shape[2]
        if n < REACH:
            self._recent[slots, :-n] = self._recent[slots, n:]
        self._recent[slots, -n:] = x[:, :, -REACH:]
        self.counts[slots] += n
        return passes

    def leave(self, slot: int) -> tuple[FloatArray, int]:
        """Let a lead pass no longer; return the latest samples that have passed, REACH at most, and how many have."""
        count = int(self.counts[slot])
        self.counts[slot], self.inside[slot] = 0, False
        return self._recent[slot, REACH - min(count, REACH) :].copy(), count
