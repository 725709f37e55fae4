"""ecg-agent analyse: from recordings to their beats."""

import csv
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
import wfdb
from support.agent_process import AgentProcess, run_agent
from support.commands import RunHere
from support.fork_server import SPAWNED

from agent.batch import file_analysis
from agent.batch.batch_files import BatchFile, find_batch_files, list_tables_left_out
from agent.batch.batch_run import BatchOptions, BatchProgress, run_batch
from agent.batch.batch_summary import batch_to_json, build_batch_table, list_remarks
from agent.batch.file_analysis import FileOutcome, choose_record_leads
from agent.batch.file_report import FileReport
from agent.batch.file_tables import FileClock, alarm_columns, beat_columns
from agent.batch.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from agent.batch.result_writer import ResultKinds
from agent.cluster.open_hands import WorkPlace
from agent.cluster.process_hands import without_interrupts
from agent.core.config import Config, override_config
from model.errors import EndpointError, RecordError, RunError
from model.files import lock_folder, release_folder
from model.formats.signal_file import SignalFileOptions
from model.records.wfdb_records import open_record, read_record_samples

REPOSITORY = Path(__file__).parent.parent
LONG_S = 120.0
TABLES = ResultKinds()
DATE = "21:30:00.5 03/05/2021"


def environment() -> dict[str, str]:
    """The environment of a process, without settings of whoever runs the tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ECG_AGENT_")}


def write_record(
    folder: Path, name: str, seconds: float = 40, source: str = "208", date: str = DATE, leads: str = "II,V1"
) -> Path:
    """Write the start of an embedded record, again and again where it is shorter, as a WFDB record of its own.

    Return its header.
    """
    folder.mkdir(parents=True, exist_ok=True)
    x = read_record_samples(open_record(source), 0, round(360 * seconds))
    x = np.resize(x, (round(360 * seconds), x.shape[1]))
    np.rint(200 * x).astype("<i2").tofile(folder / f"{name}.dat")
    lines = [f"{name} 2 360 {len(x)} {date}", *(f"{name}.dat 16 200 16 0 0 0 0 {lead}" for lead in leads.split(","))]
    path = folder / f"{name}.hea"
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.fixture
def quick(settings: Config) -> Config:
    """Settings that analyse one lead."""
    return override_config(settings, "monitor", lead="1", device="cpu")


def analysed(
    config: Config,
    out: Path,
    *files: Path | str,
    kinds: ResultKinds = TABLES,
    jobs: int = 1,
    force: bool = False,
    seen: list[BatchProgress] | None = None,
    fs: float | None = None,
) -> list[FileOutcome]:
    options = BatchOptions(tuple(map(str, files)), out, SignalFileOptions(fs), kinds, WorkPlace(jobs), force)
    return run_batch(config, options, (seen if seen is not None else []).append)


def half_written(out: Path, name: str) -> list[Path]:
    """The folders in which results of a file are written, by whatever process."""
    return list(out.glob(f".{name}.*.partial"))


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes that a process analyses in."""
    return [child for child in psutil.Process(pid).children() if SPAWNED in " ".join([child.name(), *child.cmdline()])]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(text: str) -> dict[str, list[dict[str, Any]]]:
    """The objects of JSON lines by type, without what differs from run to run, and without times by the clock.

    What a monitor says of its link, as on a machine that is too busy for it, is none of the file's results.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for line in re.sub(r'"run [0-9a-z]{8},', '"run,', text).splitlines():
        value = json.loads(line)
        if value.get("kind") in ("link", "backfill") or value.get("condition") == "no data":
            continue
        unlike = ("run", "added_ms", "link_ms", "time", "announced_time", "ended_time", "acknowledged_time")
        kept = {key: of for key, of in value.items() if key not in unlike}
        found.setdefault(value["type"], []).append(kept)
    return found


def monitored(record: Path, lead: str) -> str:
    """The JSON lines of a monitor to which the simulator sends a record."""
    command = ["simulate", "record", str(record), "--speed", "max", "--wait", "--endpoint", "tcp://127.0.0.1:*"]
    with AgentProcess[str](command, stderr=subprocess.PIPE, text=True, env=environment(), cwd=REPOSITORY) as device:
        assert device.stderr is not None
        endpoint = re.search(r"tcp://127\.0\.0\.1:\d+", device.stderr.readline())
        assert endpoint is not None
        watch = ["monitor", "--json", "--until-end", "--device", "cpu", "--lead", lead, "--endpoint", endpoint.group()]
        done = run_agent(watch, env=environment(), cwd=REPOSITORY)
        device.terminate()
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("lead", ["auto", "V1"])
def test_results_are_those_of_a_monitor(settings: Config, tmp_path: Path, lead: str) -> None:
    """Beats, events, alarms and ledger are those of a monitor to which the simulator sends the same file."""
    path = write_record(tmp_path, "a", seconds=60)
    config = override_config(settings, "monitor", lead=lead, device="cpu")
    (outcome,) = analysed(config, tmp_path / "out", path)
    live = lines(monitored(path, lead))
    ours = lines((tmp_path / "out" / "a" / "results.jsonl").read_text())
    assert {"beat", "event", "alarm", "ledger"} == set(ours) == set(live)
    assert len(ours["beat"]) > 80
    assert ours == live
    assert outcome.summary is not None
    assert outcome.summary.leads == (("II", "V1") if lead == "auto" else ("V1",))


def test_files_of_a_ward_do_not_change_each_other(quick: Config, tmp_path: Path) -> None:
    """A file has the same results alone and together with others, and progress adds up to all bytes."""
    paths = [
        write_record(tmp_path, name, seconds, source)
        for name, seconds, source in (("a", 30, "208"), ("b", 40, "119"), ("c", 20, "200"))
    ]
    seen: list[BatchProgress] = []
    together = analysed(quick, tmp_path / "together", *paths, seen=seen)
    assert [outcome.file.name for outcome in together] == ["a", "b", "c"]
    analysed(quick, tmp_path / "alone", paths[1])
    for name in ("beats.csv", "alarms.csv", "results.jsonl", "b.ecg"):
        assert (tmp_path / "together" / "b" / name).read_bytes() == (tmp_path / "alone" / "b" / name).read_bytes()
    assert seen[-1].done_files == seen[-1].files == 3
    assert seen[-1].done_bytes == pytest.approx(seen[-1].total_bytes, rel=0.01)
    assert all(before.done_bytes <= after.done_bytes for before, after in pairwise(seen))


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_several_processes(quick: Config, tmp_path: Path) -> None:
    """Two processes give the same files as one."""
    paths = [write_record(tmp_path, name, source=source) for name, source in (("a", "208"), ("b", "119"))]
    analysed(quick, tmp_path / "one", *paths, kinds=ResultKinds(report=True, parquet=True))
    seen: list[BatchProgress] = []
    outcomes = analysed(quick, tmp_path / "two", *paths, "nothing", jobs=2, seen=seen)
    assert [outcome.reason[:20] for outcome in outcomes] == ["", "", "no record 'nothing':"]
    for name in ("a/beats.csv", "b/beats.csv", "a/results.jsonl", "b/b.ecg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert seen[-1].done_files == 3
    assert seen[-1].done_bytes == pytest.approx(seen[-1].total_bytes, rel=0.01)


def test_tables(quick: Config, tmp_path: Path) -> None:
    """Rows hold indices at the rate of the file and at 125 Hz, times by the clock of the file, and what JSON says."""
    path = write_record(tmp_path, "a")
    analysed(quick, tmp_path / "out", path)
    found = rows(tmp_path / "out" / "a" / "beats.csv")
    said = [json.loads(line) for line in (tmp_path / "out" / "a" / "results.jsonl").read_text().splitlines()]
    beats = [line for line in said if line["type"] == "beat"]
    assert len(found) == len(beats) > 50
    for row, beat in zip(found, beats, strict=True):
        at = beat["sample"]
        assert int(row["sample_125hz"]) == at
        assert abs(int(row["sample"]) - at * 360 / 125) <= 0.5
        assert float(row["time_s"]) == beat["time_s"]
        assert (row["class"], row["lead"], float(row["confidence"])) == (beat["class"], "II", beat["confidence"])
        assert (float(row["rr_s"]) if row["rr_s"] else None) == beat["rr_s"]
        assert row["time"] == beat["time"]
    first = 0.5 + beats[0]["time_s"]
    assert beats[0]["time"] == f"2021-05-03T21:30:{first:06.3f}"
    alarms = rows(tmp_path / "out" / "a" / "alarms.csv")
    last = {(line["condition"], line["onset"]): line for line in said if line["type"] == "alarm"}
    assert [(row["condition"], int(row["onset_125hz"])) for row in alarms] == list(last)
    for row, alarm in zip(alarms, last.values(), strict=True):
        assert (float(row["ended_s"]) if row["ended_s"] else None) == (
            None if alarm["ended"] is None else pytest.approx(alarm["ended"] / 125, abs=1e-3)
        )
        assert row["time"].startswith("2021-05-03T21:30:") or row["time"].startswith("2021-05-03T21:31:")


def test_a_file_without_a_date(quick: Config, tmp_path: Path) -> None:
    """Where a file does not say when it began there is no time by the clock, and none is made up."""
    (outcome,) = analysed(quick, tmp_path / "out", write_record(tmp_path, "a", date=""))
    assert outcome.summary is not None
    assert outcome.summary.start is None
    assert {row["time"] for row in rows(tmp_path / "out" / "a" / "beats.csv")} == {""}
    said = (tmp_path / "out" / "a" / "results.jsonl").read_text().splitlines()
    assert {json.loads(line).get("time") for line in said} == {None}


def test_annotations(quick: Config, tmp_path: Path) -> None:
    """The WFDB package reads the beats at the rate of the file, which the annotations state themselves."""
    analysed(quick, tmp_path / "out", write_record(tmp_path, "a"))
    notes = wfdb.rdann(str(tmp_path / "out" / "a" / "a"), "ecg")
    found = rows(tmp_path / "out" / "a" / "beats.csv")
    assert notes.fs == 360
    assert notes.sample.tolist() == [int(row["sample"]) for row in found]
    assert notes.symbol == [row["class"] for row in found]


@pytest.mark.parametrize(("date", "said"), [(DATE, "by the clock of the file"), ("", "which states no date")])
def test_report(quick: Config, tmp_path: Path, date: str, said: str) -> None:
    """A report is made as HTML and PDF, with times and rate of the file; the recording it is made of is deleted."""
    path = write_record(tmp_path, "a", date=date)
    analysed(quick, tmp_path / "out", path, kinds=ResultKinds(report=True))
    folder = tmp_path / "out" / "a"
    page = (folder / "report.html").read_text()
    assert said in page
    assert "at 360 Hz; 100.0 % with signal" in page
    assert ("2021-05-03 21:30:00" if date else "day 1, 00:00:00") in page
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    manifest = read_manifest(folder)
    assert manifest is not None
    assert {item.name for item in folder.iterdir()} == {*manifest.files, MANIFEST_NAME}


def test_parquet(quick: Config, tmp_path: Path) -> None:
    """Parquet tables hold what the CSV tables hold, with types."""
    parquet = pytest.importorskip("pyarrow.parquet")
    analysed(quick, tmp_path / "out", write_record(tmp_path, "a"), kinds=ResultKinds(parquet=True))
    for name in ("beats", "alarms"):
        table = parquet.read_table(tmp_path / "out" / "a" / f"{name}.parquet")
        found = rows(tmp_path / "out" / "a" / f"{name}.csv")
        assert table.column_names == list(found[0])
        assert str(table.schema.field("time").type) == "timestamp[us]"
        for column in table.column_names:
            values = table[column].to_pylist()
            if column == "time":
                values = [value.isoformat(timespec="milliseconds") for value in values]
            texts = ["" if value is None else str(value) for value in values]
            assert texts == [row[column] for row in found], column


def test_the_page_describes_all_columns() -> None:
    """docs/analyse.md has a row for each column of the tables, in their order."""
    page = (REPOSITORY / "docs" / "analyse.md").read_text()
    clock = FileClock(360.0, None)
    for columns, title in ((beat_columns(clock), "beats"), (alarm_columns(clock), "alarms")):
        table = page.split(f"## `{title}.csv`")[1].split("\n## ")[0]
        named = [name for cell in re.findall(r"^\| (`.*?`) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)]
        assert named == [column.name for column in columns]


def test_the_content_decides_where_only_the_time_is_another(quick: Config, tmp_path: Path) -> None:
    """Results of a file whose time has changed are kept with the same SHA-256, and made again with another one."""
    path = write_record(tmp_path, "a", 15)
    signals = path.with_suffix(".dat")
    (made,) = analysed(quick, tmp_path / "out", path)
    manifest = read_manifest(tmp_path / "out" / "a")
    assert manifest is not None
    digests = {stamp.name: stamp.sha256 for stamp in manifest.stamps}
    assert digests == {of.name: hashlib.sha256(of.read_bytes()).hexdigest() for of in (path, signals)}
    os.utime(signals, ns=(0, 0))
    (kept,) = analysed(quick, tmp_path / "out", path)
    assert (made.is_kept, kept.is_kept) == (False, True)
    signals.write_bytes(signals.read_bytes()[:-2] + b"\0\0")
    os.utime(signals, ns=(0, 1))
    (again,) = analysed(quick, tmp_path / "out", path)
    assert not again.is_kept


def test_who_comes_late_leaves_what_is_there(quick: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process has the results of a file first they stay, and nothing else is left."""
    path, out = write_record(tmp_path, "a", 15), tmp_path / "out"
    (first,) = analysed(quick, out, path)
    there = out / "a"
    held = tmp_path / "held"
    there.rename(held)
    written: list[Path] = []

    def finish_later(folder: Path, manifest: Manifest) -> None:
        write_manifest(folder, manifest)
        written.append(folder)
        held.rename(there)  # now the other one is done

    monkeypatch.setattr(file_analysis, "write_manifest", finish_later)
    inode = held.stat().st_ino
    (second,) = analysed(quick, out, path)
    assert first.summary == second.summary
    assert len(written) == 1
    assert there.stat().st_ino == inode
    assert sorted(item.name for item in out.iterdir()) == [".lock", "a"]


