"""What a report cannot tell, or tells with a caution, in words: paced beats, fibrillation, tests, variability."""

from agent.report.bed_recording import BedRecording

HARDLY_FOUND = 0.05
"""A class of which tests found less than this share is hardly found."""
OFTEN_PERCENT = 1.0
"""Fusion, paced and unknown beats are named on the first page if they are more of all beats."""


def say_pacing(recording: BedRecording) -> str:
    """Return what is known of a pacemaker, and what does not hold with one."""
    if not recording.pacing_pulses:
        return "Paced beats are not recognised by shape: without pacemaker pulses in the signal they count as N (or V)."
    return (
        f"{recording.pacing_pulses:,} pacemaker pulses were seen: paced beats count as N (or V), and neither "
        "intervals nor heart-rate variability hold for them."
    )
