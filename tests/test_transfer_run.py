import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
import wfdb
from numpy.typing import NDArray
from scipy import optimize

from agent.training import transfer_run as command
from model.errors import CheckpointError, EcgError, RecordError, RunError
from model.nets.beat_net import BeatNet, build_beat_net
from model.nets.checkpoint import save_checkpoint
from model.nets.checkpoint_card import ModelCard
from model.nets.net_size import NetSize
from model.transfer import diagnostic_metrics, infarction_transfer
from model.transfer.diagnostic_metrics import CaseSample, estimate_metrics, measure_cases
from model.transfer.infarction_transfer import FoldSides, InfarctionRecordings, TransferRival

FOLD10 = Path(__file__).parents[2] / "shared" / "ptbxl_mi" / "ptbxl_fold10_lead_ii.npz"
CPU = torch.device("cpu")
RECORDINGS = 40


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch with one thread, as the command uses it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def net() -> BeatNet:
    torch.manual_seed(0)
    return build_beat_net(NetSize(), CPU).eval().requires_grad_(False)


def ecg(infarction: bool, seed: int, fs: float = 500.0, seconds: float = 10.0) -> NDArray[np.float64]:
    """A made-up lead II in mV: R and T waves; after an infarction the T wave is upside down."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(fs * seconds)) / fs
    x = 0.01 * rng.standard_normal(len(t))
    for peak in np.arange(0.3 + 0.3 * rng.random(), seconds, rng.uniform(0.7, 0.9)):
        x += np.exp(-(((t - peak) / 0.012) ** 2)) - 0.15 * np.exp(-(((t - peak - 0.035) / 0.012) ** 2))
        x += (-0.2 if infarction else 0.2) * np.exp(-(((t - peak - 0.28) / 0.05) ** 2))
    return x


def columns(count: int = RECORDINGS) -> dict[str, Any]:
    """What a `.npz` of PTB-XL holds, of made-up recordings."""
    infarction = np.arange(count) % 2
    signals = np.stack([ecg(bool(mi), i) for i, mi in enumerate(infarction)])
    return {
        "lead_ii_uv": np.rint(1000 * signals).astype(np.int16),
        "ecg_id": np.arange(count) * 3 + 5,
        "mi": infarction.astype(np.int8),
        "patient_id": np.full(count, -1),
        "fs_hz": np.int64(500),
    }


@pytest.fixture(scope="module")
def made_up() -> dict[str, Any]:
    return columns()


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "data.npz"
    np.savez(path, **values)
    return path


def patients(*numbers: int) -> InfarctionRecordings:
    """Recordings of these patients, a beat each, normal and infarction in turn."""
    size = len(numbers)
    beats = np.zeros((size, 187), np.float32)
    return InfarctionRecordings(beats, np.arange(size), np.arange(size) % 2, np.array(numbers))


def write_record(folder: Path, name: str, comments: list[str], infarction: bool, lead: str = "ii") -> None:
    """A WFDB record of the PTB database's form at 1000 Hz: two leads and comments."""
    folder.mkdir(parents=True, exist_ok=True)
    x = ecg(infarction, len(name) + infarction, fs=1000.0)
    wfdb.wrsamp(
        name, fs=1000, units=["mV", "mV"], sig_name=["i", lead], p_signal=np.stack([0.5 * x, x], axis=1),
        fmt=["16", "16"], comments=comments, write_dir=str(folder),
    )  # fmt: skip


MI = "Reason for admission: Myocardial infarction"
HEALTHY = "Reason for admission: Healthy control"


def test_blocks_follow_each_other_and_part_no_patient() -> None:
    """Without patients five even blocks in order; a boundary inside a known patient moves to the nearest place."""
    unknown = [-1] * 40
    assert infarction_transfer.assign_blocks(patients(*unknown)).tolist() == np.repeat(np.arange(5), 8).tolist()
    crossing = unknown.copy()
    crossing[7] = crossing[10] = 3  # over the first boundary, 8: it may lie at 7 or at 11
    block = infarction_transfer.assign_blocks(patients(*crossing))
    assert np.bincount(block).tolist() == [7, 9, 8, 8, 8]
    assert block[7] == block[10]


