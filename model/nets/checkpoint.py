"""Weights with all that inference needs, in one safetensors file: loading it unpickles and runs nothing."""

import copy
from pathlib import Path

import msgspec
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.beats import templates
from model.errors import CheckpointError, clean_error_text
from model.files import write_atomically
from model.nets import context_net
from model.nets.beat_net import BeatNet, build_beat_net
from model.nets.checkpoint_card import LARGEST_CHECKPOINT, ModelCard, parse_card
from model.nets.context_net import ContextNet

LARGEST_INPUT = 4.0
"""The largest value of an input, see `model.beats.templates`."""
PROBES = 32
"""Beats whose scores show whether a net looks at them at all."""
LARGEST_SCORE = 1e30
"""Scores up to this stay finite in every later step in float32."""


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
            card = parse_card(path, file.metadata())
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
