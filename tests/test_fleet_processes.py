"""Monitors of one ward as real processes, which are killed and frozen, and their store: it holds what it should.

Each time a monitor that nobody disturbs tells a store of its own: the two must hold the same.
"""

import itertools
import json
import signal
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Fleet, StoreProcess, has_replicas, is_told, simulated_fleet
from support.postgres import BINARIES, NO_POSTGRES, running_postgres
from test_cli import parse_lines, run

from agent.analysis.bed_leads import SAME_BEAT
from agent.store.store_messages import AlarmTold, BeatTold
from benchmarks.fleet_ward import read_contents, read_status

pytestmark = pytest.mark.slow
WARD = ("100", "208", "119", "207", "--speed", "10")
BEDS = 4
ENOUGH_S = 110
"""So much of each bed has more than 300 beats."""
OTHER = {"a": "b", "b": "a"}


def start_fleet(fleet: Fleet, plain: str, store: str) -> str:
    """Start three monitors; return which of the two that share a store speaks for most beds, once both hear all."""
    fleet.start("plain", plain)
    for name in OTHER:
        fleet.start(name, store)
    fleet.wait_until(lambda: has_replicas(store, *OTHER) and has_replicas(plain, "plain"))
    fleet.begin()
    fleet.wait_until(lambda: is_told(store, 5, BEDS, None, listeners=2))
    status = read_status(store)
    assert status is not None
    return Counter(bed.speaker for bed in status.beds).most_common(1)[0][0]


def end_ward(fleet: Fleet, *stores: str) -> None:
    """End the ward once enough of it is told."""
    fleet.wait_until(lambda: all(is_told(store, ENOUGH_S, BEDS) for store in stores))
    fleet.end_ward()


def states(alarms: Iterable[AlarmTold]) -> set[Any]:
    """Alarms without what a person did about them."""
    return {(row.identity, row.priority, row.announced, row.ended) for row in alarms}


def check_equal(plain: str, store: str) -> None:
    """All beats with their classes, once and in order, all alarms, and ledgers that close."""
    (beats, ledgers, alarms), (told, told_ledgers, told_alarms) = read_contents(plain), read_contents(store)
    assert len(beats) > 300
    assert told == beats
    assert told_ledgers == ledgers
    assert all(ledger.open == 0 and ledger.missing == 0 for ledger in ledgers.values())
    assert states(told_alarms) == states(alarms)


def handled(fleet: Fleet, name: str) -> list[str]:
    """Who did something about alarms, as a monitor has printed it."""
    lines = [json.loads(line) for line in fleet.output(name).splitlines() if line.startswith("{")]
    return [line["data"]["by"] for line in lines if line.get("event") == "AlarmsHandled"]


def test_a_replica_is_killed(tmp_path: Path) -> None:
    """Killed in the middle: the other goes on within seconds, and nobody sees it in the store. Who acknowledges at the
    command line does so at both monitors."""
    plain, store = f"store:{tmp_path}/plain.db", f"store:{tmp_path}/fleet.db"
    with simulated_fleet(tmp_path, *WARD) as fleet:
        speaker = start_fleet(fleet, plain, store)
        fleet.wait_until(lambda: (status := read_status(store)) is not None and any(bed.alarms for bed in status.beds))
        status = read_status(store)
        assert status is not None
        bed = next(bed.bed for bed in status.beds if bed.alarms)
        acknowledge = ["fleet", "acknowledge", bed, "--store", store, "--by", "Kim"]
        fleet.wait_until(lambda: (said := run(*acknowledge).stdout) != "" and "no alarm to acknowledge" not in said)
        fleet.wait_until(lambda: handled(fleet, "a") == handled(fleet, "b") == ["Kim"])
        fleet.send(speaker, signal.SIGKILL)
        fleet.wait_until(lambda: is_told(store, 5, BEDS, OTHER[speaker]))
        shown = run("fleet", "status", store)
        assert shown.returncode == 0, shown.stderr
        assert OTHER[speaker] in shown.stdout
        end_ward(fleet, plain, store)
        fleet.wait_for_end("plain", OTHER[speaker])
    check_equal(plain, store)
    assert "Kim" in fleet.output(OTHER[speaker])
    (told,) = parse_lines(run("fleet", "status", store, "--json").stdout)
    assert [bed["bed"] for bed in told["beds"]] == sorted(WARD[:BEDS])
    assert Counter(bed["missing"] for bed in told["beds"]) == {0: BEDS}


