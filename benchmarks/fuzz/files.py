"""What `benchmarks.fuzz` feeds with files: WFDB headers, annotations and signals, checkpoints, settings."""

import dataclasses
import json
import math
import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from agent.core import config as configuration
from benchmarks.fuzz.mutation import altered, dumped, mutated
from model.beats import templates
from model.records import wfdb_records
from model.records.annotations import MNEMONICS, AnnotationFile, encode_annotations, read_annotations
from model.records.wfdb_records import DATABASE

SAMPLES = 600
"""Samples of the small records that headers speak of."""
FORMATS = ("16", "212", "80", "24", "310", "311", "8", "160", "32", "61")
HEADER_TOKENS = (
    *(b"/dev/zero", b"../../etc/passwd", b"http://127.0.0.1:9/x", b"s3://b/k", b"pipe", b"zero.dat", b"folder"),
    b"gone.dat",
    *(b"~", b"-", b"", b"made.hea", b"clip.flac 516", b"x1000000", b":1000000", b"+1000000", b"x0", b"/2"),
    b"(1024)/mV",
    *(b" 8 ", b" 16 ", b" 61 ", b" 80 ", b" 212 ", b" 311 ", b" 516 ", b" 524 ", b" 999 ", b"1e-320", b"1e308"),
    b"\x1b[2J",
    *(b"\n", b"\r", b"\x0c", b"\x85", b"#", b" ", b"\t", b"\0", b"\xff", b"1" * 300, b"a" * 3000),
    b"12:34:56.7 1/2/1999",
)  # fmt: skip
NOTE_TOKENS = (
    *(b"\0\0", b"\0\xec", b"\0\xec\xff\x7f\xff\xff", b"\0\xec\0\x80\0\0", b"\xff\xfc", b"\x01\xf0", b"\x01\xf4"),
    b"\x01\xf8",
    *(b"\0\x58\x06\xfc## abc", b"\0\x58\x18\xfc## time resolution: 1e-300", b"## end of definitions"),
    *(b"\0\x58\x1e\xfc## annotation type definitions", b"42 N \xff", b"\0E"),
)  # fmt: skip
TOML_TOKENS = (
    *(b"[recipe.mine]\n", b"[recipe]\n", b"recipe = 1\n", b"[[monitor]]\n", b'["recipe.x"]\n'),
    *(b'[recipe."a\\nb"]\n', b"monitor.x.y = 1\n"),
    *(b"= nan", b"= inf", b"= -inf", b"= 1979-05-27", b"= 07:32:00", b"= 0xffffffffffffffffffff", b"= 1e400"),
    b'= "\\u001b[2J"',
    *(b'"\\n" = 1\n', b"channels = [1, 2]\n", b"channels = []\n", b"= [[[]]]", b"= {}", b"= true", b"'''", b'"""'),
    *(b"\x7f", b"\xff"),
)  # fmt: skip


class Headers:
    """WFDB headers, beside signal files of many formats, a pipe, a device and a folder. An input is the header."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seeds = [header.encode() for header in write_signals(folder).values()]
        self._seeds += [(DATABASE / "mitdb" / f"{name}.hea").read_bytes() for name in ("100", "102", "207")]
        self._seeds += [
            b"made 2 360/360(0) 600 12:30:01.5 25/12/1999\nd16.dat 16x2:3+4 200(-12)/mV 12 0 5 -77 0 II\n"
            b"d212.dat 212 1e2/uV 11 1024 0 0 0 V1\n# 69 M\n",
            b"made/3 2 360 1200\npart1 600\n~ 300\npart2 300\n",
        ]
        os.mkfifo(folder / "pipe")
        (folder / "zero.dat").symlink_to("/dev/zero")
        (folder / "folder").mkdir()

    def make(self, random: Random) -> list[bytes]:
        """A real header with some bytes, numbers or lines changed."""
        header = mutated(random, random.choice(self._seeds), self._seeds, HEADER_TOKENS)
        return [header.replace(b"100.flac", b"clip.flac").replace(b"650000", b"600")]

    def run(self, parts: list[bytes]) -> None:
        """Open the record and read blocks of it and the whole."""
        (self._folder / "made.hea").write_bytes(parts[0])
        check_record(self._folder / "made")


class Signals:
    """Signal files below a sound header. An input is the format and the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._headers = write_signals(folder)
        self._seeds = {name: (folder / _file(name)).read_bytes() for name in self._headers}

    def make(self, random: Random) -> list[bytes]:
        """A real signal file with some bytes changed."""
        name = random.choice([*self._seeds, "516", "516", "212", "16"])
        return [name.encode(), mutated(random, self._seeds[name], list(self._seeds.values()))]

    def run(self, parts: list[bytes]) -> None:
        """Read blocks and the whole."""
        name = parts[0].decode()
        (self._folder / "made.hea").write_text(self._headers[name])
        (self._folder / _file(name)).write_bytes(parts[1])
        check_record(self._folder / "made")


