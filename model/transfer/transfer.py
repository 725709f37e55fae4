"""Transfer to myocardial infarction: the second half of Kachuee et al. 2018 (doi:10.1109/ICHI.2018.00092).

The representation that a net learnt on arrhythmia stays frozen; two dense layers on top of it learn infarction against
normal. It has to beat two rivals on the very same beats and folds: the same net trained from scratch, and logistic
regression on the 187 samples of a beat.

Five folds by recording, no patient on two sides: each block of recordings is held out once, the block after it makes
all choices (`validation`), the others train. In every loss both classes weigh the same, and so does each recording
whatever its number of beats; the threshold of 0.5 therefore stands for even odds, not for how common infarction is.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.errors import RecordError
from model.nets.net import BeatNet, Dense, build

FOLDS = 5
SEEDS = (0, 1, 2)
BATCH = 256
HIDDEN = 32
DEPTH = 3
"""Residual blocks, counted from the last, whose output may belong to the representation."""
CLASS_NAMES = ("normal", "infarction")

Choice = dict[str, float]
"""What the validation block chooses, by name."""
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """Beats (n, 187) float32 in 0..1 in order of recording; the `recording` (n,) of each, an index into the others.

    `infarction` (r,) is 0 or 1; `patient` (r,) a number of the patient, -1 where that is unknown. Each of the r
    recordings has a beat.
    """

    beats: NDArray[np.float32]
    recording: NDArray[np.intp]
    infarction: NDArray[np.int64]
    patient: NDArray[np.int64]

    def rows(self, recordings: Rows) -> Rows:
        """The beats of some recordings."""
        return np.flatnonzero(np.isin(self.recording, recordings))

    def means(self, of_beats: Floats) -> Floats:
        """The mean (r,) over each recording's beats."""
        size = len(self.infarction)
        sums = np.bincount(self.recording, of_beats, minlength=size)
        return sums / np.maximum(np.bincount(self.recording, minlength=size), 1)

    def groups(self) -> NDArray[np.intp]:
        """A number (r,) for each patient; a recording of an unknown one stands for itself."""
        own = np.where(self.patient >= 0, self.patient, -1 - np.arange(len(self.patient)))
        numbers: NDArray[np.intp] = np.unique(own, return_inverse=True)[1]
        return numbers


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Recordings of one fold."""

    train: Rows
    validation: Rows
    held_out: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """A way to tell infarction.

    `train(choice, sides, seed)` returns its loss on the validation block and the log-odds of the held-out beats.
    """

    name: str
    seeds: tuple[int, ...]
    choices: tuple[Choice, ...]
    train: Callable[[Choice, Sides, int], tuple[float, Floats]]

    @property
    def trainings(self) -> int:
        """How many trainings a fold needs."""
        return len(self.choices) + len(self.seeds) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Log-odds (seeds, n) of beats from the folds they were held out of, and what each fold chose."""

    name: str
    logits: Floats
    chosen: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a net is trained: AdamW whose rate falls to zero along a cosine. A step takes some `recordings`, and of each
    some `beats` drawn at random: the beats of a recording are nearly alike."""

    epochs: int
    learning_rate: float
    weight_decay: float
    recordings: int
    beats: int


HEAD = Recipe(epochs=16, learning_rate=3e-3, weight_decay=0.1, recordings=32, beats=4)
SCRATCH = Recipe(epochs=14, learning_rate=3e-3, weight_decay=0.01, recordings=16, beats=2)
LAST_BLOCK: tuple[Choice, ...] = tuple({"blocks": 1, "dropout": dropout} for dropout in (0.0, 0.2, 0.5))
DEEPER: tuple[Choice, ...] = (
    *LAST_BLOCK,
    *({"blocks": depth, "dropout": dropout} for depth in range(2, DEPTH + 1) for dropout in (0.2, 0.5)),
)
PENALTIES: tuple[Choice, ...] = tuple({"penalty": 10.0**power} for power in (-4, -3, -2, -1))


class Head(nn.Module):
    """Representation (n, features) to scores (n, 2): standardised, two dense layers of 32, the output."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.dense1 = Dense(len(mean), HIDDEN)
        self.dense2 = Dense(HIDDEN, HIDDEN)
        self.output = Dense(HIDDEN, len(CLASS_NAMES))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout((x - self.mean) / self.scale)
        x = self.dropout(torch.relu(self.dense1(x)))
        x = self.dropout(torch.relu(self.dense2(x)))
        scores: Tensor = self.output(x)
        return scores


def blocks(data: Recordings) -> NDArray[np.intp]:
    """The block (r,) of each recording, 0 to 4. Raises RecordError where there are too few recordings.

    Where each patient is known, the patients of each class are dealt out in turn. Else recordings that follow each
    other stay together, since those of one patient do; a boundary that would part a known patient is moved to the
    nearest place that does not.
    """
    block = _dealt(data) if (data.patient >= 0).all() else _contiguous(data.patient)
    for number in range(FOLDS):
        if len(np.unique(data.infarction[block == number])) < len(CLASS_NAMES):
            raise RecordError(
                f"too few recordings: one of {FOLDS} blocks with patients apart has not both infarction and normal"
            )
    return block


