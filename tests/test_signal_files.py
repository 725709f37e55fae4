"""model.formats: a file of any format as a record, and the same beats from each."""

import contextlib
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
import scipy.io
import soundfile
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.agent_process import run_agent
from support.tables import FS, lines, microvolts, opened

from agent.analysis.beat_classifier import load_beat_classifier
from agent.core.config import load_config
from agent.core.messages import Beat
from agent.pipeline.pipeline import Pipeline
from model.errors import ConfigError, EcgError, RecordError
from model.formats.signal_file import SignalFileOptions, open_signal_file
from model.records.wfdb_records import open_record, read_record_samples
from simulator.record_replay import RecordReplay, ReplayPlan
from simulator.scheduler import name_beds

SHARED = Path(__file__).parents[2] / "shared" / "formats"
COUNTS = microvolts()
NAMES = ["MLII", "V1"]


def shared(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"needs {name} of other people's recordings beside this repository")
    return SHARED / name


def write_edf(path: Path, counts: NDArray[np.int64], width: int = 2) -> None:
    kinds: dict[int, Any] = {2: (edfio.Edf, edfio.EdfSignal), 3: (edfio.Bdf, edfio.BdfSignal)}
    whole, single = kinds[width]
    rail = 2 ** (8 * width - 1)
    made = [
        single.from_digital(
            column.astype(np.int16 if width == 2 else np.int32),
            FS,
            label=name,
            physical_dimension="uV",
            physical_range=(-rail, rail - 1),
        )
        for column, name in zip(counts.T, NAMES, strict=True)
    ]
    whole(made).write(path)


def write_as(path: Path, counts: NDArray[np.int64]) -> dict[str, Any]:
    """Write (n, 2) microvolts in the format of a path's ending; return what a person must say of the file."""
    kind = path.name.partition(".")[2]
    if kind == "time.csv":
        rows = [f"{i / FS:.6f},{a / 1000},{b / 1000}" for i, (a, b) in enumerate(counts.tolist())]
        path.write_text(lines("time_s,MLII (mV),V1 (mV)", rows))
    elif kind == "comma.csv":
        rows = [f"{a / 1000};{b / 1000}".replace(".", ",") for a, b in counts.tolist()]
        path.write_text(lines("MLII (mV);V1 (mV)", rows, "\r\n"))
        return {"fs": FS}
    elif kind == "txt":
        path.write_text(lines("", [f"{a} {b}" for a, b in counts.tolist()]))
        return {"fs": FS, "unit": "uV"}
    elif kind in ("npz", "big.npz"):
        np.savez_compressed(path, ecg=counts, fs=FS, unit="uV", leads=NAMES)
    elif kind == "columns.npz":
        np.savez(path, MLII=counts[:, 0], V1=counts[:, 1], sampling_rate=np.array([FS]), units=np.array(["uV"]))
    elif kind == "npy":
        np.save(path, counts.T)
        return {"fs": FS, "unit": "uV"}
    elif kind == "mat":
        scipy.io.savemat(path, {"val": counts.T, "fs": FS})
        return {"unit": "uV"}
    elif kind in ("wav", "flac"):
        soundfile.write(path, counts.astype(np.int16), round(FS), subtype="PCM_16")
        return {"unit": "uV"}
    elif kind in ("edf", "bdf"):
        write_edf(path, counts, 2 if kind == "edf" else 3)
    else:
        wfdb.wrsamp(
            path.stem,
            fs=FS,
            units=["mV"] * 2,
            sig_name=NAMES,
            d_signal=counts,
            fmt=["16"] * 2,
            adc_gain=[1000.0] * 2,
            baseline=[0, 0],
            write_dir=str(path.parent),
        )
    return {}


FORMATS = ["time.csv", "comma.csv", "txt", "npz", "columns.npz", "npy", "mat", "wav", "flac", "edf", "bdf", "hea"]


