"""Every error a user can meet, each with the exit code the command line ends with.

    EcgError             1   any other failure of ours
    ├── ConfigError      3   config file, environment or option value
    ├── RecordError      4   a record, annotation file or embedded database that cannot be read
    ├── StreamError      5   no stream, or a stream that cannot be monitored
    │   └── FrameError       one malformed frame on the wire (counted and reported, never fatal)
    ├── EndpointError    6   an endpoint that cannot be bound or connected
    ├── CheckpointError  7   weights that are missing, broken or do not fit
    ├── DeviceError      8   an accelerator that is not there
    ├── TerminalError    9   a terminal the dashboard cannot use
    ├── RunError        10   a run folder that cannot be written or resumed
    └── SimulatorError  11   the simulator of the demo ended by itself

Exit code 2 is a usage error (unknown command or option), 0 also the end by `q`, Ctrl-C or SIGTERM.
"""

from model.text import make_printable

LONGEST_MESSAGE = 1000
"""Characters of a message."""


class EcgError(Exception):
    """Base of all errors with a message for the user: one line that says what to do.

    What it quotes may come from anywhere: it is cut, and what cannot be printed becomes a question mark.
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
    exit_code = 3


class RecordError(EcgError):
    exit_code = 4


class StreamError(EcgError):
    exit_code = 5


class FrameError(StreamError):
    pass


class EndpointError(EcgError):
    exit_code = 6


class CheckpointError(EcgError):
    exit_code = 7


class DeviceError(EcgError):
    exit_code = 8


class TerminalError(EcgError):
    exit_code = 9


class RunError(EcgError):
    exit_code = 10


class SimulatorError(EcgError):
    exit_code = 11


def clean_error_text(said: object) -> str:
    """What a file or a parser of it says, as part of a message: short, in one line, and printable."""
    return make_printable(" ".join(str(said)[:400].split()))
