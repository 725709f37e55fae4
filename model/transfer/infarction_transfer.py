"""Transfer to myocardial infarction: the second half of Kachuee et al. 2018 (doi:10.1109/ICHI.2018.00092).

The representation that a net learnt on arrhythmia stays frozen; two dense layers on top of it learn infarction against
normal. Two rivals see the same beats and folds: the same net trained from scratch, and logistic regression on the 187
samples of a beat.

Five folds by recording, no patient on two sides: each block of recordings is held out once, the block after it makes
all choices (`validation`), the others train. In every loss both classes weigh the same, and so does each recording
whatever its number of beats; a threshold of 0.5 therefore means even odds, not the prevalence of infarction.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.errors import RecordError
from model.nets.beat_net import BeatNet, DenseLayer, build_beat_net

TRANSFER_FOLDS = 5
SEEDS = (0, 1, 2)
TRANSFER_BATCH = 256
HIDDEN_UNITS = 32
DEPTH = 3
"""Residual blocks, counted from the last, whose output may belong to the representation."""
INFARCTION_CLASSES = ("normal", "infarction")

RivalChoice = dict[str, float]
"""What the validation block chooses, by name."""
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class InfarctionRecordings:
    """Beats (n, 187) float32 in 0..1 in order of recording; the `recording` (n,) of each, an index into the others.

    `infarction` (r,) is 0 or 1; `patient` (r,) a number of the patient, -1 if unknown. Each of the r recordings has a
    beat.
    """

    beats: NDArray[np.float32]
    recording: NDArray[np.intp]
    infarction: NDArray[np.int64]
    patient: NDArray[np.int64]

    def rows(self, recordings: Rows) -> Rows:
        """Return the rows (n,) of the beats of some recordings (k,)."""
        return np.flatnonzero(np.isin(self.recording, recordings))

    def means(self, of_beats: Floats) -> Floats:
        """Return the mean (r,) over each recording's beats of values (n,)."""
        size = len(self.infarction)
        sums = np.bincount(self.recording, of_beats, minlength=size)
        return sums / np.maximum(np.bincount(self.recording, minlength=size), 1)

    def groups(self) -> NDArray[np.intp]:
        """Return a number (r,) for each patient; a recording of an unknown one is a patient of its own."""
        own = np.where(self.patient >= 0, self.patient, -1 - np.arange(len(self.patient)))
        numbers: NDArray[np.intp] = np.unique(own, return_inverse=True)[1]
        return numbers


@dataclass(frozen=True, slots=True, eq=False)
class FoldSides:
    """Indices (k,) of the recordings of one fold, by their part in it."""

    train: Rows
    validation: Rows
    held_out: Rows


@dataclass(frozen=True, slots=True, eq=False)
class TransferRival:
    """A way to recognise infarction.

    `train(choice, sides, seed)` returns its loss on the validation block and the log-odds of the held-out beats.
    """

    name: str
    seeds: tuple[int, ...]
    choices: tuple[RivalChoice, ...]
    train: Callable[[RivalChoice, FoldSides, int], tuple[float, Floats]]

    @property
    def trainings(self) -> int:
        """Number of trainings of a fold."""
        return len(self.choices) + len(self.seeds) - 1


@dataclass(frozen=True, slots=True, eq=False)
class RivalOutcome:
    """Log-odds (seeds, n) of beats, each from the fold that held it out, and the choice of each fold."""

    name: str
    logits: Floats
    chosen: tuple[RivalChoice, ...]