@pytest.mark.parametrize("kind", FORMATS)
def test_samples(tmp_path: Path, kind: str) -> None:
    """Each format gives the same samples, rate and names of leads where it has any."""
    path = tmp_path / f"night.{kind}"
    record, found = opened(path, **write_as(path, COUNTS))
    assert (record.fs, record.length, record.missing) == (FS, len(COUNTS), 0)
    assert [signal.name for signal in record.signals] in (NAMES, ["lead1", "lead2"])
    scale = 1000 if record.signals[0].unit == "mV" else 1
    np.testing.assert_allclose(found * scale, COUNTS, rtol=0, atol=1e-3)
    assert all(signal.low < low for signal, low in zip(record.signals, found.min(axis=0), strict=True))
    assert all(signal.high > high for signal, high in zip(record.signals, found.max(axis=0), strict=True))


@pytest.mark.slow
def test_beats(tmp_path: Path) -> None:
    """Each format gives the same beats, to the sample and with the same classes, as the embedded record."""
    counts = microvolts(25.0)
    found: dict[str, list[tuple[int, str]]] = {}
    pipeline_config, classifier = load_config(None, {}), load_beat_classifier("live", "cpu", 1)
    for kind in ["embedded", *FORMATS]:
        path = tmp_path / f"night.{kind}"
        stated = {} if kind == "embedded" else write_as(path, counts)
        record, seconds = ("208", 25.0) if kind == "embedded" else (str(path), None)
        options = SignalFileOptions(**stated)
        plan = ReplayPlan(record, "1", 0.0, seconds, False, None, 6.0, 0, options)
        pipeline = Pipeline(pipeline_config, classifier)
        results = [result for message in RecordReplay(plan, 1000.0) for result in pipeline.push([message])]
        found[kind] = [(beat.sample, beat.label) for beat in results if isinstance(beat, Beat)]
    assert len(found["embedded"]) > 35
    assert {kind: beats for kind, beats in found.items() if beats != found["embedded"]} == {}


