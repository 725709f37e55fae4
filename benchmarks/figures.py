"""Files of measured figures: what was measured, by which command, when, of which version and on which machine.

Each benchmark writes one with `--json FILE`. Those in docs/figures/ are the figures of the documents, from which
`python -m benchmarks.tables` makes their tables.
"""

import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "figures"
PACKAGES = ("numpy", "torch", "wfdb")
"""Libraries whose versions change the figures most."""


def describe_run() -> dict[str, Any]:
    """Return command, date, version of ecg-agent and machine of the benchmark that runs now."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    name = module.name.removesuffix(".__main__") if module else Path(sys.argv[0]).stem
    return {
        "command": shlex.join(["python", "-m", name, *_shown_arguments(sys.argv[1:])]),
        "date": datetime.now(UTC).date().isoformat(),
        "version": _package_version("ecg-agent"),
        "machine": {
            "processor": _processor_name(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "load": round(os.getloadavg()[0], 1),
        },
        "python": platform.python_version(),
        "packages": {package: _package_version(package) for package in PACKAGES},
    }


def write_figures(path: Path, results: Any) -> None:
    """Write the results of a benchmark and a description of this run to a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"about": describe_run(), "results": results}, indent=1, ensure_ascii=False)
    path.write_text(f"{content}\n", encoding="utf-8")


def read_figures(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Read a file of `write_figures`: a dictionary with "about" and "results"."""
    figures: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return figures


def _shown_arguments(arguments: list[str]) -> list[str]:
    """Leave out `--json FILE`, which does not change what is measured."""
    at = arguments.index("--json") if "--json" in arguments else len(arguments)
    return arguments[:at] + arguments[at + 2 :]


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _processor_name() -> str:
    """Return the processor's name on Linux, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
