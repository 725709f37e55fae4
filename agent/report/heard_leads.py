"""Which lead of a bed was heard when: the monitor analyses some, and hears the one that is good."""

from bisect import bisect_right
from collections.abc import Iterable

from agent.core.events import Event, HeardLeadChanged, RunStarted


class HeardLeads:
    """The leads that the starts of runs and the changes of the heard lead name. Samples are at 125 Hz.

    `analysed`: all leads that were analysed in some run, the heard one first.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        changes: dict[str, list[tuple[int, str]]] = {}
        names: list[str] = []
        for event in events:
            if isinstance(event, RunStarted | HeardLeadChanged):
                changes.setdefault(event.run, []).append((event.sample, event.lead))
                names.append(event.lead)
            if isinstance(event, RunStarted):
                names += event.others
        self.analysed = tuple(dict.fromkeys(names))
        self._changes = {run: sorted(of, key=lambda change: change[0]) for run, of in changes.items()}
        self._samples = {run: [sample for sample, _ in of] for run, of in self._changes.items()}

    def at(self, run: str, sample: float) -> str:
        """Return the lead that was heard at a sample of a run, "" where no event says it."""
        if run not in self._changes:
            return ""
        return self._changes[run][max(0, bisect_right(self._samples[run], sample) - 1)][1]

    def seconds_of(self, run: str, first: float, stop: float, fs: float) -> dict[str, float]:
        """Return how long each lead was heard in samples `first` to `stop` of a run."""
        heard: dict[str, float] = {}
        inside = [sample for sample in self._samples.get(run, ()) if first < sample < stop]
        for begin, end in zip([first, *inside], [*inside, stop], strict=True):
            name = self.at(run, begin)
            heard[name] = heard.get(name, 0.0) + max(0.0, end - begin) / fs
        return heard
