"""Beats, alarms and heart rates to an MQTT broker: `ecg-agent monitor --publish mqtt://HOST`.

Topics and Home Assistant's discovery: `docs/outputs.md`. A thread of its own connects, and connects again; what waits
meanwhile is bounded, and what is dropped is counted.
"""

import time
from collections import deque
from collections.abc import Sequence
from importlib.metadata import version
from math import inf

from agent.core.events import OutputTrouble
from agent.core.messages import Alarm, AlarmIdentity, Beat, Result
from agent.core.output_settings import PublishConfig
from agent.core.run_clock import RunClock
from agent.monitor.snapshot import MonitorFigures
from agent.outputs.json_lines import alarm_to_json, beat_to_json
from agent.outputs.mqtt_address import parse_mqtt_address
from agent.outputs.mqtt_connection import CONNECT_S, MOST_UNACKNOWLEDGED, BrokerRefusedError, MqttConnection
from agent.outputs.mqtt_topics import (
    OFFLINE,
    ONLINE,
    MqttMessage,
    discovery_messages,
    result_message,
    state_message,
    status_topic,
)
from agent.outputs.sending_thread import SendingOutput, growing_pause
from model.errors import SourceError, clean_error_text

FIRST_PAUSE_S = 0.5
STEADY_S = 5.0
"""A connection that stood for this long was none that fails at once: pauses begin anew."""
LONGEST_WAIT_S = 1.0
GOODBYE_S = 1.0
UNTOLD_KEYS = ("algorithmic_ms", "added_ms", "link_ms")
"""Delays of a beat, which are those of the monitor's own lines."""
_WaitingResult = tuple[Beat | Alarm, float | None]
"""A result, and its Unix time."""


