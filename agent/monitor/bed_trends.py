"""The trend of each bed by the minute: sums of each of the last 24 hours' minutes, kept in memory."""

from array import array
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np

from agent.core.look_back import MINUTE_S, BedTrend, MinuteTotals
from agent.core.messages import Beat, BedsChunk, Chunk, FloatArray, Gap, Signals, StreamedRun

KEPT_MINUTES = 24 * 60
_DROPPED_MINUTES = 60
"""Minutes that are dropped at once when there are more."""
MOST_AHEAD_S = 60.0
"""A device's time further ahead of ours than this, or older than what is kept, is not believed."""
LEAST_SIGNAL_S = 10.0
"""Seconds of signal of a minute from which its V and S beats a minute are told."""
_WIDTH = len(MinuteTotals._fields)
_RATE, _RATES, _LOWEST, _HIGHEST, _V, _S, _QUALITY, _QUALITIES, _SIGNAL, _MISSING = range(_WIDTH)


class _BedMinutes:
    """The minutes of one bed, `rows` of _WIDTH numbers each, from minute `first` on."""

    __slots__ = ("end_s", "first", "rows", "together")

    def __init__(self, minute: int) -> None:
        self.first = minute
        self.rows = array("f", bytes(4 * _WIDTH))
        self.end_s = 0.0
        """Unix time of the latest sample."""
        self.together: _SignalTogether | None = None
        """What counts its signal now, to be settled before signal or end are read or changed here."""

    def place(self, minute: int) -> int:
        """Return where the row of a minute begins; -1 for one that is older than what is kept."""
        at = (minute - self.first) * _WIDTH
        return at if 0 <= at < len(self.rows) else self._make_room(minute)

    def _make_room(self, minute: int) -> int:
        count = len(self.rows) // _WIDTH
        last = self.first + count - 1
        if minute < self.first:
            if last - minute >= KEPT_MINUTES:
                return -1
            self.rows = array("f", bytes(4 * _WIDTH * (self.first - minute))) + self.rows
            self.first = minute
        elif minute - last >= KEPT_MINUTES:
            self.first, self.rows = minute, array("f", bytes(4 * _WIDTH))
        else:
            self.rows.frombytes(bytes(4 * _WIDTH * (minute - last)))
            if minute - self.first >= KEPT_MINUTES + _DROPPED_MINUTES:
                del self.rows[: (minute - KEPT_MINUTES + 1 - self.first) * _WIDTH]
                self.first = minute - KEPT_MINUTES + 1
        return (minute - self.first) * _WIDTH


class _SignalTogether:
    """The seconds of signal, of one minute, of beds that come together: counted for all of them at once."""

    __slots__ = ("_beds", "_minute", "_rates", "_runs", "_seconds", "end_s")

    def __init__(self, runs: Sequence[StreamedRun], beds: Sequence[_BedMinutes], minute: int) -> None:
        self._runs, self._beds, self._minute = runs, beds, minute
        self._rates = np.array([run.fs for run in runs])
        places = [bed.place(minute) for bed in beds]
        before = [bed.rows[at + _SIGNAL] if at >= 0 else 0.0 for bed, at in zip(beds, places, strict=True)]
        self._seconds = np.array(before, np.float32)
        self.end_s = 0.0
        for bed in beds:
            bed.together = self

    def counts(self, runs: Sequence[StreamedRun], minute: int) -> bool:
        """Return whether it counts this minute of these runs."""
        return runs is self._runs and minute == self._minute

    def add(self, samples: int, end_s: float) -> None:
        """Count so many samples of each bed."""
        self._seconds += samples / self._rates
        self.end_s = end_s

    def settle(self) -> None:
        """Hand over to the beds, and end."""
        for bed, seconds in zip(self._beds, self._seconds.tolist(), strict=True):
            bed.end_s, bed.together = self.end_s, None
            at = bed.place(self._minute)
            if at >= 0:
                bed.rows[at + _SIGNAL] = seconds


