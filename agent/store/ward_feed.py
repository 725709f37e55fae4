"""The store asked once a second for all beds, in a thread of its own: whoever shows them never waits for it."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec

from agent.store.store_address import StoreClient, ask_store
from agent.store.store_messages import MOST_IN_FULL, AlarmCount, AskWard, Deed, Do, DoReply, WardReply
from model.errors import ConfigError, EcgError, SourceError

PERIOD_S = 1.0
"""Pause between two questions."""
AWAY_S = 2.5
"""A store that has not answered for this long is away, and what is shown of it is old."""
WANTED_S = 3.0
"""A bed that was looked at this long ago is no longer asked for in full."""
COUNTS_S = 10.0
"""How often alarms are counted, if they are: the store goes through all of them."""
PATIENCE_S = 60.0
"""A deed that the store does not take is tried again for this long."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """The latest reply, and the Unix time at which it came; why there is no newer one, "" if the store answers."""

    reply: WardReply
    came_s: float
    trouble: str = ""


class WardFeed:
    """Asks one store until closed.

    Raises SourceError if it does not answer at first, NoStoreError if it is not there yet, ConfigError if it is none.
    """

    def __init__(self, client: StoreClient, clock: Callable[[], float], counts_alarms: bool = False) -> None:
        self.shown = client.shown
        self.clock = clock
        self._client, self._counts_alarms = client, counts_alarms
        self._condition = threading.Condition()
        self._wanted: dict[str, float] = {}
        """Beds that are looked at, and when that was (monotonic). With what follows guarded by the condition."""
        self._deeds: list[tuple[Deed, float]] = []
        """Deeds that the store has not taken yet, and until when they are tried (monotonic)."""
        self._lost: list[Deed] = []
        self._is_asked = self._is_closing = False
        self._counts_due_s = 0.0
        self._counts: list[AlarmCount] | None = None
        self.state = self._ask(None)
        """Replaced as a whole by the thread."""
        self._thread = threading.Thread(target=self._work, name="ward", daemon=True)

    def start(self) -> None:
        """Begin to ask again and again."""
        self._thread.start()

    def is_away(self, now_s: float) -> bool:
        """Return whether the store has not answered for so long that what is known of it is old."""
        return now_s - self.state.came_s > AWAY_S

    def store_time_s(self, now_s: float) -> float:
        """Return the time by the clock of the store at `now_s` by ours."""
        return now_s - self.state.came_s + self.state.reply.now_s

    def want(self, beds: Iterable[str]) -> None:
        """Let these beds be asked for in full, as long as they are looked at; more than MOST_IN_FULL are not."""
        now_s = time.monotonic()
        with self._condition:
            new = [bed for bed in beds if bed not in self._wanted]
            self._wanted.update(dict.fromkeys(beds, now_s))
            if new:
                self._ask_now()

    def do(self, deed: Deed) -> None:
        """Let the store have a deed, in the thread. Raises SourceError while the store is away."""
        if self.is_away(self.clock()):
            raise SourceError("the store is away: nothing can be done to a bed here, do it at a monitor")
        with self._condition:
            self._deeds.append((deed, time.monotonic() + PATIENCE_S))
            self._ask_now()

    def take_lost(self) -> list[Deed]:
        """Return the deeds that the store would not take, since the last call."""
        with self._condition:
            lost, self._lost = self._lost, []
        return lost

    def turn(self) -> None:
        """Let the store have what waits, and ask it; called by the thread."""
        try:
            self._send_deeds()
            self.state = self._ask(self.state.reply.latest_deed)
        except EcgError as error:
            self.state = replace(self.state, trouble=str(error))
        except Exception as error:  # a fault of ours must not let the old picture pass for a new one
            self.state = replace(self.state, trouble=f"internal error ({type(error).__name__})")

    def close(self) -> None:
        """End the thread; one that waits for an answer ends by itself."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        self._thread.join(PERIOD_S)

    def _ask_now(self) -> None:
        self._is_asked = True
        self._condition.notify_all()

    def _work(self) -> None:
        while self._wait():
            self.turn()
        self._client.close()

    def _wait(self) -> bool:
        """Wait until it is time to ask; return False at the end."""
        with self._condition:
            if not self._is_asked and not self._is_closing:
                self._condition.wait(PERIOD_S)
            self._is_asked = False
            return not self._is_closing

    def _ask(self, deeds_after: int | None) -> FeedState:
        """Ask for all beds. The counts of alarms are those of the last time that they were asked for."""
        now_s = time.monotonic()
        with self._condition:
            self._wanted = {bed: at_s for bed, at_s in self._wanted.items() if now_s - at_s < WANTED_S}
            wanted = list(self._wanted)
        is_counted = self._counts_alarms and now_s >= self._counts_due_s
        beds = wanted if len(wanted) <= MOST_IN_FULL else []
        reply = ask_store(self._client, AskWard(beds, deeds_after, is_counted), WardReply)
        if is_counted:
            self._counts, self._counts_due_s = reply.alarm_counts, now_s + COUNTS_S
        return FeedState(_with_counts(reply, self._counts), self.clock())

    def _send_deeds(self) -> None:
        while True:
            with self._condition:
                if not self._deeds:
                    return
                deed, until_s = self._deeds[0]
            is_lost = False
            try:
                ask_store(self._client, Do(deed), DoReply)
            except ConfigError:
                is_lost = True
            except SourceError:
                if time.monotonic() < until_s:
                    raise
                is_lost = True
            with self._condition:
                self._deeds = self._deeds[1:]
                self._lost += [deed] * is_lost


def _with_counts(reply: WardReply, counts: list[AlarmCount] | None) -> WardReply:
    return reply if reply.alarm_counts is counts else msgspec.structs.replace(reply, alarm_counts=counts)
