"""docs/clients: the two monitors that were written from docs/wire.md, against the simulator and a foreign device."""

import json
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray
from test_cli import simulator

from agent.core.messages import MISSING, Chunk
from agent.wire.curve_security import create_key_pair
from agent.wire.packets import parse_frames
from agent.wire.record_chunks import record_chunks
from model.errors import FrameError
from model.records.wfdb_records import open_record

ROOT = Path(__file__).parents[1]
CLIENTS = ROOT / "docs" / "clients"
COMMANDS = {"python": [sys.executable, "monitor.py"], "node": ["node", "monitor.mjs"]}
SECONDS = 60
LONG_S = 120.0
LEAD = {"name": "II", "unit": "mV", "gain": 200, "offset": 1024, "low": 0, "high": 2047}
HEADER = {"kind": "samples", "v": 1, "run": "r", "sequence": 0, "first": 0, "count": 1, "fs": 125, "dtype": "int16"}
HEADER |= {"sent": 1.0, "leads": [LEAD]}
END = {"kind": "end", "v": 1, "run": "r", "sequence": 0, "first": 0, "fs": 125, "sent": 1.0}


@cache
def node_lacks() -> str:
    """What keeps the client for Node from running, "" where nothing does."""
    if shutil.which("node") is None:
        return "node is not there"
    found = subprocess.run(
        ["node", "--input-type=module", "--eval", "import 'zeromq'"], cwd=CLIENTS, capture_output=True, check=False
    )
    return "node does not find zeromq (docs/clients/README.md says how it is installed)" if found.returncode else ""


@pytest.fixture(params=list(COMMANDS))
def client(request: pytest.FixtureRequest) -> str:
    """The name of a client that can run here."""
    if request.param == "node" and node_lacks():
        pytest.skip(node_lacks())
    return str(request.param)