def test_known_patients_are_dealt_out_by_class() -> None:
    """Where all patients are known each block gets patients of both classes, and each patient one block."""
    numbers = np.repeat(np.arange(15), 2)
    data = replace(patients(*numbers), infarction=(numbers < 6).astype(np.int64))
    block = infarction_transfer.assign_blocks(data)
    assert all(len(set(block[numbers == number])) == 1 for number in range(15))
    assert [len(set(numbers[(block == b) & (numbers < 6)])) for b in range(5)] == [2, 1, 1, 1, 1]


def test_too_few_recordings_are_refused() -> None:
    """Blocks without both classes, and one patient who is in all of them, are an error that says so."""
    for data in (patients(-1, -1, -1, -1), patients(*[7] * 40), patients(*[7] * 39, -1)):
        with pytest.raises(RecordError, match="too few recordings"):
            infarction_transfer.assign_blocks(data)


def test_every_recording_is_held_out_once_and_never_trains_its_own_fold() -> None:
    """The sides of a fold share nothing and make up all; the held-out sides of all folds too."""
    block = np.repeat(np.arange(5), 3)
    folds = list(infarction_transfer.iterate_folds(block))
    for sides in folds:
        together = np.concatenate([sides.train, sides.validation, sides.held_out])
        assert sorted(together) == list(range(15))
    assert sorted(np.concatenate([sides.held_out for sides in folds])) == list(range(15))
    assert [block[sides.validation[0]] for sides in folds] == [1, 2, 3, 4, 0]


def test_the_representation_is_what_the_net_embeds(net: BeatNet) -> None:
    """The last block's features equal `embed`, whatever the batches, and no hook stays behind."""
    beats = np.random.default_rng(0).random((300, 187)).astype(np.float32)
    features = infarction_transfer.embed_last_blocks(net, beats)
    assert torch.allclose(features[-1], net.embed(torch.from_numpy(beats)), atol=1e-6)
    assert [len(block) for block in features] == [300] * infarction_transfer.DEPTH
    assert not any(block._forward_hooks for block in net.blocks)


def test_choices_are_made_on_validation_and_predictions_on_held_out_beats() -> None:
    """The choice with the least validation loss is taken, for all seeds, and each beat is told by its own fold."""
    data = patients(*[-1] * 40)
    seen: list[tuple[float, int]] = []

    def train(choice: dict[str, float], sides: FoldSides, seed: int) -> tuple[float, NDArray[np.float64]]:
        seen.append((choice["a"], seed))
        return abs(choice["a"] - 2), (100 * seed + data.rows(sides.held_out)).astype(np.float64)

    rival = TransferRival("made up", (0, 1), ({"a": 1}, {"a": 2}), train)
    steps: list[str] = []
    (outcome,) = infarction_transfer.compare_rivals(data, (rival,), steps.append)
    assert outcome.chosen == ({"a": 2},) * 5
    assert np.array_equal(outcome.logits, [np.arange(40), 100 + np.arange(40)])
    assert seen[:3] == [(1, 0), (2, 0), (2, 1)]
    assert len(steps) == 5 * rival.trainings == 15


def held_out_labels_flipped(data: InfarctionRecordings, sides: FoldSides) -> InfarctionRecordings:
    infarction = data.infarction.copy()
    infarction[sides.held_out] = 1 - infarction[sides.held_out]
    return replace(data, infarction=infarction)


@pytest.mark.slow
def test_rivals_learn_and_see_no_held_out_label(net: BeatNet, made_up: dict[str, Any], tmp_path: Path) -> None:
    """Each rival tells upright from inverted T waves, the same each time, whatever the held-out labels are."""
    data, without = command.cut_recording_beats(command.read_recordings(written(tmp_path, made_up)))
    assert without == 0
    sides = next(infarction_transfer.iterate_folds(infarction_transfer.assign_blocks(data)))
    other = held_out_labels_flipped(data, sides)
    labels = data.infarction[data.recording][data.rows(sides.held_out)]
    for rival, again in zip(
        infarction_transfer.build_rivals(data, net), infarction_transfer.build_rivals(other, net), strict=True
    ):
        loss, logits = rival.train(rival.choices[-1], sides, 0)
        assert (loss, logits.tolist()) == (rival.train(rival.choices[-1], sides, 0)[0], logits.tolist())
        assert np.array_equal(logits, again.train(rival.choices[-1], sides, 0)[1])
        assert measure_cases(labels, logits, np.ones(len(labels)))[-1] > 0.9, rival.name


