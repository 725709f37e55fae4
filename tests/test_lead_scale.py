"""agent.analysis.uncalibrated_lead: leads in raw counts are monitored on a scale found from their QRS complexes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import bed_view, record_counts
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.synthetic import make_ecg

from agent import Monitor, analyse
from agent.analysis.bed_input import BedInput, LeadNote, choose_leads
from agent.analysis.lead_input import LeadInput, SampleBlock, ScaleChange
from agent.analysis.qrs_scale import QrsScaleMeter, find_qrs_height
from agent.analysis.uncalibrated_lead import UNSCALED_REASON, UncalibratedLead
from agent.core.config import Config, load_config, override_config
from agent.core.events import GapClosed, LeadScaled, LeadStateChanged
from agent.core.lead_units import RAW_UNITS
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, Gap, Lead, Result
from agent.core.wording import event_text
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import other_unit_gain
from model.records.resample import FS

NewWard = Callable[[], Pipeline]
Counts = NDArray[np.int32]
RAW = Lead("ECG", "counts", 1.0, 0.0, -(2**31) + 1, 2**31 - 1)
HELD_S = 8
"""Seconds after which the first scale of a clean signal is known."""
CONVERTERS = [("208", 200.0, 1024.0), ("119", 345.0, 512.0), ("232", 20_000.0, 8_000_000.0), ("100", -200.0, 1024.0)]
"""Record, counts a millivolt, the count of 0 mV: MIT-BIH's, an AD8232 at 10 bits, 24 bits, electrodes changed over."""


def raw_counts(mv: NDArray[np.float64], gain: float, offset: float) -> Counts:
    """Return (n,) mV as counts of a converter, MISSING where they are NaN."""
    return np.where(np.isnan(mv), MISSING, np.rint(np.nan_to_num(mv) * gain + offset)).astype(np.int32)


def raw_chunks(counts: Counts, sizes: Sequence[int], fs: float = FS, lead: Lead = RAW, bed: str = "1") -> list[Chunk]:
    """Return (n,) counts as chunks, whose sizes repeat in a cycle."""
    chunks: list[Chunk] = []
    first = 0
    while first < len(counts):
        part = counts[first : first + sizes[len(chunks) % len(sizes)], None]
        chunks.append(Chunk(bed, "run", first, fs, (lead,), part, 0.0))
        first += len(part)
    return chunks


def found(ward: Pipeline, messages: Sequence[Chunk | Gap]) -> list[Result]:
    """Return all results of a stream to its end."""
    last = messages[-1]
    stop = last.first + (len(last.counts) if isinstance(last, Chunk) else last.count)
    ended = [*messages, End(last.bed, "run", stop, last.fs)]
    return [item for message in ended for item in ward.push([message])]


def scales(results: Sequence[object]) -> list[LeadScaled]:
    return [item for item in results if isinstance(item, LeadScaled) and item.per_mv is not None]


def beat_times(results: Sequence[object], after_s: float = 1.0) -> NDArray[np.int64]:
    return np.array([beat.sample for beat in results if isinstance(beat, Beat) and beat.sample > after_s * FS])


def record_mv(name: str, seconds: float) -> NDArray[np.float64]:
    return record_counts(name, seconds) / 1000.0


def regular_ecg(fs: float, seconds: float) -> NDArray[np.float64]:
    """Return (n,) mV at 75 beats a minute."""
    return make_ecg(fs, seconds, np.arange(0.6, seconds - 0.3, 0.8))


@pytest.fixture(scope="module")
def signal_config() -> Config:
    return override_config(load_config(None, {}), "signal", scale_change_s=12.0)


@pytest.mark.parametrize(("name", "gain", "offset"), CONVERTERS)
def test_raw_counts_of_real_records_give_the_beats_of_millivolts(
    name: str, gain: float, offset: float, new_auto_ward: NewWard
) -> None:
    """Whatever gain, offset and polarity: the same R peaks as calibrated, from the second second on."""
    mv = record_mv(name, 60)
    calibrated = Lead("ECG", "mV", abs(gain), offset, RAW.low, RAW.high)
    counts = raw_counts(mv, gain, offset)
    wanted = beat_times(found(new_auto_ward(), raw_chunks(counts, [250], lead=calibrated)), 2.0)
    results = found(new_auto_ward(), raw_chunks(counts, [250]))
    times = beat_times(results, 2.0)
    near = np.abs(times[:, None] - wanted[None]) <= 2
    assert len(wanted) > 50
    assert (~near.any(axis=0)).sum() <= 1
    assert (~near.any(axis=1)).sum() <= 1
    (scale,) = scales(results)
    assert scale.per_mv is not None
    assert 0.4 < scale.per_mv / abs(gain) < 1.6
    assert event_text(scale).startswith("scale of lead ECG found: 1 mV = ")
    assert event_text(scale).endswith(" counts, uncalibrated")


