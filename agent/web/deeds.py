"""What browsers may do about the alarms of a bed: what they must say for it, and what they are answered."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from agent.core.bed_settings import LIMIT_NAMES
from agent.core.messages import AlarmIdentity
from agent.dashboard.limits_draft import LIMITS
from agent.monitor.ward_source import WardActions
from agent.web.admission import RefusalError

DEEDS = ("acknowledge", "silence", "pause", "limits")
"""What may be done about the alarms of a bed."""
WHOLE_LIMITS = ("v_most_per_min",)
"""Limits that are whole numbers."""
BOUND = re.compile(r": Expected `\w+` ([<>])= (\S+)")
"""How a limit outside its bounds is refused."""
LONGEST_NAME = 40
"""Characters of the name of who acts."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a browser says for a deed: who acts (`by`), whether silence or pause is to be `on`, `keys` of alarms.

    `limits` of the bed that are to be others, by name, None: as for all beds; `was`: what the page showed of them.
    """

    by: str
    on: bool | None = None
    keys: tuple[str, ...] | None = None
    limits: Mapping[str, float | None] = field(default_factory=dict)
    was: Mapping[str, float | None] = field(default_factory=dict)


def read_wish(deed: str, content: bytes) -> Wish:
    """Read the content of a request for a deed. Raises RefusalError for what is incomplete."""
    try:
        wish = msgspec.json.decode(content, type=Wish)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RefusalError(400, 'the content must be like {"by": "name of who acts", ...}') from None
    by = wish.by.strip()
    if not by.isprintable():  # as labels of beds: what is not seen as it is could pass for another name
        raise RefusalError(400, "the name has characters that cannot be shown")
    if not 0 < len(by) <= LONGEST_NAME:
        raise RefusalError(400, f"a name has 1 to {LONGEST_NAME} characters")
    if deed == "acknowledge" and wish.keys is None:
        raise RefusalError(400, 'say which alarms were seen: {"by": ..., "keys": [...]}')
    if deed == "limits":
        return replace(wish, by=by, limits=_read_limits(wish))
    if deed != "acknowledge" and wish.on is None:
        raise RefusalError(400, 'say what is to be: {"by": ..., "on": true or false}')
    return replace(wish, by=by)


def _read_limits(wish: Wish) -> dict[str, float | None]:
    """Return the limits of a wish as a bed has them. Raises RefusalError."""
    if not wish.limits or wish.limits.keys() != wish.was.keys() or not wish.limits.keys() <= set(LIMIT_NAMES):
        names = ", ".join(LIMIT_NAMES)
        raise RefusalError(
            400, f'say what is to be and what was: {{"by", "limits": {{...}}, "was": {{...}}}} of {names}'
        )
    limits = dict(wish.limits)
    for name in WHOLE_LIMITS:
        value = limits.get(name)
        if value is not None:
            if value != int(value):
                raise RefusalError(400, limits_in_words(f"{name} must be a whole number"))
            limits[name] = int(value)
    return limits


def do_deed(actions: WardActions, deed: str, bed: str, wish: Wish) -> dict[str, Any]:
    """Do what a browser wishes, and return what is so then."""
    if deed == "acknowledge":
        seen = frozenset(wish.keys or ())
        count = actions.acknowledge_seen(bed, wish.by, lambda identity: alarm_key(identity) in seen)
        return {"done": True, "acknowledged": count}
    if deed == "limits":
        return _change_limits(actions, bed, wish)
    (actions.silence if deed == "silence" else actions.pause_alarms)(bed, wish.by, wish.on)
    silenced_s, paused_s = actions.quiet_until_s(bed)
    return {"done": True, "bed": bed, "silenced_until_s": silenced_s, "paused_until_s": paused_s}


def _change_limits(actions: WardActions, bed: str, wish: Wish) -> dict[str, Any]:
    """Let a bed have other limits, and return those that it has of its own then. Raises RefusalError."""
    own = actions.settings(bed)
    if any(getattr(own, name) != value for name, value in wish.was.items()):
        raise RefusalError(409, "somebody has changed these limits meanwhile: look at them again")
    changes: dict[str, Any] = dict(wish.limits)
    settings = replace(own, **changes)
    if settings != own:
        try:
            actions.change_settings(bed, settings, wish.by)
        except ValueError as error:
            raise RefusalError(400, limits_in_words(str(error))) from error
    return {"done": True, "bed": bed, "limits": {name: getattr(settings, name) for name in LIMIT_NAMES}}


def limits_in_words(reason: str) -> str:
    """Say why limits are refused in the words of the page, instead of the names that the configuration has for them.

    >>> limits_in_words("rate_low_bpm must be less than rate_high_bpm")
    '"heart rate below" must be less than "heart rate above"'
    >>> limits_in_words("asystole_s: Expected `float` <= 8")
    '"asystole after" must be 8 or less'
    """
    for kind in LIMITS:
        reason = reason.replace(kind.name, f'"{kind.words}"')
    return BOUND.sub(lambda found: f" must be {found[2]} or {'less' if found[1] == '<' else 'more'}", reason)


def alarm_key(identity: AlarmIdentity) -> str:
    """Return a short name of an alarm that fits into an address."""
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
