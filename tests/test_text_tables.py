"""model.formats: tables of text as records, whatever program wrote them."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import FS, lines, microvolts, opened

from model.errors import ConfigError, RecordError
from model.formats.signal_file import SignalFileOptions, open_signal_file
from model.records.wfdb_records import Record

COUNTS = microvolts()
TIMES = np.arange(len(COUNTS)) / FS
BOTH = [(float(a) / 1000, float(b) / 1000) for a, b in COUNTS]
FIRST = COUNTS[:, :1] / 1000


def described(record: Record) -> list[tuple[str, str]]:
    return [(signal.name, signal.unit) for signal in record.signals]


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "|", ", "])
@pytest.mark.parametrize("titled", [True, False])
def test_separators(tmp_path: Path, separator: str, titled: bool) -> None:
    """Any separator, with and without titles: the time column gives the rate, and is no lead."""
    title = separator.join(["time_s", "MLII_mV", "V1_mV"]) if titled else ""
    text = lines(title, [separator.join([f"{t:.6f}", str(a), str(b)]) for t, (a, b) in zip(TIMES, BOTH, strict=True)])
    record, found = opened(tmp_path / "a.csv", text, unit=None if titled else "mV")
    names = ["MLII", "V1"] if titled else ["lead1", "lead2"]
    assert (record.fs, described(record)) == (FS, [(name, "mV") for name in names])
    np.testing.assert_array_equal(found, COUNTS / 1000)


@pytest.mark.parametrize("rest", ["1", "12.3", "99", "0.5,0.2", "# stop"])
def test_a_last_row_that_is_cut_off(tmp_path: Path, rest: str) -> None:
    """What a logger had begun to write as it was killed is no row: its time may be any."""
    rows = [f"{t:.6f},{a},{b}" for t, (a, b) in zip(TIMES, BOTH, strict=True)]
    record, found = opened(tmp_path / "a.csv", lines("time_s,MLII_mV,V1_mV", rows) + rest)
    assert (record.fs, record.length) == (FS, len(COUNTS))
    np.testing.assert_array_equal(found, COUNTS / 1000)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings(tmp_path: Path, encoding: str, end: str) -> None:
    """Decimal commas, micro signs, byte order marks and line ends of any system."""
    rows = [f"{1000 * t:.3f};{a};{b}".replace(".", ",") for t, (a, b) in zip(TIMES, BOTH, strict=True)]
    text = lines("Zeit [ms];I [\u00b5V];II [\u00b5V]", rows, end)
    record, found = opened(tmp_path / "a.txt", text.encode(encoding))
    assert (record.fs, described(record)) == (FS, [("I", "uV"), ("II", "uV")])
    np.testing.assert_array_equal(found, COUNTS / 1000)


def test_a_copy_is_gone_with_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in UTF-16 is read from a copy, which no longer exists when its record does not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    record, _ = opened(tmp_path / "a.csv", lines("ecg_mV", [str(a) for a, _ in BOTH]).encode("utf-16"), fs=FS)
    assert len(list(tmp_path.glob("ecg-agent-*/a.csv"))) == 1
    del record
    assert list(tmp_path.glob("ecg-agent-*")) == []


@pytest.mark.parametrize(
    ("title", "stamp"),
    [
        ("time", "{0:.3f}"),  # rounded to milliseconds: two or three between samples
        ("t", "{0:.6f}"),
        ("millis", "{1:.0f}"),
        ("time (us)", "{2:.0f}"),
        ("Elapsed time", "0:{0:06.3f}"),
        ("timestamp", "1700000000{0:.6f}"),
    ],
)
def test_clocks(tmp_path: Path, title: str, stamp: str) -> None:
    """Seconds, milliseconds, microseconds and clocks give the rate, however their stamps are rounded."""
    stamps = [stamp.format(t, 1000 * t, 1e6 * t) for t in TIMES]
    if title == "timestamp":
        stamps = [f"{1_700_000_000 + t:.6f}" for t in TIMES]
    text = lines(f"{title},ecg (mV)", [f"{t},{a}" for t, (a, _) in zip(stamps, BOTH, strict=True)])
    record, found = opened(tmp_path / "a.csv", text)
    assert record.fs == FS
    np.testing.assert_array_equal(found, FIRST)
    assert record.start == (datetime.fromtimestamp(1.7e9, UTC) if title == "timestamp" else None)


@pytest.mark.parametrize("per_second", [10**3, 10**6, 10**9])
def test_numbers_since_1970(tmp_path: Path, per_second: int) -> None:
    """Milliseconds, microseconds and nanoseconds since 1970 say when the recording began."""
    stamps = [1_700_000_000 * per_second + round(t * per_second) for t in TIMES]
    text = lines("timestamp;ecg [mV]", [f"{t};{a}" for t, (a, _) in zip(stamps, BOTH, strict=True)])
    record, found = opened(tmp_path / "a.csv", text)
    assert (record.fs, record.start) == (FS, datetime.fromtimestamp(1.7e9, UTC))
    np.testing.assert_array_equal(found, FIRST)


@pytest.mark.parametrize(
    ("form", "zone"),
    [
        ("%Y-%m-%dT%H:%M:%S.%f", None),
        ("%Y-%m-%d %H:%M:%S.%f", None),
        ("%Y-%m-%d %H:%M:%S.%f+02:00", timedelta(hours=2)),
        ("%d.%m.%Y %H:%M:%S.%f", None),
        ("[%H:%M:%S.%f %d/%m/%Y]", None),
    ],
)
def test_dates(tmp_path: Path, form: str, zone: timedelta | None) -> None:
    """Dates with times give the rate, and say when the recording began."""
    began = datetime(2024, 3, 14, 23, 59, 50)
    stamps = [(began + timedelta(seconds=t)).strftime(form) for t in TIMES.tolist()]
    text = lines("Time,ECG (mV)", [f"{t},{a}" for t, (a, _) in zip(stamps, BOTH, strict=True)])
    record, found = opened(tmp_path / "a.csv", text)
    assert record.start is not None
    assert (record.fs, record.start.replace(tzinfo=None), record.start.utcoffset()) == (FS, began, zone)
    np.testing.assert_array_equal(found, FIRST)


def test_midnight(tmp_path: Path) -> None:
    """A clock without a date goes on at midnight."""
    seconds = (TIMES + 86_390) % 86_400
    stamps = [f"{s // 3600:02.0f}:{s % 3600 // 60:02.0f}:{s % 60:09.6f}" for s in seconds]
    text = lines("clock,ecg_mV", [f"{t},{a}" for t, (a, _) in zip(stamps, BOTH, strict=True)])
    record, found = opened(tmp_path / "a.csv", text)
    assert record.fs == FS
    np.testing.assert_array_equal(found, FIRST)


@pytest.mark.parametrize(("title", "stamp"), [("time_s", "{0:.6f}"), ("time_ms", "{1:.0f}"), ("sample", "{2}")])
def test_gaps(tmp_path: Path, title: str, stamp: str) -> None:
    """What lacks between two stamps, or two numbers of samples, has no value."""
    kept = np.ones(len(COUNTS), bool)
    kept[1000:1360] = kept[4000] = False
    rows = [f"{stamp.format(t, 1000 * t, i)},{BOTH[i][0]}" for i, t in enumerate(TIMES) if kept[i]]
    record, found = opened(tmp_path / "a.csv", lines(f"{title},ecg_mv", rows), fs=FS if title == "sample" else None)
    assert record.fs == pytest.approx(FS, rel=1e-5)
    np.testing.assert_array_equal(found, np.where(kept[:, None], FIRST, np.nan))


def test_jitter(tmp_path: Path) -> None:
    """Stamps that come early and late are no gaps, and give the true rate."""
    late = np.sort(TIMES + np.random.default_rng(0).uniform(0, 0.004, len(TIMES)))
    text = lines("time_s,ecg_mv", [f"{t:.6f},{a}" for t, (a, _) in zip(late, BOTH, strict=True)])
    record, found = opened(tmp_path / "a.csv", text)
    assert record.fs == pytest.approx(FS, rel=1e-4)
    np.testing.assert_array_equal(found, FIRST)


def test_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """A clock that goes back makes a gap, not an interval between two heart beats."""
    times = np.concatenate([TIMES[:3600], TIMES[:3600]])
    record, found = opened(tmp_path / "a.csv", lines("time_s,ecg_mv", [f"{t:.6f},{i}" for i, t in enumerate(times)]))
    assert record.length == 7200 + 3 * FS
    assert np.isnan(found[3600 : 3600 + 3 * 360]).all()
    assert found[-1, 0] == 7199


@pytest.mark.parametrize("packets", [False, True])
def test_polar_sensor_logger(tmp_path: Path, packets: bool) -> None:
    """The rate of a strap comes from its own clock, whether each sample or each packet of 73 has a stamp."""
    when = [(i // 73 * 73 if packets else i) / 130 for i in range(len(BOTH))]
    began = datetime(2023, 5, 10, 13, 14, 55, 123000)
    rows = [
        f"{(began + timedelta(seconds=t)).isoformat(timespec='milliseconds')};{599618695 * 10**9 + round(t * 1e9)};"
        f"{1000 * t:.6f};{a}"
        for t, (a, _) in zip(when, COUNTS.tolist(), strict=True)
    ]
    title = "Phone timestamp;sensor timestamp [ns];timestamp [ms];ecg [uV]"
    record, found = opened(tmp_path / "H10.txt", lines(title, rows))
    assert (record.fs, record.start, described(record)) == (130.0, began, [("ecg", "uV")])
    np.testing.assert_array_equal(found, COUNTS[:, :1])


@pytest.mark.parametrize(
    ("above", "comma"),
    [
        ("Name,J\nRecorded Date,2019-10-12 20:42:51 +0200\nDevice,\"Watch4,2\"\nSample Rate,511.548 hertz\n\n"
         "Lead,Lead I\nUnit,\u00b5V\n\n", False),
        ("Name,J\nAufgezeichnet am,2019-10-12 20:42:51 +0200\nMessrate,511.548 Hertz\n\n"
         "Ableitung,Ableitung I\nEinheit,\u00b5V\n\n", True),
    ],
)  # fmt: skip
def test_watch(tmp_path: Path, above: str, comma: bool) -> None:
    """The export of a watch says its rate, lead, unit and start above the samples, in any language."""
    text = above + lines("", [f"{a:.3f}".replace(".", "," if comma else ".") for a, _ in BOTH])
    record, found = opened(tmp_path / "ecg.csv", text)
    assert (record.fs, described(record)) == (511.548, [("I", "uV")])
    assert record.start == datetime.fromisoformat("2019-10-12T20:42:51+02:00")
    np.testing.assert_array_equal(found, FIRST)


def test_opensignals(tmp_path: Path) -> None:
    """OpenSignals says the rate and the sensors in a line of JSON; samples are counts of the converter."""
    head = (
        "# OpenSignals Text File Format. Version 1\n"
        '# {"00:07:80:3B:46:61": {"sensor": ["ECG", "EDA"], "column": ["nSeq", "I1", "I2", "O1", "O2", "A1", "A2"], '
        '"time": "11:42:34.123", "date": "2016-06-20", "label": ["A1", "A2"], "resolution": [4, 1, 1, 1, 1, 10, 10], '
        '"sampling rate": 1000}}\n# EndOfHeader\n'
    )
    raw = COUNTS[:, 0] // 10 + 512
    text = head + lines("", [f"{i % 16}\t0\t0\t1\t1\t{value}\t{300 + i % 3}\t" for i, value in enumerate(raw)])
    record, found = opened(tmp_path / "a.txt", text)
    assert (record.fs, described(record)) == (1000.0, [("ECG", "counts"), ("EDA", "counts")])
    assert record.start == datetime(2016, 6, 20, 11, 42, 34, 123000)
    np.testing.assert_array_equal(found[:, 0], raw)


def test_tables_of_physionet(tmp_path: Path) -> None:
    """Tables of rdsamp, quoted and with a row of units."""
    rows = [f"'0:{t:06.3f}',{a:.3f},{b:.3f}" for t, (a, b) in zip(TIMES, BOTH, strict=True)]
    text = lines("'Elapsed time','MLII','V5'\n'hh:mm:ss.mmm','mV','mV'", rows)
    record, found = opened(tmp_path / "samples.csv", text)
    assert (record.fs, described(record)) == (FS, [("MLII", "mV"), ("V5", "mV")])
    np.testing.assert_array_equal(found, COUNTS / 1000)
    text = lines("'sample #','MLII','V5'", [f"{i},{a},{b}" for i, (a, b) in enumerate((COUNTS // 5 + 1024).tolist())])
    record, found = opened(tmp_path / "100.csv", text, fs=FS, unit="counts")
    assert described(record) == [("MLII", "counts"), ("V5", "counts")]
    np.testing.assert_array_equal(found, COUNTS // 5 + 1024)


def test_our_own_table(tmp_path: Path) -> None:
    """What `ecg-agent convert` writes is read back: samples and beats are no leads."""
    rows = [
        f"{i},{round(t, 6)!r},{a!r},{'' if i == 77 else repr(b)},{'N' if i % 300 == 7 else ''}"
        for i, (t, (a, b)) in enumerate(zip(TIMES.tolist(), BOTH, strict=True))
    ]
    record, found = opened(tmp_path / "a.csv", lines("sample,time_s,MLII (mV),V1 (mV),beat", rows))
    assert (record.fs, described(record)) == (FS, [("MLII", "mV"), ("V1", "mV")])
    assert np.isnan(found[77, 1])
    np.testing.assert_array_equal(np.delete(found, 77, 0), np.delete(COUNTS / 1000, 77, 0))


def test_cells_without_a_value(tmp_path: Path) -> None:
    """Empty cells, NaN, marks of a lead that is off, words and short rows have no value; long rows keep theirs."""
    odd = {5: "", 105: "NaN", 205: "!", 305: "lead off", 405: "null"}
    rows = [f"{t:.6f},{odd.get(i, a)},{b}" for i, (t, (a, b)) in enumerate(zip(TIMES, BOTH, strict=True))]
    rows[505], rows[605] = f"{TIMES[505]:.6f},7.5", f"{rows[605]},9,9"
    record, found = opened(tmp_path / "a.csv", lines("time,ecg (mV),x (mV)", rows))
    assert (record.fs, np.flatnonzero(np.isnan(found[:, 0])).tolist()) == (FS, list(odd))
    assert np.flatnonzero(np.isnan(found[:, 1])).tolist() == [505]
    assert found[605].tolist() == list(BOTH[605])


def test_one_column_that_begins_without_a_value(tmp_path: Path) -> None:
    """A sketch for a microcontroller prints "!" while a lead is off: from the first line on."""
    rows = ["!"] * 360 + [str(a) for a in (COUNTS[:, 0] // 10 + 512).tolist()]
    record, found = opened(tmp_path / "a.txt", lines("", rows), fs=FS, unit="counts")
    assert (record.length, described(record)) == (len(rows), [("ECG", "counts")])
    np.testing.assert_array_equal(found[:, 0], [*[np.nan] * 360, *(COUNTS[:, 0] // 10 + 512)])


def test_two_columns_of_whole_numbers_are_no_decimal_commas(tmp_path: Path) -> None:
    """ "512,498" are two counts, "0,512" is a number with a decimal comma."""
    counts = COUNTS // 10 + 500
    _, found = opened(tmp_path / "a.csv", lines("", [f"{a},{b}" for a, b in counts.tolist()]), fs=FS, unit="counts")
    np.testing.assert_array_equal(found, counts)
    rows = [f"{a:.3f}".replace(".", ",") for a, _ in BOTH]
    np.testing.assert_array_equal(opened(tmp_path / "b.csv", lines("", rows), fs=FS, unit="mV")[1], FIRST)


def test_columns_that_are_no_leads(tmp_path: Path) -> None:
    """Acceleration is no lead; what is none by its name, and has no unit, asks for none."""
    rows = [f"{t:.6f},{a},0.1,0.2,{b},{t}" for t, (a, b) in zip(TIMES, COUNTS.tolist(), strict=True)]
    record, found = opened(tmp_path / "a.csv", lines("time_s,ecg_uV,acc_x,acc_y,acc_z,resp", rows))
    assert described(record) == [("ecg", "uV"), ("resp", "NU")]
    np.testing.assert_array_equal(found[:, 0], COUNTS[:, 0])


def test_comments_and_statements(tmp_path: Path) -> None:
    """Comments above and between the samples; a rate and a unit in them count."""
    rows = [f"{a}\n# marker" if i % 999 == 5 else f"{a}" for i, (a, _) in enumerate(BOTH)]
    record, found = opened(tmp_path / "a.txt", lines("# made by hand\n# fs = 360\n# unit: mV", rows))
    assert (record.fs, described(record)) == (FS, [("ECG", "mV")])
    np.testing.assert_array_equal(found, FIRST)


def test_what_a_table_says_stands(tmp_path: Path) -> None:
    """A rate or unit that contradicts a table is refused; one within what stamps are wrong by is taken."""
    text = lines("time_s,ecg_mV", [f"{t:.6f},{a}" for t, (a, _) in zip(TIMES, BOTH, strict=True)])
    with pytest.raises(
        RecordError, match=r"a.csv has a sampling rate of \d+ Hz, not 977: leave --fs out, or its times"
    ):
        opened(tmp_path / "a.csv", text, fs=977.0)
    with pytest.raises(RecordError, match=r"a\.csv is in mV, not uV: leave --unit out"):
        opened(tmp_path / "a.csv", text, unit="uV")
    record, found = opened(tmp_path / "a.csv", text, fs=FS * 1.001, unit="mV")
    assert (record.fs, described(record)) == (FS * 1.001, [("ecg", "mV")])
    np.testing.assert_array_equal(found, FIRST)


@pytest.mark.parametrize(
    ("text", "stated", "reason"),
    [
        (lines("", [str(a) for a, _ in BOTH]), {}, "rate of a.csv is not in the file: say it, such as --fs 250"),
        (lines("", [str(a) for a, _ in BOTH]), {"fs": 250.0}, "unit of a.csv is not in the file: say it"),
        (lines("Sample Rate,0 Hz\nUnit,mV", [str(a) for a, _ in BOTH]), {}, "a sampling rate of 0 Hz"),
        ("", {}, "a.csv is empty"),
        ("\n \n", {}, "a.csv is empty"),
        ("This is prose.\nIt has 3 numbers: 1, 2.\n" * 50, {}, "text without a table of samples"),
        (lines("name,city,age", [f"Bob,Paris,{i}" for i in range(99)]), {}, "text without a table of samples"),
        (lines("", [",".join(["0.5"] * 500)] * 99), {}, "has 500 columns"),
        (lines("", [",".join(["0.5"] * 187 + ["4.0"])] * 99), {}, "beats that are cut out and normalised"),
        (lines("time_s,ecg_mV", [f"{i / 100}," for i in range(99)]), {}, "no values in its columns"),
        ("1" * 10**6, {"fs": 250.0, "unit": "mV"}, "no values in its columns"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, stated: dict[str, Any], reason: str) -> None:
    """What is no recording, or lacks its rate or unit, is refused in a line that says what to do."""
    with pytest.raises(RecordError, match=reason):
        opened(tmp_path / "a.csv", text, **stated)


def test_a_table_that_turns_into_words(tmp_path: Path) -> None:
    """A table whose later rows are words is refused, not taken for a lead that is off."""
    rows = [f"{a}" for a, _ in BOTH] * 40 + ["all the rest of this file is prose"] * 40_000
    with pytest.raises(RecordError, match="words where samples should be"):
        opened(tmp_path / "a.txt", lines("ecg_mV", rows), fs=FS)


@pytest.mark.parametrize(
    "stated", [(0.0, None), (-1.0, None), (float("nan"), None), (None, "two millivolts"), (None, "mmHg")]
)
def test_wrong_options(stated: tuple[float | None, str | None]) -> None:
    """A rate that is none of an ECG, and a unit that is none of a voltage, are wrong options, not wrong files."""
    with pytest.raises(ConfigError, match=r"makes no sense|is not known"):
        SignalFileOptions(*stated)


@given(st.binary(max_size=400), st.integers(0, 3000), st.integers(0, 40))
def test_damaged_tables(tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int, cut: int) -> None:
    """Whatever stands in a table, it is read or refused, in blocks or as a whole."""
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    whole = lines("time_s,ecg_mV", [f"{t:.4f},{a}" for t, (a, _) in zip(TIMES[:300], BOTH, strict=False)]).encode()
    path.write_bytes(whole[:place] + noise + whole[place + cut :])
    with contextlib.suppress(RecordError):
        assert open_signal_file(str(path), SignalFileOptions(unit="mV")).length > 0