@pytest.mark.parametrize("fs", [125.0, 250.0, 511.548])
def test_a_found_scale_is_as_good_as_a_declared_one(fs: float, new_auto_ward: NewWard) -> None:
    """The samples, beats and alarms are, bit for bit, those of the same counts with the found gain and offset."""
    counts = raw_counts(regular_ecg(fs, 40), 312.0, 2048.0)
    results = found(new_auto_ward(), raw_chunks(counts, [40], fs))
    (scale,) = scales(results)
    declared = replace(RAW, unit="mV", gain=scale.per_mv or 0.0, offset=scale.zero)
    wanted = found(new_auto_ward(), raw_chunks(counts, [40], fs, declared))
    kept = [item for item in results if not isinstance(item, LeadScaled)]
    assert len(beat_times(kept)) > 45
    assert [str(item) for item in kept] == [str(item) for item in wanted]


CUTS = st.lists(st.integers(20, 900), min_size=1, max_size=6)


def steps_of(messages: Sequence[Chunk | Gap], config: Config) -> tuple[NDArray[np.float32], list[str]]:
    """Return the samples of a raw lead (n,), NaN without any, and its gaps and scales as text."""
    first = messages[0]
    assert isinstance(first, Chunk)
    lead = UncalibratedLead(first, "ECG", config.signal)
    steps = [step for one in messages for step in (lead.push(one) if isinstance(one, Chunk) else lead.gap(one))]
    samples = np.full(80 * FS, np.nan, np.float32)
    gaps = np.zeros(80 * FS, bool)
    told: list[str] = []
    for step in [*steps, *lead.flush()]:
        if isinstance(step, SampleBlock):
            assert np.isnan(samples[step.first : step.first + len(step.x)]).all()
            samples[step.first : step.first + len(step.x)] = step.x
        elif isinstance(step, Gap):
            gaps[step.first : step.first + step.count] = True
        else:
            told.append(str(step))
    return samples, [*told, str(np.flatnonzero(gaps[1:] != gaps[:-1]).tolist())]


def eventful_counts(fs: float) -> Counts:
    """Counts of 70 s: flat, noise, an ECG with holes, and the same five times as high from 45 s on."""
    mv = np.concatenate([np.zeros(round(9 * fs)), regular_ecg(fs, 61)])
    mv[round(9 * fs) : round(17 * fs)] = np.random.default_rng(5).normal(0, 0.4, round(17 * fs) - round(9 * fs))
    mv[round(45 * fs) :] *= 5
    mv[round(30 * fs) : round(30 * fs) + 3] = np.nan
    mv[round(40 * fs) : round(41 * fs)] = np.nan
    return raw_counts(mv, 312.0, 2048.0)


@pytest.mark.parametrize("fs", [125.0, 250.0, 360.0])
def test_the_cuts_of_a_raw_stream_change_nothing(fs: float, signal_config: Config) -> None:
    """Flat line, noise, holes, a gap of the link and a switch of the gain: the same samples and scales, bit for bit."""
    counts = eventful_counts(fs)
    lost = round(20.3 * fs), round(21.1 * fs)

    def cut(sizes: Sequence[int]) -> list[Chunk | Gap]:
        before = raw_chunks(counts[: lost[0]], sizes, fs)
        behind = [replace(chunk, first=chunk.first + lost[1]) for chunk in raw_chunks(counts[lost[1] :], sizes, fs)]
        return [*before, Gap("1", "run", lost[0], lost[1] - lost[0], fs, "never arrived"), *behind]

    wanted, told = steps_of(cut([len(counts)]), signal_config)
    assert sum("LeadScaled" in text for text in told) == 3  # waiting, found, changed
    assert np.isfinite(wanted[25 * FS : 29 * FS]).all()

    @given(sizes=CUTS)
    @hypothesis_settings(max_examples=6)
    def cuts_do_not_matter(sizes: list[int]) -> None:
        samples, events = steps_of(cut(sizes), signal_config)
        np.testing.assert_array_equal(samples, wanted)
        assert events == told

    cuts_do_not_matter()


