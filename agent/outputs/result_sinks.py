"""The ways to show what the monitor finds: lines of text, lines of JSON, and the live dashboard."""

from dataclasses import replace
from typing import TextIO

import msgspec

from agent.core.config import Config
from agent.core.events import Event
from agent.core.messages import Alarm, Beat, Result, Strip, WardSnapshot
from agent.core.wording import event_text
from agent.dashboard.bell import AlarmBell
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import chosen_bed, is_overview
from agent.monitor.monitor_session import LONGEST_LINK_WAIT_S, MonitorSession
from agent.outputs.json_lines import alarm_to_json, beat_to_json, event_to_json, ledger_to_json
from model.records.resample import FS
from model.text import format_clock

MANY_BEDS = 64
"""Beds of an overview beyond which a beat waits for the next frame."""


PRIORITY_MARKS = {"high": "!!!", "medium": "!!", "low": "!"}
"""As IEC 60601-1-8 has it."""


class TextLineSink:
    """A line of text for every beat and event, for pipes and logs."""

    keyboard: int | None = None

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, found: list[Result], session: MonitorSession, now_s: float) -> bool:
        """Write what was found, but strips, which have no place in a line."""
        if found:
            now_s = session.clock()
            lines = [self.line(item, session, now_s) for item in found if not isinstance(item, Strip)]
            self._file.write("".join(f"{line}\n" for line in lines))
            self._file.flush()
            session.shown(item for item in found if isinstance(item, Beat))
        return True

    def patience_s(self, now_s: float) -> float:  # noqa: ARG002  # nothing is ever due
        return LONGEST_LINK_WAIT_S

    def finish(self, session: MonitorSession) -> None:
        """Nothing: the summary says it."""

    def line(self, item: Beat | Event | Alarm, session: MonitorSession, now_s: float) -> str:  # noqa: ARG002  # JSON needs them
        """One beat, event or alarm in words."""
        if isinstance(item, Alarm):
            at = item.announced if item.ended is None else item.ended
            return f"{item.bed:<8} {format_sample_time(at)}  {format_alarm_text(item)}"
        where = f"{item.bed:<8} {format_sample_time(item.sample)}" if item.bed else f"{'link':<19}"
        if isinstance(item, Event):
            return f"{where}  -  {event_text(item)}"
        rr = f"RR {item.rr_s:5.3f} s" if item.rr_s is not None else "RR   --   "
        rate = f"HR {item.heart_rate:3.0f}" if item.heart_rate is not None else "HR  --"
        return f"{where}  {item.label}  {item.confidence:4.0%}  {rr}  {rate}"


class JsonLineSink(TextLineSink):
    """A JSON object a line for every beat and event, as docs/json-lines.md specifies."""

    def line(self, item: Beat | Event | Alarm, session: MonitorSession, now_s: float) -> str:
        """One beat, event or alarm as JSON."""
        if isinstance(item, Alarm):
            return msgspec.json.encode(alarm_to_json(item)).decode()
        if isinstance(item, Event):
            return msgspec.json.encode(event_to_json(item)).decode()
        return msgspec.json.encode(beat_to_json(item, session.ward.beds[item.bed].delay_s, now_s)).decode()

    def finish(self, session: MonitorSession) -> None:
        """The ledger of every bed."""
        for bed in session.ward.beds:
            self._file.write(f"{msgspec.json.encode(ledger_to_json(bed, session.ledger(bed))).decode()}\n")
        self._file.flush()


class DashboardSink:
    """The live picture: so many frames a second, and one in between when a bed that is seen has a beat.

    For the bed of the full view at once; in the overview, where beats never end, a quarter of a period later; in that
    of more than MANY beds not at all. Each frame first takes all beds at a glance, hears which of them the screen is to
    show, and takes these in full.
    """

    def __init__(self, screen: TerminalScreen, config: Config) -> None:
        self._screen = screen
        screen.view = replace(screen.view, bell=config.dashboard.bell)
        self._period_s = 1 / config.dashboard.frames_per_s
        self._last: WardSnapshot | None = None
        self._unseen: list[Beat] = []
        self._keys = ""
        self._due_s = self._free_s = 0.0
        self._bell = AlarmBell()

    @property
    def keyboard(self) -> int | None:
        return self._screen.stdin_fd

    def patience_s(self, now_s: float) -> float:
        return max(0.0, self._due_s - now_s)

    def finish(self, session: MonitorSession) -> None:
        """Nothing: the summary says it."""

    def show(self, found: list[Result], session: MonitorSession, now_s: float) -> bool:
        """Draw a frame if one is due."""
        beats = [item for item in found if isinstance(item, Beat)]
        self._unseen += beats
        self._keys += self._screen.keys()
        if self._keys or self._sees(beats):
            self._due_s = min(self._due_s, self._free_s)
        if now_s < self._due_s:
            return True
        glance = session.glance(now_s)
        wanted = self._screen.press(self._keys, glance)
        self._keys = ""
        asked = self._screen.asked()
        for action in asked:
            (session.acknowledge if action.kind == "acknowledge" else session.silence)(action.bed)
        glance = session.glance(now_s) if asked else glance
        self._last = session.look(glance, self._screen.looks_at(glance))
        self._screen.draw(self._last)
        if self._bell.due(glance.index, now_s) and self._screen.view.bell:
            self._screen.ring()
        session.shown(self._unseen)
        self._unseen.clear()
        self._rest(session, now_s)
        return wanted

    def _rest(self, session: MonitorSession, now_s: float) -> None:
        """Say when the next frame is due, and from when on a key or a beat may bring it earlier."""
        drawn_s = session.clock()
        self._due_s = now_s + self._period_s
        pause_s = 0.0
        if self._last is not None and is_overview(self._screen.view, self._last):
            pause_s = self._period_s / 4
        self._free_s = drawn_s + max(pause_s, drawn_s - now_s)  # a slow terminal is not drawn on without end

    def _sees(self, beats: list[Beat]) -> bool:
        """Whether one of these beats is worth a frame of its own."""
        if not beats or self._last is None:
            return bool(beats)
        if is_overview(self._screen.view, self._last):
            return len(self._last.index) <= MANY_BEDS
        return any(beat.bed == chosen_bed(self._screen.view) for beat in beats)


def format_sample_time(sample: int) -> str:
    """A sample index at 125 Hz as hours, minutes and seconds."""
    return format_clock(sample / FS, decimals=2)


def format_alarm_text(alarm: Alarm) -> str:
    """An alarm in a line: what became of it, what it is about, and why."""
    marks = PRIORITY_MARKS[alarm.priority]
    became = "" if alarm.ended is None else "over: "
    seen = " (seen to)" if alarm.acknowledged_s is not None else ""
    return f"{marks:<3}  {became}{alarm.condition}: {alarm.text}{seen}"
