"""All settings: `config.toml`, changed by a user's own file, then by the environment, then by options of a command.

No setting has a default in the code. Every value is checked wherever it comes from, and an unknown key is an error that
names the valid ones.
"""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from agent.core.alarm_settings import AlarmConfig
from agent.core.bed_settings import BedSettings, limits_in_force
from agent.core.output_settings import NotifyConfig, PublishConfig, WebConfig
from agent.core.setting_types import (
    DecibelValue,
    DeviceName,
    NonEmptyText,
    NonNegativeNumber,
    PositiveCount,
    PositiveNumber,
    RandomSeed,
    ThreadCount,
    UnitFraction,
)
from model.compiled.sources import LIBRARY_VARIABLE
from model.errors import ConfigError, clean_error_text
from model.training.recipe import ContextRecipe, TrainingRecipe

ENVIRONMENT_PREFIX = "ECG_AGENT_"
RECIPE_PREFIX, BED_PREFIX = "recipe.", "bed."
LARGEST_CONFIG_BYTES = 2**16
RECIPE_NAME_PATTERN = re.compile("[A-Za-z0-9_-]+")
COMMAND_LINE = "the command line"
OPTION_NAMES = {
    "ward_packet_ms": "--packet-ms",
    "snr_db": "--snr",
    "noise_seed": "--seed",
    "priority": "--notify-from",
    "address": "--web",
    "token": "--web-token",
}
"""Options that are not called as the setting is."""
BOUND = re.compile(r"Expected `(int|float)` (>=|<=|>|<) (\S+)")
BOUND_WORDS = {">=": "{} or more", "<=": "{} or less", ">": "above {}", "<": "below {}"}
"""How msgspec says that a number is out of its bounds, and how we do."""
NON_SETTING_VARIABLES = {"ECG_AGENT_CONFIG", "ECG_AGENT_CACHE", LIBRARY_VARIABLE}


@dataclass(frozen=True, slots=True)
class LinkConfig:
    endpoint: NonEmptyText
    service: str
    bundles: bool
    buffer_packets: PositiveCount
    backfill_s: NonNegativeNumber
    patience_ms: NonNegativeNumber


@dataclass(frozen=True, slots=True)
class SimulateConfig:
    packet_ms: PositiveNumber
    ward_packet_ms: PositiveNumber
    keep_s: NonNegativeNumber
    snr_db: DecibelValue
    noise_seed: RandomSeed
    control: bool


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    tick_ms: PositiveNumber
    timeout_s: PositiveNumber
    measure_s: PositiveNumber
    first_pause_s: PositiveNumber
    longest_pause_s: PositiveNumber


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    device: DeviceName
    weights: NonEmptyText
    lead: NonEmptyText
    threads: ThreadCount
    timeout_s: PositiveNumber
    lost_s: PositiveNumber
    tick_ms: PositiveNumber
    beds: PositiveCount
    metrics: str

    def __post_init__(self) -> None:
        """Raises ValueError if no lead is named."""
        if not self.lead.replace(",", "").strip():
            raise ValueError(f"lead {self.lead!r} names none: write auto, II, or several such as II,V5")


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    key: str
    server_key: str
    clients: str
    insecure: bool


@dataclass(frozen=True, slots=True)
class RecordConfig:
    rotate_min: PositiveNumber
    sync_s: PositiveNumber
    limit_mb: NonNegativeNumber
    reserve_mb: NonNegativeNumber
    replay_s: NonNegativeNumber


@dataclass(frozen=True, slots=True)
class SignalConfig:
    flat_ms: PositiveNumber
    flat_uv: PositiveNumber
    scale_s: Annotated[float, msgspec.Meta(ge=2, le=60)]
    scale_qrs_mv: PositiveNumber
    scale_factor: Annotated[float, msgspec.Meta(gt=1, le=1000)]
    scale_change_s: Annotated[float, msgspec.Meta(ge=2, le=3600)]

    def __post_init__(self) -> None:
        """Raises ValueError if a scale could be changed by less signal than it is found from."""
        if self.scale_s > self.scale_change_s:
            raise ValueError("scale_s must not be more than scale_change_s")


@dataclass(frozen=True, slots=True)
class LeadsConfig:
    quality_bad: UnitFraction
    bad_windows: PositiveCount
    quality_good: UnitFraction
    good_windows: PositiveCount
    qrs_silence_s: PositiveNumber
    hold_s: NonNegativeNumber
    other_weight: NonNegativeNumber
    absent_bias: NonNegativeNumber
    fill_intervals: PositiveNumber
    organised_score: UnitFraction

    def __post_init__(self) -> None:
        """Raises ValueError if a lead could be bad and good at once."""
        if self.quality_bad > self.quality_good:
            raise ValueError("quality_bad must not be more than quality_good")


