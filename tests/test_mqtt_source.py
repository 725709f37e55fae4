"""agent.bridge.mqtt_topic: a real broker, Debian's mosquitto: topics, rights, restarts."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bridged import RunningBridge, wait_until

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from support.broker import MOSQUITTO, NO_BROKER, Broker, free_port

from agent.bridge.open_source import open_source
from agent.bridge.sensor_source import source_lead
from agent.bridge.source_options import CountSize, SourceOptions
from agent.bridge.wire_payloads import join_payload
from agent.core.config import Config, override_config
from agent.core.messages import Chunk
from agent.wire.packets import encode_frames
from model.errors import ConfigError, SourceError

TOPIC = "ward/bed1"
OPTIONS = SourceOptions(fs=250.0, unit=CountSize("uV", 1.0))
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason=NO_BROKER)


def publisher(broker: Broker, *login: str) -> Any:
    """Return a connected client."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if login:
        client.username_pw_set(*login)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    wait_until(client.is_connected, "the publisher", 10.0)
    return client


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker that knows one user, who may read one topic."""
    passwords, rights = tmp_path / "passwords", tmp_path / "rights"
    command = shutil.which("mosquitto_passwd")
    if command is None:
        pytest.skip("mosquitto_passwd is not installed")
    subprocess.run([command, "-b", "-c", str(passwords), "nurse", "p@ss/word"], check=True, capture_output=True)
    rights.write_text(f"user nurse\ntopic readwrite {TOPIC}\n", encoding="utf-8")
    for path in (passwords, rights):
        path.chmod(0o600)
    made = Broker(tmp_path, ("allow_anonymous false", f"password_file {passwords}", f"acl_file {rights}"))
    made.start()
    yield made
    made.stop()


def publish_all(client: Any, payloads: list[bytes], topic: str = TOPIC) -> None:
    for payload in payloads:
        client.publish(topic, payload, qos=1).wait_for_publish(10)


def bridge_of(settings: Config, broker: Broker, login: str = "") -> RunningBridge:
    return RunningBridge(settings, open_source(f"mqtt://{login}127.0.0.1:{broker.port}/{TOPIC}", OPTIONS))


def is_open(bridge: RunningBridge) -> Callable[[], bool]:
    return lambda: any("is open" in text for text in bridge.said)


@needs_broker
@pytest.mark.parametrize(
    "payloads",
    [
        [b"%d" % n for n in range(100)],
        [b"\n".join(b"%d" % n for n in range(start, start + 20)) for start in range(0, 100, 20)],
        [json.dumps([n]).encode() for n in range(100)],
        [json.dumps({"ecg": list(range(start, start + 25))}).encode() for start in range(0, 100, 25)],
        [json.dumps({"seq": start, "ecg": list(range(start, start + 10))}).encode() for start in range(0, 100, 10)],
    ],
    ids=["numbers", "lines", "arrays", "objects", "numbered"],
)
def test_payloads(settings: Config, broker: Broker, payloads: list[bytes]) -> None:
    """A number, lines of numbers, arrays, objects of arrays: each sample once, in order."""
    with bridge_of(settings, broker) as bridge:
        wait_until(is_open(bridge), "the topic")
        client = publisher(broker)
        publish_all(client, payloads)
        wait_until(lambda: bridge.stream.samples == 100, "all samples", 10.0)
        client.loop_stop()
    assert bridge.error is None
    assert bridge.stream.lost == 0


@needs_broker
def test_what_was_retained_is_left_out(settings: Config, broker: Broker) -> None:
    """A message that the broker kept is of an unknown time: no sample."""
    client = publisher(broker)
    client.publish(TOPIC, b"99999", qos=1, retain=True).wait_for_publish(10)
    with bridge_of(settings, broker) as bridge:
        wait_until(is_open(bridge), "the topic")
        publish_all(client, [b"1"] * 20)
        wait_until(lambda: bridge.stream.samples >= 20, "the samples", 10.0)
        client.loop_stop()
    assert bridge.stream.samples == 20


@needs_broker
def test_numbers_tell_what_was_lost(settings: Config, broker: Broker) -> None:
    """Messages with "seq" show which samples are missing."""
    with bridge_of(settings, broker) as bridge:
        wait_until(is_open(bridge), "the topic")
        client = publisher(broker)
        numbered = [json.dumps({"seq": n, "ecg": [n] * 5}).encode() for n in range(0, 200, 5) if n != 100]
        publish_all(client, numbered)
        wait_until(lambda: bridge.stream.samples == 200, "all samples", 10.0)
        client.loop_stop()
    assert bridge.stream.lost == 5


@needs_broker
def test_packets_of_the_wire(settings: Config, broker: Broker) -> None:
    """A device that sends packets through the broker keeps its rate, its leads and its index."""
    source = open_source(f"mqtt://127.0.0.1:{broker.port}/{TOPIC}", SourceOptions(frames="wire"))
    leads = (source_lead("II", "uV", 1.0),)
    with RunningBridge(settings, source) as bridge:
        wait_until(is_open(bridge), "the topic")
        client = publisher(broker)
        chunks = [Chunk("x", "run", n, 125.0, leads, np.full((5, 1), n, np.int32), 1.0) for n in (0, 5, 10, 30)]
        publish_all(client, [join_payload(encode_frames(chunk)) for chunk in chunks])
        wait_until(lambda: bridge.stream.samples == 35, "all samples", 10.0)
        client.loop_stop()
    assert bridge.stream.lost == 15
    assert any("125 Hz, II in uV" in text for text in bridge.said)


@needs_broker
def test_rights(settings: Config, guarded: Broker) -> None:
    """Without a password, with a wrong one, and of a topic that is not allowed: one line with what to check."""
    for login, topic, reason in (
        ("", TOPIC, "the broker refuses the connection .not authorized.*check user and password"),
        ("nurse:wrong@", TOPIC, "the broker refuses the connection"),
    ):
        source = open_source(f"mqtt://{login}127.0.0.1:{guarded.port}/{topic}", OPTIONS)
        with pytest.raises(SourceError, match=reason) as refused:
            source.open()
        assert "wrong" not in str(refused.value)
    with bridge_of(settings, guarded, "nurse:p%40ss%2Fword@") as bridge:
        wait_until(is_open(bridge), "the topic")
        client = publisher(guarded, "nurse", "p@ss/word")
        publish_all(client, [b"1"] * 20)
        wait_until(lambda: bridge.stream.samples == 20, "the samples", 10.0)
        client.loop_stop()


@needs_broker
def test_a_topic_that_may_not_be_read(settings: Config, guarded: Broker) -> None:
    """A broker may hide that a user may not read a topic: nothing comes, and the error says what to check."""
    source = open_source(f"mqtt://nurse:p%40ss%2Fword@127.0.0.1:{guarded.port}/other", OPTIONS)
    impatient = override_config(settings, "bridge", timeout_s=1.0)
    with RunningBridge(impatient, source) as bridge:
        wait_until(lambda: bridge.error is not None, "the error", 10.0)
    assert "nothing comes from mqtt://127.0.0.1" in str(bridge.error)
    assert "no message yet: is this its topic, and may this user read it?" in str(bridge.error)


def test_no_broker() -> None:
    """A broker that is not there is an error with its address."""
    with pytest.raises(SourceError, match=r"mqtt://127.0.0.1:\d+/ward/bed1 cannot be reached: .*is the broker running"):
        open_source(f"mqtt://127.0.0.1:{free_port()}/{TOPIC}", OPTIONS).open()


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("mqtt://host", "names no topic: write it like mqtt://"),
        ("mqtt:///topic", "names no broker"),
        ("mqtt://host/ward/+", "stands for several"),
        ("mqtt://host/ward/#", "stands for several"),
        ("mqtt://host:port/x", "makes no sense"),
        ("mqtt:", "names no broker"),
        ("mqtt://u:secret/x@host/ward", "write %2F for /"),
        ("mqtt://u:12/secret@host/ward", "write %2F for /"),
        ("mqtt://u:#secret@host/ward", "%23 for #"),
    ],
)
def test_addresses_that_make_no_sense(place: str, reason: str) -> None:
    """Wildcards, and addresses without broker or topic, are refused before anything is connected."""
    with pytest.raises(ConfigError, match=reason) as refused:
        open_source(place, OPTIONS)
    assert "secret" not in str(refused.value)


@needs_broker
@pytest.mark.slow
def test_the_broker_restarts_again_and_again(settings: Config, broker: Broker) -> None:
    """Each time the bridge is back within five seconds, and what was lost is declared."""
    back_s = []
    with bridge_of(settings, broker) as bridge:
        wait_until(is_open(bridge), "the topic")
        began_s = 0.0
        for turn in range(3):
            client = publisher(broker)
            back_s.append(_publish_until_heard(client, bridge))
            began_s = began_s or time.monotonic()
            client.loop_stop()
            broker.stop()
            time.sleep(0.15 * turn)
            broker.start()
        took_s = time.monotonic() - began_s
        bridge.stop()
    assert bridge.final is not None
    assert bridge.final.interruptions >= 2
    assert max(back_s) < 5.0
    assert bridge.final.samples / 250 == pytest.approx(took_s, rel=0.2, abs=2.0)
    assert bridge.final.lost > 0


def _publish_until_heard(client: Any, bridge: RunningBridge) -> float:
    """Publish a quarter of a second of samples at a time until a second of them is heard; return after how long."""
    begin_s = time.monotonic()
    heard_s = 0.0
    before = bridge.stream.samples - bridge.stream.lost
    number = 0
    while bridge.stream.samples - bridge.stream.lost < before + 250:
        assert time.monotonic() - begin_s < 20
        client.publish(TOPIC, b"\n".join([b"5"] * 25), qos=0)
        number += 1
        time.sleep(max(0.0, begin_s + number / 10 - time.monotonic()))
        if not heard_s and bridge.stream.samples - bridge.stream.lost > before:
            heard_s = time.monotonic() - begin_s
    return heard_s
