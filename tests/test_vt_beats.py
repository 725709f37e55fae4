import pytest
from support.alarmed import DECIDED, MadeBed, made, scores

from agent.core.config import Config
from agent.core.messages import AlarmCondition
from model.records.resample import FS

VT: AlarmCondition = "ventricular tachycardia"
HALF_SURE = (0.4, 0.55, 0.01, 0.03, 0.01)
"""Scores of a window that agrees with beats, but announces nothing itself."""


@pytest.fixture
def bed(settings: Config) -> MadeBed:
    return made(settings)


@pytest.mark.parametrize(
    ("row", "rr_s", "is_alarm"),
    [
        ("VVVVV", 0.6, True),
        ("VVVVV", 0.61, False),
        ("VVVV", 0.4, False),
        ("VVQFV", 0.4, True),
        ("QVQVF", 0.4, False),
        ("QQQQQQQ", 0.4, False),
        ("VVNVVV", 0.4, False),
        ("VVSVVV", 0.4, False),
    ],
)
def test_a_row_is_sure_by_itself(bed: MadeBed, row: str, rr_s: float, is_alarm: bool) -> None:
    """Five beats at 100 a minute are a tachycardia if three are V and the others unclear; N and S beats break a row."""
    bed.beats("N" * 20, 0.8)
    bed.beats(row + "NNN", rr_s)
    bed.beats("NNN", 0.8)
    assert (VT in bed.conditions) == is_alarm


@pytest.mark.parametrize(
    ("row", "rr_s", "is_alarm"),
    [
        ("VVV", 0.4, False),
        ("VVVV", 0.4, True),
        ("VVVV", 0.62, False),
        ("QQQQ", 0.4, True),
        ("VVNVV", 0.4, False),
        ("VVNNVV", 0.4, False),
        ("NVNVNVNV", 0.4, False),
        ("SSSSSS", 0.4, False),
    ],
)
def test_beats_and_waveform_agree(bed: MadeBed, row: str, rr_s: float, is_alarm: bool) -> None:
    """If the waveform is more likely VT than not, four beats that may be V are enough; sure N beats break a row."""
    bed.beats("N" * 20, 0.8)
    bed.scores = HALF_SURE
    bed.beats(row, rr_s)
    bed.beats("N", rr_s)
    bed.quiet(1.1)
    assert (VT in bed.conditions) == is_alarm


@pytest.mark.parametrize(("likely_v", "is_alarm"), [(0.2, True), (0.1, False)])
def test_one_unsure_beat_may_lie_in_a_row(bed: MadeBed, likely_v: float, is_alarm: bool) -> None:
    """If the waveform agrees, an N beat between V beats counts for nothing unless the net is sure of it."""
    bed.beats("N" * 20, 0.8)
    first = bed.peak + 50
    bed.scores = HALF_SURE
    bed.beats("VV", 0.4)
    bed.likely_v = likely_v
    bed.beats("N", 0.4)
    bed.likely_v = 0.0
    bed.beats("VV", 0.4)
    bed.quiet(1.1)
    assert (VT in bed.conditions) == is_alarm
    if is_alarm:
        assert (bed.the(VT).onset, bed.the(VT).text) == (first, "V beats in a row: 4 at 112/min")


def test_a_sure_beat_begins_a_new_row(bed: MadeBed) -> None:
    """Onset and reason of a tachycardia do not reach back over a beat that is surely N."""
    bed.beats("N" * 20, 0.8)
    bed.scores = HALF_SURE
    bed.beats("VVVN", 0.4)
    first = bed.peak + 50
    bed.beats("VVVV", 0.4)
    bed.quiet(1.1)
    assert (bed.the(VT).onset, bed.the(VT).text) == (first, "V beats in a row: 4 at 150/min")


@pytest.mark.parametrize(("row", "is_alarm"), [("NVVVNN", False), ("NVNVVN", False), ("QQQQQQ", True)])
def test_short_runs_are_no_tachycardia_of_the_waveform(bed: MadeBed, row: str, is_alarm: bool) -> None:
    """Runs of three V beats fill much of a window; the N beats around them say that it is no tachycardia."""
    bed.beats("N" * 20, 0.5)
    bed.scores = scores("VT")
    bed.beats(row * 3, 0.4)
    assert (VT in bed.conditions) == is_alarm


