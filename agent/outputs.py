"""The ways to show what the monitor finds: lines of text, lines of JSON, and the live dashboard."""

from typing import Any, TextIO

import msgspec

from agent.config import Config
from agent.dashboard.screen import Screen
from agent.dashboard.view import chosen, is_overview
from agent.messages import Beat, Event, Snapshot
from agent.monitor import LONGEST_WAIT_S, Session
from model.records import CLASSES
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
        return msgspec.json.encode(_beat(item, session, now_s) if isinstance(item, Beat) else _event(item)).decode()


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


def _beat(beat: Beat, session: Session, now_s: float) -> dict[str, Any]:
    door_s = session.ward.beds[beat.bed].delay_s
    return {
        "type": "beat",
        "bed": beat.bed,
        "sample": beat.sample,
        "time_s": round(beat.sample / FS, 3),
        "class": beat.label,
        "confidence": round(beat.confidence, 4),
        "probabilities": {name: round(p, 4) for name, p in zip(CLASSES, beat.probabilities, strict=True)},
        "rr_s": beat.rr_s,
        "heart_rate": None if beat.heart_rate is None else round(beat.heart_rate, 1),
        "algorithmic_ms": round(1000 * ((beat.decided - beat.sample) / FS + door_s), 1),
        "added_ms": round(1000 * (now_s - beat.arrived_s), 3),
    }


def _event(event: Event) -> dict[str, Any]:
    of_bed = bool(event.bed)
    return {
        "type": "event",
        "bed": event.bed if of_bed else None,
        "sample": event.sample if of_bed else None,
        "time_s": round(event.sample / FS, 3) if of_bed else None,
        "kind": event.kind,
        "text": event.text,
    }


def clock_time(sample: int) -> str:
    """A sample index at 125 Hz as hours, minutes and seconds."""
    minutes, seconds = divmod(sample / FS, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{seconds:05.2f}"