def test_logistic_regression_is_at_its_minimum() -> None:
    """Newton's method finds what a general minimiser finds."""
    rng = np.random.default_rng(0)
    size, features = 60, 187
    beats = rng.random((size, features)).astype(np.float32)
    infarction = (beats[:, 3] + 0.2 * rng.random(size) > 0.6).astype(np.int64)
    data = InfarctionRecordings(beats, np.arange(size), infarction, np.full(size, -1))
    sides = FoldSides(np.arange(size), np.arange(0), np.arange(size))
    mean, scale = (
        value.double().numpy() for value in infarction_transfer.measure_standard_scale(torch.from_numpy(beats))
    )
    x, sign = (beats - mean) / scale, 2 * infarction - 1
    weights = 0.5 / np.bincount(infarction)[infarction]

    def loss(beta: NDArray[np.float64]) -> float:
        return float(weights @ np.logaddexp(0, -sign * (x @ beta[:-1] + beta[-1])) + 0.1 * beta[:-1] @ beta[:-1])

    beta = optimize.minimize(loss, np.zeros(features + 1), method="L-BFGS-B", options={"maxfun": 10**6}).x
    assert infarction_transfer.fit_logistic_regression(data, sides, 0.1) == pytest.approx(
        x @ beta[:-1] + beta[-1], abs=2e-3
    )


def test_figures_by_hand() -> None:
    """Accuracy, precision, recall, specificity and area of a case counted by hand; a tie counts half."""
    labels, logits = np.array([1, 1, 1, 0, 0]), np.array([2.0, 1.0, -1.0, 1.0, -2.0])
    expected = [3 / 5, 2 / 3, 2 / 3, 1 / 2, (2 + 1.5 + 1) / 6]
    assert measure_cases(labels, logits, np.ones(5)) == pytest.approx(expected)
    twice = measure_cases(np.r_[labels, 1], np.r_[logits, -1.0], np.ones(6))
    assert measure_cases(labels, logits, np.array([1.0, 1, 2, 1, 1])) == pytest.approx(twice)


def test_intervals_hold_the_figure_and_shrink_with_patients() -> None:
    """The interval lies around the figure; where the cases are those of few patients it is wider."""
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 2
    good, poor = labels + 0.8 * rng.standard_normal(200), labels + 3.0 * rng.standard_normal(200)
    logits = [np.stack([good, good + 0.1]), poor[None]]
    (first, second), between = estimate_metrics(CaseSample(labels, np.arange(200), logits), seed=0)
    for figure in (first["auroc"], second["auroc"], between[0][1]):
        assert figure.low < figure.value < figure.high
    assert first["auroc"].seeds_sd == pytest.approx(0, abs=1e-12)
    assert first["recall"].seeds_sd > 0
    assert between[0][1].value == pytest.approx(first["auroc"].value - second["auroc"].value)
    alike = np.repeat(np.arange(20), 10)  # ten cases of a patient that say the same
    few, many = (
        estimate_metrics(CaseSample(alike % 2, groups, [poor[None, alike]]), seed=0)[0][0]["auroc"]
        for groups in (alike, np.arange(200))
    )
    assert few.high - few.low > 1.5 * (many.high - many.low)
    again, _ = estimate_metrics(CaseSample(labels, np.arange(200), logits), seed=0)
    assert again[0] == first


def test_recordings_are_read_in_order_with_all_their_beats(made_up: dict[str, Any], tmp_path: Path) -> None:
    """Rows come in order of ecg_id at 125 Hz, and all beats but the last of each are found."""
    shuffled = {key: value[::-1] if np.ndim(value) else value for key, value in made_up.items()}
    source = command.read_recordings(written(tmp_path, shuffled))
    assert source.infarction == made_up["mi"].tolist()
    assert {len(lead) for lead in source.leads} == {1250}
    data, _ = command.cut_recording_beats(source)
    expected = [len(np.arange(0.3 + 0.3 * rng.random(), 10, rng.uniform(0.7, 0.9))) - 1 for rng in generators()]
    assert np.abs(np.bincount(data.recording) - expected).max() <= 1
    assert data.beats.shape[1] == 187
    assert data.beats.min() >= 0
    assert data.beats.max() == 1


