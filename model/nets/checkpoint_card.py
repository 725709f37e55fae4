"""What a checkpoint says of itself, and where checkpoints are: all that needs no PyTorch.

The metadata entry `ecg-agent` of the safetensors file holds a `ModelCard` as JSON: the sizes of the net, its input, the
order of its classes, how it was trained and how well it scored.
"""

import contextlib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray

from model.beats import frontend, templates
from model.errors import CheckpointError, clean_error_text
from model.nets.net_size import CONTEXT_SIZE, NetSize, block_samples_left
from model.records import lead_choice, resample, wfdb_records

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
CARD_FORMAT = 2
LARGEST_CHECKPOINT = 16 * 2**20
LARGEST_SIZE = 4096
LARGEST_DEPTH = 64
LONGEST_CARD_NAME = 200


@dataclass(frozen=True, slots=True)
class NetInput:
    """The input that a net was trained on; weights that expect another one are refused."""

    fs_hz: int = resample.FS
    samples: int = frontend.BEAT_SAMPLES
    stretch: float = frontend.RR_STRETCH
    surrounding_samples: int = frontend.SURROUNDING_SAMPLES
    normalisation: str = "range of the beat to 0..1"
    leads: tuple[str, ...] = lead_choice.LEAD_ORDER


CONTEXT_INPUT = NetInput(samples=templates.WAVE, stretch=0.0, normalisation="dominant QRS complex of the patient")
"""Input of the live monitor's net: beats as `model.beats.templates` describes them."""
NetKind = Literal["beat", "context"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The description of a checkpoint. `training`: command, seed, settings, data hash; `metrics`: how well it scored.

    The input of a net of kind `beat` is a cut beat (`model.nets.beat_net`), that of kind `context` a beat in its
    context (`model.nets.context_net`).
    """

    name: str
    size: NetSize
    training: dict[str, Any]
    metrics: dict[str, Any]
    input: NetInput = field(default_factory=NetInput)
    classes: tuple[str, ...] = wfdb_records.CLASSES
    format: int = CARD_FORMAT
    kind: NetKind = "beat"


@dataclass(frozen=True, slots=True)
class _CardFormat:
    """The part of a card that is read first: a card of another format may have other fields."""

    format: int


def shipped_checkpoints() -> tuple[str, ...]:
    """Return the names of the checkpoints inside this package."""
    return tuple(sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors")))


def find_checkpoint(name: str) -> Path:
    """Return the path of a checkpoint inside this package by name, or of any by path.

    Raises CheckpointError, with the names inside this package, if there is no such file.
    """
    with contextlib.suppress(OSError, RuntimeError):  # an impossible file name is no checkpoint either
        for path in (Path(name).expanduser(), WEIGHTS_FOLDER / f"{name}.safetensors"):
            if path.is_file():
                return path
    raise CheckpointError(
        f"no weights {name!r}: give a .safetensors file, or one of {', '.join(shipped_checkpoints())} (--weights)"
    )


def digest_checkpoint(path: Path) -> str:
    """Return the SHA-256 (hex) of a checkpoint file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_shipped(path: Path) -> bool:
    """Return whether a checkpoint is inside this package: then it was checked when it was made."""
    return path.parent == WEIGHTS_FOLDER


def read_weights(path: Path) -> tuple[ModelCard, dict[str, NDArray[np.float32]]]:
    """Read the description and the weights of a checkpoint that is known to be sound. Raises CheckpointError."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            card = parse_card(path, file.metadata())
            return card, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"cannot read weights {path}: {clean_error_text(error)}") from error


def parse_card(path: Path, metadata: dict[str, str] | None) -> ModelCard:
    """Read the description of a checkpoint. Raises CheckpointError if this program cannot use what it describes."""
    try:
        text = (metadata or {})["ecg-agent"]
        card_format = msgspec.json.decode(text, type=_CardFormat).format
        if card_format != CARD_FORMAT:
            raise CheckpointError(f"weights {path} have format {card_format}, not {CARD_FORMAT}: train them again")
        card = msgspec.json.decode(text, type=ModelCard)
    except KeyError:
        raise CheckpointError(f"{path} is no checkpoint of ecg-agent: its metadata has no entry 'ecg-agent'") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CheckpointError(f"weights {path} have a broken description: {clean_error_text(error)}") from error
    expected = NetInput() if card.kind == "beat" else CONTEXT_INPUT
    if card.input != expected or card.classes != wfdb_records.CLASSES or card.size.samples != card.input.samples:
        raise CheckpointError(f"weights {path} expect other beats or classes than this program makes")
    if not card.name.isprintable() or not 0 < len(card.name) <= LONGEST_CARD_NAME:
        raise CheckpointError(f"weights {path} have a name that cannot be shown")
    if not (_is_possible_size(card.size) if card.kind == "beat" else card.size == CONTEXT_SIZE):
        raise CheckpointError(f"weights {path} describe a net of impossible size")
    return card


def _is_possible_size(size: NetSize) -> bool:
    """Return whether a net of that size can be built: with an odd kernel and samples left after the pooling."""
    numbers = (size.samples, *size.channels, size.kernel, size.dense, size.classes)
    in_range = 0 < len(size.channels) <= LARGEST_DEPTH and all(0 < number <= LARGEST_SIZE for number in numbers)
    return (
        in_range
        and block_samples_left(size)[-1] > 0
        and size.kernel % 2 == 1
        and size.classes == len(wfdb_records.CLASSES)
    )
