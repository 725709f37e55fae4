"""A bad network between a device and its monitors: packets lost, repeated, late, out of order, or a cut cable."""

import heapq
import itertools
import random
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import zmq

from agent.wire.requests import backfill_endpoint


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of the packets that are lost, sent twice, or kept for up to `jitter_s` (and so overtaken by others)."""

    loss: float = 0.0
    twice: float = 0.0
    jittered: float = 0.0
    jitter_s: float = 0.0
    seed: int = 0


class Proxy:
    """Listens at `endpoint` and the port after it, and relays the device at `device`, in a thread of its own.

    Only packets suffer faults; `cut` stops everything in both directions until it is False again.
    """

    def __init__(self, device: str, endpoint: str, faults: Faults) -> None:
        self.faults, self.cut = faults, False
        self.passed = self.lost = self.repeated = self.delayed = 0
        self._device = backfill_endpoint(device, "")
        self._random = random.Random(faults.seed)
        self._late: list[tuple[float, int, list[bytes]]] = []
        self._order = itertools.count()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._packets = self._context.socket(zmq.XSUB)
        self._packets.set(zmq.RCVHWM, 0)
        self._packets.connect(device)
        self._out = self._context.socket(zmq.XPUB)
        self._out.set(zmq.SNDHWM, 0)
        self._out.bind(endpoint)
        self._router = self._context.socket(zmq.ROUTER)
        self._router.bind(backfill_endpoint(endpoint, ""))
        self._dealers: dict[bytes, zmq.Socket[bytes]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _work(self) -> None:
        poller = zmq.Poller()
        for socket in (self._packets, self._router, self._out):
            poller.register(socket, zmq.POLLIN)
        while not self._ended.is_set():
            poller.poll(5)
            for frames in _all(self._out):
                self._packets.send_multipart(frames)  # subscriptions
            for frames in _all(self._packets):
                if not self.cut:
                    self._relay_packet(frames)
            for peer, *frames in _all(self._router):
                if not self.cut:
                    self._dealer(peer, poller).send_multipart(frames)
            for peer, dealer in self._dealers.items():
                for frames in _all(dealer):
                    if not self.cut:
                        self._router.send_multipart([peer, *frames])
            while self._late and self._late[0][0] <= time.monotonic():
                frames = heapq.heappop(self._late)[2]
                if not self.cut:
                    self._out.send_multipart(frames)

    def _relay_packet(self, frames: list[bytes]) -> None:
        self.passed += 1
        if self._random.random() < self.faults.loss:
            self.lost += 1
            return
        copies = 2 if self._random.random() < self.faults.twice else 1
        self.repeated += copies - 1
        for _ in range(copies):
            late_s = (
                self._random.uniform(0, self.faults.jitter_s) if self._random.random() < self.faults.jittered else 0
            )
            self.delayed += late_s > 0
            if late_s:
                heapq.heappush(self._late, (time.monotonic() + late_s, next(self._order), frames))
            else:
                self._out.send_multipart(frames)

    def _dealer(self, peer: bytes, poller: zmq.Poller) -> "zmq.Socket[bytes]":
        if peer not in self._dealers:
            self._dealers[peer] = self._context.socket(zmq.DEALER)
            self._dealers[peer].connect(self._device)
            poller.register(self._dealers[peer], zmq.POLLIN)
        return self._dealers[peer]


def _all(socket: "zmq.Socket[bytes]") -> list[list[bytes]]:
    """Return all messages that have arrived."""
    messages: list[list[bytes]] = []
    while len(messages) < 10_000:
        try:
            messages.append(socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            break
    return messages
