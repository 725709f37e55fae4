"""The units in which a lead may be measured."""

_SPELLINGS = {
    1e3: "V v volt volts Volt Volts",
    1.0: "mV mv MV millivolt millivolts",
    1e-3: "uV uv UV \N{MICRO SIGN}V \N{GREEK SMALL LETTER MU}V microvolt microvolts",
    1e-6: "nV nv NV nanovolt nanovolts",
}
UNITS_MV = {spelling: size for size, spellings in _SPELLINGS.items() for spelling in spellings.split()}
"""Millivolts in one unit of a lead, as devices and files spell it. A lead in any other unit is no ECG."""