def test_what_is_there_is_kept(quick: Config, tmp_path: Path) -> None:
    """Results are made again only where the file, the settings or the wish have changed, or by force."""
    path, out = write_record(tmp_path, "a", seconds=15), tmp_path / "out"

    def is_kept(config: Config = quick, **options: Any) -> bool:
        (outcome,) = analysed(config, out, path, **options)
        assert outcome.summary is not None
        return outcome.is_kept

    assert not is_kept()
    assert is_kept()
    assert not is_kept(force=True)
    assert not is_kept(override_config(quick, "monitor", lead="2"))
    assert not is_kept(override_config(quick, "alarms", pause_s=2.0))
    assert not is_kept(kinds=ResultKinds(report=True))
    assert is_kept()  # with a report that nobody has asked for this time
    (out / "a" / "beats.csv").unlink()
    assert not is_kept()
    (out / "a" / "beats.csv").write_text("")
    assert not is_kept()
    assert is_kept()
    (out / "a" / MANIFEST_NAME).write_text("{}")
    assert not is_kept()
    assert sorted(item.name for item in out.iterdir()) == [".lock", "a", f"{tmp_path.name}-a"]


def test_files_of_the_same_name(quick: Config, tmp_path: Path) -> None:
    """Files of the same name have folders of their own, the same each time, and nothing of others is overwritten."""
    first, second = (
        write_record(tmp_path / folder, "1", 15, source) for folder, source in (("a", "208"), ("b", "119"))
    )
    out = tmp_path / "out"
    (out / "b-1").mkdir(parents=True)
    (out / "b-1" / "precious").write_text("mine")
    analysed(quick, out, second)
    outcomes = analysed(quick, out, first, second)
    assert [(outcome.file.name, outcome.is_kept) for outcome in outcomes] == [("a-1", False), ("1", True)]
    assert [path.name for path in (out / "b-1").iterdir()] == ["precious"]
    manifest = read_manifest(out / "a-1")
    assert manifest is not None
    assert manifest.source == str(first.resolve())
    third = write_record(tmp_path / "c" / "a", "1", 15)
    outcomes = analysed(quick, out, third, first, second)
    assert [outcome.file.name for outcome in outcomes] == ["1-2", "a-1", "1"]


