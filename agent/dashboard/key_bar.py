"""The bottom line: the name that is typed, the answer to a key, or as many keys as fit; and the disclaimer."""

from collections.abc import Sequence

from agent.core.views import WardSnapshot
from agent.dashboard.find_keys import match_bed_names
from agent.dashboard.frozen_picture import shown_snapshot
from agent.dashboard.key_table import KEYS, PAGE_BARS, TYPING_BAR, KeyBar
from agent.dashboard.lines import StyledLine, StyledPart, cell_width, elide_words, spread_line
from agent.dashboard.quit_keys import quit_question
from agent.dashboard.styles import ASCII_GLYPHS, FAINT, NOTICE, PLAIN, STRONG, UNICODE_GLYPHS, WARN, GlyphSet
from agent.dashboard.view import NOTE_S, PAST_PAGE_NAMES, DashboardView, is_chosen, is_overview

CHOSEN_KEYS, CHOOSE_LABEL = ("k", "m", "P", "l"), "choose a bed"
"""Keys that mean the chosen bed, and how one is chosen."""
LEAST_ASKING_WIDTH, LEAST_QUESTION_CELLS = 60, 8
"""Least columns for all answers to the question before the end, and least cells of the question itself."""


def bottom_line(snapshot: WardSnapshot, view: DashboardView, width: int, disclaimer: str) -> StyledLine:
    """Return the bottom line of a frame. `disclaimer`: what stands at its right, "" if that is said elsewhere."""
    shown = shown_snapshot(snapshot, view)
    right: list[StyledPart] = [(f"{disclaimer} ", FAINT)] if disclaimer else []
    if (answer := answer_line(snapshot, view, width, disclaimer)) is not None:
        return answer
    room = width - sum(cell_width(text) for text, _ in right) - 2
    return spread_line(width, _key_parts(_shown_keys(view, shown), room), right)


def answer_line(snapshot: WardSnapshot, view: DashboardView, width: int, disclaimer: str) -> StyledLine | None:
    """Return the name that is typed, the answer to a key, or the question before the end; None if there is none.

    The disclaimer stands beside it where there is room for both.
    """
    shown = shown_snapshot(snapshot, view)
    glyphs = ASCII_GLYPHS if view.ascii else UNICODE_GLYPHS
    right: list[StyledPart] = [(f"{disclaimer} ", FAINT)] if disclaimer else []
    if view.typed is not None:
        return spread_line(width, _search_parts(shown, view, glyphs), right)
    if view.note and 0 <= snapshot.now_s - view.last_key_s < NOTE_S:
        text = glyphs.clean(view.note)
        right = right if cell_width(text) <= width - len(disclaimer) - 4 else []
        return spread_line(width, [(f" {elide_words(text, max(1, width - 1), glyphs)}", NOTICE)], right)
    if view.leaving and (question := quit_question(shown)):
        return _question_line(glyphs.clean(question), width, glyphs)
    return None


def _shown_keys(view: DashboardView, shown: WardSnapshot) -> Sequence[tuple[str, str]]:
    """Return the keys of what is shown, each with its label, the important ones first."""
    if view.draft is not None and view.draft.is_label:
        return TYPING_BAR
    if view.page in PAGE_BARS:
        return PAGE_BARS[view.page]
    bar: KeyBar = "past" if view.page in PAST_PAGE_NAMES else "ward" if is_overview(view, shown) else "bed"
    bars = {bar, "replay"} if view.replays and view.page == "beds" else {bar}
    keys = [(key.keys, key.label) for key in KEYS if not bars.isdisjoint(key.bars)]
    if bar != "ward" or is_chosen(view):
        return keys
    # A key that would mean no bed is not offered
    return [(key, CHOOSE_LABEL if key == "n p" else label) for key, label in keys if key not in CHOSEN_KEYS]


def _key_parts(keys: Sequence[tuple[str, str]], room: int) -> list[StyledPart]:
    """Return as many keys as fit into `room` cells, none of them torn."""
    parts: list[StyledPart] = [(" ", PLAIN)]
    for key, label in keys:
        needed = len(key) + len(label) + 1
        if needed > room:
            break
        parts += [(key, STRONG), (f" {label}  ", FAINT)]
        room -= needed + 2
    return parts


def _question_line(question: str, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the question before the end, with its answers whole, short ones where there is little room."""
    answers = " q again ends, another key goes on " if width >= LEAST_ASKING_WIDTH else " q again ends "
    room = width - len(answers) - 2
    asked = elide_words(question, room, glyphs) if room >= LEAST_QUESTION_CELLS else ""
    return spread_line(width, [(f" {asked}", WARN)] if asked else [], [(answers, STRONG)])


def _search_parts(shown: WardSnapshot, view: DashboardView, glyphs: GlyphSet) -> list[StyledPart]:
    """Return the name that is being typed, and how many beds match it."""
    typed = view.typed or ""
    count = len(match_bed_names(typed, [bed.bed for bed in shown.index]))
    hint = f"  {count} {'bed' if count == 1 else 'beds'}  enter ends, esc goes back" if typed else "  type a bed's name"
    return [(" /", STRONG), (glyphs.clean(typed), STRONG), ("_", NOTICE), (hint, FAINT)]
