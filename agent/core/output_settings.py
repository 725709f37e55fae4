"""Settings of outputs over a network: `[notify]`, `[publish]` and `[web]`."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

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


@dataclass(frozen=True, slots=True)
class WebConfig:
    address: str
    token: str
    certificate: str
    private_key: str
    hosts: str
    pulses_per_s: Annotated[float, msgspec.Meta(ge=1, le=50)]
    wards_per_s: Annotated[float, msgspec.Meta(ge=0.2, le=10)]
    viewers: Annotated[int, msgspec.Meta(ge=1, le=100)]