@dataclass(frozen=True, slots=True)
class TransferRecipe:
    """Settings of a training: AdamW whose rate falls to zero along a cosine.

    A step takes `recordings`, and of each a number of `beats` at random: the beats of a recording are nearly alike.
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    recordings: int
    beats: int


HEAD_RECIPE = TransferRecipe(epochs=16, learning_rate=3e-3, weight_decay=0.1, recordings=32, beats=4)
SCRATCH_RECIPE = TransferRecipe(epochs=14, learning_rate=3e-3, weight_decay=0.01, recordings=16, beats=2)
LAST_BLOCK_CHOICES: tuple[RivalChoice, ...] = tuple({"blocks": 1, "dropout": dropout} for dropout in (0.0, 0.2, 0.5))
DEEPER_CHOICES: tuple[RivalChoice, ...] = (
    *LAST_BLOCK_CHOICES,
    *({"blocks": depth, "dropout": dropout} for depth in range(2, DEPTH + 1) for dropout in (0.2, 0.5)),
)
PENALTY_CHOICES: tuple[RivalChoice, ...] = tuple({"penalty": 10.0**power} for power in (-4, -3, -2, -1))


class TransferHead(nn.Module):
    """Representation (n, features) to scores (n, 2): standardised, two dense layers of 32, the output."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.dense1 = DenseLayer(len(mean), HIDDEN_UNITS)
        self.dense2 = DenseLayer(HIDDEN_UNITS, HIDDEN_UNITS)
        self.output = DenseLayer(HIDDEN_UNITS, len(INFARCTION_CLASSES))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Representation (n, features) to scores (n, 2)."""
        x = self.dropout((x - self.mean) / self.scale)
        x = self.dropout(torch.relu(self.dense1(x)))
        x = self.dropout(torch.relu(self.dense2(x)))
        scores: Tensor = self.output(x)
        return scores


def assign_blocks(data: InfarctionRecordings) -> NDArray[np.intp]:
    """Return the block (r,) of each recording, 0 to 4. Raises RecordError if there are too few recordings.

    If each patient is known, the patients of each class are dealt out in turn. Otherwise consecutive recordings stay
    together, since those of one patient are near each other; a boundary that would split a known patient is moved to
    the nearest place that does not.
    """
    block = _deal_patient_blocks(data) if (data.patient >= 0).all() else _contiguous_blocks(data.patient)
    for number in range(TRANSFER_FOLDS):
        if len(np.unique(data.infarction[block == number])) < len(INFARCTION_CLASSES):
            raise RecordError(
                f"too few recordings: one of {TRANSFER_FOLDS} blocks with patients apart "
                "has not both infarction and normal"
            )
    return block


def iterate_folds(block: NDArray[np.intp]) -> Iterator[FoldSides]:
    """Yield the sides of each fold, from blocks (r,): each is held out once, and the one after it is for validation."""
    for number in range(TRANSFER_FOLDS):
        after = (number + 1) % TRANSFER_FOLDS
        train = np.flatnonzero((block != number) & (block != after))
        yield FoldSides(train, np.flatnonzero(block == after), np.flatnonzero(block == number))


@torch.no_grad()
def embed_last_blocks(net: BeatNet, beats: NDArray[np.float32]) -> list[Tensor]:
    """Return the output of the last three residual blocks for beats (n, 187): each (n, channels * samples left)."""
    last = list(net.blocks)[-DEPTH:]
    parts: list[list[Tensor]] = [[] for _ in last]

    def keep(kept: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        """Return a hook that appends a block's output (n, columns) to `kept`."""
        return lambda _module, _inputs, output: kept.append(torch.flatten(output, 1).cpu())

    hooks = [block.register_forward_hook(keep(kept)) for block, kept in zip(last, parts, strict=True)]
    device = net.output.weight.device
    try:
        for batch in torch.split(torch.from_numpy(beats), TRANSFER_BATCH):
            net.embed(batch.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat(kept) for kept in parts]


