"""agent.analysis.lead_input: what holes, pacemaker pulses and the names of leads come to in the monitor."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import all_found
from numpy.typing import NDArray
from support.synthetic import make_ecg, make_pulses, stream_chunks

from agent.analysis.beat_classifier import BeatClassifier
from agent.analysis.lead_input import BridgedHole, LeadInput, LeadStep, LeadSummary, SampleBlock
from agent.core.config import Config
from agent.core.events import GapClosed, PacingPulses, SamplesBridged
from agent.core.messages import Alarm, Beat, Chunk, End, Gap, Lead
from agent.pipeline.pipeline import Pipeline
from model.errors import StreamError
from model.records.resample import FS

NewWard = Callable[[], Pipeline]
RATES = [125.0, 130.0, 250.0, 360.0, 500.0, 512.0]
R_PEAKS_S = [1.0 + 0.8 * i for i in range(24)]
"""75 beats a minute for 20 s."""


@pytest.fixture
def new_ward(settings: Config, classifier: BeatClassifier) -> NewWard:
    """Return a function that makes wards; the streams of these tests have one lead each."""
    return lambda: Pipeline(settings, classifier)


def with_holes(ecg: NDArray[np.float64], fs: float, samples: int = 1) -> NDArray[np.float64]:
    """Return a signal with a hole of some samples each second."""
    holed = ecg.copy()
    for second in range(int(len(ecg) / fs)):
        start = round((second + 0.47) * fs)
        holed[start : start + samples] = np.nan
    return holed


def steps_of(chunks: Sequence[Chunk]) -> list[LeadStep]:
    """Return all that a stream becomes."""
    lead = LeadInput(chunks[0], "auto")
    return [step for chunk in chunks for step in lead.push(chunk)] + lead.flush()


def found(ward: Pipeline, chunks: Sequence[Chunk]) -> list[object]:
    """Return all results of a stream to its end."""
    end = End("1", "run", chunks[-1].first + len(chunks[-1].counts), chunks[-1].fs)
    messages: list[Chunk | End] = [*chunks, end]
    return [item for message in messages for item in ward.push([message])]


@pytest.mark.parametrize("fs", RATES)
def test_one_missing_sample_a_second_costs_no_beat(fs: float, new_ward: NewWard) -> None:
    """One sample a second without a value hides no beat, and is told as missing, but is neither gap nor lead off."""
    ecg = make_ecg(fs, 20, R_PEAKS_S)
    whole = [item for item in found(new_ward(), stream_chunks(ecg, fs, [round(0.08 * fs)])) if isinstance(item, Beat)]
    ward = new_ward()
    results = found(ward, stream_chunks(with_holes(ecg, fs), fs, [round(0.08 * fs)]))
    beats = [item for item in results if isinstance(item, Beat)]
    assert len(beats) == len(whole) >= 22
    assert max(abs(a.sample - b.sample) for a, b in zip(beats, whole, strict=True)) <= 1
    bridged = [item for item in results if isinstance(item, SamplesBridged)]
    assert [(event.count, event.holes) for event in bridged] == [(10, 10)] * 2
    assert sum(event.seconds for event in bridged) == pytest.approx(20 / fs)
    assert not [item for item in results if isinstance(item, GapClosed)]
    assert not [item for item in results if isinstance(item, Alarm) and item.condition in ("lead off", "gaps")]
    assert ward.beds["1"].missing <= 20


def test_bridged_samples_are_not_shown_as_measured(new_ward: NewWard) -> None:
    """The picture of the signal has no values where they were bridged."""
    ward = new_ward()
    ecg = with_holes(make_ecg(125, 20, R_PEAKS_S), 125, 5)
    found(ward, stream_chunks(ecg, 125, [25]))
    np.testing.assert_array_equal(np.isnan(ward.samples.ring.last(0, len(ecg))), np.isnan(ecg))


@pytest.mark.parametrize("fs", RATES)
def test_longer_holes_are_gaps(fs: float, new_ward: NewWard) -> None:
    """A hole of more than 40 ms ends the stretch, as it did."""
    ecg = with_holes(make_ecg(fs, 20, R_PEAKS_S), fs, int(0.04 * fs) + 1)
    results = found(new_ward(), stream_chunks(ecg, fs, [round(0.08 * fs)]))
    assert len([item for item in results if isinstance(item, GapClosed)]) == 20
    assert not [item for item in results if isinstance(item, SamplesBridged)]


@pytest.mark.parametrize("fs", RATES)
def test_the_cuts_of_a_stream_change_nothing(fs: float, new_ward: NewWard) -> None:
    """Holes and pulses at the edges of chunks are mended as within them: samples and results are the same, in order."""
    random = np.random.default_rng(1)
    ecg = make_ecg(fs, 12, R_PEAKS_S) + make_pulses(fs, 12, [at + 0.3 for at in R_PEAKS_S], 300.0, 1.0)
    for start in random.integers(0, len(ecg), 18):
        ecg[start : start + random.integers(1, round(0.07 * fs))] = np.nan
    wanted = None
    for sizes in ([round(fs * 12)], [*[1] * 97, 500], [20], [3, 500, 17]):
        chunks = stream_chunks(ecg, fs, sizes)
        steps = steps_of(chunks)
        samples = np.full(12 * FS, np.nan, np.float32)
        for step in steps:
            if isinstance(step, SampleBlock):
                samples[step.first : step.first + len(step.x)] = step.x
        holes = {step for step in steps if isinstance(step, BridgedHole)}
        summaries = [step for step in steps if isinstance(step, LeadSummary)]
        results = [item for item in found(new_ward(), chunks) if not isinstance(item, Alarm)]
        if wanted is None:
            wanted = samples, holes, summaries, results
            assert holes
            assert sum(isinstance(event, PacingPulses) for step in summaries for event in step.events) >= 2
        np.testing.assert_array_equal(samples, wanted[0])
        assert (holes, summaries) == wanted[1:3]
        assert [str(item) for item in results] == [str(item) for item in wanted[3]]


def test_what_waits_comes_before_a_gap_of_the_link() -> None:
    """A gap in the middle of a hole, or of a pulse, ends the stretch; what was known of it stays."""
    ecg = make_ecg(250, 4, R_PEAKS_S)
    ecg[498:500] = np.nan
    (chunk,) = stream_chunks(ecg[:500], 250, [500])
    lead = LeadInput(chunk, "auto")
    steps = [*lead.push(chunk), *lead.gap(Gap("1", "run", 500, 50, 250.0, "never arrived"))]
    blocks = [step for step in steps if isinstance(step, SampleBlock)]
    assert sum(len(block.x) for block in blocks) == 249
    assert [(step.first, step.count) for step in steps if isinstance(step, Gap)] == [(249, 1), (250, 25)]


@pytest.mark.parametrize("fs", [250.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize(("mv", "ms"), [(2.0, 2.0), (-5.0, 1.0), (8.0, 2.0), (700.0, 0.1), (-700.0, 2.0)])
def test_pulses_without_capture_are_no_beats(fs: float, mv: float, ms: float, new_ward: NewWard) -> None:
    """Pacemaker pulses that pace nothing leave the escape rhythm alone, at each rate that shows them."""
    escapes = [2.0 + 1.875 * i for i in range(10)]
    ecg = make_ecg(fs, 20.5, escapes) + make_pulses(fs, 20.5, [0.9 + 0.857 * i for i in range(22)], mv, ms)
    results = all_found(new_ward(), stream_chunks(ecg, fs, [round(0.08 * fs)]))
    beats_s = [item.sample / FS for item in results if isinstance(item, Beat)]
    np.testing.assert_allclose(beats_s, escapes, atol=0.03)
    assert sum(item.count for item in results if isinstance(item, PacingPulses)) >= 15


def test_a_paced_beat_stays_a_beat(new_ward: NewWard) -> None:
    """Two pulses before each beat, for atrium and ventricle, add no beat and take none."""
    ecg = make_ecg(500, 20, R_PEAKS_S)
    pulses = [at - early for at in R_PEAKS_S for early in (0.19, 0.045)]
    for mv in (3.0, -20.0, 500.0):
        paced = ecg + make_pulses(500, 20, pulses, mv, 0.5)
        samples = [
            [item.sample for item in all_found(new_ward(), stream_chunks(x, 500, [40])) if isinstance(item, Beat)]
            for x in (paced, ecg)
        ]
        assert len(samples[0]) == len(samples[1])
        assert np.abs(np.subtract(samples[0], samples[1])).max() <= 1


def test_a_lead_that_is_no_ecg_is_not_chosen() -> None:
    """Without a wish the lead named as an ECG is analysed; a stream without one is refused with what to do."""
    (chunk,) = stream_chunks(np.zeros(10), 125.0, [10])
    leads = tuple(Lead(name, unit, 1000.0, 0.0, -1000, 1000) for name, unit in (("RESP", "mV"), ("II", "mmHg")))
    ecg = Lead("ECG", "mV", 1000.0, 0.0, -1000, 1000)
    counts = np.zeros((10, 3), np.int32)
    assert LeadInput(replace(chunk, leads=(*leads, ecg), counts=counts), "auto").lead.name == "ECG"
    assert LeadInput(replace(chunk, leads=(*leads, ecg), counts=counts), "RESP").lead.name == "RESP"
    with pytest.raises(StreamError, match=r"no lead is an ECG by its name \(RESP, SpO2\): choose one \(--lead\)"):
        LeadInput(replace(chunk, leads=(leads[0], replace(ecg, name="SpO2")), counts=counts[:, :2]), "auto")
    with pytest.raises(StreamError, match="lead II is in mmHg, not mV"):
        LeadInput(replace(chunk, leads=leads, counts=counts[:, :2]), "auto")
