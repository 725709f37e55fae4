import math
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch

from agent.core import config
from model.nets import checkpoint, checkpoint_card
from model.training.beat_augmentation import augment_beats

RECIPES = config.load_config(None, {}).recipe
CURVE = replace(RECIPES["best"], learning_rate=1.0, schedule="one-cycle")


def some_beats(count: int) -> torch.Tensor:
    """Beats with a bump of height 1 at sample 60 and padding behind sample 119."""
    time = torch.arange(187)
    beat = 0.2 + 0.8 * torch.exp(-(((time - 60) / 8) ** 2))
    return (beat * (time < 120)).repeat(count, 1)


def test_the_report_is_the_default() -> None:
    """The recipe called reproduction is that of the report."""
    recipe = RECIPES["reproduction"]
    assert (recipe.epochs, recipe.batch, recipe.learning_rate, recipe.schedule) == (100, 128, 0.001, "constant")
    assert (recipe.drop_normal, recipe.channels, recipe.dense) == (65_000, (32,) * 5, 32)
    assert (recipe.weight_decay, recipe.balance, recipe.augment, recipe.average, recipe.norm) == (0, 0, 0, 0, False)


def test_constant_rate() -> None:
    """A constant rate stays what it is."""
    assert {RECIPES["reproduction"].rate(done / 10) for done in range(11)} == {0.001}


def test_one_cycle() -> None:
    """The rate climbs from a 25th of its height to it, then falls to nothing, without a jump."""
    rates = [CURVE.rate(done / 1000) for done in range(1001)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    top = rates.index(max(rates))
    assert (top / 1000, rates[top]) == pytest.approx((0.15, 1.0))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(abs(a - b) for a, b in pairwise(rates)) < math.pi / 300


def test_augmentation_follows_its_generator() -> None:
    """The same generator gives the same beats, another seed others; strength 0 gives back the beats."""
    beats = some_beats(20)
    first, again, other = (augment_beats(beats, 1.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.allclose(augment_beats(beats, 0.0, torch.Generator()), beats)


def test_augmented_beats_are_beats() -> None:
    """What comes out is finite, not below zero, about as high, its bump near where it was, its padding still zero."""
    changed = augment_beats(some_beats(400), 1.0, torch.Generator().manual_seed(0))
    assert torch.isfinite(changed).all()
    assert changed.min() == 0
    assert 0.7 < changed.amax(1).min() < changed.amax(1).max() < 1.3
    peaks = changed.argmax(1).float()
    assert abs(peaks.mean() - 60) < 1
    assert 1 < peaks.std() < 4
    assert (changed[:, 145:] == 0).all(), "padding behind 120 samples stretched by at most a fifth"
    assert changed.std(0)[20] > 0.01, "each beat differs"


def test_the_live_net_that_ships_was_trained_by_the_live_recipe() -> None:
    """The card of the shipped live net has the settings of [live]."""
    _, card = checkpoint.load_checkpoint(checkpoint_card.find_checkpoint("live"), torch.device("cpu"))
    recipe = asdict(config.load_config(None, {}).live)
    assert {key: card.training[key] for key in recipe} == recipe