def build_rivals(data: InfarctionRecordings, net: BeatNet) -> tuple[TransferRival, ...]:
    """Return the rivals: a frozen `net` with a new head, on its last block or on more, from scratch, logistic."""
    features = embed_last_blocks(net, data.beats)
    samples = torch.from_numpy(data.beats)

    def transferred(choice: RivalChoice, sides: FoldSides, seed: int) -> tuple[float, Floats]:
        """Train a head on the frozen net; validation loss and held-out log-odds (n,)."""
        head, loss = train_head(features, data, choice, sides, seed)
        return loss, _held_out_log_odds(head, join_last_blocks(features, choice), data, sides)

    def scratch(_choice: RivalChoice, sides: FoldSides, seed: int) -> tuple[float, Floats]:
        """Train all layers of a new net; validation loss and held-out log-odds (n,)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = build_beat_net(replace(net.size, classes=len(INFARCTION_CLASSES)), torch.device("cpu"), norm=True)
            return fit_transfer_net(fresh, samples, data, sides, SCRATCH_RECIPE, seed), _held_out_log_odds(
                fresh, samples, data, sides
            )

    def logistic(choice: RivalChoice, sides: FoldSides, _seed: int) -> tuple[float, Floats]:
        """Fit a logistic regression; validation loss and held-out log-odds (n,)."""
        logits = fit_logistic_regression(data, sides, choice["penalty"])
        return validation_loss(data, sides, logits), logits[data.rows(sides.held_out)]

    return (
        TransferRival("transferred", SEEDS, DEEPER_CHOICES, transferred),
        TransferRival("last block", SEEDS, LAST_BLOCK_CHOICES, transferred),
        TransferRival("from scratch", SEEDS, ({},), scratch),
        TransferRival("logistic", (0,), PENALTY_CHOICES, logistic),
    )


def compare_rivals(
    data: InfarctionRecordings, entrants: tuple[TransferRival, ...], step: Callable[[str], None]
) -> list[RivalOutcome]:
    """Train every rival on every fold; `step(name)` is called after each training.

    In each fold the choice with the least loss on the validation block, at the first seed, holds for all seeds.
    """
    logits = [np.zeros((len(rival.seeds), len(data.beats))) for rival in entrants]
    chosen: list[list[RivalChoice]] = [[] for _ in entrants]
    for sides in iterate_folds(assign_blocks(data)):
        held_out = data.rows(sides.held_out)
        for rival, rival_logits, choices in zip(entrants, logits, chosen, strict=True):
            tried = []
            for choice in rival.choices:
                tried.append(rival.train(choice, sides, rival.seeds[0]))
                step(rival.name)
            best = min(range(len(tried)), key=lambda i: tried[i][0])
            choices.append(rival.choices[best])
            rival_logits[0, held_out] = tried[best][1]
            for i, seed in enumerate(rival.seeds[1:], 1):
                rival_logits[i, held_out] = rival.train(rival.choices[best], sides, seed)[1]
                step(rival.name)
    return [
        RivalOutcome(rival.name, rival_logits, tuple(choices))
        for rival, rival_logits, choices in zip(entrants, logits, chosen, strict=True)
    ]


def train_head(
    features: list[Tensor], data: InfarctionRecordings, choice: RivalChoice, sides: FoldSides, seed: int
) -> tuple[TransferHead, float]:
    """Train a head on features (n, columns) of the blocks that `choice` names; return it and its validation loss."""
    inputs = join_last_blocks(features, choice)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = TransferHead(
            *measure_standard_scale(inputs[torch.from_numpy(data.rows(sides.train))]), choice["dropout"]
        )
        return head, fit_transfer_net(head, inputs, data, sides, HEAD_RECIPE, seed)


def join_last_blocks(features: list[Tensor], choice: RivalChoice) -> Tensor:
    """Join the features of the last blocks, as many as `choice` names: (n, features)."""
    return torch.cat(features[-round(choice["blocks"]) :], 1)


def measure_standard_scale(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (features,) of inputs (n, features); tiny deviations are raised."""
    scale = inputs.std(0)
    return inputs.mean(0), scale.clamp(min=max(0.1 * float(scale.median()), 1e-6))