def folds(block: NDArray[np.intp]) -> Iterator[Sides]:
    """Each block held out once; the one after it is for validation."""
    for number in range(FOLDS):
        after = (number + 1) % FOLDS
        train = np.flatnonzero((block != number) & (block != after))
        yield Sides(train, np.flatnonzero(block == after), np.flatnonzero(block == number))


@torch.no_grad()
def represent(net: BeatNet, beats: NDArray[np.float32]) -> list[Tensor]:
    """What the last three residual blocks say of beats (n, 187): each (n, channels * samples left) float32."""
    last = list(net.blocks)[-DEPTH:]
    parts: list[list[Tensor]] = [[] for _ in last]

    def keep(kept: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _inputs, output: kept.append(torch.flatten(output, 1).cpu())

    hooks = [block.register_forward_hook(keep(kept)) for block, kept in zip(last, parts, strict=True)]
    device = net.output.weight.device
    try:
        for batch in torch.split(torch.from_numpy(beats), BATCH):
            net.embed(batch.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat(kept) for kept in parts]


def rivals(data: Recordings, net: BeatNet) -> tuple[Rival, ...]:
    """What is compared: a frozen `net` with a new head (as published, and reaching deeper), from scratch, logistic."""
    features = represent(net, data.beats)
    samples = torch.from_numpy(data.beats)

    def transferred(choice: Choice, sides: Sides, seed: int) -> tuple[float, Floats]:
        head, loss = train_head(features, data, choice, sides, seed)
        return loss, _held_out(head, last_blocks(features, choice), data, sides)

    def scratch(_choice: Choice, sides: Sides, seed: int) -> tuple[float, Floats]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = build(replace(net.size, classes=len(CLASS_NAMES)), torch.device("cpu"), norm=True)
            return fit(fresh, samples, data, sides, SCRATCH, seed), _held_out(fresh, samples, data, sides)

    def logistic(choice: Choice, sides: Sides, _seed: int) -> tuple[float, Floats]:
        logits = logistic_regression(data, sides, choice["penalty"])
        return validation_loss(data, sides, logits), logits[data.rows(sides.held_out)]

    return (
        Rival("transferred", SEEDS, DEEPER, transferred),
        Rival("last block", SEEDS, LAST_BLOCK, transferred),
        Rival("from scratch", SEEDS, ({},), scratch),
        Rival("logistic", (0,), PENALTIES, logistic),
    )


def compare(data: Recordings, entrants: tuple[Rival, ...], step: Callable[[str], None]) -> list[Outcome]:
    """Train every rival on every fold; `step(name)` is called after each training.

    In a fold the choice with the least loss on the validation block, at the first seed, is taken for all seeds.
    """
    logits = [np.zeros((len(rival.seeds), len(data.beats))) for rival in entrants]
    chosen: list[list[Choice]] = [[] for _ in entrants]
    for sides in folds(blocks(data)):
        held_out = data.rows(sides.held_out)
        for rival, said, choices in zip(entrants, logits, chosen, strict=True):
            tried = []
            for choice in rival.choices:
                tried.append(rival.train(choice, sides, rival.seeds[0]))
                step(rival.name)
            best = min(range(len(tried)), key=lambda i: tried[i][0])
            choices.append(rival.choices[best])
            said[0, held_out] = tried[best][1]
            for i, seed in enumerate(rival.seeds[1:], 1):
                said[i, held_out] = rival.train(rival.choices[best], sides, seed)[1]
                step(rival.name)
    return [
        Outcome(rival.name, said, tuple(choices)) for rival, said, choices in zip(entrants, logits, chosen, strict=True)
    ]


def train_head(features: list[Tensor], data: Recordings, choice: Choice, sides: Sides, seed: int) -> tuple[Head, float]:
    """A head on the representation that `choice` names, and its loss on the validation block."""
    inputs = last_blocks(features, choice)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(*standard(inputs[torch.from_numpy(data.rows(sides.train))]), choice["dropout"])
        return head, fit(head, inputs, data, sides, HEAD, seed)


def last_blocks(features: list[Tensor], choice: Choice) -> Tensor:
    """What the last `blocks` blocks say, side by side: (n, features)."""
    return torch.cat(features[-round(choice["blocks"]) :], 1)


def standard(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (features,) of training beats; what hardly changes is not blown up."""
    scale = inputs.std(0)
    return inputs.mean(0), scale.clamp(min=max(0.1 * float(scale.median()), 1e-6))


def fit(net: nn.Module, inputs: Tensor, data: Recordings, sides: Sides, recipe: Recipe, seed: int) -> float:
    """Train `net`, (n, ...) inputs to (n, 2) scores, and leave it as it was after its best epoch.

    Best is the least loss on the validation block, which is returned.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
    labels, weights = torch.from_numpy(data.infarction), torch.from_numpy(_class_weights(data, sides)).float()
    counts = torch.from_numpy(np.bincount(data.recording, minlength=len(labels)))
    first, train = counts.cumsum(0) - counts, torch.from_numpy(sides.train)
    watched = data.rows(sides.validation)
    best, state = float("inf"), copy.deepcopy(net.state_dict())
    for _ in range(recipe.epochs):
        net.train()
        for some in torch.split(train[torch.randperm(len(train), generator=generator)], recipe.recordings):
            drawn = torch.rand(len(some), recipe.beats, generator=generator) * counts[some, None]
            rows = (first[some, None] + drawn.long()).flatten()
            loss = nn.functional.cross_entropy(net(inputs[rows]), labels[some].repeat_interleave(recipe.beats), weights)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in PyTorch
            optimiser.step()
        schedule.step()
        logits = np.zeros(len(inputs))
        logits[watched] = log_odds(net, inputs[torch.from_numpy(watched)])
        if (now := validation_loss(data, sides, logits)) < best:
            best, state = now, copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    return best


@torch.no_grad()
def log_odds(net: nn.Module, inputs: Tensor) -> Floats:
    """Log-odds (n,) of infarction of each beat."""
    net.eval()
    scores = torch.cat([net(batch) for batch in torch.split(inputs, BATCH)])
    odds: Floats = (scores[:, 1] - scores[:, 0]).double().numpy()
    return odds


def validation_loss(data: Recordings, sides: Sides, logits: Floats) -> float:
    """Cross-entropy of the validation block's recordings, both classes weighing the same."""
    labels = data.infarction[sides.validation]
    signed = np.where(labels == 1, 1, -1) * data.means(logits)[sides.validation]
    losses = np.logaddexp(0, -signed)
    return float(np.mean([losses[labels == label].mean() for label in (0, 1)]))


def logistic_regression(data: Recordings, sides: Sides, penalty: float) -> Floats:
    """Log-odds (n,) by logistic regression on the standardised samples of a beat, L2 `penalty`, by Newton's method."""
    rows = data.rows(sides.train)
    mean, scale = (value.double().numpy() for value in standard(torch.from_numpy(data.beats[rows])))
    x = np.c_[(data.beats - mean) / scale, np.ones(len(data.beats))]
    of = data.recording[rows]
    labels = data.infarction[of]
    weights = _class_weights(data, sides)[labels] / np.bincount(of)[of] / len(sides.train)
    ridge = np.full(x.shape[1], 2 * penalty)
    ridge[-1] = 1e-9  # the constant is free
    inside, beta = x[rows], np.zeros(x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(inside @ beta, -500, 500)))
        slope = inside.T @ (weights * (p - labels)) + ridge * beta
        curve = (inside * (weights * p * (1 - p))[:, None]).T @ inside + np.diag(ridge)
        change = np.linalg.solve(curve, slope)
        beta -= change / max(1.0, float(np.abs(change).max()))
        if np.abs(slope).max() < 1e-8:
            break
    logits: Floats = x @ beta
    return logits


def _held_out(net: nn.Module, inputs: Tensor, data: Recordings, sides: Sides) -> Floats:
    return log_odds(net, inputs[torch.from_numpy(data.rows(sides.held_out))])


def _class_weights(data: Recordings, sides: Sides) -> Floats:
    """A weight for normal and for infarction that lets both sum to the same over the training recordings."""
    counts = np.bincount(data.infarction[sides.train], minlength=len(CLASS_NAMES))
    weights: Floats = counts.sum() / (len(counts) * counts)
    return weights


def _dealt(data: Recordings) -> NDArray[np.intp]:
    """Blocks of patients, those with an infarction and those without dealt out in turn."""
    block = np.zeros(len(data.patient), np.intp)
    ill = np.unique(data.patient[data.infarction == 1])
    for patients in (ill, np.setdiff1d(data.patient, ill)):
        for i, patient in enumerate(patients):
            block[data.patient == patient] = i % FOLDS
    return block


def _contiguous(patient: NDArray[np.int64]) -> NDArray[np.intp]:
    """Blocks of recordings that follow each other; no known patient lies on both sides of a boundary."""
    size = len(patient)
    allowed = np.ones(size + 1, bool)
    for known in np.unique(patient[patient >= 0]):
        places = np.flatnonzero(patient == known)
        allowed[places[0] + 1 : places[-1] + 1] = False
    boundaries = np.flatnonzero(allowed)
    wanted = np.arange(1, FOLDS) * size / FOLDS
    nearest = boundaries[np.abs(boundaries[:, None] - wanted).argmin(axis=0)]
    return np.searchsorted(nearest, np.arange(size), side="right")
