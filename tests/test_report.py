"""agent.report: reading a recording, and the pages of its report."""

import html.parser
import re
import shutil
import sqlite3
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.indexed import CONFIG, LEADS, NOW, chunk, gap, kill, record
from support.reported import alarm, beats, signal, strip, wave

from agent.core.config import Config
from agent.core.events import EventText, RunStarted
from agent.core.messages import Result
from agent.export.convert import convert_recording, show_sessions
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from agent.report.alarm_content import choose_shown_alarms
from agent.report.bed_recording import BedRecording
from agent.report.command import write_reports
from model.errors import ConfigError, RecordError, RunError

HOSTILE = '"><script>alert(1)</script>&<b>\u5e8a'


def reading(folder: Path, bed: str = "1") -> BedRecording:
    with RecordedSession(folder) as session:
        return BedRecording(session, bed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen minutes of a bed: a gap, a hole of the recording, two runs and rates, beats of all classes, alarms."""
    one, two = alarm(20_000, ended=20_500, acknowledged_s=NOW + 300), alarm(5000, priority="high", latching=True)
    found: list[Result] = [
        RunStarted("1", "run", 0, "MLII", 125.0),
        *beats(0, 37_400, labels="NNNNNNVVVNSFQ"),
    ]
    folder = tmp_path_factory.mktemp("made") / "s"
    with Recorder(folder, CONFIG, {"version": "9.9", "weights": "live"}) as recorder:
        recorder.push([signal(0, 10_000), gap(10_000, 11_000), signal(11_000, 25_000)], found, NOW)
        recorder.push([signal(30_000, 37_500)], [one, strip(one), two, strip(two)], NOW)
        later = signal(0, 250 * 300, fs=250.0, run="next", sent_s=NOW + 900)
        begun = RunStarted("1", "next", 0, "MLII", 250.0)
        recorder.push([later], [begun, *beats(0, 37_000, period=125, run="next")], NOW + 900)
    return folder


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    """A copy of that recording."""
    return shutil.copytree(made, tmp_path / "s")


class Checker(html.parser.HTMLParser):
    """Collects what a page holds and whether its elements are closed."""

    VOID = frozenset({"meta", "br", "path", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.labels: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(path: Path) -> Checker:
    page = Checker()
    text = path.read_text(encoding="utf-8")
    page.feed(text)
    page.close()
    assert page.open == []
    assert "script" not in page.tags
    assert "nan" not in re.sub(r"[^ \"]*[a-z]nan|nan[a-z][^ \"]*", "", " ".join(re.findall(r'="([^"]*)"', text)))
    return page


def pages_of(path: Path) -> int:
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    return len(re.findall(rb"/Type /Page\b", content))


def test_reading_puts_runs_on_one_time_line(folder: Path) -> None:
    """Within a run by index, between runs by the clock; beats, lead, ledger and alarms beside it."""
    made = reading(folder)
    assert [(place.run, place.at_s, place.stop) for place in made.places] == [
        ("run", 0.0, 37_500.0),
        ("next", pytest.approx(600.0, abs=0.1), 37_500.0),
    ]
    assert made.lead == "MLII"
    assert made.started_s == pytest.approx(NOW, abs=0.01)
    assert made.length_s == pytest.approx(900.0, abs=0.1)
    assert len(made.beats) == 374 + 296
    assert all(a < b for a, b in pairwise(made.beats.at_s.tolist()))
    assert np.isnan(made.beats.rr_s).sum() == 2
    assert made.time_of("next", 125) == pytest.approx(601.0, abs=0.1)
    assert made.time_of("other", 125) is None
    assert [one.onset for one in made.alarms] == [20_000, 5000]
    assert made.ledger.missing == 6000


def test_the_signal_is_read_from_any_place_at_125_hz(folder: Path) -> None:
    """Also of another rate; NaN where nothing was recorded, across segments and gaps."""
    made = reading(folder)
    np.testing.assert_array_equal(made.wave(10.0, 2.0), (wave(1250, 1500)[:, 0] / 1000).astype(np.float32))
    cut = made.wave(79.0, 2.0)
    assert np.isnan(cut[125:]).all()
    assert not np.isnan(cut[:125]).any()
    hole = made.wave(199.0, 42.0)
    assert np.isnan(hole[125 : 125 * 41]).all()
    assert not np.isnan(hole[:125]).any()
    assert not np.isnan(hole[-124:]).any()
    begin = made.places[1].at_s
    np.testing.assert_allclose(made.wave(begin + 8.0, 2.0), wave(2000, 2500, 250.0)[::2, 0] / 1000, atol=0.02)
    assert np.isnan(made.wave(-5.0, 2.0)).all()
    assert np.isnan(made.wave(1e6, 1.0)).all()


def test_a_report_shows_what_was_recorded(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: Config
) -> None:
    """One page that needs nothing else, and a PDF; what was written is printed."""
    made = write_reports(folder, settings, None, tmp_path / "out.html")
    assert made == [tmp_path / "out.html", tmp_path / "out.pdf"]
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == [str(path) for path in made]
    page = checked(tmp_path / "out.html")
    assert {link[0] for link in page.links} == {"#"}
    assert page.tags.count("svg") >= 9
    assert len([label for label in page.labels if label]) == page.tags.count("svg") + 1
    for said in (
        *("ECG report, bed 1", "Research tool, not a medical device", "ecg-agent 9.9", "250 Hz", "670", "Alarms"),
        *("HIGH", "MEDIUM", "announced 1.6 s later", "lasted 4.0 s", "not acknowledged", "latching", "no end recorded"),
        *("SDNN", "RMSSD", "does not hold", "Run of 3 ventricular beats", "Ledger", "6,000 not", "gap", "Slowest rate"),
    ):
        assert said in page.text, said
    assert "http" not in re.sub(r"\s", "", (tmp_path / "out.html").read_text())
    assert pages_of(tmp_path / "out.pdf") >= 5
    assert list(tmp_path.glob("*.partial")) == []


def test_the_same_recording_gives_the_same_bytes(folder: Path, tmp_path: Path, settings: Config) -> None:
    """Page and PDF are a function of the recording."""
    for name in ("one", "two"):
        write_reports(folder, settings, None, tmp_path / f"{name}.html")
    for ending in (".html", ".pdf"):
        assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()


def test_reading_changes_nothing(folder: Path, tmp_path: Path, settings: Config) -> None:
    """Neither file nor time of change in the recording."""
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    write_reports(folder, settings, None, tmp_path / "out.html", pdf=False)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "out.pdf").exists()


def test_several_beds_have_an_index(tmp_path: Path, settings: Config) -> None:
    """A report for each bed, with a plain file name of its own; or the one that is asked for."""
    names = [HOSTILE, "a/b", "a_b", "7"]
    found = [one for bed in names for one in beats(0, 7000, bed)]
    record(tmp_path / "s", *(signal(0, 7500, bed=bed) for bed in names), found=found)
    made = write_reports(tmp_path / "s", settings, None, tmp_path / "out.html", pdf=False)
    assert len(made) == 5
    page = checked(made[0])
    assert sorted(page.links) == sorted(path.name for path in made[1:])
    assert all(name in page.text for name in names)
    for path in made[1:]:
        checked(path)
    (one,) = write_reports(tmp_path / "s", settings, ["a/b"], tmp_path / "one.html", pdf=False)
    assert "ECG report, bed a/b" in checked(one).text


def spoil(folder: Path, statement: str, *values: Any) -> None:
    db = sqlite3.connect(folder / "session.db")
    db.execute(statement, values)
    db.commit()
    db.close()


IMPOSSIBLE = {
    "an end": "UPDATE ledger SET next = 9007199254740992, missing = 9007199254700000 WHERE bed = 'b'",
    "a rate": "UPDATE ledger SET fs = 9e999 WHERE bed = 'b'",
    "a segment": "UPDATE segments SET leads = 'x' WHERE bed = 'b'",
    "a path": "UPDATE segments SET path = '../../b/0001' WHERE bed = 'b'",
    "a time": "UPDATE segments SET started_s = 1e300 WHERE bed = 'b'",
    "a beat": "UPDATE beats SET label = 'X' WHERE bed = 'b'",
    "an alarm": "UPDATE alarms SET priority = x'00' WHERE bed = 'b'",
    "an event": "UPDATE events SET at_s = 'x' WHERE bed = 'b'",
}


@pytest.mark.parametrize("statement", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_one_bed_that_makes_no_sense_is_left_out(tmp_path: Path, settings: Config, statement: str) -> None:
    """The others are reported in full; the index and one line with exit code 4 name the one that is not, and why."""
    found: list[Result] = []
    for bed in "abc":
        found += [*beats(0, 7000, bed), alarm(3000, bed), EventText("gap", bed, "run", 3, "a gap")]
    record(tmp_path / "s", *(signal(0, 7500, bed=bed) for bed in "abc"), found=found)
    write_reports(tmp_path / "s", settings, None, tmp_path / "before.html", pdf=False)
    spoil(tmp_path / "s", statement)
    with pytest.raises(RecordError, match=r"beds left out of .*out\.html: b \(.*; the others are reported") as caught:
        write_reports(tmp_path / "s", settings, None, tmp_path / "out.html", pdf=False)
    assert caught.value.exit_code == 4
    page = checked(tmp_path / "out.html")
    assert page.links == ["out-a.html", "out-c.html"]
    assert "left out: " in page.text
    for bed in "ac":
        assert (tmp_path / f"out-{bed}.html").read_bytes() == (tmp_path / f"before-{bed}.html").read_bytes()
    assert not (tmp_path / "out-b.html").exists()
    with pytest.raises(RecordError):
        write_reports(tmp_path / "s", settings, ["b"], tmp_path / "b.html", pdf=False)
    write_reports(tmp_path / "s", settings, ["a"], tmp_path / "a.html", pdf=False)


def test_no_bed_that_makes_sense(tmp_path: Path, settings: Config) -> None:
    """Without any report there is no index, and one line names the beds."""
    record(tmp_path / "s", *(signal(0, 7500, bed=bed) for bed in "abcdef"))
    spoil(tmp_path / "s", "UPDATE ledger SET fs = 'x'")
    with pytest.raises(RecordError, match=r"^no bed of .* can be reported: a \(.*\), b \(.*\), c \(.*\) and 3 more$"):
        write_reports(tmp_path / "s", settings, None, tmp_path / "out.html", pdf=False)
    assert list(tmp_path.glob("*.html")) == []


@pytest.mark.parametrize("name", [b"\xff", "", "x" * 65, "\x1b[2J"])
def test_a_bed_whose_name_cannot_be_read(tmp_path: Path, settings: Config, name: bytes | str) -> None:
    """It is told of, and the others are reported."""
    record(tmp_path / "s", *(signal(0, 7500, bed=bed) for bed in "ab"))
    spoil(tmp_path / "s", "UPDATE ledger SET bed = CAST(? AS TEXT) WHERE bed = 'b'", name)
    spoil(tmp_path / "s", "UPDATE segments SET bed = CAST(? AS TEXT) WHERE bed = 'b'", name)
    with pytest.raises(RecordError, match="names cannot be read: 1"):
        write_reports(tmp_path / "s", settings, None, tmp_path / "out.html", pdf=False)
    assert checked(tmp_path / "out.html").links == ["out-a.html"]


def test_names_and_texts_are_harmless(tmp_path: Path, settings: Config) -> None:
    """Hostile names of beds, runs, leads, events and alarms are shown as plain text, in HTML and PDF."""
    leads = tuple(replace(lead, name=HOSTILE[:12]) for lead in LEADS)
    one = alarm(2000, bed=HOSTILE, run=HOSTILE, text=HOSTILE, condition=HOSTILE)
    found: list[Result] = [EventText("gap", HOSTILE, "", 3, HOSTILE * 20), *beats(0, 7000, HOSTILE), one, strip(one)]
    with Recorder(tmp_path / "s", CONFIG, {"version": HOSTILE, "weights": HOSTILE * 40}) as recorder:
        recorder.push([signal(0, 7500, bed=HOSTILE, run=HOSTILE, leads=leads)], found, NOW)
    write_reports(tmp_path / "s", settings, None, tmp_path / "out.html")
    page = checked(tmp_path / "out.html")
    assert HOSTILE in page.text
    assert pages_of(tmp_path / "out.pdf") > 1


def test_a_recording_without_anything(tmp_path: Path, settings: Config) -> None:
    """No bed at all is an error in a line; no signal, and signal without beats, have a report that says so."""
    record(tmp_path / "empty")
    with pytest.raises(RecordError, match="nothing was recorded"):
        write_reports(tmp_path / "empty", settings, None, tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()
    record(tmp_path / "flat", chunk(0, 5000, counts=np.zeros((5000, 2), np.int32)))
    write_reports(tmp_path / "flat", settings, None, tmp_path / "flat.html")
    text = checked(tmp_path / "flat.html").text
    assert "No beats were found" in text
    assert "No alarms" in text
    record(tmp_path / "gone", gap(0, 5000))
    write_reports(tmp_path / "gone", settings, None, tmp_path / "gone.html")
    assert "no signal" in checked(tmp_path / "gone.html").text


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_beats(tmp_path: Path, count: int, settings: Config) -> None:
    """One, two or three beats are enough for a report, and too few for most figures."""
    record(tmp_path / "s", signal(0, 1000), found=beats(0, 100 * count))
    write_reports(tmp_path / "s", settings, None, tmp_path / "out.html")
    assert checked(tmp_path / "out.html").text


def test_a_recording_that_goes_on_or_was_killed(tmp_path: Path, settings: Config) -> None:
    """What is on disk is reported, and that more comes."""
    recorder = Recorder(tmp_path / "s", CONFIG, {})
    recorder.push([signal(0, 7500)], [*beats(0, 7000), alarm(3000), strip(alarm(3000))], NOW)
    assert recorder.flush()
    write_reports(tmp_path / "s", settings, None, tmp_path / "live.html")
    assert "still being recorded" in checked(tmp_path / "live.html").text
    kill(recorder)
    write_reports(tmp_path / "s", settings, None, tmp_path / "killed.html")
    assert "still being recorded" not in checked(tmp_path / "killed.html").text


def test_signal_that_was_deleted(
    folder: Path, tmp_path: Path, settings: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beats and alarms stay, with the strips that were kept; damaged and lost files are holes."""
    for path in (folder / "1").glob("*.dat"):
        path.unlink()
    write_reports(folder, settings, None, tmp_path / "out.html")
    assert f"{folder}: samples are gone from 1/0001" in capsys.readouterr().err
    text = checked(tmp_path / "out.html").text
    assert "no longer there" in text
    assert "670" in text


def test_a_session_of_version_1(folder: Path, tmp_path: Path, settings: Config) -> None:
    """It has no alarms, and a report."""
    db = sqlite3.connect(folder / "session.db")
    db.executescript("DROP TABLE alarms; DROP TABLE strips; PRAGMA user_version = 1;")
    db.close()
    write_reports(folder, settings, None, tmp_path / "out.html")
    assert "No alarms" in checked(tmp_path / "out.html").text


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET next = 9000000000000000",
        "UPDATE beats SET label = 'X'",
        "UPDATE beats SET sample = 'x'",
        "UPDATE alarms SET priority = 'x'",
        "UPDATE events SET text = x'ff'",
        "UPDATE segments SET started_s = 1e300",
    ],
)
def test_hostile_recordings_are_refused(folder: Path, tmp_path: Path, statement: str, settings: Config) -> None:
    """In a line, and nothing is written."""
    db = sqlite3.connect(folder / "session.db")
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(RecordError) as caught:
        write_reports(folder, settings, None, tmp_path / "out.html")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "out.html").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE beats SET sample = 9000000000000000000 WHERE id % 2",
        "UPDATE beats SET sample = -sample",
        "UPDATE beats SET rr_s = 9e999",
        "UPDATE beats SET rr_s = 0",
        "UPDATE beats SET run = 'unknown'",
        "UPDATE alarms SET onset = -9000000000000000000, announced = 9000000000000000000, ended = -5 WHERE id = 1",
        "UPDATE alarms SET run = 'unknown'",
        "UPDATE alarms SET announced_s = 253402300799, acknowledged_s = 0",
        "UPDATE strips SET first = 9000000000000000000",
        "UPDATE strips SET wave = x''",
        "UPDATE events SET at_s = -9e999",
        "UPDATE segments SET started_s = 253402300799",
        "UPDATE segments SET first = first + 100000",
        "DELETE FROM ledger",
    ],
)
def test_odd_recordings_have_a_report(folder: Path, tmp_path: Path, statement: str, settings: Config) -> None:
    """What makes no sense is left out or cut, and never an error that is not ours."""
    db = sqlite3.connect(folder / "session.db")
    db.execute(statement)
    db.commit()
    db.close()
    write_reports(folder, settings, None, tmp_path / "out.html")
    checked(tmp_path / "out.html")
    assert pages_of(tmp_path / "out.pdf")


