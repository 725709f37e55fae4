"""Where views get a ward from: a monitor, or the store of a fleet. They do not know which."""

from collections.abc import Callable, Iterable
from typing import Protocol

from agent.core.bed_settings import BedSettings
from agent.core.look_back import BedPast, PastRequest
from agent.core.messages import AlarmIdentity, Beat
from agent.core.views import WardSnapshot


class WardActions(Protocol):
    """What people do about the alarms of beds; `by` names who acts, "" at the terminal."""

    def acknowledge(self, bed: str, by: str = "") -> None:
        """Acknowledge all alarms of a bed that were told."""

    def acknowledge_seen(self, bed: str, by: str, is_seen: Callable[[AlarmIdentity], bool]) -> int:
        """Acknowledge the alarms of a bed that somebody has seen, and no newer one; return how many that were."""

    def silence(self, bed: str, by: str = "", on: bool | None = None) -> None:
        """Silence the alarms of a bed for a while, or let them sound again; `on` None: whichever they are not."""

    def pause_alarms(self, bed: str, by: str = "", on: bool | None = None) -> None:
        """Pause all alarms of a bed for a while, or let them come again; `on` as that of `silence`."""

    def quiet_until_s(self, bed: str) -> tuple[float | None, float | None]:
        """Return until when (Unix time) alarms of a bed are silenced, and until when paused; None: they are not."""

    def settings(self, bed: str) -> BedSettings:
        """Return all that a bed has of its own."""

    def change_settings(self, bed: str, settings: BedSettings, by: str = "") -> None:
        """Let a bed have these settings, and no others. Raises ValueError if that cannot be."""


class WardSource(Protocol):
    """A ward as it is now, and what may be done to its beds."""

    @property
    def actions(self) -> WardActions:
        """What people may do."""

    @property
    def clock(self) -> Callable[[], float]:
        """The Unix time."""

    def ward_snapshot(self, now_s: float) -> WardSnapshot:
        """Return all that a frame is drawn from but the beds in full."""

    def with_beds(self, snapshot: WardSnapshot, names: Iterable[str]) -> WardSnapshot:
        """Return a snapshot with the beds of these names in full."""

    def past(self, request: PastRequest, now_s: float) -> BedPast:
        """Return what a viewer asks of a bed's past, as far as it is known by now."""

    def note_shown(self, beats: Iterable[Beat]) -> None:
        """Count beats that have just reached the person."""
