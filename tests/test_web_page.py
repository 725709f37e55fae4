"""The page of the ward in a real browser: what it shows, says and does, and what it does when the monitor is gone."""

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_process import AgentProcess
from support.broker import free_port
from support.browser import (
    CONTRASTS,
    DESKTOP,
    NAMELESS,
    NO_BROWSER,
    PHONE,
    TRACE_MOVES,
    WAVES_MOVE,
    Viewer,
    open_browser,
)
from support.network_lock import network_lock
from support.staged_ward import StagedWard

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)]
ROOT = Path(__file__).parents[1]
TOKEN = "a token of the tests"
TOKEN_OF_A_FILE = "a-token-of-the-tests-1234"
NAMES = [f"ICU-{number:02}" for number in range(1, 7)]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    '" onmouseover="alert(3)" x="',
    "\u202egnitirw ot tfel ot thgir",
    "שלום עולם",
    "x" * 300,
    "a/b?c#d%41&e=f",
    "__proto__",
    "🫀" * 40,
]
"""Names of beds that a page which trusts them would run, or be broken by."""
DRAWN_TEXTS = """() => { window.drawn = new Set();
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
        window.drawn.add(text); return draw.call(this, text, ...rest); }; }"""
"""Note from now on which texts are drawn."""
Ward = Callable[..., StagedWard]
Open = Callable[..., Viewer]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def ward() -> Iterator[Ward]:
    """Open wards that are closed at the end."""
    wards = list[StagedWard]()

    def open_ward(names: list[str] = NAMES, token: str = "") -> StagedWard:
        wards.append(StagedWard(names, token))
        wards[-1].open()
        return wards[-1]

    yield open_ward
    for each in wards:
        each.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Open]:
    """Open pages; at the end none of them may have caused an error, or asked another host for anything."""
    viewers = list[Viewer]()

    def open_page(staged: StagedWard, view: str = "", size: tuple[int, int] = DESKTOP, **context: Any) -> Viewer:
        who = {key: context.pop(key, "") for key in ("token", "name")}
        viewers.append(Viewer(browser, staged.url, size, **context).open(view, **who))
        return viewers[-1]

    with network_lock(shared=True):
        yield open_page
    troubles = [trouble for viewer in viewers for trouble in viewer.troubles]
    for viewer in viewers:
        viewer.close()
    assert troubles == []


def test_the_waves_of_the_wall_move(ward: Ward, look: Open) -> None:
    """A sweep: within a second some columns are drawn anew, the others stand, and the erase bar is empty."""
    viewer = look(ward())
    viewer.card("ICU-01").locator(".rate", has_text="75").wait_for()
    time.sleep(2)  # until the height of the trace has been chosen
    moved = viewer.card("ICU-01").evaluate(WAVES_MOVE)
    assert 20 < moved["changed"] < 0.6 * moved["width"]
    assert 8 <= moved["empty"] < 60


def test_a_card_says_what_is_known(ward: Ward, look: Open) -> None:
    """Bed, patient, place, rate and rhythm; marks for what is silenced, paused or off, all different."""
    staged = ward()
    now_s = time.time()
    staged.tell("ICU-02", patient="Ada Lovelace", place="Room 4", rhythm="AF", rate=91, off=["V RATE"])
    staged.tell("ICU-03", silenced_until_s=now_s + 100, paused_until_s=now_s + 600)
    viewer = look(staged)
    card = viewer.card("ICU-02")
    card.get_by_text("Ada Lovelace · Room 4").wait_for()
    assert card.locator(".rate").inner_text() == "91"
    assert card.locator(".quiet").inner_text() == "AF"
    assert card.locator(".mark.off").inner_text() == "off: V RATE"
    marks = viewer.card("ICU-03").locator(".mark").all_inner_texts()
    assert re.fullmatch(r"ALARMS PAUSED (\d:\d\d|10:00)", marks[0])
    assert re.fullmatch(r"silenced 1:\d\d", marks[1])


def test_an_alarm_is_shown_at_once_and_told_once(ward: Ward, look: Open) -> None:
    """Mark, name and age on the card, first of all; the live region says it once, not with each new age."""
    staged = ward()
    viewer = look(staged)
    viewer.card("ICU-04").wait_for()
    viewer.page.evaluate("""() => { window.told = [];
        new MutationObserver(() => told.push(document.getElementById('say-alert').textContent))
            .observe(document.getElementById('say-alert'), {childList: true, characterData: true, subtree: true}); }""")
    staged.raise_alarm("ICU-04", "high", "ventricular fibrillation", "VF", "probability of VF 0.93")
    viewer.card("ICU-04").get_by_text("!!! VF").wait_for(timeout=3000)
    assert viewer.page.locator(".bed-name").first.inner_text() == "ICU-04"
    viewer.card("ICU-04").get_by_text(re.compile("^[2-9] s")).wait_for()
    assert viewer.page.get_by_role("alert").inner_text().startswith("Bed ICU-04, high priority: ventricular")
    assert len(viewer.page.evaluate("told")) == 1
    assert "high priority: ventricular fibrillation" in viewer.card("ICU-04").get_attribute("aria-label")


def test_high_priority_flashes_twice_a_second_unless_motion_is_unwanted(ward: Ward, look: Open) -> None:
    """Red flashes, at 2 Hz where the machine has the time for it; who asks for reduced motion sees it steady."""
    staged = ward()
    staged.raise_alarm("ICU-01", "high", "asystole", "ASYSTOLE")
    grounds = """() => [true, false].map(off => { document.documentElement.toggleAttribute('data-high-off', off);
        return getComputedStyle(document.querySelector('.card .alarm.high')).backgroundColor; })"""
    turns = """() => new Promise(done => { const root = document.documentElement; let turns = 0;
        new MutationObserver(seen => { turns += seen.length; })
            .observe(root, {attributes: true, attributeFilter: ['data-high-off']});
        setTimeout(() => done(turns), 2000); })"""
    for motion, colours in (("no-preference", 2), ("reduce", 1)):
        viewer = look(staged, reduced_motion=motion)
        viewer.card("ICU-01").get_by_text("!!! ASYSTOLE").wait_for()
        assert len(set(viewer.page.evaluate(grounds))) == colours
        assert 3 <= viewer.page.evaluate(turns) <= 10