class Annotations:
    """Annotation files. An input is the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "made.hea").write_text("made 1 360 650000\nmade.dat 16 200 11 0 0 0 0 II\n")
        self._record = wfdb_records.open_record(str(folder / "made"))
        self._seeds = []
        for name in ("100", "207", "231"):
            whole = read_annotations(DATABASE / "mitdb", name, "atr", 360.0)
            for start, stop in ((0, 6), (0, 60), (100, 200)):
                notes = AnnotationFile(
                    *(getattr(whole, field)[start:stop] for field in ("samples", "symbols", "subtypes", "texts"))
                )
                self._seeds.append(encode_annotations(notes))
        self._seeds.append(_described())

    def make(self, random: Random) -> list[bytes]:
        """A piece of a real annotation file with some bytes changed."""
        return [mutated(random, random.choice(self._seeds), self._seeds, NOTE_TOKENS)]

    def run(self, parts: list[bytes]) -> None:
        """Read the file in both ways; what can be written again reads the same."""
        (self._folder / "made.atr").write_bytes(parts[0])
        notes = read_annotations(self._folder, "made", "atr", 360.0)
        lengths = {len(notes.samples), len(notes.symbols), len(notes.subtypes), len(notes.texts)}
        assert len(lengths) == 1, "lengths differ"
        steps = np.diff(np.array([0, *notes.samples], dtype=np.float64))
        if not notes.definitions and set(notes.symbols) <= set(MNEMONICS) - {"\0", " "} and (abs(steps) < 2**31).all():
            (self._folder / "again.atr").write_bytes(encode_annotations(notes))
            again = read_annotations(self._folder, "again", "atr", 360.0)
            if not again.definitions:
                assert (again.samples, again.texts) == (notes.samples, notes.texts), "written and read again differs"
        found = wfdb_records.read_reference(self._record)
        assert len(found.samples) == len(found.symbols) == len(found.texts)
        assert all(type(text) is str for text in (*found.symbols, *found.texts))
        found.beats()


class Checkpoints:
    """Checkpoints: small nets and the monitor's own. An input is the file."""

    def __init__(self, folder: Path) -> None:
        import torch

        from model.nets import checkpoint, checkpoint_card
        from model.nets.beat_net import build_beat_net
        from model.nets.net_size import NetSize

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self._path, self._cpu, self._load = folder / "made.safetensors", torch.device("cpu"), checkpoint.load_checkpoint
        self._load_beat = checkpoint.load_beat_net
        self._beats = torch.rand(2, templates.INPUTS)
        self._seeds = []
        for size in (NetSize(channels=(1,), dense=1, kernel=1), NetSize(channels=(2, 3), dense=4, kernel=3)):
            checkpoint.save_checkpoint(
                self._path,
                build_beat_net(size, self._cpu),
                checkpoint_card.ModelCard("made", size, {"seed": 0}, {"f1": {}}),
            )
            self._seeds.append(self._path.read_bytes())
        self._live = checkpoint_card.find_checkpoint("live").read_bytes()

    def make(self, random: Random) -> list[bytes]:
        """A checkpoint with bytes, entries of its header, or of the card inside changed."""
        seed = self._live if random.random() < 0.03 else random.choice(self._seeds)
        choice = random.random()
        if choice < 0.4:
            return [mutated(random, seed, self._seeds)]
        size = int.from_bytes(seed[:8], "little")
        header, rest = json.loads(seed[8 : 8 + size]), seed[8 + size :]
        if choice < 0.7:
            card = altered(random, json.loads(header["__metadata__"]["ecg-agent"]))
            text = dumped(card) if random.random() < 0.8 else mutated(random, dumped(card))
            header["__metadata__"]["ecg-agent"] = text.decode("latin-1")
        else:
            header = altered(random, header)
        packed = dumped(header)
        if random.random() < 0.1:
            packed = mutated(random, packed)
        told = len(packed) if random.random() < 0.95 else random.choice((0, 2**20, 2**31, 2**63, 2**64 - 1, size + 1))
        return [told.to_bytes(8, "little") + packed + rest]

    def run(self, parts: list[bytes]) -> None:
        """Load it, as the monitor does and as export and transfer do."""
        self._path.write_bytes(parts[0])
        net, card = self._load(self._path, self._cpu)
        assert card.name.isprintable()
        beats = self._beats if card.kind == "context" else self._beats[:, : net.size.samples]
        assert net(beats).isfinite().all(), "scores are not finite"
        self._load_beat(self._path, self._cpu)


