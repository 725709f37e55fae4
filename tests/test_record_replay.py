"""simulator.record_replay: a record as packets."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray
from scipy.signal import resample_poly

from agent.core.messages import MISSING, Beat, Chunk, End, quantise_to_counts
from agent.pipeline.pipeline import Pipeline
from agent.wire.packets import decode_frames, encode_frames
from agent.wire.record_chunks import record_leads
from model.errors import ConfigError, RecordError
from model.records.signal_conditioning import conditioning_reach
from model.records.wfdb_records import Record, open_record, read_record_samples
from simulator.record_replay import RecordReplay, ReplayPlan, packet_samples

PLAN = ReplayPlan(record="100", bed="100", start_s=0, duration_s=None, loop=False, noise=None, snr_db=6, seed=0)


def played(plan: ReplayPlan, **options: Any) -> tuple[list[Chunk], End]:
    *chunks, end = RecordReplay(plan, **{"packet_ms": 40.0, **options})
    assert isinstance(end, End)
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    return [chunk for chunk in chunks if isinstance(chunk, Chunk)], end


def samples(plan: ReplayPlan, **options: Any) -> NDArray[np.int32]:
    return np.concatenate([chunk.counts for chunk in played(plan, **options)[0]])


def written(
    folder: Path, signal: NDArray[np.float64], fs: float, units: list[str], names: list[str] | None = None
) -> str:
    """Path of a new WFDB record of (n, signals) physical samples."""
    wfdb.wrsamp(
        "made",
        fs=fs,
        units=units,
        sig_name=names or [f"s{i}" for i in range(len(units))],
        p_signal=signal,
        fmt=["16"] * len(units),
        write_dir=str(folder),
    )
    return str(folder / "made")


def test_whole_record() -> None:
    """A record comes out as scipy's resample_poly of the whole of it, in microvolts, as if its first and last values
    went on for ever."""
    record = read_record_samples(open_record("100"))
    around = np.concatenate([np.tile(record[0], (720, 1)), record, np.tile(record[-1], (720, 1))])
    expected = np.rint(1000 * (resample_poly(around - record[0], 25, 72)[250:-250] + record[0]))
    np.testing.assert_array_equal(samples(PLAN), expected)


@pytest.mark.parametrize("block_s", [0.05, 0.3, 7.77, 1000.0])
@pytest.mark.parametrize("noise", [None, "ma"])
def test_block_size(block_s: float, noise: str | None) -> None:
    """The samples are the same, bit for bit, whatever the size of the blocks, with and without noise."""
    plan = replace(PLAN, record="228", start_s=1.5, duration_s=9, noise=noise)
    np.testing.assert_array_equal(samples(plan, block_s=block_s), samples(plan))


@pytest.mark.parametrize("noise", [None, "bw"])
def test_start_and_duration(noise: str | None) -> None:
    """A part of a record has the samples and indices that it has in the whole."""
    whole = samples(replace(PLAN, duration_s=200, noise=noise))
    chunks, end = played(replace(PLAN, start_s=123.4, duration_s=10, noise=noise))
    assert chunks[0].first == 15_425
    assert end.first == 15_425 + 1250
    np.testing.assert_array_equal(np.concatenate([chunk.counts for chunk in chunks]), whole[15_425:][:1250])


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is read block by block, as its packets are asked for."""
    sizes: list[int] = []

    def noted(record: Record, start: int, stop: int) -> NDArray[np.float64]:
        sizes.append(stop - start)
        return read_record_samples(record, start, stop)

    monkeypatch.setattr("agent.wire.record_chunks.read_record_samples", noted)
    messages = iter(RecordReplay(PLAN, 40))
    next(messages)
    assert len(sizes) <= 2
    for _ in range(25 * 100):
        next(messages)
    assert max(sizes) <= 32 * 360 + 2 * conditioning_reach(360)
    assert sum(sizes) <= 140 * 360


def test_packets() -> None:
    """Packets follow each other without a break in index or sequence, the last one is shorter, then comes the end."""
    chunks, end = played(replace(PLAN, duration_s=1), packet_ms=56)
    assert [len(chunk.counts) for chunk in chunks] == [7] * 17 + [6]
    assert [chunk.first for chunk in chunks] == list(range(0, 125, 7))
    assert [chunk.sequence for chunk in chunks] == list(range(18))
    assert end == End("100", chunks[0].run, 125, 125.0, 18)


def test_whole_length() -> None:
    """A record that is not looped ends with its last resampled sample."""
    replay = RecordReplay(replace(PLAN, start_s=1800), 40)
    (*_, end) = replay
    assert end.first == 225_695 == replay.first + (replay.length or 0)