def test_a_replica_stands_still_and_the_store_is_killed(tmp_path: Path) -> None:
    """A frozen monitor is no longer believed when it wakes up; what was found while the store was away comes later."""
    plain = f"store:{tmp_path}/plain.db"
    server = StoreProcess(tmp_path / "fleet.db")
    try:
        with simulated_fleet(tmp_path, *WARD) as fleet:
            speaker = start_fleet(fleet, plain, server.address)
            fleet.send(speaker, signal.SIGSTOP)
            fleet.wait_until(lambda: is_told(server.address, 5, BEDS, OTHER[speaker]))
            server.kill()
            fleet.wait_until(lambda: "OutputTrouble" in fleet.output(OTHER[speaker]))
            server.start()
            fleet.send(speaker, signal.SIGCONT)
            end_ward(fleet, plain, server.address)
            fleet.wait_for_end("plain", "a", "b")
        check_equal(plain, f"store:{tmp_path}/fleet.db")
        assert "OutputRestored" in fleet.output(OTHER[speaker])
    finally:
        server.kill()


@pytest.mark.skipif(BINARIES is None, reason=NO_POSTGRES)
def test_postgresql_is_killed(tmp_path: Path) -> None:
    """The server of the database dies in the middle, and a replica leaves on purpose: the table is the same."""
    plain = f"store:{tmp_path}/plain.db"
    with running_postgres() as server:
        with simulated_fleet(tmp_path, *WARD) as fleet:
            speaker = start_fleet(fleet, plain, server.url)
            server.kill()
            fleet.wait_until(lambda: "OutputTrouble" in fleet.output(speaker))
            server.start()
            fleet.wait_until(lambda: "OutputRestored" in fleet.output(speaker))
            fleet.send(speaker, signal.SIGTERM)
            fleet.wait_for_end(speaker)
            fleet.wait_until(lambda: is_told(server.url, 5, BEDS, OTHER[speaker]))
            end_ward(fleet, plain, server.url)
            fleet.wait_for_end("plain", OTHER[speaker])
        check_equal(plain, server.url)


def test_a_new_replica_after_all_have_died(tmp_path: Path) -> None:
    """It takes up every bed where the store has it: what was told stays, no beat is there twice, the ledger closes, and
    few beats are others than those of a monitor that has heard the patients for longer."""
    plain, store = f"store:{tmp_path}/plain.db", f"store:{tmp_path}/fleet.db"
    with simulated_fleet(tmp_path, *WARD) as fleet:
        start_fleet(fleet, plain, store)
        fleet.wait_until(lambda: is_told(store, ENOUGH_S, BEDS))
        for name in OTHER:
            fleet.send(name, signal.SIGKILL)
        before, _, alarms_before = read_contents(store)
        fleet.start("new", store)
        fleet.wait_until(lambda: is_told(store, 2 * ENOUGH_S, BEDS, "new"))
        fleet.end_ward()
        fleet.wait_for_end("plain", "new")
    (beats, ledgers, _), (told, told_ledgers, told_alarms) = read_contents(plain), read_contents(store)
    assert told_ledgers == ledgers
    assert all(ledger.open == 0 and ledger.missing == 0 for ledger in ledgers.values())
    here = {(row.bed, row.run, row.sample): row for row in told}
    assert [here[row.bed, row.run, row.sample] for row in before] == before
    pairs = [(row, nearest_beat(row, beats)) for row in told]
    assert sum(same is None for _, same in pairs) <= 0.02 * len(beats)
    assert sum(nearest_beat(row, told) is None for row in beats) <= 0.02 * len(beats)
    assert sum(same is not None and row.label != same.label for row, same in pairs) <= 0.03 * len(beats)
    assert shortest_distance(told) >= shortest_distance(beats)
    over = states(row for row in alarms_before if row.ended is not None)
    assert over <= states(told_alarms)
    known = {row.identity for row in alarms_before}
    assert known <= {row.identity for row in told_alarms}


def nearest_beat(beat: BeatTold, others: Sequence[BeatTold]) -> BeatTold | None:
    """The one of other beats, in order, that is the same by EC57, within 150 ms: another lead may be heard."""
    first, last = ((beat.bed, beat.sample + shift) for shift in (-SAME_BEAT, SAME_BEAT))
    start = bisect_left(others, first, key=_place_of_beat)
    stop = bisect_right(others, last, key=_place_of_beat)
    return min(others[start:stop], key=lambda row: abs(row.sample - beat.sample), default=None)


def _place_of_beat(beat: BeatTold) -> tuple[str, int]:
    return beat.bed, beat.sample


def shortest_distance(beats: Sequence[BeatTold]) -> int:
    """Samples between two beats of a bed."""
    pairs = itertools.pairwise(beats)
    return min(later.sample - row.sample for row, later in pairs if row.bed == later.bed)
