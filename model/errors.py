"""Every error a user can meet, each with the exit code the command line ends with.

    EcgError             1   any other failure of this program
    ├── ConfigError      3   config file, environment or option value
    ├── RecordError      4   a record, annotation file or embedded database that cannot be read
    ├── StreamError      5   no stream, one that cannot be monitored, or a device that is gone
    │   └── FrameError       one malformed frame on the wire (counted and reported, never fatal)
    ├── EndpointError    6   an endpoint that cannot be bound or connected
    ├── CheckpointError  7   weights that are missing, broken or do not fit
    ├── DeviceError      8   an accelerator that is not available
    ├── TerminalError    9   a terminal the dashboard cannot use
    ├── RunError        10   a run folder that cannot be written or resumed
    ├── SimulatorError  11   the device of `demo` or `monitor --from` ended by itself
    └── SourceError     12   a sensor, stream or broker that cannot be opened or is gone for good

Exit code 2 is a usage error (an unknown command or option, or one that is missing), 0 also the end by `q`, Ctrl-C or
SIGTERM.
"""

from model.text import make_printable

LONGEST_MESSAGE = 1000
"""Characters of a message."""


class EcgError(Exception):
    """Base of all errors with a message for the user: one line that says what to do.

    A message may quote text from anywhere, so it is shortened, and unprintable characters become question marks.
    """

    exit_code = 1

    def __init__(self, text: str) -> None:
        shown = (
            text
            if len(text) <= LONGEST_MESSAGE
            else f"{text[: LONGEST_MESSAGE // 2]} … {text[-LONGEST_MESSAGE // 2 :]}"
        )
        super().__init__(make_printable(shown))


class ConfigError(EcgError):
    """A config file, environment variable or option with a wrong value."""

    exit_code = 3


class RecordError(EcgError):
    """A record, annotation file or database that cannot be read."""

    exit_code = 4


class StreamError(EcgError):
    """A stream that is missing, cannot be monitored, or whose device is gone."""

    exit_code = 5


class FrameError(StreamError):
    """One malformed frame on the wire: counted and reported, never fatal."""


class EndpointError(EcgError):
    """An endpoint that cannot be bound or connected."""

    exit_code = 6


class CheckpointError(EcgError):
    """Weights that are missing, broken or do not fit."""

    exit_code = 7


class DeviceError(EcgError):
    """An accelerator that is not available."""

    exit_code = 8


class TerminalError(EcgError):
    """A terminal that the dashboard cannot use."""

    exit_code = 9


class RunError(EcgError):
    """A run folder that cannot be written or resumed."""

    exit_code = 10


class SimulatorError(EcgError):
    """The device of `demo` or `monitor --from` ended by itself, without a reason of this program."""

    exit_code = 11


class SourceError(EcgError):
    """A sensor, stream or broker that cannot be opened, does not send what it should, or is gone for good."""

    exit_code = 12


def clean_error_text(error: object) -> str:
    """Return what a file, or the parser of one, reports as part of a message: short, on one line, and printable."""
    return make_printable(" ".join(str(error)[:400].split()))