@pytest.mark.parametrize("noise", [None, "ma"])
def test_loop(noise: str | None) -> None:
    """At the end of a looped record its run ends, and a new one sends the record from sample 0 on."""
    messages = list(RecordReplay(replace(PLAN, start_s=1800, duration_s=20, loop=True, noise=noise), 40))
    seam = next(i for i, message in enumerate(messages) if isinstance(message, End))
    before = [message for message in messages[:seam] if isinstance(message, Chunk)]
    behind = [message for message in messages[seam + 1 :] if isinstance(message, Chunk)]
    left = 225_695 - before[0].first
    assert messages[seam] == End("100", before[0].run, 225_695, 125.0, len(before))
    assert messages[-1] == End("100", behind[0].run, 2500 - left, 125.0, len(behind))
    assert (behind[0].first, behind[0].sequence) == (0, 0)
    assert {message.run for message in before}.isdisjoint(message.run for message in behind)
    assert sum(len(chunk.counts) for chunk in before + behind) == 2500
    if noise is None:
        found = np.concatenate([chunk.counts for chunk in behind])
        np.testing.assert_array_equal(found, samples(replace(PLAN, duration_s=20))[: 2500 - left])
    assert RecordReplay(replace(PLAN, loop=True), 40).length is None


def test_loop_invents_no_interval(new_ward: Callable[[], Pipeline]) -> None:
    """No RR interval spans the seam of a loop, and the ledger of the bed closes."""
    ward = new_ward()
    messages = list(RecordReplay(replace(PLAN, start_s=1780, duration_s=60, loop=True), 1000))
    beats = [item for message in messages for item in ward.push([message]) if isinstance(item, Beat)]
    beats += [item for item in ward.finish() if isinstance(item, Beat)]
    turns = [i for i, (before, beat) in enumerate(pairwise(beats), 1) if beat.sample < before.sample]
    assert len(turns) == 1
    assert beats[turns[0]].rr_s is None
    assert all(beat.rr_s is None or beat.rr_s > 0.5 for beat in beats)
    assert len(beats) > 60
    assert (ward.beds["100"].analysed, ward.beds["100"].lost) == (7500, 0)


def test_runs_differ() -> None:
    """Each start is a new run, unless the run is given."""
    assert RecordReplay(PLAN, 40).run != RecordReplay(PLAN, 40).run
    assert RecordReplay(PLAN, 40, run="mine").run == "mine"


def test_packets_fit_the_wire() -> None:
    """The packets of a replay survive the wire."""
    for message in RecordReplay(replace(PLAN, duration_s=1), 40):
        found = decode_frames(encode_frames(message))
        assert found.first == message.first
        if isinstance(message, Chunk) and isinstance(found, Chunk):
            np.testing.assert_array_equal(found.counts, message.counts)
            assert found.leads == message.leads


def test_rails() -> None:
    """The rails of the converter are those of the record, in counts."""
    assert [(lead.low, lead.high) for lead in record_leads(open_record("100"))] == [(-5120, 5115)] * 2


@pytest.mark.parametrize("fs", [50, 125, 128, 250, 257, 500, 1000])
def test_any_rate(tmp_path: Path, fs: int) -> None:
    """A WFDB record of another rate is replayed by path; a sine keeps its frequency and amplitude."""
    time = np.arange(10 * fs) / fs
    path = written(tmp_path, np.sin(2 * np.pi * 3 * time)[:, None], fs, ["mV"])
    found = samples(replace(PLAN, record=path))[125:-125, 0]
    assert len(samples(replace(PLAN, record=path))) == 1250
    np.testing.assert_allclose(found, 1000 * np.sin(2 * np.pi * 3 * np.arange(125, 1125) / 125), atol=5)


def test_missing_values(tmp_path: Path) -> None:
    """Samples without a value are MISSING on the wire, and so is nothing farther than the filter reaches."""
    signal = np.linspace(-1, 1, 7200).reshape(3600, 2)
    signal[1800:1836, 1] = np.nan
    found = samples(replace(PLAN, record=written(tmp_path, signal, 360, ["mV", "mV"])))
    missing = np.flatnonzero(found[:, 1] == MISSING)
    assert (found[:, 0] != MISSING).all()
    assert set(range(625, 638)) <= set(missing.tolist())
    assert missing.min() >= 625 - 12
    assert missing.max() <= 638 + 12


def test_units(tmp_path: Path) -> None:
    """A count is a microvolt whatever the unit of a voltage; others get a power of ten that fits 16 bits.

    Raw numbers have fine steps, so that nothing is lost.
    """
    signal = np.array([[0.001, 1.0, 1000.0, 120.0, 0.5]]) * np.linspace(-1, 1, 250)[:, None]
    path = written(tmp_path, signal, 125, ["V", "mV", "uV", "mmHg", "NU"])
    leads = record_leads(open_record(path))
    assert [lead.gain for lead in leads][:3] == [1e6, 1000.0, 1.0]
    assert all(np.log10(lead.gain) % 1 == 0 for lead in leads[:4])
    assert 3000 <= max(-leads[3].low, leads[3].high) <= 30_000
    assert leads[4].gain == pytest.approx(1e5)
    np.testing.assert_allclose(samples(replace(PLAN, record=path))[-1][:3], [1000, 1000, 1000], atol=1)


