"""What a person looks back at: the part of a view that its keys change and its pages draw."""

from dataclasses import dataclass

from agent.core.look_back import TREND_HOURS
from agent.core.messages import AlarmIdentity


@dataclass(frozen=True, slots=True)
class Calipers:
    """Two cursors in a still picture, each in samples before its end; `active`: which of them the arrows move."""

    places: tuple[int, int]
    active: int = 0


@dataclass(frozen=True, slots=True)
class LookingBack:
    """What is chosen of the past.

    hours, minutes_back
        Span of the trend, and how many minutes before now its cursor stands; None without cursor.
    alarm
        The alarm whose strip is open, None if none is.
    back
        Samples at 125 Hz by which a still picture ends before its own end.
    calipers
        None if they are off.
    strip_seconds
        Seconds of a strip across the screen.
    second_lead
        Whether a second lead is drawn where there is room.
    """

    hours: int = TREND_HOURS[0]
    minutes_back: int | None = None
    alarm: AlarmIdentity | None = None
    back: int = 0
    calipers: Calipers | None = None
    strip_seconds: int = 20
    second_lead: bool = True