def fit_transfer_net(
    net: nn.Module, inputs: Tensor, data: InfarctionRecordings, sides: FoldSides, recipe: TransferRecipe, seed: int
) -> float:
    """Train `net`, inputs (n, ...) to scores (n, 2), restore its best epoch, and return the loss of that.

    The best epoch is that of the least loss on the validation block.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
    labels, weights = torch.from_numpy(data.infarction), torch.from_numpy(_class_weights(data, sides)).float()
    counts = torch.from_numpy(np.bincount(data.recording, minlength=len(labels)))
    first, train = counts.cumsum(0) - counts, torch.from_numpy(sides.train)
    validation = data.rows(sides.validation)
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
        logits[validation] = predict_log_odds(net, inputs[torch.from_numpy(validation)])
        if (now := validation_loss(data, sides, logits)) < best:
            best, state = now, copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    return best


@torch.no_grad()
def predict_log_odds(net: nn.Module, inputs: Tensor) -> Floats:
    """Return the log-odds (n,) of infarction of beats (n, columns)."""
    net.eval()
    scores = torch.cat([net(batch) for batch in torch.split(inputs, TRANSFER_BATCH)])
    odds: Floats = (scores[:, 1] - scores[:, 0]).double().numpy()
    return odds


def validation_loss(data: InfarctionRecordings, sides: FoldSides, logits: Floats) -> float:
    """Return the cross-entropy of the validation recordings, by log-odds (n,) of all beats; classes weigh the same."""
    labels = data.infarction[sides.validation]
    signed = np.where(labels == 1, 1, -1) * data.means(logits)[sides.validation]
    losses = np.logaddexp(0, -signed)
    return float(np.mean([losses[labels == label].mean() for label in (0, 1)]))


def fit_logistic_regression(data: InfarctionRecordings, sides: FoldSides, penalty: float) -> Floats:
    """Return log-odds (n,) by logistic regression on the standardised samples of a beat.

    The L2 `penalty` leaves the constant free. The fit is Newton's method with bounded steps.
    """
    rows = data.rows(sides.train)
    mean, scale = (value.double().numpy() for value in measure_standard_scale(torch.from_numpy(data.beats[rows])))
    x = np.c_[(data.beats - mean) / scale, np.ones(len(data.beats))]
    of = data.recording[rows]
    labels = data.infarction[of]
    weights = _class_weights(data, sides)[labels] / np.bincount(of)[of] / len(sides.train)
    ridge = np.full(x.shape[1], 2 * penalty)
    ridge[-1] = 1e-9  # almost none on the constant; 0 would leave the curvature singular
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


def _held_out_log_odds(net: nn.Module, inputs: Tensor, data: InfarctionRecordings, sides: FoldSides) -> Floats:
    return predict_log_odds(net, inputs[torch.from_numpy(data.rows(sides.held_out))])


def _class_weights(data: InfarctionRecordings, sides: FoldSides) -> Floats:
    """Return the weights (2,) with which normal and infarction sum to the same over the training recordings."""
    counts = np.bincount(data.infarction[sides.train], minlength=len(INFARCTION_CLASSES))
    weights: Floats = counts.sum() / (len(counts) * counts)
    return weights


def _deal_patient_blocks(data: InfarctionRecordings) -> NDArray[np.intp]:
    """Return blocks (r,) of whole patients, those with and those without infarction dealt out in turn."""
    block = np.zeros(len(data.patient), np.intp)
    ill = np.unique(data.patient[data.infarction == 1])
    for patients in (ill, np.setdiff1d(data.patient, ill)):
        for i, patient in enumerate(patients):
            block[data.patient == patient] = i % TRANSFER_FOLDS
    return block


def _contiguous_blocks(patient: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return blocks (r,) of consecutive recordings; no known patient lies on both sides of a boundary."""
    size = len(patient)
    allowed = np.ones(size + 1, bool)
    for known in np.unique(patient[patient >= 0]):
        places = np.flatnonzero(patient == known)
        allowed[places[0] + 1 : places[-1] + 1] = False
    boundaries = np.flatnonzero(allowed)
    wanted = np.arange(1, TRANSFER_FOLDS) * size / TRANSFER_FOLDS
    nearest = boundaries[np.abs(boundaries[:, None] - wanted).argmin(axis=0)]
    return np.searchsorted(nearest, np.arange(size), side="right")
