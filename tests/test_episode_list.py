"""simulator.episode_list and `simulate list`: where the embedded records have what is looked for."""

import re

import pytest
from support.commands import RunHere
from test_cli import run

from model.errors import ConfigError, RecordError
from model.formats.signal_file import SignalFileOptions
from simulator.episode_list import (
    BEFORE_EPISODE_S,
    LISTED_EPISODES,
    EpisodeSearch,
    check_quiz_beat,
    choose_record,
    find_start_s,
    search_episodes,
)

NOTHING = SignalFileOptions()


def test_episodes_of_all_records() -> None:
    """Atrial fibrillation is in eight records; the first episode is the start of record 201."""
    found = search_episodes(EpisodeSearch("AF", None, None))
    assert len({episode.record for episode in found}) == 8
    assert (found[0].record, round(found[0].start_s, 1)) == ("201", 0.2)


def test_a_remark_restricts_the_records() -> None:
    """With a remark alone the records are listed, with another search its episodes in these."""
    assert [one.record for one in search_episodes(EpisodeSearch(None, None, "PACEMAKER"))] == ["102", "104", "113"]
    beats = search_episodes(EpisodeSearch(None, "V", "pacemaker"))
    assert {one.record for one in beats} == {"102", "104"}


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (EpisodeSearch("AF", "V", None), "not for both"),
        (EpisodeSearch(None, None, "zebra"), "no embedded record has the remark 'zebra'"),
        (EpisodeSearch("XX", None, None), "no rhythm 'XX'"),
        (EpisodeSearch(None, "XY", None), "no kind of beats 'XY'"),
        (EpisodeSearch(None, "B", None), "no embedded record has beats 'B'"),
    ],
)
def test_searches_in_vain(search: EpisodeSearch, reason: str) -> None:
    """One line says what is wrong, or that there is nothing."""
    with pytest.raises(ConfigError, match=re.escape(reason)):
        search_episodes(search)


def test_where_a_replay_starts() -> None:
    """A few seconds before the episode, not before the record; a time is taken as it is."""
    assert find_start_s("106", "VT", NOTHING) == pytest.approx(176.7333 - BEFORE_EPISODE_S, abs=0.01)
    assert find_start_s("201", "AF", NOTHING) == 0.0
    assert find_start_s("100", "5:30", NOTHING) == 330.0
    with pytest.raises(ConfigError, match="record 100 has no AF"):
        find_start_s("100", "AF", NOTHING)
    with pytest.raises(RecordError, match="has no annotations"):
        find_start_s("ma", "AF", NOTHING)


def test_which_record() -> None:
    """The usual record where it has the place, else the first that has it."""
    assert choose_record(None, "208") == choose_record("5:30", "208") == choose_record("V", "208") == "208"
    assert choose_record("AF", "208") == "201"
    with pytest.raises(ConfigError, match="no place 'XYZ'"):
        choose_record("XYZ", "208")
    with pytest.raises(ConfigError, match="no embedded record has eee"):
        choose_record("eee", "208")


def test_what_a_quiz_may_ask_for() -> None:
    """One class or symbol; a run is no beat."""
    check_quiz_beat(None)
    check_quiz_beat("L")
    with pytest.raises(ConfigError, match="no kind of beats 'VV'"):
        check_quiz_beat("VV")


def test_the_list_is_short_unless_all_is_asked_for() -> None:
    """The first 20 episodes and the number of the others; --all lists every one, in a pipe of 100 columns."""
    short, whole = run("simulate", "list", "--rhythm", "AF"), run("simulate", "list", "--rhythm", "AF", "--all")
    assert (short.returncode, whole.returncode) == (0, 0)
    rows = [line for line in short.stdout.splitlines() if "AFIB" in line]
    assert len(rows) == LISTED_EPISODES
    assert short.stdout.splitlines()[-1] == "87 more: list them with --all"
    assert whole.stdout.count("AFIB") == 107
    assert max(map(len, whole.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("simulate", "list", "--rhythm", "XX"), 3, "no rhythm 'XX': choose one of AB, AFIB (AF)"),
        (("simulate", "list", "--beat", "V", "--rhythm", "AF"), 3, "not for both"),
        (("simulate", "record", "100", "--at", "AF"), 3, "record 100 has no AF"),
        (("simulate", "record", "ma", "--at", "AF"), 4, "has no annotations"),
        (("simulate", "record", "100", "--at", "99:00"), 3, "is not within record 100"),
        (("demo", "100", "--at", "V", "--start", "5"), 3, "by --start or by --at, not by both"),
        (("demo", "100", "--speed", "0"), 3, "speed 0 makes no sense"),
        (("demo", "100", "--noise", "zz"), 3, "no noise 'zz'"),
        (("demo", "100", "--noise", "ma", "--snr", "nan"), 3, "ratio of nan dB makes no sense: give -100 to 100"),
        (("demo", "ma", "--truth"), 4, "has no annotations"),
        (("monitor", "--truth"), 3, "only a record on this machine has reference annotations"),
        (("monitor", "--from", "serial:/dev/x", "--truth"), 3, "only a record on this machine"),
        (("quiz", "100", "--beat", "F"), 3, "record 100 has no beats F"),
        (("quiz", "100", "--beat", "VV"), 3, "no kind of beats 'VV'"),
        (("quiz", "ma"), 4, "has no annotations"),
    ],
)
def test_bad_input(run_here: RunHere, words: tuple[str, ...], code: int, reason: str) -> None:
    """One line says what is wrong, with the exit code of its kind."""
    done = run_here(*words)
    assert done.returncode == code, done.stderr
    assert reason in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ecg-agent: ")
    assert "Traceback" not in done.stderr
