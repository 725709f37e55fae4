"""The rules of a store, with each of its databases: who is believed, and that each finding is held once."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.postgres import BINARIES, NO_POSTGRES, PostgresServer, running_postgres
from typer.testing import CliRunner

from agent.cli.app import app
from agent.core.config import Config
from agent.core.messages import AlarmCondition, Ledger
from agent.store.fleet_store import FleetStore
from agent.store.store_address import open_store_client, open_store_database
from agent.store.store_database import PostgresqlDatabase, SqliteDatabase, StoreDatabase
from agent.store.store_messages import (
    AlarmTold,
    Ask,
    AskStatus,
    AskWard,
    BeatTold,
    Deed,
    Do,
    DoReply,
    EventTold,
    Listening,
    Refusal,
    SpanTold,
    StandingTold,
    StatusReply,
    Tell,
    TellReply,
    WardBed,
    WardReply,
)
from agent.store.store_reader import read_alarms, read_events, read_kept_deeds, read_ledgers, read_told_beats
from agent.store.store_tables import prepare_tables
from model.errors import ConfigError, EcgError, SourceError

FS = 360.0
KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.skipif(BINARIES is None, reason=NO_POSTGRES))]


class Clock:
    """The clock of a store."""

    now_s = 1000.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer | None]:
    if BINARIES is None:
        yield None
        return
    with running_postgres() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
def database(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer | None, clock: Clock
) -> Iterator[StoreDatabase]:
    """A new database that goes by our clock."""
    if request.param == "sqlite":
        made: StoreDatabase = SqliteDatabase(tmp_path / "fleet.db")
    else:
        assert postgres is not None
        made = PostgresqlDatabase(postgres.url)
        for table in made.tables():
            made.write(f"DROP TABLE {table}", [()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "now_s", lambda: clock.now_s)
        yield made
    made.close()


def beat(sample: int, bed: str = "1", run: str = "r", label: str = "N") -> BeatTold:
    return BeatTold(bed, run, sample, sample + 90, sample + 60, label, "[1.0,0.0,0.0,0.0,0.0]", 0.8, 75.0)


def span(*pieces: tuple[int, int, bool], bed: str = "1", run: str = "r", ended: bool = False) -> SpanTold:
    return SpanTold(bed, run, FS, list(pieces), ended)


def alarm(
    onset: int,
    ended: int | None = None,
    acknowledged_s: float | None = None,
    text: str = "HR 134",
    condition: AlarmCondition = "heart rate high",
) -> AlarmTold:
    times = onset + 100, 50.0, 1, ended, acknowledged_s
    return AlarmTold("1", "r", condition, onset, "medium", text, *times)


def tell(name: str, *beats: BeatTold, seconds: float = 0.0, **fields: Any) -> Tell:
    """What a replica tells that has listened to bed 1 for some time."""
    listening = fields.pop("listening", [Listening("1", seconds, True)])
    spans = fields.pop("spans", [span((0, 1000, False))])
    rows = {"listening": listening, "spans": spans, "beats": list(beats), "deeds_after": 0} | fields
    return Tell(name, rows.pop("token", name), "host", 1, 900.0, **rows)


def answer(store: FleetStore, request: Tell) -> TellReply:
    reply = store.answer(request)
    assert isinstance(reply, TellReply), reply
    return reply


def speaks(store: FleetStore, request: Tell) -> bool:
    return {word.bed: word.speaks for word in answer(store, request).beds}.get("1", False)


def samples(database: StoreDatabase) -> list[int]:
    return [row.sample for row in read_told_beats(database)]


def test_one_replica_is_believed_and_the_other_after_its_death(database: StoreDatabase, clock: Clock) -> None:
    """What the other tells is not taken until the first has been silent for two seconds; then nothing comes twice."""
    store = FleetStore(database)
    (word,) = answer(store, tell("a", beat(10), beat(20), seconds=5)).beds
    assert (word.speaks, word.run, word.told, word.next, word.fs) == (True, "r", 20, 1000, FS)
    (word,) = answer(store, tell("b", beat(10), beat(20), beat(30), seconds=50)).beds
    assert (word.speaks, word.told) == (False, 20)
    assert samples(database) == [10, 20]
    clock.now_s += 1.9
    assert not speaks(store, tell("b", beat(30)))
    clock.now_s += 0.2
    # The same beat a few samples later is no other
    beats = beat(10), beat(20), beat(22), beat(60), beat(70)
    (word,) = answer(store, tell("b", *beats, spans=[span((500, 1500, False))])).beds
    assert (word.speaks, word.told, word.next) == (True, 70, 1500)
    assert samples(database) == [10, 20, 60, 70]
    assert read_ledgers(database) == {("1", "r"): Ledger(1500, 1500, 0)}
    # The first one wakes up: it is no longer believed, and learns how far all is told
    (word,) = answer(store, tell("a", beat(25, label="V"), beat(140))).beds
    assert (word.speaks, word.told) == (False, 70)
    assert samples(database) == [10, 20, 60, 70]


def test_told_again_nothing_changes(database: StoreDatabase) -> None:
    """A replica that did not hear that all was taken tells it again, and more: each row is held once."""
    store = FleetStore(database)
    event = EventTold("x", "a", "1", "r", 5, 1.0, "gap", "words", "GapClosed", "{}")
    deed = Deed("d", "1", "silenced", "Kim", 1.0)
    first = tell("a", beat(10), alarms=[alarm(5)], events=[event], deeds=[deed])
    assert answer(store, first) == answer(store, first)
    answer(store, tell("a", beat(10), beat(20), alarms=[alarm(5)], events=[event], spans=[span((0, 1400, False))]))
    assert samples(database) == [10, 20]
    assert read_ledgers(database) == {("1", "r"): Ledger(1400, 1400, 0)}
    assert [len(read_alarms(database)), len(read_events(database)), len(read_kept_deeds(database))] == [1, 1, 1]
    assert read_told_beats(database)[0] == beat(10)
    assert read_events(database) == [event]
    assert read_alarms(database) == [alarm(5)]


def test_a_later_state_of_an_alarm_stays(database: StoreDatabase) -> None:
    """An alarm that is over, or acknowledged, does not fall back to what it was before."""
    store = FleetStore(database)
    answer(store, tell("a", alarms=[alarm(5)]))
    answer(store, tell("a", alarms=[alarm(5, ended=300, acknowledged_s=60.0, text="HR 140")]))
    answer(store, tell("a", alarms=[alarm(5)]))
    answer(store, tell("a", alarms=[alarm(5, ended=200)]))
    assert read_alarms(database) == [alarm(5, ended=300, acknowledged_s=60.0, text="HR 134")]


def test_the_longest_listener_follows(database: StoreDatabase, clock: Clock) -> None:
    """Of those that are alive the one that has listened longest speaks, not the one that asks first."""
    store = FleetStore(database)
    assert speaks(store, tell("a", seconds=9))
    assert not speaks(store, tell("young", seconds=1))
    assert not speaks(store, tell("old", seconds=8))
    for seconds in (1.5, 0.6):
        clock.now_s += seconds
        answer(store, tell("old", listening=[]))
        assert not speaks(store, tell("young", listening=[]))
    assert speaks(store, tell("old", listening=[]))
    assert not speaks(store, tell("a", listening=[]))


def test_who_leaves_is_followed_at_once(database: StoreDatabase) -> None:
    """A replica that ends in order hands its beds over; what it told last counts."""
    store = FleetStore(database)
    answer(store, tell("a", beat(10)))
    assert not speaks(store, tell("b"))
    answer(store, tell("a", beat(20), leaves=True))
    assert samples(database) == [10, 20]
    assert speaks(store, tell("b", listening=[]))


def test_who_hears_nothing_gives_up_its_bed(database: StoreDatabase, clock: Clock) -> None:
    """A cable of one host is cut: after a second the other speaks; if nobody hears anything, it stays as it is."""
    store = FleetStore(database)
    assert speaks(store, tell("a", seconds=9))
    assert not speaks(store, tell("b", seconds=5))
    deaf = [Listening("1", 9.0, False)]
    assert speaks(store, tell("a", listening=deaf))
    assert not speaks(store, tell("b", listening=deaf))
    clock.now_s += 1.1
    assert not speaks(store, tell("b", listening=deaf))
    assert speaks(store, tell("a", listening=[]))
    assert speaks(store, tell("b", listening=[Listening("1", 5.0, True)]))


def test_the_ledger_closes(database: StoreDatabase) -> None:
    """What was lost is missing, what nobody told of too, and what is told twice counts once."""
    store = FleetStore(database)
    answer(store, tell("a", spans=[span((100, 200, False), (200, 230, True), (230, 300, False))]))
    answer(store, tell("a", spans=[span((210, 230, False), (230, 300, False), (300, 320, True))]))
    answer(store, tell("a", spans=[span((350, 400, False), ended=True)]))
    assert read_ledgers(database) == {("1", "r"): Ledger(300, 220, 80)}


def test_runs_follow_each_other(database: StoreDatabase) -> None:
    """Late beats of a run come after the next one has begun; each run has its own counts, and its place."""
    store = FleetStore(database)
    answer(store, tell("a", beat(10), spans=[span((0, 100, False), run="r", ended=True)]))
    both = [span((0, 50, False), run="s")]
    (word,) = answer(store, tell("a", beat(20), spans=both)).beds
    assert (word.run, word.told) == ("s", -1)
    (word,) = answer(store, tell("a", beat(30), beat(5, run="s"), spans=[])).beds
    assert (word.run, word.told) == ("s", 5)
    assert [(row.run, row.sample) for row in read_told_beats(database)] == [("r", 10), ("r", 20), ("r", 30), ("s", 5)]
    assert list(read_ledgers(database)) == [("1", "r"), ("1", "s")]


def test_nobody_is_dead_because_the_store_was_away(database: StoreDatabase, clock: Clock) -> None:
    """The first that comes back takes no bed from the one that has listened longest, which comes a moment later."""
    for store in (FleetStore(database), FleetStore(database)):  # the second one after a restart
        answer(store, tell("old", seconds=8))
        answer(store, tell("young", seconds=1))
        clock.now_s += 30
        assert not speaks(store, tell("young", listening=[]))
        clock.now_s += 1
        assert speaks(store, tell("old", listening=[]))
    clock.now_s += 30
    for seconds in (0, 1.5, 0.6):  # this time it does not come
        clock.now_s += seconds
        is_believed = speaks(store, tell("young", listening=[]))
    assert is_believed


def test_an_alarm_is_one_whoever_tells_it(database: StoreDatabase) -> None:
    """Another replica has found another onset: what overlaps with the alarm that is there is a state of it."""
    store = FleetStore(database)
    answer(store, tell("a", alarms=[alarm(500)]))
    answer(store, tell("a", leaves=True, listening=[]))
    answer(store, tell("b", alarms=[msgspec.structs.replace(alarm(480, text="HR 140"), onset_s=60.0)]))
    answer(store, tell("b", alarms=[alarm(480, condition="pause"), alarm(480, ended=900, text="HR 140")]))
    answer(store, tell("b", alarms=[alarm(900)]))
    assert [(row.condition, row.onset, row.ended, row.text) for row in read_alarms(database)] == [
        ("pause", 480, None, "HR 134"),
        ("heart rate high", 500, 900, "HR 140"),
        ("heart rate high", 900, None, "HR 134"),
    ]
    assert [row.onset_s for row in read_alarms(database)] == [None, 60.0 + 20 / 125, None]


def test_an_alarm_of_one_that_has_gone_ends(database: StoreDatabase) -> None:
    """What stands in the store and not for who speaks is over, but not before that one can have found it."""
    store = FleetStore(database)
    told = [alarm(100), alarm(100, condition="pause"), alarm(2000, condition="asystole")]
    answer(store, tell("a", alarms=told))
    answer(store, tell("a", leaves=True, listening=[]))
    standing = StandingTold("1", "r", 1500, ["pause"])
    answer(store, tell("deaf", listening=[], standing=[StandingTold("1", "r", 1500, [])]))
    assert all(row.ended is None for row in read_alarms(database))
    answer(store, tell("b", standing=[standing]))
    ends = {row.condition: row.ended for row in read_alarms(database)}
    assert ends == {"heart rate high": 1500, "pause": None, "asystole": None}
    answer(
        store, tell("b", standing=[StandingTold("1", "later", 10, ["pause"])], spans=[span((0, 9, False), run="later")])
    )
    assert {row.condition: row.ended for row in read_alarms(database)} == {
        "heart rate high": 1500,
        "pause": 200,
        "asystole": 2100,
    }


def test_two_of_one_name(database: StoreDatabase, clock: Clock) -> None:
    """A second process of the same name is refused; after the death of the first it begins anew, and is not believed
    before it listens."""
    store = FleetStore(database)
    answer(store, tell("a"))
    reply = store.answer(tell("a", token="other"))
    assert isinstance(reply, Refusal)
    assert "another monitor is the replica a" in reply.reason
    clock.now_s += 2.1
    assert answer(store, tell("a", token="other", listening=[], afresh=True)).beds == []
    assert speaks(store, tell("b"))


def test_deeds_reach_the_others_once(database: StoreDatabase) -> None:
    """What somebody does at one monitor is told to the others, who and when, and acknowledges alarms in the store."""
    store = FleetStore(database)
    answer(store, tell("a", alarms=[alarm(5), alarm(900, condition="pause")]))
    answer(store, tell("b"))
    deed = Deed("d1", "1", "acknowledged", "Kim", 70.0, alarms=[("r", "heart rate high", 5)])
    assert answer(store, tell("b", deeds=[deed])).deeds == []
    reply = answer(store, tell("a"))
    kept = msgspec.structs.replace(deed, replica="b", number=1)
    assert (reply.deeds, reply.latest_deed) == ([kept], 1)
    assert answer(store, tell("a", deeds_after=1)).deeds == []
    assert [row.acknowledged_s for row in read_alarms(database)] == [70.0, None]
    done = store.answer(Do(Deed("d2", "1", "acknowledged", "Lee", 80.0)))
    assert isinstance(done, DoReply)
    assert done.deed.alarms == [("r", "pause", 900)]
    assert [row.acknowledged_s for row in read_alarms(database)] == [70.0, 80.0]
    assert isinstance(store.answer(Do(Deed("d3", "nobody", "acknowledged", "Lee", 80.0))), Refusal)


def test_what_a_new_replica_is_told(database: StoreDatabase) -> None:
    """It learns how far each bed is told, the alarms of its run, and the latest settings."""
    store = FleetStore(database)
    answer(store, tell("a", beat(10), alarms=[alarm(5)], spans=[span((0, 100, False), run="r")]))
    old, new = (Deed(str(i), "1", "settings", "Kim", 70.0 + i, data=f'{{"place":"{i}"}}') for i in (1, 2))
    answer(store, tell("a", deeds=[old, new, Deed("3", "1", "silenced", "Kim", 75.0)]))
    reply = store.ask()
    assert [(word.bed, word.run, word.told, word.next) for word in reply.beds] == [("1", "r", 10, 1000)]
    assert reply.alarms == [alarm(5)]
    assert [(deed.id, deed.data) for deed in reply.settings] == [("2", '{"place":"2"}')]
    assert (reply.latest_deed, reply.ended) == (3, [])
    assert store.answer(Ask()) == reply


def test_the_overview(database: StoreDatabase, clock: Clock) -> None:
    """Beds, who speaks, who is alive, what is told, and the alarms on the screen."""
    store = FleetStore(database, "north")
    answer(store, tell("a", beat(250), alarms=[alarm(250), alarm(100, ended=200, acknowledged_s=3.0)]))
    answer(store, tell("b"))
    clock.now_s += 2.5
    answer(store, tell("c", listening=[]))
    reply = store.answer(AskStatus())
    assert isinstance(reply, StatusReply)
    assert reply.fleet == "north"
    assert [(at.name, at.is_alive, at.beds) for at in reply.replicas] == [
        ("a", False, 1),
        ("b", False, 1),
        ("c", True, 0),
    ]
    (bed,) = reply.beds
    assert (bed.bed, bed.speaker, bed.listeners, bed.told_s, bed.beats, bed.sent) == ("1", "", 0, 2.0, 1, 1000)
    assert [row.onset for row in bed.alarms] == [250]


def test_other_stores_are_left_alone(database: StoreDatabase) -> None:
    """A store of a later version, of another fleet, or other tables of these names are refused."""
    with pytest.raises(ConfigError, match="no store of a fleet"):
        FleetStore(database, make=False).prepare()
    assert prepare_tables(database, "north") == "north"
    assert prepare_tables(database, "") == "north"
    with pytest.raises(ConfigError, match="the store of the fleet 'north', not of 'south'"):
        prepare_tables(database, "south")
    database.write("UPDATE about SET value = ? WHERE key = 'version'", [("9",)])
    with pytest.raises(ConfigError, match="a store of version 9"):
        FleetStore(database).prepare()
    database.write("DROP TABLE deeds", [()])
    with pytest.raises(ConfigError, match="other tables"):
        FleetStore(database).prepare()


def test_a_transaction_is_all_or_nothing(database: StoreDatabase) -> None:
    """Where a statement of a telling fails, nothing of it is kept, and the next one works."""
    store = FleetStore(database)
    answer(store, tell("a", beat(10)))

    def fail_half_way() -> None:
        with database.transaction():
            database.write("INSERT INTO about VALUES (?, ?)", [("x", "1")])
            database.write("INSERT INTO nowhere VALUES (?)", [(1,)])

    with pytest.raises(SourceError):
        fail_half_way()
    assert database.read("SELECT value FROM about WHERE key = 'x'") == []
    answer(store, tell("a", beat(20)))
    assert samples(database) == [10, 20]


@pytest.mark.parametrize("trouble", ["PRAGMA max_page_count = 30", "PRAGMA query_only = ON"])
def test_a_file_that_is_full_or_read_only(tmp_path: Path, trouble: str) -> None:
    """Nothing of what did not fit is kept, the reason is given, and all of it is taken once there is room."""
    database = SqliteDatabase(tmp_path / "fleet.db")
    store = FleetStore(database)
    answer(store, tell("a", beat(10)))
    database.read(trouble)
    many = [beat(100 + 50 * i) for i in range(2000)]
    reply = store.answer(tell("a", *many))
    assert isinstance(reply, Refusal)
    assert not reply.for_good
    assert "full" in reply.reason or "readonly" in reply.reason
    assert samples(database) == [10]
    answer(store, tell("a", *many))
    assert samples(database) == [10, *(row.sample for row in many)]


def test_files_that_are_no_stores(tmp_path: Path) -> None:
    """A text, another database, a folder and a file that is not there are told apart, and stay as they are."""
    text, other, full = tmp_path / "text", tmp_path / "other", tmp_path / "folder"
    text.write_text("words " * 1000)
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE mine(x)")
    db.close()
    full.mkdir()
    for path, reason in [(text, "no store"), (other, "no store"), (full, "folder"), (tmp_path / "none", "no store")]:
        with pytest.raises(ConfigError, match=reason):
            FleetStore(SqliteDatabase(path, make=False)).prepare()
    assert text.read_text() == "words " * 1000
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("store:", "is no database"),
        ("store://host", "port is missing"),
        ("store://127.0.0.1:5570?nothing=1", "is no address"),
        ("store://192.0.2.1:5570", "without keys"),
        ("mqtt://host", "is no database"),
    ],
)
def test_addresses_that_make_no_sense(settings: Config, address: str, reason: str) -> None:
    """They are refused in a line."""
    with pytest.raises(EcgError, match=reason):
        open_store_client(address, settings.security)


def test_an_address_names_its_database(tmp_path: Path) -> None:
    """A password is never shown."""
    assert open_store_database(f"store:{tmp_path}/a.db").shown == f"store:{tmp_path}/a.db"
    url = "postgresql://ecg:secret@db.example:5433/ward?sslmode=require"
    assert open_store_database(url).shown == "postgresql://db.example:5433/ward"


@pytest.mark.skipif(BINARIES is None, reason=NO_POSTGRES)
def test_a_database_that_comes_back() -> None:
    """PostgreSQL is killed and started again: what was confirmed is there, and the next telling works by itself."""
    with running_postgres() as server:
        store = FleetStore(open_store_database(server.url))
        told = 0
        for _ in range(3):
            for _ in range(20):
                told += 10
                answer(store, tell("a", beat(told)))
            server.kill()
            reply = store.answer(tell("a", beat(told + 10)))
            assert isinstance(reply, Refusal)
            assert not reply.for_good
            assert "ecg@" not in reply.reason
            server.start()
        answer(store, tell("a", beat(told + 10)))
        database = open_store_database(server.url)
        assert samples(database) == list(range(10, told + 20, 10))
        database.close()
        store.close()


@pytest.mark.skipif(BINARIES is None, reason=NO_POSTGRES)
def test_a_replica_that_freezes_in_a_transaction(postgres: PostgresServer) -> None:
    """PostgreSQL ends a transaction that stands still: the next telling waits for it, a second or so, and is taken."""
    frozen, database = open_store_database(postgres.url), open_store_database(postgres.url)
    store = FleetStore(database)
    store.prepare()

    def freeze() -> None:
        with frozen.transaction():
            answer(store, tell("a"))
            frozen.write("INSERT INTO about VALUES (?, ?)", [("frozen", "1")])

    with pytest.raises(SourceError):
        freeze()
    assert database.read("SELECT value FROM about WHERE key = 'frozen'") == []
    frozen.close()
    store.close()


def test_a_view_gets_all_beds(database: StoreDatabase, clock: Clock) -> None:
    """Each bed with its latest run, its counts and who listens; alarms, events, and more of what is asked."""
    store = FleetStore(database, "north")
    answer(store, tell("a", listening=[Listening("1", 9.0, True), Listening("2", 9.0, False)]))
    event = EventTold("e", "a", "1", "r", 5, 990.0, "signal", "lead V5 is off", None, None)
    old = alarm(100, ended=300)
    answer(store, tell("a", beat(100), beat(200, label="V"), alarms=[alarm(500), old], events=[event], listening=[]))
    answer(store, tell("a", beat(50, run="s"), spans=[span((0, 720, False), run="s")], listening=[]))
    store.answer(Do(Deed("d", "1", "acknowledged", "Kim", 1.0)))
    store.answer(Do(Deed("x", "1", "silenced", "Kim", clock.now_s - 7200.0)))
    clock.now_s += 0.5
    ward = store.answer(AskWard(["1"], None, counts_alarms=True))
    assert isinstance(ward, WardReply)
    assert (ward.fleet, ward.now_s, ward.latest_deed) == ("north", 1000.5, 2)
    one, two = ward.beds
    assert one == WardBed(
        "1", "a", [("a", True)], 1000.0, "s", 2, FS, 720, 50, False, 75.0, [2, 0, 1, 0, 0], 1720, 1720, 0
    )
    assert (two.bed, two.speaker, two.listening, two.run, two.counts) == ("2", "a", [("a", False)], "", [0] * 5)
    assert [(row.onset, row.acknowledged_s) for row in ward.alarms] == [(500, 1.0)]
    assert ward.events == [event]
    assert [deed.id for deed in ward.deeds] == ["d"], "what is two hours old holds no more"
    assert ward.alarm_counts == [("1", "heart rate high", "medium", 2)]
    (in_full,) = ward.in_full
    assert [row.sample for row in in_full.beats] == [50]
    assert {row.onset for row in in_full.alarms} == {100, 500}
    assert in_full.events == [event]
    later = store.answer(AskWard([], 1))
    assert isinstance(later, WardReply)
    assert [deed.id for deed in later.deeds] == ["x"]
    assert later.alarm_counts is None
    status = store.answer(AskStatus())
    assert isinstance(status, StatusReply)
    assert [bed.beats for bed in status.beds] == [3, 0]


def test_a_refused_command_leaves_no_store(tmp_path: Path) -> None:
    """An empty file stays empty, and an address that cannot be had makes no new file."""
    empty, new = tmp_path / "empty.db", tmp_path / "new.db"
    empty.touch()
    refused = CliRunner().invoke(app, ["fleet", "status", f"store:{empty}"]).exception
    assert "is empty, no store of a fleet" in str(refused)
    assert empty.stat().st_size == 0
    elsewhere = ["--bind", "tcp://192.0.2.1:5570", "--insecure"]  # an address of no machine
    refused = CliRunner().invoke(app, ["fleet", "store", str(new), *elsewhere]).exception
    assert "cannot bind" in str(refused)
    assert not new.exists()
