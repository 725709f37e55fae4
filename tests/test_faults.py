"""Bad days of real processes, shortly; `benchmarks.soak` has the long ones."""

import pytest

from benchmarks import soak
from benchmarks.proxy import Faults

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_commands")]


def test_a_monitor_that_is_killed_again_and_again_loses_nothing() -> None:
    """A recording monitor, killed at any moment and restarted: all signal, every sample right, no beat twice."""
    figures = soak.kills(soak.Lengths(kills=2, stop_s=0, network_s=0, hours=0), speed=5.0)
    assert soak.wrong(figures) == {}
    assert figures["recorded_s"] > 20
    assert figures["beats_at_other_places"] <= 0.02 * figures["beats"]


def test_a_device_that_is_killed_and_restarted_is_a_new_run() -> None:
    """The beats of the second run are those of an undisturbed one, and no sample of either is missing."""
    assert soak.wrong(soak.device_killed(20.0, speed=2.0)) == {}


@pytest.mark.parametrize("side", ["simulator", "monitor"])
def test_a_side_that_stands_still_for_a_while_misses_nothing(side: str) -> None:
    """Sixteen seconds of signal pass while one side is stopped: all of it is fetched and analysed."""
    assert soak.wrong(soak.side_stopped(side, 4.0, speed=4.0)) == {}


def test_a_network_that_loses_repeats_and_mixes_changes_no_beat() -> None:
    """Loss, repetition and reordering all at once, with hundreds of packets affected."""
    figures = soak.through(Faults(loss=0.1, twice=0.2, jittered=0.3, jitter_s=0.2), 40.0, speed=8.0)
    assert soak.wrong(figures) == {}
    assert figures["packets_harmed"] > 300


def test_three_minutes_at_full_speed_are_recorded_whole() -> None:
    """Every sample sent is in the ledger and on disk."""
    figures = soak.day(soak.Lengths(kills=0, stop_s=0, network_s=0, hours=0.05))
    assert soak.wrong(figures) == {}
    assert figures["ledger_sent"] == figures["samples_sent"] == figures["recorded"]
