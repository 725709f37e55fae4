"""The settings of a training, tables of config.toml, and the learning rate over its steps."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

RecipeCount = Annotated[int, msgspec.Meta(gt=0, lt=10**6)]
LayerWidth = Annotated[int, msgspec.Meta(gt=0, le=1024)]
RecipeShare = Annotated[float, msgspec.Meta(ge=0, lt=1)]
WholeShare = Annotated[float, msgspec.Meta(gt=0, le=1)]
NoiseLevel = Annotated[float, msgspec.Meta(ge=0, le=10)]
LearningRate = Annotated[float, msgspec.Meta(gt=0, lt=1)]

MOST_BLOCKS = 5
"""Residual blocks after which something is left of the 187 samples of a beat."""
WARM_UP_SHARE = 0.15
"""Share of the steps in which a one-cycle rate climbs from a 25th of its maximum; then it falls as a cosine."""


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """A table `[recipe.NAME]` of config.toml, where each entry is explained."""

    epochs: RecipeCount
    batch: RecipeCount
    learning_rate: LearningRate
    schedule: Literal["constant", "one-cycle"]
    weight_decay: RecipeShare
    drop_normal: Annotated[int, msgspec.Meta(ge=0)]
    balance: RecipeShare
    channels: Annotated[tuple[LayerWidth, ...], msgspec.Meta(min_length=1, max_length=MOST_BLOCKS)]
    dense: LayerWidth
    norm: bool
    augment: NoiseLevel
    average: RecipeShare

    def rate(self, done: float) -> float:
        """Return the learning rate after the share `done` (0..1) of all steps; one-cycle as in Smith & Topin 2018."""
        if self.schedule == "constant":
            return self.learning_rate
        if done < WARM_UP_SHARE:
            return self.learning_rate * (0.52 - 0.48 * math.cos(math.pi * done / WARM_UP_SHARE))
        return self.learning_rate * (0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP_SHARE) / (1 - WARM_UP_SHARE)))


@dataclass(frozen=True, slots=True)
class ContextRecipe:
    """How the live net is trained: the table `[live]` of config.toml, where each entry is explained."""

    epochs: RecipeCount
    batch: RecipeCount
    learning_rate: LearningRate
    weight_decay: RecipeShare
    kept_normal: WholeShare
    normal: WholeShare
    others: WholeShare
    smoothing: RecipeShare
    gain: NoiseLevel
    offset: NoiseLevel
    noise: NoiseLevel
    jitter: NoiseLevel
