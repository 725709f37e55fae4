"""Ctrl-C, SIGTERM and SIGHUP as a flag that the loops read, so that everything ends in order."""

import signal
from types import FrameType, TracebackType
from typing import Self


class StopFlag:
    """Within its context these signals only set a flag; call it to read the flag."""

    def __init__(self) -> None:
        self._stopped = False
        self._handlers: dict[int, object] = {}

    def __call__(self) -> bool:
        return self._stopped

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # whatever it was before

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopped = True
