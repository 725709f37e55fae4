"""The monitor's loop: wait, receive, analyse, hand out."""

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

from agent.core.clock import SteadyClock
from agent.core.config import Config
from agent.core.events import DeviceNote, Event, LinkStateChanged, LinkTrouble
from agent.core.look_back import BedPast, PastRequest
from agent.core.messages import Alarm, Beat, BedsChunk, Chunk, Ledger, Result, Signal, Signals, Strip
from agent.core.run_clock import RunClock
from agent.core.sample_index import nearest_index_at_125_hz
from agent.core.views import BedView, LinkView, WardSnapshot
from agent.link.chunk_assembler import LinkMessage
from agent.link.link_receiver import LinkReceiver
from agent.link.packet_intake import MOST_PACKETS_READ
from agent.monitor.alarm_history import AlarmHistory
from agent.monitor.bed_actions import BedActions
from agent.monitor.catching_up import SAME_BEAT_S
from agent.monitor.event_log import EventLimiter, EventLog
from agent.monitor.first_settings import FirstSettings
from agent.monitor.latency_histogram import LatencyHistogram
from agent.monitor.look_back import LookBack
from agent.monitor.no_stream import MOST_WAITED_S, no_stream_text
from agent.monitor.result_sinks import FiguresSink, OutputSink, ResultSink, SharedStore, Viewer
from agent.monitor.resumed_alarms import ResumedAlarms
from agent.monitor.shared_beds import SharedBeds
from agent.monitor.snapshot import SnapshotMaker, with_beds
from agent.monitor.unseen_alarms import UnseenAlarms
from agent.pipeline.pipeline import Pipeline
from model.errors import StreamError
from model.records.resample import FS

if TYPE_CHECKING:  # PyTorch takes a second to import: the link is opened before
    from agent.analysis.beat_classifier import BeatClassifier
    from agent.recording.recorder import Recorder

LONGEST_PAUSE_S = 0.03
"""A step that takes longer than from one look to the next (`monitor.tick_ms`) has a pause as long, up to this."""
GC_THRESHOLDS = (50_000, 20, 1000)
"""Next to nothing here refers to itself, and to look through a thousand beds for it takes a fifth of a second."""
GONE_S = 60.0
"""A device that is silent for this time is gone, where the end of its runs is waited for."""
FINISH_S = 1.0
"""At the end what waits is analysed for this time at most; the rest is declared missing."""
CLOCK_PERIOD_S = 0.5
"""How often the clock is asked which beds have fallen silent."""
FIGURES_PERIOD_S = 1.0
"""How often the figures for Prometheus are made."""
BACKFILLED_S = 1.0
"""A beat whose samples arrived this long after the device first sent them was backfilled: its delay is another."""


@dataclass(frozen=True, slots=True)
class EndCondition:
    """When to end by itself: after `seconds` (None: never), or once the run of every bed has `ended`."""

    seconds: float | None
    ended: bool


