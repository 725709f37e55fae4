"""The live dashboard as a sink of results: when a frame is due, and what it is drawn from."""

from collections.abc import Sequence
from dataclasses import replace

from agent.core.config import Config
from agent.core.messages import Beat, Result
from agent.core.views import WardSnapshot
from agent.dashboard.bell import AlarmBell
from agent.dashboard.display_filter import filter_beds
from agent.dashboard.past_requests import wanted_past
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import BedAction, chosen_bed, is_overview
from agent.monitor.reference_truth import ReferenceTruth
from agent.monitor.ward_source import WardSource
from agent.outputs.replay_remote import ReplayRemote
from model.errors import SourceError

MANY_BEDS = 64
"""Beds of an overview beyond which a beat waits for the next frame."""


class DashboardSink:
    """Draws frames at a fixed rate, and one in between when a bed that is seen has a beat.

    For the bed of the full view at once; in the overview, where beats never end, a quarter of a period later; in that
    of more than MANY_BEDS not at all. A frame takes the index of all beds, asks the screen which of them it shows, and
    takes these in full.
    """

    def __init__(
        self,
        screen: TerminalScreen,
        config: Config,
        session: WardSource,
        truth: ReferenceTruth | None = None,
        replay: ReplayRemote | None = None,
    ) -> None:
        """`truth`: the annotations that are shown beside the verdicts. `replay`: the keys of a replay go there."""
        self._screen, self._session = screen, session
        screen.view = replace(screen.view, bell=config.dashboard.bell)
        self._config = config.dashboard
        self._period_s = 1 / config.dashboard.frames_per_s
        self._last: WardSnapshot | None = None
        self._unseen: list[Beat] = []
        self._keys = ""
        self._due_s = self._free_s = 0.0
        self._bell = AlarmBell()
        self._truth = truth
        self._replay = replay

    @property
    def keyboard(self) -> int | None:
        return self._screen.stdin_fd

    def patience_s(self, now_s: float) -> float:
        """Return the seconds until the next frame."""
        return max(0.0, self._due_s - now_s)

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002  # results only
        """Take results; a beat that is seen brings the next frame forward."""
        beats = [item for item in results if isinstance(item, Beat)]
        self._unseen += beats
        if self._is_seen(beats):
            self._due_s = min(self._due_s, self._free_s)

    def refresh(self, now_s: float) -> bool:
        """Draw a frame if one is due. Return False when a person asked for the end."""
        self._keys += self._screen.keys()
        if self._keys:
            self._due_s = min(self._due_s, self._free_s)
        if now_s < self._due_s:
            return True
        session = self._session
        past = self._last.past if self._last else None  # for the keys: what the person sees of it
        snapshot = replace(session.ward_snapshot(now_s), past=past)
        goes_on = self._screen.press(self._keys, snapshot)
        self._keys = ""
        actions = self._screen.take_actions()
        for action in actions:
            try:
                self._act(action)
            except (SourceError, ValueError) as error:  # the store of a fleet is away, or knows no limits
                self._screen.note(str(error), now_s)
        snapshot = replace(session.ward_snapshot(now_s), past=past) if actions else snapshot
        if self._replay:
            self._replay.step(self._screen, now_s)
        shown = session.with_beds(snapshot, self._screen.plan_frame(snapshot))
        wanted = wanted_past(self._screen.view, shown)
        shown = replace(shown, past=session.past(wanted, now_s) if wanted else None)
        beds = filter_beds(shown.beds, self._config)
        self._last = replace(shown, beds=self._truth.annotate(beds) if self._truth else beds)
        self._screen.draw(self._last)
        if self._bell.due(snapshot.index, now_s) and self._screen.view.bell:
            self._screen.ring()
        session.note_shown(self._unseen)
        self._unseen.clear()
        self._plan_next(now_s)
        return goes_on

    def finish(self) -> None:
        """Do nothing: the summary says it."""

    def _act(self, action: BedAction) -> None:
        """Do what a person wants for a bed."""
        actions = self._session.actions
        match action.kind:
            case "acknowledge":
                actions.acknowledge(action.bed)
            case "silence":
                actions.silence(action.bed)
            case "pause":
                actions.pause_alarms(action.bed)
            case "settings":
                actions.change_settings(action.bed, action.settings)

    def _plan_next(self, now_s: float) -> None:
        """Set when the next frame is due, and from when on a key or a beat may bring it forward."""
        drawn_s = self._session.clock()
        self._due_s = now_s + self._period_s
        pause_s = 0.0
        if self._last is not None and is_overview(self._screen.view, self._last):
            pause_s = self._period_s / 4
        self._free_s = drawn_s + max(pause_s, drawn_s - now_s)  # a slow terminal is not drawn on without end

    def _is_seen(self, beats: list[Beat]) -> bool:
        """Whether one of these beats is worth a frame of its own."""
        if not beats or self._last is None:
            return bool(beats)
        if is_overview(self._screen.view, self._last):
            return len(self._last.index) <= MANY_BEDS
        return any(beat.bed == chosen_bed(self._screen.view) for beat in beats)
