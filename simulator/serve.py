"""The device's second socket: answers monitors that ask for missed samples, or for the time, in a thread of its own."""

import time
from collections.abc import Callable
from threading import Event, Thread

import zmq

from agent.service import Fetch, Hello, Welcome, decode_request
from agent.service import encode as encode_reply
from agent.wire import encode
from model.errors import FrameError
from simulator.memory import Memory

TICK_S = 0.01
A_TICK = 50
"""Requests answered in a tick: ZeroMQ takes them from all monitors in turn, and a flood waits in its own queue."""
GONE_S = 3.0
"""A monitor that has not said hello for so long is gone."""
MOST_PEERS = 4096


class Service:
    """Answers requests until it is closed."""

    def __init__(self, socket: "zmq.Socket[bytes]", memory: Memory, unix: Callable[[], float] = time.time) -> None:
        """Takes over `socket`, a bound ROUTER."""
        self.rejected = 0
        self._socket, self._memory, self._unix = socket, memory, unix
        self._peers: dict[bytes, tuple[float, bool]] = {}
        self._closed = Event()
        self._thread = Thread(target=self._serve, name="service", daemon=True)
        self._thread.start()

    @property
    def monitors(self) -> int:
        """Monitors that said hello lately."""
        return sum(self._alive(heard_s) for heard_s, _ in list(self._peers.values()))

    @property
    def awaited(self) -> bool:
        """Whether a monitor that is there still misses something."""
        return any(self._alive(heard_s) and not complete for heard_s, complete in list(self._peers.values()))

    def close(self) -> None:
        """End the thread, and close the socket."""
        self._closed.set()
        self._thread.join()

    @staticmethod
    def _alive(heard_s: float) -> bool:
        return time.monotonic() - heard_s < GONE_S

    def _serve(self) -> None:
        try:
            while not self._closed.is_set():
                if self._socket.poll(100):
                    for _ in range(A_TICK):
                        try:
                            self._answer(self._socket.recv_multipart(zmq.NOBLOCK))
                        except zmq.Again:
                            break
                    else:
                        self._closed.wait(TICK_S)
        finally:
            self._socket.close()

    def _answer(self, message: list[bytes]) -> None:
        received = self._unix()
        peer, *frames = message
        try:
            request = decode_request(frames)
        except FrameError:
            self.rejected += 1
            return
        if isinstance(request, Hello):
            self._note(peer, request.complete)
            reply = [encode_reply(self._welcome(request, received))]
        else:
            reply = self._fetched(request)
        self._socket.send_multipart([peer, *reply], zmq.NOBLOCK)  # ROUTER drops what a peer has no room for

    def _welcome(self, request: Hello, received: float) -> Welcome:
        return Welcome(id=request.id, asked=request.sent, received=received, sent=self._unix(), beds=len(self._memory))

    def _fetched(self, request: Fetch) -> list[bytes]:
        said, chunks = self._memory.fetch(request)
        return [encode_reply(said), *(frame for chunk in chunks for frame in encode(chunk))]

    def _note(self, peer: bytes, complete: bool) -> None:
        if peer not in self._peers and len(self._peers) >= MOST_PEERS:
            self._peers = {peer: told for peer, told in self._peers.items() if self._alive(told[0])}
            if len(self._peers) >= MOST_PEERS:
                return
        self._peers[peer] = (time.monotonic(), complete)
