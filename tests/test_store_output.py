"""A monitor's end of a store: nothing waits for it, nothing is lost while it is away, nothing is told twice."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from agent.core.bed_settings import BedSettings
from agent.core.events import (
    CONFIGURED,
    RESTARTED,
    AlarmsHandled,
    Backfilled,
    BedSettingsChanged,
    GapClosed,
    LinkTrouble,
    OutputRestored,
    OutputTrouble,
    RunStarted,
)
from agent.core.messages import Alarm, Beat, Chunk, Gap, Ledger
from agent.monitor.bed_actions import BedActions
from agent.monitor.catching_up import ToldPosition
from agent.store import kept_rows
from agent.store.fleet_store import FleetStore
from agent.store.store_database import SqliteDatabase
from agent.store.store_messages import Deed, Do, StoreReply, StoreRequest, Tell
from agent.store.store_output import StoreOutput
from agent.store.store_reader import read_alarms, read_events, read_kept_deeds, read_ledgers, read_told_beats
from model.errors import ConfigError, SourceError

FS = 125.0
LONG_S = 20.0


class FaultyClient:
    """The way to a store: `away` it fails; `mute` it takes, and its answer is lost."""

    def __init__(self, path: Path) -> None:
        self.shown = f"store:{path}"
        self.away = self.mute = False
        self._store = FleetStore(SqliteDatabase(path))

    def answer(self, request: StoreRequest) -> StoreReply:
        if self.away:
            raise SourceError(f"{self.shown}: it is away")
        reply = self._store.answer(request)
        if self.mute and isinstance(request, Tell):
            raise SourceError(f"{self.shown}: no answer")
        return reply

    def close(self) -> None:
        self._store.close()


class Replica:
    """A replica that is given beats of bed 1, one a second."""

    def __init__(self, path: Path, name: str) -> None:
        self.client = FaultyClient(path)
        self.output = StoreOutput(self.client, name)
        self.news: list[Any] = []

    def hear(self, first: int, stop: int, bed: str = "1", *more: Any) -> None:
        """Take the seconds from `first` to `stop`, each with a beat in its middle."""
        counts = np.zeros(((stop - first) * 125, 1), np.int32)
        beats = [
            Beat(bed, 125 * second + 60, 125 * second + 120, "N", (1.0, 0, 0, 0, 0), None, 0.0, run="r")
            for second in range(first, stop)
        ]
        self.output.push([Chunk(bed, "r", first * 125, FS, (), counts, 0.0)], [*beats, *more], time.time())

    def read_news(self) -> list[Any]:
        self.news += self.output.news()
        return self.news


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


@pytest.fixture
def replica(path: Path) -> Iterator[Callable[[str], Replica]]:
    made: list[Replica] = []

    def make(name: str) -> Replica:
        made.append(Replica(path, name))
        return made[-1]

    yield make
    for one in made:
        one.output.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.02)


def told(path: Path, bed: str = "1") -> list[int]:
    """The seconds of the beats that the store has."""
    database = SqliteDatabase(path)
    try:
        rows = read_told_beats(database, bed)
    except SourceError:  # its tables are not made yet
        rows = []
    finally:
        database.close()
    return [row.sample // 125 for row in rows]


def alarm(onset: int, acknowledged_s: float | None = None, condition: Any = "pause") -> Alarm:
    return Alarm("1", "r", condition, "medium", "2.5 s", onset, onset + 9, 5.0, acknowledged_s=acknowledged_s)


def test_all_arrives(path: Path, replica: Callable[[str], Replica]) -> None:
    """Beats, alarms, events and the ledger, told from another thread."""
    one = replica("a")
    gap = GapClosed("1", "r", 100, 25, 0.2, "lost")
    came = Backfilled("1", "r", 0, 125, 1.0, sent_before=True)  # a matter of this monitor, not of the bed
    one.hear(0, 3, "1", RunStarted("1", "r", 0, "II", FS), alarm(200), gap, LinkTrouble("words"), came)
    wait_until(lambda: path.exists() and told(path) == [0, 1, 2])
    one.output.close()
    database = SqliteDatabase(path)
    assert read_ledgers(database) == {("1", "r"): Ledger(375, 375, 0)}
    assert [(row.condition, row.onset) for row in read_alarms(database)] == [("pause", 200)]
    assert {row.event_type for row in read_events(database)} == {"RunStarted", "GapClosed", "LinkTrouble"}
    database.close()
    assert one.read_news() == []


def test_an_alarm_of_a_backfill_has_its_time_in_the_signal(path: Path, replica: Callable[[str], Replica]) -> None:
    """The onset of an alarm is told by the stamps of the device, whenever its samples arrived."""
    one = replica("a")
    counts = np.zeros((1250, 1), np.int32)
    one.output.push([Chunk("1", "r", 0, FS, (), counts, 1000.0)], [replace(alarm(200), announced_s=1500.0)], 1500.0)
    one.hear(10, 12)
    wait_until(lambda: path.exists() and bool(told(path)))
    one.output.close()
    database = SqliteDatabase(path)
    (row,) = read_alarms(database)
    database.close()
    assert row.announced_s == 1500.0
    assert row.onset_s == pytest.approx(990.0 + 200 / FS)


def test_a_store_that_is_away_loses_nothing(path: Path, replica: Callable[[str], Replica]) -> None:
    """It is said once that it is away, and once that it is back; in between all is kept, and then told once."""
    one = replica("a")
    one.hear(0, 2)
    wait_until(lambda: told(path) == [0, 1])
    one.client.mute = True
    one.hear(2, 4)
    wait_until(lambda: told(path) == [0, 1, 2, 3])
    one.client.away = True
    one.hear(4, 6)
    wait_until(lambda: len(one.read_news()) == 2)
    assert told(path) == [0, 1, 2, 3]
    failing = one.output.failing()
    assert failing is not None
    assert (failing.target, 0 <= failing.seconds < 60) == (f"store:{path}", True)
    one.client.away = one.client.mute = False
    one.hear(6, 7)
    wait_until(lambda: told(path) == list(range(7)))
    wait_until(lambda: len(one.read_news()) == 3)
    assert one.output.failing() is None
    assert [type(event) for event in one.news] == [OutputTrouble, OutputTrouble, OutputRestored]
    assert one.news[1].reason == f"store:{path}: it is away; trying again"
    assert [event.dropped for event in one.news] == [0, 0, 0]


def test_away_at_the_start(path: Path, replica: Callable[[str], Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor begins without its store, and tells it all once it is there."""
    with monkeypatch.context() as patch:
        patch.setattr(FaultyClient, "answer", lambda _self, _request: (_ for _ in ()).throw(SourceError("no store")))
        one = replica("a")
        assert one.output.opening().positions == {}
        one.hear(0, 2)
        wait_until(lambda: len(one.read_news()) == 1)
    wait_until(lambda: path.exists() and told(path) == [0, 1])


