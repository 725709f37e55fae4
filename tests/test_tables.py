"""Tables of measured figures: the pages show what docs/figures/ say."""

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from benchmarks import figures, tables

FILES = sorted(figures.FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", tables.marked_pages(), ids=lambda path: path.name)
def test_pages_show_the_figures(path: Path) -> None:
    """Each marked table is the one that `python -m benchmarks.tables` makes."""
    text = path.read_text(encoding="utf-8")
    assert text == tables.render_page(text)


def test_every_table_is_on_a_page() -> None:
    """No table is left out, and each page closes the tables that it opens."""
    texts = [path.read_text(encoding="utf-8") for path in tables.marked_pages()]
    assert {match[2] for text in texts for match in tables.TABLE.finditer(text)} == set(tables.TABLES)
    for text in texts:
        assert text.count("<!-- table: ") == text.count("<!-- end of table -->") == len(tables.TABLE.findall(text))


def test_every_file_is_shown() -> None:
    """Each file of figures has its rows in the summary."""
    assert {path.stem for path in FILES} == set(tables.SUMMARY)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_say_when_and_where(path: Path) -> None:
    """A file of figures names its command, date, version and machine; one that was copied says so."""
    about = figures.read_figures(path.stem)["about"]
    assert date.fromisoformat(about["date"]) >= date(2026, 11, 20)
    assert about["command"].startswith("python -m benchmarks.")
    assert about["version"]
    assert about["machine"]["cores"]
    assert about["machine"]["load"] is not None or about["note"].startswith("Copied")


def test_a_page_follows_the_figures(tmp_path: Path) -> None:
    """Other figures give another table, between the same markers, and nothing else of the page changes."""
    content = figures.read_figures("report")
    content["results"]["report_cpu_s"] = 99.9
    (tmp_path / "report.json").write_text(json.dumps(content))
    page = "before\n<!-- table: report -->\nold\n<!-- end of table -->\nafter\n"
    text = tables.render_page(page, tmp_path)
    assert text.startswith("before\n<!-- table: report -->\n| recording | CPU |")
    assert text.endswith("<!-- end of table -->\nafter\n")
    assert "99.9 s" in text
    assert "old" not in text
    assert tables.render_page(text, tmp_path) == text


def test_an_unknown_table_is_an_error() -> None:
    """A page cannot ask for a table that does not exist."""
    with pytest.raises(KeyError, match="nothing"):
        tables.render_page("<!-- table: nothing -->\n<!-- end of table -->\n")


def test_check_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--check` fails for a page that differs, and leaves it as it is."""
    page = tmp_path / "README.md"
    page.write_text("<!-- table: report -->\nold\n<!-- end of table -->\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "marked_pages", lambda: [page])
    for options, code, changed in (["--check"], 1, False), ([], 0, True), (["--check"], 0, True):
        monkeypatch.setattr(sys, "argv", ["tables", *options])
        with pytest.raises(SystemExit) as ended:
            tables.main()
        assert ended.value.code == code
        assert ("old" not in page.read_text()) == changed


def test_written_figures_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark's file holds its results and its command, without the name of the file itself."""
    monkeypatch.setattr(sys, "argv", ["ward", "--beds", "1", "--json", str(tmp_path / "new" / "made.json"), "--quick"])
    figures.write_figures(tmp_path / "new" / "made.json", {"cost_s": 1.5})
    content = figures.read_figures("made", tmp_path / "new")
    assert content["results"] == {"cost_s": 1.5}
    assert content["about"]["command"].endswith("--beds 1 --quick")
