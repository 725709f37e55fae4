"""Files that are written in one step, and locks that tell whether another process uses a folder."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import RunError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has none
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
_held: set["BaseFileLock"] = set()
"""Locks of this process: one that is referred to from nowhere would be released."""


@contextlib.contextmanager
def write_atomically(path: Path, *, sync: bool = False, shared: bool = False) -> Iterator[Path]:
    """Yield the path of a `.partial` file beside `path`, which replaces `path` if the block ends without an error.

    Whoever reads `path` sees the earlier file or all of the new one. If the block fails, the earlier file stays and the
    partial one is deleted.

    Parameters
    ----------
    path
        The file to write. It may be a link: the link is replaced, not what it points to.
    sync
        Force the content onto the disk before it replaces the earlier file.
    shared
        Several processes may write this file at once: each has a partial file of its own.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial" if shared else f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # it may be a link to somewhere else
    try:
        yield partial
        if sync:
            sync_file(partial)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def open_output_file(path: Path) -> Iterator[BufferedWriter]:
    """Yield a file that replaces `path` once all of it is on the disk. Raises RunError if it cannot be written."""
    try:
        with write_atomically(path, sync=True) as partial, partial.open("xb") as file:
            yield file
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def sync_file(path: Path | str) -> None:
    """Force what a file or folder holds onto the disk. Raises OSError, but not for a file that is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would block
    except FileNotFoundError:
        return
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def special_file_kind(path: Path) -> str:
    """Return what a path is, such as "a link" or "a pipe"; "" for a file, and for nothing at all.

    Opening anything else may write elsewhere, or wait for somebody.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")


def open_plain_file(path: Path | str, flags: int) -> int:
    """Return the descriptor of a file, made if `flags` have O_CREAT. Raises OSError, also for a link or a pipe."""
    kind = special_file_kind(Path(path))
    if kind:
        raise OSError(errno.EINVAL, f"is {kind}, not a file", str(path))
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def lock_folder(path: Path) -> "BaseFileLock":
    """Return the lock of a folder, held in the lock file `path` until `release_folder` or the end of this process.

    However the process ends, the lock ends with it. The lock file stays.

    Raises
    ------
    BlockingIOError
        If another process holds it, or this one does already.
    OSError
        If the lock file cannot be written, or is a link, a pipe or anything else but a file.
    """
    from filelock import FileLock, Timeout  # takes long to import

    if kind := special_file_kind(path):
        raise OSError(errno.EINVAL, f"its {path.name} is {kind}, not a file", str(path))
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise BlockingIOError(errno.EAGAIN, "another process uses this folder", str(path)) from None
    _held.add(lock)
    return lock


def release_folder(lock: "BaseFileLock") -> None:
    """Let others lock the folder."""
    _held.discard(lock)
    lock.release()


def is_locked(path: Path) -> bool:
    """Return whether some process holds the lock file `path`; this needs no permission to write."""
    import fcntl  # filelock has only locks that exclude other readers

    try:
        descriptor = open_plain_file(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
