"""agent.analysis.passing_leads: what passes of many beds at once is what each bed gives alone."""

from collections import defaultdict

import numpy as np
import pytest

from agent.analysis.bed_input import LeadNote
from agent.analysis.lead_input import SampleBlock
from agent.analysis.passing_leads import REACH, PassingLeads
from agent.core.config import load_config
from agent.core.messages import MISSING, Chunk, End, Gap, Lead
from agent.pipeline.bundled_beds import BedsTogether
from agent.pipeline.input_queue import InputQueue
from agent.pipeline.monitored_bed import MonitoredBed
from model.records.resample import FS
from model.records.signal_conditioning import least_jump

BEDS, PACKETS, PACKET = 12, 60, 25


def troubled_bed(number: int, leads: int) -> list[list[Chunk | Gap | End]]:
    """A bed's messages, packet after packet: holes, pulses, long stretches without a value, gaps and runs."""
    rng = np.random.default_rng(number)
    names = tuple(Lead(name, "mV", 1000.0, 0.0, -5120, 5115) for name in ("MLII", "V1")[:leads])
    counts = rng.normal(0, 60, (PACKETS * PACKET, leads)).astype(np.int32)
    for _ in range(number % 4):
        hole, pulse, lost = rng.integers(100, len(counts) - 100, 3)
        counts[hole : hole + rng.integers(1, 9), rng.integers(leads)] = MISSING
        counts[pulse] += 2500
        counts[lost : lost + 60, : rng.integers(1, leads + 1)] = MISSING
    messages: list[list[Chunk | Gap | End]] = []
    run = "first"
    for first in range(0, len(counts), PACKET):
        some: list[Chunk | Gap | End]
        if number % 3 == 2 and rng.random() < 0.1:
            some = [Gap(str(number), run, first, PACKET, FS, "never arrived")]
        else:
            some = [Chunk(str(number), run, first, float(FS), names, counts[first : first + PACKET], 0.0)]
        if number == 5 and first == 30 * PACKET:
            some.append(End(str(number), run, first + PACKET, FS))
            run = "second"
        messages.append(some)
    return messages


def analysed(streams: list[list[list[Chunk | Gap | End]]], together: bool) -> tuple[dict[str, list[str]], int]:
    """What each bed gives to the stages, its chunks put with those of all others or alone; and how many passed."""
    queue = InputQueue("auto", load_config(None).signal)
    beds = [MonitoredBed(str(number), number) for number in range(len(streams))]
    found: dict[str, list[str]] = defaultdict(list)
    passed = 0
    for packet in range(PACKETS):
        puts = [(bed, message) for bed, stream in zip(beds, streams, strict=True) for message in stream[packet]]
        for some in [puts] if together else [[put] for put in puts]:
            queue.put([bed for bed, _ in some], [message for _, message in some])
            while len(queue):
                for item in queue.next_turn():
                    if isinstance(item, BedsTogether):
                        passed += len(item.beds)
                        for bed, first, x in zip(item.beds, item.firsts, item.x, strict=True):
                            found[bed.name].append(f"{first} {x.T.ravel().tolist()}")
                    elif isinstance(step := item[1], SampleBlock):
                        found[item[0].name].append(f"{step.first} {step.x.ravel().tolist()}")
                    else:
                        found[item[0].name].append(str(step.step if isinstance(step, LeadNote) else step))
    for bed in beds:
        found[bed.name].append(f"{bed.analysed} {bed.lost}")
    return found, passed


@pytest.mark.parametrize("leads", [1, 2])
def test_beds_together_give_what_each_gives_alone(leads: int) -> None:
    """Blocks, gaps and notes are the same whether the chunks of all beds come at once or one after another."""
    streams = [troubled_bed(number, leads) for number in range(BEDS)]
    (found, passed), (alone, none) = analysed(streams, together=True), analysed(streams, together=False)
    assert found == alone
    assert passed > 0.7 * BEDS * PACKETS
    assert none == 0


def enter(passing: PassingLeads, last: float) -> int:
    """Let a lead pass whose latest sample is `last`; return its slot."""
    slot = passing.reserve()
    passing.enter(slot, last)
    return slot


@pytest.mark.parametrize("count", [1, 5, REACH - 1, REACH, 3 * REACH])
def test_what_has_passed(count: int) -> None:
    """A lead goes on from the latest samples that have passed, however long the pieces were."""
    passing, x = PassingLeads(), np.linspace(0, 1, 100, dtype=np.float32)
    slots = np.array([[enter(passing, 0.0)], [enter(passing, 0.0)]])
    for first in range(0, 100 - 100 % count, count):
        piece = x[first : first + count]
        assert passing.take(slots, np.stack([piece, -piece])[:, None]).all()
    passed, taken = passing.leave(int(slots[0, 0]))
    assert taken == 100 - 100 % count
    assert passed.tolist() == x[max(0, taken - REACH) : taken].tolist()


def test_a_step_that_may_be_a_pulse_does_not_pass() -> None:
    """Nothing of a bed passes if a lead of it begins with a high step; others pass, and so does what has no past."""
    passing, jump = PassingLeads(), least_jump(FS)
    slots = np.array([[enter(passing, 0.0), enter(passing, 0.0)] for _ in range(3)])
    slots[2] = enter(passing, float("nan")), enter(passing, float("nan"))
    x = np.zeros((3, 2, 4), np.float32)
    x[1, 1], x[2] = -jump, jump
    assert passing.take(slots, x).tolist() == [True, False, True]
    assert [passing.leave(int(slot))[1] for slot in slots[:, 0]] == [4, 0, 4]
