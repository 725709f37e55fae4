import pytest

from model.records.annotations import AnnotationFile
from model.scoring.beat_scores import ScoredSpan
from model.scoring.run_scores import RunCounts, compare_runs

RATE = 100


def beats(labels: str, start: int = 100, shift: int = 0) -> AnnotationFile:
    """A beat or other annotation every second; `a` stands for the start of atrial fibrillation, `v` of flutter, `n` of
    a normal rhythm, `u` for unreadable signal and `.` for nothing."""
    texts = {"a": "(AFIB", "v": "(VFL", "n": "(N"}
    rhythm = {"a": "+", "v": "+", "n": "+", "u": "~"}
    kept = [(start + 100 * i + shift, label) for i, label in enumerate(labels) if label != "."]
    return AnnotationFile(
        tuple(sample for sample, _ in kept),
        tuple(rhythm.get(label, label) for _, label in kept),
        tuple(0x30 if label == "u" else 0 for _, label in kept),
        tuple(texts.get(label, "") for _, label in kept),
    )


def both(reference: str, test: str, start: int = 1, end: int = 10000) -> tuple[RunCounts, RunCounts]:
    part = ScoredSpan(RATE, start, end, 15, RATE)
    ventricular, supraventricular = compare_runs(beats(reference), beats(test), part)
    assert ventricular is not None
    assert supraventricular is not None
    return ventricular, supraventricular


def lengths(counts: RunCounts) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]:
    """Cells that are not 0, by length in the reference and in the test."""
    tables = (counts.by_reference, counts.by_test)
    first, second = ({(r, t): int(n) for r, row in enumerate(x) for t, n in enumerate(row) if n} for x in tables)
    return first, second


def test_lengths_of_runs() -> None:
    """Couplets, short and long runs are found whole, in part, or not; more than six beats count as six."""
    counts, _ = both("NVVNVVVVVNVVVVVVVVNVVN", "NVVNVVNVVNVVVVVVVVNNNN")
    assert lengths(counts) == ({(2, 2): 1, (5, 2): 1, (6, 6): 1, (2, 0): 1}, {(2, 2): 3, (6, 6): 1})
    assert list(counts.counts().values()) == [1, 1, 3, 0, 0, 1, 0, 0, 1, 0, 1, 0]
    assert counts.ratios()["couplet_se"] == (1, 2)


def test_runs_the_reference_does_not_have() -> None:
    """A couplet and a short run of the test alone are false positives."""
    counts, _ = both("NNNNNNNNN", "NVVNVVVNN")
    found = counts.counts()
    assert (found["CFP"], found["SFP"], found["CFN"], found["SFN"]) == (1, 1, 0, 0)


def test_fusion_and_kinds() -> None:
    """Fusion beats belong to ventricular runs; beats of the other kind, of no class and lost signal end a run."""
    ventricular, supraventricular = both("NVFVNSSVVAQ", "NVFVNSSVVAQ")
    assert lengths(ventricular)[0] == {(3, 3): 1, (2, 2): 1}
    assert lengths(supraventricular)[0] == {(2, 2): 1, (1, 1): 1}
    assert lengths(both("NVVuVVQVN", "NVVuVVQVN")[0])[0] == {(2, 2): 2, (1, 1): 1}


def test_episodes() -> None:
    """Flutter, by brackets or as a rhythm, is a long ventricular run; beats of atrial fibrillation are S."""
    ventricular, supraventricular = both("NN[..].NNv..nNaNNN.nNNN", "NNVVVVVNNVV.NNSSSSS.NNNN")
    assert lengths(ventricular)[0] == {(6, 4): 1, (6, 2): 1}
    assert lengths(supraventricular)[0] == {(6, 5): 1}
    assert lengths(both("NNVVVVVVNN", "NN[...]NNN")[0])[0] == {(6, 6): 1}


def test_episode_before_the_start() -> None:
    """An episode that is on when the scored part begins is a run from there."""
    ventricular, _ = both("N[.......]NN", "N[.......]NN", start=500)
    assert lengths(ventricular) == ({(6, 6): 1}, {(6, 6): 1})


def test_run_at_the_end() -> None:
    """A run that the end of a file cuts off counts; one that the end of the scored part cuts off does not."""
    assert lengths(both("NNVV", "NNVV")[0])[0] == {(2, 2): 1}
    assert lengths(both("NNVVN", "NNVVN", end=450)[0])[0] == {}


def test_window() -> None:
    """Beats of the test count from a window before the run to a window after it, and no farther."""
    part = ScoredSpan(RATE, 1, 10000, 15, RATE)
    for shift, length in ((15, 2), (16, 1), (-15, 2), (-16, 1)):
        ventricular, _ = compare_runs(beats("NNVVNN"), beats("NNVVNN", shift=shift), part)
        assert ventricular is not None
        assert lengths(ventricular)[0] == {(2, length): 1}


@pytest.mark.parametrize(("reference", "test"), [("NVVN", ""), ("", "NVVN"), ("", "")])
def test_nothing_to_compare(reference: str, test: str) -> None:
    """Without annotations on one side there is no result, just as `rxr` prints no line."""
    assert compare_runs(beats(reference), beats(test), ScoredSpan(RATE, 0, 10000, 15, RATE)) == (None, None)


def test_counts_add_up() -> None:
    """Counts of records add up."""
    one, two = both("NVVN", "NVVN")[0], both("NVVVN", "NVVNN")[0]
    assert list((one + two).counts().values()) == [a + b for a, b in zip(*_values(one, two), strict=True)]


def _values(*counts: RunCounts) -> list[list[int]]:
    return [[*part.counts().values()] for part in counts]
