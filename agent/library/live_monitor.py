"""The monitor as a Python object: push chunks of one lead as they come, take beats, alarms and events."""

from dataclasses import fields, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.core.config import Config, load_config
from agent.core.events import Event, GapClosed, RunEnded, RunStarted, SamplesBridged
from agent.core.lead_units import RAW_UNITS, UNITS_MV
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, Lead, Result, Strip, quantise_to_counts
from agent.core.sample_index import nearest_device_index
from agent.library.argument_checks import check_config, check_rails, check_rate, check_samples, check_unit
from agent.library.lead_resampler import LeadResampler
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import other_unit_gain
from model.nets.checkpoint_card import find_checkpoint
from model.records.resample import FS

COUNTS_PER_MV = 1000.0
"""Samples are analysed in microvolts, as the simulator sends them."""
LARGEST_COUNT = -MISSING - 1
RUN = "run"
"""A monitor has one run."""
_SAMPLE_FIELDS = ("sample", "class_known", "r_peak_known", "onset", "announced")

Item = Beat | Alarm | Event
"""What a monitor returns."""


class Monitor:
    """Analyses one lead live, chunk by chunk, as `ecg-agent monitor` does.

    Parameters
    ----------
    fs : float
        Sampling rate in hertz, from 20 to 10,000.
    unit : str
        Unit of the samples: "mV", "uV", "µV" or "V"; "counts" (whole numbers) or "a.u." (steps of 1e-5) where nobody
        knows how many are a millivolt: their scale is found from the first seconds with QRS complexes.
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
        For a rate, unit or setting that cannot be used.
    CheckpointError
        If the weights that the settings name cannot be read.

    Notes
    -----
    Samples are resampled to 125 Hz as a whole stream, in `unit`. The results are those of `ecg-agent evaluate` for a
    record with these samples, bit for bit. How the stream is cut into chunks
    changes no beat, alarm or event. Every `sample` of a result is an index at `fs`, counted from the first sample that
    was pushed. A class is known when the next beat is, as a rule about a second later.

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
        if not isinstance(name, str):
            raise ValueError(f"name must be text, not {type(name).__name__}")
        self.fs = check_rate(fs)
        self._bed = name
        self._lead = _signal_lead(check_unit(unit), rails)
        self._limit = LARGEST_COUNT / self._lead.gain
        self._pipeline = _build_pipeline(load_config(None) if config is None else check_config(config))
        self._resampler: LeadResampler | None = LeadResampler(self.fs, UNITS_MV.get(self._lead.unit, 0.0))
        self._pushed = 0
        self._next = 0

    def push(self, samples: ArrayLike) -> list[Item]:
        """Analyse the next samples.

        Parameters
        ----------
        samples : (n,) array of float
            The next samples in the unit of the monitor, any number of them. A sample without a value is NaN or masked.

        Returns
        -------
        list of Beat, Alarm and Event
            What these samples decided, in order. An alarm comes again at every change.

        Raises
        ------
        ValueError
            For samples that are not one lead of real numbers, or after `flush`. The monitor then stays as it was.
        """
        if self._resampler is None:
            raise ValueError("nothing can be pushed after flush: make a new Monitor for another signal")
        values = check_samples(samples)
        self._pushed += len(values)
        # What no converter can send would run over in the filter.
        return self._analyse(self._resampler.push(np.clip(values, -self._limit, self._limit)))

    def flush(self) -> list[Item]:
        """End the signal: return what was still undecided. Nothing can be pushed afterwards."""
        if self._resampler is None:
            return []
        items = self._analyse(self._resampler.flush())
        self._resampler = None
        ended = self._pipeline.push([End(self._bed, RUN, self._next, float(FS))])
        return items + self._convert([*ended, *self._pipeline.finish()])

    def _analyse(self, samples: NDArray[np.float64]) -> list[Item]:
        """Analyse samples (n,) at 125 Hz, in the unit of the monitor."""
        if not len(samples):
            return []
        counts = quantise_to_counts(samples[:, None], np.array([self._lead.gain]))
        chunk = Chunk(self._bed, RUN, self._next, float(FS), (self._lead,), counts, 0.0)
        self._next += len(counts)
        return self._convert(self._pipeline.push([chunk]))

    def _convert(self, results: list[Result]) -> list[Item]:
        """Bring results to the caller's rate. Strips stay here: the caller has the signal."""
        return [_convert_to_rate(item, self.fs, self._pushed) for item in results if not isinstance(item, Strip)]


def _signal_lead(unit: str, rails: tuple[float, float] | None) -> Lead:
    limits = None if rails is None else check_rails(rails)
    if unit in UNITS_MV:
        gain = COUNTS_PER_MV * UNITS_MV[unit]
    else:
        gain = other_unit_gain(unit, *limits) if limits else 1 / RAW_UNITS[unit]
    low, high = -LARGEST_COUNT, LARGEST_COUNT
    if limits is not None:
        low, high = (round(min(max(rail * gain, low), high)) for rail in limits)
    return Lead("ECG", unit, gain, 0.0, min(low, high - 1), high)


def _build_pipeline(config: Config) -> Pipeline:
    settings = config.monitor
    weights = find_checkpoint(settings.weights)
    classify = _load_classifier(str(weights), weights.stat().st_mtime_ns, settings.device)
    # There is one lead only, whatever the settings say of the leads of devices.
    return Pipeline(replace(config, monitor=replace(settings, lead="auto")), classify)


@lru_cache(maxsize=4)
def _load_classifier(weights: str, changed_ns: int, device: str) -> BeatClassifier:  # noqa: ARG001  # weights may change
    return load_beat_classifier(weights, device, threads=None)


def _convert_to_rate(item: Item, fs: float, pushed: int) -> Item:
    """Return a result with its sample indices at `fs` hertz instead of 125, none behind the `pushed` samples."""

    def index_at_rate(index: int, last: int) -> int:
        return min(nearest_device_index(index, fs), last)

    last = pushed if isinstance(item, RunEnded) else pushed - 1
    changes: dict[str, float | None] = {
        field.name: index_at_rate(getattr(item, field.name), last)
        for field in fields(item)
        if field.name in _SAMPLE_FIELDS
    }
    if isinstance(item, Alarm) and item.ended is not None:
        changes["ended"] = index_at_rate(item.ended, pushed)
    if isinstance(item, GapClosed):
        count = index_at_rate(item.sample + item.count, pushed) - index_at_rate(item.sample, last)
        changes |= {"count": count, "seconds": count / fs}
    if isinstance(item, SamplesBridged):
        changes["count"] = round(item.seconds * fs)
    if isinstance(item, RunStarted):
        changes["fs"] = fs
    return replace(item, **changes)  # type: ignore[arg-type]  # fields of the item