def run_client(client: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Run a client; return its exit code and the line that it prints."""
    done = subprocess.run(
        [*COMMANDS[client], *options], cwd=CLIENTS, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


def read_values(path: Path) -> tuple[list[int], NDArray[np.float64]]:
    """Return the indices and the values (n, leads) that a client wrote."""
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    return table[:, 0].astype(int).tolist(), table[:, 1:]


def sent_values(record: str, seconds: int) -> NDArray[np.float64]:
    """Return the first samples of a record as a device sends them: (n, leads) in the unit of each lead."""
    chunk = next(iter(record_chunks(open_record(record), "run")))
    assert isinstance(chunk, Chunk)
    counts = chunk.counts[: round(seconds * chunk.fs)]
    gains, offsets = (np.array([getattr(lead, name) for lead in chunk.leads]) for name in ("gain", "offset"))
    return np.where(counts == MISSING, np.nan, (counts - offsets) / gains)


@pytest.mark.parametrize("name", ["monitor.py", "monitor.mjs"])
def test_a_client_is_short(name: str) -> None:
    """Each client is one file of fewer than a hundred lines, of 110 columns at most."""
    lines = (CLIENTS / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) < 100
    assert max(map(len, lines)) <= 110


def test_one_version_of_zeromq() -> None:
    """What .ci/run installs for the tests is what the README of the clients names."""
    named = [re.findall(r"zeromq@[\d.]+", path.read_text()) for path in (CLIENTS / "README.md", ROOT / ".ci" / "run")]
    assert len(named[0]) == 1
    assert named[0] == named[1]


@pytest.mark.slow
@pytest.mark.parametrize("keys", [False, True], ids=["open", "keys"])
def test_every_sample_of_the_simulator(client: str, keys: bool, tmp_path: Path) -> None:
    """A client that throws a tenth of the packets away has every sample, bit for bit, with and without keys."""
    device, own = [], ["--csv", str(tmp_path / "values.csv"), "--lose", "0.1"]
    if keys:
        public, secret = create_key_pair(tmp_path / "device", "bed")
        create_key_pair(tmp_path / "allowed", "monitor")
        own += ["--secret", str(tmp_path / "allowed" / "monitor.key_secret"), "--server-key", str(public)]
        device = ["--key", str(secret), "--clients", str(tmp_path / "allowed")]
    with simulator("record", "100", "--duration", str(SECONDS), "--speed", "max", *device) as (endpoint, process):
        code, report = run_client(client, "--bed", "100", "--endpoint", endpoint, *own)
        assert process.wait(LONG_S) == 0
    assert (code, report["gaps"], report["rejected"]) == (0, [], 0)
    indices, values = read_values(tmp_path / "values.csv")
    assert indices == list(range(report["samples"]))
    np.testing.assert_array_equal(values, sent_values("100", SECONDS))


def packet(first: int, counts: list[int], /, **changes: Any) -> list[bytes]:
    """Return the frames of a packet of one lead, with keys of its header replaced."""
    header = HEADER | {"sequence": first // 5, "first": first, "count": len(counts), **changes}
    return [b"bed", json.dumps(header).encode(), struct.pack(f"<{len(counts)}h", *counts)]


class ForeignDevice(threading.Thread):
    """A device that sent `before` seconds in packets of five samples, sends `after` more to a subscriber, and ends.

    It sends again what is requested as it sent it, the last packet first. It is strict with requests: `wrong` lists
    those that the page does not allow, and `replied` the number of packets in each reply. `malformed` packets come
    before its own on the stream, `malformed_again` before those of its first reply. `ends`: it says on the stream that
    the run has ended. `restarts`: after its last packet it is in another run.
    """

    FS, SIZE = 125, 5

    def __init__(
        self,
        before: int,
        after: int,
        malformed: Sequence[list[bytes]] = (),
        malformed_again: Sequence[list[bytes]] = (),
        kept: int = 0,
        ends: bool = True,
        restarts: bool = False,
    ) -> None:
        super().__init__(daemon=True)
        noise = np.random.default_rng(1).integers(-2048, 2048, (before + after) * self.FS)
        self.counts = [-32_768 if count < -2040 else int(count) for count in noise]
        self.wrong: list[Any] = []
        self.replied: list[int] = []
        self.complete = threading.Event()
        self._position, self._kept, self._malformed = before * self.FS, kept, malformed
        self._malformed_again, self._ends, self._restarts = malformed_again, ends, restarts
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._stream, self._channel = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        self._stream.set(zmq.SNDHWM, 100_000)
        for socket in (self._stream, self._channel):
            socket.set(zmq.LINGER, 0)
        self.endpoint = self._bind()

    def _bind(self) -> str:
        while True:
            port = self._stream.bind_to_random_port("tcp://127.0.0.1")
            try:
                self._channel.bind(f"tcp://127.0.0.1:{port + 1}")
            except zmq.ZMQError:
                self._stream.unbind(f"tcp://127.0.0.1:{port}")
            else:
                return f"tcp://127.0.0.1:{port}"

    def run(self) -> None:
        """Send when somebody has subscribed, and reply until the monitor is complete."""
        self._stream.poll(round(1000 * LONG_S))
        for frames in self._malformed:
            self._stream.send_multipart(frames)
        until_s = time.monotonic() + LONG_S
        while not self.complete.is_set() and time.monotonic() < until_s:
            if self._position < len(self.counts):
                self._stream.send_multipart(self._packet(self._position))
                self._position += self.SIZE
                if self._position == len(self.counts) and self._ends:
                    self._stream.send_multipart([b"bed", json.dumps(END | {"first": self._position}).encode(), b""])
            if self._channel.poll(1):
                identity, *frames = self._channel.recv_multipart()
                self._channel.send_multipart([identity, *self._reply(frames)])
        time.sleep(0.1)  # the last reply leaves
        self._stream.close()
        self._channel.close()

    def _packet(self, first: int) -> list[bytes]:
        return packet(first, self.counts[first : first + self.SIZE])

    def _reply(self, frames: list[bytes]) -> list[bytes]:
        request = json.loads(frames[0])
        common = {"v": 1, "id": request["id"]}
        if request["kind"] == "hello":
            sound = set(request) == {"kind", "v", "id", "sent", "complete"} and len(frames) == 1
            self.wrong += [] if sound else [request]
            if request["complete"]:
                self.complete.set()
            times = {"asked": request["sent"], "received": time.time(), "sent": time.time()}
            return [json.dumps({"kind": "hello", "beds": 1, **common, **times}).encode()]
        first, stop = request["first"], request["stop"]
        sound = set(request) == {"kind", "v", "id", "bed", "run", "first", "stop"} and len(frames) == 1
        sound = sound and (request["bed"], request["run"]) == ("bed", "r") and 0 <= first < stop <= first + 65_536
        self.wrong += [] if sound else [request]
        oldest = max(0, self._position - self._kept) if self._kept else 0
        again = range(max(first, oldest) // self.SIZE * self.SIZE, min(stop, self._position), self.SIZE)
        over = self._position == len(self.counts)
        run = "other" if self._restarts and over else "r"
        packets = [self._packet(at) for at in reversed(again)] if run == "r" else []
        packets = [*(() if self.replied else self._malformed_again), *packets]
        self.replied.append(len(again))
        state = {"start": 0, "oldest": oldest, "next": self._position, "ended": over and not self._restarts}
        head = {"kind": "fetched", "bed": "bed", "run": run, **common, **state}
        return [json.dumps(head).encode(), *(frame for frames in packets for frame in frames)]


@contextmanager
def foreign_device(*arguments: Any, **keywords: Any) -> Iterator[ForeignDevice]:
    """A foreign device that is over when the block is."""
    device = ForeignDevice(*arguments, **keywords)
    device.start()
    try:
        yield device
    finally:
        device.complete.set()
        device.join(LONG_S)


@pytest.mark.slow
def test_packets_as_they_were_sent(client: str, tmp_path: Path) -> None:
    """A client that comes late takes 1,500 packets in one reply, last packet first, and then has every sample."""
    with foreign_device(before=60, after=4) as device:
        values = tmp_path / "values.csv"
        options = ("--bed", "bed", "--endpoint", device.endpoint, "--lose", "0.1", "--csv", str(values))
        code, report = run_client(client, *options)
        assert device.complete.wait(LONG_S)
    assert (code, report["gaps"], report["rejected"]) == (0, [], 0)
    assert 7500 <= report["joined"] < 8000
    assert max(device.replied) >= 1500
    assert device.wrong == []
    indices, found = read_values(values)
    assert indices == list(range(8000))
    counts = np.array(device.counts)
    np.testing.assert_array_equal(found[:, 0], np.where(counts == -32_768, np.nan, (counts - 1024) / 200))


MALFORMED: list[list[bytes]] = [
    [b"bed", b"{}", b""],
    [b"bed", b"[]", b""],
    [b"bed", b"{", b""],
    [b"bed", b"\xff", b""],
    packet(0, [1], v=2),
    packet(0, [1], kind="hello"),
    packet(0, [1], run=""),
    packet(0, [1], first=-1),
    packet(0, [1], first=2**53),
    packet(0, [1], first=0.5),
    packet(0, [1], first="0"),
    packet(0, [1], count=2),
    packet(0, [1], count=0),
    packet(0, [1], fs=0.5),
    packet(0, [1], dtype="int8"),
    packet(0, [1], dtype="int32"),
    packet(0, [1], leads=[]),
    packet(0, [1], leads=[LEAD, LEAD]),
    packet(0, [1], leads=None),
    [b"bed", json.dumps(END).encode(), b"\0\0"],
]


def test_what_is_malformed_is_so_for_the_agent() -> None:
    """The agent, too, rejects each of the packets that the clients are tried with."""
    for frames in MALFORMED:
        with pytest.raises(FrameError):
            parse_frames(frames)


@pytest.mark.slow
def test_malformed_packets_are_rejected(client: str) -> None:
    """A client rejects each malformed packet of the stream by itself, takes the others, and says so."""
    malformed = [*MALFORMED, packet(0, [1])[:2], [*packet(0, [1]), b""]]
    with foreign_device(before=0, after=2, malformed=malformed) as device:
        code, report = run_client(client, "--bed", "bed", "--endpoint", device.endpoint)
    assert (code, report["rejected"], report["samples"], report["gaps"]) == (1, len(malformed), 250, [])


@pytest.mark.slow
def test_a_malformed_packet_costs_no_other_of_its_reply(client: str) -> None:
    """Of a reply with malformed packets, and one of another run, all others are taken."""
    malformed = [*MALFORMED, packet(0, [1], run="other")]
    with foreign_device(before=2, after=2, malformed_again=malformed) as device:
        code, report = run_client(client, "--bed", "bed", "--endpoint", device.endpoint)
    assert (code, report["rejected"], report["samples"], report["gaps"]) == (1, len(malformed), 500, [])


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [False, True], ids=["ended", "restarted"])
def test_a_silent_bed_is_polled(client: str, restarts: bool) -> None:
    """A client whose stream falls silent asks the device, and learns that the run has ended, or another has begun."""
    with foreign_device(before=0, after=2, ends=False, restarts=restarts) as device:
        code, report = run_client(client, "--bed", "bed", "--endpoint", device.endpoint)
        assert device.complete.wait(LONG_S)
    assert (code, report["rejected"], report["samples"], report["gaps"]) == (0, 0, 250, [])
    assert device.wrong == []


@pytest.mark.slow
def test_without_a_channel_what_is_lost_is_a_gap(client: str) -> None:
    """Where nobody answers, a client declares missing what it has asked for three times, and ends."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.XPUB) as stream, ThreadPoolExecutor() as threads:
        stream.set(zmq.LINGER, 0)
        port = stream.bind_to_random_port("tcp://127.0.0.1")
        running = threads.submit(run_client, client, "--bed", "bed", "--endpoint", f"tcp://127.0.0.1:{port}")
        assert stream.poll(round(1000 * LONG_S))
        for first in (0, 5, 20, 30):
            stream.send_multipart(packet(first, [1] * 5))
        stream.send_multipart([b"bed", json.dumps(END | {"first": 35}).encode(), b""])
        code, report = running.result(LONG_S)
    assert (code, report["samples"], report["gaps"]) == (1, 20, [[10, 20], [25, 30]])


def test_a_key_that_is_not_there(client: str, tmp_path: Path) -> None:
    """A missing key file is told in one line, with exit code 1."""
    command = [*COMMANDS[client], "--secret", str(tmp_path / "no.key_secret"), "--server-key", str(tmp_path / "no.key")]
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no.key_secret" in done.stderr


@pytest.mark.slow
def test_what_is_no_longer_kept_is_declared_missing(client: str) -> None:
    """What the device has forgotten before a client comes is a gap before its samples, and no failure."""
    with foreign_device(before=20, after=2, kept=1250) as device:
        code, report = run_client(client, "--bed", "bed", "--endpoint", device.endpoint)
    (gap,) = report["gaps"]
    assert gap[0] == 0
    assert 1250 <= gap[1] <= 1500
    assert (code, report["samples"]) == (0, 2750 - gap[1])
