"""`ecg-agent`, or `python -m agent`: the command line, which Ctrl-C ends without a traceback even while it starts."""

import signal
import sys
from types import FrameType

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C interrupted, as shells and Typer have it."""
ENDLESS_COMMANDS = ("monitor", "demo", "simulate")
"""Commands that run until they are stopped: Ctrl-C is their normal end, even while they start."""


def main() -> None:
    """Run `ecg-agent`."""
    interrupts = 0

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        from agent.cli.app import run_command_line  # takes 0.2 s, in which Ctrl-C would print a traceback

        run_command_line()
    except KeyboardInterrupt:
        raise SystemExit(_interrupt_code()) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise SystemExit(_interrupt_code()) from None
        raise
    except (ImportError, AttributeError):
        if interrupts:  # a library that swallows the interrupt while it is imported stays half imported
            raise SystemExit(INTERRUPTED) from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: what is left would only print tracebacks


def _interrupt_code() -> int:
    return 0 if sys.argv[1:] and sys.argv[1] in ENDLESS_COMMANDS else INTERRUPTED


if __name__ == "__main__":
    main()
