"""The rules of a store: who speaks for a bed, and that each finding is held once. One transaction a telling.

Per bed one replica is believed. It stays the one until it has been silent for TAKEOVER_S by the clock of the store, or
hears nothing of the bed while another does; then the one that has listened longest follows.
"""

import contextlib
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from agent.monitor.catching_up import SAME_BEAT_S
from agent.store.store_database import NoStoreError, StoreDatabase
from agent.store.store_messages import (
    MOST_ACKNOWLEDGED,
    NOTHING_TOLD,
    Ask,
    AskReplicas,
    AskReply,
    AskStatus,
    AskWard,
    BeatTold,
    BedWord,
    Deed,
    Do,
    DoReply,
    Refusal,
    ReplicasReply,
    SpanTold,
    StoreReply,
    StoreRequest,
    Tell,
    TellReply,
)
from agent.store.store_reader import ALARM_COLUMNS, read_alarms, read_kept_deeds, read_overview, read_replicas
from agent.store.store_tables import prepare_tables
from agent.store.told_alarms import end_forgotten_alarms, match_alarms
from agent.store.ward_told import read_ward
from model.errors import EcgError, SourceError
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

TAKEOVER_S = 2.0
"""A replica that has told nothing for this long is taken for dead."""
DEAF_S = 1.0
"""A replica that hears nothing of a bed for this long more gives it up, if another hears it."""
FEW_BEDS = 250
"""So many beds are looked up by name; of more all are read."""
FORGOTTEN_S = 86_400.0
"""A replica that was last seen this long ago is no longer listed."""
SAME_BEAT_SAMPLES = round(SAME_BEAT_S * FS)
RECENT_DEEDS_S = 60.0
"""Deeds this old are told to a replica that knows of none."""

_BEAT = """INSERT INTO beats VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_EVENT = """INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_ALARM = f"""INSERT INTO alarms({ALARM_COLUMNS}, replica) VALUES ({", ".join("?" * 13)})
    ON CONFLICT(bed, run, condition, onset) DO UPDATE SET
    priority = excluded.priority, text = excluded.text, latching = excluded.latching,
    ended = CASE WHEN alarms.ended > excluded.ended THEN alarms.ended ELSE excluded.ended END,
    acknowledged_s = coalesce(alarms.acknowledged_s, excluded.acknowledged_s),
    onset_s = coalesce(excluded.onset_s, alarms.onset_s), replica = excluded.replica
    WHERE alarms.ended IS NULL OR excluded.ended IS NOT NULL"""
_COUNTED = ("n", "s", "v", "f", "q")
"""Columns of the ledger that count beats, in the order of CLASSES."""
_LEDGER = f"""INSERT INTO ledger VALUES ({", ".join("?" * 17)}) ON CONFLICT(bed, run) DO UPDATE SET
    next = excluded.next, analysed = excluded.analysed, missing = excluded.missing, told = excluded.told,
    ended = excluded.ended, teller = excluded.teller, heart_rate = excluded.heart_rate,
    {", ".join(f"{name} = excluded.{name}" for name in _COUNTED)}"""
_REPLICA = """INSERT INTO replicas VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET token = excluded.token,
    host = excluded.host, pid = excluded.pid, started_s = excluded.started_s, seen_s = excluded.seen_s"""
_LISTENER = """INSERT INTO listeners VALUES (?, ?, ?, ?) ON CONFLICT(bed, replica) DO UPDATE SET
    since_s = excluded.since_s,
    silent_s = CASE WHEN excluded.silent_s IS NULL THEN NULL ELSE coalesce(listeners.silent_s, excluded.silent_s) END"""
_LEADERLESS = """SELECT b.bed FROM beds b
    JOIN listeners mine ON mine.bed = b.bed AND mine.replica = ?
    LEFT JOIN listeners l ON l.bed = b.bed AND l.replica = b.speaker
    LEFT JOIN replicas r ON r.name = b.speaker
    WHERE l.replica IS NULL OR r.name IS NULL OR r.seen_s < ?
    OR (mine.silent_s IS NULL AND l.silent_s IS NOT NULL AND l.silent_s < ?)"""
