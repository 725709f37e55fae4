"""Scores by the rules of ANSI/AAMI EC57, as WFDB's bxb, rxr and epicmp count."""
