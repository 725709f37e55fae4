"""`ecg-agent`, and `python -m agent`: the command line, and a quiet end where Ctrl-C comes before it is there."""

import sys

INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended halfway; Typer says it too."""
GO_ON = ("monitor", "demo", "simulate")
"""Commands that go on until somebody ends them: Ctrl-C is their usual end, also while they still start."""


def main() -> None:
    """Entry point of `ecg-agent`."""
    try:
        from agent.cli.app import main as run  # takes a fifth of a second, in which Ctrl-C would be a traceback

        run()
    except KeyboardInterrupt:
        raise SystemExit(_interrupted()) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise SystemExit(_interrupted()) from None
        raise


def _interrupted() -> int:
    return 0 if sys.argv[1:] and sys.argv[1] in GO_ON else INTERRUPTED


if __name__ == "__main__":
    main()
