"""The monitor's loop: wait, receive, analyse, show."""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Protocol

from agent.core.clock import SteadyClock
from agent.core.config import Config
from agent.core.events import Event, LinkStateChanged
from agent.core.messages import Alarm, Beat, Chunk, End, Gap, Ledger, LinkView, Result, Strip, WardSnapshot
from agent.link.link_receiver import MOST_PACKETS_READ, LinkReceiver
from agent.monitor.event_limiter import EventLimiter, EventLog
from agent.monitor.latency_histogram import LatencyHistogram
from agent.monitor.resumed_alarms import ResumedAlarms
from agent.monitor.ward_index import AlarmHistory, WardIndex
from agent.pipeline.pipeline import Pipeline
from model.errors import StreamError
from model.records.resample import FS

if TYPE_CHECKING:  # PyTorch takes a second to import: the link is opened before
    from agent.analysis.beat_classifier import BeatClassifier
    from agent.outputs.prometheus import MetricsExporter
    from agent.recording.recorder import Recorder

LONGEST_LINK_WAIT_S = 0.1
"""So that the wish to stop, and a silent link, are soon seen."""
START_DEVICE_HINT = "start one (ecg-agent simulate record 100)"
SAME_BEAT_S = 0.2
"""R peaks closer than this are of one beat."""
LONGEST_LOOP_PAUSE_S = 0.03
"""A look that took long is followed by a pause as long, but no longer than this: with many beds more packets of each
are taken together, which is what makes them cheap."""
GC_THRESHOLDS = (50_000, 20, 1000)
"""Thresholds of the garbage collector: next to nothing here refers to itself, and to look through a thousand beds takes
a fifth of a second."""
SILENCE_CHECK_S = 0.5
"""How often beds are looked at from which nothing comes."""
WAVE_SAMPLES = 30 * FS
"""The longest wave a screen can show."""


@dataclass(frozen=True, slots=True)
class EndCondition:
    """When to end by itself: after `seconds` (None: never), or once the run of every bed has `ended`."""

    seconds: float | None
    ended: bool


class ResultSink(Protocol):
    """Where beats and events are shown."""

    @property
    def keyboard(self) -> int | None:
        """What to wait on beside the link."""
        ...

    def show(self, found: list[Result], session: "MonitorSession", now_s: float) -> bool:
        """Show what was found and whatever else is due, tell `session.shown`; False when a person asked for the end."""
        ...

    def patience_s(self, now_s: float) -> float:
        """How long nothing will be due."""
        ...

    def finish(self, session: "MonitorSession") -> None:
        """Show what is only known at the end."""
        ...


