"""Technical alarms: what keeps the monitor from seeing the heart."""

from collections import deque

from agent.alarms.alarm_manager import NO_EXPIRY, AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.core.alarm_settings import AlarmConfig
from agent.core.events import LeadState
from agent.core.wording import LEAD_STATES
from model.records.resample import FS
from model.waveform.waveform_classifier import NOISE


class TechnicalRule:
    """The technical rules of one bed.

    `blind`: its lead is off or saturated. `suspended`: it is so noisy that rates and beats cannot be believed.
    """

    __slots__ = (
        "_clear",
        "_config",
        "_gaps",
        "_manager",
        "_missing",
        "_noisy",
        "_noisy_samples",
        "_tick",
        "_valueless",
        "blind",
        "suspended",
    )

    def __init__(self, config: AlarmConfig, manager: AlarmManager) -> None:
        self._config, self._manager = config, manager
        self.blind = self.suspended = False
        self._gaps: deque[list[int]] = deque()
        """First sample and end of each gap of the window."""
        self._missing = 0
        """Samples of these gaps together."""
        self._valueless: int | None = None
        """First sample of the latest stretch without a value, until a value comes."""
        self.interrupt(0)

    def interrupt(self, sample: int) -> None:
        """Count noise from `sample` on."""
        self._noisy: deque[tuple[int, int]] = deque()
        """The noisy ticks of `noise_window_s`: sample, and samples since the tick before."""
        self._noisy_samples = 0
        self._tick = self._clear = sample
        """The latest tick, and the latest noisy one."""

    def start(self, first: int) -> None:
        """Begin a run."""
        self.blind = self.suspended = False
        self._gaps.clear()
        self._missing = 0
        self._valueless = None
        self.interrupt(first)

    def lead(self, state: LeadState) -> None:
        """Take a change of the lead."""
        self.blind = state != "ok"
        if state != "lead off":
            self._manager.clear("lead off")
        if state != "saturated":
            self._manager.clear("saturated")
        if state != "ok":
            self._manager.raise_or_extend(state, self._manager.sample, NO_EXPIRY, LEAD_STATES[state])

    def gap(self, first: int, count: int, at_s: float, valueless: bool) -> None:
        """Take missing samples, a whole gap or a piece of one: too many, or too often, raise an alarm."""
        end = first + count
        lead_off_known = self._lead_off_known(first) if valueless else NO_EXPIRY
        gaps_known, text = self._count_gap(first, end)
        # The earlier one first, as if the gap had come sample by sample.
        if gaps_known < lead_off_known:
            self._raise_gaps(gaps_known, end, at_s, text)
        if lead_off_known <= end:
            self._raise_lead_off(lead_off_known, at_s)
        if lead_off_known <= gaps_known <= end:
            self._raise_gaps(gaps_known, end, at_s, text)

    def _count_gap(self, first: int, end: int) -> tuple[int, str]:
        """Add a gap, or a piece of it, to those of the window. Return when there were too many of them, and why."""
        config, gaps = self._config, self._gaps
        window, most = round(config.gaps_window_s * FS), round(config.gaps_s * FS)
        if gaps and gaps[-1][1] == first:
            gaps[-1][1] = end
        else:
            gaps.append([first, end])
        self._missing += end - first
        while gaps[0][1] <= gaps[-1][0] - window:
            since, to = gaps.popleft()
            self._missing -= to - since
        missing = self._missing
        if len(gaps) >= config.gaps_count:
            return gaps[-1][0], f"{len(gaps)} gaps in {config.gaps_window_s:g} s"
        if missing >= most:
            return end - missing + most, f"signal missing for {config.gaps_s:g} s"
        return NO_EXPIRY, ""

    def _raise_gaps(self, known: int, end: int, at_s: float, text: str) -> None:
        until = end + round(self._config.gaps_window_s * FS)
        self._manager.advance_to(known, at_s)
        self._manager.raise_or_extend("gaps", self._gaps[0][0], until, None if "gaps" in self._manager.open else text)

    def _lead_off_known(self, first: int) -> int:
        """Return the sample at which a lead without a value counts as off: once a gap as long would be alarmed. Some
        devices send no value when an electrode is off."""
        if self._valueless is None:
            self._valueless = first
        return max(first, self._valueless + round(self._config.gaps_s * FS))

    def _raise_lead_off(self, known: int, at_s: float) -> None:
        onset = self._valueless if self._valueless is not None else known
        self._manager.advance_to(known, at_s)
        self._manager.raise_or_extend("lead off", onset, NO_EXPIRY, f"no value for {self._config.gaps_s:g} s")

    def tick(self, tick: AlarmTick) -> bool:
        """Count noise. Return True when the analysis becomes suspended."""
        now = tick.sample
        if self._valueless is not None:
            if self._manager.holds("lead off"):
                self._manager.raise_or_extend(
                    "lead off", now, NO_EXPIRY, f"no value for {(tick.first - self._valueless) / FS:.0f} s"
                )
                self._manager.clear("lead off", tick.first)
            self._valueless = None
        step, self._tick = min(now - self._tick, 2 * FS), now
        window, config = tick.window, self._config
        noisy = window is not None and window.scores[NOISE] >= config.noise_score
        if not noisy and not self._noisy and not self.suspended:
            return False
        begins = now - round(config.noise_window_s * FS)
        while self._noisy and self._noisy[0][0] <= begins:
            self._noisy_samples -= self._noisy.popleft()[1]
        if noisy:
            self._noisy.append((now, step))
            self._noisy_samples += step
            self._clear = now
        if self.suspended and (window is None or now - self._clear < config.noise_clear_s * FS):
            return False
        if self.suspended:
            self.suspended = False
            self._noisy.clear()
            self._noisy_samples = 0
            self._manager.clear("noise")
            return False
        if self._noisy_samples < config.noise_s * FS:
            return False
        self.suspended = True
        words = f"noise in {self._noisy_samples / FS:.0f} of {config.noise_window_s:g} s: no rate, no beats"
        self._manager.raise_or_extend("noise", self._noisy[0][0], NO_EXPIRY, words)
        return True
