"""A monitor as a replica of a fleet: what it finds goes to the store that others share, in a thread of its own.

It keeps what the store does not have, whether it speaks for a bed or not: so it can go on for another that has died,
and tell all of it once a store is back that was away.
"""

import os
import secrets
import socket
import time
from collections.abc import Collection, Sequence

from agent.core.events import AlarmsHandled, Backfilled, BedSettingsChanged, Event, OutputTrouble
from agent.core.messages import Alarm, Beat, Chunk, End, Gap, Result
from agent.core.run_clock import RunClock
from agent.monitor.bed_actions import BedActions
from agent.monitor.catching_up import StoreOpening
from agent.monitor.snapshot import MonitorFigures
from agent.outputs.sending_thread import SendingOutput
from agent.store.deed_relay import DeedRelay
from agent.store.kept_rows import KeptRows
from agent.store.listening_beds import ListeningBeds
from agent.store.store_address import StoreClient, ask_store
from agent.store.store_messages import (
    LONGEST_NAME,
    AlarmTold,
    Ask,
    AskReply,
    BeatTold,
    Deed,
    EventTold,
    SpanTold,
    Tell,
    TellReply,
)
from agent.store.told_rows import read_opening, row_of_alarm, row_of_beat, row_of_event
from model.errors import ConfigError, EcgError, SourceError

PERIOD_S = 0.25
"""Pause between two tellings."""
WORDS_S = 1.0
"""How often samples are told of that brought nothing else, and what the store has of each bed is asked."""
STANDSTILL_S = 5.0
"""A monitor whose own loop has not turned for this long tells nothing: the store is to believe another one."""
MOST_ROWS_TOLD = 5000
"""Rows in one telling, about: those of a long trouble go in several."""
MOST_SYSTEM_EVENTS = 500
MOST_DEEDS = 1000
_BedRows = dict[str, tuple[list[SpanTold], list[BeatTold], list[AlarmTold], list[EventTold]]]


def default_replica_name() -> str:
    """Return a name by host and process."""
    return f"{socket.gethostname()[: LONGEST_NAME - 12]}-{os.getpid()}"


