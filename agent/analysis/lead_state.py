"""Whether a lead carries a signal at all: one that does not change is off, or saturated where it stands at a rail."""

import numpy as np
from numpy.typing import NDArray

from agent.analysis.stage import Interruption, LeadStateChange, RowIndexArray, RunStart
from agent.core.events import LeadState
from agent.core.messages import FloatArray, Gap
from model.records.resample import FS

RAIL_MARGIN = 0.01
"""A value this near to a rail, as a share of the converter's range, stands at it."""


class LeadOffDetector:
    """Finds stretches of `flat_ms` in every row that move by `flat_uv` microvolts at most from sample to sample."""

    def __init__(self, flat_ms: float, flat_uv: float, rows: int = 1) -> None:
        self.flat_samples = max(2, round(flat_ms * FS / 1000))
        self._step_mv = np.float32(flat_uv / 1000)
        self._last = np.zeros(rows, dtype=np.float32)
        self._next = np.zeros(rows, dtype=np.int64)
        self._changed = np.zeros(rows, dtype=np.int64)
        self._flat = np.zeros(rows, dtype=bool)
        self._rails = np.tile(np.array([-np.inf, np.inf]), (rows, 1))

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        added = LeadOffDetector(1000, 1, rows - len(self._next))
        for name in ("_last", "_next", "_changed", "_flat", "_rails"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(added, name)]))

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run, with the rails of its converter."""
        self.set_rails(row, run.rails)
        self._flat[row] = False
        self._restart_at(row, run.first)

    def set_rails(self, row: int, rails: tuple[float, float]) -> None:
        """Take the rails of a row's converter in millivolts."""
        self._rails[row] = rails

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Look for flat stretches behind a gap only. A lead that is off stays off over it."""
        if isinstance(interruption, Gap):
            self._restart_at(row, interruption.first + interruption.count)

    def push(self, rows: RowIndexArray, x: FloatArray) -> list[LeadStateChange]:
        """Take the next samples `x` (rows, n) in millivolts of `rows` (rows,); return the changes of state in order."""
        moves, changes = self._moves(rows, x), []
        index = self._next[rows, None] + np.arange(x.shape[1])
        if self._may_turn(rows, moves):
            changed = np.maximum.accumulate(np.where(moves, index, self._changed[rows, None]), axis=1)
            flat = index - changed >= self.flat_samples - 1
            turns = flat != np.concatenate([self._flat[rows, None], flat[:, :-1]], axis=1)
            changes = [
                LeadStateChange(
                    int(rows[i]), int(index[i, n]), self._state(rows[i], float(x[i, n])) if flat[i, n] else "ok"
                )
                for i, n in np.argwhere(turns).tolist()
            ]
            self._flat[rows] = flat[:, -1]
        latest = np.where(moves, index, 0).max(axis=1)
        self._changed[rows] = np.maximum(latest, self._changed[rows])
        self._last[rows] = x[:, -1]
        self._next[rows] += x.shape[1]
        return changes

    def may_change(self, rows: RowIndexArray, x: FloatArray) -> bool:
        """Return whether one of the rows (rows,) may change its state in its next samples `x` (rows, n) mV.

        It does not where this says no.
        """
        return self._may_turn(rows, self._moves(rows, x))

    def _moves(self, rows: RowIndexArray, x: FloatArray) -> NDArray[np.bool_]:
        """Return for each next sample (rows, n) whether it differs from the one before."""
        before = np.concatenate([self._last[rows, None], x[:, :-1]], axis=1)
        moves: NDArray[np.bool_] = ~(np.abs(x - before) <= self._step_mv)
        return moves

    def _may_turn(self, rows: RowIndexArray, moves: NDArray[np.bool_]) -> bool:
        """Return whether a row is flat, or may be after its next samples (rows, n), whose `moves` are known."""
        count, samples = moves.shape
        longest = self.flat_samples - 1
        still = int((self._next[rows] - self._changed[rows]).max())
        if self._flat[rows].any() or still >= longest or longest < 2:
            return True
        if still + samples < longest:
            return False
        part = min(longest - still, longest // 2)  # where a row becomes flat, it does not move in one whole part
        parts = moves[:, : samples // part * part].reshape(count, -1, part)
        return not parts.any(axis=2).all()

    def _restart_at(self, row: int, first: int) -> None:
        self._last[row] = np.nan
        self._next[row] = self._changed[row] = first

    def _state(self, row: int, value: float) -> LeadState:
        low, high = self._rails[row]
        margin = RAIL_MARGIN * (high - low)
        return "saturated" if value <= low + margin or value >= high - margin else "lead off"
