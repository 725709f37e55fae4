from dataclasses import replace
from pathlib import Path

import pytest
from support.swept import SETTINGS, plan_of

from agent.core import config as configuration
from agent.training.sweep_plan import OBJECTIVES, read_objective, read_sweep_plan
from agent.training.sweep_results import best_command, build_sweep_table, format_percent
from agent.training.sweep_space import SettingRange, count_combinations
from agent.training.sweep_study import SweepTrial
from model.errors import ConfigError, RunError

HEAD = '[sweep]\nname = "a"\ntrials = 3\nobjective = "macro F1"\nfolds = [0]\n'
EXAMPLES = Path(__file__).parents[1] / "docs" / "sweeps"


def test_a_sweep_file(tmp_path: Path) -> None:
    """Head and ranges are those of the file; whole numbers are whole, lists are choices."""
    plan = plan_of(tmp_path)
    assert (plan.head.name, plan.head.trials, plan.head.objective) == ("rates", 6, "S F1")
    assert (plan.head.folds, plan.head.seed, plan.head.pruner) == ((0, 3), 5, "none")
    assert plan.space == {
        "learning_rate": SettingRange(1e-4, 1e-2, 0, True, False, ()),
        "dense": SettingRange(8, 64, 8, False, True, ()),
        "channels": SettingRange(0, 0, 0, False, False, ([8, 8], [16, 16, 16])),
    }
    assert plan.recipe == SETTINGS.recipe["reproduction"]


def test_the_settings_of_a_trial(tmp_path: Path) -> None:
    """A trial's settings are a recipe with the sweep's name; their file alone gives the same training."""
    plan = plan_of(tmp_path)
    found = plan.settings_for({"learning_rate": 0.002, "dense": 16, "channels": [8, 8]})
    assert found.recipe["rates"] == replace(plan.recipe, learning_rate=0.002, dense=16, channels=(8, 8))
    path = tmp_path / "settings.toml"
    path.write_text(configuration.format_config_toml(found, plan.sections()))
    assert "[monitor]" not in path.read_text()
    assert configuration.load_config(path, {}) == found


def test_the_settings_of_a_live_trial(tmp_path: Path) -> None:
    """With train-live the settings are those of [live]."""
    plan = plan_of(tmp_path, HEAD + "[space]\nnoise = { low = 0.0, high = 0.1 }\n", "train-live")
    found = plan.settings_for({"noise": 0.05})
    assert found == replace(SETTINGS, live=replace(SETTINGS.live, noise=0.05))
    path = tmp_path / "settings.toml"
    path.write_text(configuration.format_config_toml(found, plan.sections()))
    assert configuration.load_config(path, {}) == found


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml")))
def test_examples(name: str) -> None:
    """The sweep files of the documentation are valid."""
    plan = read_sweep_plan(EXAMPLES / name, "train-live" if "live" in name else "train", SETTINGS)
    assert plan.head.trials > 1
    assert plan.head.name == Path(name).stem


