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

from agent.core.output_settings import NotifyConfig, PublishConfig, WebConfig
from agent.core.setting_types import (
    BeatCount,
    CycleCount,
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
from model.errors import ConfigError, clean_error_text
from model.training.recipe import TrainingRecipe

ENVIRONMENT_PREFIX = "ECG_AGENT_"
RECIPE_PREFIX = "recipe."
LARGEST_CONFIG_BYTES = 2**16
RECIPE_NAME_PATTERN = re.compile("[A-Za-z0-9_-]+")
NON_SETTING_VARIABLES = {"ECG_AGENT_CONFIG", "ECG_AGENT_CACHE"}


@dataclass(frozen=True, slots=True)
class LinkConfig:
    endpoint: NonEmptyText
    service: str
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
class AlarmConfig:
    silence_s: NonNegativeNumber
    latch_high: bool
    asystole_s: PositiveNumber
    pause_s: PositiveNumber
    least_qrs_mv: NonNegativeNumber
    r_peak_latency_s: NonNegativeNumber
    class_latency_s: NonNegativeNumber
    asystole_confirm_s: NonNegativeNumber
    asystole_jump_mv: PositiveNumber
    asystole_jump_s: NonNegativeNumber
    asystole_noise_share: NonNegativeNumber
    asystole_noise_windows: PositiveCount
    asystole_score: UnitFraction
    waveform_onset_s: NonNegativeNumber
    vf_score: UnitFraction
    vf_windows: PositiveCount
    vf_of_windows: PositiveCount
    vf_end_score: UnitFraction
    vf_end_s: PositiveNumber
    vt_score: UnitFraction
    vt_windows: PositiveCount
    vt_of_windows: PositiveCount
    vt_end_score: UnitFraction
    vt_end_s: PositiveNumber
    noise_override_score: UnitFraction
    vt_beats: BeatCount
    vt_bpm: PositiveNumber
    vt_end_beats: BeatCount
    vt_least_v: PositiveCount
    vt_maybe_score: UnitFraction
    vt_agree_score: UnitFraction
    vt_agree_beats: BeatCount
    vt_against_s: PositiveNumber
    vt_against_beats: PositiveCount
    vt_other_score: UnitFraction
    v_run_beats: BeatCount
    rate_high_bpm: PositiveNumber
    rate_low_bpm: PositiveNumber
    rate_hysteresis_bpm: NonNegativeNumber
    rate_end_s: PositiveNumber
    rate_least_intervals: PositiveCount
    slow_beats: BeatCount
    extreme_above_bpm: NonNegativeNumber
    extreme_most_bpm: PositiveNumber
    extreme_below_bpm: NonNegativeNumber
    extreme_least_bpm: PositiveNumber
    bigeminy_cycles: CycleCount
    trigeminy_cycles: CycleCount
    r_on_t_share: UnitFraction
    r_on_t_pause: PositiveNumber
    r_on_t_most_bpm: PositiveNumber
    r_on_t_again_s: NonNegativeNumber
    v_most_per_min: BeatCount
    v_end_per_min: BeatCount
    af_s: PositiveNumber
    af_intervals: PositiveCount
    af_normal_score: UnitFraction
    af_variation: PositiveNumber
    af_entropy: PositiveNumber
    af_tolerance: PositiveNumber
    af_excess: PositiveNumber
    af_keep: UnitFraction
    af_memory_s: PositiveNumber
    event_display_s: PositiveNumber
    lost_s: PositiveNumber
    noise_score: UnitFraction
    noise_s: PositiveNumber
    noise_window_s: PositiveNumber
    noise_clear_s: PositiveNumber
    gaps_s: PositiveNumber
    gaps_count: PositiveCount
    gaps_window_s: PositiveNumber

    def __post_init__(self) -> None:
        """Raises ValueError, which names the keys, where two of them contradict each other."""
        for less, more in (
            ("rate_low_bpm", "rate_high_bpm"),
            ("pause_s", "asystole_s"),
            ("asystole_s", "rate_end_s"),
            ("v_run_beats", "vt_beats"),
            ("v_end_per_min", "v_most_per_min"),
            ("noise_s", "noise_window_s"),
            ("vf_windows", "vf_of_windows"),
            ("vt_windows", "vt_of_windows"),
        ):
            if getattr(self, less) > getattr(self, more):
                raise ValueError(f"{less} must not be more than {more}")


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    frames_per_s: PositiveNumber
    seconds: Annotated[int, msgspec.Meta(ge=0, le=30)]
    events: PositiveCount
    least_confidence: UnitFraction
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
    """The whole of `config.toml`, a dataclass a section; `recipe` holds the tables `[recipe.NAME]`."""

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
            if section == "recipe":
                raise ConfigError(f"{source}: recipes are set in a file only, as [recipe.NAME]")
            _merge_settings(values, {section: {key: _parse_variable(environment[name], source)}}, source)
            _build_config(values, source)
    return _build_config(values, str(default_config_path()))


def override_config(config: Config, section: str, **options: Any) -> Config:
    """The same settings with the options of a command that were given (are not None)."""
    values = _flatten_recipes(msgspec.to_builtins(config))
    if section not in values:
        valid = ", ".join(name.removeprefix(RECIPE_PREFIX) for name in values if name.startswith(RECIPE_PREFIX))
        raise ConfigError(f"no recipe {section.removeprefix(RECIPE_PREFIX)!r}; valid are {valid} (--recipe)")
    values[section] |= {key: value for key, value in options.items() if value is not None}
    return _build_config(values, "the command line")


def default_config_path() -> Path:
    """The `config.toml` of this program: inside the installed package, or at the top of the repository."""
    inside = Path(__file__).parent / "config.toml"
    return inside if inside.is_file() else Path(__file__).parents[2] / "config.toml"


def format_config_toml(config: Config) -> str:
    """The settings as TOML, section by section."""
    lines = []
    for section, values in _flatten_recipes(msgspec.to_builtins(config)).items():
        lines += [
            f"[{section}]",
            *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items()),
            "",
        ]
    return "\n".join(lines).replace("\x7f", "\\u007f")  # which JSON lets pass and TOML does not


