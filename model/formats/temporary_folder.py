"""Copies of files that live as long as what reads them."""

import shutil
import tempfile
import weakref
from pathlib import Path


class TemporaryFolder:
    """A folder that is gone with this object, or at the end of the program."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="ecg-agent-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
