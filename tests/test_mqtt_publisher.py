"""agent.outputs.mqtt_publisher against a real mosquitto: topics, Home Assistant, restarts, refusals."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.broker import MOSQUITTO, NO_BROKER, Broker, Subscriber, free_port
from support.indexed import NOW, beat, chunk
from support.web_hook import wait_for_news, wait_until

from agent.core.config import Config
from agent.core.events import OutputRestored, OutputTrouble
from agent.core.messages import Alarm, Ledger
from agent.core.run_clock import RunClock
from agent.core.views import LinkView
from agent.core.wording import event_text
from agent.monitor.snapshot import MonitorFigures
from agent.outputs import sending_thread
from agent.outputs.mqtt_address import parse_mqtt_address, topic_identifier, topic_level
from agent.outputs.mqtt_publisher import MqttPublisher
from model.errors import ConfigError, SourceError

needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason=NO_BROKER)
Open = Callable[..., MqttPublisher]
ALARM = Alarm("1", "run", "asystole", "high", "no QRS for 4.0 s", 100, 600, NOW + 4.8, latching=True)


def figures(**rates: float) -> MonitorFigures:
    beds = rates.keys() or {"1"}
    ledgers = {bed: Ledger(100, 100, 0) for bed in beds}
    return MonitorFigures({"ok": 1}, dict(rates), ledgers, {}, {}, LinkView("tcp://x", "connected", 1, 0), None)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path / "broker")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def hears(broker: Broker) -> Iterator[Subscriber]:
    found = Subscriber(broker.port)
    yield found
    found.close()


@pytest.fixture
def clock() -> RunClock:
    """That of the session."""
    return RunClock()


@pytest.fixture
def publish_to(settings: Config, clock: RunClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens publishers, and closes them after the test."""
    monkeypatch.setattr(sending_thread, "CLOSE_S", 1.0)
    opened: list[MqttPublisher] = []

    def make(address: str, **changes: Any) -> MqttPublisher:
        opened.append(MqttPublisher(address, replace(settings.publish, **changes), clock))
        return opened[-1]

    yield make
    for publisher in opened:
        publisher.close()


@needs_broker
def test_beats_alarms_and_state(broker: Broker, hears: Subscriber, publish_to: Open, clock: RunClock) -> None:
    """Results are JSON as in JSON lines; the state of a bed is kept by the broker and follows rate and alarms."""
    publisher = publish_to(broker.address)
    clock.follow([chunk(0, 500)])
    publisher.push([], [beat(100), ALARM], NOW)
    publisher.publish(figures(**{"1": 71.6}))
    wait_until(lambda: hears.of("ecg-agent/1/state")[-1:] and b'"heart_rate":72' in hears.of("ecg-agent/1/state")[-1])
    (told,) = map(json.loads, hears.of("ecg-agent/1/beat"))
    assert (told["type"], told["bed"], told["sample"], told["class"]) == ("beat", "1", 100, "N")
    assert told["time"] == "2025-01-01T00:00:01.050+00:00"
    (told,) = map(json.loads, hears.of("ecg-agent/1/alarm"))
    assert (told["condition"], told["priority"], told["ended"]) == ("asystole", "high", None)
    state = json.loads(hears.of("ecg-agent/1/state")[-1])
    assert (state["heart_rate"], state["alarm"], state["priority"]) == (72, "asystole", "high")
    assert state["since"] == told["time"] == "2025-01-01T00:00:01.050+00:00", "however late it was announced"
    publisher.push([], [replace(ALARM, ended=900), replace(ALARM, ended=900, acknowledged_s=NOW + 9)], NOW)
    wait_until(lambda: json.loads(hears.of("ecg-agent/1/state")[-1])["alarm"] == "none")
    before = len(hears.messages)
    publisher.publish(figures(**{"1": 71.7}))
    publisher.publish(figures())
    wait_until(lambda: json.loads(hears.of("ecg-agent/1/state")[-1])["heart_rate"] is None)
    assert len(hears.messages) == before + 1, "what did not change is not told again"


