import hashlib
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wfdb
from numpy.typing import NDArray

from model.errors import RecordError
from model.records import build_database, wfdb_records

MITDB, NSTDB = wfdb_records.DATABASE / "mitdb", wfdb_records.DATABASE / "nstdb"
EMBEDDED = [
    *(MITDB / name for name in wfdb_records.embedded_records()),
    *(NSTDB / name for name in wfdb_records.embedded_noises()),
]
ORIGINALS = Path(__file__).parents[2] / "shared"


def pack_212(counts: NDArray[np.int64]) -> bytes:
    """WFDB format 212 of (n, 2) counts: two 12-bit numbers in three bytes."""
    first, second = counts[:, 0] & 0xFFF, counts[:, 1] & 0xFFF
    packed = np.stack([first & 0xFF, (first >> 8) | (second >> 8) << 4, second & 0xFF], axis=1)
    return packed.astype(np.uint8).tobytes()


def published_files(path: Path) -> dict[str, bytes]:
    """The files of an embedded record as PhysioNet publishes them."""
    counts = wfdb.rdrecord(str(path), physical=False).d_signal.astype(np.int64)
    header = path.with_suffix(".hea").read_bytes().replace(b".flac 516 ", b".dat 212 ")
    files = {f"{path.name}.dat": pack_212(counts), f"{path.name}.hea": header}
    if path.with_suffix(".atr").exists():
        files[f"{path.name}.atr"] = path.with_suffix(".atr").read_bytes()
    return files


def write_record(folder: Path, signal: NDArray[np.float64], fs: float = 250, fmt: str = "16") -> str:
    """A small WFDB record of (n, 2) millivolts; its path without ending."""
    options = {"fmt": [fmt] * 2, "adc_gain": [200.0] * 2, "baseline": [0] * 2, "write_dir": str(folder)}
    wfdb.wrsamp("made", fs, ["mV", "mV"], ["I", "II"], p_signal=signal, **options)
    return str(folder / "made")


@pytest.fixture
def ramp() -> NDArray[np.float64]:
    """(100, 2) millivolts, a different value in every sample, exact at a gain of 200."""
    return np.arange(-100, 100).reshape(100, 2) / 200


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.name)
def test_embedded_records_are_the_published_ones(path: Path) -> None:
    """Signal packed back into format 212, header and annotations have the SHA-256 that PhysioNet publishes."""
    sums = build_database.published_sums(path.parent)
    found = {name: hashlib.sha256(content).hexdigest() for name, content in published_files(path).items()}
    assert found == {name: sums[name] for name in found}


def test_every_sum_belongs_to_an_embedded_file() -> None:
    """48 records with annotations and the two noises are embedded, and no sum is listed besides."""
    assert (len(wfdb_records.embedded_records()), wfdb_records.embedded_noises()) == (48, ("bw", "ma"))
    assert len(build_database.published_sums(MITDB)) == 3 * 48
    assert len(build_database.published_sums(NSTDB)) == 2 * 2


@pytest.mark.parametrize("folder", [MITDB, NSTDB], ids=lambda folder: folder.name)
def test_sums_are_physionets(folder: Path) -> None:
    """The SHA-256 sums kept with the database are lines of PhysioNet's own list."""
    original = ORIGINALS / folder.name
    if not (original / "SHA256SUMS.txt").exists():
        pytest.skip(f"the published {folder.name} is not beside the repository")
    ours = build_database.published_sums(folder)
    assert ours.items() <= build_database.published_sums(original).items()