def refusals() -> Iterator[Any]:
    yield "s", None, "out.pdf", ConfigError, r"end in \.html"
    yield "s", None, "no/out.html", ConfigError, "no folder"
    yield "s", None, "dir.html", ConfigError, "is a folder"
    yield "s", "9", "out.html", RecordError, "no bed '9' in .*: beds are 1"
    yield "none", None, "out.html", RecordError, "is no recording"
    yield ".", None, "out.html", RecordError, "is no recording"


@pytest.mark.parametrize(("session", "bed", "out", "error", "text"), list(refusals()))
def test_refused(
    folder: Path,
    tmp_path: Path,
    session: str,
    bed: str | None,
    out: str,
    error: type[Exception],
    text: str,
    settings: Config,
) -> None:
    """A line that says what to do."""
    (tmp_path / "dir.html").mkdir()
    assert folder.exists()
    with pytest.raises(error, match=text):
        write_reports(tmp_path / session, settings, [bed] if bed else None, tmp_path / out)


@pytest.mark.parametrize("content", [None, b"", b"no database at all", b"SQLite format 3\0" + bytes(4080)])
def test_a_lost_database_is_explained_alike_by_all_commands(
    folder: Path, tmp_path: Path, settings: Config, content: bytes | None
) -> None:
    """With session.db missing or broken, sessions, report and convert give the same line: what is left, and how."""
    (folder / "session.db").unlink()
    if content is not None:
        (folder / "session.db").write_bytes(content)
    lines = set()
    for command in (
        lambda: show_sessions(folder, json=False),
        lambda: write_reports(folder, settings, None, tmp_path / "out.html"),
        lambda: convert_recording(folder, tmp_path / "out.edf"),
    ):
        with pytest.raises(
            RecordError, match=r"session\.db of the recording .* ecg-agent convert .*/1/0001 OUT"
        ) as caught:
            command()
        lines.add(str(caught.value))
    assert len(lines) == 1
    assert caught.value.exit_code == 4
    assert not (tmp_path / "out.html").exists()


