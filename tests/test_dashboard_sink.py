"""The dashboard as an output of the monitor: what it asks a session for, what it has done, and when it draws."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from conftest import chunks, record_counts
from test_dashboard import make, make_bed
from test_dashboard_alarms import COUPLET, VT, with_alarms

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.bed_settings import BedSettings
from agent.core.config import Config, override_config
from agent.core.messages import Alarm, Beat, Result
from agent.core.views import LinkView, WardSnapshot
from agent.dashboard import key_bindings as typed_keys
from agent.dashboard.frame import fit_view, fit_waves
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import BedAction, DashboardView, needed_beds
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.dashboard_sink import MANY_BEDS, DashboardSink


@dataclass
class FakeScreen:
    """A terminal of 80 columns and 24 lines that remembers what it was to show."""

    view: DashboardView = field(default_factory=DashboardView)
    typed: str = ""
    drawn: list[WardSnapshot] = field(default_factory=list)
    rung: int = 0
    stdin_fd: int | None = None

    def keys(self) -> str:
        typed, self.typed = self.typed, ""
        return typed

    def press(self, keys: str, snapshot: WardSnapshot) -> bool:
        self.view = typed_keys.press_keys(self.view, keys, snapshot)
        return not self.view.quit

    def take_actions(self) -> tuple[BedAction, ...]:
        actions, self.view = self.view.actions, replace(self.view, actions=())
        return actions

    def plan_frame(self, snapshot: WardSnapshot) -> Sequence[str]:
        self.view = fit_view(snapshot, self.view, 80, 24)
        return needed_beds(self.view, snapshot)

    def draw(self, snapshot: WardSnapshot) -> None:
        self.view = fit_waves(snapshot, self.view)
        self.drawn.append(snapshot)

    def ring(self) -> None:
        self.rung += 1


class FakeSession:
    """A session with made-up beds, whose clock stands still."""

    def __init__(self, ward: WardSnapshot) -> None:
        self.ward, self.now_s, self.actions = ward, 1000.0, self
        self.done: list[tuple[str, str]] = []
        self.seen: list[Beat] = []
        self.asked_for: list[list[str]] = []

    def clock(self) -> float:
        return self.now_s

    def ward_snapshot(self, now_s: float) -> WardSnapshot:
        return replace(self.ward, beds=(), now_s=now_s)

    def with_beds(self, glance: WardSnapshot, names: Iterable[str]) -> WardSnapshot:
        self.asked_for.append(list(names))
        return replace(glance, beds=tuple(bed for bed in self.ward.beds if bed.bed in self.asked_for[-1]))

    def acknowledge(self, bed: str) -> None:
        self.done.append(("acknowledge", bed))

    def silence(self, bed: str) -> None:
        self.done.append(("silence", bed))

    def pause_alarms(self, bed: str) -> None:
        self.done.append(("pause", bed))

    def change_settings(self, bed: str, settings: BedSettings) -> None:
        self.done.append((settings.patient, bed))

    def note_shown(self, beats: Iterable[Beat]) -> None:
        self.seen += beats


class Bench:
    """A dashboard between a made-up screen and a made-up session."""

    def __init__(self, ward: WardSnapshot, config: Config) -> None:
        self.screen, self.session = FakeScreen(), FakeSession(ward)
        self.dashboard = DashboardSink(cast(TerminalScreen, self.screen), config, cast(MonitorSession, self.session))

    def at(self, now_s: float, found: list[Result] | None = None, keys: str = "") -> bool:
        self.session.now_s = now_s
        self.screen.typed = keys
        self.dashboard.push([], found or [], now_s)
        return self.dashboard.refresh(now_s)


def beat(bed: str) -> Beat:
    return Beat(bed, 100, 150, "N", (1.0, 0.0, 0.0, 0.0, 0.0), 0.8, 1000.0)


def ward_of(beds: int) -> WardSnapshot:
    return make(*(make_bed(f"bed-{i}") for i in range(beds)))


@pytest.fixture
def bench(settings: Config) -> Callable[[int], Bench]:
    return lambda beds: Bench(replace(ward_of(beds), base_limits=settings.alarms), settings)


def test_only_the_page_is_taken_in_full(bench: Callable[[int], Bench]) -> None:
    """Of a thousand beds a frame takes those of its page in full, of the view of a bed only that one."""
    many = bench(1000)
    assert many.at(1000.0)
    assert many.session.asked_for[-1] == [f"bed-{i}" for i in range(20)]
    many.at(1000.2, keys="\x1b[F")
    assert many.session.asked_for[-1] == [f"bed-{i}" for i in range(980, 1000)]
    many.at(1000.4, keys="\r")
    assert many.session.asked_for[-1] == ["bed-999"]
    many.at(1000.6, keys=" ")
    assert sorted(many.session.asked_for[-1]) == [f"bed-{i}" for i in range(980, 1000)]
    many.at(1000.8)
    assert many.session.asked_for[-1] == ["bed-999"]
    assert not many.at(1001.0, keys="qq")


def test_what_a_person_asks_for_is_done(bench: Callable[[int], Bench]) -> None:
    """k, m, P and what was set on the limits page reach the session, once, before the frame that shows it."""
    two = bench(2)
    two.at(1000.0)
    two.at(1000.2, keys="nnkmPl\x1b[HAda\r")
    assert two.session.done == [("acknowledge", "bed-1"), ("silence", "bed-1"), ("pause", "bed-1"), ("Ada", "bed-1")]
    two.at(1000.4)
    assert len(two.session.done) == 4


def test_a_key_brings_a_frame_at_once(bench: Callable[[int], Bench]) -> None:
    """A frame comes ten times a second, and in between for a key."""
    one = bench(1)
    one.at(1000.0)
    one.at(1000.05)
    assert len(one.screen.drawn) == 1
    one.at(1000.06, keys="+")
    assert len(one.screen.drawn) == 2
    one.at(1000.17)
    assert len(one.screen.drawn) == 3


def test_beats_bring_frames_where_few_beds_are_seen(bench: Callable[[int], Bench]) -> None:
    """A beat of the shown bed triggers a frame; with many beds it waits for the next frame."""
    for beds, frames in ((1, 2), (MANY_BEDS, 2), (MANY_BEDS + 1, 1)):
        some = bench(beds)
        some.at(1000.0)
        some.at(1000.05, [beat("bed-0")])
        assert len(some.screen.drawn) == frames
        some.at(1000.2)
        assert len(some.session.seen) == 1
    other = bench(2)
    other.at(1000.0, keys="\r")
    other.at(1000.05, [beat("bed-1")])
    assert len(other.screen.drawn) == 1
    other.at(1000.06, [beat("bed-0")])
    assert len(other.screen.drawn) == 2


def test_the_bell(settings: Config) -> None:
    """The bell rings for an audible alarm where it is on, from the settings or by its key."""
    ward = make(with_alarms(make_bed("bed-0"), VT), make_bed("bed-1"))
    quiet = Bench(ward, settings)
    quiet.at(1000.0)
    quiet.at(1004.0, keys="b")
    assert quiet.screen.rung == 1
    loud = Bench(ward, override_config(settings, "dashboard", bell=True))
    for now_s in range(1000, 1010):
        loud.at(now_s)
    assert loud.screen.rung == 4
    loud.session.ward = ward_of(2)
    loud.at(1020.0)
    assert loud.screen.rung == 4


class FakeLink:
    """A link over which nothing comes."""

    packets = rejected = 0
    endpoint = "tcp://127.0.0.1:1"

    def view(self, _now_s: float) -> LinkView:
        return LinkView(self.endpoint, "connected", 0, 0)

    def sent(self, _bed: str) -> int:
        return 1000

    def set_backlog(self, _enough: set[str], _too_much: set[str]) -> None:
        pass

    def heard_s(self, _bed: str) -> float:
        return 0.0

    def contested(self, _now_s: float) -> set[str]:
        return set()


@pytest.fixture
def session(settings: Config, classifier: BeatClassifier) -> MonitorSession:
    """A session that has heard ten seconds of three beds."""
    made = MonitorSession(cast(LinkReceiver, FakeLink()), classifier, settings)
    now_s = made.clock()
    for name in "abc":
        for chunk in chunks(record_counts("208", 10), [125], bed=name):
            made.step([replace(chunk, arrived_s=now_s)], now_s)
    return made


def test_a_session_in_two_steps(session: MonitorSession) -> None:
    """A glance has all beds but none in full, a look those that are named; a snapshot has all."""
    now_s = session.clock()
    glance = session.ward_snapshot(now_s)
    assert [bed.bed for bed in glance.index] == ["a", "b", "c"]
    assert glance.beds == ()
    assert glance.ledger.sent == 3000
    assert glance.ledger.analysed == 3 * 1250
    looked = session.with_beds(glance, ["c", "a"])
    assert [bed.bed for bed in looked.beds] == ["c", "a"]
    assert looked.beds[0].ledger.sent == 1000
    assert looked.beds[0].head == 1250
    assert looked.index is glance.index
    assert [bed.bed for bed in session.full_snapshot(now_s).beds] == ["a", "b", "c"]


def test_acknowledged_alarms_are_told(session: MonitorSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledged alarm comes with the next results, and is in the list of the last alarms."""
    alarm = replace(VT, bed="b")
    seen = replace(alarm, acknowledged_s=1060.0)
    session._alarm_history.push([], [alarm, replace(COUPLET, bed="b")], 0.0)
    monkeypatch.setattr(session.pipeline, "acknowledge", lambda bed, _now_s: [seen] if bed == "b" else [])
    session.actions.acknowledge("b")
    now_s = session.clock()
    assert [item for item in session.step([], now_s) if isinstance(item, Alarm)] == [seen]
    assert not [item for item in session.step([], now_s) if isinstance(item, Alarm)]
    assert seen in session.with_beds(session.ward_snapshot(now_s), ["b"]).beds[0].last_alarms


def test_a_silence_is_seen_at_once(session: MonitorSession) -> None:
    """A bed that is silenced is so in the next glance, and no longer after a second request."""
    now_s = session.clock()
    assert not session.ward_snapshot(now_s).index[1].silenced
    session.actions.silence("b")
    later = session.ward_snapshot(session.clock())
    assert later.index[1].silenced
    assert session.with_beds(later, ["b"]).beds[0].silenced_until_s > later.now_s
    session.actions.silence("b")
    assert not session.ward_snapshot(session.clock()).index[1].silenced
