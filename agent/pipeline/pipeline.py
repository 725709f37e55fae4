"""The pipeline, for one bed or many: this file alone holds the order of the stages.

    messages ─► door ─┬► detect ─► segment ─► classify ─► rhythm ─┬─► beats, events, alarms
                      └► waveform ────────────────────► alarms ◄──┘

Every stage keeps the state of all beds as rows and works on all rows with new samples at once. What comes out does not
depend on how the streams were cut into chunks, nor on what the other beds do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np

from agent.alarms.alarm_feed import WINDOW_DELAY, AlarmFeed
from agent.analysis.beat_context import LEAST_SCORE, BeatContextBuilder
from agent.analysis.beat_cutter import BeatCandidate, BeatCutter
from agent.analysis.lead_input import LeadInput, SampleBlock, chunks_to_millivolts
from agent.analysis.lead_state import LeadOffDetector, LeadStateChange
from agent.analysis.qrs_detector import QrsDetector, RPeak
from agent.analysis.rate_tracker import RateTracker
from agent.analysis.rhythm_windows import RhythmWindows, WindowScores
from agent.analysis.sample_ring import RowIndexArray, SampleRing
from agent.core.config import Config
from agent.core.events import Event, GapClosed, LeadStateChanged, RunEnded, RunStarted, StreamRefused
from agent.core.messages import Beat, BedView, Chunk, End, FloatArray, Gap, Priority, Result
from agent.pipeline.input_queue import BLOCKS_PER_PUSH, InputQueue, RunStart
from agent.pipeline.monitored_bed import MonitoredBed
from model.beats.cluster_smoothing import ClusterSmoothing
from model.errors import StreamError
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

LEAST_JOINT_MESSAGES = 8
"""Messages from which on it pays to unpack chunks together."""
LIVE_BED_S = 2.5
"""Beds are counted as others that have sent within so long."""


_StageOutput = RunStart | Gap | End | LeadStateChange | Event | WindowScores | BeatCandidate
EVENT_RANK, CANDIDATE_RANK, WINDOW_RANK = range(3)
"""What comes first of what was decided at the same sample."""


@dataclass(frozen=True, slots=True)
class _PendingOutput:
    """Something to tell once the net has spoken: an event, a look at the waveform, or a cut and its place in the batch.

    `order`: row, stretch, deciding sample, events before cuts before looks: the same whatever the chunks were.
    """

    bed: MonitoredBed
    order: tuple[int, int, int, int]
    what: "_StageOutput"
    place: int = 0


class Pipeline:
    """All beds. `classify` maps beats (n, 187) to probabilities (n, 5).

    One with the attribute `in_context` maps beats in their context (n, INPUTS) to log-probabilities (n, 6) of the
    classes and of no beat at all: the stage `segment` is then `agent.analysis.beat_context`, and
    `model.beats.cluster_smoothing` settles what is said of a beat.
    """

    def __init__(self, config: Config, classify: Callable[[FloatArray], FloatArray]) -> None:
        in_context = self._in_context = getattr(classify, "in_context", False)
        self._config, self._classify = config, classify
        self.beds: dict[str, MonitoredBed] = {}
        self._capacity = 1
        self._by_row: list[MonitoredBed] = []
        self._history = SampleRing()
        self._quality = LeadOffDetector(config.signal.flat_ms, config.signal.flat_uv)
        self._detector = QrsDetector(least=LEAST_SCORE if in_context else 0.0)
        self._segmenter = BeatContextBuilder(self._history) if in_context else BeatCutter(self._history)
        self._verdicts = ClusterSmoothing()
        self._rhythms = RateTracker(config.rhythm)
        self._rhythms.grow(1)
        self._waveforms = RhythmWindows(self._history, late=WINDOW_DELAY)
        self._watch = AlarmFeed(config, self._history)
        self.alarms = self._watch.alarms
        self._steps = InputQueue()
        self._found: list[_PendingOutput] = []
        self._inputs: list[FloatArray] = []
        self._out: list[Result] = []

    def push(self, messages: Iterable[Chunk | Gap | End], shared: bool = False) -> list[Result]:
        """Take what the link brought; return the beats, events and alarms it decides, in order within each bed.

        `shared`: a bed that has much more than the others goes on with the next push; `waiting` says so.
        """
        messages = list(messages)
        for message, x in zip(messages, self._millivolts(messages), strict=True):
            self._take(message, x)
        rounds = 0
        while self._steps and not (shared and rounds >= BLOCKS_PER_PUSH and 2 * len(self._steps) <= self._live()):
            rounds += 1
            self._advance()
            self._tell()  # the strip of an alarm is cut before the history has gone on
        out, self._out = self._out, []
        return out

    @property
    def waiting(self) -> bool:
        """Whether a bed has samples that were pushed and not analysed yet."""
        return len(self._steps) > 0

    def sated(self) -> dict[str, int]:
        """Beds that need no more before so many samples are analysed."""
        return {self._by_row[row].name: samples for row, samples in self._steps.sated().items()}

    def watch(self, now_s: float) -> list[Result]:
        """Look at the clock: beds from which nothing has come for too long."""
        out: list[Result] = []
        for row in self._steps.rows():
            self._by_row[row].busy_s = now_s
        for bed in self.beds.values():
            if bed.state(now_s, self._config.monitor.lost_s) == "no data" and not bed.silent:
                bed.silent = True
                out += self._watch.silent(bed.row, now_s)
        return out

    def finish(self) -> list[Result]:
        """The strips that were still waiting for what comes after their alarm."""
        return list(self._watch.finish())

    def view(self, name: str, samples: int, now_s: float) -> BedView:
        """One bed as the dashboard shows it at `now_s`, with the last `samples` of its wave."""
        bed = self.beds[name]
        state = bed.state(now_s, self._config.monitor.lost_s)
        return replace(
            bed.view(self._history, self._rhythms, samples, state, now_s),
            alarms=self.alarms.view(bed.row),
            silenced_until_s=self.alarms.silenced_until_s(bed.row),
            suspended=self.alarms.suspended(bed.row),
            rhythm_name=self.alarms.rhythm_name(bed.row),
        )

    def acknowledge(self, name: str, now_s: float) -> list[Result]:
        """A person has seen to the alarms of a bed."""
        return list(self.alarms.acknowledge(self.beds[name].row, now_s))

    def silence(self, name: str, now_s: float) -> None:
        """No sound from a bed for a while; asked for once more, sound again."""
        self.alarms.silence(self.beds[name].row, now_s)

    def urgency(self, name: str) -> int:
        """By which beds are sorted, the highest first."""
        return self.alarms.urgency(self.beds[name].row)

    def audible(self, name: str, now_s: float) -> Priority | None:
        """What should sound for a bed now."""
        return self.alarms.audible(self.beds[name].row, now_s)

    def heart_rate(self, name: str) -> float | None:
        """Beats a minute of a bed as they are shown now; None where no rate can be told."""
        bed = self.beds[name]
        if self.alarms.suspended(bed.row):
            return None
        return self._rhythms.heart_rate(bed.row, int(self._history.head[bed.row]))

    def _millivolts(self, messages: list[Chunk | Gap | End]) -> Iterable[FloatArray | None]:
        """The samples of chunks of many beds, found together; None for whatever needs a closer look."""
        if len(messages) < LEAST_JOINT_MESSAGES:
            return repeat(None, len(messages))
        chunks = [message for message in messages if isinstance(message, Chunk)]
        beds = (self.beds.get(chunk.bed) for chunk in chunks)
        found = iter(chunks_to_millivolts([bed.door if bed else None for bed in beds], chunks))
        return [next(found) if isinstance(message, Chunk) else None for message in messages]

    def _take(self, message: Chunk | Gap | End, x: FloatArray | None) -> None:
        """Bring a message through the door of its bed; the steps it makes wait their turn."""
        bed = self.beds.get(message.bed) or self._admit(message.bed)
        self._steps.put(bed.row)
        if isinstance(message, Chunk):
            bed.arrived_s, bed.sent_s = message.arrived_s, message.sent_s
            if bed.silent:
                bed.silent = False
                self._out += self._watch.heard_again(bed.row, bed.arrived_s)
            if bed.door is None or not bed.door.fits(message):
                x = None  # found for the door before
                if not self._open(bed, message):
                    bed.lost += len(message.counts)
                    return
            if bed.door is not None:
                bed.took(message)
                self._steps.put(bed.row, *bed.door.take(message, x))
            return
        if isinstance(message, Gap):
            bed.lost += message.count
        if bed.door is not None and message.run == bed.door.run:
            if isinstance(message, Gap):
                self._steps.put(bed.row, *bed.door.gap(message))
            else:
                end = replace(message, first=bed.door.at_fs(message.first), fs=FS)
                self._steps.put(bed.row, *bed.door.flush(), end)
        elif isinstance(message, End) and bed.refused:
            bed.ended = True

    def _open(self, bed: MonitoredBed, chunk: Chunk) -> bool:
        """A new door for a new run. Where the stream cannot be monitored the bed is refused, once for each reason."""
        if bed.door is not None:
            self._steps.put(bed.row, *bed.door.flush())
        try:
            bed.change(chunk)
            bed.door = LeadInput(chunk, self._config.monitor.lead)
        except StreamError as error:
            if bed.refused != str(error):
                bed.refused, bed.door = str(error), None
                sample = round(chunk.first * FS / chunk.fs)
                self._find(bed, sample, EVENT_RANK, StreamRefused(bed.name, chunk.run, sample, str(error)))
            return False
        bed.refused = ""
        self._steps.put(bed.row, RunStart(bed.door, bed.door.at_fs(chunk.first)))
        return True

    def _advance(self) -> None:
        """One block of each bed through the stages: beds with as many samples go together."""
        blocks: dict[int, list[tuple[int, FloatArray]]] = {}
        for row in self._steps.rows():
            x = self._next_block(row)
            if x is not None:
                blocks.setdefault(len(x), []).append((row, x))
        for group in blocks.values():
            self._analyse(np.array([row for row, _ in group]), np.stack([x for _, x in group]))

    def _next_block(self, row: int) -> FloatArray | None:
        """The next samples of a row, after what must happen before them, a few steps at most; None where none came."""
        bed = self._by_row[row]
        for _ in range(BLOCKS_PER_PUSH):
            step = self._steps.take(row)
            if step is None:
                break
            if isinstance(step, SampleBlock):
                self._end_gap(bed)
                return step.x
            self._turn(bed, step)
        return None

    def _live(self) -> int:
        """Beds that have sent lately, by the clock of what came last."""
        newest_s = max(bed.arrived_s for bed in self.beds.values())
        return sum(newest_s - bed.arrived_s < LIVE_BED_S and not bed.ended for bed in self.beds.values())

    def _turn(self, bed: MonitoredBed, step: RunStart | Gap | End) -> None:
        """A stretch of a bed is over: decide what can be decided, and start anew behind it."""
        if isinstance(step, Gap):
            self._gap(bed, step)
            return
        self._end_gap(bed)
        self._end_stretch(bed)
        self._find(bed, step.first, EVENT_RANK, step)
        if isinstance(step, End):
            bed.ended = True
            return
        self._tell()  # the strips of the old run are cut from the history
        bed.ended, bed.lead_state = False, "ok"
        self._history.reset(bed.row, step.first)
        self._quality.reset(bed.row, step.first, step.door.rails)
        self._detector.reset(bed.row, step.first)
        self._waveforms.reset(bed.row, step.first)
        self._segmenter.forget(bed.row)
        self._watch.reset(bed.row)

    def _gap(self, bed: MonitoredBed, step: Gap) -> None:
        """A gap begins, or the one that the bed is in goes on."""
        if bed.gap is None:
            self._end_stretch(bed)
            bed.gaps += 1
        self._find(bed, step.first, EVENT_RANK, step)
        if bed.gap is None:
            self._tell()  # strips are cut before the gap takes the place of older signal in the history
        bed.missing += step.count
        bed.gap = replace(bed.gap, count=bed.gap.count + step.count) if bed.gap else step
        self._history.skip(bed.row, step.count)
        self._quality.reset(bed.row, step.first + step.count)
        self._detector.resume(bed.row, step.first + step.count)
        self._waveforms.reset(bed.row, step.first + step.count)

    def _end_stretch(self, bed: MonitoredBed) -> None:
        self._keep(*self._segmenter.ready([bed.row], hold=False))
        self._seek(self._detector.flush(bed.row))
        self._keep(*self._segmenter.flush(bed.row))
        self._segmenter.reset(bed.row)
        self._see(self._waveforms.flush(bed.row))
        bed.stretch += 1

    def _end_gap(self, bed: MonitoredBed) -> None:
        if bed.gap is not None:
            gap = bed.gap
            self._find(bed, gap.first, EVENT_RANK, GapClosed(bed.name, gap.run, gap.first, gap.count, gap.reason))
            bed.gap = None

    def _analyse(self, rows: RowIndexArray, x: FloatArray) -> None:
        """Quality, R peaks and cuts of a block (rows, n)."""
        self._history.push(rows, x)
        for change in self._quality.push(rows, x):
            self._by_row[change.row].lead_state = change.state
            self._segmenter.interrupt(change.row, change.sample)
            self._find(self._by_row[change.row], change.sample, EVENT_RANK, change)
        self._seek(self._detector.push(rows, x))
        self._keep(*self._segmenter.ready(rows.tolist()))
        self._see(self._waveforms.push(rows))

    def _keep(self, cuts: list[BeatCandidate], inputs: FloatArray) -> None:
        """Keep cuts and what the net is to see of them until all beds are through."""
        if not cuts:
            return
        place = sum(map(len, self._inputs))
        self._inputs.append(inputs)
        for i, cut in enumerate(cuts):
            self._find(self._by_row[cut.row], cut.decided, CANDIDATE_RANK, cut, place + i)

    def _seek(self, peaks: list[RPeak]) -> None:
        self._watch.peaks(peaks)
        self._segmenter.push(peaks)

    def _see(self, looks: list[WindowScores]) -> None:
        for look in looks:
            self._find(self._by_row[look.row], look.sample, WINDOW_RANK, look)

    def _find(self, bed: MonitoredBed, sample: int, rank: int, what: _StageOutput, place: int = 0) -> None:
        self._found.append(_PendingOutput(bed, (bed.row, bed.stretch, sample, rank), what, place))

    def _tell(self) -> None:
        """Classify all beats found so far in one batch, follow the rhythm, and hand everything out in order."""
        probabilities = self._classify(np.concatenate(self._inputs)).tolist() if self._inputs else []
        for found in sorted(self._found, key=lambda found: found.order):
            bed, what = found.bed, found.what
            if isinstance(what, BeatCandidate):
                self._out += self._beat(bed, what, probabilities[found.place])
            elif isinstance(what, WindowScores):
                self._out += self._watch.look(what, bed.arrived_s)
            else:
                self._out += self._happened(bed, what)
        self._found.clear()
        self._inputs.clear()

    def _happened(self, bed: MonitoredBed, what: RunStart | Gap | End | LeadStateChange | Event) -> list[Result]:
        """What an event means for rhythm and alarms, and what is told of it."""
        row, at_s = bed.row, bed.arrived_s
        if isinstance(what, Event):
            return [what]
        if isinstance(what, LeadStateChange):
            self._rhythms.pause(row)
            self._watch.told(row, what)
            return [LeadStateChanged(bed.name, bed.run, what.sample, what.state)]
        if isinstance(what, Gap):
            self._rhythms.pause(row)
            return [*self._watch.gap(row, what, at_s)]
        if isinstance(what, End):
            return [*self._watch.end(row, what.first, at_s), RunEnded(bed.name, what.run, what.first)]
        run, lead = what.door.run, what.door.lead
        self._rhythms.reset(row)
        self._verdicts.reset(row)
        bed.beats.clear()
        bed.run = run
        begun = RunStarted(bed.name, run, what.first, lead.name, what.door.fs)
        return [begun, *self._watch.start(row, bed.name, run, lead.name, what.first, at_s)]

    def _beat(self, bed: MonitoredBed, cut: BeatCandidate, said: list[float]) -> list[Result]:
        """The beat of a cut, after what the net said; nothing where that is no beat."""
        rr_s = cut.rr_s
        if not self._in_context:
            probabilities = tuple(said)
        else:
            settled = self._verdicts.settle(bed.row, said, cut.cluster, cut.new, cut.noise)
            if settled is None:
                return []
            probabilities, rr_s = settled, self._rhythms.interval(bed.row, cut.sample)
        label = CLASSES[probabilities.index(max(probabilities))]
        beat = Beat(bed.name, cut.sample, cut.decided, label, probabilities, rr_s, bed.arrived_s)
        self._rhythms.push(bed.row, beat)
        rate = self._rhythms.heart_rate(bed.row, cut.decided)
        beat = replace(beat, heart_rate=rate, found=cut.found, sent_s=bed.sent_s, run=bed.run)
        bed.beats.append(beat)
        self._watch.told(bed.row, beat)
        return [beat]

    def _admit(self, name: str) -> MonitoredBed:
        """A row for a bed that is new; arrays grow in powers of two."""
        bed = self.beds[name] = MonitoredBed(name, row=len(self.beds))
        self._by_row.append(bed)
        if len(self.beds) > self._capacity:
            self._capacity *= 2
            for stage in (
                self._history,
                self._quality,
                self._detector,
                self._segmenter,
                self._rhythms,
                self._verdicts,
                self._waveforms,
                self._watch,
            ):
                stage.grow(self._capacity)
        return bed
