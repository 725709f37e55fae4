"""When an alarm began: by the clock of its run, the same in rows, lists, small screens and browsers."""

from dataclasses import replace

import pytest
from test_dashboard import make, make_bed, shown
from test_dashboard_alarms import ONE, VT, clock, with_alarms

from agent.core.alarm_times import alarm_end_s, alarm_onset_s, is_end_timed
from agent.core.look_back import BedPast
from agent.dashboard.alarm_lines import last_alarm_lines, merge_recent_alarms
from agent.dashboard.styles import UNICODE_GLYPHS
from agent.recording.past_records import place_past_alarm
from agent.web.ward_text import alarm_fields
from model.records.resample import FS

BACKFILLED = replace(VT, announced_s=1060.0)
"""Its samples arrived long after they were measured: by the clock of the run it began at 1054."""
BED = with_alarms(make_bed(), BACKFILLED)
ONSET_S = 1060.0 - (30 * FS - VT.onset) / FS


def text_of(lines: list[list]) -> list[str]:  # type: ignore[type-arg]
    return ["".join(segment.text for segment in line) for line in lines]


def test_the_clock_of_the_run() -> None:
    """The head of the run and its time say when a sample was measured, however late it arrived."""
    assert alarm_onset_s(BACKFILLED, BED) == pytest.approx(ONSET_S)
    assert alarm_onset_s(BACKFILLED) == pytest.approx(1060.0 - 0.8)
    over = replace(BACKFILLED, ended=VT.onset + 2 * FS)
    assert alarm_end_s(over, BED) == pytest.approx(ONSET_S + 2)
    assert alarm_end_s(BACKFILLED, BED) is None


def test_no_alarm_began_in_the_future() -> None:
    """Of a record that is sent faster than real time, no alarm began later than its samples arrived."""
    assert alarm_onset_s(replace(VT, announced_s=1000.0), BED) == pytest.approx(1000.0 - 0.8)


def test_an_earlier_run() -> None:
    """The run before the present one has a clock as long as it is known, then the arrival of its samples says it."""
    before = replace(BACKFILLED, run="before")
    assert alarm_onset_s(before, replace(BED, run_starts=(("before", 900.0), ("run", 1030.0)))) == pytest.approx(924.0)
    assert alarm_onset_s(before, BED) == pytest.approx(1060.0 - 0.8)


@pytest.mark.parametrize("delay_s", [0.0, 0.4, 3.0, 35.0])
def test_rows_lists_and_browsers_agree(delay_s: float) -> None:
    """However late the samples came, the row, both lists and the browser name the same second."""
    alarm = replace(BACKFILLED, announced_s=ONSET_S + 0.8 + delay_s)
    bed = with_alarms(make_bed(), alarm)
    time = clock(ONSET_S)
    row = shown(make(bed, now_s=1100.0), ONE, 80, 24)[1]
    assert f"{time} ({int(1100 - ONSET_S)} s)" in row
    assert f"{time} !!! VT" in text_of(last_alarm_lines(bed, 60, 4, UNICODE_GLYPHS))[1]
    past = place_past_alarm(alarm, ONSET_S, [])
    ward = make(bed, now_s=1100.0, past=BedPast("bed-1", alarms=(past,)))
    view = replace(ONE, page="alarms")
    assert any(f" {time} " in line and "V beats" in line for line in shown(ward, view, 120, 30)[3:])
    assert alarm_fields(alarm, bed)["since_s"] == pytest.approx(ONSET_S)
    age = int(1100 - ONSET_S)
    assert f"0:{age}" in "\n".join(shown(make(bed, now_s=1100.0), ONE, 40, 12))


def test_the_newest_first() -> None:
    """The last alarms are in the order in which they began, not in that of their arrival."""
    early = replace(VT, condition="couplet", onset=2000, announced=2100, announced_s=1070.0)
    bed = replace(make_bed(), last_alarms=(early, VT))
    assert merge_recent_alarms(bed) == [VT, early]


def test_what_no_sample_ends_has_no_length() -> None:
    """Without data no sample passes: nothing says that the loss lasted 0 s."""
    lost = replace(VT, condition="no data", ended=VT.onset, text="no data for 10 s")
    assert not is_end_timed(lost)
    bed = with_alarms(make_bed(), lost)
    ward = make(bed, past=BedPast("bed-1", alarms=(place_past_alarm(lost, ONSET_S, []),)))
    for view in (ONE, replace(ONE, page="alarms")):
        text = "\n".join(shown(ward, view, 120, 36))
        assert "0.0 ms" not in text
        assert "over" in text
    assert "over: since" in shown(ward, ONE, 120, 36)[1]


def test_a_rule_between_runs() -> None:
    """In the list of alarms a line says where the device has restarted, and the chosen alarm stays in sight."""
    alarms = tuple(
        place_past_alarm(replace(VT, run=f"run-{i // 2}", onset=100 * i, announced=100 * i), 1000.0 - i, [])
        for i in range(40)
    )
    ward = make(make_bed(), past=BedPast("bed-1", alarms=alarms))
    for row in range(40):
        lines = shown(ward, replace(ONE, page="alarms", row=row), 80, 24)
        assert any(clock(1000.0 - row) in line for line in lines)
    assert sum("device restarted" in line for line in shown(ward, replace(ONE, page="alarms"), 100, 70)) == 19
