"""QT corrected for the heart rate: what QT would be at 60 beats/min."""

from dataclasses import dataclass

from model.intervals.beat_intervals import BeatIntervals


@dataclass(frozen=True, slots=True)
class CorrectedQT:
    """QTc in milliseconds by two formulas.

    `bazett_ms`: Bazett 1920, doi:10.1111/j.1542-474X.1997.tb00325.x; too long at high rates, too short at low ones.
    `fridericia_ms`: Fridericia 1920, doi:10.1111/j.0954-6820.1920.tb18266.x.
    """

    bazett_ms: float
    fridericia_ms: float


def corrected_qt(qt_ms: float, rr_s: float) -> CorrectedQT:
    """Return QTc for a QT interval in milliseconds and an RR interval in seconds.

    Raises ValueError if the RR interval is not positive.

    >>> corrected_qt(400.0, 1.0)
    CorrectedQT(bazett_ms=400.0, fridericia_ms=400.0)
    """
    if not rr_s > 0:
        raise ValueError(f"an RR interval must be positive, not {rr_s:g} s")
    return CorrectedQT(qt_ms / rr_s**0.5, qt_ms / rr_s ** (1 / 3))


def correct_measured_qt(found: BeatIntervals) -> CorrectedQT | None:
    """Return QTc of a measured beat; None if QT or RR is unknown."""
    if found.qt.ms is None or found.rr_s is None:
        return None
    return corrected_qt(found.qt.ms, found.rr_s)
