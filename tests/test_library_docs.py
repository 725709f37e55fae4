import json
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LARGEST_NOTEBOOK_BYTES = 300_000


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def run(code: str, namespace: dict[str, Any], name: str) -> str:
    """What a piece of code prints."""
    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(code, name, "exec"), namespace)
    return printed.getvalue()


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_code_of_the_page() -> None:
    """Every block of docs/library.md runs, in order, and prints what the page shows."""
    namespace: dict[str, Any] = {}
    blocks = BLOCK.findall((DOCS / "library.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 8
    for code, shown in blocks:
        assert run(code, namespace, "library.md") == shown, code


def test_both_notebooks_are_there() -> None:
    """One notebook starts from an array, the other from live chunks."""
    assert [path.stem for path in NOTEBOOKS] == ["array_to_report", "live_chunks"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell of a notebook runs, in order, without Jupyter, and prints what the notebook shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "IPython", None)
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: None)  # there is no screen
    namespace: dict[str, Any] = {}
    for cell in code_cells(path):
        shown = "".join(text for output in cell["outputs"] for text in output.get("text", []))
        assert run("".join(cell["source"]), namespace, path.name) == shown
    plt.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_can_be_opened(path: Path) -> None:
    """A notebook is small, of format 4.5 with its own name for each cell, was run in order, and shows its pictures."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < LARGEST_NOTEBOOK_BYTES
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not [output for output in outputs if output["output_type"] == "error"]
