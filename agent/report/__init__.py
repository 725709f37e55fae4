"""The report of a recording, as one HTML page and as PDF. `docs/report.md` says what every figure in it means."""
