"""Fuzzing in short: whatever reads bytes from outside accepts or refuses them. `benchmarks.fuzz` is the long form."""

import json
import os
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.faulty import Broken, Faulty, Hoarder

from agent.core import config as configuration
from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap, Lead
from agent.link import reorder_buffer
from agent.pipeline.pipeline import Pipeline
from agent.wire import packets
from benchmarks.fuzz import command, worker
from benchmarks.fuzz.invariants import OrderCheck
from benchmarks.fuzz.mutation import CHANGES, LARGEST, mutated, value
from benchmarks.fuzz.sequences import Sequences
from benchmarks.fuzz.worker import Failure, Subject, Tally, Target, draw, hunt, run_input, started
from model.errors import CheckpointError, ConfigError, FrameError, RecordError
from model.nets import checkpoint, checkpoint_card
from model.nets.beat_net import build_beat_net
from model.nets.checkpoint_card import ModelCard
from model.nets.net_size import NetSize
from model.records import wfdb_header, wfdb_records
from model.records.annotations import LARGEST_ANNOTATION_FILE, AnnotationFile, encode_annotations, read_annotations
from model.records.resample import resampling_ratio

SHORT = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
INPUTS = {
    "sequence": 100,
    "analysed": 10,
    "stream": 8,
    "lasting": 8,
    "recording": 25,
    "header": 100,
    "signal": 60,
    "annotation": 150,
}
"""Inputs of the slower targets; 300 of all others."""
LARGE = 10**12


@pytest.fixture(scope="module")
def subjects() -> Iterator[Callable[[str], Subject]]:
    """Return a function that makes the subject of a target when it is first needed."""
    made: dict[str, Subject] = {}
    with ExitStack() as stack:

        def subject(name: str) -> Subject:
            if name not in made:
                made[name] = stack.enter_context(started(command.TARGETS[name]))[0]
            return made[name]

        yield subject


def checked(name: str, subject: Subject, parts: list[bytes]) -> str:
    """Return the outcome of an input; how long it took is left to the benchmark, which has the machine to itself."""
    outcome = run_input(command.TARGETS[name], subject, parts)
    took = outcome.reason.startswith("took over")
    assert took or outcome.kind != "failed", f"{outcome.reason}\n{outcome.trace}"
    return outcome.kind


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", command.TARGETS)
def test_mutated_inputs(name: str, subjects: Callable[[str], Subject]) -> None:
    """Any mutation of real data is accepted, or refused as documented."""
    subject = subjects(name)

    @settings(SHORT, max_examples=INPUTS.get(name, 300))
    @given(st.integers(0, 2**40))
    def run(index: int) -> None:
        checked(name, subject, draw(subject, name, 0, index))

    run()


@pytest.mark.parametrize("name", ["wire", "bundle", "request", "reply", "header", "annotation", "checkpoint", "config"])
def test_any_bytes(name: str, subjects: Callable[[str], Subject]) -> None:
    """Any bytes are accepted, or refused as documented."""
    subject = subjects(name)

    @settings(SHORT, max_examples=60)
    @given(st.binary(max_size=200))
    @example(b"")
    @example(b"\0" * 200)
    @example(b"[" * 5000)
    def run(content: bytes) -> None:
        checked(name, subject, [content])

    run()


@pytest.mark.parametrize("name", command.TARGETS)
def test_inputs_can_be_made_again(name: str, subjects: Callable[[str], Subject]) -> None:
    """An input is the same for the same seed and index, and another one for others."""
    subject = subjects(name)
    first = [draw(subject, name, 1, index) for index in range(20)]
    assert first == [draw(subject, name, 1, index) for index in range(20)]
    assert first != [draw(subject, name, 2, index) for index in range(20)]


