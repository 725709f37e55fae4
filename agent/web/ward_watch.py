"""The browser's part of the monitor's loop: what is new of the beds that are seen, at a fixed rate, for the server.

It stands around the viewer at the terminal, as the session has one viewer. While no browser watches it does nothing.
"""

from collections.abc import Mapping, Sequence, Set

import numpy as np

from agent.core.events import AlarmsHandled, BedSettingsChanged
from agent.core.messages import Alarm, Beat, Chunk, End, Gap, Result
from agent.core.output_settings import WebConfig
from agent.monitor.monitor_session import MonitorSession
from agent.monitor.result_sinks import Viewer
from agent.monitor.ward_source import WardSource
from agent.pipeline.monitored_bed import MonitoredBed
from agent.web.hand_over import HandOver, Stretch, TraceKey, TracePosition, WavePulse
from agent.web.wave_counts import to_counts
from model.records.resample import FS

MOST_PAST = 30 * FS
"""Samples of a bed that are handed over at most."""
SHORT = 64
"""Stretches up to this length are cut from all rings at once."""
CHANGES = Alarm | AlarmsHandled | BedSettingsChanged
"""Results that bring the next ward forward."""
ANSWERS_A_TURN = 4
"""Questions that are answered before the loop goes on."""


class WardWatch:
    """A viewer that serves browsers besides showing what `inner`, the one at the terminal, shows."""

    def __init__(self, inner: Viewer, session: WardSource, hand_over: HandOver, config: WebConfig) -> None:
        self._inner, self._session, self._hand_over = inner, session, hand_over
        self._pulse_s, self._ward_s = 1 / config.pulses_per_s, 1 / config.wards_per_s
        self._pulse_due_s = self._ward_due_s = 0.0
        self._number = self._arrivals = 0
        self._seen: Set[TraceKey] = frozenset()
        """The beds of the latest ward."""

    @property
    def keyboard(self) -> int | None:
        """Return that of the viewer at the terminal."""
        return self._inner.keyboard

    def push(self, messages: Sequence[Chunk | Gap | End], results: Sequence[Result], now_s: float) -> None:
        """Take results; an alarm that changes brings the next ward forward."""
        self._inner.push(messages, results, now_s)
        if self._hand_over.wanted is not None and any(isinstance(item, CHANGES) for item in results):
            self._ward_due_s = 0.0

    def refresh(self, now_s: float) -> bool:
        """Answer what browsers asked for, show what is due at the terminal, then hand over what is new."""
        for _ in range(ANSWERS_A_TURN):
            if not self._answer_question():
                break
        goes_on = self._inner.refresh(now_s)
        self._hand_new(now_s)
        return goes_on

    def patience_s(self, now_s: float) -> float:
        """Return the seconds for which nothing will be due."""
        patience_s = self._inner.patience_s(now_s)
        return patience_s if self._hand_over.wanted is None else min(patience_s, max(0.0, self._pulse_due_s - now_s))

    def finish(self) -> None:
        """Show at the terminal what is only known at the end."""
        self._inner.finish()

    def _answer_question(self) -> bool:
        question = self._hand_over.take_question()
        if question is None:
            return False
        if question.answer.set_running_or_notify_cancel():
            try:
                question.answer.set_result(question.ask(self._session))
            except Exception as error:  # it is the asker's, and must not end the monitor
                question.answer.set_exception(error)
        return True

    def _hand_new(self, now_s: float) -> None:
        wanted = self._hand_over.wanted
        if wanted is None or now_s < self._pulse_due_s:
            return
        # At a steady rate: a turn that came late does not delay those after it
        self._pulse_due_s = max(self._pulse_due_s + self._pulse_s, now_s + self._pulse_s / 2)
        seen = wanted.keys()
        arrivals = self._hand_over.arrivals
        if now_s >= self._ward_due_s or seen != self._seen or arrivals != self._arrivals:
            self._seen, self._arrivals = seen, arrivals
            self._ward_due_s = now_s + self._ward_s
            ward = self._session.ward_snapshot(now_s)
            known = {bed.bed for bed in ward.index}
            names = dict.fromkeys(key.bed for key in wanted if key.bed in known)
            self._hand_over.ward = self._session.with_beds(ward, names)
        self._number += 1
        session = self._session
        stretches = cut_stretches(session, wanted) if isinstance(session, MonitorSession) else ()
        self._hand_over.pulse = WavePulse(self._number, now_s, stretches)
        self._hand_over.wake()


def cut_stretches(session: MonitorSession, wanted: Mapping[TraceKey, TracePosition]) -> tuple[Stretch, ...]:
    """Return what is new of the wanted beds since the positions up to which they are known."""
    beds, ring = session.pipeline.beds, session.pipeline.samples.ring
    short: list[tuple[TraceKey, TracePosition, MonitoredBed, int]] = []
    stretches = []
    for key, position in wanted.items():
        bed = beds.get(key.bed)
        if bed is None or bed.input is None:
            continue
        head = int(ring.head[bed.heard_row])
        new = head - position.next
        known = position.run == bed.run and position.lead == bed.heard_lead and 0 <= new <= MOST_PAST
        if known and new <= SHORT and not key.full:
            if new or (bed.beats and bed.beats[-1].sample > position.last_beat):
                short.append((key, position, bed, head))
            continue
        count = new if known else MOST_PAST
        rows = [bed.heard_row, *(row for row in bed.lead_rows[: len(bed.lead_names)] if row != bed.heard_row)]
        samples = tuple(to_counts(ring.last(row, count)) for row in (rows if key.full else rows[:1]))
        after = position.last_beat if known else head - count - 1
        first = head - count
        stretches.append(
            Stretch(key, bed.run, bed.heard_lead, first, samples, not known, _beats(bed, after), bed.arrived_s)
        )
    if short:
        rows_of = np.array([bed.heard_row for _, _, bed, _ in short])
        firsts = np.array([position.next for _, position, _, _ in short])
        longest = max(head - position.next for _, position, _, head in short)
        cut = to_counts(ring.shown(rows_of, firsts, longest))
        for (key, position, bed, head), samples_of in zip(short, cut, strict=True):
            new = samples_of[: head - position.next]
            beats = _beats(bed, position.last_beat)
            stretches.append(Stretch(key, bed.run, position.lead, position.next, (new,), False, beats, bed.arrived_s))
    return tuple(stretches)


def _beats(bed: MonitoredBed, after: int) -> tuple[Beat, ...]:
    """Return the latest beats of the run behind a sample."""
    if not bed.beats or bed.beats[-1].sample <= after:
        return ()
    return tuple(beat for beat in bed.beats if beat.sample > after and beat.run == bed.run)