def test_repeated_lead_names(tmp_path: Path) -> None:
    """Two signals of one name become two leads that can be told apart."""
    path = written(tmp_path, np.zeros((250, 3)) + np.linspace(0, 1, 250)[:, None], 125, ["mV"] * 3)
    header = Path(path + ".hea")
    header.write_text(header.read_text().replace("s0", "ECG").replace("s1", "ECG").replace("s2", "ECG"))
    assert [lead.name for lead in record_leads(open_record(path))] == ["ECG", "ECG-2", "ECG-3"]


def test_quantised() -> None:
    """Counts are rounded half to even, kept off the value that means none, and MISSING where there is none."""
    found = quantise_to_counts(np.array([[0.5, 1.5], [np.nan, 1e20], [-1e20, -0.4]]), np.array([1.0, 1.0]))
    assert found.tolist() == [[0, 2], [MISSING, 2**31 - 1], [MISSING + 1, 0]]


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"record": "99"}, RecordError, "no record '99'"),
        ({"bed": ""}, ConfigError, "bed ''"),
        ({"bed": "a\n"}, ConfigError, "cannot be printed"),
        ({"bed": "x" * 65}, ConfigError, "65 bytes"),
        ({"start_s": 1806}, ConfigError, "start 1806 s is not within record 100: it has 0 to 1805.6 s"),
        ({"start_s": -1}, ConfigError, "start -1 s"),
        ({"start_s": float("nan")}, ConfigError, "start nan s"),
        ({"duration_s": 0}, ConfigError, "duration 0 s is too short"),
        ({"duration_s": float("inf")}, ConfigError, "duration inf s"),
        ({"noise": "em2"}, ConfigError, "no noise 'em2': choose one of bw, ma"),
        ({"noise": "ma", "snr_db": float("nan")}, ConfigError, "nan dB"),
        ({"noise": "ma", "seed": -1}, ConfigError, "seed -1"),
    ],
)
def test_refused(changes: dict[str, Any], error: type[Exception], reason: str) -> None:
    """A plan that makes no sense is refused with a line that says why."""
    with pytest.raises(error, match=reason):
        RecordReplay(replace(PLAN, **changes), 40)


def test_rate_of_no_ecg(tmp_path: Path) -> None:
    """A record whose rate shows no ECG is refused, and what to do about it is said."""
    path = written(tmp_path, np.linspace(0, 1, 4000)[:, None], 12.5, ["mV"])
    with pytest.raises(RecordError, match=r"cannot be resampled: .*12\.5 Hz makes no sense; check its header"):
        RecordReplay(replace(PLAN, record=path), 40)


def test_too_many_signals(tmp_path: Path) -> None:
    """Of more signals than a packet carries the likeliest ECG leads are sent, in their order, and it is said."""
    x = np.arange(250)[:, None] / 200 + np.arange(17)
    path = written(tmp_path, x, 125, ["mV"] * 17, [*(f"EEG{number}" for number in range(16)), "II"])
    chunks, _ = played(replace(PLAN, record=path))
    assert [lead.name for lead in chunks[0].leads] == ["II"]
    sent = np.concatenate([chunk.counts for chunk in chunks])
    assert np.array_equal(sent, np.rint(1000 * read_record_samples(open_record(path))[:, 16:]))
    notice = RecordReplay(replace(PLAN, record=path), 40).notice
    assert notice == f"1 of 17 signals of record {path} are sent: II"
    assert np.isfinite(played(replace(PLAN, record=path, noise="ma"))[0][0].counts).all()


def test_a_record_that_ends_early_is_sent_to_its_end(tmp_path: Path) -> None:
    """What is there of a signal file is sent, then the end of the run, and it is said."""
    path = written(tmp_path, np.linspace(0, 1, 250)[:, None], 125, ["mV"])
    data = Path(f"{path}.dat")
    data.write_bytes(data.read_bytes()[: 2 * 200 + 1])
    chunks, end = played(replace(PLAN, record=path))
    assert (end.first, sum(len(chunk.counts) for chunk in chunks)) == (200, 200)
    notice = RecordReplay(replace(PLAN, record=path), 40).notice
    assert notice.endswith("ends 0.400 s before the length in its header: 1.600 s are there")


@pytest.mark.parametrize("packet_ms", [0, -8, 30, 7.9, float("nan"), float("inf"), 1e9])
def test_packet_ms_refused(packet_ms: float) -> None:
    """A packet is a whole number of samples."""
    with pytest.raises(ConfigError, match="give a multiple of 8 ms"):
        packet_samples(packet_ms)


def test_packet_ms() -> None:
    """A sample lasts 8 ms."""
    assert [packet_samples(ms) for ms in (8, 40, 1000)] == [1, 5, 125]