@pytest.mark.parametrize("name", command.TARGETS)
@pytest.mark.slow
def test_inputs_reach_behind_the_first_check(name: str, subjects: Callable[[str], Subject]) -> None:
    """Not everything is refused, and what may be refused sometimes is."""
    subject = subjects(name)
    wanted = {"accepted", "refused"} if command.TARGETS[name].refusals else {"accepted"}
    kinds: set[str] = set()
    with np.errstate(all="ignore"):
        for index in range(INPUTS.get(name, 300)):
            kinds.add(checked(name, subject, draw(subject, name, 3, index)))
            if kinds == {"accepted", "refused"}:
                break
    assert kinds == wanted


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_take_anything(change: Callable[[Random, bytearray], None]) -> None:
    """Every mutation takes bytes of any length, and changes some of them."""
    changed = 0
    for seed in range(200):
        before = Random(seed).randbytes(seed % 50) + b" 12 \n a 5\n"[: seed % 11]
        out = bytearray(before)
        change(Random(seed), out)
        changed += bytes(out) != before
    assert changed > 20


def test_mutations_stay_small() -> None:
    """No input grows without bound, however often it is changed."""
    data = bytes(LARGEST)
    for seed in range(50):
        data = mutated(Random(seed), data, [data], [b"token"])
        assert len(data) <= LARGEST
    assert json.dumps(value(Random(1))) is not None


FAULTY = Target(Faulty, (RecordError,), 1)
FAULTS = 20


@pytest.fixture(scope="module")
def faults() -> tuple[Tally, Counter[str]]:
    """Return the worker's tally of a subject with many faults, and the faults among its inputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "HANG_S", 4.0)
        seed = next(seed for seed in range(1_000_000) if _has_all(_names(seed)))
        return hunt("faulty", FAULTY, FAULTS, seed), Counter(_names(seed))


def _has_all(names: list[str]) -> bool:
    return set(names) == set(Faulty.FAULTS) and names.count("hang") == names.count("crash") == 1


def _names(seed: int) -> list[str]:
    return [draw(Faulty(Path()), "faulty", seed, index)[0].decode() for index in range(FAULTS)]


@pytest.mark.slow
def test_faults_are_noticed(faults: tuple[Tally, Counter[str]]) -> None:
    """A traceback, a refusal that cannot be shown, a file elsewhere, a connection, a crash and a hang are failures."""
    tally, made = faults
    found = Counter({reason.partition(" at ")[0]: count for reason, count in tally.failed.items()})
    reasons = {
        "raise": "KeyError",
        "print": "RecordError that cannot be shown",
        "memory": "RecordError for want of memory",
        "crash": "ended by -6",
        "hang": "hung for 4 s",
        "connect": "reached out: socket.connect",
    }
    assert {fault: found[reason] for fault, reason in reasons.items()} == {fault: made[fault] for fault in reasons}
    assert sum(count for reason, count in found.items() if "beside" in reason) == made["open"]
    assert tally.inputs == FAULTS
    assert len(tally.kept) == sum(tally.failed.values())


@pytest.mark.slow
def test_what_is_no_fault(faults: tuple[Tally, Counter[str]]) -> None:
    """Accepted, refused and warned inputs are counted, unless a crash took the count with it."""
    tally, made = faults
    assert tally.accepted <= made["fine"] + made["warn"]
    assert set(tally.refused) <= {"RecordError"}
    assert sum(tally.failed.values()) == made.total() - made["fine"] - made["warn"] - made["refuse"]
    assert tally.slowest >= 0
    assert not command.is_sound(tally)


def _chunk(first: int, count: int = 5, run: str = "a") -> Chunk:
    return Chunk("1", run, first, 125.0, (), np.zeros((count, 1), np.int32), 0.0, 0.0)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([_chunk(0), _chunk(5), Gap("1", "a", 10, 5, 125.0, ""), End("1", "a", 15, 125.0)], ""),
        ([_chunk(0), _chunk(4)], "samples twice"),
        ([_chunk(0), _chunk(6)], "samples left out"),
        ([_chunk(0), _chunk(5, 0)], "no samples"),
        ([_chunk(0), End("1", "a", 6, 125.0)], "an end before its last sample"),
        ([_chunk(0), _chunk(0, run="b"), _chunk(9)], ""),
        ([_chunk(0), _chunk(0, run="b"), _chunk(4)], "samples twice, of a run that came back"),
    ],
)
def test_wrong_orders_are_noticed(messages: list[Chunk | Gap | End], reason: str) -> None:
    """Samples that a link gives twice, or leaves out, are a failure, and so is an end that comes too early."""
    check, complaint = OrderCheck(), ""
    try:
        for message in messages:
            check.take(message)
    except AssertionError as error:
        complaint = str(error).partition("\n")[0]
    assert complaint == reason


def test_a_name_of_a_run_may_be_used_again() -> None:
    """A check that goes on over many devices takes a run that comes back for another one."""
    check = OrderCheck(remembers=False)
    for message in (_chunk(0), _chunk(0, run="b"), _chunk(0), _chunk(5)):
        check.take(message)
    assert check.analysed["1"] == 20


def _short_gap(bed: str, run: str, first: int, count: int, fs: float, reason: str) -> Gap:
    return Gap(bed, run, first, count - 1, fs, reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "broken", "reasons", "seed"),
    [
        ("cut_packet", lambda packet, *_: packet, ("samples twice", "sample in the wrong place"), 0),
        ("MOST_HELD_PACKETS", 10**6, ("too many packets held",), 0),
        ("MOST_HELD_BYTES", 10**9, ("too many bytes held",), 20),  # 0 fails late
        (
            "Gap",
            lambda bed, run, first, count, *rest: Gap(bed, run, first, count - 1, *rest),
            ("left out", "no samples"),
            0,
        ),
    ],
)
def test_sequences_notice_a_broken_buffer(
    name: str, broken: object, reasons: tuple[str, ...], seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reorder buffer that repeats samples, holds too much or shortens gaps fails within some hundred inputs."""
    monkeypatch.setattr(reorder_buffer, name, broken)
    subject, target = Sequences(tmp_path), command.TARGETS["sequence"]
    outcomes = (run_input(target, subject, draw(subject, "sequence", seed, index)).reason for index in range(1000))
    assert any(words in reason for reason in outcomes for words in reasons)


