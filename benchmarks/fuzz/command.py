"""Fuzzing: `python -m benchmarks.fuzz [--inputs 1000000] [--seed 0] [--targets wire,headers] [--json FILE]`.

`benchmarks.fuzz.mutation` flips bits, moves pieces and replaces numbers in real data, which then goes to everything
that takes bytes from outside. Each target runs in its own process, so that a crash, a hang or growing memory is
noticed. A target may accept an input or refuse it with the error that it documents. Failures are: any other exception,
a refusal that cannot be shown in one line, a file outside its folder, a connection, a request for gigabytes, and more
CPU time than the target's limit. Inputs that failed are saved to runs/fuzz/, for `--replay FILE`. The exit code is 1 if
anything failed or memory grew.
"""

import argparse
import json
import sys
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import write_figures
from benchmarks.fuzz import bundles, files, messages, sequences, sessions, streams
from benchmarks.fuzz.worker import Guard, Tally, Target, draw, hunt, run_input, started
from model.errors import CheckpointError, ConfigError, FrameError, RecordError, RunError

TARGETS = {
    "wire": Target(messages.wire, (FrameError,), 415),
    "bundle": Target(bundles.single, (FrameError,), 100),
    "request": Target(messages.request, (FrameError,), 70),
    "reply": Target(messages.reply, (FrameError,), 70),
    "stream": Target(streams.Streams, (), 10, limit_s=10.0),
    "lasting": Target(streams.lasting, (), 10, limit_s=10.0),
    "sequence": Target(sequences.Sequences, (), 20, limit_s=10.0),
    "analysed": Target(sequences.analysed, (), 10, limit_s=10.0),
    "header": Target(files.Headers, (RecordError,), 100),
    "signal": Target(files.Signals, (RecordError,), 40),
    "annotation": Target(files.Annotations, (RecordError,), 125),
    "recording": Target(sessions.Recordings, (RecordError, RunError), 10, limit_s=5.0),
    "checkpoint": Target(files.Checkpoints, (CheckpointError,), 110),
    "config": Target(files.Configs, (ConfigError,), 40),
}
"""What is fuzzed. Another function that takes bytes is one more line and, if needed, a `Subject`."""
MOST_GROWTH = 0.05
LEAST_INPUTS = 5000
"""The fewest inputs of a target for which the growth of its memory counts: before that, caches fill."""
SAVED = Path("runs/fuzz")


def grew(tally: Tally) -> float:
    """Return by how much memory grew from a tenth of the inputs to the end: 0.05 is 5 %."""
    return tally.end_mb / tally.tenth_mb - 1 if tally.tenth_mb and tally.end_mb else 0.0


def is_sound(tally: Tally) -> bool:
    """Return whether nothing failed and memory was flat."""
    return not tally.failed and (tally.inputs < LEAST_INPUTS or grew(tally) <= MOST_GROWTH)


def save(folder: Path, name: str, seed: int, tally: Tally) -> list[Path]:
    """Write the inputs that failed as JSON files, and return their paths."""
    paths = []
    with started(TARGETS[name]) as (subject, _):
        for failure in tally.kept:
            folder.mkdir(parents=True, exist_ok=True)
            parts = failure.parts or draw(subject, name, seed, failure.index)
            content = {
                "target": name,
                "seed": seed,
                "index": failure.index,
                "reason": failure.reason,
                "trace": failure.trace,
                "parts": [b64encode(part).decode() for part in parts],
            }
            path = folder / f"{name}-{seed}-{failure.index}.json"
            path.write_text(json.dumps(content, indent=1) + "\n")
            paths.append(path)
    return paths


def replay(path: Path) -> bool:
    """Run a saved input in this process and print its outcome; return whether it did not fail."""
    content = json.loads(path.read_text())
    target = TARGETS[content["target"]]
    with started(target) as (subject, folder):
        outcome = run_input(target, subject, [b64decode(part) for part in content["parts"]], Guard(folder))
    print(f"{outcome.kind} {outcome.reason} after {outcome.cpu_s:.3f} s CPU\n{outcome.trace}".rstrip())
    return outcome.kind != "failed"


def row(name: str, tally: Tally) -> dict[str, object]:
    """Return the figures of a target."""
    return {
        "target": name,
        "inputs": tally.inputs,
        "accepted": tally.accepted,
        "refused": dict(tally.refused),
        "failed": dict(tally.failed),
        "warnings": dict(tally.warned),
        "slowest_ms": round(1000 * tally.slowest_s, 1),
        "slowest_input": tally.slowest,
        "resident_mb": [round(tally.tenth_mb, 1), round(tally.end_mb, 1)],
        "growth": round(grew(tally), 4),
        "seconds": round(tally.wall_s, 1),
    }


def show(name: str, tally: Tally) -> None:
    refused = ", ".join(f"{count:,} {kind}" for kind, count in tally.refused.most_common())
    print(
        f"{name:11}{tally.inputs:>10,}{tally.accepted:>10,}{sum(tally.failed.values()):>8,}"
        f"{1000 * tally.slowest_s:>9.0f} ms{tally.tenth_mb:>8.0f}{tally.end_mb:>6.0f} MB{grew(tally):>+7.1%}"
        f"{tally.wall_s:>7.0f} s  {refused}",
        flush=True,
    )
    for kind, counts in (("failed", tally.failed), ("warned", tally.warned)):
        for reason, count in counts.most_common():
            print(f"{'':11}{kind} {count:,} times: {reason}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", default=",".join(TARGETS), help="names, with commas between them")
    parser.add_argument("--processes", type=int, default=1, help="targets at a time")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--replay", type=Path, help="a saved input to run once more")
    options = parser.parse_args()
    if options.replay:
        sys.exit(not replay(options.replay))
    names = options.targets.split(",")
    shares = sum(TARGETS[name].share for name in names)
    print("target         inputs  accepted  failed     slowest  memory at a tenth, end   took  refused")

    def hunt_target(name: str) -> Tally:
        tally = hunt(name, TARGETS[name], -(-options.inputs * TARGETS[name].share // shares), options.seed)
        show(name, tally)
        for path in save(SAVED, name, options.seed, tally) if tally.kept else ():
            print(f"{'':11}saved {path}", flush=True)
        return tally

    with ThreadPoolExecutor(options.processes) as pool:
        tallies = dict(zip(names, pool.map(hunt_target, names), strict=True))
    total = sum(tally.inputs for tally in tallies.values())
    failed = sum(sum(tally.failed.values()) for tally in tallies.values())
    sound = all(map(is_sound, tallies.values()))
    print(f"{total:,} inputs, {failed:,} failed, {'memory flat' if sound or failed else 'memory grew'}")
    if options.json:
        figures = {
            "inputs": total,
            "failed": failed,
            "sound": sound,
            "seed": options.seed,
            "targets": [row(name, tally) for name, tally in tallies.items()],
        }
        write_figures(options.json, figures)
    sys.exit(not sound)


if __name__ == "__main__":
    main()