@dataclass(frozen=True, slots=True)
class RhythmConfig:
    rate_intervals: PositiveCount
    slow_intervals: PositiveCount
    slow_least: PositiveCount
    slow_s: PositiveNumber
    standstill_s: PositiveNumber
    hrv_beats: PositiveCount


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    frames_per_s: PositiveNumber
    seconds: Annotated[int, msgspec.Meta(ge=0, le=30)]
    events: PositiveCount
    least_confidence: UnitFraction
    last_rate_s: NonNegativeNumber
    display_filter: Literal["off", "monitor"]
    mains_notch: Literal["off", "auto", 50, 60]
    ascii: bool
    bell: bool


@dataclass(frozen=True, slots=True)
class TrainConfig:
    recipe: NonEmptyText
    protocol: Literal["random", "inter-patient"]
    seed: RandomSeed
    split_seed: RandomSeed
    threads: ThreadCount
    device: DeviceName


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of `config.toml`, a dataclass a section; `recipe` and `bed` hold tables by their names."""

    link: LinkConfig
    simulate: SimulateConfig
    bridge: BridgeConfig
    security: SecurityConfig
    monitor: MonitorConfig
    record: RecordConfig
    notify: NotifyConfig
    publish: PublishConfig
    web: WebConfig
    signal: SignalConfig
    leads: LeadsConfig
    rhythm: RhythmConfig
    alarms: AlarmConfig
    dashboard: DashboardConfig
    train: TrainConfig
    recipe: dict[str, TrainingRecipe]
    bed: dict[str, BedSettings]
    live: ContextRecipe


SettingValues = dict[str, dict[str, Any]]


def load_config(path: Path | str | None = None, environment: Mapping[str, str] = os.environ) -> Config:
    """Settings in force: defaults, then the file (`path`, else ECG_AGENT_CONFIG), then the environment.

    Raises ConfigError naming the file or variable, the key, and the valid keys.
    """
    values = _read_config_file(default_config_path())
    own = Path(named) if (named := path or environment.get("ECG_AGENT_CONFIG")) else None
    if own is not None:
        _merge_settings(values, _read_config_file(own), str(own))
        _build_config(values, str(own))
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in NON_SETTING_VARIABLES:
            source = f"environment variable {clean_error_text(name)}"
            section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
            if section in ("recipe", "bed"):
                raise ConfigError(f"{source}: {section}s are set in a file only, as [{section}.NAME]")
            _merge_settings(values, {section: {key: _parse_variable(environment[name], source)}}, source)
            _build_config(values, source)
    return _build_config(values, str(default_config_path()))


def override_config(config: Config, section: str, **options: Any) -> Config:
    """The same settings with the options of a command that were given (are not None)."""
    values = _flatten_tables(msgspec.to_builtins(config))
    if section not in values:
        valid = ", ".join(name.removeprefix(RECIPE_PREFIX) for name in values if name.startswith(RECIPE_PREFIX))
        raise ConfigError(f"no recipe {section.removeprefix(RECIPE_PREFIX)!r}; valid are {valid} (--recipe)")
    values[section] |= {key: value for key, value in options.items() if value is not None}
    return _build_config(values, COMMAND_LINE)


def default_config_path() -> Path:
    """The `config.toml` of this program: inside the installed package, or at the top of the repository."""
    inside = Path(__file__).parent / "config.toml"
    return inside if inside.is_file() else Path(__file__).parents[2] / "config.toml"


def format_config_toml(config: Config, sections: Collection[str] | None = None) -> str:
    """The settings as TOML, section by section; only these `sections`, such as "recipe.best", where some are named."""
    lines = []
    for section, values in _flatten_tables(msgspec.to_builtins(config)).items():
        if sections is not None and section not in sections:
            continue
        prefix = BED_PREFIX if section.startswith(BED_PREFIX) else ""
        name = msgspec.json.encode(section.removeprefix(prefix)).decode() if prefix else section
        given = {key: value for key, value in values.items() if value is not None}
        lines += [
            f"[{prefix}{name}]",
            *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in given.items()),
            "",
        ]
    return "\n".join(lines).replace("\x7f", "\\u007f")  # which JSON lets pass and TOML does not


def _read_config_file(path: Path) -> SettingValues:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_CONFIG_BYTES + 1)
        if len(content) > LARGEST_CONFIG_BYTES:
            raise ConfigError(f"configuration {path} is too large: over {LARGEST_CONFIG_BYTES} bytes")
        return _flatten_tables(tomllib.loads(content.decode("utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of a number with too many digits
        raise ConfigError(f"configuration {path} is no valid TOML: {clean_error_text(error)}") from error


def _flatten_tables(values: dict[str, Any]) -> SettingValues:
    """The tables of `recipe` and of `bed` as sections of their own, `recipe.NAME` and `bed.NAME`."""
    flat = values
    for prefix in (RECIPE_PREFIX, BED_PREFIX):
        tables = values.get(prefix[:-1])
        if isinstance(tables, dict):
            flat = {section: keys for section, keys in flat.items() if section != prefix[:-1]}
            flat |= {f"{prefix}{name}": keys for name, keys in tables.items()}
    return flat


def _merge_settings(values: SettingValues, changes: Mapping[str, Any], source: str) -> None:
    for section, keys in changes.items():
        if section.startswith(RECIPE_PREFIX) and section not in values:  # a new one begins as the report's
            if not RECIPE_NAME_PATTERN.fullmatch(section.removeprefix(RECIPE_PREFIX)):
                raise ConfigError(
                    f"{source}: name a recipe with letters, digits, - and _, not {clean_error_text(section)}"
                )
            values[section] = dict(values[f"{RECIPE_PREFIX}reproduction"])
        if section == BED_PREFIX:
            raise ConfigError(f'{source}: a bed needs a name: write [bed.NAME], as [bed."7"]')
        if section.startswith(BED_PREFIX) and section not in values:
            values[section] = msgspec.to_builtins(BedSettings())
        if section not in values:
            raise ConfigError(f"{source}: unknown section {section!r}; valid are {', '.join(values)}, bed.NAME")
        if not isinstance(keys, dict):
            raise ConfigError(f"{source}: {section!r} is a section: write [{section}] and its keys below")
        for key, value in keys.items():
            if key not in values[section]:
                valid = ", ".join(values[section])
                raise ConfigError(f"{source}: unknown key {clean_error_text(f'{section}.{key}')}; valid are {valid}")
            values[section][key] = value


def _parse_variable(text: str, source: str) -> Any:
    """What a variable of the environment says: a TOML value where it is one, else the text itself."""
    if any("\ud800" <= character <= "\udfff" for character in text):  # how Python takes in bytes that are no text
        raise ConfigError(f"{source} is not UTF-8")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _build_config(values: SettingValues, source: str) -> Config:
    hints = get_type_hints(Config)
    sections = {
        name: _convert_section(values[name], hints[name], name, source)
        for name in hints
        if name not in ("recipe", "bed")
    }
    recipes = _convert_tables(values, RECIPE_PREFIX, TrainingRecipe, source)
    beds = _convert_tables(values, BED_PREFIX, BedSettings, source)
    for name, settings in beds.items():
        try:
            limits_in_force(settings, sections["alarms"])
        except ValueError as error:
            raise ConfigError(f"{source}: {clean_error_text(f'[bed.{name}]: {error}')}") from error
    return Config(**sections, recipe=recipes, bed=beds)


def _convert_tables(values: SettingValues, prefix: str, into: Any, source: str) -> dict[str, Any]:
    """The tables of a prefix by their names."""
    names = [name for name in values if name.startswith(prefix)]
    return {name.removeprefix(prefix): _convert_section(values[name], into, name, source) for name in names}


def _convert_section(values: dict[str, Any], into: Any, name: str, source: str) -> Any:
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as error:
        reason, _, key = str(error).partition(" - at `$.")
        hint = get_type_hints(into).get((key := key.rstrip("`")).partition("[")[0])
        hint = get_args(hint)[0] if get_origin(hint) is tuple else hint
        valid = f"; valid are {', '.join(map(str, get_args(hint)))}" if get_origin(hint) is Literal else ""
        reason = clean_error_text(_say_plainly(reason))
        if source == COMMAND_LINE and key in values:
            option = OPTION_NAMES.get(key, f"--{key.replace('_', '-')}")
            raise ConfigError(f"{option} {_as_typed(values[key])} makes no sense: {valid[2:] or reason}") from error
        where = clean_error_text(f"{name}.{key}" if key else f"[{name}]")
        raise ConfigError(f"{source}: {where}: {reason}{valid}") from error


def _say_plainly(reason: str) -> str:
    """What msgspec finds wrong with a value, as what to give instead.

    >>> _say_plainly("Expected `float` > 0.0")
    'give a number above 0'
    """
    if reason == "Expected `str` of length >= 1":
        return "it is empty"
    if found := BOUND.fullmatch(reason):
        kind, bound, number = found.groups()
        what = "a whole number" if kind == "int" else "a number"
        words = BOUND_WORDS[bound].format(f"{float(number):,.10g}")
        return f"give {what}{' of' if bound.endswith('=') else ''} {words}"
    return reason


def _as_typed(value: Any) -> str:
    """A value as a person may have written it behind an option."""
    return f"{value:g}" if isinstance(value, float) else clean_error_text(value) if value != "" else '""'
