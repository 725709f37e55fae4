"""A PostgreSQL server of the tests: Debian's, with a cluster of its own in a temporary folder."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from support.broker import free_port

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
_FOUND = shutil.which("initdb")
BINARIES = Path(_FOUND).parent if _FOUND else _BINARIES[-1].parent if _BINARIES else None
NO_POSTGRES = "PostgreSQL is not installed (Debian: apt install postgresql)"


class PostgresServer:
    """A cluster on loopback, run by the user postgres where the tests are root: it refuses to be."""

    def __init__(self, folder: Path) -> None:
        assert BINARIES is not None
        self._folder, self.port = folder / "cluster", free_port()
        self._user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._user:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(self._folder), "-U", "ecg", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def url(self) -> str:
        """The address of its database."""
        return f"postgresql://ecg@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = str(self._folder.parent / "log")
        self._run("pg_ctl", "-D", str(self._folder), "-w", "-t", "30", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Stop at once, in order."""
        self._run("pg_ctl", "-D", str(self._folder), "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """Kill all of its processes, as a loss of power would."""
        postmaster = int((self._folder / "postmaster.pid").read_text().split("\n", 1)[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in [postmaster, *map(int, children)]:
            os.kill(process, signal.SIGKILL)
        for _ in range(500):
            if not any(Path(f"/proc/{process}").exists() for process in [postmaster, *map(int, children)]):
                return
            time.sleep(0.01)
        raise AssertionError("PostgreSQL does not die")

    def _run(self, name: str, *arguments: str) -> None:
        assert BINARIES is not None
        command = [*self._user, str(BINARIES / name), *arguments]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, cwd="/", timeout=60
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server that runs, in a folder that its user can reach."""
    with TemporaryDirectory(prefix="ecg-postgres-") as name:
        Path(name).chmod(0o755)
        server = PostgresServer(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()
