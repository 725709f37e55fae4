"""The pipeline, for one bed or many: this file alone holds the order of the stages.

    messages ─► door ─► detect ─► segment ─► classify ─► rhythm ─► beats and events

Every stage keeps the state of all beds as rows and works on all rows with new samples at once. What comes out does not
depend on how the streams were cut into chunks, nor on what the other beds do.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from agent.bed import Bed
from agent.config import Config
from agent.context import LEAST, Contexts
from agent.detect import Detector
from agent.door import Door, Stretch, describe
from agent.history import History, Rows
from agent.messages import Beat, BedView, Chunk, End, Event, EventKind, Floats, Gap
from agent.quality import Quality, reason
from agent.rhythm import Rhythms
from agent.segment import Cut, Segmenter
from model.errors import StreamError
from model.records import CLASSES
from model.resample import FS
from model.verdict import Verdicts

BLOCK = 250
"""Most samples of a bed that go through the stages at once; far less than the history holds."""


@dataclass(frozen=True, slots=True)
class _Start:
    """A new run of a bed, or the same with other leads, comes in through a new door."""

    door: Door
    first: int


_Step = _Start | Stretch | Gap | End


@dataclass(frozen=True, slots=True)
class _Found:
    """Something to tell once the net has spoken: an event, or a cut and its place in the batch."""

    bed: Bed
    order: tuple[int, int, int, bool]
    """Row, stretch, deciding sample, cuts after events: the same whatever the chunks were."""
    event: Event | None = None
    cut: Cut | None = None
    place: int = 0


class Ward:
    """All beds. `classify` maps beats (n, 187) to probabilities (n, 5).

    One with the attribute `in_context` maps beats in their context (n, INPUTS) to log-probabilities (n, 6) of the
    classes and of no beat at all: the stage `segment` is then `agent.context`, and `model.verdict` settles what is said
    of a beat.
    """

    def __init__(self, config: Config, classify: Callable[[Floats], Floats]) -> None:
        in_context = self._in_context = getattr(classify, "in_context", False)
        self._config, self._classify = config, classify
        self.beds: dict[str, Bed] = {}
        self._capacity = 1
        self._by_row: list[Bed] = []
        self._history = History()
        self._quality = Quality(config.signal.flat_ms, config.signal.flat_uv)
        self._detector = Detector(least=LEAST if in_context else 0.0)
        self._segmenter = Contexts(self._history) if in_context else Segmenter(self._history)
        self._verdicts = Verdicts()
        self._rhythms = Rhythms(config.rhythm)
        self._rhythms.grow(1)
        self._steps: dict[int, deque[_Step]] = {}
        self._found: list[_Found] = []
        self._inputs: list[Floats] = []

    def push(self, messages: Iterable[Chunk | Gap | End]) -> list[Beat | Event]:
        """Take what the link brought; return the beats and events it decides, in order within each bed."""
        for message in messages:
            self._take(message)
        while self._steps:
            self._advance()
        return self._tell()

    def view(self, name: str, samples: int, now_s: float) -> BedView:
        """One bed as the dashboard shows it at `now_s`, with the last `samples` of its wave."""
        bed = self.beds[name]
        state = bed.state(now_s, self._config.monitor.lost_s)
        return bed.view(self._history, self._rhythms, samples, state, now_s)

    def _take(self, message: Chunk | Gap | End) -> None:
        """Bring a message through the door of its bed; the steps it makes wait their turn."""
        bed = self.beds.get(message.bed) or self._admit(message.bed)
        steps = self._steps.setdefault(bed.row, deque())
        if isinstance(message, Chunk):
            bed.arrived_s, bed.sent_s = message.arrived_s, message.sent_s
            if (bed.door is None or not bed.door.fits(message)) and not self._open(bed, message, steps):
                bed.lost += len(message.counts)
                return
            if bed.door is not None:
                bed.analysed += len(message.counts)
                steps += bed.door.take(message)
            return
        if isinstance(message, Gap):
            bed.lost += message.count
        if bed.door is not None and message.run == bed.door.run:
            if isinstance(message, Gap):
                steps += bed.door.gap(message)
            else:
                steps += [*bed.door.flush(), replace(message, first=bed.door.at_fs(message.first), fs=FS)]
        elif isinstance(message, End) and bed.refused:
            bed.ended = True

    def _open(self, bed: Bed, chunk: Chunk, steps: deque[_Step]) -> bool:
        """A new door for a new run. Where the stream cannot be monitored the bed is refused, once for each reason."""
        if bed.door is not None:
            steps += bed.door.flush()
        try:
            bed.door = Door(chunk, self._config.monitor.lead)
        except StreamError as error:
            if bed.refused != str(error):
                bed.refused, bed.door = str(error), None
                self._event(bed, round(chunk.first * FS / chunk.fs), "refused", str(error))
            return False
        bed.refused = ""
        steps.append(_Start(bed.door, bed.door.at_fs(chunk.first)))
        return True

    def _advance(self) -> None:
        """One block of each bed through the stages: beds with as many samples go together."""
        blocks: dict[int, list[tuple[int, Floats]]] = {}
        for row in list(self._steps):
            x = self._next_block(row)
            if x is None:
                del self._steps[row]
            else:
                blocks.setdefault(len(x), []).append((row, x))
        for group in blocks.values():
            self._analyse(np.array([row for row, _ in group]), np.stack([x for _, x in group]))

    def _next_block(self, row: int) -> Floats | None:
        """The next samples of a row, after what must happen before them; None where there is nothing left."""
        steps = self._steps[row]
        while steps:
            step = steps.popleft()
            if isinstance(step, Stretch):
                if len(step.x) > BLOCK:
                    steps.appendleft(Stretch(step.first + BLOCK, step.x[BLOCK:]))
                self._end_gap(self._by_row[row])
                return step.x[:BLOCK]
            self._turn(self._by_row[row], step)
        return None

    def _turn(self, bed: Bed, step: _Start | Gap | End) -> None:
        """A stretch of a bed is over: decide what can be decided, and start anew behind it."""
        if isinstance(step, Gap):
            self._gap(bed, step)
            return
        self._end_gap(bed)
        self._end_stretch(bed)
        if isinstance(step, End):
            bed.ended = True
            self._event(bed, step.first, "end", "the run ended")
            return
        bed.ended, bed.lead_state = False, "ok"
        self._history.reset(bed.row, step.first)
        self._quality.reset(bed.row, step.first, step.door.rails)
        self._detector.reset(bed.row, step.first)
        self._segmenter.forget(bed.row)
        self._event(bed, step.first, "start", f"run {step.door.run[:8]}, {describe(step.door.lead, step.door.fs)}")

    def _gap(self, bed: Bed, step: Gap) -> None:
        """A gap begins, or the one that the bed is in goes on."""
        if bed.gap is None:
            self._end_stretch(bed)
            bed.gaps += 1
        bed.missing += step.count
        bed.gap = replace(bed.gap, count=bed.gap.count + step.count) if bed.gap else step
        self._history.skip(bed.row, step.count)
        self._quality.reset(bed.row, step.first + step.count)
        self._detector.resume(bed.row, step.first + step.count)

    def _end_stretch(self, bed: Bed) -> None:
        self._keep(*self._segmenter.ready([bed.row], hold=False))
        self._segmenter.push(self._detector.flush(bed.row))
        self._keep(*self._segmenter.flush(bed.row))
        self._segmenter.reset(bed.row)
        bed.stretch += 1

    def _end_gap(self, bed: Bed) -> None:
        if bed.gap is not None:
            count, why = bed.gap.count, bed.gap.reason
            self._event(bed, bed.gap.first, "gap", f"gap of {count / FS:.2f} s: {count} samples {why}")
            bed.gap = None

    def _analyse(self, rows: Rows, x: Floats) -> None:
        """Quality, R peaks and cuts of a block (rows, n)."""
        self._history.push(rows, x)
        for change in self._quality.push(rows, x):
            self._by_row[change.row].lead_state = change.state
            self._segmenter.interrupt(change.row, change.sample)
            self._event(self._by_row[change.row], change.sample, "signal", reason(change.state))
        self._segmenter.push(self._detector.push(rows, x))
        self._keep(*self._segmenter.ready(rows.tolist()))

    def _keep(self, cuts: list[Cut], inputs: Floats) -> None:
        """Keep cuts and what the net is to see of them until all beds are through."""
        if not cuts:
            return
        place = sum(map(len, self._inputs))
        self._inputs.append(inputs)
        for i, cut in enumerate(cuts):
            bed = self._by_row[cut.row]
            order = (cut.row, bed.stretch, cut.decided, True)
            self._found.append(_Found(bed, order, cut=cut, place=place + i))

    def _event(self, bed: Bed, sample: int, kind: EventKind, text: str) -> None:
        order = (bed.row, bed.stretch, sample, False)
        self._found.append(_Found(bed, order, event=Event(bed.name, sample, kind, text)))

    def _tell(self) -> list[Beat | Event]:
        """Classify all beats of this push in one batch, follow the rhythm, and hand everything out in order."""
        probabilities = self._classify(np.concatenate(self._inputs)).tolist() if self._inputs else []
        out: list[Beat | Event] = []
        for found in sorted(self._found, key=lambda found: found.order):
            if found.cut is not None:
                beat = self._beat(found.bed, found.cut, probabilities[found.place])
                out += [beat] if beat else []
            elif found.event is not None:
                self._follow(found.bed, found.event)
                out.append(found.event)
        self._found.clear()
        self._inputs.clear()
        return out

    def _beat(self, bed: Bed, cut: Cut, said: list[float]) -> Beat | None:
        """The beat of a cut, after what the net said; None where that is no beat."""
        rr_s = cut.rr_s
        if not self._in_context:
            probabilities = tuple(said)
        else:
            settled = self._verdicts.settle(bed.row, said, cut.cluster, cut.new, cut.noise)
            if settled is None:
                return None
            probabilities, rr_s = settled, self._rhythms.interval(bed.row, cut.sample)
        label = CLASSES[probabilities.index(max(probabilities))]
        beat = Beat(bed.name, cut.sample, cut.decided, label, probabilities, rr_s, bed.arrived_s)
        self._rhythms.push(bed.row, beat)
        rate = self._rhythms.heart_rate(bed.row, cut.decided)
        beat = replace(beat, heart_rate=rate, found=cut.found, sent_s=bed.sent_s)
        bed.beats.append(beat)
        return beat

    def _follow(self, bed: Bed, event: Event) -> None:
        """What an event means for the rhythm."""
        if event.kind in ("gap", "signal"):
            self._rhythms.pause(bed.row)
        elif event.kind == "start":
            self._rhythms.reset(bed.row)
            self._verdicts.reset(bed.row)
            bed.beats.clear()

    def _admit(self, name: str) -> Bed:
        """A row for a bed that is new; arrays grow in powers of two."""
        bed = self.beds[name] = Bed(name, row=len(self.beds))
        self._by_row.append(bed)
        if len(self.beds) > self._capacity:
            self._capacity *= 2
            stages = (self._history, self._quality, self._detector, self._segmenter, self._rhythms, self._verdicts)
            for stage in stages:
                stage.grow(self._capacity)
        return bed