@needs_broker
def test_home_assistant_discovers_beds(broker: Broker, publish_to: Open, clock: RunClock) -> None:
    """Whoever comes later finds a retained config for each sensor; what it names is there: topics and values."""
    publisher = publish_to(f"{broker.address}/ward/3", discovery="ha")
    clock.follow([chunk(0, 500, bed="a/b+#ü")])
    publisher.push([], [replace(beat(100), bed="a/b+#ü")], NOW)
    publisher.publish(figures(**{"a/b+#ü": 60.0}))
    time.sleep(0.5)
    late = Subscriber(broker.port)
    wait_until(lambda: len(late.messages) >= 4)
    late.close()
    assert all(retained for _, _, retained in late.messages)
    configs = {topic: json.loads(payload) for topic, payload, _ in late.messages if topic.startswith("ha/")}
    assert set(configs) == {
        f"ha/sensor/ward_3_{topic_identifier('a/b+#ü')}/{name}/config" for name in ("heart_rate", "alarm")
    }
    topics = {topic: payload for topic, payload, _ in late.messages}
    for config in configs.values():
        assert topics[config["availability_topic"]] == b"online"
        value = config["value_template"].removeprefix("{{ value_json.").removesuffix(" }}")
        assert value in json.loads(topics[config["state_topic"]])
    assert len({config["unique_id"] for config in configs.values()}) == 2
    assert len({json.dumps(config["device"]) for config in configs.values()}) == 1


@needs_broker
def test_availability(broker: Broker, hears: Subscriber, publish_to: Open) -> None:
    """Online while there is a connection; offline after a clean end, and by the last will after a crash."""
    publisher = publish_to(broker.address)
    wait_until(lambda: hears.of("ecg-agent/status") == [b"online"])
    publisher.close()
    wait_until(lambda: hears.of("ecg-agent/status") == [b"online", b"offline"])
    crashing = publish_to(broker.address)
    wait_until(lambda: hears.of("ecg-agent/status")[-1] == b"online")
    found = crashing._connection._client.socket()
    found.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: hears.of("ecg-agent/status")[-2:] == [b"offline", b"online"])


@pytest.mark.slow
@needs_broker
def test_a_broker_that_restarts(broker: Broker, hears: Subscriber, publish_to: Open) -> None:
    """Restarted three times under a flow of beats: back within 5 s each time, and every beat arrives."""
    publisher, sent = publish_to(broker.address), 0
    stop = threading.Event()

    def send() -> None:
        nonlocal sent
        while not stop.is_set():
            publisher.push([], [replace(beat(sent), sample=sent)], NOW)
            sent += 1
            time.sleep(0.005)

    thread = threading.Thread(target=send)
    thread.start()
    news: list[Any] = []
    for _ in range(3):
        time.sleep(0.5)
        broker.stop()
        time.sleep(0.5)
        broker.start()
        began = time.monotonic()
        news += wait_for_news(publisher, restored)
        assert time.monotonic() - began < 5
    stop.set()
    thread.join()
    wait_until(lambda: len({json.loads(m)["sample"] for m in hears.of("ecg-agent/1/beat")}) == sent)
    assert sent > 100
    assert sum(event.dropped for event in restored(news)) == 0


def restored(news: list[Any]) -> list[OutputRestored]:
    return [event for event in news if isinstance(event, OutputRestored)]


@needs_broker
def test_what_is_dropped_is_counted(tmp_path: Path, publish_to: Open) -> None:
    """While the broker is away the oldest results give way; how many is told when it is back, and adds up."""
    broker = Broker(tmp_path / "late")
    publisher = publish_to(broker.address, queue=50)
    for i in range(200):
        publisher.push([], [beat(i)], NOW)
    broker.start()
    hears = Subscriber(broker.port)
    news = wait_for_news(publisher, restored)
    wait_until(lambda: len(hears.of("ecg-agent/1/beat")) >= 50)
    publisher.close()
    news += publisher.news()
    dropped = sum(event.dropped for event in news)
    assert dropped + len(hears.of("ecg-agent/1/beat")) == 200
    assert dropped == 150
    assert isinstance(news[0], OutputTrouble)
    hears.close()
    broker.stop()


def test_no_broker_is_no_reason_not_to_monitor(publish_to: Open) -> None:
    """An unreachable broker is tried again: the monitor begins; the end says what is lost."""
    publisher = publish_to(f"mqtt://me:secret@127.0.0.1:{free_port()}", queue=1000)
    began = time.monotonic()
    for i in range(2000):
        publisher.push([], [beat(i)], NOW)
    assert time.monotonic() - began < 2
    publisher.close()
    first, *_, last = publisher.news()
    assert "refused" in event_text(first)
    assert isinstance(last, OutputTrouble)
    assert (last.reason, last.dropped) == ("the monitor ended", 2000)
    assert "secret" not in event_text(first) + event_text(last)