def test_bad_files_among_good_ones(quick: Config, tmp_path: Path) -> None:
    """A file that cannot be read or has no ECG is listed with its reason; the others are analysed."""
    good = write_record(tmp_path, "good", 15)
    no_ecg = write_record(tmp_path, "breath", 15, leads="RESP,CO2")
    cut = write_record(tmp_path, "cut", 15)
    cut.with_suffix(".dat").unlink()
    empty = tmp_path / "empty.hea"
    empty.write_text("")
    config = override_config(quick, "monitor", lead="auto")
    outcomes = analysed(config, tmp_path / "out", tmp_path / "no.hea", empty, cut, no_ecg, good, "208x")
    reasons = [outcome.reason for outcome in outcomes]
    assert reasons[4] == ""
    assert all(reasons[:4])
    assert reasons[5]
    assert "it is empty" in reasons[1]
    assert "there is no file cut.dat" in reasons[2]
    assert all("\n" not in reason for reason in reasons)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "good"]
    said = batch_to_json(outcomes, tmp_path / "out")
    assert (said["analysed"], said["kept"], said["failed"]) == (1, 0, 5)
    assert [file["state"] for file in said["files"]].index("analysed") == 4
    assert said["files"][4]["beats"].keys() == {"N", "S", "V", "F", "Q"}
    assert build_batch_table(outcomes).row_count == 1


