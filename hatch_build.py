"""Compiles the parts in C (`model/compiled`) when the package is built. Without a compiler it goes without them."""

import os
import platform
import runpy
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ["-O3", "-fPIC", "-fno-math-errno"]


class CompiledPartsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the parts, and makes the wheel one of this platform if that went well."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # as hatchling has it
        """Compile before the files of a wheel are gathered."""
        if self.target_name != "wheel":
            return
        sources = runpy.run_path(str(Path(self.root, "model", "compiled", "sources.py")))
        library: Path = sources["LIBRARY"]
        if problem := compile_library(library, sources["CONTRACTED"], sources["digest_sources"]()):
            self.app.display_warning(f"without the parts in C, which are several times as fast: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform_tag()}"
        build_data["artifacts"].append(str(library.relative_to(self.root)))


def compile_library(library: Path, contracted: dict[str, str], digest: str) -> str:
    """Compile the sources beside a library to it, all at once, and return why that cannot be, "" if it can.

    `contracted`: by source, the value of -ffp-contract. There is no library afterwards if it fails.
    """
    compiler = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, f'-DSOURCE_DIGEST="{digest}"']
    partial = library.with_name(f".{library.name}.{os.getpid()}")
    objects = [library.with_name(f".{name}.{os.getpid()}.o") for name in contracted]
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            commands = [
                [*compiler, f"-ffp-contract={contracted[name]}", "-c", str(library.with_name(name)), "-o", str(made)]
                for name, made in zip(contracted, objects, strict=True)
            ]
            list(pool.map(_run, commands))
        _run([*compiler, "-shared", *map(str, objects), "-lm", "-o", str(partial)])
        partial.replace(library)
    except OSError as error:
        problem = str(error)
    except subprocess.CalledProcessError as error:
        problem = error.stderr.strip().partition("\n")[0] or "the compiler fails"
    else:
        return ""
    finally:
        for path in (*objects, partial):
            path.unlink(missing_ok=True)
    library.unlink(missing_ok=True)
    return problem


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _platform_tag() -> str:
    if sys.platform == "darwin":
        return f"macosx_11_0_{platform.machine()}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
