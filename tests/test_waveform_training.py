"""How the waveform classifier is trained, kept and tested."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from model.errors import CheckpointError
from model.records.resample import FS
from model.records.wfdb_records import open_record, read_reference
from model.scoring.episode_scores import EpisodeSpan
from model.waveform import synthetic_noise
from model.waveform import synthetic_waveforms as made
from model.waveform.classifier_fit import WaveformRecipe, fit_waveform_layers, sampling_probabilities
from model.waveform.episode_rule import DetectedEpisode
from model.waveform.episode_tables import WaveformEpisodeCounts, count_episode_matches
from model.waveform.labelled_windows import (
    ASYSTOLE_BIT,
    NOISE_BIT,
    ORGANISED_BIT,
    VF_BIT,
    VT_BIT,
    LabelledStrip,
    LabelledWindows,
    label_strip_windows,
    measure_strip,
)
from model.waveform.recorded_strips import annotated_rhythms, annotated_vt_runs, label_arrhythmia_record
from model.waveform.strip_generator import SHARES, StripGenerator, vary_strip
from model.waveform.waveform_classifier import OUTSIDE_NUMBERS, WAVEFORM_KINDS, WAVEFORM_WEIGHTS, WaveformClassifier
from model.waveform.window_features import FEATURE_COUNT, WINDOW

Random = np.random.Generator
RECORDS = ("100", "208")


def test_episodes_are_compared_by_overlap_and_duration() -> None:
    """Episodes count as found by overlap; durations, delays and false episodes add up over records."""
    reference = [EpisodeSpan(10 * FS, 20 * FS), EpisodeSpan(50 * FS, 52 * FS)]
    test = [
        DetectedEpisode(12 * FS, 15 * FS, 22 * FS),
        DetectedEpisode(70 * FS, 72 * FS, 80 * FS),
        DetectedEpisode(90 * FS, 92 * FS, 95 * FS),
    ]
    counts = count_episode_matches(reference, [EpisodeSpan(75 * FS, 76 * FS)], test, 3600 * FS)
    assert counts.figures() == pytest.approx(
        {
            "episodes": 2,
            "sensitivity": 0.5,
            "test_episodes": 3,
            "predictivity": 1 / 3,
            "predictivity_tolerant": 2 / 3,
            "duration_sensitivity": 8 / 12,
            "duration_predictivity": 8 / 25,
            "delay_median_s": 5,
            "delay_most_s": 5,
            "false": 1,
            "false_an_hour": 1,
        }
    )
    assert count_episode_matches(reference, [], test, 3600 * FS, shortest_s=4).figures()["sensitivity"] == 1
    assert (counts + counts).figures()["false"] == 2
    assert WaveformEpisodeCounts().figures()["sensitivity"] is None


def test_annotated_rhythms_and_runs() -> None:
    """Rhythms reach to the next annotation or the end; V runs are those that a reader would call VT."""
    notes = read_reference(open_record("208"))
    spans = annotated_rhythms(notes, FS / 360, 1000 * FS)
    assert spans[-1][1] == 1000 * FS
    assert all(start < end for start, end, _ in spans[:-1])
    found = annotated_vt_runs(read_reference(open_record("205")), FS / 360)
    assert len(found) >= 5
    assert all(0.5 * FS < end - start < 20 * FS for start, end in found)


def test_flutter_teaches_fibrillation_and_what_lies_about_it_nothing() -> None:
    """Marked flutter is VF, a second on either side of it has no label, and a V run is VT."""
    strip = label_arrhythmia_record("207", 0)
    assert strip.allowed[45 * FS] == VF_BIT
    assert strip.allowed[round(40.2 * FS)] == 0
    assert strip.allowed[100 * FS] == ORGANISED_BIT
    assert label_arrhythmia_record("205", 0).allowed[1464 * FS] == VT_BIT


@pytest.mark.parametrize(
    "wave",
    [
        made.synthesise_fibrillation,
        made.synthesise_flutter,
        made.synthesise_tachycardia,
        made.synthesise_motion,
        made.synthesise_flat_line,
        synthetic_noise.synthesise_calibration_pulses,
        synthetic_noise.synthesise_hum_alone,
        synthetic_noise.synthesise_converter_noise,
        synthetic_noise.synthesise_loose_lead,
        synthetic_noise.synthesise_brain_waves,
        synthetic_noise.synthesise_breathing,
        synthetic_noise.synthesise_pulse_curve,
    ],
)
def test_synthetic_waveforms_are_finite_and_repeatable(
    wave: Callable[[int, Random], NDArray[np.float64]],
) -> None:
    """Each synthetic waveform has the length that was asked for, finite samples, and the same ones for a seed."""
    for seed in range(20):
        x = wave(10 * FS, np.random.default_rng(seed))
        assert x.shape == (10 * FS,)
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(x, wave(10 * FS, np.random.default_rng(seed)))


def test_synthetic_fibrillation_has_its_frequencies() -> None:
    """Most of the power of synthetic fibrillation lies between 2.5 and 20 Hz."""
    waves = np.stack([made.synthesise_fibrillation(40 * FS, np.random.default_rng(seed)) for seed in range(20)])
    power = (np.abs(np.fft.rfft(waves, axis=1)) ** 2).sum(axis=0)
    pace = np.fft.rfftfreq(40 * FS, 1 / FS)
    assert power[(pace > 2.5) & (pace < 20)].sum() > 0.9 * power.sum()


def test_beats_follow_each_other_at_the_rate_that_was_asked_for() -> None:
    """A train of beats at 150 per minute has 100 beats in 40 s."""
    random = np.random.default_rng(0)
    shape = np.exp(-(((np.arange(130) - 30) / 2.0) ** 2))
    x = made.synthesise_beat_train(40 * FS, [shape], rate=150, jitter=0.001, mixed=False, random=random)
    assert np.count_nonzero((x[1:-1] > 0.5) & (x[1:-1] >= x[:-2]) & (x[1:-1] > x[2:])) == pytest.approx(100, abs=2)


def ordinary_strips() -> list[LabelledStrip]:
    return [label_arrhythmia_record(name, lead) for name in RECORDS for lead in (0, 1)]


def test_strips_are_the_same_for_a_seed_and_teach() -> None:
    """Synthetic strips are the same for a seed, of several kinds, and stay finite when they are changed."""
    ordinary = ordinary_strips()
    first, again = (list(StripGenerator(RECORDS, ordinary, 3).strips(12, seconds=20)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.allowed, other.allowed)
        changed = vary_strip(one, np.random.default_rng(1), StripGenerator(RECORDS, ordinary, 4))
        assert len(changed.x) == len(changed.allowed)
        assert np.isfinite(changed.x).all()
    assert len({one.source for one in first}) >= 4


def test_every_kind_of_strip_is_made() -> None:
    """Each kind of synthetic strip is drawn, finite, and excludes some kind; fast narrow complexes are organised."""
    strips = list(StripGenerator(RECORDS, ordinary_strips(), 5).strips(400, seconds=8))
    kinds = {strip.source.removeprefix("made ").rsplit(" ", 1)[0]: strip for strip in strips}
    assert set(kinds) == set(SHARES)
    assert all(np.isfinite(strip.x).all() and (strip.allowed > 0).all() for strip in strips)
    assert (kinds["narrow complexes"].allowed == ORGANISED_BIT).all()
    assert (kinds["calibration"].allowed == NOISE_BIT).all()
    assert (kinds["spikes"].allowed == ASYSTOLE_BIT).all()


def test_a_window_is_what_its_last_three_seconds_are() -> None:
    """The label of a window is that of its last three seconds; of a change to VF, once that takes most of them."""
    allowed = np.full(20 * FS, ORGANISED_BIT, np.uint8)
    allowed[10 * FS :] = VF_BIT
    measured = measure_strip(LabelledStrip("x", np.sin(np.arange(20 * FS)), allowed))
    found, ends = label_strip_windows(measured), measured.ends
    by_end = dict(zip((ends // FS).tolist(), found.allowed.tolist(), strict=True))
    assert [by_end[end] for end in (10, 11, 12, 13, 14)] == [ORGANISED_BIT, 0, VF_BIT, VF_BIT, VF_BIT]
    assert dict(zip((ends // FS).tolist(), found.weights.tolist(), strict=True))[13] == 0.5
    assert found.numbers.shape == (len(ends), FEATURE_COUNT)


def clouds(seed: int = 0) -> LabelledWindows:
    """Three kinds that lie apart, and windows of which it is only known that they are one of two."""
    random = np.random.default_rng(seed)
    allowed = np.repeat(np.array([ORGANISED_BIT, VT_BIT, VF_BIT, VT_BIT | VF_BIT], np.uint8), 300)
    numbers = random.standard_normal((1200, FEATURE_COUNT)).astype(np.float32)
    for part, place in enumerate((0, 20, 40, 40)):
        numbers[part * 300 : part * 300 + 300, place : place + 20] += 3
    numbers[:, OUTSIDE_NUMBERS] = -6  # no hum or sway, which alone would make them noise
    return LabelledWindows(numbers, allowed, np.ones(1200, np.float32), np.repeat(["a", "b", "c", "d"], 300))


RECIPE = WaveformRecipe(nets=2, steps=120, batch=128, hidden=(8, 8), dropped=0.2, jitter=0.15)


@pytest.mark.slow
def test_it_learns_what_is_known_and_no_more() -> None:
    """From partial labels the classifier learns kinds that lie apart; the same seed gives the same weights."""
    examples = clouds()
    classifier = WaveformClassifier(fit_waveform_layers(examples, RECIPE, 1), {})
    said = classifier.classify_features(clouds(9).numbers).argmax(axis=1)
    for part, kind in enumerate(("organised", "VT", "VF", "VF")):
        assert (said[part * 300 : part * 300 + 300] == WAVEFORM_KINDS.index(kind)).mean() > 0.95
    again = fit_waveform_layers(examples, RECIPE, 1)
    np.testing.assert_array_equal(again["weight1"], fit_waveform_layers(examples, RECIPE, 1)["weight1"])


def test_kinds_and_sources_are_balanced() -> None:
    """Windows are drawn by the shares of their kinds, not by their number."""
    drawn = sampling_probabilities(clouds())
    assert drawn.sum() == pytest.approx(1)
    assert drawn[:300].sum() > drawn[300:600].sum() > drawn[600:900].sum() > drawn[900:].sum()


def test_a_classifier_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    """Weights that were saved and loaded give the same probabilities, to the last bit."""
    classifier = WaveformClassifier.load()
    classifier.save(tmp_path / "classifier.safetensors")
    x = np.random.default_rng(0).standard_normal((3, WINDOW)).astype(np.float32)
    np.testing.assert_array_equal(WaveformClassifier.load(tmp_path / "classifier.safetensors")(x), classifier(x))


def test_shipped_weights_tell_how_they_were_made() -> None:
    """The shipped weights name their command, seed, recipe, records and the hash of their data."""
    story = WaveformClassifier.load().story
    assert {"command", "seed", "recipe", "records", "sha256"} <= set(story)
    assert {"vfdb/419", "mitdb/101"} <= set(story["records"])
    assert story["without"] == []


def _no_tensor(tensors: dict[str, NDArray[np.float32]]) -> None:
    del tensors["bias2"]


def _other_shape(tensors: dict[str, NDArray[np.float32]]) -> None:
    tensors["weight1"] = tensors["weight1"][:, :-1]


def _not_finite(tensors: dict[str, NDArray[np.float32]]) -> None:
    tensors["weight1"][0, 0, 0] = np.nan


def _too_large(tensors: dict[str, NDArray[np.float32]]) -> None:
    tensors["bias3"][:] = 1e30


@pytest.mark.parametrize("harm", [_no_tensor, _other_shape, _not_finite, _too_large])
def test_harmed_weights_are_refused(tmp_path: Path, harm: Callable[[dict[str, NDArray[np.float32]]], None]) -> None:
    """Weights with a missing, misshapen, infinite or huge tensor are refused."""
    path = tmp_path / "classifier.safetensors"
    WaveformClassifier.load().save(path)
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    harm(tensors)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path, metadata)
    with pytest.raises(CheckpointError):
        WaveformClassifier.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Files that are empty, cut, missing or of another kind are refused."""
    for content in (b"", b"\0" * 100, WAVEFORM_WEIGHTS.read_bytes()[:-7]):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError):
            WaveformClassifier.load(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError):
        WaveformClassifier.load(tmp_path / "missing.safetensors")
    save_file({"mean": np.zeros(3, np.float32)}, tmp_path / "x.safetensors", {"ecg-agent": '{"format": 1}'})
    with pytest.raises(CheckpointError, match="other windows"):
        WaveformClassifier.load(tmp_path / "x.safetensors")