def test_a_subject_that_cannot_be_made(capfd: pytest.CaptureFixture[str]) -> None:
    """A target that does not start is reported once, and not started again for each input."""
    tally = hunt("broken", Target(Broken, (), 1), 1000, 0)  # type: ignore[arg-type]  # it never becomes a Subject
    assert tally.failed == {"could not be started": 1}
    assert "OSError" in capfd.readouterr().err


def test_growth_is_noticed() -> None:
    """Memory that grows with the inputs is reported, though nothing failed."""
    tally = hunt("hoarder", Target(Hoarder, (), 1), command.LEAST_INPUTS + 1000, 0)
    assert not tally.failed
    assert tally.accepted == tally.inputs == command.LEAST_INPUTS + 1000
    assert command.grew(tally) > command.MOST_GROWTH
    assert not command.is_sound(tally)


def test_saved_inputs_fail_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An input that failed is saved, and fails again when it is replayed, until the fault is mended."""
    monkeypatch.setitem(command.TARGETS, "faulty", FAULTY)
    subject = Faulty(tmp_path)
    index = next(i for i in range(1000) if draw(subject, "faulty", 5, i) == [b"raise"])
    tally = Tally()
    tally.fail(Failure(index, "KeyError at here", "a trace"))
    (path,) = command.save(tmp_path / "saved", "faulty", 5, tally)
    assert json.loads(path.read_text())["reason"] == "KeyError at here"
    assert not command.replay(path)
    assert "KeyError" in capsys.readouterr().out
    monkeypatch.setattr(Faulty, "run", lambda *_: None)
    assert command.replay(path)
    assert capsys.readouterr().out.startswith("accepted")


@pytest.mark.slow
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The benchmark shares its inputs among targets, prints a line for each and writes the figures."""
    arguments = ["fuzz", "--inputs", "485", "--targets", "wire,request", "--json", str(tmp_path / "f" / "figures.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert not ended.value.code
    assert "485 inputs, 0 failed" in capsys.readouterr().out
    figures = json.loads((tmp_path / "f" / "figures.json").read_text())["results"]
    assert [row["inputs"] for row in figures["targets"]] == [415, 70]
    assert all(row["accepted"] + sum(row["refused"].values()) == row["inputs"] for row in figures["targets"])


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes a header, and a signal file of 100 samples of format 16."""

    def write(header: str | bytes, ending: str = ".hea") -> Path:
        (tmp_path / "made.dat").write_bytes(struct.pack("<100h", *range(100)))
        (tmp_path / f"made{ending}").write_bytes(header if isinstance(header, bytes) else header.encode())
        return tmp_path / "made"

    return write


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("made 1 360 100\nmade.dat 16 200 1000000000 0 0 0 0 II\n", "impossible values"),
        ("made 1 360 100\nmade.dat 16 1e-320 12 0 0 0 0 II\n", "impossible values"),
        (f"made 1 360 100\nmade.dat 16 200({'9' * 400}) 12 0 0 0 0 II\n", "impossible values"),
        (f"made 1 360 {'9' * 400}\nmade.dat 16 200 12 0 0 0 0 II\n", "impossible length or skew"),
        ("made 1 360 100\nmade.dat 16:999999999 200 12 0 0 0 0 II\n", "impossible length or skew"),
        (f"made 1 {'9' * 300} 100\nmade.dat 16 200 12 0 0 0 0 II\n", "no valid sampling rate"),
        (f"{'1' * 100_000}\n", "too large"),
        (f"made 1 360 100\n{'a' * 100_000}\n", "too large"),
        ("made 1 360 100\n" + "made.dat 16\n" * 5000, "too large"),
        ("#" * (wfdb_header.LARGEST_RECORD_HEADER + 1), "too large"),
    ],
)
def test_hostile_headers(record: Callable[..., Path], header: str, reason: str) -> None:
    """A header that asks for impossible numbers, or for hours of parsing, is refused at once and in one line."""
    with pytest.raises(RecordError, match=rf"^.*{reason}.*$"):
        wfdb_records.open_record(str(record(header)))


def test_long_remarks_are_no_harm(record: Callable[..., Path]) -> None:
    """Remarks may be as long as they like within a header of a mebibyte."""
    path = record(f"made 1 360 100\nmade.dat 16 200 12 0 0 0 0 II\n# {'9' * 50_000}\n")
    assert len(wfdb_records.open_record(str(path)).comments[0]) == 50_000


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("made 1 360 100\nmade.dat 16x1000000000 200 12 0 0 0 0 II\n", "cut short"),
        ("made 1 360 100\nmade.dat 16+1000000000 200 12 0 0 0 0 II\n", "cut short"),
        (f"made 1 360 {LARGE}\nzero.dat 16 200 12 0 0 0 0 II\n", "no file zero.dat"),
        ("made 1 360 100\npipe.dat 16 200 12 0 0 0 0 II\n", "no file pipe.dat"),
        ("made 1 360 100\nfolder 16 200 12 0 0 0 0 II\n", "no file folder"),
        ("made 1 360 100\nmade.dat 999 200 12 0 0 0 0 II\n", "cannot read the signal"),
        (f"made 1 360 {LARGE}\nmade.dat 516 200 12 0 0 0 0 II\n", "cannot read the signal"),
        (f"made 1 360 100\n{'a' * 300} 16 200 12 0 0 0 0 II\n", "cannot read the signal"),
    ],
)
def test_hostile_signal_files(record: Callable[..., Path], header: str, reason: str) -> None:
    """Signals that are a device, a pipe, or far longer than their file are refused before memory is asked for."""
    path = record(header)
    (path.parent / "zero.dat").symlink_to("/dev/zero")
    os.mkfifo(path.parent / "pipe.dat")
    (path.parent / "folder").mkdir()
    opened = wfdb_records.open_record(str(path))
    with pytest.raises(RecordError, match=rf"^.*{reason}.*$") as refused:
        wfdb_records.read_record_samples(opened)
    assert not isinstance(refused.value.__cause__, MemoryError)


def test_a_header_that_promises_too_much(record: Callable[..., Path]) -> None:
    """Of a record that is far longer by its header than its file what is there is read."""
    opened = wfdb_records.open_record(str(record(f"made 1 360 {LARGE}\nmade.dat 16 200 12 0 0 0 0 II\n")))
    assert (opened.length, opened.missing) == (100, LARGE - 100)
    assert len(wfdb_records.read_record_samples(opened)) == 100


def test_differences_are_read_in_blocks(record: Callable[..., Path]) -> None:
    """A block of a record of format 8, which holds differences, is that part of the whole."""
    opened = wfdb_records.open_record(str(record("made 1 360 200\nmade.dat 8 200 8 0 100 0 0 II\n")))
    whole = wfdb_records.read_record_samples(opened)
    assert whole[-1, 0] != 0
    assert np.array_equal(wfdb_records.read_record_samples(opened, 150, 170), whole[150:170])


@pytest.mark.parametrize(("frame", "length"), [("", 100), ("x2", 50)])
def test_the_end_of_a_skewed_signal(record: Callable[..., Path], frame: str, length: int) -> None:
    """A signal that was written three frames late has three fewer: no values are made up for them."""
    opened = wfdb_records.open_record(str(record(f"made 1 360 {length}\nmade.dat 16{frame}:3 200 12 0 0 0 0 II\n")))
    whole = wfdb_records.read_record_samples(opened)[:, 0]
    late = 3 * (100 // length)
    assert np.array_equal(np.rint(whole[:-late] * 200), np.arange(late, 100))
    assert np.isnan(whole[-late:]).all()
    assert np.array_equal(wfdb_records.read_record_samples(opened, 5, 99)[:, 0], whole[5:-1], equal_nan=True)


def test_reasons_of_wfdb_can_be_shown(record: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the WFDB package says of a file reaches a terminal in one line, short, and without control characters."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError("a\n\x1b[2J" + "b" * 5000)

    monkeypatch.setattr("wfdb.rdheader", fail)
    with pytest.raises(RecordError, match=r"made: a \?\[2Jb+$") as refused:
        wfdb_records.open_record(str(record("made 1 360 100\nmade.dat 16 200 12 0 0 0 0 II\n")))
    assert len(str(refused.value)) < 1000


NOTE = b"\x00\x58"
"""A remark (code 22) at sample 0."""


@pytest.mark.parametrize("text", ["## abc", "## annotation type definitions", "## time resolution: 360"])
def test_remarks_about_the_file(record: Callable[..., Path], text: str) -> None:
    """Remarks that the WFDB package's own reader never comes to the end of are read."""
    remarks = b"".join(NOTE + bytes([len(text), 0xFC]) + text.encode() + b"\0" * (len(text) % 2) for _ in range(2))
    path = record(remarks + encode_annotations(AnnotationFile((77, 370), ("N", "V"), (0, 0), ("", ""))), ".atr")
    record("made 1 360 1000\nmade.dat 16 200 12 0 0 0 0 II\n")
    found = wfdb_records.read_reference(wfdb_records.open_record(str(path)))
    assert (found.samples.tolist(), found.symbols) == ([77, 370], ("N", "V"))


@pytest.mark.parametrize("rate", ["1e-300", "1e-320", "1e-40"])
def test_stated_rates(record: Callable[..., Path], rate: str) -> None:
    """A stated rate that would place beats beyond any record is refused."""
    text = f"## time resolution: {rate}"
    notes = AnnotationFile((0, 0, 77), ('"', " ", "N"), (0, 0, 0), (text, "", ""))
    content = encode_annotations(AnnotationFile((0,), ('"',), (0,), (text,)))[:-2] + encode_annotations(
        AnnotationFile(notes.samples[2:], notes.symbols[2:], (0,), ("",))
    )
    path = record(content, ".atr")
    with pytest.raises(RecordError, match="beyond the end of any record"):
        read_annotations(path.parent, "made", "atr", 360.0)


def test_annotations_that_are_no_files(tmp_path: Path) -> None:
    """A pipe, a device and a file of many megabytes are refused, not read for ever."""
    os.mkfifo(tmp_path / "a.pipe")
    (tmp_path / "a.zero").symlink_to("/dev/zero")
    with (tmp_path / "a.huge").open("wb") as file:
        file.truncate(LARGEST_ANNOTATION_FILE + 1)
    for ending, reason in (("pipe", "not a file"), ("zero", "not a file"), ("huge", "it has over")):
        with pytest.raises(RecordError, match=reason):
            read_annotations(tmp_path, "a", ending, 360.0)


@pytest.mark.parametrize("fs", [1e-3, 0.125, 1.0, 19.9])
def test_slow_rates(fs: float) -> None:
    """A rate at which no ECG is seen is refused: a packet would become a thousand times as many samples."""
    with pytest.raises(ValueError, match="makes no sense"):
        resampling_ratio(fs)


def test_huge_versions() -> None:
    """A version of thousands of digits is refused in a short line."""
    bed, header, payload = packets.encode_frames(End("1", "r", 0, 125.0))
    with pytest.raises(FrameError, match=r"^unknown wire version '9{20}': this agent knows 1$"):
        packets.decode_frames([bed, header.replace(b'"v":1', b'"v":' + b"9" * 4000), payload])


@pytest.mark.parametrize("fs", [1e-320, 1e-300, 1e-3, 0.999])
def test_rates_of_no_device(fs: float) -> None:
    """A rate at which sample indices at 125 Hz would be beyond 64 bits, or infinite, is refused on the wire."""
    frames = packets.encode_frames(End("1", "r", 2**53, fs))
    with pytest.raises(FrameError, match="fs"):
        packets.decode_frames(frames)


def test_late_samples_at_a_slow_rate() -> None:
    """A stream at the slowest rate with the largest index stays within what the detector counts up to."""
    ward = Pipeline(configuration.load_config(None, {}), lambda beats: np.full((len(beats), 5), 0.2, np.float32))
    lead = (Lead("II", "mV", 1000.0, 0.0, -5120, 5115),)
    refused, begun = (
        ward.push([Chunk(bed, "r", 2**53 - 200, fs, lead, np.zeros((200, 1), np.int32), 0.0)])[0]
        for bed, fs in (("1", 1.0), ("2", 20.0))
    )
    assert isinstance(refused, Event)
    assert isinstance(begun, Event)
    assert (refused.kind, begun.kind) == ("refused", "start")


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        (f"[monitor]\ntimeout_s = {'9' * 5000}", "no valid TOML"),
        (f"[monitor]\ntimeout_s = {'[' * 5000}", "no valid TOML"),
        ("[monitor]\ntimeout_s = nan", "timeout_s"),
        ("[simulate]\nsnr_db = nan", "snr_db"),
        ('[monitor]\n"a\\nb" = 1', r"unknown key monitor\.a b"),
        ('[recipe."a\\nb"]\nepochs = 1', "name a recipe"),
        ('[recipe."a b"]\nepochs = 1', "name a recipe"),
        ("#" * configuration.LARGEST_CONFIG_BYTES + "#", "too large"),
    ],
)
def test_hostile_settings(tmp_path: Path, toml: str, reason: str) -> None:
    """Settings with numbers, nesting, names and sizes that nobody means are refused in one line."""
    (tmp_path / "own.toml").write_text(toml)
    with pytest.raises(ConfigError, match=rf"^.*{reason}.*$") as refused:
        configuration.load_config(tmp_path / "own.toml", {})
    assert str(refused.value).isprintable()