def _read_config_file(path: Path) -> SettingValues:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_CONFIG_BYTES + 1)
        if len(content) > LARGEST_CONFIG_BYTES:
            raise ConfigError(f"configuration {path} is too large: over {LARGEST_CONFIG_BYTES} bytes")
        return _flatten_recipes(tomllib.loads(content.decode("utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of a number with too many digits
        raise ConfigError(f"configuration {path} is no valid TOML: {clean_error_text(error)}") from error


def _flatten_recipes(values: dict[str, Any]) -> SettingValues:
    """The tables of `recipe` as sections of their own, `recipe.NAME`."""
    recipes = values.pop("recipe", {})
    if not isinstance(recipes, dict):
        return values | {"recipe": recipes}
    return values | {f"{RECIPE_PREFIX}{name}": keys for name, keys in recipes.items()}


def _merge_settings(values: SettingValues, changes: Mapping[str, Any], source: str) -> None:
    for section, keys in changes.items():
        if section.startswith(RECIPE_PREFIX) and section not in values:  # a new one begins as the report's
            if not RECIPE_NAME_PATTERN.fullmatch(section.removeprefix(RECIPE_PREFIX)):
                raise ConfigError(
                    f"{source}: name a recipe with letters, digits, - and _, not {clean_error_text(section)}"
                )
            values[section] = dict(values[f"{RECIPE_PREFIX}reproduction"])
        if section not in values:
            raise ConfigError(f"{source}: unknown section {section!r}; valid are {', '.join(values)}")
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
    sections = {name: _convert_section(values[name], hints[name], name, source) for name in hints if name != "recipe"}
    recipes = {
        name.removeprefix(RECIPE_PREFIX): _convert_section(keys, TrainingRecipe, name, source)
        for name, keys in values.items()
        if name.startswith(RECIPE_PREFIX)
    }
    return Config(**sections, recipe=recipes)


def _convert_section(values: dict[str, Any], into: Any, name: str, source: str) -> Any:
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as error:
        reason, _, key = str(error).partition(" - at `$.")
        choices = get_args(get_type_hints(into).get(key := key.rstrip("`")))
        valid = f"; valid are {', '.join(map(str, choices))}" if choices else ""
        where = f"{name}.{key}" if key else f"[{name}]"
        raise ConfigError(f"{source}: {clean_error_text(f'{where}: {reason}')}{valid}") from error
