"""The page of one bed in a small terminal: what gives way, and that the trace does not."""

from dataclasses import replace

import pytest
from test_dashboard import make, make_bed
from test_dashboard_alarms import COUPLET, HIGH_RATE, VT, with_alarms

from agent.core.bed_settings import BedSettings
from agent.core.views import BedSummary, BedView, ReferenceView, WardSnapshot
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.view import DashboardView

ONE = DashboardView(overview=False)
NO_REFERENCE = ReferenceView((), "", "", 0, 0, (None, None), (None, None))


def shown_lines(snapshot: WardSnapshot, width: int = 80, height: int = 24) -> list[str]:
    frame = render_frame(snapshot, layout_view(snapshot, ONE, width, height), width, height)
    return ["".join(part.text for part in line) for line in frame.lines]


def busy_bed() -> BedView:
    """A bed with three alarms, a label and alarms that are off."""
    return replace(with_alarms(make_bed(), VT, HIGH_RATE, COUPLET), settings=BedSettings("A. Bee", off=("pause",)))


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("has_reference", [False, True])
def test_the_wave_has_eight_lines_whatever_stands_above(busy: bool, has_reference: bool) -> None:
    """With alarms, labels and a reference at 80 by 24; the heart rate and the disclaimer stay below it."""
    bed = busy_bed() if busy else make_bed()
    bed = replace(bed, reference=NO_REFERENCE if has_reference else None)
    lines = shown_lines(make(bed))
    first = next(i for i, line in enumerate(lines) if line.startswith("  mV "))
    last = next(i for i, line in enumerate(lines) if " grid " in line)
    assert last - first - 1 - has_reference == 8
    assert any("HEART RATE /min" in line for line in lines[last:])
    assert any("not a medical device" in line for line in lines[last:])


def test_small_terminals_have_two_lines_of_alarms() -> None:
    """The second counts the others; a larger terminal has three."""
    lines = shown_lines(make(busy_bed()))
    assert ["VT" in line for line in lines[2:5]] == [True, False, False]
    assert "+1 more" in lines[3]
    assert not any("COUPLET" in line for line in lines[:6])
    assert any("COUPLET" in line for line in shown_lines(make(busy_bed()), 120, 40)[:6])


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_ward_line_is_never_cut(ascii_only: bool) -> None:
    """What has no room loses its words first: the numbers of low alarms and silenced beds stay."""
    own = BedSettings(off=("pause",))
    snapshot = make(make_bed("a"), make_bed("b"))
    index = tuple(BedSummary(name, settings=own, paused_until_s=1090.0) for name in "ab")
    view = layout_view(replace(snapshot, index=index), DashboardView(ascii=ascii_only, bell=True), 80, 24)
    frame = render_frame(replace(snapshot, index=index), view, 80, 24)
    line = "".join(part.text for part in frame.lines[1])
    mark = "[X]" if ascii_only else "⊗"
    assert all(part in line for part in ("0 low", "0 silenced", "0 no data", f"{mark} 2 "))
