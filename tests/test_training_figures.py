import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.errors import RunError
from model.records.wfdb_records import CLASSES
from model.training import class_scores, training_figures

RANDOM = np.array([[90, 4, 3, 2, 1], [4, 30, 2, 0, 0], [2, 1, 50, 3, 0], [1, 0, 2, 9, 0], [1, 0, 0, 0, 40]])
APART = np.array([[95, 3, 1, 1, 0], [20, 15, 2, 0, 0], [3, 1, 50, 3, 1], [4, 0, 2, 6, 0], [0, 0, 0, 0, 0]])
NAMES = ["train_distribution", "test_distribution", "architecture", "loss", "accuracy", "confusion", "calibration"]
NAMES.append("classes")


def made_up_report(protocol: str = "random", epochs: int = 12, **training: Any) -> dict[str, Any]:
    """A report as a finished run leaves it; `training` changes entries of that part."""
    matrix: NDArray[np.int64] = RANDOM if protocol == "random" else APART
    labels, said = np.divmod(np.repeat(np.arange(25), matrix.ravel()), 5)
    probabilities = np.full((len(labels), 5), 0.05)
    probabilities[np.arange(len(labels)), said] = 0.4 + 0.6 * np.linspace(0, 1, len(labels))
    records = np.char.add("1", (np.arange(len(labels)) % 20).astype(str))
    keys = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "test_macro_f1", "test_balanced_accuracy")
    values = (0.3, 0.95, 0.4, 0.93, 0.82, 0.85)
    recipe = {"epochs": epochs, "batch": 128, "learning_rate": 0.001, "schedule": "constant", "weight_decay": 0.0}
    recipe |= {"drop_normal": 65000, "norm": False, "augment": 0.0, "average": 0.0}
    return {
        "name": "made",
        "parameters": 55013,
        "size": {"samples": 187, "channels": [32] * 5, "kernel": 5, "dense": 32, "classes": 5},
        "training": {
            "command": "ecg-agent train --run runs/made",
            "recipe": "reproduction",
            "protocol": protocol,
            **recipe,
            "seed": 3,
            "split_seed": 4,
            "fold": None,
            "device": "cpu",
            "torch": "2.13.0",
            "threads": 2,
            "train_sha256": "a" * 64,
            "test_sha256": "b" * 64,
            "train_beats": {"N": 7471, "S": 2223, "V": 5788, "F": 641, "Q": 6431},
            "test_beats": dict(zip(CLASSES, matrix.sum(axis=1).tolist(), strict=True)),
            **training,
        },
        "test": class_scores.compute_class_metrics(matrix)
        | {
            "last_epochs": {key: {"mean": 0.9, "sd": 0.0123} for key in keys[3:]},
            "calibration": class_scores.compute_calibration(labels, probabilities),
            "intervals": class_scores.bootstrap_class_intervals(
                labels, said, records, by_record=protocol == "inter-patient"
            ),
        },
        "epochs": [{"epoch": n, **dict(zip(keys, values, strict=True))} for n in range(1, epochs + 1)],
    }


def texts(figure: Figure) -> list[str]:
    """All that is written on a picture."""
    parts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    ticks = [label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return [part.get_text() for part in (*parts, *ticks)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A new folder, and the pictures that were drawn there."""
    folder = tmp_path_factory.mktemp("drawn") / "new" / "figures"
    return folder, training_figures.draw_training_figures(made_up_report(), folder)


@pytest.mark.slow
def test_files(drawn: tuple[Path, list[Path]]) -> None:
    """Every picture is there as SVG and as PNG at 150 dpi, and nothing else is left."""
    folder, paths = drawn
    assert [path.name for path in paths] == [f"{name}.{kind}" for name in NAMES for kind in ("svg", "png")]
    assert sorted(folder.iterdir()) == sorted(paths)
    for path in paths:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        else:
            header = path.read_bytes()[:24]
            assert header[:8] == b"\x89PNG\r\n\x1a\n"
            assert int.from_bytes(header[16:20], "big") == round(training_figures.WIDTH * 150)


@pytest.mark.slow
def test_the_same_report_gives_the_same_bytes(drawn: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """Neither the time, nor the folder, what was there, or the user's own settings of matplotlib change a picture."""
    first = drawn[1]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / first[0].name).write_text("old")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20, "svg.hashsalt": "x"}):
        mine = str(matplotlib.rcParams)
        second = training_figures.draw_training_figures(made_up_report(), tmp_path / "b")
        assert str(matplotlib.rcParams) == mine
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.slow
def test_no_window_system_is_touched(tmp_path: Path) -> None:
    """Drawing needs no pyplot, which would choose a window system."""
    code = (
        "import sys, test_training_figures as t; from model.training.training_figures import draw_training_figures; "
        "draw_training_figures(t.made_up_report(), t.Path(sys.argv[1])); print(*sys.modules)"
    )
    call = [sys.executable, "-c", f"import sys; sys.path[:0] = ['.', 'tests']; {code}", str(tmp_path / "figures")]
    done = subprocess.run(call, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True)
    assert "matplotlib.figure" in done.stdout.split()
    assert "matplotlib.pyplot" not in done.stdout.split()


@pytest.mark.parametrize("protocol", ["random", "inter-patient"])
@pytest.mark.parametrize("picture", NAMES)
def test_every_picture_says_its_run_and_protocol(picture: str, protocol: str) -> None:
    """Name of the run and protocol stand on each picture, one epoch or a class without beats notwithstanding."""
    said = "\n".join(texts(training_figures.PICTURES[picture](made_up_report(protocol, epochs=1))))
    assert "made" in said
    assert {"random": "random split", "inter-patient": "patients apart"}[protocol] in said
    assert "fold" not in said.splitlines()[1]


