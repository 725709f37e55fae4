"""What a replica has found of one bed and the store does not have yet, in order; and what is already told by others.

A replica that does not speak for a bed keeps its rows until the one that speaks has told them: it forgets beats up to
the latest one told, and alarms and events that were known by then. So whoever takes over has all that is missing.
"""

from collections import deque

from agent.core.messages import Alarm, AlarmCondition, AlarmIdentity, Chunk, End, Gap
from agent.store.store_messages import (
    NOTHING_TOLD,
    AlarmTold,
    BeatTold,
    BedWord,
    EventTold,
    SpanPiece,
    SpanTold,
    StandingTold,
)
from model.records.resample import FS

MOST_BEATS = 3000
"""Beats kept of a bed: ten minutes of the quickest heart."""
MOST_OTHERS = 500
"""Alarms, and events, kept of a bed."""
MOST_PIECES = 5000
"""Pieces of runs kept of a bed: each gap makes two."""
MOST_RUNS = 16
LATE_SAMPLES = 2 * FS
"""What was known this long before the latest told beat was told with it, at the latest."""


class WaitingSpan:
    """The samples of a run that came since the latest telling, as pieces that follow each other."""

    def __init__(self, run: str, fs: float) -> None:
        self.run, self.fs = run, fs
        self.pieces: list[SpanPiece] = []
        self.ended = self.end_is_told = False

    def add(self, first: int, stop: int, lost: bool) -> None:
        """Take the next samples."""
        if self.pieces and self.pieces[-1][1:] == (first, lost):
            first = self.pieces.pop()[0]
        self.pieces.append((first, stop, lost))

    def forget_until(self, stop: int) -> None:
        """Forget the samples before `stop`."""
        self.pieces = [(max(first, stop), end, lost) for first, end, lost in self.pieces if end > stop]


