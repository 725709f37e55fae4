"""Signals that end a command, so that everything ends in order."""

import signal
from types import FrameType, TracebackType
from typing import Self


class StopFlag:
    """Within its context Ctrl-C, SIGTERM and SIGHUP only set a flag, which loops read by calling it."""

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


def interrupt_on_sigterm() -> None:
    """Let SIGTERM do what Ctrl-C does, for what a command has begun to end with it."""
    interrupt = signal.getsignal(signal.SIGINT)  # a shell that starts us in the background has it ignored
    signal.signal(signal.SIGTERM, interrupt if callable(interrupt) else signal.default_int_handler)