def test_no_data_has_its_age(ward: Ward, look: Open) -> None:
    """A bed that is silent says for how long, when it was heard last, and the rate then; it has none now."""
    staged = ward()
    viewer = look(staged)
    staged.tell("ICU-05", state="no data", last_heard_s=time.time() - 25, last_rate=82, last_rate_age_s=26)
    said = r"NO DATA for 2\d s, last heard \d\d:\d\d:\d\d · rate 82 was 26 s ago"
    viewer.card("ICU-05").get_by_text(re.compile(said)).wait_for()
    staged.tell("ICU-06", state="refused", refusal="two devices send as this bed")
    viewer.card("ICU-06").get_by_text("REFUSED: two devices send as this bed").wait_for()
    assert viewer.card("ICU-05").locator(".rate").inner_text() == "--"


def test_sixty_four_beds_move_smoothly(ward: Ward, look: Open) -> None:
    """All beds of a page fit on a screen and are drawn; benchmarks measure how fast."""
    viewer = look(ward([f"W-{number:02}" for number in range(64)]))
    viewer.card("W-63").wait_for()
    assert viewer.page.locator(".card").count() == 64
    assert viewer.page.evaluate("document.getElementById('main').scrollHeight <= innerHeight")
    frames = viewer.page.evaluate(
        "new Promise(done => { const from = ecgStats.frames; setTimeout(() => done(ecgStats.frames - from), 3000) })"
    )
    assert frames > 24  # 8 a second, on a machine that others use


def test_pages_beyond_what_fits(ward: Ward, look: Open) -> None:
    """More beds than fit are on further pages, of which each asks for its own waves."""
    staged = ward([f"P-{number:03}" for number in range(90)])
    viewer = look(staged)
    viewer.page.get_by_text("beds 1 to 64 of 90").wait_for()
    viewer.page.get_by_label("Next page").click()
    viewer.page.get_by_text("beds 65 to 90 of 90").wait_for()
    viewer.card("P-089").locator(".rate", has_text="75").wait_for()
    assert viewer.card("P-089").evaluate(WAVES_MOVE)["changed"] > 20
    viewer.page.locator("#find").fill("p-003")
    viewer.page.keyboard.press("Enter")
    viewer.page.get_by_role("heading", name="P-003").wait_for()


def test_hostile_names_are_only_text(ward: Ward, look: Open) -> None:
    """Names of beds and patients, alarms and events are shown as they are, and never run."""
    staged = ward(HOSTILE)
    for name in HOSTILE:
        staged.tell(name, patient=name, place=name, rhythm=name)
        staged.raise_alarm(name, "low", name, name, name)
    for size in (DESKTOP, PHONE):
        viewer = look(staged, size=size)
        for name in HOSTILE:
            viewer.page.locator(".bed-name").filter(has_text=name).first.wait_for()
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for name in HOSTILE:
            viewer.page.evaluate("name => { location.hash = '#bed/' + encodeURIComponent(name) }", name)
            viewer.page.wait_for_function("name => document.querySelector('.bed-title').textContent === name", arg=name)
            viewer.page.locator(".banners .alarm.low").wait_for()
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert viewer.page.locator("img, main script").count() == 0


def test_the_order_holds_still_under_the_hand(ward: Ward, look: Open) -> None:
    """A card that is pointed at stays where it is, though another one becomes urgent; left alone, it gives way."""
    staged = ward()
    viewer = look(staged)
    viewer.card("ICU-01").hover()
    viewer.page.mouse.move(60, 110, steps=3)
    staged.raise_alarm("ICU-06", "high", "asystole", "ASYSTOLE")
    viewer.card("ICU-06").get_by_text("!!! ASYSTOLE").wait_for()
    time.sleep(1)
    assert viewer.page.locator(".bed-name").first.inner_text() == "ICU-01"
    viewer.page.mouse.move(700, 5)
    viewer.page.wait_for_function("() => document.querySelector('.bed-name').textContent === 'ICU-06'", timeout=15000)


def test_one_bed_in_full(ward: Ward, look: Open) -> None:
    """Both leads on paper with its scale, rate, classes, samples, events, trends, and the strip of an alarm."""
    staged = ward()
    staged.raise_alarm("ICU-02", "medium", "heart rate high", "HR HIGH", "heart rate 134, limit 120")
    staged.beds["ICU-02"]["alarms"][0]["since_s"] -= 60  # long enough for its strip to be whole
    viewer = look(staged, "#bed/ICU-02")
    page = viewer.page
    page.locator(".big-rate", has_text="75").wait_for()
    assert page.locator(".lead-name").all_inner_texts() == ["II · signal good", "V5 · signal fair · not heard"]
    assert "25 mm/s · 10 mm/mV · large box 200 ms, 0.5 mV" in page.locator(".lead-scale").first.inner_text()
    assert page.locator(".lead").first.evaluate(TRACE_MOVES)["changed"] > 20
    assert "heart rate 134, limit 120" in page.locator(".banners").inner_text()
    assert "sent\n1,500\n= analysed\n1,400\n+ missing\n100" in page.locator(".bed-low").inner_text()
    assert page.locator(".trend-chart canvas").count() == 3
    page.locator(".alarm-row").click()
    page.get_by_label(re.compile("Strip of heart rate high, beats N N V N S")).wait_for()
    page.keyboard.press("-")
    page.get_by_text("25 mm/s · 5 mm/mV · large box 200 ms, 1 mV").first.wait_for()
    page.keyboard.press("Escape")
    viewer.card("ICU-02").wait_for()


def test_letters_stand_over_the_beats(ward: Ward, look: Open) -> None:
    """Above the trace of a bed there are letters in the colour of their class: green N, red V."""
    viewer = look(ward(), "#bed/ICU-02", color_scheme="dark")
    colours = """() => { const canvas = document.querySelector('.lead canvas:last-child');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, 18).data; const found = new Set();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200)
            found.add(data[i] > data[i + 1] + 60 ? 'red' : data[i + 1] > data[i] + 60 ? 'green' : 'other');
        return found.has('red') && found.has('green'); }"""
    viewer.page.locator(".lead").first.wait_for()
    viewer.page.wait_for_function(colours)


