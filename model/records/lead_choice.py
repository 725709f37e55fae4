"""Which of several signals to analyse, by their names: leads of an ECG, and what is none."""

import re
from collections.abc import Sequence

LEAD_ORDER = ("MLII", "II")
"""Names of the leads to prefer, in this order; then the first that can be an ECG."""

_SECOND_LEAD = re.compile(r"(ECG|EKG)?(LEAD)?(D?II|D2|ML2)(-\d)?")
_STANDARD_LEAD = re.compile(
    r"(LEAD)?((ML|D)?I{1,3}|D[13]|ML[13]|AV[RLF]|M?V([1-9]R?)?)(-\d)?|M?CL[1-6R]?|CM[1-6]|CS[1-6]"
    r"|CH(ANNEL)?-?\d{0,2}|LEAD-?\d{0,2}|[XYZ]|ES|AS|AI"
)
_ECG = re.compile(r"E[CK]G|ELECTROCARDIO")
_OTHER_ANYWHERE = re.compile(
    r"EEG|EOG|EMG|EGG|EHG|PCG|RESP|BREATH|THOR|ABDO|FLOW|NASAL|CANNULA|EFFORT|PLETH|PPG|S[AP]O2|OSAT|PRESS|CO2|CAPNO|CHIN"
    r"|TEMP|SOUND|SNOR|MICRO|ACCEL|GYRO|MAGNET|IMPED|POSITION|PULSE|EVENT|MARKER|TRIGGER|STATUS|ANNOT|BATT|TOCO|GLUCOSE"
)
_OTHER_WORD = re.compile(
    # the electrodes of an EEG, alone or against another, and of an EOG
    r"(FP|AF|F|FC|FT|T|TP|CP|P|PO|O)(Z|\d{1,2})|C[34Z]|[AM][12]|M1M2|E[12]|[LR]OC|REF|AVG|LE"
    # muscles, breathing, saturation, gas
    r"|LEG[LR]?|[LR]AT|TIB|ABD\d?|CHEST\d?|THO|THX|RIP|RR|SAT|OX|O2|VT|PTAF|THERM"
    # pressures
    r"|ART\d?|BP\d?|[ANIR]BP\d?|NIBP|IBP\d?|CVP\d?|PAP\d?|PCWP|ICP\d?|LAP|RAP|LVP|UAP|UVP|AO|PA|PV"
    # the skin, movement, numbers and the rest
    r"|ACC[XYZ]?\d?|GYR[XYZ]?|MAG[XYZ]?|GSR|EDA|SCL?|SKT|HR|PR|POS|BODY|MIC|LIGHT|STEPS?|UC"
)


def rank_leads(names: Sequence[str], voltages: Sequence[bool] | None = None) -> tuple[int, ...]:
    """Return the indices of the signals that can be an ECG, the best one first.

    MLII comes first, then II, then other names of ECG leads, then names that say nothing, each in the order given.
    Signals that measure something else by their name (an EEG, breathing, a pressure) are left out.

    Parameters
    ----------
    names : sequence of str
        Names of the signals, in any case.
    voltages : sequence of bool, optional
        Whether each signal is measured in a unit of voltage; others are no ECG.

    Examples
    --------
    >>> rank_leads(["RESP", "V5", "II", "C4-A1"])
    (2, 1)
    """
    ranks = [_rank_name(name) for name in names]
    usable = [i for i, rank in enumerate(ranks) if rank is not None and (voltages is None or voltages[i])]
    return tuple(sorted(usable, key=lambda i: ranks[i] or 0))


def default_lead(names: Sequence[str], voltages: Sequence[bool] | None = None) -> int:
    """Return the index of the lead to analyse if the user asks for none: the first of `rank_leads`, 0 if there is
    none."""
    return next(iter(rank_leads(names, voltages)), 0)


def _rank_name(name: str) -> int | None:
    """Return how likely a signal is the lead to analyse by its name, 0 the likeliest; None if it is no ECG."""
    if name in LEAD_ORDER:
        return LEAD_ORDER.index(name)
    whole = re.sub(r"[^A-Z0-9-]", "", name.upper())
    if whole == LEAD_ORDER[0]:
        return 0
    if _SECOND_LEAD.fullmatch(whole):
        return 1
    if _ECG.search(whole) or _STANDARD_LEAD.fullmatch(whole):
        return 2
    words = re.findall(r"[A-Z0-9]+", name.upper())
    if _OTHER_ANYWHERE.search(whole) or (words and _OTHER_WORD.fullmatch(words[0])):
        return None
    return 3
