"""A record as the device would send it: resampled to 125 Hz, quantised, with the leads of its header.

Before that, pacemaker pulses are blanked as devices do, and short holes are bridged: for the filter only, since the
samples in them are sent as MISSING. The samples are those of the whole record resampled at once, whatever the block
size and the place to start from.
"""

from collections.abc import Collection, Iterator
from functools import cached_property
from math import ceil, floor, log10
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from agent.core.lead_units import RAW_UNITS, UNITS_MV, is_ecg_unit
from agent.core.messages import MISSING, Chunk, End, Lead, quantise_to_counts
from agent.core.sample_index import first_index_at_125_hz
from agent.wire.packets import LARGEST_NAME_BYTES, MOST_LEADS
from model.errors import RecordError
from model.records.lead_choice import rank_leads
from model.records.resample import FS, Resampler, resampling_ratio
from model.records.signal_conditioning import condition_signal, conditioning_reach
from model.records.wfdb_records import Record, RecordSignal, read_record_samples
from model.text import make_printable

RECORD_BLOCK_S = 300.0
"""Seconds of a record in memory at a time."""
FILTER_REACH_S = 1.0
"""More than the resampling filter reaches beyond a sample: ten samples of the slower rate, 0.5 s at 20 Hz."""
FIRST_VALUE_S = 10.0
"""Seconds of a record that are read at a time to find the first value of each signal."""
OTHER_UNIT_RANGE = 30_000
"""Counts within which the rails of a lead come to lie that measures no voltage."""
LONGEST_UNIT_NAME = 16