class KeptRows:
    """The rows of one bed. `dropped` counts those that were lost because too many waited."""

    def __init__(self, bed: str) -> None:
        self.bed = bed
        self.dropped = 0
        self._spans: dict[str, WaitingSpan] = {}
        """By run, in their order; the latest ones."""
        self._beats: deque[BeatTold] = deque()
        self._alarms: dict[AlarmIdentity, AlarmTold] = {}
        self._events: dict[str, EventTold] = {}
        self._known: dict[AlarmIdentity | str, int] = {}
        """The latest beat when an alarm or event was found: an alarm may end long after what ended it."""
        self._latest = self._decided = NOTHING_TOLD
        """The latest beat, and the sample up to which beats are decided."""
        self._standing: set[AlarmCondition] = set()

    @property
    def waiting(self) -> bool:
        """Whether there is anything to tell."""
        return self.has_rows or any(map(_has_news, self._spans.values()))

    @property
    def count(self) -> int:
        """The number of beats, alarms and events that wait."""
        return len(self._beats) + len(self._alarms) + len(self._events)

    def follow(self, message: Chunk | Gap | End) -> None:
        """Take what the link brought of the bed."""
        span = self._spans.get(message.run)
        if span is None:
            span = self._spans[message.run] = WaitingSpan(message.run, message.fs)
            self._latest = self._decided = NOTHING_TOLD
            self._standing.clear()
            while len(self._spans) > MOST_RUNS:
                del self._spans[next(iter(self._spans))]
        if isinstance(message, End):
            span.ended = True
            return
        count = message.count if isinstance(message, Gap) else len(message.counts)
        span.add(message.first, message.first + count, isinstance(message, Gap))
        if len(span.pieces) > MOST_PIECES:
            (first, _, lost), (_, stop, other) = span.pieces[:2]
            span.pieces[:2] = [(first, stop, lost or other)]  # rather missing than claimed

    def add_beat(self, beat: BeatTold) -> None:
        """Take a beat."""
        self._latest, self._decided = beat.sample, beat.decided
        self._beats.append(beat)
        if len(self._beats) > MOST_BEATS:
            self._beats.popleft()
            self.dropped += 1

    def note_standing(self, alarm: Alarm) -> None:
        """Note whether an alarm stands, be it paused or not."""
        if alarm.ended is not None:
            self._standing.discard(alarm.condition)
        elif alarm.run == next(reversed(self._spans), ""):
            self._standing.add(alarm.condition)

    def standing(self) -> StandingTold | None:
        """Return the alarms that stand; None before the first beat of a run."""
        run = next(reversed(self._spans), "")
        return StandingTold(self.bed, run, self._decided, sorted(self._standing)) if self._decided >= 0 else None

    def add_alarm(self, alarm: AlarmTold) -> None:
        """Take the latest state of an alarm."""
        self._alarms.pop(alarm.identity, None)
        self._alarms[alarm.identity] = alarm
        self._known[alarm.identity] = max(self._latest, alarm.changed)
        if len(self._alarms) > MOST_OTHERS:
            self._forget_alarm(next(iter(self._alarms)))
            self.dropped += 1

    def add_event(self, event: EventTold) -> None:
        """Take an event."""
        self._events[event.id] = event
        self._known[event.id] = max(self._latest, event.sample)
        if len(self._events) > MOST_OTHERS:
            self._forget_event(next(iter(self._events)))
            self.dropped += 1

    @property
    def has_beats(self) -> bool:
        """Whether beats wait."""
        return bool(self._beats)

    @property
    def has_rows(self) -> bool:
        """Whether beats, alarms or events wait."""
        return bool(self._beats or self._alarms or self._events)

    def spans(self) -> list[SpanTold]:
        """Return what came of the runs, in their order."""
        return [
            SpanTold(self.bed, span.run, span.fs, list(span.pieces), span.ended)
            for span in self._spans.values()
            if _has_news(span)
        ]

    def rows(self, most_beats: int) -> tuple[list[BeatTold], list[AlarmTold], list[EventTold]]:
        """Return the first beats that wait, and all alarms and events: none of them follows what it was known by."""
        beats = [beat for beat, _ in zip(self._beats, range(most_beats), strict=False)]
        return beats, list(self._alarms.values()), list(self._events.values())

    def confirm(
        self, spans: list[SpanTold], beats: list[BeatTold], alarms: list[AlarmTold], events: list[EventTold]
    ) -> None:
        """Forget what was told, unless it has changed since."""
        for told in spans:
            if (span := self._spans.get(told.run)) is not None:
                span.end_is_told = span.end_is_told or told.ended
                span.forget_until(told.pieces[-1][1] if told.pieces else 0)
        for beat in beats:
            if self._beats and self._beats[0] is beat:
                self._beats.popleft()
        for alarm in alarms:
            if self._alarms.get(alarm.identity) is alarm:
                self._forget_alarm(alarm.identity)
        for event in events:
            self._forget_event(event.id)

    def follow_store(self, word: BedWord) -> None:
        """Forget what the store has, whoever told it."""
        if word.run not in self._spans:
            return  # a run of which nothing has come yet: all before it may be missing in the store
        order = list(self._spans)
        earlier = set(order[: order.index(word.run)])
        for run in earlier:
            self._spans[run].pieces.clear()
            self._spans[run].end_is_told = True
        self._spans[word.run].forget_until(word.next)
        if word.told == NOTHING_TOLD:
            return  # the last beats of the run before may follow

        def is_told(run: str, sample: int) -> bool:
            return run in earlier or run not in self._spans or (run == word.run and sample <= word.told)

        while self._beats and is_told(self._beats[0].run, self._beats[0].sample):
            self._beats.popleft()
        if word.speaks:
            return  # alarms and events are confirmed one by one
        for alarm in list(self._alarms.values()):
            if is_told(alarm.run, self._known[alarm.identity] + LATE_SAMPLES):
                self._forget_alarm(alarm.identity)
        for event in list(self._events.values()):
            if is_told(event.run, self._known[event.id] + LATE_SAMPLES):
                self._forget_event(event.id)

    def _forget_alarm(self, identity: AlarmIdentity) -> None:
        del self._alarms[identity], self._known[identity]

    def _forget_event(self, event_id: str) -> None:
        if self._events.pop(event_id, None) is not None:
            del self._known[event_id]


def _has_news(span: WaitingSpan) -> bool:
    return bool(span.pieces) or (span.ended and not span.end_is_told)
