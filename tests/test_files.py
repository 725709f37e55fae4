import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from model.errors import RunError
from model.files import (
    is_locked,
    lock_folder,
    open_output_file,
    open_plain_file,
    release_folder,
    special_file_kind,
    write_atomically,
)

HOLD = "import sys; from pathlib import Path; from model.files import lock_folder; lock_folder(Path(sys.argv[1])); " + (
    "print('held', flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, shared: bool) -> None:
    """Until the block ends the earlier file is there; then the new one is, and no partial file."""
    path = tmp_path / "made.csv"
    path.write_text("before")
    with write_atomically(path, sync=True, shared=shared) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
        assert partial.name == (f"made.csv.{os.getpid()}.partial" if shared else "made.csv.partial")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, error: type[BaseException]) -> None:
    """Whatever ends the block, the earlier file stays and the partial one goes."""
    path = tmp_path / "made.csv"
    path.write_text("before")

    def write() -> None:
        with write_atomically(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_no_link_is_followed(tmp_path: Path) -> None:
    """A link in the place of the file, or of its partial file, is replaced; what it points to is not written."""
    other, path = tmp_path / "other", tmp_path / "made.csv"
    other.write_text("other")
    for link in (path, tmp_path / "made.csv.partial"):
        link.symlink_to(other)
    with open_output_file(path) as file:
        file.write(b"made")
    assert (other.read_text(), path.read_text(), path.is_symlink()) == ("other", "made", False)


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the file and the reason."""
    path = tmp_path / "none" / "made"
    with pytest.raises(RunError, match=r"cannot write .*none/made: No such file"), open_output_file(path):
        pass


def test_one_process_holds_a_lock(tmp_path: Path) -> None:
    """A second one is refused, also in this process, until the first lets go; the probe takes no lock."""
    path = tmp_path / "lock"
    assert not is_locked(path)
    lock = lock_folder(path)
    assert is_locked(path)
    with pytest.raises(BlockingIOError):
        lock_folder(path)
    release_folder(lock)
    assert not is_locked(path)
    release_folder(lock_folder(path))


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A lock that nobody refers to is held as long as the process lives, and not longer, also if it is killed."""
    path = tmp_path / "lock"
    command, root = [sys.executable, "-c", HOLD, str(path)], Path(__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_locked(path)
        with pytest.raises(BlockingIOError):
            lock_folder(path)
        process.kill()
        process.wait()
    assert not is_locked(path)
    release_folder(lock_folder(path))


def special_files(folder: Path) -> dict[str, Path]:
    """What may stand in the place of a file, by its kind."""
    made = {kind: folder / kind.replace(" ", "-") for kind in ("a link", "a pipe", "a socket", "a folder")}
    made["a link"].symlink_to(folder / "other")
    os.mkfifo(made["a pipe"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(made["a socket"]))
    made["a folder"].mkdir()
    return made


def test_what_is_no_file_is_neither_opened_nor_waited_for(tmp_path: Path) -> None:
    """A link, a pipe, a socket and a folder are told apart, and refused as a lock, locked by nobody."""
    for kind, path in special_files(tmp_path).items():
        assert special_file_kind(path) == kind
        assert not is_locked(path)
        with pytest.raises(OSError, match=f"is {kind}, not a file"):
            lock_folder(path)
        with pytest.raises(OSError, match=f"is {kind}, not a file"):
            open_plain_file(path, os.O_WRONLY | os.O_CREAT)
    assert special_file_kind(Path(os.devnull)) == "a device"
    assert special_file_kind(tmp_path / "none") == ""
    assert not (tmp_path / "other").exists()


def test_a_lock_is_no_link(tmp_path: Path) -> None:
    """A link in the place of the lock file is refused: what it points to is neither made nor locked."""
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="lock"):
        lock_folder(tmp_path / "lock")
    assert not (tmp_path / "other").exists()