_BEST_LISTENER = """SELECT l.replica FROM listeners l JOIN replicas r ON r.name = l.replica
    WHERE l.bed = ? AND r.seen_s >= ?
    ORDER BY CASE WHEN l.silent_s IS NULL THEN 0 ELSE 1 END, l.since_s, l.replica LIMIT 1"""
_WORDS = """SELECT b.bed, b.speaker, b.run, e.told, e.next, e.fs, e.ended FROM beds b
    LEFT JOIN ledger e ON e.bed = b.bed AND e.run = b.run"""
_SPOKEN = "SELECT b.bed FROM beds b JOIN listeners l ON l.bed = b.bed AND l.replica = b.speaker WHERE b.speaker = ?"
_OF_MINE = "JOIN listeners l ON l.bed = b.bed AND l.replica = ?"
_ACKNOWLEDGE = """UPDATE alarms SET acknowledged_s = ?
    WHERE bed = ? AND run = ? AND condition = ? AND onset = ? AND acknowledged_s IS NULL"""
_ENTRY = f"""e.number, e.fs, e.first, e.next, e.analysed, e.missing, e.told, e.ended, e.teller, e.heart_rate,
    {", ".join(f"e.{name}" for name in _COUNTED)} FROM ledger e"""
_TellRow = TypeVar("_TellRow", bound=Any)


@dataclass(slots=True)
class _RunEntry:
    """The ledger of a run: `number` counts the runs of its bed, `counts` its beats by class; else as in the table."""

    number: int
    fs: float
    first: int
    next: int
    analysed: int = 0
    missing: int = 0
    told: int = NOTHING_TOLD
    ended: int = 0
    teller: str = ""
    """The token of the replica that told the latest beat."""
    heart_rate: float | None = None
    """That of the latest beat."""
    counts: list[int] = field(default_factory=lambda: [0] * len(CLASSES))

    @classmethod
    def of_row(cls, *values: Any) -> "_RunEntry":
        """Return the ledger of a row."""
        return cls(*(*values[: -len(CLASSES)], list(values[-len(CLASSES) :])))

    @property
    def values(self) -> tuple[Any, ...]:
        """The values of a row behind bed and run."""
        samples = self.number, self.fs, self.first, self.next, self.analysed, self.missing
        return *samples, self.told, self.ended, self.teller, self.heart_rate, *self.counts

    def count_beat(self, beat: BeatTold, teller: str) -> None:
        """Count a new beat, the latest of the run."""
        self.told, self.teller, self.heart_rate = beat.sample, teller, beat.heart_rate
        self.counts[CLASSES.index(beat.label) if beat.label in CLASSES else -1] += 1

    def take(self, span: SpanTold) -> None:
        """Count what goes beyond what is known; a hole, which nobody has told of, is missing."""
        for first, stop, lost in span.pieces:
            first, stop = max(first, self.next), max(stop, self.next)
            self.missing += first - self.next + (stop - first if lost else 0)
            self.analysed += 0 if lost else stop - first
            self.next = stop
        self.ended = int(self.ended or span.ended)

    def is_new(self, sample: int, teller: str) -> bool:
        """Return whether a beat follows those told: another replica may have found the latest a little later."""
        if self.told == NOTHING_TOLD or teller == self.teller:
            return sample > self.told
        return sample > self.told + SAME_BEAT_SAMPLES


