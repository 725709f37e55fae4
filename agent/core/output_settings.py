"""Settings of outputs over a network: `[notify]` and `[publish]`."""

from dataclasses import dataclass
from typing import Literal

from agent.core.setting_types import PositiveCount, PositiveNumber


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    priority: Literal["high", "medium", "low"]
    ends: bool
    bed_messages: PositiveCount
    bed_pause_s: PositiveNumber
    all_messages: PositiveCount
    all_pause_s: PositiveNumber
    longest_pause_s: PositiveNumber
    give_up_s: PositiveNumber


@dataclass(frozen=True, slots=True)
class PublishConfig:
    queue: PositiveCount
    longest_pause_s: PositiveNumber
    discovery: str
    mqtt_ca: str
