"""A quiz about beats: which beat of a record to ask for, what the reference and the monitor say, who was right."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.core.config import Config
from agent.core.events import StreamRefused
from agent.core.messages import Beat, Chunk, FloatArray
from agent.core.sample_index import nearest_device_index
from agent.evaluation.record_analysis import EVALUATION_RUN
from agent.pipeline.pipeline import Pipeline
from agent.wire.record_chunks import ResampledRecord
from model.errors import ConfigError, RecordError
from model.records.episodes import BEATS, CLASS_NAMES
from model.records.resample import FS
from model.records.wfdb_records import CLASSES, EC57_CLASS_OF, Record, RecordAnnotations, read_reference
from model.scoring.ec57 import match_record_beats, scorable_beats

SHOWN_S, BEFORE_S = 6.0, 3.6
"""Seconds of signal that are shown of a beat, and those of them before its R peak."""
ANALYSED_S = 30.0
"""Seconds of a record that are analysed at a time."""
LEAD_IN_S = 120.0
"""Seconds of the record that the monitor has seen of the patient when a beat is asked for, where there are so many."""
SETTLED_S = 5.0
"""Seconds after a beat by which the monitor has decided it, and the beat after it."""
LEARNING_QUIZ_S = 20.0
"""Beats before this time are not asked for: the monitor does not know the patient yet."""


@dataclass(frozen=True, slots=True)
class AskedBeat:
    """A beat: `wave` (n,) float32 mV at 125 Hz around it, its place `marked` in that, and what is to be known of it.

    `time_s` of the record; `symbol` and `label` of the reference; `verdict` of the monitor with its `confidence`, ""
    where it found no beat.
    """

    wave: FloatArray
    marked: int
    time_s: float
    symbol: str
    label: str
    verdict: str
    confidence: float

    @property
    def reference_text(self) -> str:
        """What the reference says, in words."""
        name = BEATS.get(self.symbol) or CLASS_NAMES[self.label]
        return f"{self.label}, {name}" + (f" ({self.symbol})" if self.symbol in BEATS else "")

    @property
    def verdict_text(self) -> str:
        """What the monitor says, in words."""
        return f"{self.verdict}, {100 * self.confidence:.0f} % sure" if self.verdict else "no beat"


@dataclass(slots=True)
class QuizScore:
    """Questions so far by reference and answer, and how many of them the monitor had right."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    monitor: Counter[str] = field(default_factory=Counter)

    def add(self, question: AskedBeat, answer: str) -> bool:
        """Take an answer; return whether it is that of the reference."""
        self.answers[question.label, answer] += 1
        self.monitor[question.label] += question.verdict == question.label
        return answer == question.label

    @property
    def asked(self) -> int:
        """Questions that were answered."""
        return self.answers.total()

    @property
    def right(self) -> int:
        """Those that were answered as the reference has it."""
        return sum(count for (label, answer), count in self.answers.items() if label == answer)


