"""What one view of a fleet costs, once a second: the store's reading, and the view's making of its ward.

A store of many beds that has been kept for a while: `python -m benchmarks.fleet_watch --beds 512`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec

from agent.core.config import load_config
from agent.core.messages import AlarmCondition
from agent.store.fleet_store import FleetStore
from agent.store.fleet_ward import FleetWard
from agent.store.store_database import SqliteDatabase
from agent.store.store_messages import (
    AlarmTold,
    AskWard,
    BeatTold,
    EventTold,
    Listening,
    SpanTold,
    Tell,
    encode_store_message,
)
from agent.store.ward_feed import FeedState, WardFeed

FS = 360.0
TURNS = 15
CONDITIONS: tuple[AlarmCondition, ...] = ("couplet", "V run", "heart rate high", "atrial fibrillation")


def fill_store(store: FleetStore, beds: list[str], runs: int, beats: int, alarms: int, events: int) -> None:
    """Let two replicas listen to all beds, and one tell so many rows of each run of each; some stand."""
    listening = [Listening(bed, 100.0, True) for bed in beds]
    for name in ("first", "second"):
        store.answer(Tell(name, name, "host", 1, 0.0, listening=listening))
    for run in range(runs):
        for start in range(0, len(beds), 32):
            some = beds[start : start + 32]
            store.answer(
                Tell(
                    "first",
                    "first",
                    "host",
                    1,
                    0.0,
                    spans=[SpanTold(bed, f"r{run}", FS, [(0, 360 * beats, False)], False) for bed in some],
                    beats=[_beat(bed, f"r{run}", 125 * place) for bed in some for place in range(1, beats)],
                    alarms=[_alarm(bed, f"r{run}", place, alarms) for bed in some for place in range(alarms)],
                    events=[_event(bed, run, place) for bed in some for place in range(events)],
                )
            )


def _beat(bed: str, run: str, sample: int) -> BeatTold:
    return BeatTold(bed, run, sample, sample + 90, sample + 60, "N", "[0.99,0.01,0.0,0.0,0.0]", 0.8, 75.0)


def _alarm(bed: str, run: str, place: int, alarms: int) -> AlarmTold:
    stands = place == alarms - 1 and bed.endswith("7")
    onset, ended = 1250 * place, None if stands else 1250 * place + 600
    return AlarmTold(bed, run, CONDITIONS[place % 4], onset, "low", "2 V beats", onset, 100.0 + place, 0, ended, None)


def _event(bed: str, run: int, place: int) -> EventTold:
    said = "signal", "lead off", None, None
    return EventTold(f"{bed}-{run}-{place}", "first", bed, f"r{run}", 0, 100.0 + place, *said)


def measure_ms(work: Callable[[], object]) -> float:
    """Return the median of the CPU milliseconds that some work takes."""
    times = []
    for _ in range(TURNS):
        began = time.process_time()
        work()
        times.append(1000 * (time.process_time() - began))
    return median(times)


def main() -> None:
    """Print what a second of a view costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", type=int, default=512)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--beats", type=int, default=500, help="of each run")
    parser.add_argument("--alarms", type=int, default=100, help="of each run")
    parser.add_argument("--events", type=int, default=50, help="of each run")
    options = parser.parse_args()
    beds = [f"bed-{number}" for number in range(options.beds)]
    with tempfile.TemporaryDirectory() as folder:
        store = FleetStore(SqliteDatabase(Path(folder) / "ward.db"))
        fill_store(store, beds, options.runs, options.beats, options.alarms, options.events)
        ask, in_full = AskWard([], 0), AskWard(beds[:16], 0)
        reply = encode_store_message(store.answer(ask))
        feed = WardFeed(store, time.time)
        ward = FleetWard(feed, load_config(None), "nobody")

        def take_in() -> None:
            feed.state = FeedState(msgspec.structs.replace(feed.state.reply), time.time())
            ward.ward_snapshot(time.time())

        print(f"{len(beds)} beds, {options.runs} runs of {options.beats} beats, {options.alarms} alarms each")
        print(f"the store reads in {measure_ms(lambda: store.answer(ask)):.1f} ms, {len(reply) / 1000:.0f} kB")
        print(f"with 16 beds in full in {measure_ms(lambda: store.answer(in_full)):.1f} ms")
        print(f"with all alarms counted in {measure_ms(lambda: store.answer(AskWard([], 0, True))):.1f} ms")
        print(f"the view makes its ward in {measure_ms(take_in):.1f} ms")
        store.close()


if __name__ == "__main__":
    main()
