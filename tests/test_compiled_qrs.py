"""The QRS detector in C beside its twin in Python: the same R peaks, their scores to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.alarmed import run_start

from agent.analysis.compiled_qrs import CompiledQrsDetector, open_qrs_detector
from agent.analysis.qrs_detector import QrsDetector, RPeak
from agent.analysis.stage import LeadStateChange
from agent.core.messages import FloatArray, Gap
from model.compiled.library import load_library
from model.records.resample import FS, Resampler
from model.records.wfdb_records import open_record, read_record_samples

pytestmark = pytest.mark.skipif(load_library() is None, reason="the parts in C were not built: no C compiler (cc)")
Values = NDArray[np.float64]
ROW = np.zeros(1, np.intp)
SECONDS = 240
ALL = -100.0
"""A score that each candidate has: all of them are reported."""


def both_leads(name: str, seconds: int) -> FloatArray:
    """The leads of a record at 125 Hz: (leads, n) mV."""
    record = open_record(name)
    samples = read_record_samples(record, 0, int(seconds * record.fs))
    resampler = Resampler(record.fs, samples.shape[1])
    return np.concatenate([resampler.push(samples), resampler.flush()]).T.astype(np.float32)


def white_noise(random: np.random.Generator, n: int) -> Values:
    """Noise whose size rises and falls."""
    return np.asarray(random.normal(0, 1, n) * np.exp(2 * np.sin(np.arange(n) / 400)))


def random_walk(random: np.random.Generator, n: int) -> Values:
    return np.cumsum(random.normal(0, 0.1, n))


def random_steps(random: np.random.Generator, n: int) -> Values:
    return np.repeat(random.normal(0, 2, n // 20 + 1), 20)[:n]


def repeated_noise(random: np.random.Generator, n: int) -> Values:
    """Noise that repeats itself to the bit every 80 to 160 ms, for some seconds: many maxima are the same."""
    return np.concatenate([np.resize(random.normal(0, 1, random.integers(10, 21)), 500) for _ in range(n // 500 + 1)])[
        :n
    ]


def changing_hum(random: np.random.Generator, n: int) -> Values:
    """Hum of 50 Hz over weak noise, which ends now and then."""
    hum = 3 * np.sin(0.8 * np.pi * np.arange(n)) * (np.sin(np.arange(n) / 300) > 0)
    return np.asarray(hum + random.normal(0, 0.1, n))


def flat_lines(random: np.random.Generator, n: int) -> Values:
    """Flat at some levels, and noise between them."""
    levels = random.normal(0, 3, n // 700 + 1).repeat(700)[:n]
    return np.where(np.arange(n) // 700 % 2, random.normal(0, 0.5, n), levels)


def doubtful_waves(random: np.random.Generator, n: int) -> Values:
    """A sine of three or four a second: nearly all candidates are doubtful, and soon followed."""
    return np.sin(2 * np.pi * random.uniform(3, 4.5) * np.arange(n) / FS) + random.normal(0, 0.05, n)


def random_bursts(random: np.random.Generator, n: int) -> Values:
    """Something new two to six times a second, of which some is as large as a beat."""
    x, at, rate = np.zeros(n), 50, random.uniform(2, 6)
    while at < n - 20:
        x[at : at + 12] += random.normal(0, 1, 12) * np.hanning(12) * np.exp(random.normal(0, 0.3))
        at += int(FS / rate) + int(random.integers(-2, 3))
    return x


def fading_beats(random: np.random.Generator, n: int, gap: int = 131, wave: float = 0.2, after: int = 55) -> Values:
    """Beats that are a tenth as large every other eight seconds, each followed by a blunt wave, now and then turned.

    The small ones resemble beats, and the levels are learnt again.
    """
    x, at, around = random.normal(0, 0.18, n), 60, np.arange(-20, 20)
    while at < n - 100:
        x[at - 20 : at + 20] += (10, 1.1)[at // 1000 % 2] * np.exp(-0.5 * (around / 1.4) ** 2)
        turned = -1 if random.random() < 0.1 else 1
        x[at + after - 20 : at + after + 20] += 10 * turned * wave * np.exp(-0.5 * (around / 5) ** 2)
        at += gap + int(random.integers(0, 13))
    return x


def reversed_waves(random: np.random.Generator, n: int) -> Values:
    """The same with waves so large that the levels are those of the wrong ones, and turn out to be."""
    return fading_beats(random, n, 109, 1.8, 28)


def crowded_waves(random: np.random.Generator, n: int) -> Values:
    """The same of a fast heart: what is larger than a beat has the same shape for some beats, then another one."""
    return fading_beats(random, n, 63, 1.1, 50)


def fast_beats(random: np.random.Generator, n: int) -> Values:
    """Beats of 300 to 350 a minute, another rate every half minute: at first every second or third is counted."""
    place = np.arange(n) % random.choice([21.5, 22.7, 25], n // 4000 + 1).repeat(4000)[:n] - 10
    size = np.where(np.arange(n) // 2000 % 3, 1, np.exp(random.normal(0, 0.1, n // 22 + 1)).repeat(22)[:n])
    return np.asarray(size * np.exp(-0.5 * (place / 1.4) ** 2) + random.normal(0, random.choice([0.02, 0.1]), n))


SIGNALS = [
    white_noise,
    random_walk,
    random_steps,
    repeated_noise,
    changing_hum,
    flat_lines,
    doubtful_waves,
    random_bursts,
    fading_beats,
    reversed_waves,
    crowded_waves,
    fast_beats,
]
Signal = Callable[[np.random.Generator, int], Values]


def push_both(x: FloatArray, chunk: int) -> list[RPeak]:
    """Push `x` (rows, n) in chunks into C and the twin, which must say the same at each of them; return all of it."""
    rows, said = np.arange(len(x)), list[RPeak]()
    ours, theirs = open_qrs_detector(len(x), ALL), QrsDetector(len(x), ALL)
    assert isinstance(ours, CompiledQrsDetector)
    for first in range(0, x.shape[1], chunk):
        part = ours.push(rows, x[:, first : first + chunk])
        assert part == theirs.push(rows, x[:, first : first + chunk])
        said += part
    for row in rows.tolist():
        part = ours.flush(row)
        assert part == theirs.flush(row)
        said += part
    return said


@pytest.mark.parametrize("name", ["100", "106", "114", "203", "207", "222", "232"])
@pytest.mark.parametrize("chunk", [25, 7500])
def test_records(name: str, chunk: int) -> None:
    """Both leads of records: all candidates with their scores, and at which push they come."""
    x = both_leads(name, 10 * 60)
    said = push_both(x, chunk)
    assert sum(peak.score > 0 for peak in said) > 2 * 500


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("chunk", [1, 7, 25, 300, 7500])
def test_signals(signal: Signal, chunk: int) -> None:
    """What no heart does, too, at any size."""
    random, n = np.random.default_rng(11), (20 if chunk < 25 else SECONDS) * FS
    x = np.stack([size * signal(random, n) for size in (1, 0.1, 1000)]).astype(np.float32)
    assert push_both(x, chunk)


def test_peaks_of_many_rows_come_in_the_order_of_the_twin() -> None:
    """Also where many come at once, from a hundred rows that learn at the same time."""
    random = np.random.default_rng(2)
    x = np.stack([SIGNALS[i % len(SIGNALS)](random, 60 * FS) for i in range(100)]).astype(np.float32)
    assert len(push_both(x, 2000)) > 10_000


AnyDetector = CompiledQrsDetector | QrsDetector


def break_both(random: np.random.Generator, both: list[AnyDetector], row: int, next_sample: int) -> int:
    """Break the stretch of a row by a lead that comes off, a start or a gap; return where it goes on."""
    what = random.choice(["off", "start", "gap", "gap"])
    first = int(random.integers(0, 10**6)) if what == "start" else next_sample + int(random.choice([1, 20, 2000]))
    if what != "off":
        ours, theirs = (detector.flush(row) for detector in both)
        assert ours == theirs
    for detector in both:
        if what == "off":
            detector.interrupt(row, LeadStateChange(row, next_sample, "lead off"))
        elif what == "start":
            detector.start(row, run_start(first))
        else:
            detector.interrupt(row, Gap("1", "run", next_sample, first - next_sample, FS, "lost"))
    return next_sample if what == "off" else first


@pytest.mark.parametrize("seed", range(4))
def test_rows_gaps_and_starts(seed: int) -> None:
    """Rows in any order, chunks of any length, gaps and starts in between, and rows that are added meanwhile."""
    random, length = np.random.default_rng(seed), 200 * FS
    made = [SIGNALS[i % len(SIGNALS)](random, length) for i in range(20)]
    streams = np.stack([*made, *both_leads("203", 200)[:, :length]]).astype(np.float32)
    rows, said = 2, 0
    both: list[AnyDetector] = [open_qrs_detector(rows, ALL), QrsDetector(rows, ALL)]
    taken, following = np.zeros((2, len(streams)), np.int64)
    for _ in range(700):
        if random.random() < 0.02:
            rows = min(rows + int(random.integers(1, 4)), len(streams))
            for detector in both:
                detector.grow(rows)
        n = int(random.choice([1, 5, 25, 100, 600]))
        chosen = random.permutation(rows)[: random.integers(1, rows + 1)]
        chosen = chosen[taken[chosen] + n <= length]
        x = np.stack([streams[row, taken[row] : taken[row] + n] for row in chosen] or [np.empty(0, np.float32)])
        ours, theirs = (detector.push(chosen, x) for detector in both)
        assert ours == theirs
        said += len(ours)
        taken[chosen] += n
        following[chosen] += n
        if len(chosen) and random.random() < 0.1:
            following[chosen[0]] = break_both(random, both, int(chosen[0]), int(following[chosen[0]]))
    assert said > 2000


@pytest.mark.parametrize("signal", [white_noise, reversed_waves, crowded_waves])
@pytest.mark.parametrize("length", [150, 300, 600])
@pytest.mark.parametrize("flushed", [True, False])
def test_many_gaps(signal: Signal, length: int, flushed: bool) -> None:
    """Levels that turn out to be reversed soon behind a gap are learnt from what came behind it only.

    Without a flush what waits for a follower before the gap goes on waiting, but nothing before it is filtered.
    """
    x = signal(np.random.default_rng(4), SECONDS * FS).astype(np.float32)
    both: list[AnyDetector] = [open_qrs_detector(1, ALL), QrsDetector(1, ALL)]
    for first in range(0, len(x) - length, length):
        ours, theirs = (detector.push(ROW, x[None, first : first + length - 10]) for detector in both)
        assert ours == theirs
        if flushed:
            ours, theirs = (detector.flush(0) for detector in both)
            assert ours == theirs
        for detector in both:
            detector.interrupt(0, Gap("1", "run", first + length - 10, 10, FS, "lost"))


def test_beats_only_are_the_beats_of_all() -> None:
    """With the usual least score C and the twin report beats only, and the same."""
    x = both_leads("106", 120)
    ours, theirs = open_qrs_detector(2), QrsDetector(2)
    peaks = ours.push(np.arange(2), x)
    assert peaks == theirs.push(np.arange(2), x)
    assert min(peak.score for peak in peaks) > 0


def test_signals_without_values_do_no_harm() -> None:
    """NaN has no candidates, as in the twin; behind it, and behind infinite values, beats are found as after a gap."""
    x = both_leads("100", 120)[:1].copy()
    expected = {peak.sample for peak in CompiledQrsDetector(load_library(), 1).push(ROW, x)}  # type: ignore[arg-type]
    x[0, 3000:3100] = np.nan
    with np.errstate(all="ignore"):
        assert push_both(x, 25)
    for value in (np.inf, -np.inf, 3e38):
        x[0, 3000:3100] = value
        found = {peak.sample for peak in open_qrs_detector().push(ROW, x)}
        late = range(3000 + 60 * FS, 115 * FS)
        assert [sample for sample in late if sample in found] == [sample for sample in late if sample in expected]


def test_what_does_not_fit_is_refused() -> None:
    """C would read beyond the arrays."""
    detector, x = open_qrs_detector(2), np.zeros((2, 5), np.float32)
    for rows in ([0, 2], [-1, 0]):
        with pytest.raises(IndexError, match="beyond the 2"):
            detector.push(np.array(rows), x)
    with pytest.raises(ValueError, match="samples of 2 rows"):
        detector.push(np.array([0]), x)
    for row in (2, -1):
        for call in (
            lambda row: detector.flush(row),
            lambda row: detector.start(row, run_start()),
            lambda row: detector.interrupt(row, Gap("1", "run", 0, 5, FS, "lost")),
        ):
            with pytest.raises(IndexError, match="beyond the 2"):
                call(row)


def test_arrays_of_other_types_are_taken() -> None:
    """Samples that are float64, or every second of an array, and rows of another width of integers."""
    x = both_leads("100", 60)
    expected = open_qrs_detector(2).push(np.arange(2), x)
    wide = np.repeat(x, 2, axis=1)[:, ::2].astype(np.float64)
    taken: Any = np.arange(2, dtype=np.int32), wide
    assert open_qrs_detector(2).push(*taken) == expected
    assert len(expected) > 100


def test_detectors_do_not_share_anything() -> None:
    """Each has its own memory, which is freed with it."""
    x = both_leads("106", 60)
    expected = open_qrs_detector(2).push(np.arange(2), x)
    for _ in range(50):
        one, other = open_qrs_detector(2), open_qrs_detector(2)
        ours = [peak for part in np.split(x, 10, axis=1) for peak in one.push(np.arange(2), part)]
        assert other.push(np.arange(2), x) == expected
        assert sorted(map(repr, ours)) == sorted(map(repr, expected))
