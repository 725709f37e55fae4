"""All beds of a store for a view of the ward: read once a second, and no slower the longer a store is kept."""

from collections import defaultdict

import msgspec

from agent.store.store_database import StoreDatabase
from agent.store.store_messages import (
    NOTHING_TOLD,
    AskWard,
    BeatTold,
    BedInFull,
    Deed,
    EventTold,
    WardBed,
    WardReply,
)
from agent.store.store_reader import read_alarms, read_alarms_on_screen, read_kept_deeds, read_replicas

LATEST_EVENTS, LATEST_OF_BED, LATEST_BEATS = 100, 32, 32
"""The latest events of all beds; the latest alarms and events of one, and its latest beats."""
KEPT_DEEDS_S = 3600.0
"""No silence and no pause lasts longer."""
_BEAT_COLUMNS = ", ".join(BeatTold.__struct_fields__)
_EVENT_COLUMNS = ", ".join(EventTold.__struct_fields__)
_LATEST_RUNS = """SELECT b.bed, coalesce(b.speaker, ''), b.seen_s, b.run, coalesce(e.fs, 0), coalesce(e.next, 0),
    coalesce(e.told, ?), coalesce(e.ended, 0), e.heart_rate FROM beds b
    LEFT JOIN ledger e ON e.bed = b.bed AND e.run = b.run ORDER BY b.bed"""
_SUMS = """SELECT bed, count(*), sum(n), sum(s), sum(v), sum(f), sum(q), sum(next - first), sum(analysed), sum(missing)
    FROM ledger GROUP BY bed"""


def read_ward(database: StoreDatabase, fleet: str, takeover_s: float, request: AskWard) -> WardReply:
    """Return what a view of the ward asks for. Raises SourceError.

    Nothing is locked: who writes meanwhile is not held up, and what it writes may be in a part of the reply alone.
    """
    now_s = database.now_s()
    ((latest_deed,),) = database.read("SELECT coalesce(max(number), 0) FROM deeds")
    counts = None
    if request.counts_alarms:
        query = "SELECT bed, condition, priority, count(*) FROM alarms GROUP BY bed, condition, priority"
        counts = [(bed, condition, priority, int(count)) for bed, condition, priority, count in database.read(query)]
    return WardReply(
        fleet,
        now_s,
        read_replicas(database, now_s, takeover_s),
        _read_beds(database),
        read_alarms_on_screen(database),
        _read_latest_events(database, "", (), LATEST_EVENTS),
        _read_new_deeds(database, request.deeds_after, now_s),
        int(latest_deed),
        [_read_in_full(database, bed) for bed in request.in_full],
        counts,
    )


def _read_beds(database: StoreDatabase) -> list[WardBed]:
    listening: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for bed, replica, silent_s in database.read("SELECT bed, replica, silent_s FROM listeners ORDER BY since_s"):
        listening[bed].append((replica, silent_s is None))
    sums = {bed: [int(value) for value in values] for bed, *values in database.read(_SUMS)}
    beds = []
    for bed, speaker, seen_s, run, fs, following, told, ended, rate in database.read(_LATEST_RUNS, (NOTHING_TOLD,)):
        runs, *rest = sums.get(bed, [0] * 9)
        place = bed, speaker, listening[bed], seen_s, run, runs, fs, following, told, bool(ended), rate
        beds.append(WardBed(*place, rest[:5], *rest[5:]))
    return beds


def _read_new_deeds(database: StoreDatabase, after: int | None, now_s: float) -> list[Deed]:
    if after is not None:
        return read_kept_deeds(database, "WHERE number > ?", (after,))
    latest = "SELECT max(number) FROM deeds WHERE kind = 'settings' GROUP BY bed"
    return read_kept_deeds(database, f"WHERE at_s >= ? OR number IN ({latest})", (now_s - KEPT_DEEDS_S,))


def _read_latest_events(database: StoreDatabase, where: str, values: tuple[object, ...], most: int) -> list[EventTold]:
    rows = database.read(f"SELECT {_EVENT_COLUMNS} FROM events {where} ORDER BY at_s DESC LIMIT {most}", values)
    return msgspec.convert(rows, list[EventTold])


def _read_in_full(database: StoreDatabase, bed: str) -> BedInFull:
    beats = database.read(
        f"""SELECT {_BEAT_COLUMNS} FROM beats WHERE bed = ? AND run = (SELECT run FROM beds WHERE bed = ?)
        ORDER BY sample DESC LIMIT {LATEST_BEATS}""",
        (bed, bed),
    )
    since = f"SELECT announced_s FROM alarms WHERE bed = ? ORDER BY announced_s DESC LIMIT 1 OFFSET {LATEST_OF_BED - 1}"
    alarms = read_alarms(database, f"WHERE a.bed = ? AND a.announced_s >= coalesce(({since}), 0)", (bed, bed))
    events = _read_latest_events(database, "WHERE bed = ?", (bed,), LATEST_OF_BED)
    return BedInFull(bed, msgspec.convert(beats, list[BeatTold]), alarms[::-1][:LATEST_OF_BED], events)
