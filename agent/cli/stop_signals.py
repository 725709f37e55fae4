"""Ctrl-C, SIGTERM and SIGHUP as a wish that the loops look at, so that everything ends in order."""

import signal
from types import FrameType, TracebackType
from typing import Self


class StopFlag:
    """Within its context the ending signals only set a flag; call it to see whether the end was asked for."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        return self._asked

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # whatever it was before

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