@pytest.mark.parametrize(
    ("source", "reason", "line"),
    [
        ("x/pipe.csv", "x/pipe.csv is no file", "x/pipe.csv is no file"),
        ("./x/a.wav", "a.wav is a damaged sound: no data", "./x/a.wav is a damaged sound: no data"),
        ("./a.csv", "cannot read a.csv: Permission denied", "cannot read a.csv: Permission denied"),
        ("a", "no record 'a': give a path", "no record 'a': give a path"),
        ("a", "there is no data", "a: there is no data"),
        ("x/a.csv", "unit of a.csv is not in the file: say it", "unit of x/a.csv is not in the file: say it"),
        ("a.csv", "rate of a.csv is not in the file: say it", "rate of a.csv is not in the file: say it"),
        ("a.edf", "unit of V1 in a.edf is not in the file: say it", "unit of V1 in a.edf is not in the file: say it"),
        ("a.edf", "record a.edf ends 1 s before its length", "record a.edf ends 1 s before its length"),
    ],
)
def test_a_reason_names_its_file_once(source: str, reason: str, line: str) -> None:
    """Every line about a file that failed has its name, and has it once."""
    file = BatchFile(source, source, "a", ())
    assert list_remarks([FileOutcome(file, None, reason)]) == [line]


def test_file_names_that_are_not_text(quick: Config, tmp_path: Path) -> None:
    """Files whose names are not UTF-8, or long, are analysed or listed like others, and kept."""
    good = write_record(tmp_path, "good", 15)
    samples = np.round(1000 * read_record_samples(open_record("208"), 0, 360 * 15)[:, 0])
    table = "II (uV)\n" + "\n".join(f"{sample:.0f}" for sample in samples)
    odd = [tmp_path / os.fsdecode(name) for name in (b"a\xff.csv", b"a\xfe.csv", "心".encode() * 80 + b".csv")]
    for path in odd:
        path.write_text(table)
    bad = tmp_path / os.fsdecode(b"\xff.csv")
    bad.write_text("no ECG")
    options = BatchOptions(
        tuple(map(str, (*odd, bad, good))), tmp_path / "out", SignalFileOptions(360.0), TABLES, WorkPlace(1), False
    )
    for is_kept in (False, True):
        outcomes = run_batch(quick, options, lambda _: None)
        assert [outcome.summary is not None for outcome in outcomes] == [True, True, True, False, True]
        assert [outcome.is_kept for outcome in outcomes] == [is_kept, is_kept, is_kept, False, is_kept]
        assert len({outcome.file.name for outcome in outcomes}) == 5
        said = msgspec.json.decode(msgspec.json.encode(batch_to_json(outcomes, tmp_path / "out")))
        assert [file["file"][-9:] for file in said["files"][:2]] == ["udcff.csv", "udcfe.csv"]