class StoreOutput(SendingOutput):
    """Tells one store. Raises ConfigError for what is no store; one that is away is asked again and again."""

    needs_figures = False

    def __init__(self, client: StoreClient, replica: str = "") -> None:
        self._replica = replica or default_replica_name()
        if not self._replica.isprintable() or len(self._replica) > LONGEST_NAME:
            raise ConfigError(f"a replica has a name of up to {LONGEST_NAME} printable characters (--replica)")
        self._client, self._host = client, socket.gethostname()[:255]
        self._token, self._started_s = secrets.token_hex(8), time.time()
        super().__init__("store", client.shown)
        self._relay, self._run_clock = DeedRelay(), RunClock()
        self._opening = StoreOpening()
        self._kept: dict[str, KeptRows] = {}
        """This, and what follows, is guarded by the condition."""
        self._events: dict[str, EventTold] = {}
        """Events of no bed, which every replica tells."""
        self._event_number = 0
        self._deeds: list[Deed] = []
        self._heard_deeds: list[Deed] = []
        self._listening = ListeningBeds()
        self._dropped = 0
        self._turned_s: float | None = None
        """When the monitor's loop turned last; None before it has begun."""
        self._spoken: set[str] = set()
        """Beds that the store believes this replica of. From here on everything belongs to the thread."""
        self._is_known = False
        """Whether the store knows all beds that this replica listens to."""
        self._has_failed = False
        self._words_due_s = 0.0
        self._deeds_after: int | None = None
        try:
            self._read_opening()
        except SourceError as error:
            self._sending.note_failure(_trouble_reason(error))
        except BaseException:
            client.close()
            raise
        self._sending.start()

    def opening(self) -> StoreOpening:
        """Return what the store knew when it was opened; nothing if it was away."""
        return self._opening

    def note_caught_up(self, bed: str) -> None:
        """Let the word of this monitor count for a bed of the opening."""
        with self._condition:
            self._listening.note_caught_up(bed)

    def act(self, actions: BedActions, beds: Collection[str]) -> None:
        """Do to `beds`, those that have come, what people did at other monitors. Each turn of the loop calls this."""
        with self._condition:
            deeds, self._heard_deeds = self._heard_deeds, []
            self._turned_s = time.monotonic()
        self._relay.take_in(deeds)
        self._relay.act(actions, beds)

    def push(self, messages: Sequence[Chunk | Gap | End], results: Sequence[Result], now_s: float) -> None:
        """Take all that goes to the store, until the end was asked for. Never waits for it."""
        if self._sending.closing:
            return
        deeds = self._relay.find_deeds(results, self._replica)
        self._run_clock.follow(messages)
        with self._condition:
            self._deeds = [*self._deeds, *deeds][-MOST_DEEDS:]
            for message in messages:
                self._listening.follow(message)
                self._bed(message.bed).follow(message)
            for item in results:
                if isinstance(item, Beat):
                    self._bed(item.bed).add_beat(row_of_beat(item))
                elif isinstance(item, Alarm):
                    self._bed(item.bed).note_standing(item)
                    if item.ended is not None or not item.paused:
                        onset_s = self._run_clock.time_of(item.bed, item.run, item.onset)
                        self._bed(item.bed).add_alarm(row_of_alarm(item, onset_s))
                elif isinstance(item, Event) and not _is_own_matter(item):
                    self._keep_event(item, now_s)

    def publish(self, figures: MonitorFigures) -> None:
        """Not asked for."""

    def _bed(self, name: str) -> KeptRows:
        kept = self._kept.get(name)
        if kept is None:
            kept = self._kept[name] = KeptRows(name)
        return kept

    def _keep_event(self, event: Event, at_s: float) -> None:
        if event.bed:
            self._bed(event.bed).add_event(row_of_event(event, at_s, self._replica))
            return
        self._event_number += 1
        row = row_of_event(event, at_s, self._replica, f"{self._token}-{self._event_number}")
        self._events[row.id] = row
        if len(self._events) > MOST_SYSTEM_EVENTS:
            del self._events[next(iter(self._events))]
            self._dropped += 1

    def _read_opening(self) -> None:
        reply = ask_store(self._client, Ask(), AskReply)
        self._opening, acknowledged = read_opening(reply)
        self._listening.wait_for(self._opening.positions)
        self._deeds_after = reply.latest_deed
        self._heard_deeds += acknowledged

    def _work(self) -> None:
        """The thread: tell what there is, again and again, until the end."""
        while True:
            if self._stands_still():
                time.sleep(PERIOD_S)
                continue
            is_last = self._sending.is_over or (self._sending.closing and self._is_known and not self._is_waiting())
            try:
                has_more = self._tell(is_last)
            except EcgError as error:
                self._is_known = has_more = False
                self._has_failed = True
                self._sending.note_failure(_trouble_reason(error))
            else:
                self._note_success()
            if is_last:
                break
            if not has_more:
                self._sending.pause(PERIOD_S)
        left = self._take_dropped() + self._count_untold()
        if left:
            self._sending.announce(OutputTrouble(self._sending.target, "the monitor ended", left))
        self._client.close()

    def _stands_still(self) -> bool:
        """Whether the monitor's loop hangs, though this thread does not."""
        with self._condition:
            turned_s = self._turned_s
        return turned_s is not None and not self._sending.closing and time.monotonic() - turned_s > STANDSTILL_S

    def _note_success(self) -> None:
        """Say what was dropped, if anything was, and that it works again, if it did not."""
        dropped = self._take_dropped()
        if dropped and not self._has_failed:
            self._sending.announce(OutputTrouble(self._sending.target, "too much waited to be told", dropped))
            dropped = 0
        self._sending.note_success(dropped)
        self._has_failed = False

    def _tell(self, is_last: bool) -> bool:
        """Tell what there is, and take the reply; return whether more should follow at once."""
        with self._condition:
            asks = not self._is_known or self._sending.closing or time.monotonic() >= self._words_due_s
            rows, is_full = self._select_rows(with_spans=asks)
            events, deeds = list(self._events.values()), list(self._deeds)
            listening = self._listening.changes(afresh=not self._is_known)
            standing = [told for bed in self._spoken if asks and (told := self._bed(bed).standing())]
        tell = Tell(
            self._replica,
            self._token,
            self._host,
            os.getpid(),
            self._started_s,
            afresh=not self._is_known,
            leaves=is_last,
            listening=listening,
            spans=[row for of_bed in rows.values() for row in of_bed[0]],
            beats=[row for of_bed in rows.values() for row in of_bed[1]],
            alarms=[row for of_bed in rows.values() for row in of_bed[2]],
            events=[*events, *(row for of_bed in rows.values() for row in of_bed[3])],
            deeds=deeds,
            deeds_after=self._deeds_after,
            asks=asks,
            standing=standing,
        )
        reply = ask_store(self._client, tell, TellReply)
        with self._condition:
            for event in events:
                self._events.pop(event.id, None)
            self._deeds = self._deeds[len(deeds) :]
            self._heard_deeds += reply.deeds
            self._deeds_after = reply.latest_deed
            self._is_known = True
            self._words_due_s = time.monotonic() + WORDS_S if asks else self._words_due_s
            before, self._spoken = self._spoken, set(reply.spoken)
            for bed in rows.keys() & self._spoken:
                self._kept[bed].confirm(*rows[bed])
            for word in reply.beds:
                self._bed(word.bed).follow_store(word)
            begun = self._spoken - before
            return is_full or any(self._bed(bed).has_rows for bed in begun)

    def _select_rows(self, with_spans: bool) -> tuple[_BedRows, bool]:
        """Return rows of the beds that this replica speaks for, and whether there are more than one telling takes.

        With `with_spans` also those of beds of which only samples came.
        """
        rows: _BedRows = {}
        room = MOST_ROWS_TOLD
        for bed in self._spoken:
            kept = self._bed(bed)
            if not (kept.waiting if with_spans else kept.has_rows):
                continue
            if room <= 0:
                return rows, True
            spans = kept.spans()
            beats, alarms, events = kept.rows(room)
            room -= sum(len(span.pieces) for span in spans) + len(beats) + len(alarms) + len(events)
            rows[bed] = spans, beats, alarms, events
        return rows, room <= 0

    def _is_waiting(self) -> bool:
        """Whether something is still to be told, be it beats that another replica has to tell, and may not any more."""
        with self._condition:
            return (
                bool(self._events or self._deeds)
                or any(self._bed(bed).waiting for bed in self._spoken)
                or any(kept.has_beats for kept in self._kept.values())
            )

    def _count_untold(self) -> int:
        with self._condition:
            return len(self._events) + len(self._deeds) + sum(self._bed(bed).count for bed in self._spoken)

    def _take_dropped(self) -> int:
        with self._condition:
            dropped, self._dropped = self._dropped, 0
            for kept in self._kept.values():
                dropped += kept.dropped
                kept.dropped = 0
        return dropped


def _is_own_matter(event: Event) -> bool:
    """Whether an event says nothing of a bed: a monitor came and fetched what others have, or it is told as a deed."""
    if isinstance(event, Backfilled):
        return event.sent_before
    return isinstance(event, AlarmsHandled | BedSettingsChanged)


def _trouble_reason(error: EcgError) -> str:
    return f"{error}; trying again"
