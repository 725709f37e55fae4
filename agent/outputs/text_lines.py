"""Results as lines of text, or as JSON objects a line, for pipes and logs."""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, TextIO

import msgspec

from agent.core.alarm_times import alarm_end_s, alarm_onset_s
from agent.core.clock import format_local_time
from agent.core.events import AlarmsHandled, Event
from agent.core.messages import Alarm, Beat, Result, Strip
from agent.core.wording import alarm_text, event_text, sample_time
from agent.monitor.event_log import EventLimiter
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.json_lines import BeatLine, alarm_to_json, beat_line, event_to_json, ledger_to_json, round_shares
from model.text import shorten_name

_json_lines = msgspec.json.Encoder().encode_lines


class TextLineSink:
    """A line of text for every beat, event and alarm. A bed with too many events has the rest of them summed up.

    Each begins with its time by the clock here, by ISO 8601 with the offset from UTC, which is one word.
    """

    keyboard: int | None = None

    def __init__(self, file: TextIO, session: MonitorSession) -> None:
        self._file, self._session = file, session
        self._limiter = EventLimiter(session.analysed)

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002  # results only
        """Write results, but strips, which have no place in a line."""
        self._write([item for item in self._limiter.limit(results, now_s) if _fits(item)], now_s)
        self._session.note_shown(item for item in results if isinstance(item, Beat))

    def refresh(self, now_s: float) -> bool:  # noqa: ARG002  # a line is written at once
        """Do nothing: no person can ask for the end."""
        return True

    def patience_s(self, now_s: float) -> float:  # noqa: ARG002  # nothing is ever due
        """Return that it waits for ever."""
        return inf

    def finish(self) -> None:
        """Write the sum of the events that were left out."""
        now_s = self._session.clock()
        self._write(self._limiter.limit((), now_s, True), now_s)

    def _write(self, results: Sequence[Result], now_s: float) -> None:
        time_of = self._session.run_clock.time_of
        lines = (
            f"{format_local_time(_result_time(item, time_of, now_s)):<29}  {format_result(item)}" for item in results
        )
        _write_lines(self._file, list(lines))


class JsonLineSink:
    """A JSON object a line for every beat, event and alarm, as docs/json-lines.md specifies; nothing is left out."""

    keyboard: int | None = None

    def __init__(self, file: TextIO, session: MonitorSession) -> None:
        self._file, self._session = file, session

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002  # results only
        """Write results, but strips, which have no place in a line."""
        shown_s = self._session.clock()
        beats = [item for item in results if isinstance(item, Beat)]
        shares = iter(round_shares(beats))
        self._write([self._line(item, shares, shown_s, now_s) for item in results if _fits(item)])
        self._session.note_shown(beats)

    def refresh(self, now_s: float) -> bool:  # noqa: ARG002  # a line is written at once
        """Do nothing: no person can ask for the end."""
        return True

    def patience_s(self, now_s: float) -> float:  # noqa: ARG002  # nothing is ever due
        """Return that it waits for ever."""
        return inf

    def finish(self) -> None:
        """Write the ledger of every bed."""
        beds, now_s = self._session.pipeline.beds, self._session.clock()
        self._write([ledger_to_json(bed, self._session.ledger(bed), now_s) for bed in beds])

    def _line(
        self, item: Result, shares: Iterator[Sequence[float]], shown_s: float, now_s: float
    ) -> BeatLine | dict[str, Any]:
        """Return what is written of a result; `shares`: the probabilities of the next beats, rounded."""
        time_of = self._session.run_clock.time_of
        if isinstance(item, Beat):
            at_s = time_of(item.bed, item.run, item.sample)
            return beat_line(item, next(shares), self._session.delay_s(item.bed), shown_s, at_s)
        if isinstance(item, Alarm):
            at_s = time_of(item.bed, item.run, item.onset)
            return alarm_to_json(item, alarm_onset_s(item) if at_s is None else at_s)
        assert isinstance(item, Event)
        return event_to_json(item, _event_line_time(item, time_of, now_s))

    def _write(self, lines: Sequence[BeatLine | dict[str, Any]]) -> None:
        if lines:
            self._file.write(_json_lines(lines).decode())
            self._file.flush()


def format_result(item: Result) -> str:
    """Say a beat, an event or an alarm in one line."""
    bed = shorten_name(item.bed)
    if isinstance(item, Alarm):
        at = item.announced if item.ended is None else item.ended
        return f"{bed:<8} {sample_time(at)}  {alarm_text(item)}"
    if isinstance(item, Event):
        where = f"{bed:<8} {sample_time(item.sample)}" if item.bed else f"{'link':<19}"
        return f"{where}  -  {event_text(item)}"
    assert isinstance(item, Beat)
    rr = f"RR {item.rr_s:5.3f} s" if item.rr_s is not None else "RR   --   "
    rate = f"HR {item.heart_rate:3.0f}" if item.heart_rate is not None else "HR  --"
    return f"{bed:<8} {sample_time(item.sample)}  {item.label}  {item.confidence:4.0%}  {rr}  {rate}"


def _event_line_time(event: Event, time_of: Callable[[str, str, int], float | None], now_s: float) -> float | None:
    """Return the Unix time of an event; of a deed in a run of which nothing has come yet it is the present."""
    at_s = time_of(event.bed, event.run, event.sample) if event.bed else now_s
    return now_s if at_s is None and isinstance(event, AlarmsHandled) else at_s


def _result_time(item: Result, time_of: Callable[[str, str, int], float | None], now_s: float) -> float | None:
    """Return the Unix time of what a line is about: that of its sample, of the link and others the present."""
    if isinstance(item, Alarm):
        at_s = time_of(item.bed, item.run, item.announced if item.ended is None else item.ended)
        return at_s if at_s is not None else alarm_end_s(item) or item.announced_s
    assert isinstance(item, Beat | Event)
    if isinstance(item, Event):
        return _event_line_time(item, time_of, now_s)
    return time_of(item.bed, item.run, item.sample)


def _fits(item: Result) -> bool:
    return not isinstance(item, Strip)


def _write_lines(file: TextIO, lines: Sequence[str]) -> None:
    if lines:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
