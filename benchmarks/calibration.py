"""The temperature of the live net's confidence: `python -m benchmarks.calibration WEIGHTS ... [--records FOLDER ...]`.

WEIGHTS are nets of `ecg-agent train-live --fold`, each of another fold. Each gives the beats of the records that were
held out of its training; `--records` names the same folders as their training did. Printed are the expected
calibration error at the present temperature and at the best one, and what the best one of the other nets would give
each net: the figure to be expected on new patients. The best is for `TEMPERATURE` in
`model/beats/cluster_smoothing.py`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agent.core.config import SignalConfig, load_config
from agent.training.candidates import LabelledCandidates
from agent.training.live_run import LiveSources, build_unchanged_candidates, settle_scored_beats, split_sides
from model.beats.cluster_smoothing import TEMPERATURE
from model.errors import CheckpointError, EcgError
from model.nets.checkpoint import load_checkpoint
from model.nets.checkpoint_card import find_checkpoint
from model.nets.context_net import ContextNet
from model.training.class_scores import change_temperature, compute_calibration, fit_temperature
from model.training.context_training import predict_context_outcomes

ScoredBeats = tuple[NDArray[np.int64], NDArray[np.float64]]
"""True class (n,) and probabilities (n, 5) of beats."""


def hear_held_out(weights: str, sources: LiveSources, signal: SignalConfig) -> tuple[ContextNet, LabelledCandidates]:
    """Return a net of a fold, and the candidates of the records that were held out of its training. Raises EcgError."""
    net, card = load_checkpoint(find_checkpoint(weights), torch.device("cpu"))
    if not isinstance(net, ContextNet) or card.training.get("fold") is None:
        raise CheckpointError(f"weights {weights} were not trained on a fold: ecg-agent train-live --fold NUMBER")
    sides = split_sides(card.training["fold"], sources)
    if sorted(card.training.get("other_records", [])) != sorted(Path(record).name for record in sides.others):
        raise CheckpointError(f"weights {weights} were trained on other records: give the same folders (--records)")
    return net, build_unchanged_candidates(sides.held_out, signal, card.training["seed"])


def settle_held_out(weights: str, sources: LiveSources, signal: SignalConfig) -> ScoredBeats:
    """Return the beats of the records that were held out of the training of a net. Raises EcgError."""
    net, test = hear_held_out(weights, sources, signal)
    outcomes = predict_context_outcomes(net, test.inputs, torch.device("cpu"))
    labels, probabilities, _ = settle_scored_beats(outcomes, test)
    return labels, probabilities


def join_beats(parts: Sequence[ScoredBeats]) -> ScoredBeats:
    """Return the beats of several nets together: (n,) and (n, 5)."""
    labels, probabilities = zip(*parts, strict=True)
    return np.concatenate(labels), np.concatenate(probabilities)


def error_at(beats: ScoredBeats, ratio: float) -> float:
    """Return the expected calibration error of beats (n,), (n, 5) at `ratio` times the present temperature."""
    labels, probabilities = beats
    return float(compute_calibration(labels, change_temperature(probabilities, ratio))["ece"])


def calibration_lines(names: Sequence[str], parts: Sequence[ScoredBeats]) -> list[str]:
    """Return what was found, a line for each net and one for all: beats, errors, and the best temperature."""
    lines = []
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        others = [other for at, other in enumerate(parts) if at != number]
        line = f"{name}: {len(part[0])} beats, calibration error {error_at(part, 1.0):.4f} as it is"
        if others:
            ratio = fit_temperature(*join_beats(others))
            line += f", {error_at(part, ratio):.4f} at {TEMPERATURE * ratio:.2f} from the others"
        lines.append(line)
    whole = join_beats(parts)
    best = fit_temperature(*whole)
    was, now = error_at(whole, 1.0), error_at(whole, best)
    return [
        *lines,
        f"all: {was:.4f} at {TEMPERATURE:.2f}, {now:.4f} at the best\nTEMPERATURE = {TEMPERATURE * best:.2f}",
    ]


def main() -> int:
    """Print the best temperature of some nets; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS", help="net of a fold, by the name of its file")
    parser.add_argument("--records", type=Path, nargs="+", default=[], metavar="FOLDER", help="as for train-live")
    options = parser.parse_args()
    signal = load_config().signal
    try:
        parts = [settle_held_out(name, LiveSources(tuple(options.records)), signal) for name in options.weights]
    except EcgError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    print("\n".join(calibration_lines([Path(name).stem for name in options.weights], parts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