def test_letters_of_doubtful_beats_are_small(ward: Ward, look: Open) -> None:
    """Above the trace, on a card and on a strip, with a legend, and how sure the net is of the last beat."""
    staged = ward()
    staged.raise_alarm("ICU-02", "medium", "heart rate high", "HR HIGH")
    viewer = look(staged, "#bed/ICU-02")
    page = viewer.page
    page.evaluate(DRAWN_TEXTS)
    page.wait_for_function("() => ['N', 'V', 's'].every((letter) => drawn.has(letter))")
    assert page.evaluate("drawn.has('S')") is False
    legend = page.locator(".lead-letters").first
    for said in ("last beat s, 50% sure · small letter: under 80%", "last beat V, 95% sure · small letter: under 80%"):
        legend.filter(has_text=said).wait_for()
    page.evaluate(DRAWN_TEXTS)
    page.locator(".alarm-row").click()
    page.get_by_label(re.compile("Strip of heart rate high")).wait_for()
    assert page.evaluate("[...drawn].filter((text) => text.toUpperCase() === 'S')") == ["s"]
    page.keyboard.press("Escape")
    viewer.card("ICU-02").wait_for()
    page.evaluate(DRAWN_TEXTS)
    page.wait_for_function("() => drawn.has('s') && drawn.has('V')")
    assert page.evaluate("drawn.has('S')") is False


def test_acknowledge_and_silence_with_a_name(ward: Ward, look: Open) -> None:
    """The name is asked once, and sent along; the other viewer sees the alarm acknowledged."""
    staged = ward(token=TOKEN)
    staged.raise_alarm("ICU-02", "medium", "heart rate high", "HR HIGH")
    first, second = look(staged, "#bed/ICU-02", token=TOKEN), look(staged, token=TOKEN)
    second.card("ICU-02").get_by_text("!! HR HIGH").wait_for()
    first.page.get_by_role("button", name="Acknowledge").click()
    first.page.get_by_label("Your name").fill("Ada L.")
    first.page.get_by_role("button", name="OK").click()
    second.card("ICU-02").get_by_text("acknowledged").wait_for()
    first.page.get_by_text("ICU-02: alarms acknowledged by Ada L.").wait_for()
    first.page.get_by_role("button", name="Silence").click()
    second.card("ICU-02").get_by_text("silenced").wait_for()
    first.page.get_by_role("button", name="End silence").wait_for()
    assert staged.deeds == [("acknowledge", "ICU-02", "Ada L."), ("silence", "ICU-02", "Ada L.")]
    assert first.page.evaluate("[localStorage.getItem('ecg-token'), document.cookie]") == [None, ""]


def test_limits_are_changed_with_a_name(ward: Ward, look: Open) -> None:
    """Only those that were changed are sent, with what the page showed of them; an empty field is as for all beds."""
    staged = ward(token=TOKEN)
    page = look(staged, "#bed/ICU-02", token=TOKEN).page
    page.get_by_role("button", name="Change the limits").click()
    page.get_by_text("Limits of ICU-02").wait_for()
    assert [page.locator("#limits input").nth(i).get_attribute("name") for i in range(3)] == [
        "rate_high_bpm",
        "rate_low_bpm",
        "v_most_per_min",
    ]
    assert page.get_by_label("Heart rate below").get_attribute("placeholder") == "50, as for all beds"
    assert page.get_by_label("Heart rate above").input_value() == "130"
    page.get_by_label("Heart rate above").fill("")
    page.get_by_label("V beats above").fill("12")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_label("Your name").fill("Ada L.")
    page.get_by_role("button", name="OK").click()
    page.get_by_text("ICU-02: limits changed by Ada L.").wait_for()
    assert staged.deeds == [("limits", "ICU-02", "Ada L.")]
    assert staged.orders == [
        {"limits": {"rate_high_bpm": None, "v_most_per_min": 12}, "was": {"rate_high_bpm": 130, "v_most_per_min": None}}
    ]


def test_limits_that_somebody_else_has_changed_are_not(ward: Ward, look: Open) -> None:
    """Nor is anything done where nothing was changed, or by Cancel and Escape."""
    staged = ward(token=TOKEN)
    viewer = look(staged, "#bed/ICU-02", token=TOKEN, name="Ada")
    page = viewer.page
    page.get_by_role("button", name="Change the limits").wait_for()
    for leave in ("Change", "Cancel", "Escape"):
        page.keyboard.press("l")
        page.get_by_label("Heart rate below").fill("60" if leave != "Change" else "")
        if leave == "Escape":
            page.keyboard.press("Escape")
        else:
            page.locator("#limits").get_by_role("button", name=leave, exact=True).click()
        page.locator("#limits").wait_for(state="hidden")
    assert staged.deeds == []
    page.keyboard.press("l")
    page.get_by_label("Heart rate above").fill("140")
    staged.beds["ICU-02"]["own_limits"][1]["own"] = 125
    page.locator("#limits").get_by_role("button", name="Change", exact=True).click()
    page.locator("#limits").get_by_text("somebody has changed these limits meanwhile: look at them again").wait_for()
    assert staged.beds["ICU-02"]["own_limits"][1]["own"] == 125
    assert [trouble for trouble in viewer.troubles if "409" not in trouble] == []
    viewer.troubles.clear()  # the browser says so in its console, too


def test_without_a_token_nothing_can_be_done(ward: Ward, look: Open) -> None:
    """A monitor that takes no orders: the buttons are disabled, and say why."""
    viewer = look(ward(), "#bed/ICU-02")
    viewer.page.get_by_text(re.compile("takes no orders")).wait_for()
    assert viewer.page.get_by_role("button", name="Change the limits").is_disabled()
    buttons = viewer.page.locator(".deed")
    assert [button.is_disabled() for button in buttons.all()] == [True, True, True]
    viewer.page.keyboard.press("m")
    assert "takes no orders" in viewer.page.locator("#note").inner_text()


def test_the_token_is_asked_for(ward: Ward, look: Open) -> None:
    """A wrong token is said to be wrong; the right one shows the ward, and stands in no address."""
    staged = ward(token=TOKEN)
    viewer = look(staged)
    for said, answer in (("nonsense", "the token is wrong"), (TOKEN, "")):
        viewer.page.get_by_label("Token of the monitor").fill(said)
        viewer.page.get_by_role("button", name="OK").click()
        if answer:
            viewer.page.get_by_text(answer).wait_for()
    viewer.card("ICU-01").wait_for()
    assert "token" not in viewer.page.url


