"""agent.report: how full the pages are, what the first one says, and that time and leads are accounted for."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from support.indexed import CONFIG, NOW, chunk, gap, record
from support.reported import alarm, beats, signal, strip

from agent.core.config import Config
from agent.core.events import Event, HeardLeadChanged, RunStarted
from agent.core.messages import AlarmCondition, Beat, Chunk, Priority, Result
from agent.export.listing import summarise_sessions
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from agent.report.alarm_content import MOST_LARGE_STRIPS, choose_shown_alarms, find_same_beats
from agent.report.beat_measurement import measure_recorded_beat
from agent.report.bed_recording import BedRecording, read_alarm_strips
from agent.report.content import build_report_document, find_all
from agent.report.document import FigureGrid, ReportDocument, ReportFigure, ReportTable, SideBySide
from agent.report.heard_leads import HeardLeads
from agent.report.pdf_report import write_pdf_document
from agent.report.picture import WIDTH, column_width
from agent.report.recording_content import recording_section
from agent.report.rhythm_episodes import find_rhythm_episodes
from agent.report.styles import duration_in_words
from agent.report.summary_content import summarise_in_words

LEAST_FILLED = 0.6
"""Share of the height of every page but the last that is used."""
LABELS = "NNNNNNVVVNSFNNNNNVVN"


PRIORITY_ORDER: tuple[Priority, ...] = ("low", "medium", "high", "low", "medium")


def make(
    folder: Path, seconds: int, alarms: int = 0, labels: str = LABELS, priorities: Sequence[Priority] = PRIORITY_ORDER
) -> None:
    """Record a bed with alarms whose priorities go round, spread over the recording."""
    onsets = np.linspace(1500, seconds * 125 - 3000, alarms).astype(int).tolist()
    made = [
        alarm(
            onset,
            priority=priorities[i % len(priorities)],
            condition=("V run", "couplet", "pause")[i % 3],
            ended=onset + 900,
        )
        for i, onset in enumerate(onsets)
    ]
    found: list[Result] = [RunStarted("1", "run", 0, "MLII", 125.0, ("V1",))]
    found += beats(0, seconds * 125 - 200, labels=labels) if labels else []
    found += [item for one in made for item in (one, strip(one))]
    with Recorder(folder, CONFIG, {"version": "9.9", "weights": "live"}) as recorder:
        for first in range(0, seconds * 125, 75_000):
            recorder.push([signal(first, min(first + 75_000, seconds * 125))], found if not first else [], NOW)
            assert recorder.flush()


def read(folder: Path) -> BedRecording:
    with RecordedSession(folder) as session:
        return BedRecording(session, "1")


def document_of(folder: Path, config: Config) -> ReportDocument:
    with RecordedSession(folder) as session:
        recording = BedRecording(session, "1")
        strips = read_alarm_strips(session, "1", {one.identity for one in recording.alarms})
    return build_report_document(recording, find_all(recording, config), strips, config)


def sentences(folder: Path, config: Config) -> dict[str, str]:
    recording = read(folder)
    return dict(summarise_in_words(recording, find_all(recording, config), config))


KINDS = {
    "five minutes": (300, 17, LABELS, 6),
    "half an hour": (1800, 60, LABELS, 12),
    "six hours": (21_600, 40, LABELS, 10),
    "no beats": (300, 0, "", 2),
    "500 alarms": (3600, 500, LABELS, 45),
    "quiet": (300, 0, "N", 2),
}


@pytest.mark.parametrize(("seconds", "alarms", "labels", "most"), KINDS.values(), ids=KINDS)
def test_pages_are_filled(tmp_path: Path, settings: Config, seconds: int, alarms: int, labels: str, most: int) -> None:
    """Every page but the last is used for the most part, and there are few of them; ink agrees with the layout."""
    make(tmp_path / "s", seconds, alarms, labels)
    with (tmp_path / "out.pdf").open("wb") as file:
        filled = write_pdf_document(document_of(tmp_path / "s", settings), file)
    assert len(filled) <= most
    assert min(filled[:-1], default=1.0) >= LEAST_FILLED
    assert 0.05 < filled[-1] <= 1
    if shutil.which("pdftoppm") is None:
        pytest.skip("without pdftoppm only the layout is measured")
    inked = ink_of_pages(tmp_path / "out.pdf")
    assert inked == pytest.approx(filled, abs=0.06)


def test_five_minutes_take_three_pages(tmp_path: Path, settings: Config) -> None:
    """With V beats and many alarms of low priority, whose most telling ones have strips; all others are listed."""
    make(tmp_path / "s", 300, 17, "NNVNFNVV", ("low",))
    document = document_of(tmp_path / "s", settings)
    (*_, grid) = (block for section in document.sections for block in section.blocks if isinstance(block, FigureGrid))
    assert len(grid.figures) == 2 * 3
    tables = [block for section in document.sections for block in section.blocks if isinstance(block, ReportTable)]
    (listed,) = (table for table in tables if table.caption.startswith("Other alarms; above"))
    assert sum(cell == "low" for row in listed.rows for cell in row) == 17 - 6
    with (tmp_path / "out.pdf").open("wb") as file:
        filled = write_pdf_document(document, file)
    assert len(filled) <= 3
    assert min(filled) >= LEAST_FILLED


def test_which_alarms_have_a_strip() -> None:
    """All of high and medium priority; of many of low priority the first and the longest of each condition."""
    low = [
        alarm(1000 * i, priority="low", condition="couplet" if i % 2 else "bigeminy", ended=1000 * i + lasted)
        for i, lasted in enumerate((500, 900, 700, 100, 800, 300, 200, 950))
    ]
    urgent = [alarm(100_000, priority="high"), alarm(110_000), alarm(120_000), alarm(130_000)]
    shown, others = choose_shown_alarms([*low, *urgent])
    assert shown == [low[0], low[1], low[4], low[7], *urgent]
    assert others == [low[2], low[3], low[5], low[6]]
    assert choose_shown_alarms([*low[:6], *urgent]) == ([*low[:6], *urgent], [])
    still_open = replace(low[2], ended=None)
    assert still_open in choose_shown_alarms([*low[:2], still_open, *low[3:]])[0]


def test_a_run_that_becomes_a_tachycardia_is_told_once(tmp_path: Path, settings: Config) -> None:
    """In the words of the tachycardia, if it was alarmed of the same beats; a run of its own keeps its strip."""
    first, later = (
        alarm(10_000, text="V beats in a row: 3 at 174/min"),
        alarm(20_000, text="V beats in a row: 3 at 99/min"),
    )
    text = "V beats in a row: 10 at 173/min"
    longer = alarm(
        10_000, condition="ventricular tachycardia", priority="high", text=text, ended=12_000, announced=10_300
    )
    after = alarm(11_900, text="V beats in a row: 3 at 142/min")
    assert find_same_beats([first, longer, after, later]) == [(first, longer)]
    assert choose_shown_alarms([first, longer, after, later]) == ([longer, after, later], [])
    earlier = replace(longer, onset=10_100)
    assert find_same_beats([first, earlier]) == []
    found = [item for one in (first, longer, after, later) for item in (one, strip(one))]
    record(tmp_path / "s", signal(0, 37_500), found=[*beats(0, 37_000), *found])
    (section,) = (one for one in document_of(tmp_path / "s", settings).sections if one.title == "Alarms")
    (large,) = (block for block in section.blocks if isinstance(block, ReportFigure))
    (small,) = (block for block in section.blocks if isinstance(block, FigureGrid))
    assert (
        "the same beats were announced as V run (medium) after 1.6 s: V beats in a row: 3 at 174/min" in large.details
    )
    assert [figure.title for figure in small.figures] == [f"V run: {one.text}" for one in (after, later)]


@pytest.mark.parametrize(("labels", "columns"), [("NNV", 3), (LABELS, 2), ("NNNNNVSFQ", 2)])
def test_typical_beats_of_all_classes_stand_side_by_side(
    tmp_path: Path, settings: Config, labels: str, columns: int
) -> None:
    """Also those of all five beside the measured one; then its intervals stand below them, in one row."""
    make(tmp_path / "s", 120, labels=labels)
    (section,) = (one for one in document_of(tmp_path / "s", settings).sections if one.title == "Typical beats")
    beside, *tables = section.blocks
    assert isinstance(beside, SideBySide)
    assert len(beside.columns) == columns
    for column, share in zip(beside.columns, beside.shares, strict=True):
        pictures = [block.picture for block in column if isinstance(block, ReportFigure)]
        assert all(picture.width <= column_width(WIDTH, share, columns) for picture in pictures)
    heads = [table.heads[:3] for table in tables if isinstance(table, ReportTable)]
    assert heads == ([("PR", "QRS", "QT")] if columns == 2 else [])


def test_strips_stand_by_priority(tmp_path: Path, settings: Config) -> None:
    """What is more urgent first, then by time."""
    make(tmp_path / "s", 300, 10)
    (section,) = (one for one in document_of(tmp_path / "s", settings).sections if one.title == "Alarms")
    (grid,) = (block for block in section.blocks if isinstance(block, FigureGrid))
    assert [figure.letter for figure in grid.figures] == ["MEDIUM"] * 4 + ["LOW"] * 4


def test_the_first_page_has_both_charts(tmp_path: Path, settings: Config) -> None:
    """Also under the longest sentences: of fibrillation, pauses, runs, fusion beats and alarms of many conditions."""
    af = alarm(2500, ended=150_000, condition="atrial fibrillation", text="RR irregular for 33 s")
    others = [
        alarm(160_000 + 100 * i, condition=one)
        for i, one in enumerate(get_args(AlarmCondition))
        if one != "ventricular fibrillation"
    ]
    labels = "NNNNNNNSSSNVVVNSNFFQ"
    with Recorder(tmp_path / "s", CONFIG, {"version": "9.9", "weights": "live"}) as recorder:
        started = RunStarted("1", "run", 0, "MLII", 125.0, ("V1",))
        heard = HeardLeadChanged("1", "run", 25_000, "V1", "MLII", "noise")
        recorder.push([signal(0, 75_000), gap(75_000, 76_000), signal(76_000, 225_000)], [], NOW)
        recorder.push([], [started, heard, *beats(0, 224_000, labels=labels), af, *others], NOW)
    document = document_of(tmp_path / "s", settings)
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext reads the pages")
    with (tmp_path / "out.pdf").open("wb") as file:
        write_pdf_document(document, file)
    text = subprocess.run(["pdftotext", "-l", "1", str(tmp_path / "out.pdf"), "-"], capture_output=True, text=True)
    assert "Supraventricular" in text.stdout
    assert "RR intervals" in text.stdout


def ink_of_pages(path: Path) -> list[float]:
    """The share of the height between the margins of each page down to the lowest ink above the footer."""
    subprocess.run(["pdftoppm", "-r", "36", "-gray", str(path), str(path.with_suffix(""))], check=True)
    shares = []
    for page in sorted(path.parent.glob(f"{path.stem}-*.pgm")):
        content = page.read_bytes()
        header = re.match(rb"P5\s+(\d+)\s+(\d+)\s+255\s", content)
        assert header is not None
        width, height = int(header[1]), int(header[2])
        grey = np.frombuffer(content, np.uint8, width * height, header.end()).reshape(height, width)
        top, bottom = round(28 / 2), height - round(36 / 2)
        rows = np.flatnonzero((grey[top:bottom] < 250).any(axis=1))
        shares.append((int(rows[-1]) + 1) / (bottom - top) if len(rows) else 0.0)
    return shares


def test_a_table_is_never_torn(tmp_path: Path, settings: Config) -> None:
    """The head of a long table stands on every page it reaches; the first alarms are large, the others small."""
    make(tmp_path / "s", 3600, 450)
    document = document_of(tmp_path / "s", settings)
    figures = [repr(type(block)) for section in document.sections for block in section.blocks]
    assert sum("ReportFigure" in figure for figure in figures) >= MOST_LARGE_STRIPS
    with (tmp_path / "out.pdf").open("wb") as file:
        write_pdf_document(document, file)
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext reads the pages")
    text = subprocess.run(["pdftotext", "-layout", str(tmp_path / "out.pdf"), "-"], capture_output=True, text=True)
    pages = [page for page in text.stdout.split("\f") if "V run: 5 beats" in page and "couplet" in page]
    rows = [page for page in pages if len(re.findall(r"^\s*low ", page, re.M)) > 3]
    assert rows
    assert all("until" in page and "what became of it" in page for page in rows)


def test_the_first_page_says_what_was_found(tmp_path: Path, settings: Config) -> None:
    """Sentences from the findings, S with how many of them the net finds, and what is not known."""
    make(tmp_path / "s", 300, 3)
    said = sentences(tmp_path / "s", settings)
    assert said["Recorded"].startswith("5 min 00 s of leads MLII and V1 (MLII heard, the other beside it) at 125 Hz")
    assert "100.0 % with signal" in said["Recorded"]
    assert said["Heart rate"].startswith("Mean 75/min, from 75 at ")
    assert said["Atrial fibrillation"] == "None was found."
    assert said["Pauses"] == "None over 2.5 s."
    assert "runs, the longest of 3 beats at 75/min" in said["Ventricular beats (V)"]
    assert "How many such beats this net finds is not known." in said["Supraventricular (S)"]
    assert "1 of high priority" in said["Alarms"]
    assert "flutter with regular conduction" in said["Not known"]


def test_fibrillation_is_a_share_of_the_signal(tmp_path: Path, settings: Config) -> None:
    """Overlapping alarms are one episode; one without an end lasts as long as its run."""
    af = {"condition": "atrial fibrillation", "text": "irregular"}
    one, two, three = (
        alarm(2500, ended=10_000, **af),
        alarm(9000, ended=12_500, **af),
        alarm(30_000, **af),
    )
    record(tmp_path / "s", signal(0, 37_500), found=[*beats(0, 37_000), one, two, three])
    recording = read(tmp_path / "s")
    episodes = find_rhythm_episodes(recording, "atrial fibrillation", 300.0)
    np.testing.assert_allclose(episodes.spans, [[20.0, 100.0], [240.0, 300.0]])
    assert episodes.share == pytest.approx(140 / 300)
    said = sentences(tmp_path / "s", settings)["Atrial fibrillation"]
    assert said.startswith("2 episodes, 2 min 20 s in all: 46.7 % of the time with signal; the longest 1 min 20 s from")


def test_time_is_accounted_for(tmp_path: Path, settings: Config) -> None:
    """The parts add up to the whole, and what was not recorded is what `ecg-agent sessions` says."""
    with Recorder(tmp_path / "s", CONFIG, {}) as recorder:
        recorder.push([signal(0, 10_000), gap(10_000, 11_000), signal(11_000, 25_000)], beats(0, 24_000), NOW)
        recorder.push([signal(30_000, 37_500)], [], NOW)
        recorder.push([signal(0, 75_000, fs=250.0, run="next", sent_s=NOW + 900)], [], NOW + 900)
    recording = read(tmp_path / "s")
    found = find_all(recording, settings)
    section = repr(recording_section(recording, settings, found.signal))
    (summary,) = summarise_sessions(tmp_path / "s")
    assert recording.missing_s == pytest.approx(summary.missing_s) == pytest.approx(48.0)
    rows = re.findall(r"\('([a-z][^']*)', '([^']*)', '([0-9.]+) %'\)", section)
    assert [name for name, _, _ in rows] == [
        "with signal",
        "not recorded: lost on the way, or no monitor was running",
        "between runs: the device sent nothing",
        "from the first to the last sample",
    ]
    assert sum(float(share) for _, _, share in rows[:-1]) == pytest.approx(100, abs=0.2)
    assert rows[1][1] == duration_in_words(48)


def test_the_lead_that_was_heard_is_shown(tmp_path: Path, settings: Config) -> None:
    """Where another lead was heard, its signal is drawn and measured; both are named with their shares."""
    changed = HeardLeadChanged("1", "run", 25_000, "V1", "MLII", "noise")
    found: list[Result] = [RunStarted("1", "run", 0, "MLII", 125.0, ("V1",)), *beats(0, 37_000), changed]
    counts = signal(0, 37_500)
    record(tmp_path / "s", counts, found=found)
    recording = read(tmp_path / "s")
    assert (recording.lead, recording.lead_at(100.0), recording.lead_at(250.0)) == ("MLII", "MLII", "V1")
    assert recording.wave(100.0, 1.0).max() == pytest.approx(1.0)
    v1 = (counts.counts[31_250:31_375, 1].max() - 12.25) / 200 / 1000  # microvolts
    assert recording.wave(250.0, 1.0).max() == pytest.approx(v1, abs=1e-4)
    assert "MLII heard 66.7 %, V1 heard 33.3 %" in sentences(tmp_path / "s", settings)["Recorded"]


def test_which_lead_was_heard_when() -> None:
    """By run and sample; a run that no event names has none."""
    events: list[Event] = [
        RunStarted("1", "a", 100, "II", 125.0, ("V5",)),
        HeardLeadChanged("1", "a", 300, "V5", "II", "noise"),
    ]
    heard = HeardLeads(events)
    assert heard.analysed == ("II", "V5")
    assert [heard.at("a", sample) for sample in (0, 100, 299, 300, 9000)] == ["II", "II", "II", "V5", "V5"]
    assert heard.at("b", 0) == ""
    assert heard.seconds_of("a", 100, 600, 125.0) == {"II": 1.6, "V5": 2.4}
    assert heard.seconds_of("b", 0, 125, 125.0) == {"": 1.0}


def test_times_over_midnight_have_their_day(tmp_path: Path) -> None:
    """A recording of one day has times of day, one over midnight days as well, one without a date their numbers."""
    midnight = NOW - NOW % 86_400 + 86_400
    for name, started_s, expected in (
        ("one", midnight + 60, "00:01:40"),
        ("two", midnight - 60, "01 Jan, 23:59:40"),
        ("none", 86_400.0 - 60, "day 1, 23:59:40"),
    ):
        with Recorder(tmp_path / name, CONFIG, {}) as recorder:
            recorder.push([signal(0, 37_500, sent_s=started_s + 300)], [], started_s + 300)
        assert read(tmp_path / name).clock_text(40.0) == expected


def pqrst(fs: float, seconds: int) -> Chunk:
    """A minute of beats a second apart with P wave, QRS complex and T wave, at any rate."""
    at = (np.arange(round(seconds * fs)) / fs + 0.5) % 1.0 - 0.5
    wave = np.exp(-((at / 0.012) ** 2)) + 0.15 * np.exp(-(((at + 0.16) / 0.022) ** 2))
    wave = wave + 0.3 * np.exp(-(((at - 0.28) / 0.05) ** 2))
    counts = np.rint(1000 * np.stack([wave, 5 * wave], axis=1)).astype(np.int32)
    return replace(chunk(0, len(at), fs=fs), counts=counts)


@pytest.mark.parametrize("fs", [125.0, 360.0])
def test_intervals_are_measured_at_the_rate_of_the_recording(tmp_path: Path, settings: Config, fs: float) -> None:
    """PR, QRS and QT of the typical beat stand in the summary, each with what its errors are below."""
    found = [
        Beat("1", at, at + 60, "N", (0.9, 0.1, 0, 0, 0), 1.0 if at > 200 else None, 0.0, 60.0, at + 20, run="run")
        for at in range(125, 7400, 125)
    ]
    record(tmp_path / "s", pqrst(fs, 60), found=[RunStarted("1", "run", 0, "MLII", fs), *found])
    measured = measure_recorded_beat(read(tmp_path / "s"))
    assert measured is not None
    assert (measured.name, measured.fs, measured.leads) == ("N", fs, ("MLII",))
    rows = dict(measured.rows())
    assert re.fullmatch(r"\d+ ± \d+ ms", rows["QT"])
    assert re.fullmatch(r"\d+ ± \d+ ms", rows["QTc (Fridericia)"])
    assert 60 < (measured.intervals.qrs.ms or 0) < 130
    assert f"QT {rows['QT']}" in sentences(tmp_path / "s", settings)["Intervals"]
