from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from conftest import all_found, beats_and_events, bed_view, chunks, record_counts
from support.synthetic import make_ecg, stream_chunks

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config, override_config
from agent.core.events import Event
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, FloatArray, Gap, Lead, Result, Strip
from agent.core.wording import event_text
from agent.pipeline.pipeline import Pipeline
from model.beats import frontend
from model.records import wfdb_records
from model.records.resample import FS

NewWard = Callable[[], Pipeline]
SINGLE = [*[1] * 40, 60]
"""Sizes of chunks: all that happens in a troubled stream meets samples that come one by one."""


def beats_of(found: Iterable[Result]) -> list[Beat]:
    return [item for item in found if isinstance(item, Beat)]


def events_of(found: list[Beat | Event]) -> list[Event]:
    return [item for item in found if isinstance(item, Event)]


def troubled_stream(sizes: list[int]) -> list[Chunk | Gap | End]:
    """Record 208 with a flat line, saturation, samples without a value, a gap, and an end."""
    counts = record_counts("208", 60).copy()
    counts[2000:2600] = counts[2000]
    counts[3000:3400] = 5115
    counts[4000:4017] = MISSING
    before = chunks(counts[:5000], sizes)
    after = chunks(counts[5300:], sizes, first=5300)
    return [*before, Gap("1", "run", 5000, 300, FS, "never arrived"), *after, End("1", "run", len(counts), FS)]


@pytest.mark.parametrize("sizes", [SINGLE, [5], [30], [7, 1, 400, 33], [3000]])
def test_beats_and_events_do_not_depend_on_the_chunks(new_ward: NewWard, sizes: list[int]) -> None:
    """The same stream in other chunks gives the same beats and events, to the last bit of every probability."""
    whole = all_found(new_ward(), troubled_stream([10**6]))
    assert len(beats_of(whole)) > 50
    assert {event.kind for event in events_of(whole)} == {"start", "signal", "gap", "end"}
    assert all_found(new_ward(), troubled_stream(sizes)) == whole


@pytest.mark.parametrize("lead", ["MLII", "auto"])
def test_large_blocks_change_nothing(settings: Config, classifier: BeatClassifier, lead: str) -> None:
    """Ten seconds at a time go through the stages to the same beats, events, alarms and strips, each in its order."""
    found: list[dict[type, list[str]]] = []
    for is_large in (False, True):
        ward = Pipeline(override_config(settings, "monitor", lead=lead), classifier)
        if is_large:
            ward.take_large_blocks()
        told: dict[type, list[str]] = defaultdict(list)
        for item in ward.push(troubled_stream([10**6])):
            wave = item.wave.tobytes() if isinstance(item, Strip) else b""
            told[type(item)].append(f"{item} {wave!r}")
        found.append(told)
    assert found[0] == found[1]
    assert {Beat, Alarm, Strip} < set(found[0])


def test_a_gap_at_the_end_of_monitoring_is_told(new_ward: NewWard) -> None:
    """A gap that no sample follows is an event all the same."""
    ward = new_ward()
    ward.push(
        [*chunks(record_counts("100", 10), [50]), Gap("1", "run", 1250, 75, FS, "not fetched again before the end")]
    )
    told = [event_text(event) for event in ward.finish() if isinstance(event, Event)]
    assert told == ["gap of 0.60 s: 75 samples not fetched again before the end"]


def test_beds_do_not_disturb_each_other(new_ward: NewWard) -> None:
    """Three beds with other signals and other chunks tell what each tells alone."""
    streams = {
        name: list(chunks(record_counts(name, 30, start), sizes, bed=name))
        for name, start, sizes in (("100", 0.0, [5]), ("208", 20.0, [7]), ("119", 40.0, [31]))
    }
    alone = {name: all_found(new_ward(), stream) for name, stream in streams.items()}
    together: dict[str, list[Beat | Event]] = {name: [] for name in streams}
    ward = new_ward()
    for tick in range(max(map(len, streams.values()))):
        for found in beats_and_events(ward.push(stream[tick] for stream in streams.values() if tick < len(stream))):
            together[found.bed].append(found)
    assert together == alone