class BeatQuiz:
    """The questions of one record, drawn from the classes that it has, so that rare beats come, too; in its order.

    The monitor sees of the record what each question needs, so that no question is long in coming.
    """

    def __init__(self, record: Record, kind: str | None, rounds: int, rng: np.random.Generator) -> None:
        """`kind`: a class or symbol for every second question, or more where there is nothing else; None for any.

        Raises ConfigError where the record has no such beats, RecordError where it, or its annotations, cannot be read.
        """
        self.record = record
        self._notes = read_reference(record)
        self._symbols = _scorable_symbols(self._notes)
        self._samples, _ = scorable_beats(self._notes)
        self.chosen = self._draw(kind, rounds, rng)

    def questions(self, config: Config, classify: Callable[[FloatArray], FloatArray]) -> Iterator[AskedBeat]:
        """Yield the questions. Raises RecordError where the record cannot be read or monitored."""
        resampled = ResampledRecord(self.record, ANALYSED_S)
        monitor = _QuizMonitor(resampled, config, classify)
        for index in self.chosen:
            peak = round(self._samples[index] / self.record.fs * FS)
            monitor.watch(peak)
            yield self._question(resampled, monitor.heard_column, index, self._verdict(index, monitor.beats))

    def _draw(self, kind: str | None, rounds: int, rng: np.random.Generator) -> list[int]:
        """Return indices of beats in order, no beat twice; fewer than `rounds` where there are no more."""
        fs, length = self.record.fs, self.record.length
        inside = (self._samples >= LEARNING_QUIZ_S * fs) & (self._samples < length - (SHOWN_S - BEFORE_S) * fs)
        pools = {label: _shuffled(inside & self._is(label), rng) for label in CLASSES}
        wanted = _shuffled(inside & self._is(kind), rng) if kind is not None else []
        if kind is not None and not wanted:
            raise ConfigError(f"record {self.record.name} has no beats {kind}: ecg-agent simulate list --beat {kind}")
        if not any(pools.values()):
            raise RecordError(f"record {self.record.name} has no annotated beats to ask for")
        of_kind = set(wanted)
        others = {label: [index for index in pool if index not in of_kind] for label, pool in pools.items()}
        chosen: list[int] = []
        while len(chosen) < rounds and (wanted or any(others.values())):
            labels = [label for label in CLASSES if others[label]]
            if wanted and (len(chosen) % 2 == 0 or not labels):
                chosen.append(wanted.pop())
            else:
                chosen.append(others[str(rng.choice(labels))].pop())
        return sorted(chosen)

    def _is(self, kind: str) -> NDArray[np.bool_]:
        by_class = kind in CLASSES
        return np.array([(EC57_CLASS_OF[symbol] if by_class else symbol) == kind for symbol in self._symbols], bool)

    def _verdict(self, index: int, beats: Sequence[Beat]) -> Beat | None:
        """Return the beat that the monitor found for a beat of the reference, None where it found none."""
        found = np.array([nearest_device_index(beat.sample, self.record.fs) for beat in beats], np.int64)
        pairs = match_record_beats(self._notes, self.record.fs, found, start_s=0.0).pairs
        return next((beats[int(test)] for reference, test in pairs if reference == index), None)

    def _question(self, resampled: ResampledRecord, column: int, index: int, verdict: Beat | None) -> AskedBeat:
        peak_s = float(self._samples[index]) / self.record.fs
        first = max(0, round((peak_s - BEFORE_S) * FS))
        samples = resampled.read_samples(first, first + round(SHOWN_S * FS))[:, column]
        symbol = self._symbols[index]
        return AskedBeat(
            wave=samples.astype(np.float32),
            marked=round(peak_s * FS) - first,
            time_s=peak_s,
            symbol=symbol,
            label=EC57_CLASS_OF[symbol],
            verdict=verdict.label if verdict else "",
            confidence=verdict.confidence if verdict else 0.0,
        )


class _QuizMonitor:
    """A monitor that watches the record before each beat that is asked for, for two minutes at least."""

    def __init__(
        self, resampled: ResampledRecord, config: Config, classify: Callable[[FloatArray], FloatArray]
    ) -> None:
        self.beats: list[Beat] = []
        """The beats of the stretch that is watched."""
        self._resampled, self._config, self._classify = resampled, config, classify
        self._pipeline = Pipeline(config, classify)
        self._done = 0

    @property
    def heard_column(self) -> int:
        """Which of the signals that are sent is analysed first."""
        made = self._pipeline.beds[self._resampled.record.name].input
        return made.leads[0].index if made else 0

    def watch(self, peak: int) -> None:
        """Analyse until the beat at a sample at 125 Hz is decided. Raises RecordError where that cannot be."""
        begin = peak - round(LEAD_IN_S * FS)
        if self._done < begin:
            self.beats = []
            self._pipeline = Pipeline(self._config, self._classify)
            self._done = begin
        stop = min(peak + round(SETTLED_S * FS), self._resampled.length)
        while self._done < stop:
            self._analyse_block(min(self._done + round(ANALYSED_S * FS), stop))

    def _analyse_block(self, stop: int) -> None:
        resampled = self._resampled
        counts = resampled.quantise(resampled.read_samples(self._done, stop))
        name = resampled.record.name
        results = self._pipeline.push(
            [Chunk(name, EVALUATION_RUN, self._done, float(FS), resampled.leads, counts, 0.0)]
        )
        for item in results:
            if isinstance(item, StreamRefused):
                raise RecordError(f"record {name} cannot be monitored: {item.reason}")
        self.beats += [item for item in results if isinstance(item, Beat)]
        self._done = stop


def _shuffled(mask: NDArray[np.bool_], rng: np.random.Generator) -> list[int]:
    """Return the indices at which a mask (n,) is true, in any order."""
    indices: list[int] = rng.permutation(np.flatnonzero(mask)).tolist()
    return indices


def _scorable_symbols(notes: RecordAnnotations) -> list[str]:
    """Return the symbols of `scorable_beats`."""
    symbols: list[str] = []
    inside = False
    for symbol in notes.symbols:
        inside = symbol == "[" or (inside and symbol != "]")
        if symbol in EC57_CLASS_OF and not inside:
            symbols.append(symbol)
    return symbols
