"""agent.outputs.notifications: alarms told by Apprise to a real web server and a real mail server."""

import importlib.util
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.web_hook import WebHook, wait_for_news, wait_until

from agent.core.config import Config
from agent.core.events import NotificationFailed, NotificationSent, OutputRestored, OutputTrouble
from agent.core.messages import Alarm
from agent.core.output_settings import NotifyConfig
from agent.core.run_clock import RunClock
from agent.core.wording import event_text
from agent.outputs import notifications as module
from agent.outputs import sending_thread
from agent.outputs.apprise_target import AppriseTarget
from agent.outputs.notification_text import MOST_LINES, NO_MEDICAL_ALARM, NoticeMessage, PendingNotice, compose_message
from agent.outputs.notifications import NotificationSink
from agent.outputs.sending_thread import growing_pause
from model.errors import ConfigError

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("apprise") is None, reason="Apprise is not installed (extra notify)"),
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # in Apprise, when it is loaded
]
NOW = 1_735_689_600.25
Open = Callable[..., NotificationSink]


def alarm(onset: int = 100, bed: str = "7", condition: str = "asystole", priority: str = "high") -> Alarm:
    times = onset + 500, NOW + 4
    return Alarm(bed, "run", condition, priority, "no QRS for 4.0 s", onset, *times)  # type: ignore[arg-type]


@pytest.fixture
def hook() -> Iterator[WebHook]:
    server = WebHook()
    yield server
    server.close()


@pytest.fixture
def plan(settings: Config, monkeypatch: pytest.MonkeyPatch) -> NotifyConfig:
    """The default settings, with attempts that follow each other quickly."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(sending_thread, "CLOSE_S", 1.0)
    return replace(settings.notify, longest_pause_s=0.2)


@pytest.fixture
def open_sink(plan: NotifyConfig) -> Iterator[Open]:
    """Opens sinks, and closes them after the test."""
    sinks: list[NotificationSink] = []

    def make(url: str, **changes: Any) -> NotificationSink:
        sinks.append(NotificationSink(url, replace(plan, **changes), RunClock()))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def test_an_alarm_is_told(hook: WebHook, open_sink: Open) -> None:
    """The message names bed, condition, reason and the time by the clock, and that it is no medical alarm."""
    sink = open_sink(hook.url)
    sink.push([], [alarm()], NOW + 4)
    wait_until(lambda: hook.taken)
    (message,) = hook.taken
    assert message["title"] == "!!! bed 7: asystole"
    assert message["type"] == "failure"
    line, last = message["message"].splitlines()
    assert last == NO_MEDICAL_ALARM
    assert "bed 7, asystole (high priority): no QRS for 4.0 s; since " in line
    stamp = re.match(r"\S+ [\d:]+[+-]\d\d:\d\d", line)
    assert stamp is not None
    assert datetime.fromisoformat(stamp.group()).timestamp() == int(NOW + 4)
    (sent,) = wait_for_news(sink)
    assert isinstance(sent, NotificationSent)
    assert (sent.bed, sent.run, sent.sample, sent.condition) == ("7", "run", 100, "asystole")
    assert "hidden" not in event_text(sent)


def test_a_service_that_fails_is_tried_again(hook: WebHook, open_sink: Open) -> None:
    """After errors the same alarm is told, once; trouble and its end are announced, without the secret."""
    hook.status = 500
    sink = open_sink(hook.url)
    sink.push([], [alarm()], NOW)
    wait_until(lambda: hook.refused >= 3)
    hook.status = 200
    wait_until(lambda: hook.taken)
    sink.close()
    kinds = sink.news()
    assert [type(event) for event in kinds] == [OutputTrouble, NotificationSent, OutputRestored]
    assert "500" in event_text(kinds[0])
    assert not [event for event in kinds if "hidden" in event_text(event)]
    assert len(hook.taken) == 1


def test_a_service_that_is_not_there_yet(open_sink: Open) -> None:
    """An alarm waits for a server that starts later; what ended meanwhile is told as over, in one message."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sink = open_sink(f"json://127.0.0.1:{port}/x")
    sink.push([], [alarm()], NOW)
    wait_until(lambda: any(isinstance(event, OutputTrouble) for event in sink.news()))
    sink.push([], [replace(alarm(), ended=900)], NOW + 5)
    hook = WebHook(port=port)
    wait_until(lambda: hook.taken)
    sink.close()
    hook.close()
    assert [message["title"] for message in hook.taken] == ["!!! bed 7: over: asystole"]


def test_what_cannot_be_told_is_said_at_the_end(hook: WebHook, open_sink: Open) -> None:
    """The end waits a little, and no longer; an alarm that was not told has an event that says so."""
    hook.status = 503
    sink = open_sink(hook.url)
    sink.push([], [alarm()], NOW)
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 8
    failed = [event for event in sink.news() if isinstance(event, NotificationFailed)]
    assert [(event.sample, event.condition, event.reason) for event in failed] == [
        (100, "asystole", "the monitor ended")
    ]


