"""Where in a record something is to be seen: episodes of a rhythm, and beats of a kind, by its reference annotations.

The labels of rhythms are those of the MIT-BIH Arrhythmia Database, in the texts of its `+` annotations.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from model.errors import ConfigError
from model.records.wfdb_records import AAMI_CLASS_OF, CLASSES, Record, RecordAnnotations

RHYTHMS = {
    "AB": "atrial bigeminy",
    "AFIB": "atrial fibrillation",
    "AFL": "atrial flutter",
    "B": "ventricular bigeminy",
    "BII": "second-degree heart block",
    "IVR": "idioventricular rhythm",
    "N": "normal sinus rhythm",
    "NOD": "nodal (AV junctional) rhythm",
    "P": "paced rhythm",
    "PREX": "pre-excitation (WPW)",
    "SBR": "sinus bradycardia",
    "SVTA": "supraventricular tachyarrhythmia",
    "T": "ventricular trigeminy",
    "VFL": "ventricular flutter",
    "VT": "ventricular tachycardia",
}
"""Labels of rhythms, and their names in words."""
RHYTHM_ALIASES = {
    "AF": "AFIB",
    "NSR": "N",
    "SVT": "SVTA",
    "VF": "VFL",
    "WPW": "PREX",
    "BIGEMINY": "B",
    "TRIGEMINY": "T",
    "PACED": "P",
}
"""Other names that the field uses for them."""
BEATS = {
    "L": "left bundle branch block beat",
    "R": "right bundle branch block beat",
    "B": "bundle branch block beat",
    "A": "atrial premature beat",
    "a": "aberrated atrial premature beat",
    "J": "nodal premature beat",
    "e": "atrial escape beat",
    "j": "nodal escape beat",
    "E": "ventricular escape beat",
    "/": "paced beat",
    "f": "fusion of paced and normal beat",
}
"""WFDB symbols of beats that are no class by themselves, in words."""
CLASS_NAMES = {
    "N": "normal or bundle branch block",
    "S": "supraventricular ectopic",
    "V": "ventricular ectopic",
    "F": "fusion of ventricular and normal",
    "Q": "paced or unclassifiable",
}
"""The classes in words."""
RUN_NAMES = {1: "beat", 2: "couplet", 3: "triplet"}


@dataclass(frozen=True, slots=True)
class RecordEpisode:
    """An episode of a record: seconds from its start, its length (0: a single beat), and what it is in words."""

    record: str
    start_s: float
    length_s: float
    what: str


def rhythm_label(name: str) -> str:
    """Return the label of a rhythm by one of its names. Raises ConfigError, with the names that there are."""
    label = RHYTHM_ALIASES.get(name.upper(), name.upper())
    if label not in RHYTHMS:
        raise ConfigError(f"no rhythm {name!r}: choose one of {rhythm_choices()}")
    return label


def rhythm_choices() -> str:
    """Return the labels of all rhythms in a line, with their other names."""
    others = {label: [alias for alias, of in RHYTHM_ALIASES.items() if of == label] for label in RHYTHMS}
    return ", ".join(f"{label} ({', '.join(others[label])})" if others[label] else label for label in RHYTHMS)


def beat_choices() -> str:
    """Return the kinds of beats in a line."""
    return f"the classes {' '.join(CLASSES)}, the symbols {' '.join(BEATS)}"


def is_beat_kind(kind: str) -> bool:
    """Return whether a text names a kind of beats: a class or a symbol, repeated for a run."""
    return len(set(kind)) == 1 and (kind[0] in CLASSES or kind[0] in BEATS)


def is_rhythm(name: str) -> bool:
    """Return whether a text names a rhythm."""
    return name.upper() in RHYTHMS or name.upper() in RHYTHM_ALIASES


def find_rhythm(record: Record, notes: RecordAnnotations, name: str) -> list[RecordEpisode]:
    """Return the episodes of a rhythm, in order. Raises ConfigError where there is no such rhythm."""
    label = rhythm_label(name)
    what = f"{label}  {RHYTHMS[label]}"
    return [
        RecordEpisode(record.name, start / record.fs, (stop - start) / record.fs, what)
        for start, stop, found in rhythm_episodes(notes, record.length)
        if found == label
    ]


def rhythm_episodes(notes: RecordAnnotations, length: int) -> list[tuple[int, int, str]]:
    """Return first sample, end and label of each rhythm of a record of `length` samples, "" for an unknown one."""
    changes = [
        (int(sample), text.strip().lstrip("("))
        for sample, symbol, text in zip(notes.samples, notes.symbols, notes.texts, strict=True)
        if symbol == "+" and text.strip().startswith("(")
    ]
    episodes: list[tuple[int, int, str]] = []
    for label, group in groupby(changes, key=lambda change: change[1]):
        start = next(group)[0]
        if episodes:
            episodes[-1] = (*episodes[-1][:1], start, episodes[-1][2])
        episodes.append((start, length, label))
    return episodes


def find_beats(record: Record, notes: RecordAnnotations, kind: str) -> list[RecordEpisode]:
    """Return the runs of beats of a kind, in order: a class or a symbol; repeated, as VV, runs of so many or more.

    Raises ConfigError where there is no such kind.
    """
    if not is_beat_kind(kind):
        raise ConfigError(f"no kind of beats {kind!r}: choose {beat_choices()}, or a run of one such as VV")
    name = CLASS_NAMES.get(kind[0]) or BEATS[kind[0]].removesuffix(" beat")
    return [
        RecordEpisode(
            record.name, start / record.fs, (stop - start) / record.fs, f"{kind[0]}  {_run_name(name, count)}"
        )
        for start, stop, count in _beat_runs(notes, kind[0])
        if count >= len(kind)
    ]


def check_place(place: str) -> None:
    """Raise ConfigError unless a place, as `--at` names it, is a rhythm or a kind of beats."""
    if not is_rhythm(place) and not is_beat_kind(place):
        beats = f"beats: {beat_choices()}, VV for a couplet"
        raise ConfigError(f"no place {place!r}: give a time such as 5:30, a rhythm ({rhythm_choices()}), or {beats}")


def find_place(record: Record, notes: RecordAnnotations, place: str) -> RecordEpisode | None:
    """Return the first episode of a rhythm or the first beat of a kind, None where there is none.

    What names both, such as N, means beats where it is a class. Raises ConfigError as `check_place`.
    """
    check_place(place)
    beats = is_beat_kind(place) and (place[0] in CLASSES or not is_rhythm(place))
    episodes = (find_beats if beats else find_rhythm)(record, notes, place)
    return episodes[0] if episodes else None


def parse_clock(text: str) -> float | None:
    """Return the seconds of a time such as 330, 5:30 or 1:02:03.5; None for what is no time.

    >>> parse_clock("5:30"), parse_clock("1:00:00"), parse_clock("AF")
    (330.0, 3600.0, None)
    """
    parts = text.split(":")
    if len(parts) > 3 or not all(part.replace(".", "", 1).isdecimal() and part.isascii() for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + float(part)
    return seconds


def _beat_runs(notes: RecordAnnotations, kind: str) -> Iterator[tuple[int, int, int]]:
    """Yield first and last R peak of each run of beats of a class or symbol, and how many beats it has."""
    samples, classes = notes.beats()
    symbols = [symbol for symbol in notes.symbols if symbol in AAMI_CLASS_OF]
    kinds = classes if kind in CLASSES else symbols
    for is_kind, group in groupby(range(len(samples)), key=lambda i: kinds[i] == kind):
        if is_kind:
            run = list(group)
            yield int(samples[run[0]]), int(samples[run[-1]]), len(run)


def _run_name(name: str, count: int) -> str:
    return f"{name} {RUN_NAMES[count]}" if count in RUN_NAMES else f"{name}, run of {count} beats"
