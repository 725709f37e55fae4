"""The monitor's loop: wait, receive, analyse, show."""

import gc
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent.config import Config
from agent.delays import Delays
from agent.link import Link
from agent.messages import Beat, Event, LinkView, Snapshot
from agent.pipeline import Ward
from model.errors import StreamError
from model.resample import FS

if TYPE_CHECKING:  # PyTorch takes a second to import: the link is opened before
    from agent.classify import Classifier

LONGEST_WAIT_S = 0.1
"""So that the wish to stop, and a silent link, are soon seen."""
WAVE_SAMPLES = 30 * FS
"""The longest wave a screen can show."""


@dataclass(frozen=True, slots=True)
class Until:
    """When to end by itself: after `seconds` (None: never), or once the run of every bed has `ended`."""

    seconds: float | None
    ended: bool


class Clock:
    """Unix time that never steps: read once, then carried on by the monotonic clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()


class Output(Protocol):
    """Where beats and events are shown."""

    @property
    def keyboard(self) -> int | None:
        """What to wait on beside the link."""
        ...

    def show(self, found: list[Beat | Event], session: "Session", now_s: float) -> bool:
        """Show what was found and whatever else is due, tell `session.shown`; False when a person asked for the end."""
        ...

    def patience_s(self, now_s: float) -> float:
        """How long nothing will be due."""
        ...


class Session:
    """One run of the monitor: its link, its ward, and what happened."""

    def __init__(self, link: Link, classifier: "Classifier", config: Config) -> None:
        self.link, self.config = link, config
        self.ward = Ward(config, classifier)
        self.delays = Delays()
        self.clock = Clock()
        self.started_s = self.clock()
        self._device, self._weights = classifier.device, classifier.weights
        self._events: deque[Event] = deque(maxlen=config.dashboard.events)
        self._link_state = "waiting"

    def run(self, output: Output, until: Until, stop: Callable[[], bool]) -> None:
        """Monitor until the end. Raises StreamError where no packet comes within the timeout."""
        # What is loaded by now stays: searching all of PyTorch for garbage would hold up beats for a tenth of a second.
        gc.collect()
        gc.freeze()
        due_s = 0.0
        while not stop():
            self.link.wait(min(LONGEST_WAIT_S, output.patience_s(self.clock())), output.keyboard)
            now_s = self.clock()
            time.sleep(max(0.0, due_s - now_s))
            packets = self.link.packets
            if not output.show(self._step(now_s), self, now_s) or self._over(until, now_s):
                return
            if self.link.packets > packets:
                due_s = now_s + self.config.monitor.tick_ms / 1000

    def snapshot(self, now_s: float) -> Snapshot:
        """All that a frame of the dashboard is drawn from."""
        return Snapshot(
            beds=tuple(self.ward.view(name, WAVE_SAMPLES, now_s) for name in self.ward.beds),
            events=tuple(self._events),
            link=self.link.view(now_s),
            device=self._device,
            weights=self._weights,
            now_s=now_s,
            started_s=self.started_s,
        )

    def shown(self, beats: Iterable[Beat]) -> None:
        """These beats have just reached the person."""
        now_s = self.clock()
        for beat in beats:
            added_ms = 1000 * (now_s - beat.arrived_s)
            self.delays.add(added_ms)
            self.ward.beds[beat.bed].shown(added_ms)

    def summary(self) -> str:
        """The whole run in a line."""
        beds = self.ward.beds.values()
        text = (
            f"{len(beds)} {'bed' if len(beds) == 1 else 'beds'}, {self.delays.count} beats, "
            f"{sum(bed.gaps for bed in beds)} gaps ({sum(bed.missing for bed in beds)} samples), "
            f"{self.link.packets} packets, {self.link.rejected} rejected"
        )
        if not self.delays.count:
            return text
        return f"{text}, added latency p50 {self.delays.quantile(0.5):.1f} ms, p99 {self.delays.quantile(0.99):.1f} ms"

    def _step(self, now_s: float) -> list[Beat | Event]:
        messages = self.link.receive(now_s)
        found: list[Beat | Event] = [message for message in messages if isinstance(message, Event)]
        found += self.ward.push(message for message in messages if not isinstance(message, Event))
        found += self._link_events(self.link.view(now_s))
        self._events += [item for item in found if isinstance(item, Event)]
        return found

    def _link_events(self, link: LinkView) -> list[Event]:
        before, self._link_state = self._link_state, link.state
        if before == "connected" and link.state == "lost" and not self._all_ended():
            return [Event("", 0, "link", f"no packets from {link.endpoint}: waiting for it to come back")]
        if before == "lost" and link.state == "connected":
            return [Event("", 0, "link", f"packets from {link.endpoint} again")]
        return []

    def _over(self, until: Until, now_s: float) -> bool:
        timeout_s = self.config.monitor.timeout_s
        if self._link_state == "waiting" and now_s - self.started_s >= timeout_s:
            raise StreamError(self._no_stream(timeout_s))
        if until.seconds is not None and now_s - self.started_s >= until.seconds:
            return True
        return until.ended and self._all_ended()

    def _all_ended(self) -> bool:
        return bool(self.ward.beds) and all(bed.ended for bed in self.ward.beds.values())

    def _no_stream(self, timeout_s: float) -> str:
        endpoint = self.link.endpoint
        if self.link.rejected:
            return f"only malformed packets from {endpoint} within {timeout_s:g} s: is it a device of ecg-agent?"
        return (
            f"no stream from {endpoint} within {timeout_s:g} s: "
            "start one (ecg-agent simulate record 100), or check --endpoint and --bed"
        )
