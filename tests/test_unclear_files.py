"""model.formats: what a file says twice, or leaves unclear, is read right or refused; never guessed without a word."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.tables import FS, lines, microvolts, opened

from model.errors import RecordError
from model.formats.signal_file import open_signal_file
from model.records.wfdb_records import record_notices

COUNTS = microvolts()[:, 0]
TIMES = np.arange(len(COUNTS)) / FS
ECG = COUNTS / 1000


def table(
    times: Any = None, values: Any = None, above: str = "", title: str = "time (s),ECG (mV)", stamp: str = "{:.6f}"
) -> str:
    """Return a table of times and values under a title; without times one of values alone."""
    cells = [f"{value:g}" for value in (ECG if values is None else values)]
    if times is None:
        return above + lines("ECG (mV)", cells)
    return above + lines(title, [f"{stamp.format(t)},{cell}" for t, cell in zip(times, cells, strict=True)])


@pytest.mark.parametrize(
    ("above", "fs"),
    [
        ("# Low pass filter: 40 Hz\n# Sampling rate: 360 Hz\n", 360.0),
        ("# Filter 0.5-40 Hz\n# Sample rate: 360\n", 360.0),
        ("Mains filter,50 Hz\nSample Rate,360 Hz\nUnit,mV\n", 360.0),
        ('Device,"Watch 300 Hz LTE"\nSample Rate,512 hertz\n', 512.0),
        ("# Heart rate: 72, sampled at 1 Hz\n# fs = 360\n", 360.0),
        ("# sampling rate (kHz): 0.36, notch 50 Hz\n", 360.0),
        ("# Fr\u00e9quence d'\u00e9chantillonnage : 500 Hz\n", 500.0),
        ("# 12 bit, sampled at 250 Hz\n", 250.0),
        ("# 360 Hz\n", 360.0),
        ("# Fs=360Hz\n", 360.0),
        ("# SamplingRate of the ECG is 250\n", 250.0),
        ("# Rate: 360 Hz\n", 360.0),
        ("# Rate: 75\n", None),
        ("# Sampling rate: 1,000 Hz\n", 1000.0),
        ("# Abtastrate: 511,548 Hz\n", 511.548),
        ("# bandwidth 0.05 - 150 Hz\n", None),
        ("# frequency: 50\n", None),
        ("# Rate 1.2.3 Hz\n", None),
        ("# Number of samples: 7200\n", None),
    ],
)
def test_rates_above_a_table(tmp_path: Path, above: str, fs: float | None) -> None:
    """Only what is named a sampling rate, or stands alone in its line, is one: not that of a filter."""
    if fs is None:
        with pytest.raises(RecordError, match=r"rate of a\.csv is not in the file: say it, such as --fs 250"):
            opened(tmp_path / "a.csv", table(above=above))
        return
    record, found = opened(tmp_path / "a.csv", table(above=above))
    assert record.fs == fs
    np.testing.assert_array_equal(found[:, 0], ECG)


def test_several_rates(tmp_path: Path) -> None:
    """Two rates contradict each other; times decide which one holds."""
    above = "# ECG sampling rate: 360 Hz\n# ACC sampling rate: 50 Hz\n"
    with pytest.raises(RecordError, match="states 360 Hz and 50 Hz: say which is right, such as --fs 360"):
        opened(tmp_path / "a.csv", table(above=above))
    assert opened(tmp_path / "a.csv", table(TIMES, above=above))[0].fs == FS


def test_a_rate_against_the_times(tmp_path: Path) -> None:
    """A stated rate that the times contradict is refused; that of a person, too, but for what stamps are wrong by."""
    text = table(TIMES, above="# Notch: 50 Hz\n# Sampling rate: 500 Hz\n")
    with pytest.raises(RecordError, match=r"states 500 Hz, but its times show 360 Hz: .* --fs 360"):
        opened(tmp_path / "a.csv", text)
    with pytest.raises(RecordError, match=r"a\.csv has a sampling rate of 360 Hz, not 180: leave --fs out"):
        opened(tmp_path / "a.csv", text, fs=180.0)
    record, _ = opened(tmp_path / "a.csv", text, fs=FS)
    assert (record.fs, record_notices(record)) == (FS, [])


@pytest.mark.parametrize(("before", "after"), [(360, 250), (250, 500), (500, 250)])
def test_a_rate_that_changes(tmp_path: Path, before: float, after: float) -> None:
    """One rate for a recording that has two would be wrong everywhere."""
    half = len(COUNTS) // 2
    times = np.concatenate([np.arange(half) / before, half / before + np.arange(half) / after])
    with pytest.raises(RecordError, match=r"the rate of a\.csv changes along its times"):
        opened(tmp_path / "a.csv", table(times))


def test_a_stall_is_no_change_of_rate(tmp_path: Path) -> None:
    """Packets that come a second late, all at once, are neither a gap nor another rate."""
    packet = np.arange(len(COUNTS)) // 73
    when = np.where((packet == 40) | (packet == 41), 42, packet) * 73 / 130
    record, found = opened(tmp_path / "a.csv", table(when[:4000], ECG[:4000]))
    assert record.fs == pytest.approx(130, rel=5e-3)
    np.testing.assert_array_equal(found[:, 0], ECG[:4000])


def test_gaps_of_years(tmp_path: Path) -> None:
    """A stamp that jumps by years is refused at once; a gap of a day is one."""
    with pytest.raises(RecordError, match=r"11,574\.1 days lie between two samples"):
        opened(tmp_path / "a.csv", table(TIMES + 1e9 * (TIMES > 10)))
    (tmp_path / "a.csv").write_text(table(TIMES + 86_400 * (TIMES > 10)))
    assert open_signal_file(str(tmp_path / "a.csv")).length == len(COUNTS) + 86_400 * 360


@pytest.mark.parametrize(
    ("title", "factor", "fs"),
    [
        ("time (min)", 1 / 60, FS),
        ("time (h)", 1 / 3600, FS),
        ("time (100us)", 1e4, FS),
        ("time", 1e3, FS),
        ("time", 32_768, None),
        ("time (ticks)", 1e3, None),
    ],
)
def test_units_of_time(tmp_path: Path, title: str, factor: float, fs: float | None) -> None:
    """A time column without a unit that fits a usual rate in one way only has it; of any other the rate is asked."""
    text = table(TIMES * factor, title=f"{title},ECG (mV)", stamp="{:.0f}" if factor > 1 else "{:.9f}")
    if fs is None:
        with pytest.raises(RecordError, match="as its clock has no unit: say it, such as --fs 250"):
            opened(tmp_path / "a.csv", text)
    record, found = opened(tmp_path / "a.csv", text, fs=None if fs else FS)
    assert (record.fs, record.notice) == (FS, "")
    np.testing.assert_array_equal(found[:, 0], ECG)


@pytest.mark.parametrize(
    ("began", "form", "start"),
    [
        (datetime(2024, 3, 11, 23, 59, 50), "%m/%d/%Y %H:%M:%S.%f", True),  # 3/11, 3/12: one day, or one month
        (datetime(2024, 3, 12, 23, 59, 50), "%m/%d/%Y %H:%M:%S.%f", True),
        (datetime(2024, 3, 11, 23, 59, 50), "%d/%m/%Y %H:%M:%S.%f", True),
        (datetime(2024, 3, 11, 10, 0, 0), "%m/%d/%Y %H:%M:%S.%f", False),
        (datetime(2024, 3, 11, 10, 0, 0), "%d.%m.%Y %H:%M:%S.%f", True),
    ],
)
def test_dates_of_two_readings(tmp_path: Path, began: datetime, form: str, start: bool) -> None:
    """Whether day or month come first all dates of a file decide; if they cannot, it has no date."""
    stamps = [(began + timedelta(seconds=t)).strftime(form) for t in TIMES.tolist()]
    record, found = opened(tmp_path / "a.csv", table(stamps, stamp="{}"))
    assert (record.fs, record.start) == (FS, began if start else None)
    assert bool(record_notices(record)) != start
    np.testing.assert_array_equal(found[:, 0], ECG)


def test_dates_of_no_order(tmp_path: Path) -> None:
    """Dates that are far apart however they are read."""
    stamps = [f"{'03/04/2024' if t < 10 else '05/06/2024'} 10:00:{t:09.6f}" for t in TIMES]
    with pytest.raises(RecordError, match="dates such as 03/04/2024, which do not say what is the day"):
        opened(tmp_path / "a.csv", table(stamps, stamp="{}"))


@pytest.mark.parametrize("cell", ["1,234", "1,234.0", "1 234", "1'234", "1_234", "1\u00a0234"])
def test_separators_of_thousands(tmp_path: Path, cell: str) -> None:
    """An R peak of 1,234 is not lost: the table is refused, with its line."""
    rows = [f"{t:.6f};{cell if i == 4000 else a % 1000}" for i, (t, a) in enumerate(zip(TIMES, COUNTS, strict=True))]
    with pytest.raises(RecordError, match=r"line 4002: .*1.*234.* is no number: write numbers without separators"):
        opened(tmp_path / "a.csv", lines("time (s);ECG (uV)", rows))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([f'"{a:,}"' for a in COUNTS * 10], "numbers such as .*, which may be decimals or thousands"),
        ([f"{a:,}".replace(",", ".") for a in COUNTS * 10], "numbers such as .*, which may be decimals or thousands"),
        ([f"{t:.4f},{a:.4f}".replace(".", ",") for t, a in zip(TIMES, ECG, strict=True)], "commas both for decimals"),
        ([f"{a:.3f}".replace(".", "," if i > 4000 else ".") + ";1" for i, a in enumerate(ECG)], "changes its decimal"),
        ([f"{a:.4E}".replace("E", "D") if i > 4000 else f"{a}" for i, a in enumerate(ECG)], "write numbers as 1234.5"),
    ],
)
def test_unclear_numbers(tmp_path: Path, rows: list[str], reason: str) -> None:
    """Numbers that can be read in two ways, or in none, are refused."""
    with pytest.raises(RecordError, match=reason):
        opened(tmp_path / "a.csv", lines("", rows), fs=FS, unit="uV")


def test_numbers_that_are_clear(tmp_path: Path) -> None:
    """Quoted decimal commas, the minus sign of typographers, "#1" in a cell, small counts, words at the end."""
    plain = [f"{t:.6f},{a}" for t, a in zip(TIMES, ECG, strict=True)]
    quoted = ['"' + row.replace(",", '","').replace(".", ",") + '"' for row in plain]
    noted = [row.replace(",", ",#1," if i == 500 else ",,") for i, row in enumerate(plain)]
    for title, rows in (
        ("time,ECG (mV)", quoted),
        ("time (s),ECG (mV)", [row.replace("-", "\u2212") for row in plain]),
        ("time (s),note,ECG (mV)", noted),
        ("time (s),ECG (mV)", [*plain, "END OF FILE"]),
    ):
        record, found = opened(tmp_path / "a.csv", lines(title, rows))
        assert record.fs == FS
        np.testing.assert_array_equal(found[:, 0], ECG)
    rows = [f"{7 * i % 19},{abs(a)}" for i, a in enumerate(COUNTS.tolist())]
    _, found = opened(tmp_path / "b.csv", lines("", rows), fs=FS, unit="counts")
    np.testing.assert_array_equal(found[:, 1], np.abs(COUNTS))


def test_impossible_values(tmp_path: Path) -> None:
    """A number that no signal has is no value, in tables and arrays."""
    values = np.where(np.arange(len(ECG)) == 500, 1e308, ECG)
    np.save(tmp_path / "b.npy", values)
    for record, found in (
        opened(tmp_path / "a.csv", table(TIMES, values)),
        opened(tmp_path / "b.npy", fs=FS, unit="mV"),
    ):
        assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [500]
        assert record.signals[0].high < 100


@pytest.mark.parametrize("dates", [False, True])
def test_gaps_between_times_of_arrays(tmp_path: Path, dates: bool) -> None:
    """An array of times has the clock of tables: a gap stays one, whether a rate is stated or not."""
    times = TIMES + 10 * (np.arange(len(ECG)) >= 3000)
    stamps = np.datetime64("2024-03-11") + (times * 1e9).astype("timedelta64[ns]") if dates else times
    cases: list[dict[str, Any]] = [{}, {"fs": 360}, {"fs": "360"}]
    for stated in cases:
        np.savez(tmp_path / "a.npz", ecg=ECG, t=stamps, unit="mV", **stated)
        record, found = opened(tmp_path / "a.npz")
        assert record.fs == FS
        np.testing.assert_allclose(found[:, 0], np.concatenate([ECG[:3000], np.full(3600, np.nan), ECG[3000:]]))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"ecg": ECG, "fs": 250, "t": TIMES}, "states 250 Hz, but its times show 360 Hz"),
        ({"ecg": ECG, "rate": 75}, "rate of a.npz is not in the file"),
        ({"ecg": ECG, "t": TIMES[:-1]}, "4,319 times in t, but 4,320 samples"),
        ({"ecg": ECG, "fs": 360, "units": ["mV", "uV"]}, "states 2 units for 1 leads"),
        ({"ecg": ECG, "fs": 360, "sfreq": 250}, "states 360 Hz and 250 Hz"),
    ],
)
def test_arrays_that_contradict_each_other(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    """Arrays whose names and numbers do not agree are refused; a heart rate is no sampling rate."""
    stated: dict[str, Any] = arrays if "units" in arrays else arrays | {"unit": "mV"}
    np.savez(tmp_path / "a.npz", **stated)
    with pytest.raises(RecordError, match=reason):
        opened(tmp_path / "a.npz")


def test_named_arrays(tmp_path: Path) -> None:
    """The array that is called ecg is one, however long others are."""
    np.savez(tmp_path / "a.npz", ecg=ECG, noise=np.zeros(99_999), rpeaks=np.arange(20), fs=FS, unit="mV")
    np.testing.assert_array_equal(opened(tmp_path / "a.npz")[1][:, 0], ECG)
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object))
    with pytest.raises(RecordError, match="it holds objects"):
        opened(tmp_path / "b.npy", fs=FS, unit="mV")


def test_sound_that_is_cut_short(tmp_path: Path) -> None:
    """A WAV file says how many samples it had."""
    soundfile.write(tmp_path / "a.wav", COUNTS.astype(np.int16), 360, subtype="PCM_16")
    whole = (tmp_path / "a.wav").read_bytes()
    record, found = opened(tmp_path / "b.wav", whole[: 44 + 2 * 2000], unit="uV")
    assert (record.length, record.missing) == (2000, 2320)
    np.testing.assert_array_equal(found[:, 0], COUNTS[:2000])
    with pytest.raises(RecordError, match="is a damaged sound: ") as caught:
        opened(tmp_path / "c.wav", whole[:30], unit="uV")
    assert "<" not in str(caught.value)


def test_a_name_as_long_as_can_be(tmp_path: Path) -> None:
    """A file whose name leaves no room for another ending."""
    record, _ = opened(tmp_path / ("x" * 251 + ".csv"), table(TIMES))
    assert record.fs == FS


def test_entities(tmp_path: Path) -> None:
    """XML that defines entities is refused in words."""
    pytest.importorskip("ecgdatakit")
    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><AnnotatedECG>&x;</AnnotatedECG>'
    with pytest.raises(RecordError, match="it defines entities, which are not read"):
        opened(tmp_path / "a.xml", text)
