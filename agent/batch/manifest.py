"""The manifest in a folder of results: what they were made of, how, and what they are in short.

A folder appears under its name only once all of it is written, so one with a manifest is complete.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import msgspec

from agent.core.config import Config

MANIFEST_NAME = "analysis.json"
LARGEST_MANIFEST = 2**24
RESULT_SECTIONS = ("signal", "leads", "rhythm", "alarms")
"""Sections of the settings that results depend on, beside the leads and the weights."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it was: its name, its bytes, when it was changed last in nanoseconds, its SHA-256 ("" if unknown)."""

    name: str
    size: int
    mtime_ns: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class FileSummary:
    """The results of a file in short.

    `fs`: its sampling rate in hertz. `start`: when it began (ISO 8601), None if it does not say. `leads`: the analysed
    ones, the one that was heard first at the front. `beats` by class, `alarms` by priority. `heart_rate`: the mean one
    in beats a minute, None without an RR interval. `missing_s`: seconds without a value. `notices`: what is not as the
    file says.
    """

    fs: float
    duration_s: float
    start: str | None
    leads: tuple[str, ...]
    beats: dict[str, int]
    heart_rate: float | None
    alarms: dict[str, int]
    missing_s: float
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnalysisRecipe:
    """What results depend on beside the file: version, weights and settings, and what a person said of the file."""

    version: str
    weights: str
    weights_sha256: str
    settings_sha256: str
    lead: str
    fs: float | None
    unit: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of MANIFEST_NAME: the `source` and its files, the recipe, the results, the summary.

    `files`: the bytes of each file of results by its name; None in what is wanted, and not there yet.
    """

    source: str
    stamps: tuple[FileStamp, ...]
    recipe: AnalysisRecipe
    files: dict[str, int | None]
    summary: FileSummary


def describe_recipe(config: Config, fs: float | None, unit: str | None) -> AnalysisRecipe:
    """Return the recipe of an analysis; this loads PyTorch. Raises CheckpointError if there are no such weights."""
    from model.nets import checkpoint_card

    weights = config.monitor.weights
    digest = checkpoint_card.digest_checkpoint(checkpoint_card.find_checkpoint(weights))
    settings = msgspec.json.encode({name: asdict(getattr(config, name)) for name in RESULT_SECTIONS})
    name = Path(weights).name
    return AnalysisRecipe(
        version("ecg-agent"), name, digest, hashlib.sha256(settings).hexdigest(), config.monitor.lead, fs, unit
    )


def valid_text(text: str) -> str:
    """Return a text that can be written as UTF-8: of the name of a file, what is not UTF-8 as in "a\\udcff.csv"."""
    return text.encode(errors="backslashreplace").decode()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder of results, with the sizes of its files. Raises OSError."""
    manifest = replace(manifest, files={name: (folder / name).stat().st_size for name in manifest.files})
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder of results; None if it is none, or one of another version's."""
    try:
        with (folder / MANIFEST_NAME).open("rb") as file:
            return msgspec.json.decode(file.read(LARGEST_MANIFEST), type=Manifest)
    except (OSError, ValueError):
        return None


def is_up_to_date(
    folder: Path, manifest: Manifest, wanted: Manifest, digest: Callable[[], tuple[FileStamp, ...]]
) -> bool:
    """Return whether a folder of results holds all that is wanted, from the same file and by the same recipe.

    A file is the same with its name, its bytes and its time; where only the time is another one, as of a copy, its
    content decides, of which `digest` returns the SHA-256.
    """
    same = replace(manifest, stamps=wanted.stamps, files=wanted.files, summary=wanted.summary) == wanted
    if not same or not all(_has_size(folder / name, manifest.files.get(name)) for name in wanted.files):
        return False
    then, now = ([(stamp.name, stamp.size, stamp.mtime_ns) for stamp in of.stamps] for of in (manifest, wanted))
    if then == now:
        return True
    if [stamp[:2] for stamp in then] != [stamp[:2] for stamp in now]:
        return False
    digests = [stamp.sha256 for stamp in manifest.stamps]
    return all(digests) and digests == [stamp.sha256 for stamp in digest()]


def _has_size(path: Path, size: int | None) -> bool:
    return path.is_file() and path.stat().st_size == size
