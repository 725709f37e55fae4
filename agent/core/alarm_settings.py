"""Settings of the alarm rules: `[alarms]`."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from agent.core.setting_types import (
    BeatCount,
    CycleCount,
    NonNegativeNumber,
    PositiveCount,
    PositiveNumber,
    UnitFraction,
)


@dataclass(frozen=True, slots=True)
class AlarmConfig:
    silence_s: NonNegativeNumber
    pause_alarms_s: Annotated[float, msgspec.Meta(ge=0, le=3600)]
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


def extreme_rate_limits(config: AlarmConfig) -> tuple[float, float]:
    """Return the heart rates in beats a minute above and below which it is extreme; never inside the other limits."""
    high, low = config.rate_high_bpm, config.rate_low_bpm
    above = max(high, min(high + config.extreme_above_bpm, config.extreme_most_bpm))
    return above, min(low, max(low - config.extreme_below_bpm, config.extreme_least_bpm))
