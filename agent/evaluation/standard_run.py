"""Run the test signals of the standard through the monitor, each as a bed, and read from it what a nurse would see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from agent.core.config import Config
from agent.core.events import PacingPulses
from agent.core.messages import Alarm, AlarmCondition, Beat, Chunk, End, FloatArray, Lead, Result
from agent.evaluation.standard_signals import STANDARD_FS, Signal
from agent.pipeline.pipeline import Pipeline
from model.records.resample import FS

COUNTS_PER_MV = 1000.0
RAIL_MV = 1000
"""The converter reaches from -1 to 1 V: no pulse of the standard is cut off."""
LEADS = (Lead("II", "mV", COUNTS_PER_MV, 0.0, round(-RAIL_MV * COUNTS_PER_MV), round(RAIL_MV * COUNTS_PER_MV)),)
PACKET_S = 1.0
RUN = "standard"


@dataclass(slots=True)
class StandardOutcome:
    """What the monitor made of one signal of `seconds`."""

    seconds: float
    beats: list[Beat] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    pulses: int = 0

    def rates(self, start_s: float, stop_s: float | None = None) -> list[tuple[float, float]]:
        """Return when a heart rate was shown, in seconds, and the rate in beats a minute, in order."""
        stop_s = self.seconds if stop_s is None else stop_s
        shown = ((beat.class_known / FS, beat.heart_rate) for beat in self.beats if beat.heart_rate is not None)
        return [(at_s, rate) for at_s, rate in shown if start_s <= at_s < stop_s and not self.is_asystole(at_s)]

    def is_asystole(self, at_s: float) -> bool:
        """Return whether asystole is alarmed at a time: the screen then shows no rate."""
        ends = {alarm.onset: alarm.ended for alarm in self.alarms if alarm.condition == "asystole"}
        known = {alarm.onset: alarm.announced for alarm in reversed(self.alarms) if alarm.condition == "asystole"}
        return any(known[onset] <= at_s * FS < (end or at_s * FS + 1) for onset, end in ends.items())

    def beats_after(self, start_s: float) -> int:
        """Return how many beats there are from `start_s` on."""
        return sum(beat.sample >= start_s * FS for beat in self.beats)

    def alarm_delay_s(self, start_s: float, *conditions: AlarmCondition) -> float | None:
        """Return the seconds from `start_s` to the first announcement of one of the conditions, None for none."""
        known = [alarm.announced / FS for alarm in self.alarms if alarm.condition in conditions]
        return min((at_s - start_s for at_s in known if at_s >= start_s), default=None)


def run_signals(
    config: Config,
    classify: Callable[[FloatArray], FloatArray],
    signals: Mapping[str, Signal],
    advance: Callable[[float, float], object],
) -> dict[str, StandardOutcome]:
    """Run signals (n,) mV by name through one pipeline; return what it made of each by name.

    `advance`: called with the seconds of signal that are done, and with all.
    """
    pipeline = Pipeline(replace(config, monitor=replace(config.monitor, lead="auto")), classify)
    outcomes = {name: StandardOutcome(len(signal) / STANDARD_FS) for name, signal in signals.items()}
    counts = {name: np.rint(signal * COUNTS_PER_MV).astype(np.int32)[:, None] for name, signal in signals.items()}
    packet, longest = round(PACKET_S * STANDARD_FS), max(map(len, counts.values()))
    for first in range(0, longest + packet, packet):
        messages: list[Chunk | End] = []
        for name, samples in counts.items():
            part = samples[first : first + packet]
            if len(part):
                messages.append(Chunk(name, RUN, first, float(STANDARD_FS), LEADS, part, 0.0))
            elif first - packet < len(samples):
                messages.append(End(name, RUN, len(samples), float(STANDARD_FS)))
        _collect(pipeline.push(messages), outcomes)
        advance(min(first + packet, longest), longest)
    return outcomes


def _collect(results: list[Result], outcomes: Mapping[str, StandardOutcome]) -> None:
    for item in results:
        if isinstance(item, Beat):
            outcomes[item.bed].beats.append(item)
        elif isinstance(item, Alarm):
            outcomes[item.bed].alarms.append(item)
        elif isinstance(item, PacingPulses):
            outcomes[item.bed].pulses += item.count
