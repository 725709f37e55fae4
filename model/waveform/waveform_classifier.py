"""The waveform classifier: what four seconds of one lead are, without regard to the beats in them.

The features of `model.waveform.window_features` go through a few small nets of three layers, whose probabilities are
averaged. Those of a window do not depend, to the last bit, on the other windows of its batch. The file of the weights
holds no code; its metadata entry `ecg-agent` is JSON that describes the training.
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
from model.waveform.window_features import FEATURE_COUNT, LOWEST_MV, WINDOW, Floats, WindowFeatures, open_measuring

__all__ = [
    "ASYSTOLE",
    "HOP",
    "NOISE",
    "ORGANISED",
    "VF",
    "VT",
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
ORGANISED, VT, VF, NOISE, ASYSTOLE = range(len(WAVEFORM_KINDS))
"""The indices of these in a window's probabilities."""
WAVEFORM_WEIGHTS = Path(__file__).parent / "weights" / "waveform.safetensors"
WEIGHTS_FORMAT = 1
WINDOW_BATCH = 128
"""Windows in a batch: as many as fit the caches of a CPU."""
LARGEST_FILE = 2**22
LARGEST, LEAST = 1e6, 1e-6
"""Larger weights, or smaller spreads, could overflow."""
FARTHEST_SD = 5.0
"""Features are clipped at this many standard deviations from the mean."""
FLAT_LOG_HEIGHT = np.log2(np.float32(LOWEST_MV))
"""First feature of a window that is no higher than 0.02 mV: it counts as asystole, whatever its shape."""
OUTSIDE_NUMBERS, LOUD_LOG_SIZE = slice(5, 7), np.log2(np.float32(0.1))
"""Features that hold hum and sway of a line below 0.05 mV: from 0.1 mV rms on the mains or breathing is seen."""
ASYSTOLE_PROBABILITIES = np.array([0, 0, 0, 0, 1], np.float32)
MOVED_LINE_PROBABILITIES = np.array([0, 0, 0, 0.9, 0.1], np.float32)
"""Those of a line that shows hum or sway and nothing else."""

ClassifierLayers = dict[str, Floats]
"""The weights by name: `mean` and `spread` (FEATURE_COUNT,) of the features, and for each of the 3 layers of all nets
`weight1` (nets, inputs, outputs), `bias1` (nets, 1, outputs), …"""


@dataclass(frozen=True, slots=True, eq=False)
class WindowClassification:
    """n windows: `probabilities` (n, 5), `height` (n,) mV, `rate` (n,) of repetition per minute, 0 for none."""

    probabilities: Floats
    height: Floats
    rate: Floats


class WaveformClassifier:
    """Probabilities of `WAVEFORM_KINDS` for windows of WINDOW samples.

    Examples
    --------
    >>> classifier = WaveformClassifier.load()
    >>> classifier(np.zeros((2, WINDOW), np.float32)).argmax(axis=1) == ASYSTOLE
    array([ True,  True])
    """

    def __init__(self, layers: ClassifierLayers, story: dict[str, Any]) -> None:
        self.story = story
        """Its training and figures, as in the file of the weights."""
        self._mean, self._spread = layers["mean"], layers["spread"]
        self._layers = [(layers[f"weight{i}"], layers[f"bias{i}"]) for i in (1, 2, 3)]
        self._measure = open_measuring()

    @classmethod
    def load(cls, path: Path = WAVEFORM_WEIGHTS) -> "WaveformClassifier":
        """Load the shipped weights, or those of a file. Raises CheckpointError."""
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise CheckpointError(f"{path} is too large to be a waveform classifier: over {LARGEST_FILE} bytes")
            with safetensors.safe_open(path, framework="np") as file:
                story = _decode_weights_metadata(path, file.metadata())
                layers = {key: np.ascontiguousarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"cannot read weights {path}: {clean_error_text(error)}") from error
        _check_classifier_layers(path, layers)
        return cls(layers, story)

    def save(self, path: Path) -> None:
        """Write the weights in one step: an interrupted write leaves the earlier file."""
        layers = {"mean": self._mean, "spread": self._spread}
        for number, (weight, bias) in enumerate(self._layers, 1):
            layers |= {f"weight{number}": weight, f"bias{number}": bias}
        metadata = {"ecg-agent": msgspec.json.encode({"format": WEIGHTS_FORMAT} | self.story).decode()}
        with write_atomically(path) as partial:
            save_file(layers, partial, metadata)
            partial.chmod(0o644)  # safetensors keeps its files to their owner

    def __call__(self, windows: Floats) -> Floats:
        """Return probabilities (n, 5) float32 of windows (n, WINDOW) float32 mV, all finite."""
        return self.classify_windows(windows).probabilities

    def classify_windows(self, windows: Floats) -> WindowClassification:
        """Return probabilities, height and rate of windows (n, WINDOW) float32 mV, all finite."""
        parts = [self._measure(windows[at : at + WINDOW_BATCH]) for at in range(0, max(1, len(windows)), WINDOW_BATCH)]
        features = WindowFeatures(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "height", "period"))
        )
        return WindowClassification(
            self.classify_features(features.numbers), features.height, repetition_rates(features)
        )

    def classify_features(self, numbers: Floats) -> Floats:
        """Return probabilities (n, 5) of features (n, FEATURE_COUNT)."""
        x = np.clip((numbers - self._mean) / self._spread, -FARTHEST_SD, FARTHEST_SD)
        x = x[:, None, None, :]  # one product per window: a product of the whole batch would round differently
        for number, (weight, bias) in enumerate(self._layers):
            x = np.matmul(x, weight) + bias
            if number < 2:
                x = np.maximum(x, 0)
        x = np.exp(x - x.max(axis=3, keepdims=True))
        probabilities: Floats = (x / x.sum(axis=3, keepdims=True)).mean(axis=(1, 2))
        probabilities[numbers[:, 0] <= FLAT_LOG_HEIGHT] = ASYSTOLE_PROBABILITIES
        probabilities[(numbers[:, OUTSIDE_NUMBERS] > LOUD_LOG_SIZE).any(axis=1)] = MOVED_LINE_PROBABILITIES
        return probabilities


def repetition_rates(features: WindowFeatures) -> Floats:
    """Return the repetitions per minute (n,) of windows, 0 for those that do not repeat."""
    rates: Floats = np.where(features.period > 0, 60 * FS / np.maximum(features.period, 1), 0).astype(np.float32)
    return rates


def _decode_weights_metadata(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    try:
        story = msgspec.json.decode((metadata or {}).get("ecg-agent", ""), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise CheckpointError(f"weights {path} are not those of a waveform classifier") from error
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
        raise CheckpointError(f"weights {path} do not fit the waveform classifier")
    if not all(np.isfinite(value).all() for value in layers.values()):
        raise CheckpointError(f"weights {path} hold values that are not finite: train again")
    if not any(value.any() for value in layers.values()):
        raise CheckpointError(f"weights {path} hold nothing but zeros: train again")
    if not (layers["spread"] > 0).all():
        raise CheckpointError(f"weights {path} have a spread that is not above 0: train again")
    if not all(np.abs(value).max(initial=0) < LARGEST for value in layers.values()) or layers["spread"].min() < LEAST:
        raise CheckpointError(f"weights {path} or their spread are too large or small for finite scores: train again")
