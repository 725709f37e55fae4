import csv
import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from support.swept import SWEEP, InstantHands, option_of, plan_of, run_sweep

from agent.training import sweep_study
from agent.training.sweep_picture import draw_sweep_picture
from agent.training.sweep_plan import SweepPlan
from agent.training.sweep_results import (
    best_command,
    build_sweep_table,
    describe_trial,
    format_value,
    rank_trials,
    write_trials_csv,
)
from agent.training.sweep_study import SweepStudy, SweepTrial
from agent.training.training_process import describe_failure, training_environment
from model.errors import ConfigError, RunError

pytest.importorskip("optuna")

FINITE = SWEEP.partition("[space]")[0] + "[space]\nnorm = { choices = [true, false] }\nepochs = { low = 1, high = 3 }\n"


def shorter(plan: SweepPlan, trials: int) -> SweepPlan:
    """Return a plan with another number of trials."""
    return replace(plan, head=replace(plan.head, trials=trials))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> SweepPlan:
    return plan_of(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def undisturbed(
    plan: SweepPlan, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, InstantHands, list[SweepTrial]]:
    """A whole sweep: its folder, its hands, its trials."""
    folder = tmp_path_factory.mktemp("runs") / "rates"
    hands = InstantHands()
    return folder, hands, run_sweep(plan, folder, hands)


def test_every_trial_is_trained_on_each_fold(undisturbed: tuple[Path, InstantHands, list[SweepTrial]]) -> None:
    """Six trials, two folds each, one run folder a fold; no settings twice; every range is kept."""
    folder, hands, trials = undisturbed
    assert [trial.number for trial in trials] == [*range(6)]
    assert {trial.state for trial in trials} == {"done"}
    assert len({json.dumps(trial.settings) for trial in trials}) == 6
    for trial in trials:
        assert 1e-4 <= trial.settings["learning_rate"] <= 1e-2
        assert trial.settings["dense"] in range(8, 65, 8)
        assert trial.settings["channels"] in ([8, 8], [16, 16, 16])
    runs = [(task.trial, option_of(task, "--fold"), option_of(task, "--run")) for task in hands.tasks]
    expected = [(n, fold, str(folder / f"trial-{n:04d}" / f"fold-{fold}")) for n in range(6) for fold in ("0", "3")]
    assert runs == expected


def test_every_training_is_on_a_fold(undisturbed: tuple[Path, InstantHands, list[SweepTrial]]) -> None:
    """No training of a sweep is without a fold: the test side is read by none."""
    for task in undisturbed[1].tasks:
        assert option_of(task, "--fold") in ("0", "3")
        assert task.arguments[0] == "train"


def test_a_trial_is_judged_by_its_folds(undisturbed: tuple[Path, InstantHands, list[SweepTrial]]) -> None:
    """The objective is the mean over the folds, the spread their standard deviation."""
    for trial in undisturbed[2]:
        first = 0.9 - 10 * abs(trial.settings["learning_rate"] - 0.001)
        assert trial.folds == pytest.approx({0: first, 3: first - 0.03})
        assert trial.objective() == pytest.approx(first - 0.015)
        assert trial.spread() == pytest.approx(0.03 / 2**0.5)


@pytest.mark.parametrize("stops", [(1,), (2, 3, 4)])
def test_a_sweep_goes_on(
    plan: SweepPlan, undisturbed: tuple[Path, InstantHands, list[SweepTrial]], tmp_path: Path, stops: tuple[int, ...]
) -> None:
    """Stopped anywhere and started again, a sweep tries the same, finds the same, and trains nothing twice."""
    trained = []
    for most in stops:
        hands = InstantHands(most=most)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(plan, tmp_path, hands)
        trained += hands.tasks
    hands = InstantHands()
    trials = run_sweep(plan, tmp_path, hands)
    trained += hands.tasks
    assert trials == undisturbed[2]
    pairs = [(task.trial, option_of(task, "--fold")) for task in trained]
    assert len(pairs) == len({*pairs}) == 12
    again = InstantHands()
    assert run_sweep(plan, tmp_path, again) == trials
    assert again.tasks == []


def test_a_sweep_that_has_learnt_goes_on(plan: SweepPlan, tmp_path: Path) -> None:
    """So does one that chooses by the trials before: after ten that are drawn at random."""
    longer = replace(plan, head=replace(plan.head, trials=14, folds=(0,)))
    whole = run_sweep(longer, tmp_path / "whole", InstantHands())
    with pytest.raises(KeyboardInterrupt):
        run_sweep(longer, tmp_path / "parts", InstantHands(most=12))
    assert run_sweep(longer, tmp_path / "parts", InstantHands()) == whole
    drawn = [trial.settings["learning_rate"] for trial in whole]
    assert max(abs(rate - 0.001) for rate in drawn[-3:]) < max(abs(rate - 0.001) for rate in drawn[:10])


def test_a_fold_that_ended_unseen_is_not_trained_again(plan: SweepPlan, tmp_path: Path) -> None:
    """A training that ended after its sweep was killed counts: its report is there."""
    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan, tmp_path, InstantHands(most=0))
    late = InstantHands()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan, tmp_path, lost := InstantHands(most=0))
    late.submit(lost._waiting[0])
    late.wait()
    hands = InstantHands()
    run_sweep(plan, tmp_path, hands)
    assert (0, "0") not in [(task.trial, option_of(task, "--fold")) for task in hands.tasks]
    assert len(hands.tasks) == 11


