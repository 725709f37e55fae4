"""agent.report.findings: rates, pauses, runs and counts, against what was worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.indexed import NOW

from agent.analysis.rate_tracker import mean_heart_rate
from agent.core.config import Config, load_config, override_config
from agent.report.bed_recording import RecordedBeats
from agent.report.findings import (
    BeatFindings,
    bin_extremes,
    choose_time_bins,
    compute_beat_findings,
    count_by_bin,
    find_consecutive_beats,
    rolling_rates,
)
from model.records.wfdb_records import CLASSES


def beats(labels: str, rr: list[float] | None = None) -> RecordedBeats:
    """Beats of classes; `rr` in seconds ends at each (the first has none)."""
    rr_s = np.array(rr if rr is not None else [np.nan, *[0.8] * (len(labels) - 1)])
    at_s = np.cumsum(np.nan_to_num(rr_s, nan=5.0))
    label = np.array([CLASSES.index(x) for x in labels], np.int8)
    return RecordedBeats(at_s, label, rr_s, np.zeros(len(labels), np.int32), np.ones(len(labels), np.float32))


def found_in(recorded: RecordedBeats, config: Config) -> BeatFindings:
    return compute_beat_findings(recorded, np.ones(len(recorded), bool), config)


def test_rates_by_hand(settings: Config) -> None:
    """Twelve intervals of 0.5 s are 120 a minute; none where one of the twelve is unknown."""
    rate = rolling_rates(np.array([np.nan, *[0.5] * 12, 1.0, np.nan, *[0.5] * 12]), settings.rhythm)
    assert np.isnan(rate[:12]).all()
    assert rate[12] == pytest.approx(120)
    assert rate[13] == pytest.approx(60 * 12 / 6.5)
    assert np.isnan(rate[14:26]).all()
    assert rate[26] == pytest.approx(120)
    assert len(rolling_rates(np.array([0.5]), settings.rhythm)) == 1


def test_a_slow_heart_is_averaged_over_few_intervals(settings: Config) -> None:
    """Where three of the last four intervals are long, the rate is of these four, and follows within them."""
    rate = rolling_rates(np.array([*[0.6] * 12, *[1.5] * 4]), settings.rhythm)
    assert rate[11] == pytest.approx(100)
    assert rate[13] == pytest.approx(60 * 12 / (10 * 0.6 + 2 * 1.5))
    assert rate[14] == pytest.approx(60 * 4 / (0.6 + 3 * 1.5))
    assert rate[15] == pytest.approx(40)


@given(st.lists(st.floats(0.2, 5.0), min_size=12, max_size=60))
def test_the_rate_is_that_of_the_monitor(rr_s: list[float]) -> None:
    """Where the report has a rate, the monitor showed the same one; it has one after twelve intervals in a row."""
    rhythm = load_config(None, {}).rhythm
    rates = rolling_rates(np.array(rr_s), rhythm)
    for i, rate in enumerate(rates.tolist()):
        if rate == rate:
            assert rate == pytest.approx(mean_heart_rate(rr_s[max(0, i - 11) : i + 1], rhythm))
        else:
            assert i < 11 or max(rr_s[i - 11 : i + 1]) >= rhythm.standstill_s


def test_a_standstill_is_in_no_rate(settings: Config) -> None:
    """An interval of four seconds counts for no rate, so that an arrest is not a slow heart; it is a pause."""
    rr_s = np.array([np.nan, *[0.8] * 12, 25.0, *[0.8] * 12])
    rate = rolling_rates(rr_s, settings.rhythm)
    assert np.isnan(rate[13:25]).all()
    assert (rate[12], rate[25]) == (pytest.approx(75), pytest.approx(75))
    assert found_in(beats("N" * 26, rr_s.tolist()), settings).pauses == (13,)


def test_runs_couplets_and_bigeminy_by_hand(settings: Config) -> None:
    """VV is a couplet, VVV and longer are runs; a hole or a pause ends them; N V N V N V counts as bigeminy."""
    found = found_in(beats("NVVNVVVNVVVVVNSSSN"), settings)
    assert found.couplets == {"V": 1, "S": 0}
    assert found.run_count == {"V": 2, "S": 1}
    assert [len(run) for run in found.runs["V"]] == [5, 3]
    assert found.runs["V"][0].rate == pytest.approx(75)
    assert found.share("V") == pytest.approx(100 * 10 / 18)
    cut = beats("NVVVVN", [np.nan, 0.8, 0.8, np.nan, 0.8, 0.8])
    assert [len(run) for run in find_consecutive_beats(cut, cut.of("V"), 2.5)] == [2, 2]
    escape = beats("NVVVVN", [np.nan, 0.8, 0.8, 2.6, 0.8, 0.8])
    assert [len(run) for run in find_consecutive_beats(escape, escape.of("V"), 2.5)] == [2, 2]
    assert found_in(beats("NNVNVNVNN"), settings).bigeminy == 3
    assert found_in(beats("NNVNVNN"), settings).bigeminy == 0
    assert found_in(beats("VNVNVN"), settings).bigeminy == 0


@given(st.text("NV", max_size=40), st.integers(2, 4))
def test_bigeminy_and_runs_are_those_of_the_alarms(labels: str, cycles: int) -> None:
    """A recording has bigeminy, a couplet or a run where the monitor's rules raise that alarm, and only there."""
    config = override_config(load_config(None, {}), "alarms", bigeminy_cycles=cycles)
    found = found_in(beats(labels), config)
    assert (found.bigeminy > 0) == ("NV" * cycles in labels)
    rows = [len(row) for row in labels.split("N")]
    assert found.couplets["V"] == rows.count(2)
    assert found.run_count["V"] == sum(row >= config.alarms.v_run_beats for row in rows)