@settings(max_examples=25)
@given(
    st.integers(0, 2**31),
    st.integers(720, 900),
    st.sampled_from(["time.csv", "txt", "npz", "npy", "wav", "edf", "hea"]),
)
def test_any_samples(tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, kind: str) -> None:
    """Any two leads survive each format to the last digit."""
    counts = np.random.default_rng(seed).integers(-30_000, 30_000, (count, 2), endpoint=True)[: count // 360 * 360]
    counts[0] = (1, -1)
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    record, found = opened(path, **write_as(path, counts))
    np.testing.assert_allclose(found * (1000 if record.signals[0].unit == "mV" else 1), counts, rtol=0, atol=1e-3)


def test_content_decides(tmp_path: Path) -> None:
    """The ending of a name means nothing: a table called .edf is a table, an EDF file called .csv is EDF."""
    assert write_as(tmp_path / "a.time.csv", COUNTS) == {}
    write_edf(tmp_path / "b.edf", COUNTS)
    (tmp_path / "a.time.csv").rename(tmp_path / "a.edf")
    (tmp_path / "b.edf").rename(tmp_path / "b.ecg")
    assert opened(tmp_path / "a.edf")[0].signals[0].unit == "mV"
    assert opened(tmp_path / "b.ecg")[0].signals[0].unit == "uV"


def test_wfdb_records_stay_records(tmp_path: Path) -> None:
    """An embedded name, a path without ending, a header, a signal file and our annotations mean the WFDB record."""
    write_as(tmp_path / "night.hea", COUNTS)
    (tmp_path / "night.ecg").write_bytes(b"\x00\x00")
    for name in ("night", "night.hea", "night.dat", "night.ecg"):
        assert open_signal_file(str(tmp_path / name)).path == tmp_path / "night"
    assert open_signal_file("208") == open_record("208")


def test_large_arrays_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large array in an archive is read from a copy on disk, which goes with its record."""
    monkeypatch.setattr("model.formats.array_records.MAPPED_BYTES", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write_as(tmp_path / "night.big.npz", COUNTS)
    record, found = opened(tmp_path / "night.big.npz")
    assert len(list(tmp_path.glob("ecg-agent-*"))) == 1
    np.testing.assert_array_equal(found, COUNTS)
    del record
    assert list(tmp_path.glob("ecg-agent-*")) == []


def test_missing_values(tmp_path: Path) -> None:
    """NaN and infinite numbers are no values."""
    x = COUNTS / 1000
    x[5], x[7, 0] = np.nan, np.inf
    np.save(tmp_path / "a.npy", x)
    _, found = opened(tmp_path / "a.npy", fs=FS, unit="mV")
    np.testing.assert_array_equal(found, np.where(np.isinf(x), np.nan, x))


def test_times_give_the_rate(tmp_path: Path) -> None:
    """An array of times in an archive states the rate."""
    np.savez(tmp_path / "a.npz", t=np.arange(len(COUNTS)) / FS, ecg=COUNTS[:, 0])
    assert opened(tmp_path / "a.npz", unit="uV")[0].fs == FS


def test_counts(tmp_path: Path) -> None:
    """Uncalibrated values are read as they are, in counts."""
    soundfile.write(tmp_path / "a.wav", COUNTS.astype(np.int16), 360, subtype="PCM_16")
    record, found = opened(tmp_path / "a.wav", unit="counts")
    assert [(signal.unit, signal.low, signal.high) for signal in record.signals] == [("counts", -32768, 32767)] * 2
    np.testing.assert_array_equal(found, COUNTS)


def _archive(path: Path, **arrays: Any) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(500), "no recording: it is a picture"),
        (b"%PDF-1.4\n" + bytes(500), "no recording: it is a document"),
        (b"\x7fELF" + bytes(500), "no recording: it is a program"),
        (b"\x1f\x8b\x08" + bytes(500), "unpack it first"),
        (b"MATLAB 7.3 MAT-file" + bytes(500), "save it with -v7"),
        (b"SQLite format 3\x00" + bytes(500), "no recording: it is a database"),
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(500), "damaged archive"),
        (b"RIFF\x00\x00\x00\x00WAVE" + bytes(9), "damaged sound"),
        (b"0       " + b"9" * 300, "damaged EDF"),
        (b"\x93NUMPY" + bytes(90), "it is damaged"),
    ],
)
def test_no_recordings(tmp_path: Path, content: bytes, reason: str) -> None:
    """What is no recording, or a damaged one, is refused in one line that says what it is."""
    with pytest.raises(RecordError, match=reason) as caught:
        opened(tmp_path / "night.dat", content, fs=250.0, unit="mV")
    assert "night.dat" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"X": np.zeros((200, 3, 500))}, r"shape \(200, 3, 500\), which is no recording"),
        ({"X": np.random.default_rng(0).random((200, 187)), "y": np.zeros(200)}, r"shape \(200, 187\)"),
        ({"X": np.array([{}], dtype=object)}, "it holds objects"),
        ({"name": np.array(["a"])}, "no array of numbers"),
        ({"ecg": np.full(500, np.nan), "fs": 250}, "no samples with a value"),
        ({"ecg": np.zeros(500), "fs": 0.0}, "a sampling rate of 0 Hz"),
        ({"ecg": np.zeros(500)}, "rate of a.npz is not in the file"),
        ({"ecg": np.zeros((500, 3)), "fs": 250, "units": ["mV", "mV"]}, "states 2 units for 3 leads"),
    ],
)
def test_arrays_that_are_no_recording(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    """Batches of cut-out beats, objects and arrays without a rate are refused."""
    _archive(tmp_path / "a.npz", **arrays)
    with pytest.raises(RecordError, match=reason):
        opened(tmp_path / "a.npz", unit=None if "units" in arrays else "mV")


def test_places_without_a_file(tmp_path: Path) -> None:
    """A folder, a pipe and a name of nothing are refused; a pipe is not read, which might never end."""
    for name, reason in (
        (str(tmp_path), "is a folder"),
        ("/dev/null", "is no file"),
        ("nothing.csv", "there is no file nothing.csv"),
    ):
        with pytest.raises(RecordError, match=reason):
            open_signal_file(name)


def test_results_of_an_embedded_record_do_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the name of an embedded record, as `analyse` makes one, is no reason to refuse the record."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "208").mkdir()
    assert open_signal_file("208").fs == 360


def test_statements_against_a_header(tmp_path: Path) -> None:
    """A rate or a unit that contradicts a format which states both is refused; one that repeats it is not."""
    write_edf(tmp_path / "a.edf", COUNTS)
    assert opened(tmp_path / "a.edf", fs=FS, unit="\u00b5V")[0].fs == FS
    for stated, reason in (({"fs": 250.0}, "leave --fs out"), ({"unit": "mV"}, "is in uV, not mV: leave --unit out")):
        with pytest.raises(RecordError, match=reason):
            opened(tmp_path / "a.edf", **stated)
    with pytest.raises(RecordError, match="leave --fs out"):
        open_signal_file("208", SignalFileOptions(fs=250.0))


def test_names_of_beds(tmp_path: Path) -> None:
    """A bed has the name of its file, without the ending."""
    for name in ("night.edf", "v1.2.csv"):
        (tmp_path / name).write_bytes(b"x")
    names = [str(tmp_path / "night.edf"), str(tmp_path / "v1.2.csv"), "100", "100", "a/b.hea"]
    assert name_beds(names) == ["night", "v1.2", "100", "100-2", "b"]


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        ([], 4, "rate of a.csv is not in the file: say it, such as --fs 250"),
        (["--fs", "250"], 4, "unit of a.csv is not in the file: say it, such as --unit mV"),
        (["--fs", "0"], 3, "a sampling rate of 0 Hz makes no sense"),
        (["--fs", "250", "--unit", "two millivolts"], 3, "unit 'two millivolts' is not known"),
    ],
)
def test_command_line(tmp_path: Path, options: list[str], code: int, line: str) -> None:
    """`simulate record` asks for what a file does not say, in one line and with its exit code."""
    (tmp_path / "a.csv").write_text(lines("", [str(a) for a in COUNTS[:, 0].tolist()]))
    done = run_agent(["simulate", "record", str(tmp_path / "a.csv"), *options])
    assert done.returncode == code
    assert line in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "stated", "fs", "length", "leads"),
    [
        ("cardio/sample.edf", {}, 300.0, 12_000, [("ECG", "mV")]),
        ("cardio/sample.wav", {"unit": "counts"}, 1000.0, 180_000, [("ECG", "counts")]),
        ("wfdb/a103l.mat", {}, 250.0, 82_500, [("II", "mV"), ("V", "mV"), ("PLETH", "NU")]),
        ("wfdb/100_3chan.dat", {}, 360.0, 999, [("I", "mV"), ("II", "mV"), ("III", "mV")]),
    ],
)
def test_real_files(name: str, stated: dict[str, Any], fs: float, length: int, leads: list[tuple[str, str]]) -> None:
    """Files that other programs wrote."""
    record, _ = opened(shared(name), **stated)
    assert (record.fs, record.length) == (fs, length)
    assert [(signal.name, signal.unit) for signal in record.signals] == leads


def test_ishne() -> None:
    """An ISHNE Holter file, whose ending is that of our annotations: twelve leads in millivolts."""
    pytest.importorskip("ecgdatakit")
    path = shared("ishne/ECG_P28.01.ecg")
    record, found = opened(path)
    assert (record.fs, record.length, {signal.unit for signal in record.signals}) == (1000.0, 95_573, {"mV"})
    raw = np.fromfile(path, "<i2", offset=path.stat().st_size - 2 * 12 * record.length).reshape(-1, 12)
    np.testing.assert_allclose(found, raw * 0.005, atol=1e-9)  # 5,000 nV a count in its header
    limb = {signal.name: i for i, signal in enumerate(record.signals)}
    einthoven = found[:, limb["I"]] + found[:, limb["III"]] - found[:, limb["II"]]
    assert np.abs(einthoven).max() < 0.02


@pytest.mark.parametrize("name", ["cardio/sample.dcm", "dicom/anonymous_ecg.dcm"])
def test_dicom(name: str) -> None:
    """A DICOM waveform of twelve leads."""
    pytest.importorskip("ecgdatakit")
    pytest.importorskip("pydicom", reason="reading DICOM needs pydicom")
    record, found = opened(shared(name))
    assert len(record.signals) == 12
    assert {signal.unit for signal in record.signals} == {"mV"}
    assert 0.2 < np.nanmax(np.abs(found)) < 20


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cardio/sample.xml", "no ECG file that is known"),
        ("ishne/ECG_P28.01.ann", "no ECG file that is known"),
        ("wfdb/huge.qrs", "no ECG file that is known"),
        ("wfdb/test_edfann.edf", "holds annotations, and no signals"),
        ("README.txt", "text without a table of samples"),
    ],
)
def test_real_files_without_a_recording(tmp_path: Path, name: str, reason: str) -> None:
    """Annotations, an unknown dialect of XML and prose are refused."""
    pytest.importorskip("ecgdatakit")
    path = tmp_path / Path(name).name
    shutil.copy(shared(name), path)
    with pytest.raises(RecordError, match=reason):
        opened(path, fs=250.0, unit="mV")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A format of a device without its package: the command that installs it."""
    monkeypatch.setitem(sys.modules, "ecgdatakit", None)
    (tmp_path / "a.xml").write_text("<AnnotatedECG/>")
    with pytest.raises(EcgError, match=r"pip install 'ecg-agent\[formats\]'") as caught:
        opened(tmp_path / "a.xml")
    assert caught.value.exit_code == 3


@settings(max_examples=60)
@given(st.data())
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever becomes of the bytes of a file, it is read or refused."""
    kind = data.draw(st.sampled_from(["npz", "npy", "mat", "wav", "flac", "edf", "bdf"]))
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    stated: dict[str, Any] = {"fs": FS, "unit": "uV"} if kind not in ("edf", "bdf") else {}
    write_as(path, COUNTS[:720])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content), 1500)))
        content[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(RecordError):
        record = open_signal_file(str(path), SignalFileOptions(**stated))
        assert read_record_samples(record, 0, 1000).shape == (min(1000, record.length), len(record.signals))


def test_the_size_of_a_count(tmp_path: Path) -> None:
    """Counts of a known size are in volts; a file that states another unit is refused."""
    (tmp_path / "a.csv").write_text("".join(f"{count}\n" for count in (512, 513, 511) * 200))
    options = SignalFileOptions(fs=250.0, unit="2.9uV")
    record = open_signal_file(str(tmp_path / "a.csv"), options)
    assert [signal.unit for signal in record.signals] == ["uV"]
    assert read_record_samples(record, 0, 2)[:, 0].tolist() == pytest.approx([512 * 2.9, 513 * 2.9])
    assert record.signals[0].high > 513 * 2.9
    (tmp_path / "b.csv").write_text("ECG (mV)\n" + "0.5\n" * 600)
    with pytest.raises(RecordError, match=r"b\.csv is in mV, not counts"):
        open_signal_file(str(tmp_path / "b.csv"), options)
    for text in ("0uV", "2.9counts", "2.9", "2.9 apples"):
        with pytest.raises(ConfigError, match="is not known"):
            SignalFileOptions(unit=text)
