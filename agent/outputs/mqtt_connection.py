"""One connection to an MQTT broker: opened, refused or lost, and what it has acknowledged."""

import contextlib
import socket
import ssl
import threading
import uuid
from typing import Any

from agent.outputs.mqtt_address import MqttAddress
from agent.outputs.mqtt_topics import OFFLINE, MqttMessage, status_topic
from model.errors import ConfigError, clean_error_text
from model.extras import import_extra

CONNECT_S = 5.0
"""How long a broker may take to answer."""
KEEPALIVE_S = 15
MOST_UNACKNOWLEDGED = 20
"""Messages under way: as many as mosquitto allows."""
QUALITY = 1
"""Each message arrives at least once."""


class BrokerRefusedError(Exception):
    """The broker answers, and does not let us in, or not write: trying again will not help."""


class MqttConnection:
    """Connections to one broker, one after the other. All methods are for one thread.

    `condition` is notified when something comes back. What a lost connection leaves unacknowledged is sent again by the
    next one. Raises ConfigError if paho-mqtt is not installed.
    """

    def __init__(self, address: MqttAddress, authority: str, condition: threading.Condition) -> None:
        self._mqtt: Any = import_extra("paho.mqtt.client", "mqtt")
        self._address, self._condition = address, condition
        self._context = _tls_context(authority) if address.tls else None
        self._protocol = self._mqtt.MQTTv5
        self._client: Any = None
        self._unacknowledged: dict[int, MqttMessage] = {}
        self._early: set[int] = set()
        """Acknowledged before we knew the number of the message."""
        self._left: list[MqttMessage] = []
        """What the connections before did not get acknowledged."""
        self._answer: Any = None
        self._is_up = False
        self.lost_reason = ""
        self.denied = ""
        """Why the broker did not take a message."""

    @property
    def is_up(self) -> bool:
        return self._is_up

    @property
    def unacknowledged(self) -> int:
        """Messages under way."""
        return len(self._unacknowledged) + len(self._left)

    def open(self) -> None:
        """Connect. Raises OSError if the broker does not answer, BrokerRefusedError if it does not let us in."""
        self.close_socket()
        self._left += self._unacknowledged.values()
        self._unacknowledged, self._early, self._answer = {}, set(), None
        self._client = self._make_client()
        try:
            self._client.connect(self._address.host, self._address.port, KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            raise BrokerRefusedError(f"its certificate is not trusted: {error.verify_message}") from error
        except (UnicodeError, ValueError) as error:  # names that no network knows
            raise OSError(f"no such host ({clean_error_text(error)})") from error
        self._client.loop_start()
        with self._condition:
            self._condition.wait_for(lambda: self._answer is not None, CONNECT_S)
            answer = self._answer
        if answer is None:
            self.close_socket()
            raise OSError("it does not answer as a broker does")
        if answer.is_failure:
            self.close_socket()
            if str(answer) == "Unsupported protocol version" and self._protocol == self._mqtt.MQTTv5:
                self._protocol = self._mqtt.MQTTv311
                self.open()
                return
            raise BrokerRefusedError(str(answer))
        left, self._left = self._left, []
        for message in left:
            self.send(message)

    def send(self, message: MqttMessage) -> None:
        """Send a message; at most MOST_UNACKNOWLEDGED may be under way. Never waits for the broker."""
        info = self._client.publish(message.topic, message.payload, QUALITY, message.retain)
        with self._condition:
            if info.mid in self._early:
                self._early.discard(info.mid)
            else:
                self._unacknowledged[info.mid] = message

    def close_socket(self) -> None:
        """Be connected no more; the broker gets our last will unless `leave` came first."""
        self._is_up = False
        if self._client is not None:
            if (found := self._client.socket()) is not None:
                with contextlib.suppress(OSError):
                    found.shutdown(socket.SHUT_RDWR)  # wakes the thread of the client
            self._client.loop_stop()
            self._client = None

    def leave(self) -> None:
        """Say goodbye: the broker does not send our last will."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None
        self._is_up = False

    def _make_client(self) -> Any:
        client = self._mqtt.Client(
            self._mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"ecg-agent-{uuid.uuid4().hex[:12]}",
            protocol=self._protocol,
            reconnect_on_failure=False,
        )
        if self._address.user is not None:
            client.username_pw_set(self._address.user, self._address.password)
        if self._context is not None:
            client.tls_set_context(self._context)
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(MOST_UNACKNOWLEDGED)
        client.will_set(status_topic(self._address.prefix), OFFLINE, QUALITY, retain=True)
        client.on_connect, client.on_disconnect = self._note_answer, self._note_loss
        client.on_publish = self._note_acknowledged
        return client

    def _note_answer(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:  # noqa: ARG002
        with self._condition:
            self._answer, self._is_up = reason, not reason.is_failure
            self._condition.notify_all()

    def _note_loss(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:  # noqa: ARG002
        with self._condition:
            self._is_up, self.lost_reason = False, f"connection lost ({reason})"
            self._condition.notify_all()

    def _note_acknowledged(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:  # noqa: ARG002
        with self._condition:
            if self._unacknowledged.pop(mid, None) is None:
                self._early.add(mid)
            if reason.is_failure:
                self.denied = str(reason)
            self._condition.notify_all()


def _tls_context(authority: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"publish.mqtt_ca: cannot read {authority}: {clean_error_text(error)}") from error
