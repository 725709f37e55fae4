"""A replay that is paused, moved and sped up over the backfill channel, by any client and by our monitor."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq
from test_dashboard import make, make_bed

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config, override_config
from agent.core.events import DeviceNote
from agent.core.messages import Alarm, Result
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.replay_control import NO_REPLAY_NOTE, replay_note, wish_request
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import DashboardView, ReplayWish
from agent.device.backfill_server import NO_REPLAY
from agent.device.publisher import PacketPublisher
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.replay_remote import NO_ANSWER_NOTE, ReplayRemote
from agent.wire.curve_security import create_key_pair, secure_client
from agent.wire.requests import ReplayReply, ReplayRequest, backfill_endpoint, decode_request, encode_channel_message
from model.errors import FrameError
from simulator.playback_control import PlaybackControl
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, SchedulerClock, open_replays, run_schedule

PLAN = ReplayPlan(record="100", bed="100", start_s=0, duration_s=None, loop=True, noise=None, snr_db=6, seed=0)
LONG_S = 60.0


@contextmanager
def replay(config: Config, **changes: Any) -> Iterator[str]:
    """A replay of record 100 in a thread; yields its endpoint."""
    wanted = override_config(config, "link", endpoint="tcp://127.0.0.1:*")
    beds = open_replays([PLAN], 40)
    control = PlaybackControl(beds, 1.0, time.monotonic)
    over = threading.Event()
    with PacketPublisher(wanted, lossless=False, replay=changes.get("replay", control.handle)) as publisher:
        publisher.linger_s = 0.0
        pace = PlaybackSpeed(1.0, False, control)
        arguments = beds, publisher, pace, SchedulerClock(), over.is_set, lambda _status: None
        thread = threading.Thread(target=run_schedule, args=arguments)
        thread.start()
        try:
            yield publisher.endpoint
        finally:
            over.set()
            thread.join()


def ask(socket: "zmq.Socket[bytes]", **keys: Any) -> dict[str, Any]:
    """Ask as a client in any language would: one JSON frame there, one back."""
    socket.send(json.dumps({"kind": "replay", "v": 1, "id": 7} | keys).encode())
    assert socket.poll(round(1000 * LONG_S))
    (frame,) = socket.recv_multipart()
    reply: dict[str, Any] = json.loads(frame)
    return reply


@contextmanager
def client(endpoint: str) -> Iterator["zmq.Socket[bytes]"]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.connect(backfill_endpoint(endpoint, ""))
        yield socket


def test_a_client_pauses_and_moves_a_replay(settings: Config) -> None:
    """The requests of docs/wire.md and their replies, as JSON."""
    with replay(settings) as endpoint, client(endpoint) as socket:
        first = ask(socket, action="status")
        assert {
            "kind": "replayed",
            "v": 1,
            "id": 7,
            "done": True,
            "reason": "",
            "paused": False,
            "speed": 1,
        }.items() <= (first.items())
        assert first["length"] == pytest.approx(1805.56)
        assert ask(socket, action="pause")["paused"]
        moved = ask(socket, action="jump", value=330)
        assert (moved["paused"], moved["position"]) == (True, 330)
        assert ask(socket, action="seek", value=-30.5, bed="100")["position"] == 299.5
        assert ask(socket, action="speed", value=2)["speed"] == 2
        refused = ask(socket, action="jump", value=9999)
        assert (refused["done"], refused["position"]) == (False, 299.5)
        assert refused["reason"] == "166:39 is not within record 100, which is 30:06 long"
        assert not ask(socket, action="resume")["paused"]


def test_a_device_that_replays_nothing_refuses(settings: Config) -> None:
    """A bridge, or any other device of ours, says in one reply that there is nothing to pause."""
    with replay(settings, replay=None) as endpoint, client(endpoint) as socket:
        reply = ask(socket, action="pause")
    assert (reply["done"], reply["reason"], reply["length"]) == (False, NO_REPLAY, 0)


@pytest.mark.parametrize(
    "keys",
    [
        {"action": "stop"},
        {"action": "seek", "value": "1"},
        {"action": "seek", "value": 1e10},
        {"action": "pause", "x": 1},
    ],
)
def test_malformed_requests(keys: dict[str, Any]) -> None:
    """A request that the page does not describe is no request."""
    with pytest.raises(FrameError):
        decode_request([json.dumps({"kind": "replay", "v": 1, "id": 7} | keys).encode()])


def test_with_keys_only_who_is_admitted_may_ask(settings: Config, tmp_path: Path) -> None:
    """A client without a key, or with one that is not admitted, is not heard."""
    server, device = create_key_pair(tmp_path / "device", "bed")
    public, admitted = create_key_pair(tmp_path / "clients", "monitor")
    _, stranger = create_key_pair(tmp_path / "others", "stranger")
    secured = override_config(settings, "security", key=str(device), clients=str(public.parent))
    asked: list[str] = []

    def note(request: ReplayRequest) -> ReplayReply:
        asked.append(request.action)
        return ReplayReply(id=request.id, done=True)

    with replay(secured, replay=note) as endpoint:
        for secret in (None, stranger, admitted):
            with client_with_key(endpoint, settings, secret, server) as socket:
                socket.send(encode_channel_message(ReplayRequest(id=1, action="pause" if secret else "seek")))
                answered = socket.poll(round(1000 * LONG_S) if secret == admitted else 500)
                assert bool(answered) == (secret == admitted)
    assert asked == ["pause"]


@contextmanager
def client_with_key(endpoint: str, config: Config, secret: Path | None, server: Path) -> Iterator["zmq.Socket[bytes]"]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        if secret is not None:
            keys = override_config(config, "security", key=str(secret), server_key=str(server)).security
            secure_client(socket, keys)
        socket.connect(backfill_endpoint(endpoint, ""))
        yield socket


@dataclass
class Watched:
    """A monitor of a replay, and what it has told so far."""

    session: MonitorSession
    link: LinkReceiver
    results: list[Result] = field(default_factory=list)

    def watch(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.link.wait(0.02)
            now_s = self.session.clock()
            self.results += self.session.step(self.link.receive(now_s), now_s)

    def watch_until(self, what: str) -> None:
        until_s = time.monotonic() + LONG_S
        while what not in self.told():
            assert time.monotonic() < until_s
            self.watch(0.1)

    def told(self) -> list[str]:
        return [item.text for item in self.results if isinstance(item, DeviceNote)]


def test_a_monitor_of_a_paused_replay(settings: Config, classifier: BeatClassifier) -> None:
    """A device that says that it is paused raises no alarm and loses nothing; the monitor says PAUSED, and goes on."""
    quick = override_config(settings, "monitor", lost_s=0.8)
    with replay(settings) as endpoint:
        link = LinkReceiver(override_config(quick, "link", endpoint=endpoint), ())
        monitor = Watched(MonitorSession(link, classifier, quick), link)
        while "100" not in monitor.session.pipeline.beds:
            monitor.watch(0.2)
        with client(endpoint) as socket:
            ask(socket, action="pause")
            monitor.watch_until("the replay is paused")
            monitor.watch(2.5)
            (bed,) = monitor.session.full_snapshot(monitor.session.clock()).beds
            assert (bed.state, bed.behind_s) == ("paused", 0.0)
            assert monitor.session.ward_snapshot(monitor.session.clock()).index[0].state == "paused"
            analysed = monitor.session.analysed("100")
            ask(socket, action="resume")
            monitor.watch_until("the replay goes on")
            ask(socket, action="jump", value=600)
        monitor.watch(2.0)
        ledger = monitor.session.ledger("100")
        link.close()
    assert ledger.analysed > analysed
    assert ledger.missing == 0
    assert ledger.sent - ledger.analysed <= 10
    assert [item for item in monitor.results if isinstance(item, Alarm) and item.condition == "no data"] == []


class FakeLink:
    """A device that answers when it is told to."""

    def __init__(self) -> None:
        self.replay: ReplayReply | None = None
        self.asked: list[tuple[str, float]] = []
        self.is_there = True

    def ask_replay(self, action: str, value: float, now_s: float) -> bool:  # noqa: ARG002  # as the link has it
        self.asked.append((action, value))
        return self.is_there


def wishes_of(view: DashboardView, keys: str) -> DashboardView:
    return press_keys(view, keys, make(make_bed()))


def test_the_keys_of_the_dashboard() -> None:
    """x { } ( ) are wishes where the device is our replay; elsewhere they say why not."""
    view = wishes_of(DashboardView(replays=True), "x{}()")
    assert view.wishes == (
        ReplayWish("pause"),
        ReplayWish("seek", -10.0),
        ReplayWish("seek", 10.0),
        ReplayWish("speed", -1),
        ReplayWish("speed", 1),
    )
    assert wishes_of(DashboardView(), "x").wishes == ()
    assert wishes_of(DashboardView(), "x").note == NO_REPLAY_NOTE


@pytest.mark.parametrize(
    ("wish", "known", "asked"),
    [
        (ReplayWish("pause"), None, ("pause", 0.0)),
        (ReplayWish("pause"), ReplayReply(id=1, done=True, paused=True), ("resume", 0.0)),
        (ReplayWish("speed", 1), None, ("speed", 2.0)),
        (ReplayWish("speed", -1), ReplayReply(id=1, done=True, speed=4.0), ("speed", 2.0)),
        (ReplayWish("seek", -10.0), None, ("seek", -10.0)),
    ],
)
def test_a_wish_by_how_the_replay_stands(wish: ReplayWish, known: ReplayReply | None, asked: tuple[str, float]) -> None:
    """Pause goes on where it is paused, and the next speed is the next of the one that it has."""
    assert wish_request(wish, known) == asked


def test_one_wish_after_the_other() -> None:
    """The second wish waits for the answer to the first, which is shown; without an answer both are given up."""
    link = FakeLink()
    notes: list[str] = []
    wishes = [(ReplayWish("pause"), ReplayWish("pause")), (), (), (), (ReplayWish("seek", 10.0),), ()]
    screen = SimpleNamespace(take_wishes=lambda: wishes.pop(0), note=lambda text, _now_s: notes.append(text))
    remote = ReplayRemote(cast(LinkReceiver, link))

    def step(now_s: float) -> None:
        remote.step(cast(TerminalScreen, screen), now_s)

    step(0.0)
    step(0.1)
    assert link.asked == [("pause", 0.0)]
    link.replay = ReplayReply(id=1, done=True, paused=True, speed=1.0, position=65.0, length=1805.0)
    step(0.2)
    assert link.asked == [("pause", 0.0), ("resume", 0.0)]
    assert notes == ["replay paused at 1:05 of 30:05, 1x: x goes on"]
    step(1.3)
    assert notes[-1] == NO_ANSWER_NOTE
    link.is_there = False
    step(1.4)
    assert notes[-1] == NO_ANSWER_NOTE
    step(9.0)
    assert len(notes) == 3


def test_what_a_refusal_says() -> None:
    """The reason of the device is the answer to the key."""
    assert replay_note(ReplayReply(id=1, done=False, reason="not so")) == "not so"
