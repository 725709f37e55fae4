import ast
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from model.compiled import sources
from model.nets import checkpoint_card
from model.records import wfdb_records

ROOT = Path(__file__).parents[1]
PACKAGES = ("model", "agent", "simulator")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FLOORS = (
    "model",
    "model.compiled model.records",
    "model.beats model.formats model.intervals model.scoring model.rhythm",
    "model.nets model.waveform",
    "model.transfer",
    "model.training",
    "agent.core",
    "agent.cluster agent.wire",
    "agent.device",
    "agent.analysis agent.link agent.recording agent.dashboard",
    "agent.alarms",
    "agent.pipeline",
    "agent.monitor agent.evaluation agent.library",
    "agent.outputs agent.web agent.training",
    "agent.export agent.store",
    "agent.report",
    "agent.batch agent.bridge agent.fleet",
    "simulator",
    "agent.cli",
    "agent",
)
"""The folders from the ground up. Each imports from floors below its own, or from itself; docs/architecture.md draws
it."""
FOLDERS = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders.split()}
SIMULATOR_USES = {"agent.core", "agent.wire", "agent.device", "agent.recording", "simulator"}
"""What a device shares with the monitor: messages and settings, both ends of the wire, recordings."""
HEAVY = {"torch", "scipy", "matplotlib", "wfdb", "zmq"}
LARGEST_FILE, LARGEST_FUNCTION = 400, 60
SHARED_NAMES = {"main"}
"""Names that several modules may define: the entry points of commands."""
MOST_ONE_WORD_NAMES = 0.35
LEAST_SHAPES = 0.9
ARRAY_TYPE = re.compile(r"NDArray|Floats|Array|Rows|Tensor")
"""Annotations that mean an array."""
SHAPE = re.compile(r"\(n|\(\w+,|shape|\(\d")
"""A docstring that states a shape: "(n,) float32 mV", "(n, leads)"."""
HANDED_OVER = """
import shutil, sys
library, arguments = sys.argv[1], sys.argv[2:]
made = arguments[arguments.index("-o") + 1]
shutil.copy(library, made) if "-shared" in arguments else open(made, "w").close()
"""
"""A compiler that gives the library as it was compiled for this environment: another one would take a minute."""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full names of all that a module imports, wherever it does: `from a import b` is `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(name: str) -> str:
    """Return the innermost folder that a dotted name lies in."""
    while name not in FOLDERS:
        name = name.rpartition(".")[0]
    return name


def forbidden(name: str, tree: ast.AST) -> set[str]:
    """Return the modules of this repository that a module imports though it must not."""
    home = folder_of(name)
    ours = {target for target in imports(tree) if target.split(".")[0] in (*PACKAGES, "tests", "benchmarks")}
    foreign = {target for target in ours if target.split(".")[0] not in PACKAGES}
    homes = {target: folder_of(target) for target in ours - foreign}
    wrong = {target for target, folder in homes.items() if folder != home and FOLDERS[folder] >= FOLDERS[home]}
    if home == "simulator":
        agents = {target for target in homes if target.startswith("agent")}
        wrong |= {target for target in agents if homes[target] not in SIMULATOR_USES}
    return wrong | foreign


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def python(*arguments: str) -> str:
    """Return the standard output of another Python in the repository's folder."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_import_direction() -> None:
    """Imports go down the floors, TYPE_CHECKING ones too: no folder is part of a circle."""
    wrong = {module_name(path): forbidden(module_name(path), parsed(path)) for path in FILES}
    assert {name: targets for name, targets in wrong.items() if targets} == {}


def test_every_folder_has_its_floor() -> None:
    """The list of floors names each folder that holds modules, and no other."""
    assert set(FOLDERS) == {".".join(path.parent.relative_to(ROOT).parts) for path in FILES}


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("model.nets.beat_net", "import agent", {"agent"}),
        ("model.nets.beat_net", "from agent.core.messages import Beat", {"agent.core.messages.Beat"}),
        ("agent.core.config", "from agent.wire import packets", {"agent.wire.packets"}),
        ("agent.pipeline.monitored_bed", "from simulator import scheduler", {"simulator.scheduler"}),
        ("agent.cli.app", "from simulator import scheduler", set()),
        ("simulator.scheduler", "from agent.pipeline import pipeline", {"agent.pipeline.pipeline"}),
        ("simulator.scheduler", "from agent.wire.packets import encode", set()),
        ("agent.analysis.rate_tracker", "from agent.link import link_receiver", {"agent.link.link_receiver"}),
        ("simulator.scheduler", "def f():\n    import agent.wireless", {"agent.wireless"}),
        ("agent.alarms.rate_limits", "from tests.conftest import chunks", {"tests.conftest.chunks"}),
    ],
)
def test_wrong_directions_are_found(name: str, line: str, found: set[str]) -> None:
    """The check finds an import in the wrong direction, however it is written."""
    assert forbidden(name, ast.parse(line)) == found


def test_nothing_imports_the_command_line() -> None:
    """Nothing imports agent.cli.app but `python -m agent`."""
    importing = {module_name(path) for path in FILES for name in imports(parsed(path)) if is_command_line(name)}
    assert importing == {"agent.__main__"}


def is_command_line(name: str) -> bool:
    return f"{name}.".startswith("agent.cli.app.")


def test_modules() -> None:
    """A module says what it is and imports no stars; `__init__.py` holds only that docstring; none is a utils.py."""
    for path in FILES:
        tree, name = parsed(path), module_name(path)
        assert ast.get_docstring(tree), name
        assert path.stem not in ("util", "utils", "helpers", "misc"), name
        is_public_surface = name == "agent.__init__"
        assert len(tree.body) == 1 or path.name != "__init__.py" or is_public_surface, name
        assert not [imported for imported in imports(tree) if imported.endswith(".*")], name


def definitions() -> Iterator[tuple[str, Definition]]:
    """The module name and the node of every top-level function and class."""
    for path in FILES:
        for node in parsed(path).body:
            if isinstance(node, Definition):
                yield module_name(path), node


def is_one_word(node: Definition) -> bool:
    """Whether a name is a single word: snake case of functions, CamelCase of classes."""
    words = re.findall(r"[A-Z][a-z0-9]*" if isinstance(node, ast.ClassDef) else r"[^_]+", node.name)
    return len(words) == 1


def array_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """The public functions and methods that take or return arrays."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            result = ast.unparse(node.returns) if node.returns else ""
            if ARRAY_TYPE.search(ast.unparse(node.args) + result):
                yield node


def test_a_name_has_one_home() -> None:
    """A top-level function or class name, its leading underscore aside, is defined in one module only."""
    homes: dict[str, set[str]] = defaultdict(set)
    for module, node in definitions():
        homes[node.name.lstrip("_")].add(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1 and name not in SHARED_NAMES} == {}
    assert len(SHARED_NAMES) <= 10


@pytest.mark.parametrize("kind", [(ast.FunctionDef, ast.AsyncFunctionDef), ast.ClassDef], ids=["functions", "classes"])
def test_names_are_more_than_one_word(kind: type | tuple[type, ...]) -> None:
    """At most about a third of the names of functions, and of classes, are a single word."""
    single = [is_one_word(node) for _, node in definitions() if isinstance(node, kind)]
    assert sum(single) <= MOST_ONE_WORD_NAMES * len(single)


def test_array_functions_state_shapes() -> None:
    """Nine of ten public functions and methods with arrays say which shape these have."""
    functions = [(module_name(path), node) for path in FILES for node in array_functions(parsed(path))]
    silent = [f"{name}.{node.name}" for name, node in functions if not SHAPE.search(ast.get_docstring(node) or "")]
    assert len(silent) <= (1 - LEAST_SHAPES) * len(functions), f"{len(silent)} of {len(functions)}: {silent}"


@pytest.mark.parametrize(
    ("line", "single", "with_array", "with_shape"),
    [
        ("def push(x: NDArray[np.float32]): ...", True, True, False),
        ("def _push_block(x: NDArray[np.float32]): ...", False, False, False),
        ("def push_block() -> Tensor:\n    'Return (n,) float32 mV.'", False, True, True),
        ("class Beat: ...", True, False, False),
        ("class BeatNet: ...", False, False, False),
    ],
)
def test_names_and_shapes_are_counted(line: str, single: bool, with_array: bool, with_shape: bool) -> None:
    """The checks of names and shapes tell one word from two, and a stated shape from none."""
    tree = ast.parse(line)
    (node,) = tree.body
    assert isinstance(node, Definition)
    assert is_one_word(node) == single
    assert [bool(SHAPE.search(ast.get_docstring(found) or "")) for found in array_functions(tree)] == (
        [with_shape] if with_array else []
    )


def test_functions_are_short() -> None:
    """No function is over 60 lines."""
    for path in FILES:
        nodes = ast.walk(parsed(path))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= LARGEST_FUNCTION]
        assert not long, module_name(path)


def test_files_are_short() -> None:
    """No source or text of the repository, tests apart, is over 400 lines."""
    folders = [ROOT / name for name in (*PACKAGES, "benchmarks", "docs")]
    files = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    files += [path for folder in folders for ending in ("py", "md", "toml") for path in folder.rglob(f"*.{ending}")]
    lines = {path: path.read_bytes().count(b"\n") for path in files}
    assert {path.name: count for path, count in lines.items() if count > LARGEST_FILE} == {}


@pytest.mark.parametrize(
    "options",
    [[], ["--help"], ["monitor", "--help"], ["analyse", "--help"]],
    ids=["import", "help", "monitor", "analyse"],
)
def test_help_is_quick(options: list[str]) -> None:
    """Neither the import of the command line nor its help loads a large library."""
    call = (
        f"from typer.testing import CliRunner; assert CliRunner().invoke(agent.cli.app.app, {options}).exit_code == 0"
    )
    loaded = python("-c", f"import agent.cli.app, sys; {call if options else 'pass'}; print(*sys.modules)").split()
    assert "agent.cli.app" in loaded
    assert HEAVY & set(loaded) == set()


def test_help_is_there() -> None:
    """`python -m agent --help` names the commands."""
    help_text = python("-m", "agent", "--help")
    assert all(command in help_text for command in ("monitor", "simulate", "demo", "train"))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_script_is_the_module() -> None:
    """`ecg-agent` is `python -m agent`, and is entered before anything that takes time is imported."""
    assert project()["project"]["scripts"] == {"ecg-agent": "agent.__main__:main"}
    loaded = python("-c", "import agent.__main__, sys; print(*sys.modules)").split()
    assert {name for name in loaded if name.startswith(("agent.", "typer"))} == {"agent.__main__"}


def test_types_and_systems_are_declared() -> None:
    """Type checkers read the annotations of the three packages, and PyPI shows that only POSIX systems will do."""
    assert [name for name in PACKAGES if not (ROOT / name / "py.typed").is_file()] == []
    systems = {name for name in project()["project"]["classifiers"] if name.startswith("Operating System")}
    assert systems == {"Operating System :: MacOS", "Operating System :: POSIX", "Operating System :: POSIX :: Linux"}


def test_what_goes_into_the_wheel_exists() -> None:
    """The packages, files and licences that pyproject.toml names are there."""
    wheel = project()["tool"]["hatch"]["build"]["targets"]["wheel"]
    named = [*wheel["packages"], *wheel["force-include"], *project()["project"]["license-files"]]
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert set(wheel["packages"]) == set(PACKAGES)


@pytest.mark.slow
def test_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed ecg-agent has its settings, page templates, the database with its licence, and the weights."""
    if find_spec("hatchling") is None or find_spec("pip") is None:
        pytest.skip("building a wheel needs hatchling and pip in this environment")
    if sources.LIBRARY.exists():
        compiler = tmp_path / "compiler.py"
        compiler.write_text(HANDED_OVER)
        monkeypatch.setenv("CC", shlex.join([sys.executable, str(compiler), str(sources.LIBRARY)]))
    build = ["pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    python("-m", *build, "--wheel-dir", str(tmp_path))
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        inside = set(wheel.namelist())
    database = {
        f"model/records/database/{p.relative_to(wfdb_records.DATABASE)}" for p in wfdb_records.DATABASE.rglob("*.*")
    }
    weights = {f"model/nets/weights/{name}.safetensors" for name in checkpoint_card.shipped_checkpoints()}
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "agent").glob("*/templates/*")}
    assert len(templates) >= 5
    assert len(database) == 1 + 2 + 3 * 48 + 2 * 2
    typed = {f"{name}/py.typed" for name in PACKAGES}
    assert {"agent/core/config.toml", "agent/cli/app.py", *typed, *database, *weights, *templates} <= inside
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/", "runs/"))]
    assert not sources.LIBRARY.exists() or "model/compiled/compiled_parts.so" in inside
