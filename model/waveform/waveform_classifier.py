"""The waveform judge: what four seconds of one lead are, whatever beats were found in them.

The numbers of `model.waveform.window_features` go through a few small nets of three layers, whose answers are averaged.
A window's probabilities do not depend, to the last bit, on the other windows of its batch. The file of the weights
holds no code, and with them the story of their training as JSON in the metadata entry `ecg-agent`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

from model.errors import CheckpointError, clean_error_text
from model.files import write_atomically
from model.records.resample import FS
from model.waveform.window_features import FEATURE_COUNT, LOWEST_MV, WINDOW, Floats, WindowFeatures, measure_windows

__all__ = [
    "HOP",
    "WAVEFORM_KINDS",
    "WINDOW",
    "ClassifierLayers",
    "WaveformClassifier",
    "WindowClassification",
    "repetition_rates",
]

HOP = FS
"""Samples from one window to the next, 1 s."""
WAVEFORM_KINDS = ("organised", "VT", "VF", "noise", "asystole")
"""What a window may be, in the order of its probabilities."""
WAVEFORM_WEIGHTS = Path(__file__).parent / "weights" / "waveform.safetensors"
WEIGHTS_FORMAT = 1
WINDOW_BATCH = 128
"""Windows at once: as many as the caches of a CPU hold."""
LARGEST_FILE = 2**22
LARGEST, LEAST = 1e6, 1e-6
"""Weights beyond the first, or spreads below the second, could run over."""
FARTHEST_SD = 5.0
"""Standard deviations from the mean beyond which a number makes no more difference."""
FLAT_LOG_HEIGHT = np.log2(np.float32(LOWEST_MV))
"""First number of a window that is no higher than 0.02 mV: whatever its shape, nothing is seen in it."""
ASYSTOLE_PROBABILITIES = np.array([kind == "asystole" for kind in WAVEFORM_KINDS], np.float32)

ClassifierLayers = dict[str, Floats]
"""The judge by name: `mean`, `spread` (SIZE,) of the numbers, and of each of 3 layers of the nets, which stand side by
side, `weight1` (nets, inputs, outputs), `bias1` (nets, 1, outputs), …"""


@dataclass(frozen=True, slots=True, eq=False)
class WindowClassification:
    """Of n windows: `probabilities` (n, 5), `height` (n,) mV, `rate` (n,) of repetition a minute, 0 for none."""

    probabilities: Floats
    height: Floats
    rate: Floats


class WaveformClassifier:
    """Probabilities of `WAVEFORM_KINDS` for windows of WINDOW samples."""

    def __init__(self, layers: ClassifierLayers, story: dict[str, Any]) -> None:
        self.story = story
        """How it was trained and what it reached."""
        self._mean, self._spread = layers["mean"], layers["spread"]
        self._layers = [(layers[f"weight{i}"], layers[f"bias{i}"]) for i in (1, 2, 3)]

    @classmethod
    def load(cls, path: Path = WAVEFORM_WEIGHTS) -> "WaveformClassifier":
        """The shipped judge, or one of a file. Raises CheckpointError."""
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise CheckpointError(f"{path} is too large to be a waveform judge: over {LARGEST_FILE} bytes")
            with safetensors.safe_open(path, framework="np") as file:
                story = _decode_weights_metadata(path, file.metadata())
                layers = {key: np.ascontiguousarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"cannot read weights {path}: {clean_error_text(error)}") from error
        _check_classifier_layers(path, layers)
        return cls(layers, story)

    def save(self, path: Path) -> None:
        """Write it in one step: an interrupted write leaves the earlier file."""
        layers = {"mean": self._mean, "spread": self._spread}
        for number, (weight, bias) in enumerate(self._layers, 1):
            layers |= {f"weight{number}": weight, f"bias{number}": bias}
        metadata = {"ecg-agent": msgspec.json.encode({"format": WEIGHTS_FORMAT} | self.story).decode()}
        with write_atomically(path) as partial:
            save_file(layers, partial, metadata)
            partial.chmod(0o644)  # safetensors keeps its files to their owner

    def __call__(self, windows: Floats) -> Floats:
        """Windows (n, WINDOW) float32 mV, all finite, to probabilities (n, 5) float32 in the order of KINDS."""
        return self.judge(windows).probabilities

    def judge(self, windows: Floats) -> WindowClassification:
        """The same with height and rate of each window."""
        parts = [
            measure_windows(windows[at : at + WINDOW_BATCH]) for at in range(0, max(1, len(windows)), WINDOW_BATCH)
        ]
        seen = WindowFeatures(
            *(np.concatenate([getattr(one, name) for one in parts]) for name in ("numbers", "height", "period"))
        )
        return WindowClassification(self.of(seen.numbers), seen.height, repetition_rates(seen))

    def of(self, numbers: Floats) -> Floats:
        """Numbers (n, SIZE) of windows to their probabilities (n, 5)."""
        x = np.clip((numbers - self._mean) / self._spread, -FARTHEST_SD, FARTHEST_SD)
        x = x[:, None, None, :]  # a product a window: one of all windows would round differently
        for number, (weight, bias) in enumerate(self._layers):
            x = np.matmul(x, weight) + bias
            if number < 2:
                x = np.maximum(x, 0)
        x = np.exp(x - x.max(axis=3, keepdims=True))
        probabilities: Floats = (x / x.sum(axis=3, keepdims=True)).mean(axis=(1, 2))
        probabilities[numbers[:, 0] <= FLAT_LOG_HEIGHT] = ASYSTOLE_PROBABILITIES
        return probabilities


def repetition_rates(seen: WindowFeatures) -> Floats:
    """How often a minute each window (n,) repeats itself, 0 where it does not."""
    found: Floats = np.where(seen.period > 0, 60 * FS / np.maximum(seen.period, 1), 0).astype(np.float32)
    return found


def _decode_weights_metadata(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    try:
        story = msgspec.json.decode((metadata or {}).get("ecg-agent", ""), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise CheckpointError(f"weights {path} are not those of a waveform judge") from error
    expected = {"format": WEIGHTS_FORMAT, "window": WINDOW, "kinds": list(WAVEFORM_KINDS), "numbers": FEATURE_COUNT}
    if any(story.get(key) != value for key, value in expected.items()):
        raise CheckpointError(f"weights {path} expect other windows or kinds than this program makes")
    return story


def _check_classifier_layers(path: Path, layers: dict[str, NDArray[Any]]) -> None:
    sizes = [FEATURE_COUNT, *(layers[f"bias{i}"].shape[-1] if f"bias{i}" in layers else 0 for i in (1, 2, 3))]
    nets = len(layers["bias1"]) if "bias1" in layers else 0
    expected: dict[str, tuple[int, ...]] = {"mean": (FEATURE_COUNT,), "spread": (FEATURE_COUNT,)}
    for number in (1, 2, 3):
        expected[f"weight{number}"] = (nets, sizes[number - 1], sizes[number])
        expected[f"bias{number}"] = (nets, 1, sizes[number])
    fits = (
        {key: value.shape for key, value in layers.items()} == expected
        and nets > 0
        and sizes[-1] == len(WAVEFORM_KINDS)
    )
    if not fits or not all(value.dtype == np.float32 for value in layers.values()):
        raise CheckpointError(f"weights {path} do not fit the waveform judge")
    if not all(np.isfinite(value).all() for value in layers.values()) or not (layers["spread"] > 0).all():
        raise CheckpointError(f"weights {path} hold values that are not finite: train again")
    if not all(np.abs(value).max(initial=0) < LARGEST for value in layers.values()) or layers["spread"].min() < LEAST:
        raise CheckpointError(f"weights {path} are so large that scores would not be finite: train again")