def generators() -> Iterator[np.random.Generator]:
    """The generators of the made-up recordings, past their noise."""
    for seed in range(RECORDINGS):
        rng = np.random.default_rng(seed)
        rng.standard_normal(5000)
        yield rng


def test_recordings_without_beats_are_counted(made_up: dict[str, Any], tmp_path: Path) -> None:
    """A flat recording has no beats: it is left out and counted."""
    signals = made_up["lead_ii_uv"].copy()
    signals[4] = 7
    data, without = command.cut_recording_beats(
        command.read_recordings(written(tmp_path, made_up | {"lead_ii_uv": signals}))
    )
    assert (without, len(data.infarction)) == (1, RECORDINGS - 1)
    with pytest.raises(RecordError, match="no beats"):
        command.cut_recording_beats(command.read_recordings(written(tmp_path, made_up | {"lead_ii_uv": 0 * signals})))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fs_hz": 0}, "sampling rate of 0 Hz"),
        ({"fs_hz": -500}, "sampling rate"),
        ({"fs_hz": 1e9}, "sampling rate"),
        ({"fs_hz": float("nan")}, "sampling rate"),
        ({"fs_hz": 12.5}, "sampling rate"),
        ({"fs_hz": np.array([500, 500])}, "one number"),
        ({"fs_hz": "500"}, "other than numbers"),
        ({"mi": np.ones(RECORDINGS, int)}, "one class only"),
        ({"mi": np.arange(RECORDINGS)}, "mi 0 or 1"),
        ({"mi": np.zeros(3, int)}, "a value each"),
        ({"lead_ii_uv": np.full((RECORDINGS, 5000), np.nan)}, "without a value"),
        ({"lead_ii_uv": np.zeros(RECORDINGS)}, "a value each"),
    ],
)
def test_wrong_columns_are_told(change: dict[str, Any], said: str, made_up: dict[str, Any], tmp_path: Path) -> None:
    """Values that make no sense are an error of one line that names the file."""
    with pytest.raises(RecordError, match=said) as told:
        command.read_recordings(written(tmp_path, made_up | change))
    assert "\n" not in str(told.value)