def test_a_reader_that_breaks(quick: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a reader raises in the middle of a file, the others are analysed."""
    paths = [write_record(tmp_path, name, 15) for name in ("a", "b")]

    def break_down(_start: int, _stop: int) -> Any:
        raise ZeroDivisionError("odd")

    def open_file(name: str, _options: object) -> Any:
        record = open_record(name)
        return replace(record, reader=break_down) if name.endswith("a.hea") else record

    monkeypatch.setattr("agent.batch.file_analysis.open_signal_file", open_file)
    outcomes = analysed(quick, tmp_path / "out", *paths)
    assert [outcome.summary is not None for outcome in outcomes] == [False, True]
    assert "ZeroDivisionError" in outcomes[0].reason


def test_a_report_that_cannot_be_made(quick: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose report cannot be made has failed, and only that one."""
    paths = [write_record(tmp_path, name, 15) for name in ("a", "b")]
    write = FileReport.write

    def refuse(report: FileReport) -> list[Path]:
        if report._bed == "a":
            raise RecordError("too long for a report")
        return write(report)

    monkeypatch.setattr(FileReport, "write", refuse)
    outcomes = analysed(quick, tmp_path / "out", *paths, kinds=ResultKinds(report=True))
    assert [outcome.reason for outcome in outcomes] == ["too long for a report", ""]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "b"]


