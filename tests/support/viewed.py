"""Made-up snapshots of a ward, as the dashboard is given them."""

import numpy as np

from agent.core.config import Config
from agent.core.views import BedSummary, BedView, LinkView, RecordingView, RhythmSummary, WardSnapshot


def make_bed(name: str) -> BedView:
    """A bed with a heart rate of 72."""
    wave = np.sin(np.arange(1250) / 20).astype(np.float32)
    rhythm = RhythmSummary(72.0, 833.0, 30.0, 40.0, (1, 0, 0, 0, 0))
    return BedView(name, "MLII", "ok", wave, 1250, (), rhythm, 0, 0, None)


def make_ward(config: Config, *beds: BedView, recording: str = "") -> WardSnapshot:
    """A ward of these beds, recorded to a folder if one is named."""
    index = tuple(
        BedSummary(
            bed.bed,
            bed.state,
            priority=bed.alarms[0].priority if bed.alarms else None,
            paused_until_s=bed.paused_until_s,
            settings=bed.settings,
        )
        for bed in beds
    )
    return WardSnapshot(
        beds=beds,
        events=(),
        link=LinkView("tcp://host:1", "connected", 1, 0),
        device="cpu",
        weights="weights",
        now_s=1000.0,
        started_s=10.0,
        recording=RecordingView(recording, 1000, 10**10) if recording else None,
        index=index,
        base_limits=config.alarms,
        least_confidence=0.8,
    )
