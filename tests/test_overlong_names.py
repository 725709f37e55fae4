"""The name of a bed is as long as a device makes it: on the screen it is cut, and what is said of it stays."""

from dataclasses import replace

import pytest
from rich.cells import cell_len
from test_dashboard import WICKED, make, make_bed
from test_dashboard_alarms import VT, with_alarms

from agent.core.alarm_settings import AlarmConfig
from agent.core.config import Config
from agent.core.views import WardSnapshot
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.view import DashboardView
from agent.wire.packets import check_bed_name
from model.errors import ConfigError

LONG = "bed of the patient " + "x" * 300
DOWN, ENTER, RIGHT = "\x1b[B", "\r", "\x1b[C"


def lines_of(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> list[str]:
    view = layout_view(snapshot, view, width, height)
    lines = ["".join(part.text for part in line) for line in render_frame(snapshot, view, width, height).lines]
    assert {cell_len(line) for line in lines} == {width}
    return lines


def pressed(snapshot: WardSnapshot, keys: str, width: int, height: int, ascii_only: bool = False) -> list[str]:
    """The screen after each of these keys has been pressed."""
    view = DashboardView(overview=False, ascii=ascii_only)
    for key in keys.split(" "):
        view = press_keys(layout_view(snapshot, view, width, height), key, snapshot)
    return lines_of(snapshot, view, width, height)


@pytest.fixture
def limits(settings: Config) -> AlarmConfig:
    return settings.alarms


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("k", "alarms of bed of the patient xxxx… acknowledged"),
        ("m", "bed of the patient xxxx… silenced"),
        ("P", "ALARMS OF bed of the patient xxxx… PAUSED"),
        (f"l {DOWN} {DOWN} {RIGHT} {ENTER}", "bed of the patient xxxx… has these limits now"),
        (f"l {DOWN} {DOWN} {RIGHT} \x1b", "bed of the patient xxxx… left as it was"),
    ],
)
def test_answers_to_keys(limits: AlarmConfig, keys: str, said: str) -> None:
    """What was done stands behind the name, and both have room, in ASCII too."""
    snapshot = make(with_alarms(make_bed(LONG), VT), base_limits=limits)
    assert said in pressed(snapshot, keys, 80, 24)[-1]
    assert said.replace("…", "~") in pressed(snapshot, keys, 80, 24, ascii_only=True)[-1]


@pytest.mark.parametrize("name", [LONG, WICKED])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 12), (40, 10), (50, 1)])
def test_the_name_begins_the_screen(size: tuple[int, int], name: str) -> None:
    """Of a bed, and of a ward; where there is one line, too."""
    snapshot = make(make_bed(name), make_bed("other"))
    begin = name[:6]
    for overview in (False, True):
        assert begin in "\n".join(lines_of(snapshot, DashboardView(overview=overview), *size))


def test_one_line_has_as_much_of_a_name_as_fits() -> None:
    """What is said of the bed comes first."""
    (line,) = lines_of(make(with_alarms(make_bed(LONG), VT)), DashboardView(overview=False), 70, 1)
    assert line == f"!!! VT 0:10 HR 60 bed of the patient {'x' * 32}…"
    usual = make(with_alarms(make_bed("bed-1"), replace(VT, bed="bed-1")))
    assert lines_of(usual, DashboardView(overview=False), 70, 1)[0].rstrip().endswith("HR 60 bed-1")


def test_a_name_that_cannot_be_sent_is_said_short() -> None:
    """In the line of the error."""
    with pytest.raises(
        ConfigError, match=r"^bed 'x{37}\.\.\.' cannot be sent: a bed name of 300 bytes instead of 1 to 64$"
    ):
        check_bed_name("x" * 300)