class ResampledRecord:
    """A record at 125 Hz, read in blocks of about `block_s` seconds.

    `columns`: its signals that are sent: those of the `chosen` leads, or all that can be (None). `leads`: one for each
    of them, a count being a microvolt where the signal is a voltage. `length`: samples of the whole record at 125 Hz.

    Raises
    ------
    RecordError
        The record cannot be read, or its rate is none of an ECG.
    """

    def __init__(self, record: Record, block_s: float = RECORD_BLOCK_S, chosen: Collection[str] | None = None) -> None:
        self.record = record
        sent = zip(sent_signals(record), record_leads(record), strict=True)
        kept = [(column, lead) for column, lead in sent if not chosen or lead.name in chosen]
        self.columns, self.leads = tuple(column for column, _ in kept), tuple(lead for _, lead in kept)
        self.length = resampled_length(record)
        self._gains = np.array([lead.gain for lead in self.leads])
        self._block = max(1, round(block_s * FS))
        # Other edges for each record: a ward does not read all its records in one instant.
        self._shift = self._block * (crc32(record.name.encode()) % 64) // 64

    def block_edges(self, start: int) -> tuple[int, int]:
        """Return the first sample of the block that sample `start` lies in, and the first of the next block."""
        edge = start - (start - self._shift) % self._block
        return max(0, edge), min(edge + self._block, self.length)

    def read_samples(self, start: int, stop: int) -> NDArray[np.float64]:
        """Read samples `start` to `stop` at 125 Hz: (n, leads) in the record's units, NaN where it has no value."""
        resampler = Resampler(self.record.fs, len(self.leads), start)
        end = min(ceil((stop / FS + FILTER_REACH_S) * self.record.fs), self.record.length)
        x, missing = self._condition(resampler.first_input, end)
        # The filter sees the first value before the record and the last one behind it, for it not to ring.
        base = self._first_values
        samples = resampler.push(x - base)
        if end == self.record.length and len(x):
            after = ceil(FILTER_REACH_S * self.record.fs)
            rest = resampler.push(np.tile(np.nan_to_num(x[-1] - base), (after, 1)))
            samples = np.concatenate([samples, rest])
        samples = samples[: stop - start] + base
        for lead, first, behind in missing:
            samples[max(0, first - start) : max(0, behind - start), lead] = np.nan
        return samples

    def _condition(self, first: int, end: int) -> tuple[NDArray[np.float64], list[tuple[int, int, int]]]:
        """Read samples `first` to `end` of the record (n, leads), short holes bridged and pulses blanked.

        Also return the holes: lead, and at 125 Hz their first sample and the one behind them.
        """
        reach = conditioning_reach(self.record.fs)
        begin = max(0, first - reach)
        x = read_record_samples(self.record, begin, min(end + reach, self.record.length))[:, self.columns]
        ratio = resampling_ratio(self.record.fs)
        missing: list[tuple[int, int, int]] = []
        for lead, column in enumerate(self.columns):
            unit_mv = UNITS_MV.get(self.record.signals[column].unit, 0.0)
            conditioned = condition_signal(x[:, lead], self.record.fs, unit_mv)
            x[:, lead] = conditioned.x
            for hole in conditioned.holes:
                start, behind = (first_index_at_125_hz(begin + edge, ratio) for edge in hole)
                missing.append((lead, start, behind))
        return x[first - begin : end - begin], missing

    @cached_property
    def _first_values(self) -> NDArray[np.float64]:
        """The first value of each signal (leads,), 0 where it has none."""
        values = np.full(len(self.leads), np.nan)
        block = ceil(FIRST_VALUE_S * self.record.fs)
        for start in range(0, self.record.length, block):
            x = read_record_samples(self.record, start, start + block)[:, self.columns]
            there = ~np.isnan(x)
            values = np.where(np.isnan(values), x[there.argmax(axis=0), np.arange(len(values))], values)
            if not np.isnan(values).any():
                break
        first: NDArray[np.float64] = np.nan_to_num(values)
        return first

    def quantise(self, samples: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return (n, leads) samples in the units of the record as counts (n, leads), MISSING where they are NaN."""
        return quantise_to_counts(samples, self._gains)


def record_chunks(
    record: Record, run: str, block_s: float = RECORD_BLOCK_S, chosen: Collection[str] | None = None
) -> Iterator[Chunk | End]:
    """Yield a record as the device would send it, in chunks, then the End of its run.

    Parameters
    ----------
    record
        A WFDB record; the bed has its name.
    run
        Name of the run.
    block_s
        Seconds of signal in a chunk, about. The samples do not depend on it.
    chosen
        Names of the leads to send, of those that `record_leads` returns; None for all. The samples of a lead do not
        depend on the others.

    Yields
    ------
    Chunk | End
        Counts (n, leads) int32 at 125 Hz, microvolts where the signal is a voltage, MISSING where there is no value.

    Raises
    ------
    RecordError
        The record cannot be read, or its rate is none of an ECG.
    """
    resampled = ResampledRecord(record, block_s, chosen)
    first = 0
    while first < resampled.length:
        stop = resampled.block_edges(first)[1]
        counts = resampled.quantise(resampled.read_samples(first, stop))
        yield Chunk(record.name, run, first, float(FS), resampled.leads, counts, 0.0)
        first = stop
    yield End(record.name, run, first, float(FS))


def resampled_length(record: Record) -> int:
    """Return the samples of a whole record at 125 Hz. Raises RecordError where its rate is none of an ECG."""
    try:
        resampler = Resampler(record.fs, 1)
    except ValueError as error:
        raise RecordError(f"record {record.path} cannot be resampled: {error}; check its header") from error
    return -(-record.length * resampler.up // resampler.down)


def sent_signals(record: Record) -> tuple[int, ...]:
    """Return the indices of the signals that are sent: all or, of too many for a packet, the likeliest ECG leads."""
    if len(record.signals) <= MOST_LEADS:
        return tuple(range(len(record.signals)))
    names = [signal.name for signal in record.signals]
    ranked = rank_leads(names, [is_ecg_unit(signal.unit) for signal in record.signals]) or tuple(range(MOST_LEADS))
    return tuple(sorted(ranked[:MOST_LEADS]))


def record_leads(record: Record) -> tuple[Lead, ...]:
    """Return the `sent_signals` of a record as leads of the wire; repeated names get a number."""
    names: list[str] = []
    signals = [record.signals[column] for column in sent_signals(record)]
    for signal in signals:
        names.append(number_repeated_name(make_printable(signal.name, LARGEST_NAME_BYTES - 4) or "?", names))
    return tuple(_record_lead(name, signal) for name, signal in zip(names, signals, strict=True))


def number_repeated_name(name: str, taken: list[str]) -> str:
    """Return `name`, or the first of name-2, name-3 … that is not taken."""
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return candidate


def other_unit_gain(unit: str, low: float, high: float) -> float:
    """Return the counts of one of a unit that is no voltage, for values from `low` to `high`.

    It is the power of ten that makes good use of 16 bits. Raw counts keep all of their steps.
    """
    largest = max(abs(low), abs(high), 1e-6)
    gain = min(10.0 ** floor(log10(OTHER_UNIT_RANGE / largest)), 1e9)
    return max(gain, 1 / RAW_UNITS[unit]) if unit in RAW_UNITS and largest / RAW_UNITS[unit] <= -MISSING else gain


def _record_lead(name: str, signal: RecordSignal) -> Lead:
    """Return a lead in microvolts, or for other units in the power of ten that makes good use of 16 bits."""
    if signal.unit in UNITS_MV:
        gain = 1000 * UNITS_MV[signal.unit]
    else:
        gain = other_unit_gain(signal.unit, signal.low, signal.high)
    # No sample becomes MISSING by saturation, so the rail stands beside it too.
    low, high = (int(np.clip(round(rail * gain), MISSING + 1, -MISSING - 1)) for rail in (signal.low, signal.high))
    return Lead(name, make_printable(signal.unit, LONGEST_UNIT_NAME) or "?", gain, 0.0, min(low, high - 1), high)
