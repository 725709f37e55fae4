"""The help page, the bottom line of keys, and the question before the end."""

from dataclasses import replace

import pytest
from rich.cells import cell_len
from support.viewed import make_bed, make_ward

from agent.core.bed_settings import BedSettings
from agent.core.config import Config
from agent.core.messages import Alarm
from agent.core.views import WardSnapshot
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.help_keys import press_help_key
from agent.dashboard.help_page import HEAD_WIDTH, count_help_lines
from agent.dashboard.key_bar import CHOOSE_LABEL, bottom_line
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.key_table import KEYS, PAGE_BARS, keys_markdown
from agent.dashboard.view import DashboardView
from model.records.wfdb_records import CLASSES

DOWN, UP, END, HOME, PAGE_DOWN = "\x1b[B", "\x1b[A", "\x1b[F", "\x1b[H", "\x1b[6~"
ONE = DashboardView(overview=False)
SIZES = [(40, 10), (41, 11), (60, 14), (79, 23), (80, 24), (109, 30), (110, 30), (120, 40), (250, 70)]


@pytest.fixture
def ward(settings: Config) -> WardSnapshot:
    return make_ward(settings, make_bed("7"))


def lines(ward: WardSnapshot, view: DashboardView, width: int = 100, height: int = 30) -> list[str]:
    view = layout_view(ward, view, width, height)
    frame = render_frame(ward, view, width, height)
    return ["".join(part.text for part in line) for line in frame.lines]


def whole_page(ward: WardSnapshot, view: DashboardView, width: int) -> str:
    """The page in a terminal that is high enough."""
    return " ".join(" ".join(lines(ward, view, width, 150)).split())


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_help_names_everything(settings: Config, ascii_only: bool, width: int) -> None:
    """All keys, all letters, the marks of priorities and of what is off, and the limits in force."""
    own = BedSettings(rate_high_bpm=150, off=("couplet",))
    ward = make_ward(settings, replace(make_bed("7"), settings=own))
    text = whole_page(ward, press_keys(replace(ONE, ascii=ascii_only), "?", ward), width)
    for key in KEYS:
        assert key.keys in text
        assert key.meaning.split()[0] in text
    for name in CLASSES:
        assert f" {name} " in text
    words = ["LIMITS IN FORCE, 7", "50 to 150", "extreme below 40", "OFF", "couplet", "!!! high", "!! medium", "! low"]
    words += ["AUDIO PAUSED", "ALARMS PAUSED", "ALARM OFF", "[X]" if ascii_only else "⊗", "[:]" if ascii_only else "◌"]
    words += ["HEART RATE", "LAST ALARMS", "MONITOR"]
    for word in words:
        assert word in text, word
    assert not ascii_only or text.isascii()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("beds", [0, 1, 3])
def test_help_fits_any_terminal_and_scrolls(settings: Config, size: tuple[int, int], beds: int) -> None:
    """Each line is as wide as the terminal; going down shows every line, and one key goes back all the way."""
    ward = make_ward(settings, *(make_bed(str(i)) for i in range(beds)))
    view = press_keys(layout_view(ward, DashboardView(), *size), "?", ward)
    seen: list[str] = []
    for _ in range(200):
        shown = lines(ward, view, *size)
        assert [cell_len(line) for line in shown] == [size[0]] * size[1]
        seen += shown
        above, view = view, press_keys(view, DOWN, ward)
        if view == above:
            break
    assert view == above
    text = " ".join(seen)
    assert "KEYS" in text
    assert "ledger" in text
    bottom = view.row
    assert view.row <= count_help_lines(ward, view)
    assert press_keys(view, UP, ward).row == max(0, bottom - 1)
    assert press_keys(view, HOME, ward).row == 0
    assert press_keys(view, HOME + END, ward).row == bottom
    assert press_keys(view, HOME + " " * 200, ward).row == bottom


def test_help_is_left(ward: WardSnapshot) -> None:
    """By Esc, ? or q; Ctrl-C ends the monitor."""
    for key in ("\x1b", "?", "q"):
        left = press_keys(ONE, "?" + DOWN + key, ward)
        assert (left.page, left.quit) == ("beds", False)
    assert press_keys(ONE, "?\x03", ward).quit
    assert press_keys(ONE, "/?", ward).typed == "?"
    assert press_help_key(press_keys(ONE, "?", ward), "x", ward).page == "help"


def test_an_alarm_is_seen_on_every_page(settings: Config) -> None:
    """A page hides no alarm of the bed, and no pause."""
    alarm = Alarm("7", "run", "asystole", "high", "no QRS for 4 s", 100, 200, 990.0)
    bed = replace(make_bed("7"), alarms=(alarm,))
    for key in "?l":
        ward = make_ward(settings, bed)
        assert "!!! ASYSTOLE" in "\n".join(lines(ward, press_keys(ONE, key, ward)))
        paused = make_ward(settings, replace(make_bed("7"), paused_until_s=1060.0))
        assert "ALARMS PAUSED 1:00" in "\n".join(lines(paused, press_keys(ONE, key, paused)))
        both = make_ward(settings, bed, make_bed("8"))
        assert "1 high" in "\n".join(lines(both, press_keys(DashboardView(bed="8"), key, both)))


def test_the_bottom_line_fits_every_width(settings: Config) -> None:
    """The most important keys first, none of them torn, in the ward, on a bed and on every page."""
    one, both = make_ward(settings, make_bed("7")), make_ward(settings, make_bed("a"), make_bed("b"))
    for ward, view in (
        (one, ONE),
        (both, DashboardView()),
        (one, press_keys(ONE, "?", one)),
        (one, press_keys(ONE, "l", one)),
    ):
        known = {f"{key.keys} {key.label}" for key in KEYS}
        known |= {f"{keys} {label}" for bar in PAGE_BARS.values() for keys, label in bar} | {f"n p {CHOOSE_LABEL}"}
        counts = []
        for width in range(20, 260):
            line = "".join(part.text for part in bottom_line(ward, view, width, ""))
            assert cell_len(line) == width
            shown = [part for part in line.strip().split("  ") if part]
            assert set(shown) <= known, width
            counts.append(len(shown))
        assert counts == sorted(counts)
        assert counts[0] >= 1