def test_wrong_files_are_told(made_up: dict[str, Any], tmp_path: Path) -> None:
    """No file, a file that is no `.npz`, one without a key, and a folder without records each have their reason."""
    with pytest.raises(RecordError, match=r"no .*nothing"):
        command.read_recordings(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(RecordError, match="cannot read"):
        command.read_recordings(tmp_path / "text.npz")
    with pytest.raises(RecordError, match="has no mi"):
        command.read_recordings(written(tmp_path, {key: value for key, value in made_up.items() if key != "mi"}))
    with pytest.raises(RecordError, match="patient001"):
        command.read_recordings(tmp_path)


def test_ptb_folders(tmp_path: Path) -> None:
    """Lead ii of infarctions and healthy controls is read by patient; other reasons are left out and counted."""
    write_record(tmp_path / "patient001", "s0010_re", ["age: 81", MI, "Diagnose:"], True)
    write_record(tmp_path / "patient001", "s0014lre", [MI], True)
    write_record(tmp_path / "patient104", "s0306lre", [HEALTHY], False)
    write_record(tmp_path / "patient105", "s0303lre", ["Reason for admission: Cardiomyopathy"], False)
    write_record(tmp_path / "patient106", "s0030_re", ["age: 70"], False)
    source = command.read_recordings(tmp_path)
    assert (source.infarction, source.patient) == ([1, 1, 0], [0, 0, 1])
    assert source.left_out == {"reason for admission: cardiomyopathy": 1, "reason for admission: not given": 1}
    assert source.leads[2] == pytest.approx(command.resample_lead(ecg(False, 8, 1000.0), 1000.0, "x"), abs=2e-3)
    assert [len(command.find_lead_r_peaks(lead)) >= 10 for lead in source.leads] == [True] * 3


def test_a_ptb_record_without_lead_ii_is_told(tmp_path: Path) -> None:
    """The error names the leads there are."""
    write_record(tmp_path / "patient001", "s0010_re", [MI], True, lead="v1")
    with pytest.raises(RecordError, match="no lead ii: it has i, v1"):
        command.read_recordings(tmp_path)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings and draws that take no time."""
    for name in ("HEAD_RECIPE", "SCRATCH_RECIPE"):
        monkeypatch.setattr(infarction_transfer, name, replace(getattr(infarction_transfer, name), epochs=1))
    monkeypatch.setattr(infarction_transfer, "SEEDS", (0, 1))
    monkeypatch.setattr(diagnostic_metrics, "BOOTSTRAP_DRAWS", 20)


@pytest.mark.slow
def test_the_command_leaves_report_curves_and_head(
    net: BeatNet,
    made_up: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A JSON object on standard output is what the run folder holds; the head is there with its card."""
    quick(monkeypatch)
    data, run = written(tmp_path, made_up), tmp_path / "run"
    save_checkpoint(tmp_path / "own.safetensors", net, ModelCard("own", net.size, {}, {}))
    command.show_transfer(data, str(tmp_path / "own.safetensors"), run, True, "ecg-agent transfer data.npz")
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((run / "transfer.json").read_text())
    assert {path.name for path in run.iterdir()} == {
        "transfer.json", "transfer.svg", "transfer.png", "head.safetensors",
    }  # fmt: skip
    assert [rival["name"] for rival in report["rivals"]] == ["transferred", "last block", "from scratch", "logistic"]
    assert report["data"]["recordings"] == RECORDINGS
    assert np.sum(report["blocks"], axis=0).tolist() == [20, 20]
    for rival in report["rivals"]:
        for figure in (*rival["per_beat"].values(), *rival["per_recording"].values()):
            assert 0 <= figure["low"] <= figure["high"] <= 1
    with safetensors.safe_open(run / "head.safetensors", framework="pt") as file:
        card = json.loads(file.metadata()["ecg-agent"])
        assert file.get_tensor("output.weight").shape == (2, 32)
    assert card["on"]["name"] == "own"
    assert card["classes"] == ["normal", "infarction"]


@pytest.mark.slow
def test_the_command_shows_a_table(
    made_up: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --json the figures come as a table, and the differences in words."""
    quick(monkeypatch)
    monkeypatch.setattr(infarction_transfer, "DEEPER_CHOICES", infarction_transfer.DEEPER_CHOICES[-1:])
    command.show_transfer(written(tmp_path, made_up), "reproduction", tmp_path / "run", False, "ecg-agent transfer")
    said = capsys.readouterr().out
    assert "per recording" in said
    assert "transferred less logistic" in said


@pytest.mark.parametrize(("weights", "kind"), [("no such", CheckpointError), ("reproduction", RunError)])
def test_nothing_is_trained_for_nothing(
    weights: str, kind: type[EcgError], made_up: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing weights, and a run folder that cannot be made, are told before anything is trained."""
    monkeypatch.setattr(infarction_transfer, "compare_rivals", lambda *_: pytest.fail("trained"))
    (tmp_path / "file").write_text("")
    with pytest.raises(kind):
        command.show_transfer(written(tmp_path, made_up), weights, tmp_path / "file" / "run", False, "")


@pytest.mark.slow
@pytest.mark.skipif(not FOLD10.is_file(), reason="the recordings of PTB-XL are not beside the project")
def test_recordings_of_ptbxl_have_their_beats() -> None:
    """Every recording of ten seconds has at least five beats and the median twelve at least ten."""
    source = command.read_recordings(FOLD10)
    data, without = command.cut_recording_beats(source)
    beats = np.bincount(data.recording)
    assert (without, len(beats), int(data.infarction.sum())) == (0, 1137, 395)
    assert beats.min() >= 5
    assert np.median(beats) >= 10
    block = infarction_transfer.assign_blocks(data)
    for patient in np.unique(data.patient[data.patient >= 0]):
        assert len(set(block[data.patient == patient])) == 1
