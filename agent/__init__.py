"""A streaming edge monitor for ECG. Its Python API, loaded when it is used (docs/library.md):

`Monitor`, `analyse`, `detect_r_peaks`, `example`, `measure_typical_beat`, `score`; the results `Beat`, `Alarm`,
`Event`, `BeatIntervals`, `SignalAnalysis`; the settings `Config`, `load_config`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.core.config import Config, load_config
    from agent.core.events import Event
    from agent.core.messages import Alarm, Beat
    from agent.library.beat_scoring import score
    from agent.library.live_monitor import Monitor
    from agent.library.signal_analysis import SignalAnalysis, analyse, detect_r_peaks, example
    from agent.library.typical_beat import measure_typical_beat
    from model.intervals.beat_intervals import BeatIntervals

__all__ = [
    "Alarm",
    "Beat",
    "BeatIntervals",
    "Config",
    "Event",
    "Monitor",
    "SignalAnalysis",
    "analyse",
    "detect_r_peaks",
    "example",
    "load_config",
    "measure_typical_beat",
    "score",
]
_HOMES = {
    "Alarm": "agent.core.messages",
    "Beat": "agent.core.messages",
    "BeatIntervals": "model.intervals.beat_intervals",
    "Config": "agent.core.config",
    "Event": "agent.core.events",
    "Monitor": "agent.library.live_monitor",
    "SignalAnalysis": "agent.library.signal_analysis",
    "analyse": "agent.library.signal_analysis",
    "detect_r_peaks": "agent.library.signal_analysis",
    "example": "agent.library.signal_analysis",
    "load_config": "agent.core.config",
    "measure_typical_beat": "agent.library.typical_beat",
    "score": "agent.library.beat_scoring",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `ecg-agent --help` loads no PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'agent' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
