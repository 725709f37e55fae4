"""The context net on a CPU in C (`model/compiled/context_net.c`): the operations of `ContextNet` without PyTorch.

Its sums have another order than those of PyTorch, so the last digits of a probability differ; as with PyTorch, they do
not hang on the batch.
"""

import ctypes
from collections.abc import Mapping
from math import log

import numpy as np
from numpy.typing import NDArray

from model.compiled.library import array_address, array_pointers
from model.nets.net_size import SURELY_NORMAL

LANES, PAD, MOST_BLOCKS = 8, 2, 8
"""Values that a processor handles together, samples of zeros at both ends, and blocks at most: as in the C file."""
DENSE_LAYERS = ("numbers", "dense1", "dense2", "output", "alone1", "alone2", "alone")
_Pointers = ctypes.c_void_p * MOST_BLOCKS


class _NetInC(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("samples", "waves", "features", "stem_kernel", "blocks")),
        *((name, ctypes.c_int) for name in ("numbers", "dense", "classes")),
        ("channels", ctypes.c_int * (MOST_BLOCKS + 1)),
        *((name, ctypes.c_void_p) for name in ("stem", "stem_bias", "mean", "spread")),
        *((name, _Pointers) for name in ("conv1", "bias1", "conv2", "bias2", "skip")),
        ("dense_weight", ctypes.c_void_p * len(DENSE_LAYERS)),
        ("dense_bias", ctypes.c_void_p * len(DENSE_LAYERS)),
        ("floats", ctypes.c_int),
        ("surely_normal", ctypes.c_double),
    )


class CompiledContextNet:
    """A trained net for inference; `weights` by their names in `ContextNet`, `samples` of a wave.

    All layers but the last ones are a multiple of LANES wide, as those of `CONTEXT_SIZE` are.
    """

    def __init__(self, library: ctypes.CDLL, weights: Mapping[str, NDArray[np.float32]], samples: int) -> None:
        self._call, self._kept = library.classify_beats, list[NDArray[np.float32]]()
        self._weights = weights
        blocks = sum(name.endswith(".conv1.weight") for name in weights)
        channels = [len(weights["conv.bias"]), *(len(weights[f"blocks.{block}.conv1.bias"]) for block in range(blocks))]
        _, waves, _, stem_kernel = weights["conv.weight"].shape
        self._classes, self._inputs = len(weights["output.bias"]), waves * samples + len(weights["mean"])
        assert not any(width % LANES for width in channels)
        wave_floats = (samples + 2 * max(PAD, stem_kernel)) * max(channels)
        self._work = 3 * wave_floats + len(weights["mean"]) + 2 * len(weights["dense1.bias"])
        net = self._in_c = _NetInC(
            samples=samples,
            waves=waves,
            features=len(weights["mean"]),
            stem_kernel=stem_kernel,
            blocks=blocks,
            numbers=len(weights["numbers.bias"]),
            dense=len(weights["dense1.bias"]),
            classes=self._classes,
            mean=self._keep(weights["mean"]),
            spread=self._keep(weights["spread"]),
            floats=wave_floats,
            surely_normal=log(SURELY_NORMAL),
        )
        net.channels[: len(channels)] = channels
        net.stem, net.stem_bias = self._convolution("conv")
        for block in range(blocks):
            net.conv1[block], net.bias1[block] = self._convolution(f"blocks.{block}.conv1")
            net.conv2[block], net.bias2[block] = self._convolution(f"blocks.{block}.conv2")
            net.skip[block] = self._convolution(f"blocks.{block}.skip")[0]
        for number, name in enumerate(DENSE_LAYERS):
            weight = weights[f"{name}.weight"]
            if name == "dense1":  # the wave comes time first
                wave = weight[:, : -net.numbers].reshape(len(weight), channels[-1], -1).swapaxes(1, 2)
                weight = np.concatenate([wave.reshape(len(weight), -1), weight[:, -net.numbers :]], axis=1)
            net.dense_weight[number] = self._keep(weight.T)
            net.dense_bias[number] = self._keep(weights[f"{name}.bias"])

    def __call__(self, beats: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map beats (n, INPUTS) to log-probabilities (n, classes)."""
        beats = np.ascontiguousarray(beats, np.float32)
        if beats.ndim != 2 or beats.shape[1] != self._inputs:
            raise ValueError(f"beats {beats.shape} instead of (n, {self._inputs})")
        said, work = np.empty((len(beats), self._classes), np.float32), np.empty(self._work, np.float32)
        pointers = array_pointers(beats, work, said)
        self._call(ctypes.byref(self._in_c), pointers[0], len(beats), *pointers[1:])
        return said

    def _convolution(self, name: str) -> tuple[int | None, int | None]:
        """Keep a convolution; return where its weights (kernel, inputs, outputs) and its bias lie, None for none."""
        weight, bias = (self._weights.get(f"{name}.{part}") for part in ("weight", "bias"))
        taps = None if weight is None else self._keep(weight[:, :, 0].transpose(2, 1, 0))
        return taps, None if bias is None else self._keep(bias)

    def _keep(self, values: NDArray[np.float32]) -> int:
        """Keep values (..., outputs), filled up with zeros to a multiple of LANES; return where they lie."""
        width = values.shape[-1]
        filled = np.zeros((*values.shape[:-1], -(-width // LANES) * LANES), np.float32)
        filled[..., :width] = values
        self._kept.append(filled)
        return array_address(filled)
