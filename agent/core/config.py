"""All settings: `config.toml`, changed by a user's own file, then by the environment, then by options of a command.

No setting has a default in the code. Every value is checked wherever it comes from, and an unknown key is an error that
names the valid ones.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from model.errors import ConfigError, plain
from model.training.recipe import Recipe

Positive = Annotated[float, msgspec.Meta(gt=0, lt=1e9)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, lt=1e9)]
Count = Annotated[int, msgspec.Meta(gt=0, lt=10**9)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Beats = Annotated[int, msgspec.Meta(ge=2, le=1000)]
Cycles = Annotated[int, msgspec.Meta(ge=2, le=10)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=256)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Decibels = Annotated[float, msgspec.Meta(ge=-100, le=100)]
DeviceName = Literal["auto", "mps", "cuda", "cpu"]
Text = Annotated[str, msgspec.Meta(min_length=1)]

PREFIX = "ECG_AGENT_"
RECIPE = "recipe."
LARGEST_FILE = 2**16
NAME = re.compile("[A-Za-z0-9_-]+")
OTHER_VARIABLES = {"ECG_AGENT_CONFIG", "ECG_AGENT_CACHE"}


@dataclass(frozen=True, slots=True)
class LinkConfig:
    endpoint: Text
    service: str
    buffer_packets: Count
    backfill_s: NotNegative
    patience_ms: NotNegative


@dataclass(frozen=True, slots=True)
class SimulateConfig:
    packet_ms: Positive
    ward_packet_ms: Positive
    keep_s: NotNegative
    snr_db: Decibels
    noise_seed: Seed


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    device: DeviceName
    weights: Text
    lead: Text
    threads: Threads
    timeout_s: Positive
    lost_s: Positive
    tick_ms: Positive
    beds: Count
    metrics: str


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    key: str
    server_key: str
    clients: str
    insecure: bool


@dataclass(frozen=True, slots=True)
class RecordConfig:
    rotate_min: Positive
    sync_s: Positive
    limit_mb: NotNegative
    reserve_mb: NotNegative
    warm_s: NotNegative


@dataclass(frozen=True, slots=True)
class SignalConfig:
    flat_ms: Positive
    flat_uv: Positive


@dataclass(frozen=True, slots=True)
class RhythmConfig:
    rate_intervals: Count
    slow_intervals: Count
    slow_least: Count
    slow_s: Positive
    pause_s: Positive
    hrv_beats: Count


@dataclass(frozen=True, slots=True)
class AlarmConfig:
    silence_s: NotNegative
    latch_high: bool
    asystole_s: Positive
    pause_s: Positive
    least_qrs_mv: NotNegative
    found_s: NotNegative
    verdict_s: NotNegative
    doubt_s: NotNegative
    asystole_score: Share
    look_turns_s: NotNegative
    vf_score: Share
    vf_looks: Count
    vf_of_looks: Count
    vf_end_score: Share
    vf_end_s: Positive
    vt_score: Share
    vt_looks: Count
    vt_of_looks: Count
    vt_end_score: Share
    vt_end_s: Positive
    sure_score: Share
    vt_beats: Beats
    vt_bpm: Positive
    vt_end_beats: Beats
    v_run_beats: Beats
    rate_high_bpm: Positive
    rate_low_bpm: Positive
    rate_hysteresis_bpm: NotNegative
    rate_end_s: Positive
    rate_least_intervals: Count
    extreme_above_bpm: NotNegative
    extreme_most_bpm: Positive
    extreme_below_bpm: NotNegative
    extreme_least_bpm: Positive
    bigeminy_cycles: Cycles
    trigeminy_cycles: Cycles
    r_on_t_share: Share
    r_on_t_pause: Positive
    r_on_t_most_bpm: Positive
    r_on_t_again_s: NotNegative
    v_most_per_min: Beats
    v_end_per_min: Beats
    af_s: Positive
    af_intervals: Count
    af_variation: Positive
    af_entropy: Positive
    af_tolerance: Positive
    af_keep: Share
    af_memory_s: Positive
    hold_s: Positive
    lost_s: Positive
    noise_score: Share
    noise_s: Positive
    noise_window_s: Positive
    noise_clear_s: Positive
    gaps_s: Positive
    gaps_count: Count
    gaps_window_s: Positive

    def __post_init__(self) -> None:
        """Raises ValueError, which names the keys, where two of them contradict each other."""
        for less, more in (
            ("rate_low_bpm", "rate_high_bpm"),
            ("pause_s", "asystole_s"),
            ("asystole_s", "rate_end_s"),
            ("v_run_beats", "vt_beats"),
            ("v_end_per_min", "v_most_per_min"),
            ("noise_s", "noise_window_s"),
            ("vf_looks", "vf_of_looks"),
            ("vt_looks", "vt_of_looks"),
        ):
            if getattr(self, less) > getattr(self, more):
                raise ValueError(f"{less} must not be more than {more}")


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    frames_per_s: Positive
    seconds: Annotated[int, msgspec.Meta(ge=0, le=30)]
    events: Count
    ascii: bool
    bell: bool


@dataclass(frozen=True, slots=True)
class TrainConfig:
    recipe: Text
    protocol: Literal["random", "inter-patient"]
    seed: Seed
    split_seed: Seed
    threads: Threads
    device: DeviceName


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of `config.toml`, a dataclass a section; `recipe` holds the tables `[recipe.NAME]`."""

    link: LinkConfig
    simulate: SimulateConfig
    security: SecurityConfig
    monitor: MonitorConfig
    record: RecordConfig
    signal: SignalConfig
    rhythm: RhythmConfig
    alarms: AlarmConfig
    dashboard: DashboardConfig
    train: TrainConfig
    recipe: dict[str, Recipe]