class MonitorSession:
    """One run of the monitor: its link, its ward, its recording where there is one, and what happened."""

    def __init__(
        self,
        link: LinkReceiver,
        classifier: "BeatClassifier",
        config: Config,
        recorder: "Recorder | None" = None,
        metrics: "MetricsExporter | None" = None,
    ) -> None:
        self.link, self.config, self.recorder, self.metrics = link, config, recorder, metrics
        self.ward = Pipeline(config, classifier)
        self.delays = LatencyHistogram()
        self.clock = SteadyClock()
        self.started_s = self.clock()
        self._device, self._weights = classifier.device, classifier.weights
        self._told, self._latest = EventLimiter(lambda name: self._analysed(name)), EventLog(config.dashboard.events)
        self._link_state = "waiting"
        self._glances = WardIndex(self.ward.beds, self.ward.alarms, self.ledger, config.monitor.lost_s)
        self._last_alarms = AlarmHistory()
        self._resumed = ResumedAlarms()
        self._acknowledged: list[Result] = []
        self._watched_s = self.started_s
        if metrics is not None:
            metrics.watch(self)

    def run(self, output: ResultSink, until: EndCondition, stop: Callable[[], bool]) -> None:
        """Monitor until the end. Raises StreamError where no packet comes within the timeout."""
        # What is loaded by now stays: searching all of PyTorch for garbage would hold up beats for a tenth of a second.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        due_s = 0.0
        found = self._resume()
        while not stop():
            patience_s = 0.0 if self.ward.waiting else min(LONGEST_LINK_WAIT_S, output.patience_s(self.clock()))
            self.link.wait(patience_s, output.keyboard)
            now_s = self.clock()
            time.sleep(max(0.0, due_s - now_s))
            began_s = self.clock()
            packets = self.link.packets
            found += self._step(self.link.receive(now_s), now_s)
            if not output.show(found, self, now_s) or self._over(until, now_s):
                break
            found = []
            taken = self.link.packets - packets
            if 0 < taken < MOST_PACKETS_READ and not self.link.behind:  # what waits is looked at without a pause
                pause_s = min(LONGEST_LOOP_PAUSE_S, self.clock() - began_s)
                due_s = max(began_s + self.config.monitor.tick_ms / 1000, self.clock() + pause_s)
        now_s = self.clock()
        output.show(self._step(self.link.finish(now_s), now_s, ended=True), self, now_s)
        output.finish(self)

    def snapshot(self, now_s: float) -> WardSnapshot:
        """All beds in full; a frame of the dashboard takes `glance` and `look` instead."""
        self._glances.forget()
        return self.look(self.glance(now_s), self.ward.beds)

    def glance(self, now_s: float) -> WardSnapshot:
        """All that a frame of the dashboard is drawn from but the beds in full."""
        index, ledger = self._glances.look(now_s)
        return WardSnapshot(
            beds=(),
            events=self._latest.all(),
            link=self.link.view(now_s),
            device=self._device,
            weights=self._weights,
            now_s=now_s,
            started_s=self.started_s,
            recording=self.recorder.view() if self.recorder else None,
            index=index,
            ledger=ledger,
        )

    def look(self, glance: WardSnapshot, names: Iterable[str]) -> WardSnapshot:
        """The same with the beds of these names in full."""
        beds = []
        for name in names:
            view = self.ward.view(name, WAVE_SAMPLES, glance.now_s)
            alarms, last = self._resumed.rename_shown(view.alarms), self._last_alarms.of(name)
            beds.append(replace(view, ledger=self.ledger(name), alarms=alarms, last_alarms=last))
        return replace(glance, beds=tuple(beds))

    def acknowledge(self, bed: str) -> None:
        """A person saw to the alarms of a bed; told of with what is found next."""
        self._acknowledged += self.ward.acknowledge(bed, self.clock())
        self._glances.forget()

    def silence(self, bed: str) -> None:
        """A person wants the alarms of a bed to be silent for a while; or, where they are, to be heard again."""
        self.ward.silence(bed, self.clock())
        self._glances.forget()

    def ledger(self, bed: str) -> Ledger:
        """What became of the samples of a bed since this monitor began, or went on with its recording."""
        at = self.ward.beds[bed]
        return Ledger(self.link.sent(bed), at.analysed, at.lost)

    def shown(self, beats: Iterable[Beat]) -> None:
        """These beats have just reached the person."""
        now_s = self.clock()
        for beat in beats:
            added_ms = 1000 * (now_s - beat.arrived_s)
            self.delays.add(added_ms)
            self.ward.beds[beat.bed].shown(added_ms)
            if self.metrics is not None:
                self.metrics.shown(beat, added_ms / 1000)

    def summary(self) -> str:
        """The whole run in a line."""
        beds = self.ward.beds.values()
        ledgers = [self.ledger(bed) for bed in self.ward.beds]
        sent, analysed, missing = (sum(of) for of in zip(*map(astuple, ledgers), strict=True)) if ledgers else (0, 0, 0)
        under_way = f" + {sent - analysed - missing} under way" if sent != analysed + missing else ""
        text = (
            f"{len(beds)} {'bed' if len(beds) == 1 else 'beds'}, {self.delays.count} beats, "
            f"{sum(bed.gaps for bed in beds)} gaps ({sum(bed.missing for bed in beds)} samples), "
            f"{sent} samples sent = {analysed} analysed + {missing} missing{under_way}, "
            f"{self.link.packets} packets, {self.link.rejected} rejected"
        )
        if not self.delays.count:
            return text
        return f"{text}, added latency p50 {self.delays.quantile(0.5):.1f} ms, p99 {self.delays.quantile(0.99):.1f} ms"

    def _resume(self) -> list[Result]:
        """Go on with the recording where there is one: hear the last of each bed again, ask for what came since.

        Returns the beats and alarms of what was recorded that were not told before.
        """
        if self.recorder is None:
            return []
        positions = {bed: at for bed, at in self.recorder.positions().items() if not at.ended}
        found: list[Result] = []
        from agent.recording.resume import read_last_signal, read_logged_alarms

        folder, warm_s = self.recorder.folder, self.config.record.warm_s
        told_until = {bed: (at.last_beat or 0) + round(SAME_BEAT_S * FS) for bed, at in positions.items()}
        alarms: list[Alarm | Strip] = []
        for message in read_last_signal(folder, positions, warm_s):
            told = self.ward.push([replace(message, arrived_s=self.clock()) if isinstance(message, Chunk) else message])
            found += [item for item in told if isinstance(item, Beat) and item.sample > told_until[item.bed]]
            alarms += [item for item in told if isinstance(item, Alarm | Strip)]
        resumed_at = {bed: round(at.next * FS / at.fs) for bed, at in positions.items()}
        self._resumed = ResumedAlarms(read_logged_alarms(folder, positions, warm_s), resumed_at)
        found += self._resumed.settle(alarms, told_until)
        for bed in self.ward.beds.values():
            bed.analysed = bed.lost = bed.gaps = bed.missing = 0  # those of the monitor that was here before
        self.link.resume(positions, self.clock())
        self.recorder.push([], found, self.clock())
        self._last_alarms.take(found)
        return found

    def _step(self, messages: list[Chunk | Gap | End | Event], now_s: float, ended: bool = False) -> list[Result]:
        signals = [message for message in messages if not isinstance(message, Event)]
        found, self._acknowledged = self._acknowledged, []
        found += self.ward.push(signals, shared=not ended)
        self.link.behind_with(self.ward.sated())
        if now_s >= self._watched_s + SILENCE_CHECK_S:
            self._watched_s = now_s
            found += self.ward.watch(now_s)
        if ended:
            found += self.ward.finish()
        found = self._resumed.rename(found)
        found += [message for message in messages if isinstance(message, Event)]
        found += self._link_events(self.link.view(now_s))
        found = self._told.take(found, now_s, ended)
        if self.recorder is not None:
            found += self.recorder.news()
            self.recorder.push(signals, found, now_s)
        if self.metrics is not None:
            self.metrics.take(found)
        self._latest.take(found)
        self._last_alarms.take(found)
        return found

    def _analysed(self, name: str) -> int:
        bed = self.ward.beds.get(name)
        return bed.analysed if bed else 0

    def _link_events(self, link: LinkView) -> list[Event]:
        before, self._link_state = self._link_state, link.state
        if before == "connected" and link.state == "lost" and not self._all_ended():
            return [LinkStateChanged(link.endpoint, is_up=False)]
        if before == "lost" and link.state == "connected":
            return [LinkStateChanged(link.endpoint, is_up=True)]
        return []

    def _over(self, until: EndCondition, now_s: float) -> bool:
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
        link = self.link.view(self.clock())
        if link.trouble:
            hint = "" if self.link.refused else f"; {START_DEVICE_HINT}"
            return f"no stream from {endpoint} within {timeout_s:g} s: {link.trouble}{hint}"
        if link.round_trip_ms is not None:
            return f"{endpoint} answers, but sends nothing within {timeout_s:g} s: check --bed, or wait longer"
        if self.link.rejected:
            return f"only malformed packets from {endpoint} within {timeout_s:g} s: is it a device of ecg-agent?"
        return f"no stream from {endpoint} within {timeout_s:g} s: {START_DEVICE_HINT}, or check --endpoint and --bed"
