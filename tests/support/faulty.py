"""Subjects with every fault that `benchmarks.fuzz.worker` must notice, for tests/test_fuzz.py."""

import os
import time
import warnings
from pathlib import Path
from random import Random

import numpy as np

from model.errors import RecordError

LARGE = 10**12


class Faulty:
    """Has every fault that the worker must notice; an input names one."""

    FAULTS = ("fine", "refuse", "raise", "print", "memory", "open", "connect", "crash", "hang", "warn")

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, random: Random) -> list[bytes]:
        return [random.choice(self.FAULTS).encode()]

    def run(self, parts: list[bytes]) -> None:
        match parts[0]:
            case b"refuse":
                raise RecordError("no")
            case b"raise":
                raise KeyError("no")
            case b"print":
                raise RecordError("")
            case b"memory":
                try:
                    np.ones(LARGE)
                except MemoryError as error:
                    raise RecordError("cannot read it") from error
            case b"open":
                (self._folder / ".." / "beside").write_text("")
            case b"connect":
                import socket

                with socket.socket() as client:
                    client.connect_ex(("127.0.0.1", 9))
            case b"crash":
                os.abort()
            case b"hang":
                time.sleep(1000)
            case b"warn":
                warnings.warn("odd", RuntimeWarning, stacklevel=1)


class Hoarder:
    """Keeps a little of every input."""

    def __init__(self, folder: Path) -> None:  # noqa: ARG002  # as every subject
        self._kept: list[bytes] = []

    def make(self, random: Random) -> list[bytes]:
        return [bytes([random.randrange(256)]) * 5000]

    def run(self, parts: list[bytes]) -> None:
        self._kept += [part + b"." for part in parts]


class Broken:
    """Cannot be created."""

    def __init__(self, folder: Path) -> None:
        raise OSError(f"no {folder}")
