"""Leads of many beds whose samples come out of their inputs as they are, which nearly all do: taken all at once.

A lead is here for as long as nothing of it has to be mended, waits, or is to be told; then its `LeadInput` goes on from
what has passed meanwhile.
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
        self._count = np.empty(0, np.int64)
        self._free: list[int] = []

    def enter(self, last: float) -> int:
        """Let a lead pass whose latest sample is `last`, NaN if it has none; return its slot."""
        if not self._free:
            first, more = len(self._count), max(16, len(self._count))
            self._recent = np.concatenate([self._recent, np.zeros((more, REACH), np.float32)])
            self._count = np.concatenate([self._count, np.zeros(more, np.int64)])
            self._free = list(range(first + more - 1, first - 1, -1))
        slot = self._free.pop()
        self._recent[slot, -1], self._count[slot] = last, 0
        return slot

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
        self._count[slots] += n
        return passes

    def leave(self, slot: int) -> tuple[FloatArray, int]:
        """Give a slot back; return the latest samples that have passed, REACH at most, and how many have."""
        count = int(self._count[slot])
        self._free.append(slot)
        return self._recent[slot, REACH - min(count, REACH) :].copy(), count
