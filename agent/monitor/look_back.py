"""The past of each bed, for viewers: trends, alarms with their strips, the recorded signal.

What is recent is kept in memory; what is older is read from the recording, if there is one, in a thread: an answer may
come a moment later.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.core.alarm_times import believed_start_s
from agent.core.events import AlarmsHandled
from agent.core.look_back import (
    MINUTE_S,
    AlarmStrip,
    BedPast,
    BedTrend,
    MinuteTotals,
    PastAlarm,
    PastRequest,
    SignalPiece,
)
from agent.core.messages import Alarm, AlarmIdentity, Beat, Chunk, End, Gap, Result, ResumePosition, Strip
from agent.core.run_clock import RunClock
from agent.monitor.alarm_history import AlarmHistory
from agent.monitor.background_reader import Answer, BackgroundReader
from agent.monitor.bed_trends import KEPT_MINUTES, BedTrends
from agent.recording.beat_minutes import MinuteSpan, read_beat_minutes
from agent.recording.past_records import place_past_alarm, read_alarm_strip, read_past_alarms
from agent.recording.recorded_wave import read_signal_piece

KEPT_STRIPS, KEPT_STRIPS_OF_BED = 1000, 16
"""Latest strips that are kept in memory, of all beds and of one: 10 MB."""
KEPT_DEEDS = 64
"""Latest acknowledgements that are kept of a bed."""
READ_ALARMS = 200
"""Latest alarms of a bed that are read from a recording."""
ALARMS_FRESH_S = 5.0
"""How often alarms are read again while somebody looks at them."""
NO_ANSWER = Answer(None, reading=False)


class LookBack:
    """Keeps and reads the past of all beds. A sink of results; every method is for the thread of the monitor."""

    def __init__(
        self,
        history: AlarmHistory,
        run_clock: RunClock,
        folder: Path | None = None,
        recent_beats: Callable[[str], Iterable[Beat]] = lambda _bed: (),
        is_uncalibrated: Callable[[str], bool] = lambda _bed: False,
        open_alarms: Callable[[str], Iterable[Alarm]] = lambda _bed: (),
    ) -> None:
        """`folder` of the recording; `recent_beats` of a bed; `is_uncalibrated`: whether its heard lead is.

        `open_alarms` of a bed go on, and have the reason that holds now: the log gets it when they are over.
        """
        self.trends = BedTrends()
        self._history, self._run_clock, self._folder = history, run_clock, folder
        self._recent_beats, self._is_uncalibrated = recent_beats, is_uncalibrated
        self._open_alarms = open_alarms
        self._strips: OrderedDict[AlarmIdentity, AlarmStrip] = OrderedDict()
        self._growing: dict[str, set[AlarmIdentity]] = {}
        """Strips of which beats may still be decided, by bed."""
        self._deeds: dict[str, deque[tuple[float, str]]] = {}
        self._reader = BackgroundReader()
        self._filled: deque[tuple[str, list[tuple[int, MinuteTotals]]]] = deque()
        """Minutes that the thread has read."""
        self._unfilled: set[str] = set()
        """Beds of which the recording is still to be read."""

    def push(self, messages: Sequence[Chunk | Gap | End], results: Sequence[Result], now_s: float) -> None:
        """Take the messages of one step, and what they decided."""
        trends = self.trends
        trends.note_signal(messages, now_s)
        for item in results:
            if isinstance(item, Beat):
                trends.note_beat(item, now_s)
                if self._growing and item.bed in self._growing:
                    self._add_late_beat(item)
            elif isinstance(item, Strip):
                self._keep_strip(item)
            elif isinstance(item, AlarmsHandled) and item.action == "acknowledged":
                self._deeds.setdefault(item.bed, deque(maxlen=KEPT_DEEDS)).append((now_s, item.by))
        while self._filled:
            bed, minutes = self._filled.popleft()
            trends.add(bed, minutes)
            self._unfilled.discard(bed)

    def read_trends(self, positions: Mapping[str, ResumePosition], now_s: float) -> None:
        """Read the trends of what was recorded before this monitor, which goes on at these positions."""
        folder = self._folder
        if folder is None:
            return
        span = MinuteSpan(now_s - KEPT_MINUTES * MINUTE_S, now_s)

        def fill(bed: str, position: ResumePosition) -> None:
            minutes: list[tuple[int, MinuteTotals]] = []
            try:
                minutes = read_beat_minutes(folder, bed, position, span)
            finally:
                self._filled.append((bed, minutes))

        for bed, position in positions.items():
            self._unfilled.add(bed)
            self._reader.run(lambda bed=bed, position=position: fill(bed, position))  # type: ignore[misc]

    def trend(self, bed: str, hours: int, now_s: float) -> BedTrend:
        """Return the trend of a bed over the last hours, with the alarms that began in it."""
        trend = self.trends.trend(bed, hours, now_s)
        alarms, _ = self.alarms(bed)
        began = [past for past in reversed(alarms) if past.onset_s >= trend.first_minute * MINUTE_S]
        return replace(trend, alarms=tuple(began), is_filling=bed in self._unfilled)

    def alarms(self, bed: str) -> tuple[tuple[PastAlarm, ...], Answer]:
        """Return the alarms of a bed, the newest first, and how the reading of older ones stands."""
        folder = self._folder
        answer = NO_ANSWER
        if folder is not None:
            answer = self._reader.ask(
                ("alarms", bed), lambda: read_past_alarms(folder, bed, READ_ALARMS), ALARMS_FRESH_S
            )
        deeds = list(self._deeds.get(bed, ()))
        found: dict[AlarmIdentity, PastAlarm] = {past.identity: past for past in answer.value or ()}
        for alarm in self._history.kept(bed):
            at_s = self._run_clock.time_of(bed, alarm.run, alarm.onset)
            past = place_past_alarm(alarm, at_s, deeds)
            known = found.get(alarm.identity)
            if known is not None:  # the recording has it from the first announcement on
                kept = replace(past.alarm, acknowledged_s=past.alarm.acknowledged_s or known.alarm.acknowledged_s)
                past = replace(past, alarm=kept, handled_by=past.handled_by or known.handled_by)
                past = past if at_s is not None else replace(past, onset_s=known.onset_s)
            found[alarm.identity] = past
        for alarm in self._open_alarms(bed):
            listed = found.get(alarm.identity)
            if listed is not None and listed.alarm.text != alarm.text:
                found[alarm.identity] = replace(listed, alarm=replace(listed.alarm, text=alarm.text))
        return tuple(sorted(found.values(), key=lambda past: past.onset_s, reverse=True)), answer

    def strip(self, identity: AlarmIdentity) -> tuple[AlarmStrip | None, Answer]:
        """Return the strip of an alarm, None if there is none yet, and how the reading of it stands."""
        answer, folder = NO_ANSWER, self._folder
        strip = self._strips.get(identity)
        if strip is None and folder is not None:
            answer = self._reader.ask(("strip", identity), lambda: read_alarm_strip(folder, identity), ALARMS_FRESH_S)
            strip = answer.value
        # As the alarm stands now: the strip knows it as it stood when it was cut
        known = next((past for past in self.alarms(identity[0])[0] if past.identity == identity), None)
        return (replace(strip, past=known) if strip and known else strip), answer

    def signal(self, bed: str, run: str, first: int, count: int, lead: str) -> Answer:
        """Return a piece of the recorded signal of a run as a SignalPiece, and how the reading of it stands."""
        folder = self._folder
        if folder is None:
            return replace(NO_ANSWER, trouble="nothing is recorded: start the monitor with --record")
        key = "signal", bed, run, first, count, lead
        return self._reader.ask(key, lambda: read_signal_piece(folder, bed, run, first, count, lead), ALARMS_FRESH_S)

    def past(self, request: PastRequest, now_s: float) -> BedPast:
        """Return all that a request asks for, as far as it is known by now."""
        bed, answers = request.bed, []
        trend = self.trend(bed, request.hours, now_s) if request.hours else None
        alarms: tuple[PastAlarm, ...] = ()
        strip, signal = None, None
        if request.alarms or request.strip:
            alarms, answer = self.alarms(bed)
            answers.append(answer)
        if request.strip:
            strip, answer = self.strip(request.strip)
            answers.append(answer)
        if request.signal:
            answer = self.signal(bed, *request.signal, request.lead)
            answers.append(answer)
            signal = answer.value
        reading = any(answer.reading for answer in answers)
        trouble = next((answer.trouble for answer in answers if answer.trouble), "")
        return BedPast(bed, trend, alarms, strip, signal, reading, trouble)

    def close(self) -> None:
        """End the thread that reads."""
        self._reader.close()

    def _keep_strip(self, strip: Strip) -> None:
        alarm, identity, first = strip.alarm, strip.alarm.identity, strip.first
        stop = first + len(strip.wave)
        beats = tuple(
            beat for beat in self._recent_beats(alarm.bed) if beat.run == alarm.run and first <= beat.sample < stop
        )
        first_s = believed_start_s(alarm, first, self._run_clock.time_of(alarm.bed, alarm.run, first))
        uncalibrated = self._is_uncalibrated(alarm.bed)
        piece = SignalPiece(alarm.bed, alarm.run, strip.lead, first, strip.wave, beats, first_s, uncalibrated)
        self._strips[identity] = AlarmStrip(place_past_alarm(alarm, None, []), piece)
        self._growing.setdefault(alarm.bed, set()).add(identity)
        of_bed = [known for known in self._strips if known[0] == alarm.bed]
        for old in of_bed[:-KEPT_STRIPS_OF_BED]:
            self._forget_strip(old)
        while len(self._strips) > KEPT_STRIPS:
            self._forget_strip(next(iter(self._strips)))

    def _forget_strip(self, identity: AlarmIdentity) -> None:
        del self._strips[identity]
        self._stop_growing(identity)

    def _stop_growing(self, identity: AlarmIdentity) -> None:
        growing = self._growing.get(identity[0], set())
        growing.discard(identity)
        if not growing:
            self._growing.pop(identity[0], None)

    def _add_late_beat(self, beat: Beat) -> None:
        """Add a beat to the strips that it lies in; it was decided after they were cut."""
        for identity in tuple(self._growing[beat.bed]):
            piece = self._strips[identity].piece
            if beat.run != piece.run or beat.sample >= piece.stop:
                self._stop_growing(identity)
            elif piece.first <= beat.sample and all(known.sample != beat.sample for known in piece.beats):
                grown = replace(piece, beats=(*piece.beats, beat))
                self._strips[identity] = replace(self._strips[identity], piece=grown)