def test_an_alarm_is_given_up_after_a_while(hook: WebHook, open_sink: Open) -> None:
    hook.status = 503
    sink = open_sink(hook.url, give_up_s=0.2)
    sink.push([], [alarm()], NOW)
    wait_for_news(sink, lambda news: any(isinstance(event, NotificationFailed) for event in news))


def test_too_many_are_summed_up(hook: WebHook, open_sink: Open) -> None:
    """The limit of a bed holds back messages; the next one names what was held back, and none is lost."""
    sink = open_sink(hook.url, bed_messages=1, bed_pause_s=1.0)
    sink.push([], [alarm(1)], NOW)
    wait_until(lambda: len(hook.taken) == 1)
    for onset in range(2, 7):
        sink.push([], [alarm(onset)], NOW)
    time.sleep(0.3)
    assert len(hook.taken) == 1
    wait_until(lambda: len(hook.taken) == 2)
    assert hook.taken[1]["title"].endswith("and 4 more")
    assert hook.taken[1]["message"].count("asystole") == 5
    sink.close()
    assert sorted(e.sample for e in sink.news() if isinstance(e, NotificationSent)) == list(range(1, 7))


def test_low_alarms_never_hold_up_high_ones(hook: WebHook, open_sink: Open) -> None:
    """Limits count each priority by itself."""
    limits = {"bed_messages": 1, "bed_pause_s": 1000.0, "all_messages": 1, "all_pause_s": 1000.0}
    sink = open_sink(hook.url, priority="low", **limits)
    sink.push([], [alarm(1, condition="couplet", priority="low")], NOW)
    wait_until(lambda: len(hook.taken) == 1)
    sink.push([], [alarm(2, condition="couplet", priority="low"), alarm(3)], NOW)
    wait_until(lambda: len(hook.taken) == 2)
    assert hook.taken[1]["title"] == "!!! bed 7: asystole and 1 more"


@pytest.mark.parametrize(
    ("least", "told"),
    [("high", ["asystole"]), ("medium", ["asystole", "pause"]), ("low", ["asystole", "pause", "noise"])],
)
def test_by_priority(hook: WebHook, open_sink: Open, least: str, told: list[str]) -> None:
    """Alarms of the chosen priority and above are told, in the order of their urgency."""
    sink = open_sink(hook.url, priority=least)
    every = [("noise", "low"), ("pause", "medium"), ("asystole", "high")]
    sink.push([], [alarm(i, condition=name, priority=priority) for i, (name, priority) in enumerate(every)], NOW)
    wait_until(lambda: hook.taken)
    assert re.findall(r"bed 7, (\w+)", hook.taken[0]["message"]) == told


def test_the_end_of_a_high_alarm_is_told_once(hook: WebHook, open_sink: Open) -> None:
    """A worse text, an acknowledgement, and ends of others are not told; nor is the end of one that was seen to."""
    sink = open_sink(hook.url, priority="medium")
    other = alarm(5, condition="pause", priority="medium")
    sink.push([], [alarm(), other, alarm(9)], NOW)
    wait_until(lambda: len(hook.taken) == 1)
    seen = replace(alarm(9), acknowledged_s=NOW + 2)
    sink.push([], [replace(alarm(), text="no QRS for 9 s"), replace(other, ended=700), seen], NOW + 5)
    sink.push([], [replace(alarm(), ended=800), replace(seen, ended=800)], NOW + 6)
    wait_until(lambda: len(hook.taken) == 2)
    sink.close()
    assert [message["title"] for message in hook.taken][1:] == ["!!! bed 7: over: asystole"]
    assert [e.is_over for e in sink.news() if isinstance(e, NotificationSent)] == [False, False, False, True]


def test_a_slow_service_never_delays_the_monitor(hook: WebHook, open_sink: Open) -> None:
    """Thousands of alarms are taken in no time while nothing can be sent; what waits is bounded."""
    hook.status = 500
    sink = open_sink(hook.url)
    began = time.monotonic()
    for onset in range(3000):
        sink.push([], [alarm(onset)], NOW)
    assert time.monotonic() - began < 3
    assert len(sink._waiting) <= module.MOST_WAITING
    sink.close()
    assert len([e for e in sink.news() if isinstance(e, NotificationFailed)]) == sending_thread.MOST_NEWS


