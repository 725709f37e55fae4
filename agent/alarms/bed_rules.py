"""The rules of one bed together: who hears what, and when everything begins anew."""

from dataclasses import replace

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.asystole import AsystoleRule
from agent.alarms.ectopy import EctopyRule
from agent.alarms.rate_limits import RateRule
from agent.alarms.technical import TechnicalRule
from agent.alarms.vf_vt import VfVtRule
from agent.core.config import AlarmConfig
from agent.core.events import LeadState
from agent.core.messages import Alarm, Beat
from model.records.resample import FS
from model.rhythm.atrial_fibrillation import IrregularityDetector

ARRESTS = frozenset(("asystole", "ventricular fibrillation"))
"""While one of these is alarmed, what is found of beats is no pulse."""


class BedAlarmRules:
    """One bed: what it hears goes to the rules, and what they find to its `book`. Samples at 125 Hz of the run."""

    __slots__ = ("_ectopy", "_heard", "_irregular", "_lost", "_quiet", "_rate", "_running", "_signal", "_waves", "book")

    def __init__(self, config: AlarmConfig, intervals: int) -> None:
        """`intervals`: how many RR intervals the heart rate is the mean of."""
        self.book = book = AlarmManager(config.latch_high)
        self._lost = round(config.lost_s * FS)
        self._signal = TechnicalRule(config, book)
        self._waves = VfVtRule(config, book)
        self._quiet = AsystoleRule(config, book)
        self._rate = RateRule(config, intervals, book)
        self._ectopy = EctopyRule(config, book, self._waves)
        self._irregular = IrregularityDetector(
            intervals=config.af_intervals,
            variation=config.af_variation,
            entropy=config.af_entropy,
            tolerance=config.af_tolerance,
            keep=config.af_keep,
            least_s=config.af_s,
            memory_s=config.af_memory_s,
        )
        self._running = False
        self._heard = False
        """Whether a beat was told since the last tick."""

    @property
    def suspended(self) -> bool:
        """Whether no rate is to be shown: it is too noisy, or no heart beats in an arrest that is alarmed."""
        return self._signal.suspended or not ARRESTS.isdisjoint(self.book.open)

    def start(self, bed: str, run: str, first: int) -> list[Alarm]:
        """A new run: nothing of the old one counts."""
        self.book.begin(bed, run, first)
        self._signal.begin(first)
        self._waves.begin()
        self._irregular.reset()
        self._anew(first)
        self._running = True
        return self.book.take()

    def beat(self, beat: Beat, at_s: float) -> list[Alarm]:
        """The next beat."""
        signal = self._signal
        self.book.at(beat.decided, at_s)
        self._quiet.beat(beat, signal.suspended)
        if not signal.suspended and not signal.blind:
            if "ventricular fibrillation" in self.book.open:
                self.book.suspend()
                self._rate.disbelieve()
            else:
                self._rate.beat(beat)
            self._ectopy.beat(beat)
            self._irregular.beat(beat.sample, beat.label, beat.rr_s)
            self._heard = True
        return self.book.take()

    def tick(self, tick: AlarmTick, at_s: float) -> list[Alarm]:
        """The next look at the bed."""
        signal = self._signal
        if tick.look is not None and not tick.look.scores:  # its window is not full yet
            tick = replace(tick, look=None)
        self.book.at(tick.sample, at_s)
        if not signal.blind:
            if signal.tick(tick):
                self._suspend()
            self._waves.tick(tick, signal.suspended)
            self._quiet.tick(tick, self._waves.fibrillating, signal.suspended)
            if not signal.suspended and (self._heard or "atrial fibrillation" in self.book.open):
                self._atrial(tick.sample)
        return self.book.take()

    def gap(self, first: int, count: int, at_s: float, valueless: bool = False) -> list[Alarm]:
        """Samples are missing, or go on to be; `valueless`: the device sent them, but measured nothing."""
        self.book.at(first, at_s)
        self._lose(first)
        self._signal.gap(first, count, at_s, valueless)
        self.book.at(first + count, at_s)
        self._anew(first + count)
        return self.book.take()

    def lead(self, sample: int, state: LeadState, at_s: float) -> list[Alarm]:
        """The lead is off, saturated, or back."""
        self.book.at(sample, at_s)
        self._lose(sample)
        self._signal.lead(state)
        self._anew(sample)
        return self.book.take()

    def end(self, sample: int, at_s: float) -> list[Alarm]:
        """The run ended on purpose."""
        self.book.at(sample, at_s)
        self.book.close()
        self._running = False
        return self.book.take()

    def no_data(self, sample: int, at_s: float) -> list[Alarm]:
        """Nothing comes any more, by the clock. All else stands as it stood: the data may yet come."""
        if self._running:
            self.book.aside("no data", sample, at_s, "nothing comes from the device")
        return self.book.take()

    def data_again(self, sample: int, at_s: float) -> list[Alarm]:
        """Data come again, by the clock."""
        self.book.aside("no data", sample, at_s, "")
        return self.book.take()

    def _lose(self, sample: int) -> None:
        """From `sample` on nothing is seen of the heart."""
        self.book.lose(sample + self._lost)
        self._irregular.gap()

    def _anew(self, sample: int) -> None:
        """From `sample` on the heart is seen again: what needs time begins anew."""
        self._signal.anew(sample)
        self._waves.anew()
        self._quiet.anew(sample)
        self._rate.anew()
        self._ectopy.anew()
        self._heard = False

    def _suspend(self) -> None:
        """It is too noisy for rates and beats."""
        self.book.suspend()
        self._rate.anew()
        self._ectopy.anew()
        self._irregular.reset()

    def _atrial(self, now: int) -> None:
        """Atrial fibrillation: normal RR intervals that are irregular for long enough."""
        self._heard = False
        irregular, onset = self._irregular.state(now)
        if not irregular:
            self.book.over("atrial fibrillation", self._irregular.end)
        elif onset is not None:
            words = f"RR irregular for {(now - onset) / FS:.0f} s"
            known = "atrial fibrillation" in self.book.open
            self.book.hold("atrial fibrillation", onset, now + self._lost, None if known else words)
