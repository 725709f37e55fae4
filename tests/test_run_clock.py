"""agent.core.run_clock: when samples were measured, by the stamps of packets that may be late."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from agent.core.messages import BedsChunk, Chunk, Lead
from agent.core.run_clock import FEWEST_TOGETHER, RunClock
from agent.wire.bundles import DescribedRun
from model.records.resample import FS

LEADS = (Lead("II", "mV", 200.0, 0.0, -2048, 2047),)
SIZE = 25
"""Samples in a packet: 200 ms."""
PACKET_S = SIZE / FS
BEGAN_S = 1_700_000_000.0
RUNS = [DescribedRun(bed, str(bed), "run", float(FS), LEADS, b"", 0) for bed in range(FEWEST_TOGETHER)]

Send = Callable[[RunClock, int, float], None]
"""Send packet number n of every bed, stamped at a time."""


def send_chunk(clock: RunClock, number: int, sent_s: float) -> None:
    counts = np.zeros((SIZE, 1), np.int32)
    clock.follow([Chunk("0", "run", SIZE * number, float(FS), LEADS, counts, sent_s, 0.0, number)])


def send_bundle(clock: RunClock, number: int, sent_s: float) -> None:
    counts = np.zeros((len(RUNS), SIZE, 1), np.int32)
    clock.follow([BedsChunk(RUNS, [SIZE * number] * len(RUNS), counts, sent_s, 0.0, [number] * len(RUNS))])


both_ways = pytest.mark.parametrize("send", [send_chunk, send_bundle])


def in_time(clock: RunClock, send: Send, numbers: range, later_s: float = 0.0) -> None:
    """Send packets as they are measured, each a few milliseconds late."""
    for number in numbers:
        send(clock, number, BEGAN_S + later_s + (number + 1) * PACKET_S + 0.003 * (number % 5))


def errors_s(clock: RunClock, numbers: range, later_s: float = 0.0) -> Iterator[float]:
    """How far off the time of the first sample of each of these packets is now."""
    for number in numbers:
        at_s = clock.time_of("0", "run", SIZE * number)
        assert at_s is not None
        yield abs(at_s - (BEGAN_S + later_s + number * PACKET_S))


@both_ways
@pytest.mark.parametrize("pace", [2.0, 4.0, 50.0])
def test_who_hung_and_sends_what_it_measured_meanwhile(send: Send, pace: float) -> None:
    """Samples have the times of their measuring while they come late, and afterwards."""
    clock = RunClock()
    in_time(clock, send, range(50))
    went_on_s = BEGAN_S + 50 * PACKET_S + 16.0
    number = 50
    while (now_s := went_on_s + (number - 50) * PACKET_S / pace) > BEGAN_S + (number + 1) * PACKET_S:
        send(clock, number, now_s)
        assert max(errors_s(clock, range(number + 1))) < 0.02
        number += 1
    in_time(clock, send, range(number, number + 20))
    assert max(errors_s(clock, range(number + 20))) < 0.02


@both_ways
def test_who_measured_nothing_for_a_while(send: Send) -> None:
    """Half a second after a pause, before a beat of it is decided, its samples have their later times."""
    clock = RunClock()
    in_time(clock, send, range(50))
    in_time(clock, send, range(50, 54), later_s=30.0)
    assert max(errors_s(clock, range(50, 54), later_s=30.0)) < 0.02
    in_time(clock, send, range(54, 100), later_s=30.0)
    assert max(errors_s(clock, range(54, 100), later_s=30.0)) < 0.02


@both_ways
def test_a_late_packet_moves_nothing(send: Send) -> None:
    """One that was held up for seconds on its way to the socket says nothing of when it was measured."""
    clock = RunClock()
    in_time(clock, send, range(50))
    send(clock, 50, BEGAN_S + 51 * PACKET_S + 3.0)
    in_time(clock, send, range(51, 60))
    assert max(errors_s(clock, range(60))) < 0.02


@both_ways
def test_a_record_at_half_speed(send: Send) -> None:
    """What is sent slower than it was measured has the times of its sending, within a second."""
    clock = RunClock()
    for number in range(200):
        sent_s = BEGAN_S + 2 * (number + 1) * PACKET_S
        send(clock, number, sent_s)
        at_s = clock.time_of("0", "run", SIZE * (number + 1))
        assert at_s is not None
        assert -0.001 < sent_s - at_s < 1.2