def test_the_folder_of_a_bed_is_no_recording(folder: Path, tmp_path: Path, settings: Config) -> None:
    """What is only a part of a recording is refused with the command that was meant."""
    with pytest.raises(RecordError, match=r"only a part of a recording: ecg-agent report .*/s --bed"):
        write_reports(folder / "1", settings, None, tmp_path / "out.html")


def test_a_full_disk_keeps_the_old_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Config
) -> None:
    """The reason, the old file, and no partial one."""
    (tmp_path / "out.html").write_text("before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.files._sync", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_reports(folder, settings, None, tmp_path / "out.html")
    assert (tmp_path / "out.html").read_text() == "before"
    assert list(tmp_path.glob("*.partial")) == []


def test_many_alarms_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Config) -> None:
    """The most urgent alarms have strips, the others one row each, and the report says how many there are."""
    monkeypatch.setattr("agent.report.alarm_content.MOST_STRIPS", 5)
    monkeypatch.setattr("agent.report.alarm_content.MOST_ROWS", 3)
    alarms = [alarm(100 * i, priority="high" if i % 10 == 9 else "low") for i in range(30)]
    found = [item for one in alarms for item in (one, strip(one))]
    record(tmp_path / "s", signal(0, 7500), found=[*beats(0, 7000), *found])
    write_reports(tmp_path / "s", settings, None, tmp_path / "out.html")
    page = checked(tmp_path / "out.html")
    assert "the 5 most urgent of 30" in page.text
    assert page.text.count("HIGH") == 3
    assert "Other alarms, 3 of 25" in page.text
    assert choose_shown_alarms(alarms)[0][0].onset == 0


def test_memory_is_bounded(tmp_path: Path, settings: Config) -> None:
    """Hours of signal at a high rate are never all in memory."""
    rate, minutes = 500.0, 90
    with Recorder(tmp_path / "s", CONFIG, {}) as recorder:
        for minute in range(minutes):
            first = minute * 30_000
            recorder.push([signal(first, first + 30_000, fs=rate)], [], NOW + 60 * minute)
            assert recorder.flush()
    size = sum(path.stat().st_size for path in (tmp_path / "s").rglob("*.dat"))
    tracemalloc.start()
    try:
        write_reports(tmp_path / "s", settings, None, tmp_path / "out.html", pdf=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 10_000_000
    assert peak < size / 2
