"""CPU of telling a store: `python -m benchmarks.store [--beds 64,512] [--store sqlite|ADDRESS]`.

Two replicas in two processes are given the same packets of 200 ms of all beds in real time, and 1.2 beats a second of
each: one speaks, the other listens. Measured is what each spends on the store, in its loop and in its thread; the
database of SQLite is part of that, the server of PostgreSQL is not.
"""

import argparse
import multiprocessing
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from agent.core import config as configuration
from agent.core.messages import Beat, Chunk
from agent.store.store_address import open_store_client
from agent.store.store_output import StoreOutput

PACKET_S, FS = 0.2, 125
BEAT_EVERY = 4
"""Packets of a bed from one beat to the next, about 1.2 a second."""
WARM_S, MEASURED_S = 3.0, 20.0


def tell(address: str, name: str, beds: int, results: "multiprocessing.Queue[tuple[str, float]]") -> None:
    """Tell a store of so many beds; put the CPU seconds a second that it takes."""
    output = StoreOutput(open_store_client(address, configuration.load_config(None, {}).security), name)
    size = round(PACKET_S * FS)
    counts = np.zeros((size, 1), np.int32)
    began_s, packet = time.monotonic(), 0
    cpu_s, own_s, from_s = time.process_time(), 0.0, began_s
    while time.monotonic() - began_s < WARM_S + MEASURED_S:
        if from_s == began_s and time.monotonic() - began_s >= WARM_S:
            cpu_s, own_s, from_s = time.process_time(), 0.0, time.monotonic()
        busy_s = time.thread_time()
        chunks = [Chunk(f"bed {i}", "run", packet * size, float(FS), (), counts, 0.0) for i in range(beds)]
        place = packet * size
        beats = [
            Beat(f"bed {i}", place, place, "N", (1.0, 0.0, 0.0, 0.0, 0.0), 0.8, 0.0, run="run")
            for i in range(packet % BEAT_EVERY, beds, BEAT_EVERY)
        ]
        own_s += time.thread_time() - busy_s
        output.push(chunks, beats, time.time())
        packet += 1
        time.sleep(max(0.0, began_s + packet * PACKET_S - time.monotonic()))
    results.put((name, (time.process_time() - cpu_s - own_s) / (time.monotonic() - from_s)))
    output.close()


def main() -> None:
    """Measure wards of several sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", default="64,512")
    parser.add_argument("--store", default="sqlite")
    arguments = parser.parse_args(sys.argv[1:])
    print("| beds | who speaks, of a core | who listens |\n|---|---|---|")
    for beds in map(int, arguments.beds.split(",")):
        with TemporaryDirectory() as folder:
            address = f"store:{Path(folder) / 'fleet.db'}" if arguments.store == "sqlite" else arguments.store
            results: multiprocessing.Queue[tuple[str, float]] = multiprocessing.Queue()
            names = [f"{name} {beds} {time.time():.0f}" for name in ("speaks", "listens")]
            processes = []
            for name in names:
                processes.append(multiprocessing.Process(target=tell, args=(address, name, beds, results)))
                processes[-1].start()
                time.sleep(1.0)
            cpu = dict(results.get() for _ in names)
            for process in processes:
                process.join()
        print(f"| {beds} | {100 * cpu[names[0]]:.1f} % | {100 * cpu[names[1]]:.1f} % |")


if __name__ == "__main__":
    main()