def test_a_monitor_that_is_killed_and_one_that_starts_again(ward: Ward, look: Open) -> None:
    """The loss is said across the page with its age, rates go, waves stand; a new monitor's ward starts afresh."""
    staged = ward()
    staged.raise_alarm("ICU-01", "high", "asystole", "ASYSTOLE")
    viewer = look(staged)
    viewer.card("ICU-03").locator(".rate", has_text="75").wait_for()
    staged.close()
    viewer.page.get_by_text(re.compile(r"NO CONNECTION to the monitor for [1-9]\d* s: what you see is old")).wait_for()
    viewer.card("ICU-03").locator(".rate", has_text="--").wait_for()
    assert viewer.page.title().startswith("NO CONNECTION · ")
    still = viewer.card("ICU-03").evaluate(WAVES_MOVE)
    assert still["changed"] == 0
    assert still["empty"] < 0.2 * still["width"]  # it stands, dim, though the words across the page moved it
    assert "No connection to the monitor" in viewer.page.get_by_role("alert").inner_text()
    staged.stage(["NEW-1", "ICU-03"])
    staged.open()
    viewer.card("NEW-1").locator(".rate", has_text="75").wait_for()
    viewer.page.locator("#connection").wait_for(state="hidden")
    assert sorted(viewer.page.locator(".bed-name").all_inner_texts()) == ["ICU-03", "NEW-1"]
    assert viewer.page.locator(".alarm.high").count() == 0
    assert viewer.card("ICU-03").evaluate(WAVES_MOVE)["changed"] > 20


def test_the_keyboard_is_enough(ward: Ward, look: Open) -> None:
    """Arrows, Enter, Esc, k, m and ? do what they do in the terminal."""
    staged = ward(token=TOKEN)
    staged.raise_alarm("ICU-01", "low", "couplet", "COUPLET")
    viewer = look(staged, token=TOKEN, name="Ada L.")
    page = viewer.page
    viewer.card("ICU-06").wait_for()
    focused = "document.activeElement.querySelector('.bed-name')?.textContent"
    for key, bed in (("ArrowRight", "ICU-01"), ("ArrowRight", "ICU-02"), ("ArrowLeft", "ICU-01"), ("End", "ICU-06")):
        page.keyboard.press(key)
        assert page.evaluate(focused) == bed
    page.keyboard.press("Home")
    viewer.card("ICU-01").locator(".alarm b", has_text="COUPLET").wait_for()
    page.keyboard.press("k")
    viewer.card("ICU-01").get_by_text("acknowledged").wait_for()
    page.keyboard.press("m")
    viewer.card("ICU-01").get_by_text("silenced").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="ICU-01").wait_for()
    page.keyboard.press("?")
    page.get_by_role("heading", name="Letters, marks and keys").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    viewer.card("ICU-06").wait_for()
    assert page.evaluate(focused) == "ICU-01"
    assert staged.deeds == [("acknowledge", "ICU-01", "Ada L."), ("silence", "ICU-01", "Ada L.")]


def test_the_keys_of_the_terminal(ward: Ward, look: Open) -> None:
    """t and A show trends and alarms of the marked bed, space freezes its traces, d changes dark and light."""
    staged = ward()
    viewer = look(staged, color_scheme="dark")
    page = viewer.page
    viewer.card("ICU-01").wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("t")
    page.get_by_role("heading", name="ICU-01").wait_for()
    page.wait_for_function("() => document.activeElement.closest('.trends')")
    page.keyboard.press("A")
    page.wait_for_function("() => document.activeElement.closest('.alarms')")
    page.locator(".big-rate", has_text="75").wait_for()
    page.keyboard.press("Space")
    page.get_by_text("The traces are frozen").wait_for()
    time.sleep(1.5)  # until the last beats of what is shown have their letters
    assert page.locator(".lead").first.evaluate(TRACE_MOVES)["changed"] == 0
    page.keyboard.press("Space")
    page.locator("#frozen").wait_for(state="hidden")
    assert page.locator(".lead").first.evaluate(TRACE_MOVES)["changed"] > 20
    page.keyboard.press("d")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'light'")


def test_a_rhythm_has_the_colour_of_its_alarm(ward: Ward, look: Open) -> None:
    """Red for VT, which has high priority; that of text for a rhythm without an alarm."""
    staged = ward()
    staged.raise_alarm("ICU-01", "high", "ventricular tachycardia", "VT")
    staged.tell("ICU-01", rhythm="VT")
    staged.tell("ICU-02", rhythm="AF")
    colour = "e => getComputedStyle(e).color"
    viewer = look(staged, "#bed/ICU-01", color_scheme="dark")
    assert viewer.page.locator(".rhythm", has_text="VT").evaluate(colour) == "rgb(255, 139, 148)"
    viewer.page.goto(f"{staged.url}#bed/ICU-02")
    assert viewer.page.locator(".rhythm", has_text="AF").evaluate(colour) == "rgb(238, 243, 245)"


