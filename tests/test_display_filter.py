"""agent.dashboard.display_filter: what the drawn trace leaves out, and that nothing else does."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support.synthetic import make_ecg

from agent.core.config import DashboardConfig, load_config, override_config
from agent.core.messages import FloatArray
from agent.dashboard.display_filter import filter_wave
from model.errors import ConfigError
from model.records.resample import FS

TIME = np.arange(30 * FS) / FS


def dashboard(**changes: object) -> DashboardConfig:
    return override_config(load_config(None, {}), "dashboard", **changes).dashboard


def ecg() -> NDArray[np.float64]:
    return make_ecg(FS, 30, np.arange(0.5, 29.7, 0.8))


def filtered(x: NDArray[np.float64], **changes: object) -> FloatArray:
    return filter_wave(x.astype(np.float32), dashboard(**changes))


def test_off_draws_the_trace_as_it_is() -> None:
    """Off by default, and then every value stays, to the bit."""
    assert (dashboard().display_filter, dashboard().mains_notch) == ("off", "off")
    wave = ecg().astype(np.float32)
    np.testing.assert_allclose(filter_wave(wave, dashboard()), wave, atol=1e-6)


@pytest.mark.parametrize(
    ("hertz", "kept"), [(0.1, 0.0), (0.25, 0.1), (2.0, 1.0), (10.0, 1.0), (25.0, 1.0), (60.0, 0.22)]
)
def test_bandwidth_of_a_monitor(hertz: float, kept: float) -> None:
    """From 0.5 to 40 Hz, without a shift in time."""
    wave = np.cos(2 * np.pi * hertz * TIME + 0.3)
    drawn = filtered(wave, display_filter="monitor")[5 * FS : -5 * FS]
    np.testing.assert_allclose(drawn, kept * wave[5 * FS : -5 * FS], atol=0.08)


@pytest.mark.parametrize("mains", [50, 60])
@pytest.mark.parametrize("setting", ["auto", "own"])
def test_mains_are_taken_out(mains: int, setting: str) -> None:
    """Hum of a millivolt is gone, and the QRS complexes stay as high as they were."""
    wave = ecg() + np.sin(2 * np.pi * mains * TIME + 1.0)
    drawn = filtered(wave, mains_notch="auto" if setting == "auto" else mains)
    assert np.abs(drawn - ecg())[FS:-FS].max() < 0.12


def test_auto_leaves_an_ecg_without_hum() -> None:
    """Noise and QRS complexes are no hum."""
    wave = ecg() + np.random.default_rng(3).normal(0, 0.05, len(TIME))
    np.testing.assert_allclose(filtered(wave, mains_notch="auto"), wave, atol=1e-5)


def test_what_is_missing_stays_missing() -> None:
    """Gaps are neither drawn nor do they shake what is beside them; too little signal stays as it is."""
    wave = ecg()
    wave[: 3 * FS] = wave[10 * FS : 11 * FS] = np.nan
    drawn = filtered(wave, display_filter="monitor", mains_notch=50)
    np.testing.assert_array_equal(np.isnan(drawn), np.isnan(wave))
    short = np.full(30 * FS, np.nan)
    short[-50:] = 1.0
    np.testing.assert_array_equal(filtered(short, display_filter="monitor"), short.astype(np.float32))


def test_unknown_settings_are_refused() -> None:
    """The error names what is valid."""
    with pytest.raises(ConfigError, match="monitor"):
        dashboard(display_filter="strong")
    with pytest.raises(ConfigError, match="60"):
        dashboard(mains_notch=55)
    assert load_config(None, {"ECG_AGENT_DASHBOARD_MAINS_NOTCH": "50"}).dashboard.mains_notch == 50
