"""R peaks that are too low to be QRS complexes: IEC 60601-2-27 forbids to count deflections below 0.15 mV.

Such a lead shows no heart rate, and after four seconds asystole: the one answer that a monitor may give to it.
"""

from collections.abc import Sequence

import numpy as np

from agent.analysis.qrs_detector import RPeak
from agent.analysis.sample_ring import SampleRing

LEAST_QRS_MV = 0.15
"""Least height of a QRS complex from peak to peak."""
QRS_REACH = 10
"""Samples on each side of an R peak in which its QRS complex lies: 80 ms."""


def drop_low_peaks(ring: SampleRing, peaks: Sequence[RPeak]) -> list[RPeak]:
    """Return the R peaks around which the signal in `ring` moves by LEAST_QRS_MV; those next to a gap stay."""
    if not peaks:
        return []
    rows = np.array([peak.row for peak in peaks], np.intp)
    firsts = np.array([peak.sample for peak in peaks], np.int64) - QRS_REACH
    heights = np.ptp(ring.windows(rows, firsts, 2 * QRS_REACH + 1), axis=1)
    return [peak for peak, low in zip(peaks, (heights < LEAST_QRS_MV).tolist(), strict=True) if not low]
