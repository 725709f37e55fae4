"""A bed that misbehaves harms only itself: the beats of the others are those without it, and no later."""

import json
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from support.misbehaving import BAD, FENCE, TICK, Behaviour, Frames, Outcome, Scene, heart, packet

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.messages import Beat, End, Lead
from agent.monitor.event_log import EVENT_BURST, SAMPLES_PER_EVENT
from agent.pipeline.waiting_bed import BLOCK_SAMPLES
from agent.wire import packets
from model.records.resample import FS

pytestmark = pytest.mark.slow

BEDS, SECONDS = 6, 30.0
TICKS = round(SECONDS * FS / TICK)
SUMS = 2
"""Events that sum up those of a bed that were not shown, in half a minute."""
LATE_S = 0.25
SHARE = 2 * BLOCK_SAMPLES
"""The most samples of a bed that sends too much for which the others wait."""
HEART = heart(3, 2 * SECONDS)
ROWS = np.random.default_rng(7)
WIDE = Lead("V5", "mV", 200.0, 0.0, -32768, 32767)


def at(tick: int, run: str = "run", bed: str = BAD, fs: float = FS, lead: Lead | None = None) -> Frames:
    """Return the bed's packet of a tick."""
    counts = HEART[TICK * tick : TICK * (tick + 1)]
    return (
        packet(bed, run, TICK * tick, counts, fs) if lead is None else packet(bed, run, TICK * tick, counts, fs, lead)
    )


def comes_and_goes(tick: int) -> Iterator[Frames]:
    """Sends for half a second, then pauses for as long; each time a new run, some with an End."""
    run, place = divmod(tick, 5)
    if place < 3:
        yield at(place, f"run {run}")
    elif place == 3 and run % 2:
        yield packets.encode_frames(End(BAD, f"run {run}", 3 * TICK, FS, 3))


