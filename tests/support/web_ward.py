"""A ward for browsers without a device: beds that are fed by hand, browsers without a window, and a running server."""

import contextlib
import json
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import chunks, record_counts
from websockets.sync.client import ClientConnection, connect

from agent.alarms.bed_rules import ClockCondition
from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config, override_config
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.web.browser_state import BrowserState
from agent.web.hand_over import HandOver, LoopQuestion
from agent.web.ward_mirror import WardMirror
from agent.web.ward_watch import WardWatch
from agent.web.web_address import read_access
from agent.web.web_server import WebServer
from support.monitored import NoLink

PULSE_S = 0.1
TOKEN = "a-token-of-the-tests-1234"


class StillViewer:
    """A viewer at a terminal that shows nothing."""

    keyboard: int | None = None

    def __init__(self) -> None:
        self.shown = 0

    def push(self, messages: Sequence[object], results: Sequence[object], now_s: float) -> None:
        pass

    def refresh(self, now_s: float) -> bool:  # noqa: ARG002  # it shows nothing
        self.shown += 1
        return True

    def patience_s(self, now_s: float) -> float:  # noqa: ARG002  # it is always the same
        return 0.05

    def finish(self) -> None:
        pass


class HandWard:
    """A monitor session whose beds are fed by hand: `feed` gives them more signal, `turn` is one of the loop."""

    def __init__(self, config: Config, classifier: BeatClassifier, beds: Iterable[str] = ("bed-1",)) -> None:
        self.session = MonitorSession(cast(LinkReceiver, NoLink()), classifier, config)
        self.hand_over = HandOver()
        self.watch = WardWatch(StillViewer(), self.session, self.hand_over, config.web)
        self.names = list(beds)
        self.now_s = self.session.clock()
        self._fed: dict[str, int] = {}

    def feed(self, seconds: float, beds: Iterable[str] | None = None, run: str = "run") -> None:
        """Give beds more signal of record 208, all at once."""
        count = round(125 * seconds)
        messages = []
        for bed in beds or self.names:
            first = self._fed.get(f"{bed} {run}", 0)
            self._fed[f"{bed} {run}"] = first + count
            signal = record_counts("208", 120)
            part = signal[first % 10_000 : first % 10_000 + count]
            messages += list(chunks(part, (count,), bed=bed, run=run, first=first))
        self.session.step(messages, self.now_s, self.watch)
        while self.session.pipeline.waiting:
            self.session.step([], self.now_s, self.watch)

    def turn(self) -> None:
        """Let the loop hand over what is due, a pulse later."""
        self.now_s += PULSE_S
        assert self.watch.refresh(self.now_s)


@dataclass
class Block:
    """A block of a waves message."""

    bed: int
    lead: int
    flags: int
    first: int
    samples: tuple[int, ...]
    beats: list[tuple[int, str]] = field(default_factory=list)

    @property
    def resets(self) -> bool:
        return bool(self.flags & 1)


def read_waves(message: bytes) -> tuple[int, list[Block]]:
    """Return the tick and the blocks of a waves message, as docs/web.md has them."""
    kind, version, count, tick, _, _ = struct.unpack_from("<BBHIdd", message)
    assert (kind, version) == (1, 1)
    at, blocks = 24, []
    for _ in range(count):
        bed, lead, flags, first, samples, beats, _, _ = struct.unpack_from("<HBBIHHHH", message, at)
        values = struct.unpack_from(f"<{samples}h", message, at + 16)
        at += 16 + 2 * samples
        of = [struct.unpack_from("<IBBH", message, at + 8 * i)[:2] for i in range(beats)]
        at += 8 * beats
        blocks.append(Block(bed, lead, flags, first, values, [(sample, chr(letter)) for sample, letter in of]))
    assert at == len(message)
    return tick, blocks


