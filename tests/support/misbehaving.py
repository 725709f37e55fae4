"""Many well-behaved beds beside one that is not, for tests/test_misbehaving.py: one device, a link, a monitor.

Sockets are real; the clock is injected, so that an hour takes seconds and no result depends on the load of the machine.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Self
from uuid import uuid4

import numpy as np
import zmq
from conftest import record_counts
from numpy.typing import NDArray

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config, override_config
from agent.core.events import Event
from agent.core.messages import Alarm, Beat, Chunk, End, FloatArray, Lead, Result, Strip
from agent.core.wording import event_text
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.pipeline.sample_stages import Findings
from agent.wire import packets
from model.records.resample import FS

TICK = 25
"""Samples of a packet, 200 ms."""
BAD = "bed 1"
FENCE = "~"
"""The bed that is sent last in every tick: once it has arrived, so have all others."""
LEAD = Lead("II", "mV", 1000.0, 0.0, -5120, 5115)
RECORDS = ("100", "105", "106", "119", "201", "208", "213", "222")
PATIENCE_S = 120.0
Frames = list[bytes]
Behaviour = Callable[[int], Iterable[Frames]]
"""What a bed sends in tick `n`."""


def packet(
    bed: str, run: str, first: int, counts: NDArray[np.signedinteger], fs: float = FS, lead: Lead = LEAD
) -> Frames:
    """Return the frames of a packet of one lead, `counts` (n,)."""
    return packets.encode_frames(Chunk(bed, run, first, fs, (lead,), counts[:, None].astype(np.int32), 1.0, 0.0, first))


def heart(place: int, seconds: float) -> NDArray[np.int32]:
    """Return (n,) int32 counts of a patient."""
    return record_counts(RECORDS[place % len(RECORDS)], seconds, 20.0 * (place // len(RECORDS)))


@dataclass
class Outcome:
    """The results of a monitor for every bed, and what they cost."""

    found: list[Result] = field(default_factory=list)
    shown: tuple[Event, ...] = ()
    ledgers: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    beds: set[str] = field(default_factory=set)
    latest_s: float = 0.0
    """The longest delay, by the injected clock, from sending a tick of the others to its analysis."""
    most_in_look: int = 0
    """The most samples that went through the stages in one step, while the others were there."""

    def of(self, bed: str) -> list[Result]:
        """Return the results of a bed, without their times by the clock."""
        return [_timeless(item) for item in self.found if item.bed == bed and not isinstance(item, Strip)]

    def events(self, bed: str, kind: str = "") -> list[str]:
        """Return the texts of a bed's events."""
        events = [item for item in self.found if isinstance(item, Event) and item.bed == bed]
        return [event_text(event) for event in events if kind in ("", event.kind)]

    def alarms(self, bed: str) -> list[Alarm]:
        return [item for item in self.found if isinstance(item, Alarm) and item.bed == bed]


def _timeless(one: Result) -> Result:
    if isinstance(one, Beat):
        return replace(one, arrived_s=0.0, sent_s=0.0)
    return replace(one, announced_s=0.0) if isinstance(one, Alarm) else one


class Scene:
    """A device of `beds` well-behaved beds and one more, and a monitor of all."""

    def __init__(self, config: Config, classifier: BeatClassifier, beds: int, seconds: float) -> None:
        self._publisher: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        self._publisher.setsockopt(zmq.SNDHWM, 0)
        endpoint = f"inproc://{uuid4().hex}"
        self._publisher.bind(endpoint)
        config = override_config(config, "link", endpoint=endpoint, patience_ms=0.0)
        self.link = LinkReceiver(config, ())
        self._publisher.recv()  # the subscription has arrived
        self.session = MonitorSession(self.link, classifier, config)
        self._start_s = self.now_s = self.session.started_s
        self.session.clock = self._now  # type: ignore[assignment]
        turns = count()
        self.session.pipeline._clock = lambda: float(next(turns))  # a push is over after one turn, however fast it was
        self._in_look = 0
        samples = self.session.pipeline.samples
        self._stages, samples.push = samples.push, self._analyse  # type: ignore[method-assign]
        self.names = [f"bed {i}" for i in range(10, 10 + beds)]
        self._hearts = [heart(i, seconds) for i in range(beds)]
        self._ticks = round(seconds * FS / TICK)

    def _now(self) -> float:
        return self.now_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        self._publisher.close(linger=0)

    def play(self, behaviour: Behaviour = lambda _: ()) -> Outcome:
        """Send all ticks: half of the beds, the misbehaving one, the others, the fence."""
        out, half = Outcome(), len(self.names) // 2
        for tick in range(self._ticks):
            self.now_s = sent_s = self._start_s + (tick + 1) * TICK / FS
            self._send(tick, self.names[:half], self._hearts[:half])
            for frames in behaviour(tick):
                self._publisher.send_multipart(frames)
            self._send(tick, self.names[half:], self._hearts[half:])
            self._publisher.send_multipart(packet(FENCE, "run", TICK * tick, np.arange(TICK)))
            self._receive(TICK * (tick + 1), out)
            out.latest_s = max(out.latest_s, self.now_s - sent_s)
        for name in (*self.names, FENCE):
            self._publisher.send_multipart(packets.encode_frames(End(name, "run", TICK * self._ticks, FS, self._ticks)))
        self._receive_end(out)
        ward = self.session.pipeline
        out.shown = tuple(logged.event for logged in self.session.ward_snapshot(self.now_s).events)
        out.beds = set(ward.beds)
        out.ledgers = {
            name: (ledger.sent, ledger.analysed, ledger.missing)
            for name in ward.beds
            if (ledger := self.session.ledger(name))
        }
        return out

    def _send(self, tick: int, names: Sequence[str], hearts: Sequence[NDArray[np.int32]]) -> None:
        for name, counts in zip(names, hearts, strict=True):
            first = TICK * tick
            self._publisher.send_multipart(packet(name, "run", first, counts[first : first + TICK]))

    def _receive(self, fence: int, out: Outcome) -> None:
        """Step until the fence is analysed; a step in which nothing came takes 10 ms by the injected clock."""
        until_s = time.monotonic() + PATIENCE_S
        while self.link.sent(FENCE) < fence or self.session.ledger(FENCE).analysed < fence:
            assert time.monotonic() < until_s, "the other beds are held up"
            taken = self.link.packets + self.link.rejected
            self.link.wait(0.05)
            self._look(out)
            out.most_in_look = max(out.most_in_look, self._in_look)
            if taken == self.link.packets + self.link.rejected:
                self.now_s += 0.01

    def _receive_end(self, out: Outcome) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not self.session.pipeline.beds[FENCE].ended:
            assert time.monotonic() < until_s, "the other beds are held up"
            self.link.wait(0.05)
            self._look(out)
            self.now_s += 0.01
        out.found += self.session.step(self.link.finish(self.now_s), self.now_s, ended=True)

    def _look(self, out: Outcome) -> None:
        self._in_look = 0
        out.found += self.session.step(self.link.receive(self.now_s), self.now_s)

    def _analyse(self, rows: NDArray[np.intp], x: FloatArray) -> Findings:
        self._in_look += x.size
        return self._stages(rows, x)
