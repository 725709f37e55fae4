"""Beats and alarms as a marker stream of the Lab Streaming Layer: `ecg-agent monitor --publish lsl[:NAME]`.

One stream for all beds, since each stream takes a listening socket and threads of its own. A marker has the time of its
R peak, as well as that is known, so that it lines up with other streams in the recorder.
"""

import time
from collections.abc import Sequence
from typing import Any

from agent.core.events import Event
from agent.core.messages import Alarm, Beat, Result
from agent.core.run_clock import RunClock
from agent.core.views import FailingOutput
from agent.monitor.snapshot import MonitorFigures
from model.errors import ConfigError, SourceError, clean_error_text
from model.extras import import_extra

DEFAULT_NAME = "ecg-agent"
LONGEST_NAME = 64
CHANNELS = ("marker", "bed", "sample", "confidence", "text")
"""`marker`: class of a beat, or the condition of an alarm with its state; `sample` at 125 Hz of the run."""
QUIET_LOG = "[log]\nlevel = -2\n"
"""liblsl writes to standard error, where the dashboard is; only its errors are let through."""


class LslMarkerStream:
    """Offers the marker stream until it is closed.

    Raises ConfigError for a name that makes no sense, or without pylsl; SourceError if there can be no stream.
    """

    needs_figures = False

    def __init__(self, name: str, run_clock: RunClock) -> None:
        """`run_clock`: has followed the signals of what is pushed."""
        name = name or DEFAULT_NAME
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"--publish lsl:NAME: give a printable name of at most {LONGEST_NAME} characters")
        self._lsl: Any = import_extra("pylsl", "lsl")
        self._run_clock = run_clock
        try:
            self._lsl.set_config_content(QUIET_LOG)
            info = self._lsl.StreamInfo(
                name, "Markers", len(CHANNELS), self._lsl.IRREGULAR_RATE, "string", f"ecg-agent:{name}"
            )
            described = info.desc().append_child("channels")
            for label in CHANNELS:
                described.append_child("channel").append_child_value("label", label)
            self._outlet: Any = self._lsl.StreamOutlet(info)
        except Exception as error:  # of the library, which has no errors of its own
            raise SourceError(f"no LSL stream can be offered: {clean_error_text(error)}") from error

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002
        """Offer a marker for each beat, and for each alarm when it begins and when it is over."""
        if self._outlet is None:
            return
        for item in results:
            if isinstance(item, Beat):
                marker = [item.label, item.bed, str(item.sample), f"{item.confidence:.4f}", ""]
                self._offer(marker, item, item.sample)
            elif isinstance(item, Alarm) and item.acknowledged_s is None and not item.paused:
                sample = item.onset if item.ended is None else item.ended
                state = "alarm" if item.ended is None else "over"
                self._offer([f"{state}: {item.condition}", item.bed, str(sample), "", item.text], item, sample)

    def publish(self, figures: MonitorFigures) -> None:
        """Do nothing: figures are no markers."""

    def news(self) -> list[Event]:
        """Return nothing: a stream that nobody hears is none the worse."""
        return []

    def failing(self) -> FailingOutput | None:
        """Return None: the library of LSL has its own queue."""
        return None

    def end_soon(self) -> None:
        """Do nothing: nothing waits."""

    def close(self) -> None:
        """Offer the stream no more."""
        self._outlet = None

    def _offer(self, marker: list[str], item: Beat | Alarm, sample: int) -> None:
        at_s = self._run_clock.time_of(item.bed, item.run, sample)
        age_s = 0.0 if at_s is None else max(0.0, time.time() - at_s)
        self._outlet.push_sample(marker, self._lsl.local_clock() - age_s)