class FleetStore:
    """A store in a database. `fleet`: its name, "" where any will do. `make`: a new one is made where there is none.

    Every method raises SourceError while the database cannot be used, and ConfigError where it is no store.
    """

    def __init__(self, database: StoreDatabase, fleet: str = "", make: bool = True) -> None:
        self._database, self._fleet, self._make = database, fleet, make
        self._is_prepared = False
        self._told_s = self._patient_until_s = float("-inf")
        """When anybody told something last, and until when nobody is taken for dead: the store itself was away."""

    @property
    def shown(self) -> str:
        """Where it is, without secrets."""
        return self._database.shown

    def prepare(self) -> None:
        """Make sure that it is a store of this version, and make its tables if it is new."""
        self._fleet = prepare_tables(self._database, self._fleet, self._make)
        self._is_prepared = True

    def answer(self, request: StoreRequest) -> StoreReply:
        """Return the reply to a request: a Refusal, if it is of no use to try again, or if it cannot be answered.

        Raises NoStoreError where there is no store, and none is to be made.
        """
        try:
            if isinstance(request, Tell):
                return self.tell(request)
            if isinstance(request, Ask):
                return self.ask()
            if isinstance(request, AskReplicas):
                return self.list_replicas()
            if isinstance(request, AskStatus):
                with self._transaction():
                    return read_overview(self._database, self._fleet, TAKEOVER_S)
            if isinstance(request, AskWard):
                self._prepare_once()
                return read_ward(self._database, self._fleet, TAKEOVER_S, request)
            return self.do(request)
        except NoStoreError:
            raise
        except EcgError as error:
            return Refusal(str(error), for_good=not isinstance(error, SourceError))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def tell(self, tell: Tell) -> StoreReply:
        """Take what a replica tells of the beds that it speaks for, and nothing of the others."""
        with self._transaction():
            now_s = self._database.now_s()
            if reason := self._greet(tell, now_s):
                return Refusal(reason)
            if now_s - self._told_s > TAKEOVER_S:
                self._patient_until_s = now_s + TAKEOVER_S
            self._told_s = now_s
            self._note_listening(tell, now_s)
            self._choose_speakers(tell.replica, now_s)
            spoken = [bed for (bed,) in self._database.read(_SPOKEN, (tell.replica,))]
            self._take_rows(tell, set(spoken), now_s)
            for deed in tell.deeds:
                self._keep_deed(msgspec.structs.replace(deed, replica=tell.replica))
            deeds, latest = self._deeds_for(tell, now_s)
            words = self._words(tell.replica) if tell.asks else []
            if tell.leaves:
                self._forget_replica(tell.replica)
        return TellReply(spoken, words, deeds, latest)

    def ask(self) -> AskReply:
        """Return what is known of all beds, for a replica that begins."""
        with self._transaction():
            rows = self._database.read(f"{_WORDS} WHERE e.run IS NOT NULL ORDER BY b.bed")
            alarms = read_alarms(self._database, "JOIN beds b ON b.bed = a.bed AND b.run = a.run")
            settings = {deed.bed: deed for deed in read_kept_deeds(self._database, "WHERE kind = ?", ("settings",))}
            latest = self._latest_deed()
        words = [_bed_word(row, "") for row in rows]
        return AskReply(words, [row[0] for row in rows if row[6]], alarms, list(settings.values()), latest)

    def list_replicas(self) -> ReplicasReply:
        """Return the replicas; it waits for no transaction, since one may be of a process that stands still."""
        self._prepare_once()
        return ReplicasReply(read_replicas(self._database, self._database.now_s(), TAKEOVER_S))

    def do(self, request: Do) -> StoreReply:
        """Keep a deed, which every replica is told of."""
        deed = request.deed
        with self._transaction():
            if not self._database.read("SELECT 1 FROM beds WHERE bed = ?", (deed.bed,)):
                return Refusal(f"no bed {deed.bed!r} in {self.shown}", for_good=True)
            if deed.kind == "acknowledged" and not deed.alarms:
                shown = "WHERE a.bed = ? AND a.acknowledged_s IS NULL"
                alarms = read_alarms(self._database, shown, (deed.bed,))
                named = [(alarm.run, alarm.condition, alarm.onset) for alarm in alarms]
                deed = msgspec.structs.replace(deed, alarms=named[-MOST_ACKNOWLEDGED:])
            return DoReply(self._keep_deed(deed))

    def _prepare_once(self) -> None:
        if not self._is_prepared:
            self.prepare()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._prepare_once()
        try:
            with self._database.transaction():
                yield
        except SourceError:
            self._is_prepared = False  # the database may be another one when it is back
            raise

    def _greet(self, tell: Tell, now_s: float) -> str:
        """Note that a replica is alive; return why not, if there are two of its name."""
        known = self._database.read("SELECT token, seen_s FROM replicas WHERE name = ?", (tell.replica,))
        if known and known[0][0] != tell.token:
            if known[0][1] >= now_s - TAKEOVER_S:
                return f"another monitor is the replica {tell.replica}: give this one a name of its own (--replica)"
            self._forget_replica(tell.replica)
        for (name,) in self._database.read("SELECT name FROM replicas WHERE seen_s < ?", (now_s - FORGOTTEN_S,)):
            self._forget_replica(name)
        row = tell.replica, tell.token, tell.host, tell.pid, tell.started_s, now_s
        self._database.write(_REPLICA, [row])
        return ""

    def _forget_replica(self, name: str) -> None:
        self._database.write("DELETE FROM listeners WHERE replica = ?", [(name,)])
        self._database.write("UPDATE beds SET speaker = NULL WHERE speaker = ?", [(name,)])
        self._database.write("DELETE FROM replicas WHERE name = ?", [(name,)])

    def _note_listening(self, tell: Tell, now_s: float) -> None:
        if tell.afresh:
            heard = {listening.bed for listening in tell.listening}
            known = self._database.read("SELECT bed FROM listeners WHERE replica = ?", (tell.replica,))
            gone = [bed for (bed,) in known if bed not in heard]
        else:
            gone = []
        gone += [listening.bed for listening in tell.listening if listening.seconds is None]
        self._database.write("DELETE FROM listeners WHERE bed = ? AND replica = ?", [(b, tell.replica) for b in gone])
        here = [(at.bed, now_s - at.seconds, at.hears) for at in tell.listening if at.seconds is not None]
        new_beds = [(bed, None, "", now_s) for bed, _, _ in here]
        self._database.write("INSERT INTO beds VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", new_beds)
        rows = [(bed, tell.replica, since_s, None if hears else now_s) for bed, since_s, hears in here]
        self._database.write(_LISTENER, rows)

    def _choose_speakers(self, replica: str, now_s: float) -> None:
        """Give the beds of a replica whose speaker is gone, or deaf, to the one that has listened longest."""
        alive_s = now_s - TAKEOVER_S
        dead_s = float("-inf") if now_s < self._patient_until_s else alive_s
        for (bed,) in self._database.read(_LEADERLESS, (replica, dead_s, now_s - DEAF_S)):
            for (best,) in self._database.read(_BEST_LISTENER, (bed, alive_s)):
                self._database.write("UPDATE beds SET speaker = ? WHERE bed = ?", [(best, bed)])

    def _words(self, replica: str) -> list[BedWord]:
        return [_bed_word(row, replica) for row in self._database.read(f"{_WORDS} {_OF_MINE}", (replica,))]

    def _take_rows(self, tell: Tell, spoken: set[str], now_s: float) -> None:
        """Keep the rows of the beds that the replica speaks for."""
        spans = _of_beds(tell.spans, spoken)
        beats = _of_beds(tell.beats, spoken)
        runs = {*((row.bed, row.run) for row in spans), *((row.bed, row.run) for row in beats)}
        entries = self._take_spans(spans, runs)
        rows: list[tuple[Any, ...]] = []
        for beat in beats:
            entry = entries.get(beat.bed, {}).get(beat.run)
            if entry is not None and entry.is_new(beat.sample, tell.token):
                entry.count_beat(beat, tell.token)
                rows.append((*msgspec.structs.astuple(beat), tell.replica))
        self._database.write(_BEAT, rows)
        alarms = match_alarms(self._database, _of_beds(tell.alarms, spoken))
        self._database.write(_ALARM, [(*msgspec.structs.astuple(alarm), tell.replica) for alarm in alarms])
        end_forgotten_alarms(self._database, _of_beds(tell.standing, spoken))
        events = [event for event in tell.events if not event.bed or event.bed in spoken]
        self._database.write(_EVENT, [msgspec.structs.astuple(event) for event in events])
        ledger = [(bed, run, *entry.values) for bed, of_bed in entries.items() for run, entry in of_bed.items()]
        self._database.write(_LEDGER, ledger)
        latest = {bed: max(of_bed, key=lambda run: of_bed[run].number) for bed, of_bed in entries.items()}
        self._database.write(
            "UPDATE beds SET run = ?, seen_s = ? WHERE bed = ?", [(run, now_s, bed) for bed, run in latest.items()]
        )

    def _take_spans(self, spans: Sequence[SpanTold], runs: set[tuple[str, str]]) -> dict[str, dict[str, _RunEntry]]:
        """Return the ledgers of these runs and the latest of their beds, with what has come since.

        New runs follow those that are there, in the order told.
        """
        entries: dict[str, dict[str, _RunEntry]] = defaultdict(dict)
        beds = {bed for bed, _ in runs}
        few = f" WHERE b.bed IN ({', '.join('?' * len(beds))})" if len(beds) <= FEW_BEDS else ""
        query = f"SELECT b.bed, b.run, {_ENTRY} JOIN beds b ON b.bed = e.bed AND b.run = e.run{few}"
        for bed, run, *values in self._database.read(query, tuple(beds) if few else ()) if beds else ():
            if bed in beds:
                entries[bed][run] = _RunEntry.of_row(*values)
        for bed, run in runs:
            if bed in entries and run not in entries[bed]:
                for row in self._database.read(f"SELECT {_ENTRY} WHERE e.bed = ? AND e.run = ?", (bed, run)):
                    entries[bed][run] = _RunEntry.of_row(*row)
        for span in spans:
            known = entries.get(span.bed, {})
            if span.run not in known:
                if not span.pieces:
                    continue
                known = entries[span.bed]
                first = span.pieces[0][0]
                number = 1 + max((entry.number for entry in known.values()), default=0)
                known[span.run] = _RunEntry(number, span.fs, first, first)
            known[span.run].take(span)
        return entries

    def _keep_deed(self, deed: Deed) -> Deed:
        """Keep a deed once, and what it acknowledges; return it with its number."""
        known = read_kept_deeds(self._database, "WHERE id = ?", (deed.id,))
        if known:
            return known[0]
        kept = msgspec.structs.replace(deed, number=self._latest_deed() + 1)
        alarms = msgspec.json.encode(kept.alarms).decode()
        row = kept.number, kept.id, kept.bed, kept.kind, kept.by, kept.at_s, kept.replica, alarms, kept.data
        self._database.write("INSERT INTO deeds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [row])
        self._database.write(_ACKNOWLEDGE, [(kept.at_s, kept.bed, *identity) for identity in kept.alarms])
        return kept

    def _latest_deed(self) -> int:
        return int(self._database.read("SELECT coalesce(max(number), 0) FROM deeds")[0][0])

    def _deeds_for(self, tell: Tell, now_s: float) -> tuple[list[Deed], int]:
        """Return the deeds of others that a replica does not know, and the number of the latest."""
        latest = self._latest_deed()
        if tell.deeds_after is None:
            since = "WHERE at_s >= ?", (now_s - RECENT_DEEDS_S,)
        elif tell.deeds_after < latest:
            since = "WHERE number > ?", (tell.deeds_after,)
        else:
            return [], latest
        return [deed for deed in read_kept_deeds(self._database, *since) if deed.replica != tell.replica], latest


def new_deed_id() -> str:
    """Return an id that no other deed has."""
    return secrets.token_hex(16)


def _of_beds(rows: Sequence[_TellRow], beds: set[str]) -> list[_TellRow]:
    return [row for row in rows if row.bed in beds]


def _bed_word(row: tuple[Any, ...], replica: str) -> BedWord:
    bed, speaker, run, told, following, fs, _ = row
    speaks = speaker is not None and speaker == replica
    if told is None:
        return BedWord(bed, speaks, "", NOTHING_TOLD, 0, 0.0)
    return BedWord(bed, speaks, run, told, following, fs)