def test_a_unit_that_cannot_be_right(quick: Config, tmp_path: Path) -> None:
    """Counts that are called millivolts, and a file without a beat, are named."""
    record = open_record("100")
    samples = read_record_samples(record, 0, 3600)[:, 0]
    (tmp_path / "counts.csv").write_text("ECG (mV)\n" + "".join(f"{200 * value:.0f}\n" for value in samples))
    (tmp_path / "flat.csv").write_text("ECG (mV)\n" + "0.5\n" * 3600)
    paths = [tmp_path / name for name in ("counts.csv", "flat.csv")]
    high, flat = analysed(quick, tmp_path / "out", *paths, fs=360.0)
    assert high.summary is not None
    assert flat.summary is not None
    (notice,) = high.summary.notices
    assert re.match(r"QRS complexes of ECG seem to be \d+ mV high, which no heart is: is mV right\?", notice)
    assert [text.partition(",")[0] for text in flat.summary.notices] == ["no beat was found: alarms.csv says why"]
    assert rows(tmp_path / "out" / "flat" / "alarms.csv")


def test_a_file_of_one_sample(quick: Config, tmp_path: Path) -> None:
    """It is too short for a beat and for an alarm, and is said to be."""
    (tmp_path / "one.csv").write_text("ECG (mV)\n0.5\n")
    (outcome,) = analysed(quick, tmp_path / "out", tmp_path / "one.csv", fs=250.0)
    assert outcome.summary is not None
    (notice,) = outcome.summary.notices
    assert notice == "no beat was found in 0.004 s of signal, which is too short for an alarm that says why"
    assert not rows(tmp_path / "out" / "one" / "alarms.csv")


def test_files_of_a_folder(tmp_path: Path) -> None:
    """Of a folder all recordings are taken: its records, and files by their endings, but no texts about records."""
    folder = tmp_path / "files"
    write_record(folder, "1", 1)
    for name in ("2.edf", "3.ECG", "notes.txt", "RECORDS.txt", "1.atr", "1.ecg", ".hidden.csv", "4.csv"):
        (folder / name).write_text("")
    found = find_batch_files([str(folder), str(folder / "1"), str(folder / "1.dat")], tmp_path / "out")
    assert [Path(file.path).name for file in found] == ["1.hea", "2.edf", "3.ECG"]
    assert {stamp.name for stamp in found[0].stamps} == {"1.hea", "1.dat"}
    (line,) = list_tables_left_out([str(folder), str(folder), str(folder / "1")])
    assert (
        line == f"{folder} has WFDB records, so the tables beside them are left out; name them to analyse them: 4.csv"
    )
    (folder / "1.hea").unlink()
    assert list_tables_left_out([str(folder)]) == []
    found = find_batch_files([str(folder)], tmp_path / "out")
    assert [file.name for file in found] == ["1", "2", "3", "4", "RECORDS", "notes"]
    (folder / MANIFEST_NAME).write_text("")
    assert find_batch_files([str(folder)], tmp_path / "out") == []