Values = dict[str, dict[str, Any]]


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Settings in force: defaults, then the file (`path`, else ECG_AGENT_CONFIG), then the environment.

    Raises ConfigError naming the file or variable, the key, and the valid keys.
    """
    values = _read(defaults())
    own = path or (Path(environment["ECG_AGENT_CONFIG"]) if environment.get("ECG_AGENT_CONFIG") else None)
    if own is not None:
        _merge(values, _read(own), str(own))
        _config(values, str(own))
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES:
            source = f"environment variable {plain(name)}"
            section, _, key = name.removeprefix(PREFIX).lower().partition("_")
            _merge(values, {section: {key: _value(environment[name], source)}}, source)
            _config(values, source)
    return _config(values, str(defaults()))


def override(config: Config, section: str, **options: Any) -> Config:
    """The same settings with the options of a command that were given (are not None)."""
    values = _flat(msgspec.to_builtins(config))
    if section not in values:
        valid = ", ".join(name.removeprefix(RECIPE) for name in values if name.startswith(RECIPE))
        raise ConfigError(f"no recipe {section.removeprefix(RECIPE)!r}; valid are {valid} (--recipe)")
    values[section] |= {key: value for key, value in options.items() if value is not None}
    return _config(values, "the command line")


def defaults() -> Path:
    """The `config.toml` of this program: inside the installed package, or at the top of the repository."""
    inside = Path(__file__).parent / "config.toml"
    return inside if inside.is_file() else Path(__file__).parents[2] / "config.toml"


def to_toml(config: Config) -> str:
    """The settings as TOML, section by section."""
    lines = []
    for section, values in _flat(msgspec.to_builtins(config)).items():
        lines += [
            f"[{section}]",
            *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items()),
            "",
        ]
    return "\n".join(lines).replace("\x7f", "\\u007f")  # which JSON lets pass and TOML does not


def _read(path: Path) -> Values:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(f"configuration {path} is too large: over {LARGEST_FILE} bytes")
        return _flat(tomllib.loads(content.decode()))
    except OSError as error:
        raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of a number with too many digits
        raise ConfigError(f"configuration {path} is no valid TOML: {plain(error)}") from error


def _flat(values: dict[str, Any]) -> Values:
    """The tables of `recipe` as sections of their own, `recipe.NAME`."""
    recipes = values.pop("recipe", {})
    if not isinstance(recipes, dict):
        return values | {"recipe": recipes}
    return values | {f"{RECIPE}{name}": keys for name, keys in recipes.items()}


def _merge(values: Values, changes: Mapping[str, Any], source: str) -> None:
    for section, keys in changes.items():
        if section.startswith(RECIPE) and section not in values:  # a new one begins as the report's
            if not NAME.fullmatch(section.removeprefix(RECIPE)):
                raise ConfigError(f"{source}: name a recipe with letters, digits, - and _, not {plain(section)}")
            values[section] = dict(values[f"{RECIPE}reproduction"])
        if section not in values:
            raise ConfigError(f"{source}: unknown section {section!r}; valid are {', '.join(values)}")
        if not isinstance(keys, dict):
            raise ConfigError(f"{source}: {section!r} is a section: write [{section}] and its keys below")
        for key, value in keys.items():
            if key not in values[section]:
                valid = ", ".join(values[section])
                raise ConfigError(f"{source}: unknown key {plain(f'{section}.{key}')}; valid are {valid}")
            values[section][key] = value


def _value(text: str, source: str) -> Any:
    """What a variable of the environment says: a TOML value where it is one, else the text itself."""
    if any("\ud800" <= character <= "\udfff" for character in text):  # how Python takes in bytes that are no text
        raise ConfigError(f"{source} is not UTF-8")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _config(values: Values, source: str) -> Config:
    hints = get_type_hints(Config)
    sections = {name: _section(values[name], hints[name], name, source) for name in hints if name != "recipe"}
    recipes = {
        name.removeprefix(RECIPE): _section(keys, Recipe, name, source)
        for name, keys in values.items()
        if name.startswith(RECIPE)
    }
    return Config(**sections, recipe=recipes)


def _section(values: dict[str, Any], into: Any, name: str, source: str) -> Any:
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as error:
        reason, _, key = str(error).partition(" - at `$.")
        choices = get_args(get_type_hints(into).get(key := key.rstrip("`")))
        valid = f"; valid are {', '.join(map(str, choices))}" if choices else ""
        where = f"{name}.{key}" if key else f"[{name}]"
        raise ConfigError(f"{source}: {plain(f'{where}: {reason}')}{valid}") from error