def test_the_page_shows_what_is_there() -> None:
    """The file, the table and the command in docs/training.md are those of the program."""
    page = (EXAMPLES.parent / "training.md").read_text()
    assert (EXAMPLES / "rates.toml").read_text() in page
    plan = read_sweep_plan(EXAMPLES / "rates.toml", "train", SETTINGS)
    best = SweepTrial(5, {}, "done", {0: 0.303442, 1: 0.377124}, "")
    assert best_command(plan, best, Path("runs/rates")) in page
    heads = " ".join(str(column.header) for column in build_sweep_table(plan, []).columns).strip()
    assert heads in " ".join(page.split())
    shown = [format_percent(share) for share in (best.objective(), best.spread(), *best.folds.values())]
    assert " ".join(["5", *shown]) in " ".join(page.split())
    assert all(f"`{name}`" in page or name[2:] in ("F1", "Se", "+P") for name in OBJECTIVES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[sweep", "is no valid TOML"),
        ("", "it needs a section [sweep] with name, trials, folds and objective"),
        ("[sweeps]\n", "unknown section 'sweeps'; valid are sweep, space"),
        ("sweep = 3", "it needs a section [sweep]"),
        (HEAD.replace("name", "nme"), "unknown key sweep.nme; did you mean 'name'?"),
        (HEAD.replace("folds", "fold"), "unknown key sweep.fold; did you mean 'folds'?"),
        (HEAD.replace("folds = [0]", ""), "sweep: Object missing required field `folds`"),
        (HEAD.replace("3", "0"), "sweep.trials must be 1 to 1000"),
        (HEAD.replace("3", "'many'"), "sweep: Expected `int`, got `str` - at `$.trials`"),
        (HEAD.replace("[0]", "[5]"), "sweep.folds are some of [0, 1, 2, 3, 4]"),
        (HEAD.replace("[0]", "[]"), "sweep.folds are some of"),
        (HEAD.replace("[0]", "[1, 1]"), "sweep.folds are some of"),
        (HEAD.replace('"a"', '"../a"'), "name a sweep with letters, digits, - and _, not '../a'"),
        (HEAD.replace('"a"', '""'), "name a sweep with letters"),
        (HEAD.replace("macro F1", "makro f1"), "no objective 'makro f1'; did you mean 'macro F1'?"),
        (HEAD.replace("macro F1", "S SE"), "no objective 'S SE'; did you mean 'S Se'?"),
        (HEAD.replace("macro F1", "speed"), "no objective 'speed'; valid are macro F1, balanced accuracy, accuracy"),
        (HEAD + "seed = -1\n", "sweep.seed must be 0 to"),
        (HEAD + "pruner = 'best'\n", "sweep: Invalid enum value 'best' - at `$.pruner`"),
        (HEAD + "pruner = 'median'\n", "the pruner compares trials between folds: it needs two folds or more"),
        (HEAD, "[space] names no setting; those of the recipe are epochs, batch, learning_rate"),
        ("space = 3\n" + HEAD, "'space' is a section: write [space] and its settings below"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, reason: str) -> None:
    """One line names the file, what is wrong, and the nearest name."""
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, text)
    assert reason in str(caught.value)
    assert str(tmp_path / "sweep.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("learnin_rate = { low = 0.1, high = 0.2 }", "no setting 'learnin_rate'; did you mean 'learning_rate'?"),
        ("dropout = { low = 0.1, high = 0.2 }", "the recipe has no setting 'dropout'; "),
        ("zzz = { low = 0.1, high = 0.2 }", "no setting 'zzz'; valid are epochs, batch"),
        ("dense = 3", "space.dense: write { low = …, high = … } or { choices = […] }"),
        ("dense = {}", "space.dense: write { low"),
        ("dense = { lo = 3, high = 4 }", "space.dense: unknown key 'lo'; did you mean 'low'?"),
        ("dense = { high = 4 }", "space.dense: low is missing"),
        ("dense = { low = 4 }", "space.dense: high is missing"),
        ("dense = { low = 4, high = 4 }", "space.dense: low must be below high"),
        ("dense = { low = 4.0, high = 8 }", "space.dense: low must be a whole number"),
        ("dense = { low = true, high = 8 }", "space.dense: low must be a whole number"),
        ("dense = { low = 4, high = 8, step = 0 }", "space.dense: step must be above 0"),
        ("dense = { low = 4, high = 8, step = 5 }", "space.dense: step must be above 0, and at most high less low"),
        ("dense = { low = 4, high = 8, step = 3 }", "space.dense: high is no whole number of steps above low"),
        ("dense = { low = 4, high = 8, step = 2, log = true }", "space.dense: either step or log, not both"),
        ("dense = { low = 4, high = 8, log = 1 }", "space.dense: log must be true or false"),
        ("dense = { low = 4, high = 2000 }", "space.dense: 2000 cannot be: Expected `int` <= 1024"),
        ("learning_rate = { low = 0.1, high = 2.0 }", "space.learning_rate: 2.0 cannot be: Expected `float` < 1.0"),
        ("learning_rate = { low = nan, high = 0.1 }", "space.learning_rate: NaN cannot be"),
        ("weight_decay = { low = 0.0, high = 0.1, log = true }", "with log, low must be above 0"),
        ("norm = { low = 0, high = 1 }", "space.norm: this is no number: write { choices = […] }"),
        ("schedule = { choices = ['flat', 'constant'] }", 'space.schedule: "flat" cannot be: Invalid enum value'),
        ("dense = { choices = [4] }", "space.dense: choices are a list of two or more values"),
        ("dense = { choices = [4, 4] }", "space.dense: a choice is there twice"),
        ("dense = { choices = [4, 8], low = 4 }", "space.dense: either choices, or low and high, not both"),
        ("kept_normal = { low = 0.1, high = 0.2 }", "the recipe has no setting 'kept_normal'"),
    ],
)
def test_wrong_ranges_are_said(tmp_path: Path, line: str, reason: str) -> None:
    """One line names the setting and what is wrong with its range, before anything is trained."""
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, f"{HEAD}[space]\n{line}\n")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A sweep file that is not there, or far too large, is said in one line."""
    with pytest.raises(ConfigError, match=r"^cannot read sweep .*: No such file or directory$"):
        read_sweep_plan(tmp_path / "none.toml", "train", SETTINGS)
    with pytest.raises(ConfigError, match="is too large"):
        plan_of(tmp_path, "#" * 2**17)


def test_combinations(tmp_path: Path) -> None:
    """Whole numbers, steps and choices can be counted; a range of decimals has no end."""
    space = "[space]\ndense = { low = 4, high = 8 }\nnorm = { choices = [true, false] }\n"
    assert count_combinations(plan_of(tmp_path, HEAD + space).space) == 10
    space += "weight_decay = { low = 0.0, high = 0.3, step = 0.1 }\n"
    assert count_combinations(plan_of(tmp_path, HEAD + space).space) == 40
    space += "learning_rate = { low = 0.1, high = 0.2 }\n"
    assert count_combinations(plan_of(tmp_path, HEAD + space).space) == float("inf")


def test_objectives() -> None:
    """The figure is the one that the objective names; a fold without such beats has none."""
    rates = {"recall": {"S": 0.1}, "precision": {"S": 0.2}, "f1": {"S": 0.3, "Q": 0.0}}
    overall = {"macro_f1": 0.4, "accuracy": 0.5, "balanced_accuracy": 0.6, "classes_present": ["N", "S"]}
    report = {"training": {"fold": 2}, "test": rates | overall}
    names = ("S Se", "S +P", "S F1", "macro F1", "accuracy", "balanced accuracy")
    assert [read_objective(report, name, 2) for name in names] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert read_objective(report, "Q F1", 2) is None
    assert len(OBJECTIVES) == 18


@pytest.mark.parametrize("fold", [None, 1])
def test_the_test_side_is_refused(fold: int | None) -> None:
    """A report of the test side, or of another fold, is never taken for a trial's."""
    report = {"training": {"fold": fold}, "test": {"macro_f1": 1.0, "classes_present": ["N"]}}
    with pytest.raises(RunError, match="its report is not of fold 0 of the training side"):
        read_objective(report, "macro F1", 0)
