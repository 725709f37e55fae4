"""What a setting may be: numbers and texts with their limits, as `agent.core.config` checks them."""

from typing import Annotated, Literal

import msgspec

PositiveNumber = Annotated[float, msgspec.Meta(gt=0, lt=1e9)]
NonNegativeNumber = Annotated[float, msgspec.Meta(ge=0, lt=1e9)]
PositiveCount = Annotated[int, msgspec.Meta(gt=0, lt=10**9)]
UnitFraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
BeatCount = Annotated[int, msgspec.Meta(ge=2, le=1000)]
CycleCount = Annotated[int, msgspec.Meta(ge=2, le=10)]
ThreadCount = Annotated[int, msgspec.Meta(ge=1, le=256)]
RandomSeed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
DecibelValue = Annotated[float, msgspec.Meta(ge=-100, le=100)]
DeviceName = Literal["auto", "mps", "cuda", "cpu"]
NonEmptyText = Annotated[str, msgspec.Meta(min_length=1)]