def changes_rate(tick: int) -> Iterator[Frames]:
    """Changes the rate every second, within a run, which no device does, and between runs."""
    rates = (125.0, 250.0, 360.0, 500.0, 7.0)
    yield at(tick, f"run {tick // 10}", fs=rates[tick // 5 % len(rates)])


def changes_leads(tick: int) -> Iterator[Frames]:
    """Changes the leads with every packet of one run."""
    yield at(tick, lead=WIDE if tick % 2 else None)


def repeats_name(tick: int) -> Iterator[Frames]:
    """Sends as two devices under one name."""
    yield at(tick, "one")
    yield packet(BAD, "other", TICK * tick + 3, heart(5, 2 * SECONDS)[TICK * tick : TICK * (tick + 1)])


def sends_noise(tick: int) -> Iterator[Frames]:
    """Sends an hour of white noise of ten millivolts: two minutes of it with every tick."""
    for i in range(600):
        yield packet(BAD, "run", TICK * (600 * tick + i), ROWS.integers(-5000, 5000, TICK))
        if tick >= 30:
            return


def floods(tick: int) -> Iterator[Frames]:
    """Sends the same packets a hundred times, all at once."""
    for _ in range(100):
        yield from (at(tick), at(max(0, tick - 1)))


def runs_ahead(tick: int) -> Iterator[Frames]:
    """Jumps ahead in the index, by seconds and by years."""
    jump = (0, 1000, 10**6, 10**9, 10**12)[tick // 20 % 5]
    yield packet(BAD, "run", TICK * tick + jump, HEART[:TICK])


def sends_giants(tick: int) -> Iterator[Frames]:
    """Sends the largest allowed packets, in one run: 8.7 minutes of signal in each."""
    if tick % 10 == 0:
        yield packet(BAD, "run", tick // 10 * 65536, np.resize(HEART, 65536))


def sends_garbage(tick: int) -> Iterator[Frames]:
    """Sends malformed frames, and headers that lie, between valid packets."""
    good = at(tick)
    header = json.loads(good[1])
    lies = [
        {"first": -1},
        {"count": 10**9},
        {"fs": -1},
        {"fs": float("inf")},
        {"leads": []},
        {"v": 99},
        {"run": "x" * 9999},
    ]
    yield from ([good[0], json.dumps(header | lie).encode(), good[2]] for lie in lies)
    yield from ([good[0]], good[:2], [*good, b"more"], [good[0], b"{", good[2]], [good[0], good[1], good[2][:-1]])
    yield good


def changes_name(tick: int) -> Iterator[Frames]:
    """Sends twenty packets a tick, each under a name that never comes again."""
    for i in range(20):
        yield at(tick, bed=f"{BAD} {tick} {i}")


def is_extreme(tick: int) -> Iterator[Frames]:
    """A lead that jumps between the ends of its range, and one of absurd gain."""
    lead = Lead("II", "mV", 1e-6, 0.0, -(2**31) + 1, 2**31 - 1)
    counts = np.where(np.arange(TICK) // 5 % 2, 2**31 - 1, -(2**31) + 1)
    yield packet(BAD, f"run {tick // 50}", TICK * tick, counts, lead=lead)


BEHAVIOURS: dict[Behaviour, str] = {
    comes_and_goes: "the run ended",
    changes_rate: "cannot resample this stream",
    changes_leads: "rate or leads changed 8 times in a row",
    repeats_name: "two devices send as this bed",
    sends_noise: "more than its share",
    floods: "lead II",
    runs_ahead: "samples never arrived",
    sends_giants: "more than its share",
    sends_garbage: "a message of 1 frames instead of 3",
    is_extreme: "lead II",
}
"""What a bed does, and the text of the event that it gets."""
Played = Callable[[Behaviour], Outcome]


@pytest.fixture(scope="module")
def played(settings: Config, classifier: BeatClassifier) -> Played:
    def play(behaviour: Behaviour) -> Outcome:
        with Scene(settings, classifier, BEDS, SECONDS) as scene:
            return scene.play(behaviour)

    return play


@pytest.fixture(scope="module")
def alone(played: Played) -> Outcome:
    """Return the results of the others without the bed."""
    return played(lambda _: ())


def test_the_others_are_watched(alone: Outcome) -> None:
    """Without a misbehaving bed each of the others has beats and a closed ledger."""
    for name in (f"bed {10 + i}" for i in range(BEDS)):
        assert sum(isinstance(item, Beat) for item in alone.of(name)) > 15
        assert alone.ledgers[name] == (TICKS * TICK, TICKS * TICK, 0)


def check(outcome: Outcome, alone: Outcome) -> None:
    """Check that the other beds' results and ledgers are the same to the last digit, and in time."""
    for other in alone.beds - {FENCE}:
        assert outcome.of(other) == alone.of(other), other
        assert outcome.ledgers[other] == alone.ledgers[other]
    assert outcome.latest_s <= LATE_S
    assert outcome.most_in_look <= len(outcome.beds) * TICK + SHARE
    of_bed = Counter(event.bed for event in outcome.shown)
    for name, events in of_bed.items():
        _, analysed, _ = outcome.ledgers.get(name, (0, 0, 0))
        assert events <= EVENT_BURST + analysed / SAMPLES_PER_EVENT + SUMS, of_bed
    assert all(of_bed[bed] for bed in alone.beds), "events of others were pushed out"


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_a_bed_that_misbehaves_is_its_own_trouble_only(behaviour: Behaviour, alone: Outcome, played: Played) -> None:
    """Whatever one bed does, the others are watched as if it were not there, and its own ledger closes."""
    outcome = played(behaviour)
    check(outcome, alone)
    assert any(BEHAVIOURS[behaviour] in text for text in outcome.events(BAD)), outcome.events(BAD)
    sent, analysed, missing = outcome.ledgers[BAD]
    assert sent == analysed + missing


def test_a_name_that_changes_with_every_packet_does_not_fill_the_ward(alone: Outcome, played: Played) -> None:
    """A device that invents names adds only a bounded number of beds."""
    outcome = played(changes_name)
    check(outcome, alone)
    assert len(outcome.beds - alone.beds) <= 100
    assert any("too many names that came once" in text for text in outcome.events(""))