def test_a_fault_of_ours_is_said(hook: WebHook, open_sink: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread does not end without a word."""
    monkeypatch.setattr(module, "compose_message", lambda _: 1 / 0)
    sink = open_sink(hook.url)
    sink.push([], [alarm()], NOW)
    (trouble,) = wait_for_news(sink)
    assert event_text(trouble).endswith("internal error (ZeroDivisionError); nothing more is sent)")


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "foo://topsecret@host", "tgram://topsecret", "json://", "http://topsecret.host/topsecret", "://"],
)
def test_a_wrong_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="no URL of a service that Apprise knows") as refused:
        AppriseTarget(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["ntfy://u:secret@host:notaport/topic", "json://host:99999/secret", "json://host:0"])
def test_a_wrong_port_is_refused(url: str) -> None:
    """Apprise would leave out the host with its port, and tell the alarms to a topic of everybody's."""
    with pytest.raises(ConfigError, match="its port must be 1 to 65535") as refused:
        AppriseTarget(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["ntfy://topic", "ntfy://host:80/topic", "tgram://123456789:abcdefg_hijklmnop/12315544/", "json://[::1]:80/x"],
)
def test_right_urls_are_taken(url: str) -> None:
    """A token may have a colon, and no port behind it."""
    assert AppriseTarget(url).name


def test_secrets_are_never_shown() -> None:
    """Neither name nor reason has user, password, path or query of a URL; of others than web hooks nor the host."""
    for url, name in (
        ("json://someuser:somepass@127.0.0.1:1/some/path?+token=somequery", "json://127.0.0.1:1/…"),
        ("mailto://someuser:somepass@localhost:1?from=a@example.org&to=some@where.org", "mailto://…"),
    ):
        target = AppriseTarget(url)
        assert target.name == name
        reason = target.send(NoticeMessage("title", "body", "info"))
        assert reason
        assert "some" not in reason


class _MailHandler(socketserver.StreamRequestHandler):
    """As much of a mail server as one mail needs."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) != b".\r\n":
                    self.server.mail.append(line.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")


def test_by_mail(open_sink: Open) -> None:
    """A mail server on loopback gets the alarm."""
    with socketserver.TCPServer(("127.0.0.1", 0), _MailHandler) as server:
        server.mail = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"mailto://127.0.0.1:{server.server_address[1]}?from=a@example.org&to=b@example.org&smtp=127.0.0.1"
        sink = open_sink(f"{url}&mode=insecure")
        sink.push([], [alarm()], NOW)
        news = wait_for_news(sink)
        server.shutdown()
    assert [type(event) for event in news] == [NotificationSent], news
    text = "".join(server.mail)  # type: ignore[attr-defined]
    assert "asystole" in text


@given(st.integers(1, 60))
def test_a_message_names_the_most_urgent_and_counts_the_rest(count: int) -> None:
    """However many there are, a message is short, and its numbers add up."""
    priorities = ("low", "medium", "high")
    alarms = [alarm(i, condition="pause", priority=priorities[i % 3]) for i in range(count)]
    title, body, urgency = compose_message([PendingNotice(item, NOW, NOW + item.onset, 0.0) for item in alarms])
    lines = body.splitlines()
    assert lines[-1] == NO_MEDICAL_ALARM
    assert len(lines) <= MOST_LINES + 2
    assert ("more" in title) == (count > 1)
    assert urgency == {"low": "info", "medium": "warning", "high": "failure"}[priorities[min(count, 3) - 1]]
    ranks = [re.findall(r"\((\w+) priority", line) for line in lines[: min(count, MOST_LINES)]]
    assert ranks == sorted(ranks, key=lambda rank: -priorities.index(rank[0]))
    if count > MOST_LINES:
        assert lines[-2] == f"and {count - MOST_LINES} more alarms, not listed"


def test_a_bed_is_called_a_bed_once() -> None:
    title, body, _ = compose_message([PendingNotice(replace(alarm(), bed="Bed 3/a"), NOW, NOW, 0.0)])
    assert title.startswith("!!! Bed 3/a: ")
    assert "bed Bed" not in body


def test_impossible_times_are_no_error() -> None:
    """A device may claim any time."""
    assert "an unknown time" in compose_message([PendingNotice(alarm(), 1e300, float("nan"), 0.0)])[1]


def test_pauses_grow_to_a_limit() -> None:
    assert growing_pause(0, 1.0, 60.0) == 1.0
    assert growing_pause(3, 1.0, 60.0) == 8.0
    assert growing_pause(10**6, 1.0, 60.0) == 60.0


def test_an_alarm_of_a_pause_is_told_at_its_end(hook: WebHook, open_sink: Open) -> None:
    """While the alarms of the bed are paused nothing is sent; what still stands then is, and its end, too."""
    sink = open_sink(hook.url)
    over = replace(alarm(1), paused=True, ended=700)
    sink.push([], [replace(alarm(1), paused=True), over, replace(alarm(100), paused=True)], NOW)
    sink.push([], [alarm(100)], NOW + 60)
    wait_until(lambda: hook.taken)
    sink.push([], [replace(alarm(100), ended=9000)], NOW + 90)
    wait_until(lambda: len(hook.taken) > 1)
    news = wait_for_news(sink, lambda told: len(told) > 1)
    assert [(event.sample, event.is_over) for event in news if isinstance(event, NotificationSent)] == [
        (100, False),
        (100, True),
    ]