def test_pauses_by_hand(settings: Config) -> None:
    """RR intervals over 2.5 s as for the alarm, the longest first; none where the signal is too noisy."""
    recorded = beats("NNNNN", [np.nan, 2.6, 2.5, 3.5, 0.8])
    found = found_in(recorded, settings)
    assert (found.pauses, found.pause_count) == ((3, 1), 2)
    noisy = compute_beat_findings(recorded, np.array([True, True, True, False, True]), settings)
    assert (noisy.pauses, noisy.pause_count) == ((1,), 1)
    strict = override_config(settings, "alarms", pause_s=3.0)
    assert found_in(recorded, strict).pauses == (3,)


def test_nothing_is_found_in_nothing(settings: Config) -> None:
    """No beats: no figures, and no error."""
    found = found_in(beats("", []), settings)
    assert (found.total, found.slowest, found.pauses, found.runs["V"]) == (0, None, (), ())
    assert found.share("V") == 0


def test_hours_lie_on_the_clock() -> None:
    """Parts of a day begin at full hours, those of ten minutes at full minutes; all time is in one."""
    started = NOW + 1234
    day = choose_time_bins(started, 86_400.0)
    assert day.step_s == 3600
    assert len(day) == 25
    assert ((day.edges + started) % 3600 == pytest.approx(0, abs=1e-6)) or np.allclose(
        (day.edges + started + 1) % 3600, 1
    )
    assert choose_time_bins(started, 600.0).step_s == 60
    assert choose_time_bins(None, 0.0).edges[0] == 0
    assert len(choose_time_bins(started, 300 * 86_400.0)) <= 60


@given(st.floats(0, 3e7), st.floats(0, 2e9))
def test_all_time_is_in_few_parts(length_s: float, started_s: float) -> None:
    parts = choose_time_bins(started_s, length_s)
    assert parts.edges[0] <= 0
    assert parts.edges[-1] >= length_s - 1e-3
    assert 1 <= len(parts) <= 60
    assert all(a < b for a, b in pairwise(parts.edges.tolist()))


def test_counts_and_extremes_by_part() -> None:
    """Every beat is counted once; least, mean and greatest of a part are those of its values."""
    made = beats("NNVNNSNNQN" * 30)
    parts = choose_time_bins(0.0, float(made.at_s[-1]))
    counts = count_by_bin(made, parts)
    assert counts.sum() == 300
    assert counts.sum(axis=0).tolist() == [210, 30, 30, 0, 30]
    values = np.array([1.0, np.nan, 5.0, 3.0])
    least, mean, most = bin_extremes(values, np.array([0.0, 1.0, 2.0, 70.0]), choose_time_bins(0.0, 180.0))
    assert (least[0], mean[0], most[0], most[1]) == (1, 3, 5, 3)
    assert np.isnan(mean[2])


def test_s_within_fibrillation_is_counted_apart(settings: Config) -> None:
    """An early beat says little there: no burden, couplet or run; a run of doubtful beats is no sure one."""
    recorded = beats("NSSSNNSSSNNSSSN")
    recorded.confidence[11:13] = 0.2
    inside = np.arange(15) < 5
    found = compute_beat_findings(recorded, np.ones(15, bool), settings, inside)
    assert (found.fibrillating, found.fibrillating_s, found.number("S")) == (5, 3, 6)
    assert found.share("S") == pytest.approx(60)
    assert found.run_count["S"] == 2
    assert [run.first for run in found.sure_s_runs] == [6]
    assert [run.doubtful for run in found.runs["S"]] == [False, True]
