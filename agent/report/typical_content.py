"""The section of the typical beats: intervals of the normal one, and what each class looks like."""

from agent.report.beat_measurement import MeasuredBeat
from agent.report.bed_recording import BedRecording
from agent.report.caliper_picture import caliper_picture
from agent.report.document import ReportFigure, ReportSection, ReportTable, SideBySide
from agent.report.ecg_paper import typical_beat_picture
from agent.report.typical_beats import AVERAGED, build_typical_beats

MOST_BESIDE = 3
"""Classes whose typical beats stand beside the intervals; of more the intervals stand below."""


def typical_section(recording: BedRecording, measured: MeasuredBeat | None) -> ReportSection:
    """Return the section of the measured beat and of the typical beat of each class."""
    section = ReportSection("Typical beats")
    typical = build_typical_beats(recording)
    details = f"Median of up to {AVERAGED} beats, over some of these."
    classes = [ReportFigure(typical_beat_picture(typical), details=details)] if typical else []
    if measured is None:
        section.blocks += classes
        return section
    calipers = ReportFigure(caliper_picture(measured))
    if len(typical) <= MOST_BESIDE:
        columns = (calipers,), (_interval_table(measured, wide=False),), tuple(classes)
        section.blocks.append(SideBySide(columns, (0.235, 0.295, 0.47)))
    else:
        section.blocks += [
            SideBySide(((calipers,), tuple(classes)), (0.215, 0.785)),
            _interval_table(measured, wide=True),
        ]
    return section


def _interval_table(measured: MeasuredBeat, wide: bool) -> ReportTable:
    """Return the intervals below each other, or `wide` beside each other."""
    found = measured.intervals
    several = f"{found.leads} leads" if found.leads != 1 else "1 lead"
    caption = f"T{measured.describe()[1:]}, in {several} at {measured.fs:g} Hz; nine in ten errors are below ±"
    rows = measured.rows()
    if found.rr_s is not None:
        rows += (("RR", f"{1000 * found.rr_s:.0f} ms ({60 / found.rr_s:.0f}/min)"),)
    if wide:
        names, lengths = zip(*rows, strict=True)
        return ReportTable(names, (lengths,), "l" * len(rows), (1 / len(rows),) * len(rows), caption)
    return ReportTable(("interval", "length"), rows, "ll", (0.42, 0.58), caption)
