"""The units in which a lead may be measured."""

UNITS_MV = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "µV": 1e-3, "\N{GREEK SMALL LETTER MU}V": 1e-3}
"""Millivolts in one unit of a lead. A lead in any other unit is no ECG. Of the last two one is the micro sign."""
