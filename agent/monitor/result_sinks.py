"""What results go to: the contracts of sinks, viewers and outputs."""

from collections.abc import Collection, Sequence
from typing import Protocol

from agent.core.events import Event
from agent.core.messages import Beat, Chunk, End, Gap, Result
from agent.core.views import FailingOutput
from agent.monitor.bed_actions import BedActions
from agent.monitor.catching_up import StoreOpening
from agent.monitor.snapshot import MonitorFigures


class ResultSink(Protocol):
    """Where results go: recorder, logs, text, JSON, screen, Prometheus all take them like this."""

    def push(self, messages: Sequence[Chunk | Gap | End], results: Sequence[Result], now_s: float) -> None:
        """Take the messages of one step of the loop, and what they decided. Neither changes any more."""


class Viewer(ResultSink, Protocol):
    """A sink that a person looks at."""

    @property
    def keyboard(self) -> int | None:
        """File descriptor to wait on beside the link."""

    def refresh(self, now_s: float) -> bool:
        """Show what is due. Return False when a person asked for the end."""

    def patience_s(self, now_s: float) -> float:
        """Return the seconds for which nothing will be due."""

    def finish(self) -> None:
        """Show what is only known at the end."""


class FiguresSink(ResultSink, Protocol):
    """A sink that also counts shown beats, and is given figures once a second (Prometheus)."""

    def publish(self, figures: MonitorFigures) -> None:
        """Replace the figures of all beds."""

    def note_shown(self, beat: Beat, added_s: float) -> None:
        """Count a beat that was shown `added_s` seconds after its samples arrived."""


class OutputSink(ResultSink, Protocol):
    """A sink that sends results elsewhere, in its own time: `push` and `publish` return at once."""

    needs_figures: bool
    """Whether it is given figures once a second."""

    def publish(self, figures: MonitorFigures) -> None:
        """Replace the figures of all beds."""

    def news(self) -> list[Event]:
        """Return what happened to the sending since the last call."""

    def failing(self) -> FailingOutput | None:
        """Return since when it cannot send; None while it can."""

    def end_soon(self) -> None:
        """Begin to end: send what waits, for a few seconds at most. Return at once."""

    def close(self) -> None:
        """End, and wait for it; closed again, do nothing."""


class SharedStore(OutputSink, Protocol):
    """An output that other monitors of the same beds share: it knows what they have told, and what people did there."""

    def opening(self) -> StoreOpening:
        """Return what it knew when it was opened."""

    def note_caught_up(self, bed: str) -> None:
        """Let the word of this monitor count for a bed of the opening: all results up to now have been pushed."""

    def act(self, actions: BedActions, beds: Collection[str]) -> None:
        """Do to `beds`, those that have come, what people did at other monitors."""