def test_what_is_no_file_is_listed(quick: Config, tmp_path: Path) -> None:
    """Links that lead nowhere, rings of them and pipes fail in words; none is waited for, subfolders are searched."""
    folder = tmp_path / "files"
    write_record(folder / "sub", "1", 10)
    for name, target in (("a.edf", "nowhere.edf"), ("b.bdf", "b.bdf"), ("c.hea", "nowhere.hea")):
        (folder / name).symlink_to(target)
    for name in ("d.xml", "e.npz", "f.hea"):
        os.mkfifo(folder / name)
    options = BatchOptions((str(folder),), tmp_path / "out", SignalFileOptions(), TABLES, WorkPlace(1), False)
    outcomes = run_batch(quick, options, lambda _progress: None)
    reasons = {Path(outcome.file.source).name: outcome.reason for outcome in outcomes}
    assert reasons.keys() == {"1", "a.edf", "b.bdf", "c.hea", "d.xml", "e.npz", "f.hea"}
    assert reasons["1"] == ""
    assert all(reasons[name].endswith("is a link that leads to no file") for name in ("a.edf", "b.bdf", "c.hea"))
    assert all("is no file" in reasons[name] for name in ("d.xml", "e.npz", "f.hea"))


def test_no_cluster_for_what_is_not_there(quick: Config, tmp_path: Path) -> None:
    """Files that are not there are told at once: nothing is started for them, and no cluster is asked."""
    place = WorkPlace(1, "127.0.0.1:1")
    options = BatchOptions(("nofolder", "none.edf"), tmp_path / "out", SignalFileOptions(), TABLES, place, False)
    first, second = run_batch(quick, options, lambda _progress: None)
    assert first.reason.startswith("no record 'nofolder'")
    assert second.reason == "there is no file none.edf"
    pytest.importorskip("ray", reason="Ray is an extra of this package (cluster)")
    with pytest.raises(EndpointError, match=r"no cluster answers at 127\.0\.0\.1:1"):
        run_batch(quick, replace(options, arguments=("nofolder", "208")), lambda _progress: None)


def test_segments_belong_to_their_record(tmp_path: Path) -> None:
    """A record made of segments is one file, that has changed once one of its segments has."""
    write_record(tmp_path, "s1", 1)
    (tmp_path / "s.hea").write_text("s/2 2 360 720\ns1 360\n~ 360\n")
    (found,) = find_batch_files([str(tmp_path)], tmp_path / "out")
    assert {stamp.name for stamp in found.stamps} == {"s.hea", "s1.hea", "s1.dat"}


def test_leads_by_name_and_number(tmp_path: Path) -> None:
    """Leads are named or numbered from 1 on; one that is not there is an error with what there is."""
    record = open_record(str(write_record(tmp_path, "a", 1)))
    assert choose_record_leads(record, "auto") == ("II", "V1")
    assert choose_record_leads(record, "2") == choose_record_leads(record, "V1") == ("V1",)
    assert choose_record_leads(record, "V1, 1,9") == ("V1", "II")
    numbered = open_record(str(write_record(tmp_path, "b", 1, leads="2,1")))
    assert choose_record_leads(numbered, "1") == ("1",)
    with pytest.raises(RecordError, match=r"no lead 'aVR' in .*a: it has 1 II, 2 V1; give a name or number \(--lead\)"):
        choose_record_leads(record, "aVR,7")


def test_what_a_kill_leaves(quick: Config, tmp_path: Path) -> None:
    """Half-written folders go, results that were being replaced come back, and two cannot write to one folder."""
    path, out = write_record(tmp_path, "a", 15), tmp_path / "out"
    analysed(quick, out, path)
    (out / "a").rename(out / ".a.old")
    shutil.copytree(out / ".a.old", out / ".a.1.partial")  # of the process 1, which is none of ours
    (outcome,) = analysed(quick, out, path)
    assert outcome.is_kept
    assert sorted(item.name for item in out.iterdir()) == [".lock", "a"]
    lock = lock_folder(out / ".lock")
    try:
        with pytest.raises(RunError, match="another ecg-agent writes to"):
            analysed(quick, out, path)
    finally:
        release_folder(lock)