def test_embedding_again_gives_the_same(tmp_path: Path) -> None:
    """Packing the published files gives the embedded headers, sums and counts."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name, content in published_files(MITDB / "100").items():
        (source / name).write_bytes(content)
    (source / "SHA256SUMS.txt").write_bytes((MITDB / "SHA256SUMS.txt").read_bytes())
    build_database.embed_records(source, ["100"], target)
    assert build_database.published_sums(target).items() <= build_database.published_sums(MITDB).items()
    assert (target / "100.hea").read_bytes() == (MITDB / "100.hea").read_bytes()
    again, embedded = (soundfile.read(folder / "100.flac", dtype="int16")[0] for folder in (target, MITDB))
    assert np.array_equal(again, embedded)


def test_embedding_refuses_other_files(tmp_path: Path) -> None:
    """A source file that is not the published one ends the embedding."""
    (tmp_path / "100.dat").write_bytes(b"other")
    (tmp_path / "SHA256SUMS.txt").write_bytes((MITDB / "SHA256SUMS.txt").read_bytes())
    with pytest.raises(SystemExit, match=r"100\.dat is not the published file"):
        build_database.embed_records(tmp_path, ["100"], tmp_path / "target")


def test_what_a_header_says() -> None:
    """The header of record 100 gives rate, length, leads with the converter's range, and remarks."""
    record = wfdb_records.open_record("100")
    assert (record.name, record.fs, record.length) == ("100", 360.0, 650_000)
    assert record.signals[0] == wfdb_records.RecordSignal("MLII", "mV", -5.12, 5.115)
    assert [signal.name for signal in record.signals] == ["MLII", "V5"]
    assert record.comments == ("69 M 1085 1629 x1", "Aldomet, Inderal")


def test_signal_is_in_millivolts() -> None:
    """The first samples of record 100, 995 and 1011 counts at 200 a millivolt around 1024, are -0.145 and -0.065 mV."""
    assert wfdb_records.read_record_samples(wfdb_records.open_record("100"), 0, 1).tolist() == [[-0.145, -0.065]]


@pytest.mark.parametrize("cuts", [[30_000], [1, 2, 4_095, 4_096, 4_097, 19_999, 30_000]])
def test_blocks_equal_the_whole(cuts: list[int]) -> None:
    """A record read in blocks is the record read at once."""
    record = wfdb_records.open_record("208")
    whole = wfdb_records.read_record_samples(record, 0, 30_000)
    blocks = [
        wfdb_records.read_record_samples(record, start, stop) for start, stop in zip([0, *cuts], cuts, strict=False)
    ]
    assert np.array_equal(np.concatenate(blocks), whole)


def test_reading_ends_with_the_record() -> None:
    """A stop after the end means the end, and there is nothing after it."""
    record = wfdb_records.open_record("100")
    assert np.array_equal(
        wfdb_records.read_record_samples(record, 649_990, 10**9), wfdb_records.read_record_samples(record, 649_990)
    )
    assert wfdb_records.read_record_samples(record, 650_000).shape == (0, 2)
    assert wfdb_records.read_record_samples(record, 700_000, 700_001).shape == (0, 2)


@pytest.mark.parametrize("fmt", ["16", "212", "80", "24"])
def test_samples_without_a_value_are_nan(tmp_path: Path, ramp: NDArray[np.float64], fmt: str) -> None:
    """WFDB's invalid sample is read as NaN, in blocks too, and every other one as its value."""
    ramp[10:20, 0] = ramp[99, 1] = np.nan
    record = wfdb_records.open_record(write_record(tmp_path, ramp, fmt=fmt))
    assert np.array_equal(wfdb_records.read_record_samples(record), ramp, equal_nan=True)
    assert np.array_equal(wfdb_records.read_record_samples(record, 15, 25), ramp[15:25], equal_nan=True)


@pytest.mark.parametrize("ending", ["", ".hea", ".dat"])
def test_any_record_by_path(tmp_path: Path, ramp: NDArray[np.float64], ending: str) -> None:
    """A WFDB record at any rate is read by its path, with or without an ending."""
    record = wfdb_records.open_record(write_record(tmp_path, ramp, fs=257.5) + ending)
    assert (record.name, record.fs, record.length) == ("made", 257.5, 100)
    assert np.array_equal(wfdb_records.read_record_samples(record), ramp)


