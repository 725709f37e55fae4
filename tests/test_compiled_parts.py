"""The parts in C beside their twins in Python: the same beats, and the same net but for the last digits."""

import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from agent.analysis import beat_classifier, compiled_qrs
from agent.analysis.beat_classifier import BeatClassifier, load_beat_classifier
from agent.core.config import Config
from agent.core.messages import Beat, Result
from agent.pipeline.pipeline import Pipeline
from benchmarks.ward import packets, streams
from model.beats import templates
from model.beats.templates import INPUTS, QRS, QRS_BEFORE, SLACK, WAVE, WAVE_BEFORE, BeatTemplates, BeatWindows
from model.compiled import library, sources
from model.waveform import window_features
from model.waveform.window_features import WINDOW, measure_windows, open_measuring

built = pytest.mark.skipif(library.load_library() is None, reason="the parts in C were not built: no C compiler (cc)")
ROWS = 8


def random_windows(random: np.random.Generator, rows: Any) -> BeatWindows:
    """Beats of a few shapes at these rows, some of them noisy, some after unknown or long RR intervals."""
    n, t = len(rows), np.arange(WAVE + 2 * SLACK)
    width, height = np.array([[2, 3, 6, 4, 8], [1, -0.8, 1.5, 0.6, 2]])[:, random.integers(0, 5, n), None]
    place = WAVE_BEFORE + SLACK + random.integers(-2, 3, (n, 1))
    noise = random.normal(0, 0.02, (n, len(t))) * np.where(random.random((n, 1)) < 0.1, 20, 1)
    waves = height * np.exp(-(((t - place) / width) ** 2)) + 0.2 * np.exp(-(((t - place - 35) / 10) ** 2)) + noise
    first = WAVE_BEFORE - QRS_BEFORE
    following = np.where(random.random((n, 1)) < 0.9, waves[:, first : first + QRS + 2 * SLACK], 0)
    rr = random.uniform(0.3, 1.4, (n, 3))
    rr[random.random((n, 3)) < 0.05] = np.nan
    rr[random.random((n, 3)) < 0.02] = 3.5
    return BeatWindows(
        rows=np.array(rows, np.intp),
        waves=waves.astype(np.float32),
        following=following.astype(np.float32),
        rr=rr.astype(np.float32),
        next=random.uniform(0.2, 1.2, n).astype(np.float32),
        no_next=random.random(n) < 0.1,
        score=random.normal(3, 3, n).astype(np.float32),
    )