@needs_broker
@pytest.mark.parametrize("address", ["mqtt://127.0.0.1:{}", "mqtt://ward:wrong@127.0.0.1:{}"])
def test_a_broker_that_refuses_us(tmp_path: Path, publish_to: Open, address: str) -> None:
    """Without the right password there is one line, without the password, at the start."""
    passwords = tmp_path / "passwords"
    tool = shutil.which("mosquitto_passwd")
    assert tool is not None
    subprocess.run([tool, "-b", "-c", str(passwords), "ward", "p%w"], check=True)
    passwords.chmod(0o644)
    broker = Broker(tmp_path / "strict", ["allow_anonymous false", f"password_file {passwords}"])
    broker.start()
    try:
        with pytest.raises(SourceError, match=r"refuses us: (Not authorized|Bad user name or password)") as refused:
            publish_to(address.format(broker.port))
        assert "wrong" not in str(refused.value)
        publish_to(f"mqtt://ward:p%25w@127.0.0.1:{broker.port}").push([], [beat(1)], NOW)
        hears = Subscriber(broker.port, "ward", "p%w")
        wait_until(lambda: hears.of("ecg-agent/status") == [b"online"])
        hears.close()
    finally:
        broker.stop()


@needs_broker
def test_a_broker_that_gives_no_right_to_write(tmp_path: Path, publish_to: Open) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic read #\ntopic write ours/#\n")
    rights.chmod(0o644)
    broker = Broker(tmp_path / "rights-only", ["allow_anonymous true", f"acl_file {rights}"])
    broker.start()
    try:
        with pytest.raises(SourceError, match="no message to ecg-agent/status: Not authorized"):
            publish_to(broker.address)
        publish_to(f"{broker.address}/ours")
    finally:
        broker.stop()


@needs_broker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a socket open
def test_over_tls(tmp_path: Path, publish_to: Open) -> None:
    """A broker whose certificate is signed by an authority of one's own is taken with mqtt_ca, and refused without."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subject = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([openssl, *made, *subject], check=True, capture_output=True)
    for path in (key, certificate):
        path.chmod(0o644)
    broker = Broker(tmp_path / "tls", ["allow_anonymous true", f"certfile {certificate}", f"keyfile {key}"])
    broker.start()
    address = f"mqtts://127.0.0.1:{broker.port}"
    try:
        with pytest.raises(SourceError, match="certificate is not trusted"):
            publish_to(address)
        publisher = publish_to(address, mqtt_ca=str(certificate))
        publisher.push([], [beat(1)], NOW)
        publisher.close()
        assert publisher.news() == []
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtt://host", "mqtt://host:1883/ecg-agent"),
        ("mqtts://u:p%40ss@host:1/a/b/", "mqtts://host:1/a/b"),
        ("mqtt://[::1]", "mqtt://[::1]:1883/ecg-agent"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    parsed = parse_mqtt_address(text)
    assert parsed.shown == shown
    assert parsed.password in (None, "p@ss")


def test_names_of_beds_in_topics() -> None:
    """A plain name stays; what topics must not have is replaced, and beds stay apart."""
    assert topic_level("Bed 7 ü") == "Bed 7 ü"
    assert re.fullmatch("a_b_[0-9a-f]{8}", topic_level("a/b"))
    assert len({topic_level("a/b"), topic_level("a+b"), topic_level("a_b")}) == 3
    assert re.fullmatch("[A-Za-z0-9_-]+", topic_identifier("甲"))
    assert topic_identifier("甲") != topic_identifier("乙")


@pytest.mark.parametrize(
    "text",
    ["mqtt://", "mqtt:host", "mqtt://u:secret@h:99999", "mqtt://u:secret@h/#", "mqtt://u:sec?ret@h", "mqtt://h/+"],
)
def test_addresses_that_make_no_sense(text: str) -> None:
    """One line, which does not repeat the password."""
    with pytest.raises(ConfigError, match="write mqtt://") as refused:
        parse_mqtt_address(text)
    assert "sec" not in str(refused.value)


@pytest.mark.parametrize("text", ["mqtts://u:sec/ret@h", "mqtts://u:1/sec@h", "mqtts://u:sec#ret@h"])
def test_passwords_that_look_like_something_else(text: str) -> None:
    """A password with signs of its own is not taken for a host and a path, and how to write it is said."""
    with pytest.raises(ConfigError, match=r"^--publish mqtt://… .* write %2F for /, .*%23 for #") as refused:
        parse_mqtt_address(text)
    assert "sec" not in str(refused.value)
