from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import all_found, beats_and_events, chunks, record_counts
from numpy.typing import NDArray

from agent.analysis.beat_classifier import BeatClassifier
from agent.analysis.beat_context import LATEST_DECISION, LEAST_SCORE, OWN_SAMPLES, BeatContextBuilder
from agent.analysis.beat_cutter import Candidates
from agent.analysis.qrs_detector import RPeak
from agent.analysis.sample_ring import RING_SAMPLES, SampleRing
from agent.analysis.stage import RowIndexArray
from agent.analysis.torch_classifier import build_torch_classifier
from agent.core.config import Config, override_config
from agent.core.events import Event
from agent.core.messages import MISSING, Beat, Chunk, End, FloatArray, Gap, Result
from agent.pipeline.pipeline import Pipeline
from agent.pipeline.sample_stages import Findings
from model.beats.templates import (
    CHANNELS,
    FEATURES,
    INPUTS,
    SLACK,
    WAVE,
    WAVE_BEFORE,
    WINDOW_FIELDS,
    BeatTemplates,
    BeatWindows,
)
from model.nets import context_net
from model.nets.checkpoint_card import CONTEXT_INPUT, ModelCard
from model.nets.net_size import CONTEXT_SIZE
from model.records.resample import FS

NewWard = Callable[[], Pipeline]
Counts = NDArray[np.int32]
ROW = np.zeros(1, np.intp)
NO_NEXT = CHANNELS * WAVE + FEATURES.index("no_next")


class AllNormal:
    """Says N of every candidate, and keeps what it was shown."""

    in_context = True

    def __init__(self) -> None:
        self.seen: list[FloatArray] = []

    def __call__(self, inputs: FloatArray) -> FloatArray:
        self.seen.append(inputs)
        return np.tile(np.array([0, -9, -9, -9, -9, -9], np.float32), (len(inputs), 1))


@pytest.fixture(scope="module")
def in_context() -> BeatClassifier:
    """A net with random weights, loud enough to say of some candidates this and of some that."""
    torch.set_num_threads(1)
    torch.manual_seed(2)
    net = context_net.build_context_net(CONTEXT_SIZE, torch.device("cpu")).eval()
    with torch.no_grad():
        net.output.weight *= 80
        net.alone.weight *= 80
    card = ModelCard("random", net.size, {}, {}, input=CONTEXT_INPUT, kind="context")
    return build_torch_classifier(net, card, torch.device("cpu"))


@pytest.fixture
def ward(settings: Config, in_context: BeatClassifier) -> NewWard:
    return lambda: Pipeline(settings, in_context)


@pytest.fixture
def normal(settings: Config) -> tuple[Pipeline, AllNormal]:
    """A ward that analyses one lead, whose net calls all normal, and that net."""
    net = AllNormal()
    return Pipeline(override_config(settings, "monitor", lead="MLII"), net), net


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[BeatWindows]:
    """All that a patient is shown, one entry a beat."""
    seen: list[BeatWindows] = []
    describe = BeatTemplates.describe

    def watched(self: BeatTemplates, beats: BeatWindows) -> object:
        columns = [getattr(beats, name) for name in WINDOW_FIELDS]
        seen.extend(BeatWindows(*(column[i : i + 1] for column in columns)) for i in range(len(beats.rows)))
        return describe(self, beats)

    monkeypatch.setattr(BeatTemplates, "describe", watched)
    return seen


def beats_of(found: Iterable[Result]) -> list[Beat]:
    return [item for item in found if isinstance(item, Beat)]


def troubled(sizes: Sequence[int], bed: str = "1", name: str = "208") -> list[Chunk | Gap | End]:
    """30 s with a flat line, samples without a value, a gap, a faint stretch, and an end."""
    counts = record_counts(name, 30).copy()
    counts[700:1000] = counts[700]
    counts[1500:1517] = MISSING
    counts[2900:3300] //= 4
    before = chunks(counts[:2000], sizes, bed=bed)
    after = chunks(counts[2100:], sizes, bed=bed, first=2100)
    return [*before, Gap(bed, "run", 2000, 100, FS, "never arrived"), *after, End(bed, "run", len(counts), FS)]


@pytest.mark.slow
def test_chunks_do_not_matter(ward: NewWard) -> None:
    """The same stream in other chunks gives the same beats and events, to the last bit of every probability."""
    whole = all_found(ward(), troubled([1000]))
    assert len({beat.label for beat in beats_of(whole)}) > 1
    assert {item.kind for item in whole if isinstance(item, Event)} == {"start", "signal", "gap", "end"}
    for sizes in ([*[1] * 40, 60], [5], [17], [7, 1, 400, 33]):
        assert all_found(ward(), troubled(sizes)) == whole, sizes