def test_a_phone_answers_the_six_questions(ward: Ward, look: Open) -> None:
    """Rate, rhythm, worst alarm, since when, is the signal good, how to silence: on the first screen of the bed."""
    staged = ward(token=TOKEN)
    staged.raise_alarm("ICU-02", "high", "ventricular tachycardia", "VT", "V beats in a row: 5 at 174/min")
    staged.tell("ICU-02", rhythm="AF")
    viewer = look(staged, "#bed/ICU-02", size=PHONE, token=TOKEN, has_touch=True)
    answers = (".big-rate", ".rhythm", ".banners b", ".banners .age", ".signal", ".deed.silence")
    viewer.page.locator(".big-rate", has_text="75").wait_for()
    for answer in answers:
        box = viewer.page.locator(answer).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
        assert box["y"] + box["height"] < PHONE[1]
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    viewer.page.locator(".back").tap()
    viewer.card("ICU-02").get_by_text("!!! VT").wait_for()
    assert viewer.page.evaluate("document.getElementById('main').scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_texts_stand_out_and_controls_have_names(ward: Ward, look: Open, scheme: str) -> None:
    """Contrast of 4.5 to 1 for every text, in each phase of a flash; a name for every control; a heading."""
    staged = ward()
    for name, priority in zip(NAMES, ("high", "medium", "low"), strict=False):
        staged.raise_alarm(name, priority, "couplet", "COUPLET", "2 V beats in a row")
    staged.raise_alarm("ICU-04", "high", "asystole", "ASYSTOLE")
    staged.beds["ICU-04"]["alarms"][0]["phase"] = "acknowledged"
    staged.tell("ICU-05", quality=0.1, rhythm="AF", off=["AF"])
    for view in ("", "#bed/ICU-01", "#bed/ICU-04", "#bed/ICU-05"):
        viewer = look(staged, view, color_scheme=scheme)
        viewer.page.locator(".rate, .big-rate").filter(has_text="75").first.wait_for()
        for phase in ("", "data-high-off", "data-medium-off"):
            viewer.page.evaluate("phase => phase && document.documentElement.setAttribute(phase, '')", phase)
            assert viewer.page.evaluate(CONTRASTS) == {}
        assert viewer.page.evaluate(NAMELESS) == []
        assert viewer.page.evaluate("document.documentElement.lang") == "en"
        assert viewer.page.get_by_role("heading", level=1).count() == 1


def test_the_sound_is_off_until_it_is_turned_on(ward: Ward, look: Open) -> None:
    """The mark stays until a click; then a high alarm sounds in bursts, and no longer once it is acknowledged."""
    staged = ward()
    viewer = look(staged)
    viewer.page.get_by_role("button", name="SOUND IS OFF").click()
    viewer.page.get_by_role("button", name="sound on").wait_for()
    viewer.page.evaluate("""() => { window.tones = 0; const start = OscillatorNode.prototype.start;
        OscillatorNode.prototype.start = function (at) { tones += 1; return start.call(this, at); }; }""")
    staged.raise_alarm("ICU-02", "high", "asystole", "ASYSTOLE")
    viewer.page.wait_for_function("() => tones === 40")  # two bursts of five pulses of four partials
    staged.tell("ICU-02", alarms=[{**staged.beds["ICU-02"]["alarms"][0], "phase": "acknowledged"}])
    viewer.card("ICU-02").get_by_text("acknowledged").wait_for()
    time.sleep(0.5)
    assert viewer.page.evaluate("tones") == 40


def test_alarms_sound_where_the_timers_of_the_page_are_slowed(ward: Ward, look: Open) -> None:
    """In a hidden tab the timers of a page may come once a minute: without any, an alarm is heard at once."""
    staged = ward()
    viewer = look(staged)
    viewer.page.add_init_script("window.setInterval = () => 0")
    viewer.page.reload()
    viewer.page.get_by_role("button", name="SOUND IS OFF").click()
    viewer.page.get_by_role("button", name="sound on").wait_for()
    viewer.page.evaluate("""() => { window.tones = 0; const start = OscillatorNode.prototype.start;
        OscillatorNode.prototype.start = function (at) { tones += 1; return start.call(this, at); }; }""")
    staged.raise_alarm("ICU-02", "high", "asystole", "ASYSTOLE")
    viewer.page.wait_for_function("() => tones === 40", timeout=6000)


def test_a_hidden_page_rests_and_shows_the_newest_on_return(ward: Ward, look: Open) -> None:
    """While the tab is hidden nothing is drawn; when it is seen again the trace is that of now."""
    viewer = look(ward())
    viewer.card("ICU-01").locator(".rate", has_text="75").wait_for()
    hide = """hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange')); }"""
    viewer.page.evaluate(hide, True)
    frames = viewer.page.evaluate("ecgStats.frames")
    time.sleep(2)
    assert viewer.page.evaluate("ecgStats.frames") <= frames + 1
    viewer.page.evaluate(hide, False)
    viewer.page.wait_for_function(f"() => ecgStats.frames > {frames + 5}")
    assert viewer.card("ICU-01").evaluate(WAVES_MOVE)["changed"] > 20


def test_ages_are_those_of_the_monitor(ward: Ward, look: Open) -> None:
    """A computer whose clock is an hour off tells the same ages, and the monitor's time."""
    staged = ward()
    staged.raise_alarm("ICU-01", "high", "asystole", "ASYSTOLE")
    viewer = look(staged)
    viewer.page.add_init_script("const now = Date.now; Date.now = () => now() + 3600000;")
    viewer.page.reload()
    viewer.card("ICU-01").get_by_text(re.compile(r"^\d\d? s$")).wait_for()
    viewer.page.locator("#clock[title*='60 min ahead']").wait_for()


def test_orders_say_what_is_wanted_and_answers_what_is(ward: Ward, look: Open) -> None:
    """Acknowledge sends the alarms that are shown; silence and pause the wanted state; the note says the resulting."""
    staged = ward(token=TOKEN)
    staged.raise_alarm("ICU-02", "medium", "heart rate high", "HR HIGH")
    viewer = look(staged, "#bed/ICU-02", token=TOKEN, name="Ada L.")
    note = viewer.page.locator("#note")
    for key, words in (
        ("k", r"ICU-02: alarms acknowledged by Ada L\."),
        ("P", r"ICU-02: alarms paused until \d\d:\d\d:\d\d by Ada L\."),
        ("P", r"ICU-02: alarms on again by Ada L\."),
        ("m", r"ICU-02: silenced until \d\d:\d\d:\d\d by Ada L\."),
        ("m", r"ICU-02: no longer silenced by Ada L\."),
    ):
        button = {"k": "Acknowledge", "P": "Pause alarms", "m": "Silence"}[key]
        if "again" in words or "longer" in words:
            button = {"P": "End pause", "m": "End silence"}[key]
        viewer.page.get_by_role("button", name=button).wait_for()
        viewer.page.keyboard.press(key)
        note.filter(has_text=re.compile(words)).wait_for()
    keys = [alarm["key"] for alarm in staged.beds["ICU-02"]["alarms"]]
    assert staged.orders == [{"keys": keys}, {"on": True}, {"on": False}, {"on": True}, {"on": False}]


def test_keys_act_only_on_a_bed_that_is_marked(ward: Ward, look: Open) -> None:
    """Without a marked card nothing is done; the dialog that asks for the name says bed and deed."""
    staged = ward(token=TOKEN)
    viewer = look(staged, token=TOKEN)
    viewer.card("ICU-01").wait_for()
    question = viewer.page.get_by_role("heading", name="Silence ICU-01: who are you?")
    deadline = time.monotonic() + 30
    while not question.is_visible() and time.monotonic() < deadline:  # a page that connects again says so instead
        viewer.card("ICU-01").focus()
        viewer.page.keyboard.press("m")
        time.sleep(0.5)
    assert question.is_visible()
    viewer.page.keyboard.press("Escape")
    viewer.page.evaluate("document.activeElement.blur()")
    viewer.page.keyboard.press("m")
    viewer.page.get_by_text("choose a bed first").wait_for()
    assert staged.deeds == []


def test_the_name_is_asked_again_after_a_while(ward: Ward, look: Open) -> None:
    """A name that was last used more than a quarter of an hour ago may be that of somebody else."""
    staged = ward(token=TOKEN)
    viewer = look(staged, "#bed/ICU-02", token=TOKEN, name="Ada L.")
    viewer.page.get_by_role("button", name="Silence").wait_for()
    viewer.page.evaluate("sessionStorage.setItem('ecg-name-used', Date.now() - 16 * 60000)")
    viewer.page.keyboard.press("m")
    viewer.page.get_by_role("heading", name="Silence ICU-02: who are you?").wait_for()
    assert staged.deeds == []


def test_a_slow_network_is_said(ward: Ward, look: Open) -> None:
    """What is 6 s old is not passed for live: words across the page, grey rates, a clock that does not go back."""
    staged = ward()
    viewer = look(staged)
    page = viewer.page
    viewer.card("ICU-01").locator(".rate", has_text="75").wait_for()
    live = viewer.card("ICU-01").locator(".rate").evaluate("e => getComputedStyle(e).color")
    before = page.locator("#clock span").inner_text()
    staged.late_s = 6
    page.locator("#connection", has_text=re.compile(r"DELAYED [67] s")).wait_for()
    assert page.locator("#clock span").inner_text() >= before
    assert viewer.card("ICU-01").locator(".rate").evaluate("e => getComputedStyle(e).color") != live
    staged.late_s = 0
    page.locator("#connection").wait_for(state="hidden")


def test_what_is_not_known_is_not_claimed(ward: Ward, look: Open) -> None:
    """Paused alarms are not "no alarm"; without data there is no rhythm, no good signal, and no age that grows."""
    staged = ward()
    now_s = time.time()
    staged.tell("ICU-01", paused_until_s=now_s + 110)
    staged.raise_alarm("ICU-02", "low", "couplet", "V RUN")
    staged.tell("ICU-02", state="no data", rhythm="AF", rate=None, last_heard_s=now_s - 30)
    viewer = look(staged)
    page = viewer.page
    viewer.card("ICU-01").get_by_text(re.compile(r"alarms paused 1:\d\d: not shown")).wait_for()
    assert "alarms paused: not shown" in viewer.card("ICU-01").get_attribute("aria-label")
    assert "no alarm" not in viewer.card("ICU-01").get_attribute("aria-label")
    page.goto(f"{staged.url}#bed/ICU-02")
    page.get_by_text("not known: no data").first.wait_for()
    assert page.locator(".rhythm").inner_text() == "not known: no data"
    assert "good" not in page.locator(".bed-body").inner_text()
    assert re.search(r"as of \d\d:\d\d:\d\d$", page.locator(".banners .age").inner_text())
    page.goto(f"{staged.url}#bed/ICU-01")
    page.locator(".banners").get_by_text(re.compile(r"alarms paused 1:\d\d: not shown")).wait_for()


def test_an_alarm_that_is_over_hides_nothing(ward: Ward, look: Open) -> None:
    """The active one comes first, with the signal beside it; one that is over says when, and does not age."""
    staged = ward()
    staged.raise_alarm("ICU-01", "low", "couplet", "COUPLET")
    staged.raise_alarm("ICU-01", "high", "asystole", "ASYSTOLE")
    staged.beds["ICU-01"]["alarms"][0] |= {"phase": "over", "ended_s": time.time() - 60}
    staged.raise_alarm("ICU-02", "high", "asystole", "ASYSTOLE")
    staged.beds["ICU-02"]["alarms"][0] |= {"phase": "over", "ended_s": time.time() - 60}
    staged.tell("ICU-01", behind_s=5.0)
    viewer = look(staged)
    viewer.card("ICU-01").locator(".alarm b", has_text="! COUPLET").wait_for()
    assert viewer.card("ICU-01").locator(".alarm b").all_inner_texts() == ["! COUPLET", "!!! ASYSTOLE"]
    assert re.fullmatch(r"over \d\d:\d\d:\d\d", viewer.card("ICU-01").locator(".alarm.over .age").inner_text())
    assert viewer.card("ICU-01").locator(".card-signal").inner_text() == "behind 5 s · signal good"
    assert re.fullmatch(r"over \d\d:\d\d:\d\d", viewer.card("ICU-02").locator(".age").inner_text())


def end_alarm(staged: StagedWard, name: str, place: int = 0) -> None:
    """Let an alarm of a bed be over, unacknowledged."""
    staged.beds[name]["alarms"][place] |= {"phase": "over", "ended_s": time.time() - 60}
    staged.version += 1


def test_the_top_counts_alarms_that_are_over(ward: Ward, look: Open) -> None:
    """As the terminal does: a latched alarm waits for a person; how many are over is said beside it."""
    staged = ward()
    for name in NAMES[:3]:
        staged.raise_alarm(name, "high", "asystole", "ASYSTOLE")
    end_alarm(staged, NAMES[0])
    end_alarm(staged, NAMES[1])
    staged.raise_alarm(NAMES[1], "medium", "heart rate high", "HR HIGH")
    viewer = look(staged)
    chip = viewer.page.locator(".chip.high")
    chip.filter(has_text="!!! 3 high (2 over)").wait_for()
    assert viewer.page.locator(".chip.medium").inner_text() == "!! 0 medium"
    assert viewer.page.title().startswith("!!! 3 · ")
    phone = look(staged, size=PHONE).page
    phone.locator(".chip.high", has_text="!!! 3").wait_for()
    assert phone.locator(".chip.high").inner_text() == "!!! 3 (2 over)"
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_a_card_shows_the_worst_alarm_that_nobody_has_seen(ward: Ward, look: Open) -> None:
    """Beside one that goes on, also where that is of the same priority and acknowledged; else it counts as one more."""
    staged = ward()
    for name, phase in (("ICU-01", "active"), ("ICU-02", "acknowledged"), ("ICU-03", "active")):
        staged.raise_alarm(name, "high", "ventricular tachycardia", "VT")
        end_alarm(staged, name)
        priority = "medium" if name == "ICU-01" else "high"
        staged.raise_alarm(name, priority, "asystole", "ASYSTOLE")
        staged.beds[name]["alarms"][0]["phase"] = phase
        staged.raise_alarm(name, "low", "couplet", "COUPLET")
    viewer = look(staged)
    names = {name: viewer.card(name).locator(".alarm b") for name in ("ICU-01", "ICU-02", "ICU-03")}
    names["ICU-03"].first.wait_for()
    assert names["ICU-01"].all_inner_texts() == ["!! ASYSTOLE", "!!! VT"]
    assert names["ICU-02"].all_inner_texts() == ["!!! ASYSTOLE", "!!! VT"]
    assert names["ICU-03"].all_inner_texts() == ["!!! ASYSTOLE"]
    tails = [viewer.card(name).locator(".alarm .tail").first.inner_text() for name in names]
    assert tails == ["+1", "acknowledged +1", "+2"]
    page = look(staged, "#bed/ICU-01").page
    page.locator(".banners b").first.wait_for()
    assert page.locator(".banners b").all_inner_texts() == ["!!! VT", "!! ASYSTOLE", "! COUPLET"]


def test_a_monitor_that_is_starting_claims_nothing(ward: Ward, look: Open) -> None:
    """While it analyses the end of its recording again: no zeros, no "no bed", no delay; then the beds are there."""
    staged = ward()
    staged.is_starting = True
    for view in ("", "#bed/ICU-02"):
        page = look(staged, view).page
        page.locator(".absent:visible", has_text="The monitor is starting: its beds follow").wait_for()
        time.sleep(4)  # beyond the silence after which a connection counts as lost
        assert page.locator(".chip").count() == 0
        assert not page.locator("#connection").is_visible()
        assert "No bed" not in page.locator("main").inner_text()
        assert not page.locator(".deed").first.is_visible()
    staged.is_starting = False
    page.locator(".big-rate", has_text="75").wait_for()
    page.keyboard.press("Escape")
    page.locator(".bed-name", has_text="ICU-06").wait_for()
    assert page.locator(".chip.high").inner_text() == "!!! 0 high"


def test_a_quiet_card_says_what_is_known_of_the_rhythm(ward: Ward, look: Open) -> None:
    """That no arrhythmia is alarmed; nothing while too little is known; why, where nothing can be known."""
    staged = ward()
    staged.tell("ICU-02", rhythm_words="")
    staged.tell("ICU-03", rhythm_words="not known: noise")
    viewer = look(staged)
    viewer.card("ICU-01").get_by_text("no arrhythmia alarmed").wait_for()
    assert viewer.card("ICU-02").locator(".quiet").inner_text() == ""
    assert viewer.card("ICU-03").locator(".quiet").inner_text() == "rhythm not known: noise"
    page = look(staged, "#bed/ICU-03").page
    page.locator(".rhythm", has_text="not known: noise").wait_for()


def test_a_phone_shows_all_of_the_buttons(ward: Ward, look: Open) -> None:
    """Also with the longer words of a bed that is silenced or paused: none is cut, at 390 and at 360 pixels."""
    staged = ward(token=TOKEN)
    staged.tell("ICU-02", silenced_until_s=time.time() + 100)
    for size in (PHONE, (360, 740)):
        page = look(staged, "#bed/ICU-02", size=size, token=TOKEN).page
        page.get_by_role("button", name="End silence").wait_for()
        room = "e => e.scrollWidth <= e.clientWidth && e.getBoundingClientRect().right <= innerWidth - 6"
        assert all(button.evaluate(room) for button in page.locator(".deed").all())
        assert page.evaluate("document.getElementById('main').scrollWidth") <= size[0]


def test_limits_that_are_refused_stay_in_the_dialog(ward: Ward, look: Open) -> None:
    """With what was typed, and why, until they are taken."""
    staged = ward(token=TOKEN)
    staged.refusal = '"heart rate below" must not be more than "heart rate above"'
    viewer = look(staged, "#bed/ICU-02", token=TOKEN, name="Ada L.")
    page = viewer.page
    page.get_by_role("button", name="Change the limits").click()
    page.get_by_label("Heart rate above").fill("40")
    page.get_by_label("Heart rate below").fill("60")
    dialog = page.locator("#limits")
    dialog.get_by_role("button", name="Change", exact=True).click()
    dialog.get_by_text(staged.refusal).wait_for()
    assert page.get_by_label("Heart rate below").input_value() == "60"
    staged.refusal = ""
    page.get_by_label("Heart rate above").fill("140")
    page.keyboard.press("Enter")
    dialog.wait_for(state="hidden")
    assert staged.orders[-1]["limits"] == {"rate_low_bpm": 60, "rate_high_bpm": 140}
    page.keyboard.press("l")
    dialog.wait_for()
    assert dialog.locator(".refusal").inner_text() == ""
    assert [trouble for trouble in viewer.troubles if "400" not in trouble] == []
    viewer.troubles.clear()  # the browser says so in its console, too


def test_a_small_second_lead_stands_in_the_middle(ward: Ward, look: Open) -> None:
    """A wave of 0.3 mV is not drawn along the bottom of its chart, though it has room there."""
    staged = ward()
    page = look(staged, "#bed/ICU-02").page
    page.locator(".big-rate", has_text="75").wait_for()
    time.sleep(2)  # until its window has been chosen for the wave that it has at first
    staged.second_lead = -0.3, -1.0
    middle = """() => { const canvas = document.querySelectorAll('.lead')[1].querySelector('canvas:last-child');
        const {width, height} = canvas; let rows = new Set();
        const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
        for (let y = 0; y < height; y++) for (let x = 0; x < width; x++)
            if (data[4 * (y * width + x) + 3] > 100) rows.add(y);
        const [top, bottom] = [Math.min(...rows) / height, Math.max(...rows) / height];
        return bottom - top < 0.2 && top + bottom > 0.6 && top + bottom < 1.4; }"""
    page.wait_for_function(middle)


def test_a_bed_that_is_not_there_offers_nothing(ward: Ward, look: Open) -> None:
    """Neither what could be done, nor alarms, nor what was known of the bed before."""
    staged = ward(token=TOKEN)
    staged.tell("ICU-02", patient="Ada Lovelace")
    viewer = look(staged, "#bed/ICU-02", token=TOKEN, name="Ada L.")
    page = viewer.page
    page.get_by_role("button", name="Silence").wait_for()
    page.goto(f"{staged.url}#bed/nosuch")
    page.get_by_text("There is no bed of this name now: nosuch").wait_for()
    assert [page.locator(part).is_visible() for part in (".deeds", ".why", ".bed-alarms", ".bed-body")] == [False] * 4
    assert page.locator(".bed-patient").inner_text() == ""
    page.keyboard.press("m")
    page.get_by_text("nosuch: there is no bed of this name now").wait_for()


def test_a_bed_that_has_ended_says_so_once(ward: Ward, look: Open) -> None:
    """In place of its trace; an alarm that waits for a person stands above it."""
    staged = ward()
    for name in ("ICU-01", "ICU-02"):
        staged.tell(name, state="ended", last_heard_s=time.time() - 54, rate=None)
    staged.raise_alarm("ICU-02", "high", "asystole", "ASYSTOLE")
    end_alarm(staged, "ICU-02")
    viewer = look(staged)
    viewer.card("ICU-01").get_by_text(re.compile(r"ENDED for \d+ s, last heard")).wait_for()
    assert viewer.card("ICU-01").inner_text().count("ENDED") == 1
    assert viewer.card("ICU-02").locator(".alarm b").all_inner_texts() == ["!!! ASYSTOLE"]
    assert viewer.card("ICU-02").inner_text().count("ENDED") == 1


def test_a_page_that_fails_says_so(ward: Ward, look: Open) -> None:
    """An error of its own scripts is said across the page; a hash that cannot be read is that of the ward."""
    staged = ward()
    viewer = look(staged, "#bed/%")
    viewer.card("ICU-01").wait_for()
    failed = viewer.page.locator("#failed")
    assert not failed.is_visible()
    look(staged, "#token=%").card("ICU-01").wait_for()
    viewer.page.evaluate(
        "dispatchEvent(new ErrorEvent('error', {filename: location.origin + '/js/main.js', message: 'of a test'}))"
    )
    failed.wait_for()
    assert "THE PAGE HAS FAILED: reload" in failed.inner_text()


def test_a_page_without_its_scripts_says_so(ward: Ward, look: Open) -> None:
    """Where a script does not come the page says by itself, after some seconds, that it has failed."""
    staged = ward()
    staged.page["/js/main.js"] = (b"", staged.page["/js/main.js"][1])
    look(staged).page.locator("#failed").wait_for(timeout=20000)


def test_times_are_those_of_the_zone_of_the_monitor(ward: Ward, look: Open) -> None:
    """Wherever the browser is, the clock has the zone that the monitor has said."""
    viewer = look(ward(), timezone_id="America/New_York")
    viewer.page.locator("#clock small", has_text="+05:30").wait_for()
    wanted = time.strftime("%H:%M", time.gmtime(time.time() + 5.5 * 3600))
    later = time.strftime("%H:%M", time.gmtime(time.time() + 5.5 * 3600 + 60))
    assert viewer.page.locator("#clock span").inner_text()[:5] in (wanted, later)


def test_the_token_need_not_be_given(ward: Ward, look: Open) -> None:
    """Who cancels is told where a token is to be had, and may still enter it."""
    viewer = look(ward(token=TOKEN))
    viewer.page.get_by_role("button", name="Cancel").click()
    viewer.page.get_by_text("in the file given with --web-token").wait_for()
    viewer.page.get_by_role("button", name="Enter the token").click()
    viewer.page.get_by_label("Token of the monitor").fill(TOKEN)
    viewer.page.get_by_role("button", name="OK", exact=True).click()
    viewer.card("ICU-01").wait_for()


def test_a_narrow_phone_cuts_nothing(ward: Ward, look: Open) -> None:
    """At 320 pixels no page is wider than the screen, and no button is cut."""
    staged = ward(token=TOKEN)
    for view in ("", "#bed/ICU-02"):
        viewer = look(staged, view, size=(320, 640), token=TOKEN, name="Ada L.")
        viewer.page.locator(".rate, .big-rate").filter(has_text="75").first.wait_for()
        boxes = [button.bounding_box() for button in viewer.page.locator("button:visible").all()]
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 320 for box in boxes)
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_page_of_a_real_monitor(tmp_path: Path, browser: Any) -> None:
    """From a device to the screen: letters, alarms, limits, the strip of an alarm; who acknowledged it is an event."""
    link, port = f"ipc://{tmp_path}/link", free_port()
    (tmp_path / "token").write_text(TOKEN_OF_A_FILE)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "ward.toml").write_text(
        '[bed."208"]\npatient = "A. Example"\nplace = "room 4"\nrate_high_bpm = 150.0\n'
    )
    device = ("simulate", "ward", "208", "100", "--endpoint", link, "--wait", "--speed", "3")
    watch = ("monitor", "--json", "--endpoint", link, "--web", f":{port}", "--web-token", f"{tmp_path}/token")
    processes = [start_agent(*device), start_agent(*watch, "--config", f"{tmp_path}/ward.toml")]
    try:
        viewer = open_when_served(browser, port)
        page = viewer.page
        viewer.card("208").locator(".alarm b", has_text="!").wait_for(timeout=90_000)
        viewer.card("208").get_by_text("A. Example · room 4").wait_for()
        viewer.card("208").click()
        page.get_by_text("50 to 150 /min of this bed").wait_for()
        page.get_by_role("button", name="Acknowledge").click()
        page.get_by_text("alarms acknowledged by Ada L.").first.wait_for()
        page.locator(".alarm-row").last.click()
        page.get_by_label(re.compile("Strip of .*, beats .*V")).wait_for(timeout=60_000)
        assert page.locator(".lead").first.evaluate(TRACE_MOVES)["changed"] > 20
        # While a strip is not yet whole the monitor has none (404), and the browser says so
        assert [trouble for trouble in viewer.troubles if "404" not in trouble] == []
        viewer.close()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def start_agent(*arguments: str) -> AgentProcess[bytes]:
    """Start a command of ecg-agent."""
    return AgentProcess(arguments, stdout=subprocess.DEVNULL, cwd=ROOT)


def open_when_served(browser: Any, port: int) -> Viewer:
    """Open the page of a monitor once it is served."""
    for _ in range(1800):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return Viewer(browser, f"http://127.0.0.1:{port}/").open(token=TOKEN_OF_A_FILE, name="Ada L.")
        time.sleep(0.1)
    raise AssertionError("the monitor does not serve its page")
