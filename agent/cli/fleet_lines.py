"""What `fleet watch` says where there is no terminal: lines, as a monitor has them, none of them cut."""

from collections.abc import Sequence
from typing import TextIO

import typer

from agent.core.clock import format_local_time
from agent.core.messages import Alarm, AlarmIdentity
from agent.core.views import WardSnapshot
from agent.outputs.text_lines import format_result
from agent.store.fleet_ward import FleetWard
from model.records.resample import FS
from model.text import shorten_name

LOOK_S = 0.1
"""How often it looks for changes."""


class FleetLines:
    """A viewer without a terminal.

    Each change of an alarm is a line of `file`, each change of what is wrong with the store or its beds one of standard
    error.
    """

    keyboard: int | None = None

    def __init__(self, ward: FleetWard, file: TextIO) -> None:
        self._ward, self._file = ward, file
        self._trouble = ""
        self._index: object = None
        self._alarms: dict[AlarmIdentity, Alarm] = {}

    def push(self, messages: Sequence[object], results: Sequence[object], now_s: float) -> None:
        """Take nothing: there are no results here."""

    def refresh(self, now_s: float) -> bool:
        """Say what has changed."""
        ward = self._ward.ward_snapshot(now_s)
        self._tell_trouble(ward)
        if ward.index is not self._index:
            self._index = ward.index
            self._tell_alarms(now_s)
        return True

    def patience_s(self, now_s: float) -> float:  # noqa: ARG002  # it is always the same
        """Return the seconds for which nothing will be due."""
        return LOOK_S

    def finish(self) -> None:
        """Say nothing more."""

    def _tell_trouble(self, ward: WardSnapshot) -> None:
        alone = sum(bed.state == "no monitor" for bed in ward.index)
        words = "the store is away" if ward.link.state == "lost" else f"{alone} beds have no monitor" if alone else ""
        if words != self._trouble:
            self._trouble = words
            text = f"{words}: {ward.link.trouble}" if words else "the store answers, and each bed has a monitor"
            typer.echo(f"ecg-agent: {text}", err=True)

    def _tell_alarms(self, now_s: float) -> None:
        before, self._alarms = self._alarms, {}
        lines = []
        for alarm, at_s in self._ward.shown_alarms():
            self._alarms[alarm.identity] = alarm
            if before.get(alarm.identity) != alarm:
                place = alarm.announced if alarm.ended is None else alarm.ended
                lines.append((at_s + (place - alarm.onset) / FS, format_result(alarm)))
        for alarm in before.values():
            if alarm.identity not in self._alarms:
                lines.append((now_s, f"{shorten_name(alarm.bed):<8} no longer shown: {alarm.condition}"))
        for at_s, line in lines:
            self._file.write(f"{format_local_time(at_s):<29}  {line}\n")
        if lines:
            self._file.flush()