@pytest.mark.slow
def test_other_beds_do_not_matter(ward: NewWard) -> None:
    """A bed tells among 20 others, where a beat may be held, what it tells alone; each in its own order."""
    names = [str(i) for i in range(21)]
    records = ("208", "100", "119", "203")
    streams = [troubled([(23, 29, 61)[i % 3]], name, records[i % 4]) for i, name in enumerate(names)]
    together: dict[str, list[Beat | Event]] = {name: [] for name in names}
    many = ward()
    for tick in range(max(map(len, streams))):
        for found in beats_and_events(many.push(stream[tick] for stream in streams if tick < len(stream))):
            together[found.bed].append(found)
    for name, stream in list(zip(names, streams, strict=True))[:4]:
        assert together[name] == all_found(ward(), stream), name


def test_a_held_beat_is_told_soon(settings: Config) -> None:
    """Among many beds a beat is told in order and at most 96 ms and a chunk after the sample that decides it."""
    many, late = Pipeline(settings, AllNormal()), []
    streams = [list(chunks(record_counts("208", 12), [1])), *([chunk] for chunk in others(20))]
    many.push(stream[0] for stream in streams[1:])
    for chunk in streams[0]:
        late += [chunk.first - beat.class_known for beat in beats_of(many.push([chunk]))]
    assert len(late) > 10
    assert max(late) == 12


def others(count: int) -> Iterator[Chunk]:
    for i in range(count):
        yield from chunks(record_counts("100", 1), [10**6], bed=f"other {i}")


def test_how_long_a_beat_waits(settings: Config) -> None:
    """No beat is decided before its wave is there, nor later than 1.5 s after its R peak or than it was found.

    Alone, it is told with the very sample that decides it.
    """
    one, found = Pipeline(settings, AllNormal()), []
    for chunk in chunks(record_counts("222", 20), [1]):
        for beat in beats_of(one.push([chunk])):
            assert beat.class_known == chunk.first
            assert (
                max(beat.sample + OWN_SAMPLES, beat.r_peak_known)
                <= beat.class_known
                <= max(beat.sample + LATEST_DECISION, beat.r_peak_known)
            )
            found.append(beat)
    samples = [beat.sample for beat in found]
    assert len(found) > 20
    assert samples == sorted(set(samples))


def test_no_interval_reaches_over_a_gap_or_a_flat_line(
    normal: tuple[Pipeline, AllNormal], described: list[BeatWindows]
) -> None:
    """Behind them no RR interval is known and a beat before them has no next; so it is told, too."""
    one, _ = normal
    found = beats_of(all_found(one, troubled([5])))
    shown = {beat.sample: beats for beat, beats in zip(found, described, strict=True)}
    samples = np.array(list(shown))
    for first, stop in ((700, 999), (1500, 1516), (2000, 2099)):
        before, after = samples[samples < first][-1], samples[samples > stop][:2]
        last, fresh, second = (shown[sample] for sample in (before, *after))
        assert last.no_next[0]
        assert np.isnan(fresh.rr).all()
        assert np.isnan(second.rr[0]).tolist() == [False, True, True]
        assert next(beat for beat in found if beat.sample == after[0]).rr_s is None
    for sample, beats in shown.items():
        known = beats.rr[0][~np.isnan(beats.rr[0])]
        reach = np.array([sample - FS * known.sum(), sample + FS * beats.next[0] * (not beats.no_next[0])])
        for edge in (999, 1516, 2099):
            assert not reach[0] < edge < reach[1], sample


def test_beats_before_a_gap_are_told_before_it(normal: tuple[Pipeline, AllNormal]) -> None:
    """A gap ends all waiting: what stands before it is decided by its last sample, without a look behind it."""
    one, _ = normal
    found = all_found(one, troubled([5]))
    gaps = [i for i, item in enumerate(found) if isinstance(item, Event) and item.kind == "gap"]
    for at, (first, stop) in zip(gaps, ((1500, 1517), (2000, 2100)), strict=True):
        assert all(beat.sample < first and beat.class_known < first for beat in beats_of(found[:at]))
        assert all(beat.sample >= stop for beat in beats_of(found[at:]))


