"""The rate of a recording: what a person says, what its file says, and what its stamps show must agree."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.errors import RecordError
from model.formats.file_options import LONGEST_GAP_S, MOST_DISAGREEMENT, SignalFileOptions
from model.formats.stamp_clock import SamplePlaces, StampClock


def choose_places(
    path: Path, options: SignalFileOptions, stated: Sequence[float], stamps: StampClock | None
) -> SamplePlaces:
    """Return the rate and the places of the rows of a file, by what it states and its stamps.

    A rate that a person states is taken if the stamps are no further from it than stamps may be; a notice says so.

    Raises
    ------
    RecordError
        Nothing says the rate, what does contradicts itself, or it is none of an ECG.
    """
    measured = stamps.measure() if stamps is not None else None
    shown = measured.fs if measured is not None else 0.0
    tolerance = measured.tolerance if measured is not None else 0.0
    if measured is not None and not measured.even:
        raise RecordError(f"the rate of {path.name} changes along its times: cut it into a file for each rate")
    rates = [fs for fs in stated if not shown or abs(fs / shown - 1) <= tolerance]
    if options.fs is None and stated and not rates:
        raise RecordError(
            f"{path.name} states {_list_rates(stated)}, but its times show {shown:.6g} Hz: "
            f"say which is right, such as --fs {shown:.6g}"
        )
    if options.fs is None and not shown and len(rates) > 1 and max(rates) / min(rates) > 1 + MOST_DISAGREEMENT:
        raise RecordError(f"{path.name} states {_list_rates(rates)}: say which is right, such as --fs {rates[0]:.6g}")
    fs = options.choose_rate(path, rates[0] if rates else shown or None)
    if stamps is None or measured is None:
        return SamplePlaces(fs, np.zeros(1, np.int64), np.zeros(1, np.int64))
    places = stamps.places(fs)
    lost = np.diff(places.samples) - np.diff(places.rows)
    if lost.max(initial=0) > LONGEST_GAP_S * fs:
        raise RecordError(
            f"{path.name} has stamps that make no sense: {lost.max() / fs / 86_400:,.1f} days lie between two samples, "
            f"and {LONGEST_GAP_S / 86_400:g} are the most in one recording: cut it there"
        )
    if shown and abs(fs / shown - 1) > tolerance:
        notice = f"{path.name} is read at {fs:.6g} Hz, as --fs says; its times show {shown:.6g} Hz"
        return SamplePlaces(fs, places.rows, places.samples, notice)
    return places


def _list_rates(rates: Sequence[float]) -> str:
    return " and ".join(f"{fs:.6g} Hz" for fs in rates)