def test_what_is_no_store_is_an_error(path: Path) -> None:
    """A file of another kind ends the command; a name that nobody could read, too."""
    path.write_text("words " * 1000)
    with pytest.raises(ConfigError, match="no store of a fleet"):
        StoreOutput(FaultyClient(path), "a")
    with pytest.raises(ConfigError, match="--replica"):
        StoreOutput(FaultyClient(path), "a\n")


def test_the_other_goes_on(path: Path, replica: Callable[[str], Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    """One replica tells while both hear; when it falls silent the other tells what it kept, from the place on."""
    monkeypatch.setattr("agent.store.listening_beds.DEAF_AFTER_S", 60.0)
    one, other = replica("a"), replica("b")
    one.hear(0, 2)
    wait_until(lambda: told(path) == [0, 1])
    other.hear(0, 3)
    time.sleep(1.0)
    assert told(path) == [0, 1]
    one.client.away = True
    one.hear(2, 4)
    wait_until(lambda: told(path) == [0, 1, 2])
    one.client.away = False
    one.hear(4, 5)
    other.hear(3, 6)
    wait_until(lambda: told(path) == list(range(6)))
    other.output.close()
    one.hear(5, 8)
    wait_until(lambda: told(path) == list(range(8)))


def test_what_does_not_fit_is_counted(
    path: Path, replica: Callable[[str], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded, and what was dropped is said when the store is back."""
    monkeypatch.setattr(kept_rows, "MOST_BEATS", 5)
    one = replica("a")
    one.client.away = True
    wait_until(lambda: len(one.read_news()) == 1)
    one.hear(0, 8)
    time.sleep(0.6)
    one.client.away = False
    wait_until(lambda: path.exists() and told(path) == [3, 4, 5, 6, 7])
    wait_until(lambda: sum(event.dropped for event in one.read_news()) == 3)


def test_an_alarm_of_one_that_died_ends(path: Path, replica: Callable[[str], Replica]) -> None:
    """Who goes on has not found it, and says once a second which alarms stand; what it has found stays."""

    def states() -> dict[str, int | None]:
        return {row.condition: row.ended for row in read_alarms(database)}

    database = SqliteDatabase(path)
    one = replica("a")
    one.hear(0, 4, "1", alarm(100, condition="couplet"), alarm(101), alarm(102, condition="bigeminy"))
    wait_until(lambda: told(path) == [0, 1, 2, 3])
    other = replica("b")
    other.output.note_caught_up("1")
    other.hear(0, 8, "1", alarm(103), alarm(90, condition="bigeminy"))
    one.client.away = True
    wait_until(lambda: states() == {"couplet": 995, "pause": None, "bigeminy": None})
    other.hear(8, 9, "1", replace(alarm(103), ended=1050))
    wait_until(lambda: states() == {"couplet": 995, "pause": 1050, "bigeminy": None})
    database.close()


def test_a_bed_counts_once_it_has_caught_up(path: Path, replica: Callable[[str], Replica]) -> None:
    """A new replica learns how far the bed is told; until it has caught up it never speaks for it."""
    one = replica("a")
    one.hear(0, 4, "1", alarm(100), alarm(200, acknowledged_s=7.0, condition="couplet"))
    wait_until(lambda: told(path) == [0, 1, 2, 3])
    other = replica("b")
    opening = other.output.opening()
    assert opening.positions == {"1": ToldPosition("r", 435, 500, FS)}
    assert [(row.onset, row.acknowledged_s) for row in opening.alarms] == [(100, None), (200, 7.0)]
    one.output.close()
    other.hear(3, 6)
    time.sleep(1.0)
    assert told(path) == [0, 1, 2, 3]
    other.output.note_caught_up("1")
    wait_until(lambda: told(path) == list(range(6)))


def test_the_end_waits_for_what_nobody_may_tell_any_more(path: Path, replica: Callable[[str], Replica]) -> None:
    """The one that speaks has died a moment before the other ends, and that has just begun: all is told."""
    one = replica("a")
    one.hear(0, 2)
    wait_until(lambda: told(path) == [0, 1])
    one.client.away = True
    other = replica("b")
    other.hear(0, 5)
    other.output.note_caught_up("1")
    other.output.close()
    assert told(path) == [0, 1, 2, 3, 4]


def test_what_is_given_up_at_the_end_is_not_told(path: Path, replica: Callable[[str], Replica]) -> None:
    """A monitor that ends declares missing what it has not fetched yet: the next one has it, or fetches it."""
    one = replica("a")
    one.hear(0, 2)
    wait_until(lambda: told(path) == [0, 1])
    one.output.end_soon()
    one.output.push([Gap("1", "r", 250, 1000, FS, "not fetched again before the end")], [], time.time())
    one.output.close()
    database = SqliteDatabase(path)
    assert read_ledgers(database) == {("1", "r"): Ledger(250, 250, 0)}
    database.close()


def test_an_alarm_that_ends_in_a_pause(path: Path, replica: Callable[[str], Replica]) -> None:
    """While alarms are paused none is told, but what was told ends."""
    one = replica("a")
    paused = replace(alarm(100), paused=True)
    one.hear(0, 1, "1", replace(paused, onset=50), alarm(100), replace(paused, ended=120))
    one.output.close()
    database = SqliteDatabase(path)
    assert [(row.onset, row.ended) for row in read_alarms(database)] == [(100, 120)]
    database.close()


class NotedActions:
    """Notes what is done to beds; all alarms are known here from `known` on."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.known: set[Any] = set()

    def acknowledge_seen(self, bed: str, by: str, is_seen: Callable[[Any], bool]) -> int:
        seen = [identity for identity in self.known if is_seen(identity)]
        if seen:
            self.done.append(("acknowledged", bed, by, seen))
        return len(seen)

    def quiet_until_s(self, _bed: str) -> tuple[float | None, float | None]:
        return None, None

    def silence(self, bed: str, by: str, on: bool) -> None:
        self.done.append(("silence", bed, by, on))

    def change_settings(self, bed: str, settings: BedSettings, by: str) -> None:
        self.done.append(("settings", bed, by, settings))


def test_deeds_reach_the_other_once(path: Path, replica: Callable[[str], Replica]) -> None:
    """What a person does at one is done at the other, though it learns of the alarm later; none comes back."""
    one, other = replica("a"), replica("b")
    actions = NotedActions()
    one.hear(0, 2, "1", alarm(100))
    other.hear(0, 2)
    settings = BedSettings(place="7")
    acknowledged = [alarm(100, acknowledged_s=9.0), AlarmsHandled("1", "r", 250, "acknowledged", "Kim")]
    silenced = AlarmsHandled("1", "r", 250, "silenced", "")
    nobody = [
        AlarmsHandled("1", "r", 250, "pause over", ""),
        AlarmsHandled("1", "r", 250, "sounding again", RESTARTED),
        AlarmsHandled("1", "r", 250, "acknowledged", "no alarm"),
        BedSettingsChanged("1", "r", 250, CONFIGURED, BedSettings()),
    ]
    one.hear(2, 3, "1", *acknowledged, silenced, BedSettingsChanged("1", "r", 250, "Kim", settings))
    one.hear(3, 3, "1", *nobody)

    def act() -> int:
        other.output.act(cast(BedActions, actions), {"1"})
        return len(actions.done)

    wait_until(lambda: act() == 2)
    assert actions.done == [("silence", "1", "a", True), ("settings", "1", "Kim", settings)]
    actions.known.add(("1", "r", "pause", 100))
    wait_until(lambda: act() == 3)
    assert actions.done[2] == ("acknowledged", "1", "Kim", [("1", "r", "pause", 100)])
    events = [
        AlarmsHandled("1", "r", 300, "silenced", "a"),
        BedSettingsChanged("1", "r", 300, "Kim", settings),
        AlarmsHandled("1", "r", 300, "acknowledged", "Kim"),
    ]
    other.hear(2, 4, "1", *events, alarm(100, acknowledged_s=9.1))
    other.client.answer(Do(Deed("by command", "1", "sounding again", "Lee", 1.0)))
    own = NotedActions()

    def act_here() -> int:
        one.output.act(cast(BedActions, own), {"1"})
        return len(own.done)

    time.sleep(0.8)
    act()
    assert len(actions.done) == 3  # it sounds here by now
    assert act_here() == 0
    database = SqliteDatabase(path)
    kinds = [(deed.kind, deed.by, deed.replica) for deed in read_kept_deeds(database)]
    database.close()
    first = [("acknowledged", "Kim", "a"), ("silenced", "", "a"), ("settings", "Kim", "a")]
    assert kinds == [*first, ("sounding again", "Lee", "")]


def test_a_loop_that_hangs_is_silent(
    path: Path, replica: Callable[[str], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread lives, but nobody may believe it: the other goes on, until the loop turns again and is the next."""
    monkeypatch.setattr("agent.store.listening_beds.DEAF_AFTER_S", 60.0)
    one, other = replica("a"), replica("b")
    nothing = cast(BedActions, NotedActions())
    one.output.act(nothing, {"1"})
    one.hear(0, 2)
    wait_until(lambda: told(path) == [0, 1])
    other.hear(0, 3)
    wait_until(lambda: told(path) == [0, 1, 2])
    one.hear(2, 4)
    one.output.act(nothing, {"1"})
    other.output.close()
    wait_until(lambda: told(path) == [0, 1, 2, 3])