@pytest.mark.parametrize("beds", [1, 21])
def test_the_end_flushes_all(settings: Config, beds: int) -> None:
    """A run that ends right after an R peak tells that beat, also where beats are held, and nothing waits any more."""
    counts = record_counts("100", 20)
    r_peak = beats_of(all_found(Pipeline(settings, AllNormal()), chunks(counts, [5])))[-3].sample
    one = Pipeline(settings, AllNormal())
    one.push(others(beds - 1))
    stream: list[Chunk | Gap | End] = [*chunks(counts[: r_peak + 10], [5]), End("1", "run", r_peak + 10, FS)]
    found = all_found(one, stream)
    last = beats_of(found)[-1]
    assert (last.sample, last.class_known) == (r_peak, r_peak + 9)
    assert isinstance(found[-1], Event)
    assert found[-1].kind == "end"
    assert beats_of(all_found(one, stream[-1:])) == []


def test_a_new_run_forgets_the_patient(ward: NewWard) -> None:
    """A new run is analysed as by a new ward, whatever came before; a gap alone forgets nothing."""
    one, counts = ward(), record_counts("208", 20)
    all_found(one, chunks(record_counts("119", 20), [5], run="old"))
    again = all_found(one, chunks(counts, [5], run="new"))
    start = next(i for i, item in enumerate(again) if isinstance(item, Event) and item.kind == "start")
    assert again[start:] == all_found(ward(), chunks(counts, [5], run="new"))


def test_a_gap_does_not_forget_the_patient(normal: tuple[Pipeline, AllNormal]) -> None:
    """Behind a gap the usual beat is still known."""
    one, net = normal
    all_found(one, [*chunks(record_counts("100", 20), [5]), Gap("1", "run", 2500, 200, FS, "never arrived")])
    net.seen.clear()
    all_found(one, chunks(record_counts("100", 10), [5], first=2700))
    first = np.concatenate(net.seen)[0]
    assert first[CHANNELS * WAVE + FEATURES.index("like_dominant")] > 0.9
    assert first[CHANNELS * WAVE + FEATURES.index("seen")] > 0.5


def test_inputs_are_finite(settings: Config, ward: NewWard) -> None:
    """Beats at both edges of the run, at gaps and flat lines give inputs without NaN; probabilities sum to 1."""
    net, random = AllNormal(), np.random.default_rng(0)
    one = Pipeline(settings, net)
    counts = record_counts("208", 40, 100.0).copy()
    for first in random.integers(0, len(counts), 20):
        counts[first : first + random.integers(1, 20)] = MISSING
    counts[3000:3400] = 5115
    r_peak = beats_of(all_found(Pipeline(settings, AllNormal()), chunks(counts, [25])))[2].sample
    all_found(one, [*chunks(counts[r_peak - 3 :], [25]), End("1", "run", len(counts) - r_peak + 3, FS)])
    seen = np.concatenate(net.seen)
    assert len(seen) > 40
    assert np.isfinite(seen).all()
    for beat in beats_of(all_found(ward(), troubled([5]))):
        assert sum(beat.probabilities) == pytest.approx(1)


