"""model.records.episodes: where a record has a rhythm, or beats of a kind."""

import numpy as np
import pytest

from model.errors import ConfigError
from model.records.episodes import (
    BEATS,
    CLASS_NAMES,
    RHYTHMS,
    find_beats,
    find_place,
    find_rhythm,
    parse_clock,
    rhythm_episodes,
    rhythm_label,
)
from model.records.wfdb_records import (
    AAMI_CLASS_OF,
    CLASSES,
    Record,
    RecordAnnotations,
    embedded_records,
    open_record,
    read_reference,
)

RECORD = Record("made", None, 100.0, 10_000, (), ())  # type: ignore[arg-type]  # its file is not read


def notes(*entries: tuple[int, str, str]) -> RecordAnnotations:
    samples, symbols, texts = zip(*entries, strict=True)
    return RecordAnnotations(np.array(samples, np.int64), symbols, texts)


MADE = notes(
    (0, "+", "(N"),
    (100, "N", ""),
    (200, "V", ""),
    (300, "V", ""),
    (400, "N", ""),
    (450, "+", "(AFIB"),
    (500, "L", ""),
    (600, "A", ""),
    (650, "+", "(AFIB"),
    (700, "~", ""),
    (800, "V", ""),
    (900, "+", "(VT"),
)


def test_rhythms_last_until_the_next_one() -> None:
    """A rhythm ends where another begins, or with the record; a label that is repeated goes on."""
    assert rhythm_episodes(MADE, RECORD.length) == [(0, 450, "N"), (450, 900, "AFIB"), (900, 10_000, "VT")]
    (episode,) = find_rhythm(RECORD, MADE, "AF")
    assert (episode.record, episode.start_s, episode.length_s) == ("made", 4.5, 4.5)
    assert episode.what == "AFIB  atrial fibrillation"
    assert find_rhythm(RECORD, MADE, "svta") == []


def test_runs_of_beats() -> None:
    """Neighbours of a kind are one run, whatever is annotated between; VV leaves out the single ones."""
    found = [(one.start_s, one.length_s, one.what) for one in find_beats(RECORD, MADE, "V")]
    assert found == [(2.0, 1.0, "V  ventricular ectopic couplet"), (8.0, 0.0, "V  ventricular ectopic beat")]
    assert [one.start_s for one in find_beats(RECORD, MADE, "VV")] == [2.0]
    assert [one.what for one in find_beats(RECORD, MADE, "L")] == ["L  left bundle branch block beat"]
    assert [one.start_s for one in find_beats(RECORD, MADE, "N")] == [1.0, 4.0]
    assert [one.length_s for one in find_beats(RECORD, MADE, "N")] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("place", "start_s"), [("V", 2.0), ("A", 6.0), ("AF", 4.5), ("vt", 9.0), ("N", 1.0), ("NSR", 0.0), ("Q", None)]
)
def test_a_place(place: str, start_s: float | None) -> None:
    """The letter of a class means its first beat; what else is a rhythm means its first episode."""
    found = find_place(RECORD, MADE, place)
    assert (found.start_s if found else None) == start_s


@pytest.mark.parametrize(("text", "seconds"), [("5:30", 330.0), ("1:02:03.5", 3723.5), ("90", 90.0), ("0.5", 0.5)])
def test_times(text: str, seconds: float) -> None:
    """A time has minutes and hours where it has colons."""
    assert parse_clock(text) == seconds


@pytest.mark.parametrize("text", ["", "AF", "-5", "1:", "1:2:3:4", "5:3o", "1e3", "٣"])
def test_no_times(text: str) -> None:
    """What is no time is left to be a rhythm or a beat."""
    assert parse_clock(text) is None


def test_wrong_names_say_the_right_ones() -> None:
    """A rhythm, a kind of beats or a place that is not there is one line with those that are."""
    for ask in (
        lambda: rhythm_label("XX"),
        lambda: find_beats(RECORD, MADE, "VN"),
        lambda: find_place(RECORD, MADE, "?"),
    ):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert "choose" in str(caught.value) or "give a time" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"AFIB \(AF\)"):
        rhythm_label("XX")


def test_every_rhythm_and_beat_of_the_database_has_a_name() -> None:
    """No label or symbol of the embedded records is without words."""
    for name in embedded_records():
        record = open_record(name)
        found = read_reference(record)
        assert {label for _, _, label in rhythm_episodes(found, record.length)} <= set(RHYTHMS)
        symbols = {symbol for symbol in found.symbols if symbol in AAMI_CLASS_OF}
        assert symbols <= {*BEATS, *CLASSES}
    assert set(CLASS_NAMES) == set(CLASSES)
