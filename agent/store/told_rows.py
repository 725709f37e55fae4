"""Between what a monitor finds and the rows of a store."""

import hashlib

import msgspec

from agent.core.bed_settings import BedSettings
from agent.core.events import Event
from agent.core.messages import Alarm, Beat
from agent.core.wording import event_text
from agent.monitor.catching_up import StoreOpening, ToldPosition
from agent.recording.event_records import typed_columns
from agent.store.store_messages import AlarmTold, AskReply, BeatTold, Deed, EventTold
from agent.store.store_reader import told_alarm
from model.text import make_printable

LONGEST_TEXT = 4096
_to_json = msgspec.json.Encoder().encode


def row_of_beat(beat: Beat) -> BeatTold:
    """Return the row of a beat."""
    times = beat.sample, beat.class_known, beat.r_peak_known
    probabilities = _to_json(beat.probabilities).decode()
    return BeatTold(beat.bed, beat.run, *times, beat.label, probabilities, beat.rr_s, beat.heart_rate)


def row_of_alarm(alarm: Alarm, onset_s: float | None) -> AlarmTold:
    """Return the row of the state of an alarm; `onset_s`: Unix time of its onset by the clock of its run."""
    text = make_printable(alarm.text, LONGEST_TEXT)
    row = (*alarm.identity, alarm.priority, text, alarm.announced, alarm.announced_s)
    return AlarmTold(*row, int(alarm.latching), alarm.ended, alarm.acknowledged_s, onset_s)


def row_of_event(event: Event, at_s: float, replica: str, identity: str = "") -> EventTold:
    """Return the row of an event at Unix time `at_s`.

    Without an `identity` it is known by what it says: all replicas that find it have the same.
    """
    event_type, data = typed_columns(event)
    text = event_text(event)
    bed, run, sample, kind = event.bed, event.run, event.sample, event.kind
    said = _to_json((bed, run, sample, event_type, data, text))
    key = identity or hashlib.sha256(said).hexdigest()[:32]
    shown = make_printable(text, LONGEST_TEXT)
    if len(data or "") > LONGEST_TEXT:
        event_type = data = None  # what it says stays as words
    return EventTold(key, replica, bed, run, sample, at_s, kind, shown, event_type, data)


def read_opening(reply: AskReply) -> tuple[StoreOpening, list[Deed]]:
    """Return what a store knows, and the acknowledgements of its alarms as deeds, for them to hold here, too."""
    ended = set(reply.ended)
    positions = {
        word.bed: ToldPosition(word.run, word.told, word.next, word.fs, word.bed in ended) for word in reply.beds
    }
    settings: dict[str, BedSettings] = {}
    for deed in reply.settings:
        try:
            settings[deed.bed] = msgspec.json.decode(deed.data, type=BedSettings)
        except (ValueError, msgspec.DecodeError):  # of a later version
            continue
    acknowledged = [
        Deed(alarm_id, row.bed, "acknowledged", "", row.acknowledged_s, "the store", [row.identity[1:]])
        for number, row in enumerate(reply.alarms)
        if (row.acknowledged_s is not None) and (alarm_id := str(number))
    ]
    return StoreOpening(positions, [told_alarm(row) for row in reply.alarms], settings), acknowledged