@built
def test_beats_are_described_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs, clusters and noise of all beats, many of one row at once, of rows that are added and runs that begin."""
    compiled = BeatTemplates(2)
    compiled.grow(ROWS)
    monkeypatch.setattr(templates, "load_library", lambda: None)
    plain, random = BeatTemplates(ROWS), np.random.default_rng(0)
    for step in range(400):
        windows = random_windows(random, random.integers(0, ROWS, random.integers(1, 3 * ROWS)))
        for ours, theirs in zip(compiled.describe(windows), plain.describe(windows), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        if step % 100 == 99:
            compiled.start(step % ROWS)
            plain.start(step % ROWS)


@built
def test_what_does_not_fit_is_refused() -> None:
    """C would read beyond the arrays."""
    patients, windows = BeatTemplates(2), random_windows(np.random.default_rng(3), [0, 1])
    with pytest.raises(IndexError, match="beyond the 2"):
        patients.describe(replace(windows, rows=np.array([0, 2])))
    with pytest.raises(IndexError, match="beyond the 2"):
        patients.describe(replace(windows, rows=np.array([-1, 0])))
    with pytest.raises(ValueError, match="other widths"):
        patients.describe(replace(windows, rr=windows.rr[:, :2]))
    with pytest.raises(ValueError, match="instead of"):
        load_beat_classifier("live", "cpu", 1)(np.zeros((3, INPUTS - 1), np.float32))
    described = patients.describe(replace(windows, waves=windows.waves.astype(np.float64)))
    np.testing.assert_array_equal(described[0], BeatTemplates(2).describe(windows)[0])


@built
def test_the_net_gives_the_same_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a hundred-thousandth those of PyTorch, and for a beat the same whatever its batch."""
    compiled = load_beat_classifier("live", "cpu", 1)
    monkeypatch.setattr(beat_classifier, "load_library", lambda: None)
    by_torch = load_beat_classifier("live", "cpu", 1)
    beats = np.random.default_rng(1).uniform(-2, 2, (70, INPUTS)).astype(np.float32)
    said = compiled(beats)
    np.testing.assert_allclose(said, by_torch(beats), atol=1e-5)
    np.testing.assert_allclose(np.exp(said).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(np.concatenate([compiled(beats[i : i + 1]) for i in range(70)]), said)
    assert (compiled.device, compiled.weights, compiled.in_context) == ("CPU", by_torch.weights, True)
    assert compiled.class_trust == by_torch.class_trust


@built
def test_windows_have_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the last digits, of signals, noise and lines; for a window the same, whatever its batch."""
    random, measure = np.random.default_rng(2), open_measuring()
    monkeypatch.setattr(window_features, "load_library", lambda: None)
    assert open_measuring() is measure_windows is not measure
    signals = [sliding_window_view(signal, WINDOW)[:: WINDOW // 3] for signal in streams(8, 120)]
    noise = [random.normal(0, size, (50, WINDOW)) for size in (0, 1e-4, 0.01, 1)]
    waves = np.sin(np.arange(WINDOW) * random.uniform(0.05, 0.6, (50, 1))) * random.uniform(0.01, 5, (50, 1))
    steps = np.cumsum(random.normal(0, 0.05, (50, WINDOW)), axis=1)
    windows = np.concatenate([*signals, *noise, waves, steps]).astype(np.float32)
    ours, theirs = measure(windows), measure_windows(windows)
    for field in ("numbers", "height", "period"):
        np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), rtol=1e-3, atol=1e-4, err_msg=field)
    for first, count in ((0, 1), (3, 5), (7, 9), (100, 40)):
        np.testing.assert_array_equal(measure(windows[first : first + count]).numbers, ours.numbers[first:][:count])
    assert measure(windows[:0]).numbers.shape == (0, ours.numbers.shape[1])
    with pytest.raises(ValueError, match=r"windows \(2, 499\)"):
        measure(windows[:2, 1:])


def run_ward(classify: BeatClassifier, settings: Config) -> list[Result]:
    """All that two minutes of four beds bring."""
    ward = Pipeline(settings, classify)
    return [result for chunks in packets(streams(4, 120), 200) for result in ward.push(chunks)]


@built
def test_a_ward_without_them(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same beats, classes and alarms; probabilities to a ten-thousandth."""
    quick = run_ward(load_beat_classifier("live", "cpu", 1), settings)
    for module in (beat_classifier, templates, compiled_qrs):
        monkeypatch.setattr(module, "load_library", lambda: None)
    slow = run_ward(load_beat_classifier("live", "cpu", 1), settings)
    assert len(quick) == len(slow) > 400
    for ours, theirs in zip(quick, slow, strict=True):
        if isinstance(ours, Beat) and isinstance(theirs, Beat):
            assert (ours.bed, ours.sample, ours.label) == (theirs.bed, theirs.sample, theirs.label)
            np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
        else:
            assert repr(ours) == repr(theirs)  # a strip holds an array


@built
def test_torch_is_not_imported() -> None:
    """A CPU needs none of its 150 MB."""
    program = (
        "import sys; from agent.analysis.beat_classifier import load_beat_classifier as load; "
        "load('live', 'cpu', 1); print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout == "False False\n"


def test_a_library_of_other_sources_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not compiled from the sources that are there may take arrays for something else."""
    monkeypatch.setattr(library, "digest_sources", lambda: "0" * 64)
    assert library.load_library.__wrapped__() is None
    monkeypatch.setattr(library, "LIBRARY", Path("nowhere.so"))
    assert library.load_library.__wrapped__() is None


def test_without_a_compiler_it_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no library, not even an old one, and the build says why."""
    pytest.importorskip("hatchling")
    root = Path(__file__).parent.parent
    compile_library = runpy.run_path(str(root / "hatch_build.py"))["compile_library"]
    made = tmp_path / sources.LIBRARY.name
    there = sorted((*sources.CONTRACTED, *sources.HEADERS))
    for name in there:
        (tmp_path / name).write_text((sources.FOLDER / name).read_text())
    for compiler in ("no-such-compiler", "false"):
        made.touch()
        monkeypatch.setenv("CC", compiler)
        assert compile_library(made, sources.CONTRACTED, "digest") != ""
        assert sorted(path.name for path in tmp_path.iterdir()) == there
    monkeypatch.delenv("CC")
    if shutil.which("cc"):  # two are enough here: to compile all of them takes a minute, and was done for these tests
        two = {name: sources.CONTRACTED[name] for name in ("beat_convolution.c", "source_digest.c")}
        assert compile_library(made, two, "digest") == ""
        assert made.is_file()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted((*there, made.name))