class MqttPublisher(SendingOutput):
    """Publishes to one broker. Raises ConfigError for an address that makes no sense, or without paho-mqtt.

    Raises SourceError if the broker answers, and refuses us. One that does not answer yet is tried again.
    """

    needs_figures = True

    def __init__(self, address: str, config: PublishConfig, run_clock: RunClock) -> None:
        """`run_clock`: has followed the signals of what is pushed."""
        parsed = parse_mqtt_address(address)
        self._prefix, self._config = parsed.prefix, config
        self._version = version("ecg-agent")
        self._run_clock = run_clock
        super().__init__("mqtt", parsed.shown)
        self._waiting: deque[_WaitingResult] = deque()
        self._dropped = 0
        self._figures: MonitorFigures | None = None
        """Not told yet. From here on everything belongs to the thread."""
        self._outbox: deque[MqttMessage] = deque()
        """Messages that go before results: how the beds are."""
        self._shown: dict[str, dict[AlarmIdentity, tuple[Alarm, float | None]]] = {}
        """Alarms on the screen, by bed, of all beds of which anything was told."""
        self._rates: dict[str, float] = {}
        self._states: dict[str, MqttMessage] = {}
        """What the broker was told of each bed last."""
        self._denied = ""
        self._attempt, self._steady_at = 0, inf
        self._connection = MqttConnection(parsed, config.mqtt_ca, self._condition)
        try:
            self._connect()
            self._check_rights()
        except BrokerRefusedError as error:
            self._connection.close_socket()
            reason = f"the broker {parsed.shown} refuses us: {error}; check user, password and rights (--publish)"
            raise SourceError(reason) from None
        except OSError as error:
            self._sending.note_failure(_retry_reason(error))
        self._sending.start()

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002
        """Take beats and alarms. Never waits."""
        time_of = self._run_clock.time_of
        fresh: list[_WaitingResult] = []
        for item in results:
            if isinstance(item, Beat):
                fresh.append((item, time_of(item.bed, item.run, item.sample)))
            elif isinstance(item, Alarm) and not item.paused:
                fresh.append((item, time_of(item.bed, item.run, item.onset)))
        if not fresh:
            return
        with self._condition:
            self._waiting.extend(fresh)
            while len(self._waiting) > self._config.queue:
                self._waiting.popleft()
                self._dropped += 1
            self._condition.notify_all()

    def publish(self, figures: MonitorFigures) -> None:
        """Let the states of the beds be these; told where they changed."""
        with self._condition:
            self._figures = figures
            self._condition.notify_all()

    def _connect(self) -> None:
        """Connect, and say that we are there, and which beds are. Raises OSError or BrokerRefusedError."""
        self._attempt += 1
        self._connection.open()
        self._steady_at = time.monotonic() + STEADY_S
        self._states.clear()
        self._outbox.clear()
        self._connection.send(MqttMessage(status_topic(self._prefix), ONLINE.encode(), retain=True))
        for bed in self._shown:
            self._introduce(bed)

    def _check_rights(self) -> None:
        """Wait until the broker took our first message. Raises BrokerRefusedError if it did not."""
        with self._condition:
            self._condition.wait_for(
                lambda: not self._connection.unacknowledged or not self._connection.is_up, CONNECT_S
            )
            if self._connection.denied:
                raise BrokerRefusedError(f"no message to {status_topic(self._prefix)}: {self._connection.denied}")

    def _work(self) -> None:
        """The thread: send what waits while there is a connection, else try to have one, until the end."""
        while not self._is_done():
            if self._connection.is_up:
                self._send_next()
            else:
                self._try_again()
        with self._condition:
            left = len(self._waiting) + self._connection.unacknowledged
        if left or self._dropped:
            self._sending.announce(OutputTrouble(self._sending.target, "the monitor ended", left + self._dropped))
        if self._connection.is_up:
            self._connection.send(MqttMessage(status_topic(self._prefix), OFFLINE.encode(), retain=True))
            with self._condition:
                self._condition.wait_for(lambda: not self._connection.unacknowledged, GOODBYE_S)
            self._connection.leave()

    def _is_done(self) -> bool:
        """Whether the end was asked for, and all is sent, or there is no more time."""
        with self._condition:
            is_empty = not (self._waiting or self._outbox or self._connection.unacknowledged)
            return self._sending.is_over or (self._sending.closing and is_empty)

    def _send_next(self) -> None:
        """Send one message, or wait for one, or for room on the way."""
        item: _WaitingResult | None = None
        figures: MonitorFigures | None = None
        with self._condition:
            self._condition.wait_for(self._has_work, LONGEST_WAIT_S)
            if not self._connection.is_up or self._connection.unacknowledged >= MOST_UNACKNOWLEDGED:
                return
            if not self._outbox:
                if self._waiting:
                    item = self._waiting.popleft()
                else:
                    figures, self._figures = self._figures, None
        if item is not None:
            self._connection.send(self._take_result(*item))
        elif self._outbox:
            self._connection.send(self._outbox.popleft())
        else:
            self._take_figures(figures)
            self._report_losses()

    def _has_work(self) -> bool:
        """Whether there is something to send and room for it, or the connection or all is over. With the condition."""
        if not self._connection.is_up or self._sending.is_over:
            return True
        if self._connection.unacknowledged >= MOST_UNACKNOWLEDGED:
            return False
        return bool(self._outbox or self._waiting or self._figures) or (
            self._sending.closing and not self._connection.unacknowledged
        )

    def _take_result(self, item: Beat | Alarm, at_s: float | None) -> MqttMessage:
        """Return a result as a message; what it changes of its bed follows."""
        if item.bed not in self._shown:
            self._introduce(item.bed)
        if isinstance(item, Beat):
            content = beat_to_json(item, 0.0, None, at_s)
            told = {key: value for key, value in content.items() if key not in UNTOLD_KEYS}
            return result_message(self._prefix, item.bed, "beat", told)
        alarms = self._shown[item.bed]
        alarms.pop(item.identity, None)
        if item.shown:
            alarms[item.identity] = item, at_s
        self._tell_state(item.bed)
        return result_message(self._prefix, item.bed, "alarm", alarm_to_json(item, at_s))

    def _take_figures(self, figures: MonitorFigures | None) -> None:
        """Note how all beds are."""
        if figures is not None:
            self._rates = figures.heart_rates
            for bed in figures.ledgers:
                if bed not in self._shown:
                    self._introduce(bed)
                self._tell_state(bed)

    def _introduce(self, bed: str) -> None:
        """Let Home Assistant discover a bed."""
        self._shown.setdefault(bed, {})
        self._outbox.extend(discovery_messages(self._config.discovery, self._prefix, bed, self._version))

    def _tell_state(self, bed: str) -> None:
        """Tell how a bed is, if that is news."""
        message = state_message(self._prefix, bed, self._rates.get(bed), dict(self._shown[bed].values()))
        if self._states.get(bed) != message:
            self._states[bed] = message
            self._outbox.append(message)

    def _report_losses(self) -> None:
        """Announce what was dropped though there is a connection, and what the broker does not take."""
        with self._condition:
            dropped, self._dropped = self._dropped, 0
            denied = self._connection.denied
        if dropped:
            self._sending.announce(OutputTrouble(self._sending.target, "the broker is too slow", dropped))
        if denied != self._denied:
            self._denied = denied
            self._sending.announce(OutputTrouble(self._sending.target, f"it does not take messages: {denied}"))

    def _try_again(self) -> None:
        """Connect again, after a pause that grows unless the last connection stood for a while."""
        if self._connection.lost_reason:
            self._sending.note_failure(self._connection.lost_reason)
            self._connection.lost_reason = ""
        if time.monotonic() >= self._steady_at:
            self._attempt = 0
        self._steady_at = inf
        if self._attempt:
            self._sending.pause(growing_pause(self._attempt - 1, FIRST_PAUSE_S, self._config.longest_pause_s))
        try:
            self._connect()
        except BrokerRefusedError as error:
            self._sending.note_failure(f"the broker refuses us: {error}; trying again")
        except OSError as error:
            self._sending.note_failure(_retry_reason(error))
        else:
            with self._condition:
                dropped, self._dropped = self._dropped, 0
            self._sending.note_success(dropped)


def _retry_reason(error: OSError) -> str:
    return f"{clean_error_text(error.strerror or error)}; trying again"