class BedTrends:
    """Counts beats and signal of every bed by the minute in which the device sent them."""

    def __init__(self) -> None:
        self._beds: dict[str, _BedMinutes] = {}

    def note_signal(self, messages: Iterable[object], now_s: float) -> None:
        """Count the seconds of signal, and of gaps."""
        for message in messages.together if isinstance(messages, Signals) else messages:
            if isinstance(message, Chunk):
                self._note_samples(message, now_s)
            elif isinstance(message, BedsChunk):
                self._note_together(message, now_s)
            elif isinstance(message, Gap) and (kept := self._settled(message.bed)):
                self._note_gap(kept, message.count / message.fs, now_s)

    def note_beat(self, beat: Beat, now_s: float) -> None:
        """Count a beat."""
        minute = int(_believed_s(beat.sent_s or beat.arrived_s, now_s)) // MINUTE_S
        kept = self._beds.get(beat.bed)
        if kept is None:
            kept = self._beds[beat.bed] = _BedMinutes(minute)
        at = kept.place(minute)
        if at < 0:
            return
        rows, rate = kept.rows, beat.heart_rate
        if rate is not None:
            if not rows[at + _RATES] or rate < rows[at + _LOWEST]:
                rows[at + _LOWEST] = rate
            if rate > rows[at + _HIGHEST]:
                rows[at + _HIGHEST] = rate
            rows[at + _RATE] += rate
            rows[at + _RATES] += 1
        if beat.label == "V":
            rows[at + _V] += 1
        elif beat.label == "S":
            rows[at + _S] += 1
        if beat.quality is not None:
            rows[at + _QUALITY] += beat.quality
            rows[at + _QUALITIES] += 1

    def add(self, bed: str, minutes: Iterable[tuple[int, MinuteTotals]]) -> None:
        """Add what a recording has of minutes, the earliest first."""
        for minute, totals in minutes:
            kept = self._settled(bed)
            if kept is None:
                kept = self._beds[bed] = _BedMinutes(minute)
            at = kept.place(minute)
            if at < 0:
                continue
            rows = kept.rows
            low, high = rows[at + _LOWEST], rows[at + _HIGHEST]
            for column, value in enumerate(totals):
                rows[at + column] += value
            rows[at + _LOWEST] = min(filter(None, (low, totals.lowest)), default=0.0)
            rows[at + _HIGHEST] = max(high, totals.highest)

    def trend(self, bed: str, hours: int, now_s: float) -> BedTrend:
        """Return the last `hours` of a bed up to this minute; all NaN for a bed of which nothing is known."""
        count = hours * 60
        first = int(now_s) // MINUTE_S - count + 1
        table = np.zeros((count, _WIDTH), np.float32)
        if kept := self._settled(bed):
            rows = np.frombuffer(kept.rows, np.float32).reshape(-1, _WIDTH)
            begin, end = max(first, kept.first), min(first + count, kept.first + len(rows))
            if end > begin:
                table[begin - first : end - first] = rows[begin - kept.first : end - kept.first]
        return _trend_of(bed, first, table)

    def size(self) -> int:
        """Return the bytes that the minutes of all beds take."""
        return sum(len(kept.rows) * kept.rows.itemsize for kept in self._beds.values())

    def _settled(self, bed: str) -> _BedMinutes | None:
        """Return the minutes of a bed with all that has come; None if nothing is known of it."""
        kept = self._beds.get(bed)
        if kept is not None and kept.together is not None:
            kept.together.settle()
        return kept

    def _note_together(self, chunk: BedsChunk, now_s: float) -> None:
        """Count samples of beds that came together."""
        stamp_s = _believed_s(chunk.sent_s or chunk.arrived_s, now_s)
        minute = int(stamp_s) // MINUTE_S
        runs = chunk.runs
        kept = self._beds.get(runs[0].bed)
        if kept is None or (together := kept.together) is None or not together.counts(runs, minute):
            beds = [self._settled(run.bed) for run in runs]
            for place, run in enumerate(runs):
                if beds[place] is None:
                    beds[place] = self._beds[run.bed] = _BedMinutes(minute)
            together = _SignalTogether(runs, cast(list[_BedMinutes], beds), minute)
        together.add(chunk.samples, stamp_s)

    def _note_samples(self, chunk: Chunk, now_s: float) -> None:
        """Count samples of a bed."""
        stamp_s = _believed_s(chunk.sent_s or chunk.arrived_s, now_s)
        minute = int(stamp_s) // MINUTE_S
        kept = self._settled(chunk.bed)
        if kept is None:
            kept = self._beds[chunk.bed] = _BedMinutes(minute)
        kept.end_s = stamp_s
        at = kept.place(minute)
        if at >= 0:
            kept.rows[at + _SIGNAL] += len(chunk.counts) / chunk.fs

    def _note_gap(self, kept: _BedMinutes, seconds: float, now_s: float) -> None:
        """Count a gap in the minutes that it lies in, from the latest sample on."""
        begin_s, end_s = kept.end_s, min(kept.end_s + seconds, now_s)
        begin_s = max(begin_s, end_s - KEPT_MINUTES * MINUTE_S)
        while begin_s < end_s:
            minute = int(begin_s) // MINUTE_S
            until_s = min(end_s, (minute + 1) * MINUTE_S)
            at = kept.place(minute)
            if at >= 0:
                kept.rows[at + _MISSING] += until_s - begin_s
            begin_s = until_s
        kept.end_s = max(kept.end_s, end_s)


def _believed_s(stamp_s: float, now_s: float) -> float:
    """Return a device's time, or ours if that cannot be."""
    return stamp_s if now_s - KEPT_MINUTES * MINUTE_S < stamp_s <= now_s + MOST_AHEAD_S else now_s


def _trend_of(bed: str, first: int, table: FloatArray) -> BedTrend:
    """Return the trend of a table (n, _WIDTH) float32 of totals from minute `first` on."""
    columns = np.ascontiguousarray(table.T)
    signal_s, missing_s = columns[_SIGNAL], columns[_MISSING]
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.where(columns[_RATES] > 0, np.float32(1), np.float32("nan"))
        a_minute = np.where(signal_s >= LEAST_SIGNAL_S, MINUTE_S / signal_s, np.float32("nan"))
        return BedTrend(
            bed=bed,
            first_minute=first,
            heart_rate=columns[_RATE] / columns[_RATES],
            lowest=columns[_LOWEST] * known,
            highest=columns[_HIGHEST] * known,
            v_beats=(columns[_V] * a_minute).astype(np.float32),
            s_beats=(columns[_S] * a_minute).astype(np.float32),
            quality=columns[_QUALITY] / columns[_QUALITIES],
            missing=missing_s / (signal_s + missing_s),
        )