def test_several_at_once(plan: SweepPlan, tmp_path: Path) -> None:
    """With several hands trials end in another order, and each is trained once on each fold all the same."""
    hands = InstantHands(room=3)
    trials = run_sweep(shorter(plan, 4), tmp_path, hands)
    assert [trial.state for trial in trials] == ["done"] * 4
    assert sorted((task.trial, option_of(task, "--fold")) for task in hands.tasks) == [
        (number, fold) for number in range(4) for fold in ("0", "3")
    ]
    assert [task.trial for task in hands.tasks] != sorted(task.trial for task in hands.tasks)


def test_a_trial_that_fails(plan: SweepPlan, tmp_path: Path) -> None:
    """It is listed with its reason, on one line, the sweep goes on, and it is not tried again."""
    trials = run_sweep(shorter(plan, 4), tmp_path, InstantHands(broken=(1, 2)))
    assert [trial.number for trial in trials if trial.state == "failed"] == [1, 2]
    assert len(trials) == 4
    line = describe_trial(trials[1], "S F1")
    assert line.startswith("trial 1 failed: no room (learning_rate ")
    assert rank_trials(trials)[-2:] == [trials[1], trials[2]]
    hands = InstantHands()
    assert run_sweep(shorter(plan, 4), tmp_path, hands) == trials
    assert hands.tasks == []


