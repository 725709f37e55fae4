"""`python -m agent` is `ecg-agent`."""

from agent.cli import main

main()
