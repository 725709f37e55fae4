"""The units in which a lead may be measured."""

_SPELLINGS = {
    1e3: "V v volt volts Volt Volts",
    1.0: "mV mv MV millivolt millivolts",
    1e-3: "uV uv UV \N{MICRO SIGN}V \N{GREEK SMALL LETTER MU}V microvolt microvolts",
    1e-6: "nV nv NV nanovolt nanovolts",
}
UNITS_MV = {spelling: size for size, spellings in _SPELLINGS.items() for spelling in spellings.split()}
"""Millivolts in one unit of a lead, as devices and files spell it. A lead in a unit that is none of these and none of
RAW_UNITS is no ECG."""
_RAW_SPELLINGS = {
    1.0: "count counts Count Counts COUNTS adu ADU adc ADC LSB lsb digit digits raw RAW uncal uncalibrated",
    1e-5: "a.u. a_u_ A.U. au AU arb arbitrary NU nu normalized normalised",
}
RAW_UNITS = {spelling: step for step, spellings in _RAW_SPELLINGS.items() for spelling in spellings.split()}
"""The units of a lead whose size in millivolts nobody knows, and the least step that a value in each makes: counts are
whole numbers. In a WFDB header a.u. is a_u_."""


def is_ecg_unit(unit: str) -> bool:
    """Return whether an ECG may be measured in a unit: a voltage, or raw counts."""
    return unit in UNITS_MV or unit in RAW_UNITS
