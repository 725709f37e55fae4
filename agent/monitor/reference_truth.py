"""The reference annotations of a record that is replayed, beside the beats that the monitor finds in it.

A replay counts its samples from the start of its record, in every run of it: after a jump, or in the next pass of a
loop. So the sample of a beat says by itself where in the record it lies. The annotations come from the record's file on
this machine, never from the device: a device that sends truths would be believed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agent.core.messages import Beat, Chunk, End, Gap, Result
from agent.core.sample_index import nearest_device_index, nearest_index_at_125_hz
from agent.core.views import BedView, ReferenceMark, ReferenceView
from model.errors import RecordError
from model.formats.signal_file import SignalFileOptions, open_signal_file
from model.records.episodes import RHYTHMS, rhythm_episodes
from model.records.wfdb_records import AAMI_CLASS_OF, read_reference
from model.scoring.beat_scores import DetectionCounts
from model.scoring.running_score import RunningScore


class ReferenceTruth:
    """A sink of results that compares beats with the annotations of one record."""

    def __init__(self, record: str, stated: SignalFileOptions) -> None:
        """`stated`: what a person says of a file that does not say it itself.

        Raises RecordError where the record cannot be read, or has no annotated beats.
        """
        opened = open_signal_file(record, stated)
        notes = read_reference(opened)
        if not any(symbol in AAMI_CLASS_OF for symbol in notes.symbols):
            raise RecordError(f"record {opened.path} has annotations, but no beat among them")
        self.score = RunningScore(notes, opened.fs)
        self._fs = opened.fs
        self._rhythms = rhythm_episodes(notes, opened.length)
        self._run = ""

    def push(self, messages: Sequence[Chunk | Gap | End], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002  # beats only
        """Take results; the beats of a new run are compared from its first one on."""
        for beat in results:
            if isinstance(beat, Beat):
                if beat.run != self._run:
                    self._run = beat.run
                    self.score.start_run()
                self.score.add(nearest_device_index(beat.sample, self._fs), beat.label)

    def annotate(self, beds: Sequence[BedView]) -> tuple[BedView, ...]:
        """Return beds with what the annotations say of the signal that is shown of them."""
        return tuple(replace(bed, reference=self._view(bed)) for bed in beds)

    def summary(self) -> str:
        """Return the score in a line."""
        score = self.score
        if not score.compared:
            return "reference: no beat compared"
        classes = "".join(
            f", {name} Se {share_text(counts.sensitivity)} +P {share_text(counts.positive_predictivity)}"
            for name, counts in (("V", score.counts.veb), ("S", score.counts.sveb))
        )
        agreed = f"{share_text(score.agreed / score.compared)} agree"
        return f"reference: {score.compared} annotated beats compared, {agreed}{classes}"

    def _view(self, bed: BedView) -> ReferenceView:
        known = np.flatnonzero(~np.isnan(bed.wave))
        first = bed.head - len(bed.wave) + int(known[0]) if len(known) else bed.head
        score = self.score
        beats = score.between(nearest_device_index(first, self._fs), nearest_device_index(bed.head, self._fs))
        marks = tuple(
            ReferenceMark(
                nearest_index_at_125_hz(beat.sample, self._fs), beat.symbol, beat.label, beat.sample in score.wrong
            )
            for beat in beats
        )
        rhythm = self._rhythm_at(nearest_device_index(bed.head, self._fs))
        counts = score.counts
        return ReferenceView(
            marks,
            rhythm,
            RHYTHMS.get(rhythm, rhythm),
            score.compared,
            score.agreed,
            _shares(counts.veb),
            _shares(counts.sveb),
        )

    def _rhythm_at(self, sample: int) -> str:
        return next((label for start, stop, label in self._rhythms if start <= sample < stop), "")


def share_text(share: float | None) -> str:
    """Return a share as a percentage, -- where there is none."""
    return "--" if share is None else f"{100 * share:.1f} %"


def _shares(counts: DetectionCounts) -> tuple[float | None, float | None]:
    return counts.sensitivity, counts.positive_predictivity
