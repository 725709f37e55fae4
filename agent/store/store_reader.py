"""What is in a store, read back: beats, alarms, deeds, and an overview of all beds and replicas.

Open it with `open_store_database` (`agent.store.store_address`).
"""

from typing import Any

import msgspec

from agent.core.messages import Alarm, Ledger
from agent.store.store_database import StoreDatabase
from agent.store.store_messages import (
    NOTHING_TOLD,
    AlarmTold,
    BeatTold,
    BedStatusTold,
    Deed,
    EventTold,
    ReplicaStatus,
    StatusReply,
)
from agent.store.store_tables import ON_SCREEN
from model.records.resample import FS

ALARM_COLUMNS = ", ".join(AlarmTold.__struct_fields__)
_OF_ALARM = ", ".join(f"a.{name}" for name in AlarmTold.__struct_fields__)
_BEATS = f"""SELECT {", ".join(f"b.{name}" for name in BeatTold.__struct_fields__)} FROM beats b
    JOIN ledger e ON e.bed = b.bed AND e.run = b.run"""
_EVENTS = f"SELECT {', '.join(EventTold.__struct_fields__)} FROM events"


def read_told_beats(database: StoreDatabase, bed: str = "") -> list[BeatTold]:
    """Return the beats of a bed, or of all, in order within each bed. Raises SourceError."""
    where, values = ("WHERE b.bed = ?", (bed,)) if bed else ("", ())
    rows = database.read(f"{_BEATS} {where} ORDER BY b.bed, e.number, b.sample", values)
    return msgspec.convert(rows, list[BeatTold])


def read_alarms(database: StoreDatabase, where: str = "", values: tuple[Any, ...] = ()) -> list[AlarmTold]:
    """Return the alarms that meet a condition, with the table as `a`, in the order announced. Raises SourceError."""
    rows = database.read(f"SELECT {_OF_ALARM} FROM alarms a {where} ORDER BY a.bed, a.announced_s, a.onset", values)
    return msgspec.convert(rows, list[AlarmTold])


def read_events(database: StoreDatabase) -> list[EventTold]:
    """Return all events in the order of their time. Raises SourceError."""
    return msgspec.convert(database.read(f"{_EVENTS} ORDER BY at_s, bed, sample"), list[EventTold])


def read_ledgers(database: StoreDatabase) -> dict[tuple[str, str], Ledger]:
    """Return the ledger of each bed and run, in their order. Raises SourceError."""
    rows = database.read("SELECT bed, run, next - first, analysed, missing FROM ledger ORDER BY bed, number")
    return {(bed, run): Ledger(*map(int, counts)) for bed, run, *counts in rows}


def read_kept_deeds(database: StoreDatabase, where: str = "", values: tuple[Any, ...] = ()) -> list[Deed]:
    """Return the deeds that meet a condition, in order. Raises SourceError."""
    rows = database.read(
        f"SELECT id, bed, kind, by, at_s, replica, alarms, data, number FROM deeds {where} ORDER BY number", values
    )
    names = Deed.__struct_fields__
    decoded = ((*row[:6], msgspec.json.decode(row[6]), *row[7:]) for row in rows)
    return [msgspec.convert(dict(zip(names, row, strict=True)), Deed) for row in decoded]


def told_alarm(row: AlarmTold) -> Alarm:
    """Return the alarm of a row."""
    times = {name: getattr(row, name) for name in ("announced", "announced_s", "ended", "acknowledged_s")}
    return Alarm(*row.identity[:3], row.priority, row.text, row.onset, latching=bool(row.latching), **times)


def read_alarms_on_screen(database: StoreDatabase) -> list[AlarmTold]:
    """Return the alarms of all beds that are to be shown, in the order announced. Raises SourceError."""
    rows = database.read(f"SELECT {_OF_ALARM} FROM alarms a WHERE {ON_SCREEN}")  # put in order here: it has an index
    alarms = msgspec.convert(rows, list[AlarmTold])
    return sorted(alarms, key=lambda alarm: (alarm.bed, alarm.announced_s, alarm.onset))


def read_replicas(database: StoreDatabase, now_s: float, takeover_s: float) -> list[ReplicaStatus]:
    """Return all replicas, alive at `now_s` if they told something in the `takeover_s` before. Raises SourceError."""
    return [
        ReplicaStatus(name, host, pid, seen_s >= now_s - takeover_s, round(max(0.0, now_s - seen_s), 2), beds)
        for name, host, pid, seen_s, beds in database.read(
            """SELECT r.name, r.host, r.pid, r.seen_s, count(l.bed) FROM replicas r
               LEFT JOIN listeners l ON l.replica = r.name GROUP BY r.name ORDER BY r.name"""
        )
    ]


def read_overview(database: StoreDatabase, fleet: str, takeover_s: float) -> StatusReply:
    """Return all replicas, alive if they told something in the last `takeover_s`, and all beds. Raises SourceError."""
    now_s = database.now_s()
    replicas = read_replicas(database, now_s, takeover_s)
    alive = {replica.name for replica in replicas if replica.is_alive}
    listeners: dict[str, int] = {}
    for bed, replica in database.read("SELECT bed, replica FROM listeners"):
        listeners[bed] = listeners.get(bed, 0) + (replica in alive)
    sums = "sum(next - first), sum(analysed), sum(missing), count(*), sum(n + s + v + f + q)"
    ledgers = {bed: rest for bed, *rest in database.read(f"SELECT bed, {sums} FROM ledger GROUP BY bed")}
    shown: dict[str, list[AlarmTold]] = {}
    for alarm in read_alarms_on_screen(database):
        shown.setdefault(alarm.bed, []).append(alarm)
    beds = []
    query = """SELECT b.bed, b.speaker, b.run, e.told FROM beds b
               LEFT JOIN ledger e ON e.bed = b.bed AND e.run = b.run ORDER BY b.bed"""
    for bed, speaker, run, told in database.read(query):
        sent, analysed, missing, runs, beats = map(int, ledgers.get(bed, (0, 0, 0, 0, 0)))
        told_s = 0.0 if told is None or told == NOTHING_TOLD else round(told / FS, 2)
        speaks = speaker if speaker in alive else ""
        place = bed, speaks, listeners.get(bed, 0), run, runs, told_s
        beds.append(BedStatusTold(*place, beats, sent, analysed, missing, shown.get(bed, [])))
    return StatusReply(fleet, replicas, beds)
