"""The table of IEC 60601-2-27 and AAMI EC13 as a file of figures: `python -m benchmarks.standard [--json FILE]`.

It measures what `ecg-agent evaluate --standard` shows.
"""

import argparse
from pathlib import Path

from agent.analysis.beat_classifier import load_beat_classifier
from agent.core import config as configuration
from agent.evaluation.standard_report import measure_standard, standard_report
from benchmarks.figures import write_figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/results/standard.json"), help="file of the figures"
    )
    options = parser.parse_args()
    settings = configuration.load_config(None, {})
    lines = measure_standard(settings, load_beat_classifier("live", "cpu", 1), lambda _done, _total: None)
    for line in lines:
        print(f"{'pass' if line.passed else 'FAIL'}  {line.section}: {line.condition}: {line.measured}")
    write_figures(options.json, standard_report(lines))


if __name__ == "__main__":
    main()
