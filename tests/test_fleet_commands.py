"""Commands on the store of a fleet: names, addresses in a file, and what acknowledging does and says."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.broker import free_port
from test_cli import Refused, refused
from test_fleet_store import FS, beat, span, tell
from typer.testing import CliRunner

from agent.cli.app import app
from agent.core.clock import format_local_clock
from agent.core.messages import AlarmCondition
from agent.fleet.fleet_driver import prepare_store
from agent.store.fleet_store import FleetStore
from agent.store.store_address import open_store_client, read_store_address
from agent.store.store_database import SqliteDatabase
from agent.store.store_messages import AlarmTold, Listening
from agent.store.store_reader import read_alarms, read_kept_deeds
from model.errors import ConfigError

assert refused is not None  # a fixture
ESCAPE = "Kim\n\x1b[31mX"


def alarm(condition: AlarmCondition, onset: int, ended: int | None = None, latching: int = 1) -> AlarmTold:
    return AlarmTold("2", "r", condition, onset, "high", "why", onset + 125, 1e9, latching, ended, None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    """A store in which bed 2 has alarms: one stands, one is over and waits for a person, one is over for good."""
    database = SqliteDatabase(tmp_path / "fleet.db")
    alarms = [alarm("asystole", 500, 750), alarm("ventricular tachycardia", 900), alarm("pause", 100, 200, latching=0)]
    heard, signal = [Listening("2", 100.0, True)], [span((0, round(8 * FS), False), bed="2")]
    told = tell("first", beat(950, bed="2"), alarms=alarms, listening=heard, spans=signal)
    FleetStore(database, "north").answer(told)
    yield database
    database.close()


def said(*words: str) -> str:
    """What a command prints."""
    result = CliRunner().invoke(app, ["fleet", *words])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_what_is_shown_is_acknowledged(database: SqliteDatabase) -> None:
    """Each alarm that status shows is named with its times; one that is over for good is neither named nor touched."""
    acknowledge = ["acknowledge", "2", "--store", database.shown, "--by", " Kim "]
    first, second = said(*acknowledge).splitlines()
    assert first.startswith("2: ventricular tachycardia since 2001-09-0")
    assert first.endswith(format_local_clock(1e9 - 1))
    assert second.endswith(f"{format_local_clock(1e9 - 1)}, over at {format_local_clock(1e9 + 1)}")
    assert [(row.condition, row.acknowledged_s is None) for row in read_alarms(database)] == [
        ("pause", True),
        ("asystole", False),
        ("ventricular tachycardia", False),
    ]
    assert [deed.by for deed in read_kept_deeds(database)] == ["Kim"]
    assert said(*acknowledge) == "2: no alarm to acknowledge\n"
    assert len(read_kept_deeds(database)) == 1
    refusal = CliRunner().invoke(app, ["fleet", "acknowledge", "9", "--store", database.shown, "--by", "Kim"]).exception
    assert isinstance(refusal, ConfigError)
    assert str(refusal) == f"no bed '9' in {database.shown}: it has 2"


def test_status_in_a_pipe_cuts_no_name(database: SqliteDatabase) -> None:
    """What has no room in a line goes on in the next one."""
    name = "X" * 64
    told = tell("Y" * 64, beat(950, bed=name), listening=[Listening(name, 100.0, True)], spans=[])
    FleetStore(database, "north").answer(told)
    shown = said("status", database.shown)
    assert "…" not in shown
    assert (shown.count("X"), shown.count("Y")) == (64, 128)


def test_an_alarm_that_was_found_late_has_its_own_time(database: SqliteDatabase) -> None:
    """What was found in a backfill, minutes after it was, is named with the time that it has in the signal."""
    late = msgspec.structs.replace(alarm("heart rate high", 930), onset_s=1e9 - 500)
    listening = [Listening("2", 100.0, True)]
    FleetStore(database, "north").answer(tell("first", alarms=[late], listening=listening, spans=[]))
    lines = said("acknowledge", "2", "--store", database.shown, "--by", "Kim").splitlines()
    assert next(line for line in lines if "heart rate high" in line).endswith(format_local_clock(1e9 - 500))


@pytest.mark.parametrize("name", ["", "  ", ESCAPE, "x" * 65])
def test_names_of_who_acts(database: SqliteDatabase, refused: Refused, name: str) -> None:
    """One rule for both commands: it can be read, and nothing else comes into the store."""
    for words in (["acknowledge", "2", "--store", database.shown], ["watch", database.shown, "--metrics", ":9"]):
        code, line = refused("fleet", *words, "--by", name)
        assert (code, "say who acts in 1 to 64 printable characters: --by NAME" in line) == (3, True)
    assert read_kept_deeds(database) == []


def test_names_of_a_fleet_and_of_a_replica(refused: Refused, tmp_path: Path) -> None:
    """`fleet store` takes the names that `fleet run` takes; a replica has a name, and a store to have it in."""
    store = tmp_path / "x.db"
    code, line = refused("fleet", "store", str(store), "--name", "a/b")
    assert (code, "no / (--name)" in line, store.exists()) == (3, True, False)
    code, line = refused("monitor", "--publish", f"store:{store}", "--replica", "")
    assert (code, "a replica needs a name" in line) == (3, True)
    code, line = refused("monitor", "--replica", "first")
    assert (code, "--publish names no store" in line) == (3, True)


def test_an_address_in_a_file(database: SqliteDatabase, refused: Refused, tmp_path: Path) -> None:
    """Whatever takes a store takes an @FILE with it, among other outputs; no password is then on a command line."""
    file = tmp_path / "outputs"
    file.write_text(f"# of this ward\nmqtt://user:secret@broker\n{database.shown}\n")
    assert read_store_address(f"@{file}") == database.shown
    assert "Fleet north" in said("status", f"@{file}")
    assert said("acknowledge", "2", "--store", f"@{file}", "--by", "Kim").count("\n") == 2
    assert "metrics are at" in CliRunner().invoke(
        app, ["fleet", "watch", f"@{file}", "--metrics", f"127.0.0.1:{free_port()}", "--seconds", "0.1"]
    ).stderr  # fmt: skip
    prepare_store(read_store_address(f"@{file}"), "north")
    code, line = refused("fleet", "run", "--store", f"@{file}", "--name", "south")
    assert (code, "is the store of the fleet 'north', not of 'south'" in line) == (3, True)
    for text, reason in (("lsl\n", "names no store"), ("store:a\nstore:b\n", "names 2 stores")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=reason):
            open_store_client(f"@{file}", None)  # type: ignore[arg-type]  # not asked for
    code, line = refused("fleet", "status", f"@{tmp_path}/none")
    assert (code, "cannot read" in line) == (3, True)