class HandBrowser:
    """A browser without a connection: what it is sent is taken when the test wants it."""

    def __init__(self, ward: HandWard, mirror: WardMirror | None = None) -> None:
        self.ward, self.mirror = ward, mirror or WardMirror(ward.hand_over)
        self.mirror.welcome()
        self.state = BrowserState(self.mirror)
        self.last: dict[str, Any] = {}
        """The latest ward."""
        self.mirror.want(self.state.seen())

    def say(self, **said: object) -> None:
        """Say something."""
        if self.state.take(json.dumps(said), self.ward.now_s):
            self.mirror.want(self.state.seen())

    def see(self, answer: bool = True) -> list[Block]:
        """Let the loop take a turn, and return the blocks of the waves message that comes of it."""
        self.ward.turn()
        self.mirror.take()
        self.mirror.want(self.state.seen())
        if (text := self.state.ward_message()) is not None:
            self.last = json.loads(text)
        message = self.state.waves_message(self.ward.now_s)
        if message is None:
            return []
        tick, blocks = read_waves(message)
        if answer:
            self.say(got=tick)
        return blocks


class ServedWard:
    """A hand ward whose loop runs in a thread, with a server on a free port."""

    def __init__(self, ward: HandWard, config: Config) -> None:
        self.ward = ward
        self.server = WebServer(read_access(config), ward.hand_over, config.web)
        self.host = f"127.0.0.1:{self.server.port}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        session = self.ward.session
        while not self._stop.wait(0.01):
            now_s = session.clock()
            self.ward.now_s = now_s
            session.step([], now_s, self.ward.watch)
            self.ward.watch.refresh(now_s)

    def in_loop(self, do: Callable[[MonitorSession], Any]) -> Any:
        """Return what `do` returns in the thread of the loop."""
        question = LoopQuestion(do, Future())
        assert self.ward.hand_over.put_question(question)
        return question.answer.result(timeout=10)

    def raise_alarm(self, condition: ClockCondition) -> None:
        """Raise an alarm of the first bed."""
        self.in_loop(lambda session: session.pipeline.alarms.report_by_clock(0, condition, True, session.clock()))

    def stop_loop(self) -> None:
        """Stop the loop alone."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """Stop everything."""
        self.stop_loop()
        self.server.close()

    def open(self, token: str | None = None, **options: Any) -> ClientConnection:
        """Return the connection of a browser; with a token, it has said it."""
        socket = connect(f"ws://{self.host}/ws", max_size=None, legacy=True, **options)
        if token is not None:
            assert json.loads(socket.recv(timeout=10)) == {"type": "token"}
            socket.send(json.dumps({"token": token}))
        return socket


@contextlib.contextmanager
def served(config: Config, classifier: BeatClassifier, beds: Iterable[str] = ("bed-1",)) -> Iterator[ServedWard]:
    """Serve a ward whose beds have had two seconds of signal."""
    ward = HandWard(config, classifier, beds)
    ward.feed(2)
    running = ServedWard(ward, config)
    try:
        yield running
    finally:
        running.close()


def web_config(config: Config, **options: object) -> Config:
    """Return settings of a server on a free port of this machine."""
    return override_config(config, "web", **{"address": ":0", **options})


def next_text(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next text of a kind."""
    while True:
        message = socket.recv(timeout=10)
        if isinstance(message, str) and (said := json.loads(message))["type"] == kind:
            return cast(dict[str, Any], said)


def next_waves(socket: ClientConnection, answer: bool = True) -> tuple[int, list[Block]]:
    """Return the next waves, and answer them."""
    while True:
        message = socket.recv(timeout=10)
        if isinstance(message, bytes):
            tick, blocks = read_waves(message)
            if answer:
                socket.send(json.dumps({"got": tick}))
            return tick, blocks


def make_certificate(folder: Path) -> tuple[str, str]:
    """Return the names of a new certificate of localhost and of its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=localhost"
    subprocess.run([*command.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    return str(certificate), str(key)