@pytest.mark.parametrize("name", ["nothing", "", ".", "/", "..", "a\0b", "~nobody-here/1", "x" * 5000, "100/100"])
def test_unknown_records(name: str) -> None:
    """A name that is no record, whatever it looks like, is refused with the names that are."""
    with pytest.raises(RecordError, match=r"^no record .*one of 100, 101, .*, 234$"):
        wfdb_records.open_record(name)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "cannot read the header of record .*: it is empty"),
        (" \n# only a remark\n", "cannot read the header of record .*: it is empty"),
        ("bad\n", "cannot read the header"),
        ("bad 2 360\nbad.dat 16\nbad.dat 16\n", "says it has no samples"),
        ("bad 0 360 10\n", "says it has no samples"),
        ("bad 1 0 10\nbad.dat 16\n", "no valid sampling rate"),
        ("bad 1 -5 10\nbad.dat 16\n", "no valid sampling rate"),
        ("bad 1 nan 10\nbad.dat 16\n", "no valid sampling rate"),
        ("bad 2 360 10\nbad.dat 16\n", "does not describe all of its signals"),
        ("bad/2 2 360 20\nfirst 10\nsecond 10\n", "lacks its segment first"),
        ("bad/2 2 360 20\nfirst 10\nsecond ten\n", "does not describe all of its segments"),
        ("bad/2 2 360 20\n~ 10\n~ 10\n", "says it has no samples"),
        ("bad/1 2 360 20\nbad 20\n", "has segments within segments"),
        ("bad 1 360 -10\nbad.dat 16\n", "impossible length"),
    ],
)
def test_broken_headers(tmp_path: Path, header: str, reason: str) -> None:
    """A header that cannot be used is refused in one line with the reason."""
    (tmp_path / "bad.hea").write_text(header)
    with pytest.raises(RecordError, match=rf"^.*{reason}.*$"):
        wfdb_records.open_record(str(tmp_path / "bad"))


