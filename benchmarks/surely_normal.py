"""What it costs that the live net hears no wave of surely normal beats: `python -m benchmarks.surely_normal WEIGHTS`.

WEIGHTS is a net of `ecg-agent train-live --fold`; it hears the records that were held out of its training, and
`--records` names the same folders as its training did. For some values of `SURELY_NORMAL` (`model/nets/net_size.py`):
the share of beats that the numbers alone decide, the beats whose class that changes, and sensitivity and positive
predictivity of S and V with all beats heard in full, and so.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agent.core.config import load_config
from agent.training.candidates import LabelledCandidates
from agent.training.live_run import LiveSources, settle_candidates
from benchmarks.calibration import hear_held_out
from model.beats.cluster_smoothing import NO_BEAT
from model.errors import EcgError
from model.nets.context_net import ContextNet, combine_heads
from model.records.wfdb_records import CLASSES

LEAST = (0.7, 0.8, 0.9, 0.93, 0.95, 0.97, 0.98)
"""Values of `SURELY_NORMAL` that are tried."""
NEVER = 1.1
BATCH = 4096


def score_heads(net: ContextNet, found: LabelledCandidates) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores (n, classes) of both heads for candidates."""
    inputs = torch.from_numpy(np.ascontiguousarray(found.inputs, np.float32))
    with torch.inference_mode():
        heads = [net.eval().heads(inputs[at : at + BATCH]) for at in range(0, len(inputs), BATCH)]
    first, second = (torch.cat(scores) for scores in zip(*heads, strict=True))
    return first, second


def settle_classes(
    found: LabelledCandidates, first: torch.Tensor, second: torch.Tensor, least: float
) -> NDArray[np.int64]:
    """Return the class (n,) of each candidate, NO_BEAT for what is taken for none, where `least` makes one sure."""
    settled = settle_candidates(combine_heads(first, second, least).numpy(), found)
    return np.where(np.isnan(settled[:, 0]), NO_BEAT, np.nan_to_num(settled).argmax(1))


def comparison_lines(found: LabelledCandidates, first: torch.Tensor, second: torch.Tensor) -> Iterator[str]:
    """Yield what each value of `SURELY_NORMAL` changes."""
    normal = torch.softmax(second, 1)[:, 0].numpy()
    whole = settle_classes(found, first, second, NEVER)
    yield f"{len(whole)} beats heard in full: {_class_shares(found, whole)}"
    for least in LEAST:
        classes = settle_classes(found, first, second, least)
        share, changed = (normal >= least).mean(), int((classes != whole).sum())
        yield f"{least:.2f}: {share:.1%} by numbers alone, {changed} classes change: {_class_shares(found, classes)}"


def _class_shares(found: LabelledCandidates, classes: NDArray[np.int64]) -> str:
    counts = found.labels >= 0
    parts = []
    for name in "SV":
        said, true = (of[counts] == CLASSES.index(name) for of in (classes, found.labels))
        both = (said & true).sum()
        shares = [f"{both / all_of:.2%}" if (all_of := of.sum()) else "-" for of in (true, said)]
        parts.append("{} Se {} +P {}".format(name, *shares))
    return ", ".join(parts)


def main() -> int:
    """Print the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", metavar="WEIGHTS", help="net of a fold, by the name of its file")
    parser.add_argument("--records", type=Path, nargs="+", default=[], metavar="FOLDER", help="as for train-live")
    options = parser.parse_args()
    try:
        net, found = hear_held_out(options.weights, LiveSources(tuple(options.records)), load_config().signal)
        print("\n".join(comparison_lines(found, *score_heads(net, found))))
    except EcgError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
