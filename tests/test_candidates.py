from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from conftest import all_found, chunks

from agent.analysis.beat_cutter import BeatCandidate
from agent.core.config import Config, load_config, override_config
from agent.core.events import Event
from agent.core.messages import Beat, End, FloatArray
from agent.pipeline.pipeline import Pipeline
from agent.training.candidates import MATCH_WINDOW, UNSCORED_LABEL, build_candidates, label_candidates
from model.beats.cluster_smoothing import NO_BEAT
from model.beats.templates import INPUTS
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.training.augmented_streams import UNCHANGED_VARIANT, AugmentedStream, StreamVariant, build_augmented_stream

N, S, V, F = range(4)
NOISY = StreamVariant("noisy", "first", noise_db=(3, 3), share=1.0)


SIGNAL = load_config(None, {}).signal


def part(name: str, seconds: float, kind: StreamVariant = UNCHANGED_VARIANT) -> AugmentedStream:
    """The beginning of a view of a record."""
    whole = build_augmented_stream(name, kind, 0)
    count = round(seconds * FS)
    inside = int(np.searchsorted(whole.beats, count))
    return replace(whole, x=whole.x[:count], beats=whole.beats[:inside], labels=whole.labels[:inside])


def labels(
    beats: Sequence[tuple[float, str]], samples: Sequence[int], flutter: tuple[tuple[float, float], ...] = ()
) -> list[int]:
    """What `label` says of candidates at `samples`."""
    times = np.array([time for time, _ in beats], float)
    made = AugmentedStream("made", np.zeros(9999, np.float32), times, tuple(one for _, one in beats), flutter)
    said: list[int] = label_candidates(
        made, [BeatCandidate(0, sample, 0, sample, None, sample) for sample in samples]
    ).tolist()
    return said


@pytest.mark.parametrize(
    ("beats", "samples", "expected"),
    [
        ([(100, "N"), (200, "V")], [103, 196], [N, V]),
        ([(100, "V")], [90, 104], [NO_BEAT, V]),
        ([(100, "V")], [97, 104], [V, NO_BEAT]),
        ([(100, "S")], [98, 100, 102], [NO_BEAT, S, NO_BEAT]),
        ([(100, "N"), (110, "V")], [104], [N]),
        ([(100, "N"), (110, "V")], [106], [V]),
        ([(100, "N"), (110, "V")], [107, 112], [N, V]),
        ([(100, "N"), (110, "V")], [98, 101], [V, N]),
        ([(100, "S"), (130, "F")], [115], [S]),
        ([(100, "F")], [81, 120], [NO_BEAT, NO_BEAT]),
        ([(100, "F")], [82], [F]),
        ([(100.25, "F")], [119], [F]),
        ([], [50], [NO_BEAT]),
        ([(100, "N")], [], []),
    ],
)
def test_nearest_first_and_one_to_one(beats: list[tuple[float, str]], samples: list[int], expected: list[int]) -> None:
    """The nearest pair is made first; no beat is two candidates, no candidate two beats, within 150 ms either way."""
    assert labels(beats, samples) == expected


def test_flutter_is_not_scored() -> None:
    """In flutter, and up to a window around it, nothing counts, whether it is near a beat or not."""
    samples = [180, 182, 200, 300, 400, 418, 420]
    said = labels([(180, "V"), (200, "N"), (400, "V"), (420, "N")], samples, ((200, 400),))
    assert said == [V, *[UNSCORED_LABEL] * 5, N]
    assert round(MATCH_WINDOW) == 19


def test_what_a_record_holds() -> None:
    """In five minutes of record 208 nearly every beat is found, and has the class of the reference beat it is near."""
    reference = part("208", 300)
    seen = build_candidates([reference], SIGNAL)
    assert seen.inputs.shape == (len(seen.cuts), INPUTS)
    assert seen.inputs.dtype == np.float16
    assert np.isfinite(seen.inputs).all()
    assert set(seen.records.tolist()) == {"208"}
    beats = seen.labels != NO_BEAT
    assert 0.98 * len(reference.beats) < beats.sum() <= len(reference.beats)
    for one, cut in zip(seen.labels[beats], np.array(seen.cuts, object)[beats], strict=True):
        nearest = np.abs(reference.beats - cut.sample).argmin()
        assert reference.labels[nearest] == CLASSES[one]
    assert {"N", "V", "F"} <= {CLASSES[one] for one in seen.labels[beats]}


class Listener:
    """A net that keeps what it sees, and takes all for normal beats."""

    in_context = True

    def __init__(self) -> None:
        self.seen: list[FloatArray] = []

    def __call__(self, inputs: FloatArray) -> FloatArray:
        self.seen.append(inputs)
        return np.tile(np.array([-0.1, -9, -9, -9, -9, -9], np.float32), (len(inputs), 1))


@pytest.mark.parametrize("size", [30, 997])
@pytest.mark.slow
def test_training_sees_what_the_monitor_sees(settings: Config, size: int) -> None:
    """Inputs, R peaks and times of decision are those of the pipeline for the same noisy stream, whatever its chunks.

    Candidates that the detector does not take for beats are among them.
    """
    net, reference = Listener(), part("208", 120, NOISY)
    ward = Pipeline(override_config(settings, "monitor", lead="MLII"), net)
    counts = np.rint(1000 * reference.x).astype(np.int32)
    told: list[Beat | Event] = all_found(ward, [*chunks(counts, [size]), End("1", "run", len(counts), FS)])
    beats, seen = [one for one in told if isinstance(one, Beat)], build_candidates([reference], SIGNAL)
    assert len(beats) > 200
    assert any(cut.score <= 0 for cut in seen.cuts)
    assert [(one.sample, one.class_known, one.r_peak_known) for one in beats] == [
        (cut.sample, cut.class_known, cut.r_peak_known) for cut in seen.cuts
    ]
    assert np.array_equal(np.concatenate(net.seen).astype(np.float16), seen.inputs)


def test_streams_do_not_disturb_each_other() -> None:
    """Streams of several lengths side by side give what each gives alone, one after the other."""
    streams = [part("208", 60), part("201", 30.5), part("101", 45)]
    together, alone = build_candidates(streams, SIGNAL), [build_candidates([one], SIGNAL) for one in streams]
    assert np.array_equal(together.inputs, np.concatenate([one.inputs for one in alone]))
    assert np.array_equal(together.labels, np.concatenate([one.labels for one in alone]))
    assert np.array_equal(together.records, np.concatenate([one.records for one in alone]))
    cuts = [msgspec.structs.replace(cut, row=row) for row, one in enumerate(alone) for cut in one.cuts]
    assert list(together.cuts) == cuts
