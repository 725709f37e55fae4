"""What a replica keeps for the store: what others have told goes, what nobody has told stays, in order."""

from typing import Any

import numpy as np
import pytest

from agent.core.messages import Chunk, End, Gap
from agent.store import kept_rows
from agent.store.kept_rows import KeptRows
from agent.store.store_messages import AlarmTold, BeatTold, BedWord, EventTold

FS = 250.0


def chunk(first: int, stop: int, run: str = "r") -> Chunk:
    return Chunk("1", run, first, FS, (), np.zeros((stop - first, 1), np.int32), 0.0)


def gap(first: int, stop: int, run: str = "r") -> Gap:
    return Gap("1", run, first, stop - first, FS, "lost")


def beat(sample: int, run: str = "r") -> BeatTold:
    return BeatTold("1", run, sample, sample, sample, "N", "[]", None, None)


def alarm(onset: int, ended: int | None = None, run: str = "r") -> AlarmTold:
    return AlarmTold("1", run, "pause", onset, "medium", "", onset, 0.0, 1, ended, None)


def event(sample: int, run: str = "r") -> EventTold:
    return EventTold(f"{run}{sample}", "a", "1", run, sample, 0.0, "gap", "", None, None)


def word(told: int, following: int = 0, run: str = "r", speaks: bool = False) -> BedWord:
    return BedWord("1", speaks, run, told, following, FS)


def kept(*messages: Chunk | Gap | End) -> KeptRows:
    rows = KeptRows("1")
    for message in messages:
        rows.follow(message)
    return rows


def pieces(rows: KeptRows) -> list[Any]:
    return [(span.run, *span.pieces, span.ended) for span in rows.spans()]


def test_pieces_of_a_run() -> None:
    """Samples that follow each other are one piece, a gap is one of its own, and what the store has goes."""
    rows = kept(chunk(0, 100), chunk(100, 250), gap(250, 300), gap(300, 310), chunk(310, 400))
    assert pieces(rows) == [("r", (0, 250, False), (250, 310, True), (310, 400, False), False)]
    rows.follow_store(word(-1, 305))
    assert pieces(rows) == [("r", (305, 310, True), (310, 400, False), False)]
    rows.follow(End("1", "r", 400, FS))
    told = rows.spans()
    rows.follow(chunk(0, 50, run="s"))
    rows.confirm(told, [], [], [])
    assert pieces(rows) == [("s", (0, 50, False), False)]
    assert rows.waiting


def test_what_another_has_told_goes() -> None:
    """Beats up to the latest told one, alarms and events that were known two seconds before it."""
    rows = kept(chunk(0, 4000))
    found = {100: [alarm(20)], 200: [alarm(10, 200)], 1000: [alarm(30, 900), alarm(40, 1000)], 1100: []}
    for sample, alarms in found.items():
        rows.add_beat(beat(sample))
        rows.add_event(event(sample))
        for state in alarms:
            rows.add_alarm(state)
    rows.follow_store(word(1000, 4000))
    beats, alarms, events = rows.rows(10)
    assert [row.sample for row in beats] == [1100]
    assert [row.onset for row in alarms] == [30, 40]
    assert [row.sample for row in events] == [1000, 1100]


def test_an_end_that_is_found_late_stays() -> None:
    """Whoever spoke may have told beats long after what ended an alarm, and died before it found the end."""
    rows = kept(chunk(0, 8000))
    for sample in (1000, 2000, 3000):
        rows.add_beat(beat(sample))
    rows.add_alarm(alarm(100, ended=900))
    rows.follow_store(word(3000))
    assert [row.ended for row in rows.rows(10)[1]] == [900]
    rows.add_beat(beat(3300))
    rows.follow_store(word(3300))
    assert rows.rows(10)[1] == []


def test_late_beats_of_a_run_stay_until_the_next_one_has_a_beat() -> None:
    """The one that speaks may have died with the last beats of a run, though the next run had begun."""
    rows = kept(chunk(0, 500), chunk(0, 100, run="s"))
    for found in (beat(100), beat(300), beat(50, run="s")):
        rows.add_beat(found)
    rows.follow_store(word(-1, 100, run="s"))
    assert [row.sample for row in rows.rows(9)[0]] == [100, 300, 50]
    rows.follow_store(word(20, 100, run="s"))
    assert [(row.run, row.sample) for row in rows.rows(9)[0]] == [("s", 50)]
    assert pieces(rows) == []


def test_a_run_of_the_store_that_has_not_come_changes_nothing() -> None:
    """Whoever lags behind, or has only the run after it, forgets nothing."""
    rows = kept(chunk(0, 500))
    rows.add_beat(beat(100))
    rows.follow_store(word(900, 1000, run="later"))
    rows.follow_store(BedWord("1", True, "", -1, 0, 0.0))
    assert rows.count == 1
    assert pieces(rows) == [("r", (0, 500, False), False)]


def test_what_was_told_goes_unless_it_has_changed() -> None:
    """An alarm that is over by the time its announcement is confirmed is told again."""
    rows = kept(chunk(0, 500))
    rows.add_alarm(alarm(10))
    rows.add_alarm(alarm(20))
    rows.add_event(event(30))
    rows.add_beat(beat(40))
    spans, (beats, alarms, events) = rows.spans(), rows.rows(9)
    rows.add_alarm(alarm(10, ended=60))
    rows.add_beat(beat(70))
    rows.follow(chunk(500, 600))
    rows.confirm(spans, beats, alarms, events)
    beats, alarms, events = rows.rows(9)
    assert [row.sample for row in beats] == [70]
    assert [(row.onset, row.ended) for row in alarms] == [(10, 60)]
    assert events == []
    assert pieces(rows) == [("r", (500, 600, False), False)]


def test_what_waits_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first."""
    monkeypatch.setattr(kept_rows, "MOST_BEATS", 3)
    monkeypatch.setattr(kept_rows, "MOST_OTHERS", 2)
    monkeypatch.setattr(kept_rows, "MOST_PIECES", 3)
    rows = kept(chunk(0, 10), gap(10, 20), chunk(20, 30), gap(30, 40), chunk(40, 50))
    for sample in range(5):
        rows.add_beat(beat(sample))
        rows.add_alarm(alarm(sample))
        rows.add_event(event(sample))
    beats, alarms, events = rows.rows(2)
    assert [row.sample for row in beats] == [2, 3]
    assert [row.onset for row in alarms] == [3, 4]
    assert [row.sample for row in events] == [3, 4]
    assert rows.dropped == 2 + 3 + 3
    ((_, *left, _),) = pieces(rows)
    assert len(left) == 3
    assert [left[0][0], left[-1][1]] == [0, 50]
