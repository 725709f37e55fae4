from functools import cache

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from support.alarmed import run_start

from agent.analysis import compiled_qrs
from agent.analysis.compiled_qrs import open_qrs_detector
from agent.analysis.qrs_detector import RPeak
from agent.core.messages import FloatArray
from model.compiled.library import load_library
from model.records.lead_choice import default_lead
from model.records.resample import FS, Resampler
from model.records.wfdb_records import open_record, read_record_samples, read_reference
from model.scoring.ec57 import match_record_beats

ROW = np.zeros(1, np.intp)


@pytest.fixture(autouse=True, params=["C", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs with the detector in C, and with its twin."""
    if request.param == "Python":
        monkeypatch.setattr(compiled_qrs, "load_library", lambda: None)
    elif load_library() is None:
        pytest.skip("the parts in C were not built: no C compiler (cc)")


@cache
def ecg(name: str, seconds: int = 60, start: int = 0) -> FloatArray:
    """Default lead of a record at 125 Hz, as the agent gets it: (n,) mV."""
    record = open_record(name)
    lead = default_lead(tuple(signal.name for signal in record.signals))
    first, stop = (int(second * record.fs) for second in (start, start + seconds))
    resampler = Resampler(record.fs, 1)
    samples = read_record_samples(record, first, stop)[:, [lead]]
    signal = np.concatenate([resampler.push(samples), resampler.flush()])[:, 0]
    result = np.round(signal, 3).astype(np.float32)
    result.setflags(write=False)
    return result


def detect(x: FloatArray, cuts: list[int] | None = None, first: int = 0) -> list[RPeak]:
    """All beats of one bed whose signal comes in chunks cut at `cuts`."""
    detector = open_qrs_detector()
    detector.start(0, run_start(first))
    beats = [beat for chunk in np.split(x, cuts or []) for beat in detector.push(ROW, chunk[None])]
    return beats + detector.flush(0)


def samples(beats: list[RPeak]) -> NDArray[np.int64]:
    return np.array([beat.sample for beat in beats], np.int64)


def noise(seconds: float, size: float) -> FloatArray:
    return (size * np.random.default_rng(7).standard_normal(int(seconds * FS))).astype(np.float32)


@pytest.mark.parametrize("name", ["106", "203", "207"])
@pytest.mark.parametrize("step", [1, 5, 30, "irregular"])
def test_chunks_do_not_matter(name: str, step: int | str) -> None:
    """Beats and the samples that decided them are the same however the stream is cut."""
    x = ecg(name)
    irregular = np.cumsum(np.random.default_rng(3).integers(0, 90, 300)).tolist()
    cuts = irregular if isinstance(step, str) else list(range(step, len(x), step))
    assert detect(x, cuts) == detect(x)


def test_rows_do_not_matter() -> None:
    """A bed's beats do not depend on the beds that are pushed along with it, nor on their order."""
    names = ["100", "106", "203", "119"]
    detector, beats = open_qrs_detector(4), list[RPeak]()
    rng = np.random.default_rng(5)
    done = np.zeros(4, int)
    while (done < 7500).any():
        rows = rng.permutation(4)[: rng.integers(1, 5)]
        n = int(rng.integers(1, 60))
        rows = rows[done[rows] + n <= 7500] if (done + n <= 7500).any() else np.flatnonzero(done < 7500)[:1]
        n = n if len(rows) > 1 or done[rows].sum() + n <= 7500 else 7500 - int(done[rows[0]])
        if len(rows):
            x = np.stack([ecg(names[row])[done[row] : done[row] + n] for row in rows])
            beats += detector.push(rows, x)
            done[rows] += n
    for row, name in enumerate(names):
        mine = [msgspec.structs.replace(beat, row=0) for beat in beats + detector.flush(row) if beat.row == row]
        assert mine == detect(ecg(name))


def test_beats_come_in_order_and_causal() -> None:
    """R peaks of a bed strictly increase, and each is decided after it and within the samples seen so far."""
    detector, last, seen = open_qrs_detector(), -1, 0
    for chunk in np.split(ecg("203"), range(25, 7500, 25)):
        seen += len(chunk)
        for beat in detector.push(ROW, chunk[None]):
            assert last < beat.sample < beat.decided < seen
            last = beat.sample


def test_reset_equals_new() -> None:
    """After a reset nothing of the past is left."""
    detector = open_qrs_detector(2)
    detector.push(np.array([0, 1]), np.stack([ecg("203")[:3000] * 5, ecg("100")[:3000]]))
    detector.start(0, run_start(1000))
    beats = detector.push(ROW, ecg("106")[None]) + detector.flush(0)
    assert beats == detect(ecg("106"), first=1000)


def test_grow_keeps_state() -> None:
    """Beds that exist do not notice that others are added."""
    detector, x = open_qrs_detector(1), ecg("106")
    beats = detector.push(ROW, x[None, :3001])
    detector.grow(3)
    assert beats + detector.push(ROW, x[None, 3001:]) + detector.flush(0) == detect(x)
    added = detector.push(np.array([2]), x[None]) + detector.flush(2)
    assert samples(added).tolist() == samples(detect(x)).tolist()


def test_inputs_are_not_mutated() -> None:
    """Neither the samples nor the rows that are pushed are written to."""
    x, rows = ecg("100")[None].copy(), np.array([0])
    x.setflags(write=False)
    rows.setflags(write=False)
    assert open_qrs_detector().push(rows, x)


def test_empty_chunk() -> None:
    """No rows or no samples give no beats and change nothing."""
    detector, x = open_qrs_detector(), ecg("100")
    assert detector.push(ROW, np.empty((1, 0), np.float32)) == []
    assert detector.push(ROW[:0], np.empty((0, 9), np.float32)) == []
    assert detector.push(ROW, x[None]) + detector.flush(0) == detect(x)


@pytest.mark.parametrize("level", [0.0, -4.7, 100.0])
def test_flat_line_has_no_beats(level: float) -> None:
    """A constant signal at any level has no beats, from its first sample on."""
    assert detect(np.full(4000, level, np.float32)) == []


def test_baseline_does_not_matter() -> None:
    """A stream that starts far from zero has the same beats, and none at its first sample."""
    x = (np.round(ecg("100") * 1024) / 1024).astype(np.float32)  # exact in float32 at both baselines
    assert detect(x + np.float32(64)) == detect(x)


@pytest.mark.parametrize("gain", [0.1, -1.0, -0.3, 4.0, 20.0])
@pytest.mark.parametrize("name", ["100", "119"])
def test_gain_and_polarity_hardly_matter(name: str, gain: float) -> None:
    """After a second a smaller, larger or inverted signal has the same beats within 60 ms."""
    expected, found = (samples(detect(x)) for x in (ecg(name), ecg(name) * np.float32(gain)))
    expected, found = expected[expected >= FS], found[found >= FS]
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() <= 0.06 * FS


@pytest.mark.parametrize("name", ["100", "106", "119", "208", "222"])
def test_first_beats_come_soon(name: str) -> None:
    """Three seconds after a start several beats are known, the first of them from its first 1.5 s."""
    beats = open_qrs_detector().push(ROW, ecg(name)[None, : 3 * FS])
    assert len(beats) >= 2
    assert beats[0].sample < 1.5 * FS


@pytest.mark.parametrize(
    "burst",
    [np.zeros(30 * FS), noise(10, 3.0), np.tile(np.repeat([5.0, -5.0], 20), 30), np.full(500, 9.0)],
    ids=["flat", "noise", "square", "saturated"],
)
def test_recovers(burst: FloatArray) -> None:
    """Five seconds after a flat line, noise or saturation all beats are found again."""
    x = ecg("100")
    found = samples(detect(np.concatenate([x[:3750], burst.astype(np.float32), x[3750:]]))) - len(burst)
    expected = samples(detect(x))
    late = 3750 + 5 * FS
    assert found[found > late].tolist() == expected[expected > late].tolist()


@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_follows_a_change_of_gain(gain: float) -> None:
    """Ten seconds after the amplitude fell to a tenth, or rose tenfold, all beats are found again."""
    x = ecg("119").copy()
    expected = samples(detect(x))
    x[3750:] *= np.float32(gain)
    found, late = samples(detect(x)), 3750 + 10 * FS
    assert found[found > late].tolist() == expected[expected > late].tolist()


def test_flush_decides_the_last_beat() -> None:
    """A beat right at the end of a run is found by `flush`, decided by the last sample."""
    x = ecg("100")
    last = samples(detect(x))[20]
    beats = detect(x[: last + 8])
    assert (beats[-1].sample, beats[-1].decided) == (last, last + 7)


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_that_ends_is_no_beat(mains: int) -> None:
    """Where a stretch ends in hum of 1 mV, at whatever phase, the detector sees the hum go on, and no step."""
    time = np.arange(20 * FS) / FS
    for phase in np.arange(8):
        x = synthetic(every(0.8))[: 20 * FS] + np.sin(2 * np.pi * mains * time + phase).astype(np.float32)
        end = 20 * FS - 45 + int(phase)
        assert not [beat for beat in detect(x[:end]) if beat.sample > 20 * FS - 65]


@pytest.mark.parametrize(("name", "floor"), [("100", 0.999), ("119", 0.999), ("208", 0.985), ("222", 0.98)])
def test_quality_on_real_records(name: str, floor: float) -> None:
    """Ten minutes of real records are found with at least this sensitivity and positive predictivity."""
    notes = read_reference(open_record(name))
    found = np.rint(samples(detect(ecg(name, 600))) * 360 / FS).astype(np.int64)
    inside = notes.samples < 600 * 360
    notes = type(notes)(notes.samples[inside], tuple(np.array(notes.symbols)[inside]), ())
    result = match_record_beats(notes, 360, found)
    assert result.sensitivity >= floor
    assert result.positive_predictivity >= floor


def synthetic(beats: list[float], seconds: float = 60, t_wave: float = 0.25, size: float = 1.0) -> FloatArray:
    """A lead with narrow QRS complexes at `beats` (s), each with a P wave and a T wave of `t_wave` mV: (n,) mV."""
    time = np.arange(int(seconds * FS)) / FS
    x = np.zeros(len(time))
    for beat in beats:
        for height, place, width in ((0.1, -0.16, 0.02), (1.0, 0, 0.011), (-0.2, 0.025, 0.008), (t_wave, 0.28, 0.04)):
            x += height * np.exp(-0.5 * ((time - beat - place) / width) ** 2)
    return (np.round(size * x, 3)).astype(np.float32)


def premature(beats: list[float], seconds: float = 60) -> FloatArray:
    """Wide complexes at `beats` (s), each with a T wave of the other sign: (n,) mV."""
    time = np.arange(int(seconds * FS)) / FS
    waves = [
        1.6 * np.exp(-0.5 * ((time - beat) / 0.03) ** 2) - 0.5 * np.exp(-0.5 * ((time - beat - 0.28) / 0.06) ** 2)
        for beat in beats
    ]
    return np.round(sum(waves), 3).astype(np.float32)


def every(interval: float, seconds: float = 60) -> list[float]:
    return np.arange(0.5, seconds - 0.5, interval).tolist()


def assert_found(x: FloatArray, beats: list[float], since: float = 0.0) -> None:
    """Exactly these beats are found after `since` s, within 80 ms."""
    found = samples(detect(x)) / FS
    found, expected = found[found >= since], np.array([beat for beat in beats if beat >= since])
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() < 0.08


@pytest.mark.parametrize(("height", "since"), [(0.8, 3.0), (1.2, 3.0), (1.5, 3.0), (2.0, 5.0)])
@pytest.mark.parametrize("interval", [1.0, 0.75])
def test_tall_t_wave_is_no_beat(height: float, since: float, interval: float) -> None:
    """After three seconds T waves as tall as the R waves or taller are not counted, twice as tall after five."""
    assert_found(synthetic(every(interval), t_wave=height), every(interval), since)


@pytest.mark.parametrize(("pace", "height"), [(50, 1.0), (60, 1.5)])
def test_hum_hides_no_beat(pace: int, height: float) -> None:
    """Hum as large as the R wave hides no beat and adds none."""
    time = np.arange(60 * FS) / FS
    hum = height * np.minimum(1, np.minimum(time, 60 - time)) * np.sin(2 * np.pi * pace * time)
    assert_found(synthetic(every(0.8)) + hum.astype(np.float32), every(0.8))


def test_beats_are_found_soon_after_noise_at_the_start() -> None:
    """A second after five seconds of large noise every beat is found."""
    x = synthetic(every(0.8))
    x[: 5 * FS] += noise(5, 30.0)
    assert_found(x, every(0.8), since=6.0)


@pytest.mark.parametrize("factor", [0.2, 0.3, 0.5])
def test_beats_are_found_soon_after_a_fall_of_amplitude(factor: float) -> None:
    """Three seconds after the amplitude fell every beat is found."""
    x = synthetic(every(0.8))
    x[30 * FS :] *= np.float32(factor)
    assert_found(x, every(0.8), since=33.0)


def test_beats_are_found_soon_after_a_defibrillation() -> None:
    """Three seconds after a jolt that decays every beat is found."""
    x = synthetic(every(0.8))
    x[30 * FS :] += (20 * np.exp(-np.arange(30 * FS) / (0.5 * FS))).astype(np.float32)
    assert_found(x, every(0.8), since=33.0)


def test_noise_of_a_converter_has_no_beats() -> None:
    """A lead that is not on shows a few microvolts of noise, and no candidates at all."""
    detector = open_qrs_detector(least=-100.0)
    assert detector.push(ROW, noise(60, 0.012)[None]) + detector.flush(0) == []


@pytest.mark.parametrize("height", [0.1, 0.15])
def test_low_voltage_is_found(height: float) -> None:
    """A clean QRS complex of 0.1 mV is a beat."""
    assert_found(synthetic(every(0.8), size=height), every(0.8))


@pytest.mark.parametrize("rate", [150, 220, 300])
def test_fast_rhythm_is_counted(rate: int) -> None:
    """Each beat of a fast rhythm of narrow complexes is found."""
    beats = every(60 / rate)
    time = np.arange(60 * FS) / FS
    x = sum(np.exp(-0.5 * ((time - beat) / 0.011) ** 2) for beat in beats)
    assert_found(np.asarray(x, np.float32), beats)


@pytest.mark.parametrize("noise_mv", [0.0, 0.02])
@pytest.mark.parametrize("rate", [310, 330, 350])
def test_fastest_rhythm_is_counted_after_ten_seconds(rate: int, noise_mv: float) -> None:
    """Above 300 a minute, as newborns may have, the detector may count every second or third beat, but not for long."""
    beats = every(60 / rate)
    time = np.arange(60 * FS) / FS
    x = sum(np.exp(-0.5 * ((time - beat) / 0.011) ** 2) for beat in beats)
    assert_found(np.asarray(x, np.float32) + noise(60, noise_mv), beats, since=10.0)


@pytest.mark.parametrize("coupling", [0.36, 0.42, 0.5])
def test_early_premature_beats_are_found(coupling: float) -> None:
    """Bigeminy is found beat by beat, also if the premature beat falls on the T wave."""
    sinus = every(1.6)
    early = [beat + coupling for beat in sinus]
    assert_found(synthetic(sinus) + premature(early), sorted(sinus + early), since=5.0)


def test_couplets_are_found() -> None:
    """Two premature beats after every fifth beat are found."""
    sinus = [beat for beat in every(0.8) if int((beat - 0.5) / 0.8 + 0.5) % 6 not in (4, 5)]
    pairs = [beat + shift for beat in every(0.8)[3::6] for shift in (0.45, 0.85)]
    assert_found(synthetic(sinus) + premature(pairs), sorted(sinus + pairs), since=10.0)
