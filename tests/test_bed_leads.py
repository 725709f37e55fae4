"""Several leads of a bed: which is heard, what becomes of the beats, and that neither chunks nor other beds matter."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import cycle

import numpy as np
import pytest
from conftest import LEADS
from numpy.typing import NDArray

from agent.analysis.beat_cutter import BeatCandidate
from agent.analysis.bed_input import choose_leads
from agent.analysis.bed_leads import BedLeads, LeadBeat, LeadSwitch
from agent.analysis.lead_quality import fuse_windows, signal_quality
from agent.analysis.qrs_detector import RPeak
from agent.analysis.rhythm_windows import WindowScores
from agent.core.config import Config, override_config
from agent.core.events import Event, HeardLeadChanged, OtherLeadChanged, RunStarted
from agent.core.messages import MISSING, Alarm, Beat, Chunk, End, Gap, Lead, Result, Strip
from agent.core.wording import event_text
from agent.pipeline.pipeline import Pipeline
from model.errors import StreamError
from model.records.resample import FS, resample_signal
from model.records.wfdb_records import open_record, read_record_samples

Counts = NDArray[np.int32]
Message = Chunk | Gap | End
ONSET, STOP = 40 * FS, 60 * FS
"""Where the trouble of a lead begins and ends."""


@pytest.fixture(scope="module")
def live() -> object:
    from agent.analysis.beat_classifier import load_beat_classifier

    return load_beat_classifier("live", "cpu", 1)


@cache
def both_leads(name: str, seconds: int = 75, fs: int = FS) -> Counts:
    """Return (n, 2) int32 microvolts of both leads of an embedded record at its own rate or at 125 Hz."""
    record = open_record(name)
    samples = read_record_samples(record, 0, round(seconds * record.fs))
    x = resample_signal(samples, record.fs) if fs == FS else samples
    counts: Counts = np.rint(1000 * x).astype(np.int32)
    return counts


def stream(counts: Counts, sizes: Sequence[int] = (25,), bed: str = "1", fs: float = FS, first: int = 0) -> list[Chunk]:
    """Return (n, 2) counts as chunks, whose sizes repeat in a cycle."""
    chunks: list[Chunk] = []
    at = 0
    for size in cycle(sizes):
        if at >= len(counts):
            return chunks
        part = counts[at : at + size]
        chunks.append(Chunk(bed, "run", first + at, float(fs), LEADS, part, 0.0, 0.0, len(chunks)))
        at += size
    return chunks


def loose(counts: Counts, kind: str, lead: int = 0, start: int = ONSET, stop: int = STOP) -> Counts:
    """Return counts (n, 2) in which an electrode is loose: flat, rail, noise, hum, low, no value."""
    rng = np.random.default_rng(0)
    troubled, count = counts.copy(), stop - start
    wave: dict[str, Counts | int] = {
        "flat": int(counts[start, lead]),
        "rail": 5115,
        "no value": MISSING,
        "noise": counts[start:stop, lead] + np.rint(1500 * rng.standard_normal(count)).astype(np.int32),
        "hum": np.rint(800 * np.sin(np.arange(count) * 0.8 * np.pi) + 30 * rng.standard_normal(count)).astype(np.int32),
        "low": np.rint(40 * np.sin(np.arange(count) / 66) + 5 * rng.standard_normal(count)).astype(np.int32),
    }
    troubled[start:stop, lead] = wave[kind]
    return troubled


def heard_of(settings: Config, net: object, messages: Iterable[Message], lead: str = "auto") -> list[Result]:
    """Return all results of a ward whose messages come one by one."""
    ward = Pipeline(override_config(settings, "monitor", lead=lead), net)  # type: ignore[arg-type]
    found = [result for message in messages for result in ward.push([message])]
    return [*found, *ward.finish()]


def beats_of(found: Iterable[Result]) -> list[Beat]:
    return [item for item in found if isinstance(item, Beat)]


def switches_of(found: Iterable[object]) -> list[HeardLeadChanged]:
    return [item for item in found if isinstance(item, HeardLeadChanged)]


def unmatched(samples: Iterable[int], others: Iterable[int]) -> list[int]:
    """Return the samples that none of the others is near: noise may shift an R peak by 0.2 s."""
    known = np.array(list(others))
    return [sample for sample in samples if np.abs(known - sample).min() > FS // 5]


def parts_of(found: list[Result], bed: str = "1") -> tuple[list[object], list[object], list[object]]:
    """Return the beats and events of a bed in their order, its alarms, and its strips."""
    own = [item for item in found if item.bed == bed]
    told: list[object] = []
    for item in own:
        told += [item, item.lead, item.quality] if isinstance(item, Beat) else [item] if isinstance(item, Event) else []
    strips = [(item.alarm, item.lead, item.first, item.wave.tobytes()) for item in own if isinstance(item, Strip)]
    return told, [item for item in own if isinstance(item, Alarm)], [*strips]


@pytest.mark.parametrize("kind", ["flat", "rail", "no value", "low", "hum", "noise"])
def test_a_loose_electrode_does_not_blind_the_bed(settings: Config, live: object, kind: str) -> None:
    """With one electrode loose the other lead is heard soon: no beat is lost, none made up, nothing alarmed."""
    clean = both_leads("100")
    reference = [beat.sample for beat in beats_of(heard_of(settings, live, stream(clean)))]
    found = heard_of(settings, live, stream(loose(clean, kind)))
    (switch,) = switches_of(found)
    assert (switch.before, switch.lead) == ("MLII", "V1")
    within_s = {"no value": 0, "flat": 2, "rail": 2}.get(kind, 4)
    assert ONSET <= switch.sample <= ONSET + within_s * FS
    beats = [beat.sample for beat in beats_of(found)]
    assert unmatched(reference, beats) == []
    assert unmatched(beats, reference) == []
    assert beats == sorted(beats)
    assert [item for item in found if isinstance(item, Alarm)] == []


def test_beats_go_on_within_three_seconds(settings: Config, live: object) -> None:
    """From a lead that falls off to the next reported beat are 3 s at most, and so between all others."""
    for kind in ("flat", "rail", "no value"):
        ward = Pipeline(settings, live)  # type: ignore[arg-type]
        latest = silence = 0
        for chunk in stream(loose(both_leads("100"), kind), [10]):
            if beats_of(ward.push([chunk])):
                latest = chunk.first
            silence = max(silence, chunk.first - latest if chunk.first > 10 * FS else 0)
        assert silence <= 3 * FS, kind


def test_a_bad_lead_that_is_not_heard_changes_nothing(settings: Config, live: object) -> None:
    """A loose electrode in the lead that is not heard is an event, and else all is as with a clean one."""
    clean = both_leads("100")
    reference = heard_of(settings, live, stream(clean))
    found = heard_of(settings, live, stream(loose(clean, "flat", lead=1)))
    told = [item for item in found if isinstance(item, OtherLeadChanged)]
    assert [event_text(event) for event in told] == [
        "lead V1, which is not heard: flat line: lead off?",
        "lead V1, which is not heard: signal is back",
    ]
    assert [beat.sample for beat in beats_of(found)] == [beat.sample for beat in beats_of(reference)]


def test_both_leads_off_are_a_lead_off(settings: Config, live: object) -> None:
    """With both electrodes off the bed is blind, and the alarm is the one of a single lead."""
    counts = loose(loose(both_leads("100"), "flat"), "flat", lead=1)
    found = heard_of(settings, live, stream(counts))
    alone = heard_of(settings, live, stream(counts), "MLII")
    assert parts_of(found)[1] == parts_of(alone)[1] != []
    assert switches_of(found) == []


def test_the_first_lead_is_not_gone_back_to(settings: Config, live: object) -> None:
    """A lead that is good again is heard again only once the other one is bad."""
    counts = loose(loose(both_leads("100"), "flat", stop=50 * FS), "flat", lead=1, start=62 * FS, stop=70 * FS)
    switches = switches_of(heard_of(settings, live, stream(counts)))
    assert [event_text(event) for event in switches] == [
        "lead MLII is off: V1 is heard now",
        "lead V1 is off: MLII is heard now",
    ]


def test_one_named_lead_is_analysed_alone(settings: Config, live: object) -> None:
    """With one lead named, whatever the other does, all is as if it were not sent."""
    counts = loose(both_leads("100"), "flat")
    alone = [
        Chunk(one.bed, one.run, one.first, one.fs, LEADS[:1], one.counts[:, :1], 0.0, 0.0, one.sequence)
        for one in stream(counts)
    ]
    assert parts_of(heard_of(settings, live, stream(counts), "MLII")) == parts_of(heard_of(settings, live, alone))


def troubled(sizes: Sequence[int], bed: str = "1", fs: int = FS, name: str = "208") -> list[Message]:
    """Both leads with flat lines, noise, values that are missing in one or both, a gap, and an end."""
    counts = both_leads(name, 75, fs)
    scale = fs / FS
    for kind, lead, start, stop in (
        ("flat", 0, 10, 14.2),
        ("no value", 1, 20, 22),
        ("no value", 0, 21.3, 23),
        ("noise", 1, 26, 34),
        ("low", 0, 38, 43.5),
        ("no value", 1, 44, 44.3),
        ("flat", 0, 46, 52),
        ("flat", 1, 49, 51),
        ("no value", 0, 60, 63.1),
    ):
        counts = loose(counts, kind, lead, round(start * FS * scale), round(stop * FS * scale))
    cut, behind = round(55 * FS * scale), round(56.6 * FS * scale)
    gap = Gap(bed, "run", cut, behind - cut, fs, "never arrived")
    late = stream(counts[behind:], sizes, bed, fs, behind)
    return [*stream(counts[:cut], sizes, bed, fs), gap, *late, End(bed, "run", len(counts), float(fs))]


@pytest.mark.parametrize("fs", [FS, 360])
def test_two_leads_do_not_depend_on_the_chunks(settings: Config, live: object, fs: int) -> None:
    """The same two leads in other chunks give the same beats, events, alarms and strips, to the last bit."""
    whole = parts_of(heard_of(settings, live, troubled([10**6], fs=fs)))
    assert len(switches_of(whole[0])) >= 5
    for sizes in ([*[1] * 30, 330], [*[5] * 30, 210], [25], [7, 1, 400, 33], [3000]):
        again = parts_of(heard_of(settings, live, troubled(sizes, fs=fs)))
        assert again == whole, sizes


def test_beds_with_two_leads_do_not_disturb_each_other(settings: Config, live: object) -> None:
    """Beds with other signals, other chunks and one lead more or less tell what each tells alone."""
    streams = {
        bed: troubled(sizes, bed, name=name)
        for bed, name, sizes in (("a", "208", [25]), ("b", "119", [31]), ("c", "100", [17]), ("d", "203", [200]))
    }
    streams["d"] = [
        Chunk(one.bed, one.run, one.first, one.fs, LEADS[:1], one.counts[:, :1], 0.0, 0.0, one.sequence)
        if isinstance(one, Chunk)
        else one
        for one in streams["d"]
    ]
    alone = {bed: parts_of(heard_of(settings, live, messages), bed) for bed, messages in streams.items()}
    ward, found = Pipeline(settings, live), []  # type: ignore[arg-type]
    for tick in range(max(map(len, streams.values()))):
        found += ward.push([messages[tick] for messages in streams.values() if tick < len(messages)])
    found += ward.finish()
    for bed in streams:
        assert parts_of(found, bed) == alone[bed], bed


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("auto", ("II", "V5")),
        ("aVF", ("aVF",)),
        ("aVF,V5", ("aVF", "V5")),
        (" V5 , II,V5", ("V5", "II")),
        ("V5,II,aVF", ("V5", "II", "aVF")),
        ("MLII,aVF,V1,V5", ("aVF", "V5")),
    ],
)
def test_which_leads_are_analysed(wanted: str, chosen: tuple[str, ...]) -> None:
    """Named leads that are there, in their order; without a name II first, and the next one that is in volts."""
    units = {"Resp": "pm", "EEG": "uV", "V5": "mV", "II": "uV", "aVF": "mV"}
    leads = [Lead(name, unit, 1.0, 0.0, 0, 1) for name, unit in units.items()]
    assert choose_leads(leads, wanted) == chosen


def test_wanted_leads_that_are_missing_are_named() -> None:
    """Where none of the wanted leads is there, one is named in the error, with those that are there."""
    with pytest.raises(StreamError, match="no lead 'V9' in the stream: choose one of MLII, V1"):
        choose_leads(LEADS, "V9,V8")


def window(sample: int, scores: tuple[float, ...], height: float = 1.0, row: int = 0) -> WindowScores:
    return WindowScores(row, sample, scores, height, None)


CLEAN, NOISY = (0.97, 0.01, 0.01, 0.01, 0.0), (0.05, 0.0, 0.0, 0.95, 0.0)
FIBRILLATING, STILL = (0.1, 0.1, 0.8, 0.0, 0.0), (0.1, 0.0, 0.0, 0.0, 0.9)


def test_the_quality_of_a_window() -> None:
    """Noise and a line without QRS complexes are bad, a low line shows no ECG, fibrillation is a good signal."""
    qualities = [signal_quality(window(500, scores), 0.15) for scores in (CLEAN, NOISY, FIBRILLATING, STILL)]
    assert qualities == pytest.approx([0.99, 0.05, 1.0, 0.1])
    assert signal_quality(window(500, CLEAN, 0.1), 0.15) == 0
    assert signal_quality(WindowScores(0, 125), 0.15) is None


def test_a_clear_lead_contradicts_the_other(settings: Config) -> None:
    """What looks like VF or asystole in one lead only is not that; in both it is."""
    for troubled_scores in (FIBRILLATING, STILL):
        fused = fuse_windows(window(500, troubled_scores, 0.1), [window(500, CLEAN, row=1)], settings.leads)
        assert fused.scores[0] > 0.7
        assert max(fused.scores[2], fused.scores[4]) <= 0.01
        assert sum(fused.scores) == pytest.approx(1)
        assert fused.amplitude_mv == 1.0
        same = window(500, troubled_scores, 0.1)
        assert fuse_windows(same, [window(500, troubled_scores, 0.1, 1)], settings.leads) == same


def test_leads_that_disagree_on_vt_count_with_their_mean(settings: Config) -> None:
    """VT and VF of the heard lead sink to the mean of both, at the expense of VT, and never rise."""
    heard, other = (0.1, 0.8, 0.1, 0, 0), (0.6, 0.3, 0, 0.1, 0)
    fused = fuse_windows(window(500, heard), [window(500, other, row=1)], settings.leads)
    assert fused.scores == pytest.approx((0.4, 0.5, 0.1, 0, 0))
    low = window(500, (0.6, 0.3, 0.0, 0.1, 0.0))
    assert fuse_windows(low, [window(500, (0.1, 0.8, 0.1, 0, 0), row=1)], settings.leads) == low
    flutter = window(500, (0.1, 0.1, 0.8, 0.0, 0.0))
    fused = fuse_windows(flutter, [window(500, (0.7, 0.1, 0.1, 0.1, 0.0), row=1)], settings.leads)
    assert fused.scores == pytest.approx((0.2, 0.0, 0.8, 0, 0))


def watched(
    settings: Config, lead_scores: Sequence[Sequence[tuple[float, ...]]], beating: Sequence[int] = (0, 1)
) -> list[LeadSwitch]:
    """Return the changes of a bed's heard lead, as its leads score second by second."""
    leads = BedLeads(["II", "V5"], settings.leads, 0.15, 13)
    found: list[LeadSwitch] = []
    for second in range(4, 4 + len(lead_scores[0])):
        for lead, scores in enumerate(lead_scores):
            if lead in beating:
                leads.push_peak(lead, RPeak(lead, second * FS - 60, second * FS - 30))
            leads.push_window(lead, window(second * FS, scores[second - 4], row=lead))
        found += leads.advance(second * FS + 13)
    return found


