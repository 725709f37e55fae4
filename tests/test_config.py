import math
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core import config as configuration
from model.errors import ConfigError


def test_every_default_is_in_config_toml() -> None:
    """The defaults load from config.toml alone, and what is shown loads again as the same settings."""
    settings = configuration.load_config(None, {})
    assert settings.link.endpoint == "tcp://127.0.0.1:5555"


def test_shown_settings_are_valid_settings(tmp_path: Path) -> None:
    """The output of `config show` is itself a configuration with the same content."""
    settings = configuration.load_config(None, {"ECG_AGENT_TRAIN_SEED": "7"})
    path = tmp_path / "own.toml"
    path.write_text(configuration.format_config_toml(settings))
    assert configuration.load_config(path, {}) == settings


def test_file_environment_and_options_override_in_this_order(tmp_path: Path) -> None:
    """A user's file changes the defaults, the environment the file, an option the environment."""
    path = tmp_path / "own.toml"
    path.write_text('[monitor]\ndevice = "cuda"\nthreads = 3\nlost_s = 5\n')
    settings = configuration.load_config(path, {"ECG_AGENT_MONITOR_DEVICE": "mps", "ECG_AGENT_MONITOR_THREADS": "4"})
    settings = configuration.override_config(settings, "monitor", threads=5, weights=None)
    assert (settings.monitor.lost_s, settings.monitor.device, settings.monitor.threads) == (5.0, "mps", 5)
    assert settings.monitor.weights == configuration.load_config(None, {}).monitor.weights


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    """ECG_AGENT_CONFIG names a file where --config is not given."""
    path = tmp_path / "own.toml"
    path.write_text("[train]\nseed = 3\n")
    assert configuration.load_config(None, {"ECG_AGENT_CONFIG": str(path)}).train.seed == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[monitr]\ndevice = 'cpu'", "unknown section 'monitr'; valid are link, simulate, bridge, security, monitor"),
        ("[monitor]\ndevise = 'cpu'", "unknown key monitor.devise; valid are device, weights"),
        ("[monitor]\ndevice = 'gpu'", "monitor.device: Invalid enum value 'gpu'"),
        ("[recipe.best]\nepochs = 0", "recipe.best.epochs: give a whole number of 1 or more"),
        ("[recipe.best]\nepochs = 'many'", "recipe.best.epochs: Expected `int`, got `str`"),
        (
            "[recipe.mine]\nschedule = 'step'",
            "recipe.mine.schedule: Invalid enum value 'step'; valid are constant, one",
        ),
        ("[recipe.mine]\nchannels = []", "recipe.mine.channels: Expected `array` of length >= 1"),
        ("[recipe.mine]\nchannels = [8, 8, 8, 8, 8, 8]", "recipe.mine.channels: Expected `array` of length <= 5"),
        ("[recipe.mine]\nchannels = [100000]", "give a whole number of 1,024 or less"),
        ("[recipe.mine]\nlayers = 3", "unknown key recipe.mine.layers; valid are epochs, batch"),
        ("[recipe]\nmine = 3", "'recipe.mine' is a section: write [recipe.mine]"),
        ("recipe = 3", "unknown section 'recipe'; valid are link"),
        ("[train]\nprotocol = 'mixed'", "train.protocol: Invalid enum value 'mixed'; valid are random, inter-patient"),
        ("monitor = 3", "'monitor' is a section"),
        ("[monitor\n", "no valid TOML"),
        ("[dashboard]\nframes_per_s = nan", "dashboard.frames_per_s: give a number above 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, reason: str) -> None:
    """An unknown or wrong key is an error that names the file, the key and what is valid."""
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        configuration.load_config(path, {})
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("section", "options", "reason"),
    [
        ("simulate", {"packet_ms": 0.0}, "--packet-ms 0 makes no sense: give a number above 0"),
        ("simulate", {"ward_packet_ms": math.nan}, "--packet-ms nan makes no sense: give a number above 0"),
        ("simulate", {"packet_ms": math.inf}, "--packet-ms inf makes no sense: give a number below 1,000,000,000"),
        ("link", {"endpoint": ""}, '--endpoint "" makes no sense: it is empty'),
        ("train", {"seed": -1}, "--seed -1 makes no sense: give a whole number of 0 or more"),
        ("monitor", {"device": "gpu"}, "--device gpu makes no sense: valid are auto, mps, cuda, cpu"),
    ],
)
def test_a_wrong_option_is_named(section: str, options: dict[str, object], reason: str) -> None:
    """The option as it is typed, its value, and what to give instead."""
    with pytest.raises(ConfigError) as caught:
        configuration.override_config(configuration.load_config(None, {}), section, **options)
    assert str(caught.value) == reason


def test_a_wrong_variable_is_named() -> None:
    """A variable of the environment with an unknown key or a wrong value is named."""
    with pytest.raises(ConfigError, match=r"ECG_AGENT_MONITOR_DEVISE: unknown key monitor\.devise"):
        configuration.load_config(None, {"ECG_AGENT_MONITOR_DEVISE": "cpu"})
    with pytest.raises(ConfigError, match=r"train\.seed"):
        configuration.load_config(None, {"ECG_AGENT_TRAIN_SEED": "many"})
    with pytest.raises(ConfigError, match=r"ECG_AGENT_RECIPE_BEST_EPOCHS: recipes are set in a file only"):
        configuration.load_config(None, {"ECG_AGENT_RECIPE_BEST_EPOCHS": "1"})


def test_a_byte_order_mark_is_no_setting(tmp_path: Path) -> None:
    """A file as editors on Windows write it is read like any other."""
    path = tmp_path / "own.toml"
    path.write_text("[train]\nseed = 7\n", "utf-8-sig")
    assert configuration.load_config(path, {}).train.seed == 7


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A configuration file that is not there is an error, not silence."""
    with pytest.raises(ConfigError, match="No such file"):
        configuration.load_config(tmp_path / "none.toml", {})


def test_own_recipes(tmp_path: Path) -> None:
    """A recipe of one's own begins as the report's; a known one keeps what is not named."""
    path = tmp_path / "own.toml"
    path.write_text("[recipe.mine]\nepochs = 3\n[recipe.best]\nbatch = 8\n[train]\nrecipe = 'mine'\n")
    defaults, own = configuration.load_config(None, {}), configuration.load_config(path, {})
    assert own.recipe["mine"] == replace(defaults.recipe["reproduction"], epochs=3)
    assert own.recipe["best"] == replace(defaults.recipe["best"], batch=8)
    assert configuration.override_config(own, "recipe.mine", epochs=4).recipe["mine"].epochs == 4


def test_unknown_recipe_is_named() -> None:
    """A recipe that is not there is an error with those that are."""
    with pytest.raises(ConfigError, match=r"no recipe 'worst'; valid are reproduction, best \(--recipe\)"):
        configuration.override_config(configuration.load_config(None, {}), "recipe.worst", epochs=1)
