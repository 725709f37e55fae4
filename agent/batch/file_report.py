"""The report of a file: it is recorded as a monitor would have recorded it, reported, and the recording deleted."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from importlib.metadata import version
from pathlib import Path

from agent.core.class_trust import TRUST_KEY, ClassTrust, encode_class_trust
from agent.core.config import Config, override_config
from agent.core.messages import Chunk, End, Result
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from agent.report.bed_report import write_bed_report
from agent.report.recording_words import CLOCK_KEY, FILE_CLOCK, FILE_RATE_KEY, NO_CLOCK
from model.errors import RunError
from model.records.wfdb_records import Record

RECORDING_NAME = "recording"
REPORT_NAME = "report.html"


class FileReport:
    """Records one file beside its results, then writes its report. Raises RunError if that cannot be written."""

    def __init__(self, folder: Path, record: Record, config: Config, trust: ClassTrust) -> None:
        self._folder, self._bed, start = folder, record.name, record.start
        self._config = override_config(config, "record", limit_mb=0.0)
        # Times of a file without a date count from the start of 1970, which the report shows as days from 1 on.
        began_s = 0.0 if start is None else (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
        self._start_s = max(0.0, began_s)
        about = {"version": version("ecg-agent"), "weights": config.monitor.weights}
        about |= {TRUST_KEY: encode_class_trust(trust), CLOCK_KEY: FILE_CLOCK if self._start_s else NO_CLOCK}
        about[FILE_RATE_KEY] = f"{record.fs:g}"
        self._recorder = Recorder(folder / RECORDING_NAME, self._config.record, about, threaded=False)

    def push(self, message: Chunk | End, results: Sequence[Result]) -> None:
        """Record samples, or the end, and what was found by them."""
        taken = len(message.counts) if isinstance(message, Chunk) else 0
        at_s = self._start_s + (message.first + taken) / message.fs
        self._recorder.push([replace(message, sent_s=at_s)], results, at_s)
        self._recorder.step()

    def write(self) -> list[Path]:
        """Write the report and return its files; the recording is deleted.

        Raises RunError if the disk did not take all of it, RecordError if it cannot be read back.
        """
        self._recorder.close()
        if missing := self._recorder.unrecorded():
            raise RunError(f"no report of {self._bed}: {missing}")
        with RecordedSession(self._folder / RECORDING_NAME) as session:
            files = write_bed_report(session, self._bed, self._folder / REPORT_NAME, True, self._config).files
        shutil.rmtree(self._folder / RECORDING_NAME)
        return files

    def abandon(self) -> None:
        """Close the recording; what it holds is not needed any more."""
        self._recorder.close()
