"""What browsers may do about the alarms of a bed: what they must say for it, and what they are answered."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from agent.core.messages import AlarmIdentity
from agent.monitor.bed_actions import BedActions
from agent.web.admission import RefusalError

DEEDS = ("acknowledge", "silence", "pause")
"""What may be done about the alarms of a bed."""
LONGEST_NAME = 40
"""Characters of the name of who acts."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a browser says for a deed: who acts (`by`), whether silence or pause is to be `on`, `keys` of alarms."""

    by: str
    on: bool | None = None
    keys: tuple[str, ...] | None = None


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
    if deed != "acknowledge" and wish.on is None:
        raise RefusalError(400, 'say what is to be: {"by": ..., "on": true or false}')
    return Wish(by, wish.on, wish.keys)


def do_deed(actions: BedActions, deed: str, bed: str, wish: Wish) -> dict[str, Any]:
    """Do what a browser wishes, and return what is so then."""
    if deed == "acknowledge":
        seen = frozenset(wish.keys or ())
        count = actions.acknowledge_seen(bed, wish.by, lambda identity: alarm_key(identity) in seen)
        return {"done": True, "acknowledged": count}
    (actions.silence if deed == "silence" else actions.pause_alarms)(bed, wish.by, wish.on)
    silenced_s, paused_s = actions.quiet_until_s(bed)
    return {"done": True, "bed": bed, "silenced_until_s": silenced_s, "paused_until_s": paused_s}


def alarm_key(identity: AlarmIdentity) -> str:
    """Return a short name of an alarm that fits into an address."""
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
