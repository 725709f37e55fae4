"""The report of a file: it is recorded as a monitor would have recorded it, reported, and the recording deleted."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from importlib.metadata import version
from pathlib import Path

import numpy as np

from agent.core.class_trust import TRUST_KEY, ClassTrust, encode_class_trust
from agent.core.config import Config, override_config
from agent.core.messages import Chunk, End, Result, quantise_to_counts
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession
from agent.report.bed_report import write_bed_report
from agent.report.recording_words import CLOCK_KEY, FILE_CLOCK, FILE_RATE_KEY, NO_CLOCK
from agent.wire.record_chunks import record_leads, sent_signals
from model.errors import RunError
from model.records.wfdb_records import Record, read_record_samples

RECORDING_NAME = "recording"
LARGEST_KEPT_FS = 1000.0
"""A file of a greater rate is reported as it was analysed."""
REPORT_NAME = "report.html"


class FileReport:
    """Records one file beside its results, then writes its report. Raises RunError if that cannot be written."""

    def __init__(self, folder: Path, record: Record, config: Config, trust: ClassTrust) -> None:
        self._record = record
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
        kept = self._at_own_rate(message) if self._record.fs <= LARGEST_KEPT_FS else message
        self._recorder.push([replace(kept, sent_s=at_s)], results, at_s)
        self._recorder.step()

    def _at_own_rate(self, message: Chunk | End) -> Chunk | End:
        """Return a chunk with the samples of the file at its own rate, of which strips and beats show more."""
        fs = self._record.fs
        if isinstance(message, End):
            return replace(message, first=self._record.length, fs=fs)
        first, stop = (round(at * fs / message.fs) for at in (message.first, message.first + len(message.counts)))
        samples = read_record_samples(self._record, first, stop)
        names = [lead.name for lead in record_leads(self._record)]
        columns = [sent_signals(self._record)[names.index(lead.name)] for lead in message.leads]
        gains = np.array([lead.gain for lead in message.leads])
        return replace(message, first=first, fs=fs, counts=quantise_to_counts(samples[:, columns], gains))

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
