"""A monitor without a link: it is given what a device would have sent, and records it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.messages import Chunk, End, Result, ResumePosition
from agent.core.views import LinkView
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.recording.recorder import Recorder
from simulator.record_replay import RecordReplay, ReplayPlan


class NoLink:
    """A link over which nothing comes, and which asks for nothing."""

    packets = rejected = 0
    endpoint = "tcp://127.0.0.1:1"

    def view(self, _now_s: float) -> LinkView:
        return LinkView(self.endpoint, "connected", 0, 0)

    def sent(self, _bed: str) -> int:
        return 0

    def set_backlog(self, _enough: set[str], _too_much: set[str]) -> None:
        pass

    def heard_s(self, _bed: str) -> float:
        return 0.0

    def contested(self, _now_s: float) -> set[str]:
        return set()

    def resume(self, _positions: dict[str, ResumePosition], _now_s: float) -> None:
        pass


class RecordingMonitor:
    """A monitor session with its recording, unthreaded unless asked for; `results` of all that it has decided."""

    def __init__(self, folder: Path, config: Config, classifier: BeatClassifier, threaded: bool = False) -> None:
        self.recorder = Recorder(folder, config.record, {}, threaded=threaded)
        self.session = MonitorSession(cast(LinkReceiver, NoLink()), classifier, config, self.recorder)
        self.results: list[Result] = self.session._resume(lambda: False)

    def take(self, messages: Iterable[Chunk | End]) -> Iterator[float]:
        """Monitor what comes; yield the second of the record up to which all is with the system."""
        for message in messages:
            now_s = self.session.clock()
            arrived = replace(message, arrived_s=now_s) if isinstance(message, Chunk) else message
            self.results += self.session.step([arrived], now_s)
            assert self.recorder.flush()
            yield (message.first + (len(message.counts) if isinstance(message, Chunk) else 0)) / message.fs


def second_packets(record: str, start_s: float, seconds: float, run: str = "run") -> list[Chunk | End]:
    """A record from `start_s` on in packets of a second, and its end; its bed has the record's name."""
    plan = ReplayPlan(record, record, start_s, seconds, loop=False, noise=None, snr_db=0.0, seed=0)
    return list(RecordReplay(plan, 1000, run=run))
