"""The limits page: keys, what they make of the settings of a bed, and its picture in any size."""

from dataclasses import replace

import pytest
from rich.cells import cell_len
from support.viewed import make_bed, make_ward

from agent.core.bed_settings import NO_SETTINGS, SWITCHABLE_CONDITIONS, BedSettings
from agent.core.config import Config
from agent.core.views import BedSummary, WardSnapshot
from agent.dashboard.bed_keys import THAW_NOTE
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.limits_draft import ROWS
from agent.dashboard.view import CHOOSE_NOTE, BedAction, DashboardView, needed_beds

UP, DOWN, RIGHT, LEFT, END, HOME = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[F", "\x1b[H"
OPENED = DashboardView(overview=False)
WICKED = ("\u202egnp.exe", "床位四" * 20, "e\u0301" * 30, "x" * 64, "\U0001f6cf\ufe0f bed")


@pytest.fixture
def ward(settings: Config) -> WardSnapshot:
    return make_ward(settings, make_bed("7"))


def lines(ward: WardSnapshot, view: DashboardView, width: int = 100, height: int = 30) -> list[str]:
    view = layout_view(ward, view, width, height)
    frame = render_frame(ward, view, width, height)
    return ["".join(part.text for part in line) for line in frame.lines]


def test_opens_for_the_chosen_bed(settings: Config, ward: WardSnapshot) -> None:
    """In a ward one has to be chosen, and the picture must be live."""
    both = make_ward(settings, make_bed("a"), make_bed("b"))
    assert press_keys(DashboardView(), "l", both).note == CHOOSE_NOTE
    opened = press_keys(DashboardView(), "nnl", both)
    assert (opened.page, opened.draft and opened.draft.bed) == ("limits", "b")
    assert "b" in needed_beds(opened, both)
    frozen = layout_view(ward, press_keys(OPENED, " ", ward), 80, 24)
    assert press_keys(frozen, "l", ward).note == THAW_NOTE
    assert press_keys(OPENED, "l", make_ward(settings)).page == "beds"


def test_limits_are_changed_and_applied(ward: WardSnapshot) -> None:
    """Arrows choose a row and change it; Enter asks the monitor for all that was changed."""
    view = press_keys(OPENED, "l" + RIGHT + "+" + DOWN + LEFT + "-", ward)
    assert view.actions == ()
    done = press_keys(view, "\r", ward)
    settings = BedSettings(rate_high_bpm=130, rate_low_bpm=40)
    assert done.actions == (BedAction("settings", "7", settings),)
    assert (done.page, done.draft) == ("beds", None)


def test_what_is_left_changes_nothing(ward: WardSnapshot) -> None:
    """Esc, and Enter without a change."""
    left = press_keys(OPENED, "l" + RIGHT + "\x1b", ward)
    assert (left.page, left.actions, left.note) == ("beds", (), "7 left as it was")
    assert press_keys(OPENED, "l\r", ward).actions == ()
    assert press_keys(OPENED, "lq", ward).page == "beds"
    assert press_keys(OPENED, "l\x03", ward).quit


def test_alarms_are_turned_off_and_on(ward: WardSnapshot) -> None:
    """Space, or left and right; in the order of the rows whatever came first."""
    view = press_keys(OPENED, "l" + END + " " + UP + LEFT + UP + LEFT + RIGHT + "\r", ward)
    assert view.actions[0].settings == BedSettings(off=("trigeminy", "V rate high"))
    view = press_keys(OPENED, "l" + END + "  \r", ward)
    assert view.actions == ()


def test_labels_are_typed(ward: WardSnapshot) -> None:
    """Every character belongs to the label, also those that are keys elsewhere."""
    view = press_keys(OPENED, "l" + HOME + "Q l?+x\x7f" + DOWN + "room 4\r", ward)
    assert view.actions[0].settings == BedSettings(patient="Q l?+", place="room 4")
    view = press_keys(OPENED, "l" + HOME + "x" * 99 + "\r", ward)
    assert view.actions[0].settings.patient == "x" * 64
    view = press_keys(OPENED, "l" + HOME + "x" * 99, ward)
    assert view.note == "a label has 64 characters at most"
    view = press_keys(OPENED, "l" + HOME + "\u202e\x00", ward)
    assert view.note == "patient has characters that cannot be shown"
    assert press_keys(view, "\r", ward).actions == ()
    view = press_keys(OPENED, "l" + HOME + "\U0001f469\u200d\U0001f467\r", ward)
    assert view.actions[0].settings == BedSettings(patient="\U0001f469\U0001f467")


def test_a_row_goes_back_to_what_holds_for_all(settings: Config) -> None:
    """Backspace takes away what the bed has of its own."""
    own = BedSettings(rate_high_bpm=150, off=("pause",))
    ward = make_ward(settings, replace(make_bed("7"), settings=own))
    view = press_keys(OPENED, "l\x7f" + DOWN * (5 + SWITCHABLE_CONDITIONS.index("pause")) + "\x7f\r", ward)
    assert view.actions == (BedAction("settings", "7", NO_SETTINGS),)


def test_limits_that_contradict_are_not_reached(ward: WardSnapshot) -> None:
    """The step is not made, and the bottom line says why."""
    view = press_keys(OPENED, "l" + LEFT * 40, ward)
    assert view.draft is not None
    assert view.draft.settings == BedSettings(rate_high_bpm=55)
    assert view.note == "rate_low_bpm must be less than rate_high_bpm"
    assert view.note in lines(ward, view)[-1]
    for row in range(len(ROWS)):
        for keys in ("+" * 400, "-" * 400):
            press_keys(OPENED, "l" + HOME + DOWN * row + keys + "\r", ward)


@pytest.mark.parametrize(
    ("row", "key", "settings_then", "why"),
    [
        (DOWN, LEFT, BedSettings(rate_low_bpm=30), "extreme bradycardia is alarmed below 30"),
        ("", RIGHT, BedSettings(rate_high_bpm=200), "extreme tachycardia is alarmed above 200"),
    ],
)
def test_arrows_stop_where_an_extreme_rate_would_have_no_alarm(
    settings: Config, row: str, key: str, settings_then: BedSettings, why: str
) -> None:
    """Also where the bound is no whole step away; the bottom line says why."""
    ward = make_ward(settings, replace(make_bed("7"), settings=BedSettings(rate_low_bpm=47, rate_high_bpm=147)))
    view = press_keys(OPENED, "l" + row + key * 60, ward)
    assert view.draft is not None
    name = "rate_low_bpm" if row else "rate_high_bpm"
    assert getattr(view.draft.settings, name) == getattr(settings_then, name)
    assert why in lines(ward, view)[-1]


def test_the_page_shows_the_rate_beside_the_limits(settings: Config) -> None:
    """With what follows from them, what holds for all beds, and what is off."""
    ward = make_ward(
        settings, replace(make_bed("7"), settings=BedSettings("A. Bee", rate_high_bpm=150, off=("pause",)))
    )
    text = "\n".join(lines(ward, press_keys(OPENED, "l", ward)))
    for part in ("LIMITS OF 7", "now  72", "extreme above 170", "all beds 120", "⊗ ALARM OFF", "A. Bee", "enter apply"):
        assert part in text, part
    text = "\n".join(lines(ward, press_keys(replace(OPENED, ascii=True), "l", ward)))
    assert "[X] ALARM OFF" in text
    assert text.isascii()


@pytest.mark.parametrize("size", [(40, 10), (60, 12), (80, 24), (120, 40), (250, 60)])
@pytest.mark.parametrize("name", ["7", *WICKED])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_any_size_and_name(settings: Config, size: tuple[int, int], name: str, ascii_only: bool) -> None:
    """Every line is as wide as the terminal, and the chosen row is in sight."""
    label = "".join(char for char in name if char.isprintable())[:64]
    bed = replace(make_bed(name), settings=BedSettings(label, label, off=SWITCHABLE_CONDITIONS))
    for ward in (make_ward(settings, bed), make_ward(settings, bed, make_bed("b"))):
        for row in range(len(ROWS)):
            view = press_keys(DashboardView(bed=name, ascii=ascii_only), "l" + HOME + DOWN * row, ward)
            shown = lines(ward, view, *size)
            assert [cell_len(line) for line in shown] == [size[0]] * size[1]
            assert sum(line.startswith(">" if ascii_only else "▌") for line in shown) == 1
            assert all(line.isprintable() for line in shown)


def test_a_bed_that_is_not_there_in_full(settings: Config) -> None:
    """The page waits for its rate; without known limits there is no page."""
    ward = replace(make_ward(settings, make_bed("7")), beds=())
    assert "heart rate now --" in "\n".join(lines(ward, press_keys(OPENED, "l", ward)))
    unknown = replace(ward, base_limits=None, index=(BedSummary("7"),))
    assert press_keys(press_keys(OPENED, "l", unknown), RIGHT, unknown).page == "beds"


def test_a_narrow_page_keeps_the_values(settings: Config) -> None:
    """Short words, the limit of the bed, and that of all beds."""
    ward = make_ward(settings, replace(make_bed("7"), settings=BedSettings(rate_high_bpm=150, asystole_s=8)))
    text = "\n".join(lines(ward, press_keys(OPENED, "l" + DOWN * 2, ward), 40, 20))
    assert "150 /min    all beds 120" in text
    assert "8 s         all beds 4 s" in text