def test_the_waveform_may_agree_afterwards(bed: MadeBed) -> None:
    """A row is alarmed with the window that shows it, if that is classified after its beats."""
    bed.beats("N" * 20, 0.8)
    first = bed.peak + 50
    bed.beats("VVVV", 0.4)
    bed.beats("N", 0.4)
    bed.quiet(0.7)
    assert VT not in bed.conditions
    bed.scores = HALF_SURE
    bed.quiet(1.1)
    assert bed.the(VT).onset == first


@pytest.mark.parametrize(("likely_v", "is_alarm"), [(0.24, False), (0.25, True)])
def test_what_is_likely_enough_may_be_v(bed: MadeBed, likely_v: float, is_alarm: bool) -> None:
    """A beat that the net calls S, with some probability of V, does not break a row."""
    bed.beats("N" * 20, 0.8)
    bed.likely_v = likely_v
    bed.beats("VVSSV", 0.4)
    bed.likely_v = 0.0
    bed.beats("N" * 5, 0.8)
    assert (VT in bed.conditions) == is_alarm


def test_beats_in_noise_are_no_tachycardia(bed: MadeBed) -> None:
    """In a noisy window V beats make no row, and before it no beats make one with those after it."""
    bed.beats("N" * 20, 0.8)
    bed.beats("VVV", 0.4)
    bed.scores = scores("noise")
    bed.quiet(1.1)
    bed.beats("V" * 8, 0.4)
    bed.scores = scores()
    bed.beats("N" * 5, 0.8)
    assert VT not in bed.conditions


def test_sure_beats_contradict_the_waveform(bed: MadeBed) -> None:
    """A fast rhythm of N beats is no tachycardia of the ventricles, whatever the waveform looks like."""
    bed.beats("N" * 20, 0.8)
    bed.scores = scores("VT")
    bed.beats("N" * 60, 0.45)
    assert VT not in bed.conditions
    bed.beats("Q" * 9, 0.45)
    assert bed.the(VT).onset > bed.now - 10 * FS


def test_a_waveform_without_beats_is_believed(bed: MadeBed) -> None:
    """Beats of five seconds ago and more say nothing against it."""
    bed.beats("N" * 20, 0.8)
    bed.scores = scores("VT")
    bed.quiet(6)
    assert VT in bed.conditions


def test_a_tachycardia_goes_on_while_a_beat_may_be_v(bed: MadeBed) -> None:
    """Once it is alarmed, the waveform keeps it as long as one of the latest five beats may be V."""
    bed.beats("N" * 20, 0.8)
    bed.scores = scores("VT")
    bed.beats("V" * 10 + "NNNNV" * 6, 0.45)
    assert bed.the(VT).ended is None
    bed.beats("N" * 40, 0.45)
    assert bed.the(VT).ended is not None


def test_fibrillation_is_no_row_of_beats(bed: MadeBed) -> None:
    """What is found in fibrillation is no tachycardia, neither then nor when it ends."""
    bed.beats("N" * 20, 0.8)
    bed.scores = scores("VF")
    bed.beats("V" * 40, 0.3)
    bed.scores = scores()
    bed.beats("N" * 40, 0.8)
    assert bed.the("ventricular fibrillation").ended is not None
    assert len(bed.of(VT)) <= 1


def test_the_announcement_is_no_later_than_the_fifth_beat(bed: MadeBed) -> None:
    """It is known with the class of the fifth beat; its reason says how many beats there are, and how sure."""
    bed.beats("N" * 20, 0.8)
    bed.beats("VVQVV", 0.4)
    fifth = bed.peak
    bed.quiet(1.1)
    alarm = bed.the(VT)
    assert alarm.announced == fifth + DECIDED
    assert alarm.text == "V or unclear beats in a row: 5 at 150/min"
