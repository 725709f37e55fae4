"""A real MQTT broker of the tests: Debian's mosquitto on loopback, and a client that hears all topics."""

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import create_connection, socket
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
NO_BROKER = "mosquitto is not installed (Debian: apt install mosquitto)"


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A broker that keeps sessions over restarts; `lines` are added to its configuration."""

    def __init__(self, folder: Path, lines: Sequence[str] = ("allow_anonymous true",), port: int = 0) -> None:
        self.port, self._process = port or free_port(), None
        folder.mkdir(exist_ok=True)
        self._config = folder / "mosquitto.conf"
        settings = (
            *(f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {folder}/"),
            *("max_queued_messages 100000", "user root", *lines),
        )
        self._config.write_text("\n".join(settings) + "\n")

    _process: "subprocess.Popen[bytes] | None"

    @property
    def address(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        assert MOSQUITTO is not None
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], **quiet)  # type: ignore[call-overload]
        for _ in range(500):
            try:
                create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, "mosquitto ended"
                time.sleep(0.01)
            else:
                return
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        """Stop, with its sessions kept."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def publishing(port: int, topic: str, numbers: Sequence[bytes], fs: float) -> Iterator[None]:
    """Publish numbers when they are due, a tenth of a second of them at a time; those without a broker are lost."""
    client, over = mqtt.Client(CallbackAPIVersion.VERSION2), threading.Event()
    client.reconnect_delay_set(0.1, 0.5)  # type: ignore[arg-type]  # parts of a second do well
    client.connect("127.0.0.1", port)
    client.loop_start()

    def publish() -> None:
        step, begin_s = round(fs / 10), time.monotonic()
        for first in range(0, len(numbers), step):
            if over.wait(max(0.0, begin_s + (first + step) / fs - time.monotonic())):
                return
            if client.is_connected():
                client.publish(topic, b"\n".join(numbers[first : first + step]), qos=0)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()
    client.loop_stop()


class Subscriber:
    """Hears all topics of a broker, over restarts of it; `messages` as (topic, payload, retained)."""

    def __init__(self, port: int, user: str | None = None, password: str | None = None) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            f"hears-{port}-{id(self)}",
            clean_session=False,
            protocol=mqtt.MQTTv311,
        )
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(0.1, 0.5)  # type: ignore[arg-type]  # parts of a second do well
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, m: self.messages.append((m.topic, bytes(m.payload), m.retain))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def of(self, topic: str) -> list[bytes]:
        """Return the payloads of a topic, in order."""
        return [payload for name, payload, _ in self.messages if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribe(self, client: Any, *_: object) -> None:
        client.subscribe("#", 1)
