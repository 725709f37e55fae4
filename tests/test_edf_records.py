"""model.formats.edf_records: EDF, EDF+ and BDF as records."""

import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest
from numpy.typing import NDArray
from support.tables import microvolts, opened

from agent.wire.record_chunks import ResampledRecord
from model.errors import RecordError
from model.formats.signal_file import open_signal_file
from model.records.wfdb_records import missing_end_notice, read_record_samples

COUNTS = microvolts(20.0)[:7200]
SECONDS = 20


def signal(counts: NDArray[np.int64], fs: float, label: str, unit: str = "uV") -> edfio.EdfSignal:
    return edfio.EdfSignal.from_digital(
        counts.astype(np.int16), fs, label=label, physical_dimension=unit, physical_range=(-32768, 32767)
    )


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A polysomnogram: an ECG of 360 Hz, one of 90 Hz, an EEG of 720 Hz, a saturation of 1 Hz, annotations."""
    edfio.Edf(
        [
            signal(np.repeat(COUNTS[:, 1], 2), 720, "EEG C4-A1"),
            signal(COUNTS[:, 0], 360, "ECG II"),
            signal(COUNTS[::4, 1], 90, "ECG V1"),
            signal(np.arange(SECONDS), 1, "SpO2", "%"),
        ],
        starttime=datetime.time(22, 1, 3),
        recording=edfio.Recording(startdate=datetime.date(2020, 2, 3)),
        annotations=[edfio.EdfAnnotation(1, None, "lights off")],
    ).write(tmp_path / "night.edf")
    return tmp_path / "night.edf"


def annotation_places(content: bytes) -> tuple[int, int, int, int]:
    """Return where the annotations of the first data record begin, their bytes, those of a record, and their number."""
    size, records, count = int(content[184:192]), int(content[236:244]), int(content[252:256])
    labels = [content[256 + 16 * i : 272 + 16 * i].decode().strip() for i in range(count)]
    at = 256 + 216 * count
    sizes = [2 * int(content[at + 8 * i : at + 8 * i + 8]) for i in range(count)]
    i = labels.index("EDF Annotations")
    return size + sum(sizes[:i]), sizes[i], sum(sizes), records


def as_discontinuous(path: Path, onsets: list[float]) -> None:
    """Make an EDF+D file of an EDF+C file: its data records begin at other times."""
    content = bytearray(path.read_bytes())
    begin, size, record, count = annotation_places(bytes(content))
    content[192:197] = b"EDF+D"
    for i, onset in zip(range(count), onsets, strict=True):
        lists = f"+{onset:g}\x14\x14\x00".encode()
        content[begin + i * record : begin + i * record + size] = lists.ljust(size, b"\x00")
    path.write_bytes(content)


def test_signals_of_different_rates(mixed: Path) -> None:
    """An ECG has its own rate, slower signals are held, faster ones thinned; annotations are no signal."""
    record, found = opened(mixed)
    assert (record.fs, record.length, record.start) == (360.0, 7200, datetime.datetime(2020, 2, 3, 22, 1, 3))
    assert [(s.name, s.unit) for s in record.signals] == [
        ("EEG C4-A1", "uV"),
        ("ECG II", "uV"),
        ("ECG V1", "uV"),
        ("SpO2", "%"),
    ]
    wanted = [COUNTS[:, 1], COUNTS[:, 0], np.repeat(COUNTS[::4, 1], 4), np.repeat(np.arange(SECONDS), 360)]
    np.testing.assert_array_equal(found, np.stack(wanted, axis=1))


def test_discontinuous(mixed: Path) -> None:
    """Between data records that do not follow each other there is no value; the rest is as it was."""
    _, whole = opened(mixed)
    as_discontinuous(mixed, [i + (10.5 if i >= 12 else 0.0) + 0.25 for i in range(SECONDS)])
    record, found = opened(mixed)
    gap = np.full((round(10.5 * 360), 4), np.nan)
    assert record.length == 7200 + len(gap)
    np.testing.assert_array_equal(found, np.concatenate([whole[: 12 * 360], gap, whole[12 * 360 :]]))


def test_rounded_onsets(mixed: Path) -> None:
    """Data records that begin a little too early, by a rounded time, follow each other: no sample is lost."""
    _, whole = opened(mixed)
    as_discontinuous(mixed, [0.998 * i for i in range(SECONDS)])
    np.testing.assert_array_equal(opened(mixed)[1], whole)


@pytest.mark.parametrize("onsets", [[0.5 * i for i in range(SECONDS)], [float(SECONDS - i) for i in range(SECONDS)]])
def test_data_records_that_overlap(mixed: Path, onsets: list[float]) -> None:
    """Data records that overlap or go back are refused: joined, they would make intervals that never were."""
    as_discontinuous(mixed, onsets)
    with pytest.raises(RecordError, match="impossible times: they overlap or go back"):
        opened(mixed)


def test_a_signal_without_a_scale(mixed: Path) -> None:
    """A lead whose physical minimum is its maximum is not a flat line; its samples mean nothing."""
    content = bytearray(mixed.read_bytes())
    count = int(content[252:256])
    at = 256 + count * (16 + 80 + 8) + 8  # physical minimum of the second signal
    content[at + 8 * count : at + 8 * count + 8] = content[at : at + 8]
    mixed.write_bytes(content)
    with pytest.raises(RecordError, match="no scale for ECG II: its physical minimum and maximum are both -32768"):
        opened(mixed)


def test_length_of_a_header(mixed: Path) -> None:
    """Samples begin where the header says; a length of it that the size of the file belies is refused."""
    _, whole = opened(mixed)
    content = bytearray(mixed.read_bytes())
    size = int(content[184:192])
    content[184:192] = b"%-8d" % (size + 512)
    mixed.write_bytes(content[:size] + b" " * 512 + content[size:])
    np.testing.assert_array_equal(opened(mixed)[1], whole)
    mixed.write_bytes(content[:size] + b" " * 100 + content[size:])
    with pytest.raises(RecordError, match="header makes no sense"):
        opened(mixed)


def test_signals_without_samples(mixed: Path) -> None:
    """Signals of no samples are not told to be annotations."""
    content = bytearray(mixed.read_bytes())
    count = int(content[252:256])
    at = 256 + 216 * count
    content[at : at + 8 * (count - 1)] = b"0       " * (count - 1)
    mixed.write_bytes(content)
    with pytest.raises(RecordError, match="has 0 samples in each data record"):
        opened(mixed)


@pytest.mark.parametrize("onsets", [[1e9 * i for i in range(SECONDS)], None])
def test_discontinuous_without_times(mixed: Path, onsets: list[float] | None) -> None:
    """Times of data records that make no sense, or lack, are refused."""
    as_discontinuous(mixed, onsets or [0.0] * SECONDS)
    if onsets is None:
        content = bytearray(mixed.read_bytes())
        begin, size, _, _ = annotation_places(bytes(content))
        content[begin : begin + size] = bytes(size)
        mixed.write_bytes(content)
    with pytest.raises(RecordError, match=r"impossible times|does not say when"):
        opened(mixed)


def test_cut_short(mixed: Path) -> None:
    """Of a file that is cut short the whole data records are there, and the rest is told."""
    _, whole = opened(mixed)
    content = mixed.read_bytes()
    _, _, size, _ = annotation_places(content)
    mixed.write_bytes(content[: -3 * size - 100])
    record, found = opened(mixed)
    assert (record.length, record.missing) == (16 * 360, 4 * 360)
    np.testing.assert_array_equal(found, whole[: 16 * 360])
    assert "ends 4.000 s before the length in its header: 16.000 s are there" in missing_end_notice(record)
    assert ResampledRecord(record).length == 16 * 125


@pytest.mark.parametrize("records", [b"-1      ", b"20      ", b"7       "])
def test_number_of_records(mixed: Path, records: bytes) -> None:
    """A file that is still written does not know its length: what is there counts."""
    content = bytearray(mixed.read_bytes())
    content[236:244] = records
    mixed.write_bytes(content)
    assert opened(mixed)[0].length == (7 if records.startswith(b"7") else SECONDS) * 360


@pytest.mark.parametrize(
    ("place", "text", "reason"),
    [
        (236, b"0       ", None),
        (244, b"0       ", "last 0 s"),
        (252, b"0   ", "header makes no sense"),
        (252, b"9999", "header makes no sense"),
        (244, b"inf     ", "last inf s"),
        (256 + 5 * 120 + 4, b"?" * 20, "header makes no sense"),
    ],
)
def test_damaged_headers(mixed: Path, place: int, text: bytes, reason: str | None) -> None:
    """A header that makes no sense is refused; a number of data records that was never filled in is not."""
    content = bytearray(mixed.read_bytes())
    content[place : place + len(text)] = text
    mixed.write_bytes(content)
    if reason is None:
        assert opened(mixed)[0].length == 7200
        return
    with pytest.raises(RecordError, match=reason):
        opened(mixed)


@pytest.mark.parametrize("length", [100, 300, 256 * 6])
def test_only_a_header(mixed: Path, length: int) -> None:
    """A file that ends within its header, or with it, is refused."""
    mixed.write_bytes(mixed.read_bytes()[:length])
    with pytest.raises(RecordError, match=r"header makes no sense|ends with its header"):
        opened(mixed)


def test_bdf(tmp_path: Path) -> None:
    """Samples of 24 bits, with their sign; the trigger channel is no signal."""
    counts = (COUNTS * 200).astype(np.int32)
    made = [
        edfio.BdfSignal.from_digital(
            np.ascontiguousarray(column), 360, label=label, physical_dimension="uV", physical_range=(-262144, 262143)
        )
        for column, label in ((counts[:, 0], "ECG"), (counts[:, 1], "Status"))
    ]
    edfio.Bdf(made).write(tmp_path / "a.bdf")
    record, found = opened(tmp_path / "a.bdf")
    assert [signal.name for signal in record.signals] == ["ECG"]
    np.testing.assert_allclose(found[:, 0], edfio.read_bdf(tmp_path / "a.bdf").signals[0].data, atol=1e-6)


@pytest.mark.parametrize("fs", [249.89, 511.548, 62.4725, 999.56, 360.0])
def test_rates_of_rounded_data_records(tmp_path: Path, fs: float) -> None:
    """The rate is the roundest one that the eight characters of a length can mean."""
    samples = 250
    edf = edfio.Edf([signal(COUNTS[:5000, 0], samples, "ECG")], data_record_duration=1)
    edf.write(tmp_path / "a.edf")
    content = bytearray((tmp_path / "a.edf").read_bytes())
    content[244:252] = f"{samples / fs:.6f}".encode()
    (tmp_path / "a.edf").write_bytes(content)
    assert open_signal_file(str(tmp_path / "a.edf")).fs == (fs if fs != 360 else pytest.approx(fs, rel=1e-5))


def test_unit_that_is_not_said(tmp_path: Path) -> None:
    """The unit of an ECG is asked for where the header leaves it out; that of another signal is not."""
    edfio.Edf([signal(COUNTS[:, 0], 360, "ECG", ""), signal(COUNTS[:, 1], 360, "RESP", "")]).write(tmp_path / "a.edf")
    with pytest.raises(RecordError, match=r"unit of ECG in a\.edf is not in the file"):
        opened(tmp_path / "a.edf")
    record, _ = opened(tmp_path / "a.edf", unit="uV")
    assert [signal.unit for signal in record.signals] == ["uV", "NU"]


def test_blocks_take_little_memory(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data records are read a few at a time, with the same samples."""
    _, whole = opened(mixed)
    monkeypatch.setattr("model.formats.edf_records.READ_BYTES", 1)
    record = open_signal_file(str(mixed))
    np.testing.assert_array_equal(read_record_samples(record, 100, 5000), whole[100:5000])
