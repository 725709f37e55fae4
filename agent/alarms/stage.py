"""The alarms of all beds, a row each: what is heard of a bed goes in, what changes of its alarms comes out.

Only samples count for what is announced and when; times are stored. So the same beats, ticks and gaps in the same order
give the same alarms, however they came. What the clock says (`no_data`) changes no other alarm.
"""

from agent.alarms.alarm_tick import AlarmTick as AlarmTick
from agent.alarms.bed_rules import BedAlarmRules
from agent.core.config import Config
from agent.core.events import LeadState
from agent.core.messages import Alarm, Beat, Priority


class AlarmStage:
    """The alarms of all rows. Each method that returns alarms returns those that changed, as they now stand."""

    def __init__(self, config: Config) -> None:
        self._config, self._intervals = config.alarms, config.rhythm.rate_intervals
        self._silence_s = config.alarms.silence_s
        self._rows: list[BedAlarmRules] = []

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        self._rows += [BedAlarmRules(self._config, self._intervals) for _ in range(rows - len(self._rows))]

    def start(self, row: int, bed: str, run: str, first: int) -> list[Alarm]:
        """A new run begins at sample `first`; what was open of the old one is over."""
        return self._rows[row].start(bed, run, first)

    def beat(self, row: int, beat: Beat, at_s: float) -> list[Alarm]:
        """The next beat of a row, in the order of decision."""
        return self._rows[row].beat(beat, at_s)

    def tick(self, row: int, tick: AlarmTick, at_s: float) -> list[Alarm]:
        """The next tick of a row, after all beats that were decided up to it."""
        return self._rows[row].tick(tick, at_s)

    def gap(self, row: int, first: int, count: int, at_s: float, valueless: bool = False) -> list[Alarm]:
        """`count` samples from `first` on are missing, or came without a value; a gap may be told in pieces."""
        return self._rows[row].gap(first, count, at_s, valueless)

    def lead(self, row: int, sample: int, state: LeadState, at_s: float) -> list[Alarm]:
        """The lead changed its state at `sample`."""
        return self._rows[row].lead(sample, state, at_s)

    def end(self, row: int, sample: int, at_s: float) -> list[Alarm]:
        """The run ended on purpose; `sample` is the one after its last."""
        return self._rows[row].end(sample, at_s)

    def no_data(self, row: int, sample: int, at_s: float) -> list[Alarm]:
        """By the clock nothing has come for too long; `sample` is the one after the last that came."""
        return self._rows[row].no_data(sample, at_s)

    def data_again(self, row: int, sample: int, at_s: float) -> list[Alarm]:
        """Something has come again."""
        return self._rows[row].data_again(sample, at_s)

    def acknowledge(self, row: int, now_s: float) -> list[Alarm]:
        """A person has seen the alarms of a row."""
        book = self._rows[row].book
        book.acknowledge(now_s)
        return book.take()

    def silence(self, row: int, now_s: float) -> None:
        """No sound for a while; asked for once more, sound again."""
        book = self._rows[row].book
        book.silenced_until_s = 0.0 if now_s < book.silenced_until_s else now_s + self._silence_s

    def view(self, row: int) -> tuple[Alarm, ...]:
        """What is to be shown, the most urgent first; of a chain only the worst."""
        return self._rows[row].book.view

    def silenced_until_s(self, row: int) -> float:
        """Until when a row is silent; 0 or past where it is not."""
        return self._rows[row].book.silenced_until_s

    def suspended(self, row: int) -> bool:
        """Whether no rate of a row is to be shown: it is too noisy, or an arrest is alarmed."""
        return self._rows[row].suspended

    def rhythm_name(self, row: int) -> str:
        """The rhythm that is alarmed, "" where none is."""
        return self._rows[row].book.rhythm

    def audible(self, row: int, now_s: float) -> Priority | None:
        """What should sound: the worst that is shown and not acknowledged, unless a row is silent."""
        book = self._rows[row].book
        return None if now_s < book.silenced_until_s else book.loudest

    def urgency(self, row: int) -> int:
        """By which the ward is sorted, the highest first; 0 without an alarm."""
        return self._rows[row].book.urgency
