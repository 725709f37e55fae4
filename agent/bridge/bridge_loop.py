"""The loop of a bridge: read a source, send what it says, open it again when it is lost."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.bridge.device_stream import DeviceStream
from agent.bridge.rate_meter import RateMeter, describe_rate_error
from agent.bridge.sensor_source import LostSourceError, SensorSource, SourceLayout, SourceReading
from agent.core.config import BridgeConfig
from model.errors import SourceError

STATUS_S = 0.5
MOST_READS = 100
"""Reads of a source between two looks at the clock."""
RATE_SPAN_S = 20.0
"""A rate that differs from what the source says is told once it was measured for this time."""
RATE_TOLERANCE = 0.01
WARM_UP_S = 3.0
"""A run may begin with a burst of what has waited: its rate is measured after that."""


@dataclass(frozen=True, slots=True)
class BridgeStatus:
    """The progress of a bridge: what the source says of its rate `fs`, and the rate that is `measured` (None: unknown).

    `samples` sent, `lost` of them before they came here, `interruptions` of the source, `silent_s` since its last
    sample, and the `remark` of the source.
    """

    fs: float | None
    measured: float | None
    samples: int
    lost: int
    interruptions: int
    silent_s: float
    connected: bool
    remark: str


@dataclass(frozen=True, slots=True)
class BridgeClock:
    """`now`: monotonic seconds; `sleep`: wait for seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class BridgeLoop:
    """One source and its stream.

    `tell`: takes a line for a person whenever something happens. `patient`: wait for a source that is not there at the
    start, instead of failing.
    """

    def __init__(
        self,
        source: SensorSource,
        stream: DeviceStream,
        settings: BridgeConfig,
        tell: Callable[[str], None],
        patient: bool = False,
        clock: BridgeClock | None = None,
    ) -> None:
        self._source, self._stream, self._settings, self._tell = source, stream, settings, tell
        self._patient, self._clock = patient, clock or BridgeClock()
        self._rate = RateMeter()
        self._interruptions = 0
        self._connected = self._interrupted = self._was_silent = self._rate_told = False
        self._pause_s = 0.0
        self._told: set[str] = set()
        """What was told: it is not said again before samples have come."""
        self._heard_s = self._alive_s = self._run_s = self._clock.now()
        """When the last samples came, the last sign of life, and the run began; at first when the bridge did."""

    def run(self, stop: Callable[[], bool], status: Callable[[BridgeStatus], None]) -> BridgeStatus:
        """Send what comes until the source is over or `stop` returns True, then the End. Return the final status.

        `stop` is called at least ten times a second, `status` twice a second. Raises SourceError where the source
        cannot be opened at the start, or sends what cannot be an ECG.
        """
        reported_s = -STATUS_S
        try:
            while not stop() and not self._source.is_over:
                if not self._connected and not self._connect(stop):
                    break
                began_s = self._clock.now()
                self._read_all()
                if (now_s := self._clock.now()) - reported_s >= STATUS_S:
                    reported_s = now_s
                    self._watch_silence(now_s)
                    self._watch_rate()
                    status(self.status())
                # What arrives meanwhile waits in the source: one packet of it costs less than many
                self._clock.sleep(max(0.0, began_s + self._settings.tick_ms / 1000 - self._clock.now()))
        finally:
            self._source.close()
            self._stream.end()
        return self.status()

    def status(self) -> BridgeStatus:
        """Return how things stand."""
        layout = self._stream.layout
        return BridgeStatus(
            layout.fs if layout else None,
            self._rate.fs,
            self._stream.samples,
            self._stream.lost,
            self._interruptions,
            self._clock.now() - self._alive_s,
            self._connected,
            self._source.remark(),
        )

    def _connect(self, stop: Callable[[], bool]) -> bool:
        """Open the source, trying again with growing pauses; return False if stopped meanwhile."""
        while self._wait(stop):
            self._pause_s = min(max(2 * self._pause_s, self._settings.first_pause_s), self._settings.longest_pause_s)
            try:
                self._source.open()
            except SourceError as error:
                if not (self._interruptions or self._patient):
                    raise
                self._tell_once(f"{error}; trying again")
                continue
            self._connected = True
            self._alive_s = self._clock.now()
            self._tell_once(f"{self._source.name} is {'back' if self._interruptions else 'open'}")
            return True
        return False

    def _wait(self, stop: Callable[[], bool]) -> bool:
        """Wait for the pause before the next attempt; return False if stopped meanwhile."""
        until_s = self._clock.now() + self._pause_s
        while (left_s := until_s - self._clock.now()) > 0 and not stop():
            self._clock.sleep(min(0.1, left_s))
        return not stop()

    def _tell_once(self, text: str, topic: str = "") -> None:
        """Tell a text unless it, or another of its `topic`, was told since the last samples."""
        if (topic or text) not in self._told:
            self._told.add(topic or text)
            self._tell(text)

    def _read_all(self) -> None:
        """Take what has arrived, waiting for it within a tick."""
        timeout_s = self._settings.tick_ms / 1000
        try:
            for _ in range(MOST_READS):
                item = self._source.read(timeout_s)
                if item is None:
                    return
                self._take(item)
                # After samples the next look is a tick later, unless losses cut what has arrived in pieces
                if self._source.is_over or (isinstance(item, SourceReading) and not item.lost):
                    return
                timeout_s = 0.0
        except LostSourceError as error:
            self._tell_once(str(error))
            self._source.close()
            self._connected = False
            self._interrupted = True
            self._interruptions += 1
            self._rate.reset()

    def _take(self, item: SourceLayout | SourceReading) -> None:
        now_s = self._clock.now()
        self._alive_s = now_s
        self._was_silent = False
        if isinstance(item, SourceLayout):
            if item != self._stream.layout:
                self._fill_interruption(now_s, 0)
                self._begin_run(item)
        elif not len(item.counts):
            if remark := self._source.remark():
                self._tell_once(f"{self._source.name}: {remark}", "waiting")
        else:
            if item.lost:
                self._stream.skip(item.lost)
                self._interrupted = False
            else:
                self._fill_interruption(now_s, len(item.counts))
            self._stream.push(item.counts)
            if now_s - self._run_s >= WARM_UP_S:
                self._rate.add(item.lost + len(item.counts), now_s)
            self._heard_s = now_s
            self._pause_s = self._settings.first_pause_s
            self._told.clear()

    def _begin_run(self, layout: SourceLayout) -> None:
        self._stream.begin(layout)
        self._interrupted = self._rate_told = False
        self._rate.reset()
        self._run_s = self._clock.now()
        names = ", ".join(f"{lead.name} in {lead.unit}" for lead in layout.leads)
        self._tell(f"{self._source.name}: {layout.fs:g} Hz, {names}")

    def _fill_interruption(self, now_s: float, arrived: int) -> None:
        """After an interruption declare as lost what the clock says, less the samples that have just arrived."""
        layout = self._stream.layout
        if not self._interrupted or layout is None:
            return
        lost = max(0, round((now_s - self._heard_s) * layout.fs) - arrived)
        self._tell(f"{self._source.name}: about {lost} samples were lost ({lost / layout.fs:.1f} s)")
        self._stream.skip(lost)
        self._heard_s = now_s
        self._interrupted = False

    def _watch_silence(self, now_s: float) -> None:
        """Say once that a source that is open sends nothing; at the start give it up after a while."""
        if not self._connected or self._was_silent or now_s - self._alive_s < self._settings.timeout_s:
            return
        self._was_silent = True
        text = f"nothing comes from {self._source.name} for {self._settings.timeout_s:g} s"
        if not self._stream.samples and not self._patient and not self._interruptions:
            raise SourceError(f"{text}: is it switched on, and set up to send? {self._source.remark()}".rstrip())
        self._tell(text)

    def _watch_rate(self) -> None:
        """Say once in a run that the source sends at another rate than it says."""
        layout, measured = self._stream.layout, self._rate.fs
        if self._rate_told or layout is None or measured is None or self._rate.span_s < RATE_SPAN_S:
            return
        if abs(measured / layout.fs - 1) > RATE_TOLERANCE:
            self._rate_told = True
            self._tell(
                f"{self._source.name} sends {measured:.1f} samples a second, not {layout.fs:g}: "
                f"{describe_rate_error(layout.fs, measured)}"
            )
