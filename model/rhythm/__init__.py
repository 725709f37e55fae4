"""Rhythm from RR intervals: atrial fibrillation and heart-rate variability."""