def test_one_table_of_keys() -> None:
    """No key means two things, and each fits the help page."""
    keys = [key for row in KEYS for key in row.keys.split()]
    assert len(keys) == len(set(keys))
    assert all(len(row.keys) < HEAD_WIDTH for row in KEYS)
    assert keys_markdown().count("\n") == len(KEYS) + 1


# the end


def test_a_single_bed_ends_at_once(ward: WardSnapshot) -> None:
    """Where nothing is recorded, nothing is lost."""
    assert press_keys(ONE, "q", ward).quit


@pytest.mark.parametrize("recording", ["", "recordings/night"])
def test_what_would_be_lost_is_asked_for(settings: Config, recording: str) -> None:
    """q asks; q again ends, any other key goes on and does nothing else."""
    beds = (make_bed("a"),) if recording else (make_bed("a"), make_bed("b"))
    ward = make_ward(settings, *beds, recording=recording)
    asked = press_keys(DashboardView(), "q", ward)
    assert (asked.quit, asked.leaving) == (False, True)
    for width in (80, 120):
        last = lines(ward, asked, width)[-1]
        assert ("stop recording recordings/night?" if recording else "stop watching 2 beds?") in last
        assert "q again ends, another key goes on" in last
    assert press_keys(asked, "q", ward).quit
    assert not press_keys(asked, "\x1b", ward).leaving
    other = press_keys(asked, "b", ward)
    assert (other.leaving, other.bell, other.quit) == (False, False, False)
    assert not press_keys(asked, "?q", ward).quit
    assert press_keys(DashboardView(), "\x03", ward).quit


@pytest.mark.parametrize("size", [(20, 3), (40, 12), (79, 30), (12, 1)])
def test_a_small_terminal_asks_in_its_last_line(settings: Config, size: tuple[int, int]) -> None:
    """A recording is never ended unasked."""
    ward = make_ward(settings, make_bed("a"), recording="recordings/night")
    view = layout_view(ward, ONE, *size)
    asked = press_keys(view, "q", ward)
    assert not asked.quit
    shown = lines(ward, asked, *size)
    assert "q again" in shown[-1]
    assert [cell_len(line) for line in shown] == [size[0]] * size[1]
    assert press_keys(asked, "q", ward).quit


@pytest.mark.parametrize(
    ("size", "key", "said"),
    [
        ((20, 3), "?", "? needs 40x10"),
        ((20, 3), "l", "l needs 40x10"),
        ((20, 3), "A", "A needs 80x24"),
        ((40, 12), "t", "t needs 80x24"),
        ((40, 12), "c", "c needs 80x24"),
        ((40, 12), "?", ""),
        ((80, 24), "t", ""),
    ],
)
def test_what_does_not_fit_says_so(settings: Config, size: tuple[int, int], key: str, said: str) -> None:
    """In the last line, and the key does nothing else."""
    ward = make_ward(settings, make_bed("a"))
    view = press_keys(layout_view(ward, ONE, *size), key, ward)
    assert view.note == said
    if said:
        assert (view.page, view.freezing) == ("beds", False)
        assert said in lines(ward, view, *size)[-1]


@pytest.mark.parametrize("page", ["?", "l"])
def test_keys_of_alarms_act_on_pages(settings: Config, page: str) -> None:
    """Where they are offered; where a label is typed they are not, and the bottom line says another way."""
    alarm = Alarm("7", "run", "asystole", "high", "no QRS for 4 s", 100, 200, 990.0)
    ward = make_ward(settings, replace(make_bed("7"), alarms=(alarm,)))
    opened = press_keys(ONE, page, ward)
    assert "m silence" in "\n".join(lines(ward, opened)[:5])
    for key, kind in (("k", "acknowledge"), ("m", "silence"), ("P", "pause")):
        pressed = press_keys(opened, key, ward)
        assert (pressed.page, [(one.kind, one.bed) for one in pressed.actions]) == (opened.page, [(kind, "7")])
    if page == "l":
        typing = press_keys(opened, HOME + "m", ward)
        assert typing.actions == ()
        assert "m silence" not in "\n".join(lines(ward, typing)[:5])
        assert "esc, then m silence" in lines(ward, typing)[-1]


@pytest.mark.parametrize("page", ["?", "l"])
def test_a_narrow_page_names_the_alarm(settings: Config, page: str) -> None:
    """Its name first, whatever else there is no room for."""
    alarm = Alarm("7", "run", "asystole", "high", "no QRS for 4 s", 100, 200, 990.0)
    ward = make_ward(settings, replace(make_bed("7"), alarms=(alarm, replace(alarm, condition="pause"))))
    shown = lines(ward, press_keys(layout_view(ward, ONE, 40, 12), page, ward), 40, 12)
    assert any(line.startswith(" !!! ASYSTOLE") and "+1" in line for line in shown)


def test_a_long_folder_does_not_hide_the_answers(settings: Config) -> None:
    """Nor does one with characters that move the cursor."""
    ward = make_ward(settings, make_bed("a"), recording="\x1b[2J" + "床/" * 200)
    last = lines(ward, press_keys(ONE, "q", ward), 80, 24)[-1]
    assert "q again ends, another key goes on" in last
    assert last.isprintable()
    assert cell_len(last) == 80