def test_streamed_beats_equal_batch_beats(new_ward: NewWard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the net sees of a live beat is, bit for bit, what the training cut makes of the same R peaks."""
    seen: list[FloatArray] = []
    ward = new_ward()
    classify = ward._classify

    def watched(beats: FloatArray) -> FloatArray:
        seen.append(beats)
        return classify(beats)

    monkeypatch.setattr(ward, "_classify", watched)
    counts = record_counts("208", 60)
    found = beats_of(all_found(ward, [*chunks(counts, [5]), End("1", "run", len(counts), FS)]))
    r_peaks = np.array([beat.sample for beat in found], dtype=np.int64)
    batch = frontend.cut_beats((counts * 1e-3).astype(np.float32), r_peaks)
    np.testing.assert_array_equal(np.concatenate(seen), batch)


def test_a_beat_waits_for_its_cut_and_no_longer(new_ward: NewWard) -> None:
    """A beat is told with the very sample that decides it."""
    ward = new_ward()
    for chunk in chunks(record_counts("100", 15), [1]):
        for beat in beats_of(ward.push([chunk])):
            assert beat.class_known == chunk.first


def test_no_cut_and_no_interval_crosses_a_gap(new_ward: NewWard) -> None:
    """The first beat after a gap has no RR interval, and the beats before it do not look behind it."""
    beats = beats_of(all_found(new_ward(), troubled_stream([5])))
    before, after = [b for b in beats if b.sample < 5000], [b for b in beats if b.sample >= 5300]
    assert len(before) + len(after) == len(beats)
    assert before[-1].class_known < 5000
    assert after[0].rr_s is None
    assert after[1].rr_s is not None


def test_what_is_missing_is_counted_and_drawn_as_missing(new_ward: NewWard) -> None:
    """Gaps and samples without a value are counted, and the wave holds no value there."""
    ward = new_ward()
    all_found(ward, troubled_stream([5])[:-1])
    view = bed_view(ward, "1", 0.0)
    assert (view.gaps, view.missing) == (2, 317)
    index = view.head - len(view.wave) + np.arange(len(view.wave))
    missing = ((index >= 4000) & (index < 4017)) | ((index >= 5000) & (index < 5300))
    np.testing.assert_array_equal(np.isnan(view.wave), missing)


def test_a_gap_is_told_once_with_its_whole_length(new_ward: NewWard) -> None:
    """A gap that comes in pieces is one gap; while it lasts the bed has no signal."""
    ward = new_ward()
    counts = record_counts("100", 20).copy()
    counts[1000:1250] = MISSING
    stream = list(chunks(counts, [5]))
    found = all_found(ward, stream[:225])
    assert bed_view(ward, "1", 0.0).state == "no signal"
    found += all_found(ward, stream[225:])
    gaps = [event for event in events_of(found) if event.kind == "gap"]
    assert [(gap.sample, event_text(gap)) for gap in gaps] == [(1000, "gap of 2.00 s: 250 samples without a value")]


def test_a_flat_line_and_a_saturated_one_are_told_apart(new_ward: NewWard) -> None:
    """Two seconds without change are a lead that is off, at a rail a saturated one; both are over when it moves."""
    found = all_found(new_ward(), troubled_stream([5]))
    signals = [event for event in events_of(found) if event.kind == "signal"]
    told = [event_text(event).split(":")[0] for event in signals]
    assert told == ["flat line", "signal is back", "saturated", "signal is back"]
    assert [event.sample for event in signals][:2] == [2000 + 2 * FS - 1, 2600]


def test_a_new_run_starts_anew(new_ward: NewWard) -> None:
    """A device that restarts is a new run, not a gap: all is as with a new ward."""
    ward = new_ward()
    all_found(ward, list(chunks(record_counts("100", 20), [5], run="old")))
    counts = record_counts("208", 20)
    again = all_found(ward, list(chunks(counts, [5], run="new")))
    start = next(i for i, found in enumerate(again) if isinstance(found, Event) and found.kind == "start")
    assert again[start:] == all_found(new_ward(), list(chunks(counts, [5], run="new")))
    assert bed_view(ward, "1", 0.0).gaps == 0


def test_a_wanted_lead_that_is_not_there_is_refused(settings: Config, classifier: BeatClassifier) -> None:
    """A stream without the wanted lead is refused in one event that names the leads there are."""
    ward = Pipeline(override_config(settings, "monitor", lead="V5"), classifier)
    events = events_of(all_found(ward, list(chunks(record_counts("100", 5), [5]))))
    assert [event.kind for event in events] == ["refused"]
    assert "MLII, V1" in event_text(events[0])
    assert bed_view(ward, "1", 0.0).state == "refused"


def test_another_rate_is_resampled_at_the_door(new_ward: NewWard) -> None:
    """A stream at 360 Hz that is joined late gives the beats of the record at 125 Hz, within a sample."""
    signal = np.rint(
        1000 * wfdb_records.read_record_samples(wfdb_records.open_record("100"), 0, 40 * 360)[:, 0]
    ).astype(np.int32)
    reference = beats_of(all_found(new_ward(), list(chunks(record_counts("100", 40), [5]))))
    found = beats_of(all_found(new_ward(), list(chunks(signal[1234:], [11], first=1234, fs=360.0))))
    times = {beat.sample for beat in reference}
    late = [beat for beat in found if beat.sample > 6 * FS]
    assert len(late) > 30
    assert all(times & {beat.sample - 1, beat.sample, beat.sample + 1} for beat in late)


@pytest.mark.parametrize("sizes", [[1], [5], [7, 1, 400, 33]])
@pytest.mark.slow
def test_the_door_does_not_depend_on_the_chunks(new_ward: NewWard, sizes: list[int]) -> None:
    """A resampled stream with a stretch without values gives the same beats in any chunks."""
    signal = np.rint(
        1000 * wfdb_records.read_record_samples(wfdb_records.open_record("208"), 0, 10 * 360)[:, 0]
    ).astype(np.int32)
    signal[2000:2100] = MISSING
    whole = all_found(new_ward(), list(chunks(signal, [10**6], fs=360.0)))
    assert all_found(new_ward(), list(chunks(signal, sizes, fs=360.0))) == whole


def test_a_rate_of_no_ecg_is_refused(new_ward: NewWard) -> None:
    """A rate that shows no ECG is refused with the reason."""
    events = events_of(all_found(new_ward(), list(chunks(record_counts("100", 5), [5], fs=12.5))))
    assert [event.kind for event in events] == ["refused"]
    assert "12.5 Hz makes no sense" in event_text(events[0])


def test_lost_packets_make_no_beats(new_ward: NewWard) -> None:
    """With one packet in twenty lost, beats are missed or found where they are, not invented in the pieces."""
    counts = record_counts("100", 60)
    reference = {beat.sample for beat in beats_of(all_found(new_ward(), list(chunks(counts, [5]))))}
    lost = np.random.default_rng(0).random(len(counts) // 5) < 0.05
    stream: list[Chunk | Gap | End] = []
    for chunk, gone in zip(chunks(counts, [5]), lost, strict=True):
        stream.append(Gap("1", "run", chunk.first, 5, FS, "never arrived") if gone else chunk)
    found = [beat.sample for beat in beats_of(all_found(new_ward(), stream))]
    true = [sample for sample in found if reference & set(range(sample - 6, sample + 7))]
    assert len(found) - len(true) <= 0.02 * len(reference)
    assert len(true) >= 0.9 * len(reference)


def test_no_interval_reaches_over_a_flat_line(new_ward: NewWard) -> None:
    """After a lead was off, the first beat has no RR interval and no false slow heart rate follows."""
    counts = record_counts("100", 60).copy()
    counts[2000:4000] = counts[2000]
    beats = beats_of(all_found(new_ward(), list(chunks(counts, [5]))))
    assert max(beat.rr_s for beat in beats if beat.rr_s is not None) < 2.0
    assert min(beat.heart_rate for beat in beats if beat.heart_rate is not None) > 60


@pytest.mark.parametrize("fs", [250.0, 360.0])
def test_an_electrode_offset_at_another_rate_makes_no_beats(new_ward: NewWard, fs: float) -> None:
    """A constant 300 mV resampled to 125 Hz is a flat line from its first sample to its last."""
    stream: list[Chunk | Gap | End] = [
        *chunks(np.full(20 * int(fs), 300_000, dtype=np.int32), [10], fs=fs),
        End("1", "run", 20 * int(fs), fs),
    ]
    found = all_found(new_ward(), stream)
    assert beats_of(found) == []
    assert [event_text(event).split(":")[0] for event in events_of(found)][1:] == ["saturated", "the run ended"]
    assert events_of(found)[-1].sample == 20 * FS


def test_a_refused_bed_ends_too(settings: Config, classifier: BeatClassifier) -> None:
    """The end of a run that was refused is known, so that a monitor that waits for it ends."""
    ward = Pipeline(override_config(settings, "monitor", lead="V5"), classifier)
    all_found(ward, [*chunks(record_counts("100", 5), [5]), End("1", "run", 625, FS)])
    assert ward.beds["1"].ended


def test_absurd_voltages_do_no_harm(new_ward: NewWard) -> None:
    """A device that claims exavolts: finite numbers all the way, and no warning of an overflow."""
    rng = np.random.default_rng(0)
    counts = rng.integers(-(2**31) + 1, 2**31 - 1, (5000, 1)).astype(np.int32)
    lead = Lead("MLII", "V", 1e-9, 0.0, -(2**31), 2**31 - 1)
    for fs in (125.0, 250.0):
        found = new_ward().push([Chunk("1", "run", 0, fs, (lead,), counts, 0.0)])
        assert all(np.isfinite(beat.probabilities).all() for beat in beats_of(found))


@pytest.mark.parametrize("seed", range(3))
def test_noise_at_the_start_alarms_nothing(new_auto_ward: NewWard, seed: int) -> None:
    """Five seconds of noise of 30 mV, then 75 a minute: every beat from the sixth second on, and no alarm of it."""
    r_peaks_s = np.arange(0.4, 40, 0.8)
    ecg = make_ecg(250.0, 40, list(r_peaks_s))
    ecg[:1250] += np.random.default_rng(seed).normal(0, 30, 1250)
    found = new_auto_ward().push([*stream_chunks(ecg, 250.0, [50]), End("1", "run", len(ecg), 250.0)])
    beats_s = np.array([beat.sample for beat in beats_of(found)]) / FS
    expected_s = r_peaks_s[(r_peaks_s > 5.5) & (r_peaks_s < 38)]
    assert all(np.abs(beats_s - at_s).min() < 0.05 for at_s in expected_s)
    assert np.count_nonzero((beats_s > 5.5) & (beats_s < 38)) == len(expected_s)
    assert {item.condition for item in found if isinstance(item, Alarm)} == set()