class Configs:
    """Settings. An input is the TOML of a file, then names and values of the environment in turn."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "own.toml"
        whole = configuration.default_config_path().read_bytes()
        parts = [b"[" + part for part in whole.split(b"\n[")[1:]]
        self._seeds = [whole, *parts, b'[monitor]\ndevice = "cpu"\nlead = "V1"\n', b"[recipe.own]\nepochs = 3\n"]
        sections = dataclasses.asdict(configuration.load_config(None, {}))
        self._names = [
            f"{configuration.ENVIRONMENT_PREFIX}{section}_{key}".upper().encode()
            for section, keys in sections.items()
            for key in (keys if section != "recipe" else ("reproduction", "best", "x"))
        ]

    def make(self, random: Random) -> list[bytes]:
        """Settings with some bytes, numbers or lines changed, and a few variables of the environment."""
        parts = [mutated(random, random.choice(self._seeds), self._seeds, TOML_TOKENS)]
        for _ in range(random.choice((0, 0, 1, 2))):
            name = random.choice(self._names)
            value = random.choice((b"1", b"0.5", b"cpu", b'"cpu"', b"true", b"[32, 32]", b"nan", b"a\nb = 1", b""))
            value = mutated(random, value, (), TOML_TOKENS) if random.random() < 0.7 else value
            parts += [mutated(random, name) if random.random() < 0.1 else name, value]
        return parts

    def run(self, parts: list[bytes]) -> None:
        """Load them; what is accepted is finite, and what `config show` prints of it is the same settings."""
        self._path.write_bytes(parts[0])
        texts = [part.replace(b"\0", b"").decode("utf-8", "surrogateescape") for part in parts[1:]]
        found = configuration.load_config(self._path, dict(zip(texts[::2], texts[1::2], strict=True)))
        assert all(math.isfinite(number) for number in _numbers(dataclasses.asdict(found))), "a setting is not finite"
        self._path.write_text(configuration.format_config_toml(found), encoding="utf-8", errors="surrogatepass")
        assert configuration.load_config(self._path, {}) == found, "config show prints other settings"


def check_record(path: Path) -> None:
    """Open a record and read it; whatever is read in a block is what the whole holds there."""
    record = wfdb_records.open_record(str(path))
    assert math.isfinite(record.fs)
    assert record.length > 0
    assert all(math.isfinite(signal.low) and math.isfinite(signal.high) for signal in record.signals)
    first = wfdb_records.read_record_samples(record, 0, 64)
    last = wfdb_records.read_record_samples(record, max(0, record.length - 7))
    whole = wfdb_records.read_record_samples(record)
    assert whole.shape == (record.length, len(record.signals))
    assert not np.isinf(whole).any(), "a value is infinite"
    assert np.array_equal(first, whole[:64], equal_nan=True), "the first block is not that of the whole"
    assert np.array_equal(last, whole[-7:], equal_nan=True), "the last block is not that of the whole"


def write_signals(folder: Path) -> dict[str, str]:
    """A small signal file of every format in `folder`; the header of each, by format."""
    import wfdb

    signal_mv = wfdb_records.read_record_samples(wfdb_records.open_record("100"), 0, SAMPLES)
    headers = {}
    for name in FORMATS:
        if name in ("160", "32", "61"):
            whole: NDArray[Any] = np.rint(signal_mv * 200).astype({"160": "<u2", "32": "<i4", "61": ">i2"}[name])
            (folder / _file(name)).write_bytes(whole.tobytes())
        elif name in ("310", "311", "8"):
            (folder / _file(name)).write_bytes(Random(0).randbytes(2 * SAMPLES * 4 // 3 + 4))
        else:
            gains = [20.0 if name == "80" else 200.0] * 2
            said = {"fmt": [name] * 2, "adc_gain": gains, "baseline": [0, 0], "write_dir": str(folder)}
            wfdb.wrsamp("made", 360, ["mV"] * 2, ["II", "V1"], signal_mv, **said)
            (folder / "made.dat").replace(folder / _file(name))
        lines = "".join(f"{_file(name)} {name} 200(0)/mV 0 0 0 0 0 {lead}\n" for lead in ("II", "V1"))
        headers[name] = f"made 2 360 {SAMPLES}\n{lines}"
    soundfile.write(folder / _file("516"), np.rint(signal_mv * 200).astype(np.int16), 360, format="FLAC")
    lines = "".join(f"{_file('516')} 516 200(0)/mV 11 0 0 0 0 {lead}\n" for lead in ("II", "V1"))
    headers["516"] = f"made 2 360 {SAMPLES}\n{lines}"
    return headers


def _file(name: str) -> str:
    return "clip.flac" if name == "516" else f"d{name}.dat"


def _described() -> bytes:
    """An annotation file that describes itself first."""
    texts = ("## time resolution: 250", "## annotation type definitions", "42 G something", "## end of definitions")
    notes = [(0, '"', text) for text in texts] + [(0, " ", ""), (77, "N", ""), (370, "+", "(N"), (99_999, "V", "")]
    samples, symbols, said = zip(*notes, strict=True)
    return encode_annotations(AnnotationFile(samples, symbols, (0,) * len(notes), said))


def _numbers(values: Any) -> list[float]:
    if isinstance(values, dict):
        return [number for inner in values.values() for number in _numbers(inner)]
    return [values] if isinstance(values, float) else []