def test_exit_codes(tmp_path: Path, run_here: RunHere) -> None:
    """A failed file ends with 4 after the summary of the others; no place for the results with 10, a wish for 3."""
    path = write_record(tmp_path, "a", 15)
    words = ["analyse", str(path), "nothing", "--json", "--device", "cpu", "--out", str(tmp_path / "out")]
    done = run_agent(words, env=environment(), cwd=REPOSITORY)
    assert done.returncode == 4
    assert json.loads(done.stdout)["failed"] == 1
    assert done.stderr.splitlines()[-1] == "ecg-agent: 1 of 2 files could not be analysed"
    (tmp_path / "file").write_text("")
    done = run_here("analyse", path, "--out", tmp_path / "file" / "out")
    assert (done.returncode, done.stderr.count("\n")) == (10, 1)
    assert "choose another folder (--out)" in done.stderr
    full = tmp_path / "full"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        done = run_here("analyse", path, "--device", "cpu", "--report", "--out", full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (done.returncode, done.stderr.count("\n")) == (10, 1), done.stderr
    assert [item.name for item in full.iterdir()] == [".lock"]
    for names in (("",), (str(path), "")):
        done = run_here("analyse", *names, "--out", tmp_path / "nowhere")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert not (tmp_path / "nowhere").exists()
    assert run_here("analyse", path, "--device", "abacus", "--out", tmp_path / "out").returncode == 3


@pytest.mark.slow
def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends with 130; what is finished stays, and nothing is left half. SIGTERM does, too.

    Also where a shell has Ctrl-C ignored, since it started the command in the background.
    """
    paths = [write_record(tmp_path, "short", 15), write_record(tmp_path, "long", 14_400)]
    out = tmp_path / "out"
    for jobs, number in (("1", signal.SIGINT), ("2", signal.SIGINT), ("1", signal.SIGTERM)):
        command = ["analyse", *map(str, paths), "--out", str(out), "--jobs", jobs, "--force"]
        with without_interrupts() if number == signal.SIGTERM else nullcontext():
            started = AgentProcess[bytes](command, env=environment(), cwd=REPOSITORY, stderr=subprocess.PIPE)
        with started as process:
            until_s = time.monotonic() + LONG_S
            while not ((out / "short").exists() and half_written(out, "long")):
                assert process.poll() is None
                assert time.monotonic() < until_s
                time.sleep(0.05)
            process.send_signal(number)
            said = process.communicate(timeout=LONG_S)[1]
        assert (process.returncode, said) == (130, b"")
        assert sorted(item.name for item in out.iterdir()) == [".lock", "short"]
        shutil.rmtree(out)


@pytest.mark.slow
def test_a_killed_process(tmp_path: Path) -> None:
    """The files of a process that is killed are analysed after all."""
    paths = [write_record(tmp_path, name, 150) for name in ("a", "b")]
    out = tmp_path / "out"
    command = ["analyse", *map(str, paths), "--out", str(out), "--jobs", "2", "--json"]
    with AgentProcess[str](command, env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        until_s = time.monotonic() + LONG_S
        while not half_written(out, "*"):
            assert process.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.02)
        workers_of(process.pid)[0].kill()
        said = process.communicate(timeout=LONG_S)[0]
    assert process.returncode == 0
    assert json.loads(said)["analysed"] == 2


@pytest.mark.slow
def test_a_killed_command(tmp_path: Path) -> None:
    """A command that is killed takes its processes with it, and the same command then writes whole results."""
    paths = [write_record(tmp_path, name, 600) for name in ("a", "b")]
    out = tmp_path / "out"
    command = ["analyse", *map(str, paths), "--out", str(out), "--jobs", "2", "--json", "--device", "cpu"]
    with AgentProcess[bytes](command, env=environment(), cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        until_s = time.monotonic() + LONG_S
        while not half_written(out, "*") or len(workers := workers_of(process.pid)) < 2:
            assert process.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.005)
        process.kill()
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    done = run_agent(command, env=environment(), cwd=REPOSITORY)
    assert json.loads(done.stdout)["analysed"] == 2
    assert sorted(item.name for item in out.iterdir()) == [".lock", "a", "b"]
    assert all(len(rows(out / name / "beats.csv")) > 200 for name in ("a", "b"))
