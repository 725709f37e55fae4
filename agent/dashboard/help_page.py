"""The help page: keys, the limits in force, marks of alarms, letters of beats, and what each panel shows."""

from textwrap import wrap

from rich.style import Style

from agent.core.alarm_settings import extreme_rate_limits
from agent.core.bed_settings import limits_in_force
from agent.core.messages import PRIORITIES
from agent.core.views import WardSnapshot
from agent.core.wording import PRIORITY_MARKS
from agent.dashboard.alarm_lines import FLASH_ON_STYLES
from agent.dashboard.alarm_state import QUIET_STYLES, QuietKind, quiet_mark
from agent.dashboard.key_table import KEYS
from agent.dashboard.lines import StyledLine, fill_block_lines, join_blocks, styled_line, title_line
from agent.dashboard.styles import ASCII_GLYPHS, CLASS_MARKS, PLAIN, STRONG, UNICODE_GLYPHS, GlyphSet
from agent.dashboard.view import DashboardView, chosen_bed, find_bed_summary

TWO_COLUMNS_WIDTH = 110
HEAD_WIDTH = 7
CLASS_WORDS = {
    "N": "normal beat, also with bundle branch block",
    "S": "supraventricular ectopic beat",
    "V": "ventricular ectopic beat",
    "F": "fusion of a normal and a ventricular beat",
    "Q": "paced or unclassifiable beat",
}
PRIORITY_WORDS = {
    "high": "high: red, flashes twice a second; stays until it is acknowledged",
    "medium": "medium: yellow, flashes every two seconds",
    "low": "low: cyan, steady",
}
QUIET_WORDS: dict[QuietKind, str] = {
    "audio paused": "silenced, AUDIO PAUSED (m): alarms are seen and make no sound, for a while; "
    "a new one of high priority breaks it",
    "alarms paused": "ALARMS PAUSED (P): no alarm of the bed is shown, heard or sent, for a while, as when a patient "
    "is washed; what still stands at the end is told then",
    "alarm off": "ALARM OFF (l): this kind of alarm never comes, until a person turns it on",
}
PANEL_WORDS = (
    ("HEART RATE", "mean of the last RR intervals; -- in noise, in an arrest, without a signal"),
    ("RR", "the last interval between two beats"),
    ("RMSSD, SDNN", "variability of the intervals between two N beats"),
    ("CLASSES", "count and share of each class; share of such beats that the net found in its tests"),
    ("LAST BEATS", "time, class, how sure the net is (1.00: certain), RR interval"),
    ("LAST ALARMS", "begin, end, and after how long a person saw to it"),
    ("EVENTS", "what happened to the signal, the link and the recording"),
    ("MONITOR", "delays, gaps and the ledger: sent = analysed + missing"),
)


def help_lines(shown: WardSnapshot, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet) -> list[StyledLine]:
    """Return the help page in `size` columns and lines, from the row to which it was scrolled."""
    width, height = size
    lines = _content(shown, view, width, glyphs)
    first = min(view.row, max(0, len(lines) - height))
    left = len(lines) - first - height
    block = fill_block_lines(lines[first : first + height], width, height)
    if left > 0 and height > 1:
        block[-1] = styled_line(width, (f" {left + 1} more lines: down or space", STRONG))
    return block


def count_help_lines(shown: WardSnapshot, view: DashboardView) -> int:
    """Return the lines of the whole page."""
    return len(_content(shown, view, view.columns, ASCII_GLYPHS if view.ascii else UNICODE_GLYPHS))


def _content(shown: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    if width < TWO_COLUMNS_WIDTH:
        blocks = (_key_block, _limit_block, _alarm_block, _beat_block, _panel_block)
        return [line for block in blocks for line in block(shown, view, width, glyphs)]
    left_width = (width - 2) // 2
    right_width = width - 2 - left_width
    left = [line for block in (_key_block, _panel_block) for line in block(shown, view, left_width, glyphs)]
    right = [
        line for block in (_limit_block, _alarm_block, _beat_block) for line in block(shown, view, right_width, glyphs)
    ]
    return join_blocks([(left, left_width), (right, right_width)], max(len(left), len(right)))


def _key_block(shown: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    del shown, view
    lines = [title_line(" KEYS", width, glyphs)]
    for key in KEYS:
        meaning = f"{key.meaning} (also {key.others})" if key.others else key.meaning
        lines += _item_lines(key.keys, STRONG, meaning, HEAD_WIDTH, width)
    return [*lines, styled_line(width)]


def _limit_block(shown: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the limits in force of the chosen bed."""
    name, base = chosen_bed(view), shown.base_limits
    if base is None or not name:
        return []
    settings = find_bed_summary(shown, name).settings
    limits = limits_in_force(settings, base)
    above, below = extreme_rate_limits(limits)
    lines = [title_line(f" LIMITS IN FORCE, {glyphs.clean(name)}", width, glyphs)]
    rates = f"{limits.rate_low_bpm:g} to {limits.rate_high_bpm:g}"
    for words, text in (
        ("heart rate", f"{rates}, extreme below {below:g} or above {above:g}"),
        ("pause", f"longer than {limits.pause_s:g} s"),
        ("asystole", f"{limits.asystole_s:g} s without a QRS complex"),
        ("V beats", f"more than {limits.v_most_per_min} in a minute"),
    ):
        lines += _item_lines(words, PLAIN, text, 11, width)
    if settings.off:
        mark = quiet_mark("alarm off", glyphs)
        lines += _item_lines(f"{mark} OFF", QUIET_STYLES["alarm off"], ", ".join(settings.off), 11, width)
    return [*lines, styled_line(width)]


def _alarm_block(shown: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    del shown, view
    lines = [title_line(" ALARMS", width, glyphs)]
    for priority in PRIORITIES:
        lines += _item_lines(
            PRIORITY_MARKS[priority], FLASH_ON_STYLES[priority], PRIORITY_WORDS[priority], HEAD_WIDTH, width
        )
    for kind, words in QUIET_WORDS.items():
        lines += _item_lines(quiet_mark(kind, glyphs), QUIET_STYLES[kind], words, HEAD_WIDTH, width)
    return [*lines, styled_line(width)]


def _beat_block(shown: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    del view
    lines = [title_line(" BEATS", width, glyphs)]
    for name, words in CLASS_WORDS.items():
        lines += _item_lines(name, CLASS_MARKS[name], words, HEAD_WIDTH, width)
    unsure = "small" if glyphs.ascii else "dim"
    words = f"a letter is {unsure} where the net is less than {100 * shown.least_confidence:.0f}% sure"
    return [*lines, *_item_lines("", PLAIN, words, HEAD_WIDTH, width), styled_line(width)]


def _panel_block(shown: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    del shown, view
    lines = [title_line(" PANELS", width, glyphs)]
    for name, words in PANEL_WORDS:
        lines += _item_lines(name, PLAIN, words, 13, width)
    return [*lines, styled_line(width)]


def _item_lines(head: str, style: Style, text: str, head_width: int, width: int) -> list[StyledLine]:
    """Return a head and its text beside it, on as many lines as that takes."""
    first, *more = wrap(text, max(8, width - head_width - 3)) or [""]
    gap = " " * max(1, head_width - len(head))
    lines = [styled_line(width, (" ", PLAIN), (head, style), (f"{gap} {first}", PLAIN))]
    return [*lines, *(styled_line(width, (" " * (head_width + 2) + line, PLAIN)) for line in more)]
