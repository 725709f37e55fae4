"""Binary frames of serial boards as rows: those of ProtoCentral, and of Chords of Upside Down Labs."""

import struct
from abc import abstractmethod
from typing import NamedTuple

from agent.bridge.row_parser import SampleRow
from model.errors import SourceError

MOST_CHORDS_CHANNELS = 16
COUNTER_VALUES = 256
KNOWN_FRAMES = 5
"""Frames in a row by which the number of channels is recognised."""


class FrameParser:
    """Finds frames that begin with `START` in a stream of bytes; what lies between them is passed over.

    `names` of the columns; `taken` frames, and `skipped` places where frames were broken.
    """

    START = b""
    GREETING = b""
    """What the device has to be sent for it to begin."""

    def __init__(self) -> None:
        self._rest = b""
        self.names: tuple[str, ...] = ()
        self.taken = self.skipped = self.received = 0
        self.decimals = False

    def restart(self) -> None:
        """Forget the beginning of a frame: what follows is another connection."""
        self._rest = b""

    def feed(self, data: bytes) -> list[SampleRow]:
        """Return the rows of the frames that the data completes."""
        self.received += len(data)
        data = self._rest + data
        rows: list[SampleRow] = []
        at = start = 0
        while (start := data.find(self.START, at)) >= 0:
            length = self._frame_length(data, start)
            if length is None:
                break
            frame = data[start : start + length]
            if not length or not self._is_whole(frame):
                self.skipped += bool(self.taken)
                at = start + 1
                continue
            at = start + length
            self.taken += 1
            rows += self._parse_frame(frame)
        else:
            start = max(at, len(data) - len(self.START) + 1)
        self._rest = data[start:]
        return rows

    def flush(self) -> list[SampleRow]:
        """Return nothing: half a frame is none."""
        return []

    @abstractmethod
    def _frame_length(self, data: bytes, start: int) -> int | None:
        """Return the length of the frame that begins at `start`, 0 if none does, None for more bytes to be needed."""

    @abstractmethod
    def _is_whole(self, frame: bytes) -> bool:
        """Return whether the frame ends as it must."""

    @abstractmethod
    def _parse_frame(self, frame: bytes) -> list[SampleRow]:
        """Return the rows of a frame."""


class _FrameVariant(NamedTuple):
    """What the payload of a frame begins with: `layout` of a row of `names`, `rows` times."""

    layout: str
    names: tuple[str, ...]
    rows: int = 1


PROTOCENTRAL_VARIANTS = {
    (2, 7): _FrameVariant("<hi", ("ECG", "raw")),
    (2, 8): _FrameVariant("<hh", ("ECG", "RESP")),
    (2, 20): _FrameVariant("<hh", ("ECG", "RESP")),
    (2, 22): _FrameVariant("<ii", ("ECG", "RESP")),
    (3, 50): _FrameVariant("<i", ("ECG",), 8),
}
"""By type and length of the payload: sketches of the ADS1292R until 2017 and since 2026; those between and HealthyPi 3;
HealthyPi 5 with OpenView, one sample a frame and eight."""
PROTOCENTRAL_PASSED_OVER = {4}
"""Frames without ECG: PPG of the HealthyPi 5."""


class ProtocentralParser(FrameParser):
    """Frames 0A FA, length of the payload in two bytes, its type, payload, 00 0B: all numbers little-endian.

    They carry no counter: how many are lost between two is not said.
    """

    START = b"\x0a\xfa"
    _HEAD, _TAIL = 5, b"\x00\x0b"
    _LARGEST_PAYLOAD = 128

    def _frame_length(self, data: bytes, start: int) -> int | None:
        if len(data) < start + self._HEAD:
            return None
        payload = int.from_bytes(data[start + 2 : start + 4], "little")
        length = self._HEAD + payload + len(self._TAIL)
        if payload > self._LARGEST_PAYLOAD:
            return 0
        return length if len(data) >= start + length else None

    def _is_whole(self, frame: bytes) -> bool:
        return frame.endswith(self._TAIL)

    def _parse_frame(self, frame: bytes) -> list[SampleRow]:
        kind, payload = frame[4], frame[self._HEAD : -len(self._TAIL)]
        variant = PROTOCENTRAL_VARIANTS.get((kind, len(payload)))
        if variant is None:
            if kind in PROTOCENTRAL_PASSED_OVER:
                return []
            raise SourceError(
                f"frames of ProtoCentral of type {kind} with {len(payload)} bytes are unknown: known are "
                f"{', '.join(f'type {kind} with {size}' for kind, size in PROTOCENTRAL_VARIANTS)}"
            )
        self.names = variant.names
        size = struct.calcsize(variant.layout)
        return [struct.unpack_from(variant.layout, payload, row * size) for row in range(variant.rows)]


class ChordsParser(FrameParser):
    """Frames C7 7C, a counter of one byte, two bytes a channel (the high one first), 01; the device is told to start.

    The number of channels differs from board to board: it is that with which frames follow each other.
    """

    START = b"\xc7\x7c"
    GREETING = b"START\n"
    _HEAD, _END = 3, 1

    def __init__(self) -> None:
        super().__init__()
        self._length = 0
        self._counter: int | None = None

    def restart(self) -> None:
        """Forget the counter too: how much it went on meanwhile is not known."""
        super().restart()
        self._counter = None

    def _frame_length(self, data: bytes, start: int) -> int | None:
        if not self._length:
            self._length = self._find_length(data, start)
        if not self._length:
            return None if len(data) - start < (KNOWN_FRAMES + 1) * self._size_of(MOST_CHORDS_CHANNELS) else 0
        return self._length if len(data) >= start + self._length else None

    def _size_of(self, channels: int) -> int:
        return self._HEAD + 2 * channels + 1

    def _find_length(self, data: bytes, start: int) -> int:
        """Return the length at which several frames follow each other from `start` on, 0 for none."""
        for length in map(self._size_of, range(1, MOST_CHORDS_CHANNELS + 1)):
            ends = [start + length * (number + 1) for number in range(KNOWN_FRAMES)]
            if len(data) >= ends[-1] + 2 and all(
                data[end - 1] == self._END and data[end : end + 2] == self.START for end in ends
            ):
                return length
        return 0

    def _is_whole(self, frame: bytes) -> bool:
        return frame[-1] == self._END

    def _parse_frame(self, frame: bytes) -> list[SampleRow]:
        counter = frame[2]
        lost = 0 if self._counter is None else (counter - self._counter - 1) % COUNTER_VALUES
        self._counter = counter
        row = struct.unpack(f">{(len(frame) - self._HEAD - 1) // 2}H", frame[self._HEAD : -1])
        return [lost, row] if lost else [row]


FRAME_PARSERS: dict[str, type[FrameParser]] = {"protocentral": ProtocentralParser, "chords": ChordsParser}
