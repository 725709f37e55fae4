"""agent.report.command: several recordings, beds and folders at once, and two recordings compared."""

import re
from pathlib import Path

import numpy as np
import pytest
from support.indexed import record
from support.reported import alarm, beats, signal
from typer.testing import CliRunner

from agent.cli.app import app
from agent.core.config import Config
from agent.report.command import ReportOptions, report_recordings
from agent.report.comparison import ComparedFigure
from model.errors import ConfigError, RecordError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two recordings: one of beds 7 and 9, one of bed 7; and a file that is none."""
    root = tmp_path / "recordings"
    root.mkdir()
    record(
        root / "night", *(signal(0, 7500, bed=bed) for bed in "79"), found=[*beats(0, 7000, "7"), *beats(0, 7000, "9")]
    )
    more = alarm(3000, bed="7", ended=5000, condition="atrial fibrillation", text="irregular")
    record(root / "day", signal(0, 15_000, bed="7"), found=[*beats(0, 14_000, "7", "NNNVVVNS"), more])
    (root / "notes.txt").write_text("no recording")
    return root


def report(paths: list[Path], settings: Config, out: Path, **options: object) -> list[str]:
    """Report without PDF, and return the names of the files."""
    made = report_recordings(paths, settings, ReportOptions(out=out, pdf=False, **options))  # type: ignore[arg-type]
    return [path.name for path in made]


def test_a_folder_of_recordings(folder: Path, tmp_path: Path, settings: Config) -> None:
    """Each bed of each has a report, and an index leads to them; a file beside them is no recording of the folder."""
    made = report([folder], settings, tmp_path / "all.html")
    assert made == ["all.html", "all-day_bed_7.html", "all-night_bed_7.html", "all-night_bed_9.html"]
    index = (tmp_path / "all.html").read_text()
    assert re.findall(r'href="([^"]*)"', index) == made[1:]
    assert "day, bed 7" in index
    assert report([folder, folder / "day"], settings, tmp_path / "all.html") == made, "named twice, reported once"


def test_named_recordings_and_beds(folder: Path, tmp_path: Path, settings: Config) -> None:
    """Only the beds that are named, of the recordings that have them; two beds of one recording have an index, too."""
    assert report([folder], settings, tmp_path / "nine.html", beds=("9",)) == ["nine.html", "nine-night_bed_9.html"]
    both = report([folder / "night"], settings, tmp_path / "two.html", beds=("7", "9"))
    assert both == ["two.html", "two-7.html", "two-9.html"]
    with pytest.raises(RecordError, match="none of bed 3 of 2 recordings can be reported"):
        report([folder], settings, tmp_path / "three.html", beds=("3",))
    with pytest.raises(RecordError, match=r"no bed '3' in .*night: beds are 7, 9"):
        report([folder / "night"], settings, tmp_path / "three.html", beds=("7", "3"))
    assert not (tmp_path / "three.html").exists()


def test_what_is_no_recording_is_left_out(folder: Path, tmp_path: Path, settings: Config) -> None:
    """The others are reported; the index and the error name it."""
    with pytest.raises(RecordError, match=r"left out of .*: notes.txt \(.*is no recording.*; the others are reported"):
        report(sorted(folder.iterdir()), settings, tmp_path / "all.html")
    index = (tmp_path / "all.html").read_text()
    assert "notes.txt" in index
    assert len(re.findall("href=", index)) == 3


def test_two_recordings_are_compared(folder: Path, tmp_path: Path, settings: Config) -> None:
    """Their figures stand side by side, and what the second one has more."""
    names = report([folder / "night"], settings, tmp_path / "c.html", compare=folder / "day", beds=("7",))
    assert names == ["c.html"]
    rows = {
        cells[0]: cells[1:]
        for cells in (
            re.findall(r"<td[^>]*>([^<]*)</td>", row)
            for row in re.findall(r"<tr>.*?</tr>", (tmp_path / "c.html").read_text())
        )
        if cells
    }
    assert rows["length"] == ["1.0 min", "2.0 min", "+1.0 min"]
    assert rows["V burden"] == ["0.00 %", "37.14 %", "+37.14 %"]
    assert rows["atrial fibrillation, share of the signal"] == ["0.0 %", "13.3 %", "+13.3 %"]
    assert rows["mean heart rate"] == ["75 /min", "75 /min", "same"]
    text = (tmp_path / "c.html").read_text()
    assert "night, bed 7" in text
    assert "day, bed 7" in text
    same = report([folder / "night"], settings, tmp_path / "beds.html", compare=folder / "night", beds=("7", "9"))
    assert same == ["beds.html"]


def test_a_difference_within_the_uncertainty_says_so() -> None:
    """Both uncertainties together; what is unknown has no difference."""
    assert ComparedFigure("QT", 400.0, 410.0, 0, "ms", 25.0).cells()[3] == "+10 ms, within ± 25"
    assert ComparedFigure("QT", 400.0, 450.0, 0, "ms", 25.0).cells()[3] == "+50 ms"
    assert ComparedFigure("QT", float("nan"), 450.0, 0, "ms").cells()[1:] == ("\u2014", "450 ms", "\u2014")
    assert np.isnan(ComparedFigure("QT", float("nan"), 450.0).first)


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"compare": "day"}, RecordError, "several beds: name one with --bed; beds are 7, 9"),
        ({"compare": "day", "beds": ("9",)}, RecordError, r"no bed '9' in .*day: beds are 7"),
        ({"compare": "day", "beds": ("7", "7", "9")}, ConfigError, "one --bed for both"),
        ({"compare": "none", "beds": ("7",)}, RecordError, "is no recording"),
    ],
)
def test_what_cannot_be_compared(
    folder: Path, tmp_path: Path, settings: Config, options: dict[str, object], error: type[Exception], reason: str
) -> None:
    """One line that says what to do, and nothing is written."""
    chosen = {**options, "compare": folder / str(options["compare"])}
    with pytest.raises(error, match=reason):
        report([folder / "night"], settings, tmp_path / "c.html", **chosen)
    with pytest.raises(ConfigError, match="--compare takes two recordings"):
        report([folder / "night", folder / "day"], settings, tmp_path / "c.html", **chosen)
    assert not (tmp_path / "c.html").exists()


def test_the_command(folder: Path, tmp_path: Path) -> None:
    """Beds and recordings are repeated on the command line as the functions take them."""
    out = tmp_path / "cli.html"
    made = CliRunner().invoke(
        app, ["report", str(folder / "night"), "--bed", "7", "--bed", "9", "--no-pdf", "--out", str(out)]
    )
    assert made.exit_code == 0
    assert [line.split(" (")[0] for line in made.stdout.splitlines()][-1] == str(out)
    compared = ["report", str(folder / "day"), "--compare", str(folder / "night"), "--bed", "7", "--out", str(out)]
    assert CliRunner().invoke(app, compared).exit_code == 0
    assert out.with_suffix(".pdf").exists()
