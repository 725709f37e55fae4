"""The options --notify and --publish, from the command line to what arrives."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest
from support.broker import MOSQUITTO, NO_BROKER, Broker, Subscriber, free_port
from support.web_hook import WebHook
from test_cli import parse_lines, run, simulator

from agent.core.config import Config
from agent.core.run_clock import RunClock
from agent.outputs.output_options import open_outputs
from model.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # in Apprise
HAS_APPRISE = importlib.util.find_spec("apprise") is not None
needs_apprise = pytest.mark.skipif(not HAS_APPRISE, reason="Apprise is not installed (extra notify)")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--publish", "nonsense"], "--publish takes mqtt://HOST"),
        (["--publish", "mqtt://user:secret@"], "the host is missing; write mqtt://"),
        (["--publish", f"lsl:{'x' * 80}"], "at most 64 characters"),
        (["--publish", "@nowhere"], "--publish @nowhere: cannot read nowhere: No such file or directory"),
        (["--notify", "@nowhere"], "--notify @nowhere: cannot read nowhere: No such file or directory"),
        (["--notify", "@/dev/zero"], "--notify @/dev/zero: /dev/zero is no list of addresses: it is longer than 64 kB"),
        (["--publish", "mqtt://user:secret/x@host"], "write %2F for /"),
        pytest.param(["--notify", "tgram://secret"], "--notify tgram://… is no URL", marks=needs_apprise),
    ],
)
def test_what_makes_no_sense(settings: Config, options: list[str], reason: str) -> None:
    """An address that makes no sense is refused in a line, without what may be secret."""
    notify, publish = ([options[1]], []) if options[0] == "--notify" else ([], [options[1]])
    with pytest.raises(ConfigError) as refused:
        open_outputs(notify, publish, settings, RunClock())
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)


def test_addresses_from_a_file(settings: Config, tmp_path: Path) -> None:
    """A file keeps secrets out of the command line: an address a line, comments and empty lines left out."""
    file = tmp_path / "addresses"
    file.write_text("# our broker\n\n  mqtt://127.0.0.1:1/a  \nmqtt://127.0.0.1:1/b\n")
    outputs = open_outputs([], [f"@{file}"], settings, RunClock())
    try:
        assert [type(output).__name__ for output in outputs] == ["MqttPublisher"] * 2
    finally:
        for output in outputs:
            output.close()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        open_outputs([], [f"@{file}"], settings, RunClock())


@pytest.mark.slow
def test_exit_codes_of_the_command() -> None:
    """A wrong URL ends the command with 3, a wrong priority too, in one line and before it monitors."""
    for options in (["--publish", "nonsense"], ["--notify-from", "urgent"]):
        done = run("monitor", "--endpoint", f"tcp://127.0.0.1:{free_port()}", *options)
        assert done.returncode == 3
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
@needs_apprise
@pytest.mark.skipif(MOSQUITTO is None, reason=NO_BROKER)
def test_from_the_stream_to_whoever_hears(tmp_path: Path) -> None:
    """Record 207 fibrillates: the alarms are told and the beats published, and the recording says that they were."""
    hook, broker = WebHook(), Broker(tmp_path / "broker")
    broker.start()
    hears = Subscriber(broker.port)
    addresses = tmp_path / "urls"
    addresses.write_text(f"{hook.url}\n")
    try:
        with simulator("record", "207", "--duration", "55", "--speed", "4") as (endpoint, _):
            command = ["monitor", "--endpoint", endpoint, "--json", "--until-end", "--record", str(tmp_path / "night")]
            done = run(*command, "--notify", f"@{addresses}", "--publish", broker.address)
        assert done.returncode == 0, done.stderr
        lines = parse_lines(done.stdout)
        beats = [line for line in lines if line["type"] == "beat"]
        published = [json.loads(payload) for payload in hears.of("ecg-agent/207/beat")]
        assert [beat["sample"] for beat in published] == [beat["sample"] for beat in beats]
        assert [beat["time"] for beat in published] == [beat["time"] for beat in beats]
        assert all(beat["time"] for beat in beats)
        sent = [line["data"]["condition"] for line in lines if line.get("event") == "NotificationSent"]
        high = {line["condition"] for line in lines if line["type"] == "alarm" and line["priority"] == "high"}
        assert {"ventricular fibrillation", "ventricular tachycardia"} <= high
        assert high == set(sent)
        text = "\n".join(message["message"] for message in hook.taken)
        assert all(condition in text for condition in high)
        assert run("convert", str(tmp_path / "night"), str(tmp_path / "a.csv"), "--table", "alarms").returncode == 0
        with (tmp_path / "a.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["condition"] for row in rows if row["notified"] == "sent"} == high
        assert hears.of("ecg-agent/status")[-1] == b"offline"
    finally:
        hears.close()
        broker.stop()
        hook.close()
