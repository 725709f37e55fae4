"""Alarms to phone, mail or webhook by Apprise, in a thread of its own: `ecg-agent monitor --notify URL`.

The monitor never waits for it. What cannot be sent is tried again; what may not be sent yet, since there were too many
messages, is summed up in the next one. Whether an alarm was told is an event, which a recording keeps.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.core.events import NotificationFailed, NotificationSent
from agent.core.messages import PRIORITIES, Alarm, AlarmIdentity, Priority, Result
from agent.core.output_settings import NotifyConfig
from agent.core.rate_limit import TokenBucket
from agent.core.run_clock import RunClock
from agent.monitor.snapshot import MonitorFigures
from agent.outputs.apprise_target import AppriseTarget
from agent.outputs.notification_text import PendingNotice, compose_message
from agent.outputs.sending_thread import SendingOutput, growing_pause

FIRST_PAUSE_S = 1.0
GATHER_S = 0.05
"""Alarms that come together are told together."""
MOST_WAITING = 200
"""Alarms that wait to be told; beyond it the oldest of the lowest priority is given up."""
MOST_REMEMBERED = 10_000
"""Alarms that were told, whose end may still be."""
LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class _NoticeKey:
    """Which alarm, and whether it is its end that is told."""

    identity: AlarmIdentity
    is_over: bool


class NotificationSink(SendingOutput):
    """Tells alarms to one service. Raises ConfigError if Apprise knows no such URL, or is not installed."""

    needs_figures = False

    def __init__(self, url: str, config: NotifyConfig, run_clock: RunClock) -> None:
        """`run_clock`: has followed the signals of what is pushed."""
        self._service = AppriseTarget(url)
        self._config = config
        self._priorities = PRIORITIES[: PRIORITIES.index(config.priority) + 1]
        self._run_clock = run_clock
        super().__init__("notify", self._service.name)
        self._waiting: OrderedDict[_NoticeKey, PendingNotice] = OrderedDict()
        self._told: OrderedDict[AlarmIdentity, None] = OrderedDict()
        now = time.monotonic()
        self._of_all = {p: TokenBucket(config.all_messages, config.all_pause_s, now) for p in PRIORITIES}
        self._of_bed: dict[tuple[str, Priority], TokenBucket] = {}
        self._sending.start()

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002
        """Take the alarms among the results. Never waits."""
        alarms = [
            item
            for item in results
            if isinstance(item, Alarm) and item.priority in self._priorities and not item.paused
        ]
        if alarms:
            with self._condition:
                for alarm in alarms:
                    self._keep_alarm(alarm, now_s)
                self._condition.notify_all()

    def publish(self, figures: MonitorFigures) -> None:
        """Do nothing: figures are told to nobody."""

    def _keep_alarm(self, alarm: Alarm, now_s: float) -> None:
        """Keep what is to be told of an alarm: that it began, as it stands now, or that it is over."""
        identity, is_over = alarm.identity, alarm.ended is not None
        began = _NoticeKey(identity, False)
        if began in self._waiting:
            self._waiting[began] = replace(self._waiting[began], alarm=alarm)
            return
        if identity in self._told:
            if not (is_over and self._config.ends and alarm.priority == "high") or alarm.acknowledged_s is not None:
                return
        elif is_over or alarm.acknowledged_s is not None:
            return  # of an earlier monitor, or given up
        onset_s = self._run_clock.time_of(alarm.bed, alarm.run, alarm.onset) or alarm.announced_s or now_s
        key = _NoticeKey(identity, is_over)
        self._waiting.setdefault(key, PendingNotice(alarm, onset_s, now_s, time.monotonic()))
        if len(self._waiting) > MOST_WAITING:
            least = max(self._waiting, key=lambda known: PRIORITIES.index(self._waiting[known].alarm.priority))
            self._give_up(least, "too many alarms waited")

    def _work(self) -> None:
        """The thread: tell what waits as soon as the limits allow it, until the end."""
        attempt = 0
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._sending.closing)
                if not self._waiting or self._sending.is_over:
                    break
                delay_s = self._delay_s()
            if delay_s and not self._sending.closing:
                with self._condition:  # a more urgent alarm may come meanwhile
                    self._condition.wait(min(delay_s, LONGEST_WAIT_S))
                continue
            time.sleep(GATHER_S)
            with self._condition:
                batch = dict(self._waiting)
            reason = self._service.send(compose_message(list(batch.values())))
            if reason:
                self._sending.note_failure(reason)
                self._give_up_old()
                self._sending.pause(growing_pause(attempt, FIRST_PAUSE_S, self._config.longest_pause_s))
                attempt += 1
            else:
                attempt = 0
                self._note_told(batch)
                self._sending.note_success()
        with self._condition:
            for key in list(self._waiting):
                self._give_up(key, "the monitor ended")

    def _delay_s(self) -> float:
        """Return how long the limits forbid a message about any of what waits."""
        now = time.monotonic()
        return min(
            max(self._bed_bucket(notice.alarm).delay(now), self._of_all[notice.alarm.priority].delay(now))
            for notice in self._waiting.values()
        )

    def _bed_bucket(self, alarm: Alarm) -> TokenBucket:
        key = alarm.bed, alarm.priority
        if key not in self._of_bed:
            self._of_bed[key] = TokenBucket(self._config.bed_messages, self._config.bed_pause_s, time.monotonic())
        return self._of_bed[key]

    def _note_told(self, batch: dict[_NoticeKey, PendingNotice]) -> None:
        """Count a message, and say which alarms it told."""
        now = time.monotonic()
        with self._condition:
            for priority in {notice.alarm.priority for notice in batch.values()}:
                self._of_all[priority].take(now)
            for alarm in {(n.alarm.bed, n.alarm.priority): n.alarm for n in batch.values()}.values():
                self._bed_bucket(alarm).take(now)
            for key, notice in batch.items():
                latest = self._waiting.pop(key)
                self._told[key.identity] = None
                self._told.move_to_end(key.identity)
                if not key.is_over and latest.alarm.ended is not None and notice.alarm.ended is None:
                    self._keep_alarm(latest.alarm, latest.noted_s)  # it ended while the message was under way
            while len(self._told) > MOST_REMEMBERED:
                self._told.popitem(last=False)
        for key, notice in batch.items():
            bed, run, condition, onset = key.identity
            waited_s = round(now - notice.since, 1)
            self._sending.announce(
                NotificationSent(bed, run, onset, condition, self._service.name, key.is_over, waited_s)
            )

    def _give_up_old(self) -> None:
        """Give up what could not be told for too long."""
        with self._condition:
            late = time.monotonic() - self._config.give_up_s
            for key in [key for key, notice in self._waiting.items() if notice.since < late]:
                self._give_up(key, f"not possible for {self._config.give_up_s:.0f} s")

    def _give_up(self, key: _NoticeKey, reason: str) -> None:
        self._waiting.pop(key, None)
        bed, run, condition, onset = key.identity
        self._sending.announce(NotificationFailed(bed, run, onset, condition, self._service.name, key.is_over, reason))
