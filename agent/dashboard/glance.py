"""The line that answers at a glance: which rhythm, how good the signal is, whether anything is alarmed."""

from agent.core.condition_names import TECHNICAL_CONDITIONS
from agent.core.messages import AlarmCondition
from agent.core.views import BedView, WardSnapshot
from agent.dashboard.alarm_lines import format_silence_left
from agent.dashboard.alarm_state import QUIET_STYLES
from agent.dashboard.lines import StyledLine, StyledPart, cell_width, elide_words, spread_line
from agent.dashboard.loss import find_loss
from agent.dashboard.styles import EVENT_STYLES, FAINT, GOOD, NOTICE, PLAIN, WARN, GlyphSet

RATE_CONDITIONS: frozenset[AlarmCondition] = frozenset(("heart rate high", "heart rate low"))
"""Conditions of the heart that name no rhythm: a quick or slow heart may beat in any."""
BEAT_WORDS: dict[AlarmCondition, str] = {
    "pause": "pauses",
    "couplet": "couplets",
    "R-on-T": "R-on-T beats",
    "V rate high": "many V beats",
}
"""Conditions of single beats, which name no rhythm either, and what they say of it."""
NO_ARRHYTHMIA = "no arrhythmia alarmed"
"""We alarm arrhythmias and diagnose no sinus rhythm: without an alarm no more than this is known."""
UNKNOWN_STATES = {
    "learning": "learning",
    "lead off": "lead off",
    "saturated": "signal saturated",
    "no signal": "no signal",
    "no data": "no data",
    "no monitor": "no monitor",
    "store away": "the store is away",
    "refused": "stream refused",
    "ended": "the run ended",
}


def rhythm_words(bed: BedView, shown: WardSnapshot) -> tuple[str, bool]:
    """Return the name of the rhythm, and whether one is alarmed; without a signal that it is not known, and why."""
    lasting = [alarm.condition for alarm in bed.alarms if alarm.ended is None]
    if bed.state in UNKNOWN_STATES and bed.state != "learning":
        return f"not known: {UNKNOWN_STATES[bed.state]}", False
    if find_loss(bed, shown):
        return "not known: link lost", False
    named = [name for name in lasting if name not in TECHNICAL_CONDITIONS | RATE_CONDITIONS | BEAT_WORDS.keys()]
    if named or bed.rhythm_name:
        return named[0] if named else bed.rhythm_name, True
    beats = [name for name in lasting if name in BEAT_WORDS]
    if beats:
        return BEAT_WORDS[beats[0]], True
    if bed.suspended:
        return "not known: noise", False
    return (_no_arrhythmia_words(bed, shown), False) if bed.state == "ok" else ("not known: learning", False)


def _no_arrhythmia_words(bed: BedView, shown: WardSnapshot) -> str:
    """Return that none is alarmed, unless alarms are paused or off, in which case that says little."""
    if bed.paused_until_s > shown.now_s:
        return "not told: alarms paused"
    off = sum(name not in TECHNICAL_CONDITIONS for name in bed.settings.off)
    return f"{NO_ARRHYTHMIA}, {off} off" if off else NO_ARRHYTHMIA


def signal_words(bed: BedView, shown: WardSnapshot) -> tuple[str, bool]:
    """Return how good the signal of the heard lead is, with its quality where that is known; and whether it is good."""
    if bed.state in UNKNOWN_STATES and bed.state != "learning":
        return ("saturated" if bed.state == "saturated" else "lead off" if bed.state == "lead off" else "none"), False
    if find_loss(bed, shown):
        return "none", False
    is_arrest = any(alarm.ended is None and alarm.condition not in TECHNICAL_CONDITIONS for alarm in bed.alarms)
    if bed.suspended and not is_arrest:
        return "noisy", False
    if bed.quality is None:
        return ("learning", False) if bed.state == "learning" else ("ok", True)
    bad, good = shown.quality_limits
    word = "good" if bed.quality >= good else "bad" if bed.quality < bad else "fair"
    return f"{word} {100 * bed.quality:.0f}%", word == "good"


def glance_line(bed: BedView, shown: WardSnapshot, now_s: float, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return rhythm and signal in words; on the right that nothing is alarmed, and the rest of a silence."""
    rhythm, alarmed = rhythm_words(bed, shown)
    signal, is_good = signal_words(bed, shown)
    silence = format_silence_left(bed.silenced_until_s, now_s)
    right: list[StyledPart] = []
    if not bed.alarms:
        right = [("no alarm ", GOOD if bed.state == "ok" and not find_loss(bed, shown) else FAINT)]
        if bed.paused_until_s > now_s:
            right = [("alarms paused ", QUIET_STYLES["alarms paused"])]
        if bed.state in ("no monitor", "store away"):
            right = [("alarms not known ", EVENT_STYLES["signal"])]
        if bed.state in ("refused", "ended"):
            right = [("not monitored ", EVENT_STYLES["signal"])]
        right += [(f" silenced {silence} ", WARN)] if silence else []
    room = width - sum(cell_width(text) for text, _ in right) - len(signal) - 19
    left: list[StyledPart] = [
        (" rhythm ", FAINT),
        (elide_words(glyphs.clean(rhythm), max(8, room), glyphs), NOTICE if alarmed else PLAIN),
        ("   signal ", FAINT),
        (signal, GOOD if is_good else EVENT_STYLES["signal"]),
    ]
    return spread_line(width, left, right)
