"""The monitor as a Python object: push chunks of one lead as they come, take beats, alarms and events."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.core.config import Config, load_config
from agent.core.events import Event, GapClosed
from agent.core.lead_units import UNITS_MV
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, Lead, Result, Strip, quantise_to_counts
from agent.core.sample_index import nearest_device_index
from agent.pipeline.pipeline import Pipeline
from model.records.resample import FS, Resampler

COUNTS_PER_MV = 1000.0
"""Samples are analysed in microvolts, as the simulator sends them."""
RUN = "run"
"""A monitor has one run."""
_SAMPLE_FIELDS = ("sample", "class_known", "r_peak_known", "onset", "announced", "ended")

Item = Beat | Alarm | Event
"""What a monitor returns."""


class Monitor:
    """Analyses one lead live, chunk by chunk, as `ecg-agent monitor` does.

    Parameters
    ----------
    fs : float
        Sampling rate in hertz, from 20 to 10,000.
    unit : str
        Unit of the samples: "mV", "uV", "µV" or "V".
    config : Config, optional
        Settings; the defaults of `config.toml` if left out. `agent.load_config` reads a file.
    rails : (float, float), optional
        Lowest and highest value of the converter, in `unit`. A signal that stands there is reported as saturated;
        without rails it is a lead that is off.
    name : str
        Name of the bed in the results.

    Raises
    ------
    ValueError
        For a rate or unit that cannot be analysed.

    Notes
    -----
    Samples are resampled to 125 Hz as a whole stream, and the results are those of the command line for the same
    samples in millivolts, bit for bit. How the stream is cut into chunks does not matter. Every `sample` of a result is
    an index at `fs`, counted from the first sample that was pushed. A class is known when the next beat is, at most 1.5
    s later.

    Examples
    --------
    >>> import numpy as np
    >>> from agent import Monitor, example
    >>> ecg, fs = example(seconds=20)
    >>> monitor = Monitor(fs, unit="mV")
    >>> items = [item for chunk in np.array_split(ecg, 100) for item in monitor.push(chunk)]
    >>> items += monitor.flush()
    >>> items[0].kind, items[-1].kind
    ('start', 'end')
    """

    def __init__(
        self,
        fs: float,
        unit: str,
        config: Config | None = None,
        rails: tuple[float, float] | None = None,
        name: str = "ecg",
    ) -> None:
        if unit not in UNITS_MV:
            raise ValueError(f"samples in {unit!r} are no ECG: the unit must be one of {', '.join(UNITS_MV)}")
        self.fs = check_rate(fs)
        self._scale = UNITS_MV[unit]
        self._config = config or load_config(None)
        self._bed = name
        monitor = self._config.monitor
        self._pipeline = Pipeline(self._config, _classifier(monitor.weights, monitor.device))
        self._lead = Lead("ECG", "mV", COUNTS_PER_MV, 0.0, *self._rail_counts(rails))
        self._resampler: Resampler | None = Resampler(self.fs, leads=1)
        self._next = 0

    def push(self, samples: ArrayLike) -> list[Item]:
        """Analyse the next samples.

        Parameters
        ----------
        samples : (n,) array of float
            The next samples in the unit of the monitor; NaN for one without a value.

        Returns
        -------
        list of Beat, Alarm and Event
            What these samples decided, in order. An alarm comes again at every change.

        Raises
        ------
        ValueError
            For samples that are not one-dimensional numbers, or after `flush`.
        """
        if self._resampler is None:
            raise ValueError("this monitor was flushed: make a new one for another signal")
        return self._analyse(self._resampler.push(check_signal(samples)[:, None] * self._scale))

    def flush(self) -> list[Item]:
        """End the signal: return what was still undecided. Nothing can be pushed afterwards."""
        if self._resampler is None:
            return []
        items = self._analyse(self._resampler.flush())
        self._resampler = None
        ended = self._pipeline.push([End(self._bed, RUN, self._next, float(FS))])
        return items + self._convert([*ended, *self._pipeline.finish()])

    def _analyse(self, millivolts: NDArray[np.float64]) -> list[Item]:
        if not len(millivolts):
            return []
        counts = quantise_to_counts(millivolts, np.array([COUNTS_PER_MV]))
        chunk = Chunk(self._bed, RUN, self._next, float(FS), (self._lead,), counts, 0.0)
        self._next += len(counts)
        return self._convert(self._pipeline.push([chunk]))

    def _convert(self, results: list[Result]) -> list[Item]:
        """Bring results to the caller's rate. Strips stay here: the caller has the signal."""
        return [_at_rate(item, self.fs) for item in results if not isinstance(item, Strip)]

    def _rail_counts(self, rails: tuple[float, float] | None) -> tuple[int, int]:
        if rails is None:
            return MISSING + 1, -MISSING - 1
        low, high = (round(COUNTS_PER_MV * self._scale * rail) for rail in rails)
        if low >= high:
            raise ValueError(f"the rails {rails} are not in ascending order")
        return max(low, MISSING + 1), min(high, -MISSING - 1)


def check_rate(fs: float) -> float:
    """Return a sampling rate as a float. Raise ValueError if the analysis cannot resample it."""
    if isinstance(fs, bool) or not isinstance(fs, int | float | np.integer | np.floating):
        raise ValueError(f"a sampling rate must be a number of hertz, not {fs!r}")
    if not 20 <= fs <= 10_000:
        raise ValueError(f"a sampling rate of {fs:g} Hz cannot be analysed: 20 to 10,000 Hz can")
    Resampler(float(fs), leads=1)
    return float(fs)


def check_signal(samples: ArrayLike) -> NDArray[np.float64]:
    """Return samples as (n,) float64. Raise ValueError if they are not one lead of numbers."""
    array = np.asarray(samples)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"samples must be numbers, not {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"samples must have the shape (n,), one lead, not {array.shape}: choose a column")
    if np.isinf(array).any():
        raise ValueError("samples must be finite; NaN stands for one without a value")
    return array.astype(np.float64)


@cache
def _classifier(weights: str, device: str) -> BeatClassifier:
    return load_beat_classifier(weights, device, threads=None)


def _at_rate(item: Item, fs: float) -> Item:
    """Return a result with its sample indices at `fs` hertz instead of 125."""
    names = [field.name for field in fields(item) if field.name in _SAMPLE_FIELDS]
    changes: dict[str, int | None] = {
        name: None if (value := getattr(item, name)) is None else nearest_device_index(value, fs) for name in names
    }
    if isinstance(item, GapClosed):
        changes["count"] = nearest_device_index(item.sample + item.count, fs) - nearest_device_index(item.sample, fs)
    return replace(item, **changes)  # type: ignore[arg-type]
