"""Alarms: what is wrong with a bed, said in order of urgency, until a person has seen to it."""