def test_settings_from_a_device() -> None:
    """A device that never ends is refused as settings."""
    with pytest.raises(ConfigError, match="too large"):
        configuration.load_config(Path("/dev/zero"), {})


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        (("ECG_AGENT_MONITOR_LEAD", "\udcff"), "is not UTF-8"),
        (("ECG_AGENT_MONITOR_\udcff", "1"), r"unknown key monitor\.\?"),
        (("ECG_AGENT_MONITOR_TIMEOUT_S", "9" * 5000), "timeout_s"),
        (("ECG_AGENT_MONITOR_TIMEOUT_S", "[" * 5000), "timeout_s"),
    ],
)
def test_hostile_environment(variable: tuple[str, str], reason: str) -> None:
    """Variables that are no text, or no number, are refused in one line."""
    with pytest.raises(ConfigError, match=rf"^.*{reason}.*$") as refused:
        configuration.load_config(None, dict([variable]))
    assert str(refused.value).isprintable()


def test_shown_settings_are_the_settings(tmp_path: Path) -> None:
    """What `config show` prints reads as the same settings, also where a text holds what TOML has to escape."""
    found = configuration.load_config(None, {"ECG_AGENT_MONITOR_LEAD": 'a\x7f"\\\x1b'})
    (tmp_path / "own.toml").write_text(configuration.format_config_toml(found))
    assert configuration.load_config(tmp_path / "own.toml", {}) == found


