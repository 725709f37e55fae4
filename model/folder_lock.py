"""The lock that tells other processes that a folder is in use."""

import errno
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

_held: set["BaseFileLock"] = set()
"""Locks of this process: one without a reference would be released."""


def lock_folder(path: Path) -> "BaseFileLock":
    """Return the lock of a folder, held in the lock file `path` until the end of this process.

    However the process ends, the lock ends with it. The lock file stays.

    Raises
    ------
    BlockingIOError
        If another process holds it, or this one does already.
    OSError
        If the lock file cannot be written.
    """
    from filelock import FileLock, Timeout  # takes long to import

    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise BlockingIOError(errno.EAGAIN, "another process uses this folder", str(path)) from None
    _held.add(lock)
    return lock
