"""A topic of an MQTT broker as bytes. Needs paho-mqtt (the extra `mqtt`)."""

import contextlib
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import unquote

from agent.bridge.sensor_source import LostSourceError
from agent.outputs.mqtt_address import split_address
from model.errors import ConfigError, SourceError, clean_error_text
from model.extras import import_extra

CONNECT_S = 3.0
"""How long connecting and subscribing may take."""
KEEPALIVE_S = 5
"""A broker that is silent for one and a half of these is gone."""
MOST_WAITING = 20_000
"""Messages that wait to be read; more are lost."""
PORT = 1883
EXAMPLE = "mqtt://localhost/ward/bed1"
RIGHTS = (
    "check user and password (mqtt://USER:PASSWORD@HOST/TOPIC) and whether the broker allows them to read this topic"
)


class MqttTopic:
    """The payloads of one topic. `place`: //[user[:password]@]host[:port]/topic.

    Each payload is ended by an end of line. There is no memory: what was published while nobody listened is lost.
    """

    is_over = False

    def __init__(self, place: str) -> None:
        """Raises ConfigError for a place that is none, and where paho-mqtt is missing."""
        try:
            parts, port = split_address(f"mqtt:{place}")
        except ValueError as error:
            raise ConfigError(f"the address of the broker makes no sense: {error}; write it like {EXAMPLE}") from None
        host, port = parts.hostname, port or PORT
        topic = unquote(parts.path[1:] + (f"?{parts.query}" if parts.query else ""))
        if "+" in topic or "#" in place:
            raise ConfigError(f"topic {topic!r} stands for several: name one, since a bridge is one bed")
        if not host or not topic:
            raise ConfigError(f"mqtt: names no {'topic' if host else 'broker'}: write it like {EXAMPLE}")
        self.name = f"mqtt://{host}:{port}/{topic}"
        self._address, self._topic = (host, port), topic
        self._login = (unquote(parts.username or ""), unquote(parts.password) if parts.password is not None else None)
        self._paho = import_extra("paho.mqtt.client", "mqtt")
        self._client: Any = None
        self._events: SimpleQueue[bytes | str] = SimpleQueue()
        """Payloads, and in words what became of the connection: "" for subscribed."""
        self._trouble = ""
        self._received = self._dropped = 0

    def open(self) -> None:
        """Connect and subscribe. Raises SourceError, with what to do."""
        events: SimpleQueue[bytes | str] = SimpleQueue()
        self._events, self._trouble = events, ""
        client = self._client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = CONNECT_S
        if self._login[0]:
            client.username_pw_set(*self._login)
        client.on_connect = lambda *call: self._note_connected(client, call[3], events)
        client.on_subscribe = lambda *call: self._note_subscribed(call[3], events)
        client.on_disconnect = lambda *call: events.put(f"the broker is gone ({call[3]})")
        client.on_message = lambda *call: self._note_message(call[2], events)
        try:
            client.connect(*self._address, keepalive=KEEPALIVE_S)
        except (OSError, ValueError) as error:
            self._client = None
            raise SourceError(
                f"{self.name} cannot be reached: {clean_error_text(error)}; is the broker running?"
            ) from error
        client.loop_start()
        try:
            event = events.get(timeout=CONNECT_S)
        except Empty:
            event = f"the broker did not answer within {CONNECT_S:g} s"
        if event:
            self.close()
            raise SourceError(f"{self.name}: {event!s}")

    def read(self, timeout_s: float) -> bytes:
        """Return the payloads that have come. Raises LostSourceError where the broker is gone."""
        return b"".join(payload + b"\n" for payload in self.read_payloads(timeout_s))

    def read_payloads(self, timeout_s: float) -> list[bytes]:
        """Return the payloads that have come, waiting up to `timeout_s` for the first. Raises LostSourceError."""
        payloads: list[bytes] = []
        if self._trouble:
            raise LostSourceError(f"{self.name}: {self._trouble}")
        with contextlib.suppress(Empty):
            event = self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()
            while isinstance(event, bytes):
                payloads.append(event)
                event = self._events.get_nowait()
            self._trouble = event
        return payloads

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.on_disconnect = None
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def remark(self) -> str:
        """Say that no message has come, or how many were dropped, since they came faster than they could be read."""
        if not self._received:
            return "no message yet: is this its topic, and may this user read it?"
        return f"{self._dropped} messages dropped" if self._dropped else ""

    def _note_connected(self, client: Any, reason: Any, events: "SimpleQueue[bytes | str]") -> None:
        if reason.is_failure:
            events.put(f"the broker refuses the connection ({str(reason).lower()}): {RIGHTS}")
        else:
            client.subscribe(self._topic, qos=1)

    def _note_subscribed(self, reasons: Any, events: "SimpleQueue[bytes | str]") -> None:
        refused = [str(reason).lower() for reason in reasons if reason.is_failure]
        events.put(f"the broker refuses the topic ({refused[0]}): {RIGHTS}" if refused else "")

    def _note_message(self, message: Any, events: "SimpleQueue[bytes | str]") -> None:
        if message.retain:  # it was published before: nobody knows when
            return
        self._received += 1
        if events.qsize() < MOST_WAITING:
            events.put(message.payload)
        else:
            self._dropped += 1