def test_a_raw_bed_is_the_same_alone_and_in_a_ward(new_auto_ward: NewWard) -> None:
    """What comes of a bed in raw counts depends neither on other beds nor on what comes with it."""
    streams = {
        str(i): raw_chunks(raw_counts(record_mv("208", 25), 200.0 + i, 1024.0), [25 + i], bed=str(i)) for i in range(5)
    }
    alone = [item for item in found(new_auto_ward(), streams["3"]) if not isinstance(item, Alarm)]
    ward, together = new_auto_ward(), list[Result]()
    for turn in range(max(map(len, streams.values()))):
        together += ward.push([chunks[turn] for chunks in streams.values() if turn < len(chunks)])
    together += ward.push([End(bed, "run", 25 * FS, float(FS)) for bed in streams])
    mine = [item for item in together if not isinstance(item, Alarm) and item.bed == "3"]
    assert [str(item) for item in mine] == [str(item) for item in alone]
    assert len(beat_times(alone)) > 30


def test_flat_raw_counts_are_a_lead_that_is_off(new_auto_ward: NewWard) -> None:
    """No scale is needed to see a flat line; at a rail of the converter it is saturated."""
    flat = np.full(30 * FS, 2048, np.int32)
    results = found(new_auto_ward(), raw_chunks(flat, [250]))
    assert [item.state for item in results if isinstance(item, LeadStateChanged)] == ["lead off"]
    rail = replace(RAW, low=0, high=4095)
    results = found(new_auto_ward(), raw_chunks(flat + 2047, [250], lead=rail))
    assert [item.state for item in results if isinstance(item, LeadStateChanged)] == ["saturated"]
    assert not [item for item in results if isinstance(item, Beat)]


@pytest.mark.parametrize("state", ["lead off", "saturated"])
def test_a_raw_lead_that_comes_off_later_is_told(state: str, new_auto_ward: NewWard) -> None:
    """With the found scale the rails are where the device has them."""
    counts = raw_counts(regular_ecg(FS, 30), 300.0, 2048.0)
    counts[20 * FS :] = 4095 if state == "saturated" else 2048
    results = found(new_auto_ward(), raw_chunks(counts, [250], lead=replace(RAW, low=0, high=4095)))
    assert [item.state for item in results if isinstance(item, LeadStateChanged)] == [state]


def test_noise_has_no_scale_and_no_beats(new_auto_ward: NewWard) -> None:
    """Where no QRS complex is to be seen there are no beats, and a gap says why; its alarm stands."""
    noise = np.random.default_rng(2).normal(2048, 40, 90 * FS).astype(np.int32)
    results = found(new_auto_ward(), raw_chunks(noise, [250]))
    assert not [item for item in results if isinstance(item, Beat)]
    assert [item.per_mv for item in results if isinstance(item, LeadScaled)] == [None]
    assert [item.reason for item in results if isinstance(item, GapClosed)] == [UNSCALED_REASON]
    assert {item.condition for item in results if isinstance(item, Alarm)} == {"gaps"}


def test_noise_at_the_start_only_delays_the_scale(new_auto_ward: NewWard) -> None:
    """Behind five seconds of noise all beats are found, most of them before the noise has left the window."""
    mv = regular_ecg(FS, 40)
    mv[: 5 * FS] = np.random.default_rng(3).normal(0, 1.5, 5 * FS)
    results = found(new_auto_ward(), raw_chunks(raw_counts(mv, 200.0, 1024.0), [250]))
    (scale,) = scales(results)
    assert scale.per_mv == pytest.approx(118, rel=0.2)
    assert len(beat_times(results, 6.0)) == len(np.arange(6.2, 39.7, 0.8))


@pytest.mark.parametrize("factor", [5.0, 0.2])
def test_a_switch_of_the_gain_changes_the_scale_once(factor: float, new_auto_ward: NewWard) -> None:
    """The scale follows after half a minute, without a step in the signal; no beat is invented."""
    mv = regular_ecg(FS, 120)
    mv[60 * FS :] *= factor
    ward = new_auto_ward()
    results = found(ward, raw_chunks(raw_counts(mv, 2000.0, 512.0), [250]))
    before, behind = scales(results)
    assert (behind.per_mv or 0) / (before.per_mv or 1) == pytest.approx(factor, rel=0.05)
    assert 86 * FS < behind.sample < 95 * FS
    assert len(beat_times(results, 66.0)) == len(np.arange(66.2, 119.7, 0.8))
    assert np.ptp(bed_view(ward, "1").wave[-20 * FS :]) == pytest.approx(2.0, rel=0.1)


