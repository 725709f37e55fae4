"""The ways to show what the monitor finds: lines of text, lines of JSON, and the live dashboard."""

from typing import TextIO

import msgspec

from agent.config import Config
from agent.dashboard.screen import Screen
from agent.dashboard.view import chosen, is_overview
from agent.json_lines import beat_line, event_line, ledger_line
from agent.messages import Beat, Event, Snapshot
from agent.monitor import LONGEST_WAIT_S, Session
from model.resample import FS


class Lines:
    """A line of text for every beat and event, for pipes and logs."""

    keyboard: int | None = None

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, found: list[Beat | Event], session: Session, now_s: float) -> bool:
        """Write what was found."""
        if found:
            now_s = session.clock()
            self._file.write("".join(f"{self.line(item, session, now_s)}\n" for item in found))
            self._file.flush()
            session.shown(item for item in found if isinstance(item, Beat))
        return True

    def patience_s(self, now_s: float) -> float:  # noqa: ARG002  # nothing is ever due
        return LONGEST_WAIT_S

    def finish(self, session: Session) -> None:
        """Nothing: the summary says it."""

    def line(self, item: Beat | Event, session: Session, now_s: float) -> str:  # noqa: ARG002  # JSON needs them
        """One beat or event in words."""
        where = f"{item.bed:<8} {clock_time(item.sample)}" if item.bed else f"{'link':<19}"
        if isinstance(item, Event):
            return f"{where}  -  {item.text}"
        rr = f"RR {item.rr_s:5.3f} s" if item.rr_s is not None else "RR   --   "
        rate = f"HR {item.heart_rate:3.0f}" if item.heart_rate is not None else "HR  --"
        return f"{where}  {item.label}  {item.confidence:4.0%}  {rr}  {rate}"


class JsonLines(Lines):
    """A JSON object a line for every beat and event, as docs/json-lines.md specifies."""

    def line(self, item: Beat | Event, session: Session, now_s: float) -> str:
        """One beat or event as JSON."""
        if isinstance(item, Event):
            return msgspec.json.encode(event_line(item)).decode()
        return msgspec.json.encode(beat_line(item, session.ward.beds[item.bed].delay_s, now_s)).decode()

    def finish(self, session: Session) -> None:
        """The ledger of every bed."""
        for bed in session.ward.beds:
            self._file.write(f"{msgspec.json.encode(ledger_line(bed, session.ledger(bed))).decode()}\n")
        self._file.flush()


class Dashboard:
    """The live picture: so many frames a second, and one in between when a bed that is seen has a beat.

    For the bed of the full view at once; in the overview, where beats never end, a quarter of a period later.
    """

    def __init__(self, screen: Screen, config: Config) -> None:
        self._screen = screen
        self._period_s = 1 / config.dashboard.frames_per_s
        self._last: Snapshot | None = None
        self._unseen: list[Beat] = []
        self._keys = ""
        self._due_s = self._free_s = 0.0

    @property
    def keyboard(self) -> int | None:
        return self._screen.stdin_fd

    def patience_s(self, now_s: float) -> float:
        return max(0.0, self._due_s - now_s)

    def finish(self, session: Session) -> None:
        """Nothing: the summary says it."""

    def show(self, found: list[Beat | Event], session: Session, now_s: float) -> bool:
        """Draw a frame if one is due."""
        beats = [item for item in found if isinstance(item, Beat)]
        self._unseen += beats
        self._keys += self._screen.keys()
        if self._keys or any(self._sees(beat.bed) for beat in beats):
            self._due_s = min(self._due_s, self._free_s)
        if now_s < self._due_s:
            return True
        self._last = session.snapshot(now_s)
        wanted = self._screen.press(self._keys, self._last)
        self._keys = ""
        self._screen.draw(self._last)
        session.shown(self._unseen)
        self._unseen.clear()
        drawn_s = session.clock()
        self._due_s = now_s + self._period_s
        pause_s = self._period_s / 4 if is_overview(self._screen.view, self._last) else 0.0
        self._free_s = drawn_s + max(pause_s, drawn_s - now_s)  # a slow terminal is not drawn on without end
        return wanted

    def _sees(self, bed: str) -> bool:
        if self._last is None or not self._last.beds or is_overview(self._screen.view, self._last):
            return True
        return self._last.beds[chosen(self._screen.view, self._last)].bed == bed


def clock_time(sample: int) -> str:
    """A sample index at 125 Hz as hours, minutes and seconds."""
    minutes, seconds = divmod(sample / FS, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{seconds:05.2f}"