@pytest.mark.parametrize("name", ["a" * 60, "cost $1$ a_b^c"])
def test_any_name_fits(name: str) -> None:
    """A long name stays inside the picture, and one with signs of mathematics is written as it is."""
    figure = training_figures.draw_train_distribution(made_up_report(fold=2) | {"name": name})
    headline = figure.texts[1]
    assert headline.get_text().startswith(name)
    assert not headline.get_parse_math()
    assert headline.get_window_extent().x1 < figure.bbox.x1


def test_a_fold_is_told() -> None:
    """Figures of a fold of the training side cannot be taken for those of the test side."""
    assert "random split, fold 2" in texts(training_figures.draw_test_confusion(made_up_report(fold=2)))[1]


def test_distributions() -> None:
    """Bars have the counts, their shares, and what was left out."""
    training, test = (
        texts(draw(made_up_report()))
        for draw in (training_figures.draw_train_distribution, training_figures.draw_test_distribution)
    )
    assert {"7,471", "33.1 %", "641"} <= set(training)
    assert "89.7 % of N left out" in training[1]
    assert {"100", "36", "56", "12", "41"} <= set(test)
    assert "left out" not in texts(training_figures.draw_train_distribution(made_up_report(drop_normal=0)))[1]


def test_architecture_of_the_paper() -> None:
    """The net of the paper: 187, 92, 44, 20, 8, 2 samples in time, 32 wide."""
    said = texts(training_figures.draw_architecture(made_up_report()))
    shapes = [f"{samples} {training_figures.TIMES_SIGN} 32" for samples in (187, 92, 44, 20, 8, 2)]
    assert [text for text in said if text in shapes] == shapes
    assert "64" in said
    assert sum(text == "32" for text in said) == 2
    assert "55,013 parameters" in said[1]


@pytest.mark.parametrize(
    ("channels", "shapes", "flat"),
    [
        ([8, 16, 24], ["187 x 8", "92 x 8", "44 x 16", "20 x 24"], "480"),
        ([48], ["187 x 48", "92 x 48"], "4416"),
    ],
)
def test_architecture_of_any_size(channels: list[int], shapes: list[str], flat: str) -> None:
    """Each block has its own width; what differs from the paper in a block is told."""
    report = made_up_report(norm=True)
    report["size"] |= {"channels": channels, "kernel": 7, "dense": 40}
    said = [
        text.replace(training_figures.TIMES_SIGN, "x") for text in texts(training_figures.draw_architecture(report))
    ]
    assert [text for text in said if text in shapes] == shapes
    assert {flat, f"residual block {len(channels)}", "convolution 7"} <= set(said)
    assert f"residual block {len(channels) + 1}" not in said
    assert sum(text == "40" for text in said) == 2
    assert ("side path: convolution 1" in said) == (len(set(channels)) > 1)
    assert "batch normalisation after" in said


def test_curves() -> None:
    """Curves are those of the epochs, and everything is in view."""
    report = made_up_report()
    (axes,) = training_figures.draw_loss_curves(report).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == [[0.3] * 12, [0.4] * 12]
    assert axes.get_ylim()[0] == 0
    (axes,) = training_figures.draw_accuracy_curves(report).axes
    shown = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert shown == [[0.95] * 12, [0.93] * 12, [0.85] * 12]
    assert axes.get_ylim()[0] < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_loss_that_cannot_be_drawn(value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that went wrong is drawn as far as it goes: the curves, which nothing else of it changes."""
    curves = {name: training_figures.PICTURES[name] for name in ("loss", "accuracy")}
    monkeypatch.setattr(training_figures, "PICTURES", curves)
    report = made_up_report(epochs=2)
    for epoch in report["epochs"]:
        epoch |= {"train_loss": value, "test_loss": value, "train_accuracy": 1, "test_accuracy": 1}
    assert len(training_figures.draw_training_figures(report, tmp_path)) == 4


def test_confusion() -> None:
    """Cells have counts and shares of the true class; a class without beats has no shares."""
    said = texts(training_figures.draw_test_confusion(made_up_report("inter-patient")))
    assert {"95", "95.0 %", "40.5 %", "54.1 %"} <= set(said)
    assert sum(text.endswith(" %") for text in said) == 20


def test_calibration() -> None:
    """A point for each bin that has beats, hollow where they are few; the error in words."""
    report = made_up_report()
    figure = training_figures.draw_test_calibration(report)
    points = [np.isfinite(np.asarray(line.get_ydata())).sum() for line in figure.axes[0].lines[1:]]
    beats = [one["beats"] for one in report["test"]["calibration"]["bins"]]
    assert points == [sum(n >= 30 for n in beats), sum(0 < n < 30 for n in beats)]
    assert f"{100 * report['test']['calibration']['ece']:.1f} %" in texts(figure)[1]


def test_classes() -> None:
    """A point a rate and class that has test beats."""
    figure = training_figures.draw_class_metrics(made_up_report("inter-patient"))
    (axes,) = figure.axes
    assert [len(np.asarray(line.get_xdata())) for line in axes.lines] == [4, 4, 4]
    assert [len(np.asarray(collection.get_paths())) for collection in axes.collections] == [4, 4, 4]
    assert "Q\n0" in texts(figure)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the way is one clear error."""
    (tmp_path / "figures").write_text("")
    with pytest.raises(RunError, match=r"^cannot write figures to .*choose another folder$"):
        training_figures.draw_training_figures(made_up_report(), tmp_path / "figures")