@pytest.mark.parametrize("name", ["", "\x1b[2J", "two\nlines", "x" * 500])
def test_names_of_weights(tmp_path: Path, name: str) -> None:
    """A checkpoint whose name cannot be shown on a dashboard is refused."""
    size = NetSize(channels=(1,), dense=1, kernel=1)
    checkpoint.save_checkpoint(
        tmp_path / "w.safetensors", build_beat_net(size, torch.device("cpu")), ModelCard(name, size, {}, {})
    )
    with pytest.raises(CheckpointError, match="a name that cannot be shown"):
        checkpoint.load_checkpoint(tmp_path / "w.safetensors", torch.device("cpu"))


@pytest.mark.parametrize("name", ["live", "best"])
def test_weights_too_large(tmp_path: Path, name: str) -> None:
    """Finite weights that would make probabilities that are not are refused; those that ship are far from that."""
    path = checkpoint_card.find_checkpoint(name)
    net, _ = checkpoint.load_checkpoint(path, torch.device("cpu"))
    assert checkpoint.largest_net_score(net) < 1e15
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    large = {key: tensor.sign() * 1e30 for key, tensor in tensors.items()}
    for spoilt in (large, tensors | {"output.weight": large["output.weight"]}):
        save_file(spoilt, tmp_path / "w", metadata)
        with pytest.raises(CheckpointError, match="so large"):
            checkpoint.load_checkpoint(tmp_path / "w", torch.device("cpu"))


def test_a_spread_of_zero(tmp_path: Path) -> None:
    """A net that would divide by zero is refused."""
    path = checkpoint_card.find_checkpoint("live")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["spread"][3] = 0
    save_file(tensors, tmp_path / "w", metadata)
    with pytest.raises(CheckpointError, match="a spread that is not above 0"):
        checkpoint.load_checkpoint(tmp_path / "w", torch.device("cpu"))


def test_reasons_of_safetensors_can_be_shown(tmp_path: Path) -> None:
    """What a parser quotes of a checkpoint reaches a terminal without control characters."""
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"\x7f\xc2\x9b1"'))
    for content in (path.read_bytes(), path.read_bytes().replace(b"\xc2\x9b1", b"abc")):
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as refused:
            checkpoint.load_checkpoint(path, torch.device("cpu"))
        assert str(refused.value).isprintable()


def test_a_message_can_always_be_shown() -> None:
    """Errors quote what is wrong, whatever that is: in one line of bounded length, without control characters."""
    said = str(RecordError("x" * 5000 + "\x1b[2J\n" + "\ud800" + "end"))
    assert said.isprintable()
    assert said.endswith("???end") or "?" in said
    assert len(said) <= 1010
    assert str(RecordError("plain words")) == "plain words"
