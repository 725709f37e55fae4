"""model.records.lead_choice: which of several signals is analysed if the user asks for none."""

import pytest

from model.records.lead_choice import default_lead, rank_leads


@pytest.mark.parametrize(
    ("names", "index"),
    [
        (("MLII", "V5"), 0),
        (("V5", "MLII"), 1),
        (("V5", "V2"), 0),
        (("I", "II", "MLII"), 2),
        (("I", "II"), 1),
        (("I", "III", "aVR", "Lead II"), 3),
        (("ECG1", "ECG2"), 0),
        (("DI", "DII"), 1),
        (("first", "V5"), 1),
        (("first", "second"), 0),
    ],
)
def test_second_lead_comes_first(names: tuple[str, ...], index: int) -> None:
    """The lead to analyse is MLII by its name, then II, then the first lead of an ECG, then the first of any name."""
    assert default_lead(names) == index


@pytest.mark.parametrize(
    "names",
    [
        (
            "F3-M2",
            "F4-M1",
            "C3-M2",
            "C4-M1",
            "O1-M2",
            "O2-M1",
            "E1-M2",
            "Chin1-Chin2",
            "ABD",
            "CHEST",
            "AIRFLOW",
            "SaO2",
        ),
        ("EEG Fpz-Cz", "EEG(sec)", "EOG(L)", "EMG submental", "Resp oro-nasal", "Temp rectal", "Event marker"),
        ("RESP", "Resp 2", "Respiration", "THOR RES", "ABDO RES", "Nasal", "Snore", "Sound", "Body position", "Light"),
        ("ABP", "ART", "CVP", "PAP", "BP", "ICP", "PLETH", "SpO2", "PPG", "CO2", "etCO2", "O2"),
        ("ACC_X", "acc y", "accelerometer", "gyr z", "GSR", "EDA", "temperature", "Cz", "A1", "LOC"),
    ],
)
@pytest.mark.parametrize("ecg", ["ECG", "EKG1", "V", "aVF", "MCL1", "CH1", "heart", "ECG chest", "C1"])
def test_other_signals_are_no_ecg(names: tuple[str, ...], ecg: str) -> None:
    """A signal named as something else is never analysed, wherever the ECG stands, and whatever case it is in."""
    assert rank_leads([*names, ecg]) == (len(names),)
    assert rank_leads([ecg.lower(), *map(str.upper, names)]) == (0,)
    assert rank_leads(names) == ()
    assert default_lead(names) == 0


def test_units_tell_what_names_do_not() -> None:
    """A signal that is no voltage is no ECG, however it is named."""
    assert rank_leads(["II", "signal"], [False, True]) == (1,)


def test_ranking_keeps_the_order_of_the_stream() -> None:
    """Leads as good as each other by their names stay in the order of the stream."""
    assert rank_leads(["V6", "ABP", "signal", "V1", "II-2", "II", "MLII"]) == (6, 4, 5, 0, 3, 2)