def test_noise_for_a_moment_changes_nothing(settings: Config) -> None:
    """One noisy window is not enough, nor are many where the other lead is no better."""
    assert watched(settings, [[CLEAN] * 4 + [NOISY] + [CLEAN] * 5, [CLEAN] * 10]) == []
    assert watched(settings, [[NOISY] * 10, [NOISY] * 10]) == []
    assert watched(settings, [[CLEAN] * 10, [NOISY] * 10]) == []


def test_noise_that_stays_changes_the_lead(settings: Config) -> None:
    """Two noisy windows in a row, with a good lead beside them: that one is heard from when it was known."""
    (switch,) = watched(settings, [[CLEAN] * 4 + [NOISY] * 10, [CLEAN] * 14])
    assert (switch.sample, switch.lead, switch.before, switch.trouble) == (9 * FS + 13, 1, 0, "noise")


def test_leads_do_not_flap(settings: Config) -> None:
    """After a change for noise there is no other for ten seconds, then the lead that is bad now is left."""
    noise = [NOISY] * 40
    first, second = [CLEAN] * 4 + noise[:4] + [CLEAN] * 22, [CLEAN] * 8 + noise[:22]
    switches = watched(settings, [first, second])
    assert [(switch.lead, switch.sample // FS) for switch in switches] == [(1, 9), (0, 19)]


def good_leads(settings: Config) -> BedLeads:
    """Return two leads that are both good at 10 s, with an R peak each second."""
    leads = BedLeads(["II", "V5"], settings.leads, 0.15, 13)
    for second in range(4, 11):
        for lead in (0, 1):
            leads.push_peak(lead, RPeak(lead, second * FS - 60, second * FS - 30))
            leads.push_window(lead, window(second * FS, CLEAN, row=lead))
    assert leads.advance(10 * FS + 13) == []
    assert leads.trusts(0)
    assert leads.trusts(1)
    return leads


def candidate(sample: int, row: int = 0) -> BeatCandidate:
    return BeatCandidate(row, sample, 128, sample + 100, None, sample + 30)


def test_what_only_one_lead_shows_is_doubted(settings: Config) -> None:
    """A candidate that a good other lead does not show is likelier no beat; one that it shows stays as likely."""
    leads, scores = good_leads(settings), [-0.1, -3.0, -4.0, -5.0, -6.0, -3.0]
    assert leads.fuse_scores(0, candidate(10 * FS - 60), scores) == scores
    doubted = leads.fuse_scores(0, candidate(10 * FS), scores)
    assert doubted == [*scores[:5], scores[5] + settings.leads.absent_bias]


def test_two_good_leads_vote_on_a_beat(settings: Config) -> None:
    """What the net says of the same beat in both leads is added, in the lead that is decided later."""
    leads, first, second = good_leads(settings), [-1.0] * 6, [-2.0, -0.5, -3.0, -4.0, -5.0, -6.0]
    assert leads.fuse_scores(1, candidate(10 * FS - 58, 1), second) == second
    assert leads.fuse_scores(0, candidate(10 * FS - 60), first) == [value - 1.0 for value in second]


def test_long_intervals_are_filled(settings: Config) -> None:
    """The beats that only a good other lead shows between two of the heard one are known, and no others."""
    leads = good_leads(settings)
    for sample in (900, 1000, 1100):
        leads.push_beat(1, LeadBeat(candidate(sample, 1), (1.0, 0.0, 0.0, 0.0, 0.0)))
    assert [(lead, beat.candidate.sample) for lead, beat in leads.missed_beats(895, 1105)] == [(1, 1000)]


def test_a_lead_without_beats_is_left(settings: Config) -> None:
    """A lead that shows no QRS complex while the other one does is left; if neither does, it is kept."""
    (switch,) = watched(settings, [[CLEAN] * 10, [CLEAN] * 10], beating=[1])
    assert switch.trouble == "no QRS"
    assert watched(settings, [[CLEAN] * 10, [CLEAN] * 10], beating=[]) == []


def test_the_start_names_all_leads(settings: Config, live: object) -> None:
    """The event of a run's start tells the heard lead and those beside it."""
    (start,) = [item for item in heard_of(settings, live, stream(both_leads("100", 5))) if isinstance(item, RunStarted)]
    assert (start.lead, start.others) == ("MLII", ("V1",))
    assert event_text(start) == "run run, lead MLII, beside it V1"
