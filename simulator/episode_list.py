"""Where the embedded records have a rhythm, a kind of beats or a remark; and where a replay is to start."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from model.errors import ConfigError
from model.formats.signal_file import SignalFileOptions, open_signal_file
from model.records.episodes import (
    RecordEpisode,
    beat_choices,
    check_place,
    find_beats,
    find_place,
    find_rhythm,
    is_beat_kind,
    parse_clock,
)
from model.records.wfdb_records import embedded_records, open_record, read_reference
from model.text import format_clock
from simulator.catalog import header_remarks

LISTED_EPISODES = 20
"""Episodes that are listed without `--all`."""
BEFORE_EPISODE_S = 5.0
"""A replay that is to show an episode begins this long before it: the monitor has a few beats to compare it with."""


PLACE_HINT = "ecg-agent simulate list, with --rhythm or --beat, shows what the records have"


@dataclass(frozen=True, slots=True)
class EpisodeSearch:
    """What to look for: a `rhythm` or a kind of `beat`s, in records whose header has the `remark`; None for any."""

    rhythm: str | None
    beat: str | None
    remark: str | None


def search_episodes(search: EpisodeSearch) -> list[RecordEpisode]:
    """Return what the embedded records have of it, in order; with a remark alone the records themselves.

    Raises ConfigError where there is no such rhythm or kind of beats, or nothing is found.
    """
    if search.rhythm is not None and search.beat is not None:
        raise ConfigError("look for a --rhythm or for a --beat, not for both")
    found = [episode for name in embedded_records() for episode in _search_record(name, search)]
    if not found:
        raise ConfigError(f"no embedded record has {_search_text(search)}: ecg-agent simulate list shows all of them")
    return found


def build_episode_table(episodes: Sequence[RecordEpisode]) -> Table:
    """Build a table of episodes."""
    table = Table(box=SIMPLE_HEAD, expand=True)
    table.add_column("record", no_wrap=True)
    for name in ("start", "length"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what", overflow="ellipsis", no_wrap=True, ratio=1)
    for episode in episodes:
        length = f"{episode.length_s:.1f} s" if episode.length_s < 60 else format_clock(episode.length_s, hour_digits=0)
        start = format_clock(episode.start_s, decimals=1, hour_digits=0)
        table.add_row(episode.record, start, length if episode.length_s else "", episode.what)
    return table


def rest_text(rest: int) -> str:
    """Return what to say of the episodes that are not listed."""
    return f"{rest:,} more: list them with --all"


def find_start_s(record: str, place: str, stated: SignalFileOptions) -> float:
    """Return where a replay of a record begins that is to show a place: a time, a rhythm or a kind of beats.

    Raises ConfigError where the record has no such place, RecordError where it, or its annotations, cannot be read.
    """
    if (seconds := parse_clock(place)) is not None:
        return seconds
    check_place(place)
    opened = open_signal_file(record, stated)
    episode = find_place(opened, read_reference(opened), place)
    if episode is None:
        raise ConfigError(f"record {opened.name} has no {place}: {PLACE_HINT}")
    return max(0.0, episode.start_s - BEFORE_EPISODE_S)


def choose_record(place: str | None, usual: str) -> str:
    """Return an embedded record that has a place: the `usual` one, else the first. Raises ConfigError without any."""
    if place is None or parse_clock(place) is not None:
        return usual
    check_place(place)
    for name in (usual, *embedded_records()):
        record = open_record(name)
        if find_place(record, read_reference(record), place) is not None:
            return name
    raise ConfigError(f"no embedded record has {place}: {PLACE_HINT}")


def check_quiz_beat(kind: str | None) -> None:
    """Raise ConfigError unless a kind of beats is one class or symbol, or none."""
    if kind is not None and not (len(kind) == 1 and is_beat_kind(kind)):
        raise ConfigError(f"no kind of beats {kind!r}: choose one of {beat_choices()}")


def _search_record(name: str, search: EpisodeSearch) -> list[RecordEpisode]:
    record = open_record(name)
    remarks = header_remarks(record.comments)
    if search.remark is not None and search.remark.casefold() not in remarks.casefold():
        return []
    if search.rhythm is not None:
        return find_rhythm(record, read_reference(record), search.rhythm)
    if search.beat is not None:
        return find_beats(record, read_reference(record), search.beat)
    return [RecordEpisode(name, 0.0, record.length / record.fs, remarks)]


def _search_text(search: EpisodeSearch) -> str:
    words = (("rhythm", search.rhythm), ("beats", search.beat), ("the remark", search.remark))
    return " and ".join(f"{kind} {text!r}" for kind, text in words if text is not None)
