"""The ECG of a Polar H10 strap as a source: `polar`, `polar:ADDRESS`, `polar:NAME`.

A strap says 130 Hz and sends 128 to 131. Its clock stamps the last sample of each packet, so its true rate is
estimated first, and the signal of that time is sent then. Nothing is kept on the strap: what the radio loses is lost.
"""

import queue
import time
from collections.abc import Callable

import numpy as np

from agent.bridge.loss_finder import LossFinder, SampleIntake
from agent.bridge.sensor_source import NOTHING_YET, LostSourceError, SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import SourceOptions
from agent.bridge.strap_link import WORN_BY_ANOTHER, StrapLink, StrapPacket, parse_adapter
from agent.wire.packets import LARGEST_NAME_BYTES
from model.errors import SourceError
from model.text import make_printable

NOMINAL_FS = 130.0
MOST_DEVIATION = 0.03
"""A rate estimated further away than this from the nominal one is not believed."""
FIRST_PACKET_S = 35.0
"""Some straps take half a minute from the start of the ECG to the first packet."""
SILENT_S = 3.0
"""A strap that has sent, and is silent for five packets, is out of range: it is connected again."""
PACKET_DELAY_S = 0.6
"""A packet is complete this long after its first sample."""


class PolarSource:
    """One strap; `place`: its address or name, "" for the only one there is, and the adapter as in `?adapter=hci1`."""

    is_over = False

    def __init__(self, place: str, options: SourceOptions, now: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError for a place that makes no sense."""
        wanted, _, query = place.partition("?")
        self._wanted, self._adapter = wanted.strip(), parse_adapter(query)
        self.name = self._wanted or "Polar strap"
        self._options, self._now = options, now
        self._link: StrapLink | None = None
        self._layout: SourceLayout | None = None
        self._intake: SampleIntake | None = None
        self._announced = False
        self._opened_s = self._heard_s = 0.0
        self._has_sent = False
        self._waiting: list[StrapPacket] = []
        """Packets that come while the rate is estimated."""

    def open(self) -> None:
        """Find the strap and connect. Raises SourceError, and ConfigError where the extra is missing."""
        self.close()
        # The strap that was chosen stays the chosen one
        link = self._link = StrapLink(self._layout.identity if self._layout else self._wanted, self._adapter)
        try:
            link.connect()
        except SourceError:
            self.close()
            raise
        self.name = link.name
        self._opened_s = self._heard_s = self._now()
        self._announced = self._has_sent = False
        self._waiting.clear()

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        """Return what comes next, as `SensorSource` says; the layout once the rate is known."""
        assert self._link is not None
        if self._layout is not None and not self._announced:
            self._announced = True
            return self._layout
        if self._intake is not None and (reading := self._intake.take()) is not None:
            return reading
        try:
            packet = self._link.packets.get(timeout=timeout_s) if timeout_s else self._link.packets.get_nowait()
        except queue.Empty:
            return self._wait_for_packets()
        self._heard_s = self._now()
        self._has_sent = True
        if self._layout is not None:
            self._add(packet)
            return self._intake.take() if self._intake else None
        self._waiting.append(packet)
        fs = self._options.fs or self._estimate_rate()
        if fs is None:
            return NOTHING_YET
        self._begin(fs)
        return None

    def close(self) -> None:
        """Disconnect."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def remark(self) -> str:
        """Say the state of the battery and how late the samples are, or what is waited for."""
        if self._layout is None:
            waits = not self._waiting
            return "waiting for its first samples" if waits else f"measuring its rate for {self._options.measure_s:g} s"
        battery = f"battery {level} %, " if self._link and (level := self._link.battery) is not None else ""
        return f"{battery}samples {PACKET_DELAY_S:g} s late, in packets"

    def _wait_for_packets(self) -> SourceReading | None:
        """Return a sign of life while the first packet is awaited. Raises LostSourceError, or SourceError."""
        assert self._link is not None
        silent_s = self._now() - self._heard_s
        if self._link.lost.is_set():
            raise LostSourceError(f"{self.name} is disconnected: out of range, taken off, or its battery is empty")
        if self._has_sent:
            if silent_s > SILENT_S:
                raise LostSourceError(f"{self.name} sends nothing for {SILENT_S:g} s: out of range?")
            return None
        if silent_s > FIRST_PACKET_S:
            raise LostSourceError(f"{self.name} is connected, but sends no ECG: {WORN_BY_ANOTHER}")
        return NOTHING_YET

    def _estimate_rate(self) -> float | None:
        """Return the rate by the strap's own clock, None while it is too early to say."""
        samples, span_s = 0, 0.0
        for before, after in zip(self._waiting, self._waiting[1:], strict=False):
            step_s = after.stamp_s - before.stamp_s
            count = len(after.microvolts)
            if abs(step_s * NOMINAL_FS / count - 1) <= MOST_DEVIATION:  # neither a loss nor a clock that was set
                samples += count
                span_s += step_s
        if span_s >= self._options.measure_s:
            return round(samples / span_s, 1)
        waited_s = self._heard_s - self._opened_s
        return NOMINAL_FS if waited_s > FIRST_PACKET_S + 2 * self._options.measure_s else None

    def _begin(self, fs: float) -> None:
        """Begin with the packets that have waited."""
        assert self._link is not None
        given = make_printable(self._options.names[0], LARGEST_NAME_BYTES) if self._options.names else ""
        self._layout = SourceLayout(fs, (source_lead(given or "ECG", "uV", 1.0),), self._link.address)
        self._intake = SampleIntake(LossFinder(fs, doubt_s=0.0), 1)
        for packet in self._waiting:
            self._add(packet)
        self._waiting.clear()

    def _add(self, packet: StrapPacket) -> None:
        assert self._layout is not None
        assert self._intake is not None
        count = len(packet.microvolts)
        stamps = packet.stamp_s + np.arange(1 - count, 1) / self._layout.fs
        self._intake.add(np.array(packet.microvolts, np.int32)[:, None], stamps, None, self._now())