def test_a_training_without_a_report(plan: SweepPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that ends well and leaves nothing fails its trial, and so does a broken report."""
    monkeypatch.setattr(Path, "write_text", lambda *_: 0)
    trials = run_sweep(shorter(plan, 2), tmp_path, InstantHands())
    assert {trial.reason for trial in trials} == {"its training left no report.json"}
    monkeypatch.undo()
    monkeypatch.setattr("support.swept.instant_report", lambda *_: {"training": {}})
    trials = run_sweep(shorter(plan, 2), tmp_path / "other", InstantHands())
    assert all(trial.reason.startswith("cannot read ") for trial in trials)


def test_folds_without_the_class(plan: SweepPlan, tmp_path: Path) -> None:
    """A fold without beats of the class does not count; where none has any the trial fails and says so."""
    trials = run_sweep(shorter(plan, 2), tmp_path / "one", InstantHands(empty=(3,)))
    assert [trial.objective() for trial in trials] == [trial.folds[0] for trial in trials]
    assert {trial.spread() for trial in trials} == {None}
    trials = run_sweep(shorter(plan, 2), tmp_path / "both", InstantHands(empty=(0, 3)))
    assert {trial.reason for trial in trials} == {"no fold has beats to measure S F1"}


def test_a_space_that_has_an_end(tmp_path: Path) -> None:
    """Each of six combinations is tried once, though seven trials were asked for."""
    trials = run_sweep(shorter(plan_of(tmp_path, FINITE), 7), tmp_path / "run", hands := InstantHands())
    combinations = {(trial.settings["norm"], trial.settings["epochs"]) for trial in trials}
    assert combinations == {(norm, epochs) for norm in (True, False) for epochs in (1, 2, 3)}
    assert len(trials) == 6
    assert len(hands.tasks) == 12


def test_the_pruner(tmp_path: Path) -> None:
    """The median pruner stops a trial that is below the others after its first fold: the second is not trained."""
    text = SWEEP.replace("seed = 5", 'seed = 5\npruner = "median"').replace("trials = 6", "trials = 12")
    trials = run_sweep(plan_of(tmp_path, text), tmp_path / "run", hands := InstantHands())
    stopped = [trial for trial in trials if trial.state == "stopped"]
    assert stopped
    assert [trial.state for trial in trials[:5]] == ["done"] * 5
    assert all(set(trial.folds) == {0} for trial in stopped)
    assert len(hands.tasks) == 24 - len(stopped)
    first = sorted(trial.folds[0] or 0 for trial in trials[:5])
    assert all((trial.folds[0] or 0) < first[2] for trial in stopped[:1])
    assert "stopped after 1 of 2 folds" in describe_trial(stopped[0], "S F1")


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("S F1", "V F1", "objective"),
        ("[0, 3]", "[0]", "folds"),
        ("seed = 5", "seed = 6", "seed"),
        ("high = 64", "high = 32", r"space\.dense"),
        ("dense = { low = 8, high = 64, step = 8 }", "", r"recipe\.dense, space\.dense"),
    ],
)
def test_another_sweep_is_refused(tmp_path: Path, plan: SweepPlan, before: str, after: str, changed: str) -> None:
    """A changed file is refused in one line that names what has changed, and what is there stays."""
    SweepStudy(plan, tmp_path)
    other = plan_of(tmp_path, SWEEP.replace(before, after))
    with pytest.raises(RunError, match=rf"begun with other {changed}: give the changed one another name") as caught:
        SweepStudy(other, tmp_path)
    assert "\n" not in str(caught.value)
    SweepStudy(plan, tmp_path)


def test_other_settings_are_refused(tmp_path: Path, plan: SweepPlan) -> None:
    """So are another recipe below the same space, another seed of training, and another folder of records."""
    SweepStudy(plan, tmp_path)
    with pytest.raises(RunError, match=r"other recipe\.epochs"):
        SweepStudy(replace(plan, recipe=replace(plan.recipe, epochs=3)), tmp_path)
    train = replace(plan.config.train, seed=9)
    with pytest.raises(RunError, match=r"other train\.seed"):
        SweepStudy(replace(plan, config=replace(plan.config, train=train)), tmp_path)
    with pytest.raises(RunError, match="other folders of records"):
        SweepStudy(replace(plan, arguments=("--records", "svdb")), tmp_path)


def test_more_trials_may_be_asked_for(
    plan: SweepPlan, undisturbed: tuple[Path, InstantHands, list[SweepTrial]], tmp_path: Path
) -> None:
    """The number of trials may grow: what is there is kept, and the rest is as if asked for at once."""
    fewer = shorter(plan, 4)
    assert run_sweep(fewer, tmp_path, InstantHands()) == undisturbed[2][:4]
    assert run_sweep(plan, tmp_path, hands := InstantHands()) == undisturbed[2]
    assert len(hands.tasks) == 4


def test_a_study_that_cannot_be_read(plan: SweepPlan, tmp_path: Path) -> None:
    """A file that is no study is said in one line."""
    (tmp_path / sweep_study.STUDY_NAME).write_text("no study " * 1000)
    with pytest.raises(RunError, match=r"cannot use .*study\.db: .*not a database; choose another folder") as caught:
        SweepStudy(plan, tmp_path)
    assert "\n" not in str(caught.value)


def test_without_optuna(plan: SweepPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Optuna is not installed, one line says how to install it."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"optuna .*: pip install 'ecg-agent\[sweep\]'"):
        SweepStudy(plan, tmp_path)


def test_the_table(plan: SweepPlan, undisturbed: tuple[Path, InstantHands, list[SweepTrial]], tmp_path: Path) -> None:
    """Best first, a row each, on the terminal and as CSV, with every figure and setting."""
    ranked = rank_trials(undisturbed[2])
    figures = [trial.objective() or 0 for trial in ranked]
    assert figures == sorted(figures, reverse=True)
    table = build_sweep_table(plan, ranked)
    assert table.row_count == 6
    titles = [column.header for column in table.columns]
    assert titles == ["trial", "S F1", "±", "fold 0", "fold 3", "learning_rate", "dense", "channels", ""]
    assert [*table.columns[0].cells] == [str(trial.number) for trial in ranked]
    assert [*table.columns[1].cells] == [f"{100 * figure:.2f}" for figure in figures]
    rows = [*csv.DictReader(write_trials_csv(plan, ranked, tmp_path).read_text().splitlines())]
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in ranked]
    assert [float(row["objective"]) for row in rows] == pytest.approx(figures, abs=1e-6)
    assert [float(row["learning_rate"]) for row in rows] == [trial.settings["learning_rate"] for trial in ranked]


def test_the_command_of_the_best(plan: SweepPlan, undisturbed: tuple[Path, InstantHands, list[SweepTrial]]) -> None:
    """It trains with the very settings of the best trial, in a folder of its own, without a fold."""
    folder, _, trials = undisturbed
    best = rank_trials(trials)[0]
    words = best_command(plan, best, folder).split()
    assert words[:2] == ["ecg-agent", "train"]
    assert "--fold" not in words
    assert words[words.index("--run") + 1] == str(folder / "best")
    settings = tomllib.loads(Path(words[words.index("--config") + 1]).read_text())
    assert settings["train"]["recipe"] == "rates"
    assert settings["recipe"]["rates"]["learning_rate"] == best.settings["learning_rate"]
    assert settings["recipe"]["rates"]["channels"] == best.settings["channels"]


def test_the_picture(plan: SweepPlan, undisturbed: tuple[Path, InstantHands, list[SweepTrial]], tmp_path: Path) -> None:
    """One picture as SVG and PNG, the same bytes for the same trials."""
    ranked = rank_trials(undisturbed[2])
    paths = draw_sweep_picture(plan, ranked, tmp_path)
    assert [path.name for path in paths] == ["sweep.svg", "sweep.png"]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in draw_sweep_picture(plan, ranked, tmp_path)] == before


def test_a_live_sweep(tmp_path: Path) -> None:
    """With train-live the settings are those of [live], and the folders of records go to every training."""
    head = SWEEP.partition("[space]")[0].replace("trials = 6", "trials = 2")
    text = head + "[space]\nlearning_rate = { low = 1e-3, high = 1e-2 }\n"
    arguments = ("--records", "svdb", "--rhythms", "ltafdb")
    plan = plan_of(tmp_path, text, "train-live", arguments=arguments)
    trials = run_sweep(plan, tmp_path / "run", hands := InstantHands())
    assert [trial.state for trial in trials] == ["done", "done"]
    for task in hands.tasks:
        assert task.arguments[0] == "train-live"
        assert task.arguments[-4:] == arguments
    assert best_command(plan, trials[0], tmp_path).endswith("--name rates --records svdb --rhythms ltafdb")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0031234, "0.00312"), (32, "32"), (True, "true"), ("one-cycle", "one-cycle"), ([32, 48], "32 48"), (0.5, "0.5")],
)
def test_values_in_words(value: object, shown: str) -> None:
    """Numbers are short, lists and switches as people write them."""
    assert format_value(value) == shown


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (0, "anything\n", ""),
        (-9, "epoch 3\n", "its process was killed by signal 9, as it is when there is too little memory"),
        (3, "epoch 3\necg-agent: cannot drop 9 N beats\n", "cannot drop 9 N beats"),
        (1, "Traceback:\n  File x\nValueError: wrong\n\n", "ValueError: wrong"),
        (1, "", "it ended with exit code 1"),
    ],
)
def test_why_a_training_failed(tmp_path: Path, code: int, said: str, reason: str) -> None:
    """The reason is the message of this start, not of an earlier one."""
    log = tmp_path / "fold-0.log"
    log.write_text(f"ecg-agent: of an earlier start\n{said}")
    assert describe_failure(code, log, len("ecg-agent: of an earlier start\n")) == reason


def test_the_environment_of_a_training() -> None:
    """Settings are all in the file of the trial: no variable changes them; the cache stays. Ray's threads do not."""
    environment = {"PATH": "/bin", "ECG_AGENT_CACHE": "/c", "ECG_AGENT_CONFIG": "/x", "ECG_AGENT_TRAIN_SEED": "3"}
    rayed = environment | {"OMP_NUM_THREADS": "1"}
    assert training_environment(rayed, None) == {"PATH": "/bin", "ECG_AGENT_CACHE": "/c"}
    assert training_environment(rayed, "4")["OMP_NUM_THREADS"] == "4"