def test_an_artefact_changes_no_scale(new_auto_ward: NewWard) -> None:
    """Ten seconds of something twenty times as high, as when the cable is touched, are no reason."""
    mv = regular_ecg(FS, 120)
    mv[60 * FS : 70 * FS] += 20 * np.sign(np.sin(2 * np.pi * 1.3 * np.arange(10 * FS) / FS))
    results = found(new_auto_ward(), raw_chunks(raw_counts(mv, 200.0, 512.0), [250]))
    assert len(scales(results)) == 1


def test_a_new_run_has_its_own_scale(new_auto_ward: NewWard) -> None:
    """The electrodes may be others."""
    ward, results = new_auto_ward(), list[Result]()
    for run, gain in (("a", 200.0), ("b", 900.0)):
        for chunk in raw_chunks(raw_counts(regular_ecg(FS, 20), gain, 0.0), [250]):
            results += ward.push([replace(chunk, run=run)])
    first, second = scales(results)
    assert (second.per_mv or 0) / (first.per_mv or 1) == pytest.approx(4.5, rel=0.02)


def test_a_lossy_link_does_not_hide_the_scale(new_auto_ward: NewWard) -> None:
    """Gaps of half a second every five seconds: the seconds between them are put together."""
    counts = raw_counts(regular_ecg(FS, 60), 200.0, 0.0)
    messages: list[Chunk | Gap] = []
    for chunk in raw_chunks(counts, [5 * FS]):
        kept = chunk.counts[: round(4.5 * FS)]
        messages.append(replace(chunk, counts=kept))
        messages.append(Gap("1", "run", chunk.first + len(kept), 5 * FS - len(kept), float(FS), "never arrived"))
    results = found(new_auto_ward(), messages)
    (scale,) = scales(results)
    assert scale.sample == 0
    assert len(beat_times(results)) > 55


def test_a_short_recording_is_analysed_at_its_end(new_auto_ward: NewWard) -> None:
    """Four seconds are enough if there will be no more."""
    results = found(new_auto_ward(), raw_chunks(raw_counts(regular_ecg(FS, 4), 200.0, 0.0), [250]))
    assert len(scales(results)) == 1
    assert len(beat_times(results)) >= 3


def test_a_known_scale_goes_on(signal_config: Config) -> None:
    """A monitor that goes on with a recording takes its last scale, and waits for nothing."""
    chunk = raw_chunks(raw_counts(regular_ecg(FS, 2), 200.0, 1000.0), [250])[0]
    known = [LeadScaled("1", "run", 0, "ECG", "counts", per, 990.0) for per in (123.0, 160.0)]
    bed = BedInput(chunk, "auto", signal_config.signal, known)
    steps = [*bed.push(chunk), *bed.flush()]
    declared = replace(chunk, leads=(replace(RAW, unit="mV", gain=160.0, offset=990.0),))
    lead = LeadInput(declared, "auto")
    wanted = [*lead.push(declared), *lead.flush()]
    got, right = (
        np.concatenate([step.x for step in part if isinstance(step, SampleBlock)]) for part in (steps, wanted)
    )
    np.testing.assert_array_equal(got, right)
    assert not [step for step in steps if isinstance(step, LeadNote) and isinstance(step.step, ScaleChange)]
    other = BedInput(replace(chunk, run="next"), "auto", signal_config.signal, known)
    assert not [step for step in other.push(chunk) if isinstance(step, SampleBlock)]


def test_calibrated_leads_come_first() -> None:
    """Raw leads are taken where there is no other ECG; what is neither is none."""
    mv, raw = Lead("V5", "mV", 1.0, 0.0, 0, 9), replace(RAW, name="II")
    breath, pressure = replace(mv, name="RESP"), replace(raw, name="ECG2", unit="mmHg")
    assert choose_leads((raw, mv), "auto") == ("V5",)
    assert choose_leads((breath, pressure, raw), "auto") == ("II",)
    assert choose_leads((raw, mv), "II") == ("II",)
    assert choose_leads((raw, replace(raw, name="V1"), replace(raw, name="V2")), "auto") == ("II", "V1")