def test_what_the_net_calls_no_beat_is_not_told(
    normal: tuple[Pipeline, AllNormal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates that the net takes for none are not told, and RR intervals reach from one told beat to the next."""
    one, net = normal
    monkeypatch.setattr(one, "_classify", lambda inputs: net(inputs)[:, ::-1] if len(net.seen) % 3 else net(inputs))
    found = beats_of(all_found(one, chunks(record_counts("100", 30), [5])))
    shown = sum(map(len, net.seen))
    assert shown / 4 < len(found) < shown / 2
    for beat, following in pairwise(found):
        assert following.rr_s == (following.sample - beat.sample) / FS


def after_peaks(contexts: BeatContextBuilder, *peaks: tuple[int, int, float]) -> Candidates:
    """What is ready after R peaks (sample, decided, score) of row 0."""
    return contexts.push(np.array([0]), [RPeak(0, *peak) for peak in peaks])


def new_contexts(samples: int) -> tuple[SampleRing, BeatContextBuilder]:
    """A history of so many samples that count up in millivolts, and contexts on it."""
    history = SampleRing()
    history.push(ROW, np.arange(samples, dtype=np.float32)[None])
    return history, BeatContextBuilder(history)


def test_what_a_beat_is_shown(described: list[BeatWindows]) -> None:
    """The wave is that around the R peak; the next R peak and intervals are of beats, not of doubtful candidates."""
    _, contexts = new_contexts(1000)
    cuts, inputs = after_peaks(contexts, (200, 220, 5), (300, 320, 4), (340, 360, -1), (400, 420, 3))
    assert [cut.sample for cut in cuts] == [200, 300, 340, 400]
    assert [cut.cluster for cut in cuts][2] == -1
    assert inputs.shape == (4, INPUTS)
    for beats, sample in zip(described, (200, 300, 340, 400), strict=True):
        np.testing.assert_array_equal(beats.waves[0], np.arange(WAVE + 2 * SLACK) + sample - WAVE_BEFORE - SLACK)
    np.testing.assert_allclose([beats.next[0] for beats in described], [0.8, 0.8, 0.48, 1.2])
    assert [bool(beats.no_next[0]) for beats in described] == [False, False, False, True]
    np.testing.assert_allclose([beats.rr[0, 0] for beats in described], [np.nan, 0.8, 0.32, 0.8], rtol=1e-6)
    np.testing.assert_allclose(described[3].rr[0], [0.8, 0.8, np.nan], rtol=1e-6)
    assert inputs[:, NO_NEXT].tolist() == [0, 0, 0, 1]


def test_what_is_not_there_is_filled() -> None:
    """Samples before a run, behind its end and in a gap are as the middle of the others, never stale ones."""
    history = SampleRing()
    contexts = BeatContextBuilder(history)
    history.push(ROW, np.full((1, 100), 5, np.float32))
    np.testing.assert_array_equal(contexts._windows(ROW, np.array([-20]), 100), np.full((1, 100), 5))
    history.push(ROW, np.full((1, RING_SAMPLES), 9, np.float32))
    history.push(ROW, np.full((1, 100), 5, np.float32))
    head = int(history.head[0])
    np.testing.assert_array_equal(contexts._windows(ROW, np.array([head - 60]), 100), np.full((1, 100), 5))
    history.interrupt(0, Gap("1", "run", head, 3, 125.0, "lost"))
    history.push(ROW, np.full((1, 7), 4, np.float32))
    window = contexts._windows(ROW, np.array([head - 5]), 30)[0]
    np.testing.assert_array_equal(window, [5] * 5 + [4] * 25)


def test_a_candidate_comes_once() -> None:
    """A candidate that is reported again, or stands before an earlier one, is none."""
    _, contexts = new_contexts(1000)
    cuts, _ = after_peaks(contexts, (200, 220, -1), (200, 230, 5), (150, 230, 5), (300, 320, 5))
    assert [cut.sample for cut in cuts] == [200, 300]


def test_doubtful_candidates_reach_the_net(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """In noise candidates between LEAST and 0 are shown to the net, and none below."""
    one, scores = Pipeline(settings, AllNormal()), list[float]()
    push = one.samples.push

    def watched(rows: RowIndexArray, x: FloatArray) -> Findings:
        findings = push(rows, x)
        scores.extend(candidate.score for candidate in findings.candidates.beats)
        return findings

    monkeypatch.setattr(one.samples, "push", watched)
    noise = np.random.default_rng(0).normal(0, 200, 40 * FS).astype(np.int32)
    all_found(one, chunks(record_counts("208", 40) + noise, [250]))
    assert min(scores) > LEAST_SCORE
    assert sum(score <= 0 for score in scores) > 3


def test_nothing_before_a_gap_is_told_behind_it(ward: NewWard) -> None:
    """Small bumps that were no beats do not come back as beats after a gap, though levels are learnt anew there."""
    y = record_counts("100", 30).copy()
    y[1250:] //= 7
    pieces: list[Chunk | Gap | End] = [
        *chunks(y[:2180], (125,)),
        Gap("1", "run", 2180, 5, FS, "lost"),
        *chunks(y[2185:], (125,), first=2185),
    ]
    beats = [found for found in all_found(ward(), pieces) if isinstance(found, Beat)]
    behind = [beat for beat in beats if beat.sample >= 2185]
    assert behind
    assert behind[0].rr_s is None
    assert [beat.sample for beat in beats if beat.r_peak_known >= 2185] == [beat.sample for beat in behind]


def test_held_beats_come_before_what_follows_them(ward: NewWard) -> None:
    """Among many beds, too, a beat that was decided before the lead went off is told before that."""
    y = record_counts("100", 20).copy()
    y[304 - 245 : 304 + 155] = y[304 - 246]
    stream: list[Chunk | Gap | End] = [*chunks(y, (5,)), End("1", "run", len(y), FS)]
    alone = all_found(ward(), stream)
    many = ward()
    for bed in range(21):
        many.push(chunks(record_counts("100", 0.04), (5,), bed=f"other {bed}"))
    among = [found for found in all_found(many, stream) if found.bed == "1"]
    assert among == alone