@pytest.mark.parametrize("error", [IndexError("list index out of range"), KeyError("x"), TypeError("NoneType")])
def test_what_the_package_stumbles_on(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the WFDB package that speaks of its own code is replaced by plain words."""

    def stumble(*_: object) -> None:
        raise error

    (tmp_path / "bad.hea").write_text("bad 1 360 10\n")
    monkeypatch.setattr(wfdb, "rdheader", stumble)
    with pytest.raises(RecordError, match=r"header of record .*bad: it is damaged, or not in WFDB format$"):
        wfdb_records.open_record(str(tmp_path / "bad"))


def test_unknown_format(tmp_path: Path) -> None:
    """A signal in a format that WFDB does not have is refused with the format's number."""
    (tmp_path / "bad.hea").write_text("bad 1 360 10\nbad.dat 777 200\n")
    (tmp_path / "bad.dat").write_bytes(bytes(1000))
    with pytest.raises(RecordError, match=r"cannot read the signal of record .*bad: format 777 is unknown"):
        wfdb_records.read_record_samples(wfdb_records.open_record(str(tmp_path / "bad")))


@pytest.mark.parametrize("left", [0, 1, 399])
def test_signal_files_cut_short_later(tmp_path: Path, ramp: NDArray[np.float64], left: int) -> None:
    """A signal file that is cut short after its record was opened is refused in one line."""
    record = wfdb_records.open_record(write_record(tmp_path, ramp))
    data = tmp_path / "made.dat"
    data.write_bytes(data.read_bytes()[:left])
    with pytest.raises(RecordError, match=r"^.*record .*made.*$"):
        wfdb_records.read_record_samples(record)


@pytest.mark.parametrize(("left", "frames"), [(399, 99), (396, 99), (8, 2), (4, 1)])
def test_signal_files_that_end_early(tmp_path: Path, ramp: NDArray[np.float64], left: int, frames: int) -> None:
    """Of a signal file that ends before its header says what is there is read, and the rest is counted."""
    path = write_record(tmp_path, ramp)
    data = tmp_path / "made.dat"
    data.write_bytes(data.read_bytes()[:left])
    record = wfdb_records.open_record(path)
    assert (record.length, record.missing) == (frames, 100 - frames)
    assert np.array_equal(wfdb_records.read_record_samples(record), ramp[:frames])


def rewrite_header(folder: Path, *changes: tuple[str, str], encoding: str = "utf-8") -> wfdb_records.Record:
    """Change the header of the record `made` and open it."""
    header = folder / "made.hea"
    text = header.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    header.write_bytes(text.encode(encoding))
    return wfdb_records.open_record(str(folder / "made"))


@pytest.mark.parametrize(
    ("line", "fs"),
    [("made 2 360", 360.0), ("made 2", 250.0), ("made 2 360 0", 360.0), ("made 2 360/720(5)", 360.0)]
    + [
        (f"made 2 360 100 {time}", 360.0)
        for time in ("2006", "12:00:00 0/0/0", "12:00:00 31/02/2006", "9:15 01/02/2006")
    ],
)
def test_first_lines(tmp_path: Path, ramp: NDArray[np.float64], line: str, fs: float) -> None:
    """Rate and length may be left out, and the date may be none: the samples are all there."""
    write_record(tmp_path, ramp)
    record = rewrite_header(tmp_path, ("made 2 250 100", line))
    assert (record.fs, record.length, record.missing) == (fs, 100, 0)
    assert np.array_equal(wfdb_records.read_record_samples(record), ramp)
    assert np.array_equal(wfdb_records.read_record_samples(record, 37, 63), ramp[37:63])


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_micro_sign(tmp_path: Path, ramp: NDArray[np.float64], encoding: str) -> None:
    """A unit with a micro sign stays one, in either encoding: the WFDB package would drop the sign and read volts."""
    write_record(tmp_path, ramp)
    record = rewrite_header(tmp_path, ("/mV", "/\N{MICRO SIGN}V"), encoding=encoding)
    assert [signal.unit for signal in record.signals] == ["uV", "uV"]
    assert np.array_equal(wfdb_records.read_record_samples(record), ramp)


def test_several_samples_a_frame(tmp_path: Path) -> None:
    """A signal with several samples a frame is read at its own rate; one with fewer is held."""
    fast, slow = np.arange(120) / 200, np.arange(40) / 200
    words = np.concatenate([np.concatenate([fast[3 * i : 3 * i + 3], slow[i : i + 1]]) for i in range(40)]) * 200
    (tmp_path / "made.dat").write_bytes(np.rint(words).astype("<i2").tobytes())
    (tmp_path / "made.hea").write_text(
        "made 2 20.5 40\nmade.dat 16x3 200/mV 16 0 0 0 0 ECG\nmade.dat 16 200/mV 16 0 0 0 0 RESP\n"
    )
    record = wfdb_records.open_record(str(tmp_path / "made"))
    assert (record.fs, record.length) == (61.5, 120)
    expected = np.stack([fast, np.repeat(slow, 3)], axis=1)
    assert np.array_equal(wfdb_records.read_record_samples(record), expected)
    for start, stop in ((0, 1), (1, 2), (5, 64), (119, 120)):
        assert np.array_equal(wfdb_records.read_record_samples(record, start, stop), expected[start:stop])


def write_segment(folder: Path, name: str, columns: dict[str, NDArray[np.float64]]) -> None:
    """A record of one segment, its leads by name."""
    options = {"fmt": ["16"] * len(columns), "adc_gain": [200.0] * len(columns), "baseline": [0] * len(columns)}
    x = np.stack(list(columns.values()), axis=1)
    wfdb.wrsamp(name, 250, ["mV"] * len(columns), list(columns), p_signal=x, write_dir=str(folder), **options)


def test_segments_of_a_fixed_layout(tmp_path: Path, ramp: NDArray[np.float64]) -> None:
    """Segments with the same leads are one record, read across their edges."""
    for name, part in (("a", ramp[:30]), ("b", ramp[30:])):
        write_segment(tmp_path, name, {"I": part[:, 0], "II": part[:, 1]})
    (tmp_path / "made.hea").write_text("made/2 2 250 100\na 30\nb 70\n")
    record = wfdb_records.open_record(str(tmp_path / "made"))
    assert (record.fs, record.length) == (250.0, 100)
    assert np.array_equal(wfdb_records.read_record_samples(record), ramp)
    assert np.array_equal(wfdb_records.read_record_samples(record, 25, 35), ramp[25:35])


def test_segments_of_a_variable_layout(tmp_path: Path, ramp: NDArray[np.float64]) -> None:
    """Leads are found by name; where a segment lacks one, and between segments, there is no value."""
    write_segment(tmp_path, "a", {"II": ramp[:30, 1], "I": ramp[:30, 0]})
    write_segment(tmp_path, "b", {"II": ramp[50:, 1]})
    layout = "".join(f"~ 0 200/mV 16 0 0 0 0 {name}\n" for name in ("I", "II"))
    (tmp_path / "made_layout.hea").write_text("made_layout 2 250 0\n" + layout)
    (tmp_path / "made.hea").write_text("made/4 2 250 100\nmade_layout 0\na 30\n~ 20\nb 50\n")
    record = wfdb_records.open_record(str(tmp_path / "made"))
    expected = ramp.copy()
    expected[30:50] = expected[30:, 0:1] = np.nan
    assert ([signal.name for signal in record.signals], record.length) == (["I", "II"], 100)
    assert np.array_equal(wfdb_records.read_record_samples(record), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("header", "reason"), [("b 1 360 70", "another sampling rate"), ("b 1 250 70", "another unit")]
)
def test_segments_that_do_not_fit(tmp_path: Path, ramp: NDArray[np.float64], header: str, reason: str) -> None:
    """Segments of another rate or unit are refused with the name of the segment."""
    write_segment(tmp_path, "a", {"II": ramp[:30, 1]})
    (tmp_path / "b.dat").write_bytes(bytes(140))
    (tmp_path / "b.hea").write_text(f"{header}\nb.dat 16 200/V 16 0 0 0 0 II\n")
    (tmp_path / "made.hea").write_text("made/2 1 250 100\na 30\nb 70\n")
    with pytest.raises(RecordError, match=rf"segment .*b has .*{reason}"):
        wfdb_records.read_record_samples(wfdb_records.open_record(str(tmp_path / "made")))


def test_missing_signal_file(tmp_path: Path, ramp: NDArray[np.float64]) -> None:
    """A record whose signal file is gone is refused."""
    record = wfdb_records.open_record(write_record(tmp_path, ramp))
    (tmp_path / "made.dat").unlink()
    with pytest.raises(RecordError, match=r"cannot read the signal of record .*made\.dat"):
        wfdb_records.read_record_samples(record)


@pytest.mark.parametrize("left", [0, 100, 300_000])
def test_flac_cut_short(tmp_path: Path, left: int) -> None:
    """An embedded record whose compressed signal is damaged is refused."""
    for ending in (".hea", ".flac"):
        (tmp_path / f"100{ending}").write_bytes((MITDB / f"100{ending}").read_bytes())
    record = wfdb_records.open_record(str(tmp_path / "100"))
    (tmp_path / "100.flac").write_bytes((MITDB / "100.flac").read_bytes()[:left])
    with pytest.raises(RecordError, match=r"^.*record .*100.*$"):
        wfdb_records.read_record_samples(record)


@pytest.mark.parametrize("content", [b"\0", b"\xff" * 101, bytes(range(256)) * 3], ids=["one byte", "ff", "all bytes"])
def test_broken_annotations(tmp_path: Path, ramp: NDArray[np.float64], content: bytes) -> None:
    """A file without annotations is refused in one line."""
    record = wfdb_records.open_record(write_record(tmp_path, ramp))
    (tmp_path / "made.atr").write_bytes(content)
    with pytest.raises(RecordError, match=r"^cannot read the annotations of record .*$"):
        wfdb_records.read_reference(record)


def test_missing_annotations(tmp_path: Path, ramp: NDArray[np.float64]) -> None:
    """A record without annotations says which file is missing."""
    record = wfdb_records.open_record(write_record(tmp_path, ramp))
    with pytest.raises(RecordError, match=r"no annotations: made\.atr is missing"):
        wfdb_records.read_reference(record)


@pytest.mark.parametrize(
    ("times", "start"),
    [
        ("21:30:00 03/05/2021", datetime(2021, 5, 3, 21, 30)),
        ("9:05:00.25 1/12/1999", datetime(1999, 12, 1, 9, 5, 0, 250_000)),
        ("5:30 01/12/1999", datetime(1999, 12, 1, 0, 5, 30)),
        ("12:00:00", None),
        ("12:00:00 00/00/0000", None),
        ("12:00:00 1975", None),
        ("", None),
    ],
)
def test_the_start_of_a_record(tmp_path: Path, times: str, start: datetime | None) -> None:
    """A record began at its time and date, where both are ones; so does a record made of segments."""
    (tmp_path / "a.hea").write_text(f"a 1 250 10 {times}\na.dat 16 200 16 0 0 0 0 II\n")
    (tmp_path / "s.hea").write_text(f"s/2 1 250 20 {times}\na 10\na 10\n")
    (tmp_path / "a.dat").write_bytes(bytes(20))
    assert [wfdb_records.open_record(str(tmp_path / name)).start for name in "as"] == [start, start]


def test_annotations_of_a_record() -> None:
    """The first annotations of record 100: the rhythm with its note, then beats."""
    found = wfdb_records.read_reference(wfdb_records.open_record("100"))
    assert found.samples[:3].tolist() == [18, 77, 370]
    assert (found.symbols[:3], found.texts[:3]) == (("+", "N", "N"), ("(N", "", ""))
    peaks, classes = found.beats()
    assert (peaks[0], len(peaks), Counter(classes)) == (77, 2273, {"N": 2239, "S": 33, "V": 1})


def test_beats_of_the_database() -> None:
    """The annotated beats of all records have the published number of each symbol, and so of each class."""
    found = [wfdb_records.read_reference(wfdb_records.open_record(name)) for name in wfdb_records.embedded_records()]
    symbols = Counter(symbol for one in found for symbol in one.symbols if symbol in wfdb_records.AAMI_CLASS_OF)
    assert symbols == {
        "N": 75052, "L": 8075, "R": 7259, "e": 16, "j": 229,
        "A": 2546, "a": 150, "J": 83, "S": 2,
        "V": 7130, "E": 106,
        "F": 803,
        "/": 7028, "f": 982, "Q": 33,
    }  # fmt: skip
    classes = Counter(name for one in found for name in one.beats()[1])
    assert classes == {"N": 90631, "S": 2781, "V": 7236, "F": 803, "Q": 8043}


def test_classes_in_order() -> None:
    """Classes have one order everywhere, and no symbol belongs to two of them."""
    assert wfdb_records.CLASSES == ("N", "S", "V", "F", "Q")
    assert len(wfdb_records.AAMI_CLASS_OF) == sum(map(len, wfdb_records.AAMI_CLASSES.values()))


def test_licence_travels_with_the_data() -> None:
    """The database names its licence and where it comes from."""
    text = (wfdb_records.DATABASE / "LICENSE.md").read_text()
    assert re.search("Open Data Commons Attribution", text)
    assert re.search("MIT-BIH Arrhythmia Database", text)