@pytest.mark.parametrize("wanted", ["ECG,II", "II,ECG"])
def test_a_raw_lead_beside_a_calibrated_one(wanted: str, new_auto_ward: NewWard) -> None:
    """Both are heard together: the calibrated one waits for the scale, no longer than it is looked for."""
    ecg = regular_ecg(FS, 30)
    leads = RAW, Lead("II", "mV", 1000.0, 0.0, -(10**6), 10**6)
    counts = np.stack([raw_counts(ecg, 300.0, 512.0), raw_counts(ecg, 1000.0, 0.0)], axis=1)
    counts[:, 0][: 15 * FS] = 512
    ward = new_auto_ward()
    ward._inbox._wanted_leads = wanted
    results = [
        item
        for at in range(0, len(counts), 50)
        for item in ward.push([Chunk("1", "run", at, float(FS), leads, counts[at : at + 50], 0.0)])
    ]
    results += ward.push([End("1", "run", len(counts), float(FS))])
    assert len(beat_times(results)) == len(np.arange(1.4, 29.7, 0.8))


def test_units_of_raw_leads() -> None:
    """Counts are whole numbers; arbitrary units are not."""
    assert {"counts", "adu", "ADU", "LSB", "a.u.", "NU", "digits", "raw"} <= set(RAW_UNITS)
    assert RAW_UNITS["counts"] == 1.0
    assert RAW_UNITS["NU"] < 1e-3


@pytest.mark.parametrize("bits", [12, 16, 24, 32])
def test_counts_of_any_converter_keep_their_steps(bits: int) -> None:
    """A recording states 32 bits for counts that came in 32 bits: they are still sent as they are."""
    assert other_unit_gain("counts", -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) >= 1.0


@pytest.mark.parametrize("bpm", [35, 60, 120, 200])
@pytest.mark.parametrize("polarity", [1, -1])
def test_qrs_height_of_any_rate_and_polarity(bpm: int, polarity: int) -> None:
    """The height is that of the QRS complex, not of the T wave, the baseline or the hum."""
    ecg = polarity * make_ecg(FS, 60, np.arange(0.6, 59.5, 60 / bpm))
    time = np.arange(len(ecg)) / FS
    for extra in (0 * time, 0.5 * np.sin(2 * np.pi * 0.3 * time), 0.3 * np.sin(2 * np.pi * 50 * time)):
        seconds = QrsScaleMeter().push(0, (ecg + extra).astype(np.float32))
        heights = [find_qrs_height(seconds[at : at + 6]) for at in range(len(seconds) - 6)]
        assert all(height is not None and 0.6 < height < 1.6 for height in heights)


def test_an_amplitude_is_proportional() -> None:
    """Twice the signal has twice the height, exactly; a constant has none."""
    ecg = regular_ecg(FS, 10).astype(np.float32)
    one, two = (find_qrs_height(QrsScaleMeter().push(0, ecg * factor)) for factor in (np.float32(1), np.float32(2)))
    assert one is not None
    assert two == 2 * one
    assert find_qrs_height(QrsScaleMeter().push(0, np.zeros(1250, np.float32))) is None
    assert find_qrs_height([]) is None


def test_python_api() -> None:
    """`analyse` and `Monitor` take counts: the beats of millivolts, in whatever chunks."""
    mv = regular_ecg(250, 40)
    wanted = analyse(mv, 250, unit="mV")
    counts = np.rint(345 * mv + 512)
    got = analyse(counts, 250, unit="counts")
    assert [beat.sample for beat in got.beats] == pytest.approx([beat.sample for beat in wanted.beats], abs=4)
    monitor = Monitor(250, "counts")
    items = [item for part in np.array_split(counts, 131) for item in monitor.push(part)] + monitor.flush()
    assert tuple(item for item in items if isinstance(item, Beat)) == got.beats
    assert len(scales(items)) == 1
    small = analyse(mv / 9, 250, unit="NU")
    assert [beat.sample for beat in small.beats] == pytest.approx([beat.sample for beat in wanted.beats], abs=4)
    railed = analyse(np.full(2500, 1023.0), 250, unit="adu", rails=(0, 1023))
    assert [item.state for item in railed.events if isinstance(item, LeadStateChanged)] == ["saturated"]


def test_beats_wait_no_longer_than_promised(new_auto_ward: NewWard) -> None:
    """The first beats of a clean signal are known eight seconds after its start."""
    ward = new_auto_ward()
    counts = raw_counts(regular_ecg(FS, 20), 200.0, 0.0)
    known = [
        (chunk.first + len(chunk.counts)) / FS
        for chunk in raw_chunks(counts, [10])
        if any(isinstance(item, LeadScaled) for item in ward.push([chunk]))
    ]
    assert known
    assert known[0] < HELD_S
