"""Network interfaces come and go in some tests, and Chromium then drops all that it loads: never both at once."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(tempfile.gettempdir(), "ecg-agent-tests-network.lock")


@contextmanager
def network_lock(shared: bool) -> Iterator[None]:
    """Hold the network as it is (`shared`), or be the only one to change it."""
    with LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
