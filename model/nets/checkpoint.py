"""Weights with all that inference needs, in one safetensors file: loading it unpickles and runs nothing.

The metadata entry `ecg-agent` holds a `ModelCard` as JSON: the sizes of the net, its input, the order of its classes,
how it was trained and how well it scored.
"""

import contextlib
import copy
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.beats import frontend, templates
from model.errors import CheckpointError, clean_error_text
from model.files import write_atomically
from model.nets import context_net
from model.nets.beat_net import BeatNet, NetSize, block_samples_left, build_beat_net
from model.nets.context_net import ContextNet
from model.records import lead_choice, resample, wfdb_records

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
CARD_FORMAT = 2
LARGEST_CHECKPOINT = 16 * 2**20
LARGEST_SIZE = 4096
LARGEST_DEPTH = 64
LONGEST_CARD_NAME = 200
LARGEST_INPUT = 4.0
"""The largest value of an input, see `model.beats.templates`."""
PROBES = 32
"""Beats whose scores show whether a net looks at them at all."""
LARGEST_SCORE = 1e30
"""Scores up to this stay finite in every later step in float32."""


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


def save_checkpoint(path: Path, net: BeatNet | ContextNet, card: ModelCard) -> None:
    """Write a checkpoint in one step: an interrupted write leaves the earlier file."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    with write_atomically(path) as partial:
        save_file(tensors, partial, metadata={"ecg-agent": msgspec.json.encode(card).decode()})
        partial.chmod(0o644)  # safetensors keeps its files to their owner


def load_beat_net(path: Path, device: torch.device) -> tuple[BeatNet, ModelCard]:
    """Read a checkpoint of kind `beat` onto `device`, as `load_checkpoint` does."""
    net, card = load_checkpoint(path, device)
    if not isinstance(net, BeatNet):
        raise CheckpointError(
            f"weights {path} are of the live monitor's net, which sees no single beats: choose others"
        )
    return net, card


def load_checkpoint(path: Path, device: torch.device) -> tuple[BeatNet | ContextNet, ModelCard]:
    """Read a checkpoint onto `device`, ready for inference.

    The file may come from anywhere: its size, description, layout and values are checked before they are used.

    Raises
    ------
    CheckpointError
        With the reason, if the file cannot be read, is not a checkpoint, or does not fit this program.
    """
    try:
        if path.stat().st_size > LARGEST_CHECKPOINT:
            raise CheckpointError(
                f"{path} is too large to be a checkpoint of ecg-agent: over {LARGEST_CHECKPOINT} bytes"
            )
        with safetensors.safe_open(path, framework="pt") as file:
            card = _parse_card(path, file.metadata())
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except OSError as error:
        raise CheckpointError(f"cannot read weights {path}: {clean_error_text(error)}") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"cannot read weights {path}, broken or no .safetensors file: {clean_error_text(error)}"
        ) from error
    with torch.device("meta"):  # tensors without memory, however large the described net is
        described = (BeatNet if card.kind == "beat" else ContextNet)(card.size).state_dict()
    if _tensor_layout(tensors) != _tensor_layout(described):
        raise CheckpointError(f"weights {path} do not fit the net they describe")
    if reason := _find_bad_values(tensors):
        raise CheckpointError(f"weights {path} {reason}: train again")
    build = build_beat_net if card.kind == "beat" else context_net.build_context_net
    net: BeatNet | ContextNet = build(card.size, device)
    net.load_state_dict(tensors)
    net.eval().requires_grad_(False)
    if not largest_net_score(net) <= LARGEST_SCORE:
        raise CheckpointError(f"weights {path} are so large that scores would not be finite: train again")
    if not _scores_differ(net):
        raise CheckpointError(f"weights {path} give every beat the same scores: train again")
    return net, card


def _find_bad_values(tensors: dict[str, Tensor]) -> str:
    """Return what is wrong with the values of the tensors of a net, in words; "" if nothing is."""
    bad = next((name for name, value in tensors.items() if not torch.isfinite(value).all()), None)
    if bad is not None:
        return f"hold values that are not finite, in {bad}"
    if not any(value.any() for value in tensors.values()):
        return "hold nothing but zeros"
    spread = tensors.get("spread")
    if spread is not None and not (spread > 0).all():
        return "have a spread that is not above 0, by which inputs are divided"
    return ""


def _scores_differ(net: BeatNet | ContextNet) -> bool:
    """Return whether some of a few made-up beats differ in a score from the first."""
    random = torch.Generator().manual_seed(0)
    device = net.output.weight.device
    with torch.inference_mode():
        if isinstance(net, BeatNet):
            scores = net(torch.rand(PROBES, net.size.samples, generator=random).to(device))
        else:
            beats = LARGEST_INPUT * (2 * torch.rand(PROBES, templates.INPUTS, generator=random) - 1)
            scores = torch.cat(net.heads(beats.to(device)), 1)
    return bool((scores != scores[0]).any())


def largest_net_score(net: BeatNet | ContextNet) -> float:
    """Return an upper bound of the scores for any input: those of the same net with every weight made positive."""
    bound = copy.deepcopy(net)
    for value in bound.state_dict().values():
        value.abs_()
    device = bound.output.weight.device
    if isinstance(bound, BeatNet):
        scores = bound(torch.ones(1, bound.size.samples, device=device))
    else:
        bound.mean.neg_()  # it is subtracted, so its largest effect is that of -|mean|
        scores = torch.cat(bound.heads(torch.full((1, templates.INPUTS), LARGEST_INPUT, device=device)))
    return float(scores.max())


def _tensor_layout(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {key: (value.shape, value.dtype) for key, value in tensors.items()}


def _parse_card(path: Path, metadata: dict[str, str] | None) -> ModelCard:
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
    if not (_is_possible_size(card.size) if card.kind == "beat" else card.size == context_net.CONTEXT_SIZE):
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