class MonitorSession:
    """One run of the monitor: its link, its pipeline, and the sinks of its results, yours among them."""

    def __init__(
        self,
        link: LinkReceiver,
        classifier: "BeatClassifier",
        config: Config,
        recorder: "Recorder | None" = None,
        metrics: FiguresSink | None = None,
        sinks: Sequence[ResultSink] = (),
        outputs: Sequence[OutputSink] = (),
        device_news: Callable[[], Sequence[Event]] = tuple,
        store: SharedStore | None = None,
        run_clock: RunClock | None = None,
    ) -> None:
        """`device_news`: returns the events that a device of ours has told since the last call.

        `store`: the one of the outputs that other monitors share. `run_clock`: one that outputs have, too.
        """
        self.link, self.config, self.recorder = link, config, recorder
        self.pipeline = Pipeline(config, classifier)
        self.latency = LatencyHistogram()
        self.clock = SteadyClock()
        self.started_s = self.clock()
        self._metrics, self._device, self._weights = metrics, classifier.device, classifier.weights
        self._class_trust = classifier.class_trust
        self._alarm_history = AlarmHistory()
        own = (sink for sink in (recorder, metrics, self._alarm_history) if sink is not None)
        self._outputs = outputs
        self._figure_takers = [taker for taker in (metrics, *(o for o in outputs if o.needs_figures)) if taker]
        self.run_clock = run_clock or RunClock()
        folder = recorder.folder if recorder else None
        self.look_back = LookBack(
            self._alarm_history,
            self.run_clock,
            folder,
            self._recent_beats,
            self._is_uncalibrated,
            self._open_alarms,
        )
        self._sinks: tuple[ResultSink, ...] = (*own, self.look_back, *sinks, *outputs)
        self._snapshots = SnapshotMaker(self.pipeline, link, config, self._alarm_history, self.run_clock)
        self._first_settings = FirstSettings(self.pipeline.care, config.bed, config.alarms)
        self.actions = BedActions(self.pipeline, self.clock, self._snapshots.forget_index, self._show_alarms)
        self._limiter = EventLimiter(self.analysed)
        self._event_log = EventLog(config.dashboard.events, self.run_clock)
        self._link_state = "waiting"
        self._resumed, self._unseen = ResumedAlarms(), UnseenAlarms(self.pipeline)
        self._store, self._shared = store, SharedBeds(store, self.pipeline, self._resumed)
        self._backfilled_beats = 0
        self._device_news = device_news
        self._clock_asked_s = self._figures_due_s = self._waited_until_s = self.started_s
        self._waited_s = 0.0

    def run(self, viewer: Viewer, until: EndCondition, stop: Callable[[], bool]) -> None:
        """Monitor until the end. Raise StreamError if no packet comes within the timeout."""
        # What is loaded by now stays: searching all of PyTorch for garbage would hold up beats for a tenth of a second.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        due_s = 0.0
        viewer.push([], self._resume(stop), self.clock())
        while not stop():
            time.sleep(max(0.0, due_s - self.clock()))
            patience_s = min(self.link.patience_s, viewer.patience_s(self.clock()))
            self.link.wait(0.0 if self.pipeline.waiting else patience_s, viewer.keyboard)
            now_s = self.clock()
            packets = self.link.packets
            self.step(self.link.receive(now_s), now_s, viewer)
            step_s = self.clock() - now_s
            if not viewer.refresh(now_s) or self._is_over(until, now_s):
                break
            taken, waits = self.link.packets - packets, self.link.behind or self.pipeline.waiting
            if 0 < taken < MOST_PACKETS_READ and not waits:  # what waits is taken without a pause
                due_s = max(now_s + self.config.monitor.tick_ms / 1000, self.clock() + min(step_s, LONGEST_PAUSE_S))
        now_s = self.clock()
        gone = until.ended and self._is_gone(now_s)
        self._shared.leave()
        messages = self.link.finish(now_s)
        self.step([*messages, LinkTrouble(self._gone_text())] if gone else messages, now_s, viewer, ended=True)
        self._close_outputs(viewer)
        viewer.refresh(now_s)
        viewer.finish()
        self.look_back.close()
        if gone:
            raise StreamError(self._gone_text())

    def step(
        self,
        messages: Sequence[LinkMessage | BedsChunk],
        now_s: float,
        viewer: ResultSink | None = None,
        ended: bool = False,
    ) -> list[Result]:
        """Analyse what the link brought, and give it with all results to every sink. Return the results."""
        signals = Signals([message for message in messages if isinstance(message, Signal)])
        self.run_clock.follow(signals)
        results = self._analyse(signals, now_s, ended)
        results += [message for message in messages if not isinstance(message, Signal)]
        results += self._link_events(self.link.view(now_s))
        results += self._device_news()
        if self.recorder is not None:
            results += self.recorder.news()
        results += [event for output in self._outputs for event in output.news()]
        for sink in (*self._sinks, viewer) if viewer else self._sinks:
            sink.push(signals, results, now_s)
        self._shared.note_pushed()
        rest = [item for item in results if not isinstance(item, Beat)]  # beats are nearly all, and no events
        self._event_log.push(signals, self._limiter.limit(rest, now_s, ended), now_s)
        if self._figure_takers and now_s >= self._figures_due_s:
            self._figures_due_s = now_s + FIGURES_PERIOD_S
            recording = self.recorder.view() if self.recorder else None
            figures = self._snapshots.figures(now_s, self.link.view(now_s), recording)
            for taker in self._figure_takers:
                taker.publish(figures)
        return results

    def ward_snapshot(self, now_s: float) -> WardSnapshot:
        """Return all that a frame of the dashboard is drawn from but the beds in full."""
        index, ledger = self._snapshots.index(now_s)
        return WardSnapshot(
            beds=(),
            events=self._event_log.all(),
            link=self.link.view(now_s),
            device=self._device,
            weights=self._weights,
            now_s=now_s,
            started_s=self.started_s,
            recording=self.recorder.view() if self.recorder else None,
            index=index,
            ledger=ledger,
            failing=tuple(of for output in self._outputs if (of := output.failing())),
            class_trust=self._class_trust,
            least_confidence=self.config.dashboard.least_confidence,
            last_rate_s=self.config.dashboard.last_rate_s,
            quality_limits=(self.config.leads.quality_bad, self.config.leads.quality_good),
            base_limits=self.config.alarms,
        )

    def with_beds(self, snapshot: WardSnapshot, names: Iterable[str]) -> WardSnapshot:
        """Return a snapshot with the beds of these names in full."""
        return with_beds(snapshot, names, lambda name: self._bed_view(name, snapshot.now_s))

    def past(self, request: PastRequest, now_s: float) -> BedPast:
        """Return what a viewer asks of a bed's past, as far as it is known by now."""
        return self.look_back.past(request, now_s)

    def full_snapshot(self, now_s: float) -> WardSnapshot:
        """Return a snapshot with all beds in full, made at this moment."""
        self._snapshots.forget_index()
        return self.with_beds(self.ward_snapshot(now_s), self.pipeline.beds)

    def ledger(self, bed: str) -> Ledger:
        """Return what became of the samples of a bed since this monitor began, or went on with its recording."""
        return self._snapshots.ledger(bed)

    def analysed(self, bed: str) -> int:
        """Return the samples of a bed that reached the analysis; 0 for one that is not known."""
        known = self.pipeline.beds.get(bed)
        return known.analysed if known else 0

    def delay_s(self, bed: str) -> float:
        """Return the seconds that resampling adds to the delay of every decision of a bed."""
        return self.pipeline.beds[bed].delay_s

    def note_shown(self, beats: Iterable[Beat]) -> None:
        """Count beats that have just reached the person. Backfilled ones are counted apart: they could not be quick."""
        now_s = self.clock()
        for beat in beats:
            if beat.sent_s and beat.arrived_s - beat.sent_s > BACKFILLED_S:
                self._backfilled_beats += 1
                continue
            added_s = now_s - beat.arrived_s
            self.latency.add(1000 * added_s)
            self._snapshots.note_shown(beat, 1000 * added_s)
            if self._metrics is not None:
                self._metrics.note_shown(beat, added_s)

    def summary(self) -> str:
        """Return the whole run in a line."""
        beds = self.pipeline.beds.values()
        ledgers = [self.ledger(bed) for bed in self.pipeline.beds]
        sent, analysed, missing = (sum(of) for of in zip(*map(astuple, ledgers), strict=True)) if ledgers else (0, 0, 0)
        under_way = f" + {sent - analysed - missing} under way" if sent != analysed + missing else ""
        beats = self.latency.count + self._backfilled_beats
        text = (
            f"{len(beds)} {'bed' if len(beds) == 1 else 'beds'}, {beats} beats, "
            f"{sum(bed.gaps for bed in beds)} gaps ({sum(bed.missing for bed in beds)} samples), "
            f"{sent} samples sent = {analysed} analysed + {missing} missing{under_way}, "
            f"{self.link.packets} packets, {self.link.rejected} rejected"
        )
        if self.latency.count:
            p50, p99 = self.latency.quantile(0.5), self.latency.quantile(0.99)
            text += f", added latency p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        return f"{text}, {self._backfilled_beats} beats backfilled" if self._backfilled_beats else text

    def _analyse(self, signals: Signals, now_s: float, ended: bool) -> list[Result]:
        self._shared.act(self.actions)
        results = self.actions.take()
        results += self.pipeline.push(signals.together, shared=True)
        results += self._first_settings.news(self.pipeline.beds)
        self._unseen.hand_over()
        self.link.set_backlog(*self.pipeline.backlog())
        if now_s >= self._clock_asked_s + CLOCK_PERIOD_S:
            self._clock_asked_s = now_s
            results += self.pipeline.watch_clock(now_s, self.link.heard_s, self.link.contested(now_s))
        if ended:
            while self.pipeline.waiting and self.clock() < now_s + FINISH_S:
                results += self.pipeline.push([], shared=True)
            results += self.pipeline.finish()
        return self._shared.select(results)

    def _resume(self, stop: Callable[[], bool]) -> list[Result]:
        """Go on with the recording, and with what a store has of other beds, until told to `stop`.

        Return the beats and alarms of what was recorded that were not reported before, the ends of pauses and silences.
        """
        results = self._resume_recording(self.recorder, stop) if self.recorder is not None else []
        if positions := self._shared.take_up(self._first_settings):
            self.link.resume(positions, self.clock())
        return results

    def _resume_recording(self, recorder: "Recorder", stop: Callable[[], bool]) -> list[Result]:
        """Analyse the last recorded signal of each bed again, ask for what came since."""
        from agent.recording import resume

        folder, replay_s = recorder.folder, self.config.record.replay_s
        positions = {bed: at for bed, at in recorder.positions().items() if not at.ended}
        reported_until = {bed: (at.last_beat or 0) + round(SAME_BEAT_S * FS) for bed, at in positions.items()}
        self.pipeline.know_scales(resume.read_scales(folder, positions))
        self._first_settings.resume(folder, positions, replay_s)
        results: list[Result] = []
        alarms: list[Alarm | Strip] = []
        for messages in resume.read_last_signal(folder, positions, replay_s):
            if stop():
                break
            now_s = self.clock()
            decided = self.pipeline.push(
                [replace(of, arrived_s=now_s) if isinstance(of, Chunk) else of for of in messages]
            )
            if self._store is not None:  # the recording may have more of it than the store
                self._store.push(messages, [item for item in decided if isinstance(item, Beat)], now_s)
            results += [item for item in decided if isinstance(item, Beat) and item.sample > reported_until[item.bed]]
            alarms += [item for item in decided if isinstance(item, Alarm | Strip)]
        stopped_at = {bed: nearest_index_at_125_hz(at.next, at.fs) for bed, at in positions.items()}
        self._resumed.add_log(resume.read_logged_alarms(folder, positions, replay_s), stopped_at)
        results += self._resumed.settle(alarms, reported_until)
        results += self._unseen.resume(resume.read_unseen_alarms(folder), self._resumed, self.clock())
        silence_s = self.config.alarms.silence_s
        ended = resume.read_ended_quiet(folder, recorder.positions(), self.clock(), silence_s)
        self._event_log.push([], ended, self.clock())
        results += ended
        self.pipeline.care.settle()
        for bed in self.pipeline.beds.values():
            bed.forget_counts()  # those of the monitor that was here before
        self.link.resume(positions, self.clock())
        self.look_back.read_trends(recorder.positions(), self.clock())
        for sink in self._sinks:
            sink.push([], results, self.clock())
        return results

    def _close_outputs(self, viewer: ResultSink) -> None:
        """Let the outputs send what waits, and tell every sink how that went."""
        for output in self._outputs:
            output.end_soon()
        for output in self._outputs:
            output.close()
        news: list[Result] = [event for output in self._outputs for event in output.news()]
        if news:
            now_s = self.clock()
            for sink in (*self._sinks, viewer):
                sink.push([], news, now_s)

    def _recent_beats(self, bed: str) -> Iterable[Beat]:
        known = self.pipeline.beds.get(bed)
        return known.beats if known else ()

    def _is_uncalibrated(self, bed: str) -> bool:
        known = self.pipeline.beds.get(bed)
        return known is not None and known.uncalibrated

    def _open_alarms(self, bed: str) -> tuple[Alarm, ...]:
        known = self.pipeline.beds.get(bed)
        return self._show_alarms(self.pipeline.alarms.rules(known.row).manager.open_alarms()) if known else ()

    def _show_alarms(self, alarms: tuple[Alarm, ...]) -> tuple[Alarm, ...]:
        return self._resumed.rename_shown(alarms)

    def _bed_view(self, name: str, now_s: float) -> BedView:
        view = self._snapshots.bed_view(name, now_s)
        alarms = self._show_alarms(view.alarms)
        return view if alarms is view.alarms else replace(view, alarms=alarms)  # a copy costs a third of a view

    def _link_events(self, link: LinkView) -> list[Event]:
        before, self._link_state = self._link_state, link.state
        events: list[Event] = []
        if before == "connected" and link.state == "lost" and not self._all_ended():
            events.append(LinkStateChanged(link.endpoint, is_up=False))
        elif before == "lost" and link.state == "connected":
            events.append(LinkStateChanged(link.endpoint, is_up=True))
        if link.paused != self._snapshots.paused:
            self._snapshots.paused = link.paused
            self._snapshots.forget_index()
            events.append(DeviceNote("the replay is paused" if link.paused else "the replay goes on"))
        return events

    def _is_over(self, until: EndCondition, now_s: float) -> bool:
        timeout_s = self.config.monitor.timeout_s
        # Time in which this process stood still, as after Ctrl-Z, is no time in which nothing came
        self._waited_s += min(now_s - self._waited_until_s, MOST_WAITED_S)
        self._waited_until_s = now_s
        ended = until.seconds is not None and now_s - self.started_s >= until.seconds
        if self._link_state == "waiting" and not self._snapshots.paused and (ended or self._waited_s >= timeout_s):
            waited_s = min(timeout_s, until.seconds) if ended and until.seconds is not None else timeout_s
            view = self.link.view(self.clock())
            raise StreamError(no_stream_text(self.link, view, waited_s, self._device_news is not tuple))
        if ended:
            return True
        return until.ended and ((self._all_ended() and self.link.is_idle(now_s)) or self._is_gone(now_s))

    def _is_gone(self, now_s: float) -> bool:
        return self._link_state == "lost" and self.link.silent_s(now_s) >= GONE_S

    def _gone_text(self) -> str:
        return (
            f"nothing has come from {self.link.endpoint} for {GONE_S:g} s: the device is gone, and what it sent after "
            "its last samples is not known"
        )

    def _all_ended(self) -> bool:
        beds = self.pipeline.beds
        return all(bed.ended for bed in beds.values()) if beds else self.link.others_ended
